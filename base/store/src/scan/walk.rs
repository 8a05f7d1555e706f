//! The walk: every file below a root gets one look, beside what the index has of it.
//!
//! Folders are read in parallel, and so are the files of a folder that has very many. Links are followed,
//! as everywhere; one that leads back to where it lies is an error, and so is one that leads nowhere.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rayon::prelude::*;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::index::{Head, Known};
use super::{FileItem, Folder, Index, Item, Node, Scan, Section, Unread, What, below, on_threads};
use crate::Error;
use crate::objects::{Stamp, half_made};

const MAX_DEPTH: usize = 200;
/// A folder with more names than this is looked at by several threads.
const MANY: usize = 4096;

/// Whether a path below the root is wanted; of a folder (`true`), whether something in it may be.
pub type Pick<'a> = dyn Fn(&str, bool) -> bool + Sync + 'a;

/// What is to be looked at.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The file or folder.
    pub root: &'a Path,
    /// Which of the files below; all without it. Folders without any are left out then.
    pub pick: Option<&'a Pick<'a>>,
    /// What was seen the last time.
    pub index: Option<&'a Index>,
    /// Whether the version that the index was written for is still there.
    pub trusted: bool,
    /// A folder that must not be part of it: the store.
    pub store: &'a Path,
}

/// Looks at everything below a root but what is half put into place there (see [`half_made`]).
///
/// # Errors
/// When there is nothing, something that is wanted is a link that leads nowhere or in a circle, has a name
/// that is not UTF-8 or is neither file nor folder, or a folder cannot be read.
pub fn walk(request: &Request<'_>) -> Result<Scan, Error> {
    let root = request.root;
    let metadata = std::fs::metadata(root).map_err(Error::io("read", root))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let taken = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
    let store = std::fs::metadata(request.store).ok().map(|metadata| {
        use std::os::unix::fs::MetadataExt;
        (metadata.dev(), metadata.ino())
    });
    let single = metadata.is_file();
    let index = request.index.filter(|index| index.single == single);
    let walker = Walker {
        request: Request { index, ..*request },
        store,
        files: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
    };
    let old = index.map(Index::root);
    let (node, root) = if single {
        let folder = root.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        (walker.file(root, old)?, folder)
    } else {
        (on_threads(|| walker.folder(root, "", None, old))?, root)
    };
    let unread = Unread { files: walker.files.into_inner(), bytes: walker.bytes.into_inner() };
    Ok(Scan { root: root.to_owned(), taken, single, unread, node })
}

struct Walker<'a> {
    request: Request<'a>,
    store: Option<(u64, u64)>,
    files: AtomicU64,
    bytes: AtomicU64,
}

/// The folders that one lies in.
struct Chain<'a> {
    device: u64,
    inode: u64,
    path: &'a Path,
    depth: usize,
    up: Option<&'a Chain<'a>>,
}

/// What a name turned out to be.
enum Found {
    File(FileItem, bool),
    Folder(Option<Section>),
    Unwanted,
}

/// The index's view of the folder that is looked at.
#[derive(Clone, Copy)]
struct Beside<'a> {
    index: &'a Index,
    section: Section,
    head: Head,
}

impl<'a> Beside<'a> {
    /// What the index has under a name; it is looked for at its place first.
    fn known(&self, place: usize, name: &CStr) -> Option<Known<'a>> {
        let at_place = self.index.item(self.section, &self.head, place);
        match at_place {
            Some(known) if known.name() == name.to_bytes() => Some(known),
            Some(_) | None => Some(self.index.find(self.section, &self.head, name.to_bytes())?.1),
        }
    }
}

/// Names, each ended by a zero byte, with where each begins and what it is.
type Names = (Vec<u8>, Vec<(usize, FileType)>);

