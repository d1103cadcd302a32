//! Layouts of weights: PyTorch's order in, the order in which a kernel walks through memory out.

use crate::engine::ops::conv2d::winograd::Winograd;
use std::borrow::Cow;

/// What the rows and columns of a weight are for a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Order {
    /// As it is, padded at the end to a multiple of four values.
    Flat,
    /// `[O, I, KH, KW]`: a row for each tap and, inside it, input channel; columns are output channels.
    Taps,
    /// `[I, O, KH, KW]`, of a transposed convolution: the same rows and columns.
    TransposedTaps,
    /// `[O, I]`: a row for each input; columns are outputs.
    Inputs,
    /// `[G H, I]`, gate by gate: a row for each input; four columns for each unit, of which its gates take these.
    Gates(&'static [usize]),
    /// Not the weight: the factor of each of its outermost slices, padded as flat ones are.
    Scale,
    /// `[O, I, 3, 3]`, transformed: a row for each product and, inside it, input channel; columns are output channels.
    Winograd(Winograd),
}

/// How the rows of a workgroup's columns lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Block {
    /// Four columns at a time, as a `vec4`, for this number of lanes: `[rows, lanes, 4]`.
    Columns(u32),
    /// Four rows of 32 columns at a time, of which a lane has four neighbouring ones and reads two at a time:
    /// `[rows / 4, 2, 8 lanes, 2, 4 rows]`. Rows are a multiple of four.
    Mat4,
    /// The same for 16-bit floats, of which a lane reads twice as many at a time: `[rows / 4, 8 lanes, 4, 4 rows]`.
    HalfMat4,
}

impl Block {
    /// For weights of 16-bit or of 32-bit floats.
    pub(crate) fn mat4(half: bool) -> Block {
        if half { Block::HalfMat4 } else { Block::Mat4 }
    }

    /// Where four rows of a column lie among those of all columns of its block.
    fn start(self, column: usize) -> usize {
        let (lane, part) = (column / 4, column % 4);
        match self {
            Block::Mat4 => ((part / 2 * 8 + lane) * 2 + part % 2) * 4,
            Block::Columns(_) | Block::HalfMat4 => column * 4,
        }
    }

    /// Columns of a block.
    pub(crate) fn columns(self) -> usize {
        match self {
            Block::Columns(lanes) => 4 * lanes as usize,
            Block::Mat4 | Block::HalfMat4 => 32,
        }
    }
}

/// How a weight is laid out for a kernel.
///
/// A workgroup walks down all rows of its columns, so those lie in one piece. What lies beyond the last column is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Packing {
    order: Order,
    block: Block,
}

impl Packing {
    /// As it is, padded at the end to a multiple of four values.
    pub const FLAT: Packing = Packing { order: Order::Flat, block: Block::Columns(1) };

    /// The factors of a weight's outermost slices, for kernels that multiply sums rather than weights.
    pub(crate) const SCALE: Packing = Packing { order: Order::Scale, block: Block::Columns(1) };

    /// Whether the factors are packed, not the weight.
    pub(crate) fn is_scale(self) -> bool {
        self == Self::SCALE
    }

    /// A convolution's weight `[O, I, KH, KW]`.
    pub(crate) const fn taps(block: Block) -> Packing {
        Packing { order: Order::Taps, block }
    }

    /// A transposed convolution's weight `[I, O, KH, KW]`.
    pub(crate) const fn transposed_taps(block: Block) -> Packing {
        Packing { order: Order::TransposedTaps, block }
    }

    /// A linear layer's weight `[O, I]`.
    pub(crate) const fn inputs(block: Block) -> Packing {
        Packing { order: Order::Inputs, block }
    }

    /// An LSTM's weight `[4 H, I]`, gates i, f, g, o.
    pub(crate) const fn gates(block: Block) -> Packing {
        Packing { order: Order::Gates(&[0, 1, 2, 3]), block }
    }

    /// A GRU's weight of the inputs `[3 H, I]`, gates r, z, n. With that of the state the four columns of a unit are r, z, the inputs'
    /// part of n, and the state's.
    pub(crate) const fn input_gates(block: Block) -> Packing {
        Packing { order: Order::Gates(&[0, 1, 2]), block }
    }

    /// A GRU's weight of the state `[3 H, H]`.
    pub(crate) const fn state_gates(block: Block) -> Packing {
        Packing { order: Order::Gates(&[0, 1, 3]), block }
    }

    /// A convolution's weight `[O, I, 3, 3]`, transformed.
    pub(crate) const fn winograd(winograd: Winograd, block: Block) -> Packing {
        Packing { order: Order::Winograd(winograd), block }
    }

    /// Rows and columns of a weight of this shape; `None` for one that stays flat.
    fn matrix(self, shape: &[usize]) -> Option<[usize; 2]> {
        match (self.order, shape) {
            (Order::Taps, &[outputs, inputs, height, width]) => Some([inputs * height * width, outputs]),
            (Order::TransposedTaps, &[inputs, outputs, height, width]) => {
                Some([inputs * height * width, outputs])
            }
            (Order::Inputs, &[outputs, inputs]) => Some([inputs, outputs]),
            (Order::Gates(gates), &[outputs, inputs]) => Some([inputs, outputs / gates.len() * 4]),
            (Order::Winograd(winograd), &[outputs, inputs, 3, 3]) => {
                Some([winograd.side().pow(2) * inputs, outputs])
            }
            _ => None,
        }
    }

