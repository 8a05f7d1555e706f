//! Which command starts the kernel that a notebook asks for.
//!
//! Python notebooks run on the step's interpreter, `<python> -m ipykernel_launcher`, whatever name their
//! author's kernel had: the environment belongs to the step, not to the notebook. Kernels of other languages
//! are looked up by their `kernel.json` in the data folders that are given, where a bare `python` is the
//! step's interpreter too. A step without an environment has the machine's interpreter, unless a kernel is
//! installed for what its notebook asks for.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::document::Notebook;
use crate::error::Error;
use rondo_project::notebook::language::Language;

/// The program that IPython's kernel is started with in place of its own launcher.
const PROGRAM: &str = concat!(include_str!("start.py"), include_str!("alone.py"));

/// The name of the kernel of a Python interpreter.
const PYTHON: &str = "python3";

/// Which kernel to use, and where to look for it.
#[derive(Debug, Clone, Default)]
pub struct KernelChoice {
    /// A name that goes before the notebook's own: `python3`, `ir`, `bash`.
    pub name: Option<String>,
    /// The Python interpreter of the step's environment.
    pub python: Option<PathBuf>,
    /// The machine's interpreter, for a Python notebook that has neither an environment nor an installed kernel.
    pub host: Option<PathBuf>,
    /// Jupyter data folders, each with `kernels/NAME/kernel.json`. Those of the interpreter's own prefix are
    /// looked at first without being named.
    pub data_dirs: Vec<PathBuf>,
}

impl KernelChoice {
    /// The kernel of a Python interpreter.
    pub fn python(interpreter: impl Into<PathBuf>) -> Self {
        Self { python: Some(interpreter.into()), ..Self::default() }
    }
}

/// How a kernel has to be interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InterruptMode {
    /// By SIGINT.
    Signal,
    /// By an `interrupt_request` on the control channel.
    Message,
}

/// What starts a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelSpec {
    /// Its name.
    pub name: String,
    /// The command, `{connection_file}` standing for the connection file.
    pub argv: Vec<String>,
    /// Variables that its `kernel.json` sets.
    pub env: BTreeMap<String, String>,
    /// The language that its `kernel.json` names.
    pub language: Option<String>,
    /// How it is interrupted.
    pub interrupt: InterruptMode,
    /// Whether it is known to speak over Unix sockets.
    pub surely_ipc: bool,
}

impl KernelSpec {
    /// IPython's kernel in an interpreter. History is kept in memory: kernels that run side by side would
    /// else lock each other out of one file.
    pub fn python(interpreter: &Path) -> Self {
        let interpreter = std::path::absolute(interpreter).unwrap_or_else(|_| interpreter.to_owned());
        let argv = [
            &*interpreter.to_string_lossy(),
            "-m",
            "ipykernel_launcher",
            "-f",
            "{connection_file}",
            "--HistoryManager.hist_file=:memory:",
        ];
        Self {
            name: PYTHON.to_owned(),
            argv: argv.map(str::to_owned).to_vec(),
            env: BTreeMap::new(),
            language: Some("python".to_owned()),
            interrupt: InterruptMode::Signal,
            surely_ipc: true,
        }
    }

    /// Whether a process of an interpreter that forks kernels stands for this command.
    pub fn is_forked_by(&self, interpreter: &Path) -> bool {
        *self == Self::python(interpreter)
    }

    /// The command with the connection file in its place. What is said to be `-m ipykernel_launcher` is that,
    /// but for a program that gets sooner to the same.
    pub fn command(&self, connection_file: &Path) -> Vec<String> {
        let file = connection_file.to_string_lossy();
        let mut command: Vec<String> =
            self.argv.iter().map(|word| word.replace("{connection_file}", &file)).collect();
        if let (true, [_, module, launcher, ..]) = (self.surely_ipc, command.as_mut_slice()) {
            (*module, *launcher) = ("-c".to_owned(), PROGRAM.to_owned());
        }
        command
    }
}

