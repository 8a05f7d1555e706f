//! Values written as literals of a language, and literals read back as values.
//!
//! Writing is total for what JSON can hold; each text is quoted so that no value can become code. Reading
//! understands literals only (numbers, texts, lists, maps of them): an expression is not a default whose type
//! can be told, and nothing is ever evaluated.

mod write;

pub use write::{not_finite, write, write_not_finite};

use serde_json::{Map, Number, Value};

use super::language::Language;

/// Reads a literal; `None` where the text is anything else.
pub fn read(text: &str, language: Language) -> Option<Value> {
    let mut reader = Reader { chars: text.trim().chars().collect(), at: 0, language };
    let value = reader.value(0)?;
    reader.blank();
    (reader.at == reader.chars.len()).then_some(value)
}

/// Deeper than any default that a person writes; keeps hostile nesting from the stack's end.
const DEEPEST: usize = 32;

struct Reader {
    chars: Vec<char>,
    at: usize,
    language: Language,
}

impl Reader {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    fn blank(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn take(&mut self, c: char) -> bool {
        self.blank();
        let found = self.peek() == Some(c);
        if found {
            self.at += 1;
        }
        found
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > DEEPEST {
            return None;
        }
        self.blank();
        match self.peek()? {
            '"' | '\'' => self.text().map(Value::String),
            '[' if matches!(self.language, Language::Python | Language::Julia | Language::Matlab) => {
                self.at += 1;
                self.list(']', depth).map(Value::Array)
            }
            '(' if self.language == Language::Python => {
                self.at += 1;
                let start = self.at;
                let values = self.list(')', depth)?;
                // `(1)` is a number in brackets, not a tuple.
                let comma = self.chars.get(start..self.at)?.contains(&',');
                match <[Value; 1]>::try_from(values) {
                    Ok([single]) if !comma => Some(single),
                    Ok([single]) => Some(Value::Array(vec![single])),
                    Err(values) => Some(Value::Array(values)),
                }
            }
            '{' if self.language == Language::Python => {
                self.at += 1;
                self.map(depth)
            }
            c if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => self.number(),
            c if c.is_alphabetic() || c == '_' || (c == '$' && self.language == Language::PowerShell) => {
                self.word(depth)
            }
            _ => None,
        }
    }

    fn list(&mut self, close: char, depth: usize) -> Option<Vec<Value>> {
        let mut values = Vec::new();
        loop {
            if self.take(close) {
                return Some(values);
            }
            values.push(self.value(depth + 1)?);
            if !self.take(',') {
                return self.take(close).then_some(values);
            }
        }
    }

    fn map(&mut self, depth: usize) -> Option<Value> {
        let mut map = Map::new();
        loop {
            if self.take('}') {
                return Some(Value::Object(map));
            }
            let key = match self.value(depth + 1)? {
                Value::String(key) => key,
                Value::Number(key) => key.to_string(),
                _ => return None,
            };
            if !self.take(':') {
                return None;
            }
            map.insert(key, self.value(depth + 1)?);
            if !self.take(',') {
                return self.take('}').then_some(Value::Object(map));
            }
        }
    }

    fn word(&mut self, depth: usize) -> Option<Value> {
        let start = self.at;
        self.at += 1;
        while self.peek().is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '.') {
            self.at += 1;
        }
        let word: String = self.chars.get(start..self.at)?.iter().collect();
        match (self.language, word.as_str()) {
            (Language::Python, "True") | (Language::R, "TRUE" | "T") => Some(Value::Bool(true)),
            (Language::Python, "False") | (Language::R, "FALSE" | "F") => Some(Value::Bool(false)),
            (Language::Python, "None") | (Language::R, "NULL") | (Language::Julia, "nothing") => {
                Some(Value::Null)
            }
            (Language::Scala | Language::CSharp, "null") | (Language::Scala | Language::FSharp, "None") => {
                Some(Value::Null)
            }
            (Language::PowerShell, word) => match word.to_lowercase().as_str() {
                "$true" => Some(Value::Bool(true)),
                "$false" => Some(Value::Bool(false)),
                "$null" => Some(Value::Null),
                _ => None,
            },
            (language, "true") if language != Language::Python && language != Language::R => {
                Some(Value::Bool(true))
            }
            (language, "false") if language != Language::Python && language != Language::R => {
                Some(Value::Bool(false))
            }
            (Language::R, "c" | "list") if self.take('(') => self.r_call(depth),
            _ => None,
        }
    }

    /// The arguments of `c(…)` or `list(…)`: a list, or a map where they are named.
    fn r_call(&mut self, depth: usize) -> Option<Value> {
        let (mut values, mut map) = (Vec::new(), Map::new());
        loop {
            if self.take(')') {
                break;
            }
            self.blank();
            match self.r_name() {
                Some(name) => {
                    map.insert(name, self.value(depth + 1)?);
                }
                None => values.push(self.value(depth + 1)?),
            }
            if !self.take(',') {
                if !self.take(')') {
                    return None;
                }
                break;
            }
        }
        match (values.is_empty(), map.is_empty()) {
            (true, false) => Some(Value::Object(map)),
            (_, true) => Some(Value::Array(values)),
            (false, false) => None,
        }
    }

