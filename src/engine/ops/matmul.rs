//! Products of matrices, each of which may be computed.

use crate::engine::graph::{DType, Data, Graph, GraphError, Tensor, TensorId};
use crate::engine::ops::{Infer, Operand, Operands, Operation, exactly};
use crate::engine::plan::heuristics::{self, MatmulKernel};
use crate::engine::plan::{Dispatch, Kernel, KernelCandidates, Lowering, Shader, flat_grid, params};
use crate::engine::reference;

/// `op(a) op(b)` for every matrix of a batch, as `torch.matmul`, where `op` transposes the last two axes or does nothing.
///
/// Operands: `a [.., M, K]`, transposed `[.., K, M]`; `b [.., K, N]`, transposed `[.., N, K]`. The leading axes are the batch:
/// aligned at the last one, they are equal, or 1 or missing in one operand, whose matrices are then repeated.
/// Result: `[.., M, N]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Matmul {
    /// `a` is `[.., K, M]`.
    pub transpose_a: bool,
    /// `b` is `[.., N, K]`.
    pub transpose_b: bool,
}

params! {
    matrices: usize, rows: usize, depth: usize, columns: usize,
    a_row: usize, a_depth: usize, b_depth: usize, b_column: usize, middle: usize, inner: usize,
    a_outer: usize, a_middle: usize, a_inner: usize, b_outer: usize, b_middle: usize, b_inner: usize,
}

pub(super) const SHADER: Shader = Shader {
    name: "matmul",
    source: include_str!("../../../shaders/matmul.wgsl"),
    params: Params::FIELDS,
    variants: &[&[]],
};

pub(super) const TILED: Shader = Shader {
    name: "matmul_tiled",
    source: include_str!("../../../shaders/matmul_tiled.wgsl"),
    params: Params::FIELDS,
    variants: &[&[]],
};

/// Rows and columns that an invocation computes.
const BLOCK: usize = 4;
/// Rows and columns that a workgroup of `matmul_tiled` computes.
const TILE: usize = 64;

/// An axis of the batch, with the steps of both operands along it, in matrices: 0 where one repeats its matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Axis {
    size: usize,
    a: usize,
    b: usize,
}

impl Axis {
    const SINGLE: Axis = Axis { size: 1, a: 0, b: 0 };
}

/// The axes of the batch that both operands broadcast to, innermost first.
fn axes(a: &[usize], b: &[usize]) -> Option<Vec<Axis>> {
    let (mut a_step, mut b_step) = (1, 1);
    let mut axes = Vec::new();
    for at in 1..=a.len().max(b.len()) {
        let size = |sizes: &[usize]| sizes.len().checked_sub(at).map_or(1, |axis| sizes[axis]);
        let (a, b) = (size(a), size(b));
        if a != b && a != 1 && b != 1 {
            return None;
        }
        axes.push(Axis {
            size: a.max(b),
            a: if a == 1 { 0 } else { a_step },
            b: if b == 1 { 0 } else { b_step },
        });
        (a_step, b_step) = (a_step * a, b_step * b);
    }
    Some(axes)
}

/// The same batch in three axes, innermost first; `None` if it needs more. Neighbours along which both operands go on in
/// equal steps are one axis.
fn joined(axes: &[Axis]) -> Option<[Axis; 3]> {
    let mut joined: Vec<Axis> = Vec::new();
    for axis in axes.iter().filter(|axis| axis.size > 1) {
        match joined.last_mut() {
            Some(last) if [axis.a, axis.b] == [last.a * last.size, last.b * last.size] => {
                last.size *= axis.size;
            }
            _ => joined.push(*axis),
        }
    }
    let used = joined.len();
    joined.resize(used.max(3), Axis::SINGLE);
    joined.try_into().ok()
}

/// The leading axes of an operand and its matrix; checked by `infer`.
fn split(shape: &[usize]) -> (&[usize], [usize; 2]) {
    shape.split_last_chunk::<2>().map_or((&[], [0; 2]), |(batch, &matrix)| (batch, matrix))
}

impl Matmul {
    /// `[M, K]` and `[K, N]` of matrices that lie as the operands do.
    pub(crate) fn sizes(&self, a: [usize; 2], b: [usize; 2]) -> ([usize; 2], [usize; 2]) {
        let turned = |[rows, columns]: [usize; 2], transposed| match transposed {
            false => [rows, columns],
            true => [columns, rows],
        };
        (turned(a, self.transpose_a), turned(b, self.transpose_b))
    }

    /// The shape as a key for tuning. It leaves out the rows, which may be a batch.
    fn key(&self, [depth, columns]: [usize; 2]) -> String {
        let letter = |transposed| if transposed { 't' } else { 'n' };
        format!("matmul {depth}>{columns} {}{}", letter(self.transpose_a), letter(self.transpose_b))
    }

    fn shape(&self, node: &Lowering<'_>) -> [usize; 2] {
        let [a, b] = [0, 1].map(|i| split(&node.inputs[i].shape).1);
        self.sizes(a, b).1
    }
}

