//! Products of rows with packed weights, in tasks for all threads.

use super::memory::Block;
use super::packed::Packed;
use super::vector::{self, Ending, Instructions, ROWS};
use super::workers::Workers;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

/// Weights that stay in the fastest cache while rows pass by.
const BLOCK: usize = 8192;
/// Rows of a task, so that expanding and loading weights is worth while.
const BAND: usize = 96;
/// Floats of rows that stay in the second cache while weights pass by.
const CACHED: usize = 1 << 17;
/// Multiplications below which other threads are not asked for help.
const LEAST: usize = 1 << 18;

/// Where the rows of a product lie: each consists of runs of floats without gaps.
#[derive(Debug)]
pub(super) struct Rows {
    /// Images, their rows and their columns.
    pub(super) sizes: [usize; 3],
    /// Floats from one to the next of these.
    pub(super) strides: [usize; 3],
    /// Floats from the inputs of a group to those of the next.
    pub(super) group_stride: usize,
    /// Where the runs begin, in the order of the weights.
    pub(super) runs: Vec<usize>,
    /// Floats of each run.
    pub(super) run: usize,
}

impl Rows {
    /// Rows of `width` floats one behind the other.
    pub(super) fn dense(count: usize, width: usize) -> Rows {
        Rows { sizes: [1, 1, count], strides: [0, 0, width], group_stride: 0, runs: vec![0], run: width }
    }

    fn count(&self) -> usize {
        self.sizes.iter().product()
    }

    fn start(&self, row: usize) -> usize {
        let [_, height, width] = self.sizes;
        let [image, y, x] = [row / (height * width), row / width % height, row % width];
        image * self.strides[0] + y * self.strides[1] + x * self.strides[2]
    }
}

/// Runs that are summed up before the next rows.
#[derive(Debug)]
struct Part {
    runs: Vec<usize>,
    run: usize,
    /// Which of the products of a column these are.
    depth: Range<usize>,
}

/// `clamp(rows * weights + bias + residual)`, ready to run.
#[derive(Debug)]
pub(super) struct Product {
    weights: Arc<Packed>,
    bias: Vec<f32>,
    bounds: [f32; 2],
    rows: Rows,
    instructions: Instructions,
    /// The parts for panels of 1, 2, .. vectors.
    parts: Vec<Vec<Part>>,
}

