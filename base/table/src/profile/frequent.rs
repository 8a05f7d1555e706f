//! The commonest of very many different texts, with counts that are never too high.
//!
//! Counters as of Misra and Gries (1982), in the form with a bounded table from which the median is taken
//! off when it is full. What is said of a text is the least that it occurs, and by how much that may be
//! too low. Texts are told by their hash, and kept only when they come a second time: so a column of keys
//! costs no copies.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use serde::{Deserialize, Serialize};

use super::duplicates::Identity;
use super::hash::FastHasher;

const COUNTERS: usize = 4096;
/// So many are kept of a finished profile.
const KEPT: usize = 256;
/// No text longer than this is kept.
const LONGEST: usize = 256;

/// The commonest texts of a column.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Frequent {
    /// By how much a count may be too low.
    pub(super) error: u64,
    /// Texts with the least that they occur, most frequent first.
    pub(super) items: Vec<(String, u64)>,
}

impl Frequent {
    /// Of both together.
    pub(super) fn merge(&self, other: &Self) -> Self {
        let mut items = self.items.clone();
        items.extend(other.items.iter().cloned());
        items.sort();
        items.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 = kept.1.saturating_add(next.1);
            }
            same
        });
        Self { error: self.error.saturating_add(other.error), items }.trimmed()
    }

    /// Of known counts.
    pub(super) fn of<'a>(counts: impl Iterator<Item = (&'a str, u64)>) -> Self {
        let items = counts
            .filter(|(text, _)| text.len() <= LONGEST)
            .map(|(text, count)| (text.to_owned(), count))
            .collect();
        Self { error: 0, items }.trimmed()
    }

    fn trimmed(mut self) -> Self {
        self.items.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        if let Some((_, first_lost)) = self.items.get(KEPT) {
            // One that is lost here may be known elsewhere.
            self.error = self.error.saturating_add(*first_lost);
            self.items.truncate(KEPT);
        }
        self
    }

    /// Whether it can be of this many texts.
    pub(super) fn is_sound(&self, count: u64) -> bool {
        let total = self.items.iter().try_fold(0_u64, |sum, (_, count)| sum.checked_add(*count));
        self.items.len() <= KEPT && total.is_some_and(|total| total <= count)
    }
}

/// Takes texts as they come.
#[derive(Debug, Default)]
pub(super) struct FrequentBuilder {
    error: u64,
    counters: HashMap<u64, (u64, Option<Box<str>>), BuildHasherDefault<Identity>>,
}

impl FrequentBuilder {
    pub(super) fn add(&mut self, text: &str, count: u64) {
        if text.len() > LONGEST {
            return;
        }
        let mut hasher = FastHasher::default();
        hasher.write(text.as_bytes());
        let counter = self.counters.entry(hasher.finish()).or_insert((0, None));
        if counter.1.is_none() && (counter.0 > 0 || count > 1) {
            counter.1 = Some(text.into());
        }
        counter.0 += count;
        if self.counters.len() > COUNTERS {
            self.purge();
        }
    }

    /// Takes the median off all, and what is left with nothing away: at least half of them.
    fn purge(&mut self) {
        let mut counts: Vec<u64> = self.counters.values().map(|(count, _)| *count).collect();
        let middle = counts.len() / 2;
        let (_, median, _) = counts.select_nth_unstable(middle);
        let median = *median;
        self.error += median;
        self.counters.retain(|_, (count, _)| {
            *count = count.saturating_sub(median);
            *count > 0
        });
    }

    pub(super) fn finish(self) -> Frequent {
        let items = self.counters.into_values().filter_map(|(count, text)| Some((text?.into(), count)));
        Frequent { error: self.error, items: items.collect() }.trimmed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_common_is_found_among_very_many() {
        let mut builder = FrequentBuilder::default();
        for row in 0..200_000_u64 {
            match row % 10 {
                0 | 1 => builder.add("often", 1),
                2 => builder.add("less often", 1),
                _ => builder.add(&format!("key {row}"), 1),
            }
        }
        let found = builder.finish();
        let [first, second, ..] = &found.items[..] else { panic!("{found:?}") };
        assert_eq!((first.0.as_str(), second.0.as_str()), ("often", "less often"));
        assert!(first.1 <= 40_000 && first.1 + found.error >= 40_000, "{first:?} {}", found.error);
        assert!(second.1 <= 20_000 && second.1 + found.error >= 20_000);
        assert!(found.error < 400);
        let both = found.merge(&found);
        assert_eq!((both.items[0].1, both.error), (first.1 * 2, found.error * 2));
        assert!(both.is_sound(400_000));
    }
}
