#!/usr/bin/env python3
"""Asks MLflow's own server and Rondo the same things and compares what they answer.

    python differential.py http://127.0.0.1:MLFLOW http://127.0.0.1:RONDO [PART...]

Each part is a list of requests. What a request makes (ids) is remembered for each server under a name, and
stands as `$name` in later requests; in answers the ids are put back to names, so that equal answers are
equal texts. Compared are the status, `error_code`, `message` and the JSON with all its values; of times
only that they are there. Every difference is printed; the exit code is 1 when one is not among `KNOWN`.
"""

import json
import re
import sys
import uuid

import requests

SUFFIX = uuid.uuid4().hex[:6]
API = "/api/2.0/mlflow/"
AJAX = "/ajax-api/2.0/mlflow/"
PARTS = {}

# Times are compared by their presence alone.
TIMES = {
    "creation_time", "last_update_time", "creation_timestamp", "last_updated_timestamp",
    "creation_timestamp_ms", "last_updated_timestamp_ms",
}
# Fields that newer servers have and clients do not need.
SPARE = {"sqlstate", "error_class"}

# What is meant to differ: a part of the label, and why.
KNOWN = []


def part(function):
    PARTS[function.__name__] = function
    return function


def known(label, why):
    KNOWN.append((label, why))


class Server:
    def __init__(self, url):
        self.url = url.rstrip("/")
        self.names = {"suffix": SUFFIX}
        self.session = requests.Session()

    def fill(self, value):
        if isinstance(value, str):
            return re.sub(r"\$(\w+)", lambda m: str(self.names.get(m[1], m[0])), value)
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if isinstance(value, tuple):
            return tuple(self.fill(item) for item in value)
        if isinstance(value, dict):
            return {key: self.fill(item) for key, item in value.items()}
        return value

    def hide(self, value):
        if isinstance(value, str):
            for name, known in self.names.items():
                if name == "suffix" or not isinstance(known, str) or not known:
                    continue
                if known.isdigit():
                    # An experiment's id stands in a root or in a message.
                    value = re.sub(rf"(artifacts:/|id=|experiment |with id ){known}(?![\w.])", rf"\1${name}", value)
                else:
                    value = value.replace(known, f"${name}")
            return value.replace(self.url, "URL")
        if isinstance(value, list):
            return [self.hide(item) for item in value]
        if isinstance(value, dict):
            return {key: self.hidden(key, item) for key, item in value.items() if key not in SPARE}
        return value

    def hidden(self, key, item):
        if key in TIMES:
            return f"<{type(item).__name__}>"
        if key == "experiment_id":
            return next((f"${name}" for name, known in self.names.items() if known == item), item)
        return self.hide(item)

    def ask(self, method, path, body, query, headers, raw):
        kwargs = {"params": self.fill(query), "headers": headers, "timeout": 60}
        if raw is not None:
            kwargs["data"] = raw
        elif body is not None:
            kwargs["json"] = self.fill(body)
        response = self.session.request(method, self.url + self.fill(path), **kwargs)
        try:
            return response, response.json()
        except ValueError:
            return response, None


def pick(answer, path):
    for step in path.split("."):
        if answer is None:
            return None
        answer = answer[int(step)] if step.isdigit() else answer.get(step)
    return answer


class Pair:
    """Two servers that are asked the same."""

    def __init__(self, ours, theirs):
        self.servers = (theirs, ours)
        self.asked = 0
        self.different = []

    def __call__(self, method, path, body=None, *, query=None, keep=None, headers=None, raw=None,
                 label=None, only=None, unordered=(), drop=(), loosely=False):
        if not path.startswith("/"):
            path = API + path
        answers = []
        for server in self.servers:
            response, parsed = server.ask(method, path, body, query, headers, raw)
            for name, where in (keep or {}).items():
                found = pick(parsed, where)
                if found is not None:
                    server.names[name] = found
            shown = server.hide(parsed) if parsed is not None else response.text[:200]
            if only and response.status_code == 200:
                shown = pick(shown, only) if isinstance(shown, dict) else shown
            if loosely and isinstance(shown, dict):
                shown.pop("message", None)
            shown = tidy(shown, unordered, drop)
            answers.append((response.status_code, shown))
        self.asked += 1
        label = label or f"{method} {path} {json.dumps(query or body)[:160]}"
        if answers[0] != answers[1]:
            why = next((why for text, why in KNOWN if text in label), None)
            if answers[0][0] >= 500 > answers[1][0] >= 400:
                why = why or "a fault of the client's is no fault of the server's"
            self.different.append((label, why))
            if why is None:
                print(f"\n--- {label}")
                (one, theirs), (two, ours) = answers
                for where, left, right in [("status", one, two)] * (one != two) + list(apart(theirs, ours)):
                    print(f"  {where}: mlflow {json.dumps(left)[:700]}")
                    print(f"  {' ' * len(where)}  rondo  {json.dumps(right)[:700]}")
        return answers


def apart(left, right, where=""):
    """The places where two answers differ."""
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(left.keys() | right.keys()):
            yield from apart(left.get(key, "<absent>"), right.get(key, "<absent>"), f"{where}.{key}")
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for index, pair in enumerate(zip(left, right)):
            yield from apart(*pair, f"{where}[{index}]")
    elif left != right:
        yield where or "answer", left, right


def tidy(value, unordered, drop):
    """Lists whose order is not promised in one order; fields that are not compared away."""
    if isinstance(value, dict):
        out = {}
        for key, item in value.items():
            if key in drop:
                continue
            item = tidy(item, unordered, drop)
            if key in ("tags", "params", *unordered) and isinstance(item, list):
                item = sorted(item, key=lambda one: json.dumps(one, sort_keys=True))
            out[key] = item
        return out
    if isinstance(value, list):
        return [tidy(item, unordered, drop) for item in value]
    if isinstance(value, str) and value[:1] in "[{" and value[-1:] in "]}":
        # JSON within JSON has no order of its own.
        try:
            return tidy(json.loads(value), unordered, drop)
        except ValueError:
            return value
    return value


WRONG = [None, "", 5, 1.5, True, [], {}, "x", [1], {"a": 1}]


def mistyped(ask, path, good, method="POST", skip=()):
    """Each argument missing, empty and of each other type."""
    ask(method, path, {}, label=f"{method} {path} with nothing")
    for name in good:
        if name in skip:
            continue
        without = {key: value for key, value in good.items() if key != name}
        ask(method, path, without, label=f"{method} {path} without {name}")
        for wrong in WRONG:
            if type(wrong) is type(good[name]) and wrong != "":
                continue
            ask(method, path, {**good, name: wrong}, label=f"{method} {path} {name}={json.dumps(wrong)}")


