//! Data meets the project: declared datasets are brought in, and `rondo.lock` pins what a user's run reads.

use std::collections::BTreeMap;
use std::path::Path;

use rondo_core::handoff::DatasetVersion;
use rondo_core::journal::Because;
use rondo_core::{Code, Digest, Timestamp, suggest};
use rondo_data::check::Around;
use rondo_data::fetch::Fetcher;
use rondo_data::ingest::{Added, Intake};
use rondo_data::parts::part_of_file;
use rondo_data::status::SourceState;
use rondo_data::versions::Datasets;
use rondo_project::lock::{LOCK_FILE, Lock, LockedDataset};
use rondo_project::project::{Dataset, Reference};

use super::{Error, Platform, declare};

impl Platform {
    /// The datasets of the project's store.
    pub fn datasets(&self) -> Datasets {
        Datasets::new(self.store().clone(), self.clock().clone(), self.progress().clone())
    }

    /// What fetches sources; downloads are shared between projects.
    pub fn fetcher(&self) -> Fetcher {
        let cache = self.config().cache.join("sources");
        Fetcher::new(&cache, self.config().environment.clone(), self.progress().clone())
    }

    /// A declared dataset as something to take in.
    ///
    /// # Errors
    /// When it is not declared, or its source or checks cannot be understood.
    pub fn intake(&self, name: &str, because: Because) -> Result<Intake, Error> {
        let Some(dataset) = self.project().data.get(name) else {
            let near = suggest::nearest(name, self.project().data.names());
            return Err(Error::NotFound {
                kind: "dataset",
                name: name.to_owned(),
                code: Code::DatasetNotFound,
                hint: near.map(|near| format!("did you mean `{near}`?")),
            });
        };
        let intake = Intake::declared(name, dataset, because)?;
        Ok(Intake { suite: intake.suite.within(self.around()), ..intake })
    }

    /// What the checks of this project may ask for beside the table: files from its folder on, its datasets,
    /// an engine for SQL.
    pub fn around(&self) -> Around {
        Around::at(self.root()).with_datasets(self.datasets()).with_engine(Some(self.sql_engine()))
    }

    /// Brings a declared dataset in, of one in parts those that end by `until`, and pins the result in
    /// `rondo.lock`. `why` is what the journal keeps.
    ///
    /// # Errors
    /// When it cannot be fetched or its checks fail; then nothing has changed.
    pub async fn add_dataset(
        &self,
        name: &str,
        until: Option<Timestamp>,
        why: Option<&str>,
    ) -> Result<Vec<Added>, Error> {
        let because = Because::new(self.config().user(), why.unwrap_or("added by hand"));
        let added = self.bring(name, until, because).await?;
        if let Some(last) = added.last() {
            self.pin(name, last)?;
        }
        Ok(added)
    }

    /// Brings in a dataset that is about to be declared, as a project would have it; nothing is pinned yet.
    ///
    /// # Errors
    /// As [`Platform::add_dataset`].
    pub async fn add_undeclared(
        &self,
        name: &str,
        dataset: &Dataset,
        until: Option<Timestamp>,
        why: Option<&str>,
    ) -> Result<Vec<Added>, Error> {
        let because = Because::new(self.config().user(), why.unwrap_or("added by hand"));
        let intake = Intake::declared(name, dataset, because)?;
        self.bring_intake(&Intake { suite: intake.suite.within(self.around()), ..intake }, until).await
    }

    /// Adds one part to a dataset in parts, from a file whose name says its time, and pins the result.
    ///
    /// # Errors
    /// When the dataset is not in parts, the name says no time, or the checks fail; then nothing has changed.
    pub async fn add_part(&self, name: &str, file: &Path, why: Option<&str>) -> Result<Vec<Added>, Error> {
        let because = Because::new(self.config().user(), why.unwrap_or("part added by hand"));
        let intake = self.intake(name, because)?;
        let Some(parts) = &intake.parts else {
            return Err(Error::Invalid {
                code: Code::ValueInvalid,
                message: format!("dataset `{name}` is not in parts"),
            });
        };
        let part = part_of_file(file, parts.by)?;
        let added = self.datasets().add_part(&intake, &part, &file.display().to_string()).await?;
        self.pin(name, &added)?;
        Ok(vec![added])
    }

