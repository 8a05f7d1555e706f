//! The text of a search, and what is bound to it.
//!
//! Each room has a table, expressions for its attributes and tables of keys and values beside it. SQL that
//! only SQLite has: `json_extract`, `GLOB`.

use std::fmt::Write as _;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{
    Attribute, Comparison, Condition, DatasetPart, Field, Order, Query, Room, Scalar, Scope, Test, View,
};
use crate::Error;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Int,
    Real,
    Text,
}

/// How many values of a list are bound one by one.
const MARKS: usize = 1000;

/// A table of keys and values beside a room's own.
struct Side {
    table: &'static str,
    join: &'static str,
}

/// An expression to sort by.
pub(super) struct Key {
    sql: String,
    kind: Kind,
    descending: bool,
}

impl Room {
    const fn table(self) -> &'static str {
        match self {
            Self::Runs => "run",
            Self::Experiments => "experiment",
            Self::LoggedModels => "logged_model",
            Self::Models => "model",
            Self::Versions => "model_version",
        }
    }

    const fn experiment(self) -> Option<&'static str> {
        match self {
            Self::Runs | Self::LoggedModels => Some("r.experiment"),
            Self::Experiments => Some("r.id"),
            Self::Models | Self::Versions => None,
        }
    }

    const fn deletes_softly(self) -> bool {
        match self {
            Self::Runs | Self::Experiments | Self::LoggedModels => true,
            Self::Models | Self::Versions => false,
        }
    }

    /// The expression of an attribute, where the room has it.
    const fn column(self, attribute: Attribute) -> Option<(&'static str, Kind)> {
        use Attribute as A;
        match self {
            Self::Runs => match attribute {
                A::Id => Some(("r.id", Kind::Text)),
                A::Name => Some(("r.name", Kind::Text)),
                A::User => Some((
                    "COALESCE((SELECT t.value FROM run_tag t WHERE t.run = r.id AND t.key = 'mlflow.user'), r.user_name)",
                    Kind::Text,
                )),
                A::Status => Some(("r.state", Kind::Text)),
                A::ArtifactUri => Some((
                    "((SELECT e.artifact_location FROM experiment e WHERE e.id = r.experiment) || '/' || r.id || '/artifacts')",
                    Kind::Text,
                )),
                A::Started | A::Created => Some(("r.started", Kind::Int)),
                A::Ended => Some(("r.ended", Kind::Int)),
                A::Parent => Some((
                    "COALESCE((SELECT t.value FROM run_tag t WHERE t.run = r.id AND t.key = 'mlflow.parentRunId'), r.parent)",
                    Kind::Text,
                )),
                A::Updated | A::Type | A::SourceRun | A::Number | A::Source => None,
            },
            Self::Experiments => match attribute {
                A::Id => Some(("CAST(r.id AS TEXT)", Kind::Text)),
                A::Name => Some(("r.name", Kind::Text)),
                A::Created => Some(("r.created", Kind::Int)),
                A::Updated => Some(("r.updated", Kind::Int)),
                A::ArtifactUri => Some(("r.artifact_location", Kind::Text)),
                A::User
                | A::Status
                | A::Started
                | A::Ended
                | A::Parent
                | A::Type
                | A::SourceRun
                | A::Number
                | A::Source => None,
            },
            Self::LoggedModels => match attribute {
                A::Id => Some(("r.id", Kind::Text)),
                A::Name => Some(("r.name", Kind::Text)),
                A::Status => Some(("r.status", Kind::Text)),
                A::Created => Some(("r.created", Kind::Int)),
                A::Updated => Some(("r.updated", Kind::Int)),
                A::Type => Some(("json_extract(r.record, '$.model_type')", Kind::Text)),
                A::SourceRun => Some(("r.run", Kind::Text)),
                A::User | A::ArtifactUri | A::Started | A::Ended | A::Parent | A::Number | A::Source => None,
            },
            Self::Models => match attribute {
                A::Id | A::Name => Some(("r.name", Kind::Text)),
                A::Created => Some(("r.created", Kind::Int)),
                A::Updated => Some(("r.updated", Kind::Int)),
                A::User
                | A::Status
                | A::ArtifactUri
                | A::Started
                | A::Ended
                | A::Parent
                | A::Type
                | A::SourceRun
                | A::Number
                | A::Source => None,
            },
            Self::Versions => match attribute {
                A::Name => Some(("r.model", Kind::Text)),
                A::Number => Some(("r.version", Kind::Int)),
                A::Created => Some(("r.created", Kind::Int)),
                A::Updated => Some(("r.updated", Kind::Int)),
                A::SourceRun => Some(("r.run", Kind::Text)),
                A::Source => Some(("json_extract(r.record, '$.source')", Kind::Text)),
                A::Id
                | A::User
                | A::Status
                | A::ArtifactUri
                | A::Started
                | A::Ended
                | A::Parent
                | A::Type => None,
            },
        }
    }

    /// Whether values of an attribute are numbers; nothing where the room lacks it.
    pub fn is_number(self, attribute: Attribute) -> Option<bool> {
        self.column(attribute).map(|(_, kind)| kind != Kind::Text)
    }

    const fn tags(self) -> Side {
        match self {
            Self::Runs => Side { table: "run_tag", join: "x.run = r.id" },
            Self::Experiments => Side { table: "experiment_tag", join: "x.experiment = r.id" },
            Self::LoggedModels => Side { table: "logged_model_tag", join: "x.model = r.id" },
            Self::Models => Side { table: "model_tag", join: "x.model = r.name" },
            Self::Versions => {
                Side { table: "model_version_tag", join: "x.model = r.model AND x.version = r.version" }
            }
        }
    }

    const fn params(self) -> Option<Side> {
        match self {
            Self::Runs => Some(Side { table: "run_param", join: "x.run = r.id" }),
            Self::LoggedModels => Some(Side { table: "logged_model_param", join: "x.model = r.id" }),
            Self::Experiments | Self::Models | Self::Versions => None,
        }
    }

    const fn metrics(self) -> Option<Side> {
        match self {
            Self::Runs => Some(Side { table: "metric_latest", join: "x.run = r.id" }),
            Self::LoggedModels => Some(Side { table: "logged_model_metric", join: "x.model = r.id" }),
            Self::Experiments | Self::Models | Self::Versions => None,
        }
    }

    /// The order that ends every order: total, so that pages neither overlap nor leave gaps.
    fn own_order(self) -> Vec<Key> {
        let key = |sql: &str, kind, descending| Key { sql: sql.to_owned(), kind, descending };
        match self {
            Self::Runs => vec![key("r.started", Kind::Int, true), key("r.id", Kind::Text, false)],
            Self::Experiments => vec![key("r.updated", Kind::Int, true), key("r.id", Kind::Int, true)],
            Self::LoggedModels => vec![key("r.created", Kind::Int, true), key("r.id", Kind::Text, false)],
            Self::Models => vec![key("r.name", Kind::Text, false)],
            Self::Versions => vec![
                key("r.updated", Kind::Int, true),
                key("r.model", Kind::Text, false),
                key("r.version", Kind::Int, true),
            ],
        }
    }
}

