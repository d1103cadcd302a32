//! Which kernel runs an operation: pure functions of plain numbers.
//!
//! Each gives its usual choice, and the others that could be timed against it, from the adapter's class and the shape. None
//! depends on the number of images: kernels round differently, and no result may depend on the batch that it travels in.

pub(crate) mod conv2d;

use super::{AdapterClass, Target, TuningTable};
use std::fmt;

/// Lanes of the subgroups that some shaders are written for.
const LANES: u32 = 8;

/// Iterations that an invocation may take on a software driver: Mesa 22 ends a shader's loops after 65,535 of them.
pub(crate) const MAX_ITERATIONS: usize = 60_000;

/// Whether shaders read 64 bits at a time, which costs as much as 32 where a CPU does it.
pub(crate) fn reads_64_bits(target: &Target) -> bool {
    target.class == AdapterClass::Software && target.int64
}

/// Whether rows of `width` values get the shader for subgroups that are one vector of a CPU, where reading from another lane
/// costs less than reading memory, and reading 64 bits as much as reading 32.
pub(crate) fn shares_lanes(target: &Target, width: usize) -> bool {
    reads_64_bits(target) && target.subgroup == LANES && width.is_multiple_of(4)
}

/// The largest block of rows of shaders that share what they read between rows.
pub(crate) const MAX_ROWS: usize = 8;

/// Whether a linear layer with `rows` rows for each item of a batch runs as a 1x1 convolution over them.
pub(crate) fn is_gemm(rows: usize, outputs: usize) -> bool {
    rows > MAX_ROWS && outputs.is_multiple_of(4)
}

/// Who works on four outputs of a matrix times few rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowsKernel {
    /// Subgroups that are vectors of a CPU.
    Subgroup,
    /// One invocation, in workgroups of this size.
    Lanes(u32),
    /// Slices of a workgroup that take turns along the inputs.
    Sliced,
}

impl fmt::Display for RowsKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RowsKernel::Subgroup => write!(f, "subgroup"),
            RowsKernel::Lanes(lanes) => write!(f, "lanes-{lanes}"),
            RowsKernel::Sliced => write!(f, "sliced"),
        }
    }
}

impl RowsKernel {
    /// How many vectors of four outputs a workgroup computes.
    pub(crate) fn lanes(self) -> u32 {
        match self {
            RowsKernel::Subgroup | RowsKernel::Sliced => LANES,
            RowsKernel::Lanes(lanes) => lanes,
        }
    }

    /// The largest block of rows that share each weight.
    pub(crate) fn max_rows(self) -> usize {
        match self {
            RowsKernel::Subgroup => 2 * MAX_ROWS,
            RowsKernel::Lanes(_) | RowsKernel::Sliced => MAX_ROWS,
        }
    }
}

/// A matrix times few rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowsShape {
    pub(crate) op: &'static str,
    /// Of the tensors that the inputs come from.
    pub(crate) widths: Vec<usize>,
    pub(crate) outputs: usize,
}

/// The shape as a key for [`TuningTable`].
impl fmt::Display for RowsShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<String> = self.widths.iter().map(ToString::to_string).collect();
        write!(f, "{} {}>{}", self.op, widths.join("+"), self.outputs)
    }
}

/// The kernels that can multiply a matrix by few rows, the usual one first.
pub(crate) fn rows_candidates(shape: &RowsShape, target: &Target) -> Vec<RowsKernel> {
    match target.class {
        AdapterClass::Software if shape.widths.iter().sum::<usize>() >= MAX_ITERATIONS => {
            vec![RowsKernel::Sliced]
        }
        AdapterClass::Software if shape.widths.iter().all(|&inputs| shares_lanes(target, inputs)) => {
            vec![RowsKernel::Subgroup, RowsKernel::Lanes(8), RowsKernel::Sliced]
        }
        AdapterClass::Software => vec![RowsKernel::Lanes(8), RowsKernel::Sliced],
        AdapterClass::Hardware => vec![RowsKernel::Sliced, RowsKernel::Lanes(64), RowsKernel::Lanes(8)],
    }
}

/// Chooses how a matrix is multiplied by few rows.
pub(crate) fn rows(shape: &RowsShape, target: &Target, choices: &TuningTable) -> RowsKernel {
    choices.pick(&shape.to_string(), &rows_candidates(shape, target))
}

/// The number of rows that share the weights read: all rows, or equal blocks of at most `most`.
pub(crate) fn row_block(rows: usize, most: usize) -> u32 {
    rows.max(1).div_ceil(rows.max(1).div_ceil(most)) as u32
}

