//! The values of weights: in memory, or in a file until they are read.

use crate::engine::storage::{Bytes, ElementType};
use half::f16;
use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::{Arc, Weak};

/// The values of a weight, in PyTorch's layout.
#[derive(Clone, Debug)]
pub struct Constant {
    values: Values,
    /// Whether f16 holds every unscaled value exactly.
    half: bool,
    /// A factor for each of the outermost slices.
    scale: Option<Arc<Vec<f32>>>,
}

#[derive(Clone, Debug)]
enum Values {
    Memory(Arc<Vec<f32>>),
    File(FileValues),
}

/// Values in a file, row by row without gaps.
#[derive(Clone)]
pub(crate) struct FileValues {
    pub(crate) file: Arc<Bytes>,
    /// Whole elements.
    pub(crate) range: Range<usize>,
    pub(crate) element: ElementType,
}

impl std::fmt::Debug for FileValues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in bytes {:?}", self.element, self.range)
    }
}

impl FileValues {
    pub(crate) fn len(&self) -> usize {
        self.range.len() / self.element.size()
    }

    pub(crate) fn read(&self) -> Vec<f32> {
        self.read_part(0..self.len())
    }

    fn read_part(&self, part: Range<usize>) -> Vec<f32> {
        let [start, end] = [part.start, part.end].map(|at| self.range.start + at * self.element.size());
        let mut values = Vec::with_capacity(part.len());
        self.file.for_each_piece(start..end, |piece| self.element.decode(piece, &mut values));
        self.file.release(start..end);
        values
    }
}

/// Identity of a weight, for sharing device buffers between graphs. Holds only weak references.
#[derive(Debug)]
pub(crate) struct Source {
    values: Origin,
    scale: Option<Arc<Vec<f32>>>,
}

#[derive(Debug)]
enum Origin {
    File {
        file: Weak<Bytes>,
        range: Range<usize>,
        element: ElementType,
    },
    /// Two hashes of the values.
    Memory([u64; 2]),
}

impl PartialEq for Source {
    fn eq(&self, other: &Source) -> bool {
        let same_values = match (&self.values, &other.values) {
            (
                Origin::File { file, range, element },
                Origin::File { file: other_file, range: other_range, element: other_element },
            ) => file.ptr_eq(other_file) && (range, element) == (other_range, other_element),
            (Origin::Memory(hashes), Origin::Memory(others)) => hashes == others,
            _ => false,
        };
        same_values && self.scale == other.scale
    }
}

/// A NaN among the factors makes a source differ from itself: such a weight is not shared.
impl Eq for Source {}

impl Hash for Source {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.values {
            Origin::File { file, range, .. } => (file.as_ptr().cast::<()>(), range).hash(state),
            Origin::Memory(hashes) => hashes.hash(state),
        }
    }
}

impl From<Vec<f32>> for Constant {
    fn from(values: Vec<f32>) -> Self {
        let half = values.iter().all(|&value| f16::from_f32(value).to_f32() == value);
        Constant { values: Values::Memory(Arc::new(values)), half, scale: None }
    }
}

impl From<FileValues> for Constant {
    fn from(values: FileValues) -> Self {
        let half = values.element == ElementType::F16;
        Constant { values: Values::File(values), half, scale: None }
    }
}

impl Constant {
    /// The identity of this weight.
    pub(crate) fn source(&self) -> Source {
        let values = match &self.values {
            Values::File(FileValues { file, range, element }) => {
                Origin::File { file: Arc::downgrade(file), range: range.clone(), element: *element }
            }
            Values::Memory(values) => Origin::Memory([0u8, 1].map(|salt| {
                let mut hasher = DefaultHasher::new();
                hasher.write_u8(salt);
                hasher.write(bytemuck::cast_slice(values));
                hasher.finish()
            })),
        };
        Source { values, scale: self.scale.clone() }
    }

    /// The number of values.
    pub(crate) fn len(&self) -> usize {
        match &self.values {
            Values::Memory(values) => values.len(),
            Values::File(values) => values.len(),
        }
    }

    /// Whether f16 holds every value exactly, so that a device needs half the memory for it.
    pub(crate) fn is_half(&self) -> bool {
        self.half && self.scale.is_none()
    }

    /// Whether the unscaled values are exact in f16.
    pub(crate) fn is_compact(&self) -> bool {
        self.half
    }

