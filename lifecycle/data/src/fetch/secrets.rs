//! Secrets that an address names and never holds: `postgres://ann:${{ secrets.PGPASSWORD }}@host/db`.
//!
//! A name is a variable of the environment, or a line `NAME=value` of `.rondo/secrets.env`, which must be
//! its owner's alone. The value is put into the address that is asked and nowhere else: what is shown,
//! remembered and used as a key in the cache has the name.

use std::collections::BTreeMap;
use std::path::Path;

use regex::{Captures, Regex};

use crate::Error;

/// Where secrets may stand, in the project's folder.
pub const SECRETS_FILE: &str = ".rondo/secrets.env";

/// A text with its secrets filled in, and the secrets, so that they can be taken out of what others say.
#[derive(Clone)]
pub struct Filled {
    /// The text. It is not to be shown.
    pub text: String,
    secrets: Vec<String>,
}

impl Filled {
    /// Fills the secrets of an address in, each percent-encoded.
    ///
    /// # Errors
    /// When one is nowhere, or the file of secrets can be read by others.
    pub fn address(text: &str, environment: &BTreeMap<String, String>, root: &Path) -> Result<Self, Error> {
        let mut secrets = Vec::new();
        let mut fault = None;
        // As it is written, and as it becomes in a URL.
        let pattern =
            r"\$(?:\{|%7[Bb]){2}(?:\s|%20)*secrets\.([A-Za-z_][A-Za-z0-9_]*)(?:\s|%20)*(?:\}|%7[Dd]){2}";
        let pattern = Regex::new(pattern).map_err(|_| Error::Stopped)?;
        let filled = pattern.replace_all(text, |found: &Captures<'_>| {
            let name = found.get(1).map_or("", |name| name.as_str());
            match secret(name, environment, root) {
                Ok(value) => {
                    let encoded = encoded(&value);
                    secrets.extend([value, encoded.clone()]);
                    encoded
                }
                Err(error) => {
                    fault.get_or_insert(error);
                    String::new()
                }
            }
        });
        match fault {
            None => Ok(Self { text: filled.into_owned(), secrets }),
            Some(fault) => Err(fault),
        }
    }

    /// A text without secrets.
    pub fn plain(text: &str) -> Self {
        Self { text: text.to_owned(), secrets: Vec::new() }
    }

    /// What somebody else said, without the secrets.
    pub fn redact(&self, said: &str) -> String {
        self.secrets
            .iter()
            .filter(|secret| !secret.is_empty())
            .fold(said.to_owned(), |said, secret| said.replace(secret.as_str(), "***"))
    }
}

impl std::fmt::Debug for Filled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Filled(***)")
    }
}

fn secret(name: &str, environment: &BTreeMap<String, String>, root: &Path) -> Result<String, Error> {
    if let Some(value) = environment.get(name) {
        return Ok(value.clone());
    }
    let path = root.join(SECRETS_FILE);
    let missing = || Error::SecretNotFound { name: name.to_owned() };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing()),
        Err(error) => return Err(Error::io("read", &path)(error)),
    };
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&path).map_err(Error::io("read", &path))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(Error::SecretsOpen { path });
        }
    }
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("export ").unwrap_or(line.trim()).split_once('='))
        .find(|(found, _)| found.trim() == name)
        .map(|(_, value)| unquoted(value.trim()).to_owned())
        .ok_or_else(missing)
}

fn unquoted(value: &str) -> &str {
    ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote)).unwrap_or(value)
}

/// A value as part of a URL, wherever in it.
fn encoded(value: &str) -> String {
    use std::fmt::Write;
    value.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            text.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn secrets_come_from_the_environment_and_then_from_the_file() {
        let root = tempfile::tempdir().unwrap();
        let environment = BTreeMap::from([("A".to_owned(), "p@ss/w".to_owned())]);
        let fill = |text: &str| Filled::address(text, &environment, root.path());
        let filled = fill("postgres://ann:${{ secrets.A }}@h/db").unwrap();
        assert_eq!(filled.text, "postgres://ann:p%40ss%2Fw@h/db");
        assert_eq!(filled.redact("user p@ss/w or p%40ss%2Fw"), "user *** or ***");
        assert!(!format!("{filled:?}").contains("p@ss"));
        let url = reqwest::Url::parse("https://h/a?t=${{ secrets.A }}").unwrap();
        assert_eq!(fill(url.as_str()).unwrap().text, "https://h/a?t=p%40ss%2Fw");
        assert!(matches!(fill("x${{secrets.B}}"), Err(Error::SecretNotFound { name }) if name == "B"));

        let file = root.path().join(SECRETS_FILE);
        std::fs::create_dir(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "# mine\nexport B=\"two\"\nA=other\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(fill("x${{secrets.B}}"), Err(Error::SecretsOpen { .. })));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(fill("x${{secrets.B}}y").unwrap().text, "xtwoy");
        assert_eq!(fill("${{ secrets.A }}").unwrap().text, "p%40ss%2Fw", "the environment comes first");
        assert!(fill("${{ secrets.C }}").is_err());
    }
}
