//! Bytes of weights as they lie in files and in memory.

mod bytes;
mod element;

pub(crate) use bytes::Bytes;
pub use element::ElementType;
