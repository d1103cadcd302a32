//! The captioning model of Shade & Tell, for everyday photos, as the bytes of a safetensors file.
//!
//! ```ignore
//! let model = shadetell::weights::Model::from_static("everyday", shadetell_everyday::MODEL)?;
//! ```
//!
//! The model is for research and education only, as the photos that it was trained on: see `LICENSE.md`.

#![no_std]

const PARTS: [&[u8]; 3] =
    [shadetell_everyday_1::PART, shadetell_everyday_2::PART, shadetell_everyday_3::PART];
const LENGTH: usize = PARTS[0].len() + PARTS[1].len() + PARTS[2].len();

/// Bytes at an address that suits any element type.
#[repr(C, align(64))]
struct Aligned([u8; LENGTH]);

/// Joins the parts, at compile time.
const fn join() -> Aligned {
    let mut joined = [0; LENGTH];
    let mut rest: &mut [u8] = &mut joined;
    let mut index = 0;
    while index < PARTS.len() {
        let (part, after) = rest.split_at_mut(PARTS[index].len());
        part.copy_from_slice(PARTS[index]);
        rest = after;
        index += 1;
    }
    Aligned(joined)
}

static JOINED: Aligned = join();

/// The model file.
pub static MODEL: &[u8] = &JOINED.0;
