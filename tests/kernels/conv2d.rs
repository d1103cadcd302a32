//! Convolutions: all kernels, windows, activations and residuals.

use crate::activation::FUSED;
use crate::common::{Case, Random, TARGETS, Tolerance};
use shadetell::engine::ops::{Activation, BatchNorm, Conv2d, Padding, SHADERS};
use shadetell::engine::plan::{Plan, Step, Target, TuningTable};
use std::collections::HashSet;

const NONE: [usize; 4] = [0; 4];

/// The sizes of a convolution; padding is top, bottom, left, right.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    x: [usize; 4],
    outputs: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: [usize; 4],
    groups: usize,
}

/// A window that moves by one pixel over an image without padding.
fn plain(x: [usize; 4], outputs: usize, kernel: usize) -> Sizes {
    Sizes { x, outputs, kernel: [kernel; 2], stride: [1; 2], dilation: [1; 2], padding: NONE, groups: 1 }
}

impl Sizes {
    fn op(&self, activation: Activation) -> Conv2d {
        let [top, bottom, left, right] = self.padding;
        let padding = Padding { top, bottom, left, right };
        Conv2d { stride: self.stride, dilation: self.dilation, padding, groups: self.groups, activation }
    }

    fn case(&self, seed: u64, residual: bool, activation: Activation) -> Case {
        let mut case = Case::new(seed);
        let op = self.op(activation);
        let x = case.random_input(self.x);
        let [kh, kw] = self.kernel;
        let weight = case.random_weight([self.outputs, self.x[3] / self.groups, kh, kw]);
        let mut operands = vec![x, weight, case.random_weight([self.outputs])];
        if residual {
            let [height, width] = op.output_size([self.x[1], self.x[2]], self.kernel).unwrap();
            operands.push(case.random_input([self.x[0], height, width, self.outputs]));
        }
        case.last(op, operands);
        case
    }
}

