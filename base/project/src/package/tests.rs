//! What people see of packages: files right and wrong, checked against a real folder.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::builtins::{Builtins, Checkout, Refusal, Remote};
use crate::check::check;
use crate::fault;
use crate::files::Folder;
use crate::project::{Project, Reference, Work};

const CLEAN: &str = "\
name: clean
version: 1.2.0
summary: Rows without holes
inputs:
  rows: { type: dataset }
outputs:
  clean: { type: dataset }
  model: { type: model, required: false }
params:
  least: { type: float, min: 0, max: 1, default: 0.5 }
  mode: { type: text, enum: [fast, full], default: fast }
  key: { type: text, pattern: '[a-z]+', required: false }
  extra: { type: file, required: false }
  token: { type: secret, required: false }
run: sh clean.sh ${{ params.least }} ${{ inputs.rows }} ${{ outputs.clean }}
";

const FLOW: &str = "\
name: flow
version: 1
summary: Cleans and trains
inputs: { raw: dataset }
outputs:
  model: { type: model, from: train.model }
params:
  least: { type: float, default: 0.9 }
run:
  steps:
    clean:
      uses: ../clean
      with: { least: '${{ params.least }}' }
      inputs: [inputs.raw]
      outputs: { clean: clean.parquet }
    train:
      run: sh train.sh
      inputs: [clean.clean]
      outputs: { model: model.onnx }
";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let own = [
        ("packages/clean/package.yaml", CLEAN),
        ("packages/clean/clean.sh", "true"),
        ("packages/flow/package.yaml", FLOW),
        ("packages/flow/train.sh", "true"),
        ("extra.txt", "x"),
    ];
    for (path, text) in own.iter().chain(files) {
        let place = folder.path().join(path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, text).unwrap();
    }
    folder
}

fn checked(folder: &Path, text: &str) -> Result<Project, String> {
    let plain = Package::builtin("split", vec![Field::optional("seed", FieldKind::Int, "")]);
    let builtins = Builtins { packages: [plain].into_iter().collect(), ..Builtins::default() };
    check(text, "rondo.yaml", &Folder::new(folder), &builtins)
        .map_err(|faults| fault::render("rondo.yaml", text, &faults))
}

const HEAD: &str = "project: p\nparams: { share: 0.25 }\ndata: { raw: { source: raw.csv } }\n";

fn with_step(step: &str) -> String {
    format!("{HEAD}steps:\n  own:\n    uses: ./packages/clean\n{step}")
}

#[test]
fn a_package_takes_the_place_of_the_step_that_uses_it() {
    let folder = folder(&[("raw.csv", "a\n")]);
    let text = with_step(
        "    with: { least: '${{ params.share }}', extra: extra.txt, token: { from_env: API_TOKEN } }\n    inputs: [data.raw]\n    outputs: { clean: c.parquet }\n",
    );
    let project = checked(folder.path(), &text).unwrap();
    let step = &project.steps["own"];
    assert!(matches!(&step.work, Work::Run { command } if command.starts_with("sh clean.sh")));
    assert_eq!(step.inputs.names().collect::<Vec<_>>(), ["rows"], "the one input goes to the one port");
    assert_eq!(step.params, ["share"]);
    let packaged = step.packaged.as_ref().unwrap();
    assert_eq!(packaged.folder, Path::new("packages/clean"));
    assert_eq!(packaged.params["least"], json!("${{ params.share }}"));
    assert_eq!(packaged.params["mode"], json!("fast"), "what is left out has its default");
    assert_eq!(
        (packaged.files.as_slice(), packaged.secrets["token"].as_str()),
        (["extra".to_owned()].as_slice(), "API_TOKEN")
    );
    assert_eq!(project.packages.names().collect::<Vec<_>>(), ["./packages/clean"]);
}

