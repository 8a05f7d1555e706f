//! Environments of LaTeX that stand in Markdown without marks, `\begin{align} … \end{align}`: Jupyter takes them for
//! formulas, Markdown for words.

use std::borrow::Cow;
use std::ops::Range;

use pulldown_cmark::{Event, Options, Parser, Tag};

use super::math;

const BEGIN: &str = r"\begin{";

/// The same Markdown with `$$` around each environment that can be drawn and stands in no code and no formula.
pub fn marked(source: &str, options: Options) -> Cow<'_, str> {
    if !source.contains(BEGIN) {
        return Cow::Borrowed(source);
    }
    let taken = taken(source, options);
    let (mut text, mut done) = (String::new(), 0);
    for (at, _) in source.match_indices(BEGIN) {
        let before = source.get(done..at).filter(|before| !before.ends_with('\\'));
        let is_taken = taken.iter().any(|range| range.contains(&at));
        let environment = source.get(at..).and_then(environment);
        if let (Some(before), false, Some(environment)) = (before, is_taken, environment)
            && math::output(environment).is_some()
        {
            text.push_str(before);
            text.push_str(&format!("$${}$$", in_one_line(environment, source.get(..at).unwrap_or_default())));
            done = at + environment.len();
        }
    }
    text.push_str(source.get(done..).unwrap_or_default());
    Cow::Owned(text)
}

/// Where a text is code or has its marks already.
fn taken(source: &str, options: Options) -> Vec<Range<usize>> {
    let is_taken = |event: &Event<'_>| {
        matches!(
            event,
            Event::Code(_)
                | Event::InlineMath(_)
                | Event::DisplayMath(_)
                | Event::Start(Tag::CodeBlock(_) | Tag::HtmlBlock)
        )
    };
    let events = Parser::new_ext(source, options).into_offset_iter();
    events.filter(|(event, _)| is_taken(event)).map(|(_, range)| range).collect()
}

/// The environment that a text begins with: up to its own end, and not beyond a blank line.
fn environment(text: &str) -> Option<&str> {
    let name = text.strip_prefix(BEGIN)?.split('}').next()?;
    let (begin, end) = (format!("{BEGIN}{name}}}"), format!(r"\end{{{name}}}"));
    let (mut open, mut length) = (0_usize, 0);
    for line in text.split_inclusive('\n') {
        if line.trim().is_empty() || length > math::LONGEST {
            return None;
        }
        let mut rest = line;
        while let Some(at) = rest.find('\\') {
            let (before, from) = rest.split_at(at);
            length += before.len();
            let word = if from.starts_with(&begin) {
                open += 1;
                begin.len()
            } else if from.starts_with(&end) {
                open = open.checked_sub(1)?;
                end.len()
            } else {
                // A command, or a character that it is written before.
                1 + from.chars().nth(1).map_or(0, char::len_utf8)
            };
            length += word;
            if open == 0 {
                return text.get(..length);
            }
            rest = from.get(word..)?;
        }
        length += rest.len();
    }
    None
}

/// Lines mean nothing to LaTeX, but for its comments, and a `+` at the beginning of one is a list in Markdown.
fn in_one_line<'a>(environment: &'a str, before: &str) -> Cow<'a, str> {
    let line = before.rsplit('\n').next().unwrap_or_default();
    if environment.contains('%') || line.trim_start().starts_with('>') {
        return Cow::Borrowed(environment);
    }
    Cow::Owned(environment.lines().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(source: &str) -> String {
        marked(source, Options::ENABLE_MATH).into_owned()
    }

    #[test]
    fn an_environment_without_marks_gets_them() {
        let align = "\\begin{align}\na_1 &= b \\\\\n+ c\n\\end{align}";
        let one = "$$\\begin{align} a_1 &= b \\\\ + c \\end{align}$$";
        assert_eq!(mark(&format!("So\n\n{align}\n\nholds.")), format!("So\n\n{one}\n\nholds."));
        assert_eq!(mark(&format!("{align} and {align}")), format!("{one} and {one}"));
        let nested = r"\begin{equation}\begin{matrix}1\\2\end{matrix}\end{equation}";
        assert_eq!(mark(nested), format!("$${nested}$$"));
        assert_eq!(mark("> \\begin{align}\n> a\n> \\end{align}").matches('>').count(), 3);
    }

    #[test]
    fn code_formulas_and_what_is_not_mathematics_stay() {
        for source in [
            "`\\begin{align}a\\end{align}`",
            "```\n\\begin{align}a\\end{align}\n```",
            "    \\begin{align}a\\end{align}",
            "$$\\begin{align}a\\end{align}$$",
            "\\begin{nosuch}a\\end{nosuch}",
            "\\begin{align}a\n\nb\\end{align}",
            "\\\\begin{align}a\\end{align}",
            "\\begin{align}a",
            "\\begin{",
            "\\begin{align}\\",
        ] {
            assert_eq!(mark(source), source);
        }
    }
}
