//! Reference kernels and GPU kernels against PyTorch: single operations with values from `tools/golden/make.py`.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::{Case, Tolerance, compare, shared, targets};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use shadetell::engine::graph::{Data, Shape, TensorId};
use shadetell::engine::ops::{
    Activation, AdaptiveAvgPool2d, AttentionContext, AttentionWeights, AvgPool2d, BatchNorm, Conv2d,
    ConvTranspose2d, Embedding, GruCell, Interpolation, LayerNorm, Linear, LstmCell, Matmul, MaxPool2d, Op,
    Padding, Pool2d, Resize2d, Softmax, TopK,
};

/// One operation with its parameters and tensors.
struct Golden<'a> {
    parameters: &'a Value,
    tensors: &'a SafeTensors<'a>,
}

impl Golden<'_> {
    fn name(&self) -> &str {
        self.parameters["name"].as_str().expect("a case has a name")
    }

    fn number(&self, parameter: &str) -> usize {
        let number = self.parameters[parameter].as_u64();
        number.unwrap_or_else(|| panic!("{}: no number {parameter}", self.name())) as usize
    }

    fn numbers<const N: usize>(&self, parameter: &str) -> [usize; N] {
        std::array::from_fn(|i| {
            let number = self.parameters[parameter][i].as_u64();
            number.unwrap_or_else(|| panic!("{}: no {N} numbers {parameter}", self.name())) as usize
        })
    }

    /// A tensor as stored in the file.
    fn raw(&self, tensor: &str) -> Option<(Vec<usize>, Data)> {
        let view = self.tensors.tensor(&format!("{}.{tensor}", self.name())).ok()?;
        let words = view.data().chunks_exact(4).map(|word| word.try_into().unwrap());
        let data = match view.dtype() {
            Dtype::F32 => Data::F32(words.map(f32::from_le_bytes).collect()),
            Dtype::I32 => Data::U32(words.map(u32::from_le_bytes).collect()),
            other => panic!("{}.{tensor} is {other:?}", self.name()),
        };
        Some((view.shape().to_vec(), data))
    }

    /// An activation: images with their channels last.
    fn activation(&self, tensor: &str) -> (Shape, Data) {
        let (shape, data) = self.raw(tensor).unwrap_or_else(|| panic!("no {}.{tensor}", self.name()));
        match shape[..] {
            [n, c, h, w] => {
                let plane = h * w;
                let at = |i: usize| (i / (plane * c) * c + i % c) * plane + i / c % plane;
                let values = data.f32();
                ([n, h, w, c].into(), Data::F32((0..values.len()).map(|i| values[at(i)]).collect()))
            }
            _ => (shape.into(), data),
        }
    }

    fn input(&self, case: &mut Case, tensor: &str) -> TensorId {
        match self.activation(tensor) {
            (shape, Data::F32(values)) => case.input(shape, values),
            (shape, ids) => case.ids(shape, ids.u32().to_vec()),
        }
    }

    fn floats(&self, tensor: &str) -> (Vec<usize>, Vec<f32>) {
        let (shape, data) = self.raw(tensor).unwrap_or_else(|| panic!("no {}.{tensor}", self.name()));
        (shape, data.f32().to_vec())
    }

    fn weight(&self, case: &mut Case, tensor: &str) -> TensorId {
        let (shape, values) = self.floats(tensor);
        case.weight(shape, values)
    }

    /// Two weights of equal width, one below the other.
    fn stacked(&self, case: &mut Case, tensors: [&str; 2]) -> TensorId {
        let [(mut shape, mut values), (below, more)] = tensors.map(|t| self.floats(t));
        shape[0] += below[0];
        values.extend(more);
        case.weight(shape, values)
    }

    /// The operation as a graph, with the names of its results in the file.
    fn case(&self) -> (Case, Vec<&'static str>, Tolerance) {
        let mut case = Case::new(0);
        let x = self.input(&mut case, "input");
        let (outputs, tolerance) = match self.parameters["op"].as_str() {
            Some("conv2d") => {
                let [top, left, bottom, right] = self.numbers("pads");
                let conv = Conv2d {
                    stride: [self.number("stride"); 2],
                    dilation: [self.number("dilation"); 2],
                    padding: Padding { top, bottom, left, right },
                    groups: self.number("groups"),
                    activation: Activation::Identity,
                };
                let weight = self.weight(&mut case, "weight");
                let outputs = case.graph.shape(weight)[0];
                let bias = self.raw("bias").map_or(vec![0.0; outputs], |(_, bias)| bias.f32().to_vec());
                let bias = case.weight([outputs], bias);
                case.last(conv, vec![x, weight, bias]);
                (vec!["output"], Tolerance::Approximate)
            }
            Some("batch_norm") => (self.batch_norm(&mut case, x), Tolerance::Close),
            Some("lstm_cell") => (self.lstm_cell(&mut case, x), Tolerance::Approximate),
            Some("attention") => (self.attention(&mut case, x), Tolerance::Approximate),
            Some("linear") => {
                let operands = vec![x, self.weight(&mut case, "weight"), self.weight(&mut case, "bias")];
                case.last(Linear::default(), operands);
                (vec!["output"], Tolerance::Approximate)
            }
            Some("layer_norm") => {
                let epsilon = self.parameters["eps"].as_f64().expect("eps") as f32;
                let operands = vec![x, self.weight(&mut case, "weight"), self.weight(&mut case, "bias")];
                case.last(LayerNorm { epsilon }, operands);
                (vec!["output"], Tolerance::Approximate)
            }
            Some("gru_cell") => {
                let weights = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"];
                let mut operands = vec![x, self.input(&mut case, "h")];
                operands.extend(weights.map(|tensor| self.weight(&mut case, tensor)));
                case.last(GruCell, operands);
                (vec!["output"], Tolerance::Approximate)
            }
            Some("conv_transpose2d") => {
                let [stride, padding, output_padding] =
                    ["stride", "padding", "output_padding"].map(|parameter| [self.number(parameter); 2]);
                let operands = vec![x, self.weight(&mut case, "weight"), self.weight(&mut case, "bias")];
                case.last(ConvTranspose2d { stride, padding, output_padding }, operands);
                (vec!["output"], Tolerance::Approximate)
            }
            Some("matmul") => {
                let other = self.input(&mut case, "other");
                case.last(Matmul::default(), vec![x, other]);
                (vec!["output"], Tolerance::Approximate)
            }
            Some("embedding") => {
                let table = self.weight(&mut case, "weight");
                case.last(Embedding, vec![x, table]);
                (vec!["output"], Tolerance::Exact)
            }
            Some("topk") => {
                case.last(
                    TopK { k: self.number("k"), suppressed: [TopK::NONE; 4], log_probs: false },
                    vec![x],
                );
                (vec!["output_values", "output_indices"], Tolerance::Exact)
            }
            Some(op) => {
                let (op, tolerance) = self.unary(op);
                case.last(op, vec![x]);
                (vec!["output"], tolerance)
            }
            None => panic!("{} names no operation", self.name()),
        };
        (case, outputs, tolerance)
    }

    /// An operation whose only operand is `x`.
    fn unary(&self, op: &str) -> (Op, Tolerance) {
        let pool = || Pool2d {
            kernel: self.numbers("kernel"),
            stride: [self.number("stride"); 2],
            padding: [self.number("padding"); 2],
            count_include_pad: self.parameters["count_include_pad"].as_bool().unwrap_or_default(),
        };
        match op {
            "relu" => (Activation::Relu.into(), Tolerance::Exact),
            "relu6" => (Activation::Relu6.into(), Tolerance::Exact),
            "sigmoid" => (Activation::Sigmoid.into(), Tolerance::Close),
            "tanh" => (Activation::Tanh.into(), Tolerance::Close),
            "gelu" => (Activation::Gelu.into(), Tolerance::Close),
            "silu" => (Activation::Silu.into(), Tolerance::Close),
            "hard_sigmoid" => (Activation::HardSigmoid.into(), Tolerance::Close),
            "log" => (Activation::Log.into(), Tolerance::Close),
            "hard_swish" => (Activation::HardSwish.into(), Tolerance::Close),
            "resize2d" => {
                let align_corners = self.parameters["align_corners"].as_bool();
                let interpolation = align_corners.map_or(Interpolation::Nearest, |align_corners| {
                    Interpolation::Bilinear { align_corners }
                });
                (Resize2d { size: self.numbers("size"), interpolation }.into(), Tolerance::Close)
            }
            "max_pool2d" => (MaxPool2d(pool()).into(), Tolerance::Exact),
            "avg_pool2d" => (AvgPool2d(pool()).into(), Tolerance::Close),
            "adaptive_avg_pool2d" => {
                (AdaptiveAvgPool2d { output: self.numbers("output") }.into(), Tolerance::Close)
            }
            "softmax" => (Softmax { log: false }.into(), Tolerance::Close),
            "log_softmax" => (Softmax { log: true }.into(), Tolerance::Close),
            other => panic!("{}: no test for {other}", self.name()),
        }
    }

    /// Running statistics become a scale and a shift.
    fn batch_norm(&self, case: &mut Case, x: TensorId) -> Vec<&'static str> {
        let [mean, variance, weight, bias] =
            ["running_mean", "running_var", "weight", "bias"].map(|t| self.floats(t).1);
        let eps = self.parameters["eps"].as_f64().expect("eps") as f32;
        let scale: Vec<f32> = weight.iter().zip(&variance).map(|(w, v)| w / (v + eps).sqrt()).collect();
        let shift = bias.iter().zip(mean.iter().zip(&scale)).map(|(b, (m, s))| b - m * s).collect();
        let channels = scale.len();
        let operands = vec![x, case.weight([channels], scale), case.weight([channels], shift)];
        case.last(BatchNorm, operands);
        vec!["output"]
    }

    /// The weights of input and state side by side, and the sum of both biases.
    fn lstm_cell(&self, case: &mut Case, x: TensorId) -> Vec<&'static str> {
        let [(ih_shape, ih), (hh_shape, hh)] = ["weight_ih", "weight_hh"].map(|t| self.floats(t));
        let rows = ih.chunks(ih_shape[1]).zip(hh.chunks(hh_shape[1]));
        let weight = rows.flat_map(|(a, b)| [a, b].concat()).collect();
        let [a, b] = ["bias_ih", "bias_hh"].map(|t| self.floats(t).1);
        let bias = a.iter().zip(&b).map(|(a, b)| a + b).collect();
        let operands = vec![
            self.input(case, "h"),
            self.input(case, "c"),
            case.weight([ih_shape[0], ih_shape[1] + hh_shape[1]], weight),
            case.weight([ih_shape[0]], bias),
            x,
        ];
        case.last(LstmCell, operands);
        vec!["output_h", "output_c"]
    }

    /// Keys from one linear layer, query and gate from another one.
    fn attention(&self, case: &mut Case, grid: TensorId) -> Vec<&'static str> {
        let operands =
            vec![grid, self.weight(case, "encoder_att_weight"), self.weight(case, "encoder_att_bias")];
        let keys = case.node(Linear::default(), operands)[0];
        let operands = vec![
            self.input(case, "h"),
            self.stacked(case, ["decoder_att_weight", "f_beta_weight"]),
            self.stacked(case, ["decoder_att_bias", "f_beta_bias"]),
        ];
        let query = case.node(Linear::default(), operands)[0];
        let operands =
            vec![keys, query, self.weight(case, "full_att_weight"), self.weight(case, "full_att_bias")];
        let alpha = case.node(AttentionWeights, operands)[0];
        case.graph.output(alpha).unwrap();
        case.last(AttentionContext, vec![grid, alpha, query]);
        vec!["output_alpha", "output_gated"]
    }
}

