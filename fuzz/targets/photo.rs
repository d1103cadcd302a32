//! Any bytes as a photo of at most a megapixel.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shadetell::image::{DecodeOptions, decode, dimensions};

fuzz_target!(|bytes: &[u8]| {
    let options = DecodeOptions { max_pixels: 1_000_000, apply_orientation: false, ..DecodeOptions::default() };
    if let Ok(photo) = decode(bytes, &options) {
        assert_eq!(dimensions(bytes, &options).ok(), Some([photo.width(), photo.height()]));
        assert_eq!(photo.data().len(), 3 * photo.width() as usize * photo.height() as usize);
    }
});
