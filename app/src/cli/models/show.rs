//! `rondo models show`.

mod page;

use rondo_core::evaluation::Evaluation;
use rondo_store::meta::registered::Version;
use serde_json::{Value, json};

use super::shelf::{self, Shelf};
use crate::cli::Session;
use crate::cli::failure::Outcome;
use crate::cli::output::table;
use crate::platform::{Error, dossier};

/// Show a model's versions, or all that is known of one version
#[derive(clap::Args)]
pub struct Args {
    /// The model, or one version of it: `delay`, `delay@champion`, `delay/3`
    model: String,
    /// A version's number, or an alias such as `@champion`
    version: Option<String>,
    #[command(flatten)]
    shelf: Shelf,
}

/// Shows it.
///
/// # Errors
/// When there is no such model or version.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let store = args.shelf.open(session).await?;
    let (model, within) = shelf::parse(&args.model);
    if let Some(wanted) = args.version.as_deref().or(within) {
        let version = dossier::find(&store, model, Some(wanted)).await?;
        let record = version.record.clone();
        let known = dossier::dossier(&store, version).await?;
        let value = json!({ "schema": 1, "version": record, "dossier": known });
        session.printer().result(&value, &page::text(&known));
        return Ok(());
    }
    let versions = store.meta().versions(model).await?;
    if versions.is_empty() {
        // It says whether it is the model or its versions that are missing.
        dossier::find(&store, model, None).await?;
    }
    let aliases = store.meta().model_aliases(model).await?;
    let head = ["version", "alias", "created", "made by", "gate", "metrics", "run"];
    let mut rows: Vec<Vec<String>> = vec![head.map(String::from).to_vec()];
    for version in &versions {
        let named = aliases.iter().filter(|(_, to)| **to == version.digest);
        let named: Vec<&str> = named.map(|(alias, _)| alias.as_str()).collect();
        let gate = gate(&store, version).await?;
        rows.push(vec![
            version.number.to_string(),
            named.join(", "),
            version.created.rfc3339(),
            if version.of_client().is_some() { "client" } else { "pipeline" }.to_owned(),
            gate,
            metrics(version),
            version.run.as_ref().map_or_else(|| "–".to_owned(), |run| run.chars().take(8).collect()),
        ]);
    }
    let number = |to| versions.iter().find(|version| version.digest == to).map(|version| version.number);
    let aliases: serde_json::Map<String, Value> =
        aliases.into_iter().map(|(alias, to)| (alias, json!(number(to)))).collect();
    let versions: Vec<&Value> = versions.iter().map(|version| &version.record).collect();
    let value = json!({ "schema": 1, "model": model, "aliases": aliases, "versions": versions });
    session.printer().result(&value, &table(&rows));
    Ok(())
}

/// What its gate and people say, in a word.
async fn gate(store: &rondo_store::Store, version: &Version) -> Result<String, Error> {
    let decided = rondo_registry::approval::find(store, &version.model, version.number).await?;
    let judged = match version.record.get("gate_passed").and_then(Value::as_bool) {
        Some(true) => "passed",
        Some(false) => "missed",
        None => "–",
    };
    Ok(match decided {
        Some(decided) => format!("{judged}, {}", decided.decision.text()),
        None => judged.to_owned(),
    })
}

fn metrics(version: &Version) -> String {
    let scored =
        version.record.get("evaluation").cloned().and_then(|scored| serde_json::from_value(scored).ok());
    let scored: Evaluation = scored.unwrap_or_default();
    let shown = scored.metrics.iter().take(3);
    let shown = shown.filter_map(|metric| Some(format!("{} {:.4}", metric.name, metric.value?)));
    shown.collect::<Vec<_>>().join(", ")
}
