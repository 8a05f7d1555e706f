//! The packages that are plain files: those built into the binary (an interface, a program and what the
//! program needs), those of a folder ([`folder`]) and those at a Git address ([`git`]).
//!
//! Packages that are Rust code (`papermill`, `evaluate`) are no business of this module: they come in as
//! [`rondo_core::ports::Builtin`].

pub mod folder;
pub mod git;
pub mod params;

use rondo_core::Digest;
use rondo_project::project::Work;

/// A package of plain files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilePackage {
    /// Its name.
    pub name: &'static str,
    /// Its interface: `package.yaml`.
    pub interface: &'static str,
    /// Its program, a Python file.
    pub program: &'static str,
    /// The Python version that the program needs.
    pub python: &'static str,
    /// The Python packages that the program needs, in pip's form.
    pub requirements: &'static str,
    /// The name of its environment, which no other may have.
    pub environment: &'static str,
}

impl FilePackage {
    /// Something that changes whenever its results may.
    pub fn version(&self) -> String {
        format!("{} {}", self.name, Digest::of(self.program.as_bytes()).short())
    }
}

/// SQL on files, by DuckDB.
pub const SQL: FilePackage = FilePackage {
    name: "sql",
    interface: include_str!("../../../packages/sql/package.yaml"),
    program: include_str!("../../../packages/sql/run.py"),
    python: ">=3.10",
    requirements: include_str!("../../../packages/sql/requirements.txt"),
    environment: "sql-package",
};

/// Pictures made alike, by Pillow.
pub const IMAGES: FilePackage = FilePackage {
    name: "images",
    interface: include_str!("../../../packages/images/package.yaml"),
    program: include_str!("../../../packages/images/run.py"),
    python: ">=3.10",
    requirements: include_str!("../../../packages/images/requirements.txt"),
    environment: "images-package",
};

/// All of them.
pub const ALL: [&FilePackage; 2] = [&SQL, &IMAGES];

/// The package whose environment a step has where it declares none of its own.
pub fn brought_by(work: &Work) -> Option<&'static FilePackage> {
    match work {
        Work::Sql { .. } => Some(&SQL),
        Work::Uses { package, .. } if package == IMAGES.name => Some(&IMAGES),
        Work::Run { .. } | Work::Uses { .. } => None,
    }
}
