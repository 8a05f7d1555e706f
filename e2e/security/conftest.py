"""Servers to attack: one that anyone may use, one with users; a canary, and a listener that nobody may call."""

import base64
import json
import os
import socket
import subprocess
import threading
from contextlib import contextmanager

import pytest
import requests
from conftest import RONDO

PASSWORD = "correct horse battery"
API = "/api/2.0/mlflow"


class Server:
    """The wire, bare: nothing is encoded, decoded or followed on the way."""

    def __init__(self, url, store, auth=None):
        self.url, self.store, self.auth = url, store, auth
        self.host, port = url.removeprefix("http://").split(":")
        self.port = int(port)

    def as_user(self, name, password=PASSWORD):
        return Server(self.url, self.store, (name, password))

    def call(self, method, path, **more):
        more.setdefault("auth", self.auth)
        return requests.request(method, self.url + path, timeout=60, allow_redirects=False, **more)

    def post(self, path, body, **more):
        return self.call("POST", API + path, json=body, **more)

    def made(self, path, body, **more):
        answer = self.post(path, body, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def raw(self, method, path, body=b"", **headers):
        """A request whose path is sent as it is, byte for byte; its status and body."""
        headers = {"Host": f"{self.host}:{self.port}", "Connection": "close",
                   "Content-Length": str(len(body)), **headers}
        if self.auth:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(self.auth).encode()).decode()
        lines = [f"{method} {path} HTTP/1.1", *(f"{key}: {value}" for key, value in headers.items())]
        with socket.create_connection((self.host, self.port), timeout=60) as connection:
            connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            answer = b""
            while part := connection.recv(65536):
                answer += part
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body

    def run(self, experiment="0"):
        return self.made("/runs/create", {"experiment_id": experiment})["run"]["info"]

    def experiment(self, name):
        return self.made("/experiments/create", {"name": name})["experiment_id"]

    def put(self, run, path, content):
        where = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
        answer = self.call("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{where}/{path}", data=content)
        assert answer.status_code == 200, answer.text
        return f"/api/2.0/mlflow-artifacts/artifacts/{where}/{path}"


@contextmanager
def serve(store, *flags, **environment):
    process = subprocess.Popen(
        [RONDO, "server", "--listen", "127.0.0.1:0", "--data", str(store), "--json", *flags],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment},
    )
    try:
        yield Server(json.loads(process.stdout.readline())["listen"], store)
    finally:
        process.terminate()
        assert process.wait(timeout=120) == 0


def admin(store, *args, password=None, code=0):
    done = subprocess.run(
        [RONDO, "admin", *args, "--data", str(store), "--json"],
        input=password, stdin=None if password else subprocess.DEVNULL, capture_output=True, text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    return answer["error"] if code else answer


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that anyone who reaches it may use."""
    with serve(tmp_path_factory.mktemp("open") / "store") as server:
        yield server


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A server with users: `root` may do everything, `eve` nothing that was not given to her."""
    store = tmp_path_factory.mktemp("guarded") / "store"
    admin(store, "user", "add", "root", "--role", "admin", password=PASSWORD + "\n")
    admin(store, "user", "add", "eve", password=PASSWORD + "\n")
    admin(store, "permission", "default", "none")
    with serve(store, "--auth") as server:
        yield server.as_user("root")


CANARY = "the canary that nobody may read, move or delete"


@pytest.fixture
def canary(tmp_path):
    """A file of the host, outside of every store."""
    file = tmp_path / "canary.txt"
    file.write_text(CANARY)
    yield file
    assert file.read_text() == CANARY


class Listener:
    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.called = []
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            try:
                connection, address = self.socket.accept()
            except OSError:
                return
            self.called.append(address)
            connection.close()


@pytest.fixture
def listener():
    """An address on loopback that the server must never call."""
    listener = Listener()
    yield listener
    listener.socket.close()
    assert listener.called == []
