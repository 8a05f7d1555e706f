//! Runs: a page at a time, each with what belongs to it.
//!
//! A page of runs is written in one transaction and marked as under way; then come the series and the files
//! of each; last the page is marked with the digests of its records there.

use rondo_core::RunId;
use rondo_core::Timestamp;
use rondo_core::ports::Event;
use rondo_core::run::{RunDetail, RunKind, RunRow, RunState};
use rondo_store::foreign::{self, Outline, Pairs};
use rondo_store::meta::import::ImportedRun;

use super::{Importer, Incoming, State, fingerprint, run_id};
use crate::Error;
use crate::import::{Kind, Source};
use crate::runs::{PARENT, RUN_NAME};

impl Importer<'_> {
    pub(super) async fn runs<S: Source>(&mut self, source: &mut S, outline: Outline) -> Result<(), Error> {
        self.started("runs", format!("{} to look at", outline.runs));
        loop {
            let page = source.runs().await?;
            self.faults(source);
            if page.is_empty() {
                break;
            }
            let page = self.look_at(page).await?;
            if !self.options.dry_run {
                let rows = page.iter().filter(|run| run.state != State::Here).map(imported_run);
                self.meta().import_runs(rows.collect()).await?;
            }
            self.histories(source, &page).await?;
            self.files_of_runs(&page).await?;
            self.verify(&page).await?;
            if !self.options.dry_run {
                let marks = page.iter().filter(|run| run.state != State::Here);
                let marks = marks.map(|run| (run.id.hex(), run.mark.clone())).collect();
                self.meta().mark_imported("run", marks).await?;
            }
            self.options.progress.report(Event::Advanced {
                subject: "runs".to_owned(),
                done: self.report.count(Kind::Runs).found,
                total: Some(outline.runs),
                message: format!("{} points", self.report.count(Kind::MetricPoints).found),
            });
        }
        self.ended("runs", Kind::Runs);
        Ok(())
    }

    /// What is to be done with each run of a page.
    async fn look_at(&mut self, page: Vec<foreign::Run>) -> Result<Vec<Incoming>, Error> {
        let mut incoming = Vec::with_capacity(page.len());
        for mut run in page {
            self.report.of(Kind::Runs).found += 1;
            self.drop_paths(&mut run);
            let Some(experiment) = self.experiments.get(&run.experiment).copied() else {
                let reason = format!("its experiment `{}` could not be read", run.experiment);
                self.report.skip(Kind::Runs, 1, run.id, reason);
                continue;
            };
            let id = run_id(&run.id);
            if id.hex() != run.id {
                self.report
                    .note(format!("run `{}` has id {id} here: its own is not 32 hex characters", run.id));
            }
            let mark = fingerprint(&run);
            incoming.push(Incoming { run, id, experiment, mark, state: State::New });
        }
        let ids: Vec<RunId> = incoming.iter().map(|run| run.id).collect();
        let hex: Vec<String> = ids.iter().map(RunId::hex).collect();
        let known = self.meta().known_runs(&ids).await?;
        let marks = self.meta().import_marks("run", &hex).await?;
        for run in &mut incoming {
            run.state = match marks.get(&run.id.hex()) {
                _ if !known.contains(&run.id) => State::New,
                Some(mark) if *mark != run.mark => State::Behind,
                // Without a mark it was made here: its owner's it is.
                Some(_) | None => State::Here,
            };
            self.runs.insert(run.id, run.experiment);
            self.count(Kind::Runs, run.state, 0, 1);
            for (kind, many) in [
                (Kind::Params, run.run.params.len()),
                (Kind::Tags, run.run.tags.len()),
                (Kind::Inputs, run.run.inputs.len()),
            ] {
                self.count(kind, run.state, many as u64, many as u64);
            }
        }
        Ok(incoming)
    }

    /// Leaves out keys that would be other paths than they read: MLflow takes none, so somebody forged them.
    fn drop_paths(&mut self, run: &mut foreign::Run) {
        let mut told = Vec::new();
        let mut keep = |kind: Kind, key: &str| {
            let plain = !key.split('/').any(|part| part.is_empty() || part == "." || part == "..");
            if !plain {
                told.push((kind, key.to_owned()));
            }
            plain
        };
        run.params.retain(|(key, _)| keep(Kind::Params, key));
        run.tags.retain(|(key, _)| keep(Kind::Tags, key));
        run.metrics.retain(|key| keep(Kind::MetricPoints, key));
        for (kind, key) in told {
            self.report.of(kind).found += 1;
            let short: String = key.chars().take(160).collect();
            let reason = "its name would be another path than it reads";
            self.report.skip(kind, 1, format!("run {}: {short}", run.id), reason);
        }
    }

    /// Looks whether all of a page's runs is here.
    async fn verify(&mut self, page: &[Incoming]) -> Result<(), Error> {
        if self.options.dry_run {
            return Ok(());
        }
        let new: Vec<&Incoming> = page.iter().filter(|run| run.state != State::Here).collect();
        let ids: Vec<RunId> = new.iter().map(|run| run.id).collect();
        let facts = self.meta().facts(&ids).await?;
        for run in new {
            let Some(here) = facts.get(&run.id) else { continue };
            let lacks = |key: &String| !here.metrics.iter().any(|latest| latest.key == *key);
            let lacking = [
                ("metrics", run.run.metrics.iter().filter(|key| lacks(key)).map(String::as_str).collect()),
                ("params", missing(&run.run.params, |key| here.params.contains_key(key))),
                ("tags", missing(&run.run.tags, |key| key == RUN_NAME || here.tags.contains_key(key))),
            ];
            for (what, keys) in lacking {
                for key in keys {
                    self.report.skip(
                        Kind::Runs,
                        0,
                        run.id.hex(),
                        format!("of its {what} `{key}` did not come in"),
                    );
                }
            }
        }
        Ok(())
    }
}

fn imported_run(incoming: &Incoming) -> ImportedRun {
    let run = &incoming.run;
    let tag = |key: &str| run.tags.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
    let name = Some(run.name.clone()).filter(|name| !name.is_empty()).or_else(|| tag(RUN_NAME));
    ImportedRun {
        row: RunRow {
            id: incoming.id,
            experiment: incoming.experiment,
            kind: RunKind::Client,
            parent: tag(PARENT).and_then(|parent| parent.parse().ok()),
            name: name.unwrap_or_default(),
            step: None,
            state: RunState::from_status(&run.status).unwrap_or(RunState::Running),
            user: run.user.clone(),
            started: Timestamp(run.started),
            ended: run.ended.map(Timestamp),
            deleted: run.deleted,
            untagged: false,
            detail: RunDetail::default(),
        },
        params: run.params.clone(),
        // The name is a column here.
        tags: run.tags.iter().filter(|(key, _)| key != RUN_NAME).cloned().collect(),
        inputs: run.inputs.clone(),
    }
}

fn missing(pairs: &Pairs, has: impl Fn(&str) -> bool) -> Vec<&str> {
    pairs.iter().map(|(key, _)| key.as_str()).filter(|key| !has(key)).collect()
}
