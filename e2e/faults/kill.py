#!/usr/bin/env python3
"""Kills a loop at random instants (`kill -9`) and compares what came of it with one that was left alone.

    python e2e/faults/kill.py --rondo target/release/rondo --kills 50 --seconds 600 --seed 1

The project is `loop/`: data arrive by the week, an endpoint answers them as traffic, the truth comes a day
and a half later, models get worse and are replaced. Its life is three commands (`data add`, `run`,
`replay`). Each is killed again and again and started again with the same words, until it ends by itself.
Only the process itself is killed, as by the kernel when memory is short: what it has started is left to it.

Two kills of three come at any moment. The third waits for a moment that is worth it: something new has been
written that something else should follow (a version without its alias, an alias without its deployment, a
request without its run). At the end:

- every command that was not killed has ended well: nothing had to be mended by hand;
- what was written before a kill is still there, word for word: runs that ended, versions, the journal,
  alerts, requests, cached steps;
- ground truth that was acknowledged over HTTP before a kill is known after it;
- promotions, digests, requests, windows with their metrics, alerts, and each prediction with its version
  and score are those of the loop that was left alone;
- one more `rondo run` finds nothing to do, no run is still under way, no process is left.
"""

import argparse
import contextlib
import http.client
import itertools
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
COMMANDS = [("data", "add", "events", "--until", "2024-01-29"), ("run",), ("replay", "--json")]
MODEL = "hit"
# A command that takes longer has got stuck.
STUCK = 180
# Kills of one loop: more of them would leave it no time to get on.
A_LOOP = 10

# About how long environments take whose packages are in the cache.
PROVISIONING = 1.5

# Something new here is a moment worth a kill: the commands it comes in (d, r, and p for `replay`), and how
# to see it.
MOMENTS = {
    "dataset version": ("drp", "SELECT count(*) FROM dataset_version"),
    "run": ("rp", "SELECT count(*), sum(ended IS NULL) FROM run"),
    "cached step": ("rp", "SELECT count(*) FROM step_cache"),
    "model version": ("rp", "SELECT count(*) FROM model_version"),
    "alias": ("rp", "SELECT count(*) FROM journal WHERE name LIKE 'model/%'"),
    "deployment": ("p", "SELECT count(*) FROM journal WHERE name LIKE 'deployment/%'"),
    "window": ("p", "SELECT count(*), sum(final) FROM monitor_window"),
    "alert": ("p", "SELECT count(*) FROM alert"),
    "request": ("p", "SELECT count(*), sum(state = 'open'), sum(state = 'running') FROM retrain_request"),
    "tick": ("p", "SELECT value FROM setting WHERE name LIKE 'replay/%/done'"),
}

# What was written and may never change again.
LASTING = {
    "runs that ended": "SELECT id, kind, parent, state, ended, detail FROM run WHERE ended IS NOT NULL",
    "metrics": "SELECT m.* FROM metric_latest m JOIN run ON run.id = m.run WHERE run.ended IS NOT NULL",
    "artifacts": "SELECT owner, path, digest FROM run_artifact",
    "dataset versions": "SELECT * FROM dataset_version",
    "cached steps": "SELECT key, step, run, outputs FROM step_cache",
    "model versions": "SELECT model, version, digest, record FROM model_version",
    "journal": "SELECT * FROM journal",
    "records": "SELECT * FROM record",
    "alerts": "SELECT id, name, model, event_time, record FROM alert",
    "answered requests":
        "SELECT * FROM retrain_request WHERE state NOT IN ('open', 'running')",
    "settled windows": "SELECT * FROM monitor_window WHERE final",
}


class Failed(Exception):
    """What should not have happened, in words."""


