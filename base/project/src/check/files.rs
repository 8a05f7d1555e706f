//! Paths: their form, and whether what they name is there.

use super::context::Context;
use crate::fault::Fault;
use crate::place::Place;
use crate::yaml::Node;

/// A path in its normal form: no `.` and `//`, a folder's `/` at the end kept.
///
/// # Errors
/// Why it cannot be one, to be read after the path itself.
pub(crate) fn normal(path: &str) -> Result<String, &'static str> {
    let parts = parts(path)?;
    if parts.is_empty() {
        return Err("names the project itself");
    }
    let slash = if path.ends_with('/') { "/" } else { "" };
    Ok(format!("{}{slash}", parts.join("/")))
}

/// The names along a path from the root that it must not leave; none for the root itself.
///
/// # Errors
/// As [`normal`].
pub(crate) fn parts(path: &str) -> Result<Vec<&str>, &'static str> {
    if path.contains("${{") {
        return Err("holds an expression; a path cannot");
    }
    if path.starts_with('/') || path.chars().nth(1) == Some(':') {
        return Err("is absolute");
    }
    if path.contains(['\\', '\0', '\n']) {
        return Err("has a character that no path here may have");
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_none() => return Err("leaves the project"),
            ".." => {}
            part => parts.push(part),
        }
    }
    Ok(parts)
}

impl Context<'_> {
    /// Reports a file that is not there and that no step makes.
    pub fn file(&mut self, path: &str, place: Place, file: &str) {
        let Ok(normal) = normal(file) else { return };
        if normal.contains(['*', '?']) || self.files.exists(&normal) || self.is_made(&normal) {
            return;
        }
        let siblings = self.files.siblings(&normal);
        let near = rondo_core::suggest::nearest(&normal, siblings.iter().map(String::as_str));
        let fault = Fault::new(path, place, format!("no file `{file}`")).expected("a file of the project");
        self.fault(match near {
            Some(near) => fault.hint(format!("did you mean `{near}`?")),
            None => fault.hint(format!("create it, or correct the path: it is relative to `{}`", self.file)),
        });
    }

    /// Whether a path is a step's output, or lies in one.
    fn is_made(&self, file: &str) -> bool {
        let outputs =
            self.section("steps").iter().filter_map(|step| step.value.get("outputs")?.map()).flatten();
        outputs.filter_map(|output| normal(output.value.text()?).ok()).any(|output| {
            let output = output.trim_end_matches('/');
            file.strip_prefix(output).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// A path of the file in its normal form; `None` where its form has been refused.
    pub fn path_at(&self, node: &Node, key: &str) -> Option<String> {
        normal(node.get(key)?.text()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::normal;

    #[test]
    fn paths_are_normalised_and_kept_inside() {
        assert_eq!(normal("./a//b/../c/").as_deref(), Ok("a/c/"));
        assert_eq!(normal("../x"), Err("leaves the project"));
        assert_eq!(normal("a/../../x"), Err("leaves the project"));
        assert_eq!(normal("/etc"), Err("is absolute"));
        assert_eq!(normal("."), Err("names the project itself"));
        assert!(normal("C:\\x").is_err() && normal("${{ params.x }}").is_err());
    }
}
