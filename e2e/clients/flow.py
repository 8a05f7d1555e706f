#!/usr/bin/env python3
"""What people do with the MLflow client, in any of its versions: one script, unchanged from 2.22 on.

    python flow.py http://127.0.0.1:5000 [PART...]

Each part prints its name and `ok`; the first surprise ends the script with exit code 1.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import uuid

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MPLBACKEND", "agg")

import mlflow
import numpy
import pandas
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

SUFFIX = uuid.uuid4().hex[:8]
MAJOR = int(mlflow.__version__.split(".")[0])
PARTS = []


def part(function):
    PARTS.append(function)
    return function


def named(name):
    """`log_model`'s name, which was `artifact_path` before 3.0."""
    return {"name": name} if MAJOR >= 3 else {"artifact_path": name}


def fitted():
    from sklearn.linear_model import LogisticRegression

    x = pandas.DataFrame({"a": [0.0, 1.0, 2.0, 3.0]})
    model = LogisticRegression().fit(x, [0, 0, 1, 1])
    return x, model, list(model.predict(x))


@part
def experiments(client):
    name = f"flow-{SUFFIX}"
    made = mlflow.set_experiment(name)
    assert mlflow.set_experiment(name).experiment_id == made.experiment_id
    assert mlflow.get_experiment_by_name(name).experiment_id == made.experiment_id
    mlflow.set_experiment_tag("team", "a")
    assert mlflow.get_experiment(made.experiment_id).tags["team"] == "a"
    found = mlflow.search_experiments(filter_string=f"name = '{name}'")
    assert [e.experiment_id for e in found] == [made.experiment_id]
    other = mlflow.create_experiment(name + "-2", tags={"x": "y"})
    client.rename_experiment(other, name + "-3")
    mlflow.delete_experiment(other)
    client.restore_experiment(other)
    assert client.get_experiment(other).name == name + "-3"


@part
def runs(client):
    experiment = mlflow.set_experiment(f"runs-{SUFFIX}").experiment_id
    with mlflow.start_run(run_name="outer", tags={"kind": "flow"}, description="words") as outer:
        mlflow.log_param("depth", 3)
        mlflow.log_params({"a": 1, "b": ""})
        for step in range(20):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_metrics({"m": 1.0, "n": float("nan")}, step=1)
        mlflow.set_tag("one", 1)
        mlflow.set_tags({"two": 2, "three": ""})
        with mlflow.start_run(nested=True, run_name="inner") as inner:
            mlflow.log_metric("loss", 0.25)
    run = mlflow.get_run(outer.info.run_id)
    assert run.info.status == "FINISHED" and run.info.end_time >= run.info.start_time
    assert run.data.params == {"depth": "3", "a": "1", "b": ""}
    assert run.data.metrics["loss"] == 0.05 and run.data.tags["mlflow.note.content"] == "words"
    assert mlflow.get_run(inner.info.run_id).data.tags["mlflow.parentRunId"] == outer.info.run_id
    assert [m.step for m in client.get_metric_history(outer.info.run_id, "loss")] == list(range(20))
    batch = client.create_run(experiment)
    id = batch.info.run_id
    client.log_batch(id, [Metric("x", float(i), i, i) for i in range(500)], [Param("p", "1")], [RunTag("t", "1")])
    client.log_batch(id, [Metric("x", float(i), i, i) for i in range(500, 1000)])
    assert len(client.get_metric_history(id, "x")) == 1000
    client.set_terminated(id, "KILLED")
    found = mlflow.search_runs([experiment], "metrics.loss < 0.1 AND tags.kind = 'flow' AND params.depth = '3'")
    assert list(found.run_id) == [outer.info.run_id] and found["params.depth"][0] == "3"
    found = client.search_runs([experiment], order_by=["metrics.loss DESC"], max_results=1)
    assert found[0].info.run_id == inner.info.run_id and found.token
    mlflow.delete_run(inner.info.run_id)
    assert client.get_run(inner.info.run_id).info.lifecycle_stage == "deleted"
    try:
        with mlflow.start_run(run_name="broken"):
            raise ValueError("on purpose")
    except ValueError:
        pass
    assert mlflow.last_active_run().info.status == "FAILED"
    with mlflow.start_run(run_id=outer.info.run_id):
        mlflow.log_param("later", True)
    assert mlflow.get_run(outer.info.run_id).data.params["later"] == "True"


