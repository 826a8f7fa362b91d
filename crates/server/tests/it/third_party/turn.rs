//! coturn judges the credentials that the server gives: its own client allocates and relays with them.

use serde_json::Value;

use crate::kit::{Coturn, Database, Peer, Server, coturn::WITH_SECRET, output};

/// The TURN server that somebody is told of: name, password, addresses.
async fn credential(server: &Server) -> (String, String, Vec<String>) {
    let ana = server.register("ana").await;
    let welcome = Peer::connect(&server.base, &ana.token).await.hello().await;
    let servers = welcome["payload"]["ice_servers"].as_array().unwrap();
    let turn = servers.iter().find(|s| !s["credential"].is_null()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let urls = turn["urls"].as_array().unwrap().iter().map(text).collect();
    (text(&turn["username"]), text(&turn["credential"]), urls)
}

async fn server_for(coturn: &Coturn, secret: &str) -> Server {
    let (host, port) = (coturn.address.ip().to_string(), coturn.address.port().to_string());
    let settings = [
        ("TURN_HOST", host.as_str()),
        ("TURN_PORT", port.as_str()),
        ("TURN_SECRET", secret),
        ("TURN_TTL_SECONDS", "60"),
    ];
    Server::start_on(Database::new(), &settings).await
}

/// Runs coturn's client to its end: its status and what it says.
async fn relay(coturn: &Coturn, transport: &str, username: &str, password: &str) -> (Option<i32>, String) {
    let mut command = coturn.client();
    command.args(["-y", "-c", "-n", "3", "-m", "1", "-u", username, "-w", password]);
    if transport == "tcp" {
        command.arg("-t");
    }
    command.args(["-p", &coturn.address.port().to_string(), &coturn.address.ip().to_string()]);
    let (status, said, complained) = tokio::task::spawn_blocking(move || output(command)).await.unwrap();
    (status, format!("{said}{complained}"))
}

fn refused(outcome: &(Option<i32>, String)) {
    let (status, said) = outcome;
    assert_ne!(*status, Some(0), "{said}");
    assert!(said.contains("Cannot complete Allocation"), "{said}");
    assert!(!said.contains("Total lost packets"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn coturn_allocates_and_relays_with_our_credentials() {
    let Some(coturn) = Coturn::start(WITH_SECRET) else { return };
    let server = server_for(&coturn, "north").await;
    let (username, password, urls) = credential(&server).await;
    for transport in ["udp", "tcp"] {
        let url = format!("turn:{}?transport={transport}", coturn.address);
        assert!(urls.contains(&url), "{urls:?}");
    }
    let (udp, tcp) =
        tokio::join!(relay(&coturn, "udp", &username, &password), relay(&coturn, "tcp", &username, &password));
    for (status, said) in [udp, tcp] {
        assert_eq!(status, Some(0), "{said}");
        assert!(said.contains("Total lost packets 0 (0.000000%)"), "{said}");
        assert!(said.contains("tot_recv_bytes ~ 600") || said.contains("tot_recv_bytes ~ 300"), "{said}");
    }
    // Whoever changes the name, to live longer or to be somebody else, has no password for it.
    let (expiry, user) = username.split_once(':').unwrap();
    let later = format!("{}:{user}", expiry.parse::<u64>().unwrap() + 1);
    refused(&relay(&coturn, "udp", &later, &password).await);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn coturn_refuses_an_expired_credential_and_one_of_another_secret() {
    let Some(coturn) = Coturn::start(WITH_SECRET) else { return };
    let (expired, foreign, rotated) = (
        server_for(&coturn, "north").await,
        server_for(&coturn, "south").await,
        server_for(&coturn, "north,south").await,
    );
    expired.advance(-3600);
    for (server, is_taken) in [(expired, false), (foreign, false), (rotated, true)] {
        let (username, password, _) = credential(&server).await;
        for transport in ["udp", "tcp"] {
            let outcome = relay(&coturn, transport, &username, &password).await;
            if is_taken {
                assert_eq!(outcome.0, Some(0), "{}", outcome.1);
            } else {
                refused(&outcome);
            }
        }
        server.stop().await;
    }
}
