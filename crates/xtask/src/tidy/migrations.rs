//! Migrations expand first and contract later: while a server is exchanged for a newer one, the older works on beside it. What
//! it would stumble over stands behind a line `-- contract: …`, which says since which version nobody uses it.

use std::{fs, path::Path};

use super::Finding;

/// Up to here they were made before there was a release: nobody ran two versions.
const BEFORE_RELEASES: u32 = 10;

/// What takes away or makes stricter, and how to say it.
const CONTRACTS: &[(&str, &str)] = &[
    ("DROP ", "takes something away"),
    (" RENAME ", "renames"),
    (" ALTER COLUMN ", "changes a column"),
    (" ADD CONSTRAINT ", "makes a table stricter"),
    ("TRUNCATE ", "takes rows away"),
];

/// Looks at each migration's way up.
pub(super) fn check(root: &Path) -> Result<Vec<Finding>, String> {
    let mut findings = Vec::new();
    for dialect in ["common", "sqlite", "postgres"] {
        let folder = format!("migrations/{dialect}");
        let mut names: Vec<String> = fs::read_dir(root.join(&folder))
            .map_err(|e| format!("{folder}: {e}"))?
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.ends_with(".up.sql"))
            .collect();
        names.sort();
        for name in names {
            let file = format!("{folder}/{name}");
            let text = fs::read_to_string(root.join(&file)).map_err(|e| format!("{file}: {e}"))?;
            let number = name.split('_').next().and_then(|n| n.parse::<u32>().ok()).unwrap_or(u32::MAX);
            if number > BEFORE_RELEASES {
                findings.extend(stumbles(&file, &text));
            }
        }
    }
    Ok(findings)
}

/// A statement in one line of capitals, without comments.
fn bare(statement: &str) -> String {
    let lines = statement.lines().map(|line| line.split("--").next().unwrap_or_default());
    let words: Vec<_> = lines.flat_map(str::split_whitespace).map(str::to_uppercase).collect();
    words.join(" ")
}

/// The table behind a word, without what follows the name.
fn table_behind<'a>(sql: &'a str, word: &str) -> Option<&'a str> {
    let rest = sql.split_once(word)?.1.trim_start();
    let rest = rest.strip_prefix("IF NOT EXISTS ").unwrap_or(rest);
    rest.split(|c: char| c == '(' || c.is_whitespace()).next().filter(|name| !name.is_empty())
}

fn stumbles(file: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (mut line, mut made) = (1, Vec::new());
    for statement in text.split(';') {
        let sql = bare(statement);
        if let Some(table) = sql.starts_with("CREATE TABLE").then(|| table_behind(&sql, "TABLE ")).flatten() {
            made.push(table.to_owned());
        }
        let is_new = |table: Option<&str>| table.is_some_and(|table| made.iter().any(|made| made == table));
        let altered = sql.starts_with("ALTER TABLE").then(|| table_behind(&sql, "ALTER TABLE ")).flatten();
        let indexed = table_behind(&sql, " ON ");
        let mut what = None;
        if !is_new(altered) {
            let found = CONTRACTS.iter().find(|(words, _)| {
                let at_start = !words.starts_with(' ');
                if at_start {
                    sql.starts_with(words) || sql.contains(&format!(" {words}"))
                } else {
                    sql.contains(words)
                }
            });
            what = found.map(|(_, what)| (*what).to_owned());
            if sql.contains(" ADD COLUMN ") && sql.contains("NOT NULL") && !sql.contains("DEFAULT") {
                what = Some("adds a column that an older server leaves out, without a default".to_owned());
            }
        }
        if sql.starts_with("CREATE UNIQUE INDEX") && !is_new(indexed) {
            what = Some("makes a table stricter".to_owned());
        }
        let said = statement
            .lines()
            .any(|line| line.trim_start().strip_prefix("-- contract:").is_some_and(|why| !why.trim().is_empty()));
        if let Some(what) = what
            && !said
        {
            let blank = statement.lines().take_while(|line| bare(line).is_empty()).count();
            let message = format!(
                "{what}: an older server that runs beside this one would stumble. Expand now and contract in a later release, \
                 behind a line `-- contract: since which version nobody uses it`"
            );
            findings.push(Finding { file: file.to_owned(), line: line + blank, message });
        }
        line += statement.matches('\n').count();
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        stumbles("x", text).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn what_expands_may_stand_and_what_contracts_says_so() {
        for good in [
            "CREATE TABLE a (id TEXT NOT NULL);\nCREATE UNIQUE INDEX a_id ON a (id);\nALTER TABLE a RENAME TO b;",
            "ALTER TABLE users ADD COLUMN x BIGINT;\nALTER TABLE users ADD COLUMN y BIGINT NOT NULL DEFAULT 0;",
            "-- DROP TABLE users is what a later one does.\nCREATE INDEX users_x ON users (x);",
            "-- contract: nobody reads it since 0.3\nALTER TABLE users DROP COLUMN x;",
            "CREATE TABLE dropped (id TEXT);",
        ] {
            assert_eq!(lines(good), [0_usize; 0], "{good}");
        }
        for (bad, line) in [
            ("CREATE TABLE a (id TEXT);\nDROP TABLE users;", 2),
            ("ALTER TABLE users\n  RENAME COLUMN a TO b;", 1),
            ("-- contract:\nALTER TABLE users DROP COLUMN x;", 2),
            ("ALTER TABLE rooms ALTER COLUMN id TYPE BIGINT;", 1),
            ("ALTER TABLE users ADD COLUMN x BIGINT NOT NULL;", 1),
            ("CREATE UNIQUE INDEX users_x ON users (x) WHERE x > 0;", 1),
            ("ALTER TABLE users ADD CONSTRAINT c CHECK (x > 0);", 1),
        ] {
            assert_eq!(lines(bad), [line], "{bad}");
        }
    }
}
