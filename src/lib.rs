//! Shade & Tell: looks at a photo and says what is in it, with hand-written WGSL compute shaders.

mod caption;
pub mod checkpoint;
pub mod engine;
mod error;
pub mod host;
pub mod image;
mod models;
pub mod weights;
pub mod workloads;

pub use caption::{
    Alternative, Backend, Caption, CaptionOptions, Captioner, Prewarm, Ticket, Timings, Token, caption_graph,
    caption_plan, required_limits,
};
pub use engine::Cause;
pub use error::Error;
pub use wgpu;
