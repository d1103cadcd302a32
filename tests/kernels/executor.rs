//! Properties of the executor for all graphs: limits, large grids, repeatable results.

use crate::common::{Case, TARGETS, Tolerance, compare, shared, targets};
use shadetell::engine::gpu::{AdapterChoice, Executor, Gpu, GpuError};
use shadetell::engine::graph::{DType, Data, Graph};
use shadetell::engine::ops::{
    Activation, AttentionContext, AttentionWeights, Conv2d, GruCell, Linear, LstmCell, Padding, Softmax, TopK,
};
use shadetell::engine::plan::{Plan, Target};
use shadetell::wgpu;
use std::ops::Range;

/// The device of the whole suite.
#[test]
fn the_device_has_the_default_limits_and_at_most_five_features() {
    let shared = shared();
    assert_eq!(shared.gpu.device.limits(), wgpu::Limits::default());
    let allowed = wgpu::Features::SUBGROUP
        | wgpu::Features::TIMESTAMP_QUERY
        | wgpu::Features::SHADER_F16
        | wgpu::Features::SHADER_INT64
        | wgpu::Features::MAPPABLE_PRIMARY_BUFFERS;
    let beyond = shared.gpu.device.features() - allowed;
    assert_eq!(beyond, wgpu::Features::empty());
    assert_eq!(shared.gpu.lost(), None);
}

/// Runs a case whose grid is too large for one dimension with the default limits.
fn check_large(label: &str, case: &Case, tolerance: Tolerance) {
    let plan = Plan::new(&case.graph, &TARGETS[0]).unwrap();
    for workgroups in plan.steps().iter().map(|step| step.dispatch.workgroups) {
        assert!(workgroups.iter().product::<u32>() > 65_535, "{label} is not large: {workgroups:?}");
        assert!(workgroups.iter().all(|&count| count <= 65_535), "{label} is not split: {workgroups:?}");
    }
    let found = shared().run(&case.graph, &TARGETS[0], &case.inputs);
    for ((found, expected), &id) in found.iter().zip(&case.expected()).zip(case.graph.outputs()) {
        compare(found, expected, case.graph.shape(id), tolerance).unwrap_or_else(|e| panic!("{label}\n{e}"));
    }
}

#[test]
fn more_than_65535_workgroups_of_values() {
    let mut case = Case::new(1);
    let x = case.random_input([65_535 * 64 + 65]);
    case.last(Activation::Relu, vec![x]);
    check_large("activation", &case, Tolerance::Exact);
}

#[test]
fn more_than_65535_workgroups_of_rows() {
    let mut case = Case::new(1);
    let x = case.random_input([65_537, 3]);
    case.last(Softmax { log: true }, vec![x]);
    case.last(TopK { k: 2, suppressed: [TopK::NONE; 4], log_probs: false }, vec![x]);
    check_large("rows", &case, Tolerance::Close);
}

#[test]
fn more_than_65535_workgroups_of_pixels() {
    // One value per invocation, and several.
    for (shape, outputs) in [([1, 259, 257, 1], 3), ([1, 1100, 1101, 4], 4)] {
        let mut case = Case::new(1);
        let operands = vec![
            case.random_input(shape),
            case.random_weight([outputs, shape[3], 1, 1]),
            case.random_weight([outputs]),
        ];
        case.last(Conv2d::default(), operands);
        check_large(&format!("{shape:?}"), &case, Tolerance::Approximate);
    }
}

#[test]
fn more_than_65535_workgroups_of_blocks_of_rows() {
    let mut case = Case::new(1);
    let x = case.random_input([600_000, 5]);
    let operands = vec![x, case.random_weight([7, 5]), case.random_weight([7])];
    case.last(Linear::default(), operands);
    let states = [0; 2].map(|_| case.random_input([600_000, 3]));
    let weights = [case.random_weight([12, 8]), case.random_weight([12])];
    case.last(LstmCell, vec![states[0], states[1], weights[0], weights[1], x]);
    check_large("blocks of rows", &case, Tolerance::Approximate);
}

