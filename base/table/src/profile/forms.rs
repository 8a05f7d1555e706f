//! The forms of texts: what they are made of, what they look like, how long they are.
//!
//! A *kind* is what a whole text reads as (an e-mail address, a date, a number); a *shape* is its
//! characters by class with runs drawn together, so that `user_0012` and `item_7` are both `a_9`. All are
//! counts of fixed classes, and shapes are given up when there are too many of them: so the forms of
//! merged parts are those of the whole.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::hash::FastMap;

/// So many different shapes are counted; where there are more, none is.
const SHAPES: usize = 64;
/// A text whose shape is longer than this is prose.
const SHAPE_LENGTH: usize = 16;
/// No code has more bytes.
const CODE_LENGTH: usize = 64;
/// What a shape ends in that is cut off.
const CUT: char = '…';

/// What a whole text reads as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextKind {
    /// Nothing, or only white space.
    Blank,
    /// Digits, with a sign perhaps.
    Integer,
    /// A number with a point or comma.
    Decimal,
    /// Such as `2013-01-31`, `31/01/2013`, `31.1.2013`, with a time of day perhaps.
    Date,
    /// An e-mail address.
    Email,
    /// An address that begins with `http://` or `https://`.
    Url,
    /// Such as `123e4567-e89b-12d3-a456-426614174000`.
    Uuid,
    /// One word of letters.
    Word,
    /// Letters and digits in one piece, with `-`, `_`, `.`, `/` or `:` between them.
    Code,
    /// Anything else: several words, sentences, markup.
    Text,
}

impl TextKind {
    /// The word for people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Blank => "blank",
            Self::Integer => "integer",
            Self::Decimal => "decimal",
            Self::Date => "date",
            Self::Email => "e-mail",
            Self::Url => "url",
            Self::Uuid => "uuid",
            Self::Word => "word",
            Self::Code => "code",
            Self::Text => "text",
        }
    }
}

/// How a column's texts look.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TextForms {
    /// Texts without any character.
    pub empty: u64,
    /// Texts of white space alone.
    pub whitespace: u64,
    /// Texts that begin or end with white space beside others.
    pub padded: u64,
    /// Texts with characters beyond ASCII.
    pub non_ascii: u64,
    /// Numbers with a zero before other digits: codes.
    #[serde(skip_serializing_if = "is_none", default)]
    pub leading_zeros: u64,
    /// How many are of each kind.
    pub kinds: BTreeMap<TextKind, u64>,
    /// How many have each shape; nothing where there are too many shapes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub shapes: Option<BTreeMap<String, u64>>,
    /// How many are of each length in characters; from 64 on of each eighth of a doubling, by its least.
    pub lengths: BTreeMap<u64, u64>,
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

impl TextForms {
    /// Of both together.
    pub(super) fn merge(&self, other: &Self) -> Self {
        let shapes = match (&self.shapes, &other.shapes) {
            (Some(a), Some(b)) => Some(added(a, b)).filter(|shapes| shapes.len() <= SHAPES),
            _ => None,
        };
        Self {
            empty: self.empty.saturating_add(other.empty),
            whitespace: self.whitespace.saturating_add(other.whitespace),
            padded: self.padded.saturating_add(other.padded),
            non_ascii: self.non_ascii.saturating_add(other.non_ascii),
            leading_zeros: self.leading_zeros.saturating_add(other.leading_zeros),
            kinds: added(&self.kinds, &other.kinds),
            shapes,
            lengths: added(&self.lengths, &other.lengths),
        }
    }

    /// The commonest shapes, most frequent first.
    pub fn top_shapes(&self, most: usize) -> Vec<(&str, u64)> {
        let mut shapes: Vec<(&str, u64)> =
            self.shapes.iter().flatten().map(|(shape, count)| (shape.as_str(), *count)).collect();
        shapes.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        shapes.truncate(most);
        shapes
    }

    /// The kind of most texts that are not blank, with its share of them.
    pub fn main_kind(&self) -> Option<(TextKind, f64)> {
        let of = self.kinds.iter().filter(|(kind, _)| **kind != TextKind::Blank);
        let total: u64 = of.clone().fold(0, |sum, (_, count)| sum.saturating_add(*count));
        let (kind, count) = of.max_by_key(|(_, count)| **count)?;
        Some((*kind, *count as f64 / total.max(1) as f64))
    }

