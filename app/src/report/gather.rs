//! Gathers the report from store and prediction log.

use std::collections::BTreeMap;

use rondo_core::evaluation::{Evaluation, Task};
use rondo_core::handoff::{ModelVersion, Observation, RequestState};
use rondo_core::metric::{self, Direction};
use rondo_core::{Code, Timestamp, reference};
use rondo_monitoring::assess::Row;
use rondo_monitoring::score::{Scoring, score};
use rondo_monitoring::window::{Window, WindowReport};
use rondo_project::project::Canvas;
use rondo_serving::engine::Engine;
use rondo_serving::request::{Form, Limits, Reader};
use serde_json::{Value, json};

use super::{
    AlertLine, Attempt, DatasetLine, DriftCell, LoopReport, MetricPair, Month, Overall, Traffic, VersionLine,
    quality,
};
use crate::platform::monitor::{blocking, scoring};
use crate::platform::{Error, Platform};

/// The metrics that are shown by month and version: the first three of these that the task has.
const SHOWN: [&str; 6] = ["roc_auc", "f1_macro", "log_loss", "brier", "rmse", "accuracy"];
const AT_MOST: usize = 3;

/// Rows that the first model scores at once.
const BATCH: usize = 4096;

/// Gathers the report on a model (the only one where none is named).
///
/// # Errors
/// When there is no such model or no traffic, or the store or log cannot be read.
pub async fn gather(platform: &Platform, model: Option<&str>) -> Result<LoopReport, Error> {
    let project = platform.project().clone();
    let name = match model {
        Some(name) => name.to_owned(),
        None => project.models.names().next().unwrap_or_default().to_owned(),
    };
    let declared =
        project.models.get(&name).ok_or_else(|| Error::not_found("model", &name, Code::ModelNotFound))?;
    let monitor = project.monitor.iter().find(|(_, monitor)| monitor.model == name);
    let Some((watched, monitor)) = monitor else {
        return Err(Error::not_found("monitor of model", &name, Code::DeploymentNotFound));
    };
    let endpoint = platform.endpoint_of(watched, monitor);
    let all = Window { start: Timestamp(i64::MIN), end: Timestamp(i64::MAX) };
    let rows = platform.rows(&endpoint, all, Timestamp(i64::MAX)).await?;
    let versions = platform.store().meta().model_versions(&name).await?;
    let first =
        versions.iter().find(|version| rows.iter().any(|row| row.observation.version == version.version));
    let Some(first) = first else {
        return Err(Error::NotFound {
            kind: "traffic of endpoint",
            name: endpoint,
            code: Code::DeploymentNotFound,
            hint: Some("rondo up, or rondo replay".to_owned()),
        });
    };
    let engine = platform.load_engine(first.file, declared, Some(&first.signature))?;
    let scoring = scoring(declared, monitor, &project.canvas.objectives);
    let (months, rows) = blocking(move || {
        let left_alone = rescore(engine.as_ref(), &rows)?;
        Ok((months(&scoring, &rows, &left_alone)?, rows))
    })
    .await?;
    let windows = platform.window_reports(watched).await?;
    let windows: Vec<WindowReport> = windows.into_iter().map(|(report, _)| report).collect();
    let champion =
        platform.store().meta().aliased_version(&name, "champion").await?.map(|(_, version)| version);
    let lineage = match champion.as_ref().or(versions.last()) {
        Some(version) => platform.lineage(version, &endpoint).await?,
        None => super::lineage::Graph::default(),
    };
    Ok(LoopReport {
        project: project.name.clone(),
        canvas: canvas(&project.canvas),
        objectives: project.canvas.objectives.iter().map(|objective| objective.text()).collect(),
        overall: overall(&months),
        months,
        drift: drift(&windows),
        checks: quality::lines(&windows),
        alerts: alerts(platform, &name).await?,
        attempts: attempts(platform, &name).await?,
        versions: version_lines(platform, &name, &versions).await?,
        datasets: datasets(platform).await?,
        traffic: traffic(platform, &endpoint, &rows).await?,
        lineage,
        model: name,
        deployment: endpoint,
    })
}

