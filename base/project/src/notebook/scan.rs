//! Finds the simple assignments in the source of a parameters cell.
//!
//! It splits the source into statements the way each language does (texts, brackets that run over lines,
//! comments) and takes those that begin at the margin and set one plain name. It is not a parser: whatever it
//! does not understand is skipped, never an error.

use super::language::Language;

/// `name: annotation = value  # comment`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The name.
    pub name: String,
    /// The declared type, where the language has that and it stands there.
    pub annotation: Option<String>,
    /// The value's source.
    pub value: String,
    /// The comment at the statement's end.
    pub comment: Option<String>,
}

/// The assignments of a source in order.
pub fn assignments(source: &str, language: Language) -> Vec<Assignment> {
    statements(source, language).into_iter().filter_map(|statement| assignment(statement, language)).collect()
}

#[derive(Default)]
struct Statement {
    code: String,
    comment: Option<String>,
}

fn statements(source: &str, language: Language) -> Vec<Statement> {
    let chars: Vec<char> = source.chars().collect();
    let mut done: Vec<Statement> = Vec::new();
    let mut current = Statement::default();
    let mut depth = 0usize;
    let mut after_semicolon = false;
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        match c {
            '"' | '\'' => {
                let end = text_end(&chars, at, language);
                current.code.extend(chars.get(at..end).unwrap_or_default());
                at = end;
                continue;
            }
            _ if comments(&chars, at, language)
                && (language != Language::Bash
                    || current.code.is_empty()
                    || current.code.ends_with([' ', '\t'])) =>
            {
                let end = chars.iter().skip(at).position(|c| *c == '\n').map_or(chars.len(), |n| at + n);
                let comment: String = chars.get(at..end).unwrap_or_default().iter().collect();
                let comment = Some(comment.trim_start_matches(['#', '/', '%']).trim().to_owned());
                // `n = 3; % many`: it speaks of what stands before it on its line.
                match done.last_mut().filter(|_| after_semicolon && current.code.trim().is_empty()) {
                    Some(before) => before.comment = comment,
                    None => current.comment = comment,
                }
                at = end;
                continue;
            }
            '\\' if chars.get(at + 1) == Some(&'\n') => {
                at += 2;
                continue;
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '\n' if depth == 0 => {
                done.push(std::mem::take(&mut current));
                after_semicolon = false;
                at += 1;
                continue;
            }
            ';' if depth == 0 => {
                done.push(std::mem::take(&mut current));
                after_semicolon = true;
                at += 1;
                // What follows on the same line still begins at the margin.
                while matches!(chars.get(at), Some(' ' | '\t')) {
                    at += 1;
                }
                continue;
            }
            _ => {}
        }
        current.code.push(c);
        at += 1;
    }
    done.push(current);
    done
}

/// Whether a comment begins at a place.
fn comments(chars: &[char], at: usize, language: Language) -> bool {
    chars.iter().skip(at).take(2).collect::<String>().starts_with(language.comment())
}

/// The place after a text that begins at `start`; the source's end where it is not closed.
fn text_end(chars: &[char], start: usize, language: Language) -> usize {
    let Some(&quote) = chars.get(start) else { return start };
    let three = |at: usize| chars.get(at..at + 3).is_some_and(|part| part.iter().all(|c| *c == quote));
    let long = matches!(language, Language::Python | Language::Julia) && three(start);
    let escapes = match language {
        Language::Bash => quote != '\'',
        Language::Matlab | Language::PowerShell => false,
        _ => true,
    };
    let one_line =
        matches!(language, Language::Python | Language::Scala | Language::Matlab | Language::CSharp);
    let mut at = start + if long { 3 } else { 1 };
    while let Some(&c) = chars.get(at) {
        match c {
            '\\' if escapes => at += 2,
            c if c == quote && !long => return at + 1,
            c if c == quote && three(at) => return at + 3,
            '\n' if one_line && !long => return at,
            _ => at += 1,
        }
    }
    chars.len()
}

fn assignment(statement: Statement, language: Language) -> Option<Assignment> {
    let mut code = statement.code.as_str();
    let mut declared = None;
    for prefix in prefixes(language) {
        if let Some(rest) = code.strip_prefix(prefix) {
            code = rest.trim_start();
            declared = TYPES.contains(prefix).then(|| prefix.trim().to_owned());
            break;
        }
    }
    let end = code.find(|c: char| !language.is_in_name(c))?;
    let (name, rest) = code.split_at(end);
    if !language.is_name(name) {
        return None;
    }
    let (annotation, value) = match language {
        Language::Bash => (None, rest.strip_prefix('=')?),
        Language::R => {
            let rest = rest.trim_start();
            (None, rest.strip_prefix("<-").or_else(|| rest.strip_prefix('='))?)
        }
        Language::Python | Language::Julia | Language::Scala | Language::FSharp => {
            annotated(rest.trim_start(), language)?
        }
        Language::Matlab | Language::CSharp | Language::PowerShell => {
            (declared, rest.trim_start().strip_prefix('=')?)
        }
    };
    let value = value.trim();
    // `a == b` compares; a statement without a value sets nothing, save in a shell.
    if value.starts_with('=') || (value.is_empty() && language != Language::Bash) {
        return None;
    }
    Some(Assignment {
        name: name.to_owned(),
        annotation,
        value: value.to_owned(),
        comment: statement.comment.filter(|comment| !comment.is_empty()),
    })
}

