//! Features of photos without sentences: embeddings, grids of features, and the classes of a classifier.

use crate::caption::Backend;
use crate::engine::cpu;
use crate::engine::gpu::Executor;
use crate::engine::graph::Data;
use crate::error::Error;
use crate::image::Rgb8;
use crate::models::{FeatureSizes, build_encoder};
use crate::weights::{Model, Preprocessing};
use std::num::NonZeroUsize;

/// The names of the 1,000 classes of ImageNet (Russakovsky et al., arXiv 1409.0575), in their order.
const IMAGENET: &str = include_str!("imagenet.txt");

/// Options of an [`ImageEncoder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderOptions {
    /// Photos at a time, 1 to 64. Results do not depend on it.
    pub batch: usize,
    /// Whether the grid of features is read back too.
    pub grid: bool,
    /// Most threads that work on the CPU; as many as there are processors if not given. Results do not depend on it.
    pub threads: Option<NonZeroUsize>,
}

impl Default for EncoderOptions {
    fn default() -> Self {
        EncoderOptions { batch: 1, grid: false, threads: None }
    }
}

/// What an encoder makes of a photo.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// The mean of the grid, `[C]`: the embedding of the photo.
    pub embedding: Vec<f32>,
    /// The grid `[H, W, C]`, if it was asked for.
    pub grid: Option<Vec<f32>>,
    /// The probabilities of the classes `[K]`, if the model has a classifier.
    pub probabilities: Option<Vec<f32>>,
}

/// A class of a classifier.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// Its number.
    pub index: usize,
    /// Its name, or its number for a classifier whose names are unknown.
    pub name: String,
    /// Its probability.
    pub probability: f32,
}

/// A model's encoder that is prepared on one device.
#[derive(Debug)]
pub struct ImageEncoder {
    engine: Engine,
    preprocessing: Preprocessing,
    options: EncoderOptions,
    sizes: FeatureSizes,
    names: Vec<String>,
}

#[derive(Debug)]
enum Engine {
    Gpu(Box<Executor>),
    Cpu(Box<cpu::Executor>),
}

impl ImageEncoder {
    /// The largest batch.
    pub const MAX_BATCH: usize = 64;

    /// Builds the graph of a model's encoder and prepares it on a device.
    ///
    /// # Errors
    /// The model lacks a tensor of its encoder, or the device's limits are too low.
    pub fn new(model: &Model, backend: Backend<'_>, options: &EncoderOptions) -> Result<ImageEncoder, Error> {
        let manifest = model.manifest();
        let options = EncoderOptions { batch: options.batch.clamp(1, ImageEncoder::MAX_BATCH), ..*options };
        let (graph, sizes) = build_encoder(model, &manifest.preprocess, options.batch, options.grid)?;
        let engine = match backend {
            Backend::Cpu => Engine::Cpu(Box::new(cpu::Executor::new(&graph, options.threads))),
            Backend::Gpu(gpu) => Engine::Gpu(Box::new(Executor::new(gpu, gpu.plan(&graph)?)?)),
        };
        let mut names = manifest.encoder.classes.clone();
        if names.is_empty() && sizes.classes == IMAGENET.lines().count() {
            names = IMAGENET.lines().map(str::to_owned).collect();
        }
        Ok(ImageEncoder { engine, preprocessing: manifest.preprocess, options, sizes, names })
    }

    /// Whether the model has a classifier.
    pub fn has_classifier(&self) -> bool {
        self.sizes.classes > 0
    }

    /// Rows, columns and channels of the grid.
    pub fn grid_shape(&self) -> [usize; 3] {
        self.sizes.grid
    }

    /// How photos become the encoder's input.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// Encodes photos in their order.
    ///
    /// # Errors
    /// A photo does not fit into memory; the device was lost.
    pub fn encode(&self, photos: &[&Rgb8]) -> Result<Vec<Features>, Error> {
        let fitted: Vec<Rgb8> =
            photos.iter().map(|photo| self.preprocessing.fit(photo)).collect::<Result<_, _>>()?;
        self.encode_preprocessed(&fitted.iter().collect::<Vec<_>>())
    }

    /// Encodes photos that [`Preprocessing::fit`] has brought to the input's size.
    ///
    /// # Errors
    /// A photo has another size than the input; the device was lost.
    pub fn encode_preprocessed(&self, inputs: &[&Rgb8]) -> Result<Vec<Features>, Error> {
        let mut features = Vec::with_capacity(inputs.len());
        for group in inputs.chunks(self.options.batch) {
            let mut pixels = self.preprocessing.pixels(group)?;
            pixels.resize(self.options.batch * self.preprocessing.bytes(), 0);
            let inputs = [Data::U8(pixels)];
            let outputs = match &self.engine {
                Engine::Gpu(executor) => executor.run(&inputs)?.outputs,
                Engine::Cpu(executor) => executor.run(&inputs)?.outputs,
            };
            features.extend((0..group.len()).map(|image| self.of_image(&outputs, image)));
        }
        Ok(features)
    }

    fn of_image(&self, outputs: &[Data], image: usize) -> Features {
        let [rows, columns, channels] = self.sizes.grid;
        let mut outputs = outputs.iter();
        let mut next = |size: usize| {
            let values = outputs.next().map(Data::f32).unwrap_or_default();
            values.get(image * size..(image + 1) * size).unwrap_or_default().to_vec()
        };
        let embedding = next(channels);
        let probabilities = self.has_classifier().then(|| next(self.sizes.classes));
        let grid = self.options.grid.then(|| next(rows * columns * channels));
        Features { embedding, grid, probabilities }
    }

    /// The most probable classes of a photo, the most probable first; none without a classifier.
    pub fn classes(&self, features: &Features, most: usize) -> Vec<Class> {
        let probabilities = features.probabilities.as_deref().unwrap_or_default();
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]).then(a.cmp(&b)));
        let class = |index: usize| Class {
            index,
            name: self.names.get(index).cloned().unwrap_or_else(|| index.to_string()),
            probability: probabilities[index],
        };
        order.into_iter().take(most).map(class).collect()
    }
}
