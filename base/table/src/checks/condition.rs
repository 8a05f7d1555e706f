//! Which rows a rule is about: `dep_delay > 0 and carrier == 'AA'`.
//!
//! A small typed language over the columns of one row: comparisons (`==`, `!=`, `<`, `<=`, `>`, `>=`),
//! `in [..]`, `is null`, `+ - * /` on numbers, joined by `and`, `or`, `not` (or `&&`, `||`, `!`) and
//! brackets. A name that is no word is written in backquotes. The forms in which Great Expectations and
//! pandas write the same (`col("a")`, `a.notnull()`, `~`) are understood.
//!
//! A comparison with a missing value is neither true nor false, as in SQL, and only rows for which the
//! whole is true are looked at. There are no functions and no other tables: what needs those is an `sql`
//! rule.

use std::fmt;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use rondo_core::signature::{Column, ColumnType};
use serde_json::Value;

use super::rows::numbers;
use crate::moment;

/// How deep brackets may stand in each other.
const DEEP: usize = 50;
/// How many brackets may be looked into.
const STEPS: usize = 5_000;
/// How many terms the sums and products may have in all: they lie in each other.
const TERMS: usize = 500;
/// How long a condition may be.
const LONG: usize = 20_000;

/// A condition that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    text: String,
    root: Node,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Compare(Operand, Comparison, Operand),
    In(Operand, Vec<Literal>, bool),
    Null(String, bool),
    Truth(String),
    Not(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Column(String),
    Literal(Literal),
    Sum(Box<Operand>, char, Box<Operand>),
}

#[derive(Debug, Clone, PartialEq)]
enum Literal {
    Number(f64),
    Text(String),
    Truth(bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

impl Comparison {
    fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::Unequal => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::AtMost => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::AtLeast => order.is_ge(),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONG {
            return Err("the condition is too long".into());
        }
        let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0, steps: 0, terms: 0 };
        let root = parser.any()?;
        if let Some(token) = parser.peek() {
            return Err(format!("`{token}` cannot stand there in the condition"));
        }
        let condition = Self { text: text.trim().to_owned(), root };
        if condition.columns().is_empty() {
            return Err("the condition names no column: it is the same for every row".into());
        }
        Ok(condition)
    }

    /// A condition as Great Expectations 1.x keeps it in JSON, or in any form as text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn of_json(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Object(_) => Self::parse(&from_json(value, 0)?),
            _ => Err("a condition is a text such as `delay > 0 and carrier == 'AA'`".into()),
        }
    }

    /// The columns that it names, each once.
    pub fn columns(&self) -> Vec<&str> {
        let mut found = Vec::new();
        columns(&self.root, &mut found);
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Why it cannot be asked of a table of these columns, where it cannot.
    pub(super) fn fault(&self, columns: &[Column]) -> Option<String> {
        for name in self.columns() {
            if !columns.iter().any(|column| column.name == name) {
                return Some(format!("the condition names `{name}`, which is no column"));
            }
        }
        fault(&self.root, columns)
    }

    /// The rows of a batch for which it holds, ascending.
    pub(super) fn select(&self, batch: &RecordBatch) -> Vec<u32> {
        let truths = evaluate(&self.root, batch);
        let chosen = truths.iter().enumerate().filter(|(_, truth)| **truth == YES);
        chosen.map(|(row, _)| row as u32).collect()
    }
}

// ---- evaluation: one byte a row, false, true or unknown

const NO: u8 = 0;
const YES: u8 = 1;
const UNKNOWN: u8 = 2;

fn truth(holds: bool) -> u8 {
    if holds { YES } else { NO }
}

