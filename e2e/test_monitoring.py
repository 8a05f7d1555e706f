"""Monitors: the checks of what is sent with predictions, by window and by hand."""

import csv
import json
import shutil
from pathlib import Path

import requests
from conftest import Rondo, up
from sklearn.metrics import accuracy_score, f1_score, log_loss, precision_score, recall_score, roc_auc_score

COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]

SUITE = """\
- { column: sepal_length, between: { min: 0, max: 10 } }
- { column: petal_width, not_null: { mostly: 0.99 }, severity: warning, name: width-known }
- { column: petal_length, max: { max: 7 }, severity: info }
"""


def test_what_breaks_the_checks_is_an_alert_until_a_good_window_comes(copy):
    (copy.folder / "live.yaml").write_text(SUITE)
    path = copy.folder / "rondo.yaml"
    text = path.read_text()
    monitor = "iris: { window: 1d, drift: auto, "
    assert monitor in text
    path.write_text(text.replace(monitor, "iris: { window: 1d, drift: off, checks: live.yaml, "))
    # The same suite holds of the data that the model was made from.
    copy("data", "check", "data/iris.csv", "--suite", "live.yaml")
    flowers = [
        {column: float(flower[column]) for column in COLUMNS}
        for flower in csv.DictReader((copy.folder / "data" / "iris.csv").open())
    ]
    broken = [{**flower, "sepal_length": 99.5} for flower in flowers[:3]]
    broken += [{**flower, "petal_width": None} for flower in flowers[3:9]] + flowers[9:]

    with up(copy.folder) as url:
        endpoint = f"{url}/api/v1/endpoints/iris"

        def day(number, rows):
            """A day of requests, and what its window raises."""
            records = [
                {**row, "prediction_id": f"d{number}-{at}",
                 "event_time": f"2024-02-0{number}T{at // 60:02}:{at % 60:02}:00Z"}
                for at, row in enumerate(rows)
            ]
            answer = requests.post(f"{endpoint}/predict", json={"records": records}, timeout=60)
            assert answer.status_code == 200, answer.text
            # The watermark of `up` may have closed the window first: what counts is what is kept of it.
            moved = {"event_time": f"2024-02-0{number + 1}T00:00:00Z"}
            assert requests.post(f"{endpoint}/advance", json=moved, timeout=60).status_code == 200
            report = copy.json("monitor", "report")
            window = report["windows"][-1]
            assert window["window"]["start"] == f"2024-02-0{number}T00:00:00Z", window["window"]
            return window["quality"], report

        quality, report = day(1, flowers)
        assert quality["passed"] and [rule["passed"] for rule in quality["rules"]] == [True] * 3
        assert report["alerts"] == report["standing"] == []

        quality, report = day(2, broken)
        assert (quality["failed"], quality["warnings"], quality["notes"]) == (1, 1, 0)
        length, width, longest = quality["rules"]
        assert [one["prediction"] for one in length["predictions"]] == ["d2-0", "d2-1", "d2-2"]
        assert length["predictions"][0]["value"] == 99.5 and length["unexpected_count"] == 3
        assert width["unexpected_count"] == 6 and longest["observed"] == 6.9
        raised = [(alert["name"], alert["severity"]) for alert in report["alerts"]]
        expected = [("iris.quality.sepal_length.between", "error"), ("iris.quality.width-known", "warning")]
        assert raised == expected
        assert [alert["name"] for alert in report["standing"]] == [name for name, _ in expected]
        assert "2 standing" in copy("status").stdout
        shown = copy("monitor", "report").stdout
        assert "1 failed, 1 warning of 3" in shown and "d2-0" in shown
        metrics = requests.get(f"{url}/metrics", timeout=60).text
        assert 'rondo_monitor_checks_failed{monitor="iris",severity="error"} 1\n' in metrics
        assert 'check="width-known",slice="",severity="warning"} 0.04\n' in metrics
        page = requests.get(f"{url}/report", timeout=60).text
        assert "Checks of the inputs" in page and "sepal_length: between" in page

        quality, report = day(3, flowers)
        assert quality["passed"] and report["standing"] == [] and len(report["alerts"]) == 2
        assert "standing" not in copy("status").stdout
        metrics = requests.get(f"{url}/metrics", timeout=60).text
        assert 'rondo_monitor_checks_failed{monitor="iris",severity="error"} 0\n' in metrics

    # By hand: the newest stretch, an earlier one, another suite.
    assert copy.json("monitor", "check")["passed"]
    earlier = ["monitor", "check", "iris", "--since", "2024-02-02", "--until", "2024-02-03"]
    failed = copy.json(*earlier, "--failing", "bad.csv", code=6)["error"]
    assert failed["code"] == "checks-failed"
    with (copy.folder / "bad.csv").open() as rows:
        assert [row["_prediction"] for row in csv.DictReader(rows)] == [f"d2-{at}" for at in range(9)]
    shown = copy(*earlier, code=6).stdout
    assert "d2-2" in shown and "150 predictions: 1 of 3 checks fails, 1 warning" in shown
    (copy.folder / "other.yaml").write_text("- { sql: \"select * from data\" }\n")
    refused = copy.json("monitor", "check", "--suite", "other.yaml", code=2)["error"]
    assert "an engine for SQL" in json.dumps(refused)


