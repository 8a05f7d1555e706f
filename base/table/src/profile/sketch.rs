//! The two sketches of a profile: how many values differ, and how numbers are distributed.
//!
//! HyperLogLog with 4,096 registers (standard error 1.6 %) and a t-digest of compression 200 (rank error
//! below half a per cent in the middle, far less at the ends), both from Apache DataSketches, in whose
//! serialised form they are stored.

use std::sync::Arc;

use datasketches::hll::{HllSketch, HllType, HllUnion};
use datasketches::tdigest::{TDigest, TDigestMut};

use super::encode;
use super::wide::wide;

const LG_REGISTERS: u8 = 12;
const COMPRESSION: u16 = 200;
/// The family of t-digests in the serialised form of DataSketches.
const TDIGEST_FAMILY: u8 = 20;
/// With fewer registers the sketch may still keep every hash by itself.
const FILLED: usize = 1 << (LG_REGISTERS - 1);
/// Numbers are hashed in pieces of this length.
const PIECE: usize = 256;
/// Fewer values are not worth drawing together.
const FEW: usize = 512;

/// An estimate of how many values differ.
#[derive(Clone)]
pub(super) struct DistinctSketch(HllSketch);

impl DistinctSketch {
    pub(super) fn new() -> Result<Self, String> {
        HllSketch::new(LG_REGISTERS, HllType::Hll8).map(Self).map_err(|error| error.to_string())
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

/// A distinct sketch that takes numbers, or words that stand for values.
#[derive(Debug)]
pub(super) struct DistinctBuilder {
    sketch: DistinctSketch,
    /// What each register of the sketch is at least: a number whose hash says no more is told from that
    /// alone, and almost all are.
    registers: Box<[u8]>,
    /// How many registers are known.
    filled: usize,
}

impl DistinctBuilder {
    pub(super) fn new() -> Result<Self, String> {
        let registers = vec![0; 1 << LG_REGISTERS].into_boxed_slice();
        Ok(Self { sketch: DistinctSketch::new()?, registers, filled: 0 })
    }

    /// Takes numbers.
    pub(super) fn add(&mut self, values: &[f64]) {
        let mut words = [0; PIECE];
        for piece in values.chunks(PIECE) {
            for (word, value) in words.iter_mut().zip(piece) {
                *word = value.to_bits();
            }
            self.add_words(words.get(..piece.len()).unwrap_or_default());
        }
    }

    /// Takes words: a number's are its bits.
    pub(super) fn add_words(&mut self, words: &[u64]) {
        let mut ranks = [(0_u16, 0_u8); PIECE];
        for piece in words.chunks(PIECE) {
            find_ranks(piece, &mut ranks);
            for ((place, rank), word) in ranks.iter().zip(piece) {
                let known = self.registers.get(usize::from(*place)).copied().unwrap_or(0);
                if *rank > known || self.filled < FILLED {
                    self.update(*word, usize::from(*place), *rank);
                }
            }
        }
    }

    #[cold]
    fn update(&mut self, word: u64, place: usize, rank: u8) {
        self.sketch.0.update(word);
        if let Some(known) = self.registers.get_mut(place) {
            self.filled += usize::from(*known == 0);
            *known = rank.max(*known);
        }
    }

    pub(super) fn finish(self) -> DistinctSketch {
        self.sketch
    }
}

wide! {
    fn find_ranks(words: &[u64], ranks: &mut [(u16, u8)]) {
        for (rank, word) in ranks.iter_mut().zip(words) {
            *rank = register(*word);
        }
    }
}

/// The register of a word and what it would be: as the sketch hashes it (MurmurHash3, 128 bits).
#[inline(always)]
fn register(bits: u64) -> (u16, u8) {
    const SEED: u64 = 9001;
    const LENGTH: u64 = 8;
    let mixed = |mut word: u64| {
        word ^= word >> 33;
        word = word.wrapping_mul(0xff51_afd7_ed55_8ccd);
        word ^= word >> 33;
        word = word.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        word ^ (word >> 33)
    };
    let word = bits.wrapping_mul(0x87c3_7b91_1142_53d5).rotate_left(31).wrapping_mul(0x4cf5_ad43_2745_937f);
    let second = SEED ^ LENGTH;
    let first = (second ^ word).wrapping_add(second);
    let second = mixed(second.wrapping_add(first));
    let first = mixed(first).wrapping_add(second);
    let second = second.wrapping_add(first);
    let place = first as u16 & ((1 << LG_REGISTERS) - 1);
    (place, second.leading_zeros().min(62) as u8 + 1)
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
    /// and one five-hundredth of all in the middle, far finer than those of the digest: taken one by one each
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn numbers_that_change_nothing_are_told_before_the_sketch(
            values in prop::collection::vec(any::<f64>(), 1..200), times in 1_usize..300,
        ) {
            let mut plain = DistinctSketch::new().unwrap();
            let mut builder = DistinctBuilder::new().unwrap();
            for step in 0..times {
                for value in &values {
                    let value = value + step as f64;
                    plain.0.update(value.to_bits());
                    builder.add(&[value]);
                }
            }
            prop_assert_eq!(builder.finish().text(), plain.text());
        }
    }
}