#[test]
fn a_workflow_becomes_its_steps() {
    let folder = folder(&[("raw.csv", "a\n")]);
    let text = format!(
        "{HEAD}steps:\n  fit:\n    uses: ./packages/flow\n    with: {{ least: '${{{{ params.share }}}}' }}\n    inputs: [data.raw]\n    outputs: {{ model: best.onnx }}\n  after:\n    run: cat\n    inputs: [fit.model]\nmodels:\n  m: {{ from: fit.model, task: binary, target: y }}\n"
    );
    let project = checked(folder.path(), &text).unwrap();
    assert_eq!(project.steps.names().collect::<Vec<_>>(), ["fit/clean", "fit/train", "after"]);
    let made = Reference::Output { step: "fit/train".into(), output: "model".into() };
    assert_eq!((&project.steps["after"].inputs["model"], &project.models["m"].from), (&made, &made));
    assert_eq!(project.steps["fit/train"].outputs["model"], "best.onnx");
    assert!(project.steps["fit/clean"].outputs["clean"].starts_with(expand::INNER));
    let inner = project.steps["fit/clean"].packaged.as_ref().unwrap();
    assert_eq!(inner.params["least"], json!("${{ params.share }}"), "values pass through the workflow");
    assert!(project.steps["fit/train"].packaged.as_ref().unwrap().params.is_empty());
    assert_eq!(project.order(&["fit"]), ["fit/clean", "fit/train"]);
    assert!(project.has_target("fit") && !project.has_target("fi"));
}

#[test]
fn faults_of_project_and_packages_are_told_in_one_go() {
    let bad = "name: bad\nversion: 1\nsummary: Bad\noutputs: { a: { type: tabel } }\nparams:\n  n: { type: int, default: x }\n  m: { type: text, min: 1 }\n  q: { type: text, pattern: '(' }\nrun: echo ${{ params.nn }}\n";
    let folder = folder(&[("packages/bad/package.yaml", bad), ("raw.csv", "a\n")]);
    let text = format!(
        "{HEAD}steps:\n  a: {{ uses: ./packages/bad }}\n  b:\n    uses: ./packages/clean\n    with: {{ least: 7, mode: fats, key: A1, token: plain, leest: 1 }}\n    inputs: {{ roes: data.raw }}\n    outputs: {{ clean: x.onnx, cleen: y.parquet }}\n  c: {{ uses: ./packages/cleen }}\n  d:\n    uses: ./packages/clean\n    inputs: [b.model]\n    outputs: {{ clean: z.csv }}\n"
    );
    insta::assert_snapshot!(checked(folder.path(), &text).unwrap_err());
}

#[test]
fn packages_that_use_each_other_in_a_circle_are_refused() {
    let flow = |name: &str, other: &str| {
        format!("name: {name}\nversion: 1\nsummary: Round\nrun:\n  steps:\n    s: {{ uses: ../{other} }}\n")
    };
    let (one, two) = (flow("one", "two"), flow("two", "one"));
    let folder = folder(&[("packages/one/package.yaml", &one), ("packages/two/package.yaml", &two)]);
    let said = checked(folder.path(), "project: p\nsteps:\n  a: { uses: ./packages/one }\n").unwrap_err();
    assert!(
        said.contains(
            "packages use each other in a circle: `./packages/one` → `./packages/two` → `./packages/one`"
        ),
        "{said}"
    );
    assert!(said.contains("packages/two/package.yaml:6:"), "{said}");
}

#[test]
fn a_secret_never_stands_in_a_command() {
    let leaky =
        "name: leaky\nversion: 1\nsummary: Leaks\nparams: { token: secret }\nrun: curl ${{ params.token }}\n";
    let said = read::builtin(leaky).unwrap_err();
    assert!(said[0].message.contains("would stand in the command line"), "{said:?}");
    assert!(said[0].hint.as_ref().unwrap().contains("RONDO_PARAM_TOKEN"));
}

#[test]
fn the_schema_of_a_step_takes_what_the_checker_takes() {
    let package = read::builtin(CLEAN).unwrap();
    let schema = jsonschema::validator_for(&schema::step(&package, "./packages/clean")).unwrap();
    let step = |with: Value, outputs: Value| json!({ "uses": "./packages/clean", "with": with, "inputs": ["data.raw"], "outputs": outputs });
    let out = || json!({ "clean": "c.parquet" });
    for good in [
        json!({}),
        json!({"least": 0.1, "mode": "full", "key": "abc"}),
        json!({"least": "${{ params.x }}", "token": {"from_env": "T"}}),
    ] {
        assert!(schema.is_valid(&step(good.clone(), out())), "{good}");
    }
    for bad in [
        json!({"least": 2}),
        json!({"mode": "no"}),
        json!({"key": "A"}),
        json!({"token": "x"}),
        json!({"other": 1}),
    ] {
        assert!(!schema.is_valid(&step(bad.clone(), out())), "{bad}");
    }
    assert!(!schema.is_valid(&step(json!({}), json!({}))), "an output that is needed");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(name: x\n|version: 1\n|summary: s\n|run: |params: |inputs: |any\n|\\{|\\}|\\[|\\]| a: int|, |\n|\\$\\{\\{ params.a \\}\\}){0,16}") {
        let _ = read::builtin(&text);
    }
}

