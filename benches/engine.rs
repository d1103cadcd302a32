//! Criterion benches over the shapes of `shadetell bench kernels` and over whole encoders: `cargo bench --bench engine`.
//!
//! Times are of the device's clock where it has one. An adapter is taken as `shadetell caption` takes it; `WGPU_ADAPTER_NAME` and
//! `WGPU_BACKEND` choose another.

#![allow(clippy::expect_used, reason = "a benchmark that cannot run has nothing to report")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use shadetell::CaptionOptions;
use shadetell::engine::gpu::{AdapterChoice, Clock, Executor, Gpu};
use shadetell::engine::graph::{Data, Graph};
use shadetell::weights::{DecoderFamily, EncoderFamily, Model, SynthOptions, synth};
use shadetell::workloads::{CASES, pixels};
use std::time::{Duration, Instant};

fn executor(gpu: &Gpu, graph: &Graph) -> Executor {
    let mut plan = gpu.plan(graph).expect("every shape has a plan");
    plan.keep_first_phase();
    Executor::new(gpu, plan).expect("the device is large enough")
}

/// Each shape, as one operation.
fn kernels(criterion: &mut Criterion) {
    let gpu = Gpu::open(&AdapterChoice::default()).expect("an adapter");
    let clock = Clock::of(&gpu.device);
    let mut group = criterion.benchmark_group(format!("kernels, {} clock", clock.name()));
    for (name, case) in CASES {
        let (graph, inputs) = case.graph().expect("the shapes fit their operations");
        let executor = executor(&gpu, &graph);
        group.throughput(Throughput::Elements(executor.plan().cost().flops));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let run = |_| executor.time(&inputs, clock).expect("the device stays");
                (0..iterations).map(run).sum::<Duration>()
            });
        });
    }
    group.finish();
}

/// Whole encoders, from pixels to features, by the clock on the wall.
fn encoders(criterion: &mut Criterion) {
    let gpu = Gpu::open(&AdapterChoice::default()).expect("an adapter");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut group = criterion.benchmark_group("encoders");
    group.sample_size(10);
    for arch in [EncoderFamily::Resnet18, EncoderFamily::Resnet50, EncoderFamily::Resnet152] {
        let path = folder.path().join(arch.name());
        let model = synth(&SynthOptions::new(arch, DecoderFamily::ShowTell));
        model.write(&path, false).expect("a model file");
        let model = Model::open(&path).expect("the file that was written");
        let options = CaptionOptions { max_length: Some(1), beam: Some(1), ..CaptionOptions::default() };
        let (graph, constants) = shadetell::caption_graph(&model, &options).expect("a graph");
        let executor = executor(&gpu, &graph);
        let count = executor.plan().inputs()[0].shape.elements();
        let inputs: Vec<Data> = [Data::U8(pixels(count))].into_iter().chain(constants).collect();
        group.bench_with_input(BenchmarkId::from_parameter(arch.name()), &inputs, |bencher, inputs| {
            bencher.iter_custom(|iterations| {
                let clock = Instant::now();
                for _ in 0..iterations {
                    executor.run(inputs).expect("the device stays");
                }
                clock.elapsed()
            });
        });
    }
    group.finish();
}

criterion_group!(engine, kernels, encoders);
criterion_main!(engine);
