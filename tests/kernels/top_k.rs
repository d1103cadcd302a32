//! The largest entries of each row.

use crate::common::{Case, Tolerance, compare};
use shadetell::engine::graph::Shape;
use shadetell::engine::ops::{Softmax, TopK};

const NONE: u32 = TopK::NONE;

fn check(label: &str, shape: [usize; 2], values: Vec<f32>, k: usize, suppressed: [u32; 4]) {
    let mut case = Case::new(0);
    let x = case.input(shape, values);
    case.last(TopK { k, suppressed, log_probs: false }, vec![x]);
    case.check(&format!("{label}: {shape:?}, k {k}, without {suppressed:?}"), Tolerance::Exact);
}

#[test]
fn any_number_of_rows_columns_and_entries_agrees_with_the_reference() {
    for [rows, columns] in [[1, 1], [2, 3], [3, 63], [2, 64], [1, 65], [5, 200], [2, 2917]] {
        for k in [1, 2, 3, 5, 20, 64] {
            if k <= columns {
                let values = Case::new((columns + k) as u64).random.values(rows * columns);
                check("random", [rows, columns], values, k, [NONE; 4]);
            }
        }
    }
}

/// A softmax before the operation, separate or fused.
#[test]
fn log_probabilities_agree_with_a_separate_softmax() {
    let inf = f32::INFINITY;
    let random = |n| Case::new(3).random.values(n);
    let table = [
        ([1, 1], random(1)),
        ([3, 65], random(195)),
        ([2, 2917], random(5834)),
        ([1, 4], vec![inf, 1.0, inf, -inf]),
        ([1, 3], vec![-inf; 3]),
        ([1, 3], vec![1e4, -1e4, 1e4]),
    ];
    for (shape, values) in table {
        for k in [1, shape[1].min(5)] {
            let mut case = Case::new(0);
            let x = case.input(shape, values.clone());
            let y = case.node(Softmax { log: true }, vec![x])[0];
            case.last(TopK { k, suppressed: [1, NONE, NONE, NONE], log_probs: false }, vec![y]);
            let apart = case.expected();
            case.graph.fuse();
            assert_eq!(case.graph.nodes().len(), 1);
            let label = format!("{shape:?}, k {k}");
            case.check(&label, Tolerance::Close);
            for (fused, apart) in case.expected().iter().zip(&apart) {
                let shape = Shape::from([shape[0], k]);
                compare(fused, apart, &shape, Tolerance::Close).unwrap_or_else(|e| panic!("{label}\n{e}"));
            }
        }
    }
}

#[test]
fn ties_go_to_the_lowest_column() {
    for columns in [4, 65, 300] {
        let mut random = Case::new(columns as u64).random;
        let values = (0..2 * columns).map(|_| random.below(3) as f32 - 1.0).collect();
        check("ties", [2, columns], values, columns.min(10), [NONE; 4]);
        check("all the same", [1, columns], vec![-7.5; columns], columns.min(64), [NONE; 4]);
    }
    check("zeros of both signs", [1, 5], vec![-0.0, 0.0, -0.0, 0.0, -1.0], 5, [NONE; 4]);
}

#[test]
fn each_row_leaves_out_its_own_columns() {
    for [rows, columns] in [[1usize, 1usize], [2, 31], [3, 32], [3, 33], [2, 2917]] {
        for fuse in [false, true] {
            let mut case = Case::new(columns as u64);
            let words = columns.div_ceil(32);
            let bits = (0..rows * words).map(|_| case.random.below(1 << 32) as u32).collect();
            let mut x = case.random_input([rows, columns]);
            let excluded = case.ids([rows, words], bits);
            if fuse {
                x = case.node(Softmax { log: true }, vec![x])[0];
            }
            let k = columns.min(5);
            case.last(TopK { k, suppressed: [3, NONE, NONE, NONE], log_probs: false }, vec![x, excluded]);
            case.graph.fuse();
            assert_eq!(case.graph.nodes().len(), 1);
            let tolerance = if fuse { Tolerance::Close } else { Tolerance::Exact };
            case.check(&format!("{rows} rows of {columns}, with softmax: {fuse}"), tolerance);
        }
    }
}

#[test]
fn suppressed_columns_are_never_chosen() {
    let values = |n| Case::new(9).random.values(n);
    check("some", [2, 100], values(200), 20, [0, 3, 99, 50]);
    check("twice the same, and one beyond the row", [1, 70], values(70), 5, [1, 1, 4000, NONE]);
    check("more than are left", [1, 5], values(5), 5, [4, 2, 0, NONE]);
    check("all", [2, 4], values(8), 3, [0, 1, 2, 3]);
    check("the only one", [3, 1], values(3), 1, [0, NONE, NONE, NONE]);
}

#[test]
fn extreme_values_are_sorted_as_by_the_reference() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let row = vec![nan, -inf, 1e4, inf, -1e4, f32::MIN, f32::MAX, -nan, inf, -3e38, 1e-38, 0.0];
    for k in [1, 5, 12] {
        check("mixed", [1, 12], row.clone(), k, [NONE; 4]);
    }
    check("nothing but NaN", [1, 70], vec![nan; 70], 3, [1, NONE, NONE, NONE]);
    check("nothing but -inf", [2, 65], vec![-inf; 130], 64, [NONE; 4]);
}

/// NaN stays in its row.
#[test]
fn nan_in_a_row_makes_its_log_probabilities_nan() {
    for columns in [4, 70] {
        let mut case = Case::new(2);
        let mut values = case.random.values(2 * columns);
        values[columns / 2] = f32::NAN;
        let x = case.input([2, columns], values);
        case.last(TopK { k: 3, suppressed: [NONE; 4], log_probs: true }, vec![x]);
        assert_eq!(case.expected()[0].f32().iter().filter(|v| v.is_nan()).count(), 3);
        case.check(&format!("{columns} columns"), Tolerance::Close);
    }
}
