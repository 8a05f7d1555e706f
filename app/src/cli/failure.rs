//! A failed command: the error as people and programs see it.

use std::process::ExitCode;

use rondo_core::error::causes;
use rondo_core::ports::PortError;
use rondo_core::{Code, Explain, Objection};
use rondo_project::fault;
use serde_json::{Value, json};

/// What a command gives back when it fails: any error of any crate, rendered once, here.
pub struct Failure {
    error: PortError,
    shown: Option<Box<Shown>>,
    /// Whether what is shown is the command's usual answer, of one that fails by its verdict.
    judged: bool,
    /// Whether all was said already, so that the exit code alone is left.
    said: bool,
}

/// What stands instead of `error: …` where that is more than a line (the faults of a project file).
struct Shown {
    text: String,
    /// The same for programs.
    data: Value,
    /// The hints that are in the text.
    told: Vec<String>,
}

/// The result of a command.
pub type Outcome<T = ()> = Result<T, Failure>;

impl<E: Explain + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { error: Box::new(error), shown: None, judged: false, said: false }
    }
}

impl Failure {
    /// An error of the command itself.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Said { code, message: message.into(), hints: Vec::new() }.into()
    }

    /// An error of the command itself, with a hint.
    pub fn hinted(code: Code, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Said { code, message: message.into(), hints: vec![hint.into()] }.into()
    }

    /// The same, shown so to people and with this data to programs.
    pub fn shown(self, text: String, data: Value) -> Self {
        Self { shown: Some(Box::new(Shown { text, data, told: Vec::new() })), ..self }
    }

    /// The same, shown where a project file of that name and text says what it is about, if it does.
    pub fn located(self, file: &str, source: &str) -> Self {
        let (faults, others) = fault::locate(source, self.error.objections());
        if self.shown.is_some() || faults.is_empty() {
            return self;
        }
        let hints = faults.iter().map(|fault| &fault.hint).chain(others.iter().map(|other| &other.hint));
        let told = hints.flatten().cloned().collect();
        let (mut text, data) = (fault::render(file, source, &faults), fault::json(file, &faults));
        for Objection { message, hint, .. } in others {
            text.push_str(&format!("\nerror: {message}\n"));
            text.extend(hint.map(|hint| format!("  hint: {hint}\n")));
        }
        Self { shown: Some(Box::new(Shown { text, data, told })), ..self }
    }

    /// The same of a command whose answer is a verdict, shown so to people: programs get the answer that they
    /// always get, with the error beside it.
    pub fn judged(self, rendered: String, answer: Value) -> Self {
        Self { judged: true, ..self.shown(rendered, answer) }
    }

    /// An answer that was given whole, and is a verdict by its exit code alone.
    pub fn said(code: Code, message: impl Into<String>) -> Self {
        Self { said: true, ..Self::new(code, message) }
    }

    /// Whether nothing is left to be printed.
    pub const fn is_said(&self) -> bool {
        self.said
    }

    /// The same with one more hint.
    pub fn also(self, hint: impl Into<String>) -> Self {
        Self { error: Box::new(Hinted { error: self.error, hint: hint.into() }), ..self }
    }

    /// Its line in the table of codes.
    pub fn code(&self) -> Code {
        self.error.code()
    }

    /// The exit code.
    pub fn exit(&self) -> ExitCode {
        ExitCode::from(self.code().kind().exit_code())
    }

    /// For people: `error:`, `caused by:`, `hint:`.
    pub fn text(&self) -> String {
        let shown = self.shown.as_deref();
        let mut text = shown.map_or_else(|| self.heading(), |shown| shown.text.clone());
        for cause in self.causes() {
            text.push_str(&format!("  caused by: {}\n", cause.replace('\n', "\n    ")));
        }
        for hint in self.error.hints() {
            if shown.is_some_and(|shown| shown.told.contains(&hint)) {
                continue;
            }
            text.push_str(&format!("hint: {hint}\n"));
        }
        text
    }

    /// The line that says what failed.
    pub fn heading(&self) -> String {
        format!("error: {}\n", self.error)
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let mut error = json!({
            "code": self.code().text(),
            "message": self.error.to_string(),
            "causes": self.causes(),
            "hints": self.error.hints(),
        });
        if let Some(shown) = self.shown.as_deref().filter(|shown| !shown.data.is_null()) {
            if let Value::Object(answer) = &shown.data
                && self.judged
            {
                let mut answer = answer.clone();
                answer.insert("error".to_owned(), error);
                return answer.into();
            }
            error["data"] = shown.data.clone();
        }
        json!({ "schema": 1, "error": error })
    }

    fn causes(&self) -> Vec<String> {
        causes(self.error.as_ref())
    }
}

