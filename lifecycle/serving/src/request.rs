//! Requests: the JSON that callers send, read by a model's signature into a batch.
//!
//! Understood are Rondo's plain records (`{"records": [{…}]}`, a list of objects, one object) and the
//! forms of MLflow's `/invocations` (`dataframe_split`, `dataframe_records`, `instances`, `inputs`). A
//! value that is missing where the model can do without it becomes NaN; everything else that does not fit
//! is refused with its row and column, and without telling the caller what the whole model takes.
//! HTTP, bodies and their sizes are the business of whoever calls this.

use std::sync::Arc;

use rondo_core::Timestamp;
use rondo_core::signature::{Column, Signature};
use rondo_core::suggest::nearest;
use serde_json::{Map, Value};

use crate::engine::{Batch, Values};
use crate::error::{Error, Result};

/// How much one request may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows.
    pub rows: usize,
    /// Bytes of one text.
    pub text: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows: 10_000, text: 10_000 }
    }
}

/// What a record may have beside its features.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// The field with the prediction's id.
    pub id: String,
    /// The field with the event's time.
    pub time: String,
    /// Fields that are no features and are kept in the log: columns to slice by, for one.
    pub carried: Vec<String>,
    /// Whether other fields that are no features are left alone instead of refused.
    pub ignore_unknown: bool,
    /// How much there may be.
    pub limits: Limits,
}

impl Default for Form {
    fn default() -> Self {
        Self {
            id: "prediction_id".to_owned(),
            time: "event_time".to_owned(),
            carried: Vec::new(),
            ignore_unknown: false,
            limits: Limits::default(),
        }
    }
}

/// What is known of a row beside its features.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Row {
    /// The id that the caller gave.
    pub prediction_id: Option<String>,
    /// When it happened in the world.
    pub event_time: Option<Timestamp>,
    /// The features and carried fields as they were sent.
    pub inputs: Map<String, Value>,
}

/// A request that fits its model.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What is known of each row.
    pub rows: Vec<Row>,
    /// The features of all rows.
    pub batch: Batch,
}

/// Reads requests for one model.
#[derive(Debug, Clone)]
pub struct Reader {
    signature: Signature,
    form: Form,
}

/// The forms that a body's one key may announce.
const FORMS: [&str; 5] = ["records", "dataframe_records", "dataframe_split", "instances", "inputs"];
/// Keys that may stand beside it.
const BESIDE: [&str; 5] = ["prediction_ids", "event_times", "params", "parameters", "signature_name"];

impl Reader {
    /// A reader by a signature's inputs.
    pub const fn new(signature: Signature, form: Form) -> Self {
        Self { signature, form }
    }

    /// The signature that requests have to fit.
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Reads the bytes of a body.
    ///
    /// # Errors
    /// When they are not JSON, or as [`Self::read`].
    pub fn read_bytes(&self, body: &[u8]) -> Result<Request> {
        let body =
            serde_json::from_slice(body).map_err(|error| Error::form(format!("it is not JSON: {error}")))?;
        self.read(body)
    }

    /// Reads a body.
    ///
    /// # Errors
    /// When it has a form that is not understood, too many rows, or a row that does not fit.
    pub fn read(&self, body: Value) -> Result<Request> {
        let (records, ids, times) = self.records(body)?;
        if records.is_empty() {
            return Err(Error::form("it has no rows"));
        }
        let count = records.len();
        self.check_rows(count)?;
        let mut columns: Vec<Values> =
            self.signature.inputs.iter().map(|column| Values::empty(column.column_type, count)).collect();
        let mut rows = Vec::with_capacity(count);
        for (row, record) in records.into_iter().enumerate() {
            let mut known = self.row(row, record, &mut columns)?;
            if let Some(id) = beside(&ids, row, "prediction_ids")? {
                known.prediction_id = Some(self.id(row, "prediction_ids", id)?);
            }
            if let Some(time) = beside(&times, row, "event_times")? {
                known.event_time = Some(time_of(row, "event_times", time)?);
            }
            rows.push(known);
        }
        Ok(Request { rows, batch: Batch::new(count, columns)? })
    }

    fn check_rows(&self, found: usize) -> Result<()> {
        let limit = self.form.limits.rows;
        if found > limit { Err(Error::RequestTooLarge { what: "rows", found, limit }) } else { Ok(()) }
    }

    fn is_feature(&self, name: &str) -> bool {
        self.signature.inputs.iter().any(|column| column.name == name)
    }

