//! Resizing that gives the same bytes as Pillow's `Image.resize` on RGB pictures.
//!
//! Captioning models are trained on photos that were resized with Pillow. Another resampler changes pixels by several levels
//! and, occasionally, a word of a caption. The reference is Pillow up to 11.3. Later versions resize the height first if it
//! shrinks much more than the width, and may differ by one level.
//!
//! Each side is resampled separately, first the width, then the height. A side that keeps its length is not changed. An
//! output pixel is a weighted sum over the input pixels under its filter:
//!
//! ```text
//! scale   = input / output               support = filter support * max(scale, 1)
//! center  = (i + 0.5) * scale            window  = [center - support, center + support], cut at the borders
//! weight  = filter((j - center + 0.5) / max(scale, 1)), normalised to a sum of 1
//! ```
//!
//! Weights are computed in f64 and rounded to fixed point with 22 fractional bits, because 32 bits also have to
//! hold 8 bits of the pixel and 2 bits of overshoot. Sums start at one half and are clamped to 0..=255.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{ImageError, Rgb8, byte_len};

/// Fractional bits of a fixed-point weight.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// Resampling filters; the names are Pillow's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// The plain average of the pixels covered.
    Box,
    /// A triangle that reaches 1 pixel to each side.
    Bilinear,
    /// The cubic convolution kernel with a = -0.5, which reaches 2 pixels to each side.
    Bicubic,
    /// The sinc function windowed by a wider one, which reaches 3 pixels to each side.
    Lanczos,
}

impl Filter {
    /// All filters, in the order of their reach.
    pub const ALL: [Self; 4] = [Self::Box, Self::Bilinear, Self::Bicubic, Self::Lanczos];

