//! Files and terminals: what is announced, to whom, and when it is withdrawn.

use mesh_protocol::limits::MAX_PEER_FILES;
use serde_json::{Value, json};

use super::{Pair, code, heard, pair};

const KINDS: &[&str] = &["file.", "terminal."];

async fn share(p: &mut Pair, file: &str) -> Value {
    let ask = json!({"room_id": p.room, "file_id": file, "name": "rapport é.pdf", "size": 482_113,
        "mime": "application/pdf", "sha256": "AB".repeat(32)});
    p.b.ask("file.share", ask).await
}

async fn share_terminal(p: &mut Pair, terminal: &str) -> Value {
    let ask = json!({"room_id": p.room, "terminal_id": terminal, "title": "Build", "cols": 120, "rows": 40});
    p.b.ask("terminal.share", ask).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shared_is_told_to_the_room_and_to_who_joins_later() {
    let mut p = pair().await;
    p.a.join(&p.room).await;
    let own = share(&mut p, "f1").await;
    assert_eq!((&own["type"], &own["from"], &own["to"]), (&json!("file.shared"), &json!(p.b.id), &json!(p.room)));
    let file = &own["payload"];
    assert_eq!((&file["peer_id"], &file["user_id"]), (&json!(p.b.id), &json!(p.ben.id)));
    assert_eq!((&file["name"], &file["size"]), (&json!("rapport é.pdf"), &json!(482_113)));
    assert_eq!(file["sha256"], "ab".repeat(32));
    let told = p.a.next_of("file.shared").await;
    assert_eq!((&told["payload"], told.get("reply_to")), (file, None));
    let own = share_terminal(&mut p, "t1").await;
    assert_eq!(own["payload"]["controller"], Value::Null);
    assert_eq!(p.a.next_of("terminal.shared").await["payload"], own["payload"]);
    // Announced again, it has changed: the same thing, from the same time on.
    let ask = json!({"room_id": p.room, "terminal_id": "t1", "title": "Build 2", "cols": 80, "rows": 24});
    let changed = p.b.ask("terminal.share", ask).await;
    assert_eq!(
        (&changed["payload"]["cols"], &changed["payload"]["shared_at"]),
        (&json!(80), &own["payload"]["shared_at"])
    );
    assert_eq!(p.a.next_of("terminal.shared").await["payload"]["title"], "Build 2");

    let mut late = p.server.peer(&p.ana).await;
    let joined = late.join(&p.room).await["payload"].clone();
    let without_room = |mut payload: Value| {
        payload.as_object_mut().unwrap().remove("room_id");
        payload
    };
    assert_eq!(joined["files"], json!([without_room(file.clone())]));
    assert_eq!(joined["terminals"], json!([without_room(changed["payload"].clone())]));

    let gone = p.b.ask("file.unshare", json!({"room_id": p.room, "file_id": "f1"})).await;
    let expected = json!({"room_id": p.room, "file_id": "f1", "peer_id": p.b.id, "reason": "unshared"});
    assert_eq!((&gone["type"], &gone["payload"]), (&json!("file.unshared"), &expected));
    assert_eq!(late.next_of("file.unshared").await["payload"], expected);
    // There is none any more.
    let again = p.b.ask("file.unshare", json!({"room_id": p.room, "file_id": "f1"})).await;
    assert_eq!(again["type"], "system.ack");
    p.b.ask("terminal.unshare", json!({"room_id": p.room, "terminal_id": "t1"})).await;
    late.next_of("terminal.unshared").await;
    let joined = p.server.peer(&p.ana).await.join(&p.room).await["payload"].clone();
    assert_eq!((&joined["files"], &joined["terminals"]), (&json!([]), &json!([])));
    p.server.stop().await;
}

/// What the room was told when what ben shared was withdrawn.
async fn withdrawn(p: &mut Pair, reason: &str) {
    let file = p.a.next_of("file.unshared").await;
    assert_eq!(file["from"], "server");
    let peer = file["payload"]["peer_id"].clone();
    assert_eq!(file["payload"], json!({"room_id": p.room, "file_id": "f1", "peer_id": peer, "reason": reason}));
    let terminal = p.a.next_of("terminal.unshared").await;
    assert_eq!(terminal["payload"], json!({"room_id": p.room, "terminal_id": "t1", "peer_id": peer, "reason": reason}));
    let joined = p.server.peer(&p.ana).await.join(&p.room).await["payload"].clone();
    assert_eq!((&joined["files"], &joined["terminals"]), (&json!([]), &json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_withdrawn_when_the_owner_goes() {
    for how in ["gone", "replaced", "logout", "kick", "ban", "leave", "guest"] {
        let mut p = pair().await;
        p.a.join(&p.room).await;
        share(&mut p, "f1").await;
        share_terminal(&mut p, "t1").await;
        let member = format!("/api/rooms/{}/members/{}", p.room, p.ben.id);
        let reason = match how {
            "gone" => {
                drop(std::mem::replace(&mut p.b, p.server.peer(&p.ben).await));
                "peer_gone"
            }
            "replaced" => {
                let mut again = crate::kit::Peer::connect(&p.server.base, &p.ben.token).await;
                let hello = json!({"peer_type": "agent", "version": "test"});
                again.send(json!({"type": "system.hello", "from": p.b.id, "payload": hello})).await;
                again.next_of("system.welcome").await;
                p.b = again;
                "peer_gone"
            }
            "logout" => {
                assert_eq!(p.server.post("/api/auth/logout", &p.ben, json!({})).await.0, 204);
                "peer_gone"
            }
            "kick" => {
                p.done("DELETE", &member, None).await;
                "member_removed"
            }
            "ban" => {
                p.done("PUT", &format!("/api/rooms/{}/bans/{}", p.room, p.ben.id), Some(json!({}))).await;
                "member_removed"
            }
            "leave" => {
                assert_eq!(p.server.ask("DELETE", &member, Some(&p.ben.token), None).await.0, 204);
                "member_removed"
            }
            _ => {
                p.make_ben("guest").await;
                "role_changed"
            }
        };
        withdrawn(&mut p, reason).await;
        p.server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_share_nothing_and_nobody_takes_anothers_id() {
    let mut p = pair().await;
    let file = json!({"room_id": p.room, "file_id": "f1", "name": "a", "size": 1});
    assert_eq!(p.a.ask("file.share", file.clone()).await["type"], "file.shared");
    assert_eq!(code(&p.b.ask("file.share", file.clone()).await), "conflict");
    // Nor does one take it back for another.
    assert_eq!(p.b.ask("file.unshare", json!({"room_id": p.room, "file_id": "f1"})).await["type"], "system.ack");
    p.make_ben("guest").await;
    assert_eq!(code(&share(&mut p, "f2").await), "forbidden");
    assert_eq!(code(&share_terminal(&mut p, "t2").await), "forbidden");
    let joined = p.b.join(&p.room).await["payload"].clone();
    assert_eq!((joined["files"].as_array().unwrap().len(), &joined["terminals"]), (1, &json!([])));
    p.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_announcements_are_refused_by_their_field_and_their_number_is_bounded() {
    let mut p = pair().await;
    let with = |base: &Value, field: &str, value: Value| {
        let mut ask = base.clone();
        ask[field] = value;
        ask
    };
    let file = json!({"room_id": p.room, "file_id": "f1", "name": "a", "size": 1});
    let terminal = json!({"room_id": p.room, "terminal_id": "t1", "title": "T", "cols": 80, "rows": 24});
    let bad = [
        ("file.share", "file_id", with(&file, "file_id", json!(""))),
        ("file.share", "file_id", with(&file, "file_id", json!("x".repeat(65)))),
        ("file.share", "name", with(&file, "name", json!("../../etc/passwd"))),
        ("file.share", "name", with(&file, "name", json!("x".repeat(256)))),
        ("file.share", "size", with(&file, "size", json!(-1))),
        ("file.share", "size", with(&file, "size", json!(1_u64 << 53))),
        ("file.share", "mime", with(&file, "mime", json!("pdf"))),
        ("file.share", "sha256", with(&file, "sha256", json!("abc"))),
        ("terminal.share", "title", with(&terminal, "title", json!(" "))),
        ("terminal.share", "cols", with(&terminal, "cols", json!(0))),
        ("terminal.share", "rows", with(&terminal, "rows", json!(1001))),
    ];
    for (kind, field, ask) in bad {
        let answer = p.b.ask(kind, ask.clone()).await;
        assert_eq!(
            (code(&answer), &answer["payload"]["details"]["field"]),
            ("invalid_payload", &json!(field)),
            "{ask}"
        );
    }
    for n in 0..MAX_PEER_FILES {
        let answer = p.b.ask("file.share", with(&file, "file_id", json!(format!("f{n}")))).await;
        assert_eq!(answer["type"], "file.shared", "{answer}");
    }
    assert_eq!(code(&p.b.ask("file.share", with(&file, "file_id", json!("one more"))).await), "conflict");
    assert_eq!(p.b.ask("file.share", with(&file, "file_id", json!("f0"))).await["type"], "file.shared");
    p.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_room_has_nothing_to_withdraw() {
    let mut p = pair().await;
    p.a.join(&p.room).await;
    share(&mut p, "f1").await;
    heard(&mut p.a, KINDS).await;
    p.done("DELETE", &format!("/api/rooms/{}", p.room), None).await;
    p.a.next_of("room.deleted").await;
    assert!(heard(&mut p.a, KINDS).await.is_empty());
    assert_eq!(code(&share(&mut p, "f2").await), "not_found");
    p.server.stop().await;
}
