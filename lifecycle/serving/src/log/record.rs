//! What a logged prediction is: the observation that monitoring reads, with what is needed to answer the
//! same request again.

use rondo_core::handoff::Observation;
use rondo_core::{Digest, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A logged prediction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct Record {
    /// What was answered.
    pub observation: Observation,
    /// What tells these inputs from others.
    pub inputs_digest: Fingerprint,
}

/// A record as it is read: an earlier release wrote the label beside the observation.
#[derive(Deserialize)]
struct Written {
    observation: Observation,
    label: Option<String>,
    inputs_digest: Fingerprint,
}

impl From<Written> for Record {
    fn from(written: Written) -> Self {
        let Written { mut observation, label, inputs_digest } = written;
        observation.label = observation.label.or(label);
        Self { observation, inputs_digest }
    }
}

/// The part of a record that decides whether the rest is wanted.
#[derive(Debug, Deserialize)]
pub(crate) struct Glance<'a> {
    /// See [`Record::observation`].
    #[serde(borrow)]
    pub observation: GlanceObservation<'a>,
}

/// See [`Glance`].
#[derive(Debug, Deserialize)]
pub(crate) struct GlanceObservation<'a> {
    /// The prediction's id.
    #[serde(borrow)]
    pub prediction_id: std::borrow::Cow<'a, str>,
    /// The endpoint.
    #[serde(borrow)]
    pub deployment: std::borrow::Cow<'a, str>,
    /// When it happened.
    pub event_time: Timestamp,
}

/// 128 bits that stand for a longer text: an id or the inputs of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u128);

impl Fingerprint {
    /// The fingerprint of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut short = [0; 16];
        for (byte, full) in short.iter_mut().zip(Digest::of(bytes).as_bytes()) {
            *byte = *full;
        }
        Self(u128::from_be_bytes(short))
    }

    /// The fingerprint of a prediction's id at an endpoint.
    pub fn of_id(deployment: &str, id: &str) -> Self {
        // No name has a zero byte, so that no two pairs run together alike.
        Self::of([deployment.as_bytes(), &[0], id.as_bytes()].concat().as_slice())
    }

    /// The fingerprint of a row's inputs: the same for the same values, in whatever order and form they
    /// were sent. A value that is null and one that is left out are the same.
    pub fn of_inputs(inputs: &Map<String, Value>) -> Self {
        let mut entries: Vec<(&String, &Value)> =
            inputs.iter().filter(|(_, value)| !value.is_null()).collect();
        entries.sort_unstable_by_key(|(name, _)| *name);
        let mut bytes = Vec::with_capacity(entries.len() * 32);
        let text = |bytes: &mut Vec<u8>, text: &str| {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        };
        for (name, value) in entries {
            text(&mut bytes, name);
            match value {
                Value::Number(number) => {
                    bytes.push(1);
                    // Whole numbers beyond 2^53 keep their digits.
                    match number.as_f64().filter(|value| value.abs() < 9e15) {
                        Some(value) => bytes.extend((value + 0.0).to_bits().to_le_bytes()),
                        None => text(&mut bytes, &number.to_string()),
                    }
                }
                Value::Bool(truth) => bytes.extend([2, u8::from(*truth)]),
                Value::String(value) => {
                    bytes.push(3);
                    text(&mut bytes, value);
                }
                other @ (Value::Null | Value::Array(_) | Value::Object(_)) => {
                    bytes.push(4);
                    text(&mut bytes, &other.to_string());
                }
            }
        }
        Self::of(&bytes)
    }

    /// As 32 hexadecimal characters.
    pub fn hex(self) -> String {
        format!("{:032x}", self.0)
    }

    /// From its 32 hexadecimal characters.
    pub fn from_hex(text: &str) -> Option<Self> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hex { u128::from_str_radix(text, 16).ok().map(Self) } else { None }
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.hex())
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom("not a fingerprint"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::log::index::tests::record as example;

    fn inputs(value: Value) -> Fingerprint {
        Fingerprint::of_inputs(value.as_object().unwrap())
    }

    #[test]
    fn a_record_of_an_earlier_release_keeps_its_label() {
        let record = example("delay", "a", 5, 1.0);
        let mut written = serde_json::to_value(&record).unwrap();
        let label = written["observation"].as_object_mut().unwrap().remove("label").unwrap();
        written["label"] = label;
        assert_eq!(serde_json::from_value::<Record>(written).unwrap(), record);
    }

    #[test]
    fn inputs_are_the_same_whatever_their_order_and_form() {
        let one = inputs(json!({"a": 1, "b": "x", "c": null}));
        assert_eq!(one, inputs(json!({"b": "x", "a": 1.0})));
        assert_ne!(one, inputs(json!({"a": 1, "b": "y"})));
        assert_ne!(one, inputs(json!({"a": "1", "b": "x"})));
        assert_ne!(inputs(json!({"a": "bc"})), inputs(json!({"ab": "c"})));
        assert_ne!(
            inputs(json!({"a": 9_007_199_254_740_993_i64})),
            inputs(json!({"a": 9_007_199_254_740_992_i64}))
        );
    }

    #[test]
    fn fingerprints_read_back() {
        let one = Fingerprint::of(b"x");
        assert_eq!(Fingerprint::from_hex(&one.hex()), Some(one));
        assert_eq!(Fingerprint::from_hex("+0000000000000000000000000000000"), None);
        assert_ne!(Fingerprint::of_id("a", "b"), Fingerprint::of_id("ab", ""));
    }
}
