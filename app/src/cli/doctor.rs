//! `rondo doctor`: what the machine has, what is missing, what to do.

use std::borrow::Cow;
use std::process::{Command, Stdio};

use rondo_pipeline::isolation::{Level, Machine};
use serde_json::json;

use super::Session;
use super::failure::Outcome;
use super::output::table;

/// Look over the machine: what is there, what is missing, what to do
#[derive(clap::Args)]
pub struct Args {}

struct Finding {
    what: &'static str,
    found: Option<String>,
    needed_for: &'static str,
    hint: Cow<'static, str>,
}

/// Looks.
///
/// # Errors
/// None; what is missing is a finding.
pub async fn run(_: &Args, session: &Session) -> Outcome {
    let mut findings = vec![
        program("git", &["--version"], "the commit in a run's lineage", "install git"),
        program(
            "python3",
            &["--version"],
            "Python environments and notebooks",
            "install Python 3.10 or newer",
        ),
        program(
            "uv",
            &["--version"],
            "Python environments (fetched once where missing)",
            "python3 -m pip install uv",
        ),
        program("Rscript", &["--version"], "R environments", "apt-get install r-base-core"),
        conda(),
        program("podman", &["--version"], "container images", "apt-get install podman"),
        program(
            "docker",
            &["version", "--format", "docker {{.Server.Version}}"],
            "container images",
            "start docker's daemon, or use podman",
        ),
        program("nix", &["--version"], "Nix environments", "https://nixos.org/download"),
    ];
    findings.extend(isolation(session));
    findings.push(Finding {
        what: "cores",
        found: std::thread::available_parallelism().ok().map(|cores| cores.to_string()),
        needed_for: "steps at once",
        hint: "".into(),
    });
    let project = session.project_root();
    findings.push(Finding {
        what: "project",
        found: project.as_ref().map(|root| root.display().to_string()),
        needed_for: "everything but single files",
        hint: "rondo new my-project, or rondo new . for this folder".into(),
    });
    if project.is_some() {
        // Its faults are shown as they are.
        let platform = session.platform().await?;
        findings.push(Finding {
            what: "store",
            found: Some(platform.store().root().display().to_string()),
            needed_for: "versions, runs, models",
            hint: "".into(),
        });
        let linked = platform.store().objects().probe_links()?;
        findings.push(Finding {
            what: "file system",
            found: Some(linked.text().to_owned()),
            needed_for: "putting objects into the work tree without copying",
            hint: "".into(),
        });
    }
    let value: Vec<serde_json::Value> = findings
        .iter()
        .map(|f| json!({ "what": f.what, "found": f.found, "needed_for": f.needed_for, "hint": f.hint }))
        .collect();
    let mut rows: Vec<Vec<String>> = vec![["what", "found", "for"].map(String::from).to_vec()];
    for finding in &findings {
        let found = finding.found.clone().unwrap_or_else(|| format!("missing ({})", finding.hint));
        rows.push(vec![finding.what.to_owned(), found, finding.needed_for.to_owned()]);
    }
    session.printer().result(&json!({ "schema": 1, "findings": value }), &table(&rows));
    Ok(())
}

/// Whichever of the programs that make conda environments is there.
fn conda() -> Finding {
    let programs = rondo_pipeline::environment::conda::PROGRAMS;
    let needed_for = "conda environments";
    let mut found = programs.map(|what| Finding {
        what: "conda",
        ..program(what, &["--version"], needed_for, "install micromamba: https://mamba.readthedocs.io")
    });
    found.sort_by_key(|finding| finding.found.is_none());
    let [first, ..] = found;
    first
}

/// The levels of isolation, and what each holds here.
fn isolation(session: &Session) -> [Finding; 2] {
    let path = session.config().environment.get("PATH").map_or("", String::as_str);
    let machine = Machine::probe(path);
    let finding = |what, level, there: Result<String, String>| {
        let (found, hint) = match there {
            Ok(there) => (Some(format!("{there}: {}", machine.holds(level))), Cow::from("")),
            Err(reason) => (None, Cow::from(reason)),
        };
        Finding { what, found, needed_for: "isolation of steps", hint }
    };
    let landlock = machine.landlock.clone().map(|version| format!("version {version}"));
    let bubblewrap = machine.bubblewrap.clone().map(|program| program.display().to_string());
    [finding("landlock", Level::Landlock, landlock), finding("bubblewrap", Level::Bubblewrap, bubblewrap)]
}

fn program(what: &'static str, args: &[&str], needed_for: &'static str, hint: &'static str) -> Finding {
    let output = Command::new(what).args(args).stdin(Stdio::null()).output();
    let found = output.ok().filter(|output| output.status.success()).and_then(|output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().next().map(|line| line.trim().to_owned())
    });
    Finding { what, found, needed_for, hint: hint.into() }
}
