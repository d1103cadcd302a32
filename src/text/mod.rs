//! From the tokens of a search to sentences.

mod hypotheses;

pub use hypotheses::{Hypothesis, Word};
pub(crate) use hypotheses::{SearchSizes, SearchTrace};
