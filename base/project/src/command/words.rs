//! A shell's text cut into simple commands: their words, and in which folder each runs.
//!
//! It knows quotes, comments, redirections, texts given with `<<`, subshells and `cd`. A word that the shell
//! would change (`$X`, `*`, a command in its place) is there and has no text.

use std::iter::Peekable;
use std::str::Chars;

/// One command with its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simple {
    /// The folder it runs in, relative to where the text begins (`""` for that); none where it is not sure.
    pub folder: Option<String>,
    /// Its words, without redirections; none where only the shell knows one.
    pub words: Vec<Option<String>>,
}

/// The simple commands of a text, in order.
pub fn commands(text: &str) -> Vec<Simple> {
    let mut scanner = Scanner {
        rest: text.chars().peekable(),
        found: Vec::new(),
        words: Vec::new(),
        folder: Some(String::new()),
        outer: Vec::new(),
        documents: Vec::new(),
    };
    scanner.scan();
    scanner.found
}

struct Scanner<'a> {
    rest: Peekable<Chars<'a>>,
    found: Vec<Simple>,
    words: Vec<Option<String>>,
    folder: Option<String>,
    /// The folders of the shells around a subshell.
    outer: Vec<Option<String>>,
    /// The last lines of the texts that begin behind the end of this line.
    documents: Vec<Option<String>>,
}

impl Scanner<'_> {
    fn scan(&mut self) {
        while let Some(&next) = self.rest.peek() {
            match next {
                '#' => while self.rest.next_if(|&c| c != '\n').is_some() {},
                '\n' => {
                    self.rest.next();
                    self.end();
                    self.skip_documents();
                }
                ';' | '|' => {
                    self.rest.next();
                    self.end();
                }
                '&' => {
                    self.rest.next();
                    if self.rest.peek() == Some(&'>') { self.redirection() } else { self.end() }
                }
                '(' => {
                    self.rest.next();
                    self.end();
                    self.outer.push(self.folder.clone());
                }
                ')' => {
                    self.rest.next();
                    self.end();
                    if let Some(folder) = self.outer.pop() {
                        self.folder = folder;
                    }
                }
                '<' | '>' => self.redirection(),
                space if space.is_whitespace() => drop(self.rest.next()),
                _ => {
                    let word = self.word();
                    let describes =
                        word.as_deref().is_some_and(|word| word.bytes().all(|c| c.is_ascii_digit()));
                    if !(describes && matches!(self.rest.peek(), Some('<' | '>'))) {
                        self.words.push(word);
                    }
                }
            }
        }
        self.end();
    }

    /// The end of a simple command.
    fn end(&mut self) {
        let words = std::mem::take(&mut self.words);
        if words.is_empty() {
            return;
        }
        self.found.push(Simple { folder: self.folder.clone(), words: words.clone() });
        let first = words.iter().flatten().map(String::as_str).next();
        if words.first().is_some_and(Option::is_some) && matches!(first, Some("cd" | "pushd" | "popd")) {
            let target = words.get(1).and_then(Option::as_deref).filter(|_| words.len() == 2);
            self.folder = self.folder.as_deref().zip(target).and_then(|(folder, to)| below(folder, to));
        }
    }

    /// `>`, `2>&1`, `<< END`, `<<< text`, with what stands behind.
    fn redirection(&mut self) {
        let mut sign = String::new();
        while let Some(c) = self.rest.next_if(|c| "<>&|".contains(*c)) {
            sign.push(c);
        }
        if sign == "<<" {
            self.rest.next_if_eq(&'-');
        }
        while self.rest.next_if(|c| matches!(c, ' ' | '\t')).is_some() {}
        if self.rest.peek().is_some_and(|&c| ends_word(c)) {
            return;
        }
        let target = self.word();
        if sign == "<<" {
            self.documents.push(target);
        }
    }

    fn skip_documents(&mut self) {
        for last in std::mem::take(&mut self.documents) {
            while self.rest.peek().is_some() {
                let line: String = self.rest.by_ref().take_while(|&c| c != '\n').collect();
                if last.as_deref() == Some(line.trim_start_matches('\t')) {
                    break;
                }
            }
        }
    }

    /// A word up to what ends it; none when the shell would put something else in its place.
    fn word(&mut self) -> Option<String> {
        let (mut word, mut sure) = (String::new(), true);
        while let Some(c) = self.rest.next_if(|&c| !ends_word(c)) {
            match c {
                '\\' => match self.rest.next() {
                    Some('\n') | None => {}
                    Some(c) => word.push(c),
                },
                '\'' => word.extend(self.rest.by_ref().take_while(|&c| c != '\'')),
                '"' => sure &= self.quoted(&mut word),
                '$' | '`' => {
                    sure = false;
                    self.substitution(c);
                }
                '*' | '?' | '[' | '{' | '}' => {
                    // A brace by itself groups commands.
                    sure &=
                        "{}".contains(c) && word.is_empty() && self.rest.peek().is_none_or(|&c| ends_word(c));
                    word.push(c);
                }
                '~' => {
                    sure &= !word.is_empty();
                    word.push(c);
                }
                c => word.push(c),
            }
        }
        // Whatever is assigned, it is an assignment.
        (sure || is_assignment(&word)).then_some(word)
    }

    /// What stands between double quotes; whether the shell leaves it as it is.
    fn quoted(&mut self, word: &mut String) -> bool {
        let mut sure = true;
        while let Some(c) = self.rest.next().filter(|&c| c != '"') {
            match c {
                '\\' => word.extend(self.rest.next()),
                '$' | '`' => {
                    sure = false;
                    self.substitution(c);
                }
                c => word.push(c),
            }
        }
        sure
    }

    /// What stands behind `$` or a back quote, which is no word of this command.
    fn substitution(&mut self, sign: char) {
        if sign == '`' {
            while self.rest.next().is_some_and(|c| c != '`') {}
            return;
        }
        let Some(open) = self.rest.next_if(|c| matches!(c, '(' | '{')) else { return };
        let close = if open == '(' { ')' } else { '}' };
        let mut depth = 1_usize;
        while depth > 0
            && let Some(c) = self.rest.next()
        {
            depth += usize::from(c == open);
            depth -= usize::from(c == close);
        }
    }
}

