//! The zoo: a graph with every operation, whose plans use every variant of every shader.

use shadetell::engine::graph::{DType, Graph, GraphError, Shape, TensorId};
use shadetell::engine::ops::{
    Activation, AdaptiveAvgPool2d, AttentionContext, AttentionWeights, AvgPool2d, BatchNorm, BeamStep,
    Binary, BinaryKind, Concat, Conv2d, ConvTranspose2d, Embedding, GatherRows, GruCell, Interpolation,
    LayerNorm, Linear, LstmCell, Matmul, MaxPool2d, Op, Padding, Pool2d, Preprocess, Resize2d, Slice,
    Softmax, TokenMask, TopK, Transpose,
};
use shadetell::engine::plan::{AdapterClass, Plan, Target};

/// The plans of the zoo for every family of kernels.
pub(crate) fn plans() -> Vec<Plan> {
    let [software, hardware] = [AdapterClass::Software, AdapterClass::Hardware].map(Target::baseline);
    let mut plans = Vec::new();
    // 16 bits hold only the first of these values exactly.
    for value in [0.5, 0.1] {
        let graph = graph(value).expect("the operands fit");
        let vectors = Target { subgroup: 8, has_subgroups: true, int64: true, ..software };
        let more =
            [vectors, Target { many_registers: true, ..vectors }, Target { has_subgroups: true, ..hardware }];
        for target in [software, hardware].into_iter().chain(more) {
            plans.push(Plan::new(&graph, &target).expect("every operation has a kernel"));
        }
    }
    plans
}

struct Zoo {
    graph: Graph,
    /// The value of every weight.
    value: f32,
}

impl Zoo {
    fn input(&mut self, shape: impl Into<Shape>) -> TensorId {
        self.graph.input("x", shape, DType::F32).unwrap()
    }

    fn ids(&mut self, shape: impl Into<Shape>) -> TensorId {
        self.graph.input("ids", shape, DType::U32).unwrap()
    }

    fn weight(&mut self, shape: impl Into<Shape>) -> Result<TensorId, GraphError> {
        let shape = shape.into();
        let values = vec![self.value; shape.elements()];
        self.graph.constant("w", shape, values)
    }

    fn node(&mut self, op: impl Into<Op>, inputs: Vec<TensorId>) -> Result<(), GraphError> {
        self.graph.add_node("node", op, inputs).map(|_| ())
    }

    /// Rows and columns, channels, outputs, kernel and groups select the kernel of a convolution.
    fn conv2d(
        &mut self,
        side: usize,
        channels: usize,
        outputs: usize,
        kernel: usize,
        groups: usize,
    ) -> Result<(), GraphError> {
        let x = self.input([1, side, side, channels]);
        let operands =
            vec![x, self.weight([outputs, channels / groups, kernel, kernel])?, self.weight([outputs])?];
        let op = Conv2d { groups, padding: Padding::uniform(kernel / 2), ..Conv2d::default() };
        self.node(op, operands)
    }

    fn linear(&mut self, rows: usize, outputs: usize) -> Result<(), GraphError> {
        let operands = vec![self.input([1, rows, 8]), self.weight([outputs, 8])?, self.weight([outputs])?];
        self.node(Linear::default(), operands)
    }

    fn lstm_cell(&mut self, rows: usize, hidden: usize) -> Result<(), GraphError> {
        let mut operands = vec![self.input([rows, hidden]), self.input([rows, hidden])];
        let weight = self.weight([4 * hidden, hidden + 8])?;
        operands.extend([weight, self.weight([4 * hidden])?, self.input([rows, 8])]);
        self.node(LstmCell, operands)
    }

    fn gru_cell(&mut self, rows: usize, hidden: usize) -> Result<(), GraphError> {
        let mut operands = vec![self.input([rows, 8]), self.input([rows, hidden])];
        operands.extend([self.weight([3 * hidden, 8])?, self.weight([3 * hidden, hidden])?]);
        operands.extend([self.weight([3 * hidden])?, self.weight([3 * hidden])?]);
        self.node(GruCell, operands)
    }
}

