//! How two files that should be the same differ, by kind: in what a writer notes about itself, in the last
//! digits of numbers, in an order, in a time, or in what they say.
//!
//! A file's kind is told by its first bytes, not by its name. What lies in archives, compressed files and
//! folders is compared in its turn. Nothing here says whether a difference matters: [`verdict`] does, with
//! what the project declares.

mod archive;
mod binary;
mod notebook;
mod picture;
mod table;
mod text;
pub mod verdict;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::Path;

use rondo_core::run::Link;
use rondo_core::tree::{Entry, Mode};
use rondo_store::Objects;
use rondo_table::difference::Spread;
use serde::{Deserialize, Serialize};

use crate::Error;

/// Files up to this size are looked into; of greater ones the first byte that differs is told.
const LOOKED_INTO: u64 = 256 << 20;

/// How deep archives in archives are looked into.
const DEPTH: usize = 3;

/// How many differences of one output are told.
const TOLD: usize = 50;

/// What sort of difference it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Times, order or compression of an archive's members; their contents are the same.
    Archive,
    /// The header or compression of a gzip file; its content is the same.
    Gzip,
    /// Who wrote a table and how it is laid out in the file; its cells are the same.
    TableWriter,
    /// What a notebook notes of its execution: times, counts, ids.
    NotebookRecord,
    /// How a picture is encoded; its pixels are the same.
    PictureEncoding,
    /// Blanks and the order of keys in JSON, or where a pickle keeps what it repeats.
    Formatting,
    /// Numbers.
    Numbers,
    /// The same rows, lines or elements in another order.
    Order,
    /// The folder or the run that it was made in.
    Place,
    /// The time at which it was made.
    Clock,
    /// Identifiers that are drawn at random.
    Identifiers,
    /// It differs from try to try: a seed or a fixed order is missing.
    Unseeded,
    /// Files that one has and the other has not.
    Members,
    /// Columns or the number of rows.
    Shape,
    /// What is written.
    Text,
    /// Bytes of a kind that is not known.
    Bytes,
}

impl Kind {
    /// The words for it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Archive => "times or order in an archive",
            Self::Gzip => "header of a gzip file",
            Self::TableWriter => "writer of a table",
            Self::NotebookRecord => "record of a notebook's execution",
            Self::PictureEncoding => "encoding of a picture",
            Self::Formatting => "formatting",
            Self::Numbers => "numbers",
            Self::Order => "order",
            Self::Place => "path or run",
            Self::Clock => "time of making",
            Self::Identifiers => "random identifiers",
            Self::Unseeded => "unseeded randomness",
            Self::Members => "files",
            Self::Shape => "columns or rows",
            Self::Text => "text",
            Self::Bytes => "bytes",
        }
    }

    /// Whether only the form differs and all that is said is the same.
    pub const fn is_form(self) -> bool {
        match self {
            Self::Archive
            | Self::Gzip
            | Self::TableWriter
            | Self::NotebookRecord
            | Self::PictureEncoding
            | Self::Formatting => true,
            Self::Numbers
            | Self::Order
            | Self::Place
            | Self::Clock
            | Self::Identifiers
            | Self::Unseeded
            | Self::Members
            | Self::Shape
            | Self::Text
            | Self::Bytes => false,
        }
    }

    /// What to do about it, where something can be done.
    pub const fn advice(self) -> Option<&'static str> {
        match self {
            Self::Archive => Some("write members in a fixed order with the time in SOURCE_DATE_EPOCH"),
            Self::Gzip => Some("compress with `gzip -n`, or `mtime=0` in Python"),
            Self::Unseeded => Some("seed every generator from a parameter, and sort what has no order"),
            Self::Order => Some("sort before writing"),
            Self::Clock => Some("write the time in SOURCE_DATE_EPOCH, or none"),
            Self::Place => Some("write no absolute path: names relative to the project"),
            Self::Identifiers => Some("derive identifiers from what they name"),
            Self::Numbers => Some("declare `reproducible: { tolerance: … }` where this is close enough"),
            Self::TableWriter | Self::NotebookRecord | Self::PictureEncoding | Self::Formatting => {
                Some("declare `reproducible: { tolerance: 0 }` where the form does not matter")
            }
            Self::Members | Self::Shape | Self::Text | Self::Bytes => None,
        }
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// What sort it is.
    pub kind: Kind,
    /// Where in the output: the path in a folder, the member of an archive; empty: the output itself.
    pub place: String,
    /// What differs, in words.
    pub text: String,
    /// Of numbers, how far they are apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
}

