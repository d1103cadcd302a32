//! A photo of a request, from its bytes to the network's input.

use crate::budget::{Budget, Memory};
use crate::problem::Problem;
use axum::body::Bytes;
use shadetell::image::{self, DecodeOptions, Rgb8};
use shadetell::weights::Preprocessing;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A photo as it was received.
#[derive(Clone, Debug)]
pub(crate) struct Photo {
    /// The file's name; `-` if it has none.
    pub(crate) name: String,
    pub(crate) bytes: Bytes,
    /// The body's share of the memory for bodies, released with its last photo.
    pub(crate) _memory: Arc<Memory>,
}

/// A photo at the size of the network's input.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) input: Rgb8,
    /// Width and height before it was resized.
    pub(crate) size: [u32; 2],
    pub(crate) decode: Duration,
    pub(crate) preprocess: Duration,
}

/// Most bytes that decoding takes for a pixel: four samples of 16 bits, and the picture in RGB.
pub(crate) const DECODED_BYTES: u64 = 8 + 3;

impl Photo {
    /// Decodes and resizes the photo as soon as `budget` has the memory for all of its pixels.
    ///
    /// # Errors
    /// The bytes are not a photo that can be decoded within the limits of `options`.
    pub(crate) async fn prepare(
        self,
        options: DecodeOptions,
        preprocessing: Preprocessing,
        budget: &Budget,
    ) -> Result<Prepared, Problem> {
        let (photo, limits) = (self.clone(), options.clone());
        let [width, height] = blocking(move || image::dimensions(&photo.bytes, &limits)).await?;
        let pixels = u64::from(width) * u64::from(height);
        let memory = budget.take(pixels * DECODED_BYTES).await.map_err(|_| Problem::internal())?;
        blocking(move || {
            let clock = Instant::now();
            let image = image::decode(&self.bytes, &options)?;
            let decode = clock.elapsed();
            let input = preprocessing.fit(&image)?;
            let size = [image.width(), image.height()];
            drop(image);
            // Held until here, even if the client has disconnected.
            drop(memory);
            Ok(Prepared { input, size, decode, preprocess: clock.elapsed() - decode })
        })
        .await
    }
}

/// Runs long work on a blocking thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, image::ImageError> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|_| Problem::internal())?;
    Ok(done?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shadetell::weights::Preset;
    use tokio::time::timeout;

    fn photo(bytes: Vec<u8>) -> Photo {
        let memory = Budget::new(0).try_take(0).unwrap();
        Photo { name: "-".to_owned(), bytes: bytes.into(), _memory: Arc::new(memory) }
    }

    /// A photo of 100 by 50 pixels, as a PNG file.
    fn png() -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        image::write_png(&path, &Rgb8::filled(100, 50, [1, 2, 3]).unwrap()).unwrap();
        std::fs::read(path).unwrap()
    }

    #[tokio::test]
    async fn decoding_waits_for_memory_and_gives_it_back() {
        const ALL: u64 = 100 * 50 * DECODED_BYTES;
        let preprocessing = Preset::Bundled.preprocessing();
        let budget = Budget::new(ALL);
        let prepare = |bytes| photo(bytes).prepare(DecodeOptions::default(), preprocessing, &budget);

        // A single piece is missing.
        let other = budget.try_take(1).unwrap();
        let mut waiting = Box::pin(prepare(png()));
        assert!(timeout(Duration::from_millis(200), &mut waiting).await.is_err(), "it waits for memory");
        drop(other);
        let prepared = waiting.await.unwrap();
        assert_eq!(prepared.size, [100, 50]);
        assert_eq!([prepared.input.width(), prepared.input.height()], [224, 224]);
        assert!(budget.try_take(ALL).is_some(), "all of it is given back");

        let cut = png()[..100].to_vec();
        assert_eq!(prepare(cut).await.unwrap_err().code, "corrupt");
        assert!(budget.try_take(ALL).is_some(), "also by a photo that cannot be decoded");
        assert_eq!(prepare(b"text".to_vec()).await.unwrap_err().code, "not_an_image");
    }
}