    /// The body as records, and what stands beside them.
    #[allow(clippy::type_complexity)]
    fn records(
        &self,
        body: Value,
    ) -> Result<(Vec<Map<String, Value>>, Option<Vec<Value>>, Option<Vec<Value>>)> {
        let mut object = match body {
            Value::Array(items) => return Ok((self.items(items)?, None, None)),
            Value::Object(object) => object,
            other => {
                return Err(Error::form(format!("it is {} and neither an object nor a list", kind(&other))));
            }
        };
        let is_form =
            |key: &&str| object.get(*key).is_some_and(|value| !is_scalar(value) || !self.is_feature(key));
        let found: Vec<&str> = FORMS.into_iter().filter(is_form).collect();
        let form = match found.as_slice() {
            [] => return Ok((vec![object], None, None)),
            [form] => *form,
            [one, other, ..] => return Err(Error::form(format!("it has both `{one}` and `{other}`"))),
        };
        let content = object.remove(form).unwrap_or_default();
        let list = |value: Option<Value>, name: &str| match value {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(_) => Err(Error::form(format!("`{name}` is not a list"))),
        };
        let ids = list(object.remove("prediction_ids"), "prediction_ids")?;
        let times = list(object.remove("event_times"), "event_times")?;
        if let Some(key) = object.keys().find(|key| !BESIDE.contains(&key.as_str())) {
            let hint =
                nearest(key, BESIDE).map(|word| format!(", did you mean `{word}`?")).unwrap_or_default();
            return Err(Error::form(format!("it has `{}` beside `{form}`{hint}", shown(key))));
        }
        let records = match (form, content) {
            ("dataframe_split", Value::Object(split)) => self.split(split)?,
            ("inputs", Value::Object(columns)) => self.by_column(columns)?,
            ("records", Value::Object(record)) => vec![record],
            ("dataframe_split", _) => return Err(Error::form("`dataframe_split` is not an object")),
            (_, Value::Array(items)) => self.items(items)?,
            (form, _) => return Err(Error::form(format!("`{form}` is not a list"))),
        };
        Ok((records, ids, times))
    }

    /// Rows as objects, as lists in the order of the columns, or as bare values of an only column.
    fn items(&self, items: Vec<Value>) -> Result<Vec<Map<String, Value>>> {
        self.check_rows(items.len())?;
        let names = || self.signature.inputs.iter().map(|column| column.name.as_str());
        items
            .into_iter()
            .enumerate()
            .map(|(row, item)| match item {
                Value::Object(record) => Ok(record),
                Value::Array(values) => named(row, names(), self.signature.inputs.len(), values),
                value => named(row, names(), self.signature.inputs.len(), vec![value]),
            })
            .collect()
    }

    /// `{"columns": […], "data": [[…]]}`.
    fn split(&self, mut split: Map<String, Value>) -> Result<Vec<Map<String, Value>>> {
        let Some(Value::Array(rows)) = split.remove("data") else {
            return Err(Error::form("`dataframe_split` has no list `data`"));
        };
        self.check_rows(rows.len())?;
        let names: Vec<String> = match split.remove("columns") {
            None | Some(Value::Null) => {
                self.signature.inputs.iter().map(|column| column.name.clone()).collect()
            }
            Some(Value::Array(names)) => names
                .into_iter()
                .map(|name| match name {
                    Value::String(name) => Ok(name),
                    other => Err(Error::form(format!("`columns` has {}, and names are texts", kind(&other)))),
                })
                .collect::<Result<_>>()?,
            Some(_) => return Err(Error::form("`columns` is not a list")),
        };
        rows.into_iter()
            .enumerate()
            .map(|(row, values)| match values {
                Value::Array(values) => named(row, names.iter().map(String::as_str), names.len(), values),
                other => Err(Error::form(format!("row {row} of `data` is {} and not a list", kind(&other)))),
            })
            .collect()
    }

    /// `{"column": [values]}`, or one value a column.
    fn by_column(&self, columns: Map<String, Value>) -> Result<Vec<Map<String, Value>>> {
        let mut rows: Vec<Map<String, Value>> = Vec::new();
        for (place, (name, values)) in columns.into_iter().enumerate() {
            let values = match values {
                Value::Array(values) => values,
                value => vec![value],
            };
            self.check_rows(values.len())?;
            if place == 0 {
                rows = vec![Map::new(); values.len()];
            }
            if rows.len() != values.len() {
                return Err(Error::form(format!(
                    "`{}` has {} values, and the column before it has {}",
                    shown(&name),
                    values.len(),
                    rows.len()
                )));
            }
            for (row, value) in rows.iter_mut().zip(values) {
                row.insert(name.clone(), unwrapped(value));
            }
        }
        Ok(rows)
    }

