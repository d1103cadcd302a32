//! Tensors one behind the other.

use super::axes::{copy, copy_shader, expect_words};
use crate::engine::graph::{Data, Graph, GraphError, Tensor, TensorId};
use crate::engine::ops::{Infer, Operand, Operands, Operation};
use crate::engine::plan::{Dispatch, Lowering, Shader};
use crate::engine::reference;

/// Two tensors or more, one behind the other along an axis. All other axes have the same sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concat {
    /// The axis along which sizes add up.
    pub axis: usize,
}

pub(super) const SHADER: Shader = copy_shader("concat", include_str!("../../../shaders/concat.wgsl"));

impl Operation for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn operands(&self) -> Operands<'_> {
        Operands {
            required: const { &[Operand::any("first"), Operand::any("next")] },
            optional: &[],
            repeats: true,
        }
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        let [first, others @ ..] = inputs else {
            return Err("expected at least 2 operands, found none".to_owned());
        };
        expect_words(first)?;
        let axis = self.axis;
        if axis >= first.shape.len() {
            return Err(format!("expected an axis of {}, found axis {axis}", first.shape));
        }
        let mut sizes = first.shape.to_vec();
        for other in others {
            let mut expected = first.shape.to_vec();
            expected[axis] = other.shape.get(axis).copied().unwrap_or_default();
            if *other.shape != *expected || other.dtype != first.dtype {
                return Err(format!(
                    "expected tensors that differ along axis {axis} alone, found {} {} and {} {}",
                    first.dtype, first.shape, other.dtype, other.shape
                ));
            }
            sizes[axis] += other.shape[axis];
        }
        Ok(vec![(sizes.into(), first.dtype)])
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], outputs: &[&Tensor]) -> Vec<Data> {
        let parts: Vec<(&Data, &[usize])> = inputs.iter().map(|(x, data)| (*data, &*x.shape)).collect();
        vec![reference::concat::concat(&parts, &outputs[0].shape, self.axis)]
    }

    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        let y = &node.outputs[0].shape;
        let inner: usize = y[self.axis + 1..].iter().product();
        let row = y[self.axis] * inner;
        let (mut start, mut dispatches) = (0, Vec::new());
        for (index, x) in node.inputs.iter().enumerate() {
            let width = x.shape[self.axis] * inner;
            let axes = [(x.shape.elements() / width, [row]), (width, [1])];
            let bindings = [node.input(index), node.output(0)];
            dispatches.extend(copy(node, &SHADER, bindings, x.shape.elements(), start, axes)?);
            start += width;
        }
        Ok(dispatches)
    }

    fn flops(&self, _: &Lowering<'_>) -> u64 {
        0
    }
}

impl Graph {
    /// Appends a [`Concat`] node: `[.., A1, ..]`, `[.., A2, ..]`, .. become `[.., A1 + A2 + .., ..]`, where `A` are the sizes of axis
    /// `axis`.
    ///
    /// # Errors
    /// There are fewer than two tensors, `axis` is no axis of theirs, they differ along another or in their element types, or have bytes.
    pub fn concat(&mut self, name: &str, tensors: &[TensorId], axis: usize) -> Result<TensorId, GraphError> {
        self.append(name, Concat { axis }, tensors.to_vec())
    }
}
