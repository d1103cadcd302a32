//! Recognises the networks in a state dict, and maps the names of their tensors to the names used in model files.
//!
//! A network is found by a part of its names, under any prefix, so that wrappers around it do not matter. All sizes are read
//! from the shapes of the tensors. Where shapes leave one reading only, names do not matter either.

mod decoder;
mod encoder;

pub use decoder::Decoder;
pub use encoder::Encoder;

use super::{CheckpointErrorKind, StateDict};

/// The origin of a tensor of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The tensor of this name.
    Tensor(String),
    /// There is none: zeros of this shape, as for an LSTM without biases.
    Zeros(Vec<usize>),
}

/// The tensors of one part of a model: for each its name in the model file, and its origin.
pub type Renaming = Vec<(String, Origin)>;

/// The names of the tensors that a renaming takes.
pub(super) fn taken(renaming: &Renaming) -> impl Iterator<Item = &str> {
    renaming.iter().filter_map(|(_, origin)| match origin {
        Origin::Tensor(name) => Some(name.as_str()),
        Origin::Zeros(_) => None,
    })
}

/// A network in a state dict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// An encoder of photos.
    Encoder(Encoder),
    /// A decoder.
    Decoder(Decoder),
}

impl Network {
    /// What the names of its tensors begin with.
    pub fn prefix(&self) -> &str {
        match self {
            Network::Encoder(encoder) => &encoder.prefix,
            Network::Decoder(decoder) => &decoder.prefix,
        }
    }

    /// Its tensors.
    pub fn tensors(&self) -> &Renaming {
        match self {
            Network::Encoder(encoder) => &encoder.tensors,
            Network::Decoder(decoder) => &decoder.tensors,
        }
    }

    /// Whether the activation at this path of a pickled module is a part of it.
    pub(super) fn has_activation(&self, path: &str) -> bool {
        let Some(rest) = path.strip_prefix(self.prefix()) else { return false };
        match self {
            Network::Encoder(_) => true,
            Network::Decoder(decoder) => {
                decoder.family.attends() && ["attention.relu", "sigmoid"].contains(&rest)
            }
        }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Network::Encoder(encoder) => encoder.fmt(f),
            Network::Decoder(decoder) => decoder.fmt(f),
        }
    }
}

fn unknown<T>(message: String) -> Result<T, CheckpointErrorKind> {
    Err(CheckpointErrorKind::Architecture(message))
}

/// The networks in a state dict, and what is wrong with parts of it that look like a network.
pub fn recognise(dict: &StateDict<'_>) -> (Vec<Network>, Vec<CheckpointErrorKind>) {
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    let encoders = encoder::find(dict).map(|result| result.map(Network::Encoder));
    let decoders = decoder::find(dict).map(|result| result.map(Network::Decoder));
    for result in encoders.chain(decoders) {
        match result {
            Ok(network) => found.push(network),
            Err(error) => errors.push(error),
        }
    }
    (found, errors)
}

/// The error for a state dict in which nothing looks like a network.
pub fn nothing_known(dict: &StateDict<'_>) -> CheckpointErrorKind {
    CheckpointErrorKind::Architecture(format!("expected {KNOWN}, found {}", names(dict)))
}

const KNOWN: &str = "a ResNet (`conv1.weight`, `layer1.0.conv1.weight` ..., or `resnet.0.weight`, `resnet.4.0.conv1.weight` ...), \
    a VGG (`features.0.weight` ...), a MobileNetV2 (`features.1.conv.0.0.weight` ...) or an EfficientNet-Lite (`_conv_stem.weight` ...), \
    a Show and Tell decoder (`embed.weight`, `lstm.weight_ih_l0`, `linear.weight` ...) \
    or a Show, Attend and Tell decoder (`attention.encoder_att.weight`, `decode_step.weight_ih` ...)";

/// At most `most` texts, and how many more there are.
pub(super) fn listed(texts: &[String], most: usize) -> String {
    let more = texts.len().saturating_sub(most);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", texts.iter().take(most).cloned().collect::<Vec<_>>().join(", "))
}

/// The first names of a state dict, for messages.
fn names(dict: &StateDict<'_>) -> String {
    let all: Vec<String> =
        dict.tensors().iter().map(|(name, t)| format!("`{name}` {:?}", t.shape())).collect();
    listed(&all, 8)
}

/// Collects the tensors of a network and reports the missing ones.
struct Collection<'a, 'b> {
    dict: &'a StateDict<'b>,
    found: Renaming,
    missing: Vec<String>,
}

impl<'a, 'b> Collection<'a, 'b> {
    fn new(dict: &'a StateDict<'b>) -> Self {
        Collection { dict, found: Vec::new(), missing: Vec::new() }
    }

    fn take(&mut self, to: &str, from: &str) {
        if self.dict.get(from).is_some() {
            self.found.push((to.to_owned(), Origin::Tensor(from.to_owned())));
        } else {
            self.missing.push(from.to_owned());
        }
    }

    /// Takes a tensor, or zeros if there is none.
    fn take_or_zeros(&mut self, to: &str, from: &str, shape: &[usize]) {
        let origin = match self.dict.get(from) {
            Some(_) => Origin::Tensor(from.to_owned()),
            None => Origin::Zeros(shape.to_vec()),
        };
        self.found.push((to.to_owned(), origin));
    }

    fn batch_norm(&mut self, to: &str, from: &str) {
        for part in ["weight", "bias", "running_mean", "running_var"] {
            self.take(&format!("{to}.{part}"), &format!("{from}.{part}"));
        }
    }

    fn linear(&mut self, to: &str, from: &str) {
        self.take(&format!("{to}.weight"), &format!("{from}.weight"));
        self.take(&format!("{to}.bias"), &format!("{from}.bias"));
    }

    fn finish(self, what: &str) -> Result<Renaming, CheckpointErrorKind> {
        let Some(first) = self.missing.first() else { return Ok(self.found) };
        if let Some((_, reason)) = self.dict.unsupported().iter().find(|(name, _)| name == first) {
            return Err(reason.clone());
        }
        let missing: Vec<String> = self.missing.iter().map(|name| format!("`{name}`")).collect();
        unknown(format!(
            "is nearest to {what}, but lacks {}; it has {}",
            listed(&missing, 6),
            names(self.dict)
        ))
    }
}

/// Checks a setting of a pickled module, if there is such a module with such a setting.
fn expect_setting(
    dict: &StateDict<'_>,
    path: &str,
    setting: &str,
    expected: f64,
) -> Result<(), CheckpointErrorKind> {
    let module = dict.modules().iter().find(|module| module.path == path);
    let found = module.and_then(|module| module.setting(setting)).unwrap_or_default();
    if found.iter().all(|&value| (value - expected).abs() <= 1e-6 * expected.abs()) {
        return Ok(());
    }
    unknown(format!("expected `{path}` with {setting} {expected}, found {found:?}: this is another network"))
}
