//! Numbers in JSON. Those that it has no number for stand as the texts that tracking takes for them.

use serde_json::{Number, Value};

/// A number as JSON: `0.5`, `"NaN"`, `"-Infinity"`.
pub fn json(number: f64) -> Value {
    match Number::from_f64(number) {
        Some(number) => Value::Number(number),
        None if number.is_nan() => "NaN".into(),
        None if number < 0.0 => "-Infinity".into(),
        None => "Infinity".into(),
    }
}

/// The number that [`json`] has written.
pub fn read(value: &Value) -> Option<f64> {
    match value.as_str() {
        Some("NaN") => Some(f64::NAN),
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        Some(_) | None => value.as_f64(),
    }
}

/// A number that may be absent, in a record: for `#[serde(with)]`.
pub mod optional {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::Value;

    /// Writes it.
    ///
    /// # Errors
    /// When the serializer fails.
    pub fn serialize<S: Serializer>(number: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        number.map(super::json).serialize(serializer)
    }

    /// Reads it.
    ///
    /// # Errors
    /// When there is no JSON value.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        Ok(super::read(&Value::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_back() {
        for number in [0.0, -0.5, 1e300, f64::MAX, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let again = read(&json(number)).unwrap();
            assert!(again == number || (again.is_nan() && number.is_nan()), "{number}");
        }
        assert_eq!(json(f64::NAN), "NaN");
        assert_eq!(read(&Value::Null), None);
        assert_eq!(read(&"0.5".into()), None);
    }
}
