//! Elementwise addition, the joint of a residual block.

use super::activation::apply;
use crate::engine::ops::activation::Activation;

/// `activation(a + b)` of two tensors of the same shape.
pub fn add(a: &[f32], b: &[f32], activation: Activation) -> Vec<f32> {
    debug_assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(&a, &b)| apply(activation, a + b)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_then_activates() {
        let (a, b) = ([1.0, -2.0, 5.0], [0.5, 1.0, 4.0]);
        assert_eq!(add(&a, &b, Activation::Identity), [1.5, -1.0, 9.0]);
        assert_eq!(add(&a, &b, Activation::Relu), [1.5, 0.0, 9.0]);
        assert_eq!(add(&a, &b, Activation::Relu6), [1.5, 0.0, 6.0]);
    }
}
