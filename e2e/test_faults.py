"""A loop that is killed comes to the same end as one that is not. More kills: `faults/kill.py --help`."""

import subprocess
import sys
from pathlib import Path

from conftest import RONDO

KILL = Path(__file__).parent / "faults" / "kill.py"


def test_a_loop_killed_at_five_instants_loses_nothing_and_ends_the_same():
    done = subprocess.run(
        [sys.executable, KILL, "--rondo", RONDO, "--kills", "5", "--weeks", "14", "--seed", "5",
         "--seconds", "300", "--verbose"],
        capture_output=True, text=True, timeout=900,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 kills of" in done.stdout and " 0 differences" in done.stdout
