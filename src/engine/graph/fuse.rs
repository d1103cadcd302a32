//! Fusion: batch norm, residual and activation become part of the convolution before them.

use super::{Constant, Graph, Node, TensorId};
use crate::engine::ops::{Activation, Binary, BinaryKind, Op};

impl Graph {
    /// Fuses nodes; results stay the same up to rounding:
    ///
    /// - batch norms are folded into the weights of the convolution before them;
    /// - convolutions add the residual and apply the activation that follow them, linear layers the activation;
    /// - convolutions over RGB get a fourth input channel of zeros, since kernels read four channels at a time;
    /// - top-k after log-softmax takes the logarithms of the k values alone.
    pub fn fuse(&mut self) {
        self.fold_batch_norm();
        self.pad_colors();
        self.fuse_residual();
        self.fuse_activation();
        self.fuse_log_softmax();
    }

    fn fold_batch_norm(&mut self) {
        for index in 0..self.nodes.len() {
            if self.nodes[index].op != Op::BatchNorm(crate::engine::ops::BatchNorm) {
                continue;
            }
            let [x, scale, shift] = self.nodes[index].inputs[..] else { continue };
            let Some(producer) = self.sole_producer(x) else { continue };
            let Op::Conv2d(conv) = &self.nodes[producer].op else { continue };
            if conv.activation != Activation::Identity || self.nodes[producer].inputs.len() > 3 {
                continue;
            }
            let [weight, bias] = [1, 2].map(|i| self.nodes[producer].inputs[i]);
            let (Some(w), Some(b)) = (self.get(weight).constant.clone(), self.get(bias).constant.clone())
            else {
                continue;
            };
            let (Some(scale), Some(shift)) =
                (self.get(scale).constant.clone(), self.get(shift).constant.clone())
            else {
                continue;
            };
            let (b, scale, shift) = (b.read(), scale.read(), shift.read());
            let offsets = b.iter().zip(scale.iter().zip(shift.iter())).map(|(b, (s, t))| b * s + t);
            let offsets: Vec<f32> = offsets.collect();
            self.nodes[producer].inputs[1] = self.replacement(weight, w.scaled(&scale));
            self.nodes[producer].inputs[2] = self.replacement(bias, offsets.into());
            self.nodes[producer].outputs = self.nodes[index].outputs.clone();
            self.nodes[index].outputs.clear();
        }
        self.sweep();
    }

    /// Kernels read four channels at a time.
    fn pad_colors(&mut self) {
        for index in 0..self.nodes.len() {
            if !matches!(&self.nodes[index].op, Op::Conv2d(conv) if conv.groups == 1) {
                continue;
            }
            let [x, weight] = [0, 1].map(|i| self.nodes[index].inputs[i]);
            let Some(producer) = self.sole_producer(x) else { continue };
            let Some([outputs, 3, height, width]) = self.shape(weight).sizes() else { continue };
            let Some(values) = self.get(weight).constant.clone() else { continue };
            let Op::Preprocess(preprocess) = &mut self.nodes[producer].op else { continue };
            preprocess.padded = true;
            let mut padded = Vec::with_capacity(outputs * 4 * height * width);
            for filter in values.read().chunks_exact(3 * height * width) {
                padded.extend_from_slice(filter);
                padded.resize(padded.len() + height * width, 0.0);
            }
            let weight = self.replacement(weight, padded.into());
            self.tensors[weight.0].shape = [outputs, 4, height, width].into();
            self.nodes[index].inputs[1] = weight;
            let mut pixels = self.shape(x).to_vec();
            if let Some(channels) = pixels.last_mut() {
                *channels = 4;
            }
            self.tensors[x.0].shape = pixels.into();
        }
        self.sweep();
    }

