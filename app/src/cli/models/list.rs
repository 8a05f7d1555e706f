//! `rondo models list`.

use serde_json::json;

use crate::cli::Session;
use crate::cli::failure::Outcome;
use crate::cli::output::table;

/// List the registered models
#[derive(clap::Args)]
pub struct Args {}

/// Lists them.
///
/// # Errors
/// When there is no project or its store cannot be read.
pub async fn run(_: &Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    let meta = platform.store().meta();
    let mut rows: Vec<Vec<String>> =
        vec![["model", "versions", "champion", "challenger", "updated"].map(String::from).to_vec()];
    let mut values = Vec::new();
    for (name, updated) in meta.models().await? {
        let versions = meta.model_versions(&name).await?.len();
        let alias = async |alias: &str| -> Result<Option<u32>, rondo_store::Error> {
            Ok(meta.aliased_version(&name, alias).await?.map(|(_, version)| version.version))
        };
        let (champion, challenger) = (alias("champion").await?, alias("challenger").await?);
        let show = |version: Option<u32>| version.map_or_else(|| "–".to_owned(), |v| v.to_string());
        rows.push(vec![
            name.clone(),
            versions.to_string(),
            show(champion),
            show(challenger),
            updated.rfc3339(),
        ]);
        values.push(json!({
            "name": name, "versions": versions, "champion": champion, "challenger": challenger,
            "updated": updated,
        }));
    }
    session.printer().result(&json!({ "schema": 1, "models": values }), &table(&rows));
    Ok(())
}
