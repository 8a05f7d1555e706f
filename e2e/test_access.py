"""Users, tokens and permissions: the commands, and the unchanged MLflow client as two users."""

import json
import os
import subprocess
import sys
from pathlib import Path

import requests
from conftest import RONDO, Rondo, until
from security.conftest import PASSWORD, admin, serve

HERE = Path(__file__).parent
GET = "/api/2.0/mlflow/experiments/get?experiment_id=0"


def test_two_users_come_in_through_the_client_and_each_finds_its_own(tmp_path):
    store = tmp_path / "store"
    admin(store, "user", "add", "root", "--role", "admin", password=PASSWORD + "\n")
    with serve(store, "--auth") as server:
        done = subprocess.run(
            [sys.executable, str(HERE / "clients" / "mlflow_users.py"), server.url, PASSWORD],
            capture_output=True, text=True, timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_tokens_come_in_through_the_client_as_far_as_they_go(tmp_path):
    store = tmp_path / "store"
    admin(store, "user", "add", "root", "--role", "admin", "--no-password")
    code = (
        "import sys, mlflow; mlflow.set_tracking_uri(sys.argv[1]); client = mlflow.MlflowClient(); "
        "print(client.get_experiment('0').name); print(client.create_experiment(sys.argv[2]))"
    )

    def client(url, token, name):
        environment = {**os.environ, "MLFLOW_TRACKING_TOKEN": token, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
        return subprocess.run(
            [sys.executable, "-c", code, url, name], env=environment, capture_output=True, text=True, timeout=120,
        )

    write = admin(store, "token", "add", "root", "--scope", "write", "--expires", "1d")
    read = admin(store, "token", "add", "root", "--scope", "read", "--note", "for a page")
    listed = admin(store, "token", "list")["tokens"]
    assert {token["id"] for token in listed} == {write["id"], read["id"]}
    assert write["token"] not in json.dumps(listed)
    assert write["token"].encode() not in (store / "metadata.db").read_bytes()
    with serve(store, "--auth") as server:
        done = client(server.url, write["token"], "made")
        assert done.returncode == 0 and done.stdout.split() == ["Default", "1"], done.stderr
        done = client(server.url, read["token"], "not-made")
        assert done.stdout.split() == ["Default"] and "PERMISSION_DENIED" in done.stderr
        admin(store, "token", "revoke", write["id"])
        bearer = {"Authorization": f"Bearer {write['token']}"}
        until(lambda: requests.get(server.url + GET, headers=bearer, timeout=60).status_code == 401)


def test_who_may_what_is_said_on_the_command_line_and_written_down(tmp_path):
    store = tmp_path / "store"
    admin(store, "user", "add", "root", "--role", "admin", password=PASSWORD + "\n")
    admin(store, "user", "add", "ada", "--role", "viewer", password=PASSWORD + "\n")
    assert admin(store, "user", "add", "ada", password=PASSWORD + "\n", code=4)["code"] == "user-exists"
    assert admin(store, "user", "remove", "root", code=4)["code"] == "last-admin"
    assert "did you mean `ada`?" in admin(store, "user", "remove", "adda", code=3)["hints"]
    admin(store, "permission", "grant", "ada", "edit", "--experiment", "Default")
    assert admin(store, "permission", "list", "ada")["permissions"] == [
        {"user": "ada", "permission": "EDIT", "on": "experiment/0"}
    ]
    assert admin(store, "permission", "default", "none")["default"] == "NO_PERMISSIONS"
    admin(store, "permission", "revoke", "ada", "--experiment", "0")
    assert admin(store, "permission", "revoke", "ada", "--experiment", "0", code=3)["code"] == "permission-not-found"
    assert admin(store, "permission", "grant", "ada", "edit", code=2)["code"] == "usage"
    admin(store, "user", "role", "ada", "admin")
    admin(store, "user", "password", "ada", password="another password\n")
    admin(store, "user", "remove", "root")
    users = admin(store, "user", "list")["users"]
    assert [(user["name"], user["role"]) for user in users] == [("ada", "admin")]


def test_beyond_this_machine_somebody_has_to_be_able_to_come_in(tmp_path):
    store = tmp_path / "store"
    start = [RONDO, "server", "--listen", "0.0.0.0:0", "--data", str(store), "--json"]
    done = subprocess.run(start, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 5
    assert "admin user add NAME --role admin" in json.loads(done.stdout)["error"]["hints"][0]
    admin(store, "user", "add", "root", "--role", "admin", password=PASSWORD + "\n")
    process = subprocess.Popen(start, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        port = json.loads(process.stdout.readline())["listen"].rsplit(":", 1)[1]
        url = f"http://127.0.0.1:{port}"
        assert requests.get(url + "/health", timeout=60).status_code == 200
        assert requests.get(url + GET, timeout=60).status_code == 401
        assert requests.get(url + GET, auth=("root", PASSWORD), timeout=60).status_code == 200
    finally:
        process.terminate()
        assert process.wait(timeout=120) == 0


def test_a_projects_own_pages_ask_too(tmp_path):
    Rondo(tmp_path)("new", "closed")
    folder = tmp_path / "closed"
    admin(folder / ".rondo", "user", "add", "root", "--role", "admin", password=PASSWORD + "\n")
    process = subprocess.Popen([RONDO, "up", "--auth", "--listen", "127.0.0.1:0", "--json"], cwd=folder,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        url = json.loads(process.stdout.readline())["listen"]
        for path in ["/", "/report", "/metrics", "/api/v1/endpoints", "/api/v1/requests", "/api/v1/runs", GET]:
            assert requests.get(url + path, timeout=60).status_code == 401, path
        for path in ["predict", "invocations", "truth", "advance"]:
            path = f"{url}/api/v1/endpoints/any/{path}"
            assert requests.post(path, json={}, timeout=60).status_code == 401, path
            assert requests.post(path, json={}, auth=("root", PASSWORD), timeout=60).status_code in (400, 404, 422)
        for path in ["/", "/metrics", "/api/v1/endpoints", "/api/v1/requests"]:
            assert requests.get(url + path, auth=("root", PASSWORD), timeout=60).status_code == 200, path
    finally:
        process.terminate()
        assert process.wait(timeout=120) == 0


def test_a_name_that_was_allowed_is_answered_whatever_its_port(tmp_path):
    with serve(tmp_path / "store", "--allowed-hosts", "mlflow.example.org,other") as server:
        for host, status in [("mlflow.example.org:8443", 200), ("MLFLOW.example.org", 200), ("other", 200),
                             ("example.org", 403), ("localhost:1", 200)]:
            assert server.raw("GET", GET, Host=host)[0] == status, host


def test_who_may_read_a_model_and_not_its_run_is_told_nothing_of_the_run(tmp_path):
    store = tmp_path / "store"
    admin(store, "user", "add", "root", "--role", "admin", password=PASSWORD + "\n")
    for name in ["ada", "ben"]:
        admin(store, "user", "add", name, password=PASSWORD + "\n")
    with serve(store, "--auth") as server:
        def call(who, method, path, **body):
            answer = requests.request(method, server.url + path, json=body or None, auth=(who, PASSWORD), timeout=60)
            assert answer.status_code == 200, answer.text
            return answer.json()

        api = "/api/2.0/mlflow"
        experiment = call("ada", "POST", f"{api}/experiments/create", name="e")["experiment_id"]
        run = call("ada", "POST", f"{api}/runs/create", experiment_id=experiment)["run"]["info"]
        call("ada", "POST", f"{api}/runs/log-parameter", run_id=run["run_id"], key="secret", value="of-the-run")
        call("ada", "POST", f"{api}/registered-models/create", name="m")
        source = run["artifact_uri"] + "/model"
        call("ada", "POST", f"{api}/model-versions/create", name="m", source=source, run_id=run["run_id"])
        # What it has made is its own at once.
        for what in [f"experiments/permissions/get?experiment_id={experiment}&username=ada",
                     "registered-models/permissions/get?name=m&username=ada"]:
            (given,) = call("ada", "GET", f"{api}/{what}").values()
            assert given["permission"] == "MANAGE"
        admin(store, "permission", "default", "none")
        admin(store, "permission", "grant", "ben", "read", "--model", "m")
        told = call("ada", "GET", "/api/v1/models/m/versions/1")
        assert told["params"] == {"secret": "of-the-run"} and told["run"]["id"] == run["run_id"]

        def withheld():
            answer = requests.get(server.url + "/api/v1/models/m/versions/1", auth=("ben", PASSWORD), timeout=60)
            return answer if answer.status_code == 200 and answer.json().get("withheld") else None

        answer = until(withheld)
        told = answer.json()
        assert told["params"] == {} and "run" not in told and told["source"] == source
        assert "of-the-run" not in answer.text


def test_who_manages_a_model_says_whether_a_version_is_approved(tmp_path):
    store = tmp_path / "store"
    admin(store, "user", "add", "root", "--role", "admin", password=PASSWORD + "\n")
    for name in ["ada", "ben"]:
        admin(store, "user", "add", name, password=PASSWORD + "\n")
    admin(store, "permission", "default", "edit")
    with serve(store, "--auth") as server:
        def call(who, path, **body):
            answer = requests.post(server.url + path, json=body, auth=(who, PASSWORD), timeout=60)
            return answer.status_code, answer.json()

        api = "/api/2.0/mlflow"
        assert call("ada", f"{api}/registered-models/create", name="m")[0] == 200
        source = "mlflow-artifacts:/0/x/artifacts"
        assert call("ada", f"{api}/model-versions/create", name="m", source=source)[0] == 200
        decide = "/api/v1/models/m/versions/1"
        assert call("ben", f"{decide}/approve", why="mine")[0] == 403
        code, refused = call("ada", f"{decide}/approve", why=" ")
        assert code == 400 and "why" in refused["message"]
        assert call("ada", "/api/v1/models/m/versions/7/approve", why="seen")[0] == 404
        code, said = call("ada", f"{decide}/reject", why="not seen")
        assert code == 200 and said["approval"]["decision"] == "rejected"
        code, said = call("ada", f"{decide}/approve", why="seen it")
        assert code == 200, said
        assert (said["approval"]["by"], said["approval"]["why"]) == ("ada", "seen it")
        told = requests.get(server.url + decide, auth=("ada", PASSWORD), timeout=60).json()
        assert told["approval"]["decision"] == "approved"


def test_failed_logins_behind_a_trusted_proxy_are_counted_by_client(tmp_path):
    store = tmp_path / "store"
    admin(store, "user", "add", "root", "--role", "admin", password=PASSWORD + "\n")

    def login(server, password, client):
        headers = {"X-Forwarded-For": f"127.0.0.1, {client}"}
        return requests.get(server.url + GET, auth=("root", password), headers=headers, timeout=60).status_code

    with serve(store, "--auth", "--trusted-proxies", "127.0.0.0/8,::1") as server:
        refused = [login(server, "wrong", "203.0.113.9") for _ in range(8)]
        assert refused[0] == 401 and refused[-1] == 429
        assert login(server, PASSWORD, "203.0.113.9") == 429
        assert login(server, PASSWORD, "203.0.113.10") == 200
    with serve(store, "--auth") as server:
        for client in range(8):
            login(server, "wrong", f"203.0.113.{client}")
        # Nobody's word counts: it is all one client, whatever it says.
        assert login(server, PASSWORD, "203.0.113.99") == 429
