//! What every operation tells the planner: shapes, cost, and the dispatches that carry it out.

use crate::graph::plan::PackedWeight;
use crate::graph::{Constant, DType, Data, Graph, Node, Shape, Tensor, TensorId};
use crate::ops::choose::{self, RowKernel, RowsKernel};
use crate::ops::{Block, Choices, Packing, SHADERS};
use std::hash::{Hash, Hasher};
use std::ops;

/// A WGSL file with what the engine knows about it.
#[derive(Debug)]
pub struct Shader {
    /// The file's stem.
    pub name: &'static str,
    /// Its text, before imports and conditions are resolved.
    pub source: &'static str,
    /// The members of its `Params`, in order; each is one 32-bit word.
    pub params: &'static [&'static str],
    /// The sets of `#ifdef` names that it is compiled with.
    pub variants: &'static [&'static [&'static str]],
}

impl Shader {
    /// Whether it is one of the engine's, text and all.
    pub(crate) fn is_own(&self) -> bool {
        SHADERS.iter().any(|own| (own.name, own.source) == (self.name, self.source))
    }
}

/// A shader in one variant, with its pipeline constants: what one pipeline is made from.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The file.
    pub shader: &'static Shader,
    /// The names that `#ifdef` finds defined.
    pub defines: &'static [&'static str],
    /// Values for its `override` constants.
    pub constants: Vec<(&'static str, u32)>,
}

impl Kernel {
    /// A name that tells variants apart, such as `conv2d_gemm[POINTWISE] LANES=8`.
    pub fn label(&self) -> String {
        let mut label = self.shader.name.to_owned();
        if !self.defines.is_empty() {
            label += &format!("[{}]", self.defines.join(","));
        }
        for (name, value) in &self.constants {
            label += &format!(" {name}={value}");
        }
        label
    }
}

/// A shader without variants or constants.
impl From<&'static Shader> for Kernel {
    fn from(shader: &'static Shader) -> Kernel {
        Kernel { shader, defines: &[], constants: Vec::new() }
    }
}

impl PartialEq for Kernel {
    fn eq(&self, other: &Self) -> bool {
        (self.shader.name, self.defines, &self.constants)
            == (other.shader.name, other.defines, &other.constants)
    }
}

impl Eq for Kernel {}

impl Hash for Kernel {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.shader.name, self.defines, &self.constants).hash(state);
    }
}

/// The variants of shaders that import `row`.
pub(crate) const ROW_VARIANTS: &[&[&str]] = &[&[], &["SERIAL"], &["SUBGROUP"], &["SUBGROUPS"]];

/// The variants of shaders that import `weights` or `quads`.
pub(crate) const WEIGHT_VARIANTS: &[&[&str]] = &[&[], &["HALF"]];

/// What a shader finds behind one of its storage variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// An activation in the arena: `var<storage, read_write>`, since all share one buffer.
    Activation(TensorId),
    /// A weight: `var<storage, read>`.
    Weight(PackedWeight),
    /// Memory for what passes between the dispatches of one node, declared as an activation: by its number in
    /// [`Plan::scratch`], or, before the plan numbers it, among those of its operation.
    ///
    /// [`Plan::scratch`]: crate::graph::plan::Plan::scratch
    Scratch(usize),
    /// Nothing: an optional operand that is absent. Declared as an activation; the shader must not read it.
    Absent,
}

/// One `dispatchWorkgroups`, as plain data.
#[derive(Clone, Debug, PartialEq)]
pub struct Dispatch {
    /// What runs.
    pub kernel: Kernel,
    /// Storage bindings 1, 2, 3 ...; binding 0 is the uniform `Params`.
    pub bindings: Vec<Binding>,
    /// The words of `Params`.
    pub params: Vec<u32>,
    /// How many workgroups run.
    pub workgroups: [u32; 3],
}

/// Arithmetic and memory traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Floating-point operations; a multiply-add counts as two.
    pub flops: u64,
    /// Bytes of operands and results, each counted once.
    pub bytes: u64,
}

impl ops::Add for Cost {
    type Output = Cost;
    fn add(self, other: Cost) -> Cost {
        Cost { flops: self.flops + other.flops, bytes: self.bytes + other.bytes }
    }
}

/// Which family of kernels suits an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AdapterClass {
    /// A driver that runs shaders on the CPU: a workgroup is one vector of lanes.
    Software,
    /// A GPU: a workgroup fills several subgroups.
    Hardware,
}

/// What the planner needs to know of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its family.
    pub class: AdapterClass,
    /// `maxComputeWorkgroupsPerDimension`.
    pub max_workgroups: u32,
    /// Lanes of each subgroup, where shaders may read from each other's lanes and there are always as many; else 0.
    pub subgroup: u32,
    /// Whether shaders may use subgroups at all, of whatever size.
    pub has_subgroups: bool,
    /// Whether shaders may read 64 bits at a time.
    pub int64: bool,
    /// Whether the CPU behind a software driver has 32 vector registers, rather than 16.
    pub many_registers: bool,
}

impl Target {
    /// The least that WebGPU promises, for the given family.
    pub const fn baseline(class: AdapterClass) -> Target {
        Target {
            class,
            max_workgroups: 65_535,
            subgroup: 0,
            has_subgroups: false,
            int64: false,
            many_registers: false,
        }
    }
}

/// Sizes and element type of a result.
pub(crate) type Infer = Result<Vec<(Shape, DType)>, String>;

