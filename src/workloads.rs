//! Operations at the sizes that real networks have, each as a graph of one operation with values for its inputs. The benches and
//! `shadetell bench kernels` measure them.

use crate::engine::graph::{DType, Data, Graph, GraphError, TensorId};
use crate::engine::ops::{
    Activation, AdaptiveAvgPool2d, AttentionContext, AttentionWeights, Binary, BinaryKind, Concat, Conv2d,
    ConvTranspose2d, Embedding, GruCell, Interpolation, LayerNorm, LstmWeights, Matmul, MaxPool2d, Op,
    Padding, Pool2d, Preprocess, Resize2d, Slice, Softmax, TokenMask, TopK, Transpose,
};
use crate::engine::random_value;

/// An operation with its sizes.
#[allow(missing_docs, reason = "each variant says what its sizes are")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// Convolution of `[1, side, side, inputs]` to `outputs` channels with a square window.
    Conv {
        side: usize,
        inputs: usize,
        outputs: usize,
        window: usize,
        stride: usize,
        depthwise: bool,
    },
    /// Linear layer from `[1, rows, inputs]` to `[1, rows, outputs]`.
    Linear {
        rows: usize,
        inputs: usize,
        outputs: usize,
    },
    /// LSTM cell on `[rows, units]`, with as many inputs as units.
    Lstm {
        rows: usize,
        units: usize,
    },
    /// Max pooling of `[1, side, side, channels]` with 3x3 windows and stride 2.
    MaxPool {
        side: usize,
        channels: usize,
    },
    /// Mean over the pixels of `[1, side, side, channels]`.
    Mean {
        side: usize,
        channels: usize,
    },
    /// Bytes `[1, side, side, 3]` to normalised floats.
    Preprocess {
        side: usize,
    },
    /// Log-softmax over the rows of `[rows, columns]`.
    LogSoftmax {
        rows: usize,
        columns: usize,
    },
    /// The `k` largest values of each row of `[rows, columns]`.
    TopK {
        rows: usize,
        columns: usize,
        k: usize,
    },
    TokenMask {
        rows: usize,
        words: usize,
    },
    /// `rows` rows of a table `[words, width]`.
    Embedding {
        rows: usize,
        words: usize,
        width: usize,
    },
    /// Attention weights of queries `[rows, width]` over keys `[1, places, width]`.
    Weights {
        rows: usize,
        places: usize,
        width: usize,
    },
    /// Gated context `[rows, width]` of attention weights `[rows, places]` over `[1, places, width]`.
    Context {
        rows: usize,
        places: usize,
        width: usize,
    },
    /// Transposed convolution of `[1, side, side, inputs]` to `outputs` channels with windows of 2x2 and stride 2.
    ConvTranspose {
        side: usize,
        inputs: usize,
        outputs: usize,
    },
    /// Bilinear resizing of `[1, side, side, channels]` to twice the side.
    Resize {
        side: usize,
        channels: usize,
    },
    /// Two tensors `[1, side, side, channels]`, one after the other along the channels.
    Concat {
        side: usize,
        channels: usize,
    },
    /// Channels `[1, side, side, channels]` first: `[1, channels, side, side]`.
    Transpose {
        side: usize,
        channels: usize,
    },
    /// The middle of `[1, side, side, channels]`, of half the side.
    Slice {
        side: usize,
        channels: usize,
    },
    /// A value for each channel times `[1, side, side, channels]`.
    Multiply {
        side: usize,
        channels: usize,
    },
    /// Gelu of `[rows, columns]`.
    Gelu {
        rows: usize,
        columns: usize,
    },
    /// Layer norm of the rows of `[rows, columns]`.
    LayerNorm {
        rows: usize,
        columns: usize,
    },
    /// `batch` products of `[rows, terms]` and `[terms, columns]`.
    Matmul {
        batch: usize,
        rows: usize,
        terms: usize,
        columns: usize,
    },
    /// GRU cell on `[rows, units]`, with as many inputs as units.
    Gru {
        rows: usize,
        units: usize,
    },
}

const fn conv(side: usize, inputs: usize, outputs: usize, window: usize, stride: usize) -> Case {
    Case::Conv { side, inputs, outputs, window, stride, depthwise: false }
}

