#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

mod random;

const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A frame as a client sends it.
fn client(first: u8, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        n @ 0..=125 => out.push(0x80 | n as u8),
        n @ 126..=0xFFFF => {
            out.push(0x80 | 126);
            out.extend((n as u16).to_be_bytes());
        }
        n => {
            out.push(0x80 | 127);
            out.extend((n as u64).to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, k)| b ^ k));
    out
}

#[derive(Debug, Clone, PartialEq)]
enum Got {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

impl From<Incoming<'_>> for Got {
    fn from(incoming: Incoming<'_>) -> Self {
        match incoming {
            Incoming::Text(text) => Self::Text(text.into()),
            Incoming::Binary(bytes) => Self::Binary(bytes.into()),
            Incoming::Ping(bytes) => Self::Ping(bytes.into()),
            Incoming::Pong(bytes) => Self::Pong(bytes.into()),
            Incoming::Close { code, reason } => Self::Close(code, reason.into()),
        }
    }
}

/// Decodes `stream`, handed over in parts of the given lengths (cycled).
fn decode_in_parts(decoder: &mut Decoder, stream: &[u8], parts: &[usize]) -> Result<Vec<Got>, Violation> {
    let mut stream = stream.to_vec();
    let mut rest = &mut stream[..];
    let mut parts = parts.iter().copied().cycle();
    let mut got = Vec::new();
    while !rest.is_empty() {
        let n = parts.next().unwrap_or(usize::MAX).clamp(1, rest.len());
        let mut input;
        (input, rest) = rest.split_at_mut(n);
        while let Some(incoming) = decoder.decode(&mut input)? {
            got.push(incoming.into());
        }
        assert!(input.is_empty());
        assert!(decoder.heap_bytes() <= decoder.limit + MAX_CONTROL_BYTES);
        assert!(!decoder.is_idle() || decoder.heap_bytes() == 0);
    }
    Ok(got)
}

/// The same whole and byte by byte.
fn decode(stream: &[u8]) -> Result<Vec<Got>, Violation> {
    let whole = decode_in_parts(&mut Decoder::default(), stream, &[usize::MAX]);
    let bytewise = decode_in_parts(&mut Decoder::default(), stream, &[1]);
    assert_eq!(whole, bytewise);
    whole
}

fn text(text: &str) -> Got {
    Got::Text(text.into())
}

