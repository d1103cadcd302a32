//! One step of a GRU.

use crate::engine::graph::{DType, Data, Graph, GraphError, Tensor, TensorId};
use crate::engine::ops::{Infer, Operand, Operands, Operation, exactly};
use crate::engine::plan::heuristics::{self, RowsShape};
use crate::engine::plan::{Dispatch, KernelCandidates, Lowering, Packing, Shader, WEIGHT_VARIANTS, params};
use crate::engine::reference;
use crate::engine::reference::gru_cell::GruParameters;

/// A step of a gated recurrent unit (Cho et al. 2014, arXiv 1406.1078, as `torch.nn.GRUCell`, whose reset gate multiplies what the state
/// adds to n, its bias included):
///
/// `r, z, n_x = W_ih x + b_ih`, `r, z, n_h += W_hh h + b_hh`, `n = tanh(n_x + sigmoid(r) n_h)`,
/// `h' = (1 - sigmoid(z)) n + sigmoid(z) h`.
///
/// Operands: `x [R, X]`, `h [R, H]`, constants `weight_ih [3 H, X]`, `weight_hh [3 H, H]`, `bias_ih [3 H]` and `bias_hh [3 H]` as PyTorch
/// keeps them. Result: `h' [R, H]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GruCell;

params! { rows: usize, inputs: usize, hidden: usize }

pub(super) const SHADER: Shader = Shader {
    name: "gru_cell",
    source: include_str!("../../../shaders/gru_cell.wgsl"),
    params: Params::FIELDS,
    variants: WEIGHT_VARIANTS,
};

pub(super) const SUBGROUP: Shader = Shader {
    name: "gru_cell_subgroup",
    source: include_str!("../../../shaders/gru_cell_subgroup.wgsl"),
    params: Params::FIELDS,
    variants: WEIGHT_VARIANTS,
};

pub(super) const SLICED: Shader = Shader {
    name: "gru_cell_sliced",
    source: include_str!("../../../shaders/gru_cell_sliced.wgsl"),
    params: Params::FIELDS,
    variants: WEIGHT_VARIANTS,
};

/// The four sums of each unit from the inputs and the state.
fn as_rows(node: &Lowering<'_>) -> RowsShape {
    let widths = node.inputs[..2].iter().map(|x| x.shape.last()).collect();
    RowsShape { op: "gru_cell", widths, outputs: 4 * node.inputs[1].shape.last() }
}

impl Operation for GruCell {
    fn name(&self) -> &'static str {
        "gru_cell"
    }

    fn operands(&self) -> Operands<'_> {
        const REQUIRED: &[Operand] = &[
            Operand::f32("x"),
            Operand::f32("h"),
            Operand::weight("weight_ih"),
            Operand::weight("weight_hh"),
            Operand::weight("bias_ih"),
            Operand::weight("bias_hh"),
        ];
        Operands::exactly(REQUIRED)
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        let [x, h, weight_ih, weight_hh, bias_ih, bias_hh] = exactly(inputs)?;
        let (Some([rows, inputs]), Some([states, hidden])) = (x.shape.sizes(), h.shape.sizes()) else {
            return Err(format!(
                "expected rows `x` [R, X] and `h` [R, H], found {} and {}",
                x.shape, h.shape
            ));
        };
        if rows != states {
            return Err(format!("expected as many rows of `x` as of `h`, found {} and {}", x.shape, h.shape));
        }
        let gates = 3 * hidden;
        for (name, weight, expected) in [
            ("weight_ih", weight_ih, vec![gates, inputs]),
            ("weight_hh", weight_hh, vec![gates, hidden]),
            ("bias_ih", bias_ih, vec![gates]),
            ("bias_hh", bias_hh, vec![gates]),
        ] {
            if *weight.shape != *expected {
                return Err(format!("expected {expected:?} for `{name}`, found {}", weight.shape));
            }
        }
        Ok(vec![([rows, hidden].into(), DType::F32)])
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], _: &[&Tensor]) -> Vec<Data> {
        let [x, h, weight_ih, weight_hh, bias_ih, bias_hh] = [0, 1, 2, 3, 4, 5].map(|i| inputs[i].1.f32());
        let parameters = GruParameters { weight_ih, weight_hh, bias_ih, bias_hh };
        let (rows, hidden) = (inputs[1].0.shape.rows(), inputs[1].0.shape.last());
        vec![Data::F32(reference::gru_cell::gru_cell(x, h, parameters, rows, hidden))]
    }

    fn candidates(&self, node: &Lowering<'_>) -> Option<KernelCandidates> {
        let shape = as_rows(node);
        Some(KernelCandidates::new(&shape, &heuristics::rows_candidates(&shape, node.target)))
    }

    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        let (rows, hidden) = (node.inputs[1].shape.rows(), node.inputs[1].shape.last());
        let params = Params { rows, inputs: node.inputs[0].shape.last(), hidden };
        let kernel = heuristics::rows(&as_rows(node), node.target, node.choices);
        let block = heuristics::row_block(rows, kernel.max_rows());
        let lanes = kernel.lanes() as usize;
        let shaders = [&SUBGROUP, &SHADER, &SLICED];
        let ([weight_ih, weight_hh], kernel) =
            node.rows_kernel(kernel, shaders, [(2, Packing::input_gates), (3, Packing::state_gates)], block);
        let bindings = vec![
            node.input(0),
            node.input(1),
            weight_ih,
            weight_hh,
            node.weight(4, Packing::FLAT),
            node.weight(5, Packing::FLAT),
            node.output(0),
        ];
        let grid = [hidden.div_ceil(lanes), rows.div_ceil(block as usize), 1];
        Ok(vec![node.grid(kernel, bindings, params.words(), grid)])
    }

    fn flops(&self, node: &Lowering<'_>) -> u64 {
        let weights = node.inputs[2].shape.elements() + node.inputs[3].shape.elements();
        2 * (node.inputs[1].shape.rows() * weights) as u64
    }
}

/// The weights of a [`GruCell`], as PyTorch keeps them.
#[derive(Clone, Copy, Debug)]
pub struct GruWeights {
    /// `[3 H, X]`, gates r, z, n.
    pub weight_ih: TensorId,
    /// `[3 H, H]`.
    pub weight_hh: TensorId,
    /// `[3 H]`.
    pub bias_ih: TensorId,
    /// `[3 H]`.
    pub bias_hh: TensorId,
}

impl Graph {
    /// Appends a [`GruCell`] node: from the inputs `x [R, X]` and the state `h [R, H]` the next state `[R, H]`.
    ///
    /// # Errors
    /// The sizes of inputs, state and weights do not fit together, or the weights are no constants.
    pub fn gru_cell(
        &mut self,
        name: &str,
        x: TensorId,
        h: TensorId,
        weights: GruWeights,
    ) -> Result<TensorId, GraphError> {
        let GruWeights { weight_ih, weight_hh, bias_ih, bias_hh } = weights;
        self.append(name, GruCell, vec![x, h, weight_ih, weight_hh, bias_ih, bias_hh])
    }
}
