//! `shadetell bench kernels`: every kernel over the shapes of real networks, checked, then timed.

use super::report::{Setting, Times, print_table};
use super::{Format, ReportArgs, RunArgs};
use crate::cli::failure::{Failure, PHOTOS_FAILED};
use crate::cli::output::{self, note};
use clap::Args;
use serde::Serialize;
use shadetell::cpu;
use shadetell::gpu::{Executor, Gpu, Peaks, Pipelines};
use shadetell::graph::plan::Plan;
use shadetell::graph::{DType, Data, Graph, GraphError};
use shadetell::ops::{Conv2d, LstmWeights, Padding};
use shadetell::weights::random_value;
use std::process::ExitCode;
use std::time::Duration;

/// Checks kernels against their twins on the CPU and times them, over shapes of ResNet-152, EfficientNet-Lite0 and LSTMs
#[derive(Debug, Args)]
pub(crate) struct KernelsArgs {
    /// Only shapes of this operation: conv2d, linear, lstm_cell
    #[arg(long, value_name = "NAME", value_parser = ["conv2d", "linear", "lstm_cell"])]
    op: Option<String>,

    /// Only shapes whose name contains this
    #[arg(long, value_name = "TEXT")]
    shape: Option<String>,

    #[command(flatten)]
    runs: RunArgs,

    #[command(flatten)]
    report: ReportArgs,
}

/// An operation with its sizes.
enum Case {
    /// `side x side` pixels of so many channels to so many, by a window of so many pixels.
    Conv { side: usize, inputs: usize, outputs: usize, window: usize, stride: usize, depthwise: bool },
    /// So many rows.
    Linear { rows: usize, inputs: usize, outputs: usize },
    /// So many rows, with as many inputs as units.
    Lstm { rows: usize, units: usize },
}

const fn conv(side: usize, inputs: usize, outputs: usize, window: usize, stride: usize) -> Case {
    Case::Conv { side, inputs, outputs, window, stride, depthwise: false }
}

const fn depthwise(side: usize, channels: usize, window: usize) -> Case {
    Case::Conv { side, inputs: channels, outputs: channels, window, stride: 1, depthwise: true }
}

const CASES: [(&str, Case); 23] = [
    ("resnet152.stem", conv(224, 4, 64, 7, 2)),
    ("resnet152.layer1.reduce", conv(56, 256, 64, 1, 1)),
    ("resnet152.layer1.window", conv(56, 64, 64, 3, 1)),
    ("resnet152.layer1.expand", conv(56, 64, 256, 1, 1)),
    ("resnet152.layer2.reduce", conv(28, 512, 128, 1, 1)),
    ("resnet152.layer2.window", conv(28, 128, 128, 3, 1)),
    ("resnet152.layer2.expand", conv(28, 128, 512, 1, 1)),
    ("resnet152.layer3.stride", conv(28, 256, 256, 3, 2)),
    ("resnet152.layer3.reduce", conv(14, 1024, 256, 1, 1)),
    ("resnet152.layer3.window", conv(14, 256, 256, 3, 1)),
    ("resnet152.layer3.expand", conv(14, 256, 1024, 1, 1)),
    ("resnet152.layer4.reduce", conv(7, 2048, 512, 1, 1)),
    ("resnet152.layer4.window", conv(7, 512, 512, 3, 1)),
    ("resnet152.layer4.expand", conv(7, 512, 2048, 1, 1)),
    ("efficientnet.depthwise3", depthwise(112, 32, 3)),
    ("efficientnet.depthwise5", depthwise(28, 240, 5)),
    ("efficientnet.expand", conv(28, 40, 240, 1, 1)),
    ("efficientnet.project", conv(14, 672, 112, 1, 1)),
    ("lstm.cell", Case::Lstm { rows: 1, units: 512 }),
    ("lstm.cell.beam5", Case::Lstm { rows: 5, units: 512 }),
    ("lstm.words", Case::Linear { rows: 1, inputs: 512, outputs: 9956 }),
    ("lstm.words.beam5", Case::Linear { rows: 5, inputs: 512, outputs: 9956 }),
    ("attention.keys", Case::Linear { rows: 196, inputs: 2048, outputs: 512 }),
];

/// How far a result may be from the twin's, by the twin's largest value.
const TOLERANCE: f32 = 1e-3;

#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    setting: Setting,
    /// What the times are: of the device's clock, or of the wall's.
    clock: &'static str,
    kernels: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    shape: &'static str,
    kernels: Vec<String>,
    /// The greatest difference from the twin's result, by its largest value.
    error: f32,
    /// Nothing is timed that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    speed: Option<Speed>,
}

