//! STUN messages (RFC 8489) and the attributes of TURN (RFC 8656): as much as a client needs that allocates, permits and
//! relays once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::{Digest as _, Md5};
use sha1::Sha1;

/// Marks a STUN message (RFC 8489, section 5).
const COOKIE: u32 = 0x2112_A442;
/// A message's head, bytes.
pub(super) const HEAD: usize = 20;
/// An attribute's type and length, bytes.
const ATTRIBUTE: usize = 4;

/// Methods (RFC 8489, section 18.2; RFC 8656, section 17).
pub(super) mod method {
    pub(in super::super) const BINDING: u16 = 0x001;
    pub(in super::super) const ALLOCATE: u16 = 0x003;
    pub(in super::super) const REFRESH: u16 = 0x004;
    pub(in super::super) const SEND: u16 = 0x006;
    pub(in super::super) const DATA: u16 = 0x007;
    pub(in super::super) const CREATE_PERMISSION: u16 = 0x008;
}

/// Attributes (RFC 8489, section 18.3; RFC 8656, section 18).
pub(super) mod attribute {
    pub(in super::super) const USERNAME: u16 = 0x0006;
    pub(super) const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub(super) const ERROR_CODE: u16 = 0x0009;
    pub(in super::super) const LIFETIME: u16 = 0x000D;
    pub(in super::super) const XOR_PEER_ADDRESS: u16 = 0x0012;
    pub(in super::super) const DATA: u16 = 0x0013;
    pub(in super::super) const REALM: u16 = 0x0014;
    pub(in super::super) const NONCE: u16 = 0x0015;
    pub(in super::super) const XOR_RELAYED_ADDRESS: u16 = 0x0016;
    pub(in super::super) const REQUESTED_TRANSPORT: u16 = 0x0019;
    pub(in super::super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
}

/// What a message is (RFC 8489, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Request,
    Indication,
    Success,
    Error,
}

/// Ties an answer to its request.
pub(super) type Transaction = [u8; 12];

