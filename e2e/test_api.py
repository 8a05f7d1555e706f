"""`/api/v1` of the tracking server: what people's pages are made of."""

import json
import threading

import pytest
import requests
from test_admin import serve


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("api") / "store") as client:
        yield client


def get(client, path, code=200, **query):
    answer = requests.get(f"{client.url}/api/v1{path}", params=query, timeout=60)
    assert answer.status_code == code, answer.text
    return answer.json()


def logged(client, experiment, metrics=(), params=(), name="r"):
    run = client.post("/runs/create", experiment_id=experiment, run_name=name)["run"]["info"]["run_id"]
    client.post(
        "/runs/log-batch", run_id=run,
        metrics=[{"key": k, "value": v, "timestamp": s * 10, "step": s} for k, s, v in metrics],
        params=[{"key": k, "value": v} for k, v in params],
    )
    return run


def test_a_table_has_its_columns_and_a_catalogue_says_which_there_are(client):
    experiment = client.post("/experiments/create", name="tables")["experiment_id"]
    runs = [logged(client, experiment, [("loss", 1, loss)], [("depth", str(i))]) for i, loss in enumerate([0.5, 0.25, 0.75])]
    table = get(
        client, "/runs", experiment=experiment, column=["metrics.loss", "params.depth", "status"],
        order_by="metrics.loss", limit=2,
    )
    assert table["runs"] == [runs[1], runs[0]]
    assert [column["values"] for column in table["columns"]] == [[0.25, 0.5], ["1", "0"], ["RUNNING"] * 2]
    rest = get(client, "/runs", experiment=experiment, order_by="metrics.loss", limit=2, page=table["next_page"])
    assert (rest["runs"], rest["columns"]) == ([runs[2]], [])
    columns = get(client, f"/experiments/{experiment}/columns", kind="metric", containing="LO")
    assert columns["columns"] == [{"key": "loss", "runs": 3}]
    tags = get(client, f"/experiments/{experiment}/columns", kind="param", limit=1)
    assert tags["columns"] == [{"key": "depth", "runs": 3}]
    assert "tables" in [found["name"] for found in get(client, "/experiments")["experiments"]]


def test_a_long_series_is_a_few_buckets_and_no_spike_is_lost(client):
    run = logged(client, "0")
    for start in range(0, 5000, 1000):
        points = [("m", step, 9.0 if step == 1234 else 1.0) for step in range(start, start + 1000)]
        client.post(
            "/runs/log-batch", run_id=run,
            metrics=[{"key": k, "value": v, "timestamp": s, "step": s} for k, s, v in points],
        )
    series = get(client, f"/runs/{run}/series", metric="m", points=50)
    assert (series["points"], len(series["step"]), sum(series["count"])) == (5000, 50, 5000)
    assert max(series["max"]) == 9.0 and series["step"][-1] == 4999
    part = get(client, f"/runs/{run}/series", metric="m", points=50, **{"from": 1230, "to": 1239})
    assert part["max"] == [1.0] * 4 + [9.0] + [1.0] * 5


def test_runs_stand_side_by_side(client):
    a = logged(client, "0", [("loss", 1, 0.5)], [("depth", "3"), ("seed", "1")])
    b = logged(client, "0", [("loss", 1, 0.25)], [("depth", "5"), ("seed", "1")])
    compared = get(client, "/runs/compare", run=[a, b])
    assert [run["id"] for run in compared["runs"]] == [a, b]
    rows = {row["key"]: (row["same"], row["values"]) for row in compared["rows"]}
    assert rows["depth"] == (False, ["3", "5"])
    assert rows["seed"] == (True, ["1", "1"])
    assert rows["loss"] == (False, [0.5, 0.25])


def test_a_run_is_seen_as_it_goes_on(client):
    run = logged(client, "0", [("loss", 1, 0.5)])
    seen, first = [], threading.Event()

    def watch():
        with requests.get(f"{client.url}/api/v1/runs/{run}/events", stream=True, timeout=60) as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            name = None
            for line in answer.iter_lines(decode_unicode=True):
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    seen.append((name, json.loads(line.removeprefix("data: "))))
                    if name == "status":
                        first.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert first.wait(20)
    client.post("/runs/log-metric", run_id=run, key="loss", value=0.25, timestamp=20, step=2)
    client.post("/runs/update", run_id=run, status="FINISHED", end_time=30)
    watcher.join(20)
    assert not watcher.is_alive(), "the stream ends with the run"
    assert seen[0] == ("metric", {"key": "loss", "step": 1, "time": 10, "value": 0.5})
    assert ("status", {"status": "RUNNING", "ended": None}) in seen
    assert ("metric", {"key": "loss", "step": 2, "time": 20, "value": 0.25}) in seen
    assert seen[-2:] == [("status", {"status": "FINISHED", "ended": 30}), ("end", {})]


def test_a_server_that_ends_ends_its_streams(tmp_path):
    with serve(tmp_path / "store") as client:
        run = logged(client, "0")
        answer = requests.get(f"{client.url}/api/v1/runs/{run}/events", stream=True, timeout=60)
        lines = answer.iter_lines(decode_unicode=True)
        assert next(lines) == "event: status"
    # A connection that was cut would raise here.
    assert "event: end" not in list(lines)


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("/experiments/0/columns", {"kind": "nonsense"}, 400),
        ("/experiments/0/columns", {"kind": "tag", "limt": 5}, 400),
        ("/runs", {"colunm": "status"}, 400),
        ("/runs", {"column": "metrics."}, 400),
        ("/runs", {"limit": "many"}, 400),
        ("/runs", {"page": "x"}, 400),
        ("/runs/compare", {}, 400),
        ("/runs/none/series", {"metric": "m"}, 404),
        ("/runs/none/events", {}, 404),
        ("/experiments/77/columns", {"kind": "metric"}, 404),
    ],
)
def test_what_cannot_be_understood_is_the_callers_to_mend(client, path, query, code):
    assert get(client, path, code=code, **query)["message"]