#[derive(Debug, Serialize)]
struct Speed {
    ms: Times,
    gflops_per_second: f64,
    gigabytes_per_second: f64,
    flops_per_byte: f64,
    /// Of the adapter's peak in what it is bound by.
    share_of_peak: f64,
    bound_by: &'static str,
}

/// Checks, measures, reports.
pub(crate) fn run(args: &KernelsArgs) -> Result<ExitCode, Failure> {
    let is_wanted = |name: &str, case: &Case| {
        args.op.as_ref().is_none_or(|op| op == case.op())
            && args.shape.as_ref().is_none_or(|shape| name.contains(shape))
    };
    let wanted: Vec<_> = CASES.iter().filter(|(name, case)| is_wanted(name, case)).collect();
    if wanted.is_empty() {
        let names = CASES.map(|(name, _)| name).join(", ");
        return Err(Failure::Usage(format!("no shape is left of: {names}")));
    }
    let gpu = Gpu::open(&args.report.adapter.choice())?;
    let peaks = Peaks::measure(&gpu.device, &gpu.queue)?;
    let mut pipelines = Pipelines::default();
    let mut report = Report { setting: Setting::of(&gpu), clock: "wall", kernels: Vec::new() };
    for (name, case) in wanted {
        let (graph, inputs) = case.graph().map_err(shadetell::Error::from)?;
        let plan = Plan::new(&graph, &gpu.target()).map_err(shadetell::Error::from)?;
        let executor = Executor::new(&gpu.device, &gpu.queue, &mut pipelines, &graph, plan)?;
        report.kernels.push(measure(args, name, &graph, &inputs, &executor, &peaks)?);
    }
    report.print(args.report.format)?;
    let wrong: Vec<&str> =
        report.kernels.iter().filter(|row| row.speed.is_none()).map(|row| row.shape).collect();
    if wrong.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    note(&format!("error: wrong results, not timed: {}", wrong.join(", ")));
    Ok(ExitCode::from(PHOTOS_FAILED))
}

fn measure(
    args: &KernelsArgs,
    shape: &'static str,
    graph: &Graph,
    inputs: &[Data],
    executor: &Executor,
    peaks: &Peaks,
) -> Result<Row, Failure> {
    let found = executor.run(inputs)?.outputs;
    let expected = cpu::run(graph, inputs).map_err(shadetell::Error::from)?;
    let error = found.iter().zip(&expected).map(|(a, b)| difference(a.f32(), b.f32())).fold(0.0, larger);
    let mut kernels: Vec<String> = Vec::new();
    for step in &executor.plan().steps {
        let label = step.dispatch.kernel.label();
        if !kernels.contains(&label) {
            kernels.push(label);
        }
    }
    // NaN is no small difference.
    if error.is_nan() || error > TOLERANCE {
        return Ok(Row { shape, kernels, error, speed: None });
    }
    for _ in 0..args.runs.warm_up {
        executor.profile(inputs)?;
    }
    let mut times = Vec::with_capacity(args.runs.runs);
    for _ in 0..args.runs.runs {
        times.push(executor.profile(inputs)?.iter().sum::<Duration>());
    }
    let ms = Times::of(&times);
    let cost = executor.plan().cost();
    let (flops, bytes, seconds) = (cost.flops as f64, cost.bytes as f64, ms.median / 1e3);
    let shares = [("compute", flops / peaks.flops_per_second), ("memory", bytes / peaks.bytes_per_second), {
        let dispatch = peaks.dispatch.iter().min().copied().unwrap_or_default();
        ("launch", dispatch.as_secs_f64() * executor.plan().steps.len() as f64)
    }];
    let (bound_by, least) = shares.into_iter().fold(("compute", 0.0), |a, b| if b.1 > a.1 { b } else { a });
    let speed = Speed {
        ms,
        gflops_per_second: flops / seconds / 1e9,
        gigabytes_per_second: bytes / seconds / 1e9,
        flops_per_byte: flops / bytes,
        share_of_peak: least / seconds,
        bound_by,
    };
    Ok(Row { shape, kernels, error, speed: Some(speed) })
}

/// The greatest difference, by the largest expected value.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    let largest = expected.iter().fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    let apart = |(a, b): (&f32, &f32)| (a - b).abs() / largest;
    found.iter().zip(expected).map(apart).fold(0.0, larger)
}

/// The larger of two numbers; a NaN stays, which `max` drops.
fn larger(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) }
}