GRADES = """\
project: grades
canvas:
  objectives: [{ metric: f1_macro, min: 0.7, min_rows: 10 }]
data:
  flights: { source: data/grades.csv }
steps:
  train:
    run: cp grades.onnx "$RONDO_OUTPUT_MODEL"
    inputs: [data.flights]
    outputs: { model: model.onnx }
  evaluate:
    uses: evaluate
    with: { target: grade, task: multiclass }
    inputs: [train.model, data.flights]
    outputs: { evaluation: evaluation.json }
models:
  grade: { from: train.model, task: multiclass, target: grade, evaluation: evaluate }
serve:
  first: { model: grade@champion }
  second: { model: grade@champion }
monitor:
  first: { window: 1d, ground_truth: { max_delay: 1d }, min_rows: 5 }
  second: { window: 1d, drift: off, ground_truth: { max_delay: 1d }, min_rows: 5 }
"""
CLASSES = ["early", "late", "ok"]


def test_several_classes_are_measured_as_scikit_learn_does_at_each_endpoint_by_its_own_truth(tmp_path):
    made = Path(__file__).parent.parent / "packages" / "evaluate" / "tests"
    rondo = Rondo(tmp_path)
    (tmp_path / "data").mkdir()
    header, *lines = (made / "grades.csv").read_text().splitlines()
    # Drift is told of no fewer than a hundred rows.
    (tmp_path / "data" / "grades.csv").write_text("\n".join([header, *lines * 3, ""]))
    shutil.copy(made / "grades.onnx", tmp_path)
    (tmp_path / "rondo.yaml").write_text(GRADES)
    rondo("run")
    flights = list(csv.DictReader((tmp_path / "data" / "grades.csv").open()))
    number = {"distance": float, "delay": float, "hour": int}
    records = [
        {**{column: read(flight[column]) if flight[column] else None for column, read in number.items()},
         "carrier": flight["carrier"], "origin": flight["origin"],
         "prediction_id": str(at), "event_time": f"2024-02-01T10:{at % 60:02}:00Z"}
        for at, flight in enumerate(flights)
    ]
    turned = {"early": "late", "late": "ok", "ok": "early"}
    told = {"first": [flight["grade"] for flight in flights]}
    told["second"] = [turned[grade] for grade in told["first"]]

    def truths(labels):
        return {"truths": [
            {"prediction_id": str(at), "label": label, "event_time": "2024-02-01T20:00:00Z"}
            for at, label in enumerate(labels)
        ]}

    with up(tmp_path) as url:
        def post(endpoint, verb, body):
            return requests.post(f"{url}/api/v1/endpoints/{endpoint}/{verb}", json=body, timeout=60)

        for endpoint, labels in told.items():
            answer = post(endpoint, "predict", {"records": records})
            assert answer.status_code == 200, answer.text
            answers = answer.json()["predictions"]
            said = [one["label"] for one in answers]
            again = post(endpoint, "invocations", {"records": records[:3]}).json()["predictions"]
            tried = post(endpoint, "predict?dry_run=true", {"records": records[:3]}).json()["predictions"]
            assert again == tried == answers[:3]
            refused = post(endpoint, "truth", truths([*labels[:-1], "never"]))
            assert refused.status_code == 400 and "classes of `grade`: early, late, ok" in refused.json()["message"]
            refused = post(endpoint, "truth", truths([None]))
            assert (refused.status_code, refused.json()["code"]) == (400, "request-invalid")
            # The same ids at the other endpoint have truths of their own.
            answer = post(endpoint, "truth", truths(labels))
            assert answer.json() == {"acknowledged": len(labels)}, answer.text
            assert post(endpoint, "truth", truths([turned[labels[0]]])).status_code == 409
            moved = post(endpoint, "advance", {"event_time": "2024-02-04T00:00:00Z"})
            assert moved.status_code == 200, moved.text
        page = requests.get(f"{url}/report", timeout=10).text
        assert "f1 macro" in page and "accuracy" in page

    listed = rondo.json("monitor", "predictions", "first", "-n", "1000")["predictions"]
    logged = {one["prediction_id"]: one["probabilities"] for one in listed}
    assert [one["probabilities"] for one in answers] == [logged[str(at)] for at in range(len(flights))]
    shares = [[logged[str(at)][name] for name in CLASSES] for at in range(len(flights))]
    for endpoint, labels in told.items():
        report = rondo.json("monitor", "report", endpoint)
        window = report["windows"][0]
        found = {metric["name"]: metric["value"] for metric in window["evaluation"]["metrics"]}
        expected = {
            "accuracy": accuracy_score(labels, said),
            "log_loss": log_loss(labels, shares, labels=CLASSES),
            "roc_auc_ovr": roc_auc_score(labels, shares, multi_class="ovr", labels=CLASSES),
        }
        scores = {"precision": precision_score, "recall": recall_score, "f1": f1_score}
        for name, score in scores.items():
            for average in ["macro", "weighted"]:
                expected[f"{name}_{average}"] = score(labels, said, average=average, zero_division=0)
        for name, value in expected.items():
            assert abs(found[name] - value) < 1e-6, (name, found[name], value)
        assert window["evaluation"]["confusion"]["labels"] == CLASSES
        drift = {one["column"]: one for one in window["drift"]}
        assert ("prediction" in drift) == (endpoint == "first")
        if endpoint == "first":
            assert not drift["prediction"]["drifted"] and "`late`" in drift["prediction"]["detail"], drift
        missed = [alert["name"] for alert in report["alerts"]]
        assert missed == ([] if endpoint == "first" else ["second.objective.0"])
    assert "f1_macro 0." in rondo("monitor", "report", "first").stdout

    # An id is that of an endpoint.
    asked = rondo.json("trace", "7", code=2)["error"]
    assert "`first`, `second`" in asked["message"]
    assert asked["hints"] == ["say which: rondo trace 7 --endpoint first"]
    for arguments in [("7", "--endpoint", "second"), ("second/7",)]:
        hops = rondo.json("trace", *arguments)["hops"]
        assert [hop["title"] for hop in hops[:3]] == ["7", "second", "grade 1"], hops[:3]
    missing = rondo.json("trace", "7000", "--endpoint", "second", code=3)["error"]
    assert "second/7000" in missing["message"]

    # Another task than the model's own is told before anything is served.
    path = tmp_path / "rondo.yaml"
    path.write_text(path.read_text().replace("task: multiclass, target: grade,", "task: regression, target: distance,")
                    .replace("metric: f1_macro, min: 0.7", "metric: rmse, max: 7"))
    told = rondo.json("up", "--listen", "127.0.0.1:0", code=None)["error"]
    assert "`task: regression`, and it has 3 classes: early, late, ok" in json.dumps(told)
