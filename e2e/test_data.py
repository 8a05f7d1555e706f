"""Versions of files, folders and patterns as a user meets them: also when they are killed or lied to."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest

from conftest import RONDO, Rondo, git


@pytest.fixture
def empty(tmp_path):
    (tmp_path / "rondo.yaml").write_text("project: p\n")
    return Rondo(tmp_path)


def fill(folder, count, size=64):
    for number in range(count):
        path = folder / f"{number // 100:03d}"
        path.mkdir(parents=True, exist_ok=True)
        (path / f"f{number:06d}.bin").write_bytes(number.to_bytes(8, "little") * (size // 8))


def state(rondo, name):
    [status] = [one for one in rondo.json("data", "status")["datasets"] if one["dataset"] == name]
    return status["source_state"]


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_export_of_excel_is_read_and_its_decimal_commas_are_told(empty):
    (empty.folder / "prices.csv").write_text("sep=;\nday;price\n2024-01-01;3,14\n2024-01-02;2,5\n")
    (empty.folder / "suite.yaml").write_text("- { column: price, between: { min: 0 } }\n")
    way = 'read: { decimal: "," }'
    told = empty("data", "add", "prices.csv")
    assert "2 rows" in told.stdout and "`price`" in told.stderr and way in told.stderr
    refused = empty("data", "check", "prices.csv", "--suite", "suite.yaml", code=6)
    assert "`price`" in refused.stderr and way in refused.stderr
    alerts = empty.json("data", "profile", "prices.csv")["alerts"]
    assert any(alert["kind"] == "type_number" and way in alert["message"] for alert in alerts), alerts
    declared = empty.folder / "rondo.yaml"
    declared.write_text(declared.read_text().replace("source: prices.csv", f"source: prices.csv\n    {way}"))
    told = empty("data", "add", "prices")
    assert "read in another way" in told.stdout and "comma" not in told.stderr, told
    assert "comma" not in empty("data", "check", "prices", "--suite", "suite.yaml").stderr


@pytest.mark.parametrize(
    ("name", "text", "way"),
    [
        ("t.csv", "day;price\n1;3,14\n2;2,5\n", 'read: { decimal: "," }'),
        ("t.csv", "day;price\n1;3,14\n2;2,5\n", "read: { types: { price: string } }"),
        ("t.json", '[{"price": "3,14"}, {"price": "2,5"}]', "format: json"),
    ],
)
def test_a_check_tells_no_commas_of_what_is_read_as_it_is_meant(empty, name, text, way):
    (empty.folder / name).write_text(text)
    declared = empty.folder / "rondo.yaml"
    declared.write_text(
        f"project: empty\ndata:\n  t:\n    source: {name}\n    {way}\n    checks: [{{ rows: {{ min: 9 }} }}]\n"
    )
    refused = empty("data", "check", name, code=6)
    assert "1 of 1 check fails" in refused.stdout + refused.stderr and "comma" not in refused.stderr
    refused = empty("data", "add", "t", code=6)
    assert "comma" not in refused.stderr


def test_a_folder_of_any_files_is_versioned_and_comes_back(empty):
    images = empty.folder / "images"
    fill(images, 300)
    (images / "new\nline").write_text("odd")
    (images / "empty").mkdir()
    script = images / "run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    first = empty.json("data", "add", "images")["added"][0]
    assert first["outcome"] == "added" and first["version"]["files"] == 302
    assert "source: images" in (empty.folder / "rondo.yaml").read_text()
    assert empty.json("data", "add", "images")["added"][0]["outcome"] == "unchanged"
    assert state(empty, "images")["state"] == "unchanged"
    before = contents(images)

    (images / "000/f000001.bin").write_text("changed")
    (images / "000/f000002.bin").rename(images / "moved.bin")
    (images / "001/f000101.bin").unlink()
    found = state(empty, "images")
    assert (found["changed"], found["renamed"], found["removed"], found["added"]) == (1, 1, 1, 0)
    empty("data", "add", "images")
    files = empty.json("data", "diff", "images")["diff"]["files"]
    assert files["changed"] == ["000/f000001.bin"] and files["removed"] == ["001/f000101.bin"]
    assert files["renamed"] == [{"from": "000/f000002.bin", "to": "moved.bin"}]

    # Back in place, with what only the newer version had taken away.
    got = empty.json("data", "get", "images@1")["got"]
    assert got["removed"] == ["moved.bin"] and got["placed"] == 3 and got["kept"] == 299
    assert contents(images) == before
    assert os.access(script, os.X_OK) and (images / "empty").is_dir()
    assert empty.json("data", "get", "images@1")["got"]["placed"] == 0
    # Elsewhere, and only a part.
    empty("data", "get", "images@1", "copy", "--only", "002", "--only", "*.sh")
    assert set(contents(empty.folder / "copy")) == {"run.sh"} | {p for p in before if p.startswith("002/")}
    assert (empty.folder / "copy/empty").exists() is False


def test_files_that_would_be_lost_are_listed_and_kept(empty):
    data = empty.folder / "data"
    fill(data, 20)
    empty("data", "add", "data")
    mine = data / "000/f000003.bin"
    mine.write_text("not in any version")
    error = json.loads(empty("data", "get", "data", "--json", code=4).stdout)["error"]
    assert error["code"] == "files-in-the-way" and error["data"]["files"] == [str(mine)]
    assert mine.read_text() == "not in any version"
    (data / "stranger.txt").write_text("x")
    empty("data", "get", "data", "--force")
    assert mine.read_bytes() == (3).to_bytes(8, "little") * 8
    assert (data / "stranger.txt").exists(), "what no version knows is nobody's to remove"


def test_patterns_files_and_several_at_once(empty):
    fill(empty.folder / "raw", 150)
    (empty.folder / "raw/000/note.txt").write_text("n")
    (empty.folder / "model.onnx").write_bytes(bytes(300_000))
    added = empty.json("data", "add", "raw/**/*.bin", "model.onnx")["datasets"]
    assert [(one["dataset"], one["added"][0]["version"]["files"]) for one in added] == [("raw", 150), ("model", 1)]
    (empty.folder / "model.onnx").unlink()
    assert state(empty, "model")["state"] == "missing"
    empty("data", "get", "model")
    assert (empty.folder / "model.onnx").read_bytes() == bytes(300_000)
    error = empty("data", "add", "raw/*.nothing", "--name", "none", code=3).stderr
    assert "no file matches" in error
    assert "none" not in (empty.folder / "rondo.yaml").read_text(), "what failed is not declared"


def test_bad_input_is_named_and_leaves_the_earlier_version(empty):
    data = empty.folder / "data"
    fill(data, 10)
    empty("data", "add", "data")
    lock = (empty.folder / "rondo.lock").read_text()
    for make, word in [
        (lambda: (data / "again").symlink_to(data), "leads back to"),
        (lambda: (data / "again").symlink_to("nowhere"), "leads nowhere"),
        (lambda: os.mkfifo(data / "again"), "neither a file nor a folder"),
    ]:
        make()
        error = empty("data", "add", "data", code=2).stderr
        assert word in error and "again" in error
        (data / "again").unlink()
    odd = os.path.join(os.fsencode(data), b"b\xff.bin")
    with open(odd, "wb"):
        pass
    assert "not UTF-8" in empty("data", "add", "data", code=2).stderr
    os.unlink(odd)
    assert "store itself" in empty("data", "add", ".", "--name", "all", code=2).stderr
    assert (empty.folder / "rondo.lock").read_text() == lock
    assert state(empty, "data")["state"] == "unchanged"


def test_a_file_that_grows_while_it_is_read_is_refused(empty):
    path = empty.folder / "log.bin"
    path.write_bytes(os.urandom(1 << 20) * 64)
    stop = threading.Event()

    def grow():
        with open(path, "ab") as file:
            while not stop.is_set():
                file.write(b"x" * 4096)
                file.flush()

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        error = empty("data", "add", "log.bin", code=8).stderr
    finally:
        stop.set()
        writer.join()
    assert "log.bin` changed while it was being read" in error
    assert "log" not in (empty.folder / "rondo.yaml").read_text()
    empty("data", "add", "log.bin")


def test_kill_in_the_middle_of_an_add_and_go_on(empty):
    data = empty.folder / "data"
    fill(data, 50)
    first = empty.json("data", "add", "data")["added"][0]["version"]["digest"]
    fill(data, 24_000)
    partial = empty.folder / ".rondo/stat/data.partial"
    running = subprocess.Popen([RONDO, "data", "add", "data"], cwd=empty.folder, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while running.poll() is None and not partial.exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    running.send_signal(signal.SIGKILL)
    running.wait()
    [only] = empty.json("data", "log", "data")["log"]
    assert only["version"]["digest"] == first
    added = empty.json("data", "add", "data")["added"][0]
    assert added["outcome"] == "added" and added["version"]["files"] == 24_000
    assert not partial.exists()
    assert empty.json("data", "verify")["report"]["broken"] == []
    incoming = empty.folder / ".rondo/objects/incoming"
    assert list(incoming.iterdir()) == [], "what the killed one left is taken away"


def test_two_at_once_both_finish(empty):
    fill(empty.folder / "a", 800)
    fill(empty.folder / "b", 800, size=128)
    (empty.folder / "rondo.yaml").write_text("project: p\ndata:\n  a: { source: a }\n  b: { source: b }\n")
    running = [
        subprocess.Popen([RONDO, "data", "add", name], cwd=empty.folder, stderr=subprocess.PIPE)
        for name in ["a", "b", "a", "b"]
    ]
    for one in running:
        error = one.communicate()[1].decode()
        assert one.returncode == 0, error
    assert state(empty, "a")["state"] == state(empty, "b")["state"] == "unchanged"
    assert empty.json("data", "verify")["report"]["broken"] == []


def test_verify_names_what_is_broken_and_who_needs_it(empty):
    data = empty.folder / "data"
    fill(data, 30)
    empty("data", "add", "data")
    objects = [path for path in (empty.folder / ".rondo/objects").glob("??/*") if path.stat().st_size == 64]
    gone, spoilt = objects[0], objects[1]
    gone.unlink()
    spoilt.chmod(0o644)
    spoilt.write_bytes(b"#" * 64)
    found = json.loads(empty("data", "verify", "--json", code=6).stdout)
    assert found["error"]["code"] == "data-broken"
    broken = {one["digest"]: one for one in found["report"]["broken"]}
    assert broken[gone.parent.name + gone.name]["fault"] == "missing"
    assert broken[spoilt.parent.name + spoilt.name]["fault"] == "corrupted"
    for one in broken.values():
        [need] = one["needed_by"]
        assert need["dataset"] == "data" and need["version"] == 1 and (data / need["path"]).is_file()
    assert "data@1 000/f" in empty("data", "verify", code=6).stderr


def test_a_full_disk_is_said_and_nothing_is_half_added(empty):
    small = empty.folder / "disk"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        (small / "rondo.yaml").write_text("project: p\n")
        rondo = Rondo(small)
        (small / "a.bin").write_bytes(os.urandom(1 << 20))
        rondo("data", "add", "a.bin")
        (empty.folder / "big.bin").write_bytes(os.urandom(40 << 20))
        error = json.loads(rondo("data", "add", str(empty.folder / "big.bin"), "--json", code=8).stdout)["error"]
        assert error["code"] == "disk-full"
        assert [one["dataset"] for one in rondo.json("data", "status")["datasets"]] == ["a"]
        assert rondo.json("data", "verify")["report"]["broken"] == []
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_an_index_that_is_damaged_or_gone_costs_time_and_nothing_else(empty):
    data = empty.folder / "data"
    fill(data, 40)
    digest = empty.json("data", "add", "data")["added"][0]["version"]["digest"]
    index = empty.folder / ".rondo/stat/data.index"
    index.write_bytes(index.read_bytes()[:-5])
    assert state(empty, "data")["state"] == "unchanged"
    shutil.rmtree(index.parent)
    again = empty.json("data", "add", "data")["added"][0]
    assert (again["outcome"], again["version"]["digest"]) == ("unchanged", digest)


def commit(folder, message):
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)


def test_versions_that_nothing_reaches_go_and_those_of_any_commit_tag_or_stash_stay(empty):
    (empty.folder / ".gitignore").write_text(".rondo/\n")
    git(empty.folder, "init", "-q", "-b", "main")
    path = empty.folder / "rows.bin"

    def add(number):
        path.write_bytes(bytes([number]) * 5000)
        return empty.json("data", "add", "rows.bin")["added"][0]["version"]["digest"]

    first = add(1)
    commit(empty.folder, "first")
    git(empty.folder, "checkout", "-q", "-b", "idea")
    branch = add(2)
    commit(empty.folder, "on a branch")
    git(empty.folder, "checkout", "-q", "main")
    stashed = add(3)
    git(empty.folder, "stash", "-q")
    lost, tagged = add(4), add(5)
    empty("data", "tag", "rows", "paper", "-m", "as in the paper")
    before, latest = add(6), add(7)
    assert empty.json("data", "gc", "--versions")["gc"]["versions"] == [], "all of them are young"

    gone = ("data", "gc", "--versions", "--keep", "1", "--grace", "0s")
    counted = empty.json(*gone)["gc"]
    assert counted["dry_run"] and [one["digest"] for one in counted["versions"]] == [before, lost]
    assert counted["objects"] >= 2 and counted["bytes"] >= 10_000
    assert "--apply does it" in empty(*gone).stdout
    done = empty.json(*gone, "--apply")["gc"]
    assert (done["objects"], done["bytes"]) == (counted["objects"], counted["bytes"])
    assert empty.json(*gone)["gc"]["objects"] == 0
    for called in [first, branch, stashed, tagged, latest, "paper", "1", "5"]:
        empty("data", "get", f"rows@{called[:12]}", f"out-{called[:6]}")
    empty("data", "get", "rows@4", "nowhere", code=3)
    assert empty.json("data", "verify")["report"]["broken"] == []
    assert add(4) == lost, "the same content again is the same version"
    empty("data", "get", "rows@4", "again")

    (empty.folder / ".git/HEAD").write_text("nonsense")
    error = empty("data", "gc", "--grace", "0s", code=8).stderr
    assert "nothing is removed" in error


def test_tags_name_versions_everywhere(empty):
    path = empty.folder / "t.csv"
    for rows in ["1,2\n", "1,2\n3,4\n"]:
        path.write_text("a,b\n" + rows)
        empty("data", "add", "t.csv")
    empty("data", "tag", "t@1", "v1.0")
    assert empty.json("data", "diff", "t", "v1.0", "latest")["diff"]["to"]["rows"] == 2
    assert "1 rows" in empty("data", "profile", "t@v1.0").stdout
    taken = json.loads(empty("data", "tag", "t", "v1.0", "--json", code=4).stdout)["error"]
    assert taken["code"] == "ref-moved" and "--move" in taken["hints"][0]
    empty("data", "tag", "t", "v1.0", "--move", "-m", "it was wrong")
    for name in ["latest", "3", "deadbeef", "a b"]:
        empty("data", "tag", "t", name, code=2)
    [tag] = empty.json("data", "tag", "t")["tags"]
    assert tag["tag"] == "v1.0"
    assert "v1.0" in empty("data", "log", "t").stdout
    empty("data", "tag", "t", "v1.0", "--remove")
    empty("data", "tag", "t", "v1.0", "--remove", code=3)
    empty("data", "get", "t@v1.0", "x", code=3)


def spoil(path):
    path.chmod(0o644)
    path.write_bytes(b"#" * path.stat().st_size)
    path.chmod(0o440)


def test_what_is_broken_is_healed_from_the_work_tree_another_store_or_a_remote(empty):
    data = empty.folder / "data"
    fill(data, 30)
    empty("data", "add", "data")
    store = empty.folder / ".rondo/objects"
    copy = empty.folder / "copy"
    shutil.copytree(store, copy / "objects")

    def break_all():
        files = [path for path in store.glob("??/*") if path.stat().st_size == 64]
        for path in files[:5]:
            path.unlink()
        for path in files[5:10]:
            spoil(path)
        listing = next(path for path in store.glob("??/*") if path.read_bytes().startswith(b"rondo tree"))
        spoil(listing)
        return len(json.loads(empty("data", "verify", "--json", code=6).stdout)["report"]["broken"])

    assert break_all() > 0
    healed = empty.json("data", "verify", "--heal")
    assert len(healed["healed"]) == 11 and healed["report"]["broken"] == []
    empty("data", "verify")
    # Files that are others now heal nothing; another copy does.
    break_all()
    shutil.rmtree(data)
    data.mkdir()
    left = json.loads(empty("data", "verify", "--heal", "--json", code=6).stdout)
    assert left["healed"] == [] and left["report"]["broken"]
    healed = empty.json("data", "verify", "--from", str(copy))
    assert healed["report"]["broken"] == [] and {one["from"] for one in healed["healed"]} == {str(copy)}
    # What an addition stores again takes the place of bytes that only have the right length.
    fill(data, 30)
    spoil(next(path for path in store.glob("??/*") if path.stat().st_size == 64))
    shutil.rmtree(empty.folder / ".rondo/stat")
    (data / "more").write_text("x")
    empty("data", "add", "data")
    assert empty.json("data", "verify")["report"]["broken"] == []


def test_a_clean_up_that_is_killed_beside_additions_loses_nothing(empty):
    data = empty.folder / "data"
    for round in range(4):
        shutil.rmtree(data, ignore_errors=True)
        fill(data, 900, size=64 + 8 * round)
        empty("data", "add", "data")
    gone = [RONDO, "data", "gc", "--versions", "--keep", "1", "--grace", "0s", "--apply"]
    running = subprocess.Popen(gone, cwd=empty.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    fill(data, 900, size=64)
    adding = subprocess.Popen([RONDO, "data", "add", "data"], cwd=empty.folder, stderr=subprocess.PIPE)
    time.sleep(0.1)
    running.send_signal(signal.SIGKILL)
    running.wait()
    error = adding.communicate()[1].decode()
    assert adding.returncode == 0, error
    assert empty.json("data", "verify")["report"]["broken"] == []
    # The lock of the killed one runs out by itself; the objects are whole whatever it had begun.
    assert state(empty, "data")["state"] == "unchanged"


def test_the_lock_is_what_get_takes_and_status_says_what_differs(empty):
    table = empty.folder / "t.csv"
    table.write_text("a\n1\n")
    empty("data", "add", "t.csv")
    lock = (empty.folder / "rondo.lock").read_text()
    table.write_text("a\n1\n2\n")
    empty("data", "add", "t.csv")
    # As `git checkout` of an older commit leaves it.
    (empty.folder / "rondo.lock").write_text(lock)
    shown = empty("data", "status")
    assert "the latest, not what rondo.lock pins" in shown.stdout and "hint: rondo data get t" in shown.stderr
    assert "rondo.lock pins it" in empty("data", "get").stdout
    assert table.read_text() == "a\n1\n"
    shown = empty("data", "status")
    assert "as rondo.lock pins, not the latest" in shown.stdout and "hint" not in shown.stderr
    empty("data", "get", "t@latest")
    assert table.read_text() == "a\n1\n2\n"


def test_many_new_datasets_at_once_are_all_declared_and_pinned(empty):
    names = [f"d{number}" for number in range(8)]
    for name in names:
        (empty.folder / f"{name}.csv").write_text(f"a\n{name}\n")
    adding = [
        subprocess.Popen([RONDO, "data", "add", f"{name}.csv"], cwd=empty.folder, stderr=subprocess.PIPE, text=True)
        for name in names
    ]
    for one in adding:
        error = one.communicate(timeout=120)[1]
        assert one.returncode == 0, error
    assert sorted(one["dataset"] for one in empty.json("data", "status")["datasets"]) == names
    assert all(f"\n  {name}:\n" in (empty.folder / "rondo.lock").read_text() for name in names)


def test_what_is_declared_is_neither_mistaken_nor_left_behind(empty):
    (empty.folder / "flights.csv").write_text("a\n1\n")
    (empty.folder / "sub").mkdir()
    (empty.folder / "sub/flights.csv").write_text("a\n2\n")
    empty("data", "add", "flights.csv")
    before = (empty.folder / "rondo.yaml").read_text()
    assert "unchanged" in empty("data", "add", str(empty.folder / "flights.csv")).stdout
    assert "--name" in empty("data", "add", "sub/flights.csv", code=2).stderr
    assert "flights.zzz" in empty("data", "add", "flights.zzz", code=3).stderr
    for args, said in [
        (["sqlite:shop.db", "--name", "o"], "query"),
        (["sub", "--query", "select 1"], "only a database"),
        (["ftp://x/y"], "ftp"),
        (["postgres://ann:s3cret@127.0.0.1:1/db", "--name", "o", "--query", "select 1"], "${{ secrets.O_PASSWORD }}"),
    ]:
        error = empty("data", "add", *args, code=2).stderr
        assert said in error and "s3cret" not in error, error
    assert (empty.folder / "rondo.yaml").read_text() == before
    assert "flights" in empty("data", "remove", "flights").stdout
    assert "flights" not in (empty.folder / "rondo.yaml").read_text() + (empty.folder / "rondo.lock").read_text()


def write_into_object(project, digest, size):
    """As root may: same size, same permissions, and its old time put back."""
    time.sleep(0.05)
    path = project.folder / ".rondo/objects" / digest[:2] / digest[2:]
    before = path.stat()
    path.chmod(0o600)
    with open(path, "r+b") as file:
        file.seek(size // 2)
        file.write(b"YYYY")
    path.chmod(before.st_mode & 0o777)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("size", [3_000, 3_000_000])
def test_a_damaged_object_is_handed_to_nobody_and_healed(empty, size):
    text = "a,b\n" + "".join(f"{row:07},xy\n" for row in range(size // 11))
    path = empty.folder / "x.csv"
    path.write_text(text)
    version = empty.json("data", "add", "x.csv", "-m", "from the survey")["added"][0]["version"]
    assert "from the survey" in empty("data", "log", "x").stdout
    (empty.folder / "rondo.yaml").write_text(
        (empty.folder / "rondo.yaml").read_text()
        + "steps:\n  copy:\n    run: cp \"$RONDO_INPUT_X\" \"$RONDO_OUTPUT_OUT\"\n"
        + "    inputs: { x: data.x }\n    outputs: { out: out.csv }\n"
    )
    empty("run")
    write_into_object(empty, version["digest"], size)
    kept = path.rename(empty.folder / "kept.csv")
    (empty.folder / "out.csv").unlink()
    refused = empty.json("data", "get", "x", code=6)["error"]
    assert "corrupt" in refused["message"] and "--heal" in str(refused), refused
    assert not path.exists()
    # The output is the same object, so it is not restored either; and no step reads it.
    assert "is damaged in the store" in empty("why", "copy").stdout
    for arguments in [("run",), ("run", "--force")]:
        said = empty(*arguments, code=6)
        assert "its input `x` is damaged in the store" in said.stderr and "--heal" in said.stderr, said.stderr
    assert not (empty.folder / "out.csv").exists()
    shutil.copy(kept, path)
    empty("data", "verify", "--heal")
    path.unlink()
    empty("data", "get", "x")
    assert path.read_text() == text
    empty("run")
    assert (empty.folder / "out.csv").read_text() == text


def test_a_table_stays_a_table(empty):
    path = empty.folder / "t.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    digest = empty.json("data", "add", "t.csv")["added"][0]["version"]["digest"]
    path.write_text("a,b\n1,2\n3\n")
    refused = empty.json("data", "add", "t.csv", code=2)["error"]
    assert "line 3" in refused["message"] and "format: files" in str(refused), refused
    assert empty.json("data", "log", "t")["log"][0]["version"]["digest"] == digest


def test_who_and_why_stand_in_the_log(empty):
    git(empty.folder, "init", "-q")
    git(empty.folder, "config", "user.name", "Ada L")
    (empty.folder / "f.txt").write_text("x")
    environment = {name: value for name, value in os.environ.items() if name not in ("RONDO_USER", "USER", "LOGNAME")}
    done = subprocess.run(
        [RONDO, "data", "add", "f.txt", "-m", "as sent by the clinic"], cwd=empty.folder, env=environment,
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stderr
    log = empty("data", "log", "f").stdout
    assert "Ada L" in log and "as sent by the clinic" in log, log
