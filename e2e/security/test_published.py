"""MLflow's published vulnerabilities, replayed: nothing is let in.

One test a row of the list, named by its CVE. Each sends the request of the report, in all the spellings that
got around MLflow's later fixes too, and looks at what it would have reached: a file of the host, an address
that must not be called, a thing of somebody else's.
"""

import json
import os
import pickle
import socket
import stat
import subprocess
import threading
import time
import urllib.parse
import uuid

import requests
from conftest import RONDO
from security.conftest import API, CANARY, PASSWORD, admin, serve

AJAX = "/ajax-api/2.0/mlflow"


def fresh():
    return "x" + uuid.uuid4().hex[:8]


def model(server):
    name = fresh()
    server.made("/registered-models/create", {"name": name})
    return name


def refused(answer, *statuses):
    status, text = (answer.status_code, answer.text) if hasattr(answer, "status_code") else answer
    text = text.decode(errors="replace") if isinstance(text, bytes) else text
    assert status in (statuses or (400,)), f"{status}: {text}"
    assert CANARY not in text and "root:x:0" not in text


def version(server, source, **more):
    return server.post("/model-versions/create", {"name": model(server), "source": source, **more})


def test_cve_2023_1177_a_local_source_is_no_source(server, canary):
    name = model(server)
    for source in ["/etc/", "/", str(canary.parent), f"file://{canary.parent}", "file:///"]:
        refused(server.post("/model-versions/create", {"name": name, "source": source}))
    for path in ["etc/passwd", "/etc/passwd", str(canary), canary.name, "../../../../etc/passwd"]:
        asked = urllib.parse.urlencode({"name": name, "version": "1", "path": path})
        refused(server.call("GET", f"/model-versions/get-artifact?{asked}"), 400, 404)


def test_cve_2023_2356_no_source_leaves_its_root(server, canary):
    run = server.run()
    root = run["artifact_uri"]
    up = "../" * 12 + str(canary.parent).lstrip("/")
    for dots in [up, urllib.parse.quote(up, safe=""), urllib.parse.quote(urllib.parse.quote(up, safe=""), safe=""),
                 up.replace("..", "%2e%2e"), up.replace("../", "..%2f"), up.replace("../", "%252e%252e%252f")]:
        for start in [root, "mlflow-artifacts:", "mlflow-artifacts://host", "http://host/api", "https://host",
                      "file:", "s3://bucket", f"models:/{model(server)}"]:
            refused(version(server, f"{start}/{dots}"), 400, 404)
            refused(version(server, f"{start}/{dots}", run_id=run["run_id"]), 400, 404)


def test_cve_2023_2780_backslashes_are_no_way_up(server, canary):
    run = server.run()
    for source in ["file:\\..\\..\\..\\etc", "\\..\\..\\etc\\passwd", f"file:///{canary.parent}\\..\\..\\",
                   f"{run['artifact_uri']}\\..\\..\\x", f"{run['artifact_uri']}/%5c..%5c..%5cx"]:
        refused(version(server, source))
        refused(server.post("/experiments/create", {"name": fresh(), "artifact_location": source}))


def test_cve_2023_6831_cve_2024_1560_nothing_outside_is_deleted_however_often_it_is_encoded(server, canary):
    run = server.run()
    server.put(run, "keep.txt", b"kept")
    below = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
    target = str(canary)
    for depth in range(3, 14, 5):
        plain = "../" * depth + target.lstrip("/")
        for path in [plain, plain.replace("../", "%2e%2e%2f"), plain.replace("../", "%252e%252e%252f"),
                     plain.replace("../", "%25252e%25252e%25252f"), plain.replace("../", "..%5c"),
                     plain.replace("../", "%2e%2e/"), "/" + target, "%2f" + target.lstrip("/")]:
            for start in ["", below + "/"]:
                for prefix in ["/api/2.0", "/ajax-api/2.0"]:
                    answer = server.raw("DELETE", f"{prefix}/mlflow-artifacts/artifacts/{start}{path}")
                    assert answer[0] in (200, 400, 404), answer
                    read = server.raw("GET", f"{prefix}/mlflow-artifacts/artifacts/{start}{path}")
                    refused(read, 400, 404)
    assert canary.read_text() == CANARY
    assert server.call("GET", f"/api/2.0/mlflow-artifacts/artifacts/{below}/keep.txt").content == b"kept"


