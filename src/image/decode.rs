//! Decodes photo files to upright RGB pixels.
//!
//! * The format is recognised by content; the file name is ignored.
//! * Limits are checked against the declared size, before memory for pixels is allocated.
//! * Animations (GIF, WebP, APNG) give their first frame, the default picture in the case of APNG.
//! * 16-bit samples are rounded to the nearest 8-bit value. Grey, palette, CMYK and YCCK become RGB. Floats in TIFF files go from
//!   0 to 1, or to 255.
//! * Colour profiles (ICC) and gamma are ignored, as in the loaders that captioning models are trained with.
//! * Damaged and truncated files are errors; missing pixels are not replaced by grey. A file that lacks only its end, or has
//!   other data in its place, is whole: JPEG, PNG and the others are read as far as their last pixel.
//! * Containers are as programs write them, not only as the formats define them: [`complete`] and [`bmp`] mend what decoders
//!   refuse, and [`exif`] finds the orientation.
//! * Errors are in words about the file. The decoders' own words are about their parts, and are not repeated.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::panic;
use std::path::Path;

use ::image::error::ImageError as CodecError;
use ::image::metadata::Orientation;
use ::image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use serde::{Deserialize, Serialize};

use super::sniff::{Sniffed, sniff};
use super::{ImageError, Rgb8};

mod bmp;
mod complete;
mod exif;
mod ifd;
mod jpeg;

#[cfg(test)]
mod tests;
mod tiff;

/// The treatment of transparent pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Alpha {
    /// They are composited over white, as viewers show them. Alpha is straight: `(c * a + 255 * (255 - a)) / 255`, rounded
    /// to the nearest.
    #[default]
    White,
    /// They are composited over black.
    Black,
    /// Alpha is dropped, as Pillow's `convert("RGB")` does.
    Drop,
}

/// Limits and choices for [`read`] and [`decode`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeOptions {
    /// Most pixels that a file may declare; 100 million by default. Decoding takes up to 8 bytes for each, and a copy in RGB.
    pub max_pixels: u64,
    /// Most bytes that a file may have; 256 MiB by default.
    pub max_bytes: u64,
    /// Whether the orientation in the Exif data is applied; true by default. Some reference models were trained without it.
    pub apply_orientation: bool,
    /// The treatment of transparent pixels.
    pub alpha: Alpha,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self {
            max_pixels: 100_000_000,
            max_bytes: 256 << 20,
            apply_orientation: true,
            alpha: Alpha::default(),
        }
    }
}

impl DecodeOptions {
    fn check_pixels(&self, width: u32, height: u32) -> Result<(), ImageError> {
        if u64::from(width) * u64::from(height) > self.max_pixels {
            return Err(ImageError::TooManyPixels { width, height, limit: self.max_pixels });
        }
        Ok(())
    }

    /// Bytes that a decoder may allocate for the largest possible picture.
    fn max_alloc(&self) -> u64 {
        self.alloc_for(self.max_pixels)
    }

    /// Bytes that a decoder may allocate for so many pixels: four 16-bit samples for each, and a margin.
    fn alloc_for(&self, pixels: u64) -> u64 {
        pixels.saturating_mul(8).saturating_add(64 << 20)
    }

    fn out_of_memory(&self) -> ImageError {
        ImageError::OutOfMemory {
            what: "decoding the picture",
            limit: format!("{} MiB", self.max_alloc() >> 20),
        }
    }
}

/// Reads and decodes a photo file.
///
/// # Errors
/// Any [`ImageError`] about files; the error does not contain the file's name.
pub fn read(path: &Path, options: &DecodeOptions) -> Result<Rgb8, ImageError> {
    decode(&read_bytes(path, options.max_bytes)?, options)
}

fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, ImageError> {
    use std::io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
    let io = |error: std::io::Error| match error.kind() {
        NotFound | NotADirectory => ImageError::NotFound,
        IsADirectory => ImageError::IsDirectory,
        _ => ImageError::Io(error),
    };
    let metadata = fs::metadata(path).map_err(io)?;
    if metadata.is_dir() {
        return Err(ImageError::IsDirectory);
    }
    if metadata.len() > limit {
        return Err(ImageError::TooManyBytes { found: metadata.len(), limit });
    }
    // Pipes have no length and files may grow, so the limit applies to the bytes read.
    let mut bytes = Vec::new();
    File::open(path).map_err(io)?.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// The reason in the error of a file that makes its decoder panic.
const DECODER_FAILED: &str = "the decoder failed on it";

/// Decodes a photo that is in memory.
///
/// # Errors
/// Any [`ImageError`] about the content of files.
pub fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<Rgb8, ImageError> {
    guarded(bytes, options, decode_as)
}

/// Width and height that a photo in memory declares, before its orientation is applied. For callers that have to reserve memory
/// first: it decodes no pixels. It reads the file's header only, except for a progressive JPEG, which it reads to the end.
///
/// # Errors
/// As [`decode`]. Damage after the header is not detected.
pub fn dimensions(bytes: &[u8], options: &DecodeOptions) -> Result<[u32; 2], ImageError> {
    guarded(bytes, options, |format, bytes, options| {
        let (width, height) = match format {
            ImageFormat::Jpeg => jpeg::dimensions(bytes, options)?,
            ImageFormat::Tiff => tiff::dimensions(bytes, options)?,
            _ => open(format, &completed(format, bytes), options)?.dimensions(),
        };
        Ok([width, height])
    })
}

/// Applies `read` to the bytes of a supported format, within the limit of bytes. A panic becomes an error.
fn guarded<T>(
    bytes: &[u8],
    options: &DecodeOptions,
    read: fn(ImageFormat, &[u8], &DecodeOptions) -> Result<T, ImageError>,
) -> Result<T, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::EmptyFile);
    }
    if bytes.len() as u64 > options.max_bytes {
        return Err(ImageError::TooManyBytes { found: bytes.len() as u64, limit: options.max_bytes });
    }
    let format = match sniff(bytes) {
        Sniffed::Supported(format) => format,
        Sniffed::Unsupported(format) => {
            return Err(ImageError::UnsupportedFormat { format: format.to_owned() });
        }
        Sniffed::NotAnImage(found) => return Err(ImageError::NotAnImage { found }),
    };
    // Decoders are third-party code that reads untrusted bytes. A panic on one file must not end a batch of thousands or a
    // server. No state of the decoder outlives the call, so none can be inconsistent. The panic hook belongs to the host and is
    // not changed.
    panic::catch_unwind(|| read(format, bytes, options))
        .unwrap_or_else(|_| Err(corrupt(format, DECODER_FAILED)))
}

fn decode_as(format: ImageFormat, bytes: &[u8], options: &DecodeOptions) -> Result<Rgb8, ImageError> {
    let (image, orientation) = match format {
        ImageFormat::Jpeg => jpeg::decode(bytes, options)?,
        ImageFormat::Tiff => tiff::decode(bytes, options)?,
        _ => decode_other(format, bytes, options)?,
    };
    let (width, height) = (image.width(), image.height());
    let data = to_rgb(image, options.alpha);
    if !options.apply_orientation || orientation == Orientation::NoTransforms {
        return Rgb8::new(width, height, data);
    }
    // Only a rotation by 90 degrees needs a second picture; the other cases work in place.
    let Some(rgb) = RgbImage::from_raw(width, height, data) else {
        return Err(ImageError::InvalidSize { width, height, bytes: None });
    };
    let mut image = DynamicImage::ImageRgb8(rgb);
    image.apply_orientation(orientation);
    Rgb8::new(image.width(), image.height(), image.into_rgb8().into_raw())
}

/// A file as the decoders want it; its pixels are the same.
fn completed(format: ImageFormat, bytes: &[u8]) -> Cow<'_, [u8]> {
    match format {
        ImageFormat::Png => complete::png(bytes),
        ImageFormat::WebP => complete::webp(bytes),
        ImageFormat::Gif => complete::gif(bytes),
        ImageFormat::Bmp => bmp::completed(bytes),
        _ => bytes.into(),
    }
}

