//! Tokens, and what the push server's answers do to us.

use serde_json::{Value, json};

use super::{
    TOKEN, house, say,
    stand_in::{Answer, StandIn},
    waits,
};
use crate::kit::{Account, Database, Server, until};

const TEST: &str = "/api/notifications/gotify/test";
const GOTIFY: &str = "/api/notifications/gotify";

async fn put(server: &Server, who: &Account, body: Value) -> (u16, Value) {
    server.ask("PUT", GOTIFY, Some(&who.token), Some(body)).await
}

/// Runs a statement on a test's database.
async fn exec(database: &Database, sql: String) {
    if let Some(file) = database.sqlite_file() {
        let conn = rusqlite::Connection::open(file).unwrap();
        conn.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
        conn.execute_batch(&sql).unwrap();
        return;
    }
    let url = database.url.clone();
    let run = move || postgres::Client::connect(&url, postgres::NoTls).unwrap().batch_execute(&sql).unwrap();
    tokio::task::spawn_blocking(run).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_sealed_for_its_owner_and_never_shown() {
    let gotify = StandIn::start().await;
    let server = Server::start_with(&[("GOTIFY_URL", &gotify.url)]).await;
    let ana = server.register("ana").await;
    let none = json!({"push": "on", "token": "none", "enabled": true, "min_priority": 0});
    assert_eq!(server.get(GOTIFY, &ana).await, (200, none.clone()));
    let (status, problem) = server.post(TEST, &ana, json!({})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("no_token")));
    for (body, field) in [
        (json!({"token": ""}), "token"),
        (json!({"token": "a".repeat(201)}), "token"),
        (json!({"token": "with space"}), "token"),
        (json!({"token": "newline\n"}), "token"),
        (json!({"token": "é"}), "token"),
        (json!({"token": TOKEN, "min_priority": 11}), "min_priority"),
        (json!({}), "token"),
    ] {
        let (status, problem) = put(&server, &ana, body.clone()).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!(field)), "{body}");
        assert!(!problem.to_string().contains(TOKEN));
    }
    assert_eq!(server.get(GOTIFY, &ana).await.1, none, "nothing is half written");
    let set = put(&server, &ana, json!({"token": TOKEN, "min_priority": 3})).await;
    assert_eq!(set, (200, json!({"push": "on", "token": "own", "enabled": true, "min_priority": 3})));
    assert_eq!(server.get(GOTIFY, &ana).await.1, set.1);
    let (status, test) = server.post(TEST, &ana, json!({})).await;
    assert_eq!((status, &test), (200, &json!({"delivered": true, "status": 200, "detail": "Gotify: 200 (delivered)"})));
    let seen = gotify.seen().remove(0);
    assert!(seen.head.starts_with("POST /message HTTP/1.1\r\n"), "{}", seen.head);
    assert_eq!((seen.token.as_str(), seen.head.matches(TOKEN).count()), (TOKEN, 1), "in its header, and nowhere else");
    assert!(!seen.body.to_string().contains(TOKEN));

    // In the database it is not to be read, and of no use to anybody else.
    let rows = crate::leaving::rows(&server.database).await;
    assert!(rows.iter().any(|row| row.starts_with("push_settings: ") && row.contains(&ana.id)));
    assert!(!rows.iter().any(|row| row.contains(TOKEN)), "it stands in the database");
    let eve = server.register("eve").await;
    assert_eq!(put(&server, &eve, json!({"token": "AnotherToken"})).await.0, 200);
    let stolen = format!(
        "UPDATE push_settings SET sealed_token = (SELECT sealed_token FROM push_settings WHERE user_id = '{}') \
         WHERE user_id = '{}'",
        ana.id, eve.id
    );
    exec(&server.database, stolen).await;
    let (status, problem) = server.post(TEST, &eve, json!({})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("no_token")), "{problem}");
    assert_eq!(gotify.seen().len(), 1);

    assert_eq!(server.ask("DELETE", GOTIFY, Some(&ana.token), None).await.0, 204);
    assert_eq!(server.get(GOTIFY, &ana).await.1, none);
    // What belongs to an account goes with it.
    let body = json!({"password": "correct horse battery"});
    assert_eq!(server.ask("DELETE", "/api/auth/me", Some(&eve.token), Some(body)).await.0, 204);
    let rows = crate::leaving::rows(&server.database).await;
    assert!(!rows.iter().any(|row| row.starts_with("push_") && row.contains(&eve.id)), "{rows:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rotation_tokens_stand_on_the_new_secret() {
    let gotify = StandIn::start().await;
    let (old, new) =
        ("the old secret of more than thirty-two characters", "the new secret of more than thirty-two characters");
    let with = |secret| [("GOTIFY_URL", gotify.url.as_str()), ("MESH_JWT_SECRET", secret)];
    let server = Server::start_with(&with(old)).await;
    let ana = server.register("ana").await;
    assert_eq!(put(&server, &ana, json!({"token": TOKEN})).await.0, 200);
    let database = server.stop().await;
    let both = format!("{new},{old}");
    let server = Server::start_on(database, &with(&both)).await;
    // The worker of the start does it, or this: whoever comes second finds nothing to do.
    mesh_server::service::outbox::seal_anew(&server.app).await.unwrap();
    assert_eq!(mesh_server::service::outbox::seal_anew(&server.app).await.unwrap(), 0);
    assert_eq!(server.post(TEST, &ana, json!({})).await.1["delivered"], true);
    let database = server.stop().await;
    let server = Server::start_on(database, &with(new)).await;
    let body = json!({"username": "ana", "password": "correct horse battery"});
    let (_, login) = server.ask("POST", "/api/auth/login", None, Some(body)).await;
    let ana = Account { token: login["access_token"].as_str().unwrap().to_owned(), ..ana };
    assert_eq!(server.post(TEST, &ana, json!({})).await.1["delivered"], true, "the old secret is gone");
    assert!(gotify.seen().iter().all(|seen| seen.token == TOKEN));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_reports_what_really_became_of_it() {
    let gotify = StandIn::start().await;
    let server = Server::start_with(&[("GOTIFY_URL", &gotify.url), ("GOTIFY_TOKEN", TOKEN)]).await;
    let ana = server.register("ana").await;
    for (answer, status, detail) in [
        (Answer::Taken, Some(200), "200 (delivered)"),
        (Answer::Status(400), Some(400), "400 (it calls the notification malformed)"),
        (Answer::Status(401), Some(401), "401 (it refuses the token)"),
        (Answer::Status(403), Some(403), "403 (it refuses the token)"),
        (Answer::Status(404), Some(404), "404 (nothing takes notifications at that address)"),
        (Answer::Status(413), Some(413), "413 (the notification is too large for it)"),
        (Answer::Status(302), Some(302), "302 (it points elsewhere; redirects are not followed)"),
        (Answer::Status(500), Some(500), "500 (it failed)"),
        (Answer::Page, Some(200), "200 (what answers there is not the push server)"),
        (Answer::Garbage, None, "it broke off, or does not speak HTTP"),
        (Answer::Reset, None, "it broke off, or does not speak HTTP"),
        (Answer::Endless, None, "its answer is longer than a push server's"),
        (Answer::Hang, None, "it did not answer within 10 seconds"),
        (Answer::Deaf, None, "it did not answer within 10 seconds"),
    ] {
        gotify.answer(answer);
        let test = server.post(TEST, &ana, json!({})).await;
        let told =
            json!({"delivered": answer == Answer::Taken, "status": status, "detail": format!("Gotify: {detail}")});
        assert_eq!(test, (200, told), "{answer:?}");
    }
    assert!(gotify.seen().iter().all(|seen| seen.path == "/message"), "a redirect was followed");
    // A few at once, and no more: each holds a connection of ours.
    gotify.answer(Answer::Held);
    let seen = gotify.seen().len();
    let four = futures_util::future::join_all((0..4).map(|_| server.post(TEST, &ana, json!({}))));
    let fifth = async {
        gotify.wait_for(seen + 4).await;
        let fifth = server.post(TEST, &ana, json!({})).await;
        (0..4).for_each(|_| gotify.let_go());
        fifth
    };
    let (four, fifth) = tokio::join!(four, fifth);
    assert!(four.iter().all(|(status, test)| *status == 200 && test["delivered"] == true), "{four:?}");
    assert_eq!((fifth.0, &fifth.1["code"]), (429, &json!("rate_limited")));
    // Nobody there.
    let url = gotify.url.clone();
    server.stop().await;
    drop(gotify);
    let server = Server::start_with(&[("GOTIFY_URL", &url), ("GOTIFY_TOKEN", TOKEN)]).await;
    let ana = server.register("ana").await;
    let (_, test) = server.post(TEST, &ana, json!({})).await;
    assert_eq!(test, json!({"delivered": false, "status": null, "detail": "Gotify: it cannot be reached"}));
    server.stop().await;
}

/// An answer that repeats a long message is no stranger's.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_message_is_delivered_once() {
    let gotify = StandIn::start().await;
    let settings = [("GOTIFY_URL", gotify.url.as_str()), ("MESH_MAX_MESSAGE_CHARS", "16000")];
    let server = Server::start_with(&settings).await;
    let (ana, _, room) = house(&server).await;
    gotify.answer(Answer::Echo);
    // Gotify writes each of them with six bytes.
    say(&server, &ana, &room, &"<".repeat(16_000)).await;
    waits(&server, &ana, 1).await;
    server.advance(4);
    gotify.wait_for(1).await;
    waits(&server, &ana, 0).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_better_token_is_tried_at_once() {
    let gotify = StandIn::start().await;
    let server = Server::start_with(&[("GOTIFY_URL", &gotify.url)]).await;
    let (ana, bob, room) = house(&server).await;
    gotify.answer(Answer::Status(401));
    say(&server, &ana, &room, "@bob one").await;
    waits(&server, &ana, 1).await;
    for attempts in 1..=4 {
        server.advance(60);
        until("a refusal", || async { super::outbox(&server, &ana).await[0]["attempts"] == attempts }).await;
    }
    gotify.answer(Answer::Taken);
    assert_eq!(put(&server, &bob, json!({"token": "TheRightOne"})).await.0, 200);
    waits(&server, &ana, 0).await;
    assert_eq!(gotify.seen().pop().unwrap().token, "TheRightOne");
    server.stop().await;
}

/// Only that something is new: neither who, nor where, nor what.
#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_may_be_told_nothing_is() {
    let gotify = StandIn::start().await;
    let settings =
        [("GOTIFY_URL", gotify.url.as_str()), ("GOTIFY_TOKEN", "TheServersOwn"), ("MESH_PUSH_CONTENT", "none")];
    let server = Server::start_with(&settings).await;
    let (ana, bob) = (server.register("ana").await, server.register("bob").await);
    let room = server.room(&ana, "Cuisine").await;
    server.add(&ana, &room, &bob).await;
    assert_eq!(server.get(GOTIFY, &bob).await.1["token"], "server");
    say(&server, &ana, &room, "@bob soup").await;
    waits(&server, &ana, 1).await;
    server.advance(4);
    gotify.wait_for(1).await;
    let note = gotify.seen().remove(0);
    assert_eq!(note.token, "TheServersOwn");
    assert_eq!((&note.body["title"], &note.body["message"]), (&json!("@bob: Mesh"), &json!("Something new")));
    let all = note.body.to_string();
    for hidden in ["ana", "Cuisine", "soup", room.as_str()] {
        assert!(!all.contains(hidden), "{all}");
    }
    server.stop().await;
}
