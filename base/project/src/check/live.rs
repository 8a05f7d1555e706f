//! What lives after training: endpoints, monitors, triggers, apps.

use rondo_core::Span;
use rondo_core::suggest::nearest;

use super::context::{Context, one_of};
use super::expressions::{self, Known};
use super::{canvas, environments, packages, read, references, suites};
use crate::fault::Fault;
use crate::ordered::Ordered;
use crate::project::{
    App, Audience, Canvas, Care, Cause, Drift, Endpoint, ModelAlias, Monitor, PredictionLog, Then, Trigger,
};
use crate::shape::live::MONITOR;
use crate::yaml::{Entry, Node, join};

pub(super) fn endpoints(context: &mut Context<'_>) -> Ordered<Endpoint> {
    let entries = context.section("serve");
    entries.iter().filter_map(|entry| Some((entry.key.clone(), endpoint(context, entry)?))).collect()
}

fn endpoint(context: &mut Context<'_>, entry: &Entry) -> Option<Endpoint> {
    let node = &entry.value;
    let path = join("serve", &entry.key);
    let model = alias(context, node, "model", &path);
    let shadow = alias(context, node, "shadow", &path);
    let defaults = PredictionLog::default();
    let log = node.get("log").map_or(defaults, |node| PredictionLog {
        sample: read::float(node, "sample").unwrap_or(defaults.sample),
        durable: read::bool(node, "durable").unwrap_or(defaults.durable),
    });
    Some(Endpoint { model: model?, shadow, log })
}

/// `delay@champion`; without an alias the champion is meant.
fn alias(context: &mut Context<'_>, node: &Node, key: &str, path: &str) -> Option<ModelAlias> {
    alias_at(context, node.get(key)?, &join(path, key))
}

pub(super) fn alias_at(context: &mut Context<'_>, value: &Node, path: &str) -> Option<ModelAlias> {
    let text = value.text()?;
    let (model, alias) = text.split_once('@').unwrap_or((text, "champion"));
    let models = context.names("models");
    if !rondo_core::id::is_name(model) || !rondo_core::id::is_name(alias) {
        let fault = Fault::new(path, value.place, format!("`{text}` names no model behind an alias"));
        context.fault(fault.expected("`MODEL@ALIAS`, such as `delay@champion`"));
        return None;
    }
    if !models.contains(&model) {
        context.unknown(path, value.place, "model", model, &models);
        return None;
    }
    Some(ModelAlias { model: model.to_owned(), alias: alias.to_owned() })
}

pub(super) fn monitors(
    context: &mut Context<'_>,
    endpoints: &Ordered<Endpoint>,
    canvas: &Canvas,
) -> Ordered<Monitor> {
    let entries = context.section("monitor");
    entries
        .iter()
        .filter_map(|entry| Some((entry.key.clone(), monitor(context, entry, endpoints, canvas)?)))
        .collect()
}

fn monitor(
    context: &mut Context<'_>,
    entry: &Entry,
    endpoints: &Ordered<Endpoint>,
    canvas: &Canvas,
) -> Option<Monitor> {
    let node = &entry.value;
    let path = join("monitor", &entry.key);
    let (serve, models) = (context.names("serve"), context.names("models"));
    let endpoint = serve.contains(&entry.key.as_str()).then(|| entry.key.clone());
    if endpoint.is_none() && !models.contains(&entry.key.as_str()) {
        let mut known = serve;
        known.extend(models.iter().filter(|name| !context.names("serve").contains(name)));
        let fault =
            Fault::new(&path, entry.place, format!("no endpoint and no model is called `{}`", entry.key));
        let fault = if known.is_empty() { fault } else { fault.expected(one_of(&known)) };
        context.fault(fault.did_you_mean(&entry.key, known.iter().copied()));
    }
    let model = match &endpoint {
        Some(name) => endpoints.get(name).map(|endpoint| endpoint.model.model.clone()),
        None => Some(entry.key.clone()),
    };
    let reference = node.get("reference").and_then(|value| {
        let path = join(&path, "reference");
        let reference = references::resolve(context, value, &path)?;
        references::one_of_many(context, value, &path, &reference);
        Some(reference)
    });
    let own = canvas::objectives(context, node, &path);
    let objectives = match node.get("objectives") {
        Some(_) => own,
        None => canvas.objectives.iter().filter(|objective| objective.at_monitor()).cloned().collect(),
    };
    Some(Monitor {
        model: model?,
        endpoint,
        window: read::span(node, "window")?,
        drift: drift(node),
        max_delay: node.get("ground_truth").and_then(|truth| read::span(truth, "max_delay")),
        reference,
        objectives,
        checks: suites::live(context, node, &path),
        min_rows: read::count(node, "min_rows").unwrap_or(0),
        cool_down: read::span(node, "cool_down"),
    })
}

