//! Making the frames that the server sends (RFC 6455, section 5.2).

use std::ops::Range;

use bytes::Bytes;

use super::{FIN, MAX_CONTROL_BYTES, MAX_REASON_BYTES, Opcode};

/// Longest header of a frame that a server sends, in bytes: no mask (RFC 6455, 5.2).
const MAX_HEADER: usize = 10;

/// The header of a server frame that begins with `first`, at the end of the array, and where it begins.
#[inline]
fn header(first: u8, payload: usize) -> ([u8; MAX_HEADER], usize) {
    let mut header = [0; MAX_HEADER];
    // Infallible conversions by range: each arm's length fits.
    let start = match payload {
        0..=125 => {
            header[8] = first;
            header[9] = payload as u8;
            8
        }
        126..=0xFFFF => {
            let [a, b] = (payload as u16).to_be_bytes();
            header[6..].copy_from_slice(&[first, 126, a, b]);
            6
        }
        _ => {
            header[0] = first;
            header[1] = 127;
            header[2..].copy_from_slice(&(payload as u64).to_be_bytes());
            0
        }
    };
    (header, start)
}

/// Appends a frame; `first` holds FIN, reserved bits and opcode.
pub(super) fn write_frame(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    let (header, start) = header(first, payload.len());
    out.reserve(header.len() - start + payload.len());
    out.extend_from_slice(&header[start..]);
    out.extend_from_slice(payload);
}

/// Appends a text message in one frame (RFC 6455, 5.6) to `out`. The payload must be UTF-8.
pub fn write_text(out: &mut Vec<u8>, payload: &[u8]) {
    write_frame(out, FIN | Opcode::Text as u8, payload);
}

/// The first byte and the place of the payload of the server's frame that begins at `at`; none at the end of `frames`.
pub(super) fn payload_at(frames: &[u8], at: usize) -> Option<(u8, Range<usize>)> {
    let [first, length, rest @ ..] = frames.get(at..)? else { return None };
    let (header, payload) = match length {
        126 => (4, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (MAX_HEADER, usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?),
        short => (2, usize::from(*short)),
    };
    let start = at + header;
    let payload = start..start.checked_add(payload)?;
    (payload.end <= frames.len()).then_some((*first, payload))
}

fn frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(frame_size(payload.len()));
    write_frame(&mut out, FIN | opcode as u8, payload);
    out.into()
}

/// Length of a server frame with a payload of that length, header included; both in bytes.
#[must_use]
pub const fn frame_size(payload: usize) -> usize {
    payload
        + match payload {
            0..=125 => 2,
            126..=0xFFFF => 4,
            _ => MAX_HEADER,
        }
}

/// A text message in one frame (RFC 6455, 5.6), to be shared. The payload must be UTF-8.
#[must_use]
pub fn text_frame(payload: &[u8]) -> Bytes {
    frame(Opcode::Text, payload)
}

/// A ping (RFC 6455, 5.5.2). Of the payload 125 bytes at most are sent. An empty one allocates nothing.
#[must_use]
pub fn ping_frame(payload: &[u8]) -> Bytes {
    control_frame(Opcode::Ping, payload, &[FIN | Opcode::Ping as u8, 0])
}

/// The answer to a ping, with the ping's payload (RFC 6455, 5.5.3), of which 125 bytes at most are
/// sent. An empty one allocates nothing.
#[must_use]
pub fn pong_frame(payload: &[u8]) -> Bytes {
    control_frame(Opcode::Pong, payload, &[FIN | Opcode::Pong as u8, 0])
}

fn control_frame(opcode: Opcode, payload: &[u8], empty: &'static [u8]) -> Bytes {
    if payload.is_empty() {
        return Bytes::from_static(empty);
    }
    frame(opcode, &payload[..payload.len().min(MAX_CONTROL_BYTES)])
}

/// A close frame (RFC 6455, 5.5.1). The reason is cut to 123 bytes, between two characters; with
/// no code, for the answer to an empty close, neither is sent.
#[must_use]
pub fn close_frame(code: Option<u16>, reason: &str) -> Bytes {
    let Some(code) = code else {
        return Bytes::from_static(&[FIN | Opcode::Close as u8, 0]);
    };
    let reason = &reason[..reason.floor_char_boundary(MAX_REASON_BYTES)];
    let (header, start) = header(FIN | Opcode::Close as u8, 2 + reason.len());
    let mut out = Vec::with_capacity(frame_size(2 + reason.len()));
    out.extend_from_slice(&header[start..]);
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
    out.into()
}
