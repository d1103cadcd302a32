//! How a graph runs on a GPU: which kernels, where each tensor lies, what is bound. Plain data, made without a GPU.
//!
//! Each node is lowered to [`Dispatch`]es, with kernels from heuristics or from a [`TuningTable`];
//! [`Packing`] lays weights out for them, and [`Arena`] places activations by their lifetimes.

mod arena;
mod check;
mod dispatch;
mod guards;
pub(crate) mod heuristics;
mod lowering;
mod packing;
mod target;
mod tuning;

pub use arena::{Arena, Lifetime};
pub use dispatch::{Binding, Cost, Dispatch, Kernel, Shader, UserShader};
pub(crate) use dispatch::{ROW_VARIANTS, WEIGHT_VARIANTS};
pub(crate) use lowering::{Lowering, Word, flat_grid, params};
pub(crate) use packing::Block;
pub use packing::Packing;
pub use target::{AdapterClass, Target};
pub use tuning::{KernelCandidates, TuningTable};

use super::graph::{DType, Data, Graph, GraphError, Phase, Shape, Tensor, TensorId};
use std::collections::HashMap;
use std::ops::Range;

/// Every storage binding starts at a multiple of this: the WebGPU default of `minStorageBufferOffsetAlignment`.
pub const ALIGNMENT: usize = 256;

/// A dispatch with the node that it belongs to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Step {
    /// The node's name.
    pub node: String,
    /// The operation's name.
    pub op: &'static str,
    /// The kernel with its bindings and parameters.
    pub dispatch: Dispatch,
    /// Arithmetic and traffic of the node (counted at its first dispatch).
    pub cost: Cost,
}

/// A weight in the layout in which a kernel reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PackedWeight {
    /// The constant of the graph.
    pub tensor: TensorId,
    /// Its layout.
    pub packing: Packing,
    /// Whether the values are stored as f16, without their scale. Both are exact.
    pub half: bool,
}

impl PackedWeight {
    /// Bytes on the device for a weight of this shape.
    pub fn bytes(&self, shape: &[usize]) -> usize {
        self.packing.len(shape) * if self.half { 2 } else { 4 }
    }
}

/// A tensor that enters or leaves the graph.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Port {
    pub(crate) id: TensorId,
    /// Its name.
    pub name: String,
    /// Its sizes.
    pub shape: Shape,
    /// Its element type.
    pub dtype: DType,
    /// Its bytes in the arena.
    pub range: Range<usize>,
    /// The number of steps after which it is complete.
    pub ready: usize,
}

/// A graph made ready for one kind of device.
///
/// Nothing of it can be changed from outside: built-in shaders run without bounds checks, because [`Plan`] has derived every
/// size that they are given from the tensors that are bound (`check.rs` asserts it).
///
/// ```compile_fail
/// # fn change(mut plan: shadetell::engine::plan::Plan) {
/// plan.steps()[0].dispatch.workgroups = [1 << 20, 1, 1];
/// # }
/// ```
///
/// ```
/// # fn read(plan: shadetell::engine::plan::Plan) -> [u32; 3] {
/// plan.steps()[0].dispatch.workgroups
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Plan {
    target: Target,
    steps: Vec<Step>,
    phases: Vec<(String, Range<usize>)>,
    ranges: HashMap<TensorId, Range<usize>>,
    scratch: Vec<Range<usize>>,
    arena_bytes: usize,
    naive_bytes: usize,
    output_range: Range<usize>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    weights: Vec<PackedWeight>,
    weight_bytes: usize,
    /// All constants that steps read, or that are results.
    constants: HashMap<TensorId, Tensor>,
}

impl Plan {
    /// Chooses kernels and places tensors.
    ///
    /// # Errors
    /// An operation has no kernel for its shapes on this target; the message says what would be needed.
    pub fn new(graph: &Graph, target: &Target) -> Result<Plan, GraphError> {
        Plan::tuned(graph, target, &TuningTable::default())
    }

