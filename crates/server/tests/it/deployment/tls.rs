//! TLS in the binary: HTTP and WebSocket by one listener, and certificates that change.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    sync::Arc,
};

use rustls::{ClientConfig, pki_types::ServerName};
use serde_json::json;
use tempfile::TempDir;
use tokio_tungstenite::Connector;

use super::{Certificate, https};
use crate::{
    kit::{Account, Binary, Database, PATIENCE, Peer, output, soon},
    process::Rest,
};

fn port(server: &Binary) -> u16 {
    server.base.rsplit_once(':').unwrap().1.parse().unwrap()
}

/// A server that speaks TLS with a certificate of these files.
fn start(database: &Database, pair: &Certificate) -> Binary {
    let (cert, key) = (pair.cert.to_str().unwrap(), pair.key.to_str().unwrap());
    Binary::start(database, &[("MESH_TLS_CERT", cert), ("MESH_TLS_KEY", key), ("MESH_PUBLIC_URL", "https://localhost")])
}

/// Its REST interface, for a client that believes in nothing but this.
fn rest(server: &Binary, tls: ClientConfig) -> Rest {
    Rest { base: format!("https://localhost:{}", port(server)), http: https(tls).build().unwrap() }
}

async fn peer(server: &Binary, who: &Account, tls: ClientConfig) -> Peer {
    let url = format!("wss://localhost:{}/ws?token={}", port(server), who.token);
    let mut peer = Peer::connect_by(&url, Connector::Rustls(Arc::new(tls))).await.unwrap();
    peer.hello().await;
    peer
}

