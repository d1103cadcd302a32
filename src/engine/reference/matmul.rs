//! Matrix products over a batch.

use super::gemm::{Matrix, gemm_add};
use crate::engine::ops::Matmul;

/// `op(a) op(b)` for every matrix of the batch, as `torch.matmul`; `op` transposes where `matmul` says so.
///
/// `a` `[.., M, K]` or transposed `[.., K, M]`, `b` `[.., K, N]` or transposed `[.., N, K]`, result `[batch, M, N]`: `batch` are
/// the sizes of the leading axes, to which those of both operands broadcast.
pub fn matmul(
    [a, b]: [&[f32]; 2],
    [a_shape, b_shape]: [&[usize]; 2],
    batch: &[usize],
    matmul: &Matmul,
) -> Vec<f32> {
    let (Some((a_batch, a_size)), Some((b_batch, b_size))) =
        (a_shape.split_last_chunk::<2>(), b_shape.split_last_chunk::<2>())
    else {
        return Vec::new();
    };
    let ([m, k], [_, n]) = matmul.sizes(*a_size, *b_size);
    let matrix = |data, [_, columns]: [usize; 2], transposed| match transposed {
        false => Matrix { data, row_stride: columns, column_stride: 1 },
        true => Matrix { data, row_stride: 1, column_stride: columns },
    };
    let mut out = vec![0.0; batch.iter().product::<usize>() * m * n];
    for (index, out) in out.chunks_exact_mut((m * n).max(1)).enumerate() {
        let a = &a[source(index, batch, a_batch) * m * k..][..m * k];
        let b = &b[source(index, batch, b_batch) * k * n..][..k * n];
        let (a, b) = (matrix(a, *a_size, matmul.transpose_a), matrix(b, *b_size, matmul.transpose_b));
        gemm_add([m, k, n], a, b, out, n);
    }
    out
}

/// Which of an operand's own matrices belongs to matrix `index` of the whole batch. Axes are aligned at the last one; one of
/// size 1 stays where it is.
fn source(mut index: usize, batch: &[usize], own: &[usize]) -> usize {
    let (mut source, mut stride) = (0, 1);
    for (&size, &own) in batch.iter().rev().zip(own.iter().rev()) {
        if own > 1 {
            source += index % size * stride;
        }
        index /= size;
        stride *= own;
    }
    source
}

#[cfg(test)]
mod tests {
    use super::super::test_data::values;
    use super::*;

    const PLAIN: Matmul = Matmul { transpose_a: false, transpose_b: false };

    #[test]
    fn in_closed_form() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 0.0, -1.0, 2.0, 0.5, 1.0]);
        let product = [0.5, 7.0, 2.0, 16.0];
        assert_eq!(matmul([&a, &b], [&[2, 3], &[3, 2]], &[], &PLAIN), product);
        let (a, b) = ([1.0, 4.0, 2.0, 5.0, 3.0, 6.0], [1.0, -1.0, 0.5, 0.0, 2.0, 1.0]);
        let both = Matmul { transpose_a: true, transpose_b: true };
        assert_eq!(matmul([&a, &b], [&[3, 2], &[2, 3]], &[], &both), product);
    }

    #[test]
    fn batches_broadcast() {
        // One by one: scalars as 1x1 matrices.
        let (a, b) = ([1.0, 2.0, 3.0], [10.0, 100.0]);
        let table = [10.0, 100.0, 20.0, 200.0, 30.0, 300.0];
        assert_eq!(matmul([&a, &b], [&[3, 1, 1, 1], &[2, 1, 1]], &[3, 2], &PLAIN), table);
        let turned = [10.0, 20.0, 30.0, 100.0, 200.0, 300.0];
        assert_eq!(matmul([&a, &b], [&[3, 1, 1], &[2, 1, 1, 1]], &[2, 3], &PLAIN), turned);
        assert_eq!(matmul([&a, &b[..1]], [&[3, 1, 1], &[1, 1]], &[3], &PLAIN), [10.0, 20.0, 30.0]);
    }

    #[test]
    fn matrices_do_not_depend_on_their_company() {
        let (a, b) = (values(3 * 4 * 5, 1), values(3 * 5 * 6, 2));
        let all = matmul([&a, &b], [&[3, 4, 5], &[3, 5, 6]], &[3], &PLAIN);
        for matrix in 0..3 {
            let (a, b) = (&a[matrix * 20..][..20], &b[matrix * 30..][..30]);
            assert_eq!(matmul([a, b], [&[4, 5], &[5, 6]], &[], &PLAIN), all[matrix * 24..][..24]);
        }
    }
}
