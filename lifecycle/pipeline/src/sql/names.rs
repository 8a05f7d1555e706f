//! The names in a statement that may be tables: found without understanding SQL, only by telling words,
//! quoted names, texts and comments apart. What is found too much costs a look and nothing more.

use std::collections::BTreeSet;

/// After these words a text may be a file that is read as a table; after those of [`NO_TABLES`] no more.
const TABLES: [&str; 6] = ["from", "join", "pivot", "unpivot", "describe", "summarize"];
const NO_TABLES: [&str; 16] = [
    "select",
    "where",
    "on",
    "using",
    "and",
    "or",
    "group",
    "order",
    "having",
    "limit",
    "qualify",
    "window",
    "union",
    "except",
    "intersect",
    "values",
];

/// A piece of a statement that may name something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mention {
    /// A name, plain or in double quotes.
    Name(String),
    /// A text in single quotes where tables are named: a file.
    Text(String),
}

/// All that a statement mentions, each once.
pub fn mentioned(statement: &str) -> BTreeSet<Mention> {
    let mut mentions = BTreeSet::new();
    // Whether tables are named here, and in the brackets around this place.
    let (mut here, mut around) = (false, Vec::new());
    let mut last = String::new();
    for token in tokens(statement) {
        let mut word = String::new();
        match token {
            Token::Word(name) => {
                word = name.to_ascii_lowercase();
                // `a IS DISTINCT FROM 'b'` compares.
                if TABLES.contains(&word.as_str()) && last != "distinct" {
                    here = true;
                } else if NO_TABLES.contains(&word.as_str()) {
                    here = false;
                }
                mentions.insert(Mention::Name(name));
            }
            Token::Quoted(name) => {
                mentions.insert(Mention::Name(name));
            }
            Token::Text(text) => {
                if here {
                    mentions.insert(Mention::Text(text));
                }
            }
            Token::Other('(') => around.push(here),
            Token::Other(')') => here = around.pop().unwrap_or(false),
            Token::Other(_) => {}
        }
        last = word;
    }
    mentions
}

/// What to do about a version that is named without quotes; nothing where none is.
pub fn unquoted(statement: &str) -> Option<String> {
    let tokens = tokens(statement);
    let mut windows = tokens.windows(2);
    let found = windows.find_map(|pair| match pair {
        [Token::Word(name), Token::Other('@')] => Some(name.clone()),
        _ => None,
    })?;
    let version: String = statement
        .split_once(&format!("{found}@"))
        .map(|(_, rest)| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect())
        .unwrap_or_default();
    Some(format!("write a version in double quotes: \"{found}@{version}\""))
}

enum Token {
    Word(String),
    Quoted(String),
    Text(String),
    Other(char),
}

fn tokens(statement: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = statement.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' => tokens.push(Token::Text(until(&mut chars, '\''))),
            '"' => tokens.push(Token::Quoted(until(&mut chars, '"'))),
            '-' if chars.peek() == Some(&'-') => {
                let _ = chars.by_ref().find(|c| *c == '\n');
            }
            '/' if chars.peek() == Some(&'*') => {
                let mut last = ' ';
                let _ = chars.by_ref().skip(1).find(|c| std::mem::replace(&mut last, *c) == '*' && *c == '/');
            }
            c if c.is_alphabetic() || c == '_' => {
                let mut word = String::from(c);
                while let Some(c) = chars.next_if(|c| c.is_alphanumeric() || *c == '_' || *c == '$') {
                    word.push(c);
                }
                tokens.push(Token::Word(word));
            }
            c if c.is_whitespace() => {}
            c => tokens.push(Token::Other(c)),
        }
    }
    tokens
}

/// What stands before the closing quote; a doubled one is one of the text.
fn until(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, quote: char) -> String {
    let mut text = String::new();
    while let Some(c) = chars.next() {
        if c == quote && chars.next_if_eq(&quote).is_none() {
            break;
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(statement: &str) -> Vec<String> {
        let names = mentioned(statement).into_iter().map(|mention| match mention {
            Mention::Name(name) => name,
            Mention::Text(text) => format!("'{text}'"),
        });
        names.collect()
    }

    #[test]
    fn names_texts_and_comments_are_told_apart() {
        assert_eq!(
            names("FROM flights f JOIN \"flights@2\" -- \"not this\"\n, 'it''s.csv' /* nor 'this' **/ x"),
            ["FROM", "JOIN", "f", "flights", "flights@2", "x", "'it's.csv'"]
        );
        assert_eq!(names("from 'open"), ["from", "'open'"]);
        assert_eq!(names("/* open"), Vec::<String>::new());
    }

    #[test]
    fn texts_are_files_only_where_tables_are_named() {
        let texts = |statement: &str| -> Vec<String> {
            names(statement).into_iter().filter(|name| name.starts_with('\'')).collect()
        };
        assert_eq!(
            texts("SELECT split_part(p, '/', 1) FROM 'a.csv' t JOIN 'b.csv' ON x = '.' AND y ~ '[0-9]+'"),
            ["'a.csv'", "'b.csv'"]
        );
        assert_eq!(texts("select extract(year from d), '.*' from (select * from 'a.csv')"), ["'a.csv'"]);
        assert_eq!(
            texts("from read_csv('a.csv'), 'b.csv' where a is distinct from '/'"),
            ["'a.csv'", "'b.csv'"]
        );
        assert_eq!(
            texts("from 'a.csv' select '/' union all from 'b.csv' order by '.'"),
            ["'a.csv'", "'b.csv'"]
        );
    }

    #[test]
    fn a_version_without_quotes_is_told_how_to_be_written() {
        let hint = unquoted("select * from flights@previous f").unwrap();
        assert_eq!(hint, "write a version in double quotes: \"flights@previous\"");
        assert_eq!(unquoted("select * from \"flights@2\""), None);
    }

    proptest! {
        #[test]
        fn any_text_is_taken_apart(text in "\\PC*") {
            mentioned(&text);
            unquoted(&text);
        }
    }
}
