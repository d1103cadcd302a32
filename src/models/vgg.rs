//! VGG-16 and VGG-19 (Simonyan and Zisserman, arXiv 1409.1556), with or without batch norms; tensor names are torchvision's.

use super::TensorScope;
use super::resnet::EPSILON;
use crate::engine::graph::{Graph, TensorId};
use crate::engine::ops::{Activation, Conv2d, Padding, Pool2d};
use crate::error::Error;
use crate::weights::{Vgg, VggLayer};

/// Normalised pixels `[N, H, W, 3]` to a grid `[N, H / 32, W / 32, 512]`.
pub(super) fn build(
    graph: &mut Graph,
    tensors: &TensorScope<'_>,
    pixels: TensorId,
    network: Vgg,
) -> Result<TensorId, Error> {
    let mut x = pixels;
    for VggLayer { number, channels: [inputs, outputs], is_last } in network.layers() {
        let scope = format!("features.{number}");
        let name = format!("{}{scope}", tensors.prefix);
        let weight = tensors.constant(graph, &format!("{scope}.weight"), [outputs, inputs, 3, 3])?;
        let bias = tensors.constant(graph, &format!("{scope}.bias"), [outputs])?;
        let attributes = Conv2d { padding: Padding::uniform(1), ..Conv2d::default() };
        x = graph.conv2d(&name, x, weight, bias, attributes)?;
        if network.has_norms {
            let (scale, shift) = tensors.batch_norm(&format!("features.{}", number + 1), outputs, EPSILON)?;
            let scale = graph.constant(&name, [outputs], scale)?;
            let shift = graph.constant(&name, [outputs], shift)?;
            x = graph.batch_norm(&name, x, scale, shift)?;
        }
        x = graph.activation(&name, x, Activation::Relu)?;
        if is_last {
            let window = Pool2d { kernel: [2; 2], stride: [2; 2], padding: [0; 2], count_include_pad: false };
            x = graph.max_pool2d(&format!("{name}.pool"), x, window)?;
        }
    }
    Ok(x)
}
