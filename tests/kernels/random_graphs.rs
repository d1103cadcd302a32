//! Small random graphs: the GPU and the reference kernels give the same results, and no two live tensors overlap in a plan.

use crate::common::{Case, TARGETS, Tolerance, compare, shared, targets};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use shadetell::engine::graph::{DType, Graph, TensorId};
use shadetell::engine::ops::{
    Activation, AdaptiveAvgPool2d, AttentionContext, AttentionWeights, AvgPool2d, BatchNorm, BeamStep,
    Binary, BinaryKind, Concat, Conv2d, ConvTranspose2d, Embedding, GatherRows, GruCell, Interpolation,
    LayerNorm, Linear, LstmCell, Matmul, MaxPool2d, Op, Padding, Pool2d, Reshape, Resize2d, Slice, Softmax,
    TopK, Transpose,
};
use shadetell::engine::plan::{ALIGNMENT, Plan};
use std::collections::HashMap;

/// A graph that is built node by node.
struct Growing {
    case: Case,
    /// All activations so far.
    tensors: Vec<TensorId>,
    /// The activations whose values are equal to the bit on all devices, so that choices that depend on them are equal too.
    exact: Vec<TensorId>,
}

impl Growing {
    fn new(seed: u64, images: usize) -> Growing {
        let mut case = Case::new(seed);
        let shape = [images, 5, 6, case.random.pick(&[3, 4, 8])];
        let width = case.random.pick(&[5, 8]);
        let ids = (0..images * 2).map(|_| case.random.below(9) as u32).collect();
        let tensors = vec![
            case.random_input(shape),
            case.random_input([images * 2, width]),
            case.ids([images * 2], ids),
        ];
        Growing { case, exact: tensors.clone(), tensors }
    }

    /// A random tensor among those that fit, each with the same probability.
    fn pick(&mut self, fits: impl Fn(&[usize], DType) -> bool) -> Option<TensorId> {
        let graph = &self.case.graph;
        let fitting: Vec<TensorId> =
            self.tensors.iter().copied().filter(|&id| fits(graph.shape(id), graph.get(id).dtype)).collect();
        (!fitting.is_empty()).then(|| self.case.random.pick(&fitting))
    }

    fn image(&mut self) -> Option<TensorId> {
        self.pick(|shape, _| shape.len() == 4)
    }

    fn rows(&mut self) -> Option<TensorId> {
        self.pick(|shape, dtype| shape.len() == 2 && dtype == DType::F32)
    }

    /// Any tensor of floats.
    fn floats(&mut self) -> Option<TensorId> {
        self.pick(|_, dtype| dtype == DType::F32)
    }

    /// A tensor of floats with the shape of another tensor, sometimes the same tensor.
    fn like(&mut self, other: TensorId) -> Option<TensorId> {
        let wanted = self.case.graph.shape(other).to_vec();
        self.pick(|shape, dtype| shape == wanted && dtype == DType::F32)
    }

    fn ids(&mut self) -> Option<TensorId> {
        self.pick(|_, dtype| dtype == DType::U32)
    }

    /// A weight whose sums do not grow with the number of their terms.
    fn weight(&mut self, shape: Vec<usize>) -> TensorId {
        let terms = shape[1..].iter().product::<usize>() as f32;
        let values = (0..shape.iter().product()).map(|_| self.case.random.value() / terms.sqrt()).collect();
        self.case.weight(shape, values)
    }

    /// Appends a node; `exact` says whether its kernel rounds as the reference does.
    fn node(&mut self, op: impl Into<Op>, inputs: Vec<TensorId>, exact: bool) -> Vec<TensorId> {
        let exact = exact && inputs.iter().all(|id| self.exact.contains(id) || self.is_constant(*id));
        let outputs = self.case.node(op, inputs);
        self.tensors.extend(&outputs);
        if exact {
            self.exact.extend(&outputs);
        }
        outputs
    }

