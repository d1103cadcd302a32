//! TIFF files: the tags of the first directory, and the parts (strips or tiles) that it points to.
//!
//! A TIFF file is whatever its tags say, so most of the work is to tell what is understood. The crates that decode TIFF refuse
//! or misread much of what cameras, scanners and scientific programs write; here are the rules of libtiff and Pillow, on top of
//! crates for the compressions. [`unpack`] undoes the compression of a part, [`samples`] makes pixels of its samples.

use std::borrow::Cow;

use ::image::metadata::Orientation;
use ::image::{DynamicImage, ImageFormat, RgbImage, RgbaImage};

use super::ifd::Directory;
use super::{DecodeOptions, ImageError, corrupt, exif};
use samples::{Colour, Samples};
use unpack::Compression;

mod fax;
mod samples;
#[cfg(test)]
mod tests;
mod unpack;

/// The numbers of the tags.
mod tag {
    pub(super) const WIDTH: u16 = 256;
    pub(super) const HEIGHT: u16 = 257;
    pub(super) const BITS: u16 = 258;
    pub(super) const COMPRESSION: u16 = 259;
    pub(super) const COLOUR: u16 = 262;
    pub(super) const FILL_ORDER: u16 = 266;
    pub(super) const STRIP_OFFSETS: u16 = 273;
    pub(super) const SAMPLES: u16 = 277;
    pub(super) const ROWS_PER_STRIP: u16 = 278;
    pub(super) const STRIP_LENGTHS: u16 = 279;
    pub(super) const PLANES: u16 = 284;
    pub(super) const FAX_OPTIONS: u16 = 292;
    pub(super) const PREDICTOR: u16 = 317;
    pub(super) const COLOUR_MAP: u16 = 320;
    pub(super) const TILE_WIDTH: u16 = 322;
    pub(super) const TILE_HEIGHT: u16 = 323;
    pub(super) const TILE_OFFSETS: u16 = 324;
    pub(super) const TILE_LENGTHS: u16 = 325;
    pub(super) const EXTRA_SAMPLES: u16 = 338;
    pub(super) const SAMPLE_FORMAT: u16 = 339;
    pub(super) const JPEG_TABLES: u16 = 347;
    pub(super) const SUBSAMPLING: u16 = 530;

    pub(super) const ALL: [u16; 22] = [
        WIDTH,
        HEIGHT,
        BITS,
        COMPRESSION,
        COLOUR,
        FILL_ORDER,
        STRIP_OFFSETS,
        SAMPLES,
        ROWS_PER_STRIP,
        STRIP_LENGTHS,
        PLANES,
        FAX_OPTIONS,
        PREDICTOR,
        COLOUR_MAP,
        TILE_WIDTH,
        TILE_HEIGHT,
        TILE_OFFSETS,
        TILE_LENGTHS,
        EXTRA_SAMPLES,
        SAMPLE_FORMAT,
        JPEG_TABLES,
        SUBSAMPLING,
    ];
}

/// The error about a file that is not supported: `what` completes "a TIFF with …".
fn unsupported(what: impl std::fmt::Display) -> ImageError {
    ImageError::UnsupportedFormat { format: format!("a TIFF with {what}") }
}

fn damaged(reason: &str) -> ImageError {
    corrupt(ImageFormat::Tiff, reason)
}

/// The picture that the tags describe.
struct Picture<'a> {
    bytes: &'a [u8],
    width: usize,
    height: usize,
    /// Width and height of a strip or tile.
    part: [usize; 2],
    is_tiled: bool,
    /// Whether each sample of a pixel has parts of its own.
    planar: bool,
    /// Where the parts are and how long they are.
    places: [Vec<u64>; 2],
    samples: Samples,
    colour: Colour,
    compression: Compression<'a>,
    orientation: Orientation,
}

/// Width and height of a file.
pub(super) fn dimensions(bytes: &[u8], options: &DecodeOptions) -> Result<(u32, u32), ImageError> {
    let picture = Picture::open(bytes, options)?;
    // Both are at most 32-bit numbers in the file.
    Ok((picture.width as u32, picture.height as u32))
}

