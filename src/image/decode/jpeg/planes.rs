//! From the planes of a JPEG's components to interleaved pixels: upsampling and conversion of colours, with the same bytes as
//! libjpeg-turbo, for every combination of sampling factors that it supports.
//!
//! The rows are independent of each other, so all processors work on bands of them. The loops are written for vectors that the
//! compiler makes; nothing here is `unsafe`. The library's own vector code for these steps works on rows of any length through
//! pointers, so strangers' files do not meet it; its transform of blocks, whose sizes are fixed, they do.
//!
//! Not done: scaled transforms (fewer coefficients) give other pixels than decoding and resizing, and most photos have no restart
//! markers at which the entropy decoding could be divided. `docs/performance.md` has the times.

use std::thread;

/// What the components of a JPEG become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Pixels {
    /// The components as they are.
    Components,
    /// Grey to RGB.
    GreyToRgb,
    /// YCbCr to RGB.
    YCbCrToRgb,
    /// Inks as Adobe's programs store them, 255 for none, to RGB.
    CmykToRgb,
    /// The same inks, of which the first three are stored as YCbCr.
    YcckToRgb,
}

/// The samples of a component at their own resolution, without those that only fill the last blocks.
pub(super) struct Plane {
    data: Vec<u8>,
    /// Bytes from one row to the next.
    stride: usize,
    width: usize,
    height: usize,
    /// Pixels to a sample, across and down.
    ratio: [usize; 2],
}

impl Plane {
    /// A plane of a picture of `size` pixels, of which `sampling` samples stand for `most` pixels, across and down. `None` if
    /// that is not a whole number of pixels to a sample, or if the data are too short.
    pub(super) fn new(
        data: Vec<u8>,
        stride: usize,
        size: [usize; 2],
        sampling: [usize; 2],
        most: [usize; 2],
    ) -> Option<Self> {
        if (0..2).any(|i| sampling[i] == 0 || !most[i].is_multiple_of(sampling[i])) {
            return None;
        }
        let [width, height] = [0, 1].map(|i| (size[i] * sampling[i]).div_ceil(most[i]));
        let ratio = [0, 1].map(|i| most[i] / sampling[i]);
        let fits = width <= stride && stride.checked_mul(height).is_some_and(|bytes| bytes <= data.len());
        fits.then_some(Self { data, stride, width, height, ratio })
    }

    fn row(&self, y: usize) -> &[u8] {
        &self.data[y * self.stride..][..self.width]
    }

    /// Row `y` of the picture, at least as wide as the picture. `buffer` is memory to reuse.
    fn upsampled<'a>(&'a self, y: usize, buffer: &'a mut Buffer) -> &'a [u8] {
        let at = y / self.ratio[1];
        let near = self.row(at);
        // The row on the other side of this pixel row; the first and the last row are their own neighbours.
        let below = y % self.ratio[1] == 1;
        let far = || self.row(if below { (at + 1).min(self.height - 1) } else { at.saturating_sub(1) });
        match self.ratio {
            [1, 1] => return near,
            [2, 1] if self.width > 2 => {
                buffer.sums.clear();
                buffer.sums.extend(near.iter().map(|&sample| u16::from(sample)));
                // Three quarters of the nearer sample, one of the other; halves are rounded down and up in turns.
                spread::<2, 1, 2>(&buffer.sums, &mut buffer.row);
            }
            [1, 2] => {
                let bias = if below { 2 } else { 1 };
                let weighted =
                    |(&near, &far): (&u8, &u8)| ((3 * u16::from(near) + u16::from(far) + bias) >> 2) as u8;
                buffer.row.clear();
                buffer.row.extend(near.iter().zip(far()).map(weighted));
            }
            [2, 2] if self.width > 2 => {
                buffer.sums.clear();
                buffer
                    .sums
                    .extend(near.iter().zip(far()).map(|(&near, &far)| 3 * u16::from(near) + u16::from(far)));
                spread::<4, 8, 7>(&buffer.sums, &mut buffer.row);
            }
            [across, _] => {
                buffer.row.clear();
                buffer.row.extend(near.iter().flat_map(|&sample| std::iter::repeat_n(sample, across)));
            }
        }
        &buffer.row
    }
}

