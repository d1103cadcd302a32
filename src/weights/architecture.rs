//! The sizes of the encoders.

/// Kinds of encoders.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Architecture {
    Resnet(Resnet),
    InvertedResiduals(InvertedResiduals),
    Vgg(Vgg),
}

impl Architecture {
    /// The layer from the pooled result to the classes of ImageNet, in a model file; a VGG has three.
    pub(crate) fn classifier(self) -> Option<&'static str> {
        match self {
            Architecture::Resnet(_) => Some("fc"),
            Architecture::InvertedResiduals(_) => Some("_fc"),
            Architecture::Vgg(_) => None,
        }
    }
}

/// A ResNet (He et al., arXiv 1512.03385, table 1), a ResNeXt (Xie et al., arXiv 1611.05431) or a Wide ResNet (Zagoruyko and Komodakis,
/// arXiv 1605.07146).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Resnet {
    /// Residual blocks of each of the four stages.
    pub(crate) blocks: [usize; 4],
    /// Whether the blocks have three convolutions, or two.
    pub(crate) is_bottleneck: bool,
    /// Groups of the 3x3 convolutions of bottlenecks.
    pub(crate) groups: usize,
    /// Channels of the 3x3 convolutions of bottlenecks, as a multiple of a ResNet's.
    pub(crate) widening: usize,
}

/// A network of inverted residual blocks: MobileNetV2 (Sandler et al., arXiv 1801.04381), or EfficientNet-Lite, an EfficientNet (Tan and Le,
/// arXiv 1905.11946) without squeeze-and-excitation. Stem and head have the same channels at every scale, and the first and the last
/// stage as many blocks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct InvertedResiduals {
    /// Blocks, window, stride of the first block, expansion and channels of each stage.
    stages: &'static [[usize; 5]; 7],
    /// A factor of the channels of the stages.
    width: f32,
    /// A factor of the blocks of the stages.
    depth: f32,
    /// Whether windows are padded as TensorFlow's `SAME` pads them, or by half of the window on each side.
    pub(crate) has_same_padding: bool,
    /// Added to a batch norm's variance.
    pub(crate) epsilon: f32,
}

/// The stages of EfficientNet-Lite0.
const EFFICIENTNET_LITE: [[usize; 5]; 7] = [
    [1, 3, 1, 1, 16],
    [2, 3, 2, 6, 24],
    [2, 5, 2, 6, 40],
    [3, 3, 2, 6, 80],
    [3, 5, 1, 6, 112],
    [4, 5, 2, 6, 192],
    [1, 3, 1, 6, 320],
];

/// The stages of MobileNetV2.
const MOBILENET_V2: [[usize; 5]; 7] = [
    [1, 3, 1, 1, 16],
    [2, 3, 2, 6, 24],
    [3, 3, 2, 6, 32],
    [4, 3, 2, 6, 64],
    [3, 3, 1, 6, 96],
    [3, 3, 2, 6, 160],
    [1, 3, 1, 6, 320],
];

/// An inverted residual block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct InvertedResidual {
    /// The stage, from 0 on, and the block in it.
    pub(crate) place: [usize; 2],
    /// Channels that enter.
    pub(crate) inputs: usize,
    /// Channels of the depthwise convolution over channels that enter; without an expanding convolution if 1.
    pub(crate) expansion: usize,
    /// Side of the depthwise window.
    pub(crate) kernel: usize,
    /// Stride of the depthwise convolution.
    pub(crate) stride: usize,
    /// Channels that leave.
    pub(crate) outputs: usize,
}

impl InvertedResiduals {
    /// Channels after the first convolution.
    pub(crate) const STEM: usize = 32;
    /// Channels of the result.
    pub(crate) const HEAD: usize = 1280;

    /// An EfficientNet-Lite, with the multipliers of its published weights.
    pub(crate) fn efficientnet_lite(width: f32, depth: f32) -> InvertedResiduals {
        InvertedResiduals { stages: &EFFICIENTNET_LITE, width, depth, has_same_padding: true, epsilon: 1e-3 }
    }

    /// MobileNetV2.
    pub(crate) fn mobilenet_v2() -> InvertedResiduals {
        InvertedResiduals {
            stages: &MOBILENET_V2,
            width: 1.0,
            depth: 1.0,
            has_same_padding: false,
            epsilon: 1e-5,
        }
    }

