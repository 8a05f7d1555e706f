//! A map that keeps the order in which its entries were written: steps, datasets, parameters.
//!
//! It is a list of pairs, looked up by walking while it is short; a long one (a generated pipeline names
//! thousands of steps) has an index beside it.

use std::collections::HashMap;
use std::fmt;
use std::ops::Index;

use serde::ser::{Serialize, SerializeMap, Serializer};

/// Names and what they stand for, in the order of the file. Names are unique.
#[derive(Clone)]
pub struct Ordered<T> {
    entries: Vec<(String, T)>,
    /// Where each name stands; empty while there are few.
    places: HashMap<String, usize>,
}

/// Up to so many entries walking is as quick as looking in an index.
const FEW: usize = 16;

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), places: HashMap::new() }
    }
}

impl<T: PartialEq> PartialEq for Ordered<T> {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl<T: fmt::Debug> fmt::Debug for Ordered<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ordered").field(&self.entries).finish()
    }
}

impl<T> Ordered<T> {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry at the end, or replaces the one of that name where it stands.
    pub fn insert(&mut self, name: impl Into<String>, value: T) {
        let name = name.into();
        if let Some(old) = self.get_mut(&name) {
            *old = value;
            return;
        }
        if self.entries.len() >= FEW {
            if self.places.is_empty() {
                let known = self.entries.iter().enumerate().map(|(place, (name, _))| (name.clone(), place));
                self.places = known.collect();
            }
            self.places.insert(name.clone(), self.entries.len());
        }
        self.entries.push((name, value));
    }

    /// The entry of that name.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.entry(self.position(name)?).map(|(_, value)| value)
    }

    /// The entry that stands at a place, counted from 0, with its name.
    pub fn entry(&self, place: usize) -> Option<(&str, &T)> {
        self.entries.get(place).map(|(name, value)| (name.as_str(), value))
    }

    /// The entry of that name, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut T> {
        let place = self.position(name)?;
        self.entries.get_mut(place).map(|(_, value)| value)
    }

    /// Whether there is an entry of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.position(name).is_some()
    }

    /// Where the entry of that name stands, counted from 0.
    pub fn position(&self, name: &str) -> Option<usize> {
        if self.places.is_empty() {
            return self.entries.iter().position(|(known, _)| known == name);
        }
        self.places.get(name).copied()
    }

    /// The names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(name, _)| name.as_str())
    }

    /// The values in order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, value)| value)
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<T> FromIterator<(String, T)> for Ordered<T> {
    fn from_iter<I: IntoIterator<Item = (String, T)>>(entries: I) -> Self {
        let mut ordered = Self::new();
        for (name, value) in entries {
            ordered.insert(name, value);
        }
        ordered
    }
}

impl<T> IntoIterator for Ordered<T> {
    type Item = (String, T);
    type IntoIter = std::vec::IntoIter<(String, T)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

/// The entry of that name; for names that a checked project is known to hold.
///
/// # Panics
/// When there is none, as every map does; use [`Ordered::get`] for names from outside.
impl<T> Index<&str> for Ordered<T> {
    type Output = T;

    fn index(&self, name: &str) -> &T {
        match self.get(name) {
            Some(value) => value,
            None => panic!("no entry `{name}`"),
        }
    }
}

impl<T: Serialize> Serialize for Ordered<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.entries.len()))?;
        for (name, value) in &self.entries {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_and_names_are_unique() {
        let mut steps = Ordered::new();
        steps.insert("train", 1);
        steps.insert("prepare", 2);
        steps.insert("train", 3);
        assert_eq!(steps.names().collect::<Vec<_>>(), ["train", "prepare"]);
        assert_eq!(steps["train"], 3);
        assert_eq!(steps.position("prepare"), Some(1));
        assert_eq!(serde_json::to_string(&steps).unwrap(), r#"{"train":3,"prepare":2}"#);
    }

    #[test]
    fn many_are_found_as_few_are() {
        let mut many: Ordered<usize> = (0..100).map(|number| (format!("s{number}"), number)).collect();
        many.insert("s40", 7);
        assert_eq!((many.len(), many["s40"], many["s99"], many.position("s17")), (100, 7, 99, Some(17)));
        assert_eq!((many.get("s100"), many.entry(3)), (None, Some(("s3", &3))));
    }
}
