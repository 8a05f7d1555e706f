//! OpenLineage 2-0-2: an event when a run begins and one when it ends, for the pipeline and for each step.
//!
//! A job is a step of a project (`train`), or the pipeline (`rondo run`); a run's id is the run's own in the
//! form of a UUID. Datasets are those of the project, and outputs as `step.output`: what one step makes and
//! another reads has one name, so that the graph hangs together.

use rondo_core::Timestamp;
use rondo_core::run::{Link, RunKind, RunRow, RunState};
use serde_json::{Map, Value, json};

use super::{PRODUCER, PROJECT_FILE, Provenance, VERSION, escaped, source_uri, uuid};

const EVENT: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";

/// The name of a pipeline's job.
const PIPELINE: &str = "rondo run";

/// The events in the order of their time.
pub fn events(known: &Provenance) -> Vec<Value> {
    let mut events = Vec::new();
    let pipeline = known.run.kind == RunKind::Pipeline;
    if pipeline {
        events.extend(of_run(known, &known.run, None));
    }
    let parent = if pipeline { Some(&known.run) } else { known.parent.as_ref() };
    for row in &known.steps {
        // What an earlier run made is lineage of this one too; its own parent is another.
        let own = parent.filter(|parent| row.parent == Some(parent.id));
        events.extend(of_run(known, row, own));
    }
    // Stable: of two events of one moment, the outer run's begins first.
    events.sort_by_key(|(at, _)| *at);
    events.into_iter().map(|(_, event)| event).collect()
}

fn of_run(known: &Provenance, row: &RunRow, parent: Option<&RunRow>) -> Vec<(Timestamp, Value)> {
    let mut events = vec![(row.started, event(known, row, parent, "START", row.started))];
    let last = match row.state {
        RunState::Finished => "COMPLETE",
        RunState::Failed => "FAIL",
        RunState::Killed => "ABORT",
        RunState::Scheduled | RunState::Running => return events,
    };
    let ended = row.ended.unwrap_or(row.started);
    events.push((ended, event(known, row, parent, last, ended)));
    events
}

fn event(known: &Provenance, row: &RunRow, parent: Option<&RunRow>, kind: &str, at: Timestamp) -> Value {
    let began = kind == "START";
    let pipeline = row.kind == RunKind::Pipeline;
    // The pipeline's own inputs and outputs are those of its steps together.
    let (inputs, outputs): (Vec<&Link>, Vec<&Link>) = if pipeline {
        let made = known.steps.iter().flat_map(|row| &row.detail.outputs).collect();
        (known.sources().into_values().collect(), made)
    } else {
        (row.detail.inputs.iter().collect(), row.detail.outputs.iter().collect())
    };
    let outputs = if began { Vec::new() } else { outputs };
    json!({
        "eventType": kind,
        "eventTime": at.rfc3339(),
        "producer": PRODUCER,
        "schemaURL": EVENT,
        "run": { "runId": uuid(row.id), "facets": run_facets(known, row, parent, began) },
        "job": { "namespace": known.project, "name": job(row), "facets": job_facets(known, row) },
        "inputs": inputs.iter().map(|link| dataset(known, link)).collect::<Vec<_>>(),
        "outputs": outputs.iter().map(|link| output(known, link)).collect::<Vec<_>>(),
    })
}

fn job(row: &RunRow) -> String {
    match row.kind {
        RunKind::Pipeline => PIPELINE.to_owned(),
        RunKind::Step | RunKind::Client => row.step.clone().unwrap_or_else(|| row.name.clone()),
    }
}

fn facet(version: &str, name: &str, fields: Value) -> Value {
    let mut facet = Map::new();
    facet.insert("_producer".to_owned(), PRODUCER.into());
    let schema = format!("https://openlineage.io/spec/facets/{version}/{name}.json#/$defs/{name}");
    facet.insert("_schemaURL".to_owned(), schema.into());
    if let Value::Object(fields) = fields {
        facet.extend(fields);
    }
    Value::Object(facet)
}

