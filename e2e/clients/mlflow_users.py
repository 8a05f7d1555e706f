#!/usr/bin/env python3
"""Two users and their administrator against a Rondo server, through the unchanged MLflow client.

    python mlflow_users.py http://127.0.0.1:5000 ROOT_PASSWORD

The administrator is `root`. Each user comes in by MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.
"""

import os
import sys
from contextlib import contextmanager

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.server.auth.client import AuthServiceClient

URL, ROOT = sys.argv[1:3]
WORDS = {"root": ROOT, "ada": "a password of ada", "bob": "a password of bob"}


@contextmanager
def user(name):
    os.environ["MLFLOW_TRACKING_USERNAME"] = name
    os.environ["MLFLOW_TRACKING_PASSWORD"] = WORDS[name]
    yield MlflowClient(URL)
    del os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]


def refused(code, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except MlflowException as error:
        assert error.error_code == code, (error.error_code, error)
        return str(error)
    raise AssertionError(f"{call.__name__} was let through")


mlflow.set_tracking_uri(URL)
auth = AuthServiceClient(URL)

refused("UNAUTHENTICATED", MlflowClient(URL).search_experiments)

with user("root"):
    for name in ["ada", "bob"]:
        made = auth.create_user(name, WORDS[name])
        assert (made.username, made.is_admin) == (name, False)
    refused("RESOURCE_ALREADY_EXISTS", auth.create_user, "ada", WORDS["ada"])
    refused("INVALID_PARAMETER_VALUE", auth.create_user, "eve", "short")
    refused("RESOURCE_DOES_NOT_EXIST", auth.get_user, "eve")
    refused("INVALID_PARAMETER_VALUE", auth.update_user_admin, "root", False)

with user("ada") as client:
    mlflow.set_experiment("of ada")
    with mlflow.start_run() as run:
        mlflow.log_metric("loss", 0.5)
        mlflow.log_text("hers", "note.txt")
    experiment = run.info.experiment_id
    client.create_registered_model("model-of-ada")
    client.create_model_version("model-of-ada", run.info.artifact_uri + "/note.txt", run.info.run_id)
    client.set_registered_model_alias("model-of-ada", "best", 1)
    assert client.get_model_version("model-of-ada", "1").user_id == "ada"
    refused("PERMISSION_DENIED", auth.create_user, "eve", "a long password")
    refused("PERMISSION_DENIED", auth.get_user, "bob")
    assert [p.permission for p in auth.get_user("ada").experiment_permissions] == ["MANAGE"]

with user("bob") as client:
    # Members see by default and change nothing of others.
    assert client.get_run(run.info.run_id).data.metrics == {"loss": 0.5}
    refused("PERMISSION_DENIED", client.log_metric, run.info.run_id, "loss", 0.1)
    refused("PERMISSION_DENIED", client.set_registered_model_alias, "model-of-ada", "best", 1)
    refused("PERMISSION_DENIED", auth.create_experiment_permission, experiment, "bob", "MANAGE")

with user("ada"):
    auth.create_experiment_permission(experiment, "bob", "NO_PERMISSIONS")
    auth.create_registered_model_permission("model-of-ada", "bob", "NO_PERMISSIONS")
    refused("RESOURCE_ALREADY_EXISTS", auth.create_experiment_permission, experiment, "bob", "READ")
    refused("INVALID_PARAMETER_VALUE", auth.update_experiment_permission, experiment, "bob", "EVERYTHING")

with user("bob") as client:
    refused("PERMISSION_DENIED", client.get_run, run.info.run_id)
    refused("PERMISSION_DENIED", client.get_experiment_by_name, "of ada")
    refused("PERMISSION_DENIED", client.list_artifacts, run.info.run_id)
    refused("PERMISSION_DENIED", client.get_model_version_by_alias, "model-of-ada", "best")
    assert "of ada" not in [found.name for found in client.search_experiments()]
    assert list(client.search_runs([experiment])) == []
    assert list(client.search_registered_models()) == [] and list(client.search_model_versions()) == []

with user("ada"):
    auth.update_experiment_permission(experiment, "bob", "EDIT")
    assert auth.get_experiment_permission(experiment, "bob").permission == "EDIT"
    auth.update_registered_model_permission("model-of-ada", "bob", "READ")
    assert auth.get_registered_model_permission("model-of-ada", "bob").permission == "READ"

with user("bob") as client:
    client.log_metric(run.info.run_id, "loss", 0.25)
    refused("PERMISSION_DENIED", client.delete_run, run.info.run_id)
    assert client.get_model_version_by_alias("model-of-ada", "best").version == "1"
    refused("PERMISSION_DENIED", client.delete_registered_model, "model-of-ada")

with user("ada") as client:
    auth.delete_experiment_permission(experiment, "bob")
    refused("RESOURCE_DOES_NOT_EXIST", auth.get_experiment_permission, experiment, "bob")
    auth.delete_registered_model_permission("model-of-ada", "bob")
    client.delete_run(run.info.run_id)

with user("bob"):
    auth.update_user_password("bob", "another password of bob")
WORDS["bob"] = "another password of bob"
with user("root"):
    auth.update_user_admin("bob", True)
with user("bob"):
    assert auth.get_user("bob").is_admin
    auth.delete_user("ada")
with user("ada") as client:
    refused("UNAUTHENTICATED", client.search_experiments)
print("users ok")
