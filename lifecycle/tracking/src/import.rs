//! Bringing another store in: MLflow's database or its folder of files, with everything that it holds.
//!
//! ```text
//! mlflow.db ─ MlflowDb ┐
//!                      ├─ Source ─▶ records ─ importer ─▶ store, Report
//! mlruns/   ─ Mlruns   ┘                 artifacts ─ Roots ─▶ objects
//! ```
//!
//! A source is only ever read. Ids, numbers, times and states are kept; what cannot be kept is said in the
//! report, and so is what could not be brought in, with the reason. A second import brings in only what is
//! new or has changed there, and one that was interrupted goes on where it was: a run is marked as whole
//! when all of it is on the disk.

mod importer;
pub mod mlruns;
pub mod report;
pub mod roots;

use std::future::Future;

use rondo_store::foreign::{Experiment, LoggedModel, MlflowDb, Model, Outline, Run, Series, Trace, Webhook};

use crate::Error;
pub use importer::{Options, import};
pub use mlruns::Mlruns;
pub use report::{Kind, Report};
pub use roots::Roots;

/// Something in a source that cannot be read; the rest can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What it would be.
    pub kind: Kind,
    /// Its name or path.
    pub name: String,
    /// Why not.
    pub reason: String,
}

/// A store of another program, read in this order: outline, experiments, runs with their histories, logged
/// models, registered models, traces, webhooks.
pub trait Source: Send {
    /// How much there is.
    fn outline(&mut self) -> impl Future<Output = Result<Outline, Error>> + Send;

    /// All experiments, deleted ones too.
    fn experiments(&mut self) -> impl Future<Output = Result<Vec<Experiment>, Error>> + Send;

    /// The next page of runs, deleted ones too; empty at the end.
    fn runs(&mut self) -> impl Future<Output = Result<Vec<Run>, Error>> + Send;

    /// The series of a run's metrics.
    fn history(&mut self, run: &Run) -> impl Future<Output = Result<Vec<Series>, Error>> + Send;

    /// The next page of logged models, deleted ones too; empty at the end.
    fn logged_models(&mut self) -> impl Future<Output = Result<Vec<LoggedModel>, Error>> + Send;

    /// All registered models with their versions.
    fn models(&mut self) -> impl Future<Output = Result<Vec<Model>, Error>> + Send;

    /// The next page of traces; empty at the end.
    fn traces(&mut self) -> impl Future<Output = Result<Vec<Trace>, Error>> + Send;

    /// All webhooks.
    fn webhooks(&mut self) -> impl Future<Output = Result<Vec<Webhook>, Error>> + Send;

    /// What could not be read since this was last asked.
    fn faults(&mut self) -> Vec<Fault>;
}

impl Source for MlflowDb {
    async fn outline(&mut self) -> Result<Outline, Error> {
        Ok(Self::outline(self).await?)
    }

    async fn experiments(&mut self) -> Result<Vec<Experiment>, Error> {
        Ok(Self::experiments(self).await?)
    }

    async fn runs(&mut self) -> Result<Vec<Run>, Error> {
        Ok(Self::runs(self).await?)
    }

    async fn history(&mut self, run: &Run) -> Result<Vec<Series>, Error> {
        Ok(Self::history(self, &run.id).await?)
    }

    async fn logged_models(&mut self) -> Result<Vec<LoggedModel>, Error> {
        Ok(Self::logged_models(self).await?)
    }

    async fn models(&mut self) -> Result<Vec<Model>, Error> {
        Ok(Self::models(self).await?)
    }

    async fn traces(&mut self) -> Result<Vec<Trace>, Error> {
        Ok(Self::traces(self).await?)
    }

    async fn webhooks(&mut self) -> Result<Vec<Webhook>, Error> {
        Ok(Self::webhooks(self).await?)
    }

    fn faults(&mut self) -> Vec<Fault> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests;
