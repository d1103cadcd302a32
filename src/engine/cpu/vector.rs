//! The inner loops, once for each set of vector instructions.
//!
//! Which set runs is decided once, by what the processor has. Every element is summed in the order of its inputs, each product with one
//! rounding (except by `portable`), so that results do not depend on the rows that are computed together.

use half::f16;
use std::sync::LazyLock;

/// Rows that share each load of a weight.
pub(super) const ROWS: usize = 6;

/// A set of vector instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Instructions {
    /// What every processor has.
    Portable,
    /// 256 bits, with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 512 bits.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 128 bits, on ARM.
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Instructions {
    /// The best that this processor has.
    pub(super) fn best() -> Instructions {
        static BEST: LazyLock<Instructions> =
            LazyLock::new(|| Instructions::all().pop().unwrap_or(Instructions::Portable));
        *BEST
    }

    /// All that this processor has, the best one last.
    pub(super) fn all() -> Vec<Instructions> {
        let mut found = vec![Instructions::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            let has_f16c = is_x86_feature_detected!("f16c");
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && has_f16c {
                found.push(Instructions::Avx2);
            }
            if is_x86_feature_detected!("avx512f") {
                found.push(Instructions::Avx512);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            found.push(Instructions::Neon);
        }
        found
    }

    /// Floats of a vector.
    pub(super) fn lanes(self) -> usize {
        match self {
            Instructions::Portable => portable::LANES,
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => avx512::LANES,
            #[cfg(target_arch = "aarch64")]
            Instructions::Neon => neon::LANES,
        }
    }

    /// Most vectors of a panel: as many as keep their sums in registers.
    pub(super) fn most_vectors(self) -> usize {
        match self {
            Instructions::Portable => 2,
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => 2,
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => 4,
            #[cfg(target_arch = "aarch64")]
            Instructions::Neon => 4,
        }
    }
}

/// Floats of a cache line.
const LINE: usize = 16;

/// How far ahead of their use weights are fetched, in bytes. They are read once for each batch of rows, most of them from memory; the
/// processor looks ahead by itself only to the end of a page.
const AHEAD: usize = 8192;

/// Asks for what lies [`AHEAD`] bytes behind a value.
#[inline(always)]
fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing, and an address without memory behind it is ignored.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast::<i8>().wrapping_add(AHEAD));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// Rows of `x` times a panel of weights.
pub(super) struct Product<'a> {
    /// The memory of the rows.
    pub(super) x: &'a [f32],
    /// Where each row starts.
    pub(super) starts: &'a [usize],
    /// Where the runs of each row begin, from its start.
    pub(super) runs: &'a [usize],
    /// Floats of a run.
    pub(super) run: usize,
    /// For each float of each run, `vectors` vectors of weights.
    pub(super) panel: &'a [f32],
    /// Vectors side by side.
    pub(super) vectors: usize,
    /// Whether the sums begin here; otherwise they go on.
    pub(super) is_first: bool,
}

/// The last step of an operation: `y = min(max(sum * scale + bias + residual, low), high)`. NaN stays NaN.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending<'a> {
    /// One for each column.
    pub(super) scale: &'a [f32],
    /// One for each column.
    pub(super) bias: &'a [f32],
    /// The least and the greatest result.
    pub(super) bounds: [f32; 2],
}

/// A few pixels of a convolution with one filter for each channel.
pub(super) struct Depthwise<'a> {
    /// The image, with its padding.
    pub(super) x: &'a [f32],
    /// Where each window starts.
    pub(super) starts: &'a [usize],
    /// Where the taps are, from the start.
    pub(super) taps: &'a [usize],
    /// For each vector of channels, and each tap, a vector of weights.
    pub(super) weight: &'a [f32],
    /// Channels of a pixel.
    pub(super) channels: usize,
}

