//! The tests of a package: each is a small project in a temporary place, run like any other.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use rondo_core::error::causes;
use rondo_core::ports::Unwatched;
use rondo_data::check::Suite;
use rondo_pipeline::environment::host::{find_program, search_path};
use rondo_pipeline::{RunReport, RunRequest};
use rondo_project::fault;
use rondo_project::package::{Expect, Expected, Package, Run, Test};
use rondo_project::project::is_target;
use rondo_table::read::{self, ReadOptions};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::task::block_in_place;

use super::{Error, Opened, PROJECT_FILE, Platform, builtin_files};
use crate::config::Config;

/// Where in the temporary project the package's surroundings appear.
const HERE: &str = "here";

/// The step or app that uses the package.
pub const STEP: &str = "tested";

/// A temporary place, with a store that the tests of one package share.
pub struct Bench {
    folder: tempfile::TempDir,
    /// The data of the tests of a package that is built in.
    _data: Option<tempfile::TempDir>,
    config: Arc<Config>,
}

/// What came of one test.
#[derive(Debug, Serialize)]
pub struct Tested {
    /// Its name.
    pub test: String,
    /// How long it took.
    pub seconds: f64,
    /// Why it was left out: this machine lacks what it needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// All that is not as expected; nothing where it passes.
    pub problems: Vec<String>,
}

impl Bench {
    /// A place from which the files below `root` are seen; of a package that is built in, those that came
    /// with it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn new(package: &Package, root: &Path, config: Arc<Config>) -> Result<Self, Error> {
        let fresh = || {
            let folder = tempfile::Builder::new().prefix("rondo-package-").tempdir();
            folder.map_err(Error::io("make a folder in", &std::env::temp_dir()))
        };
        let (folder, data) = (fresh()?, package.folder.is_none().then(fresh).transpose()?);
        if let Some(data) = &data {
            builtin_files::lay_out(&package.name, data.path())?;
        }
        let root = data.as_ref().map_or(root, |data| data.path());
        let root = root.canonicalize().map_err(Error::io("open", root))?;
        let link = folder.path().join(HERE);
        std::os::unix::fs::symlink(&root, &link).map_err(Error::io("link", &link))?;
        Ok(Self { folder, _data: data, config })
    }

    /// What a test of a package needs and this machine lacks, in words.
    fn lacks(&self, package: &Package, test: &Test) -> Option<String> {
        let Run::Builtin { builtin } = &package.run else { return None };
        let path = search_path(&self.config.environment);
        let lacks = |programs: &[&str]| !programs.iter().any(|name| find_program(name, path).is_some());
        let none = |what: &str| Some(format!("there is no {what} on the PATH"));
        match builtin.as_str() {
            "python" if lacks(&["python"]) => none("`python`"),
            "r" if lacks(&["Rscript"]) => none("`Rscript`"),
            "container" => match ["podman", "docker"].iter().find_map(|name| find_program(name, path)) {
                None => none("`podman` or `docker`"),
                Some(engine) => {
                    let image = test.with.get("image").and_then(Value::as_str)?;
                    (!ends_well(&engine, &["pull", "--quiet", image]))
                        .then(|| format!("the image `{image}` cannot be had"))
                }
            },
            "papermill" => match find_program("python3", path).or_else(|| find_program("python", path)) {
                Some(python) if ends_well(&python, &["-c", "import ipykernel"]) => None,
                Some(_) | None => none("Python with `ipykernel`"),
            },
            _ => None,
        }
    }
}

