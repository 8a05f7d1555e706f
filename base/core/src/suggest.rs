//! "Did you mean": the nearest of the known words.

/// The known word nearest to what was typed, when it is near enough to be what was meant.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = typed.to_lowercase();
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&lower, &word.to_lowercase()), word))
        .filter(|(distance, word)| *distance <= (word.chars().count().max(3) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_words_are_offered_and_far_ones_not() {
        let steps = ["prepare", "train", "evaluate"];
        assert_eq!(nearest("trian", steps), Some("train"));
        assert_eq!(nearest("Prepar", steps), Some("prepare"));
        assert_eq!(nearest("deploy", steps), None);
    }
}
