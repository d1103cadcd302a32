//! Layouts of weights: PyTorch's order in, the order in which a kernel walks through memory out.

/// What the rows and columns of a weight are for a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Order {
    /// As it is, padded at the end to a multiple of four values.
    Flat,
    /// `[O, I, KH, KW]`: a row for each tap and, inside it, input channel; columns are output channels.
    Taps,
    /// `[O, I]`: a row for each input; columns are outputs.
    Inputs,
    /// `[4 H, I]` (gates i, f, g, o): a row for each input; four columns, the gates, for each unit.
    Gates,
}

/// How a weight is laid out for a kernel.
///
/// A kernel reads four columns at a time, as a `vec4`, and `lanes` neighbouring ones side by side. A workgroup walks
/// down all rows of its `4 * lanes` columns, so those lie in one piece: `[columns / 4 / lanes, rows, lanes, 4]`.
/// What lies beyond the last column is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Packing {
    order: Order,
    lanes: u32,
}

impl Packing {
    /// As it is, padded at the end to a multiple of four values.
    pub const FLAT: Packing = Packing { order: Order::Flat, lanes: 1 };

    /// A convolution's weight `[O, I, KH, KW]`, in blocks of `4 * lanes` output channels.
    pub const fn taps(lanes: u32) -> Packing {
        Packing { order: Order::Taps, lanes }
    }

    /// A linear layer's weight `[O, I]`, in blocks of `4 * lanes` outputs.
    pub const fn inputs(lanes: u32) -> Packing {
        Packing { order: Order::Inputs, lanes }
    }

    /// An LSTM's weight `[4 H, I]`, in blocks of `lanes` units.
    pub const fn gates(lanes: u32) -> Packing {
        Packing { order: Order::Gates, lanes }
    }

    /// Rows and columns of a weight of this shape; `None` for one that stays flat.
    fn matrix(self, shape: &[usize]) -> Option<[usize; 2]> {
        match (self.order, shape) {
            (Order::Taps, &[outputs, inputs, height, width]) => Some([inputs * height * width, outputs]),
            (Order::Inputs | Order::Gates, &[outputs, inputs]) => Some([inputs, outputs]),
            _ => None,
        }
    }

    /// The number of values after packing a weight of this shape.
    pub fn len(self, shape: &[usize]) -> usize {
        match self.matrix(shape) {
            Some([rows, columns]) => rows * columns.next_multiple_of(4 * self.lanes as usize),
            None => shape.iter().product::<usize>().next_multiple_of(4),
        }
    }

    /// How many of a weight's outermost slices make a part of at most `values` values, or little more, that can be
    /// packed on its own: packed parts follow each other.
    pub(crate) fn slices(self, shape: &[usize], values: usize) -> usize {
        match (self.order, self.matrix(shape)) {
            (Order::Taps | Order::Inputs, Some([rows, _])) => {
                let block = 4 * self.lanes as usize;
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
        let lanes = self.lanes as usize;
        let taps = shape[2..].iter().product::<usize>();
        for (output, line) in values.chunks_exact(rows.max(1)).enumerate() {
            let column = match self.order {
                // Gate-major to unit-major.
                Order::Gates => output % (columns / 4) * 4 + output / (columns / 4),
                _ => output,
            };
            let (vector, part) = (column / 4, column % 4);
            let (block, lane) = (vector / lanes, vector % lanes);
            for (input, &value) in line.iter().enumerate() {
                // Within a filter taps vary fastest; the kernel wants channels to.
                let row = input % taps * (rows / taps) + input / taps;
                packed[((block * rows + row) * lanes + lane) * 4 + part] = value;
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
        let packed = Packing::taps(1).pack(&[2, 3, 1, 2], &counting(12));
        assert_eq!(packed.len(), 2 * 3 * 4);
        assert_eq!(packed[..8], [0.0, 6.0, 0.0, 0.0, 2.0, 8.0, 0.0, 0.0]);
        assert_eq!(packed[12..16], [1.0, 7.0, 0.0, 0.0]);
    }

    #[test]
    fn matrices_are_transposed() {
        let packed = Packing::inputs(1).pack(&[3, 2], &counting(6));
        assert_eq!(packed, [0.0, 2.0, 4.0, 0.0, 1.0, 3.0, 5.0, 0.0]);
    }

    #[test]
    fn columns_of_a_workgroup_lie_together() {
        // Twelve outputs, two inputs, two lanes: a block of eight outputs, then one of four and four of padding.
        let packed = Packing::inputs(2).pack(&[12, 2], &counting(24));
        assert_eq!(packed.len(), 32);
        assert_eq!(packed[..8], [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0]);
        assert_eq!(packed[8..16], [1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0]);
        assert_eq!(packed[16..24], [16.0, 18.0, 20.0, 22.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn parts_follow_each_other() {
        let shape = [21, 3, 1, 2];
        for packing in [Packing::taps(2), Packing::gates(1), Packing::FLAT] {
            let shape = if packing == Packing::gates(1) { vec![24, 5] } else { shape.to_vec() };
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
        assert_eq!(Packing::taps(2).slices(&shape, 50), 8, "48 values");
        assert_eq!(Packing::taps(2).slices(&shape, 5), 8, "at least a block");
    }

    #[test]
    fn gates_of_a_unit_lie_together() {
        // Two units, one input: rows are i0 i1 f0 f1 g0 g1 o0 o1.
        let packed = Packing::gates(2).pack(&[8, 1], &counting(8));
        assert_eq!(packed, [0.0, 2.0, 4.0, 6.0, 1.0, 3.0, 5.0, 7.0]);
    }

    #[test]
    fn flat_weights_end_at_a_whole_vector() {
        assert_eq!(Packing::FLAT.pack(&[5], &counting(5)), [0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0]);
    }
}
