//! The arguments of rules about how the values of a column are distributed: quantiles, outliers, divergence,
//! drift, association.

use serde_json::{Map, Value};

use super::Argument;
use crate::checks::rule::{Interpolation, OutlierMethod, Partition, RuleKind};
use crate::error::Result;

impl Argument<'_> {
    pub(super) fn interpolation(&self) -> Result<Interpolation> {
        match self.value.get("interpolation").map(Value::as_str) {
            None | Some(Some("nearest")) => Ok(Interpolation::Nearest),
            Some(Some("linear")) => Ok(Interpolation::Linear),
            Some(Some("lower")) => Ok(Interpolation::Lower),
            Some(Some("higher")) => Ok(Interpolation::Higher),
            Some(Some("midpoint")) => Ok(Interpolation::Midpoint),
            Some(_) => Err(self.fault("`interpolation` is nearest, linear, lower, higher or midpoint")),
        }
    }

    /// `{ 0.25: [0, 3], 0.75: { min: 5 } }`.
    pub(super) fn quantiles(&self) -> Result<RuleKind> {
        let needed = || self.fault("`quantiles` is a map such as { 0.25: [0, 3], 0.75: { min: 5 } }");
        let map = self.value.as_object().ok_or_else(needed)?;
        let mut list = Vec::new();
        for (at, bounds) in map {
            if matches!(at.as_str(), "interpolation" | "severity") {
                continue;
            }
            let at: f64 = at.parse().map_err(|_| needed())?;
            if !(0.0..=1.0).contains(&at) {
                return Err(needed());
            }
            let bounds = Argument { rule: self.rule, name: "quantile", value: bounds }.bounds()?;
            list.push((at, bounds));
        }
        if list.is_empty() { Err(needed()) } else { Ok(RuleKind::Quantiles(list, self.interpolation()?)) }
    }

    pub(super) fn outliers(&self) -> Result<RuleKind> {
        if let Value::Object(map) = self.value {
            self.only(map, &["method", "multiplier"])?;
        }
        let method = match self.value.get("method").map(Value::as_str) {
            None | Some(Some("iqr")) => OutlierMethod::Iqr,
            Some(Some("std")) => OutlierMethod::Std,
            Some(_) => return Err(self.fault("`method` is iqr or std")),
        };
        let multiplier = self.optional_number("multiplier")?;
        let multiplier = multiplier.unwrap_or(if method == OutlierMethod::Iqr { 1.5 } else { 3.0 });
        if multiplier < 0.0 {
            return Err(self.fault("`multiplier` is not below 0"));
        }
        Ok(RuleKind::NotOutliers { method, multiplier })
    }

    pub(super) fn divergence(&self) -> Result<RuleKind> {
        let map = self.value.as_object().ok_or_else(|| self.fault("`divergence` needs a partition"))?;
        self.only(
            map,
            &["values", "bins", "weights", "tail_weights", "max", "tail_holdout", "internal_holdout"],
        )?;
        let holdout = |key: &str| match self.optional_number(key)? {
            None => Ok(0.0),
            Some(share) if (0.0..=1.0).contains(&share) => Ok(share),
            Some(_) => Err(self.fault(format!("`{key}` is a share between 0 and 1"))),
        };
        let (tail_holdout, internal_holdout) = (holdout("tail_holdout")?, holdout("internal_holdout")?);
        let partition = self.partition(map)?;
        let invalid = match &partition {
            Partition::Values(_) if internal_holdout > 0.0 => "`internal_holdout` is for bins only",
            Partition::Bins { tails: Some(_), .. } if tail_holdout > 0.0 => {
                "either `tail_weights` or `tail_holdout`, not both"
            }
            _ => "",
        };
        if !invalid.is_empty() {
            return Err(self.fault(invalid));
        }
        let max = self.optional_number("max")?;
        Ok(RuleKind::Divergence { partition, max, tail_holdout, internal_holdout })
    }

    pub(super) fn partition(&self, map: &Map<String, Value>) -> Result<Partition> {
        let numbers = |key: &str| {
            let list = map.get(key)?.as_array()?;
            list.iter().map(edge).collect::<Option<Vec<f64>>>().filter(|list| !list.is_empty())
        };
        let weights = numbers("weights").ok_or_else(|| self.fault("`divergence` needs `weights`"))?;
        let sound = weights.iter().all(|weight| (0.0..=1.0).contains(weight));
        let tails = match numbers("tail_weights").as_deref() {
            Some([below, above]) => Some((*below, *above)),
            None => None,
            Some(_) => return Err(self.fault("`tail_weights` are two shares")),
        };
        let total: f64 = weights.iter().sum::<f64>() + tails.map_or(0.0, |(below, above)| below + above);
        if !sound || (total - 1.0).abs() > 1e-3 {
            return Err(self.fault("`weights` are shares that add up to 1"));
        }
        match (map.get("values").and_then(Value::as_array), numbers("bins")) {
            (Some(values), None) if values.len() == weights.len() => {
                Ok(Partition::Values(values.iter().cloned().zip(weights).collect()))
            }
            (None, Some(edges))
                if edges.len() == weights.len() + 1
                    && edges.windows(2).all(|pair| matches!(pair, [a, b] if a < b)) =>
            {
                Ok(Partition::Bins { edges, weights, tails })
            }
            _ => Err(self.fault(
                "`divergence` needs as many `values` as weights, or ascending `bins`, one more than weights",
            )),
        }
    }

    pub(super) fn drift(&self) -> Result<RuleKind> {
        let reference = self.other(self.value, &["method", "max"])?;
        let method = match self.value.get("method") {
            None | Some(Value::Null) => None,
            Some(word) => Some(serde_json::from_value(word.clone()).map_err(|_| {
                self.fault("`method` is jensen_shannon, wasserstein, population_stability, kolmogorov_smirnov, l_infinity, new_categories or null_share")
            })?),
        };
        Ok(RuleKind::Drift { reference, method, max: self.optional_number("max")? })
    }

    pub(super) fn association(&self) -> Result<RuleKind> {
        if let Value::Object(map) = self.value {
            self.only(map, &["column", "max"])?;
        }
        let other = self.value.get("column").and_then(Value::as_str);
        let other = other.ok_or_else(|| self.fault("`association` needs the name of another `column`"))?;
        let max = self.optional_number("max")?.unwrap_or(0.1);
        Ok(RuleKind::Association { other: other.to_owned(), max })
    }
}

/// An edge of a bin: JSON has no infinity, so that a text says it.
fn edge(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "inf" | "infinity" | ".inf" => Some(f64::INFINITY),
            "-inf" | "-infinity" | "-.inf" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        number => number.as_f64(),
    }
}
