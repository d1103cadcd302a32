//! The description in a model file's metadata: the networks that the tensors belong to, the preprocessing of photos, and the
//! vocabulary.

use super::ModelErrorKind;
use super::architecture::{Architecture, InvertedResiduals, Resnet, Vgg};
use crate::engine::ops::TopK;
use crate::image::{Filter, ImageError, Resize, Rgb8, fit, fitted_area};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// The description of a model, as JSON under the metadata key `shadetell`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Manifest {
    /// 1. Larger numbers are refused.
    pub format_version: u32,
    /// A short name.
    pub name: String,
    /// The encoder of photos.
    pub encoder: EncoderManifest,
    /// The decoders; the first is the default. None in a file of an encoder alone.
    #[serde(default)]
    pub decoders: Vec<DecoderManifest>,
    /// How photos become the encoder's input.
    pub preprocess: Preprocessing,
    /// The words, in the order of their ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vocabulary: Vec<String>,
    /// Ids of the special words.
    #[serde(default)]
    pub special: Special,
    /// Ids that are never emitted; at most four.
    #[serde(default)]
    pub suppress: Vec<u32>,
    /// The licence of the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// Where the weights come from.
    #[serde(default)]
    pub sources: Vec<Source>,
}

/// An encoder of photos.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct EncoderManifest {
    /// Its architecture.
    pub family: EncoderFamily,
    /// The prefix of its tensors' names.
    pub prefix: String,
    /// Rows and columns that its result is pooled to, if it is pooled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grid: Option<[usize; 2]>,
    /// The names of its classifier's classes; if there are none, a classifier of 1,000 classes has those of ImageNet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
}

/// Architectures of encoders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum EncoderFamily {
    EfficientnetLite0,
    EfficientnetLite1,
    EfficientnetLite2,
    EfficientnetLite3,
    EfficientnetLite4,
    MobilenetV2,
    Resnet18,
    Resnet34,
    Resnet50,
    Resnet101,
    Resnet152,
    #[serde(rename = "resnext50-32x4d")]
    Resnext50Groups32Width4,
    #[serde(rename = "resnext101-32x8d")]
    Resnext101Groups32Width8,
    #[serde(rename = "resnext101-64x4d")]
    Resnext101Groups64Width4,
    Vgg16,
    Vgg16Bn,
    Vgg19,
    Vgg19Bn,
    #[serde(rename = "wide-resnet50-2")]
    WideResnet50,
    #[serde(rename = "wide-resnet101-2")]
    WideResnet101,
}

impl EncoderFamily {
    /// All architectures.
    pub const ALL: [EncoderFamily; 20] = [
        EncoderFamily::EfficientnetLite0,
        EncoderFamily::EfficientnetLite1,
        EncoderFamily::EfficientnetLite2,
        EncoderFamily::EfficientnetLite3,
        EncoderFamily::EfficientnetLite4,
        EncoderFamily::MobilenetV2,
        EncoderFamily::Resnet18,
        EncoderFamily::Resnet34,
        EncoderFamily::Resnet50,
        EncoderFamily::Resnet101,
        EncoderFamily::Resnet152,
        EncoderFamily::Resnext50Groups32Width4,
        EncoderFamily::Resnext101Groups32Width8,
        EncoderFamily::Resnext101Groups64Width4,
        EncoderFamily::Vgg16,
        EncoderFamily::Vgg16Bn,
        EncoderFamily::Vgg19,
        EncoderFamily::Vgg19Bn,
        EncoderFamily::WideResnet50,
        EncoderFamily::WideResnet101,
    ];

