//! The versions of Python that may be asked for: a release, or what PEP 440 calls a set of specifiers.

use std::sync::LazyLock;

use regex::Regex;

/// What one looks like: `3.11`, `3.13.0rc1`, `>=3.10,<3.13`. JSON Schema and the checker read it alike.
pub(crate) static PATTERN: LazyLock<String> = LazyLock::new(|| {
    let after = r"(\.?(a|b|rc|post|dev)[0-9]+)*";
    let release = r"v?[0-9]+(\.[0-9]+){0,2}((a|b|rc)[0-9]+)?";
    let compared = format!(r"(===?|!=|[<>]=?) *[0-9]+(\.[0-9]+)*{after}");
    let compatible = format!(r"~= *[0-9]+(\.[0-9]+)+{after}");
    let prefix = r"[!=]= *[0-9]+(\.[0-9]+)*\.\*";
    let specifier = format!("({compared}|{compatible}|{prefix})");
    format!("^ *({release}|{specifier}( *, *{specifier})*) *$")
});

static SPECIFIERS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(&PATTERN).ok());

/// Whether a version of Python may be asked for like this.
pub(crate) fn is_valid(text: &str) -> bool {
    SPECIFIERS.as_ref().is_some_and(|specifiers| specifiers.is_match(text))
}

/// How what other tools would understand is written here.
pub(crate) fn hint(text: &str) -> Option<String> {
    let text = text.trim();
    let caret = text.strip_prefix('^').map(|version| format!(">={version},<4"));
    let named = text.trim_start_matches(|letter: char| letter.is_ascii_alphabetic() || letter == '@');
    let commas = text.split_whitespace().collect::<Vec<_>>().join(",");
    let mut written = caret.into_iter().chain([
        format!("={text}"),
        format!("=={text}"),
        text.trim_end_matches(',').to_owned(),
        named.to_owned(),
        commas,
    ]);
    written.find(|written| is_valid(written)).map(|written| format!("write `\"{written}\"`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_and_sets_of_specifiers_are_told_from_other_texts() {
        for right in [
            "3",
            "3.11",
            " 3.11.4 ",
            "v3.11",
            "3.14.0rc1",
            ">=3.10",
            ">= 3.10 , < 3.14",
            "~=3.10",
            "==3.11.*",
            "!=3.12.*,>3.9",
            "===3.11.4",
            ">=3.14.0a1.dev0",
            "<3.14.post1",
        ] {
            assert!(is_valid(right), "{right}");
        }
        for wrong in [
            "",
            "abc",
            ">==3.1o",
            "3.1o",
            "3.x",
            "3.11.*",
            "~=3",
            "=3.11",
            "^3.10",
            ">=3.10.*",
            ">=3.10,",
            ">=3.10 <3",
            ">=3.10||<3",
            "3.11.4.1",
            "3.12.post1",
            "python3.11",
            ">=",
            ",",
            "3,11",
            "٣.١١",
        ] {
            assert!(!is_valid(wrong), "{wrong}");
        }
    }

    #[test]
    fn what_other_tools_write_is_put_into_pep_440() {
        let told = |text: &str| hint(text).unwrap_or_default();
        assert_eq!(told("3.11.*"), "write `\"==3.11.*\"`");
        assert_eq!(told("=3.11"), "write `\"==3.11\"`");
        assert_eq!(told("^3.10"), "write `\">=3.10,<4\"`");
        assert_eq!(told(">=3.10 <3.14"), "write `\">=3.10,<3.14\"`");
        assert_eq!(told(">=3.10,"), "write `\">=3.10\"`");
        assert_eq!(told("cpython@3.11"), "write `\"3.11\"`");
        assert_eq!(hint("abc"), None);
        assert_eq!(hint(">==3.1o"), None);
    }
}
