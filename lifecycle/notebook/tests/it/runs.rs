//! Runs that go well.

use std::collections::BTreeMap;
use std::sync::Arc;

use rondo_notebook::document::{Cell, Notebook};
use rondo_notebook::execute::{ExecuteRequest, Halt, execute, prepare_only};
use rondo_notebook::html;
use rondo_notebook::kernel::KernelChoice;
use rondo_notebook::kernel::fork::ForkServer;
use rondo_notebook::parameters::Given;
use rondo_notebook::parameters::INJECTED;
use serde_json::{Value, json};

use crate::work::{Watcher, Work, names, text};

fn given(value: Value) -> BTreeMap<String, Value> {
    value.as_object().unwrap().clone().into_iter().collect()
}

#[tokio::test]
async fn parameters_reach_the_cells_and_outputs_are_kept() {
    let Some(work) = Work::new() else { return };
    let watcher = Watcher::default();
    let request = ExecuteRequest {
        given: Given { values: given(json!({"depth": 3, "label": "it's \"late\"\n"})), ..Given::default() },
        progress: Arc::new(watcher.clone()),
        env: BTreeMap::from([("FROM_RONDO".to_owned(), "yes".to_owned())]),
        ..work.request(&[
            ("depth = 6  # how deep\nlabel = 'x'", &["parameters"]),
            ("import os, sys\nprint(depth, label, os.environ['FROM_RONDO'])\nprint(os.getcwd(), file=sys.stderr)", &[]),
            ("raise SystemError('never run')", &["skip"]),
            ("1/0", &["raises-exception"]),
            ("for i in range(3): print(i)\ndepth * 2", &[]),
            ("", &[]),
        ])
    };
    let executed = execute(request).await.unwrap();
    assert_eq!(executed.cells_run, 5);
    assert!(executed.peak_memory.is_some_and(|bytes| bytes > 1_000_000));

    let notebook = work.executed();
    assert!(notebook.cells[2].has_tag(INJECTED));
    let cells: Vec<String> = notebook.cells.iter().map(text).collect();
    assert!(cells[3].contains("3 it's \"late\"\n yes"), "{cells:?}");
    let folder = std::fs::canonicalize(work.path("")).unwrap();
    assert!(cells[3].contains(folder.to_str().unwrap()), "{cells:?}");
    assert_eq!(cells[4], "");
    assert!(cells[5].contains("ZeroDivisionError"));
    assert_eq!(cells[6], "0\n1\n2\n|6");
    let counts: Vec<Option<u64>> = notebook.cells.iter().map(Cell::execution_count).collect();
    assert_eq!(counts, [None, Some(1), Some(2), Some(3), None, Some(4), Some(5), None]);
    assert_eq!(notebook.metadata().unwrap()["papermill"]["parameters"]["depth"], 3);

    assert!(watcher.lines().contains(&"2".to_owned()));
    assert_eq!(watcher.steps().last(), Some(&(5, Some(5))));
    let page = html::export(&notebook, "n");
    assert!(page.contains("ZeroDivisionError") && !page.contains('\u{1b}'));
}

#[tokio::test]
async fn the_same_run_gives_the_same_bytes() {
    let Some(work) = Work::new() else { return };
    let request = |name: &str| ExecuteRequest {
        output: work.path(name),
        ..work.request(&[
            ("import sys\nfor i in range(50):\n    print(i)\n    print(i, file=sys.stderr)", &[]),
            ("{'a': 1}", &[]),
        ])
    };
    let (one, two) = (request("one.ipynb"), request("two.ipynb"));
    let (one, two) = tokio::join!(execute(one), execute(two));
    assert_eq!((one.unwrap().cells_run, two.unwrap().cells_run), (2, 2));
    let read = |name: &str| std::fs::read_to_string(work.path(name)).unwrap();
    assert_eq!(read("one.ipynb"), read("two.ipynb"));
}

