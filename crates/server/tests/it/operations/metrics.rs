//! `/metrics`: what happened is counted, and no stranger's word becomes a label.

use std::collections::BTreeSet;

use mesh_protocol::{
    code::ErrorCode,
    event::{ClientEvent, ServerEvent},
};
use serde_json::json;

use super::{parse, scrape, sum};
use crate::kit::{Peer, Server};

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_counted() {
    let server = Server::start().await;
    let before = scrape(&server).await;
    assert_eq!((sum(&before, "mesh_websockets", &[]), sum(&before, "mesh_ready", &[])), (0.0, 1.0));
    let (ana, ben) = (server.register("ana").await, server.register("ben").await);
    let room = server.room(&ana, "Cuisine").await;
    server.add(&ana, &room, &ben).await;
    for (password, status) in [("wrong", 401), ("correct horse battery", 200)] {
        let body = json!({"username": "ana", "password": password});
        assert_eq!(server.ask("POST", "/api/auth/login", None, Some(body)).await.0, status);
    }
    let (mut a, mut b) = (server.peer(&ana).await, server.peer(&ben).await);
    a.join(&room).await;
    b.join(&room).await;
    for n in 0..5 {
        a.say(&room, &format!("m{n}")).await;
        b.next_of("chat.message.created").await;
    }
    a.ask("nonsense.of.mine", json!({})).await;
    let mut back = server.peer(&ben).await;
    back.ask("room.join", json!({"room_id": room, "since_seq": 2})).await;
    // From the future: a restored backup.
    back.ask("room.join", json!({"room_id": room, "since_seq": 9_000})).await;
    // Behind the answer of the join: it is over, and counted.
    back.ask("system.ping", json!({})).await;

    let now = scrape(&server).await;
    for (name, labels, value) in [
        ("mesh_websockets", &[][..], 3.0),
        ("mesh_peers", &[], 3.0),
        ("mesh_websockets_opened_total", &[], 3.0),
        ("mesh_rooms_listened", &[], 1.0),
        ("mesh_events_in_total", &[("type", "chat.message.send")], 5.0),
        ("mesh_events_in_total", &[("type", "room.join")], 4.0),
        ("mesh_events_refused_total", &[("code", "unknown_type")], 1.0),
        ("mesh_events_out_total", &[("type", "system.welcome")], 3.0),
        ("mesh_deliveries_total", &[], 10.0),
        ("mesh_resumes_total", &[("outcome", "complete")], 1.0),
        ("mesh_resumes_total", &[("outcome", "gap")], 1.0),
        ("mesh_resumes_total", &[("outcome", "failed")], 0.0),
        ("mesh_logins_total", &[("outcome", "ok")], 1.0),
        ("mesh_logins_total", &[("outcome", "wrong_password")], 1.0),
        ("mesh_http_requests_total", &[("route", "/api/auth/login"), ("status", "4xx")], 1.0),
        ("mesh_http_requests_total", &[("route", "/ws"), ("status", "1xx")], 3.0),
        ("mesh_http_request_duration_seconds_count", &[("route", "/api/auth/login")], 2.0),
        ("mesh_store_trouble", &[], 0.0),
        ("mesh_store_transactions_failed_total", &[], 0.0),
    ] {
        assert_eq!(sum(&now, name, labels), value, "{name} {labels:?}");
    }
    for name in ["mesh_delivery_seconds_count", "mesh_store_commit_seconds_count", "mesh_store_wait_seconds_count"] {
        assert!(sum(&now, name, &[]) >= 5.0, "{name}");
    }
    assert!(sum(&now, "mesh_store_batch_jobs_sum", &[]) >= sum(&now, "mesh_store_batch_jobs_count", &[]));
    let (inside, all) = (("le", "+Inf"), sum(&now, "mesh_store_read_seconds_count", &[]));
    assert_eq!(sum(&now, "mesh_store_read_seconds_bucket", &[inside]), all);
    if cfg!(target_os = "linux") {
        assert!(sum(&now, "process_resident_memory_bytes", &[]) > 1e6);
        assert!(sum(&now, "process_open_fds", &[]) > 3.0);
    }

    server.app.tasks.stop_softly();
    for peer in [&mut a, &mut b, &mut back] {
        assert_eq!(peer.closed().await.0, 1012);
    }
    let metrics = server.app.metrics.clone();
    server.stop().await;
    let ended = metrics.sockets.get();
    assert_eq!((ended, metrics.peers.get(), metrics.rooms.get()), (0, 0, 0));
}

