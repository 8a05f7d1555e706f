//! `traces/metrics` and `traces/calculate-filter-correlation`

use axum::Json;
use axum::extract::State;
use rondo_tracking::traces::figures::{Aggregation, Asked};
use serde_json::{Value, json};

use super::MlflowState;
use super::args::{Args, missing};
use super::refusal::{Answer, Refusal};
use crate::http::access::Caller;

/// The protocol's words, by their numbers.
const VIEWS: &[(&str, i64)] = &[("TRACES", 1), ("SPANS", 2), ("ASSESSMENTS", 3)];
const AGGREGATIONS: &[(&str, i64)] =
    &[("COUNT", 1), ("SUM", 2), ("AVG", 3), ("PERCENTILE", 4), ("MIN", 5), ("MAX", 6)];

pub(super) async fn figures(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let metric = args.required("metric_name")?;
    let asked = Asked {
        experiments: caller.seen(experiments(&args)?),
        view: word(&args, "view_type", VIEWS)?,
        metric: metric.clone(),
        aggregations: aggregations(&args)?,
        dimensions: args.texts("dimensions")?,
        filters: args.texts("filters")?,
        interval: args.int("time_interval_seconds")?,
        from: args.int("start_time_ms")?,
        until: args.int("end_time_ms")?,
        limit: args.int("max_results")?,
    };
    let found = state.tracking.trace_figures(&asked).await?;
    let points = found.into_iter().map(
        |point| json!({ "metric_name": metric, "dimensions": point.dimensions, "values": point.values }),
    );
    let points: Vec<Value> = points.collect();
    Ok(Json(if points.is_empty() { json!({}) } else { json!({ "data_points": points }) }))
}

pub(super) async fn correlation(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let (first, second) = (args.required("filter_string1")?, args.required("filter_string2")?);
    let (experiments, base) = (caller.seen(experiments(&args)?), args.maybe("base_filter")?);
    let found = state.tracking.correlate_traces(&experiments, &first, &second, &base).await?;
    let mut answer = json!({
        "filter1_count": found.first,
        "filter2_count": found.second,
        "joint_count": found.both,
        "total_count": found.total,
    });
    for (name, value) in [("npmi", found.npmi()), ("npmi_smoothed", found.smoothed())] {
        if let Some(value) = value {
            answer[name] = Value::from(value);
        }
    }
    Ok(Json(answer))
}

fn experiments(args: &Args) -> Answer<Vec<String>> {
    let ids = args.experiments("experiment_ids")?;
    if ids.is_empty() { Err(missing("experiment_ids")) } else { Ok(ids) }
}

fn word(args: &Args, name: &str, words: &[(&str, i64)]) -> Answer<String> {
    let number = args.enumeration(name, words)?.ok_or_else(|| missing(name))?;
    let found = words.iter().find(|(_, own)| *own == number);
    Ok(found.map_or("", |(word, _)| word).to_owned())
}

fn aggregations(args: &Args) -> Answer<Vec<Aggregation>> {
    let mut read = Vec::new();
    for one in args.objects("aggregations")? {
        read.push(match word(&one, "aggregation_type", AGGREGATIONS)?.as_str() {
            "COUNT" => Aggregation::Count,
            "SUM" => Aggregation::Sum,
            "AVG" => Aggregation::Mean,
            "PERCENTILE" => match one.float("percentile_value")? {
                percent if (0.0..=100.0).contains(&percent) => Aggregation::Percentile(percent),
                percent => {
                    return Err(Refusal::invalid(format!(
                        "Percentile value must be between 0 and 100, got {percent}"
                    )));
                }
            },
            other => return Err(Refusal::invalid(format!("Unsupported aggregation type: {other}"))),
        });
    }
    if read.is_empty() { Err(missing("aggregations")) } else { Ok(read) }
}
