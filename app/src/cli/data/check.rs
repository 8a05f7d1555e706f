//! `rondo data check`, and how broken checks are shown wherever data are refused.

pub(in crate::cli) mod files;
mod html;
mod infer;
mod junit;
mod record;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use rondo_core::Code;
use rondo_core::journal::Because;
use rondo_core::ports::Clock;
use rondo_data::Source;
use rondo_data::check::{Around, FileReport, Suite};
use rondo_data::ingest::Intake;
use rondo_data::profile::commas::commas_of_path;
use rondo_data::profile::profile_path;
use rondo_project::fault::{self, Fault};
use rondo_project::quote;
use rondo_table::checks::{RuleResult, Severity};
use rondo_table::read::ReadOptions;
use serde_json::{Value, json};

use self::files::Files;
use super::profile::{Subject, find};
use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::table;
use crate::platform::sql::engine_outside;
use crate::platform::{Error, WallClock};

/// Check a dataset version or a file against its expectations
#[derive(clap::Args)]
pub struct Args {
    /// A dataset of the project, a file or folder of files, or a stored profile
    what: String,
    /// The checks, in YAML or JSON, as under `checks:`, or a suite of Great Expectations; of a dataset
    /// otherwise the declared ones
    #[arg(long, value_name = "FILE")]
    suite: Option<PathBuf>,
    /// Leave expectations of Great Expectations out that Rondo does not know, and name them
    #[arg(long, requires = "suite")]
    skip_unknown: bool,
    /// The dataset's version: a number, the beginning of its digest, `latest` or `previous`
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Of a file: how it is read, such as `delimiter=;` or `encoding=latin1`; several times
    #[arg(long, value_name = "NAME=VALUE")]
    read: Vec<String>,
    /// Propose checks from what is there, instead of checking
    #[arg(long, conflicts_with_all = ["suite", "junit", "html", "failing"])]
    infer: bool,
    /// Put the proposed checks into rondo.yaml
    #[arg(long, requires = "infer")]
    write: bool,
    /// Put them in the place of the checks that stand there
    #[arg(long, requires = "write")]
    force: bool,
    #[command(flatten)]
    files: Files,
    /// Do not record the check as a run of the project
    #[arg(long)]
    no_record: bool,
}

/// Checks it.
///
/// # Errors
/// When a check fails, there is no such dataset or file, or the checks cannot be understood.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let suite =
        args.suite.as_deref().map(|given| read_suite(session, given, args.skip_unknown)).transpose()?;
    let (suite, left_out) = suite.unzip();
    let subject = find(session, &args.what, args.version.as_deref()).await?;
    subject.takes_reading(&args.read)?;
    if args.infer {
        let profile = match &subject {
            Subject::Path { path, .. } => profile_path(path, &super::reading(&args.read)?).await?,
            Subject::Version { .. } => subject.profile().await?,
        };
        return infer::run(session, &subject, &profile, &args.what, args.write.then_some(args.force)).await;
    }
    let keep = args.files.keep();
    let started = WallClock.now();
    let (reports, options) = match &subject {
        Subject::Version { platform, version } => {
            let because = Because::new(session.config().user(), "checked by hand");
            let intake = platform.intake(&version.dataset, because)?;
            let declared = platform.project().data.get(&version.dataset);
            let key = declared.map_or_else(Vec::new, |declared| declared.key.clone());
            let suite = suite.map_or(intake.suite, |suite| suite.within(platform.around()).keyed(&key));
            let suite = suite.keeping(keep);
            let options = rondo_data::table::options_for_version(version)?;
            (platform.datasets().check(version, &suite, &options).await?, options)
        }
        Subject::Path { given, path } => {
            let asked = super::reading(&args.read)?;
            let (suite, options) = match suite {
                Some(suite) => (suite, asked),
                None => {
                    let intake = source_of(session, path).await?.ok_or_else(|| no_suite(given))?;
                    (intake.suite, if args.read.is_empty() { intake.options } else { asked })
                }
            };
            (vec![suite.keeping(keep).check_given(path, &options).await?], options)
        }
    };
    let passed = reports.iter().all(FileReport::passed);
    let mut value = json!({
        "schema": 1, "what": args.what, "version": subject.version(), "passed": passed, "reports": reports,
    });
    if let Some(left_out) = left_out.filter(|left_out| !left_out.is_empty()) {
        value["skipped"] = json!(left_out);
    }
    if let Subject::Version { platform, version } = &subject
        && !args.no_record
    {
        let digest = Some(format!("{}@{}", version.dataset, version.digest));
        let id = record::record(platform, &args.what, digest, &reports, &value, started).await?;
        value["run"] = id.hex().into();
    }
    // After the run is recorded.
    let written = args.files.write(session, &subject.title(), &reports);
    if !passed && let Some(note) = commas(&subject, &options).await {
        session.printer().note(&note);
    }
    let text = format!("{}: {}\n{}", subject.title(), verdict(&reports), page(&reports));
    let refused = (!passed).then(|| format!("accept `{}`: {}", args.what, verdict(&reports)));
    end(session, written, value, &text, refused)
}

