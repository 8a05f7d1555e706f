//! `cross-validate`: a training command on k folds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rondo_core::Objection;
use rondo_core::ports::{Builtin, BuiltinCall, BuiltinResult, Event, PortError};
use rondo_table::read::{ReadOptions, Source};
use rondo_table::select::{self, Numbers};
use rondo_table::split::{self, Method};
use serde_json::Value;

use super::{Failed, mark, program, text};
use crate::environment::host::{find_program, search_path};
use crate::execute::outputs;
use crate::execute::process::Command;

/// The package.
#[derive(Debug, Clone, Copy, Default)]
pub struct CrossValidate;

#[async_trait]
impl Builtin for CrossValidate {
    fn name(&self) -> &'static str {
        "cross-validate"
    }

    fn version(&self) -> &'static str {
        "3"
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["run", "rows", "folds", "method", "column", "group", "seed"]
    }

    fn commands(&self) -> &'static [&'static str] {
        &["run"]
    }

    fn stops(&self) -> bool {
        true
    }

    fn code_files(&self, _root: &Path, _with: &BTreeMap<String, Value>) -> Vec<PathBuf> {
        Vec::new()
    }

    fn check(&self, _root: &Path, with: &BTreeMap<String, Value>) -> Vec<Objection> {
        let method = text(with, "method").unwrap_or("random");
        let mut faults = Vec::<Objection>::new();
        if method != "random" && !with.contains_key("column") {
            faults.push(format!("the method `{method}` needs `column`").into());
        }
        match (method == "stratified_grouped", with.contains_key("group")) {
            (true, false) => {
                faults.push(format!("the method `{method}` needs `group` beside `column`").into())
            }
            (false, true) => faults.push(
                "`group` is for the method `stratified_grouped`; of `grouped` it is the `column`"
                    .to_owned()
                    .into(),
            ),
            (true, true) | (false, false) => {}
        }
        faults
    }

    async fn run(&self, call: BuiltinCall) -> Result<BuiltinResult, PortError> {
        Box::pin(work(&call)).await.map_err(|error| Box::new(error) as PortError)
    }
}

/// What one fold has come to.
struct Fold {
    train: u64,
    test: u64,
    metrics: BTreeMap<String, f64>,
}

async fn work(call: &BuiltinCall) -> Result<BuiltinResult, Failed> {
    let with = &call.with;
    let name = text(with, "rows").unwrap_or("rows");
    let only = if call.step.inputs.len() == 1 { call.step.inputs.iter().next() } else { None };
    let rows = call.step.inputs.get_key_value(name).or(only);
    let (local, rows) = rows.ok_or_else(|| Failed::Refused(format!("the step has no input `{name}`")))?;
    let rows = (rows.clone(), ReadOptions::of_input(&call.step.read, local)?);
    let command = text(with, "run").ok_or_else(|| Failed::Refused("`run` is missing".to_owned()))?;
    let method = Method::parse(text(with, "method").unwrap_or("random")).unwrap_or(Method::Random);
    let count =
        with.get("folds").and_then(Value::as_u64).and_then(|count| u8::try_from(count).ok()).unwrap_or(5);
    let seed = with.get("seed").and_then(Value::as_u64).unwrap_or(0);
    let column = text(with, "column").map(str::to_owned);
    let table = rows.clone();
    let group = text(with, "group").map(str::to_owned);
    let blocks =
        move || split::folds_by(source(&table), method, column.as_deref(), group.as_deref(), count, seed);
    let blocks = blocking(blocks).await?;
    let mut folds = Vec::new();
    for number in 0..count {
        let fold =
            fold(call, command, &rows, method, &blocks, number).await.map_err(|error| match error {
                Failed::Program(cause) => Failed::Program(format!("fold {}: {cause}", number + 1)),
                other => other,
            })?;
        let message = format!("fold {} of {count}", number + 1);
        call.progress.report(Event::Note { subject: call.step.step.clone(), message });
        folds.push(fold);
    }
    if let Some(file) = call.step.outputs.get("folds").cloned() {
        let columns = table_of(&folds);
        blocking(move || select::from_numbers(&file, columns)).await?;
    }
    Ok(BuiltinResult { metrics: summary(&folds), artifacts: BTreeMap::new() })
}

fn source((path, options): &(PathBuf, ReadOptions)) -> Source<'_> {
    Source { path, options }
}

