//! Models with deterministic random weights, for benchmarks and tests without a download.
//!
//! Every value depends only on the seed, its tensor's name and its index (splitmix64, Steele et al. 2014), so that
//! `tools/synth.py` computes the same values. Convolutions keep the second moment (He et al., arXiv 1502.01852) and the last
//! batch norm of each residual branch is small, so that activations stay of order one at any depth.

use super::file::Values;
use super::{
    Architecture, Cell, DecoderFamily, DecoderManifest, EncoderFamily, EncoderManifest, InvertedResidual,
    InvertedResiduals, Manifest, ModelFile, Preset, Resnet, Rules, Special, Tag, Tags, Vgg, VggLayer,
};
use crate::engine::random::{RANDOM_STEP, random_value};

/// The model to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynthOptions {
    /// The encoder.
    pub encoder: EncoderFamily,
    /// The decoder.
    pub decoder: DecoderFamily,
    /// Words of the vocabulary, including the four special words.
    pub words: usize,
    /// LSTM layers of Show and Tell.
    pub layers: usize,
    /// The seed of the random values.
    pub seed: u64,
    /// Whether weights are written as f16.
    pub half: bool,
}

impl SynthOptions {
    /// A model as large as models trained on COCO, seed 7, f32.
    pub fn new(encoder: EncoderFamily, decoder: DecoderFamily) -> SynthOptions {
        let words = match decoder {
            DecoderFamily::ShowTell => 9956,
            DecoderFamily::ShowAttendTell => 9490,
            DecoderFamily::SemanticAttention => 4330,
        };
        SynthOptions { encoder, decoder, words, layers: 1, seed: 7, half: false }
    }
}

/// A range of values, from `middle - reach` to `middle + reach`.
#[derive(Clone, Copy)]
struct Spread {
    middle: f32,
    reach: f32,
}

const fn around(middle: f32, reach: f32) -> Spread {
    Spread { middle, reach }
}

/// The values of a tensor.
fn values(name: &str, seed: u64, count: usize, spread: Spread) -> Values<'static> {
    // FNV-1a.
    let hash = name
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    let start = hash.wrapping_add(seed.wrapping_mul(RANDOM_STEP));
    let value = move |index: usize| random_value(start, index) * spread.reach + spread.middle;
    Box::new(move |sink| {
        const PIECE: usize = 1 << 16;
        for first in (0..count).step_by(PIECE) {
            let piece: Vec<f32> = (first..count.min(first + PIECE)).map(value).collect();
            sink(&piece);
        }
    })
}

/// Makes a model, whose values are computed when it is written.
pub fn synth(options: &SynthOptions) -> ModelFile<'static> {
    let SynthOptions { encoder, decoder, words, seed, half, .. } = *options;
    let prefix = decoder.prefix();
    let attends = decoder.attends();
    let (preset, grid) = match decoder {
        DecoderFamily::ShowTell => (Preset::SquashLanczos224, None),
        DecoderFamily::ShowAttendTell => (Preset::SquashBilinear256, Some([14, 14])),
        DecoderFamily::SemanticAttention => (Preset::SquashBilinear256, Some([6, 6])),
    };
    let is_classified = decoder == DecoderFamily::SemanticAttention;
    let special = ["<pad>", "<start>", "<end>", "<unk>"].map(str::to_owned);
    let manifest = Manifest {
        format_version: 1,
        name: format!("synthetic-{encoder}-{decoder}-{seed}"),
        encoder: EncoderManifest {
            family: encoder,
            prefix: "encoder.".to_owned(),
            grid,
            classes: Vec::new(),
        },
        decoders: vec![DecoderManifest {
            family: decoder,
            cell: Cell::Lstm,
            prefix: prefix.to_owned(),
            beam: 1,
            length_penalty: 0.0,
            max_length: 20,
            forced_start: attends,
            tags: is_classified.then(tags),
            rules: is_classified.then(|| rules(words)),
            confidence: None,
        }],
        preprocess: preset.preprocessing(),
        vocabulary: special.into_iter().chain((4..words).map(|id| format!("word{id}"))).collect(),
        special: Special { pad: 0, start: 1, end: 2, unk: 3 },
        suppress: Vec::new(),
        licence: None,
        sources: Vec::new(),
    };
    let mut file = ModelFile::new(manifest, half);
    let mut push = |name: String, shape: &[usize], spread: Spread| {
        let values = values(&name, seed, shape.iter().product(), spread);
        file.push(name, shape.to_vec(), values);
    };
    let channels = match encoder.architecture() {
        Architecture::Resnet(network) => resnet(network, &mut push),
        Architecture::InvertedResiduals(network) => inverted_residuals(network, &mut push),
        Architecture::Vgg(network) => vgg(network, &mut push),
    };
    if let Some(classifier) = encoder.architecture().classifier().filter(|_| is_classified) {
        let mut push = |name: &str, shape: &[usize], spread| push(format!("encoder.{name}"), shape, spread);
        linear(&mut push, classifier, [CLASSES, channels], 4.0);
    }
    let mut push = |name: &str, shape: &[usize], spread| push(format!("{prefix}{name}"), shape, spread);
    match decoder {
        DecoderFamily::ShowTell => show_tell(words, options.layers, channels, &mut push),
        DecoderFamily::ShowAttendTell => show_attend_tell(words, channels, &mut push),
        DecoderFamily::SemanticAttention => semantic_attention(words, channels, &mut push),
    }
    file
}