    /// The number of values after packing a weight of this shape.
    pub fn len(self, shape: &[usize]) -> usize {
        match self.matrix(shape) {
            Some([rows, columns]) => rows * columns.next_multiple_of(self.block.columns()),
            None if self.is_scale() => shape.first().copied().unwrap_or(1).next_multiple_of(4),
            None => shape.iter().product::<usize>().next_multiple_of(4),
        }
    }

    /// How many of a weight's outermost slices make a part of at most `values` values, or little more, that can be
    /// packed on its own: packed parts follow each other.
    pub(crate) fn slices(self, shape: &[usize], values: usize) -> usize {
        match (self.order, self.matrix(shape)) {
            (Order::Taps | Order::Inputs | Order::Winograd(_), Some([rows, _])) => {
                let block = self.block.columns();
                (values / rows.max(1) / block * block).max(block)
            }
            _ => shape.first().copied().unwrap_or(1),
        }
    }

    /// Reorders the values of a weight of this shape.
    pub fn pack(self, shape: &[usize], values: &[f32]) -> Vec<f32> {
        let mut packed = vec![0.0; self.len(shape)];
        let Some([rows, columns]) = self.matrix(shape) else {
            packed[..values.len()].copy_from_slice(values);
            return packed;
        };
        let taps = shape[2..].iter().product::<usize>();
        // A column that no line of the weight takes is of zeros.
        let zeros = vec![0.0; rows];
        let mut lines: Vec<Cow<'_, [f32]>> = vec![Cow::Borrowed(&zeros); columns];
        if self.order == Order::TransposedTaps {
            for (output, line) in lines.iter_mut().enumerate() {
                let tap = |tap| values.iter().skip(output * taps + tap).step_by(columns * taps).copied();
                *line = (0..taps).flat_map(tap).collect();
            }
            return self.fill(packed, rows, &lines);
        }
        for (output, line) in values.chunks_exact((shape[1] * taps).max(1)).enumerate() {
            let column = match self.order {
                // Gate-major to unit-major.
                Order::Gates(gates) => output % (columns / 4) * 4 + gates[output / (columns / 4)],
                _ => output,
            };
            lines[column] = match self.order {
                Order::Winograd(winograd) => winograd.filters(line).into(),
                // Within a filter taps vary fastest; the kernel wants channels to.
                Order::Taps if taps > 1 => {
                    (0..taps).flat_map(|tap| line.iter().skip(tap).step_by(taps).copied()).collect()
                }
                _ => Cow::Borrowed(line),
            };
        }
        self.fill(packed, rows, &lines)
    }

