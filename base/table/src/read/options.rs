//! How a file is read, where its name and its first bytes do not say it.

use std::collections::BTreeMap;

use rondo_core::signature::ColumnType;
use serde_json::{Map, Value};

use super::{Format, NULL_WORDS, text};
use crate::error::{Result, TableError};

/// How to read, where the defaults do not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOptions {
    /// The format; from the name's ending, else from the first bytes, where absent.
    pub format: Option<Format>,
    /// The delimiter of CSV; sniffed from the first lines where absent.
    pub delimiter: Option<u8>,
    /// Whether the first line of CSV or of a sheet holds the names; otherwise they are `column_1`,
    /// `column_2`, …
    pub header: bool,
    /// The texts of CSV and of sheets that stand for a missing value.
    pub null_words: Vec<String>,
    /// What encloses a field of CSV; none where a quote is a character like any other.
    pub quote: Option<u8>,
    /// What stands before a quote inside a quoted field of CSV, beside the quote itself.
    pub escape: Option<u8>,
    /// Lines of CSV that begin with it are passed over.
    pub comment: Option<u8>,
    /// So many lines (of a sheet: rows) come before the table.
    pub skip: u32,
    /// What stands before the decimals in numbers of CSV.
    pub decimal: u8,
    /// What stands between groups of three digits in numbers of CSV.
    pub thousands: Option<u8>,
    /// The encoding of text; UTF-8, or UTF-16 with a byte-order mark, where absent.
    pub encoding: Option<String>,
    /// The types of columns of text and sheets that are not to be inferred.
    pub types: BTreeMap<String, ColumnType>,
    /// Of a workbook the sheet; the first with a cell where absent.
    pub sheet: Option<String>,
    /// Whether objects in JSON objects become columns `outer.inner`; otherwise they are kept as text.
    pub flatten: bool,
    /// Whether the values of delimited text and the texts of JSON are taken as they stand, so that rows can be
    /// written again as they were: no type is inferred and no text stands for a missing value.
    pub verbatim: bool,
}

impl ReadOptions {
    /// These options, with every text as it stands.
    #[must_use]
    pub fn verbatim(&self) -> Self {
        Self { verbatim: true, null_words: Vec::new(), types: BTreeMap::new(), ..self.clone() }
    }
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            format: None,
            delimiter: None,
            header: true,
            null_words: NULL_WORDS.iter().map(|word| (*word).to_owned()).collect(),
            quote: Some(b'"'),
            escape: None,
            comment: None,
            skip: 0,
            decimal: b'.',
            thousands: None,
            encoding: None,
            types: BTreeMap::new(),
            sheet: None,
            flatten: false,
            verbatim: false,
        }
    }
}

/// The names of the options that [`ReadOptions::with`] takes.
pub const OPTIONS: [&str; 13] = [
    "delimiter",
    "quote",
    "escape",
    "comment",
    "skip",
    "header",
    "decimal",
    "thousands",
    "encoding",
    "null",
    "types",
    "sheet",
    "nested",
];

impl ReadOptions {
    /// These options with others by name, as a person writes them: `{ "delimiter": ";", "skip": 2 }`.
    ///
    /// # Errors
    /// When there is no such option, or its value cannot be one.
    pub fn with(mut self, written: &Map<String, Value>) -> Result<Self> {
        for (name, value) in written {
            self.set(name, value)?;
        }
        if self.thousands == Some(self.decimal) {
            return Err(wrong("thousands", "is the same as `decimal`"));
        }
        if self.delimiter.is_some() && (self.delimiter == self.quote || self.delimiter == self.comment) {
            return Err(wrong("delimiter", "is the same as `quote` or `comment`"));
        }
        Ok(self)
    }

    /// How an input of a step is read, of those for which ways of reading are declared.
    ///
    /// # Errors
    /// As [`ReadOptions::with`].
    pub fn of_input(declared: &BTreeMap<String, Map<String, Value>>, local: &str) -> Result<Self> {
        declared.get(local).map_or_else(|| Ok(Self::default()), |written| Self::default().with(written))
    }