    fn is_constant(&self, id: TensorId) -> bool {
        self.case.graph.get(id).constant.is_some()
    }

    fn channels(&self, id: TensorId) -> usize {
        self.case.graph.shape(id).last()
    }

    /// Appends operation number `kind`; `None` if no tensors fit it.
    fn grow(&mut self, kind: usize) -> Option<()> {
        match kind {
            0 | 1 => self.conv2d(kind == 1),
            2 => {
                let x = self.image()?;
                let channels = self.channels(x);
                let operands = vec![x, self.weight(vec![channels, 1]), self.weight(vec![channels, 1])];
                self.node(BatchNorm, operands, false);
                Some(())
            }
            3 => {
                let x = self.floats()?;
                let all = [Activation::Relu, Activation::Relu6, Activation::Sigmoid, Activation::Tanh];
                let activation = self.case.random.pick(&all);
                self.node(activation, vec![x], matches!(activation, Activation::Relu | Activation::Relu6));
                Some(())
            }
            4 => self.binary(),
            5 => self.pool2d(),
            6 => {
                let x = self.image()?;
                let output = [0; 2].map(|_| 1 + self.case.random.below(6));
                self.node(AdaptiveAvgPool2d { output }, vec![x], false);
                Some(())
            }
            7 => {
                let x = self.floats()?;
                let (inputs, outputs) = (self.channels(x), self.case.random.pick(&[1, 4, 5, 8]));
                let operands = vec![x, self.weight(vec![outputs, inputs]), self.weight(vec![outputs])];
                self.node(Linear { activation: Activation::Identity }, operands, false);
                Some(())
            }
            8 => {
                let x = self.floats()?;
                self.node(Softmax { log: false }, vec![x], false);
                Some(())
            }
            9 => self.lstm_cell(),
            10 => {
                let ids = self.ids()?;
                let table = self.weight(vec![7, 5]);
                self.node(Embedding, vec![ids, table], true);
                Some(())
            }
            11 => {
                let (x, ids) = (self.rows()?, self.ids()?);
                self.node(GatherRows, vec![x, ids], true);
                Some(())
            }
            12 => {
                let x = self.rows().filter(|x| self.exact.contains(x))?;
                let k = 1 + self.case.random.below(self.channels(x));
                self.node(
                    TopK { k, suppressed: [0, TopK::NONE, TopK::NONE, TopK::NONE], log_probs: false },
                    vec![x],
                    true,
                );
                Some(())
            }
            13 => self.attention(),
            14 => self.matmul(),
            15 => {
                let x = self.floats()?;
                let channels = self.channels(x);
                let operands = vec![x, self.weight(vec![channels]), self.weight(vec![channels])];
                self.node(LayerNorm { epsilon: 0.1 }, operands, false);
                Some(())
            }
            16 => {
                let x = self.image()?;
                let size = [0; 2].map(|_| 1 + self.case.random.below(9));
                let bilinear = Interpolation::Bilinear { align_corners: size[0] % 2 == 0 };
                let interpolation = self.case.random.pick(&[Interpolation::Nearest, bilinear]);
                let is_exact = interpolation == Interpolation::Nearest;
                self.node(Resize2d { size, interpolation }, vec![x], is_exact);
                Some(())
            }
            17 => self.conv_transpose2d(),
            18 => self.beam_step(),
            19 => self.transpose(),
            20 => self.slice(),
            21 => self.concat(),
            22 => self.gru_cell(),
            _ => self.reshape(),
        }
    }

    /// Arithmetic on a tensor and another one of the same shape, or a row with a value for each channel.
    fn binary(&mut self) -> Option<()> {
        let a = self.floats()?;
        let channels = self.channels(a);
        let b = match self.case.random.below(3) {
            0 => self.weight(vec![channels]),
            1 => self.like(a)?,
            _ => self.pick(|shape, dtype| *shape == [channels] && dtype == DType::F32)?,
        };
        let kind = self.case.random.pick(&[BinaryKind::Add, BinaryKind::Mul, BinaryKind::Max]);
        self.node(Binary { kind, activation: Activation::Relu6 }, vec![a, b], true);
        Some(())
    }

