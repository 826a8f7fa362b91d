//! Writing for many connections at once: a fan-out to a room wakes one task for each core instead of one for each
//! listener, which would find in its turn nothing to do but write.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, atomic::Ordering},
};

use tokio::sync::Notify;

use super::{conn::Conn, hub::locked, uring::Uring};
use crate::tasks::Tasks;

/// Connections that a writer takes from the list at once; where it is put aside by the system, so many wait for it.
const AT_ONCE: usize = 32;
/// The same where one system call writes for all of them: the more, the less each costs.
const TOGETHER: u32 = 512;

/// The connections that are to be written for. Each stands on the list once at most.
#[derive(Default)]
struct List {
    waiting: Mutex<VecDeque<Arc<Conn>>>,
    wake: Notify,
}

/// The writers' list.
#[derive(Clone)]
pub(super) struct Writers {
    list: Arc<List>,
}

impl Writers {
    /// Starts a writer for each core.
    pub(super) fn start(tasks: &Tasks) -> Self {
        let list = Arc::new(List::default());
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            let (list, house) = (list.clone(), tasks.clone());
            tasks.spawn("writer", async move { list.write(&house).await });
        }
        Self { list }
    }

    /// Has the queues of these connections written.
    pub(super) fn write<'a>(&self, conns: impl Iterator<Item = &'a Arc<Conn>>) {
        // Whoever is listed already is written for later, with all that waits then.
        let new: Vec<_> = conns.filter(|conn| !conn.listed.swap(true, Ordering::AcqRel)).cloned().collect();
        if !new.is_empty() {
            locked(&self.list.waiting).extend(new);
            self.list.wake.notify_one();
        }
    }
}

impl List {
    /// Takes the next, so many at most; whether others are left.
    fn take(&self, most: usize) -> (Vec<Arc<Conn>>, bool) {
        let mut waiting = locked(&self.waiting);
        let count = waiting.len().min(most);
        let part = waiting.drain(..count).collect();
        (part, !waiting.is_empty())
    }

    /// Writes for whoever is listed, until the house stops.
    async fn write(&self, tasks: &Tasks) {
        let mut uring = Uring::open(TOGETHER);
        loop {
            let (part, more) = self.take(if uring.is_open() { TOGETHER as usize } else { AT_ONCE });
            if more {
                self.wake.notify_one();
            }
            if part.is_empty() {
                tokio::select! {
                    () = self.wake.notified() => continue,
                    () = tasks.hard_stop() => return,
                }
            }
            flush_all(part, &mut uring);
            tokio::task::yield_now().await;
        }
    }
}

