//! The only place that prints. Data goes to standard output, all else to standard error.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use rondo_core::ports::{Event, Progress};
use serde_json::Value;

/// Where a command's words go.
#[derive(Clone)]
pub struct Printer {
    json: bool,
    quiet: bool,
    bars: Option<MultiProgress>,
}

impl Printer {
    /// A printer as the flags say.
    pub fn new(json: bool, quiet: bool) -> Self {
        let bars = (!json && !quiet && std::io::stderr().is_terminal()).then(MultiProgress::new);
        Self { json, quiet, bars }
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
            self.out(text);
        }
    }

    /// Text on standard output, as it is.
    pub fn out(&self, text: &str) {
        let write = || {
            let mut out = anstream::stdout().lock();
            // A reader that has gone away is no error of ours.
            let _ = out.write_all(text.as_bytes());
            let _ = out.flush();
        };
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    /// A line on standard error.
    pub fn note(&self, line: &str) {
        if !self.quiet && !self.json {
            self.err(&format!("{line}\n"));
        }
    }

    /// Text on standard error, also when quiet.
    pub fn err(&self, text: &str) {
        let write = || {
            let mut err = anstream::stderr().lock();
            // There is nowhere left to say that standard error is gone.
            let _ = err.write_all(text.as_bytes());
        };
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
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
                    bar.set_message(message);
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
                    bar.set_message(format!("{done}{of} {message}"));
                }
            }
            Event::Output { subject, line } if self.follow => {
                self.printer.note(&format!("{subject:<12} | {line}"));
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
                let mut line = format!("{subject:<12} {mark:<6} {message}");
                if took > Duration::from_millis(300) {
                    line.push_str(&format!("  ({:.1} s)", took.as_secs_f64()));
                }
                self.printer.note(&line);
            }
            Event::Note { subject, message } => self.printer.note(&format!("{subject:<12} {message}")),
        }
    }
}

/// Lays rows out in columns; the first row is the head. Numbers stay as they were given.
pub fn table(rows: &[Vec<String>]) -> String {
    let width = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut widths = vec![0; width];
    for row in rows {
        for (cell, width) in row.iter().zip(&mut widths) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
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
    use super::table;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["step".to_owned(), "state".to_owned()], vec!["prepare".to_owned(), "ok".to_owned()]];
        assert_eq!(table(&rows), "step     state\nprepare  ok\n");
    }
}
