//! Models.

use crate::{Failure, ShadetellError, ShadetellStatus, bytes, free, give, guarded, text};
use shadetell::weights::Model;
use std::ffi::c_char;

/// A model: weights and vocabulary. It may be freed before the captioners that were made from it.
pub struct ShadetellModel(pub(crate) Model);

/// Opens a model file, such as one written by `shadetell convert`. The file is mapped into memory: to replace it, rename another
/// file to its name. If it becomes shorter while it is open, the process ends with a signal (SIGBUS).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_model_open(
    path: *const c_char,
    model: *mut *mut ShadetellModel,
    error: *mut *mut ShadetellError,
) -> ShadetellStatus {
    let work = || {
        // SAFETY: the caller guarantees valid pointers, as the header requires.
        let path = unsafe { text(path, "path") }?.ok_or_else(|| Failure::null("path"))?;
        // SAFETY: as above.
        unsafe { give(model, "model", ShadetellModel(Model::open(path.as_ref())?)) }
    };
    // SAFETY: as above.
    unsafe { guarded(error, work) }
}

/// Reads a model file that is in memory; the bytes are copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_model_from_bytes(
    data: *const u8,
    len: usize,
    model: *mut *mut ShadetellModel,
    error: *mut *mut ShadetellError,
) -> ShadetellStatus {
    let work = || {
        // SAFETY: the caller guarantees valid pointers, as the header requires.
        let data = unsafe { bytes(data, len, "data") }?.to_vec();
        // SAFETY: as above.
        unsafe { give(model, "model", ShadetellModel(Model::from_bytes("the model in memory", data)?)) }
    };
    // SAFETY: as above.
    unsafe { guarded(error, work) }
}

/// Opens the model that is part of the library, if the library was built with one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_model_bundled(
    model: *mut *mut ShadetellModel,
    error: *mut *mut ShadetellError,
) -> ShadetellStatus {
    let work = || {
        #[cfg(feature = "bundled-model")]
        // SAFETY: the caller guarantees valid pointers, as the header requires.
        return unsafe {
            give(
                model,
                "model",
                ShadetellModel(Model::from_static("bundled model", shadetell_everyday::MODEL)?),
            )
        };
        #[cfg(not(feature = "bundled-model"))]
        return Err(Failure::Argument(
            "expected a library that was built with a model: open a model file".to_owned(),
        ));
    };
    // SAFETY: as above.
    unsafe { guarded(error, work) }
}

/// Frees a model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_model_free(model: *mut ShadetellModel) {
    // SAFETY: null, or a handle that this library made.
    unsafe { free(model) };
}
