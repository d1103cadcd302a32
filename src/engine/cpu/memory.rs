//! Memory at addresses that suit vectors, and its division into parts.

use std::ops::Range;

/// Bytes of the longest vector, and of a cache line.
pub(super) const ALIGNMENT: usize = 64;

/// Memory at a multiple of [`ALIGNMENT`]: vectors that cross cache lines are slow.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u8; ALIGNMENT]);

/// A block of aligned memory, zeros at first.
#[derive(Default)]
pub(super) struct Block(Vec<Line>);

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len() * ALIGNMENT)
    }
}

impl Block {
    /// At least this many bytes.
    pub(super) fn new(bytes: usize) -> Block {
        Block(vec![Line([0; ALIGNMENT]); bytes.div_ceil(ALIGNMENT)])
    }

    /// All of it.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.0)
    }

    /// All of it, as floats.
    pub(super) fn floats(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }

    /// All of it, as floats.
    pub(super) fn floats_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }

    /// Its first floats; it grows as needed.
    pub(super) fn first_floats(&mut self, count: usize) -> &mut [f32] {
        let lines = (count * size_of::<f32>()).div_ceil(ALIGNMENT);
        if self.0.len() < lines {
            self.0.resize(lines, Line([0; ALIGNMENT]));
        }
        &mut self.floats_mut()[..count]
    }
}

/// Memory of which some parts are written: the others can be read.
pub(super) struct Parts<'a> {
    /// The parts to write, in the order asked for.
    pub(super) written: Vec<&'a mut [u8]>,
    /// The others, with their first byte.
    others: Vec<(usize, &'a [u8])>,
}

impl<'a> Parts<'a> {
    /// Divides memory. `None` if ranges overlap or reach beyond its end.
    pub(super) fn new(memory: &'a mut [u8], written: &[Range<usize>]) -> Option<Parts<'a>> {
        let mut order: Vec<usize> = (0..written.len()).collect();
        order.sort_unstable_by_key(|&i| written[i].start);
        let mut parts: Vec<(usize, &mut [u8])> = Vec::with_capacity(written.len());
        let mut others = Vec::with_capacity(written.len() + 1);
        let (mut rest, mut at) = (memory, 0);
        for i in order {
            let Range { start, end } = written[i];
            let (before, after) = rest.split_at_mut_checked(start.checked_sub(at)?)?;
            let (part, after) = after.split_at_mut_checked(end.checked_sub(start)?)?;
            others.push((at, &*before));
            parts.push((i, part));
            (rest, at) = (after, end);
        }
        others.push((at, &*rest));
        parts.sort_unstable_by_key(|&(i, _)| i);
        Some(Parts { written: parts.into_iter().map(|(_, part)| part).collect(), others })
    }

    /// A range that is not written. `None` if a part of it is.
    pub(super) fn read(&self, range: &Range<usize>) -> Option<&'a [u8]> {
        self.others.iter().find_map(|&(start, part)| {
            let first = range.start.checked_sub(start)?;
            part.get(first..range.end - start)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_written_in_the_order_asked_for() {
        let mut memory: Vec<u8> = (0..10).collect();
        let parts = Parts::new(&mut memory, &[6..8, 1..3]).unwrap();
        assert_eq!([&*parts.written[0], &*parts.written[1]], [&[6, 7][..], &[1, 2]]);
        assert_eq!(parts.read(&(3..6)), Some(&[3, 4, 5][..]));
        assert_eq!(parts.read(&(0..1)), Some(&[0][..]));
        assert_eq!(parts.read(&(8..10)), Some(&[8, 9][..]));
        assert_eq!(parts.read(&(9..9)), Some(&[][..]));
        assert_eq!([parts.read(&(5..7)), parts.read(&(6..7)), parts.read(&(8..11))], [None, None, None]);
    }

    #[test]
    fn what_overlaps_is_refused() {
        let mut memory = [0; 10];
        assert!(Parts::new(&mut memory, &[2..5, 4..6]).is_none());
        assert!(Parts::new(&mut memory, &[2..5, 8..11]).is_none());
        assert!(Parts::new(&mut memory, &[2..5, 5..10]).is_some());
    }

    #[test]
    fn blocks_are_aligned() {
        let mut block = Block::default();
        for count in [1, 16, 17, 5] {
            let floats = block.first_floats(count);
            assert_eq!(floats.len(), count);
            assert_eq!(floats.as_ptr().align_offset(ALIGNMENT), 0);
        }
        assert_eq!(Block::new(65).floats().len(), 32);
    }
}
