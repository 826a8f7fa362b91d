//! The reverse proxies of `deploy/`, each the real program with our very file, in front of the real server.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use futures_util::StreamExt as _;
use rustls::ClientConfig;
use serde_json::json;
use tokio_tungstenite::{Connector, tungstenite::Message};

use super::{Certificate, believing, https, python, repository};
use crate::{
    kit::{Binary, Database, Peer, says, skipped, soon},
    process::Rest,
};

/// A proxy that runs, and a client's TLS that believes in it.
struct Proxy {
    child: Child,
    base: String,
    tls: ClientConfig,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program(variable: &str) -> Option<PathBuf> {
    let found = std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    if found.is_none() {
        skipped("a reverse proxy with our file", variable);
    }
    found
}

/// Starts a program and waits until it says these words.
fn start(mut command: Command, ready: &'static str) -> Child {
    let (log, out) = std::io::pipe().unwrap();
    command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
    let mut child = command.spawn().unwrap();
    // Else the pipe never ends.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let begun = says(log, ready);
    if begun.is_err() {
        let _ = child.kill();
        let _ = child.wait();
        panic!("{command:?} does not start: {begun:?}");
    }
    child
}

/// A port that nobody has now, for a program that cannot be asked which it took.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Our file, with the places of a test in the place of those that it names; each must be there.
fn adapted(name: &str, places: &[(&str, &str)]) -> String {
    let mut text = fs::read_to_string(repository(name)).unwrap();
    for (from, to) in places {
        assert!(text.contains(from), "{name} does not name {from}");
        text = text.replace(from, to);
    }
    text
}

fn nginx(dir: &Path, server: &Binary) -> Option<Proxy> {
    let nginx = program("MESH_TEST_NGINX")?;
    let pair = Certificate::make(dir, "chat.example.org");
    let port = free_port();
    let place = |name: &str| dir.join(name).display().to_string();
    let ours = adapted(
        "deploy/nginx.conf",
        &[
            ("server 127.0.0.1:8000;", &format!("server {};", server.base.strip_prefix("http://").unwrap())),
            ("listen 80;", &format!("listen unix:{};", place("plain"))),
            ("listen 443 ssl;", &format!("listen 127.0.0.1:{port} ssl;")),
            ("server_name chat.example.org;", "server_name localhost;"),
            ("/etc/letsencrypt/live/chat.example.org/fullchain.pem", pair.cert.to_str().unwrap()),
            ("/etc/letsencrypt/live/chat.example.org/privkey.pem", pair.key.to_str().unwrap()),
            ("/var/log/nginx/mesh.access.log", &place("access.log")),
            // Shorter than two of the server's pings: a socket that is alive longer lives by them.
            ("proxy_read_timeout 60s;", "proxy_read_timeout 35s;"),
        ],
    );
    fs::write(dir.join("mesh.conf"), ours).unwrap();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {};\n", place(&format!("{name}_temp"))))
        .concat();
    let main = format!(
        "daemon off;\nmaster_process off;\npid {};\nerror_log stderr notice;\nevents {{}}\nhttp {{\n{temporary}include {};\n}}\n",
        place("nginx.pid"),
        place("mesh.conf")
    );
    fs::write(dir.join("nginx.conf"), main).unwrap();
    let mut command = Command::new(nginx);
    command.arg("-e").arg("stderr").arg("-p").arg(dir).arg("-c").arg(dir.join("nginx.conf"));
    // The sockets are open before it says how it waits for events.
    let child = start(command, "event method");
    Some(Proxy { child, base: format!("https://localhost:{port}"), tls: pair.believed() })
}

fn caddy(dir: &Path, server: &Binary) -> Option<Proxy> {
    let caddy = program("MESH_TEST_CADDY")?;
    let port = free_port();
    // Our file as it is, behind what a test machine needs: no port 80, no trust in the system's store.
    let global = "{\nadmin off\nskip_install_trust\nauto_https disable_redirects\n}\n";
    fs::write(dir.join("Caddyfile"), format!("{global}{}", adapted("deploy/Caddyfile", &[]))).unwrap();
    let mut command = Command::new(caddy);
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(dir.join("Caddyfile")).current_dir(dir);
    command.env("HOME", dir).env("XDG_DATA_HOME", dir.join("data")).env("XDG_CONFIG_HOME", dir.join("config"));
    command.env("MESH_DOMAIN", format!("https://localhost:{port}"));
    command.env("MESH_UPSTREAM", server.base.strip_prefix("http://").unwrap());
    // Written by then, and in use a moment later.
    let child = start(command, "certificate obtained successfully");
    let tls = believing(&dir.join("data/caddy/pki/authorities/local/root.crt"));
    Some(Proxy { child, base: format!("https://localhost:{port}"), tls })
}

fn traefik(dir: &Path, server: &Binary) -> Option<Proxy> {
    let traefik = python("traefik")?;
    let pair = Certificate::make(dir, "chat.example.org");
    let (plain, port) = (free_port(), free_port());
    let place = |name: &str| dir.join(name).display().to_string();
    let own = adapted(
        "deploy/traefik.yml",
        &[
            ("\":80\"", &format!("127.0.0.1:{plain}")),
            ("\":443\"", &format!("127.0.0.1:{port}")),
            ("/var/lib/traefik/acme.json", &place("acme.json")),
            ("/etc/traefik/traefik-mesh.yml", &place("traefik-mesh.yml")),
        ],
    );
    let routes = adapted(
        "deploy/traefik-mesh.yml",
        &[("chat.example.org", "localhost"), ("http://127.0.0.1:8000", &server.base)],
    );
    // A certificate that is there already is not asked of anybody.
    let certificate = format!("tls: {{certificates: [{{certFile: {:?}, keyFile: {:?}}}]}}\n", pair.cert, pair.key);
    fs::write(dir.join("traefik.yml"), own + "global: {checkNewVersion: false}\nlog: {level: INFO}\n").unwrap();
    fs::write(dir.join("traefik-mesh.yml"), routes + &certificate).unwrap();
    let mut command = Command::new(traefik);
    command.arg(format!("--configFile={}", place("traefik.yml"))).current_dir(dir);
    let child = start(command, "Starting provider");
    Some(Proxy { child, base: format!("https://localhost:{port}"), tls: pair.believed() })
}

/// What clients need of any proxy.
async fn serves(proxy: &Proxy, server: &Binary) {
    // From an address of its own, and with a header that a stranger may send: the first counts.
    let from = Ipv4Addr::new(127, 0, 0, 9);
    let client = https(proxy.tls.clone()).local_address(IpAddr::V4(from)).build().unwrap();
    let rest = Rest { base: proxy.base.clone(), http: client };
    soon("the proxy to answer", async {
        loop {
            match rest.http.get(format!("{}/health", proxy.base)).send().await {
                Ok(answer) if answer.status() == 200 => break,
                _ => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    let ana = rest.register("ana").await;
    let room = rest.room(&ana, "Cuisine").await;
    let forged = rest.http.post(format!("{}/api/auth/login", proxy.base)).header("X-Forwarded-For", "203.0.113.7");
    let login = json!({"username": "ana", "password": crate::process::PASSWORD});
    assert_eq!(forged.json(&login).send().await.unwrap().status(), 200);
    let (_, sessions) = rest.ask("GET", "/api/auth/sessions", Some(&ana.token), None).await;
    let ips: Vec<_> = sessions.as_array().unwrap().iter().map(|s| s["ip"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ips, ["127.0.0.9", "127.0.0.9"], "{sessions}");
    // The server's own answers come through, errors and headers too.
    let answer = rest.http.get(format!("{}/api/rooms/nothing", proxy.base)).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert!(answer.headers().contains_key("www-authenticate") && answer.headers().contains_key("x-request-id"));
    let big = json!({"name": "x".repeat(300_000)});
    assert_eq!(rest.ask("POST", "/api/rooms", Some(&ana.token), Some(big)).await.0, 413);
    assert_eq!(rest.ask("GET", "/metrics", None, None).await.0, 404, "the figures are for the house");

    let url = format!("{}/ws?token={}", proxy.base.replacen("https", "wss", 1), ana.token);
    let connect = || Peer::connect_by(&url, Connector::Rustls(Arc::new(proxy.tls.clone())));
    let mut peer = connect().await.unwrap();
    peer.hello().await;
    peer.join(&room).await;
    for n in 1..=50 {
        assert_eq!(peer.say(&room, &"é".repeat(3_000)).await["payload"]["seq"], n);
    }
    // A character that means something in a URL, written as it must be: it comes as it was.
    let keycap = "%23%EF%B8%8F%E2%83%A3";
    let said = rest.messages(&ana, &room).await.pop().unwrap();
    let path = format!("/api/rooms/{room}/messages/{}/reactions/{keycap}", said["id"].as_str().unwrap());
    assert_eq!(rest.ask("PUT", &path, Some(&ana.token), None).await.0, 204);
    let reacted = rest.messages(&ana, &room).await.pop().unwrap();
    assert_eq!(reacted["reactions"]["#\u{fe0f}\u{20e3}"], json!([ana.id]), "{}", reacted["reactions"]);
    // A socket on which nobody says anything lives by the server's pings.
    let mut silent = connect().await.unwrap();
    silent.hello().await;
    for _ in 0..2 {
        loop {
            match soon("a ping through the proxy", silent.socket.next()).await {
                Some(Ok(Message::Ping(_))) => break,
                Some(Ok(_)) => {}
                other => panic!("the proxy closed a silent socket: {other:?}"),
            }
        }
    }
    assert_eq!(silent.ask("system.ping", json!({})).await["type"], "system.pong");
    assert_eq!(peer.ask("system.ping", json!({})).await["type"], "system.pong");
    // A token in a URL, and a request behind it, so that whoever keeps a log has written the first.
    let url = format!("{}/ws?token={}", proxy.base, ana.token);
    assert_eq!(rest.http.get(url).send().await.unwrap().status(), 400);
    assert_eq!(rest.ask("GET", "/health", None, None).await.0, 200);
    // The stop of a server is heard through it.
    server.signal("TERM");
    assert_eq!(peer.closed().await.0, 1012);
    assert_eq!(silent.closed().await.0, 1012);
}

fn behind(database: &Database) -> Binary {
    Binary::start(database, &[("MESH_TRUSTED_PROXIES", "127.0.0.1,::1"), ("MESH_PUBLIC_URL", "https://localhost")])
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_passes_everything_on() {
    let database = Database::new();
    let server = behind(&database);
    let Some(proxy) = nginx(database.dir.path(), &server) else { return };
    serves(&proxy, &server).await;
    drop(proxy);
    let log = fs::read_to_string(database.dir.path().join("access.log")).unwrap();
    assert!(log.contains("GET /ws HTTP/1.1\" 400") && !log.contains("token="), "a token stands in the log: {log}");
    assert_eq!(server.wait().0.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn caddy_passes_everything_on() {
    let database = Database::new();
    let server = behind(&database);
    let Some(proxy) = caddy(database.dir.path(), &server) else { return };
    serves(&proxy, &server).await;
    assert_eq!(server.wait().0.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn traefik_passes_everything_on() {
    let database = Database::new();
    let server = behind(&database);
    let Some(proxy) = traefik(database.dir.path(), &server) else { return };
    serves(&proxy, &server).await;
    assert_eq!(server.wait().0.code(), Some(0));
}
