//! What peers share in rooms now: files and terminals. It lives as long as the connection of its owner.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use mesh_protocol::{
    PeerId, RoomId, UserId,
    event::{
        file::{SharedFile, UnshareReason},
        terminal::SharedTerminal,
    },
    limits::{MAX_PEER_FILES, MAX_PEER_SHARES, MAX_PEER_TERMINALS, MAX_ROOM_FILES, MAX_ROOM_TERMINALS},
};

use super::{
    gone::{End, Gone},
    policy::{self, RoomAction},
    terminal::{Control, Input, Output, Refusal as ControlRefusal},
};

/// Something to tell, in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// To the room: a file is shared.
    File(SharedFile),
    /// To the room: a file is shared no longer.
    FileGone {
        /// Which.
        file_id: String,
        /// Whose.
        peer: PeerId,
        /// Why.
        reason: UnshareReason,
    },
    /// To the room: a terminal is shared.
    Terminal(SharedTerminal),
    /// To the room: a terminal is shared no longer.
    TerminalGone {
        /// Which.
        terminal_id: String,
        /// Whose.
        peer: PeerId,
        /// Why.
        reason: UnshareReason,
    },
    /// To the room: another peer controls a terminal, or none.
    Control {
        /// Which.
        terminal_id: String,
        /// Who.
        controller: Option<PeerId>,
    },
}

/// Why something is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such thing.
    Absent,
    /// Another peer shares something of that id.
    IdTaken,
    /// The room has too many.
    RoomFull,
    /// The peer has too many.
    PeerFull,
    /// The caller's own terminal needs no leave.
    OwnTerminal,
    /// There are several of that id: which room?
    WhichRoom,
    /// The terminal's control does not allow it.
    Control(ControlRefusal),
}

/// Something that one connection shares.
trait Share {
    const ROOM: usize;
    const PEER: usize;
    fn id(&self) -> &str;
    fn owner(&self) -> &End;
    /// It is announced anew.
    fn renew(&mut self, by: Self);
}

struct File {
    owner: End,
    view: SharedFile,
}

struct Terminal {
    owner: End,
    view: SharedTerminal,
    control: Control,
}

impl Share for File {
    const ROOM: usize = MAX_ROOM_FILES;
    const PEER: usize = MAX_PEER_FILES;

    fn id(&self) -> &str {
        &self.view.file_id
    }

    fn owner(&self) -> &End {
        &self.owner
    }

    fn renew(&mut self, by: Self) {
        let since = self.view.shared_at;
        *self = by;
        self.view.shared_at = since;
    }
}

impl Share for Terminal {
    const ROOM: usize = MAX_ROOM_TERMINALS;
    const PEER: usize = MAX_PEER_TERMINALS;

    fn id(&self) -> &str {
        &self.view.terminal_id
    }

    fn owner(&self) -> &End {
        &self.owner
    }

    fn renew(&mut self, by: Self) {
        let since = self.view.shared_at;
        (self.owner, self.view) = (by.owner, by.view);
        self.view.shared_at = since;
    }
}

impl Terminal {
    fn shown(&self) -> SharedTerminal {
        SharedTerminal { controller: self.control.controller().map(|party| party.peer.clone()), ..self.view.clone() }
    }
}

#[derive(Default)]
struct Room {
    files: Vec<File>,
    terminals: Vec<Terminal>,
}

/// What is shared in the rooms of one process.
#[derive(Default)]
pub struct Shares {
    rooms: HashMap<RoomId, Room>,
    /// Where each connection shares, controls or has asked something, or has done so.
    places: BTreeMap<(UserId, u64), BTreeSet<RoomId>>,
}

/// Takes what `is_it` says from a list.
fn take<T>(list: &mut Vec<T>, is_it: impl Fn(&T) -> bool) -> Vec<T> {
    list.extract_if(.., |item| is_it(item)).collect()
}

