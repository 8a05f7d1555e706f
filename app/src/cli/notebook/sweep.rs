//! A sweep: one notebook with many parameters, several at once, and one table of what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use futures::StreamExt;
use rondo_core::Code;
use rondo_core::ports::{Event, Progress};
use rondo_notebook::cache::run::Ran;
use rondo_notebook::document::write_atomically;
use rondo_notebook::error::Kept;
use rondo_notebook::{cache, grid, metrics, parameters};
use serde_json::{Value, json};

use super::run::{Args, failure, fork_server, keep, request, told_first};
use super::source::Source;
use super::stream::Stream;
use super::target::Target;
use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::table;

/// One run of the table.
struct Row {
    values: BTreeMap<String, Value>,
    output: String,
    result: Result<Ran, Failure>,
    /// How long it took, also where it failed.
    seconds: f64,
}

/// Runs all, also where some fail.
///
/// # Errors
/// When a flag or a parameter is not valid (nothing has run then), or when a run has failed.
pub async fn run(args: &Args, source: &Source, target: &Target, session: &Session) -> Outcome {
    let known = parameters::inspect(&source.notebook);
    let all = args.given.sweep(&known, session)?;
    refuse_unknown(&all, &known, args, source)?;
    let values: Vec<BTreeMap<String, Value>> = all.iter().map(parameters::Given::shown).collect();
    let stem = source.path.file_stem().map_or_else(|| "notebook".into(), |stem| stem.to_string_lossy());
    let names = grid::names(&stem, &values);
    refuse_replacing(source, &names, target)?;
    let varied = grid::varied(&values);
    let progress: Arc<dyn Progress> = Arc::new(Stream::to(session.printer(), true));
    let first = request(args, source, target.local.clone(), progress, session)?;
    let (keep, fork) =
        (keep(args, source, &first, session)?, Box::pin(fork_server(args, source, &first, session)).await);
    let jobs = args.jobs.map_or_else(cores, std::num::NonZeroUsize::get);
    let runs = all.into_iter().zip(values).zip(names).map(|((given, values), name)| {
        let file = format!("{name}.ipynb");
        let output = args.output.join(&file);
        let mut one = first.clone();
        one.output = target.local.join(&file);
        one.kept = target.elsewhere().map(|_| Kept::File(output.clone()));
        one.given = given;
        one.given.also = args.given.paths(&args.input.to_string_lossy(), &output.to_string_lossy());
        one.fork.clone_from(&fork);
        one.subject = name;
        (one, keep.clone(), values, output.to_string_lossy().into_owned())
    });
    let started = std::time::Instant::now();
    let mut rows: Vec<(usize, Row)> = futures::stream::iter(runs.enumerate())
        .map(|(index, (one, keep, values, output))| async move {
            // A task of its own: the runs then use all cores.
            let began = std::time::Instant::now();
            let ran = tokio::spawn(async move {
                let (progress, subject) = (one.progress.clone(), one.subject.clone());
                progress.report(Event::Started { subject: subject.clone(), message: "begins".to_owned() });
                let ran = Box::pin(cache::run::run(one, keep.as_ref())).await.map_err(failure);
                let message = match &ran {
                    Ok(ran) => ran.to_string(),
                    Err(failure) => cause(failure),
                };
                progress.report(Event::Ended { subject, ok: ran.is_ok(), message });
                ran
            });
            let result =
                ran.await.unwrap_or_else(|error| Err(Failure::new(Code::Internal, error.to_string())));
            let seconds =
                result.as_ref().map_or_else(|_| began.elapsed().as_secs_f64(), |ran| ran.executed.seconds);
            (index, Row { values, output, result, seconds })
        })
        .buffer_unordered(jobs)
        .collect()
        .await;
    rows.sort_by_key(|(index, _)| *index);
    let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
    let seconds = started.elapsed().as_secs_f64();
    let told = finish(args, &rows, &varied, seconds, &target.local, session);
    told_first(told, Box::pin(target.send(session)).await, session)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

/// What is wrong with the parameters is told once, before anything runs.
fn refuse_unknown(
    all: &[parameters::Given],
    known: &[parameters::Parameter],
    args: &Args,
    source: &Source,
) -> Outcome {
    let mut faults: Vec<parameters::ParameterFault> = Vec::new();
    for given in all {
        for fault in parameters::check(known, &given.values) {
            let declared = known.iter().any(|parameter| parameter.name == fault.name);
            if (declared || !args.given.allow_unknown) && !faults.contains(&fault) {
                faults.push(fault);
            }
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(rondo_notebook::Error::Parameters { notebook: source.path.clone(), faults }.into())
}

/// A folder for copies is no word for replacing the notebook: it may be the notebook's own.
fn refuse_replacing(source: &Source, names: &[String], target: &Target) -> Outcome {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    let notebook = real(&source.path).filter(|_| source.is_file);
    let replaces = |name: &String| {
        let copy = real(&target.local.join(format!("{name}.ipynb")));
        copy.is_some() && copy == notebook
    };
    if !names.iter().any(replaces) {
        return Ok(());
    }
    let shown = source.path.display();
    Err(Failure::hinted(
        Code::Usage,
        format!(
            "write a copy of `{shown}` into its own folder: it has the notebook's name and would replace it"
        ),
        "name another folder for the copies, or, to replace the notebook, the notebook itself as OUT",
    ))
}

fn finish(
    args: &Args,
    rows: &[Row],
    varied: &[String],
    seconds: f64,
    folder: &Path,
    session: &Session,
) -> Outcome {
    let value = json!({
        "schema": 1, "notebook": args.input, "seconds": seconds,
        "runs": rows.iter().map(record).collect::<Vec<_>>(),
    });
    let cells = cells(rows, varied);
    write_atomically(&folder.join("results.json"), format!("{value:#}\n").as_bytes())?;
    write_atomically(&folder.join("results.csv"), csv(&cells).as_bytes())?;
    let failed: Vec<&Row> = rows.iter().filter(|row| row.result.is_err()).collect();
    let cached = rows.iter().filter(|row| row.result.as_ref().is_ok_and(|ran| ran.cached)).count();
    let text = format!(
        "{}{} runs in {seconds:.1} s, {cached} from earlier runs, {} failed: {}\n",
        table(&without_errors(&cells)),
        rows.len(),
        failed.len(),
        args.output.join("results.csv").display()
    );
    let Some(first) = failed.first() else {
        session.printer().result(&value, &text);
        return Ok(());
    };
    let interrupted =
        |row: &&&Row| matches!(&row.result, Err(failure) if failure.code() == Code::Interrupted);
    let code = match (&first.result, failed.iter().find(interrupted)) {
        (_, Some(_)) => Code::Interrupted,
        (Err(failure), None) => failure.code(),
        (Ok(_), None) => Code::NotebookFailed,
    };
    if !session.printer().json() {
        session.printer().tell(&text);
    }
    let mut rendered = format!("error: {} of {} runs failed\n", failed.len(), rows.len());
    if let Err(failure) = &first.result {
        rendered.push_str(&format!("{}: {}", Path::new(&first.output).display(), failure.text()));
    }
    Err(Failure::new(code, format!("{} of {} runs failed", failed.len(), rows.len())).shown(rendered, value))
}

fn record(row: &Row) -> Value {
    match &row.result {
        Ok(ran) => json!({
            "state": "ok", "parameters": row.values, "output": row.output, "cached": ran.cached,
            "cells": ran.executed.cells_run, "seconds": ran.executed.seconds,
            "metrics": metrics::json(&ran.executed.metrics), "outputs": ran.executed.outputs,
            "notes": ran.executed.notes, "peak_memory": ran.executed.peak_memory,
        }),
        Err(failure) => json!({
            "state": "failed", "parameters": row.values, "output": row.output, "seconds": row.seconds,
            "error": failure.json().get("error"),
        }),
    }
}

/// The table: what varied, how it went, each metric, and why it failed.
fn cells(rows: &[Row], varied: &[String]) -> Vec<Vec<String>> {
    let done = || rows.iter().filter_map(|row| row.result.as_ref().ok());
    let metrics: BTreeSet<&String> = done().flat_map(|ran| ran.executed.metrics.keys()).collect();
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut head: Vec<String> = varied.to_vec();
    head.extend(["state", "seconds"].map(str::to_owned));
    head.extend(metrics.iter().map(|name| (*name).clone()));
    head.extend(["output", "error"].map(str::to_owned));
    let mut cells = vec![head];
    for row in rows {
        let mut line: Vec<String> =
            varied.iter().map(|name| row.values.get(name).map(plain).unwrap_or_default()).collect();
        let (state, error) = match &row.result {
            Ok(ran) if ran.cached => ("cached", String::new()),
            Ok(_) => ("ok", String::new()),
            Err(failure) => ("failed", cause(failure)),
        };
        line.extend([state.to_owned(), format!("{:.1}", row.seconds)]);
        let value = |name: &&String| {
            let ran = row.result.as_ref().ok()?;
            ran.executed.metrics.get(*name).map(ToString::to_string)
        };
        line.extend(metrics.iter().map(|name| value(name).unwrap_or_default()));
        line.extend([row.output.clone(), error]);
        cells.push(line);
    }
    cells
}

/// Why a run failed, in a line.
fn cause(failure: &Failure) -> String {
    let heading = failure.heading();
    heading.trim_start_matches("error: ").lines().next().unwrap_or_default().trim_end().to_owned()
}

/// The table as it is shown: why a run failed was said when it did.
fn without_errors(rows: &[Vec<String>]) -> Vec<Vec<String>> {
    rows.iter().map(|row| row.get(..row.len().saturating_sub(1)).unwrap_or_default().to_vec()).collect()
}

fn csv(rows: &[Vec<String>]) -> String {
    let field = |text: &String| match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.clone(),
    };
    rows.iter().map(|row| row.iter().map(field).collect::<Vec<_>>().join(",") + "\n").collect()
}

#[cfg(test)]
mod tests {
    use rondo_notebook::execute::Executed;

    use super::*;

    #[test]
    fn the_table_has_what_varied_and_every_metric_and_its_csv_is_quoted() {
        let executed = |metrics: &[(&str, f64)]| Executed {
            cells_run: 1,
            seconds: 1.25,
            metrics: metrics.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
            outputs: BTreeMap::new(),
            notes: Vec::new(),
            peak_memory: None,
            halt: None,
        };
        let row = |x: &str, result: Result<Ran, Failure>| Row {
            values: BTreeMap::from([("x".to_owned(), json!(x))]),
            output: format!("out/{x}.ipynb"),
            result,
            seconds: 1.25,
        };
        let rows = [
            row("a,b", Ok(Ran { executed: executed(&[("auc", 0.5)]), cached: true })),
            row("c", Err(Failure::new(Code::NotebookFailed, "no, it is"))),
        ];
        let cells = cells(&rows, &["x".to_owned()]);
        assert_eq!(
            csv(&cells),
            "x,state,seconds,auc,output,error\n\"a,b\",cached,1.2,0.5,\"out/a,b.ipynb\",\n\
             c,failed,1.2,,out/c.ipynb,\"no, it is\"\n"
        );
    }
}
