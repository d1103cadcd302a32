//! Custom operations: compared with their references, checked for writes out of bounds, refused if they are invalid.

use crate::common::shared;
use shadetell::engine::graph::{DType, Data, Graph, Shape, Tensor};
use shadetell::engine::ops::{Custom, CustomOperation};
use shadetell::engine::plan::UserShader;
use shadetell::engine::{Session, verify};

/// `y = a * x + offset`, `offset` being the second operand.
#[derive(Debug)]
struct Scale {
    factor: f32,
    /// How far beyond the end of its result the shader writes.
    beyond: u32,
    source: &'static str,
}

const SOURCE: &str = "
struct Params { count: u32, factor: f32, beyond: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> offset: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

#import flat

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = flat_index(workgroup, workgroups, local);
    if i < p.count {
        y[i + p.beyond] = p.factor * x[i] + offset[i];
    }
}
";

impl CustomOperation for Scale {
    fn infer(&self, inputs: &[&Tensor]) -> Result<Vec<(Shape, DType)>, String> {
        match inputs {
            [x, offset] if x.shape == offset.shape => Ok(vec![(x.shape.clone(), DType::F32)]),
            _ => Err(format!("expected two tensors of one shape, found {}", inputs.len())),
        }
    }

    fn run(&self, inputs: &[(&Tensor, &Data)], _: &[&Tensor]) -> Vec<Data> {
        let [(_, x), (_, offset)] = inputs else { return Vec::new() };
        let values = x.f32().iter().zip(offset.f32()).map(|(x, offset)| self.factor * x + offset);
        vec![Data::F32(values.collect())]
    }

    fn shader(&self) -> UserShader {
        UserShader::new("scale", self.source)
    }

    fn params(&self, inputs: &[&Tensor], _: &[&Tensor]) -> Vec<u32> {
        vec![inputs[0].shape.elements() as u32, self.factor.to_bits(), self.beyond]
    }
}

const SCALE: Scale = Scale { factor: 2.0, beyond: 0, source: SOURCE };

/// A graph of the operation between two operations of the engine, over `count` values.
fn graph(scale: Scale, count: usize) -> Graph {
    let mut graph = Graph::new();
    let x = graph.input("x", [count], DType::F32).unwrap();
    let offset = graph.constant("offset", [count], (0..count).map(|i| i as f32).collect::<Vec<_>>()).unwrap();
    let sum = graph.add("sum", x, x).unwrap();
    let y = graph.custom("scale", &Custom::new(scale), &[sum, offset]).unwrap()[0];
    let z = graph.add("z", y, x).unwrap();
    graph.output(z).unwrap();
    graph
}

#[test]
fn a_custom_operation_runs_between_others() {
    let gpu = shared().gpu.clone();
    let inputs = [("x", Data::F32(vec![1.0, -2.0, 0.5]))];
    let expected = Data::F32(vec![5.0, -9.0, 4.5]);
    for session in
        [Session::new(&gpu, &graph(SCALE, 3)).unwrap(), Session::on_cpu(&graph(SCALE, 3), None).unwrap()]
    {
        assert_eq!(session.run(&inputs).unwrap().get("z"), Some(&expected));
    }
}

#[test]
fn verify_compares_a_custom_operation_with_its_reference() {
    let gpu = shared().gpu.clone();
    let verified = |scale| {
        let inputs = [Data::F32((0..1000).map(|i| i as f32 / 7.0).collect())];
        verify(&gpu, &graph(scale, 1000), &inputs).unwrap()
    };
    let right = verified(SCALE);
    assert!(right.is_within(1e-6), "{right:?}");
    assert_eq!(right.results[0].name, "z");
    let wrong: &'static str = Box::leak(SOURCE.replace("p.factor *", "0.5 * p.factor *").into_boxed_str());
    let wrong = verified(Scale { source: wrong, ..SCALE });
    assert!(!wrong.is_within(1e-2) && wrong.difference() > 0.1, "{wrong:?}");
}

/// The last operation of a graph writes beyond its result, into a guard.
#[test]
fn writes_beyond_a_result_are_found() {
    let gpu = shared().gpu.clone();
    let mut graph = Graph::new();
    let x = graph.input("x", [8], DType::F32).unwrap();
    let y = graph.custom("scale", &Custom::new(Scale { beyond: 3, ..SCALE }), &[x, x]).unwrap()[0];
    graph.output(y).unwrap();
    let comparison = verify(&gpu, &graph, &[Data::F32(vec![1.0; 8])]).unwrap();
    assert!(comparison.results[0].is_overrun && !comparison.is_within(f32::INFINITY), "{comparison:?}");
}

/// A user shader can change only its own bindings, at any index that it writes to.
#[test]
fn writes_out_of_bounds_change_no_other_tensor() {
    let gpu = shared().gpu.clone();
    for beyond in [64, 1 << 20, u32::MAX / 2] {
        let mut graph = Graph::new();
        let x = graph.input("x", [64], DType::F32).unwrap();
        let kept = graph.add("kept", x, x).unwrap();
        let y = graph.custom("scale", &Custom::new(Scale { beyond, ..SCALE }), &[x, x]).unwrap()[0];
        graph.output(kept).unwrap();
        graph.output(y).unwrap();
        graph.output(x).unwrap();
        let session = Session::new(&gpu, &graph).unwrap();
        let results = session.run(&[("x", vec![1.5; 64].into())]).unwrap();
        assert_eq!(results.get("kept"), Some(&Data::F32(vec![3.0; 64])), "{beyond}");
        assert_eq!(results.get("x"), Some(&Data::F32(vec![1.5; 64])), "{beyond}");
    }
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let gpu = shared().gpu.clone();
    let mut graph_ = Graph::new();
    let x = graph_.input("x", [2], DType::F32).unwrap();
    let error = graph_.custom("scale", &Custom::new(SCALE), &[x]).unwrap_err();
    assert_eq!(error.to_string(), "scale (custom): expected two tensors of one shape, found 1");
    let error = Session::new(&gpu, &graph(Scale { source: "fn main( {", ..SCALE }, 2)).unwrap_err();
    assert!(error.to_string().contains("scale"), "{error}");
}