impl Operation for Matmul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn operands(&self) -> Operands<'_> {
        Operands::exactly(const { &[Operand::f32("a"), Operand::f32("b")] })
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        let [a, b] = exactly(inputs)?;
        if a.shape.len() < 2 || b.shape.len() < 2 {
            return Err(format!("expected matrices of at least two axes, found {} and {}", a.shape, b.shape));
        }
        let ((a_batch, a_size), (b_batch, b_size)) = (split(&a.shape), split(&b.shape));
        let ([rows, depth], [b_depth, columns]) = self.sizes(a_size, b_size);
        if depth != b_depth {
            return Err(format!(
                "expected as many columns of `a` as rows of `b`, found {rows}x{depth} times {b_depth}x{columns} in {} and {}",
                a.shape, b.shape
            ));
        }
        let Some(axes) = axes(a_batch, b_batch) else {
            return Err(format!(
                "expected leading axes that are equal or 1, found {} and {}",
                a.shape, b.shape
            ));
        };
        if joined(&axes).is_none() {
            return Err(format!(
                "expected a batch of at most three runs of axes that are repeated in one operand, found {} and {}: \
                 multiply in parts",
                a.shape, b.shape
            ));
        }
        let batch = axes.iter().rev().map(|axis| axis.size);
        Ok(vec![(batch.chain([rows, columns]).collect::<Vec<_>>().into(), DType::F32)])
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], outputs: &[&Tensor]) -> Vec<Data> {
        let data = [0, 1].map(|i| inputs[i].1.f32());
        let shapes = [0, 1].map(|i| &inputs[i].0.shape[..]);
        let (batch, _) = split(&outputs[0].shape);
        vec![Data::F32(reference::matmul::matmul(data, shapes, batch, self))]
    }

    fn candidates(&self, node: &Lowering<'_>) -> Option<KernelCandidates> {
        let shape @ [depth, _] = self.shape(node);
        let key = self.key(shape);
        Some(KernelCandidates::new(&key, &heuristics::matmul_candidates(depth, node.target)))
    }

    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        let ((a_batch, a_size), (b_batch, b_size)) =
            (split(&node.inputs[0].shape), split(&node.inputs[1].shape));
        let ([rows, depth], [_, columns]) = self.sizes(a_size, b_size);
        let [inner, middle, outer] = axes(a_batch, b_batch)
            .and_then(|axes| joined(&axes))
            .ok_or_else(|| format!("no batch of {} and {}", node.inputs[0].shape, node.inputs[1].shape))?;
        let steps = |width: usize, transposed| if transposed { [1, width] } else { [width, 1] };
        let [a_row, a_depth] = steps(a_size[1], self.transpose_a);
        let [b_depth, b_column] = steps(b_size[1], self.transpose_b);
        let [a_matrix, b_matrix] = [rows * depth, depth * columns];
        let params = Params {
            matrices: inner.size * middle.size * outer.size,
            rows,
            depth,
            columns,
            a_row,
            a_depth,
            b_depth,
            b_column,
            middle: middle.size,
            inner: inner.size,
            a_outer: outer.a * a_matrix,
            a_middle: middle.a * a_matrix,
            a_inner: inner.a * a_matrix,
            b_outer: outer.b * b_matrix,
            b_middle: middle.b * b_matrix,
            b_inner: inner.b * b_matrix,
        };
        let candidates = heuristics::matmul_candidates(depth, node.target);
        let kernel = node.choices.pick(&self.key([depth, columns]), &candidates);
        let (shader, constants, tile) = match kernel {
            MatmulKernel::Lanes(lanes) => (&SHADER, vec![("LANES", lanes)], [BLOCK, BLOCK * lanes as usize]),
            MatmulKernel::Tiled => (&TILED, Vec::new(), [TILE, TILE]),
        };
        let tiles = params.matrices * rows.div_ceil(tile[0]) * columns.div_ceil(tile[1]);
        Ok(vec![Dispatch {
            kernel: Kernel::new(shader, &[], constants),
            bindings: vec![node.input(0), node.input(1), node.output(0)],
            params: params.words(),
            workgroups: flat_grid(tiles, node.target.max_workgroups),
        }])
    }

    fn flops(&self, node: &Lowering<'_>) -> u64 {
        2 * (node.outputs[0].shape.elements() * self.shape(node)[0]) as u64
    }
}

impl Graph {
    /// Appends a [`Matmul`] node: `a [.., M, K]` times `b [.., K, N]` is `[.., M, N]`, with each operand transposed where `matmul`
    /// says so.
    ///
    /// # Errors
    /// An operand has fewer than two axes, `K` differs, or the leading axes do not broadcast.
    pub fn matmul(
        &mut self,
        name: &str,
        a: TensorId,
        b: TensorId,
        matmul: Matmul,
    ) -> Result<TensorId, GraphError> {
        self.append(name, matmul, vec![a, b])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_in_step_are_one_axis() {
        let joined = |a: &[usize], b: &[usize]| axes(a, b).and_then(|axes| joined(&axes));
        let axis = |size, a, b| Axis { size, a, b };
        let single = Axis::SINGLE;
        assert_eq!(joined(&[], &[]), Some([single; 3]));
        assert_eq!(joined(&[2, 3, 4], &[2, 3, 4]), Some([axis(24, 1, 1), single, single]));
        assert_eq!(joined(&[2, 3, 4], &[]), Some([axis(24, 1, 0), single, single]));
        assert_eq!(joined(&[2, 1, 4], &[3, 1]), Some([axis(4, 1, 0), axis(3, 0, 1), axis(2, 4, 0)]));
        assert_eq!(joined(&[5, 2, 3], &[1, 3]), Some([axis(3, 1, 1), axis(10, 3, 0), single]));
        assert_eq!(joined(&[2, 1, 2, 1], &[1, 2, 1, 2]), None);
        assert_eq!(joined(&[2], &[3]), None);
    }
}
