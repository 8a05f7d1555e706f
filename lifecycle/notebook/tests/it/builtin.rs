//! The package `papermill` as a pipeline calls it, and kernels that have to be looked up.

use std::collections::BTreeMap;
use std::sync::Arc;

use rondo_core::handoff::StepInputs;
use rondo_core::ports::{Builtin, BuiltinCall, Unwatched};
use rondo_core::{Digest, Explain, RunId};
use rondo_notebook::builtin::Papermill;
use rondo_notebook::document::Notebook;
use rondo_notebook::execute::{ExecuteRequest, execute};
use rondo_notebook::kernel::KernelChoice;
use rondo_notebook::parameters::Given;
use serde_json::{Value, json};

use crate::work::{Watcher, Work, text};

fn call(work: &Work, with: Value) -> BuiltinCall {
    let step = StepInputs {
        project: "p".to_owned(),
        step: "train".to_owned(),
        run: RunId::random(),
        key: Digest::of(b"key"),
        params: BTreeMap::new(),
        inputs: BTreeMap::new(),
        outputs: BTreeMap::from([
            ("model".to_owned(), work.path("made/model.txt")),
            ("report".to_owned(), work.path("made/report.ipynb")),
        ]),
        read: BTreeMap::new(),
        metrics: None,
    };
    BuiltinCall {
        step,
        with: with.as_object().unwrap().clone().into_iter().collect(),
        root: work.path(""),
        scratch: work.path("scratch"),
        environment: BTreeMap::from([("RONDO_OUTPUT_MODEL".to_owned(), "made/model.txt".to_owned())]),
        python: Some(work.python.clone()),
        confinement: None,
        stop: tokio::sync::watch::channel(false).1,
        progress: Arc::new(Unwatched),
    }
}

#[tokio::test]
async fn a_step_makes_its_outputs_and_keeps_the_executed_notebook() {
    let Some(work) = Work::new() else { return };
    let write = "import os, pathlib\npath = pathlib.Path(os.environ['RONDO_OUTPUT_MODEL'])\n\
        path.parent.mkdir(exist_ok=True)\npath.write_text(str(depth))";
    work.notebook(&[("depth = 6", &["parameters"]), (write, &[])]);
    let with = json!({"notebook": "in.ipynb", "parameters": {"depth": 3}});
    let result = Papermill::default().run(call(&work, with)).await.unwrap();
    assert_eq!(std::fs::read_to_string(work.path("made/model.txt")).unwrap(), "3");
    assert!(result.artifacts.is_empty(), "what is kept lies where it is kept however the step ends");
    let kept = work.path("scratch/kept/notebook/in.ipynb");
    assert_eq!(std::fs::read(&kept).unwrap(), std::fs::read(work.path("made/report.ipynb")).unwrap());
    assert!(kept.with_extension("html").is_file());
    crate::environment::validate(&work.python, &kept);
}

#[tokio::test]
async fn a_step_that_is_to_stop_interrupts_its_cell() {
    let Some(work) = Work::new() else { return };
    let cell = "import pathlib, time\ntry:\n    pathlib.Path('begun').touch()\n    time.sleep(1000)\n\
        finally:\n    pathlib.Path('tidied').touch()";
    work.notebook(&[(cell, &[])]);
    let (tell, stop) = tokio::sync::watch::channel(false);
    let call = BuiltinCall { stop, ..call(&work, json!({"notebook": "in.ipynb"})) };
    let package = Papermill::default();
    assert!(package.stops());
    let teller = async {
        while !work.path("begun").exists() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        tell.send(true).unwrap();
    };
    let (ended, ()) = tokio::join!(package.run(call), teller);
    ended.unwrap_err();
    assert!(work.path("tidied").exists());
    let copy = std::fs::read_to_string(work.path("scratch/kept/notebook/in.ipynb")).unwrap();
    assert!(copy.contains("KeyboardInterrupt"), "{copy}");
}

