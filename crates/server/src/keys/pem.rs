//! The blocks of a PEM file (RFC 7468).

use base64::{Engine as _, prelude::BASE64_STANDARD};

/// One block.
pub(super) struct Block<'a> {
    /// What it says it is.
    pub(super) label: &'a str,
    /// Its content; an error for what is no base64, as the headers of an encrypted key are none.
    pub(super) der: Result<Vec<u8>, ()>,
}

/// Every whole block, in order. What stands between blocks is for people.
pub(super) fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    let mut open: Option<(&str, String)> = None;
    for line in text.lines().map(str::trim) {
        let edge = |kind: &str| line.strip_prefix(kind)?.strip_suffix("-----");
        if let Some(label) = edge("-----BEGIN ") {
            open = Some((label, String::new()));
        } else if let Some(label) = edge("-----END ") {
            if let Some((begun, content)) = open.take()
                && begun == label
            {
                found.push(Block { label, der: BASE64_STANDARD.decode(content).map_err(drop) });
            }
        } else if let Some((_, content)) = &mut open {
            content.push_str(line);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_among_other_text() {
        let text = "# new\r\n-----BEGIN A-----\r\nAAEC\r\nAwQ=\r\n-----END A-----\r\nBag: x\n  -----BEGIN B C-----\nProc-Type: 4\n\
                    -----END B C-----\n-----BEGIN D-----\nAAAA\n-----END E-----\n-----BEGIN F-----\nAAAA";
        let found = blocks(text);
        assert_eq!(found.iter().map(|b| b.label).collect::<Vec<_>>(), ["A", "B C"]);
        assert_eq!(found[0].der.as_deref(), Ok(&[0, 1, 2, 3, 4][..]));
        assert!(found[1].der.is_err());
        assert!(blocks("").is_empty());
    }
}
