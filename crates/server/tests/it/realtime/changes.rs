//! What becomes of messages: edits, deletions, reactions, read markers, typing, history, from connections and by REST.

use serde_json::{Value, json};

use super::{code, messages, public_room, two_in_a_room, two_in_a_room_with, until_pong};
use crate::kit::{Account, Peer, Server};

/// The three roles of a change: who made the message, who shares the room, and a stranger.
struct House {
    server: Server,
    ana: Account,
    ben: Account,
    eve: Account,
    room: String,
}

async fn house() -> House {
    let (server, ana, ben, room) = two_in_a_room().await;
    let eve = server.register("eve").await;
    House { server, ana, ben, eve, room }
}

impl House {
    async fn posted(&self, who: &Account, content: &str) -> Value {
        let (status, message) = self.server.post(&messages(&self.room), who, json!({"content": content})).await;
        assert_eq!(status, 201, "{message}");
        message
    }

    async fn call(&self, method: &str, path: &str, who: &Account, body: Option<Value>) -> (u16, Value) {
        self.server.ask(method, &format!("/api/rooms/{}/{path}", self.room), Some(&who.token), body).await
    }

    async fn seen_by(&self, who: &Account) -> Value {
        let (status, room) = self.server.get(&format!("/api/rooms/{}", self.room), who).await;
        assert_eq!(status, 200, "{room}");
        room
    }
}

