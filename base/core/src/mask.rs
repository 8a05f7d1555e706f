//! Keeps secrets out of what is written and shown.
//!
//! A secret is replaced wherever its text stands, also as it looks quoted, percent-encoded or in base64. It is
//! no protection from code that means to give a secret away (letter by letter, or in a picture), but from what
//! prints what it should not.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;

/// Shorter texts stand everywhere by chance, in characters.
pub const SHORTEST: usize = 4;

/// What takes secrets out of texts.
#[derive(Clone, Default)]
pub struct Mask {
    /// The texts to replace, each with what stands for it; the longest first: one may be a part of another.
    needles: Vec<(String, String)>,
    /// The bytes that they begin with.
    first: Vec<u8>,
}

/// A mask for what comes in pieces, wherever it is cut.
#[derive(Debug, Default)]
pub struct Stream {
    mask: Mask,
    /// What may be the beginning of a secret.
    held: Vec<u8>,
}

impl Mask {
    /// A mask for secrets by name.
    pub fn new<'a>(secrets: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        let mut needles = BTreeMap::new();
        for (name, value) in secrets {
            let lines = value.lines().map(str::trim).filter(|line| *line != value);
            for text in std::iter::once(value.as_str()).chain(lines) {
                if text.chars().count() < SHORTEST {
                    continue;
                }
                for form in forms(text) {
                    needles.insert(form, format!("[secret {name}]"));
                }
            }
        }
        let mut needles: Vec<(String, String)> = needles.into_iter().collect();
        needles.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        let mut first: Vec<u8> = needles.iter().filter_map(|(text, _)| text.bytes().next()).collect();
        first.sort_unstable();
        first.dedup();
        Self { needles, first }
    }

    /// Whether there is nothing to replace.
    pub fn is_empty(&self) -> bool {
        self.needles.is_empty()
    }

    /// A text without the secrets.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.is_empty() {
            return Cow::Borrowed(text);
        }
        let (clean, _) = self.masked(text.as_bytes(), false);
        if clean == text.as_bytes() {
            return Cow::Borrowed(text);
        }
        Cow::Owned(String::from_utf8_lossy(&clean).into_owned())
    }

    /// Takes the secrets out of every text of a value, keys included.
    pub fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(clean) = self.text(text) {
                    *text = clean;
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.value(value)),
            Value::Object(map) => {
                if map.keys().any(|key| matches!(self.text(key), Cow::Owned(_))) {
                    let old = std::mem::take(map);
                    map.extend(old.into_iter().map(|(key, value)| (self.text(&key).into_owned(), value)));
                }
                map.values_mut().for_each(|value| self.value(value));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Bytes without the secrets; of a text that `goes_on` as far as where one may begin that has not come whole
    /// yet, and from there on.
    fn masked<'a>(&self, text: &'a [u8], goes_on: bool) -> (Vec<u8>, &'a [u8]) {
        let mut shown = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some((first, after)) = rest.split_first() {
            if !self.first.contains(first) {
                shown.push(*first);
                rest = after;
                continue;
            }
            let begins = |needle: &str| needle.len() > rest.len() && needle.as_bytes().starts_with(rest);
            if goes_on && self.needles.iter().any(|(needle, _)| begins(needle)) {
                break;
            }
            if let Some((needle, label)) =
                self.needles.iter().find(|(needle, _)| rest.starts_with(needle.as_bytes()))
            {
                shown.extend_from_slice(label.as_bytes());
                rest = rest.get(needle.len()..).unwrap_or_default();
            } else {
                shown.push(*first);
                rest = after;
            }
        }
        (shown, rest)
    }
}

impl fmt::Debug for Mask {
    /// Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mask({})", self.needles.len())
    }
}

impl From<Mask> for Stream {
    fn from(mask: Mask) -> Self {
        Self { mask, held: Vec::new() }
    }
}

impl Stream {
    /// The bytes that may be shown now.
    pub fn pass<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.mask.is_empty() {
            return Cow::Borrowed(bytes);
        }
        let mut text = std::mem::take(&mut self.held);
        text.extend_from_slice(bytes);
        let (shown, held) = self.mask.masked(&text, true);
        self.held = held.to_vec();
        Cow::Owned(shown)
    }

    /// What was held back, when nothing follows it.
    pub fn rest(&mut self) -> Vec<u8> {
        let text = std::mem::take(&mut self.held);
        self.mask.masked(&text, false).0
    }
}

