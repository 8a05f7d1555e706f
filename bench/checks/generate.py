#!/usr/bin/env python3
"""Deterministic generator for the profiling/validation/drift bench.

usage: generate.py OUT_DIR [ROWS ...]        (default rows: 100000 1000000)
needs: numpy, pyarrow
writes OUT_DIR/ref_<rows>.parquet and OUT_DIR/cur_<rows>.parquet (snappy, 128k-row groups).

20 columns: num_00..num_11 (12 numeric), cat_00..cat_07 (8 string).
Drift injected in cur (ground truth): see TRUTH; printed as JSON.
"""
import json, sys, os
import numpy as np, pyarrow as pa, pyarrow.parquet as pq

TRUTH = {
    "num_00": "none (N(0,1))",
    "num_01": "mean shift +0.5 sd",
    "num_02": "none (lognormal, heavy tail)",
    "num_03": "scale x1.5",
    "num_04": "none (uniform)",
    "num_05": "small mean shift +0.02 sd (significant by KS at 1M rows, not material)",
    "num_06": "none (exponential), 5% nulls in both",
    "num_07": "null rate 1% -> 20%, values unchanged",
    "num_08": "unimodal -> bimodal, same mean and variance",
    "num_09": "none (Poisson integer, int64)",
    "num_10": "none (5-valued integer, int64: treated as categorical by Evidently)",
    "num_11": "correlated with num_00 (r=0.9) -> independent; marginal unchanged",
    "cat_00": "none (binary, p=0.3)",
    "cat_01": "binary p 0.5 -> 0.6",
    "cat_02": "none (10 levels, zipf)",
    "cat_03": "10 levels, weights changed",
    "cat_04": "new category in cur, 2%",
    "cat_05": "none (1000 levels)",
    "cat_06": "none (100 levels, 3% nulls)",
    "cat_07": "near-unique id-like string (rows/2 levels), none",
}

def zipf(k, s=1.0):
    w = 1.0 / np.arange(1, k + 1) ** s
    return w / w.sum()

def strs(prefix, codes, width):
    # dictionary of strings, decoded so that readers see plain utf8
    levels = pa.array([f"{prefix}{i:0{width}d}" for i in range(int(codes.max()) + 1)])
    return levels.take(pa.array(codes))

def nulls(arr, rng, rate, n):
    m = rng.random(n) < rate
    return pa.array(arr, mask=m)

def make(n, cur, seed):
    r = np.random.default_rng(seed)
    c = {}
    z0 = r.standard_normal(n)
    c["num_00"] = pa.array(z0)
    c["num_01"] = pa.array(r.standard_normal(n) + (0.5 if cur else 0.0))
    c["num_02"] = pa.array(r.lognormal(3.0, 1.0, n))
    c["num_03"] = pa.array(r.standard_normal(n) * (1.5 if cur else 1.0) + 10)
    c["num_04"] = pa.array(r.uniform(-5, 5, n))
    c["num_05"] = pa.array(r.standard_normal(n) + (0.02 if cur else 0.0))
    c["num_06"] = nulls(r.exponential(2.0, n), r, 0.05, n)
    c["num_07"] = nulls(r.gamma(2.0, 2.0, n), r, 0.20 if cur else 0.01, n)
    if cur:
        c["num_08"] = pa.array(np.where(r.random(n) < 0.5, -0.9, 0.9) + r.standard_normal(n) * np.sqrt(1 - 0.81))
    else:
        c["num_08"] = pa.array(r.standard_normal(n))
    c["num_09"] = pa.array(r.poisson(20, n).astype("int64"))
    c["num_10"] = pa.array(r.integers(1, 6, n).astype("int64"))
    e = r.standard_normal(n)
    c["num_11"] = pa.array(e if cur else 0.9 * z0 + np.sqrt(1 - 0.81) * e)
    c["cat_00"] = strs("b", (r.random(n) < 0.3).astype("int64"), 1)
    c["cat_01"] = strs("b", (r.random(n) < (0.6 if cur else 0.5)).astype("int64"), 1)
    c["cat_02"] = strs("lvl_", r.choice(10, n, p=zipf(10)), 2)
    w = zipf(10)
    c["cat_03"] = strs("lvl_", r.choice(10, n, p=w[::-1] if cur else w), 2)
    x = r.choice(6, n, p=zipf(6))
    if cur:
        x = np.where(r.random(n) < 0.02, 6, x)
    c["cat_04"] = strs("k", x, 1)
    c["cat_05"] = strs("city_", r.choice(1000, n, p=zipf(1000, 0.8)), 4)
    a = strs("g", r.integers(0, 100, n), 3)
    m = r.random(n) < 0.03
    import pyarrow.compute as pc
    c["cat_06"] = pc.if_else(pa.array(~m), a, pa.scalar(None, a.type))
    c["cat_07"] = strs("user_", r.integers(0, max(n // 2, 1), n), 8)
    return pa.table(c)

def main():
    out = sys.argv[1] if len(sys.argv) > 1 else "."
    rows = [int(x) for x in sys.argv[2:]] or [100_000, 1_000_000]
    os.makedirs(out, exist_ok=True)
    for n in rows:
        for name, cur, seed in (("ref", False, 1), ("cur", True, 2)):
            p = os.path.join(out, f"{name}_{n}.parquet")
            pq.write_table(make(n, cur, seed), p, compression="snappy", row_group_size=131072)
            print(p, os.path.getsize(p), file=sys.stderr)
    json.dump(TRUTH, open(os.path.join(out, "truth.json"), "w"), indent=1)

main()
