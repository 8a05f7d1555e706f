//! Which files of a project Python code imports: what a script or notebook depends on beside itself.
//!
//! [`of_source`] finds the import statements of a source; [`Modules`] follows them from file to file. It is
//! a scanner of text that knows strings, comments and brackets, and no parser: a source with a fault in it
//! gives what can be seen, and what is found too much is no file of the project and costs a look. Imports
//! that are made while a program runs (`importlib`, `%run`) are not seen: `code:` declares those.

mod follow;
mod statements;

pub use follow::Modules;
use statements::statements;

/// What one import statement asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Import {
    /// How many folders up it begins: 0 for an absolute one, 1 for `from . import x`.
    pub level: usize,
    /// The module's name in parts.
    pub module: Vec<String>,
    /// What is taken from it by name, which may be modules too.
    pub names: Vec<String>,
}

impl Import {
    /// What `python -m NAME` reads; none of what is no module's name.
    pub fn of_main(name: &str) -> Option<Self> {
        let module = dotted(name).filter(|module| !module.is_empty())?;
        Some(Self { level: 0, module, names: vec!["__main__".to_owned()] })
    }
}

/// The imports of a Python source, each once.
pub fn of_source(source: &str) -> Vec<Import> {
    let mut found: Vec<Import> = Vec::new();
    for statement in statements(source) {
        for import in of_statement(statement.trim()) {
            if !found.contains(&import) {
                found.push(import);
            }
        }
    }
    found
}

fn of_statement(statement: &str) -> Vec<Import> {
    if let Some(list) = statement.strip_prefix("import").filter(|rest| rest.starts_with(char::is_whitespace))
    {
        let module = |part: &str| Some(dotted(first_word(part))?).filter(|module| !module.is_empty());
        let import = |module| Import { level: 0, module, names: Vec::new() };
        return list.split(',').filter_map(module).map(import).collect();
    }
    let from = statement.strip_prefix("from").and_then(taken);
    from.into_iter().collect()
}

/// What stands behind `from`.
fn taken(rest: &str) -> Option<Import> {
    let begins = |at: usize| rest.get(..at).is_some_and(|before| before.ends_with([' ', '\t', '.']));
    let goes_on =
        |at: usize| rest.get(at + "import".len()..).filter(|after| after.starts_with([' ', '\t', '(', '*']));
    let (at, list) = rest
        .match_indices("import")
        .filter(|(at, _)| begins(*at))
        .find_map(|(at, _)| Some((at, goes_on(at)?)))?;
    let whole = rest.get(..at)?;
    let module = whole.trim_start();
    let level = module.len() - module.trim_start_matches('.').len();
    if level == 0 && module.len() == whole.len() {
        // `fromage import x`
        return None;
    }
    let module = dotted(module.trim_start_matches('.').trim())?;
    let list = list.trim().trim_start_matches('(').trim_end_matches(')');
    let names = list.split(',').map(first_word).filter(|name| is_name(name)).map(str::to_owned).collect();
    (level > 0 || !module.is_empty()).then_some(Import { level, module, names })
}

fn first_word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

/// The parts of a dotted name; none of nothing.
fn dotted(text: &str) -> Option<Vec<String>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.split('.').map(|part| is_name(part).then(|| part.to_owned())).collect()
}

fn is_name(text: &str) -> bool {
    let starts = text.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_');
    starts && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(source: &str) -> Vec<String> {
        let shown = |import: Import| {
            let module = format!("{}{}", ".".repeat(import.level), import.module.join("."));
            if import.names.is_empty() { module } else { format!("{module}:{}", import.names.join(",")) }
        };
        of_source(source).into_iter().map(shown).collect()
    }

    #[test]
    fn every_form_of_an_import_is_seen() {
        assert_eq!(shown("import a\nimport b.c as d, e\n"), ["a", "b.c", "e"]);
        assert_eq!(shown("import hh; print(hh.V)"), ["hh"]);
        assert_eq!(
            shown("if True:\n    import x\ntry: import y\nexcept: pass\n\tfrom z import q"),
            ["x", "y", "z:q"]
        );
        assert_eq!(shown("from a.b import (\n  c as d, # why\n  e,\n)\nfrom f import *"), ["a.b:c,e", "f"]);
        assert_eq!(
            shown("from . import x\nfrom .y import z\nfrom..u.v import(w)\nfrom .import k"),
            [".:x", ".y:z", "..u.v:w", ".:k"]
        );
        assert_eq!(shown("import a, \\\n  b\r\nimport c\r\n"), ["a", "b", "c"]);
        assert_eq!(shown("import ünder\nimport a\nimport a"), ["ünder", "a"]);
    }

    #[test]
    fn texts_and_comments_import_nothing_and_faults_hide_nothing_below() {
        assert!(shown("x = 'import a'\n# import b\n\"\"\"\nimport c\n\"\"\"\ny = r'\\'\n").is_empty());
        assert!(
            shown("fromage import x\nimportant = 1\nimport\nfrom x\nfrom import y\nimport 1a").is_empty()
        );
        assert_eq!(shown("f(1, [2\nimport a\n  from b import c\n"), ["a", "b:c"]);
        assert_eq!(shown("x = 'never closed\nimport a\nfrom a import 'b'"), ["a"]);
        assert_eq!(shown("d = {'a': 1}; import b # c\nx: int = 3; from e import f"), ["b", "e:f"]);
    }

    proptest! {
        #[test]
        fn any_source_can_be_scanned(
            source in "(import|from|[ab.]|\\*|,|:|;|#|'|\"|\"\"\"|\\\\|\n|\r|[\\[\\](){}]| |\t|é){0,60}"
        ) {
            of_source(&source);
            Import::of_main(&source);
        }
    }
}
