//! Softmax and log-softmax over rows.

use crate::common::{Case, Tolerance};
use shadetell::engine::ops::Softmax;

#[test]
fn any_number_of_rows_and_columns_agrees_with_the_reference() {
    for log in [false, true] {
        for [rows, columns] in
            [[1, 1], [1, 2], [3, 5], [5, 63], [2, 64], [2, 65], [7, 200], [1, 2917], [2, 30_000]]
        {
            let mut case = Case::new(columns as u64);
            let values = (0..rows * columns).map(|_| case.random.value() * 15.0).collect();
            let x = case.input([rows, columns], values);
            case.last(Softmax { log }, vec![x]);
            case.check(&format!("[{rows}, {columns}], log {log}"), Tolerance::Close);
        }
    }
}

#[test]
fn tensors_of_any_rank_agree_with_the_reference() {
    for shape in [vec![70], vec![2, 3, 5], vec![1, 2, 2, 9]] {
        let mut case = Case::new(1);
        let x = case.random_input(shape.clone());
        case.last(Softmax { log: false }, vec![x]);
        case.check(&format!("{shape:?}"), Tolerance::Close);
    }
}

#[test]
fn extreme_values_agree_with_the_reference() {
    let (inf, max) = (f32::INFINITY, f32::MAX);
    let rows = [
        [1e4, -1e4, 0.0, 1e4 - 1.0],
        [inf, 1.0, inf, -inf],
        [-inf, 0.0, -inf, 1.0],
        [-inf; 4],
        [max, -max, max, 0.0],
        [-max; 4],
        [3.0; 4],
        [-1e30, -1e30, -2e30, -1e4],
    ];
    for log in [false, true] {
        let mut case = Case::new(0);
        let x = case.input([rows.len(), 4], rows.concat());
        case.last(Softmax { log }, vec![x]);
        case.check(&format!("extremes, log {log}"), Tolerance::Close);
    }
}

/// A long row with a single large value at any place.
#[test]
fn a_single_large_value_in_a_long_row_agrees_with_the_reference() {
    for place in [0, 1, 63, 64, 100, 128] {
        let mut case = Case::new(0);
        let mut values = vec![-1e4; 129];
        values[place] = 1e4;
        let x = case.input([1, 129], values);
        case.last(Softmax { log: false }, vec![x]);
        case.check(&format!("at {place}"), Tolerance::Exact);
    }
}

/// NaN stays in its row.
#[test]
fn nan_stays_nan() {
    for (log, columns) in [(false, 3), (true, 3), (false, 100), (true, 100)] {
        for place in [0, columns / 2, columns - 1] {
            let mut case = Case::new(3);
            let mut values = case.random.values(3 * columns);
            values[columns + place] = f32::NAN;
            let x = case.input([3, columns], values);
            case.last(Softmax { log }, vec![x]);
            assert_eq!(case.expected()[0].f32().iter().filter(|v| v.is_nan()).count(), columns);
            case.check(&format!("at {place} of {columns}, log {log}"), Tolerance::Close);
        }
    }
}
