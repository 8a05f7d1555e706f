//! Keeps secrets out of what is written and shown.
//!
//! A secret is replaced wherever its text stands, also as it looks quoted, percent-encoded or in base64. It is
//! no protection from a notebook that means to give a secret away (letter by letter, or in a picture), but from
//! the ones that print what they should not.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

/// Shorter texts stand everywhere by chance, in characters.
pub const SHORTEST: usize = 4;

/// The texts to replace, each with what stands for it; the longest first.
#[derive(Debug, Clone, Default)]
pub struct Mask(Vec<(String, String)>);

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
        Self(needles)
    }

    /// Whether there is nothing to replace.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A text without the secrets.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut clean = Cow::Borrowed(text);
        for (needle, label) in &self.0 {
            if clean.contains(needle.as_str()) {
                clean = Cow::Owned(clean.replace(needle.as_str(), label));
            }
        }
        clean
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
    let base64 = base64(text.as_bytes());
    let url = base64.replace('+', "-").replace('/', "_");
    let html = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    vec![text.to_owned(), json, single, percent, base64, url, html]
}

/// Base64 without its padding, so that it is also found where it goes on.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().chain(&[0, 0]).take(3).fold(0_u32, |word, byte| (word << 8) | u32::from(*byte));
        for place in 0..=chunk.len() {
            let index = (word >> (18 - 6 * place)) & 63;
            // The index has six bits, the table 64 letters.
            out.push(char::from(LETTERS[index as usize]));
        }
    }
    out
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
}
