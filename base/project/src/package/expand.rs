//! Packages in the place of the steps that use them.
//!
//! A step that uses a workflow becomes the workflow's steps, named `outer/inner`; one that uses a package of
//! files gets what the package runs, its parameters and its folder. What is left speaks only of commands,
//! SQL and packages in Rust. Nothing here can fail: the checker has looked at all of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Package, Run, secret};
use crate::condition;
use crate::ordered::Ordered;
use crate::project::{App, Environment, Packaged, Project, Reference, Resources, SqlSource, Step, Work};
use crate::quote::Quote;
use crate::substitute::{self, Scope};

/// Where the outputs of a workflow's steps are declared that nobody has asked for: they are kept in the
/// store, and never checked out.
pub const INNER: &str = ".rondo/steps";

/// The project in which no step uses a package of files or a workflow any more. No environment gets a name that
/// is taken.
pub fn project(project: Project, taken: &[&str]) -> Project {
    let plain = project.steps.values().all(|step| step.used.is_none());
    if plain && project.apps.values().all(|app| app.used.is_none()) {
        return project;
    }
    let mut expansion = Expansion { environments: project.environments, taken, ..Expansion::default() };
    for (name, step) in project.steps {
        expansion.lower(name, step);
    }
    let mut apps = Ordered::new();
    for (name, app) in project.apps {
        apps.insert(name, expansion.app(app));
    }
    let Expansion { steps, environments, packages, made, taken: _ } = expansion;
    let resolve = |reference: Reference| resolved(&made, reference);
    let inputs = |inputs: Ordered<Reference>| -> Ordered<Reference> {
        inputs.into_iter().map(|(name, reference)| (name, resolve(reference))).collect()
    };
    let steps: Ordered<Step> = steps
        .into_iter()
        .map(|(name, step)| {
            let inputs = inputs(step.inputs);
            (name, Step { inputs, ..step })
        })
        .collect();
    let mut models = Ordered::new();
    for (name, model) in project.models {
        let evaluation = model.evaluation.map(|step| evaluation(&steps, step));
        let from = resolve(model.from);
        models.insert(name, crate::project::Model { from, evaluation, ..model });
    }
    let apps = apps
        .into_iter()
        .map(|(name, app): (String, App)| {
            let inputs = inputs(app.inputs);
            (name, App { inputs, ..app })
        })
        .collect();
    let mut monitor = Ordered::new();
    for (name, watch) in project.monitor {
        let reference = watch.reference.map(resolve);
        monitor.insert(name, crate::project::Monitor { reference, ..watch });
    }
    Project { environments, packages, steps, models, apps, monitor, ..project }
}

/// What an output of a workflow is: an output of one of its steps.
fn resolved(made: &BTreeMap<(String, String), (String, String)>, reference: Reference) -> Reference {
    let Reference::Output { step, output } = reference else { return reference };
    let mut key = (step, output);
    while let Some(next) = made.get(&key) {
        key.clone_from(next);
    }
    Reference::Output { step: key.0, output: key.1 }
}

/// The step that evaluates: of a workflow the one in it that does.
fn evaluation(steps: &Ordered<Step>, name: String) -> String {
    if steps.contains(&name) {
        return name;
    }
    let evaluates = |step: &Step| matches!(&step.work, Work::Uses { package, .. } if package == "evaluate");
    let inner = steps.iter().find(|(step, work)| crate::project::is_target(step, &name) && evaluates(work));
    inner.map_or(name, |(step, _)| step.to_owned())
}

#[derive(Default)]
struct Expansion<'a> {
    steps: Ordered<Step>,
    environments: Ordered<Environment>,
    packages: Ordered<PathBuf>,
    /// For each output of a workflow's step, which output of which step it is.
    made: BTreeMap<(String, String), (String, String)>,
    /// The names that no environment may get.
    taken: &'a [&'a str],
}

