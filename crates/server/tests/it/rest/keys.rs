//! The keys that sign tokens: each algorithm, what is published, and what becomes of tokens when keys change.

use std::{fs, path::Path};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kit::{Database, Server};

const JWKS: &str = "/.well-known/jwks.json";

fn header(token: &str) -> Value {
    let text = token.split('.').next().unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

async fn start(database: Database, algorithm: &str, file: &Path) -> Server {
    let settings = [("MESH_JWT_ALGORITHM", algorithm), ("MESH_JWT_PRIVATE_KEY_FILE", file.to_str().unwrap())];
    Server::start_on(database, &settings).await
}

async fn published(server: &Server) -> Vec<Value> {
    let (status, set) = server.ask("GET", JWKS, None, None).await;
    assert_eq!(status, 200, "{set}");
    set["keys"].as_array().unwrap().clone()
}

async fn status(server: &Server, token: &str) -> u16 {
    server.ask("GET", "/api/auth/me", Some(token), None).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn every_algorithm_signs_and_what_verifies_it_is_published() {
    let dir = TempDir::new().unwrap();
    for (algorithm, kty) in [
        ("HS256", None),
        ("HS384", None),
        ("HS512", None),
        ("EdDSA", Some("OKP")),
        ("ES256", Some("EC")),
        ("RS256", Some("RSA")),
    ] {
        let server = start(Database::new(), algorithm, &dir.path().join(algorithm)).await;
        let ana = server.register("ana").await;
        assert_eq!(status(&server, &ana.token).await, 200, "{algorithm}");
        let header = header(&ana.token);
        assert_eq!((&header["alg"], &header["typ"]), (&json!(algorithm), &json!("at+jwt")));
        let keys = published(&server).await;
        assert_eq!(keys.first().map(|key| key["kty"].as_str().unwrap()), kty);
        if let Some(key) = keys.first() {
            let said = (&key["kid"], &key["use"], &key["alg"]);
            assert_eq!(said, (&header["kid"], &json!("sig"), &json!(algorithm)));
            for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
                assert!(key.get(private).is_none(), "{algorithm}: {private} is published");
            }
        }
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_set_is_for_everybody_and_may_be_kept_a_while() {
    let server = Server::start().await;
    let answer = server.http.get(server.url(JWKS)).header("authorization", "Bearer nonsense").send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(answer.headers()["content-type"], "application/jwk-set+json");
    assert_eq!(answer.headers()["cache-control"], "public, max-age=300");
    assert_eq!(answer.text().await.unwrap(), r#"{"keys":[]}"#);
    assert_eq!(server.ask("POST", JWKS, None, None).await.0, 405);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_without_ending_anything() {
    let dir = TempDir::new().unwrap();
    let (old, new) = (dir.path().join("old.pem"), dir.path().join("new.pem"));
    let server = start(Database::new(), "EdDSA", &new).await;
    server.stop().await;
    let server = start(Database::new(), "EdDSA", &old).await;
    let ana = server.register("ana").await;
    let database = server.stop().await;

    // A new key before the old one: the new one signs, both verify.
    let both = dir.path().join("both.pem");
    fs::write(&both, [fs::read(&new).unwrap(), fs::read(&old).unwrap()].concat()).unwrap();
    let server = start(database, "EdDSA", &both).await;
    assert_eq!(status(&server, &ana.token).await, 200);
    let bob = server.register("bob").await;
    let kids: Vec<Value> = published(&server).await.iter().map(|key| key["kid"].clone()).collect();
    assert_eq!(kids, [header(&bob.token)["kid"].clone(), header(&ana.token)["kid"].clone()]);
    let database = server.stop().await;

    // Without the old one, its tokens are nobody's.
    let server = start(database, "EdDSA", &new).await;
    assert_eq!((status(&server, &ana.token).await, status(&server, &bob.token).await), (401, 200));
    // Nor does another algorithm take what this one signed.
    let database = server.stop().await;
    let server = start(database, "HS256", &new).await;
    assert_eq!(status(&server, &bob.token).await, 401);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_rotate_without_ending_anything() {
    let (old, new) =
        ("the old secret of at least thirty-two characters", "the new secret of at least thirty-two characters");
    let server = Server::start_with(&[("MESH_JWT_SECRET", old)]).await;
    let ana = server.register("ana").await;
    let database = server.stop().await;
    let server = Server::start_on(database, &[("MESH_JWT_SECRET", &format!("{new},{old}"))]).await;
    assert_eq!(status(&server, &ana.token).await, 200);
    let bob = server.register("bob").await;
    assert_ne!(header(&bob.token)["kid"], header(&ana.token)["kid"]);
    let database = server.stop().await;
    let server = Server::start_on(database, &[("MESH_JWT_SECRET", new)]).await;
    assert_eq!((status(&server, &ana.token).await, status(&server, &bob.token).await), (401, 200));
    server.stop().await;
}
