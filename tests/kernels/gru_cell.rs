//! A step of a GRU.

use crate::common::{Case, Tolerance};
use shadetell::engine::ops::GruCell;

/// A step for rows, inputs and units; weights and values are scaled.
fn case(rows: usize, inputs: usize, hidden: usize, scale: f32) -> Case {
    let mut case = Case::new((rows * 100 + hidden) as u64);
    let mut operands = vec![case.random_input([rows, inputs]), case.random_input([rows, hidden])];
    for columns in [inputs, hidden] {
        let values = case.random.values(3 * hidden * columns).iter().map(|v| v * scale).collect();
        operands.push(case.weight([3 * hidden, columns], values));
    }
    operands.extend([case.random_weight([3 * hidden]), case.random_weight([3 * hidden])]);
    case.last(GruCell, operands);
    case
}

#[test]
fn any_number_of_rows_agrees_with_the_reference() {
    for rows in 1..=20 {
        case(rows, 3, 5, 1.0).check(&format!("{rows} rows"), Tolerance::Approximate);
        case(rows, 8, 12, 1.0).check(&format!("{rows} rows of fours"), Tolerance::Approximate);
    }
}

#[test]
fn every_candidate_agrees_with_the_reference() {
    for (rows, inputs, hidden) in [(1, 3, 5), (3, 20, 64), (9, 12, 33), (33, 12, 36)] {
        let label = format!("{rows} rows, {inputs} inputs, {hidden} units");
        case(rows, inputs, hidden, 1.0).check_candidates(&label, Tolerance::Approximate);
    }
}

#[test]
fn any_number_of_units_agrees_with_the_reference() {
    for hidden in [1, 7, 8, 9, 63, 64, 65, 130] {
        for inputs in [1, 33, 64] {
            let label = format!("{inputs} inputs, {hidden} units");
            case(3, inputs, hidden, 1.0).check(&label, Tolerance::Approximate);
        }
    }
}

#[test]
fn weights_of_16_bits_agree_with_the_reference() {
    for (rows, inputs, hidden) in [(1, 3, 5), (3, 20, 64), (9, 8, 33), (16, 8, 36)] {
        for both in [true, false] {
            let mut case = Case::new(rows as u64);
            let operands = vec![
                case.random_input([rows, inputs]),
                case.random_input([rows, hidden]),
                case.half_weight([3 * hidden, inputs]),
                if both {
                    case.half_weight([3 * hidden, hidden])
                } else {
                    case.random_weight([3 * hidden, hidden])
                },
                case.random_weight([3 * hidden]),
                case.random_weight([3 * hidden]),
            ];
            case.last(GruCell, operands);
            assert!(case.kernels().iter().all(|kernel| kernel.contains("[HALF]") == both));
            let label = format!("{rows} rows, {hidden} units, {inputs} inputs, both {both}");
            case.check(&label, Tolerance::Approximate);
        }
    }
}

/// Fully open or closed gates, far beyond the overflow of the exponential.
#[test]
fn saturated_gates_agree_with_the_reference() {
    for scale in [1e4, 1e30] {
        let case = case(2, 4, 9, scale);
        assert!(case.expected()[0].f32().iter().all(|v| v.is_finite()));
        case.check(&format!("weights of {scale}"), Tolerance::Approximate);
    }
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let mut case = Case::new(1);
    let operands = vec![
        case.random_input([2, 3]),
        case.random_input([2, 4]),
        case.random_weight([12, 3]),
        case.random_weight([12, 3]),
        case.random_weight([12]),
        case.random_weight([12]),
    ];
    let error = case.graph.add_node("step", GruCell, operands).unwrap_err().to_string();
    assert_eq!(error, "step (gru_cell): expected [12, 4] for `weight_hh`, found [12, 3]");
}