@part
def experiments(ask):
    ask("POST", "experiments/create", {"name": "e1-$suffix"}, keep={"e1": "experiment_id"}, drop=("experiment_id",))
    ask("POST", "experiments/create", {"name": "e2-$suffix", "tags": [{"key": "a", "value": "b"}, {"key": "c", "value": ""}]},
        keep={"e2": "experiment_id"}, drop=("experiment_id",))
    for path in (API, AJAX):
        ask("GET", path + "experiments/get", query={"experiment_id": "$e2"})
    ask("GET", "experiments/get-by-name", query={"experiment_name": "e2-$suffix"})
    ask("GET", "experiments/get-by-name", query={"experiment_name": "nobody-$suffix"})
    ask("GET", "experiments/get-by-name")
    ask("GET", "experiments/get-by-name", query={"experiment_name": ""})
    ask("GET", "experiments/get")
    ask("GET", "experiments/get", query={"experiment_id": ""})
    ask("GET", "experiments/get", query={"experiment_id": "99999"})
    ask("GET", "experiments/get", query={"experiment_id": "abc"})
    ask("GET", "experiments/get", query={"experiment_id": "-1"})
    ask("POST", "experiments/create", {"name": "e1-$suffix"}, label="experiment that exists", drop=("message",))
    mistyped(ask, "experiments/create", {"name": "e1-$suffix", "artifact_location": "x", "tags": []}, skip=("artifact_location", "tags", "name"))
    for wrong in ({"name": 123}, {"name": "n", "artifact_location": 9.0}, {"name": "n", "tags": "5"}, {"name": ["a"]},
                  {"name": True}, {"name": "n", "tags": {"a": 1}}, {"name": ""}, {"name": None}, {"name": "x" * 501},
                  {"name": "n", "artifact_location": "runs:/x/y"}):
        ask("POST", "experiments/create", wrong)
    mistyped(ask, "experiments/set-experiment-tag", {"experiment_id": "$e1", "key": "k", "value": "v"})
    mistyped(ask, "experiments/delete-experiment-tag", {"experiment_id": "$e1", "key": "nokey"})
    ask("POST", "experiments/set-experiment-tag", {"experiment_id": "$e1", "key": "multi line", "value": "a\nb\nc"})
    ask("POST", "experiments/set-experiment-tag", {"experiment_id": "$e1", "key": "k", "value": "x" * 5001}, label="long experiment tag")
    ask("POST", "experiments/set-experiment-tag", {"experiment_id": "$e1", "key": "k" * 251, "value": "x"})
    ask("POST", "experiments/set-experiment-tag", {"experiment_id": "$e1", "key": "a;b", "value": "x"})
    ask("POST", "experiments/set-experiment-tag", {"experiment_id": "$e1", "key": "../b", "value": "x"})
    ask("POST", "experiments/set-experiment-tag", {"experiment_id": "99999", "key": "k", "value": "x"})
    ask("GET", "experiments/get", query={"experiment_id": "$e1"})
    ask("POST", "experiments/delete-experiment-tag", {"experiment_id": "$e1", "key": "k"})
    mistyped(ask, "experiments/update", {"experiment_id": "$e1", "new_name": "e1b-$suffix"})
    ask("POST", "experiments/update", {"experiment_id": "$e1", "new_name": "e2-$suffix"}, label="rename to a taken name", drop=("message",))
    ask("POST", "experiments/update", {"experiment_id": "99999", "new_name": "x"})
    mistyped(ask, "experiments/delete", {"experiment_id": "99999"})
    ask("POST", "experiments/delete", {"experiment_id": "$e1"})
    ask("POST", "experiments/delete", {"experiment_id": "$e1"}, label="delete twice")
    ask("GET", "experiments/get", query={"experiment_id": "$e1"})
    ask("POST", "experiments/update", {"experiment_id": "$e1", "new_name": "z-$suffix"}, label="rename the deleted")
    ask("POST", "experiments/set-experiment-tag", {"experiment_id": "$e1", "key": "k", "value": "v"}, label="tag the deleted")
    ask("POST", "experiments/create", {"name": "e1b-$suffix"}, keep={"e3": "experiment_id"}, label="create the deleted again", drop=("message",))
    ask("POST", "runs/create", {"experiment_id": "$e1"}, label="run in the deleted")
    mistyped(ask, "experiments/restore", {"experiment_id": "99999"})
    ask("POST", "experiments/restore", {"experiment_id": "$e1"})
    ask("POST", "experiments/restore", {"experiment_id": "$e1"}, label="restore the living")
    for method in ("GET", "POST"):
        for query in ({"max_results": 1}, {"max_results": "a"}, {"max_results": 0}, {"max_results": -1}, {"max_results": 50001},
                      {"view_type": "DELETED_ONLY"}, {"view_type": "NONSENSE"}, {"page_token": "?"}, {"filter": "nonsense"},
                      {"filter": "name = 'e2-$suffix'", "order_by": ["name DESC"]}, {"order_by": ["nothing"]}, {"filter": "name LIKE 'e%-$suffix'", "order_by": ["name ASC"]},
                      {"filter": "tags.a = 'b' AND name = 'e2-$suffix'"}, {"filter": "tag.key = 5"}, {"filter": "metrics.a > 1"}, {"filter": "name > 'a'"}):
            query = {"max_results": 3, **query}
            both = {"query": query} if method == "GET" else {"body": query}
            ask(method, "experiments/search", **both, drop=("next_page_token",), loosely="filter" in query or "order_by" in query)
    ask("POST", "experiments/search", {"filter": 5})
    ask("POST", "experiments/search", {"order_by": "name"})
    ask("POST", "experiments/search", {"max_results": "5", "filter": "name = 'e2-$suffix'"}, drop=("next_page_token",))
    ask("POST", AJAX + "experiments/search-datasets", {})
    ask("POST", AJAX + "experiments/search-datasets", {"experiment_ids": []})
    ask("POST", AJAX + "experiments/search-datasets", {"experiment_ids": ["1"] * 21})
    ask("POST", AJAX + "experiments/search-datasets", {"experiment_ids": "1"})
    ask("POST", API + "experiments/search-datasets", {"experiment_ids": ["$e2"]})


