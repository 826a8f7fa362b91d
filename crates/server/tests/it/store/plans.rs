//! How the databases answer what is asked most: by an index, whatever a room and the server have grown to. The rows are
//! those of `mesh-server bench seed`.

use std::{collections::BTreeMap, iter};

use mesh_protocol::{MessageId, RoomId, UserId};
use mesh_server::{
    error::Result,
    store::{self, Tx, db::Param, rooms::After},
};
use serde_json::json;

use super::{open, postgres};
use crate::kit::{Account, Binary, Database, Server, output};

const ROOMS: usize = 40;
const MESSAGES: u64 = 200;
/// With the reactions, one after each 50.
const LAST_SEQ: u64 = 204;

/// Fills a database; the password of all its accounts.
fn seed(database: &Database) -> String {
    let run = || {
        let mut command = Binary::command(database.dir.path());
        command.args(["bench", "seed", "--rooms", "40", "--messages", "8000", "--users", "60", "--members", "8"]);
        command.env("DATABASE_URL", &database.url).env("MESH_BCRYPT_COST", "4");
        tokio::task::block_in_place(|| output(command))
    };
    let (status, said, complained) = run();
    assert_eq!(status, Some(0), "{complained}");
    assert!(said.starts_with("60 accounts (seed-1 … seed-60, password "), "{said}");
    let password = said.split_once("password ").unwrap().1.split_once(')').unwrap().0.to_owned();
    // Never again, and never among people.
    let (status, _, complained) = run();
    assert!(status == Some(1) && complained.contains("the database has accounts"), "{complained}");
    password
}

/// A statement's parameter.
enum Given {
    Text(String),
    Number(i64),
}

fn text(value: impl ToString) -> Given {
    Given::Text(value.to_string())
}

/// A question that is asked often.
struct Hot {
    /// As [`store::all_statements`] calls it, from its page's name on.
    name: &'static str,
    params: Vec<Given>,
    /// What SQLite's plan must say of the index.
    by: &'static str,
    /// Whether a sort is allowed, which is then of a bounded few.
    sorts: bool,
}

fn hot(name: &'static str, params: Vec<Given>, by: &'static str) -> Hot {
    Hot { name, params, by, sorts: false }
}

fn sorted(name: &'static str, params: Vec<Given>, by: &'static str) -> Hot {
    Hot { name, params, by, sorts: true }
}

/// What is asked, of both databases and of the one of `tx`.
fn questions(tx: &Tx<'_>, room: RoomId, user: UserId, message: MessageId) -> Vec<Hot> {
    use Given::Number as N;
    let (r, u, m) = (|| text(room), || text(user), || text(message));
    let most = || N(i64::MAX);
    let mut all = vec![
        // History, both ways; replays; what an event shows.
        hot("messages::BEFORE", vec![r(), most(), N(51)], "(room_id=? AND seq<?)"),
        hot("messages::AFTER", vec![r(), N(10), N(51)], "(room_id=? AND seq>?)"),
        hot("messages::BY_ID", vec![m(), r()], "(id=?)"),
        hot("messages::BY_SEQ", vec![r(), N(7)], "(room_id=? AND seq=?)"),
        hot("messages::BY_CLIENT_ID", vec![r(), u(), text("x")], "messages_client_id"),
        hot("messages::IN_ROOM", vec![m(), r()], "(id=?)"),
        hot("messages::NAMED", vec![r(), text("seed-2")], "(room_id=? AND name_key=?)"),
        // Within a page, and each message has at most a thousand.
        sorted("messages::REACTIONS", vec![r(), N(1), N(200)], "(room_id=? AND message_seq>? AND message_seq<?)"),
        hot("changes::AFTER", vec![r(), N(10), N(100)], "(room_id=? AND seq>?)"),
        // Of one person's rooms the newest are found; what is counted is bounded, and for those alone.
        hot("rooms::FEW_OF_USER", vec![u(), N(51)], "room_members_user (user_id=?)"),
        hot("rooms::FEW_OF_USER", vec![u(), N(51)], "(room_id=? AND seq>?)"),
        sorted("rooms::OF_USER", vec![u(), most(), text(""), N(51)], "room_members_user (user_id=?)"),
        sorted("rooms::OF_USER", vec![u(), most(), text(""), N(51)], "(room_id=? AND seq>?)"),
        sorted("rooms::OF_USER", vec![u(), most(), text(""), N(51)], "(room_id=? AND user_id=? AND seq>?)"),
        hot("rooms::PUBLIC", vec![u(), most(), text(""), N(51)], "rooms_public ((activity_at,id)<(?,?))"),
        hot("rooms::FOR_USER", vec![u(), r()], "(id=?)"),
        hot("rooms::NEXT_SEQ", vec![N(1), r()], "(id=?)"),
        // Who may, and who is there.
        hot("members::ROLE", vec![r(), u()], "(room_id=? AND user_id=?)"),
        hot("members::STANDING", vec![u(), r()], "(room_id=? AND user_id=?)"),
        hot("members::ONE", vec![r(), u()], "(room_id=? AND user_id=?)"),
        hot(
            "members::SOME",
            iter::once(r()).chain(iter::repeat_with(u).take(40)).collect(),
            "(user_id=? AND room_id=?)",
        ),
        hot("members::BY_NAME", vec![r(), text("a"), N(51)], "(room_id=? AND name_key>?)"),
        hot("members::ROOMS_OF", vec![u()], "(user_id=?)"),
        hot("members::READ", vec![N(9), r(), u()], "(room_id=? AND user_id=?)"),
        hot("bans::LIST", vec![r(), most(), text(""), N(51)], "(room_id=? AND (created_at,user_id)<(?,?))"),
        sorted("room_invites::LIST", vec![r(), most(), text(""), N(51)], "(room_id=? AND created_at<?)"),
        // What goes on beside.
        hot("purge::WALK", vec![text(""), N(200)], "(id>?)"),
        hot("purge::OLDEST", vec![r(), N(500)], "(room_id=?)"),
        sorted("purge::CHANGES", vec![r(), N(60), N(500)], "(room_id=? AND message_seq<?)"),
        hot("purge::FORGET_MESSAGES", vec![r(), N(60)], "(room_id=? AND seq<?)"),
        hot("farewell::REACTIONS", vec![u(), N(100)], "(user_id=?)"),
    ];
    if store::all_statements(tx).any(|(name, _)| name.ends_with("search::postgres::FIND")) {
        let words = format!("'{}hello'", &room.to_string().replace('-', "")[20..]);
        all.push(sorted("search::postgres::FIND", vec![r(), most(), text(words), N(51)], ""));
    } else {
        let words = format!("\"{}hello\" *", &room.to_string().replace('-', "")[20..]);
        all.push(hot("search::sqlite::FIND", vec![text(words), N(4_000), r(), N(51)], "VIRTUAL TABLE INDEX"));
        all.push(hot("search::sqlite::BEFORE", vec![r(), most()], "(room_id=? AND seq<?)"));
        all.push(hot("search::sqlite::NEXT", vec![N(500)], "(rowid>?)"));
        all.push(hot("search::sqlite::BEHIND", vec![], "SEARCH m"));
    }
    all
}

