//! R environments: R and packages that the machine has, such as Debian's `r-cran-*`, each with its version
//! and the digest of what is installed.
//!
//! Nothing is installed here: what is missing is said, all of it at once. What is there is compared with the
//! lock before each run, so that an upgrade of a package is a change of the environment.

use std::fs;
use std::path::{Path, PathBuf};

use rondo_core::Digest;

use super::Environments;
use super::kind::Wanted;
use super::lock::EnvironmentLock;
use super::provision::Provisioned;
use super::version;
use crate::Error;
use crate::worktree::write_atomically;

/// Asks R for what is installed.
const PROGRAM: &str = include_str!("r.R");

/// What R said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    version: String,
    home: PathBuf,
    packages: Vec<Package>,
    /// Packages that are not there, and for which other one they are needed; for none: they are wanted.
    missing: Vec<(String, String)>,
}

/// An installed package that does not come with R itself.
#[derive(Debug, PartialEq, Eq)]
struct Package {
    name: String,
    version: String,
    place: PathBuf,
}

impl Found {
    fn read(text: &str) -> Option<Self> {
        let mut found = Self::default();
        for line in text.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            match fields.as_slice() {
                ["r", version, home] => {
                    (*version).clone_into(&mut found.version);
                    found.home = PathBuf::from(home);
                }
                ["package", name, version, place] => found.packages.push(Package {
                    name: (*name).to_owned(),
                    version: (*version).to_owned(),
                    place: PathBuf::from(place),
                }),
                ["missing", name, needed_by] => {
                    found.missing.push(((*name).to_owned(), (*needed_by).to_owned()));
                }
                _ => {}
            }
        }
        found.packages.sort_by(|one, other| one.name.cmp(&other.name));
        (!found.version.is_empty()).then_some(found)
    }

    /// The body of a lock.
    fn body(&self) -> Result<String, Error> {
        let mut text = String::new();
        for package in &self.packages {
            let digest = folder_digest(&package.place)?;
            text.push_str(&format!("{}=={} --digest=blake3:{digest}\n", package.name, package.version));
        }
        Ok(text)
    }
}

impl Environments {
    fn rscript(&self, name: &str) -> Result<PathBuf, Error> {
        self.host_program("Rscript").ok_or_else(|| Error::ToolMissing {
            environment: name.to_owned(),
            at: "r".to_owned(),
            tool: "`Rscript`".to_owned(),
            hint: "install R: `apt-get install r-base-core`, or from https://cran.r-project.org".to_owned(),
        })
    }

    async fn ask_r(&self, name: &str, packages: &[String]) -> Result<Found, Error> {
        let program = self.rscript(name)?;
        let names: Vec<&str> = packages.iter().map(|written| version::split(written).0).collect();
        let said = self.host_call(&program, &[&["--vanilla", "-e", PROGRAM], &names[..]].concat()).await?;
        self.check(name, "lock", &said)?;
        let unread = || self.failed(name, "lock", "R did not say what is installed".to_owned());
        Found::read(&said.answer).ok_or_else(unread)
    }

    /// R and packages as they are on this machine.
    pub(super) async fn resolve_r(
        &self,
        wanted: &Wanted,
        r: &str,
        packages: &[String],
    ) -> Result<EnvironmentLock, Error> {
        let name = &wanted.name;
        self.started(name, "looking at R and its packages");
        let found = self.ask_r(name, packages).await?;
        if !version::fits(r, &found.version) {
            let error =
                Error::RVersion { environment: name.clone(), wanted: r.to_owned(), found: found.version };
            return Err(error);
        }
        if !found.missing.is_empty() {
            let packages = found.missing;
            return Err(Error::RPackagesMissing { environment: name.clone(), packages });
        }
        for written in packages {
            let (package, condition) = version::split(written);
            let there = found.packages.iter().find(|found| found.name == package);
            if let Some(there) = there.filter(|there| !version::fits(condition, &there.version)) {
                let reason = format!("R package `{package}` is {} here, not {condition}", there.version);
                return Err(self.failed(name, "lock", reason));
            }
        }
        let lock = EnvironmentLock::new(wanted, &found.version, &found.body()?);
        self.remember_places(&lock, &found)?;
        self.ended(name, &format!("locked: R {} and {} packages", found.version, found.packages.len()));
        Ok(lock)
    }

    /// Why a lock does not hold here any more. R itself is asked only where it is not known where its
    /// packages are.
    pub(super) async fn r_has_changed(
        &self,
        wanted: &Wanted,
        lock: &EnvironmentLock,
    ) -> Result<Option<String>, Error> {
        let Some((version, places)) = self.places(lock) else {
            let found = match &wanted.what {
                super::kind::What::R { packages, .. } => self.ask_r(&wanted.name, packages).await?,
                _ => return Ok(None),
            };
            if !found.missing.is_empty() {
                return Ok(Some("packages of it are not on this machine any more".to_owned()));
            }
            if EnvironmentLock::new(wanted, &found.version, &found.body()?).digest != lock.digest {
                return Ok(Some("R or its packages differ from what it was locked to".to_owned()));
            }
            self.remember_places(lock, &found)?;
            return Ok(None);
        };
        if version != lock.version {
            return Ok(Some(format!("was locked to R {}, which is {version} now", lock.version)));
        }
        for line in lock.body() {
            let Some((name, rest)) = line.split_once("==") else { continue };
            let locked = rest.rsplit("blake3:").next().unwrap_or_default();
            let place = places.iter().find(|place| place.file_name().is_some_and(|file| file == name));
            let now = place.filter(|place| place.is_dir()).map(|place| folder_digest(place)).transpose()?;
            if now.is_none_or(|now| now.hex() != locked) {
                return Ok(Some(format!("R package `{name}` has changed since it was locked")));
            }
        }
        Ok(None)
    }

