"""The same pipelines on Rondo, make, Snakemake and DVC, and what each costs in CPU seconds.

Of each tool: a chain of steps that each write one line, run cold, run again with nothing changed, and (where
the tool has a cache of results) with all outputs lost. Then Rondo alone plans a graph of many steps. The figure
is user + system time of the whole process tree; the wall clock is shown beside it and depends on who else
uses the machine. `--check` ends with 1 where a bar is missed.
"""

import argparse
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

BARS = {
    "no-op": "under 0.02 CPU s (mean)",
    "cold": "within 2.5 times make, start-up apart",
    "restore": "under 0.1 CPU s",
    "plan": "under 0.5 CPU s",
}


def spent(command, folder):
    """CPU and wall seconds of a command and all that it waited for."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment())
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.exit(f"{command}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def environment():
    return {**os.environ, "PYTHONWARNINGS": "ignore", "DVC_NO_ANALYTICS": "1"}


def name(number):
    return f"s{number:03d}"


def chain(tool, folder, steps):
    """Writes a chain: each step reads what the one before it wrote."""
    (folder / "s000.txt").write_text("seed\n")
    pairs = [(name(i - 1), name(i), i) for i in range(1, steps + 1)]
    if tool == "make":
        rules = [f"{own}.txt: {before}.txt\n\t@echo {i} > $@\n" for before, own, i in pairs]
        (folder / "Makefile").write_text(f"all: {name(steps)}.txt\n" + "".join(rules))
    elif tool == "snakemake":
        rules = [
            f"rule {own}:\n    input: '{before}.txt'\n    output: '{own}.txt'\n    shell: 'echo {i} > {{output}}'\n"
            for before, own, i in pairs
        ]
        (folder / "Snakefile").write_text(f"rule all:\n    input: '{name(steps)}.txt'\n" + "".join(rules))
    elif tool == "dvc":
        stages = [
            f"  {own}:\n    cmd: echo {i} > {own}.txt\n    deps: [{before}.txt]\n    outs: [{own}.txt]\n"
            for before, own, i in pairs
        ]
        (folder / "dvc.yaml").write_text("stages:\n" + "".join(stages))
    else:
        text = ["project: chain\nsteps:\n"]
        for before, own, i in pairs:
            inputs = f", inputs: [{before}.o]" if i > 1 else ""
            text.append(f"  {own}: {{ run: 'echo {i} > $RONDO_OUTPUT_O', outputs: {{ o: {own}.txt }}{inputs} }}\n")
        (folder / "rondo.yaml").write_text("".join(text))


def wide(folder, steps):
    """Writes layers of a hundred steps, each of which reads two of the layer before."""
    text = ["project: wide\nsteps:\n"]
    for i in range(steps):
        inputs = ""
        if i >= 100:
            first, second = i - 100, i - 100 + (1 if (i % 100) < 99 else -99)
            inputs = f", inputs: {{ a: n{first}.o, b: n{second}.o }}"
        text.append(f"  n{i}: {{ run: 'cat > $RONDO_OUTPUT_O', outputs: {{ o: out/n{i}.txt }}{inputs} }}\n")
    (folder / "rondo.yaml").write_text("".join(text))


def git(folder):
    for arguments in [["init", "-q"], ["config", "user.name", "bench"], ["config", "user.email", "b@localhost"],
                      ["commit", "-q", "--allow-empty", "-m", "init"]]:
        subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


def remove_outputs(folder):
    for path in folder.glob("s*.txt"):
        if path.name != "s000.txt":
            path.unlink()


class Tool:
    def __init__(self, kind, program):
        self.kind, self.program = kind, program

    def run(self):
        return {
            "make": [self.program, "-s"],
            "snakemake": [self.program, "-q", "all", "--cores", "2"],
            "dvc": [self.program, "repro", "-q"],
            "rondo": [self.program, "run", "--quiet"],
        }[self.kind]

    def begin(self, folder, steps):
        chain(self.kind, folder, steps)
        if self.kind in ("dvc", "rondo"):
            git(folder)
        if self.kind == "dvc":
            subprocess.run([self.program, "init", "-q"], cwd=folder, check=True, capture_output=True)


def measure(tool, home, arguments):
    """CPU seconds of a tool's cold, no-op and restore runs; of a list, the mean."""
    found = {}
    startup = min(spent(["/bin/true"] if tool.kind == "make" else [tool.program, "--version"], home)[0] for _ in range(5))
    one = home / f"{tool.kind}-one"
    one.mkdir()
    tool.begin(one, 1)
    found["one step, cold"] = spent(tool.run(), one)
    colds = []
    for number in range(arguments.rounds):
        folder = home / f"{tool.kind}-{number}"
        folder.mkdir()
        tool.begin(folder, arguments.steps)
        colds.append(spent(tool.run(), folder))
    found["cold"] = min(colds)
    runs = arguments.runs if tool.kind in ("make", "rondo") else 3
    noops = [spent(tool.run(), folder) for _ in range(runs)]
    found["no-op"] = tuple(statistics.mean(values) for values in zip(*noops))
    if tool.kind in ("dvc", "rondo"):
        restores = []
        for _ in range(3 if tool.kind == "rondo" else 1):
            remove_outputs(folder)
            (folder / "dvc.lock").unlink(missing_ok=True)
            restores.append(spent(tool.run(), folder))
            if not (folder / f"{name(arguments.steps)}.txt").exists():
                sys.exit(f"{tool.kind} did not bring the outputs back")
        found["restore"] = min(restores)
    return startup, found


