"""What MLflow's server promises its clients, behaviour by behaviour: over plain HTTP where the answer itself
counts, with the unchanged client where what the client makes of it does."""

import json
import math
import os
import pathlib
import subprocess
import sys

import pytest
import requests
from conftest import RONDO

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

mlflow = pytest.importorskip("mlflow")
from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import (  # noqa: E402
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelInput,
    Metric,
    Param,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException  # noqa: E402

API = "/api/2.0/mlflow/"
AJAX = "/ajax-api/2.0/mlflow/"


def serve(folder):
    process = subprocess.Popen(
        [RONDO, "server", "--listen", "127.0.0.1:0", "--data", str(folder), "--json"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )
    return process, json.loads(process.stdout.readline())["listen"]


@pytest.fixture
def url(tmp_path):
    process, listen = serve(tmp_path / "store")
    yield listen
    process.terminate()
    assert process.wait(timeout=120) == 0


@pytest.fixture
def client(url):
    return MlflowClient(url, url)


@pytest.fixture
def run(client):
    return client.create_run("0").info.run_id


def post(url, path, body, prefix=API):
    return requests.post(url + prefix + path, json=body, timeout=60)


def refused(response, message, code="INVALID_PARAMETER_VALUE", status=400):
    body = response.json()
    assert (response.status_code, body["error_code"]) == (status, code), body
    assert message in response.text, response.text


# ---- experiments -------------------------------------------------------------------------------------


def test_an_experiment_is_found_by_view_and_page(client):
    made = client.create_experiment("mine", tags={"a": "1", "b": "2"})
    assert client.get_experiment(made).tags == {"a": "1", "b": "2"}
    client.delete_experiment(made)

    def names(**more):
        return {e.name for e in client.search_experiments(**more)}

    assert names() == names(view_type=ViewType.ACTIVE_ONLY) == {"Default"}
    assert names(view_type=ViewType.DELETED_ONLY) == {"mine"}
    page = client.search_experiments(max_results=1, view_type=ViewType.ALL)
    rest = client.search_experiments(max_results=1, view_type=ViewType.ALL, page_token=page.token)
    assert {page[0].name, rest[0].name} == {"Default", "mine"} and rest.token is None


def test_experiments_are_told_apart_by_filters_and_come_newest_first(client):
    for name, tags in [("a", {"k": "value"}), ("ab", {"k": "vaLue"}), ("Abc", None)]:
        client.create_experiment(name, tags=tags)

    def names(*args, **more):
        return [e.name for e in client.search_experiments(*args, **more)]

    assert names() == ["Abc", "ab", "a", "Default"]
    assert names(filter_string="attribute.name != 'a'") == ["Abc", "ab", "Default"]
    assert names(filter_string="name LIKE 'a%'") == ["ab", "a"]
    assert names(filter_string="tag.k != 'value'") == ["ab"]
    assert names(filter_string="tag.k ILIKE '%alu%'") == ["ab", "a"]
    assert names(order_by=["name DESC"]) == ["ab", "a", "Default", "Abc"]
    ab = client.get_experiment_by_name("ab").experiment_id
    client.delete_experiment(ab)
    # Their order is that of their making, whatever was done to them since.
    assert names(view_type=ViewType.ALL) == ["Abc", "ab", "a", "Default"]


def test_an_experiments_arguments_are_looked_at(url):
    for body, message in [
        ({"name": 123}, "Invalid value 123 for parameter 'name' supplied"),
        ({}, "Missing value for required parameter 'name'"),
        ({"name": ""}, "Missing value for required parameter 'name'"),
        ({"name": "x", "artifact_location": 9.0}, "Invalid value 9.0 for parameter 'artifact_location'"),
        ({"name": "x", "tags": "5"}, "Invalid value \\\"5\\\" for parameter 'tags'"),
        ({"name": "x" * 501}, "exceeds the maximum length of 500 characters"),
        ({"name": "x", "artifact_location": "runs:/a/b"}, "Artifact location cannot be a runs:/ URI"),
    ]:
        refused(post(url, "experiments/create", body), message)
    assert post(url, "experiments/create", {"name": "x"}).status_code == 200
    refused(post(url, "experiments/create", {"name": "x"}), "already exists", "RESOURCE_ALREADY_EXISTS")
    get = requests.get(url + API + "experiments/get", params={"experiment_id": "abc"})
    refused(get, "Experiment ID must be a valid integer")
    get = requests.get(url + API + "experiments/get", params={"experiment_id": "77"})
    refused(get, "No Experiment with id=77 exists", "RESOURCE_DOES_NOT_EXIST", 404)


def test_tags_of_experiments_keep_every_text(client):
    one, two = client.create_experiment("one"), client.create_experiment("two")
    for value in ["first", "second", "", "a\nb\nc"]:
        client.set_experiment_tag(one, "key", value)
        assert client.get_experiment(one).tags == {"key": value}
    assert client.get_experiment(two).tags == {}
    client.delete_experiment_tag(one, "key")
    assert client.get_experiment(one).tags == {}
    with pytest.raises(MlflowException, match="No tag with name"):
        client.delete_experiment_tag(one, "key")


# ---- runs --------------------------------------------------------------------------------------------


def test_a_run_begins_as_it_is_told(client):
    experiment = client.create_experiment("runs")
    tags = {"mlflow.user": "ada", "mlflow.source.type": "LOCAL", "mlflow.parentRunId": "7", "my": "tag"}
    made = client.create_run(experiment, start_time=456, run_name="my name", tags=tags)
    found = client.get_run(made.info.run_id)
    for one in [made, found]:
        assert one.info.run_id == made.info.run_id and one.info.experiment_id == experiment
        assert (one.info.user_id, one.info.start_time, one.info.run_name) == ("ada", 456, "my name")
        assert tags.items() <= one.data.tags.items()
    assert [one.info for one in client.search_runs([experiment])] == [found.info]
    plain = client.create_run(experiment)
    assert plain.info.user_id == "unknown" and plain.info.status == "RUNNING" and plain.info.end_time is None


def test_the_answer_to_a_new_run_has_both_ids_and_nothing_that_is_unset(url):
    answer = post(url, "runs/create", {"experiment_id": "0", "start_time": 5, "run_name": "n"}).json()["run"]
    info = answer["info"]
    assert info["run_id"] == info["run_uuid"] and len(info["run_id"]) == 32
    assert info["start_time"] == 5 and "end_time" not in info
    assert answer["data"] == {"tags": [{"key": "mlflow.runName", "value": "n"}]}
    assert answer["inputs"] == {}


def test_numbers_survive(client, run):
    client.log_metric(run, "m", 123.456, timestamp=789, step=2)
    client.log_metric(run, "nan", float("nan"))
    client.log_metric(run, "inf", float("inf"))
    client.log_metric(run, "ninf", -float("inf"))
    client.log_metric(run, "stepless", 987.654, timestamp=321)
    metrics = client.get_run(run).data.metrics
    assert metrics["m"] == 123.456 and math.isnan(metrics["nan"])
    assert metrics["inf"] == sys.float_info.max and metrics["ninf"] == -sys.float_info.max
    assert client.get_metric_history(run, "m") == [Metric("m", 123.456, 789, 2)]
    assert client.get_metric_history(run, "stepless") == [Metric("stepless", 987.654, 321, 0)]
    assert client.get_metric_history(run, "nobody") == []


def test_empty_texts_survive(client, run):
    client.log_param(run, "p", "")
    client.set_tag(run, "t", "")
    client.log_batch(run, params=[Param("bp", "")], tags=[RunTag("bt", "")])
    data = client.get_run(run).data
    assert {"p": "", "bp": ""}.items() <= data.params.items()
    assert {"t": "", "bt": ""}.items() <= data.tags.items()


def test_what_is_logged_is_looked_at(url, run):
    metric = {"run_id": run, "key": "m", "value": 41, "timestamp": 59, "step": 26}
    cases = [
        ("runs/log-metric", {**metric, "run_id": 31}, "Invalid value 31 for parameter 'run_id' supplied"),
        ("runs/log-metric", {**metric, "key": 31}, "Invalid value 31 for parameter 'key' supplied"),
        ("runs/log-metric", {**metric, "step": "foo"}, "Invalid value \\\"foo\\\" for parameter 'step' supplied"),
        ("runs/log-metric", {**metric, "timestamp": "foo"}, "\\\"foo\\\" for parameter 'timestamp' supplied"),
        ("runs/log-metric", {**metric, "run_id": None}, "Missing value for required parameter 'run_id'"),
        ("runs/log-metric", {**metric, "key": None}, "Missing value for required parameter 'key'"),
        ("runs/log-metric", {**metric, "value": None}, "Missing value for required parameter 'value'"),
        ("runs/log-metric", {**metric, "timestamp": None}, "Missing value for required parameter 'timestamp'"),
        ("runs/log-metric", {**metric, "timestamp": -1}, "Timestamp must be a nonnegative long"),
        ("runs/log-metric", {**metric, "key": "../x"}, "This name would resolve to '../x'"),
        ("runs/log-metric", {**metric, "key": "a;b"}, "Names may only contain alphanumerics"),
        ("runs/log-metric", {**metric, "key": "k" * 251}, "exceeds the maximum length of 250 characters"),
        ("runs/log-parameter", {"run_id": 31, "key": "p", "value": "1"}, "Invalid value 31 for parameter 'run_id'"),
        ("runs/log-parameter", {"run_id": run, "key": 31, "value": "1"}, "Invalid value 31 for parameter 'key'"),
        ("runs/set-tag", {"run_id": run, "key": "t", "value": 41}, "Invalid value 41 for parameter 'value' supplied"),
        ("runs/set-tag", {"run_id": run, "value": "v"}, "Missing value for required parameter 'key'"),
        ("runs/log-inputs", {"datasets": []}, "Missing value for required parameter 'run_id'"),
        ("runs/outputs", {"run_id": run}, "Missing value for required parameter 'models'"),
    ]
    for path, body, message in cases:
        refused(post(url, path, body), message)
    # The id has an older name too.
    assert post(url, "runs/set-tag", {"run_uuid": run, "key": "t", "value": "v"}).status_code == 200
    assert post(url, "runs/log-metric", {"run_uuid": run, **metric, "run_id": run}).status_code == 200


def test_a_batch_is_all_or_nothing_and_names_the_item_at_fault(url, client, run):
    for name in ["metrics", "params", "tags"]:
        refused(
            post(url, "runs/log-batch", {"run_id": run, name: "foo"}),
            f"Invalid value \\\"foo\\\" for parameter '{name}' supplied",
        )
    good = {"key": "good", "value": 1, "timestamp": 1}
    for metric, message in [
        ({"key": "mae", "value": 2.5}, "Missing value for required parameter 'metrics[1].timestamp'"),
        ({"key": "mae", "timestamp": 1}, "Missing value for required parameter 'metrics[1].value'"),
        ({"value": 1, "timestamp": 1}, "Missing value for required parameter 'metrics[1].key'"),
        ({"key": "a;b", "value": 1, "timestamp": 1}, "for parameter 'metrics[1].name' supplied"),
    ]:
        refused(post(url, "runs/log-batch", {"run_id": run, "metrics": [good, metric]}), message)
    assert client.get_run(run).data.metrics == {}
    body = {"run_id": run, "params": [{"key": "x", "value": "1"}, {"key": "x", "value": "1"}]}
    refused(post(url, "runs/log-batch", body), "Duplicate parameter keys have been submitted: ['x']")
    many = [{"key": f"m{i}", "value": 1, "timestamp": 1} for i in range(1001)]
    refused(post(url, "runs/log-batch", {"run_id": run, "metrics": many}), "at most 1000 metrics. Got 1001")
    # A step may be left out.
    assert post(url, "runs/log-batch", {"run_id": run, "metrics": [good]}).status_code == 200
    assert client.get_metric_history(run, "good") == [Metric("good", 1.0, 1, 0)]


def test_a_parameter_is_written_once(url, client, run):
    client.log_param(run, "p", "1")
    client.log_param(run, "p", "1")
    refused(post(url, "runs/log-parameter", {"run_id": run, "key": "p", "value": "2"}), "was already logged with value='1'")
    body = {"run_id": run, "params": [{"key": "p", "value": "2"}]}
    refused(post(url, "runs/log-batch", body), "Changing param values is not allowed. Params were already logged")
    assert client.get_run(run).data.params == {"p": "1"}


def test_long_values_are_cut_as_mlflow_cuts_them(client, run):
    client.log_batch(run, params=[Param("p", "x" * 7000)], tags=[RunTag("t", "y" * 9000)])
    data = client.get_run(run).data
    assert (len(data.params["p"]), len(data.tags["t"])) == (6000, 8000)


def test_a_deleted_run_takes_nothing(client, run):
    client.set_tag(run, "t", "v")
    client.delete_tag(run, "t")
    with pytest.raises(MlflowException, match=r"Run .+ not found"):
        client.delete_tag("fake_run_id", "t")
    with pytest.raises(MlflowException, match="No tag with name: t"):
        client.delete_tag(run, "t")
    client.delete_run(run)
    for call in [
        lambda: client.delete_tag(run, "t"),
        lambda: client.log_metric(run, "m", 1),
        lambda: client.log_param(run, "p", 1),
        lambda: client.set_tag(run, "t", 1),
        lambda: client.log_batch(run, [Metric("m", 1, 1, 1)]),
        lambda: client.set_terminated(run),
    ]:
        with pytest.raises(MlflowException, match=f"The run {run} must be in the 'active' state"):
            call()
    client.restore_run(run)
    client.log_metric(run, "m", 1)


def test_a_run_ends_and_its_name_changes_without_its_status(client, run):
    client.set_terminated(run, "FAILED", end_time=2**40)
    assert (client.get_run(run).info.status, client.get_run(run).info.end_time) == ("FAILED", 2**40)
    client.update_run(run, name="other")
    info = client.get_run(run).info
    assert (info.run_name, info.status) == ("other", "FAILED")
    assert client.get_run(run).data.tags["mlflow.runName"] == "other"


def test_inputs_are_datasets_and_models(client, url, run):
    dataset = Dataset(name="n", digest="d", source_type="t", source="s", schema="{}", profile="{}")
    model = client.create_logged_model("0")
    tags = [InputTag("mlflow.data.context", "training")]
    client.log_inputs(run, [DatasetInput(dataset, tags)], models=[LoggedModelInput(model.model_id)])
    inputs = client.get_run(run).inputs
    assert [(i.dataset, i.tags) for i in inputs.dataset_inputs] == [(dataset, tags)]
    assert [i.model_id for i in inputs.model_inputs] == [model.model_id]
    search = "experiments/search-datasets"
    found = post(url, search, {"experiment_ids": ["0"]}, AJAX).json()["dataset_summaries"]
    assert found == [{"experiment_id": "0", "name": "n", "digest": "d", "context": "training"}]
    message = "SearchDatasets request must specify at least one experiment_id."
    refused(post(url, search, {}, AJAX), message)
    refused(post(url, search, {"experiment_ids": []}, AJAX), message)
    refused(post(url, search, {"experiment_ids": ["1"] * 21}, AJAX), "cannot specify more than 20 experiment_ids")


def test_clients_before_3_record_their_models_in_a_tag(url, client, run):
    for name in ["one", "two"]:
        model = {"artifact_path": name, "flavors": {}, "utc_time_created": "2026-01-01", "run_id": run}
        answer = post(url, "runs/log-model", {"run_id": run, "model_json": json.dumps(model)})
        assert answer.status_code == 200, answer.text
    history = json.loads(client.get_run(run).data.tags["mlflow.log-model.history"])
    assert [model["artifact_path"] for model in history] == ["one", "two"]
    refused(post(url, "runs/log-model", {"run_id": run, "model_json": "{"}), "is not a valid JSON")
    refused(post(url, "runs/log-model", {"run_id": run, "model_json": "{}"}), "missing mandatory fields")


# ---- histories ---------------------------------------------------------------------------------------


def test_pages_of_a_history_join(url, client, run):
    for i in range(10):
        client.log_metric(run, "m", float(i), timestamp=1000 + i, step=i)
    query = {"run_id": run, "metric_key": "m", "max_results": 4}
    joined, sizes = [], []
    while True:
        page = requests.get(url + AJAX + "metrics/get-history", params=query).json()
        joined += page["metrics"]
        sizes.append(len(page["metrics"]))
        if "next_page_token" not in page:
            break
        query["page_token"] = page["next_page_token"]
    assert sizes == [4, 4, 2]
    assert joined == [{"key": "m", "value": float(i), "timestamp": 1000 + i, "step": i} for i in range(10)]
    query["page_token"] = "invalid_token"
    refused(requests.get(url + AJAX + "metrics/get-history", params=query), "Invalid page token")


def test_histories_of_many_runs_at_once(url, client):
    bulk = url + AJAX + "metrics/get-history-bulk"
    for query, message in [
        ({"metric_key": "m"}, "must specify at least one run_id"),
        ({"run_id": [f"r{i}" for i in range(101)], "metric_key": "m"}, "cannot specify more than 100"),
        ({"run_id": ["r"]}, "must specify a metric_key"),
    ]:
        refused(requests.get(bulk, params=query), message)
    runs = sorted(client.create_run("0").info.run_id for _ in range(3))
    points = [(1, 2, 10.0), (1, 3, 11.0), (1, 3, 12.0), (2, 3, 12.0)]
    for run in runs[:2]:
        for timestamp, step, value in points:
            client.log_metric(run, "m", value, timestamp=timestamp, step=step)
    found = requests.get(bulk, params={"run_id": runs[::-1], "metric_key": "m"}).json()["metrics"]
    assert found == [
        {"key": "m", "timestamp": timestamp, "step": step, "value": value, "run_id": run}
        for run in runs[:2] for timestamp, step, value in points
    ]
    few = requests.get(bulk, params={"run_id": runs[0], "metric_key": "m", "max_results": 2}).json()["metrics"]
    assert [point["value"] for point in few] == [10.0, 11.0]
    assert requests.get(bulk, params={"run_id": runs[2], "metric_key": "m"}).json() == {"metrics": []}


def test_sampled_histories_share_their_steps(url, client):
    interval = url + AJAX + "metrics/get-history-bulk-interval"
    for query, message in [
        ({"metric_key": "m"}, "Missing value for required parameter 'run_ids'."),
        ({"run_ids": [f"r{i}" for i in range(101)], "metric_key": "m"}, "must specify at most 100 run_ids."),
        ({"run_ids": "r", "metric_key": "m", "max_results": 0}, "max_results must be between 1 and 2500"),
        ({"run_ids": "r", "metric_key": ""}, "Missing value for required parameter 'metric_key'"),
        ({"run_ids": "r", "metric_key": "m", "start_step": 1, "end_step": 0}, "end_step must be greater than start_step. "),
        ({"run_ids": "r", "metric_key": "m", "start_step": 1}, "both must be specified."),
    ]:
        refused(requests.get(interval, params=query), message)
    one, two = (client.create_run("0").info.run_id for _ in range(2))
    client.log_batch(one, [Metric("m", 1.0, 1, i) for i in range(10)])
    client.log_batch(two, [Metric("m", 1.0, 1, i) for i in range(20)])

    def steps(runs, **more):
        found = requests.get(interval, params={"run_ids": runs, "metric_key": "m", "max_results": 5, **more})
        return [(point["run_id"], point["step"]) for point in found.json()["metrics"]]

    assert steps([one]) == [(one, step) for step in [0, 2, 4, 6, 8, 9]]
    assert steps([one], start_step=0, end_step=4) == [(one, step) for step in range(5)]
    expected = [0, 4, 8, 9, 12, 16, 19]
    assert steps([one, two]) == [(one, s) for s in expected if s < 10] + [(two, s) for s in expected]
    # Points of one step belong together.
    client.log_batch(one, [Metric("m", 1.0, 2, i) for i in range(10)])
    assert steps([one]) == [(one, step) for step in [0, 2, 4, 6, 8, 9] for _ in range(2)]


# ---- search ------------------------------------------------------------------------------------------


def test_pages_of_runs_are_ordered_by_start_then_id(client):
    experiment = client.create_experiment("pages")
    runs = sorted(client.create_run(experiment, start_time=1).info.run_id for _ in range(10))
    found, token, sizes = [], None, []
    while True:
        page = client.search_runs([experiment], max_results=4, page_token=token)
        found += [one.info.run_id for one in page]
        sizes.append(len(page))
        token = page.token
        if not token:
            break
    assert found == runs and sizes == [4, 4, 2]
    with pytest.raises(MlflowException, match="Invalid value 123456789 for parameter 'max_results' supplied"):
        client.search_runs([experiment], max_results=123456789)


# ---- artifacts ---------------------------------------------------------------------------------------


def test_artifacts_are_listed_and_fetched_by_every_route(url, client, run, tmp_path):
    (tmp_path / "my.file").write_text("hello")
    client.log_artifact(run, str(tmp_path / "my.file"))
    client.log_artifact(run, str(tmp_path / "my.file"), "dir")
    assert {a.path for a in client.list_artifacts(run)} == {"my.file", "dir"}
    assert {a.path for a in client.list_artifacts(run, "dir")} == {"dir/my.file"}
    for path in [".", ""]:
        there = pathlib.Path(mlflow.artifacts.download_artifacts(run_id=run, artifact_path=path, tracking_uri=url))
        assert (there / "my.file").read_text() == (there / "dir" / "my.file").read_text() == "hello"
    listed = requests.get(url + API + "artifacts/list", params={"run_uuid": run, "path": "dir"}).json()
    assert listed["files"] == [{"path": "dir/my.file", "is_dir": False, "file_size": 5}]
    assert listed["root_uri"] == client.get_run(run).info.artifact_uri
    got = requests.get(url + "/get-artifact", params={"run_id": run, "path": "dir/my.file"})
    assert got.text == "hello" and got.headers["X-Content-Type-Options"] == "nosniff"
    assert got.headers["Last-Modified"].endswith(" GMT") and got.headers["ETag"]


@pytest.mark.parametrize(("name", "kind"), [
    ("a.txt", "text/plain"), ("b.pkl", "application/octet-stream"), ("c.png", "image/png"),
    ("d.pdf", "application/pdf"), ("MLmodel", "text/plain"), ("mlproject", "text/plain"),
    ("dog+step+100+timestamp+100.png", "image/png"),
])
def test_downloads_are_attachments_of_their_own_kind(url, client, run, tmp_path, name, kind):
    (tmp_path / name).touch()
    client.log_artifact(run, str(tmp_path / name))
    got = requests.get(url + "/get-artifact", params={"run_id": run, "path": name}, headers={"Accept": "text/html"})
    assert got.status_code == 200 and got.content == b""
    assert got.headers["Content-Disposition"] == f"attachment; filename={name}"
    assert got.headers["Content-Type"] == kind


def test_no_path_leads_out(url, run):
    bad = {"error_code": "INVALID_PARAMETER_VALUE", "message": "Invalid path"}
    for path, query in [
        (API + "artifacts/list", {"run_id": run, "path": "../path"}),
        ("/get-artifact", {"run_id": run, "path": "../path"}),
        ("/model-versions/get-artifact", {"name": "model", "version": 1, "path": "../path"}),
        ("/api/2.0/mlflow-artifacts/artifacts", {"path": "../path"}),
    ]:
        answer = requests.get(url + path, params=query)
        assert (answer.status_code, answer.json()) == (400, bad), path


def test_a_page_uploads_by_the_runs_id(url, run):
    upload = url + AJAX + "upload-artifact"
    for query, message in [
        ({}, "Request must specify run_uuid."),
        ({"run_uuid": run}, "Request must specify path."),
        ({"run_uuid": run, "path": ""}, "Request must specify path."),
        ({"run_uuid": run, "path": "../t.txt"}, "Invalid path"),
        ({"run_uuid": run, "path": "t.txt"}, "Request must specify data."),
    ]:
        refused(requests.post(upload, params=query), message)
    large = requests.post(upload, params={"run_uuid": run, "path": "t.txt"}, data=b"x" * (10 * 2**20 + 1))
    refused(large, "Artifact size is too large")
    assert requests.post(upload, params={"run_uuid": run, "path": "t.txt"}, data="hello").status_code == 200
    assert requests.get(url + "/get-artifact", params={"run_uuid": run, "path": "t.txt"}).text == "hello"


# ---- registry ----------------------------------------------------------------------------------------


def test_a_registered_model_lives_is_renamed_and_dies(client):
    made = client.create_registered_model("m", {"k": "v", "n": 5})
    assert made.tags == {"k": "v", "n": "5"} and str(made.description) == "" and made.latest_versions == []
    with pytest.raises(MlflowException, match=r"Registered Model .+ already exists"):
        client.create_registered_model("m")
    client.rename_registered_model("m", "m 2")
    with pytest.raises(MlflowException, match="Registered Model with name=m not found"):
        client.get_registered_model("m")
    client.update_registered_model("m 2", "written")
    found = client.get_registered_model("m 2")
    assert (found.description, found.tags) == ("written", {"k": "v", "n": "5"})
    assert found.last_updated_timestamp >= found.creation_timestamp
    client.delete_registered_model("m 2")
    with pytest.raises(MlflowException, match=r"Registered Model .+ not found"):
        client.rename_registered_model("m 2", "else")
    assert client.search_registered_models() == []


@pytest.mark.parametrize("size", [1, 8, 100])
def test_models_are_found_page_by_page(client, size):
    names = [f"CreateRMsearch{i:03}" for i in range(12)]
    for name in names:
        client.create_registered_model(name)

    def found(text):
        joined, token = [], None
        while True:
            page = client.search_registered_models(text, max_results=size, page_token=token)
            joined += [one.name for one in page]
            token = page.token
            if not token:
                return joined

    assert found(None) == found("") == names
    assert found("name LIKE '%7'") == ["CreateRMsearch007"]
    assert found("name ILIKE '%rm%00%'") == [name for name in names if "00" in name]
    assert found("name LIKE '%rm%00%'") == found("name = 'badname'") == []


def test_prompts_are_no_models_unless_they_are_asked_for(client):
    client.create_registered_model("m")
    client.create_model_version("m", "mlflow-artifacts:/1/x/artifacts/model")
    client.register_prompt("p", "Say {{word}}")
    client.register_prompt("p", "Say {{word}} twice")
    asked = "tags.`mlflow.prompt.is_prompt` = 'true'"
    assert [one.name for one in client.search_registered_models()] == ["m"]
    assert [one.name for one in client.search_registered_models(asked)] == ["p"]
    for text in ["", "name LIKE '%'", "version_number > 0"]:
        assert [(one.name, one.version) for one in client.search_model_versions(text)] == [("m", "1")]
    assert {one.version for one in client.search_model_versions(f"name = 'p' AND {asked}")} == {"1", "2"}
    assert client.load_prompt("prompts:/p/1").template == "Say {{word}}"


def test_versions_know_what_they_were_made_from(client):
    client.create_registered_model("m")
    # The run may be another server's.
    one = client.create_model_version("m", "runs:/run_id/model", "run_id_1", {"k": "v", "n": 5})
    assert (one.version, one.tags, one.status) == ("1", {"k": "v", "n": "5"}, "READY")
    assert client.get_registered_model("m").latest_versions == [client.get_model_version("m", "1")]
    two = client.create_model_version("m", "runs:/run_id/another", "run_id_1")
    three = client.create_model_version("m", "runs:/run_id/another", "run_id_2")
    assert [two.version, three.version] == ["2", "3"]
    found = client.search_model_versions("source_path = 'runs:/run_id/model'")
    assert found == [client.get_model_version("m", "1")]
    assert [v.version for v in client.search_model_versions("run_id = 'run_id_1'")] == ["2", "1"]
    assert client.get_model_version_download_uri("m", "1") == "runs:/run_id/model"
    with pytest.raises(MlflowException, match="Parameter 'version' must be an integer, got 'something'"):
        client.get_model_version("m", "something")
    assert [v.version for v in client.search_model_versions("name = 'm'", order_by=["version_number ASC"])] == ["1", "2", "3"]


def test_what_a_version_changes_of_its_model(client):
    client.create_registered_model("m")
    client.create_model_version("m", "runs:/r/model", "r")

    def updated():
        return client.get_registered_model("m").last_updated_timestamp

    before = updated()
    client.transition_model_version_stage("m", "1", "Staging")
    moved = updated()
    assert moved >= before and client.get_model_version("m", "1").last_updated_timestamp >= before
    client.update_model_version("m", "1", "words")
    # What is said of a version is the version's own.
    assert updated() == moved and client.get_model_version("m", "1").description == "words"


def test_the_newest_version_of_each_stage(client):
    client.create_registered_model("m")
    stages = ["Archived", "Production", "Archived", "Production", "Staging", "Staging", "None"]
    for number, stage in enumerate(stages, 1):
        client.create_model_version("m", "runs:/r/model", "r")
        if stage != "None":
            client.transition_model_version_stage("m", str(number), stage)

    def latest(stages):
        return {v.current_stage: v.version for v in client.get_latest_versions("m", stages)}

    assert latest(["None"]) == {"None": "7"} and latest(["staging"]) == {"Staging": "6"}
    assert latest(None) == latest([]) == {"Production": "4", "Staging": "6", "Archived": "3", "None": "7"}
    with pytest.raises(MlflowException, match="Invalid Model Version stage: nonsense"):
        latest(["nonsense"])


def test_a_deleted_version_is_gone_and_its_number_stays_used(client):
    client.create_registered_model("m")
    for _ in range(3):
        client.create_model_version("m", "runs:/r/model", "r")
    client.delete_model_version("m", "1")
    client.delete_model_version("m", "3")
    assert [v.version for v in client.search_model_versions("name = 'm'")] == ["2"]
    for call in [
        lambda: client.delete_model_version("m", "1"),
        lambda: client.update_model_version("m", "1", "x"),
        lambda: client.transition_model_version_stage("m", "1", "Staging"),
        lambda: client.get_model_version_download_uri("m", "1"),
        lambda: client.set_model_version_tag("m", "1", "k", "v"),
    ]:
        with pytest.raises(MlflowException, match=r"Model Version .+ not found"):
            call()
    assert client.create_model_version("m", "runs:/r/model", "r").version == "4"


def test_aliases_point_and_are_copied_from(client):
    client.create_registered_model("m")
    client.create_model_version("m", "runs:/r/model", "r", description="dummy", tags={"hello": "world"})
    client.set_registered_model_alias("m", "best", "1")
    assert client.get_registered_model("m").aliases == {"best": "1"}
    assert client.get_model_version("m", "1").aliases == ["best"]
    assert client.get_model_version_by_alias("m", "best") == client.get_model_version("m", "1")
    assert client.copy_model_version("models:/m@best", "m").version == "2"
    copy = client.get_model_version("m", "2")
    assert (copy.source, copy.description, copy.run_id, copy.tags) == ("models:/m/1", "dummy", "r", {"hello": "world"})
    assert client.get_model_version_download_uri("m", "2") == "runs:/r/model"
    client.delete_registered_model_alias("m", "best")
    assert client.get_registered_model("m").aliases == {} and client.get_model_version("m", "1").aliases == []
    for alias, message in [("latest", "reserved"), ("v1", "reserved"), ("a b", "Invalid alias name")]:
        with pytest.raises(MlflowException, match=message):
            client.set_registered_model_alias("m", alias, "1")
    # The copy outlives what it was copied from.
    client.delete_model_version("m", "1")
    assert client.get_model_version_download_uri("m", "2") == "runs:/r/model"


def test_a_source_is_taken_as_a_name_or_not_at_all(url, client, run):
    client.create_registered_model("m")
    root = client.get_run(run).info.artifact_uri
    model = client.create_logged_model("0")

    def create(source, **more):
        return post(url, "model-versions/create", {"name": "m", "source": source, "run_id": run, **more})

    for source in [
        f"{root}/model", f"runs:/{run}/model", "mlflow-artifacts:/models", "mlflow-artifacts:/models///",
        "mlflow-artifacts:/models/foo///bar", "mlflow-artifacts://host:9000/models",
        "mlflow-artifacts://host:9000/models/artifact/..../", model.artifact_location, model.model_uri,
    ]:
        answer = create(source)
        assert answer.status_code == 200, answer.text
    for source in [
        "mlflow-artifacts://host:9000/models/../../../", "http://host:9000/models/../../../",
        "https://host/api/2.0/mlflow-artifacts/artifacts/../../../", "s3a://b/api/2.0/../../../",
        "ftp://host:8888/api/2.0/../../../", "mlflow-artifacts://host:9000/models/..%2f..%2fartifacts",
        "mlflow-artifacts://host:9000/models/artifact%00", f"{root}/%252e%252e/x",
    ]:
        refused(create(source), "If supplying a source as an http, https,")
    for source in [f"dbfs:/{run}/artifacts/a%3f/../../../../", "s3://path/to/model", "xyz:model"]:
        refused(create(source), "Invalid model version source")
    for source in ["/tmp", "file:///tmp", "model", "FILE:///etc"]:
        refused(create(source), "To use a local path as a model version")
    refused(create("file:///path/to/model", model_id=model.model_id), "the model_id request parameter")
    refused(create("models:/m-nobody"), "not found", "RESOURCE_DOES_NOT_EXIST", 404)


def test_a_logged_model_knows_its_versions_and_its_metrics(client, run):
    model = client.create_logged_model("0", name="mine", source_run_id=run)
    client.log_metric(run, "auc", 0.5, timestamp=12, step=1, dataset_name="n", dataset_digest="d", model_id=model.model_id)
    client.create_registered_model("m")
    for number in [1, 2]:
        made = client.create_model_version("m", model.artifact_location, model_id=model.model_id)
        assert made.run_id == run
    found = client.get_logged_model(model.model_id)
    assert json.loads(found.tags["mlflow.modelVersions"]) == [{"name": "m", "version": n} for n in [1, 2]]
    assert found.tags["mlflow.modelVersions"].startswith('[{"name": "m", "version": 1}, ')
    assert found.metrics == [
        Metric("auc", 0.5, 12, 1, model_id=model.model_id, dataset_name="n", dataset_digest="d", run_id=run)
    ]
    client.delete_logged_model(model.model_id)
    with pytest.raises(MlflowException, match="not found"):
        client.get_logged_model(model.model_id)


# ---- the command line of the client ------------------------------------------------------------------


def test_the_mlflow_command_line_works(url, tmp_path):
    from click.testing import CliRunner
    from mlflow.cli import cli

    client = MlflowClient(url, url)
    before = mlflow.get_tracking_uri()

    def command(*args):
        mlflow.set_tracking_uri(url)
        done = CliRunner().invoke(cli, args, env={"MLFLOW_TRACKING_URI": url})
        mlflow.set_tracking_uri(before)
        assert done.exit_code == 0, f"{args}: {done.output} {done.exception}"
        return done.output

    command("experiments", "create", "-n", "cli")
    id = client.get_experiment_by_name("cli").experiment_id
    command("experiments", "rename", "-x", id, "--new-name", "renamed")
    assert "renamed" in command("experiments", "search")
    run = client.create_run(id, run_name="one").info.run_id
    assert "one" in command("runs", "list", "--experiment-id", id)
    assert json.loads(command("runs", "describe", "--run-id", run))["info"]["run_id"] == run
    (tmp_path / "a.txt").write_text("hello")
    command("artifacts", "log-artifact", "-l", str(tmp_path / "a.txt"), "-r", run, "-a", "sub")
    assert json.loads(command("artifacts", "list", "-r", run))[0]["path"] == "sub"
    command("artifacts", "download", "-r", run, "-d", str(tmp_path / "down"))
    assert (tmp_path / "down" / "sub" / "a.txt").read_text() == "hello"
    command("experiments", "csv", "-x", id, "-o", str(tmp_path / "runs.csv"))
    assert run in (tmp_path / "runs.csv").read_text()
    command("runs", "delete", "--run-id", run)
    assert client.get_run(run).info.lifecycle_stage == "deleted"
    command("runs", "restore", "--run-id", run)
    command("experiments", "delete", "-x", id)
    assert client.get_experiment(id).lifecycle_stage == "deleted"
    command("experiments", "restore", "-x", id)
    assert client.get_experiment(id).lifecycle_stage == "active"
