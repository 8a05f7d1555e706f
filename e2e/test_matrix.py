"""The client in its versions, each in an environment of its own: what people do with it, and autologging."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from conftest import RONDO

pytestmark = pytest.mark.service

CLIENTS = Path(__file__).parent / "clients"
WITH_KERAS = ["sklearn", "lightgbm", "xgboost", "keras"]


@pytest.fixture
def server(tmp_path):
    process = subprocess.Popen(
        [RONDO, "server", "--listen", "127.0.0.1:0", "--data", str(tmp_path / "store"), "--json"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )
    try:
        yield json.loads(process.stdout.readline())["listen"]
    finally:
        process.terminate()
        assert process.wait(timeout=120) == 0


def python(version):
    made = subprocess.run([CLIENTS / "environments.sh", version], capture_output=True, text=True, timeout=1800)
    if made.returncode != 0:
        pytest.skip(f"no environment for mlflow {version}: {made.stderr[-500:]}")
    return made.stdout.strip()


def drive(version, script, *args):
    environment = {**os.environ, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "KERAS_BACKEND": "jax"}
    done = subprocess.run(
        [python(version), str(CLIENTS / script), *args],
        env=environment, capture_output=True, text=True, timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-8000:]


@pytest.mark.parametrize("version", ["3.12.0", "3.17.2", "2.22.5"])
def test_the_flow_of_a_client_of_each_version(server, version):
    drive(version, "flow.py", server)


@pytest.mark.parametrize(("version", "libraries"), [
    ("3.12.0", WITH_KERAS), ("3.17.2", WITH_KERAS), ("2.22.5", ["sklearn", "lightgbm", "xgboost"]),
])
def test_autologging_of_each_library(server, version, libraries):
    drive(version, "autolog.py", server, *libraries)
