"""Preparation as a user meets it: SQL over versions, differences by key, leakage, datasheets."""

import json
import random

import pytest

from conftest import Rondo

PROJECT = """\
project: prep
data:
  flights:
    source: flights.csv
    key: [id]
    description: Departures of a small airport.
    checks:
      - { column: id, not_null: true }
    datasheet:
      motivation: { purpose: To try preparation. }
"""


def rows(count, late=0, begin=0):
    chance = random.Random(7)
    lines = ["id,carrier,delay,day"]
    for number in range(count):
        delay = "NA" if number == 5 else round(chance.gauss(0, 10) + late, 3)
        lines.append(f"{number + begin},{chance.choice(['AA', 'UA', 'B6'])},{delay},2024-01-{number % 28 + 1:02}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def rondo(tmp_path_factory):
    """A project with two versions of one dataset."""
    folder = tmp_path_factory.mktemp("prep")
    (folder / "rondo.yaml").write_text(PROJECT)
    rondo = Rondo(folder)
    (folder / "flights.csv").write_text(rows(300))
    rondo("data", "add", "flights")
    changed = rows(300).splitlines()
    changed[1] = changed[1].replace(",2024-01-01", ",2024-02-01")
    changed[2] = "1,ZZ,99.5,2024-01-02"
    del changed[10]
    changed += ["900,AA,1.5,2024-01-01", "901,UA,,2024-01-02"]
    (folder / "flights.csv").write_text("\n".join(changed) + "\n")
    rondo("data", "add", "flights")
    return rondo


def test_names_are_tables_and_versions_are_quoted_names(rondo):
    found = rondo.json(
        "data", "sql",
        'select (select count(*) from flights) as now, (select count(*) from "flights@1") as then, '
        '(select count(*) from "flights@previous" where delay is null) as missing',
    )
    assert found["rows"] == [{"now": 301, "then": 300, "missing": 1}]
    assert found["rows_total"] == 1 and found["complete"]
    assert set(found["tables"]) == {"flights", "flights@1", "flights@previous"}
    assert found["columns"][0] == {"name": "now", "type": "BIGINT"}


def test_long_answers_are_cut_and_said_to_be(rondo):
    shown = rondo("data", "sql", "select id, day from flights order by id").stdout
    assert "the first 40 of 301 rows" in shown and len(shown.splitlines()) == 42
    every = rondo("data", "sql", "select id from flights order by id", "--csv").stdout.split()
    assert len(every) == 302 and every[0] == "id" and every[-1] == "901"
    rondo("data", "sql", "select carrier, sum(id) as s from flights group by carrier", "-o", "sums.parquet")
    sums = rondo.json("data", "sql", "select sum(s) as s, count(*) as n from 'sums.parquet'")["rows"][0]
    assert sums["n"] == 4 and sums["s"] == sum(range(300)) - 9 + 900 + 901
    rondo("data", "sql", "select * from sums.parquet", code=2)


def test_a_statement_reads_its_tables_and_nothing_else(rondo, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    for statement in [
        f"select * from read_text('{tmp_path}' || '/secret')",
        "select * from glob('/etc/*')",
        f"copy flights to '{tmp_path}/out.csv'",
        f"attach '{tmp_path}/x.db'",
        "install httpfs",
        "set memory_limit = '1GB'",
        "create table t as select 1",
        "select 1; select 2",
        "explain analyze select 1",
    ]:
        refused = rondo("data", "sql", statement, code=2)
        assert "hidden" not in refused.stdout + refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_the_engine_says_what_is_wrong_and_where(rondo):
    error = rondo.json("data", "sql", "select delai from flights", code=2)["error"]
    assert error["code"] == "sql-invalid" and "delai" in error["message"] and "delay" in error["message"]
    assert "LINE 1" in error["message"]
    error = rondo.json("data", "sql", "select * from flights@1", code=2)["error"]
    assert error["hints"] == ['write a version in double quotes: "flights@1"']
    assert rondo.json("data", "sql", 'select * from "flights@9"', code=3)["error"]["code"] == "dataset-not-found"


def test_files_need_no_project(tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n2\n")
    (tmp_path / "b.csv").write_text("x\n3\nNA\n")
    found = Rondo(tmp_path).json("data", "sql", "select count(*) as n, sum(x) as s from '*.csv'")
    assert found["rows"] == [{"n": 4, "s": 6}]
    (tmp_path / "c.csv").write_text('sep=;\nname;x\n"a,b";1\nc;2\n')
    found = Rondo(tmp_path).json("data", "sql", "select sum(x) as s, min(name) as name from 'c.csv'")
    assert found["rows"] == [{"s": 3, "name": "a,b"}]
    (tmp_path / "q.sql").write_text("select 1 as one, [1, 2] as list, date '2024-01-02' as day")
    found = Rondo(tmp_path).json("data", "sql", "--file", "q.sql")
    assert found["rows"] == [{"one": 1, "list": "[1, 2]", "day": "2024-01-02"}]


def test_versions_differ_by_key_and_cell(rondo, tmp_path):
    diff = rondo.json("data", "diff", "flights", "1", "2", "--html", str(tmp_path / "diff.html"))["diff"]
    found = diff["rows"]
    assert found["key"] == ["id"]
    assert [found[name] for name in ["before", "after", "added", "removed", "changed"]] == [300, 301, 2, 1, 2]
    cells = {cell["column"]: cell for cell in found["cells"]}
    assert {name: cell["changed"] for name, cell in cells.items()} == {"carrier": 1, "delay": 1, "day": 1}
    assert cells["carrier"]["samples"][0]["key"] == {"id": 1} and cells["carrier"]["samples"][0]["to"] == "ZZ"
    page = (tmp_path / "diff.html").read_text()
    assert "<script" not in page and "https://" not in page and "ZZ" in page
    same = rondo.json("data", "diff", "flights@2", "flights@2")["diff"]
    assert "rows" not in same or same["rows"]["changed"] == 0
    assert "drift" in rondo.json("data", "diff", "flights", "--no-rows")["diff"]


def test_files_of_two_forms_are_compared(rondo, tmp_path):
    (tmp_path / "a.csv").write_text("id,x,old\n1,1,a\n2,2,b\n3,3,a\n")
    here = Rondo(tmp_path)
    here("data", "sql", "select x * 1.0 as x, old as fresh, id from 'a.csv' where id > 1", "-o", "b.parquet")
    diff = here.json("data", "diff", "a.csv", "b.parquet", "--key", "id", "--fail-on-change", code=6)
    diff = diff["diff"]
    assert (diff["rows"]["removed"], diff["rows"]["changed"]) == (1, 0)
    changes = {change["change"] for change in diff["schema"]}
    assert {"type", "reordered"} <= changes
    here("data", "diff", "a.csv", "a.csv", "--rows", "--fail-on-change")
    assert here.json("data", "diff", "a.csv", "b.parquet", "--key", "idd", code=3)["error"]["hints"]


def test_leakage_is_found_and_named(tmp_path):
    here = Rondo(tmp_path)
    chance = random.Random(1)

    def table(name, ids, team):
        lines = ["id,team,x,tell,y"]
        for number in ids:
            y = chance.randrange(2)
            lines.append(f"{number},{team(number)},{chance.random():.9f},{y * 10 + chance.random():.6f},{y}")
        (tmp_path / name).write_text("\n".join(lines) + "\n")

    table("train.csv", range(400), lambda number: f"t{number % 20}")
    table("test.csv", range(400, 500), lambda number: f"u{number % 5}")
    given = ["data", "leakage", "train.csv", "test.csv", "--target", "y", "--group", "team", "--key", "id"]
    failed = here.json(*given, code=6)
    assert failed["error"]["code"] == "leakage-found"
    checks = {check["check"]: check for check in failed["report"]["checks"]}
    assert checks["feature_label_correlation"]["columns"][0]["column"] == "tell"
    assert checks["group_train_test_leakage"]["state"] == "passed"
    clean = here.json(*given, "--ignore", "tell")
    assert clean["passed"]
    here("data", "leakage", "train.csv", "train.csv", "--key", "id", code=6)
    here("data", "leakage", "train.csv", "test.csv", "--target", "z", code=3)


def test_a_datasheet_is_filled_and_its_blanks_are_named(rondo):
    sheet = rondo.json("data", "datasheet", "flights")["datasheet"]
    assert sheet["questions"] == 50 and sheet["filled"] + len(sheet["blank"]) == 50
    fields = {field["id"]: field for part in sheet["parts"] for field in part["fields"]}
    assert fields["motivation.purpose"]["answer"] == "To try preparation."
    assert fields["composition.count"]["facts"][0].startswith("301 rows, 4 columns")
    assert "motivation.funding" in sheet["blank"]
    told = rondo("data", "datasheet", "flights", "-o", "SHEET.md", "--html", "sheet.html", "--complete", code=6)
    assert "motivation.funding" in told.stderr
    text = (rondo.folder / "SHEET.md").read_text()
    (rondo.folder / "SHEET.md").write_text(text.replace(
        "`motivation.funding`\n\n_blank_", "`motivation.funding`\n\nNobody paid."))
    project = (rondo.folder / "rondo.yaml").read_text()
    begin = project.index("    datasheet:")
    (rondo.folder / "rondo.yaml").write_text(project[:begin] + "    datasheet: SHEET.md\n")
    again = rondo.json("data", "datasheet", "flights")["datasheet"]
    answers = {field["id"]: field.get("answer") for part in again["parts"] for field in part["fields"]}
    assert answers["motivation.funding"] == "Nobody paid."
    assert answers["motivation.purpose"] == "To try preparation."
    assert again["filled"] == sheet["filled"] + 1
    (rondo.folder / "rondo.yaml").write_text(project)
    assert json.dumps(again)
