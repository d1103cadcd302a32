//! ResNets, under torchvision's names or in an `nn.Sequential` of their parts.

use super::{Collection, Renaming, StateDict, expect_setting, unknown};
use crate::checkpoint::CheckpointErrorKind;
use crate::weights::{Architecture, EncoderFamily, ResnetBlocks};
use std::fmt;

/// An encoder of photos in a state dict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoder {
    /// Its architecture.
    pub family: EncoderFamily,
    /// Channels of its last stage.
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
}

impl fmt::Display for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.family.fmt(f)
    }
}

/// The names of a ResNet's parts in `nn.Sequential(*resnet.children())`.
const SEQUENTIAL: [(&str, &str); 6] =
    [("0", "conv1"), ("1", "bn1"), ("4", "layer1"), ("5", "layer2"), ("6", "layer3"), ("7", "layer4")];

/// The encoders in a state dict.
pub(super) fn find(dict: &StateDict<'_>) -> impl Iterator<Item = Result<Encoder, CheckpointErrorKind>> {
    Trunk::find(dict).map(|trunk| encoder(dict, &trunk))
}

/// The names of a ResNet's trunk in a state dict.
struct Trunk {
    prefix: String,
    is_sequential: bool,
}

impl Trunk {
    fn find(dict: &StateDict<'_>) -> impl Iterator<Item = Trunk> {
        let trunk = |name: &str| {
            let is_prefix = |prefix: &&str| prefix.is_empty() || prefix.ends_with('.');
            if let Some(prefix) = name.strip_suffix("layer1.0.conv1.weight").filter(is_prefix) {
                return Some(Trunk { prefix: prefix.to_owned(), is_sequential: false });
            }
            let prefix = name.strip_suffix("4.0.conv1.weight").filter(is_prefix)?;
            dict.get(&format!("{prefix}0.weight"))?;
            Some(Trunk { prefix: prefix.to_owned(), is_sequential: true })
        };
        dict.tensors().iter().filter_map(move |(name, _)| trunk(name))
    }

    /// The name in this state dict of a tensor or a module with this torchvision name.
    fn name(&self, canonical: &str) -> String {
        let (part, rest) =
            canonical.split_once('.').map_or((canonical, None), |(part, rest)| (part, Some(rest)));
        let number = SEQUENTIAL.iter().find(|(_, name)| *name == part).map(|(number, _)| *number);
        let part = if self.is_sequential { number.unwrap_or(part) } else { part };
        match rest {
            Some(rest) => format!("{}{part}.{rest}", self.prefix),
            None => format!("{}{part}", self.prefix),
        }
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
    let mut collection = Collection::new(dict);
    let mut add = |conv: &str, norm: &str, stride: usize| {
        let [conv_path, norm_path] = [conv, norm].map(|name| trunk.name(name));
        collection.take(&format!("{conv}.weight"), &format!("{conv_path}.weight"));
        collection.batch_norm(norm, &norm_path);
        expect_setting(dict, &conv_path, "stride", stride as f64)?;
        expect_setting(dict, &conv_path, "dilation", 1.0)?;
        expect_setting(dict, &norm_path, "eps", 1e-5)
    };
    add("conv1", "bn1", 2)?;
    // The 3x3 convolution has the stride: the second convolution of a bottleneck, the first one of a basic block.
    let (convolutions, strided) = if is_bottleneck { (3, 2) } else { (2, 1) };
    for (stage, count) in (1..).zip(blocks) {
        for block in 0..count {
            let scope = format!("layer{stage}.{block}");
            let stride = if stage > 1 && block == 0 { 2 } else { 1 };
            for number in 1..=convolutions {
                let names = [format!("{scope}.conv{number}"), format!("{scope}.bn{number}")];
                add(&names[0], &names[1], if number == strided { stride } else { 1 })?;
            }
            if has(&format!("{scope}.downsample.0.weight")) {
                add(&format!("{scope}.downsample.0"), &format!("{scope}.downsample.1"), stride)?;
            }
        }
    }
    let tensors = collection.finish(&format!("a {family}"))?;
    let [first, second] = [1, 2].map(|n| dict.sizes::<4>(&trunk.name(&format!("layer1.0.conv{n}.weight"))));
    if let (Some([outputs, ..]), Some([_, inputs, ..])) = (first, second)
        && outputs != inputs
        && inputs > 0
    {
        return unknown(format!(
            "expected a ResNet, found grouped convolutions ({} groups), as a ResNeXt has: networks of this family are not \
             known",
            outputs / inputs
        ));
    }
    let last = format!("layer4.0.conv{convolutions}.weight");
    let channels = dict.sizes::<4>(&trunk.name(&last)).map_or(0, |[outputs, ..]| outputs);
    let is_from_app = trunk.is_sequential && (trunk.prefix == "model." || trunk.prefix.ends_with(".model."));
    only_relu(dict, &trunk.prefix)?;
    Ok(Encoder {
        family,
        channels,
        prefix: trunk.prefix.clone(),
        is_from_app,
        grid: grid(dict, trunk),
        tensors,
    })
}

/// A ResNet has no other activation than ReLU.
fn only_relu(dict: &StateDict<'_>, prefix: &str) -> Result<(), CheckpointErrorKind> {
    let other = dict.modules().iter().find(|module| {
        module.path.starts_with(prefix)
            && module.class.starts_with("torch.nn.modules.activation.")
            && module.kind() != "ReLU"
    });
    match other {
        Some(module) => unknown(format!(
            "expected a ResNet with ReLU, found {} as `{}`: this is another network",
            module.kind(),
            module.path
        )),
        None => Ok(()),
    }
}

/// The grid that a pickled module pools the features of the trunk to.
fn grid(dict: &StateDict<'_>, trunk: &Trunk) -> Option<Option<[usize; 2]>> {
    let own = trunk.name("avgpool");
    if dict.modules().is_empty() {
        return None;
    }
    let pooling = dict.modules().iter().find(|module| {
        module.kind() == "AdaptiveAvgPool2d" && module.path != own && !module.path.starts_with(&trunk.prefix)
    });
    Some(pooling.and_then(|module| match *module.setting("output_size")? {
        [side] => Some([side as usize; 2]),
        [rows, columns] => Some([rows as usize, columns as usize]),
        _ => None,
    }))
}
