//! Converts checkpoints and a vocabulary to a model file.

use super::architecture::{Decoder, Encoder, Network, Origin, Renaming, listed, taken};
use super::networks::{Networks, Part, is_under};
use super::{
    Checkpoint, CheckpointError, CheckpointErrorKind, FileKind, SpecialWords, StateDict, Tensor, Vocabulary,
    open, sniff_file,
};
use crate::engine::storage::Bytes;
use crate::weights::{DecoderManifest, EncoderManifest, Manifest, ModelFile, Preset, Source, Special};
use std::collections::HashSet;
use std::path::Path;

/// A file with tensors: a PyTorch file or safetensors.
#[derive(Debug)]
pub struct TensorFile {
    file: String,
    contents: Contents,
}

enum Contents {
    Torch(Box<Checkpoint>),
    Safetensors(Bytes),
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Contents::Torch(checkpoint) => checkpoint.fmt(f),
            Contents::Safetensors(_) => f.write_str("Safetensors"),
        }
    }
}

impl TensorFile {
    /// Maps a file into memory. If the file is overwritten while it is mapped, the tensors have other values; if it becomes
    /// shorter, the process ends with a signal (SIGBUS).
    ///
    /// # Errors
    /// The file cannot be read, holds no tensors, or is damaged.
    pub fn open(path: &Path) -> Result<TensorFile, CheckpointError> {
        let file = path.display().to_string();
        let bytes = open(path).map_err(|kind| CheckpointError::new(&file, kind))?;
        Self::read(file, bytes)
    }

    /// Reads a file that is in memory already; `file` is its name in errors.
    ///
    /// # Errors
    /// As [`TensorFile::open`].
    pub fn from_bytes(file: &str, bytes: Vec<u8>) -> Result<TensorFile, CheckpointError> {
        Self::read(file.to_owned(), bytes.into())
    }

    fn read(file: String, bytes: Bytes) -> Result<TensorFile, CheckpointError> {
        let contents = if sniff_file(&bytes) == FileKind::Safetensors {
            Contents::Safetensors(bytes)
        } else {
            Contents::Torch(Box::new(Checkpoint::read(file.clone(), bytes)?))
        };
        Ok(TensorFile { file, contents })
    }

    /// All groups of tensors in the file.
    ///
    /// # Errors
    /// A tensor does not fit into its storage, or has no storage.
    pub fn state_dicts(&self) -> Result<Vec<StateDict<'_>>, CheckpointError> {
        match &self.contents {
            Contents::Torch(checkpoint) => checkpoint.state_dicts(),
            Contents::Safetensors(bytes) => {
                StateDict::from_safetensors(&self.file, bytes).map(|dict| vec![dict])
            }
        }
    }

    /// The name of the file in messages.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    fn error(&self, message: String) -> CheckpointError {
        CheckpointError::new(&self.file, CheckpointErrorKind::Architecture(message))
    }
}

/// Options of a conversion: facts that the files do not contain.
#[derive(Clone, Debug, Default)]
pub struct ConvertOptions {
    /// How photos are preprocessed; if not given, as in the tutorial that the tensors' names come from.
    pub preset: Option<Preset>,
    /// Rows and columns of the grid that attention reads; if not given, as a pickled module states it, or else 14 x 14.
    pub grid: Option<[usize; 2]>,
    /// What the names of the tensors begin with, for files with several copies of a network.
    pub prefix: Option<String>,
    /// Whether layers that the known networks do not have are left out, instead of refused.
    pub ignore_unused: bool,
    /// The names of the classes of a classifier; if there are none, 1,000 classes have ImageNet's names.
    pub classes: Vec<String>,
    /// Whether weights are written as f16.
    pub half: bool,
    /// The model's name; if not given, the names of encoder and decoder.
    pub name: Option<String>,
    /// The licence of the weights.
    pub licence: Option<String>,
    /// Special words, if their spelling is unusual.
    pub special: SpecialWords,
    /// Where the weights come from.
    pub sources: Vec<Source>,
}