const fn depthwise(side: usize, channels: usize, window: usize) -> Case {
    Case::Conv { side, inputs: channels, outputs: channels, window, stride: 1, depthwise: true }
}

/// The shapes that are measured, by name.
pub const CASES: [(&str, Case); 43] = [
    ("resnet152.preprocess", Case::Preprocess { side: 224 }),
    ("resnet152.stem", conv(224, 4, 64, 7, 2)),
    ("resnet152.pool", Case::MaxPool { side: 112, channels: 64 }),
    ("resnet152.layer1.reduce", conv(56, 256, 64, 1, 1)),
    ("resnet152.layer1.window", conv(56, 64, 64, 3, 1)),
    ("resnet152.layer1.expand", conv(56, 64, 256, 1, 1)),
    ("resnet152.layer2.reduce", conv(28, 512, 128, 1, 1)),
    ("resnet152.layer2.window", conv(28, 128, 128, 3, 1)),
    ("resnet152.layer2.expand", conv(28, 128, 512, 1, 1)),
    ("resnet152.layer3.stride", conv(28, 256, 256, 3, 2)),
    ("resnet152.layer3.reduce", conv(14, 1024, 256, 1, 1)),
    ("resnet152.layer3.window", conv(14, 256, 256, 3, 1)),
    ("resnet152.layer3.expand", conv(14, 256, 1024, 1, 1)),
    ("resnet152.layer4.reduce", conv(7, 2048, 512, 1, 1)),
    ("resnet152.layer4.window", conv(7, 512, 512, 3, 1)),
    ("resnet152.layer4.expand", conv(7, 512, 2048, 1, 1)),
    ("resnet152.mean", Case::Mean { side: 7, channels: 2048 }),
    ("efficientnet.depthwise3", depthwise(112, 32, 3)),
    ("efficientnet.depthwise5", depthwise(28, 240, 5)),
    ("efficientnet.expand", conv(28, 40, 240, 1, 1)),
    ("efficientnet.project", conv(14, 672, 112, 1, 1)),
    ("lstm.embedding", Case::Embedding { rows: 5, words: 9956, width: 256 }),
    ("lstm.cell", Case::Lstm { rows: 1, units: 512 }),
    ("lstm.cell.beam5", Case::Lstm { rows: 5, units: 512 }),
    ("lstm.words", Case::Linear { rows: 1, inputs: 512, outputs: 9956 }),
    ("lstm.words.beam5", Case::Linear { rows: 5, inputs: 512, outputs: 9956 }),
    ("lstm.log_softmax.beam5", Case::LogSoftmax { rows: 5, columns: 9956 }),
    ("lstm.best", Case::TopK { rows: 1, columns: 9956, k: 1 }),
    ("lstm.best.beam5", Case::TopK { rows: 5, columns: 9956, k: 5 }),
    ("search.rules.beam3", Case::TokenMask { rows: 3, words: 4355 }),
    ("attention.keys", Case::Linear { rows: 196, inputs: 2048, outputs: 512 }),
    ("attention.weights", Case::Weights { rows: 5, places: 196, width: 512 }),
    ("attention.context", Case::Context { rows: 5, places: 196, width: 2048 }),
    ("unet.up", Case::ConvTranspose { side: 32, inputs: 128, outputs: 64 }),
    ("unet.resize", Case::Resize { side: 32, channels: 128 }),
    ("unet.skip", Case::Concat { side: 64, channels: 64 }),
    ("unet.channels_first", Case::Transpose { side: 64, channels: 64 }),
    ("unet.crop", Case::Slice { side: 64, channels: 64 }),
    ("senet.scale", Case::Multiply { side: 56, channels: 256 }),
    ("transformer.gelu", Case::Gelu { rows: 197, columns: 3072 }),
    ("transformer.norm", Case::LayerNorm { rows: 197, columns: 768 }),
    ("transformer.scores", Case::Matmul { batch: 12, rows: 197, terms: 64, columns: 197 }),
    ("gru.cell", Case::Gru { rows: 1, units: 512 }),
];