@part
def runs(ask):
    ask("POST", "experiments/create", {"name": "runs-$suffix"}, keep={"exp": "experiment_id"}, drop=("experiment_id",))
    tags = [{"key": "mlflow.user", "value": "ada"}, {"key": "mlflow.source.name", "value": "x.py"}, {"key": "mlflow.parentRunId", "value": "no-run"}, {"key": "empty", "value": ""}]
    ask("POST", "runs/create", {"experiment_id": "$exp", "user_id": "ada", "start_time": 456, "run_name": "my name", "tags": tags}, keep={"r1": "run.info.run_id"})
    ask("GET", "runs/get", query={"run_id": "$r1"})
    ask("GET", "runs/get", query={"run_uuid": "$r1"})
    ask("GET", "runs/get", query={"run_id": "nobody"})
    ask("GET", "runs/get", query={"run_id": "a" * 32})
    ask("GET", "runs/get", query={"run_id": ""})
    ask("GET", "runs/get")
    ask("POST", "runs/create", {"experiment_id": "$exp", "run_name": "two", "start_time": 5, "tags": [{"key": "mlflow.runName", "value": "one"}]})
    ask("POST", "runs/create", {"experiment_id": "$exp", "start_time": 5, "tags": [{"key": "mlflow.runName", "value": "one"}]}, keep={"r0": "run.info.run_id"})
    ask("POST", "runs/create", {"experiment_id": "$exp", "run_name": "", "user_id": "", "start_time": 7}, keep={"r2": "run.info.run_id", "n2": "run.info.run_name"})
    ask("POST", "runs/create", {"experiment_id": "99999"})
    ask("POST", "runs/create", {"experiment_id": "abc"})
    ask("POST", "runs/create", {"experiment_id": 5})
    ask("POST", "runs/create", {"start_time": "abc"})
    ask("POST", "runs/create", {"run_name": 5})
    ask("POST", "runs/create", {"experiment_id": "$exp", "run_name": "s", "start_time": "12"}, keep={"r3": "run.info.run_id"})
    ask("POST", "runs/create", {"experiment_id": "$exp", "run_name": "t", "start_time": 1, "tags": [{"key": "a" * 251, "value": "x"}]}, label="run with a long tag name")
    ask("POST", "runs/create", {"experiment_id": "$exp", "run_name": "t", "start_time": 1, "tags": [{"key": "a;", "value": "x"}]}, keep={"odd": "run.info.run_id"})
    metric = {"run_id": "$r1", "key": "m", "value": 1.5, "timestamp": 10, "step": 2}
    ask("POST", "runs/log-metric", metric)
    ask("POST", "runs/log-metric", {**metric, "value": "NaN", "key": "nan"})
    ask("POST", "runs/log-metric", {**metric, "value": "Infinity", "key": "inf"})
    ask("POST", "runs/log-metric", {**metric, "value": "-Infinity", "key": "ninf"})
    ask("POST", "runs/log-metric", {**metric, "value": "2.5", "key": "text"})
    ask("POST", "runs/log-metric", {**metric, "step": "3", "timestamp": "11"})
    ask("POST", "runs/log-metric", {**metric, "step": -3})
    ask("POST", "runs/log-metric", {**metric, "step": 4.0}, label="whole step as a float")
    ask("POST", "runs/log-metric", {**metric, "step": 4.5})
    ask("POST", "runs/log-metric", {**metric, "timestamp": -5})
    ask("POST", "runs/log-metric", {**metric, "timestamp": 2 ** 64})
    ask("POST", "runs/log-metric", {**metric, "step": 2 ** 64})
    ask("POST", "runs/log-metric", {**metric, "value": 1e400 if False else 1e308, "key": "big"})
    ask("POST", "runs/log-metric", {**metric, "key": "a/b c.d-e:f"})
    ask("POST", "runs/log-metric", {**metric, "key": "../x"})
    ask("POST", "runs/log-metric", {**metric, "key": "a//b"})
    ask("POST", "runs/log-metric", {**metric, "key": "a\nb"})
    ask("POST", "runs/log-metric", {**metric, "key": "k" * 251})
    ask("POST", "runs/log-metric", {**metric, "run_id": "nobody"})
    mistyped(ask, "runs/log-metric", metric)
    ask("POST", "runs/log-metric", {"run_uuid": "$r1", "key": "uuid", "value": 1, "timestamp": 1})
    ask("GET", "runs/get", query={"run_id": "$r1"}, unordered=("metrics",), label="run after metrics")
    param = {"run_id": "$r1", "key": "p", "value": "1"}
    ask("POST", "runs/log-parameter", param)
    ask("POST", "runs/log-parameter", param, label="same param again")
    ask("POST", "runs/log-parameter", {**param, "value": "2"}, label="param changed")
    ask("POST", "runs/log-parameter", {**param, "key": "empty", "value": ""})
    ask("POST", "runs/log-parameter", {"run_id": "$r1", "key": "without"})
    ask("POST", "runs/log-parameter", {**param, "key": "long", "value": "x" * 6001})
    ask("POST", "runs/log-parameter", {**param, "key": "k" * 251})
    ask("POST", "runs/log-parameter", {**param, "key": "a;b"})
    ask("POST", "runs/log-parameter", {**param, "key": "./x"})
    ask("POST", "runs/log-parameter", {**param, "run_id": "nobody"})
    mistyped(ask, "runs/log-parameter", param)
    tag = {"run_id": "$r1", "key": "t", "value": "v"}
    ask("POST", "runs/set-tag", tag)
    ask("POST", "runs/set-tag", {**tag, "key": "e", "value": ""})
    ask("POST", "runs/set-tag", {"run_id": "$r1", "key": "w"})
    ask("POST", "runs/set-tag", {**tag, "key": "long", "value": "x" * 8001})
    ask("POST", "runs/set-tag", {**tag, "key": "a;b"})
    ask("POST", "runs/set-tag", {**tag, "key": "k" * 251})
    ask("POST", "runs/set-tag", {**tag, "run_id": "nobody"})
    mistyped(ask, "runs/set-tag", tag)
    ask("POST", "runs/set-tag", {"run_id": "$r1", "key": "mlflow.runName", "value": "renamed"})
    ask("POST", "runs/delete-tag", {"run_id": "$r1", "key": "t"})
    ask("POST", "runs/delete-tag", {"run_id": "$r1", "key": "t"}, label="delete a tag twice")
    ask("POST", "runs/delete-tag", {"run_id": "nobody", "key": "t"})
    mistyped(ask, "runs/delete-tag", {"run_id": "$r1", "key": "nothing"})
    ask("GET", "runs/get", query={"run_id": "$r1"}, unordered=("metrics",), drop=("metrics",), label="run after tags")
    batch = {"run_id": "$r2", "metrics": [{"key": "a", "value": 1, "timestamp": 1, "step": 1}], "params": [{"key": "b", "value": "c"}], "tags": [{"key": "d", "value": "e"}]}
    ask("POST", "runs/log-batch", batch)
    ask("POST", "runs/log-batch", {"run_id": "$r2"})
    ask("POST", "runs/log-batch", {"run_id": "$r2", "metrics": [{"key": "mae", "value": 2.5}]})
    ask("POST", "runs/log-batch", {"run_id": "$r2", "metrics": [{"key": "mae", "value": 2.5, "timestamp": 123}]})
    ask("POST", "runs/log-batch", {"run_id": "$r2", "metrics": [{"key": "mae", "timestamp": 123}]})
    ask("POST", "runs/log-batch", {"run_id": "$r2", "metrics": [{"value": 1, "timestamp": 123}]})
    ask("POST", "runs/log-batch", {"run_id": "$r2", "params": [{"value": "1"}]})
    ask("POST", "runs/log-batch", {"run_id": "$r2", "tags": [{"value": "1"}]})
    ask("POST", "runs/log-batch", {"run_id": "$r2", "params": [{"key": "a;b", "value": "1"}]})
    ask("POST", "runs/log-batch", {"run_id": "$r2", "tags": [{"key": "a;b", "value": "1"}]})
    ask("POST", "runs/log-batch", {"run_id": "$r2", "metrics": [{"key": "a;b", "value": 1, "timestamp": 1}]})
    ask("POST", "runs/log-batch", {"run_id": "$r2", "metrics": [{"key": "ok", "value": 1, "timestamp": 1}, {"key": "ok", "value": 1, "timestamp": -1}]})
    ask("POST", "runs/log-batch", {"run_id": "$r2", "params": [{"key": "b", "value": "changed"}]})
    ask("POST", "runs/log-batch", {"run_id": "$r2", "params": [{"key": "x", "value": "1"}, {"key": "x", "value": "2"}]})
    ask("POST", "runs/log-batch", {"run_id": "$r2", "params": [{"key": "y", "value": "1"}, {"key": "y", "value": "1"}]})
    ask("POST", "runs/log-batch", {"run_id": "$r2", "params": [{"key": "pe", "value": ""}], "tags": [{"key": "te", "value": ""}]})
    ask("POST", "runs/log-batch", {"run_id": "$r2", "metrics": [{"key": f"m{i}", "value": 1, "timestamp": 1} for i in range(1001)]}, label="too many metrics")
    ask("POST", "runs/log-batch", {"run_id": "$r2", "params": [{"key": f"m{i}", "value": "1"} for i in range(101)]}, label="too many params")
    ask("POST", "runs/log-batch", {"run_id": "$r2", "tags": [{"key": f"m{i}", "value": "1"} for i in range(101)]}, label="too many tags")
    ask("POST", "runs/log-batch", {"run_id": "$r2", "metrics": [{"key": f"m{i}", "value": 1, "timestamp": 1} for i in range(950)], "params": [{"key": f"m{i}", "value": "1"} for i in range(51)]}, label="too much together")
    mistyped(ask, "runs/log-batch", batch, skip=("run_id",))
    ask("POST", "runs/log-batch", {**batch, "run_id": "nobody"})
    ask("POST", "runs/log-batch", {**batch, "run_id": ""})
    ask("POST", "runs/log-batch", {**batch, "run_id": 5})
    ask("GET", "runs/get", query={"run_id": "$r2"}, unordered=("metrics",), label="run after batches")
    ask("POST", "runs/update", {"run_id": "$r2", "status": "FINISHED", "end_time": 99}, drop=("start_time",))
    ask("POST", "runs/update", {"run_id": "$r2", "run_name": "again"}, drop=("start_time",))
    ask("POST", "runs/update", {"run_id": "$r2", "status": "NONSENSE"})
    ask("POST", "runs/update", {"run_id": "$r2", "status": 3}, drop=("start_time",))
    ask("POST", "runs/update", {"run_id": "$r2", "end_time": "x"})
    ask("POST", "runs/update", {"run_id": "$r2", "run_name": 5})
    ask("POST", "runs/update", {"run_id": "$r2"}, drop=("start_time",))
    ask("POST", "runs/update", {"run_uuid": "$r2", "status": "RUNNING"}, drop=("start_time", "end_time"))
    ask("POST", "runs/update", {"status": "RUNNING"})
    ask("POST", "runs/update", {"run_id": "nobody", "status": "RUNNING"})
    dataset = {"name": "n", "digest": "d", "source_type": "t", "source": "s"}
    ask("POST", "runs/log-inputs", {"run_id": "$r2", "datasets": [{"dataset": dataset, "tags": [{"key": "mlflow.data.context", "value": "training"}]}]})
    ask("POST", "runs/log-inputs", {"run_id": "$r2", "datasets": [{"dataset": {**dataset, "schema": "{}", "profile": "{}", "name": "full"}}]})
    ask("POST", "runs/log-inputs", {"run_id": "$r2", "datasets": [{"dataset": {**dataset, "name": "x" * 501}}]})
    ask("POST", "runs/log-inputs", {"run_id": "$r2", "datasets": [{"dataset": {**dataset, "digest": "x" * 37}}]})
    ask("POST", "runs/log-inputs", {"run_id": "$r2", "datasets": [{"dataset": dataset, "tags": [{"key": "k" * 256, "value": "v"}]}]})
    ask("POST", "runs/log-inputs", {"run_id": "$r2", "datasets": [{"dataset": dataset, "tags": [{"key": "k", "value": "v" * 501}]}]})
    ask("POST", "runs/log-inputs", {"datasets": []})
    ask("POST", "runs/log-inputs", {"run_id": "$r2", "datasets": "foo"})
    ask("POST", "runs/log-inputs", {"run_id": "$r2", "models": "foo"})
    ask("POST", "runs/log-inputs", {"run_id": "nobody", "datasets": []})
    ask("POST", "runs/outputs", {"run_id": "$r2"})
    ask("POST", "runs/outputs", {"models": []})
    ask("POST", "runs/outputs", {"run_id": "$r2", "models": "x"})
    ask("POST", "runs/outputs", {"run_id": "nobody", "models": []})
    ask("GET", "runs/get", query={"run_id": "$r2"}, only="run.inputs", unordered=("dataset_inputs",))
    ask("POST", AJAX + "experiments/search-datasets", {"experiment_ids": ["$exp"]}, unordered=("dataset_summaries",))
    model = {"artifact_path": "model", "flavors": {"python_function": {"loader_module": "x"}}, "utc_time_created": "2026-01-01 00:00:00.000000", "run_id": "r", "model_uuid": "u"}
    ask("POST", "runs/log-model", {"run_id": "$r2", "model_json": json.dumps(model)})
    ask("POST", "runs/log-model", {"run_id": "$r2", "model_json": "{"})
    ask("POST", "runs/log-model", {"run_id": "$r2", "model_json": "{}"}, label="log-model without fields", drop=("message",))
    ask("POST", "runs/log-model", {"run_id": "$r2"})
    ask("POST", "runs/log-model", {"model_json": "{}"})
    ask("POST", "runs/log-model", {"run_id": "nobody", "model_json": json.dumps(model)})
    ask("GET", "runs/get", query={"run_id": "$r2"}, only="run.data", label="run after log-model")
    ask("POST", "runs/delete", {"run_id": "$r3"})
    ask("GET", "runs/get", query={"run_id": "$r3"})
    for path, body in (("log-metric", metric), ("log-parameter", param), ("set-tag", tag), ("delete-tag", {"key": "t"}), ("log-batch", batch),
                       ("update", {"status": "FINISHED"}), ("delete", {}), ("log-inputs", {"datasets": []})):
        ask("POST", f"runs/{path}", {**body, "run_id": "$r3"}, label=f"runs/{path} of the deleted")
    ask("POST", "runs/restore", {"run_id": "$r3"})
    ask("POST", "runs/restore", {"run_id": "$r3"}, label="restore a living run")
    ask("POST", "runs/delete", {})
    ask("POST", "runs/restore", {})
    ask("POST", "runs/delete", {"run_id": "nobody"})
    ask("POST", "runs/restore", {"run_id": "nobody"})