/// Puts a pair in the place of another, as tools do that fetch certificates: each file at once.
fn replace(old: &Certificate, new: &Certificate) {
    for (old, new) in [(&old.cert, &new.cert), (&old.key, &new.key)] {
        let beside = old.with_extension("new");
        fs::copy(new, &beside).unwrap();
        fs::rename(&beside, old).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_and_websocket_by_one_listener() {
    let database = Database::new();
    let pair = Certificate::make(database.dir.path(), "chat.example.org");
    let server = start(&database, &pair);
    let rest = rest(&server, pair.believed());
    let (ana, ben) = (rest.register("ana").await, rest.register("ben").await);
    let room = rest.room(&ana, "Cuisine").await;
    let (mut a, mut b) = (peer(&server, &ana, pair.believed()).await, peer(&server, &ben, pair.believed()).await);
    a.join(&room).await;
    b.join(&room).await;
    // Ben reads nothing meanwhile: what his socket does not take waits in TLS and in the server, and comes all the same.
    let long = "é".repeat(4_000);
    for n in 0..80 {
        a.say(&room, &format!("{n}{}", &long[..7_990])).await;
    }
    for n in 1..=80 {
        assert_eq!(b.next_of("chat.message.created").await["payload"]["seq"], n);
    }
    assert_eq!(rest.messages(&ben, &room).await.len(), 80);

    // Without a credential the close frame comes too, and TLS ends as it should.
    let url = format!("wss://localhost:{}/ws", port(&server));
    let mut stranger = Peer::connect_by(&url, Connector::Rustls(Arc::new(pair.believed()))).await.unwrap();
    assert_eq!(stranger.closed().await.0, 4401);

    server.signal("TERM");
    let (code, reason, _) = a.closed().await;
    assert_eq!((code, reason.as_str()), (1012, "restarting"));
    assert_eq!(b.closed().await.0, 1012);
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("WARN") && !log.contains("ERROR") && !log.contains("BEGIN"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_taken_into_use() {
    let database = Database::new();
    let dir = database.dir.path();
    let (pair, new) = (Certificate::make(dir, "old.example.org"), Certificate::make(dir, "new.example.org"));
    let old = fs::read(&pair.cert).unwrap();
    let kept = dir.join("kept.crt");
    fs::write(&kept, old).unwrap();
    let server = start(&database, &pair);
    let ana = rest(&server, pair.believed()).register("ana").await;
    let mut peer = peer(&server, &ana, pair.believed()).await;

    replace(&pair, &new);
    server.wait_for_log("a new TLS certificate is in use");
    assert_eq!(rest(&server, new.believed()).me(&ana.token).await.as_deref(), Ok("ana"));
    let distrustful = rest(&server, super::believing(&kept));
    let asked = distrustful.http.get(format!("{}/health", distrustful.base)).send().await;
    assert!(asked.is_err(), "the old certificate is still shown");
    // Who was there stays.
    assert_eq!(peer.ask("system.ping", json!({})).await["type"], "system.pong");

    // A pair that cannot serve is told, and the one in use stays.
    fs::write(&pair.key, "hunter2").unwrap();
    server.wait_for_log("the old TLS certificate stays in use: MESH_TLS_KEY=");
    assert_eq!(rest(&server, new.believed()).me(&ana.token).await.as_deref(), Ok("ana"));
    fs::remove_file(&pair.cert).unwrap();
    server.wait_for_log("the old TLS certificate stays in use: MESH_TLS_CERT=");
    assert_eq!(rest(&server, new.believed()).me(&ana.token).await.as_deref(), Ok("ana"));

    // Mended by the pair that is in use, and asked at once.
    replace(&pair, &new);
    server.wait_for_log("TLS certificate is in use");
    server.signal("HUP");
    server.wait_for_log("certificate");
    assert_eq!(peer.ask("system.ping", json!({})).await["type"], "system.pong");
    let (status, log) = server.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn a_hangup_is_no_end() {
    let database = Database::new();
    let pair = Certificate::make(database.dir.path(), "chat.example.org");
    for (server, words) in [
        (Binary::start(&database, &[]), "no TLS certificate"),
        (start(&database, &pair), "the TLS certificate is the same as before"),
    ] {
        server.signal("HUP");
        server.wait_for_log(words);
        assert_eq!(server.stop().0.code(), Some(0));
    }
}

#[test]
fn files_that_cannot_serve_are_refused() {
    let dir = TempDir::new().unwrap();
    let (pair, other) =
        (Certificate::make(dir.path(), "a.example.org"), Certificate::make(dir.path(), "b.example.org"));
    let missing = dir.path().join("missing.pem");
    let cases: [(Option<&Path>, Option<&Path>, &str, &str); 6] = [
        (Some(&pair.cert), None, "MESH_TLS_CERT=", "MESH_TLS_KEY as well"),
        (None, Some(&pair.key), "MESH_TLS_KEY=", "MESH_TLS_CERT as well"),
        (Some(&missing), Some(&pair.key), "MESH_TLS_CERT=", "expected a PEM file"),
        (Some(&pair.cert), Some(&missing), "MESH_TLS_KEY=", "expected a PEM file"),
        (Some(&pair.key), Some(&pair.key), "MESH_TLS_CERT=", "expected a PEM file with the certificate"),
        (Some(&pair.cert), Some(&other.key), "MESH_TLS_KEY=", "expected the private key of the certificate"),
    ];
    for (cert, key, name, expected) in cases {
        let place = TempDir::new().unwrap();
        let mut command = Binary::command(place.path());
        command.args(["--port", "0"]);
        cert.map(|cert| command.env("MESH_TLS_CERT", cert));
        key.map(|key| command.env("MESH_TLS_KEY", key));
        let (status, out, errors) = output(command);
        assert_eq!((status, out.as_str()), (Some(2), ""), "{errors}");
        assert!(errors.starts_with("mesh-server: ") && errors.matches('\n').count() == 1, "{errors:?}");
        assert!(errors.contains(name) && errors.contains(expected), "{errors}");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "a refused start leaves nothing behind");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_another_language_is_told_or_left() {
    let database = Database::new();
    let pair = Certificate::make(database.dir.path(), "chat.example.org");
    let server = start(&database, &pair);
    let place = ("127.0.0.1", port(&server));
    // Somebody silent holds nobody up.
    let _silent = TcpStream::connect(place).unwrap();
    let mut plain = TcpStream::connect(place).unwrap();
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    plain.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("say https or wss"), "{answer}");

    // HTTP/1.1 is agreed on, HTTP/2 alone is not.
    for (offered, agreed) in [(&[b"h2".as_slice(), b"http/1.1"][..], true), (&[b"h2".as_slice()][..], false)] {
        let mut tls = pair.believed();
        tls.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
        let io = tokio::net::TcpStream::connect(place).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let shaken = soon("the handshake", tokio_rustls::TlsConnector::from(Arc::new(tls)).connect(name, io)).await;
        assert_eq!(shaken.is_ok(), agreed);
        if let Ok(shaken) = shaken {
            assert_eq!(shaken.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
        }
    }
    let (status, log) = server.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("in time"), "a handshake holds no stop up: {log}");
}
