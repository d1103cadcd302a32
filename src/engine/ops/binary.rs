//! Arithmetic on two tensors.

use super::axes::{Axes, FOURS_VARIANTS};
use crate::engine::graph::{DType, Data, Graph, GraphError, Shape, Tensor, TensorId};
use crate::engine::ops::{Activation, Infer, Operand, Operands, Operation, exactly};
use crate::engine::plan::{Dispatch, Kernel, Lowering, Shader, params};
use crate::engine::reference;
use crate::engine::reference::positions::row_major;

/// What a [`Binary`] operation does with two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryKind {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`
    Div,
    /// The larger value; NaN where either is NaN.
    Max,
    /// The smaller value; NaN where either is NaN.
    Min,
}

impl BinaryKind {
    /// The number by which the shader knows it.
    fn code(self) -> u32 {
        match self {
            Self::Add => 0,
            Self::Sub => 1,
            Self::Mul => 2,
            Self::Div => 3,
            Self::Max => 4,
            Self::Min => 5,
        }
    }
}

/// `activation(a kind b)`, element by element.
///
/// Shapes are broadcast as NumPy's: they are aligned at their innermost axes, where one is shorter it counts as filled up with ones
/// in front, and an axis of size 1 is repeated along the other's. `[N, H, W, C]` goes with `[N, H, W, C]`, `[C]`, `[N, 1, 1, C]`,
/// `[H, W, 1]` and `[1]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binary {
    /// What is done with two values.
    pub kind: BinaryKind,
    /// Applied to the result: identity, relu or relu6.
    pub activation: Activation,
}

impl From<BinaryKind> for Binary {
    fn from(kind: BinaryKind) -> Binary {
        Binary { kind, activation: Activation::Identity }
    }
}

params! {
    count: usize, kind: u32, low: f32, high: f32, inner: usize,
    size0: usize, size1: usize, size2: usize, size3: usize, size4: usize,
    a0: usize, a1: usize, a2: usize, a3: usize, a4: usize, a_outer: usize,
    b0: usize, b1: usize, b2: usize, b3: usize, b4: usize, b_outer: usize,
}

pub(super) const SHADER: Shader = Shader {
    name: "binary",
    source: include_str!("../../../shaders/binary.wgsl"),
    params: Params::FIELDS,
    variants: FOURS_VARIANTS,
};

/// The shape of two tensors' combination; `None` where they do not go together.
fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let size =
        |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis]);
    let sizes = (0..rank).map(|axis| match (size(a, axis), size(b, axis)) {
        (a, b) if a == b || b == 1 => Some(a),
        (1, b) => Some(b),
        _ => None,
    });
    sizes.collect()
}

/// The steps of an operand along the axes of a result: 0 along those that it is repeated along.
fn steps(operand: &[usize], rank: usize) -> Vec<usize> {
    let own = operand.iter().zip(row_major(operand)).map(|(&size, step)| if size == 1 { 0 } else { step });
    std::iter::repeat_n(0, rank - operand.len()).chain(own).collect()
}

impl Operation for Binary {
    fn name(&self) -> &'static str {
        "binary"
    }

    fn operands(&self) -> Operands<'_> {
        Operands::exactly(const { &[Operand::f32("a"), Operand::f32("b")] })
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        self.activation.fusible()?;
        let [a, b] = exactly(inputs)?;
        let shape = broadcast(&a.shape, &b.shape).ok_or_else(|| {
            format!(
                "expected sizes that are equal or 1, from the innermost axis on, found {} and {}",
                a.shape, b.shape
            )
        })?;
        Ok(vec![(shape.into(), DType::F32)])
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], outputs: &[&Tensor]) -> Vec<Data> {
        let [a, b] = [0, 1].map(|i| (inputs[i].1.f32(), &*inputs[i].0.shape));
        vec![Data::F32(reference::binary::binary(*self, a, b, &outputs[0].shape))]
    }

    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        let shape: &Shape = &node.outputs[0].shape;
        let [a, b] = [0, 1].map(|i| steps(&node.inputs[i].shape, shape.len()));
        let axes = shape.iter().zip(a.iter().zip(&b)).map(|(&size, (&a, &b))| (size, [a, b]));
        let Axes { inner, sizes, steps, outer, width, defines } = Axes::new(axes, [0; 2])?;
        let [size0, size1, size2, size3, size4] = sizes;
        let [[a0, a1, a2, a3, a4], [b0, b1, b2, b3, b4]] = steps;
        let [a_outer, b_outer] = outer;
        let [low, high] = self.activation.clamp();
        let (count, kind) = (shape.elements() / width, self.kind.code());
        let params = Params {
            count,
            kind,
            low,
            high,
            inner,
            size0,
            size1,
            size2,
            size3,
            size4,
            a0,
            a1,
            a2,
            a3,
            a4,
            a_outer,
            b0,
            b1,
            b2,
            b3,
            b4,
            b_outer,
        };
        let kernel = Kernel::new(&SHADER, defines, Vec::new());
        Ok(node.flat(kernel, vec![node.input(0), node.input(1), node.output(0)], params.words(), count))
    }

    fn flops(&self, node: &Lowering<'_>) -> u64 {
        node.outputs[0].shape.elements() as u64
    }
}

/// Declares the builder method of each kind.
macro_rules! methods {
    ($($name:ident: $kind:ident, $doc:literal;)+) => {
        impl Graph {
            $(
                #[doc = $doc]
                ///
                /// Shapes are broadcast as [`Binary`] says; the result has the larger size of each axis.
                ///
                /// # Errors
                /// Two sizes differ and neither is 1.
                pub fn $name(&mut self, name: &str, a: TensorId, b: TensorId) -> Result<TensorId, GraphError> {
                    self.append(name, Binary::from(BinaryKind::$kind), vec![a, b])
                }
            )+
        }
    };
}

methods! {
    add: Add, "Appends a [`Binary`] node: `a + b`.";
    sub: Sub, "Appends a [`Binary`] node: `a - b`.";
    mul: Mul, "Appends a [`Binary`] node: `a * b`.";
    div: Div, "Appends a [`Binary`] node: `a / b`.";
    max: Max, "Appends a [`Binary`] node: the larger of `a` and `b`, or NaN where either is NaN.";
    min: Min, "Appends a [`Binary`] node: the smaller of `a` and `b`, or NaN where either is NaN.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_broadcast_as_in_numpy() {
        let both = |a: &[usize], b: &[usize]| {
            let shape = broadcast(a, b);
            assert_eq!(shape, broadcast(b, a));
            shape
        };
        assert_eq!(both(&[2, 5, 6, 3], &[3]), Some(vec![2, 5, 6, 3]));
        assert_eq!(both(&[2, 1, 6, 1], &[5, 1, 3]), Some(vec![2, 5, 6, 3]));
        assert_eq!(both(&[4], &[]), Some(vec![4]));
        assert_eq!(both(&[1], &[1, 1]), Some(vec![1, 1]));
        assert_eq!(both(&[2, 3], &[2]), None);
        assert_eq!(steps(&[5, 1, 3], 4), [0, 3, 0, 1]);
    }
}
