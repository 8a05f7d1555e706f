//! MLflow's own SQLite database, of releases 2 and 3, read only.
//!
//! Another process may have it open and write to it: it is opened read only, read a page at a time and never
//! held between pages. Columns and tables that a release does not have yet are taken for empty. The SQL is
//! SQLite's alone (`pragma_table_info`, `json_each`): the file is.

mod series;
mod traces;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

use super::Version;
use super::{DELETED_STAGE, Experiment, LoggedModel, Model, ModelMetric, Outline, Pairs, Run, RunInput};
use crate::Error;

/// Runs or logged models of a page.
const PAGE: i64 = 256;
/// How long a writer of the other program is waited for.
const WAIT: Duration = Duration::from_secs(60);
/// The workspace that names need no prefix for.
const WORKSPACE: &str = "default";

/// A database of MLflow's, open for reading.
pub struct MlflowDb {
    path: PathBuf,
    connection: SqliteConnection,
    columns: HashMap<String, HashSet<String>>,
    last_run: Option<String>,
    last_model: Option<String>,
    last_trace: Option<String>,
    /// Opened with the first series that is read.
    series: Option<rusqlite::Connection>,
}

impl MlflowDb {
    /// Opens it.
    ///
    /// # Errors
    /// When the file cannot be read or is no database of MLflow's.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .read_only(true)
            .create_if_missing(false)
            .busy_timeout(WAIT)
            .disable_statement_logging();
        let refuse = |error: sqlx::Error| Error::Foreign { path: path.to_owned(), source: error.into() };
        let mut connection = SqliteConnection::connect_with(&options).await.map_err(refuse)?;
        let rows = sqlx::query(
            "SELECT m.name AS entity, c.name AS field FROM sqlite_master m JOIN pragma_table_info(m.name) c
             WHERE m.type = 'table'",
        )
        .fetch_all(&mut connection)
        .await
        .map_err(refuse)?;
        let mut columns: HashMap<String, HashSet<String>> = HashMap::new();
        for row in &rows {
            columns.entry(text(row, 0)).or_default().insert(text(row, 1));
        }
        for table in ["experiments", "runs", "metrics", "params", "tags"] {
            if !columns.contains_key(table) {
                return Err(Error::NotMlflow { path: path.to_owned(), table });
            }
        }
        Ok(Self {
            path: path.to_owned(),
            connection,
            columns,
            last_run: None,
            last_model: None,
            last_trace: None,
            series: None,
        })
    }

    /// How much there is.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn outline(&mut self) -> Result<Outline, Error> {
        let runs = self.count("SELECT COUNT(*) FROM runs").await?;
        let traces =
            if self.has("trace_info") { self.count("SELECT COUNT(*) FROM trace_info").await? } else { 0 };
        Ok(Outline { runs, traces })
    }

    /// All experiments, deleted ones too.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn experiments(&mut self) -> Result<Vec<Experiment>, Error> {
        let statement = self.select(
            "experiments",
            &["experiment_id", "name", "artifact_location", "lifecycle_stage"],
            &[("creation_time", "0"), ("last_update_time", "0"), ("workspace", "'default'")],
            "ORDER BY experiment_id",
        );
        let rows = self.rows(&statement, None).await?;
        let mut tags: HashMap<String, Pairs> = HashMap::new();
        if self.has("experiment_tags") {
            for row in self.rows("SELECT experiment_id, key, value FROM experiment_tags", None).await? {
                tags.entry(text(&row, 0)).or_default().push((text(&row, 1), text(&row, 2)));
            }
        }
        let of = |row: &SqliteRow| {
            let id = text(row, 0);
            Experiment {
                name: in_workspace(row, 6, text(row, 1), '/'),
                artifact_location: text(row, 2),
                deleted: text(row, 3) == "deleted",
                created: int(row, 4),
                updated: int(row, 5),
                tags: tags.remove(&id).unwrap_or_default(),
                id,
            }
        };
        Ok(rows.iter().map(of).collect())
    }

    /// The next page of runs by id, deleted ones too; empty at the end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn runs(&mut self) -> Result<Vec<Run>, Error> {
        let after = self.last_run.clone().unwrap_or_default();
        let statement = format!(
            "SELECT run_uuid, name, user_id, status, start_time, end_time, lifecycle_stage, artifact_uri,
             experiment_id FROM runs WHERE run_uuid > $1 ORDER BY run_uuid LIMIT {PAGE}"
        );
        let rows = self.rows(&statement, Some(&after)).await?;
        let of = |row: &SqliteRow| Run {
            id: text(row, 0),
            name: text(row, 1),
            user: text(row, 2),
            status: text(row, 3),
            started: int(row, 4),
            ended: optional_int(row, 5),
            deleted: text(row, 6) == "deleted",
            artifact_uri: text(row, 7),
            experiment: text(row, 8),
            ..Run::default()
        };
        let mut runs: Vec<Run> = rows.iter().map(of).collect();
        let Some(last) = runs.last() else { return Ok(runs) };
        self.last_run = Some(last.id.clone());
        let ids = list(runs.iter().map(|run| run.id.as_str()));
        let mut params = self.pairs("params", "run_uuid", "key", "value", &ids).await?;
        let mut tags = self.pairs("tags", "run_uuid", "key", "value", &ids).await?;
        let mut inputs = self.inputs(&ids).await?;
        let mut metrics: HashMap<String, Vec<(String, u64)>> = HashMap::new();
        let counted = "SELECT run_uuid, key, COUNT(*) FROM metrics
             WHERE run_uuid IN (SELECT value FROM json_each($1)) GROUP BY run_uuid, key";
        for row in self.rows(counted, Some(&ids)).await? {
            let count = u64::try_from(int(&row, 2)).unwrap_or_default();
            metrics.entry(text(&row, 0)).or_default().push((text(&row, 1), count));
        }
        for run in &mut runs {
            run.params = params.remove(&run.id).unwrap_or_default();
            run.tags = tags.remove(&run.id).unwrap_or_default();
            run.inputs = inputs.remove(&run.id).unwrap_or_default();
            let of = metrics.remove(&run.id).unwrap_or_default();
            run.points = of.iter().map(|(_, count)| count).sum();
            run.metrics = of.into_iter().map(|(key, _)| key).collect();
        }
        Ok(runs)
    }

    /// The next page of logged models by id, deleted ones too; empty at the end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn logged_models(&mut self) -> Result<Vec<LoggedModel>, Error> {
        if !self.has("logged_models") {
            return Ok(Vec::new());
        }
        let after = self.last_model.clone().unwrap_or_default();
        let statement = format!(
            "SELECT model_id, experiment_id, name, artifact_location, creation_timestamp_ms,
             last_updated_timestamp_ms, status, lifecycle_stage, model_type, source_run_id
             FROM logged_models WHERE model_id > $1 ORDER BY model_id LIMIT {PAGE}"
        );
        let rows = self.rows(&statement, Some(&after)).await?;
        let of = |row: &SqliteRow| LoggedModel {
            id: text(row, 0),
            experiment: text(row, 1),
            name: text(row, 2),
            artifact_uri: text(row, 3),
            created: int(row, 4),
            updated: int(row, 5),
            status: super::model_status(int(row, 6)).to_owned(),
            deleted: text(row, 7) == "deleted",
            model_type: text(row, 8),
            run: optional(row, 9),
            ..LoggedModel::default()
        };
        let mut models: Vec<LoggedModel> = rows.iter().map(of).collect();
        let Some(last) = models.last() else { return Ok(models) };
        self.last_model = Some(last.id.clone());
        let ids = list(models.iter().map(|model| model.id.as_str()));
        let mut params =
            self.pairs("logged_model_params", "model_id", "param_key", "param_value", &ids).await?;
        let mut tags = self.pairs("logged_model_tags", "model_id", "tag_key", "tag_value", &ids).await?;
        let mut metrics: HashMap<String, Vec<ModelMetric>> = HashMap::new();
        let measured = "SELECT model_id, run_id, metric_name, dataset_name, dataset_digest,
             metric_timestamp_ms, metric_step, metric_value FROM logged_model_metrics
             WHERE model_id IN (SELECT value FROM json_each($1)) ORDER BY rowid";
        for row in self.rows(measured, Some(&ids)).await? {
            metrics.entry(text(&row, 0)).or_default().push(ModelMetric {
                run: text(&row, 1),
                key: text(&row, 2),
                dataset_name: text(&row, 3),
                dataset_digest: text(&row, 4),
                timestamp: int(&row, 5),
                step: int(&row, 6),
                value: row.try_get_unchecked::<Option<f64>, _>(7).ok().flatten(),
            });
        }
        for model in &mut models {
            model.params = params.remove(&model.id).unwrap_or_default();
            model.tags = tags.remove(&model.id).unwrap_or_default();
            model.metrics = metrics.remove(&model.id).unwrap_or_default();
        }
        Ok(models)
    }

    /// All registered models with their versions.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn models(&mut self) -> Result<Vec<Model>, Error> {
        if !self.has("registered_models") {
            return Ok(Vec::new());
        }
        let workspace: &[(&str, &str)] = &[("workspace", "'default'")];
        let named = ["name", "creation_time", "last_updated_time", "description"];
        let statement = self.select("registered_models", &named, workspace, "ORDER BY name");
        let mut models: BTreeMap<String, Model> = BTreeMap::new();
        for row in self.rows(&statement, None).await? {
            let name = in_workspace(&row, 4, text(&row, 0), '.');
            let created = int(&row, 1);
            let updated = optional_int(&row, 2).unwrap_or(created);
            let model = Model { created, updated, description: text(&row, 3), ..Model::default() };
            models.insert(name.clone(), Model { name, ..model });
        }
        if self.has("registered_model_tags") {
            let statement = self.select("registered_model_tags", &["name", "key", "value"], workspace, "");
            for row in self.rows(&statement, None).await? {
                if let Some(model) = models.get_mut(&in_workspace(&row, 3, text(&row, 0), '.')) {
                    model.tags.push((text(&row, 1), text(&row, 2)));
                }
            }
        }
        if self.has("registered_model_aliases") {
            let aliased = ["name", "alias", "version"];
            let statement = self.select("registered_model_aliases", &aliased, workspace, "ORDER BY alias");
            for row in self.rows(&statement, None).await? {
                if let Some(model) = models.get_mut(&in_workspace(&row, 3, text(&row, 0), '.')) {
                    model.aliases.push((text(&row, 1), int(&row, 2)));
                }
            }
        }
        self.versions(&mut models).await?;
        Ok(models.into_values().collect())
    }

    async fn versions(&mut self, models: &mut BTreeMap<String, Model>) -> Result<(), Error> {
        let mut tags: HashMap<(String, i64), Pairs> = HashMap::new();
        let workspace = ("workspace", "'default'");
        if self.has("model_version_tags") {
            let tagged = ["name", "version", "key", "value"];
            let statement = self.select("model_version_tags", &tagged, &[workspace], "");
            for row in self.rows(&statement, None).await? {
                let of = (in_workspace(&row, 4, text(&row, 0), '.'), int(&row, 1));
                tags.entry(of).or_default().push((text(&row, 2), text(&row, 3)));
            }
        }
        let statement = self.select(
            "model_versions",
            &["name", "version", "creation_time", "last_updated_time", "description", "user_id"],
            &[
                ("current_stage", "'None'"),
                ("source", "''"),
                ("run_id", "NULL"),
                ("run_link", "NULL"),
                ("storage_location", "NULL"),
                workspace,
            ],
            "ORDER BY name, version",
        );
        for row in self.rows(&statement, None).await? {
            let name = in_workspace(&row, 11, text(&row, 0), '.');
            let Some(model) = models.get_mut(&name) else { continue };
            let (number, created, source) = (int(&row, 1), int(&row, 2), text(&row, 7));
            model.last = model.last.max(number);
            let stage = text(&row, 6);
            if stage == DELETED_STAGE {
                continue;
            }
            model.versions.push(Version {
                number,
                created,
                updated: optional_int(&row, 3).unwrap_or(created),
                description: text(&row, 4),
                user: optional(&row, 5),
                stage,
                model_id: source
                    .strip_prefix("models:/")
                    .filter(|id| id.starts_with("m-"))
                    .map(str::to_owned),
                source,
                run: optional(&row, 8),
                run_link: optional(&row, 9),
                storage: optional(&row, 10),
                tags: tags.remove(&(name, number)).unwrap_or_default(),
            });
        }
        Ok(())
    }

    async fn inputs(&mut self, ids: &str) -> Result<HashMap<String, Vec<RunInput>>, Error> {
        let mut inputs: HashMap<String, Vec<RunInput>> = HashMap::new();
        if !self.has("inputs") {
            return Ok(inputs);
        }
        let tagged = "SELECT t.input_uuid, t.name, t.value FROM input_tags t
             JOIN inputs i ON i.input_uuid = t.input_uuid
             WHERE i.destination_id IN (SELECT value FROM json_each($1))";
        let mut tags: HashMap<String, Pairs> = HashMap::new();
        for row in self.rows(tagged, Some(ids)).await? {
            tags.entry(text(&row, 0)).or_default().push((text(&row, 1), text(&row, 2)));
        }
        let datasets = "SELECT i.destination_id, i.input_uuid, d.name, d.digest, d.dataset_source_type,
             d.dataset_source, d.dataset_schema, d.dataset_profile
             FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id
             WHERE i.source_type = 'DATASET' AND i.destination_type = 'RUN'
             AND i.destination_id IN (SELECT value FROM json_each($1)) ORDER BY i.input_uuid";
        for row in self.rows(datasets, Some(ids)).await? {
            let tags = tags.remove(&text(&row, 1)).unwrap_or_default();
            let fields = vec![
                ("name", optional(&row, 2)),
                ("digest", optional(&row, 3)),
                ("source_type", optional(&row, 4)),
                ("source", optional(&row, 5)),
                ("schema", optional(&row, 6)),
                ("profile", optional(&row, 7)),
            ];
            inputs.entry(text(&row, 0)).or_default().push(RunInput::dataset(fields, &tags));
        }
        let step = if self.has_column("inputs", "step") { "step" } else { "0" };
        let models = format!(
            "SELECT source_id, destination_id, source_type, {step} FROM inputs
             WHERE source_type IN ('RUN_INPUT', 'RUN_OUTPUT')
             AND source_id IN (SELECT value FROM json_each($1)) ORDER BY destination_id"
        );
        for row in self.rows(&models, Some(ids)).await? {
            let model = text(&row, 1);
            let input = match text(&row, 2).as_str() {
                "RUN_INPUT" => RunInput::model_input(&model),
                _ => RunInput::model_output(&model, int(&row, 3)),
            };
            inputs.entry(text(&row, 0)).or_default().push(input);
        }
        Ok(inputs)
    }

    /// Keys and values of owners. The names are this module's own.
    async fn pairs(
        &mut self,
        table: &str,
        owner: &str,
        key: &str,
        value: &str,
        ids: &str,
    ) -> Result<HashMap<String, Pairs>, Error> {
        let mut pairs: HashMap<String, Pairs> = HashMap::new();
        if !self.has(table) {
            return Ok(pairs);
        }
        let statement = format!(
            "SELECT {owner}, {key}, {value} FROM {table}
             WHERE {owner} IN (SELECT value FROM json_each($1)) ORDER BY {owner}, {key}"
        );
        for row in self.rows(&statement, Some(ids)).await? {
            pairs.entry(text(&row, 0)).or_default().push((text(&row, 1), text(&row, 2)));
        }
        Ok(pairs)
    }

    /// A selection of columns, of which the later ones may not be there yet: then it is what stands beside.
    fn select(&self, table: &str, columns: &[&str], later: &[(&str, &str)], rest: &str) -> String {
        let mut list: Vec<&str> = columns.to_vec();
        list.extend(later.iter().map(
            |(name, without)| {
                if self.has_column(table, name) { *name } else { *without }
            },
        ));
        format!("SELECT {} FROM {table} {rest}", list.join(", "))
    }

    fn has(&self, table: &str) -> bool {
        self.columns.contains_key(table)
    }

    fn has_column(&self, table: &str, column: &str) -> bool {
        self.columns.get(table).is_some_and(|columns| columns.contains(column))
    }

    async fn count(&mut self, statement: &'static str) -> Result<u64, Error> {
        let rows = self.rows(statement, None).await?;
        Ok(rows.first().and_then(|row| u64::try_from(int(row, 0)).ok()).unwrap_or_default())
    }

    /// The statement is made of this module's own words; what comes from outside is bound.
    async fn rows(&mut self, statement: &str, bound: Option<&str>) -> Result<Vec<SqliteRow>, Error> {
        let query = sqlx::query(AssertSqlSafe(statement.to_owned()));
        let query = if let Some(bound) = bound { query.bind(bound) } else { query };
        let rows = query.fetch_all(&mut self.connection).await;
        rows.map_err(|error| Error::Foreign { path: self.path.clone(), source: error.into() })
    }
}

fn list<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    serde_json::Value::from_iter(ids.map(str::to_owned)).to_string()
}

/// A name that is unique over workspaces: that of the default one is left as it is.
fn in_workspace(row: &SqliteRow, column: usize, name: String, between: char) -> String {
    let workspace = text(row, column);
    if workspace.is_empty() || workspace == WORKSPACE { name } else { format!("{workspace}{between}{name}") }
}

// SQLite's columns hold values of any type whatever they are declared as: what is no text or number of its
// own is read as SQLite converts it, and nothing as the empty text or 0.

fn optional(row: &SqliteRow, column: usize) -> Option<String> {
    row.try_get_unchecked::<Option<String>, _>(column).ok().flatten()
}

fn text(row: &SqliteRow, column: usize) -> String {
    optional(row, column).unwrap_or_default()
}

fn optional_int(row: &SqliteRow, column: usize) -> Option<i64> {
    row.try_get_unchecked::<Option<i64>, _>(column).ok().flatten()
}

fn int(row: &SqliteRow, column: usize) -> i64 {
    optional_int(row, column).unwrap_or_default()
}

#[cfg(test)]
mod tests;