    /// A view with reversed sizes.
    fn reshape(&mut self) -> Option<()> {
        let x = self.pick(|_, _| true)?;
        let mut shape = self.case.graph.shape(x).to_vec();
        let turn = self.case.random.below(shape.len());
        shape.rotate_left(turn);
        self.node(Reshape { shape: shape.into() }, vec![x], true);
        Some(())
    }

    fn transpose(&mut self) -> Option<()> {
        let x = self.pick(|_, _| true)?;
        let rank = self.case.graph.shape(x).len();
        let turn = self.case.random.below(rank);
        let axes = (0..rank).map(|axis| (axis + turn) % rank).collect();
        self.node(Transpose { axes }, vec![x], true);
        Some(())
    }

    fn slice(&mut self) -> Option<()> {
        let x = self.pick(|_, _| true)?;
        let sizes = self.case.graph.shape(x).to_vec();
        let starts: Vec<usize> = sizes.iter().map(|&size| self.case.random.below(size)).collect();
        let ends =
            sizes.iter().zip(&starts).map(|(&size, &start)| start + 1 + self.case.random.below(size - start));
        let ends = ends.collect();
        let steps = sizes.iter().map(|_| 1 + self.case.random.below(2)).collect();
        self.node(Slice { starts, ends, steps }, vec![x], true);
        Some(())
    }

    fn concat(&mut self) -> Option<()> {
        let a = self.floats()?;
        // Limits the growth of graphs.
        if self.case.graph.shape(a).elements() > 1000 {
            return None;
        }
        let (b, c) = (self.like(a)?, self.like(a)?);
        let axis = self.case.random.below(self.case.graph.shape(a).len());
        self.node(Concat { axis }, vec![a, b, c], true);
        Some(())
    }

    fn conv2d(&mut self, depthwise: bool) -> Option<()> {
        let x = self.image()?;
        let channels = self.channels(x);
        let (outputs, groups) =
            if depthwise { (channels, channels) } else { (self.case.random.pick(&[3, 4, 8]), 1) };
        let kernel = self.case.random.pick(&[1, 3]);
        let padding = Padding::uniform(kernel / 2);
        let conv = Conv2d { padding, groups, activation: Activation::Relu, ..Conv2d::default() };
        let mut operands = vec![x, self.weight(vec![outputs, channels / groups, kernel, kernel])];
        operands.push(self.weight(vec![outputs]));
        let mut shape = self.case.graph.shape(x).to_vec();
        shape[3] = outputs;
        operands.extend(self.pick(|other, _| other == shape));
        self.node(conv, operands, false);
        Some(())
    }

    fn conv_transpose2d(&mut self) -> Option<()> {
        // Only images that are not too large.
        let x = self.pick(|shape, _| shape.len() == 4 && shape[1] < 12 && shape[2] < 12)?;
        let (channels, outputs) = (self.channels(x), self.case.random.pick(&[3, 4, 8]));
        let [kernel, stride] = [0; 2].map(|_| 1 + self.case.random.below(2));
        let weight = self.weight(vec![channels, outputs, kernel, kernel]);
        let operands = vec![x, weight, self.weight(vec![outputs])];
        self.node(ConvTranspose2d { stride: [stride; 2], ..ConvTranspose2d::default() }, operands, false);
        Some(())
    }

    /// A matrix product of the rows of a tensor with each other, or with the rows of another tensor.
    fn matmul(&mut self) -> Option<()> {
        let a = self.pick(|shape, dtype| shape.len() > 1 && dtype == DType::F32)?;
        let width = self.channels(a);
        let b = self.pick(|shape, dtype| shape.len() == 2 && shape[1] == width && dtype == DType::F32)?;
        // Products of large values would grow too fast.
        let [a, b] = [a, b].map(|x| self.node(Softmax { log: false }, vec![x], false)[0]);
        self.node(Matmul { transpose_a: false, transpose_b: true }, vec![a, b], false);
        Some(())
    }

