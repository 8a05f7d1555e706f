"""Runs a script of SQL statements in a fresh in-memory DuckDB database."""

import argparse
import sys
from pathlib import Path


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--script", type=Path, required=True, help="the SQL, values already put in")
    parser.add_argument("--threads", type=int, default=1, help="how many threads may work")
    parser.add_argument("--memory", type=int, help="memory limit in bytes")
    parser.add_argument("--temporary", type=Path, help="folder for what does not fit into memory")
    return parser.parse_args()


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
        folder = str(options.temporary).replace("'", "''")
        connection.execute(f"SET temp_directory = '{folder}'")

    script = options.script.read_text(encoding="utf-8")
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
            sys.exit(f"statement {number} of {len(statements)}, `{first}`: {error}")
    # What the last statement selects, if it selects anything, is for the log.
    if statements and result.description and statements[-1].type == duckdb.StatementType.SELECT:
        for row in result.fetchmany(20):
            print(*row, sep="\t")


if __name__ == "__main__":
    main()
