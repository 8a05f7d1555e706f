#!/usr/bin/env python3
"""What the code of a pipeline's step may do with the unchanged MLflow client.

Runs as a step (`run: python mlflow_step.py PART`), with the variables that Rondo sets for one. The step's
own run must take what is logged first, stay under way while the client ends it, and adopt what comes after.
"""

import os
import sys

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")

import mlflow
from mlflow import MlflowClient

OWN = os.environ["MLFLOW_RUN_ID"]


def status(run_id):
    return MlflowClient().get_run(run_id).info.status


def plain():
    """Metrics without a word about runs: the client opens the step's run by itself."""
    mlflow.log_metric("plain", 1)
    assert mlflow.active_run().info.run_id == OWN
    mlflow.end_run()
    assert status(OWN) == "RUNNING"


def twice():
    with mlflow.start_run() as first:
        mlflow.log_metric("first", 1)
        mlflow.log_text("x", "x.txt")
    with mlflow.start_run(run_name="second") as second:
        mlflow.log_metric("second", 2)
        with mlflow.start_run(nested=True) as third:
            mlflow.log_metric("third", 3)
    assert first.info.run_id == OWN and second.info.run_id != OWN
    assert status(OWN) == "RUNNING" and status(second.info.run_id) == "FINISHED"
    tag = lambda run: mlflow.get_run(run.info.run_id).data.tags["mlflow.parentRunId"]
    assert tag(second) == OWN and tag(third) == second.info.run_id
    assert mlflow.get_run(OWN).data.metrics == {"first": 1.0}


def elsewhere():
    """Another experiment: the step's run goes there when the client opens it, and so do later runs."""
    home = mlflow.get_run(OWN).info.experiment_id
    experiment = mlflow.set_experiment("elsewhere")
    assert experiment.experiment_id != home
    with mlflow.start_run() as run:
        mlflow.log_param("where", "elsewhere")
        mlflow.log_text("y", "y.txt")
    assert run.info.run_id == OWN and run.info.experiment_id == experiment.experiment_id
    with mlflow.start_run() as second:
        pass
    assert second.info.experiment_id == experiment.experiment_id
    assert status(OWN) == "RUNNING"
    assert OWN in list(mlflow.search_runs().run_id)
    assert mlflow.artifacts.load_text(f"runs:/{OWN}/y.txt") == "y"


def same_experiment():
    mlflow.set_experiment(os.environ["MLFLOW_EXPERIMENT_NAME"])
    with mlflow.start_run() as run:
        mlflow.log_metric("same", 1)
    assert run.info.run_id == OWN


def autolog():
    import numpy
    from sklearn.linear_model import LogisticRegression

    mlflow.sklearn.autolog(log_models=False)
    x = numpy.arange(20.0).reshape(-1, 1)
    for c in (0.1, 1.0):
        LogisticRegression(C=c).fit(x, (x[:, 0] > 9).astype(int))
    assert mlflow.get_run(OWN).data.params["C"] == "0.1"
    children = mlflow.search_runs(filter_string=f"tags.mlflow.parentRunId = '{OWN}'", search_all_experiments=True)
    assert list(children["params.C"].dropna()) == ["1.0"], children
    assert status(OWN) == "RUNNING"


def failing():
    """The client marks the run as failed; the step's outcome is its exit code's to say."""
    try:
        with mlflow.start_run():
            raise ValueError("on purpose")
    except ValueError:
        pass
    assert status(OWN) == "RUNNING"


if __name__ == "__main__":
    globals()[sys.argv[1]]()
    print(f"{sys.argv[1]}: ok")
