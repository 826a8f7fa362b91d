//! The store's contract, the same on both databases: through its public functions, and nothing else.

mod jobs;
mod lists;
mod log;
mod model;
mod nul;
mod plans;
mod schema;
mod tls;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use mesh_protocol::{
    MessageId, RoomId, Timestamp, UserId,
    model::{MemberRole, Message, Room, User, UserRole, Visibility},
};
use mesh_server::{
    config::DatabaseUrl,
    domain::happening::{Change, Happening},
    error::Result,
    store::{
        self, Db, Tx,
        db::Sink,
        messages::{Appended, NewMessage},
        migrate,
    },
};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::kit::{Database, postgres_url, skipped};

/// Where PostgreSQL is to order texts as a language does: what must go by bytes is then seen to.
const LOCALE: &str = "LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C.UTF-8'";

/// A database in PostgreSQL, where there is one.
fn postgres(what: &str) -> Option<Database> {
    let server = postgres_url();
    if server.is_none() {
        skipped(&format!("{what} on PostgreSQL"), "MESH_TEST_POSTGRES_URL");
    }
    server.map(|server| Database::postgres_with(&server, LOCALE))
}

/// Makes each function a test on either database.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let database = crate::kit::Database::sqlite();
                super::$name(crate::store::Store::new(database).await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                if let Some(database) = crate::store::postgres(stringify!($name)) {
                    super::$name(crate::store::Store::new(database).await).await;
                }
            })+
        }
    };
}
use on_both;

type Told = Arc<Mutex<Vec<Happening>>>;

/// An open store, and what it told the world.
struct Store {
    db: Db,
    told: Told,
    ids: AtomicU64,
    database: Arc<Database>,
}

/// The store's url as the settings would read it.
fn url(database: &Database) -> DatabaseUrl {
    match database.sqlite_file() {
        Some(file) => DatabaseUrl::SqliteFile(file),
        None => DatabaseUrl::Postgres(database.url.clone()),
    }
}

async fn open(database: &Database, sink: Sink) -> Db {
    let url = url(database);
    // The synchronous client must not run on a runtime's thread.
    tokio::task::spawn_blocking(move || Db::open(&url, sink)).await.unwrap().unwrap()
}

impl Store {
    async fn new(database: Database) -> Self {
        let store = Self::empty(database).await;
        store.db.write(0, |tx| migrate::up(tx, 0)).await.unwrap();
        store
    }

    /// Without any tables.
    async fn empty(database: Database) -> Self {
        let told = Told::default();
        let ears = told.clone();
        let db = open(&database, Arc::new(move |happenings| ears.lock().unwrap().extend(happenings))).await;
        Self { db, told, ids: AtomicU64::new(1), database: Arc::new(database) }
    }

    /// A second server on the same database.
    async fn another(&self) -> Self {
        let told = Told::default();
        let ears = told.clone();
        let db = open(&self.database, Arc::new(move |happenings| ears.lock().unwrap().extend(happenings))).await;
        Self { db, told, ids: AtomicU64::new(1 << 40), database: self.database.clone() }
    }

