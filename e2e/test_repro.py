"""Runs made again: the same, not the same and why, in other surroundings, and what cannot be repeated."""

import json

import pytest

from conftest import Rondo, git

SET = "import os, pathlib; pathlib.Path(os.environ['RONDO_OUTPUT_WORDS']).write_text(repr({f'word{i}' for i in range(40)}))"

PROJECT = f"""
project: again
data: {{ rows: {{ source: rows.csv }} }}
steps:
  keep:
    run: cut -d, -f1 "$RONDO_INPUT_ROWS" > "$RONDO_OUTPUT_FIRST"
    inputs: [data.rows]
    outputs: {{ first: first.csv }}
  work:
    run: python3 work.py
    inputs: [keep.first]
    outputs: {{ sums: sums.json, packed: packed.gz }}
  draw:
    run: python3 draw.py
    outputs: {{ lot: lot.txt }}
  words:
    run: python3 -c "{SET}"
    outputs: {{ words: words.txt }}
"""

WORK = """
import gzip, json, os
rows = open(os.environ["RONDO_INPUT_FIRST"]).read().split()
json.dump({"rows": len(rows)}, open(os.environ["RONDO_OUTPUT_SUMS"], "w"))
with open(os.environ["RONDO_OUTPUT_PACKED"], "wb") as out:
    out.write(gzip.compress(b"the same", mtime=0))
"""


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "a project"
    folder.mkdir()
    (folder / "rondo.yaml").write_text(PROJECT)
    (folder / "rows.csv").write_text("a,b\n1,2\n3,4\n")
    (folder / "work.py").write_text(WORK)
    (folder / "draw.py").write_text(
        "import os, random\nopen(os.environ['RONDO_OUTPUT_LOT'], 'w').write(f'drew {random.random()}\\n')\n"
    )
    (folder / ".gitignore").write_text(".rondo/\n")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "begin")
    return Rondo(folder)


def step_run(rondo, ran, name):
    return next(step["run"] for step in ran["steps"] if step["name"] == name)


def verdicts(found):
    return {
        f"{step['step']}.{output['output']}": output["verdict"]
        for step in found["steps"]
        for output in step["outputs"]
    }


def test_a_reproducible_step_comes_out_identical_and_says_so_on_its_run(project):
    ran = project.json("run")
    run = step_run(project, ran, "work")
    # Neither the work tree of today nor the cache has a say.
    (project.folder / "work.py").write_text("raise SystemExit('not this one')\n")
    (project.folder / "rows.csv").write_text("a,b\n9,9\n")
    lock = (project.folder / "rondo.lock").read_text()
    (project.folder / "sums.json").write_text("touched")
    found = project.json("repro", run[:10], "--vary", "all")
    assert found["verdict"] == "identical" and found["source"] == "commit", json.dumps(found, indent=1)
    assert verdicts(found) == {"work.sums": "identical", "work.packed": "identical"}
    assert [varied["changed"] for varied in found["variations"]] == [[]] * 5
    assert (project.folder / "rondo.lock").read_text() == lock
    assert (project.folder / "sums.json").read_text() == "touched"
    shown = project.json("runs", "show", run)
    assert shown["tags"]["rondo.repro.verdict"] == "identical"
    assert "repro    identical (" in project("runs", "show", run).stdout
    assert "reproduced       identical" in project("trace", run).stdout
    again = project.json("runs", "show", found["tries"][0]["run"])
    assert again["tags"]["rondo.repro.of"] == run
    # What made a run again stands for no step.
    assert "would not run" not in project("why", "work").stdout


def test_what_is_drawn_without_a_seed_is_named_so(project):
    ran = project.json("run")
    out = project("repro", ran["run"], code=6)
    assert "draw.lot: unseeded randomness" in out.stdout and "hint: seed every generator" in out.stderr
    found = project.json("repro", ran["run"], code=6)
    assert found["verdict"] == "different"
    said = verdicts(found)
    assert said.pop("draw.lot") == "different"
    assert set(said.values()) == {"identical"}
    draw = next(step for step in found["steps"] if step["step"] == "draw")
    assert [d["kind"] for d in draw["outputs"][0]["differences"]] == ["unseeded"]
    assert len(found["tries"]) == 2
    # The cache still has what was made first.
    assert {step["outcome"] for step in project.json("run")["steps"]} == {"cached"}


