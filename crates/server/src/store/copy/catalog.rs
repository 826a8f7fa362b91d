//! What tables a database has, in its own words: so that a new table or column is copied without anybody thinking of it.

use std::collections::{BTreeMap, BTreeSet};

use super::super::db::Tx;
use crate::error::Result;

/// A column of a table: `TEXT`, or a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Text,
    Int,
}

/// One table.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// By name.
    pub(super) columns: BTreeMap<String, Type>,
    /// The columns of its primary key, in their order.
    pub(super) key: Vec<String>,
    /// The tables that its rows point at.
    pub(super) points_at: BTreeSet<String>,
}

pub(super) type Catalog = BTreeMap<String, Table>;

// Each database's alone, so not among the statements that both prepare. Virtual tables and what belongs to them are no
// tables here: an index is made anew.
const SQLITE_COLUMNS: &str = "SELECT t.name, c.name, c.type, c.pk \
    FROM pragma_table_list t JOIN pragma_table_info(t.name) c \
    WHERE t.schema = 'main' AND t.type = 'table' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY t.name, c.cid";
const SQLITE_POINTS_AT: &str = "SELECT t.name, f.\"table\" \
    FROM pragma_table_list t JOIN pragma_foreign_key_list(t.name) f WHERE t.schema = 'main' AND t.type = 'table'";
const POSTGRES_COLUMNS: &str = "SELECT CAST(t.relname AS TEXT), CAST(c.attname AS TEXT), \
        CAST(format_type(c.atttypid, NULL) AS TEXT), \
        CAST(COALESCE(array_position(CAST(i.indkey AS SMALLINT[]), c.attnum) + 1, 0) AS BIGINT) \
    FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace \
    JOIN pg_attribute c ON c.attrelid = t.oid AND c.attnum > 0 AND NOT c.attisdropped \
    LEFT JOIN pg_index i ON i.indrelid = t.oid AND i.indisprimary \
    WHERE t.relkind IN ('r', 'p') AND n.nspname = current_schema() ORDER BY t.relname, c.attnum";
const POSTGRES_POINTS_AT: &str = "SELECT CAST(t.relname AS TEXT), CAST(f.relname AS TEXT) \
    FROM pg_constraint k JOIN pg_class t ON t.oid = k.conrelid JOIN pg_class f ON f.oid = k.confrelid \
    JOIN pg_namespace n ON n.oid = t.relnamespace WHERE k.contype = 'f' AND n.nspname = current_schema()";

/// Reads the catalog.
///
/// # Errors
/// The database's own; or a sentence where a column is of a type that cannot be copied.
pub(super) fn read(tx: &mut Tx<'_>) -> Result<Result<Catalog, String>> {
    let (columns, points_at) = match tx.is_postgres() {
        true => (POSTGRES_COLUMNS, POSTGRES_POINTS_AT),
        false => (SQLITE_COLUMNS, SQLITE_POINTS_AT),
    };
    let mut catalog = Catalog::new();
    let mut keys: BTreeMap<String, BTreeMap<i64, String>> = BTreeMap::new();
    for row in tx.rows(columns, &[])? {
        let (table, column) = (row.text(0)?, row.text(1)?);
        let kind = match row.text(2)?.to_ascii_lowercase().as_str() {
            "text" => Type::Text,
            "bigint" | "integer" => Type::Int,
            other => return Ok(Err(format!("{table}.{column} is of the type {other}, which cannot be copied"))),
        };
        catalog.entry(table.to_owned()).or_default().columns.insert(column.to_owned(), kind);
        let place = row.int(3)?;
        if place > 0 {
            keys.entry(table.to_owned()).or_default().insert(place, column.to_owned());
        }
    }
    for (name, key) in keys {
        if let Some(table) = catalog.get_mut(&name) {
            table.key = key.into_values().collect();
        }
    }
    for row in tx.rows(points_at, &[])? {
        if let Some(table) = catalog.get_mut(row.text(0)?) {
            table.points_at.insert(row.text(1)?.to_owned());
        }
    }
    Ok(Ok(catalog))
}

/// What is copied of a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) name: String,
    /// In the order of their names, whatever the order of the database.
    pub(super) columns: Vec<String>,
    /// What its pages are ordered by.
    pub(super) key: Vec<String>,
}

