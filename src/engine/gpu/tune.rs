//! Times the kernels that could run each shape of a graph, and tells which one is the fastest.

use super::{BoundsChecks, Clock, Executor, Gpu, GpuError};
use crate::engine::EngineError;
use crate::engine::graph::{DType, Data, Graph};
use crate::engine::plan::{KernelCandidates, Plan, TuningTable};
use crate::engine::random_value;
use crate::engine::reference;
use std::time::Duration;

/// How a kernel did.
#[derive(Clone, Debug, PartialEq)]
pub enum Trial {
    /// The least time of a few runs.
    Took(Duration),
    /// It was set aside: why.
    Failed(String),
}

/// The kernels of one shape.
#[derive(Clone, Debug)]
pub struct Tuned {
    /// The shape's key in [`TuningTable`].
    pub key: String,
    /// The fastest kernel; the usual one if none could be timed.
    pub best: String,
    /// All kernels, the usual one first.
    pub trials: Vec<(String, Trial)>,
}

impl Tuned {
    /// How many times as fast as the usual kernel the best one is.
    pub fn gain(&self) -> f64 {
        let time = |name: &str| {
            self.trials.iter().find(|(other, _)| other == name).and_then(|(_, trial)| match trial {
                Trial::Took(time) => Some(time.as_secs_f64()),
                Trial::Failed(_) => None,
            })
        };
        let usual = self.trials.first().and_then(|(name, _)| time(name));
        match (usual, time(&self.best)) {
            (Some(usual), Some(best)) if best > 0.0 => usual / best,
            _ => 1.0,
        }
    }
}

/// Runs of each kernel that is not far behind after its first.
const RUNS: usize = 7;
/// How many times as long as the best a kernel may take at first and stay in the race.
const FAR: f64 = 1.5;
/// The greatest difference of a result from the reference's, by the largest value of that.
const TOLERANCE: f32 = 1e-3;
/// What another kernel has to gain over the usual one, so that chance does not choose.
const WORTH: f64 = 0.97;

/// Times the kernels of each shape of a graph, each with the node's own weights; `told` hears of each shape as it is done.
///
/// A kernel that the driver refuses, or whose result differs from that of the reference on the CPU, is set aside.
///
/// # Errors
/// The device was lost.
pub fn tune(gpu: &Gpu, graph: &Graph, mut told: impl FnMut(&Tuned)) -> Result<TuningTable, EngineError> {
    let mut choices = TuningTable::default();
    // Compiled here, so that kernels that lose take no memory later.
    let gpu = &gpu.with_checks(BoundsChecks::default());
    for candidates in Plan::candidates(graph, &gpu.target()) {
        let race = Race { gpu, graph: graph.alone(&graph.nodes()[candidates.node])?, candidates };
        let tuned = race.run()?;
        told(&tuned);
        choices.insert(tuned.key, tuned.best);
    }
    Ok(choices)
}

struct Race<'a> {
    gpu: &'a Gpu,
    graph: Graph,
    candidates: KernelCandidates,
}

impl Race<'_> {
    fn run(self) -> Result<Tuned, EngineError> {
        let KernelCandidates { key, names, .. } = &self.candidates;
        let inputs = self.inputs();
        let expected = reference::run(&self.graph, &inputs)?;
        let mut best: Option<(f64, &String)> = None;
        let mut trials = Vec::with_capacity(names.len());
        for name in names {
            let limit = best.map_or(f64::INFINITY, |(time, _)| time);
            let trial = match self.time(name, &inputs, &expected, limit) {
                Ok(trial) => trial,
                // Nothing can be timed on a device that is gone.
                Err(lost @ EngineError::Gpu(GpuError::DeviceLost(_))) => return Err(lost),
                Err(error) => Trial::Failed(error.to_string()),
            };
            if let Trial::Took(time) = trial {
                let time = time.as_secs_f64();
                if best.is_none_or(|(least, _)| time < least * if trials.is_empty() { 1.0 } else { WORTH }) {
                    best = Some((time, name));
                }
            }
            trials.push((name.clone(), trial));
        }
        let best = best.map_or(&names[0], |(_, name)| name).clone();
        Ok(Tuned { key: key.clone(), best, trials })
    }

    fn inputs(&self) -> Vec<Data> {
        let values = |(seed, &id): (u64, _)| {
            let tensor = self.graph.get(id);
            let count = tensor.shape.elements();
            match tensor.dtype {
                DType::F32 => Data::F32((0..count).map(|i| random_value(seed << 40, i)).collect()),
                DType::U32 => Data::U32(vec![0; count]),
                DType::U8 => Data::U8(vec![0; count]),
            }
        };
        (1..).zip(self.graph.inputs()).map(values).collect()
    }

    /// Times a kernel whose result is that of the reference.
    fn time(&self, name: &str, inputs: &[Data], expected: &[Data], limit: f64) -> Result<Trial, EngineError> {
        let mut choices = TuningTable::default();
        choices.insert(self.candidates.key.clone(), name.to_owned());
        let plan = Plan::tuned(&self.graph, &self.gpu.target(), &choices)?;
        let executor = Executor::new(self.gpu, plan)?;
        let found = executor.run(inputs)?.outputs;
        if !is_close(&found, expected) {
            return Ok(Trial::Failed("its result differs from the reference's".to_owned()));
        }
        let clock = Clock::of(&self.gpu.device);
        let mut least = executor.time(inputs, clock)?;
        for _ in 1..RUNS {
            if least.as_secs_f64() > FAR * limit {
                break;
            }
            least = least.min(executor.time(inputs, clock)?);
        }
        Ok(Trial::Took(least))
    }
}

/// Whether results differ by rounding only; false for NaN.
fn is_close(found: &[Data], expected: &[Data]) -> bool {
    found.iter().zip(expected).all(|(found, expected)| found.difference(expected) <= TOLERANCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gains_are_over_the_usual_kernel() {
        let ms = |ms| Trial::Took(Duration::from_millis(ms));
        let tuned = |best: &str, usual| Tuned {
            key: "conv2d".to_owned(),
            best: best.to_owned(),
            trials: vec![("usual".to_owned(), usual), ("other".to_owned(), ms(2))],
        };
        assert_eq!(tuned("other", ms(6)).gain(), 3.0);
        assert_eq!(tuned("usual", ms(6)).gain(), 1.0);
        assert_eq!(tuned("other", Trial::Failed(String::new())).gain(), 1.0);
    }

    #[test]
    fn close_results_have_no_nan() {
        let data = |value| [Data::F32(vec![value, 100.0])];
        assert!(is_close(&data(1.05), &data(1.0)));
        assert!(!is_close(&data(1.5), &data(1.0)));
        assert!(!is_close(&data(f32::NAN), &data(1.0)));
    }
}
