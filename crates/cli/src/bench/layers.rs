//! The time of a network, layer by layer.

use crate::failure::Failure;
use serde::Serialize;
use shadetell::engine::gpu::{Clock, Executor};
use shadetell::engine::graph::Data;
use std::ops::Range;
use std::time::Duration;

/// Number of runs; the least time of each step is used.
const RUNS: usize = 3;

/// One node of the graph.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Layer {
    pub(super) node: String,
    pub(super) op: &'static str,
    /// One for each dispatch.
    pub(super) kernels: Vec<String>,
    pub(super) ms: f64,
    pub(super) flops: u64,
    pub(super) bytes: u64,
    #[serde(skip)]
    workgroups: Vec<[u32; 3]>,
}

impl Layer {
    pub(super) fn gflops_per_second(&self) -> f64 {
        self.flops as f64 / self.ms.max(1e-6) / 1e6
    }

    pub(super) fn gigabytes_per_second(&self) -> f64 {
        self.bytes as f64 / self.ms.max(1e-6) / 1e6
    }
}

/// The layers of a plan, and the start and end of each step in the last run.
pub(super) fn measure(
    executor: &Executor,
    inputs: &[Data],
    clock: Clock,
) -> Result<(Vec<Layer>, Vec<Range<Duration>>), Failure> {
    let mut spans = executor.profile(inputs, clock)?;
    let length = |span: &Range<Duration>| span.end - span.start;
    let mut best: Vec<Duration> = spans.iter().map(length).collect();
    for _ in 1..RUNS {
        spans = executor.profile(inputs, clock)?;
        for (best, span) in best.iter_mut().zip(&spans) {
            *best = length(span).min(*best);
        }
    }
    let mut layers: Vec<Layer> = Vec::new();
    for (step, time) in executor.plan().steps().iter().zip(best) {
        if layers.last().is_none_or(|layer| layer.node != step.node) {
            layers.push(Layer {
                node: step.node.clone(),
                op: step.op,
                kernels: Vec::new(),
                ms: 0.0,
                flops: 0,
                bytes: 0,
                workgroups: Vec::new(),
            });
        }
        if let Some(layer) = layers.last_mut() {
            layer.kernels.push(step.dispatch.kernel.label());
            layer.workgroups.push(step.dispatch.workgroups);
            layer.ms += time.as_secs_f64() * 1e3;
            layer.flops += step.cost.flops;
            layer.bytes += step.cost.bytes;
        }
    }
    Ok((layers, spans))
}

/// Equal layers in groups, with their number, sorted by time, longest first.
pub(super) fn grouped(layers: &[Layer]) -> Vec<(usize, Layer)> {
    let mut groups: Vec<(usize, Layer)> = Vec::new();
    for layer in layers {
        let same = |(_, other): &&mut (usize, Layer)| {
            (other.op, &other.kernels, &other.workgroups, other.flops)
                == (layer.op, &layer.kernels, &layer.workgroups, layer.flops)
        };
        match groups.iter_mut().find(same) {
            Some((count, known)) => {
                *count += 1;
                known.ms += layer.ms;
            }
            None => groups.push((1, layer.clone())),
        }
    }
    for (count, layer) in &mut groups {
        layer.flops *= *count as u64;
        layer.bytes *= *count as u64;
    }
    groups.sort_by(|a, b| b.1.ms.total_cmp(&a.1.ms));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_layers_are_grouped() {
        let layer = |node: &str, ms, flops| Layer {
            node: node.to_owned(),
            op: "conv2d",
            kernels: vec!["a".to_owned()],
            ms,
            flops,
            bytes: 8,
            workgroups: vec![[1; 3]],
        };
        let groups = grouped(&[layer("x", 1.0, 2), layer("y", 3.0, 4), layer("z", 1.5, 2)]);
        let found: Vec<_> =
            groups.iter().map(|(n, l)| (*n, l.node.as_str(), l.ms, l.flops, l.bytes)).collect();
        assert_eq!(found, [(1, "y", 3.0, 4, 8), (2, "x", 2.5, 4, 16)]);
        assert_eq!(layer("x", 2.0, 4_000_000).gflops_per_second(), 2.0);
    }
}