/// A text as it is, and as it looks in the usual wrappings.
fn forms(text: &str) -> Vec<String> {
    let quoted = Value::from(text).to_string();
    let json = quoted.trim_matches('"').to_owned();
    let single = text.replace('\\', "\\\\").replace('\'', "\\'");
    let percent: String = text
        .bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect();
    // Without padding, so that it is also found where it goes on.
    let (base64, url) = (BASE64_STANDARD_NO_PAD.encode(text), BASE64_URL_SAFE_NO_PAD.encode(text));
    let html = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    vec![text.to_owned(), json, single, percent, base64, url, html]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mask(value: &str) -> Mask {
        Mask::new([(&"key".to_owned(), &value.to_owned())])
    }

    #[test]
    fn a_secret_is_found_in_its_wrappings() {
        let mask = mask("p\"ss/wörd");
        for text in
            ["it is p\"ss/wörd.", "it is p\\\"ss/wörd.", "it is p%22ss%2Fw%C3%B6rd.", "it is cCJzcy93w7ZyZA."]
        {
            assert_eq!(mask.text(text), "it is [secret key].");
        }
        assert!(matches!(mask.text("nothing here"), Cow::Borrowed(_)));
    }

    #[test]
    fn values_are_cleaned_to_their_depths() {
        let mut value = json!({"hunter22": ["a hunter22", {"b": "hunter22"}], "n": 1});
        mask("hunter22").value(&mut value);
        assert_eq!(value, json!({"[secret key]": ["a [secret key]", {"b": "[secret key]"}], "n": 1}));
    }

    #[test]
    fn each_line_of_a_long_secret_is_one_and_short_texts_are_left() {
        let mask = mask("-----BEGIN\nabcdef\nx\n");
        assert_eq!(mask.text("see abcdef, x"), "see [secret key], x");
        assert!(Mask::new([(&"k".to_owned(), &"abc".to_owned())]).is_empty());
    }

    #[test]
    fn what_stands_for_a_secret_is_no_place_to_look_for_another() {
        let secrets =
            [("a", "hunter22"), ("b", "secret")].map(|(name, text)| (name.to_owned(), text.to_owned()));
        let mask = Mask::new(secrets.iter().map(|(name, text)| (name, text)));
        assert_eq!(mask.text("hunter22, secret"), "[secret a], [secret b]");
        assert!(!format!("{mask:?}").contains("hunter22"));
    }

    fn said(parts: &[&str]) -> String {
        let secrets =
            [("token", "hunter22"), ("key", "hunter22-long"), ("pin", "123"), ("pem", "BEGIN\nab/cd?\n")];
        let secrets = secrets.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let mut mask = Stream::from(Mask::new(secrets.iter().map(|(name, text)| (name, text))));
        let mut shown: Vec<u8> =
            parts.iter().flat_map(|part| mask.pass(part.as_bytes()).into_owned()).collect();
        shown.extend(mask.rest());
        String::from_utf8(shown).unwrap()
    }

    #[test]
    fn secrets_are_replaced_however_they_are_cut() {
        assert_eq!(said(&["a hunter22\nb"]), "a [secret token]\nb");
        assert_eq!(said(&["a hun", "ter", "22", " b"]), "a [secret token] b");
        assert_eq!(said(&["hunter22", "-long!"]), "[secret key]!");
        assert_eq!(said(&["hunter22-lo"]), "[secret token]-lo");
        assert_eq!(said(&["?x=ab%2", "Fcd%3F&", "YWIvY", "2Q/"]), "?x=[secret pem]&[secret pem]");
    }

    #[test]
    fn all_else_is_said_as_it_was() {
        assert_eq!(said(&["hunt", "er21 hunter", "2"]), "hunter21 hunter2");
        assert_eq!(said(&["123 is too short to be looked for"]), "123 is too short to be looked for");
        assert_eq!(Stream::default().pass(b"plain").as_ref(), b"plain");
    }
}
