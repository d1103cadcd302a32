//! Products of two computed matrices, over batches.

use crate::common::{Case, Tolerance};
use shadetell::engine::graph::{GraphError, TensorId};
use shadetell::engine::ops::Matmul;

const LAYOUTS: [Matmul; 4] = [
    Matmul { transpose_a: false, transpose_b: false },
    Matmul { transpose_a: true, transpose_b: false },
    Matmul { transpose_a: false, transpose_b: true },
    Matmul { transpose_a: true, transpose_b: true },
];

/// Operands for matrices `[m, k]` and `[k, n]` with these leading axes.
fn operands(case: &mut Case, op: Matmul, batches: [&[usize]; 2], [m, k, n]: [usize; 3]) -> Vec<TensorId> {
    let turned =
        |[rows, columns]: [usize; 2], transposed| if transposed { [columns, rows] } else { [rows, columns] };
    let matrices = [turned([m, k], op.transpose_a), turned([k, n], op.transpose_b)];
    let shapes: Vec<Vec<usize>> =
        batches.iter().zip(matrices).map(|(batch, matrix)| [batch, &matrix[..]].concat()).collect();
    shapes.into_iter().map(|shape| case.random_input(shape)).collect()
}

fn case(op: Matmul, batches: [&[usize]; 2], sizes: [usize; 3]) -> Case {
    let mut case = Case::new(sizes.iter().sum::<usize>() as u64);
    let operands = operands(&mut case, op, batches, sizes);
    case.last(op, operands);
    case
}

#[test]
fn sizes_that_fit_no_tile_agree_with_the_reference() {
    for sizes in
        [[1, 1, 1], [1, 5, 33], [7, 1, 3], [3, 16, 4], [5, 17, 31], [64, 16, 64], [65, 33, 67], [9, 130, 129]]
    {
        for op in LAYOUTS {
            case(op, [&[], &[]], sizes).check(&format!("{sizes:?} {op:?}"), Tolerance::Approximate);
        }
    }
}

#[test]
fn every_candidate_agrees_with_the_reference() {
    for op in LAYOUTS {
        let label = format!("{op:?}");
        case(op, [&[2], &[2]], [70, 19, 37]).check_candidates(&label, Tolerance::Approximate);
    }
}

#[test]
fn batches_broadcast() {
    let table: [[&[usize]; 2]; 10] = [
        [&[3], &[3]],
        [&[2, 3], &[2, 3]],
        [&[3], &[]],
        [&[], &[3]],
        [&[2, 3], &[3]],
        [&[2, 1], &[2, 3]],
        [&[2, 1], &[1, 3]],
        [&[2, 1, 4], &[3, 1]],
        [&[1, 2], &[5, 3, 1]],
        [&[1, 1], &[1]],
    ];
    for batches in table {
        for op in [LAYOUTS[0], LAYOUTS[2]] {
            case(op, batches, [5, 6, 7]).check(&format!("{batches:?} {op:?}"), Tolerance::Approximate);
        }
    }
}

/// Both operands are the same tensor, or one is a constant.
#[test]
fn equal_and_constant_operands_agree_with_the_reference() {
    let mut case = Case::new(1);
    let x = case.random_input([2, 9, 9]);
    case.last(LAYOUTS[2], vec![x, x]);
    let w = case.random_weight([9, 11]);
    case.last(LAYOUTS[0], vec![x, w]);
    let w = case.random_weight([3, 1, 4, 9]);
    case.last(LAYOUTS[0], vec![w, x]);
    case.check("x x^T, x W and W x", Tolerance::Approximate);
}

/// A long sum, for which some software drivers would end the loop early.
#[test]
fn long_sums_agree_with_the_reference() {
    for op in [LAYOUTS[0], LAYOUTS[3]] {
        case(op, [&[], &[]], [2, 70_000, 3]).check(&format!("{op:?}"), Tolerance::Approximate);
    }
}

#[test]
fn extreme_values_affect_only_their_rows_and_columns() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    for op in LAYOUTS {
        let mut case = Case::new(3);
        let (mut a, mut b) = (case.random.values(6 * 6), case.random.values(6 * 6));
        (a[0], a[14], a[29]) = (nan, inf, 1e30);
        (b[3], b[20]) = (-inf, -1e4);
        let operands = vec![case.input([6, 6], a), case.input([6, 6], b)];
        case.last(op, operands);
        case.check(&format!("{op:?}"), Tolerance::Approximate);
    }
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let refusal = |a: &[usize], b: &[usize], op: Matmul| -> GraphError {
        let mut case = Case::new(0);
        let [a, b] = [a, b].map(|shape| case.random_input(shape.to_vec()));
        case.graph.matmul("product", a, b, op).unwrap_err()
    };
    let [plain, transposed] = [LAYOUTS[0], LAYOUTS[2]];
    for (a, b, op, expected) in [
        (&[2, 3][..], &[2, 3][..], plain, "2x3 times 2x3"),
        (&[2, 3], &[3, 2], transposed, "2x3 times 2x3"),
        (&[3], &[3, 2], plain, "at least two axes"),
        (&[2, 4, 3], &[5, 3, 2], plain, "equal or 1"),
        (&[2, 1, 2, 1, 1, 1], &[1, 2, 1, 2, 1, 1], plain, "at most three runs"),
    ] {
        let error = refusal(a, b, op);
        assert!(error.message.contains(expected), "{a:?} {b:?}: {error}");
    }
}
