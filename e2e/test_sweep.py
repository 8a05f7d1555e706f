"""Sweeps as a user meets them: real scripts and notebooks with the MLflow client, stopped, killed, resumed."""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from conftest import RONDO, Rondo
from test_pipeline import made, outcomes, start, until

TRAIN = f"""#!{sys.executable}
import os, sys, time
import mlflow

rate, depth = float(os.environ["RONDO_PARAM_RATE"]), int(os.environ["RONDO_PARAM_DEPTH"])
open("../ran", "a").write(f"{{depth}}\\n")
final = 1.0 - (depth - 4) ** 2 / 50 - rate / 10
for step in range(1, 10):
    mlflow.log_metric("auc", final * step / 9, step=step)
    time.sleep(float(open("../sleep").read()))
open(os.environ["RONDO_OUTPUT_MODEL"], "w").write(f"depth {{depth}}")
"""

STEPS = """
params: { rate: 0.1, depth: 3 }
steps:
  train:
    run: ./train.py
    params: [rate, depth]
    outputs: { model: model.txt }
    sweep: SWEEP
  score: { run: 'cp $RONDO_INPUT_MODEL $RONDO_OUTPUT_S', inputs: [train.model], outputs: { s: score.txt } }
"""


# The same without a client: quick to start.
PLAIN = f"""#!{sys.executable}
import json, os, time

rate, depth = float(os.environ["RONDO_PARAM_RATE"]), int(os.environ["RONDO_PARAM_DEPTH"])
open("../ran", "a").write(f"{{depth}}\\n")
time.sleep(float(open("../sleep").read()))
json.dump({{"auc": 1.0 - (depth - 4) ** 2 / 50 - rate / 10}}, open(os.environ["RONDO_METRICS"], "w"))
open(os.environ["RONDO_OUTPUT_MODEL"], "w").write(f"depth {{depth}}")
"""


def project(folder, sweep, script=TRAIN):
    steps = STEPS if script is TRAIN else STEPS.replace("    sweep:", "    metrics: m.json\n    sweep:")
    rondo = made(folder, steps.replace("SWEEP", sweep))
    text, script = script, rondo.folder / "train.py"
    slow(folder.parent, 0)
    script.write_text(text)
    script.chmod(0o755)
    return rondo


def slow(folder, seconds):
    """Lets trials take so long; where they are told does not belong to what they are made from."""
    (folder / "sleep").write_text(str(seconds))


def sweep_of(report, step="train"):
    return next(one["sweep"] for one in report["steps"] if one["name"] == step)


def states(sweep):
    return [trial["state"] for trial in sweep["trials"]]


def ran(rondo):
    return (rondo.folder.parent / "ran").read_text().split()


def test_trials_that_fall_behind_are_stopped_and_the_best_flows_on(tmp_path):
    rondo = project(tmp_path / "p", """
      { over: { depth: [4, 9, 3, 12] }, maximize: auc, prune: { min_steps: 2, factor: 4 } }""")
    slow(tmp_path, 0.35)
    report = rondo.json("run", "--jobs", "2")
    assert outcomes(report) == {"train": "ran", "score": "ran"}
    sweep = sweep_of(report)
    by_depth = {trial["values"]["depth"]: trial for trial in sweep["trials"]}
    assert by_depth[4]["state"] == "finished" and by_depth[12]["state"] == "pruned"
    assert sweep["trials"][sweep["best"] - 1]["values"] == {"depth": 4}
    assert (rondo.folder / "score.txt").read_text() == "depth 4"
    assert (rondo.folder / "model.txt").read_text() == "depth 4"

    # The stopped one is killed, and says why; MLflow's client sees it as it sees any run.
    stopped = rondo.json("runs", "show", by_depth[12]["run"])
    assert stopped["run"]["state"] == "killed" and stopped["tags"]["rondo.trial.outcome"] == "pruned"
    cause = stopped["run"]["detail"]["exit"]["cause"]
    assert cause.startswith("pruned: at step 2 its `auc` was"), cause
    assert stopped["metrics"]["auc"] < by_depth[4]["value"]
    top = rondo.json("runs", "show", next(one["run"] for one in report["steps"] if one["name"] == "train"))
    assert top["params"]["depth"] == "4" and top["tags"]["rondo.sweep.best"] == str(sweep["best"])
    assert top["metrics"]["auc"] == pytest.approx(0.99)
    listed = rondo.json("runs", "list", "--filter", "tags.`rondo.trial.outcome` = 'pruned'", "--select", "params.*")
    assert "12" in [run["params"]["depth"] for run in listed["runs"]]

    # Seen later: as a table, as JSON, as a page.
    shown = rondo("pipeline", "sweep", "train", "--html", "sweep.html").stdout
    assert re.search(r"^\* +1 +finished +0\.99", shown, re.M), shown
    page = (rondo.folder / "sweep.html").read_text()
    assert page.count("<polyline") == 4 and "<script" not in page and "http-equiv" in page
    view = rondo.json("pipeline", "sweep", by_depth[12]["run"][:12])["sweep"]
    assert [axis["kind"] for axis in view["dimensions"]] == ["choice", "metric"]
    assert "would not run" in rondo("why", "train").stdout
    assert "cached" in rondo("run").stdout


