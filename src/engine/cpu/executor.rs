//! Plans a graph for the CPU, and runs it.

use super::kernel::{Kernel, Operands, Preparation, Weights};
use super::memory::{ALIGNMENT, Block, Parts};
use super::vector::Instructions;
use super::workers::Workers;
use crate::engine::graph::{DType, Data, Graph, GraphError, Shape, TensorId, check_inputs};
use crate::engine::plan::{Arena, Lifetime};
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A graph that is ready to run on the CPU: weights are packed, and every tensor has its place in one block of memory.
///
/// Several threads may run it: they take turns.
#[derive(Debug)]
pub struct Executor {
    steps: Vec<Step>,
    /// Steps at which a phase begins, except for the first.
    phases: Vec<usize>,
    inputs: Vec<Port>,
    outputs: Vec<(Source, DType)>,
    workers: Workers,
    arena: Mutex<Block>,
    arena_bytes: usize,
}

/// What a run gives.
#[derive(Debug)]
pub struct Run {
    /// The results, in the order in which the graph declares them.
    pub outputs: Vec<Data>,
    /// The time that each phase of the graph took.
    pub phases: Vec<Duration>,
}

/// An input as the graph declares it.
#[derive(Debug)]
struct Port {
    name: String,
    dtype: DType,
    shape: Shape,
}

/// Where the values of a tensor are.
#[derive(Clone, Debug)]
enum Source {
    /// In the input of this number.
    Input(usize),
    /// In these bytes of the arena.
    Arena(Range<usize>),
    /// In the kernel.
    Kernel,
    /// Here: those of a constant.
    Values(Arc<Data>),
}

#[derive(Debug)]
struct Step {
    kernel: Box<dyn Kernel>,
    inputs: Vec<Source>,
    /// The results and the memory of the kernel.
    written: Vec<Range<usize>>,
}

impl Executor {
    /// Plans a graph and packs its weights, which executors of one model share. `threads` is the greatest number of threads that work
    /// for it: as many as there are processors, if none is given.
    pub fn new(graph: &Graph, threads: Option<NonZeroUsize>) -> Executor {
        Executor::with(graph, threads, Instructions::best())
    }

    fn with(graph: &Graph, threads: Option<NonZeroUsize>, instructions: Instructions) -> Executor {
        let workers = Workers::new(threads);
        let mut weights = Weights::default();
        let kernels: Vec<(Option<Box<dyn Kernel>>, usize)> = graph
            .nodes()
            .iter()
            .map(|node| {
                if node.op.operation().is_view() {
                    return (None, 0);
                }
                let kernel = Preparation::new(graph, node, instructions, &workers, &mut weights).kernel(node);
                let scratch = kernel.scratch() * size_of::<f32>();
                (Some(kernel), scratch)
            })
            .collect();
        let places = Places::new(graph, &kernels.iter().map(|(_, scratch)| *scratch).collect::<Vec<_>>());
        let mut steps = Vec::new();
        let mut phases = Vec::new();
        for (number, (node, (kernel, _))) in graph.nodes().iter().zip(kernels).enumerate() {
            if number > 0 && graph.phases().iter().any(|phase| phase.start == number) {
                phases.push(steps.len());
            }
            let Some(kernel) = kernel else { continue };
            let mut written: Vec<Range<usize>> =
                node.outputs.iter().filter_map(|id| places.tensors.get(id).cloned()).collect();
            written.push(places.scratch[number].clone());
            let operands = node.op.operation().operands();
            let source = |(index, &id): (usize, &TensorId)| {
                let is_known = kernel.has_constants() || operands.is_weight(index);
                match is_known && graph.get(id).constant.is_some() {
                    true => Source::Kernel,
                    false => places.source(graph, id),
                }
            };
            let inputs = node.inputs.iter().enumerate().map(source).collect();
            steps.push(Step { kernel, inputs, written });
        }
        let port = |&id: &TensorId| {
            let tensor = graph.get(id);
            Port { name: tensor.name.clone(), dtype: tensor.dtype, shape: tensor.shape.clone() }
        };
        Executor {
            steps,
            phases,
            inputs: graph.inputs().iter().map(port).collect(),
            outputs: graph
                .outputs()
                .iter()
                .map(|&id| (places.source(graph, id), graph.get(id).dtype))
                .collect(),
            workers,
            arena: Mutex::new(Block::new(places.bytes)),
            arena_bytes: places.bytes,
        }
    }

    /// Bytes of the block that holds all activations.
    pub fn arena_bytes(&self) -> usize {
        self.arena_bytes
    }

    /// Runs the graph; inputs are in the order in which it declares them.
    ///
    /// # Errors
    /// An input has another type or number of values than declared, or an operation of the caller's gives other results than it
    /// declared.
    pub fn run(&self, inputs: &[Data]) -> Result<Run, GraphError> {
        check_inputs(self.inputs.iter().map(|port| (&*port.name, port.dtype, &port.shape)), inputs)?;
        let mut arena = self.arena.lock().unwrap_or_else(PoisonError::into_inner);
        let arena = arena.bytes_mut();
        self.workers.enter(|| self.run_in(arena, inputs))
    }

