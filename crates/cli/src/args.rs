//! Options of several subcommands.

use super::failure::Failure;
use super::tuned;
use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum, ValueHint};
use shadetell::engine::gpu::{AdapterChoice, Gpu, GpuError};
use shadetell::weights::{DecoderFamily, Model};
use shadetell::{CaptionOptions, wgpu};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

/// The model and its search.
#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// A model file to use instead of the built-in one
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    model: Option<PathBuf>,

    /// The decoder of the model; its first one if not given
    #[arg(long, value_name = "NAME", value_parser = named(&DecoderFamily::ALL, DecoderFamily::name))]
    decoder: Option<DecoderFamily>,

    /// The number of hypotheses in the beam, 1 being greedy search; the model's choice if not given
    #[arg(long, value_name = "K", allow_negative_numbers = true,
          value_parser = number(1..=CaptionOptions::MAX_BEAM, "a whole number"))]
    beam: Option<usize>,

    /// The most words in a caption, including the end token; the model's choice if not given
    #[arg(long, value_name = "WORDS", allow_negative_numbers = true,
          value_parser = number(1..=CaptionOptions::MAX_LENGTH, "a whole number"))]
    max_length: Option<usize>,
}

impl SearchArgs {
    /// Loads the model.
    pub(crate) fn open_model(&self) -> Result<Model, Failure> {
        match &self.model {
            Some(path) => Ok(Model::open(path)?),
            None => bundled_model(),
        }
    }

    /// The options of the search.
    pub(crate) fn options(&self) -> CaptionOptions {
        CaptionOptions {
            decoder: self.decoder,
            beam: self.beam,
            max_length: self.max_length,
            ..CaptionOptions::default()
        }
    }
}

/// The built-in model.
pub(crate) fn bundled_model() -> Result<Model, Failure> {
    #[cfg(feature = "bundled-model")]
    return Ok(Model::from_static("bundled model", shadetell_everyday::MODEL)?);
    #[cfg(not(feature = "bundled-model"))]
    Err(Failure::Model(
        "this build of shadetell has no model in it: name a model file with --model FILE, or build with \
         `--features bundled-model`"
            .to_owned(),
    ))
}

/// Parses one of a few names.
pub(crate) fn named<T>(all: &'static [T], name: fn(T) -> &'static str) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    let find =
        move |text: String| all.iter().copied().find(|&value| name(value) == text).ok_or("no such name");
    PossibleValuesParser::new(all.iter().map(|&value| name(value))).try_map(find)
}

/// The graphics APIs by name.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum BackendName {
    /// Linux, Windows, Android
    Vulkan,
    /// macOS, iOS
    Metal,
    /// Windows
    Dx12,
    /// OpenGL, for systems without a newer API
    Gl,
}

impl From<BackendName> for wgpu::Backends {
    fn from(name: BackendName) -> wgpu::Backends {
        match name {
            BackendName::Vulkan => wgpu::Backends::VULKAN,
            BackendName::Metal => wgpu::Backends::METAL,
            BackendName::Dx12 => wgpu::Backends::DX12,
            BackendName::Gl => wgpu::Backends::GL,
        }
    }
}

/// The choice of an adapter.
#[derive(Clone, Debug, Args)]
pub(crate) struct AdapterArgs {
    /// Part of an adapter's name, or its number in `shadetell devices`; WGPU_ADAPTER_NAME does the same
    #[arg(long, value_name = "NAME|NUMBER", value_parser = adapter)]
    pub(crate) adapter: Option<String>,

    /// Use this graphics API only; WGPU_BACKEND does the same
    #[arg(long, value_name = "API")]
    pub(crate) backend: Option<BackendName>,
}

impl AdapterArgs {
    /// Opens the adapter, with the kernels that `shadetell tune` chose for it, if any.
    pub(crate) fn open(&self) -> Result<Gpu, GpuError> {
        AdapterArgs::open_choice(&self.choice())
    }

    /// The same, but a software adapter only if it was asked for.
    pub(crate) fn open_hardware(&self) -> Result<Gpu, GpuError> {
        AdapterArgs::open_choice(&AdapterChoice { hardware_only: true, ..self.choice() })
    }

    fn open_choice(choice: &AdapterChoice) -> Result<Gpu, GpuError> {
        let mut gpu = Gpu::open(choice)?;
        gpu.choices = tuned::load(&gpu.info);
        Ok(gpu)
    }

    /// Opens the adapter with all limits that it has, for shaders of users.
    pub(crate) fn open_for_user_shaders(&self) -> Result<Gpu, GpuError> {
        let mut gpu = Gpu::open_with(&self.choice(), wgpu::Limits::clone)?;
        gpu.choices = tuned::load(&gpu.info);
        Ok(gpu)
    }

    /// The same choice as a type of the library.
    pub(crate) fn choice(&self) -> AdapterChoice {
        let backends = self.backend.map(wgpu::Backends::from);
        AdapterChoice { adapter: self.adapter.clone(), backends, ..AdapterChoice::default() }
    }
}

/// Photos in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Batches {
    /// As many as suit their number.
    Auto,
    /// So many.
    Of(usize),
}

/// Most photos of a batch that is chosen.
const AUTO_BATCH: usize = 8;

impl Batches {
    /// The size of a batch for this many photos: batches of about the same size.
    pub(crate) fn size(self, photos: usize) -> usize {
        match self {
            Batches::Auto => photos.div_ceil(photos.div_ceil(AUTO_BATCH).max(1)).max(1),
            Batches::Of(size) => size,
        }
    }
}

/// Parses `auto` or a number.
pub(crate) fn batch(most: usize) -> impl Fn(&str) -> Result<Batches, String> + Clone + Send + Sync + 'static {
    let number = number(1..=most, "auto or a whole number");
    move |text| if text == "auto" { Ok(Batches::Auto) } else { number(text).map(Batches::Of) }
}

/// Parses the path of a photo. An empty one is a photo that is missing, not the end of a batch.
pub(crate) fn photo_paths() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// Parses the name or number of an adapter.
fn adapter(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("expected part of an adapter's name, or its number in `shadetell devices`".to_owned()),
        name => Ok(name.to_owned()),
    }
}

/// Parses a number and checks its range; the error states the expected kind and range.
pub(crate) fn number<T>(
    range: RangeInclusive<T>,
    kind: &'static str,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| {
        let value = text.parse().ok().filter(|value| range.contains(value));
        value.ok_or_else(|| format!("expected {kind} from {} to {}", range.start(), range.end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_number_out_of_range_states_the_range() {
        let beam = number(1..=32usize, "a whole number");
        assert_eq!(beam("32"), Ok(32));
        for text in ["0", "65", "-1", "3.5", "", "many"] {
            assert_eq!(beam(text).unwrap_err(), "expected a whole number from 1 to 32", "{text}");
        }
        let penalty = number(0.0..=10.0f32, "a number");
        assert_eq!(penalty("0.7"), Ok(0.7));
        for text in ["NaN", "inf", "-0.1"] {
            assert!(penalty(text).is_err(), "{text}");
        }
    }

    #[test]
    fn batches_have_about_the_same_size() {
        let sizes = [0, 1, 2, 8, 9, 16, 17, 100].map(|photos| Batches::Auto.size(photos));
        assert_eq!(sizes, [1, 1, 2, 8, 5, 8, 6, 8]);
        assert_eq!(Batches::Of(3).size(100), 3);
        assert_eq!(batch(64)("auto"), Ok(Batches::Auto));
        assert_eq!(batch(64)("0").unwrap_err(), "expected auto or a whole number from 1 to 64");
    }
}