    /// The same weight with outermost slice `i` multiplied by `factors[i]`.
    #[must_use]
    pub(crate) fn scaled(&self, factors: &[f32]) -> Constant {
        let factors = match &self.scale {
            Some(scale) => scale.iter().zip(factors).map(|(a, b)| a * b).collect(),
            None => factors.to_vec(),
        };
        Constant { values: self.values.clone(), half: self.half, scale: Some(Arc::new(factors)) }
    }

    /// The factors of the `count` outermost slices: ones where the weight has no scale.
    pub(crate) fn scale(&self, count: usize) -> Cow<'_, [f32]> {
        match &self.scale {
            Some(scale) => Cow::Borrowed(scale),
            None => Cow::Owned(vec![1.0; count]),
        }
    }

    /// The same without the factors.
    #[must_use]
    pub(crate) fn unscaled(&self) -> Constant {
        Constant { scale: None, ..self.clone() }
    }

    /// The values. Those of a file are read at each call and not kept.
    pub fn read(&self) -> Cow<'_, [f32]> {
        self.read_slices(0..1, 1)
    }

    /// The values of some of the `count` outermost slices.
    pub(crate) fn read_slices(&self, slices: Range<usize>, count: usize) -> Cow<'_, [f32]> {
        let len = self.len() / count.max(1);
        let part = slices.start * len..slices.end * len;
        let mut values = match &self.values {
            Values::Memory(values) => Cow::Borrowed(&values[part.clone()]),
            Values::File(values) => Cow::Owned(values.read_part(part.clone())),
        };
        if let Some(scale) = &self.scale {
            let len = (self.len() / scale.len().max(1)).max(1);
            let factors = scale.iter().skip(part.start / len);
            for (slice, factor) in values.to_mut().chunks_mut(len).zip(factors) {
                slice.iter_mut().for_each(|value| *value *= factor);
            }
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_scaled_wherever_the_values_lie() {
        let values: Vec<f32> = (0..6).map(|n| n as f32).collect();
        let file = Arc::new(Bytes::from(values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()));
        let stored = FileValues { file, range: 4..20, element: ElementType::F32 };
        assert_eq!(*Constant::from(stored.clone()).read(), [1.0, 2.0, 3.0, 4.0]);
        let scaled = Constant::from(stored).scaled(&[2.0, 3.0]).scaled(&[1.0, 10.0]);
        assert_eq!(*scaled.read(), [2.0, 4.0, 90.0, 120.0]);
        assert_eq!(*scaled.read_slices(1..2, 2), [90.0, 120.0]);
        assert_eq!(*scaled.scale(2), [2.0, 30.0]);
        assert_eq!(*scaled.unscaled().read(), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(*scaled.unscaled().scale(2), [1.0, 1.0]);
        let scaled = Constant::from(values).scaled(&[1.0, 0.0, -1.0]);
        assert_eq!(*scaled.read(), [0.0, 1.0, 0.0, 0.0, -4.0, -5.0]);
    }

    #[test]
    fn sources_tell_weights_apart() {
        let file = Arc::new(Bytes::from(vec![0; 32]));
        let stored = |file: &Arc<Bytes>, range| {
            Constant::from(FileValues { file: Arc::clone(file), range, element: ElementType::F32 })
        };
        let one = stored(&file, 0..8);
        assert_eq!(one.source(), stored(&file, 0..8).source());
        assert_ne!(one.source(), stored(&file, 8..16).source());
        assert_ne!(one.source(), stored(&Arc::new(Bytes::from(vec![0; 32])), 0..8).source());
        assert_ne!(one.source(), one.scaled(&[2.0]).source());
        assert_eq!(one.scaled(&[2.0]).source(), one.scaled(&[2.0]).source());
        let memory = |values: &[f32]| Constant::from(values.to_vec()).source();
        assert_eq!(memory(&[1.0, 2.0]), memory(&[1.0, 2.0]));
        assert_ne!(memory(&[0.0, 1.0]), memory(&[-0.0, 1.0]));
        assert_ne!(memory(&[0.0, 0.0]), one.source());
    }

    #[test]
    fn what_fits_into_16_bits_is_known() {
        assert!(Constant::from(vec![1.5, -65504.0, 0.0]).is_half());
        assert!(!Constant::from(vec![1.5, 0.1]).is_half());
        assert!(!Constant::from(vec![65536.0]).is_half());
        assert!(!Constant::from(vec![f32::NAN]).is_half());
        assert!(!Constant::from(vec![1.5]).scaled(&[3.0]).is_half(), "a product may need more bits");
    }
}