fn evaluate(node: &Node, batch: &RecordBatch) -> Vec<u8> {
    let rows = batch.num_rows();
    match node {
        Node::Not(inner) => {
            let flip = |truth| match truth {
                NO => YES,
                YES => NO,
                _ => UNKNOWN,
            };
            evaluate(inner, batch).into_iter().map(flip).collect()
        }
        Node::And(parts) => join(parts, batch, YES, |a, b| match (a, b) {
            (NO, _) | (_, NO) => NO,
            (YES, YES) => YES,
            _ => UNKNOWN,
        }),
        Node::Or(parts) => join(parts, batch, NO, |a, b| match (a, b) {
            (YES, _) | (_, YES) => YES,
            (NO, NO) => NO,
            _ => UNKNOWN,
        }),
        Node::Null(column, wanted) => match batch.column_by_name(column) {
            Some(array) => {
                (0..rows).map(|row| truth(super::rows::is_missing(array, row) == *wanted)).collect()
            }
            None => vec![UNKNOWN; rows],
        },
        Node::Truth(column) => match batch.column_by_name(column).and_then(|array| array.as_boolean_opt()) {
            Some(array) => array.iter().map(|value| value.map_or(UNKNOWN, truth)).collect(),
            None => vec![UNKNOWN; rows],
        },
        Node::In(operand, list, wanted) => {
            let one = |literal: &Literal| {
                compare(operand, Comparison::Equal, &Operand::Literal(literal.clone()), batch)
            };
            let mut found = vec![NO; rows];
            for literal in list {
                for (slot, truth) in found.iter_mut().zip(one(literal)) {
                    *slot = if *slot == YES { YES } else { truth };
                }
            }
            if !wanted {
                for slot in &mut found {
                    *slot = match *slot {
                        NO => YES,
                        YES => NO,
                        _ => UNKNOWN,
                    };
                }
            }
            found
        }
        Node::Compare(left, comparison, right) => compare(left, *comparison, right, batch),
    }
}

fn join(parts: &[Node], batch: &RecordBatch, start: u8, both: impl Fn(u8, u8) -> u8) -> Vec<u8> {
    let mut all = vec![start; batch.num_rows()];
    for part in parts {
        for (slot, truth) in all.iter_mut().zip(evaluate(part, batch)) {
            *slot = both(*slot, truth);
        }
    }
    all
}

/// The values of an operand in a batch.
enum Values<'a> {
    Numbers(Vec<Option<f64>>),
    Texts(&'a ArrayRef),
    Truths(Vec<Option<bool>>),
    Text(&'a str),
    Truth(bool),
    Number(f64),
    Nothing,
}

fn values<'a>(operand: &'a Operand, batch: &'a RecordBatch) -> Values<'a> {
    match operand {
        Operand::Literal(Literal::Number(number)) => Values::Number(*number),
        Operand::Literal(Literal::Text(text)) => Values::Text(text),
        Operand::Literal(Literal::Truth(truth)) => Values::Truth(*truth),
        Operand::Column(name) => match batch.column_by_name(name) {
            Some(array) => match array.data_type() {
                DataType::Utf8 => Values::Texts(array),
                DataType::Boolean => Values::Truths(array.as_boolean().iter().collect()),
                _ => Values::Numbers(numbers(array)),
            },
            None => Values::Nothing,
        },
        Operand::Sum(left, sign, right) => {
            let rows = batch.num_rows();
            let side = |operand| match values(operand, batch) {
                Values::Number(number) => vec![Some(number); rows],
                Values::Numbers(numbers) => numbers,
                _ => vec![None; rows],
            };
            let pairs = side(left).into_iter().zip(side(right));
            let sums = pairs.map(|(a, b)| {
                let (a, b) = (a?, b?);
                let value = match sign {
                    '+' => a + b,
                    '-' => a - b,
                    '*' => a * b,
                    _ => a / b,
                };
                Some(value).filter(|value| !value.is_nan())
            });
            Values::Numbers(sums.collect())
        }
    }
}

fn compare(left: &Operand, comparison: Comparison, right: &Operand, batch: &RecordBatch) -> Vec<u8> {
    let rows = batch.num_rows();
    let moment = |operand: &Operand| match operand {
        Operand::Column(name) => batch
            .column_by_name(name)
            .is_some_and(|array| matches!(array.data_type(), DataType::Timestamp(_, _))),
        _ => false,
    };
    let told = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => a.partial_cmp(&b).map_or(UNKNOWN, |order| truth(comparison.holds(order))),
        _ => UNKNOWN,
    };
    let text_at = |array: &ArrayRef, row: usize| -> Option<String> {
        let array = array.as_string_opt::<i32>()?;
        (!array.is_null(row)).then(|| array.value(row).to_owned())
    };
    match (values(left, batch), values(right, batch)) {
        (Values::Numbers(a), Values::Numbers(b)) => a.into_iter().zip(b).map(|(a, b)| told(a, b)).collect(),
        (Values::Numbers(a), Values::Number(b)) => a.into_iter().map(|a| told(a, Some(b))).collect(),
        (Values::Number(a), Values::Numbers(b)) => b.into_iter().map(|b| told(Some(a), b)).collect(),
        (Values::Numbers(a), Values::Text(text)) if moment(left) => {
            let b = moment::parse_millis(text).map(|millis| millis as f64);
            a.into_iter().map(|a| told(a, b)).collect()
        }
        (Values::Text(text), Values::Numbers(b)) if moment(right) => {
            let a = moment::parse_millis(text).map(|millis| millis as f64);
            b.into_iter().map(|b| told(a, b)).collect()
        }
        (Values::Texts(array), Values::Text(text)) => {
            let Some(array) = array.as_string_opt::<i32>() else { return vec![UNKNOWN; rows] };
            array.iter().map(|a| a.map_or(UNKNOWN, |a| truth(comparison.holds(a.cmp(text))))).collect()
        }
        (Values::Text(text), Values::Texts(array)) => {
            let Some(array) = array.as_string_opt::<i32>() else { return vec![UNKNOWN; rows] };
            array.iter().map(|b| b.map_or(UNKNOWN, |b| truth(comparison.holds(text.cmp(b))))).collect()
        }
        (Values::Texts(a), Values::Texts(b)) => (0..rows)
            .map(|row| match (text_at(a, row), text_at(b, row)) {
                (Some(a), Some(b)) => truth(comparison.holds(a.cmp(&b))),
                _ => UNKNOWN,
            })
            .collect(),
        (Values::Truths(a), Values::Truth(b)) => {
            a.into_iter().map(|a| a.map_or(UNKNOWN, |a| truth(comparison.holds(a.cmp(&b))))).collect()
        }
        (Values::Truth(a), Values::Truths(b)) => {
            b.into_iter().map(|b| b.map_or(UNKNOWN, |b| truth(comparison.holds(a.cmp(&b))))).collect()
        }
        (Values::Truths(a), Values::Truths(b)) => a
            .into_iter()
            .zip(b)
            .map(|(a, b)| match (a, b) {
                (Some(a), Some(b)) => truth(comparison.holds(a.cmp(&b))),
                _ => UNKNOWN,
            })
            .collect(),
        (Values::Number(a), Values::Number(b)) => vec![told(Some(a), Some(b)); rows],
        (Values::Text(a), Values::Text(b)) => vec![truth(comparison.holds(a.cmp(b))); rows],
        (Values::Truth(a), Values::Truth(b)) => vec![truth(comparison.holds(a.cmp(&b))); rows],
        _ => vec![UNKNOWN; rows],
    }
}

