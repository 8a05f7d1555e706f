//! What a profile has beside the counts, distributions and commonest values that every profile has.

/// Which further parts are computed. They are computed in the same pass; what watches live traffic does
/// without them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProfileOptions {
    /// Of texts: their forms, how their lengths are distributed, and the commonest of very many values.
    pub texts: bool,
    /// Of numbers and moments: whether they come in order; of moments: by weekday and hour.
    pub order: bool,
    /// Up to how many columns are correlated, each with each; none where it is 0.
    pub correlations: usize,
    /// How many rows repeat an earlier one.
    pub duplicates: bool,
}

impl ProfileOptions {
    /// Only what every profile has: for windows of live traffic and for checks.
    pub const LEAN: Self = Self { texts: false, order: false, correlations: 0, duplicates: false };

    /// All of it: for people, and for versions of datasets.
    pub const FULL: Self = Self { texts: true, order: true, correlations: 40, duplicates: true };
}
