//! Changing `rondo.yaml` and `rondo.lock` from a command: one at a time, whole, and only into what has no
//! faults. What stands in them is the business of `rondo-project`.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use rondo_core::Code;
use rondo_project::check::check;
use rondo_project::fault::Fault;
use rondo_project::files::Folder;
use rondo_project::project::Project;

use super::{Error, PROJECT_FILE, builtins};
use crate::config::Config;

/// Held by whoever reads the project file to write it.
const PROJECT_OWNER: &str = "project.owner";

/// Held by whoever writes the lock file; a run holds it too.
const LOCK_OWNER: &str = "lock.owner";

/// The text of the project file.
///
/// # Errors
/// When it cannot be read.
pub fn text(root: &Path) -> Result<String, Error> {
    let file = root.join(PROJECT_FILE);
    fs::read_to_string(&file).map_err(Error::io("read", &file))
}

/// The project that a text would be; `action` says what it is for, such as ``declare `orders` ``.
///
/// # Errors
/// When it has faults: the first is told.
pub fn checked(root: &Path, config: &Config, text: &str, action: &str) -> Result<Project, Error> {
    let builtins = builtins::of_project(root, config);
    let folder = Folder::new(root);
    let checked = tokio::task::block_in_place(|| check(text, PROJECT_FILE, &folder, &builtins));
    checked.map_err(|faults| Error::Invalid {
        code: Code::ProjectInvalid,
        message: format!("{action}: {}", faults.first().map(told).unwrap_or_default()),
    })
}

fn told(fault: &Fault) -> String {
    let beside = [&fault.expected.as_ref().map(|what| format!("expected {what}")), &fault.hint];
    beside.into_iter().flatten().fold(fault.message.clone(), |text, more| format!("{text}; {more}"))
}

/// Edits the project file: nobody else does meanwhile, and it has the old text or the new one at every moment.
///
/// # Errors
/// When the edit refuses, would make a faulty file, or the file cannot be written; then nothing has changed.
pub fn edit<E: From<Error>>(
    root: &Path,
    config: &Config,
    action: &str,
    edit: impl FnOnce(&str) -> Result<String, E>,
) -> Result<(), E> {
    let _alone = alone(root, PROJECT_OWNER)?;
    let before = text(root)?;
    let after = edit(&before)?;
    if after == before {
        return Ok(());
    }
    checked(root, config, &after, action)?;
    Ok(write_whole(&root.join(PROJECT_FILE), after.as_bytes())?)
}

/// Waits until nobody else writes the lock file; that ends with what is given back.
///
/// # Errors
/// When it cannot be waited for.
pub fn lock_alone(root: &Path) -> Result<File, Error> {
    alone(root, LOCK_OWNER)
}

fn alone(root: &Path, owner: &str) -> Result<File, Error> {
    let store = root.join(".rondo");
    fs::create_dir_all(&store).map_err(Error::io("make", &store))?;
    keep_out_of_git(root);
    let place = store.join(owner);
    let file = File::options().create(true).truncate(false).write(true).open(&place);
    let file = file.map_err(Error::io("make", &place))?;
    tokio::task::block_in_place(|| file.lock()).map_err(Error::io("lock", &place))?;
    Ok(file)
}

/// Tells Git to pass over a project's store, whose objects and secrets are nothing to commit, unless something is
/// told already. Where that cannot be written, whatever comes next in the store says so.
pub fn keep_out_of_git(root: &Path) {
    let mut options = File::options();
    if let Ok(mut file) = options.write(true).create_new(true).open(root.join(".rondo").join(".gitignore")) {
        let _ = file.write_all(b"*\n");
    }
}

/// Writes a file that is there whole or not at all, with the permissions of the one in its place.
///
/// # Errors
/// When it cannot be written.
pub fn write_whole(file: &Path, bytes: &[u8]) -> Result<(), Error> {
    // A link stays one.
    let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let folder = file.parent().unwrap_or(Path::new("."));
    let mode = fs::metadata(&file).map(|metadata| metadata.permissions()).ok();
    let fresh = tempfile::Builder::new().prefix(".rondo-").suffix(".new").tempfile_in(folder);
    let mut fresh = fresh.map_err(Error::io("write in", folder))?;
    let written = fresh.write_all(bytes).and_then(|()| {
        let mode = mode.unwrap_or(std::os::unix::fs::PermissionsExt::from_mode(0o644));
        fresh.as_file().set_permissions(mode)?;
        fresh.as_file().sync_all()
    });
    written.map_err(Error::io("write", &file))?;
    fresh.persist(&file).map_err(|error| Error::io("write", &file)(error.error))?;
    // That the name has moved is on the disk too.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io("sync", folder))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn many_edits_at_once_all_stand() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(PROJECT_FILE), "project: p\n").unwrap();
        let config = Config::read(None);
        std::thread::scope(|scope| {
            for number in 0..12 {
                let (root, config) = (root.path(), &config);
                let handle = tokio::runtime::Handle::current();
                scope.spawn(move || {
                    let _inside = handle.enter();
                    let (name, source) = (format!("d{number}"), format!("d{number}.csv"));
                    let add = |text: &str| {
                        rondo_project::edit::add_dataset(text, &name, &source)
                            .map_err(|error| Error::Invalid { code: Code::Io, message: error.to_string() })
                    };
                    edit(root, config, "declare", add).unwrap();
                });
            }
        });
        let text = text(root.path()).unwrap();
        let project = checked(root.path(), &config, &text, "read").unwrap();
        assert_eq!(project.data.names().count(), 12, "{text}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2, "nothing is left beside it");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_faulty_edit_is_not_written_and_permissions_stay() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join(PROJECT_FILE);
        fs::write(&file, "project: p\n").unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
        let config = Config::read(None);
        let to = |text: &'static str| move |_: &str| Ok::<_, Error>(text.to_owned());
        let faulty = "project: p\ndata:\n  o:\n    source: sqlite:a.db\n";
        let error = edit(root.path(), &config, "declare `o`", to(faulty)).unwrap_err().to_string();
        assert!(error.starts_with("declare `o`: ") && error.contains("query"), "{error}");
        assert_eq!(text(root.path()).unwrap(), "project: p\n");
        edit(root.path(), &config, "name", to("project: q\n")).unwrap();
        assert_eq!(text(root.path()).unwrap(), "project: q\n");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    }
}
