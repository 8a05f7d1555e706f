//! Conditions: `when: params.full && inputs.train.size > 0`.
//!
//! A small language of comparisons, with `&&`, `||`, `!`, `in` and brackets, over `params.NAME`,
//! `matrix.NAME` and what is known of an input: `inputs.NAME.size` (bytes), `.digest` and `.rows` (of a
//! dataset that is a table). `${{ … }}` around a part is the same as brackets. There is no arithmetic and
//! no call: what needs those belongs in a step.

use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;

use crate::substitute::{self, Scope};

/// A condition that was read.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// A value: it has to be `true` or `false`.
    Is(Operand),
    /// Two values compared.
    Compare(Operand, Comparison, Operand),
    /// Not.
    Not(Box<Condition>),
    /// Both.
    And(Box<Condition>, Box<Condition>),
    /// One of them.
    Or(Box<Condition>, Box<Condition>),
}

/// A side of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// As it is written.
    Literal(Value),
    /// What a name stands for.
    Name(Name),
}

/// A name in a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// `params.NAME`.
    Param(String),
    /// `matrix.NAME`.
    Matrix(String),
    /// `inputs.NAME.FACT`.
    Input(String, Fact),
}

/// What may be asked of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// Bytes.
    Size,
    /// The digest of its content, as text.
    Digest,
    /// Rows, of a dataset that is a table.
    Rows,
}

impl Fact {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Size, Self::Digest, Self::Rows];

    /// The word after the last point.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Digest => "digest",
            Self::Rows => "rows",
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Param(name) => write!(f, "params.{name}"),
            Self::Matrix(name) => write!(f, "matrix.{name}"),
            Self::Input(name, fact) => write!(f, "inputs.{name}.{}", fact.word()),
        }
    }
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Equal,
    /// Not equal.
    Unequal,
    /// Less.
    Less,
    /// Less or equal.
    AtMost,
    /// Greater.
    Greater,
    /// Greater or equal.
    AtLeast,
    /// Stands in a list.
    In,
}

/// Why a text is no condition, or has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// Something that cannot stand there.
    #[error("`{found}` cannot stand {place} of a condition")]
    Unexpected {
        /// What stands there.
        found: String,
        /// Where.
        place: &'static str,
    },
    /// It ends too early.
    #[error("the condition ends too early")]
    End,
    /// A name of an unknown form.
    #[error("`{0}` is no name in a condition")]
    Name(String),
    /// Brackets in brackets in brackets.
    #[error("the condition has too many brackets in each other")]
    Deep,
    /// A name without a value.
    #[error("`{0}` has no value here")]
    Unknown(String),
    /// A value where a truth is wanted.
    #[error("`{0}` is neither `true` nor `false`")]
    NoTruth(String),
    /// Values that cannot be compared so.
    #[error("`{0}` and `{1}` cannot be compared")]
    Incomparable(String, String),
}

/// How deep brackets may stand in each other.
const DEEP: usize = 50;

/// The same condition with what its parameters stand for, where a package is put into a project: a value, or
/// the project's parameter that it is given by. A text that is no condition stays as it is.
pub fn bound(text: &str, params: &dyn Fn(&str) -> Option<Value>) -> String {
    let Ok(words) = words(text) else { return text.to_owned() };
    let shown = |word: &Word| {
        let Word::Name(Name::Param(name)) = word else { return word.to_string() };
        match params(name) {
            Some(Value::String(value)) => match substitute::names(&value, Scope::Params).as_slice() {
                [only] => format!("params.{only}"),
                _ => Value::from(value).to_string(),
            },
            Some(value) => value.to_string(),
            None => word.to_string(),
        }
    };
    words.iter().map(shown).collect::<Vec<_>>().join(" ")
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        let mut reader = Reader { words: words(text)?, at: 0, depth: 0 };
        let condition = reader.either()?;
        match reader.peek() {
            None => Ok(condition),
            Some(word) => Err(ConditionError::Unexpected { found: word.to_string(), place: "at the end" }),
        }
    }

    /// The names in it.
    pub fn names(&self) -> Vec<&Name> {
        match self {
            Self::Is(operand) => operand.name().into_iter().collect(),
            Self::Compare(left, _, right) => left.name().into_iter().chain(right.name()).collect(),
            Self::Not(inner) => inner.names(),
            Self::And(left, right) | Self::Or(left, right) => {
                left.names().into_iter().chain(right.names()).collect()
            }
        }
    }

    /// Whether it holds, where names stand for what `value` says. The right side of `&&` and `||` is not
    /// looked at where the left decides.
    ///
    /// # Errors
    /// When a name has no value, or values do not fit.
    pub fn holds(&self, value: &dyn Fn(&Name) -> Option<Value>) -> Result<bool, ConditionError> {
        match self {
            Self::Is(operand) => truth(&operand.value(value)?),
            Self::Compare(left, comparison, right) => {
                compare(&left.value(value)?, *comparison, &right.value(value)?)
            }
            Self::Not(inner) => Ok(!inner.holds(value)?),
            Self::And(left, right) => Ok(left.holds(value)? && right.holds(value)?),
            Self::Or(left, right) => Ok(left.holds(value)? || right.holds(value)?),
        }
    }
}