    /// The same, with kernels that were found to be the fastest.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn tuned(graph: &Graph, target: &Target, choices: &TuningTable) -> Result<Plan, GraphError> {
        let mut steps = Vec::new();
        let mut phase_starts: Vec<(String, usize)> = Vec::new();
        let mut weights = Vec::new();
        let mut ready: HashMap<TensorId, usize> = HashMap::new();
        // Of each node that needs any, with the node's number.
        let mut scratch: Vec<(usize, usize)> = Vec::new();
        for (index, node) in graph.nodes().iter().enumerate() {
            for Phase { name, .. } in graph.phases().iter().filter(|p| p.start == index) {
                phase_starts.push((name.clone(), steps.len()));
            }
            let operation = node.op.operation();
            let lowering = Lowering::new(graph, node, target, choices);
            let dispatches = operation.lower(&lowering).map_err(|message| GraphError {
                node: format!("{} ({})", node.name, operation.name()),
                message,
            })?;
            let mut cost = operation.cost(&lowering);
            let first = scratch.len();
            scratch.extend(operation.scratch(&lowering).into_iter().map(|bytes| (index, bytes)));
            for mut dispatch in dispatches {
                for binding in &mut dispatch.bindings {
                    match binding {
                        Binding::Scratch(number) => *number += first,
                        Binding::Activation(id) => *id = graph.storage(*id),
                        Binding::Weight(weight) if !weights.contains(weight) => weights.push(*weight),
                        _ => {}
                    }
                }
                steps.push(Step { node: node.name.clone(), op: operation.name(), dispatch, cost });
                cost = Cost::default();
            }
            ready.extend(node.outputs.iter().map(|&id| (id, steps.len())));
        }
        if phase_starts.first().is_none_or(|p| p.1 > 0) {
            phase_starts.insert(0, ("run".to_owned(), 0));
        }
        let ends = phase_starts.iter().skip(1).map(|p| p.1).chain([steps.len()]);
        let phases = phase_starts.iter().zip(ends).map(|(p, end)| (p.0.clone(), p.1..end)).collect();

