//! The queue to threads of our own: the store's, and those for passwords.
//!
//! A thread that finds nothing sleeps at once. One that gave way first would save a wake-up now and then; but whoever gives
//! way comes after all others on its core, and where one of those is a thread for passwords, that is milliseconds later.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

/// The state of a queue.
struct State<T> {
    waiting: VecDeque<T>,
    /// Threads that sleep and were not called yet.
    asleep: usize,
    senders: usize,
    receivers: usize,
}

impl<T> State<T> {
    /// How many threads to call for the `new` ones that wait last.
    fn calls_for(&mut self, new: usize) -> usize {
        let calls = new.min(self.asleep);
        self.asleep -= calls;
        calls
    }
}

struct Shared<T> {
    /// How many may wait.
    limit: usize,
    state: Mutex<State<T>>,
    more: Condvar,
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, threads: usize) {
        for _ in 0..threads {
            self.more.notify_one();
        }
    }
}

/// Why something was not queued; it comes back.
pub(crate) enum Refused<T> {
    /// As many wait as may.
    Full(T),
    /// There is no thread any more.
    Gone(T),
}

/// The way in. The threads end when the last one is gone and nothing waits any more.
pub(crate) struct Sender<T>(Arc<Shared<T>>);

/// The way out, for a thread.
pub(crate) struct Receiver<T>(Arc<Shared<T>>);

/// A queue in which `limit` may wait. It takes memory for what waits, and not for what may.
pub(crate) fn queue<T>(limit: usize) -> (Sender<T>, Receiver<T>) {
    let state = State { waiting: VecDeque::new(), asleep: 0, senders: 1, receivers: 1 };
    let shared = Arc::new(Shared { limit, state: Mutex::new(state), more: Condvar::new() });
    (Sender(shared.clone()), Receiver(shared))
}

impl<T> Sender<T> {
    /// Queues something.
    ///
    /// # Errors
    /// [`Refused`], with what was to be queued.
    pub(crate) fn send(&self, what: T) -> Result<(), Refused<T>> {
        let mut state = self.0.state();
        if state.receivers == 0 {
            return Err(Refused::Gone(what));
        }
        if state.waiting.len() >= self.0.limit {
            return Err(Refused::Full(what));
        }
        state.waiting.push_back(what);
        let calls = state.calls_for(1);
        drop(state);
        self.0.call(calls);
        Ok(())
    }

    /// Queues several at once: whoever takes them next finds them all.
    ///
    /// # Errors
    /// [`Refused`], with those that found no place.
    pub(crate) fn send_all(&self, mut all: Vec<T>) -> Result<(), Refused<Vec<T>>> {
        let mut state = self.0.state();
        if state.receivers == 0 {
            return Err(Refused::Gone(all));
        }
        let place = self.0.limit.saturating_sub(state.waiting.len());
        let rest = all.split_off(place.min(all.len()));
        let new = all.len();
        state.waiting.extend(all);
        let calls = state.calls_for(new);
        drop(state);
        self.0.call(calls);
        if rest.is_empty() { Ok(()) } else { Err(Refused::Full(rest)) }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.0.state().waiting.len()
    }
}

impl<T> Receiver<T> {
    /// Takes what waits, `limit` at most and one at least, in order; false when nothing will come any more.
    pub(crate) fn take(&self, into: &mut Vec<T>, limit: usize) -> bool {
        let mut state = self.sleep();
        let count = state.waiting.len().min(limit);
        into.extend(state.waiting.drain(..count));
        count > 0
    }

    /// Takes the next, and waits for it; none when nothing will come any more.
    pub(crate) fn next(&self) -> Option<T> {
        self.sleep().waiting.pop_front()
    }

    /// Takes the next, where one waits.
    pub(crate) fn next_now(&self) -> Option<T> {
        self.0.state().waiting.pop_front()
    }

