//! Many sends with one system call: Linux's `io_uring`, where the system lets us; see ADR 0006.
//!
//! Only sends that do not wait are given to it, and all of them have ended when [`Uring::send`] returns: nothing stays under
//! way, so that nothing needs to be cancelled.

use std::os::fd::RawFd;

use bytes::Bytes;

/// What a socket is to be sent, and how much of it was taken.
pub(super) struct Sending {
    /// Whoever made this keeps it open.
    to: RawFd,
    bytes: Bytes,
    sent: usize,
}

impl Sending {
    pub(super) const fn new(to: RawFd, bytes: Bytes) -> Self {
        Self { to, bytes, sent: 0 }
    }

    /// Bytes that the socket took: 0 also where it was not asked, or where that failed. Why, a send of one's own tells.
    pub(super) const fn sent(&self) -> usize {
        self.sent
    }
}

pub(super) use imp::Uring;

#[cfg(target_os = "linux")]
mod imp {
    use std::io;

    use io_uring::{IoUring, Probe, opcode, types::Fd};
    use rustix::net::SendFlags;

    use super::Sending;

    /// Neither waits nor raises a signal.
    const FLAGS: i32 = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL).bits().cast_signed();

    /// A ring, unless the system has none for us (an old kernel, a container's filter) or it failed.
    pub(in super::super) struct Uring {
        ring: Option<IoUring>,
    }

    impl Uring {
        /// A ring for `most` sends at once.
        pub(in super::super) fn open(most: u32) -> Self {
            let opened = || {
                let (ring, mut probe) = (IoUring::new(most)?, Probe::new());
                ring.submitter().register_probe(&mut probe)?;
                if !probe.is_supported(opcode::Send::CODE) {
                    return Err(io::ErrorKind::Unsupported.into());
                }
                Ok(ring)
            };
            let ring = opened()
                .inspect_err(|e: &io::Error| tracing::debug!(error = %e, "no io_uring: each send is a system call"))
                .ok();
            Self { ring }
        }

        /// As on a system that has none.
        #[cfg(test)]
        pub(in super::super) const fn closed() -> Self {
            Self { ring: None }
        }

        /// Whether it can be used.
        pub(in super::super) const fn is_open(&self) -> bool {
            self.ring.is_some()
        }

        /// Sends to each what its socket takes at once. Where the ring fails it is closed, and the rest is not sent.
        pub(in super::super) fn send(&mut self, sends: &mut [Sending]) {
            let Some(mut ring) = self.ring.take() else { return };
            if all_sent(&mut ring, sends).inspect_err(|e| tracing::warn!(error = %e, "io_uring failed")).is_ok() {
                self.ring = Some(ring);
            }
        }
    }

    /// The same. After an error the ring may hold sends that the kernel has not taken: it must not be used again.
    #[expect(unsafe_code, reason = "the kernel is given addresses; ADR 0006")]
    fn all_sent(ring: &mut IoUring, sends: &mut [Sending]) -> io::Result<()> {
        let mut under_way = 0;
        let mut queue = ring.submission();
        for (number, sending) in (0..).zip(&*sends) {
            let length = u32::try_from(sending.bytes.len()).unwrap_or(u32::MAX);
            let send = opcode::Send::new(Fd(sending.to), sending.bytes.as_ptr(), length).flags(FLAGS);
            // SAFETY: `sends` holds the bytes for longer than this function runs. It returns when the kernel has done with
            // each send that it took; those that it did not take are dropped with the ring, unread.
            if unsafe { queue.push(&send.build().user_data(number)) }.is_err() {
                break;
            }
            under_way += 1;
        }
        drop(queue);
        while under_way > 0 {
            let entered = ring.submit_and_wait(under_way);
            for done in ring.completion() {
                under_way -= 1;
                let place = usize::try_from(done.user_data()).ok().and_then(|number| sends.get_mut(number));
                if let (Some(sending), Ok(sent)) = (place, usize::try_from(done.result())) {
                    sending.sent = sent;
                }
            }
            match entered {
                Err(e) if e.kind() != io::ErrorKind::Interrupted && ring.submission().len() == under_way => {
                    return Err(e);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use super::Sending;

    /// There is none elsewhere.
    pub(in super::super) struct Uring;

    impl Uring {
        pub(in super::super) const fn open(_: u32) -> Self {
            Self
        }

        pub(in super::super) const fn is_open(&self) -> bool {
            false
        }

        pub(in super::super) const fn send(&mut self, _: &mut [Sending]) {}
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        io::{Read as _, Write as _},
        os::{fd::AsRawFd as _, unix::net::UnixStream},
    };

    use super::*;

    #[test]
    fn each_socket_takes_what_it_can() {
        let mut uring = Uring::open(4);
        let pairs: Vec<_> = (0..5).map(|_| UnixStream::pair().unwrap()).collect();
        let [(idle, hears), (full, _), (hung_up, other), (second, hears_too), (beyond, _)] = pairs.try_into().unwrap();
        full.set_nonblocking(true).unwrap();
        while (&full).write(&[0; 4096]).is_ok() {}
        drop(other);
        let words: Vec<_> = ["one", "two", "three", "four", "five"].map(Bytes::from).into();
        let sockets = [&idle, &full, &hung_up, &second, &beyond].map(|socket| socket.as_raw_fd());
        let mut sends: Vec<_> = sockets.into_iter().zip(words).map(|(to, bytes)| Sending::new(to, bytes)).collect();
        uring.send(&mut sends);
        let sent: Vec<_> = sends.iter().map(Sending::sent).collect();
        if !uring.is_open() {
            // A system without it, or a container's filter: nobody was sent anything.
            assert_eq!(sent, [0; 5]);
            return;
        }
        assert_eq!(sent, [3, 0, 0, 4, 0], "neither waits, and the ring has room for four");
        for (mut hears, word) in [(&hears, "one"), (&hears_too, "four")] {
            let mut heard = vec![0; word.len()];
            hears.read_exact(&mut heard).unwrap();
            assert_eq!(heard, word.as_bytes());
        }
        // It goes on as if nothing had been.
        let mut again = [Sending::new(second.as_raw_fd(), Bytes::from_static(b"again"))];
        uring.send(&mut again);
        assert_eq!((again[0].sent(), uring.is_open()), (5, true));
    }

    #[test]
    fn a_ring_that_is_closed_sends_nothing() {
        let (socket, mut other) = UnixStream::pair().unwrap();
        let mut sends = [Sending::new(socket.as_raw_fd(), Bytes::from_static(b"word"))];
        Uring::closed().send(&mut sends);
        assert_eq!(sends[0].sent(), 0);
        drop(socket);
        assert_eq!(other.read(&mut [0; 8]).unwrap(), 0);
    }
}
