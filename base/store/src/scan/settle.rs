//! What the walk could not know: files are read, and stored or only hashed.

use std::ffi::CStr;
use std::path::Path;

use rayon::prelude::*;

use super::resume::Resume;
use super::{FileItem, Folder, Node, Scan, What, below, on_threads};
use crate::objects::Bulk;
use crate::{Error, Objects};

/// What is done with a file that was not known.
#[derive(Clone, Copy)]
pub enum How<'a> {
    /// It is hashed.
    Hash,
    /// It is stored.
    Store(&'a Bulk),
}

impl Scan {
    /// Reads the files whose content is not known, or not known to be stored. `seen` is told of each with
    /// the bytes that were read.
    ///
    /// # Errors
    /// When a file cannot be read or stored, or changes while it is read.
    pub fn settle(
        &mut self,
        how: How<'_>,
        resume: &Resume,
        seen: &(dyn Fn(u64) + Sync),
    ) -> Result<(), Error> {
        let root = self.root.clone();
        let settler = Settler { how, resume, seen };
        match &mut self.node {
            Node::Same(_) => Ok(()),
            Node::New(folder) => on_threads(|| settler.folder(folder, &root)),
        }
    }
}

struct Settler<'a> {
    how: How<'a>,
    resume: &'a Resume,
    seen: &'a (dyn Fn(u64) + Sync),
}

impl Settler<'_> {
    fn folder(&self, folder: &mut Folder, path: &Path) -> Result<(), Error> {
        let Folder { names, items, .. } = folder;
        let name =
            |at: usize| CStr::from_bytes_until_nul(names.get(at..).unwrap_or_default()).unwrap_or_default();
        items.par_iter_mut().try_for_each(|item| match &mut item.what {
            What::File(file) if self.is_open(file) => self.file(file, &below(path, name(item.name))),
            What::Folder(Node::New(inner)) => self.folder(inner, &below(path, name(item.name))),
            What::File(_) | What::Folder(Node::Same(_)) => Ok(()),
        })
    }

    const fn is_open(&self, file: &FileItem) -> bool {
        match self.how {
            How::Hash => file.digest.is_none(),
            How::Store(_) => file.digest.is_none() || !file.stored,
        }
    }

    fn file(&self, file: &mut FileItem, path: &Path) -> Result<(), Error> {
        let unread = file.digest.is_none();
        let known = file.digest.or_else(|| self.resume.digest(&file.stamp));
        match (self.how, known) {
            (How::Hash, Some(digest)) => file.digest = Some(digest),
            (How::Hash, None) => {
                let (digest, stamp) = Objects::digest_steady(path)?;
                (file.digest, file.stamp) = (Some(digest), stamp);
                file.stored = file.before == Some((digest, true));
            }
            (How::Store(bulk), Some(digest)) if bulk.has(digest, file.stamp.size) => {
                (file.digest, file.stored) = (Some(digest), true);
            }
            (How::Store(bulk), known) => {
                let likely = known.is_none() && file.before.is_some();
                let (digest, stamp) = bulk.put_file(path, likely)?;
                (file.digest, file.stamp, file.stored) = (Some(digest), stamp, true);
            }
        }
        (self.seen)(if unread { file.stamp.size } else { 0 });
        Ok(())
    }
}
