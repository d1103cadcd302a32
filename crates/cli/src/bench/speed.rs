//! The speed of kernels: whether results are right, times, and the limiting resource.

use super::RunArgs;
use super::report::Times;
use crate::failure::Failure;
use serde::Serialize;
use shadetell::engine::gpu::{Clock, Executor, Peaks};
use shadetell::engine::graph::Data;
use shadetell::engine::plan::Cost;

/// The largest allowed difference from the reference's result, relative to its largest value.
pub(super) const TOLERANCE: f32 = 1e-3;

/// The speed of a kernel in relation to the adapter's peaks.
#[derive(Debug, Serialize)]
pub(super) struct Speed {
    pub(super) ms: Times,
    pub(super) gflops_per_second: f64,
    pub(super) gigabytes_per_second: f64,
    pub(super) flops_per_byte: f64,
    /// The share of the adapter's peak for the limiting resource.
    pub(super) share_of_peak: f64,
    pub(super) bound_by: &'static str,
}

impl Speed {
    /// The speed of `dispatches` dispatches with this total cost.
    pub(super) fn of(ms: Times, cost: Cost, dispatches: usize, peaks: &Peaks) -> Speed {
        let (flops, bytes, seconds) = (cost.flops as f64, cost.bytes as f64, (ms.median / 1e3).max(1e-9));
        let shares = [
            ("compute", flops / peaks.flops_per_second),
            ("memory", bytes / peaks.bytes_per_second),
            ("launch", peaks.dispatch_in_pass.as_secs_f64() * dispatches as f64),
        ];
        let (bound_by, least) =
            shares.into_iter().fold(("compute", 0.0), |a, b| if b.1 > a.1 { b } else { a });
        Speed {
            ms,
            gflops_per_second: flops / seconds / 1e9,
            gigabytes_per_second: bytes / seconds / 1e9,
            flops_per_byte: flops / bytes.max(1.0),
            share_of_peak: least / seconds,
            bound_by,
        }
    }

    /// The cells of a table under [`Speed::TITLES`].
    pub(super) fn cells(&self) -> [String; 8] {
        let ms = |value: f64| format!("{value:.3}");
        [
            ms(self.ms.min),
            ms(self.ms.median),
            ms(self.ms.p95),
            format!("{:.1}", self.gflops_per_second),
            format!("{:.1}", self.gigabytes_per_second),
            format!("{:.2}", self.flops_per_byte),
            format!("{:.0}%", 100.0 * self.share_of_peak),
            self.bound_by.to_owned(),
        ]
    }

    pub(super) const TITLES: [&str; 8] =
        ["min", "median", "p95 ms", "GFLOP/s", "GB/s", "FLOP/B", "peak", "bound by"];
}

/// Times of all steps, run after run.
pub(super) fn times(
    args: &RunArgs,
    executor: &Executor,
    inputs: &[Data],
    clock: Clock,
) -> Result<Times, Failure> {
    Ok(Times::of(&args.repeat(|| Ok(executor.time(inputs, clock)?))?))
}

/// The labels of the kernels that a plan runs, each once.
pub(super) fn kernels(executor: &Executor) -> Vec<String> {
    let mut kernels: Vec<String> = Vec::new();
    for step in executor.plan().steps() {
        let label = step.dispatch.kernel.label();
        if !kernels.contains(&label) {
            kernels.push(label);
        }
    }
    kernels
}

/// The greatest difference between results; NaN if there is a NaN.
pub(super) fn error(found: &[Data], expected: &[Data]) -> f32 {
    found.iter().zip(expected).map(|(found, expected)| found.difference(expected)).fold(0.0, larger)
}

/// Whether a difference is too large, which NaN is.
pub(super) fn is_wrong(error: f32) -> bool {
    error.is_nan() || error > TOLERANCE
}

/// The larger of two numbers, or NaN if one is NaN, unlike `max`.
pub(super) fn larger(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn nan_counts_as_a_wrong_result() {
        assert!(is_wrong(f32::NAN) && is_wrong(0.01) && !is_wrong(1e-6));
        let results = |value| [Data::F32(vec![value]), Data::F32(vec![1.0])];
        assert!(error(&results(f32::NAN), &results(1.0)).is_nan());
        assert_eq!(error(&results(0.5), &results(1.0)), 0.5);
    }

    #[test]
    fn the_resource_with_the_longest_time_at_its_peak_is_the_bound() {
        let peaks = Peaks {
            flops_per_second: 1e9,
            half_flops_per_second: None,
            bytes_per_second: 1e9,
            dispatch: Vec::new(),
            dispatch_in_pass: Duration::from_millis(1),
            readback: Vec::new(),
        };
        let ms = Times { min: 4.0, median: 4.0, p95: 4.0 };
        let speed = |flops, bytes| Speed::of(ms, Cost { flops, bytes }, 1, &peaks);
        let compute = speed(2_000_000, 100);
        assert_eq!((compute.bound_by, compute.share_of_peak), ("compute", 0.5));
        assert_eq!((compute.gflops_per_second, compute.flops_per_byte), (0.5, 20_000.0));
        assert_eq!(speed(100, 3_000_000).bound_by, "memory");
        assert_eq!(speed(100, 100).bound_by, "launch");
    }
}
