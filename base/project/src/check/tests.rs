//! What people see: whole files, right and wrong, checked against a real folder.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::builtins::{Field, FieldKind, Package, Refusal};
use crate::files::Folder;
use crate::project::SuiteOf;

const NOTEBOOK: &str = r##"{
 "cells": [
  {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "outputs": [], "execution_count": null,
   "source": ["max_depth = 6  # how deep a tree grows\n", "learning_rate = 0.1\n", "seed = 1\n", "name = \"gb\"\n"]}
 ],
 "metadata": {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}},
 "nbformat": 4, "nbformat_minor": 5
}"##;

fn builtins() -> Builtins {
    let papermill = Package::builtin(
        "papermill",
        vec![
            Field::required("notebook", FieldKind::Notebook, "The notebook to run."),
            Field::optional("parameters", FieldKind::Parameters, "What its tagged cell is overridden with."),
            Field::optional("timeout", FieldKind::Span, "How long one cell may take."),
            Field::optional("secrets", FieldKind::Secrets, "Parameters by environment variables."),
            Field::optional("memory", FieldKind::Size, "The most memory that it may take."),
        ],
    );
    let evaluate = Package::builtin(
        "evaluate",
        vec![
            Field::required("target", FieldKind::Column, "The label's column."),
            Field::optional("slices", FieldKind::Texts, "The columns to evaluate by."),
            Field {
                allowed: vec![json!("fast"), json!("full")],
                ..Field::optional("mode", FieldKind::Text, "How much.")
            },
        ],
    );
    let script = vec![Field::required("script", FieldKind::File, "The app's script.")];
    let streamlit = Package { app: true, ..Package::builtin("streamlit", script) };
    fn data_check(check: &serde_json::Value) -> Result<(), String> {
        let known = ["column", "not_null", "in_set", "rows"];
        let unknown =
            check.as_object().and_then(|check| check.keys().find(|key| !known.contains(&key.as_str())));
        unknown.map_or(Ok(()), |key| Err(format!("no check is called `{key}`")))
    }
    fn live_check(check: &serde_json::Value) -> Result<(), Refusal> {
        let refuse = |message: String, hint: Option<&str>| Refusal { message, hint: hint.map(str::to_owned) };
        if check.get("sql").is_some() {
            return Err(refuse("`sql` asks for an engine".to_owned(), Some("check a column")));
        }
        data_check(check).map_err(|message| refuse(message, None))
    }
    let packages = [papermill, evaluate, streamlit].into_iter().collect();
    Builtins { packages, data_check: Some(data_check), live_check: Some(live_check), ..Builtins::default() }
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("train.ipynb", NOTEBOOK),
        (
            "plain.ipynb",
            r#"{"cells": [{"cell_type": "code", "metadata": {}, "source": "x = 1"}], "metadata": {}}"#,
        ),
        ("requirements.txt", "scikit-learn\n"),
        ("prepare.sql", "SELECT * FROM flights\nWHERE month IN (SELECT unnest(${{ params.months }}))"),
        ("fetch.sh", "#!/bin/sh\n"),
        ("app.py", "import streamlit\n"),
        ("live.yaml", "checks:\n  - { column: carrier, not_null: true }\n"),
        ("bad_live.yaml", "# of requests\n- { column: a, not_nul: true }\n- { sql: \"select 1\" }\n- rows\n"),
        ("broken_live.yaml", "- { column: a, not_null: true\n"),
        ("empty_live.yaml", "rules: []\n"),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// What a person sees of a file's faults; empty where it has none.
fn shown(source: &str) -> String {
    let folder = folder();
    match check(source, PROJECT_FILE, &Folder::new(folder.path()), &builtins()) {
        Ok(_) => String::new(),
        Err(faults) => fault::render(PROJECT_FILE, source, &faults),
    }
}

/// The messages alone.
fn messages(source: &str) -> Vec<String> {
    let folder = folder();
    match check(source, PROJECT_FILE, &Folder::new(folder.path()), &builtins()) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.into_iter().map(|fault| fault.message).collect(),
    }
}

const WHOLE: &str = include_str!("tests/whole.yaml");

#[test]
fn a_whole_project_is_read() {
    assert_eq!(shown(WHOLE), "");
    let folder = folder();
    let project = check(WHOLE, PROJECT_FILE, &Folder::new(folder.path()), &builtins()).unwrap();
    assert_eq!(project.order(&["evaluate"]), ["prepare", "train", "evaluate"]);
    assert_eq!(project.order(&[]), ["fetch", "prepare", "train", "evaluate"]);
    assert_eq!(project.needs("evaluate"), ["train", "prepare"]);
    assert_eq!(project.steps["train"].params, ["seed"]);
    assert_eq!(project.steps["prepare"].params, ["months"]);
    assert_eq!(project.steps["fetch"].code, ["fetch.sh"]);
    insta::assert_json_snapshot!(project);
}