/// SQL under construction: text of this program's own, and what is bound to it.
#[derive(Default)]
pub(super) struct Sql {
    pub(super) text: String,
    pub(super) binds: Vec<Scalar>,
}

impl Sql {
    fn bind(&mut self, value: Scalar) -> String {
        self.binds.push(value);
        format!("${}", self.binds.len())
    }

    fn list(&mut self, values: &[Scalar]) -> String {
        // One binding for many values: SQLite takes so many of them and no more.
        if values.len() > MARKS {
            let texts: Vec<&str> = values
                .iter()
                .filter_map(|value| match value {
                    Scalar::Text(text) => Some(text.as_str()),
                    Scalar::Int(_) | Scalar::Real(_) => None,
                })
                .collect();
            if texts.len() == values.len() {
                let all = self.bind(Scalar::Text(serde_json::Value::from(texts).to_string()));
                return format!("(SELECT value FROM json_each({all}))");
            }
        }
        let marks: Vec<String> = values.iter().map(|value| self.bind(value.clone())).collect();
        format!("({})", marks.join(", "))
    }

    fn condition(&mut self, room: Room, condition: &Condition) -> String {
        match condition {
            Condition::All(parts) => self.joined(room, parts, " AND ", "1 = 1"),
            Condition::Any(parts) => self.joined(room, parts, " OR ", "1 = 0"),
            Condition::Not(inner) => format!("NOT ({})", self.condition(room, inner)),
            Condition::Test(field, test) => self.test(room, field, test),
        }
    }