/// A convolution `[outputs, inputs, side, side]` and its batch norm, with results of order `gain`.
fn convolution(
    push: &mut impl FnMut(String, &[usize], Spread),
    [conv, norm]: [String; 2],
    [outputs, inputs, side]: [usize; 3],
    gain: f32,
) {
    let reach = (6.0 / (inputs * side * side) as f32).sqrt();
    push(format!("encoder.{conv}.weight"), &[outputs, inputs, side, side], around(0.0, reach));
    push(format!("encoder.{norm}.weight"), &[outputs], around(gain, 0.2 * gain));
    push(format!("encoder.{norm}.bias"), &[outputs], around(0.0, 0.1));
    push(format!("encoder.{norm}.running_mean"), &[outputs], around(0.0, 0.1));
    push(format!("encoder.{norm}.running_var"), &[outputs], around(1.0, 0.3));
}

/// The tensors of inverted residual blocks; returns the channels of their result.
fn inverted_residuals(network: InvertedResiduals, push: &mut impl FnMut(String, &[usize], Spread)) -> usize {
    let mut layer = |scope: &str, [conv, norm]: [&str; 2], sizes, gain| {
        convolution(push, [format!("{scope}{conv}"), format!("{scope}{norm}")], sizes, gain);
    };
    layer("", ["_conv_stem", "_bn0"], [InvertedResiduals::STEM, 3, 3], 1.0);
    let mut channels = InvertedResiduals::STEM;
    for (number, block) in network.blocks().into_iter().enumerate() {
        let InvertedResidual { inputs, expansion, kernel, stride, outputs, .. } = block;
        let scope = format!("_blocks.{number}.");
        let middle = inputs * expansion;
        if expansion > 1 {
            layer(&scope, ["_expand_conv", "_bn0"], [middle, inputs, 1], 1.0);
        }
        layer(&scope, ["_depthwise_conv", "_bn1"], [middle, 1, kernel], 1.0);
        let is_residual = stride == 1 && inputs == outputs;
        layer(&scope, ["_project_conv", "_bn2"], [outputs, middle, 1], if is_residual { 0.1 } else { 1.0 });
        channels = outputs;
    }
    layer("", ["_conv_head", "_bn1"], [InvertedResiduals::HEAD, channels, 1], 1.0);
    InvertedResiduals::HEAD
}

