//! A room to take along.

use serde_json::{Value, json};

use super::post;
use crate::kit::Server;

#[tokio::test(flavor = "multi_thread")]
async fn its_owner_takes_a_whole_room_along() {
    let server = Server::start().await;
    let (ana, ben, eve) = (server.register("ana").await, server.register("ben").await, server.register("eve").await);
    let room = server.room(&ana, "Cuisine").await;
    server.add(&ana, &room, &ben).await;
    // More than one page.
    for n in 1..=450 {
        post(&server, &room, if n % 2 == 0 { &ana } else { &ben }, &format!("line\n{n}")).await;
    }
    let log = server.log(&ana, &room).await;
    let path = format!("/api/rooms/{room}/export");
    let response = server.http.get(server.url(&path)).bearer_auth(&ana.token).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let disposition = format!("attachment; filename=\"room-{room}.ndjson\"");
    assert_eq!(response.headers()["content-disposition"], disposition.as_str());
    let text = response.text().await.unwrap();
    assert!(text.ends_with('\n'));
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(kinds[..3], ["room", "member", "member"]);
    assert!(kinds[3..].iter().all(|kind| *kind == "message"));
    assert_eq!((&lines[0]["id"], &lines[0]["name"]), (&json!(room), &json!("Cuisine")));
    assert_eq!((&lines[1]["username"], &lines[1]["role"]), (&json!("ana"), &json!("owner")));
    assert_eq!(lines[2]["username"], "ben");
    let messages: Vec<_> = lines[3..]
        .iter()
        .map(|line| {
            let mut message = line.clone();
            message.as_object_mut().unwrap().remove("type");
            message
        })
        .collect();
    assert_eq!(messages, log);

    let (status, problem) = server.get(&path, &ben).await;
    assert_eq!((status, &problem["code"]), (403, &json!("forbidden")));
    assert_eq!(server.get(&path, &eve).await.0, 404);
    assert_eq!(server.ask("GET", &path, None, None).await.0, 401);
    // A token that may read the chat may not take it along.
    let body = json!({"name": "bot", "scopes": ["chat:read", "rooms:read"]});
    let token = server.post("/api/auth/tokens", &ana, body).await.1;
    let (status, problem) = server.ask("GET", &path, token["token"].as_str(), None).await;
    assert_eq!((status, &problem["code"]), (403, &json!("insufficient_scope")));
    server.stop().await;
}
