//! Reading photos ahead: while one is captioned, the next is decoded.

use super::failure::Failure;
use super::names::shown;
use shadetell::image::{DecodeOptions, ImageError, Rgb8, decode, read};
use shadetell_server::record::PhotoError;
use std::fs;
use std::io::{self, Read};
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A decoded photo, or the error.
pub(crate) struct Photo {
    /// The path, as the user gave it.
    pub(crate) path: PathBuf,
    /// Its pixels.
    pub(crate) image: Result<Rgb8, PhotoError>,
    /// How long reading and decoding took.
    pub(crate) took: Duration,
}

/// The name of the thread that decodes.
const DECODER: &str = "decoder";

/// Whether a path stands for standard input.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Reads photos in order on another thread, at most one batch ahead.
///
/// The thread is not joined: it ends when the receiver is dropped, or with the process.
pub(crate) fn read_ahead(
    paths: Vec<PathBuf>,
    options: DecodeOptions,
    batch: usize,
) -> Result<impl Iterator<Item = Photo>, Failure> {
    silence_decoder();
    let (sender, receiver) = mpsc::sync_channel(batch - 1);
    let is_alone = paths.len() == 1;
    let work = move || {
        for path in paths {
            let clock = Instant::now();
            let image = read_photo(&path, &options, is_alone);
            if sender.send(Photo { path, image, took: clock.elapsed() }).is_err() {
                break;
            }
        }
    };
    let spawned = thread::Builder::new().name(DECODER.to_owned()).spawn(work);
    spawned.map_err(|error| Failure::System(format!("cannot start a thread: {error}")))?;
    Ok(receiver.into_iter())
}

fn read_photo(path: &Path, options: &DecodeOptions, is_alone: bool) -> Result<Rgb8, PhotoError> {
    let wrong = |code, message: &str| Err(PhotoError { code, message: message.to_owned() });
    if path.as_os_str().is_empty() {
        return wrong("not_found", "expected the path of a photo, found an empty argument");
    }
    if !is_alone && may_never_end(path) {
        return wrong(
            "not_a_file",
            "expected a photo file, found a pipe or a device, which may never end; caption it alone",
        );
    }
    let image = if is_stdin(path) { read_stdin(options) } else { read(path, options) };
    image.map_err(|error| photo_error(path, &error))
}

/// Whether a path names a pipe, a socket or a device. What the shell has opened for this process, such as `<(command)`, has a
/// writer and ends with it.
fn may_never_end(path: &Path) -> bool {
    let is_open = ["/dev/fd", "/dev/stdin", "/proc/self/fd"].iter().any(|open| path.starts_with(open));
    let kind = fs::metadata(path).map(|metadata| metadata.file_type());
    !is_open && !is_stdin(path) && kind.is_ok_and(|kind| !kind.is_file() && !kind.is_dir())
}

/// An error of reading a photo, with advice about options.
fn photo_error(path: &Path, error: &ImageError) -> PhotoError {
    let advice = match error {
        ImageError::IsDirectory => format!(", as in {}", shown(&path.join("*.jpg"))),
        ImageError::TooManyPixels { .. } => " with --max-pixels".to_owned(),
        _ => String::new(),
    };
    PhotoError { code: error.code(), message: format!("{error}{advice}") }
}

fn read_stdin(options: &DecodeOptions) -> Result<Rgb8, ImageError> {
    let mut bytes = Vec::new();
    let limited = io::stdin().lock().take(options.max_bytes.saturating_add(1)).read_to_end(&mut bytes);
    limited.map_err(ImageError::Io)?;
    decode(&bytes, options)
}

/// Suppresses the output of panics in image decoders: the library turns such a panic into an error of the photo, which is
/// reported like any other.
fn silence_decoder() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if thread::current().name() != Some(DECODER) {
            usual(info);
        }
    }));
}