impl Operand {
    const fn name(&self) -> Option<&Name> {
        match self {
            Self::Name(name) => Some(name),
            Self::Literal(_) => None,
        }
    }

    fn value(&self, value: &dyn Fn(&Name) -> Option<Value>) -> Result<Value, ConditionError> {
        match self {
            Self::Literal(literal) => Ok(literal.clone()),
            Self::Name(name) => value(name).ok_or_else(|| ConditionError::Unknown(name.to_string())),
        }
    }
}

fn truth(value: &Value) -> Result<bool, ConditionError> {
    match value {
        Value::Bool(truth) => Ok(*truth),
        Value::String(text) if text == "true" => Ok(true),
        Value::String(text) if text == "false" => Ok(false),
        other => Err(ConditionError::NoTruth(shown(other))),
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn compare(left: &Value, comparison: Comparison, right: &Value) -> Result<bool, ConditionError> {
    let order = || {
        let order = match (left, right) {
            (Value::Number(a), Value::Number(b)) => {
                a.as_f64().zip(b.as_f64()).and_then(|(a, b)| a.partial_cmp(&b))
            }
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            _ => None,
        };
        order.ok_or_else(|| ConditionError::Incomparable(shown(left), shown(right)))
    };
    Ok(match comparison {
        Comparison::Equal => same(left, right),
        Comparison::Unequal => !same(left, right),
        Comparison::Less => order()? == Ordering::Less,
        Comparison::AtMost => order()? != Ordering::Greater,
        Comparison::Greater => order()? == Ordering::Greater,
        Comparison::AtLeast => order()? != Ordering::Less,
        Comparison::In => match right {
            Value::Array(items) => items.iter().any(|item| same(left, item)),
            _ => return Err(ConditionError::Incomparable(shown(left), shown(right))),
        },
    })
}

/// Equal; `1` and `1.0` are the same number.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => left == right,
    }
}

/// A word of the text.
#[derive(Debug, Clone, PartialEq)]
enum Word {
    Open,
    Close,
    OpenList,
    CloseList,
    Comma,
    And,
    Or,
    Not,
    Compare(Comparison),
    Value(Value),
    Name(Name),
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("("),
            Self::Close => f.write_str(")"),
            Self::OpenList => f.write_str("["),
            Self::CloseList => f.write_str("]"),
            Self::Comma => f.write_str(","),
            Self::And => f.write_str("&&"),
            Self::Or => f.write_str("||"),
            Self::Not => f.write_str("!"),
            Self::Compare(comparison) => f.write_str(match comparison {
                Comparison::Equal => "==",
                Comparison::Unequal => "!=",
                Comparison::Less => "<",
                Comparison::AtMost => "<=",
                Comparison::Greater => ">",
                Comparison::AtLeast => ">=",
                Comparison::In => "in",
            }),
            Self::Value(value) => write!(f, "{value}"),
            Self::Name(name) => write!(f, "{name}"),
        }
    }
}

/// Signs, the longer before those that they begin with.
const SIGNS: [(&str, Word); 15] = [
    ("${{", Word::Open),
    ("}}", Word::Close),
    ("&&", Word::And),
    ("||", Word::Or),
    ("==", Word::Compare(Comparison::Equal)),
    ("!=", Word::Compare(Comparison::Unequal)),
    ("<=", Word::Compare(Comparison::AtMost)),
    (">=", Word::Compare(Comparison::AtLeast)),
    ("<", Word::Compare(Comparison::Less)),
    (">", Word::Compare(Comparison::Greater)),
    ("!", Word::Not),
    ("(", Word::Open),
    (")", Word::Close),
    ("[", Word::OpenList),
    ("]", Word::CloseList),
];

