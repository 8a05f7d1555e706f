"""Models: approvals, protected aliases, the journal, and what stays when something is deleted."""

import json
import subprocess
from contextlib import contextmanager

import mlflow
import pytest
import requests
from conftest import RONDO
from mlflow import MlflowClient, MlflowException


@contextmanager
def serving(folder):
    process = subprocess.Popen(
        [RONDO, "server", "--listen", "127.0.0.1:0", "--data", str(folder), "--json"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )
    try:
        yield json.loads(process.stdout.readline())["listen"]
    finally:
        process.terminate()
        assert process.wait(timeout=20) == 0


def rondo(*args, code=0):
    done = subprocess.run(
        [RONDO, *args, "--json"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code, f"rondo {args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)


def test_a_promotion_waits_for_its_approval(copy):
    path = copy.folder / "rondo.yaml"
    text = path.read_text()
    assert "gate: [objectives, beats_champion]" in text
    path.write_text(text.replace("gate: [objectives, beats_champion]", "gate: [objectives, approval]"))
    (registered,) = copy.json("run", "--param", "trees=21")["models"]
    assert (registered["version"], registered["promoted"], registered["pending"]) == (2, False, True)
    assert "iris: version 2 waits for approval" in copy("status").stdout
    assert copy.json("models", "promote", "iris", "2", code=5)["error"]["code"] == "approval-missing"

    # A client gets no further: the champion is protected, and the version not approved.
    with serving(copy.folder / ".rondo") as url:
        client = MlflowClient(url, url)
        with pytest.raises(MlflowException, match="waits for its approval") as refused:
            client.set_registered_model_alias("iris", "champion", "2")
        assert refused.value.error_code == "PERMISSION_DENIED"
        with pytest.raises(MlflowException, match="protected|taken away"):
            client.delete_registered_model_alias("iris", "champion")
        # A free alias is free.
        client.set_registered_model_alias("iris", "mine", "2")

        copy("models", "approve", "iris/2", "--why", "seen it")
        client.set_registered_model_alias("iris", "champion", "2")
        assert client.get_model_version_by_alias("iris", "champion").version == "2"
    copy("models", "rollback", "iris", "--why", "not yet")
    shown = copy.json("models", "show", "iris@champion")["dossier"]
    assert (shown["version"], shown["origin"], shown["protected"]) == (1, "pipeline", ["champion"])
    assert shown["gate"]["passed"] and shown["run"] and shown["data"] and shown["signature"]["inputs"]
    assert len(shown["code"]["commit"]) == 40
    approval = copy.json("models", "show", "iris/2")["dossier"]["approval"]
    assert (approval["decision"], approval["why"]) == ("approved", "seen it")
    journal = copy.json("models", "log", "iris")["journal"]
    assert [line["why"] for line in journal if line["subject"] == {"alias": "champion"}][0] == "not yet"
    assert "iris 2" in copy("trace", "iris@mine").stdout
    assert copy.json("models", "delete", "iris/2", code=4)["error"]["code"] == "needed"


def test_a_clients_version_stays_loadable_and_says_what_is_known_of_it(tmp_path):
    import numpy as np
    from mlflow.data.http_dataset_source import HTTPDatasetSource
    from mlflow.data.meta_dataset import MetaDataset
    from sklearn.linear_model import LinearRegression

    store = str(tmp_path / "store")
    with serving(store) as url:
        mlflow.set_tracking_uri(url)
        client = MlflowClient(url, url)
        experiment = client.create_experiment("e")
        with mlflow.start_run(experiment_id=experiment) as run:
            mlflow.log_param("depth", 3)
            mlflow.log_metric("rmse", 0.5)
            source = HTTPDatasetSource("https://example.com/flights.csv")
            mlflow.log_input(MetaDataset(source, name="flights"))
            model = LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])
            logged = mlflow.sklearn.log_model(
                model, name="model", input_example=np.array([[1.0]]), registered_model_name="m",
                pip_requirements=["scikit-learn"],
            )
        client.set_registered_model_alias("m", "live", "1")
        client.transition_model_version_stage("m", "1", "Production")

        # What would take its files away is refused; what is soft is not, and takes nothing from it.
        shown = rondo("models", "show", "m@live", "--data", store)["dossier"]
        assert (shown["origin"], shown["stage"], shown["aliases"]) == ("client", "Production", ["live"])
        assert (shown["logged_model"], shown["run"]["id"]) == (logged.model_id, run.info.run_id)
        assert shown["params"]["depth"] == "3" and shown["metrics"]["rmse"] == 0.5
        assert shown["data"][0]["name"] == "flights"
        assert shown["environment"]["name"] == "requirements.txt"
        assert shown["signature"]["inputs"]
        repository = mlflow.store.artifact.artifact_repository_registry.get_artifact_repository(
            client.get_logged_model(logged.model_id).artifact_location
        )
        with pytest.raises(requests.HTTPError, match="needed by m/1"):
            repository.delete_artifacts("MLmodel")
        client.delete_logged_model(logged.model_id)
        client.delete_run(run.info.run_id)
        client.delete_experiment(experiment)
        loaded = mlflow.pyfunc.load_model("models:/m@live")
        assert loaded.predict(np.array([[2.0]])).round().tolist() == [4.0]

        # Where there is no project, an alias is protected by hand.
        rondo("models", "protect", "m", "--alias", "live", "--data", store)
        client.create_model_version("m", "models:/m/1")
        with pytest.raises(MlflowException, match="rondo models approve m/2"):
            client.set_registered_model_alias("m", "live", "2")
        assert rondo("models", "delete", "m/1", "--data", store, code=4)["error"]["code"] == "needed"
        rondo("models", "approve", "m/2", "--why", "a copy", "--data", store)
        client.set_registered_model_alias("m", "live", "2")
        rondo("models", "rollback", "m", "--alias", "live", "--data", store)
        assert client.get_model_version_by_alias("m", "live").version == "1"
        lines = rondo("models", "log", "m", "--data", store)["journal"]
        production = next(line for line in lines if line["to"] == "Production")
        assert production["actor"] == "mlflow client"
        client.transition_model_version_stage("m", "1", "Archived")
        rondo("models", "rollback", "m", "--to", str(production["seq"]), "--data", store)
        assert client.get_model_version("m", "1").current_stage == "Production"
