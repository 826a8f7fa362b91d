//! Compression of messages (permessage-deflate, RFC 7692), without a window that lasts.
//!
//! Each message is compressed by itself (`server_no_context_takeover`, `client_no_context_takeover`): a connection holds no
//! window and no state, one compressor and one decompressor a thread serve all, and an event is compressed once for all who
//! get it. What a message tells by its length it tells of itself alone.

use std::cell::RefCell;

use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::{FIN, Opcode, RSV1, Violation, encode};

/// What the extension is called in a handshake (RFC 7692, section 7).
const NAME: &str = "permessage-deflate";
/// The window that messages are compressed with, as the logarithm of its bytes: 4 KiB, where most messages have less than one.
const WINDOW_BITS: u8 = 12;
/// The smallest payload that is worth the time, in bytes.
const WORTH: usize = 128;
/// The end of a compressed message, which is not sent (RFC 7692, section 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];
/// Streams that one message may consist of: a sender that ends one begins the next (RFC 7692, section 7.2.3.4), seldom more.
const MAX_STREAMS: usize = 16;
/// The largest piece of frames of which both forms are kept for the next who gets it, in bytes.
const KEPT: usize = 128 * 1024;

thread_local! {
    static PACKER: RefCell<Packer> = RefCell::new(Packer::default());
    static INFLATER: RefCell<Inflater> = RefCell::new(Inflater::default());
}

/// The answer to what a client offers in its `Sec-WebSocket-Extensions`, the first offer that can be kept; none where there is
/// no such offer (RFC 7692, sections 5.1 and 7.1).
#[must_use]
pub fn accept<'a>(offers: impl IntoIterator<Item = &'a str>) -> Option<String> {
    offers.into_iter().flat_map(|header| header.split(',')).find_map(accept_one)
}

fn accept_one(offer: &str) -> Option<String> {
    let mut parts = offer.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case(NAME) {
        return None;
    }
    let mut seen = Vec::new();
    for parameter in parts {
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(value.trim_start().trim_matches('"'))),
            None => (parameter, None),
        };
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        let bits = |text: &str| text.parse().ok().filter(|bits| digits(text) && (8..=15).contains(bits));
        match (name, value) {
            ("server_no_context_takeover" | "client_no_context_takeover" | "client_max_window_bits", None) => {}
            ("client_max_window_bits", Some(value)) => {
                let _: u8 = bits(value)?;
            }
            // Ours is as large as it is.
            ("server_max_window_bits", Some(value)) if bits(value)? >= WINDOW_BITS => {}
            _ => return None,
        }
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
    }
    let mut answer = format!("{NAME}; server_no_context_takeover; client_no_context_takeover");
    if seen.contains(&"server_max_window_bits") {
        answer.push_str(&format!("; server_max_window_bits={WINDOW_BITS}"));
    }
    Some(answer)
}

/// Frames of the server's, whole ones, as a connection gets them that has agreed to compression.
#[must_use]
pub fn pack(frames: Bytes) -> Bytes {
    if frames.len() < WORTH {
        return frames;
    }
    PACKER.with_borrow_mut(|packer| packer.pack(frames))
}

/// Compresses frames, and remembers the last ones, which are given to one listener after the other.
#[derive(Default)]
struct Packer {
    deflate: Option<Compress>,
    /// Where messages are compressed, before their length is known.
    place: Vec<u8>,
    /// What was compressed last, and to what. It is held, so that nothing else can lie where it lies.
    last: (Bytes, Bytes),
}

impl Packer {
    fn pack(&mut self, frames: Bytes) -> Bytes {
        let (plain, packed) = &self.last;
        if plain.as_ptr() == frames.as_ptr() && plain.len() == frames.len() {
            return packed.clone();
        }
        let packed = self.compress(&frames).unwrap_or_else(|| frames.clone());
        if frames.len() <= KEPT {
            self.last = (frames, packed.clone());
        }
        packed
    }