def test_cve_2024_1593_nothing_hides_behind_a_semicolon(server):
    for location in ["mlflow-artifacts:/a;../../../../etc", "http://host/a;../../..", "file:///a;/../../etc",
                     "mlflow-artifacts:/a#/../../etc", "mlflow-artifacts:/a?x=/../../etc"]:
        refused(server.post("/experiments/create", {"name": fresh(), "artifact_location": location}))
        refused(version(server, location))


def test_cve_2024_3573_a_scheme_is_on_the_list_or_refused(server, canary):
    for scheme in ["", ":", "://", "File:", "FILE://", "fIle:///", "file+x://", "local:", "ftp://", "gopher://",
                   "jar:file:", "netdoc:", "data:,", "dbfs:/", "hdfs:///", "javascript:", "\tfile://", " file://"]:
        source = scheme + str(canary.parent)
        refused(version(server, source))
        refused(server.post("/experiments/create", {"name": fresh(), "artifact_location": source}))


def names_nothing(server, made, canary):
    """A source of the proxy's or a run's may name what is not there, as with MLflow: then nothing is behind it."""
    if made.status_code != 200:
        refused(made, 400, 404)
        return
    made = made.json()["model_version"]
    assert made["source"].startswith(("mlflow-artifacts:", "runs:")), made
    for path in [canary.name, str(canary), str(canary).lstrip("/"), "MLmodel"]:
        asked = urllib.parse.urlencode({"name": made["name"], "version": made["version"], "path": path})
        refused(server.call("GET", f"/model-versions/get-artifact?{asked}"), 400, 404)


def test_cve_2025_11201_a_source_is_among_the_artifacts_of_what_exists(server, canary):
    for source in [f"mlflow-artifacts:/{canary.parent}", "mlflow-artifacts:/0", "mlflow-artifacts:/",
                   f"mlflow-artifacts:/0/{'0' * 32}/artifacts", f"models:/m-{'0' * 32}", "models:/nobody/1",
                   f"runs:/{'0' * 32}/model", str(server.store), f"file://{server.store}"]:
        names_nothing(server, version(server, source), canary)


def test_cve_2026_2614_no_pairing_of_source_run_and_model_reads_a_file(server, canary):
    run = server.run()
    logged = server.made("/logged-models", {"experiment_id": "0", "name": "m"})["model"]["info"]["model_id"]
    for source in [str(canary.parent), f"file://{canary.parent}", f"file:{canary.parent}", "/", "..",
                   f"{run['artifact_uri']}/../../../..", f"mlflow-artifacts:/{canary.parent}"]:
        for more in [{}, {"run_id": run["run_id"]}, {"model_id": logged},
                     {"run_id": run["run_id"], "model_id": logged}, {"run_id": ""}, {"model_id": ""},
                     {"tags": [{"key": "mlflow.prompt.is_prompt", "value": "true"}]}]:
            name = model(server)
            made = server.post("/model-versions/create", {"name": name, "source": source, **more})
            if made.status_code == 200:
                # The text of a prompt's source is never a place, nor is a name of the proxy's that nobody has.
                assert source == ".." and "tags" in more or source.startswith("mlflow-artifacts:")
            else:
                refused(made, 400, 404)
            for path in [canary.name, str(canary)]:
                asked = urllib.parse.urlencode({"name": name, "version": "1", "path": path})
                refused(server.call("GET", f"/model-versions/get-artifact?{asked}"), 400, 404)


def test_cve_2026_2393_webhooks_call_no_inner_address(server, listener):
    inner = [f"http://127.0.0.1:{listener.port}/", f"http://localhost:{listener.port}/",
             f"http://[::1]:{listener.port}/", f"http://0.0.0.0:{listener.port}/",
             f"http://2130706433:{listener.port}/", f"http://127.1:{listener.port}/",
             f"http://[::ffff:127.0.0.1]:{listener.port}/", f"https://127.0.0.1:{listener.port}/",
             "http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/", "http://192.168.0.1/",
             "http://metadata.google.internal/", "file:///etc/passwd", "gopher://127.0.0.1/"]
    for url in inner:
        body = {"name": fresh(), "url": url, "events": [{"entity": "REGISTERED_MODEL", "action": "CREATED"}]}
        for prefix in [API, AJAX]:
            answer = server.call("POST", f"{prefix}/webhooks", json=body)
            refused(answer, 400)
    refused(server.call("POST", f"{API}/webhooks/{'0' * 32}/test", json={}), 404)
    model(server)
    time.sleep(0.5)


