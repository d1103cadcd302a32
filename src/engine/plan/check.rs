//! The promise under which built-in shaders run without bounds checks, asserted for every plan.
//!
//! Operands have the types and shapes that operations expect (`Graph::add_node`), and no size is zero. Here: every binding
//! is a range of the arena or a weight, as large as its tensor; results lie apart from operands; and at least one workgroup runs.

use super::{ALIGNMENT, Binding, Plan};
use crate::engine::graph::{Graph, GraphError};
use std::ops::Range;

/// Shaders number 32-bit words with 32 bits.
const MOST_BYTES: usize = (u32::MAX as usize).saturating_mul(4);

/// Checks a plan that was just made.
///
/// # Errors
/// Names the step or tensor that breaks the promise: a mistake in the engine.
pub(super) fn check(plan: &Plan, graph: &Graph) -> Result<(), GraphError> {
    for step in plan.steps() {
        check_bindings(plan, graph, &step.dispatch.bindings)
            .and_then(|()| match step.dispatch.workgroups.contains(&0) {
                true => Err(format!("expected at least one workgroup, found {:?}", step.dispatch.workgroups)),
                false => Ok(()),
            })
            .map_err(|message| GraphError { node: format!("{} ({})", step.node, step.op), message })?;
    }
    for node in graph.nodes().iter().filter(|node| !node.op.operation().is_view()) {
        let ranges = |ids: &[_]| -> Vec<Range<usize>> {
            ids.iter().filter_map(|&id| plan.ranges().get(&graph.storage(id)).cloned()).collect()
        };
        let (operands, results) = (ranges(&node.inputs), ranges(&node.outputs));
        for (index, result) in results.iter().enumerate() {
            let others = operands.iter().chain(&results[index + 1..]);
            if let Some(other) = others.into_iter().find(|other| overlap(result, other)) {
                let message = format!("expected places apart, found {result:?} and {other:?}");
                return Err(GraphError { node: node.name.clone(), message });
            }
        }
    }
    Ok(())
}

fn check_bindings(plan: &Plan, graph: &Graph, bindings: &[Binding]) -> Result<(), String> {
    for binding in bindings {
        let (range, bytes) = match binding {
            Binding::Activation(id) => (plan.ranges().get(id).cloned(), graph.get(*id).bytes()),
            Binding::Scratch(index) => (plan.scratch().get(*index).cloned(), 1),
            Binding::Weight(weight) => {
                let bytes = plan.packed_bytes(weight);
                if !(1..=MOST_BYTES).contains(&bytes) {
                    return Err(format!("expected a constant of 1 to {MOST_BYTES} bytes, found {bytes}"));
                }
                continue;
            }
            Binding::Absent => continue,
        };
        let fits = |range: &Range<usize>| {
            range.start.is_multiple_of(ALIGNMENT)
                && (bytes..=MOST_BYTES).contains(&range.len())
                && range.end <= plan.arena_bytes()
        };
        if !range.as_ref().is_some_and(fits) {
            return Err(format!(
                "expected {bytes} bytes of an arena of {}, found {range:?} for {binding:?}",
                plan.arena_bytes()
            ));
        }
    }
    Ok(())
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}
