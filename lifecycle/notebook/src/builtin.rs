//! The package `papermill`: a notebook as a step.
//!
//! ```yaml
//! train:
//!   uses: papermill
//!   with: { notebook: train.ipynb, parameters: { max_depth: 6 } }
//! ```
//!
//! It runs in the step's environment and in the project's folder. The executed notebook is an artifact of
//! the step's run, and also an output where the step declares one whose path ends in `.ipynb`.

mod failed;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rondo_core::ports::{Builtin, BuiltinCall, BuiltinResult, Event, PortError, Progress, Surroundings};
use rondo_core::{Explain, Objection, Span, suggest};
use rondo_process::program::{find_program, is_program, search_path};
use serde_json::Value;

use crate::document::{Notebook, write_atomically};
use crate::error::{Error, Kept};
use crate::execute::{ExecuteRequest, execute};
use crate::kernel::KernelChoice;
use crate::kernel::spec::{KernelSpec, resolve};
use crate::parameters::{self, Given};

const KEYS: &[&str] = &[
    "notebook",
    "parameters",
    "secrets",
    "kernel",
    "output",
    "cell_timeout",
    "timeout",
    "start_timeout",
    "memory",
    "report_mode",
];

/// How often the copy is written while one cell runs, for who looks on; less often where that takes long.
const AUTOSAVE: Duration = Duration::from_secs(2);

/// The package.
#[derive(Clone, Default)]
pub struct Papermill {
    /// The user's environment, which steps do not see: where the values of secrets come from.
    pub variables: BTreeMap<String, String>,
    /// Jupyter data folders in which kernels of other languages are looked up.
    pub data_dirs: Vec<PathBuf>,
}

/// A `with:` block in its own types.
struct With {
    notebook: PathBuf,
    parameters: BTreeMap<String, Value>,
    /// Parameters by the environment variables that hold their values.
    secrets: BTreeMap<String, String>,
    memory: Option<u64>,
    report_mode: bool,
    kernel: Option<String>,
    output: Option<String>,
    cell_timeout: Option<Duration>,
    timeout: Option<Duration>,
    start_timeout: Option<Duration>,
}

impl With {
    /// Reads the block; every fault of it where there are any.
    fn read(with: &BTreeMap<String, Value>) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        for key in with.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            let near = suggest::nearest(key, KEYS.iter().copied());
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            faults.push(format!("`{key}` is not known in `with:` of `papermill`{near}"));
        }
        let mut text = |key: &str| match with.get(key) {
            Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            Some(Value::Null) | None => None,
            Some(other) => {
                faults.push(format!("`{key}` has to be a text, got `{other}`"));
                None
            }
        };
        let (notebook, kernel, output) = (text("notebook"), text("kernel"), text("output"));
        if notebook.is_none() && !with.contains_key("notebook") {
            faults.push("`notebook` is missing: the path of the notebook to run".to_owned());
        }
        let parameters = match with.get("parameters") {
            Some(Value::Object(map)) => map.clone().into_iter().collect(),
            Some(Value::Null) | None => BTreeMap::new(),
            Some(other) => {
                faults.push(format!("`parameters` has to be a map of names to values, got `{other}`"));
                BTreeMap::new()
            }
        };
        let secrets = match with.get("secrets") {
            Some(Value::Object(map)) if map.values().all(Value::is_string) => {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                map.iter().map(|(name, variable)| (name.clone(), text(variable))).collect()
            }
            Some(Value::Null) | None => BTreeMap::new(),
            Some(other) => {
                let expected = "a map of parameters to the environment variables that hold their values";
                faults.push(format!("`secrets` has to be {expected}, got `{other}`"));
                BTreeMap::new()
            }
        };
        let memory = match with.get("memory").map(memory) {
            Some(Ok(bytes)) => bytes,
            Some(Err(fault)) => {
                faults.push(format!("`memory`: {fault}"));
                None
            }
            None => None,
        };
        let report_mode = match with.get("report_mode") {
            Some(Value::Bool(hides)) => *hides,
            Some(Value::Null) | None => false,
            Some(other) => {
                faults.push(format!("`report_mode` has to be true or false, got `{other}`"));
                false
            }
        };
        let mut limit = |key: &str| match with.get(key).map(duration) {
            Some(Ok(limit)) => limit,
            Some(Err(fault)) => {
                faults.push(format!("`{key}`: {fault}"));
                None
            }
            None => None,
        };
        let (cell_timeout, timeout, start_timeout) =
            (limit("cell_timeout"), limit("timeout"), limit("start_timeout"));
        match notebook {
            Some(notebook) if faults.is_empty() => Ok(Self {
                notebook: notebook.into(),
                parameters,
                secrets,
                memory,
                report_mode,
                kernel,
                output,
                cell_timeout,
                timeout,
                start_timeout,
            }),
            Some(_) | None => Err(faults),
        }
    }
}

