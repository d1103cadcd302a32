//! Comparison of a graph on a GPU with its references on the CPU.

use super::gpu::{Executor, Gpu};
use super::graph::{Data, Graph, larger};
use super::reference;
use super::{EngineError, plan::Plan};

/// How a result of a GPU compares with that of the reference.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultComparison {
    /// The name of the result.
    pub name: String,
    /// The greatest difference, relative to the largest value of the reference: see [`Data::difference`].
    pub difference: f32,
    /// Whether a kernel wrote behind the result.
    pub is_overrun: bool,
}

/// How a graph on a GPU compares with its references on the CPU.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// All results of the graph, in order.
    pub results: Vec<ResultComparison>,
}

impl Comparison {
    /// The greatest difference of all results; NaN if one is NaN that should not be.
    pub fn difference(&self) -> f32 {
        self.results.iter().map(|result| result.difference).fold(0.0, larger)
    }

    /// Whether no kernel wrote out of bounds and all differences are at most `tolerance`.
    pub fn is_within(&self, tolerance: f32) -> bool {
        self.difference() <= tolerance && self.results.iter().all(|result| !result.is_overrun)
    }
}

/// Runs a graph on a GPU and on the CPU and compares the results. On the GPU every tensor has a guard behind it: a kernel that
/// reads it gets NaN, and one that writes it is found.
///
/// # Errors
/// The inputs are not those of the graph, or it cannot be planned or run.
pub fn verify(gpu: &Gpu, graph: &Graph, inputs: &[Data]) -> Result<Comparison, EngineError> {
    let expected = reference::run(graph, inputs)?;
    let found = run_guarded(gpu, gpu.plan(graph)?, inputs)?;
    let compare = |((name, expected), found): ((&String, &Data), &Option<Data>)| ResultComparison {
        name: name.clone(),
        difference: found.as_ref().map_or(f32::NAN, |found| found.difference(expected)),
        is_overrun: found.is_none(),
    };
    Ok(Comparison { results: graph.output_names().iter().zip(&expected).zip(&found).map(compare).collect() })
}

/// Runs a plan with a guard behind every tensor. A result is `None` if a kernel wrote behind it.
///
/// # Errors
/// As [`Executor::new`] and [`Executor::run`].
pub fn run_guarded(gpu: &Gpu, plan: Plan, inputs: &[Data]) -> Result<Vec<Option<Data>>, EngineError> {
    let executor = Executor::new(gpu, plan.with_guards())?;
    let run = executor.run(&executor.plan().guarded(inputs))?;
    Ok(executor.plan().unguarded(&run.outputs))
}