def test_an_order_that_hangs_on_the_hash_seed_is_found_by_varying_it(project):
    ran = project.json("run", "words")
    run = step_run(project, ran, "words")
    assert project.json("repro", run)["verdict"] == "identical"
    found = project.json("repro", run, "--vary", "timezone,hashseed,cores", code=6)
    changed = {v["variation"]: [c["output"] for c in v["changed"]] for v in found["variations"]}
    assert changed == {"timezone": [], "hashseed": ["words.words"], "cores": []}, changed
    assert "`words.words` depends on the seed of Python's hashes" in project(
        "repro", run, "--vary", "hashseed", code=6
    ).stdout


def test_what_changes_with_time_is_not_laid_to_what_was_varied(project, tmp_path):
    """A program that counts stands for a clock: from its third time on it says something else."""
    count = tmp_path / "count"
    (project.folder / "clock.py").write_text(
        f"import os, pathlib\ncount = pathlib.Path({str(count)!r})\n"
        "times = int(count.read_text()) + 1 if count.exists() else 1\ncount.write_text(str(times))\n"
        "open(os.environ['RONDO_OUTPUT_NOW'], 'w').write('early\\n' if times < 3 else 'late\\n')\n"
    )
    step = "  clock: { run: python3 clock.py, outputs: { now: now.txt } }\n"
    (project.folder / "rondo.yaml").write_text(PROJECT + step)
    git(project.folder, "add", "-A")
    git(project.folder, "commit", "-q", "-m", "clock")
    run = step_run(project, project.json("run", "clock"), "clock")
    found = project.json("repro", run, "--vary", "timezone,hashseed", code=6)
    assert [varied["changed"] for varied in found["variations"]] == [[], []], json.dumps(found, indent=1)
    assert any("differs from try to try" in note for note in found["notes"])
    assert "two tries differ" in found["steps"][0]["outputs"][0]["differences"][0]["text"]


def test_a_declared_tolerance_is_kept_to(project):
    (project.folder / "near.py").write_text(
        "import os, random\nopen(os.environ['RONDO_OUTPUT_NEAR'], 'w').write(f'x {1 + random.random() * 1e-9}\\n')\n"
    )
    yaml = "project: near\nsteps:\n  near:\n    run: python3 near.py\n    outputs: { near: near.txt }\n"
    (project.folder / "rondo.yaml").write_text(yaml)
    run = project.json("run")["run"]
    assert project.json("repro", run, code=6)["error"]["code"] == "not-reproduced"
    (project.folder / "rondo.yaml").write_text(yaml + "    reproducible: { tolerance: 1e-6 }\n")
    assert project.json("repro", run)["verdict"] == "within-tolerance"
    (project.folder / "rondo.yaml").write_text(yaml + "    reproducible: { outputs: { far: 1 } }\n")
    # A fault of today is said, and what was declared then holds.
    assert "`rondo.yaml` has a fault" in project("repro", run, code=6).stderr


def test_code_that_was_not_committed_is_kept_and_what_is_gone_is_named(project):
    ran = project.json("run")
    (project.folder / "work.py").write_text(WORK.replace("len(rows)", "len(rows) + 1"))
    changed = project.json("run", "work")
    run = step_run(project, changed, "work")
    (project.folder / "work.py").write_text("raise SystemExit('not this one')\n")
    assert project.json("repro", run)["verdict"] == "identical"
    digest = project.json("runs", "show", run)["run"]["detail"]["code"]["files"]["work.py"]
    objects = [path for path in (project.folder / ".rondo/objects").rglob("*") if path.name in (digest, digest[2:])]
    assert objects
    for path in objects:
        path.unlink()
    said = project.json("repro", run, code=6)["error"]
    assert said["code"] == "not-repeatable" and "code `work.py`" in said["message"], said
    assert project.json("runs", "show", run)["tags"]["rondo.repro.verdict"] == "not-repeatable"
    assert project.json("repro", step_run(project, ran, "keep"))["verdict"] == "identical"
    failed = "project: again\nsteps: { bad: { run: exit 3 } }\n"
    (project.folder / "rondo.yaml").write_text(failed)
    bad = project.json("run", code=7)["error"]["data"]["run"]
    assert "did not end well" in project("repro", bad, code=6).stderr
    project("repro", "ffffffffff", code=3)
    project("repro", run, "--vary", "moon", code=2)


