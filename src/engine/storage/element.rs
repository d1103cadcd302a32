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
    /// 8-bit float with a 4-bit exponent and no infinity (`float8_e4m3fn`; Micikevicius et al., arXiv 2209.05433).
    F8E4M3,
    /// 8-bit float with a 5-bit exponent (`float8_e5m2`): the upper half of a 16-bit float.
    F8E5M2,
    /// 64-bit integer.
    I64,
    /// 32-bit integer.
    I32,
    /// 16-bit integer.
    I16,
    /// 8-bit integer.
    I8,
    /// Unsigned 64-bit integer.
    U64,
    /// Unsigned 32-bit integer.
    U32,
    /// Unsigned 16-bit integer.
    U16,
    /// Unsigned 8-bit integer.
    U8,
    /// Truth value.
    Bool,
}

/// PyTorch's names, of storage classes (newer types have none) and of element types, safetensors' type, and the name to show.
const NAMES: [(&str, &str, safetensors::Dtype, ElementType, &str); 15] = [
    ("DoubleStorage", "float64", safetensors::Dtype::F64, ElementType::F64, "f64"),
    ("FloatStorage", "float32", safetensors::Dtype::F32, ElementType::F32, "f32"),
    ("HalfStorage", "float16", safetensors::Dtype::F16, ElementType::F16, "f16"),
    ("BFloat16Storage", "bfloat16", safetensors::Dtype::BF16, ElementType::BF16, "bf16"),
    ("", "float8_e4m3fn", safetensors::Dtype::F8_E4M3, ElementType::F8E4M3, "f8_e4m3"),
    ("", "float8_e5m2", safetensors::Dtype::F8_E5M2, ElementType::F8E5M2, "f8_e5m2"),
    ("LongStorage", "int64", safetensors::Dtype::I64, ElementType::I64, "i64"),
    ("IntStorage", "int32", safetensors::Dtype::I32, ElementType::I32, "i32"),
    ("ShortStorage", "int16", safetensors::Dtype::I16, ElementType::I16, "i16"),
    ("CharStorage", "int8", safetensors::Dtype::I8, ElementType::I8, "i8"),
    ("", "uint64", safetensors::Dtype::U64, ElementType::U64, "u64"),
    ("", "uint32", safetensors::Dtype::U32, ElementType::U32, "u32"),
    ("", "uint16", safetensors::Dtype::U16, ElementType::U16, "u16"),
    ("ByteStorage", "uint8", safetensors::Dtype::U8, ElementType::U8, "u8"),
    ("BoolStorage", "bool", safetensors::Dtype::BOOL, ElementType::Bool, "bool"),
];

impl ElementType {
    /// The type of the class `torch.FloatStorage` and its like; `UntypedStorage` is bytes.
    pub(crate) fn of_storage(class: &str) -> Option<ElementType> {
        if class == "UntypedStorage" {
            return Some(ElementType::U8);
        }
        NAMES.iter().find(|n| n.0 == class && !class.is_empty()).map(|n| n.3)
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
            ElementType::F64 | ElementType::I64 | ElementType::U64 => 8,
            ElementType::F32 | ElementType::I32 | ElementType::U32 => 4,
            ElementType::F16 | ElementType::BF16 | ElementType::I16 | ElementType::U16 => 2,
            ElementType::F8E4M3
            | ElementType::F8E5M2
            | ElementType::I8
            | ElementType::U8
            | ElementType::Bool => 1,
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
            ElementType::F8E4M3 => each(bytes, values, |[b]| e4m3(b)),
            ElementType::F8E5M2 => each(bytes, values, |[b]| f16::from_le_bytes([0, b]).to_f32()),
            ElementType::I64 => each(bytes, values, |b| i64::from_le_bytes(b) as f32),
            ElementType::I32 => each(bytes, values, |b| i32::from_le_bytes(b) as f32),
            ElementType::I16 => each(bytes, values, |b| f32::from(i16::from_le_bytes(b))),
            ElementType::I8 => each(bytes, values, |[b]| f32::from(b.cast_signed())),
            ElementType::U64 => each(bytes, values, |b| u64::from_le_bytes(b) as f32),
            ElementType::U32 => each(bytes, values, |b| u32::from_le_bytes(b) as f32),
            ElementType::U16 => each(bytes, values, |b| f32::from(u16::from_le_bytes(b))),
            ElementType::U8 => each(bytes, values, |[b]| f32::from(b)),
            ElementType::Bool => each(bytes, values, |[b]| f32::from(u8::from(b != 0))),
        }
    }
}

/// A sign bit, four bits of an exponent with bias 7, three bits of a fraction; all ones are NaN.
fn e4m3(byte: u8) -> f32 {
    let (exponent, fraction) = (i32::from(byte >> 3 & 15), f32::from(byte & 7) / 8.0);
    let size = match (exponent, byte & 7) {
        (15, 7) => f32::NAN,
        (0, _) => fraction * 2f32.powi(-6),
        _ => (1.0 + fraction) * 2f32.powi(exponent - 7),
    };
    if byte & 0x80 == 0 { size } else { -size }
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
        // The largest, the smallest normal, the smallest and a negative number of the two.
        assert_eq!(one(ElementType::F8E4M3, &[0x7E, 0x08, 0x01, 0xB8]), [448.0, 0.015625, 0.001953125, -1.0]);
        assert!(one(ElementType::F8E4M3, &[0x7F])[0].is_nan());
        assert_eq!(
            one(ElementType::F8E5M2, &[0x7B, 0x04, 0x01, 0xBC]),
            [57344.0, 2f32.powi(-14), 2f32.powi(-16), -1.0]
        );
        assert!(one(ElementType::F8E5M2, &[0x7C])[0].is_infinite());
        assert_eq!(one(ElementType::U64, &5u64.to_le_bytes()), [5.0]);
        assert_eq!(one(ElementType::U32, &0x8000_0000u32.to_le_bytes()), [2147483648.0]);
        assert_eq!(one(ElementType::U16, &0xFFFFu16.to_le_bytes()), [65535.0]);
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