        let packed = |weight: &PackedWeight| weight.bytes(&graph.get(weight.tensor).shape);
        let weight_bytes = weights.iter().map(packed).sum();
        let bound = steps.iter().flat_map(|step| &step.dispatch.bindings);
        let activations: Vec<TensorId> = bound
            .filter_map(|binding| match binding {
                Binding::Activation(id) if graph.get(*id).constant.is_some() => Some(*id),
                _ => None,
            })
            .collect();
        let memory = Memory::of(graph, &activations, &scratch);
        let read = weights
            .iter()
            .map(|weight| weight.tensor)
            .chain(activations)
            .chain(graph.outputs().iter().map(|&id| graph.storage(id)));
        let constants = read
            .map(|id| (id, graph.get(id)))
            .filter(|(_, tensor)| tensor.constant.is_some())
            .map(|(id, tensor)| (id, tensor.clone()))
            .collect();
        let port = |&id: &TensorId| {
            let tensor = graph.get(id);
            let ready = ready.get(&id).copied().unwrap_or_default();
            let id = graph.storage(id);
            let range = memory.ranges[&id].clone();
            Port {
                id,
                name: tensor.name.clone(),
                shape: tensor.shape.clone(),
                dtype: tensor.dtype,
                range,
                ready,
            }
        };
        let plan = Plan {
            target: *target,
            steps,
            phases,
            inputs: graph.inputs().iter().map(port).collect(),
            outputs: graph
                .outputs()
                .iter()
                .zip(graph.output_names())
                .map(|(id, name)| Port { name: name.clone(), ..port(id) })
                .collect(),
            ranges: memory.ranges,
            scratch: memory.scratch,
            arena_bytes: memory.bytes,
            naive_bytes: memory.naive_bytes,
            output_range: memory.output_range,
            weights,
            weight_bytes,
            constants,
        };
        check::check(&plan, graph)?;
        Ok(plan)
    }

    /// The kernels that could be timed against each other, for each shape of a graph that there are several for.
    pub fn candidates(graph: &Graph, target: &Target) -> Vec<KernelCandidates> {
        let mut found: Vec<KernelCandidates> = Vec::new();
        let choices = TuningTable::default();
        for (index, node) in graph.nodes().iter().enumerate() {
            let lowering = Lowering::new(graph, node, target, &choices);
            let candidates = node.op.operation().candidates(&lowering).filter(|c| c.names.len() > 1);
            match candidates {
                Some(candidates) if found.iter().all(|known| known.key != candidates.key) => {
                    found.push(KernelCandidates { node: index, ..candidates });
                }
                _ => {}
            }
        }
        found
    }

    /// Drops all but the first phase, with the weights of the others: for measuring an encoder alone.
    pub fn keep_first_phase(&mut self) {
        self.phases.truncate(1);
        self.steps.truncate(self.phases.first().map_or(0, |(_, steps)| steps.end));
        let bound = |weight: &PackedWeight| {
            let bindings = self.steps.iter().flat_map(|step| &step.dispatch.bindings);
            bindings.into_iter().any(|binding| *binding == Binding::Weight(*weight))
        };
        self.weights = self.weights.iter().copied().filter(bound).collect();
        self.weight_bytes = self.weights.iter().map(|weight| self.packed_bytes(weight)).sum();
    }

    /// The plan with a shader of the caller's in place of the kernel of a step: with the same bindings, `Params`, constants and
    /// workgroups. It is always compiled with bounds checks.
    ///
    /// # Errors
    /// There is no such step.
    pub fn with_shader(mut self, step: usize, shader: UserShader) -> Result<Plan, GraphError> {
        let count = self.steps.len();
        let Some(step) = self.steps.get_mut(step) else {
            let message = format!("expected a step below {count}, found {step}");
            return Err(GraphError { node: "plan".to_owned(), message });
        };
        step.dispatch.kernel = step.dispatch.kernel.replaced(shader);
        Ok(self)
    }

    /// The properties of the device that it was made for.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The dispatches, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Runs of steps whose time is measured apart, with their names.
    pub fn phases(&self) -> &[(String, Range<usize>)] {
        &self.phases
    }

    /// Bytes of each activation in the arena.
    pub fn ranges(&self) -> &HashMap<TensorId, Range<usize>> {
        &self.ranges
    }

    /// Bytes in the arena of the values that pass between the dispatches of one node.
    pub fn scratch(&self) -> &[Range<usize>] {
        &self.scratch
    }

    /// Bytes of the arena. Its first [`ALIGNMENT`] bytes stand in for optional operands that are absent.
    pub fn arena_bytes(&self) -> usize {
        self.arena_bytes
    }

    /// Bytes that one buffer per tensor would have taken.
    pub fn naive_bytes(&self) -> usize {
        self.naive_bytes
    }

    /// Bytes of the arena where the results lie side by side, so that one copy reads them all.
    pub fn output_range(&self) -> Range<usize> {
        self.output_range.clone()
    }

    /// The tensors that are handed in at each run.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// The results.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// The weights, each layout once.
    pub fn weights(&self) -> &[PackedWeight] {
        &self.weights
    }

    /// Bytes of the weights, packed.
    pub fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }

    /// Bytes of the largest binding, activations and weights alike.
    pub fn largest_binding(&self) -> usize {
        let activations = self.ranges.values().chain(&self.scratch).map(ExactSizeIterator::len);
        let weights = self.weights.iter().map(|weight| self.packed_bytes(weight));
        activations.chain(weights).max().unwrap_or(0)
    }

    /// Bytes of a weight of this plan in its layout.
    pub(crate) fn packed_bytes(&self, weight: &PackedWeight) -> usize {
        self.constants.get(&weight.tensor).map_or(0, |tensor| weight.bytes(&tensor.shape))
    }

    /// A constant that a step reads.
    pub(crate) fn constant(&self, id: TensorId) -> Option<&Tensor> {
        self.constants.get(&id)
    }

    /// Constants that lie in the arena, where they have to be written once before the first run.
    pub(crate) fn arena_constants(&self) -> impl Iterator<Item = (Range<usize>, Data)> {
        self.constants.iter().filter_map(|(id, tensor)| {
            let range = self.ranges.get(id)?.clone();
            let mut values = tensor.constant.as_ref()?.read().into_owned();
            // Only a guard is longer.
            values.resize(range.len() / 4, f32::NAN);
            Some((range, Data::F32(values)))
        })
    }

    /// Arithmetic and traffic of the whole plan.
    pub fn cost(&self) -> Cost {
        self.steps.iter().fold(Cost::default(), |sum, step| sum + step.cost)
    }
}

