//! `shadetell synth`: a model with random weights.

use super::args::{named, number};
use super::failure::Failure;
use super::output::written;
use clap::{Args, ValueHint};
use shadetell::weights::{DecoderFamily, EncoderFamily, SynthOptions, synth};
use std::path::PathBuf;
use std::process::ExitCode;

/// Makes a model with deterministic random weights, for benchmarks and tests
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shadetell synth --arch resnet152 --seed 7 -o synthetic.safetensors
  shadetell caption --model synthetic.safetensors photos/camera.jpg

Its captions mean nothing. The same options give the same file on every
machine.")]
pub(crate) struct SynthArgs {
    /// The encoder
    #[arg(long, value_name = "NAME", value_parser = named(&EncoderFamily::ALL, EncoderFamily::name))]
    arch: EncoderFamily,

    /// The decoder
    #[arg(long, value_name = "NAME", value_parser = named(&DecoderFamily::ALL, DecoderFamily::name))]
    decoder: DecoderFamily,

    /// The seed of the random values
    #[arg(long, default_value = "7")]
    seed: u64,

    /// Words of the vocabulary; as in models trained on COCO if not given
    #[arg(long, value_name = "N", value_parser = number(8..=1_000_000usize, "a whole number"))]
    words: Option<usize>,

    /// LSTM layers of Show and Tell
    #[arg(long, value_name = "N", default_value = "1", value_parser = number(1..=8usize, "a whole number"))]
    layers: usize,

    /// Write weights as f16
    #[arg(long)]
    half: bool,

    /// The file to write
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: PathBuf,

    /// Replace the output file if there is one
    #[arg(long)]
    force: bool,
}

/// Writes the file.
pub(crate) fn run(args: &SynthArgs) -> Result<ExitCode, Failure> {
    let &SynthArgs { arch, decoder, seed, layers, half, .. } = args;
    let usual = SynthOptions::new(arch, decoder);
    let words = args.words.unwrap_or(usual.words);
    let model = synth(&SynthOptions { seed, words, layers, half, ..usual });
    model.write(&args.output, args.force)?;
    written(&args.output, model.manifest());
    Ok(ExitCode::SUCCESS)
}
