//! The programming languages that parameters can be passed to, and how each writes its words.
//!
//! They are those that papermill knows. What a language's values look like is [`super::literal`]'s business.

use unicode_ident::{is_xid_continue, is_xid_start};

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
    /// Scala.
    Scala,
    /// MATLAB.
    Matlab,
    /// C# in .NET Interactive.
    CSharp,
    /// F# in .NET Interactive.
    FSharp,
    /// PowerShell.
    PowerShell,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Python,
        Self::R,
        Self::Bash,
        Self::Julia,
        Self::Scala,
        Self::Matlab,
        Self::CSharp,
        Self::FSharp,
        Self::PowerShell,
    ];

    /// By the name that notebooks and kernels use, in any case.
    pub fn named(name: &str) -> Option<Self> {
        match name.to_lowercase().as_str() {
            "python" | "python3" | "ipython" | "pyspark" => Some(Self::Python),
            "r" | "ir" | "sparkr" => Some(Self::R),
            "bash" | "sh" | "shell" => Some(Self::Bash),
            "julia" => Some(Self::Julia),
            "scala" => Some(Self::Scala),
            "matlab" => Some(Self::Matlab),
            "c#" | "csharp" | ".net-csharp" => Some(Self::CSharp),
            "f#" | "fsharp" | ".net-fsharp" => Some(Self::FSharp),
            "powershell" | "pwsh" | ".net-powershell" => Some(Self::PowerShell),
            _ => None,
        }
    }

    /// By the name of a kernel where the notebook does not name its language: `python3`, `ir`, `julia-1.10`.
    pub fn of_kernel(kernel: &str) -> Option<Self> {
        // The kernels of sparkmagic speak one language and run another's notebook.
        let spark = match kernel {
            "pysparkkernel" => Some(Self::Python),
            "sparkkernel" => Some(Self::Scala),
            "sparkrkernel" => Some(Self::R),
            _ => None,
        };
        spark
            .or_else(|| Self::named(kernel))
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
            Self::Scala => "scala",
            Self::Matlab => "matlab",
            Self::CSharp => "C#",
            Self::FSharp => "F#",
            Self::PowerShell => "PowerShell",
        }
    }

    /// The usual name of its kernel.
    pub fn kernel(self) -> &'static str {
        match self {
            Self::Python => "python3",
            Self::R => "ir",
            Self::Bash => "bash",
            Self::Julia => "julia",
            Self::Scala => "scala",
            Self::Matlab => "matlab",
            Self::CSharp => ".net-csharp",
            Self::FSharp => ".net-fsharp",
            Self::PowerShell => ".net-powershell",
        }
    }

    /// What begins a comment that runs to the line's end.
    pub fn comment(self) -> &'static str {
        match self {
            Self::Python | Self::R | Self::Bash | Self::Julia | Self::PowerShell => "#",
            Self::Scala | Self::CSharp | Self::FSharp => "//",
            Self::Matlab => "%",
        }
    }

    /// A line that sets a variable to an expression.
    pub fn assignment(self, name: &str, value: &str) -> String {
        match self {
            Self::Python | Self::Julia => format!("{name} = {value}"),
            Self::R => format!("{name} <- {value}"),
            Self::Bash => format!("{name}={value}"),
            Self::Scala => format!("val {name} = {value}"),
            Self::Matlab => format!("{name} = {value};"),
            // `var` cannot tell the type of nothing.
            Self::CSharp if value == "null" => format!("object {name} = null;"),
            Self::CSharp => format!("var {name} = {value};"),
            Self::FSharp => format!("let {name} = {value}"),
            Self::PowerShell => format!("${name} = {value}"),
        }
    }

    /// An expression that reads a variable of the process's environment, whose name holds letters, digits and
    /// underscores alone.
    pub fn variable(self, name: &str) -> String {
        match self {
            Self::Python => format!("__import__(\"os\").environ[\"{name}\"]"),
            Self::R => format!("Sys.getenv(\"{name}\")"),
            Self::Bash => format!("\"${name}\""),
            Self::Julia => format!("ENV[\"{name}\"]"),
            Self::Scala => format!("sys.env(\"{name}\")"),
            Self::Matlab => format!("getenv(\"{name}\")"),
            Self::CSharp | Self::FSharp => format!("System.Environment.GetEnvironmentVariable(\"{name}\")"),
            Self::PowerShell => format!("$Env:{name}"),
        }
    }

    /// Whether a text is a plain variable name: what keeps a parameter's name from being code.
    pub fn is_name(self, name: &str) -> bool {
        let Some(first) = name.chars().next() else { return false };
        let begins = match self {
            Self::R => first == '.',
            Self::Matlab => false,
            Self::Python
            | Self::Bash
            | Self::Julia
            | Self::Scala
            | Self::CSharp
            | Self::FSharp
            | Self::PowerShell => first == '_',
        };
        let begins = begins || (is_xid_start(first) && self.is_in_name(first));
        begins && name.chars().all(|c| self.is_in_name(c)) && !self.words().contains(&name)
    }

    /// Whether a variable's name may hold a character: letters of any script, where the language takes them.
    pub fn is_in_name(self, c: char) -> bool {
        match self {
            Self::Bash | Self::Matlab => c.is_ascii_alphanumeric() || c == '_',
            Self::Python => is_xid_continue(c),
            // `x²` is a name.
            Self::Julia => c.is_alphanumeric() || c == '_',
            Self::R if c == '.' => true,
            Self::R | Self::Scala | Self::CSharp | Self::FSharp | Self::PowerShell => {
                (c.is_alphanumeric() && is_xid_continue(c)) || c == '_'
            }
        }
    }

    /// The reserved words: what cannot be a name, and what is shown as such.
    pub fn words(self) -> &'static [&'static str] {
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
            Self::Scala => &[
                "abstract",
                "case",
                "catch",
                "class",
                "def",
                "do",
                "else",
                "extends",
                "false",
                "final",
                "finally",
                "for",
                "if",
                "implicit",
                "import",
                "lazy",
                "match",
                "new",
                "null",
                "object",
                "override",
                "package",
                "private",
                "protected",
                "return",
                "sealed",
                "super",
                "this",
                "throw",
                "trait",
                "true",
                "try",
                "type",
                "val",
                "var",
                "while",
                "with",
                "yield",
            ],
            Self::Matlab => &[
                "break",
                "case",
                "catch",
                "classdef",
                "continue",
                "else",
                "elseif",
                "end",
                "for",
                "function",
                "global",
                "if",
                "otherwise",
                "parfor",
                "persistent",
                "return",
                "spmd",
                "switch",
                "try",
                "while",
            ],
            Self::CSharp => &[
                "abstract",
                "as",
                "base",
                "bool",
                "break",
                "byte",
                "case",
                "catch",
                "char",
                "class",
                "const",
                "continue",
                "decimal",
                "default",
                "do",
                "double",
                "else",
                "enum",
                "event",
                "false",
                "finally",
                "float",
                "for",
                "foreach",
                "if",
                "in",
                "int",
                "interface",
                "internal",
                "is",
                "lock",
                "long",
                "namespace",
                "new",
                "null",
                "object",
                "out",
                "override",
                "params",
                "private",
                "protected",
                "public",
                "readonly",
                "ref",
                "return",
                "sealed",
                "short",
                "static",
                "string",
                "struct",
                "switch",
                "this",
                "throw",
                "true",
                "try",
                "typeof",
                "using",
                "virtual",
                "void",
                "while",
            ],
            Self::FSharp => &[
                "abstract",
                "and",
                "as",
                "begin",
                "class",
                "default",
                "do",
                "done",
                "elif",
                "else",
                "end",
                "exception",
                "extern",
                "false",
                "finally",
                "for",
                "fun",
                "function",
                "if",
                "in",
                "inherit",
                "inline",
                "interface",
                "lazy",
                "let",
                "match",
                "member",
                "module",
                "mutable",
                "namespace",
                "new",
                "null",
                "of",
                "open",
                "or",
                "override",
                "private",
                "public",
                "rec",
                "return",
                "then",
                "to",
                "true",
                "try",
                "type",
                "use",
                "val",
                "when",
                "while",
                "with",
                "yield",
            ],
            Self::PowerShell => &[
                "begin", "break", "catch", "class", "continue", "do", "else", "elseif", "end", "finally",
                "for", "foreach", "function", "if", "in", "param", "process", "return", "switch", "throw",
                "trap", "true", "false", "null", "try", "until", "while",
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
        for language in Language::ALL {
            for name in ["", "1x", "a b", "a;b", "a$b", "x=1\nimport os", "a–b", "a’", "a\u{a0}b"] {
                assert!(!language.is_name(name), "{name}");
            }
        }
        assert!(!Language::Python.is_name("a.b") && !Language::Python.is_name("import"));
        assert!(Language::R.is_name("max.depth"));
        assert!(!Language::R.is_name("_x") && !Language::Matlab.is_name("_x"));
    }

    #[test]
    fn names_have_letters_of_any_script_where_the_language_takes_them() {
        for name in ["größe", "名前", "é2"] {
            assert!(Language::Python.is_name(name) && Language::R.is_name(name), "{name}");
            assert!(!Language::Bash.is_name(name) && !Language::Matlab.is_name(name), "{name}");
        }
        for language in Language::ALL {
            assert!(!language.is_name("²x") && !language.is_name("Ⓐ"));
            // A power and a fraction are digits to Unicode, and to Julia alone a part of a name.
            assert_eq!(language.is_name("x²") && language.is_name("x½"), language == Language::Julia);
        }
        // Letters with their accents behind them, and digits of any script.
        assert!(Language::Python.is_name("cafe\u{301}") && Language::Python.is_name("x٣"));
    }

    #[test]
    fn kernels_tell_their_language() {
        assert_eq!(Language::of_kernel("python3"), Some(Language::Python));
        assert_eq!(Language::of_kernel("ir"), Some(Language::R));
        assert_eq!(Language::of_kernel("julia-1.10"), Some(Language::Julia));
        assert_eq!(Language::of_kernel(".net-fsharp"), Some(Language::FSharp));
        assert_eq!(Language::of_kernel("sparkkernel"), Some(Language::Scala));
        assert_eq!(Language::of_kernel("haskell"), None);
    }

    #[test]
    fn every_language_is_found_by_its_own_name_and_kernel() {
        for language in Language::ALL {
            assert_eq!(Language::named(language.name()), Some(language));
            assert_eq!(Language::of_kernel(language.kernel()), Some(language));
        }
    }
}
