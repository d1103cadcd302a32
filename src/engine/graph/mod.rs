//! Graphs of operations on tensors, with shapes and types, independent of any device.
//!
//! A [`Graph`] is built node by node, rewritten by [`fuse`](Graph::fuse), and then planned for a GPU
//! ([`Plan`](crate::engine::plan::Plan)) or for the CPU
//! ([`cpu::Executor`](crate::engine::cpu::Executor)), or run by the references ([`reference::run`](crate::engine::reference::run)).

mod constant;
mod fuse;
mod tensor;

pub use constant::Constant;
pub(crate) use constant::{FileValues, Source};
pub use tensor::{DType, Data, Shape, Tensor, TensorId};
pub(crate) use tensor::{check_inputs, larger};

use crate::engine::ops::Op;

/// A mistake in a graph: operands that do not fit, or an input that differs from its declaration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{node}: {message}")]
pub struct GraphError {
    /// The name of the node or tensor.
    pub node: String,
    /// What was expected and what was found.
    pub message: String,
}

/// One operation with its operands.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name, such as `encoder.blocks.3.project`.
    pub name: String,
    /// The operation.
    pub op: Op,
    /// Its operands, in the order that the operation documents.
    pub inputs: Vec<TensorId>,
    /// Its results.
    pub outputs: Vec<TensorId>,
}

/// A named run of nodes whose time is measured apart, such as `encode` and `generate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// The index of its first node.
    pub start: usize,
}

