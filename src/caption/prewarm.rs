//! Preparing a captioner while the host continues to draw.

use super::captioner::Captioner;
use crate::engine::gpu::{GpuError, Progress};
use crate::error::Error;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// A captioner that is being prepared on threads of its own: weights are packed, and all kernels compiled, including those that
/// resize pictures. [`Captioner::prewarm`] starts it.
#[derive(Debug)]
pub struct Prewarm {
    thread: Option<JoinHandle<Result<Captioner, Error>>>,
    progress: Arc<Progress>,
}

impl Prewarm {
    pub(super) fn start(
        make: impl FnOnce(Arc<Progress>) -> Result<Captioner, Error> + Send + 'static,
    ) -> Result<Prewarm, Error> {
        let progress: Arc<Progress> = Arc::default();
        let reported = Arc::clone(&progress);
        let thread = Builder::new().name("shadetell".to_owned()).spawn(|| make(reported));
        Ok(Prewarm { thread: Some(thread.map_err(Error::Thread)?), progress })
    }

    /// The progress, from 0 to 1.
    pub fn progress(&self) -> f32 {
        self.progress.share()
    }

    /// The captioner, once it is ready; never blocks. Later calls return `None`.
    ///
    /// # Errors
    /// As [`Captioner::new`].
    pub fn poll(&mut self) -> Option<Result<Captioner, Error>> {
        self.thread.take_if(|thread| thread.is_finished()).map(joined)
    }

    /// Waits for the captioner.
    ///
    /// # Errors
    /// As [`Captioner::new`]; or [`Prewarm::poll`] has returned the captioner already.
    pub fn wait(mut self) -> Result<Captioner, Error> {
        let given = || {
            Err(Error::invalid(
                "expected a `Prewarm` with a captioner, found that `poll` has returned it already",
            ))
        };
        self.thread.take().map_or_else(given, joined)
    }
}

fn joined(thread: JoinHandle<Result<Captioner, Error>>) -> Result<Captioner, Error> {
    let panicked =
        |_| Err(GpuError::Internal("the thread that prepares a captioner panicked".to_owned()).into());
    thread.join().unwrap_or_else(panicked)
}