    fn joined(&mut self, room: Room, parts: &[Condition], with: &str, none: &str) -> String {
        if parts.is_empty() {
            return none.to_owned();
        }
        let parts: Vec<String> = parts.iter().map(|part| self.condition(room, part)).collect();
        format!("({})", parts.join(with))
    }

    fn test(&mut self, room: Room, field: &Field, test: &Test) -> String {
        match field {
            Field::Attribute(attribute) => match room.column(*attribute) {
                // `IS TRUE`, so that what is unknown is false and its negation true.
                Some((column, _)) => format!("({}) IS TRUE", self.predicate(column, test)),
                None => "1 = 0".to_owned(),
            },
            Field::Tag(key) => self.beside(Some(room.tags()), key, test),
            Field::Param(key) => self.beside(room.params(), key, test),
            Field::Metric(key, scopes) => self.metric(room, key, scopes, test),
            Field::Dataset(part) => {
                let column = match part {
                    DatasetPart::Name => "json_extract(x.record, '$.dataset.name')",
                    DatasetPart::Digest => "json_extract(x.record, '$.dataset.digest')",
                    DatasetPart::Context => "json_extract(x.record, '$.context')",
                };
                let predicate = self.predicate(column, test);
                match room {
                    Room::Runs => format!(
                        "EXISTS (SELECT 1 FROM run_input x WHERE x.run = r.id AND x.kind = 'dataset' AND {predicate})"
                    ),
                    Room::Experiments | Room::LoggedModels | Room::Models | Room::Versions => {
                        "1 = 0".to_owned()
                    }
                }
            }
        }
    }

    fn beside(&mut self, side: Option<Side>, key: &str, test: &Test) -> String {
        let Some(Side { table, join }) = side else { return "1 = 0".to_owned() };
        let key = self.bind(Scalar::Text(key.to_owned()));
        let exists = format!("EXISTS (SELECT 1 FROM {table} x WHERE {join} AND x.key = {key}");
        match test {
            Test::Absent => format!("NOT {exists})"),
            Test::Present => format!("{exists})"),
            Test::Compare(..) | Test::Like { .. } | Test::In(_) | Test::NotIn(_) => {
                format!("{exists} AND {})", self.predicate("x.value", test))
            }
        }
    }

    fn metric(&mut self, room: Room, key: &str, scopes: &[Scope], test: &Test) -> String {
        let Some(Side { table, join }) = room.metrics() else { return "1 = 0".to_owned() };
        let key = self.bind(Scalar::Text(key.to_owned()));
        let scope = self.scope(scopes);
        let exists = format!("EXISTS (SELECT 1 FROM {table} x WHERE {join} AND x.key = {key}{scope}");
        match test {
            Test::Absent => format!("NOT {exists})"),
            Test::Present => format!("{exists})"),
            // A NaN equals nothing and differs from everything.
            Test::Compare(Comparison::NotEqual, _) | Test::NotIn(_) => {
                format!("{exists} AND (x.is_nan = 1 OR {}))", self.predicate("x.value", test))
            }
            Test::Compare(..) | Test::Like { .. } | Test::In(_) => {
                format!("{exists} AND x.is_nan = 0 AND {})", self.predicate("x.value", test))
            }
        }
    }