    fn pool2d(&mut self) -> Option<()> {
        let x = self.pick(|shape, _| shape.len() == 4 && shape[1] > 1 && shape[2] > 1)?;
        let pool = Pool2d { kernel: [2; 2], stride: [1; 2], padding: [1, 0], count_include_pad: true };
        if self.case.random.below(2) == 0 {
            self.node(MaxPool2d(pool), vec![x], true);
        } else {
            self.node(AvgPool2d(pool), vec![x], false);
        }
        Some(())
    }

    fn lstm_cell(&mut self) -> Option<()> {
        let h = self.rows()?;
        let c = self.like(h)?;
        let rows = self.case.graph.shape(h).rows();
        let x = self.pick(|shape, dtype| shape.len() == 2 && shape[0] == rows && dtype == DType::F32)?;
        let (hidden, width) = (self.channels(h), self.channels(x));
        let operands =
            vec![h, c, self.weight(vec![4 * hidden, width + hidden]), self.weight(vec![4 * hidden]), x];
        self.node(LstmCell, operands, false);
        Some(())
    }

    fn gru_cell(&mut self) -> Option<()> {
        let h = self.rows()?;
        let rows = self.case.graph.shape(h).rows();
        let x = self.pick(|shape, dtype| shape.len() == 2 && shape[0] == rows && dtype == DType::F32)?;
        let (hidden, width) = (self.channels(h), self.channels(x));
        let operands = vec![
            x,
            h,
            self.weight(vec![3 * hidden, width]),
            self.weight(vec![3 * hidden, hidden]),
            self.weight(vec![3 * hidden]),
            self.weight(vec![3 * hidden]),
        ];
        self.node(GruCell, operands, false);
        Some(())
    }

    fn attention(&mut self) -> Option<()> {
        let images = self.case.graph.shape(self.tensors[0])[0];
        let query =
            self.pick(|shape, dtype| shape.len() == 2 && shape[0] % images == 0 && dtype == DType::F32)?;
        let width = 1 + self.case.random.below(self.channels(query));
        let grid = self.case.random_input([images, 6, width]);
        let operands = vec![grid, query, self.weight(vec![width]), self.weight(vec![1])];
        let alpha = self.node(AttentionWeights, operands, false)[0];
        self.node(AttentionContext, vec![grid, alpha, query], false);
        Some(())
    }

    fn beam_step(&mut self) -> Option<()> {
        let scores = self.case.random_input([2, 3]);
        let values = self.case.random_input([6, 3]);
        let ids = (0..18).map(|_| self.case.random.below(6) as u32).collect();
        let ids = self.case.ids([6, 3], ids);
        self.exact.extend([scores, values, ids]);
        self.node(BeamStep { end: 0 }, vec![scores, values, ids], true);
        Some(())
    }
}

/// A graph of these operations; `kept` decides which results become results of the graph.
fn grown(seed: u64, images: usize, steps: &[(usize, bool)]) -> Case {
    let mut growing = Growing::new(seed, images);
    for &(kind, kept) in steps {
        let before = growing.tensors.len();
        if growing.grow(kind).is_some() && kept {
            growing.tensors[before..].iter().for_each(|&id| growing.case.graph.output(id).unwrap());
        }
    }
    let mut case = growing.case;
    // The graph needs a result.
    if let (true, Some(node)) = (case.graph.outputs().is_empty(), case.graph.nodes().last()) {
        let id = node.outputs[0];
        case.graph.output(id).unwrap();
    }
    case
}

/// The tensor behind each view.
fn views(graph: &Graph) -> HashMap<TensorId, TensorId> {
    let mut views: HashMap<TensorId, TensorId> = HashMap::new();
    for node in graph.nodes().iter().filter(|node| matches!(node.op, Op::Reshape(_))) {
        let viewed = node.inputs[0];
        views.insert(node.outputs[0], *views.get(&viewed).unwrap_or(&viewed));
    }
    views
}