    /// Puts one record's features into the columns.
    fn row(&self, row: usize, mut record: Map<String, Value>, columns: &mut [Values]) -> Result<Row> {
        let mut take = |name: &str| {
            if self.is_feature(name) || self.form.carried.iter().any(|carried| carried == name) {
                record.get(name).cloned()
            } else {
                record.shift_remove(name)
            }
        };
        let (id, time) = (take(&self.form.id), take(&self.form.time));
        let prediction_id =
            id.filter(|id| !id.is_null()).map(|id| self.id(row, &self.form.id, &id)).transpose()?;
        let event_time = time
            .filter(|time| !time.is_null())
            .map(|time| time_of(row, &self.form.time, &time))
            .transpose()?;
        let mut features = 0;
        for (column, values) in self.signature.inputs.iter().zip(columns) {
            let value = record.get(&column.name);
            features += usize::from(value.is_some());
            push(row, column, value.unwrap_or(&Value::Null), self.form.limits.text, values)?;
        }
        if features < record.len() && !self.form.ignore_unknown {
            self.check_extra(row, &record)?;
        }
        Ok(Row { prediction_id, event_time, inputs: record })
    }

    /// Fields that are no features have to be declared as carried, and to be plain values.
    fn check_extra(&self, row: usize, record: &Map<String, Value>) -> Result<()> {
        for (name, value) in record.iter().filter(|(name, _)| !self.is_feature(name)) {
            if !self.form.carried.contains(name) {
                let known = self.signature.inputs.iter().map(|column| column.name.as_str());
                let known = known.chain(FORMS).chain([self.form.id.as_str(), self.form.time.as_str()]);
                let nearest = nearest(&shown(name), known).map(str::to_owned);
                return Err(Error::ColumnUnknown { row, column: shown(name), nearest });
            }
            let is_long = value.as_str().is_some_and(|text| text.len() > self.form.limits.text);
            if !is_scalar(value) || is_long {
                return Err(Error::ValueType {
                    row,
                    column: shown(name),
                    expected: "a plain value",
                    found: if is_long {
                        "a text that is too long".to_owned()
                    } else {
                        kind(value).to_owned()
                    },
                });
            }
        }
        Ok(())
    }

    fn id(&self, row: usize, column: &str, value: &Value) -> Result<String> {
        match value {
            Value::String(id) => Ok(id.clone()),
            Value::Number(id) if !id.is_f64() => Ok(id.to_string()),
            other => Err(Error::ValueType {
                row,
                column: column.to_owned(),
                expected: "a text or a whole number",
                found: kind(other).to_owned(),
            }),
        }
    }
}

/// The entry of a list that stands beside the rows.
fn beside<'l>(list: &'l Option<Vec<Value>>, row: usize, name: &str) -> Result<Option<&'l Value>> {
    match list {
        None => Ok(None),
        Some(list) => match list.get(row) {
            Some(value) => Ok(Some(value).filter(|value| !value.is_null())),
            None => Err(Error::form(format!("`{name}` has {} entries and none for row {row}", list.len()))),
        },
    }
}

fn time_of(row: usize, column: &str, value: &Value) -> Result<Timestamp> {
    let refuse = |found: String| Error::ValueType {
        row,
        column: column.to_owned(),
        expected: "a moment, such as `2013-04-01T05:15:00Z`",
        found,
    };
    match value {
        Value::String(text) => text.parse().map_err(|_| refuse(format!("`{}`", shown(text)))),
        Value::Number(number) => number.as_i64().map(Timestamp).ok_or_else(|| refuse(number.to_string())),
        other => Err(refuse(kind(other).to_owned())),
    }
}

/// Values by name, for a row that comes as a list.
fn named<'n>(
    row: usize,
    names: impl Iterator<Item = &'n str>,
    count: usize,
    values: Vec<Value>,
) -> Result<Map<String, Value>> {
    if values.len() != count {
        return Err(Error::form(format!("row {row} has {} values for {count} columns", values.len())));
    }
    Ok(names.map(str::to_owned).zip(values).collect())
}

