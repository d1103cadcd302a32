//! Decides how much of a run fits into a frame.

use crate::engine::plan::Plan;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The work on a caption that a frame may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Budget {
    /// All at once.
    #[default]
    Whole,
    /// This many dispatches.
    Dispatches(usize),
    /// The work up to and including the next word; the encoder counts as part of the first word. Includes the effect of
    /// `Ticket::follow`.
    Word,
    /// This many microseconds of the device's time. During the first caption the steps are measured with timestamps; later captions
    /// keep the budget, unless the device has no timestamps or a single dispatch takes longer.
    Micros(u64),
}

impl Budget {
    /// This many dispatches a frame, at least one.
    pub fn dispatches(count: usize) -> Budget {
        Budget::Dispatches(count.max(1))
    }

    /// This many microseconds a frame.
    pub fn micros(micros: u64) -> Budget {
        Budget::Micros(micros)
    }
}

/// The time of each step of a plan: guessed at first, measured later.
#[derive(Debug)]
pub(super) struct FrameScheduler {
    /// In microseconds.
    steps: Mutex<Vec<f64>>,
}

/// The share of a budget that is used: times vary from frame to frame, and timestamps do not include the time of a submission.
const ROOM: f64 = 0.75;

/// A pessimistic first estimate: a slice that is too small costs one more frame, a slice that is too large delays a frame.
fn guess(flops: u64, bytes: u64) -> f64 {
    const FLOPS_PER_MICROSECOND: f64 = 10_000.0;
    const BYTES_PER_MICROSECOND: f64 = 5_000.0;
    const LAUNCH: f64 = 50.0;
    LAUNCH + flops as f64 / FLOPS_PER_MICROSECOND + bytes as f64 / BYTES_PER_MICROSECOND
}

impl FrameScheduler {
    pub(super) fn new(plan: &Plan) -> FrameScheduler {
        let mut cost = Vec::with_capacity(plan.steps().len());
        let mut steps = plan.steps().iter().peekable();
        while let Some(first) = steps.next() {
            // The plan states the cost of a node at its first dispatch; here it is spread over all its dispatches.
            let mut count = 1;
            while steps.next_if(|step| step.node == first.node && step.cost == Default::default()).is_some() {
                count += 1;
            }
            let shared = guess(first.cost.flops, first.cost.bytes) / f64::from(count);
            cost.extend((0..count).map(|_| shared));
        }
        FrameScheduler { steps: Mutex::new(cost) }
    }

    fn steps(&self) -> MutexGuard<'_, Vec<f64>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The steps from `start` on that fit into a frame, at least one; empty if no steps are left.
    ///
    /// `word` is the end of the steps that compute the next word.
    pub(super) fn slice(&self, start: usize, budget: Budget, word: usize) -> Range<usize> {
        let steps = self.steps();
        let count = match budget {
            Budget::Whole => steps.len(),
            Budget::Word => word.saturating_sub(start),
            Budget::Dispatches(count) => count,
            Budget::Micros(micros) => {
                let room = ROOM * micros as f64;
                let fits = |sum: &mut f64, step: &f64| {
                    *sum += step;
                    Some(*sum <= room)
                };
                steps[start..].iter().scan(0.0, fits).take_while(|&fits| fits).count()
            }
        };
        start..(start + count.max(1)).min(steps.len())
    }

    /// Updates the times of the steps with the measured time of a slice.
    pub(super) fn learn(&self, slice: Range<usize>, took: Duration) {
        let mut steps = self.steps();
        let guessed: f64 = steps[slice.clone()].iter().sum();
        let took = took.as_secs_f64() * 1e6;
        if guessed <= 0.0 || took <= 0.0 {
            return;
        }
        // A longer time is adopted at once, a shorter one gradually: a single fast frame may be an outlier.
        let ratio = took / guessed;
        let ratio = if ratio > 1.0 { ratio } else { 0.5 + 0.5 * ratio };
        for step in &mut steps[slice] {
            *step *= ratio;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheduler(steps: &[f64]) -> FrameScheduler {
        FrameScheduler { steps: Mutex::new(steps.to_vec()) }
    }

    #[test]
    fn slices_fit_their_budget_and_have_at_least_one_step() {
        let scheduler = scheduler(&[10.0, 20.0, 30.0, 500.0, 1.0]);
        assert_eq!(scheduler.slice(0, Budget::Whole, 8), 0..5);
        assert_eq!(scheduler.slice(1, Budget::dispatches(2), 8), 1..3);
        assert_eq!(scheduler.slice(1, Budget::Word, 4), 1..4);
        assert_eq!(scheduler.slice(4, Budget::Word, 8), 4..5);
        assert_eq!(scheduler.slice(4, Budget::dispatches(0), 8), 4..5);
        assert_eq!(scheduler.slice(0, Budget::micros(79), 8), 0..2);
        assert_eq!(scheduler.slice(0, Budget::micros(80), 8), 0..3, "three quarters are planned for");
        assert_eq!(scheduler.slice(3, Budget::micros(80), 8), 3..4, "a step that is too long runs alone");
        assert_eq!(scheduler.slice(5, Budget::micros(80), 8), 5..5);
    }

    #[test]
    fn slices_that_took_longer_become_shorter() {
        let scheduler = scheduler(&[10.0; 8]);
        scheduler.learn(0..4, Duration::from_micros(120));
        assert_eq!(scheduler.slice(0, Budget::micros(80), 8), 0..2, "30 us each");
        assert_eq!(scheduler.slice(4, Budget::micros(54), 8), 4..8);
        scheduler.learn(0..4, Duration::from_micros(40));
        assert_eq!(scheduler.slice(0, Budget::micros(100), 8), 0..3, "25 us each, a quarter of the way back");
    }
}