#[test]
fn is_small() {
    assert!(size_of::<Decoder>() <= 96, "{}", size_of::<Decoder>());
    assert!(size_of::<Incoming<'_>>() <= 24);
}

// RFC 6455, 5.7: the examples, those of a server as what is to be written.

#[test]
fn rfc_single_frame_masked_text() {
    let frame = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(decode(&frame), Ok(vec![text("Hello")]));
    assert_eq!(client(0x81, MASK, b"Hello"), frame);
}

#[test]
fn rfc_single_frame_unmasked_text() {
    let frame = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    assert_eq!(text_frame(b"Hello"), &frame[..]);
    assert_eq!(decode(&frame), Err(Violation::Unmasked));
}

#[test]
fn rfc_fragmented_text() {
    // Unmasked in the RFC.
    let stream = [client(0x01, MASK, b"Hel"), client(0x80, MASK, b"lo")].concat();
    assert_eq!(decode(&stream), Ok(vec![text("Hello")]));
}

#[test]
fn rfc_ping_and_masked_pong() {
    assert_eq!(ping_frame(b"Hello"), &[0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f][..]);
    let pong = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(decode(&pong), Ok(vec![Got::Pong(b"Hello".to_vec())]));
}

#[test]
fn rfc_longer_lengths() {
    let small = text_frame(&[b'a'; 256]);
    assert_eq!(small[..4], [0x81, 0x7E, 0x01, 0x00]);
    assert_eq!(small.len(), 260);
    let large = text_frame(&[b'a'; 65_536]);
    assert_eq!(large[..10], [0x81, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0]);
    assert_eq!(large.len(), 65_546);

    for n in [0, 1, 7, 8, 125, 126, 127, 256, 65_535, 65_536] {
        let payload = vec![0xA5; n];
        let frame = client(0x82, MASK, &payload);
        assert_eq!(
            decode_in_parts(&mut Decoder::default(), &frame, &[usize::MAX]),
            Ok(vec![Got::Binary(payload.clone())])
        );
        assert_eq!(decode_in_parts(&mut Decoder::default(), &frame, &[1000]), Ok(vec![Got::Binary(payload)]));
        assert_eq!(text_frame(&vec![b'a'; n]).len(), frame_size(n));
    }
}

#[test]
fn rfc_accept_key() {
    assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn keys() {
    assert!(valid_key("dGhlIHNhbXBsZSBub25jZQ=="));
    assert!(valid_key("AQIDBAUGBwgJCgsMDQ4PEC=="));
    for bad in [
        "",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZWE=",
        "dGhlIHNhbXBsZSBub25jZWFh",
        "dGhlIHNhbXBsZSBub25jZ===",
        "dGhlIHNhbXBsZSBub25!ZQ==",
        " GhlIHNhbXBsZSBub25jZQ==",
        "éééééééééééé",
    ] {
        assert!(!valid_key(bad), "{bad}");
    }
}

#[test]
fn whole_frames_are_lent_from_the_input() {
    let mut stream = [client(0x81, MASK, b"one"), client(0x82, MASK, b"two"), client(0x89, MASK, b"three")].concat();
    let range = stream.as_ptr_range();
    let mut decoder = Decoder::default();
    let mut input = &mut stream[..];
    let mut n = 0;
    while let Some(incoming) = decoder.decode(&mut input).unwrap() {
        let payload = match incoming {
            Incoming::Text(text) => text.as_bytes(),
            Incoming::Binary(bytes) | Incoming::Ping(bytes) => bytes,
            other => panic!("{other:?}"),
        };
        assert!(range.contains(&payload.as_ptr()));
        n += 1;
    }
    assert_eq!(n, 3);
    assert_eq!(decoder.heap_bytes(), 0);
}

#[test]
fn the_caller_may_stop_in_between() {
    let mut stream = [client(0x81, MASK, b"one"), client(0x81, MASK, b"two"), client(0x81, MASK, b"three")].concat();
    let mut decoder = Decoder::default();
    let mut input = &mut stream[..];
    assert_eq!(decoder.decode(&mut input), Ok(Some(Incoming::Text("one"))));
    let kept = input.to_vec();
    assert_eq!(decode_in_parts(&mut decoder, &kept, &[usize::MAX]), Ok(vec![text("two"), text("three")]));
}

#[test]
fn control_frames_between_fragments() {
    let stream = [
        client(0x01, MASK, "h\u{e9}".as_bytes().split_at(2).0),
        client(0x89, [0; 4], b"p"),
        client(0x00, [9; 4], &[]),
        client(0x8A, MASK, &[3; 125]),
        client(0x80, [1, 2, 3, 4], &"h\u{e9}!".as_bytes()[2..]),
        client(0x81, MASK, b"next"),
        client(0x02, MASK, &[]),
        client(0x80, MASK, &[]),
    ]
    .concat();
    assert_eq!(
        decode(&stream),
        Ok(vec![
            Got::Ping(b"p".to_vec()),
            Got::Pong(vec![3; 125]),
            text("h\u{e9}!"),
            text("next"),
            Got::Binary(vec![]),
        ])
    );
}

#[test]
fn protocol_violations() {
    let long = [&[0x89, 0xFE, 0, 126][..], &MASK, &[0; 126]].concat();
    for (stream, expected) in [
        (vec![0x81, 0x00], Violation::Unmasked),
        (vec![0x89, 0x00], Violation::Unmasked),
        (client(0xC1, MASK, b""), Violation::ReservedBits),
        (client(0xA1, MASK, b""), Violation::ReservedBits),
        (client(0x91, MASK, b""), Violation::ReservedBits),
        (client(0x83, MASK, b""), Violation::ReservedOpcode),
        (client(0x87, MASK, b""), Violation::ReservedOpcode),
        (client(0x8B, MASK, b""), Violation::ReservedOpcode),
        (client(0x8F, MASK, b""), Violation::ReservedOpcode),
        (long, Violation::ControlTooLong),
        (vec![0x88, 0xFE], Violation::ControlTooLong),
        (vec![0x8A, 0xFF], Violation::ControlTooLong),
        (client(0x09, MASK, b""), Violation::ControlFragmented),
        (client(0x08, MASK, b""), Violation::ControlFragmented),
        (client(0x80, MASK, b"a"), Violation::BadContinuation),
        (client(0x00, MASK, b"a"), Violation::BadContinuation),
        ([client(0x01, MASK, b"a"), client(0x81, MASK, b"b")].concat(), Violation::BadContinuation),
        ([client(0x02, MASK, b"a"), client(0x01, MASK, b"b")].concat(), Violation::BadContinuation),
        (
            [client(0x01, MASK, b"a"), client(0x80, MASK, b"b"), client(0x80, MASK, b"c")].concat(),
            Violation::BadContinuation,
        ),
        (vec![0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4], Violation::BadLength),
        (client(0x88, MASK, b"\x03"), Violation::InvalidClose),
    ] {
        assert_eq!(decode(&stream).unwrap_err(), expected, "{stream:x?}");
        assert_eq!(expected.close_code(), 1002);
        assert!(expected.reason().len() <= MAX_REASON_BYTES);
        assert_eq!(expected.to_string(), expected.reason());
    }
}

#[test]
fn invalid_text() {
    let euro = "\u{20ac}".as_bytes();
    for stream in [
        client(0x81, MASK, b"\xFF"),
        client(0x81, MASK, &euro[..2]),
        // A surrogate, an overlong form, beyond the last character.
        client(0x81, MASK, b"\xED\xA0\x80"),
        client(0x81, MASK, b"\xC0\xAF"),
        client(0x81, MASK, b"\xF4\x90\x80\x80"),
        [client(0x01, MASK, &euro[..2]), client(0x80, MASK, b"a")].concat(),
        [client(0x01, MASK, &euro[..2]), client(0x80, MASK, b"")].concat(),
        client(0x88, MASK, b"\x03\xE8\xFF"),
    ] {
        assert_eq!(decode(&stream), Err(Violation::InvalidUtf8), "{stream:x?}");
    }
    assert_eq!(Violation::InvalidUtf8.close_code(), 1007);
    let halves = [client(0x01, MASK, &euro[..1]), client(0x00, MASK, &euro[1..2]), client(0x80, MASK, &euro[2..])];
    assert_eq!(decode(&halves.concat()), Ok(vec![text("\u{20ac}")]));
    // Fails fast: the message isn't complete, nor is the frame.
    assert_eq!(decode(&client(0x01, MASK, b"ab\xFF")), Err(Violation::InvalidUtf8));
    assert_eq!(decode(&client(0x81, MASK, b"ab\xFFcdef")[..10]), Err(Violation::InvalidUtf8));
    // Binary may hold anything.
    assert!(decode(&client(0x82, MASK, b"\xFF")).is_ok());
}

#[test]
fn close_frames() {
    let close = |payload: &[u8]| decode(&client(0x88, MASK, payload));
    assert_eq!(close(b""), Ok(vec![Got::Close(None, String::new())]));
    assert_eq!(close(b"\x03\xE8bye"), Ok(vec![Got::Close(Some(1000), "bye".into())]));
    for code in 0..=u16::MAX {
        let valid = match code {
            0..=999 | 1004..=1006 | 1015..=2999 | 5000.. => false,
            1000..=1003 | 1007..=1014 | 3000..=4999 => true,
        };
        let mut stream = client(0x88, MASK, &code.to_be_bytes());
        let result = Decoder::default().decode(&mut &mut stream[..]).map(|i| i.map(Got::from));
        if valid {
            assert_eq!(result, Ok(Some(Got::Close(Some(code), String::new()))));
        } else {
            assert_eq!(result, Err(Violation::InvalidClose), "{code}");
        }
    }
}

#[test]
fn nothing_counts_after_a_close() {
    let mut decoder = Decoder::default();
    let stream = [client(0x01, MASK, b"unfinished"), client(0x88, MASK, b""), vec![0xFF; 100]].concat();
    assert_eq!(decode_in_parts(&mut decoder, &stream, &[50]), Ok(vec![Got::Close(None, String::new())]));
    assert_eq!(decoder.heap_bytes(), 0);
}

#[test]
fn a_violation_lasts_and_holds_nothing() {
    let mut decoder = Decoder::default();
    let stream = [client(0x01, MASK, b"unfinished"), vec![0xFF; 2]].concat();
    for _ in 0..2 {
        assert_eq!(decode_in_parts(&mut decoder, &stream, &[100]), Err(Violation::ReservedBits));
        assert_eq!(decoder.heap_bytes(), 0);
    }
}

#[test]
fn too_large_shows_in_the_header() {
    // Announced: refused before a byte of the payload is there.
    for announced in [65_537, 1 << 40, (1 << 63) - 1] {
        let mut head = vec![0x81, 0xFF];
        head.extend(u64::to_be_bytes(announced));
        head.extend(MASK);
        let mut decoder = Decoder::default();
        assert_eq!(decode_in_parts(&mut decoder, &head, &[usize::MAX]), Err(Violation::TooLarge));
        assert_eq!(decoder.heap_bytes(), 0);
    }
    assert_eq!(Violation::TooLarge.close_code(), 4413);

    // Exactly the limit is fine, in one frame or in several, and nothing is held afterwards.
    let full = client(0x82, MASK, &[1; MAX_MESSAGE_BYTES]);
    assert!(decode_in_parts(&mut Decoder::default(), &full, &[4096]).is_ok());
    let parts =
        [client(0x02, MASK, &[1; 40_000]), client(0x89, MASK, &[1; 125]), client(0x80, MASK, &[1; 25_536])].concat();
    assert!(decode_in_parts(&mut Decoder::default(), &parts, &[4096]).is_ok());

    // One byte over, in the sum: refused by the last fragment's header.
    let mut sum = client(0x02, MASK, &[1; 40_000]);
    sum.extend(&client(0x80, MASK, &[1; 25_537])[..8]);
    assert_eq!(decode(&sum), Err(Violation::TooLarge));
    let mut small = Decoder::new(4);
    assert_eq!(decode_in_parts(&mut small, &client(0x82, MASK, &[0; 5]), &[100]), Err(Violation::TooLarge));
}

#[test]
fn memory_follows_what_was_received() {
    let mut decoder = Decoder::default();
    let stream = client(0x82, MASK, &[1; MAX_MESSAGE_BYTES]);
    assert_eq!(decode_in_parts(&mut decoder, &stream[..14 + 100], &[usize::MAX]), Ok(vec![]));
    assert!(!decoder.is_idle());
    assert!(decoder.heap_bytes() <= 200);
}

#[test]
fn lengths_longer_than_need_be_are_accepted() {
    let frame = [&[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 4], &[7]].concat();
    assert_eq!(decode(&frame), Ok(vec![Got::Binary(vec![7])]));
}

#[test]
fn control_frames_to_write() {
    assert_eq!(ping_frame(b""), &[0x89, 0][..]);
    assert_eq!(pong_frame(b""), &[0x8A, 0][..]);
    assert_eq!(pong_frame(b"a"), &[0x8A, 1, b'a'][..]);
    assert_eq!(ping_frame(&[0; 300]).len(), 127);
    assert_eq!(close_frame(None, "ignored"), &[0x88, 0][..]);
    assert_eq!(close_frame(Some(1000), ""), &[0x88, 2, 3, 0xE8][..]);
    assert_eq!(close_frame(Some(4413), "too_large"), &b"\x88\x0B\x11\x3Dtoo_large"[..]);
    // 61 of two bytes are 122; the next character would end at 124.
    let cut = close_frame(Some(1000), &"\u{e9}".repeat(100));
    assert_eq!(cut.len(), 2 + 2 + 122);
    assert!(std::str::from_utf8(&cut[4..]).is_ok());
    assert_eq!(close_frame(Some(1000), &"a".repeat(200)).len(), 127);
}

#[test]
fn a_frame_is_appended_as_it_is_made() {
    for n in [0, 1, 125, 126, 500, 65_535, 65_536, 100_000] {
        let payload = vec![b'x'; n];
        let expected = text_frame(&payload);
        let mut out = b"before".to_vec();
        write_text(&mut out, &payload);
        assert_eq!(out, [b"before", &expected[..]].concat());
    }
}