    /// Whether it can be of this many texts.
    pub(super) fn is_sound(&self, count: u64) -> bool {
        fn total<'a>(mut counts: impl Iterator<Item = &'a u64>) -> Option<u64> {
            counts.try_fold(0_u64, |sum, count| sum.checked_add(*count))
        }
        total(self.kinds.values()) == Some(count)
            && total(self.lengths.values()) == Some(count)
            && self.shapes.as_ref().is_none_or(|shapes| total(shapes.values()) == Some(count))
    }
}

fn added<K: Ord + Clone>(a: &BTreeMap<K, u64>, b: &BTreeMap<K, u64>) -> BTreeMap<K, u64> {
    let mut sum = a.clone();
    for (key, count) in b {
        let slot = sum.entry(key.clone()).or_insert(0);
        *slot = slot.saturating_add(*count);
    }
    sum
}

/// The least length of those that are counted together with this one.
fn length_class(length: u64) -> u64 {
    if length < 64 {
        return length;
    }
    let step = 1 << (length.ilog2() - 3);
    length / step * step
}

/// A text's shape: its classes from the lowest byte on, so that no text has to be made for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Shape {
    classes: u128,
    cut: bool,
    /// Whether there are only ASCII letters, digits and `_`.
    plain: bool,
}

impl Shape {
    fn of(value: &str) -> Self {
        let mut shape = Self { classes: 0, cut: false, plain: true };
        let (mut last, mut length) = (0, 0);
        for byte in value.bytes() {
            let class = CLASSES.get(usize::from(byte)).copied().unwrap_or(0);
            if class == last {
                continue;
            }
            shape.plain &= matches!(class, b'a' | b'A' | b'9' | b'_');
            if length == SHAPE_LENGTH {
                (shape.cut, shape.plain) = (true, false);
                break;
            }
            shape.classes |= u128::from(class) << (8 * length);
            last = class;
            length += 1;
        }
        shape
    }

    fn text(self) -> String {
        let bytes = self.classes.to_le_bytes();
        let classes = bytes.iter().take_while(|class| **class != 0).map(|class| match *class {
            WIDE => 'é',
            CONTROL => '·',
            class => char::from(class),
        });
        classes.chain(self.cut.then_some(CUT)).collect()
    }
}

const WIDE: u8 = 0xff;
const CONTROL: u8 = 0xfe;

/// The class of each byte: `A`, `a`, `9`, a space for white space, punctuation as it is.
const CLASSES: [u8; 256] = {
    let mut classes = [WIDE; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        classes[byte as usize] = match byte {
            b'a'..=b'z' => b'a',
            b'A'..=b'Z' => b'A',
            b'0'..=b'9' => b'9',
            b' ' | b'\t' | b'\n' | b'\r' => b' ',
            0..=31 | 127 => CONTROL,
            other => other,
        };
        byte += 1;
    }
    classes
};

/// The classes of a short shape as bytes, for comparing.
fn is(shape: Shape, wanted: &[u8]) -> bool {
    let mut classes = 0_u128;
    for (at, class) in wanted.iter().enumerate() {
        classes |= u128::from(*class) << (8 * at);
    }
    !shape.cut && shape.classes == classes
}

