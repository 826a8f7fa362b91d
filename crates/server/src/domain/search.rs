//! Words, as search knows them: of what was said, and of what is asked for.

use mesh_protocol::RoomId;
use unicode_normalization::UnicodeNormalization as _;

/// Words of one question at most; each is a look into the index.
pub const MAX_WORDS: usize = 16;
/// Letters of a word that count; what follows them does not tell words apart.
const MAX_LETTERS: usize = 64;

/// Lower case, and letters without their accents (U+0300–U+036F): `Élève` is `eleve`. What is neither letter nor digit
/// separates words.
fn words(text: &str) -> Vec<String> {
    let folded: String =
        text.nfd().flat_map(char::to_lowercase).filter(|c| !('\u{300}'..='\u{36f}').contains(c)).collect();
    folded
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| word.chars().take(MAX_LETTERS).collect())
        .collect()
}

/// What stands before each word of a room in the index: the random end of its id. So the words of one room stand
/// together, and the beginning of a word is looked up among them alone. Two rooms with the same end are told apart by
/// the query.
fn mark(room: &str) -> String {
    let digits: Vec<char> = room.chars().filter(|c| *c != '-').collect();
    digits[digits.len().saturating_sub(12)..].iter().collect()
}

/// A message's words as the index takes them: each behind its room's mark, with a space between.
pub fn document(room: &str, content: &str) -> String {
    let mark = mark(room);
    words(content).iter().map(|word| format!("{mark}{word}")).collect::<Vec<_>>().join(" ")
}

/// What is looked for: all these words, the last of them by its beginning. Letters and digits only, whatever was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    words: Vec<String>,
}

impl Wanted {
    /// Reads a question, of which the first [`MAX_WORDS`] words count; none where it holds no word.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = words(text);
        words.truncate(MAX_WORDS);
        (!words.is_empty()).then_some(Self { words })
    }

    /// As FTS5 asks for them in a room (`"a" AND "b" *`).
    pub fn fts5(&self, room: RoomId) -> String {
        let mark = mark(&room.to_string());
        let words: Vec<_> = self.words.iter().map(|word| format!("\"{mark}{word}\"")).collect();
        format!("{} *", words.join(" AND "))
    }

    /// All words but the last, with a space between; and the last.
    pub fn parts(&self) -> (String, &str) {
        let (last, before) =
            self.words.split_last().map_or(("", [].as_slice()), |(last, before)| (last.as_str(), before));
        (before.join(" "), last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    #[test]
    fn words_are_letters_and_digits_without_accents() {
        assert_eq!(words("Élève, l'été\n2026!"), ["eleve", "l", "ete", "2026"]);
        assert_eq!(words("E\u{301}TE\u{301} ÅNGSTRÖM пИро́г 東京"), ["ete", "angstrom", "пирог", "東京"]);
        assert!(words(" *\"'()-:&|!<>@ 👍").is_empty());
        assert_eq!(words(&"ä".repeat(100)), ["a".repeat(64)]);
    }

    #[test]
    fn a_document_holds_its_rooms_mark_before_each_word() {
        assert_eq!(document(ROOM, "Hello, you"), "b302099a8057hello b302099a8057you");
        assert_eq!(document(ROOM, "…"), "");
    }

    #[test]
    fn nothing_typed_is_syntax() {
        let room = RoomId::parse(ROOM);
        let wanted = Wanted::parse("a* OR \"b NEAR('c':*").unwrap();
        let quoted = ["a", "or", "b", "near", "c"].map(|w| format!("\"b302099a8057{w}\""));
        assert_eq!(wanted.fts5(room), format!("{} *", quoted.join(" AND ")));
        assert_eq!(wanted.parts(), ("a or b near".to_owned(), "c"));
        assert_eq!(Wanted::parse("?!"), None);
        assert_eq!(Wanted::parse(&"a ".repeat(MAX_WORDS + 1)), Wanted::parse(&"a ".repeat(MAX_WORDS)));
    }
}
