//! Checks: whether a table is as expected.
//!
//! A suite is a list of rules, one map each, as they stand in the project file or in a file of their own:
//!
//! ```yaml
//! - { column: dep_delay, not_null: { mostly: 0.97 } }
//! - { column: carrier, in_set: [AA, B6, DL] }
//! - { columns: [flight, day], unique: true }
//! - { column: arr, greater_than: { column: dep, or_equal: true, mostly: 0.99 }, severity: warning }
//! - { rows: { min: 1000 } }
//! ```
//!
//! All rules are evaluated in one pass over the columns that they name. `mostly` is the share of values
//! that must pass (1 where absent); values that are missing count only for `not_null` and `null`. A rule
//! of severity `warning` is reported and does not fail the suite. A rule says what went wrong with counts
//! and up to ten of the offending values with their row numbers.
//!
//! It does not transform, filter or join; what needs that is a step of the pipeline.

mod parse;
mod rows;
mod rule;
mod run;
mod unique;

pub use parse::names;
pub use rule::{Bounds, Limit, Parse, Rule, RuleKind, Severity, Statistic, Suite};
pub use run::{CheckReport, RuleResult, Runner, Sample, evaluate, evaluate_path};

#[cfg(test)]
mod tests;
