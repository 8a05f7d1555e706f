"""Keeps the rows of a CSV whose number is at least a threshold."""

import csv
import json
import os
import sys
import urllib.request


def main():
    column, least = os.environ["RONDO_PARAM_COLUMN"], float(os.environ["RONDO_PARAM_MIN"])
    with open(os.environ["RONDO_INPUT_ROWS"], newline="") as file:
        reader = csv.DictReader(file)
        if column not in reader.fieldnames:
            sys.exit(f"there is no column `{column}`: there are {', '.join(reader.fieldnames)}")
        names, rows = reader.fieldnames, [row for row in reader if float(row[column]) >= least]
    with open(os.environ["RONDO_OUTPUT_KEPT"], "w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    log_metric("kept", len(rows))


def log_metric(name, value):
    """What `mlflow.log_metric` does, without having to install it."""
    server = os.environ["MLFLOW_TRACKING_URI"]
    metric = {"run_id": os.environ["MLFLOW_RUN_ID"], "key": name, "value": value, "timestamp": 0}
    headers = {"Content-Type": "application/json"}
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    address = f"{server}/api/2.0/mlflow/runs/log-metric"
    urllib.request.urlopen(urllib.request.Request(address, json.dumps(metric).encode(), headers))


if __name__ == "__main__":
    main()
