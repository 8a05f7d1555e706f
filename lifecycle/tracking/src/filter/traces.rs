//! Filters and orders of traces: MLflow's grammar for them, and more, as with runs.
//!
//! Tests of spans that are joined by AND are of one span. `RLIKE` takes regular expressions of Rust's kind,
//! which are those of Python but for what would make them slow: looking around and references back.

use rondo_store::meta::search::{Comparison, Scalar, Test};
use rondo_store::meta::traces::{Condition, Field, Order, SOURCE_RUN};

use super::lexer::{Spot, Token, tokens};
use super::parser::{comparison, one_or};
use crate::Error;

/// How long a filter may be.
const LENGTH: usize = 65_536;
/// How long a pattern may be.
const PATTERN: usize = 10_000;
/// How many bytes a regular expression may be once it is made ready.
const REGEX: usize = 1 << 20;
/// How deep brackets may stand in each other.
const DEPTH: usize = 40;
/// How many tests a filter may have.
const TESTS: usize = 300;

/// The tag that is a trace's name.
const NAME: &str = "mlflow.traceName";

const EXPECTED: &str = "expected one of name, status, timestamp_ms, execution_time_ms, end_time_ms, request_id, \
                        client_request_id, run_id, prompt, text, tags.KEY, metadata.KEY, feedback.NAME, \
                        expectation.NAME, issue.id, span.name, span.type, span.status, span.attributes.KEY";

/// The condition that a filter's text means; an empty one is true of every trace.
///
/// # Errors
/// [`Error::Filter`] with the place and what was expected there.
pub fn parse(text: &str) -> Result<Condition, Error> {
    if text.len() > LENGTH {
        let reason = format!("longer than {LENGTH} bytes");
        return Err(Error::Filter { what: "filter", at: LENGTH, reason });
    }
    let mut parser = Parser::new("filter", text)?;
    if parser.tokens.peek().is_none() {
        return Ok(Condition::All(Vec::new()));
    }
    let condition = parser.any(0)?;
    match parser.tokens.next() {
        None => Ok(of_spans(condition)),
        Some(spot) => Err(parser.error(spot.at, "expected AND, OR or the end")),
    }
}

/// The keys of an order, each `FIELD [ASC | DESC]`.
///
/// # Errors
/// [`Error::Filter`] with the place and what was expected there.
pub fn order(keys: &[String]) -> Result<Vec<Order>, Error> {
    if keys.len() > 20 {
        return Err(Error::TooMany { what: "keys of an order", found: keys.len(), limit: 20 });
    }
    keys.iter().map(|text| Parser::new("order", text)?.order()).collect()
}

struct Parser {
    what: &'static str,
    tokens: std::iter::Peekable<std::vec::IntoIter<Spot>>,
    end: usize,
    tests: usize,
}

impl Parser {
    fn new(what: &'static str, text: &str) -> Result<Self, Error> {
        let end = text.chars().count() + 1;
        Ok(Self { what, tokens: tokens(what, text)?.into_iter().peekable(), end, tests: 0 })
    }

    fn order(mut self) -> Result<Order, Error> {
        let at = self.at();
        let field = self.field()?;
        let field = if field == Field::Run { Field::Metadata(SOURCE_RUN.to_owned()) } else { field };
        let can = matches!(
            field,
            Field::Id
                | Field::Experiment
                | Field::State
                | Field::ClientRequest
                | Field::Tag(_)
                | Field::Metadata(_)
        );
        if !can && !field.is_number() {
            return Err(self.error(at, "traces cannot be ordered by it"));
        }
        let descending = match self.tokens.next() {
            None => false,
            Some(Spot { token: Token::Word(word), .. }) if word.eq_ignore_ascii_case("asc") => false,
            Some(Spot { token: Token::Word(word), .. }) if word.eq_ignore_ascii_case("desc") => true,
            Some(spot) => return Err(self.error(spot.at, "expected ASC or DESC")),
        };
        match self.tokens.next() {
            None => Ok(Order { field, descending }),
            Some(spot) => Err(self.error(spot.at, "expected the end")),
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
            return Err(self.error(at, &format!("more than {DEPTH} conditions inside each other")));
        }
        if self.keyword("not") {
            return Ok(Condition::Not(Box::new(self.not(depth + 1)?)));
        }
        if self.tokens.next_if(|spot| spot.token == Token::Open).is_some() {
            let inner = self.any(depth + 1)?;
            let at = self.at();
            return match self.tokens.next_if(|spot| spot.token == Token::Close) {
                Some(_) => Ok(inner),
                None => Err(self.error(at, "expected `)`")),
            };
        }
        self.tests += 1;
        if self.tests > TESTS {
            return Err(self.error(at, &format!("more than {TESTS} conditions")));
        }
        self.test()
    }

