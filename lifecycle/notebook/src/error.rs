//! What can go wrong with a notebook, with the cause named: the cell's error, or how the kernel died.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rondo_core::mask::Mask;
use rondo_core::{Code, Explain, RunId};
use rondo_project::notebook::parameters::ParameterFault;
use rondo_project::quote::word;

use crate::kernel::memory::MemoryCause;
use crate::kernel::process::Exit;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The notebook cannot be read or is not one.
    #[error("read notebook `{}`: {message}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The notebook is of a format that is too old or too new.
    #[error("read notebook `{}`: nbformat {found} is not supported, expected 2 to 4", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The major version that it names.
        found: u64,
    },
    /// The executed notebook would have the name of a script or document, or overwrite one.
    #[error("write the executed notebook to `{}`: that names a script or document", path.display())]
    OutputIsSource {
        /// The file.
        path: PathBuf,
    },
    /// Parameters that the notebook does not take as they were given.
    #[error("pass parameters to `{}`: {}", notebook.display(), Listed(faults))]
    Parameters {
        /// The notebook.
        notebook: PathBuf,
        /// Each fault.
        faults: Vec<ParameterFault>,
    },
    /// No kernel of that name.
    #[error("find the kernel `{name}`")]
    KernelUnknown {
        /// The name that was asked for.
        name: String,
        /// The kernels that are there.
        known: Vec<String>,
    },
    /// The notebook needs a Python kernel and there is no interpreter.
    #[error("run `{}`: it needs a Python interpreter and none was given", notebook.display())]
    NoInterpreter {
        /// The notebook.
        notebook: PathBuf,
    },
    /// The kernel did not get ready.
    #[error("start the kernel `{command}`: {reason}")]
    KernelStart {
        /// The command line.
        command: String,
        /// Why.
        reason: String,
        /// Its last lines of output.
        #[source]
        last_words: Option<LastWords>,
    },
    /// The kernel's process ended while a cell ran.
    #[error("run {at}: the kernel {exit}{}{}", Because(*memory), Peak(*peak_memory))]
    KernelDied {
        /// Where.
        at: Box<CellPlace>,
        /// How the process ended.
        exit: Exit,
        /// Whether it was for its memory, where that is known.
        memory: Option<MemoryCause>,
        /// The peak of its memory, in bytes.
        peak_memory: Option<u64>,
        /// Its last lines of output.
        #[source]
        last_words: Option<LastWords>,
    },
    /// A cell raised an error.
    #[error("run {at}: {}", raised(ename, evalue))]
    CellFailed {
        /// Where.
        at: Box<CellPlace>,
        /// The error's class.
        ename: String,
        /// Its message, first line.
        evalue: String,
        /// The end of the traceback.
        #[source]
        traceback: Option<LastWords>,
    },
    /// A cell or the whole notebook took longer than allowed.
    #[error("run {at}: {} took longer than {}", if *whole { "the notebook" } else { "the cell" }, Seconds(*limit))]
    Timeout {
        /// Where it was at that moment.
        at: Box<CellPlace>,
        /// Whether the limit was that of the whole notebook.
        whole: bool,
        /// The limit.
        limit: Duration,
    },
    /// Stopped by the user.
    #[error("run `{}`: interrupted", notebook.display())]
    Interrupted {
        /// The notebook.
        notebook: PathBuf,
    },
    /// A message could not be sent to the kernel.
    #[error("speak to the kernel on its {channel} channel: {reason}")]
    Channel {
        /// The channel.
        channel: &'static str,
        /// Why.
        reason: String,
    },
    /// The `with:` block of a step is not valid.
    #[error("use the package `papermill`: {message}")]
    With {
        /// What is wrong with it.
        message: String,
    },
    /// Reading or writing a file failed.
    #[error("{action} `{}`", path.display())]
    Io {
        /// What was being done: `read`, `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl Error {
    /// A failed file operation.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    /// A notebook that is not valid.
    pub(crate) fn invalid(path: &Path, message: impl Into<String>) -> Self {
        Self::Invalid { path: path.to_owned(), message: message.into() }
    }
}

