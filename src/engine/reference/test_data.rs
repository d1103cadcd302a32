//! Values and comparison for the unit tests of the references.

/// `len` repeatable values in `[-1, 1)`, different for each `seed`.
pub(crate) fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
    let mut next = || {
        // Knuth's 64-bit linear congruential generator; the upper bits are the good ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Fails unless both have the same length and differ by at most `tolerance` everywhere.
#[track_caller]
pub(crate) fn assert_close(actual: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(actual.len(), expected.len(), "lengths differ");
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        // Not `>`: a NaN has to fail too.
        assert!((a - e).abs() <= tolerance, "element {i}: {a} is not {e} +- {tolerance}");
    }
}
