//! Any bytes as a vocabulary: pickle, JSON or text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shadetell::checkpoint::{SpecialWords, Vocabulary};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(vocabulary) = Vocabulary::from_bytes("fuzz", bytes) {
        assert!(!vocabulary.words.is_empty());
        if let Ok(special) = vocabulary.special(&SpecialWords::default()) {
            assert!((special.end as usize) < vocabulary.words.len());
        }
    }
});
