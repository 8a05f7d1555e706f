//! The terminal that bars are drawn on.

use std::io;

use console::Term;
use indicatif::{MultiProgress, ProgressDrawTarget, TermLike};

/// How often bars are drawn in a second.
const RATE: u8 = 20;

/// Standard error as a terminal that may go away: what is drawn for nobody is no error, and bars panic on one.
#[derive(Debug)]
struct Terminal(Term);

/// Bars on standard error.
pub(super) fn bars() -> MultiProgress {
    let terminal = Box::new(Terminal(Term::buffered_stderr()));
    MultiProgress::with_draw_target(ProgressDrawTarget::term_like_with_hz(terminal, RATE))
}

impl Terminal {
    fn draw(&self, drawn: impl FnOnce(&Term) -> io::Result<()>) -> io::Result<()> {
        drawn(&self.0).or(Ok(()))
    }
}

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        self.0.width()
    }

    fn height(&self) -> u16 {
        self.0.height()
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.draw(|term| term.move_cursor_up(n))
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.draw(|term| term.move_cursor_down(n))
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.draw(|term| term.move_cursor_right(n))
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.draw(|term| term.move_cursor_left(n))
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.draw(|term| term.write_line(text))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.draw(|term| term.write_str(text))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.draw(Term::clear_line)
    }

    fn flush(&self) -> io::Result<()> {
        self.draw(Term::flush)
    }
}
