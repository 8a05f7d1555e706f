//! Partitions: where predictions come to rest, as Parquet that any engine reads.
//!
//! `deployment=<name>/day=<day of the event>/part-<first segment>-<last segment>.parquet`. Beside the fields of an
//! observation a file has the inputs as JSON text and each feature as a typed column `input_<name>`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use rondo_core::handoff::Observation;
use rondo_core::{Span, Timestamp};
use rondo_table::moment::{Moment, MomentArray, MomentType};
use rondo_table::{read, write};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::log::record::{Fingerprint, Record};
use crate::log::segments::{make_folder, sync_folder};

/// The columns that every file has, in order.
const COLUMNS: [&str; 10] = [
    "prediction_id",
    "model",
    "version",
    "event_time",
    "received",
    "score",
    "label",
    "latency_ms",
    "inputs",
    "inputs_digest",
];
/// The column that a file has as well where one of its models has several classes: the probability of each,
/// as JSON text.
const PROBABILITIES: &str = "probabilities";

/// A file of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The endpoint.
    pub deployment: String,
    /// The day, as it stands in the folder's name.
    pub day: String,
    /// The file.
    pub path: PathBuf,
}

/// The name of the part that holds some segments.
pub fn part_name(first: u64, last: u64) -> String {
    format!("part-{first:016}-{last:016}.parquet")
}

impl Part {
    /// The last segment that is in it.
    pub fn last_segment(&self) -> Option<u64> {
        let name = self.path.file_name()?.to_str()?;
        name.strip_prefix("part-")?.strip_suffix(".parquet")?.split_once('-')?.1.parse().ok()
    }

    /// Whether events between two moments can be in it.
    pub fn may_have(&self, from: Timestamp, until: Timestamp) -> bool {
        match self.day.parse::<Timestamp>() {
            Ok(start) => start < until && start + Span::days(1) > from,
            Err(_) => true,
        }
    }
}

/// The files of all partitions, in the order in which they were filled.
///
/// # Errors
/// When a folder cannot be read.
pub fn list(root: &Path, deployment: Option<&str>) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for (name, folder) in folders(root, "deployment=")? {
        if deployment.is_some_and(|wanted| wanted != name) {
            continue;
        }
        for (day, folder) in folders(&folder, "day=")? {
            for path in entries(&folder)? {
                let is_part = path
                    .file_name()
                    .and_then(|file| file.to_str())
                    .is_some_and(|file| file.starts_with("part-") && file.ends_with(".parquet"));
                if is_part {
                    parts.push(Part { deployment: name.clone(), day: day.clone(), path });
                }
            }
        }
    }
    parts.sort_by(|a, b| (a.path.file_name(), &a.path).cmp(&(b.path.file_name(), &b.path)));
    Ok(parts)
}

fn folders(root: &Path, prefix: &str) -> Result<Vec<(String, PathBuf)>> {
    let of = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.strip_prefix(prefix)?.to_owned();
        Some((name, path))
    };
    Ok(entries(root)?.into_iter().filter_map(of).collect())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(Error::io("read", folder, error)),
    };
    entries
        .map(|entry| entry.map(|entry| entry.path()).map_err(|error| Error::io("read", folder, error)))
        .collect()
}

/// Writes records to the partitions they belong to, one file for each, and makes them durable. A file of
/// the same name, from an attempt that was cut short, is replaced.
///
/// # Errors
/// When a file cannot be written.
pub fn write(root: &Path, name: &str, records: Vec<Record>) -> Result<usize> {
    let mut groups: BTreeMap<(String, String), Vec<Record>> = BTreeMap::new();
    for record in records {
        let key = (record.observation.deployment.clone(), record.observation.event_time.day());
        groups.entry(key).or_default().push(record);
    }
    let count = groups.len();
    for ((deployment, day), records) in groups {
        let above = root.join(format!("deployment={deployment}"));
        let folder = above.join(format!("day={day}"));
        make_folder(&folder)?;
        let path = folder.join(name);
        let batch = batch(&records).map_err(|reason| Error::Table { path: path.clone(), reason })?;
        write::parquet(&path, batch.schema(), [Ok(batch)])
            .map_err(|error| Error::Table { path: path.clone(), reason: error.to_string() })?;
        for folder in [folder.as_path(), above.as_path(), root] {
            sync_folder(folder).map_err(|error| Error::io("sync", folder, error))?;
        }
    }
    Ok(count)
}

