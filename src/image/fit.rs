//! Resizes photos to a network's input, as was done in training.

use super::resize::{Windows, resize_part};
use super::{Filter, ImageError, Rgb8, resize};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How a photo is resized to the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resize {
    /// Both sides are scaled to those of the input; the aspect ratio is not kept.
    Squash,
    /// The shorter side is scaled to this number of pixels, the longer one in proportion, and the middle is cut out, as by
    /// torchvision's `Resize` and `CenterCrop`.
    ShorterSide(u32),
}

/// Resizes a photo to `width` by `height`.
///
/// # Errors
/// A side is 0, the part to cut out is larger than the scaled photo, or the result does not fit into memory.
pub fn fit(photo: &Rgb8, [width, height]: [u32; 2], how: Resize, filter: Filter) -> Result<Rgb8, ImageError> {
    match how {
        Resize::Squash => resize(photo, width, height, filter),
        Resize::ShorterSide(side) => {
            let scaled = scaled([photo.width(), photo.height()], side);
            let part = [middle(scaled[0], width), middle(scaled[1], height)];
            resize_part(photo, scaled, part, filter)
        }
    }
}

/// The tables with which a device does the same to a picture of this size: for each column, then each row of the result, the
/// first pixel of its window, the offset of its weights and their number; then the weights, with 22 fractional bits.
///
/// # Errors
/// As [`fit`].
pub(crate) fn fit_windows(
    source: [u32; 2],
    [width, height]: [u32; 2],
    how: Resize,
    filter: Filter,
) -> Result<Vec<u32>, ImageError> {
    let (size, [columns, rows]) = match how {
        Resize::Squash => ([width, height], [0..width, 0..height]),
        Resize::ShorterSide(side) => {
            let scaled = scaled(source, side);
            (scaled, [middle(scaled[0], width), middle(scaled[1], height)])
        }
    };
    if source.contains(&0)
        || columns.is_empty()
        || rows.is_empty()
        || columns.end > size[0]
        || rows.end > size[1]
    {
        return Err(ImageError::InvalidSize { width: columns.end, height: rows.end, bytes: None });
    }
    let columns = Windows::new(source[0], size[0], columns, filter);
    let rows = Windows::new(source[1], size[1], rows, filter);
    let mut words: Vec<u32> = columns.table(0).collect();
    words.extend(rows.table(columns.weights().len()));
    words.extend(columns.weights().iter().chain(rows.weights()).map(|weight| weight.cast_unsigned()));
    Ok(words)
}

/// The part of a photo that [`fit`] keeps, as left, top, width and height in the photo's pixels.
pub(crate) fn fitted_area(source: [u32; 2], [width, height]: [u32; 2], how: Resize) -> [f64; 4] {
    let [columns, rows] = source.map(f64::from);
    match how {
        Resize::Squash => [0.0, 0.0, columns, rows],
        Resize::ShorterSide(side) => {
            let scaled = scaled(source, side);
            let [x, y] = [columns / f64::from(scaled[0]), rows / f64::from(scaled[1])];
            let [left, top] = [middle(scaled[0], width).start, middle(scaled[1], height).start];
            [f64::from(left) * x, f64::from(top) * y, f64::from(width) * x, f64::from(height) * y]
        }
    }
}

/// Width and height with a shorter side of `side` pixels; the longer one is rounded down.
fn scaled([width, height]: [u32; 2], side: u32) -> [u32; 2] {
    let in_proportion = |long: u32, short: u32| {
        let exact = f64::from(side) * f64::from(long) / f64::from(short);
        // `as` saturates at the largest number.
        exact as u32
    };
    if width <= height { [side, in_proportion(height, width)] } else { [in_proportion(width, height), side] }
}

/// The start of the middle `part` of a side. If the margins cannot be equal, the start is the even one of the two candidates, as
/// with Python's `round`.
fn middle(side: u32, part: u32) -> Range<u32> {
    let rest = side.saturating_sub(part);
    let half = rest / 2;
    let start = half + u32::from(rest % 2 == 1 && half % 2 == 1);
    start..start.saturating_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_side_is_rounded_down_and_the_middle_cut_out() {
        // As torchvision 0.2 computes: int(256 * 500 / 375) = 341, round((341 - 224) / 2.0) = round(58.5) = 58.
        assert_eq!(scaled([500, 375], 256), [341, 256]);
        assert_eq!(middle(341, 224), 58..282);
        // round(59.5) = 60.
        assert_eq!(middle(343, 224), 60..284);
        assert_eq!(scaled([375, 500], 256), [256, 341]);
        assert_eq!(scaled([3, 3], 256), [256, 256]);
        assert_eq!(middle(256, 224), 16..240);
    }

    #[test]
    fn the_part_that_is_kept_is_given_in_pixels_of_the_photo() {
        assert_eq!(fitted_area([640, 480], [224, 224], Resize::Squash), [0.0, 0.0, 640.0, 480.0]);
        // 512x512 becomes 256x256, of which 16 are cut off on each side: twice as many of the photo's own.
        assert_eq!(fitted_area([512, 512], [224, 224], Resize::ShorterSide(256)), [32.0, 32.0, 448.0, 448.0]);
        assert_eq!(
            fitted_area([512, 1024], [224, 224], Resize::ShorterSide(256)),
            [32.0, 288.0, 448.0, 448.0]
        );
    }

    #[test]
    fn a_line_of_pixels_takes_no_more_memory_than_a_photo() {
        let line = Rgb8::filled(100_000, 1, [7, 8, 9]).unwrap();
        let fitted = fit(&line, [224, 224], Resize::ShorterSide(256), Filter::Bilinear).unwrap();
        assert_eq!(fitted, Rgb8::filled(224, 224, [7, 8, 9]).unwrap());
    }

    #[test]
    fn a_crop_larger_than_the_scaled_photo_is_refused() {
        let photo = Rgb8::filled(10, 10, [0; 3]).unwrap();
        assert!(fit(&photo, [224, 224], Resize::ShorterSide(100), Filter::Box).is_err());
    }
}
