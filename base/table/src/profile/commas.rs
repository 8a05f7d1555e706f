//! Columns of texts whose numbers have a decimal comma, which nothing but `read:` says: `3,14`, `1.234,50`.
//!
//! They are told by the shapes of their texts, and with them whether points group digits. A comma behind at
//! most three digits and before three, wherever one stands, may group them itself: `1,234`.

use std::fmt;

use super::{ColumnProfile, Profile, TextForms};

/// From this share on texts are numbers.
const SHARE: f64 = 0.95;

/// The columns of a table whose numbers have a comma.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commas {
    /// Their names.
    pub columns: Vec<String>,
    kind: Kind,
}

/// What the marks in a column's numbers are; of several columns the first that one has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Points group digits before a decimal comma.
    Grouped,
    /// There are decimal commas.
    Decimal,
    /// All commas stand where one may group digits.
    Either,
}

impl Commas {
    /// The same without columns that are meant to be as they are.
    #[must_use]
    pub fn without(mut self, meant: impl Fn(&str) -> bool) -> Option<Self> {
        self.columns.retain(|name| !meant(name));
        (!self.columns.is_empty()).then_some(self)
    }
}

impl fmt::Display for Commas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<String> = self.columns.iter().map(|name| format!("`{name}`")).collect();
        let read = self.kind.read();
        write!(f, "text, and no numbers, for their comma: {}; to read numbers: {read}", columns.join(", "))
    }
}

impl Kind {
    const fn read(self) -> &'static str {
        match self {
            Self::Grouped => r#"`read: { decimal: ",", thousands: "." }`"#,
            Self::Decimal => r#"`read: { decimal: "," }`"#,
            Self::Either => r#"`read: { decimal: "," }`, or `{ thousands: "," }` for 1,234"#,
        }
    }
}

impl Profile {
    /// The columns of texts that are numbers with a comma.
    pub fn commas(&self) -> Option<Commas> {
        let found = self.columns.iter().filter_map(|column| Some((column.name.clone(), kind(column)?)));
        let (columns, kinds): (Vec<String>, Vec<Kind>) = found.unzip();
        let kind = kinds.into_iter().min()?;
        Some(Commas { columns, kind })
    }
}

/// The ways of reading that make numbers of a column of texts with commas.
pub(super) fn read(column: &ColumnProfile) -> Option<&'static str> {
    kind(column).map(Kind::read)
}

fn kind(column: &ColumnProfile) -> Option<Kind> {
    let category = column.category.as_ref()?;
    let grouped = grouped(category.forms.as_ref()?)?;
    if grouped {
        return Some(Kind::Grouped);
    }
    let groups = |text: &str| {
        let text = text.trim().trim_start_matches(['+', '-']);
        text.split_once(',').is_none_or(|(whole, digits)| {
            (1..=3).contains(&whole.len()) && !whole.starts_with('0') && digits.len() == 3
        })
    };
    let either = category.counts().is_none_or(|counts| counts.keys().all(|text| groups(text)));
    Some(if either { Kind::Either } else { Kind::Decimal })
}

/// Whether points group the digits of numbers with a decimal comma; nothing where the texts are no such numbers.
fn grouped(forms: &TextForms) -> Option<bool> {
    let (mut texts, mut whole, mut decimal, mut grouped, mut grouped_whole) = (0, 0, 0, 0, 0);
    for (shape, count) in forms.shapes.as_ref()? {
        let shape = shape.trim();
        if shape.is_empty() {
            continue;
        }
        texts += count;
        let digits = shape.strip_prefix(['+', '-']).unwrap_or(shape);
        let points = |digits: &str| digits.split('.').all(|group| group == "9");
        match digits.split_once(',') {
            None if digits == "9" => whole += count,
            None if points(digits) => grouped_whole += count,
            Some(("" | "9", "9")) => decimal += count,
            Some((digits, "9")) if points(digits) => grouped += count,
            _ => {}
        }
    }
    let numbers = whole + decimal + grouped + if grouped > 0 { grouped_whole } else { 0 };
    let commas = decimal + grouped > 0 && numbers as f64 >= SHARE * texts as f64;
    commas.then_some(grouped > 0)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::super::alerts::AlertKind;
    use super::*;
    use crate::read;

    fn found(values: &[&str]) -> Option<&'static str> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        let mut text = "n;x\n".to_owned();
        for (row, value) in values.iter().enumerate() {
            writeln!(text, "{row};{value}").unwrap();
        }
        std::fs::write(&path, text).unwrap();
        let profile = Profile::of(read::open(&path).unwrap()).unwrap();
        let commas = profile.commas();
        let told = profile.alerts().into_iter().find(|alert| alert.kind == AlertKind::TypeNumber);
        let alert = commas.as_ref().map(|commas| format!("; of delimited text: {}", commas.kind.read()));
        assert_eq!(
            told.map(|told| told.message),
            alert.map(|alert| format!("has numbers with a comma{alert}"))
        );
        assert!(commas.as_ref().is_none_or(|commas| commas.columns == ["x"]));
        commas.map(|commas| commas.kind.read())
    }

    #[test]
    fn numbers_with_a_decimal_comma_are_told_with_the_way_to_read_them() {
        assert_eq!(found(&["3,14", "-2,5", "7", ",5"]), Some(r#"`read: { decimal: "," }`"#));
        for values in [["0,125", "0,250"], ["1,234", "-1234,567"], ["1,234", "012,500"]] {
            assert_eq!(found(&values), Some(r#"`read: { decimal: "," }`"#), "{values:?}");
        }
        let grouped = Some(r#"`read: { decimal: ",", thousands: "." }`"#);
        assert_eq!(found(&["1.234,50", "-1.234.567,5", "2.000", "12"]), grouped);
        let either = Some(r#"`read: { decimal: "," }`, or `{ thousands: "," }` for 1,234"#);
        assert_eq!(found(&["1,234", "12,500", "7"]), either);
    }

    #[test]
    fn columns_that_are_meant_to_be_text_are_not_told() {
        let commas = Commas { columns: vec!["a".into(), "b".into()], kind: Kind::Decimal };
        let told = r#"text, and no numbers, for their comma: `b`; to read numbers: `read: { decimal: "," }`"#;
        assert_eq!(commas.clone().without(|name| name == "a").unwrap().to_string(), told);
        assert_eq!(commas.without(|_| true), None);
    }

    #[test]
    fn other_texts_are_none() {
        for values in
            [["a,b", "c,d"], ["1,2,3", "4,5,6"], ["1", "x"], ["3.14", "2.5"], ["01.02.2013", "1,5 kg"]]
        {
            assert_eq!(found(&values), None, "{values:?}");
        }
    }
}
