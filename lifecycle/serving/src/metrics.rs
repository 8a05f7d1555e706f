//! What an endpoint counts: requests, rows, refusals, failures and how long answers take.
//!
//! Latencies go into a histogram of fixed buckets, eight to each doubling (so a quantile is at most 9 %
//! off), kept in atomics: counting never waits. The same numbers come as a struct and as Prometheus text.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Doublings from one microsecond: the last bucket begins beyond an hour.
const DOUBLINGS: usize = 32;
/// Buckets of a doubling.
const PARTS: usize = 8;
/// Upper limits of the buckets that Prometheus gets, in seconds.
const LIMITS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Latencies by bucket.
#[derive(Debug)]
pub struct Histogram {
    buckets: Vec<AtomicU64>,
    count: AtomicU64,
    sum_micros: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: (0..DOUBLINGS * PARTS).map(|_| AtomicU64::new(0)).collect(),
            count: AtomicU64::new(0),
            sum_micros: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    /// Counts a latency.
    pub fn record(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get(bucket_of(micros)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// The latency in milliseconds that a share of the answers did not exceed; none without answers.
    pub fn quantile_ms(&self, share: f64) -> Option<f64> {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        if total == 0 {
            return None;
        }
        let wanted = ((total as f64 * share).ceil() as u64).clamp(1, total);
        let mut so_far = 0;
        for (place, count) in counts.iter().enumerate() {
            so_far += count;
            if so_far >= wanted {
                return Some((start_of(place) + start_of(place + 1)) / 2.0 / 1000.0);
            }
        }
        None
    }

    /// How many answers there were.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Answers up to each of Prometheus's limits.
    fn cumulative(&self) -> Vec<(f64, u64)> {
        let mut all = Vec::with_capacity(LIMITS.len());
        for limit in LIMITS {
            let up_to = bucket_of((limit * 1e6) as u64);
            let count = self.buckets.iter().take(up_to).map(|bucket| bucket.load(Ordering::Relaxed)).sum();
            all.push((limit, count));
        }
        all
    }
}

/// The bucket of a number of microseconds.
fn bucket_of(micros: u64) -> usize {
    let micros = micros.max(1);
    let doubling = micros.ilog2();
    // The three bits after the highest one.
    let part = if doubling >= 3 { (micros >> (doubling - 3)) & 7 } else { (micros << (3 - doubling)) & 7 };
    (doubling as usize * PARTS + part as usize).min(DOUBLINGS * PARTS - 1)
}

/// The microseconds at which a bucket begins.
fn start_of(place: usize) -> f64 {
    let doubling = (place / PARTS) as i32;
    2.0_f64.powi(doubling) * (1.0 + (place % PARTS) as f64 / PARTS as f64)
}

/// What one endpoint counts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests that were answered.
    pub answered: AtomicU64,
    /// Requests that were refused: what was sent does not fit.
    pub refused: AtomicU64,
    /// Requests that failed: a fault on this side.
    pub failed: AtomicU64,
    /// Rows that were answered.
    pub rows: AtomicU64,
    /// Of which from an earlier answer to the same id.
    pub repeated: AtomicU64,
    /// Rows that the shadow has scored.
    pub shadow_rows: AtomicU64,
    /// Rows that the shadow could not score, or that came faster than it could.
    pub shadow_dropped: AtomicU64,
    /// How long answered requests took.
    pub latency: Histogram,
}

/// The numbers of an endpoint at a moment.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Numbers {
    /// Requests that were answered.
    pub answered: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Rows that were answered.
    pub rows: u64,
    /// Of which from an earlier answer to the same id.
    pub repeated: u64,
    /// Rows that the shadow has scored.
    pub shadow_rows: u64,
    /// Rows that the shadow could not score, or that came faster than it could.
    pub shadow_dropped: u64,
    /// The median latency of a request in milliseconds.
    pub p50_ms: Option<f64>,
    /// The latency that 99 of 100 requests did not exceed, in milliseconds.
    pub p99_ms: Option<f64>,
}

impl Counters {
    /// The numbers now.
    pub fn numbers(&self) -> Numbers {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Numbers {
            answered: load(&self.answered),
            refused: load(&self.refused),
            failed: load(&self.failed),
            rows: load(&self.rows),
            repeated: load(&self.repeated),
            shadow_rows: load(&self.shadow_rows),
            shadow_dropped: load(&self.shadow_dropped),
            p50_ms: self.latency.quantile_ms(0.5),
            p99_ms: self.latency.quantile_ms(0.99),
        }
    }
}

/// An endpoint, as far as the exposition needs it.
pub(crate) struct Exposed<'a> {
    pub(crate) deployment: &'a str,
    pub(crate) model: &'a str,
    pub(crate) version: u32,
    pub(crate) counters: &'a Counters,
}

