//! Batch normalisation at inference: a scale and a shift for each channel.

use crate::engine::graph::{DType, Data, Graph, GraphError, Tensor, TensorId};
use crate::engine::ops::{Infer, Operand, Operands, Operation, exactly};
use crate::engine::plan::{Dispatch, Lowering, Packing, Shader, params};
use crate::engine::reference;

/// `x * scale + shift` over the last axis (Ioffe and Szegedy, arXiv 1502.03167, with running statistics).
///
/// Operands: `x [.., C]`, `scale [C]`, `shift [C]`, both constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchNorm;

params! { count: usize, channels: usize }

pub(super) const SHADER: Shader = Shader {
    name: "batch_norm",
    source: include_str!("../../../shaders/batch_norm.wgsl"),
    params: Params::FIELDS,
    variants: &[&[]],
};

impl Operation for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn operands(&self) -> Operands<'_> {
        Operands::exactly(const { &[Operand::f32("x"), Operand::weight("scale"), Operand::weight("shift")] })
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        let [x, scale, shift] = exactly(inputs)?;
        let channels = x.shape.last();
        for operand in [scale, shift] {
            if operand.shape.elements() != channels {
                return Err(format!(
                    "expected scale and shift of {channels} channels, found {}",
                    operand.shape
                ));
            }
        }
        Ok(vec![(x.shape.clone(), DType::F32)])
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], _: &[&Tensor]) -> Vec<Data> {
        let [x, scale, shift] = [0, 1, 2].map(|i| inputs[i].1.f32());
        vec![Data::F32(reference::batch_norm::batch_norm(x, scale.len(), scale, shift))]
    }

    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        let shape = &node.inputs[0].shape;
        let params = Params { count: shape.elements(), channels: shape.last() };
        let bindings =
            vec![node.input(0), node.weight(1, Packing::FLAT), node.weight(2, Packing::FLAT), node.output(0)];
        Ok(node.flat(&SHADER, bindings, params.words(), shape.elements()))
    }

    fn flops(&self, node: &Lowering<'_>) -> u64 {
        2 * node.outputs[0].shape.elements() as u64
    }
}

impl Graph {
    /// Appends a [`BatchNorm`] node.
    ///
    /// # Errors
    /// `scale` or `shift` has not one value for each channel.
    pub fn batch_norm(
        &mut self,
        name: &str,
        x: TensorId,
        scale: TensorId,
        shift: TensorId,
    ) -> Result<TensorId, GraphError> {
        self.append(name, BatchNorm, vec![x, scale, shift])
    }
}
