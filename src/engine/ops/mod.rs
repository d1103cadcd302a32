//! The operations: operands and shape rule, cost, dispatches on a GPU, and reference of each.
//!
//! One file per operation. The same stem names its shaders in `shaders/` and its reference in `reference/`.

pub mod activation;
mod adaptive_avg_pool2d;
mod additive_attention;
mod avg_pool2d;
mod axes;
mod batch_norm;
mod beam_step;
mod binary;
mod concat;
pub mod conv2d;
mod conv_transpose2d;
mod custom;
mod embedding;
mod gather_rows;
mod gru_cell;
mod layer_norm;
mod linear;
mod lstm_cell;
mod matmul;
mod max_pool2d;
mod operation;
pub mod pool2d;
mod preprocess;
mod reshape;
pub mod resize2d;
mod slice;
mod softmax;
mod token_mask;
mod top_k;
mod transpose;

pub use activation::Activation;
pub use adaptive_avg_pool2d::AdaptiveAvgPool2d;
pub use additive_attention::{AttentionContext, AttentionWeights};
pub use avg_pool2d::AvgPool2d;
pub use batch_norm::BatchNorm;
pub use beam_step::{BeamStep, BeamTensors};
pub use binary::{Binary, BinaryKind};
pub use concat::Concat;
pub use conv_transpose2d::ConvTranspose2d;
pub use conv2d::{Conv2d, Padding};
pub use custom::{Custom, CustomOperation};
pub use embedding::Embedding;
pub use gather_rows::GatherRows;
pub use gru_cell::{GruCell, GruWeights};
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use lstm_cell::{LstmCell, LstmWeights};
pub use matmul::Matmul;
pub use max_pool2d::MaxPool2d;
pub(crate) use operation::{Infer, Operand, Operands, Operation, exactly};
pub use pool2d::Pool2d;
pub use preprocess::Preprocess;
pub use reshape::Reshape;
pub use resize2d::{Interpolation, Resize2d};
pub use slice::Slice;
pub use softmax::Softmax;
pub use token_mask::TokenMask;
pub use top_k::TopK;
pub use transpose::Transpose;

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
    /// Arithmetic on two tensors.
    Binary,
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
    /// One step of a GRU.
    GruCell,
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
    /// Tokens that hypotheses may not continue with.
    TokenMask,
    /// Rows by index.
    GatherRows,
    /// Other sizes for the same values.
    Reshape,
    /// Axes in another order.
    Transpose,
    /// Parts of axes.
    Slice,
    /// Tensors one behind the other.
    Concat,
    /// An operation of the caller's.
    Custom,
}

/// Every shader of the engine.
pub const SHADERS: &[&Shader] = &[
    &activation::SHADER,
    &adaptive_avg_pool2d::SHADER,
    &additive_attention::WEIGHTS,
    &additive_attention::CONTEXT,
    &additive_attention::CONTEXT_SUBGROUP,
    &avg_pool2d::SHADER,
    &batch_norm::SHADER,
    &beam_step::SHADER,
    &conv_transpose2d::SHADER,
    &binary::SHADER,
    &concat::SHADER,
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
    &gru_cell::SHADER,
    &gru_cell::SLICED,
    &gru_cell::SUBGROUP,
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
    &slice::SHADER,
    &softmax::SHADER,
    &token_mask::SHADER,
    &top_k::SHADER,
    &transpose::SHADER,
    &conv2d::winograd::INPUT,
    &conv2d::winograd::OUTPUT,
];
