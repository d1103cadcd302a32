//! `shadetell inspect`: the contents of a checkpoint, a vocabulary or a model file.

use super::failure::Failure;
use super::output::{self, binary_size, table};
use clap::{Args, ValueHint};
use serde::Serialize;
use sha2::{Digest, Sha256};
use shadetell::checkpoint::{
    Checkpoint, FileKind, SpecialWords, StateDict, Tensor, TensorFile, Vocabulary, architecture,
};
use shadetell::weights::{Manifest, Model, Special};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Shows the contents of a PyTorch file, a vocabulary, or a safetensors file
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shadetell inspect encoder-5-3000.pkl      container, network, every tensor
  shadetell inspect vocab.pkl               number of words, special words
  shadetell inspect --json model.safetensors

Nothing in a file is executed. Exits with 3 if the file is of another kind.")]
pub(crate) struct InspectArgs {
    /// The file
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,

    /// Print JSON: an object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    path: String,
    bytes: u64,
    sha256: String,
    container: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<Part>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vocabulary: Option<Words>,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<Manifest>,
}

/// A state dict.
#[derive(Serialize)]
struct Part {
    name: String,
    class: Option<String>,
    /// Its network, or why the network is unknown.
    network: String,
    tensors: Vec<Row>,
    /// Tensors of kinds that are not read, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unread: Vec<String>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    dtype: String,
    shape: Vec<usize>,
    #[serde(flatten)]
    range: Range,
}

/// Statistics of a tensor's values; NaN is counted separately.
#[derive(Serialize)]
struct Range {
    min: f32,
    mean: f64,
    max: f32,
    nan: usize,
}

#[derive(Serialize)]
struct Words {
    size: usize,
    special: Option<Special>,
}