fn id(message: &Value) -> &str {
    message["id"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_reaches_everybody_and_its_author_as_the_answer() {
    let house = house().await;
    let (mut a, mut b) = (house.server.peer(&house.ana).await, house.server.peer(&house.ben).await);
    a.join(&house.room).await;
    b.join(&house.room).await;
    let said = a.say(&house.room, "Helo").await["payload"]["message"].clone();
    b.next_of("chat.message.created").await;
    house.server.advance(60);
    let ask = json!({"room_id": house.room, "message_id": said["id"], "content": "Hello, @Ben"});
    let answer = a.ask("chat.message.edit", ask.clone()).await;
    let heard = b.next_of("chat.message.edited").await;
    assert_eq!((&answer["type"], &answer["payload"]), (&heard["type"], &heard["payload"]));
    assert_eq!((&heard["from"], &heard["to"]), (&json!(a.id), &json!(house.room)));
    assert!(heard.get("reply_to").is_none());
    let payload = &heard["payload"];
    assert_eq!((&payload["seq"], &payload["message"]["seq"]), (&json!(2), &json!(1)));
    let mut expected = said.clone();
    expected["content"] = json!("Hello, @Ben");
    expected["mentions"] = json!([house.ben.id]);
    expected["edited_at"] = payload["message"]["edited_at"].clone();
    assert!(payload["message"]["edited_at"].as_str().unwrap() > said["created_at"].as_str().unwrap());
    assert_eq!(payload["message"], expected);
    // It says so already: nothing happens, and nobody hears of it.
    assert_eq!(a.ask("chat.message.edit", ask).await["type"], "system.ack");
    assert_eq!(until_pong(&mut b).await, Vec::<Value>::new());
    // History shows it in its place; the edit is no message of its own.
    assert_eq!(house.server.log(&house.ben, &house.room).await, [expected.clone()]);
    let room = house.seen_by(&house.ben).await;
    assert_eq!((&room["last_seq"], &room["unread"], &room["mentions"]), (&json!(2), &json!(1), &json!(1)));
    // By REST, heard alike.
    let path = format!("messages/{}", id(&said));
    let (status, edited) = house.call("PATCH", &path, &house.ana, Some(json!({"content": "Hi"}))).await;
    assert_eq!((status, &edited["content"], &edited["mentions"]), (200, &json!("Hi"), &json!([])));
    let heard = b.next_of("chat.message.edited").await;
    assert_eq!((&heard["payload"]["seq"], &heard["payload"]["message"]), (&json!(3), &edited));
    assert_eq!(heard["from"], "server");
    assert_eq!(house.seen_by(&house.ben).await["mentions"], 0, "it names nobody any more");
    drop((a, b));
    house.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn authors_alone_edit_and_owners_delete_too() {
    let house = house().await;
    let (by_ana, by_ben) = (house.posted(&house.ana, "one").await, house.posted(&house.ben, "two").await);
    let mut b = house.server.peer(&house.ben).await;
    b.join(&house.room).await;
    let edit = Some(json!({"content": "changed"}));
    for (who, message) in [(&house.ana, &by_ben), (&house.ben, &by_ana)] {
        let (status, answer) = house.call("PATCH", &format!("messages/{}", id(message)), who, edit.clone()).await;
        assert_eq!((status, &answer["code"]), (403, &json!("forbidden")));
    }
    // A member takes back only the own; the owner anybody's.
    let ask = json!({"room_id": house.room, "message_id": by_ana["id"]});
    assert_eq!(code(&b.ask("chat.message.delete", ask).await), "forbidden");
    assert_eq!(house.call("DELETE", &format!("messages/{}", id(&by_ben)), &house.ana, None).await.0, 204);
    let heard = b.next_of("chat.message.deleted").await;
    let gone = &heard["payload"]["message"];
    assert_eq!((&gone["id"], &gone["content"], &gone["seq"]), (&by_ben["id"], &json!(""), &json!(2)));
    assert!(gone["deleted_at"].is_string() && heard["payload"]["seq"] == 3);
    // Once more changes nothing, and nothing can be made of it.
    assert_eq!(house.call("DELETE", &format!("messages/{}", id(&by_ben)), &house.ben, None).await.0, 204);
    let (status, answer) = house.call("PATCH", &format!("messages/{}", id(&by_ben)), &house.ben, edit.clone()).await;
    assert_eq!((status, &answer["code"]), (409, &json!("message_deleted")));
    let (status, answer) = house.call("PUT", &format!("messages/{}/reactions/x", id(&by_ben)), &house.ben, None).await;
    assert_eq!((status, &answer["code"]), (409, &json!("message_deleted")));
    assert_eq!(until_pong(&mut b).await, Vec::<Value>::new());
    assert_eq!(house.seen_by(&house.ana).await["unread"], 0, "what is deleted is not unread");
    // Strangers find neither the room nor a message; members of another room do not find it there.
    let other = house.server.room(&house.eve, "Elsewhere").await;
    for (room, who) in [(&house.room, &house.eve), (&other, &house.eve)] {
        let path = format!("/api/rooms/{room}/messages/{}", id(&by_ana));
        for (method, body) in [("PATCH", edit.clone()), ("DELETE", None)] {
            let (status, answer) = house.server.ask(method, &path, Some(&who.token), body).await;
            assert_eq!((status, &answer["code"]), (404, &json!("not_found")), "{method} {path}");
        }
    }
    drop(b);
    house.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reactions_are_counted_once_each() {
    let house = house().await;
    let (mut a, mut b) = (house.server.peer(&house.ana).await, house.server.peer(&house.ben).await);
    a.join(&house.room).await;
    b.join(&house.room).await;
    let said = a.say(&house.room, "Soup?").await["payload"]["message"].clone();
    b.next_of("chat.message.created").await;
    let ask = |emoji: &str| json!({"room_id": house.room, "message_id": said["id"], "emoji": emoji});
    let answer = b.ask("chat.reaction.add", ask("👍🏽")).await;
    assert_eq!((&answer["type"], &answer["payload"]["seq"]), (&json!("chat.reaction.updated"), &json!(2)));
    assert_eq!(answer["payload"]["message"]["reactions"], json!({"👍🏽": [house.ben.id]}));
    assert_eq!(b.ask("chat.reaction.add", ask("👍🏽")).await["type"], "system.ack");
    // The same by REST, percent-encoded.
    let path = format!("messages/{}/reactions/%F0%9F%91%8D%F0%9F%8F%BD", id(&said));
    assert_eq!(house.call("PUT", &path, &house.ana, None).await.0, 204);
    assert_eq!(house.call("PUT", &path, &house.ana, None).await.0, 204);
    let heard = b.next_of("chat.reaction.updated").await;
    let both = json!({"👍🏽": [house.ben.id, house.ana.id]});
    assert_eq!((&heard["payload"]["seq"], &heard["payload"]["message"]["reactions"]), (&json!(3), &both));
    assert_eq!(house.server.log(&house.ana, &house.room).await[0]["reactions"], both);
    assert_eq!(b.ask("chat.reaction.remove", ask("🎉")).await["type"], "system.ack", "there was none");
    assert_eq!(house.call("DELETE", &path, &house.ana, None).await.0, 204);
    let answer = b.ask("chat.reaction.remove", ask("👍🏽")).await;
    assert_eq!((&answer["payload"]["seq"], &answer["payload"]["message"]["reactions"]), (&json!(5), &json!({})));
    // What is no reaction is refused by name, here and there.
    for bad in ["", "a b", "a\nb", &"x".repeat(33)] {
        let refused = b.ask("chat.reaction.add", ask(bad)).await;
        assert_eq!((code(&refused), &refused["payload"]["details"]["field"]), ("invalid_payload", &json!("emoji")));
    }
    let (status, answer) =
        house.call("PUT", &format!("messages/{}/reactions/a%20b", id(&said)), &house.ana, None).await;
    assert_eq!((status, &answer["errors"][0]["field"]), (422, &json!("emoji")), "{answer}");
    // Thirty-two different ones are enough.
    for n in 0..32 {
        assert_eq!(house.call("PUT", &format!("messages/{}/reactions/e{n}", id(&said)), &house.ana, None).await.0, 204);
    }
    let (status, answer) = house.call("PUT", &format!("messages/{}/reactions/e32", id(&said)), &house.ana, None).await;
    assert_eq!((status, &answer["code"]), (409, &json!("too_many_reactions")));
    assert_eq!(house.call("PUT", &format!("messages/{}/reactions/e0", id(&said)), &house.ben, None).await.0, 204);
    // A deleted message has none.
    assert_eq!(house.call("DELETE", &format!("messages/{}", id(&said)), &house.ana, None).await.0, 204);
    assert_eq!(house.server.log(&house.ana, &house.room).await[0]["reactions"], json!({}));
    drop((a, b));
    house.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_marker_moves_forward_only() {
    let house = house().await;
    for n in 1..=5 {
        house.posted(&house.ana, &format!("{n}: @ben")).await;
    }
    let (mut a, mut b) = (house.server.peer(&house.ana).await, house.server.peer(&house.ben).await);
    let mut phone = house.server.peer(&house.ben).await;
    a.join(&house.room).await;
    b.join(&house.room).await;
    let read = async |b: &mut Peer, seq: u64| b.ask("chat.read", json!({"room_id": house.room, "seq": seq})).await;
    let answer = read(&mut b, 3).await;
    let expected = json!({"room_id": house.room, "user_id": house.ben.id, "seq": 3});
    assert_eq!((&answer["type"], &answer["payload"]), (&json!("chat.read"), &expected));
    let heard = a.next_of("chat.read").await;
    assert_eq!((&heard["payload"], &heard["from"], &heard["to"]), (&expected, &json!(b.id), &json!(house.room)));
    let room = house.seen_by(&house.ben).await;
    assert_eq!((&room["read_seq"], &room["unread"], &room["mentions"]), (&json!(3), &json!(2), &json!(2)));
    for back in [3, 2, 0] {
        assert_eq!(read(&mut b, back).await["type"], "system.ack");
    }
    // Beyond the end is the end.
    assert_eq!(read(&mut b, 9_000).await["payload"]["seq"], 5);
    assert_eq!(read(&mut b, 9_000).await["type"], "system.ack");
    assert_eq!(a.next_of("chat.read").await["payload"]["seq"], 5);
    assert_eq!(phone.join(&house.room).await["payload"]["read_seq"], 5);
    // By REST.
    house.posted(&house.ana, "6").await;
    assert_eq!(house.call("PUT", "read", &house.ben, Some(json!({"seq": 6}))).await.0, 204);
    for peer in [&mut a, &mut phone] {
        assert_eq!(peer.next_of("chat.read").await["payload"]["seq"], 6);
    }
    for bad in [json!(-1), json!(1_u64 << 63), json!("6"), Value::Null] {
        let (status, answer) = house.call("PUT", "read", &house.ben, Some(json!({"seq": bad}))).await;
        assert_eq!((status, &answer["errors"][0]["field"]), (422, &json!("seq")), "{answer}");
    }
    assert_eq!(house.call("PUT", "read", &house.eve, Some(json!({"seq": 1}))).await.0, 404);
    // Who is elsewhere hears the answer all the same.
    let mut tablet = house.server.peer(&house.ana).await;
    assert_eq!(read(&mut tablet, 2).await["payload"]["user_id"], house.ana.id.as_str());
    drop((a, b, phone, tablet));
    house.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_is_told_to_others_and_kept_nowhere() {
    let house = house().await;
    let (mut a, mut b) = (house.server.peer(&house.ana).await, house.server.peer(&house.ben).await);
    let mut phone = house.server.peer(&house.ana).await;
    for peer in [&mut a, &mut b, &mut phone] {
        peer.join(&house.room).await;
    }
    let typing = |typing: bool| json!({"room_id": house.room, "typing": typing});
    assert_eq!(a.ask("chat.typing", typing(true)).await["type"], "system.ack");
    let heard = b.next_of("chat.typing").await;
    let expected = json!({"room_id": house.room, "user_id": house.ana.id, "typing": true});
    assert_eq!((&heard["payload"], &heard["from"], &heard["to"]), (&expected, &json!(a.id), &json!(house.room)));
    assert_eq!(until_pong(&mut phone).await, Vec::<Value>::new(), "one's own devices need no telling");
    // A member who has not joined may; a stranger finds no room.
    let (mut elsewhere, mut e) = (house.server.peer(&house.ana).await, house.server.peer(&house.eve).await);
    assert_eq!(elsewhere.ask("chat.typing", typing(false)).await["type"], "system.ack");
    assert_eq!(b.next_of("chat.typing").await["payload"]["typing"], false);
    assert_eq!(code(&e.ask("chat.typing", typing(true)).await), "not_found");
    let open = public_room(&house.server, &house.ana, "Open").await;
    assert_eq!(code(&e.ask("chat.typing", json!({"room_id": open, "typing": true})).await), "forbidden");
    // Without an id nothing is answered.
    a.send(json!({"type": "chat.typing", "payload": typing(true)})).await;
    assert!(until_pong(&mut a).await.iter().all(|event| event["type"] == "room.added"));
    assert_eq!(house.seen_by(&house.ben).await["last_seq"], 0);
    drop((a, b, phone, elsewhere, e));
    house.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_comes_both_ways_in_pages_that_fit() {
    let (server, ana, ben, room) = two_in_a_room_with(&[("MESH_MAX_MESSAGE_CHARS", "16000")]).await;
    for n in 1..=9 {
        server.post(&messages(&room), &ana, json!({"content": format!("m{n}")})).await;
    }
    let mut b = server.peer(&ben).await;
    let log = server.log(&ben, &room).await;
    let mut page = async |ask: Value| {
        let mut payload = ask;
        payload["room_id"] = json!(room);
        let answer = b.ask("chat.history", payload).await;
        assert_eq!(
            (&answer["type"], &answer["payload"]["room_id"]),
            (&json!("chat.history"), &json!(room)),
            "{answer}"
        );
        (answer["payload"]["messages"].as_array().unwrap().clone(), answer["payload"]["more"].as_bool().unwrap())
    };
    assert_eq!(page(json!({})).await, (log.clone(), false));
    assert_eq!(page(json!({"limit": 4})).await, (log[5..].to_vec(), true));
    assert_eq!(page(json!({"before_seq": 4, "limit": 3})).await, (log[..3].to_vec(), false));
    assert_eq!(page(json!({"before_seq": 4, "limit": 2})).await, (log[1..3].to_vec(), true));
    assert_eq!(page(json!({"after_seq": 0, "limit": 2})).await, (log[..2].to_vec(), true));
    assert_eq!(page(json!({"after_seq": 7, "limit": 2})).await, (log[7..].to_vec(), false));
    assert_eq!(page(json!({"after_seq": 2, "before_seq": 5})).await, (log[2..4].to_vec(), false));
    assert_eq!(page(json!({"after_seq": 2, "before_seq": 9, "limit": 3})).await, (log[2..5].to_vec(), true));
    assert_eq!(page(json!({"after_seq": 99})).await, (vec![], false));
    // Much text: the page is cut before it is more than a connection holds, next to where was asked.
    for _ in 0..40 {
        let (status, _) = server.post(&messages(&room), &ana, json!({"content": "é".repeat(16_000)})).await;
        assert_eq!(status, 201);
    }
    let (newest, more) = page(json!({"limit": 200})).await;
    assert!(more && (2..20).contains(&newest.len()), "{}", newest.len());
    assert_eq!(newest.last().unwrap()["seq"], 49);
    let (oldest, more) = page(json!({"after_seq": 9, "limit": 200})).await;
    assert!(more && oldest.len() == newest.len());
    assert_eq!(oldest[0]["seq"], 10);
    for bad in [0, 201] {
        let refused = b.ask("chat.history", json!({"room_id": room, "limit": bad})).await;
        assert_eq!((code(&refused), &refused["payload"]["details"]["field"]), ("invalid_payload", &json!("limit")));
    }
    let eve = server.register("eve").await;
    let mut e = server.peer(&eve).await;
    assert_eq!(code(&e.ask("chat.history", json!({"room_id": room})).await), "not_found");
    drop((b, e));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resume_shows_what_became_of_messages() {
    let house = house().await;
    let mut log = Vec::new();
    for n in 1..=4 {
        log.push(house.posted(&house.ana, &format!("m{n}")).await);
    }
    let path = |n: usize| format!("messages/{}", id(&log[n]));
    house.call("PATCH", &path(1), &house.ana, Some(json!({"content": "m2 again"}))).await; // 5
    house.call("PUT", &format!("{}/reactions/x", path(0)), &house.ben, None).await; // 6
    house.call("DELETE", &path(2), &house.ana, None).await; // 7
    house.call("PATCH", &path(1), &house.ana, Some(json!({"content": "m2 at last"}))).await; // 8
    house.posted(&house.ben, "m9").await; // 9
    let now = house.server.log(&house.ben, &house.room).await;
    let expected = [
        (1, "chat.message.created", 0),
        (2, "chat.message.created", 1),
        (3, "chat.message.created", 2),
        (4, "chat.message.created", 3),
        (5, "chat.message.edited", 1),
        (6, "chat.reaction.updated", 0),
        (7, "chat.message.deleted", 2),
        (8, "chat.message.edited", 1),
        (9, "chat.message.created", 4),
    ];
    for since in 0..=9_usize {
        let mut b = house.server.peer(&house.ben).await;
        let joined = b.ask("room.join", json!({"room_id": house.room, "since_seq": since})).await;
        assert_eq!((&joined["payload"]["gap"], &joined["payload"]["last_seq"]), (&json!(false), &json!(9)));
        let events = until_pong(&mut b).await;
        let told: Vec<_> = events
            .iter()
            .map(|e| {
                (e["payload"]["seq"].as_u64().unwrap(), e["type"].as_str().unwrap(), e["payload"]["message"].clone())
            })
            .collect();
        let expected: Vec<_> =
            expected[since..].iter().map(|&(seq, kind, message)| (seq, kind, now[message].clone())).collect();
        assert_eq!(told, expected, "since {since}: each once, in order, as it is now");
    }
    house.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_limit_history_tells_what_became_of_messages() {
    let (server, ana, ben, room) = two_in_a_room_with(&[("MESH_EVENTS_PER_SECOND", "1000")]).await;
    let mut a = server.peer(&ana).await;
    let said = a.say(&room, "first").await["payload"]["message"]["id"].clone();
    // One message, and a thousand changes of it.
    for n in 0..1_000_u64 {
        let id = format!("c{n}");
        let ask = json!({"room_id": room, "message_id": said, "content": format!("version {n}")});
        a.send(json!({"type": "chat.message.edit", "id": id, "payload": ask})).await;
        if n % 100 == 99 {
            while a.next().await["reply_to"] != id.as_str() {}
        }
    }
    let mut b = server.peer(&ben).await;
    for (since, gap) in [(0, true), (1, false), (500, false), (1_001, false), (1_002, true)] {
        let joined = b.ask("room.join", json!({"room_id": room, "since_seq": since})).await;
        assert_eq!(
            (&joined["payload"]["gap"], &joined["payload"]["last_seq"]),
            (&json!(gap), &json!(1_001)),
            "{since}"
        );
        let events = until_pong(&mut b).await;
        assert_eq!(events.len(), if gap { 0 } else { 1_001 - since });
        assert!(events.iter().all(|event| event["payload"]["message"]["content"] == "version 999"));
    }
    assert_eq!(server.log(&ben, &room).await.len(), 1);
    drop((a, b));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn content_is_normalised_and_counted_in_characters() {
    let house = house().await;
    // Decomposed letters, foreign line ends.
    let posted = house.posted(&house.ana, "cafe\u{301}\r\nau lait\rou the\u{301}").await;
    assert_eq!(posted["content"], "café\nau lait\nou thé");
    let path = format!("messages/{}", id(&posted));
    // 4,000 characters are allowed, whatever their bytes; one more is not.
    let (status, edited) = house.call("PATCH", &path, &house.ana, Some(json!({"content": "🥣".repeat(4_000)}))).await;
    assert_eq!((status, edited["content"].as_str().unwrap().chars().count()), (200, 4_000));
    for (bad, why) in [("é".repeat(4_001), "too_long"), (String::new(), "too_short"), ("a\u{7}b".to_owned(), "invalid")]
    {
        let (status, answer) = house.call("PATCH", &path, &house.ana, Some(json!({"content": bad}))).await;
        let error = &answer["errors"][0];
        assert_eq!((status, &error["field"], &error["code"]), (422, &json!("content"), &json!(why)));
        let (status, answer) = house.server.post(&messages(&house.room), &house.ana, json!({"content": bad})).await;
        assert_eq!((status, &answer["errors"][0]["code"]), (422, &json!(why)));
    }
    house.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mentions_are_members_by_id() {
    let house = house().await;
    let posted = house.posted(&house.ana, "@BEN, @ben and @ana: not @eve, mail ben@ben.example").await;
    assert_eq!(posted["mentions"], json!([house.ben.id, house.ana.id]));
    assert_eq!(house.server.log(&house.ben, &house.room).await[0]["mentions"], posted["mentions"]);
    assert_eq!(house.seen_by(&house.ben).await["mentions"], 1);
    assert_eq!(house.seen_by(&house.ana).await["mentions"], 0, "nobody is called by oneself");
    assert_eq!(house.call("DELETE", &format!("messages/{}", id(&posted)), &house.ana, None).await.0, 204);
    assert_eq!(house.seen_by(&house.ben).await["mentions"], 0);
    house.server.stop().await;
}