/// Seconds, or a length of time such as `10m`.
fn duration(value: &Value) -> Result<Option<Duration>, String> {
    let refuse = || format!("expected seconds or a length of time such as `10m`, got `{value}`");
    match value {
        Value::Null => Ok(None),
        Value::Number(number) => {
            let seconds = number.as_f64().filter(|seconds| *seconds > 0.0).ok_or_else(refuse)?;
            Duration::try_from_secs_f64(seconds).map(Some).map_err(|_| refuse())
        }
        Value::String(text) => {
            let span: Span = text.parse().map_err(|_| refuse())?;
            let millis = u64::try_from(span.millis()).map_err(|_| refuse())?;
            Ok(Some(Duration::from_millis(millis)).filter(|limit| !limit.is_zero()))
        }
        _ => Err(refuse()),
    }
}

/// Bytes, or an amount such as `2GB`.
fn memory(value: &Value) -> Result<Option<u64>, String> {
    let refuse = || format!("expected an amount of memory such as `2GB`, got `{value}`");
    match value {
        Value::Null => Ok(None),
        Value::Number(number) => {
            number.as_u64().filter(|bytes| *bytes >= 1_000_000).map(Some).ok_or_else(refuse)
        }
        Value::String(text) => rondo_project::package::memory(text).map(Some).ok_or_else(refuse),
        _ => Err(refuse()),
    }
}

/// Whether a value still holds a reference that the pipeline will put in.
fn is_open(text: &Path) -> bool {
    text.to_string_lossy().contains("${{")
}

#[async_trait]
impl Builtin for Papermill {
    fn name(&self) -> &'static str {
        "papermill"
    }

    fn version(&self) -> &'static str {
        "2"
    }

    fn parameters(&self) -> &'static [&'static str] {
        KEYS
    }

    fn stops(&self) -> bool {
        true
    }

    fn code_files(&self, _root: &Path, with: &BTreeMap<String, Value>) -> Vec<PathBuf> {
        with.get("notebook").and_then(Value::as_str).map(PathBuf::from).into_iter().collect()
    }

    fn check(&self, root: &Path, with: &BTreeMap<String, Value>) -> Vec<Objection> {
        let with = match With::read(with) {
            Ok(with) => with,
            Err(faults) => return faults.into_iter().map(Objection::from).collect(),
        };
        if is_open(&with.notebook) {
            return Vec::new();
        }
        let about = |path: &str, message: &str, hint| of(&with.notebook, path, message, hint);
        let notebook = match Notebook::read(&root.join(&with.notebook)) {
            Ok(notebook) => notebook,
            Err(Error::Invalid { message, .. }) => return vec![about("notebook", &message, None)],
            Err(error) => {
                let hint = error.hints().into_iter().next();
                return vec![Objection { path: "notebook".to_owned(), message: error.to_string(), hint }];
            }
        };
        let found = parameters::inspect(&notebook);
        let secrets = with.secrets.keys().map(|name| (name.clone(), Value::Null)).collect();
        [("parameters", &with.parameters), ("secrets", &secrets)]
            .into_iter()
            .flat_map(|(key, given)| {
                parameters::check(&found, given).into_iter().map(move |fault| (key, fault))
            })
            .map(|(key, fault)| about(&format!("{key}.{}", fault.name), &fault.message, fault.hint))
            .collect()
    }

    fn lacks(&self, root: &Path, with: &BTreeMap<String, Value>, place: &Surroundings) -> Vec<Objection> {
        // Before an environment is made it does not matter which interpreter it has: only whether the kernel is
        // one of Python's.
        let any = PathBuf::from("python3");
        let python = match place {
            Surroundings::Made(_, python) => python.clone(),
            Surroundings::Host => None,
            Surroundings::Python(..) | Surroundings::Unknown => Some(any.clone()),
        };
        let Some((notebook, found)) = self.kernel(root, with, python) else { return Vec::new() };
        let key = if with.contains_key("kernel") { "kernel" } else { "notebook" };
        let about = |message: String, hint| vec![of(&notebook, key, &message, Some(hint))];
        match (found, place) {
            (Ok(spec), Surroundings::Python(name, packages))
                if spec.is_forked_by(&any) && !packages.contains("ipykernel") =>
            {
                let message = format!("the environment `{name}` has no `ipykernel`, which runs it");
                about(message, "add `ipykernel` to its requirements".to_owned())
            }
            (Ok(spec), Surroundings::Host) => match self.missing(&spec) {
                Some(program) => about(
                    format!(
                        "its kernel `{}` runs `{program}`, which is not on this machine's PATH",
                        spec.name
                    ),
                    format!("install `{program}`, or give the step an `environment:` that has it"),
                ),
                None => Vec::new(),
            },
            (Err(Error::NoInterpreter { .. }), Surroundings::Host) => about(
                "no Python is on this machine's PATH".to_owned(),
                "give the step an `environment:` with `ipykernel` among its requirements".to_owned(),
            ),
            (Err(Error::KernelUnknown { name, known }), Surroundings::Host) => {
                about(format!("no kernel `{name}` is installed"), there_are(&known))
            }
            (Err(Error::KernelUnknown { name, known }), Surroundings::Made(environment, _)) => {
                let has = format!(
                    "neither the environment `{environment}` nor the machine has the kernel `{name}`"
                );
                about(has, there_are(&known))
            }
            _ => Vec::new(),
        }
    }

    fn asks_made(&self, root: &Path, with: &BTreeMap<String, Value>) -> bool {
        let found = self.kernel(root, with, Some("python3".into()));
        matches!(found, Some((_, Err(Error::KernelUnknown { .. }))))
    }

    async fn run(&self, call: BuiltinCall) -> Result<BuiltinResult, PortError> {
        let (progress, subject) = (call.progress.clone(), call.step.step.clone());
        run(self, call).await.map_err(|error| failed::told(error, progress.as_ref(), &subject))
    }
}