/// Runs one fold: its two tables are made, used and removed.
async fn fold(
    call: &BuiltinCall,
    command: &str,
    rows: &(PathBuf, ReadOptions),
    method: Method,
    blocks: &[u8],
    number: u8,
) -> Result<Fold, Failed> {
    let folder = call.scratch.join(format!("fold-{}", number + 1));
    let made = |error: std::io::Error| Failed::Program(format!("make `{}`: {error}", folder.display()));
    std::fs::create_dir_all(&folder).map_err(made)?;
    let (train, test) = (folder.join("train.parquet"), folder.join("test.parquet"));
    // Two parts, and a third for rows that are in neither.
    let part = |block: &u8| split::tests_in(method, *block, number).map_or(2, u8::from);
    let parts: Vec<u8> = blocks.iter().map(part).collect();
    let (table, files) = (rows.to_owned(), (train.clone(), test.clone()));
    let counts =
        blocking(move || select::by_part(source(&table), &parts, &[Some(&files.0), Some(&files.1)])).await?;
    let rows = |part: usize| counts.get(part).copied().unwrap_or(0);
    if rows(0) == 0 || rows(1) == 0 {
        return Err(Failed::Program("it has no rows to train or to test: use fewer folds".to_owned()));
    }
    let metrics = folder.join("metrics.json");
    let mut variables = call.environment.clone();
    let path = |path: &Path| path.to_string_lossy().into_owned();
    variables.extend([
        ("RONDO_INPUT_TRAIN".to_owned(), path(&train)),
        ("RONDO_INPUT_TEST".to_owned(), path(&test)),
        ("RONDO_METRICS".to_owned(), path(&metrics)),
        ("RONDO_FOLD".to_owned(), (number + 1).to_string()),
    ]);
    let shell = find_program("sh", search_path(&variables)).unwrap_or_else(|| "/bin/sh".into());
    let arguments = vec!["-c".into(), command.into()];
    let root = call.root.clone();
    // Folds run one after the other: what carries the step's mark when one ends is what it left running.
    let mark = mark(call);
    program(call, &Command { program: shell, arguments, folder: root, variables, mark }, true).await?;
    let found = outputs::metrics(&metrics, "$RONDO_METRICS").map_err(Failed::Program)?;
    let _ = std::fs::remove_dir_all(&folder);
    Ok(Fold { train: rows(0), test: rows(1), metrics: found })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> rondo_table::Result<T> + Send + 'static,
) -> Result<T, Failed> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| Failed::Program(error.to_string()))??)
}

fn table_of(folds: &[Fold]) -> Vec<(String, Numbers)> {
    let whole = |counts: Vec<u64>| {
        Numbers::Whole(counts.into_iter().map(|count| i64::try_from(count).ok()).collect())
    };
    let mut columns = vec![
        ("fold".to_owned(), whole((1..=folds.len() as u64).collect())),
        ("train_rows".to_owned(), whole(folds.iter().map(|fold| fold.train).collect())),
        ("test_rows".to_owned(), whole(folds.iter().map(|fold| fold.test).collect())),
    ];
    for name in names(folds) {
        let values = folds.iter().map(|fold| fold.metrics.get(&name).copied()).collect();
        columns.push((format!("metric_{name}"), Numbers::Real(values)));
    }
    columns
}

fn names(folds: &[Fold]) -> Vec<String> {
    let mut names: Vec<String> = folds.iter().flat_map(|fold| fold.metrics.keys().cloned()).collect();
    names.sort();
    names.dedup();
    names
}

/// Mean and sample standard deviation of each metric over the folds that have it.
#[expect(clippy::cast_precision_loss, reason = "there are at most a hundred folds")]
fn summary(folds: &[Fold]) -> BTreeMap<String, f64> {
    let mut metrics = BTreeMap::from([("folds".to_owned(), folds.len() as f64)]);
    for name in names(folds) {
        let values: Vec<f64> = folds.iter().filter_map(|fold| fold.metrics.get(&name).copied()).collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        metrics.insert(format!("{name}_mean"), mean);
        if values.len() > 1 {
            metrics.insert(format!("{name}_std"), (squares / (count - 1.0)).sqrt());
        }
    }
    metrics
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use rondo_core::handoff::StepInputs;
    use rondo_core::ports::Progress;
    use rondo_core::{Digest, RunId};
    use serde_json::json;

    use rondo_process::leftovers;

    use super::*;

    /// Keeps what is noted.
    #[derive(Default)]
    struct Notes(Mutex<Vec<String>>);

    impl Progress for Notes {
        fn report(&self, event: Event) {
            if let Event::Note { message, .. } = event {
                self.0.lock().unwrap().push(message);
            }
        }
    }

    #[tokio::test]
    async fn what_a_fold_leaves_running_is_ended_and_named() {
        let notes = Arc::new(Notes::default());
        let folder = tempfile::tempdir().unwrap();
        let rows = folder.path().join("rows.csv");
        let table: String = (0..20).map(|row| format!("{row},{}\n", row * 2)).collect();
        std::fs::write(&rows, format!("id,x\n{table}")).unwrap();
        let file = folder.path().join("step.json").to_string_lossy().into_owned();
        let run = "setsid sleep 1000 & echo '{\"a\": 1}' > \"$RONDO_METRICS\"; sleep 0.2";
        let call = BuiltinCall {
            step: StepInputs {
                project: "p".into(),
                step: "s".into(),
                run: RunId::random(),
                key: Digest::of(b"k"),
                params: BTreeMap::new(),
                inputs: [("rows".to_owned(), rows)].into(),
                outputs: BTreeMap::new(),
                read: BTreeMap::new(),
                metrics: None,
            },
            with: [("run".to_owned(), json!(run)), ("folds".to_owned(), json!(2))].into(),
            root: folder.path().to_owned(),
            scratch: folder.path().to_owned(),
            environment: [
                ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
                ("RONDO_STEP_FILE".to_owned(), file.clone()),
            ]
            .into(),
            python: None,
            confinement: None,
            stop: tokio::sync::watch::channel(false).1,
            progress: notes.clone(),
        };
        work(&call).await.unwrap();
        let said = notes.0.lock().unwrap().join("\n");
        assert!(said.contains("it left running what was then ended: sleep ("), "{said}");
        let mark = format!("RONDO_STEP_FILE={file}");
        for _ in 0..50 {
            if !leftovers::all().into_iter().any(|pid| leftovers::carries(pid, &mark)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let left = leftovers::end(&mark, 0);
        panic!("still running: {left:?}");
    }
}