/// A converted model.
#[derive(Debug)]
pub struct Converted<'a> {
    /// The model, to be written.
    pub model: ModelFile<'a>,
    /// What was left out of it: layers with [`ConvertOptions::ignore_unused`], and tensors that are not read, such as sparse ones.
    pub left_out: Vec<String>,
}

/// Joins an encoder, a decoder and a vocabulary to a model. Encoder and decoder may be in the same file. Tensors are read
/// when the model is written.
///
/// # Errors
/// A part is an unknown network, or a known one in the wrong place, or has layers that the known network does not have, or the
/// parts do not fit each other.
pub fn convert<'a>(
    encoder_file: &'a TensorFile,
    decoder_file: &'a TensorFile,
    (vocabulary_file, vocabulary): (&str, &Vocabulary),
    options: &ConvertOptions,
) -> Result<Converted<'a>, CheckpointError> {
    let read = |file| Networks::read(file, options.prefix.as_deref());
    let encoders = read(encoder_file)?;
    let of_another_file =
        if std::ptr::eq(encoder_file, decoder_file) { None } else { Some(read(decoder_file)?) };
    let decoders = of_another_file.as_ref().unwrap_or(&encoders);
    let Part { dict: encoder_dict, network: encoder } =
        encoders.only("encoder", |network| match network {
            Network::Encoder(encoder) => Some(encoder),
            Network::Decoder(_) => None,
        })?;
    let Part { dict: decoder_dict, network: decoder } =
        decoders.only("decoder", |network| match network {
            Network::Decoder(decoder) => Some(decoder),
            Network::Encoder(_) => None,
        })?;
    let &Decoder { family, words, outputs, .. } = decoder;
    let of_vocabulary = |kind| CheckpointError::new(vocabulary_file, kind);
    if [words, outputs] != [vocabulary.words.len(); 2] {
        let message = format!(
            "expected as many words as the decoder has, found {} words here, {words} rows in its embedding and {outputs} in \
             its last layer: this is the vocabulary of another model",
            vocabulary.words.len()
        );
        return Err(of_vocabulary(CheckpointErrorKind::Vocabulary(message)));
    }
    let special = vocabulary.special(&options.special).map_err(of_vocabulary)?;
    let attends = family.attends();
    if attends && decoder.channels != encoder.channels {
        return Err(decoder_file.error(format!(
            "expected attention over the {} channels of the {} encoder, found {}",
            encoder.channels, encoder.family, decoder.channels
        )));
    }
    let projection = if attends {
        Projection { dict: encoder_dict, tensors: Vec::new() }
    } else {
        projection((encoder_dict, encoder), (decoder_dict, decoder), options.prefix.as_deref())
            .map_err(|message| encoder_file.error(message))?
    };
    let prefix = family.prefix();
    let parts = [
        ("encoder.", encoder_dict, &encoder.tensors),
        (prefix, projection.dict, &projection.tensors),
        (prefix, decoder_dict, &decoder.tensors),
    ];
    let manifest = manifest((encoder, decoder), vocabulary, special, options);
    let files = [Some(&encoders), of_another_file.as_ref()];
    joined(manifest, files.into_iter().flatten(), &parts, options)
}

