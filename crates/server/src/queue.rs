//! Photos that wait for the device, in the order of their arrival.

use crate::models::Work;
use crate::problem::Problem;
use shadetell::image::Rgb8;
use shadetell::{Caption, Class, Features};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::UnboundedSender;

/// An update on a submitted photo.
#[derive(Debug)]
pub(crate) enum Update {
    /// The sentence so far.
    SoFar(String),
    Done(Box<CaptionResult>),
    Encoded(Box<EncodeResult>),
    Failed(Problem),
}

/// A caption and its origin.
#[derive(Debug)]
pub(crate) struct CaptionResult {
    pub(crate) caption: Caption,
    /// Rows and columns of the attention; `None` for a decoder without attention.
    pub(crate) grid: Option<[usize; 2]>,
    /// The adapter's name.
    pub(crate) adapter: String,
}

/// Features and classes, and their origin.
#[derive(Debug)]
pub(crate) struct EncodeResult {
    pub(crate) features: Features,
    /// All classes, the most probable first; none without a classifier.
    pub(crate) classes: Vec<Class>,
    /// Rows, columns and channels of the grid.
    pub(crate) grid: [usize; 3],
    /// The adapter's name.
    pub(crate) adapter: String,
}

/// A photo in the queue.
#[derive(Debug)]
pub(crate) struct Job {
    /// At the size of the network's input.
    pub(crate) input: Rgb8,
    pub(crate) work: Work,
    /// Whether words are sent as they are found. Such a photo is captioned alone.
    pub(crate) follow: bool,
    pub(crate) reply: UnboundedSender<Update>,
    /// Its place in the queue, released when it is done.
    pub(crate) _place: Option<OwnedSemaphorePermit>,
    pub(crate) arrived: Instant,
}

/// How long the worker sleeps without jobs before it checks its device.
const IDLE: Duration = Duration::from_secs(1);

/// Jobs in order. Their number is bounded by their places.
#[derive(Debug, Default)]
pub(crate) struct Queue {
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

    /// Appends a job.
    ///
    /// # Errors
    /// The queue was closed.
    pub(crate) fn push(&self, job: Job) -> Result<(), Problem> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(Problem::stopping());
        }
        state.jobs.push_back(job);
        self.changed.notify_all();
        Ok(())
    }

    /// Puts a batch back to the front.
    pub(crate) fn give_back(&self, batch: Vec<Job>) {
        let mut state = self.lock();
        batch.into_iter().rev().for_each(|job| state.jobs.push_front(job));
    }

    /// Accepts no more jobs; jobs in the queue are still processed.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Fails all jobs in the queue; `false` if the queue is closed.
    pub(crate) fn fail_all(&self, problem: &Problem) -> bool {
        let mut state = self.lock();
        for job in state.jobs.drain(..) {
            let _ = job.reply.send(Update::Failed(problem.clone()));
        }
        !state.is_closed
    }

    /// Number of jobs.
    pub(crate) fn len(&self) -> usize {
        self.lock().jobs.len()
    }

    /// The oldest job with up to `most - 1` jobs of the same work. Waits until the batch is full or the oldest job has waited for
    /// `wait`. Returns an empty batch after a while without jobs, and `None` when the queue is closed and empty.
    pub(crate) fn next_batch(&self, most: usize, wait: Duration) -> Option<Vec<Job>> {
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
            let work = first.work;
            let fits = |job: &Job| job.work == work && !job.follow;
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

/// Takes the first `most` jobs that fit; the others keep their order.
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
    use crate::models::Search;
    use shadetell::weights::DecoderFamily;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    /// A job whose id is the width of its picture.
    fn job(id: u32, beam: usize, follow: bool) -> (Job, UnboundedReceiver<Update>) {
        let (reply, updates) = unbounded_channel();
        let work = Work::Caption(Search { model: 0, decoder: DecoderFamily::ShowTell, beam });
        let input = Rgb8::filled(id, 1, [0; 3]).unwrap();
        (Job { input, work, follow, reply, _place: None, arrived: Instant::now() }, updates)
    }

    fn ids(batch: Option<Vec<Job>>) -> Vec<u32> {
        batch.unwrap().iter().map(|job| job.input.width()).collect()
    }

    #[test]
    fn jobs_of_one_search_form_a_batch_in_order() {
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
        assert_eq!(ids(queue.next_batch(2, Duration::ZERO)), [1, 5], "the client of 3 has disconnected");
        assert_eq!(ids(queue.next_batch(2, Duration::ZERO)), [2]);
        assert_eq!(ids(queue.next_batch(2, Duration::ZERO)), [4], "a followed job is a batch of its own");
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
    fn a_returned_batch_is_the_next_one() {
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
