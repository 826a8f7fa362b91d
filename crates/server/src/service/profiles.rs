//! Who is who, as lately read: a client that asks who it is, again and again, costs no query.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use mesh_protocol::{UserId, model::User};
use quick_cache::sync::Cache;

use super::auth::BELIEVED_MS;

/// Accounts remembered at most.
const REMEMBERED: usize = 20_000;

/// The accounts read lately. What this process changes is forgotten at once; what another one has changed is seen
/// within [`BELIEVED_MS`].
pub struct Profiles {
    seen: Cache<UserId, Arc<(User, i64)>>,
    /// How often something was forgotten: what was read of the store before that is not remembered.
    forgotten: AtomicU64,
}

impl Profiles {
    /// None yet.
    pub fn new() -> Self {
        Self { seen: Cache::new(REMEMBERED), forgotten: AtomicU64::new(0) }
    }

    /// What was read of an account lately, at `now` (Unix milliseconds).
    pub fn get(&self, id: UserId, now: i64) -> Option<User> {
        let seen = self.seen.get(&id)?;
        ((now - seen.1).abs() < BELIEVED_MS).then(|| seen.0.clone())
    }

    /// The store is about to be asked; [`Self::remember`] wants to know since when.
    pub fn ask(&self) -> u64 {
        self.forgotten.load(Ordering::SeqCst)
    }

    /// Remembers what the store said at `now`, unless something was forgotten since it was `asked`.
    pub fn remember(&self, user: &User, now: i64, asked: u64) {
        self.seen.insert(user.id, Arc::new((user.clone(), now)));
        // Whoever forgets counts first: one of the two takes it away again.
        if self.forgotten.load(Ordering::SeqCst) != asked {
            self.seen.remove(&user.id);
        }
    }

    /// The account was changed.
    pub fn forget(&self, id: UserId) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.seen.remove(&id);
    }
}

impl Default for Profiles {
    fn default() -> Self {
        Self::new()
    }
}
