//! Drift of a column of texts or truth values.

use std::collections::BTreeMap;

use super::statistics;
use super::{DriftOptions, Finding, Method};
use crate::profile::CategoryProfile;

/// How many categories are named in a detail.
const NAMED: usize = 3;

/// All findings on the distribution of the values; nothing when there are too many different ones to know
/// them all.
pub(super) fn compare(
    reference: &CategoryProfile,
    current: &CategoryProfile,
    options: &DriftOptions,
) -> Option<Vec<Finding>> {
    let (before, now) = (reference.counts()?, current.counts()?);
    let names: Vec<&str> = union(before, now);
    let counts = |from: &BTreeMap<String, u64>| -> Vec<f64> {
        names.iter().map(|name| from.get(*name).map_or(0.0, |count| *count as f64)).collect()
    };
    let (first, second) = (counts(before), counts(now));
    let share =
        |counts: &[f64], all: u64| -> Vec<f64> { counts.iter().map(|count| count / all as f64).collect() };
    let (p, q) = (share(&first, reference.count), share(&second, current.count));
    let p_value = statistics::chi_squared_p(&first, &second);
    let detail = moved(&names, &p, &q);
    let mut findings = vec![
        Finding {
            method: Method::JensenShannon,
            statistic: statistics::jensen_shannon(&p, &q),
            threshold: Some(options.jensen_shannon),
            p_value: Some(p_value),
            detail: detail.clone(),
        },
        Finding {
            method: Method::LInfinity,
            statistic: statistics::l_infinity(&p, &q),
            threshold: Some(options.l_infinity),
            p_value: Some(p_value),
            detail,
        },
    ];
    findings.extend(appeared(&names, &p, &q, reference, current, options));
    Some(findings)
}

/// Categories that the reference does not have, taken together.
fn appeared(
    names: &[&str],
    p: &[f64],
    q: &[f64],
    reference: &CategoryProfile,
    current: &CategoryProfile,
    options: &DriftOptions,
) -> Option<Finding> {
    let mut new: Vec<(&str, f64)> = names
        .iter()
        .zip(p.iter().zip(q))
        .filter(|(_, (p, _))| **p == 0.0)
        .map(|(name, (_, q))| (*name, *q))
        .collect();
    if new.is_empty() {
        return None;
    }
    new.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
    let share: f64 = new.iter().map(|(_, share)| share).sum();
    let rows = (share * current.count as f64).round() as u64;
    let mut parts: Vec<String> = new
        .iter()
        .take(NAMED)
        .map(|(name, share)| format!("new `{}` {}", clip(name), percent(*share)))
        .collect();
    if new.len() > NAMED {
        parts.push(format!("{} more", new.len() - NAMED));
    }
    Some(Finding {
        method: Method::NewCategories,
        statistic: share,
        threshold: Some(options.new_categories),
        p_value: Some(statistics::two_proportions_p(0, reference.count, rows, current.count)),
        detail: parts.join(", "),
    })
}

fn union<'a>(before: &'a BTreeMap<String, u64>, now: &'a BTreeMap<String, u64>) -> Vec<&'a str> {
    let mut names: Vec<&str> = before.keys().chain(now.keys()).map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// What moved most, in words.
fn moved(names: &[&str], p: &[f64], q: &[f64]) -> String {
    let mut changes: Vec<(&str, f64, f64)> =
        names.iter().zip(p.iter().zip(q)).map(|(name, (p, q))| (*name, *p, *q)).collect();
    changes.sort_by(|a, b| (b.1 - b.2).abs().total_cmp(&(a.1 - a.2).abs()).then(a.0.cmp(b.0)));
    let parts: Vec<String> = changes
        .iter()
        .take(NAMED)
        .map(|(name, p, q)| {
            let name = clip(name);
            match (*p == 0.0, *q == 0.0) {
                (true, _) => format!("new `{name}` {}", percent(*q)),
                (_, true) => format!("lost `{name}` {}", percent(*p)),
                _ => format!("`{name}` {} → {}", percent(*p), percent(*q)),
            }
        })
        .collect();
    parts.join(", ")
}

fn clip(name: &str) -> String {
    if name.chars().count() <= 40 { name.to_owned() } else { name.chars().take(39).chain(['…']).collect() }
}

/// A share for people: one decimal of a per cent.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A number for people: four significant digits.
pub(super) fn short(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let digits = 3 - value.abs().log10().floor() as i32;
    if !(-9..=9).contains(&digits) {
        return format!("{value:.3e}");
    }
    let factor = 10.0_f64.powi(digits);
    let rounded = (value * factor).round() / factor;
    let text = format!("{rounded:.*}", digits.max(0) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let texts = [12.0, 15.3, 0.012_345, 1234.5, 123_456.0, -0.5, 0.0, 1e-12].map(short);
        assert_eq!(texts, ["12", "15.3", "0.01235", "1235", "123500", "-0.5", "0", "1.000e-12"]);
    }
}
