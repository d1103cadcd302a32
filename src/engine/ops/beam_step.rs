//! One step of beam search, for all images at once.

use crate::engine::graph::{DType, Data, Graph, GraphError, Tensor, TensorId};
use crate::engine::ops::{Infer, Operand, Operands, Operation, exactly};
use crate::engine::plan::{Dispatch, Lowering, Shader, params};
use crate::engine::reference;

/// Extends the hypotheses of each image by one token.
///
/// Operands: `scores [N, K]`, the sums of log-probabilities so far; `values [N K, K]` and `ids [N K, K]`, the best
/// continuations of each row. A place without a hypothesis scores [`NOTHING`](crate::engine::scores::NOTHING), one whose
/// hypothesis has ended [`ENDED`](crate::engine::scores::ENDED). Of all continuations of an image the best `K` less the
/// ended ones are taken, ties by the lower row, then the lower rank.
///
/// Results, all `[N, K]`: `scores`, `totals` (the sums, also of those that end here), `tokens`, `parents`
/// (rows `0..N K` that they continue).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeamStep {
    /// The token that ends a caption.
    pub end: u32,
}

impl BeamStep {
    /// The widest beam: a step compares `K^3` candidates one after another.
    pub const MAX: usize = 32;
}

params! { images: usize, beams: usize, end: u32 }

pub(super) const SHADER: Shader = Shader {
    name: "beam_step",
    source: include_str!("../../../shaders/beam_step.wgsl"),
    params: Params::FIELDS,
    variants: &[&[]],
};

impl Operation for BeamStep {
    fn name(&self) -> &'static str {
        "beam_step"
    }

    fn operands(&self) -> Operands<'_> {
        Operands::exactly(const { &[Operand::f32("scores"), Operand::f32("values"), Operand::u32("ids")] })
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        let [scores, values, ids] = exactly(inputs)?;
        let Some([n, k]) = scores.shape.sizes() else {
            return Err(format!("expected scores [N, K], found {}", scores.shape));
        };
        if k > BeamStep::MAX {
            return Err(format!("expected at most {} beams, found {k}", BeamStep::MAX));
        }
        if *values.shape != [n * k, k] || ids.shape != values.shape {
            return Err(format!(
                "expected continuations [{}, {k}] twice, found {} and {}",
                n * k,
                values.shape,
                ids.shape
            ));
        }
        let table = || scores.shape.clone();
        Ok(vec![(table(), DType::F32), (table(), DType::F32), (table(), DType::U32), (table(), DType::U32)])
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], _: &[&Tensor]) -> Vec<Data> {
        let [n, k] = inputs[0].0.shape.sizes().unwrap_or_default();
        let step = reference::beam_step::beam_step(
            inputs[0].1.f32(),
            inputs[1].1.f32(),
            inputs[2].1.u32(),
            n,
            k,
            self.end,
        );
        vec![Data::F32(step.scores), Data::F32(step.totals), Data::U32(step.tokens), Data::U32(step.parents)]
    }

    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        let [images, beams] = node.inputs[0].shape.sizes().unwrap_or_default();
        let params = Params { images, beams, end: self.end };
        let bindings = vec![
            node.input(0),
            node.input(1),
            node.input(2),
            node.output(0),
            node.output(1),
            node.output(2),
            node.output(3),
        ];
        Ok(node.flat(&SHADER, bindings, params.words(), images))
    }

    fn flops(&self, node: &Lowering<'_>) -> u64 {
        node.inputs[1].shape.elements() as u64
    }
}

/// What a [`BeamStep`] gives.
#[derive(Clone, Copy, Debug)]
pub struct BeamTensors {
    /// Sums of log-probabilities of the rows that go on.
    pub scores: TensorId,
    /// Sums of log-probabilities, also of those that end here.
    pub totals: TensorId,
    /// The tokens taken.
    pub tokens: TensorId,
    /// The rows that they continue.
    pub parents: TensorId,
}

impl Graph {
    /// Appends a [`BeamStep`] node.
    ///
    /// # Errors
    /// The sizes of scores and continuations do not fit together.
    pub fn beam_step(
        &mut self,
        name: &str,
        scores: TensorId,
        [values, ids]: [TensorId; 2],
        end: u32,
    ) -> Result<BeamTensors, GraphError> {
        let outputs = self.add_node(name, BeamStep { end }, vec![scores, values, ids])?;
        Ok(BeamTensors { scores: outputs[0], totals: outputs[1], tokens: outputs[2], parents: outputs[3] })
    }
}