def test_faults_in_the_project_file_of_today_keep_no_run_from_being_made_again(project):
    """What a run was made from is recorded: a script that is gone or a step that is half written changes nothing."""
    text = PROJECT.replace("{ lot: lot.txt }", "{ lot: lot.txt }\n    reproducible: { tolerance: 1 }")
    (project.folder / "rondo.yaml").write_text(text)
    (project.folder / "draw.py").write_text(
        "import os, random\nopen(os.environ['RONDO_OUTPUT_LOT'], 'w').write(f'{1 + random.random() / 9}\\n')\n"
    )
    ran = project.json("run", "work", "draw")
    (project.folder / "work.py").unlink()
    (project.folder / "rondo.yaml").write_text(text + "  half: { inputs: [\n")
    run = step_run(project, ran, "work")
    assert project.json("repro", run)["verdict"] == "identical"
    assert project.json("repro", step_run(project, ran, "draw"))["verdict"] == "within-tolerance"
    for look in (["trace", run], ["runs", "artifacts", run]):
        project.json(*look)
    said = project("repro", run)
    assert "identical" in said.stdout and "`rondo.yaml` has" in said.stderr and "taken as stored" in said.stderr


SWEPT = """
project: swept
params: { x: 1 }
steps:
  train:
    run: 'echo x >> COUNT; echo $RONDO_PARAM_X > $RONDO_OUTPUT_M; echo "{\\"score\\": $RONDO_PARAM_X}" > $RONDO_METRICS'
    outputs: { m: m.txt }
    metrics: m.json
    sweep: { SWEEP }
"""


def test_a_sweep_is_made_again_trial_by_trial(project):
    over = "over: { x: { int: [1, 3] } }, maximize: score"
    counter = project.folder.parent / "ran"
    swept = SWEPT.replace("COUNT", str(counter))
    (project.folder / "rondo.yaml").write_text(swept.replace("SWEEP", over))
    count = lambda: len(counter.read_text().splitlines())
    ran = project.json("run")
    found = project.json("repro", ran["run"])
    assert found["verdict"] == "identical" and count() == 6, json.dumps(found, indent=1)
    # The sweep that stands for the step is still the first.
    assert step_run(project, project.json("run"), "train") == step_run(project, ran, "train")
    sweep = next(step for step in ran["steps"] if step["name"] == "train")["sweep"]
    best = next(trial["run"] for trial in sweep["trials"] if trial["values"]["x"] == 3)
    # One trial alone, by its own run.
    found = project.json("repro", best)
    assert found["verdict"] == "identical" and count() == 7, json.dumps(found, indent=1)
    assert [step["step"] for step in found["steps"]] == ["train@3"]

    # What depends on the moments at which trials ended is taken as it was.
    (project.folder / "rondo.yaml").write_text(swept.replace("SWEEP", "strategy: tpe, trials: 2, seed: 4, " + over))
    ran = project.json("run")
    before = count()
    found = project.json("repro", ran["run"])
    assert found["verdict"] == "identical" and count() == before + 2, json.dumps(found, indent=1)
    assert sorted(step["step"] for step in found["steps"]) == ["train", "train@1", "train@2"]

    # A trial that differs is told by its name.
    lot = swept.replace("echo $RONDO_PARAM_X >", "echo $RONDO_PARAM_X $(od -An -N4 -tu4 /dev/urandom) >")
    (project.folder / "rondo.yaml").write_text(lot.replace("SWEEP", over))
    found = project.json("repro", project.json("run")["run"], code=6)
    verdicts = {step["step"]: step["verdict"] for step in found["steps"]}
    assert verdicts == {name: "different" for name in ["train", "train@1", "train@2", "train@3"]}, verdicts


def test_what_was_kept_as_it_was_is_given_and_not_made_again(project):
    project("run")
    (project.folder / "work.py").write_text(WORK + "print('again')\n")
    ran = project.json("run", "work", "--only")
    found = project.json("repro", ran["run"])
    assert found["verdict"] == "identical", json.dumps(found, indent=1)
    assert [step["step"] for step in found["steps"]] == ["work"]


def test_an_output_that_names_its_own_run_differs_by_that_alone(project):
    yaml = "project: own\nsteps:\n  own:\n    run: echo made by $MLFLOW_RUN_ID > $RONDO_OUTPUT_O\n    outputs: { o: o.txt }\n"
    (project.folder / "rondo.yaml").write_text(yaml)
    run = project.json("run")["run"]
    found = project.json("repro", run, code=6)
    kinds = [one["kind"] for one in found["steps"][0]["outputs"][0]["differences"]]
    assert kinds == ["place"], json.dumps(found, indent=1)