def test_cve_2025_14279_another_hosts_name_is_refused(server):
    body = json.dumps({"name": fresh()}).encode()
    for host in ["evil.com", "evil.com:5000", "127.0.0.1.evil.com", "localhost.evil.com", "", "evil.com#127.0.0.1"]:
        for path in [f"{API}/experiments/create", f"{AJAX}/experiments/create"]:
            answer = server.raw("POST", path, body, **{"Host": host, "Content-Type": "application/json"})
            refused(answer, 403, 400)
        refused(server.raw("GET", f"{API}/experiments/get?experiment_id=0", Host=host), 403, 400)
    assert server.raw("GET", "/health", Host="evil.com")[0] == 200
    name = json.loads(body)["name"]
    assert server.call("GET", f"{API}/experiments/get-by-name?experiment_name={name}").status_code == 404


def test_cve_2026_2611_another_sites_page_reaches_no_path(server):
    for origin in ["http://evil.com", "https://evil.com", "null", "http://127.0.0.1.evil.com", "file://", "evil"]:
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]:
            for path in [f"{API}/experiments/get?experiment_id=0", f"{API}/experiments/create",
                         "/ajax-api/3.0/mlflow/assistant/config", "/ajax-api/3.0/mlflow/server-info",
                         "/api/2.0/mlflow-artifacts/artifacts/x", "/graphql", "/v1/traces", "/nothing"]:
                answer = server.call(method, path, json={"name": fresh()}, headers={"Origin": origin})
                refused(answer, 403)
                assert "access-control-allow-origin" not in {key.lower() for key in answer.headers}
    same = {"Origin": server.url}
    assert server.call("GET", f"{API}/experiments/get?experiment_id=0", headers=same).status_code == 200


def test_cve_2025_1473_a_form_changes_nothing(guarded):
    form = {"username": "mallory", "password": PASSWORD, "name": "by-form"}
    for path in ["/signup", f"{API}/users/create", f"{API}/users/create-ui", f"{API}/experiments/create"]:
        for kind in ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"]:
            # A browser would send the password along that it has been given before.
            answer = guarded.call("POST", path, data=form, headers={"Content-Type": kind})
            refused(answer, 400, 404)
            crossed = guarded.call("POST", path, json=form, headers={"Origin": "http://evil.com"})
            refused(crossed, 403)
    assert guarded.call("GET", f"{API}/users/get?username=mallory").status_code == 404
    assert "set-cookie" not in {key.lower() for key in guarded.call("GET", f"{API}/users/list").headers}


def test_cve_2024_27132_what_users_write_is_never_a_page(server):
    script = "<script>alert(1)</script>"
    run = server.made("/runs/create", {"experiment_id": "0", "run_name": script,
                                       "tags": [{"key": "note", "value": script}]})["run"]["info"]
    answer = server.call("GET", f"{API}/runs/get?run_id={run['run_id']}")
    assert answer.headers["content-type"].startswith("application/json")
    for name in ["page.html", "picture.svg", "page.htm", "x.xhtml", "plain"]:
        path = server.put(run, name, script.encode())
        for asked in [path, f"/get-artifact?run_uuid={run['run_id']}&path={name}"]:
            answer = server.call("GET", asked)
            assert answer.headers["content-disposition"].startswith("attachment"), asked
            assert answer.headers["x-content-type-options"] == "nosniff"
    for path in [f"{API}/runs/get?run_id={script}", f"/{script}", f"{API}/experiments/get-by-name?experiment_name={script}"]:
        answer = server.call("GET", path)
        assert script not in answer.text or answer.headers["content-type"].startswith("application/json")


JOBS = [("GET", "/ajax-api/3.0/jobs/1"), ("POST", "/ajax-api/3.0/jobs/"), ("POST", "/ajax-api/3.0/jobs/search"),
        ("POST", "/api/3.0/jobs"), ("DELETE", "/ajax-api/3.0/jobs/1")]


def closed(server, method, path, **more):
    answer = requests.request(method, server.url + path, timeout=60, **more)
    refused(answer, 401)
    assert "www-authenticate" in {key.lower() for key in answer.headers}


def test_cve_2026_0545_jobs_ask_who_is_there(guarded):
    for method, path in JOBS:
        closed(guarded, method, path, json={"job_name": "x"})


