//! Nothing acknowledged is lost: the real binary is killed under load, again and again, on one database.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

use super::Rest;
use crate::kit::{Account, Binary, Database, Peer, soon};

const PEOPLE: usize = 6;
const ROOMS: usize = 3;
const WINDOW: usize = 32;
const KILLS: usize = 4;

/// What somebody was told: room, number, content.
type Told = (String, u64, String);

/// Somebody who talks in two rooms, and remembers across the server's deaths.
struct Talker {
    account: Account,
    rooms: Vec<String>,
    sent: u64,
    /// Sent and not acknowledged: client id, room. The content is the client id.
    open: VecDeque<(String, String)>,
    /// Everything heard and acknowledged, which must be there for ever.
    told: Vec<Told>,
    /// The newest change seen in each room, none missing before it.
    seen: BTreeMap<String, u64>,
}

/// Counts acknowledgements, so that the killer knows when there is something to lose.
struct Count(watch::Sender<usize>);

impl Talker {
    fn event(client_id: &str, room: &str) -> Value {
        json!({"type": "chat.message.send", "id": client_id,
            "payload": {"room_id": room, "content": client_id, "client_id": client_id}})
    }

    /// Connects and joins, resuming where it was; for each room what was known at the join. None where the server is
    /// gone already.
    async fn connect(&mut self, base: &str) -> Option<(Peer, HashMap<String, u64>)> {
        let url = format!("{}/ws?token={}", base.replacen("http", "ws", 1), self.account.token);
        let mut peer = Peer::connect_to(&url).await.ok()?;
        ask(&mut peer, "system.hello", json!({"peer_type": "client", "version": "test"})).await?;
        let mut known = HashMap::new();
        for room in self.rooms.clone() {
            let since = self.seen.get(&room).copied();
            let joined = ask(&mut peer, "room.join", json!({"room_id": room, "since_seq": since})).await?;
            assert_eq!(joined["type"], "room.joined", "{joined}");
            let last = joined["payload"]["last_seq"].as_u64().unwrap();
            assert!(since.unwrap_or(0) <= last, "{since:?} was seen, and is gone");
            if since.is_none() || joined["payload"]["gap"] == true {
                self.seen.insert(room.clone(), last);
            }
            known.insert(room, last);
        }
        Some((peer, known))
    }

    /// Talks until the server dies, or with `until` until so many more are acknowledged and none is open.
    async fn talk(mut self, base: String, count: Arc<Count>, until: Option<usize>) -> Self {
        let Some((mut peer, known)) = self.connect(&base).await else {
            assert!(until.is_none(), "the server is gone");
            return self;
        };
        let resent: HashSet<String> = self.open.iter().map(|(id, _)| id.clone()).collect();
        let again: Vec<_> = self.open.iter().map(|(id, room)| Self::event(id, room)).collect();
        let mut alive = true;
        for event in again {
            alive &= peer_send(&mut peer, event).await;
        }
        let mut left = until.unwrap_or(usize::MAX);
        while alive {
            while alive && left > 0 && self.open.len() < WINDOW {
                let room = self.rooms[(self.sent % 2) as usize].clone();
                self.sent += 1;
                left -= 1;
                let client_id = format!("{}-{}", self.account.name, self.sent);
                alive = peer_send(&mut peer, Self::event(&client_id, &room)).await;
                self.open.push_back((client_id, room));
            }
            if self.open.is_empty() {
                break;
            }
            let Some(event) = hear(&mut peer).await else { break };
            assert_ne!(event["type"], "system.error", "{event}");
            if event["type"] == "chat.message.created" {
                self.take(&event, &known, &resent, &count);
            }
        }
        self
    }

    fn take(&mut self, event: &Value, known: &HashMap<String, u64>, resent: &HashSet<String>, count: &Count) {
        let payload = &event["payload"];
        let room = payload["room_id"].as_str().unwrap().to_owned();
        let seq = payload["seq"].as_u64().unwrap();
        let content = payload["message"]["content"].as_str().unwrap().to_owned();
        assert_eq!(payload["message"]["seq"], seq);
        let mut repeated = false;
        if let Some(id) = event["reply_to"].as_str() {
            assert_eq!(id, content);
            let at = self.open.iter().position(|(open, _)| open == id).expect("one answer to one event");
            assert_eq!(self.open.remove(at).unwrap().1, room);
            // It had been committed before the server died: an answer out of the room's order, to this one alone.
            repeated = resent.contains(id) && seq <= known[&room];
            count.0.send_modify(|n| *n += 1);
        }
        if !repeated {
            let seen = self.seen.get_mut(&room).unwrap();
            assert_eq!(seq, *seen + 1, "a hole or a repeat in what {} hears", self.account.name);
            *seen = seq;
        }
        self.told.push((room, seq, content));
    }
}

/// False where the server is gone.
async fn peer_send(peer: &mut Peer, event: Value) -> bool {
    use futures_util::SinkExt as _;
    soon("a send", peer.socket.send(Message::text(event.to_string()))).await.is_ok()
}

