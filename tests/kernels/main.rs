//! Compares every kernel with its reference in `reference/`, on the adapter of the machine: `cargo xtask test` installs one.
//!
//! There is one file per operation; other files test properties of all graphs.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod activation;
mod adaptive_avg_pool2d;
mod additive_attention;
mod avg_pool2d;
mod batch_norm;
mod beam_step;
mod binary;
mod concat;
mod conv2d;
mod conv_transpose2d;
mod custom;
mod embedding;
mod executor;
mod fuse;
mod gather_rows;
mod gru_cell;
mod layer_norm;
mod linear;
mod lstm_cell;
mod matmul;
mod max_pool2d;
mod preprocess;
mod random_graphs;
mod reshape;
mod resize2d;
mod session;
mod slice;
mod softmax;
mod token_mask;
mod top_k;
mod transpose;
