//! Traces: what calls of an application did, as spans, and what is said of the whole.
//!
//! Spans come as OpenTelemetry exports them, in any order and in many parts; a trace is there from its
//! first span on. The client's word on the whole trace comes at its end and stands over what its spans
//! told. Search reads traces and never their spans, unless a filter asks for spans.

mod conventions;
pub mod figures;
pub mod preview;
pub mod span;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rondo_core::Timestamp;
use rondo_store::meta::assessments::Assessment;
use rondo_store::meta::traces::{Export, FINALIZED, Query, Trace};
use serde_json::Value;

use crate::artifacts::Place;
use crate::filter::traces as filter;
use crate::tracking::{Found, Search};
use crate::{Error, Tracking, limits, page};
use span::{Span, Status};

/// Rows of a page, unless it is said.
const PAGE: u32 = 100;
/// Rows of a page, at most.
const PAGE_MAX: u32 = 500;
/// Traces that one request links, at most.
const LINKS: usize = 100;
/// Tags or entries of metadata of one trace.
const ENTRIES: usize = 1000;
/// Traces that are deleted in one transaction.
const DELETED: u32 = 200;

/// The tag that says where a trace's files are.
pub const LOCATION: &str = "mlflow.artifactLocation";
/// The tag that says where a trace's spans are.
pub const SPANS: &str = "mlflow.trace.spansLocation";
/// Its value where they are kept here, and not in a file of the trace's.
pub const HERE: &str = "TRACKING_STORE";
const SIZE: &str = "mlflow.trace.sizeStats";

/// A trace and what is said of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The trace.
    pub trace: Trace,
    /// Its assessments, oldest first.
    pub assessments: Vec<Assessment>,
}

/// A trace with its spans.
#[derive(Debug, Clone, PartialEq)]
pub struct Whole {
    /// The trace and what is said of it.
    pub told: Told,
    /// Its spans: the root, then by start.
    pub spans: Vec<Span>,
}

/// What a client says of a trace.
#[derive(Debug, Clone, Default)]
pub struct NewTrace {
    /// Its id.
    pub id: String,
    /// The experiment's id.
    pub experiment: String,
    /// When it began.
    pub started: Timestamp,
    /// How many milliseconds it took.
    pub duration: Option<i64>,
    /// Its state.
    pub state: String,
    /// The caller's own id.
    pub client_request: Option<String>,
    /// The beginning of what was asked.
    pub request_preview: Option<String>,
    /// The beginning of what was answered.
    pub response_preview: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Metadata.
    pub metadata: BTreeMap<String, String>,
}

/// Which traces to delete.
#[derive(Debug, Clone, Default)]
pub struct Doomed {
    /// These.
    pub ids: Vec<String>,
    /// Or those that began until then.
    pub until: Option<i64>,
    /// And at most so many of them.
    pub limit: Option<i64>,
}

impl Tracking {
    /// Keeps what a client says of a whole trace, over what its spans told.
    ///
    /// # Errors
    /// When the experiment does not exist or is deleted, or something is out of bounds.
    pub async fn start_trace(&self, new: NewTrace, assessments: Vec<Assessment>) -> Result<Told, Error> {
        let mut trace = self.checked(new).await?;
        trace.metadata.insert(FINALIZED.to_owned(), "true".to_owned());
        let trace = self.meta().put_trace(trace).await?;
        if !assessments.is_empty() {
            self.meta().create_assessments(assessments).await?;
        }
        self.told(vec![trace.clone()]).await?.pop().ok_or(Error::TraceNotFound { id: trace.id })
    }

    /// Keeps a trace that has begun, for clients that say so before there is a span; its id is made here.
    ///
    /// # Errors
    /// When the experiment does not exist or is deleted, or something is out of bounds.
    pub async fn begin_trace(&self, new: NewTrace) -> Result<Trace, Error> {
        let id = format!("tr-{}", rondo_core::RunId::random().hex());
        let trace = self.checked(NewTrace { id, ..new }).await?;
        Ok(self.meta().put_trace(trace).await?)
    }