@part
def histories(ask):
    ask("POST", "experiments/create", {"name": "history-$suffix"}, keep={"hexp": "experiment_id"}, drop=("experiment_id",))
    for name in ("h1", "h2"):
        ask("POST", "runs/create", {"experiment_id": "$hexp", "run_name": name, "start_time": 1}, keep={name: "run.info.run_id"})
    points = [(1, 2, 10.0), (1, 3, 11.0), (1, 3, 12.0), (2, 3, 12.0), (2, 3, 12.0), (5, -2, 1.0), (4, 0, 0.0)]
    for timestamp, step, value in points:
        ask("POST", "runs/log-metric", {"run_id": "$h1", "key": "m", "value": value, "timestamp": timestamp, "step": step})
    for i in range(20):
        ask("POST", "runs/log-metric", {"run_id": "$h2", "key": "m", "value": i, "timestamp": 1, "step": i})
    for i in range(10):
        ask("POST", "runs/log-metric", {"run_id": "$h1", "key": "ten", "value": i, "timestamp": 1, "step": i})
        ask("POST", "runs/log-metric", {"run_id": "$h2", "key": "ten", "value": i, "timestamp": 1, "step": 2 * i})
    ask("GET", "runs/get", query={"run_id": "$h1"}, unordered=("metrics",))
    for path in (API, AJAX):
        ask("GET", path + "metrics/get-history", query={"run_id": "$h1", "metric_key": "m"}, unordered=("metrics",))
        ask("GET", path + "metrics/get-history", query={"run_id": "$h2", "metric_key": "m", "max_results": 4}, keep={"token": "next_page_token"}, drop=("next_page_token",))
        ask("GET", path + "metrics/get-history", query={"run_id": "$h2", "metric_key": "m", "max_results": 4, "page_token": "$token"}, drop=("next_page_token",))
    ask("GET", "metrics/get-history", query={"run_uuid": "$h2", "metric_key": "none"})
    for query in ({}, {"run_id": "$h1"}, {"metric_key": "m"}, {"run_id": "$h1", "metric_key": ""}, {"run_id": "nobody", "metric_key": "m"},
                  {"run_id": "$h1", "metric_key": "m", "page_token": "invalid_token"}, {"run_id": "$h1", "metric_key": "m", "max_results": 0},
                  {"run_id": "$h1", "metric_key": "m", "max_results": -1}, {"run_id": "$h1", "metric_key": "m", "max_results": "x"}, {"run_id": "$h1", "metric_key": "m", "max_results": 100000}):
        ask("GET", "metrics/get-history", query=query, unordered=("metrics",), drop=("next_page_token",), loosely="page_token" in query)
    bulk = AJAX + "metrics/get-history-bulk"
    for query in ({}, {"run_id": []}, {"run_id": ["x"] * 101, "metric_key": "m"}, {"run_id": ["$h1"]}, {"run_id": ["$h1"], "metric_key": "m"},
                  {"run_id": ["$h1"], "metric_key": "m", "max_results": 2}, {"run_id": ["nobody"], "metric_key": "m"}):
        ask("GET", bulk, query=query)
    ask("GET", bulk, query={"run_id": ["$h1", "$h2"], "metric_key": "m"}, unordered=("metrics",))
    for path in (API, AJAX):
        interval = path + "metrics/get-history-bulk-interval"
        for query in ({"metric_key": "m"}, {"run_ids": [], "metric_key": "m"}, {"run_ids": ["x"] * 101, "metric_key": "m"}, {"run_ids": ["$h1"]},
                      {"run_ids": ["$h1"], "metric_key": ""}, {"run_ids": ["$h1"], "metric_key": "m", "max_results": 0}, {"run_ids": ["$h1"], "metric_key": "m", "max_results": 2501},
                      {"run_ids": ["$h1"], "metric_key": "m", "start_step": 1, "end_step": 0, "max_results": 5}, {"run_ids": ["$h1"], "metric_key": "m", "start_step": 1},
                      {"run_ids": ["$h1"], "metric_key": "m", "start_step": "a", "end_step": 2},
                      {"run_ids": ["$h2"], "metric_key": "m", "max_results": 5}, {"run_ids": ["$h2"], "metric_key": "m", "max_results": 5, "start_step": 0, "end_step": 4},
                      {"run_ids": ["$h1"], "metric_key": "ten", "max_results": 5}, {"run_ids": ["$h1"], "metric_key": "ten", "max_results": 3}, {"run_ids": ["$h1"], "metric_key": "ten", "max_results": 1}, {"run_ids": ["$h1", "$h2"], "metric_key": "ten", "max_results": 5},
                      {"run_ids": ["$h1", "$h2"], "metric_key": "ten", "max_results": 7, "start_step": 2, "end_step": 15}, {"run_ids": ["$h1"], "metric_key": "m"}, {"run_ids": ["nobody"], "metric_key": "m"}):
            ask("GET", interval, query=query, unordered=("metrics",) if len(query.get("run_ids", [])) == 2 else ())


@part
def search(ask):
    ask("POST", "experiments/create", {"name": "search-$suffix"}, keep={"sexp": "experiment_id"}, drop=("experiment_id",))
    for i in range(6):
        ask("POST", "runs/create", {"experiment_id": "$sexp", "run_name": f"s{i}", "user_id": "ada", "start_time": 100 + i, "tags": [{"key": "kind", "value": "even" if i % 2 == 0 else "odd"}]}, keep={f"s{i}": "run.info.run_id"})
        ask("POST", "runs/log-batch", {"run_id": f"$s{i}", "metrics": [{"key": "acc", "value": i / 6, "timestamp": 1, "step": 0}], "params": [{"key": "depth", "value": str(i)}]})
    ask("POST", "runs/log-metric", {"run_id": "$s3", "key": "acc", "value": "NaN", "timestamp": 2, "step": 1})
    ask("POST", "runs/log-inputs", {"run_id": "$s1", "datasets": [{"dataset": {"name": "dn", "digest": "dd", "source_type": "t", "source": "s"}, "tags": [{"key": "mlflow.data.context", "value": "train"}]}]})
    base = {"experiment_ids": ["$sexp"]}
    filters = [
        "metrics.acc > 0.3", "metric.acc <= 0.5", "metrics.`acc` = 0.5", 'metrics."acc" != 0.5', "params.depth = '3'", "param.depth LIKE '%'", "parameters.depth != '3'",
        "tags.kind = 'odd'", "tag.kind ILIKE 'O%'", "tags.`kind` != 'odd'", "attributes.run_name = 's1'", "run_name LIKE 's%'", "attr.status = 'RUNNING'", "status != 'RUNNING'",
        "start_time > 102", "attributes.start_time >= 102 AND metrics.acc > 0.1", "end_time > 0", "created > 102", "run_id IN ('$s1', '$s2')", "run_id NOT IN ('$s1')", "attributes.run_id = '$s1'",
        "datasets.name = 'dn'", "dataset.digest = 'dd'", "datasets.context = 'train'", "datasets.name IN ('dn', 'x')", "tags.mlflow.runName = 's2'", "tags.`mlflow.runName` = 's2'", "user_id = 'ada'",
        "metrics.acc > 0.1 and params.depth = '2'", "params.depth IS NULL", "params.depth IS NOT NULL", "tags.nothing IS NULL", "artifact_uri LIKE '%artifacts'", "tags.kind = \"odd\"", "",
    ]
    for text in filters:
        ask("POST", "runs/search", {**base, "filter": text}, drop=("inputs",), unordered=("metrics",), label=f"filter {text}")
    for text in ["metrics.acc = 'x'", "params.depth = 3", "nonsense", "metrics.acc >", "metrics.acc > 1 metrics.acc < 2", "tags.kind > 'a'", "foo.bar = 'x'", "attributes.nothing = 'x'",
                 "status > 'a'", "run_id > 'a'", "start_time LIKE 'a'", "metrics.acc LIKE 'a'", "run_id IN ()", "run_id IN 'a'", "status IN (1)", "start_time = 'x'", "acc", "'a' = 'b'", "metrics. > 1", "datasets.foo = 'x'", "metrics.acc IS NULL"]:
        ask("POST", "runs/search", {**base, "filter": text}, label=f"filter refused: {text}", loosely=True)
    for order in (["metrics.acc ASC"], ["metrics.acc DESC"], ["params.depth DESC"], ["tags.kind"], ["start_time ASC"], ["attributes.run_name DESC"], ["run_id"], ["status", "start_time DESC"], ["metrics.`acc`"], ["end_time"], ["metrics.none"], ["Start Time"], ["created DESC"]):
        ask("POST", "runs/search", {**base, "order_by": order}, drop=("inputs",), unordered=("metrics",)) if order != ["run_id"] else None
    for order in (["nonsense"], ["metrics.acc UP"], ["metrics.acc asc desc"], [5], "metrics.acc", ["datasets.name"], ["metrics.acc", "metrics.acc"], [""]):
        ask("POST", "runs/search", {**base, "order_by": order}, label=f"order refused: {order}", loosely=True)
    for more in ({"max_results": 2}, {"max_results": 0}, {"max_results": -1}, {"max_results": 50001}, {"max_results": 123456789}, {"max_results": "x"}, {"max_results": "2"}, {"page_token": "x"}, {"page_token": "eyJvZmZzZXQiOiAyfQ=="},
                 {"run_view_type": "DELETED_ONLY"}, {"run_view_type": "ALL", "max_results": 1}, {"run_view_type": "x"}, {"run_view_type": 2}, {"filter": 5}, {"experiment_ids": "1"}, {"experiment_ids": [1]}, {"experiment_ids": []}, {"experiment_ids": ["abc"]}):
        ask("POST", "runs/search", {**base, **more}, drop=("next_page_token",), unordered=("metrics",), loosely="max_results" in more)
    ask("POST", "runs/search", {**base, "max_results": 4}, keep={"token": "next_page_token"}, drop=("next_page_token",), unordered=("metrics",))
    ask("POST", "runs/search", {**base, "max_results": 4, "page_token": "$token"}, drop=("next_page_token",), unordered=("metrics",))
    ask("POST", "runs/search", {})


