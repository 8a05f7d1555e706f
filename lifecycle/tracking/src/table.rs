//! Tables of runs by column: of each run just the columns that were asked for.
//!
//! A column is named as in a filter: `metrics.loss`, `params.depth`, `` tags.`a b` ``, `status`. Nothing else
//! of the runs is read.

use std::collections::HashMap;

use rondo_store::meta::listing::{Pick, Select};
use rondo_store::meta::search::{Attribute, Field, Room};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::listing::ListedRun;
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
        let found = self.list_runs(experiments, search, &select(&fields)).await?;
        let mut table = Table {
            runs: Vec::with_capacity(found.items.len()),
            columns: columns.iter().map(|name| Column { name: name.clone(), values: Vec::new() }).collect(),
            next_page: found.next_page_token,
        };
        for listed in found.items {
            let logged = Logged::read(&listed)?;
            for (column, field) in table.columns.iter_mut().zip(&fields) {
                column.values.push(logged.value(&listed, field));
            }
            table.runs.push(listed.run.id);
        }
        Ok(table)
    }
}

/// What of each run has to be read for these columns.
fn select(fields: &[Field]) -> Select {
    let (mut metrics, mut params, mut tags) = (Vec::new(), Vec::new(), Vec::new());
    for field in fields {
        match field {
            Field::Metric(key, _) => metrics.push(key.clone()),
            Field::Param(key) => params.push(key.clone()),
            Field::Tag(key) => tags.push(key.clone()),
            Field::Attribute(_) | Field::Measured(_) | Field::Dataset(_) => {}
        }
    }
    let [metrics, params, tags] = [metrics, params, tags].map(Pick::Keys);
    Select { metrics, params, tags, inputs: false }
}

/// What was logged on a run, by key.
struct Logged {
    metrics: HashMap<String, Value>,
    params: HashMap<String, Value>,
    tags: HashMap<String, Value>,
}

impl Logged {
    fn read(listed: &ListedRun) -> Result<Self, Error> {
        let run = &listed.run;
        let of = |list: &str| by_key(list).map_err(|source| unreadable(&run.id, source));
        Ok(Self { metrics: of(&run.metrics)?, params: of(&run.params)?, tags: of(&run.tags)? })
    }

    fn value(&self, listed: &ListedRun, field: &Field) -> Value {
        let known = |of: &HashMap<String, Value>, key: &str| of.get(key).cloned().unwrap_or_default();
        match field {
            // A text here says that it is no number.
            Field::Metric(key, _) => Some(known(&self.metrics, key)).filter(Value::is_number).into(),
            Field::Param(key) => known(&self.params, key),
            Field::Tag(key) => known(&self.tags, key),
            Field::Attribute(attribute) => of_row(listed, *attribute),
            Field::Measured(_) | Field::Dataset(_) => Value::Null,
        }
    }
}

fn unreadable(run: &str, source: serde_json::Error) -> Error {
    rondo_store::Error::Record { kind: "list of run", name: run.to_owned(), source }.into()
}

fn by_key(list: &str) -> Result<HashMap<String, Value>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Pair {
        key: String,
        value: Value,
    }
    let pairs: Vec<Pair> = serde_json::from_str(list)?;
    Ok(pairs.into_iter().map(|pair| (pair.key, pair.value)).collect())
}

fn of_row(listed: &ListedRun, attribute: Attribute) -> Value {
    let run = &listed.run;
    match attribute {
        Attribute::Id => run.id.as_str().into(),
        Attribute::Name => run.name.as_str().into(),
        Attribute::User => run.user.as_str().into(),
        Attribute::Status => run.status.as_str().into(),
        Attribute::ArtifactUri => listed.artifact_uri.as_str().into(),
        Attribute::Started | Attribute::Created => run.started.into(),
        Attribute::Ended => run.ended.into(),
        Attribute::Parent => run.parent.as_deref().into(),
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
