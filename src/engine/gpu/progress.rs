//! Progress of making plans ready.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Kernels to compile and weights to upload, readable from other threads.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    done: AtomicUsize,
    expected: AtomicUsize,
}

impl Progress {
    pub(super) fn add_steps(&self, count: usize) {
        self.expected.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn step(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// The share that is done, from 0 to 1.
    pub(crate) fn share(&self) -> f32 {
        let expected = self.expected.load(Ordering::Relaxed).max(1);
        self.done.load(Ordering::Relaxed).min(expected) as f32 / expected as f32
    }
}