fn table() -> Vec<Sizes> {
    vec![
        // 1x1 without padding.
        plain([1, 1, 1, 4], 4, 1),
        plain([1, 5, 7, 8], 12, 1),
        plain([2, 3, 3, 12], 36, 1),
        plain([3, 1, 1, 16], 260, 1),
        plain([1, 9, 8, 20], 40, 1),
        Sizes { stride: [2, 2], ..plain([1, 9, 8, 8], 8, 1) },
        Sizes { stride: [1, 3], ..plain([2, 4, 7, 4], 4, 1) },
        // 1x1 with padding, which shows the bias at its border.
        Sizes { padding: [1; 4], ..plain([1, 4, 5, 8], 8, 1) },
        // A window over channels that are a multiple of four.
        Sizes { padding: [1; 4], ..plain([1, 1, 1, 4], 4, 3) },
        Sizes { padding: [1; 4], ..plain([2, 7, 6, 8], 12, 3) },
        Sizes { padding: [0, 1, 0, 1], stride: [2, 2], ..plain([1, 8, 8, 4], 8, 3) },
        Sizes { padding: [3; 4], stride: [2, 2], ..plain([1, 13, 11, 4], 68, 7) },
        Sizes { padding: [2, 1, 0, 3], stride: [1, 2], dilation: [2, 1], ..plain([1, 9, 9, 4], 4, 3) },
        Sizes { kernel: [1, 5], padding: [0, 0, 2, 2], ..plain([1, 4, 9, 4], 4, 1) },
        Sizes { kernel: [3, 1], padding: [2, 0, 0, 0], ..plain([2, 5, 3, 12], 4, 1) },
        Sizes { dilation: [3, 3], padding: [3; 4], ..plain([1, 8, 7, 4], 4, 3) },
        // A window over any number of channels.
        Sizes { padding: [3; 4], stride: [2, 2], ..plain([1, 15, 14, 3], 64, 7) },
        Sizes { padding: [0, 1, 0, 1], stride: [2, 2], ..plain([2, 10, 12, 3], 32, 3) },
        Sizes { padding: [1; 4], ..plain([1, 6, 5, 1], 4, 3) },
        plain([1, 4, 4, 5], 8, 1),
        Sizes { padding: [1, 2, 3, 0], ..plain([1, 3, 3, 6], 4, 2) },
        // 3x3 over many channels, in tiles of outputs that end within the image or beyond it.
        Sizes { padding: [1; 4], ..plain([1, 14, 14, 16], 36, 3) },
        Sizes { padding: [1; 4], ..plain([2, 7, 7, 20], 32, 3) },
        Sizes { padding: [2, 1, 0, 1], ..plain([2, 17, 30, 16], 8, 3) },
        Sizes { padding: [1, 1, 2, 0], ..plain([1, 6, 9, 32], 68, 3) },
        plain([1, 16, 18, 24], 12, 3),
        // One filter for each channel.
        Sizes { padding: [1; 4], groups: 4, ..plain([1, 1, 1, 4], 4, 3) },
        Sizes { padding: [1; 4], groups: 36, ..plain([2, 7, 5, 36], 36, 3) },
        Sizes { padding: [1, 2, 1, 2], stride: [2, 2], groups: 8, ..plain([1, 9, 10, 8], 8, 5) },
        Sizes { padding: [2, 1, 1, 2], groups: 40, ..plain([2, 6, 11, 40], 40, 5) },
        Sizes { padding: [0, 1, 0, 1], stride: [2, 2], groups: 8, ..plain([1, 8, 9, 8], 8, 3) },
        Sizes { padding: [4, 3, 9, 7], groups: 4, ..plain([1, 2, 3, 4], 4, 3) },
        Sizes { padding: [2; 4], dilation: [2, 2], groups: 12, ..plain([1, 6, 6, 12], 12, 3) },
        Sizes { groups: 264, ..plain([1, 3, 4, 264], 264, 1) },
        // Everything else.
        plain([1, 1, 1, 1], 1, 1),
        plain([1, 1, 1, 3], 5, 1),
        plain([2, 5, 4, 8], 66, 1),
        Sizes { padding: [1; 4], groups: 5, ..plain([1, 6, 7, 5], 5, 3) },
        Sizes { padding: [1; 4], groups: 2, ..plain([1, 5, 5, 8], 12, 3) },
        Sizes { padding: [1, 0, 2, 1], stride: [2, 1], groups: 3, ..plain([2, 7, 6, 6], 9, 3) },
        Sizes { groups: 4, padding: [1; 4], ..plain([1, 4, 4, 4], 8, 3) },
        Sizes { dilation: [1, 2], ..plain([3, 4, 6, 3], 1, 2) },
    ]
}

#[test]
fn chosen_sizes_agree_with_the_reference() {
    for (seed, sizes) in (0..).zip(table()) {
        sizes.case(seed, false, Activation::Identity).check(&format!("{sizes:?}"), Tolerance::Approximate);
    }
}

/// Channels, pixels and windows at the ends of tiles, with inputs that are split.
#[test]
fn every_candidate_agrees_with_the_reference() {
    let wide = [
        plain([1, 9, 8, 72], 68, 1),
        plain([1, 7, 7, 20], 64, 1),
        Sizes { padding: [1; 4], stride: [2, 2], ..plain([2, 9, 8, 24], 128, 3) },
        plain([3, 5, 4, 520], 36, 1),
        Sizes { padding: [1; 4], ..plain([2, 9, 8, 72], 8, 3) },
        Sizes { padding: [1, 0, 2, 1], stride: [2, 1], dilation: [1, 2], ..plain([1, 9, 11, 132], 132, 3) },
    ];
    for (seed, sizes) in (300..).zip(table().into_iter().chain(wide)) {
        let label = format!("{sizes:?}");
        let [.., channels] = sizes.x;
        let is_dense = sizes.groups == 1 && channels % 4 == 0;
        if sizes.outputs % 4 == 0 && (is_dense || [channels, sizes.outputs] == [sizes.groups; 2]) {
            let case = sizes.case(seed, seed % 2 == 0, Activation::Relu6);
            case.check_candidates(&label, Tolerance::Approximate);
        }
    }
}

#[test]
fn every_kernel_with_every_activation_agrees_with_the_reference() {
    for (seed, sizes) in (100..).zip(table()).step_by(2) {
        for activation in FUSED {
            let label = format!("{activation:?} {sizes:?}");
            sizes.case(seed, true, activation).check(&label, Tolerance::Approximate);
        }
    }
}

