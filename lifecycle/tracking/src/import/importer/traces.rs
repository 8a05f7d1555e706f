//! Traces with their spans and what is said of them, and webhooks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rondo_core::Timestamp;
use rondo_store::foreign;
use rondo_store::meta::assessments::{Assessment, AssessmentRecord};
use rondo_store::meta::import::ImportedTrace;
use rondo_store::meta::traces::Trace;
use rondo_store::meta::webhooks::Webhook;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Files, Importer, State, fingerprint, location};
use crate::assessments::NewAssessment;
use crate::import::roots::Place;
use crate::import::{Kind, Source};
use crate::traces::span::{Event, Span, Status};
use crate::traces::{HERE, LOCATION, SPANS, by_trace, check_id};
use crate::{Error, artifacts};

impl Importer<'_> {
    pub(super) async fn traces<S: Source>(&mut self, source: &mut S, there: u64) -> Result<(), Error> {
        loop {
            let page = source.traces().await?;
            self.faults(source);
            if page.is_empty() {
                break;
            }
            self.page_of_traces(page).await?;
        }
        let count = self.report.of(Kind::Traces);
        if let Some(left @ 1..) = there.checked_sub(count.found) {
            count.found += left;
            let reason = "traces of a folder of files stay where they are";
            self.report.skip(Kind::Traces, left, format!("{left} trace(s)"), reason);
        }
        Ok(())
    }

    async fn page_of_traces(&mut self, page: Vec<foreign::Trace>) -> Result<(), Error> {
        let ids: Vec<String> = page.iter().map(|trace| trace.id.clone()).collect();
        let marks = self.meta().import_marks("trace", &ids).await?;
        let known = self.meta().traces(&ids).await?;
        let (mut rows, mut done, mut files) = (Vec::new(), Vec::new(), Vec::new());
        for trace in page {
            self.report.of(Kind::Traces).found += 1;
            let Some(experiment) = self.experiments.get(&trace.experiment).copied() else {
                let reason = format!("its experiment `{}` could not be read", trace.experiment);
                self.report.skip(Kind::Traces, 1, trace.id, reason);
                continue;
            };
            if let Err(error) = check_id(&trace.id) {
                self.report.skip(Kind::Traces, 1, trace.id, error.to_string());
                continue;
            }
            let mark = fingerprint(&trace);
            let state = match marks.get(&trace.id) {
                _ if !known.iter().any(|here| here.id == trace.id) => State::New,
                Some(known) if *known != mark => State::Behind,
                Some(_) | None => State::Here,
            };
            self.count(Kind::Traces, state, 0, 1);
            let said = trace.assessments.len() as u64;
            self.count(Kind::Assessments, state, said, said);
            files.extend(self.files_of_trace(&trace, state));
            if state != State::Here {
                done.push((trace.id.clone(), mark));
                rows.push(self.imported_trace(trace, experiment).await?);
            }
        }
        if !self.options.dry_run {
            self.meta().import_traces(rows).await?;
        }
        self.store(files).await?;
        if !self.options.dry_run {
            self.meta().mark_imported("trace", done).await?;
        }
        Ok(())
    }

    fn files_of_trace(&mut self, trace: &foreign::Trace, state: State) -> Option<Files> {
        let uri = trace.tags.iter().find(|(key, _)| key == LOCATION).map(|(_, uri)| uri.as_str())?;
        let tail = format!("{}/traces/{}/artifacts", trace.experiment, trace.id);
        let kept_here = !trace.spans.is_empty();
        let reason = match self.options.roots.find(uri, None, &tail) {
            Place::Folder(folder) => {
                return Some(Files { owner: trace.id.clone(), folder, reread: state == State::Behind });
            }
            // Spans are a file where they are in no row.
            Place::Missing if kept_here => return None,
            Place::Missing => format!("no files at `{uri}`, so its spans are missing"),
            Place::Elsewhere(_) if kept_here => return None,
            Place::Elsewhere(reason) => reason,
        };
        self.report.skip(Kind::Artifacts, 0, format!("trace {}", trace.id), reason);
        None
    }

    async fn imported_trace(
        &mut self,
        given: foreign::Trace,
        experiment: i64,
    ) -> Result<ImportedTrace, Error> {
        let known = self.meta().experiment(experiment).await?.map(|found| found.artifact_location);
        let root = known.unwrap_or_else(|| location(experiment));
        let mut trace = Trace {
            id: given.id,
            experiment,
            started: Timestamp(given.started),
            duration: given.duration,
            state: given.state,
            client_request: given.client_request,
            request_preview: given.request_preview,
            response_preview: given.response_preview,
            tags: given.tags.into_iter().collect(),
            metadata: given.metadata.into_iter().collect(),
        };
        trace.tags.insert(LOCATION.to_owned(), artifacts::trace_root(&root, &trace.id));
        let mut spans = Vec::new();
        for content in &given.spans {
            match span(content) {
                Ok(span) => spans.push(span),
                Err(reason) => self.report.skip(Kind::Traces, 0, format!("a span of {}", trace.id), reason),
            }
        }
        // Spans that say that they are of another trace are left to it.
        let spans = match by_trace(spans) {
            Ok(mut by_trace) => by_trace.remove(&trace.id).unwrap_or_default(),
            Err(error) => {
                self.report.skip(Kind::Traces, 0, format!("the spans of {}", trace.id), error.to_string());
                Vec::new()
            }
        };
        if !spans.is_empty() {
            trace.tags.insert(SPANS.to_owned(), HERE.to_owned());
        }
        let mut assessments = Vec::new();
        for assessment in given.assessments {
            let id = assessment.id.clone();
            match self.assessment(&trace.id, assessment) {
                Ok(assessment) => assessments.push(assessment),
                Err(reason) => self.report.skip(Kind::Assessments, 0, id, reason),
            }
        }
        let text = serde_json::to_string(&spans).unwrap_or_default();
        Ok(ImportedTrace {
            spans: if spans.is_empty() { String::new() } else { text },
            trace,
            assessments,
            runs: given.runs,
            prompts: given.prompts,
        })
    }

    fn assessment(&self, trace: &str, given: foreign::Assessment) -> Result<Assessment, String> {
        let read = |text: &str| serde_json::from_str::<Value>(text).map_err(|error| error.to_string());
        let value = read(&given.value)?;
        let mut map = Map::new();
        match (given.kind.as_str(), value) {
            ("feedback", value) => {
                map.insert("value".to_owned(), value);
                if let Some(error) = &given.error {
                    map.insert("error".to_owned(), read(error)?);
                }
            }
            ("expectation", value @ (Value::Array(_) | Value::Object(_))) => {
                let form = json!({ "serialization_format": "JSON_FORMAT", "value": value.to_string() });
                map.insert("serialized_value".to_owned(), form);
            }
            ("expectation", value) => drop(map.insert("value".to_owned(), value)),
            ("issue", Value::Object(issue)) => map = issue,
            (kind, _) => return Err(format!("it is of an unknown kind: `{kind}`")),
        }
        let metadata = given.metadata.as_deref().map(read).transpose()?;
        let mut source = Map::from_iter([("source_type".to_owned(), Value::from(given.source_type))]);
        source.extend(given.source.map(|id| ("source_id".to_owned(), Value::from(id))));
        let new = NewAssessment {
            id: Some(given.id),
            name: given.name,
            kind: given.kind,
            created: Some(given.created),
            updated: Some(given.updated),
            valid: given.valid,
            record: AssessmentRecord {
                source,
                value: map,
                rationale: given.rationale,
                metadata: metadata.and_then(|value| value.as_object().cloned()).unwrap_or_default(),
                span: given.span,
                overrides: given.overrides,
            },
        };
        self.tracking.new_assessment(trace, new).map_err(|error| error.to_string())
    }

    /// Brings in webhooks, switched off: their secrets are sealed with a key that is not in the source, and
    /// nobody is to be told from two servers.
    pub(super) async fn webhooks<S: Source>(&mut self, source: &mut S) -> Result<(), Error> {
        for given in source.webhooks().await? {
            self.report.of(Kind::Webhooks).found += 1;
            if self.meta().webhook(&given.id).await.is_ok() {
                self.report.of(Kind::Webhooks).already_there += 1;
                continue;
            }
            self.report.of(Kind::Webhooks).imported += 1;
            let secret = if given.sealed { " and give it its secret, which could not be read" } else { "" };
            self.report.note(format!("webhook `{}` comes switched off: switch it on{secret}", given.name));
            if !self.options.dry_run {
                let webhook = Webhook {
                    id: given.id,
                    name: given.name,
                    description: given.description,
                    url: given.url,
                    events: given.events,
                    secret: None,
                    active: false,
                    created: Timestamp(given.created),
                    updated: Timestamp(given.updated),
                };
                self.meta().create_webhook(webhook).await?;
            }
        }
        Ok(())
    }
}