    fn id(&self) -> Uuid {
        // Spread over the whole range, so that the order of ids is not that of their making.
        let n = self.ids.fetch_add(1, Ordering::Relaxed);
        Uuid::from_u64_pair(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), n)
    }

    async fn person(&self, name: &str) -> UserId {
        let user = person(UserId::new(self.id()), name);
        let id = user.id;
        assert!(self.db.write(0, move |tx| store::users::insert(tx, &user, "hash")).await.unwrap());
        id
    }

    async fn room(&self, owner: UserId, visibility: Visibility, now: i64) -> RoomId {
        let room = room(RoomId::new(self.id()), owner, visibility, now);
        let id = room.id;
        self.db.write(key(id), move |tx| create(tx, &room)).await.unwrap();
        id
    }

    async fn join(&self, room: RoomId, user: UserId) -> bool {
        let job = move |tx: &mut Tx<'_>| store::members::insert(tx, room, user, MemberRole::Member, 0);
        self.db.write(key(room), job).await.unwrap()
    }

    fn line(&self, room: RoomId, user: UserId, content: &str) -> Line {
        let id = MessageId::new(self.id());
        Line { id, room, user, content: content.to_owned(), client_id: None, now: 1 }
    }

    async fn say(&self, line: Line) -> Result<(u64, bool)> {
        self.db.write(key(line.room), move |tx| line.append(tx)).await
    }

    /// Gives a job to the store without waiting.
    fn submit<T: Send + 'static>(
        &self,
        room: RoomId,
        job: impl Fn(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> oneshot::Receiver<Result<T>> {
        let (tell, told) = oneshot::channel();
        self.db.submit(key(room), job, move |outcome| drop(tell.send(outcome)));
        told
    }

    /// The room's log: number and content.
    async fn log(&self, room: RoomId) -> Vec<(u64, String)> {
        let messages = self.db.read(move |tx| store::messages::after(tx, room, 0, usize::MAX)).await.unwrap();
        messages.into_iter().map(|m| (m.seq, m.content)).collect()
    }

    /// What was told of the room, in the order in which it was told.
    fn told(&self, room: RoomId) -> Vec<(u64, String)> {
        let told = self.told.lock().unwrap();
        let changes = told.iter().filter_map(|happening| match happening {
            Happening::Change { room: r, seq, change: Change::Created(message), .. } if *r == room => {
                Some((*seq, message.content.clone()))
            }
            _ => None,
        });
        changes.collect()
    }

    async fn seen_by(&self, room: RoomId, user: UserId) -> Room {
        self.db.read(move |tx| store::rooms::for_user(tx, room, user)).await.unwrap().unwrap()
    }
}

fn key(room: RoomId) -> u128 {
    room.uuid().as_u128()
}

fn person(id: UserId, name: &str) -> User {
    User {
        id,
        username: name.to_owned(),
        display_name: name.to_owned(),
        email: None,
        role: UserRole::User,
        created_at: Timestamp::from_millis(0),
    }
}

fn room(id: RoomId, owner_id: UserId, visibility: Visibility, now: i64) -> Room {
    Room { visibility, ..store::rooms::fresh(id, "Cuisine".to_owned(), owner_id, Timestamp::from_millis(now)) }
}

/// Makes a room with its owner.
fn create(tx: &mut Tx<'_>, room: &Room) -> Result<bool> {
    store::rooms::insert(tx, room)?;
    store::members::insert(tx, room.id, room.owner_id, MemberRole::Owner, room.created_at.as_millis())
}

/// Something to be said.
#[derive(Clone)]
struct Line {
    id: MessageId,
    room: RoomId,
    user: UserId,
    content: String,
    client_id: Option<String>,
    now: i64,
}

impl Line {
    fn named(mut self, client_id: &str) -> Self {
        self.client_id = Some(client_id.to_owned());
        self
    }

    /// Appends and tells; the number, and whether it is new.
    fn append(&self, tx: &mut Tx<'_>) -> Result<(u64, bool)> {
        let new = NewMessage {
            id: self.id,
            room: &self.room.to_string(),
            user: &self.user.to_string(),
            content: &self.content,
            reply_to: None,
            client_id: self.client_id.as_deref(),
            mentions: None,
            now: self.now,
        };
        let seq = match store::messages::append(tx, &new)? {
            Appended::Created(seq) => seq,
            Appended::Repeated(first) => return Ok((first.seq, false)),
        };
        self.tell(tx, seq);
        Ok((seq, true))
    }

    fn tell(&self, tx: &mut Tx<'_>, seq: u64) {
        let message = Message {
            id: self.id,
            room_id: self.room,
            seq,
            user_id: self.user,
            username: String::new(),
            content: self.content.clone(),
            created_at: Timestamp::from_millis(self.now),
            edited_at: None,
            deleted_at: None,
            reply_to_id: None,
            client_id: self.client_id.clone(),
            reactions: BTreeMap::new(),
            mentions: Vec::new(),
        };
        let change = Change::Created(Box::new(message));
        tx.publish(Happening::Change { room: self.room, seq, change, origin: None });
    }
}

/// The numbers of a log or of what was told: one after the other, from 1.
fn assert_whole(lines: &[(u64, String)]) {
    for (index, (seq, _)) in lines.iter().enumerate() {
        assert_eq!(*seq, index as u64 + 1, "a hole or a repeat: {lines:?}");
    }
}
