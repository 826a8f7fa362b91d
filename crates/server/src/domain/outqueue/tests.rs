#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;

use super::*;

const WOKEN: Push = Push::Pushed { was_empty: true };
const QUEUED: Push = Push::Pushed { was_empty: false };

fn bytes(n: usize) -> Bytes {
    Bytes::from(vec![7; n])
}

/// A queue whose socket took nothing when it was asked.
fn refused(limit: usize) -> OutQueue {
    let mut queue = OutQueue::new(limit);
    queue.refuse();
    queue
}

fn content(queue: &OutQueue) -> Vec<u8> {
    let mut slices = [IoSlice::new(&[]); 4096];
    let n = queue.io_slices(&mut slices);
    let content: Vec<u8> = slices[..n].iter().flat_map(|s| s.to_vec()).collect();
    assert_eq!(n, queue.len_chunks());
    assert_eq!(content.len(), queue.len_bytes());
    assert_eq!(content.is_empty(), queue.is_empty());
    content
}

#[test]
fn is_small_and_empty_without_heap() {
    assert!(size_of::<OutQueue>() <= 80, "{}", size_of::<OutQueue>());
    let mut queue = OutQueue::default();
    for _ in 0..100 {
        assert!(matches!(queue.push(Class::Ordered, bytes(10)), Push::Pushed { .. }));
    }
    assert!(queue.rest.capacity() > 0);
    queue.consume(999);
    assert_eq!(queue.len_chunks(), 1);
    queue.consume(1);
    assert_eq!(queue.rest.capacity(), 0);
    assert_eq!(queue.push(Class::Ordered, bytes(10)), WOKEN);
    assert_eq!(queue.rest.capacity(), 0, "one chunk needs no heap");
}

#[test]
fn writes_in_order_and_in_parts() {
    let mut queue = OutQueue::new(1_000);
    assert_eq!(queue.push(Class::Reply, Bytes::from_static(b"abc")), WOKEN);
    assert_eq!(queue.push(Class::Reply, Bytes::new()), QUEUED);
    assert_eq!(queue.push(Class::Ordered, Bytes::from_static(b"de")), QUEUED);
    assert_eq!(queue.push(Class::Ephemeral, Bytes::from_static(b"f")), QUEUED);
    {
        let mut two = [IoSlice::new(b""); 2];
        assert_eq!(queue.io_slices(&mut two), 2);
        assert_eq!((&*two[0], &*two[1]), (&b"abc"[..], &b"de"[..]));
    }
    assert_eq!(queue.partial(), None);
    queue.consume(0);
    assert_eq!(queue.partial(), None);
    queue.consume(4);
    assert_eq!(queue.partial().map(|b| &b[..]), Some(&b"e"[..]));
    assert_eq!(content(&queue), b"ef");
    queue.consume(1);
    assert_eq!(queue.partial(), None);
    queue.consume(usize::MAX);
    assert!(queue.is_empty());
    assert_eq!(queue.io_slices(&mut [IoSlice::new(b""); 2]), 0);
}

#[test]
fn what_is_begun_alone_stays() {
    let mut queue = refused(1_000);
    assert_eq!(queue.begin_only(), None);
    assert_eq!(queue.push(Class::Ordered, Bytes::from_static(b"begun")), WOKEN);
    assert_eq!(queue.begin_only().as_deref(), Some(&b"begun"[..]));
    assert_eq!(queue.push(Class::Ordered, bytes(500)), QUEUED);
    assert_eq!(queue.begin_only(), None, "there are two");
    // The queue ends while the first is being written.
    assert_eq!(queue.push(Class::Reply, bytes(500)), Push::TooSlow);
    queue.push_last(Bytes::from_static(b"goodbye"));
    assert_eq!(content(&queue), b"begungoodbye");
    queue.consume(3);
    assert_eq!(content(&queue), b"ungoodbye");
    queue.consume(2);
    assert_eq!(queue.begin_only().as_deref(), Some(&b"goodbye"[..]));
}

