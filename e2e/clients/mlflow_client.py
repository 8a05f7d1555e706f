#!/usr/bin/env python3
"""Drives a Rondo server with the unchanged MLflow client.

    python mlflow_client.py http://127.0.0.1:5000

Needs `mlflow` 3.x and `scikit-learn`. Each part prints its name and `ok`; the first surprise ends the
script with a traceback and exit code 1. Names carry a random suffix, so that one server can be used again.
"""

import json
import math
import os
import pathlib
import sys
import tempfile
import uuid

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

import mlflow
import requests
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException

SUFFIX = uuid.uuid4().hex[:8]
PARTS = []


def part(function):
    PARTS.append(function)
    return function


def refused(code, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except MlflowException as error:
        assert error.error_code == code, (error.error_code, str(error))
        return str(error)
    raise AssertionError(f"{call} was not refused")


@part
def experiments(client, _url):
    name = f"e-{SUFFIX}"
    made = client.create_experiment(name, tags={"team": "a"})
    found = client.get_experiment(made)
    assert found.name == name and found.tags == {"team": "a"} and found.lifecycle_stage == "active"
    assert found.artifact_location == f"mlflow-artifacts:/{made}"
    assert client.get_experiment_by_name(name).experiment_id == made
    assert client.get_experiment_by_name("nobody-" + SUFFIX) is None
    refused("RESOURCE_ALREADY_EXISTS", client.create_experiment, name)
    refused("RESOURCE_DOES_NOT_EXIST", client.get_experiment, "987654321")
    client.rename_experiment(made, name + "-2")
    client.set_experiment_tag(made, "team", "b")
    found = client.search_experiments(filter_string=f"name LIKE '{name}%' AND tags.team = 'b'")
    assert [e.experiment_id for e in found] == [made]
    client.delete_experiment(made)
    assert client.get_experiment(made).lifecycle_stage == "deleted"
    assert made in [e.experiment_id for e in client.search_experiments(view_type=ViewType.DELETED_ONLY)]
    client.restore_experiment(made)
    assert client.get_experiment("0").name == "Default"


@part
def runs(client, _url):
    experiment = client.create_experiment(f"runs-{SUFFIX}")
    run = client.create_run(experiment, tags={"a": "", "mlflow.user": "ada"})
    id = run.info.run_id
    assert len(id) == 32 and run.info.status == "RUNNING"
    assert run.info.run_name == run.data.tags["mlflow.runName"]
    client.log_param(id, "p", 1)
    client.log_param(id, "p", 1)
    refused("INVALID_PARAMETER_VALUE", client.log_param, id, "p", 2)
    client.log_metric(id, "m", 1.5, timestamp=10, step=2)
    client.log_metric(id, "m", 2.5, timestamp=11, step=1)
    client.log_metric(id, "nan", float("nan"))
    client.log_metric(id, "inf", float("inf"))
    client.set_tag(id, "t", "x")
    client.set_tag(id, "mlflow.runName", "renamed")
    client.delete_tag(id, "t")
    refused("RESOURCE_DOES_NOT_EXIST", client.delete_tag, id, "t")
    run = client.get_run(id)
    assert run.info.run_name == "renamed" and run.data.params == {"p": "1"}
    assert run.data.metrics["m"] == 1.5 and math.isnan(run.data.metrics["nan"])
    assert run.data.metrics["inf"] == sys.float_info.max
    assert run.data.tags["a"] == "" and "t" not in run.data.tags
    assert [(m.step, m.value) for m in client.get_metric_history(id, "m")] == [(2, 1.5), (1, 2.5)]
    client.set_terminated(id, "FAILED")
    run = client.get_run(id)
    assert run.info.status == "FAILED" and run.info.end_time >= run.info.start_time
    client.delete_run(id)
    assert client.get_run(id).info.lifecycle_stage == "deleted"
    refused("INVALID_PARAMETER_VALUE", client.log_metric, id, "m", 1)
    client.restore_run(id)
    refused("RESOURCE_DOES_NOT_EXIST", client.get_run, "f" * 32)
    refused("INVALID_PARAMETER_VALUE", client.log_metric, id, "../m", 1)


@part
def batches(client, _url):
    run = client.create_run("0").info.run_id
    metrics = [Metric("loss", 1.0 / (i + 1), i, i) for i in range(900)]
    client.log_batch(run, metrics, [Param("a", "1")], [RunTag("b", "2")])
    client.log_batch(run, [Metric("loss", 1.0 / (i + 1), i, i) for i in range(900, 1800)])
    history = client.get_metric_history(run, "loss")
    assert len(history) == 1800 and sorted(m.step for m in history) == list(range(1800))
    found = client.get_run(run).data
    assert found.params == {"a": "1"} and found.tags["b"] == "2" and found.metrics["loss"] == 1.0 / 1800
    refused("INVALID_PARAMETER_VALUE", client.log_batch, run, params=[Param("c", "1"), Param("c", "2")])


@part
def search(client, _url):
    experiment = client.create_experiment(f"search-{SUFFIX}")
    for i in range(25):
        run = client.create_run(experiment, run_name=f"r{i}", tags={"kind": "even" if i % 2 == 0 else "odd"})
        client.log_param(run.info.run_id, "depth", i)
        client.log_metric(run.info.run_id, "acc", i / 25)

    def names(filter_string="", **more):
        return [r.info.run_name for r in client.search_runs([experiment], filter_string, **more)]

    assert names("metrics.acc > 0.9") == ["r24", "r23"]
    assert names("params.depth = '3' and tags.kind = 'odd'") == ["r3"]
    assert names("attributes.run_name LIKE 'r2_' AND metrics.acc < 0.85") == ["r21", "r20"]
    assert names("metrics.acc < 0.01 OR NOT (metrics.acc < 0.95)") == ["r24", "r0"]
    assert names(order_by=["metrics.acc ASC"], max_results=3) == ["r0", "r1", "r2"]
    paged, token = [], None
    while True:
        page = client.search_runs([experiment], order_by=["metrics.acc DESC"], max_results=7, page_token=token)
        paged += [r.info.run_name for r in page]
        token = page.token
        if not token:
            break
    assert paged == [f"r{i}" for i in reversed(range(25))]
    refused("INVALID_PARAMETER_VALUE", client.search_runs, [experiment], "metrics.acc = 'x'")
    refused("INVALID_PARAMETER_VALUE", client.search_runs, [experiment], max_results=50_001)
    table = mlflow.search_runs([experiment], "tags.kind = 'even'")
    assert len(table) == 13 and "metrics.acc" in table.columns


@part
def fluent(_client, _url):
    mlflow.set_experiment(f"fluent-{SUFFIX}")
    with mlflow.start_run(run_name="outer") as outer:
        mlflow.log_params({"a": 1, "b": "x"})
        mlflow.log_metrics({"m": 1.0, "n": 2.0}, step=1)
        mlflow.set_tags({"c": "d"})
        mlflow.log_text("hello", "notes/hello.txt")
        mlflow.log_dict({"k": [1, 2]}, "k.json")
        with mlflow.start_run(nested=True) as inner:
            mlflow.log_metric("m", 3)
    assert mlflow.get_run(inner.info.run_id).data.tags["mlflow.parentRunId"] == outer.info.run_id
    done = mlflow.get_run(outer.info.run_id)
    assert done.info.status == "FINISHED" and done.data.params == {"a": "1", "b": "x"}
    import pandas

    with mlflow.start_run() as run:
        data = mlflow.data.from_pandas(pandas.DataFrame({"x": [1, 2, 3]}), name="numbers")
        mlflow.log_input(data, context="training")
    inputs = mlflow.get_run(run.info.run_id).inputs.dataset_inputs
    assert [i.dataset.name for i in inputs] == ["numbers"] and inputs[0].tags[0].value == "training"
    found = mlflow.search_runs(filter_string="datasets.name = 'numbers' AND dataset.context = 'training'")
    assert list(found.run_id) == [run.info.run_id]


@part
def artifacts(client, url):
    run = client.create_run("0")
    id = run.info.run_id
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "sub").mkdir()
        (folder / "a b.txt").write_text("one")
        (folder / "sub" / "é.bin").write_bytes(bytes(range(256)) * 20_000)
        client.log_artifacts(id, str(folder), "data")
        assert [(f.path, f.is_dir) for f in client.list_artifacts(id)] == [("data", True)]
        listed = {f.path: f.file_size for f in client.list_artifacts(id, "data")}
        assert listed == {"data/a b.txt": 3, "data/sub": None}, listed
        back = pathlib.Path(client.download_artifacts(id, "data"))
        assert (back / "a b.txt").read_text() == "one"
        assert (back / "sub" / "é.bin").read_bytes() == (folder / "sub" / "é.bin").read_bytes()
    client.log_text(id, "two", "data/a b.txt")
    assert mlflow.artifacts.load_text(f"runs:/{id}/data/a b.txt") == "two"
    root = f"{url}/api/2.0/mlflow-artifacts/artifacts/0/{id}/artifacts"
    got = requests.get(f"{root}/data/a%20b.txt", headers={"Range": "bytes=1-"})
    assert got.status_code == 206 and got.text == "wo"
    assert got.headers["Content-Disposition"].startswith("attachment")
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    assert requests.get(f"{root}/nothing").status_code == 404
    for path in ["..%2f..%2fx", "%2e%2e/x", "%252e%252e%252fx", "a%5c..%5cx"]:
        session = requests.Session()
        prepared = requests.Request("PUT", root, data=b"x").prepare()
        prepared.url = f"{root}/{path}"
        assert session.send(prepared).status_code in (400, 404), path


