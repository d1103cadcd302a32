//! The engine: graphs of tensor operations, planned for a GPU and run there or on the CPU. It knows no photo, no model file
//! and no word.

pub mod cpu;
pub mod gpu;
pub mod graph;
pub mod ops;
pub mod plan;
pub(crate) mod random;
pub(crate) mod storage;

pub use random::random_value;
pub use storage::ElementType;
