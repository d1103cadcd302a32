//! Shapes, element types and the tensors that the nodes of a graph read and write.

use super::{Constant, GraphError};
use std::fmt;
use std::ops::Deref;

/// The sizes of a tensor, outermost first: `[N, H, W, C]` for images, `[R, W]` for rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// The number of elements; `usize::MAX` where the product is larger.
    pub fn elements(&self) -> usize {
        self.0.iter().fold(1, |product, &size| product.saturating_mul(size))
    }

    /// The sizes as an array of known rank, or `None` if the rank differs.
    pub fn sizes<const RANK: usize>(&self) -> Option<[usize; RANK]> {
        self.0.as_slice().try_into().ok()
    }

    /// The innermost size (1 for a scalar).
    pub fn last(&self) -> usize {
        self.0.last().copied().unwrap_or(1)
    }

    /// The number of rows: of elements without the innermost axis.
    pub fn rows(&self) -> usize {
        self.elements().checked_div(self.last()).unwrap_or(0)
    }
}

impl<const RANK: usize> From<[usize; RANK]> for Shape {
    fn from(sizes: [usize; RANK]) -> Self {
        Shape(sizes.to_vec())
    }
}

impl From<Vec<usize>> for Shape {
    fn from(sizes: Vec<usize>) -> Self {
        Shape(sizes)
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes: Vec<String> = self.0.iter().map(usize::to_string).collect();
        write!(f, "[{}]", sizes.join(", "))
    }
}

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit floating point: activations and weights.
    F32,
    /// 32-bit unsigned integers: token ids and row indices.
    U32,
    /// Bytes: the pixels that enter the graph. Shaders read them four to a word.
    U8,
}

impl DType {
    /// Bytes per element.
    pub fn size(self) -> usize {
        match self {
            DType::F32 | DType::U32 => 4,
            DType::U8 => 1,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::U32 => "u32",
            DType::U8 => "u8",
        })
    }
}

/// The number of a tensor in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorId(pub(crate) usize);

/// A tensor of a graph: its name, shape and type, and its values if it is a constant.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// The name of the node or weight that it came from.
    pub name: String,
    /// Its sizes.
    pub shape: Shape,
    /// Its element type.
    pub dtype: DType,
    /// The values of a constant, in PyTorch's layout. `None` for inputs and computed tensors.
    pub constant: Option<Constant>,
    /// The tensor whose memory it is, if it is a view.
    pub(crate) view_of: Option<TensorId>,
}

impl Tensor {
    /// Bytes that the tensor takes, rounded up to whole words.
    pub fn bytes(&self) -> usize {
        (self.shape.elements() * self.dtype.size()).next_multiple_of(4)
    }
}

/// The larger of two values; NaN, which `f32::max` would drop, if one is NaN.
pub(crate) fn larger(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) }
}

/// Values of a tensor in main memory.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 32-bit unsigned integers.
    U32(Vec<u32>),
    /// Bytes.
    U8(Vec<u8>),
}

impl From<Vec<f32>> for Data {
    fn from(values: Vec<f32>) -> Data {
        Data::F32(values)
    }
}

impl From<Vec<u32>> for Data {
    fn from(values: Vec<u32>) -> Data {
        Data::U32(values)
    }
}

impl From<Vec<u8>> for Data {
    fn from(values: Vec<u8>) -> Data {
        Data::U8(values)
    }
}

