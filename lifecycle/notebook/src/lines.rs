//! Cuts what is printed into lines, however long they are.

use std::collections::BTreeMap;

use crate::outputs::{overwrite, plain};
use rondo_core::mask::Mask;

/// A longer line is handed on in parts, in bytes. No secret is longer.
const LONGEST: usize = 32 * 1024;

/// Cuts streams into lines for those who watch.
#[derive(Debug, Default)]
pub struct Lines {
    rest: BTreeMap<String, String>,
}

impl Lines {
    /// The lines that a piece of a stream completes, without colours.
    pub fn push(&mut self, stream: &str, text: &str, mask: &Mask) -> Vec<String> {
        let rest = self.rest.entry(stream.to_owned()).or_default();
        overwrite(rest, text);
        let end = rest.rfind('\n').map_or(0, |at| at + 1);
        let complete: String = rest.drain(..end).collect();
        complete.lines().map(plain).chain(part(rest, mask).map(|part| plain(&part))).collect()
    }

    /// What is left at a cell's end.
    pub fn flush(&mut self) -> Vec<String> {
        let rest = std::mem::take(&mut self.rest);
        rest.into_values()
            .map(|line| plain(line.trim_end_matches('\r')))
            .filter(|line| !line.is_empty())
            .collect()
    }
}

/// Takes the beginning of a line that has become too long before it has ended. What stays is as long as a secret
/// may be, so that none is cut in two.
pub fn part(line: &mut String, mask: &Mask) -> Option<String> {
    if line.len() < 2 * LONGEST {
        return None;
    }
    let mut clean = mask.text(line).into_owned();
    let cut = clean.floor_char_boundary(clean.len().saturating_sub(LONGEST));
    *line = clean.split_off(cut);
    (!clean.is_empty()).then_some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_their_ends_and_lose_their_colours() {
        let (mut lines, mask) = (Lines::default(), Mask::default());
        assert_eq!(lines.push("stdout", "a\u{1b}[31mb", &mask), Vec::<String>::new());
        assert_eq!(lines.push("stdout", "\u{1b}[0m\nc\nd", &mask), ["ab", "c"]);
        assert_eq!(lines.flush(), ["d"]);
    }

    #[test]
    fn a_line_without_end_is_handed_on_in_parts_and_no_secret_in_halves() {
        let mask = Mask::new([(&"key".to_owned(), &"hunter-22".to_owned())]);
        let text = "hunter-22, ".repeat(LONGEST);
        for size in [1000, 1001, 1002, 1003, 1004, 1005, 1006, text.len()] {
            let mut lines = Lines::default();
            let mut said = Vec::new();
            let mut rest = &text[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(size.min(rest.len()));
                said.extend(lines.push("stdout", piece, &mask));
                rest = after;
                assert!(lines.rest["stdout"].len() < 2 * LONGEST);
            }
            said.extend(lines.flush().iter().map(|line| mask.text(line).into_owned()));
            assert!(said.len() > 1);
            assert!(said.concat() == mask.text(&text), "in pieces of {size}");
        }
    }
}