    fn set(&mut self, name: &str, value: &Value) -> Result<()> {
        match name {
            "delimiter" => self.delimiter = one("delimiter", value)?,
            "quote" => self.quote = one("quote", value)?,
            "escape" => self.escape = one("escape", value)?,
            "comment" => self.comment = one("comment", value)?,
            "skip" => self.skip = count(value)?,
            "header" => self.header = truth("header", value)?,
            "decimal" => {
                let decimal = one("decimal", value)?.filter(|byte| matches!(byte, b'.' | b','));
                self.decimal = decimal.ok_or_else(|| wrong("decimal", "is `.` or `,`"))?;
            }
            "thousands" => {
                let mark = one("thousands", value)?;
                if mark.is_some_and(|mark| mark.is_ascii_alphanumeric() || matches!(mark, b'+' | b'-')) {
                    return Err(wrong("thousands", "is a mark such as `.`, `,`, `'` or a blank"));
                }
                self.thousands = mark;
            }
            "encoding" => {
                let label =
                    value.as_str().ok_or_else(|| wrong("encoding", "is a name such as `windows-1252`"))?;
                text::named(label).map_err(|reason| TableError::Option { option: "encoding", reason })?;
                self.encoding = Some(label.to_owned());
            }
            "null" => self.null_words = words(value)?,
            "types" => self.types = types(value)?,
            "sheet" => {
                let sheet = value.as_str().ok_or_else(|| wrong("sheet", "is the name of a sheet"))?;
                self.sheet = Some(sheet.to_owned());
            }
            "nested" => {
                self.flatten = match value.as_str() {
                    Some("columns") => true,
                    Some("text") => false,
                    Some(_) | None => return Err(wrong("nested", "is `text` or `columns`")),
                }
            }
            other => {
                let near = rondo_core::suggest::nearest(other, OPTIONS).map(str::to_owned);
                return Err(TableError::OptionUnknown { option: other.to_owned(), near });
            }
        }
        Ok(())
    }

    /// Options written as `name=value`, as on a command line: `delimiter=;`, `types=zip:string,n:integer`.
    ///
    /// # Errors
    /// As [`ReadOptions::with`], and when there is no `=`.
    pub fn parse(pairs: &[String]) -> Result<Map<String, Value>> {
        let mut written = Map::new();
        for pair in pairs {
            let Some((name, value)) = pair.split_once('=') else {
                return Err(TableError::OptionUnknown { option: pair.clone(), near: None });
            };
            let value = match name {
                "skip" => value.parse::<u32>().map_or_else(|_| Value::from(value), Value::from),
                "header" => value.parse::<bool>().map_or_else(|_| Value::from(value), Value::from),
                "null" => value.split(',').map(Value::from).collect(),
                "types" => {
                    let pair = |pair: &str| {
                        let (column, kind) = pair.rsplit_once(':').unwrap_or((pair, ""));
                        (column.to_owned(), Value::from(kind))
                    };
                    Value::Object(value.split(',').map(pair).collect())
                }
                _ => Value::from(value),
            };
            written.insert(name.to_owned(), value);
        }
        // What cannot be an option is said now and not when a file is read.
        Self::default().with(&written)?;
        Ok(written)
    }
}

fn wrong(option: &'static str, reason: &str) -> TableError {
    TableError::Option { option, reason: reason.to_owned() }
}

/// One ASCII character, `tab` by name, or `none`.
fn one(option: &'static str, value: &Value) -> Result<Option<u8>> {
    let text = match value {
        Value::Null | Value::Bool(false) => return Ok(None),
        Value::String(text) => text.as_str(),
        _ => return Err(wrong(option, "is one ASCII character, `tab`, `space` or `none`")),
    };
    match text {
        "none" => Ok(None),
        "tab" | "\\t" => Ok(Some(b'\t')),
        "space" => Ok(Some(b' ')),
        _ => match text.as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0) => Ok(Some(*byte)),
            _ => Err(wrong(option, "is one ASCII character, `tab`, `space` or `none`")),
        },
    }
}

