"""Some weeks of traffic for the endpoint of a new project: Fisher's flowers, measured again and again."""

import csv
import json
import urllib.error
import urllib.request
from datetime import datetime, timedelta, timezone

FIRST = datetime(2024, 1, 29, tzinfo=timezone.utc)
COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
DAYS = 42
# A window of fewer than a hundred rows is not compared with the reference.
A_DAY = 120


def post(url, body):
    request = urllib.request.Request(
        url, data=json.dumps(body).encode(), headers={"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{url}: {error.code} {error.read().decode()}") from error


def stamp(moment):
    return moment.isoformat().replace("+00:00", "Z")


def send(listen, table):
    """Six weeks of flowers, the truth a day later. From the fourth week on the flowers are
    measured a little too long, so that the columns drift."""
    with open(table, newline="") as file:
        flowers = list(csv.DictReader(file))
    endpoint = f"{listen}/api/v1/endpoints/iris"
    for day in range(DAYS):
        at = FIRST + timedelta(days=day)
        records, truths = [], []
        for place in range(A_DAY):
            flower = flowers[(day * 11 + place * 7) % len(flowers)]
            longer = 0.4 if day >= 21 else 0.0
            record = {column: float(flower[column]) + longer for column in COLUMNS}
            name = f"day-{day}-flower-{place}"
            records.append({**record, "prediction_id": name, "event_time": stamp(at + timedelta(minutes=place))})
            truths.append({
                "prediction_id": name, "label": float(flower["species"] == "virginica"),
                "event_time": stamp(at + timedelta(days=1)),
            })
        answered = post(f"{endpoint}/predict", {"records": records})["predictions"]
        assert [one["prediction_id"] for one in answered] == [one["prediction_id"] for one in records]
        assert post(f"{endpoint}/truth", {"truths": truths})["acknowledged"] == len(truths)
        post(f"{endpoint}/advance", {"event_time": stamp(at + timedelta(days=1))})
    return DAYS * A_DAY
