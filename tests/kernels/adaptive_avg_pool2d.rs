//! Means over windows that cover the image for any output size.

use crate::common::{Case, Tolerance};
use shadetell::engine::ops::AdaptiveAvgPool2d;

#[test]
fn chosen_sizes_agree_with_the_reference() {
    let table = [
        ([1, 1, 1, 1], [1, 1]),
        ([2, 7, 7, 5], [1, 1]),
        ([1, 14, 14, 3], [7, 7]),
        ([1, 7, 10, 3], [3, 4]),
        ([3, 5, 8, 1], [5, 8]),
        // An output larger than the image repeats its pixels.
        ([2, 2, 3, 5], [7, 7]),
        ([1, 1, 1, 3], [14, 14]),
        ([1, 8, 3, 4], [3, 8]),
    ];
    for (seed, (x, output)) in (0..).zip(table) {
        let mut case = Case::new(seed);
        let operands = vec![case.random_input(x)];
        case.last(AdaptiveAvgPool2d { output }, operands);
        case.check(&format!("{x:?} to {output:?}"), Tolerance::Close);
    }
}

#[test]
fn random_sizes_agree_with_the_reference() {
    for seed in 0..20 {
        let mut case = Case::new(seed);
        let x = [3, 12, 12, 9].map(|bound| 1 + case.random.below(bound));
        let output = [0; 2].map(|_| 1 + case.random.below(9));
        let operands = vec![case.random_input(x)];
        case.last(AdaptiveAvgPool2d { output }, operands);
        case.check(&format!("{x:?} to {output:?}"), Tolerance::Close);
    }
}
