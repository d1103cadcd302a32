//! Output to the terminal, and readable numbers.

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use shadetell::weights::Manifest;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

/// Writes a line to standard error. Errors of writing are ignored.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Writes text to standard output in one piece, so that an interrupt never leaves half a line behind.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Writes a value to standard output as indented JSON.
pub(crate) fn print_json(value: &impl Serialize) -> io::Result<()> {
    print(&(serde_json::to_string_pretty(value)? + "\n"))
}

/// Says which model file was written.
pub(crate) fn written(path: &Path, manifest: &Manifest) {
    let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let words = match manifest.vocabulary.len() {
        0 => String::new(),
        words => format!("{words} words, "),
    };
    note(&format!("wrote {}: {}, {words}{}", path.display(), manifest.name, binary_size(bytes)));
}

/// A progress bar on standard error. Hidden unless standard error is a terminal and there are several photos.
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    /// A bar for this many photos.
    pub(crate) fn of(photos: usize, quiet: bool) -> Progress {
        let wanted = photos > 1 && !quiet && io::stderr().is_terminal();
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} photos, {eta} left");
        let bar = |style| ProgressBar::new(photos as u64).with_style(style);
        Progress(style.ok().filter(|_| wanted).map(bar))
    }

    /// Hides the bar while `write` writes to the terminal, and counts one photo.
    pub(crate) fn step<T>(&self, write: impl FnOnce() -> T) -> T {
        let Some(bar) = &self.0 else { return write() };
        let result = bar.suspend(write);
        bar.inc(1);
        result
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// A size such as `2.0 GiB`.
pub(crate) fn binary_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// Lays out rows of cells in columns; the last `numbers` columns are flush right.
pub(crate) fn table<const N: usize>(rows: &[[String; N]], numbers: usize) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cell = |(column, text): (usize, &String)| match column + numbers >= N {
            true => format!("{text:>width$}", width = widths[column]),
            false => format!("{text:<width$}", width = widths[column]),
        };
        row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_unit_that_keeps_them_short() {
        let sizes = [0, 1023, 1024, 128 << 20, 2_147_483_647, u64::MAX].map(binary_size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "128.0 MiB", "2.0 GiB", "16384.0 PiB"]);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".to_owned(), "1".to_owned()], ["bcd".to_owned(), "23".to_owned()]];
        assert_eq!(table(&rows, 1), ["a     1", "bcd  23"]);
    }
}