    /// Ends a trace that was begun.
    ///
    /// # Errors
    /// When it does not exist or something is out of bounds.
    pub async fn end_trace(
        &self,
        id: &str,
        ended: i64,
        state: &str,
        tags: BTreeMap<String, String>,
        metadata: BTreeMap<String, String>,
    ) -> Result<Trace, Error> {
        self.trace(id).await?;
        check_millis("timestamp_ms", ended)?;
        let (tags, metadata) = (entries("tag", tags)?, entries("metadata", metadata)?);
        Ok(self.meta().end_trace(id, Timestamp(ended), state, tags, metadata).await?)
    }

    async fn checked(&self, new: NewTrace) -> Result<Trace, Error> {
        check_id(&new.id)?;
        check_millis("request_time", new.started.millis())?;
        check_millis("execution_duration", new.duration.unwrap_or_default())?;
        let experiment = self.active_experiment(&new.experiment).await?;
        let mut tags = entries("tag", new.tags)?;
        tags.insert(
            LOCATION.to_owned(),
            crate::artifacts::trace_root(&experiment.artifact_location, &new.id),
        );
        if let Some(id) = &new.client_request {
            limits::length("client_request_id", id, limits::KEY)?;
        }
        Ok(Trace {
            id: new.id,
            experiment: experiment.id,
            started: new.started,
            duration: new.duration,
            state: new.state,
            client_request: new.client_request,
            request_preview: new.request_preview.map(preview::cut),
            response_preview: new.response_preview.map(preview::cut),
            tags,
            metadata: entries("metadata", new.metadata)?,
        })
    }

    /// Keeps spans, of whichever traces, under an experiment; all or none. Spans of a trace that is there
    /// go to that one, wherever it is filed.
    ///
    /// # Errors
    /// When the experiment does not exist.
    pub async fn log_spans(
        &self,
        experiment: &str,
        by_trace: BTreeMap<String, Vec<Span>>,
    ) -> Result<(), Error> {
        let experiment = self.experiment(experiment).await?;
        let exports = by_trace.into_iter().map(|(id, spans)| {
            let location = crate::artifacts::trace_root(&experiment.artifact_location, &id);
            export(id, experiment.id, location, &spans)
        });
        let exports: Vec<Export> = exports.collect::<Result<_, _>>()?;
        if exports.is_empty() { Ok(()) } else { Ok(self.meta().put_spans(exports).await?) }
    }

    /// A place among a trace's files.
    ///
    /// # Errors
    /// When there is no such trace, or the path leaves the root of its files.
    pub async fn place_of_trace(&self, id: &str, path: &str) -> Result<Place, Error> {
        let told = self.trace(id).await?;
        let root = told.trace.tags.get(LOCATION).map(String::as_str).unwrap_or_default();
        self.roots().owned(id, root, &crate::artifacts::clean(path)?)
    }

    /// A trace and what is said of it.
    ///
    /// # Errors
    /// When there is none.
    pub async fn trace(&self, id: &str) -> Result<Told, Error> {
        let missing = || Error::TraceNotFound { id: id.to_owned() };
        let trace = self.meta().trace(id).await?.ok_or_else(missing)?;
        self.told(vec![trace]).await?.pop().ok_or_else(missing)
    }

