//! `DATABASE_URL`: SQLAlchemy's forms.

use std::fmt;
use std::path::PathBuf;

/// What is accepted, for the error line.
const ACCEPTED: &str = "sqlite:///./relative.db, sqlite:////absolute.db, sqlite:// (memory) or \
                        postgresql://user:password@host/database";

/// Where the data lives. `Display` and `Debug` mask the password of a PostgreSQL URL.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A SQLite file, relative to the working folder unless absolute.
    SqliteFile(PathBuf),
    /// SQLite in memory: gone when the process ends.
    SqliteMemory,
    /// PostgreSQL: the URL with its password, without a driver suffix, always `postgresql://`.
    Postgres(String),
}

impl DatabaseUrl {
    /// Parses SQLAlchemy's forms.
    ///
    /// # Errors
    /// What is accepted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| format!("expected {ACCEPTED}"))?;
        let (dialect, driver) = match scheme.split_once('+') {
            Some((dialect, driver)) => (dialect, Some(driver)),
            None => (scheme, None),
        };
        // SQLAlchemy's `+driver` names a Python package: nothing here depends on it
        if driver.is_some_and(|d| d.is_empty() || !d.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')) {
            return Err(format!("expected {ACCEPTED}"));
        }
        match dialect.to_ascii_lowercase().as_str() {
            "sqlite" => sqlite(rest),
            "postgresql" | "postgres" => postgres(rest),
            _ => Err(format!("expected {ACCEPTED}")),
        }
    }
}

fn sqlite(rest: &str) -> Result<DatabaseUrl, String> {
    if rest.contains('?') {
        return Err("a SQLite URL takes no ?parameters; expected only the path, such as sqlite:///./mesh.db".to_owned());
    }
    if rest.is_empty() {
        return Ok(DatabaseUrl::SqliteMemory);
    }
    // the third slash ends the (empty) host; a fourth begins an absolute path
    let Some(path) = rest.strip_prefix('/') else {
        return Err("a SQLite URL has three slashes before a relative path and four before an absolute one; expected \
                    sqlite:///./mesh.db or sqlite:////var/lib/mesh/mesh.db"
            .to_owned());
    };
    if path.is_empty() || path == ":memory:" {
        return Ok(DatabaseUrl::SqliteMemory);
    }
    let file = PathBuf::from(path);
    if path.ends_with('/') || path.starts_with("file:") || file.file_name().is_none() {
        return Err("expected the path of a file, such as sqlite:///./mesh.db".to_owned());
    }
    Ok(DatabaseUrl::SqliteFile(file))
}

fn postgres(rest: &str) -> Result<DatabaseUrl, String> {
    if rest.is_empty() || rest.contains(char::is_whitespace) {
        return Err(format!("expected {ACCEPTED}"));
    }
    Ok(DatabaseUrl::Postgres(format!("postgresql://{rest}")))
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SqliteFile(path) => write!(f, "sqlite:///{}", path.display()),
            Self::SqliteMemory => f.write_str("sqlite://"),
            Self::Postgres(url) => f.write_str(&mask_url(url)),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A URL without its password, also one that is malformed: what might be a secret is hidden rather than shown.
pub(super) fn mask_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        // no URL at all, perhaps libpq's `host=… password=…` or a URL with a slash too few
        let suspicious = url.contains('@') || url.to_ascii_lowercase().contains("pass");
        return if suspicious { "***".to_owned() } else { url.to_owned() };
    };
    let (before_query, query) = match rest.split_once('?') {
        // A "?" or "@" that was not escaped, in a password or behind one: where it ends is a guess.
        Some((_, query)) if query.contains('@') => return format!("{scheme}://***"),
        Some((before, query)) => (before, Some(query)),
        None => (rest, None),
    };
    // the last "@", since a password may hold one that was not escaped
    let place = match before_query.rsplit_once('@') {
        None => before_query.to_owned(),
        Some((user_info, place)) => match user_info.split_once(':') {
            Some((user, _)) => format!("{user}:***@{place}"),
            // NATS takes a token there; PostgreSQL only a user name
            None if scheme.starts_with("postgres") => format!("{user_info}@{place}"),
            None => format!("***@{place}"),
        },
    };
    match query {
        None => format!("{scheme}://{place}"),
        Some(query) => format!("{scheme}://{place}?{}", mask_query(query)),
    }
}

