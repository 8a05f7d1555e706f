#!/usr/bin/env python3
"""Writes the suite of 30 expectations that both sides run, in the JSON of Great Expectations."""

import json
import sys

NUM = [f"num_{i:02d}" for i in range(12)]
CAT = [f"cat_{i:02d}" for i in range(8)]


def suite():
    def e(kind, /, **kwargs):
        return {"type": kind, "kwargs": kwargs, "severity": "critical"}

    return [
        e("expect_table_row_count_to_be_between", min_value=1, max_value=10**9),
        e("expect_table_column_count_to_equal", value=20),
        e("expect_table_columns_to_match_set", column_set=NUM + CAT),
        e("expect_column_to_exist", column="cat_03"),
        e("expect_column_values_to_be_of_type", column="num_09", type_="int64"),
        e("expect_column_values_to_not_be_null", column="num_00"),
        e("expect_column_values_to_not_be_null", column="num_06", mostly=0.9),
        e("expect_column_values_to_be_between", column="num_00", min_value=-10, max_value=10),
        e("expect_column_values_to_be_between", column="num_04", min_value=-5, max_value=5),
        e("expect_column_values_to_be_between", column="num_09", min_value=0, max_value=60),
        e("expect_column_min_to_be_between", column="num_02", min_value=0, max_value=1),
        e("expect_column_max_to_be_between", column="num_02", min_value=100, max_value=10**6),
        e("expect_column_mean_to_be_between", column="num_01", min_value=-0.1, max_value=0.1),
        e("expect_column_median_to_be_between", column="num_03", min_value=9.9, max_value=10.1),
        e("expect_column_stdev_to_be_between", column="num_03", min_value=0.9, max_value=1.1),
        e("expect_column_sum_to_be_between", column="num_10", min_value=0, max_value=10**9),
        e("expect_column_quantile_values_to_be_between", column="num_06",
          quantile_ranges={"quantiles": [0.25, 0.5, 0.75],
                           "value_ranges": [[0.5, 0.7], [1.3, 1.5], [2.6, 2.9]]}),
        e("expect_column_values_to_be_in_set", column="cat_02", value_set=[f"lvl_{i:02d}" for i in range(10)]),
        e("expect_column_values_to_not_be_in_set", column="cat_03", value_set=["lvl_77"]),
        e("expect_column_distinct_values_to_be_in_set", column="cat_04", value_set=[f"k{i}" for i in range(6)]),
        e("expect_column_distinct_values_to_equal_set", column="cat_00", value_set=["b0", "b1"]),
        e("expect_column_values_to_match_regex", column="cat_05", regex=r"^city_\d{4}$"),
        e("expect_column_values_to_not_match_regex", column="cat_06", regex="x"),
        e("expect_column_value_lengths_to_be_between", column="cat_07", min_value=5, max_value=20),
        e("expect_column_value_lengths_to_equal", column="cat_01", value=2),
        e("expect_column_unique_value_count_to_be_between", column="cat_06", min_value=50, max_value=150),
        e("expect_column_proportion_of_unique_values_to_be_between", column="cat_05", max_value=0.5),
        e("expect_column_values_to_be_unique", column="cat_07"),
        e("expect_compound_columns_to_be_unique", column_list=["cat_07", "num_00"]),
        e("expect_column_pair_values_a_to_be_greater_than_b", column_A="num_02", column_B="num_00"),
    ]


json.dump({"name": "bench", "expectations": suite()}, open(sys.argv[1], "w"), indent=1)