def test_a_killed_sweep_goes_on_and_equal_trials_stand(tmp_path):
    rondo = project(tmp_path / "p", """
      { strategy: tpe, trials: 8, seed: 5, over: { depth: { int: [1, 30] }, rate: { float: [0.01, 1], log: true } }, maximize: auc }""", PLAIN)
    assert "sweep (tpe) of up to 8 trials over `depth`, `rate` to maximize `auc`" in rondo("run", "-n").stdout
    slow(tmp_path, 0.4)
    process = start(rondo, "run", "--jobs", "2")
    until(lambda: (tmp_path / "ran").exists() and len(ran(rondo)) >= 3, 60)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # Nothing goes on in it any more, and it says so.
    left = rondo.json("pipeline", "sweep", "train")["sweep"]
    assert left["state"] == "killed" and "running" not in left["counts"] and left["counts"]["killed"] >= 1
    done = len([run for run in rondo.json("runs", "list", "--all", "-n", "99")["runs"]
                if run["detail"].get("trial") and run["state"] == "finished"])
    assert done >= 1
    # However soon it was killed: what had ended is in its table, with what it came to.
    assert left["counts"]["finished"] == done and left["best"] is not None
    # Only now, when what was left is surely ended: a process may have begun that had written nothing yet.
    before = ran(rondo)
    slow(tmp_path, 0)
    report = rondo.json("run", "--jobs", "2")
    sweep = sweep_of(report)
    assert len(sweep["trials"]) == 8 and set(states(sweep)) <= {"finished", "cached"}
    assert states(sweep).count("cached") == done
    # What had ended well was not run again; what was under way was, with the same values.
    assert len(ran(rondo)) - len(before) == 8 - done
    # Two more trials are two more runs.
    text = (rondo.folder / "rondo.yaml").read_text()
    (rondo.folder / "rondo.yaml").write_text(text.replace("trials: 8", "trials: 10"))
    sweep = sweep_of(rondo.json("run"))
    assert (states(sweep).count("cached"), states(sweep).count("finished")) == (8, 2)
    # A plain step with the values of a trial is that trial.
    first = sweep["trials"][0]["values"]
    plain = STEPS.replace("sweep: SWEEP", "metrics: m.json")
    (rondo.folder / "rondo.yaml").write_text("project: p\n" + plain)
    report = rondo.json("run", "-p", f"rate={first['rate']}", "-p", f"depth={first['depth']}")
    assert outcomes(report)["train"] == "cached"


def test_failed_trials_and_exhausted_spaces_are_said(tmp_path):
    rondo = made(tmp_path / "p", """
params: { x: 1 }
steps:
  train:
    run: 'test $RONDO_PARAM_X != 3 || exit 5; echo "{\\"loss\\": $RONDO_PARAM_X}" > $RONDO_METRICS'
    metrics: m.json
    sweep: { strategy: random, trials: 50, over: { x: { int: [1, 4] } }, minimize: loss, max_failed: 1 }
""")
    done = rondo("run")
    assert "all 4 combinations were tried" in done.stderr
    table = done.stdout
    assert re.search(r"failed.*it exited with code 5", table) and "best loss 1.000000" in table
    text = (rondo.folder / "rondo.yaml").read_text()
    (rondo.folder / "rondo.yaml").write_text(text.replace("max_failed: 1", "max_failed: 0").replace("echo", "echo  "))
    failed = rondo("run", code=7)
    assert "1 trial failed, and `max_failed` is 0" in failed.stderr + failed.stdout


