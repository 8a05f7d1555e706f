//! From the text of a `package.yaml` to a checked [`Package`]: every fault in one go, each with its place.
//!
//! The tree is held against the table of keys, then what the parts say of each other is looked at: defaults
//! against types, a notebook's cell against the parameters, a workflow's steps like those of a project.

use std::sync::Arc;

use rondo_core::suggest::nearest;
use serde_json::Value;

use super::load::{Home, Loader};
use super::shape::PACKAGE;
use super::{
    Answers, Bounds, Expect, Expected, Field, FieldKind, Kind, PACKAGE_FILE, Package, Port, Ports, Run, Test,
    plain,
};
use crate::builtins::Builtins;
use crate::check::{self, Context, View, read};
use crate::fault::{self, Fault, Source};
use crate::files::Files;
use crate::ordered::Ordered;
use crate::project::{Environment, Requirements, SqlSource};
use crate::yaml::{self, Entry, Node, join};

/// Reads the text of a package that is built in.
///
/// # Errors
/// All its faults.
pub fn builtin(text: &str) -> Result<Package, Vec<Fault>> {
    // The files of its tests lie beside its source.
    struct Nothing;
    impl Files for Nothing {
        fn exists(&self, _path: &str) -> bool {
            true
        }
        fn text(&self, _path: &str) -> Option<String> {
            None
        }
        fn siblings(&self, _path: &str) -> Vec<String> {
            Vec::new()
        }
    }
    let builtins = Builtins::default();
    let loader = Loader::new(&builtins);
    let home = Home::project(&Nothing);
    let (package, faults) = within(text, PACKAGE_FILE, &home, &loader);
    let package = package.filter(|_| faults.is_empty()).ok_or(faults)?;
    Ok(Package { folder: None, ..package })
}

/// Reads a text with all that lies around it. A package is given only where it has no fault.
pub(crate) fn within(
    text: &str,
    file: &str,
    home: &Home<'_>,
    loader: &Loader<'_>,
) -> (Option<Package>, Vec<Fault>) {
    let source = Arc::new(Source { file: file.to_owned(), text: text.to_owned() });
    let own = |mut faults: Vec<Fault>| {
        faults.iter_mut().for_each(|fault| fault.within = Some(source.clone()));
        faults
    };
    let parsed = yaml::parse(text);
    let Some(root) = &parsed.root else {
        let mut faults = parsed.faults;
        if faults.is_empty() {
            let place = crate::place::Lines::new(text).place(0, 0);
            let fault = Fault::new("", place, "the file is empty").expected("at least the key `name`");
            faults.push(fault.hint("make one with `rondo package new`"));
        }
        return (None, own(faults));
    };
    let mut context = Context::new(file, text, root, home, loader, parsed.faults).seen_as(View::Package);
    context.home = home.clone();
    check::structure(&mut context, &PACKAGE, parsed.partial);
    // Of a tree with lines left out or keys missing nothing more is said.
    let package = (!parsed.partial).then(|| package(&mut context)).flatten();
    let mut faults = context.faults;
    fault::sort(&mut faults);
    let package = package.filter(|_| faults.is_empty());
    (package, own(faults))
}

fn package(context: &mut Context<'_>) -> Option<Package> {
    let root: &Node = context.root;
    let with = fields(context, root);
    let inputs = ports(root, "inputs");
    let outputs = ports(root, "outputs");
    let environment = environment(context, root);
    let run = run(context, root, &with, &outputs)?;
    if matches!(run, Run::Service { .. })
        && !outputs.listed().is_empty()
        && let Some(entry) = root.entry("outputs")
    {
        let message = "a service runs until it is stopped: it has no outputs";
        context.fault(Fault::new("outputs", entry.place, message));
    }
    let mut package = Package {
        name: read::text(root, "name")?,
        version: read::written(root, "version")?,
        summary: read::text(root, "summary")?,
        description: read::text(root, "description"),
        app: matches!(run, Run::Service { .. }),
        inputs,
        outputs,
        with,
        run,
        environment,
        resources: check::resources(root),
        timeout: read::span(root, "timeout"),
        tests: Ordered::new(),
        folder: Some(context.home.folder()),
        origin: context.home.origin(),
    };
    package.tests = tests(context, &package);
    Some(package)
}

/// The entries below a key, each with its description where it is written out.
fn described(node: &Node) -> String {
    read::text(node, "description").unwrap_or_default()
}

