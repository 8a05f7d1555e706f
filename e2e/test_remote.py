"""Data and steps that travel: an S3 as a remote, machines that have nothing but the project's files."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
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
        for _ in range(1200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        settings = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "very-secret",
        }
        client = boto3.client(
            "s3", endpoint_url=settings["AWS_ENDPOINT_URL"], region_name="us-east-1",
            aws_access_key_id="key", aws_secret_access_key="very-secret",
        )
        yield client, settings
    finally:
        server.terminate()
        server.wait(timeout=120)


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
    here = Machine(tmp_path / "here", {**settings, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_RETRIES": "0"})
    (here.folder / "rondo.yaml").write_text(PROJECT)
    (here.folder / "rows.csv").write_text("a\n1\n")
    here("data", "add", "rows")
    gone = here("data", "push", code=8)["error"]
    assert gone["code"] == "remote-unavailable" and "s3://team/flights" in gone["message"]
    assert here("data", "push", "--remote", "tema", code=2)["error"]["code"] == "remote-invalid"
    assert here("data", "pull", "--remote", str(tmp_path / "empty"), code=2)["error"]["code"] == "remote-invalid"
    assert not (tmp_path / "empty").exists()


class Dropping:
    """A proxy that cuts connections off after so many bytes in all, until it is told to hold."""

    def __init__(self, to, limit):
        self.to, self.limit, self.sent = to, limit, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.to))
            for source, sink in [(client, server), (server, client)]:
                threading.Thread(target=self.pass_on, args=(source, sink), daemon=True).start()

    def pass_on(self, source, sink):
        try:
            while data := source.recv(1 << 16):
                self.sent += len(data)
                if self.limit and self.sent > self.limit:
                    break
                sink.sendall(data)
        except OSError:
            pass
        for one in (source, sink):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def test_a_remote_that_drops_half_way_is_said_and_gone_on_with(bucket, tmp_path):
    client, settings = bucket
    port = int(settings["AWS_ENDPOINT_URL"].rsplit(":", 1)[1])
    # Eight packs of 16 MB are listed together, and others are on their way beside them.
    proxy = Dropping(port, 185 << 20)
    through = {**settings, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}", "AWS_MAX_RETRIES": "0"}
    here = Machine(tmp_path / "here", through)
    (here.folder / "rondo.yaml").write_text(
        "project: p\nremotes: { team: \"s3://team/p\" }\ndata: { blob: { source: blob.bin } }\n"
    )
    (here.folder / "blob.bin").write_bytes(noise(9, 200 << 20))
    here("data", "add", "blob")
    dropped = here("data", "push", code=8)["error"]
    assert dropped["code"] == "remote-unavailable"
    assert not client.list_objects_v2(Bucket="team", Prefix="p/notes/dataset/").get("Contents")
    proxy.limit = 0
    assert here("data", "push")["push"]["sent"] < 100 << 20, "what was listed is not sent again"
    proxy.limit, proxy.sent = 60 << 20, 0
    there = Machine(tmp_path / "there", through).take(here, "rondo.yaml", "rondo.lock")
    assert there("data", "pull", code=8)["error"]["code"] == "remote-unavailable"
    proxy.limit = 0
    assert there("data", "pull")["pull"]["received"] < 190 << 20, "what has come does not come again"
    assert there("data", "verify")["report"]["broken"] == []


def test_tags_travel_and_a_clean_up_of_the_remote_asks_all_clones(bucket, tmp_path):
    client, settings = bucket
    here = Machine(tmp_path / "here", settings)
    (here.folder / "rondo.yaml").write_text(PROJECT)
    rows = here.folder / "rows.csv"
    digests = []
    for number in range(4):
        rows.write_text("a,b\n" + f"{number},2\n" * 3000)
        digests.append(here("data", "add", "rows")["added"][0]["version"]["digest"])
        here("data", "push")
        if number == 0:
            # A clone that stays at the first version.
            other = Machine(tmp_path / "other", settings).take(here, "rondo.yaml", "rondo.lock")
            other("data", "pull")
    here("data", "tag", "rows@2", "paper")
    pushed = here("data", "push", "--all-versions")["push"]
    assert [tag["tag"] for tag in pushed["tags"]] == ["paper"]
    pulled = other("data", "pull", "rows@paper")["pull"]
    assert pulled["versions"][0]["version"]["digest"] == digests[1]
    assert [tag["tag"] for tag in pulled["tags"]] == ["paper"]
    assert other("data", "log", "rows")["log"][0]["version"]["digest"] == digests[0], "the latest stays"
    # Tags that do not agree are said; the rest is done.
    other("data", "tag", "rows@1", "paper", "--move")
    error = other("data", "push", code=4)["error"]
    assert error["data"]["push"]["conflicts"][0]["tag"] == "paper"
    error = other("data", "pull", code=4)["error"]
    assert error["data"]["pull"]["conflicts"][0]["here"] == digests[0]
    other("data", "pull", "--move-tags")
    assert other("data", "tag", "rows")["tags"][0]["digest"] == digests[1]

    gone = ("data", "gc", "--remote", "team", "--versions", "--keep", "1", "--grace", "0s")
    counted = here(*gone)["gc"]
    assert [one["digest"] for one in counted["versions"]] == [digests[2]] and counted["consumers"] == 2
    done = here(*gone, "--apply")["gc"]
    assert done["bytes"] == counted["bytes"] > 0
    third = Machine(tmp_path / "third", settings).take(here, "rondo.yaml", "rondo.lock")
    third("data", "pull")
    third("data", "pull", "rows@paper", f"rows@{digests[0][:12]}")
    assert third("data", "verify")["report"]["broken"] == []
    third("data", "pull", f"rows@{digests[2][:12]}", code=3)
    here("data", "push", "rows@3")
    third("data", "pull", f"rows@{digests[2][:12]}")
    # A damaged object that is here already comes again where it is asked for.
    objects = [path for path in (third.folder / ".rondo/objects").glob("??/*") if path.stat().st_size > 10_000]
    objects[0].chmod(0o644)
    objects[0].write_bytes(b"#" * objects[0].stat().st_size)
    third("data", "pull", "rows@paper", f"rows@{digests[0][:12]}", f"rows@{digests[2][:12]}", "rows", "--verify")
    assert third("data", "verify")["report"]["broken"] == []
