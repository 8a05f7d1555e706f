//! Which kernel a notebook of the command line runs on, and within which limits.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rondo_core::{Code, Span};

use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::config::Config;

/// The interpreter: the one that was named, as a path or by its name on the search path, else the search
/// path's `python3`, if it has one.
pub fn python(named: Option<&Path>, session: &Session) -> Outcome<Option<PathBuf>> {
    let config = session.config();
    let Some(named) = named else {
        return Ok(on_search_path("python3", config).or_else(|| on_search_path("python", config)));
    };
    let found = match named.to_str() {
        Some(name) if !name.contains('/') => on_search_path(name, config),
        Some(_) | None => {
            let path = session.existing("interpreter", named)?;
            std::path::absolute(&path).ok().filter(|path| is_program(path))
        }
    };
    match found {
        Some(path) => Ok(Some(path)),
        None => Err(Failure::hinted(
            Code::ValueInvalid,
            format!("run `{}`: it is no program", named.display()),
            "--python .venv/bin/python",
        )),
    }
}

fn on_search_path(name: &str, config: &Config) -> Option<PathBuf> {
    let search = config.environment.get("PATH")?;
    std::env::split_paths(search)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// A length of time as people write it: `90`, `90s`, `10m`; none where it is nothing.
///
/// # Errors
/// What it should have been.
pub fn time(text: &str) -> Result<Duration, String> {
    let seconds = text.trim().parse::<f64>().ok().and_then(|given| Duration::try_from_secs_f64(given).ok());
    let span = || text.parse::<Span>().ok().and_then(|span| u64::try_from(span.millis()).ok());
    seconds
        .or_else(|| span().map(Duration::from_millis))
        .ok_or_else(|| "expected seconds, or a length of time such as `10m`".to_owned())
}

/// A limit of time, which has to be some time.
///
/// # Errors
/// What it should have been.
pub fn limit(text: &str) -> Result<Duration, String> {
    time(text).and_then(|limit| match limit.is_zero() {
        true => Err("a limit of no time would end it before it begins".to_owned()),
        false => Ok(limit),
    })
}

/// An amount of memory, for the parser of flags.
///
/// # Errors
/// What it should have been.
pub fn memory(text: &str) -> Result<u64, String> {
    let refuse = || "expected an amount of memory of at least 1 MB, such as `2GB`".to_owned();
    rondo_project::package::memory(text).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn times_and_amounts_are_read_as_people_write_them() {
        assert_eq!(time("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(time("10m"), Ok(Duration::from_secs(600)));
        assert!(time("soon").is_err() && time("-1").is_err() && limit("0").is_err());
        assert_eq!(memory("2GB"), Ok(2_000_000_000));
        assert!(memory("much").is_err() && memory("3").is_err() && memory("-2GB").is_err());
    }

    #[test]
    fn kernels_are_looked_for_where_jupyter_keeps_them() {
        let config = |set: &[(&str, &str)]| {
            let set = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Config::of(set.collect(), None)
        };
        let folders = config(&[("HOME", "/home/u"), ("JUPYTER_PATH", "/a:/b")]).kernel_folders();
        let folders: Vec<&str> = folders.iter().filter_map(|folder| folder.to_str()).collect();
        assert_eq!(folders[..3], ["/a", "/b", "/home/u/.local/share/jupyter"]);
        let folders = config(&[("HOME", "/home/u"), ("JUPYTER_DATA_DIR", "/data")]).kernel_folders();
        assert_eq!(folders[0], Path::new("/data"));
    }

    #[test]
    fn the_interpreter_is_found_on_the_search_path() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("python3");
        std::fs::write(&program, "#!/bin/sh\n").unwrap();
        let search = format!("relative:/nowhere:{}", folder.path().display());
        let config = Config::of(BTreeMap::from([("PATH".to_owned(), search)]), None);
        assert_eq!(on_search_path("python3", &config), None, "it may not be executed");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(on_search_path("python3", &config), Some(program));
    }
}
