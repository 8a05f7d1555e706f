//! Taking one file out of an archive that nobody vouches for.
//!
//! Zip (wheels too), tar, tar.gz and gzip are read as streams; nothing is ever written under a name that
//! the archive chose. What comes out is bounded, by its ratio to what went in and in total, so that a
//! small file cannot fill the disk. Names that are absolute or climb with `..` make the whole archive
//! suspect, and links are not followed.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use rondo_core::suggest;
use tar::{Archive, EntryType, PaxExtensions};
use zip::ZipArchive;

use crate::Error;

/// How much may come out of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes out for each byte in, once more than `free` bytes have come out.
    pub ratio: u64,
    /// Bytes that may come out whatever the ratio.
    pub free: u64,
    /// Bytes out in total.
    pub total: u64,
    /// Entries.
    pub entries: u64,
}

impl Default for Limits {
    /// A ratio of 200 after 16 MiB, 256 GiB in total, a million entries.
    fn default() -> Self {
        Self { ratio: 200, free: 16 << 20, total: 256 << 30, entries: 1_000_000 }
    }
}

/// What an archive is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Zip, of which a wheel is one.
    Zip,
    /// Tar.
    Tar,
    /// Tar in gzip.
    TarGz,
    /// One file in gzip.
    Gzip,
}

impl Format {
    /// By the ending of a name; `None` for what is no archive.
    pub fn of(name: &str) -> Option<Self> {
        let lower = name.to_lowercase();
        let ends = |ending: &str| lower.len() > ending.len() && lower.ends_with(ending);
        match () {
            () if ends(".zip") || ends(".whl") => Some(Self::Zip),
            () if ends(".tar.gz") || ends(".tgz") => Some(Self::TarGz),
            () if ends(".tar") => Some(Self::Tar),
            () if ends(".gz") => Some(Self::Gzip),
            () => None,
        }
    }
}

/// Which file of an archive is wanted.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// The only one there is.
    Single,
    /// The one at this path, or in an archive on the way to it. The archive's top folder, where all lies
    /// in one, may be left out.
    At(&'a str),
}

/// What was taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The file's path in the archive.
    pub name: String,
    /// What is left of the wanted path: it goes on inside the file, an archive itself.
    pub rest: Option<String>,
}

/// Writes the wanted file of an archive to `out`.
///
/// # Errors
/// When the archive is broken, suspect or goes beyond the limits, when it has no such file, and when
/// reading or writing fails.
pub fn take(path: &Path, wanted: Wanted<'_>, out: &mut dyn Write, limits: Limits) -> Result<Taken, Error> {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let found = match Format::of(&name) {
        Some(Format::Zip) => take_from_zip(path, wanted, out, limits),
        Some(Format::Tar) => take_from_tar(Box::new(open(path)?), path, wanted, out, limits),
        Some(Format::TarGz) => {
            let (file, read) = Counted::new(open(path)?);
            let plain = Box::new(MultiGzDecoder::new(file));
            take_from_tar(Box::new(Bounded::new(plain, read, limits)), path, wanted, out, limits)
        }
        Some(Format::Gzip) => {
            let (file, read) = Counted::new(open(path)?);
            let plain = Box::new(MultiGzDecoder::new(file));
            pour(&mut Bounded::new(plain, read, limits), out, path)?;
            let inner = name.get(..name.len().saturating_sub(3)).unwrap_or(&name).to_owned();
            Ok(Some(Taken { name: inner, rest: None }))
        }
        None => Err(suspect(path, "its name does not end as an archive's does")),
    }?;
    found.ok_or_else(|| suspect(path, "it holds no file"))
}

fn take_from_zip(
    path: &Path,
    wanted: Wanted<'_>,
    out: &mut dyn Write,
    limits: Limits,
) -> Result<Option<Taken>, Error> {
    let mut archive = ZipArchive::new(open(path)?).map_err(|error| broken(path, &error))?;
    let mut names = Vec::new();
    for index in 0..archive.len() {
        if index as u64 >= limits.entries {
            return Err(suspect(path, "it has too many entries"));
        }
        let entry = archive.by_index_raw(index).map_err(|error| broken(path, &error))?;
        let name = entry.name().map_err(|error| broken(path, &error))?.into_owned();
        check_name(path, &name)?;
        if entry.is_file() && !ignorable(&name) {
            names.push((index, name));
        }
    }
    let Some((chosen, rest)) = choose(path, wanted, names.iter().map(|(_, name)| name.as_str()))? else {
        return Ok(None);
    };
    let (index, name) = &names[chosen]; // `choose` gives an index into what it was given
    let entry = archive.by_index(*index).map_err(|error| broken(path, &error))?;
    let read = Rc::new(Cell::new(entry.compressed_size()));
    pour(&mut Bounded::new(Box::new(entry), read, limits), out, path)?;
    Ok(Some(Taken { name: name.clone(), rest }))
}

