"""What is killed loses nothing. More kills: `faults/kill.py --help`, `faults/acknowledged.py --help`."""

import subprocess
import sys
from pathlib import Path

from conftest import RONDO

FAULTS = Path(__file__).parent / "faults"
KILL = FAULTS / "kill.py"


def test_a_loop_killed_at_five_instants_loses_nothing_and_ends_the_same():
    done = subprocess.run(
        [sys.executable, KILL, "--rondo", RONDO, "--kills", "5", "--weeks", "14", "--seed", "5",
         "--seconds", "300", "--verbose"],
        capture_output=True, text=True, timeout=900,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 kills of" in done.stdout and " 0 differences" in done.stdout


def test_a_server_killed_three_times_under_load_has_all_that_it_answered():
    done = subprocess.run(
        [sys.executable, FAULTS / "acknowledged.py", "--rondo", RONDO, "--kills", "3", "--seed", "3"],
        capture_output=True, text=True, timeout=300,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kills under load from 16 clients" in done.stdout and " 0 faults" in done.stdout