fn canvas(canvas: &Canvas) -> Vec<(String, String)> {
    let list = |items: &[String]| items.join(", ");
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    [
        ("value", text(&canvas.value)),
        ("decision", text(&canvas.decision)),
        ("prediction", text(&canvas.prediction)),
        ("inputs", list(&canvas.inputs)),
        ("output", text(&canvas.output)),
        ("process", list(&canvas.process)),
        ("stakeholders", list(&canvas.stakeholders)),
        ("data sources", list(&canvas.data_sources)),
        ("harms", list(&canvas.harms)),
    ]
    .into_iter()
    .filter(|(_, answer)| !answer.is_empty())
    .map(|(question, answer)| (question.to_owned(), answer))
    .collect()
}

/// The rows as the first model would have answered them.
fn rescore(engine: &dyn Engine, rows: &[Row]) -> Result<Vec<Row>, Error> {
    let carried: Vec<String> = rows
        .first()
        .and_then(|row| row.observation.inputs.as_object())
        .map(|inputs| inputs.keys().cloned().collect())
        .unwrap_or_default();
    let limits = Limits { rows: BATCH, ..Limits::default() };
    let form = Form { carried, ignore_unknown: true, limits, ..Form::default() };
    let reader = Reader::new(engine.signature().clone(), form);
    let (task, classes) = (engine.task(), engine.classes());
    let mut answered = Vec::with_capacity(rows.len());
    for part in rows.chunks(BATCH) {
        let records: Vec<Value> = part.iter().map(|row| row.observation.inputs.clone()).collect();
        let request = reader.read(json!({ "records": records }))?;
        let predictions = engine.predict(&request.batch)?;
        for (place, (row, score)) in part.iter().zip(&predictions.scores).enumerate() {
            let mut observation = Observation { score: *score, ..row.observation.clone() };
            if task == Task::Multiclass {
                let likeliest = predictions.likeliest(place, classes.len());
                observation.label = likeliest.and_then(|likeliest| classes.get(likeliest).cloned());
                observation.probabilities = predictions.by_class(place, classes);
            }
            answered.push(Row { observation, label: row.label.clone() });
        }
    }
    Ok(answered)
}

fn months(scoring: &Scoring, rows: &[Row], left_alone: &[Row]) -> Result<Vec<Month>, Error> {
    let plain = Scoring { slices: Vec::new(), fairness: Vec::new(), ..scoring.clone() };
    let mut by_month: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        let month: String = row.observation.event_time.day().chars().take(7).collect();
        by_month.entry(month).or_default().push(index);
    }
    let mut months = Vec::new();
    for (month, indices) in by_month {
        let served: Vec<Row> = indices.iter().filter_map(|index| rows.get(*index).cloned()).collect();
        let first: Vec<Row> = indices.iter().filter_map(|index| left_alone.get(*index).cloned()).collect();
        let (by_loop, by_first) = (score(&plain, &served)?, score(&plain, &first)?);
        let mut versions: BTreeMap<u32, u64> = BTreeMap::new();
        for row in &served {
            *versions.entry(row.observation.version).or_default() += 1;
        }
        months.push(Month {
            month,
            rows: served.len() as u64,
            labelled: by_loop.rows,
            positive_rate: by_loop
                .positives
                .filter(|_| by_loop.rows > 0)
                .map(|p| p as f64 / by_loop.rows as f64),
            versions: versions.into_iter().collect(),
            metrics: pairs(&by_loop, &by_first),
        });
    }
    Ok(months)
}

fn pairs(by_loop: &Evaluation, by_first: &Evaluation) -> Vec<MetricPair> {
    SHOWN
        .iter()
        .filter(|name| by_loop.metric(name).is_some())
        .take(AT_MOST)
        .map(|name| MetricPair {
            name: (*name).to_owned(),
            served: by_loop.value(name),
            first: by_first.value(name),
        })
        .collect()
}

fn overall(months: &[Month]) -> Vec<Overall> {
    let Some(first) = months.first() else { return Vec::new() };
    let mut means = Vec::new();
    for name in first.metrics.iter().map(|pair| pair.name.clone()) {
        let both: Vec<(f64, f64)> = months
            .iter()
            .filter_map(|month| month.metrics.iter().find(|pair| pair.name == name))
            .filter_map(|pair| pair.served.zip(pair.first))
            .collect();
        if both.is_empty() {
            continue;
        }
        let higher = metric::find(&name).is_none_or(|known| known.direction != Direction::Lower);
        let better = both.iter().filter(|(a, b)| if higher { a > b } else { a < b }).count();
        means.push(Overall {
            higher_is_better: higher,
            served: both.iter().map(|(served, _)| served).sum::<f64>() / both.len() as f64,
            first: both.iter().map(|(_, first)| first).sum::<f64>() / both.len() as f64,
            better: (better, both.len()),
            name,
        });
    }
    means
}