/// The names of the operations that the shapes are of.
pub const OPS: [&str; 21] = [
    "conv2d",
    "linear",
    "lstm_cell",
    "max_pool2d",
    "adaptive_avg_pool2d",
    "preprocess",
    "softmax",
    "top_k",
    "embedding",
    "additive_attention",
    "conv_transpose2d",
    "resize2d",
    "concat",
    "transpose",
    "slice",
    "binary",
    "activation",
    "layer_norm",
    "matmul",
    "gru_cell",
    "token_mask",
];

/// A graph in the making, with values for its inputs.
#[derive(Default)]
struct Making {
    graph: Graph,
    inputs: Vec<Data>,
    seed: u64,
}

impl Making {
    fn values(&mut self, count: usize, scale: f32) -> Vec<f32> {
        self.seed += 1;
        (0..count).map(|i| scale * random_value(self.seed << 40, i)).collect()
    }

    fn input(&mut self, shape: &[usize]) -> Result<TensorId, GraphError> {
        let values = self.values(shape.iter().product(), 1.0);
        self.inputs.push(Data::F32(values));
        self.graph.input("x", shape.to_vec(), DType::F32)
    }

    /// Weights that keep the magnitude of values where each result is a sum of `terms` products.
    fn weight(&mut self, shape: &[usize], terms: usize) -> Result<TensorId, GraphError> {
        let values = self.values(shape.iter().product(), (terms as f32).sqrt().recip());
        self.graph.constant("weight", shape.to_vec(), values)
    }

    fn last(&mut self, name: &str, op: impl Into<Op>, operands: Vec<TensorId>) -> Result<(), GraphError> {
        for id in self.graph.add_node(name, op, operands)? {
            self.graph.output(id)?;
        }
        Ok(())
    }
}

