//! What the executor runs for a node.

use super::packed::{Layout, Packed, pack};
use super::vector::Instructions;
use super::workers::Workers;
use crate::engine::graph::{Constant, Data, Graph, GraphError, Node, Source, Tensor, TensorId};
use crate::engine::ops::Op;
use crate::engine::reference;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A node that is ready to run.
pub(crate) trait Kernel: Debug + Send + Sync {
    /// Floats of memory that it needs for itself while it runs.
    fn scratch(&self) -> usize {
        0
    }

    /// Whether it has its constant operands. Otherwise it has its weights only.
    fn has_constants(&self) -> bool {
        false
    }

    /// Computes the results.
    ///
    /// # Errors
    /// An operation of the caller's gave results of another size than it declared.
    fn run(&self, node: &mut Operands<'_>, workers: &Workers) -> Result<(), GraphError>;
}

/// The memory that a kernel works on.
pub(crate) struct Operands<'a> {
    /// The operands; those that the kernel has are empty.
    pub(super) inputs: Vec<&'a [u8]>,
    /// The results.
    pub(super) outputs: Vec<&'a mut [u8]>,
    /// As many floats as it asked for.
    pub(super) scratch: &'a mut [f32],
}

/// A node, and the weights that were packed for others.
pub(crate) struct Preparation<'a> {
    /// The operands.
    pub(super) inputs: Vec<&'a Tensor>,
    /// The results.
    pub(super) outputs: Vec<&'a Tensor>,
    pub(super) instructions: Instructions,
    pub(super) workers: &'a Workers,
    ids: &'a [TensorId],
    weights: &'a mut Weights,
}

/// The weights of a graph by their tensors.
#[derive(Default)]
pub(super) struct Weights {
    packed: HashMap<(TensorId, Layout), Arc<Packed>>,
    plain: HashMap<TensorId, Arc<Data>>,
}

/// The weights of all executors that live, so that those of one model share them.
static SHARED: Mutex<Option<SharedWeights>> = Mutex::new(None);

/// By where they come from, and how they are packed.
type SharedWeights = HashMap<(Source, Layout), Weak<Packed>>;

impl<'a> Preparation<'a> {
    pub(super) fn new(
        graph: &'a Graph,
        node: &'a Node,
        instructions: Instructions,
        workers: &'a Workers,
        weights: &'a mut Weights,
    ) -> Preparation<'a> {
        Preparation {
            inputs: node.inputs.iter().map(|&id| graph.get(id)).collect(),
            outputs: node.outputs.iter().map(|&id| graph.get(id)).collect(),
            instructions,
            workers,
            ids: &node.inputs,
            weights,
        }
    }

    /// The values of a constant operand.
    pub(super) fn constant(&self, index: usize) -> Option<&'a Constant> {
        self.inputs.get(index)?.constant.as_ref()
    }

    /// A constant operand `[O, I, ..]` for products.
    pub(super) fn packed(&mut self, index: usize, layout: Layout) -> Option<Arc<Packed>> {
        let (id, tensor) = (self.ids[index], self.inputs[index]);
        if let Some(packed) = self.weights.packed.get(&(id, layout)) {
            return Some(Arc::clone(packed));
        }
        let constant = tensor.constant.as_ref()?;
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = shared.get_or_insert_default();
        let key = (constant.source(), layout);
        let packed = match shared.get(&key).and_then(Weak::upgrade) {
            Some(packed) => packed,
            None => {
                let packed = Arc::new(pack(constant, tensor.shape[0], layout, self.workers));
                shared.retain(|_, packed| packed.strong_count() > 0);
                shared.insert(key, Arc::downgrade(&packed));
                packed
            }
        };
        self.weights.packed.insert((id, layout), Arc::clone(&packed));
        Some(packed)
    }

    /// The kernel of an operation: a fast one, or the reference.
    pub(super) fn kernel(mut self, node: &Node) -> Box<dyn Kernel> {
        if let Some(kernel) = node.op.operation().on_cpu(&mut self) {
            return kernel;
        }
        let constants = self.ids.iter().zip(&self.inputs).map(|(&id, tensor)| {
            let constant = tensor.constant.as_ref()?;
            let read = || Arc::new(Data::F32(constant.read().into_owned()));
            Some(Arc::clone(self.weights.plain.entry(id).or_insert_with(read)))
        });
        Box::new(Reference {
            name: node.name.clone(),
            op: node.op.clone(),
            constants: constants.collect(),
            inputs: self.inputs.iter().map(|&tensor| tensor.clone()).collect(),
            outputs: self.outputs.iter().map(|&tensor| tensor.clone()).collect(),
        })
    }
}

/// Any operation, by its reference.
#[derive(Debug)]
struct Reference {
    name: String,
    op: Op,
    constants: Vec<Option<Arc<Data>>>,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
}

impl Kernel for Reference {
    fn has_constants(&self) -> bool {
        true
    }

    fn run(&self, node: &mut Operands<'_>, _: &Workers) -> Result<(), GraphError> {
        let computed = self.inputs.iter().zip(&self.constants).zip(&node.inputs);
        let inputs: Vec<Arc<Data>> = computed
            .map(|((tensor, constant), bytes)| match constant {
                Some(constant) => Arc::clone(constant),
                None => Arc::new(Data::from_bytes(tensor.dtype, bytes)),
            })
            .collect();
        let inputs: Vec<(&Tensor, &Data)> =
            self.inputs.iter().zip(inputs.iter().map(|data| &**data)).collect();
        let outputs: Vec<&Tensor> = self.outputs.iter().collect();
        let results = self.op.operation().run(&inputs, &outputs);
        reference::check_results(&self.name, &outputs, &results)?;
        for (bytes, result) in node.outputs.iter_mut().zip(&results) {
            bytes.copy_from_slice(result.bytes());
        }
        Ok(())
    }
}
