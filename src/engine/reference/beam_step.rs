//! One step of beam search for all images at once.

use crate::engine::scores::{ENDED, LIVE, NOTHING};
use std::cmp::Ordering;
use std::ops::Range;

/// What a step decided, slot by slot. Rows are numbered through all images: slot `s` of image `i` is row
/// `i * K + s`.
#[derive(Clone, Debug, PartialEq)]
pub struct BeamStep {
    /// `[N, K]` scores to go on with: a sum, [`ENDED`], or [`NOTHING`] where no candidate was left.
    pub scores: Vec<f32>,
    /// `[N, K]` sum of the log-probabilities of the sentence, also of one that ends in this step; else
    /// [`NOTHING`].
    pub totals: Vec<f32>,
    /// `[N, K]` the token each slot appends.
    pub tokens: Vec<u32>,
    /// `[N, K]` the row each slot continues.
    pub parents: Vec<u32>,
}

/// Extends the live beams of each image by their best tokens.
///
/// * `scores` `[N, K]`: `[0, NOTHING, ...]` per image at the start, then [`BeamStep::scores`]
/// * `values` and `ids` `[N * K, K]`: log-probabilities and ids of each row's `K` most likely tokens
///
/// Candidates are the pairs `(row, j)` of which neither score nor value is a marker; their total is
/// `scores[row] + values[row, j]`. With `places` the number of slots that have not ended, the best `places`
/// candidates fill the slots from the first on, by descending total, ties by the lower row, then the lower
/// `j`. A slot that takes the token `end` keeps its total, and its score becomes [`ENDED`].
///
/// The other slots hold `end`, their own row as their parent, and the total [`NOTHING`]; their score is
/// [`NOTHING`] below `places` and [`ENDED`] from there on, so that as many slots stay ended as have been.
pub fn beam_step(scores: &[f32], values: &[f32], ids: &[u32], n: usize, k: usize, end: u32) -> BeamStep {
    let mut step = BeamStep {
        scores: vec![ENDED; n * k],
        totals: vec![NOTHING; n * k],
        tokens: vec![end; n * k],
        parents: (0u32..).take(n * k).collect(),
    };
    for first in (0..n).map(|image| image * k) {
        let rows = first..first + k;
        let places = scores[rows.clone()].iter().filter(|&&score| score != ENDED).count();
        step.scores[first..first + places].fill(NOTHING);
        let best = candidates(scores, values, rows, k);
        for (slot, (total, row, j)) in (first..first + places).zip(best) {
            let token = ids[row * k + j];
            step.scores[slot] = if token == end { ENDED } else { total };
            step.totals[slot] = total;
            step.tokens[slot] = token;
            step.parents[slot] = row as u32;
        }
    }
    step
}