/// Invocations along the output channels: one vector of lanes on a CPU, a full workgroup on a GPU.
pub(crate) fn lanes(class: AdapterClass) -> u32 {
    match class {
        AdapterClass::Software => 8,
        AdapterClass::Hardware => 64,
    }
}

/// Who computes the product of two matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MatmulKernel {
    /// Invocations that share nothing, in workgroups of this size along the columns.
    Lanes(u32),
    /// Workgroups that share tiles of both matrices.
    Tiled,
}

impl fmt::Display for MatmulKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MatmulKernel::Lanes(lanes) => write!(f, "lanes-{lanes}"),
            MatmulKernel::Tiled => write!(f, "tiled"),
        }
    }
}

/// All kernels for a product of matrices with `depth` terms a sum, the default first.
pub(crate) fn matmul_candidates(depth: usize, target: &Target) -> Vec<MatmulKernel> {
    let in_registers = MatmulKernel::Lanes(lanes(target.class));
    match target.class {
        AdapterClass::Software if depth < MAX_ITERATIONS => vec![in_registers, MatmulKernel::Tiled],
        AdapterClass::Software => vec![MatmulKernel::Tiled],
        AdapterClass::Hardware => vec![MatmulKernel::Tiled, in_registers],
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
    /// A workgroup whose subgroups reduce what they can before results meet.
    Subgroups,
}

/// Picks the row kernel from the iterations that one invocation would need.
/// Long rows are shared on software drivers too.
pub(crate) fn row(target: &Target, iterations: usize) -> RowKernel {
    let lanes = LANES as usize;
    match target.class {
        AdapterClass::Software if target.subgroup == LANES && iterations / lanes < MAX_ITERATIONS => {
            RowKernel::Subgroup
        }
        AdapterClass::Software if iterations < MAX_ITERATIONS => RowKernel::Serial,
        AdapterClass::Hardware if target.has_subgroups => RowKernel::Subgroups,
        _ => RowKernel::Workgroup,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_rows_get_the_kernel_of_their_adapter() {
        let usual = |class, subgroup, widths: &[usize]| {
            let target = Target { subgroup, int64: true, ..Target::baseline(class) };
            let shape = RowsShape { op: "linear", widths: widths.to_vec(), outputs: 7 };
            rows(&shape, &target, &TuningTable::default())
        };
        assert_eq!(usual(AdapterClass::Software, 8, &[512, 4]), RowsKernel::Subgroup);
        assert_eq!(usual(AdapterClass::Software, 8, &[512, 3]), RowsKernel::Lanes(8));
        assert_eq!(usual(AdapterClass::Software, 4, &[512]), RowsKernel::Lanes(8));
        assert_eq!(
            usual(AdapterClass::Software, 8, &[40_000, 30_000]),
            RowsKernel::Sliced,
            "too many iterations"
        );
        assert_eq!(usual(AdapterClass::Hardware, 8, &[512]), RowsKernel::Sliced);
    }

    #[test]
    fn keys_of_few_rows_name_all_widths() {
        let shape = RowsShape { op: "lstm_cell", widths: vec![256, 512], outputs: 512 };
        assert_eq!(shape.to_string(), "lstm_cell 256+512>512");
    }

    #[test]
    fn many_rows_are_pixels() {
        let table = [(1, 2917), (49, 256), (49, 255), (9, 6), (8, 256), (9, 256)];
        let found = table.map(|(rows, outputs)| is_gemm(rows, outputs));
        assert_eq!(found, [false, true, false, false, false, true]);
    }

    #[test]
    fn long_rows_are_shared() {
        let [software, hardware] = [AdapterClass::Software, AdapterClass::Hardware].map(Target::baseline);
        assert_eq!(row(&software, 3 * 2917), RowKernel::Serial);
        assert_eq!(row(&software, 196 * 512), RowKernel::Workgroup);
        assert_eq!(row(&hardware, 10), RowKernel::Workgroup);
        assert_eq!(row(&Target { has_subgroups: true, ..hardware }, 10), RowKernel::Subgroups);
        let shared = Target { subgroup: 8, ..software };
        assert_eq!(row(&shared, 10), RowKernel::Subgroup);
        assert_eq!(row(&shared, 196 * 512), RowKernel::Subgroup);
        assert_eq!(row(&shared, 1 << 20), RowKernel::Workgroup);
    }

    #[test]
    fn row_blocks_are_even() {
        let blocks = |most| [0, 1, 5, 8, 9, 10, 16, 17, 40].map(|rows| row_block(rows, most));
        assert_eq!(blocks(RowsKernel::Sliced.max_rows()), [1, 1, 5, 8, 5, 5, 8, 6, 8]);
        assert_eq!(blocks(RowsKernel::Subgroup.max_rows()), [1, 1, 5, 8, 9, 10, 16, 9, 14]);
    }
}
