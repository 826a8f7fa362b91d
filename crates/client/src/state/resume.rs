//! How a connection begins: rooms are joined again with the hello itself, so that what was missed comes a round trip sooner.

use std::collections::{BTreeMap, HashMap};

use mesh_protocol::event::system;
use tokio::time::Instant;

use super::{Ask, Online, State};
use crate::{Event, pace::Pace, socket::frame};

/// Rooms joined with the hello at most. The others, and what was not acknowledged, follow the welcome.
const EARLY_JOINS: usize = 16;

impl State {
    /// What is said right behind the hello: joins of rooms that were joined before.
    pub(crate) fn early_frames(&mut self) -> Vec<String> {
        // Those of an attempt that failed were heard by nobody.
        for room_id in std::mem::take(&mut self.early).into_values() {
            if let Some(room) = self.rooms.get_mut(&room_id) {
                room.asking = false;
            }
        }
        let known = self.rooms.iter_mut().filter(|(_, room)| room.known).take(self.early_joins);
        let mut frames = Vec::new();
        for (&room_id, room) in known {
            room.asking = true;
            self.next += 1;
            let id = format!("e{}", self.next);
            frames.push(frame(Some(&id), None, &room.join(room_id)));
            self.early.insert(id, room_id);
        }
        frames
    }

    /// A connection stands: every room is joined again, then what was not acknowledged is sent again.
    pub(crate) fn connected(&mut self, welcome: system::Welcome, now: Instant) {
        self.peer_id = Some(welcome.peer_id.clone());
        let mut pace = Pace::new(welcome.limits.events_per_second, now);
        self.early_joins = pace.burst().min(EARLY_JOINS);
        let mut asked: HashMap<String, Ask> = HashMap::new();
        let mut ready = Vec::new();
        for (id, room_id) in std::mem::take(&mut self.early) {
            // Sent already: where the limit has become smaller, the server says so.
            let _ = pace.take(now);
            asked.insert(id, Ask::Join(room_id));
            // Left meanwhile: the server does not know.
            if !self.rooms.contains_key(&room_id) {
                self.leaves.entry(room_id).or_default();
                ready.push(Ask::Leave(room_id));
            }
        }
        for (&room_id, room) in &mut self.rooms {
            if !std::mem::replace(&mut room.asking, true) {
                ready.push(Ask::Join(room_id));
            }
        }
        ready.extend(self.sends.keys().map(|&key| Ask::Send(key)));
        self.online = Some(Online {
            me: welcome.user.id,
            max_frame: usize::try_from(welcome.limits.max_frame_bytes).unwrap_or(usize::MAX),
            pace,
            asked,
            ready: ready.into(),
            later: BTreeMap::new(),
            wake: None,
            fill_at: now,
            fill_attempts: 0,
            filling: false,
            expiring: false,
            token: None,
        });
        self.outlet.put(Event::Connected(Box::new(welcome)));
    }
}
