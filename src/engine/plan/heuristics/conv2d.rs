//! The kernel of a convolution, or of a linear layer with enough rows to run as one.

use super::{reads_64_bits, shares_lanes};
use crate::engine::ops::conv2d::winograd::Winograd;
use crate::engine::plan::{AdapterClass, Target, TuningTable};
use std::fmt;

/// The algorithm of a convolution, with its matrix kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConvKernel {
    pub(crate) way: ConvAlgorithm,
    /// The kernel of the matrix product, if the algorithm is one.
    pub(crate) product: GemmKernel,
}

/// The algorithms of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConvAlgorithm {
    /// 3x3, stride 1: transformed, and multiplied there.
    Winograd(Winograd),
    /// 1x1, stride 1, without padding: a plain matrix product.
    Pointwise,
    /// Dense: implicit matrix product over the window.
    Window,
    /// One filter for each channel, whose inputs are read once a row, 64 bits at a time.
    DepthwiseRow,
    /// One filter for each channel.
    Depthwise,
    /// Anything else.
    Direct,
}

/// The shaders that multiply matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GemmKernel {
    /// `conv2d_subgroup`, for subgroups that are vectors of a CPU. Blocks have 32 channels, wide ones 64.
    Subgroup { wide: bool },
    /// `conv2d_gemm`, with the invocations of a workgroup along channels and along pixels.
    Gemm([u32; 2]),
    /// `conv2d_tiled`. Tiles have 32 pixels and channels, wide ones 64; the inputs are split into parts.
    Tiled { wide: bool, splits: u32 },
}

impl fmt::Display for ConvKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.way {
            ConvAlgorithm::Winograd(Winograd::F2) => "winograd-f2",
            ConvAlgorithm::Winograd(Winograd::F4) => "winograd-f4",
            ConvAlgorithm::Pointwise => "pointwise",
            ConvAlgorithm::Window => "window",
            ConvAlgorithm::DepthwiseRow => return write!(f, "depthwise-row"),
            ConvAlgorithm::Depthwise => return write!(f, "depthwise"),
            ConvAlgorithm::Direct => return write!(f, "direct"),
        };
        match self.product {
            GemmKernel::Subgroup { wide } => write!(f, "{way} subgroup-{}", if wide { 64 } else { 32 }),
            GemmKernel::Gemm([across, down]) => write!(f, "{way} gemm-{across}x{down}"),
            GemmKernel::Tiled { wide, splits } => {
                write!(f, "{way} tiled-{}", if wide { 64 } else { 32 })?;
                if splits > 1 { write!(f, "-split-{splits}") } else { Ok(()) }
            }
        }
    }
}

/// The numbers that the choice depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConvShape {
    pub(crate) groups: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) dilation: [usize; 2],
    pub(crate) padded: bool,
    /// Rows and columns of the result.
    pub(crate) size: [usize; 2],
    /// Whether the weights are f16. Then Winograd is left out: its filters would be four times as large.
    pub(crate) compact: bool,
}

/// The shape as a key for [`TuningTable`].
impl fmt::Display for ConvShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConvShape { groups, inputs, outputs, kernel, stride, dilation, padded, size, compact } = self;
        let pair = |[a, b]: &[usize; 2]| format!("{a}x{b}");
        write!(f, "conv2d {inputs}>{outputs} {} to {}", pair(kernel), pair(size))?;
        for (name, value) in [("stride", stride), ("dilation", dilation)] {
            if *value != [1, 1] {
                write!(f, " {name} {}", pair(value))?;
            }
        }
        if *groups > 1 {
            write!(f, " groups {groups}")?;
        }
        for (name, value) in [("padded", padded), ("half", compact)] {
            if *value {
                write!(f, " {name}")?;
            }
        }
        Ok(())
    }
}

impl ConvShape {
    /// A 1x1 window over `pixels`.
    pub(crate) fn pointwise(pixels: usize, inputs: usize, outputs: usize, compact: bool) -> ConvShape {
        ConvShape {
            groups: 1,
            inputs,
            outputs,
            kernel: [1; 2],
            stride: [1; 2],
            dilation: [1; 2],
            padded: false,
            size: [1, pixels],
            compact,
        }
    }

