//! Parts of axes.

use super::positions::{positions, row_major};
use crate::engine::graph::Data;

/// `y[i, j, ..] = x[starts[0] + i steps[0], starts[1] + j steps[1], ..]` for `x` and `y` of these sizes.
pub fn slice(x: &Data, sizes: &[usize], new_sizes: &[usize], starts: &[usize], steps: &[usize]) -> Data {
    let own = row_major(sizes);
    let start = starts.iter().zip(&own).map(|(start, own)| start * own).sum();
    let steps: Vec<usize> = steps.iter().zip(&own).map(|(step, own)| step * own).collect();
    x.select(positions(start, new_sizes, &steps))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_closed_form() {
        let x = Data::F32((0..12).map(|n| n as f32).collect());
        let part = |new_sizes: &[usize], starts: &[usize], steps: &[usize]| {
            slice(&x, &[3, 4], new_sizes, starts, steps).f32().to_vec()
        };
        assert_eq!(part(&[2, 2], &[1, 1], &[1, 1]), [5.0, 6.0, 9.0, 10.0]);
        assert_eq!(part(&[2, 2], &[0, 0], &[2, 3]), [0.0, 3.0, 8.0, 11.0]);
        assert_eq!(part(&[1, 4], &[2, 0], &[1, 1]), [8.0, 9.0, 10.0, 11.0]);
        assert_eq!(part(&[3, 4], &[0, 0], &[1, 1]), x.f32());
    }
}
