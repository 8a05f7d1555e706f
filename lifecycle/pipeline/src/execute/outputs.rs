//! What a step has to make, where it has to make it, and taking it into the store.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rondo_core::run::Link;
use rondo_project::ordered::Ordered;
use rondo_store::Objects;
use rondo_store::objects::Take;
use serde_json::Value;

use crate::worktree::is_executable;

/// So large a file, and so many of them, are hashed and copied sooner than another thread is woken for it.
const SMALL: u64 = 256 * 1024;
/// See [`SMALL`].
const FEW: usize = 8;

/// Whether outputs, as they lie there, are a few small files.
pub fn are_small(places: &BTreeMap<String, PathBuf>) -> bool {
    let small = |place: &PathBuf| {
        fs::metadata(place).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= SMALL)
    };
    places.len() <= FEW && places.values().all(small)
}

/// Whether outputs in the store are a few small files.
pub fn are_few<'a>(links: impl IntoIterator<Item = &'a Link>) -> bool {
    let mut links = links.into_iter();
    links.by_ref().take(FEW).all(|link| !link.folder && link.size <= SMALL) && links.next().is_none()
}

/// Where each output has to appear: in `folder`, under the last segment of its declared path. Where two
/// outputs have one file name, each gets a folder of its own.
pub fn places(folder: &Path, outputs: &Ordered<String>) -> BTreeMap<String, PathBuf> {
    let files: BTreeSet<&str> = outputs.values().map(|path| file_name(path)).collect();
    let distinct = files.len() == outputs.len();
    let place = |(name, path): (&str, &String)| {
        let folder = if distinct { folder.to_owned() } else { folder.join(name) };
        (name.to_owned(), folder.join(file_name(path)))
    };
    outputs.iter().map(place).collect()
}

/// The last segment of a path, without the slash that marks a folder.
pub fn file_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

/// Takes what a step has made into the store.
///
/// # Errors
/// The cause of the step's failure, in words: an output is missing or of the wrong kind, or cannot be
/// stored.
pub fn collect(
    objects: &Objects,
    step: &str,
    outputs: &Ordered<String>,
    places: &BTreeMap<String, PathBuf>,
) -> Result<Vec<Link>, String> {
    // All are looked at before one is moved.
    let faults: Vec<String> =
        outputs.iter().filter_map(|(name, path)| fault(name, path, places.get(name)?)).collect();
    if !faults.is_empty() {
        return Err(faults.join("; "));
    }
    let mut links = Vec::with_capacity(outputs.len());
    for (name, _) in outputs.iter() {
        let Some(place) = places.get(name) else { continue };
        let executable = is_executable(place);
        let take = if may_move(place) { Take::Move } else { Take::Keep };
        let stored = objects
            .put_path(place, take)
            .map_err(|error| format!("output `{name}` cannot be stored: {}", chain(&error)))?;
        links.push(Link {
            name: name.to_owned(),
            reference: format!("{step}.{name}"),
            digest: stored.digest,
            size: stored.size,
            folder: stored.folder,
            executable,
        });
    }
    Ok(links)
}

fn fault(name: &str, path: &str, place: &Path) -> Option<String> {
    let variable = format!("$RONDO_OUTPUT_{}", variable(name));
    match (fs::metadata(place), path.ends_with('/')) {
        (Err(_), _) => Some(format!(
            "it did not make its output `{name}`: write it to `${{{{ outputs.{name} }}}}` or {variable}"
        )),
        (Ok(there), true) if !there.is_dir() => {
            Some(format!("output `{name}` is a file where `{path}` declares a folder"))
        }
        (Ok(there), false) if there.is_dir() => {
            Some(format!("output `{name}` is a folder where `{path}` declares a file: declare `{path}/`"))
        }
        (Ok(_), _) => None,
    }
}

/// Whether files can be moved into the store without taking them from elsewhere: a link is another's file.
fn may_move(place: &Path) -> bool {
    let Ok(metadata) = fs::symlink_metadata(place) else { return false };
    if metadata.is_dir() {
        let Ok(entries) = fs::read_dir(place) else { return false };
        return entries.into_iter().all(|entry| entry.is_ok_and(|entry| may_move(&entry.path())));
    }
    metadata.is_file() && metadata.nlink() == 1
}

