//! Captions inside of a program that draws: on its device, in its command encoders, within its frames.
//!
//! ```text
//! prewarm(model, gpu, options) -> Prewarm        once, on threads of its own
//! encode(encoder, input, budget) -> Ticket       resample, and the first slice where it is not timed
//!   each frame: ticket.record(encoder)           the next slices
//!   each frame: ticket.poll() -> Caption         when the results have come back
//! ```
//!
//! Nothing here waits, asks for a device, or installs a handler.

mod input;
mod pace;
mod prewarm;
mod resample;
mod ticket;

pub use input::{BufferInput, Colour, Input, TextureInput, Window};
pub use pace::Budget;
pub use prewarm::Prewarm;
pub use ticket::Ticket;

use crate::captioner::Captioner;
use crate::engine::gpu::Executor;
use crate::error::Error;
use crate::image::Rgb8;
use pace::Pace;
use resample::Resampler;
use std::sync::Arc;

/// What a captioner needs to record its work for a host.
#[derive(Debug)]
pub(crate) struct Recorder {
    resampler: Resampler,
    pace: Arc<Pace>,
    /// All inputs but the photo.
    constants: wgpu::Buffer,
}

impl Captioner {
    /// Records the captioning of one picture into a command encoder of the device that the captioner was made on, as much of
    /// it as the budget allows; [`Ticket::record`] goes on in later frames. A captioner of several photos at a time is
    /// given one, the other places stay black.
    ///
    /// # Errors
    /// The captioner runs on the CPU; another caption is not recorded to its end; the input cannot be used; the device is
    /// out of memory or lost. The encoder can be used on.
    pub fn encode(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        input: Input<'_>,
        budget: Budget,
    ) -> Result<Ticket, Error> {
        let Some(executor) = self.executor() else {
            return Err(Error::refused("expected a captioner on a device, found one on the CPU"));
        };
        let recorder = self.recorder(executor)?;
        let guard = executor.take_arena()?;
        match input {
            Input::Photo(photo) => self.record_photo(executor, encoder, &self.preprocessing().fit(photo)?)?,
            Input::Fitted(fitted) => self.record_photo(executor, encoder, fitted)?,
            on_device => recorder.resampler.record(encoder, on_device, executor.input_binding(0))?,
        }
        executor.record_inputs(encoder, 1, &recorder.constants);
        let (executor, speaker, pace) = (Arc::clone(executor), self.speaker(), Arc::clone(&recorder.pace));
        let mut ticket = Ticket::new(executor, speaker, pace, budget, guard);
        // Bringing the picture to its size is enough for a frame that is short of time.
        if !matches!(budget, Budget::Micros(_)) {
            ticket.record(encoder)?;
        }
        Ok(ticket)
    }
}

impl Captioner {
    fn record_photo(
        &self,
        executor: &Executor,
        encoder: &mut wgpu::CommandEncoder,
        fitted: &Rgb8,
    ) -> Result<(), Error> {
        let photo = executor.staged(&self.inputs(&[fitted])?[..1])?;
        executor.record_inputs(encoder, 0, &photo);
        Ok(())
    }
}

impl Recorder {
    pub(crate) fn new(
        captioner: &Captioner,
        executor: &Executor,
        cache: Option<&wgpu::PipelineCache>,
    ) -> Result<Recorder, Error> {
        Ok(Recorder {
            resampler: Resampler::new(&executor.device, *captioner.preprocessing(), cache)?,
            pace: Arc::new(Pace::of(executor.plan())),
            constants: executor.staged(captioner.constants())?,
        })
    }
}