/// Every label's value is a word of the program, whatever strangers send.
#[tokio::test(flavor = "multi_thread")]
async fn no_label_comes_from_a_stranger() {
    const STRANGE: &str = "stranger";
    let server = Server::start().await;
    let ana = server.register("stranger-ana").await;
    let room = server.room(&ana, "stranger's room").await;
    let mut peer = Peer::connect(&server.base, &ana.token).await;
    let hello = json!({"peer_type": "client", "version": STRANGE, "device_name": STRANGE});
    let asked = json!({"type": "system.hello", "id": STRANGE, "from": "stranger-peer", "payload": hello});
    peer.send(asked).await;
    assert_eq!(peer.next().await["payload"]["peer_id"], "stranger-peer");
    peer.join(&room).await;
    peer.say(&room, STRANGE).await;
    for n in 0..50 {
        peer.ask(&format!("stranger.{n}"), json!({"stranger": n})).await;
    }
    for n in 0..50 {
        for (method, path) in [
            ("GET", format!("/stranger/{n}")),
            ("GET", format!("/api/rooms/stranger{n}")),
            ("GET", format!("/api/rooms/{room}/messages?stranger={n}")),
            ("GET", format!("/docs/stranger{n}")),
            ("DELETE", format!("/api/rooms/{room}/messages/stranger{n}")),
        ] {
            server.ask(method, &path, Some(&ana.token), None).await;
        }
        let strange = reqwest::Method::from_bytes(format!("STRANGER{n}").as_bytes()).unwrap();
        let request = server.http.request(strange, server.url("/api/rooms")).header("user-agent", STRANGE);
        assert_eq!(request.send().await.unwrap().status(), 405);
        let body = json!({"username": format!("stranger{n}"), "password": STRANGE});
        assert_eq!(server.ask("POST", "/api/auth/login", None, Some(body)).await.0, 401);
    }
    // The first of all makes the scrape's own route known.
    scrape(&server).await;
    let samples = scrape(&server).await;
    let document = serde_json::to_value(mesh_server::http::openapi()).unwrap();
    let mut routes: BTreeSet<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    routes.extend(["(none)", "/ws", "/metrics", "/docs/{*file}"]);
    let codes: BTreeSet<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    let digits = |value: &str| value.bytes().all(|b| b.is_ascii_digit());
    for sample in &samples {
        for (label, value) in &sample.labels {
            let value = value.as_str();
            let known = match label.as_str() {
                "type" => ClientEvent::NAMES.contains(&value) || ServerEvent::NAMES.contains(&value),
                "route" => routes.contains(value),
                "method" => ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"].contains(&value),
                "status" => ["1xx", "2xx", "3xx", "4xx", "5xx"].contains(&value),
                "code" => codes.contains(value) || value == "lost" || (value.len() == 4 && digits(value)),
                "le" => value == "+Inf" || value.parse::<f64>().is_ok(),
                "outcome" | "queue" | "state" | "trouble" => value.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "commit" => value == mesh_server::service::info::COMMIT,
                "version" => value == mesh_server::service::info::VERSION,
                _ => false,
            };
            assert!(known, "{sample:?}");
        }
        assert!(!format!("{sample:?}").contains(STRANGE), "{sample:?}");
    }
    server.advance(5);
    assert!(sum(&scrape(&server).await, "mesh_clock_jumps_total", &[]) >= 1.0);
    // As many requests again make not one more line.
    peer.ask("stranger.again", json!({})).await;
    server.ask("GET", "/stranger/again", None, None).await;
    assert_eq!(scrape(&server).await.len(), samples.len());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_metrics_comes_where_it_is_asked_for() {
    let server = Server::start().await;
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    let response = server.http.get(server.url("/metrics")).header("accept", accept).send().await.unwrap();
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(response.headers()["content-type"], kind);
    let text = response.text().await.unwrap();
    assert!(text.ends_with("\n# EOF\n") && text.contains("# TYPE mesh_events_in counter\n"), "{text}");
    assert!(!parse(&text).is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_its_own_takes_the_figures_off_the_main_port() {
    let server = Server::start_with(&[("MESH_METRICS_ADDR", "127.0.0.1:0")]).await;
    assert_eq!(server.ask("GET", "/metrics", None, None).await.0, 404);
    let there = format!("http://{}", server.metrics_addr.unwrap());
    let figures = server.http.get(format!("{there}/metrics")).send().await.unwrap();
    assert_eq!(figures.status(), 200);
    assert!(figures.text().await.unwrap().contains("\nmesh_ready 1\n"));
    for path in ["/", "/api/info", "/health", "/docs/", "/api/auth/me"] {
        assert_eq!(server.http.get(format!("{there}{path}")).send().await.unwrap().status(), 404, "{path}");
    }
    server.stop().await;
}
