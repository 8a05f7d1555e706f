"""Looking after a store that a server uses: cleaning up, backing up, restoring."""

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
import requests
from conftest import RONDO, Rondo

API = "/api/2.0/mlflow"


@contextmanager
def serving(*args, **started):
    """What a tracking server on a free port says at its start."""
    process = subprocess.Popen(
        [RONDO, "server", *args, "--listen", "127.0.0.1:0", "--json"], **started,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        assert process.wait(timeout=120) == 0


@contextmanager
def serve(store):
    """A tracking server on a free port over this store."""
    with serving("--data", str(store)) as said:
        yield Client(said["listen"])


class Client:
    """The wire, bare."""

    def __init__(self, url):
        self.url = url

    def post(self, path, **body):
        answer = requests.post(self.url + API + path, json=body, timeout=60)
        assert answer.ok, answer.text
        return answer.json()

    def run(self):
        return self.post("/runs/create", experiment_id="0")["run"]["info"]

    def artifact(self, run):
        place = run["artifact_uri"].removeprefix("mlflow-artifacts:")
        return f"{self.url}/api/2.0/mlflow-artifacts/artifacts{place}/a.bin"


def test_the_store_that_is_served_is_that_of_the_project(tmp_path):
    """By its folder, by one below it, by the environment; without a project it is that of the folder."""
    project, apart = tmp_path / "project", tmp_path / "apart"
    for folder in (project / "code", apart):
        folder.mkdir(parents=True)
    (project / "rondo.yaml").write_text("project: served\n")
    named = os.environ | {"RONDO_PROJECT": "project"}
    for args, started in [
        (("-C", "project"), {"cwd": tmp_path}),
        (("-C", ".."), {"cwd": project / "code"}),
        ((), {"cwd": tmp_path, "env": named}),
        ((), {"cwd": project / "code"}),
    ]:
        with serving(*args, **started) as said:
            assert said["data"] == str(project / ".rondo"), args
    assert not (project / "code" / ".rondo").exists() and not (tmp_path / ".rondo").exists()
    with serving(cwd=apart) as said:
        assert said["data"] == str(apart / ".rondo")
    with serving("-C", "project", "--data", "store", cwd=tmp_path) as said:
        assert said["data"] == str(project / "store")
    refused = Rondo(tmp_path)("-C", "projekt", "server", code=3)
    assert "rondo.yaml" in refused.stderr and not (tmp_path / "projekt").exists()


@pytest.mark.parametrize("command", [("server",), ("up",), ("serve", "model.onnx")])
def test_a_word_that_is_no_address_is_told_first(tmp_path, command):
    refused = Rondo(tmp_path)(*command, "--listen", "foo", code=2)
    assert "--listen <HOST:PORT>" in refused.stderr and "127.0.0.1:5000" in refused.stderr
    assert not list(tmp_path.iterdir())


def test_what_is_deleted_goes_and_what_a_version_needs_stays(tmp_path):
    rondo, store = Rondo(tmp_path), tmp_path / "store"
    with serve(store) as client:
        gone, needed = client.run(), client.run()
        for run, content in ((gone, b"x" * 5000), (needed, b"a model")):
            requests.put(client.artifact(run), data=content, timeout=60).raise_for_status()
        client.post("/registered-models/create", name="m")
        source = f"{needed['artifact_uri']}"
        client.post("/model-versions/create", name="m", source=source, run_id=needed["run_id"])
        for run in (gone, needed):
            client.post("/runs/delete", run_id=run["run_id"])

        clean = ("admin", "gc", "--data", str(store), "--keep-unnamed", "0s")
        assert rondo.json(*clean)["report"]["runs"] == 0, "deleted a moment ago"
        now = (*clean, "--keep-deleted", "0s")
        counted = rondo.json(*now, "--dry-run")["report"]
        assert (counted["runs"], counted["objects"], counted["bytes"]) == (1, 1, 5000)
        assert counted["needed"] == [needed["run_id"]]
        assert rondo.json(*now)["report"] == {**counted, "dry_run": False}
        assert rondo.json(*now)["report"]["runs"] == 0

        missing = requests.get(client.url + API + "/runs/get", params={"run_id": gone["run_id"]}, timeout=60)
        assert missing.status_code == 404
        client.post("/runs/restore", run_id=needed["run_id"])
        assert requests.get(client.artifact(needed), timeout=60).content == b"a model"


def test_a_backup_that_is_made_under_load_restores_to_what_was_acknowledged(tmp_path):
    rondo, store, backup = Rondo(tmp_path), tmp_path / "store", tmp_path / "backup"
    with serve(store) as client:
        acknowledged, stop = [], threading.Event()

        def write():
            while not stop.is_set():
                run = client.run()
                client.post("/runs/log-metric", run_id=run["run_id"], key="m", value=1.5, timestamp=1, step=1)
                requests.put(client.artifact(run), data=run["run_id"].encode(), timeout=60).raise_for_status()
                acknowledged.append(run)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            while len(acknowledged) < 20:
                pass
            before = list(acknowledged)
            first = rondo.json("admin", "backup", str(backup), "--data", str(store))["backup"]
            again = rondo.json("admin", "backup", str(backup), "--data", str(store))["backup"]
        finally:
            stop.set()
            writer.join()
    assert again["copied"] < again["snapshot"]["objects"], "what is there is not copied again"
    assert rondo.json("admin", "backup", str(backup), "--list")["backups"] == [first["name"], again["name"]]
    assert rondo.json("admin", "restore", str(backup), "--dry-run")["damaged"] == []
    rondo("admin", "restore", str(backup), "--at", first["name"], "--data", "restored")
    rondo("admin", "restore", str(backup), "--data", "restored", code=4)
    nosuch = rondo("admin", "restore", str(backup), "--at", "nosuch", "--data", "other", code=3).stderr
    assert "has no snapshot `nosuch`" in nosuch and "--list" in nosuch
    with serve(tmp_path / "restored") as client:
        for run in before:
            answer = requests.get(client.url + API + "/runs/get", params={"run_id": run["run_id"]}, timeout=60)
            assert answer.json()["run"]["data"]["metrics"][0]["value"] == 1.5
            assert requests.get(client.artifact(run), timeout=60).content == run["run_id"].encode()


@pytest.mark.parametrize("where", ["nowhere", "empty"])
def test_a_folder_without_a_backup_is_not_found(tmp_path, where):
    (tmp_path / "empty").mkdir()
    Rondo(tmp_path)("admin", "restore", where, "--data", "new", code=3)


def test_who_cleans_up_or_backs_up_holds_others_up_until_it_ends_however_it_ends(tmp_path):
    rondo, store = Rondo(tmp_path), tmp_path / "store"
    with serve(store) as client:
        client.run()
    clean = ("admin", "gc", "--data", str(store))
    rondo(*clean)
    hold = (
        "import fcntl, sys; file = open(sys.argv[1]); fcntl.flock(file, fcntl.LOCK_EX); "
        "print(flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", hold, str(store / "upkeep.lock")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )
    try:
        other.stdout.readline()
        for refused in (clean, ("admin", "backup", "bk", "--data", str(store))):
            assert "upkeep.lock" in rondo(*refused, code=8).stderr
    finally:
        other.kill()
        other.wait()
    rondo(*clean)
    rondo("admin", "backup", "bk", "--data", str(store))
    rondo("admin", "restore", "bk", "--data", "restored")
    assert not (tmp_path / "restored/upkeep.lock").exists()


def test_a_store_and_a_backup_are_found_from_a_folder_that_is_named_by_a_relative_path(tmp_path):
    project, rondo = tmp_path / "cc", Rondo(tmp_path)
    (project / "deep").mkdir(parents=True)
    (project / "rondo.yaml").write_text("project: p\n")
    for here in ("cc", "cc/deep"):
        rondo("-C", here, "admin", "user", "list")
        rondo("-C", here, "admin", "gc")
        rondo("-C", here, "admin", "backup", "bk")
        rondo("-C", here, "admin", "restore", "bk", "--data", "restored")
        assert (tmp_path / here / "bk/snapshots").is_dir() and (tmp_path / here / "restored/metadata.db").is_file()
    rondo("-C", "cc", "admin", "gc", "--data", ".rondo")
    assert "restored" in rondo("-C", "cc", "admin", "gc", "--data", "restord", code=3).stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cc"]
    assert not (project / "deep/.rondo").exists()


def test_what_a_backup_has_lost_is_told_by_name_and_nothing_else_is(tmp_path):
    rondo, store = Rondo(tmp_path), tmp_path / "store"
    with serve(store) as client:
        run = client.run()
        requests.put(client.artifact(run), data=b"a model", timeout=60).raise_for_status()
        # Looks like a digest, and never was an object.
        client.post("/runs/set-tag", run_id=run["run_id"], key="commit", value="ab" * 32)
    saved = rondo.json("admin", "backup", "bk", "--data", str(store))["backup"]
    assert saved["snapshot"]["objects"] == 1 and "missing" not in saved["snapshot"]
    verify = ("admin", "restore", "bk", "--dry-run")
    whole = rondo.json(*verify)
    assert (whole["objects"], whole["missing"], whole["damaged"]) == (1, [], [])
    [lost] = [path for path in (tmp_path / "bk/objects").glob("??/*") if path.read_bytes() == b"a model"]
    name = lost.parent.name + lost.name
    lost.unlink()
    data = rondo.json(*verify, code=6)["error"]["data"]
    assert ([digest.removeprefix("blake3:") for digest in data["missing"]], data["damaged"]) == ([name], [])
    for told in (rondo(*verify, code=6), rondo("admin", "restore", "bk", "--data", "new", code=6)):
        assert f"1 missing: {data['missing'][0]}\n" in told.stderr and "admin backup 'bk' --list" in told.stderr
        assert "run --force" not in told.stderr and "verify --heal" not in told.stderr


def test_the_next_backup_mends_what_is_damaged_in_the_folder(tmp_path):
    rondo, store = Rondo(tmp_path), tmp_path / "store"
    with serve(store) as client:
        requests.put(client.artifact(client.run()), data=b"a model", timeout=60).raise_for_status()
    save = ("admin", "backup", "bk", "--data", str(store))
    rondo(*save)
    [spoilt] = [path for path in (tmp_path / "bk/objects").glob("??/*") if path.read_bytes() == b"a model"]
    spoilt.chmod(0o640)
    with spoilt.open("ab") as file:
        file.write(b"and more")
    assert "1 damaged: " in rondo("admin", "restore", "bk", "--data", "restored", code=6).stderr
    assert "0 of them new, 1 mended that were damaged there" in rondo(*save).stdout
    assert rondo.json(*save)["backup"]["mended"] == 0
    rondo("admin", "restore", "bk", "--data", "restored")