macro_rules! instructions {
    ($(#[$attribute:meta])* $name:ident, $feature:meta, $lanes:literal, $vector:ty, $splat:expr, $multiply_add:expr, $widen:expr) => {
        $(#[$attribute])*
        mod $name {
            use super::{Depthwise, Ending, LINE, Product, ROWS, f16, prefetch};

            pub(super) const LANES: usize = $lanes;
            type Vector = $vector;

            /// As 32-bit floats, whole vectors of them.
            #[$feature]
            pub(super) fn widen(halves: &[f16], floats: &mut [f32]) {
                let ((halves, _), (floats, _)) = (halves.as_chunks::<LANES>(), floats.as_chunks_mut::<LANES>());
                for (halves, floats) in halves.iter().zip(floats) {
                    prefetch(halves);
                    *floats = bytemuck::must_cast($widen(bytemuck::must_cast(*halves)));
                }
            }

            /// Adds the products of all rows to `sums`, row by row.
            #[$feature]
            pub(super) fn product(product: &Product<'_>, sums: &mut [f32]) {
                match product.vectors {
                    1 => rows::<1>(product, sums),
                    2 => rows::<2>(product, sums),
                    3 => rows::<3>(product, sums),
                    _ => rows::<4>(product, sums),
                }
            }

            #[$feature]
            fn rows<const V: usize>(product: &Product<'_>, sums: &mut [f32]) {
                let (sums, _) = sums.as_chunks_mut::<LANES>();
                let (sums, _) = sums.as_chunks_mut::<V>();
                for (starts, sums) in product.starts.chunks(ROWS).zip(sums.chunks_mut(ROWS)) {
                    match starts.len() {
                        1 => tile::<1, V>(product, starts, sums),
                        2 => tile::<2, V>(product, starts, sums),
                        3 => tile::<3, V>(product, starts, sums),
                        4 => tile::<4, V>(product, starts, sums),
                        5 => tile::<5, V>(product, starts, sums),
                        _ => tile::<ROWS, V>(product, starts, sums),
                    }
                }
            }

            /// `R` rows times `V` vectors of columns, which stay in registers.
            #[$feature]
            #[inline(never)]
            fn tile<const R: usize, const V: usize>(product: &Product<'_>, starts: &[usize], sums: &mut [[[f32; LANES]; V]]) {
                let Some(starts) = starts.first_chunk::<R>() else { return };
                let mut acc = [[$splat(0.0); V]; R];
                if !product.is_first {
                    for (acc, sums) in acc.iter_mut().zip(&*sums) {
                        for (acc, sum) in acc.iter_mut().zip(sums) {
                            *acc = bytemuck::must_cast(*sum);
                        }
                    }
                }
                let (panel, _) = product.panel.as_chunks::<LANES>();
                let (panel, _) = panel.as_chunks::<V>();
                for (offset, panel) in product.runs.iter().zip(panel.chunks_exact(product.run)) {
                    // Slices of one length: the loop needs no check of its own.
                    let mut rows = [&product.x[..0]; R];
                    for r in 0..R {
                        rows[r] = &product.x[starts[r] + offset..][..panel.len()];
                    }
                    for k in 0..panel.len() {
                        for v in (0..V).step_by(LINE.div_ceil(LANES)) {
                            prefetch(&panel[k][v]);
                        }
                        for r in 0..R {
                            let x = $splat(rows[r][k]);
                            for v in 0..V {
                                acc[r][v] = $multiply_add(x, bytemuck::must_cast(panel[k][v]), acc[r][v]);
                            }
                        }
                    }
                }
                for (acc, sums) in acc.iter().zip(sums) {
                    for (acc, sum) in acc.iter().zip(sums) {
                        *sum = bytemuck::must_cast(*acc);
                    }
                }
            }

            #[$feature]
            pub(super) fn finish(ending: &Ending<'_>, sums: &[f32], residual: Option<&[f32]>, y: &mut [f32]) {
                let [low, high] = ending.bounds;
                let count = y.len();
                let (sums, scale, bias) = (&sums[..count], &ending.scale[..count], &ending.bias[..count]);
                let clamp = |value: f32| {
                    let value = if value < low { low } else { value };
                    if value > high { high } else { value }
                };
                match residual {
                    Some(residual) => {
                        let residual = &residual[..count];
                        for i in 0..count {
                            y[i] = clamp(sums[i] * scale[i] + bias[i] + residual[i]);
                        }
                    }
                    None => {
                        for i in 0..count {
                            y[i] = clamp(sums[i] * scale[i] + bias[i]);
                        }
                    }
                }
            }

            /// The pixels of `y` one behind the other.
            #[$feature]
            pub(super) fn depthwise(depthwise: &Depthwise<'_>, ending: &Ending<'_>, residual: Option<&[f32]>, y: &mut [f32]) {
                let channels = depthwise.channels;
                let mut starts = depthwise.starts.chunks(ROWS);
                let mut residual = residual.map(|residual| residual.chunks(ROWS * channels));
                for y in y.chunks_mut(ROWS * channels) {
                    let (Some(starts), residual) = (starts.next(), residual.as_mut().and_then(Iterator::next)) else { return };
                    match starts.len() {
                        1 => pixels::<1>(depthwise, starts, ending, residual, y),
                        2 => pixels::<2>(depthwise, starts, ending, residual, y),
                        3 => pixels::<3>(depthwise, starts, ending, residual, y),
                        4 => pixels::<4>(depthwise, starts, ending, residual, y),
                        5 => pixels::<5>(depthwise, starts, ending, residual, y),
                        _ => pixels::<ROWS>(depthwise, starts, ending, residual, y),
                    }
                }
            }

            #[$feature]
            fn pixels<const P: usize>(
                depthwise: &Depthwise<'_>,
                starts: &[usize],
                ending: &Ending<'_>,
                residual: Option<&[f32]>,
                y: &mut [f32],
            ) {
                let &Depthwise { x, taps, weight, channels, .. } = depthwise;
                let mut ends = [0; P];
                for (end, start) in ends.iter_mut().zip(starts) {
                    *end = *start;
                }
                let (weight, _) = weight.as_chunks::<LANES>();
                for (block, weight) in weight.chunks_exact(taps.len()).enumerate() {
                    let first = block * LANES;
                    let count = LANES.min(channels - first);
                    let mut acc = [$splat(0.0); P];
                    for (tap, weight) in taps.iter().zip(weight) {
                        let weight: Vector = bytemuck::must_cast(*weight);
                        for p in 0..P {
                            let x = &x[ends[p] + tap + first..];
                            let x: [f32; LANES] = match x.first_chunk() {
                                Some(x) if count == LANES => *x,
                                _ => {
                                    let mut part = [0.0; LANES];
                                    part[..count].copy_from_slice(&x[..count]);
                                    part
                                }
                            };
                            acc[p] = $multiply_add(bytemuck::must_cast(x), weight, acc[p]);
                        }
                    }
                    let columns = first..first + count;
                    let ending = Ending {
                        scale: &ending.scale[columns.clone()],
                        bias: &ending.bias[columns],
                        ..*ending
                    };
                    for p in 0..P {
                        let sums: [f32; LANES] = bytemuck::must_cast(acc[p]);
                        let place = p * channels + first..p * channels + first + count;
                        let residual = residual.map(|residual| &residual[place.clone()]);
                        finish(&ending, &sums, residual, &mut y[place]);
                    }
                }
            }
        }
    };
}

mod portable_vector {
    //! Eight floats that the compiler may put into whatever vectors there are.

    use half::f16;
    use half::slice::HalfFloatSliceExt;

    pub(super) type Vector = [f32; 8];

    #[inline]
    pub(super) fn splat(value: f32) -> Vector {
        [value; 8]
    }

    #[inline]
    pub(super) fn multiply_add(a: Vector, b: Vector, mut sum: Vector) -> Vector {
        for (sum, (a, b)) in sum.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
        sum
    }

    #[inline]
    pub(super) fn widen(halves: [f16; 8]) -> Vector {
        let mut floats = [0.0; 8];
        halves.convert_to_f32_slice(&mut floats);
        floats
    }
}

instructions!(
    portable,
    cfg(all()),
    8,
    super::portable_vector::Vector,
    super::portable_vector::splat,
    super::portable_vector::multiply_add,
    super::portable_vector::widen
);
#[cfg(target_arch = "x86_64")]
instructions!(
    avx2,
    target_feature(enable = "avx2,fma,f16c"),
    8,
    std::arch::x86_64::__m256,
    std::arch::x86_64::_mm256_set1_ps,
    std::arch::x86_64::_mm256_fmadd_ps,
    std::arch::x86_64::_mm256_cvtph_ps
);
#[cfg(target_arch = "x86_64")]
instructions!(
    avx512,
    target_feature(enable = "avx512f"),
    16,
    std::arch::x86_64::__m512,
    std::arch::x86_64::_mm512_set1_ps,
    std::arch::x86_64::_mm512_fmadd_ps,
    std::arch::x86_64::_mm512_cvtph_ps
);
#[cfg(target_arch = "aarch64")]
instructions!(
    neon,
    target_feature(enable = "neon"),
    4,
    std::arch::aarch64::float32x4_t,
    std::arch::aarch64::vdupq_n_f32,
    super::neon_multiply_add,
    super::neon_widen
);

/// The operands in the order of the others.
#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
fn neon_multiply_add(
    a: std::arch::aarch64::float32x4_t,
    b: std::arch::aarch64::float32x4_t,
    sum: std::arch::aarch64::float32x4_t,
) -> std::arch::aarch64::float32x4_t {
    std::arch::aarch64::vfmaq_f32(sum, a, b)
}

/// Four floats; the conversion itself has no stable intrinsic.
#[cfg(target_arch = "aarch64")]
fn neon_widen(halves: [f16; 4]) -> [f32; 4] {
    let mut floats = [0.0; 4];
    half::slice::HalfFloatSliceExt::convert_to_f32_slice(&halves[..], &mut floats);
    floats
}

/// Calls a function of the module of a set of instructions.
macro_rules! dispatch {
    ($instructions:expr, $function:ident($($argument:expr),*)) => {
        match $instructions {
            Instructions::Portable => portable::$function($($argument),*),
            // SAFETY: the values other than `Portable` come from `Instructions::all` alone, which asks the processor. The
            // functions themselves are safe: slices with checked bounds.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => unsafe { avx2::$function($($argument),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => unsafe { avx512::$function($($argument),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Instructions::Neon => unsafe { neon::$function($($argument),*) },
        }
    };
}

impl Instructions {
    /// As 32-bit floats; both are a whole number of vectors.
    pub(super) fn widen(self, halves: &[f16], floats: &mut [f32]) {
        dispatch!(self, widen(halves, floats));
    }

    /// Adds the products of all rows to `sums`, row by row.
    pub(super) fn product(self, product: &Product<'_>, sums: &mut [f32]) {
        dispatch!(self, product(product, sums));
    }

    /// The last step for one row of sums.
    pub(super) fn finish(self, ending: &Ending<'_>, sums: &[f32], residual: Option<&[f32]>, y: &mut [f32]) {
        dispatch!(self, finish(ending, sums, residual, y));
    }

    /// The pixels of `y`, one behind the other.
    pub(super) fn depthwise(
        self,
        depthwise: &Depthwise<'_>,
        ending: &Ending<'_>,
        residual: Option<&[f32]>,
        y: &mut [f32],
    ) {
        dispatch!(self, depthwise(depthwise, ending, residual, y));
    }
}
