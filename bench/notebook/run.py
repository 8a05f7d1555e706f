#!/usr/bin/env python3
"""Notebooks beside papermill, on the same machine and in turns: ratios of wall time, not seconds.

    bench/notebook/run.py --rondo target/release/rondo [--rounds 5] [--only one,sweep]

Makes an environment with papermill under target/bench-notebook by uv. One run: a trivial notebook of five
code cells, from the start of the command to its end. Sweep: twenty parameterised runs, two at once; papermill
as two processes that take turns, Rondo as one command, with fresh kernels and with forked ones. The notebook
of the second sweep imports pandas and scikit-learn, as notebooks do.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "target/bench-notebook"
REQUIREMENTS = ["papermill==2.7.0", "ipykernel==7.4.0", "pandas", "scikit-learn"]


def environment():
    python = WORK / "env/bin/python"
    if not (WORK / "env/bin/papermill").exists():
        uv = shutil.which("uv") or os.environ.get("UV") or sys.exit("uv is needed; name it with UV=…")
        subprocess.run([uv, "venv", "-q", "--clear", WORK / "env", "--python", sys.executable], check=True)
        subprocess.run([uv, "pip", "install", "-q", "-p", python, *REQUIREMENTS], check=True)
    return python


def notebook(name, cells):
    def cell(source, tags=()):
        return {"cell_type": "code", "id": f"c{abs(hash(source)) % 10**8}", "execution_count": None,
                "metadata": {"tags": list(tags)}, "outputs": [], "source": source}

    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    content = {"cells": [cell(cells[0], ["parameters"]), *map(cell, cells[1:])],
               "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    path = WORK / name
    path.write_text(json.dumps(content))
    return path


def timed(command):
    begin = time.perf_counter()
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, cwd=WORK)
    return time.perf_counter() - begin


def turns(contenders, rounds):
    """Each contender once a round, so that what else the machine does falls on all alike."""
    seconds = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            seconds[name].append(run())
    return seconds


def report(title, seconds, peer="papermill"):
    print(f"\n{title}")
    for name, values in seconds.items():
        ratios = [theirs / ours for theirs, ours in zip(seconds[peer], values)]
        listed = " ".join(f"{value:.2f}" for value in values)
        print(f"  {name:<16} median {statistics.median(values):6.2f} s   "
              f"{statistics.median(ratios):4.1f}x faster (median of rounds)   [{listed}]")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rondo", type=Path, default=ROOT / "target/release/rondo")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--only", default="one,sweep,imports")
    options = options.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    python, rondo = environment(), options.rondo.resolve()
    papermill = WORK / "env/bin/papermill"
    os.environ["PATH"] = f"{WORK / 'env/bin'}:{os.environ['PATH']}"
    five = notebook("five.ipynb", ["x = 1", "y = x * 2", "print(y)", "z = [y] * 3", "z"])
    heavy = notebook("heavy.ipynb", [
        "x = 1", "import pandas as pd\nfrom sklearn.linear_model import LogisticRegression",
        "frame = pd.DataFrame({'a': range(100), 'b': [i % 2 for i in range(100)]})",
        "model = LogisticRegression(C=x).fit(frame[['a']], frame['b'])", "model.score(frame[['a']], frame['b'])"])
    only = options.only.split(",")
    if "one" in only:
        report("one trivial notebook of five cells", turns({
            "papermill": lambda: timed([papermill, "--no-progress-bar", five, "p.ipynb", "-p", "x", "3"]),
            "rondo": lambda: timed([rondo, "notebook", "run", five, "r.ipynb", "-p", "x=3", "--python", python]),
        }, options.rounds))

    def peers(path):
        def one(number):
            timed([papermill, "--no-progress-bar", path, f"p{number}.ipynb", "-p", "x", number])

        begin = time.perf_counter()
        with ThreadPoolExecutor(2) as two:
            list(two.map(one, range(1, 21)))
        return time.perf_counter() - begin

    def sweep(path, *flags):
        return timed([rondo, "notebook", "run", path, "out/", "-p", "x=1..20", "--jobs", "2",
                      "--python", python, *flags])

    rounds = max(1, min(3, options.rounds))
    for name, path in (("sweep", five), ("imports", heavy)):
        if name in only:
            report(f"20 parameterised runs of {path.name}, 2 at once", turns({
                "papermill": lambda: peers(path),
                "fresh kernels": lambda: sweep(path),
                "forked kernels": lambda: sweep(path, "--fork-kernels"),
            }, rounds))


main()
