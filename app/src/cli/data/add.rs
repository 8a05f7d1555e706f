//! `rondo data add`.

use std::path::{Path, PathBuf};

use rondo_core::id::is_name;
use rondo_core::{Code, Timestamp};
use rondo_data::Source;
use rondo_data::ingest::{self, Added};
use rondo_data::place::Place;
use rondo_data::source::{is_glob, password_named};
use rondo_project::edit;
use rondo_table::read::ReadOptions;
use serde_json::{Map, Value, json};

use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::platform::{Error, PROJECT_FILE, Platform, declare};

/// Add a version: fetch, check, profile, store; refused where a check fails
#[derive(clap::Args)]
pub struct Args {
    /// Datasets of the project, or files, folders, patterns or sources to declare as new ones
    #[arg(required = true, value_name = "WHAT")]
    what: Vec<String>,
    /// The name of a new dataset; otherwise the file's or folder's name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Of a new dataset that is a database: what is asked, as SQL or the path of a file `.sql`
    #[arg(long, value_name = "SQL")]
    query: Option<String>,
    /// Of a new dataset: how its files are read, such as `delimiter=;` or `encoding=latin1`; several times
    #[arg(long, value_name = "NAME=VALUE")]
    read: Vec<String>,
    /// Of a new dataset: what its files are, whatever they are called; `files` for files that are not looked into
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Of a dataset in parts: only those that end by this day
    #[arg(long, value_name = "DAY")]
    until: Option<Timestamp>,
    /// Of a dataset in parts: this file alone, named by its time, such as `2013-04.csv`
    #[arg(long, value_name = "FILE", conflicts_with = "until")]
    part: Option<PathBuf>,
    /// Why: what `rondo data log` shows beside the version
    #[arg(short, long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    message: Option<String>,
}

/// Adds it.
///
/// # Errors
/// When it cannot be fetched or its checks fail; then nothing has changed.
pub async fn run(args: Args, session: &Session) -> Outcome {
    if args.what.len() > 1 && (args.name.is_some() || args.part.is_some() || args.query.is_some()) {
        let message = "add several at once: `--name`, `--query` and `--part` are for one";
        return Err(Failure::new(Code::Usage, message));
    }
    let mut text = String::new();
    let mut all = Vec::new();
    for what in &args.what {
        let (name, added) = Box::pin(add(what, &args, session)).await?;
        for one in &added {
            text.push_str(&line(&name, one));
        }
        if added.is_empty() {
            text.push_str(&format!("{name}: nothing to add\n"));
        }
        all.push(json!({ "dataset": name, "added": added }));
    }
    let value = match all.as_slice() {
        [only] => json!({ "schema": 1, "dataset": only["dataset"], "added": only["added"] }),
        several => json!({ "schema": 1, "datasets": several }),
    };
    session.printer().result(&value, &text);
    Ok(())
}

/// What is to be added.
enum Subject {
    /// A dataset of the project.
    Declared(String),
    /// One that is declared when its first version is there.
    New { name: String, source: String, beside: Map<String, Value> },
}

/// Adds one, declaring it where it is new.
async fn add(what: &str, args: &Args, session: &Session) -> Outcome<(String, Vec<Added>)> {
    let platform = session.platform().await?;
    let subject = subject(what, args, session, &platform)?;
    let why = args.message.as_deref();
    let (name, added) = match &subject {
        Subject::Declared(name) => {
            let added = match &args.part {
                Some(file) => platform.add_part(name, &session.here().join(file), why).await,
                None => platform.add_dataset(name, args.until, why).await,
            };
            (name, added)
        }
        Subject::New { name, source, beside } => {
            if args.part.is_some() {
                let message = format!("add a part to `{name}`, which is not declared");
                return Err(Failure::new(Code::Usage, message));
            }
            (name, Box::pin(add_new(&platform, name, source, beside, (args.until, why))).await?)
        }
    };
    added.map(|added| (name.clone(), added)).map_err(|error| {
        let shown = super::check::refusal(&error);
        let failure = Failure::from(error);
        match shown {
            Some((text, value)) => failure.shown(text, value),
            None => failure,
        }
    })
}

