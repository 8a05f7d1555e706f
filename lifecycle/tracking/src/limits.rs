//! What may be logged: the limits that MLflow's clients and server share.

use crate::Error;

/// Metrics in one batch.
pub const METRICS: usize = 1000;
/// Parameters in one batch.
pub const PARAMS: usize = 100;
/// Tags in one batch.
pub const TAGS: usize = 100;
/// Metrics, parameters and tags together in one batch.
pub const BATCH: usize = 1000;
/// Characters of a key.
pub const KEY: usize = 250;
/// Characters of a parameter's value.
pub const PARAM_VALUE: usize = 6000;
/// Characters of a run's tag.
pub const TAG_VALUE: usize = 8000;
/// Characters of an experiment's name.
pub const EXPERIMENT_NAME: usize = 500;
/// Characters of an experiment's tag.
pub const EXPERIMENT_TAG_VALUE: usize = 20_000;
/// Characters of a tag of a registered model or version.
pub const MODEL_TAG_VALUE: usize = 100_000;
/// Characters of an alias.
pub const ALIAS: usize = 255;
/// Characters of a dataset's name.
pub const DATASET_NAME: usize = 500;
/// Characters of a dataset's digest.
pub const DATASET_DIGEST: usize = 36;
/// Characters of a dataset's source.
pub const DATASET_SOURCE: usize = 65_535;
/// Characters of a dataset's schema.
pub const DATASET_SCHEMA: usize = 1_048_575;
/// Characters of a dataset's profile.
pub const DATASET_PROFILE: usize = 16_777_215;

const ALLOWED: &str = "names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), \
                       colons (:) and slashes (/)";

/// Refuses a key of a metric, parameter or tag that MLflow would refuse.
///
/// # Errors
/// When it is empty, too long, has other characters, or would be another path than it reads.
pub fn key(what: &'static str, name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(invalid(what, name, "it is empty"));
    }
    length(what, name, KEY)?;
    if !name.chars().all(|c| c.is_alphanumeric() || "_-. :/".contains(c)) {
        return Err(invalid(what, name, ALLOWED));
    }
    if name.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return Err(invalid(
            what,
            name,
            "names may be treated as files: they must not resolve to other paths",
        ));
    }
    Ok(())
}

/// Refuses a text with too many characters.
///
/// # Errors
/// When it is too long.
pub fn length(what: &'static str, text: &str, limit: usize) -> Result<(), Error> {
    // No text has more characters than bytes.
    if text.len() <= limit || text.chars().count() <= limit {
        return Ok(());
    }
    Err(invalid(what, text, &format!("exceeds length limit of {limit} characters")))
}

/// Refuses an alias that could be taken for a version or for `latest`.
///
/// # Errors
/// When it is no alias.
pub fn alias(name: &str) -> Result<(), Error> {
    length("alias", name, ALIAS)?;
    let lower = name.to_lowercase();
    if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-') {
        return Err(invalid("alias", name, "only alphanumerics, underscores (_) and dashes (-) are allowed"));
    }
    let version = lower
        .strip_prefix('v')
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()));
    if lower == "latest" || version {
        return Err(invalid("alias", name, "`latest` and version numbers are reserved"));
    }
    Ok(())
}

/// Refuses a batch that is too large.
///
/// # Errors
/// When it has too many entities.
pub const fn batch(metrics: usize, params: usize, tags: usize) -> Result<(), Error> {
    if metrics > METRICS {
        return Err(Error::TooMany { what: "metrics", found: metrics, limit: METRICS });
    }
    if params > PARAMS {
        return Err(Error::TooMany { what: "params", found: params, limit: PARAMS });
    }
    if tags > TAGS {
        return Err(Error::TooMany { what: "tags", found: tags, limit: TAGS });
    }
    let all = metrics + params + tags;
    if all > BATCH {
        return Err(Error::TooMany { what: "metrics, params, and tags", found: all, limit: BATCH });
    }
    Ok(())
}

/// An [`Error::Invalid`] with the value shortened.
pub fn invalid(what: &'static str, value: &str, reason: &str) -> Error {
    let mut value: String = value.chars().take(121).collect();
    if value.chars().count() > 120 {
        value = value.chars().take(119).collect();
        value.push('…');
    }
    Error::Invalid { what, value, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_mlflows() {
        for name in ["a", "val/loss", "a b-c_d.e:1", "é"] {
            assert!(key("metric name", name).is_ok(), "{name}");
        }
        for name in ["", "a//b", "/a", "a/", "../a", "a/./b", "a\n", "a;b", &"x".repeat(251)] {
            assert!(key("metric name", name).is_err(), "{name}");
        }
    }

    #[test]
    fn aliases_are_never_versions() {
        for name in ["champion", "a_b-c", "v1x", "vv"] {
            assert!(alias(name).is_ok(), "{name}");
        }
        for name in ["", "latest", "Latest", "v1", "V22", "a b", "a@b", "a/b"] {
            assert!(alias(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_batch_is_bounded_in_each_kind_and_in_all() {
        assert!(batch(1000, 0, 0).is_ok());
        assert!(batch(900, 50, 50).is_ok());
        assert!(batch(1001, 0, 0).is_err());
        assert!(batch(0, 101, 0).is_err());
        assert!(batch(0, 0, 101).is_err());
        assert!(batch(950, 50, 1).is_err());
    }
}