/// Decodes a file to RGB, or RGBA if it has transparent pixels, with its orientation.
pub(super) fn decode(
    bytes: &[u8],
    options: &DecodeOptions,
) -> Result<(DynamicImage, Orientation), ImageError> {
    let picture = Picture::open(bytes, options)?;
    let white = if picture.samples.is_float { picture.white(options)? } else { 1.0 };
    let channels = if picture.colour.has_alpha() { 4 } else { 3 };
    let mut data = vec![0; picture.width * picture.height * channels];
    let mut levels = Vec::new();
    picture.for_each_part(options, |place, rows| {
        let [left, top] = place;
        let columns = picture.part[0].min(picture.width - left);
        for (y, planes) in rows.enumerate() {
            levels.clear();
            picture.samples.levels(&planes, columns, &picture.colour, white, &mut levels);
            let start = ((top + y) * picture.width + left) * channels;
            let pixels = data[start..][..columns * channels].chunks_exact_mut(channels);
            for (pixel, levels) in pixels.zip(levels.chunks_exact(picture.samples.count)) {
                pixel.copy_from_slice(&picture.colour.rgba(levels)[..channels]);
            }
        }
        Ok(())
    })?;
    let [width, height] = [picture.width as u32, picture.height as u32];
    let image = match channels {
        4 => RgbaImage::from_raw(width, height, data).map(DynamicImage::ImageRgba8),
        _ => RgbImage::from_raw(width, height, data).map(DynamicImage::ImageRgb8),
    };
    Ok((image.ok_or_else(|| damaged("its sizes contradict each other"))?, picture.orientation))
}

impl<'a> Picture<'a> {
    fn open(bytes: &'a [u8], options: &DecodeOptions) -> Result<Self, ImageError> {
        let is_whole =
            |tags: &Directory<'_>| tags.is_whole && !tag::ALL.iter().any(|&tag| tags.lacks_values(tag));
        let tags = Directory::read(bytes).filter(is_whole).ok_or_else(|| damaged("it ends too early"))?;
        let number = |tag, missing: u64| tags.first(tag).unwrap_or(missing);
        let size = |tag| tags.first(tag).and_then(|size| u32::try_from(size).ok()).filter(|&size| size > 0);
        let (Some(width), Some(height)) = (size(tag::WIDTH), size(tag::HEIGHT)) else {
            return Err(damaged("its width or height is missing"));
        };
        options.check_pixels(width, height)?;
        let [width, height] = [width as usize, height as usize];

        let colour = number(tag::COLOUR, 0);
        let compression = Compression::read(&tags)?;
        let mut samples = Samples::read(&tags)?;
        let colour = Colour::read(&tags, colour, &samples)?;
        samples.big_endian = tags.big_endian;
        let planar = number(tag::PLANES, 1) == 2 && samples.count > 1;
        if planar && colour.is_ycbcr() {
            return Err(unsupported("YCbCr colours in separate planes"));
        }

        let is_tiled = tags.first(tag::TILE_WIDTH).is_some();
        let (part, places) = if is_tiled {
            let side = |tag| {
                size(tag).map(|side| side as usize).ok_or_else(|| damaged("the size of its tiles is missing"))
            };
            ([side(tag::TILE_WIDTH)?, side(tag::TILE_HEIGHT)?], [tag::TILE_OFFSETS, tag::TILE_LENGTHS])
        } else {
            let rows = size(tag::ROWS_PER_STRIP).map_or(height, |rows| (rows as usize).min(height));
            ([width, rows], [tag::STRIP_OFFSETS, tag::STRIP_LENGTHS])
        };
        let planes = if planar { samples.count } else { 1 };
        let parts = width.div_ceil(part[0]) * height.div_ceil(part[1]) * planes;
        let list = |tag| -> Vec<u64> {
            tags.numbers(tag).map(|numbers| numbers.take(parts).collect()).unwrap_or_default()
        };
        let places = places.map(list);
        if places[0].len() < parts {
            return Err(damaged("it ends too early, or its list of strips or tiles does"));
        }
        let orientation = exif::of_directory(&tags);
        let picture = Self {
            bytes,
            width,
            height,
            part,
            is_tiled,
            planar,
            places,
            samples,
            colour,
            compression,
            orientation,
        };
        // Tiles may be larger than their picture, in memory and in the time that they take. Uncompressed ones are not copied.
        let bytes_of_part = picture.row_bytes().saturating_mul(part[1]) as u64;
        let together =
            if picture.compression.is_none() { 0 } else { bytes_of_part.saturating_mul(planes as u64) };
        if together > options.alloc_for((width * height) as u64)
            || bytes_of_part.saturating_mul(parts as u64) > options.max_alloc().saturating_mul(8)
        {
            return Err(options.out_of_memory());
        }
        picture.compression.check(&picture.samples, &picture.colour)?;
        Ok(picture)
    }