/// The key of a long-term credential (RFC 8489, section 9.2.2).
pub(super) fn long_term_key(username: &str, realm: &str, password: &str) -> [u8; 16] {
    let mut hash = Md5::new();
    for part in [username, ":", realm, ":", password] {
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

/// A message being written.
pub(super) struct Writer {
    bytes: Vec<u8>,
    transaction: Transaction,
}

impl Writer {
    pub(super) fn new(class: Class, method: u16, transaction: Transaction) -> Self {
        let bits = match class {
            Class::Request => 0x000,
            Class::Indication => 0x010,
            Class::Success => 0x100,
            Class::Error => 0x110,
        };
        // The class stands between the method's bits.
        let kind = (method & 0x00F) | ((method & 0x070) << 1) | ((method & 0xF80) << 2) | bits;
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&COOKIE.to_be_bytes());
        bytes.extend_from_slice(&transaction);
        Self { bytes, transaction }
    }

    /// Adds an attribute; a value that is too long for one is cut, and the other side refuses it.
    pub(super) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        let value = value.get(..value.len().min(4096)).unwrap_or_default();
        let length = u16::try_from(value.len()).unwrap_or(0);
        self.bytes.extend_from_slice(&kind.to_be_bytes());
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(value);
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
        self.measure(0);
        self
    }

    /// Adds an address, as the `XOR-` attributes have it (RFC 8489, section 14.2).
    pub(super) fn with_address(self, kind: u16, address: SocketAddr) -> Self {
        let value = encode_address(address, self.transaction);
        self.with(kind, &value)
    }

    /// Ends the message with MESSAGE-INTEGRITY (RFC 8489, section 14.5).
    pub(super) fn signed(mut self, key: &[u8]) -> Vec<u8> {
        // The length counts the attribute that is not there yet.
        self.measure(ATTRIBUTE + 20);
        let mac = hmac(key, &[&self.bytes]);
        self.with(attribute::MESSAGE_INTEGRITY, &mac).bytes
    }

    pub(super) fn unsigned(self) -> Vec<u8> {
        self.bytes
    }

    fn measure(&mut self, more: usize) {
        let length = u16::try_from(self.bytes.len().saturating_sub(HEAD) + more).unwrap_or(0);
        if let Some(place) = self.bytes.get_mut(2..4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(key) else { return Vec::new() };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

/// What an address is hidden with: the cookie, and for IPv6 the transaction.
fn mask(transaction: Transaction) -> [u8; 16] {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&COOKIE.to_be_bytes());
    mask[4..].copy_from_slice(&transaction);
    mask
}

fn encode_address(address: SocketAddr, transaction: Transaction) -> Vec<u8> {
    let mask = mask(transaction);
    let port = address.port() ^ u16::from_be_bytes([mask[0], mask[1]]);
    let (family, octets) = match address.ip() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let mut value = vec![0, family];
    value.extend_from_slice(&port.to_be_bytes());
    value.extend(octets.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    value
}

fn decode_address(value: &[u8], transaction: Transaction) -> Option<SocketAddr> {
    let mask = mask(transaction);
    let (&[_, family, a, b], octets) = value.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes([a ^ mask[0], b ^ mask[1]]);
    let octets: Vec<u8> = octets.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
    let ip = match family {
        1 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?)),
        2 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// A message that was read.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) class: Class,
    pub(super) method: u16,
    pub(super) transaction: Transaction,
    bytes: &'a [u8],
}

/// The length of the message that begins with this head; none where it is no STUN.
pub(super) fn length(head: [u8; HEAD]) -> Option<usize> {
    let [first, _, high, low, c0, c1, c2, c3, ..] = head;
    let body = usize::from(u16::from_be_bytes([high, low]));
    let is_stun = first < 0x40 && u32::from_be_bytes([c0, c1, c2, c3]) == COOKIE && body.is_multiple_of(4);
    is_stun.then_some(HEAD + body)
}

impl<'a> Message<'a> {
    /// Reads a message; none where the bytes are no whole one.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let head = *bytes.first_chunk::<HEAD>()?;
        if length(head)? != bytes.len() {
            return None;
        }
        let kind = u16::from_be_bytes([head[0], head[1]]);
        let class = match kind & 0x110 {
            0x000 => Class::Request,
            0x010 => Class::Indication,
            0x100 => Class::Success,
            _ => Class::Error,
        };
        let method = (kind & 0x00F) | ((kind & 0x0E0) >> 1) | ((kind & 0x3E00) >> 2);
        let transaction = *bytes.get(8..HEAD)?.first_chunk()?;
        let message = Self { class, method, transaction, bytes };
        // An attribute that reaches over the end makes the whole worthless.
        let used = message.attributes().last().map_or(HEAD, |(at, _, value)| at + ATTRIBUTE + padded(value.len()));
        (used == bytes.len()).then_some(message)
    }

    /// Each attribute: where it begins, its type, its value.
    fn attributes(&self) -> impl Iterator<Item = (usize, u16, &'a [u8])> {
        let (bytes, mut at) = (self.bytes, HEAD);
        std::iter::from_fn(move || {
            let [k0, k1, l0, l1] = *bytes.get(at..)?.first_chunk::<ATTRIBUTE>()?;
            let length = usize::from(u16::from_be_bytes([l0, l1]));
            let begins = at;
            let value = bytes.get(at + ATTRIBUTE..)?.get(..length)?;
            at += ATTRIBUTE + padded(length);
            Some((begins, u16::from_be_bytes([k0, k1]), value))
        })
    }

    /// The first attribute of a type.
    pub(super) fn get(&self, kind: u16) -> Option<&'a [u8]> {
        self.attributes().find(|(_, k, _)| *k == kind).map(|(_, _, value)| value)
    }

    pub(super) fn text(&self, kind: u16) -> Option<&'a str> {
        std::str::from_utf8(self.get(kind)?).ok()
    }

    pub(super) fn address(&self, kind: u16) -> Option<SocketAddr> {
        decode_address(self.get(kind)?, self.transaction)
    }

    /// The code of an error answer (RFC 8489, section 14.8).
    pub(super) fn error(&self) -> Option<u16> {
        let &[_, _, class, number] = self.get(attribute::ERROR_CODE)?.first_chunk::<4>()?;
        Some(u16::from(class & 7) * 100 + u16::from(number))
    }

    /// Whether somebody who has the key signed it.
    pub(super) fn is_signed(&self, key: &[u8]) -> bool {
        let Some((at, _, value)) = self.attributes().find(|(_, kind, _)| *kind == attribute::MESSAGE_INTEGRITY) else {
            return false;
        };
        let (Some(kind), Some(body)) = (self.bytes.get(..2), self.bytes.get(4..at)) else { return false };
        // The length as it was when only this attribute was to follow.
        let length = u16::try_from(at + ATTRIBUTE + 20 - HEAD).unwrap_or(0).to_be_bytes();
        let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(key) else { return false };
        for part in [kind, &length[..], body] {
            mac.update(part);
        }
        mac.verify_slice(value).is_ok()
    }
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: String = hex.split_whitespace().collect();
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    }

    /// RFC 5769, section 2.4: a request with long-term authentication.
    const LONG_TERM: &str = "00010060 2112a442 78ad3433 c6ad72c0 29da412e 00060012 e3839ee3 8388e383 aae38383 e382afe3
        82b90000 0015001c 662f2f34 39396b39 35346436 4f4c3334 6f4c3946 53547679 36347341 0014000b 6578616d 706c652e
        6f726700 00080014 f6702465 6dd64a3e 02b8e071 2e85c9a2 8ca89666";

    /// RFC 5769, section 2.2: an answer with an IPv4 address; the password is the key.
    const IPV4: &str = "0101003c 2112a442 b7e7a701 bc34d686 fa87dfae 8022000b 74657374 20766563 746f7220 00200008
        0001a147 e112a643 00080014 2b91f599 fd9e90c3 8c7489f9 2af9ba53 f06be7d7 80280004 c07d4c96";

    /// RFC 5769, section 2.3: the same with an IPv6 address.
    const IPV6: &str = "01010048 2112a442 b7e7a701 bc34d686 fa87dfae 8022000b 74657374 20766563 746f7220 00200014
        0002a147 0113a9fa a5d3f179 bc25f4b5 bed2b9d9 00080014 a382954e 4be67bf1 1784c97c 8292c275 bfe3ed41 80280004
        c8fb0b4c";

    const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";

    #[test]
    fn rfc_5769_long_term() {
        let transaction = *bytes("78ad3433 c6ad72c0 29da412e").first_chunk().unwrap();
        let (username, realm) = ("\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}", "example.org");
        let key = long_term_key(username, realm, "TheMatrIX");
        let message = Writer::new(Class::Request, method::BINDING, transaction)
            .with(attribute::USERNAME, username.as_bytes())
            .with(attribute::NONCE, b"f//499k954d6OL34oL9FSTvy64sA")
            .with(attribute::REALM, realm.as_bytes())
            .signed(&key);
        assert_eq!(message, bytes(LONG_TERM));
        let read = Message::read(&message).unwrap();
        assert!(read.is_signed(&key));
        assert!(!read.is_signed(&long_term_key(username, "example.net", "TheMatrIX")));
        assert_eq!(read.text(attribute::REALM), Some(realm));
    }

    #[test]
    fn rfc_5769_addresses() {
        for (text, address) in [(IPV4, "192.0.2.1:32853"), (IPV6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853")] {
            let message = bytes(text);
            let read = Message::read(&message).unwrap();
            assert_eq!((read.class, read.method), (Class::Success, method::BINDING));
            assert_eq!(read.address(attribute::XOR_MAPPED_ADDRESS), Some(address.parse().unwrap()));
            assert!(read.is_signed(PASSWORD));
            assert!(!read.is_signed(b"another"));
            let again = encode_address(address.parse().unwrap(), read.transaction);
            assert_eq!(Some(again.as_slice()), read.get(attribute::XOR_MAPPED_ADDRESS));
        }
    }

    #[test]
    fn what_is_no_whole_message_is_none() {
        let message = bytes(IPV4);
        for end in 0..message.len() {
            assert!(Message::read(&message[..end]).is_none(), "{end}");
        }
        assert!(Message::read(b"HTTP/1.1 400 Bad Request\r\n\r\n").is_none());
        let mut reaching =
            Writer::new(Class::Success, method::ALLOCATE, [7; 12]).with(attribute::NONCE, b"abcd").unsigned();
        reaching[HEAD + 3] = 200;
        assert!(Message::read(&reaching).is_none());
    }

    #[test]
    fn classes_and_methods_find_their_bits() {
        for class in [Class::Request, Class::Indication, Class::Success, Class::Error] {
            for method in [method::BINDING, method::ALLOCATE, method::SEND, method::DATA, method::CREATE_PERMISSION] {
                let bytes = Writer::new(class, method, [1; 12]).unsigned();
                let read = Message::read(&bytes).unwrap();
                assert_eq!((read.class, read.method), (class, method));
            }
        }
        // RFC 8656: an Allocate error answer is 0x0113, a Data indication 0x0017.
        assert_eq!(Writer::new(Class::Error, method::ALLOCATE, [0; 12]).unsigned()[..2], [0x01, 0x13]);
        assert_eq!(Writer::new(Class::Indication, method::DATA, [0; 12]).unsigned()[..2], [0x00, 0x17]);
    }
}