impl Papermill {
    /// The notebook, for messages, and the kernel that it would get; none where that is not known yet.
    fn kernel(
        &self,
        root: &Path,
        with: &BTreeMap<String, Value>,
        python: Option<PathBuf>,
    ) -> Option<(PathBuf, Result<KernelSpec, Error>)> {
        let with = With::read(with).ok()?;
        let is_unknown =
            is_open(&with.notebook) || with.kernel.as_deref().map(Path::new).is_some_and(is_open);
        let path = root.join(&with.notebook);
        let notebook = Notebook::read(&path).ok().filter(|_| !is_unknown)?;
        let choice = self.choice(with.kernel, python, &self.variables);
        Some((with.notebook, resolve(&choice, &notebook, &path)))
    }

    /// Which kernel is taken: without an interpreter of an environment, the one on the `PATH`.
    fn choice(
        &self,
        name: Option<String>,
        python: Option<PathBuf>,
        variables: &BTreeMap<String, String>,
    ) -> KernelChoice {
        let path = search_path(variables);
        let host = find_program("python3", path).or_else(|| find_program("python", path));
        KernelChoice { name, python, host, data_dirs: self.data_dirs.clone() }
    }

    /// The program of a kernel that is not on this machine.
    fn missing(&self, spec: &KernelSpec) -> Option<String> {
        let program = spec.argv.first()?;
        let is_there = if program.contains('/') {
            is_program(Path::new(program))
        } else {
            find_program(program, search_path(&self.variables)).is_some()
        };
        (!is_there).then(|| program.clone())
    }
}

/// What is said against a notebook, at a key of its `with:` block.
fn of(notebook: &Path, path: &str, message: &str, hint: Option<String>) -> Objection {
    let message = format!("the notebook `{}`: {message}", notebook.display());
    Objection { path: path.to_owned(), message, hint }
}

fn there_are(kernels: &[String]) -> String {
    match kernels {
        [] => "no kernels were found; install it, or give the step an `environment:` that has it".to_owned(),
        names => format!("kernels found: {}", names.join(", ")),
    }
}

