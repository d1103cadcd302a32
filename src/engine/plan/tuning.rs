//! Kernels that were found to be the fastest on some adapter.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Display;

/// For each shape, by its key, the name of the kernel to use. What is not in here, or does not fit, is chosen as usual.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TuningTable(BTreeMap<String, String>);

impl Extend<(String, String)> for TuningTable {
    fn extend<T: IntoIterator<Item = (String, String)>>(&mut self, other: T) {
        self.0.extend(other);
    }
}

impl IntoIterator for TuningTable {
    type Item = (String, String);
    type IntoIter = std::collections::btree_map::IntoIter<String, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl TuningTable {
    /// Uses a kernel for a shape.
    pub fn insert(&mut self, key: String, kernel: String) {
        self.0.insert(key, kernel);
    }

    /// The kernel for a shape, if there is one.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// The candidate of this name, or the first.
    pub(crate) fn pick<T: Copy + Display>(&self, key: &str, candidates: &[T]) -> T {
        let named = self.get(key).and_then(|name| candidates.iter().find(|c| c.to_string() == name));
        *named.unwrap_or(&candidates[0])
    }
}

/// Kernels for one shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelCandidates {
    /// The shape's key in [`TuningTable`].
    pub key: String,
    /// The kernels' names, the usual one first.
    pub names: Vec<String>,
    /// The first node of the graph that has this shape.
    pub node: usize,
}

impl KernelCandidates {
    pub(crate) fn new(key: &impl ToString, kernels: &[impl ToString]) -> KernelCandidates {
        KernelCandidates {
            key: key.to_string(),
            names: kernels.iter().map(ToString::to_string).collect(),
            node: 0,
        }
    }
}
