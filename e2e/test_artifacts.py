"""Artifacts on the wire and the server as a process: the real client, signals, kills, plain files."""

import contextlib
import http.client
import http.server
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from conftest import PATIENCE, RONDO, until

HERE = Path(__file__).parent
PROXY = "/api/2.0/mlflow-artifacts/artifacts"


@contextlib.contextmanager
def serving(data, *flags, code=0, **options):
    """A server on a free port; its process and its URL."""
    process = subprocess.Popen(
        [RONDO, "server", "--listen", "127.0.0.1:0", "--data", str(data), *flags, "--json"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, **options,
    )
    try:
        yield process, json.loads(process.stdout.readline())["listen"]
    finally:
        if process.poll() is None:
            process.terminate()
        assert process.wait(timeout=120) == code


def is_closed(at):
    """Whether a server listens no more: it has seen that it is to stop."""
    with socket.socket() as probe:
        return probe.connect_ex((at.hostname, at.port)) != 0


def ask(url, method, path, body=None, headers=None):
    at = urlsplit(url)
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=60)
    if isinstance(body, dict):
        body, headers = json.dumps(body), {"Content-Type": "application/json", **(headers or {})}
    connection.request(method, at.path + path, body, headers or {})
    answer = connection.getresponse()
    return answer.status, answer.read()


def new_run(url):
    status, body = ask(url, "POST", "/api/2.0/mlflow/runs/create", {"experiment_id": "0"})
    assert status == 200, body
    return json.loads(body)["run"]["info"]


