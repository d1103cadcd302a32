//! Bytes of weights as they lie in files and in memory.

mod bytes;
mod element;
mod safetensors;

pub(crate) use bytes::Bytes;
pub use element::ElementType;
pub(crate) use safetensors::safetensors_header;