fn kind_of(value: &str, shape: Shape) -> TextKind {
    // Most keys and categories: an identifier that begins with a letter, and no longer than a code.
    if shape.plain && value.len() <= CODE_LENGTH && matches!(shape.classes as u8, b'a' | b'A') {
        let letters = shape.classes.to_le_bytes().iter().all(|class| matches!(class, 0 | b'a' | b'A'));
        return if letters { TextKind::Word } else { TextKind::Code };
    }
    let trimmed = value.trim();
    if trimmed.is_empty() {
        return TextKind::Blank;
    }
    let shape = if trimmed.len() == value.len() { shape } else { Shape::of(trimmed) };
    let one_of = |shapes: &[&[u8]]| shapes.iter().any(|wanted| is(shape, wanted));
    if one_of(&[b"9", b"-9", b"+9"]) {
        return TextKind::Integer;
    }
    if one_of(&[b"9.9", b"-9.9", b"+9.9", b"9,9", b"-9,9", b".9", b"-.9", b"9.9a9", b"9.9a-9", b"9.9A-9"]) {
        return TextKind::Decimal;
    }
    if is_date(trimmed) {
        return TextKind::Date;
    }
    let lower =
        |prefix: &str| trimmed.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix));
    if (lower("http://") || lower("https://")) && !trimmed.contains(char::is_whitespace) {
        return TextKind::Url;
    }
    if is_email(trimmed) {
        return TextKind::Email;
    }
    if is_uuid(trimmed) {
        return TextKind::Uuid;
    }
    if trimmed.chars().all(char::is_alphabetic) {
        return TextKind::Word;
    }
    let joint = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':');
    if trimmed.len() <= CODE_LENGTH && trimmed.chars().all(joint) { TextKind::Code } else { TextKind::Text }
}

