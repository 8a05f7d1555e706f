//! `rondo doctor`: what the machine has, what is missing, what to do.

use std::process::{Command, Stdio};

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
    hint: &'static str,
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
        program("R", &["--version"], "steps in R", "install R 4"),
        program("podman", &["--version"], "steps in containers", "install podman"),
    ];
    findings.push(Finding {
        what: "cores",
        found: std::thread::available_parallelism().ok().map(|cores| cores.to_string()),
        needed_for: "steps at once",
        hint: "",
    });
    let project = session.project_root();
    findings.push(Finding {
        what: "project",
        found: project.as_ref().map(|root| root.display().to_string()),
        needed_for: "everything but single files",
        hint: "rondo new my-project",
    });
    if project.is_some() {
        // Its faults are shown as they are.
        let platform = session.platform().await?;
        findings.push(Finding {
            what: "store",
            found: Some(platform.store().root().display().to_string()),
            needed_for: "versions, runs, models",
            hint: "",
        });
        let linked = platform.store().objects().probe_links()?;
        findings.push(Finding {
            what: "file system",
            found: Some(linked.text().to_owned()),
            needed_for: "putting objects into the work tree without copying",
            hint: "",
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

fn program(what: &'static str, args: &[&str], needed_for: &'static str, hint: &'static str) -> Finding {
    let output = Command::new(what).args(args).stdin(Stdio::null()).output();
    let found = output.ok().filter(|output| output.status.success()).and_then(|output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().next().map(|line| line.trim().to_owned())
    });
    Finding { what, found, needed_for, hint }
}