/// The database's plan, a line for each step.
fn plan(tx: &mut Tx<'_>, explain: &str, hot: &Hot) -> Result<Vec<String>> {
    let find = |(name, sql): (&'static str, &'static str)| name.ends_with(&format!("::{}", hot.name)).then_some(sql);
    let sql = store::all_statements(tx).find_map(find).unwrap_or_else(|| panic!("there is no {}", hot.name));
    let params: Vec<Param<'_>> = hot
        .params
        .iter()
        .map(|param| match param {
            Given::Text(text) => Param::from(text),
            Given::Number(number) => Param::from(*number),
        })
        .collect();
    let rows = tx.rows(format!("{explain} {sql}").leak(), &params)?;
    // SQLite gives numbers before the words.
    rows.iter().map(|row| row.text(3).or_else(|_| row.text(0)).map(str::to_owned)).collect()
}

/// One of the rooms, somebody in it who is in few, and something said there.
fn somewhere(tx: &mut Tx<'_>) -> Result<(RoomId, UserId, MessageId)> {
    let user = store::users::by_name(tx, "seed-2")?.unwrap().user.id;
    let (room, _) = store::rooms::list(tx, user, false, &After::default(), 1)?.remove(0);
    let message = store::messages::before(tx, room.id, u64::MAX, 1)?.remove(0);
    assert_eq!(room.last_seq, LAST_SEQ);
    Ok((room.id, user, message.id))
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_what_is_asked_often_is_served_by_an_index() {
    let database = Database::sqlite();
    seed(&database);
    let db = open(&database, std::sync::Arc::new(|_| {})).await;
    let plans = db.read(|tx| {
        let (room, user, message) = somewhere(tx)?;
        let asked = questions(tx, room, user, message);
        asked.into_iter().map(|hot| Ok((plan(tx, "EXPLAIN QUERY PLAN", &hot)?, hot))).collect::<Result<Vec<_>>>()
    });
    for (plan, hot) in plans.await.unwrap() {
        assert!(plan.iter().any(|line| line.contains(hot.by)), "{} not by {}: {plan:#?}", hot.name, hot.by);
        for line in &plan {
            // What is read from beginning to end is what a subquery has found, or has one row.
            let few = ["listed", "newest", "counted", "f VIRTUAL TABLE", "search_index"];
            let few = few.iter().any(|few| line.starts_with(&format!("SCAN {few}")));
            let sorts = line.starts_with("USE TEMP B-TREE");
            assert!(!line.starts_with("SCAN") || few, "{}: {plan:#?}", hot.name);
            assert!(!sorts || hot.sorts, "{}: {plan:#?}", hot.name);
            assert!(!line.contains("AUTOMATIC"), "{}: {plan:#?}", hot.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_what_is_asked_often_is_served_by_an_index() {
    let Some(database) = postgres("plans of what is asked often") else { return };
    seed(&database);
    let db = open(&database, std::sync::Arc::new(|_| {})).await;
    let plans = db.write(0, |tx| {
        let (room, user, message) = somewhere(tx)?;
        // So few rows are read from end to end whatever there is beside; where that is the last resort, it shows.
        for setting in ["seqscan", "sort", "incremental_sort", "hashjoin", "mergejoin"] {
            tx.exec(format!("SET LOCAL enable_{setting} = off").leak(), &[])?;
        }
        let asked = questions(tx, room, user, message);
        asked.into_iter().map(|hot| Ok((plan(tx, "EXPLAIN", &hot)?, hot))).collect::<Result<Vec<_>>>()
    });
    for (plan, hot) in plans.await.unwrap() {
        assert!(plan.iter().any(|line| line.contains("Index")), "{}: {plan:#?}", hot.name);
        for line in &plan {
            assert!(!line.contains("Seq Scan"), "{}: {plan:#?}", hot.name);
            assert!(!line.contains("Sort  (") || hot.sorts, "{}: {plan:#?}", hot.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seeded_database_serves_like_any_other() {
    let database = Database::new();
    let password = seed(&database);
    let server = Server::start_on(database, &[]).await;
    let login = async |name: &str| {
        let body = json!({"username": name, "password": password});
        let (status, answer) = server.ask("POST", "/api/auth/login", None, Some(body)).await;
        assert_eq!(status, 200, "{answer}");
        let id = answer["user"]["id"].as_str().unwrap().to_owned();
        Account { id, name: name.to_owned(), token: answer["access_token"].as_str().unwrap().to_owned() }
    };
    let (admin, other) = (login("seed-1").await, login("seed-2").await);
    let (_, rooms) = server.get("/api/rooms?limit=200", &admin).await;
    let rooms = rooms.as_array().unwrap();
    assert_eq!(rooms.len(), ROOMS);
    let activity: Vec<_> = rooms.iter().map(|room| room["name"].as_str().unwrap()).collect();
    assert_eq!((activity[0], activity[ROOMS - 1]), ("Seeded room 40", "Seeded room 1"), "newest activity first");
    for room in rooms {
        assert_eq!((&room["last_seq"], &room["read_seq"]), (&json!(LAST_SEQ), &json!(LAST_SEQ / 2)), "{room}");
        let id = room["id"].as_str().unwrap();
        let log = server.log(&admin, id).await;
        assert_eq!(log.len() as u64, MESSAGES);
        // The numbers that no message has are those of the reactions.
        let mut seqs: BTreeMap<u64, usize> = BTreeMap::new();
        for message in &log {
            let reactions = message["reactions"].as_object().unwrap().len();
            seqs.insert(message["seq"].as_u64().unwrap(), reactions);
        }
        let reacted: Vec<_> = seqs.iter().filter(|(_, count)| **count > 0).map(|(seq, _)| seq + 1).collect();
        assert_eq!(reacted, [51, 102, 153, 204]);
        assert!((1..=LAST_SEQ).all(|seq| seqs.contains_key(&seq) != reacted.contains(&seq)));
        let unread = log.iter().filter(|m| m["seq"].as_u64() > Some(LAST_SEQ / 2) && m["user_id"] != admin.id.as_str());
        assert_eq!(room["unread"], unread.count(), "{room}");
    }
    let first = rooms[0]["id"].as_str().unwrap();
    let (_, found) = server.get(&format!("/api/rooms/{first}/messages/search?q=prive%CC%81t+hello"), &admin).await;
    assert_eq!(found, json!([]));
    let (_, found) = server.get(&format!("/api/rooms/{first}/messages/search?q=%C3%A9te+hell"), &admin).await;
    let found = found.as_array().unwrap();
    assert!(found.iter().all(|m| m["content"].as_str().unwrap().contains("été")) && !found.is_empty(), "{found:?}");
    // A resume finds the whole log.
    let mut peer = server.peer(&admin).await;
    let joined = peer.ask("room.join", json!({"room_id": first, "since_seq": 0})).await;
    assert_eq!((&joined["payload"]["gap"], &joined["payload"]["role"]), (&json!(false), &json!("owner")));
    for seq in 1..=LAST_SEQ {
        assert_eq!(peer.next().await["payload"]["seq"], seq);
    }
    let (_, rooms) = server.get("/api/rooms", &other).await;
    assert!((1..ROOMS).contains(&rooms.as_array().unwrap().len()));
    server.stop().await;
}