    fn fuse_residual(&mut self) {
        for index in 0..self.nodes.len() {
            let Op::Binary(Binary { kind: BinaryKind::Add, activation }) = self.nodes[index].op else {
                continue;
            };
            let [a, b] = self.nodes[index].inputs[..] else { continue };
            // A convolution's residual has the shape of its result.
            if self.shape(a) != self.shape(b) {
                continue;
            }
            // The later of two convolutions takes the other's result as its residual.
            let candidate = [(a, b), (b, a)]
                .into_iter()
                .filter_map(|(x, residual)| Some((self.sole_producer(x)?, residual)))
                .filter(|&(producer, residual)| {
                    let node = &self.nodes[producer];
                    matches!(node.op, Op::Conv2d(c) if c.activation == Activation::Identity)
                        && node.inputs.len() == 3
                        && self.producer(residual).is_none_or(|p| p < producer)
                })
                .max_by_key(|&(producer, _)| producer);
            let Some((producer, residual)) = candidate else { continue };
            if let Op::Conv2d(conv) = &mut self.nodes[producer].op {
                conv.activation = activation;
            }
            self.nodes[producer].inputs.push(residual);
            self.nodes[producer].outputs = self.nodes[index].outputs.clone();
            self.nodes[index].outputs.clear();
        }
        self.sweep();
    }

    fn fuse_activation(&mut self) {
        for index in 0..self.nodes.len() {
            let Op::Activation(activation) = self.nodes[index].op else { continue };
            let Some(producer) = self.sole_producer(self.nodes[index].inputs[0]) else { continue };
            let own = match &mut self.nodes[producer].op {
                Op::Conv2d(conv) => &mut conv.activation,
                Op::Linear(linear) => &mut linear.activation,
                Op::Binary(binary) => &mut binary.activation,
                _ => continue,
            };
            if *own != Activation::Identity || activation.bounds().is_none() {
                continue;
            }
            *own = activation;
            self.nodes[producer].outputs = self.nodes[index].outputs.clone();
            self.nodes[index].outputs.clear();
        }
        self.sweep();
    }

    fn fuse_log_softmax(&mut self) {
        for index in 0..self.nodes.len() {
            let Some(&x) = self.nodes[index].inputs.first() else { continue };
            let Some(producer) = self.sole_producer(x) else { continue };
            let Op::Softmax(softmax) = self.nodes[producer].op else { continue };
            let Op::TopK(top) = &mut self.nodes[index].op else { continue };
            if softmax.log && !top.log_probs {
                top.log_probs = true;
                self.nodes[index].inputs[0] = self.nodes[producer].inputs[0];
                self.nodes[producer].outputs.clear();
            }
        }
        self.sweep();
    }

    /// Drops the nodes that were fused into others, and moves the starts of phases accordingly.
    fn sweep(&mut self) {
        for phase in &mut self.phases {
            phase.start -= self.nodes[..phase.start].iter().filter(|n| n.outputs.is_empty()).count();
        }
        self.nodes.retain(|node| !node.outputs.is_empty());
        // Values that nothing reads any more need not stay in memory.
        let mut read = vec![false; self.tensors.len()];
        for id in self.nodes.iter().flat_map(|n: &Node| &n.inputs).chain(&self.outputs) {
            read[id.0] = true;
        }
        for (tensor, read) in self.tensors.iter_mut().zip(read) {
            if !read {
                tensor.constant = None;
            }
        }
    }

    fn producer(&self, id: TensorId) -> Option<usize> {
        self.nodes.iter().position(|n| n.outputs.contains(&id))
    }

    /// The node that computes this tensor, if exactly one node reads it and it is no result of the graph.
    fn sole_producer(&self, id: TensorId) -> Option<usize> {
        let readers = self.nodes.iter().flat_map(|n| &n.inputs).filter(|&&input| input == id).count();
        if readers == 1 && !self.outputs.contains(&id) { self.producer(id) } else { None }
    }

