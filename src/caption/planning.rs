//! The graph and the plan of a captioner, and the device limits that they need: for tools, and for hosts that create a device.

use super::options::{CaptionOptions, ResolvedOptions};
use crate::engine::graph::{Data, Graph, GraphError};
use crate::engine::plan::{AdapterClass, Plan, Target, TuningTable};
use crate::error::Error;
use crate::models::{self, SearchGraph};
use crate::weights::Model;

pub(super) fn search_graph(model: &Model, options: &ResolvedOptions<'_>) -> Result<SearchGraph, Error> {
    models::build(model, options.decoder, &options.preprocessing, options.search)
}

/// The graph of a model's encoder and search, which a [`Captioner`](super::Captioner) runs, with all inputs but the first,
/// the photos' pixels `[N, H, W, 3]`.
///
/// # Errors
/// As [`Captioner::new`](super::Captioner::new).
pub fn caption_graph(model: &Model, options: &CaptionOptions) -> Result<(Graph, Vec<Data>), Error> {
    let built = search_graph(model, &ResolvedOptions::of(model, options)?)?;
    Ok((built.graph, built.constant_inputs))
}

/// Plans a model without a device, for a software or a hardware adapter with the WebGPU default limits.
///
/// # Errors
/// As [`Captioner::new`](super::Captioner::new).
pub fn caption_plan(model: &Model, options: &CaptionOptions, class: AdapterClass) -> Result<Plan, Error> {
    let (graph, _) = caption_graph(model, options)?;
    Ok(Plan::new(&graph, &Target::baseline(class))?)
}

/// The limits that a device needs for a model: WebGPU's defaults, or higher ones where the model needs them. A host merges them
/// with its own before it creates its device.
///
/// The limits cover the kernels of `tuning`, the table that the host puts into [`Gpu::choices`](crate::engine::gpu::Gpu::choices),
/// and the default kernels for all other shapes; with an empty table they cover the default kernels only.
///
/// # Errors
/// As [`Captioner::new`](super::Captioner::new).
pub fn required_limits(
    model: &Model,
    options: &CaptionOptions,
    tuning: &TuningTable,
) -> Result<wgpu::Limits, Error> {
    let (graph, _) = caption_graph(model, options)?;
    Ok(limits_of(&graph, tuning)?)
}

fn limits_of(graph: &Graph, tuning: &TuningTable) -> Result<wgpu::Limits, GraphError> {
    let mut limits = wgpu::Limits::default();
    for class in [AdapterClass::Software, AdapterClass::Hardware] {
        let least = Target::baseline(class);
        // Kernels that need features may need other scratch memory.
        let most = Target { subgroup: 8, has_subgroups: true, int64: true, many_registers: true, ..least };
        for target in [least, most] {
            let plan = Plan::tuned(graph, &target, tuning)?;
            let binding = plan.largest_binding() as u64;
            let buffer = binding.max(plan.arena_bytes() as u64);
            limits.max_storage_buffer_binding_size = limits.max_storage_buffer_binding_size.max(binding);
            limits.max_buffer_size = limits.max_buffer_size.max(buffer);
        }
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::graph::DType;
    use crate::engine::ops::Conv2d;

    #[test]
    fn limits_cover_the_kernels_of_a_tuning_table() {
        let mut graph = Graph::new();
        let x = graph.input("x", [64, 28, 28, 512], DType::F32).unwrap();
        let weight = graph.constant("weight", [128, 512, 1, 1], vec![0.0; 128 * 512]).unwrap();
        let bias = graph.constant("bias", [128], vec![0.0; 128]).unwrap();
        let y = graph.conv2d("y", x, weight, bias, Conv2d::default()).unwrap();
        graph.output(y).unwrap();
        let usual = limits_of(&graph, &TuningTable::default()).unwrap();
        assert_eq!(usual, wgpu::Limits::default());
        // The kernel with the most parts has scratch memory for each of them.
        let candidates = Plan::candidates(&graph, &Target::baseline(AdapterClass::Hardware));
        let name = candidates[0].names.iter().find(|name| name.contains("split-8")).unwrap();
        let mut tuning = TuningTable::default();
        tuning.insert(candidates[0].key.clone(), name.clone());
        let tuned = limits_of(&graph, &tuning).unwrap();
        assert_eq!(tuned.max_storage_buffer_binding_size, 8 * 4 * 64 * 28 * 28 * 128);
        assert!(tuned.max_buffer_size > usual.max_buffer_size);
    }
}
