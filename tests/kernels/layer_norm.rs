//! Layer normalisation over rows.

use crate::common::{Case, Tolerance};
use shadetell::engine::graph::{DType, TensorId};
use shadetell::engine::ops::LayerNorm;

fn weights(case: &mut Case, columns: usize) -> [TensorId; 2] {
    [case.random_weight([columns]), case.random_weight([columns])]
}

#[test]
fn any_number_of_rows_and_columns_agrees_with_the_reference() {
    for [rows, columns] in
        [[1, 1], [1, 2], [3, 5], [5, 63], [2, 64], [2, 65], [7, 200], [1, 2917], [2, 30_000]]
    {
        let mut case = Case::new(columns as u64);
        let x = case.random_input([rows, columns]);
        let [weight, bias] = weights(&mut case, columns);
        case.last(LayerNorm::default(), vec![x, weight, bias]);
        case.check(&format!("[{rows}, {columns}]"), Tolerance::Approximate);
    }
}

#[test]
fn tensors_of_any_rank_agree_with_the_reference() {
    for shape in [vec![70], vec![2, 3, 5], vec![2, 3, 2, 9]] {
        let mut case = Case::new(1);
        let columns = shape[shape.len() - 1];
        let x = case.random_input(shape.clone());
        let [weight, bias] = weights(&mut case, columns);
        case.last(LayerNorm { epsilon: 0.1 }, vec![x, weight, bias]);
        case.check(&format!("{shape:?}"), Tolerance::Approximate);
    }
}

/// Rows far from 0, where a difference of sums of squares would be inaccurate, and constant rows, whose result is the bias.
#[test]
fn rows_with_little_variance_agree_with_the_reference() {
    let mut case = Case::new(2);
    let near =
        |center: f32, spread: f32| (0..64).map(|j| center + spread * (j % 8) as f32).collect::<Vec<_>>();
    let rows = [near(4096.0, 0.5), near(-1e6, 1.0), near(3.0, 0.0), near(0.0, 0.0), near(0.0, 1e-3)];
    let x = case.input([rows.len(), 64], rows.concat());
    let [weight, bias] = weights(&mut case, 64);
    case.last(LayerNorm::default(), vec![x, weight, bias]);
    case.check("little variance", Tolerance::Approximate);
}

#[test]
fn nan_and_infinity_stay_in_their_rows() {
    for place in [0, 63, 64, 99] {
        let mut case = Case::new(3);
        let mut values = case.random.values(4 * 100);
        values[100 + place] = f32::NAN;
        values[200 + place] = f32::INFINITY;
        let x = case.input([4, 100], values);
        let [weight, bias] = weights(&mut case, 100);
        case.last(LayerNorm::default(), vec![x, weight, bias]);
        assert_eq!(case.expected()[0].f32().iter().filter(|v| v.is_nan()).count(), 200);
        case.check(&format!("at {place}"), Tolerance::Approximate);
    }
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    for (channels, epsilon, expected) in [
        (4, 1e-5, "a bias [5]"),
        (5, 0.0, "above 0"),
        (5, f32::NAN, "above 0"),
        (5, f32::INFINITY, "above 0"),
    ] {
        let mut case = Case::new(0);
        let x = case.graph.input("x", [2, 5], DType::F32).unwrap();
        let [weight, bias] = weights(&mut case, channels);
        let error = case.graph.layer_norm("norm", x, weight, bias, LayerNorm { epsilon }).unwrap_err();
        assert!(error.message.contains(expected), "{error}");
    }
}
