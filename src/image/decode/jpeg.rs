//! Strict JPEG decoding, with the same pixels as libjpeg-turbo: models are trained on pixels that Pillow or torchvision
//! decoded with libjpeg-turbo, and a decoder that rounds differently changes one caption in ten.
//!
//! JPEG decoders usually show as much as possible: missing or damaged data becomes grey. The caption of a half-grey picture
//! looks like any other caption, so such files are errors here. The decoder detects damage inside a scan and data that end
//! before the last block. A file without an end marker must have every bit of every coefficient. Damage in
//! arithmetic coding is not detected, since all data mean something there, and neither is a scan that was cut short and has
//! other data behind it: the rest is grey or noise, as in Pillow.
//!
//! `libjpeg-turbo-rs` reads the markers and decodes the planes of the components, [`planes`] makes pixels of them. The
//! library's own last step takes as long as the other steps together, on one processor, and refuses some sampling factors.

use std::borrow::Cow;

use ::image::metadata::Orientation;
use ::image::{DynamicImage, ImageFormat, RgbImage};
use libjpeg_turbo_rs::{ColorSpace, DecodeLimits, Decoder, JpegError};

use super::{DecodeOptions, ImageError, corrupt, exif};
use layout::Layout;
pub(super) use planes::{Pixels, under_ink};
use planes::{Plane, interleave};

mod layout;
mod planes;

/// Width and height that a file declares.
pub(super) fn dimensions(bytes: &[u8], options: &DecodeOptions) -> Result<(u32, u32), ImageError> {
    let bytes = completed(bytes)?;
    size(&open(&bytes, options)?, options)
}

/// Decodes a file to RGB pixels, with its orientation.
pub(super) fn decode(
    bytes: &[u8],
    options: &DecodeOptions,
) -> Result<(DynamicImage, Orientation), ImageError> {
    let bytes = completed(bytes)?;
    let decoder = open(&bytes, options)?;
    let (width, height) = size(&decoder, options)?;
    let orientation = decoder.exif_data().map_or(Orientation::NoTransforms, exif::orientation);
    let pixels = match decoder.jpeg_color_space() {
        ColorSpace::Grayscale => Pixels::GreyToRgb,
        ColorSpace::Rgb => Pixels::Components,
        ColorSpace::Cmyk => Pixels::CmykToRgb,
        ColorSpace::Ycck => Pixels::YcckToRgb,
        _ => Pixels::YCbCrToRgb,
    };
    let data = decode_as(decoder, pixels, options)?;
    match RgbImage::from_raw(width, height, data) {
        Some(image) => Ok((DynamicImage::ImageRgb8(image), orientation)),
        None => Err(corrupt(ImageFormat::Jpeg, TOO_FEW_PIXELS)),
    }
}

/// The pixels of a JPEG inside another file, row by row.
pub(super) struct Part {
    pub(super) width: usize,
    pub(super) height: usize,
    /// The components of each pixel, or RGB.
    pub(super) data: Vec<u8>,
}

/// Decodes a JPEG inside another file, which says what the components are: they become RGB if they are YCbCr.
pub(super) fn decode_part(bytes: &[u8], is_ycbcr: bool, options: &DecodeOptions) -> Result<Part, ImageError> {
    let bytes = completed(bytes)?;
    let decoder = open(&bytes, options)?;
    let (width, height) = size(&decoder, options)?;
    let pixels = match decoder.header().components.len() {
        3 if is_ycbcr => Pixels::YCbCrToRgb,
        _ => Pixels::Components,
    };
    let data = decode_as(decoder, pixels, options)?;
    Ok(Part { width: width as usize, height: height as usize, data })
}

/// A file with an end marker, if it has all pixels and is of a kind that is supported.
fn completed(bytes: &[u8]) -> Result<Cow<'_, [u8]>, ImageError> {
    let layout = Layout::of(bytes);
    if let Some(kind) = layout.unsupported() {
        return Err(ImageError::UnsupportedFormat { format: kind.to_owned() });
    }
    layout
        .completed(bytes)
        .ok_or_else(|| corrupt(ImageFormat::Jpeg, "it ends too early: the end-of-image marker is missing"))
}

fn open<'a>(bytes: &'a [u8], options: &DecodeOptions) -> Result<Decoder<'a>, ImageError> {
    let limits = DecodeLimits {
        max_width: usize::from(u16::MAX),
        max_height: usize::from(u16::MAX),
        max_pixels: u64::MAX,
        max_memory: Some(options.max_alloc()),
        ..DecodeLimits::default()
    };
    Decoder::new_with_limits(bytes, limits).map_err(|error| from_decoder(error, options))
}

fn size(decoder: &Decoder<'_>, options: &DecodeOptions) -> Result<(u32, u32), ImageError> {
    let frame = decoder.header();
    let (width, height) = (u32::from(frame.width), u32::from(frame.height));
    options.check_pixels(width, height)?;
    if width == 0 || height == 0 {
        return Err(corrupt(ImageFormat::Jpeg, "its width or height is missing"));
    }
    Ok((width, height))
}

const TOO_FEW_PIXELS: &str = "it holds fewer pixels than it declares";

fn decode_as(decoder: Decoder<'_>, pixels: Pixels, options: &DecodeOptions) -> Result<Vec<u8>, ImageError> {
    let unsupported = |what: &str| ImageError::UnsupportedFormat { format: format!("a JPEG {what}") };
    let components = decoder.header().components.clone();
    if !matches!(components.len(), 1 | 3 | 4) {
        return Err(unsupported(&format!("with {} components", components.len())));
    }
    let (width, height) = decoder.header().dimensions();
    let sampling: Vec<[usize; 2]> = components
        .iter()
        .map(|component| [component.horizontal_sampling, component.vertical_sampling].map(usize::from))
        .collect();
    let most = [0, 1].map(|i| sampling.iter().map(|sampling| sampling[i]).max().unwrap_or(1));
    let whole =
        |sampling: &[usize; 2]| (0..2).all(|i| sampling[i] > 0 && most[i].is_multiple_of(sampling[i]));
    if !sampling.iter().all(whole) {
        return Err(unsupported("whose components do not have whole numbers of pixels to a sample"));
    }

    let raw = decoder.decode_raw().map_err(|error| from_decoder(error, options))?;
    let planes: Option<Vec<Plane>> = (raw.planes.into_iter().zip(raw.plane_widths).zip(sampling))
        .map(|((data, stride), sampling)| Plane::new(data, stride, [width, height], sampling, most))
        .collect();
    let planes = planes.ok_or_else(|| corrupt(ImageFormat::Jpeg, TOO_FEW_PIXELS))?;
    Ok(interleave(&planes, [width, height], pixels))
}

fn from_decoder(error: JpegError, options: &DecodeOptions) -> ImageError {
    match error {
        JpegError::Unsupported(_) => {
            ImageError::UnsupportedFormat { format: "an unusual kind of JPEG".to_owned() }
        }
        JpegError::LimitExceeded { .. } | JpegError::AllocationFailed { .. } => options.out_of_memory(),
        JpegError::UnexpectedEof | JpegError::Io(_) => corrupt(ImageFormat::Jpeg, "it ends too early"),
        // The decoder's own words are about its parts, not about the file.
        _ => corrupt(ImageFormat::Jpeg, "its data contradict each other"),
    }
}
