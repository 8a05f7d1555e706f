"""Generates tables, profiles them with Rondo and with ydata-profiling, prints CPU seconds, time and memory.

CPU seconds are those of user and system of the whole process, its start and imports included; of several runs
the least is taken, since other work on the machine only ever adds.
"""

import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PEER = """
import sys, pandas
from ydata_profiling import ProfileReport
report = ProfileReport(pandas.read_parquet(sys.argv[1]), minimal=True, progress_bar=False)
open(sys.argv[2], "w").write(report.to_html())
"""


def weights(levels, power=1.0):
    weight = 1.0 / np.arange(1, levels + 1) ** power
    return weight / weight.sum()


def texts(prefix, codes, width):
    levels = pa.array([f"{prefix}{code:0{width}d}" for code in range(int(codes.max()) + 1)])
    return levels.take(pa.array(codes))


def table(rows, seed, users):
    """Twelve number columns and eight of text: of all common distributions, with and without gaps."""
    random = np.random.default_rng(seed)
    first = random.standard_normal(rows)
    columns = {
        "num_00": first,
        "num_01": random.standard_normal(rows) + 0.5,
        "num_02": random.lognormal(3.0, 1.0, rows),
        "num_03": random.standard_normal(rows) * 1.5 + 10,
        "num_04": random.uniform(-5, 5, rows),
        "num_05": random.standard_normal(rows),
        "num_06": pa.array(random.exponential(2.0, rows), mask=random.random(rows) < 0.05),
        "num_07": pa.array(random.gamma(2.0, 2.0, rows), mask=random.random(rows) < 0.2),
        "num_08": random.standard_normal(rows),
        "num_09": random.poisson(20, rows).astype("int64"),
        "num_10": random.integers(1, 6, rows).astype("int64"),
        "num_11": 0.9 * first + np.sqrt(0.19) * random.standard_normal(rows),
        "cat_00": texts("b", (random.random(rows) < 0.3).astype("int64"), 1),
        "cat_01": texts("b", (random.random(rows) < 0.6).astype("int64"), 1),
        "cat_02": texts("lvl_", random.choice(10, rows, p=weights(10)), 2),
        "cat_03": texts("lvl_", random.choice(10, rows, p=weights(10)[::-1]), 2),
        "cat_04": texts("k", random.choice(6, rows, p=weights(6)), 1),
        "cat_05": texts("city_", random.choice(1000, rows, p=weights(1000, 0.8)), 4),
        "cat_06": texts("g", random.integers(0, 100, rows), 3),
        "cat_07": texts("user_", random.integers(0, users, rows), 8),
    }
    return pa.table(columns)


def generate(path, rows, users=500_000):
    """Parquet in row groups of 131,072, a million rows at a time."""
    writer = None
    for part, start in enumerate(range(0, rows, 1_000_000)):
        piece = table(min(1_000_000, rows - start), 2 + part, users)
        writer = writer or pq.ParquetWriter(path, piece.schema, compression="snappy")
        writer.write_table(piece, row_group_size=131_072)
    writer.close()


# A process begins with the peak of the one that started it, so a small one starts what is measured.
STARTER = """
import resource, subprocess, sys, time
begun = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(code, used.ru_utime + used.ru_stime, time.perf_counter() - begun, used.ru_maxrss / 1024)
"""


def run(command, times):
    """CPU seconds, wall seconds and peak memory in MB of the cheapest of so many runs."""
    best = None
    for _ in range(times):
        started = subprocess.run([sys.executable, "-c", STARTER, *command], capture_output=True, text=True)
        code, *now = map(float, started.stdout.split())
        if code:
            sys.exit(f"{command[0]} failed")
        best = min(best or now, now)
    return best


def show(what, found):
    cpu, wall, memory = found
    print(f"| {what} | {cpu:.2f} | {wall:.2f} | {memory:.0f} |", flush=True)
    return cpu


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rondo", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--ydata", action="store_true")
    parser.add_argument("--large", default="", help="sizes in gigabytes, such as '1 2 4'")
    parser.add_argument("--many", type=int, default=0, help="so many names of the first file in a folder, read as one")
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    plain = os.path.join(options.folder, "million.parquet")
    page = os.path.join(options.folder, "page.html")
    if not os.path.exists(plain):
        generate(plain, 1_000_000)
    print("| work | CPU s | time s | memory MB |\n|---|---|---|---|")
    profile = [options.rondo, "data", "profile", "--json"]
    ours = show("rondo data profile --html, 1 M × 20", run([*profile, plain, "--html", page], options.times))
    print(f"| its page | | | {os.path.getsize(page) / 1e6:.2f} |")
    if options.ydata:
        theirs = show("ydata-profiling, minimal, the same file", run([sys.executable, "-c", PEER, plain, page], 1))
        print(f"| its page | | | {os.path.getsize(page) / 1e6:.2f} |\n\nratio of CPU: {theirs / ours:.0f}")
    million = os.path.getsize(plain)
    for size in options.large.split():
        path = os.path.join(options.folder, "large.parquet")
        try:
            rows = int(float(size) * 1e9 / million * 1e6)
            generate(path, rows, users=rows // 2)
            show(f"{size} GB of Parquet, {rows:,} rows", run([*profile, path], 1))
        finally:
            if os.path.exists(path):
                os.remove(path)
    if options.many:
        with tempfile.TemporaryDirectory(dir=options.folder) as many:
            for number in range(options.many):
                os.link(plain, os.path.join(many, f"{number:06}.parquet"))
            show(f"a folder of {options.many} M × 20, {options.many * million / 1e9:.1f} GB", run([*profile, many], 1))
    os.remove(page)


main()
