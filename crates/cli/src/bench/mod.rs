//! `shadetell bench`: the speed of an adapter and of the kernels on it.

mod baseline;
mod check;
mod html;
mod kernel;
mod kernels;
mod layers;
mod model;
mod network;
mod peaks;
mod report;
mod speed;
mod trace;

use super::args::{AdapterArgs, named, number};
use super::failure::Failure;
use clap::{Args, Subcommand, ValueEnum, ValueHint};
use shadetell::engine::gpu::BoundsChecks;
use shadetell::weights::{DecoderFamily, EncoderFamily, Model, ModelFile, SynthOptions, synth};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Measures the speed of an adapter, and of the kernels and networks on it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shadetell bench peaks
      what the adapter can do
  shadetell bench kernels --op conv2d
      kernels over real shapes, checked and timed
  shadetell bench model --arch resnet152
      a network with random weights, layer by layer
  shadetell bench model --report page.html --trace timeline.json
  shadetell bench model --arch resnet152 --format json > now.json
  shadetell bench model --arch resnet152 --baseline now.json --threshold 5%
  shadetell bench kernel --shape resnet152.layer3.expand --source > mine.wgsl
      a built-in kernel as a start for your own
  shadetell bench kernel --shape resnet152.layer3.expand --shader mine.wgsl
      your kernel against the built-in one
  shadetell bench check --arch resnet50
      16-bit weights against 32-bit ones

Exits with 1 if a result is wrong, or if --baseline was faster by more than
the threshold.")]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Peaks(peaks::PeaksArgs),
    Kernels(kernels::KernelsArgs),
    Kernel(kernel::KernelArgs),
    Model(model::ModelArgs),
    Check(check::CheckArgs),
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

/// The format of a report, and the device that it is about.
#[derive(Debug, Args)]
struct ReportArgs {
    /// How the report is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Print whole tables, also where they are wider than the terminal
    #[arg(long)]
    wide: bool,

    #[command(flatten)]
    adapter: AdapterArgs,
}

/// How a report is written, and the columns that text may take, if they are limited.
#[derive(Clone, Copy, Debug)]
struct Look {
    format: Format,
    width: Option<usize>,
}

impl ReportArgs {
    fn look(&self) -> Look {
        Look { format: self.format, width: crate::output::width(self.wide) }
    }
}

/// The number of runs, and how kernels are compiled.
#[derive(Debug, Args)]
struct RunArgs {
    /// Warm-up runs before the first measured one
    #[arg(long, value_name = "N", default_value = "3", value_parser = number(0..=1000usize, "a whole number"))]
    warm_up: usize,

    /// Measured runs
    #[arg(long, value_name = "N", default_value = "15", value_parser = number(1..=100_000usize, "a whole number"))]
    runs: usize,

    /// Seconds after which no further run of the same measurement is started
    #[arg(long, value_name = "SECONDS", default_value = "60",
          value_parser = number(1..=86_400u64, "a whole number"))]
    time_cap: u64,

    /// Compile all shaders with bounds checks on every index and loop, as browsers do; without it, only user shaders get them
    #[arg(long)]
    checked: bool,
}

impl RunArgs {
    /// Which shaders are compiled with bounds checks.
    fn checks(&self) -> BoundsChecks {
        if self.checked { BoundsChecks::All } else { BoundsChecks::UserShadersOnly }
    }

    /// The results of the measured runs: at least one, and no more once the time is over.
    fn repeat<T>(&self, mut run: impl FnMut() -> Result<T, Failure>) -> Result<Vec<T>, Failure> {
        let cap = Instant::now() + Duration::from_secs(self.time_cap);
        for _ in 0..self.warm_up {
            if Instant::now() < cap {
                run()?;
            }
        }
        let mut found = vec![run()?];
        while found.len() < self.runs && Instant::now() < cap {
            found.push(run()?);
        }
        Ok(found)
    }
}

/// A network to run.
#[derive(Debug, Args)]
struct NetworkArgs {
    /// The encoder, with random weights
    #[arg(long, value_name = "NAME", default_value = "resnet152",
          value_parser = named(&EncoderFamily::ALL, EncoderFamily::name))]
    arch: EncoderFamily,

    /// The decoder; without it `bench model` runs the encoder alone
    #[arg(long, value_name = "NAME", value_parser = named(&DecoderFamily::ALL, DecoderFamily::name))]
    decoder: Option<DecoderFamily>,

    /// A model file to use instead of random weights
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "arch")]
    model: Option<PathBuf>,
}

impl NetworkArgs {
    /// The file, or a network with random weights, with 16 bits on request.
    fn open(&self, half: bool) -> Result<Model, Failure> {
        match &self.model {
            Some(path) => Ok(Model::open(path)?),
            None => random(self.arch, self.decoder, half),
        }
    }
}

/// A network with random weights.
pub(crate) fn random(
    arch: EncoderFamily,
    decoder: Option<DecoderFamily>,
    half: bool,
) -> Result<Model, Failure> {
    let decoder = decoder.unwrap_or(DecoderFamily::ShowTell);
    stored(&synth(&SynthOptions { half, ..SynthOptions::new(arch, decoder) }))
}

/// Writes a model to a file, and opens it.
fn stored(model: &ModelFile<'_>) -> Result<Model, Failure> {
    let folder = tempfile::tempdir()
        .map_err(|error| Failure::System(format!("cannot make a temporary folder for a model: {error}")))?;
    let path = folder.path().join("model.safetensors");
    model.write(&path, false)?;
    // The file stays mapped after it is deleted.
    Ok(Model::open(&path)?)
}

/// Runs the requested measurement.
pub(crate) fn run(args: &BenchArgs) -> Result<ExitCode, Failure> {
    match &args.what {
        What::Peaks(args) => peaks::run(args),
        What::Kernels(args) => kernels::run(args),
        What::Kernel(args) => kernel::run(args),
        What::Model(args) => model::run(args),
        What::Check(args) => check::run(args),
    }
}