fn drift(node: &Node) -> Drift {
    let (columns, ignore) = (Vec::new(), Vec::new());
    let Some(node) = node.get("drift") else {
        return Drift { method: "auto".into(), threshold: None, columns, ignore };
    };
    if let Some(method) = node.text() {
        return Drift { method: method.to_owned(), threshold: None, columns, ignore };
    }
    Drift {
        method: read::text(node, "method").unwrap_or_else(|| "auto".into()),
        threshold: read::float(node, "threshold"),
        columns: read::texts(node, "columns"),
        ignore: read::texts(node, "ignore"),
    }
}

pub(super) fn triggers(context: &mut Context<'_>) -> Vec<Trigger> {
    let items = context.root.get("triggers").and_then(Node::list).unwrap_or_default();
    items
        .iter()
        .enumerate()
        .filter_map(|(index, node)| trigger(context, node, &format!("triggers[{index}]")))
        .collect()
}

fn trigger(context: &mut Context<'_>, node: &Node, path: &str) -> Option<Trigger> {
    let cause = match (node.get("schedule"), node.get("alert")) {
        (Some(schedule), _) => schedule.text().map(|text| {
            if let Err(why) = cron(text) {
                let fault = Fault::new(
                    join(path, "schedule"),
                    schedule.place,
                    format!("`{text}` is no schedule: {why}"),
                );
                context.fault(
                    fault
                        .expected("five fields: minute, hour, day of month, month, day of week")
                        .hint("`0 3 * * 1` is Mondays at 03:00 UTC"),
                );
            }
            Cause::Schedule(text.to_owned())
        }),
        (None, Some(alert)) => alert.text().map(|text| {
            alert_name(context, alert, text, &join(path, "alert"));
            Cause::Alert(text.to_owned())
        }),
        (None, None) => None,
    };
    let steps = context.names("steps");
    let targets = node.get("run").map(read::one_or_more).unwrap_or_default();
    for (index, target) in targets.iter().enumerate() {
        if let Some(name) =
            target.text().filter(|name| rondo_core::id::is_name(name) && !steps.contains(name))
        {
            context.unknown(&format!("{path}.run[{index}]"), target.place, "step", name, &steps);
        }
    }
    let then = match node.get("then").and_then(Node::text) {
        Some("promote") => Some(Then::Promote),
        Some("register") => Some(Then::Register),
        _ => None,
    };
    if let Some(entry) = node.entry("then").filter(|_| then.is_some() && context.section("models").is_empty())
    {
        let fault = Fault::new(join(path, "then"), entry.place, "there is no model to register or promote");
        context.fault(fault.hint("declare one under `models:`"));
    }
    let cause = cause?;
    // An alert comes again with every window; a schedule's own rhythm is enough.
    let default = if matches!(cause, Cause::Alert(_)) { Span::days(1) } else { Span(0) };
    Some(Trigger {
        cause,
        run: targets.iter().filter_map(|target| target.text()).map(str::to_owned).collect(),
        then,
        cool_down: read::span(node, "cool_down").unwrap_or(default),
        params: overrides(context, node, path),
    })
}

/// Parameters that a trigger changes: there, and of the same sort.
fn overrides(context: &mut Context<'_>, node: &Node, path: &str) -> Ordered<serde_json::Value> {
    let known = context.names("params");
    let mut params = Ordered::new();
    for entry in node.get("params").and_then(Node::map).unwrap_or_default() {
        if !known.contains(&entry.key.as_str()) {
            let path = format!("{path}.params.{}", entry.key);
            context.unknown(&path, entry.place, "parameter", &entry.key, &known);
        }
        params.insert(entry.key.clone(), entry.value.json());
    }
    params
}

/// `<monitor>`, `<monitor>.drift`, `<monitor>.drift.<column>` and so on.
fn alert_name(context: &mut Context<'_>, node: &Node, text: &str, path: &str) {
    const KINDS: [&str; 3] = ["drift", "quality", "objective"];
    let monitors = context.names("monitor");
    let mut parts = text.splitn(3, '.');
    let (monitor, kind) = (parts.next().unwrap_or(""), parts.next());
    if !monitors.contains(&monitor) {
        return context.unknown(path, node.place, "monitor", monitor, &monitors);
    }
    if let Some(kind) = kind.filter(|kind| !KINDS.contains(kind)) {
        let fault = Fault::new(path, node.place, format!("monitors raise no alert `{monitor}.{kind}`"));
        let fault = fault.expected(format!("`{monitor}` followed by `.drift`, `.quality` or `.objective`"));
        context.fault(match nearest(kind, KINDS) {
            Some(near) => fault.hint(format!("did you mean `{monitor}.{near}`?")),
            None => fault,
        });
    }
    let watched = context.section("monitor").iter().find(|entry| entry.key == monitor);
    // A key that nobody knows has been told, and may be meant to be this one.
    let plain = |watched: &&Entry| {
        watched.value.map().is_some_and(|keys| keys.iter().all(|key| MONITOR.key(&key.key).is_some()))
    };
    if let Some(watched) = watched.filter(plain).filter(|_| kind == Some("quality"))
        && watched.value.get("checks").is_none()
    {
        let message = format!("the monitor `{monitor}` has no checks, so it never raises `{text}`");
        let fault = Fault::new(path, node.place, message).related(watched.place, "the monitor");
        context.fault(
            fault.hint(format!("checks: [{{ column: x, not_null: true }}] under `monitor.{monitor}`")),
        );
    }
}

