//! Kernels that are forked from one process.

use std::sync::Arc;
use std::time::Duration;

use rondo_notebook::document::Notebook;
use rondo_notebook::execute::{ExecuteRequest, execute};
use rondo_notebook::kernel::fork::ForkServer;

use crate::work::{Work, text};

async fn server(work: &Work, cells: &[(&str, &[&str])]) -> Arc<ForkServer> {
    let notebook = Notebook::read(&work.notebook(cells)).unwrap();
    Arc::new(ForkServer::start(&work.python, &notebook, &Default::default()).await.unwrap())
}

#[tokio::test]
async fn forked_kernels_are_processes_of_their_own_with_nothing_left_of_each_other() {
    let Some(work) = Work::new() else { return };
    let cells: &[(&str, &[&str])] = &[
        ("import os, sys, decimal\nprint('decimal' in sys.modules, 'seen' in globals(), os.getcwd())", &[]),
        ("seen = 1\nimport random\nprint(random.random(), os.getpid())", &[]),
    ];
    let fork = server(&work, cells).await;
    let mut said = Vec::new();
    for _ in 0..2 {
        let request = ExecuteRequest { fork: Some(fork.clone()), ..work.request(cells) };
        let executed = execute(request).await.unwrap();
        assert!(executed.peak_memory.is_some_and(|bytes| bytes > 1_000_000));
        let notebook = work.executed();
        let here = std::fs::canonicalize(work.path("")).unwrap();
        assert_eq!(text(&notebook.cells[1]), format!("True False {}\n", here.display()));
        said.push(text(&notebook.cells[2]));
    }
    assert_ne!(said[0], said[1], "the same random numbers in the same process");
}

#[tokio::test]
async fn a_kernel_is_to_its_cells_what_its_own_launcher_makes_of_it() {
    let Some(work) = Work::new() else { return };
    let cells: &[(&str, &[&str])] = &[
        (
            "import gc, os, sys\nprint(os.path.basename(sys.argv[0]), sys.argv[1], sys.path[0] in ('', os.getcwd()), \
          gc.isenabled(), __name__, 'launcher' in globals())",
            &[],
        ),
        ("import debugpy\nprint(callable(debugpy.breakpoint))", &[]),
    ];
    let fork = server(&work, cells).await;
    for fork in [None, Some(fork)] {
        execute(ExecuteRequest { fork, ..work.request(cells) }).await.unwrap();
        let notebook = work.executed();
        assert_eq!(text(&notebook.cells[1]), "ipykernel_launcher.py -f False True __main__ False\n");
        assert_eq!(text(&notebook.cells[2]), "True\n");
    }
}

#[tokio::test]
async fn a_forked_kernel_that_dies_says_how_and_its_server_forks_the_next() {
    let Some(work) = Work::new() else { return };
    let cells: &[(&str, &[&str])] = &[("import os\nos.write(2, b'last words\\n')\nos._exit(3)", &[])];
    let fork = server(&work, cells).await;
    for _ in 0..2 {
        let request = ExecuteRequest { fork: Some(fork.clone()), ..work.request(cells) };
        let error = execute(request).await.unwrap_err();
        assert!(error.to_string().contains("exited with code 3"), "{error}");
    }
}

#[tokio::test]
async fn imports_that_start_threads_are_not_forked_and_missing_packages_are_named() {
    let Some(work) = Work::new() else { return };
    let site = work.path("site");
    std::fs::create_dir_all(&site).unwrap();
    let module = "import threading, time\nthreading.Thread(target=time.sleep, args=(99,), daemon=True, name='busy one').start()";
    std::fs::write(site.join("threaded.py"), module).unwrap();
    let notebook = Notebook::read(&work.notebook(&[("import threaded", &[])])).unwrap();
    let env = [("PYTHONPATH".to_owned(), site.to_string_lossy().into_owned())].into();
    let refused = ForkServer::start(&work.python, &notebook, &env).await.unwrap_err();
    assert!(refused.to_string().contains("busy one"), "{refused}");
    let refused = ForkServer::start(std::path::Path::new("/bin/false"), &notebook, &env).await.unwrap_err();
    assert!(refused.to_string().contains("`/bin/false`"), "{refused}");
}

/// The pipes of forked kernels that this process holds open.
fn open_pipes() -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(Result::ok);
    let targets = links.filter_map(|link| std::fs::read_link(link.path()).ok());
    let is_pipe = |target: &std::path::PathBuf| {
        let name = target.to_string_lossy();
        name.contains("/rondo-kernel-") && ["/out", "/err"].iter().any(|end| name.contains(end))
    };
    targets.filter(is_pipe).count()
}

#[tokio::test]
async fn a_forked_kernel_that_has_ended_leaves_no_pipe_open() {
    let Some(work) = Work::new() else { return };
    let cells: &[(&str, &[&str])] = &[("1", &[])];
    let fork = server(&work, cells).await;
    for _ in 0..2 {
        execute(ExecuteRequest { fork: Some(fork.clone()), ..work.request(cells) }).await.unwrap();
    }
    let closed = async {
        while open_pipes() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), closed).await.is_ok(), "{} pipes", open_pipes());
}
