//! The error of everything that builds, plans and runs graphs.

use super::gpu::GpuError;
use super::graph::GraphError;

/// A graph cannot be built, planned or run.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The graph or its inputs.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The device.
    #[error(transparent)]
    Gpu(#[from] GpuError),
}
