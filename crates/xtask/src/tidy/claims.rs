//! `docs/security.md` names the tests that prove its claims: each must be there.

use std::path::{Path, PathBuf};

use super::Finding;

const DOCUMENT: &str = "docs/security.md";
/// Sections that claim nothing of the server which a test could show.
const WITHOUT: &[&str] =
    &["Who might want what", "What the server sees", "What is not there yet", "Reporting a hole", "What is not there"];

/// Whether a file holds a test of this name.
fn holds(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.iter().enumerate().any(|(at, line)| {
        let begins = |line: &str| {
            line.strip_prefix("fn ").and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with('('))
        };
        begins(line.strip_prefix("async ").unwrap_or(line))
            && lines[..at].iter().rev().take_while(|above| above.starts_with("#[")).any(|above| above.contains("test"))
    })
}

/// A section (its name, where it begins, whether it has named a test) that should have named one.
fn untold(section: Option<(&str, usize, bool)>) -> Option<(&str, usize)> {
    section.filter(|(name, _, told)| !told && !WITHOUT.contains(name)).map(|(name, at, _)| (name, at))
}

/// Where a file that the document names may stand.
fn places(path: &str) -> [PathBuf; 3] {
    ["", "crates/server/tests/it", "crates/server/src"].map(|base| Path::new(base).join(path))
}

/// Checks the document; `sources` are the repository's, with paths from its root.
pub(super) fn check(document: &str, sources: &[(PathBuf, String)]) -> Vec<Finding> {
    let mut findings = vec![];
    let mut tell = |line: usize, message: String| {
        findings.push(Finding { file: DOCUMENT.to_owned(), line: line + 1, message });
    };
    let (mut section, mut within, mut file) = (None::<(&str, usize, bool)>, false, None::<&str>);
    for (number, line) in document.lines().enumerate() {
        if let Some(name) = line.strip_prefix("## ") {
            if let Some((name, at)) = untold(section) {
                tell(at, format!("\"{name}\" names no test"));
            }
            section = Some((name, number, false));
        }
        within = (within && !line.trim().is_empty()) || line.starts_with("Test: ") || line.starts_with("Tests: ");
        if !within {
            file = None;
            continue;
        }
        for (at, quoted) in line.split('`').enumerate() {
            let name = match quoted.split_once(": ") {
                _ if at % 2 == 0 => continue,
                Some((path, name)) if path.ends_with(".rs") => {
                    file = Some(path);
                    name
                }
                None if quoted.ends_with(".rs") => {
                    file = Some(quoted);
                    continue;
                }
                _ => quoted,
            };
            if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
                continue;
            }
            let Some(path) = file else {
                tell(number, format!("in which file is `{name}`?"));
                continue;
            };
            let places = places(path);
            let mut found = sources.iter().filter(|(path, _)| places.contains(path)).peekable();
            if found.peek().is_none() {
                tell(number, format!("there is no file {path}"));
            } else if !found.any(|(_, text)| holds(text, name)) {
                tell(number, format!("{path} has no test `{name}`"));
            }
            if let Some((_, _, told)) = &mut section {
                *told = true;
            }
        }
    }
    if let Some((name, at)) = untold(section) {
        tell(at, format!("\"{name}\" names no test"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(document: &str) -> Vec<String> {
        let text = "#[test]\nfn it_holds() {}\n\n#[tokio::test(flavor = \"multi_thread\")]\n#[ignore]\nasync fn so_does_this() {}\n\
                    fn helper() {}\n#[cfg(x)]\nfn it_hold() {}";
        let sources = ["crates/server/tests/it/rest/a.rs", "crates/server/src/keys/tests.rs"];
        let sources: Vec<_> = sources.map(|path| (PathBuf::from(path), text.to_owned())).into();
        check(document, &sources).iter().map(|finding| format!("{}: {}", finding.line, finding.message)).collect()
    }

    #[test]
    fn what_is_there_is_found() {
        let good = "## Tokens\n\nTests: `rest/a.rs: it_holds`, `so_does_this`; in `crates/server/src/keys/tests.rs`\n`it_holds` \
                    at `TRACE`; `keys/tests.rs: it_holds`.\n\n`not_looked_at`\n\n## Reporting a hole\n";
        assert_eq!(found(good), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_there_is_told() {
        let bad = "## Tokens\n\nTests: `so_does_this`, `rest/a.rs: helper`, `it_hold`,\n`rest/b.rs: it_holds`.\n\n## Logs\n\nNone.\n";
        let told = [
            "3: in which file is `so_does_this`?",
            "3: rest/a.rs has no test `helper`",
            "3: rest/a.rs has no test `it_hold`",
            "4: there is no file rest/b.rs",
            "6: \"Logs\" names no test",
        ];
        assert_eq!(found(bad), told);
    }
}
