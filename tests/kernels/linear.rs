//! Linear layers: few rows, many rows, any number of columns.

use crate::activation::FUSED;
use crate::common::{Case, Tolerance};
use shadetell::engine::graph::Shape;
use shadetell::engine::ops::{Activation, Linear};

fn case(seed: u64, x: impl Into<Shape>, outputs: usize, activation: Activation) -> Case {
    let mut case = Case::new(seed);
    let x = x.into();
    let inputs = x.last();
    let operands =
        vec![case.random_input(x), case.random_weight([outputs, inputs]), case.random_weight([outputs])];
    case.last(Linear { activation }, operands);
    case
}

#[test]
fn any_number_of_rows_agrees_with_the_reference() {
    for rows in 1..=20 {
        for (inputs, outputs) in [(5, 7), (8, 12), (33, 35)] {
            // A batch of rows, and a single item with all rows, use different kernels.
            for shape in [vec![rows, inputs], vec![1, rows, inputs]] {
                let label = format!("{shape:?} to {outputs}");
                case(rows as u64, shape, outputs, Activation::Identity).check(&label, Tolerance::Approximate);
            }
        }
    }
}

#[test]
fn every_candidate_agrees_with_the_reference() {
    for (rows, inputs, outputs) in [(1, 5, 7), (3, 64, 33), (8, 16, 35), (9, 12, 7), (20, 520, 36)] {
        for shape in [vec![rows, inputs], vec![1, rows, inputs]] {
            let label = format!("{shape:?} to {outputs}");
            case(7, shape, outputs, Activation::Relu).check_candidates(&label, Tolerance::Approximate);
        }
    }
}

#[test]
fn weights_of_16_bits_agree_with_the_reference() {
    for (rows, inputs, outputs) in [(1, 5, 7), (2, 33, 258), (8, 16, 32), (9, 7, 35)] {
        let mut case = Case::new(rows as u64);
        let operands = vec![
            case.random_input([rows, inputs]),
            case.half_weight([outputs, inputs]),
            case.random_weight([outputs]),
        ];
        case.last(Linear::default(), operands);
        assert!(case.kernels().iter().all(|kernel| kernel.contains("[HALF]")));
        let label = format!("{rows} rows of {inputs} to {outputs}");
        case.check(&label, Tolerance::Approximate);
        case.check_candidates(&label, Tolerance::Approximate);
    }
}

#[test]
fn any_number_of_columns_agrees_with_the_reference() {
    for outputs in [1, 2, 3, 4, 31, 32, 33, 34, 255, 256, 257, 258] {
        for inputs in [1, 3, 64, 130] {
            let label = format!("{inputs} to {outputs}");
            case(outputs as u64, [2, inputs], outputs, Activation::Identity)
                .check(&label, Tolerance::Approximate);
        }
    }
}

/// Sums that are too long for a single loop on some software drivers.
#[test]
fn very_long_rows_agree_with_the_reference() {
    case(3, [2, 70_000], 5, Activation::Identity).check("[2, 70000] to 5", Tolerance::Approximate);
}

#[test]
fn grids_and_single_vectors_agree_with_the_reference() {
    for shape in [vec![6], vec![2, 3, 6], vec![2, 2, 3, 8], vec![1, 7, 7, 12]] {
        let label = format!("{shape:?}");
        case(1, shape, 20, Activation::Identity).check(&label, Tolerance::Approximate);
    }
}

#[test]
fn every_activation_agrees_with_the_reference() {
    for activation in FUSED {
        // Few rows, many rows with a row kernel, many rows as a matrix product.
        for (rows, outputs) in [(3, 9), (11, 9), (11, 8)] {
            let label = format!("{activation:?}, {rows} rows");
            case(2, [1, rows, 12], outputs, activation).check(&label, Tolerance::Approximate);
        }
    }
}

#[test]
fn large_values_agree_with_the_reference() {
    for rows in [1, 12] {
        let mut case = Case::new(5);
        let values = (0..rows * 16).map(|_| case.random.value() * 1e4).collect();
        let x = case.input([1, rows, 16], values);
        let weight = (0..8 * 16).map(|_| case.random.value() * 1e4).collect();
        let weight = case.weight([8, 16], weight);
        let bias = case.random_weight([8]);
        case.last(Linear::default(), vec![x, weight, bias]);
        case.check(&format!("{rows} rows"), Tolerance::Approximate);
    }
}

/// NaN stays in its row.
#[test]
fn nan_stays_nan() {
    for activation in FUSED {
        for (rows, inputs, outputs) in [(1, 5, 7), (3, 64, 33), (20, 12, 36)] {
            for shape in [vec![rows, inputs], vec![1, rows, inputs]] {
                let label = format!("{activation:?}, {shape:?} to {outputs}");
                let mut case = Case::new(8);
                let mut values = case.random.values(rows * inputs);
                values[inputs / 2] = f32::NAN;
                let x = case.input(shape, values);
                let operands = vec![x, case.random_weight([outputs, inputs]), case.random_weight([outputs])];
                case.last(Linear { activation }, operands);
                let count = case.expected()[0].f32().iter().filter(|v| v.is_nan()).count();
                assert_eq!(count, outputs, "{label}");
                case.check(&label, Tolerance::Approximate);
                case.check_candidates(&label, Tolerance::Approximate);
            }
        }
    }
}