impl Expansion<'_> {
    fn lower(&mut self, name: String, mut step: Step) {
        let Some(package) = step.used.take() else {
            self.steps.insert(name, step);
            return;
        };
        let given = match std::mem::replace(&mut step.work, Work::Run { command: String::new() }) {
            Work::Uses { with, .. } => with,
            other => {
                step.work = other;
                self.steps.insert(name, step);
                return;
            }
        };
        if let Some(folder) = &package.folder {
            self.packages.insert(&package.origin, folder.clone());
        }
        if step.resources == Resources::default() {
            step.resources = package.resources.clone();
        }
        step.timeout = step.timeout.or(package.timeout);
        if step.environment.is_none() {
            step.environment =
                package.environment.as_ref().map(|own| self.environment(&package.name, own.clone()));
        }
        match &package.run {
            Run::Builtin { builtin } => {
                let with = filled(&package, given);
                in_rust(&mut step, builtin, with);
                self.steps.insert(name, step);
            }
            Run::Steps { steps, from } => {
                let packaged = packaged(&package, given, step.packaged.as_ref());
                self.workflow(&name, &step, &packaged, steps, from);
            }
            Run::Command { command } | Run::Service { service: command, .. } => {
                let packaged = packaged(&package, given, step.packaged.as_ref());
                step.work = Work::Run { command: command.clone() };
                self.insert(name, step, packaged);
            }
            Run::Sql { source } => {
                let packaged = packaged(&package, given, step.packaged.as_ref());
                step.work = Work::Sql { source: source.clone() };
                self.insert(name, step, packaged);
            }
            Run::Notebook { notebook } => {
                let packaged = packaged(&package, given, step.packaged.as_ref());
                let parameters: Map<String, Value> = packaged
                    .params
                    .names()
                    .map(|name| (name.to_owned(), json!(format!("${{{{ params.{name} }}}}"))))
                    .collect();
                let with = [("notebook", json!(notebook)), ("parameters", Value::Object(parameters))];
                let with = with.map(|(key, value)| (key.to_owned(), value)).into_iter().collect();
                step.work = Work::Uses { package: "papermill".to_owned(), with };
                self.insert(name, step, packaged);
            }
        }
    }

    /// An app with its package's command; what it finds around it is the package's where it says nothing.
    fn app(&mut self, mut app: App) -> App {
        let Some(package) = app.used.take() else { return app };
        let Run::Service { service, care } = &package.run else { return app };
        if let Some(folder) = &package.folder {
            self.packages.insert(&package.origin, folder.clone());
        }
        if app.environment.is_none() {
            app.environment =
                package.environment.as_ref().map(|own| self.environment(&package.name, own.clone()));
        }
        app.run = Some(service.clone());
        app.care = app.care.or(care);
        app.packaged = Some(packaged(&package, std::mem::take(&mut app.with), None));
        app
    }

    fn insert(&mut self, name: String, mut step: Step, packaged: Packaged) {
        step.params = named(&packaged.params);
        step.code = Vec::new();
        step.packaged = Some(packaged);
        self.steps.insert(name, step);
    }

    /// The name of a package's environment among the project's.
    fn environment(&mut self, package: &str, environment: Environment) -> String {
        let mut name = format!("{package}-package");
        let mut number = 1;
        while self.taken.contains(&name.as_str())
            || self.environments.get(&name).is_some_and(|known| *known != environment)
        {
            number += 1;
            name = format!("{package}-package-{number}");
        }
        self.environments.insert(name.clone(), environment);
        name
    }

    fn workflow(
        &mut self,
        name: &str,
        outer: &Step,
        packaged: &Packaged,
        steps: &Ordered<Step>,
        from: &Ordered<(String, String)>,
    ) {
        for (output, (step, inner)) in from.iter() {
            let made = (format!("{name}/{step}"), inner.clone());
            self.made.insert((name.to_owned(), output.to_owned()), made);
        }
        for (inner_name, inner) in steps.iter() {
            let full = format!("{name}/{inner_name}");
            let mut step = inner.clone();
            step.inputs = inner
                .inputs
                .iter()
                .filter_map(|(local, reference)| {
                    let reference = match reference {
                        Reference::Data { dataset } => outer.inputs.get(dataset)?.clone(),
                        Reference::Output { step, output } => {
                            Reference::Output { step: format!("{name}/{step}"), output: output.clone() }
                        }
                    };
                    Some((local.to_owned(), reference))
                })
                .collect();
            step.outputs = inner
                .outputs
                .iter()
                .map(|(output, path)| {
                    let exposed = from.iter().find(|(_, made)| made.0 == inner_name && made.1 == output);
                    let asked = exposed.and_then(|(port, _)| outer.outputs.get(port));
                    (output.to_owned(), asked.map_or_else(|| format!("{INNER}/{full}/{path}"), String::clone))
                })
                .collect();
            let known = |name: &str| packaged.params.get(name).cloned();
            step.when = inner.when.as_ref().map(|when| condition::bound(when, &known));
            step.when = step.when.or_else(|| outer.when.clone());
            if outer.retries > step.retries {
                (step.retries, step.backoff) = (outer.retries, outer.backoff);
            }
            if step.resources == Resources::default() {
                step.resources = outer.resources.clone();
            }
            step.deterministic = step.deterministic.or(outer.deterministic);
            step.reproducible = step.reproducible.or_else(|| outer.reproducible.clone());
            step.timeout = step.timeout.or(outer.timeout);
            step.cache = step.cache && outer.cache;
            step.environment = step.environment.or_else(|| outer.environment.clone());
            step.isolation = step.isolation.or(outer.isolation);
            step.network = step.network.or(outer.network);
            let own = of(packaged, &inner.params);
            step.params = named(&own.params);
            step.packaged = Some(own);
            self.lower(full, step);
        }
    }
}