    /// The kind of network and its sizes.
    pub(crate) fn architecture(self) -> Architecture {
        let resnet = |blocks, is_bottleneck| {
            Architecture::Resnet(Resnet { blocks, is_bottleneck, groups: 1, widening: 1 })
        };
        let wide = |blocks, groups, widening| {
            Architecture::Resnet(Resnet { blocks, is_bottleneck: true, groups, widening })
        };
        let lite = |width, depth| {
            Architecture::InvertedResiduals(InvertedResiduals::efficientnet_lite(width, depth))
        };
        let vgg = |convolutions, has_norms| Architecture::Vgg(Vgg { convolutions, has_norms });
        match self {
            EncoderFamily::Resnet18 => resnet([2, 2, 2, 2], false),
            EncoderFamily::Resnet34 => resnet([3, 4, 6, 3], false),
            EncoderFamily::Resnet50 => resnet([3, 4, 6, 3], true),
            EncoderFamily::Resnet101 => resnet([3, 4, 23, 3], true),
            EncoderFamily::Resnet152 => resnet([3, 8, 36, 3], true),
            EncoderFamily::Resnext50Groups32Width4 => wide([3, 4, 6, 3], 32, 2),
            EncoderFamily::Resnext101Groups32Width8 => wide([3, 4, 23, 3], 32, 4),
            EncoderFamily::Resnext101Groups64Width4 => wide([3, 4, 23, 3], 64, 4),
            EncoderFamily::WideResnet50 => wide([3, 4, 6, 3], 1, 2),
            EncoderFamily::WideResnet101 => wide([3, 4, 23, 3], 1, 2),
            EncoderFamily::EfficientnetLite0 => lite(1.0, 1.0),
            EncoderFamily::EfficientnetLite1 => lite(1.0, 1.1),
            EncoderFamily::EfficientnetLite2 => lite(1.1, 1.2),
            EncoderFamily::EfficientnetLite3 => lite(1.2, 1.4),
            EncoderFamily::EfficientnetLite4 => lite(1.4, 1.8),
            EncoderFamily::MobilenetV2 => Architecture::InvertedResiduals(InvertedResiduals::mobilenet_v2()),
            EncoderFamily::Vgg16 => vgg([2, 2, 3, 3, 3], false),
            EncoderFamily::Vgg16Bn => vgg([2, 2, 3, 3, 3], true),
            EncoderFamily::Vgg19 => vgg([2, 2, 4, 4, 4], false),
            EncoderFamily::Vgg19Bn => vgg([2, 2, 4, 4, 4], true),
        }
    }

    /// The name, as in model files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            EncoderFamily::EfficientnetLite0 => "efficientnet-lite0",
            EncoderFamily::EfficientnetLite1 => "efficientnet-lite1",
            EncoderFamily::EfficientnetLite2 => "efficientnet-lite2",
            EncoderFamily::EfficientnetLite3 => "efficientnet-lite3",
            EncoderFamily::EfficientnetLite4 => "efficientnet-lite4",
            EncoderFamily::MobilenetV2 => "mobilenet-v2",
            EncoderFamily::Resnet18 => "resnet18",
            EncoderFamily::Resnet34 => "resnet34",
            EncoderFamily::Resnet50 => "resnet50",
            EncoderFamily::Resnet101 => "resnet101",
            EncoderFamily::Resnet152 => "resnet152",
            EncoderFamily::Resnext50Groups32Width4 => "resnext50-32x4d",
            EncoderFamily::Resnext101Groups32Width8 => "resnext101-32x8d",
            EncoderFamily::Resnext101Groups64Width4 => "resnext101-64x4d",
            EncoderFamily::Vgg16 => "vgg16",
            EncoderFamily::Vgg16Bn => "vgg16-bn",
            EncoderFamily::Vgg19 => "vgg19",
            EncoderFamily::Vgg19Bn => "vgg19-bn",
            EncoderFamily::WideResnet50 => "wide-resnet50-2",
            EncoderFamily::WideResnet101 => "wide-resnet101-2",
        }
    }
}

