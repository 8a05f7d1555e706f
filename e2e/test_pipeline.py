"""Pipelines as a user meets them: what runs and why, what misbehaves, what is killed."""

import contextlib
import fcntl
import json
import os
import pty
import re
import resource
import shutil
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from conftest import RONDO, Rondo, until


def made(folder, text):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rondo.yaml").write_text("project: p\n" + text)
    return Rondo(folder)


def outcomes(report):
    return {step["name"]: step["outcome"] for step in report["steps"]}


def alive(pid):
    try:
        return Path(f"/proc/{int(pid)}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def start(rondo, *args, **more):
    return subprocess.Popen(
        [RONDO, *args], cwd=rondo.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, **more,
    )


def test_a_project_is_found_from_below_and_may_have_blanks_in_its_path(tmp_path):
    rondo = made(tmp_path / "my first project", """
steps:
  a: { run: 'echo 1 > $RONDO_OUTPUT_O', outputs: { o: made/a b.txt } }
  b: { run: 'cat ${{ inputs.o }} > ${{ outputs.p }}', inputs: [a.o], outputs: { p: p.txt } }
""")
    below = rondo.folder / "notebooks" / "deep"
    below.mkdir(parents=True)
    assert outcomes(Rondo(below).json("run")) == {"a": "ran", "b": "ran"}
    assert (rondo.folder / "p.txt").read_text() == "1\n"
    refused = Rondo(tmp_path)("run", code=3)
    assert "rondo.yaml" in refused.stderr and "hint: rondo new" in refused.stderr


def test_a_metric_that_is_no_number_is_told_alike_to_people_and_programs(tmp_path):
    rondo = made(tmp_path / "p", """
steps:
  a: { run: 'echo "{\\"loss\\": NaN, \\"rows\\": 2, \\"low\\": -Infinity}" > $RONDO_METRICS', metrics: a.json }
""")
    rondo("run")
    step = rondo.json("runs", "list", "--step", "a")["runs"][0]["id"]
    assert rondo.json("runs", "show", step)["metrics"] == {
        "loss": "NaN", "rows": 2, "low": -sys.float_info.max}
    assert "loss = NaN" in rondo("runs", "show", step).stdout


def test_a_matrix_runs_each_combination_and_gives_them_on_together(tmp_path):
    rondo = made(tmp_path / "p", """
params: { full: false }
steps:
  train:
    matrix: { seed: [1, 2], kind: [a, b] }
    run: 'echo ${{ matrix.kind }}$RONDO_MATRIX_SEED > ${{ outputs.m }}'
    outputs: { m: models/m.txt }
  score:
    matrix: { seed: [1, 2] }
    run: 'cat $RONDO_INPUT_M/*.txt > $RONDO_OUTPUT_S'
    inputs: [train.m]
    outputs: { s: s.txt }
  best: { run: 'cat $RONDO_INPUT_S/* > $RONDO_OUTPUT_O; cp $RONDO_STEP_FILE ../step.json', inputs: [score.s], outputs: { o: best.txt } }
  report: { run: 'cp $RONDO_INPUT_O $RONDO_OUTPUT_R', when: params.full, inputs: [best.o], outputs: { r: r.txt } }
  after: { run: 'true', inputs: [report.r] }
""")
    report = outcomes(rondo.json("run"))
    assert report == {
        "train[seed=1,kind=a]": "ran", "train[seed=1,kind=b]": "ran", "train[seed=2,kind=a]": "ran",
        "train[seed=2,kind=b]": "ran", "score[seed=1]": "ran", "score[seed=2]": "ran", "best": "ran",
        "report": "skipped", "after": "skipped",
    }
    assert (rondo.folder / "best.txt").read_text() == "a1\nb1\na2\nb2\n"
    assert (rondo.folder / "models/seed=2,kind=b/m.txt").read_text() == "b2\n"
    each = json.loads((tmp_path / "step.json").read_text())["each"]["s"]
    assert [one["matrix"] for one in each] == [{"seed": 1}, {"seed": 2}]
    assert all(Path(one["path"]).name == f"seed={one['matrix']['seed']}.txt" for one in each)
    # One combination more runs alone, with what follows from it.
    path = rondo.folder / "rondo.yaml"
    path.write_text(path.read_text().replace("kind: [a, b]", "kind: [a, b, c]"))
    ran = [name for name, outcome in outcomes(rondo.json("run")).items() if outcome == "ran"]
    assert ran == ["train[seed=1,kind=c]", "train[seed=2,kind=c]", "score[seed=1]", "score[seed=2]", "best"]
    assert outcomes(rondo.json("run", "train[seed=1,kind=c]", "--force")) == {"train[seed=1,kind=c]": "ran"}
    assert "stands for it" in rondo("why", "train[seed=2,kind=a]").stdout
    assert "train[seed=1,kind=a]" in rondo("run", "train[seed=3]", code=3).stderr
    full = outcomes(rondo.json("run", "-p", "full=true"))
    assert full["report"] == full["after"] == "ran"


CHAIN = """
params: { x: 1 }
steps:
  a: { run: 'echo ${{ params.x }} > $RONDO_OUTPUT_O', outputs: { o: a.txt } }
  b: { run: 'echo said by b; cat $RONDO_INPUT_O > $RONDO_OUTPUT_O', inputs: [a.o], outputs: { o: b.txt } }
  c: { run: 'cat $RONDO_INPUT_O > $RONDO_OUTPUT_O', inputs: [b.o], outputs: { o: c.txt } }
  d: { run: 'echo d > $RONDO_OUTPUT_O', outputs: { o: d.txt } }
"""


def test_from_only_dry_run_and_follow_say_and_do_what_they_mean(tmp_path):
    rondo = made(tmp_path / "p", CHAIN)
    dry = rondo("run", "--dry-run").stdout
    assert "would run" in dry and "it has not run before" in dry and "waits" in dry
    assert not (rondo.folder / "a.txt").exists()
    missing = rondo("run", "b", "--only", code=7)
    assert "has not run before" in missing.stderr and "rondo run a" in missing.stderr
    rondo("run")
    assert outcomes(rondo.json("run", "--from", "b", "--force")) == {"a": "cached", "b": "ran", "c": "ran"}
    assert list(outcomes(rondo.json("run", "b", "--from", "a"))) == ["a", "b"]
    path = rondo.folder / "rondo.yaml"
    changed = r"^a +(a |- )?.*would run +parameter `x` changed: `1` → `2`$"
    assert re.search(changed, rondo("run", "--dry-run", "-p", "x=2").stdout, re.M)
    assert re.search(changed, rondo("why", "-p", "x=2").stdout, re.M)
    assert len(rondo("why").stdout.splitlines()) == 5 and not rondo.json("why")["would_run"]
    assert "parameter `x` changed since run" in rondo("why", "a", "-p", "x=2").stdout
    rondo("why", "a", "-p", "y=2", code=2)
    path.write_text(path.read_text().replace("x: 1", "x: 2"))
    # `a` would have to run; `--only` takes what it made.
    only = rondo.json("run", "b", "--only", "--force")
    assert outcomes(only) == {"a": "cached", "b": "ran"}
    assert (rondo.folder / "b.txt").read_text() == "1\n"
    assert "kept" in rondo("run", "b", "--only", "--dry-run").stdout
    assert outcomes(rondo.json("run")) == {"a": "ran", "b": "ran", "c": "ran", "d": "cached"}
    # What a step said is said again when an earlier run stands for it.
    followed = rondo("run", "--follow").stderr
    assert re.search(r"^b +\| said by b$", followed, re.M) and re.search(r"^b +ok +cached", followed, re.M)
    assert "said by b" not in rondo("run").stderr
    # The next one to open the database has no log to read first. (A disk that is slow is not waited for.)
    def left():
        rondo("run")
        return list((rondo.folder / ".rondo").glob("metadata.db-*"))
    assert not all(left() for _ in range(5))


def test_a_failure_keeps_going_where_asked_and_tells_its_cause(tmp_path):
    rondo = made(tmp_path / "p", """
steps:
  bad: { run: 'echo why; kill -SEGV $$', outputs: { o: o } }
  next: { run: 'true', inputs: [bad.o] }
  other: { run: 'sleep 0.5; echo 1 > $RONDO_OUTPUT_O', outputs: { o: other.txt } }
  more: { run: 'cp $RONDO_INPUT_O $RONDO_OUTPUT_P', inputs: [other.o], outputs: { p: more.txt } }
  silent: { run: 'true', outputs: { model: model.onnx } }
""")
    error = rondo.json("run", "--keep-going", code=7)["error"]
    steps = {step["name"]: step for step in error["data"]["steps"]}
    assert {name: step["outcome"] for name, step in steps.items()} == {
        "bad": "failed", "next": "skipped", "other": "ran", "more": "ran", "silent": "failed",
    }
    assert steps["bad"]["cause"] == "it was ended by SIGSEGV" and steps["bad"]["tail"][0] == "why"
    assert "did not make its output `model`" in steps["silent"]["cause"]
    run = steps["bad"]["run"]
    assert [hint.split()[-1] for hint in error["hints"]] == [run[:8], steps["silent"]["run"][:8]], error["hints"]
    said = rondo("run", "--keep-going", code=7).stderr
    assert re.search(r"^run \w+: 0 ran, 2 cached, 2 failed, 1 not run: next$", said, re.M), said
    failed = rondo("why", "bad").stdout
    assert "has this key and did not end well" in failed and "failed: it was ended by SIGSEGV" in failed
    shown = rondo("runs", "show", run).stdout
    assert "SIGSEGV" in shown and "CPU s" in shown and "MB at its peak" in shown
    exit = rondo.json("runs", "show", run)["run"]["detail"]["exit"]
    assert exit["signal"] == signal.SIGSEGV and exit["peak_memory"] > 0 and exit["cpu_seconds"] >= 0
    assert rondo("runs", "show", run, "--log").stdout.startswith("why\n")


def test_faults_of_the_project_keep_nobody_from_looking_at_runs(tmp_path):
    rondo = made(tmp_path / "p", "steps:\n  a: { run: 'echo said' }\n")
    report = rondo.json("run")
    (rondo.folder / "rondo.yaml").write_text("project: p\nsteps:\n  a: { rum: 'echo said' }\n  b: [\n")
    assert rondo("run", code=2).stderr.count("rondo.yaml:") >= 2
    listed = rondo("runs", "list", "--all")
    assert "has faults" in listed.stderr and len(listed.stdout.splitlines()) == 3
    assert "finished" in rondo("runs", "show", report["run"]).stdout.lower()
    assert "said" in rondo("runs", "logs", report["run"]).stdout
    assert "had ended already" in rondo("pipeline", "cancel", report["run"]).stdout


def test_who_asks_twice_is_told_and_looking_closes_what_is_left(tmp_path):
    rondo = made(tmp_path / "p", """
steps:
  stubborn: { run: 'trap "" TERM INT; echo $$ > ../pid; while :; do sleep 0.2; done' }
""")
    process = start(rondo, "run", start_new_session=True)
    pid = until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
    # Two signals that come before the first was seen are one: it is asked until it is heard twice.
    def ended():
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        return process.poll() is not None
    until(ended)
    assert process.returncode == 130
    assert "stopped at once" in process.stderr.read()
    until(lambda: not alive(pid))
    assert [row["state"] for row in rondo.json("runs", "list", "--all")["runs"]] == ["killed", "killed"]


def test_retries_rest_and_a_step_that_ignores_to_be_asked_is_killed(tmp_path):
    rondo = made(tmp_path / "p", """
steps:
  flaky:
    run: 'echo x >> ../tries; test $(wc -l < ../tries) -ge 3 && echo 1 > $RONDO_OUTPUT_O'
    outputs: { o: o.txt }
    retries: { times: 5, delay: 100ms, max_delay: 200ms }
  stubborn:
    run: 'trap "" TERM; echo $$ > ../pid; while :; do sleep 1; done'
    timeout: 500ms
""")
    said = rondo("run", "--keep-going", code=7).stderr
    assert said.count("trying again in") == 2
    assert "it took longer than 500ms" in said
    assert not alive((tmp_path / "pid").read_text())


def test_a_daemon_is_ended_with_its_step_and_named(tmp_path):
    rondo = made(tmp_path / "p", """
steps:
  fork:
    run: |
      setsid sh -c 'echo $$ > ../pid; exec sleep 1000' > /dev/null 2>&1 &
      while ! test -s ../pid; do sleep 0.01; done; echo 1 > $RONDO_OUTPUT_O
    outputs: { o: o.txt }
""")
    said = rondo("run").stderr
    pid = (tmp_path / "pid").read_text().strip()
    assert f"left running what was then ended: sleep ({pid})" in said
    until(lambda: not alive(pid))


def test_a_huge_log_is_kept_at_both_ends(tmp_path):
    rondo = made(tmp_path / "p", """
steps:
  loud: { run: 'echo the beginning; yes "a line of a long log" | head -c 200000000; echo the end; exit 3' }
""")
    process = start(rondo, "run", "--json")
    most = 0
    while process.poll() is None:
        work = rondo.folder / ".rondo" / "work"
        sizes = []
        # What is looked at may go meanwhile.
        with contextlib.suppress(FileNotFoundError):
            sizes.extend(path.stat().st_size for path in work.rglob("log*"))
        most = max(most, sum(sizes))
        time.sleep(0.02)
    assert process.returncode == 7
    report = json.loads(process.stdout.read())["error"]["data"]
    assert 0 < most <= 130_000_000
    assert report["steps"][0]["tail"][-1].endswith("the end")
    log = rondo("runs", "show", report["steps"][0]["run"], "--log").stdout
    assert len(log) < 70_000_000 and log.startswith("the beginning\n") and log.endswith("the end\n")
    assert re.search(r"\[13\d{7} bytes were left out here\]", log)


def test_a_step_that_spoils_its_inputs_does_not_spoil_the_store(tmp_path):
    rondo = made(tmp_path / "p", """
steps:
  a: { run: 'echo precious > $RONDO_OUTPUT_O', outputs: { o: a.txt } }
  remove: { run: 'rm -rf $RONDO_INPUT_O $(dirname $RONDO_INPUT_O); echo 1 > $RONDO_OUTPUT_O', inputs: [a.o], outputs: { o: b.txt } }
  write: { run: 'echo spoilt > $RONDO_INPUT_O; echo 1 > $RONDO_OUTPUT_O', inputs: [a.o], outputs: { o: c.txt } }
  read: { run: 'cat $RONDO_INPUT_O > $RONDO_OUTPUT_O', inputs: [a.o], outputs: { o: d.txt } }
""")
    subprocess.run([RONDO, "run", "--keep-going"], cwd=rondo.folder, capture_output=True, check=False)
    report = rondo.json("run", "a", "read", "--force")
    assert outcomes(report)["read"] == "ran"
    assert (rondo.folder / "d.txt").read_text() == (rondo.folder / "a.txt").read_text() == "precious\n"


def test_an_input_that_was_changed_in_the_store_is_thrown_out_and_made_again(tmp_path):
    # What a step does that goes round every protection.
    rondo = made(tmp_path / "p", """
steps:
  a: { run: 'head -c 70000000 /dev/zero > $RONDO_OUTPUT_O', outputs: { o: a.bin } }
  bad: { run: 'o=$(readlink -f $RONDO_INPUT_O); chmod u+w $o; echo spoilt >> $o', inputs: [a.o] }
  good: { run: 'wc -c < $RONDO_INPUT_O > $RONDO_OUTPUT_N', inputs: [a.o], outputs: { n: n.txt } }
""")
    error = rondo.json("run", "bad", code=7)["error"]
    assert "changed or removed its input `o`" in error["message"]
    assert outcomes(rondo.json("run", "good")) == {"a": "ran", "good": "ran"}
    assert (rondo.folder / "n.txt").read_text().strip() == "70000000"


def test_two_runs_at_once_both_end_and_a_step_runs_once(tmp_path):
    rondo = made(tmp_path / "p", """
steps:
  slow: { run: 'echo x >> ../slow; sleep 1; echo 1 > $RONDO_OUTPUT_O', outputs: { o: s.txt } }
  left: { run: 'cp $RONDO_INPUT_O $RONDO_OUTPUT_O', inputs: [slow.o], outputs: { o: l.txt } }
  right: { run: 'cat $RONDO_INPUT_O $RONDO_INPUT_O > $RONDO_OUTPUT_O', inputs: [slow.o], outputs: { o: r.txt } }
""")
    both = [start(rondo, "run", target, "--json") for target in ("left", "right")]
    reports = [json.loads(process.communicate(timeout=120)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(outcomes(report)["slow"] for report in reports) == ["cached", "ran"]
    assert (tmp_path / "slow").read_text() == "x\n"
    lock = (rondo.folder / "rondo.lock").read_text()
    assert all(f"\n  {step}:\n" in lock for step in ("slow", "left", "right"))


# What they start has nothing in its environment by which it would be known.
EIGHT = "steps:\n" + "".join(f"""
  s{i}:
    run: |
      echo x >> ../runs-{i}
      if test -e ../again; then echo {i} > $RONDO_OUTPUT_O; exit 0; fi
      env -i sleep 1000 & echo $$ $! > ../pids-{i}; wait
    outputs: {{ o: s{i}.txt }}
    resources: {{ cpus: 0.1 }}
""" for i in range(8))


def eight(tmp_path):
    rondo = made(tmp_path / "p", EIGHT)
    process = start(rondo, "run", "--jobs", "8", start_new_session=True)
    files = [tmp_path / f"pids-{i}" for i in range(8)]
    until(lambda: all(file.exists() and len(file.read_text().split()) == 2 for file in files))
    return rondo, process, [pid for file in files for pid in file.read_text().split()]


def recovered(rondo, tmp_path, pids):
    until(lambda: not any(alive(pid) for pid in pids))
    (tmp_path / "again").touch()
    assert set(outcomes(rondo.json("run")).values()) == {"ran"}
    rows = rondo.json("runs", "list", "--all", "-n", "200")["runs"]
    states = [row["state"] for row in rows]
    assert not {"running", "scheduled"} & set(states)
    store = rondo.folder / ".rondo"
    assert list((store / "work").iterdir()) == []
    return states


def test_killed_amid_eight_steps_nothing_runs_on_and_the_next_run_recovers(tmp_path):
    rondo, process, pids = eight(tmp_path)
    process.kill()
    process.wait()
    # Before anything else is started: the guard has ended them.
    until(lambda: not any(alive(pid) for pid in pids))
    assert not list(rondo.folder.glob("s*.txt"))
    assert recovered(rondo, tmp_path, pids).count("killed") == 9


def test_cancelled_from_elsewhere_or_by_ctrl_c_a_run_ends_at_once_and_cleanly(tmp_path):
    rondo, process, pids = eight(tmp_path)
    live = [row["id"] for row in rondo.json("runs", "list", "--all", "-n", "200")["runs"] if row["kind"] == "pipeline"]
    assert rondo.json("pipeline", "cancel", live[0][:8])["state"] == "killed"
    process.wait(timeout=120)
    assert process.returncode == 130
    assert "had ended already" in rondo("pipeline", "cancel", live[0]).stdout
    for file in tmp_path.glob("pids-*"):
        file.unlink()
    process = start(rondo, "run", "--jobs", "8", start_new_session=True)
    until(lambda: len(list(tmp_path.glob("pids-*"))) == 8)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 130
    assert recovered(rondo, tmp_path, pids).count("killed") == 18


def on_terminal(rondo, *args, hangup=signal.SIG_DFL):
    """A command that has a terminal of its own, and that terminal's other end."""
    ours, theirs = pty.openpty()

    def controlled():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, hangup)

    process = subprocess.Popen([RONDO, *args], cwd=rondo.folder, stdin=theirs, stdout=theirs, stderr=theirs,
                               start_new_session=True, preexec_fn=controlled)
    os.close(theirs)
    return process, ours


def test_when_its_terminal_is_closed_a_run_ends_as_by_ctrl_c(tmp_path):
    rondo = made(tmp_path / "p", """
steps:
  long: { run: 'echo $$ > ../pid; while :; do sleep 0.2; done' }
""")
    process, terminal = on_terminal(rondo, "run")
    pid = until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
    os.close(terminal)
    # As a shell does that goes with its terminal: what it says comes beside what the system says.
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=120) == 130
    assert not alive(pid)
    assert [row["state"] for row in rondo.json("runs", "list", "--all")["runs"]] == ["killed", "killed"]


def test_a_run_that_is_to_outlive_its_terminal_does(tmp_path):
    rondo = made(tmp_path / "p", """
steps:
  long: { run: 'echo $$ > ../pid; while test ! -e ../go; do sleep 0.1; done' }
  after: { run: 'echo 1 > $RONDO_OUTPUT_O', outputs: { o: o.txt } }
""")
    process, terminal = on_terminal(rondo, "run", "--jobs", "1", hangup=signal.SIG_IGN)
    until(lambda: (tmp_path / "pid").exists())
    os.close(terminal)
    process.send_signal(signal.SIGHUP)
    (tmp_path / "go").touch()
    process.wait(timeout=120)
    assert [row["state"] for row in rondo.json("runs", "list", "--all")["runs"]] == ["finished"] * 3


def test_jobs_and_resources_hold_back_what_does_not_fit(tmp_path):
    # Steps that differ: of equal ones, each would wait for the other and take what it made.
    body = "echo + >> ../log; sleep 0.3; echo - >> ../log"
    steps = "".join(f"  s{i}: {{ run: '{body}; true {i}', resources: {{ cpus: 1, custom: {{ seat: 1 }} }} }}\n" for i in range(3))
    rondo = made(tmp_path / "p", "steps:\n" + steps)

    def most(*args):
        (tmp_path / "log").write_text("")
        rondo("run", "--force", *args)
        marks = (tmp_path / "log").read_text().split()
        return max(sum(1 if mark == "+" else -1 for mark in marks[:end]) for end in range(1, len(marks) + 1))

    assert most("--jobs", "3") == 1
    assert most("--jobs", "1", "--resource", "seat=3") == 1
    assert most("--jobs", "3", "--resource", "seat=3") > 1
    assert "did you mean `seat`" in rondo("run", "--resource", "saet=3", code=2).stderr


def test_a_full_disk_is_told_and_the_next_run_goes_on(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk], capture_output=True, check=False
    ).returncode == 0
    if not mounted:
        pytest.skip("a small disk cannot be mounted here")
    try:
        rondo = made(disk / "p", """
steps:
  small: { run: 'echo 1 > $RONDO_OUTPUT_O', outputs: { o: small.txt } }
  large: { run: 'head -c 14000000 /dev/urandom > $RONDO_OUTPUT_O', inputs: [small.o], outputs: { o: large.bin } }
""")
        rondo("run", "small")
        filler = disk / "filler"
        filler.write_bytes(bytes(8_000_000))
        failed = subprocess.run([RONDO, "run"], cwd=rondo.folder, capture_output=True, text=True, check=False)
        assert failed.returncode in (7, 8), failed.stderr
        assert "panicked" not in failed.stderr and "No space left" in failed.stderr
        # Not a byte is left: neither rows nor logs can be written.
        try:
            with open(disk / "rest", "wb", buffering=0) as rest:
                while True:
                    rest.write(bytes(4096))
        except OSError:
            pass
        full = subprocess.run(
            [RONDO, "run", "--force"], cwd=rondo.folder, capture_output=True, text=True, check=False
        )
        assert full.returncode != 0 and "panicked" not in full.stderr, full.stderr
        for path in (filler, disk / "rest"):
            path.unlink(missing_ok=True)
        (rondo.folder / "rondo.yaml").write_text(
            (rondo.folder / "rondo.yaml").read_text().replace("14000000", "1400000"))
        assert outcomes(rondo.json("run"))["large"] == "ran"
        states = {row["state"] for row in rondo.json("runs", "list", "--all", "-n", "200")["runs"]}
        assert not {"running", "scheduled"} & states
        assert list((rondo.folder / ".rondo" / "work").iterdir()) == []
    finally:
        subprocess.run(["umount", "-l", disk], check=False)


