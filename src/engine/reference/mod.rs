//! The reference of each operation, written to be read: the oracle of the kernel tests, and the CPU backend.
//!
//! Activations are NHWC `f32` slices, weights lie as PyTorch keeps them. Every function returns a fresh
//! vector. Shapes have been checked by the graph before anything arrives here.

pub mod activation;
pub mod adaptive_avg_pool2d;
pub mod additive_attention;
pub mod avg_pool2d;
pub mod batch_norm;
pub mod beam_step;
pub mod binary;
pub mod concat;
pub mod conv2d;
pub mod conv_transpose2d;
pub mod embedding;
mod executor;
pub mod gather_rows;
mod gemm;
pub mod gru_cell;
pub mod layer_norm;
pub mod linear;
pub mod lstm_cell;
pub mod matmul;
pub mod max_pool2d;
pub(crate) mod positions;
pub mod preprocess;
pub mod resize2d;
pub mod slice;
pub mod softmax;
#[cfg(test)]
mod test_data;
pub mod token_mask;
pub mod top_k;
pub mod transpose;

pub(crate) use executor::check_results;
pub use executor::run;