/// Layout of the arena: the absent operand, the results side by side, constants that are read as activations, then everything
/// else by liveness.
struct Memory {
    ranges: HashMap<TensorId, Range<usize>>,
    scratch: Vec<Range<usize>>,
    bytes: usize,
    naive_bytes: usize,
    output_range: Range<usize>,
}

impl Memory {
    /// Scratch memory lives as long as the node of the given number runs.
    fn of(graph: &Graph, constants: &[TensorId], scratch: &[(usize, usize)]) -> Memory {
        let mut ranges = HashMap::new();
        let mut end = ALIGNMENT;
        // These keep their places for the whole run.
        let mut place = |ids: &[TensorId]| {
            for &id in ids {
                let bytes = graph.get(id).bytes();
                ranges.entry(id).or_insert_with(|| {
                    let start = end;
                    end += bytes.next_multiple_of(ALIGNMENT);
                    start..start + bytes
                });
            }
            end
        };
        // A view has the place of the tensor behind it.
        let outputs: Vec<TensorId> = graph.outputs().iter().map(|&id| graph.storage(id)).collect();
        let output_range = ALIGNMENT..place(&outputs);
        let end = place(constants);

        let mut lifetimes: Vec<(TensorId, Lifetime)> = Vec::new();
        let mut index: HashMap<TensorId, usize> = HashMap::new();
        let mut begin = |id: TensorId, step: usize, lifetimes: &mut Vec<(TensorId, Lifetime)>| {
            index.insert(id, lifetimes.len());
            lifetimes.push((id, Lifetime { first: step, last: step, bytes: graph.get(id).bytes() }));
        };
        // Inputs are written before the first step.
        for &id in graph.inputs().iter().filter(|id| !ranges.contains_key(id)) {
            begin(id, 0, &mut lifetimes);
        }
        for (step, node) in graph.nodes().iter().enumerate() {
            let is_placed = |id| graph.storage(id) != id || ranges.contains_key(&id);
            for &id in node.outputs.iter().filter(|&&id| !is_placed(id)) {
                begin(id, step, &mut lifetimes);
            }
        }
        for (step, node) in graph.nodes().iter().enumerate() {
            for &id in &node.inputs {
                if let Some(&i) = index.get(&graph.storage(id)) {
                    lifetimes[i].1.last = step;
                }
            }
        }
        let mut spans: Vec<Lifetime> = lifetimes.iter().map(|l| l.1).collect();
        spans.extend(scratch.iter().map(|&(step, bytes)| Lifetime { first: step, last: step, bytes }));
        let arena = Arena::place(&spans, ALIGNMENT);
        let place = |(span, offset): (&Lifetime, &usize)| end + offset..end + offset + span.bytes;
        let scratch = spans.iter().zip(&arena.offsets).skip(lifetimes.len()).map(place).collect();
        for ((id, lifetime), offset) in lifetimes.iter().zip(&arena.offsets) {
            ranges.insert(*id, end + offset..end + offset + lifetime.bytes);
        }
        Memory {
            ranges,
            scratch,
            bytes: end + arena.bytes,
            naive_bytes: end + arena.naive_bytes,
            output_range,
        }
    }
}
