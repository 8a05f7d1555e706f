//! Whether what came out is the same as what was recorded, by what the project declares.

use serde::{Deserialize, Serialize};

use super::{Finding, Kind};

/// What a run made again comes to, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every digest is the same.
    Identical,
    /// What differs is allowed by a declared tolerance.
    WithinTolerance,
    /// Something differs.
    Different,
    /// It could not be made again.
    NotRepeatable,
}

impl Verdict {
    /// The word in records.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Identical => "identical",
            Self::WithinTolerance => "within-tolerance",
            Self::Different => "different",
            Self::NotRepeatable => "not-repeatable",
        }
    }

    /// The words for people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Identical => "identical",
            Self::WithinTolerance => "within tolerance",
            Self::Different => "different",
            Self::NotRepeatable => "cannot be repeated",
        }
    }

    /// Whether the run is reproducible.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Identical | Self::WithinTolerance)
    }
}

/// Judges the differences of one output. A tolerance is the greatest relative difference of numbers that is
/// allowed; with any, also of nought, what differs in form alone is allowed.
pub fn judge(findings: &[Finding], tolerance: Option<f64>) -> Verdict {
    if findings.is_empty() {
        return Verdict::Identical;
    }
    let allowed = |finding: &Finding| match (tolerance, finding.kind) {
        (None, _) => false,
        (Some(_), kind) if kind.is_form() => true,
        (Some(tolerance), Kind::Numbers | Kind::Unseeded) => {
            finding.spread.is_some_and(|spread| spread.relative <= tolerance)
        }
        (Some(_), _) => false,
    };
    if findings.iter().all(allowed) { Verdict::WithinTolerance } else { Verdict::Different }
}

/// Names what differs from one try to the next for what it is. `again` is how two tries with nothing varied
/// differ: what they agree on was not drawn by lot.
pub fn name_randomness(findings: &mut [Finding], again: &[Finding]) {
    for finding in findings {
        let by_lot = matches!(
            finding.kind,
            Kind::Numbers | Kind::Order | Kind::Shape | Kind::Text | Kind::Bytes | Kind::Members
        );
        let too = again.iter().any(|other| other.place == finding.place || finding.place.is_empty());
        if by_lot && too {
            // Rounding that varies is threads that add in no fixed order; it keeps its measure.
            let small = finding.spread.is_some_and(|spread| spread.relative < 1e-6);
            let why = if small {
                "numbers are added in no fixed order"
            } else {
                "a seed or a fixed order is missing"
            };
            finding.text = format!("two tries differ from each other too: {why} ({})", finding.text);
            finding.kind = Kind::Unseeded;
        }
    }
}
