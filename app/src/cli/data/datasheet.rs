//! `rondo data datasheet`.

use std::path::PathBuf;

use rondo_core::Code;
use serde_json::json;

use super::profile::{Subject, find};
use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::platform::Error;
use crate::report::datasheet::{html, markdown};

/// Write the datasheet of a dataset, filled from what is known; what only people know is named as blank
#[derive(clap::Args)]
pub struct Args {
    /// A dataset of the project: its latest version, or `flights@2`
    dataset: String,
    /// Write the Markdown to this file; named as `datasheet:` of the dataset, what people add to it is kept
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Also write a page of its own
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Fail where a question is blank
    #[arg(long)]
    complete: bool,
}

/// Writes it.
///
/// # Errors
/// When there is no such dataset, or with `--complete` where a question is blank.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let Subject::Version { platform, version } = find(session, &args.dataset, None).await? else {
        let message = format!("write a datasheet of the file `{}`: it is no dataset", args.dataset);
        return Err(Failure::hinted(Code::Usage, message, format!("rondo data add {}", args.dataset)));
    };
    let sheet = platform.datasheet(&version).await?;
    let text = markdown(&sheet);
    let pages = [(&args.out, &text), (&args.html, &html(&sheet))];
    for (file, text) in pages.iter().filter_map(|(file, text)| Some((file.as_ref()?, text))) {
        let path = session.path(file);
        std::fs::write(&path, text).map_err(Error::io("write", &path))?;
        session.printer().note(&format!("wrote `{}`", file.display()));
    }
    let blank = sheet.blank.len();
    let note = format!("{blank} of {} questions are blank: {}", sheet.questions, sheet.blank.join(", "));
    let value = json!({ "schema": 1, "datasheet": sheet });
    if args.complete && blank > 0 {
        let message = format!("accept the datasheet of `{}`: {note}", args.dataset);
        let shown = format!("error: {message}\n");
        return Err(Failure::new(Code::ChecksFailed, message).judged(shown, value));
    }
    let text = if args.out.is_some() || args.html.is_some() { String::new() } else { text };
    session.printer().result(&value, &text);
    if blank > 0 {
        session.printer().note(&note);
        session.printer().note(&format!(
            "hint: answer them below `datasheet:` of `{}` in rondo.yaml, or in a file of it",
            sheet.dataset
        ));
    }
    Ok(())
}
