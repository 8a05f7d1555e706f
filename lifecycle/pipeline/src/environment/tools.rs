//! Tools of the host, recorded: which version each has, and the digest of its program.
//!
//! Nothing is made here. A tool that has changed is a change of the environment.

use std::fs;
use std::path::Path;

use rondo_core::Digest;

use super::Environments;
use super::kind::Wanted;
use super::lock::EnvironmentLock;
use crate::Error;
use crate::platform::platform;

impl Environments {
    /// The tools as they are now.
    pub(super) async fn resolve_host(
        &self,
        wanted: &Wanted,
        tools: &[String],
    ) -> Result<EnvironmentLock, Error> {
        let (mut places, mut missing) = (Vec::new(), Vec::new());
        for (index, tool) in tools.iter().enumerate() {
            match self.host_program(tool) {
                Some(place) => places.push((tool, place)),
                None => missing.push(Error::ToolMissing {
                    environment: wanted.name.clone(),
                    at: format!("host[{index}]"),
                    tool: format!("`{tool}`"),
                    hint: format!("install `{tool}` and put it in the PATH"),
                }),
            }
        }
        Error::all(missing)?;
        let mut text = String::new();
        for (tool, place) in places {
            let bytes = fs::read(&place).map_err(Error::io("read", &place))?;
            let version = self.tool_version(&place).await?.unwrap_or_else(|| "unknown".to_owned());
            text.push_str(&format!("{tool}=={version} --digest=blake3:{}\n", Digest::of(&bytes)));
        }
        Ok(EnvironmentLock::new(wanted, &platform(), &text))
    }

    /// Why a lock does not hold any more.
    pub(super) async fn tools_have_changed(
        &self,
        wanted: &Wanted,
        tools: &[String],
        lock: &EnvironmentLock,
    ) -> Result<Option<String>, Error> {
        let now = self.resolve_host(wanted, tools).await?;
        let changed = now.body().find(|line| !lock.body().any(|locked| locked == *line));
        let changed = changed.and_then(|line| line.split("==").next());
        Ok((now.digest != lock.digest).then(|| match changed {
            Some(tool) => format!("`{tool}` has changed since it was locked"),
            None => "the host has changed since it was locked".to_owned(),
        }))
    }

    /// The version that a tool says it has.
    async fn tool_version(&self, program: &Path) -> Result<Option<String>, Error> {
        let said = self.host_call(program, &["--version"]).await?;
        Ok(said.text.lines().filter(|_| said.ok).find_map(version))
    }
}

/// The first word of a line that looks like a version.
fn version(line: &str) -> Option<String> {
    let words = line.split(|c: char| c.is_whitespace() || "(),;".contains(c));
    let plain = words.map(|word| word.trim_start_matches(['v', '-']));
    let is = |word: &&str| {
        word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.') && !word.contains("==")
    };
    plain.filter(|word| !word.is_empty()).find(is).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn versions_are_found_in_what_tools_say() {
        for (line, found) in [
            ("GNU Make 4.3", Some("4.3")),
            ("Python 3.11.2", Some("3.11.2")),
            ("gcc (Debian 12.2.0-14) 12.2.0", Some("12.2.0-14")),
            ("v20.1.0", Some("20.1.0")),
            ("no version", None),
        ] {
            assert_eq!(version(line).as_deref(), found, "{line}");
        }
    }
}