/// Which columns of delimited text are no numbers for their comma, which no rule says.
async fn commas(subject: &Subject, options: &ReadOptions) -> Option<String> {
    let found = match subject {
        Subject::Path { path, .. } => commas_of_path(path, options).await,
        Subject::Version { platform, version } => platform.datasets().commas_of(version).await,
    };
    found.map(|found| format!("note: {found}"))
}

/// The end of a check by hand: what was found, and a failure with its reason where the data are `refused`.
/// That they are is told before a file that could not be written.
///
/// # Errors
/// When the data are refused, or a file was not written.
pub(in crate::cli) fn end(
    session: &Session,
    written: Outcome,
    value: Value,
    text: &str,
    refused: Option<String>,
) -> Outcome {
    let printer = session.printer();
    let Some(message) = refused else {
        written?;
        printer.result(&value, text);
        return Ok(());
    };
    if let Err(failure) = written {
        printer.note(&format!("not all files were written: {}", failure.heading().trim()));
    }
    if !printer.json() {
        printer.tell(text);
    }
    let shown = format!("error: {message}\n");
    Err(Failure::new(Code::ChecksFailed, message).judged(shown, value))
}

/// What fails before what passes, errors before warnings, otherwise in the order of the suite.
fn failures_first(rules: &[RuleResult]) -> Vec<&RuleResult> {
    let mut sorted: Vec<&RuleResult> = rules.iter().collect();
    sorted.sort_by_key(|rule| (rule.passed, rule.severity));
    sorted
}

/// The suite of a file, and what was left out of it.
fn read_suite(session: &Session, given: &Path, skip_unknown: bool) -> Outcome<(Suite, Vec<Fault>)> {
    let file = given.display().to_string();
    let (path, text) = text_of(session, given)?;
    let known = Suite::read_known(&file, &text);
    let (suite, left_out) = if skip_unknown {
        known.map_err(|error| refused(error, None))?
    } else {
        let skipping = known.is_ok().then_some("--skip-unknown leaves out what Rondo does not know");
        (Suite::read(&file, &text).map_err(|error| refused(error, skipping))?, Vec::new())
    };
    for fault in &left_out {
        session.printer().note(&format!("note: {file}:{}: left out: {}", fault.place.line, fault.message));
    }
    let root = path.parent().unwrap_or(Path::new("")).to_owned();
    let engine = engine_outside(session.config().clone(), session.printer().progress());
    Ok((suite.within(Around::at(&root).with_engine(Some(engine))), left_out))
}

/// The suite of a file, with where it is and its text.
///
/// # Errors
/// When it is not there or cannot be understood: every fault is shown in its line.
pub(in crate::cli) fn suite_in(session: &Session, given: &Path) -> Outcome<(PathBuf, String, Suite)> {
    let (path, text) = text_of(session, given)?;
    match Suite::read(&given.display().to_string(), &text) {
        Ok(suite) => Ok((path, text, suite)),
        Err(error) => Err(refused(error, None)),
    }
}

fn text_of(session: &Session, given: &Path) -> Outcome<(PathBuf, String)> {
    let path = session.existing("suite", given)?;
    let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    Ok((path, text))
}

fn refused(error: rondo_data::Error, hint: Option<&str>) -> Failure {
    match error {
        rondo_data::Error::SuiteFile { file, source_text, faults } => {
            let failure = faulty(&file, &source_text, &faults);
            hint.into_iter().fold(failure, Failure::also)
        }
        error => error.into(),
    }
}

/// The faults of a suite's file as those of the project file are shown.
pub(in crate::cli) fn faulty(file: &str, text: &str, faults: &[Fault]) -> Failure {
    let many = if faults.len() == 1 { "" } else { "s" };
    let message = format!("read the checks of `{file}`: {} fault{many}", faults.len());
    Failure::new(Code::ValueInvalid, message)
        .shown(fault::render(file, text, faults), fault::json(file, faults))
}

