//! Patterns of paths, as in a shell: `*`, `?` and `[…]` stand for what has no slash, `**` for any folders;
//! hidden files have to be named.

use std::path::{Path, PathBuf};

use regex::Regex;

use crate::Error;
use crate::source::is_glob;

/// A pattern of paths below a folder.
#[derive(Debug, Clone)]
pub struct Glob {
    whole: Regex,
    /// What folders must look like, by their depth, as far as the pattern says.
    folders: Vec<Regex>,
    /// Whether folders below those may be any.
    any: bool,
    hidden: bool,
}

impl Glob {
    /// The folder where a pattern begins, and the rest of it.
    ///
    /// # Errors
    /// When the pattern is broken.
    pub fn parse(root: &Path, pattern: &str) -> Result<(PathBuf, Self), Error> {
        let segments: Vec<&str> = pattern.split('/').collect();
        let fixed = segments.iter().take_while(|segment| !is_glob(segment)).count();
        let base = root.join(segments.get(..fixed).unwrap_or_default().join("/"));
        let base = if pattern.starts_with('/') && fixed == 1 { PathBuf::from("/") } else { base };
        let rest = segments.get(fixed..).unwrap_or_default();
        let glob = Self::of(rest).map_err(|reason| Error::SourceInvalid {
            text: pattern.to_owned(),
            reason,
            hint: None,
        })?;
        Ok((base, glob))
    }

    fn of(segments: &[&str]) -> Result<Self, String> {
        let any = segments.contains(&"**");
        let plain = segments.iter().take_while(|segment| **segment != "**").count();
        let deepest = plain.min(segments.len().saturating_sub(1));
        let folders = (1..=deepest)
            .map(|end| regex(segments.get(..end).unwrap_or_default()))
            .collect::<Result<_, _>>()?;
        let hidden = segments.iter().any(|segment| segment.starts_with('.'));
        Ok(Self { whole: regex(segments)?, folders, any, hidden })
    }

    /// Whether a file at this path is meant.
    pub fn takes(&self, path: &str) -> bool {
        self.shows(path) && self.whole.is_match(path)
    }

    /// Whether something in a folder at this path may be meant.
    pub fn enters(&self, path: &str) -> bool {
        let depth = path.matches('/').count();
        self.shows(path) && self.folders.get(depth).map_or(self.any, |folder| folder.is_match(path))
    }

    fn shows(&self, path: &str) -> bool {
        self.hidden || !path.split('/').any(|part| part.starts_with('.'))
    }
}

/// A pattern as a regular expression.
fn regex(segments: &[&str]) -> Result<Regex, String> {
    let mut text = String::from("(?s)^");
    for (index, segment) in segments.iter().enumerate() {
        let last = index + 1 == segments.len();
        if *segment == "**" {
            text.push_str(if last { ".*" } else { "(?:[^/]+/)*" });
            continue;
        }
        push_segment(&mut text, segment)?;
        if !last {
            text.push('/');
        }
    }
    text.push('$');
    Regex::new(&text).map_err(|_| "the pattern is not valid".to_owned())
}

fn push_segment(text: &mut String, segment: &str) -> Result<(), String> {
    let mut chars = segment.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' => text.push_str("[^/]*"),
            '?' => text.push_str("[^/]"),
            '[' => {
                let (class, rest) =
                    chars.as_str().split_once(']').ok_or_else(|| "a `[` has no `]`".to_owned())?;
                chars = rest.chars();
                let (negated, class) = match class.strip_prefix('!').or_else(|| class.strip_prefix('^')) {
                    Some(rest) => ("^", rest),
                    None => ("", class),
                };
                if class.is_empty() {
                    return Err("there is nothing between `[` and `]`".to_owned());
                }
                let class: String = class
                    .chars()
                    .map(|c| if c == '-' { c.to_string() } else { regex::escape(&c.to_string()) })
                    .collect();
                text.push_str(&format!("[{negated}{class}]"));
            }
            other => text.push_str(&regex::escape(&other.to_string())),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_can_hold_nothing_wanted_are_not_entered() {
        let glob = |pattern: &str| Glob::parse(Path::new("/r"), pattern).unwrap().1;
        let flat = glob("data/*.csv");
        assert!(flat.takes("a.csv") && !flat.takes("x/a.csv") && !flat.enters("x"));
        let deep = glob("data/2*/**/*.csv");
        assert!(deep.enters("2013") && !deep.enters("1999") && deep.enters("2013/a/b"));
        assert!(deep.takes("2013/a.csv") && deep.takes("2013/x/y/a.csv") && !deep.takes("1999/a.csv"));
        let two = glob("*/raw/?.txt");
        assert!(two.enters("a") && two.enters("a/raw") && !two.enters("a/other") && !two.enters("a/raw/x"));
        assert!(!glob("*").takes(".hidden") && glob(".*").takes(".hidden"));
        assert!(glob("*.txt").takes("a\nb.txt"));
        let (base, _) = Glob::parse(Path::new("/r"), "/abs/x/*.csv").unwrap();
        assert_eq!(base, Path::new("/abs/x"));
    }
}
