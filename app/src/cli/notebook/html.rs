//! `rondo notebook html`.

use std::path::{Path, PathBuf};

use rondo_notebook::document::{self, Notebook};
use rondo_notebook::html::export;
use serde_json::json;

use crate::cli::Session;
use crate::cli::failure::Outcome;

/// Write a notebook as one page that needs nothing else
#[derive(clap::Args)]
pub struct Args {
    /// The notebook, or a script with `# %%` cells
    #[arg(value_name = "NOTEBOOK")]
    notebook: PathBuf,
    /// The page; otherwise beside the notebook under its name
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Writes it.
///
/// # Errors
/// When the notebook cannot be read or the page cannot be written.
pub fn run(args: &Args, session: &Session) -> Outcome {
    let notebook = session.existing("notebook", &args.notebook)?;
    let shown = args.out.clone().unwrap_or_else(|| args.notebook.with_extension("html"));
    write(&notebook, &session.path(&shown))?;
    let value = json!({ "schema": 1, "notebook": args.notebook, "page": shown });
    session.printer().result(&value, &format!("wrote `{}`\n", shown.display()));
    Ok(())
}

/// Writes a notebook as a page: whole or not at all.
///
/// # Errors
/// When the notebook cannot be read or the page cannot be written.
pub fn write(notebook: &Path, page: &Path) -> Result<(), rondo_notebook::Error> {
    let title = notebook.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let html = export(&Notebook::read(notebook)?, &title);
    document::write_atomically(page, html.as_bytes())
}