    fn test(&mut self) -> Result<Condition, Error> {
        let field = self.field()?;
        let number = field.is_number();
        let at = self.at();
        if self.keyword("is") {
            let present = self.keyword("not");
            let at = self.at();
            if !self.keyword("null") {
                return Err(self.error(at, "expected NULL"));
            }
            return Ok(Condition::Test(field, if present { Test::Present } else { Test::Absent }));
        }
        if field == Field::Prompt {
            return self.prompt();
        }
        let negated = self.keyword("not");
        if self.keyword("in") {
            let values = self.list(number)?;
            return Ok(Condition::Test(field, if negated { Test::NotIn(values) } else { Test::In(values) }));
        }
        for (word, ignore_case) in [("like", false), ("ilike", true)] {
            if self.keyword(word) {
                let pattern = match self.value(false)? {
                    Scalar::Text(pattern) if pattern.len() > PATTERN => {
                        return Err(self.error(at, &format!("the pattern is longer than {PATTERN} bytes")));
                    }
                    Scalar::Text(pattern) if !number => pattern,
                    _ => return Err(self.error(at, "LIKE and ILIKE are for text only")),
                };
                let test = Condition::Test(field, Test::Like { pattern, ignore_case });
                return Ok(if negated { Condition::Not(Box::new(test)) } else { test });
            }
        }
        if self.keyword("rlike") {
            let at = self.at();
            let pattern = match self.value(false)? {
                Scalar::Text(pattern) if !number => pattern,
                _ => return Err(self.error(at, "RLIKE is for text only")),
            };
            if let Err(reason) = regex::RegexBuilder::new(&pattern).size_limit(REGEX).build() {
                let reason = reason.to_string();
                let reason = reason.lines().last().unwrap_or_default();
                return Err(self.error(at, &format!("no regular expression: {reason}")));
            }
            let test = Condition::Matches(field, pattern);
            return Ok(if negated { Condition::Not(Box::new(test)) } else { test });
        }
        let comparison = match self.tokens.next_if(|spot| matches!(spot.token, Token::Operator(_))) {
            Some(Spot { token: Token::Operator(text), .. }) if !negated => comparison(text),
            Some(_) | None => None,
        };
        let Some(comparison) = comparison else {
            let expected =
                "expected one of =, !=, <, <=, >, >=, LIKE, ILIKE, RLIKE, IN, NOT IN, IS NULL, IS NOT NULL";
            return Err(self.error(at, expected));
        };
        if !number && !matches!(comparison, Comparison::Equal | Comparison::NotEqual) {
            return Err(self.error(at, "text can be compared by =, !=, LIKE, ILIKE and IN only"));
        }
        let value = match (&field, self.value(number)?) {
            // The wire's word for it is taken too.
            (Field::SpanStatus, Scalar::Text(text)) => {
                Scalar::Text(text.trim_start_matches("STATUS_CODE_").to_owned())
            }
            (_, value) => value,
        };
        let whole = |text: &str| text.parse::<i64>().is_ok();
        Ok(match (&field, &value) {
            // Clients write the whole numbers of assessments both ways.
            (Field::Assessment { .. }, Scalar::Text(text)) if whole(text.trim_end_matches(".0")) => {
                let short = text.trim_end_matches(".0");
                let both = [short.to_owned(), format!("{short}.0")].map(Scalar::Text).to_vec();
                let test = if comparison == Comparison::Equal { Test::In(both) } else { Test::NotIn(both) };
                Condition::Test(field, test)
            }
            (_, _) => Condition::Test(field, Test::Compare(comparison, value)),
        })
    }

    /// A prompt is one version of one name, and nothing else can be asked of it.
    fn prompt(&mut self) -> Result<Condition, Error> {
        let format = "prompt = \"name/version\"";
        let mut comparator = String::new();
        while let Some(spot) =
            self.tokens.next_if(|spot| matches!(spot.token, Token::Operator(_) | Token::Word(_)))
        {
            match spot.token {
                Token::Word(word) if comparator.is_empty() => comparator = word.to_uppercase(),
                Token::Word(word) => comparator = format!("{comparator} {}", word.to_uppercase()),
                Token::Operator(operator) => comparator.push_str(operator),
                _ => {}
            }
            if comparator != "NOT" {
                break;
            }
        }
        if comparator != "=" {
            let reason = format!(
                "invalid comparator '{comparator}' for prompts filter. Only '=' is supported with format: {format}"
            );
            return Err(Error::Prompt { reason });
        }
        match self.value(false)? {
            Scalar::Text(text) if text.matches('/').count() != 1 => {
                let reason = format!("invalid prompts filter value '{text}'. Expected format: {format}");
                Err(Error::Prompt { reason })
            }
            value => Ok(Condition::Test(Field::Prompt, Test::Compare(Comparison::Equal, value))),
        }
    }

