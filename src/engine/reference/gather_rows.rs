//! Rows of a matrix by index: beams follow their parents with it.

/// `x` `[R, width]`, `indices` `[M]` to `[M, width]`: row `m` is row `indices[m]` of `x`.
///
/// An index beyond the last row gives zeros, as in the shader, so that nothing is read out of bounds.
pub fn gather_rows(x: &[f32], indices: &[u32], width: usize) -> Vec<f32> {
    let rows = x.len().checked_div(width).unwrap_or(0);
    let mut out = vec![0.0; indices.len() * width];
    for (row, &index) in out.chunks_exact_mut(width.max(1)).zip(indices) {
        let index = index as usize;
        if index < rows {
            row.copy_from_slice(&x[index * width..][..width]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_repeats_and_zeroes() {
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        assert_eq!(gather_rows(&x, &[2, 0, 2], 2), [5.0, 6.0, 1.0, 2.0, 5.0, 6.0]);
        assert_eq!(gather_rows(&x, &[3, 1, u32::MAX], 2), [0.0, 0.0, 3.0, 4.0, 0.0, 0.0]);
        assert!(gather_rows(&x, &[], 2).is_empty());
        assert!(gather_rows(&[], &[0], 0).is_empty());
    }
}
