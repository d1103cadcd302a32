//! Where the elements of a tensor lie in memory.

/// The steps of a tensor that lies in one piece: how far apart neighbours along each axis are.
pub(crate) fn row_major(sizes: &[usize]) -> Vec<usize> {
    (0..sizes.len()).map(|axis| sizes[axis + 1..].iter().product()).collect()
}

/// Where the elements of a tensor with these sizes lie, in the order of their indices (the last axis varies fastest), when neighbours
/// along axis `k` are `steps[k]` apart and the first one lies at `start`.
pub(crate) fn positions<'a>(
    start: usize,
    sizes: &'a [usize],
    steps: &'a [usize],
) -> impl Iterator<Item = usize> + 'a {
    (0..sizes.iter().product()).map(move |index: usize| {
        let (mut rest, mut at) = (index, start);
        for (size, step) in sizes.iter().zip(steps).rev() {
            at += rest % size * step;
            rest /= size;
        }
        at
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_axis_varies_fastest() {
        assert_eq!(row_major(&[2, 3, 4]), [12, 4, 1]);
        let all: Vec<usize> = positions(0, &[2, 3], &row_major(&[2, 3])).collect();
        assert_eq!(all, [0, 1, 2, 3, 4, 5]);
        let columns: Vec<usize> = positions(10, &[3, 2], &[1, 3]).collect();
        assert_eq!(columns, [10, 13, 11, 14, 12, 15]);
        assert_eq!(positions(7, &[], &[]).collect::<Vec<_>>(), [7]);
    }
}
