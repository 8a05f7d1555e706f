//! What stands behind an option of a program that is known.

/// The options of a program that are more than a word by themselves, as its manual writes them, with spaces
/// between: `-k --kill-after`.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Those that have a value of their own behind them.
    pub valued: &'static str,
    /// Those after which nothing is sure: the program does something else, or does it elsewhere.
    pub instead: &'static str,
}

/// What stands behind an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// The next option or argument.
    Argument,
    /// The option's value.
    Value,
    /// Nothing that is sure.
    Nothing,
}

impl Options {
    /// What stands behind an option: `-k`, `-k5`, `--kill-after`, `--kill-after=5`, or several in one word,
    /// as in `-euo pipefail`.
    pub fn behind(&self, word: &str) -> Behind {
        let whole = self.known(word);
        if whole != Behind::Argument {
            return whole;
        }
        if word.starts_with("--") {
            let name = word.split_once('=').map_or(word, |(name, _)| name);
            return if self.known(name) == Behind::Nothing { Behind::Nothing } else { Behind::Argument };
        }
        let mut letters = word.strip_prefix('-').unwrap_or_default().chars();
        while let Some(letter) = letters.next() {
            match self.known(&format!("-{letter}")) {
                Behind::Argument => {}
                Behind::Value if !letters.as_str().is_empty() => return Behind::Argument,
                behind => return behind,
            }
        }
        Behind::Argument
    }

    fn known(&self, option: &str) -> Behind {
        let is_one_of = |options: &str| options.split(' ').any(|one| one == option);
        if is_one_of(self.instead) {
            Behind::Nothing
        } else if is_one_of(self.valued) {
            Behind::Value
        } else {
            Behind::Argument
        }
    }
}

/// Whether a word is an option.
pub fn is_option(word: &str) -> bool {
    word.len() > 1 && word.starts_with(['-', '+'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stands_behind_its_option_or_in_it() {
        let options = Options { valued: "-k -np --kill-after", instead: "-c --chdir" };
        for (word, behind) in [
            ("-k", Behind::Value),
            ("-k5", Behind::Argument),
            ("-vk", Behind::Value),
            ("-kv", Behind::Argument),
            ("-kc", Behind::Argument),
            ("-np", Behind::Value),
            ("--kill-after", Behind::Value),
            ("--kill-after=5", Behind::Argument),
            ("--verbose", Behind::Argument),
            ("--", Behind::Argument),
            ("-ec", Behind::Nothing),
            ("--chdir=x", Behind::Nothing),
            ("--chdirs", Behind::Argument),
            ("+k", Behind::Argument),
            ("-é", Behind::Argument),
        ] {
            assert_eq!(options.behind(word), behind, "{word}");
        }
    }
}
