//! `shadetell convert`: makes a model file from PyTorch checkpoints.

use super::args::named;
use super::failure::Failure;
use super::inspect::sha256;
use super::output::{binary_size, note};
use clap::{Args, ValueHint};
use shadetell::checkpoint::{ConvertOptions, SpecialWords, TensorFile, Vocabulary, convert};
use shadetell::weights::{Preset, Source};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Makes a model file from PyTorch checkpoints and a vocabulary
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shadetell convert --encoder encoder-5-3000.pkl --decoder decoder-5-3000.pkl --vocab vocab.pkl -o model.safetensors
  shadetell convert BEST_checkpoint.pth.tar --vocab WORDMAP.json -o model.safetensors
  shadetell convert --encoder resnet101-5d3b4d8f.pth --decoder decoder.pth --vocab words.txt --half -o model.safetensors
  shadetell caption --model model.safetensors dog.jpg

Encoders are ResNets of torchvision, bare or in the tutorials' wrapping; decoders are those of yunjey's tutorial
(Show and Tell) and of sgrvinod's (Show, Attend and Tell). Architecture and sizes are read from the tensors.
Nothing in a file is executed.

Photos are prepared as in the tutorial that the names of the tensors come from: squash-lanczos-224 for Show and
Tell (resize256-crop224 if the encoder's tensors are called `model.N`), squash-bilinear-256 with a grid of 14x14
for Show, Attend and Tell. --preset overrides this. Captions are searched as in the tutorial: greedily with at most
20 words, or with a beam of 5 and at most 51 words; `shadetell caption --beam K` overrides the beam.

Exits with 3 if the files make no model.")]
pub(crate) struct ConvertArgs {
    /// A file with encoder and decoder
    #[arg(value_hint = ValueHint::FilePath, required_unless_present_all = ["encoder", "decoder"],
          conflicts_with_all = ["encoder", "decoder"])]
    checkpoint: Option<PathBuf>,

    /// The encoder's file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "decoder")]
    encoder: Option<PathBuf>,

    /// The decoder's file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "encoder")]
    decoder: Option<PathBuf>,

    /// The vocabulary: a pickled class, a word map in JSON, or a word a line
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    vocab: PathBuf,

    /// The model file to write
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: PathBuf,

    /// Write weights as f16: half the size and memory, captions that differ now and then
    #[arg(long)]
    half: bool,

    /// How photos are preprocessed
    #[arg(long, value_name = "NAME", value_parser = named(&Preset::ALL, Preset::name))]
    preset: Option<Preset>,

    /// The model's name; encoder and decoder if not given
    #[arg(long)]
    name: Option<String>,

    /// The licence of the weights, which is stored in the file
    #[arg(long)]
    licence: Option<String>,

    /// The word for the start of a sentence, if it has an unusual spelling
    #[arg(long, value_name = "WORD")]
    start_word: Option<String>,

    /// The word for the end of a sentence
    #[arg(long, value_name = "WORD")]
    end_word: Option<String>,

    /// The word for padding
    #[arg(long, value_name = "WORD")]
    pad_word: Option<String>,

    /// The word for rare words
    #[arg(long, value_name = "WORD")]
    unk_word: Option<String>,

    /// Replace the output file if there is one
    #[arg(long)]
    force: bool,
}

/// Writes the model file.
pub(crate) fn run(args: &ConvertArgs) -> Result<ExitCode, Failure> {
    if !args.force && args.output.exists() {
        let message = format!("{} exists already: --force replaces it", args.output.display());
        return Err(Failure::Usage(message));
    }
    let files: Vec<&Path> = match (&args.checkpoint, &args.encoder, &args.decoder) {
        (Some(both), ..) => vec![both],
        (None, Some(encoder), Some(decoder)) => vec![encoder, decoder],
        // The parser refuses all other cases.
        _ => return Err(Failure::Usage("name a checkpoint, or an encoder and a decoder".to_owned())),
    };
    let opened = files.iter().map(|path| TensorFile::open(path)).collect::<Result<Vec<_>, _>>()?;
    let vocabulary = Vocabulary::open(&args.vocab)?;
    let sources = std::thread::scope(|scope| {
        let paths = files.iter().copied().chain([args.vocab.as_path()]);
        let started: Vec<_> = paths.map(|path| scope.spawn(move || source(path))).collect();
        let stopped = |_| Failure::System("a thread stopped".to_owned());
        started.into_iter().map(|thread| thread.join().map_err(stopped)?).collect::<Result<_, Failure>>()
    })?;
    let options = ConvertOptions {
        preset: args.preset,
        half: args.half,
        name: args.name.clone(),
        licence: args.licence.clone(),
        special: SpecialWords {
            pad: args.pad_word.clone(),
            start: args.start_word.clone(),
            end: args.end_word.clone(),
            unk: args.unk_word.clone(),
        },
        sources,
    };
    let (Some(encoder), Some(decoder)) = (opened.first(), opened.last()) else {
        return Err(Failure::Usage("no files".to_owned()));
    };
    let named = (&*args.vocab.display().to_string(), &vocabulary);
    let model = convert(encoder, decoder, named, &options)?;
    model.write(&args.output, args.force)?;
    let manifest = model.manifest();
    let bytes = std::fs::metadata(&args.output).map_or(0, |m| m.len());
    note(&format!(
        "{}: {}, {} words, {}",
        args.output.display(),
        manifest.name,
        manifest.vocabulary.len(),
        binary_size(bytes)
    ));
    Ok(ExitCode::SUCCESS)
}

/// A file's name and SHA-256.
fn source(path: &Path) -> Result<Source, Failure> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Ok(Source { name, sha256: sha256(path)?.0 })
}
