//! Rooms, as their members see them.

use std::cmp::Reverse;

use mesh_protocol::{
    RoomId, Timestamp, UserId,
    model::{MemberRole, MissedCalls, Room, RoomKind, Visibility},
};

use super::{
    db::{Row, Tx},
    statements,
};
use crate::error::{Error, Result};

/// A room's columns beside the caller's membership `m`. A direct room bears the other one's name. What is unread is
/// counted among what the newest 5,000 numbers name, up to 1,000: somebody's own and deleted messages must not make it
/// dear. Where all is read, nothing is counted.
macro_rules! room_columns {
    () => {
        "r.id, CASE WHEN r.kind = 'direct' THEN COALESCE((SELECT u.display_name FROM room_members o \
            JOIN users u ON u.id = o.user_id WHERE o.room_id = r.id AND o.user_id <> m.user_id LIMIT 1), r.name) \
            ELSE r.name END, r.description, r.visibility, r.kind, r.owner_id, m.role, r.member_count, r.last_seq, \
         COALESCE(m.read_seq, 0), \
         CASE WHEN r.last_seq > m.read_seq THEN \
            (SELECT CAST(COUNT(*) AS BIGINT) FROM (SELECT 1 FROM messages x WHERE x.room_id = m.room_id \
                AND x.seq > CASE WHEN r.last_seq - 5000 > m.read_seq THEN r.last_seq - 5000 ELSE m.read_seq END \
                AND x.user_id <> m.user_id AND x.deleted_at IS NULL LIMIT 1000) counted) ELSE 0 END, \
         CASE WHEN r.last_seq > m.read_seq THEN \
            (SELECT CAST(COUNT(*) AS BIGINT) FROM (SELECT 1 FROM message_mentions y WHERE y.room_id = m.room_id \
            AND y.user_id = m.user_id AND y.seq > m.read_seq LIMIT 1000) counted) ELSE 0 END, \
         r.created_at, r.updated_at, r.activity_at, r.retention_days, \
         m.missed_calls, m.missed_from, m.missed_at"
    };
}

statements! {
    INSERT = "INSERT INTO rooms (id, name, description, visibility, kind, owner_id, last_seq, member_count, activity_at, \
        created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, 0, 0, $7, $7, $7)";
    FOR_USER = concat!("SELECT ", room_columns!(), " FROM rooms r \
        LEFT JOIN room_members m ON m.room_id = r.id AND m.user_id = $1 WHERE r.id = $2");
    // Where all of somebody's rooms fit on the first page, as most people's do, each is looked up once; else no rows.
    FEW_OF_USER = concat!("SELECT ", room_columns!(), " FROM room_members m JOIN rooms r ON r.id = m.room_id \
        WHERE m.user_id = $1 AND (SELECT COUNT(*) FROM \
            (SELECT 1 FROM room_members i WHERE i.user_id = $1 LIMIT $2) counted) < $2");
    // Which rooms are on the page comes first: nothing is counted for the others. In any order: to sort whole rows costs
    // SQLite more than `list`.
    OF_USER = concat!("SELECT ", room_columns!(), " FROM (SELECT i.room_id FROM room_members i \
            JOIN rooms j ON j.id = i.room_id WHERE i.user_id = $1 AND (j.activity_at, j.id) < ($2, $3) \
            ORDER BY j.activity_at DESC, j.id DESC LIMIT $4) listed \
        JOIN rooms r ON r.id = listed.room_id JOIN room_members m ON m.room_id = listed.room_id AND m.user_id = $1");
    PUBLIC = concat!("SELECT ", room_columns!(), " FROM rooms r \
        LEFT JOIN room_members m ON m.room_id = r.id AND m.user_id = $1 \
        WHERE r.visibility = 'public' AND (r.activity_at, r.id) < ($2, $3) \
        ORDER BY r.activity_at DESC, r.id DESC LIMIT $4");
    NEXT_SEQ = "UPDATE rooms SET last_seq = last_seq + 1, activity_at = $1 WHERE id = $2 RETURNING last_seq";
    NEXT_CHANGE = "UPDATE rooms SET last_seq = last_seq + 1 WHERE id = $1 RETURNING last_seq";
    RAISE_SEQ = "UPDATE rooms SET last_seq = last_seq + 1, activity_at = $1 WHERE id = $2";
    LAST_SEQ = "SELECT last_seq FROM rooms WHERE id = $1";
    PURGED_SEQ = "SELECT purged_seq FROM rooms WHERE id = $1";
    GIVE_BACK = "UPDATE rooms SET last_seq = last_seq - 1 WHERE id = $1";
    COUNT_MEMBER = "UPDATE rooms SET member_count = member_count + 1 WHERE id = $1";
    UNCOUNT_MEMBER = "UPDATE rooms SET member_count = member_count - 1 WHERE id = $1";
    HOLD = "UPDATE rooms SET member_count = member_count WHERE id = $1 AND deleted_at IS NULL";
    UPDATE = "UPDATE rooms SET name = $1, description = $2, visibility = $3, retention_days = $4, updated_at = $5 \
        WHERE id = $6";
    SET_OWNER = "UPDATE rooms SET owner_id = $1 WHERE id = $2";
    CLOSE = "UPDATE rooms SET visibility = 'private', direct_key = NULL, member_count = 0, deleted_at = $1 \
        WHERE id = $2 AND deleted_at IS NULL";
    CLOSE_MEMBERS = "DELETE FROM room_members WHERE room_id = $1";
    CLOSE_BANS = "DELETE FROM room_bans WHERE room_id = $1";
    CLOSE_INVITES = "DELETE FROM room_invites WHERE room_id = $1";
    IS_PUBLIC = "SELECT id FROM rooms WHERE id = $1 AND visibility = 'public'";
}