impl Finding {
    fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, place: String::new(), text: text.into(), spread: None }
    }

    fn numbers(spread: Spread, at: &str) -> Self {
        let (count, noun) =
            (spread.count, if spread.count == 1 { "number differs" } else { "numbers differ" });
        let by = if spread.ulps <= 1 << 20 {
            format!("{} ULP (relative {:.1e})", spread.ulps, spread.relative)
        } else {
            format!("{:.3e} (relative {:.1e})", spread.absolute, spread.relative)
        };
        let text = format!("{count} {noun}, by at most {by}{at}");
        Self { spread: Some(spread), ..Self::new(Kind::Numbers, text) }
    }

    fn within(mut self, place: &str) -> Self {
        self.place = match (place.is_empty(), self.place.is_empty()) {
            (true, _) => self.place,
            (false, true) => place.to_owned(),
            (false, false) => format!("{place}/{}", self.place),
        };
        self
    }
}

/// Words in which two runs differ of necessity: their folders and ids, of each side in the same order.
#[derive(Debug, Clone, Default)]
pub struct Marks {
    /// Those of the first.
    pub old: Vec<String>,
    /// Those of the second.
    pub new: Vec<String>,
}

impl Marks {
    /// A text of the first and one of the second with their marks made the same.
    fn without(&self, old: &str, new: &str) -> (String, String) {
        let strip = |text: &str, marks: &[String]| {
            marks
                .iter()
                .filter(|mark| mark.len() > 3)
                .fold(text.to_owned(), |text, mark| text.replace(mark, "\u{1}"))
        };
        (strip(old, &self.old), strip(new, &self.new))
    }
}

/// How two outputs differ; nothing where they are the same.
///
/// # Errors
/// When the store has not got one of them, or it cannot be read.
pub fn links(objects: &Objects, old: &Link, new: &Link, marks: &Marks) -> Result<Vec<Finding>, Error> {
    if old.digest == new.digest {
        return Ok(Vec::new());
    }
    let mut found = Found::default();
    compare(objects, old, new, marks, "", &mut found)?;
    Ok(found.told())
}

/// What was found in one output, in bounded memory: the first findings as they are, of all others how many
/// there are of each kind and how far their numbers are apart at most.
#[derive(Default)]
struct Found {
    first: Vec<Finding>,
    more: Vec<(Kind, usize, Option<Spread>)>,
    count: usize,
}

impl Found {
    fn add(&mut self, finding: Finding) {
        self.count += 1;
        if self.first.len() < TOLD {
            self.first.push(finding);
            return;
        }
        let Some((_, count, spread)) = self.more.iter_mut().find(|(kind, ..)| *kind == finding.kind) else {
            self.more.push((finding.kind, 1, finding.spread));
            return;
        };
        *count += 1;
        // Where one says nothing of how far it is, nothing is said of all of them.
        *spread = spread.zip(finding.spread).map(|(a, b)| Spread {
            count: a.count.saturating_add(b.count),
            absolute: a.absolute.max(b.absolute),
            relative: a.relative.max(b.relative),
            ulps: a.ulps.max(b.ulps),
        });
    }

    /// The first, and one finding for all others of a kind, which is judged as the worst of them would be.
    fn told(self) -> Vec<Finding> {
        let mut told = self.first;
        for (kind, count, spread) in self.more {
            let text = match spread {
                Some(spread) => format!("in {count} more places {}", Finding::numbers(spread, "").text),
                None => format!("and {count} more {}", if count == 1 { "difference" } else { "differences" }),
            };
            told.push(Finding { spread, ..Finding::new(kind, text) });
        }
        told
    }
}

/// Adds how two outputs differ, or two entries of them at a place.
fn compare(
    objects: &Objects,
    old: &Link,
    new: &Link,
    marks: &Marks,
    place: &str,
    found: &mut Found,
) -> Result<(), Error> {
    if old.digest == new.digest {
        return Ok(());
    }
    let findings = match (old.folder, new.folder) {
        (true, true) => return folders(objects, old, new, marks, place, found),
        (false, false) => files(&objects.sound(old.digest)?, &objects.sound(new.digest)?, marks)?,
        (true, false) => vec![Finding::new(Kind::Members, "it was a folder and is a file")],
        (false, true) => vec![Finding::new(Kind::Members, "it was a file and is a folder")],
    };
    findings.into_iter().for_each(|finding| found.add(finding.within(place)));
    Ok(())
}

