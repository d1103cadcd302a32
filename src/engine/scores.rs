//! Scores that mark places of a beam search without a live hypothesis.
//!
//! They are finite, as -inf is a score that a candidate may have. `shaders/top_k.wgsl` and `shaders/beam_step.wgsl`
//! repeat them.

/// The score of a place that holds no candidate.
pub const NOTHING: f32 = -3.0e38;

/// The score of a place whose hypothesis has ended.
pub const ENDED: f32 = -2.0e38;

/// Only scores above are sums of log-probabilities; the others are marks.
pub const LIVE: f32 = -1.0e38;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shaders_have_the_same_scores() {
        let shaders = [
            ("top_k", include_str!("../../shaders/top_k.wgsl"), &["NOTHING"][..]),
            ("beam_step", include_str!("../../shaders/beam_step.wgsl"), &["NOTHING", "ENDED", "LIVE"]),
        ];
        for (shader, text, names) in shaders {
            for name in names {
                let value = text.lines().find_map(|line| {
                    let value =
                        line.strip_prefix("const ")?.strip_prefix(name)?.trim_start().strip_prefix('=')?;
                    value.trim().strip_suffix(';')?.parse::<f32>().ok()
                });
                let expected = match *name {
                    "NOTHING" => NOTHING,
                    "ENDED" => ENDED,
                    _ => LIVE,
                };
                assert_eq!(value, Some(expected), "{name} in {shader}.wgsl");
            }
        }
    }

    #[test]
    fn marks_are_below_every_sum_and_finite() {
        const { assert!(f32::MIN < NOTHING && NOTHING < ENDED && ENDED < LIVE) };
        // The longest caption of the least likely words that f32 has logarithms for.
        assert!(LIVE < 200.0 * f32::from_bits(1).ln());
    }
}