    /// `name =` before an argument, where it stands there.
    fn r_name(&mut self) -> Option<String> {
        let start = self.at;
        let name = match self.peek() {
            Some('"' | '\'') => self.text(),
            _ => {
                while self.peek().is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '.') {
                    self.at += 1;
                }
                self.chars.get(start..self.at).map(|chars| chars.iter().collect())
            }
        };
        if name.as_ref().is_some_and(|name: &String| !name.is_empty()) && self.take('=') {
            return name;
        }
        self.at = start;
        None
    }

    fn number(&mut self) -> Option<Value> {
        let start = self.at;
        while let Some(c) = self.peek() {
            let after_exponent = matches!(self.chars.get(self.at.wrapping_sub(1)), Some('e' | 'E'));
            let sign = matches!(c, '-' | '+') && (self.at == start || after_exponent);
            if !(c.is_ascii_alphanumeric() || c == '.' || c == '_' || sign) {
                break;
            }
            self.at += 1;
        }
        let token: String = self.chars.get(start..self.at)?.iter().filter(|c| **c != '_').collect();
        let token = token.strip_prefix('+').unwrap_or(&token);
        if matches!(self.language, Language::R | Language::Matlab) {
            // In R a number is a double unless it ends in `L`.
            return match token.strip_suffix('L') {
                Some(whole) => whole.parse::<i64>().ok().map(Value::from),
                None => token.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number),
            };
        }
        if let Ok(whole) = token.parse::<i64>() {
            return Some(Value::from(whole));
        }
        if let Some(digits) = token.strip_prefix("0x") {
            return i64::from_str_radix(digits, 16).ok().map(Value::from);
        }
        // `inf` and `nan` begin with letters and never come here.
        token.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number)
    }

    fn text(&mut self) -> Option<String> {
        let quote = self.next()?;
        let python = self.language == Language::Python;
        let opens =
            |at: usize, chars: &[char]| chars.get(at..at + 2).is_some_and(|two| two == [quote, quote]);
        let triple = python && opens(self.at, &self.chars);
        if triple {
            self.at += 2;
        }
        let raw = match self.language {
            Language::Bash => quote == '\'',
            Language::Matlab | Language::PowerShell => true,
            _ => false,
        };
        let replaces = match self.language {
            Language::Bash | Language::PowerShell => quote == '"',
            Language::Julia => true,
            _ => false,
        };
        let mut text = String::new();
        loop {
            match self.next()? {
                c if c == quote && !triple => return Some(text),
                c if c == quote && opens(self.at, &self.chars) => {
                    self.at += 2;
                    return Some(text);
                }
                '\n' if python && !triple => return None,
                '$' | '`' if replaces => return None,
                '\\' if !raw => self.escape(&mut text)?,
                c => text.push(c),
            }
        }
    }

    fn escape(&mut self, text: &mut String) -> Option<()> {
        let code = |reader: &mut Self, digits: usize| {
            let hex: String = reader.chars.get(reader.at..reader.at + digits)?.iter().collect();
            reader.at += digits;
            u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32)
        };
        match self.next()? {
            'n' => text.push('\n'),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            '0' => text.push('\0'),
            '\n' => {}
            'x' => text.push(code(self, 2)?),
            'u' => text.push(code(self, 4)?),
            'U' => text.push(code(self, 8)?),
            c @ ('\\' | '\'' | '"' | '$' | '`') => text.push(c),
            c => text.extend(['\\', c]),
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn literals_are_read_and_expressions_are_not() {
        let python = |text| read(text, Language::Python);
        assert_eq!(python("1_000"), Some(json!(1000)));
        assert_eq!(python("-1.5e-3"), Some(json!(-0.0015)));
        assert_eq!(python("(1, 'a')"), Some(json!([1, "a"])));
        assert_eq!(python("(1)"), Some(json!(1)));
        assert_eq!(python("(1,)"), Some(json!([1])));
        assert_eq!(python("{'a': [None,],}"), Some(json!({"a": [null]})));
        assert_eq!(python("'''a\nb'''"), Some(json!("a\nb")));
        for text in ["1 + 1", "f(x)", "f'a'", "'open", "[1", "a", "", "1 2", "os.getcwd()"] {
            assert_eq!(python(text), None, "{text}");
        }
        assert_eq!(read("6L", Language::R), Some(json!(6)));
        assert_eq!(read("6", Language::R), Some(json!(6.0)));
        assert_eq!(read("c('a', \"b\")", Language::R), Some(json!(["a", "b"])));
        assert_eq!(read("list(a = 1, b = TRUE)", Language::R), Some(json!({"a": 1.0, "b": true})));
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Value::from),
            "(?s).{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("(?s).{0,6}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn python_reads_back_what_was_written(value in json_value()) {
            prop_assert_eq!(read(&write(&value, Language::Python), Language::Python), Some(value));
        }

        #[test]
        fn a_shell_literal_never_leaves_its_quotes(text in "(?s).{0,30}") {
            let literal = write(&Value::from(text.clone()), Language::Bash);
            let inner = literal.replace("'\\''", "");
            prop_assert_eq!(inner.matches('\'').count(), 2);
            prop_assert!(inner.starts_with('\'') && inner.ends_with('\''));
        }

        #[test]
        fn reading_never_panics(text in "[\\[\\](){}'\"\\\\0-9eEuxL.,:=+_ a-z-]{0,60}") {
            for language in Language::ALL {
                read(&text, language);
            }
        }
    }
}