fn words(text: &str) -> Result<Vec<Word>, ConditionError> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if let Some((sign, word)) = SIGNS.iter().find(|(sign, _)| rest.starts_with(sign)) {
            words.push(word.clone());
            rest = rest.strip_prefix(sign).unwrap_or("");
        } else if first == ',' {
            words.push(Word::Comma);
            rest = rest.strip_prefix(',').unwrap_or("");
        } else if first == '\'' || first == '"' {
            let inside = rest.strip_prefix(first).unwrap_or("");
            let (text, after) = inside.split_once(first).ok_or(ConditionError::End)?;
            words.push(Word::Value(Value::from(text)));
            rest = after;
        } else {
            let plain = |c: char| c.is_alphanumeric() || "._-+".contains(c);
            let end = rest.find(|c: char| !plain(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            if word.is_empty() {
                return Err(ConditionError::Name(first.to_string()));
            }
            words.push(plain_word(word)?);
            rest = after;
        }
        rest = rest.trim_start();
    }
    Ok(words)
}

fn plain_word(word: &str) -> Result<Word, ConditionError> {
    Ok(match word {
        "true" => Word::Value(Value::Bool(true)),
        "false" => Word::Value(Value::Bool(false)),
        "null" => Word::Value(Value::Null),
        "and" => Word::And,
        "or" => Word::Or,
        "not" => Word::Not,
        "in" => Word::Compare(Comparison::In),
        word if word.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) => {
            let number = word.parse::<i64>().map(Value::from).ok();
            let number =
                number.or_else(|| serde_json::Number::from_f64(word.parse().ok()?).map(Value::Number));
            Word::Value(number.ok_or_else(|| ConditionError::Name(word.to_owned()))?)
        }
        word => Word::Name(name(word).ok_or_else(|| ConditionError::Name(word.to_owned()))?),
    })
}

fn name(word: &str) -> Option<Name> {
    let (scope, name) = word.split_once('.')?;
    let known = |name: &str| rondo_core::id::is_name(name).then(|| name.to_owned());
    match scope {
        "params" => known(name).map(Name::Param),
        "matrix" => known(name).map(Name::Matrix),
        "inputs" => {
            let (name, fact) = name.split_once('.')?;
            let fact = Fact::ALL.into_iter().find(|known| known.word() == fact)?;
            known(name).map(|name| Name::Input(name, fact))
        }
        _ => None,
    }
}

struct Reader {
    words: Vec<Word>,
    at: usize,
    depth: usize,
}

impl Reader {
    fn peek(&self) -> Option<&Word> {
        self.words.get(self.at)
    }

    fn takes(&mut self, word: &Word) -> bool {
        let there = self.peek() == Some(word);
        self.at += usize::from(there);
        there
    }

    fn either(&mut self) -> Result<Condition, ConditionError> {
        let mut left = self.both()?;
        while self.takes(&Word::Or) {
            left = Condition::Or(Box::new(left), Box::new(self.both()?));
        }
        Ok(left)
    }