def test_a_step_may_not_write_larger_files_than_the_machine_allows(tmp_path):
    rondo = made(tmp_path / "p", """
steps:
  large: { run: 'head -c 9000000 /dev/zero > $RONDO_OUTPUT_O', outputs: { o: large.bin } }
""")
    limit = (8_000_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    done = subprocess.run(
        [RONDO, "run"], cwd=rondo.folder, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    assert done.returncode == 7 and "SIGXFSZ" in done.stderr, done.stderr
    shutil.rmtree(rondo.folder)


def test_a_changed_module_runs_a_step_again_and_a_notebook_is_given_only_what_it_takes(tmp_path):
    rondo = made(tmp_path / "p", """
params: { depth: 2, seed: 7 }
steps:
  t: { run: python3 src/t.py, outputs: { x: x.txt } }
  seeded: { run: python3 src/seeded.py }
  n:
    uses: papermill
    with: { notebook: n.ipynb, parameters: { depth: "${{ params.depth }}" } }
    inputs: [t.x]
""")
    src = rondo.folder / "src"
    src.mkdir()
    (src / "t.py").write_text("import os, feat; open(os.environ['RONDO_OUTPUT_X'], 'w').write(feat.V)")
    (src / "feat.py").write_text("V = 'one'")
    (src / "seeded.py").write_text("import os; os.environ['RONDO_PARAM_SEED']")
    cells = [{"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "depth = 2", "outputs": [],
              "execution_count": None}]
    (rondo.folder / "n.ipynb").write_text(json.dumps({
        "cells": cells, "nbformat": 4, "nbformat_minor": 5,
        "metadata": {"language_info": {"name": "python"}, "kernelspec": {"name": "python3", "display_name": "p"}},
    }))
    refused = rondo("run", "--force", "-p", "depth=2.5", code=2).stderr
    assert "depth" in refused and not (rondo.folder / "x.txt").exists()
    rondo("run", "t")
    (src / "feat.py").write_text("V = 'three'")
    assert re.search(r"^t .*would run +code `src/feat.py` changed: ", rondo("run", "t", "-n").stdout, re.M)
    assert outcomes(rondo.json("run", "t")) == {"t": "ran"}
    (rondo.folder / "x.txt").write_text("by hand")
    assert "`x.txt` was not as a run had left it" in rondo("run", "t").stderr
    assert (rondo.folder / "x.txt").read_text() == "three"
    assert "hint: add `params: [seed]` to step `seeded`" in rondo("run", "seeded", code=7).stderr