#[tokio::test]
async fn displays_are_updated_cleared_and_read_as_metrics() {
    let Some(work) = Work::new() else { return };
    let scrap = "from IPython.display import display, clear_output\n\
        mime = 'application/scrapbook.scrap.json+json'\n\
        display({mime: {'name': 'auc', 'data': 0.71, 'encoder': 'json', 'version': 1}}, raw=True)\n\
        shown = display('before', display_id=True)";
    let executed = execute(work.request(&[
        (scrap, &[]),
        ("shown.update('after')\nprint('gone')\nclear_output()\nprint('kept')", &[]),
        ("import sys\nsys.exit(0)", &[]),
        ("print('never')", &[]),
    ]))
    .await
    .unwrap();
    assert_eq!(executed.metrics, BTreeMap::from([("auc".to_owned(), 0.71)]));
    assert_eq!(executed.cells_run, 3);
    let cells: Vec<String> = work.executed().cells.iter().map(text).collect();
    assert!(cells[1].contains("'after'") && !cells[1].contains("before"), "{cells:?}");
    assert_eq!(cells[2], "kept\n");
    assert_eq!(cells[4], "");
}

#[tokio::test]
async fn what_a_tagged_cell_shows_is_read_and_one_that_shows_nothing_is_told() {
    let Some(work) = Work::new() else { return };
    let maps = "from collections import Counter, OrderedDict\nfrom decimal import Decimal\n\
        print({'printed': Decimal('0.25'), 'by': OrderedDict(a=1)})\n\
        {'acc': 0.5, 'loss': float('nan'), 'up': float('inf'), 'of': object(), 'name': 'rf'}";
    let executed = execute(work.request(&[
        (maps, &["metrics"]),
        ("Counter(k=3)", &["metrics"]),
        ("'rf'", &["metrics"]),
        ("x = 0.5", &["metrics"]),
        ("object()", &["outputs"]),
    ]))
    .await
    .unwrap();
    let mut metrics = executed.metrics.clone();
    assert!(metrics.remove("loss").is_some_and(f64::is_nan), "{metrics:?}");
    let expected = [("acc", 0.5), ("by.a", 1.0), ("k", 3.0), ("printed", 0.25), ("up", f64::INFINITY)];
    assert_eq!(metrics, expected.map(|(name, value)| (name.to_owned(), value)).into());
    assert_eq!(executed.notes.len(), 3, "{:?}", executed.notes);
    assert!(executed.notes[0].starts_with("cell 3 is tagged `metrics` and gave no number"));
    assert!(executed.notes[2].starts_with("cell 5 is tagged `outputs` and gave no value"));
    let written = serde_json::to_string(&executed).unwrap();
    let read: rondo_notebook::execute::Executed = serde_json::from_str(&written).unwrap();
    assert_eq!(read.metrics["up"], f64::INFINITY);
    assert!(read.metrics["loss"].is_nan());
}

#[tokio::test]
async fn files_left_open_are_written_at_the_end() {
    let Some(work) = Work::new() else { return };
    let leave = "f = open('left.txt', 'w')\nf.write('whole')\nimport atexit\n\
        atexit.register(lambda: open('exit.txt', 'w').close())\nNone";
    execute(work.request(&[(leave, &[])])).await.unwrap();
    assert_eq!(std::fs::read_to_string(work.path("left.txt")).unwrap(), "whole");
    assert_eq!(names(&work.path("")), ["exit.txt", "in.ipynb", "left.txt", "out.ipynb"]);
}

#[tokio::test]
async fn a_kernel_that_is_not_installed_is_told_once_where_python_stands_for_it() {
    let Some(work) = Work::new() else { return };
    let watcher = Watcher::default();
    let mut notebook = Notebook::new("my-thesis", "python");
    notebook.cells = vec![Cell::code("1", &[])];
    let request =
        ExecuteRequest { notebook: Some(notebook), progress: Arc::new(watcher.clone()), ..work.request(&[]) };
    let executed = execute(request).await.unwrap();
    let python = work.python.display();
    let told = format!("the kernel `my-thesis` is not installed: the notebook runs on `{python}`");
    assert_eq!((executed.notes, watcher.notes()), (vec![told.clone()], vec![told]));
}