impl fmt::Display for EncoderFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A decoder.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct DecoderManifest {
    /// Its architecture.
    pub family: DecoderFamily,
    /// Its recurrent cell.
    #[serde(default, skip_serializing_if = "Cell::is_lstm")]
    pub cell: Cell,
    /// The prefix of its tensors' names.
    pub prefix: String,
    /// The default width of the beam.
    pub beam: usize,
    /// Exponent of the length by which a caption's log-probability is divided.
    pub length_penalty: f32,
    /// Most words in a caption, the end token included.
    pub max_length: usize,
    /// Whether the start token is the decoder's first input word. If not, the first word is computed from the photo alone, as in
    /// models that were trained to output the start token.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub forced_start: bool,
    /// The tags that a decoder with semantic attention reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Tags>,
    /// Rules for the words of a sentence; without them every word may follow every other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<Rules>,
    /// How probable it is that a sentence is not false, for a decoder whose sentences were judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Confidence>,
}

/// A logistic regression of judged sentences: the probability that the main subject of a sentence is right is
/// `sigmoid(offset + log_prob * l)` with `l` the log-probability of the sentence.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct Confidence {
    /// The constant term.
    pub offset: f32,
    /// The weight of the log-probability.
    pub log_prob: f32,
    /// The probability below which a sentence is not sure.
    pub threshold: f32,
}

impl Confidence {
    /// The confidence in a sentence of this log-probability.
    pub(crate) fn of(&self, log_prob: f32) -> f32 {
        1.0 / (1.0 + (-self.offset - self.log_prob * log_prob).exp())
    }
}

/// Tags: groups of classes of the encoder's classifier. The score of a tag is the sum of `max(p - tail, 0)` over its classes, with `p` the
/// classifier's probabilities of the whole photo, plus `window_share` times the largest such sum of a window of the photo.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Tags {
    /// How many tags the decoder reads: those with the highest scores.
    pub given: usize,
    /// What is taken from each probability, so that many improbable classes do not add up.
    pub tail: f32,
    /// The weight of the best window.
    pub window_share: f32,
    /// All tags.
    pub table: Vec<Tag>,
    /// Names of the attributes, properties of the whole photo that the decoder reads beside the tags.
    #[serde(default)]
    pub attributes: Vec<String>,
}

/// A tag.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Tag {
    /// Its name.
    pub name: String,
    /// The numbers of its classes.
    pub classes: Vec<usize>,
    /// Ids of the words that name it.
    #[serde(default)]
    pub words: Vec<u32>,
}

/// Rules for the words of a sentence, which keep the search from sentences that repeat themselves or break off.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Rules {
    /// Ids of the words that a sentence may have more than once, such as articles; all others come once.
    pub often: Vec<u32>,
    /// Ids of the words that no sentence ends on, such as articles and prepositions.
    pub unfinished: Vec<u32>,
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_yes(value: &bool) -> bool {
    *value
}

/// Recurrent cells, in PyTorch's form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cell {
    /// Hochreiter and Schmidhuber 1997, with a forget gate.
    #[default]
    Lstm,
    /// Cho et al., arXiv 1406.1078, with the reset gate after the product with the state.
    Gru,
}

impl Cell {
    /// Rows of its weights for each unit.
    pub(crate) fn gates(self) -> usize {
        match self {
            Cell::Lstm => 4,
            Cell::Gru => 3,
        }
    }

    /// Tensors of its state.
    pub(crate) fn states(self) -> usize {
        match self {
            Cell::Lstm => 2,
            Cell::Gru => 1,
        }
    }

    /// The name, as in model files and in the names of tensors.
    pub fn name(self) -> &'static str {
        match self {
            Cell::Lstm => "lstm",
            Cell::Gru => "gru",
        }
    }

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_lstm(&self) -> bool {
        *self == Cell::Lstm
    }
}

/// Architectures of decoders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecoderFamily {
    /// Vinyals et al., "Show and Tell", arXiv 1411.4555: the pooled image starts an LSTM.
    ShowTell,
    /// Xu et al., "Show, Attend and Tell", arXiv 1502.03044: an LSTM with attention over a grid at each word.
    ShowAttendTell,
    /// An LSTM with attention over a grid and over what a classifier sees, after You et al., "Image Captioning with Semantic Attention",
    /// arXiv 1603.03925.
    SemanticAttention,
}

