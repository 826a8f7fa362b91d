//! New ids and other randomness, passed in.

use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::clock::Clock;

const POOL: usize = 4096;

struct Pool {
    bytes: [u8; POOL],
    used: usize,
}

/// Makes UUIDv7 ids (RFC 9562, section 5.7) and random bytes from the operating system's generator.
#[derive(Clone)]
pub struct Ids {
    clock: Clock,
    // One system call fills what four hundred ids need.
    pool: Arc<Mutex<Pool>>,
}

impl Ids {
    /// Ids that bear the time of `clock`.
    pub fn new(clock: Clock) -> Self {
        Self { clock, pool: Arc::new(Mutex::new(Pool { bytes: [0; POOL], used: POOL })) }
    }

    /// A new UUIDv7.
    pub fn uuid(&self) -> Uuid {
        let millis = u64::try_from(self.clock.now_ms()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &self.random::<10>()).into_uuid()
    }

    /// Unpredictable bytes.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.used + N > POOL {
            // A system without randomness cannot keep a secret: there is nothing sensible to go on with.
            #[allow(clippy::expect_used)]
            getrandom::fill(&mut pool.bytes).expect("the operating system gives random bytes");
            pool.used = 0;
        }
        let start = pool.used;
        pool.used += N;
        let taken = &mut pool.bytes[start..start + N];
        out.copy_from_slice(taken);
        // Used bytes may have become a secret: they don't stay behind.
        taken.fill(0);
        out
    }
}
