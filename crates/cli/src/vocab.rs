//! `shadetell vocab`: prints the words of a vocabulary file.

use super::failure::Failure;
use super::output;
use clap::{Args, ValueHint};
use serde::Serialize;
use shadetell::checkpoint::{SpecialWords, Vocabulary};
use shadetell::weights::Special;
use std::path::PathBuf;
use std::process::ExitCode;

/// Prints the words of a vocabulary: a pickle, JSON, text, a numpy array, or a model file
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shadetell vocab vocab.pkl                 id<TAB>word a line
  shadetell vocab --text vocab.pkl          a word a line, in order of ids
  shadetell vocab --json WORDMAP.json       words and special ids
  shadetell vocab model.safetensors         the words of a model file

Nothing in a pickle is executed. Exits with 3 if the file holds no vocabulary.")]
pub(crate) struct VocabArgs {
    /// The file
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,

    /// Print JSON: an object with `words` and `special`
    #[arg(long)]
    json: bool,

    /// Print only the words, one per line, in a format that `convert` and `vocab` can read
    #[arg(long, conflicts_with = "json")]
    text: bool,
}

#[derive(Serialize)]
struct Record {
    size: usize,
    special: Option<Special>,
    words: Vec<String>,
}

/// Prints the words.
pub(crate) fn run(args: &VocabArgs) -> Result<ExitCode, Failure> {
    let Vocabulary { words } = Vocabulary::open(&args.file)?;
    if args.json {
        let vocabulary = Vocabulary { words };
        let special = vocabulary.special(&SpecialWords::default()).ok();
        let Vocabulary { words } = vocabulary;
        output::print_json(&Record { size: words.len(), special, words })?;
    } else if args.text {
        output::print(&words.iter().map(|word| format!("{word}\n")).collect::<String>())?;
    } else {
        let lines = words.iter().enumerate().map(|(id, word)| format!("{id}\t{word}\n"));
        output::print(&lines.collect::<String>())?;
    }
    Ok(ExitCode::SUCCESS)
}