/// Where a page of rooms begins: after this one, in the order of newest activity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct After {
    /// The last room's activity, Unix milliseconds.
    pub activity_at: i64,
    /// The last room.
    pub id: RoomId,
}

impl Default for After {
    fn default() -> Self {
        Self { activity_at: i64::MAX, id: RoomId::NOTHING }
    }
}

fn room(row: &Row) -> Result<Room> {
    let unknown = |what: &str| Error::internal(format!("an unknown {what} in rooms"));
    let missed_calls = match (row.opt_text(17)?, row.opt_int(18)?) {
        (Some(from), Some(at)) => {
            let at = Timestamp::from_millis(at);
            Some(MissedCalls { count: row.count(16)?, from_user: UserId::parse(from), at })
        }
        _ => None,
    };
    Ok(Room {
        id: RoomId::parse(row.text(0)?),
        name: row.text(1)?.to_owned(),
        description: row.opt_text(2)?.map(str::to_owned),
        visibility: Visibility::parse(row.text(3)?).ok_or_else(|| unknown("visibility"))?,
        kind: RoomKind::parse(row.text(4)?).ok_or_else(|| unknown("kind"))?,
        owner_id: UserId::parse(row.text(5)?),
        my_role: row.opt_text(6)?.and_then(MemberRole::parse),
        member_count: row.count(7)?,
        last_seq: row.count(8)?,
        read_seq: row.count(9)?,
        unread: row.count(10)?,
        mentions: row.count(11)?,
        missed_calls,
        retention_days: row.opt_int(15)?.and_then(|days| u32::try_from(days).ok()),
        created_at: Timestamp::from_millis(row.int(12)?),
        updated_at: Timestamp::from_millis(row.int(13)?),
    })
}

/// A private group that nobody is in yet, and where nothing was said.
pub fn fresh(id: RoomId, name: String, owner_id: UserId, created_at: Timestamp) -> Room {
    Room {
        id,
        name,
        description: None,
        visibility: Visibility::Private,
        kind: RoomKind::Group,
        owner_id,
        my_role: None,
        member_count: 0,
        last_seq: 0,
        read_seq: 0,
        unread: 0,
        mentions: 0,
        missed_calls: None,
        retention_days: None,
        created_at,
        updated_at: created_at,
    }
}

/// Adds a room without members.
pub fn insert(tx: &mut Tx<'_>, room: &Room) -> Result<()> {
    tx.exec(
        INSERT,
        &[
            (&room.id.to_string()).into(),
            (&room.name).into(),
            room.description.as_ref().into(),
            room.visibility.as_str().into(),
            room.kind.as_str().into(),
            (&room.owner_id.to_string()).into(),
            room.created_at.as_millis().into(),
        ],
    )
    .map(drop)
}

/// A room as `user` sees it, member or not: whether they may is the caller's to decide.
pub fn for_user(tx: &mut Tx<'_>, id: RoomId, user: UserId) -> Result<Option<Room>> {
    tx.row(FOR_USER, &[(&user.to_string()).into(), (&id.to_string()).into()])?.as_ref().map(room).transpose()
}

