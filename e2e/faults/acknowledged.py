#!/usr/bin/env python3
"""Kills a tracking server under full load and looks whether all that it answered is there afterwards.

Sixteen clients log on runs of their own as fast as they are answered: single points, batches of points,
parameters and tags, new runs, ended runs. The server is killed (SIGKILL) at a random instant and started
again on the same store. What was answered must be there; what was sent and not answered must be there
whole or not at all.
"""

import argparse
import http.client
import json
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlencode

API = "/api/2.0/mlflow"
POINTS = 7


class Server:
    """The server on a store, at a port that stays."""

    def __init__(self, rondo, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.command = [rondo, "server", "--listen", f"127.0.0.1:{self.port}", "--data", str(folder / "store")]
        self.log = folder / "log"

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
        until = time.monotonic() + 60
        while time.monotonic() < until and self.process.poll() is None:
            try:
                return Client(self.port)
            except OSError:
                time.sleep(0.01)
        raise SystemExit(f"the server does not start: {self.log.read_text()}")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.terminate()
        return self.process.wait(60)


class Client:
    """One connection."""

    def __init__(self, port):
        self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.http.connect()
        self.http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, method, path, body=None):
        headers = {} if body is None else {"Content-Type": "application/json"}
        self.http.request(method, API + path, None if body is None else json.dumps(body), headers)
        answer = self.http.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{method} {path}: {answer.status} {text[:300]!r}")
        return json.loads(text)

    def post(self, path, **body):
        return self.send("POST", path, body)

    def get(self, path, **query):
        return self.send("GET", f"{path}?{urlencode(query)}")


class Load:
    """What one client was answered."""

    def __init__(self):
        self.run, self.singles, self.batches, self.ended = None, [], [], []

    def log(self, port, stop):
        """Logs until nobody answers."""
        try:
            client = Client(port)
            create = {"experiment_id": "0", "start_time": 1}
            self.run = client.post("/runs/create", **create)["run"]["info"]["run_id"]
            number = 0
            while not stop.is_set():
                client.post("/runs/log-metric", run_id=self.run, key="single", value=number, timestamp=number,
                            step=number)
                self.singles.append(number)
                metrics = [{"key": f"m{i}", "value": number, "timestamp": number, "step": number}
                           for i in range(POINTS)]
                client.post("/runs/log-batch", run_id=self.run, metrics=metrics,
                            params=[{"key": f"p{number}", "value": "x"}],
                            tags=[{"key": f"t{number}", "value": "x"}])
                self.batches.append(number)
                if number % 5 == 0:
                    tags = [{"key": "of", "value": self.run}]
                    run = client.post("/runs/create", **create, tags=tags)["run"]["info"]["run_id"]
                    client.post("/runs/update", run_id=run, status="FINISHED", end_time=2)
                    self.ended.append(run)
                number += 1
        except (OSError, http.client.HTTPException):
            pass

    def answered(self):
        return len(self.singles) + len(self.batches) + len(self.ended)

    def lost(self, client):
        """What was answered and is not there, and what is there in part, in words."""
        if self.run is None:
            return
        steps = {}
        for key in ["single", *(f"m{i}" for i in range(POINTS))]:
            points = client.get("/metrics/get-history", run_id=self.run, metric_key=key).get("metrics", [])
            steps[key] = [point["step"] for point in points]
            if any(point["value"] != point["step"] for point in points):
                yield f"points of {key} have other values than were logged"
        data = client.get("/runs/get", run_id=self.run)["run"]["data"]
        keys = {kind: {pair["key"] for pair in data.get(kind, [])} for kind in ("params", "tags")}
        gone = set(self.singles) - set(steps["single"])
        if gone:
            yield f"{len(gone)} of {len(self.singles)} points were lost: {sorted(gone)[:5]}"
        # The one that was under way may be there.
        for number in range(len(self.batches) + 1):
            parts = [number in steps[f"m{i}"] for i in range(POINTS)]
            parts += [f"p{number}" in keys["params"], f"t{number}" in keys["tags"]]
            if number < len(self.batches) and not all(parts):
                yield f"batch {number} of {len(self.batches)} was answered and lost: {parts}"
            if any(parts) and not all(parts):
                yield f"batch {number} is there in part: {parts}"
        for key, found in steps.items():
            if found != list(range(len(found))):
                yield f"the series of {key} has holes or is out of order"
        for metric in data.get("metrics", []):
            if metric["step"] != max(steps[metric["key"]]):
                yield f"the newest value of {metric['key']} is not the end of its series"
        for run in self.ended:
            info = client.get("/runs/get", run_id=run)["run"]["info"]
            if info["status"] != "FINISHED":
                yield f"the end of run {run} was lost"


def kill_under_load(server, clients, seconds):
    """Loads a server and kills it; what each client was answered."""
    stop, loads = threading.Event(), [Load() for _ in range(clients)]
    threads = [threading.Thread(target=load.log, args=(server.port, stop)) for load in loads]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    server.kill()
    stop.set()
    for thread in threads:
        thread.join()
    return loads


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rondo", required=True, type=lambda text: str(Path(text).resolve()), help="the binary")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=300, help="after these, no server is killed any more")
    parser.add_argument("--seed", type=int, default=None, help="absent: another one each time, printed")
    options = parser.parse_args()
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    chance, deadline = random.Random(seed), time.monotonic() + options.seconds
    loads, faults, kills = [], [], 0
    with tempfile.TemporaryDirectory(prefix="rondo-acknowledged-") as folder:
        server = Server(options.rondo, Path(folder))
        server.start()
        while kills < options.kills and time.monotonic() < deadline:
            new = kill_under_load(server, options.clients, chance.uniform(0.2, 2))
            kills += 1
            client = server.start()
            faults += [fault for load in new for fault in load.lost(client)]
            loads += new
        # The first ones once more: later kills have taken nothing either.
        faults += [fault for load in loads[: options.clients] for fault in load.lost(client)]
        if server.stop() != 0:
            faults.append("the server does not stop in peace")
    for fault in faults[:20]:
        print(fault)
    print(f"{kills} kills under load from {options.clients} clients, seed {seed}: "
          f"{sum(load.answered() for load in loads)} writes answered, {len(faults)} faults")
    idle = sum(load.answered() == 0 for load in loads)
    if idle == len(loads) or kills == 0:
        sys.exit("nothing was answered: there was no load")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
