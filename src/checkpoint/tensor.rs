//! Tensors of a checkpoint: views of storage that several tensors may share.

use super::CheckpointErrorKind;
use crate::engine::storage::{Bytes, ElementType};
use std::ops::Range;

/// Sizes, strides and offset of a tensor, before they are checked against its storage.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    pub(super) shape: Vec<usize>,
    /// In elements.
    pub(super) strides: Vec<usize>,
    /// Of the first element, in elements.
    pub(super) offset: usize,
}

/// A tensor in the memory of a checkpoint.
#[derive(Clone)]
pub struct Tensor<'a> {
    file: &'a Bytes,
    /// The bytes from its first element to its last.
    range: Range<usize>,
    element: ElementType,
    shape: Vec<usize>,
    strides: Vec<usize>,
    /// The magnitudes of a tensor with weight normalisation.
    magnitude: Option<Box<Tensor<'a>>>,
}

impl std::fmt::Debug for Tensor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} in bytes {:?}", self.element, self.shape, self.range)
    }
}

impl<'a> Tensor<'a> {
    /// A view of `storage`, the range of the file that has to contain all of its elements.
    pub(super) fn new(
        name: &str,
        file: &'a Bytes,
        storage: Range<usize>,
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
        // The offset of the last element, plus one; 0 if a size is zero.
        let reach = if shape.contains(&0) {
            Some(0)
        } else {
            shape.iter().zip(&strides).try_fold(1usize, |sum, (size, stride)| {
                (size - 1).checked_mul(*stride).and_then(|span| sum.checked_add(span))
            })
        };
        // A stride of zero repeats elements: a short file must not be able to demand unlimited memory.
        let elements = shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
        let end = reach.and_then(|reach| offset.checked_add(reach)).filter(|&end| end <= have);
        match (end, elements) {
            (Some(end), Some(elements)) if elements <= have.max(1 << 20) => Ok(Tensor {
                file,
                range: storage.start + offset.min(end) * element.size()..storage.start + end * element.size(),
                element,
                shape,
                strides,
                magnitude: None,
            }),
            _ => Err(wrong(format!(
                "shape {shape:?} with strides {strides:?} from element {offset} on does not fit into {have} elements of memory"
            ))),
        }
    }

    /// The weight `g v / |v|` of weight normalisation (Salimans and Kingma, arXiv 1602.07868), with `self` as direction `v`. The
    /// magnitude `g` has as many elements as `v` has along one axis, for each index of which the norm is taken, or a single one.
    ///
    /// # Errors
    /// The shapes do not fit each other; the message has both.
    pub(super) fn with_magnitude(mut self, magnitude: Tensor<'a>) -> Result<Tensor<'a>, String> {
        let (g, v) = (magnitude.shape(), self.shape());
        let fits = magnitude.elements() == 1
            || (g.len() == v.len()
                && g.iter().filter(|&&size| size != 1).count() == 1
                && g.iter().zip(v).all(|(g, v)| [1, *v].contains(g)));
        if !fits {
            return Err(format!("expected magnitudes for one axis of the direction {v:?}, found {g:?}"));
        }
        self.magnitude = Some(Box::new(magnitude));
        Ok(self)
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
        match &self.magnitude {
            Some(magnitude) => sink(&self.normalised(magnitude)),
            None => self.for_each_stored_piece(sink),
        }
    }

    /// `g v / |v|`, see [`Tensor::with_magnitude`].
    fn normalised(&self, magnitude: &Tensor<'_>) -> Vec<f32> {
        let axis = magnitude.shape.iter().position(|&size| size != 1);
        let inner: usize = axis.map_or(self.elements(), |axis| self.shape[axis + 1..].iter().product());
        let magnitudes = magnitude.to_f32();
        let row = |at: usize| at / inner.max(1) % magnitudes.len();
        let mut values = Vec::with_capacity(self.elements());
        self.for_each_stored_piece(|piece| values.extend_from_slice(piece));
        let mut squares = vec![0f64; magnitudes.len()];
        for (at, &value) in values.iter().enumerate() {
            squares[row(at)] += f64::from(value).powi(2);
        }
        let scales: Vec<f32> = magnitudes
            .iter()
            .zip(&squares)
            .map(|(&g, square)| (f64::from(g) / square.sqrt()) as f32)
            .collect();
        for (at, value) in values.iter_mut().enumerate() {
            *value *= scales[row(at)];
        }
        values
    }

    fn for_each_stored_piece(&self, mut sink: impl FnMut(&[f32])) {
        const PIECE: usize = 1 << 16;
        let width = self.element.size();
        let mut piece = Vec::with_capacity(PIECE.min(self.elements()));
        if self.strides == row_major(&self.shape) {
            self.file.for_each_piece(self.range.clone(), |bytes| {
                piece.clear();
                self.element.decode(bytes, &mut piece);
                sink(&piece);
            });
            return;
        }
        let bytes = self.file.read(self.range.clone()).unwrap_or_default();
        let mut index = vec![0; self.shape.len()];
        let mut at = 0;
        for _ in 0..self.elements() {
            let element = bytes.get(at * width..(at + 1) * width).unwrap_or_default();
            self.element.decode(element, &mut piece);
            if piece.len() == PIECE {
                sink(&piece);
                piece.clear();
            }
            // Go to the next index, the innermost axis first.
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

/// The strides of a tensor without gaps.
pub(super) fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        // Sizes are checked against memory only later.
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis]);
    }
    strides
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
        let file = Bytes::from([b"before", bytes, b"after"].concat());
        Tensor::new("t", &file, 6..6 + bytes.len(), element, layout).ok().map(|t| t.to_f32())
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
    fn weight_normalisation_scales_each_row_or_column_to_its_magnitude() {
        let floats = |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|v| v.to_le_bytes()).collect() };
        let file = Bytes::from(floats(&[3.0, 4.0, 0.0, 2.0, 10.0, 5.0]));
        let tensor = |shape: &[usize], offset| {
            let layout = Layout { shape: shape.to_vec(), strides: row_major(shape), offset };
            Tensor::new("t", &file, 0..24, ElementType::F32, layout).unwrap()
        };
        let weight = |g: &[usize]| tensor(&[2, 2], 0).with_magnitude(tensor(g, 4)).map(|t| t.to_f32());
        assert_eq!(weight(&[2, 1]).unwrap(), [6.0, 8.0, 0.0, 5.0]);
        let columns = weight(&[1, 2]).unwrap();
        assert!((columns[1] - 20.0 / 20f32.sqrt()).abs() < 1e-6 && columns[0] == 10.0, "{columns:?}");
        let whole = weight(&[]).unwrap();
        assert!((whole[1] - 40.0 / 29f32.sqrt()).abs() < 1e-5, "{whole:?}");
        assert!(weight(&[2]).unwrap_err().contains("[2, 2], found [2]"));
    }

    #[test]
    fn tensors_outside_of_their_storage_are_refused() {
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
}