/// The tensors of a ResNet; returns the channels of its result.
fn resnet(
    Resnet { blocks, is_bottleneck, groups, widening }: Resnet,
    push: &mut impl FnMut(String, &[usize], Spread),
) -> usize {
    let mut layer = |conv: String, norm: String, sizes, gain| convolution(push, [conv, norm], sizes, gain);
    layer("conv1".to_owned(), "bn1".to_owned(), [64, 3, 7], 1.0);
    let mut inputs = 64;
    for (stage, count) in (1..).zip(blocks) {
        let width = 32 << stage;
        let outputs = if is_bottleneck { 4 * width } else { width };
        for block in 0..count {
            let scope = format!("layer{stage}.{block}");
            let convolutions = if is_bottleneck {
                let wide = width * widening;
                vec![[wide, inputs, 1], [wide, wide / groups, 3], [outputs, wide, 1]]
            } else {
                vec![[width, inputs, 3], [width, width, 3]]
            };
            let last = convolutions.len();
            for (number, sizes) in (1..).zip(convolutions) {
                let gain = if number == last { 0.1 } else { 1.0 };
                layer(format!("{scope}.conv{number}"), format!("{scope}.bn{number}"), sizes, gain);
            }
            if inputs != outputs {
                let sizes = [outputs, inputs, 1];
                layer(format!("{scope}.downsample.0"), format!("{scope}.downsample.1"), sizes, 1.0);
            }
            inputs = outputs;
        }
    }
    inputs
}

/// The tensors of a VGG; returns the channels of its result.
fn vgg(network: Vgg, push: &mut impl FnMut(String, &[usize], Spread)) -> usize {
    let mut channels = 3;
    for VggLayer { number, channels: [inputs, outputs], .. } in network.layers() {
        let (conv, norm) = (format!("features.{number}"), format!("features.{}", number + 1));
        if network.has_norms {
            convolution(push, [conv.clone(), norm], [outputs, inputs, 3], 1.0);
        } else {
            let reach = (6.0 / (inputs * 9) as f32).sqrt();
            push(format!("encoder.{conv}.weight"), &[outputs, inputs, 3, 3], around(0.0, reach));
        }
        push(format!("encoder.{conv}.bias"), &[outputs], around(0.0, 0.1));
        channels = outputs;
    }
    channels
}

/// A linear layer with results of order `gain` for inputs of order one.
fn linear(
    push: &mut impl FnMut(&str, &[usize], Spread),
    name: &str,
    [outputs, inputs]: [usize; 2],
    gain: f32,
) {
    let reach = gain * (3.0 / inputs as f32).sqrt();
    push(&format!("{name}.weight"), &[outputs, inputs], around(0.0, reach));
    push(&format!("{name}.bias"), &[outputs], around(0.0, 0.1));
}

fn show_tell(words: usize, layers: usize, channels: usize, push: &mut impl FnMut(&str, &[usize], Spread)) {
    const EMBEDDING: usize = 256;
    const HIDDEN: usize = 512;
    linear(push, "project", [EMBEDDING, channels], 1.0);
    for (part, middle) in [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)] {
        push(&format!("project_norm.{part}"), &[EMBEDDING], around(middle, 0.1));
    }
    push("embed.weight", &[words, EMBEDDING], around(0.0, 1.0));
    for layer in 0..layers {
        let inputs = if layer == 0 { EMBEDDING } else { HIDDEN };
        for (part, inputs) in [("ih", inputs), ("hh", HIDDEN)] {
            let reach = 2.0 * (3.0 / inputs as f32).sqrt();
            push(&format!("lstm.weight_{part}_l{layer}"), &[4 * HIDDEN, inputs], around(0.0, reach));
            push(&format!("lstm.bias_{part}_l{layer}"), &[4 * HIDDEN], around(0.0, 0.1));
        }
    }
    linear(push, "linear", [words, HIDDEN], 4.0);
}

fn show_attend_tell(words: usize, channels: usize, push: &mut impl FnMut(&str, &[usize], Spread)) {
    const SIDE: usize = 512;
    linear(push, "attention.encoder_att", [SIDE, channels], 1.0);
    linear(push, "attention.decoder_att", [SIDE, SIDE], 1.0);
    linear(push, "attention.full_att", [1, SIDE], 4.0);
    push("embedding.weight", &[words, SIDE], around(0.0, 1.0));
    for (part, inputs) in [("ih", SIDE + channels), ("hh", SIDE)] {
        let reach = 2.0 * (3.0 / inputs as f32).sqrt();
        push(&format!("decode_step.weight_{part}"), &[4 * SIDE, inputs], around(0.0, reach));
        push(&format!("decode_step.bias_{part}"), &[4 * SIDE], around(0.0, 0.1));
    }
    linear(push, "init_h", [SIDE, channels], 1.0);
    linear(push, "init_c", [SIDE, channels], 1.0);
    linear(push, "f_beta", [channels, SIDE], 1.0);
    linear(push, "fc", [words, SIDE], 4.0);
}

