//! `shadetell bench model`: a whole network, layer by layer.

use super::baseline::{self, BaselineArgs};
use super::layers;
use super::network::{DeviceBytes, NetworkReport};
use super::report::{Setting, Times};
use super::trace::{self, Events};
use super::{NetworkArgs, ReportArgs, RunArgs, html};
use crate::args::number;
use crate::failure::{Failure, PHOTOS_FAILED};
use clap::{Args, ValueHint};
use shadetell::CaptionOptions;
use shadetell::engine::gpu::{Clock, DeviceMemory, Executor, Peaks};
use shadetell::engine::graph::Data;
use shadetell::workloads::pixels;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Times a network with random weights: cold, warm, layer by layer, and its memory
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    #[command(flatten)]
    network: NetworkArgs,

    /// Hypotheses in the decoder's beam
    #[arg(long, value_name = "K", default_value = "1",
          value_parser = number(1..=CaptionOptions::MAX_BEAM, "a whole number"))]
    beam: usize,

    /// Photos in a batch
    #[arg(long, value_name = "N", default_value = "1",
          value_parser = number(1..=CaptionOptions::MAX_BATCH, "a whole number"))]
    batch: usize,

    /// Store weights as 16-bit floats
    #[arg(long)]
    half: bool,

    #[command(flatten)]
    runs: RunArgs,

    /// Write a timeline for <https://ui.perfetto.dev> here
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    trace: Option<PathBuf>,

    /// Write a page with a roofline and a chart of the layers here
    #[arg(long = "report", value_name = "FILE", value_hint = ValueHint::FilePath)]
    page: Option<PathBuf>,

    #[command(flatten)]
    baseline: BaselineArgs,

    #[command(flatten)]
    report: ReportArgs,
}

/// Measures the network, prints the report, compares it with the baseline.
pub(crate) fn run(args: &ModelArgs) -> Result<ExitCode, Failure> {
    let origin = Instant::now();
    let mut events: Events = Vec::new();
    // Ends an event that began at the end of the previous one.
    let mut lap = |name: &str| {
        let start = events.last().map_or(Duration::ZERO, |(_, span)| span.end);
        let span = start..origin.elapsed();
        events.push((name.to_owned(), span.clone()));
        span.end - span.start
    };
    let model = args.network.open(args.half)?;
    let making = lap("random weights");
    let options = CaptionOptions {
        decoder: args.network.decoder,
        beam: Some(args.beam),
        batch: Some(args.batch),
        // To measure the encoder alone, plan a decoder too, and cut it off.
        max_length: if args.network.decoder.is_some() { None } else { Some(1) },
        ..CaptionOptions::default()
    };
    let gpu = args.report.adapter.open()?;
    let device_time = lap("device");
    let (graph, constants) = shadetell::caption_graph(&model, &options)?;
    let mut plan = gpu.plan(&graph).map_err(shadetell::Error::from)?;
    if args.network.decoder.is_none() {
        plan.keep_first_phase();
    }
    let plan_time = lap("plan");
    let gpu = gpu.with_checks(args.runs.checks());
    gpu.compile(&plan)?;
    let pipelines_time = lap("pipelines");
    let executor = Executor::new(&gpu, plan)?;
    let upload_time = lap("upload");
    let mut inputs =
        vec![Data::U8(pixels(executor.plan().inputs().first().map_or(0, |p| p.shape.elements())))];
    inputs.extend(constants);
    executor.run(&inputs)?;
    let first_time = lap("first run");
    // Reading weights from a file is part of the time that a user waits for.
    let cold = origin.elapsed() - if args.network.model.is_some() { Duration::ZERO } else { making };

    let runs = args.runs.repeat(|| {
        let start = Instant::now();
        let run = executor.run(&inputs)?;
        let whole = start.elapsed();
        lap("run");
        let encoder = match args.network.decoder {
            Some(_) => run.phases.first().copied().unwrap_or(whole),
            None => whole,
        };
        Ok((encoder, whole - encoder))
    })?;
    let (encode, decode): (Vec<_>, Vec<_>) = runs.into_iter().unzip();
    let clock = Clock::of(&gpu.device);
    let (layers, spans) = layers::measure(&executor, &inputs, clock)?;
    lap("runs with a clock");
    let (warm_ms, decode_ms) = (Times::of(&encode), Times::of(&decode));
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let plan = executor.plan();
    let DeviceMemory { weights, activations, .. } = executor.memory();
    let report = NetworkReport {
        setting: Setting::of(&gpu, &[plan])?,
        model: model.manifest().name.clone(),
        batch: args.batch,
        half: args.half,
        cold_ms: ms(cold),
        device_ms: ms(device_time),
        plan_ms: ms(plan_time),
        pipelines_ms: ms(pipelines_time),
        upload_ms: ms(upload_time),
        first_ms: ms(first_time),
        warm_ms,
        decode_ms: args.network.decoder.is_some().then_some(decode_ms),
        photos_per_second: args.batch as f64 * 1e3 / warm_ms.median,
        device_bytes: DeviceBytes { weights, activations },
        flops: plan.cost().flops,
        dispatches: plan.steps().len(),
        clock: clock.name(),
        layers,
    };
    report.print(args.report.look())?;
    if let Some(path) = &args.trace {
        let last = spans.last().map_or(Duration::ZERO, |span| span.end);
        let end = events.last().map_or(Duration::ZERO, |(_, span)| span.end);
        trace::write(path, &events, plan, end.saturating_sub(last), &spans)?;
    }
    if let Some(path) = &args.page {
        html::write(path, &report, &Peaks::measure(&gpu.device, &gpu.queue)?)?;
    }
    let holds = args.baseline.holds(&gpu.info.name, &[(baseline::MODEL, warm_ms)])?;
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::from(PHOTOS_FAILED) })
}