/// Memory for one upsampled row.
#[derive(Default)]
struct Buffer {
    row: Vec<u8>,
    sums: Vec<u16>,
}

/// Two pixels to a sample: three quarters of its own value and one quarter of the neighbour's, divided by `2^SHIFT`, with `LEFT` and
/// `RIGHT` added for rounding. The outer pixels have no neighbour.
fn spread<const SHIFT: u32, const LEFT: u16, const RIGHT: u16>(samples: &[u16], row: &mut Vec<u8>) {
    row.resize(2 * samples.len(), 0);
    let inner = row.get_mut(2..).unwrap_or_default().chunks_exact_mut(2);
    for (pair, near) in inner.zip(samples.windows(3)) {
        pair[0] = ((3 * near[1] + near[0] + LEFT) >> SHIFT) as u8;
        pair[1] = ((3 * near[1] + near[2] + RIGHT) >> SHIFT) as u8;
    }
    let n = samples.len();
    let [first, second] = [samples[0], samples[1]];
    let [last, before] = [samples[n - 1], samples[n - 2]];
    row[0] = ((4 * first + LEFT) >> SHIFT) as u8;
    row[1] = ((3 * first + second + RIGHT) >> SHIFT) as u8;
    row[2 * n - 2] = ((3 * last + before + LEFT) >> SHIFT) as u8;
    row[2 * n - 1] = ((4 * last + RIGHT) >> SHIFT) as u8;
}

/// The pixels of a picture of `size`, row by row without padding. The planes are as many as `pixels` needs.
pub(super) fn interleave(planes: &[Plane], [width, height]: [usize; 2], pixels: Pixels) -> Vec<u8> {
    /// A smaller band is not worth a thread.
    const LEAST_BAND: usize = 1 << 17;

    let channels = if pixels == Pixels::Components { planes.len() } else { 3 };
    let mut data = vec![0; width * height * channels];
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let bands = threads.min(width * height / LEAST_BAND).max(1);
    let rows = height.div_ceil(bands);
    let fill = |(band, data): (usize, &mut [u8])| {
        let mut buffers: [Buffer; 4] = Default::default();
        for (y, out) in (band * rows..).zip(data.chunks_exact_mut(width * channels)) {
            let mut samples: [&[u8]; 4] = [&[]; 4];
            for ((samples, plane), buffer) in samples.iter_mut().zip(planes).zip(&mut buffers) {
                *samples = &plane.upsampled(y, buffer)[..width];
            }
            convert(samples, pixels, out, channels);
        }
    };
    let mut parts = data.chunks_mut(rows * width * channels).enumerate();
    let own = parts.next();
    thread::scope(|scope| {
        for part in parts {
            scope.spawn(|| fill(part));
        }
        own.into_iter().for_each(fill);
    });
    data
}

fn convert(samples: [&[u8]; 4], pixels: Pixels, out: &mut [u8], channels: usize) {
    let [first, second, third, black] = samples;
    match pixels {
        Pixels::Components => {
            for (i, samples) in samples.into_iter().enumerate().take(channels) {
                for (out, &sample) in out.iter_mut().skip(i).step_by(channels).zip(samples) {
                    *out = sample;
                }
            }
        }
        Pixels::GreyToRgb => {
            for (rgb, &grey) in out.chunks_exact_mut(3).zip(first) {
                rgb.copy_from_slice(&[grey; 3]);
            }
        }
        Pixels::YCbCrToRgb => ycbcr_row(first, second, third, out),
        Pixels::CmykToRgb => {
            convert(samples, Pixels::Components, out, 3);
            for (rgb, &white) in out.chunks_exact_mut(3).zip(black) {
                rgb.iter_mut().for_each(|level| *level = under_ink(255 - *level, white));
            }
        }
        // Converted as if it were RGB, such a file holds the inks themselves, 255 for a full one.
        Pixels::YcckToRgb => {
            ycbcr_row(first, second, third, out);
            for (rgb, &white) in out.chunks_exact_mut(3).zip(black) {
                rgb.iter_mut().for_each(|level| *level = under_ink(*level, white));
            }
        }
    }
}