impl Walker<'_> {
    fn beside(&self, old: Option<Section>) -> Option<Beside<'_>> {
        let (index, section) = (self.request.index?, old?);
        Some(Beside { index, section, head: index.head(section)? })
    }

    /// A root that is a file: a folder of one.
    fn file(&self, path: &Path, old: Option<Section>) -> Result<Node, Error> {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| Error::NotUtf8 { path: path.to_owned() })?;
        let mut names = name.as_bytes().to_vec();
        names.push(0);
        let mut folder = Folder { old, names, ..Folder::default() };
        let c_name = CStr::from_bytes_with_nul(&folder.names).unwrap_or_default();
        let stat = rustix::fs::stat(path).map_err(|error| Error::io("read", path)(error.into()))?;
        let beside = self.beside(old);
        let known = beside.and_then(|beside| beside.known(0, c_name));
        let (file, same) = self.known_file(&stat, known);
        if same
            && beside.is_some_and(|beside| beside.head.stored)
            && self.request.trusted
            && let Some(section) = old
        {
            return Ok(Node::Same(section));
        }
        folder.items.push(Item { name: 0, what: What::File(file) });
        Ok(Node::New(Box::new(folder)))
    }

    fn folder(
        &self,
        path: &Path,
        relative: &str,
        up: Option<&Chain<'_>>,
        old: Option<Section>,
    ) -> Result<Node, Error> {
        let io = |error: Errno| Error::io("read", path)(error.into());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(path, flags, Mode::empty()).map_err(io)?;
        let stat = rustix::fs::fstat(&handle).map_err(io)?;
        let chain = self.enter(path, &stat, up)?;
        let (names, starts) = self.names(path, relative, &handle)?;
        let beside = self.beside(old);
        let look = |(place, (start, kind)): (usize, &(usize, FileType))| {
            let rest = names.get(*start..).unwrap_or_default();
            let name = CStr::from_bytes_until_nul(rest).unwrap_or_default();
            self.look(path, relative, handle.as_fd(), name, *kind, beside, place)
        };
        let found: Vec<Found> = if starts.len() > MANY {
            starts.par_iter().enumerate().map(look).collect::<Result<_, _>>()?
        } else {
            starts.iter().enumerate().map(look).collect::<Result<_, _>>()?
        };
        drop(handle);
        let mut folder = Folder { old, names, ..Folder::default() };
        folder.items.reserve_exact(found.len());
        let mut same = beside.is_some_and(|beside| beside.head.stored) && self.request.trusted;
        let mut inner: Vec<(usize, PathBuf, String, Option<Section>)> = Vec::new();
        for ((name, _), found) in starts.into_iter().zip(found) {
            let what = match found {
                Found::Unwanted => continue,
                Found::File(file, as_before) => {
                    same &= as_before;
                    What::File(file)
                }
                Found::Folder(section) => {
                    let rest = folder.names.get(name..).unwrap_or_default();
                    let c_name = CStr::from_bytes_until_nul(rest).unwrap_or_default();
                    let relative = match self.request.pick {
                        Some(_) => format!("{relative}{}/", c_name.to_string_lossy()),
                        None => String::new(),
                    };
                    inner.push((folder.items.len(), below(path, c_name), relative, section));
                    What::Folder(Node::New(Box::default()))
                }
            };
            folder.items.push(Item { name, what });
        }
        let step = |(place, path, relative, section): (usize, PathBuf, String, Option<Section>)| {
            let node = self.folder(&path, &relative, Some(&chain), section)?;
            let as_before = matches!((&node, section), (Node::Same(_), Some(_)));
            Ok((place, node, as_before))
        };
        let nodes: Vec<(usize, Node, bool)> = if inner.len() > 1 {
            inner.into_par_iter().map(step).collect::<Result<_, Error>>()?
        } else {
            inner.into_iter().map(step).collect::<Result<_, Error>>()?
        };
        for (place, node, as_before) in nodes {
            same &= as_before;
            if let Some(item) = folder.items.get_mut(place) {
                item.what = What::Folder(node);
            }
        }
        if self.request.pick.is_some() {
            folder.items.retain(
                |item| !matches!(&item.what, What::Folder(Node::New(inner)) if inner.items.is_empty()),
            );
        }
        match old {
            Some(section) if same && beside.is_some_and(|b| b.head.items == folder.items.len()) => {
                Ok(Node::Same(section))
            }
            Some(_) | None => Ok(Node::New(Box::new(folder))),
        }
    }

    fn enter<'c>(&self, path: &'c Path, stat: &Stat, up: Option<&'c Chain<'c>>) -> Result<Chain<'c>, Error> {
        #[allow(clippy::useless_conversion)]
        let (device, inode) = (u64::from(stat.st_dev), u64::from(stat.st_ino));
        if self.store == Some((device, inode)) {
            return Err(Error::OwnStore { path: path.to_owned() });
        }
        let mut above = up;
        while let Some(chain) = above {
            if (chain.device, chain.inode) == (device, inode) {
                return Err(Error::Loop { path: path.to_owned(), to: chain.path.to_owned() });
            }
            above = chain.up;
        }
        let depth = up.map_or(0, |up| up.depth + 1);
        if depth > MAX_DEPTH {
            return Err(Error::Deep { path: path.to_owned(), most: MAX_DEPTH });
        }
        Ok(Chain { device, inode, path, depth, up })
    }

    /// The names in a folder.
    fn names(&self, path: &Path, relative: &str, handle: impl AsFd) -> Result<Names, Error> {
        let io = |error: Errno| Error::io("read", path)(error.into());
        let (mut names, mut starts) = (Vec::new(), Vec::new());
        for entry in Dir::read_from(handle).map_err(io)? {
            let entry = entry.map_err(io)?;
            let (name, kind) = (entry.file_name(), entry.file_type());
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            // What is half put into place is nobody's; what is not wanted may be called and lead where it likes.
            if name.to_str().is_ok_and(|name| half_made(name).is_some()) {
                continue;
            }
            if !self.may_be_wanted(relative, &name.to_string_lossy(), kind) {
                continue;
            }
            if name.to_str().is_err() {
                return Err(Error::NotUtf8 { path: below(path, name) });
            }
            starts.push((names.len(), kind));
            names.extend_from_slice(name.to_bytes_with_nul());
        }
        Ok((names, starts))
    }

    fn wanted(&self, relative: &str, name: &str, folder: bool) -> bool {
        self.request.pick.is_none_or(|pick| pick(&format!("{relative}{name}"), folder))
    }

    /// The same of what may be a link, and then is wanted if either what it could lead to is.
    fn may_be_wanted(&self, relative: &str, name: &str, kind: FileType) -> bool {
        match kind {
            FileType::Symlink | FileType::Unknown => {
                self.wanted(relative, name, false) || self.wanted(relative, name, true)
            }
            FileType::Directory => self.wanted(relative, name, true),
            _ => self.wanted(relative, name, false),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn look(
        &self,
        path: &Path,
        relative: &str,
        folder: BorrowedFd<'_>,
        name: &CStr,
        kind: FileType,
        beside: Option<Beside<'_>>,
        place: usize,
    ) -> Result<Found, Error> {
        let known = beside.and_then(|beside| beside.known(place, name));
        let section = match known {
            Some(Known::Folder { section, .. }) => Some(section),
            Some(Known::File { .. }) | None => None,
        };
        if kind == FileType::Directory {
            return Ok(Found::Folder(section));
        }
        let io = |error: Errno| match error {
            Errno::NOENT => Error::Changed { path: below(path, name) },
            other => Error::io("read", &below(path, name))(other.into()),
        };
        let mut stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(io)?;
        let is = |stat: &Stat| FileType::from_raw_mode(stat.st_mode);
        if is(&stat) == FileType::Symlink {
            stat = rustix::fs::statat(folder, name, AtFlags::empty()).map_err(|error| match error {
                Errno::NOENT => Error::Dangling { path: below(path, name) },
                Errno::LOOP => Error::Loop { path: below(path, name), to: below(path, name) },
                other => io(other),
            })?;
        }
        if matches!(kind, FileType::Symlink | FileType::Unknown) {
            let text = name.to_str().unwrap_or_default();
            if !self.wanted(relative, text, is(&stat) == FileType::Directory) {
                return Ok(Found::Unwanted);
            }
        }
        match is(&stat) {
            FileType::Directory => Ok(Found::Folder(section)),
            FileType::RegularFile => {
                let (file, same) = self.known_file(&stat, known);
                Ok(Found::File(file, same))
            }
            _ => Err(Error::Special { path: below(path, name) }),
        }
    }

    /// A file, with its digest where the index knows it, and whether it is in all as the index has it.
    fn known_file(&self, stat: &Stat, known: Option<Known<'_>>) -> (FileItem, bool) {
        let stamp = Stamp::of_stat(stat);
        let executable = stat.st_mode & 0o100 != 0;
        let mut file = FileItem { stamp, executable, digest: None, stored: false, before: None };
        if let (Some(Known::File { file: old, .. }), Some(index)) = (known, self.request.index) {
            let stored = old.stored && self.request.trusted;
            if old.stamp == stamp && !stamp.is_racy(index.taken) {
                file.digest = old.digest;
                file.stored = stored;
                if stored {
                    return (file, old.executable == executable);
                }
            }
            file.before = old.digest.filter(|_| old.stamp.size == stamp.size).map(|digest| (digest, stored));
        }
        self.files.fetch_add(1, Ordering::Relaxed);
        if file.digest.is_none() {
            self.bytes.fetch_add(stamp.size, Ordering::Relaxed);
        }
        (file, false)
    }
}