/// A package's values as a step gives them: those that it leaves out have their defaults.
fn filled(package: &Package, given: Ordered<Value>) -> Ordered<Value> {
    let mut with = given;
    for field in &package.with {
        if let Some(default) = field.default.as_ref().filter(|_| !with.contains(&field.name)) {
            with.insert(&field.name, default.clone());
        }
    }
    with
}

/// The package with the values that a step gives it, in terms of the project: what stands in the package
/// around it is put in.
fn packaged(package: &Arc<Package>, given: Ordered<Value>, around: Option<&Packaged>) -> Packaged {
    let mut made = Packaged {
        origin: package.origin.clone(),
        name: package.name.clone(),
        version: package.version.clone(),
        folder: package.folder.clone().unwrap_or_default(),
        params: Ordered::new(),
        files: Vec::new(),
        secrets: Ordered::new(),
    };
    let given = filled(package, given);
    for field in &package.with {
        let Some(value) = given.get(&field.name) else { continue };
        let outer = match value.as_str().map(|text| substitute::names(text, Scope::Params)).as_deref() {
            Some([only]) => Some(only.clone()),
            _ => None,
        };
        if let Some(variable) = secret(value) {
            made.secrets.insert(&field.name, variable.to_owned());
            continue;
        }
        let Some(around) = around else {
            if field.kind.is_file() {
                made.files.push(field.name.clone());
            }
            made.params.insert(&field.name, value.clone());
            continue;
        };
        if let Some(variable) = outer.as_ref().and_then(|outer| around.secrets.get(outer)) {
            made.secrets.insert(&field.name, variable.clone());
            continue;
        }
        let mut bound = substitute::bound(value, &|name| around.params.get(name).cloned());
        if field.kind.is_file() {
            made.files.push(field.name.clone());
            let passed_on = outer.is_some_and(|outer| around.files.contains(&outer));
            if let Some(file) = bound.as_str().filter(|_| !passed_on) {
                bound = Value::from(around.folder.join(Path::new(file)).to_string_lossy().into_owned());
            }
        }
        made.params.insert(&field.name, bound);
    }
    made
}

/// The same package with those parameters alone that one of its steps uses.
fn of(packaged: &Packaged, names: &[String]) -> Packaged {
    let wanted = |name: &str| names.iter().any(|known| known == name);
    Packaged {
        params: packaged.params.iter().filter(|(name, _)| wanted(name)).map(owned).collect(),
        files: packaged.files.iter().filter(|name| wanted(name)).cloned().collect(),
        secrets: packaged.secrets.iter().filter(|(name, _)| wanted(name)).map(owned).collect(),
        ..packaged.clone()
    }
}

fn owned<T: Clone>((name, value): (&str, &T)) -> (String, T) {
    (name.to_owned(), value.clone())
}

