//! Devices.

use crate::{ShadetellError, ShadetellStatus, free, give, guarded, text};
use shadetell::engine::gpu::{AdapterChoice, Gpu};
use std::ffi::c_char;

/// A device. Captioners on it share kernels and weights, and keep it as long as they need it.
pub struct ShadetellDevice(pub(crate) Gpu);

/// Opens an adapter: the one whose name contains `adapter`, or has it as its number, or the best for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_device_open(
    adapter: *const c_char,
    device: *mut *mut ShadetellDevice,
    error: *mut *mut ShadetellError,
) -> ShadetellStatus {
    let work = || {
        // SAFETY: of the caller's, as the header asks.
        let adapter = unsafe { text(adapter, "adapter") }?.map(str::to_owned);
        let choice = AdapterChoice { adapter, ..AdapterChoice::default() };
        // SAFETY: as above.
        unsafe { give(device, "device", ShadetellDevice(Gpu::open(&choice)?)) }
    };
    // SAFETY: as above.
    unsafe { guarded(error, work) }
}

/// Frees a device.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_device_free(device: *mut ShadetellDevice) {
    // SAFETY: null, or what a call made.
    unsafe { free(device) };
}
