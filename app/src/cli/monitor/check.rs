//! `rondo monitor check`: the checks of a monitor, or others, on what was sent with predictions.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use rondo_core::{Code, Timestamp};
use rondo_data::check::FileReport;
use rondo_monitoring::quality::{Quality, judge};
use rondo_monitoring::window::Window;
use rondo_project::fault::Fault;
use rondo_project::project::{LiveChecks, SuiteOf};
use rondo_project::yaml::Node;
use rondo_project::{suite, yaml};
use rondo_table::checks::CheckReport;
use serde_json::json;

use super::report::pick;
use crate::cli::Session;
use crate::cli::data::check::files::Files;
use crate::cli::data::check::{end, faulty, page, shortened, suite_in, verdict};
use crate::cli::failure::{Failure, Outcome};

/// Check what was sent with predictions, by the monitor's checks or a suite
#[derive(clap::Args)]
pub struct Args {
    /// The monitor; the only one where there is one
    monitor: Option<String>,
    /// Other checks than the monitor's: YAML or JSON, as under `checks:`, or a suite of Great Expectations
    #[arg(long, value_name = "FILE")]
    suite: Option<PathBuf>,
    /// Predictions from this moment of event time on; where absent, those of one window before the last
    #[arg(long, value_name = "MOMENT")]
    since: Option<Timestamp>,
    /// Predictions before this moment; where absent, all to the last
    #[arg(long, value_name = "MOMENT")]
    until: Option<Timestamp>,
    #[command(flatten)]
    files: Files,
}

/// Checks them. Nothing is remembered and no alert is raised.
///
/// # Errors
/// When a check fails, there is no such monitor, or it has no checks and none are given.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    let name = pick(&platform, args.monitor.as_deref())?;
    let project = platform.project().clone();
    let Some(monitor) = project.monitor.get(&name) else { return Err(no_checks(&name)) };
    let given = args.suite.as_deref().map(|given| read(session, given)).transpose()?;
    let Some(checks) = given.or_else(|| monitor.checks.clone()) else { return Err(no_checks(&name)) };
    let last = match args.until {
        Some(until) => Some(until),
        None => {
            let watermark = platform.log_reader().watermark(&platform.endpoint_of(&name, monitor))?;
            watermark.map(|last| last + rondo_core::Span(1))
        }
    };
    let Some(until) = last else {
        let message = format!("check the inputs of `{name}`: there were no predictions yet");
        return Err(Failure::hinted(Code::DeploymentNotFound, message, "rondo up, or rondo replay"));
    };
    let window = Window { start: args.since.unwrap_or(until - monitor.window), end: until };
    if window.start >= window.end {
        let message = format!("check the predictions from {} to {}", window.start, window.end);
        return Err(Failure::hinted(Code::Usage, message, "`--since` lies before `--until`"));
    }
    let checked = platform.check_inputs(&name, monitor, &checks, window, args.files.keep()).await?;
    let title = format!("{name}, {} to {}", window.start, window.end);
    let passed = checked.quality.passed;
    let value = json!({
        "schema": 1, "monitor": name, "window": window, "rows": checked.rows, "passed": passed,
        "quality": checked.quality,
    });
    let results = checked.quality.rules.iter().map(|finding| finding.result.clone()).collect();
    let told = CheckReport { rules: results, ..checked.report.clone() };
    let told = [FileReport { file: name.clone(), report: told, failing: None }];
    let text = format!(
        "{title}, {} predictions: {}\n{}{}",
        checked.rows,
        verdict(&told),
        page(&told),
        details(&checked.quality)
    );
    let properties = [
        ("window_start", window.start.to_string()),
        ("window_end", window.end.to_string()),
        ("predictions", checked.rows.to_string()),
    ];
    let reports = [FileReport { file: name.clone(), report: checked.report, failing: checked.failing }];
    let written = args.files.write_with(session, &title, &reports, &properties);
    let refused = (!passed).then(|| format!("accept the inputs of `{name}`: {}", verdict(&told)));
    end(session, written, value, &text, refused)
}

/// The predictions that break each rule, and the rules that were not asked.
pub(super) fn details(quality: &Quality) -> String {
    let mut text = String::new();
    for finding in quality.failures().filter(|finding| !finding.predictions.is_empty()) {
        let _ = writeln!(text, "\n{}", shortened(&finding.result.rule));
        for one in &finding.predictions {
            let value = shortened(&one.value.to_string());
            let _ = writeln!(text, "  {}  {:<12} {value}", one.event_time, shortened(&one.prediction));
        }
    }
    if !quality.left_out.is_empty() {
        let _ = writeln!(text, "\nnot asked, {} of the dataset's checks", quality.left_out.len());
        for left in &quality.left_out {
            let _ = writeln!(text, "  {}: {}", shortened(&left.rule), left.why);
        }
    }
    text
}

fn no_checks(name: &str) -> Failure {
    Failure::hinted(
        Code::Usage,
        format!("check the inputs of `{name}`: it has no checks"),
        format!("rondo monitor check {name} --suite checks.yaml, or `checks:` under `monitor.{name}`"),
    )
}

/// The checks of a file.
fn read(session: &Session, given: &Path) -> Outcome<LiveChecks> {
    let (_, text, _) = suite_in(session, given)?;
    let file = given.display().to_string();
    let root = yaml::parse(&text).root;
    let items = root.as_ref().and_then(suite::rules).unwrap_or_default();
    let rules: Vec<serde_json::Value> = items.iter().map(Node::json).collect();
    let mut faults = Vec::new();
    for (index, (item, rule)) in items.iter().zip(&rules).enumerate() {
        if let Err(refused) = judge(rule) {
            let fault = Fault::new(format!("[{index}]"), item.place, refused.message);
            faults.push(Fault { hint: refused.hint, ..fault });
        }
    }
    if !faults.is_empty() {
        return Err(faulty(&file, &text, &faults));
    }
    Ok(LiveChecks { of: SuiteOf::File(file), rules })
}
