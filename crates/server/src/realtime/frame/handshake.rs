//! The key of the opening handshake (RFC 6455, section 4).

use base64::{
    Engine as _, alphabet,
    engine::{GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use sha1::{Digest as _, Sha1};

/// Appended to the key before it is hashed (RFC 6455, 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The value of `Sec-WebSocket-Accept` for a request's `Sec-WebSocket-Key` (RFC 6455, 4.2.2, 5.4).
#[must_use]
pub fn accept_key(sec_websocket_key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(sec_websocket_key.as_bytes());
    hash.update(GUID);
    STANDARD.encode(hash.finalize())
}

/// Whether a `Sec-WebSocket-Key` is the base64 of 16 bytes (RFC 6455, 4.2.1, 5).
#[must_use]
pub fn valid_key(sec_websocket_key: &str) -> bool {
    // Some clients leave arbitrary bits behind the last byte; the key is only ever hashed as text.
    const LENIENT: GeneralPurpose =
        GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));
    let mut nonce = [0; 18];
    sec_websocket_key.len() == 24 && LENIENT.decode_slice(sec_websocket_key, &mut nonce) == Ok(16)
}
