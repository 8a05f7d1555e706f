//! Searches of traces: a condition, an order and a page, turned into SQL.
//!
//! Like the searches of runs: the text is made here alone, what a user wrote is bound, and a page begins
//! after the sort keys of the last row before it. Traces have rooms of their own for what runs have not:
//! metadata, assessments, links, and spans, whose rows are read by a test of spans only.

use std::fmt::Write as _;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Trace, read};
use crate::Error;
use crate::meta::Meta;
use crate::meta::search::{Clock, PATIENCE, Page, Scalar, TICK, Test, glob};

/// What a test of a trace looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// Its id.
    Id,
    /// The experiment it is filed under.
    Experiment,
    /// The caller's own id for it.
    ClientRequest,
    /// Its state.
    State,
    /// When it began.
    Started,
    /// How long it took.
    Duration,
    /// When it ended.
    Ended,
    /// A tag.
    Tag(String),
    /// A key of its metadata.
    Metadata(String),
    /// A run that it is linked to or was made under.
    Run,
    /// A version of a prompt that it is linked to, as `name/version`.
    Prompt,
    /// A valid assessment, of the trace or of its whole session.
    Assessment {
        /// `feedback` or `expectation`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The name of an issue that it is said to show.
    Issue,
    /// Inside [`Condition::Span`]: the span's name.
    SpanName,
    /// Inside [`Condition::Span`]: the span's type.
    SpanType,
    /// Inside [`Condition::Span`]: the span's status, `OK`, `ERROR` or `UNSET`.
    SpanStatus,
    /// Inside [`Condition::Span`]: an attribute of the span.
    SpanAttribute(String),
    /// Inside [`Condition::Span`]: all of the span as text.
    SpanText,
}

impl Field {
    /// Whether its values are numbers.
    pub const fn is_number(&self) -> bool {
        matches!(self, Self::Started | Self::Duration | Self::Ended)
    }

    /// Whether it is of a single span.
    pub const fn is_of_span(&self) -> bool {
        matches!(
            self,
            Self::SpanName | Self::SpanType | Self::SpanStatus | Self::SpanAttribute(_) | Self::SpanText
        )
    }
}

/// What must hold of a trace.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// All of these; of none, everything matches.
    All(Vec<Condition>),
    /// At least one of these.
    Any(Vec<Condition>),
    /// Not this.
    Not(Box<Condition>),
    /// One span of it of which this holds.
    Span(Box<Condition>),
    /// A test.
    Test(Field, Test),
    /// The field has a part that is as a regular expression says, which must be one.
    Matches(Field, String),
}

/// One key of an order. What lacks the field comes last.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// By what; an attribute, a tag, a key of the metadata or the run.
    pub field: Field,
    /// Greatest first.
    pub descending: bool,
}

/// A search of traces.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Only in these experiments.
    pub experiments: Vec<i64>,
    /// What must hold.
    pub filter: Condition,
    /// In which order; newest first and the id come after it.
    pub order: Vec<Order>,
    /// At most so many.
    pub limit: u32,
    /// Where the page before ended.
    pub after: Option<Vec<Scalar>>,
}

impl Meta {
    /// Traces that match, a page of them. Nothing when the page's start does not belong to this order.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn search_traces(&self, query: &Query) -> Result<Option<Page<Trace>>, Error> {
        let Some((sql, keys)) = Sql::search(query) else { return Ok(None) };
        // The text is this module's own; all that a user wrote is bound.
        let mut statement = sqlx::query(sqlx::AssertSqlSafe(sql.text));
        for value in sql.binds {
            statement = match value {
                Scalar::Int(value) => statement.bind(value),
                Scalar::Real(value) => statement.bind(value),
                Scalar::Text(value) => statement.bind(value),
            };
        }
        let mut rows = statement.fetch_all(self.readers()).await?;
        let limit = query.limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = match rows.last() {
            Some(last) if more => {
                let values = keys.iter().enumerate().map(|(index, key)| key.read(last, index));
                Some(values.collect::<Result<_, _>>()?)
            }
            Some(_) | None => None,
        };
        let items = rows.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Some(Page { items, next }))
    }
}