@part
def registry(ask):
    ask("POST", "experiments/create", {"name": "reg-$suffix"}, keep={"rexp": "experiment_id"}, drop=("experiment_id",))
    ask("POST", "runs/create", {"experiment_id": "$rexp", "run_name": "r", "start_time": 1}, keep={"run": "run.info.run_id", "root": "run.info.artifact_uri"})
    ask("POST", "registered-models/create", {"name": "m-$suffix", "description": "first", "tags": [{"key": "a", "value": "b"}]})
    ask("POST", "registered-models/create", {"name": "plain-$suffix"})
    ask("POST", "registered-models/create", {"name": "m-$suffix"}, label="a model that exists", drop=("message",))
    for name in ("a/b", "a:b", " ", "../x", "a;b-$suffix", "x" * 257 + "-$suffix", "."):
        ask("POST", "registered-models/create", {"name": name}, label=f"model named {name[:9]!r}")
    mistyped(ask, "registered-models/create", {"name": "m-$suffix", "tags": [], "description": "x"}, skip=("tags", "description"))
    ask("POST", "registered-models/create", {"name": "n-$suffix", "tags": "x"})
    ask("POST", "registered-models/create", {"name": "n-$suffix", "description": 5})
    ask("POST", "registered-models/create", {"name": "n-$suffix", "tags": [{"key": "a;b", "value": "x"}]})
    for query in ({"name": "m-$suffix"}, {"name": "nobody"}, {"name": ""}, {}):
        ask("GET", "registered-models/get", query=query)
    mistyped(ask, "registered-models/update", {"name": "plain-$suffix", "description": "d"}, method="PATCH")
    ask("PATCH", "registered-models/update", {"name": "nobody", "description": "d"})
    versions = "model-versions/create"
    ask("POST", versions, {"name": "m-$suffix", "source": "runs:/$run/model", "run_id": "$run", "description": "v", "run_link": "http://x/y", "tags": [{"key": "k", "value": "v"}]})
    ask("POST", versions, {"name": "m-$suffix", "source": "runs:/run_id/model", "run_id": "run_id_1"})
    ask("POST", versions, {"name": "m-$suffix", "source": "$root/model"})
    ask("POST", versions, {"name": "nobody", "source": "runs:/run_id/model"})
    mistyped(ask, versions, {"name": "m-$suffix", "source": "runs:/x/y", "run_id": "$run", "description": "x"})
    for source in ("mlflow-artifacts:/models", "mlflow-artifacts:/models/", "mlflow-artifacts:/models///", "mlflow-artifacts:/models/foo///bar", "mlflow-artifacts://host:9000/models",
                   "mlflow-artifacts://host:9000/models/artifact/..../", "mlflow-artifacts:", "models:/m-$suffix/1",
                   "mlflow-artifacts://host:9000/models/../../../", "http://host:9000/models/../../../", "https://host/api/2.0/mlflow-artifacts/artifacts/../../../",
                   "s3a://my_bucket/api/2.0/mlflow-artifacts/artifacts/../../../", "ftp://host:8888/api/2.0/mlflow-artifacts/artifacts/../../../", "mlflow-artifacts://host:9000/models/..%2f..%2fartifacts",
                   "mlflow-artifacts://host:9000/models/artifact%00", "dbfs:/$run/artifacts/a%3f/../../../../../../../../../../", "/tmp", "file:///tmp", "model", "file:///path/to/model", "./x", "$root/../x",
                   "s3://bucket/key", "http://host/x", "gs://b/x", "mlflow-artifacts:/a%252e%252e/x", "mlflow-artifacts:/%252e%252e/x", "mlflow-artifacts:/a/./b", "mlflow-artifacts:/a?b", "mlflow-artifacts:/a#b", "mlflow-artifacts:/a;b", "mlflow-artifacts:/a\\..\\b"):
        ask("POST", versions, {"name": "m-$suffix", "source": source, "run_id": "$run"}, label=f"source {source}", drop=("version",))
    ask("POST", versions, {"name": "m-$suffix", "source": "/tmp"}, label="local source without a run")
    for query in ({"name": "m-$suffix", "version": "1"}, {"name": "m-$suffix", "version": "99"}, {"name": "m-$suffix", "version": "something not correct"}, {"name": "m-$suffix"}, {"version": "1"}, {"name": "nobody", "version": "1"}):
        ask("GET", "model-versions/get", query=query)
        ask("GET", "model-versions/get-download-uri", query=query)
    ask("GET", "model-versions/get-download-uri", query={"name": "m-$suffix", "version": "2"})
    one = {"name": "m-$suffix", "version": "1"}
    mistyped(ask, "model-versions/update", {**one, "description": "d"}, method="PATCH")
    ask("PATCH", "model-versions/update", {**one, "version": "99"})
    mistyped(ask, "model-versions/transition-stage", {**one, "stage": "Staging", "archive_existing_versions": False})
    for stage in ("production", "PRODUCTION", "None", "nonsense", "Archived"):
        ask("POST", "model-versions/transition-stage", {**one, "stage": stage})
    ask("POST", "model-versions/transition-stage", {**one, "stage": "None", "archive_existing_versions": True})
    ask("POST", "model-versions/transition-stage", {**one, "stage": "Production", "archive_existing_versions": True})
    ask("POST", "model-versions/transition-stage", {**one, "stage": "Production", "version": "99"})
    ask("POST", "model-versions/transition-stage", {**one, "stage": "Production", "version": "x"})
    for body in ({"name": "m-$suffix"}, {"name": "m-$suffix", "stages": ["Production"]}, {"name": "m-$suffix", "stages": ["production", "none"]}, {"name": "m-$suffix", "stages": ["nonsense"]}, {"name": "nobody"}, {}, {"name": "m-$suffix", "stages": "Production"}, {"name": "m-$suffix", "stages": [5]}):
        ask("POST", "registered-models/get-latest-versions", body, unordered=("model_versions",))
        ask("GET", "registered-models/get-latest-versions", query=body, unordered=("model_versions",), label=f"GET latest {body}")
    mistyped(ask, "model-versions/set-tag", {**one, "key": "t", "value": "v"})
    ask("POST", "model-versions/set-tag", {**one, "key": "empty", "value": ""})
    ask("POST", "model-versions/set-tag", {**one, "key": "a;b", "value": ""})
    ask("POST", "model-versions/set-tag", {**one, "version": "99", "key": "a", "value": ""})
    ask("POST", "model-versions/set-tag", {**one, "key": "long", "value": "x" * 100001}, label="long version tag")
    mistyped(ask, "model-versions/delete-tag", {**one, "key": "t"}, method="DELETE")
    mistyped(ask, "registered-models/set-tag", {"name": "m-$suffix", "key": "t", "value": "v"})
    ask("POST", "registered-models/set-tag", {"name": "nobody", "key": "t", "value": "v"})
    mistyped(ask, "registered-models/delete-tag", {"name": "m-$suffix", "key": "t"}, method="DELETE")
    ask("DELETE", "registered-models/delete-tag", {"name": "nobody", "key": "t"})
    mistyped(ask, "registered-models/alias", {"name": "m-$suffix", "alias": "champion", "version": "1"})
    ask("POST", "registered-models/alias", {"name": "m-$suffix", "alias": "champion", "version": "1"})
    for alias in ("latest", "LATEST", "v1", "V2", "a b", "a@b", "x" * 256, "é"):
        ask("POST", "registered-models/alias", {"name": "m-$suffix", "alias": alias, "version": "1"}, label=f"alias {alias[:9]}")
    ask("POST", "registered-models/alias", {"name": "m-$suffix", "alias": "a", "version": "99"})
    ask("POST", "registered-models/alias", {"name": "nobody", "alias": "a", "version": "1"})
    ask("POST", "registered-models/alias", {"name": "m-$suffix", "alias": "a", "version": "x"})
    for query in ({"name": "m-$suffix", "alias": "champion"}, {"name": "m-$suffix", "alias": "nothing"}, {"name": "nobody", "alias": "a"}, {"name": "m-$suffix"}, {"alias": "a"}, {"name": "m-$suffix", "alias": "latest"}, {"name": "m-$suffix", "alias": "v1"}):
        ask("GET", "registered-models/alias", query=query)
    ask("DELETE", "registered-models/alias", {"name": "m-$suffix", "alias": "nothing"})
    ask("DELETE", "registered-models/alias", {"name": "nobody", "alias": "nothing"})
    mistyped(ask, "registered-models/alias", {"name": "m-$suffix", "alias": "none"}, method="DELETE")
    ask("GET", "registered-models/get", query={"name": "m-$suffix"}, unordered=("latest_versions",), drop=("latest_versions",))
    ask("GET", "registered-models/search", query={"filter": "name = 'm-$suffix'"}, drop=("latest_versions",))
    for query in ({"filter": "name LIKE '%-$suffix'", "max_results": 1}, {"filter": "name ILIKE 'M-%$suffix'"}, {"filter": "tags.a = 'b'"}, {"filter": "tag.a != 'c' AND name = 'm-$suffix'"}, {"filter": "nonsense"}, {"filter": "name > 'a'"}, {"filter": "foo = 'a'"}, {"filter": "name = 5"},
                  {"max_results": 1001}, {"max_results": 0}, {"max_results": -5}, {"max_results": "x"}, {"page_token": "x"}, {"order_by": ["name DESC"], "filter": "name LIKE '%-$suffix'"}, {"order_by": ["nothing"]}, {"order_by": ["name", "name"]}, {"order_by": ["last_updated_timestamp"], "filter": "name = 'm-$suffix'"}):
        ask("GET", "registered-models/search", query=query, drop=("next_page_token", "latest_versions"), loosely=True)
    for query in ({"filter": "name = 'm-$suffix' AND tags.k = 'v'"}, {"filter": "run_id = 'run_id_1' AND name = 'm-$suffix'"}, {"filter": "source_path = 'runs:/run_id/model' AND name = 'm-$suffix'"}, {"filter": "version_number > 1 AND version_number < 4 AND name = 'm-$suffix'"}, {"filter": "version_number = 'x'"}, {"filter": "nonsense"}, {"filter": "foo = 'x'"},
                  {"filter": "name LIKE 'm-$suff%' AND version_number = 1"}, {"filter": "run_id IN ('run_id_1')"}, {"filter": "name IN ('m-$suffix') AND version_number = 2"}, {"max_results": 200001}, {"max_results": 0}, {"max_results": "x"}, {"max_results": -1}, {"page_token": "x"}, {"order_by": ["version_number DESC"], "filter": "name = 'm-$suffix' AND version_number < 4"}, {"order_by": ["nothing"]},
                  {"order_by": ["name ASC", "version_number ASC"], "filter": "name = 'm-$suffix' AND version_number < 4"}, {"filter": "current_stage = 'Production' AND name = 'm-$suffix'"}):
        ask("GET", "model-versions/search", query=query, drop=("next_page_token", "aliases"), loosely=True)
    mistyped(ask, "model-versions/delete", {**one, "version": "99"}, method="DELETE")
    ask("DELETE", "model-versions/delete", {"name": "m-$suffix", "version": "3"})
    ask("DELETE", "model-versions/delete", {"name": "m-$suffix", "version": "3"}, label="delete a version twice")
    ask("PATCH", "model-versions/update", {"name": "m-$suffix", "version": "3", "description": "x"})
    mistyped(ask, "registered-models/rename", {"name": "plain-$suffix", "new_name": "renamed-$suffix"}, skip=("name",))
    ask("POST", "registered-models/rename", {"name": "plain-$suffix", "new_name": "m-$suffix"}, drop=("message",), label="rename to a taken model")
    ask("POST", "registered-models/rename", {"name": "nobody", "new_name": "x"})
    ask("POST", "registered-models/rename", {"name": "m-$suffix", "new_name": "a/b"})
    ask("DELETE", "registered-models/delete", {"name": "nobody"})
    ask("DELETE", "registered-models/delete", {})
    ask("DELETE", "registered-models/delete", {"name": "m-$suffix"})
    ask("GET", "registered-models/get", query={"name": "m-$suffix"}, label="a deleted model")


