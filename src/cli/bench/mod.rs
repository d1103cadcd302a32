//! `shadetell bench`: how fast an adapter and the kernels on it are.

mod baseline;
mod kernels;
mod model;
mod peaks;
mod report;

use super::args::{AdapterArgs, number};
use super::failure::Failure;
use clap::{Args, Subcommand, ValueEnum};
use std::process::ExitCode;

/// Measures an adapter, and what the kernels make of it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shadetell bench peaks                              what the adapter can do
  shadetell bench kernels --op conv2d                kernels over real shapes, checked and timed
  shadetell bench model --arch resnet152             a network with random weights, layer by layer
  shadetell bench model --arch resnet152 --format json > now.json
  shadetell bench model --arch resnet152 --baseline now.json --threshold 5%

Exits with 1 if --baseline was faster by more than the threshold.")]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Peaks(peaks::PeaksArgs),
    Kernels(kernels::KernelsArgs),
    Model(model::ModelArgs),
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
    /// For documents
    Markdown,
}

/// How a report is written, and of what.
#[derive(Debug, Args)]
struct ReportArgs {
    /// How the report is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    #[command(flatten)]
    adapter: AdapterArgs,
}

/// How often something is run.
#[derive(Debug, Args)]
struct RunArgs {
    /// Runs before the first one that counts
    #[arg(long, value_name = "N", default_value = "3", value_parser = number(0..=1000usize, "a whole number"))]
    warm_up: usize,

    /// Runs that count
    #[arg(long, value_name = "N", default_value = "15", value_parser = number(1..=100_000usize, "a whole number"))]
    runs: usize,
}

/// Measures what was asked for.
pub(crate) fn run(args: &BenchArgs) -> Result<ExitCode, Failure> {
    match &args.what {
        What::Peaks(args) => peaks::run(args),
        What::Kernels(args) => kernels::run(args),
        What::Model(args) => model::run(args),
    }
}
