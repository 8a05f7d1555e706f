//! `rondo data add`.

use std::path::{Path, PathBuf};

use rondo_core::id::is_name;
use rondo_core::{Code, Timestamp};
use rondo_data::Source;
use rondo_data::ingest::{self, Added};
use rondo_data::source::is_glob;
use rondo_project::edit;
use rondo_table::read::ReadOptions;
use serde_json::{Map, Value, json};

use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::platform::PROJECT_FILE;

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
    /// Of a dataset in parts: only those that end by this day
    #[arg(long, value_name = "DAY")]
    until: Option<Timestamp>,
    /// Of a dataset in parts: this file alone, named by its time, such as `2013-04.csv`
    #[arg(long, value_name = "FILE", conflicts_with = "until")]
    part: Option<PathBuf>,
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
        let (name, added) = add(what, &args, session).await?;
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

/// Adds one, declaring it where it is new.
async fn add(what: &str, args: &Args, session: &Session) -> Outcome<(String, Vec<Added>)> {
    let mut platform = session.platform().await?;
    let mut name = what.to_owned();
    let mut declared = None;
    let here = session.here().join(what);
    if !platform.project().data.contains(&name) && (!is_name(&name) || here.exists()) {
        name = args.name.clone().unwrap_or_else(|| stem(what));
        if !platform.project().data.contains(&name) {
            let source = from_root(what, &session.here(), platform.root());
            declared = Some(declare(platform.root(), &name, &source, &beside(args)?)?);
            platform = session.platform().await?;
        }
    }
    if declared.is_none() && !(args.query.is_none() && args.read.is_empty()) {
        let message = format!("add `{name}` with `--query` or `--read`: it is declared already");
        return Err(Failure::hinted(
            Code::Usage,
            message,
            format!("write them under data.{name} in {PROJECT_FILE}"),
        ));
    }
    let added = match &args.part {
        Some(file) => platform.add_part(&name, &session.here().join(file)).await,
        None => platform.add_dataset(&name, args.until).await,
    };
    match added {
        Ok(added) => Ok((name, added)),
        Err(error) => {
            if let Some(declared) = declared {
                declared.take_back()?;
            }
            let shown = super::check::refusal(&error);
            let failure = Failure::from(error);
            Err(match shown {
                Some((text, value)) => failure.shown(text, value),
                None => failure,
            })
        }
    }
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

/// A dataset that was just written into the project file.
struct Declared {
    file: PathBuf,
    before: String,
    after: String,
}

impl Declared {
    /// Takes it out again, unless somebody else has written the file since.
    fn take_back(&self) -> Outcome {
        if std::fs::read_to_string(&self.file).is_ok_and(|now| now == self.after) {
            write_whole(&self.file, &self.before)?;
        }
        Ok(())
    }
}

/// What is declared of a new dataset beside its source.
fn beside(args: &Args) -> Outcome<Map<String, Value>> {
    let mut beside = Map::new();
    if let Some(query) = &args.query {
        beside.insert("query".to_owned(), query.as_str().into());
    }
    if !args.read.is_empty() {
        let read = ReadOptions::parse(&args.read).map_err(rondo_data::Error::from)?;
        beside.insert("read".to_owned(), read.into());
    }
    Ok(beside)
}

fn declare(root: &Path, name: &str, source: &str, beside: &Map<String, Value>) -> Outcome<Declared> {
    let file = root.join(PROJECT_FILE);
    let before = std::fs::read_to_string(&file).map_err(crate::platform::Error::io("read", &file))?;
    let after = edit::add_dataset_with(&before, name, source, beside)?;
    write_whole(&file, &after)?;
    Ok(Declared { file, before, after })
}

fn write_whole(file: &Path, text: &str) -> Outcome {
    let fresh = file.with_extension("yaml.new");
    std::fs::write(&fresh, text).map_err(crate::platform::Error::io("write", &fresh))?;
    std::fs::rename(&fresh, file).map_err(crate::platform::Error::io("write", file))?;
    Ok(())
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
