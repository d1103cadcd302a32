//! Part 1 of 3 of the model in `shadetell-everyday`, which is the crate to depend on.

#![no_std]

/// The bytes of the part.
pub const PART: &[u8] = include_bytes!("../part.bin");
