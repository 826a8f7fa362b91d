//! What chance makes of frames, whole, cut and nearly right.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
struct Sent {
    text: bool,
    content: String,
    cuts: Vec<usize>,
    /// Control frames, each after that many fragments.
    controls: Vec<(usize, bool, Vec<u8>)>,
    mask: [u8; 4],
}

impl Sent {
    /// Writes the message as frames and notes what a decoder has to make of it.
    fn encode(&self, stream: &mut Vec<u8>, expected: &mut Vec<Got>) {
        let bytes = self.content.as_bytes();
        let mut cuts: Vec<usize> = self.cuts.iter().map(|c| c % (bytes.len() + 1)).collect();
        cuts.sort_unstable();
        cuts.push(bytes.len());
        let mut from = 0;
        for (i, &to) in cuts.iter().enumerate() {
            for (_, ping, payload) in self.controls.iter().filter(|(at, ..)| *at == i) {
                stream.extend(client(if *ping { 0x89 } else { 0x8A }, self.mask, payload));
                expected.push(if *ping { Got::Ping(payload.clone()) } else { Got::Pong(payload.clone()) });
            }
            let opcode = match (i, self.text) {
                (0, true) => 1,
                (0, false) => 2,
                _ => 0,
            };
            let fin = if i + 1 == cuts.len() { 0x80 } else { 0 };
            let mut mask = self.mask;
            mask.rotate_left(i % 4);
            stream.extend(client(fin | opcode, mask, &bytes[from..to]));
            from = to;
        }
        expected.push(if self.text { text(&self.content) } else { Got::Binary(bytes.to_vec()) });
    }
}

fn sent() -> impl Strategy<Value = Sent> {
    let controls = (0usize..4, any::<bool>(), prop::collection::vec(any::<u8>(), 0..=125));
    let content = prop_oneof![".{0,40}", "[a\u{e9}\u{20ac}\u{1F980}]{0,400}"];
    (
        any::<bool>(),
        content,
        prop::collection::vec(any::<usize>(), 0..4),
        prop::collection::vec(controls, 0..3),
        any::<[u8; 4]>(),
    )
        .prop_map(|(text, content, cuts, controls, mask)| Sent { text, content, cuts, controls, mask })
}

proptest! {
    #[test]
    fn decodes_what_a_client_sent(
        messages in prop::collection::vec(sent(), 0..6),
        parts in prop::collection::vec(1usize..200, 1..20),
    ) {
        let (mut stream, mut expected) = (Vec::new(), Vec::new());
        for message in &messages {
            message.encode(&mut stream, &mut expected);
        }
        // Just enough for the largest: a limit that is too strict by one byte would show.
        let limit = messages.iter().map(|m| m.content.len()).max().unwrap_or(0);
        let mut decoder = Decoder::new(limit);
        let got = decode_in_parts(&mut decoder, &stream, &parts);
        prop_assert_eq!(got, Ok(expected.clone()));
        prop_assert!(decoder.is_idle() && decoder.heap_bytes() == 0);
        let whole = decode_in_parts(&mut decoder, &stream, &[usize::MAX]);
        prop_assert_eq!(whole, Ok(expected));
    }

    /// The bound on memory is asserted inside.
    #[test]
    fn garbage_is_harmless(
        stream in prop::collection::vec(any::<u8>(), 0..600),
        parts in prop::collection::vec(1usize..100, 1..10),
        limit in 0usize..300,
    ) {
        let mut first = Decoder::new(limit);
        let mut second = Decoder::new(limit);
        let a = decode_in_parts(&mut first, &stream, &parts);
        let b = decode_in_parts(&mut second, &stream, &[usize::MAX]);
        prop_assert_eq!(a, b);
    }

    /// Frames that are nearly right get deeper than noise does.
    #[test]
    fn nearly_valid_frames_are_harmless(
        frames in prop::collection::vec(
            (
                prop::sample::select(vec![0x00u8, 0x01, 0x02, 0x80, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A, 0xC1]),
                prop::collection::vec(0x60u8..0x90, 0..150),
                any::<[u8; 4]>(),
            ),
            0..12,
        ),
        parts in prop::collection::vec(1usize..100, 1..10),
        limit in 0usize..400,
    ) {
        let stream: Vec<u8> = frames
            .iter()
            .flat_map(|(first, payload, mask)| client(*first, *mask, payload))
            .collect();
        let a = decode_in_parts(&mut Decoder::new(limit), &stream, &parts);
        let b = decode_in_parts(&mut Decoder::new(limit), &stream, &[usize::MAX]);
        prop_assert_eq!(a, b);
    }

    #[test]
    fn unmasks_like_the_definition(
        payload in prop::collection::vec(any::<u8>(), 0..200),
        mask in any::<[u8; 4]>(),
    ) {
        let expected: Vec<u8> =
            payload.iter().enumerate().map(|(i, b)| b ^ mask[i % 4]).collect();
        let mut payload = payload;
        unmask(&mut payload, mask);
        prop_assert_eq!(payload, expected);
    }
}