class Project:
    """A project in a folder, and the binary that works on it."""

    def __init__(self, rondo, folder):
        self.rondo, self.folder = rondo, folder
        self.database = folder / ".rondo" / "metadata.db"

    def start(self, *command):
        """Starts a command as the leader of a group of its own."""
        log = open(self.folder / "last.log", "wb")
        with log:
            return subprocess.Popen(
                [self.rondo, *command], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True,
            )

    def check(self, process, command):
        """Fails where a command that was left to itself did not end well."""
        if process.returncode != 0:
            tail = (self.folder / "last.log").read_text(errors="replace")[-2000:]
            raise Failed(f"`rondo {' '.join(command)}` ended with {process.returncode}:\n{tail}")

    def __call__(self, *command):
        """Runs a command to its end."""
        process = self.start(*command)
        try:
            process.wait(STUCK)
        except subprocess.TimeoutExpired:
            kill(process)
            raise Failed(f"`rondo {' '.join(command)}` did not end in {STUCK} s") from None
        self.check(process, command)

    def json(self, *command):
        done = subprocess.run(
            [self.rondo, *command, "--json"], cwd=self.folder, stdin=subprocess.DEVNULL,
            capture_output=True, timeout=STUCK,
        )
        if done.returncode != 0:
            raise Failed(f"`rondo {' '.join(command)}` ended with {done.returncode}: {done.stderr.decode()}")
        return json.loads(done.stdout)

    def look(self, query):
        """What the database says at this moment; nothing where there is none yet."""
        try:
            with contextlib.closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
                return connection.execute(query).fetchall()
        except sqlite3.Error:
            return None

    def lasting(self):
        """The rows that may never change again, read from a copy: a reader must not mend what it looks at."""
        with tempfile.TemporaryDirectory() as folder:
            for path in self.database.parent.glob("metadata.db*"):
                if not path.name.endswith("-shm"):
                    shutil.copy(path, folder)
            copy = Path(folder) / self.database.name
            if not copy.exists():
                return {name: set() for name in LASTING}
            with contextlib.closing(sqlite3.connect(copy)) as connection:
                if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'run'").fetchall():
                    return {name: set() for name in LASTING}
                return {name: set(connection.execute(query)) for name, query in LASTING.items()}

    def processes(self):
        """What runs in this project's folders, or was started for one of its steps."""
        marks, found = (f"{self.folder}/".encode(), f"={self.folder}\0".encode()), []
        for place in Path("/proc").iterdir():
            if not place.name.isdigit() or int(place.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                line = (place / "cmdline").read_bytes()
                said = (place / "environ").read_bytes() + line
                if line and any(mark in said for mark in marks):
                    found.append(f"{place.name} {line.replace(bytes(1), b' ').decode(errors='replace')}")
        return found


def kill(process):
    """Kills the process, and only it; waits until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)
    process.wait(60)


def template(rondo, folder, weeks):
    """The project with its environments made, and with nothing else."""
    shutil.copytree(HERE / "loop", folder, ignore=shutil.ignore_patterns(".rondo", "events.csv", "__pycache__"))
    subprocess.run([sys.executable, "events.py", "events.csv", str(weeks)], cwd=folder, check=True)
    project = Project(rondo, folder)
    project(*COMMANDS[0])
    project("run")
    for path in [*folder.glob(".rondo/*"), *folder.iterdir()]:
        given = (HERE / "loop" / path.name).exists() or path.name in ("events.csv", ".rondo")
        if path.name in ("envs", "locks") or given:
            continue
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return folder


def fresh(source, folder, environments=True):
    """A copy. Its environments, which nobody writes, share their files with the template's, or are left out."""
    def copy(path, place):
        os.link(path, place) if "/.rondo/envs/" in str(path) else shutil.copy2(path, place)

    ignored = None if environments else shutil.ignore_patterns("envs")
    shutil.copytree(source, folder, symlinks=True, copy_function=copy, ignore=ignored)
    return folder


def version_text(record):
    metrics = [(metric["name"], metric.get("value")) for metric in record["evaluation"]["metrics"]]
    verdicts = [(verdict["text"], verdict["passed"], verdict["value"]) for verdict in record["verdicts"]]
    datasets = [(link["reference"], link["digest"]) for link in record["lineage"]["datasets"]]
    return {"file": record["file"], "reference": record["reference"], "trained_until": record["trained_until"],
            "params": record["lineage"]["params"], "datasets": datasets, "metrics": metrics,
            "verdicts": verdicts, "environment": record["lineage"]["environment"]}


def without_clock(window):
    """A window's report without how fast the answers were."""
    window = {key: value for key, value in window.items() if key != "latency_p99_ms"}
    if window["evaluation"]:
        metrics = [metric for metric in window["evaluation"]["metrics"] if "latency" not in metric["name"]]
        window["evaluation"] = {**window["evaluation"], "metrics": metrics}
    return window


def account(project):
    """All that must not depend on where a loop was killed, each kind as a list."""
    shown = project.json("models", "show", MODEL)
    versions = {version["version"]: version_text(version) for version in shown["versions"]}
    rows = project.look("SELECT digest, version, json_extract(record, '$.file') FROM model_version")
    files = {digest: f"version {version} {file}" for digest, version, file in rows}
    moves = project.look(
        "SELECT name, from_target, to_target, actor FROM journal "
        "WHERE name LIKE 'model/%' OR name LIKE 'dataset/%' ORDER BY name, seq")
    served = project.look(
        "SELECT json_extract(body, '$.version'), json_extract(body, '$.file') FROM journal "
        "JOIN record ON record.digest = to_target WHERE name LIKE 'deployment/%' ORDER BY seq")
    requests = project.look("SELECT id, state, until, record FROM retrain_request ORDER BY until, id")
    steps = project.look("SELECT key, step, outputs FROM step_cache ORDER BY key")
    watched = project.json("monitor", "report")
    report = project.json("report")["report"]
    predictions = project.json("monitor", "predictions", "-n", "10000000")["predictions"]
    kept = [(p["prediction_id"], p["version"], p["score"], p["event_time"]) for p in predictions]
    return {
        "aliases": sorted(shown["aliases"].items()),
        "model versions": sorted(versions.items()),
        "promotions and arrivals": [(name, files.get(a, a), files.get(b, b), by) for name, a, b, by in moves],
        "deployments": served,
        "requests": [(id, state, until, json.loads(record)["cause"], json.loads(record)["params"])
                     for id, state, until, record in requests],
        "outcomes": [json.loads(record)["outcome"] for *_, record in requests],
        "step digests": [(key, step, sorted((o["name"], o["digest"]) for o in json.loads(outputs)))
                         for key, step, outputs in steps],
        "windows": [without_clock(window) for window in watched["windows"]],
        "alerts": [(alert["id"], alert["message"]) for alert in watched["alerts"]],
        "months": report["months"],
        "truths": [report["traffic"]["truths"]],
        "traffic": [report["traffic"]["predictions"], report["traffic"]["failed"]],
        "predictions": sorted(kept),
        "rondo.lock": (project.folder / "rondo.lock").read_text().splitlines(),
    }


def first_difference(expected, found, place=""):
    """Where two values differ first, in words."""
    if isinstance(expected, dict) and isinstance(found, dict):
        keys = [*expected, *(key for key in found if key not in expected)]
        pairs = [(f".{key}", expected.get(key), found.get(key)) for key in keys]
    elif isinstance(expected, (list, tuple)) and isinstance(found, (list, tuple)):
        pairs = [(f"[{number}]", *pair) for number, pair in enumerate(itertools.zip_longest(expected, found))]
    else:
        return f"{place}: {str(expected)[:300]} expected, {str(found)[:300]} found"
    for step, one, other in pairs:
        if one != other:
            return first_difference(one, other, place + step)
    return f"{place}: of other kinds"


def differences(expected, found):
    """What is not as it was where nobody was killed, in words."""
    for name, rows in expected.items():
        if rows != found[name]:
            yield f"other {name} ({len(rows)} expected, {len(found[name])} found): " \
                  f"{first_difference(rows, found[name])}"


def whole(project, expected):
    """What is wrong with a loop that has come to its end."""
    faults = list(differences(expected, account(project)))
    report = project.json("run")
    ran = [step["name"] for step in report["steps"] if step["outcome"] != "cached"]
    if ran:
        faults.append(f"one more `rondo run` runs {', '.join(ran)}")
    live = project.look("SELECT id, kind, name FROM run WHERE ended IS NULL")
    if live:
        faults.append(f"runs are still under way: {live}")
    work = list((project.folder / ".rondo" / "work").iterdir())
    if work:
        faults.append(f"work folders are left: {work}")
    left = project.processes()
    if left:
        faults.append(f"processes are left: {left}")
    return faults


class Killer:
    """Kills one loop's commands until it has killed enough, and notes what may not be lost."""

    def __init__(self, project, chance, times, kills, deadline):
        self.project, self.chance, self.times = project, chance, times
        self.kills, self.deadline = kills, deadline
        self.done, self.notes, self.seen = 0, [], []

    def loop(self):
        """The loop, from its first command to its last."""
        for number, command in enumerate(COMMANDS):
            # The first two are short, and the loop is what matters.
            share = [self.kills // 5, self.kills // 3, self.kills][number]
            while not self.run(command, self.times[number], self.done < share):
                pass

    def run(self, command, seconds, may_kill):
        """Runs a command, or kills it; whether it came to its end."""
        if not may_kill or time.monotonic() > self.deadline:
            self.project(*command)
            return True
        began, process = time.monotonic(), self.project.start(*command)
        if self.chance.random() < 1 / 3:
            letter = "drp"[COMMANDS.index(command)]
            moment = self.chance.choice([name for name, (letters, _) in MOMENTS.items() if letter in letters])
            # `run` makes one version and moves one alias; the loop does both many times.
            skip = self.chance.randrange(4) if letter == "p" else 0
            self.aim(process, MOMENTS[moment][1], skip, self.chance.choice([0, 0, 0.001, 0.004]))
        else:
            moment = "any moment"
            # So that a loop of ten kills gets through: each lets it come a tenth further, or not.
            delay = self.chance.uniform(0, min(seconds, max(2 * seconds / self.kills, 3)))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(delay)
        if process.poll() is None:
            kill(process)
        if process.returncode != -signal.SIGKILL:
            self.project.check(process, command)
            return True
        self.done += 1
        self.notes.append(f"{command[0]} after {time.monotonic() - began:.2f} s, {moment}")
        self.seen.append(self.project.lasting())
        return False

    def aim(self, process, query, skip, delay):
        """Waits until a query's answer has changed some times, and a moment longer."""
        before, until = self.project.look(query), time.monotonic() + 20
        while process.poll() is None and time.monotonic() < until:
            now = self.project.look(query)
            if now is not None and now != before:
                before = now
                if skip == 0:
                    time.sleep(delay)
                    return
                skip -= 1
            time.sleep(0.0005)

    def lost(self):
        """What was there after a kill and is not there, or is otherwise, at the end."""
        now = self.project.lasting()
        for note, seen in zip(self.notes, self.seen):
            for name, rows in seen.items():
                gone = rows - now[name]
                if gone:
                    yield f"{name} were lost after the kill of {note}: {str(list(gone)[:2])[:600]}"


class Truths:
    """Tells truths to `rondo up` over HTTP and remembers which ones were acknowledged."""

    def __init__(self, project):
        self.project, self.acknowledged, self.number = project, [], 0

    def up(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        process = self.project.start("up", "--listen", f"127.0.0.1:{port}")
        until = time.monotonic() + 30
        while time.monotonic() < until and process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                return process, port
            time.sleep(0.02)
        kill(process)
        self.project.check(process, ("up",))

    def post(self, connection, truths):
        body = json.dumps({"truths": truths})
        path = f"/api/v1/endpoints/{MODEL}/truth"
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status

    def tell(self, port, stop):
        """Tells truths as fast as they are taken until it may stop or nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        with contextlib.suppress(OSError, http.client.HTTPException):
            while not stop.is_set():
                ids = [f"told-{self.number + offset}" for offset in range(5)]
                self.number += 5
                truths = [{"prediction_id": id, "label": 1, "event_time": "2024-05-01T00:00:00Z"} for id in ids]
                if self.post(connection, truths) == 200:
                    self.acknowledged += ids

    def kill(self, delay):
        """Tells truths, and kills who listens."""
        process, port = self.up()
        stop = threading.Event()
        teller = threading.Thread(target=self.tell, args=(port, stop))
        teller.start()
        time.sleep(delay)
        kill(process)
        stop.set()
        teller.join()

    def lost(self):
        """Acknowledged truths that are not known: one that is known refuses another label."""
        process, port = self.up()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        lost = []
        for id in self.acknowledged:
            truth = {"prediction_id": id, "label": 0, "event_time": "2024-05-01T00:00:00Z"}
            if self.post(connection, [truth]) != 409:
                lost.append(id)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        if lost:
            yield f"{len(lost)} of {len(self.acknowledged)} acknowledged truths were lost: {lost[:5]}"


def drive(options, folder):
    """Everything; how many kills, and what was found."""
    began = time.monotonic()
    deadline = began + options.seconds
    chance = random.Random(options.seed)
    source = template(options.rondo, folder / "template", options.weeks)
    reference, times = Project(options.rondo, fresh(source, folder / "reference")), []
    for command in COMMANDS:
        start = time.monotonic()
        reference(*command)
        times.append(time.monotonic() - start)
    expected = account(reference)
    promotions = [move for move in expected["promotions and arrivals"] if move[0].endswith("@champion")]
    say(f"left alone: {sum(times):.1f} s, {len(expected['requests'])} requests, {len(promotions)} promotions, "
        f"{len(expected['predictions'])} predictions, {expected['truths'][0]} truths")
    if len(promotions) < 3:
        raise Failed(f"the loop is no loop: {len(promotions)} promotions")

    truths = Truths(reference)
    told = max(1, options.kills // 10)
    for _ in range(told):
        truths.kill(chance.uniform(0.02, 0.4))
    faults, done, number = list(truths.lost()), 0, 0
    say(f"truths: {told} kills, {len(truths.acknowledged)} acknowledged, "
        f"{'none lost' if not faults else faults}")

    while done < options.kills and time.monotonic() < deadline:
        number += 1
        # The first one makes its environments anew, from what has been downloaded before.
        project = Project(options.rondo, fresh(source, folder / f"loop-{number}", number > 1))
        longer = [times[0], times[1] + PROVISIONING, times[2]] if number == 1 else times
        killer = Killer(project, chance, longer, min(A_LOOP, options.kills - done), deadline)
        start = time.monotonic()
        try:
            killer.loop()
            found = [*killer.lost(), *whole(project, expected)]
        except Failed as failed:
            found = [str(failed)]
        done += killer.done
        say(f"loop {number}: {killer.done} kills in {time.monotonic() - start:.1f} s, "
            f"{'the same' if not found else 'NOT the same'}")
        if found or options.verbose:
            for note in killer.notes:
                say(f"    killed {note}")
        for fault in found:
            say(f"  {fault}")
        faults += [f"loop {number}: {fault}" for fault in found]
        if not found:
            shutil.rmtree(project.folder)
    seconds = time.monotonic() - began
    if done < options.kills:
        faults.append(f"{done} of {options.kills} kills in {options.seconds:.0f} s: the time was too short")
    say(f"{done} kills of {number} loops, and {told} of their server, in {seconds:.0f} s, seed {options.seed}: "
        f"{len(faults)} differences")
    return faults


def say(text):
    print(text, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rondo", required=True, type=lambda text: str(Path(text).resolve()), help="the binary")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=900, help="after these, no loop is killed any more")
    parser.add_argument("--seed", type=int, default=None, help="absent: another one each time, printed")
    parser.add_argument("--weeks", type=int, default=30, help="of events: four come before the loop; 30 are about 20 s")
    parser.add_argument("--keep", type=Path, help="work in this folder and leave what differs there")
    parser.add_argument("--verbose", action="store_true", help="say where each kill was")
    options = parser.parse_args()
    options.seed = random.randrange(1 << 32) if options.seed is None else options.seed
    with contextlib.ExitStack() as stack:
        if options.keep:
            options.keep.mkdir(parents=True)
            folder = options.keep.resolve()
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rondo-faults-"))).resolve()
        try:
            faults = drive(options, folder)
        except Failed as failed:
            say(f"failed: {failed}")
            faults = [failed]
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
