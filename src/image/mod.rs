//! Photos on the CPU side: decoding files to RGB, resizing like Pillow, drawing attention pictures.
//!
//! ```text
//! file -> read / decode -> Rgb8 -> resize -> (GPU preprocessing)
//! ```
//!
//! [`resize`] and [`Rgb8`] are always available. Decoding files and writing pictures need the `image` feature.

use std::fmt;

#[cfg(feature = "image")]
mod decode;
mod error;
mod fit;
#[cfg(feature = "image")]
mod overlay;
mod resize;
#[cfg(feature = "image")]
mod sniff;

#[cfg(feature = "image")]
pub use decode::{Alpha, DecodeOptions, decode, dimensions, read};
pub use error::ImageError;
pub use fit::{Resize, fit};
pub(crate) use fit::{fit_windows, fitted_area};
#[cfg(feature = "image")]
pub use overlay::{attention_sheet, write_png};
pub use resize::{Filter, resize};

/// A picture of 8-bit RGB pixels, row by row from the top, without padding.
///
/// Both sides are at least 1 and the data is always `width * height * 3` bytes long. The constructors guarantee this, so code
/// that has an `Rgb8` need not check it.
#[derive(Clone, PartialEq, Eq)]
pub struct Rgb8 {
    width: u32,
    height: u32,
    data: Vec<u8>,
}

impl Rgb8 {
    /// Wraps `data`, which must hold `width * height` RGB triples.
    ///
    /// # Errors
    /// [`ImageError::InvalidSize`] if a side is 0 or `data` has another length.
    pub fn new(width: u32, height: u32, data: Vec<u8>) -> Result<Self, ImageError> {
        match byte_len(width, height) {
            Some(expected) if expected == data.len() => Ok(Self { width, height, data }),
            _ => Err(ImageError::InvalidSize { width, height, bytes: Some(data.len()) }),
        }
    }

    /// A picture of one colour.
    ///
    /// # Errors
    /// [`ImageError::InvalidSize`] if a side is 0 or the picture cannot be addressed in memory.
    pub fn filled(width: u32, height: u32, color: [u8; 3]) -> Result<Self, ImageError> {
        let len = byte_len(width, height).ok_or(ImageError::InvalidSize { width, height, bytes: None })?;
        Ok(Self { width, height, data: color.repeat(len / 3) })
    }

    /// Width in pixels, at least 1.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, at least 1.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The pixels: `width * height * 3` bytes.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Converts the picture to its bytes, without copying them.
    #[must_use]
    pub fn into_data(self) -> Vec<u8> {
        self.data
    }

    /// The pixel in column `x`, row `y`, or `None` outside the picture.
    #[must_use]
    pub fn pixel(&self, x: u32, y: u32) -> Option<[u8; 3]> {
        if x >= self.width {
            return None;
        }
        let at = (y as usize).checked_mul(self.width as usize)?.checked_add(x as usize)?.checked_mul(3)?;
        self.data.get(at..at + 3)?.try_into().ok()
    }

    /// The rows from the top, each `width * 3` bytes.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.data.chunks_exact(self.width as usize * 3)
    }

    /// The rows from the top, writable.
    #[cfg(feature = "image")]
    fn rows_mut(&mut self) -> impl ExactSizeIterator<Item = &mut [u8]> {
        self.data.chunks_exact_mut(self.width as usize * 3)
    }
}

// The derived implementation would print every byte of the photo.
impl fmt::Debug for Rgb8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rgb8({} x {})", self.width, self.height)
    }
}

/// Bytes of an RGB picture, or `None` if a side is 0 or no allocation can be that large.
fn byte_len(width: u32, height: u32) -> Option<usize> {
    let len = u64::from(width).checked_mul(u64::from(height))?.checked_mul(3)?;
    isize::try_from(len).ok().filter(|&len| len > 0)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constructor_refuses_sizes_that_do_not_match_the_data() {
        assert!(Rgb8::new(2, 1, vec![0; 6]).is_ok());
        for (width, height, len) in [(2, 1, 5), (2, 1, 7), (0, 1, 0), (1, 0, 0), (u32::MAX, u32::MAX, 3)] {
            let error = Rgb8::new(width, height, vec![0; len]).unwrap_err();
            assert_eq!(error.code(), "invalid_size", "{width} x {height} from {len} bytes");
        }
        assert!(Rgb8::filled(u32::MAX, u32::MAX, [0; 3]).is_err());
    }

    #[test]
    fn pixels_outside_of_the_picture_are_none() {
        let image = Rgb8::new(2, 2, (0..12).collect()).unwrap();
        assert_eq!(image.pixel(1, 0), Some([3, 4, 5]));
        assert_eq!(image.pixel(0, 1), Some([6, 7, 8]));
        assert_eq!(image.pixel(2, 0), None);
        assert_eq!(image.pixel(0, 2), None);
        assert_eq!(image.rows().len(), 2);
    }

    #[test]
    fn debug_is_short() {
        assert_eq!(format!("{:?}", Rgb8::filled(640, 480, [1, 2, 3]).unwrap()), "Rgb8(640 x 480)");
    }
}
