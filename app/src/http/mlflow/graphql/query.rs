//! The language of the queries, as far as the wire's schema needs it: one operation with fields, aliases,
//! arguments and variables. Fragments and directives' meanings are left out; a query's size is bounded as
//! MLflow's server bounds it.

use serde_json::{Map, Value};

/// Characters of a query.
const LENGTH: usize = 100_000;
/// How deep values and selections are read at all.
const NESTED: usize = 64;
/// The bounds that are told: of levels, of selections in all, of fields at the top, of aliases on a level.
const DEPTH: usize = 10;
const SELECTIONS: usize = 1000;
const ROOTS: usize = 10;
const ALIASES: usize = 10;

/// A field that is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub(super) name: String,
    /// What it is called in the answer.
    pub(super) shown: String,
    pub(super) arguments: Map<String, Value>,
    pub(super) inner: Vec<Field>,
    aliased: bool,
}

/// An operation: whether it is a mutation, and what it asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operation {
    pub(super) mutation: bool,
    pub(super) fields: Vec<Field>,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Name(String),
    Text(String),
    Number(Value),
    Mark(char),
}

/// Reads the operation of a document that has this name, or its only one.
pub(super) fn read(
    text: &str,
    name: Option<&str>,
    variables: &Map<String, Value>,
) -> Result<Operation, String> {
    if text.len() > LENGTH {
        return Err(format!("Query exceeds {LENGTH} bytes"));
    }
    let mut reader = Reader { tokens: tokens(text)?.into_iter().peekable(), variables, given: 0 };
    let mut found = Vec::new();
    while reader.tokens.peek().is_some() {
        let operation = reader.operation()?;
        check(&operation.1.fields)?;
        found.push(operation);
    }
    let only = found.len() == 1;
    let mut matching = found.into_iter().filter(|(own, _)| match name {
        Some(name) => own.as_deref() == Some(name),
        None => only,
    });
    match matching.next() {
        Some((_, operation)) => Ok(operation),
        None => Err(format!("Unknown operation named '{}'.", name.unwrap_or_default())),
    }
}

fn check(fields: &[Field]) -> Result<(), String> {
    let (mut level, mut selections, mut aliases) = (fields.iter().collect::<Vec<_>>(), 0, 0);
    for depth in 1.. {
        if level.is_empty() {
            break;
        }
        if depth > DEPTH {
            return Err(format!("Query exceeds maximum depth of {DEPTH}"));
        }
        selections += level.len();
        aliases = aliases.max(level.iter().filter(|field| field.aliased).count());
        level = level.into_iter().flat_map(|field| &field.inner).collect();
    }
    if selections > SELECTIONS {
        return Err(format!("Query exceeds maximum total selections of {SELECTIONS}"));
    }
    for (found, most, what) in [(fields.len(), ROOTS, "root fields"), (aliases, ALIASES, "aliases")] {
        if found > most {
            return Err(format!("GraphQL queries should have at most {most} {what}, got {found} {what}."));
        }
    }
    Ok(())
}

/// Bytes that variables may put into a query, each time they are used.
const GIVEN: usize = 8 << 20;

struct Reader<'v> {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    variables: &'v Map<String, Value>,
    /// Bytes that variables have put into the query.
    given: usize,
}

