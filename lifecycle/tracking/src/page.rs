//! Page tokens: where a page ended, opaque to the client.
//!
//! A token is the base64 of a JSON list of the last row's sort keys, each with its type. It is a place in
//! an order and not a count of rows: what is written meanwhile neither repeats nor hides a row.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rondo_store::meta::search::Scalar;

use crate::Error;

/// The token of a place.
pub fn token(keys: &[Scalar]) -> String {
    let parts: Vec<String> = keys
        .iter()
        .map(|key| match key {
            Scalar::Int(value) => format!("i{value}"),
            // Bits, because an infinity has no JSON form.
            Scalar::Real(value) => format!("r{:016x}", value.to_bits()),
            Scalar::Text(text) => format!("t{text}"),
        })
        .collect();
    STANDARD.encode(serde_json::Value::from(parts).to_string())
}

/// The place of a token; an empty one is the beginning.
///
/// # Errors
/// When it is none of ours.
pub fn place(token: &str) -> Result<Option<Vec<Scalar>>, Error> {
    if token.is_empty() {
        return Ok(None);
    }
    let bytes = STANDARD.decode(token).map_err(|_| Error::PageToken { reason: "could not base64-decode" })?;
    let parts: Vec<String> =
        serde_json::from_slice(&bytes).map_err(|_| Error::PageToken { reason: "could not be read" })?;
    let keys: Option<Vec<Scalar>> = parts.iter().map(|part| key(part)).collect();
    keys.map(Some).ok_or(Error::PageToken { reason: "could not be read" })
}

/// The error for a token of another search.
pub const fn foreign() -> Error {
    Error::PageToken { reason: "it belongs to another search" }
}

fn key(part: &str) -> Option<Scalar> {
    let mut chars = part.chars();
    match (chars.next()?, chars.as_str()) {
        ('i', text) => text.parse().ok().map(Scalar::Int),
        ('r', text) => u64::from_str_radix(text, 16).ok().map(|bits| Scalar::Real(f64::from_bits(bits))),
        ('t', text) => Some(Scalar::Text(text.to_owned())),
        (_, _) => None,
    }
}

/// The numbers of the experiments to search in.
///
/// # Errors
/// When one is no number.
pub fn experiments(ids: &[String]) -> Result<Vec<i64>, Error> {
    ids.iter().map(|id| id.parse().map_err(|_| Error::ExperimentId { id: id.clone() })).collect()
}

/// How many rows a page may have.
///
/// # Errors
/// When it is not from 1 to the limit.
pub fn size(asked: Option<i64>, default: u32, limit: u32) -> Result<u32, Error> {
    let Some(asked) = asked else { return Ok(default) };
    u32::try_from(asked).ok().filter(|size| (1..=limit).contains(size)).ok_or_else(|| {
        let reason = match asked {
            ..1 => "It must be a positive integer".to_owned(),
            1.. => format!("It must be at most {limit}"),
        };
        crate::limits::invalid("max_results", &asked.to_string(), &reason)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tokens_read_back() {
        let keys = vec![Scalar::Int(-3), Scalar::Real(f64::INFINITY), Scalar::Text("é\0".into())];
        assert_eq!(place(&token(&keys)).unwrap(), Some(keys));
        assert_eq!(place("").unwrap(), None);
    }

    #[test]
    fn pages_have_bounds() {
        assert_eq!(size(None, 100, 1000).unwrap(), 100);
        assert_eq!(size(Some(1000), 100, 1000).unwrap(), 1000);
        for asked in [0, -1, 1001, i64::MAX] {
            assert!(size(Some(asked), 100, 1000).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_token_is_read_or_refused(text in ".{0,80}") {
            let _ = place(&text);
            let _ = place(&STANDARD.encode(&text));
        }
    }
}