/// Puts one value into its column.
fn push(row: usize, column: &Column, value: &Value, longest: usize, values: &mut Values) -> Result<()> {
    let refuse = |expected: &'static str| Error::ValueType {
        row,
        column: column.name.clone(),
        expected,
        found: match value {
            Value::String(text) => format!("the text `{}`", shown(text)),
            Value::Number(number) => format!("the number {number}"),
            other => kind(other).to_owned(),
        },
    };
    if value.is_null() && !column.nullable {
        return Err(Error::ColumnMissing { row, column: column.name.clone() });
    }
    match values {
        Values::Number(values) => values.push(match value {
            Value::Null => f64::NAN,
            Value::Number(number) => number.as_f64().ok_or_else(|| refuse("a number"))?,
            _ => return Err(refuse("a number")),
        }),
        Values::Integer(values) => values.push(match value {
            // A model that can do without a whole number has no other word for it than zero.
            Value::Null => 0,
            Value::Number(number) => whole(number).ok_or_else(|| refuse("a whole number"))?,
            _ => return Err(refuse("a whole number")),
        }),
        Values::Boolean(values) => values.push(match value {
            Value::Null => false,
            Value::Bool(truth) => *truth,
            _ => return Err(refuse("true or false")),
        }),
        Values::Text(values) => values.push(match value {
            Value::Null => Arc::from(""),
            Value::String(text) if text.len() > longest => {
                return Err(Error::RequestTooLarge {
                    what: "bytes in one text",
                    found: text.len(),
                    limit: longest,
                });
            }
            Value::String(text) => Arc::from(text.as_str()),
            _ => return Err(refuse("a text")),
        }),
    }
    Ok(())
}

/// A whole number, also where it is written with a fraction of zero.
fn whole(number: &serde_json::Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let value = number.as_f64()?;
        (value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0).then_some(value as i64)
    })
}

/// A list of one value is that value: how some clients write a column of a matrix.
fn unwrapped(value: Value) -> Value {
    match value {
        Value::Array(mut items) if items.len() == 1 => items.pop().unwrap_or_default(),
        other => other,
    }
}

