//! `mesh-server bench seed`: a new database full of people, rooms and messages.

use std::time::Instant;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use clap::{Arg, ArgMatches, Command, value_parser};
use futures_util::{StreamExt as _, TryStreamExt as _};
use mesh_protocol::{
    RoomId, Timestamp, UserId,
    model::{MemberRole, Room, User, UserRole, Visibility},
};

use crate::{
    cli::{Outcome, database::Database, failure, print},
    config::Config,
    error::{Error, Kind, Result},
    ids::Ids,
    store::{self, Db, Tx, seed::Seeded},
};

/// Messages of one transaction, which is never all of a large room.
const AT_ONCE: u64 = 5_000;
/// Rooms that are filled at once: PostgreSQL has four writers.
const ROOMS_AT_ONCE: usize = 8;
/// After so many messages of a room somebody reacts to one: a change with a number of its own.
const REACTION_EVERY: u64 = 50;
/// Between two messages of a room.
const APART_MS: i64 = 60_000;
/// What is said consists of these: few enough that a search finds much, in several alphabets.
const WORDS: &[&str] = &[
    "hello",
    "meeting",
    "tomorrow",
    "release",
    "server",
    "where",
    "lunch",
    "photo",
    "done",
    "question",
    "train",
    "late",
    "review",
    "merge",
    "coffee",
    "été",
    "demain",
    "réunion",
    "größe",
    "привет",
    "завтра",
    "東京",
    "project",
    "budget",
    "garden",
    "school",
    "doctor",
    "music",
    "ticket",
    "weather",
    "football",
    "recipe",
    "holiday",
    "birthday",
    "house",
    "call",
    "back",
    "later",
    "thanks",
    "please",
    "maybe",
    "never",
    "always",
    "today",
    "yesterday",
    "evening",
    "morning",
];

fn number(name: &'static str, default: &'static str, most: u64, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("N")
        .default_value(default)
        .value_parser(value_parser!(u64).range(1..=most))
        .help(help)
}

pub(super) fn command() -> Command {
    Command::new("seed")
        .about("Fill a new database with accounts, rooms and messages; one with accounts is refused")
        .arg(number("rooms", "1000", 1_000_000, "How many rooms; every tenth is public"))
        .arg(number("messages", "1000000", 1_000_000_000, "How many messages, spread evenly over the rooms"))
        .arg(number("users", "100", 100_000, "How many accounts: seed-1, the administrator, is in every room"))
        .arg(number("members", "10", 10_000, "Members of each room, at most as many as there are accounts"))
        .after_help(
            "The password of all accounts is made and printed once. What is said differs from one run to the next in its \
             ids and times alone.\n\nExample:\n  DATABASE_URL=sqlite:///trial.db mesh-server bench seed --rooms 1000 \
             --messages 1000000",
        )
}

/// Numbers that look random and are the same in each run (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let sides = u64::try_from(sides.max(1)).unwrap_or(1);
        usize::try_from((z ^ (z >> 31)) % sides).unwrap_or(0)
    }

    fn sentence(&mut self) -> String {
        let words = 3 + self.roll(15);
        let said: Vec<_> = (0..words).map(|_| WORDS.get(self.roll(WORDS.len())).copied().unwrap_or_default()).collect();
        said.join(" ")
    }
}

/// The number of a room's message, after the reactions before it.
fn seq_of(message: u64) -> u64 {
    message + (message - 1) / REACTION_EVERY
}

/// How far a room's log reaches.
fn last_seq(messages: u64) -> u64 {
    messages + messages / REACTION_EVERY
}

/// One room to be made.
#[derive(Clone)]
struct Plan {
    room: Room,
    members: Vec<UserId>,
    messages: u64,
    dice: u64,
    ids: Ids,
}

impl Plan {
    fn begin(&self, tx: &mut Tx<'_>) -> Result<()> {
        let now = self.room.created_at.as_millis();
        store::rooms::insert(tx, &self.room)?;
        for user in &self.members {
            let role = if *user == self.room.owner_id { MemberRole::Owner } else { MemberRole::Member };
            store::members::insert(tx, self.room.id, *user, role, now)?;
        }
        Ok(())
    }

    /// When a message is said.
    fn at(&self, message: u64) -> i64 {
        self.room.created_at.as_millis() + i64::try_from(message).unwrap_or(i64::MAX / APART_MS) * APART_MS
    }

