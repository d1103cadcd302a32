//! Reads the hypotheses out of what a beam search left behind.

use crate::engine::graph::Data;

/// A token of a hypothesis.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    /// Its id in the vocabulary.
    pub id: u32,
    /// The natural logarithm of its probability after the words before it.
    pub log_prob: f32,
    /// How strongly each cell of the grid was looked at, row by row; they sum to 1. Empty without attention.
    pub attention: Vec<f32>,
}

/// A sequence of tokens that a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis {
    /// Its tokens, the end token included if it was reached.
    pub words: Vec<Word>,
    /// The sum of their log-probabilities.
    pub log_prob: f32,
    /// Whether it ends with the end token.
    pub finished: bool,
}

impl Hypothesis {
    /// `log_prob / length^penalty`, by which hypotheses are compared (Wu et al., arXiv 1609.08144, in its simplest
    /// form); the length counts the end token.
    pub fn score(&self, penalty: f32) -> f32 {
        self.log_prob / (self.words.len().max(1) as f32).powf(penalty)
    }
}

/// The results of a search graph, one entry for each step.
#[derive(Clone, Debug)]
pub(crate) struct SearchTrace<'a> {
    /// Hypotheses for each image.
    pub(crate) beams: usize,
    /// Whether the decoder attends: then each step has four results, else three.
    pub(crate) attends: bool,
    /// For each step totals, tokens, parents, and attention.
    pub(crate) outputs: &'a [Data],
}

/// Sums at or below are markers of places without a hypothesis.
const LIVE: f32 = -1.0e38;

impl SearchTrace<'_> {
    /// Results of a step.
    pub(crate) fn width(&self) -> usize {
        if self.attends { 4 } else { 3 }
    }

    fn step(&self, step: usize) -> &[Data] {
        &self.outputs[step * self.width()..(step + 1) * self.width()]
    }

    fn steps(&self) -> usize {
        self.outputs.len() / self.width()
    }

    fn total(&self, step: usize, row: usize) -> f32 {
        self.step(step)[0].f32()[row]
    }

    fn token(&self, step: usize, row: usize) -> u32 {
        self.step(step)[1].u32()[row]
    }

    fn parent(&self, step: usize, row: usize) -> usize {
        self.step(step)[2].u32()[row] as usize
    }

    fn attention(&self, step: usize, row: usize) -> Vec<f32> {
        let Some(data) = self.step(step).get(3) else { return Vec::new() };
        let rows = self.step(step)[0].len();
        let width = data.len() / rows.max(1);
        data.f32()[row * width..(row + 1) * width].to_vec()
    }

    /// Follows a row back to the first step.
    fn trace(&self, last: usize, row: usize, finished: bool) -> Hypothesis {
        let mut words = Vec::with_capacity(last + 1);
        let mut row = row;
        for step in (0..=last).rev() {
            let parent = self.parent(step, row);
            let before = if step == 0 { 0.0 } else { self.total(step - 1, parent) };
            words.push(Word {
                id: self.token(step, row),
                log_prob: self.total(step, row) - before,
                attention: self.attention(step, parent),
            });
            row = parent;
        }
        words.reverse();
        let log_prob = words.iter().map(|w| w.log_prob).sum();
        Hypothesis { words, log_prob, finished }
    }
}

/// All hypotheses of an image, best first: those that ended, or, if none did, those that were cut off.
/// Of equal scores the one found first wins.
pub(crate) fn hypotheses(trace: &SearchTrace<'_>, image: usize, end: u32, penalty: f32) -> Vec<Hypothesis> {
    let rows = image * trace.beams..(image + 1) * trace.beams;
    let mut found = Vec::new();
    for step in 0..trace.steps() {
        for row in rows.clone() {
            if trace.total(step, row) > LIVE && trace.token(step, row) == end {
                found.push(trace.trace(step, row, true));
            }
        }
    }
    if let (true, Some(last)) = (found.is_empty(), trace.steps().checked_sub(1)) {
        let live = rows.filter(|&row| trace.total(last, row) > LIVE);
        found.extend(live.map(|row| trace.trace(last, row, false)));
    }
    found.sort_by(|a, b| b.score(penalty).total_cmp(&a.score(penalty)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cpu::top_k::NOTHING;

    const END: u32 = 9;

    /// Two beams over three steps: `4 9` ends at the second step, `4 5 9` at the third, `6 7 8` never does.
    fn outputs() -> Vec<Data> {
        vec![
            Data::F32(vec![-0.5, -1.0]),
            Data::U32(vec![4, 6]),
            Data::U32(vec![0, 0]),
            Data::F32(vec![-1.5, -2.0]),
            Data::U32(vec![END, 5]),
            Data::U32(vec![0, 0]),
            Data::F32(vec![-2.25, NOTHING]),
            Data::U32(vec![END, END]),
            Data::U32(vec![1, 1]),
        ]
    }

    fn ids(hypothesis: &Hypothesis) -> Vec<u32> {
        hypothesis.words.iter().map(|w| w.id).collect()
    }

    #[test]
    fn hypotheses_are_followed_back_and_ranked() {
        let outputs = outputs();
        let trace = SearchTrace { beams: 2, attends: false, outputs: &outputs };
        let raw = hypotheses(&trace, 0, END, 0.0);
        assert_eq!(raw.iter().map(ids).collect::<Vec<_>>(), [vec![4, END], vec![4, 5, END]]);
        assert_eq!(raw[0].words.iter().map(|w| w.log_prob).collect::<Vec<_>>(), [-0.5, -1.0]);
        assert_eq!(raw[1].words.iter().map(|w| w.log_prob).collect::<Vec<_>>(), [-0.5, -1.5, -0.25]);
        assert!(raw.iter().all(|h| h.finished));
        // By mean log-probability the longer one is no better: -0.75 each; the first found stays first.
        let mean = hypotheses(&trace, 0, END, 1.0);
        assert_eq!(ids(&mean[0]), [4, END]);
        let long = hypotheses(&trace, 0, END, 2.0);
        assert_eq!(ids(&long[0]), [4, 5, END]);
    }

    #[test]
    fn without_an_end_the_rows_that_live_are_taken() {
        let outputs = outputs();
        let trace = SearchTrace { beams: 2, attends: false, outputs: &outputs[..3] };
        let cut = hypotheses(&trace, 0, END, 0.7);
        assert_eq!(cut.iter().map(ids).collect::<Vec<_>>(), [vec![4], vec![6]]);
        assert!(cut.iter().all(|h| !h.finished));
    }

    #[test]
    fn attention_is_that_of_the_row_that_chose_the_word() {
        let outputs = vec![
            Data::F32(vec![-0.5, -1.0]),
            Data::U32(vec![4, 6]),
            Data::U32(vec![0, 0]),
            Data::F32(vec![0.25, 0.75, 0.5, 0.5]),
            Data::F32(vec![-1.5, -2.0]),
            Data::U32(vec![END, 5]),
            Data::U32(vec![1, 0]),
            Data::F32(vec![0.1, 0.9, 0.6, 0.4]),
        ];
        let trace = SearchTrace { beams: 2, attends: true, outputs: &outputs };
        let best = &hypotheses(&trace, 0, END, 0.0)[0];
        assert_eq!(best.words[0].attention, [0.25, 0.75]);
        assert_eq!(best.words[1].attention, [0.6, 0.4]);
    }
}