/// Classes of the classifier, as in ImageNet.
const CLASSES: usize = 1000;
const TAGS: usize = 200;
const ATTRIBUTES: usize = 60;

/// Each tag has five classes.
fn tags() -> Tags {
    let classes = |tag: usize| (0..CLASSES / TAGS).map(|class| class * TAGS + tag).collect();
    let tag = |tag: usize| Tag { name: format!("tag{tag}"), classes: classes(tag), words: Vec::new() };
    Tags {
        given: 6,
        tail: 0.002,
        window_share: 0.5,
        table: (0..TAGS).map(tag).collect(),
        attributes: (0..ATTRIBUTES).map(|attribute| format!("attribute{attribute}")).collect(),
    }
}

/// One word in three may come more than once, one in five is never the last.
fn rules(words: usize) -> Rules {
    let every = |step: usize| (4..words as u32).step_by(step).collect();
    Rules { often: every(3), unfinished: every(5) }
}

fn semantic_attention(words: usize, channels: usize, push: &mut impl FnMut(&str, &[usize], Spread)) {
    const WIDTH: usize = 256;
    const HIDDEN: usize = 512;
    const GRID: usize = 512;
    push("embedding.weight", &[words, WIDTH], around(0.0, 1.0));
    push("bias", &[words], around(0.0, 0.1));
    push("tag.weight", &[TAGS, WIDTH], around(0.0, 1.0));
    push("tag_score", &[WIDTH], around(0.0, 1.0));
    push("attribute.weight", &[ATTRIBUTES, WIDTH], around(0.0, 1.0));
    push("attribute_score", &[ATTRIBUTES, WIDTH], around(0.0, 1.0));
    push("none", &[1, WIDTH], around(0.0, 1.0));
    push("slot_share", &[1], around(1.0, 0.1));
    linear(push, "detector", [ATTRIBUTES, CLASSES], 1.0);
    linear(push, "grid", [GRID, channels], 1.0);
    linear(push, "whole", [WIDTH, GRID + WIDTH + ATTRIBUTES], 1.0);
    linear(push, "first", [2 * HIDDEN, WIDTH], 1.0);
    for (part, inputs) in [("ih", 2 * WIDTH), ("hh", HIDDEN)] {
        let reach = 2.0 * (3.0 / inputs as f32).sqrt();
        push(&format!("lstm.weight_{part}"), &[4 * HIDDEN, inputs], around(0.0, reach));
        push(&format!("lstm.bias_{part}"), &[4 * HIDDEN], around(0.0, 0.1));
    }
    linear(push, "query", [2 * GRID + WIDTH, HIDDEN], 4.0);
    linear(push, "mix", [HIDDEN, HIDDEN + GRID + 2 * WIDTH], 1.0);
    linear(push, "out", [WIDTH, HIDDEN], 1.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "takes minutes in Miri")]
    fn values_depend_only_on_name_seed_and_index() {
        let all = |name, seed, count| {
            let mut found = Vec::new();
            values(name, seed, count, around(0.5, 2.0))(&mut |piece| found.extend_from_slice(piece));
            found
        };
        // The output of tools/synth.py for name `x`, seed 7, middle 0.5, reach 2.
        assert_eq!(all("x", 7, 3), [1.146_980_8, 2.384_457, -0.105_875_49]);
        assert_eq!(all("x", 7, 70_000)[..3], all("x", 7, 3));
        assert_ne!(all("y", 7, 3), all("x", 7, 3));
        assert_ne!(all("x", 8, 3), all("x", 7, 3));
        let many = all("x", 7, 70_000);
        let mean = many.iter().sum::<f32>() / 70_000.0;
        assert!((mean - 0.5).abs() < 0.02 && many.iter().all(|v| (-1.5..2.5).contains(v)), "{mean}");
    }
}
