//! Kernels that were found to be the fastest on some adapter.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Display;

/// For each shape, by its key, the name of the kernel to use. What is not in here, or does not fit, is chosen as usual.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Choices(BTreeMap<String, String>);

impl Extend<(String, String)> for Choices {
    fn extend<T: IntoIterator<Item = (String, String)>>(&mut self, other: T) {
        self.0.extend(other);
    }
}

impl IntoIterator for Choices {
    type Item = (String, String);
    type IntoIter = std::collections::btree_map::IntoIter<String, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Choices {
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
