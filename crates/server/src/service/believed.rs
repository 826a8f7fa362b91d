//! What was read of the store lately, and is believed for a moment: whoever asks again and again costs no query.

use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use quick_cache::sync::Cache;

/// How long something is believed without asking the store, milliseconds. What this process changes is forgotten at once;
/// this is the backstop for what another one changed, as the end of a login must be prompt within a second.
const BELIEVED_MS: i64 = 900;
/// Remembered at most, of one kind.
pub(super) const REMEMBERED: usize = 20_000;

/// Things of one kind that were read lately.
pub struct Believed<K, V> {
    seen: Cache<K, (Arc<V>, i64)>,
    /// How often something was forgotten: what was read of the store before that is not remembered.
    forgotten: AtomicU64,
}

impl<K: Eq + Hash, V> Believed<K, V> {
    /// What was read lately, at `now` (Unix milliseconds).
    pub fn get(&self, key: &K, now: i64) -> Option<Arc<V>> {
        let (value, read_at) = self.seen.get(key)?;
        ((now - read_at).abs() < BELIEVED_MS).then_some(value)
    }

    /// The store is about to be asked; [`Self::remember`] wants to know since when.
    pub fn ask(&self) -> u64 {
        self.forgotten.load(Ordering::SeqCst)
    }

    /// Remembers what the store said at `now`, unless something was forgotten since it was `asked`.
    pub fn remember(&self, key: K, value: Arc<V>, now: i64, asked: u64)
    where
        K: Clone,
    {
        self.seen.insert(key.clone(), (value, now));
        // Whoever forgets counts first: one of the two takes it away again.
        if self.forgotten.load(Ordering::SeqCst) != asked {
            self.seen.remove(&key);
        }
    }

    /// It has changed: the store is asked again.
    pub fn forget(&self, key: &K) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.seen.remove(key);
    }
}

impl<K: Eq + Hash, V> Default for Believed<K, V> {
    fn default() -> Self {
        Self { seen: Cache::new(REMEMBERED), forgotten: AtomicU64::new(0) }
    }
}
