//! Strict JPEG decoding, with the same pixels as libjpeg-turbo: models are trained on pixels that Pillow or torchvision
//! decoded with libjpeg-turbo, and a decoder that rounds differently changes one caption in ten.
//!
//! JPEG decoders usually show as much as possible: missing or damaged data becomes grey. The caption of a half-grey picture
//! looks like any other caption, so such files are errors here. The decoder detects damage inside a scan. It does not
//! detect every truncation in the last row of blocks; the check for the end marker does. Neither detects a truncated scan
//! to which an end marker was added: its rest is grey, as in Pillow.

use ::image::metadata::Orientation;
use ::image::{DynamicImage, ImageFormat, RgbImage};
use libjpeg_turbo_rs::{ColorSpace, DecodeLimits, Decoder, JpegError, PixelFormat};

use super::{DecodeOptions, ImageError, corrupt, orientation};

/// A decoder with the width and height that the file declares, and the layout of its markers.
pub(super) fn open<'a>(
    bytes: &'a [u8],
    options: &DecodeOptions,
) -> Result<(Decoder<'a>, (u32, u32), Layout), ImageError> {
    let layout = Layout::of(bytes);
    if let Some(kind) = layout.unsupported() {
        return Err(ImageError::UnsupportedFormat { format: kind.to_owned() });
    }
    let limits = DecodeLimits {
        max_width: usize::from(u16::MAX),
        max_height: usize::from(u16::MAX),
        max_pixels: u64::MAX,
        max_memory: Some(options.max_alloc()),
        ..DecodeLimits::default()
    };
    let decoder = Decoder::new_with_limits(bytes, limits).map_err(|error| from_decoder(error, options))?;
    let (width, height) = decoder.header().dimensions();
    // At most 65,535 each, as the format has 16 bits for them.
    let (width, height) = (width as u32, height as u32);
    options.check_pixels(width, height)?;
    Ok((decoder, (width, height), layout))
}

pub(super) fn decode(
    bytes: &[u8],
    options: &DecodeOptions,
) -> Result<(DynamicImage, Orientation), ImageError> {
    let (mut decoder, (width, height), layout) = open(bytes, options)?;
    if !layout.has_end {
        return Err(corrupt(ImageFormat::Jpeg, "it ends too early: the end-of-image marker is missing"));
    }

    let orientation = orientation(decoder.exif_data());
    let inks = matches!(decoder.jpeg_color_space(), ColorSpace::Cmyk | ColorSpace::Ycck);
    decoder.set_output_format(if inks { PixelFormat::Cmyk } else { PixelFormat::Rgb });
    let mut data = decoder.decode_image().map_err(|error| from_decoder(error, options))?.data;
    if inks {
        to_rgb(&mut data);
    }
    match RgbImage::from_raw(width, height, data) {
        Some(image) => Ok((DynamicImage::ImageRgb8(image), orientation)),
        None => Err(corrupt(ImageFormat::Jpeg, "it holds fewer pixels than it declares")),
    }
}

/// CMYK as JPEG files keep it, 255 for no ink (Adobe's convention), to RGB as Pillow does it, in place.
fn to_rgb(data: &mut Vec<u8>) {
    let pixels = data.len() / 4;
    for i in 0..pixels {
        let [c, m, y, white] = [data[4 * i], data[4 * i + 1], data[4 * i + 2], data[4 * i + 3]];
        // `white - (255 - light) * white / 255`, with the quotient rounded to the nearest.
        let left = |light: u8| {
            let product = u32::from(255 - light) * u32::from(white) + 128;
            white.saturating_sub(((product + (product >> 8)) >> 8) as u8)
        };
        data[3 * i..3 * i + 3].copy_from_slice(&[left(c), left(m), left(y)]);
    }
    data.truncate(pixels * 3);
}

fn from_decoder(error: JpegError, options: &DecodeOptions) -> ImageError {
    match error {
        JpegError::Unsupported(_) => {
            ImageError::UnsupportedFormat { format: "an unusual kind of JPEG".to_owned() }
        }
        JpegError::LimitExceeded { .. } | JpegError::AllocationFailed { .. } => ImageError::OutOfMemory {
            what: "decoding the picture",
            limit: format!("{} MiB", options.max_alloc() >> 20),
        },
        JpegError::UnexpectedEof | JpegError::Io(_) => corrupt(ImageFormat::Jpeg, "it ends too early"),
        error => corrupt(ImageFormat::Jpeg, error),
    }
}

