//! `rondo runs get`.
//!
//! What is got is written whole or not at all: a folder is filled beside its place first. The paths within come
//! from clients and steps, so each is looked at part by part before anything is written.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rondo_core::{Code, Digest, suggest};
use rondo_store::objects::{self, Objects};
use serde_json::json;

use super::kept::{self, Kept};
use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::Patient;

/// Get a file or folder that is kept of a run: an artifact, or an output of a step
#[derive(clap::Args)]
pub struct Args {
    /// The run's id, or the first characters of it
    run: String,
    /// The path of an artifact, a folder of them, or an output's name; see `rondo runs artifacts`
    path: String,
    /// Where to write it; otherwise under its own name here, `-` for standard output
    #[arg(short, long, value_name = "OUT")]
    out: Option<PathBuf>,
    /// Replace what is there
    #[arg(long)]
    force: bool,
}

/// A file to write: its path within what is got (nothing of a single file), and its object.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    path: String,
    digest: Digest,
    executable: bool,
}

/// Gets it.
///
/// # Errors
/// When there is no such run or path, something is in the way, or it cannot be read or written.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.looking().await?;
    let run = platform.find_run(&args.run).await?;
    let all = kept::of(&platform, &run).await?;
    let path = args.path.trim_matches('/');
    let chosen = choose(&all, path, &run.id.short())?;
    if let Some(plain) = chosen.iter().find(|kept| kept.plain) {
        let message =
            format!("get `{}`: it is a plain file at the server's artifact destination", plain.path);
        return Err(Failure::hinted(
            Code::SourceNotFound,
            message,
            "look at the server's --artifacts-destination",
        ));
    }
    let objects = platform.store().objects().clone();
    let wanted = files(&objects, &chosen, path)?;
    let whole = matches!(&wanted[..], [one] if one.path.is_empty());
    if args.out.as_deref().is_some_and(|out| out.as_os_str() == "-") {
        let Some(one) = wanted.first().filter(|_| whole) else {
            return Err(Failure::new(
                Code::Usage,
                format!("write `{path}` to standard output: it is a folder"),
            ));
        };
        let mut file = open(&objects, one.digest)?;
        let mut out = Patient(io::stdout().lock());
        io::copy(&mut file, &mut out)
            .and_then(|_| out.flush())
            .map_err(|error| Failure::new(Code::Io, format!("write to standard output: {error}")))?;
        return Ok(());
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    let shown = args.out.clone().unwrap_or_else(|| PathBuf::from(name));
    let place = session.path(&shown);
    let place = if place.is_dir() && args.out.is_some() { place.join(name) } else { place };
    if fs::symlink_metadata(&place).is_ok() && !args.force {
        let message = format!("write `{}`: there is something already", place.display());
        return Err(Failure::hinted(
            Code::ValueInvalid,
            message,
            "--force replaces it, `-o` names another place",
        ));
    }
    let written = place.clone();
    let (count, written) =
        (wanted.len(), tokio::task::spawn_blocking(move || write(&objects, &wanted, whole, &written)).await);
    written.map_err(|error| Failure::new(Code::Internal, error.to_string()))??;
    let value = json!({ "schema": 1, "run": run.id, "path": path, "out": place, "files": count });
    let files = if whole { String::new() } else { format!(" ({count} files)") };
    session.printer().result(&value, &format!("wrote `{}`{files}\n", place.display()));
    Ok(())
}

/// What a path means: an artifact, an output or a file in one, or all artifacts of a folder.
fn choose(all: &[Kept], path: &str, run: &str) -> Outcome<Vec<Kept>> {
    let within = format!("{path}/");
    if let Some(one) = all.iter().find(|kept| kept.path == path) {
        return Ok(vec![one.clone()]);
    }
    let below: Vec<Kept> = all.iter().filter(|kept| kept.path.starts_with(&within)).cloned().collect();
    if !below.is_empty() && !path.is_empty() {
        return Ok(below);
    }
    if let Some(around) = all.iter().find(|kept| kept.folder && path.starts_with(&format!("{}/", kept.path)))
    {
        return Ok(vec![around.clone()]);
    }
    let near = suggest::nearest(path, all.iter().map(|kept| kept.path.as_str()));
    let hint =
        near.map_or_else(|| format!("rondo runs artifacts {run}"), |near| format!("did you mean `{near}`?"));
    Err(Failure::hinted(Code::SourceNotFound, format!("find `{path}` among what is kept of run {run}"), hint))
}

