//! `rondo data verify`.

use std::fmt::Write;
use std::path::Path;

use rondo_core::Code;
use rondo_core::journal::Because;
use rondo_data::heal::{Healing, Sources};
use rondo_data::place::size;
use rondo_data::verify::{Broken, Fault, Need, Report};
use rondo_remote::Fault as Lost;
use serde_json::json;

use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::plain;
use crate::platform::Platform;

/// So many that need a broken object are named for people.
const NAMED: usize = 10;

/// Read every object that versions need; name what is missing or damaged and who needs it
#[derive(clap::Args)]
pub struct Args {
    /// Only these datasets
    #[arg(value_name = "DATASET")]
    datasets: Vec<String>,
    /// Store anew what is broken, from the files in the work tree or else from the project's remotes; with
    /// `--remote`, send anew what is broken there and whole here
    #[arg(long)]
    heal: bool,
    /// Read a remote in place of the store: by its name in `remotes:` or by its address, or the first one
    #[arg(long, value_name = "REMOTE", num_args = 0..=1, conflicts_with = "from")]
    remote: Option<Option<String>>,
    /// Heal from here in place of the project's remotes: another remote, another clone or a backup of the
    /// store; may be repeated
    #[arg(long, value_name = "REMOTE|FOLDER")]
    from: Vec<String>,
}

/// Reads them.
///
/// # Errors
/// When something is broken, or there is no such dataset.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    if let Some(called) = &args.remote {
        return of_remote(args, session, &platform, called.as_deref()).await;
    }
    let healing = if args.heal || !args.from.is_empty() {
        platform.datasets().heal(&args.datasets, &sources(args, session, &platform)?).await?
    } else {
        Healing { report: platform.datasets().verify(&args.datasets).await?, healed: Vec::new() }
    };
    let Healing { report, healed } = &healing;
    let Report { versions, objects, bytes, broken } = report;
    let mut value = json!({ "schema": 1, "report": report });
    if args.heal || !args.from.is_empty() {
        value["healed"] = json!(healed);
    }
    let mut text = String::new();
    for one in healed {
        let needs = one.broken.needed_by.first().map_or_else(String::new, need);
        let _ = writeln!(text, "{} healed from {}{needs}", one.broken.digest.short(), plain(&one.from));
    }
    if broken.is_empty() {
        let _ =
            writeln!(text, "{versions} versions, {objects} objects, {}: all there and whole", size(*bytes));
        session.printer().result(&value, &text);
        return Ok(());
    }
    for one in broken {
        text.push_str(&lines(one));
    }
    let message = match healed.len() {
        0 => format!("verify: {} of {objects} objects are broken", broken.len()),
        some => format!("verify: {some} objects were healed, {} of {objects} are still broken", broken.len()),
    };
    let shown = format!("{text}error: {message}\n");
    Err(Failure::new(Code::DataBroken, message).judged(shown, value))
}

/// Reads a remote.
async fn of_remote(args: &Args, session: &Session, platform: &Platform, called: Option<&str>) -> Outcome {
    let remote = platform.remote_there(called)?;
    let report = platform.datasets().verify_remote(&remote, &args.datasets, args.heal).await?;
    let value = json!({ "schema": 1, "remote": report });
    let mut text = String::new();
    if report.healed > 0 {
        let _ = writeln!(
            text,
            "{} objects and chunks are whole again, {} sent",
            report.healed,
            size(report.sent)
        );
    }
    let head = format!(
        "{}: {} versions, {} objects and chunks in {} packs, {}",
        report.remote,
        report.versions,
        report.objects,
        report.packs,
        size(report.bytes)
    );
    if report.broken.is_empty() && report.lacking.is_empty() {
        let _ = writeln!(text, "{head}: all there and whole");
        session.printer().result(&value, &text);
        return Ok(());
    }
    for one in report.broken.iter().take(NAMED) {
        let fault = match one.fault {
            Lost::Missing => "missing",
            Lost::Corrupted => "corrupted",
        };
        let _ = writeln!(text, "{} {fault}, in pack {}", one.digest.short(), one.pack.short());
    }
    if report.broken.len() > NAMED {
        let _ = writeln!(text, "… {} more: `--json` has all", report.broken.len() - NAMED);
    }
    for (dataset, digest) in &report.lacking {
        let _ = writeln!(text, "{dataset} {} is not whole there", digest.short());
    }
    let message = format!(
        "verify {}: {} of {} objects and chunks are broken, {} of {} versions are not whole",
        report.remote,
        report.broken.len(),
        report.objects,
        report.lacking.len(),
        report.versions
    );
    let hint = match args.heal {
        true => "what is left is not here either: say it in a clone that has it",
        false => "rondo data verify --remote --heal",
    };
    let shown = format!("{text}error: {message}\n");
    Err(Failure::hinted(Code::DataBroken, message, hint).judged(shown, value))
}

/// Where whole bytes may be.
fn sources(args: &Args, session: &Session, platform: &Platform) -> Outcome<Sources> {
    let names = platform.project().data.names().map(str::to_owned).collect::<Vec<_>>();
    let mut sources = Sources { root: platform.root().to_owned(), ..Sources::default() };
    for name in names {
        sources.declared.push(platform.intake(&name, Because::new(session.config().user(), "healed"))?);
    }
    for from in &args.from {
        let folder = session.path(Path::new(from));
        let is_store = ["objects", ".rondo/objects"].iter().any(|inner| folder.join(inner).is_dir());
        if is_store {
            sources.copies.push(folder);
        } else {
            sources.remotes.push(platform.remote_there(Some(from))?);
        }
    }
    if args.from.is_empty() {
        for (name, _) in platform.project().remotes.iter() {
            sources.remotes.push(platform.remote(Some(name))?);
        }
    }
    Ok(sources)
}

fn need(need: &Need) -> String {
    let path = if need.path.is_empty() { String::new() } else { format!(" {}", plain(&need.path)) };
    format!(", {}@{}{path}", need.dataset, need.version)
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
