//! Bounded texts: each type's only constructor checks, so that holding one means that it fits.

use std::{borrow::Cow, fmt};

use serde::Serialize;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Why a text is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError {
    /// `too_short`, `too_long` or `invalid`.
    pub code: &'static str,
    /// A sentence that says what is allowed.
    pub message: String,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TextError {}

fn error(code: &'static str, message: impl Into<String>) -> TextError {
    TextError { code, message: message.into() }
}

fn length(text: &str, min: usize, max: usize) -> Result<(), TextError> {
    let chars = text.chars().count();
    if chars < min {
        Err(error("too_short", format!("must have at least {min} character{}", if min == 1 { "" } else { "s" })))
    } else if chars > max {
        Err(error("too_long", format!("must have at most {max} characters, this has {chars}")))
    } else {
        Ok(())
    }
}

fn printable(text: &str, allowed: &[char]) -> Result<(), TextError> {
    match text.chars().find(|c| c.is_control() && !allowed.contains(c)) {
        Some(c) => Err(error("invalid", format!("must not contain the control character U+{:04X}", u32::from(c)))),
        None => Ok(()),
    }
}

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text, owned.
            pub fn into_string(self) -> String {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_type!(
    /// A user's name: 3–32 of `A-Za-z0-9._-`; compared without case.
    Username
);
text_type!(
    /// A room's name: 1–100 characters on one line, outer white space removed.
    RoomName
);
text_type!(
    /// What a person is called: 1–100 characters on one line, outer white space removed.
    DisplayName
);
text_type!(
    /// A room's description: at most 1,000 characters; newline and tab allowed.
    Description
);
text_type!(
    /// A message's content: 1 to the configured number of characters; no control characters but newline and tab.
    Content
);
text_type!(
    /// A client's own name for a message: 1–64 characters. The same one in the same room is one message.
    ClientId
);
text_type!(
    /// A reaction: 1–32 characters, no white space and no control characters. Emoji are sequences of several.
    Emoji
);
text_type!(
    /// The name of a shared file: 1 to 255 bytes on one line, and no path.
    FileName
);
text_type!(
    /// A media type such as `application/pdf`, at most 127 characters.
    MediaType
);
text_type!(
    /// What a terminal is called: 1–100 characters on one line, outer white space removed.
    Title
);
text_type!(
    /// A SHA-256 in hexadecimal: 64 digits, in lower case.
    Sha256
);
text_type!(
    /// An address for mail: at most 254 characters with one `@` between two parts.
    Email
);

impl Username {
    /// Checks a user name.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        length(text, 3, 32)?;
        if text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(error("invalid", "must consist of A-Z, a-z, 0-9, '.', '_' and '-'"))
        }
    }

    /// The form in which two names are the same.
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

/// Letters in NFC (UAX #15): what looks the same is the same.
fn composed(text: &str) -> String {
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        text.to_owned()
    } else {
        text.nfc().collect()
    }
}

fn one_line(text: &str) -> Result<String, TextError> {
    let text = composed(text.trim());
    length(&text, 1, 100)?;
    printable(&text, &[])?;
    Ok(text)
}

impl RoomName {
    /// Checks a room's name.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        one_line(text).map(Self)
    }
}

impl DisplayName {
    /// Checks a display name.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        one_line(text).map(Self)
    }
}

impl From<&Username> for DisplayName {
    fn from(name: &Username) -> Self {
        Self(name.as_str().to_owned())
    }
}

impl Description {
    /// Checks a description.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let text = composed(text);
        length(&text, 0, 1_000)?;
        printable(&text, &['\n', '\t'])?;
        Ok(Self(text))
    }
}

impl Content {
    /// Checks a message's content against `max` characters. Line ends become `\n` and letters NFC (UAX #15), so that
    /// every client counts the same characters and finds the same words.
    pub fn parse(text: &str, max: usize) -> Result<Self, TextError> {
        let lines =
            if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n").into() } else { Cow::from(text) };
        let text = composed(&lines);
        // Bytes bound characters from above: the common short text is never counted.
        if text.is_empty() || text.len() > max {
            length(&text, 1, max)?;
        }
        printable(&text, &['\n', '\t'])?;
        Ok(Self(text))
    }
}

impl ClientId {
    /// Checks a client id.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        length(text, 1, crate::limits::MAX_ID_CHARS)?;
        printable(text, &[])?;
        Ok(Self(text.to_owned()))
    }
}

impl Emoji {
    /// Checks a reaction.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let text = composed(text);
        length(&text, 1, 32)?;
        printable(&text, &[])?;
        if text.chars().any(char::is_whitespace) {
            return Err(error("invalid", "must not contain white space"));
        }
        Ok(Self(text))
    }
}

