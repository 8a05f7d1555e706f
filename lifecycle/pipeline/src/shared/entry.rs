//! An entry of the shared cache: one line that says who signed, then the entry itself as JSON.

use rondo_core::run::{Link, RunRow, RunState};
use rondo_core::{Digest, RunId};
use rondo_project::project::SharedCache;
use rondo_remote::Need;
use rondo_store::Store;
use rondo_store::meta::cache::Cached;
use rondo_store::meta::import::{ImportedRun, ImportedSeries};
use rondo_store::meta::metrics::Point;
use serde::{Deserialize, Serialize};

use super::keys::{KeyPair, verifies};
use super::{FROM, needs};
use crate::Error;

/// How many points of metrics come along; of more, the newest of each metric alone.
const POINTS: usize = 20_000;

/// A point of a metric: its value as text, which may be `NaN`, its timestamp and its step.
type Said = (String, i64, i64);

/// What a run made for a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    branch: String,
    key: Digest,
    run: RunRow,
    #[serde(default)]
    params: Vec<(String, String)>,
    #[serde(default)]
    tags: Vec<(String, String)>,
    #[serde(default)]
    metrics: Vec<(String, Vec<Said>)>,
    /// Its code and the lock of its environment, as far as they are kept: what it takes to make it again.
    #[serde(default)]
    code: Vec<Digest>,
}

impl Entry {
    /// The entry of a run of this store; nothing where the run is gone or has not ended well.
    pub async fn of(store: &Store, branch: &str, key: Digest, run: RunId) -> Result<Option<Self>, Error> {
        let meta = store.meta();
        let Some(mut row) = meta.run(run).await?.filter(|row| row.state == RunState::Finished) else {
            return Ok(None);
        };
        row.parent = None;
        row.deleted = false;
        let (params, tags) = (meta.run_params(run).await?, meta.run_tags(run).await?);
        let mut metrics = Vec::new();
        let mut count = 0;
        for latest in meta.latest_metrics(run).await? {
            let mut points = vec![latest.point];
            if count < POINTS {
                let history = meta.metric_history(run, &latest.key).await?;
                if count + history.len() <= POINTS {
                    points = history;
                }
            }
            count += points.len();
            let said = |point: Point| (format!("{:?}", point.value), point.timestamp, point.step);
            metrics.push((latest.key, points.into_iter().map(said).collect()));
        }
        let own = |(name, _): &(String, String)| name != FROM && name != "mlflow.parentRunId";
        let tags = tags.into_iter().filter(own).collect();
        let params = params.into_iter().collect();
        let code = row.detail.code.files.values().chain(row.detail.environment.iter().map(|(_, lock)| lock));
        let code = code.copied().filter(|digest| store.objects().sound(*digest).is_ok()).collect();
        Ok(Some(Self { branch: branch.to_owned(), key, run: row, params, tags, metrics, code }))
    }

    /// Its key.
    pub const fn key(&self) -> Digest {
        self.key
    }

    /// As it is written: signed.
    pub fn signed(&self, key: &KeyPair) -> Result<Vec<u8>, Error> {
        let json = serde_json::to_vec(self).map_err(|error| Error::Task { reason: error.to_string() })?;
        let line = format!("rondo-cache-1 {} {}\n", key.public(), key.sign(&json));
        Ok([line.into_bytes(), json].concat())
    }

    /// Reads an entry that was found for a branch and a key; else why it does not count.
    pub fn open(text: &[u8], settings: &SharedCache, branch: &str, key: Digest) -> Result<Self, String> {
        let end = text.iter().position(|byte| *byte == b'\n').ok_or("it is no entry")?;
        let (line, json) = text.split_at(end);
        let json = json.get(1..).unwrap_or_default();
        let line = std::str::from_utf8(line).map_err(|_| "it is no entry")?;
        let words: Vec<&str> = line.split(' ').collect();
        let ["rondo-cache-1", public, signature] = *words else { return Err("it is no entry".to_owned()) };
        if !settings.trusts(public, branch) {
            return Err("its key is not trusted for that branch".to_owned());
        }
        if !verifies(public, json, signature) {
            return Err("its signature is not of its content".to_owned());
        }
        let entry: Self = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if entry.branch != branch || entry.key != key {
            return Err("it was signed for another branch or key".to_owned());
        }
        Ok(entry)
    }

    /// The objects that it names.
    pub fn needs(&self) -> Vec<Need> {
        let files = self.code.iter().copied().chain(self.run.detail.log).map(Need::file);
        needs(self.outputs()).chain(files).collect()
    }

    fn outputs(&self) -> &[Link] {
        &self.run.detail.outputs
    }

    /// Makes the run a row of this store and its outputs what the key gives; its objects are here.
    pub async fn bring(self, store: &Store, experiment: i64, branch: &str) -> Result<Cached, Error> {
        let meta = store.meta();
        let outputs = self.outputs().to_vec();
        let (id, step) = (self.run.id, self.run.step.clone().unwrap_or_default());
        let ended = self.run.ended.unwrap_or(self.run.started);
        // The mark says that it is whole; what was begun and not ended is done again.
        let marks = meta.import_marks("run", &[id.hex()]).await?;
        let begun = marks.get(&id.hex()).is_some_and(String::is_empty);
        if begun || meta.run(id).await?.is_none() {
            let mut tags = self.tags;
            tags.push((FROM.to_owned(), branch.to_owned()));
            let row = RunRow { experiment, parent: None, ..self.run };
            meta.import_runs(vec![ImportedRun { row, params: self.params, tags, inputs: Vec::new() }])
                .await?;
            let point = |(value, timestamp, step): &Said| {
                Some(Point { value: value.parse().ok()?, timestamp: *timestamp, step: *step })
            };
            let series = self.metrics.into_iter().map(|(key, points)| ImportedSeries {
                run: id,
                key,
                points: points.iter().filter_map(point).collect(),
            });
            let series: Vec<_> = series.filter(|series| !series.points.is_empty()).collect();
            meta.import_series(series).await?;
            meta.mark_imported("run", vec![(id.hex(), format!("shared cache of {branch}"))]).await?;
        }
        meta.keep_cached(self.key, &step, id, &outputs, ended).await?;
        Ok(Cached { run: id, outputs, created: ended })
    }
}
