//! Columns by their names: of a table, and of a batch. A wide table has a rule for each of thousands of
//! columns, so that no rule may look through all of them for its own.

use std::cell::Cell;
use std::collections::HashMap;

use arrow_array::{ArrayRef, RecordBatch};
use rondo_core::signature::{Column, ColumnType};

use crate::read::places;

/// So many names are compared to say what a misspelt one may have meant, all rules together.
const COMPARED: usize = 1 << 20;

/// The columns of a table.
pub(super) struct Layout<'a> {
    columns: &'a [Column],
    places: HashMap<&'a str, usize>,
    /// How many names may still be compared.
    left: Cell<usize>,
}

impl<'a> Layout<'a> {
    pub(super) fn new(columns: &'a [Column]) -> Self {
        let places = places(columns.iter().map(|column| column.name.as_str()));
        Self { columns, places, left: Cell::new(COMPARED) }
    }

    pub(super) const fn columns(&self) -> &'a [Column] {
        self.columns
    }

    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    pub(super) fn column(&self, name: &str) -> Option<&'a Column> {
        self.columns.get(self.place(name)?)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    pub(super) fn type_of(&self, name: &str) -> Option<ColumnType> {
        self.column(name).map(|column| column.column_type)
    }

    /// The name that was meant, as long as that is no long search.
    pub(super) fn nearest(&self, name: &str) -> Option<&'a str> {
        self.left.set(self.left.get().checked_sub(self.columns.len())?);
        rondo_core::suggest::nearest(name, self.columns.iter().map(|column| column.name.as_str()))
    }
}

/// A batch whose columns are found by name.
pub(super) struct Named<'a> {
    batch: &'a RecordBatch,
    places: HashMap<&'a str, usize>,
}

impl<'a> Named<'a> {
    pub(super) fn new(batch: &'a RecordBatch) -> Self {
        Self { batch, places: places(batch.schema_ref().fields().iter().map(|field| field.name().as_str())) }
    }

    pub(super) fn array(&self, name: &str) -> Option<&'a ArrayRef> {
        self.places.get(name).map(|place| self.batch.column(*place))
    }

    pub(super) fn num_rows(&self) -> usize {
        self.batch.num_rows()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_name_and_the_search_for_what_was_meant_ends() {
        let column =
            |at: usize| Column { name: format!("c{at}"), column_type: ColumnType::Integer, nullable: true };
        let columns: Vec<Column> = (0..COMPARED / 4).map(column).collect();
        let layout = Layout::new(&columns);
        assert_eq!((layout.place("c17"), layout.place("d17")), (Some(17), None));
        assert_eq!(layout.type_of("c3"), Some(ColumnType::Integer));
        let near: Vec<bool> = (0..6).map(|at| layout.nearest(&format!("x{at}")).is_some()).collect();
        assert_eq!(near, [true, true, true, true, false, false]);
    }
}
