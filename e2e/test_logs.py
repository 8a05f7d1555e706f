"""What steps say, read from a server that runs nothing itself: while they say it, and afterwards."""

import json
import subprocess

import pytest
import requests

from conftest import RONDO, Rondo, until, up


def events(url, last=None, stop=lambda event: False):
    """The events of a stream up to its end, or to the first that is enough: (name, data, id)."""
    headers = {"Last-Event-ID": last} if last else {}
    seen = []
    with requests.get(url, stream=True, timeout=60, headers=headers) as answer:
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "text/event-stream"
        answer.encoding = "utf-8"
        event = {}
        for line in answer.iter_lines(decode_unicode=True):
            if line:
                name, _, value = line.partition(": ")
                event[name] = value
            elif event.get("event"):
                seen.append((event["event"], json.loads(event["data"]), event["id"]))
                event = {}
                if stop(seen[-1]):
                    break
    return seen


def run_of(rondo, name):
    """The newest run of a step."""
    return until(lambda: next((run["id"] for run in rondo.json("runs", "list", "--all")["runs"] if run["name"] == name), None))


def test_a_log_is_followed_on_a_server_resumed_and_read_when_it_is_whole(tmp_path):
    (tmp_path / "rondo.yaml").write_text("""
project: talk
steps:
  talk: { run: 'echo "eins é"; printf "10%%\\r90%%\\n"; while [ ! -e go ]; do sleep 0.05; done; echo zwei; printf drei; touch $RONDO_OUTPUT_O', outputs: { o: o.txt } }
  next: { run: "echo next", inputs: [talk.o] }
""")
    rondo = Rondo(tmp_path)
    with up(tmp_path) as url:
        running = subprocess.Popen([RONDO, "run", "--jobs", "1"], cwd=tmp_path, stdin=subprocess.DEVNULL)
        run = run_of(rondo, "talk")
        log = f"{url}/api/v1/runs/{run}/log"
        first = events(log, stop=lambda event: event[1].get("line") == "90%")
        assert [event[1]["line"] for event in first] == ["eins é", "90%"]
        # Without following: what there is now.
        assert requests.get(log, params={"format": "text", "follow": "false"}, timeout=60).text == "eins é\n10%\r90%\n"
        assert rondo("runs", "logs", run).stdout == "eins é\n90%\n"
        following = subprocess.Popen([RONDO, "runs", "logs", run, "--follow"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        (tmp_path / "go").touch()
        rest = events(log, last=first[-1][2])
        assert [event[1].get("line") for event in rest] == ["zwei", "drei", None] and rest[-1][0] == "end"
        assert running.wait(120) == 0
        assert following.communicate(timeout=120)[0] == "eins é\n90%\nzwei\ndrei\n"
        # The places are the same when it has ended.
        again = events(log)
        assert again == first + rest
        assert events(log, last=first[0][2])[0][1]["line"] == "90%"
        assert requests.get(log, headers={"Last-Event-ID": "end"}, timeout=60).status_code == 204
        assert requests.get(log, params={"format": "text"}, timeout=60).text == "eins é\n10%\r90%\nzwei\ndrei"
        for wrong in ["nonsense", f"{'0' * 32}:7"]:
            assert requests.get(log, headers={"Last-Event-ID": wrong}, timeout=60).status_code == 400
        assert requests.get(log, params={"formt": "text"}, timeout=60).status_code == 400
        assert requests.get(f"{url}/api/v1/runs/none/log", timeout=60).status_code == 404
        # A pipeline's run is its steps one by one.
        whole = rondo.json("runs", "show", run)["run"]["parent"]
        all = events(f"{url}/api/v1/runs/{whole}/log")
        assert [event[1]["name"] for event in all if event[0] == "run"] == ["talk", "next"], all
        assert [event[1]["line"] for event in all if event[0] == "line"] == ["eins é", "90%", "zwei", "drei", "next"]
        middle = next(event[2] for event in all if event[1].get("line") == "zwei")
        assert [event[1].get("line") for event in events(f"{url}/api/v1/runs/{whole}/log", last=middle)][0] == "drei"
        assert rondo("runs", "logs", whole, "-n", "2").stdout == "talk         | drei\nnext         | next\n"
        assert rondo.json("runs", "logs", run)["log"] == "eins é\n90%\nzwei\ndrei\n"


def test_what_a_killed_run_had_said_is_kept(tmp_path):
    (tmp_path / "rondo.yaml").write_text("project: p\nsteps: { s: { run: 'echo said; sleep 600' } }\n")
    rondo = Rondo(tmp_path)
    running = subprocess.Popen([RONDO, "run"], cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    run = run_of(rondo, "s")
    until(lambda: rondo("runs", "logs", run).stdout == "said\n")
    running.kill()
    running.communicate()
    (tmp_path / "rondo.yaml").write_text("project: p\nsteps: { t: { run: 'true' } }\n")
    rondo("run")
    shown = rondo.json("runs", "show", run)["run"]
    assert shown["state"] == "killed", shown
    assert rondo("runs", "logs", run).stdout == "said\n"


def test_a_damaged_log_is_shown_to_nobody(tmp_path):
    (tmp_path / "rondo.yaml").write_text("project: p\nsteps: { s: { run: 'echo said > $RONDO_OUTPUT_O; echo told', outputs: { o: o.txt } } }\n")
    rondo = Rondo(tmp_path)
    run = rondo.json("run")["steps"][0]["run"]
    for said in [b"told\n", b"said\n"]:
        (object,) = [path for path in (tmp_path / ".rondo/objects").glob("??/*") if path.is_file() and path.read_bytes() == said]
        object.unlink()
        object.write_bytes(said.upper())
    for command in [("runs", "logs", run), ("runs", "get", run, "o"), ("export", "--to", "ro-crate", "--of", run, str(tmp_path / "crate"))]:
        refused = rondo.json(*command, code=6)["error"]
        assert refused["code"] == "corrupt" and "--heal" in str(refused["hints"]), refused
    with up(tmp_path) as url:
        for arguments in [{}, {"format": "text"}]:
            answer = requests.get(f"{url}/api/v1/runs/{run}/log", params=arguments, timeout=60)
            assert (answer.status_code, answer.json()["code"]) == (500, "corrupt"), answer.text
    # Its output is made again, and sound.
    assert rondo.json("run")["steps"][0]["outcome"] == "ran"
    assert rondo("runs", "get", run, "o", "-o", str(tmp_path / "got")) and (tmp_path / "got").read_text() == "said\n"


NOTEBOOK = """# %%
print("first")
# %%
import os, time
from IPython.display import HTML, display
display(HTML("<b>rich</b>"))
while not os.path.exists("go"):
    time.sleep(0.05)
# %%
1 / 0
"""


@pytest.mark.service
def test_the_outputs_of_a_notebook_are_seen_while_it_runs_and_kept_when_it_fails(tmp_path):
    (tmp_path / "n.py").write_text(NOTEBOOK)
    (tmp_path / "rondo.yaml").write_text("""
project: p
environments: { py: { python: ">=3.9", requirements: [ipykernel] } }
steps: { n: { uses: papermill, with: { notebook: n.py }, environment: py } }
""")
    rondo = Rondo(tmp_path)
    with up(tmp_path) as url:
        running = subprocess.Popen([RONDO, "run"], cwd=tmp_path, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        run = run_of(rondo, "n")
        outputs = f"{url}/api/v1/runs/{run}/outputs"
        rich = lambda event: "<b>rich</b>" in json.dumps(event[1])
        seen = events(outputs, stop=rich)
        assert seen[0][1]["outputs"][0]["text"] == ["first\n"] and rich(seen[-1])
        (tmp_path / "go").touch()
        rest = events(outputs, last=seen[-1][2])
        assert rest[-1][0] == "end" and any("ZeroDivisionError" in json.dumps(event[1]) for event in rest), rest
        assert all(event[1].get("cell") != seen[0][1]["cell"] for event in rest), "what is known is not sent again"
        running.communicate(timeout=120)
        assert running.returncode == 7
        kept = requests.get(outputs, params={"format": "ipynb"}, timeout=60)
        assert kept.status_code == 200 and "ZeroDivisionError" in kept.text
        assert "first" in events(f"{url}/api/v1/runs/{run}/log")[0][1]["line"]
        rondo("run", "--dry-run")
        (tmp_path / "rondo.yaml").write_text("project: p\nsteps: { s: { run: 'true' } }\n")
        other = rondo.json("run")["run"]
        assert requests.get(f"{url}/api/v1/runs/{other}/outputs", timeout=60).status_code == 404
