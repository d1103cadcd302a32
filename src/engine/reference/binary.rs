//! Arithmetic on two tensors, among it the joint of a residual block.

use super::activation::apply;
use super::positions::{positions, row_major};
use crate::engine::ops::{Binary, BinaryKind};

/// `a kind b` of two values. The larger and the smaller value are NaN where either is, as in NumPy.
pub fn combine(kind: BinaryKind, a: f32, b: f32) -> f32 {
    match kind {
        BinaryKind::Add => a + b,
        BinaryKind::Sub => a - b,
        BinaryKind::Mul => a * b,
        BinaryKind::Div => a / b,
        BinaryKind::Max if a.is_nan() || a > b => a,
        BinaryKind::Min if a.is_nan() || a < b => a,
        BinaryKind::Max | BinaryKind::Min => b,
    }
}

/// `activation(a kind b)` of two tensors, given as values and sizes, broadcast to `shape`: an operand lacks axes in front or has size 1
/// where it is repeated.
pub fn binary(op: Binary, a: (&[f32], &[usize]), b: (&[f32], &[usize]), shape: &[usize]) -> Vec<f32> {
    let [a_steps, b_steps] = [a.1, b.1].map(|sizes| {
        let own =
            row_major(sizes).into_iter().zip(sizes).map(|(step, &size)| if size == 1 { 0 } else { step });
        vec![0; shape.len() - sizes.len()].into_iter().chain(own).collect::<Vec<_>>()
    });
    let pairs = positions(0, shape, &a_steps).zip(positions(0, shape, &b_steps));
    pairs.map(|(i, j)| apply(op.activation, combine(op.kind, a.0[i], b.0[j]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ops::Activation;

    const NAN: f32 = f32::NAN;

    #[test]
    fn combines_then_activates() {
        let (a, b) = ([1.0, -2.0, 5.0], [0.5, 1.0, 4.0]);
        let with = |kind, activation| binary(Binary { kind, activation }, (&a, &[3]), (&b, &[3]), &[3]);
        assert_eq!(with(BinaryKind::Add, Activation::Identity), [1.5, -1.0, 9.0]);
        assert_eq!(with(BinaryKind::Add, Activation::Relu), [1.5, 0.0, 9.0]);
        assert_eq!(with(BinaryKind::Add, Activation::Relu6), [1.5, 0.0, 6.0]);
        assert_eq!(with(BinaryKind::Sub, Activation::Identity), [0.5, -3.0, 1.0]);
        assert_eq!(with(BinaryKind::Mul, Activation::Identity), [0.5, -2.0, 20.0]);
        assert_eq!(with(BinaryKind::Div, Activation::Identity), [2.0, -2.0, 1.25]);
        assert_eq!(with(BinaryKind::Max, Activation::Identity), [1.0, 1.0, 5.0]);
        assert_eq!(with(BinaryKind::Min, Activation::Identity), [0.5, -2.0, 4.0]);
    }

    #[test]
    fn axes_of_size_one_are_repeated() {
        let add = Binary::from(BinaryKind::Add);
        let (rows, column, row) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [10.0, 20.0], [100.0, 200.0, 300.0]);
        let y = binary(add, (&rows, &[2, 3]), (&column, &[2, 1]), &[2, 3]);
        assert_eq!(y, [11.0, 12.0, 13.0, 24.0, 25.0, 26.0]);
        let y = binary(add, (&row, &[3]), (&rows, &[2, 3]), &[2, 3]);
        assert_eq!(y, [101.0, 202.0, 303.0, 104.0, 205.0, 306.0]);
        let y = binary(add, (&column, &[2, 1]), (&row, &[1, 3]), &[2, 3]);
        assert_eq!(y, [110.0, 210.0, 310.0, 120.0, 220.0, 320.0]);
    }

    #[test]
    fn nan_is_neither_large_nor_small() {
        for kind in [BinaryKind::Max, BinaryKind::Min, BinaryKind::Add] {
            for (a, b) in [(NAN, 1.0), (1.0, NAN), (NAN, NAN), (NAN, f32::INFINITY), (f32::NEG_INFINITY, NAN)]
            {
                assert!(combine(kind, a, b).is_nan(), "{kind:?} of {a} and {b}");
            }
        }
        assert_eq!(combine(BinaryKind::Div, 1.0, 0.0), f32::INFINITY);
        assert!(combine(BinaryKind::Div, 0.0, 0.0).is_nan());
    }
}
