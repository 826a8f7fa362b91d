//! Whatever is asked of them, in whatever order: the two databases give the same answers.

use std::fmt::Debug;

use mesh_protocol::{
    MessageId, RoomId, UserId,
    model::{MemberRole, Visibility},
};
use mesh_server::{
    error::{Error, Result},
    store::{self, Tx, rooms::After},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use uuid::Uuid;

use super::{Line, Store, create, key, person, postgres, room};
use crate::kit::Database;

const CASES: u32 = 24;
const PEOPLE: u8 = 5;
const ROOMS: u8 = 4;

#[derive(Clone, Debug)]
enum Step {
    Person { who: u8, name: String },
    Room { room: u8, owner: u8, public: bool, at: i8, name: String },
    Join { room: u8, who: u8, role: u8 },
    Say { room: u8, who: u8, content: String, client_id: Option<String>, at: i8, names: Vec<String>, fails: bool },
    Read { room: u8, who: u8, seq: u8 },
    Rooms { who: u8, public: bool, limit: usize },
    Members { room: u8, after: String, limit: usize },
    Log { room: u8, seq: u8, limit: usize },
    Look { room: u8, who: u8 },
}

/// Any text but NUL, which no text that reaches the store holds.
fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(any::<char>().prop_map(|c| if c == '\0' { '\'' } else { c }), 0..12)
        .prop_map(|chars| chars.into_iter().collect())
}

fn name() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&['a', 'B', 'b', '0', '.', '_', '-', 'Z'][..]), 1..4)
        .prop_map(|chars| chars.into_iter().collect())
}

fn step() -> impl Strategy<Value = Step> {
    let (who, place) = (|| 0..PEOPLE, || 0..ROOMS);
    prop_oneof![
        2 => (who(), name()).prop_map(|(who, name)| Step::Person { who, name }),
        2 => (place(), who(), any::<bool>(), -1i8..2, text())
            .prop_map(|(room, owner, public, at, name)| Step::Room { room, owner, public, at, name }),
        3 => (place(), who(), 0u8..3).prop_map(|(room, who, role)| Step::Join { room, who, role }),
        8 => (place(), who(), text(), prop::option::of(name()), -1i8..4, prop::collection::vec(name(), 0..3), any::<u8>())
            .prop_map(|(room, who, content, client_id, at, names, dice)| {
                Step::Say { room, who, content, client_id, at, names, fails: dice < 40 }
            }),
        1 => (place(), who(), 0u8..9).prop_map(|(room, who, seq)| Step::Read { room, who, seq }),
        2 => (who(), any::<bool>(), 1usize..4).prop_map(|(who, public, limit)| Step::Rooms { who, public, limit }),
        2 => (place(), name(), 1usize..4).prop_map(|(room, after, limit)| Step::Members { room, after, limit }),
        2 => (place(), 0u8..9, 0usize..9).prop_map(|(room, seq, limit)| Step::Log { room, seq, limit }),
        2 => (place(), who()).prop_map(|(room, who)| Step::Look { room, who }),
    ]
}

/// The same ids in both, other ones in each case.
#[derive(Clone, Copy)]
struct Ids {
    case: u64,
}

impl Ids {
    fn id(self, kind: u64, n: usize) -> Uuid {
        Uuid::from_u64_pair(self.case, (kind << 32) + n as u64)
    }

    fn user(self, n: u8) -> UserId {
        UserId::new(self.id(1, n.into()))
    }

    fn room(self, n: u8) -> RoomId {
        // Their order is not that of their numbers.
        RoomId::new(self.id(2, usize::from(n.reverse_bits())))
    }
}

