//! Models that clients log: a row of their own, with files of their own, beside the run.
//!
//! As with MLflow a deleted one is not found, and takes what is said of it still.

mod token;

use rondo_store::meta::logged_models::{LoggedModel, LoggedModelRecord, ModelFacts};
use rondo_store::meta::search::{Condition, Field, Order, Query, Room, Scope, Test};
use serde_json::{Value, json};

use crate::artifacts::{Place, clean};
use crate::tracking::{Found, Search};
use crate::{Error, Tracking, filter, limits, page};

/// Rows of a page, unless it is said.
const PAGE: u32 = 50;
/// Rows of a page, at most.
const PAGE_MAX: u32 = 50_000;
/// Points of metrics on a page, at most: it ends earlier where its models have more, but never without one.
/// All points of a model are shown with it, some hundred bytes each.
const POINTS_MAX: u64 = if cfg!(test) { 4 } else { 100_000 };

/// The tag that lists the versions that a logged model was registered as.
const REGISTERED: &str = "mlflow.modelVersions";

/// A logged model with all that was logged of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Logged {
    /// The row.
    pub row: LoggedModel,
    /// Where its files are, as MLflow clients see it.
    pub artifact_uri: String,
    /// Parameters, tags, metrics.
    pub facts: ModelFacts,
}

impl Logged {
    /// A place among its files.
    ///
    /// # Errors
    /// When the path leaves their root, or that is none of the server's roots.
    pub fn place(&self, tracking: &Tracking, path: &str) -> Result<Place, Error> {
        tracking.roots().owned(&self.row.id, &self.artifact_uri, &clean(path)?)
    }
}

/// What a client says of a model that it is about to log.
#[derive(Debug, Clone, Default)]
pub struct NewModel {
    /// The experiment's id.
    pub experiment: String,
    /// Its name; one is made up where there is none.
    pub name: Option<String>,
    /// Its type.
    pub model_type: String,
    /// The run that logs it.
    pub run: Option<String>,
    /// Parameters.
    pub params: Vec<(String, String)>,
    /// Tags.
    pub tags: Vec<(String, String)>,
}

/// An order that looks at metrics of one dataset.
#[derive(Debug, Clone, Default)]
pub struct ScopedOrder {
    /// The field's text, without a direction.
    pub field: String,
    /// Least first.
    pub ascending: bool,
    /// The dataset, where one is given.
    pub scope: Option<Scope>,
}

impl Tracking {
    /// Begins a logged model: its files come after, then its status.
    ///
    /// # Errors
    /// When the experiment does not exist, or something is out of bounds.
    pub async fn create_logged_model(&self, new: NewModel) -> Result<Logged, Error> {
        let experiment = self.active_experiment(&new.experiment).await?;
        if let Some(run) = &new.run {
            // A name and no more: a run may be another server's.
            limits::length("source_run_id", run, limits::KEY)?;
        }
        let name = new.name.filter(|name| !name.is_empty()).unwrap_or_else(crate::naming::run_name);
        if name.contains(['/', ':', '.', '%', '"', '\'']) {
            let reason = "Model name must be a non-empty string and cannot contain the following characters: ('/', ':', \
                          '.', '%', '\"', \"'\")";
            return Err(limits::invalid("model name", &name, reason));
        }
        limits::length("name", &name, limits::KEY)?;
        check(&new.params, &new.tags)?;
        let now = self.now();
        let row = LoggedModel {
            id: format!("m-{}", rondo_core::RunId::random().hex()),
            experiment: experiment.id,
            run: new.run,
            name,
            status: "PENDING".to_owned(),
            created: now,
            updated: now,
            deleted: false,
            record: LoggedModelRecord { model_type: new.model_type },
        };
        self.meta().create_logged_model(&row, new.params, new.tags).await?;
        self.logged_model(&row.id).await
    }

    /// A logged model that is not deleted.
    ///
    /// # Errors
    /// When there is none.
    pub async fn logged_model(&self, id: &str) -> Result<Logged, Error> {
        match self.logged_model_or_deleted(id).await {
            Ok(model) if model.row.deleted => Err(Error::LoggedModelNotFound { id: id.to_owned() }),
            found => found,
        }
    }

