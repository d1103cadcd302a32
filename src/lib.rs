//! Shade & Tell: looks at a photo and says what is in it, with hand-written WGSL compute shaders.

mod bytes;
mod captioner;
pub mod checkpoint;
pub mod cpu;
mod element;
pub mod embed;
mod error;
pub mod gpu;
pub mod graph;
pub mod image;
mod models;
pub mod ops;
pub mod text;
pub mod weights;

pub use captioner::{
    Alternative, Backend, Caption, CaptionOptions, Captioner, Timings, Token, graph, plan, required_limits,
};
pub use element::ElementType;
pub use error::Error;
pub use wgpu;
