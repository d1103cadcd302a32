//! The sizes of the encoders.

/// Kinds of encoders.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Architecture {
    Resnet(ResnetBlocks),
    EfficientNetLite(EfficientNetScale),
}

impl Architecture {
    /// The layer of the ImageNet classes, as the tensors of the well-known packages name it.
    pub(crate) fn classifier(self) -> &'static str {
        match self {
            Architecture::Resnet(_) => "fc",
            Architecture::EfficientNetLite(_) => "_fc",
        }
    }
}

/// The residual blocks of a ResNet (He et al., arXiv 1512.03385, table 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ResnetBlocks {
    /// Of each of the four stages.
    pub(crate) blocks: [usize; 4],
    /// Whether they have three convolutions, or two.
    pub(crate) is_bottleneck: bool,
}

/// An EfficientNet (Tan and Le, arXiv 1905.11946) as a multiple of the smallest one. EfficientNet-Lite has the same channels in stem and head,
/// and as many blocks in the first and the last stage, whatever the scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct EfficientNetScale {
    /// Of the channels of a stage.
    pub(crate) width: f32,
    /// Of the blocks of a stage.
    pub(crate) depth: f32,
}

/// An inverted residual block of an EfficientNet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct EfficientNetBlock {
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

impl EfficientNetScale {
    /// Channels after the first convolution.
    pub(crate) const STEM: usize = 32;
    /// Channels of the result.
    pub(crate) const HEAD: usize = 1280;
    /// Blocks, window, stride of the first block, expansion and channels of each stage of the smallest one.
    const STAGES: [[usize; 5]; 7] = [
        [1, 3, 1, 1, 16],
        [2, 3, 2, 6, 24],
        [2, 5, 2, 6, 40],
        [3, 3, 2, 6, 80],
        [3, 5, 1, 6, 112],
        [4, 5, 2, 6, 192],
        [1, 3, 1, 6, 320],
    ];

    /// All blocks, in their order.
    pub(crate) fn blocks(self) -> Vec<EfficientNetBlock> {
        let mut blocks = Vec::new();
        let mut inputs = EfficientNetScale::STEM;
        for (stage, [repeats, kernel, first_stride, expansion, channels]) in
            (1..).zip(EfficientNetScale::STAGES)
        {
            let is_scaled = stage > 1 && stage < EfficientNetScale::STAGES.len();
            let repeats = if is_scaled { (repeats as f32 * self.depth).ceil() as usize } else { repeats };
            let outputs = self.channels(channels);
            for repeat in 0..repeats {
                let stride = if repeat == 0 { first_stride } else { 1 };
                blocks.push(EfficientNetBlock { inputs, expansion, kernel, stride, outputs });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn efficientnets_have_the_published_sizes() {
        let outputs = |width, depth| {
            let mut stages: Vec<(usize, usize)> = Vec::new();
            for block in (EfficientNetScale { width, depth }).blocks() {
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
}