    /// None where nothing became smaller.
    fn compress(&mut self, frames: &Bytes) -> Option<Bytes> {
        let mut out = Vec::new();
        // What of `frames` is in `out` already.
        let mut done = 0;
        let mut at = 0;
        while let Some((first, payload)) = encode::payload_at(frames, at) {
            let end = payload.end;
            if first == FIN | Opcode::Text as u8 && payload.len() >= WORTH && self.deflate(frames.get(payload.clone())?)
            {
                out.extend_from_slice(frames.get(done..at)?);
                encode::write_frame(&mut out, first | RSV1, &self.place);
                done = end;
            }
            at = end;
        }
        if done == 0 {
            return None;
        }
        out.extend_from_slice(frames.get(done..)?);
        Some(out.into())
    }

    /// Compresses a message into [`Self::place`] (RFC 7692, section 7.2.1); whether it is smaller there.
    fn deflate(&mut self, message: &[u8]) -> bool {
        let deflate = self
            .deflate
            .get_or_insert_with(|| Compress::new_with_window_bits(Compression::default(), false, WINDOW_BITS));
        deflate.reset();
        self.place.clear();
        // No more than that is of use: what does not fit in it is not smaller.
        self.place.reserve_exact(message.len());
        let flushed = deflate.compress_vec(message, &mut self.place, FlushCompress::Sync);
        let whole = matches!(flushed, Ok(Status::Ok))
            && deflate.total_in() == message.len() as u64
            && self.place.len() < self.place.capacity()
            && self.place.ends_with(&TAIL);
        if whole {
            self.place.truncate(self.place.len() - TAIL.len());
        }
        whole && self.place.len() < message.len()
    }
}

/// Decompresses a client's message (RFC 7692, section 7.2.2) and appends it to `out`, which grows by as much as it has.
///
/// # Errors
/// A message that has more than `limit` bytes, told without making more of it than that; one that is no DEFLATE (RFC 1951).
pub fn inflate(message: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Violation> {
    INFLATER.with_borrow_mut(|inflater| {
        let filled = inflater.inflate(message, limit)?;
        out.extend_from_slice(inflater.place.get(..filled).unwrap_or_default());
        Ok(())
    })
}

/// Decompresses messages.
struct Inflater {
    inflate: Decompress,
    /// Where messages are decompressed, before their length is known: a byte more than the limit.
    place: Vec<u8>,
}

impl Default for Inflater {
    fn default() -> Self {
        Self { inflate: Decompress::new(false), place: Vec::new() }
    }
}

impl Inflater {
    /// Decompresses a message to [`Self::place`], and gives its length.
    fn inflate(&mut self, message: &[u8], limit: usize) -> Result<usize, Violation> {
        self.place.resize(limit + 1, 0);
        self.inflate.reset(false);
        let (mut filled, mut streams) = (0, 1);
        for mut input in [message, &TAIL] {
            while !input.is_empty() {
                let room = self.place.get_mut(filled..).filter(|room| !room.is_empty()).ok_or(Violation::TooLarge)?;
                let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
                let status = self.inflate.decompress(input, room, FlushDecompress::Sync);
                let status = status.map_err(|_| Violation::InvalidDeflate)?;
                let moved = |now: u64, before: u64| usize::try_from(now - before).unwrap_or(usize::MAX);
                let (read, written) = (moved(self.inflate.total_in(), read), moved(self.inflate.total_out(), written));
                input = input.get(read..).unwrap_or_default();
                filled += written;
                match status {
                    // A block said that it was the last, and others follow (section 7.2.3.4).
                    Status::StreamEnd if streams < MAX_STREAMS => {
                        self.inflate.reset(false);
                        streams += 1;
                    }
                    Status::Ok | Status::BufError if read + written > 0 => {}
                    _ => return Err(Violation::InvalidDeflate),
                }
            }
        }
        if filled > limit { Err(Violation::TooLarge) } else { Ok(filled) }
    }
}

#[cfg(test)]
mod tests;
