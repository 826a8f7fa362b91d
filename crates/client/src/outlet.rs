//! The events that wait for the application.

use std::collections::VecDeque;

use crate::Event;

/// A bounded queue in front of the bounded channel: what does not fit is either not taken (messages: history has
/// them) or dropped and counted.
#[derive(Debug)]
pub(crate) struct Outlet {
    queue: VecDeque<Event>,
    capacity: usize,
    dropped: u64,
    closed: bool,
}

impl Outlet {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { queue: VecDeque::new(), capacity: capacity.max(1), dropped: 0, closed: false }
    }

    /// How many messages may be put now.
    pub(crate) fn free(&self) -> usize {
        if self.closed { usize::MAX } else { self.capacity.saturating_sub(self.queue.len()) }
    }

    /// Puts an event; where none fits it is counted as dropped.
    pub(crate) fn put(&mut self, event: Event) {
        if self.closed {
            return;
        }
        if self.free() == 0 {
            self.dropped += 1;
            return;
        }
        self.queue.push_back(event);
    }

    /// The next event.
    pub(crate) fn take(&mut self) -> Option<Event> {
        let event = self.queue.pop_front();
        if event.is_none() && self.dropped > 0 {
            return Some(Event::Lagged { dropped: std::mem::take(&mut self.dropped) });
        }
        event
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.dropped == 0
    }

    /// Nobody listens any more.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.queue.clear();
        self.dropped = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stopped(n: usize) -> Event {
        Event::Stopped { reason: n.to_string() }
    }

    #[test]
    fn bounded_and_honest() {
        let mut outlet = Outlet::new(2);
        (0..5).for_each(|n| outlet.put(stopped(n)));
        assert_eq!(outlet.free(), 0);
        assert!(matches!(outlet.take(), Some(Event::Stopped { reason }) if reason == "0"));
        assert!(matches!(outlet.take(), Some(Event::Stopped { reason }) if reason == "1"));
        assert!(matches!(outlet.take(), Some(Event::Lagged { dropped: 3 })));
        assert!(outlet.take().is_none() && outlet.is_empty());
        outlet.close();
        outlet.put(stopped(9));
        assert!(outlet.is_empty());
    }
}