impl FileName {
    /// Checks a file's name. Whoever gets the file may write it under this name: it leads nowhere else.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        length(text, 1, 255)?;
        if text.len() > 255 {
            return Err(error("too_long", format!("must have at most 255 bytes in UTF-8, this has {}", text.len())));
        }
        printable(text, &[])?;
        if text.contains(['/', '\\']) || text == "." || text == ".." {
            return Err(error("invalid", "must be a file's name, without a path"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl MediaType {
    /// Checks a media type's shape (RFC 6838, section 4.2), without parameters.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        length(text, 3, 127)?;
        let word = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
        };
        match text.split_once('/') {
            Some((kind, subtype)) if word(kind) && word(subtype) => Ok(Self(text.to_owned())),
            _ => Err(error("invalid", "must be a media type such as application/pdf")),
        }
    }
}

impl Title {
    /// Checks a terminal's title.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        one_line(text).map(Self)
    }
}

impl Sha256 {
    /// Checks a SHA-256's digits.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(error("invalid", "must be 64 hexadecimal digits"))
        }
    }
}

impl Email {
    /// Checks an address's shape; whether mail arrives there is not asked.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let text = text.trim();
        length(text, 3, 254)?;
        let parts = text.split_once('@');
        let fits = parts.is_some_and(|(local, host)| {
            !local.is_empty() && !host.is_empty() && !host.contains('@') && !text.chars().any(char::is_whitespace)
        });
        printable(text, &[])?;
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(error("invalid", "must be an address such as ana@example.org"))
        }
    }
}

/// Checks a new password: at least 8 characters, at most 72 bytes (bcrypt reads no further).
pub fn check_password(text: &str) -> Result<(), TextError> {
    if text.chars().count() < 8 {
        Err(error("too_short", "must have at least 8 characters"))
    } else if text.len() > 72 {
        Err(error("too_long", format!("must have at most 72 bytes in UTF-8, this has {}", text.len())))
    } else if text.contains('\0') {
        // C implementations of bcrypt stop at a NUL: such a hash would mean less elsewhere.
        Err(error("invalid", "must not contain U+0000"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_counts_characters_and_keeps_lines() {
        assert_eq!(Content::parse("a\r\nb\rc", 10).unwrap().as_str(), "a\nb\nc");
        assert!(Content::parse(&"é".repeat(4000), 4000).is_ok());
        assert_eq!(Content::parse(&"é".repeat(4001), 4000).unwrap_err().code, "too_long");
        assert_eq!(Content::parse("", 4000).unwrap_err().code, "too_short");
        assert_eq!(Content::parse("a\u{7}", 4000).unwrap_err().code, "invalid");
        assert!(Content::parse("a\tb\n", 4000).is_ok());
    }

    #[test]
    fn names() {
        assert!(Username::parse("Ana.B-c_9").is_ok());
        assert_eq!(Username::parse("ab").unwrap_err().code, "too_short");
        assert_eq!(Username::parse(&"a".repeat(33)).unwrap_err().code, "too_long");
        assert_eq!(Username::parse("ana b").unwrap_err().code, "invalid");
        assert_eq!(RoomName::parse("  \n ").unwrap_err().code, "too_short");
        assert_eq!(RoomName::parse("a\nb").unwrap_err().code, "invalid");
        assert!(RoomName::parse(&"é".repeat(100)).is_ok());
        assert_eq!(RoomName::parse(&"e\u{301}".repeat(100)).unwrap().as_str(), "é".repeat(100));
        assert_eq!(Description::parse("e\u{301}").unwrap().as_str(), "é");
        assert_eq!(Description::parse("a\rb").unwrap_err().code, "invalid");
    }

    #[test]
    fn a_file_is_named_without_a_path() {
        for good in ["a", "report (2).pdf", "…", ".profile", &"x".repeat(255)] {
            assert_eq!(FileName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "../x", "/etc/passwd", "a\\b", "a\nb", "a\0", &"x".repeat(256), &"é".repeat(128)] {
            assert!(FileName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(MediaType::parse("application/vnd.oasis.opendocument.text").is_ok());
        for bad in
            ["", "pdf", "a/", "/b", "a/b/c", "text/html; charset=utf-8", "a b/c", &format!("a/{}", "b".repeat(126))]
        {
            assert!(MediaType::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Sha256::parse(&"A".repeat(64)).unwrap().as_str(), "a".repeat(64));
        assert!(Sha256::parse(&"g".repeat(64)).is_err() && Sha256::parse(&"a".repeat(63)).is_err());
    }

    #[test]
    fn passwords_are_bounded_in_bytes() {
        assert!(check_password(&"a".repeat(72)).is_ok());
        assert_eq!(check_password(&"é".repeat(37)).unwrap_err().code, "too_long");
        assert_eq!(check_password("ééééééé").unwrap_err().code, "too_short");
    }
}
