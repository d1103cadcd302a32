//! A scale and a shift for each channel.

use crate::common::{Case, Tolerance};
use shadetell::engine::ops::BatchNorm;

#[test]
fn chosen_sizes_agree_with_the_reference() {
    for x in [vec![1, 1, 1, 1], vec![2, 5, 7, 3], vec![1, 4, 4, 5], vec![3, 3, 3, 64], vec![6, 65], vec![130]]
    {
        let mut case = Case::new(x.len() as u64);
        let channels = x[x.len() - 1];
        let operands = vec![
            case.random_input(x.clone()),
            case.random_weight([channels]),
            case.random_weight([channels]),
        ];
        case.last(BatchNorm, operands);
        case.check(&format!("{x:?}"), Tolerance::Close);
    }
}
