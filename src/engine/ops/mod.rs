//! The operations: for each, what shapes it takes, what it costs, how a GPU runs it, and which twin checks it.
//!
//! One file per operation. The same stem names its shaders in `shaders/` and its twin in `cpu/`.

pub mod activation;
mod adaptive_avg_pool2d;
mod add;
mod additive_attention;
mod avg_pool2d;
mod batch_norm;
mod beam_step;
pub mod conv2d;
mod conv_transpose2d;
mod custom;
mod embedding;
mod gather_rows;
mod layer_norm;
mod linear;
mod lstm_cell;
mod matmul;
mod max_pool2d;
mod operation;
pub mod pool2d;
mod preprocess;
pub mod resize2d;
pub mod scores;
mod softmax;
mod top_k;

pub use activation::Activation;
pub use adaptive_avg_pool2d::AdaptiveAvgPool2d;
pub use add::Add;
pub use additive_attention::{AttentionContext, AttentionWeights};
pub use avg_pool2d::AvgPool2d;
pub use batch_norm::BatchNorm;
pub use beam_step::{BeamStep, BeamTensors};
pub use conv_transpose2d::ConvTranspose2d;
pub use conv2d::{Conv2d, Padding};
pub use custom::{Custom, CustomOperation};
pub use embedding::Embedding;
pub use gather_rows::GatherRows;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use lstm_cell::{LstmCell, LstmWeights};
pub use matmul::Matmul;
pub use max_pool2d::MaxPool2d;
pub(crate) use operation::{Infer, Operand, Operands, Operation, exactly};
pub use pool2d::Pool2d;
pub use preprocess::Preprocess;
pub use resize2d::{Interpolation, Resize2d};
pub use softmax::Softmax;
pub use top_k::TopK;

use crate::engine::plan::Shader;

/// Declares [`Op`], its conversions and its table of shaders from one list.
macro_rules! operations {
    ($($(#[$doc:meta])* $variant:ident,)+) => {
        /// Any operation of a graph.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Op {
            $($(#[$doc])* $variant($variant),)+
        }

        impl Op {
            pub(crate) fn operation(&self) -> &dyn Operation {
                match self {
                    $(Op::$variant(op) => op,)+
                }
            }
        }

        $(impl From<$variant> for Op {
            fn from(op: $variant) -> Op {
                Op::$variant(op)
            }
        })+
    };
}

operations! {
    /// Bytes to normalised floats.
    Preprocess,
    /// Two-dimensional convolution.
    Conv2d,
    /// Transposed two-dimensional convolution.
    ConvTranspose2d,
    /// Scale and shift a channel.
    BatchNorm,
    /// A non-linearity on its own.
    Activation,
    /// Sum of two tensors.
    Add,
    /// Maximum over windows.
    MaxPool2d,
    /// Mean over windows.
    AvgPool2d,
    /// Mean over windows that cover the image for any output size.
    AdaptiveAvgPool2d,
    /// Images of another size.
    Resize2d,
    /// Matrix times rows.
    Linear,
    /// Products of computed matrices.
    Matmul,
    /// Rows of a table.
    Embedding,
    /// One step of an LSTM.
    LstmCell,
    /// Where additive attention looks.
    AttentionWeights,
    /// What additive attention sees.
    AttentionContext,
    /// Each row by its own mean and variance.
    LayerNorm,
    /// Softmax or log-softmax over rows.
    Softmax,
    /// The largest entries of each row.
    TopK,
    /// One step of beam search.
    BeamStep,
    /// Rows by index.
    GatherRows,
    /// An operation of the caller's.
    Custom,
}

/// Every shader of the engine.
pub const SHADERS: &[&Shader] = &[
    &activation::SHADER,
    &adaptive_avg_pool2d::SHADER,
    &add::SHADER,
    &additive_attention::WEIGHTS,
    &additive_attention::CONTEXT,
    &additive_attention::CONTEXT_SUBGROUP,
    &avg_pool2d::SHADER,
    &batch_norm::SHADER,
    &beam_step::SHADER,
    &conv_transpose2d::SHADER,
    &conv2d::DEPTHWISE,
    &conv2d::DEPTHWISE_ROW,
    &conv2d::DIRECT,
    &conv2d::product::GEMM,
    &conv2d::product::REDUCE,
    &conv2d::product::SUBGROUP,
    &conv2d::product::TILED,
    &embedding::SHADER,
    &gather_rows::SHADER,
    &layer_norm::SHADER,
    &linear::SHADER,
    &linear::SLICED,
    &linear::SUBGROUP,
    &lstm_cell::SHADER,
    &lstm_cell::SLICED,
    &lstm_cell::SUBGROUP,
    &matmul::SHADER,
    &matmul::TILED,
    &max_pool2d::SHADER,
    &preprocess::SHADER,
    &resize2d::SHADER,
    &softmax::SHADER,
    &top_k::SHADER,
    &conv2d::winograd::INPUT,
    &conv2d::winograd::OUTPUT,
];