def test_cve_2026_2652_so_do_traces_and_whatever_else_there_is(guarded):
    for method, path in JOBS + [("POST", "/v1/traces"), ("GET", "/v1/traces"), ("POST", "/graphql"),
                                ("GET", "/metrics"), ("POST", "/api/3.0/mlflow/traces"), ("GET", "/"),
                                ("POST", "/gateway/x/invocations"), ("GET", "/ajax-api/3.0/mlflow/server-info")]:
        closed(guarded, method, path, data=b"\x0a\x00", headers={"Content-Type": "application/x-protobuf"})
    for path in ["/health", "/version"]:
        assert requests.get(guarded.url + path, timeout=60).status_code == 200


def secrets(guarded):
    experiment = guarded.experiment(fresh())
    run = guarded.run(experiment)
    guarded.made("/runs/log-metric", {"run_id": run["run_id"], "key": "m", "value": 1, "timestamp": 1})
    guarded.put(run, "secret.txt", b"secret")
    return experiment, run


def test_cve_2025_14297_every_surface_of_a_thing_asks_the_same(guarded):
    experiment, run = secrets(guarded)
    eve, id = guarded.as_user("eve"), run["run_id"]
    where = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
    for path in [f"{API}/runs/get?run_id={id}", f"{AJAX}/runs/get?run_id={id}", f"{API}/artifacts/list?run_id={id}",
                 f"{AJAX}/metrics/get-history-bulk?run_id={id}&metric_key=m", f"/get-artifact?run_uuid={id}&path=secret.txt",
                 f"{AJAX}/metrics/get-history-bulk-interval?run_ids={id}&metric_key=m",
                 f"{API}/metrics/get-history?run_id={id}&metric_key=m",
                 f"/api/2.0/mlflow-artifacts/artifacts/{where}/secret.txt",
                 f"/ajax-api/2.0/mlflow-artifacts/artifacts/{where}/secret.txt",
                 f"/api/2.0/mlflow-artifacts/artifacts?path={where}", f"{API}/experiments/get?experiment_id={experiment}",
                 f"/api/v1/runs/{id}/series?metric=m", f"/api/v1/runs/compare?run={id}", f"/api/v1/runs/{id}/events",
                 f"/api/v1/runs/{id}/log", f"/api/v1/runs/{id}/log?format=text", f"/api/v1/runs/{id}/outputs",
                 f"/api/v1/experiments/{experiment}/columns?kind=metric"]:
        refused(eve.call("GET", path), 403)
    query = "{ mlflowGetRun(input: {runId: \"%s\"}) { run { info { runId } } } }" % id
    answer = eve.call("POST", "/graphql", json={"query": query})
    assert answer.json()["data"] == {"mlflowGetRun": None} and id not in answer.text, answer.text
    assert id in guarded.call("POST", "/graphql", json={"query": query}).text
    for path in ["/runs/search", "/logged-models/search"]:
        for prefix in [API, AJAX]:
            answer = eve.call("POST", prefix + path, json={"experiment_ids": [experiment]})
            assert answer.status_code == 200 and id not in answer.text, answer.text
    assert eve.call("GET", f"/api/v1/runs?experiment={experiment}").json()["runs"] == []


