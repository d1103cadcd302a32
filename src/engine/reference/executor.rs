//! Runs a graph through the references.

use crate::engine::graph::{Data, Graph, GraphError, Tensor, TensorId};
use std::collections::HashMap;

/// Runs the whole graph; inputs and results are in the order in which the graph declares them.
///
/// # Errors
/// An input has another type or number of values than declared, or an operation of the caller's gives other results than it declared.
pub fn run(graph: &Graph, inputs: &[Data]) -> Result<Vec<Data>, GraphError> {
    graph.check_inputs(inputs)?;
    let mut last_reader: HashMap<TensorId, usize> = HashMap::new();
    for (step, node) in graph.nodes().iter().enumerate() {
        for &id in &node.inputs {
            last_reader.insert(id, step);
        }
    }
    let mut values: HashMap<TensorId, Data> =
        graph.inputs().iter().copied().zip(inputs.iter().cloned()).collect();
    // Weights are read where they lie: only what is computed is kept here.
    let mut constants: HashMap<TensorId, Data> = HashMap::new();
    for (step, node) in graph.nodes().iter().enumerate() {
        for &id in &node.inputs {
            if let Some(constant) = &graph.get(id).constant {
                constants.entry(id).or_insert_with(|| Data::F32(constant.read().into_owned()));
            }
        }
        let operands: Vec<_> = node
            .inputs
            .iter()
            .filter_map(|id| Some((graph.get(*id), values.get(id).or_else(|| constants.get(id))?)))
            .collect();
        let results: Vec<_> = node.outputs.iter().map(|&id| graph.get(id)).collect();
        let computed = node.op.operation().run(&operands, &results);
        check_results(&node.name, &results, &computed)?;
        values.extend(node.outputs.iter().copied().zip(computed));
        for id in &node.inputs {
            if last_reader.get(id) == Some(&step) {
                constants.remove(id);
                if !graph.outputs().contains(id) {
                    values.remove(id);
                }
            }
        }
    }
    let constant = |id| graph.get(id).constant.as_ref().map(|values| Data::F32(values.read().into_owned()));
    let outputs = graph.outputs().iter().filter_map(|&id| values.get(&id).cloned().or_else(|| constant(id)));
    Ok(outputs.collect())
}

/// References of the engine give results of the right size; those of a caller's operation may not.
pub(crate) fn check_results(node: &str, expected: &[&Tensor], found: &[Data]) -> Result<(), GraphError> {
    let fits = |(tensor, data): (&&Tensor, &Data)| {
        tensor.dtype == data.dtype() && tensor.shape.elements() == data.len()
    };
    if expected.len() == found.len() && expected.iter().zip(found).all(fits) {
        return Ok(());
    }
    let expected: Vec<String> = expected.iter().map(|t| format!("{} {}", t.dtype, t.shape)).collect();
    let found: Vec<String> = found.iter().map(|data| format!("{} {}", data.len(), data.dtype())).collect();
    let message = format!(
        "expected the results {} of the reference, found {}",
        expected.join(", "),
        if found.is_empty() { "none".to_owned() } else { found.join(", ") }
    );
    Err(GraphError { node: node.to_owned(), message })
}
