//! The one door to the matrix multiplication crate.

/// A matrix seen in a slice: element `(r, c)` lies at `r * row_stride + c * column_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
}

impl Matrix<'_> {
    /// Whether all elements of `rows` x `columns`, at least one of each, lie in the slice.
    fn holds(&self, rows: usize, columns: usize) -> bool {
        last([rows, columns], [self.row_stride, self.column_stride])
            .is_some_and(|last| last < self.data.len())
    }
}

/// The index of the last element of a matrix; `None` if no slice is that long.
fn last([rows, columns]: [usize; 2], [row_stride, column_stride]: [usize; 2]) -> Option<usize> {
    let row = rows.checked_sub(1)?.checked_mul(row_stride)?;
    row.checked_add(columns.checked_sub(1)?.checked_mul(column_stride)?)
}

/// `out[m, n] += a[m, k] b[k, n]`, where row `r` of `out` starts at `r * out_stride`.
///
/// The order of the sum over `k` depends on `k` alone, hence a row comes out the same however many rows
/// it is computed with.
pub(crate) fn gemm_add(
    [m, k, n]: [usize; 3],
    a: Matrix<'_>,
    b: Matrix<'_>,
    out: &mut [f32],
    out_stride: usize,
) {
    if m == 0 || k == 0 || n == 0 {
        return;
    }
    assert!(a.holds(m, k) && b.holds(k, n), "a GEMM operand is smaller than its shape");
    let out_holds = last([m, n], [out_stride, 1]).is_some_and(|last| last < out.len());
    assert!(out_stride >= n && out_holds, "a GEMM output is too small");
    // SAFETY: the assertions above keep every element of the three matrices inside its slice, without overflow, and
    // rows of `out` do not overlap. `out` is borrowed mutably, hence disjoint from `a` and `b`. A stride that exceeds
    // `isize` belongs to a single row or column and is multiplied by 0 only.
    // Held by `adds_the_product_with_strides` and `what_lies_outside_is_refused`.
    unsafe {
        matrixmultiply::sgemm(
            m,
            k,
            n,
            1.0,
            a.data.as_ptr(),
            a.row_stride as isize,
            a.column_stride as isize,
            b.data.as_ptr(),
            b.row_stride as isize,
            b.column_stride as isize,
            1.0,
            out.as_mut_ptr(),
            out_stride as isize,
            1,
        );
    }
}

/// `sum_i a[i] * b[i]` in `f64`, over the shorter of the two.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    // Eight running sums: a single one would keep the compiler from vectorising.
    let mut lanes = [0.0f64; 8];
    let (a_blocks, b_blocks) = (a.chunks_exact(8), b.chunks_exact(8));
    let blocks = a_blocks.len().min(b_blocks.len()) * 8;
    for (x, y) in a_blocks.zip(b_blocks) {
        for ((lane, &x), &y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += f64::from(x) * f64::from(y);
        }
    }
    let rest = a[blocks..].iter().zip(&b[blocks..]).map(|(&x, &y)| f64::from(x) * f64::from(y));
    lanes.iter().sum::<f64>() + rest.sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::super::test_data::{assert_close, values};
    use super::*;

    #[test]
    fn adds_the_product_with_strides() {
        // [[1, 2], [3, 4]] times the transpose of [[5, 6], [7, 8]], into a wider output.
        let a = Matrix { data: &[1.0, 2.0, 3.0, 4.0], row_stride: 2, column_stride: 1 };
        let b = Matrix { data: &[5.0, 6.0, 7.0, 8.0], row_stride: 1, column_stride: 2 };
        let mut out = [1.0, 1.0, 9.0, 1.0, 1.0];
        gemm_add([2, 2, 2], a, b, &mut out, 3);
        assert_eq!(out, [18.0, 24.0, 9.0, 40.0, 54.0]);
    }

    #[test]
    fn a_row_does_not_depend_on_its_company() {
        let (k, n) = (1000, 37);
        let (x, w) = (values(19 * k, 1), values(k * n, 2));
        let a = Matrix { data: &x, row_stride: k, column_stride: 1 };
        let b = Matrix { data: &w, row_stride: 1, column_stride: k };
        let mut all = vec![0.0; 19 * n];
        gemm_add([19, k, n], a, b, &mut all, n);
        for row in 0..19 {
            let mut one = vec![0.0; n];
            gemm_add([1, k, n], Matrix { data: &x[row * k..], ..a }, b, &mut one, n);
            assert_eq!(one, all[row * n..][..n], "row {row}");
        }
    }

    #[test]
    fn what_lies_outside_is_refused() {
        let holds = |row_stride, column_stride, sizes: [usize; 2]| {
            Matrix { data: &[1.0; 4], row_stride, column_stride }.holds(sizes[0], sizes[1])
        };
        assert!(holds(2, 1, [2, 2]) && holds(1, 2, [2, 2]) && holds(usize::MAX, 1, [1, 4]));
        assert!(!holds(2, 1, [2, 3]) && !holds(3, 1, [2, 2]) && !holds(1, 4, [1, 2]));
        // Products that would wrap to small numbers.
        assert!(!holds(usize::MAX / 2 + 1, 1, [3, 1]) && !holds(usize::MAX, usize::MAX, [2, 2]));
    }

    #[test]
    #[should_panic(expected = "operand is smaller")]
    fn a_short_operand_is_refused() {
        let short = Matrix { data: &[1.0; 3], row_stride: 2, column_stride: 1 };
        gemm_add([2, 2, 1], short, short, &mut [0.0; 2], 1);
    }

    #[test]
    #[should_panic(expected = "output is too small")]
    fn a_short_output_is_refused() {
        let whole = Matrix { data: &[1.0; 4], row_stride: 2, column_stride: 1 };
        gemm_add([2, 2, 2], whole, whole, &mut [0.0; 3], 2);
    }

    #[test]
    fn dot_sums_blocks_and_rest() {
        for len in [0, 1, 7, 8, 9, 31] {
            let (a, b) = (values(len, 3), values(len + 2, 4));
            let naive: f64 = (0..len).map(|i| f64::from(a[i]) * f64::from(b[i])).sum();
            assert_close(&[dot(&a, &b) as f32], &[naive as f32], 1e-6);
        }
        assert_eq!(dot(&[1e8, 1.0, -1e8, 2.0], &[1.0; 4]), 3.0, "f32 would lose the small terms");
    }
}