fn graph(value: f32) -> Result<Graph, GraphError> {
    let mut zoo = Zoo { graph: Graph::new(), value };
    let pixels = zoo.graph.input("pixels", [1, 5, 5, 3], DType::U8).unwrap();
    zoo.node(Preprocess { mean: [0.5; 3], std: [0.25; 3], padded: false }, vec![pixels])?;
    let convolutions = [
        (5, 4, 8, 1, 1),
        (5, 4, 8, 3, 1),
        (5, 3, 8, 3, 1),
        (5, 8, 8, 3, 8),
        (5, 6, 6, 3, 2),
        (7, 16, 8, 3, 1),
        (14, 16, 8, 3, 1),
        // Tiles of two sizes, and inputs that are split.
        (96, 4, 64, 1, 1),
        (2, 256, 4, 1, 1),
        (32, 4, 64, 3, 1),
    ];
    for (side, channels, outputs, kernel, groups) in convolutions {
        zoo.conv2d(side, channels, outputs, kernel, groups)?;
    }
    let image = zoo.input([1, 5, 5, 3]);
    let channels = vec![image, zoo.weight([3])?, zoo.weight([3])?];
    zoo.node(BatchNorm, channels)?;
    for channels in [3, 4] {
        let x = zoo.input([1, 5, 5, channels]);
        zoo.node(Activation::Tanh, vec![x])?;
        zoo.node(Binary::from(BinaryKind::Add), vec![x, x])?;
        zoo.node(Transpose { axes: vec![0, 2, 1, 3] }, vec![x])?;
        let [starts, ends, steps] = [vec![0, 1, 0, 0], vec![1, 3, 5, channels], vec![1; 4]];
        zoo.node(Slice { starts, ends, steps }, vec![x])?;
        zoo.node(Concat { axis: 3 }, vec![x, x])?;
    }
    let pool = Pool2d { kernel: [3; 2], stride: [2; 2], padding: [1; 2], count_include_pad: true };
    zoo.node(MaxPool2d(pool), vec![image])?;
    zoo.node(AvgPool2d(pool), vec![image])?;
    zoo.node(AdaptiveAvgPool2d { output: [2; 2] }, vec![image])?;
    for interpolation in [Interpolation::Nearest, Interpolation::Bilinear { align_corners: false }] {
        zoo.node(Resize2d { size: [10; 2], interpolation }, vec![image])?;
    }
    let window = vec![image, zoo.weight([3, 6, 2, 2])?, zoo.weight([6])?];
    zoo.node(ConvTranspose2d { stride: [2; 2], ..ConvTranspose2d::default() }, window)?;

    for rows in 1..=10 {
        zoo.linear(rows, 7)?;
        zoo.lstm_cell(rows, 3)?;
        zoo.lstm_cell(rows, 4)?;
        zoo.gru_cell(rows, 3)?;
        zoo.gru_cell(rows, 4)?;
    }
    zoo.linear(20, 8)?;
    let tokens = zoo.ids([4]);
    let table = zoo.weight([9, 6])?;
    zoo.node(Embedding, vec![tokens, table])?;
    let rows = zoo.input([4, 6]);
    zoo.node(GatherRows, vec![rows, tokens])?;
    zoo.node(Softmax { log: true }, vec![rows])?;
    let affine = vec![rows, zoo.weight([6])?, zoo.weight([6])?];
    zoo.node(LayerNorm::default(), affine)?;
    zoo.node(Matmul { transpose_a: false, transpose_b: true }, vec![rows, rows])?;
    zoo.node(TopK { k: 2, suppressed: [TopK::NONE; 4], log_probs: false }, vec![rows])?;
    let beams = vec![zoo.input([2, 2]), zoo.input([4, 2]), zoo.ids([4, 2])];
    zoo.node(BeamStep { end: 0 }, beams)?;
    let sets = vec![zoo.ids([4, 2]), tokens, tokens, zoo.ids([2]), zoo.ids([2])];
    zoo.node(TokenMask { end: 0 }, sets)?;
    let grid = zoo.input([2, 9, 5]);
    let keys = vec![grid, rows, zoo.weight([5])?, zoo.weight([1])?];
    zoo.node(AttentionWeights, keys)?;
    let alpha = zoo.input([4, 9]);
    zoo.node(AttentionContext, vec![grid, alpha, rows])?;
    let fours = zoo.input([2, 9, 4]);
    zoo.node(AttentionContext, vec![fours, alpha, rows])?;
    Ok(zoo.graph)
}