impl Reader<'_> {
    fn mark(&mut self, mark: char) -> bool {
        self.tokens.next_if_eq(&Token::Mark(mark)).is_some()
    }

    fn expect(&mut self, mark: char) -> Result<(), String> {
        if self.mark(mark) { Ok(()) } else { Err(self.unexpected(&format!("'{mark}'"))) }
    }

    fn unexpected(&mut self, expected: &str) -> String {
        let found = match self.tokens.peek() {
            None => "the end".to_owned(),
            Some(Token::Name(text) | Token::Text(text)) => {
                format!("'{}'", text.chars().take(40).collect::<String>())
            }
            Some(Token::Number(number)) => number.to_string(),
            Some(Token::Mark(mark)) => format!("'{mark}'"),
        };
        format!("Syntax Error: Expected {expected}, found {found}.")
    }

    fn name(&mut self) -> Result<String, String> {
        match self.tokens.next_if(|token| matches!(token, Token::Name(_))) {
            Some(Token::Name(name)) => Ok(name),
            Some(_) | None => Err(self.unexpected("a name")),
        }
    }

    fn operation(&mut self) -> Result<(Option<String>, Operation), String> {
        let (mut mutation, mut name) = (false, None);
        if self.tokens.peek() != Some(&Token::Mark('{')) {
            let kind = self.name()?;
            if !matches!(kind.as_str(), "query" | "mutation") {
                return Err(format!(
                    "Syntax Error: '{}' is not taken here.",
                    kind.chars().take(40).collect::<String>()
                ));
            }
            mutation = kind == "mutation";
            if matches!(self.tokens.peek(), Some(Token::Name(_))) {
                name = Some(self.name()?);
            }
            if self.mark('(') {
                // The types of variables: what is given is looked at where it is used.
                while !self.mark(')') {
                    self.tokens.next().ok_or("Syntax Error: Expected ')', found the end.")?;
                }
            }
            self.directives()?;
        }
        let fields = self.selection(0)?;
        Ok((name, Operation { mutation, fields }))
    }

    fn directives(&mut self) -> Result<(), String> {
        while self.mark('@') {
            self.name()?;
            self.arguments()?;
        }
        Ok(())
    }

    fn selection(&mut self, depth: usize) -> Result<Vec<Field>, String> {
        if depth > NESTED {
            return Err(format!("Query exceeds maximum depth of {DEPTH}"));
        }
        self.expect('{')?;
        let mut fields = Vec::new();
        while !self.mark('}') {
            let (first, aliased) = (self.name()?, self.mark(':'));
            let name = if aliased { self.name()? } else { first.clone() };
            let arguments = self.arguments()?;
            self.directives()?;
            let nested = self.tokens.peek() == Some(&Token::Mark('{'));
            let inner = if nested { self.selection(depth + 1)? } else { Vec::new() };
            fields.push(Field { name, shown: first, arguments, inner, aliased });
        }
        if fields.is_empty() { Err(self.unexpected("a name")) } else { Ok(fields) }
    }

    fn arguments(&mut self) -> Result<Map<String, Value>, String> {
        if self.mark('(') { self.pairs(')', 0) } else { Ok(Map::new()) }
    }

    fn pairs(&mut self, end: char, depth: usize) -> Result<Map<String, Value>, String> {
        let mut pairs = Map::new();
        while !self.mark(end) {
            let name = self.name()?;
            self.expect(':')?;
            let value = self.value(depth)?;
            pairs.insert(name, value);
        }
        Ok(pairs)
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > NESTED {
            return Err("Syntax Error: Values are too deep.".to_owned());
        }
        match self.tokens.next() {
            Some(Token::Text(text)) => Ok(Value::String(text)),
            Some(Token::Number(number)) => Ok(number),
            Some(Token::Name(word)) => Ok(match word.as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                "null" => Value::Null,
                _ => Value::String(word),
            }),
            Some(Token::Mark('$')) => {
                let name = self.name()?;
                let value = self.variables.get(&name).unwrap_or(&Value::Null);
                self.given += value.to_string().len();
                if self.given > GIVEN {
                    return Err(format!("The query's variables exceed {GIVEN} bytes where they are used."));
                }
                Ok(value.clone())
            }
            Some(Token::Mark('{')) => Ok(Value::Object(self.pairs('}', depth + 1)?)),
            Some(Token::Mark('[')) => {
                let mut values = Vec::new();
                while !self.mark(']') {
                    values.push(self.value(depth + 1)?);
                }
                Ok(Value::Array(values))
            }
            Some(Token::Mark(_)) | None => Err("Syntax Error: Expected a value.".to_owned()),
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            // Commas are spaces in this language.
            ',' | '\u{feff}' => {}
            c if c.is_whitespace() => {}
            '#' => while rest.next_if(|c| *c != '\n').is_some() {},
            '{' | '}' | '(' | ')' | '[' | ']' | ':' | '$' | '!' | '@' | '=' => tokens.push(Token::Mark(c)),
            '"' => tokens.push(Token::Text(quoted(&mut rest)?)),
            c if c.is_ascii_alphabetic() || c == '_' => {
                let mut name = String::from(c);
                while let Some(c) = rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(c);
                }
                tokens.push(Token::Name(name));
            }
            c if c.is_ascii_digit() || c == '-' => {
                let mut digits = String::from(c);
                while let Some(c) = rest.next_if(|c| c.is_ascii_digit() || "+-.eE".contains(*c)) {
                    digits.push(c);
                }
                let number = serde_json::from_str(&digits);
                tokens.push(Token::Number(number.map_err(|_| "Syntax Error: Invalid number.".to_owned())?));
            }
            c => return Err(format!("Syntax Error: Unexpected character: '{}'.", c.escape_default())),
        }
    }
    Ok(tokens)
}

