"""Traces and assessments by the unchanged MLflow client."""

import os
import subprocess
import sys
from pathlib import Path

from test_clients import server  # noqa: F401

CLIENTS = Path(__file__).parent / "clients"


def run(script, url, **environment):
    environment = {**os.environ, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", **environment}
    done = subprocess.run(
        [sys.executable, str(CLIENTS / script), url], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # The client tells of what it could not send by warnings alone.
    assert "Failed to" not in done.stderr.replace("Failed to get trace", ""), done.stderr


def test_the_mlflow_client_traces_and_assesses(server):  # noqa: F811
    run("mlflow_traces.py", server, MLFLOW_ENABLE_ASYNC_TRACE_LOGGING="true")