/// Converts an encoder alone, with its classifier if it is there: a model for features and classes.
///
/// # Errors
/// As [`convert`].
pub fn convert_encoder<'a>(
    file: &'a TensorFile,
    options: &ConvertOptions,
) -> Result<Converted<'a>, CheckpointError> {
    let networks = Networks::read(file, options.prefix.as_deref())?;
    let Part { dict, network: encoder } = networks.only("encoder", |network| match network {
        Network::Encoder(encoder) => Some(encoder),
        Network::Decoder(_) => None,
    })?;
    let manifest = Manifest {
        format_version: 1,
        name: options.name.clone().unwrap_or_else(|| encoder.family.to_string()),
        encoder: EncoderManifest {
            family: encoder.family,
            prefix: "encoder.".to_owned(),
            grid: None,
            classes: options.classes.clone(),
        },
        decoders: Vec::new(),
        preprocess: options.preset.map_or_else(|| encoder.family.preprocessing(), Preset::preprocessing),
        vocabulary: Vec::new(),
        special: Special::default(),
        suppress: Vec::new(),
        licence: options.licence.clone(),
        sources: options.sources.clone(),
    };
    let classes = encoder.classifier.iter().rfind(|(to, _)| to.ends_with(".bias")).map(|(_, origin)| origin);
    let classes = match classes {
        Some(Origin::Tensor(name)) => dict.get(name).map_or(0, Tensor::elements),
        _ => 0,
    };
    if !options.classes.is_empty() && options.classes.len() != classes {
        return Err(file.error(format!(
            "expected a name for each of its {classes} classes, found {}",
            options.classes.len()
        )));
    }
    let parts = [("encoder.", dict, &encoder.tensors), ("encoder.", dict, &encoder.classifier)];
    joined(manifest, [&networks].into_iter(), &parts, options)
}

