//! Frames and their limits (RFC 6455), and how fast one may speak.

use serde_json::{Value, json};

use super::{
    code,
    raw::{BINARY, CLOSE, PING, PONG, Raw, TEXT, head, masked},
    send, two_in_a_room, until_pong,
};
use crate::kit::Server;

const LIMIT: usize = 64 * 1024;
/// Without FIN: more is to come.
const TEXT_BEGINS: u8 = 0x01;
const GOES_ON: u8 = 0x00;
const ENDS: u8 = 0x80;

/// A ping event of exactly that many bytes.
fn ping_of(bytes: usize) -> String {
    let frame =
        |pad: usize| format!(r#"{{"type":"system.ping","id":"big","payload":{{"pad":"{}"}}}}"#, "x".repeat(pad));
    let event = frame(bytes - frame(0).len());
    assert_eq!(event.len(), bytes);
    event
}

fn assert_goodbye(events: &[Value], code: u16, reason: &str, action: &str) {
    let goodbye = events.last().unwrap_or_else(|| panic!("no goodbye before {code}"));
    assert_eq!(goodbye["type"], "system.goodbye", "{goodbye}");
    let expected = json!({"code": code, "reason": reason, "action": action, "retry_after_ms": 0});
    assert_eq!(goodbye["payload"], expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_of_64_kib_passes_and_a_larger_one_closes_with_4413() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let mut bystander = server.peer(&ana).await;
    let too_large = masked(TEXT, ping_of(LIMIT + 1).as_bytes());
    // Told by its header: the server does not wait for what it will not read.
    let announced = head(TEXT, 0x80, LIMIT + 1).into_iter().chain([0; 4]).collect();
    let absurd = head(BINARY, 0x80, usize::MAX >> 1).into_iter().chain([0; 4]).collect();
    let mut summed = masked(TEXT_BEGINS, &[b'x'; LIMIT / 2]);
    summed.extend(masked(GOES_ON, &[b'x'; LIMIT / 2]));
    summed.extend(masked(ENDS, b"x"));
    for bytes in [too_large, announced, absurd, summed] {
        let mut raw = Raw::open(&server.base, &ana.token).await;
        raw.hello().await;
        raw.text(&ping_of(LIMIT)).await;
        assert_eq!(raw.event().await["type"], "system.pong");
        raw.bytes(&bytes).await;
        let (code, reason, events) = raw.closed().await;
        assert_eq!((code, reason.as_str()), (4413, "too_large"));
        assert_goodbye(&events, 4413, "too_large", "resume");
        assert_eq!(events.len(), 1);
    }
    until_pong(&mut bystander).await;
    drop(bystander);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_the_protocol_closes_with_1002_or_1007() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let mut bystander = server.peer(&ana).await;
    let unmasked = head(TEXT, 0, 2).into_iter().chain(*b"{}").collect();
    let long_control = masked(PING, &[0; 126]);
    let two = |one: Vec<u8>, other: Vec<u8>| [one, other].concat();
    let cases = [
        (unmasked, 1002, "unmasked_frame"),
        (masked(TEXT | 0x40, b"{}"), 1002, "reserved_bits"),
        (masked(TEXT | 0x20, b"{}"), 1002, "reserved_bits"),
        (masked(PING | 0x10, b""), 1002, "reserved_bits"),
        (masked(0x83, b"{}"), 1002, "reserved_opcode"),
        (masked(0x8F, b""), 1002, "reserved_opcode"),
        (long_control, 1002, "control_too_long"),
        (masked(0x09, b""), 1002, "control_fragmented"),
        (masked(ENDS, b"{}"), 1002, "bad_continuation"),
        (two(masked(TEXT_BEGINS, b"{"), masked(TEXT, b"{}")), 1002, "bad_continuation"),
        (masked(CLOSE, &[3]), 1002, "invalid_close"),
        (masked(CLOSE, &1005_u16.to_be_bytes()), 1002, "invalid_close"),
        (masked(CLOSE, &999_u16.to_be_bytes()), 1002, "invalid_close"),
        (masked(TEXT, b"\"\xff\""), 1007, "invalid_utf8"),
        (masked(TEXT, "é".as_bytes().split_at(1).0), 1007, "invalid_utf8"),
        (two(masked(TEXT_BEGINS, b"\"\xc3"), masked(ENDS, b"\"")), 1007, "invalid_utf8"),
        (masked(CLOSE, &[&1000_u16.to_be_bytes()[..], b"\xff"].concat()), 1007, "invalid_utf8"),
    ];
    for (bytes, code, reason) in cases {
        for said_hello in [false, true] {
            let mut raw = Raw::open(&server.base, &ana.token).await;
            if said_hello {
                raw.hello().await;
            }
            raw.bytes(&bytes).await;
            let (closed, word, events) = raw.closed().await;
            assert_eq!((closed, word.as_str()), (code, reason));
            if said_hello {
                assert_goodbye(&events, code, reason, "stop");
            } else {
                assert!(events.is_empty(), "a goodbye is for those who said hello: {events:?}");
            }
        }
    }
    until_pong(&mut bystander).await;
    drop(bystander);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fragments_make_one_message_with_pings_in_between() {
    let (server, ana, _, room) = two_in_a_room().await;
    let mut raw = Raw::open(&server.base, &ana.token).await;
    raw.hello().await;
    let event = send(&room, "in pieces: é 𓀀").to_string();
    // Cut anywhere, also within a character.
    let bytes = event.as_bytes();
    let at = event.find('𓀀').unwrap() + 2;
    raw.frame(TEXT_BEGINS, &bytes[..10]).await;
    raw.frame(PING, b"between").await;
    let pong = raw.next().await.unwrap();
    assert_eq!((pong.first, pong.payload.as_slice()), (PONG, &b"between"[..]));
    raw.frame(GOES_ON, &bytes[10..at]).await;
    raw.frame(GOES_ON, b"").await;
    raw.frame(ENDS, &bytes[at..]).await;
    let created = raw.event().await;
    assert_eq!(created["payload"]["message"]["content"], "in pieces: é 𓀀");
    // Byte by byte on the wire it is the same, and so are several events in one piece.
    for byte in masked(TEXT, br#"{"type":"system.ping","id":"slow"}"#) {
        raw.bytes(&[byte]).await;
    }
    assert_eq!(raw.event().await["reply_to"], "slow");
    let many: Vec<u8> =
        (0..50).flat_map(|n| masked(TEXT, format!(r#"{{"type":"system.ping","id":"p{n}"}}"#).as_bytes())).collect();
    raw.bytes(&many).await;
    for n in 0..50 {
        assert_eq!(raw.event().await["reply_to"], format!("p{n}"));
    }
    raw.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_is_answered_by_its_own_code_and_ends_the_connection() {
    let (server, ana, _, room) = two_in_a_room().await;
    for payload in [&b""[..], &1000_u16.to_be_bytes(), &1001_u16.to_be_bytes(), b"\x0f\xa0bye", b"\x0b\xb8"] {
        let mut raw = Raw::open(&server.base, &ana.token).await;
        raw.hello().await;
        // What comes behind a close is not read.
        let mut bytes = masked(CLOSE, payload);
        bytes.extend(masked(TEXT, send(&room, "too late").to_string().as_bytes()));
        raw.bytes(&bytes).await;
        let answer = raw.next().await.unwrap();
        assert_eq!((answer.first, answer.payload.as_slice()), (CLOSE, &payload[..payload.len().min(2)]));
        assert_eq!(raw.next().await, None, "the server hangs up");
    }
    assert!(server.log(&ana, &room).await.is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_without_a_word_is_forgotten() {
    let (server, ana, ben, room) = two_in_a_room().await;
    let mut b = server.peer(&ben).await;
    b.join(&room).await;
    for _ in 0..20 {
        let mut raw = Raw::open(&server.base, &ana.token).await;
        raw.hello().await;
        raw.text(&json!({"type": "room.join", "payload": {"room_id": room}}).to_string()).await;
        raw.text(&send(&room, "and gone").to_string()).await;
        raw.bytes(&head(TEXT, 0x80, 500)).await;
    }
    stream_to(&mut b, &room, 20).await;
    // Its stop asserts that nobody is left.
    server.stop().await;
}

async fn stream_to(peer: &mut crate::kit::Peer, room: &str, last: u64) {
    super::stream(peer, room, 0, last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_events_are_rate_limited_until_time_has_passed() {
    let server = Server::start_with(&[("MESH_EVENTS_PER_SECOND", "5")]).await;
    let ana = server.register("ana").await;
    let room = server.room(&ana, "Cuisine").await;
    let (mut peer, mut other) = (server.peer(&ana).await, server.peer(&ana).await);
    // A burst of four seconds' worth, of which hello was one; the server's clock stands still.
    for _ in 0..19 {
        assert_eq!(peer.ask("system.ping", json!({})).await["type"], "system.pong");
    }
    let refused = peer.ask("chat.message.send", json!({"room_id": room, "content": "one too many"})).await;
    assert_eq!(code(&refused), "rate_limited");
    assert_eq!((&refused["payload"]["retryable"], &refused["payload"]["retry_after_ms"]), (&json!(true), &json!(200)));
    assert!(server.log(&ana, &room).await.is_empty());
    assert_eq!(other.ask("system.ping", json!({})).await["type"], "system.pong", "each connection has its own");
    server.advance(1);
    for n in 0..6 {
        let answer = peer.ask("system.ping", json!({})).await;
        assert_eq!(answer["type"], if n < 5 { "system.pong" } else { "system.error" });
    }
    drop((peer, other));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flooding_closes_with_4429() {
    let server = Server::start_with(&[("MESH_EVENTS_PER_SECOND", "1")]).await;
    let ana = server.register("ana").await;
    let mut raw = Raw::open(&server.base, &ana.token).await;
    raw.hello().await;
    let ping = masked(TEXT, br#"{"type":"system.ping"}"#);
    raw.bytes(&ping.repeat(1_100)).await;
    let (code, reason, events) = raw.closed().await;
    assert_eq!((code, reason.as_str()), (4429, "flooding"));
    assert_goodbye(&events, 4429, "flooding", "resume");
    let refused = events.iter().filter(|e| e["payload"]["code"] == "rate_limited").count();
    assert_eq!(refused, 1_000, "nothing after the last straw is answered");
    drop(raw);
    server.stop().await;
}
