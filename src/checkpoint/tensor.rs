//! Tensors of a checkpoint: views of memory that several of them may share.

use super::CheckpointErrorKind;
use half::{bf16, f16};

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// 64-bit float.
    F64,
    /// 32-bit float.
    F32,
    /// 16-bit float.
    F16,
    /// 16-bit float with the exponent of a 32-bit one.
    BF16,
    /// 64-bit integer.
    I64,
    /// 32-bit integer.
    I32,
    /// 16-bit integer.
    I16,
    /// 8-bit integer.
    I8,
    /// Unsigned 8-bit integer.
    U8,
    /// Truth value.
    Bool,
}

/// PyTorch's names: of storage classes, of element types, and ours.
const NAMES: [(&str, &str, ElementType, &str); 10] = [
    ("DoubleStorage", "float64", ElementType::F64, "f64"),
    ("FloatStorage", "float32", ElementType::F32, "f32"),
    ("HalfStorage", "float16", ElementType::F16, "f16"),
    ("BFloat16Storage", "bfloat16", ElementType::BF16, "bf16"),
    ("LongStorage", "int64", ElementType::I64, "i64"),
    ("IntStorage", "int32", ElementType::I32, "i32"),
    ("ShortStorage", "int16", ElementType::I16, "i16"),
    ("CharStorage", "int8", ElementType::I8, "i8"),
    ("ByteStorage", "uint8", ElementType::U8, "u8"),
    ("BoolStorage", "bool", ElementType::Bool, "bool"),
];

impl ElementType {
    /// The type of the class `torch.FloatStorage` and its like; `UntypedStorage` is bytes.
    pub(super) fn of_storage(class: &str) -> Option<ElementType> {
        if class == "UntypedStorage" {
            return Some(ElementType::U8);
        }
        NAMES.iter().find(|n| n.0 == class).map(|n| n.2)
    }

    /// The type of `torch.float32` and its like.
    pub(super) fn of_dtype(name: &str) -> Option<ElementType> {
        NAMES.iter().find(|n| n.1 == name).map(|n| n.2)
    }

    /// The type that safetensors gives the same meaning.
    pub(super) fn of_safetensors(dtype: safetensors::Dtype) -> Option<ElementType> {
        use safetensors::Dtype;
        Some(match dtype {
            Dtype::F64 => ElementType::F64,
            Dtype::F32 => ElementType::F32,
            Dtype::F16 => ElementType::F16,
            Dtype::BF16 => ElementType::BF16,
            Dtype::I64 => ElementType::I64,
            Dtype::I32 => ElementType::I32,
            Dtype::I16 => ElementType::I16,
            Dtype::I8 => ElementType::I8,
            Dtype::U8 => ElementType::U8,
            Dtype::BOOL => ElementType::Bool,
            _ => return None,
        })
    }

    /// Bytes of an element.
    pub fn size(self) -> usize {
        match self {
            ElementType::F64 | ElementType::I64 => 8,
            ElementType::F32 | ElementType::I32 => 4,
            ElementType::F16 | ElementType::BF16 | ElementType::I16 => 2,
            ElementType::I8 | ElementType::U8 | ElementType::Bool => 1,
        }
    }

    /// A little-endian element as a float; larger integers lose their last digits.
    fn decode(self, b: &[u8]) -> f32 {
        let word = |n: usize| {
            let mut word = [0; 8];
            word[..n].copy_from_slice(&b[..n]);
            u64::from_le_bytes(word)
        };
        match self {
            ElementType::F64 => f64::from_bits(word(8)) as f32,
            ElementType::F32 => f32::from_bits(word(4) as u32),
            ElementType::F16 => f16::from_bits(word(2) as u16).to_f32(),
            ElementType::BF16 => bf16::from_bits(word(2) as u16).to_f32(),
            ElementType::I64 => word(8) as i64 as f32,
            ElementType::I32 => word(4) as i32 as f32,
            ElementType::I16 => f32::from(word(2) as i16),
            ElementType::I8 => f32::from(word(1) as i8),
            ElementType::U8 => f32::from(word(1) as u8),
            ElementType::Bool => f32::from(u8::from(word(1) != 0)),
        }
    }
}

impl std::fmt::Display for ElementType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(NAMES.iter().find(|n| n.2 == *self).map_or("", |n| n.3))
    }
}

/// Sizes, strides and place of a tensor, before they are checked against its memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    pub(super) shape: Vec<usize>,
    /// In elements.
    pub(super) strides: Vec<usize>,
    /// Of the first element, in elements.
    pub(super) offset: usize,
}

/// A tensor in the memory of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<'a> {
    bytes: &'a [u8],
    element: ElementType,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