    /// A logged model, also one that is deleted.
    ///
    /// # Errors
    /// When there never was one.
    pub async fn logged_model_or_deleted(&self, id: &str) -> Result<Logged, Error> {
        let missing = || Error::LoggedModelNotFound { id: id.to_owned() };
        let row = self.meta().logged_model(id).await?.ok_or_else(missing)?;
        let mut all = self.with_model_facts(vec![row]).await?;
        all.pop().ok_or_else(missing)
    }

    /// Where a logged model's files are, also of a deleted one: they stay as long as a version needs them.
    ///
    /// # Errors
    /// When there is none.
    pub async fn model_home(&self, id: &str) -> Result<String, Error> {
        let row = self.meta().logged_model(id).await?;
        let row = row.ok_or_else(|| Error::LoggedModelNotFound { id: id.to_owned() })?;
        let experiment = self.experiment(&row.experiment.to_string()).await?;
        Ok(crate::artifacts::model_root(&experiment.artifact_location, &row.id))
    }

    /// Sets a logged model's status: `PENDING`, `READY` or `UPLOAD_FAILED`.
    ///
    /// # Errors
    /// When there is none.
    pub async fn finish_logged_model(&self, id: &str, status: &str) -> Result<Logged, Error> {
        self.logged_model_or_deleted(id).await?;
        self.meta().update_logged_model(id, Some(status.to_owned()), None, self.now()).await?;
        self.logged_model_or_deleted(id).await
    }

    /// Deletes a logged model (softly).
    ///
    /// # Errors
    /// When there is none.
    pub async fn delete_logged_model(&self, id: &str) -> Result<(), Error> {
        self.logged_model_or_deleted(id).await?;
        Ok(self.meta().update_logged_model(id, None, Some(true), self.now()).await?)
    }

    /// Sets tags of a logged model.
    ///
    /// # Errors
    /// When there is none, or a tag is out of bounds.
    pub async fn tag_logged_model(&self, id: &str, tags: Vec<(String, String)>) -> Result<(), Error> {
        check(&[], &tags)?;
        self.logged_model_or_deleted(id).await?;
        Ok(self.meta().tag_logged_model(id, tags).await?)
    }

    /// Notes on a logged model that it was registered as a version, as clients look for it there.
    ///
    /// # Errors
    /// When there is none.
    pub async fn note_registration(&self, id: &str, name: &str, version: i64) -> Result<(), Error> {
        self.logged_model(id).await?;
        let new = json!({ "name": name, "version": version });
        let amend = move |known: Option<&str>| {
            // Clients write entries of their own here, in whatever form: what cannot be read is left alone.
            let mut entries: Vec<Value> = match known.map(serde_json::from_str) {
                None => Vec::new(),
                Some(entries) => entries.ok()?,
            };
            if !entries.contains(&new) {
                entries.push(new);
            }
            Some(spaced(&Value::Array(entries)))
        };
        Ok(self.meta().amend_logged_model_tag(id, REGISTERED, amend).await?)
    }

    /// Takes a tag of a logged model away.
    ///
    /// # Errors
    /// When there is no such model or tag.
    pub async fn untag_logged_model(&self, id: &str, key: &str) -> Result<(), Error> {
        self.logged_model_or_deleted(id).await?;
        if self.meta().untag_logged_model(id, key).await? {
            return Ok(());
        }
        Err(Error::ModelTagNotFound { key: key.to_owned(), model: id.to_owned() })
    }

    /// Logs parameters of a logged model: all of them or none.
    ///
    /// # Errors
    /// When there is none, or a parameter is out of bounds or stands with another value.
    pub async fn log_model_params(&self, id: &str, params: Vec<(String, String)>) -> Result<(), Error> {
        check(&params, &[])?;
        self.logged_model_or_deleted(id).await?;
        Ok(self.meta().log_model_params(id, params).await?)
    }

