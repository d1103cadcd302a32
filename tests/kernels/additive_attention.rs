//! Additive attention: weights and context.

use crate::common::{Case, Tolerance};
use shadetell::engine::graph::TensorId;
use shadetell::engine::ops::{AttentionContext, AttentionWeights};

/// Images, rows, pixels, keys, channels, and columns of the query between the keys and the gate.
const TABLE: [[usize; 6]; 12] = [
    [1, 1, 1, 1, 1, 0],
    [1, 1, 49, 12, 20, 0],
    [1, 3, 49, 64, 65, 0],
    [2, 2, 9, 5, 3, 1],
    [2, 6, 64, 7, 5, 0],
    [3, 15, 65, 3, 10, 2],
    [1, 5, 196, 8, 33, 0],
    [2, 10, 130, 1, 1, 0],
    [1, 20, 3, 4, 130, 7],
    [2, 22, 49, 4, 132, 0],
    [3, 24, 9, 8, 64, 1],
    // As large as the model of the paper: some drivers end very long loops early.
    [1, 1, 196, 512, 24, 0],
];

/// Adds weights and context for these sizes; returns the columns of the query.
fn both([images, rows, pixels, keys, channels, extra]: [usize; 6], case: &mut Case, query: TensorId) {
    let operands = vec![
        case.random_input([images, pixels, keys]),
        query,
        case.random_weight([keys]),
        case.random_weight([1]),
    ];
    let alpha = case.node(AttentionWeights, operands)[0];
    case.graph.output(alpha).unwrap();
    assert_eq!(case.graph.shape(query).to_vec(), [rows, keys + extra + channels]);
    let grid = case.random_input([images, pixels, channels]);
    case.last(AttentionContext, vec![grid, alpha, query]);
}

#[test]
fn chosen_sizes_agree_with_the_reference() {
    for (seed, sizes) in (0..).zip(TABLE) {
        let [_, rows, _, keys, channels, extra] = sizes;
        let mut case = Case::new(seed);
        let query = case.random_input([rows, keys + extra + channels]);
        both(sizes, &mut case, query);
        case.check(&format!("{sizes:?}"), Tolerance::Approximate);
    }
}

/// Scores of a very certain and of a very uncertain model.
#[test]
fn extreme_scores_agree_with_the_reference() {
    // Whole numbers times a power of two: the scores are exact at any magnitude.
    for magnitude in [0.0, 8192.0, -8192.0, 1e18f32.log2().floor().exp2()] {
        let mut case = Case::new(3);
        let mut whole =
            |len: usize| (0..len).map(|_| (case.random.below(7) as f32 - 3.0) * magnitude).collect();
        let [keys, query, v] = [2 * 70 * 6, 4 * 11, 6].map(&mut whole);
        let operands = vec![
            case.input([2, 70, 6], keys),
            case.input([4, 11], query),
            case.weight([6], v),
            case.weight([1], vec![1.0]),
        ];
        let query = operands[1];
        let alpha = case.node(AttentionWeights, operands)[0];
        case.graph.output(alpha).unwrap();
        let grid = case.random_input([2, 70, 5]);
        case.last(AttentionContext, vec![grid, alpha, query]);
        for row in case.expected()[0].f32().chunks(70) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5, "a row of weights sums to 1");
        }
        case.check(&format!("times {magnitude}"), Tolerance::Close);
    }
}

/// In the rows of an image with a NaN among its keys, and in no others.
#[test]
fn nan_stays_nan() {
    const KEYS: usize = 12;
    for pixels in [3, 70] {
        for place in [0, pixels * KEYS - 1] {
            let mut case = Case::new(5);
            let mut values = case.random.values(2 * pixels * KEYS);
            values[place] = f32::NAN;
            let operands = vec![
                case.input([2, pixels, KEYS], values),
                case.random_input([4, KEYS]),
                case.random_weight([KEYS]),
                case.random_weight([1]),
            ];
            case.last(AttentionWeights, operands);
            assert_eq!(case.expected()[0].f32().iter().filter(|v| v.is_nan()).count(), 2 * pixels);
            case.check(&format!("at {place} of {pixels} pixels"), Tolerance::Approximate);
        }
    }
}