impl Data {
    /// The element type.
    pub fn dtype(&self) -> DType {
        match self {
            Data::F32(_) => DType::F32,
            Data::U32(_) => DType::U32,
            Data::U8(_) => DType::U8,
        }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            Data::F32(v) => v.len(),
            Data::U32(v) => v.len(),
            Data::U8(v) => v.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values as floats; empty for other types.
    pub fn f32(&self) -> &[f32] {
        if let Data::F32(v) = self { v } else { &[] }
    }

    /// The values as unsigned integers; empty for other types.
    pub fn u32(&self) -> &[u32] {
        if let Data::U32(v) = self { v } else { &[] }
    }

    /// The values as bytes; empty for other types.
    pub fn u8(&self) -> &[u8] {
        if let Data::U8(v) = self { v } else { &[] }
    }

    /// The memory of the values.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Data::F32(v) => bytemuck::cast_slice(v),
            Data::U32(v) => bytemuck::cast_slice(v),
            Data::U8(v) => v,
        }
    }

    /// The greatest difference from `expected`, divided by the largest magnitude in `expected`. NaN if a difference is NaN; infinite if
    /// integers or the numbers of values differ.
    pub fn difference(&self, expected: &Data) -> f32 {
        let (Data::F32(found), Data::F32(expected)) = (self, expected) else {
            return if self == expected { 0.0 } else { f32::INFINITY };
        };
        if found.len() != expected.len() {
            return f32::INFINITY;
        }
        let largest = expected.iter().fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
        found.iter().zip(expected).map(|(a, b)| (a - b).abs() / largest).fold(0.0, larger)
    }

    /// Checks values against the declaration of the input `name`.
    ///
    /// # Errors
    /// Their type or number is another one.
    pub(crate) fn check(&self, name: &str, dtype: DType, shape: &Shape) -> Result<(), GraphError> {
        let count = shape.elements();
        if (dtype, count) == (self.dtype(), self.len()) {
            return Ok(());
        }
        let message = format!(
            "expected {dtype} {shape} ({count} values), found {} {} values",
            self.len(),
            self.dtype()
        );
        Err(GraphError { node: name.to_owned(), message })
    }

    /// The values at these positions.
    pub(crate) fn select(&self, positions: impl Iterator<Item = usize>) -> Data {
        match self {
            Data::F32(v) => Data::F32(positions.map(|at| v[at]).collect()),
            Data::U32(v) => Data::U32(positions.map(|at| v[at]).collect()),
            Data::U8(v) => Data::U8(positions.map(|at| v[at]).collect()),
        }
    }

    /// Values from little-endian bytes; bytes that make no whole element are dropped.
    pub(crate) fn from_bytes(dtype: DType, bytes: &[u8]) -> Data {
        match dtype {
            DType::F32 => Data::F32(bytemuck::pod_collect_to_vec(bytes)),
            DType::U32 => Data::U32(bytemuck::pod_collect_to_vec(bytes)),
            DType::U8 => Data::U8(bytes.to_vec()),
        }
    }
}

/// Checks the inputs of a run against their declarations: name, type and shape.
///
/// # Errors
/// Their number is another one, or the type or the number of values of one, which is named.
pub(crate) fn check_inputs<'a>(
    declared: impl ExactSizeIterator<Item = (&'a str, DType, &'a Shape)>,
    inputs: &[Data],
) -> Result<(), GraphError> {
    if declared.len() != inputs.len() {
        let message = format!("expected {} inputs, found {}", declared.len(), inputs.len());
        return Err(GraphError { node: "graph".to_owned(), message });
    }
    for ((name, dtype, shape), found) in declared.zip(inputs) {
        found.check(name, dtype, shape)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_count_by_the_largest_value() {
        let difference = |found: &[f32], expected: &[f32]| {
            Data::F32(found.to_vec()).difference(&Data::F32(expected.to_vec()))
        };
        assert_eq!(difference(&[1.0, -8.0], &[1.5, -8.0]), 0.0625);
        assert_eq!(difference(&[1.0], &[1.0, -8.0]), f32::INFINITY);
        assert!(difference(&[f32::NAN, 0.0], &[1.0, 0.0]).is_nan());
        assert!(difference(&[0.0, f32::NAN], &[1.0, 0.0]).is_nan());
    }

    #[test]
    fn ids_are_equal_or_infinitely_apart() {
        let ids = |id| Data::U32(vec![id]);
        assert_eq!(ids(3).difference(&ids(3)), 0.0);
        assert_eq!(ids(3).difference(&ids(4)), f32::INFINITY);
    }
}
