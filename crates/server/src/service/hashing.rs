//! Password hashing, on threads of its own, one for each core but one, which run where nobody else wants to. A thread that
//! is merely nice may go on for milliseconds when another one wakes; one of Linux' idle class is put aside at once, and a
//! core that runs nothing else counts as free. So a storm of logins takes what chat leaves over. The core left out is for
//! what the scheduler cannot see: two that it counts are often one that is shared.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::{
    error::{Error, Result},
    queue::{Receiver, Refused, Sender, queue},
};

/// Jobs that may wait, a thread: beyond it callers are told to try again. At 250 ms each this is a quarter of a minute.
const WAITING: usize = 64;
/// How nice the threads are to all others (see `nice(1)`), where there is no idle class.
const NICENESS: i32 = 19;

type Job = Box<dyn FnOnce() + Send>;

/// The threads' queue.
pub struct Hasher {
    jobs: Sender<Job>,
    threads: usize,
}

impl Hasher {
    /// Starts the threads; they end with it.
    ///
    /// # Errors
    /// Where a thread cannot be started: a sentence.
    pub fn start() -> Result<Self, String> {
        let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1));
        let (jobs, waiting) = queue(WAITING * threads);
        for index in 0..threads {
            let waiting = waiting.clone();
            std::thread::Builder::new()
                .name(format!("bcrypt-{index}"))
                .spawn(move || work(&waiting))
                .map_err(|e| format!("cannot start a thread for passwords: {e}"))?;
        }
        Ok(Self { jobs, threads })
    }

    /// How many passwords are hashed at once at most.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Jobs that wait for a thread.
    pub fn waiting(&self) -> usize {
        self.jobs.len()
    }

    /// Does a job when a thread is free.
    ///
    /// # Errors
    /// 503 where too many wait.
    pub async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Whoever asked may be gone: nobody pays for that.
            if !tell.is_closed() {
                let _ = tell.send(job());
            }
        });
        self.jobs.send(job).map_err(|e| match e {
            Refused::Full(_) => {
                Error::unavailable("busy", "too many logins at once; try again", Duration::from_secs(2))
            }
            Refused::Gone(_) => Error::internal("the threads for passwords are gone"),
        })?;
        told.await.map_err(|_| Error::internal("a password job panicked; the log says where"))
    }
}

/// On Linux a thread has a priority of its own. Where it cannot be lowered, work goes on all the same.
fn step_back() {
    // Where the process itself is nice, the library's second step, which would undo that, may be refused: no matter.
    #[cfg(target_os = "linux")]
    let idle = thread_priority::set_thread_priority_and_policy(
        thread_priority::thread_native_id(),
        thread_priority::ThreadPriority::Min,
        thread_priority::ThreadSchedulePolicy::Normal(thread_priority::NormalThreadSchedulePolicy::Idle),
    );
    #[cfg(target_os = "linux")]
    if let Err(e) = idle {
        tracing::debug!(error = &e as &dyn std::error::Error, "password threads are not of the idle class");
    }
    if let Err(e) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(error = &e as &dyn std::error::Error, "password threads run at normal priority");
    }
}

fn work(waiting: &Receiver<Job>) {
    step_back();
    while let Some(job) = waiting.next() {
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
    }
}