impl DecoderFamily {
    /// All architectures.
    pub const ALL: [DecoderFamily; 3] =
        [DecoderFamily::ShowTell, DecoderFamily::ShowAttendTell, DecoderFamily::SemanticAttention];

    /// The prefix of its tensors' names in files that this program writes.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            DecoderFamily::ShowTell => "show_tell.",
            DecoderFamily::ShowAttendTell => "show_attend_tell.",
            DecoderFamily::SemanticAttention => "semantic_attention.",
        }
    }

    /// Whether it has attention over a grid of the photo.
    pub fn attends(self) -> bool {
        match self {
            DecoderFamily::ShowTell => false,
            DecoderFamily::ShowAttendTell | DecoderFamily::SemanticAttention => true,
        }
    }

    /// The name, as in model files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            DecoderFamily::ShowTell => "show-tell",
            DecoderFamily::ShowAttendTell => "show-attend-tell",
            DecoderFamily::SemanticAttention => "semantic-attention",
        }
    }
}

impl fmt::Display for DecoderFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How a photo becomes the encoder's input.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct Preprocessing {
    /// Input width in pixels.
    pub width: u32,
    /// Input height in pixels.
    pub height: u32,
    /// How photos of another aspect ratio are resized.
    pub resize: Resize,
    /// The resampling filter.
    pub filter: Filter,
    /// Mean of each channel, for values from 0 to 1.
    pub mean: [f32; 3],
    /// Standard deviation of each channel.
    pub std: [f32; 3],
}

impl Preprocessing {
    /// Resizes a photo to the input.
    ///
    /// # Errors
    /// The result does not fit into memory.
    pub fn fit(&self, photo: &Rgb8) -> Result<Rgb8, ImageError> {
        fit(photo, [self.width, self.height], self.resize, self.filter)
    }

    /// Bytes of the input for one photo.
    pub(crate) fn bytes(&self) -> usize {
        3 * self.width as usize * self.height as usize
    }

    /// The pixels `[N, H, W, 3]` of photos at the input's size.
    ///
    /// # Errors
    /// A photo has another size.
    pub(crate) fn pixels(&self, photos: &[&Rgb8]) -> Result<Vec<u8>, ImageError> {
        let mut pixels = Vec::with_capacity(photos.len() * self.bytes());
        for photo in photos {
            let [width, height] = [photo.width(), photo.height()];
            if [width, height] != [self.width, self.height] {
                return Err(ImageError::InvalidSize { width, height, bytes: None });
            }
            pixels.extend_from_slice(photo.data());
        }
        Ok(pixels)
    }

    /// The part of a photo that becomes the input, and that attention maps cover: all of it, or the middle.
    ///
    /// # Errors
    /// The part does not fit into memory.
    pub fn seen<'p>(&self, photo: &'p Rgb8) -> Result<Cow<'p, Rgb8>, ImageError> {
        match self.resize {
            Resize::Squash => Ok(Cow::Borrowed(photo)),
            Resize::ShorterSide(_) => self.fit(photo).map(Cow::Owned),
        }
    }

    /// The same part of a photo of this width and height, as left, top, width and height in its pixels.
    pub fn seen_area(&self, size: [u32; 2]) -> [f64; 4] {
        fitted_area(size, [self.width, self.height], self.resize)
    }
}

/// Ids of the special words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Special {
    /// Fills up shorter captions in training.
    pub pad: u32,
    /// Comes before the first word.
    pub start: u32,
    /// Comes after the last word.
    pub end: u32,
    /// Stands for rare words.
    pub unk: u32,
}

/// The origin of weights.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Source {
    /// The file's name.
    pub name: String,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

impl Tags {
    fn is_usable(&self) -> bool {
        (1..=TopK::MAX.min(self.table.len())).contains(&self.given)
            && self.tail.is_finite()
            && self.window_share.is_finite()
            && self.table.iter().all(|tag| !tag.classes.is_empty())
    }
}