/// Writes for each what its socket takes: with one system call for those that have one piece to write, as after a message
/// to their room.
fn flush_all(conns: Vec<Arc<Conn>>, uring: &mut Uring) {
    let mut lent = Vec::with_capacity(conns.len());
    let mut sends = Vec::with_capacity(conns.len());
    let together = conns.len() > 1 && uring.is_open();
    for conn in conns {
        // What is queued from here on needs a new entry.
        conn.listed.store(false, Ordering::Release);
        if !together {
            conn.flush();
        } else if let Some(sending) = conn.lend_or_flush() {
            sends.push(sending);
            lent.push(conn);
        }
    }
    uring.send(&mut sends);
    for (conn, sending) in lent.iter().zip(&sends) {
        conn.give_back(sending.sent());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bytes::Bytes;
    use mesh_protocol::{CloseCode, SessionId, UserId, model::UserRole};
    use tokio::{
        io::AsyncReadExt as _,
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::{domain::outqueue::Class, realtime::conn::Close, service::auth::Caller, tls::Stream};

    /// A connection and its client.
    async fn open(listener: &TcpListener, number: u64) -> (Arc<Conn>, TcpStream) {
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (io, _) = listener.accept().await.unwrap();
        let conn = Conn::new(
            number,
            Caller {
                user_id: UserId::new(uuid::Uuid::nil()),
                session_id: SessionId::new(uuid::Uuid::nil()),
                username: "user".into(),
                role: UserRole::User,
                expires_at: i64::MAX,
                scopes: None,
            },
            false,
        );
        conn.outbox().io = Some(Stream::Plain(io));
        (Arc::new(conn), client)
    }

    fn says(conn: &Conn, words: &str) {
        conn.push(Class::Ordered, Bytes::from(words.to_owned()));
    }

    async fn hears(client: &mut TcpStream, words: &str) {
        let mut heard = vec![0; words.len()];
        client.read_exact(&mut heard).await.unwrap();
        assert_eq!(String::from_utf8(heard).unwrap(), words);
    }

    #[tokio::test]
    async fn everybody_is_written_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // More than the ring takes at once, and without one.
        for mut uring in [Uring::open(8), Uring::closed()] {
            let mut all = Vec::new();
            for number in 0..20 {
                all.push(open(&listener, number).await);
            }
            for turn in 0..3 {
                for (conn, _) in &all {
                    conn.listed.store(true, Ordering::Release);
                    says(conn, &format!("{turn} to {}", conn.number));
                    if conn.number % 3 == 0 {
                        says(conn, "and more");
                    }
                }
                flush_all(all.iter().map(|(conn, _)| conn.clone()).collect(), &mut uring);
                for (conn, client) in &mut all {
                    hears(client, &format!("{turn} to {}", conn.number)).await;
                    if conn.number % 3 == 0 {
                        hears(client, "and more").await;
                    }
                    assert!(conn.outbox().queue.is_empty() && !conn.listed.load(Ordering::Acquire));
                }
            }
        }
    }

    #[tokio::test]
    async fn what_a_socket_does_not_take_stays_in_its_place() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for mut uring in [Uring::open(8), Uring::closed()] {
            let ((slow, mut reads_late), (quick, mut reads)) = (open(&listener, 1).await, open(&listener, 2).await);
            let mut said = String::new();
            // Until the system holds no more for it.
            while slow.outbox().queue.is_empty() {
                let words = format!("{:060000}", said.len());
                says(&slow, &words);
                said += &words;
                says(&quick, "quick");
                flush_all(vec![slow.clone(), quick.clone()], &mut uring);
                hears(&mut reads, "quick").await;
            }
            says(&slow, "last");
            said += "last";
            let write = async {
                loop {
                    flush_all(vec![slow.clone(), quick.clone()], &mut uring);
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                () = hears(&mut reads_late, &said) => {}
                () = write => {}
            }
        }
    }

    #[tokio::test]
    async fn a_socket_that_is_lent_is_nobody_elses() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (conn, mut client) = open(&listener, 1).await;
        assert!(conn.lend_or_flush().is_none(), "nothing waits");
        says(&conn, "first");
        assert!(conn.lend_or_flush().is_some());
        says(&conn, "second");
        assert!(conn.lend_or_flush().is_none());
        conn.flush();
        assert_eq!(conn.outbox().queue.len_bytes(), "firstsecond".len(), "whoever has it writes");
        // None of it was sent: all is, in order, when it comes back.
        conn.give_back(0);
        hears(&mut client, "firstsecond").await;

        // A writer that was put aside by the system makes nobody a slow reader.
        says(&conn, "first");
        assert!(conn.lend_or_flush().is_some());
        let words = "0".repeat(600_000);
        for _ in 0..4 {
            says(&conn, &words);
        }
        assert!(!conn.is_closing());
        conn.give_back("first".len() - 1);
        let all = format!("t{}", words.repeat(4));
        let write = async {
            loop {
                conn.flush();
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = hears(&mut client, &all) => {}
            () = write => {}
        }
        // The socket refuses what nobody reads: now the reader is slow.
        while !conn.is_closing() {
            says(&conn, &words);
            conn.flush();
        }

        // It ends meanwhile: the socket stays until it comes back.
        let (conn, mut client) = open(&listener, 3).await;
        says(&conn, "third");
        assert!(conn.lend_or_flush().is_some());
        conn.outbox().end();
        assert!(conn.outbox().io.is_some());
        conn.give_back("third".len());
        assert!(conn.outbox().io.is_none() && conn.outbox().queue.is_empty());
        assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);

        // Parting is the task's own affair.
        let (conn, _client) = open(&listener, 2).await;
        says(&conn, "words");
        conn.close(Close::new(CloseCode::Normal, "closed"));
        assert!(conn.lend_or_flush().is_none());
        assert_eq!(conn.outbox().queue.len_bytes(), "words".len());
    }
}
