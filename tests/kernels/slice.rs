//! Slices of tensors.
#![expect(
    clippy::type_complexity,
    clippy::single_range_in_vec_init,
    reason = "a table of slices, some of one axis"
)]

use crate::common::{Case, Tolerance};
use shadetell::engine::ops::Slice;
use std::ops::Range;

#[test]
fn any_slice_agrees_with_the_reference() {
    let parts: [(&[usize], &[Range<usize>], &[usize]); 10] = [
        (&[9], &[2..9], &[1]),
        (&[200], &[1..200], &[3]),
        (&[5, 8], &[1..4, 0..8], &[1, 1]),
        (&[5, 8], &[0..5, 4..8], &[1, 1]),
        (&[5, 8], &[0..5, 3..7], &[2, 1]),
        (&[2, 5, 6, 3], &[0..2, 1..5, 0..6, 0..3], &[1, 2, 2, 1]),
        (&[2, 5, 6, 8], &[1..2, 1..4, 2..5, 4..8], &[1; 4]),
        (&[2, 5, 6, 3], &[0..2, 0..5, 0..6, 2..3], &[1; 4]),
        (&[3, 3, 3, 3, 3, 4], &[0..3, 1..3, 0..2, 1..3, 0..2, 1..3], &[2, 1, 1, 1, 1, 1]),
        (&[1], &[0..1], &[1]),
    ];
    for (sizes, ranges, steps) in parts {
        let mut case = Case::new(sizes.len() as u64);
        let x = case.random_input(sizes.to_vec());
        let y = case.graph.slice("y", x, ranges, steps).unwrap();
        case.graph.output(y).unwrap();
        case.check(&format!("{ranges:?} of {sizes:?} in steps of {steps:?}"), Tolerance::Exact);
    }
}

#[test]
fn ids_are_supported() {
    let mut case = Case::new(1);
    let ids = case.ids([3, 2], vec![1, 2, 3, u32::MAX, 0x7f80_0001, 6]);
    case.last(Slice { starts: vec![1, 0], ends: vec![3, 1], steps: vec![1, 1] }, vec![ids]);
    case.check("ids", Tolerance::Exact);
}

#[test]
fn ranges_outside_of_the_axis_are_refused() {
    let mut case = Case::new(1);
    let x = case.random_input([2, 3]);
    for (range, step) in [(0..4, 1), (2..2, 1), (3..3, 1), (0..3, 0)] {
        let error = case.graph.slice("y", x, &[0..2, range.clone()], &[1, step]).unwrap_err().to_string();
        let expected =
            format!("axis 1 of [2, 3] with a step of at least 1, found {range:?} with step {step}");
        assert!(error.contains(&expected), "{error}");
    }
    let error = case.graph.slice("y", x, &[0..2], &[1]).unwrap_err().to_string();
    assert!(
        error.contains("expected starts, ends and steps for the 2 axes of [2, 3], found 1, 1 and 1"),
        "{error}"
    );
}