@part
def logged_models(client, _url):
    import numpy
    from sklearn.linear_model import LogisticRegression

    mlflow.set_experiment(f"models-{SUFFIX}")
    x = numpy.array([[0.0], [1.0], [2.0], [3.0]])
    model = LogisticRegression().fit(x, [0, 0, 1, 1])
    name = f"delay-{SUFFIX}"
    with mlflow.start_run() as run:
        mlflow.log_metric("auc", 0.75)
        signature = mlflow.models.infer_signature(x, model.predict(x))
        info = mlflow.sklearn.log_model(model, name="model", signature=signature, registered_model_name=name)
    expected = list(model.predict(x))
    assert list(mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model").predict(x)) == expected
    assert list(mlflow.pyfunc.load_model(info.model_uri).predict(x)) == expected
    client.set_registered_model_alias(name, "champion", "1")
    assert list(mlflow.pyfunc.load_model(f"models:/{name}@champion").predict(x)) == expected
    assert list(mlflow.pyfunc.load_model(f"models:/{name}/1").predict(x)) == expected
    assert list(mlflow.pyfunc.load_model(f"models:/{name}/latest").predict(x)) == expected
    again = mlflow.register_model(f"runs:/{run.info.run_id}/model", name)
    assert again.version == "2"
    logged = mlflow.get_logged_model(info.model_id)
    assert logged.status.name == "READY" and [m.key for m in logged.metrics] == ["auc"]
    found = mlflow.search_logged_models(
        experiment_ids=[run.info.experiment_id], filter_string="metrics.auc > 0.5", output_format="list"
    )
    assert [m.model_id for m in found] == [info.model_id]
    assert [o.model_id for o in client.get_run(run.info.run_id).outputs.model_outputs] == [info.model_id]


@part
def registry(client, _url):
    name = f"reg-{SUFFIX}"
    run = client.create_run("0")
    client.log_text(run.info.run_id, "x", "model/MLmodel")
    source = f"{run.info.artifact_uri}/model"
    client.create_registered_model(name, tags={"a": "b"}, description="first")
    refused("RESOURCE_ALREADY_EXISTS", client.create_registered_model, name)
    refused("RESOURCE_DOES_NOT_EXIST", client.get_registered_model, "nobody-" + SUFFIX)
    one = client.create_model_version(name, source, run.info.run_id)
    two = client.create_model_version(name, source, run.info.run_id, description="second")
    assert (one.version, two.version, two.status) == ("1", "2", "READY")
    assert client.get_model_version_download_uri(name, "1") == source
    client.set_registered_model_alias(name, "champion", "1")
    client.set_registered_model_alias(name, "champion", "2")
    assert client.get_model_version_by_alias(name, "champion").version == "2"
    assert client.get_registered_model(name).aliases == {"champion": "2"}
    assert client.search_registered_models(f"name = '{name}'")[0].aliases == {"champion": "2"}
    refused("INVALID_PARAMETER_VALUE", client.set_registered_model_alias, name, "v3", "1")
    client.set_model_version_tag(name, "1", "k", "v")
    found = client.search_model_versions(f"name = '{name}' AND tags.k = 'v'")
    assert [(v.version, v.tags) for v in found] == [("1", {"k": "v"})]
    client.delete_model_version_tag(name, "1", "k")
    client.update_model_version(name, "1", "written")
    assert client.get_model_version(name, "1").description == "written"
    client.transition_model_version_stage(name, "1", "production")
    moved = client.transition_model_version_stage(name, "2", "Production", archive_existing_versions=True)
    assert moved.current_stage == "Production"
    assert client.get_model_version(name, "1").current_stage == "Archived"
    assert [v.version for v in client.get_latest_versions(name, ["Production"])] == ["2"]
    client.delete_model_version(name, "2")
    assert client.get_registered_model(name).aliases == {}
    assert client.create_model_version(name, source, run.info.run_id).version == "3"
    client.rename_registered_model(name, name + "-new")
    assert sorted(v.version for v in client.search_model_versions(f"name = '{name}-new'")) == ["1", "3"]
    for source in ["file:///etc/passwd", "/etc", "mlflow-artifacts:/../../etc", "s3://b/x", "models:/nobody/1"]:
        try:
            client.create_model_version(name + "-new", source)
        except MlflowException as error:
            assert error.get_http_status_code() in (400, 404), source
        else:
            raise AssertionError(source)
    client.delete_registered_model(name + "-new")
    refused("RESOURCE_DOES_NOT_EXIST", client.get_registered_model, name + "-new")


@part
def prompts(_client, _url):
    name = f"prompt-{SUFFIX}"
    mlflow.genai.register_prompt(name, "Say {{word}}", commit_message="first")
    mlflow.genai.register_prompt(name, "Say {{word}} twice")
    assert mlflow.genai.load_prompt(f"prompts:/{name}/1").template == "Say {{word}}"
    mlflow.genai.set_prompt_alias(name, "live", 2)
    assert mlflow.genai.load_prompt(f"prompts:/{name}@live").template == "Say {{word}} twice"


@part
def autolog(client, _url):
    import numpy
    from sklearn.ensemble import RandomForestClassifier

    mlflow.set_experiment(f"autolog-{SUFFIX}")
    mlflow.sklearn.autolog()
    try:
        generator = numpy.random.default_rng(7)
        x = generator.normal(size=(60, 3))
        RandomForestClassifier(n_estimators=5, random_state=7).fit(x, (x[:, 0] > 0).astype(int))
        run = mlflow.last_active_run()
    finally:
        mlflow.sklearn.autolog(disable=True)
        mlflow.end_run()
    run = client.get_run(run.info.run_id)
    assert run.info.status == "FINISHED" and run.data.params["n_estimators"] == "5"
    assert "training_accuracy_score" in run.data.metrics


@part
def refusals(_client, url):
    host = url.split("://")[1]
    get = lambda path, **headers: requests.get(url + path, headers=headers)
    assert get("/health").text == "OK"
    major, minor = get("/version").text.split(".")[:2]
    assert (int(major), int(minor)) >= (3, 4)
    assert get("/api/3.0/mlflow/server-info").json()["store_type"] == "SqlStore"
    assert get("/api/2.0/mlflow/nothing").status_code == 404
    by_name = "/ajax-api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"
    assert get(by_name).status_code == 200
    assert get(by_name, Host="evil.example").status_code == 403
    assert get(by_name, Origin="http://evil.example").status_code == 403
    assert get(by_name, Origin=f"http://{host}").status_code == 200
    assert get(by_name, Authorization="Bearer nobody").status_code == 401
    answer = requests.post(f"{url}/api/2.0/mlflow/runs/log-metric", json={"run_id": "x", "key": 5})
    body = json.loads(answer.text)
    assert answer.status_code == 400 and body["error_code"] == "INVALID_PARAMETER_VALUE", body


def main():
    url = sys.argv[1].rstrip("/")
    chosen = sys.argv[2:]
    mlflow.set_tracking_uri(url)
    mlflow.set_registry_uri(url)
    client = MlflowClient()
    for function in PARTS:
        if not chosen or function.__name__ in chosen:
            function(client, url)
            print(f"{function.__name__}: ok", flush=True)


if __name__ == "__main__":
    main()
