//! Places in a text: byte ranges with their lines and columns.

use serde::Serialize;

/// A range of a text. Lines and columns count from 1, columns in characters; the end is exclusive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// The line where it begins.
    pub line: usize,
    /// The column where it begins.
    pub column: usize,
    /// The line where it ends.
    pub end_line: usize,
    /// The column after its last character.
    pub end_column: usize,
    /// The byte where it begins.
    pub start: usize,
    /// The byte after its last.
    pub end: usize,
}

impl Place {
    /// From the beginning of one place to the end of another.
    pub fn to(self, end: Self) -> Self {
        Self { end_line: end.end_line, end_column: end.end_column, end: end.end, ..self }
    }
}

/// A text prepared for turning byte offsets into places.
#[derive(Debug, Clone)]
pub struct Lines<'a> {
    text: &'a str,
    /// The byte at which each line begins.
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    /// Of a text; `\n` ends a line.
    pub fn new(text: &'a str) -> Self {
        let starts =
            std::iter::once(0).chain(text.match_indices('\n').map(|(newline, _)| newline + 1)).collect();
        Self { text, starts }
    }

    /// The place of a byte range; ends beyond the text, or inside a character, are drawn back.
    pub fn place(&self, start: usize, end: usize) -> Place {
        let start = self.boundary(start);
        let end = self.boundary(end).max(start);
        let (line, column) = self.position(start);
        let (end_line, end_column) = self.position(end);
        Place { line, column, end_line, end_column, start, end }
    }

    /// A line's text without its end; empty beyond the text. Counted from 1.
    pub fn line(&self, number: usize) -> &'a str {
        let Some(start) = number.checked_sub(1).and_then(|index| self.starts.get(index)) else {
            return "";
        };
        let end = self.starts.get(number).copied().unwrap_or(self.text.len());
        self.text.get(*start..end).unwrap_or("").trim_end_matches(['\n', '\r'])
    }

    /// The byte at which a line begins, counted from 1; the text's end for lines beyond it.
    pub fn start(&self, number: usize) -> usize {
        number.checked_sub(1).and_then(|index| self.starts.get(index)).copied().unwrap_or(self.text.len())
    }

    /// How many lines there are.
    pub fn count(&self) -> usize {
        self.starts.len()
    }

    fn boundary(&self, byte: usize) -> usize {
        let mut byte = byte.min(self.text.len());
        while !self.text.is_char_boundary(byte) {
            byte -= 1; // 0 is a boundary, so this ends there at the latest
        }
        byte
    }

    fn position(&self, byte: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= byte);
        let start = self.start(line);
        let column = self.text.get(start..byte).map_or(0, |before| before.chars().count());
        (line, column + 1)
    }
}

/// How many cells of a terminal a text takes: East Asian wide characters and emoji take two, combining
/// marks and control characters none.
pub fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

/// How many cells one character takes.
pub fn char_width(c: char) -> usize {
    match u32::from(c) {
        0..=0x1f | 0x7f..=0x9f => 0,
        0x300..=0x36f | 0x483..=0x489 | 0x591..=0x5bd | 0x610..=0x61a | 0x64b..=0x65f => 0,
        0x200b..=0x200f | 0x20d0..=0x20ff | 0xfe00..=0xfe0f | 0xfe20..=0xfe2f => 0,
        0x1100..=0x115f
        | 0x2e80..=0x303e
        | 0x3041..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f680..=0x1f6ff
        | 0x1f900..=0x1f9ff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_lines_and_columns() {
        let lines = Lines::new("é: x\nb:\n");
        let place = lines.place(4, 5);
        assert_eq!((place.line, place.column, place.end_column), (1, 4, 5));
        assert_eq!(lines.place(6, 7).line, 2);
        assert_eq!(lines.line(1), "é: x");
        assert_eq!(lines.line(9), "");
        assert_eq!(lines.place(1, 900).start, 0);
    }

    #[test]
    fn wide_characters_take_two_cells() {
        assert_eq!(width("ab"), 2);
        assert_eq!(width("日本"), 4);
        assert_eq!(width("e\u{301}"), 1);
    }
}
