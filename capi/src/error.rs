//! Statuses and errors with messages.

use crate::{c_text, free};
use shadetell::{Cause, Error};
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The outcome of a call.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShadetellStatus {
    /// Success.
    Ok = 0,
    /// An argument is null, out of range, or not UTF-8.
    InvalidArgument = 1,
    /// The model file cannot be read or used.
    Model = 2,
    /// The photo cannot be read or used.
    Image = 3,
    /// The machine has no such adapter, or the adapter cannot open a device.
    Device = 4,
    /// The device was lost: make a captioner on a new one.
    DeviceLost = 5,
    /// The device has too little memory.
    OutOfMemory = 6,
    /// A bug in the library or in the driver.
    Internal = 7,
    /// The captioner is in use: try again later.
    Busy = 8,
    /// The model or the photo is larger than a limit allows: use a smaller beam, a smaller photo, or another adapter.
    Limit = 9,
}

/// An error with a message.
pub struct ShadetellError {
    message: CString,
}

/// The message of an error, in UTF-8; valid until the error is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_error_message(error: *const ShadetellError) -> *const c_char {
    // SAFETY: null, or a handle that this library made.
    unsafe { error.as_ref() }.map_or(c"".as_ptr(), |error| error.message.as_ptr())
}

/// Frees an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_error_free(error: *mut ShadetellError) {
    // SAFETY: null, or a handle that this library made.
    unsafe { free(error) };
}

/// The reason why a call failed.
pub(crate) enum Failure {
    Argument(String),
    Engine(Error),
}

impl Failure {
    pub(crate) fn null(name: &str) -> Failure {
        Failure::Argument(format!("expected `{name}`, found null"))
    }

    fn status(&self) -> ShadetellStatus {
        match self {
            Failure::Argument(_) => ShadetellStatus::InvalidArgument,
            Failure::Engine(error) => match error.cause() {
                Cause::InvalidInput => ShadetellStatus::InvalidArgument,
                // The error itself states which of the two kinds of files is invalid.
                Cause::InvalidFile | Cause::Io => match error {
                    Error::Image(_) => ShadetellStatus::Image,
                    _ => ShadetellStatus::Model,
                },
                Cause::Busy => ShadetellStatus::Busy,
                Cause::Limit => ShadetellStatus::Limit,
                Cause::Unavailable => ShadetellStatus::Device,
                Cause::DeviceLost => ShadetellStatus::DeviceLost,
                Cause::OutOfMemory => ShadetellStatus::OutOfMemory,
                _ => ShadetellStatus::Internal,
            },
        }
    }

    fn message(&self) -> String {
        match self {
            Failure::Argument(message) => message.clone(),
            Failure::Engine(error) => error.to_string(),
        }
    }
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Engine(error.into())
    }
}

/// Does the work of a call; a panic does not unwind out of it. `error` points to null after success.
pub(crate) unsafe fn guarded(
    error: *mut *mut ShadetellError,
    work: impl FnOnce() -> Result<(), Failure>,
) -> ShadetellStatus {
    let (status, message) = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => (ShadetellStatus::Ok, None),
        Ok(Err(failure)) => (failure.status(), Some(failure.message())),
        Err(_) => {
            (ShadetellStatus::Internal, Some("there is a bug in the library; please report it".to_owned()))
        }
    };
    if !error.is_null() {
        let written = message.map(|message| Box::new(ShadetellError { message: c_text(&message) }));
        // SAFETY: not null, so it points to a pointer.
        unsafe { error.write(written.map_or(std::ptr::null_mut(), Box::into_raw)) };
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use shadetell::engine::gpu::GpuError;
    use shadetell::image::ImageError;
    use shadetell::weights::{ModelError, ModelErrorKind};
    use std::ffi::CStr;

    #[test]
    fn a_panic_becomes_an_internal_error() {
        let mut error = std::ptr::null_mut();
        // SAFETY: `error` is valid for writes.
        let status = unsafe { guarded(&raw mut error, || std::panic::resume_unwind(Box::new(()))) };
        assert_eq!(status, ShadetellStatus::Internal);
        // SAFETY: `guarded` made it.
        let message = unsafe { CStr::from_ptr(shadetell_error_message(error)) };
        assert!(message.to_string_lossy().contains("report it"), "{message:?}");
        // SAFETY: `guarded` made it.
        unsafe { shadetell_error_free(error) };
        // SAFETY: null is allowed.
        let status = unsafe { guarded(std::ptr::null_mut(), || Err(Failure::null("model"))) };
        assert_eq!(status, ShadetellStatus::InvalidArgument);
    }

    #[test]
    fn each_cause_has_a_status() {
        let text = String::new;
        let table: [(Error, ShadetellStatus); 10] = [
            (GpuError::InvalidInput(text()).into(), ShadetellStatus::InvalidArgument),
            (GpuError::Busy(text()).into(), ShadetellStatus::Busy),
            (
                GpuError::LimitTooLow { limit: "maxBufferSize", need: 2, have: 1, advice: "" }.into(),
                ShadetellStatus::Limit,
            ),
            (GpuError::NoAdapter { backends: text() }.into(), ShadetellStatus::Device),
            (GpuError::DeviceLost(text()).into(), ShadetellStatus::DeviceLost),
            (GpuError::OutOfMemory(text()).into(), ShadetellStatus::OutOfMemory),
            (GpuError::Internal(text()).into(), ShadetellStatus::Internal),
            (ImageError::EmptyFile.into(), ShadetellStatus::Image),
            (ImageError::NotFound.into(), ShadetellStatus::Image),
            (
                ModelError { file: text(), kind: ModelErrorKind::Malformed(text()) }.into(),
                ShadetellStatus::Model,
            ),
        ];
        for (error, status) in table {
            let message = error.to_string();
            assert_eq!(Failure::from(error).status(), status, "{message}");
        }
    }

    #[test]
    fn success_leaves_no_error() {
        let mut error = std::ptr::dangling_mut();
        // SAFETY: `error` is valid for writes.
        let status = unsafe { guarded(&raw mut error, || Ok(())) };
        assert_eq!((status, error), (ShadetellStatus::Ok, std::ptr::null_mut()));
    }
}
