//! Devices.

use crate::{ShadetellError, ShadetellStatus, free, give, guarded, text};
use shadetell::engine::gpu::{AdapterChoice, Gpu};
use std::ffi::c_char;

/// A device. Captioners on it share kernels and weights. It may be freed before them.
pub struct ShadetellDevice(pub(crate) Gpu);

/// Opens an adapter. `adapter` is part of its name, or its number in the list of `shadetell devices`; null means the best one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_device_open(
    adapter: *const c_char,
    device: *mut *mut ShadetellDevice,
    error: *mut *mut ShadetellError,
) -> ShadetellStatus {
    let work = || {
        // SAFETY: the caller guarantees valid pointers, as the header requires.
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
    // SAFETY: null, or a handle that this library made.
    unsafe { free(device) };
}
