"""The unchanged MLflow client against `rondo server`, and inside the steps of a pipeline."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import RONDO, Rondo

HERE = Path(__file__).parent


@pytest.fixture
def server(tmp_path):
    """A tracking server on a free port."""
    process = subprocess.Popen(
        [RONDO, "server", "--listen", "127.0.0.1:0", "--data", str(tmp_path / "store"), "--json"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )
    try:
        yield json.loads(process.stdout.readline())["listen"]
    finally:
        process.terminate()
        assert process.wait(timeout=120) == 0


def test_the_mlflow_client_works_unchanged(server):
    environment = {**os.environ, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = subprocess.run(
        [sys.executable, str(HERE / "clients" / "mlflow_client.py"), server],
        env=environment, capture_output=True, text=True, timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


STEP = """
import mlflow
with mlflow.start_run():
    mlflow.log_param("first", 1)
    mlflow.log_metric("loss", 0.5)
with mlflow.start_run(run_name="second"):
    mlflow.log_metric("loss", 0.25)
"""

ELSEWHERE = """
import mlflow
mlflow.set_experiment("elsewhere")
with mlflow.start_run():
    mlflow.log_metric("loss", 0.125)
"""

PROJECT = """
project: identity
steps:
  twice:     { run: "PYTHON twice.py && echo ok > ${{ outputs.done }}", outputs: { done: twice.txt } }
  elsewhere: { run: "PYTHON elsewhere.py && echo ok > ${{ outputs.done }}", outputs: { done: elsewhere.txt } }
"""


def test_a_step_is_one_run_whatever_its_client_does(tmp_path):
    folder = tmp_path / "identity"
    folder.mkdir()
    (folder / "rondo.yaml").write_text(PROJECT.replace("PYTHON", sys.executable))
    (folder / "twice.py").write_text(STEP)
    (folder / "elsewhere.py").write_text(ELSEWHERE)
    rondo = Rondo(folder)
    report = rondo.json("run")
    steps = {step["name"]: step for step in report["steps"]}

    twice = rondo.json("runs", "show", steps["twice"]["run"])
    assert twice["metrics"] == {"loss": 0.5}
    assert twice["run"]["state"] == "finished"
    assert twice["tags"]["mlflow.parentRunId"] == report["run"]
    # The second run that the code started is a child of the step's run.
    (child,) = twice["children"]
    assert child["name"] == "second"
    assert rondo.json("runs", "show", child["id"])["metrics"] == {"loss": 0.25}

    elsewhere = rondo.json("runs", "show", steps["elsewhere"]["run"])
    assert elsewhere["metrics"] == {"loss": 0.125}
    assert elsewhere["run"]["state"] == "finished"

    # Nothing changed: no step makes a run, the parent records the runs that stand for them.
    again = rondo.json("run")
    assert {step["outcome"] for step in again["steps"]} == {"cached"}
    parent = rondo.json("runs", "show", again["run"])
    assert parent["children"] == []
    assert parent["run"]["detail"]["steps"]["twice"]["run"] == steps["twice"]["run"]
