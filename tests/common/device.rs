//! The one device of a test process: opened once, every kernel compiled once.

use shadetell::gpu::{AdapterChoice, Executor, Gpu, Pipelines};
use shadetell::graph::plan::Plan;
use shadetell::graph::{Data, Graph};
use shadetell::ops::{AdapterClass, Target};
use shadetell::wgpu;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// What plans are made for: both families of kernels, and grids that have to be split over two dimensions.
pub(crate) const TARGETS: [Target; 3] = [
    Target::baseline(AdapterClass::Software),
    Target::baseline(AdapterClass::Hardware),
    Target { class: AdapterClass::Software, max_workgroups: 2 },
];

/// A device with what has been compiled on it.
pub(crate) struct Shared {
    pub(crate) gpu: Gpu,
    pub(crate) pipelines: Pipelines,
}

/// The device of this process, for one test at a time.
///
/// It has the limits that every WebGPU device has, and no more. A test without an adapter fails: it would have
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
        Executor::new(&self.gpu.device, &self.gpu.queue, &mut self.pipelines, graph, plan)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// The results of one run.
    pub(crate) fn run(&mut self, graph: &Graph, target: &Target, inputs: &[Data]) -> Vec<Data> {
        let executor = self.executor(graph, target);
        executor.run(inputs).unwrap_or_else(|error| panic!("{error}")).outputs
    }
}