    /// Logged models of these experiments that match; with scopes only metrics of those datasets count.
    ///
    /// # Errors
    /// When the filter, an order or the page token cannot be understood.
    pub async fn search_logged_models(
        &self,
        experiments: &[String],
        search: &Search,
        order: &[ScopedOrder],
        scopes: &[Scope],
    ) -> Result<Found<Logged>, Error> {
        let mut keys: Vec<Order> = Vec::with_capacity(order.len());
        for key in order {
            for mut parsed in filter::order(Room::LoggedModels, std::slice::from_ref(&key.field))? {
                if let (Field::Metric(_, of), Some(scope)) = (&mut parsed.field, &key.scope) {
                    of.push(scope.clone());
                }
                keys.push(Order { descending: !key.ascending, ..parsed });
            }
        }
        let mut condition = filter::parse(Room::LoggedModels, &search.filter)?;
        let measured = narrow(&mut condition, scopes);
        let mut all = vec![condition, search.seen.clone()];
        if !measured && !scopes.is_empty() {
            // No metric is asked for: then any counts that was measured on one of the datasets.
            all.push(Condition::Test(Field::Measured(scopes.to_vec()), Test::Present));
        }
        let ids = page::experiments(experiments)?;
        let asked = token::Asked::new(experiments, &search.filter, order);
        let mut query = Query {
            experiments: Some(ids),
            filter: Condition::All(all),
            order: keys,
            after: asked.place(&search.page_token)?,
            ..Query::all(Room::LoggedModels, page::size(search.max_results, PAGE, PAGE_MAX)?)
        };
        let mut page = self.meta().search_logged_models(&query).await?.ok_or_else(page::foreign)?;
        let found: Vec<String> = page.items.iter().map(|model| model.id.clone()).collect();
        let within = self.meta().models_within(&found, POINTS_MAX).await?.max(1);
        if within < found.len() {
            // Asked again for the place where the shorter page ends.
            query.limit = u32::try_from(within).unwrap_or(query.limit);
            page = self.meta().search_logged_models(&query).await?.ok_or_else(page::foreign)?;
        }
        let items = self.with_model_facts(page.items).await?;
        Ok(Found { items, next_page_token: page.next.map(|place| asked.token(&place)) })
    }

    pub(crate) async fn with_model_facts(&self, rows: Vec<LoggedModel>) -> Result<Vec<Logged>, Error> {
        let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
        let mut facts = self.meta().model_facts(&ids).await?;
        let mut models = Vec::with_capacity(rows.len());
        for row in rows {
            let experiment = self.experiment(&row.experiment.to_string()).await?;
            models.push(Logged {
                artifact_uri: crate::artifacts::model_root(&experiment.artifact_location, &row.id),
                facts: facts.remove(&row.id).unwrap_or_default(),
                row,
            });
        }
        Ok(models)
    }
}

/// Lets every test of a metric count those of these datasets only; whether there is one.
fn narrow(condition: &mut Condition, scopes: &[Scope]) -> bool {
    match condition {
        Condition::All(parts) | Condition::Any(parts) => {
            // Each of them is narrowed, also after one was found.
            parts.iter_mut().map(|part| narrow(part, scopes)).filter(|found| *found).count() > 0
        }
        Condition::Not(inner) => narrow(inner, scopes),
        Condition::Test(Field::Metric(_, of), _) => {
            of.extend_from_slice(scopes);
            true
        }
        Condition::Test(..) => false,
    }
}

