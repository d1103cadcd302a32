//! Recognises the network of a state dict, and maps the names of its tensors to the names used in model files.
//!
//! Trunks are renamed to torchvision's names (`conv1`, `layer1.0.bn1`), decoders to those of the two tutorials that
//! most checkpoints come from. All sizes are read from the shapes of the tensors; the user need not give them.

use super::{CheckpointErrorKind, StateDict, Tensor};
use crate::weights::{Architecture, DecoderFamily, EncoderFamily, ResnetBlocks};
use std::collections::BTreeMap;

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

/// A ResNet in a state dict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoder {
    /// Its depth.
    pub family: EncoderFamily,
    /// Channels of its last stage.
    pub channels: usize,
    /// Whether the names are those of the captioning app that this project replaces (`model.N`).
    pub is_from_app: bool,
    /// The trunk.
    pub trunk: Renaming,
    /// The projection of the pooled vector to the decoder's width, with its batch norm. Model files store it with Show and Tell.
    pub projection: Renaming,
}

/// A decoder in a state dict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoder {
    /// Its architecture.
    pub family: DecoderFamily,
    /// Rows of its embedding.
    pub words: usize,
    /// Rows of its last layer.
    pub outputs: usize,
    /// Width of its embedding.
    pub embedding: usize,
    /// Units of each LSTM layer.
    pub hidden: usize,
    /// LSTM layers.
    pub layers: usize,
    /// Units of the attention layer; 0 without attention.
    pub attention: usize,
    /// Channels of the grid that attention reads; 0 without attention.
    pub channels: usize,
    /// Its tensors.
    pub tensors: Renaming,
}

/// The network of a state dict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// A ResNet.
    Encoder(Encoder),
    /// A decoder.
    Decoder(Decoder),
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Network::Encoder(e) => {
                let projected = if e.projection.is_empty() { "" } else { " with a projection" };
                write!(f, "{}{projected}", e.family)
            }
            Network::Decoder(d) => {
                write!(
                    f,
                    "{} decoder: {} words, embedding {}, hidden {}",
                    d.family, d.words, d.embedding, d.hidden
                )?;
                if d.family.attends() {
                    write!(f, ", attention {} over {} channels", d.attention, d.channels)
                } else {
                    write!(f, ", {} LSTM layers", d.layers)
                }
            }
        }
    }
}

/// The names of a ResNet's parts in `nn.Sequential(*resnet.children())`.
const SEQUENTIAL: [(&str, &str); 6] =
    [("0", "conv1"), ("1", "bn1"), ("4", "layer1"), ("5", "layer2"), ("6", "layer3"), ("7", "layer4")];

const BATCH_NORM: [&str; 4] = ["weight", "bias", "running_mean", "running_var"];

fn unknown<T>(message: String) -> Result<T, CheckpointErrorKind> {
    Err(CheckpointErrorKind::Architecture(message))
}

/// Recognises the network of a state dict.
///
/// # Errors
/// The network is unknown, or tensors are missing; the message lists the tensors found and those that the most similar known
/// network has.
pub fn recognise(dict: &StateDict<'_>) -> Result<Network, CheckpointErrorKind> {
    if let Some(trunk) = Trunk::find(dict) {
        return encoder(dict, &trunk).map(Network::Encoder);
    }
    if dict.get("attention.encoder_att.weight").is_some() {
        return show_attend_tell(dict).map(Network::Decoder);
    }
    if dict.tensors().iter().any(|(name, _)| name.starts_with("lstm.weight_ih_l")) {
        return show_tell(dict).map(Network::Decoder);
    }
    unknown(format!("expected {KNOWN}, found {}", names(dict)))
}

const KNOWN: &str = "a ResNet (`conv1.weight`, `layer1.0.conv1.weight` ..., or `resnet.0.weight`, `resnet.4.0.conv1.weight` ...), \
    a Show and Tell decoder (`embed.weight`, `lstm.weight_ih_l0`, `linear.weight` ...) \
    or a Show, Attend and Tell decoder (`attention.encoder_att.weight`, `decode_step.weight_ih` ...)";