/// What an ink leaves of the light that black ink leaves: `white - ink * white / 255`, with the quotient rounded to the nearest, as
/// Pillow computes it.
pub(in super::super) fn under_ink(ink: u8, white: u8) -> u8 {
    let product = u32::from(ink) * u32::from(white) + 128;
    white.saturating_sub(((product + (product >> 8)) >> 8) as u8)
}

/// YCbCr to RGB as JFIF defines it, with 16 fractional bits and rounded to the nearest. The products are taken apart so that all
/// intermediate values have 16 bits: vectors of such values are twice as long.
fn ycbcr_row(y: &[u8], cb: &[u8], cr: &[u8], out: &mut [u8]) {
    /// Pixels at a time: the levels of red, green and blue are computed apart, in registers or the nearest cache.
    const BLOCK: usize = 64;
    let [mut red, mut green, mut blue] = [[0; BLOCK]; 3];
    let blocks = y.chunks(BLOCK).zip(cb.chunks(BLOCK)).zip(cr.chunks(BLOCK));
    for (out, ((y, cb), cr)) in out.chunks_mut(3 * BLOCK).zip(blocks) {
        let levels = red.iter_mut().zip(&mut green).zip(&mut blue);
        for (((red, green), blue), ((&y, &cb), &cr)) in levels.zip(y.iter().zip(cb).zip(cr)) {
            [*red, *green, *blue] = ycbcr(y, cb, cr);
        }
        for (((rgb, &red), &green), &blue) in out.chunks_exact_mut(3).zip(&red).zip(&green).zip(&blue) {
            [rgb[0], rgb[1], rgb[2]] = [red, green, blue];
        }
    }
}

#[inline]
fn ycbcr(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let [y, cb, cr] = [i16::from(y), i16::from(cb) - 128, i16::from(cr) - 128];
    // `level * numerator / 65536`, rounded to the nearest, in steps of a half.
    let scaled = |level: i16, numerator: i16| {
        let doubled = (i32::from(2 * level) * i32::from(numerator)) >> 16;
        (doubled as i16 + 1) >> 1
    };
    let red = y + cr + scaled(cr, 26_345);
    let green = y - cr + ((i32::from(cb) * -22_554 + i32::from(cr) * 18_734 + (1 << 15)) >> 16) as i16;
    let blue = y + cb + cb + scaled(cb, -14_942);
    [red, green, blue].map(|level| level.clamp(0, 255) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_is_that_of_the_formula() {
        let rounded = |numerator: i64, level: i64| (numerator * level + (1 << 15)) >> 16;
        for (cb, cr) in (0..=255u8).flat_map(|cb| (0..=255u8).map(move |cr| (cb, cr))) {
            let [blue, red] = [cb, cr].map(|level| i64::from(level) - 128);
            // 1.402, 0.34414, 0.71414 and 1.772.
            let green = ((1 << 15) - 22_554 * blue - 46_802 * red) >> 16;
            let expected = [rounded(91_881, red), green, rounded(116_130, blue)];
            for y in [0, 77, 128, 200, 255] {
                let expected = expected.map(|level| (i64::from(y) + level).clamp(0, 255) as u8);
                assert_eq!(ycbcr(y, cb, cr), expected, "{y} {cb} {cr}");
            }
        }
    }

    #[test]
    fn planes_that_are_too_small_or_do_not_divide_the_picture_are_refused() {
        let plane = |bytes, sampling, most| Plane::new(vec![0; bytes], 8, [9, 3], sampling, most);
        assert!(plane(16, [1, 1], [2, 2]).is_some());
        assert!(plane(15, [1, 1], [2, 2]).is_none(), "too short");
        assert!(plane(64, [1, 1], [1, 1]).is_none(), "rows too short");
        assert!(plane(64, [2, 1], [3, 1]).is_none(), "a pixel and a half to a sample");
        assert!(plane(64, [0, 1], [1, 1]).is_none());
    }
}