    /// Writes the lines of all columns, block by block.
    fn fill(self, mut packed: Vec<f32>, rows: usize, lines: &[Cow<'_, [f32]>]) -> Vec<f32> {
        let width = self.block.columns();
        // Rows outside and columns inside: what is written lies in one piece, and the processor's cache is large enough
        // for a piece of each line that is read.
        let blocks = packed.chunks_exact_mut((rows * width).max(1)).zip(lines.chunks(width));
        for (block, lines) in blocks {
            match self.block {
                Block::Columns(_) => {
                    for (row, values) in block.chunks_exact_mut(width).enumerate() {
                        for (value, line) in values.iter_mut().zip(lines) {
                            *value = line[row];
                        }
                    }
                }
                Block::Mat4 | Block::HalfMat4 => {
                    for (quad, values) in block.chunks_exact_mut(4 * width).enumerate() {
                        for (column, line) in lines.iter().enumerate() {
                            let start = self.block.start(column);
                            values[start..start + 4].copy_from_slice(&line[4 * quad..4 * quad + 4]);
                        }
                    }
                }
            }
        }
        packed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(n: usize) -> Vec<f32> {
        (0..n).map(|i| i as f32).collect()
    }

    #[test]
    fn taps_come_first_and_outputs_are_padded() {
        // Two filters of three channels and 1x2 taps.
        let packed = Packing::taps(Block::Columns(1)).pack(&[2, 3, 1, 2], &counting(12));
        assert_eq!(packed.len(), 2 * 3 * 4);
        assert_eq!(packed[..8], [0.0, 6.0, 0.0, 0.0, 2.0, 8.0, 0.0, 0.0]);
        assert_eq!(packed[12..16], [1.0, 7.0, 0.0, 0.0]);
    }

    #[test]
    fn transposed_convolutions_have_the_same_layout() {
        // Three channels, two filters and 1x2 taps: as above with the first two axes exchanged.
        let values = [0.0, 1.0, 6.0, 7.0, 2.0, 3.0, 8.0, 9.0, 4.0, 5.0, 10.0, 11.0];
        for block in [Block::Columns(1), Block::Columns(2)] {
            let packing = Packing::transposed_taps(block);
            let packed = packing.pack(&[3, 2, 1, 2], &values);
            assert_eq!(packed, Packing::taps(block).pack(&[2, 3, 1, 2], &counting(12)));
            assert_eq!(packing.slices(&[3, 2, 1, 2], 1), 3, "a single part");
        }
    }

    #[test]
    fn matrices_are_transposed() {
        let packed = Packing::inputs(Block::Columns(1)).pack(&[3, 2], &counting(6));
        assert_eq!(packed, [0.0, 2.0, 4.0, 0.0, 1.0, 3.0, 5.0, 0.0]);
    }

    #[test]
    fn columns_of_a_workgroup_lie_together() {
        // Twelve outputs, two inputs, two lanes: a block of eight outputs, then one of four and four of padding.
        let packed = Packing::inputs(Block::Columns(2)).pack(&[12, 2], &counting(24));
        assert_eq!(packed.len(), 32);
        assert_eq!(packed[..8], [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0]);
        assert_eq!(packed[8..16], [1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0]);
        assert_eq!(packed[16..24], [16.0, 18.0, 20.0, 22.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn parts_follow_each_other() {
        let shape = [21, 3, 1, 2];
        for packing in [Packing::taps(Block::Columns(2)), Packing::gates(Block::Columns(1)), Packing::FLAT] {
            let shape =
                if packing == Packing::gates(Block::Columns(1)) { vec![24, 5] } else { shape.to_vec() };
            let values = counting(shape.iter().product());
            let slices = packing.slices(&shape, 50);
            let parts = values.chunks(slices * values.len() / shape[0]);
            let packed: Vec<f32> = parts
                .flat_map(|part| {
                    let mut shape = shape.clone();
                    shape[0] = part.len() / (values.len() / shape[0]);
                    packing.pack(&shape, part)
                })
                .collect();
            assert_eq!(packed, packing.pack(&shape, &values));
        }
        assert_eq!(Packing::taps(Block::Columns(2)).slices(&shape, 50), 8, "48 values");
        assert_eq!(Packing::taps(Block::Columns(2)).slices(&shape, 5), 8, "at least a block");
    }

    #[test]
    fn rows_come_in_fours() {
        // 33 outputs, eight inputs: a block of 32 outputs, then one of one and 31 of padding.
        let packed = Packing::inputs(Block::Mat4).pack(&[33, 8], &counting(33 * 8));
        assert_eq!(packed.len(), 64 * 8);
        assert_eq!(packed[..8], [0.0, 1.0, 2.0, 3.0, 8.0, 9.0, 10.0, 11.0]);
        assert_eq!(packed[8..12], [32.0, 33.0, 34.0, 35.0], "the second lane has the fifth output");
        assert_eq!(packed[64..68], [16.0, 17.0, 18.0, 19.0], "the third output");
        assert_eq!(packed[128..132], [4.0, 5.0, 6.0, 7.0], "the other four inputs of the first output");
        assert_eq!(packed[256..264], [256.0, 257.0, 258.0, 259.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn halves_of_a_lane_lie_together() {
        let packed = Packing::inputs(Block::HalfMat4).pack(&[8, 4], &counting(32));
        assert_eq!(packed[..32], counting(32));
        assert_eq!(packed[32..], [0.0; 96]);
    }

    #[test]
    fn products_come_before_inputs() {
        // A filter of ones has the sums of G's rows at the points: 1, 1.5, 0.5, 1.
        let shape = [1, 2, 3, 3];
        let values: Vec<f32> = [1.0, 2.0].iter().flat_map(|&v| [v; 9]).collect();
        let packed = Packing::winograd(Winograd::F2, Block::Columns(1)).pack(&shape, &values);
        let first: Vec<f32> = packed.iter().step_by(4).copied().collect();
        assert_eq!(first[..8], [1.0, 2.0, 1.5, 3.0, 0.5, 1.0, 1.0, 2.0]);
        assert_eq!(first.len(), 32);
        assert_eq!(first[8..10], [1.5, 3.0]);
    }

    #[test]
    fn gates_of_a_unit_lie_together() {
        // Two units, one input: rows are i0 i1 f0 f1 g0 g1 o0 o1.
        let packed = Packing::gates(Block::Columns(2)).pack(&[8, 1], &counting(8));
        assert_eq!(packed, [0.0, 2.0, 4.0, 6.0, 1.0, 3.0, 5.0, 7.0]);
    }

    #[test]
    fn three_gates_leave_a_column_to_the_other_weight() {
        // Two units, one input: rows are r0 r1 z0 z1 n0 n1.
        let pack = |packing: Packing| packing.pack(&[6, 1], &counting(6));
        assert_eq!(pack(Packing::input_gates(Block::Columns(2))), [0.0, 2.0, 4.0, 0.0, 1.0, 3.0, 5.0, 0.0]);
        assert_eq!(pack(Packing::state_gates(Block::Columns(2))), [0.0, 2.0, 0.0, 4.0, 1.0, 3.0, 0.0, 5.0]);
    }

    #[test]
    fn flat_weights_end_at_a_whole_vector() {
        assert_eq!(Packing::FLAT.pack(&[5], &counting(5)), [0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0]);
    }
}