fn ports(root: &Node, key: &str) -> Ports {
    let Some(node) = root.get(key) else { return Ports::Listed(Vec::new()) };
    if node.text() == Some("any") {
        return Ports::Any;
    }
    let port = |entry: &Entry| {
        let node = &entry.value;
        let word = node.text().or_else(|| node.get("type").and_then(Node::text));
        Port {
            name: entry.key.clone(),
            kind: word.and_then(Kind::parse).unwrap_or(Kind::Any),
            required: read::bool(node, "required").unwrap_or(true),
            doc: described(node),
        }
    };
    Ports::Listed(node.map().unwrap_or_default().iter().map(port).collect())
}

fn fields(context: &mut Context<'_>, root: &Node) -> Vec<Field> {
    let entries = root.get("params").and_then(Node::map).unwrap_or_default();
    check::variables(context, entries, "params", "parameters");
    entries.iter().filter_map(|entry| field(context, entry)).collect()
}

/// One parameter; what it says of itself must agree.
fn field(context: &mut Context<'_>, entry: &Entry) -> Option<Field> {
    let node = &entry.value;
    let path = join("params", &entry.key);
    let word = node.text().or_else(|| node.get("type").and_then(Node::text))?;
    let kind = FieldKind::parse(word)?;
    let default = node.get("default").map(Node::json);
    let mut field = Field {
        required: read::bool(node, "required").unwrap_or(default.is_none()),
        allowed: node.get("enum").and_then(Node::list).unwrap_or_default().iter().map(Node::json).collect(),
        min: read::float(node, "min"),
        max: read::float(node, "max"),
        pattern: read::text(node, "pattern"),
        ..Field::optional(&entry.key, kind, &described(node))
    };
    let numbers = matches!(kind, FieldKind::Int | FieldKind::Float) || kind.is_list();
    let texts = matches!(kind, FieldKind::Text | FieldKind::Column);
    for (key, fits, noun) in [
        ("min", numbers, "a number or a list"),
        ("max", numbers, "a number or a list"),
        ("pattern", texts, "a text"),
        ("default", kind != FieldKind::Secret, "anything but a secret"),
        ("enum", matches!(kind, FieldKind::Int | FieldKind::Float) || texts, "a number or a text"),
    ] {
        if let Some(entry) = node.entry(key).filter(|_| !fits) {
            let message = format!("`{key}` has no meaning for a parameter of type `{word}`");
            context.fault(Fault::new(join(&path, key), entry.place, message).expected(noun));
        }
    }
    if let (Some(min), Some(max), Some(at)) = (field.min, field.max, node.entry("max"))
        && min > max
    {
        let fault = Fault::new(join(&path, "max"), at.place, format!("no number is from {min} to {max}"));
        context.fault(fault.expected(format!("{min} or more")));
    }
    if let (Some(pattern), Some(at)) = (&field.pattern, node.get("pattern"))
        && let Err(error) = regex::Regex::new(pattern)
    {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or("").trim().trim_start_matches("error: ").to_owned();
        let fault = Fault::new(join(&path, "pattern"), at.place, format!("this is no pattern: {reason}"));
        context.fault(fault.expected("a regular expression"));
        field.pattern = None;
    }
    if let (Some(value), Some(at)) = (&default, node.get("default")) {
        if kind != FieldKind::Secret {
            judged(context, &field, value, at, &join(&path, "default"));
        }
        field.default.clone_from(&default);
        if field.required
            && let Some(entry) = node.entry("required")
        {
            let message = "a parameter with a default need not be given";
            context.fault(Fault::new(join(&path, "required"), entry.place, message));
        }
    }
    Some(field)
}

/// Reports a value that a field does not take.
fn judged(context: &mut Context<'_>, field: &Field, value: &Value, at: &Node, path: &str) {
    if let Err((message, expected)) = check::judge_value(field, value) {
        let fault = Fault::new(path, at.place, format!("the default of `{}` {message}", field.name));
        context.fault(fault.expected(expected));
    }
}