// ---- types

/// What an operand is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    Truth,
    Moment,
}

fn kind(operand: &Operand, columns: &[Column]) -> Result<Kind, String> {
    match operand {
        Operand::Literal(Literal::Number(_)) => Ok(Kind::Number),
        Operand::Literal(Literal::Text(_)) => Ok(Kind::Text),
        Operand::Literal(Literal::Truth(_)) => Ok(Kind::Truth),
        Operand::Column(name) => {
            let column = columns.iter().find(|column| column.name == *name);
            match column.map(|column| column.column_type) {
                Some(ColumnType::Integer | ColumnType::Number) => Ok(Kind::Number),
                Some(ColumnType::String) => Ok(Kind::Text),
                Some(ColumnType::Boolean) => Ok(Kind::Truth),
                Some(ColumnType::Timestamp) => Ok(Kind::Moment),
                Some(ColumnType::Other) | None => Err(format!("`{name}` cannot stand in a condition")),
            }
        }
        Operand::Sum(left, _, right) => {
            for side in [left, right] {
                if matches!(kind(side, columns)?, Kind::Text | Kind::Truth) {
                    return Err(format!("`{}` is no number in the condition", show(side)));
                }
            }
            Ok(Kind::Number)
        }
    }
}

fn fault(node: &Node, columns: &[Column]) -> Option<String> {
    let pair = |left: &Operand, right: &Operand| {
        let (a, b) = match (kind(left, columns), kind(right, columns)) {
            (Ok(a), Ok(b)) => (a, b),
            (Err(why), _) | (_, Err(why)) => return Some(why),
        };
        let moment = |operand: &Operand| match operand {
            Operand::Literal(Literal::Text(text)) => moment::parse_millis(text).is_some(),
            _ => false,
        };
        let fits = a == b
            || a == Kind::Moment && (moment(right) || b == Kind::Number)
            || b == Kind::Moment && (moment(left) || a == Kind::Number);
        (!fits).then(|| format!("`{}` and `{}` cannot be compared in the condition", show(left), show(right)))
    };
    match node {
        Node::Compare(left, _, right) => pair(left, right),
        Node::In(operand, list, _) => {
            list.iter().find_map(|literal| pair(operand, &Operand::Literal(literal.clone())))
        }
        Node::Truth(name) => match kind(&Operand::Column(name.clone()), columns) {
            Ok(Kind::Truth) => None,
            Ok(_) => Some(format!("`{name}` is neither true nor false in the condition")),
            Err(why) => Some(why),
        },
        Node::Null(_, _) => None,
        Node::Not(inner) => fault(inner, columns),
        Node::And(parts) | Node::Or(parts) => parts.iter().find_map(|part| fault(part, columns)),
    }
}