/// Memory of a thread, which stays.
#[derive(Default)]
struct Scratch {
    sums: Block,
    expanded: Block,
    starts: Vec<usize>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Product {
    pub(super) fn new(
        weights: Arc<Packed>,
        bias: Vec<f32>,
        bounds: [f32; 2],
        rows: Rows,
        instructions: Instructions,
    ) -> Product {
        let parts = (1..=instructions.most_vectors()).map(|vectors| {
            let most = BLOCK / (vectors * instructions.lanes());
            parts(&rows, most)
        });
        Product { parts: parts.collect(), weights, bias, bounds, rows, instructions }
    }

    /// Computes `y`, row by row. `residual` is added where there is one.
    pub(super) fn run(&self, x: &[f32], residual: Option<&[f32]>, y: &mut [f32], workers: &Workers) {
        let (count, panels) = (self.rows.count(), self.weights.panels.len());
        let columns = self.bias.len();
        let threads = if count * columns * self.weights.depth < LEAST { 1 } else { workers.count() };
        let (band, groups) = division([count, columns, panels], x.len() / count, threads);
        let in_bands = |number: usize, y: &mut [f32]| {
            let first = number * band;
            let mut rows: Vec<&mut [f32]> = y.chunks_mut(columns).collect();
            if groups == 1 {
                return self.task(x, residual, first, &mut rows, 0..panels);
            }
            let mut tasks = Vec::with_capacity(groups);
            for group in (0..groups).rev() {
                let panels = panels * group / groups..panels * (group + 1) / groups;
                let column = self.weights.panels[panels.start].columns.start;
                let parts = rows.iter_mut().map(|row| {
                    let (before, part) = std::mem::take(row).split_at_mut(column);
                    *row = before;
                    part
                });
                tasks.push((parts.collect::<Vec<_>>(), panels));
            }
            workers.each(tasks, |(mut rows, panels)| self.task(x, residual, first, &mut rows, panels));
        };
        if threads == 1 {
            y.chunks_mut(band * columns).enumerate().for_each(|(number, y)| in_bands(number, y));
        } else {
            workers.chunks(y, band * columns, in_bands);
        }
    }

    /// The rows from `first` on, in the columns of some panels.
    fn task(
        &self,
        x: &[f32],
        residual: Option<&[f32]>,
        first: usize,
        rows: &mut [&mut [f32]],
        panels: Range<usize>,
    ) {
        SCRATCH.with_borrow_mut(|Scratch { sums, expanded, starts }| {
            let panels = &self.weights.panels[panels];
            let origin = panels.first().map_or(0, |panel| panel.columns.start);
            let mut group = usize::MAX;
            for panel in panels {
                if panel.group != group {
                    group = panel.group;
                    let start = |row| self.rows.start(row) + group * self.rows.group_stride;
                    starts.clear();
                    starts.extend((first..first + rows.len()).map(start));
                }
                let columns = panel.columns.clone();
                let ending = Ending {
                    scale: &self.weights.scale[columns.clone()],
                    bias: &self.bias[columns.clone()],
                    bounds: self.bounds,
                };
                let parts = &self.parts[panel.vectors - 1];
                // Sums that are complete at once are finished while they are in the fastest cache.
                let at_a_time = if parts.len() == 1 { ROWS } else { rows.len() };
                let sums = sums.first_floats(at_a_time * panel.width);
                for part in parts {
                    let weights = self.weights.rows(panel, part.depth.clone(), expanded);
                    let is_last = part.depth.end == self.weights.depth;
                    for (number, starts) in starts.chunks(at_a_time).enumerate() {
                        let sums = &mut sums[..starts.len() * panel.width];
                        let product = vector::Product {
                            x,
                            starts,
                            runs: &part.runs,
                            run: part.run,
                            panel: weights,
                            vectors: panel.vectors,
                            is_first: part.depth.start == 0,
                        };
                        self.instructions.product(&product, sums);
                        if !is_last {
                            continue;
                        }
                        for (row, sums) in (number * at_a_time..).zip(sums.chunks_exact(panel.width)) {
                            let place = (first + row) * self.bias.len();
                            let residual = residual.map(|r| &r[place + columns.start..place + columns.end]);
                            let y = &mut rows[row][columns.start - origin..columns.end - origin];
                            self.instructions.finish(&ending, sums, residual, y);
                        }
                    }
                }
            }
        });
    }
}

/// Divides rows and panels among threads: rows of a band, and groups of panels that each band is computed in. `width` is the
/// number of floats that a row adds to what is read.
///
/// Threads that divide the columns read other weights, which pays where the weights are the larger operand. Otherwise they
/// divide the rows, and where these are too few, the columns too.
fn division([rows, columns, panels]: [usize; 3], width: usize, threads: usize) -> (usize, usize) {
    let in_bands = |bands: usize| rows.div_ceil(bands).next_multiple_of(ROWS);
    if threads == 1 {
        return (in_bands(rows.div_ceil(BAND)), 1);
    }
    if columns >= rows && panels >= threads {
        let most = (CACHED / width.max(1)).max(BAND);
        return (in_bands(rows.div_ceil(most)), threads);
    }
    let band = in_bands(rows.div_ceil(BAND).next_multiple_of(threads));
    let bands = rows.div_ceil(band);
    (band, if bands >= threads { 1 } else { (2 * threads).div_ceil(bands).min(panels) })
}

/// The runs in parts of at most `most` products, if a run is not longer.
fn parts(rows: &Rows, most: usize) -> Vec<Part> {
    let mut parts = Vec::new();
    if rows.run > most {
        for (number, start) in rows.runs.iter().enumerate() {
            for first in (0..rows.run).step_by(most) {
                let run = most.min(rows.run - first);
                let depth = number * rows.run + first;
                parts.push(Part { runs: vec![start + first], run, depth: depth..depth + run });
            }
        }
    } else {
        let at_a_time = most / rows.run.max(1);
        for (number, runs) in rows.runs.chunks(at_a_time).enumerate() {
            let depth = number * at_a_time * rows.run;
            let end = depth + runs.len() * rows.run;
            parts.push(Part { runs: runs.to_vec(), run: rows.run, depth: depth..end });
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_divide_the_larger_operand() {
        // One thread: bands that fit the caches.
        assert_eq!(division([3136, 256, 4], 64, 1), (96, 1));
        assert_eq!(division([3, 2048, 32], 1024, 1), (6, 1));
        // Many rows: each thread has bands of its own.
        assert_eq!(division([3136, 256, 4], 64, 2), (96, 1));
        // Few rows and many columns: the threads share bands that stay in the second cache.
        assert_eq!(division([196, 256, 4], 1024, 2), (102, 2));
        assert_eq!(division([49, 2048, 32], 512, 2), (54, 2));
        assert_eq!(division([3, 2048, 32], 1024, 16), (6, 16));
        // Few of both.
        assert_eq!(division([196, 64, 1], 64, 2), (54, 1));
        assert_eq!(division([12, 256, 4], 64, 16), (6, 4));
    }

    #[test]
    fn parts_cover_all_products_in_their_order() {
        for (runs, run) in [(9, 64), (3, 300), (1, 1000), (7, 3)] {
            let runs: Vec<usize> = (0..runs).map(|number| 5000 * number).collect();
            let rows = Rows { runs: runs.clone(), run, ..Rows::dense(1, 0) };
            let parts = parts(&rows, 128);
            let mut next = 0;
            for part in &parts {
                assert_eq!((part.depth.start, part.depth.len()), (next, part.runs.len() * part.run));
                assert!(part.depth.len() <= 128);
                for (number, start) in part.runs.iter().enumerate() {
                    let product = next + number * part.run;
                    assert_eq!(*start, runs[product / run] + product % run);
                }
                next = part.depth.end;
            }
            assert_eq!(next, runs.len() * run);
        }
    }
}