/// Prints the report.
pub(crate) fn run(args: &InspectArgs) -> Result<ExitCode, Failure> {
    let path = args.file.display().to_string();
    let unreadable = |kind| Failure::Model(format!("{path}: {kind}"));
    let kind = FileKind::of_file(&args.file).map_err(unreadable)?;
    let (sha256, bytes) = sha256(&args.file)?;
    let mut report = Report {
        bytes,
        sha256,
        container: String::new(),
        parts: Vec::new(),
        vocabulary: None,
        manifest: None,
        path: path.clone(),
    };
    match kind {
        FileKind::Safetensors => {
            report.container = "safetensors".to_owned();
            report.parts = TensorFile::open(&args.file)?.state_dicts()?.iter().map(Part::of).collect();
            if let Ok(model) = Model::open(&args.file) {
                // The names are ours, so that the description says what the tensors are.
                report.parts.iter_mut().for_each(|part| part.network = "the tensors of the model".to_owned());
                let manifest = model.manifest().clone();
                let words = Words { size: manifest.vocabulary.len(), special: Some(manifest.special) };
                (report.vocabulary, report.manifest) = (Some(words), Some(manifest));
            }
        }
        FileKind::Pickle | FileKind::Json | FileKind::Text | FileKind::Numpy => {
            let vocabulary = Vocabulary::open(&args.file)?;
            report.container = "vocabulary".to_owned();
            report.vocabulary = Some(Words::of(&vocabulary));
        }
        _ => {
            let checkpoint = Checkpoint::open(&args.file)?;
            report.container = checkpoint.container().to_string();
            match (checkpoint.state_dicts(), Vocabulary::open(&args.file)) {
                (Ok(dicts), _) => report.parts = dicts.iter().map(Part::of).collect(),
                // A vocabulary that `torch.save` wrote.
                (Err(_), Ok(vocabulary)) => report.vocabulary = Some(Words::of(&vocabulary)),
                (Err(error), Err(_)) => return Err(error.into()),
            }
        }
    }
    if args.json {
        output::print_json(&report)?;
    } else {
        output::print(&report.text())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A file's SHA-256, in hexadecimal, and its length.
pub(crate) fn sha256(path: &Path) -> Result<(String, u64), Failure> {
    let mut hash = Sha256::new();
    let copied = File::open(path).and_then(|mut file| io::copy(&mut file, &mut hash));
    let bytes =
        copied.map_err(|error| Failure::Model(format!("{}: cannot be read: {error}", path.display())))?;
    Ok((hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect(), bytes))
}

impl Part {
    fn of(dict: &StateDict<'_>) -> Part {
        let (networks, _) = architecture::recognise(dict);
        let networks: Vec<String> = networks.iter().map(|network| network.to_string()).collect();
        let network =
            if networks.is_empty() { "an unknown network".to_owned() } else { networks.join(" and ") };
        let row = |(name, tensor): &(String, Tensor<'_>)| Row {
            name: name.clone(),
            dtype: tensor.element_type().to_string(),
            shape: tensor.shape().to_vec(),
            range: Range::of(tensor),
        };
        let tensors = dict.tensors().iter().map(row).collect();
        let unread = dict.unsupported().iter().map(|(_, reason)| reason.to_string()).collect();
        Part { name: dict.name.clone(), class: dict.class.clone(), network, tensors, unread }
    }
}

impl Words {
    fn of(vocabulary: &Vocabulary) -> Words {
        let special = vocabulary.special(&SpecialWords::default()).ok();
        Words { size: vocabulary.words.len(), special }
    }
}

impl Range {
    fn of(tensor: &Tensor<'_>) -> Range {
        let mut range = Range { min: f32::INFINITY, mean: 0.0, max: f32::NEG_INFINITY, nan: 0 };
        let (mut sum, mut count) = (0.0, 0usize);
        tensor.for_each_piece(|piece| {
            for &value in piece {
                if value.is_nan() {
                    range.nan += 1;
                } else {
                    range.min = range.min.min(value);
                    range.max = range.max.max(value);
                    sum += f64::from(value);
                    count += 1;
                }
            }
        });
        if count == 0 {
            (range.min, range.max) = (0.0, 0.0);
        } else {
            range.mean = sum / count as f64;
        }
        range
    }
}

impl Report {
    fn text(&self) -> String {
        let mut text = format!(
            "{}: {}, {}\nsha256 {}\n",
            self.path,
            self.container,
            binary_size(self.bytes),
            self.sha256
        );
        if let Some(manifest) = &self.manifest {
            let decoders: Vec<String> = manifest.decoders.iter().map(|d| d.family.to_string()).collect();
            text += &format!(
                "model {}: {} with {}\n",
                manifest.name,
                manifest.encoder.family,
                decoders.join(", ")
            );
        }
        if let Some(words) = &self.vocabulary {
            text += &format!("{} words", words.size);
            text += &match words.special {
                Some(Special { pad, start, end, unk }) => {
                    format!("; special ids: pad {pad}, start {start}, end {end}, unk {unk}\n")
                }
                None => "; start and end have no usual spelling\n".to_owned(),
            };
        }
        for part in &self.parts {
            let name = if part.name.is_empty() { String::new() } else { format!("{}: ", part.name) };
            let class = part.class.as_ref().map_or_else(String::new, |class| format!(" ({class})"));
            text += &format!("\n{name}{}{class}, {} tensors\n", part.network, part.tensors.len());
            let head = ["tensor", "dtype", "shape", "min", "mean", "max", "NaN"].map(str::to_owned);
            let row = |row: &Row| {
                let Range { min, mean, max, nan } = row.range;
                let number = |value: f64| format!("{value:.5}");
                [
                    row.name.clone(),
                    row.dtype.clone(),
                    format!("{:?}", row.shape),
                    number(min.into()),
                    number(mean),
                    number(max.into()),
                    nan.to_string(),
                ]
            };
            let rows: Vec<[String; 7]> = std::iter::once(head).chain(part.tensors.iter().map(row)).collect();
            for line in table(&rows, 4, &[], output::width(false)) {
                text += &format!("  {line}\n");
            }
            for reason in &part.unread {
                text += &format!("  not read: {reason}\n");
            }
        }
        text
    }
}
