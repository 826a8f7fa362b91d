//! Finds `@username` in what is said.

/// Mentions in one message that are looked up at most.
const MOST: usize = 50;

/// The names that a text mentions, in the form in which names are compared, each once.
pub fn mentioned(content: &str) -> Vec<String> {
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let mut names: Vec<String> = Vec::new();
    for (at, _) in content.match_indices('@') {
        // An address such as ana@example.org mentions nobody.
        if at > 0 && content.as_bytes().get(at - 1).copied().is_some_and(is_name) {
            continue;
        }
        let rest = content.get(at + 1..).unwrap_or_default();
        let end = rest.bytes().position(|b| !is_name(b)).unwrap_or(rest.len());
        let name = rest.get(..end).unwrap_or_default();
        // A name at the end of a sentence: both readings are tried, the longer first.
        for candidate in [name, name.trim_end_matches(['.', '-'])] {
            let key = candidate.to_ascii_lowercase();
            if (3..=32).contains(&key.len()) && !names.contains(&key) {
                names.push(key);
            }
        }
        if names.len() >= MOST {
            break;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_where_people_write_them() {
        assert_eq!(mentioned("@Ana, ask @ben.c. or (@eve)"), ["ana", "ben.c.", "ben.c", "eve"]);
        assert_eq!(mentioned("ana@example.org @ab @ é@ana"), ["ana"]);
        assert!(mentioned("nobody").is_empty());
        assert!(mentioned(&"@abc1 ".repeat(500)).len() <= 2);
    }
}
