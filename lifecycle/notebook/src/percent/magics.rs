//! Commented magics of a script, read as the magics that they stand for.
//!
//! A script with `%matplotlib` in it would be no Python, so that jupytext writes `# %matplotlib`, and reads it back
//! by how the line looks. The same lines are found here, with two exceptions, so that words in scripts of other
//! editors stay comments: commands without a sign (`# ls`) and questions (`# frame?`) are found in what jupytext
//! wrote alone, and `# %%time` at the head of a cell alone, where it means anything.
//!
//! Source: jupytext's documentation, "Magic commands" (`comment_magics`).

use rondo_project::notebook::language::Language;

/// Commands that IPython runs without a sign before them.
const COMMANDS: [&str; 13] =
    ["cat", "cd", "cp", "mv", "rm", "rmdir", "mkdir", "copy", "ddir", "echo", "ls", "ldir", "ren"];

/// A cell's lines with their magics.
pub fn uncommented(lines: &[&str], language: Language, by_jupytext: bool) -> Vec<String> {
    let mut quotes = Quotes::default();
    let (mut goes_on, mut at_head) = (false, true);
    let mut found = Vec::with_capacity(lines.len());
    for line in lines {
        let reader = Line { text: line, language, by_jupytext, at_head };
        let is_magic = !quotes.are_open() && (goes_on || reader.is_magic());
        goes_on = is_magic && language == Language::Python && line.trim_end().ends_with('\\');
        at_head &= line.trim().is_empty();
        quotes.read(line);
        found.push(if is_magic { bare(line) } else { (*line).to_owned() });
    }
    found
}

/// A line without its comment sign.
pub fn bare(line: &str) -> String {
    let code = line.trim_start();
    let indent = line.len() - code.len();
    let Some(code) = code.strip_prefix('#') else { return line.to_owned() };
    format!("{}{}", line.get(..indent).unwrap_or_default(), code.strip_prefix(' ').unwrap_or(code))
}

struct Line<'a> {
    text: &'a str,
    language: Language,
    by_jupytext: bool,
    /// Whether nothing stands before it in its cell.
    at_head: bool,
}

impl Line<'_> {
    fn is_magic(&self) -> bool {
        let code = uncommented_wholly(self.text.trim_start());
        let signs = code.len() - code.trim_start_matches('%').len();
        if (1..=3).contains(&signs) && code.get(signs..).is_some_and(begins_with_letter) {
            let is_kept =
                self.text.rsplit_once('#').is_some_and(|(_, last)| last.trim_start().starts_with("noescape"));
            return !is_kept && (signs == 1 || self.at_head);
        }
        self.language == Language::Python
            && (is_of_shell(code)
                || is_assigned(uncommented_wholly(self.text))
                || (self.by_jupytext
                    && (is_question(self.text) || is_command(uncommented_wholly(self.text)))))
    }
}

/// A line without all the comment signs before it.
fn uncommented_wholly(line: &str) -> &str {
    let mut code = line;
    while let Some(rest) = code.strip_prefix('#') {
        code = rest.strip_prefix(' ').unwrap_or(rest);
    }
    code
}

fn begins_with_letter(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
}

/// `!ls`, `?frame`.
fn is_of_shell(code: &str) -> bool {
    let command = code.trim_start().strip_prefix(['?', '!']).map(str::trim_start);
    let begins = |c: char| c.is_ascii_alphabetic() || ".~$\\/{}".contains(c);
    command.is_some_and(|command| command.starts_with(begins))
}

/// `files = !ls`.
fn is_assigned(code: &str) -> bool {
    let Some((name, value)) = code.split_once('=') else { return false };
    let name = name.trim();
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$'));
    let value = value.trim_start();
    let rest = value.strip_prefix('!').unwrap_or_else(|| value.trim_start_matches('%'));
    is_name && (1..=3).contains(&(value.len() - rest.len())) && begins_with_letter(rest)
}

/// `frame?`: one word with the sign behind it.
fn is_question(line: &str) -> bool {
    let mut words = line.trim();
    while let Some(rest) = words.strip_prefix("# ") {
        words = rest;
    }
    words.ends_with('?') && !words.contains(char::is_whitespace)
}

/// `ls -l`, and not `ls = 1`.
fn is_command(code: &str) -> bool {
    let end = code.find(char::is_whitespace).unwrap_or(code.len());
    let (command, rest) = code.split_at(end);
    COMMANDS.contains(&command) && rest.chars().nth(1).is_none_or(|next| !matches!(next, '=' | ','))
}

