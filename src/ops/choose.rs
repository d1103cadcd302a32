//! Which kernel runs an operation: pure functions of plain numbers.

use super::conv2d::winograd::Winograd;
use super::{AdapterClass, Target};

/// The ways to run a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConvKernel {
    /// 3x3, stride 1: transformed, and multiplied there.
    Winograd(Winograd),
    /// 1x1, stride 1, without padding: a plain matrix product.
    Pointwise,
    /// Dense: implicit matrix product over the window.
    Window,
    /// One filter for each channel.
    Depthwise,
    /// Anything else.
    Direct,
}

/// The numbers on which the choice depends.
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
    /// Whether the weights are stored in 16 bits: whoever does that wants them small.
    pub(crate) compact: bool,
}

/// Chooses how a convolution runs. It never depends on the number of images, which would round differently in a batch.
pub(crate) fn conv2d(shape: ConvShape) -> ConvKernel {
    let ConvShape { groups, inputs, outputs, kernel, stride, dilation, padded, size, compact } = shape;
    let is_dense = groups == 1 && inputs.is_multiple_of(4) && outputs.is_multiple_of(4);
    if is_dense && kernel == [3, 3] && stride == [1, 1] && dilation == [1, 1] && !compact && inputs >= 16 {
        // Multiplications for each pair of channels, in whole tiles of sixteen.
        let products = |winograd: Winograd| {
            let tiles = winograd.tiles(size).iter().product::<usize>();
            winograd.side().pow(2) * tiles.next_multiple_of(16)
        };
        let direct = 9 * size.iter().product::<usize>().next_multiple_of(16);
        let best = if products(Winograd::F4) < products(Winograd::F2) { Winograd::F4 } else { Winograd::F2 };
        // The transforms cost about a third of the products saved.
        if 3 * products(best) < 2 * direct {
            return ConvKernel::Winograd(best);
        }
    }
    if groups > 1 && groups == inputs && groups == outputs && outputs.is_multiple_of(4) {
        ConvKernel::Depthwise
    } else if groups > 1 || !outputs.is_multiple_of(4) {
        ConvKernel::Direct
    } else if kernel == [1, 1] && stride == [1, 1] && !padded {
        ConvKernel::Pointwise
    } else {
        ConvKernel::Window
    }
}

/// Lanes of the subgroups that some shaders are written for.
const LANES: u32 = 8;

/// Whether a product with so many inputs gets the shader for subgroups that are one vector of a CPU, where reading from
/// another lane costs less than reading memory, and reading 64 bits as much as reading 32.
pub(crate) fn shares_lanes(target: &Target, inputs: usize) -> bool {
    target.class == AdapterClass::Software && target.subgroup == 8 && target.int64 && inputs.is_multiple_of(4)
}

/// The shaders that can run a matrix times rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinearKernel {
    /// Rows are pixels of a 1x1 convolution.
    Gemm,
    /// Blocks of so many rows share each weight that is read.
    Rows(u32),
}

/// The largest block of rows of `linear.wgsl` and `lstm_cell.wgsl`.
const MAX_ROWS: usize = 8;

/// Chooses the shader of a linear layer for a batch of so many items of so many rows.
///
/// The two shaders round their sums differently: which one runs is decided by the rows of one item, so that no
/// result depends on the batch that it travels in.
pub(crate) fn linear([items, rows]: [usize; 2], outputs: usize) -> LinearKernel {
    if rows > MAX_ROWS && outputs.is_multiple_of(4) {
        LinearKernel::Gemm
    } else {
        LinearKernel::Rows(row_block(items * rows))
    }
}

/// How many rows share each weight: all of them, or equal blocks of at most eight.
pub(crate) fn row_block(rows: usize) -> u32 {
    rows.max(1).div_ceil(rows.max(1).div_ceil(MAX_ROWS)) as u32
}

/// Invocations along the output channels: one vector of lanes on a CPU, a full workgroup on a GPU.
pub(crate) fn lanes(class: AdapterClass) -> u32 {
    match class {
        AdapterClass::Software => 8,
        AdapterClass::Hardware => 64,
    }
}

/// Who works on a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowKernel {
    /// A workgroup whose results meet in workgroup memory.
    Workgroup,
    /// A single invocation: for drivers on a CPU, which compile barriers into coroutines.
    Serial,
    /// A subgroup that is one vector of a CPU.
    Subgroup,
}

/// Chooses who works on a row that takes a single invocation so many iterations.
///
/// Mesa 22 ends a shader's loops after 65,535 of them, so long rows are shared there too.
pub(crate) fn row(target: &Target, iterations: usize) -> RowKernel {
    const MOST: usize = 60_000;
    let lanes = LANES as usize;
    match target.class {
        AdapterClass::Software if target.subgroup == LANES && iterations / lanes < MOST => {
            RowKernel::Subgroup
        }
        AdapterClass::Software if iterations < MOST => RowKernel::Serial,
        _ => RowKernel::Workgroup,
    }
}