def bare(home, arguments):
    """CPU seconds of what a chain of durable steps cannot do without, start-up apart; none without a C compiler."""
    compiler, program = shutil.which("cc"), home / "bare"
    if not compiler:
        return None
    source = pathlib.Path(__file__).with_name("bare.c")
    subprocess.run([compiler, "-O2", "-o", program, source], check=True)

    def best(steps):
        costs = []
        for number in range(arguments.rounds):
            folder = home / f"bare-{steps}-{number}"
            folder.mkdir()
            costs.append(spent([program, str(steps), folder], home)[0])
        return min(costs)

    return best(arguments.steps) - best(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rondo", required=True)
    parser.add_argument("--make", default="make")
    parser.add_argument("--snakemake")
    parser.add_argument("--dvc")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--runs", type=int, default=20, help="no-op runs")
    parser.add_argument("--rounds", type=int, default=3, help="cold runs; the best counts")
    parser.add_argument("--graph", type=int, default=10_000, help="steps of the graph that is planned")
    parser.add_argument("--check", action="store_true", help="end with 1 where a bar is missed")
    arguments = parser.parse_args()
    home = pathlib.Path(tempfile.mkdtemp(prefix="rondo-bench-"))
    results = {}
    try:
        for kind in ["make", "rondo", "snakemake", "dvc"]:
            program = getattr(arguments, kind)
            if program:
                results[kind] = measure(Tool(kind, program), home, arguments)
        least = bare(home, arguments)
        graph = home / "graph"
        graph.mkdir()
        wide(graph, arguments.graph)
        plan = min(spent([arguments.rondo, "run", "--dry-run", "--json"], graph) for _ in range(3))
    finally:
        shutil.rmtree(home, ignore_errors=True)

    print(f"CPU seconds (wall) for a chain of {arguments.steps} steps")
    print(f"{'':<12}{'start-up':>10}{'one step':>18}{'cold':>18}{'no-op':>18}{'restore':>18}")
    for kind, (startup, found) in results.items():
        cells = "".join(
            f"{'%.3f (%.2f)' % found[what] if what in found else '–':>18}"
            for what in ["one step, cold", "cold", "no-op", "restore"]
        )
        print(f"{kind:<12}{startup:>10.3f}{cells}")
    print(f"rondo plans a graph of {arguments.graph} steps: {plan[0]:.3f} ({plan[1]:.2f})")

    rondo, make = results["rondo"][1], results["make"][1]
    # What a run costs before its first step (a look at Git, the host's tools, the store) is paid once.
    cold = rondo["cold"][0] - rondo["one step, cold"][0]
    against = make["cold"][0] - make["one step, cold"][0]
    if least:
        print(f"a bare loop of what a durable step cannot do without, here: {least:.3f}, {least / against:.2f} times make")
    verdicts = {
        "no-op": (rondo["no-op"][0] < 0.02, f"{rondo['no-op'][0]:.4f}"),
        "cold": (cold < 2.5 * against, f"{cold:.3f} against make's {against:.3f}: {cold / against:.2f} times"),
        "restore": (rondo["restore"][0] < 0.1, f"{rondo['restore'][0]:.3f}"),
        "plan": (plan[0] < 0.5, f"{plan[0]:.3f}"),
    }
    for what, (held, figure) in verdicts.items():
        print(f"{'holds' if held else 'MISSED':<7} {what}: {figure}; the bar is {BARS[what]}")
    if arguments.check and not all(held for held, _ in verdicts.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
