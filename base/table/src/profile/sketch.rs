//! The two sketches of a profile: how many values differ, and how numbers are distributed.
//!
//! HyperLogLog with 4,096 registers (standard error 1.6 %) and a t-digest of compression 200 (rank error
//! below half a per cent in the middle, far less at the ends), both from Apache DataSketches, in whose
//! serialised form they are stored.

use std::sync::Arc;

use datasketches::hll::{HllSketch, HllType, HllUnion};
use datasketches::tdigest::{TDigest, TDigestMut};

use super::encode;

const LG_REGISTERS: u8 = 12;
const COMPRESSION: u16 = 200;
/// The family of t-digests in the serialised form of DataSketches.
const TDIGEST_FAMILY: u8 = 20;
/// Fewer values are not worth drawing together.
const FEW: usize = 512;

/// An estimate of how many values differ.
#[derive(Clone)]
pub(super) struct DistinctSketch(HllSketch);

impl DistinctSketch {
    pub(super) fn new() -> Result<Self, String> {
        HllSketch::new(LG_REGISTERS, HllType::Hll8).map(Self).map_err(|error| error.to_string())
    }

    pub(super) fn add_number(&mut self, value: f64) {
        self.0.update(value.to_bits());
    }

    pub(super) fn add_text(&mut self, value: &str) {
        self.0.update(value);
    }

    pub(super) fn merge(&self, other: &Self) -> Result<Self, String> {
        let mut union = HllUnion::new(LG_REGISTERS).map_err(|error| error.to_string())?;
        union.update(&self.0);
        union.update(&other.0);
        Ok(Self(union.to_sketch(HllType::Hll8)))
    }

    pub(super) fn estimate(&self) -> u64 {
        self.0.estimate().round().max(0.0) as u64
    }

    pub(super) fn text(&self) -> String {
        encode::text(&self.0.serialize())
    }

    pub(super) fn read(text: &str) -> Result<Self, String> {
        let sketch = HllSketch::deserialize(&encode::bytes(text)?).map_err(|error| error.to_string())?;
        Ok(Self(sketch))
    }
}

impl std::fmt::Debug for DistinctSketch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DistinctSketch(~{})", self.estimate())
    }
}

/// A t-digest that still takes values.
#[derive(Debug, Clone)]
pub(super) struct QuantileBuilder(TDigestMut);

impl QuantileBuilder {
    pub(super) fn new() -> Result<Self, String> {
        TDigestMut::new(COMPRESSION).map(Self).map_err(|error| error.to_string())
    }

    /// Takes ascending finite values. They are drawn together to small clusters first, single at both ends
    /// and eight in the middle of four thousand, far finer than those of the digest: taken one by one each
    /// would be sorted again.
    pub(super) fn add_ascending(&mut self, values: &[f64]) -> Result<(), String> {
        let (Some(min), Some(max)) = (values.first(), values.last()) else { return Ok(()) };
        if values.len() < FEW {
            values.iter().for_each(|value| self.0.update(*value));
            return Ok(());
        }
        let clusters = clusters(values);
        let mut bytes = Vec::with_capacity(32 + 16 * clusters.len());
        bytes.extend_from_slice(&[2, 1, TDIGEST_FAMILY]);
        bytes.extend_from_slice(&COMPRESSION.to_le_bytes());
        bytes.extend_from_slice(&[0, 0, 0]);
        bytes.extend_from_slice(&(clusters.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&0_u32.to_le_bytes());
        bytes.extend_from_slice(&min.to_le_bytes());
        bytes.extend_from_slice(&max.to_le_bytes());
        for (mean, weight) in clusters {
            bytes.extend_from_slice(&mean.to_le_bytes());
            bytes.extend_from_slice(&weight.to_le_bytes());
        }
        let part = TDigestMut::deserialize(&bytes).map_err(|error| error.to_string())?;
        self.0.merge(&part);
        Ok(())
    }

    pub(super) fn add_many(&mut self, value: f64, count: u64) {
        for _ in 0..count {
            self.0.update(value);
        }
    }

    pub(super) fn finish(mut self) -> QuantileSketch {
        // Serialising compresses what is pending, so that the two forms hold the same.
        self.0.serialize();
        QuantileSketch { frozen: Arc::new(self.0.clone().freeze()), open: self.0 }
    }
}

/// Means and weights of neighbouring values of an ascending sequence.
fn clusters(values: &[f64]) -> Vec<(f64, u64)> {
    let total = values.len();
    let mut clusters = Vec::with_capacity(total / 4);
    let mut rest = values;
    while let Some(first) = rest.first() {
        let before = total - rest.len();
        // The share of a cluster shrinks towards both ends, as the digest's own do.
        let most = (4 * before * rest.len() / total / FEW).clamp(1, rest.len());
        let (cluster, others) = rest.split_at(most);
        // Shares first: a sum of the greatest numbers is none.
        let share = 1.0 / most as f64;
        let offset: f64 = cluster.iter().map(|value| value * share - first * share).sum();
        let last = cluster.last().unwrap_or(first);
        clusters.push(((first + offset).clamp(*first, *last), most as u64));
        rest = others;
    }
    clusters
}

/// The distribution of numbers.
#[derive(Clone)]
pub(super) struct QuantileSketch {
    /// What is asked.
    frozen: Arc<TDigest>,
    /// What is merged: the frozen form can be neither copied nor added to.
    open: TDigestMut,
}

impl QuantileSketch {
    /// Both together; nothing when there would be more values than can be counted.
    pub(super) fn merge(&self, other: &Self) -> Result<Self, String> {
        if self.weight().checked_add(other.weight()).is_none() {
            return Err("too many values".into());
        }
        let mut merged = self.open.clone();
        merged.merge(&other.open);
        Ok(QuantileBuilder(merged).finish())
    }

    /// How many values it has taken.
    pub(super) fn weight(&self) -> u64 {
        self.frozen.total_weight()
    }

    /// The value of which a share (0 to 1) is no greater.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        self.frozen.quantile(share.clamp(0.0, 1.0)).ok().flatten()
    }

    /// The share of values no greater than `x`.
    pub(super) fn share_up_to(&self, x: f64) -> f64 {
        self.frozen.rank(x).ok().flatten().unwrap_or(0.0)
    }

    pub(super) fn text(&self) -> String {
        encode::text(&self.frozen.serialize())
    }

    pub(super) fn read(text: &str) -> Result<Self, String> {
        let open = TDigestMut::deserialize(&encode::bytes(text)?).map_err(|error| error.to_string())?;
        Ok(QuantileBuilder(open).finish())
    }
}

impl std::fmt::Debug for QuantileSketch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "QuantileSketch({})", self.weight())
    }
}