/// The package's environment; a requirements file is read into a list, so that it needs no folder any more.
fn environment(context: &mut Context<'_>, root: &Node) -> Option<Environment> {
    let node = root.get("environment")?;
    let environment = check::environment(context, node, "environment")?;
    let of_files = match &environment {
        Environment::Python { requirements: Requirements::File(file), .. }
            if file.ends_with("pyproject.toml") =>
        {
            Some("requirements")
        }
        Environment::Conda { conda: Requirements::File(_), .. } => Some("conda"),
        Environment::Rootfs { .. } => Some("rootfs"),
        Environment::Nix { .. } => Some("nix"),
        _ => None,
    };
    if let Some((key, place)) = of_files.and_then(|key| Some((key, node.get(key)?.place))) {
        let message = "a package cannot bring this file along for its environment";
        let fault = Fault::new(join("environment", key), place, message);
        let fault = fault.expected("a list, or a file of pip's form");
        context.fault(fault.hint("declare the environment in the project, and name it at the step"));
    }
    Some(match environment {
        Environment::Python { python, requirements: Requirements::File(file) } => {
            let text = context.files.text(&file).unwrap_or_default();
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            let requirements = Requirements::List(lines.map(str::to_owned).collect());
            Environment::Python { python, requirements }
        }
        other => other,
    })
}

fn run(context: &mut Context<'_>, root: &Node, with: &[Field], outputs: &Ports) -> Option<Run> {
    let node = root.get("run")?;
    let command = if node.text().is_some() { Some(node) } else { node.get("command") };
    if let Some(node) = command {
        texts(context, node, "run", root);
        no_secrets(context, node, with);
        return Some(Run::Command { command: node.raw.clone() });
    }
    if let Some(at) = node.get("notebook") {
        let notebook = context.path_at(node, "notebook")?;
        context.file("run.notebook", at.place, &notebook);
        notebook_agrees(context, at, &notebook, with);
        return Some(Run::Notebook { notebook });
    }
    if let Some(at) = node.get("sql") {
        let mut known = check::known(root);
        let source: SqlSource = check::sql(context, at, "run.sql", &mut known);
        return Some(Run::Sql { source });
    }
    if let Some(at) = node.get("service") {
        texts(context, at, "run.service", root);
        no_secrets(context, at, with);
        return Some(Run::Service { service: at.raw.clone(), care: check::care(node) });
    }
    if let Some(at) = node.get("builtin") {
        let builtin = read::text(node, "builtin")?;
        let own = read::text(root, "name").is_some_and(|name| name == builtin);
        if !own && context.loader.builtins.packages.get(&builtin).is_none() {
            let names = context.loader.builtins.packages.names();
            let fault =
                Fault::new("run.builtin", at.place, format!("no built-in package is called `{builtin}`"));
            context.fault(fault.did_you_mean(&builtin, names));
        }
        return Some(Run::Builtin { builtin });
    }
    node.get("steps")?;
    let steps = check::workflow(context);
    let from = from(context, root, outputs);
    Some(Run::Steps { steps, from })
}

/// Checks the expressions of a command.
fn texts(context: &mut Context<'_>, node: &Node, path: &str, root: &Node) {
    let mut known = check::known(root);
    check::expressions_below(context, node, path, &mut known);
}

/// A secret in a command line could be read by everybody on the machine.
fn no_secrets(context: &mut Context<'_>, node: &Node, with: &[Field]) {
    for field in with.iter().filter(|field| field.kind == FieldKind::Secret) {
        let named = crate::substitute::names(&node.raw, crate::substitute::Scope::Params);
        if named.contains(&field.name) {
            let message = format!("the secret `{}` would stand in the command line", field.name);
            let variable = field.name.to_uppercase().replace('-', "_");
            let fault = Fault::new("run", node.place, message);
            context.fault(fault.hint(format!("read it from the environment: `$RONDO_PARAM_{variable}`")));
        }
    }
}