def test_cve_2025_15381_traces_and_assessments_are_of_their_experiment(guarded):
    experiment, run = secrets(guarded)
    eve, trace = guarded.as_user("eve"), f"tr-{uuid.uuid4().hex}"
    where = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
    info = {"trace_id": trace, "trace_location": where, "request_time": "2026-01-01T00:00:00Z",
            "request_preview": "secret", "state": "OK"}
    made = guarded.call("POST", "/api/3.0/mlflow/traces", json={"trace": {"trace_info": info}})
    assert made.status_code == 200, made.text
    said = {"assessment_name": "a", "feedback": {"value": True}}
    made = guarded.call("POST", f"/api/3.0/mlflow/traces/{trace}/assessments", json={"assessment": said})
    assert made.status_code == 200, made.text
    assessment = f"/traces/{trace}/assessments/{made.json()['assessment']['assessment_id']}"
    body = {"experiment_id": experiment, "trace_id": trace, "trace_ids": [trace], "request_ids": [trace], "key": "k",
            "value": "v", "run_id": run["run_id"], "assessment": said, "update_mask": "rationale",
            "prompt_versions": [{"name": "p", "version": "1"}], "trace": {"trace_info": info}}
    for method, path in [("GET", f"/traces/{trace}"), ("GET", f"/traces/get?trace_id={trace}"),
                         ("GET", f"/traces/batchGet?trace_ids={trace}"), ("POST", "/traces/batchGetInfos"),
                         ("GET", f"/get-trace-artifact?request_id={trace}"), ("POST", "/traces/delete-traces"),
                         ("GET", assessment), ("PATCH", assessment), ("DELETE", assessment),
                         ("POST", f"/traces/{trace}/assessments"), ("PATCH", f"/traces/{trace}/tags"),
                         ("DELETE", f"/traces/{trace}/tags"), ("POST", "/traces")]:
        for prefix in ["/api/3.0/mlflow", "/ajax-api/3.0/mlflow"]:
            if "artifact" in path and prefix.startswith("/api"):
                continue
            refused(eve.call(method, prefix + path, **({} if method == "GET" else {"json": body})), 403)
    for path in [f"/traces/{trace}/info", "/traces/link-to-run", "/traces/link-prompts"]:
        method = "GET" if path.endswith("info") else "POST"
        refused(eve.call(method, API + path, **({} if method == "GET" else {"json": body})), 403)
    for method, path in [("POST", "/api/3.0/mlflow/traces/search"),
                         ("GET", f"{API}/traces?experiment_ids={experiment}")]:
        more = {} if method == "GET" else {"json": {"locations": [where]}}
        assert len(guarded.call(method, path, **more).json()["traces"]) == 1
        assert eve.call(method, path, **more).json() == {}
    # A span goes to its trace, whatever experiment the header says.
    own = eve.experiment(fresh())
    span = {"traceId": trace.removeprefix("tr-"), "spanId": "1" * 16, "name": "s", "startTimeUnixNano": "1"}
    spans = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    for header, expected in [(experiment, 403), (own, 403)]:
        answer = eve.call("POST", "/v1/traces", json=spans, headers={"x-mlflow-experiment-id": header})
        refused(answer, expected)
    # Nor is it taken into an experiment of one's own.
    taken = {**info, "trace_location": {**where, "mlflow_experiment": {"experiment_id": own}}}
    refused(eve.call("POST", "/api/3.0/mlflow/traces", json={"trace": {"trace_info": taken}}), 403)
    told = guarded.call("GET", f"/api/3.0/mlflow/traces/{trace}").json()["trace"]["trace_info"]
    assert told["trace_location"]["mlflow_experiment"]["experiment_id"] == experiment and "k" not in told.get("tags", {})


def test_cve_2024_4263_who_may_edit_deletes_no_artifact(guarded):
    experiment, run = secrets(guarded)
    where = guarded.put(run, "kept.txt", b"kept")
    given = {"experiment_id": experiment, "username": "eve", "permission": "EDIT"}
    guarded.made("/experiments/permissions/create", given)
    eve = guarded.as_user("eve")
    assert eve.call("PUT", where, data=b"changed").status_code == 200
    for path in [where, where.replace("/api/", "/ajax-api/"), where.rsplit("/", 1)[0]]:
        refused(eve.call("DELETE", path), 403)
    refused(eve.post("/runs/delete", {"run_id": run["run_id"]}), 403)
    refused(eve.post("/experiments/delete", {"experiment_id": experiment}), 403)
    assert guarded.call("GET", where).content == b"changed"


