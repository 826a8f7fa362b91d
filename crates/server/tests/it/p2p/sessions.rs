//! How two agents come to a session, and what its token says.

use jsonwebtoken::{DecodingKey, Validation, jwk::JwkSet};
use mesh_protocol::limits::MAX_P2P_ASKED;
use serde_json::{Value, json};

use super::{code, heard, pair, pair_with, print};

#[tokio::test(flavor = "multi_thread")]
async fn asked_and_accepted_both_know_where_and_who() {
    let mut p = pair().await;
    let token = p.token(&p.ana, "share:file", json!({})).await;
    let request = p.request(&token, json!({"meta": {"file_id": "f1", "deep": [1, {"x": null}]}}));
    let answer = p.a.ask("p2p.session.request", request).await;
    assert_eq!(answer["type"], "system.ack", "{answer}");
    let id = answer["payload"]["session_id"].clone();
    let asked = p.b.next_of("p2p.session.requested").await;
    assert_eq!((&asked["from"], &asked["to"]), (&json!(p.a.id), &json!(p.b.id)));
    let payload = &asked["payload"];
    assert_eq!((&payload["session_id"], &payload["room_id"]), (&id, &json!(p.room)));
    assert_eq!((&payload["from_peer"], &payload["from_user"]), (&json!(p.a.id), &json!(p.ana.id)));
    assert_eq!((&payload["kind"], &payload["endpoints"]), (&json!("file"), &json!(["192.0.2.7:40312"])));
    assert_eq!(payload["fingerprint"], print(0xAA));
    assert_eq!(payload["meta"], json!({"file_id": "f1", "deep": [1, {"x": null}]}));
    assert!(!asked.to_string().contains(&token), "the capability goes to nobody");

    let (anas, bens) = p.accept(id.as_str().unwrap()).await;
    for (created, other, user, endpoint, fingerprint) in [
        (&anas["payload"], &p.b.id, &p.ben.id, "198.51.100.4:52001", print(0xBB)),
        (&bens["payload"], &p.a.id, &p.ana.id, "192.0.2.7:40312", print(0xAA)),
    ] {
        assert_eq!(
            (&created["session_id"], &created["room_id"], &created["kind"]),
            (&id, &json!(p.room), &json!("file"))
        );
        let peer = json!({"peer_id": other, "user_id": user, "endpoints": [endpoint], "fingerprint": fingerprint});
        assert_eq!(created["peer"], peer);
    }
    assert_eq!(anas["payload"]["session_token"], bens["payload"]["session_token"]);
    assert_eq!(anas["payload"]["expires_at"], bens["payload"]["expires_at"]);
    // Accepted once is accepted; nobody accepts for another.
    let again = json!({"session_id": id, "endpoints": ["198.51.100.4:1"], "fingerprint": print(0xBB)});
    assert_eq!(code(&p.b.ask("p2p.session.accept", again.clone()).await), "conflict");
    assert_eq!(code(&p.a.ask("p2p.session.accept", again).await), "not_found");

    let closed = p.a.ask("p2p.session.close", json!({"session_id": id})).await;
    assert_eq!((&closed["type"], &closed["payload"]["reason"]), (&json!("p2p.session.closed"), &json!("closed")));
    let told = p.b.next_of("p2p.session.closed").await;
    assert_eq!((&told["from"], &told["payload"]), (&json!(p.a.id), &closed["payload"]));
    assert_eq!(code(&p.b.ask("p2p.session.close", json!({"session_id": id})).await), "not_found");
    p.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_asymmetric_algorithm_signs_a_token_that_is_verified_without_the_server() {
    for algorithm in ["EdDSA", "ES256"] {
        let dir = tempfile::TempDir::new().unwrap();
        let file = dir.path().join("key.pem");
        let settings = [("MESH_JWT_ALGORITHM", algorithm), ("MESH_JWT_PRIVATE_KEY_FILE", file.to_str().unwrap())];
        let mut p = pair_with(&settings).await;
        let id = p.ask().await;
        let (created, _) = p.accept(&id).await;
        let token = created["payload"]["session_token"].as_str().unwrap().to_owned();
        let (_, keys) = p.server.ask("GET", "/.well-known/jwks.json", None, None).await;
        // No session token in the place of another, and none of another kind in its place.
        assert_eq!(p.server.ask("GET", "/api/auth/me", Some(&token), None).await.0, 401);
        let request = p.request(&token, json!({}));
        assert_eq!(code(&p.a.ask("p2p.session.request", request).await), "capability_invalid");
        assert_eq!(code(&p.a.ask("system.auth", json!({"token": token})).await), "forbidden");
        let capability = p.token(&p.ana, "share:file", json!({})).await;
        p.server.stop().await;

        let keys: JwkSet = serde_json::from_value(keys).unwrap();
        let header = jsonwebtoken::decode_header(&token).unwrap();
        assert_eq!(header.typ.as_deref(), Some("mesh-p2p+jwt"));
        for other in [&p.ana.token, &capability] {
            assert_ne!(jsonwebtoken::decode_header(other).unwrap().typ, header.typ);
        }
        let key = keys.find(&header.kid.unwrap()).unwrap();
        let mut validation = Validation::new(key.common.key_algorithm.unwrap().to_string().parse().unwrap());
        validation.set_required_spec_claims(&["exp", "iss"]);
        let verified = jsonwebtoken::decode::<Value>(&token, &DecodingKey::from_jwk(key).unwrap(), &validation);
        let claims = verified.unwrap().claims;
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 120);
        assert!(claims["jti"].as_str().is_some_and(|id| id.len() == 36));
        assert_eq!(
            (&claims["session_id"], &claims["room_id"], &claims["kind"]),
            (&json!(id), &json!(p.room), &json!("file"))
        );
        for (role, user, peer, byte) in
            [("initiator", &p.ana.id, &p.a.id, 0xAA_u8), ("responder", &p.ben.id, &p.b.id, 0xBB)]
        {
            use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
            let cnf = json!({"x5t#S256": BASE64_URL_SAFE_NO_PAD.encode([byte; 32])});
            assert_eq!(claims[role], json!({"sub": user, "peer_id": peer, "cnf": cnf}));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_needs_a_capability_for_just_this() {
    let mut p = pair().await;
    let without = p.request("", json!({"capability_token": null}));
    assert_eq!(code(&p.a.ask("p2p.session.request", without).await), "capability_required");
    let other = p.server.room(&p.ana, "Autre").await;
    let good = p.token(&p.ana, "share:file", json!({})).await;
    let bens = p.token(&p.ben, "share:file", json!({})).await;
    let (_, elsewhere) =
        p.server.post("/api/auth/capability", &p.ana, json!({"room_id": other, "capabilities": ["share:file"]})).await;
    let refused = [
        ("of another kind", p.request(&good, json!({"kind": "folder"}))),
        ("of another kind", p.request(&good, json!({"kind": "terminal"}))),
        ("of somebody else", p.request(&bens, json!({}))),
        ("for another room", p.request(elsewhere["capability_token"].as_str().unwrap(), json!({}))),
        ("an access token", p.request(&p.ana.token, json!({}))),
        ("for another peer", {
            let named = p.token(&p.ana, "share:file", json!({"target_peer_id": "somebody"})).await;
            p.request(&named, json!({}))
        }),
        ("bound to another certificate", {
            let bound = p.token(&p.ana, "share:file", json!({"fingerprint": print(0xCC)})).await;
            p.request(&bound, json!({}))
        }),
    ];
    for (why, request) in refused {
        assert_eq!(code(&p.a.ask("p2p.session.request", request).await), "capability_invalid", "{why}");
    }
    for (kind, capability) in
        [("folder", "share:folder"), ("terminal", "terminal:view"), ("terminal", "terminal:control")]
    {
        let (named, bound) = (json!({"target_peer_id": p.b.id}), json!({"fingerprint": print(0xAA)}));
        for more in [named, bound] {
            let token = p.token(&p.ana, capability, more).await;
            let answer = p.a.ask("p2p.session.request", p.request(&token, json!({"kind": kind}))).await;
            assert_eq!(answer["type"], "system.ack", "{kind}: {answer}");
        }
    }
    assert_eq!(heard(&mut p.b, &["p2p."]).await.len(), 6);
    p.server.advance(181);
    let late = p.request(&good, json!({}));
    assert_eq!(code(&p.a.ask("p2p.session.request", late).await), "capability_invalid");
    p.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_offers_are_refused_by_their_field() {
    let mut p = pair().await;
    let token = p.token(&p.ana, "share:file", json!({})).await;
    let bad = [
        ("endpoints", json!({"endpoints": []})),
        ("endpoints", json!({"endpoints": vec!["192.0.2.7:1"; 17]})),
        ("endpoints[1]", json!({"endpoints": ["192.0.2.7:1", "example.org:1"]})),
        ("endpoints[0]", json!({"endpoints": ["0.0.0.0:4000"]})),
        ("endpoints[0]", json!({"endpoints": [7]})),
        ("fingerprint", json!({"fingerprint": "sha-1 AB:CD"})),
        ("meta", json!({"meta": {"x": "y".repeat(5000)}})),
        ("meta", json!({"meta": "text"})),
        ("kind", json!({"kind": "video"})),
        ("target_peer_id", json!({"target_peer_id": "a b"})),
        ("target_peer_id", json!({"target_peer_id": p.a.id})),
    ];
    for (field, more) in bad {
        let answer = p.a.ask("p2p.session.request", p.request(&token, more.clone())).await;
        assert_eq!(
            (code(&answer), &answer["payload"]["details"]["field"]),
            ("invalid_payload", &json!(field)),
            "{more}"
        );
    }
    let id = p.ask().await;
    let bad = json!({"session_id": id, "endpoints": ["198.51.100.4"], "fingerprint": print(1)});
    let answer = p.b.ask("p2p.session.accept", bad).await;
    assert_eq!((code(&answer), &answer["payload"]["details"]["field"]), ("invalid_payload", &json!("endpoints[0]")));
    let long = json!({"session_id": id, "reason": "x".repeat(501)});
    assert_eq!(code(&p.b.ask("p2p.session.reject", long).await), "invalid_payload");
    // It can be accepted still.
    p.accept(&id).await;
    p.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_and_forgotten() {
    let mut p = pair().await;
    let id = p.ask().await;
    let rejected = p.b.ask("p2p.session.reject", json!({"session_id": id, "reason": "busy"})).await;
    let expected = json!({"session_id": id, "reason": "rejected", "message": "busy"});
    assert_eq!((&rejected["type"], &rejected["payload"]), (&json!("p2p.session.closed"), &expected));
    let told = p.a.next_of("p2p.session.closed").await;
    assert_eq!((&told["from"], &told["payload"]), (&json!(p.b.id), &expected));
    // Nobody answers: both hear that it is over, after thirty seconds and not before.
    let id = p.ask().await;
    p.server.advance(29);
    assert!(heard(&mut p.a, &["p2p."]).await.is_empty());
    p.server.advance(1);
    let expected = json!({"session_id": id, "reason": "timeout"});
    for peer in [&mut p.a, &mut p.b] {
        assert_eq!(peer.next_of("p2p.session.closed").await["payload"], expected);
    }
    let late = json!({"session_id": id, "endpoints": ["198.51.100.4:1"], "fingerprint": print(1)});
    assert_eq!(code(&p.b.ask("p2p.session.accept", late).await), "not_found");
    p.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_there_or_not_in_the_room_is_offline() {
    let mut p = pair().await;
    let eve = p.server.register("eve").await;
    let stranger = p.server.peer(&eve).await;
    let token = p.token(&p.ana, "share:file", json!({})).await;
    for target in ["nobody", &stranger.id] {
        let answer = p.a.ask("p2p.session.request", p.request(&token, json!({"target_peer_id": target}))).await;
        let told = answer["payload"].to_string().replace(target, "X");
        assert_eq!((code(&answer), answer["payload"]["retryable"].as_bool()), ("peer_offline", Some(true)));
        assert!(told.contains("X is not there"), "{told}");
    }
    p.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_asks_for_a_bounded_number() {
    let mut p = pair().await;
    let mut first = String::new();
    for n in 0..MAX_P2P_ASKED {
        let id = p.ask().await;
        if n == 0 {
            first = id;
        }
    }
    let token = p.token(&p.ana, "share:file", json!({})).await;
    let request = p.request(&token, json!({}));
    assert_eq!(code(&p.a.ask("p2p.session.request", request).await), "conflict");
    p.a.ask("p2p.session.close", json!({"session_id": first})).await;
    p.ask().await;
    p.server.stop().await;
}