/// Sends an event and gives its answer; others wait. None where the server is gone.
async fn ask(peer: &mut Peer, kind: &str, payload: Value) -> Option<Value> {
    let mut waiting = std::mem::take(&mut peer.waiting);
    if !peer_send(peer, json!({"type": kind, "id": kind, "payload": payload})).await {
        return None;
    }
    loop {
        let event = hear(peer).await?;
        if event["reply_to"] == kind {
            peer.waiting = waiting;
            return Some(event);
        }
        waiting.push_back(event);
    }
}

/// None where the server is gone.
async fn hear(peer: &mut Peer) -> Option<Value> {
    if let Some(event) = peer.waiting.pop_front() {
        return Some(event);
    }
    loop {
        match soon("an event", peer.socket.next()).await {
            Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(other)) => panic!("a killed server says {other:?}"),
            Some(Err(_)) | None => return None,
        }
    }
}

/// Everything that anybody was told is there, under its number; each log is whole; no client id is there twice.
async fn check(server: &Binary, talkers: &[Talker], rooms: &[String]) {
    let rest = Rest::of(server);
    let mut logs = HashMap::new();
    for room in rooms {
        let log = rest.messages(&talkers[0].account, room).await;
        let mut ids = HashSet::new();
        for (index, message) in log.iter().enumerate() {
            assert_eq!(message["seq"], index as u64 + 1, "the log of a room has a hole or a repeat");
            assert!(ids.insert(message["client_id"].clone()), "{message} is there twice");
        }
        let (_, shown) = rest.ask("GET", &format!("/api/rooms/{room}"), Some(&talkers[0].account.token), None).await;
        assert_eq!(shown["last_seq"], log.len());
        logs.insert(room.clone(), log);
    }
    for (room, seq, content) in talkers.iter().flat_map(|talker| &talker.told) {
        let stored = logs[room].get(*seq as usize - 1).map(|message| &message["content"]);
        assert_eq!(stored, Some(&json!(content)), "{seq} was acknowledged in {room}");
    }
}

/// Starts everybody; they end when the server does, or when they have said enough.
async fn talk(talkers: Vec<Talker>, server: Binary, kill_after: Option<usize>) -> (Vec<Talker>, Option<Binary>) {
    let (counter, mut counted) = watch::channel(0);
    let count = Arc::new(Count(counter));
    let until = if kill_after.is_some() { None } else { Some(100) };
    let talking: Vec<_> =
        talkers.into_iter().map(|t| tokio::spawn(t.talk(server.base.clone(), count.clone(), until))).collect();
    let mut server = Some(server);
    if let Some(after) = kill_after {
        soon("acknowledgements", counted.wait_for(|n| *n >= after)).await.unwrap();
        server.take().unwrap().kill();
    }
    let mut talkers = Vec::new();
    for talker in talking {
        talkers.push(soon("a talker", talker).await.unwrap());
    }
    (talkers, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    let database = Database::new();
    let mut server = Binary::start(&database, &[]);
    let rest = Rest::of(&server);
    let mut talkers = Vec::new();
    let mut rooms = Vec::new();
    for n in 0..PEOPLE {
        let account = rest.register(&format!("person{n}")).await;
        if n < ROOMS {
            rooms.push(rest.room(&account, &format!("room {n}")).await);
        }
        let (open, told, seen) = Default::default();
        talkers.push(Talker { account, rooms: Vec::new(), sent: 0, open, told, seen });
    }
    for (n, talker) in talkers.iter_mut().enumerate() {
        talker.rooms = vec![rooms[n % ROOMS].clone(), rooms[(n + 1) % ROOMS].clone()];
    }
    // Whoever checks must be a member of all.
    for room in &rooms {
        let mut peer = Peer::connect(&server.base, &talkers[0].account.token).await;
        peer.hello().await;
        peer.join(room).await;
    }
    // Another moment each time; a failure says which.
    let random = uuid::Uuid::new_v4().as_u128();
    for kill in 0..KILLS {
        let after = 150 + (random >> (16 * kill)) as usize % 700;
        let before: usize = talkers.iter().map(|talker| talker.told.len()).sum();
        (talkers, _) = talk(talkers, server, Some(after)).await;
        let now: usize = talkers.iter().map(|talker| talker.told.len()).sum();
        assert!(now >= before + after, "the kill after {after} came before there was anything to lose");
        eprintln!("kill {kill} after {after} acknowledgements: {now} told so far");
        server = Binary::start(&database, &[]);
        check(&server, &talkers, &rooms).await;
    }
    assert!(talkers.iter().any(|talker| !talker.open.is_empty()), "no kill left anything open");
    let (mut talkers, server) = talk(talkers, server, None).await;
    let server = server.unwrap();
    check(&server, &talkers, &rooms).await;
    // What was open when the server died was sent again, and is there once.
    let total: u64 = talkers.iter().map(|talker| talker.sent).sum();
    let mut stored = 0;
    for room in &rooms {
        stored += Rest::of(&server).messages(&talkers[0].account, room).await.len() as u64;
    }
    assert_eq!(stored, total);
    talkers.clear();
    let (status, log) = server.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}
