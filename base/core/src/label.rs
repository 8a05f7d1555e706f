//! Labels: what turned out to be true of a row.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize};

/// What turned out to be true of a row: a number, or the text of a class.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Label {
    /// The value of a regression; of a binary task 1 for positive and 0 for not; a class that is a number.
    Number(f64),
    /// A class.
    Text(String),
}

impl Label {
    /// The number that it is.
    pub const fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(_) => None,
        }
    }

    /// The place among some classes: the same text, else the same whole number, since a column with gaps
    /// writes `2` as `2.0`.
    pub fn place(&self, classes: &[String]) -> Option<usize> {
        let text = self.to_string();
        let place = |text: &str| classes.iter().position(|class| class == text);
        place(&text).or_else(|| place(text.strip_suffix(".0").filter(|whole| whole.parse::<i64>().is_ok())?))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl From<f64> for Label {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Label {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LabelVisitor)
    }
}

struct LabelVisitor;

impl Visitor<'_> for LabelVisitor {
    type Value = Label;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or the text of a class")
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Label, E> {
        Ok(Label::Number(f64::from(u8::from(truth))))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Label, E> {
        Ok(Label::Number(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Label, E> {
        Ok(Label::Number(number as f64))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Label, E> {
        Ok(Label::Number(number as f64))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Label, E> {
        Ok(Label::from(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_texts_and_truth_values_are_labels() {
        let read = |text: &str| serde_json::from_str::<Label>(text);
        assert_eq!(read("2").unwrap(), Label::Number(2.0));
        assert_eq!(read("-2.5").unwrap(), Label::Number(-2.5));
        assert_eq!(read("true").unwrap(), Label::Number(1.0));
        assert_eq!(read("\"late\"").unwrap(), Label::from("late"));
        assert!(read("null").unwrap_err().to_string().contains("a number or the text of a class"));
    }

    #[test]
    fn a_label_finds_its_class_as_text_or_as_a_number() {
        let classes = ["1", "2.0", "late"].map(str::to_owned);
        let places = [Label::from(1.0), Label::from("1.0"), Label::from("2.0"), Label::from("late")];
        assert_eq!(places.map(|label| label.place(&classes)), [Some(0), Some(0), Some(1), Some(2)]);
        let none = [Label::from(1.5), Label::from("Late"), Label::from(2.0)];
        assert!(none.iter().all(|label| label.place(&classes).is_none()));
    }
}
