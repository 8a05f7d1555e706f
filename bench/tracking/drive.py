"""Drives tracking servers through MLflow's REST API and prints what each unit of work costs them.

Standard library only: one keep-alive connection a client, each client a process of its own, so that the
driver stays cheaper than what it measures. Servers take turns in each round, each fresh in a folder of its
own, so that noise of the machine meets all of them. The figure to trust is the server's CPU a unit (its
whole process tree, from /proc): other load moves it least.

The milliseconds of a request are those of a client: until the answer is read and its JSON taken apart.

Nothing is waited for without an end: a server that does not answer, and a client that dies, end the
measurement with the server's name, what it was doing, and the file with what it has written.
"""

import argparse
import gc
import http.client
import json
import multiprocessing
import os
import queue
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

API = "/api/2.0/mlflow"
FORK = multiprocessing.get_context("fork")


class Stuck(Exception):
    """A server that does not go on."""


class Client:
    """One connection."""

    def __init__(self, port, patience=60):
        self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=patience)
        self.http.connect()
        self.http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, method, path, body=None):
        body = None if body is None else json.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        self.http.request(method, API + path, body, headers)
        answer = self.http.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]!r}")
        return text

    def post(self, path, body):
        return json.loads(self.send("POST", path, body))

    def get(self, path, **query):
        return json.loads(self.send("GET", f"{path}?{urlencode(query)}"))

    def experiment(self):
        return self.post("/experiments/create", {"name": f"bench-{random.getrandbits(48):x}"})["experiment_id"]

    def run(self, experiment, **more):
        body = {"experiment_id": experiment, "start_time": millis(), **more}
        return self.post("/runs/create", body)["run"]["info"]["run_id"]


def millis():
    return int(time.time() * 1000)


# Work: each takes (client, experiment, seed, stop) and returns how many units it did and the seconds of
# each request. `stop` is a moment, or the number of times.


def log_metric(client, experiment, seed, stop):
    run, times, step = client.run(experiment), [], 0
    while (began := time.perf_counter()) < stop or not times:
        client.post("/runs/log-metric", {"run_id": run, "key": "loss", "value": step * 0.5,
                                         "timestamp": millis(), "step": step})
        times.append(time.perf_counter() - began)
        step += 1
    return step, times


def log_batch(client, experiment, seed, stop):
    run, times, batch = client.run(experiment), [], 0
    while (began := time.perf_counter()) < stop or not times:
        now = millis()
        metrics = [{"key": f"m{i % 10}", "value": i * 0.25, "timestamp": now, "step": batch * 100 + i // 10}
                   for i in range(1000)]
        client.post("/runs/log-batch", {"run_id": run, "metrics": metrics})
        times.append(time.perf_counter() - began)
        batch += 1
    return batch * 1000, times


def make_runs(client, experiment, seed, count):
    chance, times = random.Random(seed), []
    for number in range(count):
        began = time.perf_counter()
        tags = [{"key": f"t{i}", "value": f"v{chance.randrange(5)}"} for i in range(5)]
        run = client.run(experiment, run_name=f"run-{seed}-{number}", tags=tags)
        params = [{"key": f"p{i}", "value": chance.choice("xyz") if i == 1 else str(chance.random())}
                  for i in range(10)]
        metrics = [{"key": f"m{i}", "value": chance.random(), "timestamp": millis(), "step": 0}
                   for i in range(10)]
        client.post("/runs/log-batch", {"run_id": run, "params": params, "metrics": metrics})
        client.post("/runs/update", {"run_id": run, "status": "FINISHED", "end_time": millis()})
        times.append(time.perf_counter() - began)
    return count, times


def search(body):
    def work(client, experiment, seed, count):
        times = []
        for _ in range(count):
            began = time.perf_counter()
            client.post("/runs/search", {"experiment_ids": [experiment], **body})
            times.append(time.perf_counter() - began)
        return count, times
    return work


FILTERED = search({"filter": "metrics.m1 > 0.5 and params.p1 = 'x'", "order_by": ["metrics.m1 DESC"],
                   "max_results": 100})
LISTED = search({"max_results": 1000})
# Of the runs that `make_runs` makes, these find one in 1,875, one in 10,000 and one in 2,000.
BY_TAGS = search({"filter": "params.p1 = 'x' and tags.t0 = 'v1' and tags.t1 = 'v2' and tags.t2 = 'v3' and tags.t3 = 'v0'",
                  "max_results": 100})
BY_PATTERN = search({"filter": "params.p0 LIKE '0.1234%'", "max_results": 100})
BY_METRIC = search({"filter": "metrics.m1 > 0.9995", "max_results": 100})


def history(client, experiment, seed, points):
    """Reads a series; it is logged before the clock starts."""
    run, now = client.run(experiment), millis()
    for first in range(0, points, 1000):
        client.post("/runs/log-batch", {"run_id": run, "metrics": [
            {"key": "m", "value": i * 0.5, "timestamp": now + i, "step": i} for i in range(first, first + 1000)]})
    used, times, found, token = client.used(), [], 0, ""
    for _ in range(3):
        began, found, token = time.perf_counter(), 0, ""
        while True:
            # As MLflow's own client asks. Without a size its server answers a page of nothing and a token for
            # the same page again, without end.
            page = client.get("/metrics/get-history", run_id=run, metric_key="m", max_results=25_000,
                              **({"page_token": token} if token else {}))
            here = len(page.get("metrics", []))
            found += here
            if not here and page.get("next_page_token"):
                raise RuntimeError("an empty page of a history, and more to come")
            token = page.get("next_page_token")
            if not token:
                break
        times.append(time.perf_counter() - began)
    assert found == points, f"{found} of {points} points"
    client.spent = client.used() - used
    return 3, times


def favour(pid, nice):
    """Gives a session another share of a busy machine (root only): the scheduler groups by session."""
    if nice:
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))


