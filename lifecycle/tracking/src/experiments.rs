//! Experiments: named groups of runs.

use std::collections::BTreeMap;

use rondo_store::meta::access::Maker;
use rondo_store::meta::experiments::Experiment;
use rondo_store::meta::search::{Condition, Query, Room};

use crate::tracking::{Found, Search};
use crate::{Error, Tracking, filter, limits, page};

/// Rows of a page of experiments, unless it is said.
const PAGE: u32 = 1000;
/// Rows of a page of experiments, at most.
const PAGE_MAX: u32 = 50_000;

impl Tracking {
    /// Makes an experiment.
    ///
    /// # Errors
    /// When the name is empty, too long or taken, or the place of its artifacts is not one of the server's.
    pub async fn create_experiment(
        &self,
        name: &str,
        artifact_location: Option<&str>,
        tags: BTreeMap<String, String>,
    ) -> Result<i64, Error> {
        self.create_experiment_for(None, name, artifact_location, tags).await
    }

    /// Makes an experiment, on which its maker may do everything.
    ///
    /// # Errors
    /// When the name is empty, too long or taken, or the place of its artifacts is not one of the server's.
    pub async fn create_experiment_for(
        &self,
        maker: Option<Maker>,
        name: &str,
        artifact_location: Option<&str>,
        tags: BTreeMap<String, String>,
    ) -> Result<i64, Error> {
        check_name(name)?;
        for (key, value) in &tags {
            check_tag(key, value)?;
        }
        let location = artifact_location.filter(|location| !location.is_empty());
        let location = location.map(|location| self.roots().location(location)).transpose()?;
        let root = self.roots().base();
        let made =
            self.meta().create_experiment_under(maker, name, location.as_deref(), &root, tags, self.now());
        match made.await {
            Err(rondo_store::Error::Exists { .. }) => Err(self.taken(name).await?),
            made => Ok(made?),
        }
    }

    /// An experiment by its id as a client writes it.
    ///
    /// # Errors
    /// When there is none.
    pub async fn experiment(&self, id: &str) -> Result<Experiment, Error> {
        let missing = || Error::ExperimentNotFound { id: id.to_owned() };
        let number: i64 = id.parse().map_err(|_| Error::ExperimentId { id: id.to_owned() })?;
        self.meta().experiment(number).await?.ok_or_else(missing)
    }

    /// An experiment by its id, as long as it is not deleted.
    ///
    /// # Errors
    /// When there is none or it is deleted.
    pub async fn active_experiment(&self, id: &str) -> Result<Experiment, Error> {
        let experiment = self.experiment(id).await?;
        if experiment.deleted { Err(Error::ExperimentDeleted { id: experiment.id }) } else { Ok(experiment) }
    }

    /// An experiment by its name, deleted or not.
    ///
    /// # Errors
    /// When there is none.
    pub async fn experiment_by_name(&self, name: &str) -> Result<Experiment, Error> {
        let found = self.meta().experiment_by_name(name).await?;
        found.ok_or_else(|| Error::ExperimentNameNotFound { name: name.to_owned() })
    }

    /// Renames an experiment.
    ///
    /// # Errors
    /// When there is none, it is deleted, or the name is taken.
    pub async fn rename_experiment(&self, id: &str, name: &str) -> Result<(), Error> {
        let experiment = self.active_experiment(id).await?;
        check_name(name)?;
        match self.meta().update_experiment(experiment.id, Some(name.to_owned()), None, self.now()).await {
            Err(rondo_store::Error::Exists { .. }) => Err(self.taken(name).await?),
            done => Ok(done?),
        }
    }

    /// Deletes an experiment (softly) with its runs, or brings it back.
    ///
    /// # Errors
    /// When there is none, it is in that state already, or it is `Default`, which stays.
    pub async fn delete_experiment(&self, id: &str, deleted: bool) -> Result<(), Error> {
        let experiment = self.experiment(id).await?;
        if experiment.deleted == deleted {
            return Err(Error::ExperimentNotFound { id: id.to_owned() });
        }
        if experiment.id == 0 {
            return Err(limits::invalid("experiment_id", id, "experiment `Default` always exists"));
        }
        Ok(self.meta().delete_experiment(experiment.id, deleted, self.now()).await?)
    }

    /// Sets a tag of an experiment.
    ///
    /// # Errors
    /// When there is none, it is deleted, or the tag is out of bounds.
    pub async fn tag_experiment(&self, id: &str, key: &str, value: &str) -> Result<(), Error> {
        check_tag(key, value)?;
        let experiment = self.active_experiment(id).await?;
        self.meta().tag_experiment(experiment.id, key, Some(value)).await?;
        Ok(())
    }