fn run_facets(known: &Provenance, row: &RunRow, parent: Option<&RunRow>, began: bool) -> Value {
    let mut facets = Map::new();
    let engine = json!({ "version": VERSION, "name": "rondo" });
    facets.insert("processing_engine".to_owned(), facet("1-1-1", "ProcessingEngineRunFacet", engine));
    if let Some(parent) = parent {
        let parent = json!({
            "run": { "runId": uuid(parent.id) },
            "job": { "namespace": known.project, "name": PIPELINE },
        });
        facets.insert("parent".to_owned(), facet("1-2-0", "ParentRunFacet", parent));
    }
    let cause = row.detail.exit.as_ref().and_then(|exit| exit.cause.as_ref());
    if let (Some(cause), false) = (cause, began) {
        let error = json!({ "message": cause, "programmingLanguage": "UNKNOWN" });
        facets.insert("errorMessage".to_owned(), facet("1-0-1", "ErrorMessageRunFacet", error));
    }
    if !row.detail.params.is_empty() {
        let one = |(name, value): (&String, &Value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            json!({ "key": name, "name": name, "value": value })
        };
        let parameters = json!({ "parameters": row.detail.params.iter().map(one).collect::<Vec<_>>() });
        let facet = facet("1-0-0", "ExecutionParametersRunFacet", parameters);
        facets.insert("executionParameters".to_owned(), facet);
    }
    Value::Object(facets)
}

fn job_facets(known: &Provenance, row: &RunRow) -> Value {
    let mut facets = Map::new();
    let kind = match row.kind {
        RunKind::Pipeline => "DAG",
        RunKind::Step => "TASK",
        RunKind::Client => "JOB",
    };
    let kind = json!({ "processingType": "BATCH", "integration": "RONDO", "jobType": kind });
    facets.insert("jobType".to_owned(), facet("2-0-4", "JobTypeJobFacet", kind));
    if let Some(commit) = row.detail.code.commit.as_deref().or_else(|| known.commit()) {
        let code = json!({
            "type": "git", "url": format!("git:{}", escaped(commit)), "path": PROJECT_FILE, "version": commit,
        });
        let facet = facet("1-1-0", "SourceCodeLocationJobFacet", code);
        facets.insert("sourceCodeLocation".to_owned(), facet);
    }
    let said = match row.kind {
        RunKind::Step => Some(format!("step `{}` of project `{}`", job(row), known.project)),
        RunKind::Pipeline => Some(format!("the pipeline of project `{}`", known.project)),
        RunKind::Client => known.description.clone(),
    };
    if let Some(description) = said {
        let said = json!({ "description": description, "contentType": "text/markdown" });
        facets.insert("documentation".to_owned(), facet("1-1-0", "DocumentationJobFacet", said));
    }
    Value::Object(facets)
}

/// The name of a dataset: of the project's own without `data.`.
fn name(link: &Link) -> &str {
    link.reference.strip_prefix("data.").unwrap_or(&link.reference)
}

fn dataset(known: &Provenance, link: &Link) -> Value {
    let namespace = format!("rondo://{}", escaped(&known.project));
    let mut facets = Map::new();
    let version = json!({ "datasetVersion": link.digest.hex() });
    facets.insert("version".to_owned(), facet("1-0-1", "DatasetVersionDatasetFacet", version));
    let of_project = known.datasets.get(&link.digest);
    let uri = of_project.map_or_else(
        || format!("rondo://{}/{}", escaped(&known.project), escaped(name(link))),
        |version| source_uri(&version.source),
    );
    let source = json!({ "name": name(link), "uri": uri });
    facets.insert("dataSource".to_owned(), facet("1-0-1", "DatasourceDatasetFacet", source));
    let columns = of_project.map(|version| &version.columns).or_else(|| known.columns.get(&link.digest));
    if let Some(columns) = columns.filter(|columns| !columns.is_empty()) {
        let field = |column: &rondo_core::signature::Column| json!({ "name": column.name, "type": column.column_type.text() });
        let schema = json!({ "fields": columns.iter().map(field).collect::<Vec<_>>() });
        facets.insert("schema".to_owned(), facet("1-2-0", "SchemaDatasetFacet", schema));
    }
    json!({ "namespace": namespace, "name": name(link), "facets": facets })
}

fn output(known: &Provenance, link: &Link) -> Value {
    let mut output = dataset(known, link);
    let size = json!({ "size": link.size });
    let facet = facet("1-0-2", "OutputStatisticsOutputDatasetFacet", size);
    if let Value::Object(output) = &mut output {
        output.insert("outputFacets".to_owned(), json!({ "outputStatistics": facet }));
    }
    output
}