impl Manifest {
    /// Reads and checks a description.
    pub(super) fn parse(json: &str) -> Result<Manifest, ModelErrorKind> {
        let manifest: Manifest =
            serde_json::from_str(json).map_err(|e| ModelErrorKind::Inconsistent(e.to_string()))?;
        let words = manifest.vocabulary.len();
        let special = manifest.special;
        let wrong = |message: String| Err(ModelErrorKind::Inconsistent(message));
        if manifest.format_version != 1 {
            return wrong(format!(
                "expected format version 1, found {}; update shadetell",
                manifest.format_version
            ));
        }
        // An encoder alone has no words.
        let has_words = !(manifest.decoders.is_empty() && manifest.vocabulary.is_empty());
        if has_words && manifest.decoders.is_empty() {
            return wrong("expected a decoder for the words, found none".to_owned());
        }
        for id in [special.pad, special.start, special.end, special.unk].iter().chain(&manifest.suppress) {
            if has_words && *id as usize >= words {
                return wrong(format!("expected ids below the vocabulary's {words} words, found {id}"));
            }
        }
        if manifest.suppress.len() > 4 || manifest.suppress.contains(&special.end) {
            return wrong("expected at most four suppressed ids without the end token".to_owned());
        }
        for decoder in &manifest.decoders {
            if !decoder.forced_start && decoder.family != DecoderFamily::ShowTell {
                return wrong(format!("{}: expected a start token that is given", decoder.family));
            }
            if decoder.beam == 0 || decoder.max_length == 0 || !decoder.length_penalty.is_finite() {
                return wrong(format!("{}: expected a beam and a length of at least 1", decoder.family));
            }
            if decoder.tags.is_some() != (decoder.family == DecoderFamily::SemanticAttention) {
                return wrong(format!("{}: expected tags for semantic attention only", decoder.family));
            }
            if let Some(Confidence { offset, log_prob, threshold }) = decoder.confidence
                && ![offset, log_prob, threshold].iter().all(|x| x.is_finite())
            {
                return wrong(format!("{}: expected finite weights of confidence", decoder.family));
            }
            let tags = decoder.tags.iter().flat_map(|tags| &tags.table).flat_map(|tag| &tag.words);
            let rules = decoder.rules.iter().flat_map(|rules| rules.often.iter().chain(&rules.unfinished));
            if let Some(id) = tags.chain(rules).find(|&&id| id as usize >= words) {
                return wrong(format!("expected ids below the vocabulary's {words} words, found {id}"));
            }
            if decoder.family == DecoderFamily::SemanticAttention && decoder.cell != Cell::Lstm {
                return wrong(format!("{}: expected an LSTM, found {}", decoder.family, decoder.cell.name()));
            }
            if decoder.tags.as_ref().is_some_and(|tags| !tags.is_usable()) {
                return wrong(format!(
                    "{}: expected tags with classes, finite weights, and 1 to {} of them to read",
                    decoder.family,
                    TopK::MAX
                ));
            }
        }
        let p = &manifest.preprocess;
        if p.width == 0 || p.height == 0 || p.width > 4096 || p.height > 4096 {
            return wrong(format!(
                "expected an input of 1 to 4096 pixels a side, found {}x{}",
                p.width, p.height
            ));
        }
        if let Resize::ShorterSide(side) = p.resize
            && (side < p.width.max(p.height) || side > 4096)
        {
            return wrong(format!(
                "expected a shorter side of at least the input's {}x{} pixels, found {side}",
                p.width, p.height
            ));
        }
        if manifest.encoder.grid.is_some_and(|grid| grid.contains(&0) || grid.iter().any(|&n| n > 64)) {
            return wrong(format!(
                "expected a grid of 1 to 64 cells a side, found {:?}",
                manifest.encoder.grid
            ));
        }
        if p.std.iter().any(|s| !(s.is_finite() && *s > 0.0)) || p.mean.iter().any(|m| !m.is_finite()) {
            return wrong(format!(
                "expected finite means and positive deviations, found {:?} and {:?}",
                p.mean, p.std
            ));
        }
        Ok(manifest)
    }
}
