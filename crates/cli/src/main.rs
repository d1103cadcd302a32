//! The `shadetell` command: one file per subcommand, and shared modules.

mod args;
mod bench;
mod caption;
mod completions;
mod convert;
mod devices;
mod embed;
mod encoder;
mod engine;
mod failure;
mod inspect;
mod man;
mod output;
mod photos;
mod pictures;
mod plan;
mod serve;
mod synth;
mod tag;
mod tune;
mod tuned;
mod vocab;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Captions photos with hand-written compute shaders.
#[derive(Debug, Parser)]
#[command(name = "shadetell", version, max_term_width = 100, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  shadetell caption dog.jpg              one photo: the sentence
  shadetell caption photos/*.jpg         many photos: a line each, `path<TAB>sentence`
  shadetell caption --json photos/*.jpg  the same with words, probabilities and timings
  shadetell serve                        a web page and an API, at http://127.0.0.1:8000/
  shadetell devices                      the available GPUs
  shadetell plan                         what runs on them
  shadetell convert --encoder encoder.pkl --decoder decoder.pkl --vocab vocab.pkl -o model.safetensors
                                         a model file from PyTorch checkpoints
  shadetell inspect decoder.pkl          the contents of such a file
  shadetell bench model                  how fast a ResNet-152 is here
  shadetell tune                         which kernels are the fastest here, for all commands that follow

`shadetell help COMMAND` has more.

Exit codes: 0 success, 1 some photos failed, 2 wrong usage, 3 the model cannot be loaded,
4 there is no such adapter or the device was lost.";

#[derive(Debug, Subcommand)]
enum Command {
    Caption(caption::CaptionArgs),
    Tag(tag::TagArgs),
    Embed(embed::EmbedArgs),
    Devices(devices::DevicesArgs),
    Plan(plan::PlanArgs),
    Convert(convert::ConvertArgs),
    Inspect(inspect::InspectArgs),
    Vocab(vocab::VocabArgs),
    Synth(synth::SynthArgs),
    Bench(bench::BenchArgs),
    Tune(tune::TuneArgs),
    Serve(serve::ServeArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

fn main() -> ExitCode {
    let done = match &Cli::parse().command {
        Command::Caption(args) => caption::run(args),
        Command::Tag(args) => tag::run(args),
        Command::Embed(args) => embed::run(args),
        Command::Devices(args) => devices::run(args),
        Command::Plan(args) => plan::run(args),
        Command::Convert(args) => convert::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Vocab(args) => vocab::run(args),
        Command::Synth(args) => synth::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Tune(args) => tune::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
    };
    done.unwrap_or_else(|failure| failure.report())
}
