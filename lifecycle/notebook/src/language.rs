//! The programming languages that parameters can be passed to, and how each writes its words.

/// A language that parameters can be read from and injected into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Python.
    Python,
    /// R.
    R,
    /// Bash, and other shells of its family.
    Bash,
    /// Julia.
    Julia,
}

impl Language {
    /// By the name that notebooks and kernels use, in any case.
    pub fn named(name: &str) -> Option<Self> {
        match name.to_lowercase().as_str() {
            "python" | "python3" | "ipython" => Some(Self::Python),
            "r" | "ir" => Some(Self::R),
            "bash" | "sh" | "shell" => Some(Self::Bash),
            "julia" => Some(Self::Julia),
            _ => None,
        }
    }

    /// By the name of a kernel where the notebook does not name its language: `python3`, `ir`, `julia-1.10`.
    pub fn of_kernel(kernel: &str) -> Option<Self> {
        Self::named(kernel)
            .or_else(|| kernel.starts_with("python").then_some(Self::Python))
            .or_else(|| kernel.starts_with("julia").then_some(Self::Julia))
    }

    /// By the extension of a script in the percent format.
    pub fn of_extension(extension: &str) -> Option<Self> {
        match extension {
            "py" => Some(Self::Python),
            "R" | "r" => Some(Self::R),
            "sh" => Some(Self::Bash),
            "jl" => Some(Self::Julia),
            _ => None,
        }
    }

    /// The name in `metadata.kernelspec.language`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::R => "R",
            Self::Bash => "bash",
            Self::Julia => "julia",
        }
    }

    /// The usual name of its kernel.
    pub fn kernel(self) -> &'static str {
        match self {
            Self::Python => "python3",
            Self::R => "ir",
            Self::Bash => "bash",
            Self::Julia => "julia",
        }
    }

    /// Whether a text is a plain variable name: what keeps a parameter's name from being code.
    pub fn is_name(self, name: &str) -> bool {
        let mut chars = name.chars();
        let Some(first) = chars.next() else { return false };
        let first_fits = match self {
            Self::R => first.is_ascii_alphabetic() || first == '.',
            Self::Python | Self::Bash | Self::Julia => first.is_ascii_alphabetic() || first == '_',
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || (c == '.' && self == Self::R);
        first_fits && chars.all(fits) && !self.reserved().contains(&name)
    }

    fn reserved(self) -> &'static [&'static str] {
        match self {
            Self::Python => &[
                "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class",
                "continue", "def", "del", "elif", "else", "except", "finally", "for", "from", "global", "if",
                "import", "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try",
                "while", "with", "yield",
            ],
            Self::R => &[
                "if", "else", "repeat", "while", "function", "for", "next", "break", "TRUE", "FALSE", "NULL",
                "Inf", "NaN", "NA", "in",
            ],
            Self::Bash => &[
                "if", "then", "else", "elif", "fi", "case", "esac", "for", "while", "until", "do", "done",
                "in", "function", "select", "time",
            ],
            Self::Julia => &[
                "baremodule",
                "begin",
                "break",
                "catch",
                "const",
                "continue",
                "do",
                "else",
                "elseif",
                "end",
                "export",
                "false",
                "finally",
                "for",
                "function",
                "global",
                "if",
                "import",
                "let",
                "local",
                "macro",
                "module",
                "quote",
                "return",
                "struct",
                "true",
                "try",
                "using",
                "while",
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_be_code_are_refused() {
        assert!(Language::Python.is_name("max_depth"));
        for name in ["", "1x", "a b", "a;b", "a.b", "import", "x=1\nimport os", "é"] {
            assert!(!Language::Python.is_name(name), "{name}");
        }
        assert!(Language::R.is_name("max.depth"));
        assert!(!Language::R.is_name("_x"));
    }

    #[test]
    fn kernels_tell_their_language() {
        assert_eq!(Language::of_kernel("python3"), Some(Language::Python));
        assert_eq!(Language::of_kernel("ir"), Some(Language::R));
        assert_eq!(Language::of_kernel("julia-1.10"), Some(Language::Julia));
        assert_eq!(Language::of_kernel("scala"), None);
    }
}
