//! `shadetell bench model`: a whole network, layer by layer.

use super::report::{Setting, Times, print_table};
use super::{Format, ReportArgs, RunArgs, baseline};
use crate::cli::args::{named, number};
use crate::cli::failure::{Failure, PHOTOS_FAILED};
use crate::cli::output;
use clap::{Args, ValueHint};
use serde::Serialize;
use shadetell::CaptionOptions;
use shadetell::gpu::{Executor, Gpu, Pipelines};
use shadetell::graph::Data;
use shadetell::graph::plan::Plan;
use shadetell::weights::{DecoderFamily, EncoderFamily, Model, SynthOptions, synth};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Times a network with random weights: cold, warm, layer by layer, and its memory
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// The encoder
    #[arg(long, value_name = "NAME", default_value = "resnet152",
          value_parser = named(&EncoderFamily::RESNETS, EncoderFamily::name))]
    arch: EncoderFamily,

    /// The decoder; the encoder alone if not given
    #[arg(long, value_name = "NAME", value_parser = named(&DecoderFamily::ALL, DecoderFamily::name))]
    decoder: Option<DecoderFamily>,

    /// A model file to use in place of random weights
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "arch")]
    model: Option<PathBuf>,

    /// Hypotheses that the decoder follows
    #[arg(long, value_name = "K", default_value = "1",
          value_parser = number(1..=CaptionOptions::MAX_BEAM, "a whole number"))]
    beam: usize,

    /// Photos at a time
    #[arg(long, value_name = "N", default_value = "1",
          value_parser = number(1..=CaptionOptions::MAX_BATCH, "a whole number"))]
    batch: usize,

    /// Weights of 16-bit floats
    #[arg(long)]
    half: bool,

    #[command(flatten)]
    runs: RunArgs,

    /// Seconds after which no further run is started
    #[arg(long, value_name = "SECONDS", default_value = "60",
          value_parser = number(1..=86_400u64, "a whole number"))]
    time_cap: u64,

    /// An earlier report as JSON to compare with
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    baseline: Option<PathBuf>,

    /// How much slower than the baseline the median may be
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = baseline::threshold)]
    threshold: f64,

    #[command(flatten)]
    report: ReportArgs,
}

#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    setting: Setting,
    model: String,
    batch: usize,
    half: bool,
    /// From the start of the command to the first result, without the making of random weights.
    cold_ms: f64,
    /// Opening the device.
    device_ms: f64,
    /// Planning, uploading the weights, creating the pipelines. Drivers may compile at the first run.
    prepare_ms: f64,
    /// The first run.
    first_ms: f64,
    /// The encoder, from pixels to features, with the upload of the pixels.
    warm_ms: Times,
    /// The decoder, all its steps, to the end of the readback.
    #[serde(skip_serializing_if = "Option::is_none")]
    decode_ms: Option<Times>,
    photos_per_second: f64,
    device_bytes: DeviceBytes,
    flops: u64,
    dispatches: usize,
    /// Wall-clock time of each kernel with the steps that it serves run one by one, which is longer than together.
    kernels: Vec<KernelTime>,
}

#[derive(Debug, Serialize)]
struct DeviceBytes {
    weights: u64,
    activations: u64,
}

/// The steps of one operation that run the same kernel on the same sizes.
#[derive(Debug, Serialize)]
struct KernelTime {
    op: &'static str,
    kernel: String,
    /// The first of the steps.
    node: String,
    steps: usize,
    workgroups: [u32; 3],
    ms: f64,
    flops: u64,
    gflops_per_second: f64,
}

