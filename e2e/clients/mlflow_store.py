"""A tracking store made and read by the real client: `make URI` fills one, `add URI` logs more on it, `dump URI`
writes down all that it holds as JSON, in a form that does not depend on where the store is."""

import hashlib
import json
import math
import os
import sys
import tempfile
import warnings

warnings.filterwarnings("ignore")
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"

import mlflow
from mlflow import MlflowClient
from mlflow.entities import ViewType

NEW = int(mlflow.__version__.split(".")[0]) >= 3


def make():
    import pandas as pd
    from sklearn.linear_model import LogisticRegression

    client = MlflowClient()
    mlflow.set_experiment("iris")
    mlflow.set_experiment_tag("team", "a")
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "y": [0, 1, 0, 1]})
    dataset = mlflow.data.from_pandas(frame, source="local.csv", name="d1", targets="y")
    with mlflow.start_run(run_name="parent", tags={"t/x": "1"}):
        mlflow.log_param("a/b", "x: y\n2nd line")
        mlflow.log_param("empty", "")
        mlflow.set_tag("mlflow.note.content", "# Ü\n\n- 'quoted': \"yes\"\n")
        for step in range(5):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        for name, value in [("nan", math.nan), ("inf", math.inf), ("ninf", -math.inf)]:
            mlflow.log_metric(name, value)
        mlflow.log_input(dataset, context="training")
        mlflow.log_text("hello", "notes/a b.txt")
        with mlflow.start_run(run_name="child", nested=True):
            model = LogisticRegression().fit(frame[["x"]], frame["y"])
            if NEW:
                info = mlflow.sklearn.log_model(
                    model, name="model", serialization_format="pickle", params={"k": "1"},
                    registered_model_name="clf",
                )
                mlflow.log_metric("acc", 0.9, model_id=info.model_id, dataset=dataset)
            else:
                info = mlflow.sklearn.log_model(model, "model", registered_model_name="clf")
                mlflow.log_metric("acc", 0.9)
    mlflow.register_model(info.model_uri, "clf")
    mlflow.register_model(info.model_uri, "clf")
    client.set_registered_model_alias("clf", "champion", 1)
    client.set_registered_model_tag("clf", "o", "p")
    client.set_model_version_tag("clf", "1", "q", "r")
    client.update_registered_model("clf", "about it")
    client.update_model_version("clf", "1", "the first")
    client.transition_model_version_stage("clf", "3", "Production")
    client.delete_model_version("clf", "2")
    if NEW:
        mlflow.genai.register_prompt("hello", "Hi {{name}}", commit_message="m")
    with mlflow.start_run() as run:
        mlflow.log_metric("z", 1)
    client.delete_run(run.info.run_id)
    gone = client.create_experiment("gone")
    client.create_run(gone)
    client.delete_experiment(gone)


def add():
    """What a training that was still under way logs after the store was first imported."""
    client = MlflowClient()
    iris = client.get_experiment_by_name("iris").experiment_id
    run = client.search_runs([iris], "attributes.run_name = 'parent'")[0].info.run_id
    client.log_metric(run, "loss", 0.125, step=9)
    client.log_param(run, "later", "yes")
    # As long as what stood there.
    client.log_text(run, "HELLO", "notes/a b.txt")


def number(value):
    """NaN as text; an infinity as the databases keep it."""
    if math.isnan(value):
        return "nan"
    return max(-sys.float_info.max, min(sys.float_info.max, value))


def files(uri):
    """The files below an artifact URI with their digests."""
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        try:
            mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder)
        except Exception:
            return found
        for root, _, names in os.walk(folder):
            for name in names:
                if name == "registered_model_meta":
                    continue  # written by whoever loads a model
                path = os.path.join(root, name)
                with open(path, "rb") as file:
                    digest = hashlib.sha256(file.read()).hexdigest()
                # The last folder of the URI is the client's own doing.
                inner = os.path.relpath(path, folder).split(os.sep, 1)
                found[inner[-1]] = digest
        return found


