//! Encoders: features and classes of pictures.

use crate::captioner::photo;
use crate::{
    Failure, ShadetellDevice, ShadetellError, ShadetellModel, ShadetellPicture, ShadetellStatus, borrowed,
    bytes, c_text, free, give, guarded,
};
use shadetell::image::Rgb8;
use shadetell::{Backend, EncoderOptions, Features, ImageEncoder};
use std::ffi::{CString, c_char};

/// A model's encoder that is prepared on a device.
pub struct ShadetellEncoder(ImageEncoder);

/// What an encoder makes of a picture. Pointers that its functions return are valid until it is freed.
pub struct ShadetellFeatures {
    features: Features,
    grid: [usize; 3],
    classes: Vec<ClassOf>,
}

struct ClassOf {
    index: usize,
    name: CString,
    probability: f32,
}

/// Prepares a model's encoder on a device, or, if `device` is null, on the CPU.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_encoder_new(
    model: *const ShadetellModel,
    device: *const ShadetellDevice,
    encoder: *mut *mut ShadetellEncoder,
    error: *mut *mut ShadetellError,
) -> ShadetellStatus {
    let work = || {
        // SAFETY: the caller guarantees valid pointers, as the header requires.
        let model = unsafe { borrowed(model, "model") }?;
        // SAFETY: as above.
        let backend = unsafe { device.as_ref() }.map_or(Backend::Cpu, |device| Backend::Gpu(&device.0));
        let options = EncoderOptions { grid: true, ..EncoderOptions::default() };
        let made = ImageEncoder::new(&model.0, backend, &options)?;
        // SAFETY: as above.
        unsafe { give(encoder, "encoder", ShadetellEncoder(made)) }
    };
    // SAFETY: as above.
    unsafe { guarded(error, work) }
}

/// Frees an encoder.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_encoder_free(encoder: *mut ShadetellEncoder) {
    // SAFETY: null, or a handle that this library made.
    unsafe { free(encoder) };
}

/// Encodes pixels and waits for the features.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_encode_picture(
    encoder: *const ShadetellEncoder,
    picture: *const ShadetellPicture,
    features: *mut *mut ShadetellFeatures,
    error: *mut *mut ShadetellError,
) -> ShadetellStatus {
    let work = || {
        // SAFETY: the caller guarantees valid pointers, as the header requires.
        let (encoder, picture) = unsafe { (borrowed(encoder, "encoder")?, borrowed(picture, "picture")?) };
        // SAFETY: as above.
        let photo = unsafe { photo(picture) }?;
        // SAFETY: as above.
        unsafe { encoder.give_features(&photo, features) }
    };
    // SAFETY: as above.
    unsafe { guarded(error, work) }
}

/// Encodes the bytes of a photo file, as `shadetell_caption_photo` reads them.
#[cfg(feature = "image")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_encode_photo(
    encoder: *const ShadetellEncoder,
    data: *const u8,
    len: usize,
    features: *mut *mut ShadetellFeatures,
    error: *mut *mut ShadetellError,
) -> ShadetellStatus {
    let work = || {
        // SAFETY: the caller guarantees valid pointers, as the header requires.
        let (encoder, data) = unsafe { (borrowed(encoder, "encoder")?, bytes(data, len, "data")?) };
        let photo = shadetell::image::decode(data, &shadetell::image::DecodeOptions::default())?;
        // SAFETY: as above.
        unsafe { encoder.give_features(&photo, features) }
    };
    // SAFETY: as above.
    unsafe { guarded(error, work) }
}

impl ShadetellEncoder {
    unsafe fn give_features(&self, photo: &Rgb8, place: *mut *mut ShadetellFeatures) -> Result<(), Failure> {
        if place.is_null() {
            return Err(Failure::null("features"));
        }
        let found = self.0.encode(&[photo])?.pop();
        let features = found.ok_or_else(|| Failure::Argument("expected a picture, found none".to_owned()))?;
        let class = |class: shadetell::Class| ClassOf {
            index: class.index,
            name: c_text(&class.name),
            probability: class.probability,
        };
        let classes = self.0.classes(&features, usize::MAX).into_iter().map(class).collect();
        // SAFETY: not null, so it points to a pointer.
        unsafe { give(place, "features", ShadetellFeatures { features, grid: self.0.grid_shape(), classes }) }
    }
}

/// The embedding of the picture: as many numbers as the encoder has channels. `count` may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_features_embedding(
    features: *const ShadetellFeatures,
    count: *mut usize,
) -> *const f32 {
    // SAFETY: null, or a handle that this library made.
    let values = unsafe { features.as_ref() }.map_or(&[][..], |found| &found.features.embedding);
    if !count.is_null() {
        // SAFETY: not null, so it points to a number.
        unsafe { count.write(values.len()) };
    }
    if values.is_empty() { std::ptr::null() } else { values.as_ptr() }
}

/// The grid of features, `rows` x `columns` x `channels` numbers, channels innermost. The three places may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_features_grid(
    features: *const ShadetellFeatures,
    rows: *mut usize,
    columns: *mut usize,
    channels: *mut usize,
) -> *const f32 {
    // SAFETY: null, or a handle that this library made.
    let found = unsafe { features.as_ref() };
    for (place, size) in [rows, columns, channels].into_iter().zip(found.map_or([0; 3], |found| found.grid)) {
        if !place.is_null() {
            // SAFETY: not null, so it points to a number.
            unsafe { place.write(size) };
        }
    }
    let grid = found.and_then(|found| found.features.grid.as_deref());
    grid.map_or(std::ptr::null(), <[f32]>::as_ptr)
}

/// The number of classes of the model's classifier; 0 without one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_features_class_count(features: *const ShadetellFeatures) -> usize {
    // SAFETY: null, or a handle that this library made.
    unsafe { features.as_ref() }.map_or(0, |found| found.classes.len())
}

/// The class with this rank, 0 being the most probable.
unsafe fn class<'a>(features: *const ShadetellFeatures, rank: usize) -> Option<&'a ClassOf> {
    // SAFETY: null, or a handle that this library made.
    unsafe { features.as_ref() }?.classes.get(rank)
}

/// The name of the class with this rank, 0 being the most probable, in UTF-8; null if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_features_class_name(
    features: *const ShadetellFeatures,
    rank: usize,
) -> *const c_char {
    // SAFETY: null, or a handle that this library made.
    unsafe { class(features, rank) }.map_or(std::ptr::null(), |class| class.name.as_ptr())
}

/// The number of the class with this rank among all classes; 0 if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_features_class_index(
    features: *const ShadetellFeatures,
    rank: usize,
) -> usize {
    // SAFETY: null, or a handle that this library made.
    unsafe { class(features, rank) }.map_or(0, |class| class.index)
}

/// The probability of the class with this rank; 0 if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_features_class_probability(
    features: *const ShadetellFeatures,
    rank: usize,
) -> f32 {
    // SAFETY: null, or a handle that this library made.
    unsafe { class(features, rank) }.map_or(0.0, |class| class.probability)
}

/// Frees features.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_features_free(features: *mut ShadetellFeatures) {
    // SAFETY: null, or a handle that this library made.
    unsafe { free(features) };
}