fn drift(windows: &[WindowReport]) -> Vec<DriftCell> {
    windows
        .iter()
        .flat_map(|window| {
            window.drift.iter().map(|drift| DriftCell {
                window: window.window.start.day(),
                column: drift.column.clone(),
                statistic: drift.statistic,
                threshold: drift.threshold,
                drifted: drift.drifted,
                detail: drift.detail.clone(),
            })
        })
        .collect()
}

async fn alerts(platform: &Platform, model: &str) -> Result<Vec<AlertLine>, Error> {
    let alerts = platform.store().meta().alerts(model).await?;
    Ok(alerts
        .into_iter()
        .map(|alert| AlertLine {
            at: alert.event_time,
            name: alert.name,
            message: alert.record.get("message").and_then(Value::as_str).unwrap_or_default().to_owned(),
        })
        .collect())
}

async fn attempts(platform: &Platform, model: &str) -> Result<Vec<Attempt>, Error> {
    let requests = platform.store().meta().requests(model).await?;
    Ok(requests
        .into_iter()
        .map(|request| Attempt {
            at: request.until,
            cause: request.cause,
            state: match request.state {
                RequestState::Open => "open",
                RequestState::Running => "running",
                RequestState::Pending => "pending",
                RequestState::Promoted => "promoted",
                RequestState::Kept => "kept",
                RequestState::Failed => "failed",
            }
            .to_owned(),
            outcome: request.outcome.unwrap_or_default(),
        })
        .collect())
}

async fn version_lines(
    platform: &Platform,
    name: &str,
    versions: &[ModelVersion],
) -> Result<Vec<VersionLine>, Error> {
    let prefix = reference::alias(name, "");
    let meta = platform.store().meta();
    let mut aliases: Vec<(String, u32)> = Vec::new();
    for (reference, _) in meta.refs(&prefix).await? {
        let alias = reference.trim_start_matches(&prefix).to_owned();
        if let Some((_, version)) = meta.aliased_version(name, &alias).await? {
            aliases.push((alias, version.version));
        }
    }
    Ok(versions
        .iter()
        .map(|version| VersionLine {
            version: version.version,
            trained_until: version.trained_until,
            aliases: aliases
                .iter()
                .filter(|(_, number)| *number == version.version)
                .map(|(alias, _)| alias.clone())
                .collect(),
            metrics: SHOWN
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), version.evaluation.value(name)?)))
                .take(AT_MOST)
                .collect(),
            file: version.file.short(),
            run: version.run.short(),
        })
        .collect())
}

async fn datasets(platform: &Platform) -> Result<Vec<DatasetLine>, Error> {
    let mut lines = Vec::new();
    for name in platform.project().data.names() {
        for version in platform.store().meta().dataset_versions(name).await? {
            lines.push(DatasetLine {
                dataset: name.to_owned(),
                digest: version.digest.short(),
                files: version.files,
                rows: version.rows,
                size: version.size,
            });
        }
    }
    Ok(lines)
}

async fn traffic(platform: &Platform, endpoint: &str, rows: &[Row]) -> Result<Traffic, Error> {
    let kept = platform.store().meta().setting(&crate::cli::replay::traffic_key(endpoint)).await?;
    let kept: Value = kept.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let count = |key: &str| kept.get(key).and_then(Value::as_u64).unwrap_or(0);
    let mut latencies: Vec<f64> = rows.iter().map(|row| row.observation.latency_ms).collect();
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| latencies.get((share * latencies.len() as f64) as usize).copied();
    Ok(Traffic {
        predictions: rows.len() as u64,
        truths: rows.iter().filter(|row| row.label.is_some()).count() as u64,
        requests: count("requests"),
        failed: count("failed"),
        latency_p50_ms: at(0.5),
        latency_p99_ms: at(0.99),
    })
}
