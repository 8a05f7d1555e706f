"""Where data come from: files of other programs, web servers, buckets, databases, labels."""

import http.server
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from conftest import RONDO


class Project:
    """A project with nothing but what a test declares."""

    def __init__(self, folder, env=None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.env = {**os.environ, "RONDO_CACHE_DIR": str(self.folder / "cache"), **(env or {})}

    def declare(self, text):
        (self.folder / "rondo.yaml").write_text("project: p\ndata:\n" + text)

    def __call__(self, *args, code=0):
        done = subprocess.run(
            [RONDO, *args], cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=300,
        )
        assert done.returncode == code, f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *args, code=0):
        return json.loads(self(*args, "--json", code=code).stdout)

    def add(self, name):
        return self.json("data", "add", name)["added"][0]

    def nowhere(self, *secrets):
        """No secret lies in any file that Rondo has written, but in that of secrets."""
        for path in self.folder.rglob("*"):
            if path.is_file() and path.name != "secrets.env":
                content = path.read_bytes()
                for secret in secrets:
                    assert secret.encode() not in content, f"{secret} in {path}"


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path / "p")


def types(version):
    return {column["name"]: column["type"] for column in version["columns"]}


def test_a_dialect_is_declared_once_and_read_alike_everywhere(project):
    project.declare(
        "  sales:\n    source: s.csv\n    read: { skip: 1, encoding: latin1, decimal: ',', thousands: '.',\n"
        "            null: ['-'], types: { plz: string } }\n"
        "    checks: [{ column: preis, between: { min: 0, max: 2000 } }]\n"
    )
    (project.folder / "s.csv").write_bytes("Export\nort;plz;preis\nKöln;01234;1.234,50\nBonn;2;-\n".encode("latin1"))
    version = project.add("sales")["version"]
    assert (version["rows"], types(version)) == (2, {"ort": "string", "plz": "string", "preis": "number"})
    assert version["origin"]["read"]["encoding"] == "latin1"
    assert project.json("data", "check", "sales")["passed"]
    flags = [f"--read={flag}" for flag in ["skip=1", "encoding=latin1", "decimal=,", "thousands=.", "null=-"]]
    assert [column["type"] for column in project.json("data", "profile", "s.csv", *flags)["columns"]][2] == "number"
    assert "did you mean `decimal`" in project("data", "profile", "s.csv", "--read", "decimel=,", code=2).stderr
    assert "unchanged" in project("data", "add", "sales").stdout
    # The same bytes read in another way are other rows: that is seen, and done when it is asked for.
    text = (project.folder / "rondo.yaml").read_text()
    (project.folder / "rondo.yaml").write_text(text.replace("{ plz: string }", "{ plz: integer }"))
    assert project.json("data", "status")["datasets"][0]["source_state"]["state"] == "reread"
    added = project.add("sales")
    assert (added["outcome"], types(added["version"])["plz"]) == ("reread", "integer")
    assert added["version"]["digest"] == version["digest"]
    assert project.json("data", "status")["datasets"][0]["source_state"]["state"] == "unchanged"


def test_what_cannot_be_read_is_named_and_kept_as_it_is(project):
    project.declare("  t: { source: t.csv }\n")
    (project.folder / "t.csv").write_text("a,b\n1,2\n")
    project.add("t")
    for content, part in [
        (b"a,b\n1,2\n1,2,3\n", "line 3: 3 fields, but the first line has 2"),
        (b"a,b\n1,caf\xe9\n", "line 2: column 6: 0xe9 is not UTF-8"),
    ]:
        (project.folder / "t.csv").write_bytes(content)
        # What was a table stays one; what never was is kept as it is.
        assert part in project("data", "add", "t", code=2).stderr
        assert part in project("data", "profile", "t.csv", code=2).stderr
        (project.folder / "f.csv").write_bytes(content)
        assert part in project("data", "add", "f.csv").stderr
        project("data", "remove", "f")
    assert len(project.json("data", "log", "t")["log"]) == 1
    project.declare("  t: { source: t.csv, read: { delimeter: ';', encoding: windows-1253x } }\n")
    error = project("data", "status", code=2).stderr
    assert "delimiter" in error and "`windows-1253x` is no encoding" in error