/// Weights that 16 bits hold exactly, until a batch norm is folded into them.
#[test]
fn weights_of_16_bits_agree_with_the_reference() {
    for (seed, sizes) in (200..).zip(table()).filter(|(_, sizes)| sizes.groups == 1) {
        for (folds, residual) in [(false, true), (true, false)] {
            let mut case = Case::new(seed);
            let x = case.random_input(sizes.x);
            let [kh, kw] = sizes.kernel;
            let weight = case.half_weight([sizes.outputs, sizes.x[3], kh, kw]);
            let mut operands = vec![x, weight, case.random_weight([sizes.outputs])];
            if residual {
                let op = sizes.op(Activation::Identity);
                let [height, width] = op.output_size([sizes.x[1], sizes.x[2]], sizes.kernel).unwrap();
                operands.push(case.random_input([sizes.x[0], height, width, sizes.outputs]));
            }
            let y = case.node(sizes.op(Activation::Identity), operands)[0];
            if folds {
                let channels =
                    vec![y, case.random_weight([sizes.outputs]), case.random_weight([sizes.outputs])];
                case.last(BatchNorm, channels);
                case.graph.fuse();
                assert_eq!(case.graph.nodes().len(), 1);
            } else {
                case.graph.output(y).unwrap();
            }
            let label = format!("folds {folds} {sizes:?}");
            case.check(&label, Tolerance::Approximate);
            if folds && sizes.outputs % 4 == 0 && sizes.x[3] % 4 == 0 {
                case.check_candidates(&label, Tolerance::Approximate);
            }
        }
    }
}

#[test]
fn the_chosen_sizes_use_every_kernel() {
    let kernel = |step: &Step| (step.dispatch.kernel.name().to_owned(), step.dispatch.kernel.defines());
    let mut found = HashSet::new();
    let more = [
        plain([1, 5, 4, 520], 36, 1),
        plain([1, 7, 7, 20], 64, 1),
        Sizes { padding: [1; 4], ..plain([1, 9, 8, 12], 64, 3) },
    ];
    for (sizes, half) in table().into_iter().chain(more).flat_map(|sizes| [(sizes, false), (sizes, true)]) {
        let mut case = sizes.case(0, false, Activation::Identity);
        if half {
            let x = case.random_input(sizes.x);
            let weight = case.half_weight([
                sizes.outputs,
                sizes.x[3] / sizes.groups,
                sizes.kernel[0],
                sizes.kernel[1],
            ]);
            let bias = case.random_weight([sizes.outputs]);
            case.last(sizes.op(Activation::Identity), vec![x, weight, bias]);
        }
        for target in [TARGETS[0], TARGETS[1], Target { subgroup: 8, int64: true, ..TARGETS[0] }] {
            for candidates in Plan::candidates(&case.graph, &target) {
                for name in candidates.names {
                    let mut choices = TuningTable::default();
                    choices.insert(candidates.key.clone(), name);
                    let plan = Plan::tuned(&case.graph, &target, &choices).unwrap();
                    found.extend(plan.steps().iter().map(kernel));
                }
            }
            found.extend(Plan::new(&case.graph, &target).unwrap().steps().iter().map(kernel));
        }
    }
    for shader in SHADERS.iter().filter(|s| s.name.starts_with("conv2d_")) {
        for &defines in shader.variants {
            assert!(found.contains(&(shader.name.to_owned(), defines)), "{} {defines:?}", shader.name);
        }
    }
}