/// Properties that follow from the markers alone.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    /// The second byte of the first frame's marker, which is the kind of coding, and the bits of a sample.
    frame: Option<(u8, u8)>,
    /// Whether an end-of-image marker follows a scan.
    has_end: bool,
}

impl Layout {
    /// Walks from marker to marker. The contents of segments, such as thumbnails, are skipped.
    fn of(bytes: &[u8]) -> Self {
        let mut layout = Self::default();
        layout.walk(bytes.get(2..).unwrap_or_default());
        layout
    }

    /// Returns early, with `None`, where the data ends before the end marker.
    fn walk(&mut self, mut rest: &[u8]) -> Option<()> {
        let mut seen_scan = false;
        loop {
            // Entropy-coded data and stray bytes: skip to the next 0xFF.
            let at = rest.iter().position(|&byte| byte == 0xFF)?;
            rest = &rest[at + 1..];
            let (&marker, after) = rest.split_first()?;
            match marker {
                0xD9 if seen_scan => {
                    self.has_end = true;
                    return Some(());
                }
                // A fill byte: the next one may be the marker.
                0xFF => continue,
                // An escaped 0xFF, restarts and other markers without a segment.
                0x00..=0x01 | 0xD0..=0xD9 => rest = after,
                _ => {
                    let (length, body) = after.split_first_chunk::<2>()?;
                    // 0xC4, 0xC8 and 0xCC are in the range of the frames but are not frames; 0xF7 is the frame of JPEG-LS.
                    if matches!(marker, 0xC0..=0xCF | 0xF7) && !matches!(marker, 0xC4 | 0xC8 | 0xCC) {
                        self.frame = self.frame.or(body.first().map(|&bits| (marker, bits)));
                    }
                    seen_scan |= marker == 0xDA;
                    rest = after.get(usize::from(u16::from_be_bytes(*length))..)?;
                }
            }
        }
    }

    /// The name of a coding that the decoder does not support.
    fn unsupported(&self) -> Option<&'static str> {
        match self.frame? {
            (0xC3 | 0xCB, _) => Some("a lossless JPEG"),
            (0xC5..=0xC7 | 0xCD..=0xCF, _) => Some("a hierarchical JPEG"),
            (0xF7, _) => Some("JPEG-LS"),
            (_, 12) => Some("a JPEG with 12 bits for each sample"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Layout;

    #[test]
    fn an_end_marker_counts_only_after_a_scan() {
        let thumbnail = b"\xFF\xD8\xFF\xE1\0\x06\xFF\xDA\xFF\xD9";
        let scan = b"\xFF\xDA\0\x03\x01\x12\xFF\0\xD9\xFF\xD0\x34";
        let with = |parts: &[&[u8]]| Layout::of(&parts.concat()).has_end;
        assert!(!with(&[thumbnail]));
        assert!(!with(&[thumbnail, b"\xFF\xD9"]));
        assert!(!with(&[thumbnail, scan]));
        assert!(!with(&[thumbnail, scan, b"\xFF"]));
        assert!(with(&[thumbnail, scan, b"\xFF\xD9"]));
        assert!(with(&[thumbnail, scan, b"\xFF\xFF\xD9trailer"]));
        assert!(!Layout::of(b"\xFF").has_end);
    }

    #[test]
    fn kinds_that_cannot_be_decoded_are_named() {
        let kind = |marker, bits| Layout::of(&[0xFF, 0xD8, 0xFF, marker, 0, 8, bits]).unsupported();
        for marker in [0xC0, 0xC1, 0xC2, 0xC4, 0xC9, 0xCA] {
            assert_eq!(kind(marker, 8), None);
        }
        for marker in [0xC3, 0xC5, 0xCB, 0xCD, 0xF7] {
            assert!(kind(marker, 8).is_some_and(|name| name.contains("JPEG")), "{marker:x}");
        }
        assert!(kind(0xC1, 12).is_some());
    }
}
