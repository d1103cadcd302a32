//! The lock over an executor's arena: one user at a time, either a run or a host's frames.

use super::GpuError;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The user of an arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum User {
    #[default]
    Nobody,
    /// A run, which ends by itself: others wait for it.
    Run,
    /// Work that a host records over its frames. It may take any time, so nobody waits for it.
    Frames,
}

/// A lock that a ticket can hold from frame to frame, and carry to other threads.
#[derive(Debug, Default)]
pub(super) struct ArenaLock {
    user: Mutex<User>,
    freed: Condvar,
}

/// The arena belongs to the holder until the guard is dropped.
#[derive(Debug)]
pub(crate) struct ArenaGuard(Arc<ArenaLock>);

impl ArenaLock {
    fn user(&self) -> MutexGuard<'_, User> {
        self.user.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a run: waits for other runs.
    ///
    /// # Errors
    /// A host's frames have the arena.
    pub(super) fn lock(self: &Arc<Self>) -> Result<ArenaGuard, GpuError> {
        let others = |user: &mut User| *user == User::Run;
        let user = self.freed.wait_while(self.user(), others).unwrap_or_else(PoisonError::into_inner);
        self.take(user, User::Run)
    }

    /// For frames: never waits.
    ///
    /// # Errors
    /// The arena is in use.
    pub(super) fn try_lock(self: &Arc<Self>) -> Result<ArenaGuard, GpuError> {
        self.take(self.user(), User::Frames)
    }

    fn take(self: &Arc<Self>, mut user: MutexGuard<'_, User>, new: User) -> Result<ArenaGuard, GpuError> {
        let busy = |message: &str| Err(GpuError::Busy(message.to_owned()));
        match *user {
            User::Nobody => {
                *user = new;
                Ok(ArenaGuard(Arc::clone(self)))
            }
            User::Run => busy("expected no run on another thread, found one: try again later"),
            User::Frames => busy(
                "expected the run before to be recorded to its end: call `record` on its ticket, or drop it",
            ),
        }
    }
}

impl Drop for ArenaGuard {
    fn drop(&mut self) {
        *self.0.user() = User::Nobody;
        self.0.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn runs_wait_for_runs_and_nobody_waits_for_frames() {
        let lock: Arc<ArenaLock> = Arc::default();
        let frames = lock.try_lock().unwrap();
        assert!(matches!(lock.try_lock(), Err(GpuError::Busy(why)) if why.contains("recorded to its end")));
        assert!(matches!(lock.lock(), Err(GpuError::Busy(why)) if why.contains("recorded to its end")));
        drop(frames);
        let run = lock.lock().unwrap();
        assert!(matches!(lock.try_lock(), Err(GpuError::Busy(why)) if why.contains("another thread")));
        let other = Arc::clone(&lock);
        let waiting = std::thread::spawn(move || other.lock().map(drop));
        std::thread::sleep(Duration::from_millis(20));
        assert!(!waiting.is_finished(), "a run waits for another");
        drop(run);
        waiting.join().unwrap().unwrap();
        assert!(lock.try_lock().is_ok());
    }
}
