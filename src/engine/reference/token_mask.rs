//! The tokens that hypotheses may not continue with.

/// Sets of tokens, a bit for each, the lowest first: words `[ceil(V / 32)]`.
#[derive(Clone, Copy, Debug)]
pub struct TokenSets<'a> {
    /// Those that come once in a sentence at most.
    pub once: &'a [u32],
    /// Those that no sentence ends after.
    pub unfinished: &'a [u32],
}

/// The sets after a step of the search, `[R, W]` with `W = ceil(V / 32)`: row `r` has the tokens that its parent had before, without `end`;
/// its own token, if that is in `once`; and `end`, if its own token is in `unfinished`.
///
/// * `excluded` `[R, W]`: the sets before the step
/// * `parents` and `tokens` `[R]`: the rows that the rows continue, and the tokens that they append
///
/// A parent outside of the rows has the empty set, and a token outside of the vocabulary is in no set.
pub fn token_mask(
    excluded: &[u32],
    parents: &[u32],
    tokens: &[u32],
    sets: TokenSets<'_>,
    end: u32,
) -> Vec<u32> {
    let width = sets.once.len();
    let contains = |set: &[u32], token: u32| {
        set.get(token as usize / 32).is_some_and(|word| word >> (token % 32) & 1 == 1)
    };
    let mut next = Vec::with_capacity(tokens.len() * width);
    for (&parent, &token) in parents.iter().zip(tokens) {
        for word in 0..width {
            let at = parent as usize * width + word;
            let bit = |token: u32| if token as usize / 32 == word { 1 << (token % 32) } else { 0 };
            let mut bits = excluded.get(at).copied().unwrap_or(0) & !bit(end);
            if contains(sets.once, token) {
                bits |= bit(token);
            }
            if contains(sets.unfinished, token) {
                bits |= bit(end);
            }
            next.push(bits);
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 40 tokens: 33 and 5 come once, 7 and 33 end no sentence.
    const SETS: TokenSets<'_> = TokenSets { once: &[1 << 5, 1 << 1], unfinished: &[1 << 7, 1 << 1] };
    const END: u32 = 2;

    #[test]
    fn rows_inherit_the_set_of_their_parent() {
        let excluded = [1 << 5, 0, 1 << 9, 1 << 3];
        assert_eq!(token_mask(&excluded, &[1, 0], &[8, 8], SETS, END), [1 << 9, 1 << 3, 1 << 5, 0]);
    }

    #[test]
    fn tokens_add_themselves_or_the_end() {
        let next = token_mask(&[0; 8], &[0, 1, 2, 3], &[5, 7, 33, 6], SETS, END);
        assert_eq!(next, [1 << 5, 0, 1 << END, 0, 1 << END, 1 << 1, 0, 0]);
        // The end is allowed again after the next token.
        assert_eq!(token_mask(&next, &[2], &[6], SETS, END), [0, 1 << 1]);
    }

    #[test]
    fn values_outside_are_ignored() {
        assert_eq!(token_mask(&[u32::MAX; 2], &[9, 0], &[6, 400], SETS, END), [0, 0, !(1 << END), u32::MAX]);
    }
}
