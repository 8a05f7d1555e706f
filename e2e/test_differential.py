"""MLflow's own server and Rondo are asked the same 1,400 things and answer the same, but for what is listed."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from conftest import RONDO

pytestmark = pytest.mark.service

DRIVER = Path(__file__).parent / "clients" / "differential.py"


@pytest.fixture(scope="session")
def theirs(tmp_path_factory):
    """MLflow's server, alone and with nothing in it."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port),
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts"),
    ]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "GIT_PYTHON_REFRESH": "quiet"}
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert process.poll() is None, (folder / "log").read_text()
            try:
                if requests.get(url + "/health", timeout=60).ok:
                    break
            except requests.ConnectionError:
                time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=120)


def test_both_servers_answer_the_same(theirs, tmp_path):
    process = subprocess.Popen(
        [RONDO, "server", "--listen", "127.0.0.1:0", "--data", str(tmp_path / "store"), "--json"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )
    try:
        ours = json.loads(process.stdout.readline())["listen"]
        done = subprocess.run(
            [sys.executable, str(DRIVER), theirs, ours], capture_output=True, text=True, timeout=900,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        process.terminate()
        assert process.wait(timeout=120) == 0
