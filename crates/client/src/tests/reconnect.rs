//! Ends of connections, and what the client does then.

use super::*;
use crate::{Need, TokenFuture, TokenSource};
use tokio::time::{Duration, Instant, sleep};

#[tokio::test(start_paused = true)]
async fn goodbye_resume_comes_back_when_the_server_says() {
    let (mut script, mut peer, _client, mut events) = connected(config()).await;
    // Old enough to be a good connection: only the server's delay counts.
    sleep(Duration::from_secs(20)).await;
    peer.goodbye(1012, "resume", 1200).await;
    drop(peer);
    assert!(matches!(events.recv().await, Some(Event::Goodbye(goodbye)) if goodbye.code == 1012));
    let at = Instant::now();
    let (reason, retry_in) = disconnected(&mut events).await;
    assert_eq!(retry_in, Duration::from_millis(1200), "{reason}");
    let peer = script.welcome().await;
    assert_eq!(at.elapsed().as_millis(), 1200);
    assert_eq!(peer.token, "first");
}

#[tokio::test(start_paused = true)]
async fn goodbye_reconnect_asks_for_another_token() {
    let (mut script, mut peer, client, mut events) = connected(config()).await;
    peer.goodbye(4401, "reconnect", 0).await;
    drop(peer);
    assert!(matches!(events.recv().await, Some(Event::Goodbye(_))));
    disconnected(&mut events).await;
    assert!(matches!(events.recv().await, Some(Event::CredentialNeeded { .. })));
    client.set_token("second").await.unwrap();
    let peer = script.welcome().await;
    assert_eq!(peer.token, "second");
    assert!(matches!(events.recv().await, Some(Event::Connected(_))));
    // It is good until it is refused.
    drop(peer);
    disconnected(&mut events).await;
    assert_eq!(script.welcome().await.token, "second");
}

struct Counting(std::sync::atomic::AtomicU32);