/// Finds the kernel for a notebook.
///
/// # Errors
/// [`Error::KernelUnknown`] where no kernel has the name, [`Error::NoInterpreter`] where a Python notebook
/// has no interpreter to run on.
pub fn resolve(choice: &KernelChoice, notebook: &Notebook, path: &Path) -> Result<KernelSpec, Error> {
    let wanted = wanted(choice, notebook);
    let generic = is_generic(wanted);
    if !generic && let Some(spec) = find(choice, wanted) {
        return Ok(spec);
    }
    // A Python notebook that was saved with a private kernel's name runs on the step's interpreter.
    let named = if choice.name.is_none() { notebook.language() } else { None };
    let is_python = generic
        || named.as_deref().map_or_else(|| Language::of_kernel(wanted), Language::named)
            == Some(Language::Python);
    match (&choice.python, is_python) {
        (Some(interpreter), true) => Ok(KernelSpec::python(interpreter)),
        (None, true) => find(choice, wanted)
            .or_else(|| choice.host.as_deref().map(KernelSpec::python))
            .ok_or_else(|| Error::NoInterpreter { notebook: path.to_owned() }),
        (_, false) => Err(Error::KernelUnknown { name: wanted.to_owned(), known: names(choice) }),
    }
}

/// The name of the kernel that a notebook asks for, where it is not installed and another stands for it.
pub fn lacking<'a>(choice: &'a KernelChoice, notebook: &'a Notebook, found: &KernelSpec) -> Option<&'a str> {
    let wanted = wanted(choice, notebook);
    (!is_generic(wanted) && found.name != wanted).then_some(wanted)
}

fn wanted<'a>(choice: &'a KernelChoice, notebook: &'a Notebook) -> &'a str {
    choice.name.as_deref().or_else(|| notebook.kernel_name()).unwrap_or(PYTHON)
}

/// Whether a name stands for whichever Python there is.
fn is_generic(name: &str) -> bool {
    matches!(name, PYTHON | "python" | "ipython" | "ipykernel")
}

fn folders(choice: &KernelChoice) -> impl Iterator<Item = PathBuf> + '_ {
    let prefix = choice.python.as_deref().and_then(Path::parent).and_then(Path::parent);
    let own = prefix.map(|prefix| prefix.join("share/jupyter"));
    own.into_iter().chain(choice.data_dirs.iter().cloned()).map(|folder| folder.join("kernels"))
}

/// The names of all kernels in the data folders and of that of the interpreter, sorted.
pub fn names(choice: &KernelChoice) -> Vec<String> {
    let interpreter = choice.python.as_ref().or(choice.host.as_ref()).map(|_| PYTHON.to_owned());
    let mut names: Vec<String> = folders(choice)
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("kernel.json").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .chain(interpreter)
        .collect();
    names.sort();
    names.dedup();
    names
}

fn find(choice: &KernelChoice, name: &str) -> Option<KernelSpec> {
    // A name with a slash in it would leave the data folder.
    if name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.') {
        return None;
    }
    let python = choice.python.as_deref().or(choice.host.as_deref());
    folders(choice).find_map(|folder| read(&folder.join(name), name, python))
}

