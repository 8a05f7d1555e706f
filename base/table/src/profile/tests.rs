//! What profiles promise.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, TimestampMillisecondArray,
};
use arrow_schema::{Field, Schema};
use proptest::prelude::*;

use super::*;
use crate::read::columns_of;

fn table(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, array)| array).collect())
        .unwrap()
}

fn profile_in(batch: &RecordBatch, rows: usize) -> Profile {
    let mut profiler = Profiler::new(&columns_of(&batch.schema()));
    for start in (0..batch.num_rows()).step_by(rows.max(1)) {
        profiler.update(&batch.slice(start, rows.min(batch.num_rows() - start))).unwrap();
    }
    profiler.finish().unwrap()
}

fn numbers(values: Vec<f64>) -> RecordBatch {
    table(vec![("x", Arc::new(Float64Array::from(values)))])
}

/// A fixed sequence that looks random: multiplicative congruential steps, in 0..1.
fn noise(count: usize) -> Vec<f64> {
    let mut state = 88_172_645_463_325_252_u64;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        })
        .collect()
}

#[test]
fn every_kind_of_column_is_counted() {
    let batch = table(vec![
        ("n", Arc::new(Int64Array::from(vec![Some(3), None, Some(-1), Some(3)]))),
        ("x", Arc::new(Float64Array::from(vec![Some(0.0), Some(f64::NAN), Some(f64::INFINITY), None]))),
        ("s", Arc::new(StringArray::from(vec![Some("b"), Some("aé"), None, Some("b")]))),
        ("ok", Arc::new(BooleanArray::from(vec![Some(true), Some(true), Some(false), None]))),
        ("empty", Arc::new(StringArray::from(vec![None::<&str>; 4]))),
    ]);
    let profile = profile_in(&batch, 3);
    let [n, x, s, ok, empty] = &profile.summary()[..] else { panic!("five columns") };
    let number = n.numbers.as_ref().unwrap();
    assert_eq!((n.count, n.nulls, number.min, number.max, number.sum), (3, 1, -1.0, 3.0, 5.0));
    assert_eq!(number.quantiles[2], 3.0);
    assert_eq!(n.distinct, Some(Distinct { count: 2, exact: true }));
    let number = x.numbers.as_ref().unwrap();
    assert_eq!((x.count, x.nulls, number.infinite, number.zeros), (2, 2, 1, 1));
    assert_eq!(s.top, [("b".to_owned(), 2), ("aé".to_owned(), 1)]);
    assert_eq!(s.lengths, Some((1, 4.0 / 3.0, 2)));
    assert_eq!(ok.top, [("true".to_owned(), 2), ("false".to_owned(), 1)]);
    assert!(empty.constant && empty.nulls == 4 && !ok.constant);
}

#[test]
fn exact_quantiles_are_those_of_numpy() {
    // numpy.quantile([1, 2, 2, 5, 9.5, -3], [0.05, 0.25, 0.5, 0.75, 0.95])
    let profile = profile_in(&numbers(vec![1.0, 2.0, 2.0, 5.0, 9.5, -3.0]), 6);
    let quantiles = profile.summary()[0].numbers.as_ref().unwrap().quantiles;
    for (found, expected) in quantiles.iter().zip([-2.0, 1.25, 2.0, 4.25, 8.375]) {
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }
}

#[test]
fn many_values_are_sketched_within_bounds() {
    let mut values = noise(60_000);
    for value in values.iter_mut().step_by(3) {
        *value = -(1.0 - *value).ln() * 20.0; // a third is exponential: a long tail
    }
    let profile = profile_in(&numbers(values.clone()), 10_000);
    let numeric = profile.columns[0].numeric.as_ref().unwrap();
    let distinct = numeric.distinct();
    assert!(!distinct.exact && (distinct.count as f64 / 60_000.0 - 1.0).abs() < 0.05, "{distinct:?}");
    values.sort_by(f64::total_cmp);
    for share in [0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999] {
        let found = numeric.quantile(share).unwrap();
        let rank = values.partition_point(|value| *value <= found) as f64 / 60_000.0;
        assert!((rank - share).abs() < 0.005, "{share} {rank}");
        let x = values[(share * 60_000.0) as usize];
        assert!((numeric.share_up_to(x) - share).abs() < 0.005);
    }
    let edges = summary::even_edges(values[0], values[59_999], 25);
    let bins = numeric.bin(&edges);
    for (bin, edge) in bins.iter().zip(edges.windows(2)) {
        let exact =
            values.iter().filter(|v| **v >= edge[0] && (**v < edge[1] || edge[1] == values[59_999])).count();
        assert!((bin - exact as f64).abs() <= 60.0 + 0.02 * exact as f64, "{bin} {exact} {edge:?}");
    }
    assert!((bins.iter().sum::<f64>() - 60_000.0).abs() < 1e-6);
}

