use super::*;

/// What is found in one file of the server, as `line: message`.
fn found(path: &str, text: &str) -> Vec<String> {
    check_server(&[(path.into(), text.into())])
        .iter()
        .map(|finding| format!("{}: {}", finding.line, finding.message))
        .collect()
}

#[track_caller]
fn refused(path: &str, text: &str, line: usize, words: &str) {
    let found = found(path, text);
    assert_eq!(found.len(), 1, "{path}: {found:?}");
    assert!(found[0].starts_with(&format!("{line}: ")), "{found:?}");
    assert!(found[0].contains(words), "{found:?}");
}

#[track_caller]
fn accepted(path: &str, text: &str) {
    assert_eq!(found(path, text), Vec::<String>::new(), "{path}");
}

#[test]
fn forbidden_edges_are_found() {
    for (path, text) in [
        ("http/rooms.rs", "use crate::store::Store;"),
        ("realtime/hub.rs", "use crate::store::Store;"),
        ("worker/push.rs", "use crate::store;"),
        ("http/rooms.rs", "use crate::realtime::Hub;"),
        ("service/chat.rs", "use crate::http::Problem;"),
        ("service/chat.rs", "use crate::realtime::hub;"),
        ("store/mod.rs", "use crate::bus::Bus;"),
        ("store.rs", "use crate::app::App;"),
        ("bus/local.rs", "use crate::store::Store;"),
        ("domain/feed.rs", "use crate::store::Row;"),
        ("domain/feed.rs", "use crate::clock::Clock;"),
        ("error.rs", "use crate::store::Failure;"),
        ("clock.rs", "use crate::app::App;"),
    ] {
        refused(path, text, 1, "may not use");
    }
}

#[test]
fn allowed_edges_are_not_found() {
    for (path, text) in [
        ("domain/feed.rs", "use crate::domain::outqueue::Push; use mesh_protocol::Seq;"),
        ("store/mod.rs", "use crate::domain::Policy; use crate::error::Error; use rusqlite::Connection;"),
        ("bus/local.rs", "use crate::domain::Topic; use crate::tasks::Tasks; use tokio::sync::mpsc;"),
        ("service/chat.rs", "use crate::{app::App, store::{Tx, Store}, bus, domain::policy, clock};"),
        ("http/rooms.rs", "use crate::{app::App, service, domain::policy}; use axum::Json;"),
        ("realtime/ws.rs", "use crate::service::chat; use axum::extract::ws;"),
        ("worker/push.rs", "use crate::service::push;"),
        ("app.rs", "use crate::{http, realtime, worker, store, bus};"),
        ("lib.rs", "pub mod store; use crate::http::router;"),
        ("cli/migrate.rs", "use crate::store::migrate;"),
        ("main.rs", "fn main() { mesh_server::cli::run() }"),
        ("error.rs", "use crate::ids::RequestId; use crate::domain::Denied;"),
    ] {
        accepted(path, text);
    }
}

#[test]
fn an_edge_is_found_wherever_it_is_written() {
    for (text, line) in [
        ("fn f() {\n let s = crate::store::open();\n}", 2),
        ("fn f(s: &crate::store::Store) {}", 1),
        ("use crate::{\n service,\n store::Store,\n};", 3),
        ("use crate::{self as all, store as db};", 1),
        ("use super::super::store::Store;", 1),
        ("use super::{room, super::store};", 1),
        ("mod inner {\n use super::super::super::store::Store;\n}", 2),
        ("fn f() {\n println!(\"{}\",\n  crate::store::NAME);\n}", 3),
        ("impl crate::store::Trait for X {}", 1),
        ("fn f() { mesh_server::store::open() }", 1),
    ] {
        refused("http/rooms.rs", text, line, "may not use `store`");
    }
}