/// The files that were chosen, by their paths below what was asked for.
fn files(objects: &Objects, chosen: &[Kept], path: &str) -> Outcome<Vec<Wanted>> {
    let mut wanted = Vec::new();
    for kept in chosen {
        if kept.folder {
            objects.each_file(kept.digest, &mut |below, file| {
                let full = format!("{}/{below}", kept.path);
                if let Some(rest) = rest_of(&full, path) {
                    let (digest, executable) = (file.digest, file.executable);
                    wanted.push(Wanted { path: rest.to_owned(), digest, executable });
                }
                Ok(())
            })?;
        } else if let Some(rest) = rest_of(&kept.path, path) {
            wanted.push(Wanted { path: rest.to_owned(), digest: kept.digest, executable: false });
        }
    }
    let odd = |path: &str| {
        !path.is_empty() && path.split('/').any(|part| matches!(part, "" | "." | "..") || part.contains('\0'))
    };
    if let Some(one) = wanted.iter().find(|one| odd(&one.path)) {
        return Err(Failure::new(Code::ValueInvalid, format!("get `{}`: it can be no file here", one.path)));
    }
    if wanted.is_empty() && chosen.iter().all(|kept| kept.path != path) {
        return Err(Failure::new(
            Code::SourceNotFound,
            format!("find `{path}`: the folder has no such file"),
        ));
    }
    Ok(wanted)
}

/// What is left of a path behind another; nothing where it does not lie there.
fn rest_of<'a>(full: &'a str, path: &str) -> Option<&'a str> {
    match full.strip_prefix(path)? {
        "" => Some(""),
        rest => rest.strip_prefix('/'),
    }
}

fn open(objects: &Objects, digest: Digest) -> Outcome<File> {
    Ok(objects::open(&objects.sound(digest)?)?)
}

/// Writes the files beside their place and moves them there.
fn write(objects: &Objects, wanted: &[Wanted], whole: bool, place: &Path) -> Outcome {
    let failed = |error: io::Error| Failure::new(Code::Io, format!("write `{}`: {error}", place.display()));
    let parent = match place.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(failed)?;
    // Nothing in it is anybody else's: no link can lead out of it.
    let fresh = tempfile::Builder::new().prefix(".rondo-get-").tempdir_in(parent).map_err(failed)?;
    let root = fresh.path().join("got");
    if !whole {
        fs::create_dir(&root).map_err(failed)?;
    }
    for one in wanted {
        let file = if one.path.is_empty() { root.clone() } else { root.join(&one.path) };
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut from = open(objects, one.digest)?;
        let mut to = File::create_new(&file).map_err(failed)?;
        io::copy(&mut from, &mut to).map_err(failed)?;
        if one.executable {
            to.set_permissions(fs::Permissions::from_mode(0o755)).map_err(failed)?;
        }
    }
    if place.is_dir() && !place.is_symlink() {
        fs::remove_dir_all(place).map_err(failed)?;
    }
    fs::rename(&root, place).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::super::kept::Origin;
    use super::*;

    fn kept(path: &str, digest: Digest, folder: bool) -> Kept {
        let origin = if folder { Origin::Output } else { Origin::Artifact };
        Kept { path: path.to_owned(), folder, size: 1, digest, origin, plain: false }
    }

    #[test]
    fn files_folders_and_what_lies_in_them_are_got_and_nothing_leads_out() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(folder.path()).unwrap();
        let a = objects.put_bytes(b"a").unwrap().digest;
        let made = folder.path().join("made");
        fs::create_dir_all(made.join("deep")).unwrap();
        fs::write(made.join("deep/x.txt"), "x").unwrap();
        let output = objects.put_path(&made, objects::Take::Keep).unwrap().digest;
        let all = [
            kept("notebook/n.html", a, false),
            kept("notebook/n.ipynb", a, false),
            kept("evil/../../x", a, false),
            kept("model", output, true),
        ];
        let get = |path: &str| -> Outcome<Vec<String>> {
            let wanted = files(&objects, &choose(&all, path, "r")?, path)?;
            let whole = matches!(&wanted[..], [one] if one.path.is_empty());
            let out = folder.path().join("out");
            write(&objects, &wanted, whole, &out)?;
            Ok(wanted.into_iter().map(|one| one.path).collect())
        };
        assert_eq!(get("notebook/n.ipynb").ok().unwrap(), [""]);
        assert_eq!(fs::read(folder.path().join("out")).unwrap(), b"a");
        fs::remove_file(folder.path().join("out")).unwrap();
        assert_eq!(get("notebook").ok().unwrap(), ["n.html", "n.ipynb"]);
        assert_eq!(fs::read_dir(folder.path().join("out")).unwrap().count(), 2);
        assert_eq!(get("model").ok().unwrap(), ["deep/x.txt"]);
        assert_eq!(fs::read(folder.path().join("out/deep/x.txt")).unwrap(), b"x");
        assert_eq!(get("model/deep/x.txt").ok().unwrap(), [""]);
        assert_eq!(get("evil").err().unwrap().code(), Code::ValueInvalid);
        assert_eq!(get("model/no").err().unwrap().code(), Code::SourceNotFound);
        let missing = get("notebook/n.ipyn").err().unwrap();
        assert!(missing.text().contains("did you mean `notebook/n.ipynb`?"), "{}", missing.text());
        assert!(
            fs::read_dir(folder.path())
                .unwrap()
                .all(|entry| { !entry.unwrap().file_name().to_string_lossy().starts_with(".rondo-get-") })
        );
    }
}