fn batch(records: &[Record]) -> std::result::Result<RecordBatch, String> {
    let of =
        |get: fn(&Record) -> &str| records.iter().map(|record| Some(get(record))).collect::<StringArray>();
    let moments = |get: fn(&Observation) -> Timestamp| -> ArrayRef {
        let values = records.iter().map(|record| get(&record.observation).0);
        Arc::new(TimestampMillisecondArray::from_iter_values(values).with_timezone("UTC"))
    };
    let numbers = |get: fn(&Observation) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(records.iter().map(|record| get(&record.observation))))
    };
    let moment = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let versions = records.iter().map(|record| i64::from(record.observation.version));
    let labels: StringArray = records.iter().map(|record| record.observation.label.as_deref()).collect();
    let inputs = records.iter().map(|record| Some(record.observation.inputs.to_string()));
    let digests = records.iter().map(|record| Some(record.inputs_digest.hex()));
    let mut columns: Vec<(String, DataType, ArrayRef)> = Vec::new();
    let arrays: [(DataType, ArrayRef); 10] = [
        (DataType::Utf8, Arc::new(of(|record| &record.observation.prediction_id))),
        (DataType::Utf8, Arc::new(of(|record| &record.observation.model))),
        (DataType::Int64, Arc::new(Int64Array::from_iter_values(versions))),
        (moment.clone(), moments(|observation| observation.event_time)),
        (moment, moments(|observation| observation.received)),
        (DataType::Float64, numbers(|observation| observation.score)),
        (DataType::Utf8, Arc::new(labels)),
        (DataType::Float64, numbers(|observation| observation.latency_ms)),
        (DataType::Utf8, Arc::new(inputs.collect::<StringArray>())),
        (DataType::Utf8, Arc::new(digests.collect::<StringArray>())),
    ];
    for (name, (data_type, array)) in COLUMNS.iter().zip(arrays) {
        columns.push(((*name).to_owned(), data_type, array));
    }
    if records.iter().any(|record| !record.observation.probabilities.is_empty()) {
        let known = |record: &Record| {
            let probabilities = &record.observation.probabilities;
            (!probabilities.is_empty()).then(|| Value::Object(probabilities.clone()).to_string())
        };
        let array: StringArray = records.iter().map(known).collect();
        columns.push((PROBABILITIES.to_owned(), DataType::Utf8, Arc::new(array)));
    }
    columns.extend(feature_columns(records));
    let fields: Vec<Field> =
        columns.iter().map(|(name, data_type, _)| Field::new(name, data_type.clone(), true)).collect();
    let arrays = columns.into_iter().map(|(_, _, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|error| error.to_string())
}

/// A typed column for each input that occurs.
fn feature_columns(records: &[Record]) -> Vec<(String, DataType, ArrayRef)> {
    let rows: Vec<Option<&Map<String, Value>>> =
        records.iter().map(|record| record.observation.inputs.as_object()).collect();
    let mut seen = BTreeSet::new();
    let mut names: Vec<&String> = Vec::new();
    for row in rows.iter().flatten() {
        names.extend(row.keys().filter(|name| seen.insert(name.as_str())));
    }
    names
        .into_iter()
        .map(|name| {
            let values: Vec<Option<&Value>> =
                rows.iter().map(|row| (*row)?.get(name).filter(|value| !value.is_null())).collect();
            let (data_type, array) = typed(&values);
            (format!("input_{name}"), data_type, array)
        })
        .collect()
}