impl Meta {
    /// How many traces of these experiments match.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn count_traces(&self, experiments: Vec<i64>, filter: Condition) -> Result<u64, Error> {
        let mut sql = Sql::default();
        let experiments = sql.list(serde_json::json!(experiments));
        let condition = sql.condition(&filter);
        let text =
            format!("SELECT COUNT(*) FROM trace r WHERE r.experiment IN {experiments} AND {condition}");
        // As above.
        let mut statement = sqlx::query_scalar(sqlx::AssertSqlSafe(text));
        for value in sql.binds {
            statement = match value {
                Scalar::Int(value) => statement.bind(value),
                Scalar::Real(value) => statement.bind(value),
                Scalar::Text(value) => statement.bind(value),
            };
        }
        let mut connection = self.readers().acquire().await?;
        let clock = Clock::start(PATIENCE);
        connection.lock_handle().await?.set_progress_handler(TICK, clock.ticks());
        let counted: Result<i64, sqlx::Error> = statement.fetch_one(&mut *connection).await;
        connection.lock_handle().await?.remove_progress_handler();
        match counted {
            Err(_) if clock.over() => Err(Error::TooLong { limit: PATIENCE }),
            counted => Ok(counted?.unsigned_abs()),
        }
    }
}

/// A key to sort by: an expression that is never null.
struct Key {
    sql: String,
    is_text: bool,
    descending: bool,
}

impl Key {
    const fn takes(&self, value: &Scalar) -> bool {
        match value {
            Scalar::Int(_) => !self.is_text,
            Scalar::Text(_) => self.is_text,
            Scalar::Real(_) => false,
        }
    }

    fn read(&self, row: &SqliteRow, index: usize) -> Result<Scalar, Error> {
        let column = format!("k{index}");
        let column = column.as_str();
        Ok(if self.is_text {
            Scalar::Text(row.try_get_unchecked(column)?)
        } else {
            Scalar::Int(row.try_get_unchecked(column)?)
        })
    }
}

const ENDED: &str = "(r.started + COALESCE(r.duration, 0))";
/// The session of a trace.
const SESSION: &str = "(SELECT m.value FROM json_each(r.metadata) m WHERE m.key = 'mlflow.trace.session')";

#[derive(Default)]
struct Sql {
    text: String,
    binds: Vec<Scalar>,
}

impl Sql {
    fn bind(&mut self, value: Scalar) -> String {
        self.binds.push(value);
        format!("${}", self.binds.len())
    }

    /// A list as one bound value: there are fewer marks in a statement than people may write values.
    fn list(&mut self, values: serde_json::Value) -> String {
        format!("(SELECT value FROM json_each({}))", self.bind(Scalar::Text(values.to_string())))
    }

    fn text(&mut self, text: &str) -> String {
        self.bind(Scalar::Text(text.to_owned()))
    }

    fn search(query: &Query) -> Option<(Self, Vec<Key>)> {
        let mut sql = Self::default();
        let mut keys = Vec::new();
        for order in &query.order {
            sql.order(order, &mut keys)?;
        }
        let own = |sql: &str, is_text, descending| Key { sql: sql.to_owned(), is_text, descending };
        keys.extend([own("r.started", false, true), own("r.id", true, false)]);
        let mut conditions = vec![match query.experiments.as_slice() {
            // An equality lets an index order what it finds.
            [only] => format!("r.experiment = {}", sql.bind(Scalar::Int(*only))),
            several => format!("r.experiment IN {}", sql.list(serde_json::json!(several))),
        }];
        conditions.push(sql.condition(&query.filter));
        if let Some(values) = &query.after {
            let fits = keys.len() == values.len() && keys.iter().zip(values).all(|(key, v)| key.takes(v));
            if !fits {
                return None;
            }
            conditions.push(sql.after(&keys, values));
        }
        let mut text = "SELECT r.*".to_owned();
        for (index, key) in keys.iter().enumerate() {
            // Writing to a String cannot fail.
            let _ = write!(text, ", {} AS k{index}", key.sql);
        }
        let order: Vec<String> = keys
            .iter()
            .map(|key| format!("{}{}", key.sql, if key.descending { " DESC" } else { "" }))
            .collect();
        let limit = sql.bind(Scalar::Int(i64::from(query.limit) + 1));
        let _ = write!(
            text,
            " FROM trace r WHERE {} ORDER BY {} LIMIT {limit}",
            conditions.join(" AND "),
            order.join(", ")
        );
        sql.text = text;
        Some((sql, keys))
    }

