//! Putting a version of a dataset into a work tree: where its source says, or elsewhere.
//!
//! Files that are right already stay, so that an interrupted command is gone on with. A file whose content
//! is in no version would be lost: such files are listed and nothing is done, unless it is forced. What the
//! version that lay there had and this one has not is taken away, where nobody has changed it; first of all
//! what lies where a folder must be, and the folder that lies where a file must be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rondo_core::Digest;
use rondo_core::handoff::DatasetVersion;
use rondo_core::ports::Event;
use rondo_core::tree::Mode;
use rondo_store::Objects;
use rondo_store::objects::{FileEntry, Linked, sweep_half_made};
use serde::Serialize;

use crate::fetch::glob::Glob;
use crate::ingest::Intake;
use crate::listing::Leaf;
use crate::place::{Place, pace};
use crate::versions::Datasets;
use crate::{Error, Source};
use plan::{Plan, at, plan, shown_below};

mod plan;

/// Listings that lie deeper are none.
const MAX_DEPTH: usize = 400;

/// How a version is put into place.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where to; where the source is, without it.
    pub to: Option<PathBuf>,
    /// Only these paths or patterns in it.
    pub only: Vec<String>,
    /// Also over files that would be lost.
    pub force: bool,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Got {
    /// Where it is.
    pub to: PathBuf,
    /// Files that were put into place.
    pub placed: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were right already.
    pub kept: u64,
    /// Files that were taken away: those of the version before that this one has not and, where it was
    /// forced, what else lay where a folder must be or in a folder where a file must be.
    pub removed: Vec<String>,
    /// How many share their blocks with the store.
    pub reflinks: u64,
    /// How many are the store's own file, write-protected.
    pub hard_links: u64,
    /// How many are copies.
    pub copies: u64,
}

/// The files and folders of a version.
#[derive(Default)]
struct Content {
    files: Vec<(String, FileEntry)>,
    folders: Vec<String>,
}

impl Datasets {
    /// Puts a version into a work tree. `intake` is what the project declares of the dataset, where it
    /// does; `root` the project's folder.
    ///
    /// # Errors
    /// When files that would be lost are in the way (all are named, and nothing was done), an object is
    /// missing or damaged, a path was asked for that is not in it, or a file cannot be written.
    pub async fn get(
        &self,
        version: &DatasetVersion,
        intake: Option<&Intake>,
        root: &Path,
        request: &Request,
    ) -> Result<Got, Error> {
        let place = own_place(intake, root);
        let in_place = request.to.is_none();
        let to = match (&request.to, &place) {
            (Some(to), _) => elsewhere(to, version),
            (None, Some(place)) => place.path.clone(),
            (None, None) => {
                let (dataset, declared) = (version.dataset.clone(), intake.is_some());
                return Err(Error::NoPlace { dataset, declared });
            }
        };
        let known = match intake.filter(|_| in_place) {
            Some(intake) => Some((self.looker(intake, true), self.looker(intake, true).index().await?)),
            None => None,
        };
        let latest = if in_place { self.latest(&version.dataset).await? } else { None };
        let versions = self.store.meta().dataset_versions(&version.dataset).await?;
        let here = |version: &DatasetVersion| self.store.objects().path(version.digest).is_some();
        let versions: Vec<Digest> =
            versions.iter().filter(|version| here(version)).map(|version| version.digest).collect();
        let (datasets, version, request) = (self.clone(), version.clone(), request.clone());
        crate::fetch::blocking(move || {
            let content = datasets.content(&version, &request.only)?;
            let mut there: Option<BTreeMap<String, Leaf>> = None;
            let mut before = Vec::new();
            if let (Some(place), Some((looker, known))) = (&place, known)
                && to.exists()
            {
                before.extend(known.0.as_ref().and_then(|index| index.version));
                let look = looker.look(place, known, false)?;
                let files = look.scan.files(look.index.as_ref(), &|_| true)?;
                let single = look.scan.single;
                let name = |path: &str| if single { String::new() } else { path.to_owned() };
                there = Some(files.iter().map(|file| (name(&file.path), Leaf::from(file))).collect());
            }
            before.extend(latest.map(|latest| latest.digest));
            let saved = datasets.saved(&version.dataset, &before)?;
            let mut plan = plan(&content, &to, there.as_ref(), &saved, &request)?;
            let known = before.len();
            before.extend(versions.into_iter().filter(|digest| !before.contains(digest)).collect::<Vec<_>>());
            // An earlier version may have been put there: only where it matters is each asked.
            if (plan.strange || !plan.in_the_way.is_empty()) && before.len() > known {
                let saved = datasets.saved(&version.dataset, &before)?;
                plan = self::plan(&content, &to, there.as_ref(), &saved, &request)?;
            }
            if !plan.in_the_way.is_empty() && (plan.firm || !request.force) {
                return Err(Error::InTheWay { dataset: version.dataset, paths: plan.in_the_way });
            }
            datasets.put_in_place(&version.dataset, content.folders, plan, to, request.dry_run)
        })
        .await
    }