/// The dataset of the project that has checks and whose source a path is: they are those of its next version.
async fn source_of(session: &Session, path: &Path) -> Outcome<Option<Intake>> {
    let (Some(root), Ok(path)) = (session.project_root(), path.canonicalize()) else { return Ok(None) };
    let platform = session.platform().await?;
    for name in platform.project().data.names() {
        let intake = platform.intake(name, Because::new(session.config().user(), "checked by hand"))?;
        let place = match &intake.source {
            Source::Path(source) => root.join(source).canonicalize().ok(),
            _ => None,
        };
        if place.as_ref() == Some(&path) && !intake.suite.is_empty() {
            let suite = intake.suite.within(platform.around());
            return Ok(Some(Intake { suite, ..intake }));
        }
    }
    Ok(None)
}

fn no_suite(given: &str) -> Failure {
    Failure::hinted(
        Code::Usage,
        format!("check `{given}`: it is no source of a dataset with checks, so they have to be named"),
        format!("rondo data check {} --suite checks.yaml", quote::word(given)),
    )
}

/// The text for people and the report for programs of an error that is the data stage's refusal of data
/// that break their checks; nothing for any other.
pub fn refusal(error: &Error) -> Option<(String, Value)> {
    let (dataset, reports) = match error.stage::<rondo_data::Error>()? {
        rondo_data::Error::ChecksFailed { dataset, reports } => (dataset, reports),
        _ => return None,
    };
    let text = format!(
        "error: add dataset `{dataset}`: {}; nothing has changed\n{}",
        verdict(reports),
        page(reports)
    );
    Some((text, json!({ "dataset": dataset, "passed": false, "reports": reports })))
}

/// How many checks there are and how many fail, in a few words.
pub(in crate::cli) fn verdict(reports: &[FileReport]) -> String {
    let rules = || reports.iter().flat_map(|file| &file.report.rules);
    let broken = |severity| rules().filter(|rule| !rule.passed && rule.severity == severity).count();
    let (all, failed, warned) = (rules().count(), broken(Severity::Error), broken(Severity::Warning));
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let noted = broken(Severity::Info);
    let mut text = match (all, failed) {
        (0, _) => "it has no checks".to_owned(),
        (1, 0) if warned + noted == 0 => "its check passes".to_owned(),
        (_, 0) if warned + noted == 0 => format!("{all} checks pass"),
        (_, 0) => format!("no check of {all} fails"),
        (_, failed) => {
            let verb = if failed == 1 { "fails" } else { "fail" };
            format!("{failed} of {all} check{} {verb}", plural(all))
        }
    };
    if warned > 0 {
        let _ = write!(text, ", {warned} warning{}", plural(warned));
    }
    if noted > 0 {
        let _ = write!(text, ", {noted} note{}", plural(noted));
    }
    if reports.iter().any(|file| file.report.from_profile) {
        text.push_str(" (from the stored profile: no row was read)");
    }
    text
}

/// The rules of one file, or of several the broken ones, and under them sample rows of each broken one.
pub(in crate::cli) fn page(reports: &[FileReport]) -> String {
    let several = reports.len() > 1;
    let mut rows: Vec<Vec<String>> =
        vec![["check", "result", "unexpected", "%", "found"].map(String::from).to_vec()];
    let mut samples = String::new();
    for file in reports {
        for rule in failures_first(&file.report.rules).into_iter().filter(|rule| !(several && rule.passed)) {
            let mut cells = row(rule);
            if several {
                cells.insert(0, shortened(&file.file));
            }
            rows.push(cells);
            if !rule.passed && !rule.sample.is_empty() {
                let place = if several { format!(" in {}", shortened(&file.file)) } else { String::new() };
                let _ = writeln!(samples, "\n{}{place}", shortened(&called(rule)));
                for sample in &rule.sample {
                    let _ = writeln!(samples, "  row {:<8} {}", sample.row, shortened(&sample.text()));
                }
            }
        }
    }
    if rows.len() == 1 {
        return String::new();
    }
    if let (true, Some(head)) = (several, rows.first_mut()) {
        head.insert(0, "file".to_owned());
    }
    format!("{}{samples}", table(&rows))
}

fn row(rule: &RuleResult) -> Vec<String> {
    let result = match (rule.passed, rule.severity) {
        (true, _) => "passed",
        (false, Severity::Error) => "failed",
        (false, Severity::Warning) => "warning",
        (false, Severity::Info) => "info",
    };
    let (count, percent) = match rule.unexpected_count {
        0 => (String::new(), String::new()),
        // Of a statement's rows nobody knows how many there could be.
        count if rule.rows == 0 => (count.to_string(), String::new()),
        count => (format!("{count} of {}", rule.rows), format!("{:.2}", rule.unexpected_percent)),
    };
    let found = shortened(&rule.found());
    vec![shortened(&called(rule)), result.to_owned(), count, percent, found]
}

