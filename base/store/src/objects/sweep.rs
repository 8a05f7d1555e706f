//! Sweeping: objects that nothing names any more are removed, while others go on writing.
//!
//! Whoever stores bytes that are here already renews the object's time instead, so an object that is
//! about to be named again is young. A sweep takes only what is old: it renames the object away, looks at
//! its time once more, and puts it back if it was renewed in between; whoever renews it after that finds
//! it gone and writes it anew. What a killed sweep has renamed comes back when the store is next opened.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rondo_core::Digest;
use rondo_core::tree::{Listing, Mode};

use super::{Objects, names};
use crate::Error;

/// What a sweep removed, or would remove.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many of these bytes another name has too, such as one in a work tree.
    pub shared: u64,
    /// Objects that would go if they were older.
    pub young: u64,
}

/// An object that is not to be kept.
struct Unnamed {
    bytes: u64,
    shared: bool,
    old: bool,
}

impl Objects {
    /// Whether an object is here, and from now on counted as new.
    pub fn renew(&self, digest: Digest) -> bool {
        if self.is_doubted(digest) {
            return false;
        }
        let place = self.place(digest);
        // Not ours to touch, or gone: then it is written anew.
        fs::File::open(&place).is_ok_and(|file| self.make_young(digest, &file))
    }

    /// Counts an object as new from now on. Whether that could be done.
    pub(super) fn make_young(&self, digest: Digest, file: &fs::File) -> bool {
        self.keeping_note(digest, file, || file.set_modified(SystemTime::now()).is_ok())
    }

    /// Whether an object was stored, or stored again, before a moment, or is not here.
    pub(crate) fn is_old(&self, digest: Digest, before: SystemTime) -> bool {
        let modified = fs::metadata(self.place(digest)).and_then(|metadata| metadata.modified());
        modified.map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |at| at <= before)
    }

    /// Adds to some objects all that is in the folders among them. Gives back those that are not here.
    ///
    /// # Errors
    /// When an object cannot be read.
    pub fn close_over(&self, marks: &mut HashSet<Digest>) -> Result<Vec<Digest>, Error> {
        self.closed_over(marks, false)
    }

    /// The same before a sweep: what a damaged listing named is not known, so nothing may go.
    ///
    /// # Errors
    /// As [`Objects::close_over`], and [`Error::Corrupt`] for a listing that is damaged.
    pub fn close_over_whole(&self, marks: &mut HashSet<Digest>) -> Result<Vec<Digest>, Error> {
        self.closed_over(marks, true)
    }

    fn closed_over(&self, marks: &mut HashSet<Digest>, strict: bool) -> Result<Vec<Digest>, Error> {
        let mut missing = HashSet::new();
        // With whether it is known to be a listing.
        let mut open: Vec<(Digest, bool)> = marks.iter().map(|digest| (*digest, false)).collect();
        open.sort_unstable();
        let mut opened: HashSet<Digest> = marks.clone();
        while let Some((digest, known)) = open.pop() {
            let Some(path) = self.path(digest) else {
                missing.insert(digest);
                continue;
            };
            let expected = known && strict;
            if !(expected || is_listing(&path)?) {
                continue;
            }
            let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
            if strict {
                let found = Digest::of(&bytes);
                if found != digest {
                    return Err(Error::Corrupt { digest, found });
                }
            }
            // Bytes that only begin like a listing are a file.
            let inner: Vec<(Digest, bool)> = match Listing::decode(&bytes) {
                Ok(Listing::Whole(tree)) => {
                    tree.entries().iter().map(|entry| (entry.digest, entry.mode == Mode::Folder)).collect()
                }
                Ok(Listing::Parts(parts)) => parts.iter().map(|part| (part.digest, true)).collect(),
                Err(_) => continue,
            };
            for (inner, folder) in inner {
                // Of a file no more is asked than whether it is here.
                if marks.insert(inner) && !folder && self.path(inner).is_none() {
                    missing.insert(inner);
                }
                if folder && opened.insert(inner) {
                    open.push((inner, true));
                }
            }
        }
        Ok(missing.into_iter().collect())
    }

    /// Removes the objects that are not to be kept and were stored, or stored again, before a moment.
    ///
    /// # Errors
    /// When the folder cannot be read or written. What went before is gone.
    pub fn sweep(&self, keep: &HashSet<Digest>, before: SystemTime, dry_run: bool) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        for prefix in names(&self.root)?.iter().filter(|name| name.len() == 2) {
            for rest in names(&self.root.join(prefix))? {
                let Ok(digest) = format!("{prefix}{rest}").parse::<Digest>() else { continue };
                if keep.contains(&digest) {
                    continue;
                }
                let Some(gone) = self.remove_old(digest, before, dry_run)? else { continue };
                if gone.old {
                    swept.objects += 1;
                    swept.bytes += gone.bytes;
                    swept.shared += if gone.shared { gone.bytes } else { 0 };
                } else {
                    swept.young += 1;
                }
            }
        }
        Ok(swept)
    }

    fn remove_old(
        &self,
        digest: Digest,
        before: SystemTime,
        dry_run: bool,
    ) -> Result<Option<Unnamed>, Error> {
        let place = self.place(digest);
        let Some(found) = unnamed(&place, before)? else { return Ok(None) };
        if dry_run || !found.old {
            return Ok(Some(found));
        }
        let aside = self.aside(digest)?;
        gone(fs::rename(&place, &aside)).map_err(Error::io("remove", &place))?;
        if !unnamed(&aside, before)?.is_some_and(|aside| aside.old) {
            self.put_back(digest, &aside)?;
            return Ok(None);
        }
        gone(fs::remove_file(&aside)).map_err(Error::io("remove", &aside))?;
        if found.bytes > super::WHOLE {
            self.forget(digest);
        }
        Ok(Some(found))
    }

    /// Puts back what a sweep had renamed when it was killed.
    pub(super) fn restore_swept(&self) -> Result<(), Error> {
        let folder = self.root.join("swept");
        if !folder.is_dir() {
            return Ok(());
        }
        for name in names(&folder)? {
            if let Ok(digest) = name.parse() {
                self.put_back(digest, &folder.join(name))?;
            }
        }
        Ok(())
    }

    fn aside(&self, digest: Digest) -> Result<PathBuf, Error> {
        let folder = self.root.join("swept");
        fs::create_dir_all(&folder).map_err(Error::io("make", &folder))?;
        Ok(folder.join(digest.hex()))
    }

    fn put_back(&self, digest: Digest, aside: &Path) -> Result<(), Error> {
        let place = self.place(digest);
        gone(fs::rename(aside, &place)).map_err(Error::io("put back", &place))
    }
}