/// All `(total, row, j)` of one image's rows, best first.
fn candidates(scores: &[f32], values: &[f32], rows: Range<usize>, k: usize) -> Vec<(f32, usize, usize)> {
    let mut found: Vec<(f32, usize, usize)> = rows
        .flat_map(|row| (0..k).map(move |j| (row, j)))
        .filter(|&(row, j)| scores[row] > LIVE && values[row * k + j] > LIVE)
        .map(|(row, j)| (scores[row] + values[row * k + j], row, j))
        .collect();
    // A stable sort: equals stay in the order of rows, then of j. Nothing here is NaN.
    found.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap_or(Ordering::Equal));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: u32 = 9;
    const NO: f32 = NOTHING;

    #[test]
    fn the_first_step_fills_all_slots_from_one_row() {
        let values = [-1.0, -2.0, -3.0, -0.1, -0.1, -0.1, -0.1, -0.1, -0.1];
        let ids = [4, 5, 6, 1, 1, 1, 1, 1, 1];
        let step = beam_step(&[0.0, NO, NO], &values, &ids, 1, 3, END);
        assert_eq!(step.scores, [-1.0, -2.0, -3.0]);
        assert_eq!(step.totals, step.scores);
        assert_eq!(step.tokens, [4, 5, 6]);
        assert_eq!(step.parents, [0, 0, 0]);
    }

    #[test]
    fn best_totals_win_and_ended_sentences_are_marked() {
        // Totals of row 0: -1.5, -3; of row 1: -1.25, -1.75.
        let step = beam_step(&[-1.0, -0.75], &[-0.5, -2.0, -0.5, -1.0], &[3, 4, END, 5], 1, 2, END);
        assert_eq!(step.totals, [-1.25, -1.5]);
        assert_eq!(step.tokens, [END, 3]);
        assert_eq!(step.parents, [1, 0]);
        assert_eq!(step.scores, [ENDED, -1.5]);
    }

    #[test]
    fn ties_go_to_the_lower_row_then_the_lower_j() {
        let step = beam_step(&[-1.0, -0.5], &[-1.0, -1.0, -1.5, -1.5], &[8, 7, 6, 5], 1, 2, END);
        assert_eq!(step.tokens, [8, 7]);
        assert_eq!(step.parents, [0, 0]);
        let step = beam_step(&[-1.0, -0.5], &[-1.0, -2.0, -1.5, -1.5], &[8, 7, 6, 5], 1, 2, END);
        assert_eq!(step.tokens, [8, 6]);
        assert_eq!(step.parents, [0, 1]);
    }

    #[test]
    fn ended_sentences_take_their_slots_with_them() {
        let values = [-1.0, -1.0, -1.0, -0.5, -0.75, -2.0, -1.0, -1.0, -1.0];
        let ids = [1, 1, 1, 2, END, 3, 1, 1, 1];
        // Row 0 has ended, row 1 is live, row 2 was never filled.
        let step = beam_step(&[ENDED, -1.0, NO], &values, &ids, 1, 3, END);
        assert_eq!(step.tokens, [2, END, END]);
        assert_eq!(step.parents, [1, 1, 2]);
        assert_eq!(step.totals, [-1.5, -1.75, NO]);
        assert_eq!(step.scores, [-1.5, ENDED, ENDED], "the second and the one that had ended before");
        // With two ended, a single place is left.
        let step = beam_step(&step.scores, &values, &[7; 9], 1, 3, END);
        assert_eq!(step.tokens, [7, END, END]);
        assert_eq!(step.totals, [-2.5, NO, NO]);
        assert_eq!(step.scores, [-2.5, ENDED, ENDED]);
    }

    #[test]
    fn nothing_happens_once_all_have_ended() {
        let step = beam_step(&[ENDED; 2], &[-1.0; 4], &[1; 4], 1, 2, END);
        assert_eq!((step.scores, step.totals), (vec![ENDED; 2], vec![NO; 2]));
        assert_eq!((step.tokens, step.parents), (vec![END; 2], vec![0, 1]));
    }

    #[test]
    fn markers_are_no_candidates() {
        let values = [-1.0, f32::NEG_INFINITY, NO, -1.0, -2.0, f32::NAN, -0.5, -0.5, -0.5];
        let step = beam_step(&[0.0, f32::NAN, NO], &values, &[1, 2, 3, 4, 5, 6, 7, 8, END], 1, 3, END);
        assert_eq!(step.tokens, [1, END, END]);
        assert_eq!(step.parents, [0, 1, 2]);
        assert_eq!(step.totals, [-1.0, NO, NO]);
        assert_eq!(step.scores, [-1.0, NO, NO], "an empty slot is no sentence, its place stays open");
    }

    #[test]
    fn images_are_independent_and_parents_global() {
        let scores = [0.0, NO, -1.0, -2.0];
        let values = [-1.0, -2.0, -1.0, -2.0, -3.0, -4.0, -0.5, -5.0];
        let ids = [1, 2, 3, 4, 5, 6, END, 8];
        let step = beam_step(&scores, &values, &ids, 2, 2, END);
        assert_eq!(step.tokens, [1, 2, END, 5]);
        assert_eq!(step.parents, [0, 0, 3, 2]);
        assert_eq!(step.totals, [-1.0, -2.0, -2.5, -4.0]);
        assert_eq!(step.scores, [-1.0, -2.0, ENDED, -4.0]);
        let alone = beam_step(&scores[2..], &values[4..], &ids[4..], 1, 2, END);
        assert_eq!(alone.scores, step.scores[2..]);
        assert_eq!(alone.tokens, step.tokens[2..]);
    }
}