@part
def logged_models(ask):
    ask("POST", "experiments/create", {"name": "lm-$suffix"}, keep={"lexp": "experiment_id"}, drop=("experiment_id",))
    ask("POST", "runs/create", {"experiment_id": "$lexp", "run_name": "r", "start_time": 1}, keep={"lrun": "run.info.run_id"})
    new = {"experiment_id": "$lexp", "name": "model", "model_type": "t", "source_run_id": "$lrun", "params": [{"key": "p", "value": "1"}], "tags": [{"key": "t", "value": "v"}]}
    ask("POST", "logged-models", new, keep={"lm": "model.info.model_id", "lroot": "model.info.artifact_uri"})
    ask("POST", "logged-models", {"experiment_id": "$lexp", "name": "two"}, keep={"lm2": "model.info.model_id"})
    mistyped(ask, "logged-models", {"experiment_id": "99999", "name": "x", "params": [], "tags": []}, skip=("params", "tags"))
    for name in ("a/b", "a:b", "a.b", "a%b", "a'b", 'a"b'):
        ask("POST", "logged-models", {"experiment_id": "$lexp", "name": name})
    ask("POST", "logged-models", {"experiment_id": "$lexp", "name": "x", "params": "y"})
    for path in ("/api/2.0/mlflow/", "/ajax-api/2.0/mlflow/"):
        ask("GET", path + "logged-models/$lm")
    ask("GET", "logged-models/m-nothing")
    ask("PATCH", "logged-models/$lm", {"model_id": "$lm", "status": "LOGGED_MODEL_READY"})
    ask("PATCH", "logged-models/$lm", {"model_id": "$lm", "status": 2})
    ask("PATCH", "logged-models/$lm", {"model_id": "$lm"})
    ask("PATCH", "logged-models/m-nothing", {"model_id": "m-nothing", "status": "LOGGED_MODEL_READY"})
    ask("PATCH", "logged-models/$lm/tags", {"tags": [{"key": "t", "value": "w"}, {"key": "u", "value": ""}]})
    ask("PATCH", "logged-models/$lm/tags", {"tags": "x"})
    ask("PATCH", "logged-models/m-nothing/tags", {"tags": [{"key": "t", "value": "w"}]})
    ask("DELETE", "logged-models/$lm/tags/u")
    ask("DELETE", "logged-models/$lm/tags/u", label="delete a model's tag twice")
    ask("POST", "logged-models/$lm/params", {"model_id": "$lm", "params": [{"key": "q", "value": "2"}]})
    ask("POST", "logged-models/$lm/params", {"model_id": "$lm", "params": "x"})
    ask("POST", "logged-models/m-nothing/params", {"model_id": "m-nothing", "params": [{"key": "q", "value": "2"}]})
    ask("POST", "runs/log-metric", {"run_id": "$lrun", "key": "auc", "value": 0.5, "timestamp": 3, "step": 1, "model_id": "$lm", "dataset_name": "dn", "dataset_digest": "dd"})
    ask("POST", "runs/outputs", {"run_id": "$lrun", "models": [{"model_id": "$lm", "step": 3}]})
    ask("POST", "runs/log-inputs", {"run_id": "$lrun", "models": [{"model_id": "$lm2"}], "datasets": [{"dataset": {"name": "dn", "digest": "dd", "source_type": "t", "source": "s"}}]})
    ask("GET", "runs/get", query={"run_id": "$lrun"})
    ask("GET", "logged-models/$lm", label="model with metrics")
    base = {"experiment_ids": ["$lexp"]}
    for more in ({}, {"filter": "metrics.auc > 0.1"}, {"filter": "params.p = '1'"}, {"filter": "name = 'model'"}, {"filter": "tags.t = 'w'"}, {"filter": "model_type = 't'"}, {"filter": "status = 'READY'"}, {"filter": "source_run_id = '$lrun'"}, {"filter": "attributes.name LIKE 'mod%'"},
                 {"filter": "metrics.auc > 0.1", "datasets": [{"dataset_name": "dn", "dataset_digest": "dd"}]}, {"filter": "metrics.auc > 0.1", "datasets": [{"dataset_name": "other"}]}, {"datasets": [{}]}, {"filter": "nonsense"}, {"filter": "foo = 'x'"}, {"filter": "metrics.auc = 'x'"}, {"filter": 5},
                 {"order_by": [{"field_name": "name"}]}, {"order_by": [{"field_name": "metrics.auc", "ascending": False}]}, {"order_by": [{"field_name": "metrics.auc", "dataset_name": "dn", "dataset_digest": "dd"}]}, {"order_by": [{"field_name": "nothing"}]}, {"order_by": "x"}, {"max_results": 1}, {"max_results": 0}, {"max_results": 101}, {"max_results": 1001}, {"max_results": "x"}, {"page_token": "x"}, {"experiment_ids": []}, {"experiment_ids": "x"}, {"experiment_ids": [5]}):
        ask("POST", "logged-models/search", {**base, **more}, drop=("next_page_token", "model_id", "artifact_uri") if not more else ("next_page_token",), unordered=("models",) if not more.get("order_by") else (), loosely=True)
    ask("POST", "logged-models/search", {})
    ask("POST", "registered-models/create", {"name": "lm-$suffix"})
    ask("POST", "model-versions/create", {"name": "lm-$suffix", "source": "models:/$lm", "model_id": "$lm", "run_id": "$lrun"})
    ask("POST", "model-versions/create", {"name": "lm-$suffix", "source": "$lroot", "model_id": "$lm"})
    ask("POST", "model-versions/create", {"name": "lm-$suffix", "source": "models:/lm-$suffix/1", "run_id": "$lrun"})
    ask("POST", "model-versions/create", {"name": "lm-$suffix", "source": "file:///path/to/model", "model_id": "$lm"})
    ask("POST", "model-versions/create", {"name": "lm-$suffix", "source": "models:/m-nothing", "model_id": "m-nothing"})
    for version in ("1", "2", "3"):
        ask("GET", "model-versions/get", query={"name": "lm-$suffix", "version": version})
        ask("GET", "model-versions/get-download-uri", query={"name": "lm-$suffix", "version": version})
    ask("GET", "logged-models/$lm", label="model with versions")
    ask("GET", "logged-models/$lm/artifacts/directories")
    ask("GET", "logged-models/$lm/artifacts/directories", query={"artifact_directory_path": "../x"})
    ask("GET", "logged-models/m-nothing/artifacts/directories")
    ask("GET", AJAX + "logged-models/$lm/artifacts/files", query={"artifact_file_path": "../x"})
    ask("GET", AJAX + "logged-models/$lm/artifacts/files")
    ask("GET", AJAX + "logged-models/$lm/artifacts/files", query={"artifact_file_path": "nothing"}, label="no such file of a model", drop=("message",))
    ask("PATCH", "logged-models/$lm", {"model_id": "$lm", "status": "NONSENSE"})
    ask("DELETE", "logged-models/$lm2")
    ask("GET", "logged-models/$lm2", label="a deleted logged model")
    ask("GET", "logged-models/$lm2", query={"allow_deleted": "true"}, label="a deleted logged model, allowed")
    ask("DELETE", "logged-models/$lm2", label="delete a logged model twice")
    ask("DELETE", "logged-models/m-nothing")
    ask("POST", "logged-models", {"experiment_id": "$lexp", "name": "x", "source_run_id": "nobody"}, label="logged model of no run", drop=("model_id", "artifact_uri"))


