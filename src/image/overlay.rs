//! Pictures of a model's attention for each word.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use ::image::codecs::png::PngEncoder;
use ::image::{ExtendedColorType, ImageEncoder, ImageError as CodecError};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use super::{Filter, ImageError, Rgb8, resize};

/// The longer side of a cell's photo.
const CELL: u32 = 224;
/// Between cells and around them.
const GAP: u32 = 8;
/// The strip above the photo that holds the word.
const STRIP: u32 = 32;
const BACKGROUND: [u8; 3] = [24, 24, 27];
const STRIP_COLOR: [u8; 3] = [39, 39, 44];
const TEXT_COLOR: [u8; 3] = [250, 250, 245];

const WEIGHT: FontWeight = FontWeight::Bold;
const HEIGHT: RasterHeight = RasterHeight::Size24;
const LETTER_WIDTH: u32 = get_raster_width(WEIGHT, HEIGHT) as u32;

/// The brightness of the photo where attention is 0.
const DIM: f32 = 0.22;
/// The colour of the light, and its share where attention is largest.
const LIGHT: [f32; 3] = [255.0, 176.0, 48.0];
const LIGHT_SHARE: f32 = 0.3;

/// Draws a contact sheet: the photo, then one copy for each word, lit according to the word's attention.
///
/// `words` are words and their attention maps over `grid = [rows, columns]`, row by row. Each map is scaled to its
/// own maximum, so a copy shows where the model looked, but not how strongly. A map whose length differs from the grid's, or
/// that has no positive number, lights nothing. Words run from left to right, then from top to bottom.
#[must_use]
pub fn attention_sheet(photo: &Rgb8, words: &[(String, Vec<f32>)], grid: [usize; 2]) -> Rgb8 {
    let (width, height) = cell_size(photo);
    let small =
        resize(photo, width, height, Filter::Lanczos).unwrap_or_else(|_| plain(width, height, BACKGROUND));

    let cells = u32::try_from(words.len() + 1).unwrap_or(u32::MAX);
    let columns = columns(cells, width, height + STRIP);
    let rows = cells.div_ceil(columns);
    let across = |count: u32, side: u32| count * (side + GAP) + GAP;
    let mut sheet = plain(across(columns, width), across(rows, STRIP + height), BACKGROUND);

    for cell in 0..cells {
        let left = across(cell % columns, width);
        let top = across(cell / columns, STRIP + height);
        let word = (cell as usize).checked_sub(1).and_then(|i| words.get(i));
        match word {
            None => copy(&mut sheet, &small, left, top + STRIP),
            Some((word, map)) => {
                copy(&mut sheet, &plain(width, STRIP, STRIP_COLOR), left, top);
                write(&mut sheet, word, left, top, width);
                copy(&mut sheet, &lit(&small, map, grid), left, top + STRIP);
            }
        }
    }
    sheet
}

/// Writes a picture as a PNG file.
///
/// # Errors
/// [`ImageError::Write`] if the operating system cannot write the file.
pub fn write_png(path: &Path, image: &Rgb8) -> Result<(), ImageError> {
    let file = File::create(path).map_err(ImageError::Write)?;
    PngEncoder::new(BufWriter::new(file))
        .write_image(image.data(), image.width(), image.height(), ExtendedColorType::Rgb8)
        .map_err(|error| match error {
            CodecError::IoError(error) => ImageError::Write(error),
            error => ImageError::Write(std::io::Error::other(error)),
        })
}

/// A picture of one colour. Sizes here are sums of small numbers, so the fallback of one pixel is never used.
fn plain(width: u32, height: u32, color: [u8; 3]) -> Rgb8 {
    Rgb8::filled(width, height, color).unwrap_or(Rgb8 { width: 1, height: 1, data: color.to_vec() })
}

/// The size of the photo in a cell: it keeps the aspect ratio, and the longer side is fixed.
fn cell_size(photo: &Rgb8) -> (u32, u32) {
    let longer = f64::from(photo.width().max(photo.height()));
    let side = |length: u32| ((f64::from(length) * f64::from(CELL) / longer).round() as u32).max(1);
    (side(photo.width()), side(photo.height()))
}

/// The number of columns that makes the aspect ratio of the sheet closest to 4:3.
fn columns(cells: u32, width: u32, height: u32) -> u32 {
    let wide = f64::from(cells) * f64::from(height) / f64::from(width) * 4.0 / 3.0;
    (wide.sqrt().round() as u32).clamp(1, cells)
}

/// Copies a picture to a place in the sheet, as far as it fits.
fn copy(sheet: &mut Rgb8, image: &Rgb8, left: u32, top: u32) {
    let start = left as usize * 3;
    for (to, from) in sheet.rows_mut().skip(top as usize).zip(image.rows()) {
        if let Some(to) = to.get_mut(start..start + from.len()) {
            to.copy_from_slice(from);
        }
    }
}