    /// The files that are asked for, with their paths; of a single file the empty one.
    fn content(&self, version: &DatasetVersion, only: &[String]) -> Result<Content, Error> {
        let mut content = Content::default();
        if !version.folder {
            let file = FileEntry { executable: false, size: version.size, digest: version.digest };
            content.files.push((String::new(), file));
            return Ok(content);
        }
        collect(self.store.objects(), version.digest, "", 0, &mut content)?;
        if only.is_empty() {
            return Ok(content);
        }
        content.folders.clear();
        let wanted: Vec<Wanted> = only.iter().map(|text| wanted(text)).collect::<Result<_, _>>()?;
        for (text, wanted) in only.iter().zip(&wanted) {
            if !content.files.iter().any(|(path, _)| wanted(path)) {
                let (dataset, version) = (version.dataset.clone(), version.digest.short());
                return Err(Error::NotInVersion { what: text.clone(), dataset, version });
            }
        }
        content.files.retain(|(path, _)| wanted.iter().any(|wanted| wanted(path)));
        Ok(content)
    }

    /// The files of the versions that may lie in a place, by path: over these nothing is lost.
    fn saved(&self, dataset: &str, versions: &[Digest]) -> Result<BTreeMap<String, Vec<Digest>>, Error> {
        let mut saved: BTreeMap<String, Vec<Digest>> = BTreeMap::new();
        for digest in versions {
            let objects = self.store.objects();
            match objects.tree(*digest) {
                Ok(_) => objects.each_file(*digest, &mut |path, file| {
                    saved.entry(path.to_owned()).or_default().push(file.digest);
                    Ok(())
                })?,
                // A single file, or one that is gone from the store: then it is not there to be had again.
                Err(_) if objects.path(*digest).is_some() => {
                    saved.entry(String::new()).or_default().push(*digest);
                }
                Err(error) => {
                    let message = format!("the version that lies there cannot be read: {error}");
                    self.progress.report(Event::Note { subject: dataset.to_owned(), message });
                }
            }
        }
        Ok(saved)
    }

    fn put_in_place(
        &self,
        dataset: &str,
        folders: Vec<String>,
        plan: Plan,
        to: PathBuf,
        dry_run: bool,
    ) -> Result<Got, Error> {
        let bytes = plan.place.iter().map(|(_, file)| file.size).sum();
        let cleared = plan.clear.values().flatten().map(|file| shown_below(&to, file));
        let mut got = Got {
            placed: plan.place.len() as u64,
            bytes,
            kept: plan.kept,
            removed: cleared.chain(plan.remove.iter().cloned()).collect(),
            to,
            ..Got::default()
        };
        if dry_run {
            return Ok(got);
        }
        let paths = plan.place.iter().map(|(path, _)| path).chain(&plan.remove);
        let paths = paths.map(|path| at(&got.to, path)).chain(plan.clear.keys().cloned());
        let touched: BTreeSet<PathBuf> = paths.filter_map(|path| Some(path.parent()?.to_owned())).collect();
        touched.iter().for_each(|folder| sweep_half_made(folder));
        for (path, files) in &plan.clear {
            clear(path, files)?;
        }
        for folder in folders {
            let folder = got.to.join(folder);
            fs::create_dir_all(&folder).map_err(Error::io("make", &folder))?;
        }
        let counts = self.place_all(dataset, &plan.place, &got.to, bytes)?;
        [got.reflinks, got.hard_links, got.copies] = counts;
        for path in &plan.remove {
            let file = got.to.join(path);
            fs::remove_file(&file).map_err(Error::io("remove", &file))?;
            remove_empty(&got.to, file.parent());
        }
        Ok(got)
    }

    /// Puts files into place with as many threads as there are cores.
    fn place_all(
        &self,
        dataset: &str,
        files: &[(String, FileEntry)],
        to: &Path,
        total: u64,
    ) -> Result<[u64; 3], Error> {
        let next = AtomicUsize::new(0);
        let state = Mutex::new(([0; 3], 0_u64, Instant::now()));
        let since = Instant::now();
        let work = || {
            while let Some((path, file)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                let place = at(to, path);
                let linked = self.store.objects().check_out_entry(file, &place)?;
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                let (counts, bytes, told) = &mut *state;
                counts[match linked {
                    Linked::Reflink => 0,
                    Linked::HardLink => 1,
                    Linked::Copy => 2,
                }] += 1;
                *bytes += file.size;
                if told.elapsed() > Duration::from_millis(200) {
                    *told = Instant::now();
                    self.progress.report(Event::Advanced {
                        subject: dataset.to_owned(),
                        done: counts.iter().sum(),
                        total: Some(files.len() as u64),
                        message: format!("files: placing {}", pace(*bytes, total, since.elapsed())),
                    });
                }
            }
            Ok::<(), Error>(())
        };
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(files.len().max(1));
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| Error::Stopped)?)
        })?;
        Ok(state.into_inner().unwrap_or_else(PoisonError::into_inner).0)
    }
}

