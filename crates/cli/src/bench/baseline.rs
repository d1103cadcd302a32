//! Comparison with an earlier report.

use super::report::Times;
use crate::failure::Failure;
use crate::output::note;
use clap::{Args, ValueHint};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The baseline of a report.
#[derive(Debug, Args)]
pub(super) struct BaselineArgs {
    /// An earlier report as JSON to compare with
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    baseline: Option<PathBuf>,

    /// How much slower than the baseline a median may be
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = threshold)]
    threshold: f64,
}

impl BaselineArgs {
    /// Whether no median is slower than in the earlier report, if one is given, by more than the threshold.
    pub(super) fn holds(&self, adapter: &str, now: &[(&str, Times)]) -> Result<bool, Failure> {
        self.baseline.as_ref().map_or(Ok(true), |path| holds(path, adapter, now, self.threshold))
    }
}

/// The compared parts of a report on a model or on kernels.
#[derive(Debug, Deserialize)]
struct Earlier {
    adapter: String,
    warm_ms: Option<Times>,
    #[serde(default)]
    kernels: Vec<Kernel>,
}

#[derive(Debug, Deserialize)]
struct Kernel {
    shape: String,
    speed: Option<Speed>,
}

#[derive(Debug, Deserialize)]
struct Speed {
    ms: Times,
}

/// The name of a model's time in the comparison.
pub(super) const MODEL: &str = "encoder, warm";

impl Earlier {
    fn median(&self, name: &str) -> Option<f64> {
        let kernel = || self.kernels.iter().find(|kernel| kernel.shape == name)?.speed.as_ref();
        let times = if name == MODEL { self.warm_ms } else { kernel().map(|speed| speed.ms) };
        times.map(|times| times.median)
    }
}

/// Parses a share such as `5%` or `0.05`.
pub(super) fn threshold(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    let share: Option<f64> = number.trim().parse().ok().map(|share: f64| share / unit);
    share
        .filter(|share| (0.0..=10.0).contains(share))
        .ok_or_else(|| "expected a share from 0 to 1000%, such as 5%".to_owned())
}

fn holds(path: &Path, adapter: &str, now: &[(&str, Times)], threshold: f64) -> Result<bool, Failure> {
    let unusable = |problem: String| {
        let advice = "expected what the same command printed with `--format json`";
        Failure::Usage(format!("{}: {problem}: {advice}", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
    let earlier: Earlier = serde_json::from_str(&text).map_err(|error| unusable(error.to_string()))?;
    if earlier.adapter != adapter {
        let found = format!("it is of {}, this is {adapter}", earlier.adapter);
        return Err(unusable(found));
    }
    let both = now.iter().filter_map(|(name, times)| Some((name, earlier.median(name)?, times.median)));
    let both: Vec<_> = both.collect();
    if both.is_empty() {
        return Err(unusable("it has none of the times that were measured now".to_owned()));
    }
    let mut holds = true;
    for (name, before, now) in both {
        let change = now / before - 1.0;
        note(&format!(
            "{name}: baseline {before:.3} ms, now {now:.3} ms: {:+.1}%, allowed {:+.1}%",
            change * 100.0,
            threshold * 100.0
        ));
        holds &= change <= threshold;
    }
    Ok(holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_shares() {
        assert_eq!(threshold("5%"), Ok(0.05));
        assert_eq!(threshold("0.25"), Ok(0.25));
        for text in ["", "%", "-1%", "five", "NaN", "2000%"] {
            assert!(threshold(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_slowdown_beyond_the_threshold_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("earlier.json");
        let times = |median| Times { min: median, median, p95: median };
        let of_model = |adapter, median| holds(&path, adapter, &[(MODEL, times(median))], 0.05);
        let earlier = r#"{"adapter": "a", "warm_ms": {"min": 1, "median": 100, "p95": 1}}"#;
        std::fs::write(&path, earlier).unwrap();
        assert!(of_model("a", 104.0).unwrap());
        assert!(!of_model("a", 106.0).unwrap());
        assert!(of_model("b", 1.0).is_err(), "another adapter");
        std::fs::write(&path, "{}").unwrap();
        assert!(of_model("a", 1.0).is_err());
    }

    #[test]
    fn kernels_are_compared_by_shape() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("earlier.json");
        let earlier = r#"{"adapter": "a", "kernels": [
            {"shape": "x", "speed": {"ms": {"min": 1, "median": 10, "p95": 1}}}, {"shape": "wrong"}
        ]}"#;
        std::fs::write(&path, earlier).unwrap();
        let times = |median| Times { min: median, median, p95: median };
        let compare = |now: &[(&str, Times)]| holds(&path, "a", now, 0.1);
        assert!(compare(&[("x", times(10.5)), ("new", times(99.0))]).unwrap());
        assert!(!compare(&[("x", times(12.0))]).unwrap());
        assert!(compare(&[("wrong", times(1.0))]).is_err(), "nothing to compare");
    }
}