fn folders(
    objects: &Objects,
    old: &Link,
    new: &Link,
    marks: &Marks,
    place: &str,
    found: &mut Found,
) -> Result<(), Error> {
    let (a, b) = (objects.tree(old.digest)?, objects.tree(new.digest)?);
    let at = |entry: &Entry| match place {
        "" => entry.name.clone(),
        place => format!("{place}/{}", entry.name),
    };
    let link = |entry: &Entry| Link {
        name: entry.name.clone(),
        reference: String::new(),
        digest: entry.digest,
        size: entry.size,
        folder: entry.mode == Mode::Folder,
        executable: entry.mode == Mode::Executable,
    };
    let mut come: BTreeMap<&str, &Entry> = b.entries().iter().map(|entry| (&*entry.name, entry)).collect();
    for entry in a.entries() {
        let Some(other) = come.remove(&*entry.name) else {
            found.add(Finding::new(Kind::Members, "it is missing now").within(&at(entry)));
            continue;
        };
        let before = found.count;
        compare(objects, &link(entry), &link(other), marks, &at(entry), found)?;
        if found.count == before && entry.mode != other.mode {
            let text = "whether it may be executed has changed";
            found.add(Finding::new(Kind::Members, text).within(&at(entry)));
        }
    }
    for entry in come.into_values() {
        found.add(Finding::new(Kind::Members, "it was not there before").within(&at(entry)));
    }
    Ok(())
}

/// How two files differ.
///
/// # Errors
/// When one cannot be read.
pub fn files(old: &Path, new: &Path, marks: &Marks) -> Result<Vec<Finding>, Error> {
    let starts = |path: &Path| -> Result<[u8; 4], Error> {
        let mut start = [0; 4];
        let mut file = File::open(path).map_err(Error::io("read", path))?;
        // A shorter file keeps its zeros.
        let _ = file.read(&mut start).map_err(Error::io("read", path))?;
        Ok(start)
    };
    if starts(old)? == *b"PAR1"
        && starts(new)? == *b"PAR1"
        && let Some(findings) = table::parquet(old, new)
    {
        return Ok(findings);
    }
    let size = |path: &Path| Ok::<_, Error>(fs::metadata(path).map_err(Error::io("read", path))?.len());
    if size(old)?.max(size(new)?) > LOOKED_INTO {
        return offset(old, new);
    }
    let read = |path: &Path| fs::read(path).map_err(Error::io("read", path));
    Ok(bytes(&read(old)?, &read(new)?, marks, 0))
}

/// How the contents of two files differ.
fn bytes(old: &[u8], new: &[u8], marks: &Marks, depth: usize) -> Vec<Finding> {
    if old == new {
        return Vec::new();
    }
    let both = |start: &[u8]| old.starts_with(start) && new.starts_with(start);
    let found = if both(b"PK\x03\x04") && depth < DEPTH {
        archive::zip(old, new, marks, depth)
    } else if both(b"\x1f\x8b") && depth < DEPTH {
        archive::gzip(old, new, marks, depth)
    } else if both(b"PAR1") {
        table::parquet_bytes(old, new)
    } else if both(b"\x93NUMPY") {
        binary::npy(old, new)
    } else if both(b"\x89PNG\r\n\x1a\n") {
        picture::png(old, new)
    } else if both(b"\x80") && old.ends_with(b".") {
        binary::pickle(old, new)
    } else {
        None
    };
    if let Some(found) = found {
        return found;
    }
    match (std::str::from_utf8(old), std::str::from_utf8(new)) {
        (Ok(a), Ok(b)) if !old.contains(&0) && !new.contains(&0) => text::compare(a, b, marks),
        _ => vec![binary::first(old, new)],
    }
}

/// The first byte in which two large files differ.
fn offset(old: &Path, new: &Path) -> Result<Vec<Finding>, Error> {
    let open =
        |path: &Path| Ok::<_, Error>(BufReader::new(File::open(path).map_err(Error::io("read", path))?));
    let (mut a, mut b) = (open(old)?.bytes(), open(new)?.bytes());
    let mut at = 0_u64;
    loop {
        let (x, y) = (a.next().transpose(), b.next().transpose());
        let (x, y) = (x.map_err(Error::io("read", old))?, y.map_err(Error::io("read", new))?);
        if x != y || x.is_none() {
            let text = format!("the first byte that differs is at {at}");
            return Ok(vec![Finding::new(Kind::Bytes, text)]);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests;
