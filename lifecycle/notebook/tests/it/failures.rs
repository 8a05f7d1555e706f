//! Runs that fail: the cause is named, and the notebook up to there is kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rondo_core::{Code, Explain};
use rondo_notebook::Error;
use rondo_notebook::execute::{ExecuteRequest, execute};
use rondo_notebook::kernel::KernelChoice;
use rondo_notebook::parameters::Given;
use serde_json::json;
use tokio::sync::watch;

use crate::work::{Watcher, Work, text};

/// Longer than any test waits: whoever waits for it hangs visibly.
const FOR_EVER: &str = "import time\nprint('begun', flush=True)\ntime.sleep(86400)";

#[tokio::test]
async fn an_error_keeps_the_partial_notebook_with_a_banner_and_names_the_cause() {
    let Some(work) = Work::new() else { return };
    let error = execute(work.request(&[
        ("print('first')", &[]),
        ("def f():\n    raise ValueError('bad value')\nf()", &[]),
        ("print('never')", &[]),
    ]))
    .await
    .unwrap_err();
    assert_eq!(error.code(), Code::NotebookFailed);
    assert!(error.to_string().ends_with("ValueError: bad value"), "{error}");
    assert!(error.to_string().contains("cell 2"));
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("raise ValueError") && !cause.contains('\u{1b}'), "{cause}");
    assert!(error.hints().iter().any(|hint| hint.contains("out.ipynb")));

    let notebook = work.executed();
    let cells: Vec<String> = notebook.cells.iter().map(text).collect();
    assert!(notebook.cells[0].source().contains("In [2]"));
    assert_eq!(cells[2], "first\n");
    assert!(notebook.cells[3].has_tag("papermill-error-cell-tag"));
    assert!(cells[4].contains("ValueError"));
    assert_eq!(cells[5], "");
    assert_eq!(notebook.metadata().unwrap()["papermill"]["exception"], true);

    // The partial notebook can be run again: its banners go, its outputs are made anew.
    let again = ExecuteRequest {
        input: work.path("out.ipynb"),
        output: work.path("again.ipynb"),
        ..work.request(&[])
    };
    assert!(matches!(execute(again).await, Err(Error::CellFailed { at, .. }) if at.cell == Some(2)));
}

#[tokio::test]
async fn a_cell_is_named_as_in_the_notebook_that_was_given() {
    let Some(work) = Work::new() else { return };
    let watcher = Watcher::default();
    let progress = Arc::new(watcher.clone());
    let request = work.request(&[("n = 1", &["parameters"]), ("1 / 0", &[])]);
    let given = Given { values: BTreeMap::from([("n".to_owned(), json!(3))]), ..Given::default() };
    let error = execute(ExecuteRequest { given, progress, ..request }).await.unwrap_err();
    let place =
        format!("run cell 2 of `{}` (In [3] of the executed copy): ", work.path("in.ipynb").display());
    assert!(error.to_string().starts_with(&place), "{error}");
    assert!(work.executed().cells[0].source().contains("In [3]"));
    let said = watcher.advances();
    assert!(said.iter().any(|message| message == "cell 2 of 2: 1 / 0"), "{said:?}");
    assert!(said.iter().any(|message| message == "the parameters"), "{said:?}");
}

#[tokio::test]
async fn a_dead_kernel_is_found_at_once_with_its_exit_code_and_memory() {
    let Some(work) = Work::new() else { return };
    let error = execute(work.request(&[("x = 1", &[]), ("import os\nos._exit(3)", &[])])).await.unwrap_err();
    assert_eq!(error.code(), Code::KernelDied);
    assert!(
        error.to_string().contains("cell 2") && error.to_string().contains("exited with code 3"),
        "{error}"
    );
    assert!(matches!(&error, Error::KernelDied { peak_memory: Some(1_000_000..), .. }), "{error:?}");
    assert!(work.executed().cells[0].source().contains("stopped with an error"));
}

