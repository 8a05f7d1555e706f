//! The key of a step: the digest of everything that its result may depend on.
//!
//! A key is made of named parts (`param.seed`, `input.train`, `code.train.py`, `environment`, …), each a
//! short text. The parts are kept on the run beside the key, so that what changed can be named later. No
//! part holds an absolute path, a time or a name of a machine: a clone in another folder has the same
//! keys.

use std::collections::BTreeMap;

use rondo_core::{Digest, canonical};
use serde::Serialize;
use serde_json::Value;

/// Texts up to this length stand in a part as they are; of longer ones the digest does.
const SHOWN: usize = 200;

/// What a key is the digest of: its fields stand in the order of canonical JSON, as the parts do in their map.
#[derive(Serialize)]
struct Keyed<'a> {
    parts: &'a BTreeMap<String, String>,
    #[serde(rename = "rondo step key")]
    format: u8,
}

/// The named parts of a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyParts(BTreeMap<String, String>);

impl KeyParts {
    /// No parts yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part that is an object.
    pub fn digest(&mut self, name: impl Into<String>, digest: Digest) {
        self.0.insert(name.into(), digest.hex());
    }

    /// Adds a part that is a text.
    pub fn text(&mut self, name: impl Into<String>, text: &str) {
        let shown = if text.len() <= SHOWN {
            text.to_owned()
        } else {
            format!("blake3:{}", Digest::of(text.as_bytes()))
        };
        self.0.insert(name.into(), shown);
    }

    /// Adds a part that is a value, as its canonical JSON.
    pub fn value(&mut self, name: impl Into<String>, value: &Value) {
        // A JSON value always has a JSON text.
        let text = canonical::to_string(value).unwrap_or_default();
        self.text(name, &text);
    }

    /// The parts by name.
    pub const fn parts(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// The parts by name.
    pub fn into_parts(self) -> BTreeMap<String, String> {
        self.0
    }

    /// The key: the digest of the canonical JSON of a format number and the parts.
    pub fn key(&self) -> Digest {
        let text = serde_json::to_string(&Keyed { parts: &self.0, format: 1 });
        // Maps of texts always have a JSON text.
        Digest::of(text.unwrap_or_default().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_encoding_of_a_key_is_pinned() {
        let mut parts = KeyParts::new();
        parts.text("definition.command", "python train.py --seed ${{ params.seed }}");
        parts.text("definition.output.model", "model.onnx");
        parts.value("param.seed", &json!(7));
        parts.value("param.months", &json!([1, 2, "é"]));
        parts.digest("input.train", Digest::of(b"train"));
        parts.digest("code.train.py", Digest::of(b"print()"));
        parts.text("environment", "host");
        parts.text("platform", "linux-x86_64-gnu");
        parts.text("long", &"x".repeat(201));
        assert_eq!(parts.parts()["param.months"], r#"[1,2,"é"]"#);
        assert!(parts.parts()["long"].starts_with("blake3:"));
        assert_eq!(parts.key().hex(), "0aec375f351c954ccb57a7f866313e5f3b16c5932ded3d5568f522dd2a8716ca");
        assert_eq!(
            KeyParts::new().key().hex(),
            "4345124a6d3357b97576e47ee4fc2a0d9c78ca6df2b495e5d4be9093dae819d8"
        );
    }

    proptest! {
        #[test]
        fn any_change_of_a_part_changes_the_key(
            parts in prop::collection::btree_map("[a-z.]{1,8}", ".{0,20}", 1..6),
            text in ".{1,20}",
        ) {
            let mut one = KeyParts::new();
            for (name, value) in &parts {
                one.text(name, value);
            }
            for name in parts.keys() {
                let mut other = one.clone();
                other.text(name, &format!("{}{text}", parts[name]));
                prop_assert_ne!(one.key(), other.key());
            }
            let canonical = canonical::digest(&json!({ "rondo step key": 1, "parts": parts })).unwrap();
            prop_assert_eq!(KeyParts(parts).key(), canonical);
        }
    }
}