impl Explain for Error {
    fn code(&self) -> Code {
        match self {
            Self::Invalid { .. } | Self::Version { .. } | Self::OutputIsSource { .. } => {
                Code::NotebookInvalid
            }
            Self::KernelUnknown { .. } => Code::KernelNotFound,
            Self::Parameters { .. } => Code::NotebookParameter,
            Self::NoInterpreter { .. } | Self::KernelStart { .. } | Self::KernelDied { .. } => {
                Code::KernelDied
            }
            Self::CellFailed { .. } | Self::Timeout { .. } => Code::NotebookFailed,
            Self::Interrupted { .. } => Code::Interrupted,
            Self::Channel { .. } => Code::Internal,
            Self::With { .. } => Code::PackageInvalid,
            Self::Io { source, .. } => match source.raw_os_error() {
                Some(libc::ENOSPC) => Code::DiskFull,
                Some(_) | None => Code::Io,
            },
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Version { path, found } if *found < 4 => {
                vec![format!("jupyter nbconvert --to notebook --nbformat 4 --inplace {}", path.display())]
            }
            Self::OutputIsSource { .. } => vec!["name a file that ends in `.ipynb`".to_owned()],
            Self::Parameters { notebook, faults } => {
                let mut hints: Vec<String> = faults.iter().filter_map(|fault| fault.hint.clone()).collect();
                hints.dedup();
                hints.push(format!("rondo notebook inspect {}", word(&notebook.to_string_lossy())));
                hints
            }
            Self::KernelUnknown { known, .. } if known.is_empty() => {
                vec!["no kernels were found; name one with `kernel: python3`".to_owned()]
            }
            Self::KernelUnknown { name, known } => {
                let near = rondo_core::suggest::nearest(name, known.iter().map(String::as_str));
                let mut hints: Vec<String> =
                    near.map(|near| format!("did you mean `{near}`?")).into_iter().collect();
                hints.push(format!("kernels found: {}", known.join(", ")));
                hints
            }
            Self::NoInterpreter { .. } => {
                vec!["give the step an `environment:` with `ipykernel` among its requirements".to_owned()]
            }
            Self::KernelStart { last_words, command, .. } => {
                let missing = |words: &LastWords| words.0.iter().any(|line| line.contains("No module named"));
                match last_words.as_ref().filter(|words| missing(words)) {
                    Some(_) => vec![
                        format!(
                            "{} -m pip install ipykernel",
                            word(command.split(" -m ").next().unwrap_or("python3"))
                        ),
                        "for a step: `ipykernel` among the requirements of its `environment:`".to_owned(),
                    ],
                    None => Vec::new(),
                }
            }
            Self::KernelDied { exit, memory, at, .. } => {
                let mut hints = Vec::new();
                if let Some(MemoryCause::Limit(bytes)) = memory {
                    hints.push(at.partial.with_memory(bytes / 500_000));
                } else if exit.signal == Some(libc::SIGKILL) {
                    hints.push(
                        "a process that takes more memory than there is gets killed like this; \
                         read the data in parts or fewer columns of it"
                            .to_owned(),
                    );
                }
                if exit.code == Some(0) {
                    hints.push("to stop early without an error use `sys.exit(0)`, not `exit()`".to_owned());
                }
                hints.push(at.kept());
                hints
            }
            Self::CellFailed { ename, at, .. } => {
                let mut hints = Vec::new();
                if ename == "StdinNotImplementedError" {
                    hints.push("nobody can answer `input()` in a run: make it a parameter".to_owned());
                }
                hints.push(at.kept());
                hints
            }
            Self::Timeout { at, .. } => vec![at.kept()],
            Self::Invalid { .. }
            | Self::Version { .. }
            | Self::Interrupted { .. }
            | Self::Channel { .. }
            | Self::With { .. }
            | Self::Io { .. } => Vec::new(),
        }
    }
}

