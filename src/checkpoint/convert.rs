//! Converts checkpoints and a vocabulary to a model file.

use super::architecture::{self, Decoder, Encoder, Network, Origin, Renaming};
use super::{
    Checkpoint, CheckpointError, CheckpointErrorKind, FileKind, SpecialWords, StateDict, Tensor, Vocabulary,
    open, sniff_file,
};
use crate::engine::storage::Bytes;
use crate::weights::{DecoderFamily, DecoderManifest, EncoderManifest, Manifest, ModelFile, Preset, Source};
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

    fn error(&self, message: String) -> CheckpointError {
        CheckpointError::new(&self.file, CheckpointErrorKind::Architecture(message))
    }

    /// The networks in the file, and the errors of the groups of tensors that are not networks.
    fn networks(&self) -> Result<(Vec<Part<'_>>, Option<CheckpointErrorKind>), CheckpointError> {
        let (mut found, mut reason) = (Vec::new(), None);
        for dict in self.state_dicts()? {
            // A group that holds a whole model looks like its encoder.
            let known = |dict| Some(Part { network: architecture::recognise(&dict).ok()?, dict });
            let parts: Vec<Part<'_>> = architecture::split(&dict).into_iter().filter_map(known).collect();
            let is_whole_model = parts.iter().any(|part| matches!(part.network, Network::Decoder(_)));
            match architecture::recognise(&dict) {
                Ok(network) if !is_whole_model => found.push(Part { dict, network }),
                Err(error) if parts.is_empty() => reason = reason.or(Some(error)),
                _ => found.extend(parts),
            }
        }
        Ok((found, reason))
    }

    /// The only network of a kind; `wanted` is the kind in words.
    fn network<T>(
        &self,
        wanted: &str,
        choose: impl Fn(&Network) -> Option<T>,
    ) -> Result<(StateDict<'_>, T), CheckpointError> {
        let (parts, reason) = self.networks()?;
        let others: Vec<String> = parts.iter().map(|part| part.network.to_string()).collect();
        let mut fitting = parts.into_iter().filter_map(|part| Some((choose(&part.network)?, part.dict)));
        match (fitting.next(), fitting.next(), reason) {
            (Some((network, dict)), None, _) => Ok((dict, network)),
            (Some(_), Some(_), _) => Err(self.error(format!("expected one {wanted}, found several"))),
            (None, _, Some(reason)) if others.is_empty() => Err(self.error(reason.to_string())),
            (None, ..) => Err(self.error(format!("expected a {wanted}, found a {}", others.join(" and a ")))),
        }
    }
}

/// A network in a file.
struct Part<'a> {
    dict: StateDict<'a>,
    network: Network,
}