#[tokio::test]
async fn the_copy_has_each_cell_that_has_ended_also_quick_ones() {
    let Some(work) = Work::new() else { return };
    let wait = "import time\nwhile 'the ' + 'last' not in open('out.ipynb').read(): time.sleep(0.01)";
    let request = ExecuteRequest {
        autosave: None,
        cell_timeout: Some(std::time::Duration::from_secs(60)),
        ..work.request(&[("0", &[]), ("1", &[]), ("2", &[]), ("print('the', 'last')", &[]), (wait, &[])])
    };
    assert_eq!(execute(request).await.unwrap().cells_run, 5);
}

#[tokio::test]
async fn processes_that_cells_started_end_with_the_kernel() {
    let Some(work) = Work::new() else { return };
    // Told from those of another test run by its length.
    let length = format!("4815.{}", std::process::id());
    let start = format!(
        "import subprocess\nsubprocess.Popen(['sleep', '{length}'])\nsubprocess.Popen(['setsid', 'true'])\nNone"
    );
    execute(work.request(&[(&start, &[])])).await.unwrap();
    // The system takes a moment over what was killed; what was not is there until the test is given up.
    while crate::work::is_running(&length) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn daemons_that_cells_started_are_ended_and_named_however_the_run_ends() {
    let Some(work) = Work::new() else { return };
    let length = format!("4816.{}", std::process::id());
    let start =
        format!("import subprocess\n_ = subprocess.Popen(['sleep', '{length}'], start_new_session=True)");
    let (empty, env) = (Notebook::new("python3", "python"), BTreeMap::new());
    let fork = Some(Arc::new(ForkServer::start(&work.python, &empty, &env).await.unwrap()));
    for (last, fork) in [("1", None), ("1/0", None), ("import os; os._exit(3)", None), ("1", fork)] {
        let watcher = Watcher::default();
        let request = work.request(&[(&start, &[]), (last, &[])]);
        let request = ExecuteRequest { progress: Arc::new(watcher.clone()), fork, ..request };
        assert_eq!(execute(request).await.is_ok(), last == "1");
        let notes = watcher.notes();
        assert!(
            matches!(&notes[..], [note] if note.starts_with("it left running what was then ended: sleep (")),
            "{last}: {notes:?}"
        );
        while crate::work::is_running(&length) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn daemons_that_a_cell_forked_without_a_program_are_ended_too() {
    let Some(work) = Work::new() else { return };
    let cells: &[(&str, &[&str])] = &[(
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    with open('pid.new', 'w') as file:\n        \
         file.write(str(os.getpid()))\n    os.rename('pid.new', 'pid')\n    while True:\n        time.sleep(60)\n\
         while not os.path.exists('pid'):\n    time.sleep(0.01)",
        &[],
    )];
    let (empty, env) = (Notebook::new("python3", "python"), BTreeMap::new());
    let fork = Some(Arc::new(ForkServer::start(&work.python, &empty, &env).await.unwrap()));
    for fork in [None, fork] {
        let watcher = Watcher::default();
        let request = ExecuteRequest { progress: Arc::new(watcher.clone()), fork, ..work.request(cells) };
        execute(request).await.unwrap();
        let daemon = std::fs::read_to_string(work.path("pid")).unwrap();
        let notes = watcher.notes();
        assert!(matches!(&notes[..], [note] if note.contains(&format!("({daemon})"))), "{notes:?}");
        // The system takes a moment over what was killed; what was not is there until the test is given up.
        let is_there = || {
            let stat = std::fs::read_to_string(format!("/proc/{daemon}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        while is_there() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        std::fs::remove_file(work.path("pid")).unwrap();
    }
}

#[tokio::test]
async fn a_notebook_may_be_run_in_place_and_is_replaced_at_the_end() {
    let Some(work) = Work::new() else { return };
    let seen = "import pathlib\nprint('print(1)' in pathlib.Path('in.ipynb').read_text(), \
        len(list(pathlib.Path('.').glob('.in.*.running.ipynb'))))";
    for last in ["print(1)", "1/0  # print(1)"] {
        let watcher = Watcher::default();
        let mut request = work.request(&[(seen, &[]), (last, &[])]);
        request.output = request.input.clone();
        request.progress = Arc::new(watcher.clone());
        let input = request.input.clone();
        assert_eq!(execute(request).await.is_ok(), last == "print(1)");
        assert_eq!(names(&work.path("")), ["in.ipynb"], "nothing is left beside it");
        let notebook = Notebook::read(&input).unwrap();
        assert!(notebook.cells.iter().any(|cell| text(cell) == "True 1\n"), "{last}");
        assert!(watcher.notes()[0].contains("is replaced when the run has ended"));
    }
    // A kernel that never starts leaves it as it was.
    let mut request = work.request(&[("print(1)", &[])]);
    request.output = request.input.clone();
    request.kernel = KernelChoice::python("/no/such/python");
    let before = std::fs::read(&request.input).unwrap();
    let input = request.input.clone();
    assert!(execute(request).await.is_err());
    assert_eq!(
        (std::fs::read(&input).unwrap(), names(&work.path(""))),
        (before, vec!["in.ipynb".to_owned()])
    );
}

#[tokio::test]
async fn an_old_notebook_is_run_as_if_it_were_new() {
    let Some(work) = Work::new() else { return };
    let mut request = work.request(&[]);
    let old = json!({
        "metadata": { "name": "" }, "nbformat": 3, "nbformat_minor": 0, "worksheets": [{ "cells": [
            { "cell_type": "heading", "level": 1, "source": "Old" },
            { "cell_type": "code", "input": "x = 1", "language": "python", "metadata": { "tags": ["parameters"] },
              "outputs": [{ "output_type": "pyout", "prompt_number": 1, "text": "gone" }] },
            { "cell_type": "code", "input": ["x"], "language": "python", "metadata": {}, "outputs": [] },
        ]}],
    });
    std::fs::write(&request.input, old.to_string()).unwrap();
    request.given.values = given(json!({"x": 5}));
    execute(request).await.unwrap();
    let notebook = work.executed();
    assert_eq!((notebook.cells[0].source().as_str(), text(&notebook.cells[3]).as_str()), ("# Old", "5"));
}

#[tokio::test]
async fn a_percent_script_is_a_notebook_and_times_are_kept_when_wanted() {
    let Some(work) = Work::new() else { return };
    let script = work.path("train.py");
    std::fs::write(
        &script,
        "# %% [markdown]\n# # Hi\n# %% tags=[\"parameters\"]\nn = 1\n# %%\nprint(n + 1)\n",
    )
    .unwrap();
    let request = ExecuteRequest {
        input: script,
        given: Given { values: given(json!({"n": 41})), ..Given::default() },
        timestamps: true,
        ..work.request(&[])
    };
    execute(request).await.unwrap();
    let notebook = work.executed();
    assert_eq!(text(notebook.cells.last().unwrap()), "42\n");
    let record = &notebook.metadata().unwrap()["papermill"];
    assert!(record["start_time"].is_string() && record["duration"].is_number());
}

#[tokio::test]
async fn outputs_beyond_the_limit_are_dropped_from_the_copy_alone_and_the_run_goes_on() {
    let Some(work) = Work::new() else { return };
    let watcher = Watcher::default();
    let request = ExecuteRequest {
        output_limit: 10_000,
        stdout: Some(work.path("printed.txt")),
        progress: Arc::new(watcher.clone()),
        ..work.request(&[("for _ in range(20_000): print('x' * 100)", &[]), ("print('next')", &[])])
    };
    execute(request).await.unwrap();
    let notebook = work.executed();
    let first = text(&notebook.cells[1]);
    assert!(first.len() < 10_200 && first.contains("dropped"), "{}", first.len());
    assert_eq!(text(&notebook.cells[2]), "next\n");
    assert_eq!(watcher.lines().len(), 20_001);
    assert_eq!(std::fs::read_to_string(work.path("printed.txt")).unwrap().lines().count(), 20_001);
}

#[tokio::test]
async fn r_takes_parameters_and_gives_metrics() {
    let Some(work) = Work::new() else { return };
    let data_dirs = vec!["/usr/share/jupyter".into(), "/usr/local/share/jupyter".into()];
    if !data_dirs.iter().any(|folder: &std::path::PathBuf| folder.join("kernels/ir/kernel.json").exists()) {
        eprintln!("skipped: no IRkernel (Debian's `r-cran-irkernel`)");
        return;
    }
    let document = "---\njupyter: ir\n---\n```{r}\n#| tags: [parameters]\nn.rows <- 3L # rows\nlabel <- \"x\"\n```\n\
                    ```{r}\nd <- data.frame(a = 1:n.rows); d\n```\n\
                    ```{r}\n#| tags: [metrics]\ncat('rows =', nrow(d), '\\n'); 0.5\n```\n\
                    ```{r}\nstop(label)\n```\n";
    let input = work.path("in.qmd");
    std::fs::write(&input, document).unwrap();
    let kernel = KernelChoice { data_dirs, ..KernelChoice::default() };
    let mut request = ExecuteRequest::new(input, work.path("out.ipynb"), kernel);
    request.given.values = given(json!({"n.rows": 5, "label": "it's \"over\" $x"}));
    let error = execute(request).await.unwrap_err();
    assert!(error.to_string().contains("it's \"over\" $x"), "{error}");
    let notebook = work.executed();
    let values = rondo_notebook::metrics::numbers(&rondo_notebook::metrics::of(&notebook));
    assert_eq!(values, [("rows".to_owned(), 5.0)].into());
    let page = html::export(&notebook, "r");
    assert!(page.contains("<table>"), "the data frame is a table of the page");
}

#[tokio::test]
async fn a_notebook_can_be_prepared_without_being_run() {
    let Some(work) = Work::new() else { return };
    let mut request = work.request(&[("x = 1", &["parameters"]), ("print(x)", &[])]);
    request.given.values = given(json!({"x": 2}));
    request.report_mode = true;
    prepare_only(request).unwrap();
    let notebook = work.executed();
    assert_eq!(notebook.cells[2].source(), "# Parameters\nx = 2\n");
    assert!(notebook.cells.iter().all(|cell| cell.outputs().is_empty()));
    assert_eq!(notebook.cells[3].metadata().unwrap()["jupyter"]["source_hidden"], true);
}

#[tokio::test]
async fn cells_below_a_stop_are_not_run_and_scraps_are_given() {
    let Some(work) = Work::new() else { return };
    let glue = "from IPython.display import display\n\
        display({'application/scrapbook.scrap.json+json': {'name': 'auc', 'data': 0.7, 'encoder': 'json', \
        'version': 1}}, raw=True)\n\
        display({'application/scrapbook.scrap.text+json': {'name': 'note', 'data': 'fine', 'encoder': 'text', \
        'version': 1}}, raw=True)";
    let cells: &[(&str, &[&str])] = &[
        (glue, &[]),
        ("{'loss': 0.25, 'by': {'a': 1}}", &["outputs"]),
        ("print('end')", &["stop"]),
        ("1/0", &[]),
    ];
    let executed = execute(work.request(cells)).await.unwrap();
    assert_eq!((executed.cells_run, executed.halt), (2, Some(Halt::Tag(3, 4))));
    assert_eq!(Halt::Tag(3, 4).to_string(), "stopped before cell 3 of 4, by the tag `stop`");
    let metrics: Vec<(&str, f64)> =
        executed.metrics.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(metrics, [("auc", 0.7), ("by.a", 1.0), ("loss", 0.25)]);
    assert_eq!(executed.outputs["note"], "fine");
}

#[tokio::test]
async fn a_long_cell_is_written_while_it_runs() {
    let Some(work) = Work::new() else { return };
    let watcher = Watcher::default();
    let (stop, cancel) = tokio::sync::watch::channel(false);
    let request = ExecuteRequest {
        autosave: Some(std::time::Duration::from_millis(1)),
        cancel,
        progress: Arc::new(watcher.clone()),
        ..work.request(&[("print('so far', flush=True)\nimport time; time.sleep(86400)", &[])])
    };
    let run = tokio::spawn(execute(request));
    let written =
        || std::fs::read_to_string(work.path("out.ipynb")).is_ok_and(|text| text.contains("so far\\n"));
    while !written() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    stop.send(true).unwrap();
    run.await.unwrap().unwrap_err();
}