    /// Brings a declared dataset in without touching `rondo.lock`: for what arrives while the loop runs.
    ///
    /// # Errors
    /// As [`Platform::add_dataset`].
    pub async fn bring(
        &self,
        name: &str,
        until: Option<Timestamp>,
        because: Because,
    ) -> Result<Vec<Added>, Error> {
        Box::pin(self.bring_intake(&self.intake(name, because)?, until)).await
    }

    async fn bring_intake(&self, intake: &Intake, until: Option<Timestamp>) -> Result<Vec<Added>, Error> {
        let root = self.root().to_owned();
        Ok(self.datasets().bring(&self.fetcher().with_bounds(intake.bounds), intake, &root, until).await?)
    }

    /// The version of a dataset that `rondo.lock` pins, where it pins one: as the store has it, or not.
    ///
    /// # Errors
    /// When the lock file or the store cannot be read.
    pub async fn locked_version(
        &self,
        name: &str,
    ) -> Result<Option<(Digest, Option<DatasetVersion>)>, Error> {
        let Some(pinned) = self.read_lock()?.datasets.get(name).map(|locked| locked.digest) else {
            return Ok(None);
        };
        Ok(Some((pinned, self.store().meta().dataset_version(name, pinned).await?)))
    }

    /// Sees to it that every dataset the targets read has the version that `rondo.lock` pins, or some
    /// version where it pins none; the pins that a run should use.
    ///
    /// # Errors
    /// When a dataset cannot be brought in.
    pub async fn ensure_datasets(&self, targets: &[String]) -> Result<BTreeMap<String, Digest>, Error> {
        let names = self.datasets_of(targets);
        let lock = if names.is_empty() { Lock::default() } else { self.read_lock()? };
        let mut pins = BTreeMap::new();
        for name in names {
            let pinned = lock.datasets.get(&name).map(|locked| locked.digest);
            if let Some(version) = self.pinned_version(&name, pinned).await? {
                pins.insert(name, version);
                continue;
            }
            let because = Because::new(self.config().user(), "first needed by a run");
            match pinned {
                Some(pinned) => Box::pin(self.bring_until(&name, pinned, because)).await?,
                None => drop(self.bring(&name, None, because).await?),
            }
            match (self.pinned_version(&name, pinned).await?, pinned) {
                (Some(digest), _) => drop(pins.insert(name, digest)),
                (None, Some(pinned)) => {
                    return Err(Error::NotFound {
                        kind: "the version that rondo.lock pins of dataset",
                        name: format!("{name} {}", pinned.short()),
                        code: Code::LockChanged,
                        hint: Some(format!(
                            "its source has changed; to use what it is now: rondo data add {name}"
                        )),
                    });
                }
                (None, None) => {}
            }
        }
        Ok(pins)
    }

    /// The versions that a run would take of these datasets, of those that are here.
    ///
    /// # Errors
    /// When the store or the lock file cannot be read.
    pub async fn pins(&self, names: &[String]) -> Result<BTreeMap<String, Digest>, Error> {
        let lock = self.read_lock()?;
        let mut pins = BTreeMap::new();
        for name in names {
            let pinned = lock.datasets.get(name).map(|locked| locked.digest);
            if let Some(version) = self.pinned_version(name, pinned).await? {
                pins.insert(name.clone(), version);
            }
        }
        Ok(pins)
    }

