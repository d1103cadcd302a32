//! Additive attention over the pixels of a grid, with its gate.

use crate::engine::graph::{DType, Data, Graph, GraphError, Tensor, TensorId};
use crate::engine::ops::{Infer, Operand, Operands, Operation, exactly};
use crate::engine::plan::{
    AdapterClass, Dispatch, Kernel, Lowering, Packing, ROW_VARIANTS, Shader, flat_grid, heuristics, params,
};
use crate::engine::reference;

/// Where a row looks (Xu et al., "Show, Attend and Tell", arXiv 1502.03044, equations 4 and 5):
/// `alpha[r, p] = softmax_p(v . relu(keys[n, p] + query[r]) + b)`.
///
/// Operands: `keys [N, .., A]`, pixels in any number of dimensions; `query [R, Q]`, whose first `A` columns count; constants `v [A]` and `b [1]`.
/// Row `r` belongs to image `r / (R / N)`. Result: `[R, P]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionWeights;

/// What a row sees, gated (equations 8 and 14 of the same paper):
/// `context[r] = sigmoid(gate[r]) * sum_p alpha[r, p] grid[n, p]`.
///
/// Operands: `grid [N, .., C]`, `alpha [R, P]`, `query [R, Q]`, whose last `C` columns are the gate before its
/// sigmoid. Result: `[R, C]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionContext;

params! { rows: usize, rows_per_image: usize, pixels: usize, width: usize, query_width: usize }

pub(super) const WEIGHTS: Shader = Shader {
    name: "additive_attention_weights",
    source: include_str!("../../../shaders/additive_attention_weights.wgsl"),
    params: Params::FIELDS,
    variants: ROW_VARIANTS,
};

/// By family of adapters.
const CONTEXT_VARIANTS: &[&[&str]] = &[&[], &["SOFTWARE"]];

pub(super) const CONTEXT: Shader = Shader {
    name: "additive_attention_context",
    source: include_str!("../../../shaders/additive_attention_context.wgsl"),
    params: Params::FIELDS,
    variants: CONTEXT_VARIANTS,
};

pub(super) const CONTEXT_SUBGROUP: Shader = Shader {
    name: "additive_attention_context_subgroup",
    source: include_str!("../../../shaders/additive_attention_context_subgroup.wgsl"),
    params: Params::FIELDS,
    variants: &[&[]],
};

/// The sizes of grid or keys and query as `([N, P, W], [R, Q])`, checked against each other.
fn sizes(grid: &Tensor, query: &Tensor) -> Result<([usize; 3], [usize; 2]), String> {
    let (n, width) = (grid.shape.first().copied().unwrap_or(0), grid.shape.last());
    let (rows, query_width) = (query.shape.rows(), query.shape.last());
    let pixels = grid.shape.rows().checked_div(n).unwrap_or(0);
    if pixels == 0 || rows % n != 0 || query_width < width {
        return Err(format!(
            "expected [N, .., W] and a query [R, Q] with R a multiple of N and Q at least W, found {} and {}",
            grid.shape, query.shape
        ));
    }
    Ok(([n, pixels, width], [rows, query_width]))
}

fn attention_params(grid: &Tensor, query: &Tensor) -> Result<Params, String> {
    let ([n, pixels, width], [rows, query_width]) = sizes(grid, query)?;
    Ok(Params { rows, rows_per_image: rows / n, pixels, width, query_width })
}

