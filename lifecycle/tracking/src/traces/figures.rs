//! Figures over traces: how two filters go together, and counts, sums, means and quantiles in groups.

use std::collections::BTreeMap;

use rondo_core::Timestamp;
use rondo_store::meta::traces::{Condition, Figure, Measure, Part, View};

use crate::filter::traces as filter;
use crate::{Error, Tracking, limits, page};

/// Groups of one answer, at most; more are an error and no excerpt.
const GROUPS: usize = 10_000;
/// Values that quantiles are computed from, at most.
const VALUES: usize = 5_000_000;
/// Groups in an answer, unless it is said.
const PAGE: usize = 1000;
/// What is added to each count for the smoothed measure (Jeffreys' prior).
const PRIOR: f64 = 0.5;

/// How often two filters hold, alone and together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Correlation {
    /// Traces in all.
    pub total: u64,
    /// Those of the first.
    pub first: u64,
    /// Those of the second.
    pub second: u64,
    /// Those of both.
    pub both: u64,
}

impl Correlation {
    /// The normalized pointwise mutual information (Bouma 2009), from -1 (never together) to 1 (always);
    /// nothing where one of the filters never holds.
    pub fn npmi(&self) -> Option<f64> {
        if self.both == 0 && self.first > 0 && self.second > 0 { Some(-1.0) } else { self.smoothed_by(0.0) }
    }

    /// The same, smoothed for small counts.
    pub fn smoothed(&self) -> Option<f64> {
        self.smoothed_by(PRIOR)
    }

    fn smoothed_by(&self, prior: f64) -> Option<f64> {
        if self.first == 0 || self.second == 0 {
            return None;
        }
        let only_first = self.first.checked_sub(self.both)?;
        let only_second = self.second.checked_sub(self.both)?;
        let neither = (self.total + self.both).checked_sub(self.first + self.second)?;
        if only_first == 0 && only_second == 0 && neither == 0 {
            return Some(1.0);
        }
        let cell = |count: u64| count as f64 + prior;
        let (both, all) = (cell(self.both), self.total as f64 + 4.0 * prior);
        let (first, second) = (both + cell(only_first), both + cell(only_second));
        let shared = (both / all).ln();
        // Every trace has both: there is nothing to be told by one of the other.
        if shared == 0.0 {
            return Some(1.0);
        }
        let mutual = (both * all).ln() - (first * second).ln();
        Some((mutual / -shared).clamp(-1.0, 1.0))
    }
}

/// One way to put the values of a group together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aggregation {
    /// How many.
    Count,
    /// All together.
    Sum,
    /// The mean.
    Mean,
    /// The value below which so many of a hundred are, between two neighbours on the line between them.
    Percentile(f64),
}

impl Aggregation {
    /// Its name in an answer.
    pub fn name(self) -> String {
        match self {
            Self::Count => "COUNT".to_owned(),
            Self::Sum => "SUM".to_owned(),
            Self::Mean => "AVG".to_owned(),
            Self::Percentile(percent) => format!("P{percent:?}"),
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Count => "COUNT",
            Self::Sum => "SUM",
            Self::Mean => "AVG",
            Self::Percentile(_) => "PERCENTILE",
        }
    }
}

/// A question for figures, in the words of the protocol.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// The experiments' ids.
    pub experiments: Vec<String>,
    /// `TRACES`, `SPANS` or `ASSESSMENTS`.
    pub view: String,
    /// The metric's name.
    pub metric: String,
    /// How the values are put together.
    pub aggregations: Vec<Aggregation>,
    /// What is grouped by.
    pub dimensions: Vec<String>,
    /// What must hold, each `trace.status = 'OK'` or the like.
    pub filters: Vec<String>,
    /// Seconds that are one group.
    pub interval: Option<i64>,
    /// Of traces that began then or later.
    pub from: Option<i64>,
    /// Of traces that began then or before.
    pub until: Option<i64>,
    /// Groups in the answer.
    pub limit: Option<i64>,
}

/// The figures of one group.
#[derive(Debug, Clone, PartialEq)]
pub struct DataPoint {
    /// Which group.
    pub dimensions: BTreeMap<String, String>,
    /// The figures by their names.
    pub values: BTreeMap<String, f64>,
}

#[derive(Default)]
struct Group {
    count: u64,
    sum: f64,
    numbers: u64,
    values: Vec<f64>,
}

