//! WebSocket framing for the server's side of a connection (RFC 6455), without I/O.
//!
//! Reading: a connection's task reads into a buffer that its *thread* owns and gives what came to
//! its own [`Decoder`], which unmasks complete frames where they lie and lends their payload. Only
//! what is incomplete at the end of the buffer is copied, into the decoder, so that a silent
//! connection holds no buffer at all.
//!
//! Writing: frames are made once, as [`Bytes`], and shared by all connections that get them: a
//! server's frames bear no mask.
//!
//! Messages are compressed where that was agreed on ([`deflate`]); elsewhere, and for all else, the reserved bits are a
//! protocol error.

pub mod deflate;
mod encode;
mod handshake;
mod header;

pub use encode::{close_frame, frame_size, ping_frame, pong_frame, text_frame, write_text};
pub use handshake::{accept_key, valid_key};
use header::{Header, Opcode};

/// Largest message that a client may send, in bytes (64 KiB), over all its fragments.
///
/// Contract: close 4413.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// Largest payload of a ping, pong or close frame, in bytes (RFC 6455, 5.5).
pub const MAX_CONTROL_BYTES: usize = 125;

/// Longest reason of a close frame, in bytes: a control frame's payload without the code (RFC 6455, 5.5.1).
pub const MAX_REASON_BYTES: usize = MAX_CONTROL_BYTES - 2;

/// Longest header of a frame that a client sends, in bytes (RFC 6455, 5.2).
const MAX_CLIENT_HEADER: usize = 14;

const FIN: u8 = 0x80;
/// Of a compressed message's first frame (RFC 7692, section 6).
const RSV1: u8 = 0x40;

/// What a client did wrong. The connection is over: see [`Violation::close_code`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// A frame without a mask (RFC 6455, 5.1).
    Unmasked,
    /// A reserved bit is set, though no extension was negotiated that says what it means (RFC 6455, 5.2).
    ReservedBits,
    /// An opcode that means nothing (RFC 6455, 5.2).
    ReservedOpcode,
    /// A 64-bit length whose highest bit is set (RFC 6455, 5.2).
    BadLength,
    /// A control frame of more than 125 bytes (RFC 6455, 5.5).
    ControlTooLong,
    /// A control frame in fragments (RFC 6455, 5.5).
    ControlFragmented,
    /// A continuation of nothing, or a new message inside a fragmented one (RFC 6455, 5.4).
    BadContinuation,
    /// A close frame with one byte, or with a code that must not be sent (RFC 6455, 5.5.1 and 7.4).
    InvalidClose,
    /// Text or a close reason that isn't UTF-8 (RFC 6455, 8.1).
    InvalidUtf8,
    /// A compressed message that can't be decompressed (RFC 7692, 7.2.2).
    InvalidDeflate,
    /// A message over the decoder's limit, announced or summed over its fragments (RFC 6455, 10.4).
    TooLarge,
}

impl Violation {
    /// Code to close the connection with: 1002 protocol error, 1007 not UTF-8 or not DEFLATE (RFC 6455, 7.4.1), or
    /// the contract's 4413 for a message over the limit.
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::InvalidUtf8 | Self::InvalidDeflate => 1007,
            Self::TooLarge => 4413,
            _ => 1002,
        }
    }

    /// Reason for the close frame: short, ASCII, stable.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Unmasked => "unmasked_frame",
            Self::ReservedBits => "reserved_bits",
            Self::ReservedOpcode => "reserved_opcode",
            Self::BadLength => "bad_length",
            Self::ControlTooLong => "control_too_long",
            Self::ControlFragmented => "control_fragmented",
            Self::BadContinuation => "bad_continuation",
            Self::InvalidClose => "invalid_close",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::InvalidDeflate => "invalid_deflate",
            Self::TooLarge => "too_large",
        }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Violation {}

