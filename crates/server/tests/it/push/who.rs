//! Who is told of what, and when not.

use mesh_protocol::{RoomId, UserId};
use mesh_server::{
    service::outbox::{Call, missed, ring, unring},
    store::push::due::counts,
};
use serde_json::{Value, json};

use super::{
    LONG, house, outbox, say,
    stand_in::{Answer, StandIn},
    waits,
};
use crate::kit::{Account, Server, until};

async fn said(server: &Server, who: &Account, room: &str, text: &str) -> String {
    let (status, said) = server.post(&format!("/api/rooms/{room}/messages"), who, json!({"content": text})).await;
    assert_eq!(status, 201, "{said}");
    said["id"].as_str().unwrap().to_owned()
}

async fn ok(server: &Server, method: &str, path: &str, who: &Account, body: Value) {
    let body = (!body.is_null()).then_some(body);
    let (status, answer) = server.ask(method, path, Some(&who.token), body).await;
    assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
}

/// Something else is said to the same person in a room of its own, and told: what was due before it has left, or was given
/// up.
async fn marker(server: &Server, gotify: &StandIn, ana: &Account, bob: &Account) {
    let seen = gotify.seen().len();
    let room = server.room(ana, "Marker").await;
    server.add(ana, &room, bob).await;
    say(server, ana, &room, "@bob marker").await;
    waits_some(server, ana).await;
    server.advance(100);
    gotify.wait_for(seen + 1).await;
    waits(server, ana, 0).await;
    assert_eq!(gotify.seen()[seen..].len(), 1, "{:?}", gotify.seen());
    assert_eq!(gotify.seen()[seen].body["title"], "ana mentioned you in Marker");
}

/// Until members were looked up for all that was said.
async fn looked(server: &Server) {
    until("the looking", || async { server.app.db.read(counts).await.unwrap().new == 0 }).await;
}

