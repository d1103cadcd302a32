//! Whole graphs on the device and on the CPU: constants as operands and results, names, threads, plans of other devices.

use crate::common::{Case, TARGETS, Tolerance, shared};
use shadetell::engine::gpu::Executor;
use shadetell::engine::graph::{DType, Data, Graph};
use shadetell::engine::ops::{Activation, GatherRows, Softmax};
use shadetell::engine::plan::{Plan, Target};
use shadetell::engine::{Input, Recording, Session};
use shadetell::wgpu;

/// Constants, such as positional embeddings, initial states and tables, are read like computed tensors.
#[test]
fn constants_can_be_operands() {
    let mut case = Case::new(1);
    let x = case.random_input([3, 5]);
    let constant = case.random_weight([3, 5]);
    let sum = case.graph.add("sum", x, constant).unwrap();
    let relu = case.graph.activation("relu", constant, Activation::Relu).unwrap();
    let indices = case.ids([4], vec![2, 0, 1, 2]);
    let y = case.graph.add("both", sum, relu).unwrap();
    case.last(GatherRows, vec![constant, indices]);
    case.last(Softmax { log: false }, vec![y]);
    case.check("constants", Tolerance::Approximate);
}

/// The order of results stays the same, also after fusing.
#[test]
fn constants_and_inputs_can_be_results() {
    let mut case = Case::new(2);
    let x = case.input([2], vec![-1.0, 2.0]);
    let constant = case.weight([3], vec![3.0, 4.0, 5.0]);
    let y = case.graph.activation("y", x, Activation::Relu).unwrap();
    for id in [y, constant, x, constant] {
        case.graph.output(id).unwrap();
    }
    let values = |values: &[f32]| Data::F32(values.to_vec());
    let expected =
        [values(&[0.0, 2.0]), values(&[3.0, 4.0, 5.0]), values(&[-1.0, 2.0]), values(&[3.0, 4.0, 5.0])];
    assert_eq!(case.expected(), expected);
    case.graph.fuse();
    assert_eq!(case.expected(), expected);
    assert_eq!(shared().run(&case.graph, &TARGETS[0], &case.inputs), expected);
}

/// A graph whose result is the sum of two inputs.
fn sum() -> Graph {
    let mut graph = Graph::new();
    let a = graph.input("a", [2], DType::F32).unwrap();
    let b = graph.input("b", [2], DType::F32).unwrap();
    let y = graph.add("y", a, b).unwrap();
    graph.output(y).unwrap();
    graph.named_output("again", y).unwrap();
    graph
}

#[test]
fn inputs_and_results_have_names() {
    let gpu = shared().gpu.clone();
    for session in [Session::new(&gpu, &sum()).unwrap(), Session::on_cpu(&sum(), None).unwrap()] {
        let inputs = [("b", vec![1.0, 2.0].into()), ("a", vec![10.0, 20.0].into())];
        let results = session.run(&inputs).unwrap();
        for name in ["y", "again"] {
            assert_eq!(results.get(name), Some(&Data::F32(vec![11.0, 22.0])));
        }
        assert_eq!(results.get("b"), None);
        let refused = |inputs: &[(&str, Data)]| session.run(inputs).unwrap_err().to_string();
        let two = || Data::F32(vec![0.0; 2]);
        assert_eq!(refused(&[("a", two())]), "b: expected a value for this input, found none");
        let unknown = refused(&[("a", two()), ("c", two())]);
        assert_eq!(unknown, "c: expected the inputs a, b, found this one");
        let twice = refused(&[("a", two()), ("a", two()), ("b", two())]);
        assert_eq!(twice, "a: expected one value for this input, found two");
        let short = refused(&[("a", vec![1.0].into()), ("b", two())]);
        assert!(short.contains("expected"), "{short}");
    }
    let mut graph = sum();
    let c = graph.input("a", [1], DType::F32).unwrap();
    let refused = |graph: Graph| Session::on_cpu(&graph, None).unwrap_err().to_string();
    assert_eq!(refused(graph), "a: expected inputs of different names, found two of this one");
    let mut graph = sum();
    graph.named_output("y", c).unwrap_err();
    let a = graph.inputs()[0];
    graph.named_output("y", a).unwrap();
    assert_eq!(refused(graph), "y: expected results of different names, found two of this one");
}