    /// The algorithms that fit, the default first.
    fn ways(&self, target: &Target) -> Vec<ConvAlgorithm> {
        let ConvShape { groups, inputs, outputs, kernel, stride, dilation, padded, size, compact } = *self;
        if groups > 1 && groups == inputs && groups == outputs && outputs.is_multiple_of(4) {
            let fits = [3, 5].contains(&kernel[1]) && stride[1] == 1 && dilation == [1, 1];
            let row = (fits && reads_64_bits(target)).then_some(ConvAlgorithm::DepthwiseRow);
            return row.into_iter().chain([ConvAlgorithm::Depthwise, ConvAlgorithm::Direct]).collect();
        }
        if groups > 1 || !outputs.is_multiple_of(4) {
            return vec![ConvAlgorithm::Direct];
        }
        if kernel == [1, 1] && stride == [1, 1] && !padded {
            return vec![ConvAlgorithm::Pointwise];
        }
        let fits = kernel == [3, 3] && stride == [1, 1] && dilation == [1, 1] && !compact;
        if !fits || !inputs.is_multiple_of(4) || inputs < 16 {
            return vec![ConvAlgorithm::Window];
        }
        // Multiplications for each pair of channels, in whole tiles of sixteen.
        let products = |winograd: Winograd| {
            let tiles = winograd.tiles(size).iter().product::<usize>();
            winograd.side().pow(2) * tiles.next_multiple_of(16)
        };
        let direct = 9 * size.iter().product::<usize>().next_multiple_of(16);
        let [best, other] = match products(Winograd::F4) < products(Winograd::F2) {
            true => [Winograd::F4, Winograd::F2],
            false => [Winograd::F2, Winograd::F4],
        };
        // The transforms cost about a third of the products saved.
        if 3 * products(best) < 2 * direct {
            vec![ConvAlgorithm::Winograd(best), ConvAlgorithm::Winograd(other), ConvAlgorithm::Window]
        } else {
            vec![ConvAlgorithm::Window, ConvAlgorithm::Winograd(best), ConvAlgorithm::Winograd(other)]
        }
    }
}

/// The sizes of a matrix product.
#[derive(Clone, Copy, Debug)]
struct ProductShape {
    /// Rows of one image.
    pixels: usize,
    inputs: usize,
    outputs: usize,
    /// The number of matrices. Several matrices are never split.
    matrices: usize,
}

impl ProductShape {
    fn of(shape: &ConvShape, way: ConvAlgorithm) -> ProductShape {
        let ConvShape { inputs, outputs, size, .. } = *shape;
        let (pixels, matrices) = match way {
            ConvAlgorithm::Winograd(winograd) => {
                (winograd.tiles(size).iter().product(), winograd.side().pow(2))
            }
            _ => (size.iter().product(), 1),
        };
        ProductShape { pixels, inputs, outputs, matrices }
    }

    /// The number of workgroups for tiles of this side.
    fn workgroups(&self, side: usize) -> usize {
        self.pixels.div_ceil(side) * self.outputs.div_ceil(side) * self.matrices
    }

    /// The kernels that fit, the default first.
    fn products(&self, target: &Target) -> Vec<GemmKernel> {
        let gemm = GemmKernel::Gemm(gemm_workgroup(target.class));
        if !self.inputs.is_multiple_of(4) {
            return vec![gemm];
        }
        let mut products = match target.class {
            AdapterClass::Software if shares_lanes(target, self.inputs) => {
                let mut products = vec![GemmKernel::Subgroup { wide: false }];
                if self.outputs.is_multiple_of(64) {
                    // The sums of the wide one fill more registers than some CPUs have.
                    let place = usize::from(!self.suits_wide(target));
                    products.insert(place, GemmKernel::Subgroup { wide: true });
                }
                products.push(gemm);
                products
            }
            AdapterClass::Software => vec![gemm],
            AdapterClass::Hardware => vec![self.tiled(), gemm],
        };
        for wide in [false, true] {
            for splits in [1, 2, 4, 8] {
                let product = GemmKernel::Tiled { wide, splits };
                let is_whole = splits == 1 || (self.matrices == 1 && self.inputs >= 64 * splits as usize);
                if is_whole && !products.contains(&product) {
                    products.push(product);
                }
            }
        }
        products
    }

    /// Whether the wide kernel for subgroups has registers for its sums and leaves enough workgroups.
    fn suits_wide(&self, target: &Target) -> bool {
        const ENOUGH: usize = 32;
        target.many_registers && self.pixels.div_ceil(16) * (self.outputs / 64) * self.matrices >= ENOUGH
    }

    /// The largest tile that leaves a GPU enough workgroups, and as many parts of the inputs as it takes.
    fn tiled(&self) -> GemmKernel {
        // WebGPU does not report the number of cores: enough for two workgroups on each of 64.
        const ENOUGH: usize = 128;
        if self.workgroups(64) >= ENOUGH && self.pixels > 32 && self.outputs > 32 {
            return GemmKernel::Tiled { wide: true, splits: 1 };
        }
        let workgroups = self.workgroups(32);
        let splits = match self.matrices {
            1 => [8, 4, 2]
                .into_iter()
                .find(|splits| splits * workgroups <= 2 * ENOUGH && self.inputs >= 128 * splits),
            _ => None,
        };
        GemmKernel::Tiled { wide: false, splits: splits.unwrap_or(1) as u32 }
    }
}

