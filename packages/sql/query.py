"""Answers one SELECT over named tables with a fresh in-memory DuckDB, and writes the rows as Parquet.

What it does is told by a JSON file; what came of it is another one beside it. The statement sees the named
tables and nothing else: other files, the network, extensions and the settings are closed to it before it runs.
"""

import json
import sys
from pathlib import Path

# The types that every reader of Parquet knows; others are written as text where plain values are asked for.
PLAIN = {
    "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "FLOAT",
    "DOUBLE", "VARCHAR", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_S", "TIMESTAMP_MS",
}
# What Rondo calls the types of a text file's columns.
TYPES = {"integer": "BIGINT", "number": "DOUBLE", "boolean": "BOOLEAN", "string": "VARCHAR"}


class Refused(Exception):
    """The statement is none that can be answered."""


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def literal(text):
    return "'" + str(text).replace("'", "''") + "'"


def listed(items):
    return "[" + ", ".join(literal(item) for item in items) + "]"


def source(table):
    """The expression that reads a table's files."""
    files = listed(table["files"])
    if table["format"] == "parquet":
        return f"read_parquet({files})"
    if table["format"] == "json":
        return f"read_json({files}, format = 'auto', maximum_object_size = 268435456)"
    options = ["header = " + ("true" if table.get("header", True) else "false")]
    options.append(f"nullstr = {listed(table.get('null_words', ['']))}")
    if table.get("delimiter"):
        options.append(f"delim = {literal(table['delimiter'])}")
    known = {name: TYPES[kind] for name, kind in table.get("types", {}).items() if kind in TYPES}
    if known:
        types = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in known.items())
        options.append(f"types = {{{types}}}")
    return f"read_csv({files}, {', '.join(options)})"


def opened(duckdb, order):
    """A database with the named tables, and with everything else closed."""
    connection = duckdb.connect(":memory:")
    run = connection.execute
    run(f"SET threads = {int(order['threads'])}")
    run(f"SET memory_limit = '{int(order['memory']) // 1_000_000}MB'")
    run(f"SET temp_directory = {literal(order['temporary'])}")
    run("SET TimeZone = 'UTC'")
    run("SET autoinstall_known_extensions = false")
    run("SET autoload_known_extensions = false")
    files = [str(Path(file).absolute()) for table in order["tables"].values() for file in table["files"]]
    run(f"SET allowed_paths = {listed(files + order.get('readable', []))}")
    folder = Path(order["output"]).parent
    run(f"SET allowed_directories = {listed([str(folder) + '/'])}")
    run("SET enable_external_access = false")
    for name, table in order["tables"].items():
        # Names are the same in capitals and without.
        run(f"CREATE OR REPLACE VIEW {quoted(name)} AS SELECT * FROM {source(table)}")
    run("SET lock_configuration = true")
    return connection


def only(duckdb, connection, text):
    """The statement, where it is one SELECT."""
    statements = connection.extract_statements(text)
    if len(statements) != 1:
        what = "there is no statement" if not statements else f"there are {len(statements)} statements"
        raise Refused(f"{what}: one SELECT is answered at a time")
    if statements[0].type != duckdb.StatementType.SELECT:
        kind = statements[0].type.name
        raise Refused(f"it is {kind}: only SELECT is answered, which changes nothing")
    return statements[0].query.strip()


def columns_of(relation, plain, whole):
    """The result's columns as expressions. Sums of whole numbers stay whole numbers where that goes."""
    expressions, changed = [], False
    for name, kind in zip(relation.columns, map(str, relation.types)):
        wanted = None
        if kind in ("HUGEINT", "UHUGEINT", "UBIGINT"):
            wanted = "BIGINT" if whole else "DOUBLE"
        elif plain and kind.split("(")[0] not in PLAIN | {"DECIMAL"}:
            wanted = "VARCHAR"
        changed = changed or wanted is not None
        column = quoted(name)
        expressions.append(f"CAST({column} AS {wanted}) AS {column}" if wanted else column)
    return ", ".join(expressions) if changed else None


def unique(names):
    """Names without two alike: no file of columns can have them."""
    seen, result = set(), []
    for name in names:
        candidate, number = name, 1
        while candidate.lower() in seen:
            candidate, number = f"{name}_{number}", number + 1
        seen.add(candidate.lower())
        result.append(candidate)
    return result


def answer(duckdb, connection, order):
    statement = only(duckdb, connection, order["statement"])
    try:
        relation = connection.sql(statement)
    except (duckdb.BinderException, duckdb.CatalogException):
        # Said so, the place in the statement is named too.
        connection.execute(connection.extract_statements(statement)[0])
        raise
    names = unique(relation.columns)
    if names != list(relation.columns):
        columns = ", ".join(quoted(name) for name in names)
        bare = statement.rstrip().rstrip(";")
        relation = connection.sql(f"SELECT * FROM (\n{bare}\n) AS result({columns})")
    types = [str(kind) for kind in relation.types]
    for whole in (True, False):
        wanted = columns_of(relation, order["plain"], whole)
        result = relation.project(wanted) if wanted else relation
        try:
            result.write_parquet(order["output"], compression="snappy")
            break
        except (duckdb.ConversionException, duckdb.OutOfRangeException) as error:
            if not whole or not wanted or "INT64" not in str(error):
                raise
    return {"columns": [{"name": name, "type": kind} for name, kind in zip(names, types)]}


def main():
    place = Path(sys.argv[1])
    order = json.loads(place.read_text(encoding="utf-8"))
    try:
        import duckdb
    except ImportError as error:
        sys.exit(f"there is no DuckDB in this environment: {error}")
    try:
        done = answer(duckdb, opened(duckdb, order), order)
    except Refused as error:
        done = {"error": "refused", "message": str(error)}
    except duckdb.OutOfMemoryException as error:
        done = {"error": "memory", "message": str(error)}
    except (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException) as error:
        done = {"error": "statement", "message": str(error)}
    except duckdb.PermissionException as error:
        done = {"error": "permission", "message": str(error)}
    except duckdb.Error as error:
        done = {"error": "engine", "message": str(error)}
    place.with_suffix(".done.json").write_text(json.dumps(done), encoding="utf-8")


if __name__ == "__main__":
    main()