fn count(value: &Value) -> Result<u32> {
    let count = value.as_u64().and_then(|count| u32::try_from(count).ok());
    count.ok_or_else(|| wrong("skip", "is a number of lines"))
}

fn truth(option: &'static str, value: &Value) -> Result<bool> {
    value.as_bool().ok_or_else(|| wrong(option, "is `true` or `false`"))
}

fn words(value: &Value) -> Result<Vec<String>> {
    let wrong = || wrong("null", "is a text or a list of texts");
    match value {
        Value::String(word) => Ok(vec![word.clone()]),
        Value::Array(words) => {
            words.iter().map(|word| word.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        _ => Err(wrong()),
    }
}

fn types(value: &Value) -> Result<BTreeMap<String, ColumnType>> {
    const KINDS: &str = "`string`, `integer`, `number`, `boolean` or `timestamp`";
    let map = value.as_object().ok_or_else(|| wrong("types", "is a mapping from columns to types"))?;
    let mut types = BTreeMap::new();
    for (column, kind) in map {
        let kind = match kind.as_str().unwrap_or_default() {
            "string" | "text" | "str" => ColumnType::String,
            "integer" | "int" => ColumnType::Integer,
            "number" | "float" | "double" => ColumnType::Number,
            "boolean" | "bool" => ColumnType::Boolean,
            "timestamp" | "datetime" | "date" => ColumnType::Timestamp,
            other => {
                return Err(TableError::Option {
                    option: "types",
                    reason: format!("of `{column}` is `{other}`: expected {KINDS}"),
                });
            }
        };
        types.insert(column.clone(), kind);
    }
    Ok(types)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(value: Value) -> Result<ReadOptions> {
        ReadOptions::default().with(value.as_object().unwrap())
    }

    #[test]
    fn options_are_read_as_people_write_them() {
        let options = of(json!({
            "delimiter": ";", "quote": "none", "decimal": ",", "thousands": ".", "null": ["-"], "skip": 2,
            "encoding": "latin1", "types": { "zip": "string" }, "nested": "columns", "comment": "#"
        }))
        .unwrap();
        assert_eq!((options.delimiter, options.quote, options.skip), (Some(b';'), None, 2));
        assert_eq!(options.types["zip"], ColumnType::String);
        let pairs = ["delimiter=tab", "null=-,NA", "types=a:int,b:string", "header=false"].map(str::to_owned);
        let options = ReadOptions::default().with(&ReadOptions::parse(&pairs).unwrap()).unwrap();
        assert_eq!((options.delimiter, options.header, options.null_words.len()), (Some(b'\t'), false, 2));
    }

    #[test]
    fn what_cannot_be_an_option_is_named() {
        for (value, part) in [
            (json!({ "delimiter": "ab" }), "`delimiter` is one ASCII character"),
            (json!({ "delimiter": "\"" }), "`delimiter` is the same as `quote`"),
            (json!({ "delimeter": ";" }), "there is no way of reading called `delimeter`"),
            (json!({ "decimal": "x" }), "`decimal` is `.` or `,`"),
            (json!({ "thousands": "." }), "`thousands` is the same as `decimal`"),
            (json!({ "encoding": "windows-1253x" }), "did you mean `windows-125"),
            (json!({ "types": { "a": "decimal" } }), "`types` of `a` is `decimal`"),
            (json!({ "skip": -1 }), "`skip` is a number of lines"),
            (json!({ "null": 3 }), "`null` is a text or a list"),
            (json!({ "nested": true }), "`nested` is `text` or `columns`"),
        ] {
            let error = of(value).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(ReadOptions::parse(&["delimiter".to_owned()]).is_err());
    }
}
