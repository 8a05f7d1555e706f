//! Environments made by the real `uv` from a real package index; skipped, saying so, where there is none.

use std::sync::Arc;

use rondo_core::ports::Event;
use rondo_pipeline::{Error, RunRequest};
use tokio::sync::watch;

use crate::lab::{Lab, all_good, outcomes};

const PROJECT: &str = r#"
project: p
environments: { py: { python: ">=3.8", requirements: requirements.txt } }
steps:
  say: { run: "python -c 'import iniconfig, sys; print(sys.prefix != sys.base_prefix)' > ${{ outputs.o }}", environment: py, outputs: { o: o } }
  sum: { sql: sum.sql, inputs: [say.o], outputs: { s: s.parquet, t: t.csv } }
"#;

/// The network is not there, or nothing that could make an environment.
fn is_unavailable(error: &Error) -> bool {
    let text = error.to_string().to_lowercase();
    match error {
        Error::UvMissing { .. } => true,
        Error::PythonMissing { .. } => std::process::Command::new("python3").arg("-V").output().is_err(),
        Error::EnvironmentFailed { .. } => {
            ["connect", "dns", "network", "timed out", "failed to fetch", "no solution", "offline"]
                .iter()
                .any(|word| text.contains(word))
        }
        _ => false,
    }
}

async fn lab() -> Option<Lab> {
    let lab = Lab::new().await;
    lab.write("rondo.yaml", PROJECT);
    lab.write("requirements.txt", "iniconfig==2.0.0\n");
    lab.write("sum.sql", "COPY (SELECT sum(i * 0.1) AS s, '${{ params.name }}' AS n FROM range(100000) t(i)) TO '${{ outputs.s }}' (FORMAT parquet);\nCOPY (SELECT now()::VARCHAR LIKE '%+00' AS utc) TO '${{ outputs.t }}';\n");
    lab.write("rondo.yaml", &format!("params: {{ name: it's }}\n{PROJECT}"));
    let (_never, cancel) = watch::channel(false);
    match lab.runner().environment("py", cancel).await {
        Ok(_) => Some(lab),
        Err(error) if is_unavailable(&error) => {
            eprintln!("skipped: no environment can be made here: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn an_environment_is_locked_made_once_and_part_of_the_key() {
    let Some(lab) = lab().await else { return };
    let (_never, cancel) = watch::channel(false);
    let made = lab.runner().environment("py", cancel.clone()).await.unwrap();
    assert_eq!(made.packages, [("iniconfig".to_owned(), "2.0.0".to_owned())]);
    assert!(made.python.exists() && lab.store.objects().holds(made.lock, false));

    let report = lab.run().await;
    assert!(all_good(&report), "{report:#?}");
    assert_eq!(lab.read("o"), "True\n");
    assert_eq!(lab.read("t.csv"), "utc\ntrue\n");
    assert!(lab.read("rondo.lock").contains(&format!("py: {}", made.lock)));
    let row = lab.store.meta().require_run(report.step("say").unwrap().run.unwrap()).await.unwrap();
    assert_eq!(row.detail.environment, Some(("py".to_owned(), made.lock)));
    assert_eq!(outcomes(&lab.run().await), "say:cached sum:cached");

    // Comments change nothing; without the folder it is made again from the same lock, not resolved.
    lab.write("requirements.txt", "# pinned\niniconfig==2.0.0\n");
    std::fs::remove_file(made.folder.join(".complete")).unwrap();
    lab.events.0.lock().unwrap().clear();
    let again = lab.runner().environment("py", cancel.clone()).await.unwrap();
    assert_eq!(again, made);
    let resolved =
        |event: &Event| matches!(event, Event::Started { message, .. } if message.contains("choosing"));
    assert!(!lab.events.0.lock().unwrap().iter().any(resolved));

    // A clone that has the lock's object and `rondo.lock` uses it, though nothing is remembered.
    std::fs::remove_dir_all(lab.store.root().join("locks")).unwrap();
    assert_eq!(lab.runner().environment("py", cancel.clone()).await.unwrap().lock, made.lock);
    assert!(!lab.events.0.lock().unwrap().iter().any(resolved));

    lab.write("requirements.txt", "iniconfig==2.1.0\n");
    let report = lab.run().await;
    assert_eq!(outcomes(&report), "say:ran sum:cached");
    assert_ne!(lab.runner().environment("py", cancel).await.unwrap().lock, made.lock);
}

#[tokio::test]
async fn requirements_that_do_not_exist_fail_the_step_and_say_why() {
    let Some(lab) = lab().await else { return };
    lab.write("requirements.txt", "iniconfig==0.0.0.1\n");
    let report = lab.run_with(RunRequest { targets: vec!["say".into()], ..RunRequest::default() }).await;
    let cause = report.failure().unwrap().to_string();
    assert!(cause.contains("environment `py`") && cause.contains("iniconfig"), "{cause}");
}

#[tokio::test]
async fn kinds_that_cannot_be_made_are_refused_clearly() {
    let lab = Lab::new().await;
    lab.write(
        "rondo.yaml",
        "project: p\nenvironments: { r: { r: '4', packages: [ranger] } }\nsteps:\n  a: { run: 'true', environment: r }\n",
    );
    let runner = Arc::new(lab.runner());
    let (_never, cancel) = watch::channel(false);
    let error = runner.environment("r", cancel).await.unwrap_err();
    assert_eq!(error.to_string(), "environment `r` is an R environment, which this version cannot provision");
}
