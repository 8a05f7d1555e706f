//! Fills a store with runs, through the store's own calls: what `bench/tracking/grow.sh` measures.
//!
//! `cargo run --release -p rondo-store --example grow -- FOLDER RUNS POINTS [EXPERIMENTS]`
//!
//! Each run has five tags, ten parameters and ten metrics with equal shares of POINTS each. The last line
//! it prints says where the runs went.

use std::path::Path;

use futures::stream::{StreamExt, TryStreamExt};
use rondo_core::run::{RunDetail, RunKind, RunRow, RunState};
use rondo_core::{RunId, Timestamp};
use rondo_store::meta::batch::Batch;
use rondo_store::meta::metrics::Point;
use rondo_store::meta::runs::RunChange;
use rondo_store::{Error, Store};

/// The first run's start.
const START: i64 = 1_700_000_000_000;
/// Runs under way at once: they share commits.
const AT_ONCE: usize = 256;

/// What is random of a run, the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        // A linear congruence of Knuth's; its upper bits are good enough here.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn share(&mut self) -> f64 {
        self.roll(1 << 30) as f64 / f64::from(1u32 << 30)
    }
}

fn pairs(prefix: &str, count: u64, mut value: impl FnMut(u64) -> String) -> Vec<(String, String)> {
    (0..count).map(|i| (format!("{prefix}{i}"), value(i))).collect()
}

async fn grow_run(store: Store, experiment: i64, number: u64, points: u64) -> Result<(), Error> {
    let mut dice = Dice(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let started = START + number as i64 * 1000;
    let row = RunRow {
        id: RunId::random(),
        experiment,
        kind: RunKind::Client,
        parent: None,
        name: format!("run-{number}"),
        step: None,
        state: RunState::Running,
        user: "bench".to_owned(),
        started: Timestamp(started),
        ended: None,
        deleted: false,
        untagged: false,
        detail: RunDetail::default(),
    };
    let meta = store.meta();
    meta.create_tagged_run(&row, &pairs("t", 5, |_| format!("v{}", dice.roll(5)))).await?;
    let params = pairs("p", 10, |i| match i {
        1 => ["x", "y", "z"][dice.roll(3) as usize].to_owned(),
        _ => dice.share().to_string(),
    });
    let mut metrics = Vec::with_capacity(points as usize * 10);
    for step in 0..points as i64 {
        for key in 0..10 {
            let point = Point { timestamp: started + step * 100, step, value: dice.share() };
            metrics.push((format!("m{key}"), point));
        }
    }
    meta.log_batch(row.id, Batch { metrics, params, ..Batch::default() }).await?;
    let ended = Some(Timestamp(started + points as i64 * 100));
    let change = RunChange { state: Some(RunState::Finished), ended, ..RunChange::default() };
    meta.update_run(row.id, change).await
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a tool, not the library")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, runs, points, more @ ..] = arguments.as_slice() else {
        return Err("usage: grow FOLDER RUNS POINTS [EXPERIMENTS]".into());
    };
    let (runs, points): (u64, u64) = (runs.parse()?, points.parse()?);
    let experiments: u64 = more.first().map_or(Ok(1), |count| count.parse())?;
    let store = Store::open(Path::new(folder)).await?;
    store.meta().ensure_default_experiment(Timestamp(START)).await?;
    let mut ids = Vec::new();
    for number in 0..experiments {
        ids.push(store.meta().ensure_experiment(&format!("grown-{number}"), Timestamp(START)).await?);
    }
    let a_metric = (points / runs.max(1) / 10).max(1);
    let began = std::time::Instant::now();
    let grown = (0..runs).map(|number| {
        let (store, experiment) = (store.clone(), ids[(number % experiments) as usize]);
        async move { grow_run(store, experiment, number, a_metric).await.map(|()| number) }
    });
    let mut grown = futures::stream::iter(grown).buffer_unordered(AT_ONCE);
    let mut done = 0u64;
    while grown.try_next().await?.is_some() {
        done += 1;
        if done.is_multiple_of(50_000) {
            println!("{done} runs in {:.0} s", began.elapsed().as_secs_f64());
        }
    }
    drop(grown);
    store.close().await;
    let seconds = began.elapsed().as_secs_f64();
    println!("{done} runs, {} points in {seconds:.1} s; experiments {ids:?}", done * a_metric * 10);
    Ok(())
}
