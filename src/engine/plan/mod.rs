//! How a graph runs on a GPU: which kernels, where each tensor lies, what is bound. Plain data, made without a GPU.
//!
//! Each node is lowered to [`Dispatch`]es ([`Lowering`]), with kernels from [`heuristics`] or from a [`TuningTable`];
//! [`Packing`] lays weights out for them, and [`Arena`] places activations by their lifetimes.

mod arena;
mod dispatch;
pub(crate) mod heuristics;
mod lowering;
mod packing;
mod target;
mod tuning;

pub use arena::{Arena, Lifetime};
pub use dispatch::{Binding, Cost, Dispatch, Kernel, Shader};
pub(crate) use dispatch::{ROW_VARIANTS, WEIGHT_VARIANTS};
pub(crate) use lowering::{Lowering, Word, flat_grid, params};
pub(crate) use packing::Block;
pub use packing::Packing;
pub use target::{AdapterClass, Target};
pub use tuning::{KernelCandidates, TuningTable};

use super::graph::{DType, Graph, GraphError, Phase, Shape, TensorId};
use std::collections::HashMap;
use std::ops::Range;

/// Every storage binding starts at a multiple of this: the WebGPU default of `minStorageBufferOffsetAlignment`.
pub const ALIGNMENT: usize = 256;

/// A dispatch with the node that it serves.
#[derive(Clone, Debug)]
pub struct Step {
    /// The node's name.
    pub node: String,
    /// The operation's name.
    pub op: &'static str,
    /// What the GPU is told.
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
    /// Whether its values are 16-bit floats, which hold them exactly without their scale, rather than 32-bit ones.
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
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its sizes.
    pub shape: Shape,
    /// Its element type.
    pub dtype: DType,
    /// Its bytes in the arena.
    pub range: Range<usize>,
    /// How many steps have to be done until it is there.
    pub ready: usize,
}

/// A graph made ready for one kind of device.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The dispatches, in order.
    pub steps: Vec<Step>,
    /// Runs of steps whose time is measured apart.
    pub phases: Vec<(String, Range<usize>)>,
    /// Bytes of each activation in the arena.
    pub ranges: HashMap<TensorId, Range<usize>>,
    /// Bytes in the arena of what passes between the dispatches of one node.
    pub scratch: Vec<Range<usize>>,
    /// Bytes of the arena. Its first [`ALIGNMENT`] bytes stand in for optional operands that are absent.
    pub arena_bytes: usize,
    /// Bytes that one buffer per tensor would have taken.
    pub naive_bytes: usize,
    /// The results lie side by side here, so that one copy reads them all.
    pub output_range: Range<usize>,
    /// What is handed in at each run.
    pub inputs: Vec<Port>,
    /// What comes out.
    pub outputs: Vec<Port>,
    /// The weights, each layout once.
    pub weights: Vec<PackedWeight>,
    /// Bytes of the weights, packed.
    pub weight_bytes: usize,
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
        let memory = Memory::of(graph, &scratch);
        let port = |&id: &TensorId| {
            let tensor = graph.get(id);
            let range = memory.ranges[&id].clone();
            let ready = ready.get(&id).copied().unwrap_or_default();
            Port { name: tensor.name.clone(), shape: tensor.shape.clone(), dtype: tensor.dtype, range, ready }
        };
        Ok(Plan {
            steps,
            phases,
            inputs: graph.inputs().iter().map(port).collect(),
            outputs: graph.outputs().iter().map(port).collect(),
            ranges: memory.ranges,
            scratch: memory.scratch,
            arena_bytes: memory.bytes,
            naive_bytes: memory.naive_bytes,
            output_range: memory.output_range,
            weights,
            weight_bytes,
        })
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
    pub fn keep_first_phase(&mut self, graph: &Graph) {
        self.phases.truncate(1);
        self.steps.truncate(self.phases.first().map_or(0, |(_, steps)| steps.end));
        let bound = |weight: &PackedWeight| {
            let bindings = self.steps.iter().flat_map(|step| &step.dispatch.bindings);
            bindings.into_iter().any(|binding| *binding == Binding::Weight(*weight))
        };
        self.weights = self.weights.iter().copied().filter(bound).collect();
        self.weight_bytes = self.weights.iter().map(|w| w.bytes(&graph.get(w.tensor).shape)).sum();
    }

    /// Arithmetic and traffic of the whole plan.
    pub fn cost(&self) -> Cost {
        self.steps.iter().fold(Cost::default(), |sum, step| sum + step.cost)
    }
}

/// Layout of the arena: the absent operand, then the results side by side, then everything else by liveness.
struct Memory {
    ranges: HashMap<TensorId, Range<usize>>,
    scratch: Vec<Range<usize>>,
    bytes: usize,
    naive_bytes: usize,
    output_range: Range<usize>,
}

impl Memory {
    /// Scratch memory lives as long as the node of the given number runs.
    fn of(graph: &Graph, scratch: &[(usize, usize)]) -> Memory {
        let mut ranges = HashMap::new();
        let mut end = ALIGNMENT;
        for &id in graph.outputs() {
            let bytes = graph.get(id).bytes();
            ranges.entry(id).or_insert_with(|| {
                let start = end;
                end += bytes.next_multiple_of(ALIGNMENT);
                start..start + bytes
            });
        }
        let output_range = ALIGNMENT..end;

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
            for &id in node.outputs.iter().filter(|id| !ranges.contains_key(id)) {
                begin(id, step, &mut lifetimes);
            }
        }
        for (step, node) in graph.nodes().iter().enumerate() {
            for id in &node.inputs {
                if let Some(&i) = index.get(id) {
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