    /// The parts that make up one place of the picture.
    fn planes(&self) -> usize {
        if self.planar { self.samples.count } else { 1 }
    }

    /// Bytes of a row in a part.
    fn row_bytes(&self) -> usize {
        let samples = if self.planar { 1 } else { self.samples.count };
        self.part[0].saturating_mul(samples).saturating_mul(self.samples.bits).div_ceil(8)
    }

    /// Calls `read` for each place with its left and top edge and its rows, each with the bytes of all planes.
    fn for_each_part(
        &self,
        options: &DecodeOptions,
        mut read: impl FnMut([usize; 2], &mut dyn Iterator<Item = Vec<&[u8]>>) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        let [across, down] = [self.width.div_ceil(self.part[0]), self.height.div_ceil(self.part[1])];
        for index in 0..across * down {
            let [left, top] = [index % across * self.part[0], index / across * self.part[1]];
            let rows = self.part[1].min(self.height - top);
            let stored = if self.is_tiled { self.part[1] } else { rows };
            let planes: Result<Vec<Cow<'_, [u8]>>, ImageError> = (0..self.planes())
                .map(|plane| self.unpacked(plane * across * down + index, stored, options))
                .collect();
            let planes = planes?;
            let row =
                |y| planes.iter().map(|plane| &plane[y * self.row_bytes()..][..self.row_bytes()]).collect();
            read([left, top], &mut (0..rows).map(row))?;
        }
        Ok(())
    }

    /// The samples of a part with this number of rows.
    fn unpacked(
        &self,
        index: usize,
        rows: usize,
        options: &DecodeOptions,
    ) -> Result<Cow<'a, [u8]>, ImageError> {
        let too_short = || damaged("it ends too early");
        let [starts, lengths] = &self.places;
        let start = usize::try_from(starts[index]).map_err(|_| too_short())?;
        let packed = self.bytes.get(start..).ok_or_else(too_short)?;
        // Without a length, the data say where they end. Some programs write 0, or lengths for other strips.
        let length = lengths.get(index).and_then(|&length| usize::try_from(length).ok());
        let packed = match length {
            Some(length) if length > 0 && !self.compression.is_none() => &packed[..length.min(packed.len())],
            _ => packed,
        };
        let size = [self.part[0], rows];
        let mut data = self.compression.unpack(packed, size, self.row_bytes(), &self.colour, options)?;
        let together = if self.planar { 1 } else { self.samples.count };
        self.compression.undo_prediction(&mut data, self.row_bytes(), together, &self.samples);
        Ok(data)
    }

    /// The value of white in samples that are floats: 1 if all are between 0 and 1, 255 if they go beyond, up to there. The
    /// filters of image editors overshoot, so a tenth more is allowed.
    fn white(&self, options: &DecodeOptions) -> Result<f64, ImageError> {
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        self.for_each_part(options, |[left, _], rows| {
            let columns = self.part[0].min(self.width - left);
            for planes in rows {
                for value in self.samples.floats(&planes, columns) {
                    if value.is_nan() {
                        return Err(unsupported("samples that are not numbers (NaN)"));
                    }
                    [least, most] = [least.min(value), most.max(value)];
                }
            }
            Ok(())
        })?;
        let white = if most <= 1.1 { 1.0 } else { 255.0 };
        // Between the two, it cannot be told whether a picture is very bright or very dark.
        if most > 1.1 * white || least < -0.1 * white || (1.1..16.0).contains(&most) {
            return Err(unsupported(format!(
                "float samples from {least} to {most}, where 0 to 1 or 0 to 255 are understood"
            )));
        }
        Ok(white)
    }
}
