"""No request of a client's brings an answer of 5xx, on no route, whatever it sends; every refusal is JSON with
a code and a message that clients can read. The routes are read from the table in the source, so that a new one
is tried as soon as it is there."""

import http.client
import json
import random
import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from conftest import RONDO

TABLE = Path(__file__).parent.parent / "app" / "src" / "http" / "mlflow.rs"
READS = re.compile(r"\.(?:text|texts|required|maybe|given|says|int|float|flag|object|objects|pairs|enumeration|view|wrong)\(\s*\"(\w+)\"")
NESTS = {"api": ["/api/2.0/mlflow", "/ajax-api/2.0/mlflow"], "newer": ["/api/3.0/mlflow", "/ajax-api/3.0/mlflow"]}

NAMES = [
    "experiment_id", "experiment_ids", "experiment_name", "name", "new_name", "run_id", "run_uuid", "run_ids", "key",
    "value", "timestamp", "step", "metrics", "params", "tags", "datasets", "models", "filter", "order_by",
    "max_results", "page_token", "view_type", "run_view_type", "status", "end_time", "start_time", "user_id",
    "metric_key", "start_step", "end_step", "path", "source", "version", "stage", "stages", "alias", "description",
    "archive_existing_versions", "model_id", "model_json", "model_type", "source_run_id", "artifact_location",
    "artifact_directory_path", "artifact_file_path", "allow_deleted", "run_link", "run_name",
]
VALUES = [
    None, "", "x", "0", "é\u0000\ud7ff", "\u202e" * 3, "x" * 70_000, "../../etc/passwd", "%2e%2e%2f", "%00", "%", "\\..\\",
    "'; DROP TABLE run; --", "metrics.`" + "(" * 200, "NOT " * 300, "a = 'b' AND " * 400, "\u0000", "NaN", "Infinity",
    0, -1, 1, 1.5, -0.0, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63), 10**400, 1e308, True, False,
    [], [None], [[]], [{}], ["x"], [1], [["x"] * 50], [{"key": None}], [{"key": 5, "value": []}],
    [{"key": "k", "value": {}, "timestamp": [], "step": "x"}], [{"dataset": 5}], [{"dataset": {"name": []}, "tags": 7}],
    [{"model_id": 3, "step": {}}], [{"field_name": 5, "ascending": "x"}], [{"dataset_name": {}}], {}, {"a": {"b": []}},
    "bm90IGEgdG9rZW4=", "WyJpMSJd", "WyJ0eCIsICJyZmZmZiJd", "////", "eyJvZmZzZXQiOiAyfQ==",
]
RAW = [
    b"", b"{", b"null", b"[]", b"5", b'"x"', b'"{"', b"\xff\xfe\x00", b"{" * 5000, b"[" * 200_000, b'{"name": 1e999}',
    b'{"name": "\\ud800"}', b'{"run_id": "a", "run_id": 5}', b"\x00" * 100, b'{"a": ' + b"1" * 5000 + b"}",
]
TYPES = [None, "", "application/json", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=x", "é", "multipart/form-data"]
TAILS = ["%", "%zz", "%ff", "%00", "..%2f..%2fx", "%c0%ae%c0%ae/x", "x" * 3000, "a%0d%0aX:%20y", "%252e%252e%252fx", "%5c..%5c"]


def routes():
    """Each route with its methods, from the table in the source."""
    found = set()
    for block in re.split(r"\n(?:pub )?fn ", TABLE.read_text().split("#[cfg(test)]")[0]):
        kind = block.split("(", 1)[0]
        prefixes = {"router": [""], "routes": [""], "traces": ["/api/3.0/mlflow"], "proxy": ["/api/2.0/mlflow-artifacts"], "models": ["/ajax-api/3.0/mlflow"]}
        for piece in block.split(".route(")[1:]:
            depth, end = 1, 0
            while depth:
                depth += {"(": 1, ")": -1}.get(piece[end], 0)
                end += 1
            literal = re.match(r'\s*"([^"]+)"', piece)
            if not literal:
                # An address that carries its own right: its place is a constant, and `test_artifacts` has it.
                continue
            path = literal[1]
            for method in re.findall(r"\b(get|post|put|patch|delete)\(", piece[:end]):
                found |= {(method.upper(), prefix + path) for prefix in prefixes.get(kind, NESTS.get(kind, ["/api/2.0/mlflow"]))}
    return sorted(found)


def reads():
    """Each route that takes a body, once, with the names of arguments that its handlers and their helpers read."""
    source = TABLE.read_text().split("#[cfg(test)]")[0]
    handlers = {}
    for piece in source.split(".route(")[1:]:
        literal = re.match(r'\s*"([^"]+)"', piece)
        if literal:
            handlers.setdefault(literal[1], set()).update(re.findall(r"\b(\w+)::(\w+)\)", piece))
    for method, path in routes():
        if method in ("GET", "DELETE") or path.startswith("/ajax-api") and "upload" not in path or "mlflow-artifacts" in path:
            continue
        names = {"run_id", "run_uuid"}
        for module, handler in next((found for end, found in handlers.items() if path.endswith(end)), ()):
            file = TABLE.parent / "mlflow" / f"{module}.rs"
            pieces = re.split(r"\n(?=(?:pub\(super\) )?(?:async )?fn )", file.read_text()) if file.exists() else []
            wanted = [piece for piece in pieces if f"fn {handler}(" in piece or not piece.startswith("pub(super) async")]
            names |= {name for piece in wanted for name in READS.findall(piece)}
        yield method, path, sorted(names)


def deep(levels):
    """A list in a list in a list: its text, since Python would not write it."""
    return "[" * levels + "]" * levels


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    process = subprocess.Popen(
        [RONDO, "server", "--listen", "127.0.0.1:0", "--data", str(tmp_path_factory.mktemp("hostile")), "--json"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )
    try:
        yield json.loads(process.stdout.readline())["listen"]
        assert process.poll() is None, "the server has ended"
    finally:
        process.terminate()
        assert process.wait(timeout=120) == 0


@pytest.fixture(scope="module")
def known(url):
    """Ids that exist, so that a request goes further than its first look-up."""
    api = url + "/api/2.0/mlflow/"
    run = requests.post(api + "runs/create", json={"experiment_id": "0", "run_name": "r"}).json()["run"]["info"]
    requests.post(api + "registered-models/create", json={"name": "known"})
    requests.post(api + "model-versions/create", json={"name": "known", "source": f"runs:/{run['run_id']}/m"})
    model = requests.post(api + "logged-models", json={"experiment_id": "0", "name": "known"}).json()["model"]["info"]
    return {"experiment_id": "0", "experiment_ids": ["0"], "run_id": run["run_id"], "run_ids": [run["run_id"]], "name": "known",
            "version": "1", "key": "k", "metric_key": "k", "model_id": model["model_id"], "value": "1", "timestamp": 1}


def judge(response, what):
    assert response.status_code < 500, f"{what}: {response.status_code} {response.text[:300]}"
    if response.status_code >= 400:
        try:
            body = response.json()
            # Spans come by OpenTelemetry's protocol, which MLflow answers in words of its own.
            told = [body["detail"]] if "/v1/traces" in what and "detail" in body else [body["error_code"], body["message"]]
            assert all(isinstance(word, str) for word in told)
        except (ValueError, KeyError, TypeError):
            raise AssertionError(f"{what}: {response.status_code} {response.text[:300]!r}") from None


def place(path, known, tail="x"):
    """A route with something in its places."""
    given = {"model_id": known["model_id"], "key": tail}
    return re.sub(r"\{\*?(\w+)\}", lambda m: given.get(m[1], tail), path)


def test_the_table_of_routes_was_found():
    found = routes()
    assert len(found) > 70 and ("POST", "/api/2.0/mlflow/runs/log-batch") in found, found
    assert ("PUT", "/api/2.0/mlflow-artifacts/artifacts/{*path}") in found


def test_bodies_that_are_no_json_and_types_that_are_none(url, known):
    session = requests.Session()
    for method, path in routes():
        # Where no body is read, one that comes may end the connection.
        if "mlflow-artifacts" in path or method in ("GET", "DELETE"):
            continue
        for number, raw in enumerate(RAW):
            kind = TYPES[number % len(TYPES)]
            headers = {} if kind is None else {"Content-Type": kind.encode()}
            response = session.request(method, url + place(path, known), data=raw, headers=headers, timeout=60)
            judge(response, f"{method} {path} {raw[:40]!r} {kind}")


def test_arguments_of_every_type_under_every_name(url, known):
    session, chance = requests.Session(), random.Random(7)
    for method, path in routes():
        if "mlflow-artifacts" in path or path.endswith("upload-artifact"):
            continue
        for value in chance.sample(VALUES, 12):
            # Everything known is right but for a few.
            body = {**known, **{name: value for name in chance.sample(NAMES, 6)}}
            target, what = url + place(path, known), f"{method} {path}"
            if method == "GET":
                query = {k: v if isinstance(v, (str, list)) else json.dumps(v) for k, v in body.items()}
                query = {k: v[:2000] if isinstance(v, str) else [str(i)[:200] for i in v] for k, v in query.items()}
                response = session.get(target, params=query, timeout=60)
            else:
                text = json.dumps(body).encode("utf-8", "surrogatepass")
                response = session.request(method, target, data=text, headers={"Content-Type": "application/json"}, timeout=60)
            judge(response, f"{what} {json.dumps(body)[:600]}")


def test_each_argument_alone_of_the_wrong_type(url, known):
    session, chance = requests.Session(), random.Random(11)
    for path in ["runs/log-batch", "runs/log-inputs", "runs/outputs", "runs/search", "logged-models", "logged-models/search",
                 "experiments/create", "experiments/search", "runs/create", "runs/update", "runs/log-metric", "model-versions/create"]:
        for name in NAMES:
            for value in chance.sample(VALUES, 3):
                text = json.dumps({**known, name: value}).encode("utf-8", "surrogatepass")
                headers = {"Content-Type": "application/json"}
                response = session.post(f"{url}/api/2.0/mlflow/{path}", data=text, headers=headers, timeout=60)
                judge(response, f"{path} {name}={str(value)[:80]!r}")


# As they stand in the body: some are no value that Python's JSON writes.
TEXTS = {
    "null": "null", "list": "[]", "number": "5", "fraction": "-1.5", "flag": "true", "object": "{}",
    "huge number": "1" + "0" * 400, "no number": "1e999", "lone surrogate": r'"\ud800"', "reversed pair": r'"\udc00\ud800"',
    "NUL": r'"a\u0000b"', "long": f'"{"x" * (1 << 20)}"', "deep": deep(100), "too deep": deep(100_000),
    "inner nulls": '[{"key": null, "value": null, "timestamp": null, "step": null}]',
    "inner lists": '[{"key": [], "value": [], "dataset": [], "model_id": [], "name": []}]',
    "inner huge": '[{"key": "k", "value": 1%s, "timestamp": 1%s, "step": 1%s}]' % (("0" * 400,) * 3),
    "inner NUL": r'[{"key": "a\u0000", "value": "\ud800", "timestamp": 1, "dataset": {"name": "\u0000"}}]',
}


def test_each_field_that_a_route_reads_with_each_kind_of_nonsense(url, known):
    """One field wrong and all others right, on every route that takes a body: an answer, and soon."""
    session, asked = requests.Session(), 0
    for method, path, names in reads():
        target = url + place(path, known)
        for name in names:
            good = {**known, "name": "known"}
            good.pop(name, None)
            start = json.dumps(good)[:-1]
            for kind, text in TEXTS.items():
                body = f'{start}, "{name}": {text}}}'.encode()
                headers = {"Content-Type": "application/json"}
                response = session.request(method, target, data=body, headers=headers, timeout=60)
                judge(response, f"{method} {path} {name}: {kind}")
                asked += 1
    assert asked > 2000, asked
    assert session.get(url + "/health", timeout=60).text == "OK"


def raw_request(url, method, target, headers=(), body=b""):
    """A request whose path is sent as it is."""
    there = urlsplit(url)
    connection = http.client.HTTPConnection(there.hostname, there.port, timeout=60)
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", there.netloc)
    for name, value in headers:
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    response = requests.Response()
    response.status_code, response._content = answer.status, answer.read()
    connection.close()
    return response


def test_paths_and_queries_that_cannot_be_decoded(url, known):
    for method, path in routes():
        for tail in TAILS:
            if "{" in path:
                target = place(path, known, tail)
                judge(raw_request(url, method, target, [("Content-Type", "application/json")]), f"{method} {target[:200]}")
            if method == "GET":
                target = f"{place(path, known)}?run_id={tail}&path={tail}&{tail}=x&experiment_id={tail}"
                judge(raw_request(url, method, target), f"{method} {target[:200]}")


def test_headers_that_are_none(url, known):
    for headers in [
        [("Range", "bytes=9223372036854775807-")], [("Range", "bytes=-18446744073709551616")], [("Range", "bytes=1-0,x")],
        [("If-None-Match", "\xff")], [("Authorization", "Basic !!!")], [("Authorization", "\xff\xfe")],
        [("Content-Type", "application/json"), ("Content-Type", "text/plain")], [("Accept", "\xff")],
    ]:
        for target in [f"/api/2.0/mlflow/runs/get?run_id={known['run_id']}", "/api/2.0/mlflow/experiments/get?experiment_id=0"]:
            judge(raw_request(url, "GET", target, headers), f"{headers}")


def test_unknown_routes_and_methods_are_told_as_json(url, known):
    for prefix in ["/api/2.0/mlflow/", "/ajax-api/2.0/mlflow/", "/api/3.0/mlflow/", "/nothing/", "/api/2.0/mlflow-artifacts/"]:
        answer = requests.post(url + prefix + "nobody/knows", json={})
        assert (answer.status_code, answer.json()["error_code"]) == (404, "ENDPOINT_NOT_FOUND"), answer.text
    for method, path in routes():
        for other in ["TRACE", "OPTIONS", "PUT", "PATCH"]:
            if other == method:
                continue
            judge(requests.request(other, url + place(path, known), timeout=60), f"{other} {path}")
