//! `shadetell convert`: makes a model file from PyTorch checkpoints.

use super::args::named;
use super::failure::Failure;
use super::inspect::sha256;
use super::output::{note, written};
use clap::{Args, ValueHint};
use shadetell::checkpoint::{
    ConvertOptions, Converted, SpecialWords, TensorFile, Vocabulary, convert, convert_encoder,
};
use shadetell::weights::{Model, ModelError, ModelErrorKind, Preset, Source};
use shadetell::{Backend, CaptionOptions, EncoderOptions, Error, ImageEncoder, caption_graph};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Makes a model file from PyTorch checkpoints and a vocabulary
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shadetell convert --encoder encoder-5-3000.pkl \\
      --decoder decoder-5-3000.pkl --vocab vocab.pkl -o model.safetensors
  shadetell convert BEST_checkpoint.pth.tar --vocab WORDMAP.json \\
      -o model.safetensors
  shadetell caption --model model.safetensors photos/cat.jpg
  shadetell convert --encoder resnet50.pth -o resnet50.safetensors
  shadetell tag --model resnet50.safetensors photos/cat.jpg

Encoders are torchvision's ResNets, ResNeXts, Wide ResNets, VGGs and
MobileNetV2, and EfficientNet-Lite, bare or in the tutorials' wrapping.
Decoders are those of yunjey's tutorial (Show and Tell) and of sgrvinod's
(Show, Attend and Tell), with LSTM or GRU cells. Architecture and sizes are
read from the tensors. Nothing in a file is executed. Layers that these
networks do not have are refused.

Photos are prepared as in the tutorial that the names of the tensors come
from: squash-lanczos-224 for Show and Tell (resize256-crop224 if the encoder's
tensors are called `model.N`), squash-bilinear-256 with a grid of 14x14 for
Show, Attend and Tell. --preset and --grid override this. Captions are
searched as in the tutorial: greedily with at most 20 words, or with a beam of
5 and at most 51 words; `shadetell caption --beam K` overrides the beam.

Exits with 3 if the files make no model.")]
pub(crate) struct ConvertArgs {
    /// A file with encoder and decoder
    #[arg(value_hint = ValueHint::FilePath, required_unless_present = "encoder",
          conflicts_with_all = ["encoder", "decoder"], requires = "vocab")]
    checkpoint: Option<PathBuf>,

    /// The encoder's file; without a decoder it becomes a model for `shadetell tag` and `shadetell embed`
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    encoder: Option<PathBuf>,

    /// The decoder's file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires_all = ["encoder", "vocab"])]
    decoder: Option<PathBuf>,

    /// The vocabulary: a pickle, JSON, text (a word a line, or words with ids), a numpy array, or a model file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    vocab: Option<PathBuf>,

    /// The names of the classes of the encoder's classifier, a name a line; 1,000 classes have ImageNet's names
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    classes: Option<PathBuf>,

    /// What the names of the tensors begin with, for a file with several copies of a network, such as `model_ema`
    #[arg(long, value_name = "NAME")]
    prefix: Option<String>,

    /// Leave out layers that the known networks do not have
    #[arg(long)]
    ignore_unused: bool,

    /// The model file to write
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: PathBuf,

    /// Write weights as f16: half the size and memory, captions that differ now and then
    #[arg(long)]
    half: bool,

    /// How photos are preprocessed
    #[arg(long, value_name = "NAME", value_parser = named(&Preset::ALL, Preset::name))]
    preset: Option<Preset>,

    /// Rows and columns of the grid that attention reads, such as 7x7 or 7
    #[arg(long, value_name = "ROWSxCOLUMNS", value_parser = grid)]
    grid: Option<[usize; 2]>,

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
        return Err(
            ModelError { file: args.output.display().to_string(), kind: ModelErrorKind::Exists }.into()
        );
    }
    if args.vocab.is_some() && args.checkpoint.is_none() && args.decoder.is_none() {
        return Err(Failure::Usage(
            "an encoder alone has no words: leave out --vocab, or name a --decoder".to_owned(),
        ));
    }
    let files: Vec<&Path> = match (&args.checkpoint, &args.encoder, &args.decoder) {
        (Some(both), ..) => vec![both],
        (None, Some(encoder), Some(decoder)) => vec![encoder, decoder],
        (None, Some(encoder), None) => vec![encoder],
        // The parser refuses all other cases.
        _ => return Err(Failure::Usage("name a checkpoint, or an encoder and a decoder".to_owned())),
    };
    let opened = files.iter().map(|path| TensorFile::open(path)).collect::<Result<Vec<_>, _>>()?;
    let vocabulary = match &args.vocab {
        Some(path) => Some((path.display().to_string(), Vocabulary::open(path)?)),
        None => None,
    };
    let classes = match &args.classes {
        Some(path) => Vocabulary::open(path)?.words,
        None => Vec::new(),
    };
    let sources = std::thread::scope(|scope| {
        let paths = files.iter().copied().chain(args.vocab.as_deref());
        let started: Vec<_> = paths.map(|path| scope.spawn(move || source(path))).collect();
        let stopped = |_| Failure::System("a thread stopped".to_owned());
        started.into_iter().map(|thread| thread.join().map_err(stopped)?).collect::<Result<_, Failure>>()
    })?;
    let options = ConvertOptions {
        preset: args.preset,
        grid: args.grid,
        prefix: args.prefix.clone(),
        ignore_unused: args.ignore_unused,
        classes,
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
    let Converted { model, left_out } = match &vocabulary {
        Some((path, words)) => convert(encoder, decoder, (path, words), &options)?,
        None => convert_encoder(encoder, &options)?,
    };
    let sources = files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" and ");
    model.write_checked(&args.output, args.force, |part| can_be_built(part, &sources))?;
    if !left_out.is_empty() {
        note(&format!("left out of the model: {}", left_out.join(", ")));
    }
    written(&args.output, model.manifest());
    Ok(ExitCode::SUCCESS)
}

/// Whether the network can be built from a model file; `sources` are the files in messages.
fn can_be_built(path: &Path, sources: &str) -> Result<(), Failure> {
    let model = Model::open(path)?;
    let built = if model.manifest().decoders.is_empty() {
        ImageEncoder::new(&model, Backend::Cpu, &EncoderOptions::default()).map(|_| ())
    } else {
        caption_graph(&model, &CaptionOptions::default()).map(|_| ())
    };
    built.map_err(|error| match error {
        Error::Model(error) => {
            Failure::Model(format!("{sources}: {}: this is a network of another family", error.kind))
        }
        error => Failure::Model(format!("{sources}: {error}")),
    })
}

/// A side, or two with an `x` between them.
fn grid(text: &str) -> Result<[usize; 2], String> {
    let side = |text: &str| text.parse().ok().filter(|side| (1..=64).contains(side));
    let (rows, columns) = text.split_once(['x', 'X']).unwrap_or((text, text));
    match (side(rows), side(columns)) {
        (Some(rows), Some(columns)) => Ok([rows, columns]),
        _ => Err("expected 1 to 64 rows and columns, such as 7x7".to_owned()),
    }
}

/// A file's name and SHA-256.
fn source(path: &Path) -> Result<Source, Failure> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Ok(Source { name, sha256: sha256(path)?.0 })
}
