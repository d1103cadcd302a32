//! Common parts of reports: the setting, statistics, tables.

use super::{Format, Look};
use crate::devices::backend;
use crate::failure::Failure;
use crate::output::{self, binary_size, table};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shadetell::engine::gpu::Gpu;
use shadetell::engine::gpu::source::assemble;
use shadetell::engine::plan::Plan;
use shadetell::wgpu::Features;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::time::Duration;

/// The adapter and the versions of a measurement.
#[derive(Debug, Serialize)]
pub(super) struct Setting {
    pub(super) adapter: String,
    driver: String,
    backend: &'static str,
    shadetell: &'static str,
    /// The commit of the source; empty in a downloaded package.
    commit: &'static str,
    wgpu: &'static str,
    limits: Limits,
    /// The least and the most lanes of a subgroup; absent where shaders have no subgroup operations.
    #[serde(skip_serializing_if = "Option::is_none")]
    subgroup: Option<[u32; 2]>,
    /// The first digits of the SHA-256 of each shader that runs, including its imports, by name.
    shaders: BTreeMap<String, String>,
}

/// The device limits that matter for kernels.
#[derive(Debug, Serialize)]
struct Limits {
    max_buffer_size: u64,
    max_storage_buffer_binding_size: u64,
    max_compute_workgroup_storage_size: u32,
    max_compute_invocations_per_workgroup: u32,
    max_compute_workgroups_per_dimension: u32,
}

impl Setting {
    /// The setting of a device and the plans that run on it.
    pub(super) fn of(gpu: &Gpu, plans: &[&Plan]) -> Result<Setting, Failure> {
        let (info, limits) = (&gpu.info, gpu.device.limits());
        let mut shaders = BTreeMap::new();
        for step in plans.iter().flat_map(|plan| plan.steps()) {
            let kernel = &step.dispatch.kernel;
            let name = match kernel.defines().is_empty() {
                true => kernel.name().to_owned(),
                false => format!("{}[{}]", kernel.name(), kernel.defines().join(",")),
            };
            if let Entry::Vacant(place) = shaders.entry(name) {
                let text =
                    assemble(kernel.name(), kernel.source(), kernel.defines()).map_err(Failure::Usage)?;
                place.insert(Sha256::digest(text).iter().take(6).map(|byte| format!("{byte:02x}")).collect());
            }
        }
        Ok(Setting {
            adapter: info.name.clone(),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            backend: backend(info.backend),
            shadetell: env!("CARGO_PKG_VERSION"),
            commit: env!("SHADETELL_COMMIT"),
            wgpu: env!("SHADETELL_WGPU"),
            limits: Limits {
                max_buffer_size: limits.max_buffer_size,
                max_storage_buffer_binding_size: limits.max_storage_buffer_binding_size,
                max_compute_workgroup_storage_size: limits.max_compute_workgroup_storage_size,
                max_compute_invocations_per_workgroup: limits.max_compute_invocations_per_workgroup,
                max_compute_workgroups_per_dimension: limits.max_compute_workgroups_per_dimension,
            },
            subgroup: gpu
                .device
                .features()
                .contains(Features::SUBGROUP)
                .then_some([info.subgroup_min_size, info.subgroup_max_size]),
            shaders,
        })
    }

    /// For people: a few lines.
    pub(super) fn text(&self) -> String {
        let Setting { adapter, driver, backend, shadetell, commit, wgpu, limits, shaders, .. } = self;
        let commit = if commit.is_empty() { String::new() } else { format!(" ({commit})") };
        let mut text = format!(
            "{adapter}, {backend}, {driver}\nshadetell {shadetell}{commit}, wgpu {wgpu}\n\
             buffers {}, bindings {}, workgroups of {} invocations, {} of memory",
            binary_size(limits.max_buffer_size),
            binary_size(limits.max_storage_buffer_binding_size),
            limits.max_compute_invocations_per_workgroup,
            binary_size(limits.max_compute_workgroup_storage_size.into()),
        );
        if !shaders.is_empty() {
            let all: String = shaders.iter().flat_map(|(name, hash)| [name.as_str(), hash]).collect();
            let digest: String =
                Sha256::digest(all).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
            text += &format!("\nshaders {digest}");
        }
        text
    }
}

/// Statistics of repeated measurements, in milliseconds.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Times {
    pub(super) min: f64,
    pub(super) median: f64,
    pub(super) p95: f64,
}

impl Times {
    /// Statistics of these times; 0 if there are none.
    pub(super) fn of(times: &[Duration]) -> Times {
        let mut ms: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
        ms.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let last = ms.len().saturating_sub(1) as f64;
            ms.get((share * last).round() as usize).copied().unwrap_or(0.0)
        };
        Times { min: at(0.0), median: at(0.5), p95: at(0.95) }
    }
}

/// Formats a table. The first row has the titles, the last `numbers` columns are numbers, `spare` are titles as in [`table`].
pub(super) fn print_table<const N: usize>(
    rows: &[[String; N]],
    numbers: usize,
    spare: &[&str],
    look: Look,
) -> io::Result<()> {
    let mut text = String::new();
    if look.format == Format::Markdown {
        for (index, row) in rows.iter().enumerate() {
            text += &format!("| {} |\n", row.join(" | "));
            if index == 0 {
                let rule = |column| if column + numbers >= N { "---:" } else { "---" };
                text += &format!("|{}|\n", (0..N).map(rule).collect::<Vec<_>>().join("|"));
            }
        }
    } else {
        for line in table(rows, numbers, spare, look.width) {
            text += &line;
            text.push('\n');
        }
    }
    output::print(&(text + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_summarised_by_minimum_median_and_95th_percentile() {
        let times: Vec<Duration> = [30, 10, 20].map(Duration::from_millis).to_vec();
        assert_eq!(Times::of(&times), Times { min: 10.0, median: 20.0, p95: 30.0 });
        let one = Times::of(&times[1..2]);
        assert_eq!(one, Times { min: 10.0, median: 10.0, p95: 10.0 });
        let many: Vec<Duration> = (1..=101).map(Duration::from_millis).collect();
        assert_eq!(Times::of(&many), Times { min: 1.0, median: 51.0, p95: 96.0 });
    }
}
