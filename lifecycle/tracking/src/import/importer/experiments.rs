//! Experiments: each gets its id where that is free, and is known by its name.

use rondo_core::Timestamp;
use rondo_store::foreign;
use rondo_store::meta::experiments::Experiment;

use super::{Importer, location};
use crate::Error;
use crate::import::{Kind, Source};

impl Importer<'_> {
    pub(super) async fn experiments<S: Source>(&mut self, source: &mut S) -> Result<(), Error> {
        let all = source.experiments().await?;
        self.faults(source);
        for experiment in all {
            self.report.of(Kind::Experiments).found += 1;
            let (id, new) = self.place_for(&experiment).await?;
            let count = self.report.of(Kind::Experiments);
            if new {
                count.imported += 1;
            } else {
                count.already_there += 1;
            }
            if experiment.id != id.to_string() {
                let foreign::Experiment { id: there, name, .. } = &experiment;
                let why = if new { "its id is taken" } else { "one of that name is here" };
                self.report.note(format!("experiment `{name}` has id {id} here, not {there}: {why}"));
            }
            self.experiments.insert(experiment.id.clone(), id);
            let here = if new { None } else { self.meta().experiment(id).await? };
            let lacks = |key: &str| here.as_ref().is_none_or(|here| !here.tags.contains_key(key));
            let tags = experiment.tags.into_iter().filter(|(key, _)| lacks(key)).collect();
            if !self.options.dry_run {
                let experiment = Experiment {
                    id,
                    artifact_location: location(id),
                    name: here.map_or(experiment.name, |here| here.name),
                    deleted: experiment.deleted,
                    created: Timestamp(experiment.created),
                    updated: Timestamp(experiment.updated),
                    tags,
                };
                self.meta().import_experiment(experiment).await?;
            }
        }
        Ok(())
    }

    /// The id that an experiment has or gets here, and whether it is new.
    async fn place_for(&self, experiment: &foreign::Experiment) -> Result<(i64, bool), Error> {
        if let Some(same) = self.meta().experiment_by_name(&experiment.name).await? {
            return Ok((same.id, false));
        }
        let taken = |id: i64| self.experiments.values().any(|known| *known == id);
        if let Ok(id) = experiment.id.parse::<i64>()
            && id >= 0
            && !taken(id)
        {
            match self.meta().experiment(id).await? {
                None => return Ok((id, true)),
                // The same under another name: it was renamed since.
                Some(here) if here.created.millis() == experiment.created && id != 0 => {
                    return Ok((id, false));
                }
                Some(_) => {}
            }
        }
        let all = self.meta().experiments().await?;
        let last = all.iter().map(|experiment| experiment.id).chain(self.experiments.values().copied()).max();
        Ok((last.unwrap_or(0) + 1, true))
    }
}