fn quoted(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, String> {
    // The escapes are those of JSON.
    let mut written = String::from("\"");
    let unended = || "Syntax Error: Unterminated string.".to_owned();
    loop {
        match rest.next().ok_or_else(unended)? {
            '"' => break,
            '\\' => {
                written.push('\\');
                written.push(rest.next().ok_or_else(unended)?);
            }
            c if c.is_control() && c != '\t' => return Err(unended()),
            '\t' => written.push_str("\\t"),
            c => written.push(c),
        }
    }
    written.push('"');
    serde_json::from_str(&written).map_err(|_| "Syntax Error: Invalid character escape sequence.".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(text: &str) -> Result<Operation, String> {
        read(text, None, &Map::from_iter([("v".to_owned(), json!("given"))]))
    }

    #[test]
    fn an_operation_is_read_with_aliases_arguments_and_variables() {
        let found = of(
            "query q($v: String!) @component(name: \"x\") { # words\n a: run(input: {id: $v, n: [1, -2.5], \
                        e: ALL, t: \"a\\\"\\u00e9\"}) { info { status } } }",
        )
        .unwrap();
        assert!(!found.mutation);
        let field = &found.fields[0];
        assert_eq!((field.shown.as_str(), field.name.as_str()), ("a", "run"));
        let expected = json!({ "id": "given", "n": [1, -2.5], "e": "ALL", "t": "a\"é" });
        assert_eq!(field.arguments["input"], expected);
        assert_eq!(field.inner[0].inner[0].name, "status");
        assert!(of("mutation { a }").unwrap().mutation);
        assert!(read("query a { x } query b { y }", Some("b"), &Map::new()).unwrap().fields[0].name == "y");
    }

    #[test]
    fn what_is_no_query_or_too_large_a_one_is_told() {
        let deep = |levels: usize| format!("{}a{}", "{a ".repeat(levels), "}".repeat(levels));
        assert!(of(&deep(9)).is_ok());
        assert!(of(&deep(11)).unwrap_err().contains("maximum depth of 10"));
        assert!(of(&"{".repeat(90_000)).is_err());
        assert!(of(&deep(20_000)).is_err());
        assert!(of(&format!("{{a(b: {}1{})}}", "[".repeat(20_000), "]".repeat(20_000))).is_err());
        assert!(of(&format!("{{{}}}", "a ".repeat(11))).unwrap_err().contains("at most 10 root fields"));
        let aliases = (0..11).map(|i| format!("k{i}: a ")).collect::<String>();
        assert!(of(&format!("{{x {{{aliases}}}}}")).unwrap_err().contains("at most 10 aliases"));
        assert!(of(&format!("{{x {{{}}}}}", "a ".repeat(1001))).unwrap_err().contains("selections of 1000"));
        for odd in [
            "",
            "{",
            "{}",
            "{a",
            "{a(",
            "{a(b)}",
            "{a(b:)}",
            "{...f}",
            "subscription {a}",
            "{a(b: \"x)}",
            "{a(b: \"\\q\")}",
            "{a(b: 1.2.3)}",
            "{a(b: $)}",
            "fragment f on R { a }",
            "\u{0}",
        ] {
            assert!(of(odd).is_err(), "{odd}");
        }
    }
}