/// The first names of a state dict, for messages.
fn names(dict: &StateDict<'_>) -> String {
    let shown: Vec<String> =
        dict.tensors().iter().take(8).map(|(name, t)| format!("`{name}` {:?}", t.shape())).collect();
    let more = dict.tensors().len().saturating_sub(shown.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

/// The names of a ResNet's trunk in a state dict.
struct Trunk {
    prefix: String,
    is_sequential: bool,
}

impl Trunk {
    fn find(dict: &StateDict<'_>) -> Option<Trunk> {
        let prefix = |ending: &str| {
            dict.tensors().iter().find_map(|(name, _)| name.strip_suffix(ending).map(str::to_owned))
        };
        if let Some(prefix) = prefix("layer1.0.conv1.weight") {
            return Some(Trunk { prefix, is_sequential: false });
        }
        let prefix = prefix("4.0.conv1.weight")?;
        dict.get(&format!("{prefix}0.weight")).map(|_| Trunk { prefix, is_sequential: true })
    }

    /// The name in this state dict of a tensor with this torchvision name.
    fn name(&self, canonical: &str) -> String {
        let (part, rest) = canonical.split_once('.').unwrap_or((canonical, ""));
        let number = SEQUENTIAL.iter().find(|(_, name)| *name == part).map(|(number, _)| *number);
        let part = if self.is_sequential { number.unwrap_or(part) } else { part };
        format!("{}{part}.{rest}", self.prefix)
    }
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

    fn batch_norm(&mut self, to: &str, from: &str) {
        for part in BATCH_NORM {
            self.take(&format!("{to}.{part}"), &format!("{from}.{part}"));
        }
    }

    fn linear(&mut self, to: &str, from: &str) {
        self.take(&format!("{to}.weight"), &format!("{from}.weight"));
        self.take(&format!("{to}.bias"), &format!("{from}.bias"));
    }

    fn finish(self, what: &str) -> Result<Renaming, CheckpointErrorKind> {
        if self.missing.is_empty() {
            return Ok(self.found);
        }
        let shown: Vec<&str> = self.missing.iter().take(6).map(String::as_str).collect();
        let more = self.missing.len() - shown.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        unknown(format!(
            "is nearest to {what}, but lacks `{}`{more}; it has {}",
            shown.join("`, `"),
            names(self.dict)
        ))
    }
}

fn encoder(dict: &StateDict<'_>, trunk: &Trunk) -> Result<Encoder, CheckpointErrorKind> {
    let has = |name: &str| dict.get(&trunk.name(name)).is_some();
    let blocks = [1, 2, 3, 4]
        .map(|stage| (0..).take_while(|b| has(&format!("layer{stage}.{b}.conv1.weight"))).count());
    let is_bottleneck = has("layer1.0.conv3.weight");
    let found = Architecture::Resnet(ResnetBlocks { blocks, is_bottleneck });
    let is_it = |family: &EncoderFamily| family.architecture() == found;
    let Some(family) = EncoderFamily::ALL.into_iter().find(is_it) else {
        return unknown(format!(
            "expected a ResNet of depth 18, 34, 50, 101 or 152, found one with {blocks:?} {} blocks",
            if is_bottleneck { "bottleneck" } else { "basic" }
        ));
    };
    let what = format!("a {family}");
    let convolutions = if is_bottleneck { 3 } else { 2 };
    let mut tensors = Collection::new(dict);
    tensors.take("conv1.weight", &trunk.name("conv1.weight"));
    tensors.batch_norm("bn1", trunk.name("bn1").trim_end_matches('.'));
    for (stage, count) in (1..).zip(blocks) {
        for block in 0..count {
            let scope = format!("layer{stage}.{block}");
            for number in 1..=convolutions {
                let conv = format!("{scope}.conv{number}.weight");
                tensors.take(&conv, &trunk.name(&conv));
                let norm = format!("{scope}.bn{number}");
                tensors.batch_norm(&norm, &trunk.name(&norm));
            }
            let shortcut = format!("{scope}.downsample.0.weight");
            if has(&shortcut) {
                tensors.take(&shortcut, &trunk.name(&shortcut));
                let norm = format!("{scope}.downsample.1");
                tensors.batch_norm(&norm, &trunk.name(&norm));
            }
        }
    }
    let trunk_tensors = tensors.finish(&what)?;
    // `fc` beside a trunk without a prefix is torchvision's classifier, otherwise it is a caption model's projection.
    let projection = ["linear", "fc"].into_iter().find(|name| {
        let is_classifier = *name == "fc" && trunk.prefix.is_empty() && !trunk.is_sequential;
        !is_classifier && dict.get(&format!("{name}.weight")).is_some()
    });
    let mut tensors = Collection::new(dict);
    if let Some(name) = projection {
        tensors.linear("project", name);
        if dict.get("bn.weight").is_some() {
            tensors.batch_norm("project_norm", "bn");
        }
    }
    let last = format!("layer4.0.conv{convolutions}.weight");
    let channels = dict.sizes::<4>(&trunk.name(&last)).map_or(0, |[outputs, ..]| outputs);
    let is_from_app = trunk.is_sequential && trunk.prefix == "model.";
    Ok(Encoder { family, channels, is_from_app, trunk: trunk_tensors, projection: tensors.finish(&what)? })
}

/// Biases of an LSTM, or zeros if it has none.
fn biases(tensors: &mut Collection<'_, '_>, names: [(String, String); 2], hidden: usize) {
    let has = |name: &str| tensors.dict.get(name).is_some();
    let none = names.iter().all(|(_, from)| !has(from));
    for (to, from) in names {
        if none {
            tensors.found.push((to, Origin::Zeros(vec![4 * hidden])));
        } else {
            tensors.take(&to, &from);
        }
    }
}

fn shapes_disagree<T>(what: &str, dict: &StateDict<'_>) -> Result<T, CheckpointErrorKind> {
    unknown(format!("is nearest to {what}, but its shapes do not fit each other: {}", names(dict)))
}

fn show_tell(dict: &StateDict<'_>) -> Result<Decoder, CheckpointErrorKind> {
    let what = "a Show and Tell decoder";
    let first = |names: [&'static str; 3]| {
        names.into_iter().find(|n| dict.get(&format!("{n}.weight")).is_some()).unwrap_or(names[0])
    };
    let (embed, output) = (first(["embed", "embeds", "embedding"]), first(["linear", "fc", "out"]));
    let layers = (0..).take_while(|l| dict.get(&format!("lstm.weight_ih_l{l}")).is_some()).count();
    let mut tensors = Collection::new(dict);
    tensors.take("embed.weight", &format!("{embed}.weight"));
    tensors.linear("linear", output);
    for layer in 0..layers.max(1) {
        for part in ["weight_ih", "weight_hh"] {
            let name = format!("lstm.{part}_l{layer}");
            tensors.take(&name, &name);
        }
        let hidden = dict.sizes::<2>("lstm.weight_hh_l0").map_or(0, |[_, hidden]| hidden);
        let names = ["bias_ih", "bias_hh"].map(|part| format!("lstm.{part}_l{layer}"));
        biases(&mut tensors, names.map(|name| (name.clone(), name)), hidden);
    }
    let tensors = tensors.finish(what)?;
    let sizes = |name: &str| dict.sizes::<2>(name);
    let found =
        (sizes(&format!("{embed}.weight")), sizes("lstm.weight_hh_l0"), sizes(&format!("{output}.weight")));
    match found {
        (Some([words, embedding]), Some([gates, hidden]), Some([outputs, width]))
            if gates == 4 * hidden
                && width == hidden
                && sizes("lstm.weight_ih_l0") == Some([gates, embedding]) =>
        {
            let family = DecoderFamily::ShowTell;
            Ok(Decoder {
                family,
                words,
                outputs,
                embedding,
                hidden,
                layers,
                attention: 0,
                channels: 0,
                tensors,
            })
        }
        _ => shapes_disagree(what, dict),
    }
}

fn show_attend_tell(dict: &StateDict<'_>) -> Result<Decoder, CheckpointErrorKind> {
    let what = "a Show, Attend and Tell decoder";
    let mut tensors = Collection::new(dict);
    tensors.take("embedding.weight", "embedding.weight");
    for name in [
        "attention.encoder_att",
        "attention.decoder_att",
        "attention.full_att",
        "init_h",
        "init_c",
        "f_beta",
        "fc",
    ] {
        tensors.linear(name, name);
    }
    for name in ["decode_step.weight_ih", "decode_step.weight_hh"] {
        tensors.take(name, name);
    }
    let hidden = dict.sizes::<2>("decode_step.weight_hh").map_or(0, |[_, hidden]| hidden);
    let names = ["decode_step.bias_ih", "decode_step.bias_hh"].map(str::to_owned);
    biases(&mut tensors, names.map(|name| (name.clone(), name)), hidden);
    let tensors = tensors.finish(what)?;
    let sizes = |name: &str| dict.sizes::<2>(name);
    let found = (
        sizes("embedding.weight"),
        sizes("decode_step.weight_ih"),
        sizes("attention.encoder_att.weight"),
        sizes("fc.weight"),
    );
    match found {
        (
            Some([words, embedding]),
            Some([gates, inputs]),
            Some([attention, channels]),
            Some([outputs, width]),
        ) if gates == 4 * hidden && inputs == embedding + channels && width == hidden => {
            let family = DecoderFamily::ShowAttendTell;
            Ok(Decoder { family, words, outputs, embedding, hidden, layers: 1, attention, channels, tensors })
        }
        _ => shapes_disagree(what, dict),
    }
}

/// Splits a state dict that holds a whole model, by the first part of its names, such as `encoder` and `decoder`.
pub fn split<'a>(dict: &StateDict<'a>) -> Vec<StateDict<'a>> {
    let mut parts: BTreeMap<&str, Vec<(String, Tensor<'a>)>> = BTreeMap::new();
    for (name, tensor) in dict.tensors() {
        if let Some((part, rest)) = name.split_once('.') {
            parts.entry(part).or_default().push((rest.to_owned(), tensor.clone()));
        }
    }
    parts.into_iter().map(|(part, tensors)| StateDict::new(part.to_owned(), None, tensors)).collect()
}
