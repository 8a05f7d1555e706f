//! What a running notebook prints, as it comes.

use std::io::IsTerminal;
use std::sync::Arc;

use rondo_core::ports::{Event, Progress};

use crate::cli::output::Printer;

/// Shows lines that stay to be read; without a terminal each cell has its line too.
pub struct Stream {
    printer: Printer,
    bar: Arc<dyn Progress>,
    terminal: bool,
    /// Whether several run at once, so that each line says whose it is.
    many: bool,
}

impl Stream {
    /// To a printer.
    pub fn to(printer: &Printer, many: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { printer: printer.clone(), bar: printer.progress(), terminal, many }
    }
}

impl Progress for Stream {
    fn report(&self, event: Event) {
        match event {
            Event::Output { subject, line } if self.many => {
                self.printer.note(&format!("{subject:<12} | {line}"));
            }
            Event::Output { line, .. } => self.printer.note(&format!("  | {line}")),
            Event::Advanced { .. } if !self.terminal && self.many => {}
            Event::Advanced { subject, message, .. } if !self.terminal => {
                self.printer.note(&format!("{subject:<12} {message}"));
            }
            other => self.bar.report(other),
        }
    }
}
