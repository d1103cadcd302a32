//! What reports share: what was measured on, statistics, tables.

use super::Format;
use crate::cli::devices::backend;
use crate::cli::output::{self, table};
use serde::{Deserialize, Serialize};
use shadetell::gpu::Gpu;
use std::io;
use std::time::Duration;

/// What was measured on.
#[derive(Debug, Serialize)]
pub(super) struct Setting {
    adapter: String,
    driver: String,
    backend: &'static str,
    shadetell: &'static str,
}

impl Setting {
    pub(super) fn of(gpu: &Gpu) -> Setting {
        let info = &gpu.info;
        Setting {
            adapter: info.name.clone(),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            backend: backend(info.backend),
            shadetell: env!("CARGO_PKG_VERSION"),
        }
    }

    pub(super) fn line(&self) -> String {
        let Setting { adapter, driver, backend, shadetell } = self;
        format!("{adapter}, {driver}, {backend}, shadetell {shadetell}")
    }
}

/// Times of the same thing, in milliseconds.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Times {
    pub(super) min: f64,
    pub(super) median: f64,
    pub(super) p95: f64,
}

impl Times {
    /// Of at least one time; 0 of none.
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

/// Prints a table whose first row are titles and whose last `numbers` columns are numbers.
pub(super) fn print_table<const N: usize>(
    rows: &[[String; N]],
    numbers: usize,
    format: Format,
) -> io::Result<()> {
    let mut text = String::new();
    if format == Format::Markdown {
        for (index, row) in rows.iter().enumerate() {
            text += &format!("| {} |\n", row.join(" | "));
            if index == 0 {
                let rule = |column| if column + numbers >= N { "---:" } else { "---" };
                text += &format!("|{}|\n", (0..N).map(rule).collect::<Vec<_>>().join("|"));
            }
        }
    } else {
        for line in table(rows, numbers) {
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
    fn times_are_ranked() {
        let times: Vec<Duration> = [30, 10, 20].map(Duration::from_millis).to_vec();
        assert_eq!(Times::of(&times), Times { min: 10.0, median: 20.0, p95: 30.0 });
        let one = Times::of(&times[1..2]);
        assert_eq!(one, Times { min: 10.0, median: 10.0, p95: 10.0 });
        let many: Vec<Duration> = (1..=101).map(Duration::from_millis).collect();
        assert_eq!(Times::of(&many), Times { min: 1.0, median: 51.0, p95: 96.0 });
    }
}
