//! Every message once and in order: resume, duplicates, holes, gaps, slow applications.

use super::*;

#[tokio::test(start_paused = true)]
async fn resumes_where_it_stood() {
    let (mut script, mut peer, _client, mut events) = in_room(config(), 1).await;
    peer.created(2).await;
    peer.created(3).await;
    assert_eq!(seqs(&mut events, 2).await, [2, 3]);
    drop(peer);
    disconnected(&mut events).await;

    let mut peer = script.accept().await;
    let hello = peer.expect("system.hello").await;
    assert_eq!(hello["from"], welcome()["peer_id"], "the same peer comes back");
    peer.send("system.welcome", Some(&hello), welcome()).await;
    assert_eq!(peer.join(5, false).await, Some(3));
    for seq in [4, 5, 5, 2, 6] {
        peer.created(seq).await;
    }
    assert!(matches!(events.recv().await, Some(Event::Connected(_))));
    assert!(matches!(events.recv().await, Some(Event::Joined(joined)) if joined.last_seq == 5));
    assert_eq!(seqs(&mut events, 3).await, [4, 5, 6]);
}

#[tokio::test(start_paused = true)]
async fn joins_where_the_application_stands() {
    let (_script, mut peer, client, mut events) = connected(config()).await;
    let (since, answer) = tokio::join!(peer.join(12, false), client.join_since(ROOM, 10));
    assert_eq!((since, answer.unwrap().last_seq), (Some(10), 12));
    assert!(matches!(events.recv().await, Some(Event::Joined(_))));
    for seq in [11, 12] {
        peer.created(seq).await;
    }
    assert_eq!(seqs(&mut events, 2).await, [11, 12]);
}

#[tokio::test(start_paused = true)]
async fn fills_a_gap_from_history_before_what_is_newer() {
    let (mut script, peer, _client, mut events) = in_room(config(), 10).await;
    drop(peer);
    disconnected(&mut events).await;
    let mut peer = script.welcome().await;
    assert_eq!(peer.join(1500, true).await, Some(10));
    // Said while history is read.
    peer.created(1501).await;
    let pages = async {
        for after in (10..1500).step_by(200) {
            script.page(after, 11..=1501).await;
        }
    };
    let reads = async {
        assert!(matches!(events.recv().await, Some(Event::Connected(_))));
        assert!(matches!(events.recv().await, Some(Event::Joined(joined)) if joined.gap));
        assert_eq!(seqs(&mut events, 1490).await, (11..=1500).collect::<Vec<_>>());
        assert!(matches!(events.recv().await, Some(Event::Gap { room_id: ROOM, after_seq: 10, to_seq: 1500 })));
        assert_eq!(seqs(&mut events, 1).await, [1501]);
    };
    tokio::join!(pages, reads);
}

#[tokio::test(start_paused = true)]
async fn fills_a_hole_in_what_came() {
    let (mut script, mut peer, _client, mut events) = in_room(config(), 10).await;
    peer.created(14).await;
    // History fails once; it is asked again.
    drop(script.history.recv().await.unwrap());
    // 12 was an edit: history has no message of that number.
    script.page(10, [11, 13, 14].into_iter()).await;
    assert_eq!(seqs(&mut events, 2).await, [11, 13]);
    assert!(matches!(events.recv().await, Some(Event::Gap { after_seq: 10, to_seq: 13, .. })));
    assert_eq!(seqs(&mut events, 1).await, [14]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_application_misses_nothing() {
    let mut config = config();
    config.event_capacity = 8;
    let (mut script, mut peer, client, mut events) = in_room(config, 0).await;
    for seq in 1..=2000 {
        peer.created(seq).await;
    }
    // Nobody reads, and still what is said is acknowledged.
    let say = async {
        let send = peer.expect("chat.message.send").await;
        peer.send("chat.message.created", Some(&send), said(&send, 2001)).await;
    };
    let (message, ()) = tokio::join!(client.send(ROOM, "hello"), say);
    assert_eq!(message.unwrap().seq, 2001);

    let history = async {
        loop {
            let Some(call) = script.history.recv().await else { return };
            let page = (call.after + 1..=2001).take(call.limit).map(|seq| crate::roomlog::tests::message(ROOM, seq));
            let _ = call.answer.send(Ok(page.collect()));
        }
    };
    let reads = async {
        let mut next = 1;
        while next <= 2001 {
            match events.recv().await.unwrap() {
                Event::Message(created) => {
                    assert_eq!(created.seq, next);
                    next += 1;
                }
                Event::Gap { .. } | Event::Lagged { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::select! {
        () = reads => {}
        () = history => panic!("the client ended"),
    }
}

#[tokio::test(start_paused = true)]
async fn later_events_keep_their_place() {
    let (_script, mut peer, _client, mut events) = in_room(config(), 1).await;
    peer.created(2).await;
    let mut edited = created(message(ROOM, 2));
    edited["seq"] = 3.into();
    peer.send("chat.message.edited", None, edited).await;
    peer.send("chat.read", None, json!({"room_id": ROOM, "user_id": "x", "seq": 99})).await;
    peer.send("weather.changed", None, json!({"sun": true})).await;
    peer.created(4).await;
    assert_eq!(seqs(&mut events, 1).await, [2]);
    let mut kinds = vec![];
    for _ in 0..4 {
        kinds.push(match events.recv().await.unwrap() {
            Event::Changed { kind, change } => format!("{kind} {}", change.seq),
            Event::Message(created) => created.seq.to_string(),
            Event::Unknown { head, payload } => format!("{} {payload}", head.kind),
            Event::Other(event) => event.name().to_owned(),
            other => panic!("{other:?}"),
        });
    }
    kinds.sort();
    assert_eq!(kinds[0], "4");
    assert_eq!(kinds[1], "chat.message.edited 3");
    assert!(kinds[2].starts_with("chat.read"), "{kinds:?}");
    assert!(kinds[3].starts_with("weather.changed"), "{kinds:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_from_a_backup_is_followed() {
    let (mut script, peer, _client, mut events) = in_room(config(), 10).await;
    drop(peer);
    disconnected(&mut events).await;
    let mut peer = script.welcome().await;
    peer.join(4, false).await;
    peer.created(5).await;
    assert!(matches!(events.recv().await, Some(Event::Connected(_))));
    assert!(matches!(events.recv().await, Some(Event::Joined(_))));
    assert!(matches!(events.recv().await, Some(Event::Rewound { last_seq: 4, .. })));
    assert_eq!(seqs(&mut events, 1).await, [5]);
}

#[tokio::test(start_paused = true)]
async fn leaving_ends_the_messages() {
    let (mut script, mut peer, client, mut events) = in_room(config(), 1).await;
    let leave = async {
        let leave = peer.expect("room.leave").await;
        peer.created(2).await;
        peer.send("room.left", Some(&leave), json!({"room_id": ROOM})).await;
    };
    let (left, ()) = tokio::join!(client.leave(ROOM), leave);
    left.unwrap();
    drop(peer);
    disconnected(&mut events).await;
    // The next connection joins nothing.
    let mut peer = script.welcome().await;
    let (answer, send) = tokio::join!(client.send(ROOM, "outside"), async {
        let send = peer.expect("chat.message.send").await;
        peer.error(&send, "not_found", false, None).await;
        send
    });
    assert_eq!((answer.unwrap_err().code(), send["payload"]["content"].as_str()), (Some("not_found"), Some("outside")));
}