    fn both(&mut self) -> Result<Condition, ConditionError> {
        let mut left = self.one()?;
        while self.takes(&Word::And) {
            left = Condition::And(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }

    fn one(&mut self) -> Result<Condition, ConditionError> {
        self.depth += 1;
        if self.depth > DEEP {
            return Err(ConditionError::Deep);
        }
        let made = self.shallow();
        self.depth -= 1;
        made
    }

    fn shallow(&mut self) -> Result<Condition, ConditionError> {
        if self.takes(&Word::Not) {
            return Ok(Condition::Not(Box::new(self.one()?)));
        }
        if self.takes(&Word::Open) {
            let inner = self.either()?;
            if !self.takes(&Word::Close) {
                return Err(self.wrong("where a bracket should close"));
            }
            // `${{ params.a }} == 3`: what stands in the brackets is a side.
            return match (inner, self.comparison()) {
                (inner, None) => Ok(inner),
                (Condition::Is(left), Some(comparison)) => {
                    Ok(Condition::Compare(left, comparison, self.operand()?))
                }
                (_, Some(comparison)) => {
                    let found = Word::Compare(comparison).to_string();
                    Err(ConditionError::Unexpected { found, place: "after a part in brackets" })
                }
            };
        }
        let left = self.operand()?;
        Ok(match self.comparison() {
            Some(comparison) => Condition::Compare(left, comparison, self.operand()?),
            None => Condition::Is(left),
        })
    }

    fn comparison(&mut self) -> Option<Comparison> {
        let Some(Word::Compare(comparison)) = self.peek() else { return None };
        let comparison = *comparison;
        self.at += 1;
        Some(comparison)
    }

    fn operand(&mut self) -> Result<Operand, ConditionError> {
        if self.takes(&Word::Open) {
            self.depth += 1;
            if self.depth > DEEP {
                return Err(ConditionError::Deep);
            }
            let inner = self.operand()?;
            self.depth -= 1;
            return if self.takes(&Word::Close) {
                Ok(inner)
            } else {
                Err(self.wrong("where a bracket should close"))
            };
        }
        if self.takes(&Word::OpenList) {
            return self.list();
        }
        let operand = match self.peek() {
            Some(Word::Value(value)) => Operand::Literal(value.clone()),
            Some(Word::Name(name)) => Operand::Name(name.clone()),
            Some(_) | None => return Err(self.wrong("where a value is wanted")),
        };
        self.at += 1;
        Ok(operand)
    }

    fn list(&mut self) -> Result<Operand, ConditionError> {
        let mut items = Vec::new();
        while !self.takes(&Word::CloseList) {
            let Some(Word::Value(value)) = self.peek() else { return Err(self.wrong("in a list")) };
            items.push(value.clone());
            self.at += 1;
            if !self.takes(&Word::Comma) && self.peek() != Some(&Word::CloseList) {
                return Err(self.wrong("in a list"));
            }
        }
        Ok(Operand::Literal(Value::Array(items)))
    }

    fn wrong(&self, place: &'static str) -> ConditionError {
        match self.peek() {
            Some(word) => ConditionError::Unexpected { found: word.to_string(), place },
            None => ConditionError::End,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn holds(text: &str) -> Result<bool, ConditionError> {
        Condition::parse(text)?.holds(&|name| match name.to_string().as_str() {
            "params.n" => Some(json!(3)),
            "params.mode" => Some(json!("full")),
            "params.on" => Some(json!(true)),
            "matrix.lang" => Some(json!("r")),
            "inputs.train.size" => Some(json!(1024)),
            _ => None,
        })
    }

    #[test]
    fn a_condition_of_a_package_is_put_in_terms_of_the_project() {
        let params = |name: &str| match name {
            "full" => Some(json!(false)),
            "mode" => Some(json!("it's")),
            "depth" => Some(json!("${{ params.layers }}")),
            _ => None,
        };
        let text = "params.full || ${{ params.mode }} == 'x' && params.depth > 2 || matrix.a";
        let bound = bound(text, &params);
        assert_eq!(bound, r#"false || ( "it's" ) == "x" && params.layers > 2 || matrix.a"#);
        let holds = |layers: i64| {
            Condition::parse(&bound).unwrap().holds(&|name| match name.to_string().as_str() {
                "params.layers" => Some(json!(layers)),
                _ => Some(json!(false)),
            })
        };
        assert_eq!(holds(3), Ok(false));
        assert_eq!(super::bound("params.", &params), "params.");
    }

    #[test]
    fn conditions_say_what_they_seem_to_say() {
        for (text, expected) in [
            ("true", true),
            ("${{ params.on }}", true),
            ("!params.on", false),
            ("params.n == 3", true),
            ("${{ params.n }} >= 3.5", false),
            ("params.mode == 'full' && params.n > 2", true),
            ("params.mode == \"small\" || not (params.n < 3)", true),
            ("matrix.lang in ['python', 'r']", true),
            ("params.n in [1, 2]", false),
            ("inputs.train.size > 0 and params.n != -1", true),
            ("false && params.unknown == 1", false),
            ("params.n == 3.0", true),
        ] {
            assert_eq!(holds(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_condition_is_told() {
        for (text, message) in [
            ("", "the condition ends too early"),
            ("params.n ==", "the condition ends too early"),
            ("params.n = 3", "`=` is no name in a condition"),
            ("n > 3", "`n` is no name in a condition"),
            ("inputs.train", "`inputs.train` is no name in a condition"),
            ("params.n 3", "`3` cannot stand at the end of a condition"),
            ("params.n", "`3` is neither `true` nor `false`"),
            ("params.gone > 1", "`params.gone` has no value here"),
            ("params.mode > 1", "`full` and `1` cannot be compared"),
            ("(params.on", "the condition ends too early"),
        ] {
            assert_eq!(holds(text).unwrap_err().to_string(), message, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z.0-9'!&|()<>=\\[\\]${} ,]{0,60}") {
            let _ = Condition::parse(&text);
        }
    }

    #[test]
    fn deep_brackets_are_refused_and_not_followed() {
        assert_eq!(Condition::parse(&"(".repeat(100_000)), Err(ConditionError::Deep));
        assert_eq!(Condition::parse(&"!".repeat(100_000)), Err(ConditionError::Deep));
    }
}
