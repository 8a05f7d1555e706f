//! The only place that prints. Data goes to standard output, all else to standard error.

mod terminal;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use rondo_core::ports::{Event, Progress};
use serde_json::Value;

mod patient;

pub use patient::Patient;

/// Where a command's words go.
#[derive(Clone)]
pub struct Printer {
    json: bool,
    quiet: bool,
    bars: Option<MultiProgress>,
    /// Why standard output did not take all that it was given.
    lost: Arc<OnceLock<std::io::Error>>,
}

/// A line on standard error of a process that ends at once, whatever else is being shown.
pub fn last_words(line: &str) {
    // A reader that has gone away is no error of ours.
    let _ = writeln!(anstream::stderr().lock(), "\n{line}");
}

impl Printer {
    /// A printer as the flags say.
    pub fn new(json: bool, quiet: bool) -> Self {
        let bars = (!json && !quiet && std::io::stderr().is_terminal()).then(terminal::bars);
        Self { json, quiet, bars, lost: Arc::default() }
    }

    /// Why standard output did not take all that it was given, if it did not: its disk is full.
    pub fn lost(&self) -> Option<&std::io::Error> {
        self.lost.get()
    }

    /// Whether standard output is to hold JSON and nothing else.
    pub const fn json(&self) -> bool {
        self.json
    }

    /// The result of a command: `value` for programs, else `text` for people.
    pub fn result(&self, value: &Value, text: &str) {
        if self.json {
            self.out(&format!("{value}\n"));
        } else {
            self.tell(text);
        }
    }

    /// The same where it may be long: only what is asked for is made.
    pub fn result_of(&self, value: impl FnOnce() -> Value, text: impl FnOnce() -> String) {
        if self.json {
            self.out(&format!("{}\n", value()));
        } else {
            self.tell(&text());
        }
    }

    /// Text for people on standard output: what a terminal would obey is escaped.
    pub fn tell(&self, text: &str) {
        self.out(&lines(text));
    }

    /// Text on standard output, as it is: what programs read, and what steps and apps have said themselves.
    pub fn out(&self, text: &str) {
        let say = || {
            let written = write(std::io::stdout().lock(), text);
            // A reader that has gone away is no error of ours.
            if let Some(error) = written.err().filter(|error| error.kind() != ErrorKind::BrokenPipe) {
                // The first one says enough.
                let _ = self.lost.set(error);
            }
        };
        match &self.bars {
            Some(bars) => bars.suspend(say),
            None => say(),
        }
    }

    /// A line on standard error.
    pub fn note(&self, line: &str) {
        if !self.quiet && !self.json {
            self.err(&format!("{line}\n"));
        }
    }

    /// Text on standard error, also when quiet: what a terminal would obey is escaped.
    pub fn err(&self, text: &str) {
        self.err_as_is(&lines(text));
    }

    fn err_as_is(&self, text: &str) {
        let say = || {
            // There is nowhere left to say that standard error is gone.
            let _ = write(std::io::stderr().lock(), text);
        };
        match &self.bars {
            Some(bars) => bars.suspend(say),
            None => say(),
        }
    }

    /// Shows what the stages report.
    pub fn progress(&self) -> Arc<dyn Progress> {
        self.watch(false)
    }

    /// The same, and every line that a step says behind its name.
    pub fn followed(&self) -> Arc<dyn Progress> {
        self.watch(true)
    }

    fn watch(&self, follow: bool) -> Arc<dyn Progress> {
        Arc::new(Watch { printer: self.clone(), follow, open: Mutex::new(BTreeMap::new()) })
    }
}

struct Watch {
    printer: Printer,
    follow: bool,
    open: Mutex<BTreeMap<String, (Instant, Option<ProgressBar>)>>,
}

impl Watch {
    fn bar(&self) -> Option<ProgressBar> {
        let bars = self.printer.bars.as_ref()?;
        let bar = bars.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:<12} {wide_msg}  {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Some(bar)
    }
}

