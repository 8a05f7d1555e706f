//! HTML of a cell that is no more than tables and marked text, such as a data frame's: rewritten for the page.
//!
//! Only a few tags get through, and of their attributes only those that join cells; each is written anew, and
//! all text is escaped. Anything else makes the whole fall through to a frame of its own.

use super::text::escaped;

/// Tags that may stand on the page.
const TAGS: [&str; 31] = [
    "table", "thead", "tbody", "tfoot", "tr", "th", "td", "caption", "div", "span", "p", "b", "strong", "i",
    "em", "code", "pre", "br", "hr", "ul", "ol", "li", "h1", "h2", "h3", "h4", "dl", "dt", "dd", "sub",
    "sup",
];
/// Tags that have no end.
const EMPTY: [&str; 2] = ["br", "hr"];
/// Attributes that may stand on them, with numbers alone.
const ATTRIBUTES: [&str; 2] = ["colspan", "rowspan"];

/// The HTML as it may stand on the page, where it is all simple.
pub fn simple(html: &str) -> Option<String> {
    let mut out = String::with_capacity(html.len());
    let mut open: Vec<&'static str> = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        let (text, tag) = rest.split_at(at);
        out.push_str(&entities(text));
        if let Some(comment) = tag.strip_prefix("<!--") {
            rest = comment.split_once("-->")?.1;
            continue;
        }
        let end = tag_end(tag)?;
        let inside = tag.get(1..end)?;
        rest = tag.get(end + 1..)?;
        let closing = inside.starts_with('/');
        let inside = inside.trim_start_matches('/').trim_end_matches('/').trim();
        let name_end = inside.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(inside.len());
        let (name, attributes) = inside.split_at(name_end);
        let name = name.to_ascii_lowercase();
        if name == "style" && !closing {
            // How it looks is the page's business.
            let end = rest.to_ascii_lowercase().find("</style")?;
            let after = rest.get(end..)?;
            rest = after.get(after.find('>')? + 1..)?;
            continue;
        }
        let known = TAGS.into_iter().find(|tag| *tag == name)?;
        match (closing, EMPTY.contains(&known)) {
            (false, true) => out.push_str(&format!("<{known}>")),
            (false, false) => {
                open.push(known);
                out.push_str(&format!("<{known}{}>", joins(attributes)));
            }
            (true, _) => {
                if open.pop() != Some(known) {
                    return None;
                }
                out.push_str(&format!("</{known}>"));
            }
        }
    }
    out.push_str(&entities(rest));
    open.is_empty().then_some(out)
}

/// The place of the `>` that ends a tag: not one within quotes.
fn tag_end(tag: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in tag.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '>') => return Some(at),
            _ => {}
        }
    }
    None
}

/// The attributes that join cells.
fn joins(attributes: &str) -> String {
    let mut out = String::new();
    for name in ATTRIBUTES {
        let value =
            attributes.split_once(&format!("{name}=")).map(|(_, rest)| rest.trim_start_matches(['"', '\'']));
        let digits: String =
            value.unwrap_or_default().chars().take_while(char::is_ascii_digit).take(4).collect();
        if !digits.is_empty() {
            out.push_str(&format!(" {name}=\"{digits}\""));
        }
    }
    out
}

/// Text of HTML: its entities stay, where they are ones.
fn entities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, after) = rest.split_at(at);
        out.push_str(&escaped(before));
        let length =
            after.char_indices().skip(1).take(12).find(|(_, c)| !(c.is_ascii_alphanumeric() || *c == '#'));
        match length {
            Some((end, ';')) if end > 1 => {
                out.push_str(after.get(..=end).unwrap_or_default());
                rest = after.get(end + 1..).unwrap_or_default();
            }
            _ => {
                out.push_str("&amp;");
                rest = after.get(1..).unwrap_or_default();
            }
        }
    }
    out.push_str(&escaped(rest));
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_data_frame_is_a_table_of_the_page() {
        let html = "<div>\n<style scoped>td {x: y}</style>\n<table border=\"1\" class=\"dataframe\"><tr \
                    style=\"x\"><th colspan='2' onclick=\"x\">a &lt; b & c</th></tr><tr><td>1</td><td>2</td></tr>\
                    </table>\n<p>2 rows × 2 columns</p></div>";
        assert_eq!(
            simple(html).unwrap(),
            "<div>\n\n<table><tr><th colspan=\"2\">a &lt; b &amp; c</th></tr><tr><td>1</td><td>2</td></tr>\
             </table>\n<p>2 rows × 2 columns</p></div>"
        );
    }

    #[test]
    fn anything_else_is_not_simple() {
        for html in [
            "<script>x</script>",
            "<img src=x onerror=y>",
            "<a href=\"javascript:x\">y</a>",
            "<table><tr></table>",
            "<div",
            "</div>",
            "<div><iframe></iframe></div>",
        ] {
            assert_eq!(simple(html), None, "{html}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_known_tags_gets_through(html in "(?s)(<|>|</|/|table|td|script|img|onx=|\"|'|&|;|#1| |a|é|<!--|-->|style|<td>|</td>){0,30}") {
            if let Some(clean) = simple(&html) {
                for part in clean.split('<').skip(1) {
                    let name: String = part.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
                    prop_assert!(TAGS.contains(&name.as_str()), "{}", clean);
                    let inside = part.split('>').next().unwrap_or_default();
                    prop_assert!(!inside.contains("onx"), "{}", clean);
                }
            }
        }
    }
}
