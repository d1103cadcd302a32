//! Any bytes as a pickle.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shadetell::checkpoint::pickle::parse;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((pickle, length)) = parse(bytes) {
        assert!(length <= bytes.len());
        let _ = pickle.root();
    }
});
