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
/// Characters of a registered model's name.
pub const MODEL_NAME: usize = 256;
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

/// Characters of a tag's key on an input.
pub const INPUT_TAG_KEY: usize = 255;
/// Characters of a tag's value on an input.
pub const INPUT_TAG_VALUE: usize = 500;

const ALLOWED: &str = "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), \
                       colon(:) and slashes (/).";

/// Refuses a name of a metric, parameter or tag that MLflow would refuse, whatever its length.
///
/// # Errors
/// When it is empty, has other characters, or would be another path than it reads.
pub fn name(what: &str, name: &str) -> Result<(), Error> {
    if !name.chars().all(|c| c.is_alphanumeric() || "_-. :/".contains(c)) {
        return Err(invalid(what, name, ALLOWED));
    }
    unique(what, name)
}

/// Refuses a name that as a path of a file would be another one.
///
/// # Errors
/// When it has empty or dotted parts.
pub fn unique(what: &str, name: &str) -> Result<(), Error> {
    if !name.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return Ok(());
    }
    let reason = format!(
        "Names may be treated as files in certain cases, and must not resolve to other names when treated as such. \
         This name would resolve to '{}'",
        normal(name)
    );
    Err(invalid(what, name, &reason))
}

/// The path that a name would be as a file's.
fn normal(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if name.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (name.starts_with('/'), joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// Refuses a text with too many characters.
///
/// # Errors
/// When it is too long.
pub fn length(what: &str, text: &str, limit: usize) -> Result<(), Error> {
    if fits(text, limit) {
        return Ok(());
    }
    Err(Error::TooLong { what: what.to_owned(), limit })
}

/// Cuts a text to a number of characters, as MLflow's server does with long values.
pub fn cut(text: &mut String, limit: usize) {
    if fits(text, limit) {
        return;
    }
    if let Some((end, _)) = text.char_indices().nth(limit) {
        text.truncate(end);
    }
}

fn fits(text: &str, limit: usize) -> bool {
    // No text has more characters than bytes.
    text.len() <= limit || text.chars().count() <= limit
}

/// Refuses a metric's name.
///
/// # Errors
/// When it is no name or too long.
pub fn metric_name(text: &str) -> Result<(), Error> {
    name("name", text)?;
    length("Metric name", text, KEY)
}

/// Refuses a parameter's name.
///
/// # Errors
/// When it is no name or too long.
pub fn param_name(text: &str) -> Result<(), Error> {
    name("key", text)?;
    length("Param key", text, KEY)
}

/// Refuses a tag's name.
///
/// # Errors
/// When it is no name or too long.
pub fn tag_name(text: &str) -> Result<(), Error> {
    name("key", text)?;
    length("key", text, KEY)
}

/// Refuses an alias that could be taken for a version or for `latest`.
///
/// # Errors
/// When it is no alias.
pub fn alias(name: &str) -> Result<(), Error> {
    let lower = name.to_lowercase();
    if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-') {
        let reason = "Names may only contain alphanumerics, underscores (_), and dashes (-).";
        return Err(invalid("alias", name, reason));
    }
    length("Registered model alias name", name, ALIAS)?;
    let version = lower
        .strip_prefix('v')
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()));
    if lower == "latest" || version {
        return Err(Error::ReservedAlias { alias: name.to_owned() });
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
pub fn invalid(what: &str, value: &str, reason: &str) -> Error {
    let mut value: String = value.chars().take(121).collect();
    if value.chars().count() > 120 {
        value = value.chars().take(119).collect();
        value.push('…');
    }
    Error::Invalid { what: what.to_owned(), value, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_mlflows() {
        for name in ["a", "val/loss", "a b-c_d.e:1", "é"] {
            assert!(metric_name(name).is_ok(), "{name}");
        }
        for name in ["", "a//b", "/a", "a/", "../a", "a/./b", "a\n", "a;b", &"x".repeat(251)] {
            assert!(metric_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_name_that_is_a_path_is_told_which() {
        for (name, path) in
            [("../a", "../a"), ("a//b", "a/b"), ("./x", "x"), ("a/..", "."), ("/../a", "/a"), ("", ".")]
        {
            assert_eq!(normal(name), path, "{name}");
        }
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let mut text = "é".repeat(10);
        cut(&mut text, 4);
        assert_eq!(text, "éééé");
        cut(&mut text, 4);
        assert_eq!(text, "éééé");
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