async fn run(package: &Papermill, call: BuiltinCall) -> Result<BuiltinResult, Error> {
    let with = With::read(&call.with).map_err(|faults| Error::With { message: faults.join("; ") })?;
    let copies = declared_copies(&with, &call)?;
    let input = call.root.join(&with.notebook);
    let stem =
        input.file_stem().map_or_else(|| "notebook".to_owned(), |stem| stem.to_string_lossy().into_owned());
    // It is kept also when a cell fails, and looked at while cells run.
    let path = format!("notebook/{stem}.ipynb");
    let output = call.kept().join(&path);
    let secrets = secrets(&with, &package.variables)?;
    let kernel = package.choice(with.kernel, call.python.clone(), &call.environment);
    let usual = ExecuteRequest::new(input, output.clone(), kernel);
    let executed = Box::pin(execute(ExecuteRequest {
        kept: Some(Kept::Artifact(call.step.run, path)),
        given: Given { values: with.parameters, secrets, ..Given::default() },
        memory: with.memory,
        report_mode: with.report_mode,
        cwd: call.root.clone(),
        env: call.environment.clone(),
        inherits: false,
        confinement: call.confinement.clone(),
        cancel: call.stop.clone(),
        cell_timeout: with.cell_timeout,
        timeout: with.timeout,
        start_timeout: with.start_timeout.unwrap_or(usual.start_timeout),
        progress: Arc::new(Notes(call.progress.clone())),
        subject: call.step.step.clone(),
        autosave: Some(AUTOSAVE),
        ..usual
    }))
    .await;
    // Of a failed run the page is what people look at first.
    let shown = if output.is_file() { page(&output, &stem) } else { Ok(()) };
    let executed = executed?;
    shown?;
    for copy in copies {
        if let Some(folder) = copy.parent() {
            fs::create_dir_all(folder).map_err(|error| Error::io("write", &copy, error))?;
        }
        fs::copy(&output, &copy).map_err(|error| Error::io("write", &copy, error))?;
    }
    Ok(BuiltinResult { metrics: executed.metrics, artifacts: BTreeMap::new() })
}

/// Writes the page beside an executed notebook.
fn page(notebook: &Path, title: &str) -> Result<(), Error> {
    let html = crate::html::export(&Notebook::read(notebook)?, title);
    write_atomically(&notebook.with_extension("html"), html.as_bytes())
}

/// Puts what is noted of a run into the step's log too.
struct Notes(Arc<dyn Progress>);

impl Progress for Notes {
    fn report(&self, event: Event) {
        if let Event::Note { subject, message } = &event {
            self.0.report(Event::Output { subject: subject.clone(), line: format!("[{message}]") });
        }
        self.0.report(event);
    }
}

