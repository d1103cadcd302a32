//! Shade & Tell: looks at a photo and says what is in it, with hand-written WGSL compute shaders.

mod captioner;
pub mod checkpoint;
pub mod embed;
pub mod engine;
mod error;
pub mod image;
mod models;
pub mod text;
pub mod weights;
pub mod workloads;

pub use captioner::{
    Alternative, Backend, Caption, CaptionOptions, Captioner, Timings, Token, graph, plan, required_limits,
};
pub use error::Error;
pub use wgpu;
