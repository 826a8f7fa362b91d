//! Everything that a running server holds, built once, in visible order.

use std::sync::Arc;

use mesh_protocol::{UserId, model::User};

use crate::{
    clock::Clock,
    config::Config,
    ids::Ids,
    keys::Keys,
    metrics::Metrics,
    push::Push,
    service::{
        admin::Counted, audit::Failures, auth::Callers, believed::Believed, hashing::Hasher, health::ClockJump,
        limits::Limits, presence::Presence,
    },
    store::Db,
    tasks::Tasks,
    trace::Tracer,
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
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Makes traces, where somebody wants them.
    pub tracer: Option<Arc<Tracer>>,
    /// Starts and stops tasks.
    pub tasks: Tasks,
    /// Who is connected.
    pub presence: Presence,
    /// Logins seen lately, so that a request costs no query.
    pub callers: Arc<Callers>,
    /// Accounts seen lately, likewise.
    pub profiles: Believed<UserId, User>,
    /// What was tried lately, against guessing.
    pub limits: Limits,
    /// Which failed logins the audit log may still take.
    pub login_failures: Failures,
    /// How much of everything there was lately.
    pub counted: Counted,
    /// Whether the wall clock was moved lately.
    pub clock_jump: ClockJump,
    /// When this process started, Unix milliseconds.
    pub started_ms: i64,
    /// Where push goes.
    pub push: Arc<Push>,
    /// Hashes passwords beside everything else: a storm of logins must not slow chat down.
    pub hasher: Hasher,
}

impl App {
    /// Puts the parts together.
    ///
    /// # Errors
    /// Where threads cannot be started: a sentence.
    pub fn new(
        config: Config,
        keys: Keys,
        ids: Ids,
        clock: Clock,
        db: Db,
        callers: Arc<Callers>,
        tasks: Tasks,
    ) -> Result<Arc<Self>, String> {
        let metrics = Metrics::new();
        Ok(Arc::new(Self {
            tracer: Tracer::new(&config, &ids, &clock, &metrics),
            keys,
            ids,
            db,
            metrics,
            tasks,
            clock_jump: ClockJump::default(),
            started_ms: clock.now_ms(),
            clock,
            presence: Presence::default(),
            callers,
            profiles: Believed::default(),
            limits: Limits::new(config.login_attempts),
            login_failures: Failures::default(),
            counted: Counted::default(),
            push: Arc::new(Push::new(&config)?),
            hasher: Hasher::start()?,
            config,
        }))
    }
}