const fn is_scalar(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_))
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The beginning of a caller's text, for a message.
fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rondo_core::Explain;
    use rondo_core::signature::ColumnType;
    use serde_json::json;

    use super::*;

    fn reader() -> Reader {
        let column =
            |name: &str, column_type, nullable| Column { name: name.to_owned(), column_type, nullable };
        let inputs = vec![
            column("distance", ColumnType::Number, true),
            column("hour", ColumnType::Integer, false),
            column("carrier", ColumnType::String, false),
        ];
        let form = Form { carried: vec!["origin".to_owned()], ..Form::default() };
        Reader::new(Signature { inputs, outputs: vec![] }, form)
    }

    fn expected() -> Batch {
        let texts = vec![Arc::from("UA"), Arc::from("B6")];
        let columns = vec![Values::Number(vec![1.5, 2.0]), Values::Integer(vec![5, 6]), Values::Text(texts)];
        Batch::new(2, columns).unwrap()
    }

    #[test]
    fn every_form_gives_the_same_batch() {
        let (a, b) = (
            json!({"distance": 1.5, "hour": 5, "carrier": "UA"}),
            json!({"carrier": "B6", "hour": 6.0, "distance": 2}),
        );
        let rows = json!([[1.5, 5, "UA"], [2, 6, "B6"]]);
        let bodies = [
            json!([a, b]),
            json!({"records": [a, b]}),
            json!({"dataframe_records": [a, b]}),
            json!({"dataframe_split": {"columns": ["distance", "hour", "carrier"], "index": [0, 1], "data": rows}}),
            json!({"dataframe_split": {"data": rows}}),
            json!({"instances": [a, b]}),
            json!({"instances": rows}),
            json!({"inputs": {"distance": [1.5, 2], "carrier": ["UA", "B6"], "hour": [[5], [6]]}}),
            json!({"inputs": rows, "params": {}}),
        ];
        for body in bodies {
            assert_eq!(reader().read(body.clone()).unwrap().batch, expected(), "{body}");
        }
        assert_eq!(reader().read(a).unwrap().batch.rows(), 1);
    }

    #[test]
    fn ids_and_times_stand_in_the_record_or_beside_it() {
        let record = json!({
            "distance": null, "hour": 5, "carrier": "UA", "origin": "JFK", "prediction_id": 17,
            "event_time": "2013-04-01T05:15:00Z",
        });
        let row = reader().read(json!({"records": [record]})).unwrap().rows.remove(0);
        assert_eq!(row.prediction_id.as_deref(), Some("17"));
        assert_eq!(row.event_time, Some("2013-04-01T05:15:00Z".parse().unwrap()));
        assert_eq!(row.inputs.keys().collect::<Vec<_>>(), ["distance", "hour", "carrier", "origin"]);
        let beside = json!({
            "records": [{"hour": 5, "carrier": "UA"}], "prediction_ids": ["a"], "event_times": [1000],
        });
        let row = reader().read(beside).unwrap().rows.remove(0);
        assert_eq!((row.prediction_id.as_deref(), row.event_time), (Some("a"), Some(Timestamp(1000))));
    }

    #[test]
    fn a_declared_id_and_time_may_be_features_too() {
        let form = Form { id: "carrier".into(), time: "sched_dep".into(), ..Form::default() };
        let reader = Reader::new(reader().signature().clone(), form);
        let request =
            reader.read(json!({"hour": 5, "carrier": "UA", "sched_dep": "2013-04-01 05:15:00"})).unwrap();
        assert_eq!(request.rows[0].prediction_id.as_deref(), Some("UA"));
        assert_eq!(request.rows[0].event_time.unwrap().rfc3339(), "2013-04-01T05:15:00Z");
        assert!(
            request.rows[0].inputs.contains_key("carrier")
                && !request.rows[0].inputs.contains_key("sched_dep")
        );
    }

    #[test]
    fn what_does_not_fit_is_named_by_row_and_column() {
        let good = json!({"hour": 5, "carrier": "UA"});
        let refuse = |body: Value| {
            let error = reader().read(body).unwrap_err();
            assert_eq!(error.code(), rondo_core::Code::RequestInvalid);
            (error.to_string(), error.hints().join(" "))
        };
        let (message, hint) = refuse(json!([good, {"hour": 5, "carier": "UA", "carrier": "UA"}]));
        assert_eq!(message, "row 1 has the column `carier`, which the model does not know");
        assert_eq!(hint, "did you mean `carrier`?");
        let (message, _) = refuse(json!([{"hour": 5}]));
        assert_eq!(message, "row 0 has no value for `carrier`, which the model cannot do without");
        let (message, _) = refuse(json!([{"hour": "five", "carrier": "UA"}]));
        assert_eq!(message, "row 0 has the text `five` for `hour`, which takes a whole number");
        let (message, _) = refuse(json!([{"hour": 5.5, "carrier": "UA"}]));
        assert_eq!(message, "row 0 has the number 5.5 for `hour`, which takes a whole number");
        let (message, _) = refuse(json!({"inputs": {"hour": [5, 6], "carrier": ["UA"]}}));
        assert!(message.contains("`carrier` has 1 values"), "{message}");
        let (message, _) = refuse(json!({"records": [good], "prediction_id": ["a"]}));
        assert!(message.contains("did you mean `prediction_ids`?"), "{message}");
        for body in [json!(5), json!([]), json!({"records": 3}), json!({"records": [], "instances": []})] {
            refuse(body);
        }
    }

    #[test]
    fn rows_and_texts_have_limits() {
        let mut reader = reader();
        reader.form.limits = Limits { rows: 1, text: 3 };
        let row = json!({"hour": 5, "carrier": "UA"});
        assert!(reader.read(json!([row])).is_ok());
        assert!(
            reader.read(json!([row, row])).unwrap_err().to_string().contains("2 rows, and 1 are allowed")
        );
        assert!(reader.read(json!([{"hour": 5, "carrier": "long"}])).is_err());
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(reader.read_bytes(deep.as_bytes()).is_err());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let word = prop_oneof![
            Just("records".to_owned()),
            Just("inputs".to_owned()),
            Just("instances".to_owned()),
            Just("dataframe_split".to_owned()),
            Just("columns".to_owned()),
            Just("data".to_owned()),
            Just("hour".to_owned()),
            Just("carrier".to_owned()),
            "[a-z]{0,3}",
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            word.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::vec((word.clone(), inner), 0..5)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_json_makes_the_reader_panic(body in any_json()) {
            if let Ok(request) = reader().read(body) {
                prop_assert_eq!(request.rows.len(), request.batch.rows());
            }
        }
    }
}
