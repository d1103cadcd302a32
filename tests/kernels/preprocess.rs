//! Bytes to normalised floats.

use crate::common::{Case, Tolerance};
use shadetell::engine::ops::Preprocess;

const IMAGENET: Preprocess =
    Preprocess { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], padded: false };

#[test]
fn any_number_of_pixels_agrees_with_the_reference() {
    for channels in [3, 4] {
        for [n, height, width] in
            [[1, 1, 1], [1, 1, 2], [1, 3, 1], [1, 3, 5], [2, 3, 3], [3, 7, 5], [1, 16, 16]]
        {
            let shape = [n, height, width, channels];
            let mut case = Case::new(channels as u64);
            let bytes = (0..shape.iter().product()).map(|_| case.random.below(256) as u8).collect();
            let pixels = case.bytes(shape, bytes);
            case.last(IMAGENET, vec![pixels]);
            case.last(Preprocess { padded: true, ..IMAGENET }, vec![pixels]);
            case.check(&format!("{shape:?}"), Tolerance::Close);
        }
    }
}

#[test]
fn every_byte_in_every_channel_agrees_with_the_reference() {
    let mut case = Case::new(0);
    let bytes = (0..=255).flat_map(|v| [v, 255 - v, v ^ 0x55]).collect();
    let pixels = case.bytes([1, 16, 16, 3], bytes);
    case.last(IMAGENET, vec![pixels]);
    case.check("every byte", Tolerance::Close);
}
