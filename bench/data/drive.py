"""Measures Rondo's data commands, DVC's, and the floor: the same files on the same machine.

CPU seconds (user and system) of the whole process tree are the figure to trust; wall time depends on what
else the machine does. Parts: `small` (10,000 files of 4 KiB), `many` (1,000,000 small files), `big` (one
file of 2 GiB).
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

BARS = []


def run(command, folder):
    """Wall seconds, CPU seconds and peak memory in MB."""
    start = time.perf_counter()
    child = subprocess.Popen(
        [str(word) for word in command], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    error = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{command}: {child.returncode}\n{error.decode(errors='replace')[-2000:]}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def show(label, runs):
    wall, cpu, memory = (list(column) for column in zip(*runs))
    print(f"{label:<44} wall {statistics.median(wall):8.3f}  CPU {statistics.mean(cpu):8.3f}  "
          f"peak {max(memory):6.0f} MB  ({len(runs)})", flush=True)
    return statistics.mean(cpu), max(memory), statistics.median(wall)


def bar(what, value, most):
    BARS.append((what, value, most))


def ratio(what, peer, own):
    print(f"{what}: DVC takes {peer / own:.1f} times the CPU", flush=True)


def fill(folder, files, size, per_folder):
    rnd = random.Random(7)
    block = rnd.randbytes(size)
    for number in range(files):
        inner = folder / f"{number // per_folder:05d}"
        if number % per_folder == 0:
            inner.mkdir(parents=True, exist_ok=True)
        with open(inner / f"f{number:07d}.bin", "wb") as file:
            file.write(number.to_bytes(8, "little") + block[8:] if size > 8 else number.to_bytes(8, "little"))


def project(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "rondo.yaml").write_text("project: bench\n")
    return folder


def floor(folder):
    """One lstat of every file, by find."""
    return ["find", folder, "-type", "f", "-newermt", "2999-01-01"]


def small(args):
    work = project(args.folder / "small-rondo")
    fill(work / "small", 10_000, 4096, 100)
    time.sleep(3)
    stat, _, _ = show("floor: lstat of 10,000", [run(floor("small"), work) for _ in range(5)])
    cold, _, _ = show("rondo add 10,000 x 4 KiB, cold", [run([args.rondo, "data", "add", "small"], work)])
    run([args.rondo, "data", "status"], work)
    again, _, _ = show("rondo add, unchanged", [run([args.rondo, "data", "add", "small"], work) for _ in range(20)])
    status, _, _ = show("rondo status", [run([args.rondo, "data", "status"], work) for _ in range(20)])
    bar("add unchanged, CPU s", again, 0.07)
    bar("status, CPU s", status, 0.05)
    if args.dvc:
        peer = project(args.folder / "small-dvc")
        subprocess.run(["git", "init", "-q", "."], cwd=peer, check=True)
        subprocess.run([args.dvc, "init", "-q"], cwd=peer, check=True)
        shutil.copytree(work / "small", peer / "small")
        dvc, _, _ = show("dvc add, cold", [run([args.dvc, "add", "-q", "small"], peer)])
        dvc_again, _, _ = show("dvc add, unchanged", [run([args.dvc, "add", "-q", "small"], peer) for _ in range(3)])
        dvc_status, _, _ = show("dvc status", [run([args.dvc, "status", "-q"], peer) for _ in range(3)])
        bar("add cold, share of DVC's CPU", cold / dvc, 0.1)
        ratio("add unchanged", dvc_again, again)
        ratio("status", dvc_status, status)
        shutil.rmtree(peer)
    shutil.rmtree(work)
    return stat


def many(args):
    work = project(args.folder / "many")
    fill(work / "many", args.many, 8, 1000)
    time.sleep(3)
    show(f"rondo add {args.many:,} files, cold", [run([args.rondo, "data", "add", "many"], work)])
    run([args.rondo, "data", "status"], work)
    pairs = [(run(floor("many"), work), run([args.rondo, "data", "status"], work)) for _ in range(5)]
    stat, _, _ = show("floor: lstat of them", [pair[0] for pair in pairs])
    status, memory, _ = show("rondo status", [pair[1] for pair in pairs])
    bar("status of very many, times the floor's CPU", status / stat, 2)
    bar("status of very many, MB", memory, 300)
    (work / "many/00000/f0000000.bin").write_text("changed")
    show("rondo add, one changed", [run([args.rondo, "data", "add", "many"], work)])
    show("rondo diff of the two", [run([args.rondo, "data", "diff", "many"], work) for _ in range(3)])
    shutil.rmtree(work)


REFERENCE = """
import os, sys
out = os.open(sys.argv[2], os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
with open(sys.argv[1], "rb", buffering=0) as source:
    buffer = bytearray(4 << 20)
    view = memoryview(buffer)
    while count := source.readinto(buffer):
        os.write(out, view[:count])
os.fsync(out)
"""


def big(args):
    work = project(args.folder / "big")
    rnd = random.Random(11)
    with open(work / "big.bin", "wb") as file:
        for _ in range(args.big // 8):
            file.write(rnd.randbytes(8 << 20))
    os.sync()
    copy = show("floor: read, write and sync it once (no hash)",
                [run([sys.executable, "-c", REFERENCE, "big.bin", "copy"], work)])
    os.unlink(work / "copy")
    cold, _, wall = show(f"rondo add {args.big} MiB, cold", [run([args.rondo, "data", "add", "big.bin"], work)])
    show("rondo status", [run([args.rondo, "data", "status"], work) for _ in range(5)])
    bar("add of a big file, times reading and writing it", wall / copy[2], 1.3)
    push = [args.rondo, "data", "push", "--json", "--remote", str(work / "remote")]
    show("rondo push of it to a folder, cold", [run(push, work)])
    with open(work / "big.bin", "r+b") as file:
        file.seek(args.big << 19)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    show("rondo add, one byte changed", [run([args.rondo, "data", "add", "big.bin"], work)])
    pushed = subprocess.run([str(word) for word in push], cwd=work, capture_output=True, check=True)
    sent = json.loads(pushed.stdout)["push"]["sent"]
    print(f"rondo push, one byte changed: {sent / 1e6:.2f} MB sent", flush=True)
    bar("one changed byte sends, MB", sent / 1e6, 10)
    shutil.rmtree(work / "remote")
    shutil.rmtree(work / ".rondo")
    if args.dvc:
        subprocess.run(["git", "init", "-q", "."], cwd=work, check=True)
        subprocess.run([args.dvc, "init", "-q"], cwd=work, check=True)
        dvc, _, _ = show("dvc add, cold", [run([args.dvc, "add", "-q", "big.bin"], work)])
        bar("add of a big file, share of DVC's CPU", cold / dvc, 0.2)
    shutil.rmtree(work)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rondo", required=True)
    parser.add_argument("--dvc")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--parts", default="small,many,big")
    parser.add_argument("--many", type=int, default=1_000_000)
    parser.add_argument("--big", type=int, default=2048, help="MiB")
    parser.add_argument("--check", action="store_true", help="end with 1 where a bar is missed")
    args = parser.parse_args()
    args.folder = args.folder.resolve()
    args.folder.mkdir(parents=True, exist_ok=True)
    parts = {"small": small, "many": many, "big": big}
    for name in args.parts.split(","):
        parts[name](args)
    missed = [line for line in BARS if line[1] > line[2]]
    for what, value, most in BARS:
        print(f"{'ok    ' if value <= most else 'MISSED'} {what}: {value:.3f}, at most {most}")
    sys.exit(1 if args.check and missed else 0)


if __name__ == "__main__":
    main()