/// The photo, dark where the map is 0 and in warm light where it is largest.
fn lit(photo: &Rgb8, map: &[f32], grid: [usize; 2]) -> Rgb8 {
    let light = upsample(map, grid, [photo.height() as usize, photo.width() as usize]);
    let mut result = photo.clone();
    for (pixel, &light) in result.data.chunks_exact_mut(3).zip(&light) {
        for (value, tint) in pixel.iter_mut().zip(LIGHT) {
            let seen = f32::from(*value) * (DIM + (1.0 - DIM) * light);
            let share = LIGHT_SHARE * light;
            *value = (seen * (1.0 - share) + tint * share).round() as u8;
        }
    }
    result
}

/// An attention map, interpolated to the size `to = [rows, columns]` and scaled to a maximum of 1.
///
/// The interpolation is by cubic B-splines: it has no visible grid and, unlike sharper ones, never goes below 0.
fn upsample(map: &[f32], grid: [usize; 2], to: [usize; 2]) -> Vec<f32> {
    let cells = grid[0].checked_mul(grid[1]);
    if map.is_empty() || cells != Some(map.len()) {
        return vec![0.0; to[0] * to[1]];
    }
    let value = |row: usize, column: usize| {
        let value = map[row * grid[1] + column];
        if value.is_finite() { value.max(0.0) } else { 0.0 }
    };
    let [down, right] =
        [0, 1].map(|axis| (0..to[axis]).map(|i| spline(i, grid[axis], to[axis])).collect::<Vec<_>>());
    let mut result = Vec::with_capacity(to[0] * to[1]);
    for rows in &down {
        // First interpolate a row of the grid's width, so that each pixel is a sum of 4 numbers instead of 16.
        let row: Vec<f32> = (0..grid[1])
            .map(|column| rows.iter().map(|&(row, weight)| weight * value(row, column)).sum())
            .collect();
        result.extend(
            right.iter().map(|columns| columns.iter().map(|&(at, weight)| weight * row[at]).sum::<f32>()),
        );
    }
    let largest = result.iter().copied().fold(0.0, f32::max);
    if largest > 0.0 {
        result.iter_mut().for_each(|value| *value /= largest);
    }
    result
}

/// The 4 cells around pixel `i` of `to`, and their weights. Cells at the border are repeated beyond it.
fn spline(i: usize, cells: usize, to: usize) -> [(usize, f32); 4] {
    let at = (i as f32 + 0.5) * cells as f32 / to as f32 - 0.5;
    let (base, t) = (at.floor(), at - at.floor());
    let weights = [
        (1.0 - t).powi(3),
        3.0 * t.powi(3) - 6.0 * t.powi(2) + 4.0,
        -3.0 * t.powi(3) + 3.0 * t.powi(2) + 3.0 * t + 1.0,
        t.powi(3),
    ];
    let cell = |offset: usize| (base + offset as f32 - 1.0).clamp(0.0, (cells - 1) as f32) as usize;
    [0, 1, 2, 3].map(|offset| (cell(offset), weights[offset] / 6.0))
}

/// Writes a word into a strip, centred. A word that does not fit ends in an ellipsis.
fn write(sheet: &mut Rgb8, word: &str, left: u32, top: u32, width: u32) {
    let room = (width / LETTER_WIDTH) as usize;
    let mut letters: Vec<char> = word.chars().collect();
    if letters.len() > room {
        letters.truncate(room.saturating_sub(1));
        // Three dots in the space of one letter: the font has no ellipsis.
        letters.extend(['\u{2026}'].iter().take(room));
    }
    let margin = (width - letters.len() as u32 * LETTER_WIDTH) / 2;
    let top = top + (STRIP - HEIGHT.val() as u32) / 2;
    for (letter, x) in letters.into_iter().zip((left + margin..).step_by(LETTER_WIDTH as usize)) {
        draw(sheet, letter, x, top);
    }
}

/// Draws a letter, or a box if the font does not have it.
fn draw(sheet: &mut Rgb8, letter: char, left: u32, top: u32) {
    let raster = get_raster(letter, WEIGHT, HEIGHT);
    let (width, height) = (LETTER_WIDTH as usize, HEIGHT.val());
    for (y, row) in sheet.rows_mut().skip(top as usize).take(height).enumerate() {
        for (x, pixel) in row.chunks_exact_mut(3).skip(left as usize).take(width).enumerate() {
            let ink = match (&raster, letter) {
                (Some(raster), _) => raster.pixel(x, y).unwrap_or(0),
                (None, '\u{2026}') => ellipsis(x, y),
                (None, _) => missing(x, y),
            };
            for (value, text) in pixel.iter_mut().zip(TEXT_COLOR) {
                let (ink, value_now, text) = (u32::from(ink), u32::from(*value), u32::from(text));
                *value = ((value_now * (255 - ink) + text * ink) / 255) as u8;
            }
        }
    }
}

/// Three dots on the base line.
fn ellipsis(x: usize, y: usize) -> u8 {
    if matches!(y, 16..=18) && !matches!(x % 4, 3) && x < 11 { 255 } else { 0 }
}

