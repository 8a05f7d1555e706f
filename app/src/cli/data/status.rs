//! `rondo data status`: three things that may differ, the source, the latest version and the one that
//! `rondo.lock` pins.

use rondo_core::journal::Because;
use rondo_core::{Code, Digest};
use rondo_data::place::size;
use rondo_data::status::{Called, DatasetStatus, SourceState};
use serde_json::{Value, json};

use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::{plain, table};

/// Show each dataset's latest version and whether its source has changed since
#[derive(clap::Args)]
pub struct Args {
    /// Only this dataset
    dataset: Option<String>,
    /// Ask sources that are elsewhere whether they have changed
    #[arg(long)]
    remote: bool,
    /// Exit code 6 when anything has changed since it was added, or is not what `rondo.lock` pins
    #[arg(long)]
    exit_code: bool,
}

/// Shows it.
///
/// # Errors
/// When there is no such dataset, its source on this machine cannot be read, or, where that is asked for, one has
/// changed.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    let names: Vec<String> = match &args.dataset {
        Some(name) => vec![name.clone()],
        None => platform.project().data.names().map(str::to_owned).collect(),
    };
    let mut statuses: Vec<(DatasetStatus, Option<Locked>)> = Vec::new();
    for name in &names {
        let intake = platform.intake(name, Because::new(session.config().user(), "looked at"))?;
        let datasets = platform.datasets();
        let status = if args.remote {
            datasets.remote_status(&platform.fetcher(), &intake, platform.root()).await?
        } else {
            datasets.status(&intake, platform.root()).await?
        };
        let locked = match platform.locked_version(name).await? {
            None => None,
            Some((digest, _)) if status.latest.as_ref().is_some_and(|latest| latest.digest == digest) => {
                Some(Locked { digest, state: LockState::Latest })
            }
            Some((digest, None)) => Some(Locked { digest, state: LockState::Elsewhere }),
            Some((digest, Some(version))) => {
                let since = datasets.state_since(&intake, platform.root(), &version).await?;
                let state =
                    if since == SourceState::Unchanged { LockState::InPlace } else { LockState::Other };
                Some(Locked { digest, state })
            }
        };
        statuses.push((status, locked));
    }
    let text = if statuses.is_empty() {
        "no datasets are declared\n".to_owned()
    } else {
        let head =
            ["dataset", "versions", "latest", "rows", "files", "size", "added", "lock", "checks", "source"];
        let mut rows: Vec<Vec<String>> = vec![head.map(String::from).to_vec()];
        rows.extend(statuses.iter().map(|(status, locked)| row(status, *locked)));
        table(&rows)
    };
    let value = json!({ "schema": 1, "datasets": statuses.iter().map(shown).collect::<Vec<_>>() });
    let silent = statuses.iter().filter(|(status, _)| is_silent(&status.source_state)).count();
    if silent > 0 {
        let message = format!("ask all sources: {silent} did not answer");
        let text = format!("{text}error: {message}\n");
        return Err(Failure::new(Code::SourceUnavailable, message).judged(text, value));
    }
    session.printer().result(&value, &text);
    for (status, locked) in &statuses {
        let shared = platform.project().remotes.iter().next().is_some();
        if let Some(hint) = hint(status, *locked, shared, args.remote) {
            session.printer().note(&format!("hint: {hint}"));
        }
    }
    if statuses.is_empty() {
        session.printer().note("hint: rondo data add data/my-file.csv");
    }
    let changed = statuses.iter().filter(|(status, locked)| differs(&status.source_state, *locked)).count();
    if args.exit_code && changed > 0 {
        let message = format!("find the data as they were added: {changed} of {} differ", statuses.len());
        return Err(Failure::said(Code::DataChanged, message));
    }
    Ok(())
}

/// What `rondo.lock` pins of a dataset.
#[derive(Debug, Clone, Copy)]
struct Locked {
    digest: Digest,
    state: LockState,
}

/// How that stands to what is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LockState {
    /// It is the latest.
    Latest,
    /// It is another version, and what the source is now.
    InPlace,
    /// It is another version, and not what the source is now.
    Other,
    /// It is not in the store.
    Elsewhere,
}

fn shown((status, locked): &(DatasetStatus, Option<Locked>)) -> Value {
    let mut value = json!(status);
    if let Some(Locked { digest, state }) = locked {
        let state = match state {
            LockState::Latest => "latest",
            LockState::InPlace => "in place",
            LockState::Other => "another",
            LockState::Elsewhere => "not here",
        };
        value["locked"] = json!({ "digest": digest, "state": state });
    }
    value
}

