//! Layouts of weights: PyTorch's order in, the order in which a kernel walks through memory out.

/// How a weight is laid out for a kernel. Columns marked `pad4` are filled with zeros to a multiple of four,
/// so that kernels may read them as `vec4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Packing {
    /// As it is, padded at the end to a multiple of four values.
    Flat,
    /// `[O, I, KH, KW]` to `[KH, KW, I, pad4(O)]`: lanes of neighbouring output channels read side by side.
    ConvTapsFirst,
    /// `[O, I]` to `[I, pad4(O)]`.
    Transposed,
    /// `[4 H, I]` (gates i, f, g, o) to `[I, H, 4]`: one `vec4` holds the four gates of a unit.
    LstmGates,
}

impl Packing {
    /// The number of values after packing a weight of this shape.
    pub fn len(self, shape: &[usize]) -> usize {
        let elements: usize = shape.iter().product();
        match (self, shape) {
            (Packing::ConvTapsFirst, &[o, ..]) | (Packing::Transposed, &[o, ..]) if o > 0 => {
                elements / o * o.next_multiple_of(4)
            }
            _ => elements.next_multiple_of(4),
        }
    }

    /// Reorders the values of a weight of this shape.
    pub fn pack(self, shape: &[usize], values: &[f32]) -> Vec<f32> {
        let mut packed = vec![0.0; self.len(shape)];
        match (self, shape) {
            (Packing::ConvTapsFirst, &[outputs, inputs, height, width]) => {
                let columns = outputs.next_multiple_of(4);
                let taps = height * width;
                for (o, filter) in values.chunks_exact(inputs * taps).enumerate() {
                    for (i, plane) in filter.chunks_exact(taps).enumerate() {
                        for (tap, &value) in plane.iter().enumerate() {
                            packed[(tap * inputs + i) * columns + o] = value;
                        }
                    }
                }
            }
            (Packing::Transposed, &[outputs, inputs]) => {
                let columns = outputs.next_multiple_of(4);
                for (o, row) in values.chunks_exact(inputs).enumerate() {
                    for (i, &value) in row.iter().enumerate() {
                        packed[i * columns + o] = value;
                    }
                }
            }
            (Packing::LstmGates, &[rows, inputs]) => {
                let hidden = rows / 4;
                for (row, line) in values.chunks_exact(inputs).enumerate() {
                    let (gate, unit) = (row / hidden, row % hidden);
                    for (i, &value) in line.iter().enumerate() {
                        packed[(i * hidden + unit) * 4 + gate] = value;
                    }
                }
            }
            _ => packed[..values.len()].copy_from_slice(values),
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
        let packed = Packing::ConvTapsFirst.pack(&[2, 3, 1, 2], &counting(12));
        assert_eq!(packed.len(), 2 * 3 * 4);
        assert_eq!(packed[..8], [0.0, 6.0, 0.0, 0.0, 2.0, 8.0, 0.0, 0.0]);
        assert_eq!(packed[12..16], [1.0, 7.0, 0.0, 0.0]);
    }

    #[test]
    fn matrices_are_transposed() {
        let packed = Packing::Transposed.pack(&[3, 2], &counting(6));
        assert_eq!(packed, [0.0, 2.0, 4.0, 0.0, 1.0, 3.0, 5.0, 0.0]);
    }

    #[test]
    fn gates_of_a_unit_lie_together() {
        // Two units, one input: rows are i0 i1 f0 f1 g0 g1 o0 o1.
        let packed = Packing::LstmGates.pack(&[8, 1], &counting(8));
        assert_eq!(packed, [0.0, 2.0, 4.0, 6.0, 1.0, 3.0, 5.0, 7.0]);
    }

    #[test]
    fn flat_weights_end_at_a_whole_vector() {
        assert_eq!(Packing::Flat.pack(&[5], &counting(5)), [0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0]);
    }
}