#[test]
fn drops_the_ephemeral_first() {
    let mut queue = OutQueue::new(4_000);
    assert_eq!(queue.push(Class::Ephemeral, bytes(968)), WOKEN);
    assert_eq!(queue.push(Class::Ephemeral, bytes(1)), QUEUED);
    assert_eq!(queue.push(Class::Ephemeral, bytes(1)), Push::Dropped);
    assert_eq!(queue.push(Class::Reply, bytes(1)), QUEUED);
    queue.consume(968);
    assert_eq!(queue.push(Class::Ephemeral, bytes(4_000)), Push::Dropped);
    assert_eq!(queue.push(Class::Ephemeral, bytes(1)), QUEUED);
    assert!(!queue.is_too_slow());
}

#[test]
fn a_slow_reader_loses_all_but_the_begun_frame() {
    let mut queue = OutQueue::new(1_000);
    assert_eq!(queue.push(Class::Ordered, Bytes::from_static(b"begun")), WOKEN);
    assert_eq!(queue.push(Class::Ordered, bytes(500)), QUEUED);
    queue.consume(2);
    queue.refuse();
    assert_eq!(queue.push(Class::Reply, bytes(500)), Push::TooSlow);
    assert!(queue.is_too_slow());
    assert_eq!(content(&queue), b"gun");
    assert_eq!(queue.push(Class::Ephemeral, bytes(1)), Push::TooSlow);
    queue.push_last(Bytes::from_static(b"goodbye"));
    queue.push_last(Bytes::from_static(b"close"));
    assert_eq!(content(&queue), b"gungoodbyeclose");
    assert_eq!(queue.push(Class::Reply, bytes(1)), Push::TooSlow);

    let mut whole = refused(100);
    assert_eq!(whole.push(Class::Reply, bytes(50)), WOKEN);
    assert_eq!(whole.push(Class::Reply, bytes(50)), Push::TooSlow);
    assert!(whole.is_empty());
}

#[test]
fn an_idle_reader_takes_a_big_batch() {
    for class in [Class::Reply, Class::Ordered, Class::Ephemeral] {
        let mut queue = refused(100);
        assert_eq!(queue.push(class, bytes(100_000)), WOKEN);
        assert_eq!(queue.push(Class::Ephemeral, bytes(1)), Push::Dropped);
        assert_eq!(queue.push(Class::Ordered, bytes(1)), Push::TooSlow);
    }
}

#[test]
fn tiny_chunks_are_bounded_by_what_they_cost() {
    let mut queue = refused(DEFAULT_LIMIT);
    let mut n = 0;
    while queue.push(Class::Reply, Bytes::from_static(b"12")) != Push::TooSlow {
        n += 1;
    }
    assert_eq!(n, DEFAULT_LIMIT / (CHUNK_COST + 2));
}

#[test]
fn the_limit_itself_fits() {
    let second = 1_000 - 2 * CHUNK_COST - 100;
    for (n, expected) in [(second, QUEUED), (second + 1, Push::TooSlow)] {
        let mut queue = refused(1_000);
        assert_eq!(queue.push(Class::Ordered, bytes(100)), WOKEN);
        assert_eq!(queue.push(Class::Ordered, bytes(n)), expected);
    }
}

#[test]
fn whoever_was_not_asked_is_not_slow_before_much_more_waits() {
    let mut queue = OutQueue::new(1_000);
    assert_eq!(queue.push(Class::Ordered, bytes(900)), WOKEN);
    assert_eq!(queue.push(Class::Ephemeral, bytes(1)), Push::Dropped);
    for _ in 0..7 {
        assert_eq!(queue.push(Class::Ordered, bytes(900)), QUEUED);
    }
    // It is asked, takes a part, and is asked again.
    queue.consume(4 * 900);
    assert_eq!(queue.push(Class::Ordered, bytes(900)), QUEUED);
    queue.refuse();
    assert_eq!(queue.push(Class::Ordered, bytes(1)), Push::TooSlow);

    let mut queue = OutQueue::new(1_000);
    for pushed in 0..8 {
        assert_eq!(queue.push(Class::Reply, bytes(900)), Push::Pushed { was_empty: pushed == 0 });
    }
    assert_eq!(queue.push(Class::Reply, bytes(900)), Push::TooSlow, "not without end");
}

#[test]
fn ends_without_being_slow() {
    let mut queue = OutQueue::default();
    let _ = queue.push(Class::Reply, bytes(3));
    queue.end();
    assert!(queue.is_empty() && !queue.is_too_slow());
    assert_eq!(queue.push(Class::Reply, bytes(3)), Push::TooSlow);
}

