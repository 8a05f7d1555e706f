//! What the checker asks of the disk, and the plain answer from a folder.

use std::path::{Component, Path, PathBuf};

/// The project's files, asked by paths relative to `rondo.yaml`.
pub trait Files {
    /// Whether there is a file or folder.
    fn exists(&self, path: &str) -> bool;

    /// The text of a file; `None` where it cannot be read as UTF-8 text.
    fn text(&self, path: &str) -> Option<String>;

    /// The paths of the files near a wanted one, to offer one of them instead: those of its folder.
    fn siblings(&self, path: &str) -> Vec<String>;
}

/// A folder on disk.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder that holds `rondo.yaml`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The path on disk, unless it would leave the folder.
    fn inside(&self, path: &str) -> Option<PathBuf> {
        let plain =
            Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        plain.then(|| self.root.join(path))
    }
}

impl Files for Folder {
    fn exists(&self, path: &str) -> bool {
        self.inside(path).is_some_and(|path| path.exists())
    }

    fn text(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.inside(path)?).ok()
    }

    fn siblings(&self, path: &str) -> Vec<String> {
        let parent = Path::new(path).parent().unwrap_or(Path::new(""));
        let Some(folder) = parent.to_str().and_then(|parent| self.inside(parent)) else {
            return Vec::new();
        };
        let Ok(entries) = std::fs::read_dir(folder) else {
            return Vec::new();
        };
        let mut paths: Vec<String> = entries
            .filter_map(|entry| parent.join(entry.ok()?.file_name()).to_str().map(str::to_owned))
            .collect();
        paths.sort();
        paths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_answers_for_itself_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sql")).unwrap();
        std::fs::write(folder.path().join("sql/prepare.sql"), "select 1").unwrap();
        let files = Folder::new(folder.path());
        assert!(files.exists("sql/prepare.sql") && files.exists("./sql") && !files.exists("no.sql"));
        assert_eq!(files.text("sql/prepare.sql").as_deref(), Some("select 1"));
        assert_eq!(files.siblings("sql/prepar.sql"), ["sql/prepare.sql"]);
        assert!(!files.exists("../etc") && files.text("/etc/passwd").is_none());
    }
}
