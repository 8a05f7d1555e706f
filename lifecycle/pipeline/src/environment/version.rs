//! Versions of R and of its packages, and whether one is what is wanted.

use std::cmp::Ordering;

/// Whether a version is what is wanted: `4` and `4.2` mean any that begins so, and conditions such as
/// `>=4.1, <5` all have to hold. Nothing wanted is any version.
pub fn fits(wanted: &str, found: &str) -> bool {
    wanted.split(',').map(str::trim).filter(|condition| !condition.is_empty()).all(|condition| {
        let end = condition.find(|c: char| !"<>=!~".contains(c)).unwrap_or(condition.len());
        let (sign, version) = condition.split_at(end);
        let order = compare(found, version.trim());
        match sign {
            ">=" => order != Ordering::Less,
            "<=" => order != Ordering::Greater,
            ">" => order == Ordering::Greater,
            "<" => order == Ordering::Less,
            "!=" => order != Ordering::Equal,
            "==" => order == Ordering::Equal,
            "" => begins(found, version.trim().trim_end_matches(".*")),
            _ => false,
        }
    })
}

/// A package as it is written: its name, and the condition on its version.
pub fn split(written: &str) -> (&str, &str) {
    let end = written.find(|c: char| "<>=!".contains(c)).unwrap_or(written.len());
    let (name, condition) = written.split_at(end);
    (name.trim(), condition.trim())
}

fn parts(version: &str) -> Vec<u64> {
    version.split(['.', '-']).map(|part| part.parse().unwrap_or(0)).collect()
}

fn begins(found: &str, wanted: &str) -> bool {
    let (found, wanted) = (parts(found), parts(wanted));
    found.get(..wanted.len()).is_some_and(|beginning| beginning == wanted)
}

/// Absent parts count as nought: `1.2` is `1.2.0`.
fn compare(one: &str, other: &str) -> Ordering {
    let (one, other) = (parts(one), parts(other));
    let part = |of: &[u64], place: usize| of.get(place).copied().unwrap_or(0);
    (0..one.len().max(other.len()))
        .map(|place| part(&one, place).cmp(&part(&other, place)))
        .find(|order| *order != Ordering::Equal)
        .unwrap_or(Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prefixes_and_conditions_are_understood() {
        for (wanted, found, holds) in [
            ("4", "4.2.2", true),
            ("4.2", "4.20.1", false),
            ("", "1.0", true),
            (">=4.1", "4.10.0", true),
            (">=4.1, <4.2", "4.1-3", true),
            ("==1.2", "1.2.0", true),
            ("!=1.2", "1.2.1", true),
            ("<1", "1.0", false),
            ("~4", "4.0", false),
        ] {
            assert_eq!(fits(wanted, found), holds, "{wanted} {found}");
        }
        assert_eq!(split("ranger >= 0.14"), ("ranger", ">= 0.14"));
        assert_eq!(split("ranger"), ("ranger", ""));
    }

    proptest! {
        #[test]
        fn any_text_gets_an_answer_and_a_version_fits_itself(text in ".{0,20}", a in 0..50_u64, b in 0..50_u64) {
            let _ = fits(&text, &text);
            let version = format!("{a}.{b}");
            let (exactly, least) = (format!("=={version}"), format!(">={version}"));
            prop_assert!(fits(&version, &version) && fits(&exactly, &version));
            prop_assert!(fits(&least, &version));
        }
    }
}
