//! Comparing with an earlier report.

use super::report::Times;
use crate::cli::failure::Failure;
use crate::cli::output::note;
use serde::Deserialize;
use std::path::Path;

/// What is compared of a report.
#[derive(Debug, Deserialize)]
struct Earlier {
    adapter: String,
    warm_ms: Times,
}

/// Reads a share such as `5%` or `0.05`.
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

/// Whether the median is not slower than that of the earlier report by more than the threshold.
pub(super) fn holds(path: &Path, adapter: &str, now: Times, threshold: f64) -> Result<bool, Failure> {
    let unusable = |problem: String| {
        let advice = "expected what `shadetell bench model --format json` printed";
        Failure::Usage(format!("{}: {problem}: {advice}", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
    let earlier: Earlier = serde_json::from_str(&text).map_err(|error| unusable(error.to_string()))?;
    if earlier.adapter != adapter {
        let found = format!("it is of {}, this is {adapter}", earlier.adapter);
        return Err(unusable(found));
    }
    let change = now.median / earlier.warm_ms.median - 1.0;
    note(&format!(
        "baseline {:.1} ms, now {:.1} ms: {:+.1}%, allowed {:+.1}%",
        earlier.warm_ms.median,
        now.median,
        change * 100.0,
        threshold * 100.0
    ));
    Ok(change <= threshold)
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
    fn slower_than_allowed_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("earlier.json");
        let earlier = r#"{"adapter": "a", "warm_ms": {"min": 1, "median": 100, "p95": 1}}"#;
        std::fs::write(&path, earlier).unwrap();
        let now = |median| Times { min: median, median, p95: median };
        assert!(holds(&path, "a", now(104.0), 0.05).unwrap());
        assert!(!holds(&path, "a", now(106.0), 0.05).unwrap());
        assert!(holds(&path, "b", now(1.0), 0.05).is_err(), "another adapter");
        std::fs::write(&path, "{}").unwrap();
        assert!(holds(&path, "a", now(1.0), 0.05).is_err());
    }
}
