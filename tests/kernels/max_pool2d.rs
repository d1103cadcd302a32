//! Maxima over windows.

use crate::common::{Case, Random, Tolerance};
use shadetell::engine::ops::{MaxPool2d, Pool2d};

/// Image, kernel, stride and padding.
type Sizes = ([usize; 4], [usize; 2], [usize; 2], [usize; 2]);

/// Sizes for both kinds of pooling.
pub(crate) const TABLE: [Sizes; 10] = [
    ([1, 1, 1, 1], [1, 1], [1, 1], [0, 0]),
    ([1, 1, 1, 3], [3, 3], [2, 2], [1, 1]),
    ([1, 1, 1, 5], [2, 2], [1, 1], [1, 1]),
    ([2, 7, 8, 5], [3, 3], [2, 2], [1, 1]),
    ([1, 13, 11, 3], [3, 3], [2, 2], [1, 1]),
    ([3, 6, 5, 4], [2, 2], [2, 2], [0, 0]),
    ([1, 9, 4, 1], [5, 2], [3, 1], [2, 0]),
    ([1, 4, 9, 65], [1, 4], [1, 3], [0, 2]),
    ([2, 5, 5, 3], [5, 5], [1, 1], [0, 0]),
    ([1, 3, 4, 2], [3, 1], [3, 2], [1, 0]),
];

/// A window that fits into an image.
pub(crate) fn random_pool(random: &mut Random) -> ([usize; 4], Pool2d) {
    loop {
        let x = [3, 11, 11, 9].map(|bound| 1 + random.below(bound));
        let kernel = [0; 2].map(|_| 1 + random.below(5));
        let stride = [0; 2].map(|_| 1 + random.below(4));
        let padding = kernel.map(|side| random.below(side / 2 + 1));
        let pool = Pool2d { kernel, stride, padding, count_include_pad: random.below(2) == 1 };
        if pool.output_size([x[1], x[2]]).is_some() {
            return (x, pool);
        }
    }
}

#[test]
fn chosen_sizes_agree_with_the_reference() {
    for (seed, (x, kernel, stride, padding)) in (0..).zip(TABLE) {
        let mut case = Case::new(seed);
        // Values below zero, so that padding counted as zeros would be the maximum.
        let values = (0..x.iter().product()).map(|_| case.random.value() - 1.5).collect();
        let operands = vec![case.input(x, values)];
        let pool = Pool2d { kernel, stride, padding, count_include_pad: false };
        case.last(MaxPool2d(pool), operands);
        case.check(&format!("{pool:?} of {x:?}"), Tolerance::Exact);
    }
}

#[test]
fn random_sizes_agree_with_the_reference() {
    for seed in 0..30 {
        let mut case = Case::new(seed);
        let (x, pool) = random_pool(&mut case.random);
        let operands = vec![case.random_input(x)];
        case.last(MaxPool2d(pool), operands);
        case.check(&format!("{pool:?} of {x:?}"), Tolerance::Exact);
    }
}

#[test]
fn extreme_values_agree_with_the_reference() {
    let (inf, min) = (f32::INFINITY, f32::MIN);
    let mut case = Case::new(0);
    let x = case.input([1, 2, 4, 1], vec![-inf, -inf, min, -1e4, -inf, -inf, inf, 1e4]);
    let pool = Pool2d { kernel: [2; 2], stride: [2; 2], padding: [0; 2], count_include_pad: false };
    case.last(MaxPool2d(pool), vec![x]);
    assert_eq!(case.expected()[0].f32(), [-inf, inf]);
    case.check("extremes", Tolerance::Exact);
}

/// NaN stays in its windows.
#[test]
fn nan_stays_nan() {
    let (x, kernel, stride, padding) = TABLE[3];
    let mut case = Case::new(4);
    let mut values = case.random.values(x.iter().product());
    for at in [0, 77, 200] {
        values[at] = f32::NAN;
    }
    let image = case.input(x, values);
    case.last(MaxPool2d(Pool2d { kernel, stride, padding, count_include_pad: false }), vec![image]);
    assert!(case.expected()[0].f32().iter().any(|v| v.is_nan()));
    case.check("a NaN here and there", Tolerance::Exact);
}
