//! The words of a filter.

use crate::Error;

/// A word of a filter.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// Anything that is not quoted: a name, a number, `AND`.
    Word(String),
    /// Text in single quotes.
    Single(String),
    /// Text in double quotes: a value, or a key after a dot.
    Double(String),
    /// Text in backticks: a key.
    Backtick(String),
    /// `=`, `!=`, `<`, `<=`, `>`, `>=`.
    Operator(&'static str),
    /// `(`
    Open,
    /// `)`
    Close,
    /// `,`
    Comma,
}

/// A token and the character at which it begins, counted from 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spot {
    pub(super) token: Token,
    pub(super) at: usize,
}

/// Cuts a text into tokens.
pub(super) fn tokens(what: &'static str, text: &str) -> Result<Vec<Spot>, Error> {
    let chars: Vec<char> = text.chars().collect();
    let peek = |at: usize| chars.get(at).copied();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = peek(at) {
        let start = at;
        at += 1;
        let token = match c {
            c if c.is_whitespace() => continue,
            '(' => Token::Open,
            ')' => Token::Close,
            ',' => Token::Comma,
            '=' => {
                at += usize::from(peek(at) == Some('='));
                Token::Operator("=")
            }
            '!' if peek(at) == Some('=') => {
                at += 1;
                Token::Operator("!=")
            }
            '<' | '>' => {
                let next = peek(at);
                at += usize::from(next == Some('=') || (c, next) == ('<', Some('>')));
                Token::Operator(match (c, next) {
                    ('<', Some('=')) => "<=",
                    ('<', Some('>')) => "!=",
                    ('<', _) => "<",
                    (_, Some('=')) => ">=",
                    (_, _) => ">",
                })
            }
            '\'' | '"' | '`' => {
                let mut inner = String::new();
                loop {
                    match peek(at) {
                        None => {
                            let reason = format!("the text in {c} quotes does not end");
                            return Err(Error::Filter { what, at: start + 1, reason });
                        }
                        // A quote inside is written twice.
                        Some(q) if q == c && peek(at + 1) == Some(c) => {
                            inner.push(c);
                            at += 2;
                        }
                        Some(q) if q == c => break,
                        Some(other) => {
                            inner.push(other);
                            at += 1;
                        }
                    }
                }
                at += 1;
                match c {
                    '\'' => Token::Single(inner),
                    '"' => Token::Double(inner),
                    _ => Token::Backtick(inner),
                }
            }
            c if is_word(c) => {
                while peek(at).is_some_and(is_word) {
                    at += 1;
                }
                Token::Word(chars.get(start..at).unwrap_or_default().iter().collect())
            }
            other => {
                let reason = format!("`{other}` has no meaning here");
                return Err(Error::Filter { what, at: start + 1, reason });
            }
        };
        tokens.push(Spot { token, at: start + 1 });
    }
    Ok(tokens)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || "_-.+/:@$".contains(c)
}
