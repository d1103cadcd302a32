//! From the samples of a TIFF file to levels of 8 bits, and from these to colours.

use super::super::ImageError;
use super::super::ifd::Directory;
use super::super::jpeg::under_ink;
use super::{damaged, tag, unsupported};

/// The samples of a pixel, which are all of one kind.
pub(super) struct Samples {
    /// Samples to a pixel, at least 1.
    pub(super) count: usize,
    /// Bits of a sample: 1 to 16, or 16, 32 or 64 for floats.
    pub(super) bits: usize,
    pub(super) is_float: bool,
    /// The order of the bytes of a sample.
    pub(super) big_endian: bool,
}

impl Samples {
    pub(super) fn read(tags: &Directory<'_>) -> Result<Self, ImageError> {
        /// A photo has a few samples to a pixel; a file may declare any number.
        const MOST: u64 = 16;

        let count = tags.first(tag::SAMPLES).unwrap_or(1);
        if count == 0 || count > MOST {
            return Err(unsupported(format!("{count} samples to a pixel")));
        }
        let count = count as usize;
        let same = |tag, missing: u64, what: &str| {
            let first = tags.first(tag).unwrap_or(missing);
            if tags.numbers(tag).is_none_or(|values| values.take(count).all(|value| value == first)) {
                Ok(first)
            } else {
                Err(unsupported(format!("samples of different {what}")))
            }
        };
        let bits = same(tag::BITS, 1, "sizes")?;
        let is_float = match (same(tag::SAMPLE_FORMAT, 1, "kinds")?, bits) {
            // 4 is "undefined", which programs write for whole numbers.
            (1 | 4, 1..=16) => false,
            (1 | 4, _) => return Err(unsupported(format!("{bits}-bit integer samples"))),
            (2, _) => return Err(unsupported("signed samples")),
            (3, 16 | 32 | 64) => true,
            (3, _) => return Err(unsupported(format!("{bits}-bit float samples"))),
            (5 | 6, _) => return Err(unsupported("complex numbers as samples")),
            (kind, _) => return Err(unsupported(format!("samples of an unknown kind ({kind})"))),
        };
        Ok(Self { count, bits: bits as usize, is_float, big_endian: tags.big_endian })
    }

    /// Appends the levels of a row, `count` for each pixel, from the bytes of its planes or of all samples together. Levels are
    /// scaled to 0 to 255 and rounded to the nearest, except for indices into a palette. `white` is the float of level 255.
    pub(super) fn levels(
        &self,
        planes: &[&[u8]],
        columns: usize,
        colour: &Colour,
        white: f64,
        levels: &mut Vec<u8>,
    ) {
        if self.is_float {
            levels.extend(
                self.floats(planes, columns)
                    .map(|value| (value / white * 255.0).round().clamp(0.0, 255.0) as u8),
            );
            return;
        }
        match (planes, self.bits) {
            ([row], 8) => levels.extend_from_slice(&row[..columns * self.count]),
            _ => {
                let most = (1u32 << self.bits) - 1;
                let scale = if colour.is_palette() { (1, 0, 1) } else { (255, most / 2, most) };
                let scaled = |value: u32| ((value * scale.0 + scale.1) / scale.2).min(255) as u8;
                levels.extend(self.in_order(planes, columns).map(|(row, at)| scaled(self.whole(row, at))));
            }
        }
    }

    /// The floats of a row.
    pub(super) fn floats(&self, planes: &[&[u8]], columns: usize) -> impl Iterator<Item = f64> {
        self.in_order(planes, columns).map(|(row, at)| {
            let bytes = &row[at * self.bits / 8..][..self.bits / 8];
            let mut wide = [0; 8];
            // As the most significant bytes of a big-endian number.
            for (i, wide) in wide.iter_mut().take(bytes.len()).enumerate() {
                *wide = bytes[if self.big_endian { i } else { bytes.len() - 1 - i }];
            }
            let number = u64::from_be_bytes(wide);
            match self.bits {
                16 => half::f16::from_bits((number >> 48) as u16).to_f64(),
                32 => f64::from(f32::from_bits((number >> 32) as u32)),
                _ => f64::from_bits(number),
            }
        })
    }

    /// For each sample of a row, pixel by pixel, the bytes that it is in and its place in them.
    fn in_order<'r>(&self, planes: &[&'r [u8]], columns: usize) -> impl Iterator<Item = (&'r [u8], usize)> {
        let [stride, count] = if planes.len() == 1 { [self.count; 2] } else { [1, self.count] };
        (0..columns).flat_map(move |x| (0..count).map(move |sample| (x, sample))).map(move |(x, sample)| {
            if stride == 1 { (planes[sample % planes.len()], x) } else { (planes[0], x * stride + sample) }
        })
    }

    /// A sample of at most 16 bits.
    fn whole(&self, row: &[u8], at: usize) -> u32 {
        match self.bits {
            8 => u32::from(row[at]),
            16 => {
                let bytes = [row[2 * at], row[2 * at + 1]];
                u32::from(if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
            }
            bits => {
                let start = at * bits;
                let byte = |i: usize| u32::from(row.get(start / 8 + i).copied().unwrap_or(0));
                let word = byte(0) << 16 | byte(1) << 8 | byte(2);
                (word >> (24 - start % 8 - bits)) & ((1 << bits) - 1)
            }
        }
    }
}

