//! Views: the same values with other sizes.

use crate::common::{Case, Tolerance, targets};
use shadetell::engine::graph::{DType, Data, Graph, TensorId};
use shadetell::engine::ops::{
    Activation, Binary, BinaryKind, Conv2d, Embedding, Linear, MaxPool2d, Pool2d, Reshape, Transpose,
};
use shadetell::engine::plan::Plan;

fn view(case: &mut Case, x: TensorId, shape: &[usize]) -> TensorId {
    case.node(Reshape { shape: shape.to_vec().into() }, vec![x])[0]
}

#[test]
fn a_view_costs_neither_time_nor_memory() {
    let mut case = Case::new(1);
    let x = case.random_input([2, 5, 6, 4]);
    let y = case.node(Activation::Relu, vec![x])[0];
    let rows = case.graph.flatten("rows", y).unwrap();
    assert_eq!(**case.graph.shape(rows), [2, 120]);
    let again = view(&mut case, rows, &[8, 30]);
    case.last(Transpose { axes: vec![1, 0] }, vec![again]);
    for target in targets() {
        let plan = Plan::new(&case.graph, &target).unwrap();
        assert_eq!(plan.steps().len(), 2);
        assert_eq!(plan.ranges().len(), 3);
    }
    case.check("views of a computed tensor", Tolerance::Exact);
}

/// The memory of a tensor is kept for as long as a view of it is read.
#[test]
fn memory_lives_as_long_as_its_last_view() {
    let mut case = Case::new(2);
    let x = case.random_input([4, 64]);
    let kept = case.node(Activation::Relu, vec![x])[0];
    let kept = view(&mut case, kept, &[256]);
    let mut y = x;
    for _ in 0..4 {
        y = case.node(Activation::Tanh, vec![y])[0];
    }
    let y = view(&mut case, y, &[256]);
    case.last(Binary::from(BinaryKind::Add), vec![y, kept]);
    case.check("a view that is read late", Tolerance::Close);
}

#[test]
fn views_of_inputs_and_constants_agree_with_the_reference() {
    let mut case = Case::new(3);
    let (x, w) = (case.random_input([6, 5]), case.random_weight([30]));
    let ids = case.ids([2, 2], vec![0, 2, 1, 2]);
    let (x, w, ids) =
        (view(&mut case, x, &[2, 3, 5]), view(&mut case, w, &[2, 3, 5]), view(&mut case, ids, &[4]));
    case.last(Binary::from(BinaryKind::Mul), vec![x, w]);
    let table = case.random_weight([3, 5]);
    case.last(Embedding, vec![ids, table]);
    case.check("views of an input, a constant and ids", Tolerance::Exact);
}

/// Not only weights may be constants, alone or as views.
#[test]
fn images_and_rows_may_be_constants() {
    let mut case = Case::new(6);
    let image = case.random_weight([1, 4, 5, 3]);
    let again = case.random_weight([60]);
    let again = view(&mut case, again, &[1, 4, 5, 3]);
    let pool = Pool2d { kernel: [2, 2], stride: [1, 1], padding: [0, 0], count_include_pad: false };
    for x in [image, again] {
        let (weight, bias) = (case.random_weight([2, 3, 2, 2]), case.random_weight([2]));
        case.last(Conv2d::default(), vec![x, weight, bias]);
        let (weight, bias) = (case.random_weight([3, 1, 2, 2]), case.random_weight([3]));
        case.last(Conv2d { groups: 3, ..Conv2d::default() }, vec![x, weight, bias]);
        let (weight, bias) = (case.random_weight([6, 3]), case.random_weight([6]));
        case.last(Linear { activation: Activation::Relu }, vec![x, weight, bias]);
        case.last(MaxPool2d(pool), vec![x]);
    }
    case.check("constant operands", Tolerance::Approximate);
}

/// A result may be a view of any tensor, and two results may share memory.
#[test]
fn results_may_be_views() {
    let mut case = Case::new(4);
    let (x, w) = (case.random_input([6, 5]), case.random_weight([4, 3]));
    let y = case.node(Activation::Relu, vec![x])[0];
    for (id, shape) in [(x, &[30][..]), (w, &[2, 6]), (y, &[5, 6]), (y, &[3, 10])] {
        let id = view(&mut case, id, shape);
        case.graph.output(id).unwrap();
    }
    case.graph.output(y).unwrap();
    case.last(Activation::Tanh, vec![y]);
    case.check("views as results", Tolerance::Close);
}

#[test]
fn a_graph_may_consist_of_views_of_an_input() {
    let mut case = Case::new(5);
    let x = case.random_input([2, 3]);
    case.last(Reshape { shape: [3, 2].into() }, vec![x]);
    case.check("nothing runs", Tolerance::Exact);
}

#[test]
fn bytes_are_supported() {
    let mut graph = Graph::new();
    let pixels = graph.input("pixels", [1, 18], DType::U8).unwrap();
    let pixels = graph.reshape("image", pixels, [1, 2, 3, 3]).unwrap();
    let y = graph.preprocess("y", pixels, [0.5; 3], [0.25; 3]).unwrap();
    graph.output(y).unwrap();
    let mut case = Case::new(6);
    (case.graph, case.inputs) = (graph, vec![Data::U8((0..18).map(|i| 14 * i).collect())]);
    case.check("bytes", Tolerance::Close);
}

#[test]
fn sizes_with_another_number_of_values_are_refused() {
    let mut case = Case::new(7);
    let x = case.random_input([2, 3]);
    let error = case.graph.reshape("y", x, [4, 2]).unwrap_err().to_string();
    assert_eq!(error, "y (reshape): expected sizes for the 6 values of [2, 3], found [4, 2], which has 8");
}
