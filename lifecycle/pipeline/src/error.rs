//! What can go wrong with a pipeline before and around its steps. A step that fails is a result, not an
//! error of this crate; [`Error::StepFailed`] exists for callers that want one.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rondo_core::{Code, Digest, Explain, Objection, RunId};
use rondo_project::substitute::SubstituteError;

/// An error of the pipeline.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] rondo_store::Error),
    /// A file or folder cannot be read or written.
    #[error("{action} `{}`", path.display())]
    Io {
        /// What was tried, such as `read`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A target that is no step.
    #[error("the project has no step `{name}`")]
    StepNotFound {
        /// What was named.
        name: String,
        /// The step that may have been meant.
        near: Option<String>,
    },
    /// A parameter that the project does not declare.
    #[error("the project has no parameter `{name}`")]
    ParameterNotFound {
        /// What was named.
        name: String,
        /// The parameter that may have been meant.
        near: Option<String>,
    },
    /// A parameter's value is of another type than the project's own.
    #[error("parameter `{name}` is {expected} in the project, not {found}")]
    ParameterType {
        /// The parameter.
        name: String,
        /// What the project's value is, such as `a number`.
        expected: &'static str,
        /// What was given.
        found: &'static str,
    },
    /// A place in a log that is none of the run's.
    #[error("`{place}` is no place in what run `{run}` says")]
    PlaceForeign {
        /// The place.
        place: String,
        /// The run.
        run: RunId,
    },
    /// A dataset has no version yet.
    #[error("dataset `{dataset}` has no version yet")]
    DatasetMissing {
        /// The dataset.
        dataset: String,
    },
    /// A dataset is pinned to a version that is not known here.
    #[error("dataset `{dataset}` has no version {}", digest.short())]
    VersionMissing {
        /// The dataset.
        dataset: String,
        /// The version.
        digest: Digest,
    },
    /// A step would put its output where its own code is.
    #[error("output `{output}` of step `{step}` would replace `{path}`, which is its own code")]
    OutputIsCode {
        /// The step.
        step: String,
        /// The output's declared path.
        output: String,
        /// The file of its code, relative to the project.
        path: String,
    },
    /// A declared code file is not there.
    #[error("step `{step}` names `{path}`, which does not exist")]
    CodeMissing {
        /// The step.
        step: String,
        /// The file, relative to the project.
        path: String,
    },
    /// An expression has no value.
    #[error("put values into step `{step}`")]
    Expression {
        /// The step.
        step: String,
        /// Why not.
        source: SubstituteError,
    },
    /// A condition that has no answer.
    #[error("the condition `when: {text}` of step `{step}` has no answer: {reason}")]
    Condition {
        /// The step.
        step: String,
        /// The condition.
        text: String,
        /// Why it has none.
        reason: String,
    },
    /// Only some steps were to run, and what one of them needs was never made.
    #[error("step `{step}` needs `{need}`, which has not run before")]
    NeverMade {
        /// The step that is to be kept.
        step: String,
        /// What is not there.
        need: String,
    },
    /// What is to be run from some steps to others, and the ones do not depend on the others.
    #[error("{} on {} (`--from {}`)", without_need(targets), named(from), from.join(" "))]
    NothingBetween {
        /// What was asked for.
        targets: Vec<String>,
        /// From where.
        from: Vec<String>,
    },
    /// The matrix of a step has values that the step whose output it takes has not.
    #[error("step `{step}` takes `{input}` from `{need}`, of which no combination has `{values}`")]
    NoCombination {
        /// The step, with its combination.
        step: String,
        /// Its input.
        input: String,
        /// The other step.
        need: String,
        /// The values, as in the names of steps.
        values: String,
    },
    /// A package that is not there.
    #[error("step `{step}` uses the package `{package}`, which is not built in")]
    PackageNotFound {
        /// The step.
        step: String,
        /// The package.
        package: String,
        /// The built-in package that may have been meant.
        near: Option<String>,
    },
    /// A package refuses its `with:` block.
    #[error("step `{step}` gives `{package}` what it cannot use: {}", all(faults))]
    PackageRefused {
        /// The step.
        step: String,
        /// The package.
        package: String,
        /// All that is wrong.
        faults: Vec<Objection>,
    },
    /// An environment that is not declared.
    #[error("the project has no environment `{environment}`")]
    EnvironmentNotFound {
        /// What was named.
        environment: String,
    },
    /// A program that an environment is made with is not there.
    #[error("environment `{environment}` needs {tool}, which is not on this machine's PATH")]
    ToolMissing {
        /// The environment.
        environment: String,
        /// Where the environment names it, such as `conda` or `host[0]`.
        at: String,
        /// The program, in words.
        tool: String,
        /// What to do.
        hint: String,
    },
    /// The program of a step's command is not there.
    #[error("step `{step}` runs `{program}`, which is not on this machine's PATH")]
    ProgramMissing {
        /// The step.
        step: String,
        /// The program.
        program: String,
    },
    /// The variable that a step's secret is in is not set.
    #[error("step `{step}` takes its secret `{secret}` from the variable `{variable}`, which is not set")]
    SecretMissing {
        /// The step.
        step: String,
        /// The parameter.
        secret: String,
        /// The variable.
        variable: String,
    },
    /// R of another version than the wanted one.
    #[error("environment `{environment}` wants R `{wanted}`, and this machine has R {found}")]
    RVersion {
        /// The environment.
        environment: String,
        /// The version.
        wanted: String,
        /// The version that is there.
        found: String,
    },
    /// R packages that are not there.
    #[error("environment `{environment}` lacks R packages: {}", missing(packages))]
    RPackagesMissing {
        /// The environment.
        environment: String,
        /// The packages, each with the one that needs it, where it is not wanted itself.
        packages: Vec<(String, String)>,
    },
    /// Steps cannot be isolated as it was asked for.
    #[error("steps cannot be isolated by {level}: {reason}")]
    IsolationMissing {
        /// The level.
        level: &'static str,
        /// Why not.
        reason: String,
        /// Where the project file asks for it, where that is known.
        at: Option<String>,
    },
    /// No interpreter of the wanted version.
    #[error("environment `{environment}` wants Python `{wanted}`, which is not on this machine")]
    PythonMissing {
        /// The environment.
        environment: String,
        /// The version.
        wanted: String,
    },
    /// `uv` is not there and cannot be installed.
    #[error("install `uv`, which provisions Python environments: {reason}")]
    UvMissing {
        /// Why not.
        reason: String,
    },
    /// An environment cannot be locked or made.
    #[error("{action} environment `{environment}`: {reason}")]
    EnvironmentFailed {
        /// The environment.
        environment: String,
        /// What was tried: `lock` or `provision`.
        action: &'static str,
        /// What `uv` said.
        reason: String,
    },
    /// The lock file cannot be read or written.
    #[error("use the lock file `rondo.lock`: {reason}")]
    LockFile {
        /// Why not.
        reason: String,
    },
    /// The lock file does not agree and it was to be kept.
    #[error("`rondo.lock` does not agree with the project: {}", differences.join("; "))]
    LockChanged {
        /// What differs.
        differences: Vec<String>,
    },
    /// A step failed.
    #[error("step `{step}` failed: {cause}")]
    StepFailed {
        /// The step.
        step: String,
        /// The cause in words.
        cause: String,
        /// Its run.
        run: Option<RunId>,
        /// Whether the step failed or what it reads is damaged.
        code: Code,
    },
    /// What a step reads is damaged in the store.
    #[error("its input `{input}` is damaged in the store")]
    InputDamaged {
        /// The input.
        input: String,
        /// What is damaged of it.
        source: Box<rondo_store::Error>,
    },
    /// A statement that is not answered.
    #[error("the statement is refused: {reason}")]
    SqlRefused {
        /// What the engine said.
        reason: String,
        /// What to do.
        hint: Option<String>,
    },
    /// A statement whose answer came to a bad end.
    #[error("the statement cannot be answered: {reason}")]
    SqlFailed {
        /// What the engine said.
        reason: String,
        /// What to do.
        hint: Option<String>,
    },
    /// A table cannot be read.
    #[error(transparent)]
    Table(#[from] rondo_table::TableError),
    /// Several things at once, each told for itself: two at least.
    #[error("{}", errors.iter().map(Error::to_string).collect::<Vec<_>>().join("; "))]
    Several {
        /// They.
        errors: Vec<Error>,
    },
    /// Stopped from outside.
    #[error("the run was interrupted")]
    Interrupted,
    /// A task of this process came to a bad end.
    #[error("a task of the pipeline ended unexpectedly: {reason}")]
    Task {
        /// What is known of it.
        reason: String,
    },
}

fn those(packages: &[(String, String)]) -> &'static str {
    if packages.len() == 1 { "it" } else { "them" }
}

