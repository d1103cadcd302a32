//! The device of a test process. It is opened once, and every kernel is compiled once.

use shadetell::engine::gpu::{AdapterChoice, Executor, Gpu};
use shadetell::engine::graph::{Data, Graph};
use shadetell::engine::plan::{AdapterClass, Plan, Target};
use shadetell::engine::run_guarded;
use shadetell::wgpu;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// The targets of plans: both families of kernels, and grids that have to be split over two dimensions.
pub(crate) const TARGETS: [Target; 3] = [
    Target::baseline(AdapterClass::Software),
    Target::baseline(AdapterClass::Hardware),
    Target { max_workgroups: 2, ..Target::baseline(AdapterClass::Software) },
];

/// Kernels that every device can run, kernels that this device would use, and kernels of a GPU with the same features.
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

/// A device with its compiled kernels.
pub(crate) struct Shared {
    pub(crate) gpu: Gpu,
}

/// The device of this process, for one test at a time.
///
/// It has the default limits of WebGPU, and subgroup operations if its adapter has them. Without an adapter, a test fails
/// instead of passing without having run.
pub(crate) fn shared() -> MutexGuard<'static, Shared> {
    static SHARED: OnceLock<Mutex<Shared>> = OnceLock::new();
    let open = || {
        let gpu = Gpu::open_with(&AdapterChoice::default(), |_| wgpu::Limits::default()).unwrap_or_else(|error| {
            panic!("{error}\nThese tests need an adapter; a software one will do: `cargo xtask test` fetches it")
        });
        eprintln!("adapter: {} ({:?}, {})", gpu.info.name, gpu.info.backend, gpu.info.driver_info);
        Mutex::new(Shared { gpu })
    };
    // A failed test leaves the device usable.
    SHARED.get_or_init(open).lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// A graph made ready with the kernels of a target.
    pub(crate) fn executor(&mut self, graph: &Graph, target: &Target) -> Executor {
        let plan = Plan::new(graph, target).expect("every operation has a kernel");
        self.prepared(plan)
    }

    fn prepared(&mut self, plan: Plan) -> Executor {
        Executor::new(&self.gpu, plan).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The results of one run.
    pub(crate) fn run(&mut self, graph: &Graph, target: &Target, inputs: &[Data]) -> Vec<Data> {
        let executor = self.executor(graph, target);
        executor.run(inputs).unwrap_or_else(|error| panic!("{error}")).outputs
    }
    /// The results of one run in which every tensor is followed by a guard: a kernel that reads beyond a tensor gets NaN, and a
    /// kernel that writes there fails the test. Without guards drivers would hide such accesses beyond the end of a binding.
    pub(crate) fn run_guarded(&mut self, graph: &Graph, target: &Target, inputs: &[Data]) -> Vec<Data> {
        let plan = Plan::new(graph, target).expect("every operation has a kernel");
        self.run_plan_guarded(plan, inputs)
    }

    pub(crate) fn run_plan_guarded(&mut self, plan: Plan, inputs: &[Data]) -> Vec<Data> {
        let found = run_guarded(&self.gpu, plan, inputs).unwrap_or_else(|error| panic!("{error}"));
        found.into_iter().map(|data| data.expect("no kernel writes behind its result")).collect()
    }
}