class Server:
    """A server of its own process group in a folder of its own. What it writes is kept in a file."""

    def __init__(self, name, command, log, patience, nice=0):
        self.name, self.log, self.patience = name, log, patience
        self.folder = Path(tempfile.mkdtemp(prefix="bench-tracking-"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [part.format(port=self.port, folder=self.folder) for part in command]
        began = time.perf_counter()
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "wb") as file:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                                            cwd=self.folder, start_new_session=True)
        favour(self.process.pid, nice)
        while not self.healthy():
            if self.process.poll() is not None or time.perf_counter() - began > patience:
                self.stop()
                raise self.stuck("start")
            time.sleep(0.002)
        self.started = time.perf_counter() - began

    def stuck(self, doing, why="it did not end in time"):
        """The error that names the server, what it was asked to do, and where its own words are."""
        try:
            words = self.log.read_text(errors="replace")[-1500:].strip()
        except OSError:
            words = ""
        state = self.process.poll()
        state = "is running" if state is None else f"has ended with {state}"
        return Stuck(f"{self.name}: {doing}: {why}; the server {state}; its log is {self.log}"
                     + (f", which ends:\n{words}" if words else ", which is empty"))

    def client(self):
        return Client(self.port, self.patience)

    def healthy(self):
        asked = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            asked.request("GET", "/health")
            return asked.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            asked.close()

    def tree(self):
        children = {}
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                parent = int(Path(f"/proc/{name}/stat").read_text().rsplit(")", 1)[1].split()[1])
                children.setdefault(parent, []).append(int(name))
            except OSError:
                pass
        found, todo = [], [self.process.pid]
        while todo:
            found.append(todo.pop())
            todo += children.get(found[-1], [])
        return found

    def cpu(self):
        """CPU seconds so far, those of threads and children that have ended too."""
        ticks = 0
        for pid in self.tree():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                ticks += sum(map(int, fields[11:15]))
            except OSError:
                pass
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory(self):
        kilobytes = 0
        for pid in self.tree():
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            except OSError:
                pass
        return kilobytes / 1024

    def settle(self, seconds=15):
        """Waits until it has nothing of its own to do."""
        for _ in range(seconds * 2):
            before = self.cpu()
            time.sleep(0.5)
            if self.cpu() - before < 0.05:
                break

    def quiet(self):
        """Waits until it has nothing of its own to do, and has answered once on many connections."""
        self.settle()
        for _ in range(8):
            client = self.client()
            run = client.run("0")
            client.post("/runs/log-metric", {"run_id": run, "key": "w", "value": 1, "timestamp": millis(), "step": 0})
            client.post("/runs/search", {"experiment_ids": ["0"], "max_results": 5})

    def syncs(self):
        """Syncs of the disk for 100 single writes, one after the other, by strace; nothing without it."""
        if shutil.which("strace") is None:
            return None
        out = self.folder / "syncs"
        pids = [part for pid in self.tree() for part in ("-p", str(pid))]
        trace = subprocess.Popen(["strace", "-f", "-q", "-e", "trace=fsync,fdatasync,sync_file_range,msync",
                                  "-o", out, *pids], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(1)
            client = self.client()
            run = client.run("0")
            for step in range(100):
                client.post("/runs/log-metric",
                            {"run_id": run, "key": "s", "value": 1, "timestamp": millis(), "step": step})
            trace.send_signal(signal.SIGINT)
            trace.wait(20)
            return sum("sync(" in line for line in out.read_text().splitlines())
        except (OSError, subprocess.TimeoutExpired, http.client.HTTPException):
            # A server of many threads may stand still under strace: then this is not known of it.
            return None
        finally:
            # Killed, it lets go of what it holds; a server that it held would not even end.
            trace.kill()
            trace.wait()

    def stop(self):
        """Ends it with all that it has started, also in sessions of their own."""
        tree = self.tree()
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in tree if number == signal.SIGKILL else tree[:1]:
                try:
                    os.kill(pid, number)
                except OSError:
                    pass
            try:
                os.killpg(self.process.pid, number)
            except OSError:
                pass
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                pass
        shutil.rmtree(self.folder, ignore_errors=True)


def together(server, name, work, clients, experiment, stop):
    """Clients at once, each a process; units, wall seconds, and the seconds of all requests."""
    results, gate = FORK.Queue(), FORK.Event()

    def body(seed):
        try:
            client = server.client()
            client.used, client.spent = server.cpu, None
            # Answers have no cycles. Looking for some takes this client 6 to 8 ms once in about 25 answers of a
            # hundred runs, which would be most of what the slowest requests take.
            gc.disable()
            gate.wait()
            until = stop if isinstance(stop, int) else time.perf_counter() + stop
            results.put((*work(client, experiment, seed, until), client.spent))
        except Exception as error:
            # As text: not every exception comes through whole.
            results.put(f"{type(error).__name__}: {error}")

    workers = [FORK.Process(target=body, args=(seed,), daemon=True) for seed in range(clients)]
    for worker in workers:
        worker.start()
    time.sleep(0.2)
    before, began = server.cpu(), time.perf_counter()
    gate.set()
    try:
        done = gathered(server, name, workers, results, began)
        wall, spent = time.perf_counter() - began, server.cpu() - before
    finally:
        for worker in workers:
            worker.join(5)
            worker.kill()
    spent = next((own for *_, own in done if own is not None), spent)
    return sum(units for units, *_ in done), wall, sorted(t for _, times, _ in done for t in times), spent


def gathered(server, name, workers, results, began):
    """What each client has done. One that died without a word, or takes too long, is told and not waited for."""
    done = []
    while len(done) < len(workers):
        try:
            one = results.get(timeout=1)
        except queue.Empty:
            dead = [worker.exitcode for worker in workers if worker.exitcode not in (None, 0)]
            if dead:
                raise server.stuck(name, f"a client ended with {dead[0]}") from None
            if time.perf_counter() - began > server.patience:
                raise server.stuck(name, f"it did not end within {server.patience:.0f} s") from None
            continue
        if isinstance(one, str):
            raise server.stuck(name, one)
        done.append(one)
    return done


def measure(server, options, experiment=None):
    """All the work on one server: figures by the name of the work."""
    client = server.client()
    full = experiment or client.experiment()
    share = options.runs // 4
    plan = [
        ("log-metric, 1 client", log_metric, 1, client.experiment(), options.seconds),
        ("log-metric, 4 clients", log_metric, 4, client.experiment(), options.seconds),
        ("a point in batches of 1,000, 1 client", log_batch, 1, client.experiment(), options.seconds),
        ("a point in batches of 1,000, 4 clients", log_batch, 4, client.experiment(), options.seconds),
        ("run of 5 tags, 10 params, 10 metrics, 4 clients", make_runs, 4, full, share),
        ("search, filtered and ordered, 100 rows", FILTERED, 1, full, 100),
        ("search, 1,000 rows", LISTED, 1, full, 8),
        ("search by a parameter and four tags", BY_TAGS, 1, full, 20),
        ("search by a parameter's pattern", BY_PATTERN, 1, full, 20),
        ("search by a metric, newest first", BY_METRIC, 1, full, 20),
        (f"history of {options.points:,} points", history, 1, client.experiment(), options.points),
    ]
    figures = {}
    for name, work, clients, where, stop in plan:
        if options.only and not any(word in name for word in options.only.split(",")):
            continue
        if work in (BY_TAGS, BY_PATTERN, BY_METRIC):
            # What a first search makes the server do in the background is not what a search costs.
            work(server.client(), where, 0, 1)
            server.settle(120)
        units, wall, times, spent = together(server, name, work, clients, where, stop)
        at = lambda share: times[min(len(times) - 1, int(share * len(times)))] * 1000
        figures[name] = {"per_s": units / wall, "p50": at(0.5), "p95": at(0.95), "cpu": spent / units * 1000}
    return figures


def commands(options):
    fasttrackml = [options.fasttrackml, "server", "--listen-address", "127.0.0.1:{port}", "--database-uri",
                   "sqlite://{folder}/f.db", "--default-artifact-root", "{folder}/artifacts"]
    mlflow = [options.mlflow, "server", "--port", "{port}", "--workers", "1", "--backend-store-uri",
              "sqlite:///{folder}/m.db", "--artifacts-destination", "{folder}/artifacts"]
    return {
        "rondo": [options.rondo, "server", "--listen", "127.0.0.1:{port}", "--data", "{folder}/store"],
        "fasttrackml": fasttrackml,
        "mlflow": mlflow,
    }


def medians(rounds):
    """The median of each figure over the rounds."""
    names = [name for name in rounds[0] if name != "server"]
    return {name: {figure: statistics.median(one[name][figure] for one in rounds) for figure in rounds[0][name]}
            for name in names}


def table(found):
    """One block of lines a work: each server's figures and how many times the first one's its CPU is."""
    base, first = next(iter(found.items()))
    for name in first["works"]:
        print(f"\n{name}")
        print(f"  {'':12} {'per s':>11} {'p50 ms':>9} {'p95 ms':>9} {'CPU ms':>9}   CPU to {base}'s")
        for server, figures in found.items():
            one = figures["works"][name]
            own = first["works"][name]["cpu"]
            print(f"  {server:12} {one['per_s']:11,.1f} {one['p50']:9.2f} {one['p95']:9.2f} {one['cpu']:9.4f}"
                  f"   {one['cpu'] / max(own, 1e-9):.1f}")
    print(f"\nserver\n  {'':12} {'start s':>11} {'idle MiB':>9} {'after MiB':>9}   syncs for 100 writes")
    for server, figures in found.items():
        synced = "no strace here" if figures["syncs"] is None else figures["syncs"]
        print(f"  {server:12} {figures['start']:11.3f} {figures['idle']:9.1f} {figures['after']:9.1f}   {synced}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("rondo", "fasttrackml", "mlflow"):
        parser.add_argument(f"--{name}", default=name, help="the program")
    parser.add_argument("--servers", default="rondo,fasttrackml,mlflow")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each work that has no end of its own")
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--only", default="", help="works whose names have one of these words")
    parser.add_argument("--patience", type=float, default=600.0, help="seconds for each work, and for a start")
    parser.add_argument("--logs", type=Path, default=Path("target/bench-tracking/logs"),
                        help="where what the servers write is kept")
    parser.add_argument("--nice", type=int, default=0, help="of driver and servers, such as -15 on a busy machine")
    parser.add_argument("--store", help="measure Rondo alone, on a fresh store and on this grown one, searching its --experiment")
    parser.add_argument("--experiment", default="1")
    parser.add_argument("--json", type=Path, help="write all figures here too")
    options = parser.parse_args()
    favour(os.getpid(), options.nice)
    servers = {name: commands(options)[name] for name in options.servers.split(",")}
    if options.store:
        grown = [part.replace("{folder}/store", options.store) for part in servers["rondo"]]
        servers = {"small": servers["rondo"], "grown": grown}
    raw = {name: [] for name in servers}
    for number in range(options.rounds):
        for name, command in servers.items():
            log = (options.logs / f"{name}-{number + 1}.log").absolute()
            try:
                server = Server(name, command, log, options.patience, options.nice)
            except Stuck as stuck:
                raise SystemExit(str(stuck)) from None
            try:
                server.quiet()
                own = {"start": server.started, "idle": server.memory(), "syncs": None}
                figures = measure(server, options, options.experiment if name == "grown" else None)
                own["after"] = server.memory()
                if number == 0:
                    own["syncs"] = server.syncs()
            except Stuck as stuck:
                raise SystemExit(str(stuck)) from None
            except (OSError, http.client.HTTPException, RuntimeError) as error:
                raise SystemExit(str(server.stuck("between the works", f"{type(error).__name__}: {error}"))) from None
            finally:
                server.stop()
            raw[name].append({"server": own, **figures})
            print(f"round {number + 1}: {name}", file=sys.stderr, flush=True)
    found = {}
    for name, rounds in raw.items():
        own = [one["server"] for one in rounds]
        found[name] = {"works": medians(rounds), "syncs": own[0]["syncs"],
                       **{key: statistics.median(one[key] for one in own) for key in ("start", "idle", "after")}}
    print(f"medians of {options.rounds} rounds on {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    table(found)
    if options.json:
        options.json.write_text(json.dumps({"medians": found, "rounds": raw}, indent=1))


if __name__ == "__main__":
    main()