#[tokio::test]
async fn a_step_that_fails_says_why_in_one_sentence_and_its_log_has_the_traceback() {
    let Some(work) = Work::new() else { return };
    work.notebook(&[("def train():\n    raise ValueError('kaputt\\nin two lines')\ntrain()", &[])]);
    let watcher = Watcher::default();
    let mut call =
        BuiltinCall { progress: Arc::new(watcher.clone()), ..call(&work, json!({"notebook": "in.ipynb"})) };
    call.step.outputs.clear();
    let error = Papermill::default().run(call).await.unwrap_err();
    let notebook = work.path("in.ipynb");
    assert_eq!(error.to_string(), format!("run cell 1 of `{}`: ValueError: kaputt", notebook.display()));
    assert!(rondo_core::error::causes(error.as_ref()).is_empty());
    assert_eq!((error.code(), error.hints().len()), (rondo_core::Code::NotebookFailed, 1));
    let lines = watcher.lines();
    assert_eq!(lines.iter().filter(|line| line.starts_with("ValueError  ")).count(), 1, "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("----> 3 train()")), "{lines:?}");
}

#[tokio::test]
async fn a_step_has_the_variables_that_it_is_given_and_none_of_who_started_it() {
    let Some(work) = Work::new() else { return };
    // Whoever runs tests sets this one.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let source = "import os\nprint(os.environ.get('CARGO_MANIFEST_DIR'), os.environ['RONDO_OUTPUT_MODEL'])";
    work.notebook(&[(source, &[])]);
    let mut call = call(&work, json!({"notebook": "in.ipynb"}));
    call.step.outputs.clear();
    Papermill::default().run(call).await.unwrap();
    let executed = Notebook::read(&work.path("scratch/kept/notebook/in.ipynb")).unwrap();
    assert_eq!(text(executed.cells.last().unwrap()), "None made/model.txt\n");
}

#[tokio::test]
async fn without_an_environment_the_interpreter_of_the_path_runs_it() {
    let Some(work) = Work::new() else { return };
    work.notebook(&[("1", &[])]);
    let mut call = call(&work, json!({"notebook": "in.ipynb"}));
    call.python = None;
    let folder = work.python.parent().unwrap().display();
    call.environment.insert("PATH".to_owned(), format!("{folder}:/usr/bin:/bin"));
    Papermill::default().run(call).await.unwrap();
    assert!(work.path("scratch/kept/notebook/in.ipynb").is_file());
}

#[tokio::test]
async fn an_output_that_the_step_does_not_declare_is_refused() {
    let Some(work) = Work::new() else { return };
    work.notebook(&[("1", &[])]);
    let with = json!({"notebook": "in.ipynb", "output": "reprot"});
    let error = Papermill::default().run(call(&work, with)).await.unwrap_err();
    assert!(error.to_string().contains("did you mean `report`?"), "{error}");
    let _: &dyn Explain = &*error;
}

#[tokio::test]
async fn a_kernel_that_knows_no_unix_sockets_is_started_on_ports() {
    let Some(work) = Work::new() else { return };
    // A real kernel behind a launcher that refuses Unix sockets, as some kernels do.
    let launcher = work.path("launcher.py");
    let script = "import json, sys\n\
        if json.load(open(sys.argv[1]))['transport'] != 'tcp':\n    sys.exit('only tcp')\n\
        sys.argv = ['k', '-f', sys.argv[1]]\n\
        from ipykernel import kernelapp\nkernelapp.launch_new_instance()\n";
    std::fs::write(&launcher, script).unwrap();
    let folder = work.path("data/kernels/odd");
    std::fs::create_dir_all(&folder).unwrap();
    let spec = json!({
        "argv": ["python", launcher, "{connection_file}"],
        "language": "python",
        "display_name": "Odd",
        "interrupt_mode": "message",
        "env": {"ODD": "yes"},
    });
    std::fs::write(folder.join("kernel.json"), spec.to_string()).unwrap();
    let kernel = KernelChoice {
        name: Some("odd".to_owned()),
        python: Some(work.python.clone()),
        data_dirs: vec![work.path("data")],
        ..KernelChoice::default()
    };
    let request = ExecuteRequest { kernel, ..work.request(&[("import os; print(os.environ['ODD'])", &[])]) };
    execute(request).await.unwrap();
    assert_eq!(text(work.executed().cells.last().unwrap()), "yes\n");
}

#[tokio::test]
async fn a_notebook_in_another_language_runs_on_its_own_kernel() {
    let Some(work) = Work::new() else { return };
    let script = work.path("in.sh");
    std::fs::write(&script, "# %% tags=[\"parameters\"]\nname=nobody\n# %%\necho \"hello $name\" $FROM\n")
        .unwrap();
    let request = ExecuteRequest {
        input: script,
        given: Given {
            values: BTreeMap::from([("name".to_owned(), json!("it's $HOME; exit 1"))]),
            ..Given::default()
        },
        env: BTreeMap::from([("FROM".to_owned(), "rondo".to_owned())]),
        ..work.request(&[])
    };
    let executed = execute(request).await.unwrap();
    assert_eq!(executed.cells_run, 3);
    assert_eq!(text(work.executed().cells.last().unwrap()).trim(), "hello it's $HOME; exit 1 rondo");
}

#[tokio::test]
async fn a_failing_cell_of_another_language_fails_the_run() {
    let Some(work) = Work::new() else { return };
    let script = work.path("in.sh");
    std::fs::write(&script, "# %%\nls /there/is/no/such\n# %%\necho never\n").unwrap();
    let request = ExecuteRequest { input: script, ..work.request(&[]) };
    let error = execute(request).await.unwrap_err();
    assert_eq!(error.code(), rondo_core::Code::NotebookFailed, "{error}");
    assert_eq!(text(work.executed().cells.last().unwrap()), "");
}
