//! Files whose pixels are complete, but whose container is not as decoders want it: they are completed before they are decoded.

use std::borrow::Cow;

use ::image::DynamicImage;

use super::exif::png_chunk;

/// A PNG file that ends without its end chunk gets one. What follows the last whole chunk is dropped, unless it is the beginning
/// of pixel data: the decoder tells whether pixels are missing.
pub(super) fn png(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut rest = bytes.get(8..).unwrap_or_default();
    while let Some((name, _, after)) = png_chunk(rest) {
        if &name == b"IEND" {
            return bytes.into();
        }
        rest = after;
    }
    let mut whole = bytes[..bytes.len() - rest.len()].to_vec();
    if let Some((b"IDAT", data)) = rest.get(4..).and_then(<[u8]>::split_first_chunk::<4>) {
        // Without its end, the checksum cannot be checked; a part of it may be among the data, where nobody reads it.
        push_png_chunk(&mut whole, b"IDAT", data);
    }
    push_png_chunk(&mut whole, b"IEND", &[]);
    whole.into()
}

fn push_png_chunk(png: &mut Vec<u8>, name: &[u8; 4], body: &[u8]) {
    let mut sum = flate2::Crc::new();
    sum.update(name);
    sum.update(body);
    png.extend((body.len() as u32).to_be_bytes());
    png.extend(name);
    png.extend(body);
    png.extend(sum.sum().to_be_bytes());
}

/// Where the flags of a WebP file's extended header are: after the header of the file and that of the chunk.
const WEBP_FLAGS: usize = 20;
/// The flags that announce transparency and Exif data.
const WEBP_ALPHA: u8 = 0x10;
const WEBP_EXIF: u8 = 0x08;

fn has_webp_flags(bytes: &[u8]) -> bool {
    bytes.get(12..16) == Some(b"VP8X") && bytes.len() > WEBP_FLAGS
}

/// The Exif data of a WebP file. They do not count if they are not announced, as for libwebp.
pub(super) fn webp_exif(webp: &[u8]) -> Option<&[u8]> {
    let announced = has_webp_flags(webp) && webp[WEBP_FLAGS] & WEBP_EXIF != 0;
    if announced { webp_chunk(webp, b"EXIF") } else { None }
}

/// The content of the first chunk of a WebP file with this name.
fn webp_chunk<'a>(webp: &'a [u8], wanted: &[u8; 4]) -> Option<&'a [u8]> {
    let mut rest = webp.get(12..)?;
    loop {
        let (name, after) = rest.split_first_chunk::<4>()?;
        let (length, after) = after.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let body = after.get(..length)?;
        if name == wanted {
            return Some(body);
        }
        rest = after.get(length.next_multiple_of(2)..)?;
    }
}

/// In a WebP file with the extended header, the flags become those of the chunks that are there.
pub(super) fn webp(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !has_webp_flags(bytes) {
        return bytes.into();
    }
    let has = |name: &[u8; 4]| webp_chunk(bytes, name).is_some();
    let announced = [(0x20, b"ICCP"), (WEBP_EXIF, b"EXIF"), (0x04, b"XMP "), (0x02, b"ANIM")];
    let absent: u8 = announced.iter().filter(|(_, name)| !has(name)).map(|(flag, _)| flag).sum();
    let mut flags = bytes[WEBP_FLAGS] & !absent;
    // Frames of animations have their transparency in themselves. Lossless pixels tell theirs in the 29th bit of their header,
    // others have it in a chunk that does not count if it is not announced.
    if flags & 0x02 == 0 {
        let is_transparent = match webp_chunk(bytes, b"VP8L") {
            Some(pixels) => pixels.get(4).is_some_and(|byte| byte & 0x10 != 0),
            None => flags & WEBP_ALPHA != 0 && has(b"ALPH"),
        };
        flags = flags & !WEBP_ALPHA | if is_transparent { WEBP_ALPHA } else { 0 };
    }
    if flags == bytes[WEBP_FLAGS] {
        return bytes.into();
    }
    let mut whole = bytes.to_vec();
    whole[WEBP_FLAGS] = flags;
    whole.into()
}

/// A GIF file whose first frame is larger than its screen gets a screen on which the frame has room.
pub(super) fn gif(bytes: &[u8]) -> Cow<'_, [u8]> {
    let Some(frame) = GifFrame::first(bytes) else { return bytes.into() };
    let [width, height] = [6, 8].map(|at| u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    if frame.right <= width && frame.bottom <= height {
        return bytes.into();
    }
    let mut whole = bytes.to_vec();
    whole[6..8].copy_from_slice(&width.max(frame.right).to_le_bytes());
    whole[8..10].copy_from_slice(&height.max(frame.bottom).to_le_bytes());
    whole.into()
}

/// The pixels around the first frame of a GIF file get the first colour of its palette, as in Pillow. If the frame has transparent
/// pixels, those around it are transparent as well.
pub(super) fn surround_gif(bytes: &[u8], image: &mut DynamicImage) {
    if let DynamicImage::ImageRgba8(image) = image
        && let Some(frame) = GifFrame::first(bytes)
        && !frame.has_transparency
    {
        let [red, green, blue] = frame.first_colour;
        for pixel in image.pixels_mut().filter(|pixel| pixel.0[3] == 0) {
            pixel.0 = [red, green, blue, 255];
        }
    }
}

/// The first frame of a GIF file.
struct GifFrame {
    right: u16,
    bottom: u16,
    has_transparency: bool,
    first_colour: [u8; 3],
}

impl GifFrame {
    fn first(gif: &[u8]) -> Option<Self> {
        /// The bytes of a palette with these flags.
        fn palette(flags: u8) -> usize {
            if flags & 0x80 != 0 { 3 << ((flags & 7) + 1) } else { 0 }
        }
        let colour = |at: usize| gif.get(at..at + 3)?.try_into().ok();
        let global = palette(*gif.get(10)?);
        let mut at = 13 + global;
        let mut has_transparency = false;
        loop {
            match *gif.get(at)? {
                b',' => {
                    let head: &[u8; 9] = gif.get(at + 1..at + 10)?.try_into().ok()?;
                    let [left, top, width, height] =
                        [0, 2, 4, 6].map(|i| u16::from_le_bytes([head[i], head[i + 1]]));
                    let first_colour = match (palette(head[8]), global) {
                        (0, 0) => [0; 3],
                        (0, _) => colour(13)?,
                        _ => colour(at + 10)?,
                    };
                    let [right, bottom] = [left.saturating_add(width), top.saturating_add(height)];
                    return Some(Self { right, bottom, has_transparency, first_colour });
                }
                // An extension: its kind, then blocks up to an empty one. The kind 249 tells about transparency.
                b'!' => {
                    if let [249, 4, flags, ..] = gif.get(at + 1..)? {
                        has_transparency = flags & 1 == 1;
                    }
                    at += 2;
                    while *gif.get(at)? != 0 {
                        at += 1 + usize::from(gif[at]);
                    }
                    at += 1;
                }
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests;