/// The parameters of the project that values name, sorted.
fn named(values: &Ordered<Value>) -> Vec<String> {
    fn below(value: &Value, names: &mut Vec<String>) {
        match value {
            Value::String(text) => names.extend(substitute::names(text, Scope::Params)),
            Value::Array(items) => items.iter().for_each(|item| below(item, names)),
            Value::Object(entries) => entries.values().for_each(|item| below(item, names)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut names = Vec::new();
    values.values().for_each(|value| below(value, &mut names));
    names.sort();
    names.dedup();
    names
}

/// A package in Rust. Those that only start another program are that program's command.
fn in_rust(step: &mut Step, builtin: &str, with: Ordered<Value>) {
    let text = |key: &str| with.get(key).and_then(Value::as_str);
    let script = |step: &mut Step, file: &str| {
        step.code.push(file.strip_prefix("./").unwrap_or(file).to_owned());
        word(file)
    };
    let start = match builtin {
        "python" => match (text("script"), text("module"), text("code")) {
            (Some(file), ..) => Some(format!("python {}", script(step, file))),
            (None, Some(module), _) => Some(format!("python -m {}", word(module))),
            (None, None, Some(code)) => Some(format!("python -c {}", word(code))),
            (None, None, None) => None,
        },
        "r" => match (text("script"), text("code")) {
            (Some(file), _) => Some(format!("Rscript {}", script(step, file))),
            (None, Some(code)) => Some(format!("Rscript -e {}", word(code))),
            (None, None) => None,
        },
        "shell" => {
            let shell = text("shell").unwrap_or("sh");
            match (text("script"), text("command")) {
                (Some(file), _) => Some(format!("{shell} {}", script(step, file))),
                (None, Some(command)) => {
                    step.work = Work::Run { command: shell_command(shell, command, with.get("args")) };
                    return;
                }
                (None, None) => None,
            }
        }
        "sql" => {
            let source = match (text("script"), text("query")) {
                (Some(file), _) => SqlSource::File(file.to_owned()),
                (None, query) => SqlSource::Text(query.unwrap_or_default().to_owned()),
            };
            step.work = Work::Sql { source };
            return;
        }
        _ => None,
    };
    step.work = match start {
        Some(start) => Work::Run { command: format!("{start}{}", arguments(with.get("args"))) },
        None => Work::Uses { package: builtin.to_owned(), with },
    };
}

/// A command for a shell, and its arguments.
fn shell_command(shell: &str, command: &str, args: Option<&Value>) -> String {
    let arguments = arguments(args);
    match shell {
        "sh" => in_this_shell(command, &arguments),
        other => in_another_shell(other, command, &arguments),
    }
}

/// A command with arguments for the shell that runs the step. It stays as it is, so that its values are
/// quoted as their places in it need it.
fn in_this_shell(command: &str, arguments: &str) -> String {
    if arguments.is_empty() { command.to_owned() } else { format!("set --{arguments}\n{command}") }
}

/// A command with arguments for a shell that the step's shell starts. Its values are read twice that way:
/// they are given in variables, and the command names those, so that none is ever read as code.
fn in_another_shell(shell: &str, command: &str, arguments: &str) -> String {
    let (mut values, mut script) = (String::new(), String::new());
    let (mut quote, mut count) = (Quote::None, 0);
    for piece in substitute::pieces(command) {
        match piece {
            substitute::Piece::Text(plain) => {
                quote = quote.after(&plain);
                script.push_str(&plain);
            }
            substitute::Piece::Expression(Ok(expression)) => {
                count += 1;
                values.push_str(&format!("RONDO_VALUE_{count}=${{{{ {expression} }}}} "));
                script.push_str(&match quote {
                    Quote::None => format!("\"${{RONDO_VALUE_{count}}}\""),
                    Quote::Single => format!("'\"${{RONDO_VALUE_{count}}}\"'"),
                    Quote::Double => format!("${{RONDO_VALUE_{count}}}"),
                });
            }
            // Refused by the checker.
            substitute::Piece::Expression(Err(_)) => {}
        }
    }
    let script = word(&script.replace("${{", "$${{"));
    format!("{values}{shell} -c {script} {shell}{arguments}")
}

/// Arguments of a command: a list as it is, a mapping as `--name value`. `true` is an option without a
/// value, `false` and nothing are none.
fn arguments(value: Option<&Value>) -> String {
    let mut line = String::new();
    let mut add = |text: &str| {
        line.push(' ');
        line.push_str(&word(text));
    };
    match value {
        Some(Value::Array(items)) => items.iter().for_each(|item| add(&super::plain(item))),
        Some(Value::Object(entries)) => {
            for (name, value) in entries {
                let option = if name.starts_with('-') { name.clone() } else { format!("--{name}") };
                match value {
                    Value::Bool(false) | Value::Null => {}
                    Value::Bool(true) => add(&option),
                    Value::Array(items) => {
                        add(&option);
                        items.iter().for_each(|item| add(&super::plain(item)));
                    }
                    value => {
                        add(&option);
                        add(&super::plain(value));
                    }
                }
            }
        }
        Some(other) => add(&super::plain(other)),
        None => {}
    }
    line
}

/// A text as one word of a shell's command. Its expressions stay outside of the quotes: what they stand for
/// is quoted when it is put in.
fn word(text: &str) -> String {
    let mut word = String::new();
    for piece in substitute::pieces(text) {
        match piece {
            substitute::Piece::Text(plain) => word.push_str(&quoted(&plain).replace("${{", "$${{")),
            substitute::Piece::Expression(Ok(expression)) => {
                word.push_str(&format!("${{{{ {expression} }}}}"));
            }
            // Refused by the checker.
            substitute::Piece::Expression(Err(_)) => {}
        }
    }
    if word.is_empty() { "''".to_owned() } else { word }
}

fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shell(with: Value) -> String {
        let shell = with.get("shell").and_then(Value::as_str).unwrap_or("sh");
        shell_command(shell, with["command"].as_str().unwrap(), with.get("args"))
    }

    #[test]
    fn values_in_a_command_of_the_shell_are_read_once() {
        let command = "cat ${{ inputs.rows }} > '${{ outputs.o }}'";
        assert_eq!(shell(json!({ "command": command })), command);
        assert_eq!(
            shell(json!({ "command": command, "args": ["a b", "${{ params.p }}"] })),
            format!("set -- 'a b' ${{{{ params.p }}}}\n{command}")
        );
        assert_eq!(shell(json!({"command": "echo $${{ x }}"})), "echo $${{ x }}");
    }

    #[test]
    fn values_in_a_command_of_another_shell_are_given_in_variables() {
        let command = "a ${{ params.p }} \"b ${{ inputs.i }}\" 'c ${{ params.q }}' $${{";
        let words = [
            "RONDO_VALUE_1=${{ params.p }} RONDO_VALUE_2=${{ inputs.i }} RONDO_VALUE_3=${{ params.q }} bash -c",
            "'a \"${RONDO_VALUE_1}\" \"b ${RONDO_VALUE_2}\" @c @\"${RONDO_VALUE_3}\"@@ $${{' bash 1",
        ];
        let wanted = words.join(" ").replace('@', r"'\''");
        let with = json!({"shell": "bash", "command": command, "args": [1]});
        assert_eq!(shell(with), wanted);
    }

    #[test]
    fn another_shell_reads_values_as_they_are() {
        let command = "printf '%s|' \"$1\" ${{ params.p }} \"b ${{ inputs.i }}\" 'c ${{ params.q }}'";
        let filled = shell(json!({"shell": "bash", "command": command, "args": ["x y"]}))
            .replace("${{ params.p }}", "'a; echo no'")
            .replace("${{ inputs.i }}", "'/my rows $HOME'")
            .replace("${{ params.q }}", "\"it's\"");
        let said = std::process::Command::new("/bin/sh").args(["-c", &filled]).output().unwrap();
        // 127: there is no bash here.
        if said.status.code() != Some(127) {
            let said = String::from_utf8(said.stdout).unwrap();
            assert_eq!(said, "x y|a; echo no|b /my rows $HOME|c it's|");
        }
    }

    #[test]
    fn arguments_are_words_of_the_shell() {
        let line = |value: Value| arguments(Some(&value));
        assert_eq!(line(json!(["a b", 3, "it's"])), r" 'a b' 3 'it'\''s'");
        assert_eq!(
            line(json!({"depth": 6, "fast": true, "slow": false, "-x": [1, 2]})),
            " --depth 6 --fast -x 1 2"
        );
        assert_eq!(line(json!(["seed-${{ params.seed }} x"])), " seed-${{ params.seed }}' x'");
        assert_eq!(arguments(None), "");
        assert_eq!(word(""), "''");
    }
}
