//! `rondo data labels`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use rondo_core::Code;
use rondo_data::labels::Labels;
use rondo_data::labels::agreement::Agreement;
use serde_json::json;

use super::profile::{Subject, find};
use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::{plain, table};

/// Show a dataset's labels: how many of each, by whom, what has none, how far annotators agree
#[derive(clap::Args)]
pub struct Args {
    /// A dataset of the project, or a table or export of labels (Label Studio JSON, CVAT XML)
    what: String,
    /// The dataset's version: a number, the beginning of its digest, `latest` or `previous`
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Of a dataset: its labels are the folders' names (`path`) or in this table or export
    #[arg(long, value_name = "PATH")]
    labels: Option<String>,
    /// Write them all to this Parquet file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Of a file: how it is read, such as `delimiter=;` or `encoding=latin1`; several times
    #[arg(long, value_name = "NAME=VALUE")]
    read: Vec<String>,
}

/// Shows them.
///
/// # Errors
/// When there is no such dataset or file, or its labels cannot be read.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let subject = find(session, &args.what, args.version.as_deref()).await?;
    let labels = match &subject {
        Subject::Version { platform, version } => {
            let declared = platform.project().data.get(&version.dataset).and_then(|d| d.labels.clone());
            let given = args.labels.as_ref().map(|given| match given.as_str() {
                "path" => given.clone(),
                path => session.path(Path::new(path)).display().to_string(),
            });
            let how = given.or(declared).ok_or_else(|| {
                let message =
                    format!("show the labels of `{}`: nothing says where they are", version.dataset);
                Failure::hinted(
                    Code::Usage,
                    message,
                    format!("rondo data labels {} --labels path", version.dataset),
                )
            })?;
            platform.datasets().labels(version, &how, platform.root()).await?
        }
        Subject::Path { path, .. } => Labels::read(path, &super::reading(&args.read)?)?,
    };
    if let Some(out) = &args.out {
        labels.write(&session.path(out))?;
    }
    let value = json!({ "schema": 1, "what": args.what, "version": subject.version(), "labels": labels });
    session.printer().result(&value, &format!("{}: {}", subject.title(), text(&labels)));
    Ok(())
}

fn text(labels: &Labels) -> String {
    let mut text = format!("{} labels of {} items ({})\n", labels.all.len(), labels.items, labels.format);
    let counted = |head: &str, counts: &std::collections::BTreeMap<String, u64>| {
        let mut rows: Vec<Vec<String>> = vec![vec![head.to_owned(), "labels".to_owned()]];
        let mut sorted: Vec<(&String, &u64)> = counts.iter().collect();
        sorted.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
        rows.extend(sorted.into_iter().map(|(name, count)| vec![plain(name), count.to_string()]));
        table(&rows)
    };
    text.push_str(&counted("label", &labels.counts));
    if !labels.annotators.is_empty() {
        text.push('\n');
        text.push_str(&counted("annotator", &labels.annotators));
    }
    for agreement in &labels.agreement {
        text.push_str(&agreed(agreement));
    }
    if labels.unlabelled_count > 0 {
        let more = if labels.unlabelled_count > labels.unlabelled.len() { ", …" } else { "" };
        let names: Vec<String> = labels.unlabelled.iter().map(|name| plain(name)).collect();
        let _ = writeln!(text, "\nwithout a label: {} ({}{more})", labels.unlabelled_count, names.join(", "));
    }
    if !labels.unknown.is_empty() {
        let names: Vec<String> = labels.unknown.iter().map(|name| plain(name)).collect();
        let _ = writeln!(text, "labelled, but no file of the dataset: {}", names.join(", "));
    }
    if !labels.ambiguous.is_empty() {
        let names: Vec<String> = labels.ambiguous.iter().map(|name| plain(name)).collect();
        let _ = writeln!(
            text,
            "may be several files of the dataset, so none has the label: {}",
            names.join(", ")
        );
    }
    if !labels.unread.is_empty() {
        let names: Vec<String> = labels.unread.iter().map(|name| plain(name)).collect();
        let _ = writeln!(text, "columns that are not read: {}", names.join(", "));
    }
    text
}

fn agreed(agreement: &Agreement) -> String {
    let question = agreement.question.as_ref().map_or_else(String::new, |q| format!(" on `{}`", plain(q)));
    let mut text = format!(
        "\nagreement{question} of {} annotators on {} items: {:.1} %",
        agreement.annotators,
        agreement.items,
        agreement.observed * 100.0
    );
    let measures = [
        ("Cohen's kappa", agreement.cohen_kappa),
        ("Fleiss' kappa", agreement.fleiss_kappa),
        ("Krippendorff's alpha", agreement.krippendorff_alpha),
    ];
    for (name, value) in measures {
        if let Some(value) = value {
            let _ = write!(text, ", {name} {value:.3}");
        }
    }
    text.push('\n');
    if !agreement.disputed.is_empty() {
        let names: Vec<String> = agreement.disputed.iter().map(|name| plain(name)).collect();
        let _ = writeln!(text, "most disputed: {}", names.join(", "));
    }
    text
}
