//! Takes a table batch by batch: the builders of each column, and what looks at several columns at once.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use rayon::prelude::*;
use rondo_core::signature::{Column, ColumnType};

use super::category::CategoryBuilder;
use super::correlation::CorrelationBuilder;
use super::duplicates::{Compared, RowSampler, seed};
use super::numeric::NumericBuilder;
use super::{ColumnProfile, FORMAT, Profile, ProfileOptions};
use crate::error::{Result, TableError};
use crate::exact;
use crate::moment::{Moment, MomentType};
use crate::read;

/// Batches of fewer rows are not worth a second thread.
const PARALLEL_ROWS: usize = 4096;
/// Rows of a batch are compared in pieces of this length.
const PIECE: usize = 2048;

/// Takes a table batch by batch and gives its profile in the end.
#[derive(Debug)]
pub struct Profiler {
    rows: u64,
    columns: Vec<ColumnProfiler>,
    correlations: Option<CorrelationBuilder>,
    repeats: Option<Repeats>,
}

/// Compares rows.
#[derive(Debug)]
struct Repeats {
    sampler: RowSampler,
    /// The names of the columns with what tells their values apart.
    columns: Vec<(String, u64)>,
    sums: Vec<u64>,
}

#[derive(Debug)]
struct ColumnProfiler {
    column: Column,
    count: u64,
    nulls: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Numeric(NumericBuilder),
    Category(CategoryBuilder),
    Carried,
}

impl Profiler {
    /// For tables of these columns, with nothing but what every profile has.
    pub fn new(columns: &[Column]) -> Self {
        Self::with(columns, &ProfileOptions::LEAN)
    }

    /// For tables of these columns.
    pub fn with(columns: &[Column], options: &ProfileOptions) -> Self {
        let comparable = || columns.iter().filter(|column| column.column_type != ColumnType::Other);
        let mut numbers: Vec<String> = columns
            .iter()
            .filter(|column| column.column_type.is_numeric() || column.column_type == ColumnType::Boolean)
            .map(|column| column.name.clone())
            .collect();
        let left_out = numbers.len().saturating_sub(options.correlations) as u64;
        numbers.truncate(options.correlations);
        let repeats = (options.duplicates && comparable().next().is_some()).then(|| Repeats {
            sampler: RowSampler::default(),
            columns: comparable().map(|column| (column.name.clone(), seed(&column.name))).collect(),
            sums: Vec::new(),
        });
        Self {
            rows: 0,
            columns: columns.iter().map(|column| ColumnProfiler::new(column.clone(), options)).collect(),
            correlations: (numbers.len() > 1).then(|| CorrelationBuilder::new(numbers, left_out)),
            repeats,
        }
    }

    /// Adds the rows of a batch; columns that it has beside those known are left out.
    ///
    /// # Errors
    /// When the batch lacks a column or has one of another type.
    pub fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        let given = batch;
        let batch = read::canonical_with_keys(given)?;
        let places = read::places(batch.schema_ref().fields().iter().map(|field| field.name().as_str()));
        let find = |name: &str| {
            places.get(name).map(|place| batch.column(*place)).ok_or_else(|| {
                let schema = batch.schema();
                let known = schema.fields().iter().map(|field| field.name().as_str());
                TableError::no_column(name, "the batch".into(), known)
            })
        };
        // Where it counts whether values are equal they are looked at as they were given.
        let as_given = |name: &str| {
            let array = find(name)?;
            let place = places.get(name).map(|place| given.column(*place));
            Ok(place.filter(|given| exact::is_exact(given.data_type())).unwrap_or(array))
        };
        let update = |column: &mut ColumnProfiler| {
            let name = &column.column.name;
            column.take(find(name)?, as_given(name)?)
        };
        let Self { columns, correlations, repeats, .. } = self;
        let mut correlate = || match correlations {
            Some(builder) => {
                let arrays: Vec<&ArrayRef> =
                    builder.names().iter().map(|name| find(name)).collect::<Result<_>>()?;
                builder.add(&arrays, batch.num_rows());
                Ok(())
            }
            None => Ok(()),
        };
        let mut compare = || match repeats {
            Some(repeats) => repeats.add(batch.num_rows(), as_given),
            None => Ok(()),
        };
        if batch.num_rows() >= PARALLEL_ROWS {
            // By column, never by rows: the order of a column's values stays what it is.
            let (each, (pairs, rows)) = rayon::join(
                || columns.par_iter_mut().try_for_each(update),
                || rayon::join(correlate, compare),
            );
            each.and(pairs).and(rows)?;
        } else {
            columns.iter_mut().try_for_each(update)?;
            correlate()?;
            compare()?;
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// How many rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The profile of all that came.
    ///
    /// # Errors
    /// When a sketch cannot be made.
    pub fn finish(self) -> Result<Profile> {
        let columns = self.columns.into_iter().map(ColumnProfiler::finish).collect::<Result<_>>()?;
        Ok(Profile {
            format: FORMAT,
            rows: self.rows,
            columns,
            correlations: self.correlations.map(CorrelationBuilder::finish),
            repeats: self.repeats.map(|repeats| repeats.sampler.finish()),
        })
    }
}

impl Repeats {
    fn add<'a>(&mut self, rows: usize, find: impl Fn(&str) -> Result<&'a ArrayRef>) -> Result<()> {
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (name, seed) in &self.columns {
            arrays.push(Compared::new(find(name)?, *seed));
        }
        self.sums.clear();
        self.sums.resize(rows, 0);
        let sum = |(piece, sums): (usize, &mut [u64])| {
            for array in &arrays {
                array.add(piece * PIECE, sums);
            }
        };
        if rows >= PARALLEL_ROWS {
            self.sums.par_chunks_mut(PIECE).enumerate().for_each(sum);
        } else {
            self.sums.chunks_mut(PIECE).enumerate().for_each(sum);
        }
        self.sampler.add(&self.sums);
        Ok(())
    }
}