/// The nodes between which a tensor that is no view has to keep its value: from the one that writes it (inputs: from before the
/// first; constants in the arena: always) to the last that reads it or a view of it (results: to the end).
fn lives(graph: &Graph, plan: &Plan) -> HashMap<TensorId, (isize, isize)> {
    let views = views(graph);
    let storage = |id: &TensorId| *views.get(id).unwrap_or(id);
    let constants = plan.ranges().keys().filter(|&&id| graph.get(id).constant.is_some());
    let mut lives: HashMap<TensorId, (isize, isize)> =
        graph.inputs().iter().map(|&id| (id, (-1, -1))).collect();
    lives.extend(constants.map(|&id| (id, (-1, isize::MAX))));
    for (step, node) in (0..).zip(graph.nodes()) {
        for id in &node.inputs {
            lives.entry(storage(id)).and_modify(|life| life.1 = life.1.max(step));
        }
        let own = node.outputs.iter().filter(|id| !views.contains_key(id));
        lives.extend(own.map(|&id| (id, (step, step))));
    }
    for id in graph.outputs() {
        lives.entry(storage(id)).and_modify(|life| life.1 = isize::MAX);
    }
    lives
}

fn check_memory(graph: &Graph, plan: &Plan) -> Result<(), TestCaseError> {
    let lives = lives(graph, plan);
    prop_assert_eq!(lives.len(), plan.ranges().len());
    for (a, life) in &lives {
        let range = &plan.ranges()[a];
        prop_assert_eq!(range.start % ALIGNMENT, 0);
        prop_assert_eq!(range.len(), graph.get(*a).bytes());
        prop_assert!(range.start >= ALIGNMENT && range.end <= plan.arena_bytes());
        for (b, other) in lives.iter().filter(|(b, _)| *b > a) {
            let together = life.0 <= other.1 && other.0 <= life.1;
            let apart = range.end <= plan.ranges()[b].start || plan.ranges()[b].end <= range.start;
            prop_assert!(
                apart || !together,
                "{a:?} {life:?} {range:?} and {b:?} {other:?} {:?}",
                plan.ranges()[b]
            );
        }
    }
    for port in plan.outputs() {
        let range = &port.range;
        prop_assert!(plan.output_range().start <= range.start && range.end <= plan.output_range().end);
    }
    Ok(())
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn steps(most: usize) -> impl Strategy<Value = Vec<(usize, bool)>> {
    prop::collection::vec((0usize..24, prop::bool::weighted(0.3)), 1..most)
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn no_two_live_tensors_overlap(seed: u64, images in 1usize..4, steps in steps(40)) {
        let case = grown(seed, images, &steps);
        let plan = Plan::new(&case.graph, &TARGETS[0]).unwrap();
        check_memory(&case.graph, &plan)?;
    }
}

proptest! {
    #![proptest_config(config(40))]

    #[test]
    fn gpu_and_references_agree(seed: u64, images in 1usize..4, steps in steps(16)) {
        let case = grown(seed, images, &steps);
        let expected = case.expected();
        for target in &targets() {
            let executor = shared().executor(&case.graph, target);
            // The second run starts with the arena as left by the first one.
            for run in 0..2 {
                let found = executor.run(&case.inputs).unwrap().outputs;
                for ((found, expected), &id) in found.iter().zip(&expected).zip(case.graph.outputs()) {
                    if let Err(e) = compare(found, expected, case.graph.shape(id), Tolerance::Approximate) {
                        let ops: Vec<_> = case.graph.nodes().iter().map(|n| format!("{:?}", n.op)).collect();
                        prop_assert!(false, "run {run}, {id:?}, {target:?}\n{e}\n{}", ops.join("\n"));
                    }
                }
            }
        }
    }
}
