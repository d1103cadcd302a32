//! Photos that wait for the device, in the order in which they came.

use super::models::Search;
use super::problem::Problem;
use shadetell::Caption;
use shadetell::image::Rgb8;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::UnboundedSender;

/// What becomes of a photo.
#[derive(Debug)]
pub(super) enum Update {
    /// The sentence as far as it is found.
    SoFar(String),
    Done(Box<Spoken>),
    Failed(Problem),
}

/// A caption, and what is known of how it came about.
#[derive(Debug)]
pub(super) struct Spoken {
    pub(super) caption: Caption,
    /// Rows and columns that its attention lies over.
    pub(super) grid: Option<[usize; 2]>,
    /// The adapter's name.
    pub(super) adapter: String,
}

/// A photo to be captioned.
#[derive(Debug)]
pub(super) struct Job {
    /// At the size of the network's input.
    pub(super) input: Rgb8,
    pub(super) search: Search,
    /// Whether its words are to be told as they are found, which is done alone.
    pub(super) follow: bool,
    pub(super) reply: UnboundedSender<Update>,
    /// Its place among those that are accepted, given back when it is done.
    pub(super) _place: Option<OwnedSemaphorePermit>,
    pub(super) arrived: Instant,
}

/// How long the worker sleeps where there is nothing to do, before it looks after its device.
const IDLE: Duration = Duration::from_secs(1);

/// How many jobs may wait is seen to by their places.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    is_closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a job wait.
    ///
    /// # Errors
    /// The queue was closed.
    pub(super) fn push(&self, job: Job) -> Result<(), Problem> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(Problem::stopping());
        }
        state.jobs.push_back(job);
        self.changed.notify_all();
        Ok(())
    }

    /// Puts a batch back to the front, from where it was taken.
    pub(super) fn give_back(&self, batch: Vec<Job>) {
        let mut state = self.lock();
        batch.into_iter().rev().for_each(|job| state.jobs.push_front(job));
    }

    /// Takes no more jobs; those that wait are still given.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Answers all that wait; `false` if the queue is closed.
    pub(super) fn fail_all(&self, problem: &Problem) -> bool {
        let mut state = self.lock();
        for job in state.jobs.drain(..) {
            let _ = job.reply.send(Update::Failed(problem.clone()));
        }
        !state.is_closed
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.lock().jobs.len()
    }

    /// The oldest job with those that can be captioned with it, at most `most`, after it has waited `wait` for them;
    /// an empty batch when there was none for a while, `None` when the queue is closed and empty.
    pub(super) fn next_batch(&self, most: usize, wait: Duration) -> Option<Vec<Job>> {
        let mut state = self.lock();
        loop {
            state.jobs.retain(|job| !job.reply.is_closed());
            let Some(first) = state.jobs.front() else {
                if state.is_closed {
                    return None;
                }
                let (next, waited) =
                    self.changed.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
                if waited.timed_out() && next.jobs.is_empty() {
                    return Some(Vec::new());
                }
                state = next;
                continue;
            };
            if first.follow {
                return Some(state.jobs.pop_front().into_iter().collect());
            }
            let search = first.search;
            let fits = |job: &Job| job.search == search && !job.follow;
            let left = wait.saturating_sub(first.arrived.elapsed());
            if left.is_zero() || state.is_closed || state.jobs.iter().filter(|job| fits(job)).count() >= most
            {
                return Some(take(&mut state.jobs, most, fits));
            }
            let waited = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
        }
    }
}

/// Takes the first few jobs that fit; the others keep their order.
fn take(jobs: &mut VecDeque<Job>, most: usize, fits: impl Fn(&Job) -> bool) -> Vec<Job> {
    let mut batch = Vec::new();
    let mut index = 0;
    while index < jobs.len() && batch.len() < most {
        if fits(&jobs[index]) {
            batch.extend(jobs.remove(index));
        } else {
            index += 1;
        }
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;
    use shadetell::weights::DecoderFamily;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    /// A job that is known by the width of its picture.
    fn job(id: u32, beam: usize, follow: bool) -> (Job, UnboundedReceiver<Update>) {
        let (reply, updates) = unbounded_channel();
        let search = Search { model: 0, decoder: DecoderFamily::ShowTell, beam };
        let input = Rgb8::filled(id, 1, [0; 3]).unwrap();
        (Job { input, search, follow, reply, _place: None, arrived: Instant::now() }, updates)
    }

    fn ids(batch: Option<Vec<Job>>) -> Vec<u32> {
        batch.unwrap().iter().map(|job| job.input.width()).collect()
    }

    #[test]
    fn jobs_of_one_search_go_together_in_their_order() {
        let queue = Queue::default();
        let mut listeners = Vec::new();
        for (id, beam, follow) in
            [(1, 3, false), (2, 1, false), (3, 3, false), (4, 3, true), (5, 3, false), (6, 3, false)]
        {
            let (job, updates) = job(id, beam, follow);
            listeners.push(updates);
            queue.push(job).unwrap();
        }
        listeners.remove(2).close();
        assert_eq!(queue.len(), 6);
        assert_eq!(ids(queue.next_batch(2, Duration::ZERO)), [1, 5], "nobody waits for 3 any more");
        assert_eq!(ids(queue.next_batch(2, Duration::ZERO)), [2]);
        assert_eq!(ids(queue.next_batch(2, Duration::ZERO)), [4], "one that is followed goes alone");
        queue.close();
        assert_eq!(queue.push(job(7, 3, false).0).unwrap_err().code, "stopping");
        assert_eq!(ids(queue.next_batch(2, Duration::from_secs(60))), [6], "closing ends the waiting");
        assert!(queue.next_batch(2, Duration::ZERO).is_none());
    }

    #[test]
    fn a_full_batch_does_not_wait() {
        let queue = Queue::default();
        let jobs = [job(1, 3, false), job(2, 3, false), job(3, 3, false)];
        let mut listeners = Vec::new();
        for (job, updates) in jobs {
            queue.push(job).unwrap();
            listeners.push(updates);
        }
        assert_eq!(ids(queue.next_batch(2, Duration::from_secs(3600))), [1, 2]);
        assert_eq!(ids(queue.next_batch(2, Duration::from_millis(30))), [3], "the wait ends");
    }

    #[test]
    fn a_batch_that_is_given_back_is_the_next_one() {
        let queue = Queue::default();
        assert_eq!(ids(queue.next_batch(2, Duration::ZERO)), [0; 0], "nothing for a while");
        let jobs = [job(1, 3, false), job(2, 3, false), job(3, 3, false)];
        let (jobs, mut listeners): (Vec<_>, Vec<_>) = jobs.into_iter().unzip();
        jobs.into_iter().for_each(|job| queue.push(job).unwrap());
        let batch = queue.next_batch(2, Duration::ZERO).unwrap();
        queue.give_back(batch);
        assert_eq!(ids(queue.next_batch(2, Duration::ZERO)), [1, 2]);
        assert!(queue.fail_all(&Problem::internal()), "it is not closed");
        assert!(matches!(listeners[2].try_recv(), Ok(Update::Failed(problem)) if problem.code == "internal"));
    }
}
