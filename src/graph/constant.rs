//! The values of weights: in memory, or in a file until somebody needs them.

use crate::bytes::Bytes;
use crate::element::ElementType;
use half::f16;
use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::{Arc, Weak};

/// The values of a weight, in PyTorch's layout.
#[derive(Clone, Debug)]
pub struct Constant {
    values: Values,
    /// Whether 16 bits hold every value exactly, without its factor.
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
        self.element.decode(&self.file[start..end], &mut values);
        self.file.release(start..end);
        values
    }
}

/// Where the values of a weight come from: two graphs with the same source use the same weight. Does not keep the file.
#[derive(Debug)]
pub(crate) struct Source {
    file: Weak<Bytes>,
    range: Range<usize>,
    element: ElementType,
    scale: Option<Arc<Vec<f32>>>,
}

impl PartialEq for Source {
    fn eq(&self, other: &Source) -> bool {
        let same_values =
            self.file.ptr_eq(&other.file) && (&self.range, self.element) == (&other.range, other.element);
        same_values && self.scale == other.scale
    }
}

/// A factor that is no number makes sources differ, from themselves too: such a weight is not shared.
impl Eq for Source {}

impl Hash for Source {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.file.as_ptr().cast::<()>().hash(state);
        self.range.hash(state);
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
    /// Where the values come from, if it is a file.
    pub(crate) fn source(&self) -> Option<Source> {
        let Values::File(FileValues { file, range, element }) = &self.values else { return None };
        let (file, range) = (Arc::downgrade(file), range.clone());
        Some(Source { file, range, element: *element, scale: self.scale.clone() })
    }

    /// The number of values.
    pub(crate) fn len(&self) -> usize {
        match &self.values {
            Values::Memory(values) => values.len(),
            Values::File(values) => values.len(),
        }
    }

    /// Whether 16-bit floats hold every value exactly, so that a device needs half the memory for it.
    pub(crate) fn is_half(&self) -> bool {
        self.half && self.scale.is_none()
    }

    /// Whether they did so before factors made the values longer.
    pub(crate) fn is_compact(&self) -> bool {
        self.half
    }

    /// The same with each of the outermost slices, of which there are as many as factors, multiplied by its factor.
    #[must_use]
    pub(crate) fn scaled(&self, factors: &[f32]) -> Constant {
        let factors = match &self.scale {
            Some(scale) => scale.iter().zip(factors).map(|(a, b)| a * b).collect(),
            None => factors.to_vec(),
        };
        Constant { values: self.values.clone(), half: self.half, scale: Some(Arc::new(factors)) }
    }

    /// The factors of the outermost slices, of which there are `count`: ones if there are none.
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

    /// The values; those of a file are read anew each time and not kept.
    pub fn read(&self) -> Cow<'_, [f32]> {
        self.read_slices(0..1, 1)
    }

    /// The values of some of the outermost slices, of which there are `count`.
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
        let file = Arc::new(Bytes::Owned(values.iter().flat_map(|v| v.to_le_bytes()).collect()));
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
        let file = Arc::new(Bytes::Owned(vec![0; 32]));
        let stored = |file: &Arc<Bytes>, range| {
            Constant::from(FileValues { file: Arc::clone(file), range, element: ElementType::F32 })
        };
        let one = stored(&file, 0..8);
        assert_eq!(one.source(), stored(&file, 0..8).source());
        assert_ne!(one.source(), stored(&file, 8..16).source());
        assert_ne!(one.source(), stored(&Arc::new(Bytes::Owned(vec![0; 32])), 0..8).source());
        assert_ne!(one.source(), one.scaled(&[2.0]).source());
        assert_eq!(one.scaled(&[2.0]).source(), one.scaled(&[2.0]).source());
        assert_eq!(Constant::from(vec![1.0]).source(), None);
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