    fn field(&mut self) -> Result<Field, Error> {
        let at = self.at();
        let mut name = match self.tokens.next().map(|spot| spot.token) {
            Some(Token::Word(word) | Token::Backtick(word) | Token::Double(word)) => word,
            Some(Token::Single(_) | Token::Operator(_) | Token::Open | Token::Close | Token::Comma)
            | None => return Err(self.error(at, "expected a field such as status or tags.KEY")),
        };
        if name.ends_with('.') {
            let at = self.at();
            match self.tokens.next().map(|spot| spot.token) {
                Some(Token::Backtick(key) | Token::Double(key)) => name.push_str(&key),
                Some(_) | None => return Err(self.error(at, "expected a key")),
            }
        }
        named(&name).ok_or_else(|| self.error(at, EXPECTED))
    }

    fn list(&mut self, number: bool) -> Result<Vec<Scalar>, Error> {
        let at = self.at();
        if self.tokens.next_if(|spot| spot.token == Token::Open).is_none() {
            return Err(self.error(at, "expected a list such as ('a', 'b')"));
        }
        let mut values = Vec::new();
        loop {
            values.push(self.value(number)?);
            if values.len() > 10_000 {
                return Err(self.error(at, "more than 10000 values in a list"));
            }
            let at = self.at();
            match self.tokens.next().map(|spot| spot.token) {
                // As in Python, the last one may have a comma too.
                Some(Token::Comma) if self.tokens.next_if(|spot| spot.token == Token::Close).is_some() => {
                    return Ok(values);
                }
                Some(Token::Comma) => {}
                Some(Token::Close) => return Ok(values),
                Some(_) | None => return Err(self.error(at, "expected `,` or `)`")),
            }
        }
    }

    fn value(&mut self, number: bool) -> Result<Scalar, Error> {
        let at = self.at();
        let value = match (number, self.tokens.next().map(|spot| spot.token)) {
            (false, Some(Token::Single(text) | Token::Double(text))) => Some(Scalar::Text(text)),
            (true, Some(Token::Word(word))) => match word.parse() {
                Ok(whole) => Some(Scalar::Int(whole)),
                Err(_) => word.parse().ok().filter(|value: &f64| value.is_finite()).map(Scalar::Real),
            },
            (_, _) => None,
        };
        let expected = if number { "expected a number" } else { "expected a quoted text value" };
        value.ok_or_else(|| self.error(at, expected))
    }

    fn keyword(&mut self, keyword: &str) -> bool {
        let is = |spot: &Spot| matches!(&spot.token, Token::Word(word) if word.eq_ignore_ascii_case(keyword));
        self.tokens.next_if(is).is_some()
    }

    fn at(&mut self) -> usize {
        self.tokens.peek().map_or(self.end, |spot| spot.at)
    }

    fn error(&self, at: usize, reason: &str) -> Error {
        Error::Filter { what: self.what, at, reason: reason.to_owned() }
    }
}

/// A field by its name, with or without a head.
fn named(name: &str) -> Option<Field> {
    let Some((head, key)) = name.split_once('.') else { return attribute(name) };
    let owned = || Some(key.to_owned()).filter(|key| !key.is_empty());
    match head.to_lowercase().as_str() {
        "attribute" | "attributes" | "trace" => attribute(key),
        "tag" | "tags" => owned().map(Field::Tag),
        // The run under which a trace was made is one that it is linked to.
        "metadata" | "request_metadata" if key == SOURCE_RUN => Some(Field::Run),
        "metadata" | "request_metadata" => owned().map(Field::Metadata),
        "feedback" => owned().map(|name| Field::Assessment { kind: "feedback", name }),
        "expectation" => owned().map(|name| Field::Assessment { kind: "expectation", name }),
        "issue" if key == "id" => Some(Field::Issue),
        "span" => match key.split_once('.') {
            None if key == "name" => Some(Field::SpanName),
            None if key == "type" => Some(Field::SpanType),
            None if key == "status" => Some(Field::SpanStatus),
            None if key == "content" => Some(Field::SpanText),
            Some(("attributes", key)) if !key.is_empty() => Some(Field::SpanAttribute(key.to_owned())),
            Some(_) | None => None,
        },
        _ => None,
    }
}

