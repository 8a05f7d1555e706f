//! Kernels that misbehave: they take too much memory, never answer, say too much, or close their ears.

use std::collections::BTreeMap;
use std::time::Duration;

use rondo_core::{Code, Explain};
use rondo_notebook::Error;
use rondo_notebook::execute::{ExecuteRequest, execute};
use rondo_notebook::kernel::KernelChoice;
use rondo_notebook::kernel::memory::MemoryCause;
use serde_json::json;

use crate::work::{Work, text};

#[tokio::test]
async fn a_kernel_that_takes_too_much_memory_is_killed_and_said_so() {
    let Some(work) = Work::new() else { return };
    let greedy = "parts = []\nwhile True:\n    parts.append(bytearray(20_000_000))";
    let request =
        ExecuteRequest { memory: Some(300_000_000), ..work.request(&[("x = 1", &[]), (greedy, &[])]) };
    let error = execute(request).await.unwrap_err();
    assert_eq!(error.code(), Code::KernelDied);
    let Error::KernelDied { memory, exit, at, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*memory, Some(MemoryCause::Limit(300_000_000)), "{error}");
    assert_eq!((exit.signal, at.cell), (Some(libc::SIGKILL), Some(2)));
    assert!(error.to_string().contains("it took more than its 300 MB"), "{error}");
    assert!(error.hints().iter().any(|hint| hint.contains("--memory")));
    assert!(work.executed().cells[0].source().contains("stopped with an error"));
}

#[tokio::test]
async fn within_its_limit_a_kernel_runs_as_ever() {
    let Some(work) = Work::new() else { return };
    let request = ExecuteRequest { memory: Some(2_000_000_000), ..work.request(&[("print(1)", &[])]) };
    assert_eq!(execute(request).await.unwrap().cells_run, 1);
}

/// A kernel of a name of its own whose command is a shell's.
fn kernel(work: &Work, script: &str) -> KernelChoice {
    let folder = work.path("jupyter/kernels/odd");
    std::fs::create_dir_all(&folder).unwrap();
    let spec = json!({"argv": ["/bin/sh", "-c", script], "language": "python", "display_name": "odd"});
    std::fs::write(folder.join("kernel.json"), spec.to_string()).unwrap();
    KernelChoice {
        name: Some("odd".to_owned()),
        data_dirs: vec![work.path("jupyter")],
        ..KernelChoice::default()
    }
}

#[tokio::test]
async fn a_kernel_that_never_answers_is_given_up_with_its_last_words() {
    let Some(work) = Work::new() else { return };
    let request = ExecuteRequest {
        kernel: kernel(&work, "echo I am not a kernel >&2; sleep 86400"),
        start_timeout: Duration::from_secs(1),
        ..work.request(&[("1", &[])])
    };
    let error = execute(request).await.unwrap_err();
    assert!(error.to_string().contains("not ready after 1 s"), "{error}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "I am not a kernel");
}

#[tokio::test]
async fn a_kernel_that_dies_at_its_start_says_why() {
    let Some(work) = Work::new() else { return };
    let kernel = kernel(&work, "echo no licence >&2; exit 9");
    let error = execute(ExecuteRequest { kernel, ..work.request(&[("1", &[])]) }).await.unwrap_err();
    assert!(error.to_string().contains("exited with code 9 before it was ready"), "{error}");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "no licence");
}

#[tokio::test]
async fn the_last_words_of_a_kernel_that_does_not_start_hold_no_secret() {
    let Some(work) = Work::new() else { return };
    let kernel = kernel(&work, "echo no licence for $RONDO_SECRET_TOKEN >&2; exit 9");
    let mut request = ExecuteRequest { kernel, ..work.request(&[("token = ''  # secret", &["parameters"])]) };
    request.given.values = BTreeMap::from([("token".to_owned(), json!("hunter-22"))]);
    let error = execute(request).await.unwrap_err();
    let said = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(said, "no licence for [secret token]");
}

#[tokio::test]
async fn a_kernel_that_closes_its_sockets_is_not_waited_for() {
    let Some(work) = Work::new() else { return };
    let close = "import glob, os\n\
        folder = os.path.dirname(os.environ['IPYTHONDIR'])\n\
        for path in glob.glob(folder + '/k-*'): os.remove(path)\n\
        import time; time.sleep(86400)";
    let error = execute(work.request(&[(close, &[])])).await.unwrap_err();
    assert!(error.to_string().contains("closed its sockets"), "{error}");
}

#[tokio::test]
async fn what_is_printed_without_end_is_cut_and_the_run_goes_on() {
    let Some(work) = Work::new() else { return };
    let request = ExecuteRequest {
        output_limit: 100_000,
        ..work.request(&[
            ("for _ in range(20):\n    print('x' * 1_000_000)\nlast = 'still here'", &[]),
            ("print(last)", &[]),
        ])
    };
    execute(request).await.unwrap();
    let notebook = work.executed();
    assert!(text(&notebook.cells[1]).contains("were dropped"));
    assert!(text(&notebook.cells[1]).len() < 101_000);
    assert_eq!(text(&notebook.cells[2]), "still here\n");
}

#[tokio::test]
async fn secrets_reach_the_code_and_stand_nowhere() {
    let Some(work) = Work::new() else { return };
    let mut request = work.request(&[
        ("token = ''  # secret\nn = 1", &["parameters"]),
        ("print('it is', token)\nfor c in token: print(c, end='')\ntoken", &[]),
        ("import base64; base64.b64encode(token.encode()).decode()", &[]),
        ("raise ValueError('no ' + token)", &["raises-exception"]),
        ("assert token == 'hunter-22', 'not handed over'\nprint(len(token))", &["metrics"]),
        ("raise RuntimeError('at last ' + token)", &[]),
    ]);
    request.given.values = BTreeMap::from([("token".to_owned(), json!("hunter-22"))]);
    request.stdout = Some(work.path("out.txt"));
    let watcher = crate::work::Watcher::default();
    request.progress = std::sync::Arc::new(watcher.clone());
    let error = execute(request).await.unwrap_err();
    let bytes = std::fs::read_to_string(work.path("out.ipynb")).unwrap();
    let said = format!("{error} {:?} {:?}", error, watcher.lines());
    let file = std::fs::read_to_string(work.path("out.txt")).unwrap();
    for place in [&bytes, &said, &file] {
        assert!(!place.contains("hunter-22") && !place.contains("aHVudGVyLTIy"), "{place}");
        assert!(place.contains("[secret token]"), "{place}");
    }
    assert!(error.to_string().ends_with("RuntimeError: at last [secret token]"), "{error}");
    work.executed();
}