/// An executor has one arena for activations, and any number of threads may use it.
#[test]
fn threads_get_their_own_results() {
    const THREADS: usize = 4;
    let gpu = shared().gpu.clone();
    let mut graph = Graph::new();
    let mut x = graph.input("x", [20_000], DType::F32).unwrap();
    for step in 0..6 {
        x = graph.add(&format!("twice {step}"), x, x).unwrap();
    }
    graph.output(x).unwrap();
    let executor = Executor::new(&gpu, gpu.plan(&graph).unwrap()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let executor = &executor;
            scope.spawn(move || {
                for round in 0..10 {
                    let value = (1 + thread * 10 + round) as f32;
                    let found = executor.run(&[Data::F32(vec![value; 20_000])]).unwrap().outputs;
                    assert!(found == [Data::F32(vec![64.0 * value; 20_000])], "another thread's values");
                }
            });
        }
    });
}

/// Kernels for subgroups of another size would exchange values with the wrong lanes.
#[test]
fn plans_of_other_devices_are_refused() {
    let gpu = shared().gpu.clone();
    let own = gpu.target();
    let other = Target { subgroup: own.subgroup + 8, has_subgroups: true, ..own };
    let plan = Plan::new(&sum(), &other).unwrap();
    let error = Executor::new(&gpu, plan).unwrap_err();
    assert!(error.to_string().contains("expected a plan for this device"), "{error}");
}

/// A host records two runs of a network into its own encoder; the second reads the result of the first from the device.
#[test]
fn results_stay_on_the_device() {
    let gpu = shared().gpu.clone();
    let first = Session::new(&gpu, &sum()).unwrap();
    let second = Session::new(&gpu, &sum()).unwrap();
    let size = 8;
    let buffer = |usage| {
        let label = None;
        gpu.device.create_buffer(&wgpu::BufferDescriptor { label, size, usage, mapped_at_creation: false })
    };
    let between = buffer(wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST);
    let readback = buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
    let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let copy = |encoder: &mut wgpu::CommandEncoder, recording: &Recording<'_>, to: &wgpu::Buffer| {
        let y = recording.result("y").unwrap();
        encoder.copy_buffer_to_buffer(y.buffer, y.offset, to, 0, size);
    };
    let inputs = [("a", vec![1.0, 2.0].into()), ("b", vec![10.0, 20.0].into())];
    let recording = first.record(&mut encoder, &inputs).unwrap();
    assert!(recording.result("z").is_none());
    // The arena is locked until the recording is dropped.
    first.run(&[("a", vec![0.0; 2].into()), ("b", vec![0.0; 2].into())]).unwrap_err();
    first.record(&mut encoder, &inputs).unwrap_err();
    copy(&mut encoder, &recording, &between);
    let input = |offset| Input::Buffer { buffer: &between, offset };
    for unfit in [Input::Buffer { buffer: &readback, offset: 0 }, input(2), input(4), vec![1.0].into()] {
        second.record(&mut encoder, &[("a", unfit), ("b", input(0))]).unwrap_err();
    }
    let again = second.record(&mut encoder, &[("a", input(0)), ("b", vec![100.0, 200.0].into())]).unwrap();
    copy(&mut encoder, &again, &readback);
    gpu.queue.submit([encoder.finish()]);
    readback.map_async(wgpu::MapMode::Read, .., |mapped| mapped.unwrap());
    gpu.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let values: Vec<f32> = bytemuck::pod_collect_to_vec(&readback.get_mapped_range(..).unwrap());
    assert_eq!(values, [111.0, 222.0]);
    drop(recording);
    first.run(&[("a", vec![0.0; 2].into()), ("b", vec![0.0; 2].into())]).unwrap();
}
