//! What a package declares of a parameter that a sweep searches: the range that `auto` stands for, and
//! whether a range that is written out stays inside of it.

use serde_json::Value;

use super::packages::only_param;
use super::values;
use crate::package::{Field, FieldKind, Package, Run};
use crate::project::Range;
use crate::yaml::Node;

/// How many values of a range are held one by one against those that a package allows.
const MOST: usize = 10_000;

/// The fields of a step's package that a parameter goes to: its own of that name, and those whose value is
/// the project's parameter and nothing else.
pub(super) fn fields<'p>(step: &Node, used: Option<&'p Package>, name: &str) -> Vec<&'p Field> {
    let Some(package) = used else { return Vec::new() };
    let own = !matches!(package.run, Run::Builtin { .. });
    let given = step.get("with").and_then(Node::map).unwrap_or_default();
    let gets = |field: &&Field| {
        let value = given.iter().find(|entry| entry.key == field.name).map(|entry| &entry.value);
        let handed_on = value.and_then(Node::text).and_then(only_param);
        (own && field.name == name) || handed_on.is_some_and(|param| param == name)
    };
    package.with.iter().filter(gets).collect()
}

/// The range that a field declares; nothing where it declares none that can be searched.
pub(super) fn declared(field: &Field) -> Option<Range> {
    if !field.allowed.is_empty() {
        return Some(Range::Choice(field.allowed.clone()));
    }
    match (field.kind, field.min, field.max) {
        (FieldKind::Bool, ..) => Some(Range::Choice(vec![Value::Bool(false), Value::Bool(true)])),
        #[expect(clippy::cast_possible_truncation, reason = "a float's cast saturates")]
        (FieldKind::Int, Some(min), Some(max)) => {
            let (low, high) = (min.ceil() as i64, max.floor() as i64);
            (low <= high).then_some(Range::Int { low, high, step: 1, log: false })
        }
        (FieldKind::Float, Some(low), Some(high)) => Some(Range::Float { low, high, step: None, log: false }),
        _ => None,
    }
}

/// Why a field does not take every value of a range, and what it takes.
pub(super) fn outside(field: &Field, range: &Range) -> Option<(String, String)> {
    let refused = |value: Value| values::judge(field, &value).err();
    match range {
        Range::Choice(values) => values.iter().cloned().find_map(refused),
        Range::Int { low, high, step, .. } if !field.allowed.is_empty() => {
            let step = usize::try_from(*step).unwrap_or(1).max(1);
            (*low..=*high).step_by(step).take(MOST).map(Value::from).find_map(refused)
        }
        Range::Int { low, high, .. } => [*low, *high].map(Value::from).into_iter().find_map(refused),
        Range::Float { low, high, step, .. } => {
            // Between two whole numbers: a field of those takes no range of all numbers.
            let between = low + step.unwrap_or((high - low) * 0.382_7);
            [*low, *high, between].map(Value::from).into_iter().find_map(refused)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtins::Builtins;
    use crate::files::Folder;

    const PACKAGE: &str = r#"
name: fit
version: 1
summary: Fits
outputs: { model: any }
params:
  depth: { type: int, min: 1, max: 12, default: 3 }
  rate: { type: float, min: 0.001, max: 1, default: 0.1 }
  kind: { type: text, enum: [tree, forest], default: tree }
  leaves: { type: int, enum: [8, 16, 32], default: 8 }
  deep: { type: bool, default: false }
  free: { type: int, default: 1 }
run: fit
"#;

    fn swept(sweep: &str, with: &str) -> Result<Vec<(String, Range)>, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("fit")).unwrap();
        std::fs::write(folder.path().join("fit/package.yaml"), PACKAGE).unwrap();
        let text = format!(
            "project: p\nparams: {{ n: 3 }}\nsteps:\n  train: {{ uses: ./fit, with: {{ {with} }}, outputs: {{ model: m }}, \
             sweep: {{ {sweep}, maximize: auc }} }}\n"
        );
        let checked =
            crate::check::check(&text, "rondo.yaml", &Folder::new(folder.path()), &Builtins::default());
        let project = checked.map_err(|faults| {
            let told = faults.iter().map(|f| format!("{} ({:?}); ", f.message, f.expected));
            told.collect::<String>()
        })?;
        let sweep = project.steps.get("train").unwrap().sweep.clone().unwrap();
        Ok(sweep.over.iter().map(|(name, range)| (name.to_owned(), range.clone())).collect())
    }

    #[test]
    fn auto_is_what_the_package_declares() {
        let over = "strategy: random, trials: 9, \
                    over: { depth: auto, rate: auto, kind: auto, deep: auto, leaves: auto }";
        let ranges = swept(over, "").unwrap();
        assert_eq!(
            ranges,
            [
                ("depth".into(), Range::Int { low: 1, high: 12, step: 1, log: false }),
                ("rate".into(), Range::Float { low: 0.001, high: 1.0, step: None, log: false }),
                ("kind".into(), Range::Choice(vec!["tree".into(), "forest".into()])),
                ("deep".into(), Range::Choice(vec![false.into(), true.into()])),
                ("leaves".into(), Range::Choice(vec![8.into(), 16.into(), 32.into()])),
            ]
        );
        // Also where the project's parameter is what the package's is given.
        let through = swept("over: { n: auto }", "depth: \"${{ params.n }}\"").unwrap();
        assert_eq!(through, [("n".into(), Range::Int { low: 1, high: 12, step: 1, log: false })]);
    }

    #[test]
    fn a_range_that_leaves_the_declared_one_is_refused_before_anything_runs() {
        for (over, with, expected) in [
            (
                "depth: { int: [1, 13] }",
                "",
                "`depth` cannot be `13` (Some(\"a whole number, from 1 to 12\"))",
            ),
            ("depth: { int: [0, 3] }", "", "`depth` cannot be `0`"),
            ("depth: { float: [1, 3], step: 0.5 }", "", "`depth` cannot be `1.0`"),
            ("rate: [0.1, 2]", "", "`rate` cannot be `2`"),
            ("kind: [tree, bush]", "", "`kind` cannot be the text `bush`"),
            ("leaves: { int: [8, 32], step: 8 }", "", "`leaves` cannot be `24`"),
            ("n: { int: [1, 13] }", "depth: \"${{ params.n }}\"", "`depth` cannot be `13`"),
            ("free: auto", "", "`free` has no declared range"),
            ("n: auto", "", "`n` has no declared range"),
            ("rate: auto", "", "a grid cannot search every number"),
        ] {
            let faults = swept(&format!("over: {{ {over} }}"), with).unwrap_err();
            assert!(faults.contains(expected), "{over}: {faults}");
        }
        assert!(swept("over: { depth: { int: [1, 12] }, leaves: [8, 32], free: [1, 99] }", "").is_ok());
    }
}
