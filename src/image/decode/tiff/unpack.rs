//! The compressions of TIFF files.

use std::borrow::Cow;
use std::io::Read;

use super::super::ifd::Directory;
use super::super::{DecodeOptions, ImageError, jpeg};
use super::samples::{Colour, Samples};
use super::{damaged, fax, tag, unsupported};

/// How the parts of a file are compressed.
pub(super) struct Compression<'a> {
    method: Method<'a>,
    predictor: Predictor,
    /// Whether the bits of each byte are in reversed order.
    reversed: bool,
    /// Pixels to a sample of Cb and Cr, across and down, if these are apart from Y.
    subsampling: [usize; 2],
}

#[derive(Clone, Copy)]
enum Method<'a> {
    None,
    Fax(fax::Coding),
    Lzw,
    /// The tables that all parts share.
    Jpeg(&'a [u8]),
    Deflate,
    PackBits,
    Zstd,
}

/// What the samples of a row say.
enum Predictor {
    Values,
    Differences,
    /// Differences of the bytes of floats, the most significant ones first.
    FloatDifferences,
}

/// Compressions that are known but not supported, and their names in errors.
const UNSUPPORTED: [(u64, &str); 13] = [
    (6, "old-style JPEG compression"),
    (9, "JBIG compression"),
    (10, "JBIG compression"),
    (32766, "NeXT compression"),
    (32809, "ThunderScan compression"),
    (34676, "SGI LogLuv compression"),
    (34677, "SGI LogLuv compression"),
    (34712, "JPEG 2000 compression"),
    (34887, "LERC compression"),
    (34925, "LZMA compression"),
    (34933, "PNG compression"),
    (50001, "WebP compression"),
    (50002, "JPEG XL compression"),
];

impl<'a> Compression<'a> {
    pub(super) fn read(tags: &Directory<'a>) -> Result<Self, ImageError> {
        let number = |tag, missing: u64| tags.first(tag).unwrap_or(missing);
        let method = match number(tag::COMPRESSION, 1) {
            1 => Method::None,
            2 => Method::Fax(fax::Coding::Rows { align: 1 }),
            32771 => Method::Fax(fax::Coding::Rows { align: 2 }),
            3 => Method::Fax(fax::Coding::Group3 { two_dimensional: number(tag::FAX_OPTIONS, 0) & 1 == 1 }),
            4 => Method::Fax(fax::Coding::Group4),
            5 => Method::Lzw,
            7 => Method::Jpeg(tags.bytes(tag::JPEG_TABLES).unwrap_or_default()),
            8 | 32946 => Method::Deflate,
            32773 => Method::PackBits,
            50000 => Method::Zstd,
            other => {
                let name = UNSUPPORTED
                    .iter()
                    .find(|(number, _)| *number == other)
                    .map(|(_, name)| (*name).to_owned());
                return Err(unsupported(
                    name.unwrap_or_else(|| format!("compression of an unknown kind ({other})")),
                ));
            }
        };
        let predictor = match (number(tag::PREDICTOR, 1), method) {
            (2, Method::Lzw | Method::Deflate | Method::Zstd) => Predictor::Differences,
            (3, Method::Lzw | Method::Deflate | Method::Zstd) => Predictor::FloatDifferences,
            _ => Predictor::Values,
        };
        let subsampling = tags.numbers(tag::SUBSAMPLING).map(|mut numbers| [numbers.next(), numbers.next()]);
        let subsampling = match subsampling {
            Some([Some(across @ (1 | 2 | 4)), Some(down @ (1 | 2 | 4))]) => [across as usize, down as usize],
            None => [2; 2],
            _ => return Err(damaged("the resolution of its colours is none that the format has")),
        };
        Ok(Self { method, predictor, reversed: number(tag::FILL_ORDER, 1) == 2, subsampling })
    }

    pub(super) fn is_none(&self) -> bool {
        matches!(self.method, Method::None)
    }

    /// Refuses samples that do not go with the compression.
    pub(super) fn check(&self, samples: &Samples, colour: &Colour) -> Result<(), ImageError> {
        let is_apart = colour.is_ycbcr() && !matches!(self.method, Method::Jpeg(_));
        match (&self.method, &self.predictor) {
            (Method::Jpeg(_), _) if samples.bits != 8 || samples.is_float => {
                Err(unsupported(format!("JPEG compression of {}-bit samples", samples.bits)))
            }
            (Method::Fax(_), _) if samples.bits != 1 || samples.count != 1 => {
                Err(unsupported("fax compression of other pixels than black and white"))
            }
            (_, predictor)
                if is_apart
                    && (samples.bits != 8
                        || samples.count != 3
                        || !matches!(predictor, Predictor::Values)) =>
            {
                Err(unsupported("YCbCr colours of another kind than three 8-bit samples"))
            }
            (_, Predictor::Differences) if samples.is_float || !matches!(samples.bits, 8 | 16) => {
                Err(unsupported(format!("differences of {}-bit samples", samples.bits)))
            }
            (_, Predictor::FloatDifferences) if !samples.is_float => {
                Err(unsupported("differences of floats between samples that are no floats"))
            }
            _ => Ok(()),
        }
    }