/// Whether a dataset's files lie in the work tree as they are in a version.
pub fn has_place(intake: &Intake, root: &Path) -> bool {
    own_place(Some(intake), root).is_some()
}

/// Where the dataset's own files lie, if they are the version.
fn own_place(intake: Option<&Intake>, root: &Path) -> Option<Place> {
    let intake = intake.filter(|intake| intake.parts.is_none())?;
    match &intake.source {
        Source::Path(text) => match Place::of(&intake.source, root) {
            Ok(place) => place.filter(|place| place.plain),
            // It is not there now, so nothing tells an archive but its name.
            Err(_) if crate::fetch::archive::Format::of(text).is_none() => {
                Some(Place::file(&root.join(text)))
            }
            Err(_) => None,
        },
        Source::Glob(pattern) => {
            let (path, glob) = Glob::parse(root, pattern).ok()?;
            Some(Place { path, glob: Some(glob), plain: true })
        }
        Source::Http { .. } | Source::PyPi { .. } | Source::Bucket { .. } | Source::Database { .. } => None,
    }
}

/// A single file goes into a folder under its own name.
fn elsewhere(to: &Path, version: &DatasetVersion) -> PathBuf {
    let folder = to.is_dir() || to.as_os_str().to_string_lossy().ends_with('/');
    if version.folder || !folder {
        return to.to_owned();
    }
    let name = version.source.rsplit('/').next().filter(|name| !name.is_empty());
    to.join(name.unwrap_or(&version.dataset))
}

/// Whether a path is one of those that are wanted.
type Wanted = Box<dyn Fn(&str) -> bool>;

fn wanted(text: &str) -> Result<Wanted, Error> {
    let text = text.trim_matches('/').to_owned();
    if !crate::source::is_glob(&text) {
        let folder = format!("{text}/");
        return Ok(Box::new(move |path| path == text || path.starts_with(&folder)));
    }
    let (base, glob) = Glob::parse(Path::new(""), &text)?;
    Ok(Box::new(move |path| {
        let rest = Path::new(path).strip_prefix(&base).ok().and_then(Path::to_str);
        rest.is_some_and(|rest| glob.takes(rest))
    }))
}

fn collect(
    objects: &Objects,
    folder: Digest,
    prefix: &str,
    depth: usize,
    content: &mut Content,
) -> Result<(), Error> {
    let tree = objects.tree(folder)?;
    if tree.entries().is_empty() || depth > MAX_DEPTH {
        content.folders.push(prefix.to_owned());
        return Ok(());
    }
    for entry in tree.into_entries() {
        let path = format!("{prefix}{}", entry.name);
        match entry.mode {
            Mode::Folder => collect(objects, entry.digest, &format!("{path}/"), depth + 1, content)?,
            Mode::File | Mode::Executable => {
                let executable = entry.mode == Mode::Executable;
                content.files.push((path, FileEntry { executable, size: entry.size, digest: entry.digest }));
            }
        }
    }
    Ok(())
}

/// Takes away what was in the way: exactly these files, and the folders that they leave empty.
fn clear(path: &Path, files: &[PathBuf]) -> Result<(), Error> {
    for file in files {
        match fs::remove_file(file) {
            // What was half put there may be swept already.
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io("remove", file)(error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    remove_hollow(path)
}

/// Takes away a folder in which there are only folders.
fn remove_hollow(path: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) | Err(_) => return Ok(()),
    }
    for entry in fs::read_dir(path).map_err(Error::io("read", path))? {
        remove_hollow(&entry.map_err(Error::io("read", path))?.path())?;
    }
    fs::remove_dir(path).map_err(Error::io("remove", path))
}

/// Takes away the folders above a file that was removed, as long as they are empty.
fn remove_empty(top: &Path, mut folder: Option<&Path>) {
    while let Some(path) = folder.filter(|path| path.starts_with(top) && *path != top) {
        if fs::remove_dir(path).is_err() {
            return;
        }
        folder = path.parent();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_part_is_a_file_a_folder_or_a_pattern() {
        let takes = |text: &str, path: &str| wanted(text).unwrap()(path);
        assert!(takes("a/b.txt", "a/b.txt") && takes("a/", "a/b.txt") && !takes("a", "ab.txt"));
        assert!(takes("a/*.txt", "a/b.txt") && !takes("a/*.txt", "a/c/b.txt") && takes("**/b.*", "a/b.txt"));
        assert!(wanted("[").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_part_or_refused(text in "\\PC{0,12}|[*?/a\\[\\]]{0,8}", path in "[a-c/]{0,8}") {
            if let Ok(wanted) = wanted(&text) {
                let _ = wanted(&path);
            }
        }
    }
}