/// Operations on tensors, in execution order.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    tensors: Vec<Tensor>,
    nodes: Vec<Node>,
    inputs: Vec<TensorId>,
    outputs: Vec<TensorId>,
    output_names: Vec<String>,
    phases: Vec<Phase>,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares a tensor that is handed in at each run.
    ///
    /// # Errors
    /// A size is zero, or there are 2^32 elements or more.
    pub fn input(
        &mut self,
        name: &str,
        shape: impl Into<Shape>,
        dtype: DType,
    ) -> Result<TensorId, GraphError> {
        let shape = shape.into();
        check_shape(name, &shape)?;
        let id = self.tensor(name, shape, dtype, None);
        self.inputs.push(id);
        Ok(id)
    }

    /// Adds a weight, in PyTorch's layout.
    ///
    /// # Errors
    /// The number of values is not that of the shape, a size is zero, or there are 2^32 elements or more.
    pub fn constant(
        &mut self,
        name: &str,
        shape: impl Into<Shape>,
        values: impl Into<Constant>,
    ) -> Result<TensorId, GraphError> {
        let (shape, values) = (shape.into(), values.into());
        check_shape(name, &shape)?;
        if shape.elements() != values.len() {
            return Err(GraphError {
                node: name.to_owned(),
                message: format!("shape {shape} needs {} values, found {}", shape.elements(), values.len()),
            });
        }
        Ok(self.tensor(name, shape, DType::F32, Some(values)))
    }

    /// Marks a tensor as a result of the whole graph: a computed one, an input or a constant. It has the name of the tensor.
    ///
    /// # Errors
    /// The tensor is of another graph.
    pub fn output(&mut self, id: TensorId) -> Result<(), GraphError> {
        self.check_id("output", id)?;
        let name = self.get(id).name.clone();
        self.named_output(&name, id)
    }

    /// Marks a tensor as a result of the whole graph, under a name of its own.
    ///
    /// # Errors
    /// The tensor is of another graph.
    pub fn named_output(&mut self, name: &str, id: TensorId) -> Result<(), GraphError> {
        self.check_id(name, id)?;
        self.outputs.push(id);
        self.output_names.push(name.to_owned());
        Ok(())
    }

    /// Begins a phase with this name: the nodes added from now on belong to it.
    pub fn phase(&mut self, name: &str) {
        self.phases.push(Phase { name: name.to_owned(), start: self.nodes.len() });
    }

    /// Appends a node and returns its results.
    ///
    /// This is the one place where operands are checked: their number, element types and constants against what the operation
    /// declares, and their shapes by its shape rule.
    ///
    /// # Errors
    /// The operands do not fit the operation, are of another graph, or a result would have 2^32 elements or more.
    pub fn add_node(
        &mut self,
        name: &str,
        op: impl Into<Op>,
        inputs: Vec<TensorId>,
    ) -> Result<Vec<TensorId>, GraphError> {
        let op = op.into();
        let operation = op.operation();
        let node = format!("{name} ({})", operation.name());
        inputs.iter().try_for_each(|&id| self.check_id(&node, id))?;
        let operands: Vec<&Tensor> = inputs.iter().map(|&id| self.get(id)).collect();
        let results = operation.operands().check(&operands).and_then(|()| operation.infer(&operands));
        let results = results.map_err(|message| GraphError { node: node.clone(), message })?;
        results.iter().try_for_each(|(shape, _)| check_shape(&node, shape))?;
        let outputs: Vec<TensorId> =
            results.into_iter().map(|(shape, dtype)| self.tensor(name, shape, dtype, None)).collect();
        if op.operation().is_view() {
            for (view, viewed) in outputs.iter().zip(&inputs) {
                self.tensors[view.0].view_of = Some(self.storage(*viewed));
            }
        }
        self.nodes.push(Node { name: name.to_owned(), op, inputs, outputs: outputs.clone() });
        Ok(outputs)
    }

    /// Appends a node with a single result.
    pub(crate) fn append(
        &mut self,
        name: &str,
        op: impl Into<Op>,
        inputs: Vec<TensorId>,
    ) -> Result<TensorId, GraphError> {
        self.add_node(name, op, inputs).map(|outputs| outputs[0])
    }

    fn check_id(&self, node: &str, id: TensorId) -> Result<(), GraphError> {
        if id.0 < self.tensors.len() {
            return Ok(());
        }
        let message = format!(
            "expected a tensor of this graph, which has {}, found number {} of another graph",
            self.tensors.len(),
            id.0
        );
        Err(GraphError { node: node.to_owned(), message })
    }

    /// A tensor of this graph.
    ///
    /// # Panics
    /// The tensor is of another graph, which has more of them.
    pub fn get(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.0]
    }

    /// The tensor whose memory a tensor is: itself, unless it is a view.
    pub(crate) fn storage(&self, id: TensorId) -> TensorId {
        self.get(id).view_of.unwrap_or(id)
    }

    /// The sizes of a tensor.
    pub fn shape(&self, id: TensorId) -> &Shape {
        &self.get(id).shape
    }

    /// All nodes, in execution order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The tensors that are handed in.
    pub fn inputs(&self) -> &[TensorId] {
        &self.inputs
    }

    /// The results.
    pub fn outputs(&self) -> &[TensorId] {
        &self.outputs
    }

    /// The names of the results: those of their tensors, unless they were given one.
    pub fn output_names(&self) -> &[String] {
        &self.output_names
    }

    /// The phases, in order; nodes before the first one belong to it.
    pub fn phases(&self) -> &[Phase] {
        &self.phases
    }

    /// Checks the inputs of a run against their declarations.
    ///
    /// # Errors
    /// Names the first input whose type or number of values differs.
    pub fn check_inputs(&self, data: &[Data]) -> Result<(), GraphError> {
        let declared = self.inputs.iter().map(|&id| self.get(id));
        check_inputs(declared.map(|tensor| (&*tensor.name, tensor.dtype, &tensor.shape)), data)
    }

    /// One node as a graph of its own, with its constants. Computed operands become inputs.
    ///
    /// # Errors
    /// Never: the node fitted its operands before.
    pub(crate) fn alone(&self, node: &Node) -> Result<Graph, GraphError> {
        let mut graph = Graph::new();
        let operands = node.inputs.iter().map(|&id| {
            let Tensor { name, shape, dtype, constant, .. } = self.get(id);
            match constant {
                Some(values) => graph.constant(name, shape.clone(), values.clone()),
                None => graph.input(name, shape.clone(), *dtype),
            }
        });
        let operands = operands.collect::<Result<_, _>>()?;
        for id in graph.add_node(&node.name, node.op.clone(), operands)? {
            graph.output(id)?;
        }
        Ok(graph)
    }

    fn tensor(&mut self, name: &str, shape: Shape, dtype: DType, constant: Option<Constant>) -> TensorId {
        self.tensors.push(Tensor { name: name.to_owned(), shape, dtype, constant, view_of: None });
        TensorId(self.tensors.len() - 1)
    }
}

/// Kernels number the elements of a tensor with 32 bits, and divide by its sizes.
fn check_shape(node: &str, shape: &Shape) -> Result<(), GraphError> {
    let message = if shape.contains(&0) {
        format!("expected sizes of at least 1, found {shape}")
    } else if u32::try_from(shape.elements()).is_err() {
        format!("expected fewer than 2^32 elements, found {shape}")
    } else {
        return Ok(());
    };
    Err(GraphError { node: node.to_owned(), message })
}