/// The values of the secrets, from the user's environment.
fn secrets(with: &With, variables: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Error> {
    with.secrets
        .iter()
        .map(|(name, variable)| match variables.get(variable).filter(|value| !value.is_empty()) {
            Some(value) => Ok((name.clone(), value.clone())),
            None => Err(Error::With {
                message: format!("`secrets`: the environment variable `{variable}` for `{name}` is not set"),
            }),
        })
        .collect()
}

/// The step's outputs that are to be the executed notebook: the one that `output:` names, and those whose
/// path ends in `.ipynb`.
fn declared_copies(with: &With, call: &BuiltinCall) -> Result<Vec<PathBuf>, Error> {
    let outputs = &call.step.outputs;
    if let Some(name) = &with.output
        && !outputs.contains_key(name)
    {
        let near = suggest::nearest(name, outputs.keys().map(String::as_str));
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        return Err(Error::With { message: format!("`output`: the step has no output `{name}`{near}") });
    }
    let is_notebook = |path: &Path| path.extension().is_some_and(|extension| extension == "ipynb");
    let chosen =
        outputs.iter().filter(|(name, path)| with.output.as_ref() == Some(*name) || is_notebook(path));
    Ok(chosen.map(|(_, path)| path.clone()).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::*;

    fn with(value: Value) -> BTreeMap<String, Value> {
        value.as_object().unwrap().clone().into_iter().collect()
    }

    #[test]
    fn faults_of_the_block_are_all_told_before_anything_runs() {
        let package = Papermill::default();
        let block = with(json!({"notebok": "a", "parameters": [1], "timeout": "soon"}));
        let faults = package.check(Path::new("/"), &block);
        assert_eq!(faults.len(), 4, "{faults:?}");
        assert!(faults[0].message.contains("did you mean `notebook`?"));
    }

    #[test]
    fn parameters_are_checked_against_the_notebook() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("n.py"), "# %% tags=[\"parameters\"]\nmax_depth = 6\n").unwrap();
        let package = Papermill::default();
        let check = |parameters: Value| {
            package.check(folder.path(), &with(json!({"notebook": "n.py", "parameters": parameters})))
        };
        assert_eq!(check(json!({"max_depth": "${{ params.depth }}"})), []);
        let faults = check(json!({"max_dept": 3}));
        let hint = Some("did you mean `max_depth`?".to_owned());
        let expected = of(Path::new("n.py"), "parameters.max_dept", "it has no parameter `max_dept`", hint);
        assert_eq!(faults, [expected]);
        let missing = package.check(folder.path(), &with(json!({"notebook": "gone.ipynb"})));
        assert_eq!(missing, [of(Path::new("gone.ipynb"), "notebook", "there is no such file", None)]);
    }

    #[test]
    fn a_kernel_that_is_not_there_is_told_before_anything_runs() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("n.py"), "# %%\n1\n").unwrap();
        let package = Papermill {
            variables: [("PATH".to_owned(), folder.path().display().to_string())].into(),
            ..Papermill::default()
        };
        let python = |names: &[&str]| {
            Surroundings::Python("py".to_owned(), names.iter().map(|&name| name.to_owned()).collect())
        };
        let lacks = |block: Value, place: &Surroundings| -> Vec<String> {
            let lacks = package.lacks(folder.path(), &with(block), place);
            lacks.into_iter().map(|lacks| format!("{}: {}", lacks.path, lacks.message)).collect()
        };
        let plain = json!({"notebook": "n.py"});
        assert!(lacks(plain.clone(), &python(&["pandas"]))[0].contains("`py` has no `ipykernel`"));
        for place in [python(&["ipykernel"]), Surroundings::Unknown] {
            assert_eq!(lacks(plain.clone(), &place), Vec::<String>::new());
        }
        let host = lacks(plain.clone(), &Surroundings::Host);
        assert_eq!(host, ["notebook: the notebook `n.py`: no Python is on this machine's PATH"]);
        let interpreter = folder.path().join("python3");
        fs::write(&interpreter, "").unwrap();
        fs::set_permissions(&interpreter, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(lacks(plain.clone(), &Surroundings::Host), Vec::<String>::new());
        let julia = json!({"notebook": "n.py", "kernel": "julia-1.11"});
        assert_eq!(
            lacks(julia.clone(), &Surroundings::Host),
            ["kernel: the notebook `n.py`: no kernel `julia-1.11` is installed"]
        );
        let hint = package.lacks(folder.path(), &with(julia.clone()), &Surroundings::Host).remove(0).hint;
        assert_eq!(hint.as_deref(), Some("kernels found: python3"));
        // An environment may bring a kernel along: that is known once it is made.
        assert_eq!(lacks(julia.clone(), &python(&[])), Vec::<String>::new());
        assert!(package.asks_made(folder.path(), &with(julia.clone())));
        assert!(!package.asks_made(folder.path(), &with(plain)));
        let prefix = folder.path().join("env");
        let made = Surroundings::Made("py".to_owned(), Some(prefix.join("bin/python")));
        assert_eq!(
            lacks(julia.clone(), &made),
            ["kernel: the notebook `n.py`: neither the environment `py` nor the machine has the kernel \
                 `julia-1.11`"]
        );
        install(&prefix.join("share/jupyter"), "julia-1.11", "julia");
        assert_eq!(lacks(julia, &made), Vec::<String>::new());
    }

    fn install(data: &Path, name: &str, program: &str) {
        let kernel = data.join("kernels").join(name);
        fs::create_dir_all(&kernel).unwrap();
        let spec = json!({"argv": [program, "{connection_file}"], "language": "r"});
        fs::write(kernel.join("kernel.json"), spec.to_string()).unwrap();
    }

    #[test]
    fn the_program_of_a_kernel_is_looked_for_before_anything_runs() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("n.py"), "# %%\n1\n").unwrap();
        let package = Papermill {
            variables: [("PATH".to_owned(), "/bin".to_owned())].into(),
            data_dirs: vec![folder.path().to_owned()],
        };
        let lacks = |program: &str, place: &Surroundings| {
            install(folder.path(), "ir", program);
            package.lacks(folder.path(), &with(json!({"notebook": "n.py", "kernel": "ir"})), place)
        };
        let refused = lacks("no-such-R", &Surroundings::Host);
        assert_eq!(refused[0].path, "kernel");
        assert!(
            refused[0]
                .message
                .ends_with("its kernel `ir` runs `no-such-R`, which is not on this machine's PATH")
        );
        assert_eq!(lacks("/no/such/R", &Surroundings::Host).len(), 1);
        assert_eq!(lacks("sh", &Surroundings::Host), []);
        assert_eq!(lacks("/bin/sh", &Surroundings::Host), []);
        // What an environment has is its own.
        assert_eq!(lacks("no-such-R", &Surroundings::Unknown), []);
    }

    #[test]
    fn times_are_seconds_or_spans() {
        assert_eq!(duration(&json!(1.5)), Ok(Some(Duration::from_millis(1500))));
        assert_eq!(duration(&json!("10m")), Ok(Some(Duration::from_secs(600))));
        for bad in [json!(-1), json!("x"), json!(1e300), json!([])] {
            assert!(duration(&bad).is_err(), "{bad}");
        }
    }
}
