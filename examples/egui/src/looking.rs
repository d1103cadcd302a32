//! The captions of a moving picture: the one in progress, and the last finished one.

use eframe::wgpu;
use shadetell::engine::gpu::Gpu;
use shadetell::host::{Budget, Input, TextureInput, Window};
use shadetell::weights::Model;
use shadetell::{Caption, CaptionOptions, Captioner, Error, Prewarm, Ticket};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The budget of a frame.
const BUDGET: Budget = Budget::Micros(6000);
/// How long a finished caption is shown before the next one begins.
const PAUSE: Duration = Duration::from_millis(1500);

pub(crate) struct Looking {
    state: State,
    /// The part of the picture that is being captioned, and the words found so far.
    found: Option<([u32; 4], Caption)>,
    /// The last finished caption.
    said: Option<Caption>,
}

enum State {
    Preparing(Prewarm),
    Idle { captioner: Box<Captioner>, since: Option<Instant> },
    Busy { captioner: Box<Captioner>, ticket: Box<Ticket>, part: [u32; 4] },
    Failed(String),
}

/// A caption with the part of the picture that it describes.
pub(crate) struct View<'a> {
    pub(crate) part: [u32; 4],
    pub(crate) caption: &'a Caption,
    /// Rows and columns of its attention.
    pub(crate) grid: [usize; 2],
}

impl Looking {
    pub(crate) fn new(gpu: Gpu, model: Model, options: CaptionOptions) -> Result<Looking, Error> {
        let prewarm = Captioner::prewarm(Arc::new(model), gpu, options)?;
        Ok(Looking { state: State::Preparing(prewarm), found: None, said: None })
    }

    /// Does a frame's share of the work on a part of a texture.
    pub(crate) fn frame(
        &mut self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        picture: &wgpu::TextureView,
        part: [u32; 4],
    ) {
        let mut encoder = device.create_command_encoder(&Default::default());
        let state = std::mem::replace(&mut self.state, State::Failed(String::new()));
        let next = match state {
            State::Preparing(mut prewarm) => match prewarm.poll() {
                None => Ok(State::Preparing(prewarm)),
                Some(made) => made.map(|made| State::Idle { captioner: Box::new(made), since: None }),
            },
            State::Idle { captioner, since: Some(since) } if since.elapsed() < PAUSE => {
                Ok(State::Idle { captioner, since: Some(since) })
            }
            State::Idle { captioner, .. } => {
                let window = Window { part: Some(part), ..Window::default() };
                let input = Input::Texture(TextureInput { window, ..TextureInput::new(picture) });
                captioner.encode(&mut encoder, input, BUDGET).map(|mut ticket| {
                    ticket.follow();
                    State::Busy { captioner, ticket: Box::new(ticket), part }
                })
            }
            State::Busy { captioner, mut ticket, part } => {
                ticket.record(&mut encoder).map(|()| State::Busy { captioner, ticket, part })
            }
            State::Failed(problem) => Ok(State::Failed(problem)),
        };
        queue.submit([encoder.finish()]);
        self.state =
            next.and_then(|state| self.heard(state)).unwrap_or_else(|error| State::Failed(error.to_string()));
    }

    /// Polls the caption in progress.
    fn heard(&mut self, state: State) -> Result<State, Error> {
        let State::Busy { captioner, mut ticket, part } = state else { return Ok(state) };
        let caption = ticket.poll();
        if let Some(words) = ticket.so_far() {
            self.found = Some((part, words.clone()));
        }
        let Some(caption) = caption else { return Ok(State::Busy { captioner, ticket, part }) };
        let caption = caption?;
        self.said = Some(caption.clone());
        self.found = Some((part, caption));
        Ok(State::Idle { captioner, since: Some(Instant::now()) })
    }

    /// The last finished caption.
    pub(crate) fn said(&self) -> Option<&Caption> {
        self.said.as_ref()
    }

    /// The newest caption, which may be in progress.
    pub(crate) fn view(&self) -> Option<View<'_>> {
        let (State::Idle { captioner, .. } | State::Busy { captioner, .. }) = &self.state else {
            return None;
        };
        let (part, caption) = self.found.as_ref()?;
        Some(View { part: *part, caption, grid: captioner.attention_grid()? })
    }

    /// The current activity, in words.
    pub(crate) fn state(&self) -> &str {
        match &self.state {
            State::Preparing(_) => "getting ready",
            State::Idle { .. } | State::Busy { .. } => "looking",
            State::Failed(problem) => problem,
        }
    }

    /// The progress of the preparation, from 0 to 1.
    pub(crate) fn progress(&self) -> f32 {
        match &self.state {
            State::Preparing(prewarm) => prewarm.progress(),
            _ => 1.0,
        }
    }
}
