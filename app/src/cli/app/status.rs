//! `rondo app status`.

use serde_json::{Value, json};

use crate::apps::status::{self, Status};
use crate::apps::{folder, opens};
use crate::cli::Session;
use crate::cli::failure::Outcome;
use crate::cli::output::table;

/// Show how the apps stand, with the addresses that open them
#[derive(clap::Args)]
pub struct Args {
    /// This app alone
    name: Option<String>,
}

/// Shows it.
///
/// # Errors
/// When there is no such app.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    if let Some(name) = &args.name {
        super::known(&platform, name)?;
    }
    let told = status::read(&folder(&platform))?;
    let names = platform.project().apps.names();
    let wanted: Vec<&str> =
        names.filter(|name| args.name.as_deref().is_none_or(|only| only == *name)).collect();
    let mut rows = vec![["app", "uses", "state", "since", "restarts", "address"].map(str::to_owned).to_vec()];
    let (mut values, mut troubles) = (Vec::new(), String::new());
    for name in wanted {
        let known =
            told.as_ref().and_then(|told| Some((told, told.apps.iter().find(|app| app.name == name)?)));
        let Some((told, app)) = known else {
            let dash = || "–".to_owned();
            rows.push(vec![name.to_owned(), dash(), "down".to_owned(), dash(), dash(), dash()]);
            values.push(json!({ "name": name, "state": "down" }));
            continue;
        };
        let address = opens(&told.url, name, told.keys.get(name).map(String::as_str));
        rows.push(vec![
            name.to_owned(),
            app.uses.clone(),
            app.state.text().to_owned(),
            app.since.to_string(),
            app.restarts.to_string(),
            address.clone(),
        ]);
        troubles.push_str(&trouble(app));
        let mut value = serde_json::to_value(app).unwrap_or_default();
        value["address"] = Value::from(address);
        values.push(value);
    }
    let mut text =
        if rows.len() == 1 { "no apps: declare them under `apps:`\n".to_owned() } else { table(&rows) };
    text.push_str(&troubles);
    session.printer().result(&json!({ "schema": 1, "apps": values }), &text);
    Ok(())
}

fn trouble(app: &Status) -> String {
    let mut text = String::new();
    if let Some(error) = &app.error {
        text.push_str(&format!("{}: {error}\n", app.name));
        app.tail.iter().for_each(|line| text.push_str(&format!("  | {line}\n")));
    }
    text
}
