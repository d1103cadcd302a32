//! Reads the hypotheses out of the results of a beam search.

use crate::engine::graph::Data;
use crate::engine::scores::LIVE;

/// A token of a hypothesis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Word {
    /// Its id in the vocabulary.
    pub(super) id: u32,
    /// The natural logarithm of its probability after the words before it.
    pub(super) log_prob: f32,
    /// Attention on each cell of the grid, row by row; the cells sum to 1. Empty without attention.
    pub(super) attention: Vec<f32>,
}

/// A sequence of tokens that a search found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hypothesis {
    /// Its tokens, the end token included if it was reached.
    pub(super) words: Vec<Word>,
    /// The sum of their log-probabilities.
    pub(super) log_prob: f32,
    /// Whether it ends with the end token.
    pub(super) finished: bool,
}

impl Hypothesis {
    /// `log_prob / length^penalty`, the score that hypotheses are compared by (Wu et al., arXiv 1609.08144, in its simplest
    /// form); the length includes the end token.
    pub(super) fn score(&self, penalty: f32) -> f32 {
        self.log_prob / (self.words.len().max(1) as f32).powf(penalty)
    }
}

/// The results of a search graph, checked: the device that computed them may be broken.
#[derive(Clone, Debug)]
pub(super) struct SearchTrace<'a> {
    beams: usize,
    steps: Vec<Step<'a>>,
    /// Numbers and scores of the tags, if the search is complete and there are any.
    tags: Option<(&'a [u32], &'a [f32])>,
}

/// The results of a step; one entry for each row, which is a place of an image's beam.
#[derive(Clone, Copy, Debug)]
struct Step<'a> {
    totals: &'a [f32],
    tokens: &'a [u32],
    parents: &'a [u32],
    /// `[rows, P]`, if the decoder attends.
    attention: Option<&'a [f32]>,
}

/// The sizes that the results of a search have to fit.
#[derive(Clone, Copy, Debug)]
pub(super) struct SearchSizes {
    /// Photos at a time.
    pub(super) images: usize,
    /// Hypotheses for each image.
    pub(super) beams: usize,
    /// Words of the vocabulary.
    pub(super) words: usize,
    /// Cells of the grid that the decoder attends to, if it does.
    pub(super) cells: Option<usize>,
    /// The tags that the decoder reads of an image, and how many there are, if it reads any.
    pub(super) tags: Option<[usize; 2]>,
}

impl SearchSizes {
    /// The number of results of a step: totals, tokens, parents and, if the decoder attends, attention.
    pub(super) fn results(&self) -> usize {
        if self.cells.is_some() { 4 } else { 3 }
    }

    /// Checks the results of a step.
    fn step<'a>(&self, results: &'a [Data]) -> Option<Step<'a>> {
        let rows = self.images * self.beams;
        let (Data::F32(totals), Data::U32(tokens), Data::U32(parents)) =
            (results.first()?, results.get(1)?, results.get(2)?)
        else {
            return None;
        };
        let attention = match (results.get(3), self.cells) {
            (Some(Data::F32(weights)), Some(cells)) if weights.len() == rows * cells => {
                Some(weights.as_slice())
            }
            (None, None) => None,
            _ => return None,
        };
        // The parent is another hypothesis of the same image.
        let is_parent = |(row, &parent): (usize, &u32)| parent as usize / self.beams == row / self.beams;
        let fits = [totals.len(), tokens.len(), parents.len()] == [rows; 3]
            && tokens.iter().all(|&token| (token as usize) < self.words)
            && parents.iter().enumerate().all(is_parent);
        fits.then_some(Step { totals, tokens, parents, attention })
    }
}