/// An error with a hint of the command after its own.
#[derive(Debug)]
struct Hinted {
    error: PortError,
    hint: String,
}

impl std::fmt::Display for Hinted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Hinted {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl Explain for Hinted {
    fn code(&self) -> Code {
        self.error.code()
    }

    fn hints(&self) -> Vec<String> {
        self.error.hints().into_iter().chain([self.hint.clone()]).collect()
    }

    fn objections(&self) -> Vec<Objection> {
        self.error.objections()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Said {
    code: Code,
    message: String,
    hints: Vec<String>,
}

impl Explain for Said {
    fn code(&self) -> Code {
        self.code
    }

    fn hints(&self) -> Vec<String> {
        self.hints.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_error_then_hint() {
        let failure = Failure::hinted(Code::DatasetNotFound, "find dataset `flihgts`", "rondo data status");
        assert_eq!(failure.text(), "error: find dataset `flihgts`\nhint: rondo data status\n");
        assert_eq!(failure.json()["error"]["code"], "dataset-not-found");
    }

    #[test]
    fn a_cause_of_several_lines_stands_below_its_error() {
        #[derive(Debug, thiserror::Error)]
        #[error("run the cell")]
        struct Cell(#[source] std::io::Error);
        impl Explain for Cell {
            fn code(&self) -> Code {
                Code::NotebookFailed
            }
        }
        let failure = Failure::from(Cell(std::io::Error::other("one\ntwo")));
        assert_eq!(failure.text(), "error: run the cell\n  caused by: one\n    two\n");
    }

    #[test]
    fn a_verdict_stands_where_it_stands_when_it_is_a_good_one() {
        let answer = json!({ "schema": 1, "passed": false, "reports": [7] });
        let failure = Failure::new(Code::ChecksFailed, "accept `t`").judged(String::new(), answer);
        let told = failure.json();
        assert_eq!(
            (&told["schema"], &told["passed"], &told["reports"][0]),
            (&json!(1), &json!(false), &json!(7))
        );
        assert_eq!(told["error"]["code"], "checks-failed");
        assert!(told["error"].get("data").is_none());
    }

    #[test]
    fn an_error_about_the_project_file_is_shown_in_its_line() {
        let error = rondo_pipeline::Error::ProgramMissing { step: "show".into(), program: "quarto".into() };
        let source = "project: p\nsteps:\n  show:\n    run: quarto render\n";
        let failure = Failure::from(error).also("rondo doctor").located("rondo.yaml", source);
        insta::assert_snapshot!(failure.text(), @r"
        error: step `show` runs `quarto`, which is not on this machine's PATH
         --> rondo.yaml:4:10
          |
        4 |     run: quarto render
          |          ^^^^^^^^^^^^^
          hint: install `quarto`, or give the step an `environment:` that has it
        hint: rondo doctor
        ");
        let fault = &failure.json()["error"]["data"]["faults"][0];
        assert_eq!((&fault["path"], &fault["place"]["line"]), (&json!("steps.show.run"), &json!(4)));
        // A file that says nothing of it shows nothing of it.
        let error = rondo_pipeline::Error::ProgramMissing { step: "gone".into(), program: "quarto".into() };
        assert!(Failure::from(error).located("rondo.yaml", source).text().starts_with("error: step `gone`"));
    }

    #[test]
    fn of_several_errors_those_that_the_file_says_nothing_of_are_told_below() {
        let program = rondo_pipeline::Error::ProgramMissing { step: "show".into(), program: "quarto".into() };
        let uv = rondo_pipeline::Error::UvMissing { reason: "no".into() };
        let source = "project: p\nsteps:\n  show:\n    run: quarto render\n";
        let several = rondo_pipeline::Error::Several { errors: vec![uv, program] };
        let text = Failure::from(several).located("rondo.yaml", source).text();
        let below = "\nerror: install `uv`, which provisions Python environments: no\n  \
                     hint: install `uv` and put it in the PATH\n";
        assert!(text.contains(" --> rondo.yaml:4:10\n") && text.ends_with(below), "{text}");
        assert_eq!(text.matches("hint:").count(), 2, "{text}");
    }
}