/// Digits as `4-2-2` or `2-2-4` with `-`, `/` or `.` between them, and a time of day behind it or not.
fn is_date(text: &str) -> bool {
    let day = text.split(['T', ' ']).next().unwrap_or_default();
    if day.len() < 6 || day.len() > 10 || !day.starts_with(|c: char| c.is_ascii_digit()) {
        return false;
    }
    let Some(joint) = day.chars().find(|c| matches!(c, '-' | '/' | '.')) else { return false };
    let mut parts = day.split(joint);
    let (Some(a), Some(b), Some(c), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let digits = |part: &str, most: usize| {
        (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let days = if a.len() == 4 {
        digits(a, 4) && digits(b, 2) && digits(c, 2)
    } else {
        digits(a, 2) && digits(b, 2) && digits(c, 4) && c.len() != 3
    };
    let rest = text.get(day.len()..).unwrap_or_default();
    days && rest.chars().all(|c| c.is_ascii_digit() || " :.TZ+-APMapm".contains(c))
}

fn is_email(text: &str) -> bool {
    let Some((name, host)) = text.split_once('@') else { return false };
    let plain = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c == '@');
    plain(name)
        && plain(host)
        && host.rsplit_once('.').is_some_and(|(domain, end)| !domain.is_empty() && end.len() >= 2)
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Whether the digits of a number begin with a zero that stands for nothing.
fn is_padded(value: &str) -> bool {
    let digits = value.trim().trim_start_matches(['+', '-']).as_bytes();
    matches!(digits, [b'0', next, ..] if next.is_ascii_digit())
}

/// Takes texts as they come.
#[derive(Debug, Default)]
pub(super) struct FormsBuilder {
    empty: u64,
    whitespace: u64,
    padded: u64,
    non_ascii: u64,
    leading_zeros: u64,
    kinds: BTreeMap<TextKind, u64>,
    shapes: FastMap<Shape, u64>,
    many_shapes: bool,
    lengths: FastMap<u64, u64>,
    /// What the last texts had in common that is not counted above yet.
    last: Option<Look>,
    times: u64,
}

/// What is counted of a text. Of keys and codes the next one mostly has the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    shape: Shape,
    kind: TextKind,
    length: u64,
}

impl FormsBuilder {
    /// Takes a text of so many characters that occurs so many times.
    pub(super) fn add(&mut self, value: &str, length: u64, count: u64) {
        let shape = Shape::of(value);
        let kind = kind_of(value, shape);
        self.empty += if value.is_empty() { count } else { 0 };
        if kind == TextKind::Blank {
            self.whitespace += if value.is_empty() { 0 } else { count };
        } else if !shape.plain
            && (value.starts_with(char::is_whitespace) || value.ends_with(char::is_whitespace))
        {
            self.padded += count;
        }
        // As many characters as bytes: no character has more than one.
        self.non_ascii += if length < value.len() as u64 { count } else { 0 };
        let padded = matches!(kind, TextKind::Integer | TextKind::Decimal) && is_padded(value);
        self.leading_zeros += if padded { count } else { 0 };
        let look = Look { shape, kind, length: length_class(length) };
        if self.last != Some(look) {
            self.count();
            self.last = Some(look);
        }
        self.times += count;
    }

    /// Counts what the last texts had in common.
    fn count(&mut self) {
        let times = std::mem::take(&mut self.times);
        let Some(Look { shape, kind, length }) = self.last.take() else { return };
        *self.kinds.entry(kind).or_insert(0) += times;
        *self.lengths.entry(length).or_insert(0) += times;
        if !self.many_shapes {
            *self.shapes.entry(shape).or_insert(0) += times;
            self.many_shapes = self.shapes.len() > SHAPES;
        }
    }

    pub(super) fn finish(mut self) -> TextForms {
        self.count();
        let shapes = (!self.many_shapes).then(|| {
            let mut shapes = BTreeMap::new();
            for (shape, count) in self.shapes {
                *shapes.entry(shape.text()).or_insert(0) += count;
            }
            shapes
        });
        TextForms {
            empty: self.empty,
            whitespace: self.whitespace,
            padded: self.padded,
            non_ascii: self.non_ascii,
            leading_zeros: self.leading_zeros,
            kinds: self.kinds,
            shapes,
            lengths: self.lengths.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of<'a>(values: impl IntoIterator<Item = &'a str>) -> TextForms {
        let mut builder = FormsBuilder::default();
        values.into_iter().for_each(|value| builder.add(value, value.chars().count() as u64, 1));
        builder.finish()
    }

    #[test]
    fn kinds_are_told_from_each_other() {
        for (text, kind) in [
            ("", TextKind::Blank),
            (" \t", TextKind::Blank),
            ("-12", TextKind::Integer),
            ("3.25", TextKind::Decimal),
            ("1.5e-7", TextKind::Decimal),
            ("2013-01-31", TextKind::Date),
            ("2013-01-31T10:20:30Z", TextKind::Date),
            ("31/1/2013", TextKind::Date),
            ("31.01.13", TextKind::Date),
            ("a.b@example.org", TextKind::Email),
            ("@home", TextKind::Text),
            ("https://example.org/a?b", TextKind::Url),
            ("123e4567-e89b-12d3-a456-426614174000", TextKind::Uuid),
            ("Größe", TextKind::Word),
            ("user_0012", TextKind::Code),
            ("1.2.3.4", TextKind::Code),
            ("two words", TextKind::Text),
        ] {
            assert_eq!(kind_of(text, Shape::of(text)), kind, "{text}");
        }
    }

    #[test]
    fn shapes_draw_runs_together() {
        let forms = of(["user_0012", "item_7", "AB 12", "é", " x ", ""]);
        assert_eq!(forms.top_shapes(1), [("a_9", 2)]);
        assert_eq!((forms.empty, forms.whitespace, forms.padded, forms.non_ascii), (1, 0, 1, 1));
        let shapes = forms.shapes.unwrap();
        assert!(shapes.contains_key("A 9") && shapes.contains_key("é") && shapes.contains_key(""));
        let long = of(["a1a1a1a1a1a1a1a1a1"]);
        assert_eq!(long.top_shapes(1), [("a9a9a9a9a9a9a9a9…", 1)]);
    }

    #[test]
    fn long_lengths_are_counted_by_class() {
        assert_eq!([63, 64, 71, 72, 1000, 1_000_000].map(length_class), [63, 64, 64, 72, 960, 983_040]);
    }

    proptest! {
        #[test]
        fn parts_merge_to_the_whole(values in prop::collection::vec("[a-zA-Z0-9@./: é-]{0,12}", 0..150), cut in 0_usize..150) {
            let cut = cut.min(values.len());
            let parts = of(values[..cut].iter().map(String::as_str)).merge(&of(values[cut..].iter().map(String::as_str)));
            let whole = of(values.iter().map(String::as_str));
            prop_assert_eq!(&parts, &whole);
            prop_assert!(whole.is_sound(values.len() as u64));
        }

        #[test]
        fn any_text_has_a_form(text in any::<String>()) {
            prop_assert!(of([text.as_str()]).is_sound(1));
        }
    }
}
