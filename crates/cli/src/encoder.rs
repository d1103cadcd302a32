//! Encoders of photos, for the commands that print features or classes.

use super::args::{AdapterArgs, Batches, batch, bundled_model, number, photo_paths};
use super::engine::{Device, DeviceChoice};
use super::failure::{Failure, PHOTOS_FAILED};
use super::names::shown;
use super::output::{self, Progress};
use super::photos::{Photo, read_ahead};
use clap::{Args, ValueHint};
use shadetell::image::{DecodeOptions, Rgb8};
use shadetell::weights::Model;
use shadetell::{EncoderOptions, Error, Features, ImageEncoder};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The photos, the model and the device.
#[derive(Debug, Args)]
pub(crate) struct EncoderArgs {
    /// Photo files; `-` reads one from standard input
    #[arg(required = true, value_name = "PATH", value_hint = ValueHint::FilePath,
          value_parser = photo_paths())]
    pub(crate) paths: Vec<PathBuf>,

    /// A model file to use instead of the built-in one
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    model: Option<PathBuf>,

    /// Photos in a batch; results do not depend on it. `auto` takes up to 8
    #[arg(long, value_name = "N", default_value = "auto", allow_negative_numbers = true,
          value_parser = batch(ImageEncoder::MAX_BATCH))]
    batch: Batches,

    /// The device to use
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,

    #[command(flatten)]
    adapter: AdapterArgs,

    /// The largest photo to decode, in millions of pixels
    #[arg(long, value_name = "MEGAPIXELS", default_value = "100", allow_negative_numbers = true,
          value_parser = number(1..=10_000u64, "a whole number"))]
    max_pixels: u64,

    /// Ignore the Exif orientation of photos
    #[arg(long)]
    no_exif_rotate: bool,

    /// Print to standard error which device is used
    #[arg(short, long)]
    verbose: bool,

    /// Print only results and errors
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
}

impl EncoderArgs {
    /// Prepares the encoder.
    pub(crate) fn prepare(&self, grid: bool) -> Result<Prepared, Failure> {
        let model = match &self.model {
            Some(path) => Model::open(path)?,
            None => bundled_model()?,
        };
        let options =
            EncoderOptions { batch: self.batch.size(self.paths.len()), grid, ..EncoderOptions::default() };
        let device = Device::open(self.device, &self.adapter)?;
        let encoder = ImageEncoder::new(&model, device.backend(), &options)?;
        if self.verbose || (device.is_fallback && !self.quiet) {
            device.introduce();
        }
        Ok(Prepared { model: model.manifest().name.clone(), file: model.file().to_owned(), encoder })
    }

    /// Encodes the photos in their order and passes the results on, or the message for a photo that fails.
    pub(crate) fn run(
        &self,
        encoder: &ImageEncoder,
        mut deliver: impl FnMut(&Path, Result<&Features, &str>) -> Result<(), Failure>,
    ) -> Result<ExitCode, Failure> {
        let options = DecodeOptions {
            max_pixels: self.max_pixels * 1_000_000,
            apply_orientation: !self.no_exif_rotate,
            ..DecodeOptions::default()
        };
        let progress = Progress::of(self.paths.len(), self.quiet);
        let batch = self.batch.size(self.paths.len());
        let mut photos = read_ahead(self.paths.clone(), options, batch)?.peekable();
        let mut failed = 0;
        while photos.peek().is_some() {
            let group: Vec<Photo> = photos.by_ref().take(batch).collect();
            let images: Vec<&Rgb8> = group.iter().filter_map(|photo| photo.image.as_ref().ok()).collect();
            let mut features = match encoder.encode(&images) {
                Err(Error::Gpu(error)) => return Err(error.into()),
                encoded => encoded?.into_iter(),
            };
            for photo in &group {
                let result = match &photo.image {
                    Ok(_) => features.next().ok_or_else(|| "no features".to_owned()),
                    Err(error) => Err(error.message.clone()),
                };
                if let Err(message) = &result {
                    failed += 1;
                    progress.step(|| output::error(&format!("{}: {message}", shown(&photo.path))));
                } else {
                    progress.step(|| ());
                }
                deliver(&photo.path, result.as_ref().map_err(String::as_str))?;
            }
        }
        progress.finish();
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(PHOTOS_FAILED) })
    }
}

/// An encoder on a device.
pub(crate) struct Prepared {
    /// The model's name.
    pub(crate) model: String,
    /// The model's file.
    pub(crate) file: String,
    /// The encoder.
    pub(crate) encoder: ImageEncoder,
}