/// JSON as Python writes it, with a space after each comma and colon: clients compare the text.
fn spaced(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(spaced).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let field =
                |(key, value): (&String, &Value)| format!("{}: {}", Value::from(key.as_str()), spaced(value));
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

fn check(params: &[(String, String)], tags: &[(String, String)]) -> Result<(), Error> {
    for (key, value) in params {
        limits::param_name(key)?;
        limits::length("value", value, limits::PARAM_VALUE)?;
    }
    for (key, value) in tags {
        limits::tag_name(key)?;
        limits::length("value", value, limits::TAG_VALUE)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rondo_store::meta::batch::Batch;
    use rondo_store::meta::metrics::{Context, Point};

    use super::*;
    use crate::runs::NewRun;
    use crate::tracking::fixture::tracking;

    #[tokio::test]
    async fn a_page_ends_before_its_points_are_too_many_and_the_next_goes_on() {
        let (_folder, tracking) = tracking().await;
        let run = NewRun { experiment: "0".into(), ..NewRun::default() };
        let run = tracking.create_run(run).await.unwrap().row.id.hex();
        let mut made = Vec::new();
        for points in [1, 6, 2, 1] {
            let new = NewModel { experiment: "0".into(), ..NewModel::default() };
            let model = tracking.create_logged_model(new).await.unwrap().row.id;
            let context = Context { model: model.clone(), ..Context::default() };
            let point = |step| (context.clone(), "m".to_owned(), Point { timestamp: 1, step, value: 0.5 });
            let batch = Batch { measured: (0..points).map(point).collect(), ..Batch::default() };
            tracking.log_batch(&run, batch).await.unwrap();
            made.push((model, points as usize));
        }
        let (mut pages, mut search) = (Vec::new(), Search::default());
        loop {
            let page = tracking.search_logged_models(&["0".into()], &search, &[], &[]).await.unwrap();
            let shown = |model: &Logged| (model.row.id.clone(), model.facts.metrics.len());
            pages.push(page.items.iter().map(shown).collect::<Vec<_>>());
            match page.next_page_token {
                Some(token) => search.page_token = token,
                None => break,
            }
        }
        assert!(
            pages
                .iter()
                .all(|page| page.len() == 1 || page.iter().map(|(_, points)| points).sum::<usize>() <= 4)
        );
        let mut all: Vec<_> = pages.concat();
        assert!(pages.len() >= 3 && all.len() == made.len(), "{pages:?}");
        all.sort();
        made.sort();
        assert_eq!(all, made);
    }

    #[tokio::test]
    async fn registrations_are_added_to_what_clients_wrote_there() {
        let (_folder, tracking) = tracking().await;
        let new = NewModel { experiment: "0".into(), ..NewModel::default() };
        let id = tracking.create_logged_model(new).await.unwrap().row.id;
        tracking.note_registration(&id, "m", 1).await.unwrap();
        let tags = || async { tracking.logged_model(&id).await.unwrap().facts.tags[REGISTERED].clone() };
        assert_eq!(tags().await, r#"[{"name": "m", "version": 1}]"#);
        let theirs = r#"[{"name": "m", "version": "1"}]"#.to_owned();
        tracking.tag_logged_model(&id, vec![(REGISTERED.to_owned(), theirs)]).await.unwrap();
        tracking.note_registration(&id, "m", 2).await.unwrap();
        tracking.note_registration(&id, "m", 2).await.unwrap();
        assert_eq!(tags().await, r#"[{"name": "m", "version": "1"}, {"name": "m", "version": 2}]"#);
        tracking.tag_logged_model(&id, vec![(REGISTERED.to_owned(), "words".to_owned())]).await.unwrap();
        tracking.note_registration(&id, "m", 3).await.unwrap();
        assert_eq!(tags().await, "words");
    }

    #[tokio::test]
    async fn a_dataset_alone_finds_the_models_that_were_measured_on_it() {
        let (_folder, tracking) = tracking().await;
        let new =
            |run: &str| NewModel { experiment: "0".into(), run: Some(run.to_owned()), ..NewModel::default() };
        // The run may be another server's.
        let one = tracking.create_logged_model(new("123")).await.unwrap();
        assert_eq!(one.row.run.as_deref(), Some("123"));
        let two = tracking.create_logged_model(new("124")).await.unwrap();
        assert!(tracking.create_logged_model(new(&"x".repeat(300))).await.is_err());
        let scopes = [Scope { name: Some("d".into()), digest: None }];
        let found = async |filter: &str, scopes: &[Scope]| {
            let search = Search { filter: filter.to_owned(), ..Search::default() };
            let found = tracking.search_logged_models(&["0".to_owned()], &search, &[], scopes).await.unwrap();
            found.items.into_iter().map(|model| model.row.id).collect::<Vec<_>>()
        };
        assert_eq!(found("", &[]).await.len(), 2);
        assert!(found("", &scopes).await.is_empty());
        let by_name = format!("name = '{}'", two.row.name);
        assert!(found(&by_name, &scopes).await.is_empty());
        assert_eq!(found(&by_name, &[]).await, std::slice::from_ref(&two.row.id));
    }
}
