//! Means over windows.

use crate::common::{Case, Tolerance};
use crate::max_pool2d::{TABLE, random_pool};
use shadetell::engine::ops::{AvgPool2d, Pool2d};

#[test]
fn chosen_sizes_agree_with_the_reference() {
    for (seed, (x, kernel, stride, padding)) in (0..).zip(TABLE) {
        for count_include_pad in [false, true] {
            let mut case = Case::new(seed);
            let operands = vec![case.random_input(x)];
            let pool = Pool2d { kernel, stride, padding, count_include_pad };
            case.last(AvgPool2d(pool), operands);
            case.check(&format!("{pool:?} of {x:?}"), Tolerance::Close);
        }
    }
}

#[test]
fn random_sizes_agree_with_the_reference() {
    for seed in 0..30 {
        let mut case = Case::new(seed);
        let (x, pool) = random_pool(&mut case.random);
        let operands = vec![case.random_input(x)];
        case.last(AvgPool2d(pool), operands);
        case.check(&format!("{pool:?} of {x:?}"), Tolerance::Close);
    }
}