fn read(folder: &Path, name: &str, python: Option<&Path>) -> Option<KernelSpec> {
    let bytes = fs::read(folder.join("kernel.json")).ok()?;
    let spec: Value = serde_json::from_slice(&bytes).ok()?;
    let resource = folder.to_string_lossy();
    let mut argv: Vec<String> = spec
        .get("argv")?
        .as_array()?
        .iter()
        .map(|word| word.as_str().map(|word| word.replace("{resource_dir}", &resource)))
        .collect::<Option<_>>()?;
    let program = argv.first_mut()?;
    if let (Some(python), "python" | "python3") = (python, program.as_str()) {
        *program =
            std::path::absolute(python).unwrap_or_else(|_| python.to_owned()).to_string_lossy().into_owned();
    }
    let env = spec.get("env").and_then(Value::as_object);
    let env =
        env.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    let text = |key: &str| spec.get(key).and_then(Value::as_str);
    Some(KernelSpec {
        name: name.to_owned(),
        argv,
        env: env.collect(),
        language: text("language").map(str::to_lowercase),
        interrupt: match text("interrupt_mode") {
            Some("message") => InterruptMode::Message,
            Some(_) | None => InterruptMode::Signal,
        },
        surely_ipc: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernels() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let bash = folder.path().join("kernels/bash");
        fs::create_dir_all(&bash).unwrap();
        let spec = r#"{"argv": ["python", "-m", "bash_kernel", "-f", "{connection_file}", "{resource_dir}/x"],
            "env": {"PS1": "$"}, "language": "Bash", "interrupt_mode": "message", "display_name": "Bash"}"#;
        fs::write(bash.join("kernel.json"), spec).unwrap();
        folder
    }

    #[test]
    fn a_named_kernel_runs_on_the_environments_python() {
        let folder = kernels();
        let choice = KernelChoice {
            name: Some("bash".to_owned()),
            python: Some("/env/bin/python".into()),
            data_dirs: vec![folder.path().to_owned()],
            ..KernelChoice::default()
        };
        let spec = resolve(&choice, &Notebook::new("x", "y"), Path::new("n")).unwrap();
        let command = spec.command(Path::new("/tmp/c.json"));
        assert_eq!(command.first().map(String::as_str), Some("/env/bin/python"));
        assert_eq!(command.get(4).map(String::as_str), Some("/tmp/c.json"));
        assert!(command.last().unwrap().ends_with("kernels/bash/x"));
        assert_eq!(spec.interrupt, InterruptMode::Message);
        assert_eq!(spec.language.as_deref(), Some("bash"));
        assert_eq!(spec.env.get("PS1").map(String::as_str), Some("$"));
    }

    #[test]
    fn a_python_notebook_with_a_private_kernels_name_runs_on_the_interpreter() {
        let choice = KernelChoice::python("/env/bin/python");
        let spec = resolve(&choice, &Notebook::new("my-thesis", "python"), Path::new("n")).unwrap();
        assert_eq!(spec.argv.get(2).map(String::as_str), Some("ipykernel_launcher"));
    }

    #[test]
    fn a_kernel_that_another_stands_for_is_told() {
        let folder = kernels();
        let told = |name: &str| {
            let choice = KernelChoice {
                data_dirs: vec![folder.path().to_owned()],
                ..KernelChoice::python("/env/bin/python")
            };
            let notebook = Notebook::new(name, "python");
            let found = resolve(&choice, &notebook, Path::new("n")).unwrap();
            lacking(&choice, &notebook, &found).map(str::to_owned)
        };
        assert_eq!(told("my-thesis").as_deref(), Some("my-thesis"));
        assert_eq!((told("python3"), told("ipykernel"), told("bash")), (None, None, None));
    }

    #[test]
    fn an_unknown_kernel_names_those_that_are_there() {
        let folder = kernels();
        let choice = KernelChoice {
            name: Some("bahs".to_owned()),
            data_dirs: vec![folder.path().to_owned()],
            ..KernelChoice::default()
        };
        let error = resolve(&choice, &Notebook::new("x", "y"), Path::new("n")).unwrap_err();
        use rondo_core::Explain;
        assert_eq!(error.hints().first().map(String::as_str), Some("did you mean `bash`?"));
        let hosted = KernelChoice { host: Some("/usr/bin/python3".into()), ..choice.clone() };
        assert_eq!(names(&hosted), ["bash", "python3"]);
        let outside = KernelChoice { name: Some("../bash".to_owned()), ..choice };
        assert!(matches!(
            resolve(&outside, &Notebook::new("x", "y"), Path::new("n")),
            Err(Error::KernelUnknown { .. })
        ));
    }

    #[test]
    fn python_without_an_interpreter_is_said_so() {
        let error = resolve(&KernelChoice::default(), &Notebook::new("python3", "python"), Path::new("n"))
            .unwrap_err();
        assert!(matches!(error, Error::NoInterpreter { .. }));
    }

    #[test]
    fn the_machines_interpreter_comes_after_the_environments_and_after_an_installed_kernel() {
        let folder = kernels();
        let notebook = Notebook::new("python3", "python");
        let program = |choice: &KernelChoice| {
            resolve(choice, &notebook, Path::new("n")).unwrap().argv.first().cloned().unwrap()
        };
        let host = KernelChoice { host: Some("/usr/bin/python3".into()), ..KernelChoice::default() };
        assert_eq!(program(&host), "/usr/bin/python3");
        assert_eq!(
            program(&KernelChoice { python: Some("/env/bin/python".into()), ..host.clone() }),
            "/env/bin/python"
        );
        let installed = folder.path().join("kernels/python3");
        fs::create_dir_all(&installed).unwrap();
        fs::write(installed.join("kernel.json"), r#"{"argv": ["/opt/python"]}"#).unwrap();
        assert_eq!(
            program(&KernelChoice { data_dirs: vec![folder.path().to_owned()], ..host }),
            "/opt/python"
        );
    }
}
