//! `shadetell bench kernels`: every kernel over the shapes of real networks, checked, then timed.

use super::baseline::BaselineArgs;
use super::report::{Setting, print_table};
use super::speed::{self, Speed};
use super::{Format, Look, ReportArgs, RunArgs};
use crate::failure::{Failure, PHOTOS_FAILED};
use crate::output;
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::Serialize;
use shadetell::engine::gpu::{Clock, Executor, Peaks};
use shadetell::engine::plan::Plan;
use shadetell::engine::reference;
use shadetell::workloads::{CASES, Case, OPS};
use std::process::ExitCode;

/// Checks kernels against their references on the CPU and times them, over shapes of ResNet-152, EfficientNet-Lite0 and LSTMs
#[derive(Debug, Args)]
pub(crate) struct KernelsArgs {
    /// Only shapes of this operation
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(OPS))]
    op: Option<String>,

    /// Only shapes whose name contains this
    #[arg(long, value_name = "TEXT")]
    shape: Option<String>,

    #[command(flatten)]
    runs: RunArgs,

    #[command(flatten)]
    baseline: BaselineArgs,

    #[command(flatten)]
    report: ReportArgs,
}

#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    setting: Setting,
    /// The clock of the times: the device's clock, or the wall clock.
    clock: &'static str,
    kernels: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    shape: &'static str,
    kernels: Vec<String>,
    /// The greatest difference from the reference's result, relative to its largest value.
    error: f32,
    /// Absent if the result is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    speed: Option<Speed>,
}

/// Checks and measures the kernels, prints the report.
pub(crate) fn run(args: &KernelsArgs) -> Result<ExitCode, Failure> {
    let is_wanted = |(name, case): &&(&str, Case)| {
        args.op.as_ref().is_none_or(|op| op == case.op())
            && args.shape.as_ref().is_none_or(|shape| name.contains(shape))
    };
    let wanted: Vec<_> = CASES.iter().filter(is_wanted).collect();
    if wanted.is_empty() {
        let names = CASES.map(|(name, _)| name).join(", ");
        return Err(Failure::Usage(format!("no shape is left of: {names}")));
    }
    let gpu = args.report.adapter.open()?;
    let clock = Clock::of(&gpu.device);
    let peaks = Peaks::measure(&gpu.device, &gpu.queue)?;
    let gpu = gpu.with_checks(args.runs.checks());
    let (mut rows, mut plans) = (Vec::new(), Vec::new());
    for &&(shape, case) in &wanted {
        let (graph, inputs) = case.graph().map_err(shadetell::Error::from)?;
        let plan = gpu.plan(&graph).map_err(shadetell::Error::from)?;
        let executor = Executor::new(&gpu, plan)?;
        let found = executor.run(&inputs)?.outputs;
        let error = speed::error(&found, &reference::run(&graph, &inputs).map_err(shadetell::Error::from)?);
        let speed = match speed::is_wrong(error) {
            true => None,
            false => {
                let ms = speed::times(&args.runs, &executor, &inputs, clock)?;
                Some(Speed::of(ms, executor.plan().cost(), executor.plan().steps().len(), &peaks))
            }
        };
        rows.push(Row { shape, kernels: speed::kernels(&executor), error, speed });
        plans.push(executor.plan().clone());
    }
    let plans: Vec<&Plan> = plans.iter().collect();
    let report = Report { setting: Setting::of(&gpu, &plans)?, clock: clock.name(), kernels: rows };
    report.print(args.report.look())?;
    let wrong: Vec<&str> =
        report.kernels.iter().filter(|row| row.speed.is_none()).map(|row| row.shape).collect();
    if !wrong.is_empty() {
        output::error(&format!("wrong results, not timed: {}", wrong.join(", ")));
        return Ok(ExitCode::from(PHOTOS_FAILED));
    }
    let times = report.kernels.iter().filter_map(|row| Some((row.shape, row.speed.as_ref()?.ms)));
    let holds = args.baseline.holds(&gpu.info.name, &times.collect::<Vec<_>>())?;
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::from(PHOTOS_FAILED) })
}

impl Report {
    fn print(&self, look: Look) -> Result<(), Failure> {
        if look.format == Format::Json {
            return Ok(output::print_json(self)?);
        }
        output::print(&format!("{}\n\n", self.setting.text()))?;
        let row = |start: [String; 3], end: [String; 8]| -> [String; 11] {
            let mut cells = start.into_iter().chain(end);
            std::array::from_fn(|_| cells.next().unwrap_or_default())
        };
        let titles = ["shape", "kernels", "error"].map(str::to_owned);
        let mut rows = vec![row(titles, Speed::TITLES.map(str::to_owned))];
        for Row { shape, kernels, error, speed } in &self.kernels {
            let start = [(*shape).to_owned(), kernels.join(" + "), format!("{error:.0e}")];
            let wrong = || std::array::from_fn(|i| if i == 7 { "WRONG" } else { "" }.to_owned());
            rows.push(row(start, speed.as_ref().map_or_else(wrong, Speed::cells)));
        }
        print_table(&rows, 9, &["FLOP/B", "min", "GB/s", "p95 ms", "error"], look)?;
        let note = match self.clock {
            "device" => "Times are from the device's clock.",
            _ => {
                "Times are wall-clock times of dispatches, with each one waited for, since the\ndevice has no clock."
            }
        };
        let note = format!(
            "Errors are relative to the reference's largest value.\n{note}\nPeaks are those of `shadetell bench peaks`.\n"
        );
        Ok(output::print(&note)?)
    }
}