/// Runs one step within a transaction; the answer in words.
fn run(tx: &mut Tx<'_>, ids: Ids, index: usize, step: &Step) -> Result<String> {
    fn words(answer: impl Debug) -> Result<String> {
        Ok(format!("{answer:?}"))
    }
    match step {
        Step::Person { who, name } => {
            let name = format!("{name}-{}", ids.case);
            words(store::users::insert(tx, &person(ids.user(*who), &name), "hash")?)
        }
        Step::Room { room: n, owner, public, at, name } => {
            let visibility = if *public { Visibility::Public } else { Visibility::Private };
            let mut room = room(ids.room(*n), ids.user(*owner), visibility, i64::from(*at));
            room.name.clone_from(name);
            room.description = Some(name.clone()).filter(|name| !name.is_empty());
            words(create(tx, &room)?)
        }
        Step::Join { room, who, role } => {
            let role = MemberRole::ALL[usize::from(*role)];
            words(store::members::insert(tx, ids.room(*room), ids.user(*who), role, index as i64)?)
        }
        Step::Say { room, who, content, client_id, at, names, fails } => {
            let (room, user) = (ids.room(*room), ids.user(*who));
            let id = MessageId::new(ids.id(3, index));
            let (content, client_id, now) = (content.clone(), client_id.clone(), i64::from(*at));
            let appended = Line { id, room, user, content, client_id, now }.append(tx)?;
            let keys: Vec<_> = names.iter().map(|name| format!("{name}-{}", ids.case).to_ascii_lowercase()).collect();
            let named = store::messages::named(tx, &room.to_string(), &keys)?;
            store::messages::mention(tx, &room.to_string(), appended.0, &named, user)?;
            if *fails { Err(Error::forbidden("changed, and then refused")) } else { words(appended) }
        }
        Step::Read { room, who, seq } => {
            let (room, user) = (ids.room(*room).to_string(), ids.user(*who).to_string());
            let sql = "UPDATE room_members SET read_seq = $1 WHERE room_id = $2 AND user_id = $3";
            words(tx.exec(sql, &[i64::from(*seq).into(), (&room).into(), (&user).into()])?)
        }
        Step::Rooms { who, public, limit } => {
            let (mut all, mut after) = (Vec::new(), After::default());
            loop {
                let page = store::rooms::list(tx, ids.user(*who), *public, &after, *limit)?;
                let Some((_, last)) = page.last() else { return words(all) };
                after = *last;
                all.extend(page);
            }
        }
        Step::Members { room, after, limit } => {
            words(store::members::by_name(tx, ids.room(*room), &after.to_ascii_lowercase(), *limit)?)
        }
        Step::Log { room, seq, limit } => {
            let (room, seq) = (ids.room(*room), u64::from(*seq));
            words((store::messages::before(tx, room, seq, *limit)?, store::messages::after(tx, room, seq, *limit)?))
        }
        Step::Look { room, who } => {
            let (room, user) = (ids.room(*room), ids.user(*who));
            let standing = store::members::standing(tx, room, user)?;
            let standing = standing.map(|s| (s.visibility, s.member_count, s.last_seq, s.role, s.read_seq));
            let seen = store::rooms::for_user(tx, room, user)?;
            let account = store::users::by_id(tx, user)?.map(|a| a.user);
            // In no order that anybody may count on.
            let mut rooms = store::members::rooms_of(tx, user)?;
            rooms.sort();
            words((standing, seen, account, store::members::one(tx, room, user)?, rooms))
        }
    }
}

/// Runs all steps, one after the other, and looks at everything at the end.
async fn answers(store: &Store, case: u64, steps: &[Step]) -> Vec<String> {
    let ids = Ids { case };
    let mut all = Vec::new();
    let end = (0..ROOMS)
        .map(|room| Step::Log { room, seq: 0, limit: 99 })
        .chain((0..PEOPLE).map(|who| Step::Rooms { who, public: false, limit: 2 }))
        .chain([Step::Rooms { who: 0, public: true, limit: 2 }]);
    for (index, step) in steps.iter().cloned().chain(end).enumerate() {
        let key = match &step {
            Step::Room { room, .. } | Step::Join { room, .. } | Step::Say { room, .. } => key(ids.room(*room)),
            _ => 0,
        };
        let shown = format!("{step:?}");
        let answer = store.db.write(key, move |tx| run(tx, ids, index, &step)).await;
        all.push(format!("{shown}: {}", answer.unwrap_or_else(|e| format!("{} {:?}", e.code, e.kind))));
    }
    for room in 0..ROOMS {
        all.push(format!("told of {room}: {:?}", store.told(ids.room(room))));
    }
    all
}

#[test]
fn both_databases_give_the_same_answers() {
    let Some(database) = postgres("the comparison with SQLite") else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let stores = runtime.block_on(async { [Store::new(Database::sqlite()).await, Store::new(database).await] });
    let case = std::cell::Cell::new(0);
    let config = Config { cases: CASES, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&prop::collection::vec(step(), 1..80), |steps| {
        case.set(case.get() + 1);
        let [sqlite, postgres] = &stores;
        let (one, other) = runtime.block_on(async {
            tokio::join!(answers(sqlite, case.get(), &steps), answers(postgres, case.get(), &steps))
        });
        prop_assert_eq!(one, other);
        Ok(())
    });
    outcome.unwrap();
}