fn attribute(name: &str) -> Option<Field> {
    match name.to_lowercase().as_str() {
        "request_id" | "trace_id" => Some(Field::Id),
        "experiment_id" => Some(Field::Experiment),
        "client_request_id" => Some(Field::ClientRequest),
        "status" | "state" => Some(Field::State),
        "timestamp" | "timestamp_ms" | "request_time" => Some(Field::Started),
        "execution_time" | "execution_time_ms" | "execution_duration" => Some(Field::Duration),
        "end_time" | "end_time_ms" => Some(Field::Ended),
        "name" => Some(Field::Tag(NAME.to_owned())),
        "run_id" => Some(Field::Run),
        "prompt" => Some(Field::Prompt),
        "text" => Some(Field::SpanText),
        _ => None,
    }
}

/// Puts each test of a span where it is of one span: those in one AND are of the same.
fn of_spans(condition: Condition) -> Condition {
    let is_of_span = |part: &Condition| matches!(part, Condition::Test(field, _) | Condition::Matches(field, _) if field.is_of_span());
    match condition {
        Condition::All(parts) => {
            let (spans, others): (Vec<_>, Vec<_>) = parts.into_iter().partition(is_of_span);
            let mut parts: Vec<Condition> = others.into_iter().map(of_spans).collect();
            if !spans.is_empty() {
                parts.push(Condition::Span(Box::new(one_or(spans, Condition::All))));
            }
            one_or(parts, Condition::All)
        }
        Condition::Any(parts) => Condition::Any(parts.into_iter().map(of_spans).collect()),
        Condition::Not(inner) => Condition::Not(Box::new(of_spans(*inner))),
        test if is_of_span(&test) => Condition::Span(Box::new(test)),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is(field: Field, value: &str) -> Condition {
        Condition::Test(field, Test::Compare(Comparison::Equal, Scalar::Text(value.to_owned())))
    }

    #[test]
    fn mlflows_own_grammar_is_taken() {
        for text in [
            "",
            "status = 'OK'",
            "trace.status IN ('OK', 'ERROR')",
            "name LIKE 'a%' AND tags.`a b` = 'x'",
            "metadata.`mlflow.user` != 'x' AND metadata.x IS NOT NULL",
            "timestamp_ms > 1700000000000 AND execution_time < 5.5",
            "attributes.run_id = 'r'",
            "feedback.correct = 'true' AND expectation.`a b` IS NULL",
            "span.name = 'a' AND span.attributes.`x y` ILIKE '%z%'",
            "trace.text LIKE '%x%'",
            "prompt = 'p/1'",
            "name RLIKE '^a.*z$' AND span.name NOT RLIKE '(?i)x|y'",
        ] {
            assert!(parse(text).is_ok(), "{text}: {:?}", parse(text));
        }
        assert_eq!(parse("name = 'a'").unwrap(), is(Field::Tag(NAME.into()), "a"));
    }

    #[test]
    fn tests_of_spans_in_one_and_are_of_one_span() {
        let (name, status) = (is(Field::SpanName, "a"), is(Field::SpanStatus, "OK"));
        let parsed = parse("span.name = 'a' AND state = 'OK' AND span.status = 'STATUS_CODE_OK'").unwrap();
        let span = Condition::Span(Box::new(Condition::All(vec![name.clone(), status.clone()])));
        assert_eq!(parsed, Condition::All(vec![is(Field::State, "OK"), span]));
        let parsed = parse("span.name = 'a' OR NOT span.status = 'OK'").unwrap();
        let not = Condition::Not(Box::new(Condition::Span(Box::new(status))));
        assert_eq!(parsed, Condition::Any(vec![Condition::Span(Box::new(name)), not]));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        for (text, at) in [
            ("nonsense = 'x'", 1),
            ("metrics.a > 1", 1),
            ("span.kind = 'x'", 1),
            ("tags. = 'x'", 7),
            ("status > 'OK'", 8),
            ("timestamp_ms > 'x'", 16),
            ("timestamp_ms LIKE '1%'", 14),
            ("name RLIKE '('", 12),
            ("name RLIKE 'a(?=b)'", 12),
            ("timestamp_ms RLIKE '1'", 20),
            ("status = OK", 10),
        ] {
            match parse(text) {
                Err(Error::Filter { at: found, .. }) => assert_eq!(found, at, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        assert!(order(&["feedback.x".to_owned()]).is_err());
        let keys = ["timestamp_ms DESC".to_owned(), "tag.x".to_owned(), "run_id asc".to_owned()];
        assert_eq!(order(&keys).unwrap().len(), 3);
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "(span\\.|tags\\.|name|AND|OR|NOT|\\(|\\)|=|'x'|`k`|IN| |,|IS NULL|[a-z.'`\"]){0,12}") {
            let _ = parse(&text);
            let _ = order(&[text]);
        }
    }
}