/// All kernels for a convolution, the default first.
pub(crate) fn candidates(shape: &ConvShape, target: &Target) -> Vec<ConvKernel> {
    let kernels = |way: ConvAlgorithm| {
        let products = match way {
            ConvAlgorithm::DepthwiseRow | ConvAlgorithm::Depthwise | ConvAlgorithm::Direct => {
                vec![GemmKernel::Gemm(gemm_workgroup(target.class))]
            }
            _ => ProductShape::of(shape, way).products(target),
        };
        products.into_iter().map(move |product| ConvKernel { way, product })
    };
    shape.ways(target).into_iter().flat_map(kernels).collect()
}

/// Picks the kernel of a convolution.
pub(crate) fn kernel(shape: &ConvShape, target: &Target, choices: &TuningTable) -> ConvKernel {
    choices.pick(&shape.to_string(), &candidates(shape, target))
}

/// Workgroup size of `conv2d_gemm` and `conv_transpose2d`: `[along output channels, along pixels]`.
pub(crate) fn gemm_workgroup(class: AdapterClass) -> [u32; 2] {
    match class {
        // One vector: the pixel operand is then the same for all lanes and read once.
        AdapterClass::Software => [8, 1],
        AdapterClass::Hardware => [8, 8],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(inputs: usize, outputs: usize, window: usize, size: usize) -> ConvShape {
        ConvShape {
            groups: 1,
            inputs,
            outputs,
            kernel: [window; 2],
            stride: [1; 2],
            dilation: [1; 2],
            padded: window > 1,
            size: [size; 2],
            compact: false,
        }
    }

    fn way(shape: ConvShape) -> ConvAlgorithm {
        let target = Target::baseline(AdapterClass::Software);
        let choice = kernel(&shape, &target, &TuningTable::default());
        assert_eq!(choice.way, shape.ways(&target)[0]);
        choice.way
    }

    #[test]
    fn convolutions_go_the_way_of_their_shape() {
        let table = [
            (1, 64, 256, [1, 1], 1, false, ConvAlgorithm::Pointwise),
            (1, 64, 256, [1, 1], 2, false, ConvAlgorithm::Window),
            (1, 64, 256, [1, 1], 1, true, ConvAlgorithm::Window),
            (1, 64, 64, [3, 3], 1, true, ConvAlgorithm::Window),
            (1, 3, 64, [7, 7], 1, true, ConvAlgorithm::Window),
            (1, 6, 8, [1, 1], 1, false, ConvAlgorithm::Pointwise),
            (1, 64, 66, [1, 1], 1, false, ConvAlgorithm::Direct),
            (32, 32, 32, [3, 3], 1, true, ConvAlgorithm::Depthwise),
            (5, 5, 5, [3, 3], 1, true, ConvAlgorithm::Direct),
            (32, 32, 64, [3, 3], 1, true, ConvAlgorithm::Direct),
            (2, 8, 8, [3, 3], 1, true, ConvAlgorithm::Direct),
            (1, 1, 1, [3, 3], 1, true, ConvAlgorithm::Direct),
        ];
        for (groups, inputs, outputs, kernel, stride, padded, expected) in table {
            let plain = shape(inputs, outputs, 1, 14);
            let shape = ConvShape { groups, kernel, stride: [stride; 2], padded, compact: true, ..plain };
            assert_eq!(way(shape), expected, "{shape}");
        }
    }

    #[test]
    fn windows_that_fit_are_read_by_the_row() {
        let software = Target { int64: true, ..Target::baseline(AdapterClass::Software) };
        let hardware = Target { int64: true, ..Target::baseline(AdapterClass::Hardware) };
        let depthwise =
            |window, stride| ConvShape { groups: 32, stride: [stride; 2], ..shape(32, 32, window, 14) };
        let way = |shape: ConvShape, target| kernel(&shape, target, &TuningTable::default()).way;
        for (window, stride, expected) in [
            (3, 1, ConvAlgorithm::DepthwiseRow),
            (5, 1, ConvAlgorithm::DepthwiseRow),
            (7, 1, ConvAlgorithm::Depthwise),
            (3, 2, ConvAlgorithm::Depthwise),
        ] {
            assert_eq!(way(depthwise(window, stride), &software), expected, "{window} {stride}");
            assert_eq!(way(depthwise(window, stride), &hardware), ConvAlgorithm::Depthwise);
        }
        assert_eq!(
            way(ConvShape { dilation: [2, 2], ..depthwise(3, 1) }, &software),
            ConvAlgorithm::Depthwise
        );
    }

    #[test]
    fn winograd_runs_where_its_tiles_fit() {
        let choices = [56, 28, 14, 7, 3].map(|size| way(shape(64, 64, 3, size)));
        let [f2, f4] = [Winograd::F2, Winograd::F4].map(ConvAlgorithm::Winograd);
        assert_eq!(choices, [f4, f4, f4, f2, ConvAlgorithm::Window]);
        let wide = shape(64, 64, 3, 56);
        assert_eq!(way(ConvShape { compact: true, ..wide }), ConvAlgorithm::Window);
        assert_eq!(way(ConvShape { stride: [2, 2], ..wide }), ConvAlgorithm::Window);
        assert_eq!(way(ConvShape { dilation: [2, 2], ..wide }), ConvAlgorithm::Window);
        assert_eq!(way(ConvShape { inputs: 8, ..wide }), ConvAlgorithm::Window);
        assert_eq!(wide.ways(&Target::baseline(AdapterClass::Software)), [f4, f2, ConvAlgorithm::Window]);
    }

    #[test]
    fn products_get_the_shader_of_their_adapter() {
        let usual = |class, subgroup, shape: ConvShape| {
            let target = Target { subgroup, int64: true, ..Target::baseline(class) };
            kernel(&shape, &target, &TuningTable::default()).to_string()
        };
        use AdapterClass::{Hardware, Software};
        let table = [
            (Software, 0, shape(64, 256, 1, 56), "pointwise gemm-8x1"),
            (Software, 8, shape(64, 256, 1, 56), "pointwise subgroup-32"),
            (Software, 8, shape(64, 64, 3, 56), "winograd-f4 subgroup-32"),
            // Rows are read four values at a time.
            (Software, 8, shape(6, 256, 1, 56), "pointwise gemm-8x1"),
            (Software, 4, shape(64, 256, 1, 56), "pointwise gemm-8x1"),
            (Hardware, 32, shape(64, 256, 1, 56), "pointwise tiled-64"),
            (Hardware, 32, shape(3, 64, 7, 112), "window gemm-8x8"),
            (Hardware, 32, shape(64, 64, 3, 56), "winograd-f4 tiled-64"),
            // Small images: smaller tiles, and then several workgroups for each.
            (Hardware, 32, shape(256, 1024, 1, 14), "pointwise tiled-32"),
            (Hardware, 32, shape(1024, 256, 1, 14), "pointwise tiled-32-split-4"),
            (Hardware, 32, shape(2048, 512, 1, 7), "pointwise tiled-32-split-8"),
            (Hardware, 32, shape(512, 2048, 1, 7), "pointwise tiled-32-split-2"),
            (Hardware, 32, shape(512, 512, 3, 7), "winograd-f2 tiled-32"),
            (Hardware, 32, shape(8, 66, 3, 7), "direct"),
        ];
        for (class, subgroup, shape, expected) in table {
            assert_eq!(usual(class, subgroup, shape), expected, "{class:?} {subgroup} {shape}");
        }
    }

    #[test]
    fn wide_blocks_need_registers_and_work() {
        let baseline = Target::baseline(AdapterClass::Software);
        let target = Target { subgroup: 8, int64: true, many_registers: true, ..baseline };
        let usual = |shape| kernel(&shape, &target, &TuningTable::default()).to_string();
        assert_eq!(usual(shape(64, 256, 1, 56)), "pointwise subgroup-64");
        assert_eq!(usual(shape(2048, 512, 1, 7)), "pointwise subgroup-64");
        assert_eq!(usual(shape(2048, 448, 1, 7)), "pointwise subgroup-32", "28 workgroups");
        assert_eq!(usual(shape(64, 240, 1, 56)), "pointwise subgroup-32", "no whole blocks");
    }

    #[test]
    fn what_was_timed_is_chosen_where_it_fits() {
        let target = Target::baseline(AdapterClass::Hardware);
        let shape = shape(64, 64, 3, 56);
        let candidates: Vec<String> = candidates(&shape, &target).iter().map(ToString::to_string).collect();
        let mut unique = candidates.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), candidates.len(), "{candidates:?}");
        let chosen = |name: &str| {
            let mut choices = TuningTable::default();
            choices.insert(shape.to_string(), name.to_owned());
            kernel(&shape, &target, &choices).to_string()
        };
        for name in &candidates {
            assert_eq!(chosen(name), *name);
        }
        assert_eq!(chosen("window subgroup-32"), candidates[0], "not on this adapter");
        assert_eq!(chosen("pointwise tiled-64"), candidates[0], "not for this shape");
    }

    #[test]
    fn keys_tell_shapes_apart() {
        let plain = shape(64, 256, 1, 56);
        assert_eq!(plain.to_string(), "conv2d 64>256 1x1 to 56x56");
        let other = ConvShape { stride: [2, 1], groups: 2, padded: true, compact: true, ..plain };
        assert_eq!(other.to_string(), "conv2d 64>256 1x1 to 56x56 stride 2x1 groups 2 padded half");
    }
}
