//! What went wrong, as a number and in words.

use crate::{c_text, free};
use shadetell::Error;
use shadetell::engine::gpu::GpuError;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a call ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShadetellStatus {
    /// As asked.
    Ok = 0,
    /// An argument is null, out of range, or not UTF-8.
    InvalidArgument = 1,
    /// The model file cannot be read or used.
    Model = 2,
    /// The photo cannot be read or used.
    Image = 3,
    /// There is no such adapter, or it is not up to the model.
    Device = 4,
    /// The device went away: make a captioner on a new one.
    DeviceLost = 5,
    /// The device has too little memory.
    OutOfMemory = 6,
    /// A mistake of the library.
    Internal = 7,
}

/// What went wrong in words.
pub struct ShadetellError {
    message: CString,
}

/// The message of an error, in UTF-8; it lives as long as the error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_error_message(error: *const ShadetellError) -> *const c_char {
    // SAFETY: null, or what a call made.
    unsafe { error.as_ref() }.map_or(c"".as_ptr(), |error| error.message.as_ptr())
}

/// Frees an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_error_free(error: *mut ShadetellError) {
    // SAFETY: null, or what a call made.
    unsafe { free(error) };
}

/// Why a call did not do as asked.
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
            Failure::Engine(Error::Model(_) | Error::Graph(_)) => ShadetellStatus::Model,
            Failure::Engine(Error::Image(_)) => ShadetellStatus::Image,
            Failure::Engine(Error::Gpu(GpuError::DeviceLost(_))) => ShadetellStatus::DeviceLost,
            Failure::Engine(Error::Gpu(GpuError::OutOfMemory(_))) => ShadetellStatus::OutOfMemory,
            Failure::Engine(Error::Gpu(GpuError::Refused(_))) => ShadetellStatus::Internal,
            Failure::Engine(Error::Gpu(_)) => ShadetellStatus::Device,
            Failure::Engine(_) => ShadetellStatus::Internal,
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

/// Does the work of a call; nothing unwinds out of it.
pub(crate) unsafe fn guarded(
    error: *mut *mut ShadetellError,
    work: impl FnOnce() -> Result<(), Failure>,
) -> ShadetellStatus {
    let (status, message) = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => return ShadetellStatus::Ok,
        Ok(Err(failure)) => (failure.status(), failure.message()),
        Err(_) => (ShadetellStatus::Internal, "the library made a mistake; please report it".to_owned()),
    };
    if !error.is_null() {
        let told = Box::new(ShadetellError { message: c_text(&message) });
        // SAFETY: not null, so a place for a pointer.
        unsafe { error.write(Box::into_raw(told)) };
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    #[test]
    fn what_unwinds_is_told() {
        let mut error = std::ptr::null_mut();
        // SAFETY: a place for a pointer.
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
    fn devices_that_are_gone_have_a_status_of_their_own() {
        let status = |error| Failure::from(error).status();
        assert_eq!(status(GpuError::DeviceLost(String::new())), ShadetellStatus::DeviceLost);
        assert_eq!(status(GpuError::OutOfMemory(String::new())), ShadetellStatus::OutOfMemory);
        assert_eq!(status(GpuError::Refused(String::new())), ShadetellStatus::Internal);
        let low = GpuError::LimitTooLow { limit: "maxBufferSize", need: 2, have: 1, advice: "" };
        assert_eq!(status(low), ShadetellStatus::Device);
    }
}
