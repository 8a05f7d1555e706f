//! What a step says, without its secrets: their texts are replaced as the bytes come, wherever they are cut.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// A shorter text is no secret, and would be found everywhere.
const SHORTEST: usize = 4;

/// The secrets, and what may be the beginning of one.
#[derive(Default)]
pub struct Mask {
    /// Each text with what stands for it, the longest first: one may be a part of another.
    secrets: Vec<(Vec<u8>, Vec<u8>)>,
    held: Vec<u8>,
}

impl Mask {
    /// A mask of secrets by their names.
    pub fn of(secrets: &BTreeMap<String, String>) -> Self {
        let long = secrets.iter().filter(|(_, text)| text.len() >= SHORTEST);
        let mut secrets: Vec<(Vec<u8>, Vec<u8>)> =
            long.map(|(name, text)| (text.clone().into(), format!("[secret {name}]").into())).collect();
        secrets.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        Self { secrets, held: Vec::new() }
    }

    /// The bytes that may be shown now.
    pub fn pass<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.secrets.is_empty() {
            return Cow::Borrowed(bytes);
        }
        let mut text = std::mem::take(&mut self.held);
        text.extend_from_slice(bytes);
        let (shown, held) =
            self.masked(&text, |secret, rest| secret.len() > rest.len() && secret.starts_with(rest));
        self.held = held.to_vec();
        Cow::Owned(shown)
    }

    /// What was held back, when nothing follows it.
    pub fn rest(&mut self) -> Vec<u8> {
        let text = std::mem::take(&mut self.held);
        self.masked(&text, |_, _| false).0
    }

    /// A text without the secrets, as far as where one `may_begin` that has not come whole yet; and from there on.
    fn masked<'a>(&self, text: &'a [u8], may_begin: fn(&[u8], &[u8]) -> bool) -> (Vec<u8>, &'a [u8]) {
        let mut shown = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some((first, after)) = rest.split_first() {
            if self.secrets.iter().any(|(secret, _)| may_begin(secret, rest)) {
                break;
            }
            if let Some((secret, word)) = self.secrets.iter().find(|(secret, _)| rest.starts_with(secret)) {
                shown.extend_from_slice(word);
                rest = rest.get(secret.len()..).unwrap_or_default();
            } else {
                shown.push(*first);
                rest = after;
            }
        }
        (shown, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(parts: &[&str]) -> String {
        let secrets = [("token", "hunter22"), ("key", "hunter22-long"), ("pin", "123")];
        let secrets = secrets.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let mut mask = Mask::of(&secrets.into());
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
    }

    #[test]
    fn all_else_is_said_as_it_was() {
        assert_eq!(said(&["hunt", "er21 hunter", "2"]), "hunter21 hunter2");
        assert_eq!(said(&["123 is too short to be looked for"]), "123 is too short to be looked for");
        assert_eq!(Mask::default().pass(b"plain").as_ref(), b"plain");
    }
}