impl<'a> SearchTrace<'a> {
    /// Takes the results of whole steps in their order; `None` if they are not valid for a search.
    pub(super) fn new(sizes: &SearchSizes, outputs: &'a [Data]) -> Option<SearchTrace<'a>> {
        let steps = outputs.chunks_exact(sizes.results());
        let tags = match (steps.remainder(), sizes.tags) {
            ([], _) => None,
            ([Data::U32(numbers), Data::F32(scores)], Some([given, all])) => {
                let fits = [numbers.len(), scores.len()] == [sizes.images * given; 2]
                    && numbers.iter().all(|&number| (number as usize) < all);
                Some(fits.then_some((numbers.as_slice(), scores.as_slice()))?)
            }
            _ => return None,
        };
        let steps = steps.map(|results| sizes.step(results)).collect::<Option<_>>()?;
        Some(SearchTrace { beams: sizes.beams, steps, tags })
    }

    /// Numbers and scores of the tags of an image, best first.
    pub(super) fn tags(&self, sizes: &SearchSizes, image: usize) -> impl Iterator<Item = (usize, f32)> {
        let given = sizes.tags.map_or(0, |[given, _]| given);
        let part = image * given..(image + 1) * given;
        let (numbers, scores) = self.tags.unwrap_or_default();
        let pairs = numbers.iter().zip(scores).skip(part.start).take(part.len());
        pairs.map(|(&number, &score)| (number as usize, score))
    }

    /// Follows a row of a step back to the first one.
    fn follow(&self, last: usize, row: usize, finished: bool) -> Hypothesis {
        let mut words = Vec::with_capacity(last + 1);
        let mut row = row;
        for (number, step) in self.steps.iter().enumerate().take(last + 1).rev() {
            let parent = step.parents[row] as usize;
            let before = number.checked_sub(1).map_or(0.0, |before| self.steps[before].totals[parent]);
            let cells = |weights: &[f32]| {
                let cells = weights.len() / step.totals.len();
                weights[parent * cells..(parent + 1) * cells].to_vec()
            };
            words.push(Word {
                id: step.tokens[row],
                log_prob: step.totals[row] - before,
                attention: step.attention.map(cells).unwrap_or_default(),
            });
            row = parent;
        }
        words.reverse();
        let log_prob = words.iter().map(|w| w.log_prob).sum();
        Hypothesis { words, log_prob, finished }
    }

    /// All hypotheses of an image, best first: those that ended, or, if none did, those that were cut off. Of equal scores the one
    /// found first wins. Empty if there are no steps, or if all probabilities are NaN.
    pub(super) fn hypotheses(&self, image: usize, end: u32, penalty: f32) -> Vec<Hypothesis> {
        let rows = image * self.beams..(image + 1) * self.beams;
        let live = |step: &Step<'_>, row: usize| step.totals.get(row).is_some_and(|&total| total > LIVE);
        let mut found = Vec::new();
        for (number, step) in self.steps.iter().enumerate() {
            let ended = rows.clone().filter(|&row| live(step, row) && step.tokens[row] == end);
            found.extend(ended.map(|row| self.follow(number, row, true)));
        }
        if let (true, Some(last)) = (found.is_empty(), self.steps.last()) {
            let cut = rows.filter(|&row| live(last, row));
            found.extend(cut.map(|row| self.follow(self.steps.len() - 1, row, false)));
        }
        found.sort_by(|a, b| b.score(penalty).total_cmp(&a.score(penalty)));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::scores::NOTHING;

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

    const SIZES: SearchSizes = SearchSizes { images: 1, beams: 2, words: 10, cells: None, tags: None };

    fn hypotheses(outputs: &[Data], penalty: f32) -> Vec<Hypothesis> {
        SearchTrace::new(&SIZES, outputs).unwrap().hypotheses(0, END, penalty)
    }

    fn ids(hypothesis: &Hypothesis) -> Vec<u32> {
        hypothesis.words.iter().map(|w| w.id).collect()
    }

    #[test]
    fn hypotheses_are_followed_back_and_ranked() {
        let outputs = outputs();
        let raw = hypotheses(&outputs, 0.0);
        assert_eq!(raw.iter().map(ids).collect::<Vec<_>>(), [vec![4, END], vec![4, 5, END]]);
        assert_eq!(raw[0].words.iter().map(|w| w.log_prob).collect::<Vec<_>>(), [-0.5, -1.0]);
        assert_eq!(raw[1].words.iter().map(|w| w.log_prob).collect::<Vec<_>>(), [-0.5, -1.5, -0.25]);
        assert!(raw.iter().all(|h| h.finished));
        // By mean log-probability the longer one is no better: -0.75 each; the first found stays first.
        let mean = hypotheses(&outputs, 1.0);
        assert_eq!(ids(&mean[0]), [4, END]);
        let long = hypotheses(&outputs, 2.0);
        assert_eq!(ids(&long[0]), [4, 5, END]);
    }

    #[test]
    fn unfinished_hypotheses_are_used_if_none_is_finished() {
        let cut = hypotheses(&outputs()[..3], 0.7);
        assert_eq!(cut.iter().map(ids).collect::<Vec<_>>(), [vec![4], vec![6]]);
        assert!(cut.iter().all(|h| !h.finished));
    }

    #[test]
    fn attention_comes_from_the_row_that_chose_the_word() {
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
        let sizes = SearchSizes { cells: Some(2), ..SIZES };
        let best = &SearchTrace::new(&sizes, &outputs).unwrap().hypotheses(0, END, 0.0)[0];
        assert_eq!(best.words[0].attention, [0.25, 0.75]);
        assert_eq!(best.words[1].attention, [0.6, 0.4]);
    }

    #[test]
    fn tags_follow_the_steps() {
        let sizes = SearchSizes { tags: Some([2, 5]), ..SIZES };
        let with = |tags: [Data; 2]| [&outputs()[..], &tags].concat();
        let tags = [Data::U32(vec![4, 0]), Data::F32(vec![0.75, 0.25])];
        let complete = with(tags.clone());
        let trace = SearchTrace::new(&sizes, &complete).unwrap();
        assert_eq!(trace.tags(&sizes, 0).collect::<Vec<_>>(), [(4, 0.75), (0, 0.25)]);
        assert_eq!(trace.hypotheses(0, END, 0.0).len(), 2);
        // A search that is not complete has none yet.
        let partial = outputs();
        assert_eq!(SearchTrace::new(&sizes, &partial).unwrap().tags(&sizes, 0).count(), 0);
        assert!(SearchTrace::new(&SIZES, &complete).is_none());
        for wrong in [
            [Data::U32(vec![5, 0]), tags[1].clone()],
            [Data::U32(vec![4]), tags[1].clone()],
            [tags[0].clone(), Data::F32(vec![1.0])],
            [tags[1].clone(), tags[0].clone()],
        ] {
            assert!(SearchTrace::new(&sizes, &with(wrong)).is_none());
        }
    }

    #[test]
    fn results_that_are_not_valid_for_a_search_are_refused() {
        let two_images = SearchSizes { images: 2, ..SIZES };
        let attends = SearchSizes { cells: Some(2), ..SIZES };
        let changed = |index: usize, data: Data| {
            let mut outputs = outputs();
            outputs[index] = data;
            outputs
        };
        for (sizes, wrong) in [
            (SIZES, changed(2, Data::U32(vec![0, 2]))),
            (SIZES, changed(2, Data::U32(vec![u32::MAX, 0]))),
            (SIZES, changed(4, Data::U32(vec![10, 0]))),
            (SIZES, changed(3, Data::F32(vec![-1.0]))),
            (SIZES, changed(4, Data::U32(vec![]))),
            (SIZES, changed(0, Data::U32(vec![0, 0]))),
            (SIZES, changed(1, Data::F32(vec![0.0, 0.0]))),
            (SIZES, outputs()[..5].to_vec()),
            (two_images, outputs()),
            (attends, outputs()),
            (attends, [&outputs()[..3], &[Data::F32(vec![0.5; 3])]].concat()),
        ] {
            assert!(SearchTrace::new(&sizes, &wrong).is_none(), "{sizes:?} {wrong:?}");
        }
        // A parent in the beam of another image.
        let step = |parents: [u32; 4]| {
            vec![Data::F32(vec![-1.0; 4]), Data::U32(vec![4; 4]), Data::U32(parents.to_vec())]
        };
        assert!(SearchTrace::new(&two_images, &step([0, 1, 2, 3])).is_some());
        assert!(SearchTrace::new(&two_images, &step([0, 2, 2, 3])).is_none());
    }

    #[test]
    fn a_hypothesis_with_a_nan_probability_is_dropped() {
        let step =
            [Data::F32(vec![f32::NAN, f32::NEG_INFINITY]), Data::U32(vec![4, 5]), Data::U32(vec![0, 0])];
        assert_eq!(hypotheses(&step, 0.0), []);
        assert_eq!(hypotheses(&[], 0.0), []);
        assert_eq!(SearchTrace::new(&SIZES, &outputs()).unwrap().hypotheses(7, END, 0.0), []);
    }
}
