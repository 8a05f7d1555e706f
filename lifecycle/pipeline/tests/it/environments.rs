//! Environments made by the real `uv` from a real package index; skipped, saying so, where there is none.

use rondo_core::ports::Event;
use rondo_pipeline::environment::kind::Kind;
use rondo_pipeline::environment::provision::Provisioned;
use rondo_pipeline::isolation::Machine;
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
    assert!(made.python.as_ref().unwrap().exists() && lab.store.objects().holds(made.lock, false));

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

async fn made(lab: &Lab, name: &str) -> Result<Provisioned, Error> {
    let (_never, cancel) = watch::channel(false);
    lab.runner().environment(name, cancel).await
}

#[tokio::test]
async fn without_a_network_an_environment_is_made_again_from_the_cache_or_what_is_missing_is_named() {
    let Some(lab) = lab().await else { return };
    let first = made(&lab, "py").await.unwrap();
    let offline = |cache: Option<&str>| {
        let mut runner = lab.runner();
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
            runner.host_env.insert(name.to_owned(), "http://127.0.0.1:9".to_owned());
        }
        for name in ["NO_PROXY", "no_proxy"] {
            runner.host_env.remove(name);
        }
        runner.host_env.insert("UV_HTTP_RETRIES".to_owned(), "0".to_owned());
        if let Some(cache) = cache {
            runner.host_env.insert("UV_CACHE_DIR".to_owned(), cache.to_owned());
        }
        runner
    };
    let (_never, cancel) = watch::channel(false);
    std::fs::remove_dir_all(&first.folder).unwrap();
    assert_eq!(offline(None).environment("py", cancel.clone()).await.unwrap(), first);
    assert!(first.folder.join("bin/python").exists());

    std::fs::remove_dir_all(&first.folder).unwrap();
    let empty = tempfile::tempdir().unwrap();
    let error = offline(empty.path().to_str()).environment("py", cancel).await.unwrap_err();
    assert!(error.to_string().contains("iniconfig"), "{error}");
    assert!(!first.folder.join(".complete").exists());
}

#[tokio::test]
async fn a_pyproject_is_a_form_of_requirements() {
    let Some(lab) = lab().await else { return };
    lab.write(
        "pyproject.toml",
        "[project]\nname = 'p'\nversion = '1'\ndependencies = ['iniconfig==2.0.0']\n",
    );
    lab.write(
        "rondo.yaml",
        "project: p\nenvironments: { py: { python: '>=3.8, <4', requirements: pyproject.toml } }\nsteps:\n  a: { run: python -c 'import iniconfig', environment: py }\n",
    );
    let report = lab.run().await;
    assert!(all_good(&report), "{report:#?}");
    assert_eq!(made(&lab, "py").await.unwrap().packages, [("iniconfig".to_owned(), "2.0.0".to_owned())]);
}

