"""Moving a store of MLflow's: made by the real client, imported, and read again by the real client."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import RONDO, Rondo

STORE = Path(__file__).parent / "clients" / "mlflow_store.py"


def client(*args, cwd, python=sys.executable):
    environment = {**os.environ, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_ALLOW_FILE_STORE": "true"}
    done = subprocess.run(
        [python, *args], cwd=cwd, env=environment, capture_output=True, text=True, timeout=600,
    )
    assert done.returncode == 0, f"{args}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def dump(verbs, uri, cwd, python=sys.executable):
    out = client(str(STORE), verbs, uri, cwd=cwd, python=python)
    return json.loads(out[out.index("{\n"):])


class Server:
    """`rondo server` over a store."""

    def __init__(self, data):
        self.data = data

    def __enter__(self):
        self.process = subprocess.Popen(
            [RONDO, "server", "--listen", "127.0.0.1:0", "--data", str(self.data), "--json"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )
        return json.loads(self.process.stdout.readline())["listen"]

    def __exit__(self, *_):
        self.process.terminate()
        assert self.process.wait(timeout=120) == 0


def move(folder, uri, rondo, python=sys.executable):
    """Imports a store, and again, and once more when something was added; the client reads the same."""
    client(str(STORE), "make", uri, cwd=folder, python=python)
    would = rondo.json("import", str(folder), "--data", "store", "--dry-run")
    assert not (rondo.folder / "store").exists()
    report = rondo.json("import", str(folder), "--data", "store")
    assert report["complete"] and report["not_imported"] == [] and report["notes"] == []
    assert report["counts"] == would["counts"]
    for kind, count in report["counts"].items():
        # `Default` is there before.
        there = 1 if kind == "experiments" else 0
        assert count["found"] == count["imported"] + there, kind
        assert count["found"] > 0 or kind in ("traces", "assessments", "webhooks") or python != sys.executable, kind
    again = rondo.json("import", str(folder), "--data", "store")
    assert again["complete"] and all(count["imported"] == 0 for count in again["counts"].values())
    assert "nothing new" in rondo("import", str(folder), "--data", "store").stdout

    held = dump("add+dump", uri, folder, python)
    counts = rondo.json("import", str(folder), "--data", "store")["counts"]
    assert (counts["runs"]["imported"], counts["metric_points"]["imported"]) == (1, 1)
    # The client writes a file of its own beside a model that it loads from a local store.
    assert counts["artifacts"]["imported"] in (1, 2)
    with Server(rondo.folder / "store") as server:
        assert dump("dump", server, rondo.folder, python) == held
    return held


def test_a_database_comes_in_once_and_the_client_reads_the_same_here_and_from_an_export(tmp_path):
    folder = tmp_path / "mlflow"
    folder.mkdir()
    held = move(folder, "sqlite:///mlflow.db", Rondo(tmp_path))
    rondo = Rondo(tmp_path)
    would = rondo.json("export", "--to", "mlruns", "out", "--data", "store", "--dry-run")
    assert not (tmp_path / "out").exists()
    report = rondo.json("export", "--to", "mlruns", "out", "--data", "store")
    assert report["complete"] and report["counts"] == would["counts"]
    assert dump("dump", "./out", tmp_path) == held
    assert rondo.json("export", "--to", "mlruns", "out", "--data", "store", code=2)["error"]["code"] == "source-invalid"


def test_files_come_in_once_and_an_export_of_them_becomes_a_database(tmp_path):
    folder = tmp_path / "mlflow"
    folder.mkdir()
    held = move(folder, "./mlruns", Rondo(tmp_path))
    Rondo(tmp_path)("export", "--to", "mlruns", "out", "--data", "store")
    client("-m", "mlflow", "migrate-filestore", "--source", "out", "--target", "sqlite:///new.db", cwd=tmp_path)
    assert dump("dump", "sqlite:///new.db", tmp_path) == held


@pytest.fixture(scope="module")
def mlflow2(tmp_path_factory):
    """A Python with the last release 2 of MLflow."""
    if given := os.environ.get("MLFLOW2_PYTHON"):
        return given
    folder = tmp_path_factory.mktemp("mlflow2")
    python = str(folder / "bin" / "python")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    packages = ["mlflow==2.22.5", "scikit-learn==1.7.2", "setuptools<80", "sqlalchemy<2.1"]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    return python


@pytest.mark.service
@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "./mlruns"], ids=["database", "files"])
def test_stores_of_release_2_come_in(uri, mlflow2, tmp_path):
    folder = tmp_path / "mlflow"
    folder.mkdir()
    move(folder, uri, Rondo(tmp_path), mlflow2)


def test_hostile_stores_are_refused_or_told_and_nothing_outside_is_read(tmp_path):
    rondo = Rondo(tmp_path)
    (tmp_path / "broken.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    (tmp_path / "text.db").write_text("no database")
    (tmp_path / "empty").mkdir()
    for path in ["broken.db", "text.db", "empty"]:
        error = rondo.json("import", path, "--data", "store", code=2)["error"]
        assert error["code"] == "source-invalid", error
    assert rondo.json("import", "nothing.db", "--data", "store", code=3)["error"]["code"] == "source-not-found"

    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "passwd").write_text("root")
    store = tmp_path / "mlruns"
    runs = {letter: letter * 32 for letter in "abcde"}
    for letter, run in runs.items():
        (store / "0" / run / "artifacts").mkdir(parents=True)
        for kind in ["params", "tags", "metrics"]:
            (store / "0" / run / kind).mkdir()
        uri = {"b": f"file://{secret}", "c": "mlflow-artifacts:/../secret", "d": "../secret"}.get(letter, "x")
        (store / "0" / run / "meta.yaml").write_text(
            f"artifact_uri: {uri}\nexperiment_id: '0'\nlifecycle_stage: active\nrun_id: {run}\n"
            "run_name: n\nstart_time: 1\nend_time: 2\nstatus: 3\nuser_id: u\n"
        )
    (store / "0" / "meta.yaml").write_text("experiment_id: '0'\nname: Default\nlifecycle_stage: active\n")
    of = lambda letter: store / "0" / runs[letter]
    (of("a") / "artifacts" / "link").symlink_to(secret)
    (of("a") / "params" / "p").symlink_to(secret / "passwd")
    (of("a") / "metrics" / "m").write_text("1 0.5 0\n2 oops 1\n3 0.25 2")
    (of("a") / "inputs" / "i").mkdir(parents=True)
    (of("a") / "inputs" / "i" / "meta.yaml").write_text(
        "source_type: DATASET\nsource_id: ../../../secret\ndestination_type: RUN\ntags: {}\n"
    )
    (of("e") / "meta.yaml").write_text("artifact_uri: 'cut off\nrun_id: ")
    report = rondo.json("import", "mlruns", "--data", "store", code=6)["error"]["data"]
    reasons = json.dumps(report["not_imported"])
    for told in ["link", "params/p", "line 2", "outside", "cannot be the id", "meta.yaml"]:
        assert told in reasons, told
    assert report["counts"]["runs"] == {"found": 5, "imported": 4, "already_there": 0, "skipped": 1}
    assert report["counts"]["metric_points"]["imported"] == 2
    objects = [p for p in (tmp_path / "store" / "objects").rglob("*") if p.is_file()]
    assert all(p.read_bytes() != b"root" for p in objects)


def test_traces_with_what_is_said_of_them_and_webhooks_come_in_and_are_the_same_to_the_client(tmp_path):
    folder = tmp_path / "mlflow"
    folder.mkdir()
    script = str(STORE.with_name("mlflow_traced_store.py"))
    uri = "sqlite:///mlflow.db"
    client(script, "make", uri, cwd=folder)
    with sqlite3.connect(folder / "mlflow.db") as database:
        database.execute("INSERT INTO webhooks (webhook_id, name, url, status, secret, creation_timestamp) VALUES"
                         " ('w-1', 'told', 'https://example.org/x', 'ACTIVE', 'sealed', 5)")
        database.execute("INSERT INTO webhook_events VALUES ('w-1', 'model_version', 'created')")
    held = client(script, "dump", uri, cwd=folder)
    rondo = Rondo(tmp_path)
    report = rondo.json("import", str(folder), "--data", "store")
    counts = report["counts"]
    assert (counts["traces"]["imported"], counts["assessments"]["imported"]) == (1, 4)
    assert counts["webhooks"]["imported"] == 1 and "could not be read" in report["notes"][0]
    again = rondo.json("import", str(folder), "--data", "store")
    assert all(count["imported"] == 0 for count in again["counts"].values())
    with Server(rondo.folder / "store") as server:
        assert json.loads(client(script, "dump", server, cwd=tmp_path)) == json.loads(held)
