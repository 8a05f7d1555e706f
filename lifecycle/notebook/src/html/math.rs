//! LaTeX mathematics as MathML, which browsers draw without a script.
//!
//! What cannot be read whole stays as it was written, so that nothing is ever half shown: an unknown command is text
//! on the page, not an error.

use pulldown_latex::config::{DisplayMode, RenderConfig};
use pulldown_latex::{Parser, Storage, push_mathml};

use super::text::escaped;

/// A formula of more bytes stays text: nobody reads it, and drawing it takes long.
pub const LONGEST: usize = 20_000;

/// A formula between its marks, such as `x^2`; where it is not understood, its text in these marks.
pub fn formula(latex: &str, block: bool) -> String {
    drawn(latex, block).unwrap_or_else(|| {
        let mark = if block { "$$" } else { "$" };
        format!("<code class=\"latex\">{}</code>", escaped(&format!("{mark}{latex}{mark}")))
    })
}

/// An output of LaTeX: text with formulas in it, or one formula with or without marks.
pub fn output(latex: &str) -> Option<String> {
    let whole = latex.trim();
    let inner = |open: &str, close: &str| {
        let inner = whole.strip_prefix(open)?.strip_suffix(close)?;
        (!inner.contains(open) && !inner.is_empty()).then_some(inner)
    };
    // `\displaystyle` stands in front of what SymPy writes, and is known.
    if let Some(inner) = inner("$$", "$$").or_else(|| inner(r"\[", r"\]")) {
        return drawn(inner, true);
    }
    if let Some(inner) = inner("$", "$").or_else(|| inner(r"\(", r"\)")) {
        return drawn(inner, false);
    }
    if whole.starts_with(r"\begin{") { drawn(whole, true) } else { None }
}

fn drawn(latex: &str, block: bool) -> Option<String> {
    if latex.len() > LONGEST {
        return None;
    }
    // An error within is drawn by the library as text of its own; here it means that nothing is drawn.
    let storage = Storage::new();
    let events: Vec<_> = Parser::new(latex, &storage).collect::<Result<_, _>>().ok()?;
    let display_mode = if block { DisplayMode::Block } else { DisplayMode::Inline };
    let config = RenderConfig { display_mode, annotation: None, ..RenderConfig::default() };
    let mut html = String::new();
    let events = events.into_iter().map(Ok::<_, std::convert::Infallible>);
    push_mathml(&mut html, events, config).ok()?;
    // The library writes this one operator as it is.
    Some(html.replace("><</", ">&lt;</"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn formulas_are_drawn_and_what_is_unknown_stays_text() {
        let html = formula("x^2", false);
        assert!(html.starts_with("<math") && html.contains("<msup>"), "{html}");
        assert!(formula(r"\frac{a}{b}", true).contains("display=\"block\""));
        assert_eq!(formula(r"\nosuch{<b>}", false), "<code class=\"latex\">$\\nosuch{&lt;b&gt;}$</code>");
        assert_eq!(formula("{", true), "<code class=\"latex\">$${$$</code>");
        assert!(output("$z$").is_some_and(|html| html.contains("<math")));
        assert!(output(r"$\displaystyle \int_0^1 x\,dx$").is_some());
        assert!(output(r"\begin{equation}a=b\end{equation}").is_some());
        assert_eq!(output("just words"), None);
        assert!(output("$$x$$").is_some_and(|html| html.contains("block")));
        assert_eq!(output("$a$ and $b$"), None);
    }

    #[test]
    fn formulas_that_are_nested_deeply_are_drawn_or_stay_text() {
        for (open, close) in
            [("{", "}"), (r"\sqrt{", "}"), ("x^{", "}"), (r"\left(", r"\right)"), (r"\frac1{", "}")]
        {
            let count = LONGEST / (open.len() + close.len()) - 1;
            formula(&format!("{}x{}", open.repeat(count), close.repeat(count)), true);
        }
        let long = "x".repeat(LONGEST + 1);
        assert!(formula(&long, false).starts_with("<code"));
    }

    proptest! {
        #[test]
        fn no_formula_opens_a_tag_of_its_own(
            latex in r"(\\(frac|text|color|href|url|html|begin|end|left|right|sqrt|mathbb|nosuch)|<script>|</math>|onload=|[{}\[\]^_&$<>'a-c0-9 ]){0,30}",
        ) {
            for html in [Some(formula(&latex, true)), output(&latex)].into_iter().flatten() {
                prop_assert!(!html.contains("<script") && html.matches("</math>").count() <= 1, "{html}");
            }
        }
    }
}
