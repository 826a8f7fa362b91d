//! Who is in a room.

use std::collections::HashMap;

use mesh_protocol::{
    RoomId, Timestamp, UserId,
    model::{Member, MemberRole, RoomKind, Visibility},
};

use super::{
    db::{Param, Row, Tx},
    rooms, statements,
};
use crate::error::{Error, Result};

statements! {
    // The name's key stands here once more, since a room's members are read in its order. It never changes.
    INSERT = "INSERT INTO room_members (room_id, user_id, role, joined_at, read_seq, name_key) \
        SELECT r.id, u.id, $1, $2, r.last_seq, u.username_key FROM rooms r JOIN users u ON u.id = $3 WHERE r.id = $4 \
        ON CONFLICT (room_id, user_id) DO NOTHING";
    ROLE = "SELECT CASE WHEN r.kind = 'direct' THEN 'member' ELSE m.role END FROM room_members m \
        JOIN rooms r ON r.id = m.room_id WHERE m.room_id = $1 AND m.user_id = $2";
    OWN = "SELECT m.role, r.kind FROM room_members m JOIN rooms r ON r.id = m.room_id \
        WHERE m.room_id = $1 AND m.user_id = $2";
    SET_ROLE = "UPDATE room_members SET role = $1 WHERE room_id = $2 AND user_id = $3";
    REMOVE = "DELETE FROM room_members WHERE room_id = $1 AND user_id = $2";
    USERS_OF = "SELECT user_id FROM room_members WHERE room_id = $1 ORDER BY user_id";
    READ = "UPDATE room_members SET read_seq = (SELECT CASE WHEN r.last_seq < $1 THEN r.last_seq ELSE $1 END FROM rooms r \
        WHERE r.id = room_members.room_id), missed_calls = 0, missed_from = NULL, missed_at = NULL \
        WHERE room_id = $2 AND user_id = $3 AND read_seq < $1 \
        AND read_seq < (SELECT r.last_seq FROM rooms r WHERE r.id = room_members.room_id) RETURNING read_seq";
    CALLS_SEEN = "UPDATE room_members SET missed_calls = 0, missed_from = NULL, missed_at = NULL \
        WHERE room_id = $1 AND user_id = $2 AND missed_calls > 0";
    MISSED = "UPDATE room_members SET missed_calls = missed_calls + 1, missed_from = $1, missed_at = $2 \
        WHERE room_id = $3 AND user_id <> $1 AND $4 NOT LIKE '%' || user_id || '%'";
    STANDING = "SELECT r.visibility, r.member_count, r.last_seq, m.role, COALESCE(m.read_seq, 0), r.purged_seq FROM rooms r \
        LEFT JOIN room_members m ON m.room_id = r.id AND m.user_id = $1 WHERE r.id = $2";
    ONE = "SELECT m.user_id, u.username, u.display_name, m.role, m.joined_at, m.name_key \
        FROM room_members m JOIN users u ON u.id = m.user_id WHERE m.room_id = $1 AND m.user_id = $2";
    // Several at once, which costs less than a question for each. Where they are fewer, the last one fills the places.
    SOME = "SELECT m.user_id, u.username, u.display_name, m.role, m.joined_at, m.name_key \
        FROM room_members m JOIN users u ON u.id = m.user_id WHERE m.room_id = $1 AND m.user_id IN (\
        $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, \
        $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39, $40, $41)";
    BY_NAME = "SELECT m.user_id, u.username, u.display_name, m.role, m.joined_at, m.name_key \
        FROM room_members m JOIN users u ON u.id = m.user_id WHERE m.room_id = $1 AND m.name_key > $2 \
        ORDER BY m.name_key LIMIT $3";
    ROOMS_OF = "SELECT room_id FROM room_members WHERE user_id = $1";
}

/// Members that [`SOME`] asks for.
const AT_ONCE: usize = 40;

fn member(row: &Row) -> Result<Member> {
    Ok(Member {
        user_id: UserId::parse(row.text(0)?),
        username: row.text(1)?.to_owned(),
        display_name: row.text(2)?.to_owned(),
        role: MemberRole::parse(row.text(3)?).ok_or_else(|| Error::internal("an unknown role in room_members"))?,
        joined_at: Timestamp::from_millis(row.int(4)?),
        online: false,
        peers: Vec::new(),
    })
}

/// Makes `user` a member, who has read all that was said before; false where they are one already.
pub fn insert(tx: &mut Tx<'_>, room: RoomId, user: UserId, role: MemberRole, now: i64) -> Result<bool> {
    let room = room.to_string();
    let user = user.to_string();
    let added = tx.exec(INSERT, &[role.as_str().into(), now.into(), (&user).into(), (&room).into()])? == 1;
    if added {
        rooms::count_member(tx, &room)?;
    }
    Ok(added)
}

/// What the role of `user` in `room` counts as: both in a direct room are members, whoever began it. None where they
/// are no member, or there is no such room.
pub fn role(tx: &mut Tx<'_>, room: &str, user: &str) -> Result<Option<MemberRole>> {
    let Some(row) = tx.row(ROLE, &[room.into(), user.into()])? else { return Ok(None) };
    MemberRole::parse(row.text(0)?).map(Some).ok_or_else(|| Error::internal("an unknown role in room_members"))
}