/// The outline of a box as tall as a capital.
fn missing(x: usize, y: usize) -> u8 {
    let right = LETTER_WIDTH as usize - 3;
    let inside = (2..=right).contains(&x) && (4..=19).contains(&y);
    let border = x == 2 || x == right || y == 4 || y == 19;
    if inside && border { 255 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An attention map over 2 by 3 cells with all attention on one of them.
    fn one_hot(cell: usize) -> Vec<f32> {
        (0..6).map(|i| f32::from(u8::from(i == cell)) * 0.01).collect()
    }

    fn words(list: &[(&str, Vec<f32>)]) -> Vec<(String, Vec<f32>)> {
        list.iter().map(|(word, map)| ((*word).to_owned(), map.clone())).collect()
    }

    fn mean(image: &Rgb8, [left, top, right, bottom]: [u32; 4]) -> f64 {
        let pixels = (top..bottom).flat_map(|y| (left..right).map(move |x| (x, y)));
        let sums = pixels.map(|(x, y)| image.pixel(x, y).unwrap().map(f64::from).iter().sum::<f64>() / 3.0);
        let (count, sum) = sums.fold((0.0, 0.0), |(count, sum), value| (count + 1.0, sum + value));
        sum / count
    }

    #[test]
    fn the_cell_with_attention_is_lit() {
        let photo = Rgb8::filled(300, 200, [128; 3]).unwrap();
        let sheet = attention_sheet(&photo, &words(&[("dog", one_hot(5))]), [2, 3]);
        let (width, height) = cell_size(&photo);
        assert_eq!((width, height), (224, 149));
        let columns = columns(2, width, height + STRIP);
        let (left, top) =
            if columns == 2 { (2 * GAP + width, GAP + STRIP) } else { (GAP, 2 * (GAP + STRIP) + height) };
        let bright = mean(&sheet, [left + width - 30, top + height - 30, left + width, top + height]);
        let dark = mean(&sheet, [left, top, left + 30, top + 30]);
        assert!(bright > 110.0, "{bright}");
        assert!((dark - 128.0 * f64::from(DIM)).abs() < 3.0, "{dark}");
        // The plain photo comes first.
        assert_eq!(sheet.pixel(GAP + 5, GAP + STRIP + 5), Some([128; 3]));
        // Some ink in the strip.
        assert!(
            (0..STRIP)
                .any(|y| (0..width).any(|x| sheet.pixel(left + x, top - STRIP + y) == Some(TEXT_COLOR)))
        );
    }

    #[test]
    fn upsampling_is_smooth_with_a_maximum_of_one() {
        let map = upsample(&one_hot(0), [2, 3], [40, 60]);
        assert_eq!(map.iter().copied().fold(0.0, f32::max), 1.0);
        assert!(map.iter().all(|&value| (0.0..=1.0).contains(&value)));
        assert!(
            map.windows(60)
                .step_by(60)
                .all(|row| row.windows(2).all(|pair| (pair[0] - pair[1]).abs() < 0.06))
        );
        for strange in [vec![], vec![0.0; 6], vec![-1.0; 6], vec![f32::NAN; 6], vec![1.0; 5]] {
            assert!(upsample(&strange, [2, 3], [4, 4]).iter().all(|&value| value == 0.0), "{strange:?}");
        }
        assert!(upsample(&[0.25], [1, 1], [3, 3]).iter().all(|&value| value > 0.999));
    }

    #[test]
    fn any_word_can_be_drawn_over_any_photo() {
        let strange =
            ["", "ünïcödé", "狗", "🐕‍🦺", "\n\t\0", "a word much longer than any strip could ever hold"];
        let words: Vec<_> = strange.map(|word| (word.to_owned(), one_hot(2))).into();
        for (width, height) in [(1, 1), (10000, 1), (1, 10000), (640, 480)] {
            let sheet = attention_sheet(&Rgb8::filled(width, height, [90; 3]).unwrap(), &words, [2, 3]);
            assert!(sheet.width() > 1 && sheet.height() > STRIP, "{width} x {height}");
        }
        assert!(attention_sheet(&Rgb8::filled(9, 9, [1; 3]).unwrap(), &[], [0, 0]).width() >= CELL);
    }

    #[test]
    fn letters_without_a_glyph_become_boxes() {
        let drawn = |letter| {
            let mut strip = plain(LETTER_WIDTH, STRIP, STRIP_COLOR);
            draw(&mut strip, letter, 0, 0);
            strip
        };
        assert_eq!(drawn('狗'), drawn('🐕'));
        assert_ne!(drawn('狗'), plain(LETTER_WIDTH, STRIP, STRIP_COLOR));
        for letter in ['a', 'Z', '7', '-', 'é', 'ß', 'ł', 'Ş'] {
            assert_ne!(drawn(letter), drawn('狗'), "{letter} has no glyph");
        }
    }

    #[test]
    fn written_pictures_can_be_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let image = Rgb8::new(2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
        let path = folder.path().join("a.png");
        write_png(&path, &image).unwrap();
        assert_eq!(super::super::read(&path, &super::super::DecodeOptions::default()).unwrap(), image);
        let error = write_png(&folder.path().join("missing/a.png"), &image).unwrap_err();
        assert!(matches!(error, ImageError::Write(_)), "{error}");
    }
}
