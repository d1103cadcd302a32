//! Parts of axes.

use super::axes::{copy, copy_shader, expect_words};
use crate::engine::graph::{Data, Graph, GraphError, Tensor, TensorId};
use crate::engine::ops::{Infer, Operand, Operands, Operation, exactly};
use crate::engine::plan::{Cost, Dispatch, Lowering, Shader};
use crate::engine::reference;
use crate::engine::reference::positions::row_major;
use std::ops::Range;

/// Of each axis the indices `start`, `start + step`, .. below `end`, as `x[start:end:step]` in Python.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Where each axis begins.
    pub starts: Vec<usize>,
    /// Where it ends: the first index that is left out, at most the axis's size.
    pub ends: Vec<usize>,
    /// How far apart the indices are: at least 1.
    pub steps: Vec<usize>,
}

pub(super) const SHADER: Shader = copy_shader("slice", include_str!("../../../shaders/slice.wgsl"));

impl Operation for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }

    fn operands(&self) -> Operands<'_> {
        Operands::exactly(const { &[Operand::any("x")] })
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        let [x] = exactly(inputs)?;
        expect_words(x)?;
        let Slice { starts, ends, steps } = self;
        if [starts.len(), ends.len(), steps.len()] != [x.shape.len(); 3] {
            return Err(format!(
                "expected starts, ends and steps for the {} axes of {}, found {}, {} and {}",
                x.shape.len(),
                x.shape,
                starts.len(),
                ends.len(),
                steps.len()
            ));
        }
        let mut sizes = Vec::new();
        for (axis, &size) in x.shape.iter().enumerate() {
            let (start, end, step) = (starts[axis], ends[axis], steps[axis]);
            if start >= end || end > size || step == 0 {
                return Err(format!(
                    "expected a part of axis {axis} of {} with a step of at least 1, found {start}..{end} with step {step}",
                    x.shape
                ));
            }
            sizes.push((end - start).div_ceil(step));
        }
        Ok(vec![(sizes.into(), x.dtype)])
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], outputs: &[&Tensor]) -> Vec<Data> {
        let (x, data) = inputs[0];
        vec![reference::slice::slice(data, &x.shape, &outputs[0].shape, &self.starts, &self.steps)]
    }

    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        let own = row_major(&node.inputs[0].shape);
        let y = &node.outputs[0].shape;
        let start = self.starts.iter().zip(&own).map(|(start, step)| start * step).sum();
        let axes = y.iter().zip(own.iter().zip(&self.steps)).map(|(&size, (own, step))| (size, [own * step]));
        copy(node, &SHADER, [node.input(0), node.output(0)], y.elements(), start, axes)
    }

    fn flops(&self, _: &Lowering<'_>) -> u64 {
        0
    }

    fn cost(&self, node: &Lowering<'_>) -> Cost {
        // Only the values of the part are read.
        Cost { flops: 0, bytes: 2 * node.outputs[0].bytes() as u64 }
    }
}

impl Graph {
    /// Appends a [`Slice`] node: of each axis of `x` a range of indices, or every `step`-th of them. The result's sizes are
    /// `ceil((end - start) / step)`.
    ///
    /// # Errors
    /// There is not a range and a step for each axis of `x`, a range is empty or ends beyond its axis, a step is zero, or `x` has bytes.
    pub fn slice(
        &mut self,
        name: &str,
        x: TensorId,
        ranges: &[Range<usize>],
        steps: &[usize],
    ) -> Result<TensorId, GraphError> {
        let starts = ranges.iter().map(|range| range.start).collect();
        let ends = ranges.iter().map(|range| range.end).collect();
        self.append(name, Slice { starts, ends, steps: steps.to_vec() }, vec![x])
    }
}