class Pages(http.server.BaseHTTPRequestHandler):
    content, asked = {}, []

    def do_GET(self):
        body, tag = self.content.get(self.path, (None, None))
        self.asked.append((self.command, self.path, self.headers.get("If-None-Match"), self.headers.get("Range")))
        if body is None:
            return self.send_error(404)
        if self.headers.get("If-None-Match") == tag:
            self.send_response(304)
            return self.end_headers()
        self.send_response(200)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def web():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    Pages.content, Pages.asked = {}, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_an_unchanged_web_source_costs_one_conditional_request(project, web):
    Pages.content["/a.csv?k=hush"] = (b"a\n1\n", '"one"')
    project.env["WEB_KEY"] = "hush"
    project.declare(f"  a: {{ source: \"{web}/a.csv?k=${{{{ secrets.WEB_KEY }}}}\", max_size: 1kB }}\n")
    version = project.add("a")["version"]
    assert (version["origin"]["state"], version["rows"]) == ('"one"', 1)
    assert version["origin"]["fetched"]
    Pages.asked.clear()
    assert project.add("a")["outcome"] == "unchanged"
    assert Pages.asked == [("GET", "/a.csv?k=hush", '"one"', None)]
    state = lambda *more: project.json("data", "status", *more)["datasets"][0]["source_state"]
    assert state()["state"] == "remote"
    assert state("--remote")["state"] == "unchanged"
    Pages.content["/a.csv?k=hush"] = (b"a\n1\n2\n", '"two"')
    assert state("--remote") == {"state": "moved", "before": '"one"', "now": '"two"'}
    assert project.add("a")["version"]["rows"] == 2
    assert '"two"' in project("data", "log", "a").stdout
    Pages.content["/a.csv?k=hush"] = (b"a\n" + b"1\n" * 600, '"three"')
    assert "larger than `max_size` allows" in project("data", "add", "a", code=2).stderr
    assert len(project.json("data", "log", "a")["log"]) == 2
    project.nowhere("hush")


def test_a_query_of_sqlite_is_a_dataset(project):
    with sqlite3.connect(project.folder / "shop.db") as database:
        database.execute("CREATE TABLE o (id INTEGER, price REAL, at DATETIME)")
        database.executemany("INSERT INTO o VALUES (?, ?, ?)", [(i, i / 2, f"2013-01-0{i}") for i in range(1, 6)])
    (project.folder / "rondo.yaml").write_text("project: p\n")
    added = project.json("data", "add", "sqlite:shop.db", "--name", "orders", "--query", "SELECT * FROM o ORDER BY id")
    version = added["added"][0]["version"]
    assert types(version) == {"id": "integer", "price": "number", "at": "timestamp"}
    assert version["origin"]["query"] == "SELECT * FROM o ORDER BY id"
    assert project.add("orders")["outcome"] == "unchanged"
    assert "SELECT * FROM o ORDER BY id" in project("data", "log", "orders").stdout
    with sqlite3.connect(project.folder / "shop.db") as database:
        database.execute("DELETE FROM o WHERE id = 1")
    assert project.add("orders")["version"]["rows"] == 4
    project.declare("  o: { source: 'sqlite:shop.db', query: SELECT * FROM o }\n")
    assert "no ORDER BY" in project("data", "add", "o").stderr
    project.declare("  o: { source: 'sqlite:shop.db' }\n")
    assert "`query`" in project("data", "add", "o", code=2).stderr


def test_labels_are_counted_compared_and_written(project):
    for name in ["cat/1.png", "cat/2.png", "dog/3.png", "4.png"]:
        path = project.folder / "pics" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (project.folder / "l.csv").write_text("item,label,annotator\n1.png,cat,ann\n1.png,cat,bob\n3.png,dog,ann\n3.png,cat,bob\n")
    project.declare("  pics: { source: pics, labels: path }\n")
    project.add("pics")
    labels = project.json("data", "labels", "pics")["labels"]
    assert (labels["counts"], labels["unlabelled"]) == ({"cat": 2, "dog": 1}, ["4.png"])
    labels = project.json("data", "labels", "pics", "--labels", "l.csv", "--out", "labels.parquet")["labels"]
    assert (labels["items"], labels["unlabelled_count"]) == (2, 2)
    assert labels["agreement"][0]["observed"] == 0.5
    assert project.json("data", "profile", "labels.parquet")
    assert "Cohen's kappa 0.000" in project("data", "labels", "l.csv").stdout


