//! Shade & Tell: looks at a photo and says what is in it, with hand-written WGSL compute shaders.

pub mod cpu;
pub mod gpu;
pub mod graph;
pub mod image;
pub mod ops;

pub use wgpu;
