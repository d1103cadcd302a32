//! The encoder alone: features of photos, and the classes that its classifier sees.

use super::{TensorScope, inverted_residuals, resnet, vgg};
use crate::engine::graph::{DType, Graph, TensorId};
use crate::engine::ops::Activation;
use crate::error::Error;
use crate::weights::{Architecture, Model, Preprocessing};

/// Rows and columns that a VGG pools its features to before its classifier.
const VGG_GRID: [usize; 2] = [7, 7];

/// The layers of a VGG's classifier.
const VGG_LAYERS: [&str; 3] = ["classifier.0", "classifier.3", "classifier.6"];

/// Sizes of the results of an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FeatureSizes {
    /// Rows, columns and channels of the grid.
    pub(crate) grid: [usize; 3],
    /// Classes of the classifier; 0 without one.
    pub(crate) classes: usize,
}

/// Builds the graph of a model's encoder. Its results are the mean of the grid `[N, C]`, the probabilities of the classes `[N, K]` if
/// the model has a classifier, and, if `has_grid`, the grid `[N, H, W, C]`.
pub(crate) fn build_encoder(
    model: &Model,
    preprocessing: &Preprocessing,
    images: usize,
    has_grid: bool,
) -> Result<(Graph, FeatureSizes), Error> {
    let manifest = &model.manifest().encoder;
    let tensors = TensorScope { model, prefix: &manifest.prefix };
    let architecture = manifest.family.architecture();
    let mut graph = Graph::new();
    let g = &mut graph;
    g.phase("encode");
    let grid = encode(g, &tensors, architecture, preprocessing, images)?;
    let [_, rows, columns, channels] = g.shape(grid).sizes().unwrap_or_default();
    let pooled = mean(g, grid)?;
    let pooled = g.reshape("pooled", pooled, [images, channels])?;
    g.output(pooled)?;
    let mut classes = 0;
    if let Some(logits) = classify(g, &tensors, architecture, grid, pooled)? {
        let probabilities = g.softmax("classifier.softmax", logits)?;
        classes = g.shape(probabilities).last();
        g.output(probabilities)?;
    }
    if has_grid {
        g.output(grid)?;
    }
    graph.fuse();
    Ok((graph, FeatureSizes { grid: [rows, columns, channels], classes }))
}

/// Bytes of photos to the encoder's features `[N, H, W, C]`.
pub(super) fn encode(
    g: &mut Graph,
    tensors: &TensorScope<'_>,
    architecture: Architecture,
    preprocessing: &Preprocessing,
    images: usize,
) -> Result<TensorId, Error> {
    let &Preprocessing { width, height, mean, std, .. } = preprocessing;
    let pixels = g.input("photo", [images, height as usize, width as usize, 3], DType::U8)?;
    let x = g.preprocess("preprocess", pixels, mean, std)?;
    match architecture {
        Architecture::Resnet(network) => resnet::build(g, tensors, x, network),
        Architecture::InvertedResiduals(network) => inverted_residuals::build(g, tensors, x, network),
        Architecture::Vgg(network) => vgg::build(g, tensors, x, network),
    }
}

/// The mean of a grid, `[N, 1, 1, C]`.
pub(super) fn mean(g: &mut Graph, grid: TensorId) -> Result<TensorId, Error> {
    Ok(g.adaptive_avg_pool2d("pooled", grid, [1, 1])?)
}

/// The logits `[N, K]` of the classifier, if the model has one.
fn classify(
    g: &mut Graph,
    tensors: &TensorScope<'_>,
    architecture: Architecture,
    grid: TensorId,
    pooled: TensorId,
) -> Result<Option<TensorId>, Error> {
    if let Some(name) = architecture.classifier() {
        if !tensors.has(&format!("{name}.weight")) {
            return Ok(None);
        }
        let [classes, _] = tensors.sizes(&format!("{name}.weight"))?;
        return tensors.linear(g, name, pooled, classes).map(Some);
    }
    if !tensors.has(&format!("{}.weight", VGG_LAYERS[0])) {
        return Ok(None);
    }
    // PyTorch flattens channels first.
    let grid = g.adaptive_avg_pool2d("classifier.grid", grid, VGG_GRID)?;
    let grid = g.transpose("classifier.grid", grid, &[0, 3, 1, 2])?;
    let [images, rest @ ..] = g.shape(grid).sizes::<4>().unwrap_or_default();
    let mut x = g.reshape("classifier.grid", grid, [images, rest.iter().product()])?;
    for (number, name) in VGG_LAYERS.iter().enumerate() {
        let [outputs, _] = tensors.sizes(&format!("{name}.weight"))?;
        x = tensors.linear(g, name, x, outputs)?;
        if number + 1 < VGG_LAYERS.len() {
            x = g.activation(&format!("{name}.relu"), x, Activation::Relu)?;
        }
    }
    Ok(Some(x))
}
