//! A row of an answer.

use super::db::Param;
use crate::error::{Error, Result};

/// A column; a text is a part of the row's.
#[derive(Clone, Copy, Debug)]
enum Cell {
    Null,
    Int(i64),
    Text { at: u32, len: u32 },
}

/// No database of these gives a text of more than a gigabyte.
fn short(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// A row of an answer: its columns are NULL, BIGINT or TEXT.
#[derive(Clone, Debug)]
pub struct Row {
    cells: Vec<Cell>,
    /// All texts of the row, one behind the other.
    texts: String,
}

impl Row {
    /// A row without columns yet, with room for so many and for so many bytes of text.
    pub(super) fn with_capacity(columns: usize, texts: usize) -> Self {
        Self { cells: Vec::with_capacity(columns), texts: String::with_capacity(texts) }
    }

    /// Adds a column.
    pub(super) fn push(&mut self, cell: Param<'_>) {
        self.cells.push(match cell {
            Param::Null => Cell::Null,
            Param::Int(value) => Cell::Int(value),
            Param::Text(text) => {
                let at = short(self.texts.len());
                self.texts.push_str(text);
                Cell::Text { at, len: short(text.len()) }
            }
        });
    }

    /// Bytes of all its texts.
    pub(super) fn texts_len(&self) -> usize {
        self.texts.len()
    }

    fn shown(&self, cell: Cell) -> Param<'_> {
        match cell {
            Cell::Null => Param::Null,
            Cell::Int(value) => Param::Int(value),
            Cell::Text { at, len } => {
                let (at, len) = (at as usize, len as usize);
                self.texts.get(at..at + len).map_or(Param::Null, Param::Text)
            }
        }
    }

    /// A column as it is.
    pub(super) fn cell(&self, column: usize) -> Option<Param<'_>> {
        self.cells.get(column).map(|cell| self.shown(*cell))
    }

    /// The columns in their order.
    pub(super) fn cells(&self) -> impl Iterator<Item = Param<'_>> {
        self.cells.iter().map(|cell| self.shown(*cell))
    }

    /// The number in a column that is never NULL.
    pub fn int(&self, column: usize) -> Result<i64> {
        self.opt_int(column)?.ok_or_else(|| unexpected(column, Some(Param::Null)))
    }

    /// The number in a column.
    pub fn opt_int(&self, column: usize) -> Result<Option<i64>> {
        match self.cell(column) {
            Some(Param::Int(value)) => Ok(Some(value)),
            Some(Param::Null) => Ok(None),
            other => Err(unexpected(column, other)),
        }
    }

    /// The number in a column that is never NULL and never below zero.
    pub fn count(&self, column: usize) -> Result<u64> {
        let value = self.int(column)?;
        u64::try_from(value).map_err(|_| unexpected(column, Some(Param::Int(value))))
    }

    /// The text in a column that is never NULL.
    pub fn text(&self, column: usize) -> Result<&str> {
        self.opt_text(column)?.ok_or_else(|| unexpected(column, Some(Param::Null)))
    }

    /// The text in a column.
    pub fn opt_text(&self, column: usize) -> Result<Option<&str>> {
        match self.cell(column) {
            Some(Param::Text(text)) => Ok(Some(text)),
            Some(Param::Null) => Ok(None),
            other => Err(unexpected(column, other)),
        }
    }
}

/// Says which kind was found, and of a text its length only: it may be anything.
fn unexpected(column: usize, found: Option<Param<'_>>) -> Error {
    Error::internal(match found {
        Some(cell) => format!("column {column} of an answer holds {cell:?}"),
        None => format!("an answer has no column {column}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_given_as_they_were_added() {
        let mut row = Row::with_capacity(5, 0);
        for cell in [Param::Text("grüß"), Param::Null, Param::Int(-3), Param::Text(""), Param::Text("Gott")] {
            row.push(cell);
        }
        assert_eq!((row.text(0).unwrap(), row.text(3).unwrap(), row.text(4).unwrap()), ("grüß", "", "Gott"));
        assert_eq!((row.opt_text(1).unwrap(), row.opt_int(1).unwrap()), (None, None));
        assert_eq!((row.int(2).unwrap(), row.texts_len(), row.cells().count()), (-3, 10, 5));
        for wrong in [row.int(0).err(), row.int(1).err(), row.count(2).err(), row.int(5).err()] {
            let wrong = wrong.unwrap().for_operator();
            assert!(wrong.contains("column") && !wrong.contains("grüß"), "{wrong}");
        }
        assert!(row.text(1).is_err() && row.text(2).is_err() && row.opt_text(2).is_err());
    }
}