    /// Those of these traces that are there, in the order of their ids here, each once.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn traces(&self, ids: &[String]) -> Result<Vec<Told>, Error> {
        let mut found: HashMap<String, Trace> =
            self.meta().traces(ids).await?.into_iter().map(|trace| (trace.id.clone(), trace)).collect();
        self.told(ids.iter().filter_map(|id| found.remove(id)).collect()).await
    }

    /// A trace with its spans. Unless a part is enough, a trace of which spans are on their way is waited
    /// for, for a few seconds.
    ///
    /// # Errors
    /// When there is none, its spans are not kept here, or some are missing still.
    pub async fn whole_trace(&self, id: &str, partial: bool) -> Result<Whole, Error> {
        for wait in [100, 300, 800, 1800, 0] {
            let told = self.trace(id).await?;
            if told.trace.tags.get(SPANS).map(String::as_str) != Some(HERE) {
                return Err(Error::SpansElsewhere { id: id.to_owned() });
            }
            let whole = self.with_spans(vec![told]).await?.pop();
            match whole {
                Some(whole) if partial || is_complete(&whole) => return Ok(whole),
                Some(_) | None => tokio::time::sleep(Duration::from_millis(wait)).await,
            }
        }
        Err(Error::TraceIncomplete { id: id.to_owned() })
    }

    /// Those of these traces that are here with all their spans, in the order of their ids here.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn whole_traces(&self, ids: &[String]) -> Result<Vec<Whole>, Error> {
        let told = self.traces(ids).await?;
        let mut whole = self.with_spans(told).await?;
        whole.retain(is_complete);
        Ok(whole)
    }

    /// Traces of experiments that match, a page of them.
    ///
    /// # Errors
    /// When the filter, the order, the page's size or its token cannot be understood.
    pub async fn search_traces(&self, experiments: &[String], search: &Search) -> Result<Found<Told>, Error> {
        let query = Query {
            experiments: page::experiments(experiments)?,
            filter: filter::parse(&search.filter)?,
            order: filter::order(&search.order_by)?,
            limit: page::size(search.max_results, PAGE, PAGE_MAX)?,
            after: page::place(&search.page_token)?,
        };
        let page = self.meta().search_traces(&query).await?.ok_or_else(page::foreign)?;
        Ok(Found {
            items: self.told(page.items).await?,
            next_page_token: page.next.as_deref().map(page::token),
        })
    }

    /// Sets a tag of a trace. A value that is too long is cut.
    ///
    /// # Errors
    /// When there is no such trace or the key is not one.
    pub async fn tag_trace(&self, id: &str, key: &str, value: &str) -> Result<(), Error> {
        limits::tag_name(key)?;
        let value = shortened(value.to_owned());
        self.trace(id).await?;
        self.meta().tag_trace(id, key, Some(&value)).await?;
        Ok(())
    }

    /// Takes a tag of a trace away.
    ///
    /// # Errors
    /// When there is no such trace or tag.
    pub async fn untag_trace(&self, id: &str, key: &str) -> Result<(), Error> {
        self.trace(id).await?;
        if self.meta().tag_trace(id, key, None).await? {
            return Ok(());
        }
        Err(Error::TraceTagNotFound { key: key.to_owned(), id: id.to_owned() })
    }

    /// Deletes traces of an experiment for good; how many there were.
    ///
    /// # Errors
    /// When it is not said which, or in two ways.
    pub async fn delete_traces(&self, experiment: &str, doomed: Doomed) -> Result<u64, Error> {
        let reason = match (doomed.until, doomed.ids.is_empty(), doomed.limit) {
            (None, true, _) => Some("either `max_timestamp_millis` or `trace_ids` must be specified"),
            (Some(_), false, _) => {
                Some("only one of `max_timestamp_millis` and `trace_ids` can be specified")
            }
            (_, false, Some(_)) => Some("`max_traces` can't be specified if `trace_ids` is specified"),
            (_, _, Some(..=0)) => Some("`max_traces` must be a positive integer"),
            (_, _, _) => None,
        };
        if let Some(reason) = reason {
            return Err(Error::Selection { reason });
        }
        let experiment = self.experiment(experiment).await?.id;
        let ids = Some(doomed.ids.as_slice()).filter(|ids| !ids.is_empty());
        let mut left = doomed.limit.and_then(|limit| u64::try_from(limit).ok()).unwrap_or(u64::MAX);
        let mut gone = 0;
        while left > 0 {
            let part = u32::try_from(left).unwrap_or(DELETED).min(DELETED);
            let count = self.meta().delete_traces(experiment, ids, doomed.until.map(Timestamp), part).await?;
            gone += count;
            left = left.saturating_sub(count);
            if count < u64::from(part) {
                break;
            }
        }
        Ok(gone)
    }

    /// Links traces to a run; those that are not there are left out.
    ///
    /// # Errors
    /// When there is no such run, or there are too many.
    pub async fn link_traces(&self, run: &str, ids: Vec<String>) -> Result<(), Error> {
        if ids.len() > LINKS {
            return Err(Error::TooManyLinks { found: ids.len(), limit: LINKS });
        }
        let run = self.run_row(run).await?;
        Ok(self.meta().link_traces(run.id, ids).await?)
    }

    /// Links a trace to versions of prompts.
    ///
    /// # Errors
    /// When there is no such trace, or a name or version is out of bounds.
    pub async fn link_prompts(&self, id: &str, prompts: Vec<(String, String)>) -> Result<(), Error> {
        self.trace(id).await?;
        for (name, version) in &prompts {
            limits::length("prompt name", name, limits::KEY)?;
            if version.parse::<u64>().is_err() {
                return Err(limits::invalid("prompt version", version, "it must be a whole number"));
            }
        }
        Ok(self.meta().link_prompts(id, prompts).await?)
    }

    async fn told(&self, traces: Vec<Trace>) -> Result<Vec<Told>, Error> {
        let ids: Vec<String> = traces.iter().map(|trace| trace.id.clone()).collect();
        let mut said = self.meta().assessments(&ids).await?;
        let told = traces.into_iter().map(|trace| {
            let assessments = said.remove(&trace.id).unwrap_or_default();
            Told { trace, assessments }
        });
        Ok(told.collect())
    }

    async fn with_spans(&self, told: Vec<Told>) -> Result<Vec<Whole>, Error> {
        let here = |told: &&Told| told.trace.tags.get(SPANS).map(String::as_str) == Some(HERE);
        let ids: Vec<String> = told.iter().filter(here).map(|told| told.trace.id.clone()).collect();
        let mut exports = self.meta().spans(&ids).await?;
        let mut whole = Vec::with_capacity(ids.len());
        for told in told {
            let Some(exports) = exports.remove(&told.trace.id) else { continue };
            let spans = span::merge(&exports).map_err(|source| rondo_store::Error::Record {
                kind: "spans of trace",
                name: told.trace.id.clone(),
                source,
            })?;
            whole.push(Whole { told, spans });
        }
        Ok(whole)
    }
}

