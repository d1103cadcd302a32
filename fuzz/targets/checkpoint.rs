//! Any bytes as a PyTorch file: all of its tensors are read, and told what they are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shadetell::checkpoint::{StateDict, TensorFile, architecture};

fuzz_target!(|bytes: &[u8]| {
    let read = |dict: &StateDict<'_>| {
        for (_, tensor) in dict.tensors() {
            let mut count = 0;
            tensor.for_each_piece(|piece| count += piece.len());
            assert_eq!(count, tensor.elements());
        }
        let _ = architecture::recognise(dict);
        architecture::split(dict).iter().for_each(|part| drop(architecture::recognise(part)));
    };
    if let Ok(file) = TensorFile::from_bytes("fuzz", bytes.to_vec())
        && let Ok(dicts) = file.state_dicts()
    {
        dicts.iter().for_each(read);
    }
});