/// Types that stand before a name in C#.
const TYPES: &[&str] = &["int ", "long ", "double ", "float ", "bool ", "string "];

/// What may stand before the name of a variable.
fn prefixes(language: Language) -> &'static [&'static str] {
    match language {
        Language::Bash => &["export "],
        Language::Julia => &["const "],
        Language::Scala => &["val ", "var "],
        Language::FSharp => &["let mutable ", "let "],
        Language::CSharp => &["var ", "int ", "long ", "double ", "float ", "bool ", "string "],
        Language::PowerShell => &["$"],
        Language::Python | Language::R | Language::Matlab => &[],
    }
}

/// Splits `: int = 6` or `:: Int = 6` or `= 6`.
fn annotated(rest: &str, language: Language) -> Option<(Option<String>, &str)> {
    let colon = if language == Language::Julia { "::" } else { ":" };
    match rest.strip_prefix(colon) {
        Some(declared) => {
            let equals = declared.find('=')?;
            let (annotation, value) = declared.split_at(equals);
            let annotation = annotation.trim();
            (!annotation.is_empty())
                .then(|| (Some(annotation.to_owned()), value.strip_prefix('=').unwrap_or(value)))
        }
        None => Some((None, rest.strip_prefix('=')?)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(source: &str, language: Language) -> Vec<(String, String)> {
        assignments(source, language).into_iter().map(|a| (a.name, a.value)).collect()
    }

    #[test]
    fn python_assignments_with_types_comments_and_several_lines() {
        let source = "\
import os
# a note
depth: int = 6  # how deep
rate = 0.1; name = 'a # b'
columns = [
    'x',  # first
    'y',
]
if depth == 3:
    inner = 1
depth == 4
depth += 1
text = '''
fake = 1
'''
def f(): pass
a, b = 1, 2
";
        let found = assignments(source, Language::Python);
        let found_names: Vec<&str> = found.iter().map(|a| a.name.as_str()).collect();
        assert_eq!(found_names, ["depth", "rate", "name", "columns", "text"]);
        assert_eq!(found[0].annotation.as_deref(), Some("int"));
        assert_eq!(found[0].comment.as_deref(), Some("how deep"));
        assert_eq!(found[2].value, "'a # b'");
        assert!(found[3].value.contains("'y'"));
        assert_eq!(names("größe = 1\n名前: str = 'x'", Language::Python).len(), 2);
    }

    #[test]
    fn r_bash_and_julia_assignments() {
        let r = "max.depth <- 6L # deep\nname = \"x\"\nif (a) b <- 1\n";
        assert_eq!(
            names(r, Language::R),
            [("max.depth".into(), "6L".into()), ("name".into(), "\"x\"".into())]
        );
        let bash = "export rows=10 # many\nname='a;b'\necho $rows\nempty=\n";
        assert_eq!(
            names(bash, Language::Bash),
            [("rows".into(), "10".into()), ("name".into(), "'a;b'".into()), ("empty".into(), String::new())]
        );
        assert_eq!(names("n::Int = 3 # x\nf(x) = 2", Language::Julia), [("n".into(), "3".into())]);
    }

    #[test]
    fn assignments_of_the_other_languages() {
        let one = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        assert_eq!(names("val n: Int = 3 // many\nprintln(n)", Language::Scala), one("n", "3"));
        assert_eq!(names("n = 3; % many\ny = n';\n", Language::Matlab)[0], one("n", "3")[0]);
        assert_eq!(names("int n = 3; // many\nn == 3", Language::CSharp), one("n", "3"));
        assert_eq!(names("let name = \"a\" // it", Language::FSharp), one("name", "\"a\""));
        assert_eq!(names("$n = 3 # many\nWrite-Host $n", Language::PowerShell), one("n", "3"));
        let found = assignments("int n = 3; // many", Language::CSharp);
        assert_eq!(found[0].annotation.as_deref(), Some("int"));
        let found = assignments("val n: Int = 3 // many", Language::Scala);
        assert_eq!(
            (found[0].annotation.as_deref(), found[0].comment.as_deref()),
            (Some("Int"), Some("many"))
        );
    }

    proptest! {
        #[test]
        fn any_source_can_be_scanned(source in "([a-z]{1,3}|=|<-|:|#|'|\"|\\\\|\n|[\\[\\](){};]| |1|é){0,60}") {
            for language in Language::ALL {
                assignments(&source, language);
            }
        }
    }
}
