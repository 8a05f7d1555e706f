"""The loop's events, always the same ones: `python events.py events.csv WEEKS`.

Three numbers an event; what decides is their part along a direction that turns by 9 degrees a week.
"""

import csv
import math
import random
import sys
from datetime import datetime, timedelta

BEGIN = datetime(2024, 1, 1)
A_WEEK = 350
TURN = math.radians(9)


def events(weeks):
    source = random.Random(20240101)
    step = timedelta(weeks=1) / A_WEEK
    for number in range(weeks * A_WEEK):
        week = number / A_WEEK
        x, y, z = (source.gauss(0, 1) for _ in range(3))
        along = x * math.cos(TURN * week) + y * math.sin(TURN * week)
        hit = source.random() < 1 / (1 + math.exp(-6 * along))
        at = (BEGIN + step * number).replace(microsecond=0)
        yield [f"e{number:05}", at.isoformat(), f"{x:.4f}", f"{y:.4f}", f"{z:.4f}", int(hit)]


if __name__ == "__main__":
    with open(sys.argv[1], "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["event", "at", "x", "y", "z", "hit"])
        table.writerows(events(int(sys.argv[2])))