/// The numbers of endpoints in Prometheus's text format.
pub(crate) fn exposition(endpoints: &[Exposed<'_>], dropped: u64) -> String {
    let mut text = String::new();
    let head = |text: &mut String, name: &str, kind: &str, help: &str| {
        // Writing to a String never fails.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    };
    head(&mut text, "rondo_deployment_info", "gauge", "The version that answers at an endpoint.");
    for one in endpoints {
        let _ = writeln!(
            text,
            "rondo_deployment_info{{deployment=\"{}\",model=\"{}\",version=\"{}\"}} 1",
            escaped(one.deployment),
            escaped(one.model),
            one.version
        );
    }
    head(&mut text, "rondo_prediction_requests_total", "counter", "Requests by what came of them.");
    for one in endpoints {
        let numbers = one.counters.numbers();
        for (outcome, count) in
            [("answered", numbers.answered), ("refused", numbers.refused), ("failed", numbers.failed)]
        {
            let _ = writeln!(
                text,
                "rondo_prediction_requests_total{{deployment=\"{}\",outcome=\"{outcome}\"}} {count}",
                escaped(one.deployment)
            );
        }
    }
    type Get = fn(&Numbers) -> u64;
    let counters: [(&str, &str, Get); 4] = [
        ("rondo_prediction_rows_total", "Rows that were answered.", |numbers| numbers.rows),
        ("rondo_prediction_repeated_total", "Rows answered as before, by their id.", |numbers| {
            numbers.repeated
        }),
        ("rondo_shadow_rows_total", "Rows that the shadow has scored.", |numbers| numbers.shadow_rows),
        ("rondo_shadow_dropped_total", "Rows that the shadow has not scored.", |numbers| {
            numbers.shadow_dropped
        }),
    ];
    for (name, help, get) in counters {
        head(&mut text, name, "counter", help);
        for one in endpoints {
            let count = get(&one.counters.numbers());
            let _ = writeln!(text, "{name}{{deployment=\"{}\"}} {count}", escaped(one.deployment));
        }
    }
    head(&mut text, "rondo_prediction_log_dropped_total", "counter", "Predictions that could not be logged.");
    let _ = writeln!(text, "rondo_prediction_log_dropped_total {dropped}");
    head(&mut text, "rondo_prediction_seconds", "histogram", "How long answered requests took.");
    for one in endpoints {
        let name = escaped(one.deployment);
        let latency = &one.counters.latency;
        let count = latency.count();
        for (limit, up_to) in latency.cumulative() {
            let up_to = up_to.min(count);
            let _ = writeln!(
                text,
                "rondo_prediction_seconds_bucket{{deployment=\"{name}\",le=\"{limit}\"}} {up_to}"
            );
        }
        let sum = latency.sum_micros.load(Ordering::Relaxed) as f64 / 1e6;
        let _ =
            writeln!(text, "rondo_prediction_seconds_bucket{{deployment=\"{name}\",le=\"+Inf\"}} {count}");
        let _ = writeln!(text, "rondo_prediction_seconds_sum{{deployment=\"{name}\"}} {sum}");
        let _ = writeln!(text, "rondo_prediction_seconds_count{{deployment=\"{name}\"}} {count}");
    }
    text
}

/// A label's value as the format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_are_near_what_was_counted() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantile_ms(0.5), None);
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros * 10));
        }
        let (median, high) = (histogram.quantile_ms(0.5).unwrap(), histogram.quantile_ms(0.99).unwrap());
        assert!((median / 5.0 - 1.0).abs() < 0.1, "{median}");
        assert!((high / 9.9 - 1.0).abs() < 0.1, "{high}");
    }

    #[test]
    fn the_exposition_names_every_endpoint() {
        let counters = Counters::default();
        counters.answered.fetch_add(3, Ordering::Relaxed);
        counters.latency.record(Duration::from_millis(2));
        let text = exposition(
            &[Exposed { deployment: "delay", model: "la\"te", version: 4, counters: &counters }],
            7,
        );
        for line in [
            "rondo_deployment_info{deployment=\"delay\",model=\"la\\\"te\",version=\"4\"} 1",
            "rondo_prediction_requests_total{deployment=\"delay\",outcome=\"answered\"} 3",
            "rondo_prediction_log_dropped_total 7",
            "rondo_prediction_seconds_bucket{deployment=\"delay\",le=\"0.001\"} 0",
            "rondo_prediction_seconds_bucket{deployment=\"delay\",le=\"0.0025\"} 1",
            "rondo_prediction_seconds_bucket{deployment=\"delay\",le=\"+Inf\"} 1",
            "rondo_prediction_seconds_count{deployment=\"delay\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    proptest! {
        #[test]
        fn every_latency_has_a_bucket_around_it(micros in 8_u64..4_000_000_000) {
            let place = bucket_of(micros);
            prop_assert!(start_of(place) <= micros as f64 && (micros as f64) < start_of(place + 1));
        }

        #[test]
        fn extreme_latencies_do_not_panic(micros: u64) {
            prop_assert!(bucket_of(micros) < DOUBLINGS * PARTS);
        }
    }
}
