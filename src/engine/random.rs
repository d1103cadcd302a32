//! Numbers that look random and can be had anywhere again: splitmix64 (Steele et al., "Fast splittable pseudorandom number
//! generators", 2014).

/// The increment of splitmix64 between two numbers of a sequence.
pub(crate) const RANDOM_STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Number `index` of the sequence that starts at `start`, from -1 (included) to 1 (excluded), in steps of 2^-23.
pub fn random_value(start: u64, index: usize) -> f32 {
    let mut z = start.wrapping_add((index as u64 + 1).wrapping_mul(RANDOM_STEP));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    (z >> 40) as f32 * (1.0 / 8_388_608.0) - 1.0
}
