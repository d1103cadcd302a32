//! Resizing of images.

use crate::common::{Case, Tolerance};
use shadetell::engine::graph::DType;
use shadetell::engine::ops::{Interpolation, Resize2d};

const BILINEAR: [Interpolation; 2] =
    [Interpolation::Bilinear { align_corners: false }, Interpolation::Bilinear { align_corners: true }];

const SIZES: [([usize; 4], [usize; 2]); 9] = [
    ([1, 1, 1, 1], [1, 1]),
    ([1, 1, 1, 3], [4, 5]),
    ([2, 4, 5, 3], [8, 10]),
    ([1, 7, 3, 5], [11, 13]),
    ([3, 6, 9, 2], [5, 4]),
    ([1, 5, 6, 4], [1, 1]),
    ([1, 5, 6, 4], [5, 6]),
    ([1, 2, 300, 1], [1, 977]),
    ([1, 6, 2, 1], [282, 3]),
];

#[test]
fn nearest_pixels_agree_with_the_reference() {
    for (x, size) in SIZES {
        let mut case = Case::new(1);
        let operands = vec![case.random_input(x)];
        case.last(Resize2d { size, interpolation: Interpolation::Nearest }, operands);
        case.check(&format!("{x:?} to {size:?}"), Tolerance::Exact);
    }
}

#[test]
fn bilinear_interpolation_agrees_with_the_reference() {
    for (x, size) in SIZES {
        for interpolation in BILINEAR {
            let mut case = Case::new(2);
            let operands = vec![case.random_input(x)];
            let op = Resize2d { size, interpolation };
            case.last(op, operands);
            case.check(&format!("{op:?} of {x:?}"), Tolerance::Close);
        }
    }
}

/// With bilinear interpolation a NaN affects neighbouring pixels; with nearest pixels, only those that copy it.
#[test]
fn extreme_values_affect_only_neighbouring_pixels() {
    for interpolation in [Interpolation::Nearest, BILINEAR[0], BILINEAR[1]] {
        let mut case = Case::new(3);
        let mut values = case.random.values(2 * 5 * 5);
        (values[12], values[30], values[49]) = (f32::NAN, f32::INFINITY, f32::MAX);
        let x = case.input([2, 5, 5, 1], values);
        case.last(Resize2d { size: [13, 8], interpolation }, vec![x]);
        assert!(case.expected()[0].f32().iter().filter(|v| v.is_finite()).count() > 104);
        case.check(&format!("{interpolation:?}"), Tolerance::Close);
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    for (shape, size, expected) in [
        (vec![3, 4, 5], [6, 8], "[N, H, W, C]"),
        (vec![1, 3, 4, 5], [0, 8], "above 0"),
        (vec![1, 3, 4, 5], [8, 1 << 29], "2^31"),
        (vec![1, 3, 4, 5], [usize::MAX, 8], "2^31"),
    ] {
        for interpolation in [Interpolation::Nearest, BILINEAR[1]] {
            let mut case = Case::new(0);
            let x = case.graph.input("x", shape.clone(), DType::F32).unwrap();
            let error = case.graph.resize2d("larger", x, Resize2d { size, interpolation }).unwrap_err();
            assert!(error.message.contains(expected), "{error}");
        }
    }
}
