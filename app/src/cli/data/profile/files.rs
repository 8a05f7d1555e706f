//! Folders of pictures and texts on the terminal.

use rondo_data::profile::files::{FolderProfile, Spread};
use rondo_data::profile::pictures::PictureProfile;
use rondo_data::profile::texts::TextProfile;
use rondo_data::profile::{number, sparkline};
use serde_json::json;

use super::{Args, Subject, shown, write};
use crate::cli::Session;
use crate::cli::failure::Outcome;
use crate::cli::output::table;
use crate::report::profile::files::render;
use crate::report::tables::size;

/// Names that are listed of each kind.
const NAMES: usize = 10;

/// Shows it, and writes what was asked for.
///
/// # Errors
/// When a file cannot be written.
pub(super) fn show(args: &Args, session: &Session, subject: &Subject, folder: &FolderProfile) -> Outcome {
    let value = json!({
        "schema": 1, "what": args.what, "version": subject.version(), "folder": folder,
    });
    write(session, args.out.as_deref(), || Ok(format!("{}\n", value["folder"])))?;
    write(session, args.html.as_deref(), || Ok(render(subject.name(), &subject.origin(), folder)))?;
    let text = match folder {
        FolderProfile::Pictures(pictures) => self::pictures(&subject.title(), pictures),
        FolderProfile::Texts(texts) => self::texts(&subject.title(), texts),
    };
    session.printer().result(&value, &text);
    Ok(())
}

fn head(title: &str, what: &str, all: u64, looked_at: u64, others: u64) -> String {
    let looked = if looked_at == all {
        "all looked at".to_owned()
    } else {
        format!("a sample of {looked_at} looked at")
    };
    let others = if others == 0 { String::new() } else { format!(", {others} other files left out") };
    format!("{title}: {all} {what}, {looked}{others}\n")
}

fn spread(name: &str, spread: &Spread) -> Vec<String> {
    let [min, median, mean, max] = [spread.min, spread.median, spread.mean, spread.max].map(number);
    vec![name.to_owned(), min, median, mean, max]
}

fn counts<'a>(counts: impl IntoIterator<Item = (&'a String, &'a u64)>) -> String {
    let mut counts: Vec<(&String, &u64)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let more = counts.len().saturating_sub(NAMES);
    let mut words: Vec<String> =
        counts.iter().take(NAMES).map(|(name, count)| format!("{} {count}", shown(name, 32))).collect();
    if more > 0 {
        words.push(format!("{more} more"));
    }
    words.join(", ")
}

fn line(text: &mut String, name: &str, value: &str) {
    if !value.is_empty() {
        text.push_str(&format!("{name:<12} {value}\n"));
    }
}

fn names(text: &mut String, title: &str, count: u64, names: impl Iterator<Item = String>) {
    if count == 0 {
        return;
    }
    text.push_str(&format!("\n{title}: {count}\n"));
    let mut listed = 0;
    for name in names.take(NAMES) {
        text.push_str(&format!("  {}\n", shown(&name, 120)));
        listed += 1;
    }
    if count > listed {
        text.push_str(&format!("  and {} more\n", count - listed));
    }
}

fn pictures(title: &str, profile: &PictureProfile) -> String {
    let mut text = head(title, "pictures", profile.pictures, profile.looked_at, profile.other_files);
    line(&mut text, "bytes", &size(profile.bytes));
    line(&mut text, "formats", &counts(&profile.formats));
    line(&mut text, "modes", &counts(&profile.modes));
    let sizes: Vec<String> =
        profile.sizes.iter().take(5).map(|(size, count)| format!("{size} ({count})")).collect();
    line(&mut text, "sizes", &format!("{} different: {}", profile.different_sizes, sizes.join(", ")));
    line(&mut text, "labels", &counts(&profile.labels));
    let triple = |values: &[f64; 3]| values.map(|value| format!("{value:.4}")).join(" ");
    line(&mut text, "mean rgb", &triple(&profile.channel_means));
    line(&mut text, "std rgb", &triple(&profile.channel_stds));
    line(&mut text, "lightness", &format!("0 {} 1", sparkline(&profile.lightness_histogram)));
    let head = ["", "least", "median", "mean", "greatest"].map(str::to_owned).to_vec();
    let rows = [
        head,
        spread("width", &profile.width),
        spread("height", &profile.height),
        spread("lightness", &profile.lightness),
    ];
    text.push('\n');
    text.push_str(&table(&rows));
    let broken = profile.broken.iter().map(|(name, reason)| format!("{name}: {reason}"));
    names(&mut text, "broken", profile.broken_count, broken);
    let groups =
        |examples: &[Vec<String>]| examples.iter().map(|group| group.join(" = ")).collect::<Vec<_>>();
    names(
        &mut text,
        "groups with the same bytes",
        profile.same.count,
        groups(&profile.same.examples).into_iter(),
    );
    names(
        &mut text,
        "groups that look alike",
        profile.alike.count,
        groups(&profile.alike.examples).into_iter(),
    );
    let outliers = profile.outliers.iter().map(|(name, light)| format!("{name}: {light:.2}"));
    names(&mut text, "far darker or lighter than the others", profile.outlier_count, outliers);
    text
}

fn texts(title: &str, profile: &TextProfile) -> String {
    let mut text = head(title, "texts", profile.files, profile.looked_at, profile.other_files);
    line(&mut text, "bytes", &size(profile.bytes));
    line(&mut text, "encodings", &counts(&profile.encodings));
    line(&mut text, "labels", &counts(&profile.labels));
    line(&mut text, "repeated", &profile.same.to_string());
    let head = ["", "least", "median", "mean", "greatest"].map(str::to_owned).to_vec();
    let rows = [
        head,
        spread("characters", &profile.characters),
        spread("words", &profile.words),
        spread("lines", &profile.lines),
    ];
    text.push('\n');
    text.push_str(&table(&rows));
    names(&mut text, "without a word", profile.empty, profile.empty_names.iter().cloned());
    let broken = profile.broken.iter().map(|(name, reason)| format!("{name}: {reason}"));
    names(&mut text, "broken", profile.broken_count, broken);
    text
}
