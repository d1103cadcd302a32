//! What BMP files need before and after the decoder.

use std::borrow::Cow;

use ::image::DynamicImage;

/// The length of the header that Windows 3 introduced, which the later ones begin with.
const INFO_HEADER: usize = 40;
/// Where the header begins, after that of the file.
const HEADER: usize = 14;
/// Where the kind of compression is.
const COMPRESSION: usize = HEADER + 16;

fn number(bmp: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bmp.get(at..at + 4)?.try_into().ok()?))
}

/// Headers that the decoder does not know are exchanged for ones with the same content that it knows: those of OS/2, and the one
/// with four masks behind it.
pub(super) fn completed(bytes: &[u8]) -> Cow<'_, [u8]> {
    exchanged(bytes).map_or(bytes.into(), Cow::Owned)
}

fn exchanged(bytes: &[u8]) -> Option<Vec<u8>> {
    let length = number(bytes, HEADER)? as usize;
    // A short header leaves out what comes after the bits of a pixel.
    let compression = if length > 16 { number(bytes, COMPRESSION)? } else { 0 };
    match (length, compression) {
        // OS/2 has other meanings for 3 and 4.
        (16 | 64, 0..=2) => {
            let header = bytes.get(HEADER..HEADER + length)?;
            let data = number(bytes, 10)?.checked_add(INFO_HEADER as u32)?.checked_sub(length as u32)?;
            let mut info = header[..length.min(INFO_HEADER)].to_vec();
            info.resize(INFO_HEADER, 0);
            info[..4].copy_from_slice(&(INFO_HEADER as u32).to_le_bytes());
            Some([&bytes[..10], &data.to_le_bytes(), &info, &bytes[HEADER + length..]].concat())
        }
        // The four masks are part of the next longer header, where another number stands for masks.
        (INFO_HEADER, 6) => {
            let mut whole = bytes.to_vec();
            whole[HEADER] = 56;
            whole[COMPRESSION] = 3;
            Some(whole)
        }
        _ => None,
    }
}

/// The name of a kind that the decoder does not support.
pub(super) fn unsupported(bytes: &[u8]) -> Option<String> {
    let length = number(bytes, HEADER)?;
    let bits = bytes.get(HEADER + 14..HEADER + 16).map(|bits| u16::from_le_bytes([bits[0], bits[1]]))?;
    match (length, number(bytes, COMPRESSION)?) {
        (12, _) => None,
        (64, 3) => Some("a BMP with fax compression".to_owned()),
        (64, 4) => Some("a BMP with run-length compression of 24-bit pixels".to_owned()),
        (_, 4) => Some("a BMP with a JPEG inside".to_owned()),
        (_, 5) => Some("a BMP with a PNG inside".to_owned()),
        (_, 11..=13) => Some("a BMP with CMYK colours".to_owned()),
        (_, 0..=3) if !matches!(bits, 1 | 2 | 4 | 8 | 16 | 24 | 32) => {
            Some(format!("a BMP with {bits}-bit pixels"))
        }
        (_, 0..=3) => None,
        (_, other) => Some(format!("a BMP with compression of an unknown kind ({other})")),
    }
}

/// Makes the pixels those that Pillow reads.
pub(super) fn adjust(bytes: &[u8], image: &mut DynamicImage) {
    // A picture without any opaque or half-opaque pixel comes from a program that did not fill in the opacity.
    if let DynamicImage::ImageRgba8(image) = image
        && image.pixels().all(|pixel| pixel.0[3] == 0)
    {
        image.pixels_mut().for_each(|pixel| pixel.0[3] = 255);
    }
    let Some(bits) = channel_bits(bytes) else { return };
    match image {
        DynamicImage::ImageRgb8(image) => image.pixels_mut().for_each(|pixel| round_down(&mut pixel.0, bits)),
        DynamicImage::ImageRgba8(image) => {
            image.pixels_mut().for_each(|pixel| round_down(&mut pixel.0, bits))
        }
        _ => {}
    }
}

/// The bits of red, green and blue in pixels of 16 bits.
fn channel_bits(bytes: &[u8]) -> Option<[u32; 3]> {
    let bits = bytes.get(HEADER + 14..HEADER + 16)?;
    if number(bytes, HEADER)? < INFO_HEADER as u32 || bits != [16, 0] {
        return None;
    }
    if !matches!(number(bytes, COMPRESSION)?, 3 | 6) {
        return Some([5; 3]);
    }
    let mut counts = [0; 3];
    for (i, count) in counts.iter_mut().enumerate() {
        *count = number(bytes, HEADER + INFO_HEADER + 4 * i)?.count_ones().min(8);
    }
    Some(counts)
}

/// Levels that were scaled from a few bits and rounded to the nearest: they are rounded down instead.
fn round_down<const N: usize>(pixel: &mut [u8; N], bits: [u32; 3]) {
    for (level, bits) in pixel.iter_mut().zip(bits) {
        let most = (1u32 << bits) - 1;
        let unscaled = (u32::from(*level) * most + 127) / 255;
        *level = (unscaled * 255).checked_div(most).unwrap_or(0) as u8;
    }
}

#[cfg(test)]
mod tests;
