#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::{super::*, *};

const LIMIT: usize = MAX_MESSAGE_BYTES;

fn inflated(message: &[u8]) -> Result<Vec<u8>, Violation> {
    let mut out = Vec::new();
    inflate(message, LIMIT, &mut out).map(|()| out)
}

/// A message as a client compresses it.
fn deflated(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 1024);
    let mut deflate = Compress::new(Compression::best(), false);
    assert_eq!(deflate.compress_vec(message, &mut out, FlushCompress::Sync).unwrap(), Status::Ok);
    assert_eq!(deflate.total_in(), message.len() as u64);
    out.strip_suffix(&TAIL).unwrap().to_vec()
}

/// A frame as a client sends it, with a mask that changes nothing.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let head = match payload.len() {
        length @ 0..126 => vec![first, 0x80 | length as u8],
        length => [&[first, 0x80 | 126][..], &u16::try_from(length).unwrap().to_be_bytes()].concat(),
    };
    [&head[..], &[0; 4], payload].concat()
}

/// What a decoder makes of a stream, whole and byte by byte.
fn decode(stream: &[u8]) -> Result<Vec<String>, Violation> {
    let in_parts = |part: usize| {
        let mut decoder = Decoder::default().with_deflate(true);
        let mut heard = Vec::new();
        for part in stream.to_vec().chunks_mut(part) {
            let mut input = part;
            while let Some(incoming) = decoder.decode(&mut input)? {
                heard.push(match incoming {
                    Incoming::Text(text) => text.to_owned(),
                    other => format!("{other:?}"),
                });
            }
            assert!(decoder.heap_bytes() <= LIMIT + MAX_CONTROL_BYTES);
            assert!(!decoder.is_idle() || decoder.heap_bytes() == 0);
        }
        Ok(heard)
    };
    let whole = in_parts(usize::MAX);
    assert_eq!(whole, in_parts(1));
    whole
}

/// The frames of a piece, those that are compressed with what they hold.
fn frames(piece: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    let mut at = 0;
    while let Some((first, payload)) = encode::payload_at(piece, at) {
        at = payload.end;
        let payload = &piece[payload];
        frames.push((first, if first & RSV1 == 0 { payload.to_vec() } else { inflated(payload).unwrap() }));
    }
    assert_eq!(at, piece.len());
    frames
}

#[test]
fn the_examples_of_rfc_7692() {
    // Sections 7.2.3.1, 7.2.3.3 (no compression), 7.2.3.4 (a last block) and 7.2.3.5 (two blocks).
    for message in [
        &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00][..],
        &[0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00],
        &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00],
        &[0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00],
    ] {
        assert_eq!(inflated(message).as_deref(), Ok(&b"Hello"[..]), "{message:x?}");
    }
    // Section 7.2.3.1, in two fragments; section 7.2.3.6, an empty message.
    let stream =
        [frame(0x41, &[0xF2, 0x48, 0xCD]), frame(0x80, &[0xC9, 0xC9, 0x07, 0x00]), frame(0xC1, &[0x00])].concat();
    assert_eq!(decode(&stream), Ok(vec!["Hello".to_owned(), String::new()]));
    // Section 7.2.3.2: its second message needs the window of the first, which was agreed to be given up.
    assert_eq!(inflated(&[0xF2, 0x00, 0x11, 0x00, 0x00]), Err(Violation::InvalidDeflate));
}