/// A decoder for PNG, WebP, GIF and BMP.
fn open<'a>(
    format: ImageFormat,
    bytes: &'a [u8],
    options: &DecodeOptions,
) -> Result<impl ImageDecoder + 'a, ImageError> {
    let mut limits = Limits::default();
    limits.max_alloc = Some(options.max_alloc());
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);

    let decoder = reader.into_decoder().map_err(|error| from_codec(format, bytes, &error, options))?;
    let (width, height) = decoder.dimensions();
    options.check_pixels(width, height)?;
    Ok(decoder)
}

/// Decodes PNG, WebP, GIF and BMP.
fn decode_other(
    format: ImageFormat,
    bytes: &[u8],
    options: &DecodeOptions,
) -> Result<(DynamicImage, Orientation), ImageError> {
    let completed = completed(format, bytes);
    let decoder = open(format, &completed, options)?;
    let mut image =
        DynamicImage::from_decoder(decoder).map_err(|error| from_codec(format, bytes, &error, options))?;
    let exif = match format {
        ImageFormat::Png => exif::of_png(bytes),
        ImageFormat::WebP => complete::webp_exif(bytes).map(Cow::from),
        _ => None,
    };
    match format {
        ImageFormat::Bmp => bmp::adjust(bytes, &mut image),
        ImageFormat::Gif => complete::surround_gif(bytes, &mut image),
        _ => {}
    }
    let orientation = exif.map_or(Orientation::NoTransforms, |exif| exif::orientation(&exif));
    Ok((image, orientation))
}

/// 8-bit RGB bytes of any picture.
fn to_rgb(image: DynamicImage, alpha: Alpha) -> Vec<u8> {
    if !image.color().has_alpha() {
        return image.into_rgb8().into_raw();
    }
    // RGB is shorter than RGBA, so it can overwrite it from the start without a second copy.
    let mut data = image.into_rgba8().into_raw();
    let pixels = data.len() / 4;
    for i in 0..pixels {
        let [r, g, b, a] = [data[4 * i], data[4 * i + 1], data[4 * i + 2], data[4 * i + 3]];
        let rgb = match alpha {
            Alpha::White => [r, g, b].map(|c| over(c, 255, a)),
            Alpha::Black => [r, g, b].map(|c| over(c, 0, a)),
            Alpha::Drop => [r, g, b],
        };
        data[3 * i..3 * i + 3].copy_from_slice(&rgb);
    }
    data.truncate(pixels * 3);
    data.shrink_to_fit();
    data
}

/// `front` over an opaque `back`, rounded to the nearest.
fn over(front: u8, back: u8, alpha: u8) -> u8 {
    let [front, back, alpha] = [front, back, alpha].map(u32::from);
    ((front * alpha + back * (255 - alpha) + 127) / 255) as u8
}

fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Png => "PNG",
        ImageFormat::WebP => "WebP",
        ImageFormat::Gif => "GIF",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Tiff => "TIFF",
        _ => "image",
    }
}

fn corrupt(format: ImageFormat, reason: impl ToString) -> ImageError {
    ImageError::Corrupt { format: name(format), reason: reason.to_string() }
}

/// The decoders' own words are about their parts, not about the file, so none of them are repeated.
fn from_codec(format: ImageFormat, bytes: &[u8], error: &CodecError, options: &DecodeOptions) -> ImageError {
    if format == ImageFormat::Bmp
        && let Some(kind) = bmp::unsupported(bytes)
    {
        return ImageError::UnsupportedFormat { format: kind };
    }
    match error {
        CodecError::Limits(_) => options.out_of_memory(),
        CodecError::Unsupported(_) => {
            ImageError::UnsupportedFormat { format: format!("an unusual kind of {}", name(format)) }
        }
        // The bytes are in memory: reading can only fail because there are too few of them.
        CodecError::IoError(_) => corrupt(format, "it ends too early"),
        _ => corrupt(format, "its data contradict each other"),
    }
}