    /// Adds the keys of an order; nothing where the field cannot order.
    fn order(&mut self, order: &Order, keys: &mut Vec<Key>) -> Option<()> {
        let descending = order.descending;
        let mut push = |sql: String, is_text| keys.push(Key { sql, is_text, descending });
        match &order.field {
            Field::Id => push("r.id".to_owned(), true),
            Field::Experiment => push("r.experiment".to_owned(), false),
            Field::State => push("r.state".to_owned(), true),
            Field::Started => push("r.started".to_owned(), false),
            Field::Ended => push(ENDED.to_owned(), false),
            Field::Duration => self.nullable(keys, "r.duration", false, descending),
            Field::ClientRequest => self.nullable(keys, "r.client_request", true, descending),
            Field::Tag(_) | Field::Metadata(_) => {
                let value = self.column(&order.field)?;
                self.nullable(keys, &value, true, descending);
            }
            Field::Run
            | Field::Prompt
            | Field::Assessment { .. }
            | Field::Issue
            | Field::SpanName
            | Field::SpanType
            | Field::SpanStatus
            | Field::SpanAttribute(_)
            | Field::SpanText => return None,
        }
        Some(())
    }

    fn nullable(&self, keys: &mut Vec<Key>, value: &str, is_text: bool, descending: bool) {
        let none = if is_text { "''" } else { "0" };
        keys.push(Key { sql: format!("({value} IS NULL)"), is_text: false, descending: false });
        keys.push(Key { sql: format!("COALESCE({value}, {none})"), is_text, descending });
    }

    /// The expression of a field that has one value a trace or a span.
    fn column(&mut self, field: &Field) -> Option<String> {
        let fixed = |text: &str| Some(text.to_owned());
        match field {
            Field::Id => fixed("r.id"),
            Field::Experiment => fixed("CAST(r.experiment AS TEXT)"),
            Field::ClientRequest => fixed("r.client_request"),
            Field::State => fixed("r.state"),
            Field::Started => fixed("r.started"),
            Field::Duration => fixed("r.duration"),
            Field::Ended => fixed(ENDED),
            Field::Tag(key) => {
                let key = self.text(key);
                Some(format!("(SELECT t.value FROM json_each(r.tags) t WHERE t.key = {key})"))
            }
            Field::Metadata(key) => {
                let key = self.text(key);
                Some(format!("(SELECT m.value FROM json_each(r.metadata) m WHERE m.key = {key})"))
            }
            Field::SpanName => fixed("json_extract(x.value, '$.name')"),
            Field::SpanStatus => fixed("json_extract(x.value, '$.status')"),
            Field::SpanText => fixed("x.value"),
            Field::SpanType => self.column(&Field::SpanAttribute("mlflow.spanType".to_owned())),
            Field::SpanAttribute(key) => {
                let key = self.text(key);
                Some(format!(
                    "(SELECT CAST(a.value AS TEXT) FROM json_each(x.value, '$.attributes') a WHERE a.key = {key})"
                ))
            }
            Field::Run | Field::Prompt | Field::Assessment { .. } | Field::Issue => None,
        }
    }

    fn condition(&mut self, condition: &Condition) -> String {
        match condition {
            Condition::All(parts) => self.joined(parts, " AND ", "1 = 1"),
            Condition::Any(parts) => self.joined(parts, " OR ", "1 = 0"),
            Condition::Not(inner) => format!("NOT ({})", self.condition(inner)),
            Condition::Span(inner) => format!(
                "EXISTS (SELECT 1 FROM trace_spans s, json_each(s.spans) x WHERE s.trace = r.id AND {})",
                self.condition(inner)
            ),
            Condition::Test(field, test) => {
                self.test(field, Some(test), &mut |sql, column| sql.predicate(column, test))
            }
            // SQLite's word for it; PostgreSQL's is `~`.
            Condition::Matches(field, pattern) => self.test(field, None, &mut |sql, column| {
                let pattern = sql.text(pattern);
                format!("{column} REGEXP {pattern}")
            }),
        }
    }

    fn joined(&mut self, parts: &[Condition], with: &str, none: &str) -> String {
        if parts.is_empty() {
            return none.to_owned();
        }
        let parts: Vec<String> = parts.iter().map(|part| self.condition(part)).collect();
        format!("({})", parts.join(with))
    }

