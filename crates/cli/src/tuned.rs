//! The file in the user's cache folder with the fastest kernels of an adapter.

use super::failure::Failure;
use super::names::shown;
use super::output::note;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shadetell::engine::plan::TuningTable;
use shadetell::wgpu::AdapterInfo;
use std::path::PathBuf;

/// The contents of the file: the tuning table, and the adapter that it belongs to.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    adapter: String,
    driver: String,
    backend: String,
    /// The version of the engine, since kernels change between versions.
    shadetell: String,
    kernels: TuningTable,
}

impl Kept {
    fn new(info: &AdapterInfo, kernels: TuningTable) -> Kept {
        Kept {
            adapter: info.name.clone(),
            driver: format!("{} {}", info.driver, info.driver_info),
            backend: info.backend.to_string(),
            shadetell: env!("CARGO_PKG_VERSION").to_owned(),
            kernels,
        }
    }

    fn is_for_the_same(&self, other: &Kept) -> bool {
        [&self.adapter, &self.driver, &self.backend, &self.shadetell]
            == [&other.adapter, &other.driver, &other.backend, &other.shadetell]
    }
}

/// The file for an adapter with its driver; `None` where the user has no cache folder.
pub(crate) fn path(info: &AdapterInfo) -> Option<PathBuf> {
    let Kept { adapter, driver, backend, shadetell, .. } = Kept::new(info, TuningTable::default());
    let digest = Sha256::digest([adapter, driver, backend, shadetell].join("\n"));
    let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Some(dirs::cache_dir()?.join("shadetell").join("kernels").join(format!("{name}.json")))
}

/// The tuning table of an adapter; empty if there is no file. If the file cannot be used, prints a warning and returns an empty
/// table.
pub(crate) fn load(info: &AdapterInfo) -> TuningTable {
    let Some(path) = path(info).filter(|path| path.exists()) else {
        return TuningTable::default();
    };
    let kept = std::fs::read_to_string(&path)
        .map_err(|error| error.to_string())
        .and_then(|text| serde_json::from_str::<Kept>(&text).map_err(|error| error.to_string()));
    match kept {
        Ok(kept) if kept.is_for_the_same(&Kept::new(info, TuningTable::default())) => kept.kernels,
        Ok(_) => TuningTable::default(),
        Err(error) => {
            note(&format!(
                "warning: {}: expected what `shadetell tune` wrote, found {error}: the usual kernels are used; \
                 run `shadetell tune` again",
                shown(&path)
            ));
            TuningTable::default()
        }
    }
}

/// Adds kernels to the stored table of an adapter; returns the path of the file.
pub(crate) fn save(info: &AdapterInfo, kernels: TuningTable) -> Result<PathBuf, Failure> {
    let nowhere =
        || Failure::System("there is no cache folder to keep the kernels in: set XDG_CACHE_HOME".to_owned());
    let path = path(info).ok_or_else(nowhere)?;
    let unwritable =
        |error: std::io::Error| Failure::System(format!("{}: cannot be written: {error}", shown(&path)));
    let folder = path.parent().ok_or_else(nowhere)?;
    std::fs::create_dir_all(folder).map_err(unwritable)?;
    let mut all = load(info);
    all.extend(kernels);
    let text =
        serde_json::to_string_pretty(&Kept::new(info, all)).map_err(|error| unwritable(error.into()))?;
    // Another process that reads the file meanwhile sees either the old or the new one.
    let part = tempfile::NamedTempFile::new_in(folder).map_err(unwritable)?;
    std::fs::write(part.path(), text + "\n").map_err(unwritable)?;
    part.persist(&path).map_err(|error| unwritable(error.error))?;
    Ok(path)
}

/// Removes the stored table of an adapter; returns the path of the file if there was one.
pub(crate) fn forget(info: &AdapterInfo) -> Result<Option<PathBuf>, Failure> {
    let Some(path) = path(info).filter(|path| path.exists()) else {
        return Ok(None);
    };
    std::fs::remove_file(&path)
        .map_err(|error| Failure::System(format!("{}: cannot be removed: {error}", shown(&path))))?;
    Ok(Some(path))
}
