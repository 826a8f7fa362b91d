//! Rooms full of messages, as `mesh-server bench seed` makes them: many rows a statement, since it makes millions.

use super::{
    changes,
    db::{Param, Tx},
    messages::param,
    statements,
};
use crate::error::Result;

/// Messages that one statement brings.
pub const ROWS: usize = 20;

/// A message's values, with the numbers of its parameters.
macro_rules! values {
    ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal) => {
        concat!("($", $a, ", $", $b, ", $", $c, ", $", $d, ", $", $e, ", $", $f, ")")
    };
}

macro_rules! insert {
    ($first:expr $(, $more:expr)*) => {
        concat!("INSERT INTO messages (room_id, seq, id, user_id, content, created_at) VALUES ", $first $(, ", ", $more)*)
    };
}

statements! {
    ONE = insert!(values!(1 2 3 4 5 6));
    MANY = insert!(
        values!(1 2 3 4 5 6), values!(7 8 9 10 11 12), values!(13 14 15 16 17 18), values!(19 20 21 22 23 24),
        values!(25 26 27 28 29 30), values!(31 32 33 34 35 36), values!(37 38 39 40 41 42), values!(43 44 45 46 47 48),
        values!(49 50 51 52 53 54), values!(55 56 57 58 59 60), values!(61 62 63 64 65 66), values!(67 68 69 70 71 72),
        values!(73 74 75 76 77 78), values!(79 80 81 82 83 84), values!(85 86 87 88 89 90), values!(91 92 93 94 95 96),
        values!(97 98 99 100 101 102), values!(103 104 105 106 107 108), values!(109 110 111 112 113 114),
        values!(115 116 117 118 119 120)
    );
    REACHED = "UPDATE rooms SET last_seq = $1, activity_at = $2 WHERE id = $3";
}

/// A message to be there.
pub struct Seeded {
    /// Its id.
    pub id: String,
    /// Its number; the caller sees to it that a room's log has no hole.
    pub seq: u64,
    /// Who says it.
    pub user: String,
    /// What.
    pub content: String,
    /// When, Unix milliseconds.
    pub at: i64,
}

/// Appends messages whose numbers are given. `rooms.last_seq` is the caller's, see [`reached`].
pub fn messages(tx: &mut Tx<'_>, room: &str, all: &[Seeded]) -> Result<()> {
    let (many, rest) = all.as_chunks::<ROWS>();
    for some in many {
        tx.exec(MANY, &cells(room, some))?;
    }
    for one in rest.chunks(1) {
        tx.exec(ONE, &cells(room, one))?;
    }
    Ok(())
}

fn cells<'a>(room: &'a str, some: &'a [Seeded]) -> Vec<Param<'a>> {
    let of_one = |message: &'a Seeded| {
        let Seeded { id, seq, user, content, at } = message;
        [room.into(), param(*seq).into(), id.into(), user.into(), content.into(), (*at).into()]
    };
    some.iter().flat_map(of_one).collect()
}

/// `user` has reacted to a message; the reaction is the room's change `seq`.
pub fn reaction(tx: &mut Tx<'_>, room: &str, message: u64, emoji: &str, user: &str, seq: u64) -> Result<()> {
    changes::react(tx, room, message, emoji, user, seq)?;
    changes::log_kind(tx, room, seq, message, "reacted")
}

/// So much has come at once that PostgreSQL's planner must look at it now. SQLite's goes by the indexes alone.
pub fn settle(tx: &mut Tx<'_>) -> Result<()> {
    if tx.is_postgres() { tx.script("ANALYZE") } else { Ok(()) }
}

/// Up to where the room's log reaches, and since when.
pub fn reached(tx: &mut Tx<'_>, room: &str, seq: u64, at: i64) -> Result<()> {
    tx.exec(REACHED, &[param(seq).into(), at.into(), room.into()]).map(drop)
}