impl Operation for AttentionWeights {
    fn name(&self) -> &'static str {
        "additive_attention"
    }

    fn operands(&self) -> Operands<'_> {
        Operands::exactly(
            const { &[Operand::f32("keys"), Operand::f32("query"), Operand::weight("v"), Operand::weight("bias")] },
        )
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        let [keys, query, v, bias] = exactly(inputs)?;
        let ([_, pixels, width], [rows, _]) = sizes(keys, query)?;
        if v.shape.elements() != width || bias.shape.elements() != 1 {
            return Err(format!("expected v [{width}] and a bias [1], found {} and {}", v.shape, bias.shape));
        }
        Ok(vec![([rows, pixels].into(), DType::F32)])
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], _: &[&Tensor]) -> Vec<Data> {
        let [keys, query, v, bias] = [0, 1, 2, 3].map(|i| inputs[i].1.f32());
        let ([n, p, a], [rows, q]) = sizes(inputs[0].0, inputs[1].0).unwrap_or_default();
        let alpha = reference::additive_attention::additive_attention_weights(
            keys, query, v, bias[0], n, rows, p, a, q,
        );
        vec![Data::F32(alpha)]
    }

    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        let params = attention_params(node.inputs[0], node.inputs[1])?;
        let bindings = vec![
            node.input(0),
            node.input(1),
            node.weight(2, Packing::FLAT),
            node.weight(3, Packing::FLAT),
            node.output(0),
        ];
        Ok(node.per_row(&WEIGHTS, bindings, params.words(), params.rows, params.pixels * (params.width + 3)))
    }

    fn flops(&self, node: &Lowering<'_>) -> u64 {
        // Add, relu and multiply-add for each entry of the keys that a row meets.
        4 * (node.outputs[0].shape.elements() * node.inputs[0].shape.last()) as u64
    }
}

impl Operation for AttentionContext {
    fn name(&self) -> &'static str {
        "additive_attention"
    }

    fn operands(&self) -> Operands<'_> {
        Operands::exactly(const { &[Operand::f32("grid"), Operand::f32("alpha"), Operand::f32("query")] })
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        let [grid, alpha, query] = exactly(inputs)?;
        let ([_, pixels, width], [rows, _]) = sizes(grid, query)?;
        if *alpha.shape != [rows, pixels] {
            return Err(format!("expected weights [{rows}, {pixels}], found {}", alpha.shape));
        }
        Ok(vec![([rows, width].into(), DType::F32)])
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], _: &[&Tensor]) -> Vec<Data> {
        let [grid, alpha, query] = [0, 1, 2].map(|i| inputs[i].1.f32());
        let ([n, p, c], [rows, q]) = sizes(inputs[0].0, inputs[2].0).unwrap_or_default();
        let context =
            reference::additive_attention::additive_attention_context(grid, alpha, query, n, rows, p, c, q);
        vec![Data::F32(context)]
    }

    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        let params = attention_params(node.inputs[0], node.inputs[2])?;
        let bindings = vec![node.input(0), node.input(1), node.input(2), node.output(0)];
        let block = heuristics::row_block(params.rows_per_image, heuristics::MAX_ROWS);
        let mut constants = vec![("ROWS", block)];
        let is_software = node.target.class == AdapterClass::Software;
        let (shader, defines, channels) = if heuristics::shares_lanes(node.target, params.width) {
            (&CONTEXT_SUBGROUP, CONTEXT_SUBGROUP.variants[0], 32)
        } else {
            let lanes = heuristics::lanes(node.target.class);
            constants.push(("LANES", lanes));
            (&CONTEXT, CONTEXT_VARIANTS[usize::from(is_software)], lanes as usize)
        };
        let kernel = Kernel::new(shader, defines, constants);
        let images = node.inputs[0].shape[0];
        let blocks =
            images * params.rows_per_image.div_ceil(block as usize) * params.width.div_ceil(channels);
        let workgroups = flat_grid(blocks, node.target.max_workgroups);
        Ok(vec![Dispatch { kernel, bindings, params: params.words(), workgroups }])
    }

    fn flops(&self, node: &Lowering<'_>) -> u64 {
        2 * (node.outputs[0].shape.elements() * node.inputs[1].shape.last()) as u64
    }
}

impl Graph {
    /// Appends an [`AttentionWeights`] node.
    ///
    /// # Errors
    /// The sizes of keys, query and `v` do not fit together.
    pub fn attention_weights(
        &mut self,
        name: &str,
        keys: TensorId,
        query: TensorId,
        [v, bias]: [TensorId; 2],
    ) -> Result<TensorId, GraphError> {
        self.append(name, AttentionWeights, vec![keys, query, v, bias])
    }

    /// Appends an [`AttentionContext`] node.
    ///
    /// # Errors
    /// The sizes of grid, weights and query do not fit together.
    pub fn attention_context(
        &mut self,
        name: &str,
        grid: TensorId,
        alpha: TensorId,
        query: TensorId,
    ) -> Result<TensorId, GraphError> {
        self.append(name, AttentionContext, vec![grid, alpha, query])
    }
}
