//! A graph gives the same results before and after [`Graph::fuse`](shadetell::engine::graph::Graph::fuse).

use crate::common::{Case, Tolerance, compare, shared, targets};
use shadetell::engine::graph::TensorId;
use shadetell::engine::ops::{Activation, BatchNorm, Conv2d, Padding};

/// Convolution and batch norm.
fn conv2d(case: &mut Case, x: TensorId, outputs: usize, conv: Conv2d) -> TensorId {
    let channels = case.graph.shape(x).last();
    let operands =
        vec![x, case.random_weight([outputs, channels / conv.groups, 3, 3]), case.random_weight([outputs])];
    let y = case.node(conv, operands)[0];
    let operands = vec![y, case.random_weight([outputs]), case.random_weight([outputs])];
    case.node(BatchNorm, operands)[0]
}

#[test]
fn a_fused_residual_block_gives_the_same_result() {
    for channels in [3, 8] {
        for activation in [Activation::Relu, Activation::Relu6] {
            for groups in [1, channels] {
                let mut case = Case::new(channels as u64);
                let conv = Conv2d { padding: Padding::uniform(1), ..Conv2d::default() };
                let x = case.random_input([2, 5, 6, channels]);
                let y = conv2d(&mut case, x, channels, conv);
                let y = case.node(Activation::Relu, vec![y])[0];
                let y = conv2d(&mut case, y, channels, Conv2d { groups, ..conv });
                let sum = case.graph.add("sum", x, y).unwrap();
                case.last(activation, vec![sum]);

                let expected = case.expected();
                let mut fused = case.graph.clone();
                fused.fuse();
                assert_eq!((case.graph.nodes().len(), fused.nodes().len()), (7, 2));
                for target in targets() {
                    for graph in [&case.graph, &fused] {
                        let found = shared().run(graph, &target, &case.inputs);
                        let shape = graph.shape(graph.outputs()[0]);
                        compare(&found[0], &expected[0], shape, Tolerance::Approximate).unwrap_or_else(|e| {
                            panic!("{channels} channels, {groups} groups, {activation:?}, {target:?}\n{e}")
                        });
                    }
                }
            }
        }
    }
}