@part
def first_and_every(ask):
    """Of a dataset the first one stands, of a model's metrics every point, of an absent value the empty text."""
    ask("POST", "experiments/create", {"name": "first-$suffix"}, keep={"fexp": "experiment_id"}, drop=("experiment_id",))
    for name in ("f1", "f2"):
        ask("POST", "runs/create", {"experiment_id": "$fexp", "run_name": name, "start_time": 0}, keep={name: "run.info.run_id"})
    ask("POST", "runs/create", {"experiment_id": "$fexp", "run_name": "when"}, keep={"f3": "run.info.run_id"})

    def dataset(source, tag):
        return {"dataset": {"name": "n", "digest": "d", "source_type": "t", "source": source}, "tags": [{"key": tag, "value": "v"}]}

    for run, inputs in (("$f1", [dataset("one", "a"), dataset("two", "b")]), ("$f1", [dataset("three", "c")]), ("$f2", [dataset("four", "d")])):
        ask("POST", "runs/log-inputs", {"run_id": run, "datasets": inputs})
        ask("GET", "runs/get", query={"run_id": run}, only="run.inputs")
    for path, body in (("runs/delete-tag", {}), ("runs/update", {"run_name": "other"}), ("runs/delete-tag", {}), ("runs/set-tag", {"value": "third"})):
        ask("POST", path, {"run_id": "$f1", "key": "mlflow.runName", **body}, drop=("run_info",))
        ask("GET", "runs/get", query={"run_id": "$f1"}, only="run.data")
    ask("POST", "runs/search", {"experiment_ids": ["$fexp"], "order_by": ["run_name"]})
    for name, more in (("A", {}), ("B", {"model_type": "t", "source_run_id": "$f1"})):
        ask("POST", "logged-models", {"experiment_id": "$fexp", "name": name, **more}, keep={f"fm{name}": "model.info.model_id"})
    points = [("A", "loss", 3, 1, 3.0, "1"), ("A", "loss", 1, 9, 1.0, "2"), ("A", "loss", 2, 2, 2.0, "1"), ("A", "loss", 2, 2, 2.0, "1"), ("B", "loss", 1, 1, 2.5, "1")]
    for model, key, timestamp, step, value, digest in points[:3] + points[4:]:
        ask("POST", "runs/log-metric", {"run_id": "$f1", "key": key, "value": value, "timestamp": timestamp, "step": step, "model_id": f"$fm{model}", "dataset_name": "n", "dataset_digest": digest})
    ask("GET", "logged-models/$fmA")
    search = {"experiment_ids": ["$fexp"]}
    for text in ("metrics.loss < 2", "metrics.loss = 3", "metrics.loss > 3", "model_type != 't'", "model_type = ''", "source_run_id != '$f1'", "name IN ('A',)", "name NOT IN ('A',)", "creation_timestamp_ms > 0", "last_updated_timestamp_ms < 0"):
        ask("POST", "logged-models/search", {**search, "filter": text, "max_results": 1001}, unordered=("models",))
    for key in ({"field_name": "metrics.loss"}, {"field_name": "metrics.loss", "dataset_digest": "1"}, {"field_name": "metrics.loss", "dataset_digest": "2"}, {"field_name": "model_type"}, {"field_name": "source_run_id"}, {"field_name": "creation_timestamp_ms"}):
        for ascending in (True, False):
            ask("POST", "logged-models/search", {**search, "order_by": [{**key, "ascending": ascending}]})
    ask("POST", "logged-models/search", {**search, "filter": "name != 'x'", "max_results": 1}, keep={"ftoken": "next_page_token"}, drop=("next_page_token",))
    for more in ({}, {"filter": "name = 'x'"}, {"filter": "name != 'x'", "experiment_ids": ["77"]}, {"filter": "name != 'x'", "order_by": [{"field_name": "name"}]}):
        ask("POST", "logged-models/search", {**search, "page_token": "$ftoken", **more})
    ask("POST", "logged-models/$fmA/params", {"model_id": "$fmA", "params": [{"key": "p", "value": "1"}]})
    ask("POST", "logged-models/$fmA/params", {"model_id": "$fmA", "params": [{"key": "p", "value": "2"}]}, label="model parameter changed")
    ask("GET", "logged-models/$fmA", label="model with its first parameter")
    ask("DELETE", "logged-models/$fmA")
    ask("PATCH", "logged-models/$fmA", {"model_id": "$fmA", "status": "LOGGED_MODEL_READY"}, label="finalize a deleted model")
    for name in ("fa-$suffix", "fb-$suffix"):
        ask("POST", "registered-models/create", {"name": name})
    for run in ({"run_id": "r"}, {}, {}):
        ask("POST", "model-versions/create", {"name": "fa-$suffix", "source": "mlflow-artifacts:/x", **run})
    for text in ("run_id != 'r'", "run_id = 'r'", "run_id IN ('r',)", "version_number = '2'", "version_number > '1'"):
        ask("GET", "model-versions/search", query={"filter": f"name = 'fa-$suffix' AND {text}"})
    for version, stage in (("1", "Staging"), ("2", "Production"), ("3", "Staging")):
        ask("POST", "model-versions/transition-stage", {"name": "fa-$suffix", "version": version, "stage": stage})
    ask("POST", "registered-models/get-latest-versions", {"name": "fa-$suffix"})
    ask("GET", "registered-models/search", query={"filter": "name = 'fa-$suffix'"})
    ask("POST", "registered-models/rename", {"name": "fa-$suffix", "new_name": "fa-$suffix"})
    prompt = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    ask("POST", "registered-models/create", {"name": "fp-$suffix", "tags": prompt})
    ask("POST", "model-versions/create", {"name": "fp-$suffix", "source": "x", "tags": prompt})
    for test in ("= 'false'", "!= 'true'", "= 'true'", "!= 'false'"):
        query = {"filter": f"name LIKE '%-$suffix' AND name ILIKE 'f%' AND tags.`mlflow.prompt.is_prompt` {test}"}
        ask("GET", "registered-models/search", query=query, drop=("latest_versions",))
        ask("GET", "model-versions/search", query=query)
    for name, tags in (("fp-$suffix", prompt), ("fp-$suffix", []), ("fa-$suffix", prompt)):
        ask("POST", "registered-models/create", {"name": name, "tags": tags})
    ask("POST", "model-versions/create", {"name": "fp-$suffix", "source": "x", "tags": [*prompt, {"key": "mlflow.prompt.text", "value": "x" * 100_001}]}, label="a long prompt")