#[test]
fn names_that_hide_their_room_are_found() {
    refused("http/rooms.rs", "use crate::Store;", 1, "name the room");
    refused("http/rooms.rs", "use crate::*;", 1, "name the room");
    accepted("http/rooms.rs", "fn f() { crate::route!(x); }");
    accepted("http/rooms.rs", "pub(crate) struct X; pub(super) struct Y; pub(in crate::http) struct Z;");
    refused("helpers.rs", "", 1, "no known room");
}

#[test]
fn test_code_is_not_looked_at() {
    accepted("http/rooms.rs", "#[cfg(test)] mod tests { use crate::store::Store; }");
    accepted("http/rooms.rs", "#[cfg(all(test, unix))] use crate::store::Store;");
    accepted("domain/feed.rs", "#[test] fn f() { let _ = \"SELECT 1\"; }");
    refused("http/rooms.rs", "#[cfg(not(test))] use crate::store::Store;", 1, "may not use");
    let parent = ("http/rooms.rs".into(), "#[cfg(test)] mod tests;".into());
    let child = ("http/rooms/tests.rs".into(), "use crate::store::Store;".into());
    assert!(check_server(&[parent, child]).is_empty());
}

#[test]
fn nothing_in_domain_is_asynchronous() {
    for text in [
        "async fn f() {}",
        "fn f() { g().await }",
        "fn f() { let x = async { 1 }; }",
        "fn f() { let x = async || 1; }",
        "use tokio::sync::mpsc;",
        "fn f() { tokio::task::yield_now(); }",
        "fn f() { select!(async {}); }",
    ] {
        refused("domain/feed.rs", text, 1, "asynchronous");
    }
    accepted("service/chat.rs", "async fn f() { tokio::task::yield_now().await }");
}

#[test]
fn sql_stands_in_store_only() {
    for text in [
        r#"const Q: &str = "SELECT 1";"#,
        r##"const Q: &str = r#"
            INSERT INTO users"#;"##,
        r#"fn f() { format!("UPDATE {table}"); }"#,
        r#"fn f() { g("DELETE FROM x") }"#,
    ] {
        refused("service/chat.rs", text, 1, "SQL");
        accepted("store/rooms.rs", text);
    }
    accepted("service/chat.rs", "/// SELECT one.\nconst A: &str = \"SELECTED by update\";");
    refused("app.rs", "use rusqlite::Connection;", 1, "drivers");
    refused("service/chat.rs", "fn f(e: postgres::Error) {}", 1, "drivers");
}

#[test]
fn rooms_keep_to_their_trade() {
    refused("service/chat.rs", "use axum::Json;", 1, "neither HTTP nor WebSocket");
    refused("http/rooms.rs", "fn f(app: &App) { app.store.rooms(); }", 1, "through `service`");
    accepted("http/rooms.rs", "fn f(n: &AtomicU64) { n.store(1, Relaxed); }");
    accepted("service/chat.rs", "fn f(app: &App) { app.store.rooms(); }");
}

#[test]
fn manifests_take_the_lints_and_the_protocol_is_a_leaf() {
    let check = |path: &str, text: &str| check_manifest(path, text).len();
    let protocol = "crates/protocol/Cargo.toml";
    let lints = "[lints]\nworkspace = true\n";
    assert_eq!(check(protocol, &format!("{lints}[dependencies]\nserde = \"1\"")), 0);
    assert_eq!(check(protocol, "[dependencies]\nserde = \"1\""), 1);
    for dependency in [
        "[dependencies]\ntokio.workspace = true",
        "[dev-dependencies]\ntokio-util = \"1\"",
        "[dependencies]\nx = { package = \"axum\", version = \"1\" }",
        "[target.'cfg(unix)'.dependencies]\nrusqlite = \"1\"",
    ] {
        assert_eq!(check(protocol, &format!("{lints}{dependency}")), 1, "{dependency}");
        assert_eq!(check("crates/server/Cargo.toml", &format!("{lints}{dependency}")), 0);
    }
}