/// What to do next, where something is to be done.
fn hint(status: &DatasetStatus, locked: Option<Locked>, shared: bool, asked: bool) -> Option<String> {
    let name = &status.dataset;
    match locked.map(|locked| locked.state) {
        Some(LockState::Elsewhere) if shared => Some(format!("rondo data pull {name}")),
        Some(LockState::Elsewhere) => Some(format!("rondo data add {name}")),
        Some(LockState::InPlace) => None,
        Some(_) if status.source_state == SourceState::Missing => Some(format!("rondo data get {name}")),
        Some(LockState::Other) if status.source_state == SourceState::Unchanged => Some(format!(
            "rondo data get {name} takes what rondo.lock pins, rondo data add {name} pins the latest"
        )),
        Some(LockState::Latest | LockState::Other) | None if status.here.is_some() => {
            let pinned = if locked.is_some() { "what rondo.lock pins" } else { "the latest" };
            Some(format!(
                "rondo data get {name} brings back {pinned}, rondo data add {name} makes what is here the latest"
            ))
        }
        Some(LockState::Latest | LockState::Other) | None if can_be_added(&status.source_state) => {
            Some(format!("rondo data add {name}"))
        }
        Some(LockState::Latest | LockState::Other) | None if status.source_state == SourceState::Remote => {
            Some(match asked {
                true => format!("rondo data add {name} asks it, and adds what is new"),
                false => "rondo data status --remote asks what is elsewhere".to_owned(),
            })
        }
        Some(LockState::Latest | LockState::Other) | None => None,
    }
}

fn row(status: &DatasetStatus, locked: Option<Locked>) -> Vec<String> {
    let latest = status.latest.as_ref();
    let text = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
    vec![
        status.dataset.clone(),
        status.versions.to_string(),
        text(latest.map(|version| version.digest.short())),
        text(latest.and_then(|version| version.rows).map(|rows| rows.to_string())),
        text(latest.map(|version| version.files.to_string())),
        text(latest.map(|version| size(version.size))),
        text(latest.map(|version| version.added.rfc3339())),
        text(locked.map(|locked| match locked.state {
            LockState::Latest => "latest".to_owned(),
            LockState::InPlace | LockState::Other => locked.digest.short(),
            LockState::Elsewhere => format!("{}, not here", locked.digest.short()),
        })),
        status.checks.to_string(),
        match locked.map(|locked| locked.state) {
            Some(LockState::InPlace) => "as rondo.lock pins, not the latest".to_owned(),
            Some(LockState::Other) if status.source_state == SourceState::Unchanged => {
                "the latest, not what rondo.lock pins".to_owned()
            }
            Some(LockState::Latest | LockState::Other | LockState::Elsewhere) | None => match &status.here {
                Some(here) => called(here),
                None => state(&status.source_state),
            },
        },
    ]
}

/// Whether what is here is other than what was added and is pinned. A source that is elsewhere and was not asked
/// may be either, and counts as the same.
const fn differs(state: &SourceState, locked: Option<Locked>) -> bool {
    match locked {
        Some(Locked { state: LockState::InPlace, .. }) => false,
        Some(Locked { state: LockState::Other | LockState::Elsewhere, .. }) => true,
        Some(Locked { state: LockState::Latest, .. }) | None => match state {
            SourceState::Unchanged | SourceState::Remote => false,
            SourceState::Changed { .. }
            | SourceState::Missing
            | SourceState::Another
            | SourceState::Moved { .. }
            | SourceState::Unreachable { .. }
            | SourceState::Reread
            | SourceState::New => true,
        },
    }
}

const fn is_silent(state: &SourceState) -> bool {
    matches!(state, SourceState::Unreachable { .. })
}

/// The version that the files are, which is not the latest.
fn called(here: &Called) -> String {
    let tags: Vec<String> = here.tags.iter().map(|tag| plain(tag)).collect();
    let tags = if tags.is_empty() { String::new() } else { format!(" ({})", tags.join(", ")) };
    format!("version {}{tags}, not the latest", here.number)
}

fn state(state: &SourceState) -> String {
    match state {
        SourceState::Unchanged => "unchanged".to_owned(),
        SourceState::Changed { files, added, removed, changed, renamed, .. } => {
            let counts = [(added, "added"), (removed, "removed"), (changed, "changed"), (renamed, "renamed")];
            let said: Vec<String> = counts
                .iter()
                .filter(|(count, _)| **count > 0)
                .map(|(count, verb)| format!("{count} {verb}"))
                .collect();
            let more = if added + removed + changed + renamed > files.len() { ", …" } else { "" };
            let names: Vec<String> = files.iter().map(|name| plain(name)).collect();
            format!("changed ({}): {}{more}", said.join(", "), names.join(", "))
        }
        SourceState::Missing => "missing".to_owned(),
        SourceState::Another => "another source is declared".to_owned(),
        SourceState::Remote => "elsewhere, not asked".to_owned(),
        SourceState::Moved { .. } => "changed".to_owned(),
        SourceState::Unreachable { reason } => format!("did not answer: {}", plain(reason)),
        SourceState::Reread => "to be read in another way".to_owned(),
        SourceState::New => "not added yet".to_owned(),
    }
}