#[test]
fn keys_are_told_from_values() {
    let ids: Vec<i64> = (0..500).map(|row| row + 7).collect();
    let spread: Vec<i64> = (0..500).map(|row| row * 1000).collect();
    let texts: Vec<String> = (0..500).map(|row| format!("N{}", row / 2 * 2)).collect();
    let keys: Vec<String> = (0..500).map(|row| format!("N{row}")).collect();
    let batch = table(vec![
        ("row", Arc::new(Int64Array::from(ids))),
        ("metres", Arc::new(Int64Array::from(spread.clone()))),
        ("flight_id", Arc::new(Int64Array::from(spread))),
        ("tail", Arc::new(StringArray::from(texts))),
        ("key", Arc::new(StringArray::from(keys))),
    ]);
    let flags: Vec<bool> = profile_in(&batch, 500).columns.iter().map(ColumnProfile::is_id_like).collect();
    assert_eq!(flags, [true, false, true, false, true]);
}

#[test]
fn json_round_trips_and_is_the_same_whatever_the_batches() {
    let texts: Vec<String> = noise(25_000).iter().map(|x| format!("{}", (x * 20_000.0) as u64)).collect();
    let batch = table(vec![
        ("x", Arc::new(Float64Array::from(noise(25_000)))),
        ("few", Arc::new(Float64Array::from_iter_values(noise(25_000).iter().map(|x| (x * 50.0).floor())))),
        ("s", Arc::new(StringArray::from(texts))),
    ]);
    let json = profile_in(&batch, 25_000).to_json().unwrap();
    for rows in [1000, 4096, 7777] {
        assert_eq!(profile_in(&batch, rows).to_json().unwrap(), json);
    }
    let again = Profile::from_json(&json).unwrap();
    assert_eq!(again.to_json().unwrap(), json);
    assert_eq!(again.summary(), profile_in(&batch, 25_000).summary());
    assert!(again.columns[2].distinct().is_some_and(|distinct| !distinct.exact));
}

#[test]
fn profiles_that_do_not_agree_are_refused() {
    let json = profile_in(&numbers(vec![1.0, 2.0]), 2).to_json().unwrap();
    for (from, to) in
        [("\"rows\":2", "\"rows\":3"), ("\"count\":2", "\"count\":1"), ("\"format\":2", "\"format\":9")]
    {
        assert!(Profile::from_json(&json.replacen(from, to, 1)).is_err(), "{to}");
    }
    let a = profile_in(&numbers(vec![1.0]), 1);
    let b = profile_in(&table(vec![("y", Arc::new(Float64Array::from(vec![1.0])))]), 1);
    assert_eq!(
        a.merge(&b).unwrap_err().to_string(),
        "the profiles cannot be merged: only the second has the column `y`"
    );
    let c = profile_in(&table(vec![("x", Arc::new(StringArray::from(vec!["a"])))]), 1);
    assert!(a.merge(&c).is_err());
}

#[test]
fn merged_sketches_are_within_bounds_of_the_whole() {
    let values = noise(60_000);
    let whole = profile_in(&numbers(values.clone()), 8192);
    let mut merged = profile_in(&numbers(values[..20_000].to_vec()), 8192);
    for part in values[20_000..].chunks(5000) {
        merged = merged.merge(&profile_in(&numbers(part.to_vec()), 8192)).unwrap();
    }
    let (a, b) = (whole.columns[0].numeric.as_ref().unwrap(), merged.columns[0].numeric.as_ref().unwrap());
    assert!((a.moments.mean - b.moments.mean).abs() < 1e-12);
    assert!((a.moments.std() - b.moments.std()).abs() < 1e-12);
    assert!((a.distinct().count as f64 / b.distinct().count as f64 - 1.0).abs() < 0.05);
    for share in [0.01, 0.25, 0.5, 0.75, 0.99] {
        assert!((a.quantile(share).unwrap() - b.quantile(share).unwrap()).abs() < 0.01);
    }
    let edges = summary::even_edges(a.moments.min, a.moments.max, 30);
    for (x, y) in a.bin(&edges).iter().zip(b.bin(&edges)) {
        assert!((x - y).abs() < 1e-6, "histograms merge exactly");
    }
}

fn full(batch: &RecordBatch, rows: usize) -> Profile {
    let mut profiler = Profiler::with(&columns_of(&batch.schema()), &ProfileOptions::FULL);
    for start in (0..batch.num_rows()).step_by(rows.max(1)) {
        profiler.update(&batch.slice(start, rows.min(batch.num_rows() - start))).unwrap();
    }
    profiler.finish().unwrap()
}