/// The model file of some parts, unless the files have layers that no part uses.
fn joined<'a, 'f>(
    manifest: Manifest,
    files: impl Iterator<Item = &'f Networks<'a>>,
    parts: &[(&str, &StateDict<'a>, &Renaming)],
    options: &ConvertOptions,
) -> Result<Converted<'a>, CheckpointError>
where
    'a: 'f,
{
    let used: Vec<_> = parts.iter().map(|&(_, dict, tensors)| (dict, tensors)).collect();
    let mut left_out = Vec::new();
    for networks in files {
        let left = networks.left_over(&used, options.prefix.as_deref());
        if !left.layers.is_empty() && !options.ignore_unused {
            let layers = listed(&left.layers, 8);
            return Err(CheckpointError::new(networks.file(), CheckpointErrorKind::UnusedLayers { layers }));
        }
        left_out.extend(left.layers.into_iter().chain(left.unsupported));
    }
    let mut model = ModelFile::new(manifest, options.half);
    for (prefix, dict, tensors) in parts {
        push(&mut model, prefix, dict, tensors);
    }
    Ok(Converted { model, left_out })
}

/// The description of the model.
fn manifest(
    (encoder, decoder): (&Encoder, &Decoder),
    vocabulary: &Vocabulary,
    special: Special,
    options: &ConvertOptions,
) -> Manifest {
    let &Decoder { family, cell, max_length, .. } = decoder;
    let attends = family.attends();
    let preset = options.preset.unwrap_or(match attends {
        true => Preset::SquashBilinear256,
        false if encoder.is_from_app => Preset::Resize256Crop224,
        false => Preset::SquashLanczos224,
    });
    // `enc_image_size` of the tutorial, which no tensor states.
    let grid = options.grid.or(encoder.grid.unwrap_or(Some([14, 14])));
    Manifest {
        format_version: 1,
        name: options.name.clone().unwrap_or_else(|| format!("{}-{family}", encoder.family)),
        encoder: EncoderManifest {
            family: encoder.family,
            prefix: "encoder.".to_owned(),
            grid: grid.filter(|_| attends),
            classes: options.classes.clone(),
        },
        // The search of `sample.py` and of `caption.py`, whose loop ends after 51 steps.
        decoders: vec![DecoderManifest {
            family,
            cell,
            prefix: family.prefix().to_owned(),
            beam: if attends { 5 } else { 1 },
            length_penalty: 0.0,
            max_length: max_length.unwrap_or(if attends { 51 } else { 20 }),
            forced_start: attends,
            tags: None,
            rules: None,
            confidence: None,
        }],
        preprocess: preset.preprocessing(),
        vocabulary: vocabulary.words.clone(),
        special,
        suppress: Vec::new(),
        licence: options.licence.clone(),
        sources: options.sources.clone(),
    }
}

/// Adds tensors under their new names.
fn push<'a>(file: &mut ModelFile<'a>, prefix: &str, dict: &StateDict<'a>, tensors: &Renaming) {
    for (name, origin) in tensors {
        let name = format!("{prefix}{name}");
        match origin {
            Origin::Tensor(from) => {
                if let Some(tensor) = dict.get(from) {
                    let tensor: Tensor<'a> = tensor.clone();
                    let shape = tensor.shape().to_vec();
                    file.push(name, shape, Box::new(move |sink| tensor.for_each_piece(sink)));
                }
            }
            Origin::Zeros(shape) => {
                let count = shape.iter().product();
                file.push(name, shape.clone(), Box::new(move |sink| sink(&vec![0.0; count])));
            }
        }
    }
}

/// The tensors of the projection from the pooled image to the decoder's width, and their origins.
struct Projection<'d, 'a> {
    dict: &'d StateDict<'a>,
    tensors: Renaming,
}

/// Show and Tell's projection: the only weight of its shape beside the encoder, or else beside the decoder.
fn projection<'d, 'a>(
    (encoder_dict, encoder): (&'d StateDict<'a>, &Encoder),
    (decoder_dict, decoder): (&'d StateDict<'a>, &Decoder),
    prefix: Option<&str>,
) -> Result<Projection<'d, 'a>, String> {
    let (width, channels) = (decoder.embedding, encoder.channels);
    let mut others = Vec::new();
    for dict in [encoder_dict, decoder_dict] {
        let parts = [(encoder_dict, &encoder.tensors), (decoder_dict, &decoder.tensors)];
        let of_dict = parts.into_iter().filter(|(of, _)| std::ptr::eq(*of, dict));
        let used: HashSet<&str> = of_dict.flat_map(|(_, renaming)| taken(renaming)).collect();
        let mut found = Vec::new();
        let is_free = |name: &str| !used.contains(name) && is_under(dict, name, prefix);
        for (name, tensor) in dict.tensors().iter().filter(|(name, _)| is_free(name)) {
            match (name.strip_suffix(".weight"), tensor.shape()) {
                (Some(stem), &[rows, columns]) if columns == channels && rows == width => found.push(stem),
                // The classifier of ImageNet's classes.
                (Some(_), &[1000, _]) => {}
                (Some(_), &[_, columns]) if columns == channels => {
                    others.push(format!("`{name}` {:?}", tensor.shape()));
                }
                _ => {}
            }
        }
        match found.as_slice() {
            [] => {}
            [stem] => return Ok(Projection { dict, tensors: with_norm(dict, stem, width, is_free) }),
            several => {
                let names: Vec<String> = several.iter().map(|stem| format!("`{stem}`")).collect();
                return Err(format!(
                    "expected one layer that brings the encoder's {channels} channels to the embedding's {width}, found {}",
                    listed(&names, 6)
                ));
            }
        }
    }
    let other = if others.is_empty() {
        String::new()
    } else {
        format!(" but {}: encoder and decoder belong to different models", listed(&others, 4))
    };
    Err(format!(
        "expected a layer that brings the encoder's {channels} channels to the embedding's {width} (a weight \
         [{width}, {channels}] in one of the files), found none{other}"
    ))
}

/// A projection, and the batch norm after it that the tutorial's encoder has: the only one of its width that nothing else uses.
fn with_norm(dict: &StateDict<'_>, stem: &str, width: usize, is_free: impl Fn(&str) -> bool) -> Renaming {
    let tensor = |to: &str, from: String| (to.to_owned(), Origin::Tensor(from));
    let bias = format!("{stem}.bias");
    let mut tensors = vec![tensor("project.weight", format!("{stem}.weight"))];
    tensors.push(match dict.get(&bias) {
        Some(_) => tensor("project.bias", bias),
        None => ("project.bias".to_owned(), Origin::Zeros(vec![width])),
    });
    let free = dict.tensors().iter().filter(|(name, t)| is_free(name) && *t.shape() == [width]);
    let norms: Vec<&str> = free.filter_map(|(name, _)| name.strip_suffix(".running_var")).collect();
    if let &[norm] = norms.as_slice() {
        let parts = ["weight", "bias", "running_mean", "running_var"];
        tensors.extend(parts.map(|part| tensor(&format!("project_norm.{part}"), format!("{norm}.{part}"))));
    }
    tensors
}