    /// Takes a tag of an experiment away.
    ///
    /// # Errors
    /// When there is no such experiment or tag.
    pub async fn untag_experiment(&self, id: &str, key: &str) -> Result<(), Error> {
        let experiment = self.active_experiment(id).await?;
        if self.meta().tag_experiment(experiment.id, key, None).await? {
            return Ok(());
        }
        Err(Error::TagNotFound { key: key.to_owned(), owner: format!("experiment with id {id}") })
    }

    /// Experiments that match.
    ///
    /// # Errors
    /// When the filter, the order or the page token cannot be understood.
    pub async fn search_experiments(&self, search: &Search) -> Result<Found<Experiment>, Error> {
        let query = Query {
            view: search.view,
            filter: Condition::All(vec![
                filter::parse(Room::Experiments, &search.filter)?,
                search.seen.clone(),
            ]),
            order: filter::order(Room::Experiments, &search.order_by)?,
            after: page::place(&search.page_token)?,
            ..Query::all(Room::Experiments, page::size(search.max_results, PAGE, PAGE_MAX)?)
        };
        let page = self.meta().search_experiments(&query).await?.ok_or_else(page::foreign)?;
        Ok(Found { items: page.items, next_page_token: page.next.as_deref().map(page::token) })
    }

    async fn taken(&self, name: &str) -> Result<Error, Error> {
        let deleted = self.meta().experiment_by_name(name).await?.is_some_and(|found| found.deleted);
        Ok(Error::ExperimentExists { name: name.to_owned(), deleted })
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(limits::invalid("name", name, "it is empty"));
    }
    limits::length("name", name, limits::EXPERIMENT_NAME)
}

fn check_tag(key: &str, value: &str) -> Result<(), Error> {
    limits::tag_name(key)?;
    limits::length("value", value, limits::EXPERIMENT_TAG_VALUE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracking::fixture::tracking;
    use rondo_store::meta::search::View;

    #[tokio::test]
    async fn a_name_is_taken_once_also_by_the_deleted() {
        let (_folder, tracking) = tracking().await;
        let id = tracking.create_experiment("a", None, BTreeMap::new()).await.unwrap().to_string();
        let again = tracking.create_experiment("a", None, BTreeMap::new()).await;
        assert!(matches!(again, Err(Error::ExperimentExists { deleted: false, .. })));
        tracking.delete_experiment(&id, true).await.unwrap();
        let again = tracking.create_experiment("a", None, BTreeMap::new()).await;
        assert!(matches!(again, Err(Error::ExperimentExists { deleted: true, .. })));
        assert!(tracking.rename_experiment(&id, "b").await.is_err());
        tracking.delete_experiment(&id, false).await.unwrap();
        tracking.rename_experiment(&id, "b").await.unwrap();
        assert_eq!(tracking.experiment_by_name("b").await.unwrap().id.to_string(), id);
    }

    #[tokio::test]
    async fn pages_of_experiments_have_no_gaps() {
        let (_folder, tracking) = tracking().await;
        for i in 0..7 {
            let tags = BTreeMap::from([("parity".to_owned(), (i % 2).to_string())]);
            tracking.create_experiment(&format!("e{i}"), None, tags).await.unwrap();
        }
        let mut search = Search {
            filter: "tags.parity = '1' OR name = 'e0'".into(),
            order_by: vec!["name DESC".into()],
            max_results: Some(2),
            ..Search::default()
        };
        let mut names = Vec::new();
        loop {
            let found = tracking.search_experiments(&search).await.unwrap();
            names.extend(found.items.into_iter().map(|experiment| experiment.name));
            match found.next_page_token {
                Some(token) => search.page_token = token,
                None => break,
            }
        }
        assert_eq!(names, ["e5", "e3", "e1", "e0"]);
        search.order_by = vec![];
        assert!(matches!(tracking.search_experiments(&search).await, Err(Error::PageToken { .. })));
        let deleted = Search { view: View::Deleted, ..Search::default() };
        assert!(tracking.search_experiments(&deleted).await.unwrap().items.is_empty());
    }

    #[tokio::test]
    async fn artifacts_stay_within_the_server() {
        let (_folder, tracking) = tracking().await;
        for location in [
            "file:///etc",
            "/etc",
            "s3://bucket/x",
            "mlflow-artifacts:/../x",
            "mlflow-artifacts:/a#b",
            "x;y",
            "mlflow-artifacts://host/x",
        ] {
            let made = tracking.create_experiment("x", Some(location), BTreeMap::new()).await;
            assert!(made.is_err(), "{location}");
        }
        tracking.create_experiment("x", Some("mlflow-artifacts:/mine"), BTreeMap::new()).await.unwrap();
    }
}
