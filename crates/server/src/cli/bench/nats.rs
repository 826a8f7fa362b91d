//! nats-server beside Mesh (`--nats`): the same loads in its own protocol, from the same clients. As it is installed it
//! verifies nobody, numbers nothing and stores nothing.
//!
//! The protocol is that of <https://docs.nats.io/reference/reference-protocols/nats-protocol>.

use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    Fallible,
    load::{self, Listener},
    target::Target,
    usage::{Cost, Stretch},
    watch::Watch,
    wire::{Socket, Taken, broken, find},
};

/// What stands where the id of a room would.
const HALL: &str = "00000000-0000-7000-8000-000000000000";

/// What is told as number `seq`: `size` bytes that a listener takes for an event.
pub(super) fn event(seq: u64, size: usize) -> String {
    let stamp = load::stamp_now();
    let mut text =
        format!(r#"{{"type":"chat.message.","room_id":"{HALL}","seq":{seq},"content":"{stamp} "#, stamp = stamp);
    while text.len() + 2 < size {
        text.push('x');
    }
    text.push_str("\"}");
    text
}

/// Writes what tells `text` to all who listen to `subject`.
pub(super) fn publish(out: &mut Vec<u8>, subject: &str, text: &str) {
    out.extend_from_slice(format!("PUB {subject} {}\r\n{text}\r\n", text.len()).as_bytes());
}

/// Gives each complete message; how many bytes they and what stands between them took.
pub(super) fn messages(bytes: &[u8], each: &mut impl FnMut(&[u8])) -> Fallible<(Taken, usize)> {
    let (mut taken, mut at) = (Taken::default(), 0);
    while let Some(end) = memchr::memchr(b'\n', &bytes[at..]) {
        let (line, next) = (bytes[at..at + end].trim_ascii_end(), at + end + 1);
        if line.starts_with(b"MSG ") {
            let length =
                line.rsplit(|b| *b == b' ').next().and_then(|size| std::str::from_utf8(size).ok()?.parse().ok());
            let length: usize = length.ok_or_else(|| odd(line))?;
            let Some(text) = bytes.get(next..next.saturating_add(length)) else { break };
            // The line's end behind it comes too.
            if bytes.len() < next + length + 2 {
                break;
            }
            taken.frames = true;
            each(text);
            at = next + length + 2;
            continue;
        }
        match line {
            b"PING" => taken.pinged = true,
            b"PONG" | b"+OK" => {}
            line if line.starts_with(b"INFO ") => {}
            line => return Err(odd(line)),
        }
        at = next;
    }
    Ok((taken, at))
}

fn odd(line: &[u8]) -> String {
    format!("nats-server said {:?}", String::from_utf8_lossy(line))
}

/// Connects and listens to a subject: the counterpart of a token, a hello and a join.
pub(super) async fn subscribe(addr: &str, subject: &str) -> Fallible<Socket> {
    let mut socket = Socket::to_nats(addr, subject).await?;
    let words = format!("CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\nSUB {subject} 1\r\nPING\r\n");
    socket.io.write_all(words.as_bytes()).await.map_err(broken)?;
    let mut heard = Vec::new();
    while find(&heard, b"PONG\r\n").is_none() {
        if heard.len() > 64 * 1024 || socket.io.read_buf(&mut heard).await.map_err(broken)? == 0 {
            return Err(odd(&heard));
        }
    }
    Ok(socket)
}

/// Opens listeners to one subject, and who speaks there.
pub(super) async fn hall(target: &Target, count: usize, at_once: usize) -> Fallible<(Socket, Vec<Listener>)> {
    let (addr, done) = (target.addr.clone(), std::sync::Arc::default());
    let opened = load::many(count, at_once, &done, move |_| {
        let addr = addr.clone();
        async move { Ok(Listener::new(subscribe(&addr, "hall").await?, 0)) }
    });
    let receivers = opened.await?;
    let sender = subscribe(&target.addr, "hall").await?;
    load::settle(target.process).await?;
    Ok((sender, receivers))
}

/// What as many connections as in `idle` cost it, spread over as many subjects; each of them hears one message at the end.
pub(super) async fn idle(program: &Path, count: usize, subjects: usize, at_once: usize) -> Fallible<Cost> {
    let target = Target::start_nats(program).await?;
    load::settle(target.process).await?;
    let stretch = Stretch::begin(target.process)?;
    let watch = Watch::begin("idle: nats-server", "connections", stretch);
    let addr = target.addr.clone();
    let opened = load::many(count, at_once, &watch.done, move |index| {
        let addr = addr.clone();
        async move { Ok((index, Listener::new(subscribe(&addr, &format!("room.{}", index % subjects)).await?, 0))) }
    });
    let there = opened.await?;
    let seconds = stretch.begun().elapsed().as_secs_f64();
    load::settle(target.process).await?;
    let cost = stretch.end()?;
    // They stay until all is heard: one that goes with its echo unread may take along what it said.
    let mut speakers = Vec::with_capacity(subjects);
    for subject in 0..subjects {
        let mut speaker = subscribe(&target.addr, &format!("room.{subject}")).await?;
        speaker.say(&[event(1, 128)]).await?;
        speakers.push(speaker);
    }
    let (_, faults) = load::Houses::hear_all(there, &vec![1; subjects]).await?;
    watch.end().await;
    if !faults.none() {
        return Err("nats-server has not told each connection what was said".to_owned());
    }
    Ok(Cost { seconds, ..cost })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::wire::{Reader, stamp};

    #[test]
    fn messages_are_read_whole_and_in_any_pieces() {
        let mut bytes = b"INFO {\"server_id\":\"x\"}\r\nPING\r\n".to_vec();
        let texts: Vec<_> = (1..4).map(|seq| event(seq, 128)).collect();
        for text in &texts {
            assert_eq!(text.len(), 128);
            bytes.extend_from_slice(format!("MSG hall 1 {}\r\n{text}\r\n", text.len()).as_bytes());
        }
        for cut in 0..=bytes.len() {
            let (mut rest, mut heard, mut reader) = (Vec::new(), Vec::new(), Reader::default());
            for piece in [&bytes[..cut], &bytes[cut..]] {
                rest.extend_from_slice(piece);
                let mut each = |text: &[u8]| {
                    assert!(stamp(text).is_some());
                    heard.extend(reader.change(text).map(|(_, seq)| seq));
                };
                let (_, used) = messages(&rest, &mut each).unwrap();
                rest.drain(..used);
            }
            assert_eq!((heard, rest.len()), (vec![1, 2, 3], 0), "{cut}");
        }
        assert!(messages(b"-ERR 'Slow Consumer'\r\n", &mut |_| {}).is_err());
        assert!(messages(b"MSG hall 1 many\r\n", &mut |_| {}).is_err());
    }
}
