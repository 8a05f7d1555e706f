//! The quotes of a shell's command: what a value has to look like depends on where it stands.

/// Where in a shell command a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Quote {
    /// Outside of quotes.
    #[default]
    None,
    /// Between single quotes.
    Single,
    /// Between double quotes.
    Double,
}

impl Quote {
    /// The quotes that are open after a piece of a command.
    #[must_use]
    pub fn after(self, text: &str) -> Self {
        let mut quote = self;
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            quote = match (quote, character) {
                (Self::None | Self::Double, '\\') => {
                    characters.next();
                    quote
                }
                (Self::None, '\'') => Self::Single,
                (Self::None, '"') => Self::Double,
                (Self::Single, '\'') | (Self::Double, '"') => Self::None,
                (same, _) => same,
            };
        }
        quote
    }

    /// A value as part of one word at this place. Values of plain characters stay as they are.
    pub fn quoted(self, value: &str) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
        match self {
            Self::None if !value.is_empty() && value.chars().all(plain) => value.to_owned(),
            Self::None => format!("'{}'", value.replace('\'', r"'\''")),
            Self::Single => value.replace('\'', r"'\''"),
            Self::Double => {
                let escape = |c: char| if "\\\"$`".contains(c) { vec!['\\', c] } else { vec![c] };
                value.chars().flat_map(escape).collect()
            }
        }
    }
}

/// A value as one word of a command that somebody may paste into a shell.
pub fn word(value: &str) -> String {
    Quote::None.quoted(value)
}

#[cfg(test)]
mod tests {
    use super::word;

    #[test]
    fn a_word_is_quoted_where_a_shell_would_change_it() {
        assert_eq!(
            ["a-b/1.csv", "", "a b", "it's", "$(x)"].map(word),
            ["a-b/1.csv", "''", "'a b'", r"'it'\''s'", "'$(x)'"]
        );
    }
}
