//! Folders of text files: how many, how long, in which encoding, which are there twice.
//!
//! Files are read in parallel and none is kept. The text itself is not judged.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;
use rondo_core::Digest;
use serde::{Deserialize, Serialize};

use super::files::{Fault, FileEntry, Spread, named, read};

/// A folder of texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TextProfile {
    /// How many text files.
    pub files: u64,
    /// How many of them were read; fewer where a sample was asked for.
    pub looked_at: u64,
    /// Other files, which were not looked at.
    pub other_files: u64,
    /// Bytes of those that were read.
    pub bytes: u64,
    /// Characters of a file.
    pub characters: Spread,
    /// Words of a file.
    pub words: Spread,
    /// Lines of a file.
    pub lines: Spread,
    /// How many files are in each encoding.
    pub encodings: BTreeMap<String, u64>,
    /// Files without any character but white space.
    pub empty: u64,
    /// Some of them.
    pub empty_names: Vec<String>,
    /// Files that hold bytes of no text, or cannot be read: name and reason.
    pub broken: Vec<(String, String)>,
    /// How many.
    pub broken_count: u64,
    /// How many files have the bytes of another.
    pub same: u64,
    /// How many lie in each folder, by its name.
    pub labels: BTreeMap<String, u64>,
    /// How many could not be read or have other bytes than those that were added.
    #[serde(skip)]
    pub(super) unsound: u64,
}

struct Facts {
    encoding: &'static str,
    characters: usize,
    words: usize,
    lines: usize,
    size: usize,
    digest: Digest,
}

/// Looks at text files; `other_files` lie beside them, and of `all` these are a sample or all.
pub fn profile(files: &[&FileEntry], all: u64, other_files: u64) -> TextProfile {
    let look = |file: &FileEntry| {
        let (bytes, digest) = read(file)?;
        Ok(facts(&bytes, digest)?)
    };
    let looked: Vec<(&str, Result<Facts, Fault>)> =
        files.par_iter().map(|file| (file.name.as_str(), look(file))).collect();
    let good: Vec<(&str, &Facts)> =
        looked.iter().filter_map(|(name, facts)| Some((*name, facts.as_ref().ok()?))).collect();
    let broken: Vec<(String, String)> = looked
        .iter()
        .filter_map(|(name, facts)| Some((named(name), facts.as_ref().err()?.reason.clone())))
        .collect();
    let spread =
        |of: &dyn Fn(&Facts) -> usize| Spread::of(good.iter().map(|(_, facts)| of(facts) as f64).collect());
    let (mut encodings, mut labels) = (BTreeMap::new(), BTreeMap::new());
    let mut contents: HashMap<Digest, u64> = HashMap::new();
    for (name, facts) in &good {
        *encodings.entry(facts.encoding.to_owned()).or_insert(0) += 1;
        *contents.entry(facts.digest).or_insert(0) += 1;
        if let Some((folder, _)) = name.rsplit_once('/') {
            let label = folder.rsplit('/').next().unwrap_or(folder);
            *labels.entry(named(label)).or_insert(0) += 1;
        }
    }
    let empty: Vec<&str> = good.iter().filter(|(_, facts)| facts.words == 0).map(|(name, _)| *name).collect();
    TextProfile {
        files: all,
        looked_at: looked.len() as u64,
        other_files,
        bytes: good.iter().map(|(_, facts)| facts.size as u64).sum(),
        characters: spread(&|facts| facts.characters),
        words: spread(&|facts| facts.words),
        lines: spread(&|facts| facts.lines),
        encodings,
        empty: empty.len() as u64,
        empty_names: empty.into_iter().take(20).map(named).collect(),
        broken_count: broken.len() as u64,
        broken: broken.into_iter().take(50).collect(),
        same: contents.values().map(|count| count - 1).sum(),
        labels,
        unsound: looked
            .iter()
            .filter(|(_, facts)| facts.as_ref().err().is_some_and(|fault| fault.unsound))
            .count() as u64,
    }
}

fn facts(bytes: &[u8], digest: Digest) -> Result<Facts, String> {
    let (encoding, text) = decoded(bytes)?;
    Ok(Facts {
        encoding,
        characters: text.chars().count(),
        words: text.split_whitespace().count(),
        lines: text.lines().count(),
        size: bytes.len(),
        digest,
    })
}

/// The text and its encoding: by its mark, else UTF-8, else one byte a character.
fn decoded(bytes: &[u8]) -> Result<(&'static str, String), String> {
    let wide = |rest: &[u8], word: fn([u8; 2]) -> u16| {
        let units = rest.chunks_exact(2).map(|pair| match pair {
            [a, b] => word([*a, *b]),
            _ => 0,
        });
        char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect::<String>()
    };
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => {
            let text =
                std::str::from_utf8(rest).map_err(|error| format!("it is marked as UTF-8, but {error}"))?;
            Ok(("utf-8 with a mark", text.to_owned()))
        }
        [0xff, 0xfe, rest @ ..] => Ok(("utf-16le", wide(rest, u16::from_le_bytes))),
        [0xfe, 0xff, rest @ ..] => Ok(("utf-16be", wide(rest, u16::from_be_bytes))),
        _ if bytes.contains(&0) => Err("it holds zero bytes: it is no text".to_owned()),
        _ if bytes.is_ascii() => Ok(("ascii", String::from_utf8_lossy(bytes).into_owned())),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(("utf-8", text.to_owned())),
            Err(_) => Ok(("one byte a character", bytes.iter().map(|byte| char::from(*byte)).collect())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_texts_is_summed_up() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name.replace('/', "-"));
            std::fs::write(&path, bytes).unwrap();
            FileEntry { name: name.to_owned(), path, size: bytes.len() as u64, digest: None }
        };
        let files = [
            file("pos/a.txt", b"one two\nthree\n"),
            file("pos/b.txt", b"one two\nthree\n"),
            file("neg/c.txt", "größer".as_bytes()),
            file("neg/d.txt", b"gr\xf6\xdfer"),
            file("neg/e.txt", b"\xff\xfea\0b\0"),
            file("neg/f.txt", b" \n"),
            file("neg/g.txt", b"a\0b"),
        ];
        let found = profile(&files.iter().collect::<Vec<_>>(), 7, 1);
        assert_eq!((found.files, found.empty, found.broken_count, found.same), (7, 1, 1, 1));
        assert_eq!(found.labels, BTreeMap::from([("pos".to_owned(), 2), ("neg".to_owned(), 4)]));
        assert_eq!(found.encodings["ascii"], 3);
        assert_eq!((found.encodings["utf-8"], found.encodings["one byte a character"]), (1, 1));
        assert_eq!((found.words.max, found.characters.max, found.lines.min), (3.0, 14.0, 1.0));
        assert_eq!(found.broken[0].0, "neg/g.txt");
    }
}