/// Whether a text is a cron line of five fields.
fn cron(text: &str) -> Result<(), String> {
    const FIELDS: [(&str, u32, u32); 5] = [
        ("minute", 0, 59),
        ("hour", 0, 23),
        ("day of month", 1, 31),
        ("month", 1, 12),
        ("day of week", 0, 7),
    ];
    const WORDS: [&str; 19] = [
        "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC", "SUN", "MON",
        "TUE", "WED", "THU", "FRI", "SAT",
    ];
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("it has {} fields", fields.len()));
    }
    for (field, (name, low, high)) in fields.iter().zip(FIELDS) {
        let value = |text: &str| match text.parse::<u32>() {
            Ok(number) => (low..=high).contains(&number),
            Err(_) => high <= 12 && WORDS.contains(&text.to_uppercase().as_str()) && (name != "hour"),
        };
        let part = |part: &str| {
            let (range, step) =
                part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
            let step = step.is_none_or(|step| step.parse::<u32>().is_ok_and(|step| step > 0));
            let range = range == "*"
                || range.split_once('-').map_or_else(|| value(range), |(a, b)| value(a) && value(b));
            step && range
        };
        if !field.split(',').all(part) {
            return Err(format!("`{field}` is no {name}"));
        }
    }
    Ok(())
}

pub(super) fn apps(context: &mut Context<'_>) -> Ordered<App> {
    let entries = context.section("apps");
    entries.iter().map(|entry| (entry.key.clone(), app(context, entry))).collect()
}

fn app(context: &mut Context<'_>, entry: &Entry) -> App {
    let node = &entry.value;
    let path = join("apps", &entry.key);
    let inputs = references::inputs_of_app(context, node, &path);
    let mut known = Known::plain(context.names("params"), inputs.locals);
    let used = packages::uses(context, node, &path, true, &mut known).unwrap_or_default();
    for key in ["run", "files"] {
        if let Some(value) = node.get(key) {
            expressions::below(context, value, &join(&path, key), &mut known);
        }
    }
    shown(context, node, &join(&path, "files"));
    App {
        uses: read::text(node, "uses"),
        with: used.with,
        run: read::text(node, "run"),
        files: read::text(node, "files"),
        inputs: inputs.resolved,
        models: inputs.models.unwrap_or_default(),
        environment: environments::of_app(context, node, &path),
        care: care(node),
        drain: read::span(node, "drain"),
        restarts: read::count(node, "restarts").and_then(|count| u32::try_from(count).ok()),
        used: used.package,
        packaged: None,
    }
}

/// What is shown as it is: an expression, or a path that stays in the project.
fn shown(context: &mut Context<'_>, node: &Node, path: &str) {
    let Some(value) = node.get("files") else { return };
    let Some(text) = value.text().filter(|text| !text.contains("${{")) else { return };
    if let Err(why) = super::files::normal(text.trim_end_matches('/')) {
        let fault = Fault::new(path, value.place, format!("`{text}` {why}"));
        context.fault(fault.expected("a path relative to the project, or `${{ inputs.NAME }}`"));
    }
}

/// How an app, or the service of a package, is reached and looked after.
pub(crate) fn care(node: &Node) -> Care {
    let access = read::text(node, "access").and_then(|word| match word.as_str() {
        "viewer" => Some(Audience::Viewer),
        "editor" => Some(Audience::Editor),
        "admin" => Some(Audience::Admin),
        // The table of keys has said so.
        _ => None,
    });
    Care {
        health: read::text(node, "health"),
        strip_path: read::bool(node, "strip_path"),
        authorization: read::text(node, "authorization"),
        access,
        start_timeout: read::span(node, "start_timeout"),
    }
}

#[cfg(test)]
mod tests {
    use super::cron;

    #[test]
    fn schedules_have_five_fields_in_their_ranges() {
        for good in ["0 3 * * 1", "*/15 0-6,20 1 JAN,mar SUN-TUE", "0 0 31 12 7"] {
            assert_eq!(cron(good), Ok(()), "{good}");
        }
        assert_eq!(cron("0 3 * *").unwrap_err(), "it has 4 fields");
        assert_eq!(cron("0 25 * * 1").unwrap_err(), "`25` is no hour");
        assert!(cron("a * * * *").is_err() && cron("*/0 * * * *").is_err() && cron("é * * * *").is_err());
    }
}
