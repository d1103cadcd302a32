//! The C interface: captions of photos and pixels as UTF-8, opaque handles, on a device of its own.
//!
//! Every function that can fail returns a [`ShadetellStatus`]. If its last argument is not null, it also returns an error there.
//! The message of the error states what was expected, what was found and what to do. No function unwinds into its caller.
//! Several threads may use a handle at a time. Each kind of handle has a function that ends with `_free`, which also accepts null.

// The safety conditions are the same everywhere: pointers are null or point to values of their types, as the header requires.
#![expect(clippy::missing_safety_doc, reason = "said once, in the documentation of the crate")]

mod caption;
mod captioner;
mod device;
mod encoder;
mod error;
mod model;

pub use caption::*;
pub use captioner::*;
pub use device::*;
pub use encoder::*;
pub use error::*;
pub use model::*;

use std::ffi::{CStr, CString, c_char};

/// The version of the library, such as "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn shadetell_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => c"",
        };
    VERSION.as_ptr()
}

/// The value that a handle points to.
unsafe fn borrowed<'a, T>(pointer: *const T, name: &str) -> Result<&'a T, Failure> {
    // SAFETY: null, or valid as the caller guarantees.
    unsafe { pointer.as_ref() }.ok_or_else(|| Failure::null(name))
}

/// Writes a new handle for the caller.
unsafe fn give<T>(place: *mut *mut T, name: &str, value: T) -> Result<(), Failure> {
    if place.is_null() {
        return Err(Failure::null(name));
    }
    // SAFETY: not null, so it points to a pointer.
    unsafe { place.write(Box::into_raw(Box::new(value))) };
    Ok(())
}

/// Frees a handle.
unsafe fn free<T>(pointer: *mut T) {
    if !pointer.is_null() {
        // SAFETY: `give` made the handle, and the caller frees it once.
        drop(unsafe { Box::from_raw(pointer) });
    }
}

/// A text from the caller, or `None` for null.
unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Result<Option<&'a str>, Failure> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: not null, so it is a text that ends with a zero.
    let text = unsafe { CStr::from_ptr(pointer) };
    let wrong = |_| Failure::Argument(format!("expected `{name}` in UTF-8, found {text:?}"));
    text.to_str().map(Some).map_err(wrong)
}

/// Bytes from the caller.
unsafe fn bytes<'a>(pointer: *const u8, len: usize, name: &str) -> Result<&'a [u8], Failure> {
    if pointer.is_null() {
        return Err(Failure::null(name));
    }
    // SAFETY: not null, so it points to this number of bytes.
    Ok(unsafe { std::slice::from_raw_parts(pointer, len) })
}

/// A text for C. It ends at the first zero.
fn c_text(text: &str) -> CString {
    let until = text.split('\0').next().unwrap_or_default();
    CString::new(until).unwrap_or_default()
}
