//! Reading a log: observations by endpoint and event time, from segments and partitions alike.
//!
//! A reader needs no lock and may look at a log that another process writes. Segments are read before
//! the partitions are listed: compaction puts a partition in place before it deletes the segments, so
//! that nothing is missed, and what is found twice is kept once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use rondo_core::Timestamp;
use rondo_core::handoff::Observation;
use rondo_core::label::Label;

use crate::error::Result;
use crate::log::partition;
use crate::log::record::{Fingerprint, Glance, Record};
use crate::log::segments;
use crate::log::truths::{self, KnownLabel};

/// What ends the name of a shadow.
const SHADOW: &str = ".shadow";

/// Which observations are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The endpoint; that of a shadow is `<name>.shadow`.
    pub deployment: String,
    /// Only those of one model.
    pub model: Option<String>,
    /// Only those of one version.
    pub version: Option<u32>,
    /// The earliest event time.
    pub from: Timestamp,
    /// The event time before which all are.
    pub until: Timestamp,
}

impl Query {
    /// All observations of an endpoint between two moments, the second excluded.
    pub fn new(deployment: &str, from: Timestamp, until: Timestamp) -> Self {
        Self { deployment: deployment.to_owned(), model: None, version: None, from, until }
    }

    /// All observations of an endpoint.
    pub fn all(deployment: &str) -> Self {
        Self::new(deployment, Timestamp(i64::MIN), Timestamp(i64::MAX))
    }

    fn in_time(&self, event_time: Timestamp) -> bool {
        self.from <= event_time && event_time < self.until
    }

    fn wants(&self, observation: &Observation) -> bool {
        observation.deployment == self.deployment
            && self.in_time(observation.event_time)
            && self.model.as_ref().is_none_or(|model| *model == observation.model)
            && self.version.is_none_or(|version| version == observation.version)
    }
}

/// An observation with its ground truth, as far as it is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Joined {
    /// What was answered.
    pub observation: Observation,
    /// The label, where it was known by then.
    pub label: Option<Label>,
    /// When it became known.
    pub truth_time: Option<Timestamp>,
}

/// The folders of a log.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout of the log in a folder.
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The log's own folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Predictions that no partition has yet.
    pub(crate) fn segments(&self) -> PathBuf {
        self.root.join("segments")
    }

    /// The partitions.
    pub(crate) fn predictions(&self) -> PathBuf {
        self.root.join("predictions")
    }

    /// The ground truth.
    pub(crate) fn truths(&self) -> PathBuf {
        self.root.join("truths")
    }
}

/// Reads a log.
#[derive(Debug, Clone)]
pub struct LogReader {
    layout: Layout,
}

impl LogReader {
    /// A reader of the log in a folder, which need not exist.
    pub fn new(root: &Path) -> Self {
        Self { layout: Layout::new(root) }
    }