#[test]
fn amounts_are_read_as_people_write_them() {
    assert_eq!(memory("2GB"), Some(2_000_000_000));
    assert_eq!(memory("1.5gib"), Some(1_610_612_736));
    assert_eq!(memory("64M"), Some(67_108_864));
    assert_eq!(memory("5000000"), Some(5_000_000));
    assert!(["much", "3", "-2GB", "nan", "inf", ""].iter().all(|text| memory(text).is_none()));
}

/// A repository that was fetched already.
struct Fetched(PathBuf);

impl Remote for Fetched {
    fn fetch(&self, address: &str) -> Result<Checkout, Refusal> {
        let path = address.split_once('#').map_or("", |(_, path)| path).to_owned();
        Ok(Checkout { root: self.0.clone(), path })
    }
}

#[test]
fn a_package_from_elsewhere_uses_its_neighbours_in_the_same_commit_and_nothing_beyond() {
    let flow = |uses: &str| FLOW.replace("../clean", uses);
    let repository = folder(&[
        ("package.yaml", CLEAN),
        ("clean.sh", "true"),
        ("packages/root/train.sh", "true"),
        ("packages/root/package.yaml", &flow("../..")),
        ("packages/out/package.yaml", &flow("../../../clean")),
        ("packages/near/package.yaml", &flow("../clear")),
    ]);
    let found = |name: &str| {
        let builtins = Builtins {
            remote: Some(std::sync::Arc::new(Fetched(repository.path().to_owned()))),
            ..Builtins::default()
        };
        let project = tempfile::tempdir().unwrap();
        std::fs::write(project.path().join("raw.csv"), "a\n").unwrap();
        let text = format!(
            "{HEAD}steps:\n  fit:\n    uses: 'https://h/s.git@v1#packages/{name}'\n    inputs: [data.raw]\n    outputs: {{ model: m }}\n"
        );
        check(&text, "rondo.yaml", &Folder::new(project.path()), &builtins)
            .map(|project| project.packages.names().map(str::to_owned).collect::<Vec<_>>())
            .map_err(|faults| fault::render("rondo.yaml", &text, &faults))
    };
    let own = |name: &str| format!("https://h/s.git@v1#packages/{name}");
    let mut flow = found("flow").unwrap();
    flow.sort();
    assert_eq!(flow, [own("clean"), own("flow")]);
    assert_eq!(found("root").unwrap().iter().filter(|name| *name == "https://h/s.git@v1").count(), 1);
    let out = found("out").unwrap_err();
    assert!(out.contains("`../../../clean` leaves the repository"), "{out}");
    let near = found("near").unwrap_err();
    assert!(near.contains("did you mean `../clean`?"), "{near}");
}

#[test]
fn no_environment_has_the_name_of_a_built_in_packages_own() {
    let folder = folder(&[
        (
            "packages/sql/package.yaml",
            "name: sql\nversion: 1\nsummary: s\nenvironment: { python: '3.12', requirements: [duckdb] }\nrun: python x.py\n",
        ),
        ("packages/sql/x.py", ""),
    ]);
    let builtins = Builtins { environments: vec!["sql-package"], ..Builtins::default() };
    let checked = |text: &str| check(text, "rondo.yaml", &Folder::new(folder.path()), &builtins);
    let project = checked("project: p\nsteps: { own: { uses: ./packages/sql } }\n").unwrap();
    assert_eq!(project.environments.names().collect::<Vec<_>>(), ["sql-package-2"]);
    let faults = checked("project: p\nenvironments: { sql-package: { host: [sh] } }\n").unwrap_err();
    assert!(faults[0].message.contains("the environment of a built-in package"), "{faults:?}");
}
