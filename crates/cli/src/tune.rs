//! `shadetell tune`: which kernels are the fastest on the adapter at hand.

use super::args::{AdapterArgs, named};
use super::bench::random;
use super::failure::Failure;
use super::output::{self, note, table};
use super::tuned;
use clap::{Args, ValueHint};
use shadetell::CaptionOptions;
use shadetell::engine::gpu::{Gpu, Trial, Tuned, tune};
use shadetell::weights::{DecoderFamily, EncoderFamily, Model};
use std::path::PathBuf;
use std::process::ExitCode;

/// Times the kernels that could run each layer of a model and keeps the fastest, which all commands use from then on
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shadetell tune                        for the model that is built in
  shadetell tune --model my.safetensors for a model of yours
  shadetell tune --arch resnet152       for a ResNet-152 + LSTM, without a file
  shadetell tune --forget               back to the usual kernels

The winners are kept per adapter and driver in the user's cache folder. Kernels round differently: a caption may change
where two words are equally likely.")]
pub(crate) struct TuneArgs {
    /// A model file to use in place of the one built in
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "arch")]
    model: Option<PathBuf>,

    /// An encoder with random weights in place of a model
    #[arg(long, value_name = "NAME", value_parser = named(&EncoderFamily::RESNETS, EncoderFamily::name))]
    arch: Option<EncoderFamily>,

    /// Which decoder; Show and Tell with --arch, else the model's first one, if not given
    #[arg(long, value_name = "NAME", value_parser = named(&DecoderFamily::ALL, DecoderFamily::name))]
    decoder: Option<DecoderFamily>,

    /// Remove what is kept for the adapter
    #[arg(long, conflicts_with_all = ["model", "arch", "decoder"])]
    forget: bool,

    #[command(flatten)]
    adapter: AdapterArgs,
}

/// Times, prints, keeps.
pub(crate) fn run(args: &TuneArgs) -> Result<ExitCode, Failure> {
    let gpu = Gpu::open(&args.adapter.choice())?;
    if args.forget {
        match tuned::forget(&gpu.info)? {
            Some(path) => note(&format!("removed {}", path.display())),
            None => note(&format!("nothing is kept for {}", gpu.info.name)),
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
                note(&format!("  {name} set aside: {reason}"));
            }
        }
        rows.push(cells(tuned));
    })
    .map_err(shadetell::Error::from)?;
    let path = tuned::save(&gpu.info, choices)?;
    output::print(&(table(&rows, 2).join("\n") + "\n"))?;
    note(&format!("kept in {}", path.display()));
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
