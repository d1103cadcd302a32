//! The largest entries of each row.

use crate::engine::graph::{DType, Data, Graph, GraphError, Tensor, TensorId};
use crate::engine::ops::{Infer, Operand, Operands, Operation};
use crate::engine::plan::{Dispatch, Lowering, ROW_VARIANTS, Shader, params};
use crate::engine::reference;

/// The `k` largest entries of each row, in descending order, ties by the lowest column; `k = 1` is argmax.
///
/// `x [R, V]` to values `[R, k]` and columns `[R, k]` (u32). A second operand `excluded [R, ceil(V / 32)]` (u32), if there is one, has
/// a bit for each column, the lowest first: a column whose bit is set is not chosen in this row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopK {
    /// How many entries.
    pub k: usize,
    /// Columns that are never chosen; unused places hold [`TopK::NONE`].
    pub suppressed: [u32; 4],
    /// Gives the logarithms of the row's softmax at these columns in place of the entries. They have the same order.
    pub log_probs: bool,
}

impl TopK {
    /// Marks an unused place of [`TopK::suppressed`].
    pub const NONE: u32 = u32::MAX;
    /// The largest `k`.
    pub const MAX: usize = 64;
}

params! {
    rows: usize, columns: usize, k: usize,
    suppressed_0: u32, suppressed_1: u32, suppressed_2: u32, suppressed_3: u32, log_probs: u32,
    has_excluded: u32,
}

pub(super) const SHADER: Shader = Shader {
    name: "top_k",
    source: include_str!("../../../shaders/top_k.wgsl"),
    params: Params::FIELDS,
    variants: ROW_VARIANTS,
};

impl Operation for TopK {
    fn name(&self) -> &'static str {
        "top_k"
    }

    fn operands(&self) -> Operands<'_> {
        Operands {
            required: const { &[Operand::f32("x")] },
            optional: const { &[Operand::u32("excluded")] },
            repeats: false,
        }
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        let [x, excluded @ ..] = inputs else {
            return Err("expected rows, found no operand".to_owned());
        };
        let most = TopK::MAX.min(x.shape.last());
        if !(1..=most).contains(&self.k) {
            return Err(format!(
                "expected rows and k from 1 to {most}, found {} and k = {}",
                x.shape, self.k
            ));
        }
        let bits = [x.shape.rows(), x.shape.last().div_ceil(32)];
        if let Some(excluded) = excluded.iter().find(|excluded| *excluded.shape != bits) {
            return Err(format!("expected a bit for each column in {bits:?}, found {}", excluded.shape));
        }
        let shape = [x.shape.rows(), self.k];
        Ok(vec![(shape.into(), DType::F32), (shape.into(), DType::U32)])
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], _: &[&Tensor]) -> Vec<Data> {
        let columns = inputs[0].0.shape.last();
        let x = inputs[0].1.f32();
        let (mut values, ids) = reference::top_k::top_k(
            x,
            columns,
            self.k,
            &self.suppressed,
            inputs.get(1).map(|excluded| excluded.1.u32()),
        );
        if self.log_probs {
            reference::top_k::log_probs(x, columns, &mut values);
        }
        vec![Data::F32(values), Data::U32(ids)]
    }

    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        let x = &node.inputs[0].shape;
        let [suppressed_0, suppressed_1, suppressed_2, suppressed_3] = self.suppressed;
        let params = Params {
            rows: x.rows(),
            columns: x.last(),
            k: self.k,
            suppressed_0,
            suppressed_1,
            suppressed_2,
            suppressed_3,
            log_probs: u32::from(self.log_probs),
            has_excluded: u32::from(node.inputs.len() > 1),
        };
        let bindings = vec![node.input(0), node.input(1), node.output(0), node.output(1)];
        Ok(node.per_row(&SHADER, bindings, params.words(), x.rows(), (self.k + 2) * x.last()))
    }

    fn flops(&self, node: &Lowering<'_>) -> u64 {
        (self.k * node.inputs[0].shape.elements()) as u64
    }
}

impl Graph {
    /// Appends a [`TopK`] node; gives values and columns.
    ///
    /// # Errors
    /// `k` is not between 1 and the number of columns, or above [`TopK::MAX`].
    pub fn top_k(&mut self, name: &str, x: TensorId, top: TopK) -> Result<[TensorId; 2], GraphError> {
        self.add_node(name, top, vec![x]).map(|outputs| [outputs[0], outputs[1]])
    }

    /// Appends a [`TopK`] node that never chooses the columns of a row whose bits are set in `excluded [R, ceil(V / 32)]`.
    ///
    /// # Errors
    /// As [`Graph::top_k`]; `excluded` has other sizes.
    pub fn top_k_without(
        &mut self,
        name: &str,
        x: TensorId,
        excluded: TensorId,
        top: TopK,
    ) -> Result<[TensorId; 2], GraphError> {
        self.add_node(name, top, vec![x, excluded]).map(|outputs| [outputs[0], outputs[1]])
    }
}