/// Values in the narrowest type that holds them all.
fn typed(values: &[Option<&Value>]) -> (DataType, ArrayRef) {
    let all = |is: fn(&Value) -> bool| values.iter().flatten().all(|value| is(value));
    let some = values.iter().any(Option::is_some);
    if some && all(Value::is_boolean) {
        let array: BooleanArray = values.iter().map(|value| value.and_then(Value::as_bool)).collect();
        (DataType::Boolean, Arc::new(array))
    } else if some && all(|value| value.is_i64()) {
        let array: Int64Array = values.iter().map(|value| value.and_then(Value::as_i64)).collect();
        (DataType::Int64, Arc::new(array))
    } else if some && all(Value::is_number) {
        let array: Float64Array = values.iter().map(|value| value.and_then(Value::as_f64)).collect();
        (DataType::Float64, Arc::new(array))
    } else {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let array: StringArray = values.iter().map(|value| value.map(text)).collect();
        (DataType::Utf8, Arc::new(array))
    }
}

/// How many records a file has.
///
/// # Errors
/// When the file cannot be read.
pub fn rows(part: &Part) -> Result<u64> {
    let refuse = |reason: String| Error::Table { path: part.path.clone(), reason };
    Ok(read::open(&part.path).map_err(|error| refuse(error.to_string()))?.rows())
}

/// Hands out the records of a file. The inputs are read only where they are asked for; without them the
/// records have the input `null`.
///
/// # Errors
/// When the file cannot be read.
pub fn read(part: &Part, with_inputs: bool, mut take: impl FnMut(Record)) -> Result<()> {
    let refuse = |reason: String| Error::Table { path: part.path.clone(), reason };
    let reader = read::open(&part.path).map_err(|error| refuse(error.to_string()))?;
    let more = reader.columns().iter().any(|column| column.name == PROBABILITIES).then_some(PROBABILITIES);
    let names: Vec<&str> =
        COLUMNS.into_iter().chain(more).filter(|name| with_inputs || *name != "inputs").collect();
    let reader = reader.select(&names).map_err(|error| refuse(error.to_string()))?;
    for batch in reader {
        let batch = batch.map_err(|error| refuse(error.to_string()))?;
        let columns =
            Columns::of(&batch).ok_or_else(|| refuse("its columns are not those of the log".to_owned()))?;
        for row in 0..batch.num_rows() {
            take(columns.record(part, row).map_err(&refuse)?);
        }
    }
    Ok(())
}