/// Spans as they came, put in Rondo's own terms and by the trace that each is of.
///
/// # Errors
/// When a span names no proper trace.
pub fn by_trace(spans: Vec<Span>) -> Result<BTreeMap<String, Vec<Span>>, Error> {
    let mut by_trace: BTreeMap<String, Vec<Span>> = BTreeMap::new();
    for mut span in spans {
        span.settle();
        conventions::translate(&mut span);
        let trace = span.trace();
        check_id(&trace)?;
        by_trace.entry(trace).or_default().push(span);
    }
    Ok(by_trace)
}

/// Whether all spans are there that the client has counted.
fn is_complete(whole: &Whole) -> bool {
    let stats = whole.told.trace.metadata.get(SIZE).and_then(|text| serde_json::from_str::<Value>(text).ok());
    let count = stats.and_then(|stats| stats.get("num_spans").and_then(Value::as_u64)).unwrap_or(0);
    whole.spans.len() as u64 >= count
}

/// Spans of one trace, and what they tell of it.
fn export(id: String, experiment: i64, location: String, spans: &[Span]) -> Result<Export, Error> {
    let started = spans.iter().map(Span::start_millis).min().unwrap_or_default();
    let ended = spans.iter().filter_map(Span::end_millis).max();
    let root = spans.iter().find(|span| span.parent.is_none());
    let mut metadata = BTreeMap::new();
    for (key, attribute) in [("mlflow.trace.session", "session.id"), ("mlflow.trace.user", "user.id")] {
        let text = |span: &Span| span.attributes.get(attribute).and_then(Value::as_str).map(str::to_owned);
        if let Some(value) = spans.iter().find_map(text) {
            metadata.insert(key.to_owned(), shortened(value));
        }
    }
    let mut sums: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    for (key, attribute) in [("mlflow.trace.tokenUsage", span::USAGE), ("mlflow.trace.cost", span::COST)] {
        for counts in spans.iter().filter_map(|span| span.attributes.get(attribute)?.as_object()) {
            let sum = sums.entry(key.to_owned()).or_default();
            for (name, count) in counts.iter().filter_map(|(name, count)| Some((name, count.as_f64()?))) {
                *sum.entry(name.clone()).or_default() += count;
            }
        }
    }
    let said = |attribute: &str, role: &str| {
        let value = root?.attributes.get(attribute)?;
        Some(preview::of(value, role))
    };
    let state = match root.map(|root| root.status) {
        None => "IN_PROGRESS",
        Some(Status::Error) => "ERROR",
        Some(Status::Ok | Status::Unset) => "OK",
    };
    let spans_text = serde_json::to_string(spans).map_err(|source| rondo_store::Error::Record {
        kind: "spans of trace",
        name: id.clone(),
        source,
    })?;
    Ok(Export {
        ends: root.is_some(),
        trace: Trace {
            experiment,
            started: Timestamp(started),
            duration: ended.map(|ended| ended.saturating_sub(started).max(0)),
            state: state.to_owned(),
            client_request: None,
            request_preview: said(span::INPUTS, "user"),
            response_preview: said(span::OUTPUTS, "assistant"),
            tags: BTreeMap::from([(LOCATION.to_owned(), location), (SPANS.to_owned(), HERE.to_owned())]),
            metadata,
            id,
        },
        sums,
        spans: spans_text,
    })
}