/// What the levels of a pixel mean.
pub(super) struct Colour {
    kind: Kind,
    alpha: Option<Alpha>,
}

enum Kind {
    /// 0 is white.
    Inverted,
    Grey,
    Rgb,
    Palette(Vec<[u8; 3]>),
    Cmyk,
    YCbCr,
}

/// The extra sample that tells how transparent a pixel is.
enum Alpha {
    Straight,
    /// Colours have been multiplied by it.
    Premultiplied,
}

impl Colour {
    pub(super) fn read(tags: &Directory<'_>, number: u64, samples: &Samples) -> Result<Self, ImageError> {
        let (kind, needed) = match number {
            0 => (Kind::Inverted, 1),
            1 => (Kind::Grey, 1),
            2 => (Kind::Rgb, 3),
            3 => (Kind::Palette(palette(tags, samples)?), 1),
            4 => return Err(unsupported("a transparency mask in place of a picture")),
            5 => (Kind::Cmyk, 4),
            6 if samples.count == 1 => (Kind::Grey, 1),
            6 => (Kind::YCbCr, 3),
            8..=10 => return Err(unsupported("CIE L*a*b* colours")),
            32803 | 34892 => return Err(unsupported("the raw data of a camera's sensor")),
            32844 | 32845 => return Err(unsupported("logarithmic (LogLuv) colours")),
            other => return Err(unsupported(format!("colours of an unknown kind ({other})"))),
        };
        if samples.count < needed {
            return Err(unsupported(format!(
                "{} samples to a pixel where its colours need {needed}",
                samples.count
            )));
        }
        // Without a word about the fourth sample of RGB, it is opacity, as for other programs.
        let extra = tags.first(tag::EXTRA_SAMPLES).unwrap_or(if let Kind::Rgb = kind { 2 } else { 0 });
        let alpha = match extra {
            _ if samples.count == needed || matches!(kind, Kind::Cmyk) => None,
            1 => Some(Alpha::Premultiplied),
            // 999 is written by a drawing program.
            2 | 999 => Some(Alpha::Straight),
            _ => None,
        };
        Ok(Self { kind, alpha })
    }

    pub(super) fn has_alpha(&self) -> bool {
        self.alpha.is_some()
    }

    pub(super) fn is_palette(&self) -> bool {
        matches!(self.kind, Kind::Palette(_))
    }

    pub(super) fn is_ycbcr(&self) -> bool {
        matches!(self.kind, Kind::YCbCr)
    }

    /// Red, green, blue and opacity from the levels of a pixel. YCbCr became RGB where its compression was undone.
    pub(super) fn rgba(&self, levels: &[u8]) -> [u8; 4] {
        let (rgb, used) = match &self.kind {
            Kind::Inverted => ([255 - levels[0]; 3], 1),
            Kind::Grey => ([levels[0]; 3], 1),
            Kind::Rgb | Kind::YCbCr => ([levels[0], levels[1], levels[2]], 3),
            Kind::Palette(colours) => (colours.get(usize::from(levels[0])).copied().unwrap_or_default(), 1),
            Kind::Cmyk => ([levels[0], levels[1], levels[2]].map(|ink| under_ink(ink, 255 - levels[3])), 4),
        };
        let opacity = if self.alpha.is_some() { levels[used] } else { 255 };
        let straight = |level: u8| match self.alpha {
            Some(Alpha::Premultiplied) if opacity > 0 => {
                (255 * u32::from(level) / u32::from(opacity)).min(255) as u8
            }
            _ => level,
        };
        let [red, green, blue] = rgb.map(straight);
        [red, green, blue, opacity]
    }
}

/// The colours of a palette: all reds, all greens, all blues, of 16 bits each. Old programs use only the lower 8 bits.
fn palette(tags: &Directory<'_>, samples: &Samples) -> Result<Vec<[u8; 3]>, ImageError> {
    if samples.bits > 8 || samples.is_float {
        return Err(unsupported("a palette of more than 256 colours"));
    }
    let colours = 1 << samples.bits;
    let map: Vec<u64> =
        tags.numbers(tag::COLOUR_MAP).map(|map| map.take(3 * colours).collect()).unwrap_or_default();
    if map.len() < 3 * colours {
        return Err(damaged("its palette is missing or too short"));
    }
    let shift = if map.iter().all(|&level| level < 256) { 0 } else { 8 };
    Ok((0..colours).map(|i| [0, 1, 2].map(|channel| (map[channel * colours + i] >> shift) as u8)).collect())
}