impl TokenSource for Counting {
    fn token(&self, need: Need) -> TokenFuture<'_> {
        let n = match need {
            Need::Connect => self.0.load(std::sync::atomic::Ordering::Relaxed),
            Need::Replace => self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1,
        };
        Box::pin(async move { Ok(Some(format!("token {n}"))) })
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_of_tokens_is_asked_by_itself() {
    let config = Config::new("http://test", Counting(0.into()));
    let (mut script, mut peer, _client, mut events) = connected(config).await;
    assert_eq!(peer.token, "token 0");
    // Closed before a welcome, as a browser would see it; no goodbye.
    peer.close(4401).await;
    drop(peer);
    disconnected(&mut events).await;
    let mut peer = script.accept().await;
    assert_eq!(peer.token, "token 1");
    peer.close(4401).await;
    drop(peer);
    disconnected(&mut events).await;
    assert_eq!(script.welcome().await.token, "token 2");
}

async fn expiring(peer: &mut Peer) {
    peer.send("system.token_expiring", None, json!({"expires_at": "2026-01-02T03:04:05.678Z"})).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_goes_on_with_a_newer_token() {
    let config = Config::new("http://test", Counting(0.into()));
    let (mut script, mut peer, _client, mut events) = connected(config).await;
    expiring(&mut peer).await;
    let auth = peer.expect("system.auth").await;
    assert_eq!(auth["payload"]["token"], "token 1");
    peer.send("system.ack", Some(&auth), json!({})).await;
    assert!(matches!(events.recv().await, Some(Event::Other(_))));
    assert!(matches!(events.recv().await, Some(Event::Renewed)));
    // It is the next connection's too.
    drop(peer);
    disconnected(&mut events).await;
    assert_eq!(script.welcome().await.token, "token 1");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_only_a_person_can_give_renews_the_connection_too() {
    let (_script, mut peer, client, mut events) = connected(config()).await;
    expiring(&mut peer).await;
    assert!(matches!(events.recv().await, Some(Event::Other(_))));
    assert!(matches!(events.recv().await, Some(Event::CredentialNeeded { .. })));
    client.set_token("second").await.unwrap();
    let auth = peer.expect("system.auth").await;
    assert_eq!(auth["payload"]["token"], "second");
    peer.error(&auth, "forbidden", false, None).await;
    assert!(matches!(events.recv().await, Some(Event::CredentialNeeded { .. })));
    client.set_token("third").await.unwrap();
    let auth = peer.expect("system.auth").await;
    assert_eq!(auth["payload"]["token"], "third");
    peer.send("system.ack", Some(&auth), json!({})).await;
    assert!(matches!(events.recv().await, Some(Event::Renewed)));
}

#[tokio::test(start_paused = true)]
async fn goodbye_stop_is_the_end() {
    let (mut script, mut peer, client, mut events) = connected(config()).await;
    let (send, ()) = tokio::join!(client.send(ROOM, "too late"), async {
        peer.expect("chat.message.send").await;
        peer.goodbye(4409, "stop", 0).await;
    });
    assert!(matches!(send, Err(Error::Stopped(reason)) if reason.contains("4409")));
    assert!(matches!(events.recv().await, Some(Event::Goodbye(_))));
    assert!(matches!(events.recv().await, Some(Event::Stopped { .. })));
    assert!(events.recv().await.is_none());
    assert!(matches!(client.send(ROOM, "later").await, Err(Error::Stopped(_))));
    assert!(script.dials.recv().await.is_none(), "nothing is left of the client");
}

#[tokio::test(start_paused = true)]
async fn the_first_connection_answers_whether_it_stands() {
    let (mut script, fake) = Script::new();
    let (answer, ()) = tokio::join!(Client::connect_to(fake, config()), async {
        script.accept().await.close(4401).await;
    });
    assert!(matches!(answer, Err(Error::Closed { code: Some(4401), .. })), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn silence_is_death_and_pings_are_life() {
    let (mut script, mut peer, _client, mut events) = connected(config()).await;
    for _ in 0..10 {
        sleep(Duration::from_secs(25)).await;
        peer.socket.send(tungstenite::Message::Ping("".into())).await.unwrap();
        assert!(matches!(peer.socket.next().await, Some(Ok(tungstenite::Message::Pong(_)))));
    }
    let at = Instant::now();
    let (reason, _) = disconnected(&mut events).await;
    assert!(reason.contains("silent"), "{reason}");
    assert!(at.elapsed().abs_diff(Duration::from_millis(62_500)) < Duration::from_millis(10), "{:?}", at.elapsed());
    script.welcome().await;
}

#[tokio::test(start_paused = true)]
async fn attempts_become_rarer() {
    let (mut script, peer, _client, mut events) = connected(config()).await;
    drop(peer);
    let mut full = 0.25;
    for _ in 0..12 {
        let (_, retry_in) = disconnected(&mut events).await;
        let retry_in = retry_in.as_secs_f64();
        assert!(retry_in >= full / 2.0 && retry_in <= full, "{retry_in} {full}");
        full = f64::min(full * 2.0, 30.0);
        drop(script.accept().await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_welcomes_is_given_up() {
    let (mut script, peer, _client, mut events) = connected(config()).await;
    drop(peer);
    disconnected(&mut events).await;
    let _mute = script.accept().await;
    let (reason, _) = disconnected(&mut events).await;
    assert!(reason.contains("welcome"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_room_that_is_gone_is_told() {
    let (mut script, peer, client, mut events) = in_room(config(), 1).await;
    drop(peer);
    disconnected(&mut events).await;
    let mut peer = script.welcome().await;
    let join = peer.expect("room.join").await;
    peer.error(&join, "not_found", false, None).await;
    assert!(matches!(events.recv().await, Some(Event::Connected(_))));
    assert!(
        matches!(events.recv().await, Some(Event::Lost { room_id: ROOM, error }) if error.code() == Some("not_found"))
    );
    // A join that never stood is told to who asked for it alone.
    let (answer, ()) = tokio::join!(client.join(ROOM), async {
        let join = peer.expect("room.join").await;
        peer.error(&join, "forbidden", false, None).await;
    });
    assert_eq!(answer.unwrap_err().code(), Some("forbidden"));
}

#[tokio::test(start_paused = true)]
async fn closing_is_polite_and_final() {
    let (mut script, mut peer, client, mut events) = connected(config()).await;
    let other = client.clone();
    let ((), closed) = tokio::join!(client.close(), async {
        match peer.socket.next().await {
            Some(Ok(tungstenite::Message::Close(Some(close)))) => u16::from(close.code),
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(closed, 1000);
    assert!(matches!(events.recv().await, Some(Event::Stopped { .. })));
    assert!(other.join(ROOM).await.is_err());
    assert!(script.dials.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_ends_the_client() {
    let (mut script, _peer, client, mut events) = connected(config()).await;
    drop(client);
    assert!(matches!(events.recv().await, Some(Event::Stopped { .. })));
    assert!(events.recv().await.is_none());
    assert!(script.dials.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn rooms_are_joined_again_with_the_hello() {
    let (mut script, peer, client, mut events) = in_room(config(), 5).await;
    drop(peer);
    disconnected(&mut events).await;
    // An attempt that fails leaves no trace.
    let mut peer = script.accept().await;
    peer.expect("system.hello").await;
    let first = peer.expect("room.join").await;
    drop(peer);
    disconnected(&mut events).await;
    let mut peer = script.accept().await;
    let hello = peer.expect("system.hello").await;
    let join = peer.expect("room.join").await;
    assert_eq!((&first["payload"], &join["payload"]["since_seq"]), (&join["payload"], &json!(5)));
    peer.send("system.welcome", Some(&hello), welcome()).await;
    peer.send("room.joined", Some(&join), joined(6, false)).await;
    peer.created(6).await;
    assert!(matches!(events.recv().await, Some(Event::Connected(_))));
    assert!(matches!(events.recv().await, Some(Event::Joined(_))));
    assert_eq!(seqs(&mut events, 1).await, [6]);
    // Once is enough.
    let server = async {
        let send = peer.expect("chat.message.send").await;
        peer.send("chat.message.created", Some(&send), said(&send, 7)).await;
    };
    assert_eq!(tokio::join!(client.send(ROOM, "here"), server).0.unwrap().seq, 7);
}

#[tokio::test(start_paused = true)]
async fn a_room_left_while_it_is_joined_again_is_left() {
    let (mut script, peer, client, mut events) = in_room(config(), 5).await;
    drop(peer);
    disconnected(&mut events).await;
    let mut peer = script.accept().await;
    let hello = peer.expect("system.hello").await;
    let join = peer.expect("room.join").await;
    client.leave(ROOM).await.unwrap();
    peer.send("system.welcome", Some(&hello), welcome()).await;
    peer.send("room.joined", Some(&join), joined(5, false)).await;
    assert_eq!(peer.expect("room.leave").await["payload"]["room_id"], json!(ROOM));
    assert!(matches!(events.recv().await, Some(Event::Connected(_))));
    peer.created(6).await;
    drop((peer, client));
    while let Some(event) = events.recv().await {
        assert!(!matches!(event, Event::Message(_)), "{event:?}");
    }
}