impl Case {
    fn op(&self) -> &'static str {
        match self {
            Case::Conv { .. } => "conv2d",
            Case::Linear { .. } => "linear",
            Case::Lstm { .. } => "lstm_cell",
        }
    }

    /// A graph of this operation alone, with values for its inputs.
    fn graph(&self) -> Result<(Graph, Vec<Data>), GraphError> {
        let mut graph = Graph::new();
        let mut seed = 1;
        let mut values = |count: usize, scale: f32| -> Vec<f32> {
            seed += 1;
            (0..count).map(|i| scale * random_value(seed << 40, i)).collect()
        };
        let mut inputs = Vec::new();
        match *self {
            Case::Conv { side, inputs: channels, outputs, window, stride, depthwise } => {
                let groups = if depthwise { channels } else { 1 };
                let taps = channels / groups * window * window;
                let x = graph.input("x", [1, side, side, channels], DType::F32);
                let weight = values(outputs * taps, (taps as f32).sqrt().recip());
                let weight =
                    graph.constant("weight", [outputs, channels / groups, window, window], weight)?;
                let bias = graph.constant("bias", [outputs], values(outputs, 1.0))?;
                let padding = Padding::uniform(window / 2);
                let op = Conv2d { stride: [stride; 2], padding, groups, ..Conv2d::default() };
                let y = graph.conv2d("conv2d", x, weight, bias, op)?;
                graph.output(y);
                inputs.push(Data::F32(values(side * side * channels, 1.0)));
            }
            Case::Linear { rows, inputs: width, outputs } => {
                let x = graph.input("x", [1, rows, width], DType::F32);
                let weight = values(outputs * width, (width as f32).sqrt().recip());
                let weight = graph.constant("weight", [outputs, width], weight)?;
                let bias = graph.constant("bias", [outputs], values(outputs, 1.0))?;
                let y = graph.linear("linear", x, weight, bias)?;
                graph.output(y);
                inputs.push(Data::F32(values(rows * width, 1.0)));
            }
            Case::Lstm { rows, units } => {
                let [x, h, c] = ["x", "h", "c"].map(|name| graph.input(name, [rows, units], DType::F32));
                let weight = values(8 * units * units, (2.0 * units as f32).sqrt().recip());
                let weight = graph.constant("weight", [4 * units, 2 * units], weight)?;
                let bias = graph.constant("bias", [4 * units], values(4 * units, 1.0))?;
                for y in graph.lstm_cell("lstm_cell", &[x], [h, c], LstmWeights { weight, bias })? {
                    graph.output(y);
                }
                inputs.extend((0..3).map(|_| Data::F32(values(rows * units, 1.0))));
            }
        }
        Ok((graph, inputs))
    }
}

impl Report {
    fn print(&self, format: Format) -> Result<(), Failure> {
        if format == Format::Json {
            return Ok(output::print_json(self)?);
        }
        output::print(&format!("{}\n\n", self.setting.line()))?;
        let titles =
            ["shape", "kernels", "error", "min", "median", "p95 ms", "GFLOP/s", "GB/s", "peak", "bound by"];
        let mut rows = vec![titles.map(str::to_owned)];
        for Row { shape, kernels, error, speed } in &self.kernels {
            let mut row = [const { String::new() }; 10];
            row[0] = (*shape).to_owned();
            row[1] = kernels.join(" + ");
            row[2] = format!("{error:.0e}");
            match speed {
                Some(speed) => {
                    let ms = [speed.ms.min, speed.ms.median, speed.ms.p95].map(|ms| format!("{ms:.3}"));
                    row[3..6].clone_from_slice(&ms);
                    row[6] = format!("{:.1}", speed.gflops_per_second);
                    row[7] = format!("{:.1}", speed.gigabytes_per_second);
                    row[8] = format!("{:.0}%", 100.0 * speed.share_of_peak);
                    row[9] = speed.bound_by.to_owned();
                }
                None => row[9] = "WRONG".to_owned(),
            }
            rows.push(row);
        }
        print_table(&rows, 8, format)?;
        let note = "Errors are relative to the twin's largest value. Times are wall-clock times of dispatches waited for one by one; \
                    peaks are those of `shadetell bench peaks`.\n";
        Ok(output::print(note)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_count_by_the_largest_value() {
        assert_eq!(difference(&[1.0, -8.0], &[1.5, -8.0]), 0.0625);
        assert!(difference(&[f32::NAN, 0.0], &[1.0, 0.0]).is_nan());
        assert!(difference(&[0.0, f32::NAN], &[1.0, 0.0]).is_nan());
    }
}
