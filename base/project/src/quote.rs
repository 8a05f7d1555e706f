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
}
