//! One block of memory for all activations: two tensors share bytes when they are never alive together.
//!
//! Greedy by size, after Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference"
//! (arXiv 2001.03288): the largest tensor first, each at the lowest offset where it overlaps none of those
//! already placed whose lifetimes cross its own.

/// When a tensor of some size is needed: from the step that writes it to the last that reads it, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// The step that writes it.
    pub first: usize,
    /// The last step that reads it.
    pub last: usize,
    /// Its size in bytes.
    pub bytes: usize,
}

impl Lifetime {
    fn crosses(&self, other: &Lifetime) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Where each tensor lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arena {
    /// Byte offsets, in the order of the lifetimes given.
    pub offsets: Vec<usize>,
    /// Bytes of the whole block.
    pub bytes: usize,
    /// Bytes that one block per tensor would have taken.
    pub naive_bytes: usize,
}

impl Arena {
    /// Places every lifetime at a multiple of `alignment`.
    pub fn place(lifetimes: &[Lifetime], alignment: usize) -> Arena {
        let mut by_size: Vec<usize> = (0..lifetimes.len()).collect();
        by_size.sort_by_key(|&i| (std::cmp::Reverse(lifetimes[i].bytes), i));

        let mut offsets = vec![0; lifetimes.len()];
        let mut placed: Vec<usize> = Vec::with_capacity(lifetimes.len());
        for i in by_size {
            let mut taken: Vec<(usize, usize)> = placed
                .iter()
                .filter(|&&j| lifetimes[i].crosses(&lifetimes[j]))
                .map(|&j| (offsets[j], offsets[j] + lifetimes[j].bytes))
                .collect();
            taken.sort_unstable();
            let mut offset = 0;
            for (start, end) in taken {
                if offset + lifetimes[i].bytes <= start {
                    break;
                }
                offset = offset.max(end.next_multiple_of(alignment));
            }
            offsets[i] = offset;
            placed.push(i);
        }
        let bytes = (0..lifetimes.len()).map(|i| offsets[i] + lifetimes[i].bytes).max().unwrap_or(0);
        let naive_bytes = lifetimes.iter().map(|l| l.bytes.next_multiple_of(alignment)).sum();
        Arena { offsets, bytes: bytes.next_multiple_of(alignment), naive_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lifetime(first: usize, last: usize, bytes: usize) -> Lifetime {
        Lifetime { first, last, bytes }
    }

    #[test]
    fn a_chain_needs_two_tensors_at_a_time() {
        let chain: Vec<_> = (0..10).map(|i| lifetime(i, i + 1, 1024)).collect();
        let arena = Arena::place(&chain, 256);
        assert_eq!(arena.bytes, 2048);
        assert_eq!(arena.naive_bytes, 10 * 1024);
    }

    #[test]
    fn a_gap_of_the_right_size_is_used() {
        let arena = Arena::place(&[lifetime(0, 1, 1024), lifetime(0, 9, 768), lifetime(2, 3, 512)], 256);
        assert_eq!(arena.offsets, [0, 1024, 0]);
    }

    proptest! {
        #[test]
        fn no_two_live_tensors_overlap(
            spans in prop::collection::vec((0usize..40, 0usize..12, 1usize..5000), 1..60),
        ) {
            let lifetimes: Vec<_> = spans.iter().map(|&(f, n, b)| lifetime(f, f + n, b)).collect();
            let arena = Arena::place(&lifetimes, 256);
            for (i, a) in lifetimes.iter().enumerate() {
                prop_assert_eq!(arena.offsets[i] % 256, 0);
                prop_assert!(arena.offsets[i] + a.bytes <= arena.bytes);
                for (j, b) in lifetimes.iter().enumerate().skip(i + 1) {
                    let apart = arena.offsets[i] + a.bytes <= arena.offsets[j]
                        || arena.offsets[j] + b.bytes <= arena.offsets[i];
                    prop_assert!(apart || !a.crosses(b), "{i} and {j} overlap");
                }
            }
            prop_assert!(arena.bytes <= arena.naive_bytes);
        }
    }
}
