//! A reader who does not read ends alone, and misses nothing.

use serde_json::{Value, json};

use super::{raw::Raw, send, stream, two_in_a_room_with};
use crate::kit::{Account, Peer, Server};

/// Characters of four bytes: sixty kilobytes a message.
const LONG: usize = 15_000;

/// How many long messages no socket can hold back: what the kernel may keep for one, and the server's own limit.
fn too_many() -> u64 {
    let wmem = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_wmem").unwrap_or_default();
    let kernel = wmem.split_whitespace().last().and_then(|max| max.parse().ok()).unwrap_or(4 << 20);
    (kernel + (2_u64 << 20)) / (4 * LONG as u64) + 1
}

async fn say_long(peer: &mut Peer, room: &str, n: u64) {
    let content = format!("{n} {}", "𓀀".repeat(LONG));
    let payload = json!({"room_id": room, "content": content, "client_id": format!("long-{n}")});
    let created = peer.ask("chat.message.send", payload).await;
    assert_eq!(created["payload"]["seq"], n, "{}", created["type"]);
}

async fn one_who_does_not_read(server: &Server, who: &Account, room: &str) -> Raw {
    let mut raw = Raw::narrow(&server.base, &who.token).await;
    raw.text(&json!({"type": "room.join", "payload": {"room_id": room}}).to_string()).await;
    assert_eq!(raw.event().await["type"], "room.joined");
    raw
}

fn numbers(events: &[Value]) -> Vec<u64> {
    events.iter().filter_map(|e| e["payload"]["seq"].as_u64()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_is_closed_with_4429_and_resumes_completely() {
    let (server, ana, ben, room) = two_in_a_room_with(&[("MESH_MAX_MESSAGE_CHARS", "16000")]).await;
    let mut slow = one_who_does_not_read(&server, &ben, &room).await;
    let (mut speaker, mut reader) = (server.peer(&ana).await, server.peer(&ben).await);
    speaker.join(&room).await;
    reader.join(&room).await;
    let last = too_many();
    for n in 1..=last {
        say_long(&mut speaker, &room, n).await;
        stream(&mut reader, &room, n - 1, n).await;
    }
    let (code, reason, mut events) = slow.closed().await;
    assert_eq!((code, reason.as_str()), (4429, "too_slow"));
    let goodbye = events.pop().unwrap();
    assert_eq!(goodbye["type"], "system.goodbye");
    assert_eq!((&goodbye["payload"]["code"], &goodbye["payload"]["action"]), (&json!(4429), &json!("resume")));
    let seen = numbers(&events);
    let has = seen.len() as u64;
    assert_eq!(seen, (1..=has).collect::<Vec<_>>(), "what came before the close is whole");
    assert!(has < last);
    // The other reader is untouched, and the slow one comes back.
    say_long(&mut speaker, &room, last + 1).await;
    stream(&mut reader, &room, last, last + 1).await;
    let mut back = server.peer(&ben).await;
    let joined = back.ask("room.join", json!({"room_id": room, "since_seq": has})).await;
    assert_eq!(joined["payload"]["gap"], false);
    let rest = stream(&mut back, &room, has, last + 1).await;
    assert_eq!(rest, server.log(&ana, &room).await[has as usize..]);
    drop((slow, speaker, reader, back));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_slowly_is_not_closed_while_it_catches_up() {
    let (server, ana, ben, room) = two_in_a_room_with(&[("MESH_MAX_MESSAGE_CHARS", "16000")]).await;
    let mut speaker = server.peer(&ana).await;
    // Two pages of the replay and more.
    let last = 160.max(too_many());
    for n in 1..=last {
        say_long(&mut speaker, &room, n).await;
    }
    // It asks for everything, and reads nothing until the server can do no more but wait.
    let mut slow = Raw::narrow(&server.base, &ben.token).await;
    slow.text(&json!({"type": "room.join", "payload": {"room_id": room, "since_seq": 0}}).to_string()).await;
    for n in last + 1..=last + 3 {
        say_long(&mut speaker, &room, n).await;
    }
    assert_eq!(slow.event().await["type"], "room.joined");
    for n in 1..=last + 3 {
        let event = slow.event().await;
        assert_eq!((&event["type"], &event["payload"]["seq"]), (&json!("chat.message.created"), &json!(n)));
    }
    slow.close().await;
    drop(speaker);
    server.stop().await;
}

/// Whoever hangs up with something unread resets the connection, which the server meets while it writes.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_before_a_reset_counts() {
    let (server, ana, ben, room) = two_in_a_room_with(&[("MESH_MAX_MESSAGE_CHARS", "16000")]).await;
    let mut speaker = server.peer(&ana).await;
    let last = too_many();
    for n in 1..=last {
        say_long(&mut speaker, &room, n).await;
    }
    speaker.join(&room).await;
    // The server is busy with its replay when it speaks and goes.
    let mut slow = Raw::narrow(&server.base, &ben.token).await;
    slow.text(&json!({"type": "room.join", "payload": {"room_id": room, "since_seq": 0}}).to_string()).await;
    slow.text(&send(&room, "and gone").to_string()).await;
    drop(slow);
    let said = stream(&mut speaker, &room, last, last + 1).await;
    assert_eq!(said.last().unwrap()["content"], "and gone");
    drop(speaker);
    server.stop().await;
}
