//! From a node of a graph to the dispatches that carry it out.

use super::heuristics::{self, RowKernel, RowsKernel};
use super::{
    Binding, Block, Dispatch, Kernel, PackedWeight, Packing, ROW_VARIANTS, Shader, Target, TuningTable,
    WEIGHT_VARIANTS,
};
use crate::engine::graph::{Constant, Graph, Node, Tensor};

/// The number of an operand that is a weight, and its layout for a kernel that reads blocks.
pub(crate) type WeightOperand = (usize, fn(Block) -> Packing);

/// A node with its tensors resolved, and the device it is planned for.
pub(crate) struct Lowering<'a> {
    node: &'a Node,
    /// The operands.
    pub(crate) inputs: Vec<&'a Tensor>,
    /// The results.
    pub(crate) outputs: Vec<&'a Tensor>,
    /// The device.
    pub(crate) target: &'a Target,
    /// The fastest kernels there, as far as they were measured.
    pub(crate) choices: &'a TuningTable,
}

impl<'a> Lowering<'a> {
    pub(crate) fn new(
        graph: &'a Graph,
        node: &'a Node,
        target: &'a Target,
        choices: &'a TuningTable,
    ) -> Self {
        Lowering {
            node,
            inputs: node.inputs.iter().map(|&id| graph.get(id)).collect(),
            outputs: node.outputs.iter().map(|&id| graph.get(id)).collect(),
            target,
            choices,
        }
    }

    /// Operand `index` as an activation; absent if the node has fewer operands.
    pub(crate) fn input(&self, index: usize) -> Binding {
        self.node.inputs.get(index).map_or(Binding::Absent, |&id| Binding::Activation(id))
    }

    /// Operand `index` as a weight in the given layout, of 32-bit floats.
    pub(crate) fn weight(&self, index: usize, packing: Packing) -> Binding {
        self.packed_weight(index, packing, false)
    }

    /// Whether f16 holds the values of all these constants exactly.
    pub(crate) fn is_half(&self, operands: &[usize]) -> bool {
        operands.iter().all(|&index| self.inputs[index].constant.as_ref().is_some_and(Constant::is_half))
    }

    /// Operand `index` as a weight in the given layout, of f16 or of 32-bit floats.
    pub(crate) fn packed_weight(&self, index: usize, packing: Packing, half: bool) -> Binding {
        Binding::Weight(PackedWeight { tensor: self.node.inputs[index], packing, half })
    }

