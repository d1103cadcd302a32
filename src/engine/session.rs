//! A graph made ready to run: on a GPU or on the CPU, with inputs and results by name.

use super::EngineError;
use super::cpu;
use super::gpu::{ArenaGuard, Executor, Gpu, GpuError};
use super::graph::{Data, Graph, GraphError};
use std::num::NonZeroUsize;

/// A graph on a device, ready to run any number of times. See the example in [`engine`](crate::engine).
///
/// Batches are the first size of the graph's own shapes: build the graph for as many images as are to run at a time.
#[derive(Debug)]
pub struct Session {
    backend: Backend,
    inputs: Vec<String>,
    outputs: Vec<String>,
}

#[derive(Debug)]
enum Backend {
    Gpu(Box<Executor>),
    Cpu(cpu::Executor),
}

/// The results of a run by their names.
#[derive(Clone, Debug, PartialEq)]
pub struct Results(Vec<(String, Data)>);

impl Results {
    /// The result of this name.
    pub fn get(&self, name: &str) -> Option<&Data> {
        self.iter().find(|(known, _)| *known == name).map(|(_, data)| data)
    }

    /// All results with their names, in the order in which the graph declares them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Data)> {
        self.0.iter().map(|(name, data)| (name.as_str(), data))
    }
}

/// The value of an input that is recorded into a host's encoder.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// Values in main memory.
    Data(Data),
    /// Values in a buffer of the host's, which has the usage `COPY_SRC`.
    Buffer {
        /// The buffer.
        buffer: &'a wgpu::Buffer,
        /// Bytes before the first value, a multiple of four.
        offset: u64,
    },
}

impl<T: Into<Data>> From<T> for Input<'_> {
    fn from(values: T) -> Self {
        Input::Data(values.into())
    }
}

/// A recorded run, whose results stay on the device. While this lives, the session runs nothing else.
#[derive(Debug)]
pub struct Recording<'a> {
    session: &'a Session,
    executor: &'a Executor,
    _guard: ArenaGuard,
}

impl Recording<'_> {
    /// The memory of a result, for bind groups and copies in the same encoder or later ones. `None` for an unknown name.
    pub fn result(&self, name: &str) -> Option<wgpu::BufferBinding<'_>> {
        let index = self.session.outputs.iter().position(|known| known == name)?;
        Some(self.executor.output_binding(index))
    }
}

impl Session {
    /// Plans a graph for a GPU, uploads its weights and compiles its kernels.
    ///
    /// # Errors
    /// Two inputs or two results have one name, or the graph does not fit the device.
    pub fn new(gpu: &Gpu, graph: &Graph) -> Result<Session, EngineError> {
        let names = names(graph)?;
        let executor = Executor::new(gpu, gpu.plan(graph)?)?;
        Ok(Session::of(Backend::Gpu(Box::new(executor)), names))
    }

    /// Plans a graph for the CPU, where `threads` threads work for it, or one for each processor.
    ///
    /// # Errors
    /// Two inputs or two results have one name.
    pub fn on_cpu(graph: &Graph, threads: Option<NonZeroUsize>) -> Result<Session, EngineError> {
        let names = names(graph)?;
        Ok(Session::of(Backend::Cpu(cpu::Executor::new(graph, threads)), names))
    }

    fn of(backend: Backend, [inputs, outputs]: [Vec<String>; 2]) -> Session {
        Session { backend, inputs, outputs }
    }

    /// Runs the graph once and waits for the results.
    ///
    /// # Errors
    /// An input is missing, unknown, given twice, or of another type or size than declared; or the device was lost.
    pub fn run(&self, inputs: &[(&str, Data)]) -> Result<Results, EngineError> {
        let inputs: Vec<Data> = self.in_order(inputs)?.into_iter().cloned().collect();
        let outputs = match &self.backend {
            Backend::Gpu(executor) => executor.run(&inputs)?.outputs,
            Backend::Cpu(executor) => executor.run(&inputs)?.outputs,
        };
        Ok(Results(self.outputs.iter().cloned().zip(outputs).collect()))
    }

    /// Records a run into an encoder of the device that the session was made on, and leaves the results there. Nothing is submitted
    /// and nothing waits.
    ///
    /// # Errors
    /// As [`Session::run`]; or the session is on the CPU, or another run or recording is not finished. The encoder can be used on.
    pub fn record<'a>(
        &'a self,
        encoder: &mut wgpu::CommandEncoder,
        inputs: &[(&str, Input<'_>)],
    ) -> Result<Recording<'a>, EngineError> {
        let Backend::Gpu(executor) = &self.backend else {
            return Err(GpuError::InvalidInput(
                "expected a session on a GPU, found one on the CPU".to_owned(),
            )
            .into());
        };
        let inputs = self.in_order(inputs)?;
        let guard = executor.try_lock_arena()?;
        // Everything that can fail comes before the first command.
        let mut sources = Vec::with_capacity(inputs.len());
        for (index, (input, port)) in inputs.into_iter().zip(executor.plan().inputs()).enumerate() {
            let (buffer, offset) = match input {
                Input::Buffer { buffer, offset } => ((*buffer).clone(), *offset),
                Input::Data(data) => {
                    data.check(&port.name, port.dtype, &port.shape)?;
                    (executor.staged(std::slice::from_ref(data))?, 0)
                }
            };
            executor.check_input_source(index, &buffer, offset)?;
            sources.push((buffer, offset));
        }
        for (index, (buffer, offset)) in sources.iter().enumerate() {
            executor.record_input_from(encoder, index, buffer, *offset);
        }
        executor.record_steps(encoder, 0..executor.plan().steps().len(), None);
        Ok(Recording { session: self, executor, _guard: guard })
    }

    /// The inputs in the order of the graph.
    fn in_order<'a, T>(&self, given: &'a [(&str, T)]) -> Result<Vec<&'a T>, GraphError> {
        let error = |name: &str, message: String| GraphError { node: name.to_owned(), message };
        for (index, (name, _)) in given.iter().enumerate() {
            if !self.inputs.iter().any(|known| known == name) {
                let message = format!("expected the inputs {}, found this one", self.inputs.join(", "));
                return Err(error(name, message));
            }
            if given[..index].iter().any(|(other, _)| other == name) {
                return Err(error(name, "expected one value for this input, found two".to_owned()));
            }
        }
        let find = |name: &String| {
            let found = given.iter().find(|(known, _)| known == name).map(|(_, data)| data);
            found.ok_or_else(|| error(name, "expected a value for this input, found none".to_owned()))
        };
        self.inputs.iter().map(find).collect()
    }

    /// The executor on the GPU, for plans, memory and timing; `None` on the CPU.
    pub fn executor(&self) -> Option<&Executor> {
        match &self.backend {
            Backend::Gpu(executor) => Some(executor),
            Backend::Cpu(_) => None,
        }
    }
}

/// The names of inputs and results, which have to differ.
fn names(graph: &Graph) -> Result<[Vec<String>; 2], GraphError> {
    let inputs = graph.inputs().iter().map(|&id| graph.get(id).name.clone()).collect::<Vec<_>>();
    let outputs = graph.output_names().to_vec();
    for (names, kind) in [(&inputs, "inputs"), (&outputs, "results")] {
        for (index, name) in names.iter().enumerate() {
            if names[..index].contains(name) {
                let message = format!("expected {kind} of different names, found two of this one");
                return Err(GraphError { node: name.clone(), message });
            }
        }
    }
    Ok([inputs, outputs])
}