    /// The observations of a query, by event time, each id once.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn observations(&self, query: &Query) -> Result<Vec<Observation>> {
        let mut found = Vec::new();
        self.each_in_segments(
            |glance| glance.deployment == query.deployment && query.in_time(glance.event_time),
            |record| found.push(record.observation),
        )?;
        for part in partition::list(&self.layout.predictions(), Some(&query.deployment))? {
            if part.may_have(query.from, query.until) {
                partition::read(&part, true, |record| {
                    if query.in_time(record.observation.event_time) {
                        found.push(record.observation);
                    }
                })?;
            }
        }
        // Of two records of one id, the one that was answered first.
        found.sort_by(|a, b| a.prediction_id.cmp(&b.prediction_id).then(a.received.cmp(&b.received)));
        found.dedup_by(|later, first| later.prediction_id == first.prediction_id);
        found.retain(|observation| query.wants(observation));
        found.sort_by(|a, b| (a.event_time, &a.prediction_id).cmp(&(b.event_time, &b.prediction_id)));
        Ok(found)
    }

    /// The observations of a query, each with the label that was known by a moment of event time.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn joined(&self, query: &Query, known_by: Timestamp) -> Result<Vec<Joined>> {
        let mut labels: HashMap<Fingerprint, KnownLabel> = HashMap::new();
        truths::scan(&self.layout.truths(), |id, known| {
            labels.entry(id).or_insert(known);
        })?;
        let known = |id: &str| truths::find(&query.deployment, id, |id| labels.get(id)).cloned();
        Ok(join(self.observations(query)?, known_by, known))
    }

    /// The first observation of a prediction's id at each endpoint, in the order of their names: at one, where it
    /// is said, else at all but shadows.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn find(&self, prediction_id: &str, deployment: Option<&str>) -> Result<Vec<Observation>> {
        let asked = |name: &str| deployment.map_or_else(|| !is_shadow(name), |deployment| name == deployment);
        let mut found: BTreeMap<String, Observation> = BTreeMap::new();
        let mut take = |observation: Observation| match found.get(&observation.deployment) {
            Some(first) if first.received <= observation.received => {}
            Some(_) | None => drop(found.insert(observation.deployment.clone(), observation)),
        };
        self.each_in_segments(
            |glance| glance.prediction_id == prediction_id && asked(&glance.deployment),
            |record| take(record.observation),
        )?;
        let parts = partition::list(&self.layout.predictions(), deployment)?;
        for part in parts.iter().filter(|part| asked(&part.deployment)) {
            // Inputs are decoded only of the file that has the id.
            let mut has_it = false;
            partition::read(part, false, |record| {
                has_it |= record.observation.prediction_id == prediction_id
            })?;
            if has_it {
                partition::read(part, true, |record| {
                    if record.observation.prediction_id == prediction_id {
                        take(record.observation);
                    }
                })?;
            }
        }
        Ok(found.into_values().collect())
    }

    /// The highest event time that was seen at an endpoint.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn watermark(&self, deployment: &str) -> Result<Option<Timestamp>> {
        let mut highest = None;
        self.each_in_segments(
            |glance| {
                if glance.deployment == deployment {
                    highest = highest.max(Some(glance.event_time));
                }
                false
            },
            |_| {},
        )?;
        let mut parts = partition::list(&self.layout.predictions(), Some(deployment))?;
        parts.sort_by(|a, b| b.day.cmp(&a.day));
        let Some(last) = parts.first().map(|part| part.day.clone()) else { return Ok(highest) };
        for part in parts.iter().filter(|part| part.day == last || part.day.parse::<Timestamp>().is_err()) {
            partition::read(part, false, |record| {
                highest = highest.max(Some(record.observation.event_time))
            })?;
        }
        Ok(highest)
    }

    /// The endpoints that have observations, shadows among them.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn deployments(&self) -> Result<Vec<String>> {
        let mut names = HashSet::new();
        self.each_in_segments(
            |glance| {
                if !names.contains(glance.deployment.as_ref()) {
                    names.insert(glance.deployment.clone().into_owned());
                }
                false
            },
            |_| {},
        )?;
        names.extend(
            partition::list(&self.layout.predictions(), None)?.into_iter().map(|part| part.deployment),
        );
        let mut names: Vec<String> = names.into_iter().collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The records that came last, at least so many where there are as many, in the order in which they
    /// came as far as segments and parts keep it, without inputs. Parts that are left out are named.
    pub(crate) fn latest(
        &self,
        least: usize,
        mut take: impl FnMut(Record),
        mut left_out: impl FnMut(&partition::Part),
    ) -> Result<()> {
        let mut recent = Vec::new();
        self.each_in_segments(|_| true, |record| recent.push(record))?;
        let parts = partition::list(&self.layout.predictions(), None)?;
        let (mut count, mut first) = (recent.len() as u64, parts.len());
        while first > 0 && count < least as u64 {
            first -= 1;
            count += parts.get(first).map_or(Ok(0), partition::rows)?;
        }
        let (older, newer) = parts.split_at(first);
        older.iter().for_each(&mut left_out);
        for part in newer {
            partition::read(part, false, &mut take)?;
        }
        recent.into_iter().for_each(take);
        Ok(())
    }

    /// The wanted records of all segments.
    fn each_in_segments(
        &self,
        mut wanted: impl FnMut(&crate::log::record::GlanceObservation<'_>) -> bool,
        mut take: impl FnMut(Record),
    ) -> Result<()> {
        for (_, path) in segments::list(&self.layout.segments())? {
            let Some(bytes) = segments::read(&path)? else { continue };
            for content in segments::frames(&path, &bytes)? {
                // The checksum held, so what does not read is of a later release: it is left to that.
                let Ok(glance) = serde_json::from_slice::<Glance<'_>>(content) else { continue };
                if wanted(&glance.observation)
                    && let Ok(record) = serde_json::from_slice(content)
                {
                    take(record);
                }
            }
        }
        Ok(())
    }
}

/// Puts labels to observations.
pub(crate) fn join(
    observations: Vec<Observation>,
    known_by: Timestamp,
    known: impl Fn(&str) -> Option<KnownLabel>,
) -> Vec<Joined> {
    observations
        .into_iter()
        .map(|observation| {
            let label = known(&observation.prediction_id).filter(|label| label.event_time <= known_by);
            let truth_time = label.as_ref().map(|label| label.event_time);
            Joined { label: label.map(|label| label.label), truth_time, observation }
        })
        .collect()
}

/// The name under which a shadow's answers are logged.
pub fn shadow_of(deployment: &str) -> String {
    format!("{deployment}{SHADOW}")
}

/// The endpoint that a shadow stands beside; of any other itself.
pub(crate) fn shadowed(deployment: &str) -> &str {
    deployment.strip_suffix(SHADOW).unwrap_or(deployment)
}

pub(crate) fn is_shadow(deployment: &str) -> bool {
    deployment.ends_with(SHADOW)
}