def run(client, found):
    info, data = found.info, found.data
    histories = {}
    for key in data.metrics:
        points = [(p.timestamp, p.step, number(p.value)) for p in client.get_metric_history(info.run_id, key)]
        histories[key] = sorted(points, key=str)
    shown = {
        "experiment": info.experiment_id, "name": info.run_name, "user": info.user_id, "status": info.status,
        "start": info.start_time, "end": info.end_time, "stage": info.lifecycle_stage,
        "params": data.params, "tags": data.tags, "histories": histories,
        "metrics": {key: number(value) for key, value in data.metrics.items()},
        "datasets": sorted(
            ({**i.dataset.to_dictionary(), "tags": {t.key: t.value for t in i.tags}}
             for i in found.inputs.dataset_inputs),
            key=lambda dataset: dataset["name"],
        ),
    }
    if NEW:
        shown["models_in"] = sorted(i.model_id for i in found.inputs.model_inputs)
        shown["models_out"] = sorted((o.model_id, o.step) for o in found.outputs.model_outputs)
    if info.lifecycle_stage == "active":
        shown["files"] = files(info.artifact_uri)
    return shown


def logged(model):
    metrics = sorted((m.key, number(m.value), m.step, m.run_id, m.dataset_name) for m in model.metrics or [])
    return {
        "experiment": model.experiment_id, "name": model.name, "status": str(model.status),
        "run": model.source_run_id, "type": model.model_type or "", "params": model.params,
        "tags": {key: value for key, value in model.tags.items() if key != "mlflow.modelVersions"},
        "metrics": metrics, "created": model.creation_timestamp, "files": files(model.artifact_location),
    }


def version(found):
    shown = {
        "created": found.creation_timestamp, "updated": found.last_updated_timestamp,
        "description": found.description or "", "stage": found.current_stage, "run": found.run_id or "",
        "tags": found.tags, "aliases": sorted(found.aliases),
    }
    if "mlflow.prompt.is_prompt" not in found.tags:
        shown["files"] = files(f"models:/{found.name}/{found.version}")
        model = mlflow.pyfunc.load_model(f"models:/{found.name}/{found.version}")
        import pandas as pd

        shown["predicts"] = [int(value) for value in model.predict(pd.DataFrame({"x": [1.0, 4.0]}))]
    return shown


def dump():
    client = MlflowClient()
    experiments = client.search_experiments(view_type=ViewType.ALL)
    ids = [experiment.experiment_id for experiment in experiments]
    runs = client.search_runs(ids, run_view_type=ViewType.ALL)
    held = {
        "experiments": {
            e.experiment_id: {
                "name": e.name, "stage": e.lifecycle_stage, "tags": e.tags,
                "created": e.creation_time if e.experiment_id != "0" else None,
            }
            for e in experiments
        },
        # A search of MLflow's own database leaves the models of a run out.
        "runs": {found.info.run_id: run(client, client.get_run(found.info.run_id)) for found in runs},
        "models": {},
    }
    if NEW:
        active = [e.experiment_id for e in experiments if e.lifecycle_stage == "active"]
        held["logged_models"] = {m.model_id: logged(m) for m in client.search_logged_models(active)}
    models = list(client.search_registered_models(max_results=100))
    if NEW:
        prompts = client.search_registered_models(filter_string="tags.`mlflow.prompt.is_prompt` = 'true'")
        models += [prompt for prompt in prompts if prompt.name not in {model.name for model in models}]
    # The client's own methods leave prompts out.
    registry = client._get_registry_client()
    for model in models:
        found = registry.get_registered_model(model.name)
        numbers = [str(n) for n in range(1, 10)]
        versions = {}
        for n in numbers:
            try:
                versions[n] = version(registry.get_model_version(model.name, n))
            except mlflow.exceptions.MlflowException as error:
                if "not found" not in str(error):
                    raise
        held["models"][model.name] = {
            "description": found.description or "", "created": found.creation_timestamp,
            "tags": found.tags, "aliases": {alias: int(n) for alias, n in found.aliases.items()},
            "versions": versions,
        }
    print(json.dumps(held, indent=1, sort_keys=True))


if __name__ == "__main__":
    mlflow.set_tracking_uri(sys.argv[2])
    for verb in sys.argv[1].split("+"):
        {"make": make, "add": add, "dump": dump}[verb]()
