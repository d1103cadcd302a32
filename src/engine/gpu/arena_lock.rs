//! Turns at an executor's arena: it holds the activations of one run at a time.

use super::GpuError;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Who has the arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Holder {
    #[default]
    Nobody,
    /// A run, which ends by itself.
    Run,
    /// Work that a host records into its own encoders, at its own pace.
    Recording,
}

/// The one lock of an executor's arena.
#[derive(Clone, Debug, Default)]
pub(super) struct ArenaLock(Arc<(Mutex<Holder>, Condvar)>);

impl ArenaLock {
    /// The arena for a run. Waits for other runs.
    ///
    /// # Errors
    /// A recording has the arena. Waiting for it could take forever, since it goes on only when the host records more.
    pub(super) fn for_run(&self) -> Result<ArenaGuard, GpuError> {
        let (holder, changed) = &*self.0;
        let mut holder = holder.lock().unwrap_or_else(PoisonError::into_inner);
        while *holder == Holder::Run {
            holder = changed.wait(holder).unwrap_or_else(PoisonError::into_inner);
        }
        if *holder == Holder::Recording {
            return Err(busy());
        }
        *holder = Holder::Run;
        Ok(ArenaGuard(self.clone()))
    }

    /// The arena for a recording. Never waits.
    ///
    /// # Errors
    /// A run or another recording has the arena.
    pub(super) fn for_recording(&self) -> Result<ArenaGuard, GpuError> {
        let mut holder = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *holder != Holder::Nobody {
            return Err(busy());
        }
        *holder = Holder::Recording;
        Ok(ArenaGuard(self.clone()))
    }
}

fn busy() -> GpuError {
    GpuError::Refused(
        "the memory for activations is in use: record the work before to its end, or drop it".to_owned(),
    )
}

/// Possession of an arena, until this is dropped.
#[derive(Debug)]
pub(crate) struct ArenaGuard(ArenaLock);

impl Drop for ArenaGuard {
    fn drop(&mut self) {
        let (holder, changed) = &*self.0.0;
        *holder.lock().unwrap_or_else(PoisonError::into_inner) = Holder::Nobody;
        changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn runs_wait_for_runs_and_nobody_waits_for_a_recording() {
        let lock = ArenaLock::default();
        let run = lock.for_run().unwrap();
        assert!(lock.for_recording().is_err());
        let waiting = std::thread::spawn({
            let lock = lock.clone();
            move || lock.for_run().is_ok()
        });
        std::thread::sleep(Duration::from_millis(20));
        assert!(!waiting.is_finished());
        drop(run);
        assert!(waiting.join().unwrap());
        let recording = lock.for_recording().unwrap();
        assert!(lock.for_run().is_err() && lock.for_recording().is_err());
        drop(recording);
        assert!(lock.for_run().is_ok());
    }
}