/// Measures, reports, compares.
pub(crate) fn run(args: &ModelArgs) -> Result<ExitCode, Failure> {
    let clock = Instant::now();
    let (model, making) = args.open_model()?;
    let options = CaptionOptions {
        decoder: args.decoder,
        beam: Some(args.beam),
        batch: Some(args.batch),
        // The encoder alone still needs a decoder that is planned, and cut off.
        max_length: if args.decoder.is_some() { None } else { Some(1) },
        ..CaptionOptions::default()
    };
    let device = Instant::now();
    let gpu = Gpu::open(&args.report.adapter.choice())?;
    let device_time = device.elapsed();

    let preparing = Instant::now();
    let (graph, constants) = shadetell::graph(&model, &options)?;
    let mut plan = Plan::new(&graph, &gpu.target()).map_err(shadetell::Error::from)?;
    if args.decoder.is_none() {
        let encoder = plan.phases.first().map_or(0, |(_, steps)| steps.end);
        plan.steps.truncate(encoder);
        plan.phases.truncate(1);
    }
    let mut pipelines = Pipelines::default();
    let executor = Executor::new(&gpu.device, &gpu.queue, &mut pipelines, &graph, plan)?;
    let prepare_time = preparing.elapsed();

    let mut inputs = vec![Data::U8(pixels(executor.plan().inputs.first().map_or(0, |p| p.shape.elements())))];
    inputs.extend(constants);
    let first = Instant::now();
    executor.run(&inputs)?;
    let first_time = first.elapsed();
    let cold = clock.elapsed() - making;

    let cap = Instant::now() + Duration::from_secs(args.time_cap);
    for _ in 0..args.runs.warm_up {
        executor.run(&inputs)?;
    }
    let (mut encode, mut decode) = (Vec::new(), Vec::new());
    while encode.len() < args.runs.runs && (encode.is_empty() || Instant::now() < cap) {
        let start = Instant::now();
        let run = executor.run(&inputs)?;
        let whole = start.elapsed();
        let encoder = match args.decoder {
            Some(_) => run.phases.first().copied().unwrap_or(whole),
            None => whole,
        };
        encode.push(encoder);
        decode.push(whole - encoder);
    }
    let kernels = kernels(&executor, &inputs)?;
    let (warm_ms, decode_ms) = (Times::of(&encode), Times::of(&decode));
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let plan = executor.plan();
    let report = Report {
        setting: Setting::of(&gpu),
        model: model.manifest().name.clone(),
        batch: args.batch,
        half: args.half,
        cold_ms: ms(cold),
        device_ms: ms(device_time),
        prepare_ms: ms(prepare_time),
        first_ms: ms(first_time),
        warm_ms,
        decode_ms: args.decoder.is_some().then_some(decode_ms),
        photos_per_second: args.batch as f64 * 1e3 / warm_ms.median,
        device_bytes: DeviceBytes { weights: executor.weight_bytes(), activations: plan.arena_bytes as u64 },
        flops: plan.cost().flops,
        dispatches: plan.steps.len(),
        kernels,
    };
    report.print(args.report.format)?;
    match &args.baseline {
        Some(path) if !baseline::holds(path, &gpu.info.name, warm_ms, args.threshold)? => {
            Ok(ExitCode::from(PHOTOS_FAILED))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

impl ModelArgs {
    /// The model, and how long it took to make it.
    fn open_model(&self) -> Result<(Model, Duration), Failure> {
        if let Some(path) = &self.model {
            return Ok((Model::open(path)?, Duration::ZERO));
        }
        let clock = Instant::now();
        let decoder = self.decoder.unwrap_or(DecoderFamily::ShowTell);
        let options = SynthOptions { half: self.half, ..SynthOptions::new(self.arch, decoder) };
        let folder = tempfile::tempdir().map_err(|error| {
            Failure::System(format!("cannot make a temporary folder for random weights: {error}"))
        })?;
        let path = folder.path().join("random.safetensors");
        synth(&options).write(&path, false)?;
        // The file stays mapped when its name is gone.
        Ok((Model::open(&path)?, clock.elapsed()))
    }
}

/// Bytes that look like those of a photo in that they differ.
fn pixels(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// Times every step alone, a few times, and puts those together that do the same.
fn kernels(executor: &Executor, inputs: &[Data]) -> Result<Vec<KernelTime>, Failure> {
    const RUNS: usize = 3;
    let mut best: Vec<Duration> = executor.profile(inputs)?;
    for _ in 1..RUNS {
        for (best, time) in best.iter_mut().zip(executor.profile(inputs)?) {
            *best = time.min(*best);
        }
    }
    let mut kernels: Vec<KernelTime> = Vec::new();
    for (step, time) in executor.plan().steps.iter().zip(best) {
        let kernel = step.dispatch.kernel.label();
        let (workgroups, flops) = (step.dispatch.workgroups, step.cost.flops);
        let ms = time.as_secs_f64() * 1e3;
        let same = |k: &&mut KernelTime| k.kernel == kernel && k.workgroups == workgroups && k.op == step.op;
        match kernels.iter_mut().find(same) {
            Some(known) => {
                known.steps += 1;
                known.ms += ms;
                known.flops += flops;
            }
            None => kernels.push(KernelTime {
                op: step.op,
                kernel,
                node: step.node.clone(),
                steps: 1,
                workgroups,
                ms,
                flops,
                gflops_per_second: 0.0,
            }),
        }
    }
    for kernel in &mut kernels {
        kernel.gflops_per_second = kernel.flops as f64 / kernel.ms / 1e6;
    }
    kernels.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    Ok(kernels)
}

impl Report {
    fn print(&self, format: Format) -> Result<(), Failure> {
        if format == Format::Json {
            return Ok(output::print_json(self)?);
        }
        let half = if self.half { ", 16-bit weights" } else { "" };
        output::print(&format!(
            "{}\n\n{}, {} at a time{half}: {:.3} GFLOP in {} dispatches\n\n",
            self.setting.line(),
            self.model,
            self.batch,
            self.flops as f64 / 1e9,
            self.dispatches
        ))?;
        let ms = |name: &str, times: Times| {
            [name.to_owned(), time(times.min), time(times.median), time(times.p95)]
        };
        let once = |name: &str, value: f64| [name.to_owned(), String::new(), time(value), String::new()];
        let mut rows = vec![["ms", "min", "median", "p95"].map(str::to_owned)];
        rows.push(ms("encoder, warm", self.warm_ms));
        rows.extend(self.decode_ms.map(|times| ms("decoder, warm", times)));
        rows.push(once("cold, from the start to the first result", self.cold_ms));
        rows.push(once("  device", self.device_ms));
        rows.push(once("  plan, upload, pipelines", self.prepare_ms));
        rows.push(once("  first run", self.first_ms));
        print_table(&rows, 3, format)?;
        let DeviceBytes { weights, activations } = self.device_bytes;
        output::print(&format!(
            "{:.1} photos a second; {:.2} MB of weights, {:.2} MB of activations on the device\n\n",
            self.photos_per_second,
            weights as f64 / 1e6,
            activations as f64 / 1e6
        ))?;
        let titles = ["op", "kernel", "first node", "steps", "workgroups", "ms", "GFLOP", "GFLOP/s"];
        let mut rows = vec![titles.map(str::to_owned)];
        rows.extend(self.kernels.iter().map(|k| {
            let [x, y, z] = k.workgroups;
            [
                k.op.to_owned(),
                k.kernel.clone(),
                k.node.clone(),
                k.steps.to_string(),
                format!("{x} x {y} x {z}"),
                time(k.ms),
                format!("{:.3}", k.flops as f64 / 1e9),
                format!("{:.1}", k.gflops_per_second),
            ]
        }));
        print_table(&rows, 5, format)?;
        let note =
            "Times of kernels are wall-clock times of steps run one by one, the best of three, summed.\n";
        Ok(output::print(note)?)
    }
}

fn time(ms: f64) -> String {
    format!("{ms:.2}")
}