@pytest.fixture(scope="module")
def s3():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [Path(sys.executable).parent / "moto_server", "-H", "127.0.0.1", "-p", str(port)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    boto3 = pytest.importorskip("boto3")
    try:
        for _ in range(1200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        settings = {
            "AWS_ENDPOINT": f"http://127.0.0.1:{port}", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "very-secret",
        }
        client = boto3.client(
            "s3", endpoint_url=settings["AWS_ENDPOINT"], region_name="us-east-1", aws_access_key_id="key",
            aws_secret_access_key="very-secret",
        )
        client.create_bucket(Bucket="bucket")
        yield client, settings
    finally:
        server.terminate()
        server.wait(timeout=120)


def test_a_prefix_of_a_bucket_is_a_folder(project, s3):
    client, settings = s3
    project.env.update(settings)
    for name in ["in/1.csv", "in/sub/2.csv", "in/note.txt", "one.csv"]:
        client.put_object(Bucket="bucket", Key=name, Body=b"a\n1\n")
    project.declare(
        "  all: { source: s3://bucket/in/ }\n  some: { source: 's3://bucket/in/**/*.csv' }\n  one: { source: s3://bucket/one.csv }\n"
    )
    assert [project.add(name)["version"]["files"] for name in ["all", "some", "one"]] == [3, 2, 1]
    assert project.add("all")["outcome"] == "unchanged"
    state = lambda: project.json("data", "status", "all", "--remote")["datasets"][0]["source_state"]["state"]
    assert state() == "unchanged"
    client.delete_object(Bucket="bucket", Key="in/note.txt")
    client.put_object(Bucket="bucket", Key="in/1.csv", Body=b"a\n1\n2\n")
    assert state() == "moved"
    version = project.add("all")["version"]
    assert (version["files"], version["rows"]) == (2, 3)
    client.put_object(Bucket="bucket", Key="in/../../x", Body=b"x")
    project.declare("  none: { source: s3://bucket/nothing/ }\n")
    project("data", "add", "none", code=3)
    project.nowhere("very-secret")


QUERIES = {
    "postgres": """
        CREATE TABLE o (id int PRIMARY KEY, big bigint, price numeric(12,3), other numeric, ok boolean, at timestamptz,
                        clock timestamp, day date, doc jsonb, raw bytea, tags text[], name text);
        INSERT INTO o VALUES
          (1, 9007199254740993, 1234.500, 0.1, true, '2013-01-01 12:00:00+02', '2013-01-01 12:00:00.123456',
           '2013-01-02', '{"a": [1, null]}', '\\x00ff', '{a,b}', 'é'),
          (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    """,
    "mysql": """
        CREATE TABLE o (id int PRIMARY KEY, big bigint unsigned, price decimal(12,3), other double, ok tinyint(1),
                        at timestamp NULL, clock datetime(6), day date, doc json, raw blob, tags set('a','b'),
                        name varchar(20)) CHARACTER SET utf8mb4;
        SET time_zone = '+02:00';
        INSERT INTO o VALUES
          (1, 18446744073709551615, 1234.500, 0.1, true, '2013-01-01 12:00:00', '2013-01-01 12:00:00.123456',
           '2013-01-02', '{"a": [1, null]}', x'00ff', 'a,b', 'é'),
          (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    """,
}


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def waited(done, server, log):
    for _ in range(600):
        if done():
            return
        assert server.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture
def postgres(tmp_path):
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    binaries, data, port, log = found[-1].parent, tmp_path / "pg", free_port(), tmp_path / "pg.log"
    user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    data.mkdir()
    if user:
        for folder in [tmp_path, *tmp_path.parents]:
            if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
                folder.chmod(0o755)
        shutil.chown(data, "postgres")
    password = tmp_path / "password"
    password.write_text("hush-hush/1")
    password.chmod(0o644)
    run = lambda *args, **more: subprocess.run([*user, *args], check=True, capture_output=True, text=True, **more)
    run(binaries / "initdb", "-D", data, "-U", "ann", "-A", "scram-sha-256", f"--pwfile={password}", "-E", "UTF8")
    with log.open("w") as out:
        server = subprocess.Popen(
            [*user, binaries / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", data],
            stdout=out, stderr=out,
        )
    sql = lambda text: subprocess.run(
        [binaries / "psql", "-h", "127.0.0.1", "-p", str(port), "-U", "ann", "-v", "ON_ERROR_STOP=1", "postgres"],
        input=text, env={**os.environ, "PGPASSWORD": "hush-hush/1"}, capture_output=True, text=True,
    )
    try:
        waited(lambda: sql("SELECT 1").returncode == 0, server, log)
        yield f"postgres://ann:${{{{ secrets.DB_PASSWORD }}}}@127.0.0.1:{port}/postgres", sql
    finally:
        server.terminate()
        server.wait(timeout=120)


@pytest.fixture
def mysql(tmp_path):
    server_binary = shutil.which("mariadbd") or shutil.which("mysqld")
    if not server_binary:
        pytest.skip("MariaDB is not installed: apt-get install mariadb-server")
    data, port, log = tmp_path / "my", free_port(), tmp_path / "my.log"
    user = ["--user=root"] if os.getuid() == 0 else []
    subprocess.run(
        ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal", *user],
        check=True, capture_output=True,
    )
    with log.open("w") as out:
        server = subprocess.Popen(
            [server_binary, "--no-defaults", f"--datadir={data}", f"--port={port}", "--bind-address=127.0.0.1",
             f"--socket={data}/s", *user],
            stdout=out, stderr=out,
        )
    sql = lambda text, base="": subprocess.run(
        ["mariadb", "--no-defaults", f"--socket={data}/s", "-u", "root", "--default-character-set=utf8mb4", *([base] if base else [])],
        input=text, capture_output=True, text=True,
    )
    try:
        waited(lambda: sql("SELECT 1").returncode == 0, server, log)
        sql("CREATE DATABASE d; CREATE USER ann@'127.0.0.1' IDENTIFIED BY 'hush-hush/1'; GRANT ALL ON d.* TO ann@'127.0.0.1';")
        yield f"mysql://ann:${{{{ secrets.DB_PASSWORD }}}}@127.0.0.1:{port}/d", lambda text: sql(text, "d")
    finally:
        server.terminate()
        server.wait(timeout=120)


@pytest.mark.service
@pytest.mark.parametrize("kind", ["postgres", "mysql"])
def test_a_query_of_a_server_is_a_dataset(kind, request, tmp_path):
    address, sql = request.getfixturevalue(kind)
    done = sql(QUERIES[kind])
    assert done.returncode == 0, done.stderr
    project = Project(tmp_path / "p")
    secrets = project.folder / ".rondo" / "secrets.env"
    secrets.parent.mkdir()
    secrets.write_text("DB_PASSWORD=hush-hush/1\n")
    project.declare(f"  o: {{ source: \"{address}\", query: SELECT * FROM o ORDER BY id }}\n")
    assert "chmod 600" in project("data", "add", "o", code=2).stderr
    secrets.chmod(0o600)
    version = project.add("o")["version"]
    found = types(version)
    assert (found["at"], found["clock"], found["day"], found["doc"]) == ("timestamp", "timestamp", "timestamp", "string")
    assert (found["ok"], found["price"], found["other"]) == ("boolean" if kind == "postgres" else found["ok"], "number", "number")
    import pyarrow.parquet
    project("data", "get", "o", "out.parquet")
    table = pyarrow.parquet.read_table(project.folder / "out.parquet")
    first = table.to_pylist()[0]
    assert str(first["price"]) == "1234.500"
    assert first["at"].isoformat() == "2013-01-01T10:00:00+00:00"
    assert first["clock"].isoformat() == "2013-01-01T12:00:00.123456"
    assert first["raw"] == b"\x00\xff" and first["name"] == "é" and json.loads(first["doc"]) == {"a": [1, None]}
    assert first["big"] == (9007199254740993 if kind == "postgres" else 18446744073709551615)
    assert all(value is None for name, value in table.to_pylist()[1].items() if name != "id")
    assert project.add("o")["outcome"] == "unchanged"
    for query, part in [
        ("SELECT absent FROM o", "absent"),
        ("DELETE FROM o", ""),
        ("SELECT 1 AS a, 2 AS a", "two columns named `a`"),
    ]:
        project.declare(f"  o: {{ source: \"{address}\", query: {json.dumps(query)} }}\n")
        error = project("data", "add", "o", code=2).stderr
        assert part in error and "hush" not in error
    assert "2" in sql("SELECT count(*) FROM o").stdout
    secrets.write_text("DB_PASSWORD=hush-wrong/2\n")
    project.declare(f"  o: {{ source: \"{address}\", query: SELECT 1 AS a }}\n")
    assert "hush" not in project("data", "add", "o", code=8).stderr
    project.nowhere("hush-hush/1", "hush-hush%2F1", "hush-wrong/2")


@pytest.mark.service
@pytest.mark.parametrize("kind", ["postgres", "mysql"])
def test_a_large_query_needs_no_memory_for_its_rows(kind, request, tmp_path):
    address, sql = request.getfixturevalue(kind)
    series = {
        "postgres": "CREATE TABLE n AS SELECT g AS id, repeat(md5(g::text), 20) AS t FROM generate_series(1, 400000) g;",
        "mysql": "CREATE TABLE n AS SELECT seq AS id, repeat(md5(seq), 20) AS t FROM seq_1_to_400000;",
    }
    done = sql(series[kind])
    assert done.returncode == 0, done.stderr
    project = Project(tmp_path / "p", {"DB_PASSWORD": "hush-hush/1"})
    project.declare(f"  n: {{ source: \"{address}\", query: SELECT * FROM n ORDER BY id }}\n")
    # Its own peak: a child of a small process, because a process begins with the peak of the one that
    # started it, which is here the whole test run's.
    measured = subprocess.run(
        [sys.executable, "-c", "import resource, subprocess, sys\n"
         "code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode\n"
         "print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)", RONDO, "data", "add", "n"],
        cwd=project.folder, env=project.env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    code, kilobytes = map(int, measured.stdout.split())
    assert code == 0, measured.stderr
    assert project.add("n")["version"]["rows"] == 400_000
    peak = kilobytes / 1024
    assert peak < 250, f"{peak} MB for 256 MB of rows"
