//! Lists in pages, while what they list moves.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{all_pages, text};
use crate::kit::Server;

/// A page by its path, and the path of the next one.
async fn page(server: &Server, token: &str, path: &str) -> (Vec<Value>, Option<String>) {
    let response = server.http.get(server.url(path)).bearer_auth(token).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200, "{path}");
    let next = response.headers().get("link").map(|link| {
        let link = link.to_str().unwrap();
        link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).unwrap().to_owned()
    });
    (response.json().await.unwrap(), next)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_move_stands_on_exactly_one_page() {
    let server = Server::start().await;
    let (ana, eve) = (server.register("ana").await, server.register("eve").await);
    let mut rooms = Vec::new();
    for n in 0..23 {
        let body = json!({"name": format!("Room {n}"), "visibility": "public"});
        let (_, room) = server.post("/api/rooms", &ana, body).await;
        rooms.push(text(&room["id"]).to_owned());
        // Some at the same moment.
        server.advance(i64::from(n % 3 == 0));
    }
    // Her own, and what a stranger may join.
    for (who, list) in [(&ana, "/api/rooms?limit=4"), (&eve, "/api/rooms?limit=4&visibility=public")] {
        let (mut seen, mut moved, mut next) = (Vec::new(), BTreeSet::new(), Some(list.to_owned()));
        while let Some(path) = next {
            assert!(
                path.starts_with("/api/rooms?limit=4") && path.contains("visibility") == list.contains("visibility")
            );
            let found;
            (found, next) = page(&server, &who.token, &path).await;
            assert!(found.len() == 4 || next.is_none(), "a page is full while there is more");
            seen.extend(found.iter().map(|room| text(&room["id"]).to_owned()));
            // Something is said in one that was seen, in one that may not have been, and in the last one of the page.
            server.advance(1);
            for room in [&seen[seen.len() / 2], &rooms[seen.len() * 7 % 23], &seen[seen.len() - 1]] {
                let said = server.post(&format!("/api/rooms/{room}/messages"), &ana, json!({"content": "hello"})).await;
                assert_eq!(said.0, 201);
                moved.insert(room.clone());
            }
        }
        let once: BTreeSet<_> = seen.iter().cloned().collect();
        assert_eq!(once.len(), seen.len(), "a room stands on two pages");
        let missed: Vec<_> = rooms.iter().filter(|room| !once.contains(*room) && !moved.contains(*room)).collect();
        assert_eq!(missed, Vec::<&String>::new(), "a room that did not move was missed");
        let (first, _) = page(&server, &who.token, list).await;
        assert!(moved.contains(text(&first[0]["id"])), "what moved is at the top");
    }
    // Whether they fit on one page or not: the same rooms, in the same order.
    let all = all_pages(&server, &ana, "/api/rooms?limit=4").await;
    assert_eq!(all.len(), 23);
    for limit in [22, 23, 24] {
        let (first, next) = page(&server, &ana.token, &format!("/api/rooms?limit={limit}")).await;
        assert_eq!((&first[..], next.is_some()), (&all[..limit.min(23)], limit < 23), "{limit}");
    }
    assert_eq!(server.get("/api/rooms", &eve).await, (200, json!([])), "she is in none");
    // A cursor of another list, or of nobody.
    for cursor in ["x", "1.", ".", "1.2", "99999999999999999999.01890a5d-ac96-774b-bcce-b302099a8057", "%00"] {
        let (status, answer) = server.get(&format!("/api/rooms?cursor={cursor}"), &ana).await;
        assert_eq!((status, &answer["errors"][0]["field"]), (422, &json!("cursor")), "{cursor}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_come_by_name_however_many_come_and_go() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let room = server.room(&ana, "Cuisine").await;
    let mut names = vec!["ana".to_owned()];
    for n in 0..12 {
        // Order goes by the name without case.
        let name = format!("{}{n:02}", if n % 2 == 0 { "Mem" } else { "mem" });
        let who = server.register(&name).await;
        server.add(&ana, &room, &who).await;
        names.push(name);
    }
    let (mut seen, mut next) = (Vec::new(), Some(format!("/api/rooms/{room}/members?limit=3")));
    while let Some(path) = next {
        let found;
        (found, next) = page(&server, &ana.token, &path).await;
        seen.extend(found.iter().map(|member| text(&member["username"]).to_owned()));
        // The last one that was seen goes, and somebody comes who stands before them.
        let last = text(&found[found.len() - 1]["user_id"]).to_owned();
        if last != ana.id {
            let path = format!("/api/rooms/{room}/members/{last}");
            assert_eq!(server.ask("DELETE", &path, Some(&ana.token), None).await.0, 204);
        }
        let new = server.register(&format!("aaa{}", seen.len())).await;
        server.add(&ana, &room, &new).await;
    }
    assert_eq!(seen, names);
    server.stop().await;
}