/// A name as a part of an environment variable's name.
pub fn variable(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

/// The numbers of a JSON file of metrics; nested names are joined by points. Numbers that are none, as Python writes
/// them by itself (`NaN`, `Infinity`), count as they do in tracking.
///
/// # Errors
/// The cause of the step's failure, in words.
pub fn metrics(path: &Path, declared: &str) -> Result<BTreeMap<String, f64>, String> {
    let bytes = fs::read(path)
        .map_err(|_| format!("it did not make its metrics `{declared}`: write them to $RONDO_METRICS"))?;
    let value: Value = serde_json::from_slice(&bytes)
        .or_else(|_| serde_json::from_slice(&marked(&bytes)))
        .map_err(|error| format!("its metrics `{declared}` are no JSON: {error}"))?;
    if !value.is_object() {
        return Err(format!("its metrics `{declared}` are no JSON object of names and numbers"));
    }
    let mut found = BTreeMap::new();
    flatten(&value, String::new(), &mut found);
    Ok(found)
}

/// The words of Python's JSON that are no JSON, and the texts that stand for them until it is read: as long, so that
/// a fault is where the file has it, and beginning with a character that no name of a thing begins with.
const NOT_FINITE: [(&str, &str, f64); 3] = [
    ("NaN", "\"\u{7f}\"", f64::NAN),
    ("Infinity", "\"\u{7f}+++++\"", f64::INFINITY),
    ("-Infinity", "\"\u{7f}------\"", f64::NEG_INFINITY),
];

/// A text of JSON with texts in the place of numbers that are none.
fn marked(bytes: &[u8]) -> Vec<u8> {
    let mut marked = Vec::with_capacity(bytes.len());
    let (mut rest, mut quoted) = (bytes, false);
    while let Some((first, after)) = rest.split_first() {
        let word = NOT_FINITE.iter().find(|(word, ..)| !quoted && rest.starts_with(word.as_bytes()));
        match (word, first, after.split_first()) {
            (Some((word, text, _)), ..) => {
                marked.extend_from_slice(text.as_bytes());
                rest = rest.get(word.len()..).unwrap_or_default();
            }
            (None, b'\\', Some((escaped, after))) if quoted => {
                marked.extend([b'\\', *escaped]);
                rest = after;
            }
            (None, first, _) => {
                quoted ^= *first == b'"';
                marked.push(*first);
                rest = after;
            }
        }
    }
    marked
}

fn flatten(value: &Value, name: String, found: &mut BTreeMap<String, f64>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(value, name, found);
            }
        }
        Value::Number(number) => found.extend(number.as_f64().map(|number| (name, number))),
        Value::String(text) => {
            let stands_for = |marked: &str| marked.trim_matches('"') == text.as_str();
            let number = NOT_FINITE.iter().find(|(_, marked, _)| stands_for(marked));
            found.extend(number.map(|(.., number)| (name, *number)));
        }
        Value::Null | Value::Bool(_) | Value::Array(_) => {}
    }
}

/// An error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(entries: &[(&str, &str)]) -> Ordered<String> {
        entries.iter().map(|(name, path)| ((*name).to_owned(), (*path).to_owned())).collect()
    }

    #[test]
    fn outputs_of_one_file_name_do_not_meet() {
        let declared = outputs(&[("a", "x/m.onnx"), ("b", "y/m.onnx"), ("c", "raw/")]);
        let places = places(Path::new("/o"), &declared);
        assert_eq!(places["a"], Path::new("/o/a/m.onnx"));
        assert_eq!(places["b"], Path::new("/o/b/m.onnx"));
        assert_eq!(places["c"], Path::new("/o/c/raw"));
        let declared = outputs(&[("a", "x/m.onnx"), ("c", "raw/")]);
        assert_eq!(self::places(Path::new("/o"), &declared)["c"], Path::new("/o/raw"));
    }

    #[test]
    fn missing_and_wrong_outputs_are_all_named() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(&folder.path().join("objects")).unwrap();
        let declared = outputs(&[("model", "m.onnx"), ("raw", "raw/"), ("file-two", "two")]);
        fs::write(folder.path().join("raw"), "").unwrap();
        fs::create_dir(folder.path().join("two")).unwrap();
        let cause = collect(&objects, "train", &declared, &places(folder.path(), &declared)).unwrap_err();
        assert!(
            cause.contains("did not make its output `model`") && cause.contains("$RONDO_OUTPUT_MODEL"),
            "{cause}"
        );
        assert!(cause.contains("declares a folder") && cause.contains("declare `two/`"), "{cause}");
    }

    #[test]
    fn a_linked_file_stays_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(&folder.path().join("objects")).unwrap();
        let own = folder.path().join("own.txt");
        fs::write(&own, "mine").unwrap();
        std::os::unix::fs::symlink(&own, folder.path().join("soft")).unwrap();
        fs::hard_link(&own, folder.path().join("hard")).unwrap();
        let declared = outputs(&[("a", "soft"), ("b", "hard")]);
        let links = collect(&objects, "s", &declared, &places(folder.path(), &declared)).unwrap();
        assert_eq!(links[0].digest, links[1].digest);
        fs::write(&own, "changed").unwrap();
        assert_eq!(objects.read(links[0].digest).unwrap(), b"mine");
    }

    #[test]
    fn metrics_are_flattened_and_other_values_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.json");
        fs::write(&path, r#"{"auc": 0.7, "by": {"AA": 1, "note": "x"}, "ok": true}"#).unwrap();
        let found = metrics(&path, "m.json").unwrap();
        assert_eq!(found, [("auc".to_owned(), 0.7), ("by.AA".to_owned(), 1.0)].into());
        fs::write(&path, "[1]").unwrap();
        assert!(metrics(&path, "m.json").unwrap_err().contains("no JSON object"));
        // What Python writes by itself.
        let python =
            r#"{"loss": NaN, "acc": 0.5, "up": Infinity, "by": {"a\"NaN": -Infinity}, "note": "NaN"}"#;
        fs::write(&path, python).unwrap();
        let found = metrics(&path, "m.json").unwrap();
        assert!(found["loss"].is_nan() && found.len() == 4, "{found:?}");
        assert_eq!((found["acc"], found["up"]), (0.5, f64::INFINITY));
        assert_eq!(found["by.a\"NaN"], f64::NEG_INFINITY);
        for (text, place) in [
            ("{\"loss\": NaN,\n \"acc\": -Infinity 0.5}", "line 2 column 19"),
            ("{\"acc\": 0.5,\n}", "line 2 column 1"),
            ("{\"loss\": NaNa}", "line 1 column 13"),
        ] {
            fs::write(&path, text).unwrap();
            let fault = metrics(&path, "m.json").unwrap_err();
            assert!(fault.contains("are no JSON") && fault.contains(place), "{fault}");
        }
        fs::write(&path, "[1]").unwrap();
        assert!(metrics(&folder.path().join("no"), "m.json").unwrap_err().contains("$RONDO_METRICS"));
    }
}
