//! `rondo repro`: a run made again, and what differs.

use rondo_core::Code;
use rondo_pipeline::again::vary::Variation;
use rondo_pipeline::compare::Finding;
use rondo_pipeline::compare::verdict::Verdict;
use serde_json::json;

use super::Session;
use super::failure::{Failure, Outcome};
use super::output::table;
use crate::platform::repro::Reproduction;

/// Make a run again from what it recorded, and compare what comes out, digest by digest
///
/// Inputs, code, parameters and environment are those of the run; the work tree, `rondo.lock` and the cache
/// are left alone. What differs is explained, and the verdict is kept on the run.
#[derive(clap::Args)]
pub struct Args {
    /// A pipeline's run or a step's: its id, or the first characters of it
    run: String,

    /// Vary surroundings too, and say which output depends on which: path, timezone, locale, hashseed,
    /// cores, or all
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_parser = variation)]
    vary: Vec<Vary>,
}

/// What to vary, as it is written.
#[derive(Debug, Clone, Copy)]
enum Vary {
    All,
    One(Variation),
}

fn variation(text: &str) -> Result<Vary, String> {
    if text == "all" { Ok(Vary::All) } else { text.parse().map(Vary::One) }
}

/// Makes it again.
///
/// # Errors
/// When there is no such run, or it does not come out as it was recorded.
pub async fn run(args: Args, session: &Session) -> Outcome {
    let platform = session.looking().await?;
    let run = platform.find_run(&args.run).await?;
    let mut vary: Vec<Variation> = Vec::new();
    for one in &args.vary {
        let these = match one {
            Vary::All => Variation::ALL.to_vec(),
            Vary::One(one) => vec![*one],
        };
        vary.extend(these);
    }
    vary.sort_unstable();
    vary.dedup();
    let found = Box::pin(platform.reproduce(&run, &vary, super::signals::cancelled())).await?;
    let (value, text) = (json!(found), text(&found));
    let (code, message) = match found.verdict {
        Verdict::Identical | Verdict::WithinTolerance => {
            session.printer().result(&value, &text);
            return Ok(());
        }
        Verdict::Different => (Code::NotReproduced, format!("run {} came out different", run.id.short())),
        Verdict::NotRepeatable => (
            Code::NotRepeatable,
            format!("run {} cannot be repeated: {}", run.id.short(), found.reasons.join("; ")),
        ),
    };
    if !session.printer().json() {
        session.printer().tell(&text);
    }
    let failure = match advice(&found) {
        Some(advice) => Failure::hinted(code, message, advice),
        None => Failure::new(code, message),
    };
    let heading = failure.heading();
    Err(failure.judged(heading, value))
}

/// What to do about the first difference that something can be done about.
fn advice(found: &Reproduction) -> Option<String> {
    let own = found.steps.iter().flat_map(|step| &step.outputs).flat_map(|output| &output.differences);
    let varied =
        found.variations.iter().flat_map(|varied| &varied.changed).flat_map(|changed| &changed.differences);
    own.chain(varied).find_map(|finding| finding.kind.advice()).map(str::to_owned)
}

fn text(found: &Reproduction) -> String {
    let mut rows = vec![["step", "output", "verdict", "recorded", "again"].map(str::to_owned).to_vec()];
    let mut lines = Vec::new();
    for step in &found.steps {
        if step.outputs.is_empty() {
            let row = [&step.step, "–", step.verdict.words(), "–", "–"].map(ToOwned::to_owned);
            rows.push(row.to_vec());
        }
        for output in &step.outputs {
            let digests = (output.recorded.short(), output.again.short());
            let verdict = output.verdict.words().to_owned();
            rows.push(vec![step.step.clone(), output.output.clone(), verdict, digests.0, digests.1]);
            let name = format!("{}.{}", step.step, output.output);
            lines.extend(output.differences.iter().map(|finding| line(&name, finding)));
        }
    }
    let mut text = if found.steps.is_empty() { String::new() } else { table(&rows) };
    for line in lines {
        text.push_str(&format!("{line}\n"));
    }
    for varied in &found.variations {
        let subject = varied.variation.subject();
        if !varied.tried {
            continue;
        }
        if varied.changed.is_empty() {
            text.push_str(&format!("{:<9} nothing depends on {subject}\n", varied.variation.text()));
        }
        for changed in &varied.changed {
            text.push_str(&format!(
                "{:<9} `{}` depends on {subject}\n",
                varied.variation.text(),
                changed.output
            ));
            for finding in &changed.differences {
                text.push_str(&format!("{}\n", line(&changed.output, finding)));
            }
        }
    }
    for note in &found.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    for reason in &found.reasons {
        text.push_str(&format!("because: {reason}\n"));
    }
    text.push_str(&format!("run {}: {}\n", found.run.short(), found.verdict.words()));
    text
}

fn line(output: &str, finding: &Finding) -> String {
    let place = if finding.place.is_empty() { String::new() } else { format!(" in {}", finding.place) };
    format!("  {output}{place}: {} — {}", finding.kind.text(), finding.text)
}