#[tokio::test]
async fn a_crash_says_its_last_words() {
    let Some(work) = Work::new() else { return };
    let error = execute(work.request(&[("import ctypes\nctypes.string_at(0)", &[])])).await.unwrap_err();
    assert!(error.to_string().contains("SIGSEGV"), "{error}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("Segmentation fault") && cause.contains("string_at"), "{cause}");
}

#[tokio::test]
async fn a_killed_kernel_says_which_signal() {
    let Some(work) = Work::new() else { return };
    let error = execute(work.request(&[("import os\nos.kill(os.getpid(), 9)", &[])])).await.unwrap_err();
    assert!(error.to_string().contains("signal 9 (SIGKILL)"), "{error}");
    assert!(error.hints().iter().any(|hint| hint.contains("memory")));
}

#[tokio::test]
async fn a_cell_that_takes_too_long_is_interrupted_where_it_is() {
    let Some(work) = Work::new() else { return };
    let request = ExecuteRequest {
        cell_timeout: Some(Duration::from_secs(1)),
        ..work.request(&[("x = 1", &[]), (FOR_EVER, &[])])
    };
    let error = execute(request).await.unwrap_err();
    assert!(matches!(&error, Error::Timeout { at, whole: false, .. } if at.cell == Some(2)), "{error}");
    let notebook = work.executed();
    let last = notebook.cells.last().unwrap();
    assert!(text(last).contains("begun") && text(last).contains("KeyboardInterrupt"), "{}", text(last));
}

#[tokio::test]
async fn a_cell_that_is_deaf_to_the_interrupt_is_killed() {
    let Some(work) = Work::new() else { return };
    let deaf = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\ntime.sleep(86400)";
    let request =
        ExecuteRequest { cell_timeout: Some(Duration::from_secs(1)), ..work.request(&[(deaf, &[])]) };
    let error = execute(request).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { whole: false, .. }), "{error}");
    work.executed();
}

#[tokio::test]
async fn the_whole_notebook_has_a_limit_too() {
    let Some(work) = Work::new() else { return };
    // Long enough for a kernel to start on a machine that is busy.
    let limit = Some(Duration::from_secs(15));
    let error =
        execute(ExecuteRequest { timeout: limit, ..work.request(&[(FOR_EVER, &[])]) }).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { whole: true, .. }), "{error}");
}

#[tokio::test]
async fn the_user_can_stop_a_run() {
    let Some(work) = Work::new() else { return };
    let (stop, cancel) = watch::channel(false);
    let watcher = Watcher::default();
    let request =
        ExecuteRequest { cancel, progress: Arc::new(watcher.clone()), ..work.request(&[(FOR_EVER, &[])]) };
    let run = tokio::spawn(execute(request));
    while !watcher.lines().contains(&"begun".to_owned()) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.send(true).unwrap();
    let error = run.await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::Interrupted);
    assert!(text(work.executed().cells.last().unwrap()).contains("KeyboardInterrupt"));
}

#[tokio::test]
async fn a_run_that_is_dropped_leaves_no_process() {
    let Some(work) = Work::new() else { return };
    let watcher = Watcher::default();
    let pid = "import os, time\nprint('pid', os.getpid(), flush=True)\ntime.sleep(86400)";
    let request = ExecuteRequest { progress: Arc::new(watcher.clone()), ..work.request(&[(pid, &[])]) };
    let run = tokio::spawn(execute(request));
    let pid = loop {
        let lines = watcher.lines();
        if let Some(pid) = lines.iter().find_map(|line| line.strip_prefix("pid ")) {
            break pid.to_owned();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    run.abort();
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    while !(state().is_empty() || state().contains(") Z")) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn input_is_refused_with_a_hint() {
    let Some(work) = Work::new() else { return };
    let error = execute(work.request(&[("input('name? ')", &[])])).await.unwrap_err();
    assert!(
        matches!(&error, Error::CellFailed { ename, .. } if ename == "StdinNotImplementedError"),
        "{error}"
    );
    assert!(error.hints().iter().any(|hint| hint.contains("parameter")));
}

#[tokio::test]
async fn an_unknown_parameter_is_refused_before_anything_runs() {
    let Some(work) = Work::new() else { return };
    let request = ExecuteRequest {
        given: Given { values: BTreeMap::from([("dept".to_owned(), json!(3))]), ..Given::default() },
        ..work.request(&[("depth = 6", &["parameters"])])
    };
    let error = execute(request).await.unwrap_err();
    assert_eq!(error.code(), Code::NotebookParameter);
    assert_eq!(error.hints().first().map(String::as_str), Some("did you mean `depth`?"));
    assert!(!work.path("out.ipynb").exists());
}

#[tokio::test]
async fn a_python_without_ipykernel_says_what_to_install() {
    let Some(work) = Work::new() else { return };
    // The interpreter behind the environment, without its packages.
    let bare = work.path("bare");
    let made =
        std::process::Command::new(&work.python).args(["-m", "venv", "--without-pip"]).arg(&bare).status();
    assert!(made.unwrap().success());
    let request = ExecuteRequest {
        kernel: KernelChoice::python(bare.join("bin/python")),
        ..work.request(&[("1", &[])])
    };
    let error = execute(request).await.unwrap_err();
    assert_eq!(error.code(), Code::KernelDied);
    assert!(
        error.hints().iter().any(|hint| hint.ends_with("-m pip install ipykernel")),
        "{:?}",
        error.hints()
    );
}
