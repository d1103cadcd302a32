//! Types of elements in files, and how they become `f32`.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// The type of a tensor's elements in a file.
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

/// PyTorch's names, of storage classes and of element types, safetensors' type, and the name to show.
const NAMES: [(&str, &str, safetensors::Dtype, ElementType, &str); 10] = [
    ("DoubleStorage", "float64", safetensors::Dtype::F64, ElementType::F64, "f64"),
    ("FloatStorage", "float32", safetensors::Dtype::F32, ElementType::F32, "f32"),
    ("HalfStorage", "float16", safetensors::Dtype::F16, ElementType::F16, "f16"),
    ("BFloat16Storage", "bfloat16", safetensors::Dtype::BF16, ElementType::BF16, "bf16"),
    ("LongStorage", "int64", safetensors::Dtype::I64, ElementType::I64, "i64"),
    ("IntStorage", "int32", safetensors::Dtype::I32, ElementType::I32, "i32"),
    ("ShortStorage", "int16", safetensors::Dtype::I16, ElementType::I16, "i16"),
    ("CharStorage", "int8", safetensors::Dtype::I8, ElementType::I8, "i8"),
    ("ByteStorage", "uint8", safetensors::Dtype::U8, ElementType::U8, "u8"),
    ("BoolStorage", "bool", safetensors::Dtype::BOOL, ElementType::Bool, "bool"),
];

impl ElementType {
    /// The type of the class `torch.FloatStorage` and its like; `UntypedStorage` is bytes.
    pub(crate) fn of_storage(class: &str) -> Option<ElementType> {
        if class == "UntypedStorage" {
            return Some(ElementType::U8);
        }
        NAMES.iter().find(|n| n.0 == class).map(|n| n.3)
    }

    /// The type of `torch.float32` and its like.
    pub(crate) fn of_dtype(name: &str) -> Option<ElementType> {
        NAMES.iter().find(|n| n.1 == name).map(|n| n.3)
    }

    /// The type that safetensors gives the same meaning.
    pub(crate) fn of_safetensors(dtype: safetensors::Dtype) -> Option<ElementType> {
        NAMES.iter().find(|n| n.2 == dtype).map(|n| n.3)
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

    /// Appends little-endian elements as floats; larger integers lose their last digits, and bytes that make no whole
    /// element are dropped.
    pub(crate) fn decode(self, bytes: &[u8], values: &mut Vec<f32>) {
        fn each<const N: usize>(bytes: &[u8], values: &mut Vec<f32>, decode: impl Fn([u8; N]) -> f32) {
            values.extend(bytes.as_chunks::<N>().0.iter().map(|&element| decode(element)));
        }
        // Sixteen bits to thirty-two: with the processor's instructions where there are any.
        fn widen(bytes: &[u8], values: &mut Vec<f32>, convert: impl Fn(&[u16], &mut [f32])) {
            let mut words = [0; 1024];
            for piece in bytes.as_chunks::<2>().0.chunks(words.len()) {
                let start = values.len();
                for (word, &element) in words.iter_mut().zip(piece) {
                    *word = u16::from_le_bytes(element);
                }
                values.resize(start + piece.len(), 0.0);
                convert(&words[..piece.len()], &mut values[start..]);
            }
        }
        match self {
            ElementType::F64 => each(bytes, values, |b| f64::from_le_bytes(b) as f32),
            ElementType::F32 => each(bytes, values, f32::from_le_bytes),
            ElementType::F16 => widen(bytes, values, |words, to| {
                bytemuck::cast_slice::<u16, f16>(words).convert_to_f32_slice(to);
            }),
            ElementType::BF16 => widen(bytes, values, |words, to| {
                bytemuck::cast_slice::<u16, bf16>(words).convert_to_f32_slice(to);
            }),
            ElementType::I64 => each(bytes, values, |b| i64::from_le_bytes(b) as f32),
            ElementType::I32 => each(bytes, values, |b| i32::from_le_bytes(b) as f32),
            ElementType::I16 => each(bytes, values, |b| f32::from(i16::from_le_bytes(b))),
            ElementType::I8 => each(bytes, values, |[b]| f32::from(b.cast_signed())),
            ElementType::U8 => each(bytes, values, |[b]| f32::from(b)),
            ElementType::Bool => each(bytes, values, |[b]| f32::from(u8::from(b != 0))),
        }
    }
}

impl std::fmt::Display for ElementType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(NAMES.iter().find(|n| n.3 == *self).map_or("", |n| n.4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_decoded() {
        let one = |element: ElementType, bytes: &[u8]| {
            let mut values = Vec::new();
            element.decode(bytes, &mut values);
            values
        };
        assert_eq!(one(ElementType::F64, &(-2.5f64).to_le_bytes()), [-2.5]);
        assert_eq!(one(ElementType::F32, &0.1f32.to_le_bytes()), [0.1]);
        assert_eq!(one(ElementType::F16, &f16::from_f32(0.5).to_le_bytes()), [0.5]);
        assert_eq!(one(ElementType::BF16, &bf16::from_f32(-3.0).to_le_bytes()), [-3.0]);
        assert_eq!(one(ElementType::I64, &(-5i64).to_le_bytes()), [-5.0]);
        assert_eq!(one(ElementType::I32, &(-6i32).to_le_bytes()), [-6.0]);
        assert_eq!(one(ElementType::I16, &(-7i16).to_le_bytes()), [-7.0]);
        assert_eq!(one(ElementType::I8, &[0xF8]), [-8.0]);
        assert_eq!(one(ElementType::U8, &[200]), [200.0]);
        assert_eq!(one(ElementType::Bool, &[7]), [1.0]);
        // More than a piece, and a byte too many.
        let halves: Vec<u8> =
            (0..1500).flat_map(|n| f16::from_f32(n as f32).to_le_bytes()).chain([1]).collect();
        assert_eq!(one(ElementType::F16, &halves), (0..1500).map(|n| n as f32).collect::<Vec<_>>());
    }
}
