//! Making a captioner ready while the host goes on drawing.

use crate::captioner::{Backend, CaptionOptions, Captioner};
use crate::engine::gpu::{Gpu, GpuError, Progress};
use crate::error::Error;
use crate::weights::Model;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// A captioner that is being made ready on threads of its own: weights are packed, kernels compiled, those that bring pictures
/// to their size too.
#[derive(Debug)]
pub struct Prewarm {
    thread: Option<JoinHandle<Result<Captioner, Error>>>,
    progress: Arc<Progress>,
}

impl Captioner {
    /// Begins to make a captioner ready and returns at once.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn prewarm(model: Arc<Model>, gpu: Gpu, options: CaptionOptions) -> Result<Prewarm, Error> {
        let progress: Arc<Progress> = Arc::default();
        let told = Arc::clone(&progress);
        let make = move || {
            let captioner = Captioner::prepared(&model, Backend::Gpu(&gpu), &options, told)?;
            if let Some(executor) = captioner.executor() {
                captioner.recorder(executor)?;
            }
            Ok(captioner)
        };
        let thread = Builder::new().name("shadetell".to_owned()).spawn(make);
        let thread = thread
            .map_err(|error| GpuError::Refused(format!("there is no thread to prepare on: {error}")))?;
        Ok(Prewarm { thread: Some(thread), progress })
    }
}

impl Prewarm {
    /// How much is done, from 0 to 1.
    pub fn progress(&self) -> f32 {
        self.progress.share()
    }

    /// The captioner, once it is ready; never waits. After it was given there is nothing more.
    ///
    /// # Errors
    /// As [`Captioner::new`].
    pub fn poll(&mut self) -> Option<Result<Captioner, Error>> {
        self.thread.take_if(|thread| thread.is_finished()).map(joined)
    }

    /// Waits for it.
    ///
    /// # Errors
    /// As [`Captioner::new`]; or it was given before.
    pub fn wait(mut self) -> Result<Captioner, Error> {
        let given = || Err(Error::refused("the captioner was given before"));
        self.thread.take().map_or_else(given, joined)
    }
}

fn joined(thread: JoinHandle<Result<Captioner, Error>>) -> Result<Captioner, Error> {
    let stopped = |_| Err(Error::refused("the thread that prepared stopped"));
    thread.join().unwrap_or_else(stopped)
}
