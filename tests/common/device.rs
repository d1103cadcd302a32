//! The one device of a test process: opened once, every kernel compiled once.

use shadetell::engine::gpu::{AdapterChoice, Executor, Gpu, Pipelines};
use shadetell::engine::graph::{Data, Graph, TensorId};
use shadetell::engine::plan::{ALIGNMENT, AdapterClass, Plan, Port, Target};
use shadetell::wgpu;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// What plans are made for: both families of kernels, and grids that have to be split over two dimensions.
pub(crate) const TARGETS: [Target; 3] = [
    Target::baseline(AdapterClass::Software),
    Target::baseline(AdapterClass::Hardware),
    Target { max_workgroups: 2, ..Target::baseline(AdapterClass::Software) },
];

/// What every device can run, what suits this one best, and what a GPU with its features would run.
pub(crate) fn targets() -> Vec<Target> {
    let own = shared().gpu.target();
    let like_a_gpu = Target { class: AdapterClass::Hardware, ..own };
    let mut targets = TARGETS.to_vec();
    for target in [own, like_a_gpu] {
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    targets
}

/// A device with what has been compiled on it.
pub(crate) struct Shared {
    pub(crate) gpu: Gpu,
    pub(crate) pipelines: Pipelines,
}

/// The device of this process, for one test at a time.
///
/// It has the limits that every WebGPU device has, and no more; and subgroup operations, if its adapter has them. A test without an adapter fails: it would have
/// shown nothing.
pub(crate) fn shared() -> MutexGuard<'static, Shared> {
    static SHARED: OnceLock<Mutex<Shared>> = OnceLock::new();
    let open = || {
        let gpu = Gpu::open_with(&AdapterChoice::default(), |_| wgpu::Limits::default()).unwrap_or_else(|error| {
            panic!("{error}\nThese tests need an adapter; a software one will do: `cargo xtask test` fetches it")
        });
        eprintln!("adapter: {} ({:?}, {})", gpu.info.name, gpu.info.backend, gpu.info.driver_info);
        Mutex::new(Shared { gpu, pipelines: Pipelines::default() })
    };
    // A test that failed has not harmed the device.
    SHARED.get_or_init(open).lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// A graph made ready with the kernels of a target.
    pub(crate) fn executor(&mut self, graph: &Graph, target: &Target) -> Executor {
        let plan = Plan::new(graph, target).expect("every operation has a kernel");
        self.prepared(graph, plan)
    }

    fn prepared(&mut self, graph: &Graph, plan: Plan) -> Executor {
        Executor::new(&self.gpu.device, &self.gpu.queue, &mut self.pipelines, graph, plan)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// The results of one run.
    pub(crate) fn run(&mut self, graph: &Graph, target: &Target, inputs: &[Data]) -> Vec<Data> {
        let executor = self.executor(graph, target);
        executor.run(inputs).unwrap_or_else(|error| panic!("{error}")).outputs
    }
    /// The results of one run in which every tensor has a guard behind it: what a kernel reads there is NaN, and a
    /// kernel that writes there fails the test. Drivers hide both where nothing belongs to the binding any more.
    pub(crate) fn run_guarded(&mut self, graph: &Graph, target: &Target, inputs: &[Data]) -> Vec<Data> {
        let plan = Plan::new(graph, target).expect("every operation has a kernel");
        self.run_plan_guarded(graph, plan, inputs)
    }

    pub(crate) fn run_plan_guarded(&mut self, graph: &Graph, mut plan: Plan, inputs: &[Data]) -> Vec<Data> {
        add_guards(&mut plan, graph);
        let inputs: Vec<Data> =
            plan.inputs.iter().zip(inputs).map(|(port, data)| with_guard(port, data)).collect();
        let found = self.prepared(graph, plan).run(&inputs).unwrap_or_else(|error| panic!("{error}")).outputs;
        let ids = graph.outputs().iter();
        found.iter().zip(ids).map(|(data, &id)| without_guard(data, graph.shape(id).elements())).collect()
    }
}

/// Bytes behind each tensor that no kernel may touch.
const GUARD: usize = 1024;

/// Gives every tensor a place of its own with a guard that belongs to its binding.
fn add_guards(plan: &mut Plan, graph: &Graph) {
    let mut end = ALIGNMENT;
    let mut place = |plan: &mut Plan, id: TensorId| {
        let bytes = graph.get(id).bytes() + GUARD;
        plan.ranges.insert(id, end..end + bytes);
        end = (end + bytes).next_multiple_of(ALIGNMENT);
        end
    };
    for &id in graph.outputs() {
        plan.output_range = ALIGNMENT..place(plan, id);
    }
    let others: Vec<TensorId> =
        plan.ranges.keys().copied().filter(|id| !graph.outputs().contains(id)).collect();
    for id in others {
        plan.arena_bytes = place(plan, id);
    }
    for range in &mut plan.scratch {
        *range = plan.arena_bytes..plan.arena_bytes + range.len() + GUARD;
        plan.arena_bytes = range.end.next_multiple_of(ALIGNMENT);
    }
    let ports = plan.inputs.iter_mut().chain(&mut plan.outputs);
    for (port, id) in ports.zip(graph.inputs().iter().chain(graph.outputs())) {
        port.range = plan.ranges[id].clone();
        port.shape = [port.range.len() / port.dtype.size()].into();
    }
}

/// An input with its guard: NaN as a float, and an id that no table has.
fn with_guard(port: &Port, data: &Data) -> Data {
    let len = port.shape.elements();
    let mut guarded = data.clone();
    match &mut guarded {
        Data::F32(values) => values.resize(len, f32::NAN),
        Data::U32(values) => values.resize(len, u32::MAX),
        Data::U8(values) => values.resize(len, u8::MAX),
    }
    guarded
}

/// A result without its guard, which has to be as it was.
fn without_guard(data: &Data, len: usize) -> Data {
    let guard = &data.bytes()[4 * len..];
    assert!(guard.iter().all(|&byte| byte == 0), "a kernel wrote behind its result");
    match data {
        Data::F32(values) => Data::F32(values[..len].to_vec()),
        Data::U32(values) => Data::U32(values[..len].to_vec()),
        Data::U8(_) => panic!("no kernel writes bytes"),
    }
}
