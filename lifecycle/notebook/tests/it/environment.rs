//! A Python environment with a real kernel, made once under the target folder and then kept.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use sha2::{Digest as _, Sha256};

const REQUIREMENTS: [&str; 4] =
    ["ipykernel==7.4.0", "nbformat==5.11.1", "bash_kernel==0.10.0", "ipywidgets==8.1.9"];

/// The environment's interpreter; `None`, said on stderr, where Python or its package index cannot be had.
pub fn python() -> Option<PathBuf> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    PYTHON
        .get_or_init(|| match provide() {
            Ok(python) => Some(python),
            Err(reason) => {
                eprintln!("skipped: no Python environment with ipykernel: {reason}");
                None
            }
        })
        .clone()
}

fn provide() -> Result<PathBuf, String> {
    let version = output(Command::new("python3").args(["-c", "import sys; print(sys.version, sys.prefix)"]))?;
    let digest = hex::encode(Sha256::digest(format!("{version}{REQUIREMENTS:?}")));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().ok_or("the target folder has no parent")?;
    let envs = target.join("test-env");
    let root = envs.join(format!("notebook-{}", digest.get(..12).unwrap_or(&digest)));
    fs::create_dir_all(&envs).map_err(|error| error.to_string())?;
    // Tests may be processes of their own: one makes the environment, the others wait.
    let lock = File::create(root.with_extension("lock")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    let python = root.join("bin/python");
    let ready = root.join("ready");
    if !ready.exists() {
        output(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&root))?;
        output(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(REQUIREMENTS))?;
        output(Command::new(&python).args(["-m", "bash_kernel.install", "--sys-prefix"]))?;
        fs::write(ready, "").map_err(|error| error.to_string())?;
    }
    Ok(python)
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// Fails unless nbformat itself finds the notebook valid.
pub fn validate(python: &Path, notebook: &Path) {
    let script = "import sys, warnings, nbformat; warnings.simplefilter('error'); \
                  nbformat.validate(nbformat.read(sys.argv[1], as_version=4))";
    output(Command::new(python).args(["-c", script]).arg(notebook)).unwrap();
}