fn show(operand: &Operand) -> String {
    match operand {
        Operand::Column(name) => name.clone(),
        Operand::Literal(Literal::Number(number)) => number.to_string(),
        Operand::Literal(Literal::Text(text)) => format!("'{text}'"),
        Operand::Literal(Literal::Truth(truth)) => truth.to_string(),
        Operand::Sum(left, sign, right) => format!("{} {sign} {}", show(left), show(right)),
    }
}

fn columns<'a>(node: &'a Node, found: &mut Vec<&'a str>) {
    fn operand<'a>(operand_: &'a Operand, found: &mut Vec<&'a str>) {
        match operand_ {
            Operand::Column(name) => found.push(name),
            Operand::Literal(_) => {}
            Operand::Sum(left, _, right) => {
                operand(left, found);
                operand(right, found);
            }
        }
    }
    match node {
        Node::Compare(left, _, right) => {
            operand(left, found);
            operand(right, found);
        }
        Node::In(inner, _, _) => operand(inner, found),
        Node::Null(name, _) | Node::Truth(name) => found.push(name),
        Node::Not(inner) => columns(inner, found),
        Node::And(parts) | Node::Or(parts) => parts.iter().for_each(|part| columns(part, found)),
    }
}

// ---- reading

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Quoted(String),
    Text(String),
    Number(f64),
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
            let number = word.parse().map_err(|_| format!("`{word}` is no number"))?;
            found.push(Token::Number(number));
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
                    let zero = Operand::Literal(Literal::Number(0.0));
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

/// The text of a condition that is kept as JSON.
fn from_json(value: &Value, depth: usize) -> Result<String, String> {
    if depth > DEEP {
        return Err("the condition is too deep".into());
    }
    let column = || {
        let column = value.get("column");
        let name = column.and_then(|column| column.as_str().or_else(|| column.get("name")?.as_str()));
        name.map(|name| format!("`{}`", escaped(name, '`'))).ok_or("the condition lacks a column")
    };
    let literal = |value: &Value| match value {
        Value::String(text) => Ok(format!("'{}'", escaped(text, '\''))),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => Err(format!("{value} cannot be compared in a condition")),
    };
    match value.get("type").and_then(Value::as_str) {
        Some("nullity") => {
            let null = value.get("is_null").and_then(Value::as_bool).unwrap_or(true);
            Ok(format!("{} is {}null", column()?, if null { "" } else { "not " }))
        }
        Some("comparison") => {
            let operator = value.get("operator").and_then(Value::as_str).unwrap_or_default();
            let parameter = value.get("parameter").unwrap_or(&Value::Null);
            match (operator, parameter) {
                ("IN" | "NOT_IN", Value::Array(list)) => {
                    let list: Vec<String> = list.iter().map(literal).collect::<Result<_, _>>()?;
                    let word = if operator == "IN" { "in" } else { "not in" };
                    Ok(format!("{} {word} [{}]", column()?, list.join(", ")))
                }
                ("==" | "!=" | "<" | "<=" | ">" | ">=", parameter) => {
                    Ok(format!("{} {operator} {}", column()?, literal(parameter)?))
                }
                _ => Err(format!("`{operator}` is no comparison of a condition")),
            }
        }
        Some(word @ ("and" | "or")) => {
            let parts = value.get("conditions").and_then(Value::as_array).ok_or("the condition is empty")?;
            let parts: Vec<String> = parts
                .iter()
                .map(|part| Ok(format!("({})", from_json(part, depth + 1)?)))
                .collect::<Result<_, String>>()?;
            Ok(parts.join(&format!(" {word} ")))
        }
        Some("pass_through") => value
            .get("pass_through_filter")
            .and_then(Value::as_str)
            .map(str::to_owned)
            .ok_or_else(|| "the condition is empty".to_owned()),
        _ => Err("the condition is of no known kind".into()),
    }
}

