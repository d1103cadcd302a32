//! Invalid graphs are refused: for every operation, operands of another type, computed operands where a constant is needed, missing
//! operands and extra ones; sizes of zero; tensors of other graphs. No adapter is needed.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use shadetell::engine::graph::{DType, Graph, TensorId};
use shadetell::engine::ops::{
    Activation, AdaptiveAvgPool2d, AttentionContext, AttentionWeights, AvgPool2d, BatchNorm, BeamStep,
    Binary, BinaryKind, Concat, Conv2d, ConvTranspose2d, Embedding, GatherRows, GruCell, Interpolation,
    LayerNorm, Linear, LstmCell, Matmul, MaxPool2d, Op, Padding, Pool2d, Preprocess, Reshape, Resize2d,
    Slice, Softmax, TokenMask, TopK, Transpose,
};

/// An operand: its kind and its sizes.
#[derive(Clone, Copy)]
enum Operand {
    F32(&'static [usize]),
    U32(&'static [usize]),
    U8(&'static [usize]),
    Weight(&'static [usize]),
}
use Operand::{F32, U8, U32, Weight};

impl Operand {
    fn add_to(self, graph: &mut Graph) -> TensorId {
        match self {
            F32(shape) => graph.input("x", shape.to_vec(), DType::F32).unwrap(),
            U32(shape) => graph.input("x", shape.to_vec(), DType::U32).unwrap(),
            U8(shape) => graph.input("x", shape.to_vec(), DType::U8).unwrap(),
            Weight(shape) => graph.constant("w", shape.to_vec(), vec![0.5; shape.iter().product()]).unwrap(),
        }
    }

    /// The same sizes with every other element type, and a computed tensor in place of a constant.
    fn others(self) -> Vec<Operand> {
        match self {
            F32(shape) => vec![U32(shape), U8(shape)],
            U32(shape) => vec![F32(shape), U8(shape), Weight(shape)],
            U8(shape) => vec![F32(shape), U32(shape), Weight(shape)],
            Weight(shape) => vec![F32(shape), U32(shape), U8(shape)],
        }
    }
}

/// Every operation with valid operands, the number of optional ones, and one invalid operand (its place and its sizes).
struct Row {
    op: Op,
    operands: Vec<Operand>,
    optional: usize,
    misfit: (usize, &'static [usize]),
    /// Whether it accepts both floats and ids, as long as all operands have the same type.
    words: bool,
    /// Whether any number of operands may follow.
    repeats: bool,
}

fn row(op: impl Into<Op>, operands: &[Operand], misfit: (usize, &'static [usize])) -> Row {
    Row { op: op.into(), operands: operands.to_vec(), optional: 0, misfit, words: false, repeats: false }
}

fn table() -> Vec<Row> {
    let pool = Pool2d { kernel: [2; 2], stride: [1; 2], padding: [0; 2], count_include_pad: true };
    let top = TopK { k: 2, suppressed: [TopK::NONE; 4], log_probs: false };
    let preprocess = Preprocess { mean: [0.5; 3], std: [0.5; 3], padded: false };
    let image = F32(&[2, 4, 4, 3]);
    vec![
        row(Activation::Relu, &[F32(&[3])], (0, &[])),
        row(Binary::from(BinaryKind::Add), &[F32(&[2, 3]), F32(&[2, 3])], (1, &[3, 2])),
        row(Binary::from(BinaryKind::Mul), &[F32(&[2, 3]), F32(&[3])], (1, &[2])),
        row(MaxPool2d(pool), &[image], (0, &[4, 3])),
        row(AvgPool2d(pool), &[image], (0, &[2, 1, 4, 3])),
        row(AdaptiveAvgPool2d { output: [1; 2] }, &[image], (0, &[4, 4, 3])),
        row(BatchNorm, &[image, Weight(&[3]), Weight(&[3])], (2, &[4])),
        Row {
            optional: 1,
            ..row(
                Conv2d { padding: Padding::uniform(1), ..Conv2d::default() },
                &[image, Weight(&[5, 3, 3, 3]), Weight(&[5]), F32(&[2, 4, 4, 5])],
                (1, &[5, 4, 3, 3]),
            )
        },
        row(ConvTranspose2d::default(), &[image, Weight(&[3, 5, 2, 2]), Weight(&[5])], (1, &[5, 3, 2, 2])),
        row(Resize2d { size: [3; 2], interpolation: Interpolation::Nearest }, &[image], (0, &[4, 4, 3])),
        row(LayerNorm::default(), &[F32(&[2, 3]), Weight(&[3]), Weight(&[3])], (1, &[2])),
        row(Matmul::default(), &[F32(&[2, 3]), F32(&[3, 4])], (1, &[4, 3])),
        row(Linear::default(), &[F32(&[2, 3]), Weight(&[5, 3]), Weight(&[5])], (2, &[4])),
        row(Embedding, &[U32(&[4]), Weight(&[7, 3])], (1, &[7])),
        row(GatherRows, &[F32(&[5, 3]), U32(&[2])], (0, &[])),
        Row {
            optional: 1,
            ..row(
                LstmCell,
                &[F32(&[2, 3]), F32(&[2, 3]), Weight(&[12, 8]), Weight(&[12]), F32(&[2, 4]), F32(&[2, 1])],
                (1, &[3, 3]),
            )
        },
        row(AttentionWeights, &[F32(&[2, 9, 4]), F32(&[2, 5]), Weight(&[4]), Weight(&[1])], (2, &[5])),
        row(AttentionContext, &[F32(&[2, 9, 4]), F32(&[2, 9]), F32(&[2, 5])], (1, &[2, 8])),
        row(Softmax { log: false }, &[F32(&[2, 3])], (0, &[])),
        Row { optional: 1, ..row(top, &[F32(&[2, 3]), U32(&[2, 1])], (0, &[3, 1])) },
        Row { optional: 1, ..row(top, &[F32(&[2, 33]), U32(&[2, 2])], (1, &[2, 1])) },
        row(BeamStep { end: 1 }, &[F32(&[2, 2]), F32(&[4, 2]), U32(&[4, 2])], (1, &[2, 2])),
        row(TokenMask { end: 1 }, &[U32(&[4, 2]), U32(&[4]), U32(&[4]), U32(&[2]), U32(&[2])], (3, &[3])),
        row(
            GruCell,
            &[F32(&[2, 4]), F32(&[2, 3]), Weight(&[9, 4]), Weight(&[9, 3]), Weight(&[9]), Weight(&[9])],
            (1, &[3, 3]),
        ),
        Row { words: true, ..row(Reshape { shape: [3, 2].into() }, &[F32(&[2, 3])], (0, &[2, 2])) },
        Row { words: true, ..row(Transpose { axes: vec![1, 0] }, &[F32(&[2, 3])], (0, &[2, 3, 1])) },
        Row {
            words: true,
            ..row(
                Slice { starts: vec![0, 1], ends: vec![2, 3], steps: vec![1, 1] },
                &[F32(&[2, 3])],
                (0, &[2, 2]),
            )
        },
        Row {
            words: true,
            repeats: true,
            ..row(Concat { axis: 1 }, &[F32(&[2, 3]), F32(&[2, 1])], (1, &[3, 3]))
        },
        row(preprocess, &[U8(&[1, 2, 2, 3])], (0, &[1, 2, 2, 5])),
    ]
}

/// The error of a node with these operands.
fn refusal(op: &Op, operands: &[Operand]) -> Option<String> {
    let mut graph = Graph::new();
    let operands = operands.iter().map(|operand| operand.add_to(&mut graph)).collect();
    graph.add_node("node", op.clone(), operands).err().map(|error| error.to_string())
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    for Row { op, operands, optional, misfit, words, repeats } in table() {
        let refused = |operands: &[Operand], why: &str| {
            let error = refusal(&op, operands).unwrap_or_else(|| panic!("{op:?} accepts {why}"));
            assert!(error.starts_with("node (") && error.contains("expected"), "{op:?}: {error}");
            assert!(error.contains("found"), "{op:?}: {error}");
        };
        assert_eq!(refusal(&op, &operands), None, "{op:?}");
        for (place, operand) in operands.iter().enumerate() {
            for other in operand.others() {
                let is_view = matches!(op, Op::Reshape(_));
                if is_view || (words && operands.len() == 1 && matches!(other, U32(_))) {
                    continue;
                }
                let mut changed = operands.clone();
                changed[place] = other;
                refused(&changed, &format!("another type or a computed tensor as operand {place}"));
            }
        }
        for count in 0..operands.len() - optional {
            refused(&operands[..count], &format!("{count} operands"));
        }
        if !repeats {
            let more = [&operands[..], &[operands[0]]].concat();
            refused(&more, "an operand more");
        }
        // Operations that accept any shape have no invalid operand.
        let (place, shape) = misfit;
        if !shape.is_empty() {
            let mut changed = operands.clone();
            changed[place] = match changed[place] {
                F32(_) => F32(shape),
                U32(_) => U32(shape),
                U8(_) => U8(shape),
                Weight(_) => Weight(shape),
            };
            refused(&changed, &format!("sizes {shape:?} as operand {place}"));
        }
    }
}

#[test]
fn sizes_of_zero_and_of_too_many_elements_are_refused() {
    let mut graph = Graph::new();
    for shape in [&[0][..], &[0, 8, 8, 16], &[3, 0], &[1, 0, 7]] {
        let error = graph.input("x", shape.to_vec(), DType::F32).unwrap_err().to_string();
        assert!(error.starts_with("x: expected sizes of at least 1, found ["), "{error}");
        let error = graph.constant("w", shape.to_vec(), Vec::<f32>::new()).unwrap_err().to_string();
        assert!(error.starts_with("w: expected sizes of at least 1, found ["), "{error}");
    }
    for shape in [vec![1 << 16, 1 << 16], vec![usize::MAX, 2], vec![usize::MAX; 4], vec![1 << 40, 1 << 40]] {
        let error = graph.input("x", shape, DType::U8).unwrap_err().to_string();
        assert!(error.starts_with("x: expected fewer than 2^32 elements, found ["), "{error}");
    }
    // A result can have more elements than its operands.
    let x = graph.input("x", [1, 1, 1, 1], DType::F32).unwrap();
    for output in [[1 << 16, 1 << 16], [usize::MAX, usize::MAX], [0, 4]] {
        graph.add_node("pool", AdaptiveAvgPool2d { output }, vec![x]).unwrap_err();
    }
    let large = Conv2d { padding: Padding::uniform(1 << 30), stride: [1 << 29; 2], ..Conv2d::default() };
    let weight = graph.constant("w", [1, 1, 1, 1], vec![1.0]).unwrap();
    let bias = graph.constant("b", [1], vec![1.0]).unwrap();
    graph.add_node("conv", large, vec![x, weight, bias]).unwrap_err();
}

#[test]
fn tensors_of_other_graphs_are_refused() {
    let mut other = Graph::new();
    let foreign = (0..5).map(|_| other.input("x", [1], DType::F32).unwrap()).last().unwrap();
    let mut graph = Graph::new();
    let x = graph.input("x", [1], DType::F32).unwrap();
    let error = graph.add("sum", x, foreign).unwrap_err().to_string();
    assert!(error.contains("expected a tensor of this graph"), "{error}");
    assert!(graph.output(foreign).unwrap_err().to_string().contains("expected a tensor of this graph"));
}