def client(url, *arguments, timeout=300):
    done = subprocess.run(
        [sys.executable, str(HERE / "clients" / "mlflow_artifacts.py"), url, *arguments],
        capture_output=True, text=True, timeout=timeout,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def modes(folder):
    """The widest permissions of the files and of the folders below a folder."""
    files = folders = 0
    for path in folder.rglob("*"):
        mode = stat.S_IMODE(path.lstat().st_mode)
        files, folders = (files, folders | mode) if path.is_dir() else (files | mode, folders)
    return files, folders


def test_the_client_moves_large_files_in_parts(tmp_path):
    with serving(tmp_path / "store") as (_, url):
        client(url)
    assert list((tmp_path / "store" / "objects" / "incoming").iterdir()) == []


def test_the_client_moves_files_below_a_prefix_into_plain_files(tmp_path):
    flags = ["--artifacts-destination", str(tmp_path / "art"), "--static-prefix", "/ml"]
    with serving(tmp_path / "store", *flags, umask=0) as (_, url):
        assert url.endswith("/ml")
        client(url)
        assert ask(url, "GET", "/health") == (200, b"OK")
    (run,) = (tmp_path / "art" / "0").iterdir()
    large = run / "artifacts" / "deep" / "er" / "large.bin"
    assert large.stat().st_size == (12 << 20) + 9
    # The umask would have let everybody read and write.
    files, folders = modes(tmp_path / "art")
    assert files & ~0o640 == 0 and folders & ~0o750 == 0, (oct(files), oct(folders))
    assert list((tmp_path / "art" / ".rondo-incoming").iterdir()) == []


def test_a_fresh_store_holds_the_default_experiment_alone(tmp_path):
    with serving(tmp_path / "store") as (_, url):
        _, body = ask(url, "POST", "/api/2.0/mlflow/experiments/search", {"max_results": 10})
        (only,) = json.loads(body)["experiments"]
        assert (only["experiment_id"], only["name"]) == ("0", "Default")
        assert only["artifact_location"] == "mlflow-artifacts:/0"


def test_a_folder_as_root_is_the_clients_and_is_listed_by_the_server(tmp_path):
    root = tmp_path / "shared"
    with serving(tmp_path / "store", "--artifact-root", root.as_uri()) as (_, url):
        run = new_run(url)
        assert run["artifact_uri"] == f"{root.resolve().as_uri()}/0/{run['run_id']}/artifacts"
        place = root / "0" / run["run_id"] / "artifacts"
        place.mkdir(parents=True)
        (place / "x.txt").write_text("x")
        (place / "leak").symlink_to("/etc/passwd")
        _, body = ask(url, "GET", f"/api/2.0/mlflow/artifacts/list?run_id={run['run_id']}")
        assert [file["path"] for file in json.loads(body)["files"]] == ["x.txt"]
        assert ask(url, "GET", f"/get-artifact?run_uuid={run['run_id']}&path=x.txt") == (200, b"x")
        assert ask(url, "GET", f"/get-artifact?run_uuid={run['run_id']}&path=leak")[0] == 404
    # Without the flag that folder is no place of the server's any more.
    with serving(tmp_path / "store") as (_, url):
        status, body = ask(url, "GET", f"/get-artifact?run_uuid={run['run_id']}&path=x.txt")
        assert status == 400 and b"outside" in body


class Elsewhere(http.server.BaseHTTPRequestHandler):
    """An artifact server as MLflow's answers a listing, and one that answers what it should not."""

    asked = []

    def do_GET(self):
        self.asked.append(self.path)
        names = ["x.txt", "../leak", "a/b", "..", ""]
        files = [{"path": name, "is_dir": False, "file_size": 1} for name in names] + [{"path": "sub", "is_dir": True}]
        body = json.dumps({"files": files}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_another_server_as_root_is_asked_for_its_listing(tmp_path):
    there = http.server.HTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=there.serve_forever).start()
    root = f"http://127.0.0.1:{there.server_port}{PROXY}/team"
    with serving(tmp_path / "here", "--artifact-root", root) as (_, here):
        run = new_run(here)
        assert run["artifact_uri"] == f"{root}/0/{run['run_id']}/artifacts"
        listing = f"/api/2.0/mlflow/artifacts/list?run_id={run['run_id']}&path=a%20b"
        listed = json.loads(ask(here, "GET", listing)[1])["files"]
        assert [file["path"] for file in listed] == ["a b/x.txt", "a b/sub"]
        expected = f"{PROXY}?path=team%2F0%2F{run['run_id']}%2Fartifacts%2Fa%20b"
        assert Elsewhere.asked == [expected]
        assert ask(here, "GET", f"/get-artifact?run_uuid={run['run_id']}&path=x.txt")[0] == 400
        said = {"name": "e", "artifact_location": f"{root}/../x"}
        assert ask(here, "POST", "/api/2.0/mlflow/experiments/create", said)[0] == 400
        there.shutdown()
        there.server_close()
        assert ask(here, "GET", listing)[0] == 503


@pytest.mark.parametrize("flag", ["--artifact-root", "--artifacts-destination"])
def test_a_bucket_is_refused_with_a_word_on_what_to_do(tmp_path, flag):
    done = subprocess.run(
        [RONDO, "server", "--listen", "127.0.0.1:0", "--data", str(tmp_path / "store"), flag, "s3://bucket/x"],
        capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 2 and "s3://bucket/x" in done.stderr and "hint:" in done.stderr, done.stderr
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_and_lets_a_running_upload_end(tmp_path, number):
    with serving(tmp_path / "store") as (process, url):
        run, at = new_run(url), urlsplit(url)
        path = f"{PROXY}/0/{run['run_id']}/artifacts/slow.bin"
        idle = http.client.HTTPConnection(at.hostname, at.port)
        idle.request("GET", "/health")
        idle.getresponse().read()
        upload = socket.create_connection((at.hostname, at.port))
        upload.sendall(f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n01234".encode())
        until(lambda: list((tmp_path / "store").glob("objects/incoming/*/*")))
        process.send_signal(number)
        until(lambda: is_closed(at))
        assert process.poll() is None
        upload.sendall(b"56789")
        assert upload.recv(100).startswith(b"HTTP/1.1 200")
        assert process.wait(timeout=PATIENCE) == 0
    with serving(tmp_path / "store") as (_, url):
        assert ask(url, "GET", path) == (200, b"0123456789")


def test_a_second_signal_ends_the_server_at_once(tmp_path):
    with serving(tmp_path / "store") as (process, url):
        run, at = new_run(url), urlsplit(url)
        upload = socket.create_connection((at.hostname, at.port))
        path = f"{PROXY}/0/{run['run_id']}/artifacts/never.bin"
        upload.sendall(f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n01234".encode())
        until(lambda: list((tmp_path / "store").glob("objects/incoming/*/*")))
        process.terminate()
        until(lambda: is_closed(at))

        def ended():
            process.terminate()
            time.sleep(0.1)
            return process.poll() is not None

        # By itself it would give the upload ten seconds.
        until(ended, seconds=9)


def test_who_sends_much_to_nobody_hears_why_it_is_refused(tmp_path):
    with serving(tmp_path / "store") as (_, url):
        path = f"{PROXY}/0/{'f' * 32}/artifacts/x.bin"
        status, body = ask(url, "PUT", path, bytes(96 << 20))
        assert status == 400 and b"no such run" in body
    assert list((tmp_path / "store" / "objects" / "incoming").iterdir()) == []


def test_what_a_kill_left_is_swept_and_parts_are_gone_on_with(tmp_path):
    store = tmp_path / "store"
    folder = "/api/2.0/mlflow-artifacts/mpu/{}/0/RUN/artifacts"
    with serving(store, code=-signal.SIGKILL) as (process, url):
        run, at = new_run(url), urlsplit(url)
        upload = socket.create_connection((at.hostname, at.port))
        path = f"{PROXY}/0/{run['run_id']}/artifacts/half.bin"
        upload.sendall(f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n01234".encode())
        folder = folder.replace("RUN", run["run_id"])
        _, body = ask(url, "POST", folder.format("create"), {"path": "whole.bin", "num_parts": 2})
        begun = json.loads(body)
        parts = [urlsplit(credential["url"]).path for credential in begun["credentials"]]
        tags = [put_part(url, parts[0], b"first ")]
        until(lambda: list(store.glob("objects/incoming/*/*")))
        process.kill()
        process.wait()
    with serving(store) as (_, url):
        assert list(store.glob("objects/incoming/*/*")) == []
        assert ask(url, "GET", path)[0] == 404
        # The address was given out by the server before; the right in it is good all the same.
        tags.append(put_part(url, parts[1], b"second"))
        listed = [{"part_number": 1 + i, "etag": tag} for i, tag in enumerate(tags)]
        said = {"path": "whole.bin", "upload_id": begun["upload_id"], "parts": listed}
        assert ask(url, "POST", folder.format("complete"), said)[0] == 200
        assert ask(url, "GET", f"{PROXY}/0/{run['run_id']}/artifacts/whole.bin") == (200, b"first second")


def put_part(url, path, body):
    at = urlsplit(url)
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=60)
    connection.request("PUT", path, body)
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200
    return answer.headers["ETag"]


def test_memory_does_not_grow_with_the_file(tmp_path):
    """96 MB up and down, in four streams at once, in less than 24 MB more than before."""
    size, streams = 24 << 20, 4
    with serving(tmp_path / "store") as (process, url):
        run = new_run(url)
        before = resident(process.pid)
        peak = []

        def move(number):
            path = f"{PROXY}/0/{run['run_id']}/artifacts/{number}.bin"
            body = os.urandom(1 << 20) * (size >> 20)
            assert ask(url, "PUT", path, body)[0] == 200
            peak.append(resident(process.pid))
            assert ask(url, "GET", path)[1] == body
            peak.append(resident(process.pid))

        threads = [threading.Thread(target=move, args=(number,)) for number in range(streams)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(peak) == 2 * streams and max(peak) - before < 24 << 20, (before, peak)


def resident(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) << 10
    raise AssertionError("no such line")
