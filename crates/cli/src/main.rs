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
mod names;
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

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};
use std::path::Path;
use std::process::ExitCode;

/// Captions photos with hand-written compute shaders.
#[derive(Debug, Parser)]
#[command(name = "shadetell", version = env!("SHADETELL_VERSION"), max_term_width = 80, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  shadetell caption dog.jpg              one photo: the sentence
  shadetell caption photos/*.jpg         many: `path<TAB>sentence` lines
  shadetell caption --json photos/*.jpg  with words, probabilities and timings
  shadetell serve                        a web page and an API, on port 8000
  shadetell devices                      the available GPUs
  shadetell plan                         what runs on them
  shadetell convert --encoder encoder.pkl --decoder decoder.pkl \\
      --vocab vocab.pkl -o model.safetensors
                                         a model from PyTorch checkpoints
  shadetell inspect decoder.pkl          the contents of such a file
  shadetell bench model                  how fast a ResNet-152 is here
  shadetell tune                         finds the fastest kernels here

`shadetell help COMMAND` has more.

Exit codes: 0 success, 1 some photos failed, 2 wrong usage, 3 the model cannot
be loaded, 4 there is no such adapter or the device was lost.";

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
    let command = match Cli::try_parse() {
        Ok(Cli { command }) => command,
        Err(error) => return refuse(error),
    };
    let done = match &command {
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

/// Prints the parser's error, help or version, and returns the exit code.
fn refuse(mut error: clap::Error) -> ExitCode {
    if let (ErrorKind::InvalidSubcommand, Some(ContextValue::String(word))) =
        (error.kind(), error.get(ContextKind::InvalidSubcommand))
        && let path = Path::new(word)
        && (word == "-" || path.extension().is_some() || path.exists())
    {
        let tip = format!("to caption a photo: shadetell caption {}", names::shown(path));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
    }
    let text = error.render().to_string();
    if names::visible_lines(&text) == text || !error.use_stderr() {
        // The reader may be gone.
        let _ = error.print();
    } else {
        output::note(text.trim_end());
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(failure::WRONG_USAGE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// Examples are not wrapped well by the parser.
    fn check(command: &clap::Command) {
        let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in text.lines() {
            assert!(line.chars().count() <= 78, "{}: {line}", command.get_name());
        }
        command.get_subcommands().for_each(check);
    }

    #[test]
    fn examples_fit_a_terminal_of_80_columns() {
        check(&Cli::command());
    }
}
