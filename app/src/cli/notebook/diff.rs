//! `rondo notebook diff`.

use std::fmt::Write;
use std::path::PathBuf;

use rondo_core::Code;
use rondo_notebook::diff::{self, CellDiff, Change, Diff, Line, OutputDiff, Picture};
use rondo_notebook::document::Notebook;
use serde_json::{Value, json};

use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};

/// Lines of one difference that are shown to people; programs get all.
const SHOWN: usize = 30;

/// Say what differs between two notebooks: parameters, metrics, sources, outputs
#[derive(clap::Args)]
pub struct Args {
    /// The first notebook
    #[arg(value_name = "A")]
    one: PathBuf,
    /// The second
    #[arg(value_name = "B")]
    two: PathBuf,
    /// End with exit code 6 where they differ
    #[arg(long)]
    exit_code: bool,
}

/// Says it.
///
/// # Errors
/// When a notebook cannot be read; with `--exit-code`, when they differ.
pub fn run(args: &Args, session: &Session) -> Outcome {
    let read =
        |path: &PathBuf| -> Outcome<Notebook> { Ok(Notebook::read(&session.existing("notebook", path)?)?) };
    let diff = diff::compare(&read(&args.one)?, &read(&args.two)?);
    let value = json!({ "schema": 1, "same": diff.is_empty(), "diff": diff });
    if args.exit_code && !diff.is_empty() {
        if !session.printer().json() {
            session.printer().tell(&text(&diff));
        }
        let message = format!("`{}` and `{}` differ", args.one.display(), args.two.display());
        let rendered = format!("error: {message}\n");
        return Err(Failure::new(Code::NotReproduced, message).judged(rendered, value));
    }
    session.printer().result(&value, &text(&diff));
    Ok(())
}

fn text(diff: &Diff) -> String {
    if diff.is_empty() {
        return "no difference\n".to_owned();
    }
    let mut text = String::new();
    for (title, changes) in [("parameters", &diff.parameters), ("metrics", &diff.metrics)] {
        if !changes.is_empty() {
            let _ = writeln!(text, "{title}");
            changes.iter().for_each(|change| text.push_str(&change_line(change)));
        }
    }
    diff.cells.iter().for_each(|cell| cell_text(&mut text, cell));
    text
}

fn change_line(change: &Change) -> String {
    let shown = |value: &Option<Value>| value.as_ref().map_or_else(|| "none".to_owned(), Value::to_string);
    let number = |value: &Option<Value>| value.as_ref().and_then(Value::as_f64);
    let moved = match (number(&change.before), number(&change.after)) {
        (Some(before), Some(after)) => format!(" ({:+.6})", after - before),
        _ => String::new(),
    };
    format!("  {}: {} → {}{moved}\n", change.name, shown(&change.before), shown(&change.after))
}

fn cell_text(text: &mut String, cell: &CellDiff) {
    let title = match (cell.before, cell.after) {
        (Some(before), Some(after)) if before != after => format!("cell {before} → {after}"),
        (Some(before), Some(_)) => format!("cell {before}"),
        (Some(before), None) => format!("cell {before} is gone"),
        (None, Some(after)) => format!("cell {after} is new"),
        (None, None) => return,
    };
    let _ = writeln!(text, "{title}");
    lines(text, "source", &cell.source);
    for output in &cell.outputs {
        match output {
            OutputDiff::Text { name, lines: changed } => lines(text, name, changed),
            OutputDiff::Picture { before, after } => {
                let _ =
                    writeln!(text, "  picture: {} → {}", picture(before.as_ref()), picture(after.as_ref()));
            }
        }
    }
}

fn picture(picture: Option<&Picture>) -> String {
    picture.map_or_else(
        || "none".to_owned(),
        |picture| format!("{} {} kB {}", picture.media, picture.bytes.div_ceil(1024), picture.digest),
    )
}

fn lines(text: &mut String, title: &str, lines: &[Line]) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(text, "  {title}");
    for line in lines.iter().take(SHOWN) {
        let _ = writeln!(text, "    {} {}", line.side, line.text);
    }
    if lines.len() > SHOWN {
        let _ = writeln!(text, "    … {} more lines", lines.len() - SHOWN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_read_as_lines() {
        let diff = Diff {
            parameters: vec![Change {
                name: "a".to_owned(),
                before: Some(json!(1)),
                after: Some(json!(2.5)),
            }],
            metrics: Vec::new(),
            cells: vec![CellDiff {
                before: Some(2),
                after: Some(3),
                source: vec![Line { side: '-', text: "x".to_owned() }],
                outputs: vec![OutputDiff::Picture {
                    before: None,
                    after: Some(Picture {
                        media: "image/png".to_owned(),
                        bytes: 2000,
                        digest: "ab".to_owned(),
                    }),
                }],
            }],
        };
        assert_eq!(
            text(&diff),
            "parameters\n  a: 1 → 2.5 (+1.500000)\ncell 2 → 3\n  source\n    - x\n  picture: none → image/png 2 kB ab\n"
        );
    }
}