/// The columns of a batch by their type.
struct Columns<'a> {
    prediction_id: &'a StringArray,
    model: &'a StringArray,
    version: &'a Int64Array,
    event_time: &'a MomentArray,
    received: &'a MomentArray,
    score: &'a Float64Array,
    label: &'a StringArray,
    latency_ms: &'a Float64Array,
    inputs: Option<&'a StringArray>,
    probabilities: Option<&'a StringArray>,
    inputs_digest: &'a StringArray,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Option<Self> {
        let text = |name: &str| batch.column_by_name(name)?.as_string_opt::<i32>();
        let number = |name: &str| batch.column_by_name(name)?.as_primitive_opt::<Float64Type>();
        let moment = |name: &str| batch.column_by_name(name)?.as_primitive_opt::<MomentType>();
        Some(Self {
            prediction_id: text("prediction_id")?,
            model: text("model")?,
            version: batch.column_by_name("version")?.as_primitive_opt::<Int64Type>()?,
            event_time: moment("event_time")?,
            received: moment("received")?,
            score: number("score")?,
            label: text("label")?,
            latency_ms: number("latency_ms")?,
            inputs: text("inputs"),
            probabilities: text(PROBABILITIES),
            inputs_digest: text("inputs_digest")?,
        })
    }

    /// One row; the caller keeps `row` below the batch's number of rows.
    fn record(&self, part: &Part, row: usize) -> std::result::Result<Record, String> {
        let digest = self.inputs_digest.value(row);
        let inputs = match self.inputs {
            Some(inputs) => serde_json::from_str(inputs.value(row)).map_err(|error| error.to_string())?,
            None => Value::Null,
        };
        let probabilities = match self.probabilities.filter(|all| !all.is_null(row)) {
            Some(all) => serde_json::from_str(all.value(row)).map_err(|error| error.to_string())?,
            None => Map::new(),
        };
        Ok(Record {
            inputs_digest: Fingerprint::from_hex(digest)
                .ok_or_else(|| format!("`{digest}` is no fingerprint"))?,
            observation: Observation {
                prediction_id: self.prediction_id.value(row).to_owned(),
                deployment: part.deployment.clone(),
                model: self.model.value(row).to_owned(),
                version: u32::try_from(self.version.value(row)).map_err(|error| error.to_string())?,
                event_time: Moment(self.event_time.value(row)).timestamp(),
                received: Moment(self.received.value(row)).timestamp(),
                inputs,
                score: self.score.value(row),
                label: (!self.label.is_null(row)).then(|| self.label.value(row).to_owned()),
                probabilities,
                latency_ms: self.latency_ms.value(row),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::index::tests::record;

    const DAY: i64 = 86_400_000;

    #[test]
    fn records_come_back_from_their_partitions_as_they_were() {
        let root = tempfile::tempdir().unwrap();
        let records = vec![
            record("delay", "a", 10, 1.0),
            record("delay", "b", DAY + 10, 2.5),
            record("other", "c", 10, 3.0),
        ];
        assert_eq!(write(root.path(), &part_name(6, 7), records.clone()).unwrap(), 3);
        assert!(
            root.path()
                .join("deployment=delay/day=1970-01-02/part-0000000000000006-0000000000000007.parquet")
                .is_file()
        );
        let mut back = Vec::new();
        for part in list(root.path(), None).unwrap() {
            read(&part, true, |record| back.push(record)).unwrap();
        }
        back.sort_by_key(|record| record.observation.prediction_id.clone());
        assert_eq!(back, records);
        assert_eq!(list(root.path(), Some("other")).unwrap()[0].last_segment(), Some(7));
    }

    #[test]
    fn probabilities_of_several_classes_come_back_in_the_models_order() {
        let root = tempfile::tempdir().unwrap();
        let mut classes = record("kind", "b", 20, 2.0);
        for (class, share) in [("late", 0.25), ("early", 0.7), ("never", 0.05)] {
            classes.observation.probabilities.insert(class.to_owned(), share.into());
        }
        let records = vec![record("kind", "a", 10, 1.0), classes];
        write(root.path(), &part_name(1, 1), records.clone()).unwrap();
        let mut back = Vec::new();
        read(&list(root.path(), None).unwrap()[0], true, |record| back.push(record)).unwrap();
        assert_eq!(back, records);
        let order: Vec<&String> = back[1].observation.probabilities.keys().collect();
        assert_eq!(order, ["late", "early", "never"]);
    }

    #[test]
    fn features_have_columns_of_their_type() {
        let root = tempfile::tempdir().unwrap();
        let mut odd = record("delay", "b", 20, 2.0);
        odd.observation.inputs["word"] = Value::Null;
        odd.observation.inputs["count"] = Value::from(2.5);
        write(root.path(), &part_name(1, 1), vec![record("delay", "a", 10, 1.0), odd]).unwrap();
        let part = &list(root.path(), None).unwrap()[0];
        let columns = rondo_table::columns::describe(&part.path).unwrap();
        let typed: Vec<(&str, &str)> =
            columns.iter().map(|column| (column.name.as_str(), column.column_type.text())).skip(10).collect();
        assert_eq!(
            typed,
            [
                ("input_x", "number"),
                ("input_word", "string"),
                ("input_flag", "boolean"),
                ("input_count", "number")
            ]
        );
        assert_eq!(rondo_table::columns::f64s(&part.path, "input_count").unwrap(), [Some(3.0), Some(2.5)]);
    }

    #[test]
    fn a_partition_is_skipped_when_its_day_is_outside() {
        let part = Part { deployment: "a".into(), day: "1970-01-02".into(), path: PathBuf::new() };
        assert!(!part.may_have(Timestamp(0), Timestamp(DAY)));
        assert!(part.may_have(Timestamp(0), Timestamp(DAY + 1)));
        assert!(part.may_have(Timestamp(2 * DAY - 1), Timestamp(5 * DAY)));
        assert!(!part.may_have(Timestamp(2 * DAY), Timestamp(5 * DAY)));
    }
}