/// A complete message or control frame, lent from the read buffer or the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A text message (RFC 6455, 5.6).
    Text(&'a str),
    /// A binary message (RFC 6455, 5.6).
    Binary(&'a [u8]),
    /// To be answered by [`pong_frame`] with the same bytes, 125 at most (RFC 6455, 5.5.2).
    Ping(&'a [u8]),
    /// The answer to a ping, or a unidirectional sign of life (RFC 6455, 5.5.3).
    Pong(&'a [u8]),
    /// The peer closes: answer with the same code, then end the connection (RFC 6455, 5.5.1).
    /// Whatever it sends afterwards is ignored.
    Close {
        /// Why, by number; none if the frame was empty.
        code: Option<u16>,
        /// Why, in words; often empty.
        reason: &'a str,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// A close frame came.
    Closed,
    Failed(Violation),
}

/// A unit that is ready, and where its payload lies.
enum Ready<'b> {
    InPlace(Opcode, &'b [u8]),
    Message(Opcode),
    Control(Opcode),
}

/// A message whose first frame came, but not its last.
#[derive(Debug, Clone, Copy)]
struct Fragments {
    opcode: Opcode,
    packed: bool,
}

/// Reads one client's frames.
///
/// It holds no heap unless a frame or a fragmented message is incomplete, and then at most the
/// limit plus [`MAX_CONTROL_BYTES`], growing with what was received, not with what was announced.
#[derive(Debug)]
pub struct Decoder {
    /// Payload of an incomplete data frame, and of the fragments before it, unmasked.
    message: Vec<u8>,
    /// Payload of an incomplete control frame, unmasked: it may come amid a fragmented message.
    control: Vec<u8>,
    limit: usize,
    /// Bytes of the incomplete frame's payload that were received.
    got: usize,
    /// How much of `message` is known to be UTF-8.
    checked: usize,
    /// Header of the incomplete frame, itself perhaps incomplete.
    head: [u8; MAX_CLIENT_HEADER],
    /// Bytes in `head`; 0 if no frame is incomplete.
    head_len: u8,
    /// The fragmented message that is incomplete.
    fragments: Option<Fragments>,
    /// Compression was agreed on.
    deflate: bool,
    state: State,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(MAX_MESSAGE_BYTES)
    }
}

impl Decoder {
    /// A decoder that refuses messages of more than `limit` bytes.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            message: Vec::new(),
            control: Vec::new(),
            limit,
            got: 0,
            checked: 0,
            head: [0; MAX_CLIENT_HEADER],
            head_len: 0,
            fragments: None,
            deflate: false,
            state: State::Open,
        }
    }

    /// The same where compression was agreed on (RFC 7692), or not: messages may be compressed, and have at most so many
    /// bytes before and after they are decompressed.
    #[must_use]
    pub const fn with_deflate(self, deflate: bool) -> Self {
        let mut this = self;
        this.deflate = deflate;
        this
    }

    /// Takes the next message or control frame off the beginning of `input`, which it moves on.
    ///
    /// To be called until it returns none: then `input` is empty, and what was incomplete is kept.
    /// A complete unfragmented frame is unmasked in place and lent from `input`, else the payload is
    /// lent from the decoder, which gives the memory back at the next call. The caller may also stop
    /// earlier and keep the rest of `input` itself, to be decoded before anything that it reads later.
    ///
    /// After a close frame all input is swallowed.
    ///
    /// # Errors
    /// What the client did wrong (RFC 6455, 5 to 8), as early as it shows: a message that is too
    /// large by its header, before any of it is stored. From then on every call returns the same.
    pub fn decode<'s, 'b: 's>(&'s mut self, input: &mut &'b mut [u8]) -> Result<Option<Incoming<'s>>, Violation> {
        match self.state {
            State::Open => {}
            State::Closed => {
                self.forget();
                *input = &mut [];
                return Ok(None);
            }
            State::Failed(violation) => {
                self.forget();
                return Err(violation);
            }
        }
        self.give_back();
        match self.advance(input) {
            Ok(None) => Ok(None),
            Ok(Some(Ready::InPlace(opcode, payload))) => present(&mut self.state, opcode, payload),
            Ok(Some(Ready::Message(opcode))) => present(&mut self.state, opcode, &self.message),
            Ok(Some(Ready::Control(opcode))) => present(&mut self.state, opcode, &self.control),
            Err(violation) => {
                self.state = State::Failed(violation);
                self.forget();
                Err(violation)
            }
        }
    }

    /// Whether nothing is incomplete: neither a frame nor a fragmented message.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.head_len == 0 && self.fragments.is_none()
    }

    /// Heap that the decoder holds, in bytes.
    #[must_use]
    pub const fn heap_bytes(&self) -> usize {
        self.message.capacity() + self.control.capacity()
    }

    /// Drops what was lent by the previous call.
    #[inline]
    fn give_back(&mut self) {
        if self.head_len == 0 {
            if self.control.capacity() != 0 {
                self.control = Vec::new();
            }
            if self.fragments.is_none() && self.message.capacity() != 0 {
                self.message = Vec::new();
                self.checked = 0;
            }
        }
    }

    /// Drops everything: the connection is over.
    fn forget(&mut self) {
        *self = Self { state: self.state, ..Self::new(self.limit).with_deflate(self.deflate) };
    }

    /// Reads frames until a message or a control frame is complete.
    fn advance<'b>(&mut self, input: &mut &'b mut [u8]) -> Result<Option<Ready<'b>>, Violation> {
        loop {
            if self.head_len == 0
                && let Some(header) = Header::parse(input, self.deflate)?
            {
                self.admit(&header)?;
                if input.len() - header.size >= header.payload {
                    let (_, rest) = std::mem::take(input).split_at_mut(header.size);
                    let (payload, rest) = rest.split_at_mut(header.payload);
                    *input = rest;
                    unmask(payload, header.mask);
                    let whole = header.fin && header.opcode != Opcode::Continuation;
                    if whole && header.packed {
                        deflate::inflate(payload, self.limit, &mut self.message)?;
                        return Ok(Some(Ready::Message(header.opcode)));
                    }
                    if whole {
                        return Ok(Some(Ready::InPlace(header.opcode, payload)));
                    }
                    self.append(&header, payload)?;
                    if let Some(opcode) = self.end_fragment(&header)? {
                        return Ok(Some(Ready::Message(opcode)));
                    }
                    continue;
                }
            }
            // A frame that began in an earlier read, or doesn't end in this one.
            let Some(header) = self.head(input)? else {
                return Ok(None);
            };
            self.admit(&header)?;
            let here = input.len().min(header.payload - self.got);
            let (part, rest) = std::mem::take(input).split_at_mut(here);
            *input = rest;
            let mut mask = header.mask;
            mask.rotate_left(self.got % 4);
            unmask(part, mask);
            if header.opcode.is_control() {
                grow(&mut self.control, part.len(), header.payload);
                self.control.extend_from_slice(part);
            } else {
                self.append(&header, part)?;
            }
            self.got += here;
            if self.got < header.payload {
                return Ok(None);
            }
            self.head_len = 0;
            self.got = 0;
            if header.opcode.is_control() {
                return Ok(Some(Ready::Control(header.opcode)));
            }
            if let Some(opcode) = self.end_fragment(&header)? {
                return Ok(Some(Ready::Message(opcode)));
            }
        }
    }

    /// Completes the stored header from `input`; none if that doesn't suffice.
    fn head(&mut self, input: &mut &mut [u8]) -> Result<Option<Header>, Violation> {
        loop {
            let stored = usize::from(self.head_len);
            if let Some(header) = Header::parse(self.head.get(..stored).unwrap_or_default(), self.deflate)? {
                return Ok(Some(header));
            }
            let Some((byte, rest)) = std::mem::take(input).split_first_mut() else {
                return Ok(None);
            };
            *input = rest;
            // Always there: a header of `MAX_CLIENT_HEADER` bytes is complete.
            if let Some(place) = self.head.get_mut(stored) {
                *place = *byte;
            }
            self.head_len += 1;
        }
    }

    /// Checks a header against the message it belongs to, before its payload is looked at.
    #[inline]
    fn admit(&self, header: &Header) -> Result<(), Violation> {
        if header.opcode.is_control() {
            return Ok(());
        }
        if self.fragments.is_some() != (header.opcode == Opcode::Continuation) {
            return Err(Violation::BadContinuation);
        }
        // `message` holds the earlier fragments and what came of this frame.
        let room = self.limit - (self.message.len() - self.got);
        if header.payload > room {
            return Err(Violation::TooLarge);
        }
        Ok(())
    }

    /// Stores an unmasked part of a data frame.
    fn append(&mut self, header: &Header, part: &[u8]) -> Result<(), Violation> {
        // Never more than the message can become.
        let bound = if header.fin { self.message.len() - self.got + header.payload } else { self.limit };
        grow(&mut self.message, part.len(), bound);
        self.message.extend_from_slice(part);
        let message = self.message_of(header);
        if message.opcode == Opcode::Text && !message.packed {
            // Fails fast, and never looks at a byte twice: only a character cut in half is left over.
            let unchecked = self.message.get(self.checked..).unwrap_or_default();
            match std::str::from_utf8(unchecked) {
                Ok(text) => self.checked += text.len(),
                Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
                Err(_) => return Err(Violation::InvalidUtf8),
            }
        }
        Ok(())
    }

    /// The message that a data frame is part of: its own where it is the first.
    fn message_of(&self, header: &Header) -> Fragments {
        self.fragments.unwrap_or(Fragments { opcode: header.opcode, packed: header.packed })
    }

    /// Notes the end of a data frame whose payload is stored; returns the message's type if it is complete.
    fn end_fragment(&mut self, header: &Header) -> Result<Option<Opcode>, Violation> {
        let message = self.message_of(header);
        self.fragments = (!header.fin).then_some(message);
        if header.fin && message.packed {
            let packed = std::mem::take(&mut self.message);
            deflate::inflate(&packed, self.limit, &mut self.message)?;
        }
        Ok(header.fin.then_some(message.opcode))
    }
}