    fn replacement(&mut self, id: TensorId, values: Constant) -> TensorId {
        let mut tensor = self.tensors[id.0].clone();
        tensor.constant = Some(values);
        self.tensors.push(tensor);
        TensorId(self.tensors.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::graph::{DType, Data};
    use crate::engine::ops::{Conv2d, Padding};
    use crate::engine::reference;

    /// A bottleneck in miniature: two convolutions with batch norm, a shortcut, relu; then a lone relu6.
    fn block() -> Graph {
        let mut g = Graph::new();
        let x = g.input("x", [1, 3, 3, 2], DType::F32).unwrap();
        let conv = |g: &mut Graph, name: &str, x: TensorId| {
            let w = g
                .constant("w", [2, 2, 3, 3], (0..36).map(|i| (i % 7) as f32 - 3.0).collect::<Vec<_>>())
                .unwrap();
            let b = g.constant("b", [2], vec![0.5, -0.25]).unwrap();
            let scale = g.constant("scale", [2], vec![2.0, -0.5]).unwrap();
            let shift = g.constant("shift", [2], vec![1.0, 3.0]).unwrap();
            let conv = Conv2d { padding: Padding::uniform(1), ..Conv2d::default() };
            let y = g.conv2d(name, x, w, b, conv).unwrap();
            g.batch_norm(name, y, scale, shift).unwrap()
        };
        let a = conv(&mut g, "first", x);
        let a = g.activation("relu", a, Activation::Relu).unwrap();
        let b = conv(&mut g, "second", a);
        g.phase("tail");
        let sum = g.add("shortcut", b, x).unwrap();
        let y = g.activation("relu", sum, Activation::Relu).unwrap();
        let z = g.activation("relu6", y, Activation::Relu6).unwrap();
        g.output(y).unwrap();
        g.output(z).unwrap();
        g
    }

    #[test]
    fn colors_are_padded() {
        let graph = |is_result: bool| {
            let mut g = Graph::new();
            let pixels = g.input("pixels", [1, 2, 2, 3], DType::U8).unwrap();
            let x = g.preprocess("x", pixels, [0.25; 3], [0.5; 3]).unwrap();
            let w = g.constant("w", [2, 3, 2, 2], (0..24).map(|i| i as f32).collect::<Vec<_>>()).unwrap();
            let b = g.constant("b", [2], vec![0.5, -0.25]).unwrap();
            let y = g.conv2d("y", x, w, b, Conv2d::default()).unwrap();
            g.output(y).unwrap();
            if is_result {
                g.output(x).unwrap();
            }
            g
        };
        let mut fused = graph(false);
        fused.fuse();
        assert_eq!(**fused.shape(fused.nodes()[1].inputs[0]), [1, 2, 2, 4]);
        assert_eq!(**fused.shape(fused.nodes()[1].inputs[1]), [2, 4, 2, 2]);
        let pixels = Data::U8((0..12).map(|i| 20 * i).collect());
        let plain = reference::run(&graph(false), std::slice::from_ref(&pixels)).unwrap();
        assert_eq!(reference::run(&fused, &[pixels]).unwrap(), plain);
        let mut read_twice = graph(true);
        read_twice.fuse();
        assert_eq!(**read_twice.shape(read_twice.outputs()[1]), [1, 2, 2, 3]);
    }

    #[test]
    fn a_block_becomes_two_convolutions_with_the_same_result() {
        let mut fused = block();
        fused.fuse();
        let names: Vec<_> = fused.nodes().iter().map(|n| n.op.operation().name()).collect();
        assert_eq!(names, ["conv2d", "conv2d", "activation"], "the last relu6 reads a result of the graph");
        assert_eq!(fused.nodes()[1].inputs.len(), 4, "the shortcut is a residual");
        assert_eq!(fused.phases()[0].start, 2);

        let x = Data::F32((0..18).map(|i| i as f32 * 0.25 - 2.0).collect());
        let plain = reference::run(&block(), std::slice::from_ref(&x)).unwrap();
        let rewritten = reference::run(&fused, &[x]).unwrap();
        for (a, b) in plain.iter().zip(&rewritten) {
            for (a, b) in a.f32().iter().zip(b.f32()) {
                assert!((a - b).abs() < 1e-4, "{a} {b}");
            }
        }
        assert!(plain[0].f32().iter().any(|&v| v > 6.0), "the comparison must not be of zeros");
    }
}