type Names = &'static [&'static str];
/// A figure, and three lists of names that go with it: see the table.
type Known = (&'static str, Names, Names, Names);

/// What there is to ask for: a view, its metrics, how their values may be put together, and by what they may
/// be grouped.
const KNOWN: &[Known] = &[
    ("TRACES", &["trace_count"], &["COUNT"], &["trace_name", "trace_status"]),
    ("TRACES", &["latency"], &["AVG", "PERCENTILE"], &["trace_name"]),
    (
        "TRACES",
        &[
            "input_tokens",
            "output_tokens",
            "total_tokens",
            "cache_read_input_tokens",
            "cache_creation_input_tokens",
        ],
        &["AVG", "PERCENTILE", "SUM"],
        &["trace_name"],
    ),
    (
        "SPANS",
        &["span_count"],
        &["COUNT"],
        &["span_model_name", "span_model_provider", "span_name", "span_status", "span_type"],
    ),
    ("SPANS", &["latency"], &["AVG", "PERCENTILE"], &["span_name", "span_status"]),
    (
        "SPANS",
        &["input_cost", "output_cost", "total_cost"],
        &["AVG", "PERCENTILE", "SUM"],
        &["span_model_name", "span_model_provider"],
    ),
    ("ASSESSMENTS", &["assessment_count"], &["COUNT"], &["assessment_name", "assessment_value"]),
    ("ASSESSMENTS", &["assessment_value"], &["AVG", "PERCENTILE"], &["assessment_name"]),
];

impl Tracking {
    /// How often two filters of traces hold, alone and together, among those of which a third holds.
    ///
    /// # Errors
    /// When a filter cannot be understood.
    pub async fn correlate_traces(
        &self,
        experiments: &[String],
        first: &str,
        second: &str,
        base: &str,
    ) -> Result<Correlation, Error> {
        let ids = page::experiments(experiments)?;
        let (first, second, base) = (filter::parse(first)?, filter::parse(second)?, filter::parse(base)?);
        let count = |parts: &[&Condition]| {
            let all = Condition::All(parts.iter().map(|part| (*part).clone()).collect());
            let ids = ids.clone();
            async move { self.meta().count_traces(ids, all).await }
        };
        Ok(Correlation {
            total: count(&[&base]).await?,
            first: count(&[&base, &first]).await?,
            second: count(&[&base, &second]).await?,
            both: count(&[&base, &first, &second]).await?,
        })
    }

    /// Figures over traces, spans or assessments, in groups in the order of what they are grouped by.
    ///
    /// # Errors
    /// When there is no such metric, or it cannot be put together or grouped so.
    pub async fn trace_figures(&self, asked: &Asked) -> Result<Vec<DataPoint>, Error> {
        let measure = measure(asked)?;
        let bucket = match asked.interval.unwrap_or_default() {
            0 => None,
            seconds if seconds > 0 && asked.from.is_some() && asked.until.is_some() => {
                Some(seconds.saturating_mul(1000))
            }
            seconds => {
                let reason = "start_time_ms and end_time_ms are required if time_interval_seconds is set, which is \
                              at least 1";
                return Err(limits::invalid("time_interval_seconds", &seconds.to_string(), reason));
            }
        };
        let quantiles = asked.aggregations.iter().any(|one| matches!(one, Aggregation::Percentile(_)));
        let mut groups: BTreeMap<(i64, Vec<String>), Group> = BTreeMap::new();
        let mut held = 0;
        let take = |row: rondo_store::meta::traces::Measured| {
            let Some(parts) = row.parts.into_iter().collect::<Option<Vec<String>>>() else { return Ok(()) };
            let at = bucket.map_or(0, |size| row.at.div_euclid(size).saturating_mul(size));
            let group = groups.entry((at, parts)).or_default();
            if let Some(number) = row.value.as_deref().and_then(number) {
                group.sum += number;
                group.numbers += 1;
                if quantiles {
                    group.values.push(number);
                    held += 1;
                }
            }
            group.count += 1;
            if groups.len() > GROUPS {
                return Err(Error::TooMany { what: "groups of figures", found: groups.len(), limit: GROUPS });
            }
            if held > VALUES {
                return Err(Error::TooMany { what: "values of a quantile", found: held, limit: VALUES });
            }
            Ok(())
        };
        self.meta().measure_traces(&measure, take).await?;
        let limit =
            asked.limit.map_or(Some(PAGE), |limit| usize::try_from(limit).ok().filter(|limit| *limit > 0));
        let limit = limit.ok_or_else(|| {
            limits::invalid("max_results", &asked.limit.unwrap_or_default().to_string(), "it is no size")
        })?;
        let shown = groups.into_iter().filter_map(|((at, parts), group)| {
            let mut dimensions: BTreeMap<String, String> =
                asked.dimensions.iter().cloned().zip(parts).collect();
            if bucket.is_some() {
                dimensions.insert("time_bucket".to_owned(), Timestamp(at).rfc3339().replace('Z', "+00:00"));
            }
            let values = group.figures(&asked.aggregations);
            (!values.is_empty()).then_some(DataPoint { dimensions, values })
        });
        Ok(shown.take(limit).collect())
    }
}

impl Group {
    fn figures(mut self, asked: &[Aggregation]) -> BTreeMap<String, f64> {
        self.values.sort_by(f64::total_cmp);
        let figure = |aggregation: &Aggregation| {
            let figure = match *aggregation {
                Aggregation::Count => Some(self.count as f64),
                Aggregation::Sum => (self.numbers > 0).then_some(self.sum),
                Aggregation::Mean => (self.numbers > 0).then(|| self.sum / self.numbers as f64),
                Aggregation::Percentile(percent) => quantile(&self.values, percent / 100.0),
            };
            Some((aggregation.name(), figure?))
        };
        asked.iter().filter_map(figure).collect()
    }
}

/// Type 7 of Hyndman and Fan, as numpy's default.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = share * (sorted.len().checked_sub(1)? as f64);
    let (below, part) = (place.floor(), place.fract());
    let low = *sorted.get(below as usize)?;
    let high = sorted.get(below as usize + 1).copied().unwrap_or(low);
    Some(low + (high - low) * part)
}

