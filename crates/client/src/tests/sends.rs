//! Said once, however often it is sent.

use super::*;
use tokio::time::{Duration, Instant};

#[tokio::test(start_paused = true)]
async fn resent_under_the_same_name_until_acknowledged() {
    let (mut script, mut peer, client, mut events) = connected(config()).await;
    let server = async {
        let first = peer.expect("chat.message.send").await;
        drop(peer);
        let mut peer = script.welcome().await;
        let second = peer.expect("chat.message.send").await;
        assert!(first["payload"]["client_id"].as_str().is_some_and(|id| id.len() == 36));
        assert_eq!(first["payload"], second["payload"]);
        peer.send("chat.message.created", Some(&second), said(&second, 3)).await;
        peer
    };
    let (message, _peer) = tokio::join!(client.send(ROOM, "once"), server);
    let message = message.unwrap();
    assert_eq!((message.seq, message.content.as_str()), (3, "once"));
    disconnected(&mut events).await;
}

#[tokio::test(start_paused = true)]
async fn a_replayed_message_is_an_acknowledgement_and_is_given_once() {
    let (mut script, mut peer, client, mut events) = in_room(config(), 1).await;
    let server = async {
        let send = peer.expect("chat.message.send").await;
        drop(peer);
        let mut peer = script.welcome().await;
        peer.join(2, false).await;
        // The replay, then the answer to the repeated send: the same message.
        peer.send("chat.message.created", None, said(&send, 2)).await;
        let again = peer.expect("chat.message.send").await;
        peer.send("chat.message.created", Some(&again), said(&again, 2)).await;
        peer.created(3).await;
        peer
    };
    let (message, _peer) = tokio::join!(client.send(ROOM, "once"), server);
    assert_eq!(message.unwrap().seq, 2);
    disconnected(&mut events).await;
    assert!(matches!(events.recv().await, Some(Event::Connected(_))));
    assert!(matches!(events.recv().await, Some(Event::Joined(_))));
    assert_eq!(seqs(&mut events, 2).await, [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn sent_while_away_goes_out_in_order() {
    let (mut script, peer, client, mut events) = connected(config()).await;
    drop(peer);
    disconnected(&mut events).await;
    let server = async {
        let mut peer = script.welcome().await;
        for seq in 1..=3 {
            let send = peer.expect("chat.message.send").await;
            assert_eq!(send["payload"]["content"], seq.to_string());
            peer.send("chat.message.created", Some(&send), said(&send, seq)).await;
        }
    };
    let (a, b, c, ()) = tokio::join!(client.send(ROOM, "1"), client.send(ROOM, "2"), client.send(ROOM, "3"), server);
    assert_eq!([a.unwrap().seq, b.unwrap().seq, c.unwrap().seq], [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn passing_refusals_are_waited_out() {
    let (_script, mut peer, client, _events) = connected(config()).await;
    let start = Instant::now();
    let server = async {
        let first = peer.expect("chat.message.send").await;
        peer.error(&first, "rate_limited", true, Some(400)).await;
        let second = peer.expect("chat.message.send").await;
        assert_eq!(start.elapsed().as_millis(), 400);
        assert_eq!(first["payload"], second["payload"]);
        peer.error(&second, "internal", true, None).await;
        let third = peer.expect("chat.message.send").await;
        assert!(start.elapsed() > Duration::from_millis(400));
        peer.send("chat.message.created", Some(&third), said(&third, 1)).await;
    };
    let (message, ()) = tokio::join!(client.send(ROOM, "patience"), server);
    assert_eq!(message.unwrap().seq, 1);
}

#[tokio::test(start_paused = true)]
async fn what_can_never_be_said_fails_at_once() {
    let (_script, mut peer, client, _events) = connected(config()).await;
    let large = client.send(ROOM, "x".repeat(70_000)).await;
    assert!(matches!(large, Err(Error::TooLarge { limit: 65_536, .. })), "{large:?}");
    let (refused, ()) = tokio::join!(client.send(ROOM, ""), async {
        let send = peer.expect("chat.message.send").await;
        peer.error(&send, "invalid_payload", false, None).await;
    });
    assert_eq!(refused.unwrap_err().code(), Some("invalid_payload"));
}

#[tokio::test(start_paused = true)]
async fn unacknowledged_sends_are_bounded() {
    let mut config = config();
    config.max_unacknowledged = 2;
    let (_script, mut peer, client, _events) = connected(config).await;
    let three = async { tokio::join!(client.send(ROOM, "1"), client.send(ROOM, "2"), client.send(ROOM, "3")) };
    let server = async {
        let first = peer.expect("chat.message.send").await;
        peer.expect("chat.message.send").await;
        let third = tokio::time::timeout(Duration::from_secs(5), peer.next()).await;
        assert!(third.is_err(), "a third one is on its way: {third:?}");
        peer.send("chat.message.created", Some(&first), said(&first, 1)).await;
        assert_eq!(peer.expect("chat.message.send").await["payload"]["content"], "3");
    };
    tokio::select! {
        _ = three => panic!("two of them are not acknowledged"),
        () = server => {}
    }
}

#[tokio::test(start_paused = true)]
async fn stays_within_the_servers_limit() {
    let mut config = config();
    config.max_unacknowledged = 1000;
    let (_script, mut peer, client, events) = connected(config).await;
    drop(events);
    let start = Instant::now();
    let sends = futures_util::future::join_all((0..500).map(|n| client.send(ROOM, n.to_string())));
    let server = async {
        let mut bucket = 200.0 - 1.0;
        let mut at = start;
        for seq in 1..=500 {
            let send = peer.expect("chat.message.send").await;
            bucket = f64::min(200.0, bucket + at.elapsed().as_secs_f64() * 50.0) - 1.0;
            at = Instant::now();
            assert!(bucket >= 0.0, "the server would have refused number {seq}");
            peer.send("chat.message.created", Some(&send), said(&send, seq)).await;
        }
    };
    let (messages, ()) = tokio::join!(sends, server);
    assert!(messages.into_iter().all(|message| message.is_ok()));
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}
