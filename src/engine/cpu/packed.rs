//! Weights in the order in which products read them.

use super::memory::Block;
use super::vector::Instructions;
use super::workers::Workers;
use crate::engine::graph::Constant;
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::ops::Range;

/// How weights `[O, I / groups, ..]` are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Layout {
    /// Groups of outputs that read inputs of their own.
    pub(super) groups: usize,
    /// Values behind each input: those of a window.
    pub(super) taps: usize,
    pub(super) instructions: Instructions,
}

/// Packed weights: panels of columns, one behind the other. In a panel `vectors` vectors of columns stand side by side, for each tap and
/// each input of it. Columns that are missing in the last vector are zeros.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(super) panels: Vec<Panel>,
    /// Products of a column: taps times inputs.
    pub(super) depth: usize,
    /// Factors of the columns.
    pub(super) scale: Vec<f32>,
    instructions: Instructions,
    values: Values,
}

/// Columns that are computed together.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    pub(super) columns: Range<usize>,
    pub(super) group: usize,
    pub(super) vectors: usize,
    /// Floats of a row: those of all vectors.
    pub(super) width: usize,
    /// Where its values start.
    start: usize,
}

#[derive(Debug)]
enum Values {
    Floats(Block),
    /// Half the memory, where that is exact.
    Halves(Vec<f16>),
}

impl Packed {
    /// The weights of a panel for some of its products; `expanded` is for those of 16 bits.
    pub(super) fn rows<'a>(
        &'a self,
        panel: &Panel,
        depth: Range<usize>,
        expanded: &'a mut Block,
    ) -> &'a [f32] {
        let range = panel.start + depth.start * panel.width..panel.start + depth.end * panel.width;
        match &self.values {
            Values::Floats(values) => &values.floats()[range],
            Values::Halves(values) => {
                let expanded = expanded.first_floats(range.len());
                self.instructions.widen(&values[range], expanded);
                expanded
            }
        }
    }
}

/// Packs a constant with this many outputs.
pub(super) fn pack(constant: &Constant, outputs: usize, layout: Layout, workers: &Workers) -> Packed {
    let depth = constant.len() / outputs.max(1);
    let panels = panels(outputs, depth, layout);
    let len = panels.last().map_or(0, |panel| panel.start + depth * panel.width);
    let fill = |panel: &Panel, constant: &Constant, packed: &mut [f32]| {
        let values = constant.read_slices(panel.columns.clone(), outputs);
        let inputs = depth / layout.taps;
        for (column, values) in values.chunks_exact(depth).enumerate() {
            for (input, values) in values.chunks_exact(layout.taps).enumerate() {
                for (tap, value) in values.iter().enumerate() {
                    packed[(tap * inputs + input) * panel.width + column] = *value;
                }
            }
        }
    };
    let (values, scale) = if constant.is_compact() {
        let unscaled = constant.unscaled();
        let mut values = vec![f16::ZERO; len];
        workers.each(divided(&panels, depth, &mut values), |(panel, packed)| {
            let mut floats = vec![0.0; packed.len()];
            fill(panel, &unscaled, &mut floats);
            packed.convert_from_f32_slice(&floats);
        });
        (Values::Halves(values), constant.scale(outputs).into_owned())
    } else {
        let mut values = Block::new(len * size_of::<f32>());
        workers.each(divided(&panels, depth, values.floats_mut()), |(panel, packed)| {
            fill(panel, constant, packed)
        });
        (Values::Floats(values), vec![1.0; outputs])
    };
    Packed { panels, depth, scale, instructions: layout.instructions, values }
}

/// The columns of each group in panels of the greatest width, and a narrower one for the rest.
fn panels(outputs: usize, depth: usize, layout: Layout) -> Vec<Panel> {
    let Layout { groups, instructions, .. } = layout;
    let (lanes, each) = (instructions.lanes(), outputs / groups);
    let most = lanes * instructions.most_vectors();
    let mut panels = Vec::new();
    let mut start = 0;
    for group in 0..groups {
        for first in (0..each).step_by(most) {
            let count = most.min(each - first);
            let vectors = count.div_ceil(lanes);
            let columns = group * each + first..group * each + first + count;
            panels.push(Panel { columns, group, vectors, width: vectors * lanes, start });
            start += depth * vectors * lanes;
        }
    }
    panels
}

/// The part of each panel.
fn divided<'a, T>(
    panels: &'a [Panel],
    depth: usize,
    mut values: &'a mut [T],
) -> Vec<(&'a Panel, &'a mut [T])> {
    let mut parts = Vec::with_capacity(panels.len());
    for panel in panels {
        let (part, rest) = values.split_at_mut(depth * panel.width);
        parts.push((panel, part));
        values = rest;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random_value;

    #[test]
    fn panels_hold_the_weights_by_tap_and_input() {
        let (outputs, inputs, taps) = (2 * 37, 3, 4);
        let halves: Vec<f32> = (0..outputs * inputs * taps).map(|i| i as f32).collect();
        let floats: Vec<f32> = (0..outputs * inputs * taps).map(|i| random_value(1, i)).collect();
        let factors: Vec<f32> = (0..outputs).map(|i| i as f32 + 0.1).collect();
        for instructions in Instructions::all() {
            for (values, is_half) in [(&halves, true), (&floats, false)] {
                let constant = Constant::from(values.clone()).scaled(&factors);
                let layout = Layout { groups: 2, taps, instructions };
                let packed = pack(&constant, outputs, layout, &Workers::new(None));
                assert_eq!(matches!(packed.values, Values::Halves(_)), is_half);
                let mut expanded = Block::default();
                for panel in &packed.panels {
                    assert_eq!(panel.group, panel.columns.start / 37);
                    let rows = packed.rows(panel, 0..packed.depth, &mut expanded);
                    for (k, row) in rows.chunks_exact(panel.width).enumerate() {
                        for (column, found) in panel.columns.clone().zip(row) {
                            let expected = values[(column * inputs + k % inputs) * taps + k / inputs];
                            assert_eq!(found * packed.scale[column], expected * factors[column]);
                        }
                        assert!(row[panel.columns.len()..].iter().all(|&value| value == 0.0));
                    }
                }
                let columns: Vec<usize> = packed.panels.iter().flat_map(|p| p.columns.clone()).collect();
                assert_eq!(columns, (0..outputs).collect::<Vec<_>>());
            }
        }
    }
}