#[tokio::test]
async fn r_and_its_packages_are_found_locked_and_what_is_missing_is_said() {
    let lab = Lab::new().await;
    let project = |r: &str, packages: &str| {
        format!(
            "project: p\nenvironments: {{ r: {{ r: '{r}', packages: [{packages}] }} }}\nsteps:\n  a: {{ run: \"Rscript -e 'cat(as.character(jsonlite::toJSON(1)))' > ${{{{ outputs.o }}}}\", environment: r, outputs: {{ o: o.txt }} }}\n"
        )
    };
    lab.write("rondo.yaml", &project("4", "jsonlite"));
    let first = match made(&lab, "r").await {
        Ok(first) => first,
        Err(error @ (Error::ToolMissing { .. } | Error::RPackagesMissing { .. })) => {
            eprintln!("skipped: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    assert_eq!((first.kind, first.packages[0].0.as_str()), (Kind::R, "jsonlite"));
    let report = lab.run().await;
    assert!(all_good(&report), "{report:#?}");
    assert_eq!(lab.read("o.txt"), "[1]");
    assert!(lab.read("rondo.lock").contains(&format!("r: {}", first.lock)));
    assert_eq!(outcomes(&lab.run().await), "a:cached");
    // Without the note of where the packages are, R is asked, and the lock is the same.
    let locks = std::fs::read_dir(lab.store.root().join("locks")).unwrap().flatten();
    let places: Vec<_> = locks
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "places"))
        .collect();
    assert_eq!(places.len(), 1);
    std::fs::remove_file(&places[0]).unwrap();
    assert_eq!(made(&lab, "r").await.unwrap().lock, first.lock);
    // Where packages are somewhere else now, that is a change.
    let text = std::fs::read_to_string(&places[0]).unwrap();
    let home = text.lines().next().unwrap();
    std::fs::write(&places[0], format!("{home}\n{}\n", lab.root.join("jsonlite").display())).unwrap();
    made(&lab, "r").await.unwrap();
    let noted = |event: &Event| matches!(event, Event::Note { message, .. } if message.contains("`jsonlite` has changed"));
    assert!(lab.events.0.lock().unwrap().iter().any(noted));

    lab.write("rondo.yaml", &project("4", "jsonlite, no.such.package"));
    let error = made(&lab, "r").await.unwrap_err();
    assert_eq!(error.to_string(), "environment `r` lacks R packages: `no.such.package`");
    assert_eq!(
        rondo_core::Explain::hints(&error),
        ["sudo apt-get install r-cran-no.such.package  # where Debian has it"]
    );
    lab.write("rondo.yaml", &project(">=99", "jsonlite"));
    assert!(made(&lab, "r").await.unwrap_err().to_string().contains("wants R `>=99`"));
    lab.write("rondo.yaml", &project("4", "jsonlite>=999"));
    assert!(made(&lab, "r").await.unwrap_err().to_string().contains("not >=999"));
}

#[tokio::test]
async fn tools_of_the_host_are_recorded_and_a_change_of_one_is_a_change_of_the_environment() {
    let lab = Lab::new().await;
    lab.write(
        "rondo.yaml",
        "project: p\nenvironments: { tools: { host: [mytool, sh] } }\nsteps:\n  a: { run: 'mytool > ${{ outputs.o }}', environment: tools, outputs: { o: o.txt } }\n",
    );
    let tool = |version: &str| {
        use std::os::unix::fs::PermissionsExt;
        lab.write("../bin/mytool", &format!("#!/bin/sh\necho mytool {version}\n"));
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(lab.root.join("../bin/mytool"), mode).unwrap();
    };
    let runner = || {
        let mut runner = lab.runner();
        let path = format!("{}:{}", lab.root.join("../bin").display(), runner.host_env["PATH"]);
        runner.host_env.insert("PATH".to_owned(), path);
        runner
    };
    let (_never, cancel) = watch::channel(false);
    tool("1.0.0");
    let first = runner().environment("tools", cancel.clone()).await.unwrap();
    assert_eq!(first.packages[0], ("mytool".to_owned(), "1.0.0".to_owned()));
    let run = async || runner().run(RunRequest::default(), cancel.clone()).await.unwrap();
    assert_eq!(outcomes(&run().await), "a:ran");
    assert_eq!(outcomes(&run().await), "a:cached");
    tool("1.1.0");
    assert_eq!(outcomes(&run().await), "a:ran");
    assert_eq!(lab.read("o.txt"), "mytool 1.1.0\n");
    let refused = lab.runner().run(RunRequest::default(), cancel.clone()).await.map(drop).unwrap_err();
    assert!(refused.to_string().contains("environment `tools` needs `mytool`"), "{refused}");
}

/// A root file system with a shell and `cat` of this machine.
fn root_file_system(lab: &Lab) {
    let script = "set -e; mkdir -p box/bin box/tmp; \
        for p in sh cat; do cp -L $(command -v $p) box/bin/$p; \
        for l in $(ldd $(command -v $p) | grep -o '/[^ ]*'); do mkdir -p box$(dirname $l); cp -L $l box$l; done; done; \
        echo 'in the box' > box/which; tar -C box -cf box.tar . ; rm -r box";
    let made = std::process::Command::new("sh").args(["-c", script]).current_dir(&lab.root).status().unwrap();
    assert!(made.success());
}

#[tokio::test]
async fn a_step_runs_in_a_root_file_system_with_nothing_but_what_it_declares() {
    if let Err(reason) = Machine::probe(&std::env::var("PATH").unwrap()).bubblewrap {
        eprintln!("skipped: {reason}");
        return;
    }
    let lab = Lab::new().await;
    root_file_system(&lab);
    lab.write("extra.txt", "secret");
    lab.write(
        "rondo.yaml",
        "project: p\nenvironments: { box: { rootfs: box.tar } }\ndata: { rows: { source: rows.csv } }\nsteps:\n  a: { run: 'cat /which ${{ inputs.rows }} > ${{ outputs.o }}', environment: box, inputs: [data.rows], outputs: { o: o.txt } }\n  b: { run: cat extra.txt, environment: box }\n  c: { run: python3 -V, environment: box }\n",
    );
    lab.write("rows.csv", "1\n");
    lab.add_data("rows", "1\n").await;
    let report = lab.run_with(RunRequest { keep_going: true, ..RunRequest::default() }).await;
    assert_eq!(report.step("a").unwrap().cause, None, "{report:#?}");
    assert_eq!(lab.read("o.txt"), "in the box\n1\n");
    let cause = |step: &str| report.step(step).unwrap().cause.clone().unwrap();
    assert!(cause("b").contains("`extra.txt` is not declared as an input of `b`"), "{}", cause("b"));
    assert!(cause("c").contains("127"), "{}", cause("c"));
    let made = made(&lab, "box").await.unwrap();
    assert!(made.kind == Kind::Rootfs && made.folder.join("root/which").exists());
}

#[tokio::test]
async fn kinds_whose_tool_is_missing_say_what_to_install() {
    let lab = Lab::new().await;
    lab.write("default.nix", "{}");
    lab.write(
        "rondo.yaml",
        "project: p\nenvironments:\n  c: { conda: [numpy] }\n  i: { image: 'debian:12' }\n  n: { nix: default.nix }\n  r: { r: '4' }\nsteps:\n  a: { run: 'true' }\n",
    );
    let mut runner = lab.runner();
    for name in ["MAMBA_EXE", "CONDA_EXE"] {
        runner.host_env.remove(name);
    }
    runner.host_env.insert("PATH".to_owned(), "/nowhere".to_owned());
    for (name, tool) in [("c", "micromamba"), ("i", "podman"), ("n", "nix-build"), ("r", "Rscript")] {
        let (_never, cancel) = watch::channel(false);
        let error = runner.environment(name, cancel).await.unwrap_err();
        assert!(error.to_string().contains(tool), "{error}");
        assert!(!rondo_core::Explain::hints(&error).is_empty());
    }
}

#[tokio::test]
async fn the_tool_of_an_environment_is_looked_for_before_anything_runs() {
    let lab = Lab::new().await;
    lab.write("default.nix", "{}");
    lab.write("box.tar", "");
    for (declared, at) in [
        ("conda: [numpy]", "conda"),
        ("image: 'debian:12'", "image"),
        ("nix: default.nix", "nix"),
        ("r: '4'", "r"),
        ("rootfs: box.tar", "rootfs"),
    ] {
        lab.write(
            "rondo.yaml",
            &format!(
                "project: p\nenvironments: {{ e: {{ {declared} }} }}\nsteps:\n  first: {{ run: ': > ${{{{ outputs.a }}}}', \
                 outputs: {{ a: a }} }}\n  last: {{ run: 'true', environment: e, inputs: [first.a] }}\n"
            ),
        );
        let mut runner = lab.runner();
        for name in ["MAMBA_EXE", "CONDA_EXE"] {
            runner.host_env.remove(name);
        }
        runner.host_env.insert("PATH".to_owned(), "/nowhere".to_owned());
        let (_never, cancel) = watch::channel(false);
        let error = runner.run(RunRequest::default(), cancel).await.unwrap_err();
        assert!(matches!(&error, Error::ToolMissing { .. } | Error::IsolationMissing { .. }), "{error}");
        let objections = rondo_core::Explain::objections(&error);
        assert_eq!(objections[0].path, format!("environments.e.{at}"));
        assert!(!rondo_core::Explain::hints(&error).iter().any(|hint| hint.contains("auto")), "{error}");
        assert!(!lab.root.join("a").exists(), "{at}");
    }
}
