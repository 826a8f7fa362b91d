//! Moves a house from one database to another: every table, in one transaction of the new one, and what was read and what
//! was written are compared.

mod catalog;

use sha2::{Digest as _, Sha256};

use super::{
    backup,
    db::{Conn, Param, Tx},
    migrate, postgres,
    row::Row,
    search, sqlite,
};
use crate::{config::DatabaseUrl, error::Error};
use catalog::Part;

/// Rows read at once, and written by one statement: at most a few megabytes.
const PAGE: usize = 250;
/// Messages brought into the index of words at once.
const INDEXED: usize = 500;

/// What was copied of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Its name.
    pub table: String,
    /// How many rows.
    pub rows: u64,
    /// The sum of the hashes of its rows, whatever their order: hexadecimal.
    pub hash: String,
}

/// A connection of one's own, outside the store's threads.
enum End {
    Sqlite(Box<sqlite::Session>),
    Postgres(Box<postgres::Session>),
}

impl End {
    fn open(url: &DatabaseUrl, read_only: bool) -> Result<Self, String> {
        Ok(match url {
            DatabaseUrl::SqliteFile(path) if read_only && !path.exists() => {
                return Err(format!("there is no {}", path.display()));
            }
            DatabaseUrl::SqliteFile(path) => Self::Sqlite(Box::new(sqlite::Session::alone(path, read_only)?)),
            DatabaseUrl::SqliteMemory => return Err("a database in memory is nobody else's".to_owned()),
            DatabaseUrl::Postgres(url) => Self::Postgres(Box::new(postgres::Session::alone(url, read_only)?)),
        })
    }

    fn tx(&mut self) -> Tx<'_> {
        let conn = match self {
            Self::Sqlite(session) => Conn::Sqlite(session),
            Self::Postgres(session) => Conn::Postgres(session),
        };
        Tx { conn, published: Vec::new() }
    }

    /// Begins: a reader sees one moment of the database until the end, a writer holds it.
    fn begin(&mut self, read_only: bool) -> Result<(), Error> {
        let words = match (&self, read_only) {
            (Self::Sqlite(_), true) => "BEGIN",
            (Self::Sqlite(_), false) => "BEGIN IMMEDIATE",
            (Self::Postgres(_), true) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            (Self::Postgres(_), false) => "BEGIN",
        };
        self.tx().script(words)
    }
}

/// The sum of the hashes of a table's rows.
#[derive(Default, PartialEq, Eq)]
struct Sum {
    rows: u64,
    lanes: [u64; 4],
}

impl Sum {
    fn add(&mut self, row: &Row) {
        let mut hash = Sha256::new();
        for cell in row.cells() {
            match cell {
                Param::Null => hash.update([0]),
                Param::Int(value) => {
                    hash.update([1]);
                    hash.update(value.to_be_bytes());
                }
                Param::Text(text) => {
                    hash.update([2]);
                    hash.update((text.len() as u64).to_be_bytes());
                    hash.update(text);
                }
            }
        }
        let digest = hash.finalize();
        for (lane, bytes) in self.lanes.iter_mut().zip(digest.chunks_exact(8)) {
            *lane = lane.wrapping_add(bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)));
        }
        self.rows += 1;
    }

    fn hex(&self) -> String {
        self.lanes.iter().map(|lane| format!("{lane:016x}")).collect()
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
}

/// Walks a table in pages, by its key.
fn walk(tx: &mut Tx<'_>, part: &Part, mut each: impl FnMut(Vec<Row>) -> Result<(), Error>) -> Result<(), Error> {
    let (columns, table, key) = (list(&part.columns), quoted(&part.name), list(&part.key));
    let marks = (1..=part.key.len()).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ");
    let first = format!("SELECT {columns} FROM {table} ORDER BY {key} LIMIT {PAGE}");
    let next = format!("SELECT {columns} FROM {table} WHERE ({key}) > ({marks}) ORDER BY {key} LIMIT {PAGE}");
    let places: Vec<usize> =
        part.key.iter().filter_map(|key| part.columns.iter().position(|column| column == key)).collect();
    let mut last: Option<Row> = None;
    loop {
        let rows = match &last {
            None => tx.rows_of(&first, &[])?,
            Some(end) => {
                let key: Vec<_> = places.iter().filter_map(|place| end.cell(*place)).collect();
                tx.rows_of(&next, &key)?
            }
        };
        let Some(end) = rows.last() else { return Ok(()) };
        last = Some(end.clone());
        let whole = rows.len() == PAGE;
        each(rows)?;
        if !whole {
            return Ok(());
        }
    }
}

fn insertion(part: &Part, rows: usize) -> String {
    let width = part.columns.len();
    let mut sql = format!("INSERT INTO {} ({}) VALUES ", quoted(&part.name), list(&part.columns));
    for row in 0..rows {
        let marks = (1..=width).map(|n| format!("${}", row * width + n)).collect::<Vec<_>>().join(", ");
        sql.push_str(if row == 0 { "(" } else { ", (" });
        sql.push_str(&marks);
        sql.push(')');
    }
    sql
}

fn count(tx: &mut Tx<'_>, part: &Part) -> Result<u64, Error> {
    let rows = tx.rows_of(&format!("SELECT COUNT(*) FROM {}", quoted(&part.name)), &[])?;
    rows.first().map_or(Ok(0), |row| row.count(0))
}