async fn waits_some(server: &Server, ana: &Account) {
    until("a row", || async { !outbox(server, ana).await.is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_before_it_leaves_is_told_as_it_is() {
    let gotify = StandIn::start().await;
    let server = Server::start_with(&[("GOTIFY_URL", &gotify.url), LONG]).await;
    let (ana, bob, room) = house(&server).await;
    let at = |id: &str| format!("/api/rooms/{room}/messages/{id}");
    // One of two is deleted, the other edited.
    let (first, second) = (said(&server, &ana, &room, "one").await, said(&server, &ana, &room, "two").await);
    waits(&server, &ana, 2).await;
    ok(&server, "DELETE", &at(&first), &ana, Value::Null).await;
    ok(&server, "PATCH", &at(&second), &ana, json!({"content": "twice"})).await;
    server.advance(4);
    gotify.wait_for(1).await;
    let note = gotify.seen().remove(0).body;
    assert_eq!((&note["title"], &note["message"]), (&json!("Cuisine"), &json!("ana: twice")));
    // The mention is taken out of it: an ordinary message is left.
    server.advance(100);
    waits(&server, &ana, 0).await;
    let third = said(&server, &ana, &room, "@bob soup").await;
    waits(&server, &ana, 1).await;
    ok(&server, "PATCH", &at(&third), &ana, json!({"content": "soup"})).await;
    server.advance(100);
    gotify.wait_for(2).await;
    let note = gotify.seen().remove(1).body;
    assert_eq!((&note["title"], &note["priority"]), (&json!("Cuisine"), &json!(4)));
    // All of it is deleted.
    server.advance(100);
    for text in ["three", "four"] {
        let id = said(&server, &ana, &room, text).await;
        waits_some(&server, &ana).await;
        ok(&server, "DELETE", &at(&id), &ana, Value::Null).await;
    }
    server.advance(100);
    waits(&server, &ana, 0).await;
    marker(&server, &gotify, &ana, &bob).await;
    // It names whoever wrote the mention, not whoever spoke last.
    let eve = server.register("eve").await;
    server.add(&ana, &room, &eve).await;
    say(&server, &eve, &room, "@bob come").await;
    say(&server, &ana, &room, "never mind").await;
    waits_some(&server, &ana).await;
    server.advance(100);
    gotify.wait_for(4).await;
    let note = gotify.seen().remove(3).body;
    assert_eq!((&note["title"], &note["message"]), (&json!("eve mentioned you in Cuisine"), &json!("eve: @bob come")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_leaves_or_is_shut_out_before_it_leaves_is_not_told() {
    let gotify = StandIn::start().await;
    let server = Server::start_with(&[("GOTIFY_URL", &gotify.url), LONG]).await;
    let (ana, bob, room) = house(&server).await;
    // Who comes.
    say(&server, &ana, &room, "@bob one").await;
    waits(&server, &ana, 1).await;
    let peer = server.peer(&bob).await;
    server.advance(100);
    waits(&server, &ana, 0).await;
    drop(peer);
    until("his departure", || async { !server.app.presence.is_online(UserId::parse(&bob.id)) }).await;
    marker(&server, &gotify, &ana, &bob).await;
    // Who is put out, and who leaves.
    for (method, by) in [("DELETE", &ana), ("DELETE", &bob)] {
        say(&server, &ana, &room, "@bob two").await;
        waits_some(&server, &ana).await;
        ok(&server, method, &format!("/api/rooms/{room}/members/{}", bob.id), by, Value::Null).await;
        server.advance(100);
        waits(&server, &ana, 0).await;
        server.add(&ana, &room, &bob).await;
    }
    // Whose room is gone.
    say(&server, &ana, &room, "@bob three").await;
    waits_some(&server, &ana).await;
    ok(&server, "DELETE", &format!("/api/rooms/{room}"), &ana, Value::Null).await;
    server.advance(100);
    until("the end of it", || async { outbox(&server, &ana).await.is_empty() }).await;
    marker(&server, &gotify, &ana, &bob).await;
    // Whose account is shut.
    let room = server.room(&ana, "Salon").await;
    server.add(&ana, &room, &bob).await;
    say(&server, &ana, &room, "@bob four").await;
    waits(&server, &ana, 1).await;
    ok(&server, "PATCH", &format!("/api/admin/users/{}", bob.id), &ana, json!({"disabled": true})).await;
    server.advance(100);
    waits(&server, &ana, 0).await;
    assert_eq!(gotify.seen().len(), 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn levels_mutes_and_priorities() {
    let gotify = StandIn::start().await;
    let server = Server::start_with(&[("GOTIFY_URL", &gotify.url), LONG]).await;
    let (ana, bob, room) = house(&server).await;
    let level = |level: &str| json!({"level": level});
    let path = format!("/api/rooms/{room}/notifications");
    assert_eq!(server.get(&path, &bob).await.1, json!({"push": "on", "level": "all", "muted_until": null}));
    // Mentions alone: the ordinary ones are not counted either.
    ok(&server, "PUT", &path, &bob, level("mentions")).await;
    for text in ["one", "@bob two", "three"] {
        say(&server, &ana, &room, text).await;
    }
    waits_some(&server, &ana).await;
    server.advance(100);
    gotify.wait_for(1).await;
    let note = gotify.seen().remove(0).body;
    assert_eq!((&note["title"], &note["message"]), (&json!("ana mentioned you in Cuisine"), &json!("ana: @bob two")));
    // Nothing, and nothing for a while.
    let hour = server.app.clock.now_ms() + 3_600_000;
    let until_then = mesh_protocol::Timestamp::from_millis(hour).to_string();
    for setting in [level("none"), json!({"level": "all", "muted_until": until_then})] {
        ok(&server, "PUT", &path, &bob, setting).await;
        say(&server, &ana, &room, "@bob nothing").await;
        marker(&server, &gotify, &ana, &bob).await;
    }
    server.advance(3_600);
    say(&server, &ana, &room, "again").await;
    waits_some(&server, &ana).await;
    server.advance(100);
    gotify.wait_for(4).await;
    assert_eq!(gotify.seen()[3].body["title"], "Cuisine", "what was said while it was muted is not told afterwards");
    // A direct room is personal: all of it, also where mentions alone are wanted.
    let (_, direct) = server.post("/api/rooms/direct", &ana, json!({"username": "bob"})).await;
    let direct = direct["id"].as_str().unwrap();
    ok(&server, "PUT", &format!("/api/rooms/{direct}/notifications"), &bob, level("mentions")).await;
    ok(&server, "PUT", "/api/notifications/gotify", &bob, json!({"min_priority": 6})).await;
    say(&server, &ana, &room, "too little for him").await;
    say(&server, &ana, direct, "between us").await;
    waits_some(&server, &ana).await;
    server.advance(100);
    gotify.wait_for(5).await;
    let note = gotify.seen().remove(4).body;
    assert_eq!((&note["title"], &note["message"], &note["priority"]), (&json!("ana"), &json!("between us"), &json!(6)));
    // Not at all.
    ok(&server, "PUT", "/api/notifications/gotify", &bob, json!({"enabled": false})).await;
    say(&server, &ana, direct, "nothing").await;
    looked(&server).await;
    ok(&server, "PUT", "/api/notifications/gotify", &bob, json!({})).await;
    marker(&server, &gotify, &ana, &bob).await;
    server.stop().await;
}

/// What is said while a notification is under way is told by the next, and a mention at once.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_while_one_is_under_way_is_told_next() {
    let gotify = StandIn::start().await;
    let server = Server::start_with(&[("GOTIFY_URL", &gotify.url), LONG]).await;
    let (ana, _, room) = house(&server).await;
    gotify.answer(Answer::Held);
    say(&server, &ana, &room, "one").await;
    waits(&server, &ana, 1).await;
    server.advance(4);
    gotify.wait_for(1).await;
    say(&server, &ana, &room, "two").await;
    // Looked at, though nothing is written for it: the row is there.
    looked(&server).await;
    // The clock goes on for longer than a claim: it is not sent twice.
    server.advance(30);
    gotify.let_go();
    until("the answer", || async {
        outbox(&server, &ana).await[0]["due_at"].as_str().is_some_and(|_| gotify.seen().len() == 1)
    })
    .await;
    waits(&server, &ana, 1).await;
    server.advance(61);
    gotify.wait_for(2).await;
    assert_eq!(gotify.seen()[1].body["message"], "ana: two");
    // The second is under way.
    say(&server, &ana, &room, "@bob three").await;
    until("the looking", || async { outbox(&server, &ana).await[0]["priority"] == 6 }).await;
    gotify.let_go();
    gotify.wait_for(3).await;
    assert_eq!(gotify.seen()[2].body["message"], "ana: @bob three");
    gotify.let_go();
    waits(&server, &ana, 0).await;
    let ids: std::collections::HashSet<_> =
        gotify.seen().iter().map(|seen| seen.body["extras"]["mesh::notification"]["id"].to_string()).collect();
    assert_eq!(ids.len(), 3, "each has its own id");
    server.stop().await;
}

/// A room that talks faster than its members can be looked at: each is told of all of it, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_room_full_of_talk_is_told_to_all_who_are_away() {
    const AWAY: usize = 120;
    const SAID: usize = 40;
    let gotify = StandIn::start().await;
    let server = Server::start_with(&[("GOTIFY_URL", &gotify.url), ("GOTIFY_TOKEN", "TheServersOwn"), LONG]).await;
    let ana = server.register("ana").await;
    let room = server.room(&ana, "Cuisine").await;
    for n in 0..AWAY {
        let away = server.register(&format!("away{n}")).await;
        server.add(&ana, &room, &away).await;
    }
    for n in 0..SAID {
        say(&server, &ana, &room, &format!("m{n} {}", if n == SAID / 2 { "@away7" } else { "" })).await;
    }
    looked(&server).await;
    // Her own words are none that she is told of.
    assert_eq!(server.app.db.read(counts).await.unwrap().waiting, AWAY as u64);
    assert_eq!(gotify.seen().len(), 0);
    server.advance(4);
    gotify.wait_for(AWAY).await;
    waits(&server, &ana, 0).await;
    assert_eq!(gotify.titled("@away7: ana mentioned you in Cuisine"), 1);
    for n in (0..AWAY).filter(|n| *n != 7) {
        assert_eq!(gotify.titled(&format!("@away{n}: {SAID} new messages in Cuisine")), 1, "{n}");
    }
    // Somebody who is away answers: ana is told, who has no connection, and not the one who spoke.
    let (_, login) = {
        let body = json!({"username": "away7", "password": "correct horse battery"});
        server.ask("POST", "/api/auth/login", None, Some(body)).await
    };
    let seven =
        Account { id: String::new(), name: "away7".into(), token: login["access_token"].as_str().unwrap().into() };
    say(&server, &seven, &room, "coming").await;
    looked(&server).await;
    server.advance(100);
    gotify.wait_for(2 * AWAY).await;
    waits(&server, &ana, 0).await;
    assert_eq!(gotify.titled("@ana: Cuisine"), 1);
    assert_eq!(gotify.seen().len(), 2 * AWAY);
    server.stop().await;
}

/// More rooms than wait for one person: the oldest are given up, with the reason.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_one_person_is_bounded() {
    let gotify = StandIn::start().await;
    let server = Server::start_with(&[("GOTIFY_URL", &gotify.url), LONG]).await;
    let (ana, bob, _) = house(&server).await;
    let quiet = |hours: i64| {
        let minute = (server.app.clock.now_ms() / 60_000 + hours * 60).rem_euclid(1_440);
        format!("{:02}:{:02}", minute / 60, minute % 60)
    };
    let quiet = json!({"quiet_from": quiet(-1), "quiet_to": quiet(8)});
    ok(&server, "PUT", "/api/notifications", &bob, quiet).await;
    for n in 0..103 {
        let room = server.room(&ana, &format!("Room {n}")).await;
        server.add(&ana, &room, &bob).await;
        say(&server, &ana, &room, "one").await;
    }
    let counted = || async { server.app.db.read(counts).await.unwrap() };
    looked(&server).await;
    assert_eq!((counted().await.waiting, counted().await.dead), (100, 3));
    let (_, dead) = server.get("/api/admin/outbox?state=dead", &ana).await;
    assert_eq!(dead[0]["last_error"], "more than 100 waited for this person", "{dead}");
    assert_eq!(gotify.seen().len(), 0);
    server.stop().await;
}

struct Caller<'a> {
    server: &'a Server,
    room: RoomId,
    from: UserId,
}

impl Caller<'_> {
    async fn does(&self, what: &'static str, id: &'static str) {
        let (push, room, from, now) =
            (self.server.app.push.clone(), self.room, self.from, self.server.app.clock.now_ms());
        let work = move |tx: &mut mesh_server::store::Tx<'_>| {
            let call = Call { id, room, from };
            match what {
                "ring" => ring(&push, tx, call, now),
                "unring" => unring(&push, tx, call),
                _ => missed(&push, tx, call, now),
            }
        };
        self.server.app.db.write(1, work).await.unwrap();
        self.server.app.push.wake();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rings_are_urgent_and_missed_calls_are_told_afterwards() {
    let gotify = StandIn::start().await;
    let server = Server::start_with(&[("GOTIFY_URL", &gotify.url), LONG]).await;
    let (ana, bob, room) = house(&server).await;
    let (_, direct) = server.post("/api/rooms/direct", &ana, json!({"username": "bob"})).await;
    let direct = direct["id"].as_str().unwrap().to_owned();
    let caller = |room: &str| Caller { server: &server, room: RoomId::parse(room), from: UserId::parse(&ana.id) };
    let (group, pair) = (caller(&room), caller(&direct));
    // At once, though the clock stands still.
    group.does("ring", "a").await;
    gotify.wait_for(1).await;
    let note = gotify.seen().remove(0).body;
    assert_eq!((&note["title"], &note["priority"]), (&json!("ana is calling in Cuisine"), &json!(8)));
    group.does("missed", "a").await;
    gotify.wait_for(2).await;
    let note = gotify.seen().remove(1).body;
    assert_eq!((&note["title"], &note["priority"]), (&json!("Missed call from ana in Cuisine"), &json!(6)));
    waits(&server, &ana, 0).await;
    // One that fails is tried again, until somebody answers; a call of that name elsewhere is another.
    gotify.answer(Answer::Status(500));
    pair.does("ring", "b").await;
    until("a failure", || async { outbox(&server, &ana).await.first().is_some_and(|e| e["attempts"] == 1) }).await;
    group.does("unring", "b").await;
    waits(&server, &ana, 1).await;
    pair.does("unring", "b").await;
    waits(&server, &ana, 0).await;
    // A minute later it helps nobody.
    pair.does("ring", "c").await;
    until("a failure", || async { outbox(&server, &ana).await.first().is_some_and(|e| e["attempts"] == 1) }).await;
    gotify.answer(Answer::Taken);
    let seen = gotify.seen().len();
    server.advance(61);
    waits(&server, &ana, 0).await;
    assert_eq!(gotify.seen().len(), seen);
    // A second ring takes the first one's place, also while that is under way, and is told.
    gotify.answer(Answer::Held);
    pair.does("ring", "d").await;
    gotify.wait_for(seen + 1).await;
    pair.does("ring", "e").await;
    gotify.wait_for(seen + 2).await;
    gotify.let_go();
    gotify.let_go();
    waits(&server, &ana, 0).await;
    // Missed calls that wait become one.
    gotify.answer(Answer::Status(500));
    pair.does("missed", "f").await;
    until("a failure", || async { outbox(&server, &ana).await.first().is_some_and(|e| e["attempts"] == 1) }).await;
    gotify.answer(Answer::Taken);
    let seen = gotify.seen().len();
    pair.does("missed", "g").await;
    gotify.wait_for(seen + 1).await;
    assert_eq!(gotify.seen()[seen].body["title"], "2 missed calls from ana");
    waits(&server, &ana, 0).await;
    // In quiet hours a ring between two comes through, one of a room does not; missed calls wait for their end.
    let face = |hours: i64| {
        let minute = (server.app.clock.now_ms() / 60_000 + hours * 60).rem_euclid(1_440);
        format!("{:02}:{:02}", minute / 60, minute % 60)
    };
    ok(&server, "PUT", "/api/notifications", &bob, json!({"quiet_from": face(-1), "quiet_to": face(2)})).await;
    let seen = gotify.seen().len();
    group.does("ring", "h").await;
    group.does("missed", "h").await;
    waits(&server, &ana, 1).await;
    pair.does("ring", "i").await;
    gotify.wait_for(seen + 1).await;
    assert_eq!(gotify.seen()[seen].body["title"], "ana is calling");
    server.advance(2 * 3_600);
    gotify.wait_for(seen + 2).await;
    assert_eq!(gotify.seen()[seen + 1].body["title"], "Missed call from ana in Cuisine");
    // Who wants to hear nothing of a room is not woken by it, and is by a person.
    ok(&server, "PUT", "/api/notifications", &bob, json!({})).await;
    for room in [&room, &direct] {
        ok(&server, "PUT", &format!("/api/rooms/{room}/notifications"), &bob, json!({"level": "none"})).await;
    }
    group.does("ring", "j").await;
    pair.does("ring", "k").await;
    gotify.wait_for(seen + 3).await;
    assert_eq!(gotify.seen()[seen + 2].body["title"], "ana is calling");
    waits(&server, &ana, 0).await;
    // Nor is anybody who is there.
    let peer = server.peer(&bob).await;
    pair.does("ring", "l").await;
    looked(&server).await;
    waits(&server, &ana, 0).await;
    assert_eq!(gotify.seen().len(), seen + 3);
    drop(peer);
    server.stop().await;
}

/// A real ring: by its event, from the connection of the one to those of the other, or to push.
#[tokio::test(flavor = "multi_thread")]
async fn a_ring_reaches_who_is_away_and_a_missed_call_is_told_once() {
    let gotify = StandIn::start().await;
    let server = Server::start_with(&[("GOTIFY_URL", &gotify.url), LONG]).await;
    let (ana, bob, room) = house(&server).await;
    let mut caller = server.peer(&ana).await;
    let about = |call: &str| json!({"room_id": room, "call_id": call});
    let ring = |call: &str| json!({"room_id": room, "call_id": call, "media": ["audio"]});
    assert_eq!(caller.ask("call.ring", ring("a")).await["type"], "system.ack");
    gotify.wait_for(1).await;
    let note = gotify.seen().remove(0).body;
    assert_eq!((&note["title"], &note["priority"]), (&json!("ana is calling in Cuisine"), &json!(8)));
    // Nobody came.
    server.advance(60);
    caller.next_of("call.cancel").await;
    gotify.wait_for(2).await;
    assert_eq!(gotify.seen()[1].body["title"], "Missed call from ana in Cuisine");
    assert_eq!(caller.ask("call.ring", ring("b")).await["type"], "system.ack");
    gotify.wait_for(3).await;
    assert_eq!(caller.ask("call.cancel", about("b")).await["type"], "system.ack");
    gotify.wait_for(4).await;
    assert_eq!(gotify.seen()[3].body["title"], "Missed call from ana in Cuisine");
    // Woken by it, he comes, hears it ring still, and does not want it: nothing was missed.
    assert_eq!(caller.ask("call.ring", ring("c")).await["type"], "system.ack");
    gotify.wait_for(5).await;
    let mut woken = server.peer(&bob).await;
    assert_eq!(woken.next_of("call.ringing").await["payload"]["call_id"], "c");
    assert_eq!(woken.ask("call.decline", about("c")).await["type"], "system.ack");
    caller.next_of("call.decline").await;
    drop(woken);
    waits(&server, &ana, 0).await;
    looked(&server).await;
    assert_eq!(gotify.seen().len(), 5);
    drop(caller);
    server.stop().await;
}
