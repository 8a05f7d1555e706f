//! Runs side by side: one row a parameter, metric or tag, one value a run, and whether they differ.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::runs::Run;
use crate::{Error, Tracking};

/// Runs that are compared at once, at most.
pub const RUNS_MAX: usize = 100;

/// What a row of a comparison is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A parameter.
    Param,
    /// The newest value of a metric.
    Metric,
    /// A tag.
    Tag,
}

/// A value as text or number; nothing where the run has none.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// Of a metric; nothing in JSON where it is no finite number.
    Number(f64),
    /// Of a parameter or tag.
    Text(String),
}

/// One row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What it is.
    pub kind: Kind,
    /// Its key.
    pub key: String,
    /// Whether all runs have it with the same value.
    pub same: bool,
    /// One for each run, in their order.
    pub values: Vec<Option<Value>>,
}

impl Tracking {
    /// Runs in the order in which they were asked for, and their rows: by kind, then by key.
    ///
    /// # Errors
    /// When one of them does not exist, or there are none or too many.
    pub async fn compare(&self, ids: &[String]) -> Result<(Vec<Run>, Vec<Row>), Error> {
        if ids.is_empty() {
            return Err(crate::limits::invalid("runs", "", "name at least one"));
        }
        if ids.len() > RUNS_MAX {
            return Err(Error::TooMany { what: "runs", found: ids.len(), limit: RUNS_MAX });
        }
        let mut rows = Vec::with_capacity(ids.len());
        for id in ids {
            rows.push(self.run_row(id).await?);
        }
        let runs = self.with_facts(rows).await?;
        let rows = rows_of(&runs);
        Ok((runs, rows))
    }
}

fn rows_of(runs: &[Run]) -> Vec<Row> {
    let mut rows: BTreeMap<(Kind, &str), Vec<Option<Value>>> = BTreeMap::new();
    for (place, run) in runs.iter().enumerate() {
        let params =
            run.facts.params.iter().map(|(key, value)| (Kind::Param, key, Value::Text(value.clone())));
        let metrics = run
            .facts
            .metrics
            .iter()
            .map(|latest| (Kind::Metric, &latest.key, Value::Number(latest.point.value)));
        let tags = run.facts.tags.iter().map(|(key, value)| (Kind::Tag, key, Value::Text(value.clone())));
        for (kind, key, value) in params.chain(metrics).chain(tags) {
            let values = rows.entry((kind, key.as_str())).or_insert_with(|| vec![None; runs.len()]);
            if let Some(slot) = values.get_mut(place) {
                *slot = Some(value);
            }
        }
    }
    rows.into_iter()
        .map(|((kind, key), values)| {
            let same = values.windows(2).all(|pair| matches!(pair, [a, b] if equal(a.as_ref(), b.as_ref())));
            Row { kind, key: key.to_owned(), same, values }
        })
        .collect()
}

/// Two runs that both have NaN have the same.
fn equal(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (Some(Value::Number(a)), Some(Value::Number(b))) => a == b || (a.is_nan() && b.is_nan()),
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use rondo_store::meta::metrics::{Batch, Point};

    use super::*;
    use crate::runs::NewRun;
    use crate::tracking::fixture::tracking;

    #[tokio::test]
    async fn rows_say_what_differs() {
        let (_folder, tracking) = tracking().await;
        let mut ids = Vec::new();
        for (depth, loss) in [("3", f64::NAN), ("5", f64::NAN)] {
            let new = NewRun { experiment: "0".into(), name: Some("n".into()), ..NewRun::default() };
            let id = tracking.create_run(new).await.unwrap().row.id.hex();
            let batch = Batch {
                metrics: vec![("loss".into(), Point { value: loss, ..Point::default() })],
                params: vec![("depth".into(), depth.into()), ("seed".into(), "1".into())],
                ..Batch::default()
            };
            tracking.log_batch(&id, batch).await.unwrap();
            ids.push(id);
        }
        tracking
            .log_batch(&ids[1], Batch { tags: vec![("only".into(), "here".into())], ..Batch::default() })
            .await
            .unwrap();
        let (runs, rows) = tracking.compare(&ids).await.unwrap();
        assert_eq!(runs.iter().map(|run| run.row.id.hex()).collect::<Vec<_>>(), ids);
        let told: Vec<(Kind, &str, bool)> =
            rows.iter().map(|row| (row.kind, row.key.as_str(), row.same)).collect();
        assert_eq!(
            told,
            [
                (Kind::Param, "depth", false),
                (Kind::Param, "seed", true),
                (Kind::Metric, "loss", true),
                (Kind::Tag, "mlflow.runName", true),
                (Kind::Tag, "only", false),
            ]
        );
        assert_eq!(rows[4].values, [None, Some(Value::Text("here".into()))]);
    }

    #[tokio::test]
    async fn none_too_many_and_unknown_runs_are_refused() {
        let (_folder, tracking) = tracking().await;
        assert!(tracking.compare(&[]).await.is_err());
        assert!(matches!(tracking.compare(&["x".to_owned()]).await, Err(Error::RunNotFound { .. })));
        let many = vec!["x".to_owned(); RUNS_MAX + 1];
        assert!(matches!(tracking.compare(&many).await, Err(Error::TooMany { .. })));
    }
}