/// Columns of every kind, also with more different values than are counted.
fn varied(rows: usize) -> RecordBatch {
    let numbers = noise(rows);
    let times = numbers.iter().enumerate().map(|(row, x)| row as i64 * 3_600_000 + (x * 1000.0) as i64);
    table(vec![
        ("x", Arc::new(Float64Array::from_iter(numbers.iter().map(|x| (*x > 0.1).then_some(x * 9.0 - 3.0))))),
        ("y", Arc::new(Float64Array::from_iter_values(numbers.iter().map(|x| x * x)))),
        ("few", Arc::new(Int64Array::from_iter_values(numbers.iter().map(|x| (x * 5.0) as i64)))),
        ("ok", Arc::new(BooleanArray::from_iter(numbers.iter().map(|x| Some(*x > 0.4))))),
        (
            "name",
            Arc::new(StringArray::from_iter_values(
                numbers.iter().map(|x| format!("n{}", (x * 40_000.0) as u64)),
            )),
        ),
        ("at", Arc::new(TimestampMillisecondArray::from_iter_values(times).with_timezone("UTC"))),
    ])
}

#[test]
fn all_parts_are_the_same_whatever_the_batches_and_round_trip() {
    let batch = varied(30_000);
    let json = full(&batch, 30_000).to_json().unwrap();
    for rows in [1000, 4096, 7777] {
        assert_eq!(full(&batch, rows).to_json().unwrap(), json);
    }
    let again = Profile::from_json(&json).unwrap();
    assert_eq!(again.to_json().unwrap(), json);
    assert_eq!(again.alerts(), full(&batch, 5000).alerts());
    let summary = again.summary();
    assert_eq!(summary[5].order, Some(summary::Ordered::Ascending));
    let times = summary[5].times.as_ref().unwrap();
    assert_eq!((times.weekdays.iter().sum::<u64>(), times.hours[3]), (30_000, 1250));
    assert_eq!(summary[0].numbers.as_ref().unwrap().negatives, {
        noise(30_000).iter().filter(|x| **x > 0.1 && **x * 9.0 < 3.0).count() as u64
    });
    assert!(summary[4].texts.as_ref().is_some_and(|texts| texts.shapes[0] == ("a9".to_owned(), 30_000)));
}

#[test]
fn texts_by_keys_are_the_same_as_texts() {
    let rows = 20_000;
    for different in [50.0, 15_000.0] {
        let values: Vec<Option<String>> =
            noise(rows).iter().map(|x| (*x > 0.05).then(|| format!("v{}", (x * different) as u64))).collect();
        let plain: ArrayRef = Arc::new(StringArray::from(values.clone()));
        let keyed: arrow_array::DictionaryArray<arrow_array::types::Int32Type> =
            values.iter().map(Option::as_deref).collect();
        let of = |array: ArrayRef| {
            let columns = [Column { name: "v".into(), column_type: ColumnType::String, nullable: true }];
            let mut profiler = Profiler::with(&columns, &ProfileOptions::FULL);
            for start in (0..rows).step_by(6000) {
                profiler.update(&table(vec![("v", array.slice(start, 6000.min(rows - start)))])).unwrap();
            }
            profiler.finish().unwrap().to_json().unwrap()
        };
        assert_eq!(of(plain), of(Arc::new(keyed)));
    }
}

#[test]
fn a_profile_of_the_first_format_is_read_and_merged() {
    let first = r#"{"columns":[{"category":{"count":3,"lengths":{"max":1,"min":1,"sum":3},"values":{"a":2,"b":1}},"count":3,"name":"s","nulls":0,"type":"string"}],"format":1,"rows":3}"#;
    let old = Profile::from_json(first).unwrap();
    assert!(old.repeats.is_none() && old.summary()[0].texts.is_none() && old.alerts().is_empty());
    let new = full(&table(vec![("s", Arc::new(StringArray::from(vec!["a", "a"])))]), 2);
    for merged in [old.merge(&new).unwrap(), new.merge(&old).unwrap()] {
        assert_eq!((merged.rows, merged.summary()[0].top[0].clone()), (5, ("a".to_owned(), 4)));
        assert!(merged.repeats.is_none() && merged.summary()[0].texts.is_none());
        assert!(Profile::from_json(&merged.to_json().unwrap()).is_ok());
    }
}