    /// The lower-case name, as in configuration files and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Box => "box",
            Self::Bilinear => "bilinear",
            Self::Bicubic => "bicubic",
            Self::Lanczos => "lanczos",
        }
    }

    /// The reach of the filter to each side, in pixels of the coarser picture.
    fn support(self) -> f64 {
        match self {
            Self::Box => 0.5,
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// The weight at distance `x` from the center.
    fn weight(self, x: f64) -> f64 {
        match self {
            // Half-open, so that a pixel on the border of two windows counts in only one of them.
            Self::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Self::Bilinear => (1.0 - x.abs()).max(0.0),
            Self::Bicubic => {
                const A: f64 = -0.5;
                let x = x.abs();
                if x < 1.0 {
                    ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
                } else if x < 2.0 {
                    (((x - 5.0) * x + 8.0) * x - 4.0) * A
                } else {
                    0.0
                }
            }
            Self::Lanczos => {
                if (-3.0..3.0).contains(&x) {
                    sinc(x) * sinc(x / 3.0)
                } else {
                    0.0
                }
            }
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Filter {
    type Err = ImageError;

    fn from_str(name: &str) -> Result<Self, ImageError> {
        let found = Self::ALL.into_iter().find(|filter| filter.name() == name);
        found.ok_or_else(|| ImageError::UnknownFilter(name.to_owned()))
    }
}

/// `sin(pi x) / (pi x)`.
fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * std::f64::consts::PI;
    x.sin() / x
}

/// The input pixels of one output pixel: one for each weight, from `start` on.
struct Window {
    start: usize,
    weights: Range<usize>,
}

/// One window for each output pixel along a side, with all weights in one list.
pub(super) struct Windows {
    windows: Vec<Window>,
    weights: Vec<i32>,
}

impl Windows {
    /// The windows of the output pixels in `range`, out of `output` along the whole side.
    pub(super) fn new(input: u32, output: u32, range: Range<u32>, filter: Filter) -> Self {
        let scale = f64::from(input) / f64::from(output);
        let filter_scale = scale.max(1.0);
        let support = filter.support() * filter_scale;

        let mut windows = Vec::with_capacity(range.len());
        let mut weights = Vec::new();
        let mut exact = Vec::new();
        for i in range {
            let center = (f64::from(i) + 0.5) * scale;
            // `as` truncates towards 0 and turns negative numbers into 0, as in the definition.
            let start = (center - support + 0.5) as u32;
            let end = ((center + support + 0.5) as u32).min(input);

            exact.clear();
            exact.extend((start..end).map(|j| {
                // Multiply by the reciprocal and sum in this order, to round as Pillow does.
                filter.weight((f64::from(j) - center + 0.5) * (1.0 / filter_scale))
            }));
            let sum: f64 = exact.iter().sum();
            let first = weights.len();
            weights
                .extend(exact.iter().map(|weight| to_fixed(if sum == 0.0 { *weight } else { weight / sum })));
            windows.push(Window { start: start as usize, weights: first..weights.len() });
        }
        Self { windows, weights }
    }

    /// For a device: the first input pixel of each window, the offset of its weights, and their number.
    pub(super) fn table(&self, offset: usize) -> impl Iterator<Item = u32> {
        self.windows.iter().flat_map(move |window| {
            [window.start, offset + window.weights.start, window.weights.len()].map(|number| number as u32)
        })
    }

    /// All weights, with 22 fractional bits.
    pub(super) fn weights(&self) -> &[i32] {
        &self.weights
    }

    /// The first input pixel of each window and its weights.
    fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        self.windows.iter().map(|window| (window.start, &self.weights[window.weights.clone()]))
    }
}

/// Rounds to the nearest fixed-point number, halves away from 0.
fn to_fixed(weight: f64) -> i32 {
    let scaled = weight * f64::from(1 << PRECISION_BITS);
    (if scaled < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
}

/// The initial value of a sum: one half, so that the shift in [`clip8`] rounds.
const HALF: i32 = 1 << (PRECISION_BITS - 1);

/// Fixed point to a pixel value.
fn clip8(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

/// Resizes a picture to `width` by `height`, byte for byte as Pillow does.
///
/// The aspect ratio is not kept; the caller chooses it.
///
/// # Errors
/// [`ImageError::InvalidSize`] if a side is 0, [`ImageError::OutOfMemory`] if the result does not fit into memory.
pub fn resize(image: &Rgb8, width: u32, height: u32, filter: Filter) -> Result<Rgb8, ImageError> {
    resize_part(image, [width, height], [0..width, 0..height], filter)
}

/// A part of the result of [`resize`], given by its columns and rows, without computing the rest.
pub(super) fn resize_part(
    image: &Rgb8,
    [width, height]: [u32; 2],
    [columns, rows]: [Range<u32>; 2],
    filter: Filter,
) -> Result<Rgb8, ImageError> {
    if columns.is_empty() || rows.is_empty() || columns.end > width || rows.end > height {
        return Err(ImageError::InvalidSize { width: columns.end, height: rows.end, bytes: None });
    }
    // The photo is not copied: the picture between the passes is already as narrow as the result.
    let narrowed;
    let mut source = image;
    if width != image.width || columns.len() < width as usize {
        narrowed = resize_width(image, width, columns, filter)?;
        source = &narrowed;
    }
    if height != image.height || rows.len() < height as usize {
        resize_height(source, height, rows, filter)
    } else {
        Ok(source.clone())
    }
}

/// The horizontal pass.
fn resize_width(image: &Rgb8, width: u32, columns: Range<u32>, filter: Filter) -> Result<Rgb8, ImageError> {
    let kept = columns.end - columns.start;
    let windows = Windows::new(image.width, width, columns, filter);
    let mut data = with_capacity(kept, image.height)?;
    for row in image.rows() {
        for (start, weights) in windows.iter() {
            let mut sums = [HALF; 3];
            for (pixel, &weight) in row[start * 3..].chunks_exact(3).zip(weights) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(value) * weight;
                }
            }
            data.extend(sums.map(clip8));
        }
    }
    Ok(Rgb8 { width: kept, height: image.height, data })
}

/// The vertical pass. It adds up whole rows, so that the compiler can use vector instructions.
fn resize_height(image: &Rgb8, height: u32, rows: Range<u32>, filter: Filter) -> Result<Rgb8, ImageError> {
    let kept = rows.end - rows.start;
    let windows = Windows::new(image.height, height, rows, filter);
    let mut data = with_capacity(image.width, kept)?;
    let stride = image.width as usize * 3;
    let mut sums = vec![HALF; stride];
    for (start, weights) in windows.iter() {
        sums.fill(HALF);
        for (row, &weight) in image.data[start * stride..].chunks_exact(stride).zip(weights) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += i32::from(value) * weight;
            }
        }
        data.extend(sums.iter().copied().map(clip8));
    }
    Ok(Rgb8 { width: image.width, height: kept, data })
}

