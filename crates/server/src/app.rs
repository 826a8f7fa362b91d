//! Everything that a running server holds, built once, in visible order.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::{
    clock::Clock,
    config::Config,
    ids::Ids,
    keys::Keys,
    service::{accounts::hashing_queue_length, auth::Callers, limits::Limits, presence::Presence},
    store::Db,
    tasks::Tasks,
};

/// What the use-cases work with.
pub struct App {
    /// The settings in force.
    pub config: Config,
    /// The time.
    pub clock: Clock,
    /// New ids and randomness.
    pub ids: Ids,
    /// The way to the database.
    pub db: Db,
    /// Signs and verifies tokens.
    pub keys: Keys,
    /// Starts and stops tasks.
    pub tasks: Tasks,
    /// Who is connected.
    pub presence: Presence,
    /// Logins seen lately, so that a request costs no query.
    pub callers: Callers,
    /// What was tried lately, against guessing.
    pub limits: Limits,
    /// A permit a core for password hashing: a storm of logins must not take them all from chat.
    pub hashing: Semaphore,
    /// A permit a password job that may wait at all.
    pub hashing_queue: Semaphore,
}

impl App {
    /// Puts the parts together.
    pub fn new(config: Config, keys: Keys, ids: Ids, clock: Clock, db: Db, tasks: Tasks) -> Arc<Self> {
        Arc::new(Self {
            keys,
            ids,
            db,
            tasks,
            clock,
            presence: Presence::default(),
            callers: Callers::new(),
            limits: Limits::new(config.login_attempts),
            hashing: Semaphore::new(std::thread::available_parallelism().map_or(2, usize::from)),
            hashing_queue: Semaphore::new(hashing_queue_length()),
            config,
        })
    }
}
