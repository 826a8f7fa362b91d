//! Finding what was said: the same on both databases.

use serde_json::{Value, json};

use crate::kit::{Account, Server};

struct House {
    server: Server,
    ana: Account,
    room: String,
}

async fn house() -> House {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let room = server.room(&ana, "Cuisine").await;
    House { server, ana, room }
}

impl House {
    async fn say(&self, content: &str) -> String {
        self.say_in(&self.room, content).await
    }

    async fn say_in(&self, room: &str, content: &str) -> String {
        let path = format!("/api/rooms/{room}/messages");
        let (status, message) = self.server.post(&path, &self.ana, json!({"content": content})).await;
        assert_eq!(status, 201, "{message}");
        message["id"].as_str().unwrap().to_owned()
    }

    async fn search(&self, q: &str) -> (u16, Value) {
        self.server.get(&path(&self.room, q), &self.ana).await
    }

    /// The contents found, newest first.
    async fn found(&self, q: &str) -> Vec<String> {
        let (status, found) = self.search(q).await;
        assert_eq!(status, 200, "{q}: {found}");
        found.as_array().unwrap().iter().map(|m| m["content"].as_str().unwrap().to_owned()).collect()
    }
}

fn path(room: &str, q: &str) -> String {
    let q: String = form_urlencoded::byte_serialize(q.as_bytes()).collect();
    format!("/api/rooms/{room}/messages/search?q={q}")
}

