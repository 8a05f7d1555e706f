"""Data and steps that travel: an S3 as a remote, machines that have nothing but the project's files."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import boto3
import pytest

from conftest import RONDO

PROJECT = """
project: flights
remotes: { team: "s3://team/flights" }
data: { rows: { source: rows.csv } }
steps:
  count:
    run: echo counted >> ../counted; wc -l < $RONDO_INPUT_ROWS > $RONDO_OUTPUT_COUNT
    inputs: [data.rows]
    outputs: { count: count.txt }
"""


@pytest.fixture(scope="module")
def s3():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [Path(sys.executable).parent / "moto_server", "-H", "127.0.0.1", "-p", str(port)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        settings = {
            "AWS_ENDPOINT": f"http://127.0.0.1:{port}", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "very-secret",
        }
        client = boto3.client(
            "s3", endpoint_url=settings["AWS_ENDPOINT"], region_name="us-east-1",
            aws_access_key_id="key", aws_secret_access_key="very-secret",
        )
        yield client, settings
    finally:
        server.terminate()
        server.wait(timeout=20)


class Machine:
    """A folder with the project's files, and a cache of its own."""

    def __init__(self, folder, settings, **more):
        self.folder, self.cache = folder / "project", folder / "cache"
        self.folder.mkdir(parents=True)
        self.environment = {**os.environ, **settings, "RONDO_CACHE_DIR": str(self.cache), **more}

    def __call__(self, *args, code=0):
        done = subprocess.run(
            [RONDO, *args, "--json"], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=120,
        )
        assert done.returncode == code, f"rondo {args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def take(self, other, *names):
        for name in names:
            shutil.copy(other.folder / name, self.folder / name)
        return self


@pytest.fixture
def bucket(s3):
    client, settings = s3
    client.create_bucket(Bucket="team")
    yield client, settings
    listed = client.list_objects_v2(Bucket="team").get("Contents", [])
    for entry in listed:
        client.delete_object(Bucket="team", Key=entry["Key"])
    client.delete_bucket(Bucket="team")


def noise(seed, size):
    import random

    return random.Random(seed).randbytes(size)


def test_data_come_to_a_machine_that_has_the_lock_alone(bucket, tmp_path):
    client, settings = bucket
    here = Machine(tmp_path / "here", settings)
    (here.folder / "rondo.yaml").write_text(PROJECT)
    (here.folder / "rows.csv").write_text("a,b\n" + "1,2\n" * 5000)
    ran = here("run")
    assert [step["outcome"] for step in ran["steps"]] == ["ran"]
    pushed = here("data", "push")["push"]
    assert pushed["objects"] >= 1 and pushed["sent"] > 0 and len(pushed["versions"]) == 1
    assert here("data", "push")["push"]["sent"] == 0
    # Nothing of the secret is kept anywhere.
    spoken = [path for path in here.folder.rglob("*") if path.is_file() and b"very-secret" in path.read_bytes()]
    assert spoken == []

    there = Machine(tmp_path / "there", settings).take(here, "rondo.yaml", "rondo.lock")
    pulled = there("data", "pull")["pull"]
    assert [version["new"] for version in pulled["versions"]] == [True]
    assert pulled["versions"][0]["version"]["digest"] == pushed["versions"][0]["digest"]
    there("run")
    assert (there.folder / "count.txt").read_text() == (here.folder / "count.txt").read_text()
    log = there("data", "log", "rows")["log"]
    assert "pulled from s3://team/flights" in json.dumps(log)

    # A new version there comes here when the newest is asked for.
    (there.folder / "rows.csv").write_text("a,b\n" + "1,2\n" * 7)
    there("data", "add", "rows")
    there("data", "push", "rows")
    newest = here("data", "pull", "--newest")["pull"]["versions"][0]
    assert newest["new"] and newest["version"]["rows"] == 7


def test_a_changed_byte_sends_a_chunk_and_a_push_that_was_killed_goes_on(bucket, tmp_path):
    client, settings = bucket
    here = Machine(tmp_path / "here", settings)
    (here.folder / "rondo.yaml").write_text(
        "project: p\nremotes: { team: \"s3://team/p\" }\ndata: { blob: { source: blob.bin } }\n"
    )
    data = bytearray(noise(1, 200 << 20))
    (here.folder / "blob.bin").write_bytes(data)
    here("data", "add", "blob")
    process = subprocess.Popen(
        [RONDO, "data", "push"], cwd=here.folder, env=here.environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    while not client.list_objects_v2(Bucket="team", Prefix="p/index/").get("Contents"):
        assert process.poll() is None, "it was faster than its first segment"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    rest = here("data", "push")["push"]["sent"]
    assert rest < 100 << 20, "eight packs of sixteen megabytes were listed before it was killed"

    data[120 << 20] ^= 1
    (here.folder / "blob.bin").write_bytes(data)
    here("data", "add", "blob")
    assert here("data", "push")["push"]["sent"] < 5 << 20

    there = Machine(tmp_path / "there", settings).take(here, "rondo.yaml", "rondo.lock")
    there("data", "pull")
    digest = there("data", "pull")["pull"]["versions"][0]["version"]["digest"]
    assert digest == here("data", "log", "blob")["log"][0]["version"]["digest"]


def test_steps_of_main_stand_for_those_of_a_branch_and_never_the_other_way(bucket, tmp_path):
    _, settings = bucket
    start = Machine(tmp_path / "start", settings)
    (start.folder / "rondo.yaml").write_text(PROJECT)
    ci, ada = start("pipeline", "cache-key"), start("pipeline", "cache-key")
    trusted = (
        PROJECT + "cache:\n  remote: team\n  trust:\n"
        f"    - {{ key: \"{ci['public']}\", branches: [main] }}\n    - {{ key: \"{ada['public']}\", branches: [\"*\"] }}\n"
    )

    def machine(name, branch, secret=None):
        more = {"RONDO_BRANCH": branch} | ({"RONDO_CACHE_KEY": secret} if secret else {})
        made = Machine(tmp_path / name, settings, **more)
        (made.folder / "rondo.yaml").write_text(trusted)
        (made.folder / "rows.csv").write_text("a\n1\n")
        return made

    def outcome(machine):
        return [step["outcome"] for step in machine("run")["steps"]]

    assert outcome(machine("ada", "idea", ada["secret"])) == ["ran"]
    assert outcome(machine("main", "main", ci["secret"])) == ["ran"], "a branch gives nothing to main"
    branch = machine("friend", "other")
    assert outcome(branch) == ["cached"]
    assert (branch.folder / "count.txt").read_text().strip() == "2"
    assert not (branch.folder.parent / "counted").exists()
    wrong = machine("wrong", "idea", "ed25519-secret:no")("run", code=2)
    assert "RONDO_CACHE_KEY" in wrong["error"]["message"]


def test_a_remote_that_refuses_or_is_not_there_says_so(bucket, tmp_path):
    _, settings = bucket
    here = Machine(tmp_path / "here", {**settings, "AWS_ENDPOINT": "http://127.0.0.1:9", "AWS_MAX_RETRIES": "0"})
    (here.folder / "rondo.yaml").write_text(PROJECT)
    (here.folder / "rows.csv").write_text("a\n1\n")
    here("data", "add", "rows")
    gone = here("data", "push", code=8)["error"]
    assert gone["code"] == "remote-unavailable" and "s3://team/flights" in gone["message"]
    assert here("data", "push", "--remote", "tema", code=2)["error"]["code"] == "remote-invalid"
    assert here("data", "pull", "--remote", str(tmp_path / "empty"), code=3)["error"]["code"] == "dataset-not-found"
