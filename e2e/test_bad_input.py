"""Input that is not as it should be: the error names the file and the place, and the earlier version stays."""

import fcntl
import json
import os
import resource
import signal
import subprocess

import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest

from conftest import RONDO, Rondo


@pytest.fixture
def project(tmp_path):
    (tmp_path / "rondo.yaml").write_text("project: p\ndata:\n  t: { source: t.csv, checks: [{ rows: { min: 1 } }] }\n")
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    rondo = Rondo(tmp_path)
    rondo("data", "add", "t")
    return rondo


def declare(rondo, source, more=""):
    text = f"project: p\ndata:\n  t: {{ source: {json.dumps(source)}, checks: [{{ rows: {{ min: 1 }} }}]{more} }}\n"
    (rondo.folder / "rondo.yaml").write_text(text)


def refused(rondo, *parts, code=2):
    """The addition is refused with all of these, and the version from before is the only one."""
    done = rondo("data", "add", "t", code=code)
    for part in parts:
        assert part in done.stderr, f"{part!r} is not in\n{done.stderr}"
    assert len(rondo.json("data", "log", "t")["log"]) == 1
    assert rondo.json("data", "verify")["report"]["broken"] == []
    incoming = rondo.folder / ".rondo/objects/incoming"
    assert not incoming.exists() or list(incoming.iterdir()) == []


def test_files_that_were_cut_or_spoilt_are_named(project):
    whole = {}
    table = pyarrow.table({"a": list(range(4000)), "b": [f"x{row}" for row in range(4000)]})
    for name, write in [("t.parquet", pyarrow.parquet.write_table), ("t.feather", pyarrow.feather.write_feather)]:
        write(table, project.folder / name)
        whole[name] = (project.folder / name).read_bytes()
    for name, content in whole.items():
        for bytes in [content[: len(content) // 2], content[:-20], b""]:
            (project.folder / name).write_bytes(bytes)
            declare(project, name)
            refused(project, name)
    spoilt = bytearray(whole["t.parquet"])
    spoilt[100:160] = b"\xff" * 60
    (project.folder / "t.parquet").write_bytes(spoilt)
    declare(project, "t.parquet")
    refused(project, "t.parquet")


@pytest.mark.parametrize(
    "name, content, parts",
    [
        ("t.csv", b"a,b\n1,2\n3\n", ["t.csv`, line 3: 1 fields, but the first line has 2"]),
        ("t.csv", "a,b\n1,größe\n".encode() + b"2,gr\xf6\xdfe\n", ["t.csv`, line 3: column 5: 0xf6 is not UTF-8"]),
        ("t.csv", b"a,b\n1,\"2\n3,4\n", ["t.csv`, line 2: a quote is not closed"]),
        ("t.csv", b"a,a\n1,2\n", ["t.csv", "`a`"]),
        ("t.ndjson", b'{"a":1}\n{"a":2\n{"a":3}\n', ["t.ndjson`, line 2"]),
        ("t.csv", b"a,b\n1,2\n2,x\n", ["line 3", "`x`", "`b`", "integer"]),
    ],
)
def test_lines_that_cannot_be_read_are_named(project, name, content, parts):
    (project.folder / name).write_bytes(content)
    more = ", read: { types: { b: integer } }" if "integer" in parts else ""
    declare(project, name, more)
    refused(project, *parts)


def test_a_column_of_another_type_in_a_later_file_is_named(project):
    folder = project.folder / "parts"
    folder.mkdir()
    pyarrow.parquet.write_table(pyarrow.table({"a": [1, 2]}), folder / "1.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"a": ["x", "y"]}), folder / "2.parquet")
    error = project("data", "profile", "parts", code=2).stderr
    assert "2.parquet" in error and "`a`" in error


@pytest.mark.parametrize("name", ["big.csv", "big.json", "big.ndjson", "big.parquet"])
def test_a_line_of_ten_gigabytes_is_refused_without_being_read(project, name):
    with open(project.folder / name, "wb") as file:
        file.truncate(10 << 30)

    def little():
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))

    done = subprocess.run(
        [RONDO, "data", "profile", name], cwd=project.folder, capture_output=True, text=True, timeout=120, preexec_fn=little,
    )
    assert done.returncode == 2 and name in done.stderr, done.stderr


def test_names_with_newlines_are_named_in_one_line(project):
    folder = project.folder / "odd"
    folder.mkdir()
    (folder / "a\nb.csv").write_text("a\n1\n")
    (folder / "c\nd.csv").write_text("a\n1\n2,3\n")
    added = project("data", "add", "odd")
    assert "versioned as files" in added.stderr and "line 3: 2 fields" in added.stderr
    error = json.loads(project("data", "profile", "odd", "--json", code=2).stdout)["error"]
    assert "line 3: 2 fields" in error["message"] and "objects" not in error["message"]
    (folder / "c\nd.csv").unlink()
    assert project.json("data", "add", "odd")["added"][0]["version"]["rows"] == 1


def test_a_file_that_may_not_grow_any_more_is_a_full_disk(project):
    (project.folder / "x.bin").write_bytes(os.urandom(3 << 20))

    def small():
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    done = subprocess.run(
        [RONDO, "data", "add", "x.bin", "--json"], cwd=project.folder, capture_output=True, text=True, timeout=120,
        preexec_fn=small,
    )
    assert done.returncode == 8, f"{done.returncode} {done.stdout} {done.stderr}"
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "disk-full" and "x.bin" in error["message"]
    assert [one["dataset"] for one in project.json("data", "status")["datasets"]] == ["t"]
    assert list((project.folder / ".rondo/objects/incoming").iterdir()) == []


@pytest.mark.parametrize("args", [["data", "status"], ["runs", "list", "--json"]])
def test_an_answer_that_the_disk_does_not_take_is_an_error(project, args):
    """`rondo … > answer` on a full disk: half an answer with the exit code 0 would be taken for a whole one."""
    with open("/dev/full", "w") as full:
        done = subprocess.run([RONDO, *args], cwd=project.folder, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 8 and "write to standard output" in done.stderr, done


def test_a_reader_that_made_its_pipe_non_blocking_is_waited_for():
    """As Node.js does with the pipes of a child: what does not fit at once is written when there is room."""
    whole = subprocess.run([RONDO, "completions", "bash"], capture_output=True, check=True).stdout
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(theirs, False)
    process = subprocess.Popen([RONDO, "completions", "bash"], stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        assert pipe.read() == whole and len(whole) > 4096
    assert process.wait(timeout=120) == 0, process.stderr.read()
