//! Part 3 of 4 of the model in `shadetell-flickr8k`, which is the crate to depend on.

#![no_std]

/// The bytes of the part.
pub const PART: &[u8] = include_bytes!("../part.bin");