/// Runs every case through `execute` and compares with PyTorch.
fn check(execute: impl Fn(&Case) -> Vec<Data>) {
    let bytes = include_bytes!("golden/ops.safetensors");
    let tensors = SafeTensors::deserialize(bytes).unwrap();
    let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
    let cases = header.metadata().as_ref().and_then(|m| m.get("cases")).expect("the file lists its cases");
    let cases: Vec<Value> = serde_json::from_str(cases).unwrap();
    let mut complaints = Vec::new();
    for parameters in &cases {
        let golden = Golden { parameters, tensors: &tensors };
        let (case, outputs, tolerance) = golden.case();
        let found = execute(&case);
        assert_eq!(found.len(), outputs.len());
        for (found, output) in found.iter().zip(outputs) {
            let (shape, expected) = golden.activation(output);
            if let Err(complaint) = compare(found, &expected, &shape, tolerance) {
                complaints.push(format!("{}.{output}:\n{complaint}", golden.name()));
            }
        }
    }
    assert!(cases.len() >= 48, "only {} cases", cases.len());
    assert!(complaints.is_empty(), "results differ from PyTorch's\n{}", complaints.join("\n"));
}

#[test]
fn references_agree_with_pytorch() {
    check(Case::expected);
}

#[test]
fn kernels_agree_with_pytorch() {
    for target in targets() {
        check(|case| shared().run(&case.graph, &target, &case.inputs));
    }
}
