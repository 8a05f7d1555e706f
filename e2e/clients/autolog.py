#!/usr/bin/env python3
"""Autologging of four libraries against a server; each that is installed is tried.

    python autolog.py http://127.0.0.1:5000 sklearn lightgbm xgboost keras
"""

import os
import sys

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("KERAS_BACKEND", "jax")

import mlflow
import numpy
from mlflow import MlflowClient

MAJOR = int(mlflow.__version__.split(".")[0])
GENERATOR = numpy.random.default_rng(7)
X = GENERATOR.normal(size=(80, 3)).astype("float32")
Y = (X[:, 0] > 0).astype(int)


def logged(client):
    """The run of the fit, finished, with its model."""
    run = client.get_run(mlflow.last_active_run().info.run_id)
    assert run.info.status == "FINISHED", run.info
    if MAJOR >= 3:
        (output,) = run.outputs.model_outputs
        model = mlflow.get_logged_model(output.model_id)
        assert model.status.name == "READY" and model.source_run_id == run.info.run_id
        return run, f"models:/{output.model_id}"
    assert "mlflow.log-model.history" in run.data.tags
    return run, f"runs:/{run.info.run_id}/model"


def sklearn(client):
    from sklearn.ensemble import RandomForestClassifier

    mlflow.sklearn.autolog(log_input_examples=True)
    RandomForestClassifier(n_estimators=5, random_state=7).fit(X, Y)
    run, uri = logged(client)
    assert run.data.params["n_estimators"] == "5" and run.data.metrics["training_accuracy_score"] > 0.9
    assert run.inputs.dataset_inputs, "the training data are an input"
    assert "estimator.html" in [f.path for f in client.list_artifacts(run.info.run_id)]
    assert len(mlflow.pyfunc.load_model(uri).predict(X)) == 80


def lightgbm(client):
    import lightgbm as library

    mlflow.lightgbm.autolog()
    data = library.Dataset(X, Y)
    settings = {"objective": "binary", "verbose": -1, "min_data_in_leaf": 2}
    library.train(settings, data, num_boost_round=4, valid_sets=[data], valid_names=["train"])
    run, uri = logged(client)
    assert run.data.params["num_boost_round"] == "4"
    assert len(client.get_metric_history(run.info.run_id, "train-binary_logloss")) == 4
    assert len(mlflow.pyfunc.load_model(uri).predict(X)) == 80


def xgboost(client):
    import xgboost as library

    mlflow.xgboost.autolog()
    data = library.DMatrix(X, Y)
    library.train({"objective": "binary:logistic"}, data, num_boost_round=4, evals=[(data, "train")], verbose_eval=False)
    run, uri = logged(client)
    assert run.data.params["num_boost_round"] == "4"
    assert len(client.get_metric_history(run.info.run_id, "train-logloss")) == 4
    assert len(mlflow.pyfunc.load_model(uri).predict(X)) == 80


def keras(client):
    import keras as library

    mlflow.keras.autolog()
    model = library.Sequential([library.Input((3,)), library.layers.Dense(4, activation="relu"), library.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse", metrics=["mae"])
    model.fit(X, Y.astype("float32"), epochs=3, batch_size=16, verbose=0)
    run, uri = logged(client)
    assert run.data.params["epochs"] == "3"
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 3
    assert "model_summary.txt" in [f.path for f in client.list_artifacts(run.info.run_id)]
    assert mlflow.pyfunc.load_model(uri).predict(X).shape == (80, 1)


def main():
    mlflow.set_tracking_uri(sys.argv[1].rstrip("/"))
    client = MlflowClient()
    for name in sys.argv[2:]:
        mlflow.set_experiment(f"autolog-{name}")
        {"sklearn": sklearn, "lightgbm": lightgbm, "xgboost": xgboost, "keras": keras}[name](client)
        mlflow.autolog(disable=True)
        getattr(mlflow, name).autolog(disable=True)
        mlflow.end_run()
        print(f"{name}: ok", flush=True)


if __name__ == "__main__":
    main()
