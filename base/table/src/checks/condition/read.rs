//! From the text of a condition to what it says, within bounds: a text may come from anybody.

use std::fmt;

use super::{Comparison, Literal, Node, Operand, show};
use crate::decimal::Decimal;

/// How deep brackets may stand in each other.
pub(super) const DEEP: usize = 50;
/// How many brackets may be looked into.
const STEPS: usize = 5_000;
/// How many terms the sums and products may have in all: they lie in each other.
const TERMS: usize = 500;
/// How long a condition may be.
const LONG: usize = 20_000;

/// What a text says.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(text: &str) -> Result<Node, String> {
    if text.len() > LONG {
        return Err("the condition is too long".into());
    }
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0, steps: 0, terms: 0 };
    let root = parser.any()?;
    match parser.peek() {
        Some(token) => Err(format!("`{token}` cannot stand there in the condition")),
        None => Ok(root),
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Quoted(String),
    Text(String),
    Number(Decimal),
    Sign(&'static str),
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(text) | Self::Quoted(text) | Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
            Self::Sign(sign) => f.write_str(sign),
        }
    }
}

const SIGNS: [&str; 25] = [
    "==", "!=", "<>", "<=", ">=", "&&", "||", "<", ">", "=", "!", "~", "&", "|", "(", ")", "[", "]", ",",
    "+", "-", "*", "/", ".", ":",
];

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { return Ok(found) };
        if matches!(first, '\'' | '"' | '`') {
            let (inside, after) = quoted(rest, first)?;
            found.push(if first == '`' { Token::Quoted(inside) } else { Token::Text(inside) });
            rest = after;
        } else if first.is_ascii_digit()
            || first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit())
        {
            let length = number_length(rest);
            let (word, after) = rest.split_at(length);
            let number = Decimal::parse(word).or_else(|| Decimal::of_number(word.parse().ok()?));
            found.push(Token::Number(number.ok_or_else(|| format!("`{word}` is no number"))?));
            rest = after;
        } else if first.is_alphabetic() || first == '_' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (word, after) = rest.split_at(length);
            found.push(Token::Word(word.to_owned()));
            rest = after;
        } else if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            found.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else {
            return Err(format!("`{first}` cannot stand in a condition"));
        }
    }
}

/// What stands between two quotes, and what follows; a backslash takes the next character as it is.
fn quoted(text: &str, quote: char) -> Result<(String, &str), String> {
    let mut inside = String::new();
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => inside.extend(letters.next().map(|(_, letter)| letter)),
            letter if letter == quote => {
                return Ok((inside, text.get(at + letter.len_utf8()..).unwrap_or_default()));
            }
            letter => inside.push(letter),
        }
    }
    Err("a quote is not closed in the condition".into())
}

fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let after_e = at > 0 && matches!(bytes.get(at - 1), Some(b'e' | b'E'));
        let exponent = matches!(byte, b'e' | b'E')
            && bytes.get(at + 1).is_some_and(|next| next.is_ascii_digit() || matches!(next, b'+' | b'-'));
        if byte.is_ascii_digit() || *byte == b'.' || exponent || after_e && matches!(byte, b'+' | b'-') {
            at += 1;
        } else {
            break;
        }
    }
    at
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    /// Brackets that were looked into, some of them twice.
    steps: usize,
    /// Terms of all sums and products.
    terms: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Result<Token, String> {
        let token = self.tokens.get(self.at).cloned().ok_or("the condition ends too early")?;
        self.at += 1;
        Ok(token)
    }

    fn word(&self) -> Option<String> {
        match self.peek() {
            Some(Token::Word(word)) => Some(word.to_ascii_lowercase()),
            _ => None,
        }
    }

    fn takes_word(&mut self, wanted: &str) -> bool {
        let found = self.word().is_some_and(|word| word == wanted);
        self.at += usize::from(found);
        found
    }

    fn takes(&mut self, signs: &[&str]) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(sign)) if signs.contains(sign));
        self.at += usize::from(found);
        found
    }

    fn expects(&mut self, sign: &'static str) -> Result<(), String> {
        if self.takes(&[sign]) { Ok(()) } else { Err(format!("`{sign}` is missing in the condition")) }
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, String>) -> Result<T, String> {
        self.depth += 1;
        self.steps += 1;
        if self.depth > DEEP || self.steps > STEPS {
            return Err("the condition has too many brackets in each other".into());
        }
        let found = inner(self);
        self.depth -= 1;
        found
    }

    fn any(&mut self) -> Result<Node, String> {
        let mut parts = vec![self.all()?];
        while self.takes(&["||", "|"]) || self.takes_word("or") {
            parts.push(self.all()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Node::Or(parts) })
    }

    fn all(&mut self) -> Result<Node, String> {
        let mut parts = vec![self.one()?];
        while self.takes(&["&&", "&"]) || self.takes_word("and") {
            parts.push(self.one()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Node::And(parts) })
    }

    fn one(&mut self) -> Result<Node, String> {
        if self.takes(&["!", "~"]) || self.takes_word("not") {
            return self.deeper(|parser| Ok(Node::Not(Box::new(parser.one()?))));
        }
        // A bracket opens a condition, or a sum on the left of a comparison.
        if matches!(self.peek(), Some(Token::Sign("("))) {
            let (start, terms) = (self.at, self.terms);
            let inner = self.deeper(|parser| {
                parser.expects("(")?;
                let inner = parser.any()?;
                parser.expects(")")?;
                Ok(inner)
            });
            let goes_on = matches!(
                self.peek(),
                Some(Token::Sign("==" | "!=" | "<>" | "<" | "<=" | ">" | ">=" | "=" | "+" | "-" | "*" | "/"))
            );
            match inner {
                Ok(inner) if !goes_on => return Ok(inner),
                // It was a sum, or is nothing at all.
                _ => (self.at, self.terms) = (start, terms),
            }
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Node, String> {
        let left = self.sum()?;
        if let Operand::Column(name) = &left {
            if self.takes(&["."]) {
                return self.method(name.clone());
            }
            if self.takes_word("is") {
                let wanted = !self.takes_word("not");
                return if self.takes_word("null") {
                    Ok(Node::Null(name.clone(), wanted))
                } else {
                    Err("after `is` stands `null` or `not null`".into())
                };
            }
        }
        let negated = self.word().is_some_and(|word| word == "not")
            && matches!(self.tokens.get(self.at + 1), Some(Token::Word(word)) if word.eq_ignore_ascii_case("in"));
        self.at += usize::from(negated);
        if self.takes_word("in") {
            return Ok(Node::In(left, self.list()?, !negated));
        }
        let comparison = match self.peek() {
            Some(Token::Sign("==" | "=")) => Comparison::Equal,
            Some(Token::Sign("!=" | "<>")) => Comparison::Unequal,
            Some(Token::Sign("<")) => Comparison::Less,
            Some(Token::Sign("<=")) => Comparison::AtMost,
            Some(Token::Sign(">")) => Comparison::Greater,
            Some(Token::Sign(">=")) => Comparison::AtLeast,
            _ => {
                return match left {
                    Operand::Column(name) => Ok(Node::Truth(name)),
                    other => Err(format!("`{}` is compared with nothing in the condition", show(&other))),
                };
            }
        };
        self.at += 1;
        Ok(Node::Compare(left, comparison, self.sum()?))
    }

    /// `a.notnull()` and its kin.
    fn method(&mut self, name: String) -> Result<Node, String> {
        let word = match self.next()? {
            Token::Word(word) => word.to_ascii_lowercase(),
            other => return Err(format!("`{other}` cannot stand after a point in the condition")),
        };
        self.expects("(")?;
        let node = match word.as_str() {
            "isnull" | "isna" | "is_null" => Node::Null(name, true),
            "notnull" | "notna" | "is_not_null" => Node::Null(name, false),
            "isin" | "is_in" => Node::In(Operand::Column(name), self.list()?, true),
            _ => return Err(format!("`{word}` is nothing that a condition knows")),
        };
        self.expects(")")?;
        Ok(node)
    }

    fn list(&mut self) -> Result<Vec<Literal>, String> {
        if !self.takes(&["[", "("]) {
            return Err("after `in` stands a list such as ['AA', 'B6']".into());
        }
        let mut list = Vec::new();
        while !self.takes(&["]", ")"]) {
            match self.product()? {
                Operand::Literal(literal) => list.push(literal),
                other => return Err(format!("`{}` cannot stand in a list of values", show(&other))),
            }
            if !self.takes(&[","]) && !matches!(self.peek(), Some(Token::Sign("]" | ")"))) {
                return Err("a list of values is not closed in the condition".into());
            }
        }
        Ok(list)
    }

    /// One more term of a sum or product.
    fn term(&mut self) -> Result<(), String> {
        self.terms += 1;
        if self.terms > TERMS {
            return Err("the condition has sums of too many terms".into());
        }
        Ok(())
    }

    fn sum(&mut self) -> Result<Operand, String> {
        let mut left = self.product()?;
        while let Some(Token::Sign(sign @ ("+" | "-"))) = self.peek() {
            let sign = if *sign == "+" { '+' } else { '-' };
            self.at += 1;
            self.term()?;
            left = Operand::Sum(Box::new(left), sign, Box::new(self.product()?));
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Operand, String> {
        let mut left = self.operand()?;
        while let Some(Token::Sign(sign @ ("*" | "/"))) = self.peek() {
            let sign = if *sign == "*" { '*' } else { '/' };
            self.at += 1;
            self.term()?;
            left = Operand::Sum(Box::new(left), sign, Box::new(self.operand()?));
        }
        Ok(left)
    }

    fn operand(&mut self) -> Result<Operand, String> {
        match self.next()? {
            Token::Number(number) => Ok(Operand::Literal(Literal::Number(number))),
            Token::Text(text) => Ok(Operand::Literal(Literal::Text(text))),
            Token::Quoted(name) => Ok(Operand::Column(name)),
            Token::Sign("-") => match self.deeper(Self::operand)? {
                Operand::Literal(Literal::Number(number)) => Ok(Operand::Literal(Literal::Number(-number))),
                other => {
                    let zero = Operand::Literal(Literal::Number(Decimal::whole(0)));
                    Ok(Operand::Sum(Box::new(zero), '-', Box::new(other)))
                }
            },
            Token::Sign("(") => self.deeper(|parser| {
                let inner = parser.sum()?;
                parser.expects(")")?;
                Ok(inner)
            }),
            Token::Word(word) => match word.as_str() {
                "true" | "True" | "TRUE" => Ok(Operand::Literal(Literal::Truth(true))),
                "false" | "False" | "FALSE" => Ok(Operand::Literal(Literal::Truth(false))),
                "col" if matches!(self.peek(), Some(Token::Sign("("))) => {
                    self.expects("(")?;
                    let name = match self.next()? {
                        Token::Text(name) => name,
                        other => return Err(format!("`col({other}…` is no name of a column")),
                    };
                    self.expects(")")?;
                    Ok(Operand::Column(name))
                }
                _ => Ok(Operand::Column(word)),
            },
            other => Err(format!("`{other}` cannot stand there in the condition")),
        }
    }
}
