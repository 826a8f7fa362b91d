//! What is told when its time has come: presence with its pauses, fresh TURN credentials,
//! and the end of what has rung long enough. One task for all
//! connections, which sleeps while there is nothing to tell.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, Weak, atomic::Ordering},
    time::Duration,
};

use mesh_protocol::{PeerId, event::rtc::IceServers};
use tokio::{sync::Notify, time::Instant};

use super::{
    conn::Conn,
    hub::{Hub, locked},
};
use crate::{
    domain::outqueue::Class,
    service::{ice, presence::News},
};

/// How long what changes is gathered after a look: many who come at once wake the ticker once.
const GATHER: Duration = Duration::from_millis(5);

/// What waits for its time.
pub(super) struct Ticks {
    began: Instant,
    wake: Notify,
    /// Who gets a fresh TURN credential, by when (Unix milliseconds) and connection number.
    ice: Mutex<BTreeMap<(i64, u64), Weak<Conn>>>,
}

impl Ticks {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), wake: Notify::new(), ice: Mutex::default() }
    }

    /// Makes the ticker look at the times anew.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// The connection is gone.
    pub(super) fn forget(&self, conn: &Conn) {
        let due = conn.ice_due.load(Ordering::Acquire);
        if due != 0 {
            locked(&self.ice).remove(&(due, conn.number));
        }
    }
}

/// Does what is due until the house stops.
pub(super) async fn run(hub: &Arc<Hub>) {
    let app = hub.app().clone();
    loop {
        let now = u64::try_from(hub.ticks.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (news, next_news) = app.presence.due(now);
        hub.tell_news(&news);
        let wall = app.clock.now_ms();
        let next_ice = hub.push_ice_servers(wall);
        let next_session = hub.time_sessions(wall);
        let next_ring = hub.expire_rings(wall);
        let waits = [
            next_news.map(|at| at.saturating_sub(now)),
            next_ice.map(|at| u64::try_from(at.saturating_sub(wall)).unwrap_or(0)),
            next_session.map(|at| u64::try_from(at.saturating_sub(wall)).unwrap_or(0)),
            next_ring.map(|at| u64::try_from(at.saturating_sub(wall)).unwrap_or(0)),
        ];
        let wait = waits.into_iter().flatten().min().map(|ms| Duration::from_millis(ms.max(1)));
        tokio::time::sleep(GATHER).await;
        tokio::select! {
            () = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait.saturating_sub(GATHER)).await,
                    None => std::future::pending().await,
                }
            } => {}
            () = app.presence.changed() => {}
            () = hub.ticks.wake.notified() => {}
            () = app.tasks.hard_stop() => break,
        }
    }
}

impl Hub {
    /// Tells each room its news, which come room by room, as one piece.
    fn tell_news(&self, news: &[News]) {
        for news in news.chunk_by(|one, next| one.room() == next.room()) {
            let Some(room) = news.first().map(News::room) else { continue };
            let Some(topic) = self.topic(room) else { continue };
            let to = room.to_string();
            let frame = |news: &News| match news {
                News::Peer(update) => self.encoder.event_from(update, update.peer_id.as_str(), &to, None),
                News::Count(summary) => self.encoder.event(summary, &to, None),
            };
            let frames = match news {
                [one] => frame(one),
                several => several.iter().map(frame).collect::<Vec<_>>().concat().into(),
            };
            // The last word must come: who is too slow for it resumes.
            locked(&topic).tell(Class::Ordered, &frames, None, &self.encoder);
        }
    }

    /// The connection was given TURN credentials now: it gets fresh ones in time.
    pub(super) fn ice_servers_given(&self, conn: &Arc<Conn>) {
        let Some(after) = ice::refresh_after_ms(&self.app().config) else { return };
        let due = self.app().clock.now_ms().saturating_add(after);
        let first = {
            let mut waiting = locked(&self.ticks.ice);
            waiting.insert((due, conn.number), Arc::downgrade(conn));
            conn.ice_due.store(due, Ordering::Release);
            waiting.first_key_value().is_some_and(|((at, _), _)| *at == due)
        };
        // It may have gone meanwhile.
        if !self.has(conn) {
            self.ticks.forget(conn);
        } else if first {
            self.ticks.wake();
        }
    }

    /// Gives fresh TURN credentials to those whose turn it is; when the next one's turn is.
    fn push_ice_servers(&self, now: i64) -> Option<i64> {
        loop {
            let conn = {
                let mut waiting = locked(&self.ticks.ice);
                let entry = waiting.first_entry()?;
                let (due, _) = *entry.key();
                if due > now {
                    return Some(due);
                }
                entry.remove().upgrade()
            };
            let Some(conn) = conn else { continue };
            let fresh = IceServers {
                ice_servers: ice::servers(self.app(), conn.user),
                ttl: self.app().config.turn_ttl_seconds,
            };
            let to = conn.peer().map_or("server", PeerId::as_str);
            conn.push(Class::Reply, self.encoder.event(&fresh, to, None));
            self.ice_servers_given(&conn);
        }
    }
}
