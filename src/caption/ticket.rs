//! A caption that is recorded over several frames.

use super::formatter::{Caption, CaptionFormatter, Timings};
use crate::error::Error;
use crate::host::FrameRun;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

/// A caption in progress: polled once a frame, awaited, or waited for. Dropping the ticket cancels the work that is not
/// recorded, and discards the results of submitted work. [`Captioner::encode`](super::Captioner::encode) returns it.
#[derive(Debug)]
pub struct Ticket {
    run: FrameRun,
    formatter: Arc<CaptionFormatter>,
    so_far: Option<Caption>,
    started: Instant,
}

impl Ticket {
    pub(super) fn new(run: FrameRun, formatter: Arc<CaptionFormatter>) -> Ticket {
        Ticket { run, formatter, so_far: None, started: Instant::now() }
    }

    /// Whether all work is recorded. If so, [`Ticket::record`] does nothing.
    pub fn is_recorded(&self) -> bool {
        self.run.is_recorded()
    }

    /// Records as much as the budget allows into a frame's encoder. Call it once a frame until [`Ticket::is_recorded`], and
    /// submit the encoders in the same order.
    ///
    /// # Errors
    /// The device is out of memory or lost. The ticket has failed then; the encoder remains usable.
    pub fn record(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<(), Error> {
        Ok(self.run.record(encoder)?)
    }

    /// From now on, reads back the words found so far after each slice that finds one. [`Ticket::so_far`] returns them.
    pub fn follow(&mut self) {
        self.run.follow();
    }

    /// The best sentence as of the last poll; `None` before the first word, and without [`Ticket::follow`].
    pub fn so_far(&self) -> Option<&Caption> {
        self.so_far.as_ref()
    }

    /// The caption, once it is ready; never blocks. Later calls return `None`.
    ///
    /// # Errors
    /// The device was lost, or an encoder with recorded work was invalid.
    pub fn poll(&mut self) -> Option<Result<Caption, Error>> {
        let outcome = self.run.poll();
        let timings = self.timings();
        if let Some(Ok(caption)) =
            self.run.take_partial().map(|outputs| self.formatter.format(&outputs, 0, timings))
        {
            self.so_far = Some(caption);
        }
        outcome.map(|outputs| self.formatter.format(&outputs?, 0, timings))
    }

    /// Waits for the caption. All of its work has to be recorded and submitted. For programs that draw no frames.
    ///
    /// # Errors
    /// The work is not recorded to its end, or not submitted; or the device was lost.
    pub fn wait(mut self) -> Result<Caption, Error> {
        let outputs = self.run.wait()?;
        self.formatter.format(&outputs, 0, self.timings())
    }

    /// Encoder and decoder share the frames, so their times are not measured separately.
    fn timings(&self) -> Timings {
        Timings { generate: self.started.elapsed(), ..Timings::default() }
    }
}

/// Awaits the caption of a ticket whose work is all recorded. The device has to be polled meanwhile; a host that draws frames
/// does so.
impl Future for Ticket {
    type Output = Result<Caption, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Err(error) = self.run.wake_with(context.waker()) {
            return Poll::Ready(Err(error.into()));
        }
        Ticket::poll(&mut self).map_or(Poll::Pending, Poll::Ready)
    }
}
