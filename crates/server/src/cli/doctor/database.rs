//! Whether the database answers, can be written to, and has the shape that this binary needs.

use std::sync::Arc;

use super::{CALL, Check, Foreign, Office, trouble};
use crate::{
    config::DatabaseUrl,
    store::{Db, probe},
    tasks::Tasks,
};

const REACHABLE: &str = "database";
const WRITABLE: &str = "database_writable";
const MIGRATED: &str = "database_migrated";

pub(super) async fn check(office: &Office<'_>) -> (Vec<Check>, Option<Foreign>) {
    let url = &office.config.database_url;
    let unknown = |name| Check::skipped(name, "the database does not answer");
    let silent = |sentence: String, mend: &str| {
        let first = Check::of(REACHABLE, Err(trouble(sentence, mend)));
        (vec![first, unknown(WRITABLE), unknown(MIGRATED)], None)
    };
    match url {
        DatabaseUrl::SqliteMemory => {
            let nothing =
                |name| Check::skipped(name, "DATABASE_URL names a database in memory: all ends with the process");
            return (vec![nothing(REACHABLE), nothing(WRITABLE), nothing(MIGRATED)], None);
        }
        // Opening would make it.
        DatabaseUrl::SqliteFile(path) if !path.exists() => {
            let sentence = format!("there is no file {}", path.display());
            let mend = "start the server once, or mend DATABASE_URL: sqlite:///./relative.db, sqlite:////absolute.db; a \
                        relative one counts from the current folder";
            return silent(sentence, mend);
        }
        DatabaseUrl::SqliteFile(_) | DatabaseUrl::Postgres(_) => {}
    }
    let mend = match url {
        DatabaseUrl::Postgres(_) => {
            "start PostgreSQL, make the database, or mend DATABASE_URL (host, port, user, password)"
        }
        _ => "give the server's user the right to read and write the file and its folder",
    };
    let opening = url.clone();
    let tasks = Tasks::default();
    let opened = tasks.blocking(move || Db::open(&opening, Arc::new(|_| {})));
    let db = match tokio::time::timeout(CALL, opened).await {
        Err(_) => return silent(format!("{url} does not answer within {} s", CALL.as_secs()), mend),
        Ok(None) => return silent(format!("opening {url} panicked"), mend),
        Ok(Some(Err(e))) => return silent(e, mend),
        Ok(Some(Ok(db))) => db,
    };
    let reachable = || Check::of(REACHABLE, Ok(format!("{url} answers")));
    let before = office.clock.now_ms();
    let probed = match tokio::time::timeout(CALL, probe::probe(&db)).await {
        Err(_) => return silent(format!("{url} does not answer within {} s", CALL.as_secs()), mend),
        Ok(probed) => probed,
    };
    let ours = before.midpoint(office.clock.now_ms());
    let probe = match probed {
        // A database of another version: it could be read, and nothing is known of writing.
        Err(e) if e.code == "migration" => {
            let mend = "run the version that the sentence names, or restore a backup";
            let migrated = Check::of(MIGRATED, Err(trouble(e.for_operator(), mend)));
            return (vec![reachable(), Check::skipped(WRITABLE, "its shape is not known"), migrated], None);
        }
        Err(e) => {
            let sentence = format!("a write was refused: {}", e.for_operator());
            let mend = match url {
                DatabaseUrl::Postgres(_) => {
                    "make the user of DATABASE_URL the database's owner (ALTER DATABASE … OWNER TO …), and see that the \
                     server is no read-only replica and has room on its disk"
                }
                _ => "give the server's user the right to write the file and its folder, and make room on the disk",
            };
            let writable = Check::of(WRITABLE, Err(trouble(sentence, mend)));
            return (vec![reachable(), writable, Check::skipped(MIGRATED, "it cannot be written to")], None);
        }
        Ok(probe) => probe,
    };
    let writable = Check::of(WRITABLE, Ok("a row was written, read and taken back".to_owned()));
    let migrated = match probe.missing.as_slice() {
        [] => Ok(format!("all {} migrations are applied", probe.applied)),
        missing => Err(trouble(
            format!(
                "{} of {} migrations are missing: {}",
                missing.len(),
                probe.applied + missing.len(),
                missing.join(", ")
            ),
            "start this version's server, which applies them, or run `mesh-server migrate up`",
        )),
    };
    let foreign = probe.now_ms.map(|now| Foreign { whose: "the database", ahead_ms: now - ours });
    (vec![reachable(), writable, Check::of(MIGRATED, migrated)], foreign)
}
