//! Captioners.

use crate::{
    Failure, ShadetellCaption, ShadetellDevice, ShadetellError, ShadetellModel, ShadetellStatus, borrowed,
    bytes, free, give, guarded,
};
use shadetell::image::Rgb8;
use shadetell::weights::DecoderFamily;
use shadetell::{Backend, CaptionOptions, Captioner};

/// A decoder of a model.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub enum ShadetellDecoder {
    /// The model's own choice.
    Default = 0,
    /// "Show and Tell".
    ShowTell = 1,
    /// "Show, Attend and Tell".
    ShowAttendTell = 2,
    /// Semantic attention.
    SemanticAttention = 3,
}

/// How captions are searched. Zero means the model's own choice.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ShadetellOptions {
    /// One of `ShadetellDecoder`.
    pub decoder: u32,
    /// Number of hypotheses in the beam; 1 is greedy search.
    pub beam: u32,
    /// Most words in a caption, including the end token.
    pub max_length: u32,
}

/// The memory layout of a pixel.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub enum ShadetellPixelFormat {
    /// Red, green and blue, one byte each.
    Rgb8 = 0,
    /// Red, green, blue, and a byte that is ignored.
    Rgba8 = 1,
    /// Blue, green, red, and a byte that is ignored.
    Bgra8 = 2,
}

/// Pixels in memory, encoded as in a photo (sRGB), with the first row at the top.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ShadetellPicture {
    /// The first pixel.
    pub pixels: *const u8,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from one row to the next; 0 if rows have no padding.
    pub bytes_per_row: usize,
    /// One of `ShadetellPixelFormat`.
    pub format: u32,
}

/// A model that is prepared on a device.
pub struct ShadetellCaptioner(Captioner);

/// Prepares a model on a device, or, if `device` is null, on all cores of the CPU, which are faster than a software adapter.
/// On a device it takes seconds, because kernels are compiled. `options` may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_captioner_new(
    model: *const ShadetellModel,
    device: *const ShadetellDevice,
    options: *const ShadetellOptions,
    captioner: *mut *mut ShadetellCaptioner,
    error: *mut *mut ShadetellError,
) -> ShadetellStatus {
    let work = || {
        // SAFETY: the caller guarantees valid pointers, as the header requires.
        let model = unsafe { borrowed(model, "model") }?;
        // SAFETY: as above.
        let backend = unsafe { device.as_ref() }.map_or(Backend::Cpu, |device| Backend::Gpu(&device.0));
        // SAFETY: as above.
        let options = unsafe { options.as_ref() }.map_or(Ok(CaptionOptions::default()), chosen)?;
        let made = Captioner::new(&model.0, backend, &options)?;
        // SAFETY: as above.
        unsafe { give(captioner, "captioner", ShadetellCaptioner(made)) }
    };
    // SAFETY: as above.
    unsafe { guarded(error, work) }
}

/// Frees a captioner.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_captioner_free(captioner: *mut ShadetellCaptioner) {
    // SAFETY: null, or a handle that this library made.
    unsafe { free(captioner) };
}

/// Captions pixels and waits for the caption.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_caption_picture(
    captioner: *const ShadetellCaptioner,
    picture: *const ShadetellPicture,
    caption: *mut *mut ShadetellCaption,
    error: *mut *mut ShadetellError,
) -> ShadetellStatus {
    let work = || {
        // SAFETY: the caller guarantees valid pointers, as the header requires.
        let (captioner, picture) =
            unsafe { (borrowed(captioner, "captioner")?, borrowed(picture, "picture")?) };
        // SAFETY: as above.
        let photo = unsafe { photo(picture) }?;
        // SAFETY: as above.
        unsafe { captioner.give_caption(&photo, caption) }
    };
    // SAFETY: as above.
    unsafe { guarded(error, work) }
}

/// Captions the bytes of a photo file (JPEG, PNG, WebP, GIF, BMP or TIFF), with its EXIF orientation applied, and waits for the
/// caption.
#[cfg(feature = "image")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadetell_caption_photo(
    captioner: *const ShadetellCaptioner,
    data: *const u8,
    len: usize,
    caption: *mut *mut ShadetellCaption,
    error: *mut *mut ShadetellError,
) -> ShadetellStatus {
    let work = || {
        // SAFETY: the caller guarantees valid pointers, as the header requires.
        let (captioner, data) = unsafe { (borrowed(captioner, "captioner")?, bytes(data, len, "data")?) };
        let photo = shadetell::image::decode(data, &shadetell::image::DecodeOptions::default())?;
        // SAFETY: as above.
        unsafe { captioner.give_caption(&photo, caption) }
    };
    // SAFETY: as above.
    unsafe { guarded(error, work) }
}

impl ShadetellCaptioner {
    unsafe fn give_caption(&self, photo: &Rgb8, caption: *mut *mut ShadetellCaption) -> Result<(), Failure> {
        if caption.is_null() {
            return Err(Failure::null("caption"));
        }
        let found = ShadetellCaption::new(&self.0.caption(photo)?, self.0.attention_grid());
        // SAFETY: not null, so it points to a pointer.
        unsafe { give(caption, "caption", found) }
    }
}

fn chosen(options: &ShadetellOptions) -> Result<CaptionOptions, Failure> {
    let number = |value: u32| (value > 0).then_some(value as usize);
    let decoder = match options.decoder {
        0 => None,
        1 => Some(DecoderFamily::ShowTell),
        2 => Some(DecoderFamily::ShowAttendTell),
        3 => Some(DecoderFamily::SemanticAttention),
        other => {
            return Err(Failure::Argument(format!("expected a decoder from 0 to 3, found {other}")));
        }
    };
    Ok(CaptionOptions {
        decoder,
        beam: number(options.beam),
        max_length: number(options.max_length),
        ..CaptionOptions::default()
    })
}

/// Copies the caller's pixels as RGB.
pub(crate) unsafe fn photo(picture: &ShadetellPicture) -> Result<Rgb8, Failure> {
    let &ShadetellPicture { pixels, width, height, bytes_per_row, format } = picture;
    let (size, order) = match format {
        0 => (3, [0, 1, 2]),
        1 => (4, [0, 1, 2]),
        2 => (4, [2, 1, 0]),
        other => {
            return Err(Failure::Argument(format!("expected a pixel format from 0 to 2, found {other}")));
        }
    };
    let row = width as usize * size;
    let stride = if bytes_per_row == 0 { row } else { bytes_per_row };
    if width == 0 || height == 0 || stride < row {
        let message = format!(
            "expected at least a pixel, and rows of at least {row} bytes, found {width}x{height} with {stride} bytes a row"
        );
        return Err(Failure::Argument(message));
    }
    // The last row need not have padding.
    let len = stride.checked_mul(height as usize - 1).and_then(|bytes| bytes.checked_add(row));
    let len = len.filter(|&len| isize::try_from(len).is_ok());
    let len = len.ok_or_else(|| {
        Failure::Argument(format!("a picture of {width}x{height} does not fit into memory"))
    })?;
    // SAFETY: the caller guarantees this number of bytes, as the header requires.
    let data = unsafe { bytes(pixels, len, "pixels") }?;
    let rows = data.chunks(stride).flat_map(|line| line[..row].chunks_exact(size));
    Ok(Rgb8::new(width, height, rows.flat_map(|pixel| order.map(|channel| pixel[channel])).collect())?)
}
