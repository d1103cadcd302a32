//! The engine: graphs of tensor operations, planned for a GPU and run there or on the CPU. It knows no photo, no model file
//! and no word.
//!
//! Build a [`Graph`](graph::Graph), make it ready as a [`Session`], run it by the names of its inputs and results:
//!
//! ```no_run
//! use shadetell::engine::graph::{DType, Graph};
//! use shadetell::engine::gpu::Gpu;
//! use shadetell::engine::{EngineError, Session};
//!
//! fn main() -> Result<(), EngineError> {
//!     let mut graph = Graph::new();
//!     let x = graph.input("x", [2, 3], DType::F32)?;
//!     let weight = graph.constant("weight", [1, 3], vec![1.0, 2.0, 3.0])?;
//!     let bias = graph.constant("bias", [1], vec![0.5])?;
//!     let y = graph.linear("y", x, weight, bias)?;
//!     graph.output(y)?;
//!
//!     let session = Session::new(&Gpu::open(&Default::default())?, &graph)?;
//!     let results = session.run(&[("x", vec![1.0, 1.0, 1.0, 0.0, 0.0, 2.0].into())])?;
//!     println!("{:?}", results.get("y"));
//!     Ok(())
//! }
//! ```
//!
//! | module | content |
//! |---|---|
//! | [`graph`] | operations on tensors: shapes, types, constants; no device |
//! | [`ops`] | the operations, each with its shape rule, its reference and its shaders |
//! | [`plan`] | kernels, memory and bindings for one kind of device: plain data |
//! | [`gpu`] | adapters, devices, and the [`Executor`](gpu::Executor) of a plan |
//! | [`cpu`] | the executor of a graph on the CPU |
//! | [`mod@reference`] | what each operation computes, written to be read |
//!
//! [`ops::CustomOperation`] is the way to an operation of one's own; [`verify`] compares it with its reference.

pub mod cpu;
mod error;
pub mod gpu;
pub mod graph;
pub mod ops;
pub mod plan;
pub(crate) mod random;
pub mod reference;
pub mod scores;
mod session;
pub(crate) mod storage;
mod verify;

pub use error::{Cause, EngineError};
pub use random::random_value;
pub use session::{Input, Recording, Results, Session};
pub use storage::ElementType;
pub use verify::{Comparison, ResultComparison, run_guarded, verify};