    fn scope(&mut self, scopes: &[Scope]) -> String {
        if scopes.is_empty() {
            return String::new();
        }
        let mut any = Vec::new();
        for scope in scopes {
            let name = self.bind(Scalar::Text(scope.name.clone()));
            any.push(match &scope.digest {
                Some(digest) => {
                    let digest = self.bind(Scalar::Text(digest.clone()));
                    format!("(x.dataset_name = {name} AND x.dataset_digest = {digest})")
                }
                None => format!("x.dataset_name = {name}"),
            });
        }
        format!(" AND ({})", any.join(" OR "))
    }

    fn predicate(&mut self, column: &str, test: &Test) -> String {
        match test {
            Test::Compare(comparison, value) => {
                let value = self.bind(value.clone());
                format!("{column} {} {value}", comparison.sql())
            }
            Test::Like { pattern, ignore_case: true } => {
                let pattern = self.bind(Scalar::Text(pattern.clone()));
                format!("LOWER({column}) LIKE LOWER({pattern})")
            }
            // SQLite's LIKE ignores case; its GLOB does not.
            Test::Like { pattern, ignore_case: false } => {
                let pattern = self.bind(Scalar::Text(glob(pattern)));
                format!("{column} GLOB {pattern}")
            }
            Test::In(values) => format!("{column} IN {}", self.list(values)),
            Test::NotIn(values) => format!("{column} NOT IN {}", self.list(values)),
            Test::Absent => format!("{column} IS NULL"),
            Test::Present => format!("{column} IS NOT NULL"),
        }
    }

    /// A key of the order as expressions that are never null: where the value is missing, and the value.
    fn order(&mut self, room: Room, order: &Order) -> Vec<Key> {
        let descending = order.descending;
        let rank = |sql: String| Key { sql, kind: Kind::Int, descending: false };
        let by_side = |value: String, kind| {
            let (blank, sql) = match kind {
                Kind::Text => (format!("({value} IS NULL)"), format!("COALESCE({value}, '')")),
                Kind::Int => (format!("({value} IS NULL)"), format!("COALESCE({value}, 0)")),
                Kind::Real => (format!("({value} IS NULL)"), format!("COALESCE({value}, 0.0)")),
            };
            vec![rank(blank), Key { sql, kind, descending }]
        };
        match &order.field {
            Field::Attribute(attribute) => match room.column(*attribute) {
                Some((column, kind)) if matches!(attribute, Attribute::Started | Attribute::Id) => {
                    vec![Key { sql: column.to_owned(), kind, descending }]
                }
                Some((column, kind)) => by_side(column.to_owned(), kind),
                None => Vec::new(),
            },
            Field::Tag(key) => {
                let Side { table, join } = room.tags();
                let key = self.bind(Scalar::Text(key.clone()));
                by_side(format!("(SELECT x.value FROM {table} x WHERE {join} AND x.key = {key})"), Kind::Text)
            }
            Field::Param(key) => {
                let Some(Side { table, join }) = room.params() else { return Vec::new() };
                let key = self.bind(Scalar::Text(key.clone()));
                by_side(format!("(SELECT x.value FROM {table} x WHERE {join} AND x.key = {key})"), Kind::Text)
            }
            Field::Metric(key, scopes) => {
                let Some(Side { table, join }) = room.metrics() else { return Vec::new() };
                let key = self.bind(Scalar::Text(key.clone()));
                let scope = self.scope(scopes);
                let newest = format!(
                    "FROM {table} x WHERE {join} AND x.key = {key}{scope} ORDER BY x.step DESC, x.timestamp DESC LIMIT 1"
                );
                vec![
                    rank(format!("COALESCE((SELECT x.is_nan {newest}), 2)")),
                    Key {
                        sql: format!("COALESCE((SELECT x.value {newest}), 0.0)"),
                        kind: Kind::Real,
                        descending,
                    },
                ]
            }
            Field::Dataset(_) => Vec::new(),
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
        text
    }

    /// The whole search. Answers nothing when the page's start does not fit the order.
    pub(super) fn search(query: &Query) -> Option<(Self, Vec<Key>)> {
        let room = query.room;
        let mut sql = Self::default();
        let mut keys = Vec::new();
        for order in &query.order {
            keys.extend(sql.order(room, order));
        }
        keys.extend(room.own_order());
        let mut conditions = Vec::new();
        if let (Some(column), Some(experiments)) = (room.experiment(), &query.experiments) {
            let ids: Vec<Scalar> = experiments.iter().map(|id| Scalar::Int(*id)).collect();
            conditions.push(format!("{column} IN {}", sql.list(&ids)));
        }
        if room.deletes_softly() {
            match query.view {
                View::Active => conditions.push("r.deleted = 0".to_owned()),
                View::Deleted => conditions.push("r.deleted = 1".to_owned()),
                View::All => {}
            }
        }
        conditions.push(sql.condition(room, &query.filter));
        if let Some(values) = &query.after {
            let fits =
                keys.len() == values.len() && keys.iter().zip(values).all(|(key, value)| key.takes(value));
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
            " FROM {} r WHERE {} ORDER BY {} LIMIT {limit}",
            room.table(),
            conditions.join(" AND "),
            order.join(", ")
        );
        sql.text = text;
        Some((sql, keys))
    }
}

impl Key {
    const fn takes(&self, value: &Scalar) -> bool {
        matches!(
            (self.kind, value),
            (Kind::Int, Scalar::Int(_)) | (Kind::Real, Scalar::Real(_)) | (Kind::Text, Scalar::Text(_))
        )
    }