fn escaped(text: &str, quote: char) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter == quote || letter == '\\' {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::read;

    fn rows(condition: &str) -> Vec<u32> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        let text = "a,b,name,ok,at,two words\n1,2,x,true,2013-01-01,7\n5,,y,false,2013-02-01,8\n,3,,true,2013-03-01,9\n9,1,x y,,2013-04-01,\n";
        std::fs::write(&path, text).unwrap();
        let reader = read::open(&path).unwrap();
        let condition = Condition::parse(condition).unwrap();
        assert_eq!(condition.fault(reader.columns()), None, "{condition}");
        condition.select(&reader.into_iter().next().unwrap().unwrap())
    }

    #[test]
    fn rows_are_chosen_by_comparisons_of_columns_and_values() {
        for (condition, wanted) in [
            ("a > 1", vec![1, 3]),
            ("a > b", vec![3]),
            ("a >= 1 and a <= 5", vec![0, 1]),
            ("not (a > 1)", vec![0]),
            ("a < 2 or b = 3", vec![0, 2]),
            ("name == 'x' || name == \"x y\"", vec![0, 3]),
            ("name in ['x', 'y']", vec![0, 1]),
            ("name not in ('x')", vec![1, 3]),
            ("a is null", vec![2]),
            ("a is not null and b is not null", vec![0, 3]),
            ("ok", vec![0, 2]),
            ("!ok", vec![1]),
            ("ok == false", vec![1]),
            ("at >= '2013-02-15'", vec![2, 3]),
            ("`two words` > 7", vec![1, 2]),
            ("a + b * 2 == 5", vec![0]),
            ("(a + b) * 2 == 6", vec![0]),
            ("(a - b) > 0", vec![3]),
            ("a > -1 && ~(b == 2)", vec![3]),
            ("col(\"a\").notNull() and a.isin([5, 9])", vec![1, 3]),
            ("((a == 1))", vec![0]),
            ("a == 1e0", vec![0]),
        ] {
            assert_eq!(rows(condition), wanted, "{condition}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused_with_a_reason() {
        for text in
            ["", "a >", "a = = 1", "'x", "a in 5", "(a > 1", "a > 1 b", "1", "a is 5", "a ? b", "a.b()"]
        {
            assert!(Condition::parse(text).is_err(), "{text}");
        }
        let deep = "(".repeat(2000);
        assert!(Condition::parse(&deep).is_err());
        assert!(Condition::parse(&"not ".repeat(500)).is_err());
        let column = |name: &str, column_type| Column { name: name.into(), column_type, nullable: true };
        let columns = [column("a", ColumnType::Integer), column("s", ColumnType::String)];
        for text in ["a == 'x'", "s > 1", "b == 1", "a", "s + 1 > 2", "s in [1]"] {
            assert!(Condition::parse(text).unwrap().fault(&columns).is_some(), "{text}");
        }
    }

    #[test]
    fn long_sums_are_answered_at_once_and_endless_ones_refused() {
        let column =
            |name: &str| Column { name: name.into(), column_type: ColumnType::Integer, nullable: true };
        let long = format!("a{} > 0", " + a".repeat(50));
        assert_eq!(Condition::parse(&long).unwrap().fault(&[column("a")]), None);
        assert!(Condition::parse(&long).unwrap().fault(&[column("b")]).is_some());
        let right = format!("a == {}a{}", "a + (".repeat(40), ")".repeat(40));
        assert_eq!(Condition::parse(&right).unwrap().fault(&[column("a")]), None);
        assert!(Condition::parse(&format!("a{} > 0", " + a".repeat(501))).is_err());
        let nested = format!("a == {}a{}", "a + (".repeat(40), format!("{})", " - a".repeat(20)).repeat(40));
        assert!(Condition::parse(&nested).is_err());
    }

    #[test]
    fn a_condition_without_a_column_is_refused() {
        for text in ["1 == 1", "'a' != 'b'", "not (1 > 2)", "1 in [1, 2]"] {
            let error = Condition::parse(text).unwrap_err();
            assert!(error.contains("names no column"), "{text}: {error}");
        }
    }

    #[test]
    fn conditions_of_great_expectations_are_read_from_json() {
        let condition = Condition::of_json(&json!({
            "type": "and",
            "conditions": [
                {"type": "comparison", "column": {"name": "a"}, "operator": ">=", "parameter": 5},
                {"type": "or", "conditions": [
                    {"type": "comparison", "column": {"name": "it's"}, "operator": "IN", "parameter": ["x", "o'y"]},
                    {"type": "nullity", "column": {"name": "b"}, "is_null": false},
                ]},
            ],
        }));
        let text = "(`a` >= 5) and ((`it's` in ['x', 'o\\'y']) or (`b` is not null))";
        assert_eq!(condition.unwrap().to_string(), text);
    }

    proptest! {
        #[test]
        fn any_text_is_a_condition_or_refused(text in "[a-c0-9 ()\\[\\]'`\"<>=!&|~.,+*/-]{0,60}|(not |\\(|a > 1 and ){0,80}") {
            let _ = Condition::parse(&text);
        }
    }
}