#[test]
fn random_sizes_agree_with_the_reference() {
    let mut random = Random::new(20);
    let mut done = 0;
    while done < 60 {
        let groups = random.pick(&[1, 1, 1, 2, 3, 4]);
        let (inputs, outputs) = match random.below(4) {
            // One filter for each channel, where the channels are the groups.
            0 => (groups, groups),
            _ => (groups * (1 + random.below(9)), groups * (1 + random.below(9))),
        };
        let mut pair = |choices: &[usize]| [random.pick(choices), random.pick(choices)];
        let (kernel, stride, dilation) = (pair(&[1, 1, 2, 3, 5]), pair(&[1, 1, 2, 3]), pair(&[1, 1, 2]));
        let [[n, _], [top, bottom], [left, right]] =
            [pair(&[1, 2, 3]), pair(&[0, 0, 1, 2, 3]), pair(&[0, 1, 2, 3])];
        let [height, width] = pair(&[1, 2, 3, 5, 6, 9]);
        let x = [n, height, width, inputs];
        let sizes =
            Sizes { x, outputs, kernel, stride, dilation, padding: [top, bottom, left, right], groups };
        if sizes.op(Activation::Identity).output_size([height, width], kernel).is_none() {
            continue;
        }
        done += 1;
        let activation = random.pick(&FUSED);
        let residual = random.below(2) == 1;
        let label = format!("{activation:?} residual {residual} {sizes:?}");
        sizes.case(done, residual, activation).check(&label, Tolerance::Approximate);
    }
}

/// Padding must not be multiplied: 0 times infinity is NaN.
#[test]
fn infinite_pixels_do_not_reach_beyond_their_window() {
    for (inputs, outputs, groups) in [(4, 4, 1), (3, 4, 1), (4, 4, 4), (3, 3, 3)] {
        let sizes = Sizes { padding: [1; 4], groups, ..plain([1, 5, 5, inputs], outputs, 3) };
        let mut case = Case::new(7);
        let mut values = vec![1.0; 25 * inputs];
        // An incorrect kernel would read the first pixel instead of padding.
        values[..inputs].fill(f32::INFINITY);
        let x = case.input(sizes.x, values);
        let weight = case.weight([outputs, inputs / groups, 3, 3], vec![0.5; outputs * inputs / groups * 9]);
        let bias = case.random_weight([outputs]);
        case.last(sizes.op(Activation::Identity), vec![x, weight, bias]);
        assert!(case.expected()[0].f32().iter().any(|v| v.is_finite()));
        case.check(&format!("{sizes:?}"), Tolerance::Approximate);
    }
}

/// The second channel of all pixels of the first image is NaN, and so is one value of the residual.
#[test]
fn nan_stays_nan() {
    let winograd = Sizes { padding: [1; 4], ..plain([2, 14, 14, 16], 36, 3) };
    let depthwise = |stride| Sizes { padding: [1; 4], stride, groups: 8, ..plain([2, 6, 7, 8], 8, 3) };
    let table = [
        plain([2, 5, 7, 8], 12, 1),
        plain([2, 5, 4, 6], 8, 1),
        Sizes { padding: [1; 4], stride: [2, 2], ..plain([2, 9, 8, 72], 68, 3) },
        winograd,
        depthwise([1, 1]),
        depthwise([2, 2]),
        Sizes { padding: [1; 4], groups: 3, ..plain([2, 5, 5, 6], 9, 3) },
    ];
    for (sizes, activation) in table.into_iter().flat_map(|sizes| FUSED.map(|a| (sizes, a))) {
        let label = format!("{activation:?} {sizes:?}");
        let op = sizes.op(activation);
        let mut case = Case::new(9);
        let [images, height, width, channels] = sizes.x;
        let mut values = case.random.values(images * height * width * channels);
        values[..height * width * channels].iter_mut().skip(1).step_by(channels).for_each(|v| *v = f32::NAN);
        let x = case.input(sizes.x, values);
        let [kh, kw] = sizes.kernel;
        let weight = case.random_weight([sizes.outputs, channels / sizes.groups, kh, kw]);
        let bias = case.random_weight([sizes.outputs]);
        let [height, width] = op.output_size([height, width], sizes.kernel).unwrap();
        let mut values = case.random.values(images * height * width * sizes.outputs);
        *values.last_mut().unwrap() = f32::NAN;
        let residual = case.input([images, height, width, sizes.outputs], values);
        case.last(op, vec![x, weight, bias, residual]);
        let count = case.expected()[0].f32().iter().filter(|v| v.is_nan()).count();
        assert_eq!(count, height * width * sizes.outputs / sizes.groups + 1, "{label}");
        case.check(&label, Tolerance::Approximate);
        if channels % 4 == 0 {
            case.check_candidates(&label, Tolerance::Approximate);
        }
    }
}
