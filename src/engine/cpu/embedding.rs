//! Rows of a table, which stays where it is.

use super::kernel::{Kernel, Operands, Preparation};
use super::workers::Workers;
use crate::engine::graph::{Constant, GraphError};

/// Prepares a table.
pub(crate) fn embedding(node: &mut Preparation<'_>) -> Option<Box<dyn Kernel>> {
    let [entries, width] = node.inputs[1].shape.sizes()?;
    Some(Box::new(Table { values: node.constant(1)?.clone(), entries, width }))
}

#[derive(Debug)]
struct Table {
    values: Constant,
    entries: usize,
    width: usize,
}

impl Kernel for Table {
    fn run(&self, node: &mut Operands<'_>, _: &Workers) -> Result<(), GraphError> {
        let ids: &[u32] = bytemuck::cast_slice(node.inputs[0]);
        let y: &mut [f32] = bytemuck::cast_slice_mut(node.outputs[0]);
        for (&id, y) in ids.iter().zip(y.chunks_exact_mut(self.width)) {
            let id = id as usize;
            if id < self.entries {
                y.copy_from_slice(&self.values.read_slices(id..id + 1, self.entries));
            } else {
                y.fill(0.0);
            }
        }
        Ok(())
    }
}
