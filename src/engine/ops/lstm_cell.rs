//! One step of an LSTM.

use crate::engine::cpu;
use crate::engine::graph::{DType, Data, Graph, GraphError, Tensor, TensorId};
use crate::engine::ops::{Infer, Operand, Operands, Operation};
use crate::engine::plan::heuristics::{self, RowsShape};
use crate::engine::plan::{Dispatch, KernelCandidates, Lowering, Packing, Shader, WEIGHT_VARIANTS, params};
use crate::engine::reference;

/// A step of a long short-term memory (Hochreiter and Schmidhuber 1997, with PyTorch's gate order i, f, g, o):
///
/// `i, f, g, o = W [x; h] + b`, `c' = sigmoid(f) c + sigmoid(i) tanh(g)`, `h' = sigmoid(o) tanh(c')`.
///
/// Operands: `h [R, H]`, `c [R, H]`, constants `weight [4 H, X + H]` (the input's and the state's side by side)
/// and `bias [4 H]` (their sum), then one or two tensors `[R, X1]`, `[R, X2]` whose columns together are `x`.
/// Results: `h' [R, H]`, `c' [R, H]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LstmCell;

params! { rows: usize, hidden: usize, first: usize, second: usize }

pub(super) const SHADER: Shader = Shader {
    name: "lstm_cell",
    source: include_str!("../../../shaders/lstm_cell.wgsl"),
    params: Params::FIELDS,
    variants: WEIGHT_VARIANTS,
};

pub(super) const SUBGROUP: Shader = Shader {
    name: "lstm_cell_subgroup",
    source: include_str!("../../../shaders/lstm_cell_subgroup.wgsl"),
    params: Params::FIELDS,
    variants: WEIGHT_VARIANTS,
};

pub(super) const SLICED: Shader = Shader {
    name: "lstm_cell_sliced",
    source: include_str!("../../../shaders/lstm_cell_sliced.wgsl"),
    params: Params::FIELDS,
    variants: WEIGHT_VARIANTS,
};

/// The four gates of each unit from the inputs and the state.
fn as_rows(node: &Lowering<'_>) -> RowsShape {
    let state = &node.inputs[0];
    let widths = node.inputs[4..].iter().chain([state]).map(|x| x.shape.last()).collect();
    RowsShape { op: "lstm_cell", widths, outputs: state.shape.last() }
}

impl Operation for LstmCell {
    fn name(&self) -> &'static str {
        "lstm_cell"
    }

    fn operands(&self) -> Operands<'_> {
        const REQUIRED: &[Operand] = &[
            Operand::f32("h"),
            Operand::f32("c"),
            Operand::weight("weight"),
            Operand::weight("bias"),
            Operand::f32("x"),
        ];
        Operands { required: REQUIRED, optional: const { &[Operand::f32("second x")] }, repeats: false }
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        let [h, c, weight, bias, x @ ..] = inputs else {
            return Err(format!("expected 5 or 6 operands, found {}", inputs.len()));
        };
        let (rows, hidden) = (h.shape.rows(), h.shape.last());
        if c.shape != h.shape {
            return Err(format!("expected two states of one shape, found {} and {}", h.shape, c.shape));
        }
        if x.is_empty() || x.iter().any(|x| x.shape.rows() != rows) {
            let found: Vec<String> = x.iter().map(|x| x.shape.to_string()).collect();
            return Err(format!("expected one or two inputs of {rows} rows, found {}", found.join(" and ")));
        }
        let columns = hidden + x.iter().map(|x| x.shape.last()).sum::<usize>();
        if *weight.shape != [4 * hidden, columns] || *bias.shape != [4 * hidden] {
            return Err(format!(
                "expected a weight [{}, {columns}] and a bias [{}], found {} and {}",
                4 * hidden,
                4 * hidden,
                weight.shape,
                bias.shape
            ));
        }
        Ok(vec![([rows, hidden].into(), DType::F32); 2])
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], _: &[&Tensor]) -> Vec<Data> {
        let [h, c, weight, bias] = [0, 1, 2, 3].map(|i| inputs[i].1.f32());
        let (rows, hidden) = (inputs[0].0.shape.rows(), inputs[0].0.shape.last());
        let mut x = Vec::new();
        for row in 0..rows {
            for (tensor, data) in &inputs[4..] {
                let width = tensor.shape.last();
                x.extend_from_slice(&data.f32()[row * width..(row + 1) * width]);
            }
        }
        let (h, c) = reference::lstm_cell::lstm_cell(&x, h, c, weight, bias, rows, hidden);
        vec![Data::F32(h), Data::F32(c)]
    }

    fn on_cpu(&self, node: &mut cpu::Preparation<'_>) -> Option<Box<dyn cpu::Kernel>> {
        cpu::lstm_cell(node)
    }

    fn candidates(&self, node: &Lowering<'_>) -> Option<KernelCandidates> {
        let shape = as_rows(node);
        Some(KernelCandidates::new(&shape, &heuristics::rows_candidates(&shape, node.target)))
    }

    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        let (rows, hidden) = (node.inputs[0].shape.rows(), node.inputs[0].shape.last());
        let params = Params {
            rows,
            hidden,
            first: node.inputs[4].shape.last(),
            second: node.inputs.get(5).map_or(0, |x| x.shape.last()),
        };
        let kernel = heuristics::rows(&as_rows(node), node.target, node.choices);
        let block = heuristics::row_block(rows, kernel.max_rows());
        let lanes = kernel.lanes() as usize;
        let shaders = [&SUBGROUP, &SHADER, &SLICED];
        let ([weight], kernel) = node.rows_kernel(kernel, shaders, [(2, Packing::gates)], block);
        let bindings = vec![
            node.input(0),
            node.input(1),
            weight,
            node.weight(3, Packing::FLAT),
            node.input(4),
            node.input(5),
            node.output(0),
            node.output(1),
        ];
        let grid = [hidden.div_ceil(lanes), rows.div_ceil(block as usize), 1];
        Ok(vec![node.grid(kernel, bindings, params.words(), grid)])
    }

    fn flops(&self, node: &Lowering<'_>) -> u64 {
        2 * (node.inputs[0].shape.rows() * node.inputs[2].shape.elements()) as u64
    }
}

/// The weights of an [`LstmCell`].
#[derive(Clone, Copy, Debug)]
pub struct LstmWeights {
    /// `[4 H, X + H]`.
    pub weight: TensorId,
    /// `[4 H]`.
    pub bias: TensorId,
}

impl Graph {
    /// Appends an [`LstmCell`] node; gives `(h', c')`.
    ///
    /// # Errors
    /// The sizes of states, inputs and weights do not fit together.
    pub fn lstm_cell(
        &mut self,
        name: &str,
        inputs: &[TensorId],
        [h, c]: [TensorId; 2],
        weights: LstmWeights,
    ) -> Result<[TensorId; 2], GraphError> {
        let mut operands = vec![h, c, weights.weight, weights.bias];
        operands.extend_from_slice(inputs);
        self.add_node(name, LstmCell, operands).map(|outputs| [outputs[0], outputs[1]])
    }
}