impl<'a> Tensor<'a> {
    /// A view of `storage`, all of whose elements have to lie in it.
    pub(super) fn new(
        name: &str,
        storage: &'a [u8],
        element: ElementType,
        layout: Layout,
    ) -> Result<Tensor<'a>, CheckpointErrorKind> {
        let Layout { shape, strides, offset } = layout;
        let wrong = |message| CheckpointErrorKind::Tensor { name: name.to_owned(), message };
        if shape.len() != strides.len() || shape.len() > 16 {
            let message = format!("expected a stride for each size, found {shape:?} and {strides:?}");
            return Err(wrong(message));
        }
        let have = storage.len() / element.size();
        // The last element's place, plus one; nothing where a size is zero.
        let reach = if shape.contains(&0) {
            Some(0)
        } else {
            shape.iter().zip(&strides).try_fold(1usize, |sum, (size, stride)| {
                (size - 1).checked_mul(*stride).and_then(|span| sum.checked_add(span))
            })
        };
        // A stride of zero repeats elements: that must not be a way to ask for endless memory.
        let elements = shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
        let end = reach.and_then(|reach| offset.checked_add(reach)).filter(|&end| end <= have);
        match (end, elements) {
            (Some(end), Some(elements)) if elements <= have.max(1 << 20) => Ok(Tensor {
                bytes: &storage[offset.min(end) * element.size()..end * element.size()],
                element,
                shape,
                strides,
            }),
            _ => Err(wrong(format!(
                "shape {shape:?} with strides {strides:?} from element {offset} on does not fit into {have} elements of memory"
            ))),
        }
    }

    /// The type of its elements.
    pub fn element_type(&self) -> ElementType {
        self.element
    }

    /// Its sizes, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of its elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Calls `sink` with all values as `f32` in row-major order, a piece at a time.
    pub fn for_each_piece(&self, mut sink: impl FnMut(&[f32])) {
        const PIECE: usize = 1 << 16;
        let width = self.element.size();
        let mut piece = Vec::with_capacity(PIECE.min(self.elements()));
        let mut index = vec![0; self.shape.len()];
        let mut at = 0;
        for _ in 0..self.elements() {
            piece.push(self.element.decode(&self.bytes[at * width..]));
            if piece.len() == PIECE {
                sink(&piece);
                piece.clear();
            }
            // To the next index, the innermost first.
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                at += self.strides[axis];
                if index[axis] < self.shape[axis] {
                    break;
                }
                at -= index[axis] * self.strides[axis];
                index[axis] = 0;
            }
        }
        if !piece.is_empty() {
            sink(&piece);
        }
    }

    /// All values as `f32` in row-major order.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut values = Vec::with_capacity(self.elements());
        self.for_each_piece(|piece| values.extend_from_slice(piece));
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(
        bytes: &[u8],
        element: ElementType,
        shape: &[usize],
        strides: &[usize],
        offset: usize,
    ) -> Option<Vec<f32>> {
        let layout = Layout { shape: shape.to_vec(), strides: strides.to_vec(), offset };
        Tensor::new("t", bytes, element, layout).ok().map(|t| t.to_f32())
    }

    #[test]
    fn strides_and_offsets_choose_elements() {
        let bytes: Vec<u8> = (0..12).collect();
        let u8s = |shape: &[usize], strides: &[usize], offset| {
            view(&bytes, ElementType::U8, shape, strides, offset)
        };
        assert_eq!(u8s(&[2, 3], &[3, 1], 0).unwrap(), [0., 1., 2., 3., 4., 5.]);
        assert_eq!(u8s(&[3, 2], &[1, 3], 6).unwrap(), [6., 9., 7., 10., 8., 11.]);
        assert_eq!(u8s(&[2, 2], &[0, 2], 1).unwrap(), [1., 3., 1., 3.]);
        assert_eq!(u8s(&[], &[], 5).unwrap(), [5.]);
        assert_eq!(u8s(&[0, 7], &[7, 1], 12).unwrap(), Vec::<f32>::new());
    }

    #[test]
    fn what_lies_outside_is_refused() {
        let bytes = [0; 12];
        let fits = |shape: &[usize], strides: &[usize], offset| {
            view(&bytes, ElementType::I16, shape, strides, offset).is_some()
        };
        assert!(fits(&[6], &[1], 0));
        assert!(!fits(&[7], &[1], 0) && !fits(&[6], &[1], 1) && !fits(&[2], &[6], 0));
        assert!(!fits(&[2, usize::MAX], &[1, usize::MAX], 0));
        assert!(!fits(&[1], &[1], usize::MAX) && !fits(&[1], &[], 0) && !fits(&[0], &[1], 7));
        assert!(!fits(&[1 << 40], &[0], 0));
    }

    #[test]
    fn every_type_is_decoded() {
        let one = |element, bytes: &[u8]| view(bytes, element, &[1], &[1], 0).unwrap()[0];
        assert_eq!(one(ElementType::F64, &(-2.5f64).to_le_bytes()), -2.5);
        assert_eq!(one(ElementType::F32, &0.1f32.to_le_bytes()), 0.1);
        assert_eq!(one(ElementType::F16, &f16::from_f32(0.5).to_le_bytes()), 0.5);
        assert_eq!(one(ElementType::BF16, &bf16::from_f32(-3.0).to_le_bytes()), -3.0);
        assert_eq!(one(ElementType::I64, &(-5i64).to_le_bytes()), -5.0);
        assert_eq!(one(ElementType::I32, &(-6i32).to_le_bytes()), -6.0);
        assert_eq!(one(ElementType::I16, &(-7i16).to_le_bytes()), -7.0);
        assert_eq!(one(ElementType::I8, &[0xF8]), -8.0);
        assert_eq!(one(ElementType::U8, &[200]), 200.0);
        assert_eq!(one(ElementType::Bool, &[7]), 1.0);
    }
}
