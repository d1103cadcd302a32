//! A bound on the work that reading one file can take.

use std::cell::Cell;

/// Cost that a file of any length may cause.
const BASE: usize = 4 << 20;
/// Cost that a file may cause for each of its bytes. Files that PyTorch writes take less than a seventh of it; the test
/// `ordinary_files_stay_far_below_the_limit` checks this.
pub(super) const PER_BYTE: usize = 64;

/// The work that reading a file may still take.
///
/// The objects of a file can refer to each other, so that a short file can describe endless data. A reader therefore pays
/// for every object each time it reads it, and for every copy. The unit is a byte, so that the budget bounds both time
/// and memory. The budget is proportional to the length of the file.
///
/// Once exceeded, a budget stays exceeded.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    /// `None` once the budget is exceeded.
    left: Cell<Option<usize>>,
}

impl Budget {
    /// The budget of a file of this length.
    pub(super) fn of_bytes(bytes: usize) -> Budget {
        let limit = bytes.saturating_mul(PER_BYTE).saturating_add(BASE);
        Budget { limit, left: Cell::new(Some(limit)) }
    }

    /// Pays for work, counted in bytes.
    pub(super) fn spend(&self, cost: usize) -> Result<(), BudgetExceeded> {
        self.left.set(self.left.get().and_then(|left| left.checked_sub(cost)));
        self.check()
    }

    /// An error if the budget is exceeded.
    pub(super) fn check(&self) -> Result<(), BudgetExceeded> {
        if self.left.get().is_some() { Ok(()) } else { Err(BudgetExceeded { limit: self.limit }) }
    }

    /// The cost so far.
    #[cfg(test)]
    pub(super) fn spent(&self) -> usize {
        self.limit - self.left.get().unwrap_or(0)
    }
}

/// A file describes far more data than its length allows for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "its objects refer to each other so often that they unfold to more than {limit} bytes, {PER_BYTE} for each byte of \
     the file: it is damaged, or made to exhaust memory"
)]
pub struct BudgetExceeded {
    /// The limit in bytes.
    pub limit: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exceeded_budget_stays_exceeded() {
        let budget = Budget::of_bytes(10);
        assert_eq!(budget.spend(BASE), Ok(()));
        assert_eq!(budget.spend(10 * PER_BYTE), Ok(()));
        assert_eq!(budget.check(), Ok(()));
        let exceeded = Err(BudgetExceeded { limit: BASE + 10 * PER_BYTE });
        assert_eq!(
            [budget.spend(1), budget.spend(0), budget.check()],
            [exceeded.clone(), exceeded.clone(), exceeded]
        );
        assert_eq!(Budget::of_bytes(usize::MAX).spend(usize::MAX), Ok(()));
    }
}
