//! Sum of two tensors.

use crate::engine::cpu;
use crate::engine::graph::{DType, Data, Graph, GraphError, Tensor, TensorId};
use crate::engine::ops::{Activation, Infer, Operand, Operands, Operation, exactly};
use crate::engine::plan::{Dispatch, Lowering, Shader, params};

/// `activation(a + b)`, element by element, for two tensors of one shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Add {
    /// Applied to the sum: identity, relu or relu6.
    pub activation: Activation,
}

params! { count: usize, low: f32, high: f32 }

pub(super) const SHADER: Shader = Shader {
    name: "add",
    source: include_str!("../../../shaders/add.wgsl"),
    params: Params::FIELDS,
    variants: &[&[]],
};

impl Operation for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn operands(&self) -> Operands<'_> {
        Operands::exactly(const { &[Operand::f32("a"), Operand::f32("b")] })
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        self.activation.fusible()?;
        let [a, b] = exactly(inputs)?;
        if a.shape != b.shape {
            return Err(format!("expected two tensors of one shape, found {} and {}", a.shape, b.shape));
        }
        Ok(vec![(a.shape.clone(), DType::F32)])
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], _: &[&Tensor]) -> Vec<Data> {
        vec![Data::F32(cpu::add::add(inputs[0].1.f32(), inputs[1].1.f32(), self.activation))]
    }

    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        let count = node.outputs[0].shape.elements();
        let [low, high] = self.activation.clamp();
        let params = Params { count, low, high };
        Ok(node.flat(&SHADER, vec![node.input(0), node.input(1), node.output(0)], params.words(), count))
    }

    fn flops(&self, node: &Lowering<'_>) -> u64 {
        node.outputs[0].shape.elements() as u64
    }
}

impl Graph {
    /// Appends an [`Add`] node without activation.
    ///
    /// # Errors
    /// The shapes differ.
    pub fn sum(&mut self, name: &str, a: TensorId, b: TensorId) -> Result<TensorId, GraphError> {
        self.add(name, Add::default(), vec![a, b])
    }
}
