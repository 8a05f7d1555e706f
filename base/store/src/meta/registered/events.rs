//! What is told of changes in the registry, in the words of MLflow's webhooks.
//!
//! A registered model with MLflow's tag for prompts is a prompt, and is told of as one.

use std::collections::BTreeMap;

use rondo_core::{Digest, Timestamp};
use serde_json::{Map, Value, json};
use sqlx::{Row, SqliteConnection};

use super::{ClientVersion, Tagged};
use crate::Error;
use crate::meta::webhooks::{announce, anybody};

const IS_PROMPT: &str = "mlflow.prompt.is_prompt";
const PROMPT_TYPE: &str = "_mlflow_prompt_type";
const PROMPT_TEXT: &str = "mlflow.prompt.text";

/// A model was made.
pub(super) async fn model_created(
    conn: &mut SqliteConnection,
    name: &str,
    tags: &[(String, String)],
    description: &str,
    at: Timestamp,
) -> Result<(), Error> {
    if !anybody(conn).await? {
        return Ok(());
    }
    let prompt = tags.iter().any(|(key, _)| key == IS_PROMPT);
    let data = json!({ "name": name, "tags": shown(tags, prompt), "description": description });
    let event = if prompt { "prompt.created" } else { "registered_model.created" };
    announce(conn, event, &data, at).await
}

/// A client made a version.
pub(super) async fn version_created(
    conn: &mut SqliteConnection,
    model: &str,
    number: i64,
    version: &ClientVersion,
    tags: &[(String, String)],
    description: &str,
    at: Timestamp,
) -> Result<(), Error> {
    if !anybody(conn).await? {
        return Ok(());
    }
    let description = Some(description).filter(|description| !description.is_empty());
    let number = number.to_string();
    if tags.iter().any(|(key, _)| key == IS_PROMPT) {
        let template = tags.iter().find(|(key, _)| key == PROMPT_TEXT).map(|(_, text)| text);
        let data = json!({
            "name": model, "version": number, "template": template, "tags": shown(tags, true),
            "description": description,
        });
        return announce(conn, "prompt_version.created", &data, at).await;
    }
    let data = json!({
        "name": model, "version": number, "source": version.source, "run_id": version.run,
        "tags": shown(tags, false), "description": description,
    });
    announce(conn, "model_version.created", &data, at).await
}

/// A pipeline registered a version.
pub(in crate::meta) async fn version_registered(
    conn: &mut SqliteConnection,
    model: &str,
    number: i64,
    run: &str,
    at: Timestamp,
) -> Result<(), Error> {
    if !anybody(conn).await? {
        return Ok(());
    }
    let data = json!({
        "name": model, "version": number.to_string(), "source": format!("runs:/{run}"), "run_id": run,
        "tags": {}, "description": null,
    });
    announce(conn, "model_version.created", &data, at).await
}

/// A tag was set, or taken away.
pub(super) async fn tagged(
    conn: &mut SqliteConnection,
    what: &Tagged,
    key: &str,
    value: Option<&str>,
    at: Timestamp,
) -> Result<(), Error> {
    if !anybody(conn).await? {
        return Ok(());
    }
    let (Tagged::Model(model) | Tagged::Version(model, _)) = what;
    let entity = match (what, is_prompt(conn, model).await?) {
        (Tagged::Version(..), false) => "model_version_tag",
        (Tagged::Version(..), true) => "prompt_version_tag",
        (Tagged::Model(_), true) => "prompt_tag",
        // MLflow has no such event.
        (Tagged::Model(_), false) => return Ok(()),
    };
    let mut data = Map::from_iter([("name".to_owned(), json!(model))]);
    if let Tagged::Version(_, number) = what {
        data.insert("version".to_owned(), json!(number.to_string()));
    }
    data.insert("key".to_owned(), json!(key));
    data.extend(value.map(|value| ("value".to_owned(), json!(value))));
    let action = if value.is_some() { "set" } else { "deleted" };
    announce(conn, &format!("{entity}.{action}"), &Value::Object(data), at).await
}

/// A ref has moved; of one that is an alias it is told.
pub(in crate::meta) async fn moved(
    conn: &mut SqliteConnection,
    name: &str,
    to: Option<Digest>,
    at: Timestamp,
) -> Result<(), Error> {
    let Some((model, alias)) = name.strip_prefix("model/").and_then(|name| name.rsplit_once('@')) else {
        return Ok(());
    };
    if !anybody(conn).await? {
        return Ok(());
    }
    let entity = if is_prompt(conn, model).await? { "prompt_alias" } else { "model_version_alias" };
    let mut data = json!({ "name": model, "alias": alias });
    let Some(to) = to else { return announce(conn, &format!("{entity}.deleted"), &data, at).await };
    let row = sqlx::query("SELECT version FROM model_version WHERE model = $1 AND digest = $2")
        .bind(model)
        .bind(to.hex())
        .fetch_optional(&mut *conn)
        .await?;
    let Some(row) = row else { return Ok(()) };
    data["version"] = json!(row.try_get::<i64, _>("version")?.to_string());
    announce(conn, &format!("{entity}.created"), &data, at).await
}

async fn is_prompt(conn: &mut SqliteConnection, model: &str) -> Result<bool, Error> {
    let row = sqlx::query("SELECT 1 FROM model_tag WHERE model = $1 AND key = $2 AND lower(value) = 'true'")
        .bind(model)
        .bind(IS_PROMPT)
        .fetch_optional(conn)
        .await?;
    Ok(row.is_some())
}

/// The tags that people wrote.
fn shown(tags: &[(String, String)], prompt: bool) -> BTreeMap<&str, &str> {
    let own = |key: &str| prompt && [IS_PROMPT, PROMPT_TYPE, PROMPT_TEXT].contains(&key);
    tags.iter().filter(|(key, _)| !own(key)).map(|(key, value)| (key.as_str(), value.as_str())).collect()
}