    /// Operands as weights, and the kernel that multiplies `rows` rows by them at a time. `shaders` are those of the [`RowsKernel`]s,
    /// in order.
    pub(crate) fn rows_kernel<const N: usize>(
        &self,
        kernel: RowsKernel,
        [subgroup, lanes, sliced]: [&'static Shader; 3],
        weights: [WeightOperand; N],
        rows: u32,
    ) -> ([Binding; N], Kernel) {
        let (shader, constants) = match kernel {
            RowsKernel::Subgroup => (subgroup, vec![("ROWS", rows)]),
            RowsKernel::Lanes(count) => (lanes, vec![("LANES", count), ("ROWS", rows)]),
            RowsKernel::Sliced => (sliced, vec![("ROWS", rows)]),
        };
        let block = |half| match kernel {
            RowsKernel::Subgroup => Block::mat4(half),
            _ => Block::Columns(kernel.lanes()),
        };
        let half = self.is_half(&weights.map(|weight| weight.0));
        let bindings = weights.map(|(index, packing)| self.packed_weight(index, packing(block(half)), half));
        (bindings, Kernel::new(shader, WEIGHT_VARIANTS[usize::from(half)], constants))
    }

    /// Operand `index` as exact f16 values plus the per-channel scale that the kernel applies to its sums; `None` if f16 would lose
    /// precision.
    pub(crate) fn scaled_weight(&self, index: usize, packing: Packing) -> Option<[Binding; 2]> {
        let is_compact = self.inputs[index].constant.as_ref().is_some_and(Constant::is_compact);
        let weight = PackedWeight { tensor: self.node.inputs[index], packing, half: true };
        let scale = PackedWeight { packing: Packing::SCALE, half: false, ..weight };
        is_compact.then_some([Binding::Weight(weight), Binding::Weight(scale)])
    }

    /// Result `index`.
    pub(crate) fn output(&self, index: usize) -> Binding {
        Binding::Activation(self.node.outputs[index])
    }

    /// A dispatch of one workgroup per row, for shaders that import `row`. `iterations` is the trip count of a single invocation that
    /// computes the row alone.
    pub(crate) fn per_row(
        &self,
        shader: &'static Shader,
        bindings: Vec<Binding>,
        params: Vec<u32>,
        rows: usize,
        iterations: usize,
    ) -> Vec<Dispatch> {
        let defines = match heuristics::row(self.target, iterations) {
            RowKernel::Workgroup => ROW_VARIANTS[0],
            RowKernel::Serial => ROW_VARIANTS[1],
            RowKernel::Subgroup => ROW_VARIANTS[2],
            RowKernel::Subgroups => ROW_VARIANTS[3],
        };
        let kernel = Kernel::new(shader, defines, Vec::new());
        vec![Dispatch { kernel, bindings, params, workgroups: flat_grid(rows, self.target.max_workgroups) }]
    }

    /// A dispatch of one invocation per element of a flat range, in workgroups of 64.
    pub(crate) fn flat(
        &self,
        kernel: impl Into<Kernel>,
        bindings: Vec<Binding>,
        params: Vec<u32>,
        count: usize,
    ) -> Vec<Dispatch> {
        let workgroups = flat_grid(count.div_ceil(64), self.target.max_workgroups);
        vec![Dispatch { kernel: kernel.into(), bindings, params, workgroups }]
    }

    /// A dispatch of columns x rows x layers of workgroups, for shaders that ask `grid_row` or `grid_layer` for their place.
    pub(crate) fn grid(
        &self,
        kernel: Kernel,
        bindings: Vec<Binding>,
        params: Vec<u32>,
        sizes: [usize; 3],
    ) -> Dispatch {
        let limit = self.target.max_workgroups;
        if sizes.iter().all(|&size| size <= limit as usize) {
            return Dispatch { kernel, bindings, params, workgroups: sizes.map(|size| size as u32) };
        }
        let workgroups = flat_grid(sizes.iter().product(), limit);
        Dispatch { kernel: kernel.with_constant("SPREAD", 1), bindings, params, workgroups }
    }
}

/// Spreads `groups` workgroups over two dimensions when one is too short.
/// The shader numbers them `x + y * num_workgroups.x` and ignores the surplus.
pub(crate) fn flat_grid(groups: usize, limit: u32) -> [u32; 3] {
    let limit = limit as usize;
    if groups <= limit {
        return [groups.max(1) as u32, 1, 1];
    }
    let y = groups.div_ceil(limit);
    [groups.div_ceil(y) as u32, y as u32, 1]
}

/// Declares the `Params` of a shader: 32-bit words, their names checked against the WGSL by a test.
macro_rules! params {
    ($($field:ident: $kind:ty),+ $(,)?) => {
        pub(super) struct Params {
            $(pub(super) $field: $kind,)+
        }

        impl Params {
            pub(super) const FIELDS: &'static [&'static str] = &[$(stringify!($field)),+];

            pub(super) fn words(&self) -> Vec<u32> {
                vec![$(<$kind as $crate::engine::plan::Word>::word(self.$field)),+]
            }
        }
    };
}
pub(crate) use params;

/// A value that fits into one word of `Params`.
pub(crate) trait Word {
    fn word(self) -> u32;
}

impl Word for u32 {
    fn word(self) -> u32 {
        self
    }
}

impl Word for usize {
    fn word(self) -> u32 {
        // Below 2^32: `Graph` refuses larger tensors, and windows that do not fit into 31 bits.
        self as u32
    }
}

impl Word for f32 {
    fn word(self) -> u32 {
        self.to_bits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_grids_cover_all_groups_within_the_limit() {
        for groups in [0, 1, 64, 65_535, 65_536, 100_352, 5_000_000] {
            let [x, y, z] = flat_grid(groups, 65_535);
            assert!(x <= 65_535 && y <= 65_535 && z == 1);
            let covered = x as usize * y as usize;
            assert!(covered >= groups && covered < groups.max(1) + y as usize, "{groups}: {x} x {y}");
        }
    }
}
