//! The kinds of environments: what each wants, and by what tool it is made.

use std::path::PathBuf;

use rondo_core::Digest;
use rondo_project::project::Environment;
use serde::Serialize;

use super::lock::plain_lines;

/// What sort of environment it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Python, made by uv.
    Python,
    /// R with packages of the machine.
    R,
    /// Made by conda, mamba or micromamba.
    Conda,
    /// A container image.
    Image,
    /// A root file system.
    Rootfs,
    /// Built by Nix.
    Nix,
    /// The host's tools, recorded.
    Host,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Python, Self::R, Self::Conda, Self::Image, Self::Rootfs, Self::Nix, Self::Host];

    /// The word for what made its lock, in the lock's first line.
    pub const fn maker(self) -> &'static str {
        match self {
            Self::Python => "uv",
            Self::R => "R",
            Self::Conda => "conda",
            Self::Image => "a container engine",
            Self::Rootfs => "bubblewrap",
            Self::Nix => "nix",
            Self::Host => "the host",
        }
    }

    /// What the version in its lock is the version of.
    pub const fn versioned(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::R => "r",
            Self::Conda => "platform",
            Self::Image => "image",
            Self::Rootfs => "archive",
            Self::Nix => "path",
            Self::Host => "platform",
        }
    }
}

impl From<&Environment> for Kind {
    fn from(environment: &Environment) -> Self {
        match environment {
            Environment::Python { .. } => Self::Python,
            Environment::R { .. } => Self::R,
            Environment::Conda { .. } => Self::Conda,
            Environment::Image { .. } => Self::Image,
            Environment::Rootfs { .. } => Self::Rootfs,
            Environment::Nix { .. } => Self::Nix,
            Environment::Host { .. } => Self::Host,
        }
    }
}

/// What an environment should be, of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Python and packages.
    Python {
        /// The version, such as `>=3.10`.
        python: String,
        /// The requirements, a line each, without comments; of a `pyproject.toml`, its text.
        requirements: String,
        /// The `pyproject.toml`, where the requirements are one.
        project: Option<PathBuf>,
    },
    /// R and packages.
    R {
        /// The version, such as `4` or `>=4.1`.
        r: String,
        /// The packages, each perhaps with a version.
        packages: Vec<String>,
    },
    /// The text of an `environment.yml`.
    Conda {
        /// The text.
        file: String,
    },
    /// An image by its name.
    Image {
        /// The name.
        image: String,
    },
    /// A tar file.
    Rootfs {
        /// Where it is.
        archive: PathBuf,
        /// What it is.
        digest: Digest,
    },
    /// A Nix expression.
    Nix {
        /// Its file.
        file: PathBuf,
        /// What it and its lock are.
        digest: Digest,
    },
    /// Tools of the host.
    Host {
        /// Their names.
        tools: Vec<String>,
    },
}

impl What {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Python { .. } => Kind::Python,
            Self::R { .. } => Kind::R,
            Self::Conda { .. } => Kind::Conda,
            Self::Image { .. } => Kind::Image,
            Self::Rootfs { .. } => Kind::Rootfs,
            Self::Nix { .. } => Kind::Nix,
            Self::Host { .. } => Kind::Host,
        }
    }

    /// All of it as a text: what its digest is taken of. No absolute path is in it.
    fn text(&self) -> String {
        match self {
            Self::Python { python, requirements, project: None } => {
                format!("python {python}\n{requirements}\n")
            }
            Self::Python { python, requirements, project: Some(_) } => {
                format!("python {python}\npyproject\n{requirements}\n")
            }
            Self::R { r, packages } => format!("r {r}\n{}\n", packages.join("\n")),
            Self::Conda { file } => format!("conda\n{file}\n"),
            Self::Image { image } => format!("image {image}\n"),
            Self::Rootfs { digest, .. } => format!("rootfs {digest}\n"),
            Self::Nix { digest, .. } => format!("nix {digest}\n"),
            Self::Host { tools } => format!("host\n{}\n", tools.join("\n")),
        }
    }
}

/// What an environment should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The environment's name.
    pub name: String,
    /// What it should be.
    pub what: What,
    /// The digest of that.
    pub digest: Digest,
}

impl Wanted {
    /// What the environment of that name should be.
    pub fn new(name: &str, what: What) -> Self {
        let digest = Digest::of(what.text().as_bytes());
        Self { name: name.to_owned(), what, digest }
    }

    /// Python from the texts as written: comments, blank lines and spaces around a line do not count.
    pub fn python(name: &str, python: &str, requirements: &str) -> Self {
        let python = python_version(python);
        Self::new(name, What::Python { python, requirements: plain_lines(requirements), project: None })
    }
}

/// A version of Python as uv takes it.
pub(super) fn python_version(python: &str) -> String {
    if python.trim().is_empty() { ">=3.8".to_owned() } else { python.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_blanks_change_nothing_and_versions_do() {
        let plain = Wanted::python("py", ">=3.10", "a==1\nb==2");
        assert_eq!(plain, Wanted::python("py", " >=3.10 ", "# why\n a==1 # because\n\nb==2\n"));
        assert_ne!(plain.digest, Wanted::python("py", ">=3.11", "a==1\nb==2").digest);
        assert_ne!(plain.digest, Wanted::python("py", ">=3.10", "a==1\nb==3").digest);
    }

    #[test]
    fn what_is_wanted_of_one_kind_is_never_what_is_wanted_of_another() {
        let d = Digest::of(b"x");
        let all = [
            What::Python { python: "4".into(), requirements: String::new(), project: None },
            What::R { r: "4".into(), packages: Vec::new() },
            What::Conda { file: String::new() },
            What::Image { image: "4".into() },
            What::Rootfs { archive: "a".into(), digest: d },
            What::Nix { file: "a".into(), digest: d },
            What::Host { tools: Vec::new() },
        ];
        let digests: std::collections::BTreeSet<Digest> =
            all.iter().map(|what| Wanted::new("e", what.clone()).digest).collect();
        assert_eq!(digests.len(), all.len());
        let moved = What::Rootfs { archive: "b".into(), digest: d };
        assert_eq!(Wanted::new("e", moved).digest, Wanted::new("e", all[4].clone()).digest);
    }
}
