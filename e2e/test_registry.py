"""Models: approvals, protected aliases, the journal, and what stays when something is deleted."""

import csv
import json
import subprocess
import time
from contextlib import contextmanager

import mlflow
import pytest
import requests
from conftest import RONDO, up
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
        assert process.wait(timeout=120) == 0


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


COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


def post(url, body):
    answer = requests.post(url, json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_what_a_pipeline_registers_loads_as_an_mlflow_model_and_answers_as_its_endpoint(copy):
    import pandas as pd
    from mlflow.models import Model

    rows = pd.read_csv(copy.folder / "data" / "iris.csv")[COLUMNS]
    rows.iloc[3, 0] = None
    with up(copy.folder) as url:
        mlflow.set_tracking_uri(url)
        client = MlflowClient(url, url)
        asked = rows.astype(object).where(rows.notna(), None).to_dict("records")
        served = post(f"{url}/api/v1/endpoints/iris/invocations", {"dataframe_records": asked})["predictions"]
        for uri in ["models:/iris@champion", "models:/iris/1"]:
            predicted = mlflow.pyfunc.load_model(uri).predict(rows)
            assert [str(label) for label in predicted["label"]] == [one["label"] for one in served]
            assert predicted["probability"].tolist() == pytest.approx([one["score"] for one in served], abs=1e-5)

        root = client.get_model_version_download_uri("iris", "1")
        files = {file.path for file in mlflow.artifacts.list_artifacts(artifact_uri="models:/iris/1")}
        assert files >= {"MLmodel", "model.onnx", "conda.yaml", "python_env.yaml", "requirements.txt"}
        saved = Model.load("models:/iris/1")
        version = client.get_model_version("iris", "1")
        assert (saved.run_id, version.source) == (version.run_id, root)
        assert [column.name for column in saved.signature.inputs] == COLUMNS
        assert set(saved.flavors) == {"onnx", "python_function", "rondo"}
        assert [graph.name for graph in mlflow.onnx.load_model("models:/iris/1").graph.input] == COLUMNS

        # It stays what was registered: nobody writes there, and a copy of it is as good.
        place = root.removeprefix("mlflow-artifacts:/")
        for method in [requests.put, requests.delete]:
            refused = method(f"{url}/api/2.0/mlflow-artifacts/artifacts/{place}/MLmodel", data=b"x: 1", timeout=60)
            assert refused.status_code == 400 and "registered version" in refused.json()["message"]
        client.copy_model_version("models:/iris/1", "again")
        again = mlflow.pyfunc.load_model("models:/again/1").predict(rows)
        assert again.equals(predicted)


def test_an_alert_retrains_and_the_new_version_serves_when_it_is_approved_and_not_when_it_is_rejected(copy):
    path, table = copy.folder / "rondo.yaml", copy.folder / "data" / "iris.csv"
    text = path.read_text().replace("gate: [objectives, beats_champion]", "gate: [objectives, approval]")
    assert "approval" in text and "triggers:" not in text
    path.write_text(text + """
triggers:
  - { alert: iris.drift, run: [train, evaluate], then: promote, cool_down: 1h }
""")
    flowers = list(csv.DictReader(table.open()))
    lines = table.read_text().splitlines()

    def champion():
        return copy.json("models", "show", "iris")["aliases"]["champion"]

    with up(copy.folder) as url:
        def answering():
            (endpoint,) = requests.get(f"{url}/api/v1/endpoints", timeout=60).json()
            return endpoint["deployment"]["version"]

        def drift(day, number):
            """New data, a day of flowers measured far too long, and what waits in the end."""
            table.write_text("\n".join(lines[: 150 - 3 * day]) + "\n")
            copy("data", "add", "iris")
            records = [
                {**{column: float(flower[column]) + 3 for column in COLUMNS},
                 "event_time": f"2024-02-0{day}T{row // 60:02}:{row % 60:02}:00Z"}
                for row, flower in enumerate(flowers)
            ]
            post(f"{url}/api/v1/endpoints/iris/predict", {"records": records})
            post(f"{url}/api/v1/endpoints/iris/advance", {"event_time": f"2024-02-0{day + 1}T00:00:00Z"})
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline:
                shown = copy.json("models", "show", "iris")["versions"]
                waits = "waits for approval" in copy("status").stdout
                if len(shown) == number and waits and not requests.get(f"{url}/api/v1/requests", timeout=60).json():
                    return
                time.sleep(0.2)
            raise AssertionError(copy("status").stdout)

        drift(1, 2)
        assert (champion(), answering()) == (1, 1)
        copy("models", "reject", "iris/2", "--why", "too few flowers")
        assert copy.json("models", "promote", "iris", "2", code=5)["error"]["code"] == "approval-missing"
        assert (champion(), answering()) == (1, 1)
        assert copy.json("models", "show", "iris/2")["dossier"]["approval"]["decision"] == "rejected"

        drift(2, 3)
        assert (champion(), answering()) == (1, 1)
        client = MlflowClient(url, url)
        with pytest.raises(MlflowException, match="waits for its approval"):
            client.set_registered_model_alias("iris", "champion", "3")
        copy("models", "approve", "iris/3", "--why", "seen it")
        assert champion() == 3 and client.get_model_version_by_alias("iris", "champion").version == "3"
        deadline = time.monotonic() + 60
        while answering() != 3 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert answering() == 3
        (move, *_) = [line for line in copy.json("models", "log", "iris")["journal"]
                      if line["subject"] == {"alias": "champion"}]
        assert (move["to"], move["why"]) == ("3", "seen it")
        approved = copy.json("models", "show", "iris/3")["dossier"]["approval"]
        assert approved["decision"] == "approved" and approved["evidence"]["request"]


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
