//! permessage-deflate (RFC 7692), for those who offer it to a server that is set to it.

use serde_json::{Value, json};

use super::{
    post_many,
    raw::{Answer, PACKED, PING, Raw, TEXT, handshake, masked, packed},
    send, two_in_a_room, two_in_a_room_with,
};
use crate::kit::{Account, Server};

const ON: (&str, &str) = ("MESH_WS_COMPRESSION", "on");

async fn offer(server: &Server, who: &Account, offer: &str, more: &[(&'static str, &str)]) -> (Answer, Raw) {
    let mut headers = handshake();
    headers.push(("Sec-WebSocket-Extensions", offer.to_owned()));
    headers.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let (answer, raw) = Raw::request(&server.base, &format!("/ws?token={}", who.token), &headers).await;
    assert_eq!(answer.status, 101, "{}", answer.head);
    (answer, raw)
}

/// What a handshake's answer promises.
fn promised(answer: &Answer) -> Option<&str> {
    let fields = answer.head.lines().filter_map(|line| line.split_once(": "));
    fields.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-extensions")).map(|(_, value)| value)
}

/// A connection with what every browser offers.
async fn agreed(server: &Server, who: &Account) -> Raw {
    let (answer, raw) = offer(server, who, "permessage-deflate; client_max_window_bits", &[]).await;
    let promise = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    assert_eq!(promised(&answer), Some(promise));
    raw
}

async fn join(raw: &mut Raw, room: &str, since: Option<u64>) {
    let mut payload = json!({"room_id": room});
    if let Some(since) = since {
        payload["since_seq"] = since.into();
    }
    raw.packed(&json!({"type": "room.join", "id": "in", "payload": payload}).to_string()).await;
    let joined = next(raw, "room.joined").await;
    assert_eq!(joined["payload"]["gap"], false, "{joined}");
}

/// The next event of that type.
async fn next(raw: &mut Raw, wanted: &str) -> Value {
    loop {
        let event = raw.event().await;
        if event["type"] == wanted {
            return event;
        }
        assert_eq!(event["type"], "presence.update", "{event}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_agreed_on_where_both_want_it() {
    let (server, ana, _, _) = two_in_a_room_with(&[ON]).await;
    let plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    let narrow = format!("{plain}; server_max_window_bits=12");
    for (offered, answered) in [
        ("permessage-deflate", Some(plain)),
        (
            "permessage-deflate; server_max_window_bits=10, permessage-deflate; server_max_window_bits=13",
            Some(narrow.as_str()),
        ),
        ("permessage-deflate; server_max_window_bits=10", None),
        ("x-other", None),
    ] {
        // A handshake in one piece, and one that goes through HTTP.
        for more in [&[][..], &[("Content-Length", "0")]] {
            let (answer, mut raw) = offer(&server, &ana, offered, more).await;
            assert_eq!(promised(&answer), answered, "{offered}");
            raw.hello().await;
            raw.close().await;
        }
    }
    // Who offers nothing is promised nothing.
    let (answer, _raw) = Raw::request(&server.base, &format!("/ws?token={}", ana.token), &handshake()).await;
    assert_eq!((answer.status, promised(&answer)), (101, None));
    server.stop().await;

    let (server, ana, ..) = two_in_a_room().await;
    let (answer, mut raw) = offer(&server, &ana, "permessage-deflate", &[]).await;
    assert_eq!(promised(&answer), None, "it is off unless it is asked for");
    raw.hello().await;
    raw.packed("{}").await;
    let (code, reason, _) = raw.closed().await;
    assert_eq!((code, reason.as_str()), (1002, "reserved_bits"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_hear_the_same_whoever_has_it_compressed() {
    let (server, ana, ben, room) = two_in_a_room_with(&[ON]).await;
    post_many(&server, &ana, &room, 1..=30).await;
    let mut packs = agreed(&server, &ana).await;
    let mut packs_too = agreed(&server, &ben).await;
    let mut plain = Raw::open(&server.base, &ben.token).await;
    for raw in [&mut packs, &mut packs_too, &mut plain] {
        raw.hello().await;
    }
    // What was said before is replayed: in one piece, each event compressed by itself.
    join(&mut packs, &room, Some(10)).await;
    join(&mut packs_too, &room, Some(10)).await;
    plain
        .text(&json!({"type": "room.join", "id": "in", "payload": {"room_id": room, "since_seq": 10}}).to_string())
        .await;
    next(&mut plain, "room.joined").await;
    for raw in [&mut packs, &mut packs_too, &mut plain] {
        for seq in 11..=30 {
            assert_eq!(next(raw, "chat.message.created").await["payload"]["seq"], seq);
        }
    }
    // Said compressed, in fragments and in the clear; cut, the bit that says so stands on the first frame.
    let said = [send(&room, "compressed"), send(&room, "in fragments"), send(&room, "in the clear")];
    packs.packed(&said[0].to_string()).await;
    let whole = packed(said[1].to_string().as_bytes());
    packs.frame(0x41, &whole[..20]).await;
    packs.frame(PING, b"between").await;
    packs.frame(0x80, &whole[20..]).await;
    packs.text(&said[2].to_string()).await;
    let mut sizes = Vec::new();
    for (raw, first) in [(&mut packs, PACKED), (&mut packs_too, PACKED), (&mut plain, TEXT)] {
        let mut size = 0;
        let mut heard = Vec::new();
        while heard.len() < said.len() {
            let frame = raw.next().await.unwrap();
            if frame.first != first {
                continue;
            }
            size += frame.payload.len();
            let event = raw.read(frame);
            if event["type"] == "chat.message.created" {
                heard.push(event["payload"]["message"]["content"].as_str().unwrap().to_owned());
            }
        }
        assert_eq!(heard, ["compressed", "in fragments", "in the clear"]);
        sizes.push(size);
    }
    assert!(sizes[1] * 4 < sizes[2] * 3, "{sizes:?}");
    for raw in [packs, packs_too, plain] {
        raw.close().await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_unpacked_ends_its_own_connection() {
    let (server, ana, ben, room) = two_in_a_room_with(&[ON]).await;
    let mut bystander = agreed(&server, &ben).await;
    bystander.hello().await;
    join(&mut bystander, &room, None).await;
    let bomb = packed(&vec![b' '; 16 * 1024 * 1024]);
    assert!(bomb.len() < 32 * 1024);
    let in_two = [masked(0x41, &bomb[..100]), masked(0x80, &bomb[100..])].concat();
    for (bytes, code, reason) in [
        (masked(PACKED, &bomb), 4413, "too_large"),
        (in_two, 4413, "too_large"),
        (masked(PACKED, b"\xFF\xFF\xFF"), 1007, "invalid_deflate"),
        (masked(PACKED, &packed(b"\xFF")), 1007, "invalid_utf8"),
        (masked(0xC9, b""), 1002, "reserved_bits"),
        (masked(0xE1, &packed(b"{}")), 1002, "reserved_bits"),
        ([masked(0x41, &packed(b"{}")), masked(0xC0, b"")].concat(), 1002, "reserved_bits"),
    ] {
        let mut raw = agreed(&server, &ana).await;
        raw.hello().await;
        raw.bytes(&bytes).await;
        let (closed, word, _) = raw.closed().await;
        assert_eq!((closed, word.as_str()), (code, reason));
    }
    // A limit that nobody reaches by compressing.
    let mut raw = agreed(&server, &ana).await;
    raw.hello().await;
    raw.packed(&format!(r#"{{"type":"system.ping","id":"big","payload":{{"pad":"{}"}}}}"#, "x".repeat(60_000))).await;
    assert_eq!(next(&mut raw, "system.pong").await["reply_to"], "big");
    raw.packed(&send(&room, "still here").to_string()).await;
    let heard = next(&mut bystander, "chat.message.created").await;
    assert_eq!(heard["payload"]["message"]["content"], "still here");
    raw.close().await;
    bystander.close().await;
    server.stop().await;
}