/// Whether a program ends well, whatever it says.
fn ends_well(program: &Path, arguments: &[&str]) -> bool {
    let mut command = std::process::Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs one test.
///
/// # Errors
/// When the temporary project cannot be made; whatever its step does is a result.
pub async fn test(
    bench: &Bench,
    package: &Package,
    uses: &str,
    name: &str,
    test: &Test,
) -> Result<Tested, Error> {
    let began = Instant::now();
    if let Some(lacks) = block_in_place(|| bench.lacks(package, test)) {
        return Ok(Tested {
            test: name.to_owned(),
            seconds: 0.0,
            skipped: Some(lacks),
            problems: Vec::new(),
        });
    }
    let problems = match outcome(bench, package, uses, test).await? {
        Ok((platform, report)) => judge(bench, &platform, package, test, &report).await?,
        Err(refusal) => refused(&test.expect, &refusal),
    };
    let seconds = began.elapsed().as_secs_f64();
    Ok(Tested { test: name.to_owned(), seconds, skipped: None, problems })
}

/// Makes the project of a service's test, with what goes into it made; a refusal in words.
///
/// # Errors
/// As [`test`].
pub async fn made(
    bench: &Bench,
    package: &Package,
    uses: &str,
    test: &Test,
) -> Result<Result<Platform, String>, Error> {
    let platform = match opened(bench, package, uses, test).await? {
        Ok(platform) => platform,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if platform.project().steps.is_empty() {
        return Ok(Ok(platform));
    }
    Ok(ran(bench, platform).await?.map(|(platform, _)| platform))
}

/// A test that is refused before anything runs passes where it was to fail so.
pub fn refused(expect: &Expect, refusal: &str) -> Vec<String> {
    match &expect.fails {
        Some(text) if refusal.contains(text.as_str()) => Vec::new(),
        Some(text) => vec![format!("it was to fail with `{text}`, and failed so:\n{refusal}")],
        None => vec![refusal.to_owned()],
    }
}

type Ran = Result<(Platform, RunReport), String>;

/// Makes the project of a test and runs it; a refusal in words.
async fn outcome(bench: &Bench, package: &Package, uses: &str, test: &Test) -> Result<Ran, Error> {
    match opened(bench, package, uses, test).await? {
        Ok(platform) => ran(bench, platform).await,
        Err(refusal) => Ok(Err(refusal)),
    }
}

/// Makes the project of a test.
async fn opened(
    bench: &Bench,
    package: &Package,
    uses: &str,
    test: &Test,
) -> Result<Result<Platform, String>, Error> {
    let root = bench.folder.path();
    let text = serde_json::to_string_pretty(&project(package, uses, test)).unwrap_or_default();
    let file = root.join(PROJECT_FILE);
    fs::write(&file, text).map_err(Error::io("write", &file))?;
    let out = root.join("out");
    if out.exists() {
        fs::remove_dir_all(&out).map_err(Error::io("remove", &out))?;
    }
    Ok(match Platform::open(root, bench.config.clone(), Arc::new(Unwatched)).await? {
        Opened::Platform(platform) => Ok(*platform),
        Opened::Faults { file, source, faults } => Err(fault::render(&file, &source, &faults)),
    })
}

async fn ran(bench: &Bench, platform: Platform) -> Result<Ran, Error> {
    let request = RunRequest {
        started_by: "user".to_owned(),
        user: bench.config.account(),
        force: true,
        ..RunRequest::default()
    };
    let (_never, cancel) = watch::channel(false);
    match Box::pin(platform.run(request, cancel)).await {
        Ok(report) => Ok(Ok((platform, report))),
        Err(error) => {
            let mut text = error.to_string();
            causes(&error).iter().for_each(|cause| text.push_str(&format!(": {cause}")));
            Ok(Err(text))
        }
    }
}

/// The project file of a test. Its inputs are made by steps of their own, so that they may be anything.
fn project(package: &Package, uses: &str, test: &Test) -> Value {
    let folder = package.folder.as_deref().unwrap_or(Path::new(""));
    let seen = |file: &str| Path::new(HERE).join(folder).join(file).to_string_lossy().into_owned();
    let (mut steps, mut inputs) = (Map::new(), Map::new());
    for (input, file) in test.inputs.iter() {
        let place = seen(file.trim_end_matches('/'));
        let name = Path::new(file).file_name().map_or_else(|| input.into(), |name| name.to_string_lossy());
        let slash = if file.ends_with('/') { "/" } else { "" };
        let variable = input.to_uppercase().replace('-', "_");
        let quoted = format!("'{}'", place.replace('\'', r"'\''"));
        let step = json!({
            "run": format!("cp -RL {quoted} \"$RONDO_OUTPUT_{variable}\""),
            "code": [place],
            "outputs": { input: format!("out/{input}/{name}{slash}") },
        });
        steps.insert(format!("given-{input}"), step);
        inputs.insert(input.to_owned(), json!(format!("given-{input}.{input}")));
    }
    let mut with = Map::new();
    for (key, value) in test.with.iter() {
        let file = package.field(key).is_some_and(|field| field.kind.is_file());
        let value = match value.as_str().filter(|_| file) {
            Some(file) => json!(seen(file)),
            None => value.clone(),
        };
        with.insert(key.to_owned(), value);
    }
    let uses = uses.strip_prefix("./").map_or_else(|| uses.to_owned(), |path| format!("./{HERE}/{path}"));
    let outputs: Map<String, Value> = outputs(package, test)
        .into_iter()
        .map(|(output, file)| (output.clone(), json!(format!("out/{STEP}/{file}"))))
        .collect();
    let mut step = Map::from_iter([("uses".to_owned(), json!(uses))]);
    for (key, block) in [("with", with), ("inputs", inputs), ("outputs", outputs)] {
        if !block.is_empty() {
            step.insert(key.to_owned(), Value::Object(block));
        }
    }
    let mut project = Map::from_iter([("project".to_owned(), json!("package-test"))]);
    if package.app {
        project.insert("apps".to_owned(), json!({ STEP: step }));
    } else {
        steps.insert(STEP.to_owned(), Value::Object(step));
    }
    if !steps.is_empty() {
        project.insert("steps".to_owned(), Value::Object(steps));
    }
    Value::Object(project)
}

/// The outputs that a test asks for, those that the package makes in any case included.
fn outputs(package: &Package, test: &Test) -> BTreeMap<String, String> {
    let needed = package.outputs.listed().iter().filter(|port| port.required);
    let mut outputs: BTreeMap<String, String> = needed.map(|port| (port.name.clone(), port.file())).collect();
    outputs.extend(test.outputs.iter().map(|(name, file)| (name.to_owned(), file.clone())));
    for name in test.expect.outputs.names().filter(|name| !test.outputs.contains(name)) {
        if let Some(port) = package.outputs.get(name) {
            outputs.insert(name.to_owned(), port.file());
        }
    }
    outputs
}

/// All that is not as expected.
async fn judge(
    bench: &Bench,
    platform: &Platform,
    package: &Package,
    test: &Test,
    report: &RunReport,
) -> Result<Vec<String>, Error> {
    let expect = &test.expect;
    let mut problems = Vec::new();
    let failed: Vec<_> = report.steps.iter().filter(|step| !step.outcome.is_good()).collect();
    let words = |step: &rondo_pipeline::StepReport| {
        let mut text = step.cause.clone().unwrap_or_default();
        step.tail.iter().for_each(|line| text.push_str(&format!("\n| {line}")));
        step.hints.iter().for_each(|hint| text.push_str(&format!("\nhint: {hint}")));
        text
    };
    let said: String = failed.iter().map(|step| words(step)).collect::<Vec<_>>().join("\n");
    let wants_failure = expect.fails.is_some() || expect.exit.is_some_and(|code| code != 0);
    match (&expect.fails, failed.is_empty()) {
        (Some(text), false) if !said.contains(text.as_str()) => {
            problems.push(format!("it was to fail with `{text}`, and failed so: {said}"));
        }
        (None, false) if !wants_failure => problems.push(format!("it failed: {said}")),
        (_, true) if wants_failure => problems.push("it was to fail, and ended well".to_owned()),
        _ => {}
    }
    let own = || report.steps.iter().filter(|step| is_target(&step.name, STEP));
    let mut metrics = BTreeMap::new();
    for run in own().filter_map(|step| step.run) {
        for metric in platform.store().meta().latest_metrics(run).await? {
            metrics.insert(metric.key, metric.point.value);
        }
        if let (Some(wanted), Some(row)) = (expect.exit, platform.store().meta().run(run).await?) {
            let code = row.detail.exit.and_then(|exit| exit.code);
            if code.map(i64::from) != Some(wanted) {
                let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
                problems.push(format!("its exit code is {code}, expected is {wanted}"));
            }
        }
    }
    for (name, bounds) in expect.metrics.iter() {
        match metrics.get(name) {
            None => problems.push(format!("it has no metric `{name}`")),
            Some(value) if bounds.min.is_some_and(|min| *value < min - 1e-12) => {
                problems
                    .push(format!("metric `{name}` is {value}, below {}", bounds.min.unwrap_or_default()));
            }
            Some(value) if bounds.max.is_some_and(|max| *value > max + 1e-12) => {
                problems
                    .push(format!("metric `{name}` is {value}, above {}", bounds.max.unwrap_or_default()));
            }
            Some(_) => {}
        }
    }
    if failed.is_empty() {
        let files = outputs(package, test);
        let root = bench.folder.path();
        let folder = root.join(HERE).join(package.folder.as_deref().unwrap_or(Path::new("")));
        for (name, expected) in expect.outputs.iter() {
            match files.get(name) {
                Some(file) => {
                    let place = root.join("out").join(STEP).join(file.trim_end_matches('/'));
                    problems.extend(unlike(name, &place, expected, &folder));
                }
                None => problems.push(format!("the test asks for no output `{name}`")),
            }
        }
    }
    Ok(problems)
}

/// In what an output differs from what is expected of it.
fn unlike(name: &str, place: &Path, expected: &Expected, folder: &Path) -> Vec<String> {
    let mut problems = Vec::new();
    let mut problem = |text: String| problems.push(format!("output `{name}` {text}"));
    if expected.rows.is_some() || !expected.columns.is_empty() {
        match read::open(place) {
            Ok(table) => {
                if let Some(rows) = expected.rows.filter(|rows| *rows != table.rows()) {
                    problem(format!("has {} rows, expected are {rows}", table.rows()));
                }
                let mut found: Vec<&str> =
                    table.columns().iter().map(|column| column.name.as_str()).collect();
                let mut wanted: Vec<&str> = expected.columns.iter().map(String::as_str).collect();
                found.sort_unstable();
                wanted.sort_unstable();
                if !wanted.is_empty() && found != wanted {
                    problem(format!(
                        "has the columns {}, expected are {}",
                        found.join(", "),
                        wanted.join(", ")
                    ));
                }
            }
            Err(error) => problem(format!("is no table: {error}")),
        }
    }
    if let Some(file) = &expected.equals {
        let same = |a: PathBuf, b: &Path| Some(fs::read(a).ok()? == fs::read(b).ok()?);
        if same(folder.join(file), place) != Some(true) {
            problem(format!("is not the same as `{file}`"));
        }
    }
    if let Some(text) = &expected.contains {
        let found = fs::read_to_string(place).unwrap_or_default();
        if !found.contains(text.as_str()) {
            let begin: String = found.chars().take(400).collect();
            problem(format!("does not hold `{text}`: {begin}"));
        }
    }
    if !expected.checks.is_empty() {
        let checked = Suite::parse(name, &expected.checks)
            .and_then(|suite| suite.check_path(place, &ReadOptions::default()));
        match checked {
            Ok(report) if report.passed() => {}
            Ok(report) => problem(format!("breaks its checks: {}", report.headline())),
            Err(error) => problem(format!("cannot be checked: {error}")),
        }
    }
    problems
}
