//! Checks: whether a table is as expected.
//!
//! A suite is a list of rules, one map each, as they stand in the project file or in a file of their own:
//!
//! ```yaml
//! - { column: dep_delay, not_null: { mostly: 0.97 } }
//! - { column: carrier, in_set: [AA, B6, DL], by: origin }
//! - { columns: [flight, day], unique: true }
//! - { column: arr, greater_than: { column: dep, or_equal: true }, where: "not cancelled", severity: warning }
//! - { column: dest, references: { dataset: airports, column: code } }
//! - { rows: { min: 1000 } }
//! - { type: expect_column_values_to_be_between, kwargs: { column: dep_delay, min_value: -60 } }
//! ```
//!
//! [`parse`] reads the compact form, [`gx`] the standard names into it, [`condition`] which rows are meant;
//! [`rule`] is what comes of it. [`run`] takes the rules apart into lanes (rows that a condition or slice
//! chooses), has [`prepare`] say what each gathers, and reads the table ([`tables`], columns by name in
//! [`layout`]) once: rules on rows in
//! [`rows`], rules on a column in [`column`], rules that have to know all values at once in [`keyed`] and
//! [`spill`]. [`conclude`] makes the results, of drift with [`beside`]. [`stored`] answers from a profile without the data; [`infer`]
//! proposes a suite for a table.
//!
//! `mostly` is the share of values that must pass (1 where absent); values that are missing count only for
//! `not_null` and `null`. Only a rule of severity `error` fails the suite. Memory is bounded whatever the
//! size; what a bound makes inexact is said in the result.
//!
//! It does not transform or join, and knows no SQL: [`Beyond`] hands such rules on.

mod beside;
mod column;
mod conclude;
mod condition;
mod dates;
mod failing;
mod gx;
pub mod infer;
mod keyed;
mod keys;
mod layout;
mod naming;
mod parse;
mod prepare;
mod report;
mod rows;
mod rule;
mod run;
mod scope;
mod show;
mod slices;
mod spill;
mod stored;
mod tables;

pub use condition::Condition;
pub use failing::{BROKEN, FailingRows, ROW, failing_rows};
pub use naming::name_rows;
pub use parse::{keys, names};
pub use report::{CheckReport, RuleResult, Sample};
pub use rule::{
    Bounds, Interpolation, Limit, Missing, Other, OutlierMethod, Parse, Partition, Patterns, Rule, RuleKind,
    Severity, Slices, Statistic, Suite,
};
pub use run::{Context, evaluate, evaluate_path};
pub use scope::{Scope, is_unknown_expectation, scoped};
pub use stored::{evaluate_profile, evaluate_profile_alone, undecided};
pub use tables::{Alone, Batches, Beyond, FileTable, MemoryTable, Opened, Table};

#[cfg(test)]
mod tests;