def test_cve_2025_11200_cve_2025_1474_no_weak_password_and_none_by_default(guarded, tmp_path):
    for password in ["", " ", "short", "elevenchars", "aaaaaaaaaaaaaaaa", None]:
        for path in ["/users/create"]:
            refused(guarded.post(path, {"username": fresh(), "password": password}))
    refused(guarded.call("PATCH", f"{API}/users/update-password", json={"username": "eve", "password": "short"}))
    assert guarded.as_user("eve").call("GET", f"{API}/users/get?username=eve").status_code == 200
    for name, password in [("admin", "password1234"), ("admin", "password"), ("root", ""), ("", "")]:
        refused(guarded.call("GET", f"{API}/users/list", auth=(name, password)), 401, 429)
    admin(tmp_path / "store", "user", "add", "root", "--role", "admin", password="short\n", code=2)
    done = subprocess.run([RONDO, "server", "--listen", "0.0.0.0:0", "--data", str(tmp_path / "store")],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 5 and "rondo admin user add NAME --role admin" in done.stderr


class Bomb:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_cve_2024_37052_nothing_is_unpickled(server, tmp_path):
    fuse = tmp_path / "exploded"
    bomb = pickle.dumps(Bomb(fuse))
    run = server.run()
    for name in ["model/model.pkl", "model/python_model.pkl", "model/data/model.pt", "model/model.onnx"]:
        server.put(run, name, bomb)
    server.put(run, "model/MLmodel", b"flavors:\n  python_function:\n    loader_module: os\n    model_path: model.pkl\n")
    name = model(server)
    server.made("/model-versions/create", {"name": name, "source": f"{run['artifact_uri']}/model"})
    server.call("GET", f"{API}/model-versions/get?name={name}&version=1")
    for ending in ["pkl", "onnx", "joblib"]:
        file = tmp_path / f"model.{ending}"
        file.write_bytes(bomb)
        done = subprocess.run([RONDO, "serve", str(file), "--listen", "127.0.0.1:0"], capture_output=True, timeout=60)
        assert done.returncode == 2, done.stderr
    assert not fuse.exists()


def test_cve_2026_4137_cve_2025_10279_other_users_of_the_machine_read_nothing(server, tmp_path):
    store = tmp_path / "store"
    with serve(store) as private:
        private.put(private.run(), "secret.txt", b"secret")
        assert stat.S_IMODE(store.stat().st_mode) == 0o700
    for folder, _, files in os.walk(store):
        for name in files:
            mode = (os.stat(os.path.join(folder, name)).st_mode) & 0o022
            assert mode == 0, f"{name} may be written by others"


def test_cve_2026_0596_no_text_is_ever_a_command(server, tmp_path):
    mark = tmp_path / "touched"
    for text in [f"x;touch {mark}", f"$(touch {mark})", f"`touch {mark}`", f"x|touch {mark}", f"x\ntouch {mark}"]:
        for source in [f"models:/{text}", f"models:/{text}/1", f"mlflow-artifacts:/{text}", f"runs:/{text}"]:
            made = version(server, source)
            # A name, of which nothing is there.
            if made.status_code != 200 or source.startswith("models:"):
                refused(made, 400, 404)
        server.post("/experiments/create", {"name": text})
        server.post("/runs/create", {"experiment_id": "0", "run_name": text})
        subprocess.run([RONDO, "serve", text, "--listen", "127.0.0.1:0"], capture_output=True, timeout=60)
    assert not mark.exists()


def test_cve_2025_0453_one_client_does_not_hold_everybody_up(tmp_path):
    with serve(tmp_path / "store", "--requests-per-client", "4") as server:
        refused(server.call("POST", "/graphql", json=[{"query": "{ mlflowSearchRuns { runs { info { runId } } } }"}] * 500), 400)
        many = " ".join(f"a{n}: mlflowSearchRuns(input: {{experimentIds: [\"0\"]}}) {{ runs {{ info {{ runId }} }} }}" for n in range(500))
        answer = server.call("POST", "/graphql", json={"query": "{ %s }" % many})
        assert answer.json().get("data") is None and answer.json()["errors"], answer.text
        # A body that does not come: each of these requests waits for the rest of it.
        slow = []
        for _ in range(100):
            connection = socket.create_connection((server.host, server.port), timeout=60)
            connection.sendall(
                f"POST {API}/runs/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                "Content-Length: 100\r\n\r\n{".encode())
            slow.append(connection)
            answer = server.call("GET", f"{API}/experiments/get?experiment_id=0")
            if answer.status_code == 429:
                break
        assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error_code"] == "REQUEST_LIMIT_EXCEEDED"
        assert server.call("GET", "/health").status_code == 200
        for connection in slow:
            connection.close()
        for _ in range(100):
            answer = server.call("GET", f"{API}/experiments/get?experiment_id=0")
            if answer.status_code == 200:
                break
            time.sleep(0.05)
        assert answer.status_code == 200
        too_long = server.call("POST", f"{API}/experiments/create", data=b"{" + b" " * (5 << 20),
                               headers={"Content-Type": "application/json"})
        refused(too_long, 413)


def test_cve_2022_0736_unfinished_files_lie_in_the_store_under_names_nobody_guesses(tmp_path):
    shared = tmp_path / "tmp"
    shared.mkdir(mode=0o777)
    store = tmp_path / "store"
    with serve(store, TMPDIR=str(shared)) as server:
        run = server.run()
        where = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
        go = threading.Event()

        def body():
            yield b"x" * 300_000
            go.wait(30)
            yield b"y"

        thread = threading.Thread(target=lambda: server.call(
            "PUT", f"/api/2.0/mlflow-artifacts/artifacts/{where}/big", data=body()))
        thread.start()
        time.sleep(0.5)
        assert list(shared.iterdir()) == []
        go.set()
        thread.join()
        assert list(shared.iterdir()) == []
        assert len(server.call("GET", f"/api/2.0/mlflow-artifacts/artifacts/{where}/big").content) == 300_001
