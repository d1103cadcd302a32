//! Concatenation of tensors.

use crate::common::{Case, Tolerance};
use shadetell::engine::ops::Concat;

fn check(sizes: &[usize], axis: usize, along: &[usize]) {
    let mut case = Case::new(axis as u64);
    let operands = along.iter().map(|&size| {
        let mut sizes = sizes.to_vec();
        sizes[axis] = size;
        case.random_input(sizes)
    });
    let operands = operands.collect();
    case.last(Concat { axis }, operands);
    case.check(&format!("{along:?} along axis {axis} of {sizes:?}"), Tolerance::Exact);
}

#[test]
fn any_axis_agrees_with_the_reference() {
    for axis in 0..4 {
        check(&[2, 3, 5, 7], axis, &[1, 4, 2]);
        check(&[2, 3, 5, 8], axis, &[4, 8]);
        // A part that begins inside a group of four values.
        check(&[2, 3, 5, 4], axis, &[3, 4, 1, 8]);
    }
    check(&[1], 0, &[5, 70]);
    check(&[1, 1, 2, 1, 3, 1], 4, &[2, 3]);
}

/// More than a shader may have storage buffers.
#[test]
fn more_operands_than_storage_buffers_are_supported() {
    check(&[3, 1], 1, &(1..=12).collect::<Vec<_>>());
}

#[test]
fn a_tensor_can_be_used_as_both_operands() {
    let mut case = Case::new(1);
    let x = case.random_input([3, 5]);
    case.last(Concat { axis: 1 }, vec![x, x, x]);
    case.check("x thrice", Tolerance::Exact);
}

#[test]
fn ids_are_supported() {
    let mut case = Case::new(1);
    let operands = vec![case.ids([2, 2], vec![1, 2, u32::MAX, 4]), case.ids([2, 1], vec![0x7f80_0001, 6])];
    case.last(Concat { axis: 1 }, operands);
    case.check("ids", Tolerance::Exact);
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let mut case = Case::new(1);
    let [a, b, c] = [vec![2, 3], vec![2, 4], vec![2, 3, 1]].map(|sizes| case.random_input(sizes));
    let ids = case.ids([2, 3], vec![0; 6]);
    assert!(case.graph.concat("y", &[a, b], 1).is_ok());
    for (operands, axis, expected) in [
        (&[a, b][..], 0, "expected tensors that differ along axis 0 alone, found f32 [2, 3] and f32 [2, 4]"),
        (&[a, c], 1, "found f32 [2, 3] and f32 [2, 3, 1]"),
        (&[a, ids], 1, "found f32 [2, 3] and u32 [2, 3]"),
        (&[a, a], 2, "expected an axis of [2, 3], found axis 2"),
        (&[a], 0, "expected at least 2 operands"),
    ] {
        let error = case.graph.concat("y", operands, axis).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