    fn say(&self, tx: &mut Tx<'_>, from: u64, to: u64) -> Result<()> {
        let room = self.room.id.to_string();
        let members: Vec<String> = self.members.iter().map(UserId::to_string).collect();
        let mut dice = Dice(self.dice ^ from);
        let one_of = |dice: &mut Dice| members.get(dice.roll(members.len())).cloned().unwrap_or_default();
        let all: Vec<_> = (from..=to)
            .map(|message| Seeded {
                id: self.ids.uuid().to_string(),
                seq: seq_of(message),
                user: one_of(&mut dice),
                content: dice.sentence(),
                at: self.at(message),
            })
            .collect();
        store::seed::messages(tx, &room, &all)?;
        for message in (from..=to).filter(|message| message % REACTION_EVERY == 0) {
            let seq = seq_of(message);
            store::seed::reaction(tx, &room, seq, "👍", &one_of(&mut dice), seq + 1)?;
        }
        store::seed::reached(tx, &room, last_seq(to), self.at(to))?;
        // Everybody has read half of it.
        for user in &members {
            store::members::read(tx, &room, user, last_seq(to) / 2)?;
        }
        Ok(())
    }

    async fn make(self, db: &Db) -> Result<()> {
        let key = self.room.id.uuid().as_u128();
        let plan = self.clone();
        db.write(key, move |tx| plan.begin(tx)).await?;
        let mut from = 1;
        while from <= self.messages {
            let (plan, to) = (self.clone(), self.messages.min(from + AT_ONCE - 1));
            db.write(key, move |tx| plan.say(tx, from, to)).await?;
            from = to + 1;
        }
        Ok(())
    }
}

fn account(tx: &mut Tx<'_>, number: u64, id: UserId, now: Timestamp, hash: &str) -> Result<()> {
    let username = format!("seed-{number}");
    let role = if number == 1 { UserRole::Admin } else { UserRole::User };
    let user = User { id, display_name: username.clone(), username, email: None, role, created_at: now };
    store::users::insert(tx, &user, hash).map(drop)
}

pub(super) fn run(config: &Config, sub: &ArgMatches) -> Outcome {
    let given = |name| sub.get_one::<u64>(name).copied().unwrap_or(1);
    let (rooms, messages, users, most) = (given("rooms"), given("messages"), given("users"), given("members"));
    let database = Database::open(config)?;
    let begun = Instant::now();
    let password = BASE64_URL_SAFE_NO_PAD.encode(database.ids.random::<12>());
    let hash = bcrypt::hash(&password, config.bcrypt_cost)
        .map_err(|e| failure(format!("the password cannot be hashed: {e}")))?;
    // Old enough for what is said last to have been said by now.
    let age = i64::try_from(messages.div_ceil(rooms) + rooms).unwrap_or(i64::MAX / APART_MS).saturating_mul(APART_MS);
    let now = database.clock.now_ms();
    let since = Timestamp::from_millis(now.saturating_sub(age).max(0));
    let people: Vec<UserId> = (0..users).map(|_| UserId::new(database.ids.uuid())).collect();
    let all = people.clone();
    database.write(move |tx| {
        if store::users::any(tx)? {
            let words = "the database has accounts: it would be filled with strangers. Name a new one in DATABASE_URL";
            return Err(Error::new(Kind::Conflict, "not_empty", words));
        }
        all.iter().zip(1..).try_for_each(|(id, number)| account(tx, number, *id, since, &hash))
    })?;

    let plan = |index: u64| {
        let first = people.first().copied().unwrap_or(UserId::NOTHING);
        let mut members = vec![first];
        let others = people.get(1..).unwrap_or_default();
        let start = usize::try_from(index).unwrap_or(0) * 7;
        let count = usize::try_from(most - 1).unwrap_or(0).min(others.len());
        members.extend(others.iter().cycle().skip(start % others.len().max(1)).take(count));
        // Rooms begin one after the other, so that each has a last activity of its own.
        let created_at = Timestamp::from_millis(since.as_millis() + i64::try_from(index).unwrap_or(0) * APART_MS);
        let (id, name) = (RoomId::new(database.ids.uuid()), format!("Seeded room {}", index + 1));
        let room = Room {
            visibility: if index.is_multiple_of(10) { Visibility::Public } else { Visibility::Private },
            ..store::rooms::fresh(id, name, first, created_at)
        };
        let messages = messages / rooms + u64::from(index < messages % rooms);
        Plan { room, members, messages, dice: index << 32, ids: database.ids.clone() }
    };
    let db = database.db.clone();
    let making = futures_util::stream::iter(0..rooms)
        .map(|index| Ok::<_, Error>(plan(index)))
        .try_for_each_concurrent(ROOMS_AT_ONCE, |plan| plan.make(&db));
    database.runtime.block_on(making).map_err(|e| failure(e.for_operator()))?;
    while database.write(|tx| store::search::catch_up(tx, 20_000))? > 0 {}
    database.write(store::seed::settle)?;
    print(&format!(
        "{users} accounts (seed-1 … seed-{users}, password {password}), {rooms} rooms, {messages} messages in {:.1} s\n",
        begun.elapsed().as_secs_f64()
    ))
}