/// The number that a value stands for; judges say yes and no.
fn number(text: &str) -> Option<f64> {
    match text {
        "true" | "yes" => Some(1.0),
        "false" | "no" => Some(0.0),
        text => text.parse().ok().filter(|value: &f64| value.is_finite()),
    }
}

fn measure(asked: &Asked) -> Result<Measure, Error> {
    let view = match asked.view.as_str() {
        "TRACES" => View::Traces,
        "SPANS" => View::Spans,
        "ASSESSMENTS" => View::Assessments,
        other => {
            let reason = "it must be one of TRACES, SPANS, ASSESSMENTS";
            return Err(limits::invalid("view_type", other, reason));
        }
    };
    let of_view = KNOWN.iter().filter(|known| known.0 == asked.view);
    let known = of_view.clone().find_map(|(_, names, how, by)| {
        names.iter().find(|name| **name == asked.metric).map(|name| (*name, *how, *by))
    });
    let Some((metric, how, by)) = known else {
        let names: Vec<&str> = of_view.flat_map(|known| known.1.iter().copied()).collect();
        let reason = format!("metric_name must be one of {}", names.join(", "));
        return Err(limits::invalid("metric_name", &asked.metric, &reason));
    };
    if asked.aggregations.is_empty() {
        return Err(limits::invalid("aggregations", "", "at least one must be given"));
    }
    if let Some(odd) = asked.aggregations.iter().find(|one| !how.contains(&one.word())) {
        let reason =
            format!("Found invalid aggregation_type(s). Supported aggregation types: {}", how.join(", "));
        return Err(limits::invalid("aggregation_type", odd.word(), &reason));
    }
    let mut parts = Vec::new();
    for dimension in &asked.dimensions {
        let part = by.contains(&dimension.as_str()).then(|| part(dimension)).flatten();
        parts.push(part.ok_or_else(|| {
            let reason = format!("Found invalid dimension(s). Supported dimensions: {}", by.join(", "));
            limits::invalid("dimension", dimension, &reason)
        })?);
    }
    Ok(Measure {
        experiments: page::experiments(&asked.experiments)?,
        from: asked.from,
        until: asked.until,
        view,
        figure: match metric {
            "trace_count" | "span_count" | "assessment_count" => Figure::Count,
            "latency" => Figure::Latency,
            "assessment_value" => Figure::Said,
            named => Figure::Named(named),
        },
        parts,
        only: asked.filters.iter().map(|text| only(text, view)).collect::<Result<_, _>>()?,
    })
}