/// Tables that each database keeps for itself: what is applied, and how far the index of words is.
const OWN_TABLES: &[&str] = &["schema_migrations", "search_index"];
/// Columns that one database gives by itself, and what the table is ordered by instead.
const OWN_COLUMNS: &[(&str, &str, &[&str])] = &[("messages", "doc", &["room_id", "seq"])];

fn is_own(table: &str, column: &str) -> bool {
    OWN_COLUMNS.iter().any(|(t, c, _)| *t == table && *c == column)
}

/// What is to be copied, a table behind all that its rows point at.
///
/// # Errors
/// Where the two databases are not of the same shape: a sentence.
pub(super) fn plan(from: &Catalog, to: &Catalog) -> Result<Vec<Part>, String> {
    let strange = |what: &str| format!("{what} is in one of the two databases only: it would be forgotten");
    let mine = |name: &&String| !OWN_TABLES.contains(&name.as_str());
    let names: BTreeSet<&String> = from.keys().chain(to.keys()).filter(mine).collect();
    let mut left = Vec::new();
    for name in names {
        let (Some(a), Some(b)) = (from.get(name), to.get(name)) else { return Err(strange(name)) };
        let mut columns = Vec::new();
        for (column, kind) in a.columns.iter().chain(&b.columns) {
            if is_own(name, column) || columns.contains(column) {
                continue;
            }
            match (a.columns.get(column), b.columns.get(column)) {
                (Some(here), Some(there)) if here == there => columns.push(column.clone()),
                (Some(_), Some(_)) => return Err(format!("{name}.{column} is not of the same type in both databases")),
                _ => return Err(strange(&format!("{name}.{column} ({kind:?})"))),
            }
        }
        let other = OWN_COLUMNS.iter().find(|(t, ..)| t == name);
        let key = match other {
            Some((.., key)) => key.iter().map(|&column| column.to_owned()).collect(),
            None => a.key.clone(),
        };
        if key.is_empty() {
            return Err(format!("the table {name} has no primary key"));
        }
        left.push((Part { name: name.clone(), columns, key }, a.points_at.union(&b.points_at).cloned().collect()));
    }
    in_order(left)
}

fn in_order(mut left: Vec<(Part, BTreeSet<String>)>) -> Result<Vec<Part>, String> {
    let mut done: Vec<Part> = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let free = |(part, points_at): &(Part, BTreeSet<String>)| {
            points_at.iter().all(|name| *name == part.name || done.iter().any(|part| part.name == *name))
        };
        let Some(next) = left.iter().position(free) else {
            return Err("tables point at one another in a circle".to_owned());
        };
        done.push(left.remove(next).0);
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[(&str, Type)], points_at: &[&str]) -> Table {
        Table {
            columns: columns.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect(),
            key: vec!["id".to_owned()],
            points_at: points_at.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    /// A table: its name, columns and what it refers to.
    type Sketch<'a> = (&'a str, &'a [(&'a str, Type)], &'a [&'a str]);

    fn catalog(tables: &[Sketch<'_>]) -> Catalog {
        tables.iter().map(|(name, columns, points_at)| ((*name).to_owned(), table(columns, points_at))).collect()
    }

    #[test]
    fn nothing_is_forgotten_and_the_order_holds() {
        let id: &[(&str, Type)] = &[("id", Type::Text)];
        let whole: &[Sketch<'_>] = &[("a", id, &["b"]), ("b", id, &["c", "b"]), ("c", id, &[])];
        let names: Vec<_> = plan(&catalog(whole), &catalog(whole)).unwrap().into_iter().map(|part| part.name).collect();
        assert_eq!(names, ["c", "b", "a"]);
        let err = |from: &[Sketch<'_>]| plan(&catalog(from), &catalog(whole)).unwrap_err();
        assert!(err(&whole[1..]).contains("a is in one of the two"));
        let more = [whole[0], whole[1], ("c", &[("id", Type::Text), ("new", Type::Int)][..], &[][..])];
        assert!(err(&more).contains("c.new"));
        let other = [whole[0], whole[1], ("c", &[("id", Type::Int)][..], &[][..])];
        assert!(err(&other).contains("same type"));
        let circle: &[Sketch<'_>] = &[("a", id, &["b"]), ("b", id, &["a"])];
        assert!(plan(&catalog(circle), &catalog(circle)).unwrap_err().contains("circle"));
    }
}