/// What is known of a file, and whether it was last renewed before a moment; nothing where it is gone.
fn unnamed(path: &Path, before: SystemTime) -> Result<Option<Unnamed>, Error> {
    let look = |metadata: fs::Metadata| {
        let (bytes, shared) = (metadata.len(), metadata.nlink() > 1);
        Ok(Unnamed { bytes, shared, old: metadata.modified()? <= before })
    };
    match fs::metadata(path).and_then(look) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// What another process has removed meanwhile is removed.
fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn is_listing(path: &Path) -> Result<bool, Error> {
    let mut head = Vec::new();
    let file = fs::File::open(path).map_err(Error::io("open", path))?;
    file.take(Listing::PREFIX.len() as u64).read_to_end(&mut head).map_err(Error::io("read", path))?;
    Ok(head == Listing::PREFIX)
}

impl Objects {
    /// Copies an object here from another place where objects lie, verifying its bytes, unless it stands
    /// here. Whether it was copied.
    ///
    /// # Errors
    /// When it is not there, corrupt there, or cannot be written here.
    pub fn fetch(&self, from: &Self, digest: Digest) -> Result<bool, Error> {
        if self.stands(digest) {
            return Ok(false);
        }
        let path = from.require(digest)?;
        let file = fs::File::open(&path).map_err(Error::io("open", &path))?;
        let found = self.put_reader(file)?.digest;
        if found == digest { Ok(true) } else { Err(Error::Corrupt { digest, found }) }
    }

    /// Whether an object's bytes are what its digest says.
    ///
    /// # Errors
    /// When it is not here or cannot be read.
    pub fn verify(&self, digest: Digest) -> Result<bool, Error> {
        Ok(super::hash_file(&self.require(digest)?)? == digest)
    }
}
