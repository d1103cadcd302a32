//! A step of an LSTM.

use crate::common::{Case, Tolerance};
use shadetell::engine::ops::LstmCell;

/// A step for rows, units, and one or two inputs; weights and values are scaled.
fn case(rows: usize, hidden: usize, inputs: &[usize], scale: f32) -> Case {
    let mut case = Case::new((rows * 100 + hidden) as u64);
    let columns = inputs.iter().sum::<usize>() + hidden;
    let mut operands = vec![case.random_input([rows, hidden]), case.random_input([rows, hidden])];
    let weight = (0..4 * hidden * columns).map(|_| case.random.value() * scale).collect();
    operands.push(case.weight([4 * hidden, columns], weight));
    operands.push(case.random_weight([4 * hidden]));
    for &width in inputs {
        operands.push(case.random_input([rows, width]));
    }
    case.last(LstmCell, operands);
    case
}

#[test]
fn any_number_of_rows_agrees_with_the_reference() {
    for rows in 1..=20 {
        case(rows, 5, &[3], 1.0).check(&format!("{rows} rows"), Tolerance::Approximate);
        case(rows, 5, &[3, 4], 1.0).check(&format!("{rows} rows of two inputs"), Tolerance::Approximate);
        case(rows, 12, &[8, 4], 1.0).check(&format!("{rows} rows of fours"), Tolerance::Approximate);
    }
}

#[test]
fn every_candidate_agrees_with_the_reference() {
    for (rows, hidden, inputs) in [(1, 5, &[3][..]), (3, 64, &[20]), (9, 33, &[8, 12]), (33, 36, &[8, 12])] {
        let label = format!("{rows} rows, {hidden} units, inputs {inputs:?}");
        case(rows, hidden, inputs, 1.0).check_candidates(&label, Tolerance::Approximate);
    }
}

#[test]
fn weights_of_16_bits_agree_with_the_reference() {
    for (rows, hidden, columns) in [(1, 5, 3), (3, 64, 20), (9, 33, 8), (16, 36, 8)] {
        let mut case = Case::new(rows as u64);
        let operands = vec![
            case.random_input([rows, hidden]),
            case.random_input([rows, hidden]),
            case.half_weight([4 * hidden, columns + hidden]),
            case.random_weight([4 * hidden]),
            case.random_input([rows, columns]),
        ];
        case.last(LstmCell, operands);
        assert!(case.kernels().iter().all(|kernel| kernel.contains("[HALF]")));
        case.check(&format!("{rows} rows, {hidden} units, {columns} inputs"), Tolerance::Approximate);
    }
}

#[test]
fn any_number_of_units_agrees_with_the_reference() {
    for hidden in [1, 7, 8, 9, 63, 64, 65, 130] {
        for inputs in [&[1][..], &[64], &[5, 1], &[33, 20]] {
            let label = format!("{hidden} units, inputs {inputs:?}");
            case(3, hidden, inputs, 1.0).check(&label, Tolerance::Approximate);
        }
    }
}

/// Fully open or closed gates, far beyond the overflow of the exponential.
#[test]
fn saturated_gates_agree_with_the_reference() {
    for scale in [1e4, 1e30] {
        let case = case(2, 9, &[4], scale);
        for state in case.expected() {
            assert!(state.f32().iter().all(|v| v.is_finite()));
        }
        case.check(&format!("weights of {scale}"), Tolerance::Approximate);
    }
}

/// NaN stays in its row.
#[test]
fn nan_stays_nan() {
    for (rows, hidden, inputs) in [(2, 5, 3), (3, 32, 8), (12, 8, 4)] {
        let mut case = Case::new(6);
        let state = [case.random_input([rows, hidden]), case.random_input([rows, hidden])];
        let weight = case.random_weight([4 * hidden, inputs + hidden]);
        let bias = case.random_weight([4 * hidden]);
        let mut values = case.random.values(rows * inputs);
        values[inputs + 1] = f32::NAN;
        let x = case.input([rows, inputs], values);
        case.last(LstmCell, vec![state[0], state[1], weight, bias, x]);
        for result in case.expected() {
            assert_eq!(result.f32().iter().filter(|v| v.is_nan()).count(), hidden);
        }
        let label = format!("{rows} rows, {hidden} units");
        case.check(&label, Tolerance::Approximate);
        case.check_candidates(&label, Tolerance::Approximate);
    }
}
