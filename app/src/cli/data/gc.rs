//! `rondo data gc`.

use std::fmt::Write;

use rondo_core::{Code, Span};
use rondo_data::gc::{RemoteReport, Request};
use rondo_data::place::size;
use rondo_store::meta::outdated::Outdated;
use rondo_store::upkeep::Report;
use serde_json::json;

use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::history;

/// Say what could be removed and what that frees; with `--apply`, remove it
///
/// Objects go that nothing names. With `--versions` those versions go too that nothing reaches: no ref, tag,
/// run, cached step, model or deployment, and no `rondo.lock` in any commit that a branch, tag, stash or
/// reflog of Git reaches. Runs while others use the store, may be stopped anywhere and run again.
#[derive(clap::Args)]
pub struct Args {
    /// Remove it; otherwise nothing is changed
    #[arg(long, visible_alias = "yes", short = 'y')]
    apply: bool,
    /// Versions of datasets too that nothing reaches
    #[arg(long)]
    versions: bool,
    /// With `--versions`: the newest so many of each dataset stay in any case
    #[arg(long, default_value_t = 2, value_name = "N", requires = "versions")]
    keep: usize,
    /// What was stored, added or pointed to within this time stays
    #[arg(long, default_value = "1d", value_name = "SPAN")]
    grace: Span,
    /// Clean up this remote, by its name in `remotes:` or by its address, in place of the store
    #[arg(long, value_name = "REMOTE")]
    remote: Option<String>,
    /// With `--remote`: clones that have neither pushed nor pulled for this time (machines of CI, mostly) are
    /// forgotten, and what only they need goes
    #[arg(long, default_value = "365d", value_name = "SPAN", requires = "remote")]
    notes_older_than: Span,
}

/// Says or does it.
///
/// # Errors
/// When Git cannot say what its history needs, or others are at work that this would disturb.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let platform = session.platform().await?;
    let locked = history::locked(platform.store(), Some(platform.root())).await?;
    if args.versions && locked.shallow {
        let message = "clean up versions: this clone of the Git repository is shallow, and what its older commits need is not known";
        return Err(Failure::hinted(Code::ValueInvalid, message, "git fetch --unshallow"));
    }
    let request = Request {
        versions: args.versions.then_some(args.keep),
        grace: args.grace,
        silent: args.notes_older_than,
        apply: args.apply,
        named: locked.named,
        actor: session.config().user().to_owned(),
    };
    if let Some(called) = &args.remote {
        let remote = platform.remote_there(Some(called))?;
        let report = platform.datasets().gc_remote(&remote, &request).await?;
        session.printer().result(&json!({ "schema": 1, "gc": report }), &of_remote(&report, args));
        return Ok(());
    }
    let report = platform.datasets().gc(&request).await?;
    let value = json!({ "schema": 1, "gc": {
        "dry_run": report.dry_run, "versions": report.versions, "objects": report.objects, "bytes": report.bytes,
        "shared": report.shared, "young": report.young, "locks": locked.locks,
    } });
    session.printer().result(&value, &of_store(&report, locked.locks, args));
    Ok(())
}

fn of_store(report: &Report, locks: usize, args: &Args) -> String {
    let verb = if report.dry_run { "would remove" } else { "removed" };
    let mut text = lines(&report.versions, verb);
    let _ = writeln!(text, "{verb} {} objects, {}", report.objects, size(report.bytes));
    if report.shared > 0 {
        let _ = writeln!(text, "of these {} stay on the disk under other names", size(report.shared));
    }
    if report.young > 0 {
        let _ = writeln!(
            text,
            "{} objects that nothing names stay, since they are younger than {}",
            report.young, args.grace
        );
    }
    if locks > 0 {
        let _ = writeln!(text, "{locks} lock files of Git's history were asked");
    }
    text.push_str(&again(report.dry_run));
    text
}

fn of_remote(report: &RemoteReport, args: &Args) -> String {
    let verb = if report.dry_run { "would remove" } else { "removed" };
    let mut text = lines(&report.versions, verb);
    let swept = &report.swept;
    let _ = writeln!(
        text,
        "{}: {verb} {} objects and chunks, {} in {} packs, of which {} are written anew; {} packs of {} stay",
        report.remote,
        swept.objects,
        size(swept.bytes),
        swept.packs,
        swept.rewritten,
        swept.kept,
        size(swept.kept_bytes),
    );
    if swept.young > 0 {
        let _ =
            writeln!(text, "{} packs stay only because they are younger than {}", swept.young, args.grace);
    }
    for clone in &report.forgotten {
        let by = clone.by.as_ref().map_or_else(String::new, |by| format!(" of {by}"));
        let _ = writeln!(
            text,
            "{} clone {}{by}, which needs {} versions and was heard of last at {}",
            if report.dry_run { "would forget" } else { "forgot" },
            clone.id,
            clone.needs,
            clone.at
        );
    }
    let _ = writeln!(text, "{} clones have said what their history needs of it", report.consumers);
    text.push_str(&again(report.dry_run));
    text
}

fn lines(versions: &[Outdated], verb: &str) -> String {
    let line = |version: &Outdated| {
        let number = if version.number > 0 { format!("@{}", version.number) } else { String::new() };
        let Outdated { dataset, digest, size: bytes, added, .. } = version;
        format!("{verb} {dataset}{number}, version {}, {}, added {added}\n", digest.short(), size(*bytes))
    };
    versions.iter().map(line).collect()
}

fn again(dry_run: bool) -> String {
    if dry_run { "nothing was changed: --apply does it\n".to_owned() } else { String::new() }
}
