//! The CPU as a device: an executor that is planned once and runs on all cores.
//!
//! Convolutions, linear layers and LSTM cells are products with weights that are packed once (`product.rs`); their inner loops use the
//! vector instructions of the processor (`vector.rs`). All other operations run their [reference](super::reference). Activations share
//! one block of memory. Results depend neither on the batch nor on the number of threads.

mod conv2d;
mod depthwise;
mod embedding;
mod executor;
mod kernel;
mod linear;
mod lstm_cell;
mod max_pool2d;
mod memory;
mod packed;
mod preprocess;
mod product;
mod vector;
mod workers;

pub(crate) use conv2d::conv2d;
pub(crate) use embedding::embedding;
pub use executor::{Executor, Run};
pub(crate) use kernel::{Kernel, Preparation};
pub(crate) use linear::linear;
pub(crate) use lstm_cell::lstm_cell;
pub(crate) use max_pool2d::max_pool2d;
pub(crate) use preprocess::preprocess;