    /// The bytes of a part of `columns` by `rows` pixels, `rows * row_bytes` of them.
    pub(super) fn unpack<'p>(
        &self,
        packed: &'p [u8],
        [columns, rows]: [usize; 2],
        row_bytes: usize,
        colour: &Colour,
        options: &DecodeOptions,
    ) -> Result<Cow<'p, [u8]>, ImageError> {
        let length = if colour.is_ycbcr() { self.ycbcr_bytes(columns, rows) } else { rows * row_bytes };
        if let Method::Jpeg(tables) = self.method {
            return jpeg_part(tables, packed, [columns, rows], row_bytes, colour, options).map(Cow::from);
        }
        let packed = if self.is_none() { &packed[..length.min(packed.len())] } else { packed };
        let packed: Cow<'p, [u8]> = if self.reversed {
            packed.iter().map(|byte| byte.reverse_bits()).collect()
        } else {
            packed.into()
        };
        let data: Cow<'p, [u8]> = match self.method {
            Method::None | Method::Jpeg(_) => packed,
            Method::Fax(coding) => fax::decode(&packed, coding, columns, rows).unwrap_or_default().into(),
            Method::Lzw => lzw(&packed, length).into(),
            Method::Deflate => read(flate2::read::ZlibDecoder::new(&*packed), length).into(),
            Method::PackBits => pack_bits(&packed, length).into(),
            Method::Zstd => {
                let decoder = ruzstd::decoding::StreamingDecoder::new(&*packed);
                decoder.map(|decoder| read(decoder, length)).unwrap_or_default().into()
            }
        };
        if data.len() < length {
            return Err(damaged("a strip or tile of it is damaged or ends too early"));
        }
        Ok(if colour.is_ycbcr() { self.ycbcr_to_rgb(&data, columns, rows).into() } else { data })
    }

    /// The bytes of a part with YCbCr: blocks of pixels, each with all of its Y and one Cb and Cr.
    fn ycbcr_bytes(&self, columns: usize, rows: usize) -> usize {
        let [across, down] = self.subsampling;
        columns.div_ceil(across) * rows.div_ceil(down) * (across * down + 2)
    }

    /// RGB by the formula of libtiff, whose factors differ a little from those of JPEG. All pixels of a block have the same Cb and
    /// Cr.
    fn ycbcr_to_rgb(&self, data: &[u8], columns: usize, rows: usize) -> Vec<u8> {
        let [across, down] = self.subsampling;
        let block_bytes = across * down + 2;
        let mut rgb = Vec::with_capacity(3 * columns * rows);
        for (y, x) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
            let block =
                &data[(y / down * columns.div_ceil(across) + x / across) * block_bytes..][..block_bytes];
            let level = i32::from(block[y % down * across + x % across]);
            let [cb, cr] =
                [block[block_bytes - 2], block[block_bytes - 1]].map(|level| i32::from(level) - 128);
            let half = 1 << 15;
            let red = level + ((91_881 * cr + half) >> 16);
            let green = level + ((half - 22_553 * cb - 46_802 * cr) >> 16);
            let blue = level + ((116_130 * cb + half) >> 16);
            rgb.extend([red, green, blue].map(|level| level.clamp(0, 255) as u8));
        }
        rgb
    }

    /// Makes samples of the differences in each row. `together` samples of a pixel follow each other.
    pub(super) fn undo_prediction(
        &self,
        data: &mut Cow<'_, [u8]>,
        row_bytes: usize,
        together: usize,
        samples: &Samples,
    ) {
        if let Predictor::Values = self.predictor {
            return;
        }
        for row in data.to_mut().chunks_exact_mut(row_bytes) {
            match (&self.predictor, samples.bits) {
                (Predictor::FloatDifferences, bits) => {
                    undo_float_differences(row, together, bits / 8, samples.big_endian)
                }
                (_, 16) => {
                    for at in (2 * together..row.len().saturating_sub(1)).step_by(2) {
                        let [before, difference] = [at - 2 * together, at].map(|at| [row[at], row[at + 1]]);
                        let sum = if samples.big_endian {
                            u16::from_be_bytes(before)
                                .wrapping_add(u16::from_be_bytes(difference))
                                .to_be_bytes()
                        } else {
                            u16::from_le_bytes(before)
                                .wrapping_add(u16::from_le_bytes(difference))
                                .to_le_bytes()
                        };
                        row[at..at + 2].copy_from_slice(&sum);
                    }
                }
                _ => {
                    for at in together..row.len() {
                        row[at] = row[at].wrapping_add(row[at - together]);
                    }
                }
            }
        }
    }
}