@part
def artifacts(ask):
    ask("POST", "experiments/create", {"name": "art-$suffix"}, keep={"aexp": "experiment_id"}, drop=("experiment_id",))
    ask("POST", "runs/create", {"experiment_id": "$aexp", "run_name": "r", "start_time": 1}, keep={"arun": "run.info.run_id"})
    root = "/api/2.0/mlflow-artifacts/artifacts"
    for name in ("a.txt", "dir/b.txt", "dir/c.png", "dir/sub/MLmodel", "empty"):
        ask("PUT", f"{root}/$aexp/$arun/artifacts/{name}", raw=b"" if name == "empty" else b"hello")
        ask("GET", f"{root}/$aexp/$arun/artifacts/{name}")
    ask("DELETE", f"{root}/$aexp/$arun/artifacts/empty")
    ask("GET", root, query={"path": "$aexp/$arun/artifacts"}, unordered=("files",))
    ask("GET", root, query={"path": "$aexp/$arun/artifacts/dir"}, unordered=("files",))
    ask("GET", root, query={"path": "$aexp/$arun/artifacts/a.txt"})
    ask("GET", root, query={"path": "../x"})
    for path in (API, AJAX):
        for query in ({"run_id": "$arun"}, {"run_id": "$arun", "path": "dir"}, {"run_uuid": "$arun", "path": "dir/sub"}, {"run_id": "$arun", "path": "a.txt"}, {"run_id": "$arun", "path": "nothing"},
                      {"run_id": "$arun", "path": "../x"}, {"run_id": "$arun", "path": "/etc"}, {"run_id": "$arun", "path": "dir/../.."}, {"run_id": "$arun", "path": "%2e%2e/x"}, {}, {"run_id": "nobody"}, {"run_id": "$arun", "path": ""}, {"run_id": "$arun", "path": "file:///etc"}, {"run_id": "$arun", "path": "."}):
            ask("GET", path + "artifacts/list", query=query, unordered=("files",))
    for query in ({"run_id": "$arun", "path": "a.txt"}, {"run_uuid": "$arun", "path": "dir/b.txt"}, {"run_id": "$arun", "path": "../x"}, {"run_id": "$arun", "path": "/etc/passwd"}):
        ask("GET", "/get-artifact", query=query)
    ask("GET", "/get-artifact", query={"run_id": "$arun", "path": "nothing"}, drop=("message",), label="get-artifact of nothing")
    ask("GET", "/model-versions/get-artifact", query={"name": "model", "version": "1", "path": "../path"})
    ask("DELETE", f"{root}/$aexp/$arun/artifacts/a.txt")
    ask("GET", f"{root}/$aexp/$arun/artifacts/a.txt", label="a deleted artifact", drop=("message",))
    upload = AJAX + "upload-artifact"
    for query in ({}, {"run_uuid": "$arun"}, {"run_uuid": "$arun", "path": ""}, {"run_uuid": "$arun", "path": "../test.txt"}):
        ask("POST", upload, query=query)
    ask("POST", upload, query={"run_uuid": "$arun", "path": "t.txt"})
    ask("POST", upload, query={"run_uuid": "$arun", "path": "t.txt"}, raw=b"hello world")
    ask("GET", "/get-artifact", query={"run_uuid": "$arun", "path": "t.txt"})
    ask("POST", upload, query={"run_uuid": "nobody", "path": "t.txt"}, raw=b"x")
    for path in ("..%2fx", "%2e%2e/x", "a/%2e%2e/%2e%2e/x", "%252e%252e%252fx", "/etc/x", "a%5c..%5cx", "c:%5cx"):
        ask("PUT", f"{root}/{path}", raw=b"x", label=f"PUT artifact {path}")
        ask("GET", f"{root}/{path}", label=f"GET artifact {path}")


@part
def bodies(ask):
    path = "experiments/create"
    ask("POST", path, raw=b"{}", headers={"Content-Type": "text/plain"})
    ask("POST", path, raw=b"{}")
    ask("POST", path, raw=b"{", headers={"Content-Type": "application/json"})
    ask("POST", path, raw=b"", headers={"Content-Type": "application/json"})
    ask("POST", path, raw=b"null", headers={"Content-Type": "application/json"})
    ask("POST", path, raw=json.dumps(json.dumps({"name": 5})).encode(), headers={"Content-Type": "application/json"}, label="doubly encoded")
    ask("POST", path, raw=b"{}", headers={"Content-Type": "application/json; charset=utf-8"})
    ask("POST", path, raw=b"\xff\xfe", headers={"Content-Type": "application/json"})
    ask("POST", path, {"name": 5, "unknown": 1})
    ask("GET", "experiments/get", query={"experiment_id": "0", "unknown": "x"}, only="experiment.name")


known("filter refused: metrics.acc > 1 metrics.acc < 2", "MLflow passes over the second half")
known("filter refused: metrics. > 1", "a metric has a name")
known("IS NULL", "taken of every field here")
known('"order_by": ["Start Time"]', "the message says where")
known("order refused: ['datasets.name']", "taken here")
known("order refused: ['metrics.acc', 'metrics.acc']", "taken here; MLflow answers 500")
known('"page_token": "eyJvZmZzZXQiOiAyfQ=="', "tokens are places and no counts of rows")
known('"run_view_type": "x"', "MLflow passes over a word that it does not know; here it is told")
known('"experiment_ids": [1]', "an id is taken as the number that it is; MLflow passes over what is no text")
known('"experiment_ids": [5]', "as above")
known("model named 'xxxxxxxxx'", "a name has 256 characters at most")
for source in ("file:", "model", "./x"):
    known(f"source {source}", "the source as it was given, and no path of the host")
for source in ("s3://bucket/key", "http://host/x", "gs://b/x"):
    known(f"source {source}", "only what this server or its client through it can resolve")
for source in ("mlflow-artifacts:/a?b", "mlflow-artifacts:/a#b", "mlflow-artifacts:/a;b", "mlflow-artifacts:/a\\..\\b"):
    known(f"source {source}", "what another reader might cut off or turn around is refused")
known("get-download-uri {", "the missing argument is told as everywhere")
known("model-versions/update without description", "an empty description is shown")
known("model-versions/update description=null", "an empty description is shown")
known("GET latest {'name': 'm-$suffix'", "the newest version differs by the sources above")
known('get-latest-versions {"name": "m-$suffix"', "the newest version differs by the sources above")
known('registered-models/search {"max_results": 0}', "it is no size")
known('registered-models/search {"max_results": -5}', "it is no size")
known('registered-models/search {"order_by": ["name", "name"]}', "taken here; MLflow answers 500")
known("version_number = 'x'", "it is no number")
known("name IN (", "taken here")
known('"source": "file:///path/to/model", "model_id"', "the source as it was given, and no path of the host")
for path in ('create {"name": "lm-$suffix"', 'get {"name": "lm-$suffix"'):
    known(f"model-versions/{path}", "a version knows its logged model")
known('"path": "."}', "a path has one form")
known('upload-artifact {"run_uuid": "$arun", "path": "t.txt"}', "an empty object is JSON")
for path in ("/etc/x", "a%5c..%5cx"):
    known(f"artifact {path}", "a path that another system reads otherwise is refused")
known('"alias": "latest"', "the newest version, whatever its stage")
known('registered-models/search {"order_by": ["name DESC"]', "the model with the long name")
known('"name": "a\'b"}', "Python's quotes")
known("status = 'READY'", "MLflow keeps a number and never finds its word")
known("run with a long tag name", "MLflow does not look at tags here, and fails where its database does")
known('timestamp=""', "nothing was given")
known("model parameter changed", "the code and the message say what is wrong; MLflow shows its database's")
for value in ("0", "-1", '"x"'):
    known(f'get-history {{"run_id": "$h1", "metric_key": "m", "max_results": {value}}}', "it is no size")
known('"run_ids": ["$h1"], "metric_key": "m"}', "MLflow leaves negative steps out")
known("get-history {\"run_id\": \"$h1\", \"metric_key\": \"m\"}", "the whole history, as the client means it; MLflow answers a page of nothing")
known("filter metric.acc <= 0.5", "MLflow takes NaN for zero")
known("filter refused: params.depth = 3", "a bare number compares parameters as numbers")
known('runs/get {"run_id": "$lrun"}', "a metric says what it was measured of and on, as its history does")
known("long experiment tag", "20,000 characters are taken, as newer servers do")
known('experiments/get {"experiment_id": "$e1"}', "the long tag from above")
known("rename to a taken name", "the code says what it is")
known("NONSENSE", "MLflow passes over a word that it does not know; here it is told")
known('"page_token": "?"', "tokens are places and no counts of rows")
known('search-datasets {"experiment_ids": "1"}', "the list's type is told")
known("/api/2.0/mlflow/experiments/search-datasets", "taken under both prefixes")
known('"step": 4.5', "MLflow passes over a number that is none; here it is told")
for number in ("timestamp=1.5", "timestamp=true", "step=1.5", "step=true", "value=true", "18446744073709551616"):
    known(number, "as above")
for name in ("metrics", "params", "tags"):
    known(f"runs/log-batch {name}=null", "null is nothing; MLflow answers 500")


def main():
    pair = Pair(Server(sys.argv[2]), Server(sys.argv[1]))
    chosen = sys.argv[3:] or list(PARTS)
    for name in chosen:
        PARTS[name](pair)
    open_ones = [label for label, why in pair.different if why is None]
    print(f"{pair.asked} requests, {len(pair.different)} answered differently, {len(open_ones)} of them unexplained")
    sys.exit(1 if open_ones else 0)


if __name__ == "__main__":
    main()
