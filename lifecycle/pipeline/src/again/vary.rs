//! Surroundings that a result should not depend on, and how each is varied.

use std::collections::BTreeMap;
use std::io;

use serde::Serialize;

/// What can be varied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Variation {
    /// The project's folder.
    Path,
    /// The time zone.
    Timezone,
    /// The language and alphabet of the system's messages, numbers and orders.
    Locale,
    /// The seed of Python's hashes, by which sets are ordered.
    Hashseed,
    /// How many cores there are.
    Cores,
}

impl Variation {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Path, Self::Timezone, Self::Locale, Self::Hashseed, Self::Cores];

    /// The word for it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Timezone => "timezone",
            Self::Locale => "locale",
            Self::Hashseed => "hashseed",
            Self::Cores => "cores",
        }
    }

    /// What it is to a reader: "depends on …".
    pub const fn subject(self) -> &'static str {
        match self {
            Self::Path => "the path of the project",
            Self::Timezone => "the time zone",
            Self::Locale => "the locale",
            Self::Hashseed => "the seed of Python's hashes, by which sets are ordered",
            Self::Cores => "the number of cores",
        }
    }

    /// The variables that it changes for a step.
    pub fn variables(self) -> BTreeMap<String, String> {
        let pairs: Vec<(&str, String)> = match self {
            Self::Path | Self::Cores => Vec::new(),
            // In the form that needs no data on zones: quarters of an hour, and another day for most of it.
            Self::Timezone => vec![("TZ", "<+1245>-12:45".to_owned())],
            Self::Locale => {
                let locale = locale();
                vec![("LC_ALL", locale.clone()), ("LANG", locale)]
            }
            Self::Hashseed => vec![("PYTHONHASHSEED", "20483".to_owned())],
        };
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl std::str::FromStr for Variation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.map(Self::text).join(", ");
        Self::ALL
            .into_iter()
            .find(|variation| variation.text() == text)
            .ok_or_else(|| format!("expected some of {known}, or all"))
    }
}

/// A locale unlike that of steps (`C.UTF-8`): one with a comma in its numbers where one is installed, else
/// plain `C`, whose alphabet is another.
fn locale() -> String {
    let wanted = ["tr_TR", "de_DE", "fr_FR", "es_ES", "sv_SE", "pl_PL"];
    let installed = std::fs::read_dir("/usr/lib/locale").into_iter().flatten().flatten();
    let names: Vec<String> = installed.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let found = wanted.iter().find_map(|wanted| {
        names.iter().find(|name| name.starts_with(wanted) && name.to_lowercase().contains("utf"))
    });
    found.cloned().unwrap_or_else(|| "C".to_owned())
}

/// How many cores this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Lets this thread, and all threads and processes that it starts from now on, use one core alone: the first
/// of those that it may use.
///
/// # Errors
/// When the system refuses, or is none that can do this.
#[cfg(target_os = "linux")]
pub fn keep_to_one_core() -> io::Result<()> {
    // SAFETY: a zeroed `cpu_set_t` is the empty set; the pointers are to our own variables, and 0 means
    // this thread.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        let size = size_of::<libc::cpu_set_t>();
        if libc::sched_getaffinity(0, size, &raw mut set) != 0 {
            return Err(io::Error::last_os_error());
        }
        let limit = usize::try_from(libc::CPU_SETSIZE).unwrap_or(0);
        let first = (0..limit).find(|core| libc::CPU_ISSET(*core, &set));
        let first = first.ok_or_else(|| io::Error::other("there is no core that may be used"))?;
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(first, &mut one);
        if libc::sched_setaffinity(0, size, &raw const one) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// No other system can do this.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn keep_to_one_core() -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

/// Whether the variation of cores would change anything here.
pub fn varies_here(variation: Variation) -> bool {
    variation != Variation::Cores || (cfg!(target_os = "linux") && cores() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_others_named() {
        for variation in Variation::ALL {
            assert_eq!(variation.text().parse(), Ok(variation));
        }
        assert!("moon".parse::<Variation>().unwrap_err().contains("hashseed"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_that_keeps_to_one_core_starts_processes_that_have_one() {
        let said = std::thread::spawn(|| {
            keep_to_one_core().unwrap();
            let said = std::process::Command::new("sh").args(["-c", "nproc"]).output().unwrap();
            String::from_utf8(said.stdout).unwrap()
        });
        assert_eq!(said.join().unwrap().trim(), "1");
    }
}
