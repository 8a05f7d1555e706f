"""What the end-to-end tests share: the binary, and a project that has been run once."""

import contextlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

RONDO = os.environ.get("RONDO", "rondo")


# How long anything may take on a slow machine that does much else: nothing waits that long where all is well.
PATIENCE = 120


def until(what, seconds=PATIENCE):
    """Waits for something to be so; what it was."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen")


class Rondo:
    """The binary in a project's folder."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def __call__(self, *args, code=0, timeout=600):
        done = subprocess.run(
            [RONDO, *args], cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=timeout,
        )
        assert code is None or done.returncode == code, f"rondo {args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *args, code=0):
        out = self(*args, "--json", code=code).stdout
        return json.loads(out)


def git(folder, *args):
    subprocess.run(
        ["git", "-c", "user.name=e2e", "-c", "user.email=e2e@localhost", *args],
        cwd=folder, check=True, capture_output=True,
    )


@contextlib.contextmanager
def up(folder):
    """The project with its endpoints, triggers and worker."""
    process = subprocess.Popen(
        [RONDO, "up", "--listen", "127.0.0.1:0", "--json"], cwd=folder,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )
    try:
        yield json.loads(process.stdout.readline())["listen"]
    finally:
        process.terminate()
        assert process.wait(timeout=PATIENCE) == 0


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """A new project, committed and run once."""
    folder = tmp_path_factory.mktemp("projects")
    Rondo(folder)("new", "flowers")
    flowers = folder / "flowers"
    git(flowers, "init", "-q")
    git(flowers, "add", "-A")
    git(flowers, "commit", "-q", "-m", "new project")
    rondo = Rondo(flowers)
    rondo("run")
    git(flowers, "add", "-A")
    git(flowers, "commit", "-q", "-m", "first run")
    return rondo


@pytest.fixture
def copy(project, tmp_path):
    """A copy of the project with its store, to be changed at will; its environments are links to the same files."""
    folder = tmp_path / "flowers"
    environments = Path(".rondo", "envs")
    (folder / environments).parent.mkdir(parents=True)
    subprocess.run(["cp", "-al", project.folder / environments, folder / environments], check=True)
    rest = shutil.ignore_patterns("envs")
    shutil.copytree(project.folder, folder, symlinks=True, ignore=rest, dirs_exist_ok=True)
    return Rondo(folder)