fn missing(packages: &[(String, String)]) -> String {
    let one = |(name, needed_by): &(String, String)| match needed_by.as_str() {
        "" => format!("`{name}`"),
        needed_by => format!("`{name}` (for `{needed_by}`)"),
    };
    packages.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn all(faults: &[Objection]) -> String {
    faults.iter().map(|fault| fault.message.as_str()).collect::<Vec<_>>().join("; ")
}

/// Where the project file has a step's key; of a step that a package brings, where that is used.
pub(crate) fn at(step: &str, key: &str) -> String {
    match step.split_once('/') {
        Some((outer, _)) => format!("steps.{outer}.uses"),
        None => format!("steps.{}.{key}", step.split('[').next().unwrap_or(step)),
    }
}

/// What a package says of its block, as the step's.
fn refused(step: &str, package: &str, fault: &Objection) -> Objection {
    let Objection { path, message, hint } = fault.clone();
    if path.is_empty() {
        return Objection {
            path: at(step, "uses"),
            message: format!("package `{package}`: {message}"),
            hint,
        };
    }
    Objection { path: at(step, &format!("with.{path}")), message, hint }
}

/// Names of the command line, in a sentence.
fn named(words: &[String]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// That none of them depends.
fn without_need(targets: &[String]) -> String {
    match targets {
        [target] => format!("`{target}` does not depend"),
        targets => format!("none of {} depends", named(targets)),
    }
}

impl Error {
    /// Where the project file says what it is about, where it does.
    fn path(&self) -> Option<String> {
        Some(match self {
            Self::ParameterType { name, .. } => format!("params.{name}"),
            Self::CodeMissing { step, .. } => at(step, "code"),
            Self::OutputIsCode { step, .. } => at(step, "outputs"),
            Self::Expression { step, .. } | Self::ProgramMissing { step, .. } => at(step, "run"),
            Self::NoCombination { step, .. } => at(step, "matrix"),
            Self::PackageNotFound { step, .. } => at(step, "uses"),
            Self::Condition { step, .. } => at(step, "when"),
            Self::SecretMissing { step, .. } => at(step, "with"),
            Self::ToolMissing { environment, at, .. } => format!("environments.{environment}.{at}"),
            Self::PythonMissing { environment, .. } => format!("environments.{environment}.python"),
            Self::RVersion { environment, .. } => format!("environments.{environment}.r"),
            Self::RPackagesMissing { environment, .. } => format!("environments.{environment}.packages"),
            Self::EnvironmentFailed { environment, .. } => format!("environments.{environment}"),
            Self::IsolationMissing { at, .. } => at.clone()?,
            Self::Store(_)
            | Self::Io { .. }
            | Self::StepNotFound { .. }
            | Self::ParameterNotFound { .. }
            | Self::PlaceForeign { .. }
            | Self::DatasetMissing { .. }
            | Self::VersionMissing { .. }
            | Self::NeverMade { .. }
            | Self::PackageRefused { .. }
            | Self::EnvironmentNotFound { .. }
            | Self::UvMissing { .. }
            | Self::LockFile { .. }
            | Self::LockChanged { .. }
            | Self::InputDamaged { .. }
            | Self::StepFailed { .. }
            | Self::SqlRefused { .. }
            | Self::SqlFailed { .. }
            | Self::Table(_)
            | Self::Several { .. }
            | Self::Interrupted
            | Self::NothingBetween { .. }
            | Self::Task { .. } => return None,
        })
    }

    /// All of them as one, each once; good where there are none.
    pub(crate) fn all(errors: Vec<Self>) -> Result<(), Self> {
        let mut seen = HashSet::new();
        let parts = |error| match error {
            Self::Several { errors } => errors,
            error => vec![error],
        };
        let mut errors: Vec<Self> = errors.into_iter().flat_map(parts).collect();
        errors.retain(|error| seen.insert((error.path(), error.to_string())));
        match (errors.len(), errors.pop()) {
            (_, None) => Ok(()),
            (1, Some(one)) => Err(one),
            (_, Some(last)) => {
                errors.push(last);
                Err(Self::Several { errors })
            }
        }
    }

    /// The same where the project file asks for what is missing there.
    pub(crate) fn said_at(self, place: String) -> Self {
        match self {
            Self::IsolationMissing { level, reason, at: _ } => {
                Self::IsolationMissing { level, reason, at: Some(place) }
            }
            error => error,
        }
    }

    /// What the project file is told of it; of what it says nothing of, the message.
    fn each(&self) -> Vec<Objection> {
        let hint = self.hints().into_iter().next();
        match self.objections() {
            none if none.is_empty() => vec![Objection { hint, ..self.to_string().into() }],
            objections => objections,
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

impl From<tokio::task::JoinError> for Error {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Task { reason: error.to_string() }
    }
}

impl Explain for Error {
    fn code(&self) -> Code {
        match self {
            Self::Store(error) => error.code(),
            Self::InputDamaged { source, .. } => source.code(),
            Self::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Code::DiskFull,
                _ => Code::Io,
            },
            Self::StepNotFound { .. } => Code::StepNotFound,
            Self::ParameterNotFound { .. } | Self::ParameterType { .. } => Code::ValueInvalid,
            Self::NeverMade { .. } => Code::StepNotFound,
            Self::NothingBetween { .. } => Code::ValueInvalid,
            Self::PlaceForeign { .. } => Code::RequestInvalid,
            Self::DatasetMissing { .. } | Self::VersionMissing { .. } => Code::DatasetNotFound,
            Self::CodeMissing { .. }
            | Self::OutputIsCode { .. }
            | Self::Expression { .. }
            | Self::Condition { .. }
            | Self::NoCombination { .. }
            | Self::EnvironmentNotFound { .. } => Code::ProjectInvalid,
            Self::PackageNotFound { .. } | Self::PackageRefused { .. } => Code::PackageInvalid,
            Self::PythonMissing { .. }
            | Self::UvMissing { .. }
            | Self::ToolMissing { .. }
            | Self::ProgramMissing { .. }
            | Self::RVersion { .. }
            | Self::RPackagesMissing { .. }
            | Self::IsolationMissing { .. }
            | Self::EnvironmentFailed { .. } => Code::EnvironmentFailed,
            Self::SecretMissing { .. } => Code::ValueInvalid,
            Self::LockFile { .. } => Code::ProjectInvalid,
            Self::LockChanged { .. } => Code::LockChanged,
            Self::StepFailed { code, .. } => *code,
            Self::SqlRefused { .. } => Code::SqlInvalid,
            Self::SqlFailed { .. } => Code::SqlFailed,
            Self::Table(error) => error.code(),
            // They keep the same run from beginning: the first of them stands for all.
            Self::Several { errors } => errors.first().map_or(Code::Internal, Self::code),
            Self::Interrupted => Code::Interrupted,
            Self::Task { .. } => Code::Internal,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Store(error) => error.hints(),
            Self::InputDamaged { source, .. } => source.hints(),
            Self::StepNotFound { near, .. }
            | Self::ParameterNotFound { near, .. }
            | Self::PackageNotFound { near, .. } => {
                near.iter().map(|near| format!("did you mean `{near}`?")).collect()
            }
            Self::PackageRefused { faults, .. } => {
                faults.iter().filter_map(|fault| fault.hint.clone()).collect()
            }
            Self::NoCombination { .. } => {
                vec!["give that key the same values in both matrices, or another name in one".to_owned()]
            }
            Self::NeverMade { need, .. } => vec![format!("rondo run {need}")],
            Self::DatasetMissing { dataset } => vec![format!("rondo data add {dataset}")],
            Self::VersionMissing { dataset, .. } => {
                vec![format!("rondo data log {dataset}"), format!("rondo data get {dataset}")]
            }
            Self::PythonMissing { wanted, .. } => {
                vec![format!("install Python {wanted}, or widen `python:` of the environment")]
            }
            Self::UvMissing { .. } => vec!["install `uv` and put it in the PATH".to_owned()],
            Self::LockChanged { .. } => {
                vec!["run without `--locked` and commit the new `rondo.lock`".to_owned()]
            }
            Self::StepFailed { run: Some(run), .. } => vec![format!("rondo runs show {}", run.short())],
            Self::ToolMissing { hint, .. } => vec![hint.clone()],
            Self::ProgramMissing { program, .. } => {
                vec![format!("install `{program}`, or give the step an `environment:` that has it")]
            }
            Self::SecretMissing { variable, .. } => vec![format!("export {variable}=…")],
            Self::SqlRefused { hint, .. } | Self::SqlFailed { hint, .. } => hint.iter().cloned().collect(),
            Self::Table(error) => error.hints(),
            Self::OutputIsCode { .. } => vec!["give the output a path of its own, as `out/NAME`".to_owned()],
            Self::RVersion { .. } => vec!["install that R, or widen `r:` of the environment".to_owned()],
            Self::RPackagesMissing { packages, .. } => {
                let names = crate::environment::r::debian_names(packages);
                vec![format!("sudo apt-get install {names}  # where Debian has {}", those(packages))]
            }
            // An environment that is a root file system asks for nothing else.
            Self::IsolationMissing { at: Some(at), .. } if at.starts_with("environments.") => {
                vec!["rondo doctor".to_owned()]
            }
            Self::IsolationMissing { .. } => {
                vec!["rondo doctor".to_owned(), "ask for what there is: `isolation: auto`".to_owned()]
            }
            Self::Several { errors } => {
                let mut seen = HashSet::new();
                let hints = errors.iter().flat_map(Self::hints);
                hints.filter(|hint| seen.insert(hint.clone())).collect()
            }
            Self::NothingBetween { targets, from } => {
                let (targets, from) = (targets.join(" "), from.join(" "));
                vec![format!("ask for one of both: rondo run {targets}, or rondo run --from {from}")]
            }
            Self::StepFailed { run: None, .. }
            | Self::Io { .. }
            | Self::ParameterType { .. }
            | Self::PlaceForeign { .. }
            | Self::CodeMissing { .. }
            | Self::Expression { .. }
            | Self::Condition { .. }
            | Self::EnvironmentFailed { .. }
            | Self::EnvironmentNotFound { .. }
            | Self::LockFile { .. }
            | Self::Interrupted
            | Self::Task { .. } => Vec::new(),
        }
    }

    fn objections(&self) -> Vec<Objection> {
        if let Self::PackageRefused { step, package, faults } = self {
            return faults.iter().map(|fault| refused(step, package, fault)).collect();
        }
        if let Self::Several { errors } = self {
            return errors.iter().flat_map(Self::each).collect();
        }
        let hint = self.hints().into_iter().next();
        let placed = |path| Objection { path, message: self.to_string(), hint };
        self.path().map(placed).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_about_the_line_that_says_so() {
        let path = |step: &str| {
            let program = "quarto".to_owned();
            Error::ProgramMissing { step: step.to_owned(), program }.objections().remove(0).path
        };
        assert_eq!(path("show"), "steps.show.run");
        assert_eq!(path("show[seed=1]"), "steps.show.run");
        assert_eq!(path("report/show"), "steps.report.uses");
        assert_eq!(Error::Interrupted.objections(), []);
    }

    #[test]
    fn each_fault_of_a_package_is_an_objection_of_its_own() {
        let named =
            Objection { path: "parameters.x".into(), message: "no `x`".into(), hint: Some("y".into()) };
        let faults = vec![named, "no rows".to_owned().into()];
        let error = Error::PackageRefused { step: "fit".into(), package: "p".into(), faults };
        assert_eq!(error.to_string(), "step `fit` gives `p` what it cannot use: no `x`; no rows");
        assert_eq!(error.hints(), ["y"]);
        let told: Vec<_> = error.objections().into_iter().map(|told| (told.path, told.message)).collect();
        let expected =
            [("steps.fit.with.parameters.x", "no `x`"), ("steps.fit.uses", "package `p`: no rows")];
        assert_eq!(told, expected.map(|(path, message)| (path.to_owned(), message.to_owned())));
    }
}