/// The rooms of `user`, or with `public` those that everybody may join: up to `limit`, newest activity first. With each,
/// where the page after it begins.
pub fn list(tx: &mut Tx<'_>, user: UserId, public: bool, after: &After, limit: usize) -> Result<Vec<(Room, After)>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let user = user.to_string();
    let mut rows = Vec::new();
    if !public && *after == After::default() {
        rows = tx.rows(FEW_OF_USER, &[(&user).into(), limit.into()])?;
    }
    if rows.is_empty() {
        rows = tx.rows(
            if public { PUBLIC } else { OF_USER },
            &[(&user).into(), after.activity_at.into(), (&after.id.to_string()).into(), limit.into()],
        )?;
    }
    let mut rooms = Vec::with_capacity(rows.len());
    for row in &rows {
        let room = room(row)?;
        let after = After { activity_at: row.int(14)?, id: room.id };
        rooms.push((room, after));
    }
    rooms.sort_by_key(|(_, after)| Reverse((after.activity_at, after.id)));
    Ok(rooms)
}

/// Takes the room's next sequence number; none where there is no such room. The row stays locked until the
/// transaction ends: numbers become visible in their order, and a rollback gives them back.
pub fn next_seq(tx: &mut Tx<'_>, id: &str, now: i64) -> Result<Option<u64>> {
    let params = [now.into(), id.into()];
    let next = if tx.is_postgres() {
        tx.row(NEXT_SEQ, &params)?
    } else if tx.exec(RAISE_SEQ, &params)? == 1 {
        // SQLite makes a table for what `RETURNING` gives: a question on the same page is cheaper.
        tx.row(LAST_SEQ, &[id.into()])?
    } else {
        None
    };
    next.map(|row| row.count(0)).transpose()
}

/// The same for a change of something said before, which is no new activity.
pub fn next_change(tx: &mut Tx<'_>, id: &str) -> Result<Option<u64>> {
    tx.row(NEXT_CHANGE, &[id.into()])?.map(|row| row.count(0)).transpose()
}

/// Up to where the room's log may have holes, since it was purged.
pub fn purged_seq(tx: &mut Tx<'_>, id: RoomId) -> Result<u64> {
    tx.row(PURGED_SEQ, &[(&id.to_string()).into()])?.map_or(Ok(0), |row| row.count(0))
}

/// Gives back the number that this transaction took last.
pub fn give_back_seq(tx: &mut Tx<'_>, id: &str) -> Result<()> {
    tx.exec(GIVE_BACK, &[id.into()]).map(drop)
}

/// Counts one member more.
pub fn count_member(tx: &mut Tx<'_>, id: &str) -> Result<()> {
    tx.exec(COUNT_MEMBER, &[id.into()]).map(drop)
}

/// Counts one member less.
pub fn uncount_member(tx: &mut Tx<'_>, id: &str) -> Result<()> {
    tx.exec(UNCOUNT_MEMBER, &[id.into()]).map(drop)
}

/// Holds the room's row until the transaction ends: nobody else changes its members meanwhile. False where there is no
/// such room any more.
pub fn hold(tx: &mut Tx<'_>, id: &str) -> Result<bool> {
    Ok(tx.exec(HOLD, &[id.into()])? == 1)
}

/// Writes down a room's name, description, visibility and retention, and when they changed.
pub fn update(tx: &mut Tx<'_>, room: &Room) -> Result<()> {
    tx.exec(
        UPDATE,
        &[
            (&room.name).into(),
            room.description.as_ref().into(),
            room.visibility.as_str().into(),
            room.retention_days.map(i64::from).into(),
            room.updated_at.as_millis().into(),
            (&room.id.to_string()).into(),
        ],
    )
    .map(drop)
}

/// Writes down whose the room is; the members' roles are the caller's to change.
pub fn set_owner(tx: &mut Tx<'_>, id: &str, owner: &str) -> Result<()> {
    tx.exec(SET_OWNER, &[owner.into(), id.into()]).map(drop)
}

/// Closes a room for good: nobody is in it or finds it. Its log follows in small steps.
pub fn close(tx: &mut Tx<'_>, id: &str, now: i64) -> Result<()> {
    tx.exec(CLOSE, &[now.into(), id.into()])?;
    for sql in [CLOSE_MEMBERS, CLOSE_BANS, CLOSE_INVITES] {
        tx.exec(sql, &[id.into()])?;
    }
    Ok(())
}

/// Whether the room is there and everybody may join it.
pub fn is_public(tx: &mut Tx<'_>, id: &str) -> Result<bool> {
    Ok(tx.row(IS_PUBLIC, &[id.into()])?.is_some())
}