/// Makes room for `more` bytes: doubling, so that many small parts cost linear time, and never
/// beyond `bound`, the most that the buffer will ever need.
fn grow(buffer: &mut Vec<u8>, more: usize, bound: usize) {
    let needed = buffer.len() + more;
    if needed > buffer.capacity() {
        let target = (buffer.capacity() * 2).min(bound).max(needed);
        buffer.reserve_exact(target - buffer.len());
    }
}

/// Checks a complete unit's content and lends it.
#[inline]
fn present<'p>(state: &mut State, opcode: Opcode, payload: &'p [u8]) -> Result<Option<Incoming<'p>>, Violation> {
    let verdict = match opcode {
        Opcode::Text => match std::str::from_utf8(payload) {
            Ok(text) => Ok(Incoming::Text(text)),
            Err(_) => Err(Violation::InvalidUtf8),
        },
        // Never a continuation: a message has the type of its first fragment.
        Opcode::Binary | Opcode::Continuation => Ok(Incoming::Binary(payload)),
        Opcode::Ping => Ok(Incoming::Ping(payload)),
        Opcode::Pong => Ok(Incoming::Pong(payload)),
        Opcode::Close => {
            *state = State::Closed;
            parse_close(payload)
        }
    };
    match verdict {
        Ok(incoming) => Ok(Some(incoming)),
        Err(violation) => {
            *state = State::Failed(violation);
            Err(violation)
        }
    }
}

fn parse_close(payload: &[u8]) -> Result<Incoming<'_>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() {
            Ok(Incoming::Close { code: None, reason: "" })
        } else {
            Err(Violation::InvalidClose)
        };
    };
    let code = u16::from_be_bytes(*code);
    // RFC 6455, 7.4, and the registry that it founded: the others are unassigned, or only for
    // use inside one end (1005, 1006, 1015).
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Violation::InvalidClose);
    }
    let reason = std::str::from_utf8(reason).map_err(|_| Violation::InvalidUtf8)?;
    Ok(Incoming::Close { code: Some(code), reason })
}

/// XORs the payload with its mask (RFC 6455, 5.3), a word at a time, which the compiler widens further.
#[inline]
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests;