/// The one interface of all operations.
pub(crate) trait Operation {
    /// The stem of its files.
    fn name(&self) -> &'static str;

    /// The results for these operands, or what was expected and what was found.
    fn infer(&self, inputs: &[&Tensor]) -> Infer;

    /// Runs the reference twin. Operands and results have the shapes that `infer` agreed to.
    fn run(&self, inputs: &[(&Tensor, &Data)], outputs: &[&Tensor]) -> Vec<Data>;

    /// The kernels that could be timed against each other, if there are several.
    fn candidates(&self, _: &Lowering<'_>) -> Option<Candidates> {
        None
    }

    /// Bytes of the memory that passes between its dispatches, which know it as [`Binding::Scratch`].
    fn scratch(&self, _: &Lowering<'_>) -> Vec<usize> {
        Vec::new()
    }

    /// The dispatches that carry it out.
    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String>;

    /// Floating-point operations of one run.
    fn flops(&self, node: &Lowering<'_>) -> u64;

    /// Arithmetic and traffic of one run.
    fn cost(&self, node: &Lowering<'_>) -> Cost {
        let tensors = node.inputs.iter().chain(&node.outputs);
        Cost { flops: self.flops(node), bytes: tensors.map(|t| t.bytes() as u64).sum() }
    }
}

/// Kernels for one shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidates {
    /// The shape's key in [`Choices`].
    pub key: String,
    /// The kernels' names, the usual one first.
    pub names: Vec<String>,
    /// The first node of the graph that has this shape.
    pub node: usize,
}

impl Candidates {
    pub(crate) fn new(key: &impl ToString, kernels: &[impl ToString]) -> Candidates {
        Candidates { key: key.to_string(), names: kernels.iter().map(ToString::to_string).collect(), node: 0 }
    }
}

/// A node with its tensors resolved, and the device it is planned for.
pub(crate) struct Lowering<'a> {
    node: &'a Node,
    /// The operands.
    pub(crate) inputs: Vec<&'a Tensor>,
    /// The results.
    pub(crate) outputs: Vec<&'a Tensor>,
    /// The device.
    pub(crate) target: &'a Target,
    /// What was found to be the fastest there.
    pub(crate) choices: &'a Choices,
}

impl<'a> Lowering<'a> {
    pub(crate) fn new(graph: &'a Graph, node: &'a Node, target: &'a Target, choices: &'a Choices) -> Self {
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
        Binding::Weight(PackedWeight { tensor: self.node.inputs[index], packing, half: false })
    }

    /// Operand `index` as a weight for shaders that import `weights` or `quads`: of 16-bit floats where they hold it
    /// exactly. Also the variant that reads it.
    pub(crate) fn compact_weight(
        &self,
        index: usize,
        packing: impl FnOnce(bool) -> Packing,
    ) -> (Binding, &'static [&'static str]) {
        let half = self.inputs[index].constant.as_ref().is_some_and(Constant::is_half);
        let weight = PackedWeight { tensor: self.node.inputs[index], packing: packing(half), half };
        (Binding::Weight(weight), if half { WEIGHT_VARIANTS[1] } else { WEIGHT_VARIANTS[0] })
    }

    /// Operand `index` as the weight of a kernel that computes so many rows at a time, and that kernel: of the shader
    /// for each [`RowsKernel`], in their order.
    pub(crate) fn rows_kernel(
        &self,
        kernel: RowsKernel,
        [subgroup, lanes, sliced]: [&'static Shader; 3],
        index: usize,
        packing: fn(Block) -> Packing,
        rows: u32,
    ) -> (Binding, Kernel) {
        let (shader, constants) = match kernel {
            RowsKernel::Subgroup => (subgroup, vec![("ROWS", rows)]),
            RowsKernel::Lanes(count) => (lanes, vec![("LANES", count), ("ROWS", rows)]),
            RowsKernel::Sliced => (sliced, vec![("ROWS", rows)]),
        };
        let block = |half| match kernel {
            RowsKernel::Subgroup => Block::quads(half),
            _ => Block::Columns(kernel.lanes()),
        };
        let (weight, defines) = self.compact_weight(index, |half| packing(block(half)));
        (weight, Kernel { shader, defines, constants })
    }

    /// Operand `index` as a weight whose values 16-bit floats hold exactly, and its scale, which makes them longer and
    /// which kernels multiply sums by; `None` if they do not hold them.
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

    /// A dispatch of one workgroup per row, for shaders that import `row`. `iterations` is how often an invocation
    /// goes round its loops when it has the row to itself.
    pub(crate) fn per_row(
        &self,
        shader: &'static Shader,
        bindings: Vec<Binding>,
        params: Vec<u32>,
        rows: usize,
        iterations: usize,
    ) -> Vec<Dispatch> {
        let defines = match choose::row(self.target, iterations) {
            RowKernel::Workgroup => ROW_VARIANTS[0],
            RowKernel::Serial => ROW_VARIANTS[1],
            RowKernel::Subgroup => ROW_VARIANTS[2],
            RowKernel::Subgroups => ROW_VARIANTS[3],
        };
        let kernel = Kernel { shader, defines, constants: Vec::new() };
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
                vec![$(<$kind as $crate::ops::Word>::word(self.$field)),+]
            }
        }
    };
}
pub(crate) use params;

/// What fits into one word of `Params`.
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
        // Sizes are below 2^32: the planner refuses larger tensors.
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
