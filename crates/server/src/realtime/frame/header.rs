//! The header of a frame that a client sent (RFC 6455, 5.2).

use super::{FIN, MAX_CONTROL_BYTES, RSV1, Violation};

const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xA,
}

impl Opcode {
    pub(super) const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A client's frame header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) fin: bool,
    /// The first frame of a compressed message (RFC 7692, section 6).
    pub(super) packed: bool,
    pub(super) opcode: Opcode,
    pub(super) mask: [u8; 4],
    /// Its own length.
    pub(super) size: usize,
    /// Length of the payload behind it.
    pub(super) payload: usize,
}

impl Header {
    /// Reads the header at the beginning of `bytes`; none if it isn't complete yet. What can be
    /// told to be wrong from the part that is there is told at once. With `deflate` a message may be compressed.
    #[inline]
    pub(super) fn parse(bytes: &[u8], deflate: bool) -> Result<Option<Self>, Violation> {
        let [first, second, rest @ ..] = bytes else {
            return Ok(None);
        };
        let packed = first & RSV1 != 0;
        if first & RESERVED != 0 && !(deflate && first & RESERVED == RSV1) {
            return Err(Violation::ReservedBits);
        }
        let opcode = match first & 0x0F {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xA => Opcode::Pong,
            _ => return Err(Violation::ReservedOpcode),
        };
        if packed && !matches!(opcode, Opcode::Text | Opcode::Binary) {
            return Err(Violation::ReservedBits);
        }
        let fin = first & FIN != 0;
        if second & MASKED == 0 {
            return Err(Violation::Unmasked);
        }
        let short = second & !MASKED;
        if opcode.is_control() {
            if !fin {
                return Err(Violation::ControlFragmented);
            }
            if usize::from(short) > MAX_CONTROL_BYTES {
                return Err(Violation::ControlTooLong);
            }
        }
        // A length written longer than need be breaks a MUST of 5.2 but harms nobody: accepted.
        let (payload, rest) = match short {
            126 => {
                let Some((length, rest)) = rest.split_first_chunk() else {
                    return Ok(None);
                };
                (usize::from(u16::from_be_bytes(*length)), rest)
            }
            127 => {
                let Some((length, rest)) = rest.split_first_chunk() else {
                    return Ok(None);
                };
                let length = u64::from_be_bytes(*length);
                if length >> 63 != 0 {
                    return Err(Violation::BadLength);
                }
                let length = usize::try_from(length).map_err(|_| Violation::TooLarge)?;
                (length, rest)
            }
            _ => (usize::from(short), rest),
        };
        let Some((&mask, rest)) = rest.split_first_chunk() else {
            return Ok(None);
        };
        Ok(Some(Self { fin, packed, opcode, mask, size: bytes.len() - rest.len(), payload }))
    }
}