fn part(dimension: &str) -> Option<Part> {
    Some(match dimension {
        "trace_name" => Part::TraceName,
        "trace_status" => Part::TraceStatus,
        "span_name" => Part::SpanName,
        "span_type" => Part::SpanAttribute(super::span::TYPE),
        "span_status" => Part::SpanStatus,
        "span_model_name" => Part::SpanAttribute(super::span::MODEL),
        "span_model_provider" => Part::SpanAttribute("mlflow.llm.provider"),
        "assessment_name" => Part::AssessmentName,
        "assessment_value" => Part::AssessmentValue,
        _ => return None,
    })
}

/// Reads `trace.tag.KEY = 'VALUE'` or the like.
fn only(text: &str, view: View) -> Result<(Part, String), Error> {
    let refuse = |reason: &str| limits::invalid("filter", text, reason);
    let expected = "expected one of trace.status, trace.tag.KEY, trace.metadata.KEY, span.name, span.type, \
                    span.status, assessment.name or assessment.type, `=` and a quoted text";
    let (field, value) = text.split_once('=').ok_or_else(|| refuse(expected))?;
    let value = value.trim();
    let quoted = |mark: char| value.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark));
    let value = quoted('\'').or_else(|| quoted('"')).ok_or_else(|| refuse(expected))?;
    let key = |key: &str| key.trim_matches(['`', '"']).to_owned();
    let part = match field.trim().split_once('.') {
        Some(("trace", "status")) => Part::TraceStatus,
        Some(("trace", rest)) => match rest.split_once('.') {
            Some(("tag" | "tags", name)) => Part::Tag(key(name)),
            Some(("metadata", name)) => Part::Metadata(key(name)),
            Some(_) | None => return Err(refuse(expected)),
        },
        Some(("span", "name")) if view == View::Spans => Part::SpanName,
        Some(("span", "status")) if view == View::Spans => Part::SpanStatus,
        Some(("span", "type")) if view == View::Spans => Part::SpanAttribute(super::span::TYPE),
        Some(("assessment", "name")) if view == View::Assessments => Part::AssessmentName,
        Some(("assessment", "type")) if view == View::Assessments => Part::AssessmentKind,
        Some(("span" | "assessment", _)) => return Err(refuse("it is of another view than the metric")),
        Some(_) | None => return Err(refuse(expected)),
    };
    Ok((part, value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measure_of_going_together_is_mlflows() {
        let npmi = |both, first, second, total| Correlation { total, first, second, both };
        // By `mlflow.store.analytics.trace_correlation.calculate_npmi_from_counts`.
        for (found, plain, smooth) in [
            (npmi(6, 6, 7, 10), 0.698_232_3, 0.540_457_9),
            (npmi(10, 20, 15, 100), 0.522_878_7, 0.509_869_0),
            (npmi(0, 3, 4, 10), -1.0, -0.378_839_7),
            (npmi(5, 5, 5, 5), 1.0, 1.0),
        ] {
            assert!((found.npmi().unwrap() - plain).abs() < 1e-6, "{found:?} {:?}", found.npmi());
            assert!((found.smoothed().unwrap() - smooth).abs() < 1e-6, "{found:?} {:?}", found.smoothed());
        }
        assert_eq!(npmi(0, 0, 7, 10).npmi(), None);
        assert_eq!(npmi(9, 2, 7, 10).smoothed(), None);
    }

    #[test]
    fn quantiles_are_numpys() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0, 8.0], 0.5), Some(3.0));
        assert!((quantile(&[1.0, 2.0, 4.0, 8.0], 0.9).unwrap() - 6.8).abs() < 1e-12);
        assert_eq!(quantile(&[5.0], 0.99), Some(5.0));
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(Aggregation::Percentile(50.0).name(), "P50.0");
    }

    #[test]
    fn filters_of_figures_are_equalities_of_what_is_there() {
        let read = |text| only(text, View::Spans);
        assert_eq!(read("trace.tag.`a b` = 'x=y'").unwrap(), (Part::Tag("a b".into()), "x=y".into()));
        assert_eq!(read("span.name = \"n\"").unwrap(), (Part::SpanName, "n".into()));
        for odd in
            ["", "trace.status", "trace.status = x", "trace.x = 'a'", "assessment.name = 'a'", "a = 'b'"]
        {
            assert!(read(odd).is_err(), "{odd}");
        }
    }
}