/// Goes through a tar twice at most: the names first, so that the choice does not depend on their order,
/// except where a path was wanted and is met at once.
fn take_from_tar(
    reader: Box<dyn Read + '_>,
    path: &Path,
    wanted: Wanted<'_>,
    out: &mut dyn Write,
    limits: Limits,
) -> Result<Option<Taken>, Error> {
    let mut archive = Archive::new(reader);
    let mut names: Vec<String> = Vec::new();
    let mut long_name: Option<String> = None;
    // Raw entries: the crate would read names of any length into memory.
    let entries = archive.entries().map_err(|error| broken(path, &error))?.raw(true);
    for (count, entry) in entries.enumerate() {
        if count as u64 >= limits.entries {
            return Err(suspect(path, "it has too many entries"));
        }
        let mut entry = entry.map_err(|error| broken(path, &error))?;
        match entry.header().entry_type() {
            EntryType::GNULongName | EntryType::XHeader => {
                long_name = read_long_name(&mut entry, path)?.or(long_name);
            }
            EntryType::XGlobalHeader | EntryType::GNULongLink => {}
            EntryType::Regular | EntryType::Continuous => {
                let own = || String::from_utf8_lossy(&entry.header().path_bytes()).into_owned();
                let name = long_name.take().unwrap_or_else(own);
                check_name(path, &name)?;
                let name = name.trim_start_matches("./").to_owned();
                if ignorable(&name) {
                    continue;
                }
                match wanted {
                    Wanted::At(wanted) => {
                        if let Some(rest) = leads_to(&name, wanted) {
                            pour(&mut entry, out, path)?;
                            return Ok(Some(Taken { name, rest }));
                        }
                    }
                    Wanted::Single if names.is_empty() => pour(&mut entry, out, path)?,
                    Wanted::Single => {}
                }
                names.push(name);
            }
            _ => {
                // Folders carry nothing; links and devices are not followed.
                let own = || String::from_utf8_lossy(&entry.header().path_bytes()).into_owned();
                check_name(path, &long_name.take().unwrap_or_else(own))?;
            }
        }
    }
    let chosen = choose(path, wanted, names.iter().map(String::as_str))?;
    Ok(chosen.and_then(|(index, rest)| names.get(index).map(|name| Taken { name: name.clone(), rest })))
}

fn read_long_name(entry: &mut tar::Entry<'_, impl Read>, path: &Path) -> Result<Option<String>, Error> {
    const LONGEST: u64 = 1 << 16;
    let pax = entry.header().entry_type() == EntryType::XHeader;
    if entry.size() > LONGEST {
        return Err(suspect(path, "the name of an entry is too long"));
    }
    let mut bytes = Vec::new();
    entry.take(LONGEST).read_to_end(&mut bytes).map_err(|error| broken(path, &error))?;
    if !pax {
        let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        return Ok(Some(String::from_utf8_lossy(name).into_owned()));
    }
    let mut found = None;
    for extension in PaxExtensions::new(&bytes) {
        let extension = extension.map_err(|error| broken(path, &error))?;
        match extension.key_bytes() {
            b"path" => found = Some(String::from_utf8_lossy(extension.value_bytes()).into_owned()),
            // Raw entries end where their header says, and that cannot say so much.
            b"size" => return Err(suspect(path, "an entry of more than 8 GiB in a tar cannot be read")),
            _ => {}
        }
    }
    Ok(found)
}