/// Whether what comes next stands within a text of several lines.
#[derive(Default)]
struct Quotes(Option<&'static str>);

impl Quotes {
    fn are_open(&self) -> bool {
        self.0.is_some()
    }

    fn read(&mut self, line: &str) {
        let mut rest = line;
        loop {
            if let Some(quotes) = self.0 {
                let Some(end) = rest.find(quotes) else { return };
                rest = rest.get(end + quotes.len()..).unwrap_or_default();
                self.0 = None;
            }
            let Some(at) = rest.find(['#', '"', '\'']) else { return };
            rest = rest.get(at..).unwrap_or_default();
            if rest.starts_with('#') {
                return;
            }
            self.0 = ["\"\"\"", "'''"].into_iter().find(|quotes| rest.starts_with(quotes));
            rest = match self.0 {
                Some(quotes) => rest.get(quotes.len()..).unwrap_or_default(),
                None => after_text(rest),
            };
        }
    }
}

/// What follows a text in quotes that ends on its line.
fn after_text(text: &str) -> &str {
    let mut chars = text.char_indices();
    let Some((_, quote)) = chars.next() else { return "" };
    let mut is_escaped = false;
    for (at, c) in chars {
        if c == quote && !is_escaped {
            return text.get(at + 1..).unwrap_or_default();
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    ""
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn python(lines: &[&str], by_jupytext: bool) -> Vec<String> {
        uncommented(lines, Language::Python, by_jupytext)
    }

    #[test]
    fn magics_are_found_by_how_they_look_as_jupytext_does() {
        for (line, magic) in [
            ("# %load_ext autoreload", "%load_ext autoreload"),
            ("#%env FOO=bar", "%env FOO=bar"),
            ("    # %time x", "    %time x"),
            ("# !echo a", "!echo a"),
            ("# ! ./run", "! ./run"),
            ("# !important", "!important"),
            ("# ?frame", "?frame"),
            ("# files = !ls", "files = !ls"),
            ("# # %time x", "# %time x"),
        ] {
            assert_eq!(python(&[line], false), [magic]);
        }
        for comment in [
            "# 100%",
            "# % of all",
            "#  %two",
            "# !=",
            "# a = 5",
            "# a % b",
            "# x == !y",
            "# %time x # noescape",
            "# %%%%four",
            "# why?",
            "# ls",
            "# copy the data",
            "",
            "#",
        ] {
            assert_eq!(python(&[comment], false), [comment]);
        }
    }

    #[test]
    fn commands_and_questions_are_found_in_what_jupytext_wrote() {
        let lines = ["# ls", "# cd there", "# ls = 1", "# lsof", "# frame?", "# is it?", "# words"];
        let expected = ["ls", "cd there", "# ls = 1", "# lsof", "frame?", "# is it?", "# words"];
        assert_eq!(python(&lines, true), expected);
    }

    #[test]
    fn a_magic_of_a_cell_stands_at_its_head_and_a_line_may_go_on() {
        let lines = ["", "# %%bash", "echo 1", "# %%time"];
        assert_eq!(python(&lines, false), ["", "%%bash", "echo 1", "# %%time"]);
        assert_eq!(python(&["# !ls \\", "#   -l", "# words"], false), ["!ls \\", "  -l", "# words"]);
    }

    #[test]
    fn what_stands_in_a_text_stays() {
        let lines = ["s = '''a \"\"\" # '", "# %time x", "''' + \"\\\"'''\" # '''", "# %time y"];
        assert_eq!(python(&lines, false)[1], "# %time x");
        assert_eq!(python(&lines, false)[3], "%time y");
    }

    #[test]
    fn other_languages_have_magics_and_no_commands() {
        let lines = ["# %%bash", "# %time", "# !ls", "# ls"];
        assert_eq!(uncommented(&lines, Language::Julia, true), ["%%bash", "%time", "# !ls", "# ls"]);
    }

    proptest! {
        #[test]
        fn any_lines_stay_as_many(lines in proptest::collection::vec("(#| |%|!|=|é|a|ls|\"\"\"|'|\\\\|\\?){0,8}", 0..6)) {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            prop_assert_eq!(python(&lines, true).len(), lines.len());
        }
    }
}
