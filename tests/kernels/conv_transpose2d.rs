//! Transposed convolutions: every window, stride and padding.

use crate::common::{Case, Tolerance};
use shadetell::engine::graph::DType;
use shadetell::engine::ops::ConvTranspose2d;

/// The sizes of a transposed convolution.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    x: [usize; 4],
    outputs: usize,
    kernel: [usize; 2],
    op: ConvTranspose2d,
}

fn sizes(
    x: [usize; 4],
    outputs: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    output_padding: [usize; 2],
) -> Sizes {
    Sizes { x, outputs, kernel, op: ConvTranspose2d { stride, padding, output_padding } }
}

impl Sizes {
    fn case(&self, seed: u64) -> Case {
        let mut case = Case::new(seed);
        let [kh, kw] = self.kernel;
        let x = case.random_input(self.x);
        let weight = case.random_weight([self.x[3], self.outputs, kh, kw]);
        let bias = case.random_weight([self.outputs]);
        case.last(self.op, vec![x, weight, bias]);
        case
    }
}

#[test]
fn chosen_sizes_agree_with_the_reference() {
    const NONE: [usize; 2] = [0; 2];
    let table = [
        sizes([1, 1, 1, 1], 1, [1, 1], [1, 1], NONE, NONE),
        // Windows that touch, as in a U-Net.
        sizes([1, 5, 6, 8], 12, [2, 2], [2, 2], NONE, NONE),
        sizes([2, 4, 3, 5], 7, [2, 2], [2, 2], NONE, NONE),
        // Windows that overlap.
        sizes([1, 5, 4, 4], 8, [3, 3], [1, 1], NONE, NONE),
        sizes([1, 5, 4, 3], 5, [3, 3], [1, 1], [1, 1], NONE),
        sizes([2, 6, 5, 3], 4, [4, 4], [2, 2], [1, 1], NONE),
        sizes([1, 7, 5, 6], 36, [3, 3], [2, 2], [1, 1], [1, 1]),
        sizes([1, 3, 9, 2], 3, [5, 4], [3, 2], [2, 1], [2, 0]),
        sizes([3, 2, 2, 4], 130, [4, 4], [1, 1], NONE, NONE),
        // Windows with gaps, which show the bias.
        sizes([1, 4, 5, 3], 6, [1, 1], [3, 2], NONE, [2, 1]),
        sizes([2, 3, 1, 2], 1, [2, 1], [4, 5], NONE, [0, 4]),
        // The stride is larger than the result, which is a single pixel.
        sizes([1, 1, 1, 3], 4, [3, 3], [7, 8], [1, 1], NONE),
        sizes([1, 3, 3, 3], 4, [3, 3], [1, 1], [2, 2], NONE),
        sizes([1, 1, 1, 2], 3, [3, 3], [100_000, 1 << 27], NONE, NONE),
        // The padding removes more than a window.
        sizes([1, 6, 7, 3], 5, [2, 2], [2, 2], [3, 4], [1, 1]),
    ];
    for (seed, sizes) in (0..).zip(table) {
        sizes.case(seed).check(&format!("{sizes:?}"), Tolerance::Approximate);
    }
}

#[test]
fn random_sizes_agree_with_the_reference() {
    for seed in 0..30 {
        let mut random = Case::new(seed).random;
        let mut pair = |least: usize, most: usize| [0; 2].map(|_| least + random.below(most + 1 - least));
        let (kernel, stride, padding) = (pair(1, 5), pair(1, 4), pair(0, 2));
        let (image, [images, inputs], [outputs, _]) = (pair(1, 8), pair(1, 3), pair(1, 40));
        let output_padding = [0, 1].map(|axis| (seed as usize + axis) % stride[axis]);
        let sizes =
            sizes([images, image[0], image[1], inputs], outputs, kernel, stride, padding, output_padding);
        if sizes.op.output_size(image, kernel).is_some() {
            sizes.case(seed).check(&format!("{sizes:?}"), Tolerance::Approximate);
        }
    }
}

/// A value must not affect results outside its windows, even if a kernel reads beyond the end of a row.
#[test]
fn nan_and_infinity_stay_in_their_windows() {
    for (place, value) in [(0, f32::NAN), (17, f32::NAN), (47, f32::INFINITY), (25, -1e30)] {
        let mut case = Case::new(5);
        let mut values = case.random.values(2 * 4 * 3 * 2);
        values[place] = value;
        let x = case.input([2, 4, 3, 2], values);
        let weight = case.random_weight([2, 5, 3, 3]);
        let bias = case.random_weight([5]);
        let op = ConvTranspose2d { stride: [2; 2], padding: [1; 2], output_padding: [1; 2] };
        case.last(op, vec![x, weight, bias]);
        assert!(case.expected()[0].f32().iter().filter(|v| !v.is_finite()).count() <= 9 * 5);
        case.check(&format!("{value} at {place}"), Tolerance::Approximate);
    }
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let op = ConvTranspose2d { stride: [2; 2], ..ConvTranspose2d::default() };
    for (x, weight, bias, op, expected) in [
        (vec![1, 4, 4, 3], vec![2, 5, 3, 3], 5, op, "2 input channels"),
        (vec![1, 4, 4, 2], vec![2, 5, 3, 3], 2, op, "a bias [5]"),
        (vec![1, 4, 4], vec![2, 5, 3, 3], 5, op, "[N, H, W, I]"),
        (vec![1, 4, 4, 2], vec![2, 5], 5, op, "[I, O, KH, KW]"),
        (
            vec![1, 4, 4, 2],
            vec![2, 5, 3, 3],
            5,
            ConvTranspose2d { output_padding: [0, 2], ..op },
            "below the stride",
        ),
        (
            vec![1, 4, 4, 2],
            vec![2, 5, 3, 3],
            5,
            ConvTranspose2d { padding: [5, 0], ..op },
            "larger than the padding",
        ),
    ] {
        let mut case = Case::new(0);
        let x = case.graph.input("x", x, DType::F32).unwrap();
        let (weight, bias) = (case.random_weight(weight), case.random_weight([bias]));
        let error = case.graph.conv_transpose2d("up", x, weight, bias, op).unwrap_err();
        assert!(error.message.contains(expected), "{error}");
    }
}