#[test]
fn offers_that_can_be_kept_are_accepted() {
    let plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    let narrow =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12";
    for (offers, answer) in [
        // What browsers, `ws` and Python's `websockets` offer.
        (&["permessage-deflate; client_max_window_bits"][..], Some(plain)),
        (&["permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"], Some(narrow)),
        (&["permessage-deflate"], Some(plain)),
        (&["Permessage-Deflate ;server_max_window_bits = \"15\" ; client_no_context_takeover"], Some(narrow)),
        (&["x-webkit-deflate-frame, permessage-deflate;server_no_context_takeover"], Some(plain)),
        (&["permessage-deflate; server_max_window_bits=9, permessage-deflate"], Some(plain)),
        (&["bbf-usp-protocol", "permessage-deflate"], Some(plain)),
        (&[], None),
        (&[""], None),
        (&["permessage-bzip2"], None),
        // Nobody's business, or malformed: declined (section 7.1).
        (&["permessage-deflate; server_max_window_bits=11"], None),
        (&["permessage-deflate; server_max_window_bits"], None),
        (&["permessage-deflate; server_max_window_bits=16"], None),
        (&["permessage-deflate; client_max_window_bits=7"], None),
        (&["permessage-deflate; client_max_window_bits=09"], None),
        (&["permessage-deflate; client_max_window_bits=+9"], None),
        (&["permessage-deflate; client_no_context_takeover=1"], None),
        (&["permessage-deflate; client_no_context_takeover; client_no_context_takeover"], None),
        (&["permessage-deflate; mystery"], None),
        (&["permessage-deflate;"], None),
    ] {
        assert_eq!(accept(offers.iter().copied()).as_deref(), answer, "{offers:?}");
    }
}

#[test]
fn a_piece_is_packed_once_for_all_who_get_it() {
    let mut piece = Vec::new();
    let long = |n: u32| format!("{n} {}", "said again and again, ".repeat(20));
    for n in 0..3 {
        write_text(&mut piece, long(n).as_bytes());
        piece.extend_from_slice(&ping_frame(b"still there?"));
        write_text(&mut piece, b"short");
    }
    let piece = Bytes::from(piece);
    let packed = pack(piece.clone());
    assert!(packed.len() < piece.len() / 4, "{} of {}", packed.len(), piece.len());
    let said = frames(&packed);
    assert_eq!(said.len(), 9);
    for (n, frames) in (0..3).zip(said.chunks(3)) {
        let all: Vec<_> = frames.iter().map(|(first, payload)| (*first, str::from_utf8(payload).unwrap())).collect();
        assert_eq!(all, [(0xC1, long(n).as_str()), (0x89, "still there?"), (0x81, "short")]);
    }
    // The next one gets the same bytes; who comes in the middle, what is left of them; another piece is another one.
    assert_eq!(pack(piece.clone()).as_ptr(), packed.as_ptr());
    let rest = piece.slice(frame_size(long(0).len())..);
    assert_eq!(frames(&pack(rest)), said[1..]);
    assert_eq!(frames(&pack(piece)), said);

    // What would not become smaller stays as it is, a large message too.
    let mut noise = 1_u64;
    let noise: Vec<u8> = (0..70_000)
        .map(|_| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (noise >> 56) as u8
        })
        .collect();
    for size in [1, WORTH - 1, WORTH, 1_000, 70_000] {
        let frame = text_frame(&noise[..size]);
        assert_eq!(pack(frame.clone()).as_ptr(), frame.as_ptr(), "{size}");
    }
    let large = text_frame("0".repeat(300_000).as_bytes());
    let packed = pack(large.clone());
    assert!(packed.len() < 2_000);
    let (_, payload) = encode::payload_at(&packed, 0).unwrap();
    let mut out = Vec::new();
    inflate(&packed[payload], 300_000, &mut out).unwrap();
    assert_eq!(out, large[10..]);
}

