//! The grammar of a filter, by recursive descent.
//!
//! ```text
//! any  := all (OR all)*
//! all  := not (AND not)*
//! not  := NOT not | ( any ) | test
//! test := field (= | != | < | <= | > | >=) value | field [NOT] (LIKE | ILIKE) text
//!       | field [NOT] IN ( value, … [,] ) | field IS [NOT] NULL
//! ```

use rondo_store::meta::search::{Attribute, Comparison, Condition, DatasetPart, Field, Room, Scalar, Test};

use super::lexer::{Spot, Token, tokens};
use super::words;
use crate::Error;

/// How deep brackets may stand in each other.
const DEPTH: usize = 40;
/// How many tests a filter may have.
const TESTS: usize = 300;
/// How many values the lists of a filter may have, all together.
const VALUES: usize = 10_000;
/// How long a pattern may be, in bytes.
const PATTERN: usize = 10_000;

pub(super) struct Parser {
    what: &'static str,
    room: Room,
    tokens: std::iter::Peekable<std::vec::IntoIter<Spot>>,
    end: usize,
    tests: usize,
    values: usize,
}

/// What kind of values a field has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Whole,
    Text,
    /// A whole number, in quotes or without.
    Quoted,
    /// Text that is compared as a number with a number, as text with a quoted text.
    Either,
}

impl Parser {
    pub(super) fn new(what: &'static str, room: Room, text: &str) -> Result<Self, Error> {
        let end = text.chars().count() + 1;
        Ok(Self { what, room, tokens: tokens(what, text)?.into_iter().peekable(), end, tests: 0, values: 0 })
    }

    /// A whole filter; an empty one is true of everything.
    pub(super) fn filter(mut self) -> Result<Condition, Error> {
        if self.tokens.peek().is_none() {
            return Ok(Condition::All(Vec::new()));
        }
        let condition = self.any(0)?;
        match self.tokens.next() {
            None => Ok(condition),
            Some(spot) => Err(self.error(spot.at, "expected AND, OR or the end".to_owned())),
        }
    }

    /// A field and `ASC` or `DESC`.
    pub(super) fn order(mut self) -> Result<(Field, bool), Error> {
        let field = self.field()?;
        let descending = match self.tokens.next() {
            None => false,
            Some(Spot { token: Token::Word(word), .. }) if word.eq_ignore_ascii_case("asc") => false,
            Some(Spot { token: Token::Word(word), .. }) if word.eq_ignore_ascii_case("desc") => true,
            Some(spot) => return Err(self.error(spot.at, "expected ASC or DESC".to_owned())),
        };
        match self.tokens.next() {
            None => Ok((field, descending)),
            Some(spot) => Err(self.error(spot.at, "expected the end".to_owned())),
        }
    }

    /// A field and nothing else.
    pub(super) fn column(mut self) -> Result<Field, Error> {
        let field = self.field()?;
        match self.tokens.next() {
            None => Ok(field),
            Some(spot) => Err(self.error(spot.at, "expected the end".to_owned())),
        }
    }

