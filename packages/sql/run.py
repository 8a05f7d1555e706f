"""Runs a script of SQL statements in a fresh in-memory DuckDB database."""

import argparse
import json
import os
import re
import sys
from pathlib import Path

# The schema of the inputs: behind the script's own, so that it may call a table of its own by the same name.
INPUTS = "rondo_inputs"
READERS = {".parquet": "read_parquet", ".csv": "read_csv", ".tsv": "read_csv", ".json": "read_json",
           ".jsonl": "read_json", ".ndjson": "read_json"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--script", type=Path, required=True, help="the SQL, values already put in")
    parser.add_argument("--threads", type=int, default=1, help="how many threads may work")
    parser.add_argument("--memory", type=int, help="memory limit in bytes")
    parser.add_argument("--temporary", type=Path, help="folder for what does not fit into memory")
    return parser.parse_args()


def inputs():
    """The step's inputs that are tables: name, reader and files."""
    file = os.environ.get("RONDO_STEP_FILE")
    given = json.loads(Path(file).read_text(encoding="utf-8")).get("inputs", {}) if file else {}
    for name, place in given.items():
        path = Path(place)
        files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
        reader = READERS.get(files[0].suffix.lower()) if files else None
        if reader:
            yield name, reader, files


def said(file):
    """What the first line of delimited text says of its delimiter for Excel, `sep=;`, for the reader."""
    with file.open("rb") as text:
        head = text.read(len(b"\xef\xbb\xbfsep=;\r\n"))
    found = re.match(rb"(?:\xef\xbb\xbf)?sep=([^0-9A-Za-z\"\r\n\x80-\xff])(?:[\r\n]|$)", head, re.IGNORECASE)
    return f", delim = {literal(found[1].decode())}, skip = 1" if found else ""


def literal(text):
    return "'" + str(text).replace("'", "''") + "'"


def name_inputs(connection, duckdb, script):
    """Makes a view of each input that the script names; the names of all of them."""
    known = []
    connection.execute(f"CREATE SCHEMA {INPUTS}")
    for name, reader, files in inputs():
        known.append(name)
        if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", script, re.IGNORECASE):
            continue
        listed = ", ".join(literal(file) for file in files)
        options = said(files[0]) if reader == "read_csv" else ""
        quoted = '"' + name.replace('"', '""') + '"'
        try:
            connection.execute(f"CREATE VIEW {INPUTS}.{quoted} AS SELECT * FROM {reader}([{listed}]{options})")
        except duckdb.Error:
            # What is wrong with it is told where the script reads it, if it does.
            pass
    connection.execute(f"SET search_path = 'main,{INPUTS}'")
    return known


def main():
    options = arguments()
    try:
        import duckdb
    except ImportError as error:
        sys.exit(f"the environment of this step has no DuckDB ({error}): add `duckdb` to its requirements")

    connection = duckdb.connect(":memory:")
    connection.execute(f"SET threads = {options.threads}")
    connection.execute("SET preserve_insertion_order = true")
    connection.execute("SET TimeZone = 'UTC'")
    if options.memory:
        connection.execute(f"SET memory_limit = '{options.memory // 1_000_000}MB'")
    if options.temporary:
        connection.execute(f"SET temp_directory = {literal(options.temporary)}")

    script = options.script.read_text(encoding="utf-8")
    known = name_inputs(connection, duckdb, script)
    try:
        statements = connection.extract_statements(script)
    except duckdb.Error as error:
        sys.exit(str(error))
    for number, statement in enumerate(statements, start=1):
        try:
            result = connection.execute(statement)
        except duckdb.Error as error:
            lines = [line for line in statement.query.strip().splitlines() if not line.startswith("--")]
            first = lines[0] if lines else ""
            hint = ""
            if isinstance(error, duckdb.CatalogException) and "Table with name" in str(error) and known:
                hint = f"\nthe step's inputs are tables by their names: {', '.join(known)}"
            sys.exit(f"statement {number} of {len(statements)}, `{first}`: {error}{hint}")
    # What the last statement selects, if it selects anything, is for the log.
    if statements and result.description and statements[-1].type == duckdb.StatementType.SELECT:
        for row in result.fetchmany(20):
            print(*row, sep="\t")


if __name__ == "__main__":
    main()
