//! Errors about photos. Each message says what to do next.

use crate::engine::Cause;
use std::io;

/// Why a photo could not be read, resized or written.
///
/// The messages do not contain the file's name: the command line and the server add it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// There is nothing at the path.
    #[error(
        "expected a photo file, found nothing at this path; check the spelling and the current directory"
    )]
    NotFound,
    /// The path is a directory.
    #[error("expected a photo file, found a directory; name the photos inside it")]
    IsDirectory,
    /// The file has no bytes.
    #[error("expected a photo file, found an empty one (0 bytes); copy or download it again")]
    EmptyFile,
    /// The content is not a picture.
    #[error(
        "expected a photo (JPEG, PNG, WebP, GIF, BMP or TIFF), found {found}; check that this is the right file"
    )]
    NotAnImage {
        /// The kind of the content.
        found: String,
    },
    /// A picture in a format that is not supported.
    #[error("expected JPEG, PNG, WebP, GIF, BMP or TIFF, found {format}; convert it to JPEG or PNG first")]
    UnsupportedFormat {
        /// The format that was found.
        format: String,
    },
    /// More pixels are declared than [`DecodeOptions::max_pixels`](crate::image::DecodeOptions::max_pixels) allows.
    #[error(
        "expected at most {limit} pixels, found {width} x {height} = {}; shrink the photo or raise the pixel limit",
        u64::from(*.width) * u64::from(*.height)
    )]
    TooManyPixels {
        /// Declared width.
        width: u32,
        /// Declared height.
        height: u32,
        /// The limit in force.
        limit: u64,
    },
    /// The file is larger than [`DecodeOptions::max_bytes`](crate::image::DecodeOptions::max_bytes) allows.
    #[error(
        "expected a file of at most {limit} bytes, found at least {found}; shrink the photo or raise the file size limit"
    )]
    TooManyBytes {
        /// Bytes read before the limit was exceeded.
        found: u64,
        /// The limit in force.
        limit: u64,
    },
    /// Decoding or resizing would take more memory than allowed or than there is.
    #[error("expected to need less memory, found that {what} would not fit into {limit}; shrink the photo")]
    OutOfMemory {
        /// The purpose of the allocation.
        what: &'static str,
        /// The limit in force.
        limit: String,
    },
    /// The file starts as a picture does, but is damaged or ends too early.
    #[error(
        "expected a whole {format} picture, found damaged data ({reason}); copy or download it again, or save it anew \
         with an image editor"
    )]
    Corrupt {
        /// The format that the first bytes declare.
        format: &'static str,
        /// The decoder's message.
        reason: String,
    },
    /// The operating system failed to read the file.
    #[error("expected a readable file, found: {0}; check its permissions and the disk")]
    Io(#[source] io::Error),
    /// The operating system failed to write the file.
    #[error(
        "expected to write a picture, found: {0}; check that the folder exists, is writable and has space"
    )]
    Write(#[source] io::Error),
    /// A width, height and number of bytes that cannot belong together, or a side of 0.
    #[error(
        "expected sides of at least 1 and width * height * 3 bytes, found {width} x {height}{}; check the sizes passed in",
        .bytes.map(|bytes| format!(" and {bytes} bytes")).unwrap_or_default()
    )]
    InvalidSize {
        /// The width passed in.
        width: u32,
        /// The height passed in.
        height: u32,
        /// The number of bytes passed in, if pixels were passed in at all.
        bytes: Option<usize>,
    },
    /// No resize filter has that name.
    #[error("expected box, bilinear, bicubic or lanczos, found {0:?}; use one of these filters")]
    UnknownFilter(String),
}

impl ImageError {
    /// A stable name for programs that read JSON: it stays when the message is reworded.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::IsDirectory => "is_directory",
            Self::EmptyFile => "empty_file",
            Self::NotAnImage { .. } => "not_an_image",
            Self::UnsupportedFormat { .. } => "unsupported_format",
            Self::TooManyPixels { .. } | Self::TooManyBytes { .. } | Self::OutOfMemory { .. } => "too_large",
            Self::Corrupt { .. } => "corrupt",
            Self::Io(_) | Self::Write(_) => "io",
            Self::InvalidSize { .. } => "invalid_size",
            Self::UnknownFilter(_) => "unknown_filter",
        }
    }

    /// The kind of the error.
    #[must_use]
    pub fn cause(&self) -> Cause {
        match self {
            Self::NotFound | Self::IsDirectory | Self::Io(_) | Self::Write(_) => Cause::Io,
            Self::EmptyFile
            | Self::NotAnImage { .. }
            | Self::UnsupportedFormat { .. }
            | Self::Corrupt { .. } => Cause::InvalidFile,
            Self::TooManyPixels { .. } | Self::TooManyBytes { .. } => Cause::Limit,
            Self::OutOfMemory { .. } => Cause::OutOfMemory,
            Self::InvalidSize { .. } | Self::UnknownFilter(_) => Cause::InvalidInput,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_was_expected_found_and_what_to_do() {
        let io = || io::Error::other("disk on fire");
        let errors = [
            ImageError::NotFound,
            ImageError::IsDirectory,
            ImageError::EmptyFile,
            ImageError::NotAnImage { found: "text".into() },
            ImageError::UnsupportedFormat { format: "HEIC".into() },
            ImageError::TooManyPixels { width: 30000, height: 30000, limit: 100 },
            ImageError::TooManyBytes { found: 11, limit: 10 },
            ImageError::OutOfMemory { what: "the pixels", limit: "864 MiB".into() },
            ImageError::Corrupt { format: "JPEG", reason: "no end".into() },
            ImageError::Io(io()),
            ImageError::Write(io()),
            ImageError::InvalidSize { width: 0, height: 1, bytes: Some(2) },
            ImageError::UnknownFilter("nearest".into()),
        ];
        for error in errors {
            let message = error.to_string();
            assert!(message.starts_with("expected "), "{message}");
            assert!(message.contains(", found"), "{message}");
            assert!(message.contains("; "), "{message}");
            assert!(!message.contains("  "), "{message}");
            assert!(error.code().chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        }
    }

    #[test]
    fn the_pixel_limit_error_states_the_numbers() {
        let error = ImageError::TooManyPixels { width: 30000, height: 30000, limit: 100_000_000 };
        assert_eq!(
            error.to_string(),
            "expected at most 100000000 pixels, found 30000 x 30000 = 900000000; shrink the photo or raise the pixel limit"
        );
    }
}
