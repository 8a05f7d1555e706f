//! What the project file may say and nothing heeds yet: told, so that nobody relies on it. It is no fault.

use super::PROJECT_FILE;
use crate::yaml::{Node, join};

/// A note on each such key, with its place.
pub(super) fn notes(root: &Node) -> Vec<String> {
    let mut notes = Vec::new();
    for (section, keys) in [
        ("models", &["refit"][..]),
        ("serve", &["shadow"]),
        ("monitor", &["reference", "drift"]),
        ("triggers", &["schedule"]),
    ] {
        let Some(node) = root.get(section) else { continue };
        let of_list = node.list().unwrap_or_default().iter().enumerate();
        let mut things: Vec<(String, &Node)> =
            of_list.map(|(at, item)| (format!("{section}[{at}]"), item)).collect();
        let entries = node.map().unwrap_or_default().iter();
        things.extend(entries.map(|entry| (join(section, &entry.key), &entry.value)));
        for (path, thing) in things {
            for key in keys {
                let Some(entry) = thing.entry(key) else { continue };
                if let Some(said) = said(key, &join(&path, key), &entry.value) {
                    let (line, column) = (entry.place.line, entry.place.column);
                    notes.push(format!("{PROJECT_FILE}:{line}:{column}: {said} has no effect yet"));
                }
            }
        }
    }
    notes
}

/// How a key that has no effect is spoken of; nothing where it has one.
fn said(key: &str, path: &str, value: &Node) -> Option<String> {
    match key {
        "refit" if value.bool() != Some(true) => None,
        "drift" => {
            let method = value.text().or_else(|| value.get("method")?.text())?;
            let heeded = matches!(method, "auto" | "off");
            (!heeded).then(|| format!("the method `{method}` of `{path}` is kept but"))
        }
        _ => Some(format!("`{path}` is kept but")),
    }
}
