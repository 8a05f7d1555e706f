//! `rondo report`: the loop's report, on the terminal and as one HTML page.

use std::path::PathBuf;

use serde_json::json;

use super::Session;
use super::failure::Outcome;
use crate::platform::Error;
use crate::report::{gather, html, text};

/// Write the loop's report: performance by month, drift, alerts, promotions, lineage
#[derive(clap::Args)]
pub struct Args {
    /// The model; the only one where there is one
    model: Option<String>,
    /// Where the page is written
    #[arg(short, long, default_value = "report.html", value_name = "FILE")]
    out: PathBuf,
}

/// Writes it.
///
/// # Errors
/// When there is no traffic to report on, or the page cannot be written.
pub async fn run(args: Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    let report = gather::gather(&platform, args.model.as_deref()).await?;
    let path = platform.root().join(&args.out);
    std::fs::write(&path, html::render(&report)).map_err(Error::io("write", &path))?;
    let mut shown = text::render(&report);
    shown.push_str(&format!("\nreport: {}\n", path.display()));
    session.printer().result(&json!({ "schema": 1, "report": report, "page": path }), &shown);
    Ok(())
}