    /// The datasets whose files on this machine are not what a run takes: they were edited since, and the version
    /// that is pinned counts until they are added.
    ///
    /// # Errors
    /// When the store or a file cannot be read.
    pub async fn edited(&self, pins: &BTreeMap<String, Digest>) -> Result<Vec<String>, Error> {
        let mut edited = Vec::new();
        for (name, digest) in pins {
            let intake = self.intake(name, Because::new(self.config().user(), "looked at"))?;
            let Some(version) = self.store().meta().dataset_version(name, *digest).await? else { continue };
            let state = self.datasets().state_since(&intake, self.root(), &version).await?;
            if matches!(state, SourceState::Changed { .. } | SourceState::Reread) {
                edited.push(name.clone());
            }
        }
        Ok(edited)
    }

    /// Those of these datasets whose files should lie on this machine and do not.
    ///
    /// # Errors
    /// When the store or a file cannot be read.
    pub async fn absent(&self, names: &[String]) -> Result<Vec<String>, Error> {
        let mut absent = Vec::new();
        for name in names.iter().filter(|name| self.project().data.get(name).is_some()) {
            let intake = self.intake(name, Because::new(self.config().user(), "looked at"))?;
            let status = self.datasets().status(&intake, self.root()).await?;
            if status.source_state == SourceState::Missing && !absent.contains(name) {
                absent.push(name.clone());
            }
        }
        Ok(absent)
    }

    /// The datasets that the targets (or all steps) read.
    pub fn datasets_of(&self, targets: &[String]) -> Vec<String> {
        let project = self.project();
        let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
        let mut names: Vec<String> = Vec::new();
        for step in project.order(&targets) {
            for reference in project.steps.get(step).into_iter().flat_map(|step| step.inputs.values()) {
                if let Reference::Data { dataset } = reference
                    && !names.contains(dataset)
                {
                    names.push(dataset.clone());
                }
            }
        }
        names
    }

    async fn pinned_version(&self, name: &str, pinned: Option<Digest>) -> Result<Option<Digest>, Error> {
        let Some(pinned) = pinned else {
            return Ok(self.datasets().latest(name).await?.map(|version| version.digest));
        };
        let version = self.store().meta().dataset_version(name, pinned).await?;
        Ok(version.filter(|v| self.store().objects().holds(v.digest, v.folder)).map(|version| version.digest))
    }

    /// Brings in the version of this digest: of a dataset in parts, part by part until it is there.
    async fn bring_until(&self, name: &str, pinned: Digest, because: Because) -> Result<(), Error> {
        let intake = self.intake(name, because.clone())?;
        if intake.parts.is_none() {
            self.bring(name, None, because).await?;
            return Ok(());
        }
        let root = self.root().to_owned();
        for part in self.datasets().parts(&self.fetcher(), &intake, &root).await? {
            let added = self.bring(name, Some(part.until), because.clone()).await?;
            if added.iter().any(|added| added.version.digest == pinned) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// `rondo.lock`, empty where there is none.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub fn read_lock(&self) -> Result<Lock, Error> {
        Ok(rondo_pipeline::lock::read(self.root())?)
    }

    /// Pins a version in `rondo.lock`.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn pin(&self, name: &str, added: &Added) -> Result<(), Error> {
        let version = &added.version;
        let locked = LockedDataset { digest: version.digest, size: version.size, rows: version.rows };
        self.edit_lock(|datasets| datasets.extend([(name.to_owned(), locked)]))
    }

    /// Takes what `rondo.lock` pins of a dataset out of it.
    ///
    /// # Errors
    /// As [`Platform::pin`].
    pub fn unpin(&self, name: &str) -> Result<(), Error> {
        self.edit_lock(|datasets| datasets.retain(|known, _| known != name))
    }

    fn edit_lock(&self, edit: impl FnOnce(&mut BTreeMap<String, LockedDataset>)) -> Result<(), Error> {
        let _alone = declare::lock_alone(self.root())?;
        let before = self.read_lock()?;
        let mut lock = before.clone();
        edit(&mut lock.datasets);
        if lock == before {
            return Ok(());
        }
        declare::write_whole(&self.root().join(LOCK_FILE), lock.text().as_bytes())
    }
}
