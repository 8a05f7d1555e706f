//! Tags: names that people give to versions of a dataset (`flights@paper`). A tag is a ref: each move of it
//! is a line in the journal, and what it points to is kept by every clean-up.

use std::fmt;

use rondo_core::journal::Because;
use rondo_core::{Digest, reference};
use rondo_store::meta::journal::Expect;
use serde::{Deserialize, Serialize};

use crate::{Datasets, Error};

/// The longest tag.
const LONGEST: usize = 100;

/// A name of a version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tag {
    /// The dataset.
    pub dataset: String,
    /// The name.
    pub tag: String,
    /// The version's content.
    pub digest: Digest,
}

/// A tag that is of one version here and of another elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// The dataset.
    pub dataset: String,
    /// The name.
    pub tag: String,
    /// The version that it names here.
    pub here: Digest,
    /// The version that it was to name.
    pub there: Digest,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dataset, tag, here, there } = self;
        write!(f, "tag `{dataset}@{tag}` is version {} and not {}", here.short(), there.short())
    }
}

/// What is to become of a tag that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It stays, and that is an error.
    Refuse,
    /// It moves.
    Move,
}

/// Whether a text can be a tag: letters, digits, `.`, `_` and `-`, and nothing that a version is called by
/// already.
///
/// # Errors
/// When it cannot.
pub fn check_tag(tag: &str) -> Result<(), Error> {
    let refuse = |why| Err(Error::TagName { tag: tag.to_owned(), why });
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if tag.len() > LONGEST || !tag.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric()) {
        return refuse("it begins with a letter or digit and has 100 characters at most");
    }
    if !tag.bytes().all(plain) {
        return refuse("it has letters, digits, `.`, `_` and `-` alone");
    }
    if matches!(tag, "latest" | "previous") {
        return refuse("that is what the newest versions are called");
    }
    if tag.bytes().all(|byte| byte.is_ascii_digit()) {
        return refuse("a number is the number of a version");
    }
    if tag.len() >= 6 && tag.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return refuse("it could be the beginning of a version's digest");
    }
    Ok(())
}

impl Datasets {
    /// The tags of a dataset, or of all.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn tags(&self, dataset: Option<&str>) -> Result<Vec<Tag>, Error> {
        let prefix = dataset.map_or_else(|| "tag/".to_owned(), |dataset| reference::tag(dataset, ""));
        let refs = self.store.meta().refs(&prefix).await?;
        let tag = |(name, digest): (String, Digest)| {
            let (dataset, tag) = name.strip_prefix("tag/")?.split_once('@')?;
            Some(Tag { dataset: dataset.to_owned(), tag: tag.to_owned(), digest })
        };
        Ok(refs.into_iter().filter_map(tag).collect())
    }

    /// Gives a version a name. Whether anything changed.
    ///
    /// # Errors
    /// When it cannot be a tag, or is another version's already and may not move.
    pub async fn tag(&self, tag: &Tag, taken: Taken, because: Because) -> Result<bool, Error> {
        check_tag(&tag.tag)?;
        let name = reference::tag(&tag.dataset, &tag.tag);
        let here = self.store.meta().target(&name).await?;
        let expect = match here {
            Some(here) if here == tag.digest => return Ok(false),
            Some(here) if taken == Taken::Refuse => {
                let Tag { dataset, tag, digest } = tag.clone();
                let hint = format!("rondo data tag {dataset}@{} {tag} --move", digest.short());
                return Err(Error::TagTaken {
                    tags: vec![Conflict { dataset, tag, here, there: digest }],
                    hint,
                });
            }
            Some(here) => Expect::At(here),
            None => Expect::Absent,
        };
        let version = (tag.dataset.as_str(), tag.digest);
        let moved = self.store.meta().point_at_version(&name, expect, version, because, self.clock.now());
        Ok(moved.await?.changed)
    }

    /// Takes a name away; the version stays. What it named.
    ///
    /// # Errors
    /// When there is no such tag.
    pub async fn untag(&self, dataset: &str, tag: &str, because: Because) -> Result<Digest, Error> {
        let name = reference::tag(dataset, tag);
        let Some(here) = self.store.meta().target(&name).await? else {
            return Err(Error::TagNotFound { dataset: dataset.to_owned(), tag: tag.to_owned() });
        };
        self.store.meta().move_ref(&name, Expect::At(here), None, because, self.clock.now()).await?;
        Ok(here)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_nothing_that_a_version_is_called_by_already() {
        for tag in ["v1", "paper-2024.1", "a", "beef", "2024-01", "release_candidate"] {
            assert!(check_tag(tag).is_ok(), "{tag}");
        }
        for tag in ["", "latest", "previous", "7", "deadbeef", ".x", "a b", "a@b", "a/b", "é", "x\n"] {
            assert!(matches!(check_tag(tag), Err(Error::TagName { .. })), "{tag}");
        }
        assert!(check_tag(&"x".repeat(101)).is_err());
    }
}