const fn can_be_added(state: &SourceState) -> bool {
    match state {
        SourceState::Changed { .. }
        | SourceState::Another
        | SourceState::New
        | SourceState::Moved { .. }
        | SourceState::Reread => true,
        SourceState::Unchanged
        | SourceState::Missing
        | SourceState::Remote
        | SourceState::Unreachable { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_has_moved_on_can_be_added_again() {
        let files = vec!["a.csv".to_owned(), "b\n.csv".to_owned()];
        let changed =
            SourceState::Changed { files, added: 1, removed: 0, changed: 2, renamed: 0, version: None };
        assert_eq!(state(&changed), "changed (1 added, 2 changed): a.csv, b\\n.csv, …");
        assert!(can_be_added(&changed) && !can_be_added(&SourceState::Unchanged));
    }

    #[test]
    fn what_is_as_the_lock_pins_it_has_not_changed() {
        let locked = |state| Some(Locked { digest: Digest::of(b"x"), state });
        let changed = SourceState::Changed {
            files: Vec::new(),
            added: 1,
            removed: 0,
            changed: 0,
            renamed: 0,
            version: None,
        };
        for (state, locked, wanted) in [
            (&SourceState::Unchanged, None, false),
            (&SourceState::Remote, None, false),
            (&SourceState::New, None, true),
            (&SourceState::Missing, locked(LockState::Latest), true),
            (&changed, locked(LockState::Latest), true),
            (&changed, locked(LockState::InPlace), false),
            (&SourceState::Unchanged, locked(LockState::Other), true),
            (&SourceState::Unchanged, locked(LockState::Elsewhere), true),
        ] {
            assert_eq!(differs(state, locked), wanted, "{state:?} {locked:?}");
        }
    }

    #[test]
    fn the_lock_the_latest_and_the_work_tree_may_differ_and_the_hint_says_what_to_do() {
        let status = |source_state: SourceState| DatasetStatus {
            dataset: "t".to_owned(),
            source: "t.csv".to_owned(),
            checks: 0,
            latest: None,
            versions: 0,
            source_state,
            here: None,
            last: None,
        };
        let hinted = |source: SourceState, state: Option<LockState>, shared: bool| {
            let locked = state.map(|state| Locked { digest: Digest::of(b"x"), state });
            let cells = row(&status(source.clone()), locked);
            (
                hint(&status(source), locked, shared, false).unwrap_or_default(),
                cells[9].clone(),
                cells[7].clone(),
            )
        };
        let short = Digest::of(b"x").short();
        let fresh = hinted(SourceState::New, Some(LockState::Elsewhere), true);
        assert_eq!((fresh.0.as_str(), fresh.2), ("rondo data pull t", format!("{short}, not here")));
        assert_eq!(hinted(SourceState::New, Some(LockState::Elsewhere), false).0, "rondo data add t");
        assert_eq!(hinted(SourceState::New, None, true).0, "rondo data add t");
        let behind = hinted(SourceState::Unchanged, Some(LockState::Other), true);
        assert_eq!(behind.1, "the latest, not what rondo.lock pins");
        assert!(behind.0.starts_with("rondo data get t"), "{}", behind.0);
        let changed = SourceState::Changed {
            files: vec!["t.csv".to_owned()],
            added: 0,
            removed: 0,
            changed: 1,
            renamed: 0,
            version: None,
        };
        let checked_out = hinted(changed.clone(), Some(LockState::InPlace), true);
        assert_eq!(
            (checked_out.0.as_str(), checked_out.1.as_str()),
            ("", "as rondo.lock pins, not the latest")
        );
        assert_eq!(hinted(changed, Some(LockState::Latest), true).0, "rondo data add t");
        assert!(hinted(SourceState::Remote, None, true).0.contains("--remote"));
    }

    #[test]
    fn files_that_are_another_version_are_called_so() {
        let here = Called { digest: Digest::of(b"y"), number: 2, tags: vec!["paper".to_owned()] };
        assert_eq!(called(&here), "version 2 (paper), not the latest");
        assert_eq!(called(&Called { tags: Vec::new(), ..here }), "version 2, not the latest");
    }
}
