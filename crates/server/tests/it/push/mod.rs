//! Push, against a stand-in that answers as Gotify's published API says.

mod secrets;
mod stages;
mod stand_in;
mod who;

use serde_json::{Value, json};
use stand_in::{Answer, StandIn};

use crate::kit::{Account, Server, until};

/// Hours pass in these tests; logins stay.
const LONG: (&str, &str) = ("MESH_JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "43200");
const TOKEN: &str = "AnTokenThatNobodySees";

/// A room with one member who speaks, and one who is away and has a token.
async fn house(server: &Server) -> (Account, Account, String) {
    let (ana, bob) = (server.register("ana").await, server.register("bob").await);
    let room = server.room(&ana, "Cuisine").await;
    server.add(&ana, &room, &bob).await;
    let put = server.ask("PUT", "/api/notifications/gotify", Some(&bob.token), Some(json!({"token": TOKEN}))).await;
    assert_eq!((put.0, &put.1["push"], &put.1["token"]), (200, &json!("on"), &json!("own")), "{}", put.1);
    assert!(!put.1.to_string().contains(TOKEN));
    (ana, bob, room)
}

async fn say(server: &Server, who: &Account, room: &str, text: &str) {
    let (status, said) = server.post(&format!("/api/rooms/{room}/messages"), who, json!({"content": text})).await;
    assert_eq!(status, 201, "{said}");
}

async fn outbox(server: &Server, admin: &Account) -> Vec<Value> {
    let (status, list) = server.get("/api/admin/outbox", admin).await;
    assert_eq!(status, 200, "{list}");
    list.as_array().unwrap().clone()
}

async fn waits(server: &Server, admin: &Account, count: usize) {
    until("the outbox", || async {
        outbox(server, admin).await.iter().map(|e| e["count"].as_u64().unwrap()).sum::<u64>() == count as u64
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_away_is_told_once_for_several_messages() {
    let gotify = StandIn::start().await;
    let server = Server::start_with(&[("GOTIFY_URL", &gotify.url), LONG]).await;
    let (ana, bob, room) = house(&server).await;
    for text in ["one", "two", "three"] {
        say(&server, &ana, &room, text).await;
    }
    waits(&server, &ana, 3).await;
    assert_eq!(gotify.seen().len(), 0, "it left before its time");
    server.advance(4);
    gotify.wait_for(1).await;
    let note = gotify.seen().remove(0);
    assert_eq!(note.token, TOKEN);
    assert_eq!(note.body["title"], "3 new messages in Cuisine");
    assert_eq!(note.body["message"], "ana: three");
    assert_eq!(note.body["priority"], 4);
    let click = format!("http://localhost:8000/rooms/{room}");
    assert_eq!(note.body["extras"]["client::notification"]["click"]["url"], json!(click));
    assert_eq!(note.body["extras"]["client::display"]["contentType"], "text/plain");
    // The next ones wait for the window's end, and go together; a mention does not wait for it.
    waits(&server, &ana, 0).await;
    say(&server, &ana, &room, "four").await;
    waits(&server, &ana, 1).await;
    server.advance(5);
    assert_eq!(outbox(&server, &ana).await.len(), 1);
    say(&server, &ana, &room, "@bob soup").await;
    waits(&server, &ana, 2).await;
    server.advance(5);
    gotify.wait_for(2).await;
    let note = gotify.seen().remove(1);
    assert_eq!((&note.body["title"], &note.body["priority"]), (&json!("ana mentioned you in Cuisine"), &json!(6)));
    // What is read before it leaves is not told.
    waits(&server, &ana, 0).await;
    say(&server, &ana, &room, "@bob read").await;
    waits(&server, &ana, 1).await;
    let read = server.ask("PUT", &format!("/api/rooms/{room}/read"), Some(&bob.token), Some(json!({"seq": 6}))).await;
    assert_eq!(read.0, 204);
    server.advance(100);
    waits(&server, &ana, 0).await;
    // Nor to whoever is there.
    let peer = server.peer(&bob).await;
    say(&server, &ana, &room, "here").await;
    server.advance(100);
    waits(&server, &ana, 0).await;
    drop(peer);
    assert_eq!(gotify.seen().len(), 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn levels_quiet_hours_and_language() {
    let gotify = StandIn::start().await;
    let server = Server::start_with(&[("GOTIFY_URL", &gotify.url), ("MESH_PUSH_CONTENT", "sender")]).await;
    let (ana, bob, room) = house(&server).await;
    let path = format!("/api/rooms/{room}/notifications");
    let (status, level) = server.ask("PUT", &path, Some(&bob.token), Some(json!({"level": "mentions"}))).await;
    assert_eq!((status, &level["level"]), (200, &json!("mentions")));
    let stranger = server.register("eve").await;
    for (method, body) in [("GET", None), ("PUT", Some(json!({"level": "all"})))] {
        let absent = "/api/rooms/01890000-0000-7000-8000-000000000000/notifications";
        let here = server.ask(method, &path, Some(&stranger.token), body.clone()).await;
        assert_eq!(here.0, 404);
        assert_eq!(here, server.ask(method, absent, Some(&stranger.token), body).await);
    }
    let (status, wrong) = server
        .ask("PUT", "/api/notifications", Some(&bob.token), Some(json!({"quiet_from": "25:00", "time_zone": "Mars"})))
        .await;
    assert_eq!((status, wrong["errors"].as_array().unwrap().len()), (422, 3), "{wrong}");
    // Always quiet but for the last minute before now.
    let now = server.app.clock.now_ms() / 60_000 % 1_440;
    let face = |m: i64| format!("{:02}:{:02}", m.rem_euclid(1_440) / 60, m.rem_euclid(1_440) % 60);
    let quiet = json!({"quiet_from": face(now), "quiet_to": face(now + 120), "time_zone": "utc", "locale": "fr"});
    let (status, set) = server.ask("PUT", "/api/notifications", Some(&bob.token), Some(quiet)).await;
    assert_eq!((status, &set["locale"], &set["push"]), (200, &json!("fr"), &json!("on")), "{set}");
    say(&server, &ana, &room, "ordinary").await;
    say(&server, &ana, &room, "@bob secret").await;
    until("what is held", || async { outbox(&server, &ana).await.len() == 1 }).await;
    server.advance(60);
    let held = outbox(&server, &ana).await;
    assert_eq!(held.len(), 1, "{held:?}");
    server.advance(2 * 60 * 60);
    gotify.wait_for(1).await;
    let note = gotify.seen().remove(0);
    assert_eq!(note.body["title"], "ana vous mentionne dans Cuisine");
    assert_eq!(note.body["message"], "ana vous a écrit");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_tried_again_and_the_hopeless_are_dead_letters() {
    let gotify = StandIn::start().await;
    let server = Server::start_with(&[("GOTIFY_URL", &gotify.url), LONG]).await;
    let (ana, bob, room) = house(&server).await;
    let mut tried = 0;
    say(&server, &ana, &room, "@bob patience").await;
    waits(&server, &ana, 1).await;
    for answer in [
        Answer::Status(500),
        Answer::Status(401),
        Answer::Status(403),
        Answer::Status(404),
        Answer::Status(429),
        Answer::Status(302),
        Answer::Garbage,
        Answer::Reset,
        Answer::Page,
    ] {
        gotify.answer(answer);
        server.advance(900);
        tried += 1;
        gotify.wait_for(tried).await;
        until("the record", || async { outbox(&server, &ana).await[0]["attempts"] == json!(tried) }).await;
        assert!(outbox(&server, &ana).await[0]["last_error"].is_string());
    }
    assert!(gotify.seen().iter().all(|seen| seen.path == "/message"), "a redirect was followed");
    let (status, test) = server.post("/api/notifications/gotify/test", &bob, json!({})).await;
    assert_eq!((status, &test["delivered"]), (200, &json!(false)), "{test}");
    // 413: once more without the text.
    gotify.answer(Answer::TooLargeWith("patience"));
    server.advance(900);
    until("a shorter one", || async { outbox(&server, &ana).await.is_empty() }).await;
    let last = gotify.seen().pop().unwrap();
    assert_eq!(last.body["message"], "New message from ana");
    // 400: a dead letter, which can be sent again by hand, or forgotten.
    gotify.answer(Answer::Status(400));
    say(&server, &ana, &room, "@bob malformed").await;
    waits(&server, &ana, 1).await;
    server.advance(100);
    until("its death", || async { outbox(&server, &ana).await[0]["state"] == "dead" }).await;
    let dead = outbox(&server, &ana).await.remove(0);
    assert!(dead["last_error"].as_str().unwrap().contains("400"), "{dead}");
    let path = format!("/api/admin/outbox/{}", dead["id"].as_str().unwrap());
    assert_eq!(server.ask("DELETE", &path, Some(&bob.token), None).await.0, 403);
    gotify.answer(Answer::Taken);
    let seen = gotify.seen().len();
    assert_eq!(server.post(&format!("{path}/requeue"), &ana, json!({})).await.0, 204);
    gotify.wait_for(seen + 1).await;
    waits(&server, &ana, 0).await;
    assert_eq!(server.ask("DELETE", &path, Some(&ana.token), None).await.0, 404);
    // What fails for 24 hours is dead too.
    gotify.answer(Answer::Status(500));
    say(&server, &ana, &room, "@bob a day").await;
    waits(&server, &ana, 1).await;
    server.advance(100);
    until("a failure", || async { outbox(&server, &ana).await[0]["attempts"] == json!(1) }).await;
    server.advance(25 * 60 * 60);
    until("its death", || async { outbox(&server, &ana).await[0]["state"] == "dead" }).await;
    let dead = outbox(&server, &ana).await.remove(0);
    assert_eq!(dead["last_error"], "tried for 24 hours: 500 (it failed)");
    // By hand it is gone, or sent again; what waits and what is dead are listed apart.
    let path = format!("/api/admin/outbox/{}", dead["id"].as_str().unwrap());
    assert_eq!(server.get("/api/admin/outbox?state=waiting", &ana).await.1, json!([]));
    assert_eq!(server.get("/api/admin/outbox?state=dead", &ana).await.1, json!([dead]));
    assert_eq!(server.get("/api/admin/outbox", &bob).await.0, 403);
    assert_eq!(server.ask("DELETE", &path, Some(&ana.token), None).await.0, 204);
    assert_eq!(outbox(&server, &ana).await.len(), 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_push_server_the_settings_say_so() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    for path in ["/api/notifications", "/api/notifications/gotify"] {
        assert_eq!(server.get(path, &ana).await.1["push"], "off", "{path}");
    }
    let (status, problem) = server.post("/api/notifications/gotify/test", &ana, json!({})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("push_off")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ntfy_is_a_second_driver_which_names_the_recipient() {
    let ntfy = StandIn::start().await;
    let url = format!("{}/house", ntfy.url);
    let server = Server::start_with(&[("NTFY_URL", &url), ("NTFY_TOKEN", "tk_secret")]).await;
    let ana = server.register("ana").await;
    let bob = server.register("bob").await;
    let room = server.room(&ana, "Cuisine").await;
    server.add(&ana, &room, &bob).await;
    ntfy.answer(Answer::TakenByNtfy);
    say(&server, &ana, &room, "soup").await;
    waits(&server, &ana, 1).await;
    server.advance(4);
    ntfy.wait_for(1).await;
    let note = ntfy.seen().remove(0);
    assert_eq!((note.path.as_str(), note.bearer.as_str()), ("/", "Bearer tk_secret"));
    assert_eq!((&note.body["topic"], &note.body["title"]), (&json!("house"), &json!("@bob: Cuisine")));
    assert_eq!((&note.body["message"], &note.body["priority"]), (&json!("ana: soup"), &json!(3)));
    server.stop().await;
}