/// Every kernel with a separate grid dimension for rows or images, on devices that allow two workgroups per dimension.
#[test]
fn grids_are_spread_over_dimensions() {
    let conv = |x: [usize; 4], outputs: usize, window: usize, groups: usize| {
        let mut case = Case::new(3);
        let operands = vec![
            case.random_input(x),
            case.random_weight([outputs, x[3] / groups, window, window]),
            case.random_weight([outputs]),
        ];
        case.last(Conv2d { groups, padding: Padding::uniform(window / 2), ..Conv2d::default() }, operands);
        case
    };
    let mut cases = vec![
        conv([3, 5, 9, 3], 36, 3, 1),
        conv([3, 5, 9, 4], 40, 1, 1),
        conv([3, 5, 9, 36], 36, 3, 36),
        conv([3, 5, 9, 4], 6, 3, 2),
    ];
    for (rows, inputs, width) in [(21, 5, 35), (19, 8, 36)] {
        let mut case = Case::new(4);
        let x = case.random_input([rows, inputs]);
        let operands = vec![x, case.random_weight([width, inputs]), case.random_weight([width])];
        case.last(Linear::default(), operands);
        let states = [0; 2].map(|_| case.random_input([rows, width]));
        let weights = [case.random_weight([4 * width, width + inputs]), case.random_weight([4 * width])];
        case.last(LstmCell, vec![states[0], states[1], weights[0], weights[1], x]);
        let weights = [case.random_weight([3 * width, inputs]), case.random_weight([3 * width, width])];
        let biases = [0; 2].map(|_| case.random_weight([3 * width]));
        case.last(GruCell, vec![x, states[0], weights[0], weights[1], biases[0], biases[1]]);
        let grid = case.random_input([2, 6, width]);
        let (alpha, query) = (case.random_input([20, 6]), case.random_input([20, width]));
        case.last(AttentionContext, vec![grid, alpha, query]);
        cases.push(case);
    }
    for case in cases {
        for target in targets() {
            let target = Target { max_workgroups: 2, ..target };
            let plan = Plan::new(&case.graph, &target).unwrap();
            for step in plan.steps() {
                let [x, _, z] = step.dispatch.workgroups;
                assert!(x <= 2 && z == 1, "{}: [{x}, _, {z}]", step.dispatch.kernel.label());
            }
            let found = shared().run_guarded(&case.graph, &target, &case.inputs);
            for ((found, expected), &id) in found.iter().zip(&case.expected()).zip(case.graph.outputs()) {
                compare(found, expected, case.graph.shape(id), Tolerance::Approximate)
                    .unwrap_or_else(|e| panic!("{target:?}, {:?}\n{e}", case.kernels()));
            }
        }
    }
}

/// A graph with an input and a computed tensor as results.
#[test]
fn an_input_may_be_a_result() {
    let mut case = Case::new(4);
    let x = case.random_input([3, 50]);
    case.graph.output(x).unwrap();
    case.last(Activation::Relu, vec![x]);
    let found = shared().run(&case.graph, &TARGETS[0], &case.inputs);
    assert_eq!(found, case.expected());
}

/// Changes the limits of a device from the defaults.
type Change = fn(&mut wgpu::Limits);

/// The error of a graph on a device with changed limits.
fn refusal(graph: &Graph, change: Change) -> GpuError {
    let plan = Plan::new(graph, &TARGETS[0]).unwrap();
    let mut lower = wgpu::Limits::default();
    change(&mut lower);
    let gpu = Gpu::open_with(&AdapterChoice::default(), |_| lower).unwrap();
    // Nothing is compiled on the other device: limits are checked first.
    Executor::new(&gpu, plan).unwrap_err()
}

