//! Word vectors of token ids.

use super::gather_rows::gather_rows;

/// `tokens` `[R]`, `table` `[V, width]` to `[R, width]`, as `torch.nn.functional.embedding`.
///
/// An id of `V` or more gives zeros, as in the shader, so that nothing is read out of bounds.
pub fn embedding(tokens: &[u32], table: &[f32], width: usize) -> Vec<f32> {
    gather_rows(table, tokens, width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_up_rows() {
        let table = [0.1, 0.2, 0.3, 1.1, 1.2, 1.3];
        assert_eq!(embedding(&[1, 0, 2], &table, 3), [1.1, 1.2, 1.3, 0.1, 0.2, 0.3, 0.0, 0.0, 0.0]);
    }
}