    fn run_in(&self, arena: &mut [u8], inputs: &[Data]) -> Result<Run, GraphError> {
        let mut times = Vec::with_capacity(self.phases.len() + 1);
        let mut clock = Instant::now();
        for (number, step) in self.steps.iter().enumerate() {
            for _ in self.phases.iter().filter(|&&start| start == number) {
                times.push(clock.elapsed());
                clock = Instant::now();
            }
            step.run(arena, inputs, &self.workers)?;
        }
        for _ in self.phases.iter().filter(|&&start| start == self.steps.len()) {
            times.push(clock.elapsed());
            clock = Instant::now();
        }
        times.push(clock.elapsed());
        let outputs = self.outputs.iter().map(|(source, dtype)| match source {
            Source::Input(index) => inputs[*index].clone(),
            Source::Arena(range) => Data::from_bytes(*dtype, &arena[range.clone()]),
            Source::Values(values) => Data::clone(values),
            Source::Kernel => Data::F32(Vec::new()),
        });
        Ok(Run { outputs: outputs.collect(), phases: times })
    }
}

impl Step {
    fn run(&self, arena: &mut [u8], inputs: &[Data], workers: &Workers) -> Result<(), GraphError> {
        let Some(mut parts) = Parts::new(arena, &self.written) else {
            return Err(overlap());
        };
        let operands = self.inputs.iter().map(|source| match source {
            Source::Input(index) => Ok(inputs[*index].bytes()),
            Source::Arena(range) => parts.read(range).ok_or_else(overlap),
            Source::Values(values) => Ok(values.bytes()),
            Source::Kernel => Ok(&[][..]),
        });
        let operands = operands.collect::<Result<Vec<&[u8]>, GraphError>>()?;
        let scratch = parts.written.pop().unwrap_or_default();
        let scratch = bytemuck::cast_slice_mut(scratch);
        self.kernel.run(&mut Operands { inputs: operands, outputs: parts.written, scratch }, workers)
    }
}

/// A mistake of the plan, which its tests rule out.
fn overlap() -> GraphError {
    let message = "expected tensors that are apart in memory, found some that overlap".to_owned();
    GraphError { node: "arena".to_owned(), message }
}

/// Where everything lies in the arena.
struct Places {
    /// The exact bytes of each computed tensor.
    tensors: HashMap<TensorId, Range<usize>>,
    /// The memory of each node's kernel.
    scratch: Vec<Range<usize>>,
    bytes: usize,
}

impl Places {
    /// Places what the nodes compute, and the bytes of scratch memory that each of them needs.
    fn new(graph: &Graph, scratch: &[usize]) -> Places {
        let mut spans: Vec<Lifetime> = Vec::new();
        let mut index: HashMap<TensorId, usize> = HashMap::new();
        let exact = |id: TensorId| graph.get(id).shape.elements() * graph.get(id).dtype.size();
        for (step, node) in graph.nodes().iter().enumerate() {
            for &id in node.outputs.iter().filter(|&&id| graph.storage(id) == id) {
                index.insert(id, spans.len());
                spans.push(Lifetime { first: step, last: step, bytes: exact(id) });
            }
            for &id in &node.inputs {
                if let Some(&span) = index.get(&graph.storage(id)) {
                    spans[span].last = step;
                }
            }
        }
        for &id in graph.outputs() {
            if let Some(&span) = index.get(&graph.storage(id)) {
                spans[span].last = graph.nodes().len();
            }
        }
        let tensors = spans.len();
        spans.extend(scratch.iter().enumerate().map(|(step, &bytes)| Lifetime {
            first: step,
            last: step,
            bytes,
        }));
        let arena = Arena::place(&spans, ALIGNMENT);
        let range = |span: usize| match spans[span].bytes {
            // Behind everything, where it overlaps nothing.
            0 => arena.bytes..arena.bytes,
            bytes => arena.offsets[span]..arena.offsets[span] + bytes,
        };
        let computed = graph.nodes().iter().flat_map(|node| &node.outputs);
        Places {
            tensors: computed.filter_map(|&id| Some((id, range(*index.get(&graph.storage(id))?)))).collect(),
            scratch: (tensors..spans.len()).map(range).collect(),
            bytes: arena.bytes,
        }
    }