/// Options of a conversion: facts that the files do not contain.
#[derive(Clone, Debug, Default)]
pub struct ConvertOptions {
    /// How photos are preprocessed; if not given, as in the tutorial that the tensors' names come from.
    pub preset: Option<Preset>,
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

/// Joins an encoder, a decoder and a vocabulary to a model. Encoder and decoder may be in the same file. Tensors are read
/// when the model is written.
///
/// # Errors
/// A part is an unknown network, or a known one in the wrong place, or the parts do not fit each other.
pub fn convert<'a>(
    encoder_file: &'a TensorFile,
    decoder_file: &'a TensorFile,
    (vocabulary_file, vocabulary): (&str, &Vocabulary),
    options: &ConvertOptions,
) -> Result<ModelFile<'a>, CheckpointError> {
    let (encoder_dict, encoder) = encoder_file.network("ResNet encoder", |network| match network {
        Network::Encoder(encoder) => Some(encoder.clone()),
        Network::Decoder(_) => None,
    })?;
    let (decoder_dict, decoder) = decoder_file.network("decoder", |network| match network {
        Network::Decoder(decoder) => Some(decoder.clone()),
        Network::Encoder(_) => None,
    })?;
    let Decoder { family, words, outputs, .. } = decoder;
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
    let projection = projection(&encoder_dict, &encoder, &decoder_dict, &decoder)
        .map_err(|message| decoder_file.error(message))?;
    let attends = family.attends();
    let preset = options.preset.unwrap_or(match attends {
        true => Preset::SquashBilinear256,
        false if encoder.is_from_app => Preset::Resize256Crop224,
        false => Preset::SquashLanczos224,
    });
    let prefix = family.prefix();
    let manifest = Manifest {
        format_version: 1,
        name: options.name.clone().unwrap_or_else(|| format!("{}-{family}", encoder.family)),
        encoder: EncoderManifest {
            family: encoder.family,
            prefix: "encoder.".to_owned(),
            // `enc_image_size` of the tutorial, which no tensor states.
            grid: attends.then_some([14, 14]),
        },
        // The search of `sample.py` and of `caption.py`, whose loop ends after 51 steps.
        decoders: vec![DecoderManifest {
            family,
            prefix: prefix.to_owned(),
            beam: if attends { 5 } else { 1 },
            length_penalty: 0.0,
            max_length: if attends { 51 } else { 20 },
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
    };
    let mut file = ModelFile::new(manifest, options.half);
    push(&mut file, "encoder.", &encoder_dict, &encoder.trunk);
    push(&mut file, prefix, projection.dict, &projection.tensors);
    push(&mut file, prefix, &decoder_dict, &decoder.tensors);
    Ok(file)
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

/// Show and Tell's projection: in the encoder, or else the decoder's only weight of that shape.
fn projection<'d, 'a>(
    encoder_dict: &'d StateDict<'a>,
    encoder: &Encoder,
    decoder_dict: &'d StateDict<'a>,
    decoder: &Decoder,
) -> Result<Projection<'d, 'a>, String> {
    let channels = encoder.channels;
    if decoder.family == DecoderFamily::ShowAttendTell {
        if decoder.channels != channels {
            return Err(format!(
                "expected attention over the {channels} channels of the {} encoder, found {}",
                encoder.family, decoder.channels
            ));
        }
        return Ok(Projection { dict: encoder_dict, tensors: Vec::new() });
    }
    let width = decoder.embedding;
    let of_weight = |dict: &StateDict<'_>, renaming: &Renaming| {
        let origin = renaming.iter().find(|(to, _)| to == "project.weight").map(|(_, origin)| origin.clone());
        match origin {
            Some(Origin::Tensor(name)) => dict.sizes::<2>(&name),
            _ => None,
        }
    };
    match of_weight(encoder_dict, &encoder.projection) {
        Some([outputs, inputs]) if [outputs, inputs] == [width, channels] => {
            return Ok(Projection { dict: encoder_dict, tensors: encoder.projection.clone() });
        }
        Some(found) => {
            return Err(format!(
                "expected an embedding as wide as the encoder's projection {found:?}, found {width}: encoder and decoder \
                 belong to different models"
            ));
        }
        None => {}
    }
    let used: HashSet<&str> = decoder
        .tensors
        .iter()
        .filter_map(|(_, origin)| if let Origin::Tensor(name) = origin { Some(name.as_str()) } else { None })
        .collect();
    let stems: Vec<&str> = decoder_dict
        .tensors()
        .iter()
        .filter(|(name, tensor)| *tensor.shape() == [width, channels] && !used.contains(name.as_str()))
        .filter_map(|(name, _)| name.strip_suffix(".weight"))
        .filter(|stem| decoder_dict.sizes::<1>(&format!("{stem}.bias")) == Some([width]))
        .collect();
    let &[stem] = stems.as_slice() else {
        return Err(format!(
            "expected a layer that brings the encoder's {channels} channels to the embedding's {width}, in the encoder \
             (`linear`) or in the decoder (a weight [{width}, {channels}] with its bias), found {}",
            stems.len()
        ));
    };
    let tensor = |to: &str, from: String| (to.to_owned(), Origin::Tensor(from));
    let mut tensors = vec![
        tensor("project.weight", format!("{stem}.weight")),
        tensor("project.bias", format!("{stem}.bias")),
    ];
    // A batch norm after it, as the tutorial's encoder has.
    if decoder_dict.sizes::<1>("bn.running_var") == Some([width]) {
        let parts = ["weight", "bias", "running_mean", "running_var"];
        tensors.extend(parts.map(|part| tensor(&format!("project_norm.{part}"), format!("bn.{part}"))));
    }
    Ok(Projection { dict: decoder_dict, tensors })
}
