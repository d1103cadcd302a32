//! Axes in another order.

use super::positions::{positions, row_major};
use crate::engine::graph::Data;

/// `x` of these sizes with axis `axes[k]` as axis `k`.
pub fn transpose(x: &Data, sizes: &[usize], axes: &[usize]) -> Data {
    let own = row_major(sizes);
    let new_sizes: Vec<usize> = axes.iter().map(|&axis| sizes[axis]).collect();
    let steps: Vec<usize> = axes.iter().map(|&axis| own[axis]).collect();
    x.select(positions(0, &new_sizes, &steps))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_closed_form() {
        let x = Data::U32((0..6).collect());
        assert_eq!(transpose(&x, &[2, 3], &[1, 0]), Data::U32(vec![0, 3, 1, 4, 2, 5]));
        assert_eq!(transpose(&x, &[2, 3], &[0, 1]), x);
        // An image of two rows, one column and three channels: channels first.
        assert_eq!(transpose(&x, &[1, 2, 1, 3], &[0, 3, 1, 2]), Data::U32(vec![0, 3, 1, 4, 2, 5]));
    }

    #[test]
    fn three_axes_go_round() {
        // Element [i, j, k] of [2, 3, 4] holds 100 i + 10 j + k.
        let at = |i: usize, j: usize, k: usize| (100 * i + 10 * j + k) as f32;
        let x: Vec<f32> = (0..24).map(|n| at(n / 12, n / 4 % 3, n % 4)).collect();
        let y = transpose(&Data::F32(x), &[2, 3, 4], &[2, 0, 1]);
        let expected = (0..24).map(|n| at(n / 3 % 2, n % 3, n / 6)).collect();
        assert_eq!(y, Data::F32(expected));
    }
}
