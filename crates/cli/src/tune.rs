//! `shadetell tune`: finds the fastest kernels on an adapter.

use super::args::{AdapterArgs, named};
use super::bench::random;
use super::failure::Failure;
use super::names::shown;
use super::output::{self, note, table};
use super::tuned;
use clap::{Args, ValueHint};
use shadetell::CaptionOptions;
use shadetell::engine::gpu::{Gpu, Trial, Tuned, tune};
use shadetell::weights::{DecoderFamily, EncoderFamily, Model};
use std::path::PathBuf;
use std::process::ExitCode;

/// Times the candidate kernels of each layer of a model and stores the fastest, which all commands then use
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shadetell tune                        for the built-in model
  shadetell tune --model my.safetensors for a model of yours
  shadetell tune --arch resnet152       a ResNet-152 + LSTM, without a file
  shadetell tune --forget               back to the usual kernels

The fastest kernels are stored per adapter and driver in the user's cache
folder. Kernels round differently: a caption may change where two words are
almost equally likely.")]
pub(crate) struct TuneArgs {
    /// A model file to use instead of the built-in one
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "arch")]
    model: Option<PathBuf>,

    /// An encoder with random weights instead of a model
    #[arg(long, value_name = "NAME", value_parser = named(&EncoderFamily::ALL, EncoderFamily::name))]
    arch: Option<EncoderFamily>,

    /// The decoder; if not given, Show and Tell with --arch, or else the model's first one
    #[arg(long, value_name = "NAME", value_parser = named(&DecoderFamily::ALL, DecoderFamily::name))]
    decoder: Option<DecoderFamily>,

    /// Remove the stored kernels of the adapter
    #[arg(long, conflicts_with_all = ["model", "arch", "decoder"])]
    forget: bool,

    #[command(flatten)]
    adapter: AdapterArgs,
}

/// Times the kernels, prints the times, stores the fastest.
pub(crate) fn run(args: &TuneArgs) -> Result<ExitCode, Failure> {
    let gpu = Gpu::open(&args.adapter.choice())?;
    if args.forget {
        match tuned::forget(&gpu.info)? {
            Some(path) => note(&format!("removed {}", shown(&path))),
            None => note(&format!("nothing is stored for {}", gpu.info.name)),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let model = match (&args.model, args.arch) {
        (Some(path), _) => Model::open(path)?,
        (None, Some(arch)) => random(arch, args.decoder, false)?,
        (None, None) => super::args::bundled_model()?,
    };
    let options = CaptionOptions { decoder: args.decoder, ..CaptionOptions::default() };
    let (graph, _) = shadetell::caption_graph(&model, &options)?;
    let mut rows = vec![["shape", "kernel", "usual kernel", "ms", "times as fast"].map(str::to_owned)];
    let choices = tune(&gpu, &graph, |tuned| {
        note(&format!("{}: {}", tuned.key, tuned.best));
        for (name, trial) in &tuned.trials {
            if let Trial::Failed(reason) = trial {
                note(&format!("  {name} rejected: {reason}"));
            }
        }
        rows.push(cells(tuned));
    })
    .map_err(shadetell::Error::from)?;
    let path = tuned::save(&gpu.info, choices)?;
    output::print(&(table(&rows, 2, &[], output::width(false)).join("\n") + "\n"))?;
    note(&format!("stored in {}", shown(&path)));
    Ok(ExitCode::SUCCESS)
}

fn cells(tuned: &Tuned) -> [String; 5] {
    let usual = tuned.trials.first().map_or("", |(name, _)| name);
    let best = tuned.trials.iter().find(|(name, _)| *name == tuned.best);
    let ms = match best {
        Some((_, Trial::Took(time))) => format!("{:.3}", time.as_secs_f64() * 1e3),
        _ => String::new(),
    };
    [tuned.key.clone(), tuned.best.clone(), usual.to_owned(), ms, format!("{:.2}", tuned.gain())]
}
