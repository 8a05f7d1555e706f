"""A new project, from its first run to its lineage, as a user meets it."""

import json
import resource
import subprocess

import pytest
from conftest import PATIENCE, RONDO, Rondo, git, up


def outcomes(report):
    return {step["name"]: step["outcome"] for step in report["steps"]}


def test_the_first_run_makes_a_champion(project):
    shown = project.json("models", "show", "iris")
    assert shown["aliases"] == {"champion": 1}
    version = shown["versions"][0]
    assert all(verdict["passed"] for verdict in version["verdicts"])
    assert version["lineage"]["code"]["commit"]


def test_before_the_first_run_it_is_said_what_it_would_do(tmp_path):
    Rondo(tmp_path)("new", "flowers")
    flowers = Rondo(tmp_path / "flowers")
    said = "it reads `data.iris`, which has no version yet: a run adds it first"
    for words in (["run", "-n"], ["why"], ["pipeline", "show"]):
        assert said in flowers(*words).stdout, words
    steps = {step["name"]: step["forecast"]["state"] for step in flowers.json("run", "-n")["plan"]["steps"]}
    assert steps == {"prepare": "waits", "train": "waits", "evaluate": "waits"}


def test_nothing_changed_runs_nothing_and_costs_nothing(project):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = project.json("run")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert set(outcomes(report).values()) == {"cached"}
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"no-op run: {cpu:.3f} CPU s")


def test_a_changed_parameter_runs_only_what_depends_on_it(copy):
    text = (copy.folder / "rondo.yaml").read_text()
    (copy.folder / "rondo.yaml").write_text(text.replace("max_depth: 5", "max_depth: 4"))
    why = copy("why", "train").stdout
    assert "max_depth" in why
    assert outcomes(copy.json("run")) == {"prepare": "cached", "train": "ran", "evaluate": "ran"}


def test_a_clone_elsewhere_gives_the_same_digests(project, tmp_path):
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(project.folder), str(clone))
    before = (clone / "rondo.lock").read_text()
    Rondo(clone)("run")
    assert (clone / "rondo.lock").read_text() == before


