//! Tables of runs by column: of each run just the columns that were asked for.
//!
//! A column is named as in a filter: `metrics.loss`, `params.depth`, `` tags.`a b` ``, `status`.

use rondo_store::meta::search::{Attribute, Field, Room};
use serde::Serialize;
use serde_json::Value;

use crate::runs::Run;
use crate::tracking::Search;
use crate::{Error, Tracking, filter};

/// Columns of a table, at most.
pub const COLUMNS_MAX: usize = 200;

/// Runs as a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Table {
    /// The runs' ids, in order.
    pub runs: Vec<String>,
    /// The columns, in the order in which they were asked for.
    pub columns: Vec<Column>,
    /// The token of the next page, where more comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page: Option<String>,
}

/// A column and its values.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Column {
    /// As it was asked for.
    pub name: String,
    /// One a run: a number, a text, or nothing where the run has none or it is no finite number.
    pub values: Vec<Value>,
}

impl Tracking {
    /// The runs of some experiments that match, by column.
    ///
    /// # Errors
    /// When the filter, the order, the page or a column cannot be understood.
    pub async fn table(
        &self,
        experiments: &[String],
        search: &Search,
        columns: &[String],
    ) -> Result<Table, Error> {
        if columns.len() > COLUMNS_MAX {
            return Err(Error::TooMany { what: "columns", found: columns.len(), limit: COLUMNS_MAX });
        }
        let fields =
            columns.iter().map(|name| filter::field(Room::Runs, name)).collect::<Result<Vec<_>, _>>()?;
        let found = self.search_runs(experiments, search).await?;
        let column = |(name, field): (&String, &Field)| Column {
            name: name.clone(),
            values: found.items.iter().map(|run| value(run, field)).collect(),
        };
        Ok(Table {
            runs: found.items.iter().map(|run| run.row.id.hex()).collect(),
            columns: columns.iter().zip(&fields).map(column).collect(),
            next_page: found.next_page_token,
        })
    }
}

fn value(run: &Run, field: &Field) -> Value {
    let text = |text: Option<&String>| text.map_or(Value::Null, |text| Value::from(text.as_str()));
    match field {
        Field::Metric(key, _) => {
            let latest = run.facts.metrics.iter().find(|latest| latest.key == *key);
            latest.map_or(Value::Null, |latest| Value::from(latest.point.value))
        }
        Field::Param(key) => text(run.facts.params.get(key)),
        Field::Tag(key) => text(run.facts.tags.get(key)),
        Field::Attribute(attribute) => of_row(run, *attribute),
        Field::Measured(_) | Field::Dataset(_) => Value::Null,
    }
}

fn of_row(run: &Run, attribute: Attribute) -> Value {
    let row = &run.row;
    match attribute {
        Attribute::Id => row.id.hex().into(),
        Attribute::Name => row.name.as_str().into(),
        Attribute::User => row.user.as_str().into(),
        Attribute::Status => row.state.status().into(),
        Attribute::ArtifactUri => run.artifact_uri.as_str().into(),
        Attribute::Started | Attribute::Created => row.started.millis().into(),
        Attribute::Ended => row.ended.map(rondo_core::Timestamp::millis).into(),
        Attribute::Parent => row.parent.map(|parent| parent.hex()).into(),
        Attribute::Updated
        | Attribute::Type
        | Attribute::SourceRun
        | Attribute::Number
        | Attribute::Source => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use rondo_store::meta::metrics::{Batch, Point};

    use super::*;
    use crate::runs::NewRun;
    use crate::tracking::fixture::tracking;

    #[tokio::test]
    async fn a_table_has_the_columns_that_were_asked_for() {
        let (_folder, tracking) = tracking().await;
        for loss in [0.5, 0.25, f64::NAN] {
            let new = NewRun { experiment: "0".into(), ..NewRun::default() };
            let id = tracking.create_run(new).await.unwrap().row.id.hex();
            let metrics = vec![("a loss".to_owned(), Point { value: loss, ..Point::default() })];
            tracking.log_batch(&id, Batch { metrics, ..Batch::default() }).await.unwrap();
        }
        let search =
            Search { order_by: vec!["metrics.`a loss`".into()], max_results: Some(2), ..Search::default() };
        let names = ["metrics.`a loss`".to_owned(), "status".to_owned(), "params.none".to_owned()];
        let table = tracking.table(&["0".into()], &search, &names).await.unwrap();
        assert_eq!(table.columns[0].values, [Value::from(0.25), Value::from(0.5)]);
        assert_eq!(table.columns[1].values, ["RUNNING", "RUNNING"]);
        assert_eq!(table.columns[2].values, [Value::Null, Value::Null]);
        let search = Search { page_token: table.next_page.unwrap(), ..search };
        let rest = tracking.table(&["0".into()], &search, &names).await.unwrap();
        assert_eq!((rest.columns[0].values.as_slice(), rest.next_page), (&[Value::Null][..], None));
        assert!(tracking.table(&["0".into()], &search, &["metrics.a loss".into()]).await.is_err());
    }
}
