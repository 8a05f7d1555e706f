//! `rondo data leakage`.

use rondo_core::Code;
use rondo_table::leakage::{self, Finding, Options, Report, Severity, State};
use serde_json::json;

use super::diff::table_of;
use super::diff::text::in_line;
use super::profile::find;
use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::table;

/// Look for leakage between rows for training and rows for testing
///
/// Rows, keys and groups that are in both, testing that is older than training, features that are later than
/// their row or give the target away alone, labels and categories that training lacks. The checks have the
/// names that Deepchecks gives them.
#[derive(clap::Args)]
pub struct Args {
    /// The rows for training: a dataset (`flights@2`) or a file
    train: String,
    /// The rows for testing
    test: String,
    /// The column that is predicted
    #[arg(short, long, value_name = "COLUMN")]
    target: Option<String>,
    /// The column of the rows' time
    #[arg(long, value_name = "COLUMN")]
    time: Option<String>,
    /// The column of a group that has to stay on one side, such as a patient
    #[arg(short, long, value_name = "COLUMN")]
    group: Option<String>,
    /// The columns that say which row is which
    #[arg(short, long, value_delimiter = ',', value_name = "COLUMNS")]
    key: Vec<String>,
    /// Columns that are not looked at
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS")]
    ignore: Vec<String>,
    /// The greatest share of test rows that training may have too
    #[arg(long, default_value_t = 0.05, value_name = "SHARE")]
    max_duplicates: f64,
    /// The most that one feature may tell of the target, from 0 to 1
    #[arg(long, default_value_t = 0.8, value_name = "SCORE")]
    max_feature: f64,
    /// Show so many offending rows of each check
    #[arg(long, default_value_t = 3, value_name = "N")]
    samples: usize,
    /// Fail on warnings too
    #[arg(long)]
    strict: bool,
}

/// Looks.
///
/// # Errors
/// When a table or column is not there, or leakage is found.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let (train, test) = (find(session, &args.train, None).await?, find(session, &args.test, None).await?);
    let (train, test) = (table_of(&train)?, table_of(&test)?);
    let mut options = Options {
        target: args.target.clone(),
        time: args.time.clone(),
        group: args.group.clone(),
        key: args.key.clone(),
        ignore: args.ignore.clone(),
        samples: args.samples,
        ..Options::default()
    };
    options.thresholds.duplicates = args.max_duplicates;
    options.thresholds.feature = args.max_feature;
    let (a, b) = (train.open()?, test.open()?);
    let report = tokio::task::block_in_place(|| leakage::find_between(a, b, &options))?;
    let warned = args.strict && report.failed(Severity::Warning).count() > 0;
    let value = json!({
        "schema": 1, "train": args.train, "test": args.test, "passed": report.passed && !warned,
        "report": report,
    });
    let text = page(args, &report);
    if report.passed && !warned {
        session.printer().result(&value, &text);
        return Ok(());
    }
    if !session.printer().json() {
        session.printer().tell(&text);
    }
    let severities: &[Severity] =
        if args.strict { &[Severity::Error, Severity::Warning] } else { &[Severity::Error] };
    let names: Vec<&str> =
        severities.iter().flat_map(|severity| report.failed(*severity)).map(|check| check.check).collect();
    let message = format!("accept `{}` for testing: {}", args.test, names.join(", "));
    let shown = format!("error: {message}\n");
    Err(Failure::new(Code::LeakageFound, message).judged(shown, value))
}

fn page(args: &Args, report: &Report) -> String {
    let mut text = format!(
        "{} ({} rows) → {} ({} rows)\n\n",
        args.train, report.train_rows, args.test, report.test_rows
    );
    let head = ["", "check", "effect", "at most", "what was found"];
    let mut rows = vec![head.map(String::from).to_vec()];
    rows.extend(report.checks.iter().filter(|check| check.state != State::Skipped).map(row));
    text.push_str(&table(&rows));
    for check in report.checks.iter().filter(|check| check.state == State::Failed) {
        for sample in check.samples.iter().take(args.samples) {
            text.push_str(&format!("{}: {}\n", check.check, in_line(sample)));
        }
    }
    let skipped: Vec<&Finding> = report.checks.iter().filter(|check| check.state == State::Skipped).collect();
    for reason in ["no target is named", "no time is named", "no group is named", "no key is named"] {
        let names: Vec<&str> =
            skipped.iter().filter(|check| check.what == reason).map(|check| check.check).collect();
        if !names.is_empty() {
            text.push_str(&format!("not looked at, since {reason}: {}\n", names.join(", ")));
        }
    }
    let other = skipped.iter().filter(|check| !check.what.contains("is named"));
    other.for_each(|check| text.push_str(&format!("not looked at: {}: {}\n", check.check, check.what)));
    text
}

fn row(check: &Finding) -> Vec<String> {
    let mark = match (check.state, check.severity) {
        (State::Failed, Severity::Error) => "LEAK",
        (State::Failed, Severity::Warning) => "warning",
        (State::Passed | State::Skipped, _) => "ok",
    };
    vec![
        mark.to_owned(),
        check.check.to_owned(),
        format!("{:.3}", check.effect),
        match check.check {
            "datasets_size_comparison" => "1".to_owned(),
            _ => check.threshold.to_string(),
        },
        check.what.clone(),
    ]
}