#[test]
fn a_message_is_limited_before_and_after() {
    let most = "é".repeat(LIMIT / 2);
    assert_eq!(decode(&frame(0xC1, &deflated(most.as_bytes()))), Ok(vec![most.clone()]));
    // A byte more, and a thousand times more.
    let more = format!("{most}.");
    for message in [more.as_bytes(), &vec![b' '; 1000 * LIMIT]] {
        let packed = deflated(message);
        assert!(packed.len() < LIMIT);
        let mut out = Vec::new();
        assert_eq!(inflate(&packed, LIMIT, &mut out), Err(Violation::TooLarge));
        assert_eq!(out.capacity(), 0);
    }
    let fragments =
        [frame(0x41, &deflated(more.as_bytes())[..40]), frame(0x80, &deflated(more.as_bytes())[40..])].concat();
    assert_eq!(decode(&fragments), Err(Violation::TooLarge));
    // One that is announced is not waited for.
    let header = [&[0xC1, 0xFF][..], &(LIMIT as u64 + 1).to_be_bytes(), &[0; 4]].concat();
    assert_eq!(decode(&header), Err(Violation::TooLarge));
    // Endless ends.
    assert_eq!(inflated(&[0x03, 0x00].repeat(LIMIT / 2)), Err(Violation::InvalidDeflate));
}

#[test]
fn only_what_was_agreed_on_is_understood() {
    let packed = deflated(b"Hello");
    let text = "Hello".to_owned();
    let hello = frame(0xC1, &packed);
    assert_eq!(Decoder::default().decode(&mut &mut hello.clone()[..]), Err(Violation::ReservedBits));
    // Compressed or not, each message as its sender likes, and what belongs to none between fragments.
    let stream =
        [frame(0x81, b"Hello"), frame(0x41, &packed[..3]), frame(0x89, b"?"), frame(0x80, &packed[3..]), hello];
    assert_eq!(decode(&stream.concat()), Ok(vec![text.clone(), "Ping([63])".to_owned(), text.clone(), text]));
    // RSV1 stands on the first frame of a message only (section 6.1); the other bits mean nothing.
    for stream in [
        [frame(0x41, &packed[..3]), frame(0xC0, &packed[3..])].concat(),
        [frame(0x01, b"Hel"), frame(0xC0, b"lo")].concat(),
        frame(0xC9, b""),
        frame(0xC8, b""),
        frame(0xA1, &packed),
        frame(0xD1, &packed),
    ] {
        assert_eq!(decode(&stream), Err(Violation::ReservedBits), "{stream:x?}");
    }
    // Text is text when it is decompressed.
    assert_eq!(decode(&frame(0xC1, &deflated(b"\xC3("))), Err(Violation::InvalidUtf8));
    assert_eq!(decode(&frame(0xC1, b"\xFF\xFF\xFF")), Err(Violation::InvalidDeflate));
    assert_eq!(Violation::InvalidDeflate.close_code(), 1007);
}

proptest! {
    #[test]
    fn what_is_packed_is_unpacked_the_same(texts in prop::collection::vec("[a-f]{0,700}|.{0,300}", 1..6)) {
        let mut piece = Vec::new();
        for text in &texts {
            write_text(&mut piece, text.as_bytes());
        }
        let said: Vec<_> = frames(&pack(piece.into())).into_iter().map(|(_, said)| String::from_utf8(said).unwrap()).collect();
        prop_assert_eq!(&said, &texts);
        let stream: Vec<u8> = texts.iter().flat_map(|text| frame(0xC1, &deflated(text.as_bytes()))).collect();
        prop_assert_eq!(decode(&stream), Ok(texts));
    }

    #[test]
    fn garbage_is_harmless(message in prop::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let _ = inflated(&message);
        // And what is nearly right.
        let mut packed = deflated(&message.repeat(3));
        if !packed.is_empty() {
            let at = at.index(packed.len());
            packed[at] ^= 1 << bit;
            let _ = inflated(&packed);
            let _ = inflated(&packed[..at]);
        }
        prop_assert_eq!(inflated(&deflated(&message)), Ok(message));
    }

    #[test]
    fn offers_are_harmless(offers in prop::collection::vec("[ -~]{0,40}|(permessage-deflate|; *|=|client_max_window_bits|[0-9]{1,3}|,|\"){0,8}", 0..4)) {
        if let Some(answer) = accept(offers.iter().map(String::as_str)) {
            prop_assert!(answer.starts_with("permessage-deflate; server_no_context_takeover"));
        }
    }
}