    /// All blocks, in their order.
    pub(crate) fn blocks(self) -> Vec<InvertedResidual> {
        let mut blocks = Vec::new();
        let mut inputs = InvertedResiduals::STEM;
        for (stage, [repeats, kernel, first_stride, expansion, channels]) in
            self.stages.iter().copied().enumerate()
        {
            let is_scaled = stage > 0 && stage + 1 < self.stages.len();
            let repeats = if is_scaled { (repeats as f32 * self.depth).ceil() as usize } else { repeats };
            let outputs = self.channels(channels);
            for repeat in 0..repeats {
                let stride = if repeat == 0 { first_stride } else { 1 };
                blocks.push(InvertedResidual {
                    place: [stage, repeat],
                    inputs,
                    expansion,
                    kernel,
                    stride,
                    outputs,
                });
                inputs = outputs;
            }
        }
        blocks
    }

    /// Channels of a stage: a multiple of 8, at least nine tenths of the exact product.
    fn channels(self, base: usize) -> usize {
        let exact = base as f32 * self.width;
        let rounded = ((exact + 4.0) / 8.0).floor() as usize * 8;
        if (rounded as f32) < 0.9 * exact { rounded + 8 } else { rounded }
    }
}

/// A VGG (Simonyan and Zisserman, arXiv 1409.1556, table 1): convolutions of 3x3, with a pooling after each stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Vgg {
    /// Convolutions of each stage.
    pub(crate) convolutions: [usize; 5],
    /// Whether a batch norm follows each convolution.
    pub(crate) has_norms: bool,
}

/// A convolution of a VGG.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct VggLayer {
    /// Its number in torchvision's `features`.
    pub(crate) number: usize,
    /// Channels that enter and leave.
    pub(crate) channels: [usize; 2],
    /// Whether the stage ends after it.
    pub(crate) is_last: bool,
}

impl Vgg {
    /// Channels of each stage.
    const CHANNELS: [usize; 5] = [64, 128, 256, 512, 512];

    /// All convolutions, in their order.
    pub(crate) fn layers(self) -> Vec<VggLayer> {
        let (mut layers, mut number, mut inputs) = (Vec::new(), 0, 3);
        for (count, outputs) in self.convolutions.into_iter().zip(Vgg::CHANNELS) {
            for place in 1..=count {
                let is_last = place == count;
                layers.push(VggLayer { number, channels: [inputs, outputs], is_last });
                // The convolution, its norm, its activation, and the pooling.
                number += 2 + usize::from(self.has_norms) + usize::from(is_last);
                inputs = outputs;
            }
        }
        layers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn efficientnets_have_the_published_sizes() {
        let outputs = |width, depth| {
            let mut stages: Vec<(usize, usize)> = Vec::new();
            for block in InvertedResiduals::efficientnet_lite(width, depth).blocks() {
                match stages.last_mut() {
                    Some((channels, count)) if *channels == block.outputs => *count += 1,
                    _ => stages.push((block.outputs, 1)),
                }
            }
            stages
        };
        assert_eq!(outputs(1.0, 1.0), [(16, 1), (24, 2), (40, 2), (80, 3), (112, 3), (192, 4), (320, 1)]);
        assert_eq!(outputs(1.1, 1.2), [(16, 1), (24, 3), (48, 3), (88, 4), (120, 4), (208, 5), (352, 1)]);
        assert_eq!(outputs(1.4, 1.8), [(24, 1), (32, 4), (56, 4), (112, 6), (160, 6), (272, 8), (448, 1)]);
    }

    #[test]
    fn mobilenet_and_vgg_have_the_published_sizes() {
        let blocks = InvertedResiduals::mobilenet_v2().blocks();
        assert_eq!((blocks.len(), blocks[16].outputs, blocks[3].stride), (17, 320, 2));
        let numbers = |vgg: Vgg| vgg.layers().iter().map(|layer| layer.number).collect::<Vec<_>>();
        let plain = Vgg { convolutions: [2, 2, 3, 3, 3], has_norms: false };
        assert_eq!(numbers(plain), [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]);
        let normed = Vgg { convolutions: [2, 2, 4, 4, 4], has_norms: true };
        assert_eq!(numbers(normed), [0, 3, 7, 10, 14, 17, 20, 23, 27, 30, 33, 36, 40, 43, 46, 49]);
    }
}
