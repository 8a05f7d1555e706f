//! Settings: what the environment says, read once, in one place.
//!
//! Below this crate nothing reads an environment variable: what a stage needs of it is given to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a process was started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// The environment variables.
    pub environment: BTreeMap<String, String>,
    /// Who is at the keyboard: the journal's actor.
    pub user: String,
    /// Where downloads and tools are shared between projects.
    pub cache: PathBuf,
}

impl Config {
    /// Reads the process's environment.
    pub fn read() -> Self {
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let set = |name: &str| environment.get(name).filter(|value| !value.is_empty()).cloned();
        let user = set("RONDO_USER").or_else(|| set("USER")).or_else(|| set("LOGNAME"));
        let cache = set("RONDO_CACHE_DIR").map(PathBuf::from).or_else(|| {
            set("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .or_else(|| set("HOME").map(|home| Path::new(&home).join(".cache")))
                .map(|folder| folder.join("rondo"))
        });
        Self {
            user: user.unwrap_or_else(|| "unknown".to_owned()),
            cache: cache.unwrap_or_else(|| PathBuf::from(".rondo/cache")),
            environment,
        }
    }

    /// The folders in which Jupyter keeps the kernels of other languages, the user's before the system's.
    pub fn kernel_folders(&self) -> Vec<PathBuf> {
        let set = |name: &str| self.environment.get(name).filter(|value| !value.is_empty());
        let mut folders: Vec<PathBuf> =
            set("JUPYTER_PATH").map(std::env::split_paths).into_iter().flatten().collect();
        let own = set("JUPYTER_DATA_DIR").map(PathBuf::from).or_else(|| {
            set("XDG_DATA_HOME")
                .map(PathBuf::from)
                .or_else(|| set("HOME").map(|home| Path::new(home).join(".local/share")))
                .map(|folder| folder.join("jupyter"))
        });
        folders.extend(own);
        folders.extend(["/usr/local/share/jupyter", "/usr/share/jupyter"].map(PathBuf::from));
        folders
    }
}

/// The project file of a folder or of one above it.
pub fn find_project(from: &Path) -> Option<PathBuf> {
    from.ancestors().map(|folder| folder.join("rondo.yaml")).find(|file| file.is_file())
}