impl Progress for Watch {
    fn report(&self, event: Event) {
        if self.printer.json || self.printer.quiet {
            return;
        }
        let Ok(mut open) = self.open.lock() else { return };
        match event {
            Event::Started { subject, message } => {
                let bar = self.bar();
                if let Some(bar) = &bar {
                    bar.set_prefix(subject.clone());
                    bar.set_message(plain(&message));
                } else {
                    self.printer.note(&format!("{subject:<12} {message}"));
                }
                if let Some((_, Some(old))) = open.insert(subject, (Instant::now(), bar)) {
                    old.finish_and_clear();
                }
            }
            Event::Advanced { subject, done, total, message } => {
                if let Some((_, Some(bar))) = open.get(&subject) {
                    let of = total.map_or_else(String::new, |total| format!("/{total}"));
                    bar.set_message(format!("{done}{of} {}", plain(&message)));
                }
            }
            // The step's own words, with its own colours.
            Event::Output { subject, line } if self.follow => {
                self.printer.err_as_is(&format!("{subject:<12} | {line}\n"));
            }
            Event::Output { subject, line } => {
                if let Some((_, Some(bar))) = open.get(&subject) {
                    bar.set_message(line.chars().take(160).collect::<String>());
                }
            }
            Event::Ended { subject, ok, message } => {
                let took = match open.remove(&subject) {
                    Some((since, bar)) => {
                        if let Some(bar) = bar {
                            bar.finish_and_clear();
                        }
                        since.elapsed()
                    }
                    None => Duration::ZERO,
                };
                let mark = if ok { "ok" } else { "failed" };
                let line = format!("{subject:<12} {mark:<6} {message}");
                let mut line = line.trim_end().to_owned();
                if took > Duration::from_millis(300) {
                    line.push_str(&format!("  ({:.1} s)", took.as_secs_f64()));
                }
                self.printer.note(&line);
            }
            Event::Note { subject, message } => self.printer.note(&format!("{subject:<12} {message}")),
        }
    }
}

/// Writes all of a text, without its colours where the stream shows none.
fn write(stream: impl RawStream + AsFd, text: &str) -> std::io::Result<()> {
    let text = match AutoStream::choice(&stream) {
        ColorChoice::Never => Cow::Owned(anstream::adapter::strip_str(text).to_string()),
        ColorChoice::Auto | ColorChoice::Always | ColorChoice::AlwaysAnsi => Cow::Borrowed(text),
    };
    let mut stream = Patient(stream);
    stream.write_all(text.as_bytes())?;
    stream.flush()
}

/// A text on one line, such as a file's name: what a terminal would obey is escaped.
pub fn plain(text: &str) -> String {
    escaped(text, |_| false).into_owned()
}

/// A text of lines: all that a terminal would obey but line feeds and tabs is escaped, and those too in
/// what stands between backticks, which is somebody's word for a thing.
fn lines(text: &str) -> Cow<'_, str> {
    let mut quoted = false;
    escaped(text, |c| {
        quoted ^= c == '`';
        matches!(c, '\n' | '\t') && !quoted
    })
}

fn escaped(text: &str, mut stays: impl FnMut(char) -> bool) -> Cow<'_, str> {
    // Beside the control characters those that turn the direction of writing round.
    let obeyed = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match stays(c) || !obeyed(c) {
            true => shown.push(c),
            false => shown.extend(c.escape_default()),
        }
    }
    Cow::Owned(shown)
}

/// A number of things: `1 version`, `2 versions`.
pub fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Lays rows out in columns; the first row is the head. Numbers stay as they were given.
pub fn table(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let width = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut widths = vec![0; width];
    for row in &rows {
        for (cell, width) in row.iter().zip(&mut widths) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width - cell.chars().count() + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{lines, plain, table};

    #[test]
    fn one_thing_is_not_several() {
        assert_eq!([0, 1, 2].map(|count| super::counted(count, "row")), ["0 rows", "1 row", "2 rows"]);
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["step".to_owned(), "state".to_owned()], vec!["prepare".to_owned(), "ok".to_owned()]];
        assert_eq!(table(&rows), "step     state\nprepare  ok\n");
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(plain("größe 漢字.csv"), "größe 漢字.csv");
        assert_eq!(plain("a\u{1b}[31m\n\t\r.csv"), r"a\u{1b}[31m\n\t\r.csv");
        assert_eq!(plain("\u{9b}2J \u{7f} \u{202e}vsc"), r"\u{9b}2J \u{7f} \u{202e}vsc");
        let name = "a\u{1b}[2J\nok.csv";
        assert_eq!(
            lines(&format!("error: read `{name}`\n\tits head is {name}\n")),
            "error: read `a\\u{1b}[2J\\nok.csv`\n\tits head is a\\u{1b}[2J\nok.csv\n"
        );
        assert_eq!(table(&[vec![name.to_owned(), "1".to_owned()]]), "a\\u{1b}[2J\\nok.csv  1\n");
    }
}
