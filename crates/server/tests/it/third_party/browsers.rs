//! A real browser: two pages of Chromium call each other, signalled by nothing but this server; one talks in the clear and
//! compressed.

use std::process::{Command, Stdio};

use super::{installed, script};
use crate::kit::{Binary, Coturn, Database, coturn::WITH_SECRET, skipped};

/// Fake cameras and microphones, a data channel; directly, with both offering at once, and through coturn with the
/// credentials that the pages get in their welcome. The script judges what the browsers' own statistics say.
#[test]
fn two_pages_call_each_other_directly_and_by_relay() {
    let (Some(chromium), Some(_)) = (installed("MESH_TEST_CHROMIUM"), installed("MESH_TEST_NODE_MODULES")) else {
        return;
    };
    let Some(coturn) = Coturn::start(WITH_SECRET) else {
        skipped("a call through a relay", "MESH_TEST_TURNSERVER");
        return;
    };
    let database = Database::new();
    let (host, port) = (coturn.address.ip().to_string(), coturn.address.port().to_string());
    let settings = [
        ("STUN_URL", ""),
        ("TURN_HOST", host.as_str()),
        ("TURN_PORT", port.as_str()),
        ("TURN_SECRET", "north"),
        // Its port is not known before it starts, and so not the origin of its pages.
        ("MESH_CORS_ORIGINS", "*"),
    ];
    let server = Binary::start(&database, &settings);
    let mut command = Command::new("node");
    command.arg(script("node/browsers.mjs")).arg(&server.base).env("MESH_TEST_CHROMIUM", chromium);
    let ran = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    let (status, log) = server.stop();
    assert!(ran.status.success(), "{said}{}\n{log}", String::from_utf8_lossy(&ran.stderr));
    assert!(said.starts_with("called "), "{said}");
    assert_eq!(status.code(), Some(0), "{log}");
}

/// Chromium offers compression by itself: what it says and hears is the same with it.
#[test]
fn a_page_talks_in_the_clear_and_compressed() {
    let (Some(chromium), Some(_)) = (installed("MESH_TEST_CHROMIUM"), installed("MESH_TEST_NODE_MODULES")) else {
        return;
    };
    let databases = [Database::new(), Database::new()];
    let any_page = ("MESH_CORS_ORIGINS", "*");
    let plain = Binary::start(&databases[0], &[any_page]);
    let compressing = Binary::start(&databases[1], &[any_page, ("MESH_WS_COMPRESSION", "on")]);
    let mut command = Command::new("node");
    let servers = [plain.base.as_str(), compressing.base.as_str()];
    command.arg(script("node/compression.mjs")).args(servers).env("MESH_TEST_CHROMIUM", chromium);
    let ran = command.stdin(Stdio::null()).output().unwrap();
    let (said, complaints) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    for server in [plain, compressing] {
        let (status, log) = server.stop();
        assert_eq!(status.code(), Some(0), "{log}");
    }
    assert_eq!((ran.status.success(), &*said), (true, "talked\n"), "{complaints}");
}