/// The bytes of the floats are apart, all most significant ones first, and each is a difference to the one before it.
fn undo_float_differences(row: &mut [u8], together: usize, size: usize, big_endian: bool) {
    for at in together..row.len() {
        row[at] = row[at].wrapping_add(row[at - together]);
    }
    let apart = row.to_vec();
    let floats = row.len() / size;
    for (i, float) in row.chunks_exact_mut(size).enumerate() {
        for (byte, out) in float.iter_mut().enumerate() {
            *out = apart[floats * if big_endian { byte } else { size - 1 - byte } + i];
        }
    }
}

/// At most `length` bytes, fewer if the data are damaged or end before.
fn read(data: impl Read, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length);
    // An error after the last byte needed does not matter, and before it the length tells.
    data.take(length as u64).read_to_end(&mut bytes).ok();
    bytes
}

fn lzw(packed: &[u8], length: usize) -> Vec<u8> {
    // The first versions of libtiff wrote the bits of codes in another order. Their data begin with a code that cannot be the
    // first one otherwise.
    let mut decoder = match packed {
        [0, second, ..] if second & 1 == 1 => weezl::decode::Decoder::new(weezl::BitOrder::Lsb, 8),
        _ => weezl::decode::Decoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8),
    };
    let mut bytes = vec![0; length];
    let (mut read, mut written) = (0, 0);
    while written < length {
        let result = decoder.decode_bytes(&packed[read..], &mut bytes[written..]);
        read += result.consumed_in;
        written += result.consumed_out;
        if !matches!(result.status, Ok(weezl::LzwStatus::Ok)) {
            break;
        }
    }
    bytes.truncate(written);
    bytes
}

fn pack_bits(packed: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length);
    let mut rest = packed;
    while bytes.len() < length
        && let Some((&head, after)) = rest.split_first()
    {
        rest = match head.cast_signed() {
            // Nothing, by definition.
            -128 => after,
            copies if copies < 0 => {
                let Some((&byte, after)) = after.split_first() else { break };
                bytes.extend(std::iter::repeat_n(byte, 1 + usize::from(copies.unsigned_abs())));
                after
            }
            _ => {
                let (literal, after) = after.split_at(after.len().min(1 + usize::from(head)));
                bytes.extend(literal);
                after
            }
        };
    }
    bytes.truncate(length);
    bytes
}

/// A part that is a JPEG without the tables that all parts share.
fn jpeg_part(
    tables: &[u8],
    packed: &[u8],
    [columns, rows]: [usize; 2],
    row_bytes: usize,
    colour: &Colour,
    options: &DecodeOptions,
) -> Result<Vec<u8>, ImageError> {
    // Both begin with a start marker, and the tables end with an end marker.
    let whole = match (tables, packed) {
        ([0xFF, 0xD8, tables @ .., 0xFF, 0xD9], [0xFF, 0xD8, rest @ ..]) => {
            [b"\xFF\xD8", tables, rest].concat().into()
        }
        _ => Cow::from(packed),
    };
    let part = jpeg::decode_part(&whole, colour.is_ycbcr(), options).map_err(|error| match error {
        ImageError::Corrupt { .. } => damaged("a strip or tile of it is damaged or ends too early"),
        ImageError::UnsupportedFormat { format } => unsupported(format!("{format} inside")),
        other => other,
    })?;
    let samples = row_bytes / columns;
    if part.width < columns || part.height < rows || part.data.len() != part.width * part.height * samples {
        return Err(damaged("a strip or tile of it has another size than its tags say"));
    }
    let wide = part.data.chunks_exact(part.width * samples).take(rows);
    Ok(wide.flat_map(|row| &row[..row_bytes]).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_bytes_are_repeated() {
        // The example of the specification.
        let packed = b"\xFE\xAA\x02\x80\0\x2A\xFD\xAA\x03\x80\0\x2A\x22\xF7\xAA";
        let unpacked =
            b"\xAA\xAA\xAA\x80\0\x2A\xAA\xAA\xAA\xAA\x80\0\x2A\x22\xAA\xAA\xAA\xAA\xAA\xAA\xAA\xAA\xAA\xAA";
        assert_eq!(pack_bits(packed, 24), unpacked);
        assert_eq!(pack_bits(packed, 5), unpacked[..5]);
        assert_eq!(pack_bits(b"\x80\x80\x01ab", 2), b"ab");
        assert_eq!(pack_bits(b"\x05abc", 6), b"abc", "cut off");
        assert_eq!(pack_bits(b"\xFE", 6), b"", "cut off");
    }

    #[test]
    fn differences_of_floats_are_undone() {
        // Two floats of 16 bits, 0x3C00 and 0x3D01: most significant bytes, then the others, each minus the one before.
        let packed = [0x3C, 1, 0xC3, 1];
        let mut row = packed;
        undo_float_differences(&mut row, 1, 2, true);
        assert_eq!(row, [0x3C, 0, 0x3D, 1]);
        let mut row = packed;
        undo_float_differences(&mut row, 1, 2, false);
        assert_eq!(row, [0, 0x3C, 1, 0x3D]);
    }
}
