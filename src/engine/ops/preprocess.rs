//! Bytes of a photo to normalised floats.

use crate::engine::cpu;
use crate::engine::graph::{DType, Data, Graph, GraphError, Tensor, TensorId};
use crate::engine::ops::{Infer, Operand, Operands, Operation, exactly};
use crate::engine::plan::{Dispatch, Lowering, Shader, params};
use crate::engine::reference;

/// `(v / 255 - mean) / std` for each of three channels.
///
/// Takes `[N, H, W, 3]` or `[N, H, W, 4]` bytes (a fourth channel is ignored), gives `[N, H, W, 3]` floats, or with
/// `padded` `[N, H, W, 4]`, whose fourth channel is zero: some kernels read four channels at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preprocess {
    /// Mean of each channel, for values from 0 to 1.
    pub mean: [f32; 3],
    /// Standard deviation of each channel.
    pub std: [f32; 3],
    /// Whether there is a fourth channel, of zeros.
    pub padded: bool,
}

impl Preprocess {
    fn results(&self) -> usize {
        if self.padded { 4 } else { 3 }
    }
}

params! {
    pixels: usize, channels: usize, results: usize,
    scale_r: f32, scale_g: f32, scale_b: f32,
    shift_r: f32, shift_g: f32, shift_b: f32,
}

pub(super) const SHADER: Shader = Shader {
    name: "preprocess",
    source: include_str!("../../../shaders/preprocess.wgsl"),
    params: Params::FIELDS,
    variants: &[&[]],
};

impl Operation for Preprocess {
    fn name(&self) -> &'static str {
        "preprocess"
    }

    fn operands(&self) -> Operands<'_> {
        Operands::exactly(const { &[Operand::u8("pixels")] })
    }

    fn infer(&self, inputs: &[&Tensor]) -> Infer {
        let [x] = exactly(inputs)?;
        match x.shape.sizes() {
            Some([n, h, w, 3 | 4]) => Ok(vec![([n, h, w, self.results()].into(), DType::F32)]),
            _ => Err(format!("expected [N, H, W, 3 or 4], found {}", x.shape)),
        }
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], _: &[&Tensor]) -> Vec<Data> {
        let (tensor, pixels) = inputs[0];
        let channels = [tensor.shape.last(), self.results()];
        vec![Data::F32(reference::preprocess::preprocess(pixels.u8(), channels, self.mean, self.std))]
    }

    fn on_cpu(&self, node: &mut cpu::Preparation<'_>) -> Option<Box<dyn cpu::Kernel>> {
        Some(cpu::preprocess(self, node))
    }

    fn lower(&self, node: &Lowering<'_>) -> Result<Vec<Dispatch>, String> {
        let x = node.inputs[0];
        let scale = self.std.map(|s| 1.0 / (255.0 * s));
        let shift = [0, 1, 2].map(|c| -self.mean[c] / self.std[c]);
        let params = Params {
            pixels: x.shape.rows(),
            channels: x.shape.last(),
            results: self.results(),
            scale_r: scale[0],
            scale_g: scale[1],
            scale_b: scale[2],
            shift_r: shift[0],
            shift_g: shift[1],
            shift_b: shift[2],
        };
        Ok(node.flat(&SHADER, vec![node.input(0), node.output(0)], params.words(), x.shape.rows()))
    }

    fn flops(&self, node: &Lowering<'_>) -> u64 {
        2 * node.outputs[0].shape.elements() as u64
    }
}

impl Graph {
    /// Appends a [`Preprocess`] node with three results.
    ///
    /// # Errors
    /// `pixels` is not `[N, H, W, 3 or 4]` bytes.
    pub fn preprocess(
        &mut self,
        name: &str,
        pixels: TensorId,
        mean: [f32; 3],
        std: [f32; 3],
    ) -> Result<TensorId, GraphError> {
        self.append(name, Preprocess { mean, std, padded: false }, vec![pixels])
    }
}