/// Allocates memory for an RGB picture. Where `Vec` would end the process, returns an error.
fn with_capacity(width: u32, height: u32) -> Result<Vec<u8>, ImageError> {
    let error = || ImageError::OutOfMemory { what: "the resized picture", limit: "free memory".to_owned() };
    let len = byte_len(width, height).ok_or_else(error)?;
    let mut data = Vec::new();
    data.try_reserve_exact(len).map_err(|_| error())?;
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formulas of tools/golden_resize.py, which makes the golden file.
    fn source(kind: &str, width: u32, height: u32) -> Rgb8 {
        let mut state = 12345u32;
        let mut data = Vec::new();
        for y in 0..height {
            for x in 0..width {
                for _ in 0..3 {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    data.push(match kind {
                        "noise" => (state >> 24) as u8,
                        // Hard edges make the filters with negative lobes overshoot on both ends.
                        "checks" => (((x / 3 + y / 2) % 2) * 255) as u8,
                        other => panic!("no source called {other}"),
                    });
                }
            }
        }
        Rgb8::new(width, height, data).unwrap()
    }

    fn crc32(data: &[u8]) -> u32 {
        !data.iter().fold(!0, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
        })
    }

    fn hex(data: &[u8]) -> String {
        data.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[derive(Deserialize)]
    struct Case {
        source: String,
        filter: Filter,
        from: [u32; 2],
        to: [u32; 2],
        crc32: u32,
        /// All bytes of a small result, or the first ones of a larger one: they show where a difference starts.
        head: String,
    }

    #[test]
    fn results_equal_those_of_pillow() {
        let cases: Vec<Case> =
            serde_json::from_str(include_str!("../../tests/golden/resize.json")).expect("golden file");
        assert!(cases.len() >= 200, "only {} cases", cases.len());
        for case in &cases {
            let Case { source: kind, filter, from, to, .. } = case;
            let result = resize(&source(kind, from[0], from[1]), to[0], to[1], *filter).unwrap();
            let name = format!("{kind} {filter} {from:?} -> {to:?}");
            assert_eq!([result.width(), result.height()], *to, "{name}");
            assert_eq!(hex(&result.data()[..case.head.len() / 2]), case.head, "{name}");
            assert_eq!(crc32(result.data()), case.crc32, "{name}: differs after the stored bytes");
        }
        for filter in Filter::ALL {
            assert!(cases.iter().any(|case| case.filter == filter), "no case for {filter}");
        }
    }

    #[test]
    fn sums_cannot_overflow() {
        // The worst sum of a window: white under every positive weight, or under every negative one.
        for filter in Filter::ALL {
            for input in (1..40).chain([97, 1000, 4093]) {
                for output in (1..40).chain([97, 1000]) {
                    for (start, weights) in Windows::new(input, output, 0..output, filter).iter() {
                        assert!(!weights.is_empty() && start + weights.len() <= input as usize);
                        let total: i64 = weights.iter().map(|&weight| i64::from(weight.abs())).sum();
                        let worst = total * 255 + i64::from(HALF);
                        assert!(worst <= i64::from(i32::MAX), "{filter} {input} -> {output}: {worst}");
                    }
                }
            }
        }
    }

    #[test]
    fn one_colour_stays_the_same_and_an_equal_size_copies() {
        let flat = Rgb8::filled(37, 21, [3, 130, 255]).unwrap();
        for filter in Filter::ALL {
            assert_eq!(resize(&flat, 9, 64, filter).unwrap(), Rgb8::filled(9, 64, [3, 130, 255]).unwrap());
            let noise = source("noise", 13, 7);
            assert_eq!(resize(&noise, 13, 7, filter).unwrap(), noise);
        }
    }

    #[test]
    fn a_part_equals_the_same_pixels_of_the_whole() {
        let noise = source("noise", 31, 17);
        // Smaller, larger, and sides that keep their length.
        for size in [[12, 9], [40, 17], [31, 30], [31, 17]] {
            let whole = resize(&noise, size[0], size[1], Filter::Lanczos).unwrap();
            let part = resize_part(&noise, size, [3..11, 2..9], Filter::Lanczos).unwrap();
            assert_eq!([part.width(), part.height()], [8, 7]);
            for (x, y) in (0..8).flat_map(|x| (0..7).map(move |y| (x, y))) {
                assert_eq!(part.pixel(x, y), whole.pixel(x + 3, y + 2), "{size:?} {x} {y}");
            }
        }
        assert!(resize_part(&noise, [8, 8], [0..9, 0..8], Filter::Box).is_err());
    }

    #[test]
    fn impossible_sizes_are_refused() {
        let image = Rgb8::filled(2, 2, [0; 3]).unwrap();
        assert_eq!(resize(&image, 0, 5, Filter::Box).unwrap_err().code(), "invalid_size");
        assert_eq!(resize(&image, 5, 0, Filter::Box).unwrap_err().code(), "invalid_size");
    }

    #[test]
    fn filter_names_can_be_written_and_parsed() {
        for filter in Filter::ALL {
            assert_eq!(filter.to_string().parse::<Filter>().unwrap(), filter);
            assert_eq!(serde_json::to_string(&filter).unwrap(), format!("\"{filter}\""));
        }
        let error = "nearest".parse::<Filter>().unwrap_err();
        assert_eq!(error.code(), "unknown_filter");
    }
}
