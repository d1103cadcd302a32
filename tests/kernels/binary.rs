//! Arithmetic on two tensors.

use crate::activation::FUSED;
use crate::common::{Case, Tolerance};
use shadetell::engine::ops::{Binary, BinaryKind};

/// Every kind, with the tolerance of its kernel.
const ALL: [(BinaryKind, Tolerance); 6] = [
    (BinaryKind::Add, Tolerance::Exact),
    (BinaryKind::Sub, Tolerance::Exact),
    (BinaryKind::Mul, Tolerance::Exact),
    (BinaryKind::Div, Tolerance::Close),
    (BinaryKind::Max, Tolerance::Exact),
    (BinaryKind::Min, Tolerance::Exact),
];

fn check(kind: BinaryKind, a: &[usize], b: &[usize], tolerance: Tolerance) {
    let mut case = Case::new(a.len() as u64);
    let operands = vec![case.random_input(a.to_vec()), case.random_input(b.to_vec())];
    case.last(Binary::from(kind), operands);
    case.check(&format!("{kind:?} of {a:?} and {b:?}"), tolerance);
}

#[test]
fn any_length_and_kind_agrees_with_the_reference() {
    for (kind, tolerance) in ALL {
        for len in [1, 3, 64, 65, 777, 1024] {
            check(kind, &[len], &[len], tolerance);
        }
    }
}

#[test]
fn any_activation_agrees_with_the_reference() {
    for activation in FUSED {
        for len in [65, 1024] {
            let mut case = Case::new(len as u64);
            let operands = vec![case.random_input([len]), case.random_input([len])];
            case.last(Binary { kind: BinaryKind::Add, activation }, operands);
            case.check(&format!("{activation:?} of {len}"), Tolerance::Exact);
        }
    }
}

#[test]
fn shapes_are_broadcast() {
    let pairs: [(&[usize], &[usize]); 13] = [
        (&[2, 5, 6, 3], &[3]),
        (&[2, 5, 6, 8], &[8]),
        (&[2, 5, 6, 8], &[2, 1, 1, 8]),
        (&[2, 5, 6, 7], &[2, 1, 1, 7]),
        (&[2, 5, 6, 8], &[5, 6, 1]),
        (&[2, 5, 6, 8], &[1]),
        (&[2, 5, 1, 8], &[1, 6, 1]),
        (&[3, 1], &[1, 70]),
        (&[4, 1], &[64]),
        (&[2, 1, 3, 1, 5, 1], &[1, 2, 1, 3, 1, 4]),
        (&[2, 1, 3, 1, 5, 1, 4, 4], &[2, 1, 3, 1, 1, 4, 4]),
        (&[1, 1], &[1]),
        (&[9, 257], &[9, 257]),
    ];
    for (a, b) in pairs {
        check(BinaryKind::Sub, a, b, Tolerance::Exact);
        check(BinaryKind::Sub, b, a, Tolerance::Exact);
    }
}

#[test]
fn a_tensor_can_be_used_as_both_operands() {
    let mut case = Case::new(1);
    let x = case.random_input([2, 5, 5, 3]);
    case.last(Binary::from(BinaryKind::Add), vec![x, x]);
    case.check("x + x", Tolerance::Exact);
}

#[test]
fn extreme_values_and_nan_agree_with_the_reference() {
    let (inf, max, nan) = (f32::INFINITY, f32::MAX, f32::NAN);
    let a = [inf, -inf, max, -max, 1e4, -1e4, inf, 2e-38, nan, 2.0, nan, nan, -inf, 1.0, 0.0, -0.0];
    let b = [1.0, 1.0, max, -max, -1e4, 1e-4, inf, 1e38, 2.0, nan, nan, inf, nan, 0.0, 0.0, 5.0];
    for (kind, tolerance) in ALL {
        for activation in FUSED {
            // Four values at a time, and one at a time.
            for start in [0, 1] {
                let mut case = Case::new(1);
                let [a, b] =
                    [a, b].map(|values| case.input([values.len() - start], values[start..].to_vec()));
                case.last(Binary { kind, activation }, vec![a, b]);
                case.check(&format!("{kind:?} {activation:?} from {start}"), tolerance);
            }
        }
    }
}

#[test]
fn shapes_that_do_not_go_together_are_refused() {
    let mut case = Case::new(1);
    let [a, b] = [[2, 3], [2, 2]].map(|shape| case.random_input(shape));
    let error = case.graph.mul("y", a, b).unwrap_err();
    assert_eq!(
        error.to_string(),
        "y (binary): expected sizes that are equal or 1, from the innermost axis on, found [2, 3] and [2, 2]"
    );
}
