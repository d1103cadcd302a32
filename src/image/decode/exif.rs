//! The orientation in the Exif data of a photo, wherever programs put them.

use std::borrow::Cow;
use std::io::Read;

use ::image::metadata::Orientation;

use super::ifd::Directory;

/// The tag of the orientation, in Exif data and in TIFF files.
const ORIENTATION: u16 = 274;

/// More bytes of Exif data are not looked at: the orientation is at their beginning, and compressed data may grow without end.
const MOST_BYTES: u64 = 1 << 20;

/// The orientation in Exif data, with or without the prefix that they have in JPEG files. Programs write it as a number of any
/// size. Data that are not understood count as upright, as in other programs: their photo is still readable.
pub(super) fn orientation(exif: &[u8]) -> Orientation {
    let tiff = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    Directory::read(tiff).map_or(Orientation::NoTransforms, |directory| of_directory(&directory))
}

/// The orientation in a directory of Exif data or of a TIFF file.
pub(super) fn of_directory(directory: &Directory<'_>) -> Orientation {
    let value = directory.first(ORIENTATION).and_then(|value| u8::try_from(value).ok());
    value.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms)
}

/// The Exif data of a PNG file: the `eXIf` chunk at any position, or a text chunk as ImageMagick writes it.
pub(super) fn of_png(png: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut text = None;
    let mut rest = png.get(8..)?;
    while let Some((name, body, after)) = png_chunk(rest) {
        match &name {
            b"eXIf" => return Some(body.into()),
            b"tEXt" | b"zTXt" | b"iTXt" if text.is_none() => text = raw_profile(name, body),
            _ => {}
        }
        rest = after;
    }
    text.map(Cow::Owned)
}

/// A whole chunk at the start of the bytes: its name, its content, and what follows.
pub(super) fn png_chunk(bytes: &[u8]) -> Option<([u8; 4], &[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (name, rest) = rest.split_first_chunk::<4>()?;
    let (body, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    Some((*name, body, rest.get(4..)?))
}

/// The bytes that ImageMagick writes as a text: a name, the number of bytes, and hexadecimal digits in lines.
fn raw_profile(chunk: [u8; 4], body: &[u8]) -> Option<Vec<u8>> {
    let (keyword, text) = split_at_zero(body)?;
    if !matches!(keyword, b"Raw profile type exif" | b"Raw profile type APP1") {
        return None;
    }
    let text = match &chunk {
        b"tEXt" => text.to_vec(),
        // A byte for the method of compression, of which there is one.
        b"zTXt" => inflated(text.get(1..)?)?,
        // Whether it is compressed and how, then a language and the keyword in it.
        _ => {
            let (&[compressed, _], rest) = text.split_first_chunk::<2>()?;
            let text = split_at_zero(split_at_zero(rest)?.1)?.1;
            if compressed == 1 { inflated(text)? } else { text.to_vec() }
        }
    };
    let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let length: usize = std::str::from_utf8(words.nth(1)?).ok()?.parse().ok()?;
    let digits: Option<Vec<u8>> =
        words.flatten().map(|&digit| char::from(digit).to_digit(16).map(|digit| digit as u8)).collect();
    let mut data: Vec<u8> = digits?.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    data.truncate(length);
    Some(data)
}

fn split_at_zero(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&byte| byte == 0)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

fn inflated(data: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    flate2::read::ZlibDecoder::new(data).take(2 * MOST_BYTES).read_to_end(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exif data with one entry: type, number of values, and the four bytes that hold them.
    fn exif(order: &[u8; 2], kind: u16, count: u32, value: [u8; 4]) -> Vec<u8> {
        let big_endian = order == b"MM";
        let two = |number: u16| if big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
        let four = |number: u32| if big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
        let parts =
            [&order[..], &two(42), &four(8), &two(1), &two(274), &two(kind), &four(count), &value, &[0; 4]];
        parts.concat()
    }

    #[test]
    fn numbers_of_any_size_and_order_tell_the_orientation() {
        for (kind, little, big) in [
            (1, [6, 0, 0, 0], [6, 0, 0, 0]),
            (3, [6, 0, 0, 0], [0, 6, 0, 0]),
            (4, [6, 0, 0, 0], [0, 0, 0, 6]),
            (6, [6, 0, 0, 0], [6, 0, 0, 0]),
            (8, [6, 0, 0, 0], [0, 6, 0, 0]),
            (9, [6, 0, 0, 0], [0, 0, 0, 6]),
        ] {
            for data in [exif(b"II", kind, 1, little), exif(b"MM", kind, 1, big)] {
                assert_eq!(orientation(&data), Orientation::Rotate90, "type {kind}");
                let prefixed = [b"Exif\0\0", &data[..]].concat();
                assert_eq!(orientation(&prefixed), Orientation::Rotate90, "type {kind}");
            }
        }
        // More than one value: the first counts.
        assert_eq!(orientation(&exif(b"II", 3, 2, [8, 0, 1, 0])), Orientation::Rotate270);
        // Three values of 16 bits do not fit into the entry, which then holds their place.
        let elsewhere = [exif(b"II", 3, 3, [26, 0, 0, 0]), vec![3, 0, 1, 0, 1, 0]].concat();
        assert_eq!(orientation(&elsewhere), Orientation::Rotate180);
    }

    #[test]
    fn what_is_not_an_orientation_is_upright() {
        let data = exif(b"II", 3, 1, [6, 0, 0, 0]);
        for wrong in [
            exif(b"II", 3, 1, [9, 0, 0, 0]),
            exif(b"II", 3, 0, [6, 0, 0, 0]),
            exif(b"II", 5, 1, [6, 0, 0, 0]),
            exif(b"II", 99, 1, [6, 0, 0, 0]),
            exif(b"II", 4, u32::MAX, [6, 0, 0, 0]),
            data[..20].to_vec(),
            b"Exif\0\0".to_vec(),
            Vec::new(),
        ] {
            assert_eq!(orientation(&wrong), Orientation::NoTransforms, "{wrong:?}");
        }
    }
}