def test_a_notebook_is_swept_over_its_own_parameters(tmp_path):
    rondo = made(tmp_path / "p", f"""
environments: {{ py: {{ python: ">=3.9", requirements: [ipykernel, numpy] }} }}
steps:
  train:
    uses: papermill
    with: {{ notebook: n.ipynb, parameters: {{ depth: 1, name: fixed }} }}
    environment: py
    outputs: {{ model: model.txt }}
    sweep: {{ over: {{ depth: {{ int: [1, 3] }}, rate: [0.5, 2.0] }}, maximize: score }}
""")
    cell = lambda source, tags=(): {  # noqa: E731
        "cell_type": "code", "metadata": {"tags": list(tags)}, "outputs": [], "execution_count": None,
        "source": source, "id": f"c{abs(hash(source)) % 10**8}",
    }
    notebook = {
        "nbformat": 4, "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "cells": [
            cell("depth = 0\nrate = 1.0\nname = 'x'", ["parameters"]),
            cell("import os\nopen(os.environ['RONDO_OUTPUT_MODEL'], 'w').write(f'{name} {depth} {rate}')"),
            # As NumPy and Python show their scalars and numbers that are none.
            cell("import numpy as np\n{'score': np.float64(depth * rate), 'depth': np.int64(depth), 'loss': np.nan}", ["metrics"]),
        ],
    }
    (rondo.folder / "n.ipynb").write_text(json.dumps(notebook))
    report = rondo.json("run", "--jobs", "2")
    sweep = sweep_of(report)
    assert len(sweep["trials"]) == 6 and set(states(sweep)) == {"finished"}, sweep
    best = next(trial for trial in sweep["trials"] if trial["number"] == sweep["best"])
    assert best["values"] == {"depth": 3, "rate": 2.0} and best["value"] == 6.0
    assert (rondo.folder / "model.txt").read_text() == "fixed 3 2.0"
    # JSON of `runs show` has no NaN.
    assert rondo.json("runs", "show", best["run"])["metrics"] == {"score": 6.0, "depth": 3.0, "loss": "NaN"}
    refused = (rondo.folder / "rondo.yaml").read_text().replace("rate: [0.5", "rat: [0.5")
    (rondo.folder / "rondo.yaml").write_text(refused)
    assert "did you mean `rate`" in rondo("run", code=2).stderr


def test_a_sweep_is_told_by_the_server(tmp_path):
    rondo = made(tmp_path / "p", """
params: { x: 1 }
steps:
  train:
    run: 'echo "{\\"loss\\": $RONDO_PARAM_X}" > $RONDO_METRICS'
    metrics: m.json
    sweep: { over: { x: { int: [1, 3] } }, minimize: loss }
""")
    run = rondo.json("run")["steps"][0]["run"]
    server = subprocess.Popen(
        [RONDO, "server", "--listen", "127.0.0.1:0", "--data", str(rondo.folder / ".rondo"), "--json"],
        stdout=subprocess.PIPE, text=True,
    )
    try:
        url = json.loads(server.stdout.readline())["listen"]
        view = json.load(urllib.request.urlopen(f"{url}/api/v1/runs/{run}/sweep"))
        assert view["best"] == 1 and view["goal"] == "minimize" and view["counts"] == {"finished": 3}
        assert view["dimensions"][0] == {"name": "x", "kind": "int", "scale": "linear", "range": [1.0, 3.0], "step": 1.0}
        assert [line["positions"] for line in view["trials"]] == [[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]]
        page = urllib.request.urlopen(f"{url}/api/v1/runs/{run}/sweep.html")
        assert page.headers["content-type"].startswith("text/html") and b"<polyline" in page.read()
        parent = rondo.json("runs", "show", run)["run"]["parent"]
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{url}/api/v1/runs/{parent}/sweep")
        assert refused.value.code == 404 and "belongs to no sweep" in refused.value.read().decode()
    finally:
        server.terminate()
        server.wait(20)


def test_the_example_of_the_docs_runs(tmp_path):
    text = (Path(__file__).parent.parent / "docs" / "sweeps.md").read_text()
    steps, script = (re.search(f"```{kind}\n(.*?)```", text, re.S)[1] for kind in ("yaml", "python"))
    (tmp_path / "train.py").write_text(script)
    steps = steps.replace("trials: 20", "trials: 2").replace("python train.py", f"{sys.executable} train.py")
    (tmp_path / "rondo.yaml").write_text(steps)
    rondo = Rondo(tmp_path)
    sweep = sweep_of(rondo.json("run", "--jobs", "2"))
    assert states(sweep) == ["finished", "finished"] and sweep["trials"][0]["step"] == 27
    assert (tmp_path / "report.txt").read_text().startswith("depth ")
    assert "best accuracy" in rondo("pipeline", "sweep", "train").stdout