/// Workgroup size of the matrix kernel: `[along output channels, along pixels]`.
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

    #[test]
    fn convolutions_get_the_kernel_of_their_shape() {
        let table = [
            (1, 64, 256, [1, 1], 1, false, ConvKernel::Pointwise),
            (1, 64, 256, [1, 1], 2, false, ConvKernel::Window),
            (1, 64, 256, [1, 1], 1, true, ConvKernel::Window),
            (1, 64, 64, [3, 3], 1, true, ConvKernel::Window),
            (1, 3, 64, [7, 7], 1, true, ConvKernel::Window),
            (1, 6, 8, [1, 1], 1, false, ConvKernel::Pointwise),
            (1, 64, 66, [1, 1], 1, false, ConvKernel::Direct),
            (32, 32, 32, [3, 3], 1, true, ConvKernel::Depthwise),
            (5, 5, 5, [3, 3], 1, true, ConvKernel::Direct),
            (32, 32, 64, [3, 3], 1, true, ConvKernel::Direct),
            (2, 8, 8, [3, 3], 1, true, ConvKernel::Direct),
            (1, 1, 1, [3, 3], 1, true, ConvKernel::Direct),
        ];
        for (groups, inputs, outputs, kernel, stride, padded, expected) in table {
            let shape = ConvShape {
                groups,
                inputs,
                outputs,
                kernel,
                stride: [stride; 2],
                dilation: [1; 2],
                padded,
                size: [14, 14],
                compact: true,
            };
            assert_eq!(conv2d(shape), expected, "{shape:?}");
        }
    }

    #[test]
    fn winograd_runs_where_its_tiles_fit() {
        let shape = |size, compact| ConvShape {
            groups: 1,
            inputs: 64,
            outputs: 64,
            kernel: [3, 3],
            stride: [1, 1],
            dilation: [1, 1],
            padded: true,
            size: [size; 2],
            compact,
        };
        let choices = [56, 28, 14, 7, 3].map(|size| conv2d(shape(size, false)));
        use ConvKernel::{Window, Winograd as By};
        assert_eq!(choices, [By(Winograd::F4), By(Winograd::F4), By(Winograd::F4), By(Winograd::F2), Window]);
        assert_eq!(conv2d(shape(56, true)), Window);
        let wide = shape(56, false);
        assert_eq!(conv2d(ConvShape { stride: [2, 2], ..wide }), Window);
        assert_eq!(conv2d(ConvShape { dilation: [2, 2], ..wide }), Window);
        assert_eq!(conv2d(ConvShape { inputs: 8, ..wide }), Window);
    }

    #[test]
    fn lanes_are_shared_where_a_subgroup_is_one_vector() {
        let shares = |class, subgroup, inputs| {
            shares_lanes(&Target { subgroup, int64: true, ..Target::baseline(class) }, inputs)
        };
        assert_eq!([0, 4, 8, 16].map(|n| shares(AdapterClass::Software, n, 8)), [false, false, true, false]);
        assert_eq!([0, 8, 32].map(|n| shares(AdapterClass::Hardware, n, 8)), [false; 3]);
        assert!(!shares(AdapterClass::Software, 8, 3), "rows are read four values at a time");
    }

    #[test]
    fn linear_layers_get_the_kernel_of_their_rows() {
        assert_eq!(linear([1, 1], 2917), LinearKernel::Rows(1));
        assert_eq!(linear([5, 1], 2917), LinearKernel::Rows(5));
        assert_eq!(linear([1, 49], 256), LinearKernel::Gemm);
        assert_eq!(linear([1, 49], 255), LinearKernel::Rows(7));
        assert_eq!(linear([1, 9], 6), LinearKernel::Rows(5));
    }

    #[test]
    fn a_batch_does_not_change_the_kernel_of_a_linear_layer() {
        assert_eq!(linear([80, 1], 2916), LinearKernel::Rows(8));
        assert_eq!(linear([16, 49], 256), LinearKernel::Gemm);
        assert_eq!(linear([16, 4], 256), LinearKernel::Rows(8));
    }

    #[test]
    fn long_rows_are_shared() {
        let [software, hardware] = [AdapterClass::Software, AdapterClass::Hardware].map(Target::baseline);
        assert_eq!(row(&software, 3 * 2917), RowKernel::Serial);
        assert_eq!(row(&software, 196 * 512), RowKernel::Workgroup);
        assert_eq!(row(&hardware, 10), RowKernel::Workgroup);
        let shared = Target { subgroup: 8, ..software };
        assert_eq!(row(&shared, 10), RowKernel::Subgroup);
        assert_eq!(row(&shared, 196 * 512), RowKernel::Subgroup);
        assert_eq!(row(&shared, 1 << 20), RowKernel::Workgroup);
    }

    #[test]
    fn row_blocks_are_even() {
        assert_eq!([0, 1, 5, 8, 9, 10, 16, 17, 40].map(row_block), [1, 1, 5, 8, 5, 5, 8, 6, 8]);
    }
}
