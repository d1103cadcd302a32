//! The tokens that hypotheses may not continue with.

use crate::common::{Case, Tolerance};
use shadetell::engine::ops::TokenMask;

#[test]
fn any_sets_agree_with_the_reference() {
    for (rows, words) in [(1u32, 1u32), (3, 40), (5, 64), (6, 2917), (64, 97)] {
        for end in [0, words - 1, 2 % words] {
            let mut case = Case::new(u64::from(rows * words + end));
            let width = words.div_ceil(32) as usize;
            let mut bits =
                |count: usize| (0..count).map(|_| case.random.below(1 << 32) as u32).collect::<Vec<_>>();
            let sets = [bits(rows as usize * width), bits(width), bits(width)];
            let mut below = |bound: u32| case.random.below(bound as usize) as u32;
            let parents: Vec<u32> = (0..rows).map(|_| below(rows)).collect();
            let mut tokens: Vec<u32> = (0..rows).map(|_| below(words)).collect();
            // Outside of the vocabulary.
            if let Some(last) = tokens.last_mut().filter(|_| rows > 3) {
                *last = u32::MAX;
            }
            let [excluded, once, unfinished] = sets;
            let excluded = case.ids([rows as usize, width], excluded);
            let parents = case.ids([rows as usize], parents);
            let tokens = case.ids([rows as usize], tokens);
            let once = case.ids([width], once);
            let unfinished = case.ids([width], unfinished);
            case.last(TokenMask { end }, vec![excluded, parents, tokens, once, unfinished]);
            case.check(&format!("{rows} rows, {words} words, end {end}"), Tolerance::Exact);
        }
    }
}
