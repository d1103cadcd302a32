//! Common parts of the test suites: one device, seeded values, small graphs, and the comparison of results.
#![allow(dead_code, reason = "each suite uses a part")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

mod compare;
mod device;
mod random;

pub(crate) use compare::{Tolerance, compare};
use device::Shared;
pub(crate) use device::{TARGETS, shared, targets};
pub(crate) use random::Random;

use shadetell::engine::graph::{DType, Data, Graph, Shape, TensorId};
use shadetell::engine::ops::Op;
use shadetell::engine::plan::{Plan, TuningTable};
use shadetell::engine::{cpu, reference};
use std::collections::HashSet;
use std::num::NonZeroUsize;

/// A small graph with values for its inputs.
pub(crate) struct Case {
    pub(crate) graph: Graph,
    pub(crate) inputs: Vec<Data>,
    /// The source of random values.
    pub(crate) random: Random,
}

impl Case {
    pub(crate) fn new(seed: u64) -> Case {
        Case { graph: Graph::new(), inputs: Vec::new(), random: Random::new(seed) }
    }

    /// An input of these values.
    pub(crate) fn input(&mut self, shape: impl Into<Shape>, values: Vec<f32>) -> TensorId {
        self.inputs.push(Data::F32(values));
        self.graph.input("x", shape, DType::F32).unwrap()
    }

    /// An input of ids.
    pub(crate) fn ids(&mut self, shape: impl Into<Shape>, values: Vec<u32>) -> TensorId {
        self.inputs.push(Data::U32(values));
        self.graph.input("ids", shape, DType::U32).unwrap()
    }

    /// An input of bytes.
    pub(crate) fn bytes(&mut self, shape: impl Into<Shape>, values: Vec<u8>) -> TensorId {
        self.inputs.push(Data::U8(values));
        self.graph.input("bytes", shape, DType::U8).unwrap()
    }

    /// An input of values from -1 to 1.
    pub(crate) fn random_input(&mut self, shape: impl Into<Shape>) -> TensorId {
        let shape = shape.into();
        let values = self.random.values(shape.elements());
        self.input(shape, values)
    }

    /// A constant of these values.
    pub(crate) fn weight(&mut self, shape: impl Into<Shape>, values: Vec<f32>) -> TensorId {
        self.graph.constant("w", shape, values).expect("the test gives a value for each element")
    }

    /// A constant of values from -1 to 1 that 16-bit floats hold exactly.
    pub(crate) fn half_weight(&mut self, shape: impl Into<Shape>) -> TensorId {
        let shape = shape.into();
        let values =
            self.random.values(shape.elements()).iter().map(|v| (v * 1024.0).round() / 1024.0).collect();
        self.weight(shape, values)
    }

    /// A constant of values from -1 to 1.
    pub(crate) fn random_weight(&mut self, shape: impl Into<Shape>) -> TensorId {
        let shape = shape.into();
        let values = self.random.values(shape.elements());
        self.weight(shape, values)
    }

    /// Appends a node and returns its results, without making them results of the graph.
    #[track_caller]
    pub(crate) fn node(&mut self, op: impl Into<Op>, inputs: Vec<TensorId>) -> Vec<TensorId> {
        self.graph.add_node("node", op, inputs).expect("the test's operands fit")
    }

    /// Appends a node whose results are results of the graph.
    #[track_caller]
    pub(crate) fn last(&mut self, op: impl Into<Op>, inputs: Vec<TensorId>) {
        for id in self.node(op, inputs) {
            self.graph.output(id).unwrap();
        }
    }

    /// The labels of the kernels that each target runs.
    pub(crate) fn kernels(&self) -> Vec<String> {
        let plans = targets()
            .into_iter()
            .map(|target| Plan::new(&self.graph, &target).expect("the graph has a plan"));
        let labels = |plan: Plan| -> Vec<String> {
            plan.steps().iter().map(|step| step.dispatch.kernel.label()).collect()
        };
        plans.flat_map(labels).collect()
    }

    /// The results of the reference kernels.
    pub(crate) fn expected(&self) -> Vec<Data> {
        reference::run(&self.graph, &self.inputs).expect("the references run")
    }

    /// Runs the graph on the CPU, and on the GPU with the kernels of every target, with and without guards behind its tensors, and
    /// compares all results with those of the reference kernels.
    #[track_caller]
    pub(crate) fn check(&self, label: &str, tolerance: Tolerance) {
        let expected = self.expected();
        let mut complaints = Vec::new();
        let on_cpu =
            cpu::Executor::new(&self.graph, NonZeroUsize::new(3)).run(&self.inputs).expect("the CPU runs");
        for (index, (found, expected)) in on_cpu.outputs.iter().zip(&expected).enumerate() {
            let shape = self.graph.shape(self.graph.outputs()[index]);
            if let Err(complaint) = compare(found, expected, shape, tolerance) {
                complaints.push(format!("{label}, result {index}, CPU:\n{complaint}"));
            }
        }
        for target in targets() {
            // Once without guards, as in normal use.
            let run = if target == TARGETS[2] { Shared::run } else { Shared::run_guarded };
            let found = run(&mut shared(), &self.graph, &target, &self.inputs);
            for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let shape = self.graph.shape(self.graph.outputs()[index]);
                if let Err(complaint) = compare(found, expected, shape, tolerance) {
                    complaints.push(format!("{label}, result {index}, {target:?}:\n{complaint}"));
                }
            }
        }
        assert!(complaints.is_empty(), "device and reference differ\n{}", complaints.join("\n"));
    }

    /// The same with every candidate kernel on every target.
    #[track_caller]
    pub(crate) fn check_candidates(&self, label: &str, tolerance: Tolerance) {
        let expected = self.expected();
        let mut complaints = Vec::new();
        let mut done: HashSet<Vec<String>> = HashSet::new();
        for target in targets() {
            for candidates in Plan::candidates(&self.graph, &target) {
                for name in candidates.names {
                    let mut choices = TuningTable::default();
                    choices.insert(candidates.key.clone(), name.clone());
                    let plan = Plan::tuned(&self.graph, &target, &choices).expect("the graph has a plan");
                    // Targets share candidates.
                    let steps = plan.steps().iter().map(|step| format!("{:?}", step.dispatch));
                    if !done.insert(steps.collect()) {
                        continue;
                    }
                    let found = shared().run_plan_guarded(plan, &self.inputs);
                    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
                        let shape = self.graph.shape(self.graph.outputs()[index]);
                        if let Err(complaint) = compare(found, expected, shape, tolerance) {
                            complaints.push(format!("{label}, {name}, result {index}:\n{complaint}"));
                        }
                    }
                }
            }
        }
        assert!(!done.is_empty(), "{label} has no candidates");
        assert!(complaints.is_empty(), "device and reference differ\n{}", complaints.join("\n"));
    }
}
