//! Registered models with their versions, and where the files of each version are here.

use rondo_core::journal::Because;
use rondo_core::{RunId, Timestamp};
use rondo_store::foreign;
use rondo_store::meta::import::{ImportedRegistered, ImportedVersion, RegisteredOutcome};
use rondo_store::meta::registered::ClientVersion;

use super::{Importer, location, run_id};
use crate::import::{Kind, Source};
use crate::{Error, artifacts, filter};

impl Importer<'_> {
    pub(super) async fn registered<S: Source>(&mut self, source: &mut S) -> Result<(), Error> {
        let models = source.models().await?;
        self.faults(source);
        for model in models {
            self.report.of(Kind::RegisteredModels).found += 1;
            self.report.of(Kind::ModelVersions).found += model.versions.len() as u64;
            self.report.of(Kind::Aliases).found += model.aliases.len() as u64;
            let mut versions = Vec::with_capacity(model.versions.len());
            for version in model.versions {
                versions.push(self.version(&model.name, version).await?);
            }
            let model = ImportedRegistered {
                name: model.name,
                created: Timestamp(model.created),
                updated: Timestamp(model.updated),
                description: model.description,
                tags: model.tags,
                aliases: model.aliases,
                versions,
                last: model.last,
            };
            self.register(model).await?;
        }
        Ok(())
    }

    async fn register(&mut self, model: ImportedRegistered) -> Result<(), Error> {
        let (name, aliases) = (model.name.clone(), model.aliases.len() as u64);
        let versions = model.versions.len() as u64;
        let outcome = if self.options.dry_run {
            self.would_register(&model).await?
        } else {
            let because = Because::new("import", &format!("imported from {}", self.options.name));
            self.meta().import_registered(model, because, self.tracking.now()).await?
        };
        let count = self.report.of(Kind::RegisteredModels);
        if outcome.made {
            count.imported += 1;
        } else {
            count.already_there += 1;
        }
        let (taken, elsewhere) = (outcome.taken.len() as u64, outcome.elsewhere.len() as u64);
        let count = self.report.of(Kind::ModelVersions);
        count.imported += outcome.versions;
        count.already_there += versions.saturating_sub(outcome.versions + taken);
        for number in &outcome.taken {
            let reason = "another version has that number here";
            self.report.skip(Kind::ModelVersions, 1, format!("{name} {number}"), reason);
        }
        let count = self.report.of(Kind::Aliases);
        count.imported += outcome.aliases;
        count.already_there += aliases.saturating_sub(outcome.aliases + elsewhere);
        for alias in &outcome.elsewhere {
            let reason = "it points to another version here";
            self.report.skip(Kind::Aliases, 1, format!("{name}@{alias}"), reason);
        }
        Ok(())
    }

    /// What would become of a registered model.
    async fn would_register(&self, model: &ImportedRegistered) -> Result<RegisteredOutcome, Error> {
        let here = self.meta().versions(&model.name).await?;
        let known = self.meta().models().await?.iter().any(|(name, _)| *name == model.name);
        let has = |number: i64| here.iter().any(|version| version.number == number);
        let versions = model.versions.iter().filter(|version| !has(version.number)).count() as u64;
        let aliases = self.meta().model_aliases(&model.name).await?;
        let new = model.aliases.iter().filter(|(alias, _)| !aliases.contains_key(alias)).count() as u64;
        Ok(RegisteredOutcome { made: !known, versions, aliases: new, ..Default::default() })
    }

    async fn version(&mut self, model: &str, version: foreign::Version) -> Result<ImportedVersion, Error> {
        let prompt = version.tags.iter().any(|(key, value)| key == filter::PROMPT && value == "true");
        let source = if prompt { version.source.clone() } else { self.source(model, &version).await? };
        Ok(ImportedVersion {
            number: version.number,
            said: ClientVersion {
                location: None,
                source,
                run: version.run.map(|run| run_id(&run).hex()),
                model_id: version.model_id,
                run_link: version.run_link,
                user: version.user,
            },
            created: Timestamp(version.created),
            updated: Timestamp(version.updated),
            description: version.description,
            stage: version.stage,
            tags: version.tags,
        })
    }

    /// Where a version's files are here. A place that is not here is kept as it was, and said.
    async fn source(&mut self, model: &str, version: &foreign::Version) -> Result<String, Error> {
        let places = [Some(&version.source), version.storage.as_ref()];
        for place in places.into_iter().flatten() {
            if let Some(id) = place.strip_prefix("models:/") {
                if self.models.contains_key(id) || !id.starts_with("m-") {
                    return Ok(place.clone());
                }
                continue;
            }
            let path = place.split_once(":/").map_or(place.as_str(), |(_, path)| path);
            let path = path.trim_start_matches(['/', '.']);
            let Ok(found) = artifacts::proxied(path) else { continue };
            if let Some(root) = self.root_of(&found.owner).await? {
                let slash = if found.path.is_empty() { "" } else { "/" };
                let inside = format!("{}/", found.path);
                let files = self.meta().artifacts(&found.owner).await?;
                let any = files.iter().any(|file| found.path.is_empty() || file.path.starts_with(&inside));
                if !any && !self.options.dry_run {
                    let name = format!("{model} {}", version.number);
                    self.report.skip(Kind::Artifacts, 0, name, format!("no files came in from `{place}`"));
                }
                return Ok(format!("{root}{slash}{}", found.path));
            }
        }
        let name = format!("{model} {}", version.number);
        let reason = format!("its source `{}` is among nothing that was imported", version.source);
        self.report.skip(Kind::Artifacts, 0, name, reason);
        Ok(version.source.clone())
    }

    /// Where the artifacts of an owner that came with this source are here.
    async fn root_of(&self, owner: &str) -> Result<Option<String>, Error> {
        let of_run = owner.parse().ok().and_then(|id: RunId| self.runs.get(&id));
        let Some(experiment) = of_run.or_else(|| self.models.get(owner)).copied() else { return Ok(None) };
        let known = self.meta().experiment(experiment).await?.map(|found| found.artifact_location);
        let location = known.unwrap_or_else(|| location(experiment));
        Ok(Some(match owner.parse() {
            Ok(run) => artifacts::run_root(&location, run),
            Err(_) => artifacts::model_root(&location, owner),
        }))
    }
}