/// Where a run was when it failed, and what is left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellPlace {
    /// The notebook.
    pub notebook: PathBuf,
    /// The cell, counted from 1 among the notebook's own that are run: what Jupyter numbers it with. None where
    /// it is the one that was put in for the parameters.
    pub cell: Option<usize>,
    /// What the executed notebook numbers it with, where it was begun.
    pub count: Option<u64>,
    /// The executed notebook as far as it got.
    pub partial: Kept,
}

/// Where an executed notebook is found: also who asked for it, and so in whose words hints are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// In a file: a command has asked for it.
    File(PathBuf),
    /// Among the artifacts of this run under this path: it was a step.
    Artifact(RunId, String),
}

impl Kept {
    /// How more memory is allowed, in megabytes.
    fn with_memory(&self, megabytes: u64) -> String {
        match self {
            Self::File(_) => format!("allow it more memory: `--memory {megabytes}MB`"),
            Self::Artifact(..) => format!("allow it more memory: `with: {{ memory: {megabytes}MB }}`"),
        }
    }
}

impl CellPlace {
    fn kept(&self) -> String {
        match &self.partial {
            Kept::File(path) => format!("the notebook with its outputs up to there is `{}`", path.display()),
            Kept::Artifact(run, path) => {
                let path = word(path);
                format!(
                    "get the notebook with its outputs up to there: rondo runs get {} {path}",
                    run.short()
                )
            }
        }
    }
}

impl fmt::Display for CellPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cell {
            Some(cell) => write!(f, "cell {cell} of `{}`", self.notebook.display())?,
            None => write!(f, "the parameters of `{}`", self.notebook.display())?,
        }
        match self.count.filter(|count| self.cell.is_none_or(|cell| cell as u64 != *count)) {
            Some(count) => write!(f, " (In [{count}] of the executed copy)"),
            None => Ok(()),
        }
    }
}

struct Listed<'a>(&'a [ParameterFault]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

/// The last lines that a process wrote or a traceback had: the cause beneath an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastWords(pub Vec<String>);

impl LastWords {
    /// The Python stack of a crash, where the lines hold one (`faulthandler` writes the thread that crashed
    /// among all others, its innermost call first); else the last lines.
    pub fn of_crash(lines: &[String], count: usize) -> Option<Self> {
        let Some(fatal) = lines.iter().rposition(|line| line.starts_with("Fatal Python error")) else {
            return Self::of(lines, count);
        };
        let report = lines.get(fatal..).unwrap_or_default();
        let thread = report.iter().skip_while(|line| !line.starts_with("Current thread"));
        let words: Vec<String> = report.iter().take(1).chain(thread.take(count)).cloned().collect();
        Some(Self(words))
    }

    /// The same without secrets.
    pub fn without(self, mask: &Mask) -> Self {
        Self(self.0.into_iter().map(|line| mask.text(&line).into_owned()).collect())
    }

    /// The last `count` lines that are not blank, or nothing.
    pub fn of(lines: &[String], count: usize) -> Option<Self> {
        let lines: Vec<String> = lines.iter().filter(|line| !line.trim().is_empty()).cloned().collect();
        let skipped = lines.len().saturating_sub(count);
        let tail: Vec<String> = lines.into_iter().skip(skipped).collect();
        (!tail.is_empty()).then_some(Self(tail))
    }
}

impl fmt::Display for LastWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for LastWords {}

/// What a cell ended with, in words. Kernels of shells tell the exit status in the place of a message, without a name.
pub(crate) fn raised(name: &str, value: &str) -> String {
    match (name, value.trim().parse::<i64>()) {
        ("", Ok(status)) => format!("it ended with exit status {status}"),
        ("", Err(_)) => value.to_owned(),
        (name, _) => format!("{name}: {value}"),
    }
}

struct Because(Option<MemoryCause>);

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(MemoryCause::Limit(bytes)) => write!(f, ": it took more than its {} MB", bytes / 1_000_000),
            Some(MemoryCause::System) => f.write_str(": the system had no memory left (OOM killer)"),
            None => Ok(()),
        }
    }
}

struct Peak(Option<u64>);