#[test]
fn moments_are_told_apart_to_the_microsecond_and_merge_with_those_kept_in_milliseconds() {
    const DAY: i64 = 1_704_067_200_000_000;
    let of = |micros: &[i64]| {
        let array = TimestampMicrosecondArray::from(micros.to_vec()).with_timezone("UTC");
        full(&table(vec![("at", Arc::new(array))]), 64)
    };
    let fine = of(&(0..100).map(|step| DAY + step * 5).collect::<Vec<_>>());
    let column = &fine.columns[0];
    assert_eq!(column.distinct(), Some(Distinct { count: 100, exact: true }));
    assert!(!column.is_constant() && fine.repeats.as_ref().unwrap().duplicates().rows == 0);
    let summary = column.summary();
    let shown = summary.moments.map(|(first, last)| (first.rfc3339(), last.rfc3339()));
    assert_eq!(shown, Some(("2024-01-01T00:00:00Z".into(), "2024-01-01T00:00:00.000495Z".into())));
    assert_eq!(summary.order, Some(summary::Ordered::Ascending));
    // Whole milliseconds are kept as before: the numbers and the hashes of rows are the same.
    let now = of(&[DAY, DAY + 1000]);
    let stored = now.to_json().unwrap();
    assert!(
        stored.contains(r#""min":1704067200000.0"#) && stored.contains(r#""max":1704067200001.0"#),
        "{stored}"
    );
    let merged = Profile::from_json(&stored).unwrap().merge(&fine).unwrap();
    assert_eq!(merged.columns[0].distinct().unwrap().count, 101);
    // The first moment is in both.
    assert_eq!(merged.repeats.unwrap().duplicates().rows, 1);
}

#[test]
fn moments_beyond_what_can_be_held_are_the_outermost() {
    let array = arrow_array::TimestampSecondArray::from(vec![i64::MIN, 0, i64::MAX]);
    let profile = full(&table(vec![("at", Arc::new(array))]), 64);
    assert_eq!(profile.columns[0].distinct().unwrap().count, 3);
    let (first, last) = profile.summary()[0].moments.unwrap();
    assert_eq!((first.0, last.0), (i64::MIN, i64::MAX));
    assert!(Profile::from_json(&profile.to_json().unwrap()).is_ok());
}

#[test]
fn all_parts_merge_to_those_of_the_whole() {
    let batch = varied(24_000);
    let whole = full(&batch, 8192);
    let parts = full(&batch.slice(0, 11_000), 8192).merge(&full(&batch.slice(11_000, 13_000), 8192)).unwrap();
    for (a, b) in whole.columns.iter().zip(&parts.columns) {
        let forms = |column: &ColumnProfile| column.category.as_ref().map(|category| category.forms.clone());
        assert_eq!(forms(a), forms(b));
        let order =
            |column: &ColumnProfile| column.numeric.as_ref().map(|numeric| (numeric.order, numeric.calendar));
        assert_eq!(order(a), order(b));
    }
    let (a, b) = (whole.correlations.as_ref().unwrap(), parts.correlations.as_ref().unwrap());
    for (x, y) in a.strongest(0.0).iter().zip(b.strongest(0.0)) {
        assert!((&x.a, &x.b) == (&y.a, &y.b) && (x.r - y.r).abs() < 1e-9);
    }
    let (a, b) = (whole.repeats.unwrap().duplicates(), parts.repeats.unwrap().duplicates());
    assert!((a.share - b.share).abs() < 0.01, "{a:?} {b:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn parts_merge_to_the_whole(
        rows in prop::collection::vec((prop::option::of(-100_i32..100), prop::option::of("[a-d]{0,3}")), 1..120),
        cut in 0_usize..120,
    ) {
        let cut = cut.min(rows.len());
        let batch = |rows: &[(Option<i32>, Option<String>)]| table(vec![
            ("x", Arc::new(Float64Array::from_iter(rows.iter().map(|row| row.0.map(|x| f64::from(x) / 4.0))))),
            ("s", Arc::new(StringArray::from_iter(rows.iter().map(|row| row.1.as_deref())))),
        ]);
        let whole = profile_in(&batch(&rows), 1000);
        let parts = profile_in(&batch(&rows[..cut]), 1000).merge(&profile_in(&batch(&rows[cut..]), 1000)).unwrap();
        let mut updated = profile_in(&batch(&rows[..cut]), 1000);
        updated.update(&batch(&rows[cut..])).unwrap();
        prop_assert_eq!(parts.to_json().unwrap(), updated.to_json().unwrap());
        for (a, b) in whole.columns.iter().zip(&parts.columns) {
            prop_assert_eq!((a.count, a.nulls, a.distinct()), (b.count, b.nulls, b.distinct()));
            if let (Some(a), Some(b)) = (&a.numeric, &b.numeric) {
                prop_assert_eq!(a.exact_values(), b.exact_values());
                prop_assert_eq!(a.quantile(0.3), b.quantile(0.3));
                prop_assert!((a.moments.m2 - b.moments.m2).abs() < 1e-6);
            }
            if let (Some(a), Some(b)) = (&a.category, &b.category) {
                prop_assert_eq!(a.counts(), b.counts());
                prop_assert_eq!(a.lengths, b.lengths);
            }
        }
    }

    #[test]
    fn any_text_is_a_profile_or_refused(text in "[{}\\[\\]\":,a-z0-9]{0,80}") {
        let _ = Profile::from_json(&text);
    }
}
