//! What is read of databases of old releases, of broken ones and of others.

use super::*;
use crate::meta::metrics::Point;

/// What a release 1 of MLflow made: no steps of inputs, no logged models, no aliases, no workspaces.
const OLD: &str = "
CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name TEXT, artifact_location TEXT, lifecycle_stage TEXT);
CREATE TABLE runs (run_uuid TEXT PRIMARY KEY, name TEXT, user_id TEXT, status TEXT, start_time BIGINT,
    end_time BIGINT, lifecycle_stage TEXT, artifact_uri TEXT, experiment_id INTEGER);
CREATE TABLE metrics (key TEXT, value FLOAT, timestamp BIGINT, run_uuid TEXT, is_nan BOOLEAN);
CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);
CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT);
CREATE TABLE registered_models (name TEXT PRIMARY KEY, creation_time BIGINT, last_updated_time BIGINT, description TEXT);
CREATE TABLE model_versions (name TEXT, version INTEGER, creation_time BIGINT, last_updated_time BIGINT,
    description TEXT, user_id TEXT, current_stage TEXT, source TEXT, run_id TEXT, status TEXT);
INSERT INTO experiments VALUES (0, 'Default', './mlruns/0', 'active');
INSERT INTO runs VALUES ('b', 'second', NULL, 'FAILED', 3, NULL, 'deleted', 'x', 0), ('a', NULL, 'u', 'FINISHED', 1, 2, 'active', 'y', 0);
INSERT INTO metrics VALUES ('m', 1, 10, 'a', 0), ('m', 0.0, 11, 'a', 1), ('n', 0.25, 10, 'a', 0);
INSERT INTO params VALUES ('p', 7, 'a'), ('../../etc/passwd', 'x', 'a');
INSERT INTO registered_models VALUES ('clf', 1, NULL, NULL);
INSERT INTO model_versions VALUES ('clf', 1, 1, NULL, NULL, NULL, 'Production', 'models:/m-1', 'a', 'READY'),
    ('clf', 2, 1, NULL, NULL, NULL, 'Deleted_Internal', 'x', NULL, 'READY');
";

async fn database(sql: &'static str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mlflow.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    (folder, path)
}

#[tokio::test]
async fn an_old_release_is_read_with_what_it_has() {
    let (_folder, path) = database(OLD).await;
    let mut source = MlflowDb::open(&path).await.unwrap();
    assert_eq!(source.outline().await.unwrap(), Outline { runs: 2, traces: 0 });
    assert_eq!(source.experiments().await.unwrap()[0].id, "0");
    let runs = source.runs().await.unwrap();
    assert_eq!(runs.iter().map(|run| run.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((runs[0].points, runs[0].ended, runs[1].deleted), (3, Some(2), true));
    assert_eq!(runs[0].params, [("../../etc/passwd".into(), "x".into()), ("p".into(), "7".into())]);
    assert!(source.runs().await.unwrap().is_empty());
    let series = source.history("a").await.unwrap();
    assert_eq!(series[0].points[0], Point { timestamp: 10, step: 0, value: 1.0 });
    assert!(series[0].points[1].value.is_nan());
    assert!(source.logged_models().await.unwrap().is_empty());
    let models = source.models().await.unwrap();
    assert_eq!((models[0].versions.len(), models[0].last), (1, 2));
    assert_eq!(models[0].versions[0].model_id.as_deref(), Some("m-1"));
}

#[tokio::test]
async fn what_is_no_database_of_mlflows_is_refused_and_never_written() {
    let (folder, path) = database("CREATE TABLE experiments (x TEXT);").await;
    assert!(matches!(MlflowDb::open(&path).await, Err(Error::NotMlflow { table: "runs", .. })));
    let broken = folder.path().join("broken.db");
    std::fs::write(&broken, b"SQLite format 3\0 and nothing more").unwrap();
    assert!(matches!(MlflowDb::open(&broken).await, Err(Error::Foreign { .. })));
    assert!(matches!(MlflowDb::open(&folder.path().join("none.db")).await, Err(Error::Foreign { .. })));
    assert!(!folder.path().join("none.db").exists());

    let (_folder, path) = database(OLD).await;
    let mut source = MlflowDb::open(&path).await.unwrap();
    let written = source.rows("DELETE FROM runs", None).await;
    assert!(matches!(written, Err(Error::Foreign { .. })), "{written:?}");
}
