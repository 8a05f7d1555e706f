//! Figures of traces, their spans or their assessments: one row a figure, read as it is needed.
//!
//! What is counted or averaged over is decided here in SQL, how is left to the caller: quantiles are nothing
//! that SQLite has. A span that came twice counts as it came last, by SQLite's rule that bare columns beside
//! `MAX` are those of the greatest row; PostgreSQL would take `DISTINCT ON`.

use std::fmt::Write as _;

use futures::TryStreamExt;
use sqlx::Row;

use crate::Error;
use crate::meta::Meta;
use crate::meta::search::{Clock, PATIENCE, TICK};

/// What the figures are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Each trace.
    Traces,
    /// Each span.
    Spans,
    /// Each assessment.
    Assessments,
}

/// Which figure of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Figure {
    /// One.
    Count,
    /// How many milliseconds it took.
    Latency,
    /// A number by its name among the tokens of a trace or the costs of a span.
    Named(&'static str),
    /// What an assessment says.
    Said,
}

/// What of each is looked at or grouped by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The trace's name.
    TraceName,
    /// The trace's state.
    TraceStatus,
    /// A tag of the trace.
    Tag(String),
    /// A key of the trace's metadata.
    Metadata(String),
    /// The span's name.
    SpanName,
    /// The span's status.
    SpanStatus,
    /// A text among the span's attributes.
    SpanAttribute(&'static str),
    /// The assessment's name.
    AssessmentName,
    /// The assessment's kind.
    AssessmentKind,
    /// The assessment's value, as JSON.
    AssessmentValue,
}

/// A question for figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measure {
    /// In these experiments.
    pub experiments: Vec<i64>,
    /// Of traces that began then or later.
    pub from: Option<i64>,
    /// Of traces that began then or before.
    pub until: Option<i64>,
    /// What the figures are of.
    pub view: View,
    /// Which figure.
    pub figure: Figure,
    /// What each comes with.
    pub parts: Vec<Part>,
    /// What must be equal.
    pub only: Vec<(Part, String)>,
}

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// When what it is of began or was made, in milliseconds.
    pub at: i64,
    /// The figure as text; nothing where there is none.
    pub value: Option<String>,
    /// The parts, in their order.
    pub parts: Vec<Option<String>>,
}

impl Meta {
    /// Gives each figure to `take`, until that ends it with an error.
    ///
    /// # Errors
    /// When the database cannot be read, or as `take` says.
    pub async fn measure_traces<E: From<Error>>(
        &self,
        measure: &Measure,
        mut take: impl FnMut(Measured) -> Result<(), E>,
    ) -> Result<(), E> {
        let (text, binds) = sql(measure);
        // The text is this module's own; all that a user wrote is bound.
        let mut statement = sqlx::query(sqlx::AssertSqlSafe(text));
        for value in binds {
            statement = statement.bind(value);
        }
        let mut connection = self.readers().acquire().await.map_err(Error::from)?;
        let clock = Clock::start(PATIENCE);
        connection.lock_handle().await.map_err(Error::from)?.set_progress_handler(TICK, clock.ticks());
        let done: Result<(), E> = async {
            let mut rows = statement.fetch(&mut *connection);
            while let Some(row) = rows.try_next().await.map_err(Error::from)? {
                let parts = (0..measure.parts.len()).map(|index| row.try_get_unchecked(index + 2));
                take(Measured {
                    at: row.try_get_unchecked(0).map_err(Error::from)?,
                    value: row.try_get_unchecked(1).map_err(Error::from)?,
                    parts: parts.collect::<Result<_, sqlx::Error>>().map_err(Error::from)?,
                })?;
            }
            Ok(())
        }
        .await;
        connection.lock_handle().await.map_err(Error::from)?.remove_progress_handler();
        match done {
            Err(_) if clock.over() => Err(Error::TooLong { limit: PATIENCE }.into()),
            done => done,
        }
    }
}

fn sql(measure: &Measure) -> (String, Vec<String>) {
    let mut binds = vec![serde_json::json!(measure.experiments).to_string()];
    let at = match measure.view {
        View::Traces => "r.started",
        View::Spans => "json_extract(x.value, '$.start') / 1000000",
        View::Assessments => "x.created",
    };
    let mut text = format!("SELECT {at}, CAST({} AS TEXT)", figure(measure.view, &measure.figure));
    for part in &measure.parts {
        let part = column(part, &mut binds);
        // Writing to a String cannot fail.
        let _ = write!(text, ", CAST({part} AS TEXT)");
    }
    let (last, from) = match measure.view {
        View::Traces => ("", "trace r"),
        View::Spans => {
            (", MAX(s.seq)", "trace r JOIN trace_spans s ON s.trace = r.id JOIN json_each(s.spans) x")
        }
        View::Assessments => ("", "trace r JOIN trace_assessment x ON x.trace = r.id"),
    };
    let _ = write!(text, "{last} FROM {from} WHERE r.experiment IN (SELECT value FROM json_each($1))");
    for (moment, compared) in [(measure.from, ">="), (measure.until, "<=")] {
        if let Some(moment) = moment {
            let _ = write!(text, " AND r.started {compared} {moment}");
        }
    }
    for (part, value) in &measure.only {
        let part = column(part, &mut binds);
        binds.push(value.clone());
        let _ = write!(text, " AND {part} = ${}", binds.len());
    }
    if measure.view == View::Spans {
        text.push_str(" GROUP BY r.id, json_extract(x.value, '$.id')");
    }
    (text, binds)
}

fn figure(view: View, figure: &Figure) -> String {
    match (figure, view) {
        (Figure::Count, _) => "1".to_owned(),
        (Figure::Latency, View::Spans) => {
            "(json_extract(x.value, '$.end') - json_extract(x.value, '$.start')) / 1000000".to_owned()
        }
        (Figure::Latency, _) => "r.duration".to_owned(),
        // Both names are this program's own.
        (Figure::Named(name), View::Spans) => {
            format!("json_extract(x.value, '$.attributes.\"mlflow.llm.cost\".{name}')")
        }
        (Figure::Named(name), _) => format!(
            "(SELECT json_extract(m.value, '$.{name}') FROM json_each(r.metadata) m
              WHERE m.key = 'mlflow.trace.tokenUsage' AND json_valid(m.value))"
        ),
        (Figure::Said, View::Assessments) => "x.text".to_owned(),
        (Figure::Said, _) => "NULL".to_owned(),
    }
}

fn column(part: &Part, binds: &mut Vec<String>) -> String {
    let mut of = |map: &str, key: &str| {
        binds.push(key.to_owned());
        format!("(SELECT t.value FROM json_each({map}) t WHERE t.key = ${})", binds.len())
    };
    match part {
        Part::TraceName => of("r.tags", "mlflow.traceName"),
        Part::Tag(key) => of("r.tags", key),
        Part::Metadata(key) => of("r.metadata", key),
        Part::SpanAttribute(key) => of(
            "CASE WHEN json_type(x.value, '$.attributes') = 'object' THEN json_extract(x.value, '$.attributes') ELSE '{}' END",
            key,
        ),
        Part::TraceStatus => "r.state".to_owned(),
        Part::SpanName => "json_extract(x.value, '$.name')".to_owned(),
        Part::SpanStatus => "json_extract(x.value, '$.status')".to_owned(),
        Part::AssessmentName => "x.name".to_owned(),
        Part::AssessmentKind => "x.kind".to_owned(),
        Part::AssessmentValue => "(x.record -> '$.value.value')".to_owned(),
    }
}
