//! Decodes photo files to upright RGB pixels.
//!
//! * The format is recognised by content; the file name is ignored.
//! * Limits are checked against the declared size, before memory for pixels is allocated.
//! * Animations (GIF, WebP, APNG) give their first frame, the default picture in the case of APNG.
//! * 16-bit samples are rounded to the nearest 8-bit value. Grey, palette, CMYK and YCCK become RGB.
//! * Colour profiles (ICC) and gamma are ignored, as in the loaders that captioning models are trained with.
//! * Damaged and truncated files are errors; missing pixels are not replaced by grey. Data after the last pixel is
//!   ignored, except that a JPEG file must have its end marker.

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

mod jpeg;
#[cfg(test)]
mod tests;

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

    /// Bytes that a decoder may allocate: the largest possible pixels (four 16-bit samples) and a margin.
    fn max_alloc(&self) -> u64 {
        self.max_pixels.saturating_mul(8).saturating_add(64 << 20)
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
            ImageFormat::Jpeg => jpeg::open(bytes, options)?.1,
            _ => open(format, bytes, options).map_err(|error| error.into_image_error(format, options))?.1,
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
    let (image, orientation) = if format == ImageFormat::Jpeg {
        jpeg::decode(bytes, options)?
    } else {
        decode_other(format, bytes, options).map_err(|error| error.into_image_error(format, options))?
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

/// A decoder's error, or an error of this module.
enum Failure {
    Codec(CodecError),
    Refused(ImageError),
}

impl From<CodecError> for Failure {
    fn from(error: CodecError) -> Self {
        Self::Codec(error)
    }
}

impl Failure {
    fn into_image_error(self, format: ImageFormat, options: &DecodeOptions) -> ImageError {
        match self {
            Failure::Codec(error) => from_codec(format, error, options),
            Failure::Refused(error) => error,
        }
    }
}

/// A decoder for everything but JPEG, with the width and height that the file declares.
fn open<'a>(
    format: ImageFormat,
    bytes: &'a [u8],
    options: &DecodeOptions,
) -> Result<(impl ImageDecoder + 'a, (u32, u32)), Failure> {
    let mut limits = Limits::default();
    limits.max_alloc = Some(options.max_alloc());
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);

    let decoder = reader.into_decoder()?;
    let size = decoder.dimensions();
    options.check_pixels(size.0, size.1).map_err(Failure::Refused)?;
    Ok((decoder, size))
}

/// Decodes everything but JPEG.
fn decode_other(
    format: ImageFormat,
    bytes: &[u8],
    options: &DecodeOptions,
) -> Result<(DynamicImage, Orientation), Failure> {
    let (mut decoder, _) = open(format, bytes, options)?;
    let orientation = match format {
        ImageFormat::Tiff => decoder.orientation()?,
        // A picture with broken metadata is still readable, so an error counts as no metadata.
        ImageFormat::Png => {
            orientation(decoder.exif_metadata().ok().flatten().as_deref().or_else(|| late_exif(bytes)))
        }
        _ => orientation(decoder.exif_metadata().ok().flatten().as_deref()),
    };
    Ok((DynamicImage::from_decoder(decoder)?, orientation))
}

/// The orientation in Exif data. Some WebP files have the prefix in front of it that belongs to JPEG only.
fn orientation(exif: Option<&[u8]>) -> Orientation {
    let exif = exif.map(|exif| exif.strip_prefix(b"Exif\0\0").unwrap_or(exif));
    exif.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
}

/// The eXIf chunk at any position of a PNG file: it may follow the pixels, where the decoder does not look.
fn late_exif(png: &[u8]) -> Option<&[u8]> {
    let mut rest = png.get(8..)?;
    loop {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (name, body) = after.split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        if name == b"eXIf" {
            return body.get(..length);
        }
        rest = body.get(length.checked_add(4)?..)?;
    }
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

fn from_codec(format: ImageFormat, error: CodecError, options: &DecodeOptions) -> ImageError {
    match error {
        CodecError::Limits(_) => ImageError::OutOfMemory {
            what: "decoding the picture",
            limit: format!("{} MiB", options.max_alloc() >> 20),
        },
        CodecError::Unsupported(error) => ImageError::UnsupportedFormat {
            format: format!("a kind of {} that is not supported ({error})", name(format)),
        },
        // The bytes are in memory: reading can only fail because there are too few of them.
        CodecError::IoError(_) => corrupt(format, "it ends too early"),
        error => corrupt(format, error),
    }
}
