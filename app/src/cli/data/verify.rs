//! `rondo data verify`.

use std::fmt::Write;

use rondo_core::Code;
use rondo_data::place::size;
use rondo_data::verify::{Broken, Fault, Report};
use serde_json::json;

use super::status::plain;
use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};

/// So many that need a broken object are named for people.
const NAMED: usize = 10;

/// Read every object that versions need; name what is missing or damaged and who needs it
#[derive(clap::Args)]
pub struct Args {
    /// Only these datasets
    #[arg(value_name = "DATASET")]
    datasets: Vec<String>,
}

/// Reads them.
///
/// # Errors
/// When something is broken, or there is no such dataset.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    let report = platform.datasets().verify(&args.datasets).await?;
    let Report { versions, objects, bytes, broken } = &report;
    let value = json!({ "schema": 1, "report": report });
    if broken.is_empty() {
        let text = format!("{versions} versions, {objects} objects, {}: all there and whole\n", size(*bytes));
        session.printer().result(&value, &text);
        return Ok(());
    }
    let mut text = String::new();
    for one in broken {
        text.push_str(&lines(one));
    }
    let message = format!("verify: {} of {objects} objects are broken", broken.len());
    let shown = format!("{text}error: {message}\n");
    Err(Failure::new(Code::DataBroken, message).shown(shown, value))
}

fn lines(broken: &Broken) -> String {
    let fault = match broken.fault {
        Fault::Missing => "missing",
        Fault::Corrupted => "corrupted",
        Fault::Unreadable => "cannot be read",
    };
    let mut text = format!("{} {fault}, needed by\n", broken.digest.short());
    for need in broken.needed_by.iter().take(NAMED) {
        let path = if need.path.is_empty() { String::new() } else { format!(" {}", plain(&need.path)) };
        let _ = writeln!(text, "  {}@{}{path}", need.dataset, need.version);
    }
    if broken.needed_by.len() > NAMED {
        let _ = writeln!(text, "  … {} more", broken.needed_by.len() - NAMED);
    }
    text
}
