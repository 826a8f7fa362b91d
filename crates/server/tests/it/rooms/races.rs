//! What holds when many ask at once, of two servers on one database.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::text;
use crate::kit::{Account, Server};

/// Two servers on one database: nothing that one of them orders in its memory helps the other.
async fn twins() -> [Server; 2] {
    let first = Server::start().await;
    let second = Server::start_with(&[("DATABASE_URL", &first.database.url.clone())]).await;
    [first, second]
}

async fn people(server: &Server, count: usize) -> Vec<Account> {
    let mut people = Vec::new();
    for n in 0..count {
        people.push(server.register(&format!("user{n}")).await);
    }
    people
}

async fn stop(servers: [Server; 2]) {
    let [first, second] = servers;
    // The first one's database must outlive both.
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_come_as_an_invite_has_uses() {
    let servers = twins().await;
    let ana = servers[0].register("ana").await;
    let people = people(&servers[0], 50).await;
    let room = servers[0].room(&ana, "Cuisine").await;
    let path = format!("/api/rooms/{room}/invites");
    let (_, invite) = servers[0].post(&path, &ana, json!({"max_uses": 17})).await;
    let accept = format!("/api/invites/{}/accept", text(&invite["code"]));
    let answers = join_all(people.iter().enumerate().map(|(n, who)| {
        let (server, accept) = (&servers[n % 2], &accept);
        async move { server.ask("POST", accept, Some(&who.token), None).await }
    }))
    .await;
    let count = |status: u16| answers.iter().filter(|answer| answer.0 == status).count();
    assert_eq!((count(200), count(410)), (17, 33), "{answers:?}");
    let (_, seen) = servers[1].get(&format!("/api/rooms/{room}"), &ana).await;
    assert_eq!(seen["member_count"], 18);
    let (_, members) = servers[1].get(&format!("/api/rooms/{room}/members?limit=200"), &ana).await;
    assert_eq!(members.as_array().unwrap().len(), 18);
    let (_, invites) = servers[0].get(&path, &ana).await;
    assert_eq!(invites[0]["uses"], 17);
    stop(servers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_person_at_once_uses_one() {
    let servers = twins().await;
    let (ana, ben) = (servers[0].register("ana").await, servers[0].register("ben").await);
    let room = servers[0].room(&ana, "Cuisine").await;
    let path = format!("/api/rooms/{room}/invites");
    let (_, invite) = servers[0].post(&path, &ana, json!({"max_uses": 5})).await;
    let accept = format!("/api/invites/{}/accept", text(&invite["code"]));
    let answers = join_all((0..20).map(|n| servers[n % 2].ask("POST", &accept, Some(&ben.token), None))).await;
    assert!(answers.iter().all(|answer| answer.0 == 200), "{answers:?}");
    assert_eq!(servers[1].get(&path, &ana).await.1[0]["uses"], 1);
    stop(servers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_at_once_make_one_direct_room() {
    let servers = twins().await;
    let people = people(&servers[0], 6).await;
    for pair in people.chunks(2) {
        let answers = join_all((0..20).map(|n| {
            let (who, other) = (&pair[n % 2], &pair[(n + 1) % 2]);
            servers[n / 2 % 2].post("/api/rooms/direct", who, json!({"username": other.name}))
        }))
        .await;
        let first = &answers[0].1["id"];
        assert!(
            answers.iter().all(|(status, room)| matches!(status, 200 | 201) && room["id"] == *first),
            "{answers:?}"
        );
        assert_eq!(answers.iter().filter(|answer| answer.0 == 201).count(), 1, "{answers:?}");
        for who in pair {
            let (_, rooms) = servers[1].get("/api/rooms", who).await;
            assert_eq!((rooms.as_array().unwrap().len(), &rooms[0]["member_count"]), (1, &json!(2)));
        }
    }
    stop(servers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_always_has_one_owner() {
    let servers = twins().await;
    let people = people(&servers[0], 4).await;
    let [ana, ben, cat, dan] = people.as_slice() else { panic!("four people") };
    for round in 0..12 {
        let room = servers[0].room(ana, &format!("Room {round}")).await;
        for who in [ben, cat, dan] {
            servers[0].add(ana, &room, who).await;
        }
        let role = |whose: &Account, role: &str| {
            let path = format!("/api/rooms/{room}/members/{}", whose.id);
            ("PATCH", path, Some(json!({"role": role})))
        };
        let gone = |whose: &Account| ("DELETE", format!("/api/rooms/{room}/members/{}", whose.id), None::<Value>);
        // Dan stays whatever happens, unless he is put out.
        let calls = [
            (ana, role(ben, "owner")),
            (ana, role(cat, "owner")),
            (ana, gone(ana)),
            (ben, gone(ben)),
            (cat, gone(cat)),
            (ben, role(cat, "owner")),
            (cat, role(ana, "owner")),
            (ben, gone(ana)),
            (ana, gone(ben)),
            (ana, role(ana, "member")),
            (ben, role(ben, "member")),
        ];
        let answers = join_all(calls.iter().enumerate().map(|(n, (who, (method, path, body)))| {
            servers[(n + round) % 2].ask(method, path, Some(&who.token), body.clone())
        }))
        .await;
        for (status, answer) in &answers {
            assert!(matches!(status, 200 | 204 | 403 | 404 | 409), "{status} {answer}");
        }
        let (status, seen) = servers[1].get(&format!("/api/rooms/{room}"), dan).await;
        assert_eq!(status, 200, "{seen}");
        let (_, members) = servers[1].get(&format!("/api/rooms/{room}/members"), dan).await;
        let members = members.as_array().unwrap();
        let owners: Vec<_> = members.iter().filter(|member| member["role"] == "owner").collect();
        assert_eq!(owners.len(), 1, "round {round}: {members:?}");
        assert_eq!(owners[0]["user_id"], seen["owner_id"], "round {round}");
        assert_eq!(seen["member_count"], members.len());
    }
    stop(servers).await;
}