/// Makes the first version of a dataset and only then declares it: whatever stops this on the way, there is
/// no declaration of what is not there.
async fn add_new(
    platform: &Platform,
    name: &str,
    source: &str,
    beside: &Map<String, Value>,
    (until, why): (Option<Timestamp>, Option<&str>),
) -> Outcome<Result<Vec<Added>, Error>> {
    let (root, config) = (platform.root(), platform.config());
    let action = format!("declare `{name}`");
    let text = edit::add_dataset_with(&declare::text(root)?, name, source, beside)?;
    let project = declare::checked(root, config, &text, &action)?;
    let Some(dataset) = project.data.get(name) else {
        return Err(Failure::new(Code::ProjectInvalid, action));
    };
    let added = match platform.add_undeclared(name, dataset, until, why).await {
        Ok(added) => added,
        Err(error) => return Ok(Err(error)),
    };
    declare::edit(root, config, &action, |text| {
        match edit::add_dataset_with(text, name, source, beside) {
            // Another was faster with the same.
            Err(rondo_project::error::Error::NameTaken { .. })
                if declare::checked(root, config, text, &action)?
                    .data
                    .get(name)
                    .is_some_and(|there| same_place(&there.source, source, root)) =>
            {
                Ok(text.to_owned())
            }
            edited => Ok::<_, Failure>(edited?),
        }
    })?;
    if let Some(last) = added.last() {
        platform.pin(name, last)?;
    }
    Ok(Ok(added))
}

/// Which dataset is meant.
fn subject(what: &str, args: &Args, session: &Session, platform: &Platform) -> Outcome<Subject> {
    let data = &platform.project().data;
    let there = std::fs::symlink_metadata(session.here().join(what)).is_ok();
    if data.contains(what) || (is_name(what) && !there) {
        stays_declared(what, args)?;
        return Ok(Subject::Declared(what.to_owned()));
    }
    let source = from_root(what, &session.here(), platform.root());
    // Looked for before anything else is said about it.
    let parsed =
        Source::parse(&source).map_err(|error| without_password(what, args).unwrap_or(error.into()))?;
    if parsed.is_local() {
        Place::of(&parsed, platform.root())?;
    }
    let of_name = args.name.clone().unwrap_or_else(|| stem(what));
    let same =
        |name: &str| data.get(name).is_some_and(|there| same_place(&there.source, &source, platform.root()));
    let known = Some(of_name.as_str()).filter(|name| same(name));
    let known =
        known.or_else(|| data.names().find(|name| args.name.is_none() && parsed.is_local() && same(name)));
    if let Some(name) = known {
        stays_declared(name, args)?;
        return Ok(Subject::Declared(name.to_owned()));
    }
    if let Some(there) = data.get(&of_name) {
        let there =
            Source::parse(&there.source).map_or_else(|_| there.source.clone(), |there| there.to_string());
        let message = format!("dataset `{of_name}` comes from `{there}`, not from `{parsed}`");
        let hint = format!("give it another name: rondo data add {parsed} --name {of_name}2");
        return Err(Failure::hinted(Code::ValueInvalid, message, hint));
    }
    if let Some(failure) = without_password(what, args) {
        return Err(failure);
    }
    Ok(Subject::New { name: of_name, source, beside: beside(args)? })
}

/// Refuses what only goes with a new dataset.
fn stays_declared(name: &str, args: &Args) -> Outcome {
    if args.query.is_none() && args.read.is_empty() && args.format.is_none() {
        return Ok(());
    }
    let message = format!("add `{name}` with `--query`, `--read` or `--format`: it is declared already");
    // A mapping of JSON is one of YAML.
    let lines: Vec<String> = beside(args)?.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    let hint = format!("write under data.{name} in {PROJECT_FILE}, then add it again: {}", lines.join(", "));
    Err(Failure::hinted(Code::Usage, message, hint))
}

/// That an address holds a password, which would stand in the project file.
fn without_password(what: &str, args: &Args) -> Option<Failure> {
    // The name that is suggested holds nothing of the password.
    let name = args.name.clone().or_else(|| Some(stem(&password_named(what, "PASSWORD")?)))?;
    let secret = format!("{}_PASSWORD", name.to_uppercase().replace('-', "_"));
    let address = password_named(what, &secret)?;
    let message = format!("the address of `{name}` holds a password, which would stand in {PROJECT_FILE}");
    let hint = format!("write '{address}', and {secret}=… into the environment or into .rondo/secrets.env");
    Some(Failure::hinted(Code::ValueInvalid, message, hint))
}

/// Whether two sources are one place.
fn same_place(one: &str, other: &str, root: &Path) -> bool {
    let (Ok(parsed), Ok(second)) = (Source::parse(one), Source::parse(other)) else { return one == other };
    match (&parsed, &second) {
        (Source::Path(one), Source::Path(other)) => place_of(root, one) == place_of(root, other),
        _ => parsed.to_string() == second.to_string(),
    }
}