/// The parameters of a package that is a notebook are those of the notebook's tagged cell.
fn notebook_agrees(context: &mut Context<'_>, at: &Node, file: &str, with: &[Field]) {
    if std::path::Path::new(file).extension().is_none_or(|ending| ending != "ipynb") {
        return;
    }
    let Some(text) = context.files.text(file) else { return };
    let declared = match crate::notebook::declared(&text) {
        Ok(declared) => declared,
        Err(why) => {
            let fault = Fault::new("run.notebook", at.place, format!("`{file}` is no notebook: {why}"));
            return context.fault(fault.expected("a Jupyter notebook, format 4"));
        }
    };
    if !declared.known_language {
        return;
    }
    let names: Vec<&str> = declared.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    for field in with.iter().filter(|field| field.kind != FieldKind::Secret) {
        let path = join("params", &field.name);
        let place = context.root.find(&path);
        let Some(parameter) = declared.parameters.iter().find(|parameter| parameter.name == field.name)
        else {
            let fault =
                Fault::new(path, place, format!("notebook `{file}` has no parameter `{}`", field.name));
            let fault = fault.hint("tag the cell that sets its default with `parameters`");
            context.fault(match nearest(&field.name, names.iter().copied()) {
                Some(near) => fault.hint(format!("did you mean `{near}`?")),
                None => fault,
            });
            continue;
        };
        if let Some(default) = field.default.as_ref().filter(|default| !parameter.kind.takes(default)) {
            let message =
                format!("notebook `{file}` does not take `{}` for `{}`", plain(default), field.name);
            context.fault(Fault::new(path, place, message).expected(parameter.kind.noun()));
        }
    }
}

/// Where a workflow's outputs come from.
fn from(context: &mut Context<'_>, root: &Node, outputs: &Ports) -> Ordered<(String, String)> {
    let mut from: Ordered<(String, String)> = Ordered::new();
    for port in outputs.listed() {
        let path = format!("outputs.{}", port.name);
        let Some(entry) = root.get("outputs").and_then(|outputs| outputs.entry(&port.name)) else { continue };
        let Some(node) = entry.value.get("from") else {
            let fault = Fault::new(path, entry.place, format!("nothing makes the output `{}`", port.name));
            let example = format!("{}: {{ type: {}, from: STEP.OUTPUT }}", port.name, port.kind.word());
            context.fault(fault.expected("`from`: an output of a step of the workflow").hint(example));
            continue;
        };
        let path = join(&path, "from");
        let Some(made) = check::made_by(context, node, &path) else { continue };
        if let Some((other, _)) = from.iter().find(|(_, known)| **known == made) {
            let message = format!("`{}` and `{other}` are the same output", port.name);
            context.fault(Fault::new(&path, node.place, message));
        }
        let kind = check::kind_of(context, &made.0, &made.1);
        if !kind.fits(port.kind) {
            let message = format!("`{}.{}` is {}", made.0, made.1, kind.noun());
            context.fault(Fault::new(&path, node.place, message).expected(port.kind.noun()));
        }
        from.insert(port.name.clone(), made);
    }
    if let Some(entry) = root.entry("outputs").filter(|entry| entry.value.text().is_some()) {
        let fault = Fault::new("outputs", entry.place, "a workflow names its outputs");
        context.fault(fault.expected("a mapping: `outputs: { model: { type: model, from: train.model } }`"));
    }
    from
}

fn tests(context: &mut Context<'_>, package: &Package) -> Ordered<Test> {
    let root: &Node = context.root;
    let entries = root.get("tests").and_then(Node::map).unwrap_or_default();
    entries.iter().map(|entry| (entry.key.clone(), test(context, package, entry))).collect()
}

fn test(context: &mut Context<'_>, package: &Package, entry: &Entry) -> Test {
    let node = &entry.value;
    let path = join("tests", &entry.key);
    let inputs = files_at(context, node, &path);
    known_ports(context, node.get("inputs"), &join(&path, "inputs"), "input", &package.inputs);
    known_ports(context, node.get("outputs"), &join(&path, "outputs"), "output", &package.outputs);
    let given = node.get("with").and_then(Node::map).unwrap_or_default();
    for entry in given.iter().filter(|entry| package.field(&entry.key).is_none()) {
        let names: Vec<&str> = package.with.iter().map(|field| field.name.as_str()).collect();
        let message = format!("the package has no parameter `{}`", entry.key);
        let fault = Fault::new(join(&path, &entry.key), entry.place, message);
        context.fault(fault.did_you_mean(&entry.key, names));
    }
    let expect = node.get("expect").map(|node| expect(context, node, &join(&path, "expect")));
    let paths = |key: &str| -> Ordered<String> {
        let entries = node.get(key).and_then(Node::map).unwrap_or_default();
        entries.iter().filter_map(|entry| Some((entry.key.clone(), entry.value.text()?.to_owned()))).collect()
    };
    Test {
        description: read::text(node, "description"),
        inputs,
        with: given.iter().map(|entry| (entry.key.clone(), entry.value.json())).collect(),
        outputs: paths("outputs"),
        expect: expect.unwrap_or_default(),
    }
}

