//! ResNet-18 to ResNet-152 (He et al., arXiv 1512.03385), ResNeXt and Wide ResNet, with the stride in the 3x3 convolution of a
//! bottleneck, as torchvision has it; tensor names are torchvision's.

use super::TensorScope;
use crate::engine::graph::{Graph, TensorId};
use crate::engine::ops::{Activation, Conv2d, Padding, Pool2d};
use crate::error::Error;
use crate::weights::Resnet;

/// Added to a batch norm's variance: PyTorch's default.
pub(super) const EPSILON: f32 = 1e-5;

/// Normalised pixels `[N, H, W, 3]` to a grid `[N, H / 32, W / 32, C]`.
pub(super) fn build(
    graph: &mut Graph,
    tensors: &TensorScope<'_>,
    pixels: TensorId,
    Resnet { blocks, is_bottleneck, groups, .. }: Resnet,
) -> Result<TensorId, Error> {
    let mut x = convolution(graph, tensors, ["conv1", "bn1"], pixels, [7, 2, 1])?;
    x = relu(graph, tensors, "bn1", x)?;
    let window = Pool2d { kernel: [3; 2], stride: [2; 2], padding: [1; 2], count_include_pad: false };
    x = graph.max_pool2d(&format!("{}maxpool", tensors.prefix), x, window)?;
    // The 3x3 convolution has the stride: the second convolution of a bottleneck, the first one of a basic block.
    let (convolutions, strided) = if is_bottleneck { (3, 2) } else { (2, 1) };
    for (stage, count) in (1..).zip(blocks) {
        for block in 0..count {
            let stride = if stage > 1 && block == 0 { 2 } else { 1 };
            let scope = format!("layer{stage}.{block}");
            let [outputs, ..] = tensors.sizes::<4>(&format!("{scope}.conv{convolutions}.weight"))?;
            let shortcut = if stride > 1 || outputs != graph.shape(x).last() {
                let names = [format!("{scope}.downsample.0"), format!("{scope}.downsample.1")];
                convolution(graph, tensors, names.each_ref().map(String::as_str), x, [1, stride, 1])?
            } else {
                x
            };
            for number in 1..=convolutions {
                let names = [format!("{scope}.conv{number}"), format!("{scope}.bn{number}")];
                let names = names.each_ref().map(String::as_str);
                let side = if is_bottleneck && number != strided { 1 } else { 3 };
                let is_strided = number == strided;
                let groups = if is_bottleneck && is_strided { groups } else { 1 };
                x = convolution(
                    graph,
                    tensors,
                    names,
                    x,
                    [side, if is_strided { stride } else { 1 }, groups],
                )?;
                if number < convolutions {
                    x = relu(graph, tensors, names[1], x)?;
                }
            }
            let name = format!("{}{scope}.sum", tensors.prefix);
            x = graph.add(&name, x, shortcut)?;
            x = relu(graph, tensors, &scope, x)?;
        }
    }
    Ok(x)
}

fn relu(graph: &mut Graph, tensors: &TensorScope<'_>, name: &str, x: TensorId) -> Result<TensorId, Error> {
    Ok(graph.activation(&format!("{}{name}.relu", tensors.prefix), x, Activation::Relu)?)
}

/// A convolution without bias, and its batch norm. The window has `side` pixels a side, the weight gives the channels, and the
/// size of the result is that of the input divided by the stride.
fn convolution(
    graph: &mut Graph,
    tensors: &TensorScope<'_>,
    [conv, norm]: [&str; 2],
    x: TensorId,
    [side, stride, groups]: [usize; 3],
) -> Result<TensorId, Error> {
    let weight = format!("{conv}.weight");
    let [outputs, ..] = tensors.sizes::<4>(&weight)?;
    let inputs = graph.shape(x).last();
    let weight = tensors.constant(graph, &weight, [outputs, inputs / groups, side, side])?;
    let bias = graph.constant("zeros", [outputs], vec![0.0; outputs])?;
    let attributes =
        Conv2d { stride: [stride; 2], padding: Padding::uniform(side / 2), groups, ..Conv2d::default() };
    let y = graph.conv2d(&format!("{}{conv}", tensors.prefix), x, weight, bias, attributes)?;
    let (scale, shift) = tensors.batch_norm(norm, outputs, EPSILON)?;
    let name = format!("{}{norm}", tensors.prefix);
    let scale = graph.constant(&name, [outputs], scale)?;
    let shift = graph.constant(&name, [outputs], shift)?;
    Ok(graph.batch_norm(&name, y, scale, shift)?)
}
