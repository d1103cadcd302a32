//! The fastest kernels of an adapter, as measured by `gpu::tune`.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Display;

/// Names of kernels by the keys of shapes. Shapes that are missing here get the default kernel.
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
    /// Sets the kernel of a shape.
    pub fn insert(&mut self, key: String, kernel: String) {
        self.0.insert(key, kernel);
    }

    /// The kernel of a shape.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// The candidate that the table names, or the first.
    pub(crate) fn pick<T: Copy + Display>(&self, key: &str, candidates: &[T]) -> T {
        let named = self.get(key).and_then(|name| candidates.iter().find(|c| c.to_string() == name));
        *named.unwrap_or(&candidates[0])
    }
}

/// All kernels that could run one shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelCandidates {
    /// The shape's key in [`TuningTable`].
    pub key: String,
    /// The names of the kernels, the default first.
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