impl Case {
    /// The operation's name.
    pub fn op(&self) -> &'static str {
        match self {
            Case::Conv { .. } => OPS[0],
            Case::Linear { .. } => OPS[1],
            Case::Lstm { .. } => OPS[2],
            Case::MaxPool { .. } => OPS[3],
            Case::Mean { .. } => OPS[4],
            Case::Preprocess { .. } => OPS[5],
            Case::LogSoftmax { .. } => OPS[6],
            Case::TopK { .. } => OPS[7],
            Case::Embedding { .. } => OPS[8],
            Case::Weights { .. } | Case::Context { .. } => OPS[9],
            Case::ConvTranspose { .. } => OPS[10],
            Case::Resize { .. } => OPS[11],
            Case::Concat { .. } => OPS[12],
            Case::Transpose { .. } => OPS[13],
            Case::Slice { .. } => OPS[14],
            Case::Multiply { .. } => OPS[15],
            Case::Gelu { .. } => OPS[16],
            Case::LayerNorm { .. } => OPS[17],
            Case::Matmul { .. } => OPS[18],
            Case::Gru { .. } => OPS[19],
            Case::TokenMask { .. } => OPS[20],
        }
    }

    /// A graph of this operation alone, with values for its inputs.
    ///
    /// # Errors
    /// The sizes do not fit together, or a size is 0.
    pub fn graph(&self) -> Result<(Graph, Vec<Data>), GraphError> {
        let mut making = Making::default();
        let name = self.op();
        match *self {
            Case::Conv { side, inputs, outputs, window, stride, depthwise } => {
                let groups = if depthwise { inputs } else { 1 };
                let shape = [outputs, inputs / groups, window, window];
                let x = making.input(&[1, side, side, inputs])?;
                let weight = making.weight(&shape, shape[1] * window * window)?;
                let bias = making.weight(&[outputs], 1)?;
                let padding = Padding::uniform(window / 2);
                let op = Conv2d { stride: [stride; 2], padding, groups, ..Conv2d::default() };
                making.last(name, op, vec![x, weight, bias])?;
            }
            Case::Linear { rows, inputs, outputs } => {
                let x = making.input(&[1, rows, inputs])?;
                let weight = making.weight(&[outputs, inputs], inputs)?;
                let bias = making.weight(&[outputs], 1)?;
                let y = making.graph.linear(name, x, weight, bias)?;
                making.graph.output(y)?;
            }
            Case::Lstm { rows, units } => {
                let [x, h, c] = [
                    making.input(&[rows, units])?,
                    making.input(&[rows, units])?,
                    making.input(&[rows, units])?,
                ];
                let weight = making.weight(&[4 * units, 2 * units], 2 * units)?;
                let bias = making.weight(&[4 * units], 1)?;
                let weights = LstmWeights { weight, bias };
                for y in making.graph.lstm_cell(name, &[x], [h, c], weights)? {
                    making.graph.output(y)?;
                }
            }
            Case::MaxPool { side, channels } => {
                let pool =
                    Pool2d { kernel: [3; 2], stride: [2; 2], padding: [1; 2], count_include_pad: true };
                let x = making.input(&[1, side, side, channels])?;
                making.last(name, MaxPool2d(pool), vec![x])?;
            }
            Case::Mean { side, channels } => {
                let x = making.input(&[1, side, side, channels])?;
                making.last(name, AdaptiveAvgPool2d { output: [1; 2] }, vec![x])?;
            }
            Case::Preprocess { side } => {
                making.inputs.push(Data::U8(pixels(3 * side * side)));
                let x = making.graph.input("pixels", vec![1, side, side, 3], DType::U8)?;
                let op = Preprocess { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], padded: true };
                making.last(name, op, vec![x])?;
            }
            Case::LogSoftmax { rows, columns } => {
                let x = making.input(&[rows, columns])?;
                making.last(name, Softmax { log: true }, vec![x])?;
            }
            Case::TopK { rows, columns, k } => {
                let x = making.input(&[rows, columns])?;
                making.last(name, TopK { k, suppressed: [TopK::NONE; 4], log_probs: false }, vec![x])?;
            }
            Case::TokenMask { rows, words } => {
                let width = words.div_ceil(32);
                let mut ids = |shape: Vec<usize>, value: &dyn Fn(usize) -> u32| {
                    making.inputs.push(Data::U32((0..shape.iter().product()).map(value).collect()));
                    making.graph.input("ids", shape, DType::U32)
                };
                let excluded = ids(vec![rows, width], &|_| 0)?;
                let parents = ids(vec![rows], &|_| 0)?;
                let tokens = ids(vec![rows], &|row| (row * words / rows) as u32)?;
                let sets = [ids(vec![width], &|_| u32::MAX)?, ids(vec![width], &|_| 1)?];
                let operands = vec![excluded, parents, tokens, sets[0], sets[1]];
                making.last(name, TokenMask { end: 2 }, operands)?;
            }
            Case::Embedding { rows, words, width } => {
                making.inputs.push(Data::U32((0..rows).map(|row| (row * words / rows) as u32).collect()));
                let ids = making.graph.input("ids", vec![rows], DType::U32)?;
                let table = making.weight(&[words, width], 1)?;
                making.last(name, Embedding, vec![ids, table])?;
            }
            Case::Weights { rows, places, width } => {
                let (keys, query) = (making.input(&[1, places, width])?, making.input(&[rows, width])?);
                let weight = making.weight(&[width], width)?;
                let bias = making.weight(&[1], 1)?;
                making.last(name, AttentionWeights, vec![keys, query, weight, bias])?;
            }
            Case::Context { rows, places, width } => {
                let (grid, alpha) = (making.input(&[1, places, width])?, making.input(&[rows, places])?);
                let gate = making.input(&[rows, width])?;
                making.last(name, AttentionContext, vec![grid, alpha, gate])?;
            }
            Case::ConvTranspose { side, inputs, outputs } => {
                let x = making.input(&[1, side, side, inputs])?;
                let weight = making.weight(&[inputs, outputs, 2, 2], inputs)?;
                let bias = making.weight(&[outputs], 1)?;
                let op = ConvTranspose2d { stride: [2; 2], ..ConvTranspose2d::default() };
                making.last(name, op, vec![x, weight, bias])?;
            }
            Case::Resize { side, channels } => {
                let x = making.input(&[1, side, side, channels])?;
                let interpolation = Interpolation::Bilinear { align_corners: false };
                making.last(name, Resize2d { size: [2 * side; 2], interpolation }, vec![x])?;
            }
            Case::Concat { side, channels } => {
                let tensors = [(); 2].map(|()| making.input(&[1, side, side, channels]));
                let tensors = tensors.into_iter().collect::<Result<_, _>>()?;
                making.last(name, Concat { axis: 3 }, tensors)?;
            }
            Case::Transpose { side, channels } => {
                let x = making.input(&[1, side, side, channels])?;
                making.last(name, Transpose { axes: vec![0, 3, 1, 2] }, vec![x])?;
            }
            Case::Slice { side, channels } => {
                let x = making.input(&[1, side, side, channels])?;
                let (start, end) = (side / 4, side - side / 4);
                let op = Slice {
                    starts: vec![0, start, start, 0],
                    ends: vec![1, end, end, channels],
                    steps: vec![1; 4],
                };
                making.last(name, op, vec![x])?;
            }
            Case::Multiply { side, channels } => {
                let x = making.input(&[1, side, side, channels])?;
                let scale = making.input(&[1, 1, 1, channels])?;
                making.last(name, Binary::from(BinaryKind::Mul), vec![x, scale])?;
            }
            Case::Gelu { rows, columns } => {
                let x = making.input(&[rows, columns])?;
                making.last(name, Activation::Gelu, vec![x])?;
            }
            Case::LayerNorm { rows, columns } => {
                let x = making.input(&[rows, columns])?;
                let [weight, bias] = [making.weight(&[columns], 1)?, making.weight(&[columns], 1)?];
                making.last(name, LayerNorm::default(), vec![x, weight, bias])?;
            }
            Case::Matmul { batch, rows, terms, columns } => {
                let a = making.input(&[batch, rows, terms])?;
                let b = making.input(&[batch, terms, columns])?;
                making.last(name, Matmul::default(), vec![a, b])?;
            }
            Case::Gru { rows, units } => {
                let (x, h) = (making.input(&[rows, units])?, making.input(&[rows, units])?);
                let [weight_ih, weight_hh] =
                    [making.weight(&[3 * units, units], units)?, making.weight(&[3 * units, units], units)?];
                let [bias_ih, bias_hh] = [making.weight(&[3 * units], 1)?, making.weight(&[3 * units], 1)?];
                making.last(name, GruCell, vec![x, h, weight_ih, weight_hh, bias_ih, bias_hh])?;
            }
        }
        Ok((making.graph, making.inputs))
    }

    /// Reads sizes separated by commas: of `conv2d` side, inputs, outputs, window and stride; of `linear` rows, inputs and
    /// outputs; of `lstm_cell` rows and units.
    pub fn parse(op: &str, sizes: &str) -> Option<Case> {
        let sizes: Vec<usize> =
            sizes.split(',').map(|size| size.trim().parse().ok()).collect::<Option<_>>()?;
        if sizes.iter().any(|size| !(1..=1 << 16).contains(size)) {
            return None;
        }
        match (op, sizes.as_slice()) {
            ("conv2d", &[side, inputs, outputs, window, stride]) => {
                Some(conv(side, inputs, outputs, window, stride))
            }
            ("linear", &[rows, inputs, outputs]) => Some(Case::Linear { rows, inputs, outputs }),
            ("lstm_cell", &[rows, units]) => Some(Case::Lstm { rows, units }),
            _ => None,
        }
    }
}

/// Bytes that differ from each other as those of a photo do.
pub fn pixels(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_a_graph_of_its_operation() {
        for (name, case) in CASES.iter().filter(|(name, _)| !name.starts_with("lstm.words")) {
            let (graph, inputs) = case.graph().unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(graph.nodes().len(), 1, "{name}");
            assert_eq!(graph.check_inputs(&inputs), Ok(()), "{name}");
        }
        for op in OPS {
            assert!(CASES.iter().any(|(_, case)| case.op() == op), "{op}");
        }
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(Case::parse("conv2d", "14,256, 64,3,2"), Some(conv(14, 256, 64, 3, 2)));
        assert_eq!(Case::parse("lstm_cell", "2,8"), Some(Case::Lstm { rows: 2, units: 8 }));
        for (op, sizes) in
            [("conv2d", "14,256"), ("linear", "0,1,1"), ("softmax", "1,1"), ("linear", "a,1,1")]
        {
            assert_eq!(Case::parse(op, sizes), None, "{op} {sizes}");
        }
    }
}
