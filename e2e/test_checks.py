"""Checks as a user meets them: suites, standard names, proposals, reports, exit codes, recorded runs."""

import json
import re
import xml.etree.ElementTree as ET

import pytest

CSV = "id,carrier,delay\n" + "".join(f"{n},{'AA' if n % 3 else 'B6'},{n % 40}\n" for n in range(1, 201))


def suite(folder, rules, name="checks.yaml"):
    (folder / name).write_text(json.dumps(rules))
    return name


def test_a_file_is_checked_and_what_fails_is_written(copy):
    (copy.folder / "t.csv").write_text(CSV)
    gx = {"name": "s", "expectations": [
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "delay", "max_value": 38}},
        {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "id"}, "severity": "critical"},
        {"type": "expect_column_values_to_be_in_set",
         "kwargs": {"column": "carrier", "value_set": ["AA"]}, "severity": "warning"},
    ]}
    name = suite(copy.folder, gx, "suite.json")
    found = copy.json("data", "check", "t.csv", "--suite", name, "--junit", "j.xml", "--html", "r.html",
                      "--failing", "bad.csv", "--limit", "3", code=6)
    rules = found["reports"][0]["rules"]
    assert [rule["passed"] for rule in rules] == [False, True, False]
    assert rules[0]["unexpected_count"] == 5 and rules[0]["sample"][0]["row"] == 39
    tree = ET.parse(copy.folder / "j.xml").getroot()
    assert (tree.get("tests"), tree.get("failures")) == ("3", "1")
    lines = (copy.folder / "bad.csv").read_text().splitlines()
    assert lines[0] == "_row,_broken,id,carrier,delay" and len(lines) == 4
    page = (copy.folder / "r.html").read_text()
    # Nothing is loaded from anywhere.
    assert "failed" in page and not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page)


def test_warnings_do_not_fail_and_conditions_and_slices_are_told(copy):
    (copy.folder / "t.csv").write_text(CSV)
    name = suite(copy.folder, [
        {"column": "delay", "max": {"max": 10}, "severity": "warning"},
        {"column": "delay", "between": [0, 40], "where": "carrier == 'AA'", "by": "carrier"},
    ])
    found = copy.json("data", "check", "t.csv", "--suite", name)
    assert found["passed"] and [rule.get("slice") for rule in found["reports"][0]["rules"]] == [
        None, "carrier = AA", "carrier = B6"]


def test_checks_are_proposed_put_into_the_project_and_hold(copy):
    (copy.folder / "t.csv").write_text(CSV)
    copy("data", "add", "t.csv", "--name", "table")
    text = copy("data", "check", "table", "--infer").stdout
    assert "in_set" in text and text == copy("data", "check", "table", "--infer").stdout
    copy("data", "check", "table", "--infer", "--write")
    assert "checks:" in (copy.folder / "rondo.yaml").read_text()
    found = copy.json("data", "check", "table")
    assert found["passed"] and len(found["run"]) == 32
    assert any(run["name"] == "check table" for run in _runs(copy)) or found["run"]


def _runs(rondo):
    listed = rondo.json("runs", "list")
    return listed.get("runs", []) if isinstance(listed, dict) else listed


@pytest.mark.service
def test_rules_in_sql_are_asked_of_the_engine(copy):
    """Needs the engine that the project's `sql` package provides."""
    (copy.folder / "t.csv").write_text(CSV)
    copy("data", "add", "t.csv", "--name", "table")
    name = suite(copy.folder, [{"sql": "select * from data where delay > 38"}])
    found = copy.json("data", "check", "table", "--suite", name, code=6)
    rule = found["reports"][0]["rules"][0]
    assert rule["unexpected_count"] == 5 and rule["sample"][0]["value"]["delay"] == 39
