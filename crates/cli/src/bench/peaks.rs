//! `shadetell bench peaks`: the peak rates of an adapter.

use super::report::{Setting, Times, print_table};
use super::{Format, ReportArgs};
use crate::failure::Failure;
use crate::output;
use clap::Args;
use serde::Serialize;
use shadetell::engine::gpu::Peaks;
use std::process::ExitCode;

/// Measures arithmetic, memory and latency of the adapter, which other measurements are compared with
#[derive(Debug, Args)]
pub(crate) struct PeaksArgs {
    #[command(flatten)]
    report: ReportArgs,
}

#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    setting: Setting,
    /// Multiply-adds of 32-bit floats in registers; each counts as two.
    gflops_per_second: f64,
    /// The same with 16-bit floats, where shaders have them.
    #[serde(skip_serializing_if = "Option::is_none")]
    half_gflops_per_second: Option<f64>,
    /// Bytes read and written by a copy of 32 MiB.
    gigabytes_per_second: f64,
    /// An empty dispatch, submitted and waited for.
    dispatch_ms: Times,
    /// A dispatch among a thousand.
    dispatch_in_pass_us: f64,
    /// The same with a result of four bytes read back.
    readback_ms: Times,
}

/// Measures the peaks and prints the report.
pub(crate) fn run(args: &PeaksArgs) -> Result<ExitCode, Failure> {
    let gpu = args.report.adapter.open()?;
    let peaks = Peaks::measure(&gpu.device, &gpu.queue)?;
    let report = Report {
        setting: Setting::of(&gpu, &[])?,
        gflops_per_second: peaks.flops_per_second / 1e9,
        half_gflops_per_second: peaks.half_flops_per_second.map(|rate| rate / 1e9),
        gigabytes_per_second: peaks.bytes_per_second / 1e9,
        dispatch_ms: Times::of(&peaks.dispatch),
        dispatch_in_pass_us: peaks.dispatch_in_pass.as_secs_f64() * 1e6,
        readback_ms: Times::of(&peaks.readback),
    };
    if args.report.format == Format::Json {
        output::print_json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    output::print(&format!("{}\n\n", report.setting.text()))?;
    let row = |name: &str, value: String| [name.to_owned(), value];
    let rows = [
        row("what", "at best".to_owned()),
        row("32-bit multiply-adds", format!("{:.1} GFLOP/s", report.gflops_per_second)),
        row(
            "16-bit multiply-adds",
            report.half_gflops_per_second.map_or("none".to_owned(), |rate| format!("{rate:.1} GFLOP/s")),
        ),
        row("memory", format!("{:.1} GB/s", report.gigabytes_per_second)),
        row("a dispatch, waited for", format!("{:.3} ms", report.dispatch_ms.min)),
        row("a dispatch among many", format!("{:.1} us", report.dispatch_in_pass_us)),
        row("a result, read back", format!("{:.3} ms", report.readback_ms.min)),
    ];
    print_table(&rows, 1, &[], args.report.look())?;
    Ok(ExitCode::SUCCESS)
}