#[tokio::test(flavor = "multi_thread")]
async fn words_are_found_whatever_their_case_and_accents() {
    let house = house().await;
    let said = [
        "Bonjour à tous",
        "L'ÉLÈVE est là: 42 élèves!",
        "price: 12.50 EUR (not 1250)",
        "naïve café — cafétéria",
        "東京 tower",
        "Приве́т, мир",
        "snake_case and kebab-case, mail@example.org",
        "👍",
        "हिन्दी भाषा",
    ];
    for content in said {
        house.say(content).await;
    }
    for (q, expected) in [
        ("bonjour", vec![0]),
        ("BONJOUR tous", vec![0]),
        ("tous bonjour", vec![0]),
        ("bonj", vec![0]),
        // The last word alone may be a beginning.
        ("bonj tous", vec![]),
        ("eleve", vec![1]),
        ("élève", vec![1]),
        ("ELEVES 42", vec![1]),
        ("cafe", vec![3]),
        ("cafétéria", vec![3]),
        ("12.50", vec![2]),
        ("50 12", vec![2]),
        ("1250", vec![2]),
        ("125", vec![2]),
        ("東京", vec![4]),
        ("東", vec![4]),
        ("привет", vec![5]),
        ("МИР", vec![5]),
        ("snake-case", vec![6]),
        ("example org mail", vec![6]),
        ("हिन्दी", vec![8]),
        ("e", vec![6, 2, 1]),
        ("nothing", vec![]),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|at| said[at].to_owned()).collect();
        assert_eq!(house.found(q).await, expected, "{q}");
    }
    house.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_typed_is_syntax() {
    let house = house().await;
    house.say("alpha beta").await;
    house.say("alpha OR gamma").await;
    house.say("near not and").await;
    for (q, count) in [
        ("alpha OR gamma", 1),
        ("alpha OR", 1),
        ("beta OR gamma", 0),
        ("NEAR(not and)", 1),
        ("NOT", 1),
        ("words: alpha", 0),
        ("alpha*", 2),
        ("\"alpha beta\"", 1),
        ("alpha\" OR \"near", 0),
        ("'alpha' | 'near'", 0),
        ("alpha & !beta", 1),
        ("alpha <-> beta", 1),
        ("beta:*", 1),
        ("al%", 2),
        ("^alpha", 2),
        ("-beta alpha", 1),
        ("alpha\\", 2),
        ("alpha\n\tbeta", 1),
        // Where there is no word, nothing is found; of many, the first 16 count.
        ("*", 0),
        ("\"'()", 0),
        ("👍", 0),
        ("\0", 0),
        (&format!("{}beta", "alpha ".repeat(15)), 1),
        (&format!("{}nowhere", "alpha ".repeat(16)), 2),
    ] {
        let found = house.found(q).await;
        assert_eq!(found.len(), count, "{q}: {found:?}");
    }
    for (q, code) in [("", "too_short"), (&"a".repeat(201), "too_long")] {
        let (status, problem) = house.search(q).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("q")), "{q}: {problem}");
        assert_eq!(problem["errors"][0]["code"], code, "{q}");
    }
    let missing = format!("/api/rooms/{}/messages/search", house.room);
    let (status, problem) = house.server.get(&missing, &house.ana).await;
    assert_eq!((status, &problem["errors"][0]["code"]), (422, &json!("required")));
    let (status, problem) = house.server.get(&format!("{missing}?q=a&cursor=x"), &house.ana).await;
    assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("cursor")));
    assert_eq!(house.found(&"ä".repeat(200)).await.len(), 0);
    house.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_are_found_by_what_they_say_now_and_deletions_never() {
    let house = house().await;
    let ids = [house.say("first wording").await, house.say("second wording").await, house.say("third").await];
    assert_eq!(house.found("wording").await, ["second wording", "first wording"]);
    let at = |id: &str| format!("/api/rooms/{}/messages/{id}", house.room);
    let token = Some(house.ana.token.as_str());
    // Both what the index has already, and what it has not seen yet.
    let fresh = house.say("fourth wording").await;
    for (id, content) in [(&ids[0], "premier texte"), (&fresh, "quatrième texte")] {
        assert_eq!(house.server.ask("PATCH", &at(id), token, Some(json!({"content": content}))).await.0, 200);
    }
    assert_eq!(house.found("wording").await, ["second wording"]);
    assert_eq!(house.found("texte").await, ["quatrième texte", "premier texte"]);
    let unseen = house.say("fifth wording").await;
    for id in [&ids[1], &fresh, &unseen] {
        assert_eq!(house.server.ask("DELETE", &at(id), token, None).await.0, 204);
    }
    assert_eq!(house.found("wording").await.len(), 0);
    assert_eq!(house.found("texte").await, ["premier texte"]);
    // Again, when the index has seen all of it.
    assert_eq!(house.found("third").await, ["third"]);
    assert_eq!(house.server.ask("DELETE", &at(&ids[2]), token, None).await.0, 204);
    assert_eq!(house.found("third").await.len(), 0);
    house.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_back_in_time_and_stay_in_the_room() {
    let house = house().await;
    let other = house.server.room(&house.ana, "Salon").await;
    for n in 1..=25 {
        house.say(&format!("needle {n}")).await;
        house.say("hay").await;
        house.say_in(&other, "needle elsewhere").await;
    }
    let mut next = Some(format!("{}&limit=10", path(&house.room, "needle")));
    let mut pages = Vec::new();
    while let Some(path) = next {
        let request = house.server.http.get(house.server.url(&path)).bearer_auth(&house.ana.token);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let link = response.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        next = link.map(|link| link.split(['<', '>']).nth(1).unwrap().to_owned());
        let page: Value = response.json().await.unwrap();
        pages.push(page.as_array().unwrap().clone());
    }
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
    let contents: Vec<_> = pages.concat().iter().map(|m| m["content"].as_str().unwrap().to_owned()).collect();
    assert_eq!(contents, (1..=25).rev().map(|n| format!("needle {n}")).collect::<Vec<_>>());
    let first = &pages[0][0];
    assert_eq!((&first["room_id"], &first["seq"], &first["username"]), (&json!(house.room), &json!(49), &json!("ana")));

    // Members only.
    let eve = house.server.register("eve").await;
    assert_eq!(house.server.get(&path(&house.room, "needle"), &eve).await.0, 404);
    house.server.add(&house.ana, &house.room, &eve).await;
    assert_eq!(house.server.get(&path(&house.room, "needle"), &eve).await.1.as_array().unwrap().len(), 25);
    house.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_follows_by_itself() {
    let house = house().await;
    for n in 0..3 {
        house.say(&format!("word{n}")).await;
    }
    let behind = async || house.server.app.db.read(mesh_server::store::search::behind).await.unwrap().0;
    crate::kit::until("the index to follow", async || behind().await == 0).await;
    assert_eq!(house.found("word1").await, ["word1"]);
    house.server.stop().await;
}
