//! Which rows a rule is about: `dep_delay > 0 and carrier == 'AA'`.
//!
//! A small typed language over the columns of one row: comparisons (`==`, `!=`, `<`, `<=`, `>`, `>=`),
//! `in [..]`, `is null`, `+ - * /` on numbers, joined by `and`, `or`, `not` (or `&&`, `||`, `!`) and
//! brackets. A name that is no word is written in backquotes. The forms in which Great Expectations and
//! pandas write the same (`col("a")`, `a.notnull()`, `~`) are understood.
//!
//! A comparison with a missing value is neither true nor false, as in SQL, and only rows for which the
//! whole is true are looked at. Whole numbers, decimals and moments are compared, added and multiplied to their
//! last digit; a quotient is a number of floating point. There are no functions and no other tables: what needs
//! those is an `sql` rule.
//!
//! [`read`] makes it of a text ([`gx`] of JSON), [`types`] says whether it fits a table, [`evaluate`] for which
//! rows it holds.

mod evaluate;
mod gx;
mod numbers;
mod read;
mod types;

use std::fmt;

use evaluate::{YES, evaluate};
use serde_json::Value;

use super::layout::{Layout, Named};
use crate::decimal::Decimal;

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
    Number(Decimal),
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
        let condition = Self { text: text.trim().to_owned(), root: read::read(text)? };
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
            Value::Object(_) => Self::parse(&gx::text(value, 0)?),
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
    pub(super) fn fault(&self, columns: &Layout<'_>) -> Option<String> {
        for name in self.columns() {
            if !columns.has(name) {
                return Some(format!("the condition names `{name}`, which is no column"));
            }
        }
        types::fault(&self.root, columns)
    }

    /// The rows of a batch for which it holds, ascending.
    pub(super) fn select(&self, batch: &Named<'_>) -> Vec<u32> {
        let truths = evaluate(&self.root, batch);
        let chosen = truths.iter().enumerate().filter(|(_, truth)| **truth == YES);
        chosen.map(|(row, _)| row as u32).collect()
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rondo_core::signature::{Column, ColumnType};

    use super::*;
    use crate::read;

    fn rows(condition: &str) -> Vec<u32> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        let text = "a,b,name,ok,at,two words\n1,2,x,true,2013-01-01,7\n5,,y,false,2013-02-01,8\n,3,,true,2013-03-01,9\n9,1,x y,,2013-04-01,\n";
        std::fs::write(&path, text).unwrap();
        let reader = read::open(&path).unwrap();
        let condition = Condition::parse(condition).unwrap();
        assert_eq!(condition.fault(&Layout::new(reader.columns())), None, "{condition}");
        condition.select(&Named::new(&reader.into_iter().next().unwrap().unwrap()))
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
            assert!(Condition::parse(text).unwrap().fault(&Layout::new(&columns)).is_some(), "{text}");
        }
    }

    #[test]
    fn long_sums_are_answered_at_once_and_endless_ones_refused() {
        let column =
            |name: &str| Column { name: name.into(), column_type: ColumnType::Integer, nullable: true };
        let long = format!("a{} > 0", " + a".repeat(50));
        assert_eq!(Condition::parse(&long).unwrap().fault(&Layout::new(&[column("a")])), None);
        assert!(Condition::parse(&long).unwrap().fault(&Layout::new(&[column("b")])).is_some());
        let right = format!("a == {}a{}", "a + (".repeat(40), ")".repeat(40));
        assert_eq!(Condition::parse(&right).unwrap().fault(&Layout::new(&[column("a")])), None);
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

    proptest! {
        #[test]
        fn any_text_is_a_condition_or_refused(text in "[a-c0-9 ()\\[\\]'`\"<>=!&|~.,+*/-]{0,60}|(not |\\(|a > 1 and ){0,80}") {
            let _ = Condition::parse(&text);
        }
    }
}