/// The role of `user` in `room` as it is written, and what the room is for; none where they are no member.
pub fn own(tx: &mut Tx<'_>, room: &str, user: &str) -> Result<Option<(MemberRole, RoomKind)>> {
    let Some(row) = tx.row(OWN, &[room.into(), user.into()])? else { return Ok(None) };
    let role = MemberRole::parse(row.text(0)?).ok_or_else(|| Error::internal("an unknown role in room_members"))?;
    let kind = RoomKind::parse(row.text(1)?).ok_or_else(|| Error::internal("an unknown kind in rooms"))?;
    Ok(Some((role, kind)))
}

/// Gives a member another role; that a room has one owner is the caller's to see to.
pub fn set_role(tx: &mut Tx<'_>, room: &str, user: &str, role: MemberRole) -> Result<()> {
    tx.exec(SET_ROLE, &[role.as_str().into(), room.into(), user.into()]).map(drop)
}

/// Ends a membership; false where there was none.
pub fn remove(tx: &mut Tx<'_>, room: &str, user: &str) -> Result<bool> {
    let removed = tx.exec(REMOVE, &[room.into(), user.into()])? == 1;
    if removed {
        rooms::uncount_member(tx, room)?;
    }
    Ok(removed)
}

/// Everybody who is in a room.
pub fn users_of(tx: &mut Tx<'_>, room: &str) -> Result<Vec<UserId>> {
    tx.rows(USERS_OF, &[room.into()])?.iter().map(|row| Ok(UserId::parse(row.text(0)?))).collect()
}

/// Where somebody stands with a room.
pub struct Standing {
    /// Who may find it.
    pub visibility: Visibility,
    /// How many members it has.
    pub member_count: u64,
    /// Its newest change.
    pub last_seq: u64,
    /// Their role; none where they are no member.
    pub role: Option<MemberRole>,
    /// Up to where they have read.
    pub read_seq: u64,
    /// Up to where the room's log may have holes, since it was purged.
    pub purged_seq: u64,
}

/// Where `user` stands with `room`; none where there is no such room.
pub fn standing(tx: &mut Tx<'_>, room: RoomId, user: UserId) -> Result<Option<Standing>> {
    let Some(row) = tx.row(STANDING, &[(&user.to_string()).into(), (&room.to_string()).into()])? else {
        return Ok(None);
    };
    Ok(Some(Standing {
        visibility: Visibility::parse(row.text(0)?).ok_or_else(|| Error::internal("an unknown visibility in rooms"))?,
        member_count: row.count(1)?,
        last_seq: row.count(2)?,
        role: row.opt_text(3)?.and_then(MemberRole::parse),
        read_seq: row.count(4)?,
        purged_seq: row.count(5)?,
    }))
}

/// Remembers that `user` has read up to `seq`, at most to the room's end, and seen which calls they missed; the new place, or none where that is not
/// beyond the old one.
pub fn read(tx: &mut Tx<'_>, room: &str, user: &str, seq: u64) -> Result<Option<u64>> {
    let seq = i64::try_from(seq).unwrap_or(i64::MAX);
    if let Some(row) = tx.row(READ, &[seq.into(), room.into(), user.into()])? {
        return row.count(0).map(Some);
    }
    // There may have been nothing to read but that somebody had called.
    tx.exec(CALLS_SEEN, &[room.into(), user.into()])?;
    Ok(None)
}

/// Records that all members but `from`, who called, and those who declined have missed a call.
pub fn missed_call(tx: &mut Tx<'_>, room: RoomId, from: UserId, declined: &[UserId], now: i64) -> Result<()> {
    let declined: Vec<_> = declined.iter().map(UserId::to_string).collect();
    tx.exec(MISSED, &[(&from.to_string()).into(), now.into(), (&room.to_string()).into(), (&declined.join(" ")).into()])
        .map(drop)
}

/// One member; presence is not filled in.
pub fn one(tx: &mut Tx<'_>, room: RoomId, user: UserId) -> Result<Option<Member>> {
    tx.row(ONE, &[(&room.to_string()).into(), (&user.to_string()).into()])?.as_ref().map(member).transpose()
}

/// Those of `users` who are members, in that order; presence is not filled in.
pub fn some(tx: &mut Tx<'_>, room: RoomId, users: &[UserId]) -> Result<Vec<Member>> {
    let room = room.to_string();
    let mut found = HashMap::with_capacity(users.len());
    for users in users.chunks(AT_ONCE) {
        let ids: Vec<_> = users.iter().map(UserId::to_string).collect();
        let last = ids.last().into_iter().cycle();
        let params: Vec<_> =
            std::iter::once(&room).chain(ids.iter().chain(last).take(AT_ONCE)).map(Param::from).collect();
        for row in tx.rows(SOME, &params)? {
            let member = member(&row)?;
            found.insert(member.user_id, member);
        }
    }
    Ok(users.iter().filter_map(|user| found.remove(user)).collect())
}

/// Members by name, after the one whose name's key is `after`; presence is not filled in. With each, its name's key.
pub fn by_name(tx: &mut Tx<'_>, room: RoomId, after: &str, limit: usize) -> Result<Vec<(Member, String)>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = tx.rows(BY_NAME, &[(&room.to_string()).into(), after.into(), limit.into()])?;
    rows.iter().map(|row| Ok((member(row)?, row.text(5)?.to_owned()))).collect()
}

/// The ids of all rooms of `user`.
pub fn rooms_of(tx: &mut Tx<'_>, user: UserId) -> Result<Vec<RoomId>> {
    tx.rows(ROOMS_OF, &[(&user.to_string()).into()])?.iter().map(|row| Ok(RoomId::parse(row.text(0)?))).collect()
}
