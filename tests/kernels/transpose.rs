//! Permutation of axes.

use crate::common::{Case, Tolerance};
use shadetell::engine::ops::Transpose;

#[test]
fn any_order_of_axes_agrees_with_the_reference() {
    let orders: [(&[usize], &[usize]); 12] = [
        (&[7], &[0]),
        (&[5, 3], &[1, 0]),
        (&[64, 100], &[1, 0]),
        (&[3, 70, 5], &[0, 2, 1]),
        (&[3, 5, 8], &[1, 0, 2]),
        (&[3, 5, 7], &[1, 0, 2]),
        (&[2, 5, 6, 3], &[0, 3, 1, 2]),
        (&[2, 3, 5, 6], &[0, 2, 3, 1]),
        (&[2, 9, 4, 8], &[0, 2, 1, 3]),
        (&[1, 4, 1, 5], &[3, 2, 1, 0]),
        (&[2, 3, 2, 5, 4], &[4, 1, 3, 0, 2]),
        (&[2, 3, 2, 3, 2, 5], &[5, 3, 1, 4, 2, 0]),
    ];
    for (sizes, axes) in orders {
        let mut case = Case::new(sizes.len() as u64);
        let x = case.random_input(sizes.to_vec());
        case.last(Transpose { axes: axes.to_vec() }, vec![x]);
        case.check(&format!("{sizes:?} by {axes:?}"), Tolerance::Exact);
    }
}

/// Ids, NaN and infinities keep their bits.
#[test]
fn values_are_moved_unchanged() {
    let mut case = Case::new(1);
    let ids = case.ids([2, 3], vec![0, 1, u32::MAX, 0x7fc0_0001, 0x7f80_0001, 1 << 31]);
    let x = case.input([2, 2], vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-40]);
    case.last(Transpose { axes: vec![1, 0] }, vec![ids]);
    case.last(Transpose { axes: vec![1, 0] }, vec![x]);
    case.check("ids and floats", Tolerance::Exact);
}

#[test]
fn two_opposite_transpositions_give_the_input() {
    let mut case = Case::new(1);
    let x = case.random_input([2, 5, 6, 3]);
    let y = case.graph.transpose("y", x, &[0, 3, 1, 2]).unwrap();
    assert_eq!(**case.graph.shape(y), [2, 3, 5, 6]);
    case.last(Transpose { axes: vec![0, 2, 3, 1] }, vec![y]);
    assert_eq!(case.expected(), case.inputs);
    case.check("there and back", Tolerance::Exact);
}

#[test]
fn wrong_axes_are_refused() {
    let mut case = Case::new(1);
    let x = case.random_input([2, 3, 4]);
    for axes in [&[0, 1][..], &[0, 1, 1], &[0, 1, 3]] {
        let error = case.graph.transpose("y", x, axes).unwrap_err().to_string();
        assert!(error.contains(&format!("expected each axis of [2, 3, 4] once, found {axes:?}")), "{error}");
    }
    let bytes = case.bytes([2, 4], vec![0; 8]);
    let error = case.graph.transpose("y", bytes, &[1, 0]).unwrap_err().to_string();
    assert!(error.contains("expected f32 or u32, found u8 [2, 4]"), "{error}");
}