@part
def inputs(_client):
    mlflow.set_experiment(f"inputs-{SUFFIX}")
    with mlflow.start_run() as run:
        data = mlflow.data.from_pandas(pandas.DataFrame({"x": [1, 2, 3]}), name="numbers", targets="x")
        mlflow.log_input(data, context="training", tags={"more": "words"})
        mlflow.log_input(mlflow.data.from_numpy(numpy.arange(6).reshape(2, 3), name="array"), context="test")
    inputs = mlflow.get_run(run.info.run_id).inputs.dataset_inputs
    assert sorted(i.dataset.name for i in inputs) == ["array", "numbers"]
    assert json.loads(next(i for i in inputs if i.dataset.name == "numbers").dataset.profile)["num_rows"] == 3


@part
def artifacts(client):
    import matplotlib.pyplot as plots
    from PIL import Image

    mlflow.set_experiment(f"artifacts-{SUFFIX}")
    with mlflow.start_run() as run, tempfile.TemporaryDirectory() as folder:
        mlflow.log_text("hello", "notes/hello.txt")
        mlflow.log_dict({"k": [1, 2]}, "k.json")
        mlflow.log_dict({"k": [1, 2]}, "k.yaml")
        figure, axes = plots.subplots()
        axes.plot([0, 1], [2, 3])
        mlflow.log_figure(figure, "plots/line.png")
        pixels = numpy.zeros((10, 10, 3), dtype=numpy.uint8)
        mlflow.log_image(pixels, "black.png")
        mlflow.log_image(Image.new("RGB", (10, 10)), key="dog", step=25, timestamp=100, synchronous=True)
        mlflow.log_table({"q": ["a", "b"], "n": [1, 2]}, "table.json")
        mlflow.log_table({"q": ["c"], "n": [3]}, "table.json")
        folder = pathlib.Path(folder)
        (folder / "sub").mkdir()
        (folder / "a b.txt").write_text("one")
        (folder / "sub" / "é.bin").write_bytes(bytes(range(256)) * 5000)
        (folder / "empty").touch()
        mlflow.log_artifact(str(folder / "a b.txt"))
        mlflow.log_artifacts(str(folder), "all")
    id = run.info.run_id
    top = {f.path for f in client.list_artifacts(id)}
    assert {"notes", "k.json", "k.yaml", "plots", "black.png", "images", "table.json", "a b.txt", "all"} <= top, top
    assert mlflow.artifacts.load_text(f"runs:/{id}/notes/hello.txt") == "hello"
    assert mlflow.artifacts.load_dict(f"runs:/{id}/k.json") == {"k": [1, 2]}
    assert mlflow.artifacts.load_image(f"runs:/{id}/black.png").size == (10, 10)
    assert list(mlflow.load_table("table.json", run_ids=[id])["n"]) == [1, 2, 3]
    images = client.list_artifacts(id, "images")
    assert images and all(f.path.startswith("images/dog") for f in images), images
    for file in images:
        assert pathlib.Path(client.download_artifacts(id, file.path)).stat().st_size == file.file_size
    back = pathlib.Path(mlflow.artifacts.download_artifacts(run_id=id, artifact_path="all"))
    assert (back / "sub" / "é.bin").read_bytes() == bytes(range(256)) * 5000
    assert (back / "empty").read_bytes() == b""
    assert (pathlib.Path(client.download_artifacts(id, "")) / "a b.txt").read_text() == "one"


@part
def models(client):
    mlflow.set_experiment(f"models-{SUFFIX}")
    x, model, expected = fitted()
    name = f"model-{SUFFIX}"
    with mlflow.start_run() as run:
        mlflow.log_metric("auc", 0.75)
        signature = mlflow.models.infer_signature(x, model.predict(x))
        info = mlflow.sklearn.log_model(
            model, signature=signature, input_example=x, registered_model_name=name, **named("model")
        )
    id = run.info.run_id
    if MAJOR < 3:
        (history,) = json.loads(client.get_run(id).data.tags["mlflow.log-model.history"])
        assert history["artifact_path"] == "model" and history["run_id"] == id
    uris = [f"runs:/{id}/model", info.model_uri, f"models:/{name}/1", f"models:/{name}/latest"]
    again = mlflow.register_model(f"runs:/{id}/model", name)
    assert again.version == "2" and again.run_id == id
    client.set_registered_model_alias(name, "champion", "2")
    uris.append(f"models:/{name}@champion")
    client.transition_model_version_stage(name, "1", "Staging")
    uris.append(f"models:/{name}/Staging")
    if MAJOR >= 3:
        uris.append(f"models:/{info.model_id}")
        logged = mlflow.get_logged_model(info.model_id)
        assert logged.status.name == "READY" and [m.key for m in logged.metrics] == ["auc"]
        found = mlflow.search_logged_models([run.info.experiment_id], "metrics.auc > 0.5", output_format="list")
        assert [m.model_id for m in found] == [info.model_id]
        versions = json.loads(logged.tags["mlflow.modelVersions"])
        assert {int(v["version"]) for v in versions} == {1, 2}, versions
    for uri in uris:
        assert list(mlflow.pyfunc.load_model(uri).predict(x)) == expected, uri
    assert list(mlflow.sklearn.load_model(f"models:/{name}@champion").predict(x)) == expected
    assert mlflow.models.get_model_info(f"models:/{name}/1").signature == signature
    try:
        mlflow.pyfunc.load_model(f"models:/{name}@nobody")
    except MlflowException as error:
        assert "not found" in str(error)
    else:
        raise AssertionError("an alias that is not there")