    /// Where a tensor is, which may be a view of another.
    fn source(&self, graph: &Graph, id: TensorId) -> Source {
        if let Some(range) = self.tensors.get(&id) {
            return Source::Arena(range.clone());
        }
        let storage = graph.storage(id);
        match &graph.get(storage).constant {
            Some(values) => Source::Values(Arc::new(Data::F32(values.read().into_owned()))),
            None => Source::Input(graph.inputs().iter().position(|&input| input == storage).unwrap_or(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ops::{Activation, Conv2d, LstmWeights, Padding};
    use crate::engine::random_value;
    use crate::engine::reference;

    const IMAGE: [usize; 3] = [9, 11, 12];

    fn random(seed: u64, count: usize) -> Vec<f32> {
        (0..count).map(|i| random_value(seed, i)).collect()
    }

    /// All operations with kernels of their own, over sizes that fill no vector.
    fn graph(images: usize) -> Graph {
        let mut graph = Graph::new();
        let mut seed = 0;
        let mut constant = |graph: &mut Graph, shape: &[usize]| {
            seed += 1;
            let values = random(seed, shape.iter().product());
            // Every other one fits into 16 bits.
            let rounded = values.iter().map(|value| (value * 64.0).round() / 64.0).collect();
            graph.constant("w", shape.to_vec(), if seed % 4 < 2 { values } else { rounded }).unwrap()
        };
        let [height, width, channels] = IMAGE;
        let x = graph.input("x", [images, height, width, channels], DType::F32).unwrap();
        let around = Padding { top: 1, bottom: 1, left: 1, right: 1 };
        let (weight, bias) = (constant(&mut graph, &[70, 12, 3, 3]), constant(&mut graph, &[70]));
        let conv = Conv2d { padding: around, activation: Activation::Relu, ..Conv2d::default() };
        let wide = graph.conv2d("wide", x, weight, bias, conv).unwrap();
        let (weight, bias) = (constant(&mut graph, &[70, 1, 3, 3]), constant(&mut graph, &[70]));
        let conv =
            Conv2d { stride: [2, 1], padding: around, groups: 70, activation: Activation::Relu6, ..conv };
        let depthwise = graph.conv2d("depthwise", wide, weight, bias, conv).unwrap();
        let (weight, bias) = (constant(&mut graph, &[38, 35, 2, 2]), constant(&mut graph, &[38]));
        let conv = Conv2d { dilation: [1, 2], groups: 2, ..Conv2d::default() };
        let grouped = graph.conv2d("grouped", depthwise, weight, bias, conv).unwrap();
        let (weight, bias) = (constant(&mut graph, &[38, 38, 1, 1]), constant(&mut graph, &[38]));
        let sum = vec![grouped, weight, bias, grouped];
        let sum = graph.add_node("sum", Conv2d::default(), sum).unwrap()[0];
        let rows = graph.flatten("rows", sum).unwrap();
        let size = graph.shape(rows).last();
        let (weight, bias) = (constant(&mut graph, &[140, size]), constant(&mut graph, &[140]));
        let linear = graph.linear("linear", rows, weight, bias).unwrap();
        let (h, c) = (constant(&mut graph, &[images, 9]), constant(&mut graph, &[images, 9]));
        let weights =
            LstmWeights { weight: constant(&mut graph, &[36, 149]), bias: constant(&mut graph, &[36]) };
        let cell = graph.lstm_cell("cell", &[linear], [h, c], weights).unwrap();
        for id in [wide, depthwise, sum, linear, cell[0], cell[1]] {
            graph.output(id).unwrap();
        }
        graph
    }

    #[test]
    fn all_instructions_agree_with_the_references_on_any_number_of_threads() {
        let graph = graph(3);
        let inputs = [Data::F32(random(9, 3 * IMAGE.iter().product::<usize>()))];
        let expected = reference::run(&graph, &inputs).unwrap();
        for instructions in Instructions::all() {
            let run = |threads| {
                let executor = Executor::with(&graph, NonZeroUsize::new(threads), instructions);
                executor.run(&inputs).unwrap();
                executor.run(&inputs).unwrap().outputs
            };
            let found = run(1);
            for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let difference = found.difference(expected);
                assert!(difference < 1e-5, "{instructions:?}, result {index}: {difference}");
            }
            assert!(run(2) == found && run(5) == found, "{instructions:?}");
        }
    }

    #[test]
    fn results_do_not_depend_on_the_batch() {
        let size: usize = IMAGE.iter().product();
        let image = random(10, size);
        let of_first = |images: usize| {
            let graph = graph(images);
            let inputs = [Data::F32([image.clone(), random(11, (images - 1) * size)].concat())];
            let outputs = Executor::new(&graph, None).run(&inputs).unwrap().outputs;
            // The state of the cell differs by batch, as it is a constant.
            outputs[..4].iter().map(|data| data.f32()[..data.len() / images].to_vec()).collect::<Vec<_>>()
        };
        let alone = of_first(1);
        assert!(of_first(2) == alone && of_first(5) == alone);
    }

    #[test]
    fn nan_stays() {
        let graph = graph(1);
        let mut image = random(12, IMAGE.iter().product());
        image[0] = f32::NAN;
        for instructions in Instructions::all() {
            let executor = Executor::with(&graph, None, instructions);
            let outputs = executor.run(&[Data::F32(image.clone())]).unwrap().outputs;
            assert!(
                outputs.iter().all(|data| data.f32().iter().any(|value| value.is_nan())),
                "{instructions:?}"
            );
        }
    }
}