pub(crate) fn check_id(id: &str) -> Result<(), Error> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if (1..=50).contains(&id.len())
        && id.chars().all(plain)
        && id.starts_with(|c: char| c.is_ascii_alphanumeric())
    {
        return Ok(());
    }
    Err(limits::invalid("trace id", id, "it must be `tr-` and 32 hex characters"))
}

/// Refuses what is beyond the year 9999, before or after, and so has no form on the wire.
fn check_millis(what: &'static str, millis: i64) -> Result<(), Error> {
    if millis.unsigned_abs() < 253_402_300_800_000 {
        return Ok(());
    }
    Err(limits::invalid(what, &millis.to_string(), "it is beyond the year 9999"))
}

/// Tags or metadata as they are kept: values that are too long are cut, as MLflow does.
fn entries(what: &'static str, given: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Error> {
    if given.len() > ENTRIES {
        return Err(Error::TooMany { what: "tags or metadata", found: given.len(), limit: ENTRIES });
    }
    for key in given.keys() {
        limits::length(what, key, limits::KEY)?;
    }
    Ok(given.into_iter().map(|(key, value)| (key, shortened(value))).collect())
}

fn shortened(value: String) -> String {
    if value.len() <= limits::TAG_VALUE { value } else { value.chars().take(limits::TAG_VALUE).collect() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tracking::fixture;

    const ID: &str = "tr-0000000000000000000000000000000a";

    fn span(id: &str, parent: Option<&str>, start: u64, attributes: Value) -> Span {
        let text = json!([{
            "id": id, "parent": parent, "otel": "0000000000000000000000000000000a", "name": format!("span {id}"),
            "start": start, "end": start + 2_000_000, "status": "OK", "attributes": attributes,
        }]);
        span::merge(&[text.to_string()]).unwrap().pop().unwrap()
    }

    #[tokio::test]
    async fn spans_alone_make_a_trace() {
        let (_folder, tracking) = fixture::tracking().await;
        let child = span("02", Some("01"), 5_000_000, json!({ span::USAGE: { "input_tokens": 2 } }));
        tracking.log_spans("0", by_trace(vec![child.clone()]).unwrap()).await.unwrap();
        assert_eq!(tracking.trace(ID).await.unwrap().trace.state, "IN_PROGRESS");
        let said = json!({ "mlflow.spanInputs": "{\"x\": 1}", "mlflow.spanOutputs": [2], "session.id": "s" });
        tracking
            .log_spans("0", by_trace(vec![span("01", None, 4_000_000, said), child]).unwrap())
            .await
            .unwrap();
        let whole = tracking.whole_trace(ID, false).await.unwrap();
        let trace = &whole.told.trace;
        assert_eq!((trace.state.as_str(), trace.started, trace.duration), ("OK", Timestamp(4), Some(3)));
        assert_eq!(trace.request_preview.as_deref(), Some("{\"x\": 1}"));
        assert_eq!(trace.response_preview.as_deref(), Some("[2]"));
        assert_eq!(trace.metadata["mlflow.trace.session"], "s");
        assert_eq!(trace.tags[LOCATION], format!("mlflow-artifacts:/0/traces/{ID}/artifacts"));
        // One that came twice is there once.
        let ids: Vec<&str> = whole.spans.iter().map(|span| span.id.as_str()).collect();
        assert_eq!(ids, ["01", "02"]);
        assert_eq!(whole.spans[0].attributes[span::TRACE], ID);
    }

    #[tokio::test]
    async fn a_trace_that_lacks_spans_is_given_in_part_only_when_asked_for() {
        let (_folder, tracking) = fixture::tracking().await;
        let new = NewTrace {
            id: ID.to_owned(),
            experiment: "0".to_owned(),
            state: "OK".to_owned(),
            metadata: BTreeMap::from([(SIZE.to_owned(), "{\"num_spans\": 2}".to_owned())]),
            ..NewTrace::default()
        };
        tracking.start_trace(new, Vec::new()).await.unwrap();
        let elsewhere = tracking.whole_trace(ID, true).await;
        assert!(matches!(elsewhere, Err(Error::SpansElsewhere { .. })), "{elsewhere:?}");
        tracking.log_spans("0", by_trace(vec![span("01", None, 1, json!({}))]).unwrap()).await.unwrap();
        assert_eq!(tracking.whole_trace(ID, true).await.unwrap().spans.len(), 1);
        assert!(tracking.whole_traces(&[ID.to_owned()]).await.unwrap().is_empty());
        // The other comes while it is waited for.
        let late = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            tracking
                .log_spans("0", by_trace(vec![span("02", Some("01"), 1, json!({}))]).unwrap())
                .await
                .unwrap();
        };
        let (whole, ()) = tokio::join!(tracking.whole_trace(ID, false), late);
        assert_eq!(whole.unwrap().spans.len(), 2);
    }

    #[tokio::test]
    async fn what_is_out_of_bounds_is_refused_or_cut() {
        let (_folder, tracking) = fixture::tracking().await;
        for id in ["", "a b", "../x", "tr/1", &"x".repeat(51)] {
            let new = NewTrace { id: id.to_owned(), experiment: "0".to_owned(), ..NewTrace::default() };
            assert!(
                matches!(tracking.start_trace(new, Vec::new()).await, Err(Error::Invalid { .. })),
                "{id}"
            );
            let odd = span("01", None, 1, json!({ span::TRACE: id }));
            assert_eq!(by_trace(vec![odd]).is_err(), !id.is_empty(), "{id}");
        }
        let new = NewTrace { id: "tr-1".to_owned(), experiment: "0".to_owned(), ..NewTrace::default() };
        tracking.start_trace(new, Vec::new()).await.unwrap();
        tracking.tag_trace("tr-1", "k", &"é".repeat(9000)).await.unwrap();
        assert_eq!(tracking.trace("tr-1").await.unwrap().trace.tags["k"].chars().count(), limits::TAG_VALUE);
        assert!(tracking.tag_trace("tr-1", "", "v").await.is_err());
        let doomed = Doomed { until: Some(9), limit: Some(0), ..Doomed::default() };
        assert!(matches!(tracking.delete_traces("0", doomed).await, Err(Error::Selection { .. })));
    }

    #[tokio::test]
    async fn many_traces_are_deleted_in_parts() {
        let (_folder, tracking) = fixture::tracking().await;
        for index in 0..450 {
            let new = NewTrace {
                id: format!("tr-{index}"),
                experiment: "0".to_owned(),
                started: Timestamp(index),
                ..NewTrace::default()
            };
            tracking.meta().put_trace(tracking.checked(new).await.unwrap()).await.unwrap();
        }
        let doomed = |until, limit| Doomed { until: Some(until), limit, ..Doomed::default() };
        assert_eq!(tracking.delete_traces("0", doomed(449, Some(3))).await.unwrap(), 3);
        assert_eq!(tracking.delete_traces("0", doomed(439, None)).await.unwrap(), 437);
        assert_eq!(tracking.delete_traces("0", doomed(i64::MAX, None)).await.unwrap(), 10);
    }
}
