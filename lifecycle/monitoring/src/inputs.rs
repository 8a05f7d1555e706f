//! The inputs of predictions as a table: a row for each, in the order in which they are handed over.

use rondo_core::Timestamp;
use rondo_core::signature::{Column, ColumnType};
use rondo_table::checks::{CheckReport, FailingRows, MemoryTable, failing_rows};
use rondo_table::rows;
use serde_json::{Map, Value};

use crate::assess::Row;
use crate::error::Error;
use crate::reference::Reference;

/// The column with the prediction's id, where rows are written out.
pub const PREDICTION: &str = "_prediction";
/// The column with its event time.
pub const EVENT_TIME: &str = "_event_time";

/// The inputs of predictions as a table.
#[derive(Debug)]
pub struct Inputs<'a> {
    rows: &'a [Row],
    columns: Vec<Column>,
    /// The table.
    pub table: MemoryTable,
}

impl<'a> Inputs<'a> {
    /// Puts them into columns: those of the reference with its types, and what else was sent. A value that
    /// does not fit its column gives the column another type, so that a check sees it.
    ///
    /// # Errors
    /// When they make no table.
    pub fn new(reference: Option<&Reference>, rows: &'a [Row]) -> Result<Self, Error> {
        let known = reference.map(Reference::columns).unwrap_or_default();
        let empty = Map::new();
        let sent = sent(rows, &empty);
        let columns = rows::columns(&known, &sent);
        let table = MemoryTable::new(columns.clone(), &[rows::batch(&columns, &sent)?])?;
        Ok(Self { rows, columns, table })
    }

    /// Whether something of this name was sent or is known of.
    pub fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|known| known.name == column)
    }

    /// How many rows there are.
    pub const fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The prediction of a row, counted from 1.
    pub(crate) fn at(&self, row: u64) -> Option<&Row> {
        self.rows.get(usize::try_from(row.checked_sub(1)?).ok()?)
    }

    /// The rows that do not pass, with the ids and event times of their predictions in front; at most so
    /// many.
    ///
    /// # Errors
    /// When they cannot be put together.
    pub fn failing(&self, report: &CheckReport, most: usize) -> Result<Option<FailingRows>, Error> {
        let column = |name: &str, column_type| Column { name: name.to_owned(), column_type, nullable: false };
        let ours = [column(PREDICTION, ColumnType::String), column(EVENT_TIME, ColumnType::Timestamp)];
        let theirs = self.columns.iter().filter(|column| ours.iter().all(|our| our.name != column.name));
        let columns: Vec<Column> = ours.iter().chain(theirs).cloned().collect();
        let whole: Vec<Map<String, Value>> = self.rows.iter().map(labelled).collect();
        let batch = rows::batch(&columns, &whole.iter().collect::<Vec<_>>())?;
        Ok(failing_rows(report, &MemoryTable::new(columns, &[batch])?, most)?)
    }
}

/// What was sent with each prediction.
pub(crate) fn sent<'a>(rows: &'a [Row], empty: &'a Map<String, Value>) -> Vec<&'a Map<String, Value>> {
    rows.iter().map(|row| row.observation.inputs.as_object().unwrap_or(empty)).collect()
}

/// What was sent with a prediction, with its id and time.
fn labelled(row: &Row) -> Map<String, Value> {
    let time: Timestamp = row.observation.event_time;
    let mut map = row.observation.inputs.as_object().cloned().unwrap_or_default();
    map.insert(PREDICTION.to_owned(), row.observation.prediction_id.clone().into());
    map.insert(EVENT_TIME.to_owned(), time.rfc3339().into());
    map
}