/// A rule in words, behind the name that its writer gave it.
fn called(rule: &RuleResult) -> String {
    match &rule.name {
        Some(name) => format!("{name}: {}", rule.rule),
        None => rule.rule.clone(),
    }
}

/// A text of rules or data on one line of a table, without anything that a terminal would obey.
pub(in crate::cli) fn shortened(text: &str) -> String {
    const MOST: usize = 90;
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.chars().count() <= MOST {
        return line;
    }
    line.chars().take(MOST - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str, rules: &Value) -> FileReport {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, text).unwrap();
        let suite = Suite::parse("t", rules.as_array().unwrap()).unwrap();
        suite.check_path(&path, &ReadOptions::default()).unwrap()
    }

    #[test]
    fn a_broken_check_is_shown_with_counts_and_sample_rows() {
        let rules = json!([{ "column": "a", "in_set": ["x"] }, { "rows": { "min": 2 } }]);
        let report = checked("a\nx\ny\nx\n", &rules);
        let text = page(std::slice::from_ref(&report));
        assert_eq!(verdict(std::slice::from_ref(&report)), "1 of 2 checks fails");
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[1].contains("failed") && lines[1].contains("1 of 3") && lines[1].contains("33.33"),
            "{text}"
        );
        assert!(lines[2].contains("passed") && lines[2].ends_with('3'), "{text}");
        assert!(lines.contains(&"  row 2        \"y\""), "{text}");
    }

    #[test]
    fn of_several_files_only_what_is_broken_is_shown_with_its_file() {
        let rules = json!([{ "column": "a", "in_set": ["x"], "severity": "warning" }]);
        let reports = [checked("a\nx\n", &rules), checked("a\nz\n", &rules)];
        assert_eq!(verdict(&reports), "no check of 2 fails, 1 warning");
        let text = page(&reports);
        assert!(text.starts_with("file") && text.contains("t.csv  a: in_set x  warning"), "{text}");
        assert_eq!(page(&[checked("a\nx\n", &rules), checked("a\nx\n", &rules)]), "");
    }

    #[test]
    fn pages_and_junit_show_what_fails_and_nothing_of_the_data_is_taken_for_markup() {
        let rules =
            json!([{ "column": "a", "in_set": ["x"] }, { "rows": { "min": 9 }, "severity": "warning" }]);
        let reports = [checked("a\nx\n<script>&\u{1}\n", &rules)];
        let junit = junit::document(&reports, &[("window", "a & b".to_owned())]);
        assert!(
            junit.contains("<property name=\"window\" value=\"a &amp; b\"/>")
                && junit.contains("tests=\"2\" failures=\"1\"")
                && junit.contains("row 2: &quot;&lt;script&gt;"),
            "{junit}"
        );
        assert!(!junit.contains('\u{1}') && junit.contains("<system-out>warning: "), "{junit}");
        let named = json!([{ "column": "a", "in_set": ["x"], "name": "known <a>" }]);
        let told = [checked("id,a\n7,x\n8,y\n", &named)];
        let text = page(&told);
        assert!(
            text.contains("known <a>: a: in_set x") && text.contains("row 2        id=8  \"y\""),
            "{text}"
        );
        let html = html::page("t.csv", "", &told);
        assert!(html.contains("known &lt;a&gt;") && html.contains("row 2: id=8  &quot;y&quot;"), "{html}");
        let html = html::page("t.csv", &verdict(&reports), &reports);
        assert!(html.contains("row 2: ") && !html.contains("<script>"), "{html}");
        assert!(html.find("failed") < html.find("! warning"), "{html}");
    }

    #[test]
    fn a_refusal_is_told_from_other_errors() {
        let report = checked("a\ny\n", &json!([{ "column": "a", "in_set": ["x"] }]));
        let refused = rondo_data::Error::ChecksFailed { dataset: "t".to_owned(), reports: vec![report] };
        let (text, value) = refusal(&Error::from(refused)).unwrap();
        assert!(
            text.starts_with("error: add dataset `t`: 1 of 1 check fails; nothing has changed\n"),
            "{text}"
        );
        assert!(text.contains("  row 1        \"y\""), "{text}");
        assert_eq!(value["reports"][0]["rules"][0]["sample"][0]["row"], 1);
        assert!(refusal(&Error::from(rondo_data::Error::Stopped)).is_none());
        assert!(refusal(&Error::not_found("dataset", "t", Code::DatasetNotFound)).is_none());
    }
}