#[test]
fn every_fault_of_a_file_is_shown_in_one_go() {
    insta::assert_snapshot!(shown(include_str!("tests/mistakes.yaml")));
}

#[test]
fn bad_yaml_is_located_and_hides_no_unknown_key() {
    insta::assert_snapshot!(shown(include_str!("tests/bad.yaml")));
}

#[test]
fn more_mistakes_are_told_apart() {
    insta::assert_snapshot!(shown(include_str!("tests/more.yaml")));
}

#[test]
fn faults_in_the_checks_of_monitors_are_shown_where_they_stand() {
    insta::assert_snapshot!(shown(include_str!("tests/suites.yaml")));
}

#[test]
fn the_checks_of_a_monitor_come_from_the_project_a_file_or_a_dataset() {
    let read = |checks: &str| {
        let source = format!(
            "project: p\ndata:\n  d: {{ source: d.csv, checks: [{{ rows: {{ min: 1 }} }}] }}\nsteps:\n  s: {{ run: x, \
             outputs: {{ m: m.onnx }} }}\nmodels:\n  m: {{ from: s.m, task: binary, target: y }}\nmonitor:\n  m: {{ \
             window: 1d, checks: {checks} }}\ntriggers:\n  - {{ alert: m.quality, run: s }}\n"
        );
        let folder = folder();
        let project = check(&source, PROJECT_FILE, &Folder::new(folder.path()), &builtins()).unwrap();
        let checks = project.monitor["m"].checks.clone().unwrap();
        (checks.of, serde_json::Value::from(checks.rules).to_string())
    };
    let carrier = r#"[{"column":"carrier","not_null":true}]"#;
    assert_eq!(read("live.yaml"), (SuiteOf::File("live.yaml".into()), carrier.into()));
    assert_eq!(read("[{ column: carrier, not_null: true }]"), (SuiteOf::Monitor, carrier.into()));
    assert_eq!(read("data.d"), (SuiteOf::Dataset("d".into()), r#"[{"rows":{"min":1}}]"#.into()));
}

#[test]
fn objectives_that_make_no_sense_are_refused() {
    insta::assert_snapshot!(shown(include_str!("tests/objectives.yaml")));
}

#[test]
fn a_version_of_python_that_none_can_have_is_refused_where_it_stands() {
    let of = |python: &str| shown(&format!("project: p\nenvironments:\n  py: {{ python: {python} }}\n"));
    for right in ["3.11", "3.10", "3", "\">=3.10,<3.13\"", "==3.11.*", "~=3.10"] {
        assert_eq!(of(right), "", "{right}");
    }
    insta::assert_snapshot!([of("abc"), of("\">==3.1o\""), of("3.11.*"), of("[3.11]")].join("\n"));
}

#[test]
fn a_value_that_the_matrix_of_a_needed_step_lacks_is_told_from_one_that_looks_alike() {
    let of = |mine: &str| {
        messages(&format!(
            "project: p\nsteps:\n  a: {{ run: x, matrix: {{ k: [1, b] }}, outputs: {{ o: o }} }}\n  \
             s: {{ run: x, matrix: {{ k: [{mine}] }}, inputs: [a.o] }}\n"
        ))
    };
    assert_eq!(of("1, b"), Vec::<String>::new());
    assert_eq!(of("1, 2"), ["step `a`, which it needs, has no `k` of `2`"]);
    assert_eq!(of("'1'"), ["step `a`, which it needs, has no `k` of the text `1`"]);
}

#[test]
fn a_matrix_of_too_many_combinations_is_refused() {
    let of = |last: usize| {
        let values = |last: usize| (1..=last).map(|value| value.to_string()).collect::<Vec<_>>().join(", ");
        let (long, keys) =
            (values(100), ["a", "b"].map(|key| format!("{key}: [{}]", values(100))).join(", "));
        let matrix = format!("{{ {keys}, c: [{}] }}", values(last));
        let said = shown(&format!("project: p\nsteps:\n  s:\n    run: x\n    matrix: {matrix}\n"));
        said.replace(&long, "…")
    };
    assert_eq!(of(10), "");
    insta::assert_snapshot!(of(11));
}

#[test]
fn an_empty_file_says_how_to_begin() {
    insta::assert_snapshot!(shown("# nothing yet\n"));
    assert_eq!(messages("- a\n"), ["the file cannot be a list"]);
    assert_eq!(messages("project: p\n"), Vec::<String>::new());
    assert_eq!(messages("steps: {}\n"), ["a project lacks the key `project`"]);
}

#[test]
fn a_fault_is_reported_once_and_not_through_its_consequences() {
    // `prepare` is faulty, but it is there: what refers to it is right.
    let source = "project: p\nsteps:\n  prepare: { sql: prepare.sqll, outputs: { train: 7 } }\n  \
                  train: { run: \"cat ${{ inputs.train }} ${{ inputs.x }}\", inputs: [prepare.train, prepare.x] }\n";
    assert_eq!(messages(source), ["`train` cannot be `7`", "step `prepare` has no output `x`"]);
}

#[test]
fn a_gate_is_never_open_by_oversight() {
    use crate::project::Gate::{Approval, BeatsChampion, Improves, Objectives};
    let gate = |line: &str| {
        let source = format!(
            "project: p\ncanvas: {{ objectives: [{{ metric: roc_auc, min: 0.6 }}] }}\nsteps:\n  t: {{ run: x, \
             outputs: {{ m: m.onnx }} }}\nmodels:\n  d: {{ from: t.m, task: binary, target: y{line} }}\n"
        );
        let project = check(&source, PROJECT_FILE, &Folder::new("/nonexistent"), &builtins()).unwrap();
        project.models["d"].gate.clone()
    };
    assert_eq!(gate(""), [Objectives, BeatsChampion]);
    assert_eq!(gate(", gate: improves"), [Objectives, Improves]);
    assert_eq!(gate(", gate: []"), []);
    assert_eq!(gate(", gate: [objectives, approval]"), [Objectives, Approval]);
    assert_eq!(gate(", gate: approval"), [Approval]);
}

#[test]
fn long_chains_are_no_trouble() {
    let mut source = "project: p\nsteps:\n  s0: { run: x, outputs: { o: f0 } }\n".to_owned();
    for i in 1..1500 {
        source.push_str(&format!("  s{i}: {{ run: x, inputs: [s{}.o], outputs: {{ o: f{i} }} }}\n", i - 1));
    }
    let files = Folder::new("/nonexistent");
    let project = check(&source, PROJECT_FILE, &files, &Builtins::default()).unwrap();
    assert_eq!(project.order(&["s1499"]).len(), 1500);
    let closed = source.replace("s0: { run: x,", "s0: { run: x, inputs: [s1499.o],");
    assert_eq!(check(&closed, PROJECT_FILE, &files, &Builtins::default()).unwrap_err().len(), 1);
}

#[test]
fn load_says_when_there_is_no_project() {
    let folder = folder();
    let files = Folder::new(folder.path());
    assert_eq!(load(&files, &builtins()).unwrap_err().to_string(), "no `rondo.yaml` here");
    std::fs::write(folder.path().join(PROJECT_FILE), "project: 9\n").unwrap();
    let error = load(&files, &builtins()).unwrap_err();
    assert_eq!(error.to_string(), "`rondo.yaml` has a fault");
    assert!(error.report().contains("--> rondo.yaml:1:10"));
    assert_eq!(rondo_core::Explain::code(&error), rondo_core::Code::ProjectInvalid);
}

proptest! {
    #[test]
    fn no_file_makes_it_panic(cut in 0..WHOLE.len(), size in 0..40_usize, text in "[-a-z:{}\\[\\]$ \\n\"'0-9.é]{0,20}") {
        let boundary = |mut at: usize| { while !WHOLE.is_char_boundary(at) { at -= 1; } at };
        let (from, to) = (boundary(cut), boundary((cut + size).min(WHOLE.len())));
        let source = format!("{}{text}{}", &WHOLE[..from], &WHOLE[to..]);
        if let Err(faults) = check(&source, PROJECT_FILE, &Folder::new("/nonexistent"), &builtins()) {
            prop_assert!(!faults.is_empty());
            fault::render(PROJECT_FILE, &source, &faults);
        }
    }
}

#[test]
fn secrets_of_a_notebook_are_held_against_it_with_their_places() {
    let faults = |with: &str| {
        let text = format!(
            "project: p\nsteps:\n  t:\n    uses: papermill\n    with: {{ notebook: train.ipynb, {with} }}\n"
        );
        shown(&text)
    };
    for good in ["secrets: { name: MY_NAME }, memory: 2GB", "memory: 5000000", "secrets: {}"] {
        assert_eq!(faults(good), "", "{good}");
    }
    let said = faults("parameters: { name: { from_env: MY_NAME } }");
    assert!(said.contains("give a secret beside the parameters: `secrets: { name: MY_NAME }`"), "{said}");
    let said = faults("secrets: { nam: MY_NAME }");
    assert!(said.contains("has no parameter `nam`") && said.contains("did you mean `name`?"), "{said}");
    assert!(said.contains("rondo.yaml:5:") && said.contains("^"), "{said}");
    let said = faults("secrets: { name: { from_env: MY_NAME } }");
    assert!(said.contains("is not the name of an environment variable"), "{said}");
    assert!(said.contains("secrets: { name: MY_NAME }"), "{said}");
    let said = faults("secrets: { name: s3cret-itself }");
    assert!(said.contains("the secret `name` is not the name"), "{said}");
    let said = faults("secrets: MY_NAME, memory: much");
    assert!(said.contains("a mapping from parameters to the environment variables"), "{said}");
    assert!(said.contains("`memory` cannot be") && said.contains("an amount of memory"), "{said}");
}

#[test]
fn a_sweep_over_a_notebooks_parameters_holds_its_values_against_them() {
    let folder = folder();
    let faults = |over: &str| {
        let text = format!(
            "project: p\nsteps:\n  t:\n    uses: papermill\n    with: {{ notebook: train.ipynb }}\n    sweep: {{ strategy: tpe, trials: 3, over: {{ {over} }}, maximize: auc }}\n"
        );
        let checked = check(&text, "rondo.yaml", &Folder::new(folder.path()), &builtins());
        checked
            .map_or_else(|faults| faults.iter().map(|fault| fault.message.clone()).collect(), |_| Vec::new())
    };
    assert!(faults("max_depth: { int: [1, 9] }, learning_rate: { float: [0, 1] }, name: [a, b]").is_empty());
    assert_eq!(
        faults("max_depth: [1, deep]"),
        ["the notebook does not take the text `deep` for `max_depth`"]
    );
    assert_eq!(faults("depth: [1, 2]"), ["no parameter is called `depth`"]);
}

#[test]
fn sources_their_queries_and_ways_of_reading_are_checked() {
    let of = |dataset: &str| messages(&format!("project: p\ndata:\n  d: {{ {dataset} }}\n"));
    for right in [
        "source: \"postgres://a:${{ secrets.PW }}@h/d\", query: SELECT 1, timeout: 10m",
        "source: \"https://h/a.csv?k=${{secrets.K_1}}\", max_size: 20GB",
        "source: a.csv, read: { delimiter: ;, null: [\"-\"], skip: 2, types: { a: string } }, labels: path",
    ] {
        assert_eq!(of(right), Vec::<String>::new(), "{right}");
    }
    for (wrong, part) in [
        ("source: \"postgres://h/d\"", "a database is asked something by `query`"),
        ("source: a.csv, query: SELECT 1", "only a database is asked something"),
        ("source: \"https://h/${{ params.x }}\"", "a source cannot hold an expression"),
        ("source: \"https://h/${{ secrets.a-b }}\"", "a source cannot hold an expression"),
        ("source: a.csv, read: { sepp: x }", "sepp"),
        ("source: a.csv, read: { decimal: x }", "decimal"),
    ] {
        let found = of(wrong);
        assert!(found.iter().any(|message| message.contains(part)), "{wrong}: {found:?}");
    }
    let source = "project: p\ndata:\n  d: { source: a.csv, read: { null: [\"-\"] }, max_size: 2kB }\n";
    let project = check(source, PROJECT_FILE, &Folder::new(folder().path()), &builtins()).unwrap();
    assert_eq!(
        (project.data["d"].read["null"].clone(), project.data["d"].max_size),
        (json!(["-"]), Some(2000))
    );
}

#[test]
fn what_has_no_effect_yet_is_told_with_its_place_and_is_no_fault() {
    let text = |refit: &str, drift: &str, more: &str| {
        format!(
            "project: p\ndata:\n  d: {{ source: d.csv }}\nsteps:\n  s: {{ run: x, outputs: {{ m: m.onnx }} }}\nmodels:\n  \
             delay: {{ from: s.m, task: binary, target: late{refit} }}\nserve:\n  delay: {{ model: delay{more} }}\n\
             monitor:\n  delay: {{ window: 1d, drift: {drift} }}\n"
        )
    };
    let notes =
        |source: &str| check(source, PROJECT_FILE, &Folder::new(folder().path()), &builtins()).unwrap().notes;
    assert!(notes(&text("", "auto", "")).is_empty());
    assert!(notes(&text(", refit: false", "{ threshold: 0.2 }", "")).is_empty());
    assert_eq!(
        notes(&text(", refit: true", "wasserstein", ", shadow: delay@challenger")),
        [
            "rondo.yaml:7:51: `models.delay.refit` is kept but has no effect yet",
            "rondo.yaml:9:26: `serve.delay.shadow` is kept but has no effect yet",
            "rondo.yaml:11:24: the method `wasserstein` of `monitor.delay.drift` is kept but has no effect yet",
        ]
    );
    let more = format!(
        "{}  other: {{ window: 1d, reference: data.d }}\ntriggers:\n  - {{ schedule: \"0 3 * * 1\", run: [s] }}\n",
        text("", "off", "")
    )
    .replace("  delay: { model: delay }\n", "  delay: { model: delay }\n  other: { model: delay }\n");
    assert_eq!(
        notes(&more),
        [
            "rondo.yaml:13:24: `monitor.other.reference` is kept but has no effect yet",
            "rondo.yaml:15:7: `triggers[0].schedule` is kept but has no effect yet",
        ]
    );
}

#[test]
fn several_classes_have_objectives_of_their_own() {
    let source = |metric: &str, task: &str| {
        format!(
            "project: p\ncanvas:\n  objectives:\n    - {{ metric: {metric}, min: 0.9 }}\nsteps:\n  s: {{ run: x, \
             outputs: {{ m: m.onnx }} }}\nmodels:\n  kind: {{ from: s.m, task: {task}, target: kind }}\n"
        )
    };
    let is_good = |metric: &str, task: &str| {
        let source = source(metric, task);
        check(&source, PROJECT_FILE, &Folder::new(folder().path()), &builtins()).is_ok()
    };
    for metric in ["accuracy", "f1_macro", "recall_weighted", "roc_auc_ovr", "top_k_accuracy"] {
        assert!(is_good(metric, "multiclass"), "{metric}");
    }
    assert!(is_good("accuracy", "binary") && !is_good("f1_macro", "binary"));
    assert!(!is_good("roc_auc", "multiclass"));
}

#[test]
fn arguments_are_held_against_each_other_with_all_other_faults() {
    let text = |name: &str| Field::optional(name, FieldKind::Text, "What it is.");
    let method = Field { default: Some(json!("random")), ..text("method") };
    let mut builtins = builtins();
    builtins.packages = [
        Package::builtin("shell", vec![text("script"), text("command")]),
        Package::builtin("sql", vec![text("script"), text("query")]),
        Package::builtin("split", vec![method, text("column")]),
    ]
    .into_iter()
    .collect();
    builtins.arguments = Some(Arc::new(|name, with| {
        let method = with.get("method").and_then(|method| method.as_str()).unwrap_or_default();
        let lacks = name == "split" && method != "random" && !with.contains_key("column");
        lacks.then(|| format!("the method `{method}` needs `column`")).into_iter().collect()
    }));
    let source = "project: p\nparams: { how: time }\nsteps:\n  a: { uses: shell }\n  b: { uses: sql, with: { query: \
                  SELECT 1, script: a.sql } }\n  c: { uses: split, with: { method: stratified } }\n  d: { uses: \
                  split, with: { method: \"${{ params.how }}\" } }\n  e: { uses: split }\n  f: { run: x, inputs: \
                  [a.o] }\n  g: { uses: sql }\n  h: { uses: shell, with: { command: x } }\n";
    let faults = check(source, PROJECT_FILE, &Folder::new("/nonexistent"), &builtins).unwrap_err();
    let shown: Vec<(usize, &str, &str)> = faults
        .iter()
        .map(|fault| {
            (fault.place.line, source[fault.place.start..fault.place.end].trim(), fault.message.as_str())
        })
        .collect();
    assert_eq!(
        shown,
        [
            (4, "shell", "package `shell` needs `script` or `command` in its `with`: what it runs"),
            (5, "script", "`script` cannot stand beside `query`"),
            (6, "stratified", "package `split`: the method `stratified` needs `column`"),
            (7, "\"${{ params.how }}\"", "package `split`: the method `time` needs `column`"),
            (9, "a.o", "step `a` has no output `o`"),
            (10, "sql", "package `sql` needs `script` or `query` in its `with`: what it runs"),
        ]
    );
}

#[test]
fn what_is_no_utf_8_is_located() {
    assert_eq!(decode(b"project: p\n".to_vec()).unwrap(), "project: p\n");
    let (text, fault) = decode(b"project: p\n# caf\xe9 \xfc\n".to_vec()).unwrap_err();
    assert_eq!((fault.place.line, fault.place.column), (2, 6));
    let told = fault::render("rondo.yaml", &text, &[*fault]);
    assert!(told.contains("rondo.yaml:2:6") && told.contains("save the file as UTF-8"), "{told}");
}
