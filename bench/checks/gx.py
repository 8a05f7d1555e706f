#!/usr/bin/env python3
"""Great Expectations on the suite and the file: what it answers, and what it takes."""

import json
import logging
import os
import resource
import sys
import time

os.environ.setdefault("GX_ANALYTICS_ENABLED", "False")


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


start = time.perf_counter()
import great_expectations as gx  # noqa: E402
import pandas as pd  # noqa: E402

logging.disable(logging.CRITICAL)
imported = cpu()
frame = pd.read_parquet(sys.argv[2])
context = gx.get_context(mode="ephemeral")
context.variables.progress_bars = {"globally": False}
asset = context.data_sources.add_pandas("p").add_dataframe_asset("a")
batch = asset.add_batch_definition_whole_dataframe("b").get_batch(batch_parameters={"dataframe": frame})
suite = gx.ExpectationSuite(name="s", expectations=json.load(open(sys.argv[1]))["expectations"])
result = batch.validate(suite)
for one in result.results:
    kind = one.expectation_config.type
    kwargs = {k: v for k, v in one.expectation_config.kwargs.items() if k in ("column", "column_list")}
    print("ok  " if one.success else "FAIL", kind, kwargs)
print(f"import {imported:.2f} CPU s, all {cpu():.2f} CPU s, {time.perf_counter() - start:.2f} s,"
      f" {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB", file=sys.stderr)