    /// Sleeps until something waits, or nothing will come any more.
    fn sleep(&self) -> MutexGuard<'_, State<T>> {
        let mut state = self.0.state();
        while state.waiting.is_empty() && state.senders > 0 {
            state.asleep += 1;
            // Whoever wakes for no reason is counted twice, and called once too often some day.
            state = self.0.more.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.state().senders += 1;
        Self(self.0.clone())
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.0.state().receivers += 1;
        Self(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.senders -= 1;
        let last = state.senders == 0;
        drop(state);
        if last {
            self.0.more.notify_all();
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.receivers -= 1;
        // Nobody will take what waits: whoever waits for it hears so now.
        let abandoned = if state.receivers == 0 { std::mem::take(&mut state.waiting) } else { VecDeque::new() };
        drop(state);
        drop(abandoned);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]

    use super::*;

    #[test]
    fn what_waits_is_taken_in_order_and_no_more_than_asked() {
        let (sender, receiver) = queue(5);
        for n in 0..5 {
            assert!(sender.send(n).is_ok());
        }
        assert!(matches!(sender.send(5), Err(Refused::Full(5))));
        assert_eq!((sender.len(), receiver.next_now()), (5, Some(0)));
        let mut taken = Vec::new();
        assert!(receiver.take(&mut taken, 3));
        drop(sender);
        // What waits is still taken when nothing can come any more.
        assert_eq!((taken, receiver.next()), (vec![1, 2, 3], Some(4)));
        assert_eq!((receiver.next(), receiver.next_now()), (None, None));
        assert!(!receiver.take(&mut Vec::new(), 3));
    }

    #[test]
    fn several_are_queued_together_as_far_as_there_is_place() {
        let (sender, receiver) = queue(5);
        assert!(sender.send_all(vec![0, 1, 2]).is_ok());
        assert!(matches!(sender.send_all(vec![3, 4, 5, 6]), Err(Refused::Full(rest)) if rest == [5, 6]));
        assert!(matches!(sender.send_all(vec![7]), Err(Refused::Full(rest)) if rest == [7]));
        assert!(sender.send_all(Vec::new()).is_ok());
        let mut taken = Vec::new();
        assert!(receiver.take(&mut taken, 9));
        assert_eq!(taken, [0, 1, 2, 3, 4]);
        drop(receiver);
        assert!(matches!(sender.send_all(vec![8]), Err(Refused::Gone(rest)) if rest == [8]));
    }

    #[test]
    fn no_more_are_called_than_sleep_or_than_there_is_new_work() {
        let calls = |asleep, new| {
            let mut state = State { waiting: (0..5).collect(), asleep, senders: 1, receivers: 4 };
            let calls = state.calls_for(new);
            assert_eq!(state.asleep, asleep - calls);
            calls
        };
        assert_eq!((calls(0, 2), calls(2, 1), calls(2, 2), calls(1, 2)), (0, 1, 2, 1));
    }

    #[test]
    fn whoever_sleeps_is_called_and_each_job_is_taken_once() {
        let (sender, receiver) = queue(4000);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let receiver = receiver.clone();
                std::thread::spawn(move || {
                    let mut sum = 0;
                    while let Some(n) = receiver.next() {
                        sum += n;
                    }
                    sum
                })
            })
            .collect();
        let senders: Vec<_> = (0..4).map(|_| sender.clone()).collect();
        drop((sender, receiver));
        let sending: Vec<_> = senders
            .into_iter()
            .map(|sender| std::thread::spawn(move || (1..=1000).for_each(|n| assert!(sender.send(n).is_ok()))))
            .collect();
        sending.into_iter().for_each(|thread| thread.join().unwrap());
        let sum: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(sum, 4 * 500_500);
    }

    #[test]
    fn what_nobody_will_take_comes_back_or_is_dropped() {
        let (sender, receiver) = queue(9);
        let waiting = Arc::new(());
        assert!(sender.send(waiting.clone()).is_ok());
        drop(receiver);
        assert_eq!(Arc::strong_count(&waiting), 1);
        assert!(matches!(sender.send(waiting), Err(Refused::Gone(_))));
    }
}
