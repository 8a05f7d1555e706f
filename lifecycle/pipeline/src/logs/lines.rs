//! Bytes of a log cut into lines, each with the place behind it.

use super::Mark;

/// How long a line may be; what is longer comes in parts.
const LONG: usize = 8 * 1024;

/// A line, or a part of one that is too long.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// Its text, of a progress bar what it ended as.
    pub text: String,
    /// The place behind it.
    pub after: Mark,
    /// Whether the line goes on in the next one.
    pub goes_on: bool,
}

/// What of a line has come.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Vec<u8>,
    /// The place behind what has come.
    after: Option<Mark>,
}

impl Lines {
    /// Begins at a place.
    pub const fn from(after: Option<Mark>) -> Self {
        Self { begun: Vec::new(), after }
    }

    /// Takes what was said from a place on; the lines that are whole now.
    pub fn take(&mut self, from: Mark, bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut at = from.at;
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let mut rest = part;
            while !rest.is_empty() {
                let room = LONG.saturating_sub(self.begun.len()).clamp(1, rest.len());
                let (piece, behind) = rest.split_at(room);
                rest = behind;
                self.begun.extend_from_slice(piece);
                at += piece.len() as u64;
                let after = Mark { at, ..from };
                self.after = Some(after);
                if self.begun.ends_with(b"\n") {
                    lines.extend(self.flush());
                } else if self.begun.len() >= LONG {
                    lines.push(self.part(after));
                }
            }
        }
        lines
    }

    /// A part of a line that is too long, up to where a character ends.
    fn part(&mut self, behind: Mark) -> Line {
        let inside = |at: &usize| self.begun.get(*at).is_some_and(|byte| byte & 0xC0 == 0x80);
        let length = self.begun.len();
        // The character that is not whole begins at most three bytes before the end.
        let last = (length.saturating_sub(4)..length).rev().find(|at| !inside(at)).unwrap_or(length);
        let whole = self.begun.get(last..).is_none_or(|end| std::str::from_utf8(end).is_ok());
        let cut = if whole || last == 0 { length } else { last };
        let rest = self.begun.split_off(cut);
        let part = std::mem::replace(&mut self.begun, rest);
        let after = Mark { at: behind.at - self.begun.len() as u64, ..behind };
        Line { text: shown(&part), after, goes_on: true }
    }

    /// The line that has no end.
    pub fn flush(&mut self) -> Option<Line> {
        let after = self.after.filter(|_| !self.begun.is_empty())?;
        let text = shown(&std::mem::take(&mut self.begun));
        Some(Line { text, after, goes_on: false })
    }
}

fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    // A progress bar goes back to the line's beginning: only what it ended as is a line.
    text.trim_end_matches(['\n', '\r']).rsplit('\r').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use rondo_core::RunId;

    use super::*;

    #[test]
    fn lines_have_the_place_behind_them() {
        let run = RunId::random();
        let mark = |at| Mark { run, at };
        let mut lines = Lines::from(None);
        assert!(lines.take(mark(0), b"he").is_empty());
        let line = |text: &str, at, goes_on| Line { text: text.to_owned(), after: mark(at), goes_on };
        assert_eq!(
            lines.take(mark(2), b"llo\n\n10%\r20%\r\nla"),
            [line("hello", 6, false), line("", 7, false), line("20%", 16, false)]
        );
        assert_eq!(lines.flush(), Some(line("la", 18, false)));
        assert_eq!(lines.flush(), None);
    }

    proptest::proptest! {
        #[test]
        fn however_it_comes_the_same_text_comes_out(
            text in "[a-zé€😀\n]{0,40}", times in 1_usize..2000, sizes in proptest::collection::vec(1_usize..20_000, 1..20),
        ) {
            let (run, text) = (RunId::random(), text.repeat(times));
            let (mut lines, mut all, mut at) = (Lines::from(None), Vec::new(), 0);
            for size in sizes.iter().cycle() {
                let part = &text.as_bytes()[at..(at + size).min(text.len())];
                if part.is_empty() {
                    break;
                }
                all.extend(lines.take(Mark { run, at: at as u64 }, part));
                at += part.len();
            }
            all.extend(lines.flush());
            let mut again = String::new();
            for line in &all {
                proptest::prop_assert!(line.text.len() <= LONG);
                again.push_str(&line.text);
                if !line.goes_on {
                    again.push('\n');
                }
            }
            proptest::prop_assert_eq!(again.trim_end_matches('\n'), text.trim_end_matches('\n'));
            proptest::prop_assert!(all.windows(2).all(|pair| pair[0].after.at < pair[1].after.at));
            proptest::prop_assert_eq!(all.last().map_or(0, |line| line.after.at), text.len() as u64);
        }
    }
}