impl fmt::Display for Peak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => write!(f, "; it had used {} MB of memory", bytes / 1_000_000),
            None => Ok(()),
        }
    }
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_failures() {
        let full = Error::io("write", Path::new("x"), io::Error::from_raw_os_error(libc::ENOSPC));
        assert_eq!(full.code(), Code::DiskFull);
        let other = Error::io("write", Path::new("x"), io::Error::other("no"));
        assert_eq!(other.code(), Code::Io);
    }

    #[test]
    fn a_killed_kernel_says_signal_and_memory() {
        let died = Error::KernelDied {
            at: Box::new(CellPlace {
                notebook: "train.ipynb".into(),
                cell: Some(3),
                count: Some(3),
                partial: Kept::File("out.ipynb".into()),
            }),
            exit: Exit { code: None, signal: Some(9) },
            memory: None,
            peak_memory: Some(3_100_000_000),
            last_words: None,
        };
        assert_eq!(
            died.to_string(),
            "run cell 3 of `train.ipynb`: the kernel was killed by signal 9 (SIGKILL); \
             it had used 3100 MB of memory"
        );
        assert!(died.hints().first().is_some_and(|hint| hint.contains("memory")));
    }

    #[test]
    fn a_cell_is_named_as_in_the_notebook_and_where_it_differs_as_in_the_copy() {
        let shown = |cell, count| {
            let partial = Kept::File("o.ipynb".into());
            CellPlace { notebook: "n.ipynb".into(), cell, count, partial }.to_string()
        };
        assert_eq!(shown(Some(2), Some(2)), "cell 2 of `n.ipynb`");
        assert_eq!(shown(Some(2), Some(3)), "cell 2 of `n.ipynb` (In [3] of the executed copy)");
        assert_eq!(shown(None, Some(1)), "the parameters of `n.ipynb` (In [1] of the executed copy)");
        assert_eq!(shown(None, None), "the parameters of `n.ipynb`");
    }

    #[test]
    fn a_cell_of_a_shell_says_its_exit_status() {
        let failed = |ename: &str, evalue: &str| {
            let at = CellPlace {
                notebook: "b.sh".into(),
                cell: Some(3),
                count: None,
                partial: Kept::File("o.ipynb".into()),
            };
            let (ename, evalue) = (ename.to_owned(), evalue.to_owned());
            Error::CellFailed { at: Box::new(at), ename, evalue, traceback: None }.to_string()
        };
        assert_eq!(failed("", "1"), "run cell 3 of `b.sh`: it ended with exit status 1");
        assert_eq!(failed("", "object not found"), "run cell 3 of `b.sh`: object not found");
        assert_eq!(failed("KeyError", "1"), "run cell 3 of `b.sh`: KeyError: 1");
    }

    #[test]
    fn a_kernel_that_was_named_and_is_not_there_is_not_found() {
        let error = Error::KernelUnknown { name: "jula".to_owned(), known: vec!["julia".to_owned()] };
        assert_eq!(error.code(), Code::KernelNotFound);
        assert_eq!(error.code().kind().exit_code(), 3);
    }

    #[test]
    fn hints_are_in_the_words_of_who_asked() {
        let died = |partial: Kept| Error::KernelDied {
            at: Box::new(CellPlace { notebook: "train.ipynb".into(), cell: Some(3), count: None, partial }),
            exit: Exit { code: None, signal: Some(9) },
            memory: Some(MemoryCause::Limit(300_000_000)),
            peak_memory: None,
            last_words: None,
        };
        assert_eq!(
            died(Kept::File("out.ipynb".into())).hints(),
            [
                "allow it more memory: `--memory 600MB`",
                "the notebook with its outputs up to there is `out.ipynb`"
            ]
        );
        let run: RunId = "0123456789abcdef0123456789abcdef".parse().unwrap();
        assert_eq!(
            died(Kept::Artifact(run, "notebook/my train.ipynb".to_owned())).hints(),
            [
                "allow it more memory: `with: { memory: 600MB }`".to_owned(),
                format!(
                    "get the notebook with its outputs up to there: rondo runs get {} 'notebook/my train.ipynb'",
                    run.short()
                )
            ]
        );
    }
}
