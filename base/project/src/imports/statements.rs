//! Python's source cut into statements, without texts and comments.

/// The statements of a source, each on a line of its own; a header such as `if x:` is one by itself. Of
/// texts only a quote is left.
pub(super) fn statements(source: &str) -> Vec<String> {
    let mut done = Vec::new();
    let mut current = String::new();
    let mut depth = 0_usize;
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let mut length = c.len_utf8();
        match c {
            '"' | '\'' => {
                length = text(rest, c);
                current.push('"');
            }
            '#' => length = rest.find('\n').unwrap_or(rest.len()),
            '\\' => {
                // A line goes on; anything else is a fault, and harmless.
                length += rest.get(1..).map_or(0, line_end);
                current.push(' ');
            }
            // What cannot stand in brackets says that one was never closed.
            '\n' if depth == 0 || begins_import(rest) => {
                depth = 0;
                end(&mut done, &mut current);
            }
            ';' | ':' if depth == 0 => end(&mut done, &mut current),
            '\n' | '\r' => current.push(' '),
            _ => {
                match c {
                    '(' | '[' | '{' => depth += 1,
                    ')' | ']' | '}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                current.push(c);
            }
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    end(&mut done, &mut current);
    done
}

fn end(done: &mut Vec<String>, current: &mut String) {
    if !current.trim().is_empty() {
        done.push(std::mem::take(current));
    }
    current.clear();
}

/// How long the end of a line is that stands at the beginning.
fn line_end(rest: &str) -> usize {
    if rest.starts_with("\r\n") { 2 } else { usize::from(rest.starts_with('\n')) }
}

/// Whether the line after a line's end begins with an import.
fn begins_import(rest: &str) -> bool {
    let line = rest.trim_start();
    line.starts_with("import ") || line.starts_with("from ")
}

/// The length of the text that begins here: up to its end, or that of its line or the source where it has
/// none.
fn text(rest: &str, quote: char) -> usize {
    let long = if quote == '"' { "\"\"\"" } else { "'''" };
    let is_long = rest.starts_with(long);
    let opening = if is_long { long.len() } else { 1 };
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(opening) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\n' if !is_long => return at,
            _ if c == quote && !is_long => return at + 1,
            _ if c == quote && rest.get(at..).is_some_and(|here| here.starts_with(long)) => {
                return at + long.len();
            }
            _ => {}
        }
    }
    rest.len()
}
