//! Archives on the way to a file, each unpacked once into the cache.

use std::fs;
use std::path::{Path, PathBuf};

use rondo_core::Digest;
use rondo_store::Objects;
use serde::{Deserialize, Serialize};

use super::archive::{self, Format, Limits, Wanted};
use super::local::file_name;
use crate::Error;

/// How many archives may lie in each other.
const MAX_NESTED: usize = 8;

/// What the cache knows of a file taken from an archive.
#[derive(Serialize, Deserialize)]
struct Memory {
    file: String,
    rest: Option<String>,
}

/// The file itself where it is no archive, else the wanted file in it (`None`: its only one), and so on
/// while that is an archive too.
///
/// # Errors
/// When an archive has no such file, is broken, suspect, or goes beyond the limits.
pub fn unpack(
    cache: &Path,
    mut file: PathBuf,
    mut inside: Option<String>,
    limits: Limits,
) -> Result<PathBuf, Error> {
    for _ in 0..MAX_NESTED {
        if Format::of(&file_name(&file)).is_none() {
            return match inside {
                None => Ok(file),
                Some(inside) => {
                    let what = format!("{}/{inside}", file.display());
                    Err(Error::SourceNotFound { what, near: Some(file.display().to_string()) })
                }
            };
        }
        (file, inside) = unpack_one(cache, &file, inside.as_deref(), limits)?;
    }
    Err(Error::Archive { path: file, reason: format!("more than {MAX_NESTED} archives lie in each other") })
}

fn unpack_one(
    cache: &Path,
    archive: &Path,
    inside: Option<&str>,
    limits: Limits,
) -> Result<(PathBuf, Option<String>), Error> {
    let digest = Objects::digest_path(archive)?.digest;
    // Two names for one content may be two formats, so the archive's name is part of the key.
    let key = Digest::of(format!("{}\0{}", file_name(archive), inside.unwrap_or_default()).as_bytes());
    let folder = cache.join(digest.hex()).join(key.short());
    let memory_path = folder.join("memory.json");
    if let Some(memory) = read_memory(&memory_path) {
        let file = folder.join("file").join(&memory.file);
        if file.is_file() {
            return Ok((file, memory.rest));
        }
    }
    let files = folder.join("file");
    fs::create_dir_all(&files).map_err(Error::io("make", &files))?;
    let mut fresh = tempfile::NamedTempFile::new_in(&folder).map_err(Error::io("write in", &folder))?;
    let wanted = inside.map_or(Wanted::Single, Wanted::At);
    let taken = archive::take(archive, wanted, fresh.as_file_mut(), limits)?;
    fresh.as_file().sync_all().map_err(Error::io("sync", fresh.path()))?;
    let name = plain_name(&taken.name);
    let file = files.join(&name);
    fresh.persist(&file).map_err(|error| Error::io("write", &file)(error.error))?;
    write_memory(&memory_path, &Memory { file: name, rest: taken.rest.clone() })?;
    Ok((file, taken.rest))
}

fn read_memory(path: &Path) -> Option<Memory> {
    let memory: Memory = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (memory.file == plain_name(&memory.file)).then_some(memory)
}

fn write_memory(path: &Path, memory: &Memory) -> Result<(), Error> {
    let bytes = serde_json::to_vec(memory)
        .map_err(|source| Error::Record { what: "note of an unpacked file".to_owned(), source })?;
    write_whole(path, &bytes)
}

/// Writes a small file so that it is there whole or not at all.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    use std::io::Write;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut fresh = tempfile::NamedTempFile::new_in(folder).map_err(Error::io("write in", folder))?;
    fresh.write_all(bytes).map_err(Error::io("write", path))?;
    fresh.as_file().sync_all().map_err(Error::io("sync", path))?;
    fresh.persist(path).map_err(|error| Error::io("write", path)(error.error))?;
    Ok(())
}

/// The last part of a name from outside, as something that can only be a file in a folder.
pub fn plain_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain: String = last.chars().filter(|c| !c.is_control()).take(200).collect();
    if plain.is_empty() || plain == "." || plain == ".." { "file".to_owned() } else { plain }
}