impl ColumnProfiler {
    fn new(column: Column, options: &ProfileOptions) -> Self {
        let state = match column.column_type {
            ColumnType::Integer | ColumnType::Number => {
                State::Numeric(NumericBuilder::new(options.order, false))
            }
            ColumnType::Timestamp => State::Numeric(NumericBuilder::new(options.order, options.order)),
            ColumnType::String => State::Category(CategoryBuilder::new(options.texts)),
            ColumnType::Boolean => State::Category(CategoryBuilder::new(false)),
            ColumnType::Other => State::Carried,
        };
        Self { column, count: 0, nulls: 0, state }
    }

    /// Takes an array; `given` is the same before its values became numbers, by which they are told apart.
    fn take(&mut self, array: &ArrayRef, given: &ArrayRef) -> Result<()> {
        let State::Numeric(builder) = &mut self.state else { return self.update(array) };
        let refuse = |reason: String| TableError::Profile { reason };
        if builder.tells_apart() {
            let mut words = Vec::with_capacity(given.len());
            exact::words_into(given, &mut words);
            builder.tell(&words).map_err(refuse)?;
            return self.update(array);
        }
        let Some(row) = exact::first_shared(given) else { return self.update(array) };
        self.update(&array.slice(0, row))?;
        if let State::Numeric(builder) = &mut self.state {
            builder.tell_apart().map_err(refuse)?;
        }
        self.take(&array.slice(row, array.len() - row), &given.slice(row, given.len() - row))
    }

    fn update(&mut self, array: &ArrayRef) -> Result<()> {
        let nulls = array.null_count();
        let mut nan = 0;
        let sketch = |reason: String| TableError::Profile { reason };
        match (&mut self.state, array.data_type()) {
            (State::Numeric(builder), DataType::Float64) => {
                let array = array.as_primitive::<Float64Type>();
                let found = match array.nulls().filter(|_| nulls > 0) {
                    None => builder.extend_slice(array.values()),
                    Some(nulls) => builder.extend_where(array.values(), nulls),
                };
                nan = found.map_err(sketch)? as usize;
            }
            (State::Numeric(builder), DataType::Int64) => {
                let array = array.as_primitive::<Int64Type>();
                if nulls == 0 {
                    builder.extend(array.values().iter().map(|value| *value as f64)).map_err(sketch)?;
                } else {
                    builder.extend(array.iter().flatten().map(|value| value as f64)).map_err(sketch)?;
                }
            }
            (State::Numeric(builder), DataType::Timestamp(_, _)) => {
                let array = array.as_primitive::<MomentType>();
                builder.extend(array.iter().flatten().map(|value| Moment(value).scale())).map_err(sketch)?;
            }
            (State::Category(builder), DataType::Utf8) => {
                for value in array.as_string::<i32>().iter().flatten() {
                    builder.add(value).map_err(sketch)?;
                }
            }
            (State::Category(builder), DataType::Dictionary(_, _)) => {
                let keyed = array.as_any_dictionary();
                if let (Some(texts), Some(keys)) =
                    (keyed.values().as_string_opt::<i32>(), keyed.keys().as_primitive_opt::<Int32Type>())
                {
                    builder.add_keys(texts, keys).map_err(sketch)?;
                }
            }
            (State::Category(builder), DataType::Boolean) => {
                let array = array.as_boolean();
                builder.add_many("true", array.true_count() as u64).map_err(sketch)?;
                builder.add_many("false", array.false_count() as u64).map_err(sketch)?;
            }
            (State::Carried, _) => {}
            // A batch without any value may have any type.
            (State::Numeric(_) | State::Category(_), _) if nulls == array.len() => {}
            (State::Numeric(_) | State::Category(_), other) => {
                return Err(TableError::ProfileMismatch {
                    reason: format!(
                        "column `{}` is {other} in the batch, not {}",
                        self.column.name,
                        self.column.column_type.text()
                    ),
                });
            }
        }
        let missing = (nulls + nan) as u64;
        self.nulls += missing;
        self.count += array.len() as u64 - missing;
        Ok(())
    }

    fn finish(self) -> Result<ColumnProfile> {
        let (numeric, category) = match self.state {
            State::Numeric(builder) => {
                let numeric = builder.finish().map_err(|reason| TableError::Profile { reason })?;
                (Some(numeric), None)
            }
            State::Category(builder) => (None, Some(builder.finish())),
            State::Carried => (None, None),
        };
        Ok(ColumnProfile {
            name: self.column.name,
            column_type: self.column.column_type,
            count: self.count,
            nulls: self.nulls,
            numeric,
            category,
        })
    }
}