#[test]
fn limits_that_are_too_low_are_named() {
    let activation = |sizes: &[usize]| {
        let mut graph = Graph::new();
        for &size in sizes {
            let x = graph.input("x", [size], DType::F32).unwrap();
            let y = graph.activation("y", x, Activation::Relu).unwrap();
            graph.output(y).unwrap();
        }
        graph
    };
    let weight = {
        let mut case = Case::new(0);
        let operands =
            vec![case.random_input([1, 1024]), case.random_weight([512, 1024]), case.random_weight([512])];
        case.last(Linear::default(), operands);
        case.graph
    };
    let large = activation(&[(1 << 18) + 1]);
    // Each tensor is below the limit of a binding, but together they exceed that of a buffer.
    let many = activation(&[24 << 20, 24 << 20]);
    let table: [(&Graph, Change, &str, u64); 5] = [
        (
            &large,
            |l| l.max_storage_buffer_binding_size = 1 << 20,
            "maxStorageBufferBindingSize",
            (1 << 20) + 4,
        ),
        (&many, |_| (), "maxBufferSize", 256 << 20),
        (&weight, |l| l.max_storage_buffer_binding_size = 1 << 20, "maxStorageBufferBindingSize", 2 << 20),
        (&weight, |l| l.max_storage_buffers_per_shader_stage = 3, "maxStorageBuffersPerShaderStage", 4),
        (&weight, |l| l.max_compute_workgroups_per_dimension = 10, "maxComputeWorkgroupsPerDimension", 16),
    ];
    for (graph, change, name, least) in table {
        let error = refusal(graph, change);
        let GpuError::LimitTooLow { limit, need, have, advice } = &error else { panic!("{name}: {error}") };
        assert_eq!(*limit, name);
        assert!(need > have && *need >= least && !advice.is_empty(), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

/// The number of images in the largest mixture.
const IMAGES: usize = 3;

/// A graph of all operations with sums, for some of [`IMAGES`] images, with several rows per image.
fn mixture(images: Range<usize>, beams: usize) -> Case {
    let mut case = Case::new(5);
    let batch = images.len();
    // Values for all images, from which some are selected.
    let input = |case: &mut Case, rows: usize, shape: &[usize]| {
        let len = rows * shape.iter().product::<usize>();
        let values = case.random.values(IMAGES * len);
        let shape: Vec<usize> = [&[batch * rows], shape].concat();
        case.input(shape, values[images.start * len..images.end * len].to_vec())
    };
    let conv = Conv2d { padding: Padding::uniform(1), ..Conv2d::default() };
    let x = input(&mut case, 1, &[6, 7, 12]);
    let operands = vec![x, case.random_weight([20, 12, 3, 3]), case.random_weight([20])];
    case.last(conv, operands);

    let query = input(&mut case, beams, &[17]);
    let grid = input(&mut case, 1, &[70, 8]);
    let operands = vec![grid, case.random_weight([8, 8]), case.random_weight([8])];
    let keys = case.node(Linear::default(), operands)[0];
    let operands = vec![keys, query, case.random_weight([8]), case.random_weight([1])];
    let alpha = case.node(AttentionWeights, operands)[0];
    let context = case.node(AttentionContext, vec![grid, alpha, query])[0];
    let states = [input(&mut case, beams, &[12]), input(&mut case, beams, &[12])];
    let operands =
        vec![states[0], states[1], case.random_weight([48, 20]), case.random_weight([48]), context];
    let states = case.node(LstmCell, operands);
    case.graph.output(states[1]).unwrap();
    for outputs in [201, 200] {
        let operands = vec![states[0], case.random_weight([outputs, 12]), case.random_weight([outputs])];
        let logits = case.node(Linear::default(), operands)[0];
        case.last(Softmax { log: true }, vec![logits]);
    }
    case
}

#[test]
fn results_repeat_bit_for_bit() {
    let case = mixture(0..2, 2);
    for target in &targets() {
        let mut shared = shared();
        let bits = |outputs: &[Data]| outputs.iter().map(|o| o.bytes().to_vec()).collect::<Vec<_>>();
        let executor = shared.executor(&case.graph, target);
        let first = bits(&executor.run(&case.inputs).unwrap().outputs);
        assert_eq!(first, bits(&executor.run(&case.inputs).unwrap().outputs), "the same executor");
        assert_eq!(first, bits(&shared.run(&case.graph, target, &case.inputs)), "another executor");
    }
}

/// Results do not depend on the rest of the batch: each image alone gives the same bits.
#[test]
fn results_of_an_image_do_not_depend_on_its_batch() {
    for beams in [1, 2, 5] {
        let together = mixture(0..IMAGES, beams);
        let alone: Vec<Case> = (0..IMAGES).map(|image| mixture(image..image + 1, beams)).collect();
        for target in &targets() {
            let found = shared().run(&together.graph, target, &together.inputs);
            let each: Vec<_> =
                alone.iter().map(|case| shared().run(&case.graph, target, &case.inputs)).collect();
            for (index, all) in found.iter().enumerate() {
                let one_by_one = each.iter().flat_map(|outputs| outputs[index].f32().to_vec()).collect();
                let shape = together.graph.shape(together.graph.outputs()[index]);
                compare(all, &Data::F32(one_by_one), shape, Tolerance::Exact)
                    .unwrap_or_else(|e| panic!("{beams} beams, result {index}, {target:?}\n{e}"));
            }
        }
    }
}

#[test]
fn wrong_inputs_are_refused_and_the_executor_stays_usable() {
    let case = mixture(0..1, 2);
    let executor = shared().executor(&case.graph, &TARGETS[0]);
    let mut wrong = case.inputs.clone();
    wrong[0] = Data::F32(vec![0.0; 3]);
    assert!(matches!(executor.run(&wrong), Err(GpuError::InvalidInput(_))));
    assert!(matches!(executor.run(&[]), Err(GpuError::InvalidInput(_))));
    let outputs = executor.run(&case.inputs).unwrap().outputs;
    for ((found, expected), &id) in outputs.iter().zip(&case.expected()).zip(case.graph.outputs()) {
        compare(found, expected, case.graph.shape(id), Tolerance::Approximate).unwrap();
    }
}

#[test]
fn threads_that_share_an_executor_get_their_own_results() {
    let mut case = Case::new(1);
    let x = case.random_input([64, 1024]);
    case.last(Softmax { log: true }, vec![x]);
    let executor = shared().executor(&case.graph, &TARGETS[0]);
    let inputs = [-1.0, 2.0].map(|scale: f32| {
        let values = (0..64 * 1024).map(|index| scale * (index % 13) as f32).collect();
        vec![Data::F32(values)]
    });
    let expected = inputs.each_ref().map(|inputs| executor.run(inputs).unwrap().outputs);
    assert_ne!(expected[0], expected[1]);
    std::thread::scope(|scope| {
        for (inputs, expected) in inputs.iter().zip(&expected) {
            let executor = &executor;
            scope.spawn(move || {
                for _ in 0..50 {
                    assert_eq!(&executor.run(inputs).unwrap().outputs, expected);
                }
            });
        }
    });
}

/// Phases divide a run into submissions. The results stay the same, and each phase is timed.
#[test]
fn phases_are_timed_and_do_not_change_results() {
    let mut graph = Graph::new();
    let x = graph.input("x", [5], DType::F32).unwrap();
    graph.phase("first");
    let y = graph.activation("y", x, Activation::Relu).unwrap();
    graph.phase("second");
    let z = graph.add("z", x, y).unwrap();
    graph.output(z).unwrap();
    let executor = shared().executor(&graph, &TARGETS[0]);
    let names: Vec<&str> = executor.plan().phases().iter().map(|p| p.0.as_str()).collect();
    assert_eq!(names, ["first", "second"]);
    let run = executor.run(&[Data::F32(vec![-1.0, 0.0, 1.0, 2.0, -3.0])]).unwrap();
    assert_eq!(run.outputs[0].f32(), [-1.0, 0.0, 2.0, 4.0, -3.0]);
    assert_eq!(run.phases.len(), 2);
}