    fn any(&mut self, depth: usize) -> Result<Condition, Error> {
        let mut parts = vec![self.all(depth)?];
        while self.keyword("or") {
            parts.push(self.all(depth)?);
        }
        Ok(one_or(parts, Condition::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Condition, Error> {
        let mut parts = vec![self.not(depth)?];
        while self.keyword("and") {
            parts.push(self.not(depth)?);
        }
        Ok(one_or(parts, Condition::All))
    }

    fn not(&mut self, depth: usize) -> Result<Condition, Error> {
        let at = self.at();
        if depth > DEPTH {
            return Err(self.error(at, format!("more than {DEPTH} conditions inside each other")));
        }
        if self.keyword("not") {
            return Ok(Condition::Not(Box::new(self.not(depth + 1)?)));
        }
        if self.tokens.next_if(|spot| spot.token == Token::Open).is_some() {
            let inner = self.any(depth + 1)?;
            let at = self.at();
            return match self.tokens.next_if(|spot| spot.token == Token::Close) {
                Some(_) => Ok(inner),
                None => Err(self.error(at, "expected `)`".to_owned())),
            };
        }
        self.tests += 1;
        if self.tests > TESTS {
            return Err(self.error(at, format!("more than {TESTS} conditions")));
        }
        self.test()
    }

    fn test(&mut self) -> Result<Condition, Error> {
        let field = self.field()?;
        let kind = self.kind(&field);
        let at = self.at();
        if self.keyword("is") {
            let negated = self.keyword("not");
            let at = self.at();
            if !self.keyword("null") {
                return Err(self.error(at, "expected NULL".to_owned()));
            }
            return Ok(Condition::Test(field, if negated { Test::Present } else { Test::Absent }));
        }
        let negated = self.keyword("not");
        if self.keyword("in") {
            let values = self.list(kind)?;
            return Ok(Condition::Test(field, if negated { Test::NotIn(values) } else { Test::In(values) }));
        }
        for (word, ignore_case) in [("like", false), ("ilike", true)] {
            if self.keyword(word) {
                if !matches!(kind, Kind::Text | Kind::Either) {
                    return Err(self.error(at, "LIKE and ILIKE are for text only".to_owned()));
                }
                let at = self.at();
                let Scalar::Text(pattern) = self.value(Kind::Text)? else {
                    return Err(self.error(at, "expected a quoted pattern".to_owned()));
                };
                if pattern.len() > PATTERN {
                    return Err(self.error(at, format!("a pattern longer than {PATTERN} bytes")));
                }
                let test = Condition::Test(field, Test::Like { pattern, ignore_case });
                return Ok(if negated { Condition::Not(Box::new(test)) } else { test });
            }
        }
        let comparison = match self.tokens.next_if(|spot| matches!(spot.token, Token::Operator(_))) {
            Some(Spot { token: Token::Operator(text), .. }) if !negated => comparison(text),
            Some(_) | None => None,
        };
        let Some(comparison) = comparison else {
            let expected =
                "expected one of =, !=, <, <=, >, >=, LIKE, ILIKE, IN, NOT IN, IS NULL, IS NOT NULL";
            return Err(self.error(at, expected.to_owned()));
        };
        let text = kind == Kind::Text || (kind == Kind::Either && self.text_is_next());
        if text && !matches!(comparison, Comparison::Equal | Comparison::NotEqual) {
            return Err(self.error(at, "text can be compared by =, !=, LIKE, ILIKE and IN only".to_owned()));
        }
        let value = self.value(kind)?;
        if field == Field::Tag(super::PROMPT.to_owned())
            && let Scalar::Text(text) = &value
            && let Some(prompts) = no_prompts(comparison, text)
        {
            return Ok(prompts);
        }
        Ok(Condition::Test(field, Test::Compare(comparison, value)))
    }

    fn field(&mut self) -> Result<Field, Error> {
        let at = self.at();
        let (head, key) = match self.tokens.next().map(|spot| spot.token) {
            Some(Token::Word(word)) => match word.split_once('.') {
                Some((head, "")) => (head.to_owned(), Some(self.quoted_key()?)),
                Some((head, key)) => (head.to_owned(), Some(key.to_owned())),
                None => (word, None),
            },
            Some(Token::Backtick(text) | Token::Double(text)) => (text, None),
            Some(Token::Single(_) | Token::Operator(_) | Token::Open | Token::Close | Token::Comma)
            | None => {
                return Err(self.error(at, "expected a field such as metrics.rmse".to_owned()));
            }
        };
        let field = match key {
            None => words::attribute(self.room, &head).map(Field::Attribute),
            Some(key) => words::field(self.room, &head, &key),
        };
        field.ok_or_else(|| self.error(at, words::expected(self.room)))
    }

    fn quoted_key(&mut self) -> Result<String, Error> {
        let at = self.at();
        match self.tokens.next().map(|spot| spot.token) {
            Some(Token::Backtick(key) | Token::Double(key)) => Ok(key),
            Some(_) | None => Err(self.error(at, "expected a key".to_owned())),
        }
    }

    fn kind(&self, field: &Field) -> Kind {
        match field {
            Field::Metric(..) | Field::Measured(_) => Kind::Number,
            Field::Attribute(Attribute::Number) => Kind::Quoted,
            Field::Attribute(attribute) if self.room.is_number(*attribute) == Some(true) => Kind::Whole,
            Field::Param(_) => Kind::Either,
            Field::Attribute(_)
            | Field::Tag(_)
            | Field::Dataset(DatasetPart::Name | DatasetPart::Digest | DatasetPart::Context) => Kind::Text,
        }
    }

    fn text_is_next(&mut self) -> bool {
        self.tokens.peek().is_some_and(|spot| matches!(spot.token, Token::Single(_) | Token::Double(_)))
    }

    fn list(&mut self, kind: Kind) -> Result<Vec<Scalar>, Error> {
        let at = self.at();
        if self.tokens.next_if(|spot| spot.token == Token::Open).is_none() {
            return Err(self.error(at, "expected a list such as ('a', 'b')".to_owned()));
        }
        // Of texts that may be numbers all of a list are the one or the other.
        let kind = match kind {
            Kind::Either if self.text_is_next() => Kind::Text,
            Kind::Either => Kind::Number,
            Kind::Number | Kind::Whole | Kind::Quoted | Kind::Text => kind,
        };
        let mut values = Vec::new();
        loop {
            values.push(self.value(kind)?);
            self.values += 1;
            if self.values > VALUES {
                return Err(self.error(at, format!("more than {VALUES} values in lists")));
            }
            let at = self.at();
            match self.tokens.next().map(|spot| spot.token) {
                // As in Python, the last one may have a comma too.
                Some(Token::Comma) if self.tokens.next_if(|spot| spot.token == Token::Close).is_some() => {
                    return Ok(values);
                }
                Some(Token::Comma) => {}
                Some(Token::Close) => return Ok(values),
                Some(_) | None => return Err(self.error(at, "expected `,` or `)`".to_owned())),
            }
        }
    }

    fn value(&mut self, kind: Kind) -> Result<Scalar, Error> {
        let at = self.at();
        let token = self.tokens.next().map(|spot| spot.token);
        let value = match (kind, token) {
            (Kind::Text | Kind::Either, Some(Token::Single(text) | Token::Double(text))) => {
                Some(Scalar::Text(text))
            }
            (Kind::Number | Kind::Either, Some(Token::Word(word))) => {
                word.parse().ok().filter(|value: &f64| value.is_finite()).map(Scalar::Real)
            }
            (Kind::Quoted, Some(Token::Single(text) | Token::Double(text))) => {
                text.trim().parse().ok().map(Scalar::Int)
            }
            (Kind::Whole | Kind::Quoted, Some(Token::Word(word))) => match word.parse() {
                Ok(whole) => Some(Scalar::Int(whole)),
                Err(_) => word.parse().ok().filter(|value: &f64| value.is_finite()).map(Scalar::Real),
            },
            (_, _) => None,
        };
        let expected = match kind {
            Kind::Text => "expected a quoted text value",
            Kind::Either => "expected a quoted text value or a number",
            Kind::Number | Kind::Whole | Kind::Quoted => "expected a number",
        };
        value.ok_or_else(|| self.error(at, expected.to_owned()))
    }

    fn keyword(&mut self, keyword: &str) -> bool {
        let is = |spot: &Spot| matches!(&spot.token, Token::Word(word) if word.eq_ignore_ascii_case(keyword));
        self.tokens.next_if(is).is_some()
    }

    fn at(&mut self) -> usize {
        self.tokens.peek().map_or(self.end, |spot| spot.at)
    }

    const fn error(&self, at: usize, reason: String) -> Error {
        Error::Filter { what: self.what, at, reason }
    }
}

/// The only part, or all of them joined.
pub(super) fn one_or<T>(mut parts: Vec<T>, many: impl FnOnce(Vec<T>) -> T) -> T {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            many(parts)
        }
        None => many(parts),
    }
}

/// What is no prompt, where that is asked for: it has no such tag at all.
fn no_prompts(comparison: Comparison, value: &str) -> Option<Condition> {
    let asked = match comparison {
        Comparison::Equal => "false",
        Comparison::NotEqual => "true",
        _ => return None,
    };
    let yes = Test::Compare(Comparison::Equal, Scalar::Text("true".to_owned()));
    let prompt = Condition::Test(Field::Tag(super::PROMPT.to_owned()), yes);
    value.eq_ignore_ascii_case(asked).then(|| Condition::Not(Box::new(prompt)))
}

/// What an operator means.
pub(super) fn comparison(text: &str) -> Option<Comparison> {
    match text {
        "=" => Some(Comparison::Equal),
        "!=" => Some(Comparison::NotEqual),
        "<" => Some(Comparison::Less),
        "<=" => Some(Comparison::LessOrEqual),
        ">" => Some(Comparison::Greater),
        ">=" => Some(Comparison::GreaterOrEqual),
        _ => None,
    }
}

/// Tags that are columns: written as one, read as the other.
pub(super) fn tag(room: Room, key: &str) -> Field {
    let attribute = match (room, key) {
        (Room::Runs, "mlflow.runName") => Some(Attribute::Name),
        (Room::Runs, "mlflow.parentRunId") => Some(Attribute::Parent),
        (Room::Runs, "mlflow.user") => Some(Attribute::User),
        (_, _) => None,
    };
    attribute.map_or_else(|| Field::Tag(key.to_owned()), Field::Attribute)
}