/// The rules again, written the slow way.
#[derive(Default)]
struct Model {
    chunks: Vec<Vec<u8>>,
    written_of_first: usize,
    limit: usize,
    refused: bool,
    dead: bool,
}

impl Model {
    fn cost(&self) -> usize {
        self.content().len() + self.chunks.len() * CHUNK_COST
    }

    fn content(&self) -> Vec<u8> {
        self.chunks.concat().split_off(self.written_of_first)
    }

    fn push(&mut self, class: Class, chunk: Vec<u8>) -> Push {
        if self.dead {
            return Push::TooSlow;
        }
        let was_empty = self.chunks.is_empty();
        let fits = |limit| was_empty || self.cost() + chunk.len() + CHUNK_COST <= limit;
        match class {
            Class::Ephemeral if !was_empty && (!fits(self.limit) || self.cost() > self.limit / 4) => {
                return Push::Dropped;
            }
            Class::Reply | Class::Ordered if !fits(if self.refused { self.limit } else { 8 * self.limit }) => {
                self.dead = true;
                self.chunks.truncate(usize::from(self.written_of_first > 0));
                return Push::TooSlow;
            }
            _ => {}
        }
        self.chunks.push(chunk);
        Push::Pushed { was_empty }
    }

    fn consume(&mut self, mut n: usize) {
        if n > 0 {
            self.refused = false;
        }
        while n > 0 && !self.chunks.is_empty() {
            self.written_of_first += 1;
            n -= 1;
            if self.written_of_first == self.chunks[0].len() {
                self.chunks.remove(0);
                self.written_of_first = 0;
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Act {
    Push(Class, usize),
    Write(usize, usize),
    Refuse,
    Last(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let class = prop_oneof![Just(Class::Reply), Just(Class::Ordered), Just(Class::Ephemeral)];
    prop_oneof![
        20 => (class, 1usize..120).prop_map(|(class, n)| Act::Push(class, n)),
        15 => (1usize..5, 0usize..300).prop_map(|(slots, n)| Act::Write(slots, n)),
        10 => Just(Act::Refuse),
        1 => (1usize..50).prop_map(Act::Last),
    ]
}

proptest! {
    #[test]
    fn behaves_like_the_model(limit in 100usize..1_500, acts in prop::collection::vec(act(), 0..150)) {
        let mut queue = OutQueue::new(limit);
        let mut model = Model { limit, ..Model::default() };
        let (mut sent, mut pushed) = (Vec::new(), Vec::new());
        let mut fill = 0u8;
        for act in acts {
            match act {
                Act::Push(class, n) => {
                    fill = fill.wrapping_add(1);
                    let chunk = vec![fill; n];
                    let expected = model.push(class, chunk.clone());
                    prop_assert_eq!(queue.push(class, chunk.clone().into()), expected);
                    match expected {
                        Push::Pushed { .. } => pushed.extend(chunk),
                        // The stream goes on with what was begun, and nothing else of what waited.
                        Push::TooSlow => pushed = [&sent[..], &model.content()].concat(),
                        Push::Dropped => {}
                    }
                }
                Act::Write(slots, at_most) => {
                    let mut slices = [IoSlice::new(b""); 5];
                    let n = queue.io_slices(&mut slices[..slots]);
                    prop_assert_eq!(n, model.chunks.len().min(slots));
                    let offered: Vec<u8> =
                        slices[..n].iter().flat_map(|slice| slice.to_vec()).collect();
                    let written = at_most.min(offered.len());
                    sent.extend(&offered[..written]);
                    queue.consume(written);
                    model.consume(written);
                }
                Act::Refuse => {
                    queue.refuse();
                    model.refused = true;
                }
                Act::Last(n) => {
                    fill = fill.wrapping_add(1);
                    queue.push_last(vec![fill; n].into());
                    model.dead = true;
                    model.chunks.push(vec![fill; n]);
                    pushed.extend(vec![fill; n]);
                }
            }
            prop_assert_eq!(content(&queue), model.content());
            prop_assert_eq!(queue.partial().is_some(), model.written_of_first > 0);
            prop_assert!(!queue.is_empty() || queue.rest.capacity() == 0);
        }
        let rest = content(&queue);
        sent.extend(&rest);
        queue.consume(rest.len());
        prop_assert!(queue.is_empty() && queue.len_bytes() == 0);
        prop_assert_eq!(sent, pushed);
    }
}
