//! Output to the terminal, and readable numbers.

use super::names::{shown, visible_lines};
use clap::builder::Styles;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use shadetell::weights::Manifest;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

/// Writes a line to standard error. Errors of writing are ignored.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", visible_lines(line));
}

/// Writes an error to standard error, coloured on a terminal as the parser's errors are.
pub(crate) fn error(message: &str) {
    let style = *Styles::styled().get_error();
    let _ = writeln!(anstream::stderr().lock(), "{style}error:{style:#} {}", visible_lines(message));
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
    note(&format!("wrote {}: {}, {words}{}", shown(path), manifest.name, binary_size(bytes)));
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

/// The columns of the terminal that standard output is; `None` if it is none, or for `wide` text.
pub(crate) fn width(wide: bool) -> Option<usize> {
    if wide || !io::stdout().is_terminal() {
        return None;
    }
    terminal_size::terminal_size().map(|(width, _)| usize::from(width.0))
}

/// Lays out rows of cells in columns; the last `numbers` columns are flush right. The first row has the titles. Where a table is
/// wider than `width`, the columns whose titles are `spare` are left out, the first one first, then the widest text is cut.
pub(crate) fn table<const N: usize>(
    rows: &[[String; N]],
    numbers: usize,
    spare: &[&str],
    width: Option<usize>,
) -> Vec<String> {
    let widest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let mut widths: [usize; N] = std::array::from_fn(widest);
    let mut columns: Vec<usize> = (0..N).collect();
    let limit = width.unwrap_or(usize::MAX);
    let total = |columns: &[usize], widths: &[usize; N]| {
        columns.iter().map(|&column| widths[column] + 2).sum::<usize>()
    };
    for title in spare {
        if total(&columns, &widths) > limit.saturating_add(2) {
            columns.retain(|&column| rows.first().is_none_or(|titles| titles[column] != *title));
        }
    }
    // Several texts may have to become shorter, one character of the widest one at a time.
    while total(&columns, &widths) > limit.saturating_add(2) {
        let texts = columns.iter().copied().filter(|column| column + numbers < N);
        match texts.max_by_key(|&column| widths[column]) {
            Some(column) if widths[column] > LEAST_TEXT => widths[column] -= 1,
            _ => break,
        }
    }
    let line = |row: &[String; N]| {
        let cell = |&column: &usize| {
            let text = cut(&row[column], widths[column]);
            match column + numbers >= N {
                true => format!("{text:>width$}", width = widths[column]),
                false => format!("{text:<width$}", width = widths[column]),
            }
        };
        columns.iter().map(cell).collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// The fewest characters that are left of a text.
const LEAST_TEXT: usize = 8;

/// A text of at most so many characters, without its middle if it is longer.
fn cut(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let start = kept / 2;
    let end = text.chars().skip(length - (kept - start));
    text.chars().take(start).chain(['…']).chain(end).collect()
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
        assert_eq!(table(&rows, 1, &[], None), ["a     1", "bcd  23"]);
    }

    #[test]
    fn wide_tables_lose_columns_and_then_text() {
        let row = |cells: [&str; 4]| cells.map(str::to_owned);
        let rows = [
            row(["node", "kernel", "op", "ms"]),
            row(["encoder.layer1.0", "conv2d_tiled[HALF]", "conv2d", "1.5"]),
        ];
        let fitted = |width| table(&rows, 1, &["op"], Some(width));
        assert_eq!(fitted(49), table(&rows, 1, &["op"], None));
        assert_eq!(fitted(48)[1], "encoder.layer1.0  conv2d_tiled[HALF]  1.5");
        assert_eq!(fitted(34)[1], "encode…ayer1.0  conv2d…[HALF]  1.5");
        assert!((30..60).all(|width| fitted(width).iter().all(|line| line.chars().count() <= width)));
        assert_eq!(fitted(1)[0], "node      kernel     ms");
    }
}