fn said(which: &str) -> impl Fn(Error) -> String + '_ {
    move |e| format!("{which}: {}", e.for_operator())
}

const FROM: &str = "the database to copy from";
const TO: &str = "the database to copy to";

/// Copies all that `from` holds at this moment to `to`, which must hold nothing; its tables are made where it has none. All
/// of it or nothing. With `verify`, rooms' logs must be without holes, and what was written is read anew and compared.
/// `progress` hears a table's name, how many of its rows are copied, and how many there are.
///
/// # Errors
/// A sentence for the operator.
pub fn copy(
    from: &DatabaseUrl,
    to: &DatabaseUrl,
    now: i64,
    verify: bool,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<Vec<Copied>, String> {
    if from == to {
        return Err("both are the same database".to_owned());
    }
    let mut source = End::open(from, true).map_err(|e| format!("{FROM}: {e}"))?;
    source.begin(true).map_err(said(FROM))?;
    let missing = migrate::missing(&mut source.tx()).map_err(said(FROM))?;
    if missing > 0 {
        return Err(format!("{FROM} is of an older version: run `mesh-server migrate up` on it first"));
    }
    let here = catalog::read(&mut source.tx()).map_err(said(FROM))?.map_err(|e| format!("{FROM}: {e}"))?;
    if verify && let Some(room) = backup::hole(&mut source.tx()).map_err(said(FROM))? {
        return Err(format!("{FROM}: the log of the room {room} has holes; nothing was copied"));
    }

    let mut target = End::open(to, false).map_err(|e| format!("{TO}: {e}"))?;
    target.begin(false).map_err(said(TO))?;
    migrate::up(&mut target.tx(), now).map_err(said(TO))?;
    let there = catalog::read(&mut target.tx()).map_err(said(TO))?.map_err(|e| format!("{TO}: {e}"))?;
    let plan = catalog::plan(&here, &there)?;
    for part in &plan {
        if count(&mut target.tx(), part).map_err(said(TO))? > 0 {
            return Err(format!("{TO} is not empty: there are rows in {}", part.name));
        }
    }
    let copied =
        plan.iter().map(|part| table(&mut source, &mut target, part, progress)).collect::<Result<Vec<_>, String>>()?;
    // On PostgreSQL the index went with each row.
    let mut indexed = 0;
    loop {
        let more = search::catch_up(&mut target.tx(), INDEXED).map_err(said(TO))?;
        if more == 0 {
            break;
        }
        indexed += more as u64;
        progress("the index of words", indexed, indexed);
    }
    target.tx().script("COMMIT").map_err(said(TO))?;
    if matches!(target, End::Postgres(_)) {
        // Until it has looked at the new rows, it plans as for empty tables.
        target.tx().script("ANALYZE").map_err(said(TO))?;
    }
    if verify {
        drop(target);
        compare(to, &plan, &copied, progress)?;
    }
    Ok(copied)
}

fn table(
    source: &mut End,
    target: &mut End,
    part: &Part,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<Copied, String> {
    let all = count(&mut source.tx(), part).map_err(said(FROM))?;
    let mut sum = Sum::default();
    let whole = insertion(part, PAGE);
    // Whose words an error is decides what the sentence names.
    let mut refused = None;
    walk(&mut source.tx(), part, |rows| {
        rows.iter().for_each(|row| sum.add(row));
        let params: Vec<Param<'_>> = rows.iter().flat_map(Row::cells).collect();
        let written = if rows.len() == PAGE {
            target.tx().exec_of(&whole, &params)
        } else {
            target.tx().exec_of(&insertion(part, rows.len()), &params)
        };
        progress(&part.name, sum.rows, all);
        written.map(drop).map_err(|e| {
            refused = Some(said(TO)(e));
            Error::internal("not written")
        })
    })
    .map_err(|e| refused.take().unwrap_or_else(|| said(FROM)(e)))?;
    let written = count(&mut target.tx(), part).map_err(said(TO))?;
    if (sum.rows, written) != (all, all) {
        let name = &part.name;
        return Err(format!("{name}: {all} rows were counted, {} read, {written} written; nothing was kept", sum.rows));
    }
    Ok(Copied { table: part.name.clone(), rows: sum.rows, hash: sum.hex() })
}

/// Reads what is there now, and compares it with what was read there.
fn compare(
    to: &DatabaseUrl,
    plan: &[Part],
    copied: &[Copied],
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<(), String> {
    let mut target = End::open(to, true).map_err(|e| format!("{TO}: {e}"))?;
    target.begin(true).map_err(said(TO))?;
    for (part, wanted) in plan.iter().zip(copied) {
        let mut sum = Sum::default();
        walk(&mut target.tx(), part, |rows| {
            rows.iter().for_each(|row| sum.add(row));
            progress(&format!("{} compared", part.name), sum.rows, wanted.rows);
            Ok(())
        })
        .map_err(said(TO))?;
        if (sum.rows, sum.hex().as_str()) != (wanted.rows, wanted.hash.as_str()) {
            let name = &part.name;
            return Err(format!("{name} is not the same in both databases: do not use the copy, and make it anew"));
        }
    }
    Ok(())
}
