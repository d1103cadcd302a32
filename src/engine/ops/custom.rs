//! An operation of the caller's in a graph.

use super::{Infer, Operand, Operands, Operation};
use crate::engine::graph::DType;
use crate::engine::graph::{Data, Graph, GraphError, Shape, Tensor, TensorId};
use crate::engine::plan::{ALIGNMENT, Binding, Dispatch, Kernel, Lowering, UserShader, flat_grid};
use std::fmt::Debug;
use std::sync::Arc;

/// An operation of the caller's: shape rule, reference on the CPU, and a WGSL shader.
///
/// The shader has entry point `main`. Binding 0 of group 0 is the uniform `Params`, with the words of [`params`]; bindings 1, 2, ..
/// are the operands and then the results, each `var<storage, read_write>`. It may `#import` the files of `shaders/shared/`. It is
/// always compiled with bounds checks. [`verify`](crate::engine::verify) compares it with its reference.
///
/// [`params`]: CustomOperation::params
pub trait CustomOperation: Debug + Send + Sync {
    /// Shapes and element types of the results for these operands.
    ///
    /// # Errors
    /// The operands do not fit; the message says what was expected and what was found.
    fn infer(&self, inputs: &[&Tensor]) -> Result<Vec<(Shape, DType)>, String>;

    /// The reference: computes the results on the CPU.
    fn run(&self, inputs: &[(&Tensor, &Data)], outputs: &[&Tensor]) -> Vec<Data>;

    /// The shader.
    fn shader(&self) -> UserShader;

    /// The words of `Params`, at most 64; floats as their bits.
    fn params(&self, inputs: &[&Tensor], outputs: &[&Tensor]) -> Vec<u32>;

    /// The number of workgroups in x, y and z: by default one for each 64 elements of the first result. Where that is more than a
    /// device allows in x, they are spread over y: the shader numbers them `x + y * num_workgroups.x` (`#import flat`).
    fn workgroups(&self, _: &[&Tensor], outputs: &[&Tensor], most: u32) -> [u32; 3] {
        flat_grid(outputs.first().map_or(1, |y| y.shape.elements().div_ceil(64)), most)
    }

    /// Floating-point operations of one run, for reports; a multiply-add counts as two.
    fn flops(&self, _: &[&Tensor], _: &[&Tensor]) -> u64 {
        0
    }
}

/// A [`CustomOperation`] as an operation of a graph.
#[derive(Clone, Debug)]
pub struct Custom(Arc<dyn CustomOperation>);

impl Custom {
    /// The operation with its own attributes.
    pub fn new(operation: impl CustomOperation + 'static) -> Custom {
        Custom(Arc::new(operation))
    }
}

/// Two are equal if they are the same.
impl PartialEq for Custom {
    fn eq(&self, other: &Custom) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The most words of `Params`.
const MAX_PARAMS: usize = ALIGNMENT / 4;

impl Operation for Custom {
    fn name(&self) -> &'static str {
        "custom"
    }

    fn operands(&self) -> Operands<'_> {
        Operands { required: &[], optional: const { &[Operand::any("operand")] }, repeats: true }
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        let results = self.0.infer(inputs)?;
        if results.is_empty() {
            return Err("expected at least one result, found none".to_owned());
        }
        Ok(results)
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], outputs: &[&Tensor]) -> Vec<Data> {
        self.0.run(inputs, outputs)
    }

    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        let mut params = self.0.params(&node.inputs, &node.outputs);
        if params.len() > MAX_PARAMS {
            return Err(format!("expected at most {MAX_PARAMS} words of Params, found {}", params.len()));
        }
        if params.is_empty() {
            // A binding has at least one word.
            params.push(0);
        }
        let operands = (0..node.inputs.len()).map(|index| node.input(index));
        let bindings: Vec<Binding> =
            operands.chain((0..node.outputs.len()).map(|i| node.output(i))).collect();
        let workgroups = self.0.workgroups(&node.inputs, &node.outputs, node.target.max_workgroups);
        Ok(vec![Dispatch { kernel: Kernel::user(self.0.shader()), bindings, params, workgroups }])
    }

    fn flops(&self, node: &Lowering<'_>) -> u64 {
        self.0.flops(&node.inputs, &node.outputs)
    }
}

impl Graph {
    /// Appends an operation of the caller's and returns its results.
    ///
    /// # Errors
    /// Its shape rule refuses the operands.
    pub fn custom(
        &mut self,
        name: &str,
        operation: &Custom,
        operands: &[TensorId],
    ) -> Result<Vec<TensorId>, GraphError> {
        self.add_node(name, operation.clone(), operands.to_vec())
    }
}
