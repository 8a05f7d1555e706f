//! Texts on a page: escaped, with the colours of terminals, and code with its words marked.

use rondo_project::notebook::language::Language;

/// A text that opens no tag and ends no attribute.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| push(&mut out, c));
    out
}

fn push(out: &mut String, c: char) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&quot;"),
        '\'' => out.push_str("&#39;"),
        c => out.push(c),
    }
}

/// A text of a terminal: its colours become classes, all else that it asks of a terminal is left out.
pub fn colored(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut style = Style::default();
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        let (before, after) = rest.split_at(at);
        style.write(&mut out, before);
        let sequence = after.get(1..).unwrap_or_default();
        match sequence.strip_prefix('[') {
            Some(codes) => {
                let end = codes.find(|c: char| ('\u{40}'..='\u{7e}').contains(&c)).unwrap_or(codes.len());
                let (codes, tail) = codes.split_at(end);
                if tail.starts_with('m') {
                    style.apply(codes);
                }
                let mut tail = tail.chars();
                tail.next();
                rest = tail.as_str();
            }
            None => {
                // Anything else is taken out by the general rule, up to the next escape.
                let end = sequence.find('\u{1b}').unwrap_or(sequence.len());
                let (one, tail) = sequence.split_at(end);
                style.write(&mut out, &crate::outputs::plain(&format!("\u{1b}{one}")));
                rest = tail;
            }
        }
    }
    style.write(&mut out, rest);
    out
}

#[derive(Default, Clone, Copy)]
struct Style {
    color: Option<u8>,
    bold: bool,
}

impl Style {
    fn apply(&mut self, codes: &str) {
        let mut codes = codes.split(';').map(|code| code.parse::<u8>().unwrap_or(0));
        while let Some(code) = codes.next() {
            match code {
                0 => *self = Self::default(),
                1 => self.bold = true,
                22 => self.bold = false,
                30..=37 => self.color = Some(code - 30),
                90..=97 => self.color = Some(code - 90),
                39 => self.color = None,
                // Colours by number: of 256 the first sixteen are the usual ones.
                38 | 48 => match codes.next() {
                    Some(5) => {
                        let number = codes.next().unwrap_or(0);
                        if code == 38 {
                            self.color = (number < 16).then_some(number % 8).or(nearest(number));
                        }
                    }
                    Some(2) => {
                        codes.by_ref().take(3).for_each(drop);
                    }
                    _ => {}
                },
                _ => {}
            }
        }
    }

    fn write(self, out: &mut String, text: &str) {
        if text.is_empty() {
            return;
        }
        let mut classes = Vec::new();
        classes.extend(self.bold.then(|| "b".to_owned()));
        classes.extend(self.color.map(|color| format!("c{color}")));
        if classes.is_empty() {
            out.push_str(&escaped(text));
        } else {
            out.push_str(&format!("<span class=\"{}\">{}</span>", classes.join(" "), escaped(text)));
        }
    }
}

/// The usual colour that is nearest to one of the cube of 256.
fn nearest(number: u8) -> Option<u8> {
    let cube = number.checked_sub(16).filter(|place| *place < 216)?;
    let bit = |level: u8| u8::from(level >= 3);
    Some(bit(cube / 36) | bit(cube / 6 % 6) << 1 | bit(cube % 6) << 2)
}

/// Code with its comments, texts, numbers and reserved words marked.
pub fn code(source: &str, language: Option<Language>) -> String {
    let Some(language) = language else { return escaped(source) };
    let chars: Vec<char> = source.chars().collect();
    let comment: Vec<char> = language.comment().chars().collect();
    let mut out = String::with_capacity(source.len() * 2);
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let start = at;
        let class =
            if chars.get(at..at + comment.len()) == Some(comment.as_slice()) && !within_word(&chars, at) {
                at = chars.iter().skip(at).position(|c| *c == '\n').map_or(chars.len(), |length| at + length);
                "k"
            } else if c == '"' || c == '\'' {
                at = text_end(&chars, at, language);
                "s"
            } else if c.is_ascii_digit() {
                while chars.get(at).is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_')) {
                    at += 1;
                }
                "n"
            } else if c.is_alphabetic() || c == '_' {
                while chars.get(at).is_some_and(|c| c.is_alphanumeric() || *c == '_') {
                    at += 1;
                }
                let word: String = chars.get(start..at).unwrap_or_default().iter().collect();
                if language.words().contains(&word.as_str()) { "w" } else { "" }
            } else {
                at += 1;
                ""
            };
        let piece: String = chars.get(start..at).unwrap_or_default().iter().collect();
        if class.is_empty() {
            out.push_str(&escaped(&piece));
        } else {
            out.push_str(&format!("<span class=\"{class}\">{}</span>", escaped(&piece)));
        }
    }
    out
}

/// In a shell `$#` and `a#b` begin no comment.
fn within_word(chars: &[char], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| chars.get(before));
    before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '$' | '{'))
}

/// The place behind a text; at the line's end, where it is not closed and may not run over lines.
fn text_end(chars: &[char], start: usize, language: Language) -> usize {
    let Some(&quote) = chars.get(start) else { return start };
    let three = |at: usize| chars.get(at..at + 3).is_some_and(|part| part.iter().all(|c| *c == quote));
    let long = matches!(language, Language::Python | Language::Julia) && three(start);
    let over_lines = long || matches!(language, Language::R | Language::Bash | Language::PowerShell);
    let mut at = start + if long { 3 } else { 1 };
    while let Some(&c) = chars.get(at) {
        match c {
            '\\' => at += 2,
            '\n' if !over_lines => return at,
            c if c == quote && !long => return at + 1,
            c if c == quote && three(at) => return at + 3,
            _ => at += 1,
        }
    }
    chars.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn colours_become_classes_and_the_rest_of_a_terminal_goes() {
        assert_eq!(
            colored("a\u{1b}[1;31m<b>\u{1b}[0mc\u{1b}[2K\u{1b}]0;t\u{7}d"),
            "a<span class=\"b c1\">&lt;b&gt;</span>cd"
        );
        assert_eq!(colored("\u{1b}[38;5;2mx\u{1b}[39m"), "<span class=\"c2\">x</span>");
    }

    #[test]
    fn code_is_marked() {
        let html = code("if x == 1:  # <one>\n    y = 'a\\'b'", Some(Language::Python));
        assert_eq!(
            html,
            "<span class=\"w\">if</span> x == <span class=\"n\">1</span>:  \
             <span class=\"k\"># &lt;one&gt;</span>\n    y = <span class=\"s\">&#39;a\\&#39;b&#39;</span>"
        );
        assert_eq!(code("a < b", None), "a &lt; b");
    }

    proptest! {
        #[test]
        fn marking_changes_no_text(source in "(?s)([\"'#\\\\a1_ \n\u{1b}\\[m;é<>&]|if|\"\"\"){0,40}") {
            let strip = |html: &str| {
                let mut text = String::new();
                let mut within = false;
                for c in html.chars() {
                    match c {
                        '<' => within = true,
                        '>' => within = false,
                        c if !within => text.push(c),
                        _ => {}
                    }
                }
                text
            };
            for language in Language::ALL {
                prop_assert_eq!(strip(&code(&source, Some(language))), escaped(&source));
            }
            colored(&source);
        }
    }
}