/// A span as MLflow writes it: ids as base64, attributes as they were sent.
fn span(content: &str) -> Result<Span, String> {
    #[derive(Deserialize)]
    struct Given {
        trace_id: String,
        span_id: String,
        parent_span_id: Option<String>,
        #[serde(default)]
        name: Option<String>,
        start_time_unix_nano: u64,
        end_time_unix_nano: Option<u64>,
        #[serde(default)]
        events: Vec<GivenEvent>,
        status: GivenStatus,
        #[serde(default)]
        attributes: Map<String, Value>,
    }
    #[derive(Deserialize)]
    struct GivenEvent {
        name: String,
        time_unix_nano: u64,
        attributes: Option<Map<String, Value>>,
    }
    #[derive(Deserialize)]
    struct GivenStatus {
        code: String,
        message: Option<String>,
    }
    let id = |text: &str| {
        let bytes = STANDARD.decode(text).map_err(|_| format!("its id `{text}` cannot be read"))?;
        Ok::<_, String>(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    };
    let given: Given = serde_json::from_str(content).map_err(|error| error.to_string())?;
    let event = |event: GivenEvent| Event {
        name: event.name,
        time: event.time_unix_nano,
        attributes: event.attributes.unwrap_or_default(),
    };
    Ok(Span {
        id: id(&given.span_id)?,
        parent: given.parent_span_id.as_deref().filter(|id| !id.is_empty()).map(id).transpose()?,
        otel: id(&given.trace_id)?,
        name: given.name.unwrap_or_default(),
        start: given.start_time_unix_nano,
        end: given.end_time_unix_nano,
        status: match given.status.code.as_str() {
            "STATUS_CODE_OK" | "OK" => Status::Ok,
            "STATUS_CODE_ERROR" | "ERROR" => Status::Error,
            _ => Status::Unset,
        },
        message: given.status.message.unwrap_or_default(),
        attributes: given.attributes,
        events: given.events.into_iter().map(event).collect(),
        links: Vec::new(),
    })
}