/// libpq takes `password` and `sslpassword` as parameters too.
fn mask_query(query: &str) -> String {
    let parts = query.split('&').map(|part| match part.split_once('=') {
        Some((key, _)) if ["pass", "secret", "token"].iter().any(|w| key.to_ascii_lowercase().contains(w)) => {
            format!("{key}=***")
        }
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn reads_sqlalchemys_forms() {
        let file = |p: &str| DatabaseUrl::SqliteFile(PathBuf::from(p));
        let pg = |u: &str| DatabaseUrl::Postgres(u.to_owned());
        let cases = [
            ("sqlite:///./mesh.db", file("./mesh.db")),
            ("sqlite:///mesh.db", file("mesh.db")),
            ("sqlite:////var/lib/mesh.db", file("/var/lib/mesh.db")),
            ("sqlite+aiosqlite:///./mesh.db", file("./mesh.db")),
            ("sqlite:///C:\\mesh.db", file("C:\\mesh.db")),
            ("sqlite://", DatabaseUrl::SqliteMemory),
            ("sqlite:///", DatabaseUrl::SqliteMemory),
            ("sqlite:///:memory:", DatabaseUrl::SqliteMemory),
            ("sqlite+pysqlite:///:memory:", DatabaseUrl::SqliteMemory),
            ("postgresql://u:p@h:5432/d", pg("postgresql://u:p@h:5432/d")),
            ("postgres://u@h/d", pg("postgresql://u@h/d")),
            ("postgresql+psycopg2://u:p@h/d?sslmode=require", pg("postgresql://u:p@h/d?sslmode=require")),
            ("postgresql+asyncpg://h/d", pg("postgresql://h/d")),
            ("postgresql:///d?host=/run/postgresql", pg("postgresql:///d?host=/run/postgresql")),
        ];
        for (text, expected) in cases {
            assert_eq!(DatabaseUrl::parse(text).as_ref(), Ok(&expected), "{text}");
        }
    }

    #[test]
    fn refuses_other_forms() {
        let cases = [
            ("mesh.db", "sqlite:///./relative.db"),
            ("mysql://h/d", "postgresql://"),
            ("postgresql+://h/d", "postgresql://"),
            ("postgresql://", "postgresql://"),
            ("postgresql://h/my db", "postgresql://"),
            ("sqlite://mesh.db", "three slashes"),
            ("sqlite:///mesh.db?mode=ro", "no ?parameters"),
            ("sqlite:///data/", "path of a file"),
            ("sqlite:///..", "path of a file"),
            ("sqlite:///file:mesh.db", "path of a file"),
        ];
        for (text, part) in cases {
            let error = DatabaseUrl::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn masks_passwords() {
        let cases = [
            ("postgresql://u:hunter2@h/d", "postgresql://u:***@h/d"),
            ("postgresql://u:hun@ter/2@h/d", "postgresql://u:***@h/d"),
            ("postgresql://u:hun?ter2@h/d", "postgresql://***"),
            ("postgresql://u:h@n?ter2@h/d?a=b", "postgresql://***"),
            ("postgresql://u@h/d", "postgresql://u@h/d"),
            (
                "postgresql://h/d?user=u&password=hunter2&sslmode=require",
                "postgresql://h/d?user=u&password=***&sslmode=require",
            ),
            ("nats://hunter2@h:4222", "nats://***@h:4222"),
            ("host=h password=hunter2", "***"),
            ("postgresql:/u:hunter2@h/d", "***"),
            ("mesh.db", "mesh.db"),
        ];
        for (url, masked) in cases {
            assert_eq!(mask_url(url), masked);
        }
        let url = DatabaseUrl::parse("postgres://u:hunter2@h/d").unwrap();
        assert_eq!(format!("{url} {url:?}"), "postgresql://u:***@h/d postgresql://u:***@h/d");
        assert_eq!(DatabaseUrl::parse("sqlite:////a/b.db").unwrap().to_string(), "sqlite:////a/b.db");
    }
}