    fn test(
        &mut self,
        field: &Field,
        test: Option<&Test>,
        predicate: &mut dyn FnMut(&mut Self, &str) -> String,
    ) -> String {
        if let Some(column) = self.column(field) {
            // `IS TRUE`, so that what is unknown is false and its negation true.
            return format!("({}) IS TRUE", predicate(self, &column));
        }
        let (from, value) = match field {
            Field::Run => ("trace_run x WHERE x.trace = r.id".to_owned(), "x.run"),
            Field::Prompt => {
                ("trace_prompt x WHERE x.trace = r.id".to_owned(), "(x.prompt || '/' || x.version)")
            }
            Field::Issue => {
                ("trace_assessment x WHERE x.trace = r.id AND x.kind = 'issue'".to_owned(), "x.name")
            }
            Field::Assessment { kind, name } => {
                let (kind, name) = (self.text(kind), self.text(name));
                let from = format!(
                    "trace_assessment x WHERE (x.trace = r.id OR x.session = {SESSION}) AND x.kind = {kind}
                     AND x.name = {name} AND x.valid = 1"
                );
                (from, "x.text")
            }
            _ => return "1 = 0".to_owned(),
        };
        let predicate = match test {
            Some(Test::Absent) => return format!("NOT EXISTS (SELECT 1 FROM {from})"),
            Some(Test::Present) => "1 = 1".to_owned(),
            Some(_) | None => predicate(self, value),
        };
        format!("EXISTS (SELECT 1 FROM {from} AND {predicate})")
    }

    fn predicate(&mut self, column: &str, test: &Test) -> String {
        let list = |sql: &mut Self, values: &[Scalar]| {
            let values = values.iter().map(|value| match value {
                Scalar::Int(value) => serde_json::json!(value),
                Scalar::Real(value) => serde_json::json!(value),
                Scalar::Text(value) => serde_json::json!(value),
            });
            sql.list(values.collect())
        };
        match test {
            Test::Compare(comparison, value) => {
                let value = self.bind(value.clone());
                format!("{column} {} {value}", comparison.sql())
            }
            Test::Like { pattern, ignore_case: true } => {
                let pattern = self.text(pattern);
                format!("LOWER({column}) LIKE LOWER({pattern})")
            }
            // SQLite's LIKE ignores case; its GLOB does not.
            Test::Like { pattern, ignore_case: false } => {
                let pattern = self.text(&glob(pattern));
                format!("{column} GLOB {pattern}")
            }
            Test::In(values) => format!("{column} IN {}", list(self, values)),
            Test::NotIn(values) => format!("{column} NOT IN {}", list(self, values)),
            Test::Absent => format!("{column} IS NULL"),
            Test::Present => format!("{column} IS NOT NULL"),
        }
    }

    /// What comes after the row whose keys have these values.
    fn after(&mut self, keys: &[Key], values: &[Scalar]) -> String {
        let mut text = "1 = 0".to_owned();
        for (key, value) in keys.iter().zip(values).rev() {
            let mark = self.bind(value.clone());
            let beyond = if key.descending { "<" } else { ">" };
            text = format!("({sql} {beyond} {mark} OR ({sql} = {mark} AND {text}))", sql = key.sql);
        }
        // Said once more of the first key alone, so that an index on it is entered at its place.
        if let (Some(key), Some(value)) = (keys.first(), values.first()) {
            let mark = self.bind(value.clone());
            let beyond = if key.descending { "<=" } else { ">=" };
            text = format!("({} {beyond} {mark} AND {text})", key.sql);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_by_a_filter_of_spans_only_and_a_users_words_are_bound() {
        let odd = "'; DROP TABLE trace; --";
        let is = |field| Condition::Test(field, Test::In(vec![Scalar::Text(odd.to_owned())]));
        let fields = [
            Field::Tag(odd.to_owned()),
            Field::Metadata(odd.to_owned()),
            Field::Run,
            Field::Prompt,
            Field::Assessment { kind: "feedback", name: odd.to_owned() },
        ];
        let order = vec![Order { field: Field::Tag(odd.to_owned()), descending: true }];
        let mut query = Query {
            experiments: vec![0],
            filter: Condition::All(fields.map(is).into()),
            order,
            limit: 1,
            after: None,
        };
        let (sql, _) = Sql::search(&query).unwrap();
        assert!(!sql.text.contains("DROP") && !sql.text.contains("trace_spans"), "{}", sql.text);
        query.filter = Condition::Span(Box::new(is(Field::SpanAttribute(odd.to_owned()))));
        let (sql, _) = Sql::search(&query).unwrap();
        assert!(!sql.text.contains("DROP") && sql.text.contains("trace_spans"), "{}", sql.text);
    }
}
