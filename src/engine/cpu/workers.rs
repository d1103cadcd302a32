//! The threads that share the work of a step.

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

/// The threads of an executor. Executors of one process share those of the same number.
#[derive(Clone, Debug)]
pub(crate) struct Workers {
    /// `None` for the caller's thread alone.
    pool: Option<Arc<ThreadPool>>,
}

/// The pools that were started.
static POOLS: Mutex<Vec<Arc<ThreadPool>>> = Mutex::new(Vec::new());

impl Workers {
    /// This many threads, or one for each processor. If the system starts none, the caller's thread does all the work.
    pub(super) fn new(threads: Option<NonZeroUsize>) -> Workers {
        let threads =
            threads.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
        if threads == 1 {
            return Workers { pool: None };
        }
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.iter().find(|pool| pool.current_num_threads() == threads) {
            return Workers { pool: Some(Arc::clone(pool)) };
        }
        let name = |number| format!("shadetell-cpu-{number}");
        let pool = ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build();
        let pool = pool.ok().map(Arc::new);
        pools.extend(pool.clone());
        Workers { pool }
    }

    /// The number of threads.
    pub(super) fn count(&self) -> usize {
        self.pool.as_ref().map_or(1, |pool| pool.current_num_threads())
    }

    /// Runs something on one of the threads, so that the parts of its work need not change threads.
    pub(super) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }

    /// Calls `work` with each chunk of `values` and its number.
    pub(super) fn chunks(&self, values: &mut [f32], len: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
        let len = len.max(1);
        if self.pool.is_some() && values.len() > len {
            values.par_chunks_mut(len).enumerate().for_each(|(number, chunk)| work(number, chunk));
        } else {
            values.chunks_mut(len).enumerate().for_each(|(number, chunk)| work(number, chunk));
        }
    }

    /// Calls `work` with each item.
    pub(super) fn each<T: Send>(&self, items: Vec<T>, work: impl Fn(T) + Send + Sync) {
        if self.pool.is_some() && items.len() > 1 {
            items.into_par_iter().for_each(work);
        } else {
            items.into_iter().for_each(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_are_shared_by_their_number_of_threads() {
        let three = [Workers::new(NonZeroUsize::new(3)), Workers::new(NonZeroUsize::new(3))];
        assert_eq!(three.each_ref().map(Workers::count), [3, 3]);
        assert!(Arc::ptr_eq(three[0].pool.as_ref().unwrap(), three[1].pool.as_ref().unwrap()));
        assert_eq!(Workers::new(NonZeroUsize::new(1)).count(), 1);
    }

    #[test]
    fn every_chunk_is_worked_on_once() {
        for threads in [1, 3] {
            let workers = Workers::new(NonZeroUsize::new(threads));
            let mut values = vec![0.0; 103];
            workers.enter(|| {
                workers.chunks(&mut values, 10, |number, chunk| {
                    chunk.iter_mut().for_each(|v| *v += number as f32)
                });
            });
            assert!(values.iter().enumerate().all(|(i, &v)| v == (i / 10) as f32));
        }
    }
}
