//! A budget of memory for all requests.

use std::sync::Arc;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// Memory is counted in pieces of this many bytes.
const PIECE: u64 = 1024;

/// A number of bytes that requests reserve and release. It only counts; it allocates nothing.
#[derive(Debug)]
pub(crate) struct Budget {
    free: Arc<Semaphore>,
    /// All pieces.
    pieces: u32,
}

/// A part of a [`Budget`], released when it is dropped.
#[derive(Debug)]
pub(crate) struct Memory(OwnedSemaphorePermit);

fn pieces(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(PIECE)).unwrap_or(u32::MAX)
}

impl Budget {
    pub(crate) fn new(bytes: u64) -> Budget {
        let pieces = pieces(bytes).min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX));
        Budget { free: Arc::new(Semaphore::new(pieces as usize)), pieces }
    }

    /// Reserves memory as soon as there is enough, in the order of the callers. A caller that needs more than the whole
    /// budget gets all of it, exclusively.
    ///
    /// # Errors
    /// Never: the semaphore is not closed.
    pub(crate) async fn take(&self, bytes: u64) -> Result<Memory, AcquireError> {
        Arc::clone(&self.free).acquire_many_owned(pieces(bytes).min(self.pieces)).await.map(Memory)
    }

    /// Reserves memory if there is enough now.
    pub(crate) fn try_take(&self, bytes: u64) -> Option<Memory> {
        Arc::clone(&self.free).try_acquire_many_owned(pieces(bytes)).ok().map(Memory)
    }
}

impl Memory {
    /// Extends the reservation to `bytes` in all; `false` if there is not enough memory.
    #[must_use]
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        let more = (pieces(bytes) as usize).saturating_sub(self.0.num_permits());
        match Arc::clone(self.0.semaphore()).try_acquire_many_owned(more as u32) {
            Ok(more) => {
                self.0.merge(more);
                true
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[test]
    fn a_reservation_grows_while_memory_is_left() {
        let budget = Budget::new(10 * PIECE);
        let mut memory = budget.try_take(0).unwrap();
        assert!(memory.grow(1) && memory.grow(PIECE) && memory.grow(8 * PIECE));
        assert!(budget.try_take(2 * PIECE + 1).is_none());
        let other = budget.try_take(2 * PIECE).unwrap();
        assert!(!memory.grow(8 * PIECE + 1));
        drop(other);
        assert!(memory.grow(10 * PIECE));
        drop(memory);
        assert!(budget.try_take(10 * PIECE).is_some());
    }

    #[tokio::test]
    async fn whoever_needs_more_than_is_free_waits_in_order() {
        const SOON: Duration = Duration::from_millis(20);
        let budget = Budget::new(10 * PIECE);
        let first = budget.take(6 * PIECE).await.unwrap();
        let mut large = Box::pin(budget.take(1000 * PIECE));
        assert!(timeout(SOON, &mut large).await.is_err(), "the first one has a part");
        assert!(timeout(SOON, budget.take(PIECE)).await.is_err(), "the large one comes first");
        drop(first);
        let large = timeout(SOON, large).await.expect("all of it is free").unwrap();
        assert!(timeout(SOON, budget.take(1)).await.is_err(), "the large one has all of it");
        drop(large);
        assert!(timeout(SOON, budget.take(1)).await.is_ok());
    }
}