/// The inputs of a test: files of the package that are there.
fn files_at(context: &mut Context<'_>, node: &Node, path: &str) -> Ordered<String> {
    let mut files = Ordered::new();
    for entry in node.get("inputs").and_then(Node::map).unwrap_or_default() {
        let Some(file) = entry.value.text() else { continue };
        context.file(&format!("{path}.inputs.{}", entry.key), entry.value.place, file);
        files.insert(entry.key.clone(), file.to_owned());
    }
    files
}

fn known_ports(context: &mut Context<'_>, node: Option<&Node>, path: &str, what: &str, ports: &Ports) {
    if *ports == Ports::Any {
        return;
    }
    for entry in node.and_then(Node::map).unwrap_or_default() {
        if ports.get(&entry.key).is_none() {
            let message = format!("the package has no {what} `{}`", entry.key);
            let names = ports.listed().iter().map(|port| port.name.as_str());
            context.fault(
                Fault::new(join(path, &entry.key), entry.place, message).did_you_mean(&entry.key, names),
            );
        }
    }
}

fn expect(context: &mut Context<'_>, node: &Node, path: &str) -> Expect {
    let mut expect = Expect {
        fails: read::text(node, "fails"),
        exit: node.get("exit").and_then(Node::int),
        ..Expect::default()
    };
    for entry in node.get("outputs").and_then(Node::map).unwrap_or_default() {
        let (path, node) = (format!("{path}.outputs.{}", entry.key), &entry.value);
        let equals = context.path_at(node, "equals");
        if let (Some(file), Some(at)) = (&equals, node.get("equals")) {
            context.file(&join(&path, "equals"), at.place, file);
        }
        let checks = node.get("checks").and_then(Node::list).unwrap_or_default();
        for (index, item) in checks.iter().enumerate() {
            if let Some(Err(why)) = context.loader.builtins.data_check.map(|judge| judge(&item.json())) {
                context.fault(Fault::new(format!("{path}.checks[{index}]"), item.place, why));
            }
        }
        let expected = Expected {
            rows: read::count(node, "rows"),
            columns: read::texts(node, "columns"),
            equals,
            contains: read::text(node, "contains"),
            checks: checks.iter().map(Node::json).collect(),
        };
        expect.outputs.insert(entry.key.clone(), expected);
    }
    for entry in node.get("metrics").and_then(Node::map).unwrap_or_default() {
        let bounds = Bounds { min: read::float(&entry.value, "min"), max: read::float(&entry.value, "max") };
        expect.metrics.insert(entry.key.clone(), bounds);
    }
    expect.http = answers(context, node, path);
    expect
}

/// What the paths of a service should answer. Other packages answer nobody, and a service makes nothing.
fn answers(context: &mut Context<'_>, node: &Node, path: &str) -> Vec<Answers> {
    let is_service = context.root.get("run").is_some_and(|run| run.get("service").is_some());
    let odd: &[&str] = if is_service { &["exit", "outputs", "metrics"] } else { &["http"] };
    for entry in odd.iter().filter_map(|key| node.entry(key)) {
        let message = match is_service {
            true => format!("a service has no `{}` to expect: it runs until it is stopped", entry.key),
            false => "only a service answers requests".to_owned(),
        };
        let fault = Fault::new(join(path, &entry.key), entry.place, message);
        let hint = if is_service { "expect `http` of it" } else { "expect `outputs` or `metrics` of it" };
        context.fault(fault.hint(hint));
    }
    let mut answers = Vec::new();
    for (index, item) in node.get("http").and_then(Node::list).unwrap_or_default().iter().enumerate() {
        let Some(asked) = read::text(item, "path") else { continue };
        if !asked.starts_with('/') || asked.chars().any(|c| c.is_whitespace() || c.is_control()) {
            let place = item.get("path").map_or(item.place, |node| node.place);
            let fault =
                Fault::new(format!("{path}.http[{index}].path"), place, format!("`{asked}` is no path"));
            context.fault(fault.expected("a path that begins with `/`"));
        }
        let status = item.get("status").and_then(Node::int).and_then(|status| u16::try_from(status).ok());
        let contains = read::text(item, "contains");
        answers.push(Answers { path: asked, status: status.unwrap_or(200), contains });
    }
    answers
}
