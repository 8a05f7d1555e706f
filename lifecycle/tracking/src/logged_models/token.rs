//! Page tokens of searches for logged models: a place, and the search that it is a place of.
//!
//! MLflow's tokens here say what was asked for, and clients that ask for something else with one are told
//! what differs; nothing is left out or repeated by accident. Its own words are kept, Python's spelling of
//! lists included.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rondo_store::meta::search::{Scalar, Scope};
use serde::{Deserialize, Serialize};

use super::ScopedOrder;
use crate::{Error, page};

/// What is asked for, as it stands in a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asked {
    experiment_ids: Vec<String>,
    filter_string: String,
    order_by: Vec<Key>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    field_name: String,
    ascending: bool,
    dataset_name: Option<String>,
    dataset_digest: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Token {
    #[serde(flatten)]
    asked: Asked,
    /// The place as other searches have it for a token.
    place: String,
}

impl Asked {
    pub(super) fn new(experiments: &[String], filter: &str, order: &[ScopedOrder]) -> Self {
        let key = |order: &ScopedOrder| {
            let Scope { name, digest } = order.scope.clone().unwrap_or(Scope { name: None, digest: None });
            Key {
                field_name: order.field.clone(),
                ascending: order.ascending,
                dataset_name: name,
                dataset_digest: digest,
            }
        };
        Self {
            experiment_ids: experiments.to_vec(),
            filter_string: filter.to_owned(),
            order_by: order.iter().map(key).collect(),
        }
    }

    /// The token of a place in this search.
    pub(super) fn token(self, place: &[Scalar]) -> String {
        let token = Token { asked: self, place: page::token(place) };
        // Texts and flags alone: there is nothing in it that JSON could refuse.
        STANDARD.encode(serde_json::to_string(&token).unwrap_or_default())
    }

    /// The place of a token; an empty one is the beginning.
    ///
    /// # Errors
    /// When it is none of ours, or another search's.
    pub(super) fn place(&self, token: &str) -> Result<Option<Vec<Scalar>>, Error> {
        if token.is_empty() {
            return Ok(None);
        }
        let bytes =
            STANDARD.decode(token).map_err(|_| Error::PageToken { reason: "could not base64-decode" })?;
        let Token { asked, place } =
            serde_json::from_slice(&bytes).map_err(|_| Error::PageToken { reason: "could not be read" })?;
        let other = |differs, expected, found| Err(Error::OtherSearch { differs, expected, found });
        if asked.experiment_ids != self.experiment_ids {
            let differs = "experiment IDs in the page token do not match the requested experiment IDs";
            return other(differs, texts(&self.experiment_ids), texts(&asked.experiment_ids));
        }
        if asked.filter_string != self.filter_string {
            let differs = "filter string in the page token does not match the requested filter string";
            return other(differs, or_none(&self.filter_string), or_none(&asked.filter_string));
        }
        if asked.order_by != self.order_by {
            let differs = "order by in the page token does not match the requested order by";
            return other(differs, keys(&self.order_by), keys(&asked.order_by));
        }
        page::place(&place)
    }
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "None".to_owned() } else { text.to_owned() }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn texts(list: &[String]) -> String {
    format!("[{}]", list.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
}

fn keys(keys: &[Key]) -> String {
    let maybe = |text: &Option<String>| text.as_deref().map_or_else(|| "None".to_owned(), quoted);
    let key = |key: &Key| {
        format!(
            "{{'field_name': {}, 'ascending': {}, 'dataset_name': {}, 'dataset_digest': {}}}",
            quoted(&key.field_name),
            if key.ascending { "True" } else { "False" },
            maybe(&key.dataset_name),
            maybe(&key.dataset_digest)
        )
    };
    match keys {
        [] => "None".to_owned(),
        keys => format!("[{}]", keys.iter().map(key).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked(experiment: &str, filter: &str, field: Option<&str>) -> Asked {
        let order = field.map(|field| ScopedOrder { field: field.to_owned(), ascending: true, scope: None });
        Asked::new(&[experiment.to_owned()], filter, order.as_slice())
    }

    #[test]
    fn a_token_is_good_for_its_own_search_alone() {
        let place = vec![Scalar::Int(5), Scalar::Text("m-1".into())];
        let token = asked("1", "name = 'x'", None).token(&place);
        assert_eq!(asked("1", "name = 'x'", None).place(&token).unwrap(), Some(place));
        assert_eq!(asked("1", "", None).place("").unwrap(), None);
        for (other, message) in [
            (
                asked("2", "name = 'x'", None),
                "experiment IDs in the page token do not match the requested experiment IDs. Expected: ['2']. Found: \
                 ['1']",
            ),
            (
                asked("1", "", None),
                "filter string in the page token does not match the requested filter string. Expected: None. Found: \
                 name = 'x'",
            ),
            (
                asked("1", "name = 'x'", Some("name")),
                "order by in the page token does not match the requested order by. Expected: [{'field_name': 'name', \
                 'ascending': True, 'dataset_name': None, 'dataset_digest': None}]. Found: None",
            ),
        ] {
            assert_eq!(other.place(&token).unwrap_err().to_string(), message);
        }
    }

    proptest! {
        #[test]
        fn any_token_is_read_or_refused(text in ".{0,80}") {
            let _ = asked("1", "", None).place(&text);
            let _ = asked("1", "", None).place(&STANDARD.encode(&text));
        }
    }
}