    /// R with the libraries in which its packages are.
    pub(super) async fn make_r(&self, lock: &EnvironmentLock) -> Result<Provisioned, Error> {
        self.rscript(&lock.name)?;
        let places = self.places(lock).map(|(_, places)| places).unwrap_or_default();
        let mut libraries: Vec<PathBuf> =
            places.iter().filter_map(|place| place.parent()).map(Path::to_owned).collect();
        libraries.sort_unstable();
        libraries.dedup();
        let listed = std::env::join_paths(&libraries).unwrap_or_default();
        let variables = [("R_LIBS".to_owned(), listed.to_string_lossy().into_owned())].into();
        Ok(Provisioned { variables, places: libraries, ..Provisioned::of(lock, self.folder(lock)) })
    }

    /// Where on this machine the packages of a lock are, and the version of R beside them, as it is now.
    fn places(&self, lock: &EnvironmentLock) -> Option<(String, Vec<PathBuf>)> {
        let text = fs::read_to_string(self.places_at(lock)).ok()?;
        let mut lines = text.lines();
        let base = fs::read_to_string(Path::new(lines.next()?).join("library/base/DESCRIPTION")).ok()?;
        let version = base.lines().find_map(|line| line.strip_prefix("Version: "))?.trim().to_owned();
        Some((version, lines.map(PathBuf::from).collect()))
    }

    fn remember_places(&self, lock: &EnvironmentLock, found: &Found) -> Result<(), Error> {
        let mut text = format!("{}\n", found.home.display());
        for package in &found.packages {
            text.push_str(&format!("{}\n", package.place.display()));
        }
        write_atomically(self.store.root(), &self.places_at(lock), text.as_bytes())
    }

    fn places_at(&self, lock: &EnvironmentLock) -> PathBuf {
        self.store.root().join("locks").join(format!("{}.places", lock.digest.short()))
    }
}

/// What is installed in a folder: names, contents, and where links lead.
fn folder_digest(folder: &Path) -> Result<Digest, Error> {
    let mut lines = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(place) = open.pop() {
        for entry in fs::read_dir(&place).map_err(Error::io("read", &place))? {
            let entry = entry.map_err(Error::io("read", &place))?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(Error::io("read", &place))?);
            let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_symlink() {
                let to = fs::read_link(&path).map_err(Error::io("read", &path))?;
                lines.push(format!("{name} -> {}\n", to.display()));
            } else {
                let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
                lines.push(format!("{name} {}\n", Digest::of(&bytes)));
            }
        }
    }
    lines.sort_unstable();
    Ok(Digest::of(lines.concat().as_bytes()))
}

/// The names of Debian's packages of R packages.
pub(crate) fn debian_names(packages: &[(String, String)]) -> String {
    let names: Vec<String> =
        packages.iter().map(|(name, _)| format!("r-cran-{}", name.to_lowercase())).collect();
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_r_says_is_read_and_packages_of_r_itself_are_no_packages() {
        let text = "r\t4.2.2\t/usr/lib/R\nbase\tstats\t4.2.2\t/l/stats\npackage\tranger\t0.14.1\t/s/ranger\npackage\tRcpp\t1.0\t/s/Rcpp\nmissing\tfoo\t\nmissing\tbar\tranger\n";
        let found = Found::read(text).unwrap();
        assert_eq!(found.version, "4.2.2");
        let names: Vec<&str> = found.packages.iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names, ["Rcpp", "ranger"]);
        assert_eq!(found.missing, [("foo".into(), String::new()), ("bar".into(), "ranger".into())]);
        assert_eq!(debian_names(&[("R6".into(), String::new())]), "r-cran-r6");
        assert_eq!(Found::read("Error in x"), None);
    }

    #[test]
    fn the_digest_of_a_package_is_that_of_its_names_contents_and_links() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("R")).unwrap();
        fs::write(folder.path().join("R/x"), "1").unwrap();
        let first = folder_digest(folder.path()).unwrap();
        fs::write(folder.path().join("R/x"), "2").unwrap();
        let second = folder_digest(folder.path()).unwrap();
        std::os::unix::fs::symlink("/nowhere", folder.path().join("link")).unwrap();
        let third = folder_digest(folder.path()).unwrap();
        assert!(first != second && second != third);
        fs::rename(folder.path().join("R/x"), folder.path().join("R/y")).unwrap();
        assert_ne!(folder_digest(folder.path()).unwrap(), third);
    }
}
