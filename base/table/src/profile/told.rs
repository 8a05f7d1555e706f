//! How many values differ of a column in which one number may stand for several: whole numbers beyond 2⁵³ and
//! decimals of many digits.
//!
//! They are told apart by the words of [`crate::exact::words_into`]. Those of numbers are their bits, so that
//! what was counted of a column's numbers goes on here from the first value that is told by its digits.

use serde::{Deserialize, Serialize};

use super::hash::FastSet;
use super::sketch::{DistinctBuilder, DistinctSketch};
use super::{Distinct, EXACT_VALUES, encode};

/// Which values occur.
#[derive(Debug, Clone)]
pub(super) enum Told {
    /// The word of each, ascending.
    Few(Vec<u64>),
    /// An estimate of how many differ.
    Many(DistinctSketch),
}

/// Takes the words of a column's values as they come.
#[derive(Debug)]
pub(super) enum TellingBuilder {
    Few(FastSet<u64>),
    Many(Box<DistinctBuilder>),
}

/// The stored form.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum StoredTold {
    Words(String),
    Hll(String),
}

impl TellingBuilder {
    /// Takes words.
    pub(super) fn add(&mut self, words: &[u64]) -> Result<(), String> {
        for (at, word) in words.iter().enumerate() {
            let known = match self {
                Self::Few(known) => known,
                Self::Many(sketch) => {
                    sketch.add_words(words.get(at..).unwrap_or_default());
                    return Ok(());
                }
            };
            known.insert(*word);
            if known.len() > EXACT_VALUES {
                *self = Self::Many(Box::new(poured(&ascending(known))?));
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Told {
        match self {
            Self::Few(known) => Told::Few(ascending(&known)),
            Self::Many(sketch) => Told::Many(sketch.finish()),
        }
    }
}

impl Told {
    /// How many differ of so many.
    pub(super) fn distinct(&self, of: u64) -> Distinct {
        match self {
            Self::Few(words) => Distinct { count: words.len() as u64, exact: true },
            Self::Many(sketch) => {
                Distinct { count: sketch.estimate().clamp((EXACT_VALUES as u64).min(of), of), exact: false }
            }
        }
    }

    /// The values of both.
    pub(super) fn merge(self, other: Self) -> Result<Self, String> {
        let (a, b) = match (self, other) {
            (Self::Few(mut words), Self::Few(more)) => {
                words.extend(more);
                words.sort_unstable();
                words.dedup();
                if words.len() <= EXACT_VALUES {
                    return Ok(Self::Few(words));
                }
                return Ok(Self::Many(poured(&words)?.finish()));
            }
            (Self::Few(few), many) | (many, Self::Few(few)) if few.is_empty() => return Ok(many),
            (a, b) => (a.sketch()?, b.sketch()?),
        };
        Ok(Self::Many(a.merge(&b)?))
    }

    /// All of them as a sketch.
    pub(super) fn sketch(self) -> Result<DistinctSketch, String> {
        match self {
            Self::Few(words) => Ok(poured(&words)?.finish()),
            Self::Many(sketch) => Ok(sketch),
        }
    }

    pub(super) fn stored(&self) -> StoredTold {
        match self {
            Self::Few(words) => StoredTold::Words(encode::words(words.iter().copied())),
            Self::Many(sketch) => StoredTold::Hll(sketch.text()),
        }
    }

    /// What was stored, of so many values.
    pub(super) fn read(stored: &StoredTold, of: u64) -> Result<Self, String> {
        Ok(match stored {
            StoredTold::Words(text) => {
                let words = encode::read_words(text)?;
                if !words.is_sorted_by(|a, b| a < b) || words.len() as u64 > of {
                    return Err("the values that are told apart do not agree with the count".into());
                }
                Self::Few(words)
            }
            StoredTold::Hll(text) => Self::Many(DistinctSketch::read(text)?),
        })
    }
}

fn ascending(words: &FastSet<u64>) -> Vec<u64> {
    let mut words: Vec<u64> = words.iter().copied().collect();
    words.sort_unstable();
    words
}

fn poured(words: &[u64]) -> Result<DistinctBuilder, String> {
    let mut sketch = DistinctBuilder::new()?;
    sketch.add_words(words);
    Ok(sketch)
}