def test_a_project_that_is_up_is_said_to_be_and_only_as_long_as_it_is(copy):
    def serving():
        return copy.json("status")["serving"][0]

    before = serving()
    assert (before["url"], before["live"], before["last"]) == (None, None, None)
    with up(copy.folder) as url:
        now = serving()
        assert now["url"] == url and now["live"]["version"] == 1
        refused = copy("up", "--listen", "127.0.0.1:0", code=8)
        assert f"the project is up already, at {url}" in refused.stderr
        assert "already" in copy("up", "--listen", "127.0.0.1:0", "--json", code=8).stdout
        assert serving() == now
    after = serving()
    assert (after["url"], after["live"], after["last"]) == (None, None, now["last"])
    assert "not up (rondo up), version 1 answered last" in copy("status").stdout

    killed = subprocess.Popen([RONDO, "up", "--listen", "127.0.0.1:0", "--json"], cwd=copy.folder,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    json.loads(killed.stdout.readline())
    killed.kill()
    killed.wait(timeout=PATIENCE)
    assert serving() == after
    with up(copy.folder) as url:
        assert serving()["url"] == url


def test_trace_leads_from_the_champion_to_data_code_and_objective(project):
    hops = project.json("trace", "iris@champion")["hops"]
    kinds = {hop["kind"] for hop in hops}
    assert {"model version", "run", "notebook", "environment lock", "dataset version", "git commit",
            "objective"} <= kinds


def test_every_reading_command_prints_only_json_when_asked(project):
    for args in [("status",), ("runs", "list"), ("models", "list"), ("doctor",), ("why", "train"),
                 ("data", "status"), ("data", "log", "iris"), ("pipeline", "show")]:
        project.json(*args)


def test_bad_input_is_an_error_with_its_exit_code(project, tmp_path):
    assert "hint:" in Rondo(tmp_path)("status", code=3).stderr
    assert project.json("models", "show", "irsi", code=3)["error"]["code"] == "model-not-found"
    project("run", "trian", code=3)
    project("no-such-verb", code=2)


def test_a_bad_dataset_is_refused_and_nothing_changes(copy):
    before = copy.json("data", "log", "iris")
    path = copy.folder / "data" / "iris.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:60] + ["151,1.0,1.0,99.0,1.0,rose"]) + "\n")
    done = copy("data", "add", "iris", code=6)
    assert "petal_length" in done.stderr and "rose" in done.stderr
    assert copy.json("data", "log", "iris") == before


def test_help_reads_as_the_lifecycle():
    text = subprocess.run([RONDO, "--help"], capture_output=True, text=True, check=True).stdout
    order = ["new", "data", "run", "notebook", "runs", "models", "serve", "monitor"]
    places = [text.index(f"\n  {command} ") for command in order]
    assert places == sorted(places)


def test_a_folder_with_data_becomes_a_project_and_edited_data_are_told(tmp_path):
    folder = tmp_path / "our data"
    folder.mkdir()
    table = folder / "d.csv"
    table.write_text("a,b\n1,2\n")
    rondo = Rondo(folder)
    assert "rondo new ." in rondo("data", "add", "d.csv", code=3).stderr
    assert rondo.json("new", ".")["project"] == "our-data"
    assert rondo("new", ".", code=2)
    rondo("data", "add", "d.csv")
    with (folder / "rondo.yaml").open("a") as file:
        file.write('steps:\n  s: { run: \'cat "$RONDO_INPUT_D" > "$RONDO_OUTPUT_O"\', inputs: { d: data.d }, outputs: { o: o.csv } }\n')
    assert "has changed since" not in rondo("run").stderr
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    loose = subprocess.run(["git", "ls-files", "-o", "--exclude-standard"], cwd=folder, capture_output=True, text=True)
    assert ".rondo" not in loose.stdout and "d.csv" in loose.stdout
    table.write_text("a,b\n1,2\n3,4\n")
    for command in [["run"], ["run", "--dry-run"]]:
        assert "`d` has changed since the version that is run on" in rondo(*command).stderr
    assert "changed since (rondo data add d)" in rondo("status").stdout
    rondo("data", "add", "d")
    assert "has changed since" not in rondo("run").stderr
    assert (folder / "o.csv").read_text() == "a,b\n1,2\n3,4\n"
    project = folder / "rondo.yaml"
    declared = rondo.json("data", "status")["datasets"][0]["source"]
    assert declared in project.read_text()
    project.write_text(project.read_text().replace(f"source: {declared}", f"source: {declared}\n    checks: [{{ column: a, max: 1 }}]"))
    assert "a: max = 1" in rondo("data", "check", "d.csv", code=6).stdout
    table.unlink()
    assert "rondo data get d" in rondo("data", "status").stderr


def test_all_faults_of_a_project_file_are_shown_at_once_and_nothing_runs(tmp_path):
    Rondo(tmp_path)("new", "broken")
    rondo = Rondo(tmp_path / "broken")
    path = rondo.folder / "rondo.yaml"
    text = path.read_text()
    for right, wrong in [
        ("decision:", "decison:"),
        ("metric: roc_auc", "metric: rocauc"),
        ("inputs: [data.iris]", "inputs: [data.irsi]"),
        ("requirements: requirements.txt", "requirements: missing.txt"),
        ("trees: ${{ params.trees }}", "tres: ${{ params.trees }}"),
        ("threshold: 0.5", "threshold: half"),
    ]:
        assert right in text
        text = text.replace(right, wrong, 1)
    path.write_text(text)
    shown = rondo("run", code=2).stderr
    for words in ["decison", "rocauc", "data.irsi", "missing.txt", "tres", "half"]:
        assert words in shown, shown
    assert shown.count("--> rondo.yaml:") >= 6 and shown.count("^") >= 6
    assert "did you mean" in shown
    assert not (rondo.folder / ".rondo").exists()
    faults = rondo.json("run", code=2)["error"]["data"]
    assert len(faults["faults"] if isinstance(faults, dict) else faults) >= 6


def frozen(folder, *args):
    """Rondo, where the project is on a read-only mount."""
    script = 'mount --bind -o ro "$0" "$0" || exit 99; cd "$0" && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", script, str(folder), RONDO, *args]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except FileNotFoundError:
        pytest.skip("there is no `unshare` here")
    if done.returncode == 99 or "unshare" in done.stderr:
        pytest.skip(f"nothing can be mounted here: {done.stderr}")
    return done


def test_a_store_on_a_read_only_mount_can_be_read(tmp_path):
    folder = tmp_path / "a project?"
    folder.mkdir()
    (folder / "t.csv").write_text("a,b\n1,2\n")
    (folder / "rondo.yaml").write_text("""
project: p
data: { t: { source: t.csv } }
steps: { s: { run: "echo 1 > ${{ outputs.o }}", outputs: { o: o.txt }, inputs: [data.t] } }
""")
    rondo = Rondo(folder)
    rondo("run")
    run = rondo.json("runs", "list")["runs"][0]["id"]
    for args in [("runs", "list", "--json"), ("runs", "show", run, "--json"), ("why", "s"), ("data", "status"),
                 ("data", "log", "t"), ("status",), ("pipeline", "show"), ("data", "verify")]:
        done = frozen(folder, *args)
        assert (done.returncode, done.stdout) == (0, rondo(*args).stdout), done.stderr
    (folder / "t.csv").write_text("a,b\n1,2\n3,4\n")
    for args in [("data", "add", "t"), ("run",), ("server", "--listen", "127.0.0.1:0")]:
        done = frozen(folder, *args)
        assert done.returncode != 0 and ".rondo" in done.stderr, done
    # Where there is a log somebody may be writing to it.
    (folder / ".rondo/metadata.db-wal").touch()
    done = frozen(folder, "runs", "list")
    assert done.returncode == 1 and "look whether the store can be written to" in done.stderr, done
