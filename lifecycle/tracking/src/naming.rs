//! Names for runs that nobody named: `adjective-noun-NNN`, 20 characters at most.

const ADJECTIVES: [&str; 48] = [
    "agile", "amber", "bold", "brave", "bright", "brisk", "calm", "candid", "clear", "clever", "cosmic",
    "crisp", "deft", "eager", "early", "fleet", "fond", "frank", "fresh", "gentle", "glad", "golden",
    "grand", "happy", "humble", "jolly", "keen", "kind", "lively", "lucid", "lucky", "mellow", "merry",
    "mild", "noble", "placid", "proud", "quick", "quiet", "rapid", "serene", "sharp", "silver", "steady",
    "sunny", "swift", "vivid", "warm",
];

const NOUNS: [&str; 48] = [
    "alto", "aria", "ballad", "banjo", "bassoon", "bell", "bolero", "brass", "bugle", "cadence", "canon",
    "carol", "cello", "chord", "chorus", "cymbal", "duet", "fiddle", "flute", "fugue", "gong", "harp",
    "horn", "hymn", "lute", "lyre", "march", "melody", "minuet", "motif", "oboe", "octave", "opera", "organ",
    "piano", "prelude", "quartet", "reed", "refrain", "rondo", "scherzo", "sonata", "tango", "tempo", "trio",
    "tuba", "viola", "waltz",
];

/// A new name, at random.
pub fn run_name() -> String {
    let bits: u64 = rand::random();
    let pick = |words: &[&'static str], bits: u64| {
        words.get((bits as usize) % words.len()).copied().unwrap_or("run")
    };
    format!(
        "{}-{}-{}",
        pick(&ADJECTIVES, bits & 0xffff),
        pick(&NOUNS, (bits >> 16) & 0xffff),
        (bits >> 32) % 1000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for word in ADJECTIVES.iter().chain(&NOUNS) {
            assert!(word.bytes().all(|b| b.is_ascii_lowercase()));
        }
        let longest = |words: &[&str]| words.iter().map(|word| word.len()).max().unwrap();
        assert!(longest(&ADJECTIVES) + longest(&NOUNS) + 5 <= 20);
        for _ in 0..100 {
            let name = run_name();
            assert_eq!(name.split('-').count(), 3, "{name}");
        }
    }
}