impl Shares {
    /// Whether nothing is shared.
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty() && self.places.is_empty()
    }

    /// How many files and terminals there are.
    pub fn count(&self) -> (usize, usize) {
        let sums = |sum: (usize, usize), room: &Room| (sum.0 + room.files.len(), sum.1 + room.terminals.len());
        self.rooms.values().fold((0, 0), sums)
    }

    /// What is shared in a room, oldest first.
    pub fn of_room(&self, room: RoomId) -> (Vec<SharedFile>, Vec<SharedTerminal>) {
        self.rooms.get(&room).map_or_else(Default::default, |there| {
            (
                there.files.iter().map(|file| file.view.clone()).collect(),
                there.terminals.iter().map(Terminal::shown).collect(),
            )
        })
    }

    /// A peer shares a file, or changes what it says of one.
    ///
    /// # Errors
    /// [`Refusal::IdTaken`], [`Refusal::RoomFull`], [`Refusal::PeerFull`].
    pub fn share_file(&mut self, room: RoomId, owner: End, view: SharedFile) -> Result<News, Refusal> {
        let shown = self.share(room, File { owner, view }, |there| &mut there.files)?.view.clone();
        Ok(News::File(shown))
    }

    /// A peer shares a terminal, or changes what it says of one.
    ///
    /// # Errors
    /// As [`Self::share_file`].
    pub fn share_terminal(&mut self, room: RoomId, owner: End, view: SharedTerminal) -> Result<News, Refusal> {
        let terminal = Terminal { owner, view, control: Control::default() };
        let shown = self.share(room, terminal, |there| &mut there.terminals)?.shown();
        Ok(News::Terminal(shown))
    }

    fn share<T: Share>(
        &mut self,
        room: RoomId,
        share: T,
        list: impl Fn(&mut Room) -> &mut Vec<T>,
    ) -> Result<&T, Refusal> {
        let owner = share.owner().clone();
        let owned = self.owned_by(&owner);
        let there = list(self.rooms.entry(room).or_default());
        let at = there.iter().position(|other| other.id() == share.id());
        let refused = match at.and_then(|at| there.get(at)) {
            Some(other) if other.owner().conn == owner.conn => None,
            Some(_) => Some(Refusal::IdTaken),
            None if there.len() >= T::ROOM => Some(Refusal::RoomFull),
            None if owned >= MAX_PEER_SHARES => Some(Refusal::PeerFull),
            None if there.iter().filter(|other| other.owner().conn == owner.conn).count() >= T::PEER => {
                Some(Refusal::PeerFull)
            }
            None => None,
        };
        if let Some(refused) = refused {
            self.tidy(room);
            return Err(refused);
        }
        self.places.entry((owner.user, owner.conn)).or_default().insert(room);
        let there = list(self.rooms.entry(room).or_default());
        let at = match at {
            Some(at) => {
                if let Some(other) = there.get_mut(at) {
                    other.renew(share);
                }
                at
            }
            None => {
                there.push(share);
                there.len() - 1
            }
        };
        there.get(at).ok_or(Refusal::Absent)
    }

    fn owned_by(&self, owner: &End) -> usize {
        let places = self.places.get(&(owner.user, owner.conn)).into_iter().flatten();
        let owns = |room: &Room| {
            room.files.iter().filter(|file| file.owner.conn == owner.conn).count()
                + room.terminals.iter().filter(|terminal| terminal.owner.conn == owner.conn).count()
        };
        places.filter_map(|room| self.rooms.get(room)).map(owns).sum()
    }

    /// A connection takes a file back; `None` where it shares none of that id.
    pub fn unshare_file(&mut self, room: RoomId, conn: u64, file_id: &str) -> Option<News> {
        let there = self.rooms.get_mut(&room)?;
        let file = take(&mut there.files, |file| file.owner.conn == conn && file.view.file_id == file_id).pop()?;
        self.tidy(room);
        Some(file_gone(file, UnshareReason::Unshared))
    }

    /// The same for a terminal.
    pub fn unshare_terminal(&mut self, room: RoomId, conn: u64, terminal_id: &str) -> Option<News> {
        let there = self.rooms.get_mut(&room)?;
        let is_it = |terminal: &Terminal| terminal.owner.conn == conn && terminal.view.terminal_id == terminal_id;
        let terminal = take(&mut there.terminals, is_it).pop()?;
        self.tidy(room);
        Some(terminal_gone(terminal, UnshareReason::Unshared))
    }

    /// The owner of a terminal.
    pub fn owner_of(&self, room: RoomId, terminal_id: &str) -> Option<&End> {
        let terminals = &self.rooms.get(&room)?.terminals;
        terminals.iter().find(|terminal| terminal.view.terminal_id == terminal_id).map(|terminal| &terminal.owner)
    }

    /// A peer asks to control a terminal, with a capability until then.
    ///
    /// # Errors
    /// Why not.
    pub fn ask(&mut self, room: RoomId, terminal_id: &str, from: End, until: i64, now: i64) -> Result<(), Refusal> {
        let place = (from.user, from.conn);
        let terminal = self.terminal(room, terminal_id).ok_or(Refusal::Absent)?;
        if terminal.owner.conn == from.conn {
            return Err(Refusal::OwnTerminal);
        }
        terminal.control.step(Input::Ask(from, until), now).map_err(Refusal::Control)?;
        self.places.entry(place).or_default().insert(room);
        Ok(())
    }

    /// The owner was not asked after all.
    pub fn take_back(&mut self, room: RoomId, terminal_id: &str, conn: u64) {
        if let Some(terminal) = self.terminal(room, terminal_id) {
            terminal.control.take_back(conn);
        }
    }

    fn terminal(&mut self, room: RoomId, terminal_id: &str) -> Option<&mut Terminal> {
        self.rooms.get_mut(&room)?.terminals.iter_mut().find(|terminal| terminal.view.terminal_id == terminal_id)
    }

    /// The owner, or with [`Input::Release`] the controller, changes who types; with what there is to tell, and where.
    ///
    /// # Errors
    /// Why not.
    pub fn control(
        &mut self,
        by: &End,
        terminal_id: &str,
        room: Option<RoomId>,
        input: Input,
        now: i64,
    ) -> Result<Option<(RoomId, News)>, Refusal> {
        let releases = matches!(input, Input::Release(_));
        let is_it = |terminal: &Terminal| {
            let holder = if releases { terminal.control.controller() } else { Some(&terminal.owner) };
            terminal.view.terminal_id == terminal_id && holder.is_some_and(|party| party.conn == by.conn)
        };
        let places = self.places.get(&(by.user, by.conn)).into_iter().flatten().copied();
        let there = |room: &RoomId| self.rooms.get(room).is_some_and(|room| room.terminals.iter().any(is_it));
        let found: Vec<_> = places.filter(|place| room.is_none_or(|room| room == *place)).filter(there).collect();
        let [room] = found[..] else {
            return Err(if found.is_empty() { Refusal::Absent } else { Refusal::WhichRoom });
        };
        let terminal = self.terminal(room, terminal_id).ok_or(Refusal::Absent)?;
        match terminal.control.step(input, now).map_err(Refusal::Control)? {
            Output::Changed(controller) => {
                Ok(Some((room, News::Control { terminal_id: terminal_id.to_owned(), controller })))
            }
            Output::Nothing | Output::Asked => Ok(None),
        }
    }

    /// Withdraws what stands on something that is gone. A login's end is told of each of its connections.
    pub fn end_with(&mut self, gone: &Gone<'_>) -> Vec<(RoomId, News)> {
        match gone {
            Gone::Peer(End { user, conn, .. }) => {
                let rooms = self.places.remove(&(*user, *conn)).unwrap_or_default();
                let withdraw = |room| {
                    self.withdraw(room, |party| party.conn == *conn, &Input::Gone(*conn), UnshareReason::PeerGone)
                };
                rooms.into_iter().flat_map(withdraw).collect()
            }
            Gone::Member { user, room, .. } => self.put_out(*room, *user, UnshareReason::MemberRemoved),
            Gone::Role { user, room, role } if !policy::allows(*role, RoomAction::Share) => {
                self.put_out(*room, *user, UnshareReason::RoleChanged)
            }
            Gone::Room(room) => {
                self.room_deleted(*room);
                Vec::new()
            }
            Gone::Role { .. } | Gone::Logins { .. } | Gone::Account(_) => Vec::new(),
        }
    }

    fn put_out(&mut self, room: RoomId, user: UserId, reason: UnshareReason) -> Vec<(RoomId, News)> {
        for (_, places) in self.places.range_mut((user, 0)..=(user, u64::MAX)) {
            places.remove(&room);
        }
        self.withdraw(room, |party| party.user == user, &Input::Removed(user), reason)
    }

    fn withdraw(
        &mut self,
        room: RoomId,
        is_it: impl Fn(&End) -> bool,
        input: &Input,
        reason: UnshareReason,
    ) -> Vec<(RoomId, News)> {
        let Some(there) = self.rooms.get_mut(&room) else { return Vec::new() };
        let mut news = Vec::new();
        news.extend(take(&mut there.files, |file| is_it(&file.owner)).into_iter().map(|file| file_gone(file, reason)));
        let terminals = take(&mut there.terminals, |terminal| is_it(&terminal.owner));
        news.extend(terminals.into_iter().map(|terminal| terminal_gone(terminal, reason)));
        for terminal in &mut there.terminals {
            // What nobody asks for is never refused, and needs no time.
            if let Ok(Output::Changed(controller)) = terminal.control.step(input.clone(), 0) {
                news.push(News::Control { terminal_id: terminal.view.terminal_id.clone(), controller });
            }
        }
        self.tidy(room);
        news.into_iter().map(|news| (room, news)).collect()
    }

    /// The room is gone: nobody is told of each thing.
    fn room_deleted(&mut self, room: RoomId) {
        if self.rooms.remove(&room).is_some() {
            for places in self.places.values_mut() {
                places.remove(&room);
            }
        }
    }

    /// Forgets a room in which nothing is shared.
    fn tidy(&mut self, room: RoomId) {
        if self.rooms.get(&room).is_some_and(|there| there.files.is_empty() && there.terminals.is_empty()) {
            self.rooms.remove(&room);
        }
    }
}

fn file_gone(file: File, reason: UnshareReason) -> News {
    News::FileGone { file_id: file.view.file_id, peer: file.owner.peer, reason }
}

fn terminal_gone(terminal: Terminal, reason: UnshareReason) -> News {
    News::TerminalGone { terminal_id: terminal.view.terminal_id, peer: terminal.owner.peer, reason }
}

#[cfg(test)]
mod tests;