fn place_of(root: &Path, text: &str) -> PathBuf {
    let path = root.join(text);
    path.canonicalize().unwrap_or(path)
}

fn line(name: &str, added: &Added) -> String {
    let what = added.part.as_ref().map_or_else(|| name.to_owned(), |part| format!("{name} {part}"));
    let version = &added.version;
    let rows = version.rows.map_or_else(String::new, |rows| format!(", {rows} rows"));
    let verb = match added.outcome {
        ingest::Outcome::Added => "added as",
        ingest::Outcome::Unchanged => "unchanged,",
        ingest::Outcome::Returned => "back to",
        ingest::Outcome::Reread => "read in another way,",
    };
    format!("{what}: {verb} version {}{rows}\n", version.digest.short())
}

/// The name that a source suggests: of a file its stem, of a pattern the folder that it begins in.
fn stem(source: &str) -> String {
    let path = source.split(['?', '#']).next().filter(|_| source.contains("://")).unwrap_or(source);
    let plain = |part: &&str| !is_glob(part) && !matches!(*part, "" | "." | "..");
    let folder = path.split('/').take_while(|part| !is_glob(part)).filter(plain).last();
    let last = path.trim_end_matches('/').rsplit('/').next().filter(plain);
    let name = last.or(folder).unwrap_or("data");
    let stem =
        name.trim_start_matches('.').split('.').next().filter(|stem| !stem.is_empty()).unwrap_or("data");
    stem.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-', "_")
}

/// A path as `rondo.yaml` has it: relative to the project, wherever the command was given.
fn from_root(what: &str, here: &Path, root: &Path) -> String {
    let local = Source::parse(what).is_ok_and(|source| source.is_local());
    let (Ok(here), Ok(root)) = (here.canonicalize(), root.canonicalize()) else { return what.to_owned() };
    if !local || here == root || what.starts_with('/') {
        return what.to_owned();
    }
    let path = here.join(what);
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(plain.pop()),
            std::path::Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain.strip_prefix(&root).unwrap_or(&plain).to_string_lossy().into_owned()
}

/// What is declared of a new dataset beside its source.
fn beside(args: &Args) -> Outcome<Map<String, Value>> {
    let mut beside = Map::new();
    if let Some(format) = &args.format {
        beside.insert("format".to_owned(), format.as_str().into());
    }
    if let Some(query) = &args.query {
        beside.insert("query".to_owned(), query.as_str().into());
    }
    if !args.read.is_empty() {
        let read = ReadOptions::parse(&args.read).map_err(rondo_data::Error::from)?;
        beside.insert("read".to_owned(), read.into());
    }
    Ok(beside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_from_what_is_added() {
        for (what, name) in [
            ("data/flights.csv.gz", "flights"),
            ("images/", "images"),
            ("images/*.png", "images"),
            ("data/**/x?/*.csv", "data"),
            ("./a b", "a_b"),
            ("*.csv", "data"),
            ("https://e.org/x/y.csv?z=1#sha256=ab", "y"),
            (".hidden", "hidden"),
        ] {
            assert_eq!(stem(what), name, "{what}");
        }
    }

    #[test]
    fn a_place_is_the_same_however_it_is_written() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.csv");
        std::fs::write(&path, "x\n").unwrap();
        std::fs::create_dir(root.path().join("sub")).unwrap();
        let same = |one: &str, other: &str| same_place(one, other, root.path());
        assert!(same("a.csv", "./a.csv") && same("a.csv", "sub/../a.csv"));
        assert!(same("a.csv", &path.display().to_string()));
        assert!(!same("a.csv", "a.parquet") && !same("a.csv", "sub/a.csv"));
        assert!(!same("a.csv", "*.csv") && same("*.csv", "*.csv"));
        assert!(same("postgres://ann:${{ secrets.A }}@h/db", "postgres://ann:x@h/db"));
    }

    #[test]
    fn a_path_is_declared_from_the_projects_folder() {
        let root = tempfile::tempdir().unwrap();
        let here = root.path().join("sub");
        std::fs::create_dir(&here).unwrap();
        assert_eq!(from_root("a.csv", &here, root.path()), "sub/a.csv");
        assert_eq!(from_root("../b/*.csv", &here, root.path()), "b/*.csv");
        assert_eq!(from_root("a.csv", root.path(), root.path()), "a.csv");
        assert_eq!(from_root("/tmp/x", &here, root.path()), "/tmp/x");
        assert_eq!(from_root("pypi:x==1/a", &here, root.path()), "pypi:x==1/a");
    }
}