@part
def registry(client):
    name = f"registry-{SUFFIX}"
    client.create_registered_model(name, tags={"a": "b"}, description="first")
    run = client.create_run("0")
    client.log_text(run.info.run_id, "x", "model/MLmodel")
    source = f"{run.info.artifact_uri}/model"
    one = client.create_model_version(name, source, run.info.run_id, tags={"k": "v"})
    client.create_model_version(name, source, run.info.run_id, description="second")
    assert one.version == "1" and client.get_model_version_download_uri(name, "1") == source
    client.set_model_version_tag(name, "2", "k", "w")
    assert [v.version for v in client.search_model_versions(f"name = '{name}' AND tags.k = 'w'")] == ["2"]
    client.set_registered_model_tag(name, "c", "d")
    assert client.get_registered_model(name).tags == {"a": "b", "c": "d"}
    client.set_registered_model_alias(name, "live", "1")
    assert client.get_model_version_by_alias(name, "live").version == "1"
    moved = client.transition_model_version_stage(name, "2", "Production", archive_existing_versions=True)
    assert moved.current_stage == "Production"
    assert [v.version for v in client.get_latest_versions(name, ["Production"])] == ["2"]
    copied = client.copy_model_version(f"models:/{name}@live", name + "-copy")
    assert (copied.version, copied.source) == ("1", f"models:/{name}/1")
    assert client.get_model_version_download_uri(name + "-copy", "1") == source
    client.rename_registered_model(name, name + "-new")
    client.delete_model_version(name + "-new", "1")
    client.delete_registered_model(name + "-new")
    assert name + "-copy" in [m.name for m in client.search_registered_models(f"name LIKE '%{SUFFIX}%'")]


@part
def prompts(_client):
    genai = getattr(mlflow, "genai", mlflow) if MAJOR >= 3 else mlflow
    name = f"prompt-{SUFFIX}"
    genai.register_prompt(name, "Say {{word}}", commit_message="first")
    genai.register_prompt(name, "Say {{word}} twice")
    assert genai.load_prompt(f"prompts:/{name}/1").template == "Say {{word}}"
    genai.set_prompt_alias(name, "live", 2)
    assert genai.load_prompt(f"prompts:/{name}@live").format(word="x") == "Say x twice"


@part
def command_line(client):
    environment = {**os.environ, "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()}

    def command(*args):
        done = subprocess.run(
            [sys.executable, "-m", "mlflow", *args], env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{args}: {done.stdout}\n{done.stderr}"
        return done.stdout

    mlflow.set_experiment(f"models-cli-{SUFFIX}")
    x, model, expected = fitted()
    with mlflow.start_run() as run:
        mlflow.sklearn.log_model(model, input_example=x, registered_model_name=f"cli-{SUFFIX}", **named("model"))
    assert run.info.run_id in command("runs", "list", "--experiment-id", run.info.experiment_id)
    with tempfile.TemporaryDirectory() as folder:
        csv = pathlib.Path(folder) / "x.csv"
        x.to_csv(csv, index=False)
        out = command(
            "models", "predict", "-m", f"models:/cli-{SUFFIX}/1", "--env-manager", "local", "-i", str(csv), "-t", "csv"
        )
        assert json.loads(out[out.index("{"):])["predictions"] == [int(y) for y in expected], out
        command("artifacts", "download", "-u", f"models:/cli-{SUFFIX}/1", "-d", folder)
        assert list(pathlib.Path(folder).rglob("MLmodel"))


def main():
    url = sys.argv[1].rstrip("/")
    mlflow.set_tracking_uri(url)
    client = MlflowClient()
    for function in PARTS:
        if not sys.argv[2:] or function.__name__ in sys.argv[2:]:
            function(client)
            print(f"{function.__name__}: ok", flush=True)


if __name__ == "__main__":
    main()