/// The index of the wanted one among names, and what of the wanted path is left.
fn choose<'a>(
    path: &Path,
    wanted: Wanted<'_>,
    names: impl Iterator<Item = &'a str>,
) -> Result<Option<(usize, Option<String>)>, Error> {
    let names: Vec<&str> = names.collect();
    match wanted {
        Wanted::Single => match names.as_slice() {
            [] => Ok(None),
            [_] => Ok(Some((0, None))),
            [first, ..] => Err(Error::SourceInvalid {
                text: path.display().to_string(),
                reason: format!("it holds {} files, so one has to be named", names.len()),
                hint: Some(format!("{}/{first}", path.display())),
            }),
        },
        Wanted::At(wanted) => {
            let found = names
                .iter()
                .enumerate()
                .find_map(|(index, name)| leads_to(name, wanted).map(|rest| (index, rest)));
            found.map(Some).ok_or_else(|| not_found(path, wanted, &names))
        }
    }
}

/// Whether a name is the wanted path, or an archive on the way to it (then: what is left of the path).
fn leads_to(name: &str, wanted: &str) -> Option<Option<String>> {
    // An sdist has one top folder, which people do not write.
    [Some(name), name.split_once('/').map(|(_, rest)| rest)].into_iter().flatten().find_map(|name| {
        if name == wanted {
            return Some(None);
        }
        let rest = wanted.strip_prefix(name)?.strip_prefix('/')?;
        Format::of(name).map(|_| Some(rest.to_owned()))
    })
}

fn not_found(path: &Path, wanted: &str, names: &[&str]) -> Error {
    let file = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let short: Vec<&str> =
        names.iter().map(|name| name.split_once('/').map_or(*name, |(_, rest)| rest)).collect();
    let near = short
        .iter()
        .copied()
        .find(|name| file(name) == file(wanted))
        .or_else(|| suggest::nearest(wanted, short.iter().copied()));
    let archive = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    Error::SourceNotFound { what: format!("{archive}/{wanted}"), near: near.map(str::to_owned) }
}

/// What operating systems put into archives by themselves.
fn ignorable(name: &str) -> bool {
    name.starts_with("__MACOSX/") || name.rsplit('/').next() == Some(".DS_Store")
}

fn check_name(path: &Path, name: &str) -> Result<(), Error> {
    let climbs = name.split(['/', '\\']).any(|part| part == "..");
    let drive = name.as_bytes().get(1) == Some(&b':');
    if climbs || drive || name.starts_with(['/', '\\']) || name.contains('\0') {
        return Err(suspect(path, &format!("its entry `{name}` would lead out of a folder")));
    }
    Ok(())
}

fn open(path: &Path) -> Result<BufReader<File>, Error> {
    Ok(BufReader::with_capacity(1 << 17, File::open(path).map_err(Error::io("open", path))?))
}

fn pour(from: &mut dyn Read, out: &mut dyn Write, path: &Path) -> Result<(), Error> {
    let mut buffer = vec![0; 1 << 17];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken(path, &error)),
        };
        let part = buffer.get(..count).unwrap_or_default();
        out.write_all(part).map_err(Error::io("unpack", path))?;
    }
}

fn broken(path: &Path, error: &dyn std::error::Error) -> Error {
    suspect(path, &error.to_string())
}

fn suspect(path: &Path, reason: &str) -> Error {
    Error::Archive { path: path.to_owned(), reason: reason.to_owned() }
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    read: Rc<Cell<u64>>,
}

impl<R: Read> Counted<R> {
    fn new(inner: R) -> (Self, Rc<Cell<u64>>) {
        let read = Rc::new(Cell::new(0));
        (Self { inner, read: Rc::clone(&read) }, read)
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read.set(self.read.get().saturating_add(count as u64));
        Ok(count)
    }
}

/// Ends with an error once too much has come out for what went in.
struct Bounded<'a> {
    inner: Box<dyn Read + 'a>,
    went_in: Rc<Cell<u64>>,
    came_out: u64,
    limits: Limits,
}

impl<'a> Bounded<'a> {
    fn new(inner: Box<dyn Read + 'a>, went_in: Rc<Cell<u64>>, limits: Limits) -> Self {
        Self { inner, went_in, came_out: 0, limits }
    }
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.came_out = self.came_out.saturating_add(count as u64);
        let fair = self.went_in.get().saturating_mul(self.limits.ratio).max(self.limits.free);
        if self.came_out > fair {
            return Err(io::Error::other(format!(
                "more than {} times its size comes out of it",
                self.limits.ratio
            )));
        }
        if self.came_out > self.limits.total {
            return Err(io::Error::other(format!("more than {} bytes come out of it", self.limits.total)));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
