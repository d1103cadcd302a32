//! Files in the folders of the repository.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A folder of the repository.
pub(crate) fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The names, without extension, of the files in a folder that have this extension.
pub(crate) fn stems(path: &str, extension: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect()
}

/// The snippets that a shader imports.
pub(crate) fn imports(source: &str) -> Vec<String> {
    let name = |line: &str| line.trim().strip_prefix("#import ").map(|rest| rest.trim().to_owned());
    source.lines().filter_map(name).collect()
}