    pub(super) fn read(&self, row: &SqliteRow, index: usize) -> Result<Scalar, Error> {
        let column = format!("k{index}");
        let column = column.as_str();
        Ok(match self.kind {
            Kind::Int => Scalar::Int(row.try_get_unchecked(column)?),
            Kind::Real => Scalar::Real(row.try_get_unchecked(column)?),
            Kind::Text => Scalar::Text(row.try_get_unchecked(column)?),
        })
    }
}

/// A LIKE pattern as SQLite's GLOB has it.
fn glob(pattern: &str) -> String {
    let mut glob = String::with_capacity(pattern.len() + 2);
    for c in pattern.chars() {
        match c {
            '%' => glob.push('*'),
            '_' => glob.push('?'),
            '*' | '?' | '[' => {
                glob.push('[');
                glob.push(c);
                glob.push(']');
            }
            other => glob.push(other),
        }
    }
    glob
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_keep_their_meaning_as_globs() {
        assert_eq!(glob("a%b_"), "a*b?");
        assert_eq!(glob("[x]*?"), "[[]x][*][?]");
    }

    #[test]
    fn nothing_that_a_user_wrote_is_in_the_text() {
        let text = "'; DROP TABLE run; --";
        let is = Test::Compare(Comparison::Equal, Scalar::Text(text.into()));
        let fields =
            [Field::Tag(text.into()), Field::Param(text.into()), Field::Metric(text.into(), Vec::new())];
        let mut query = Query::all(Room::Runs, 10);
        query.order = fields.iter().map(|field| Order { field: field.clone(), descending: true }).collect();
        query.filter = Condition::Any(fields.map(|field| Condition::Test(field, is.clone())).into());
        let (sql, _) = Sql::search(&query).unwrap();
        assert!(!sql.text.contains("DROP"), "{}", sql.text);
        // Three keys of the order, three of the filter with their values, and the limit.
        assert_eq!(sql.binds.len(), 10);
    }

    #[test]
    fn the_start_of_a_page_has_to_fit_the_order() {
        let mut query = Query::all(Room::Runs, 10);
        query.after = Some(vec![Scalar::Int(5), Scalar::Text("x".into())]);
        assert!(Sql::search(&query).is_some());
        for after in [vec![], vec![Scalar::Int(5)], vec![Scalar::Int(5), Scalar::Int(5)]] {
            query.after = Some(after);
            assert!(Sql::search(&query).is_none());
        }
    }
}
