//! `rondo export --to openlineage|ro-crate|slsa --of RUN`: where a run's outputs come from.

use std::path::{Path, PathBuf};

use rondo_core::Code;
use rondo_core::run::RunRow;
use rondo_store::Store;
use rondo_tracking::provenance::{self, openlineage, ro_crate, slsa};
use serde_json::{Value, json};

use super::super::Session;
use super::super::failure::{Failure, Outcome};
use crate::platform::dossier;

/// The forms of a run's provenance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    OpenLineage,
    RoCrate,
    Slsa,
}

/// What is asked for.
pub(super) struct Asked {
    pub form: Form,
    /// A run or a model's version.
    pub of: Option<String>,
    pub path: Option<PathBuf>,
    pub licence: Option<String>,
    pub dry_run: bool,
}

/// Writes it.
pub(super) async fn run(asked: Asked, store: &Store, session: &Session) -> Outcome {
    let Some(of) = &asked.of else {
        let hint = "rondo export --to slsa --of MODEL@champion, or --of RUN";
        return Err(Failure::hinted(Code::Usage, "say of which run", hint));
    };
    let run = find(store, of).await?;
    let id = run.id;
    let known = provenance::gather(store, run).await?;
    let (text, value) = match asked.form {
        Form::RoCrate => return crated(&asked, &known, store, session),
        Form::OpenLineage => {
            let events = openlineage::events(&known);
            // An event a line, as OpenLineage's own file transport writes them.
            let text: String = events.iter().map(|event| format!("{event}\n")).collect();
            (text, json!({ "schema": 1, "run": id, "events": events }))
        }
        Form::Slsa => {
            let statement = slsa::statement(&known, store.objects())?;
            let text = serde_json::to_string_pretty(&statement).unwrap_or_default();
            (format!("{text}\n"), statement)
        }
    };
    let printer = session.printer();
    match asked.path.as_deref().filter(|path| *path != Path::new("-")) {
        None => printer.result(&value, &text),
        Some(given) => {
            let path = session.path(given);
            if !asked.dry_run {
                std::fs::write(&path, &text).map_err(|error| {
                    Failure::new(Code::Io, format!("write `{}`: {error}", given.display()))
                })?;
            }
            let value = json!({ "schema": 1, "run": id, "target": given, "dry_run": asked.dry_run });
            printer.result(&value, &said(&asked, given, 1));
        }
    }
    Ok(())
}

fn crated(asked: &Asked, known: &provenance::Provenance, store: &Store, session: &Session) -> Outcome {
    let Some(given) = &asked.path else {
        let hint = "rondo export --to ro-crate --of RUN my-crate";
        return Err(Failure::hinted(Code::Usage, "say into which folder", hint));
    };
    let licence = asked.licence.as_deref().unwrap_or(ro_crate::NO_LICENCE);
    let files = if asked.dry_run {
        0
    } else {
        ro_crate::write(known, store.objects(), &session.path(given), licence)?
    };
    let value: Value = json!({ "schema": 1, "run": known.run.id, "target": given, "files": files, "dry_run": asked.dry_run });
    session.printer().result(&value, &said(asked, given, files));
    Ok(())
}

fn said(asked: &Asked, target: &Path, files: usize) -> String {
    let verb = if asked.dry_run { "would write" } else { "wrote" };
    match files {
        0 | 1 => format!("{verb} `{}`\n", target.display()),
        files => format!("{verb} `{}`: {files} files and folders\n", target.display()),
    }
}

/// The run that is meant: by the beginning of its id, or as the one that made a model's version.
async fn find(store: &Store, of: &str) -> Outcome<RunRow> {
    let missing = || {
        let hint = "rondo runs list --all";
        Failure::hinted(Code::RunNotFound, format!("find run `{of}`"), hint)
    };
    if let Some((model, version)) = of.split_once('@').or_else(|| of.split_once('/')) {
        let found = dossier::find(store, model, Some(version)).await?;
        let run = found.run.as_deref().and_then(|run| run.parse().ok()).ok_or_else(missing)?;
        return store.meta().run(run).await?.ok_or_else(missing);
    }
    let mut found = store.meta().runs_by_prefix(of).await?;
    match (found.pop(), found.len()) {
        (Some(run), 0) => Ok(run),
        (Some(_), more) => {
            let message = format!("`{of}` is the beginning of {} runs", more + 1);
            Err(Failure::new(Code::ValueInvalid, message))
        }
        (None, _) => Err(missing()),
    }
}