/// Whether a word is `NAME=value`, which goes before a command.
pub fn is_assignment(word: &str) -> bool {
    let is_name =
        |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    word.split_once('=').is_some_and(|(name, _)| is_name(name))
}

fn ends_word(c: char) -> bool {
    c.is_whitespace() || ";|&()<>".contains(c)
}

/// A path seen from a folder; none of what leaves the first one, or is absolute.
pub fn below(folder: &str, to: &str) -> Option<String> {
    if to.starts_with('/') || to == "-" || to.is_empty() {
        return None;
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in to.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let word = |word: &Option<String>| word.clone().unwrap_or_else(|| "?".to_owned());
        let one = |simple: Simple| {
            let words: Vec<_> = simple.words.iter().map(word).collect();
            format!("{}: {}", simple.folder.as_deref().unwrap_or("?"), words.join("|"))
        };
        commands(text).into_iter().map(one).collect()
    }

    #[test]
    fn words_are_the_shells() {
        assert_eq!(shown("a 'b c' \"d e\" f\\ g # h\n\ni\\\n j"), [": a|b c|d e|f g", ": i|j"]);
        assert_eq!(shown("a $X *.py \"$Y z\" `b c` ${{ params.x }}.py $(d (e) f) g"), [": a|?|?|?|?|?|?|g"]);
        assert_eq!(
            shown("a <in >out 2>&1 3>>x b & c && d || e |& f &>log"),
            [": a|b", ": c", ": d", ": e", ": f"]
        );
        assert_eq!(shown("A=$X B=y a; { b; }; {c,d}.py"), [": A=X|B=y|a", ": {|b", ": }", ": ?"]);
        assert_eq!(shown("a <<END b <<-'X'\npython no.py\nEND\nno\n\tX\nc <<< d"), [": a|b", ": c"]);
    }

    #[test]
    fn a_command_runs_where_the_last_cd_led() {
        assert_eq!(shown("cd a; b"), [": cd|a", "a: b"]);
        assert_eq!(
            shown("(cd a/../b/ && c; (cd x; d)); e\ncd \"$F\"; f"),
            [": cd|a/../b/", "b: c", "b: cd|x", "b/x: d", ": e", ": cd|?", "?: f"]
        );
        assert_eq!(shown("cd ..; a"), [": cd|..", "?: a"]);
        assert_eq!(shown("cd; a"), [": cd", "?: a"]);
        assert_eq!(shown("a)) b"), [": a", ": b"]);
    }

    proptest! {
        #[test]
        fn any_text_can_be_cut(text in "(cd|a|/|\\.|<|>|&|;|\\||\\(|\\)|\\$|\\{|\\}|'|\"|`|\\\\|#|\n| |é){0,60}") {
            for simple in commands(&text) {
                prop_assert!(!simple.words.is_empty());
            }
        }
    }
}
