//! MobileNetV2 (Sandler et al., arXiv 1801.04381) and EfficientNet-Lite0 to 4, EfficientNets (Tan and Le, arXiv 1905.11946) without
//! squeeze-and-excitation: inverted residual blocks with ReLU6.
//!
//! Tensor names are those of the EfficientNet weights that were ported from TensorFlow.

use super::TensorScope;
use crate::engine::graph::{Graph, TensorId};
use crate::engine::ops::{Activation, Conv2d, Padding};
use crate::error::Error;
use crate::weights::{InvertedResidual, InvertedResiduals};

/// The shape of one convolution, with its batch norm and activation.
struct Layer<'a> {
    conv: &'a str,
    norm: &'a str,
    outputs: usize,
    kernel: usize,
    stride: usize,
    depthwise: bool,
    activation: Activation,
}

/// Normalised pixels `[N, H, W, 3]` to a grid `[N, H / 32, W / 32, 1280]`.
pub(super) fn build(
    graph: &mut Graph,
    tensors: &TensorScope<'_>,
    pixels: TensorId,
    network: InvertedResiduals,
) -> Result<TensorId, Error> {
    let relu6 = Activation::Relu6;
    let dense = |conv, norm, outputs, kernel, stride, activation| Layer {
        conv,
        norm,
        outputs,
        kernel,
        stride,
        depthwise: false,
        activation,
    };
    let stem = dense("_conv_stem", "_bn0", InvertedResiduals::STEM, 3, 2, relu6);
    let mut x = layer(graph, tensors, network, "", pixels, stem)?;
    for (number, block) in network.blocks().into_iter().enumerate() {
        let InvertedResidual { inputs, expansion, kernel, stride, outputs, .. } = block;
        let name = format!("_blocks.{number}.");
        let mut y = x;
        if expansion > 1 {
            let expand = dense("_expand_conv", "_bn0", inputs * expansion, 1, 1, relu6);
            y = layer(graph, tensors, network, &name, y, expand)?;
        }
        let depthwise = Layer {
            depthwise: true,
            ..dense("_depthwise_conv", "_bn1", inputs * expansion, kernel, stride, relu6)
        };
        y = layer(graph, tensors, network, &name, y, depthwise)?;
        let project = dense("_project_conv", "_bn2", outputs, 1, 1, Activation::Identity);
        y = layer(graph, tensors, network, &name, y, project)?;
        x = if stride == 1 && inputs == outputs {
            graph.add(&format!("{}{name}skip", tensors.prefix), y, x)?
        } else {
            y
        };
    }
    layer(graph, tensors, network, "", x, dense("_conv_head", "_bn1", InvertedResiduals::HEAD, 1, 1, relu6))
}

/// Convolution, batch norm, activation.
fn layer(
    graph: &mut Graph,
    tensors: &TensorScope<'_>,
    network: InvertedResiduals,
    scope: &str,
    x: TensorId,
    layer: Layer<'_>,
) -> Result<TensorId, Error> {
    let Layer { conv, norm, outputs, kernel, stride, depthwise, activation } = layer;
    let [_, height, width, inputs] = graph.shape(x).sizes().unwrap_or_default();
    let groups = if depthwise { inputs } else { 1 };
    let shape = [outputs, inputs / groups, kernel, kernel];
    let weight = tensors.constant(graph, &format!("{scope}{conv}.weight"), shape)?;
    let bias = graph.constant("zeros", [outputs], vec![0.0; outputs])?;
    let padding = match network.has_same_padding {
        true => Padding::same([height, width], [kernel; 2], [stride; 2]),
        false => Padding::uniform(kernel / 2),
    };
    let attributes = Conv2d { stride: [stride; 2], padding, groups, ..Conv2d::default() };
    let y = graph.conv2d(&format!("{}{scope}{conv}", tensors.prefix), x, weight, bias, attributes)?;

    let (scale, shift) = tensors.batch_norm(&format!("{scope}{norm}"), outputs, network.epsilon)?;
    let name = format!("{}{scope}{norm}", tensors.prefix);
    let scale = graph.constant(&name, [outputs], scale)?;
    let shift = graph.constant(&name, [outputs], shift)?;
    let y = graph.batch_norm(&name, y, scale, shift)?;
    if activation == Activation::Identity { Ok(y) } else { Ok(graph.activation(&name, y, activation)?) }
}
