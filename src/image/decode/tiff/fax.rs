//! The compressions of fax machines (CCITT T.4 and T.6): pictures in black and white as lengths of runs. The crate `fax` has the
//! code words; it decodes neither all of the codings nor damaged data with an error.

use std::convert::Infallible;

use ::fax::BitReader;
use ::fax::maps::{Mode, black, mode, white};

/// How rows are coded.
#[derive(Clone, Copy)]
pub(super) enum Coding {
    /// Runs in each row by itself. Rows begin at multiples of so many bytes.
    Rows { align: usize },
    /// With markers before the rows, and possibly rows that are coded by their differences to the row above.
    Group3 { two_dimensional: bool },
    /// All rows by their differences to the row above, without markers.
    Group4,
}

/// Rows of `columns` bits, 1 for black, each padded to whole bytes. `None` if the data are damaged or end too early.
pub(super) fn decode(packed: &[u8], coding: Coding, columns: usize, rows: usize) -> Option<Vec<u8>> {
    let row_bytes = columns.div_ceil(8);
    let mut data = vec![0; row_bytes * rows];
    let mut reader = Reader { data: packed, used: 0 };
    // Where the colour changes in the row above; above the first row everything is white.
    let mut above = Vec::new();
    for row in data.chunks_exact_mut(row_bytes) {
        let one_dimensional = match coding {
            Coding::Rows { align } => {
                reader.align(align)?;
                true
            }
            Coding::Group3 { two_dimensional } => {
                reader.skip_marker()?;
                !two_dimensional || reader.bit()? == 1
            }
            Coding::Group4 => false,
        };
        let mut changes =
            if one_dimensional { reader.runs(columns)? } else { reader.differences(columns, &above)? };
        remove_empty_runs(&mut changes, columns);
        fill_black(row, &changes, columns);
        above = changes;
    }
    Some(data)
}

/// A run of no pixels is not a change, and neither is the end of the row.
fn remove_empty_runs(changes: &mut Vec<usize>, columns: usize) {
    let mut kept: Vec<usize> = Vec::with_capacity(changes.len());
    for &change in changes.iter() {
        if kept.last() == Some(&change) {
            kept.pop();
        } else {
            kept.push(change);
        }
    }
    kept.truncate(kept.iter().position(|&change| change >= columns).unwrap_or(kept.len()));
    *changes = kept;
}

/// Sets the bits from each even change to the next one.
fn fill_black(row: &mut [u8], changes: &[usize], columns: usize) {
    for run in changes.chunks(2) {
        for x in run[0]..run.get(1).copied().unwrap_or(columns) {
            row[x / 8] |= 0x80 >> (x % 8);
        }
    }
}

/// The bits of the data, with zeros behind them: code words are looked up with more bits than most of them have.
struct Reader<'a> {
    data: &'a [u8],
    /// Bits that have been read.
    used: usize,
}

impl BitReader for Reader<'_> {
    type Error = Infallible;

    fn peek(&self, bits: u8) -> Option<u16> {
        let byte = |i: usize| u32::from(self.data.get(self.used / 8 + i).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        let shift = 24_usize.checked_sub(self.used % 8 + usize::from(bits))?;
        Some((word >> shift & ((1 << bits) - 1)) as u16)
    }

    fn consume(&mut self, bits: u8) -> Result<(), Infallible> {
        self.used += usize::from(bits);
        Ok(())
    }

    fn bits_to_byte_boundary(&self) -> u8 {
        (self.used.next_multiple_of(8) - self.used) as u8
    }
}

impl Reader<'_> {
    /// `None` if bits behind the data have been read.
    fn checked<T>(&self, value: T) -> Option<T> {
        (self.used <= 8 * self.data.len()).then_some(value)
    }

    fn bit(&mut self) -> Option<u16> {
        let bit = self.peek(1)?;
        self.used += 1;
        self.checked(bit)
    }

    fn align(&mut self, bytes: usize) -> Option<()> {
        while !self.used.is_multiple_of(8 * bytes) {
            self.bit()?;
        }
        Some(())
    }

    /// Skips a marker of at least eleven zero bits and a one, if there is one.
    fn skip_marker(&mut self) -> Option<()> {
        if self.peek(11)? == 0 {
            while self.bit()? == 0 {}
        }
        Some(())
    }

    /// The length of a run of one colour: codes for multiples of 64, then one for the rest.
    fn run(&mut self, is_black: bool) -> Option<usize> {
        let mut length = 0;
        loop {
            let part = if is_black { black::decode(self)? } else { white::decode(self)? };
            length += self.checked(usize::from(part))?;
            if part < 64 {
                return Some(length);
            }
        }
    }

    /// The changes of a row that is coded by itself. The first one is from white to black.
    fn runs(&mut self, columns: usize) -> Option<Vec<usize>> {
        let mut changes = Vec::new();
        let mut at = 0;
        while at < columns {
            at += self.run(changes.len() % 2 == 1)?;
            changes.push(at);
        }
        (at == columns).then_some(changes)
    }

    /// The changes of a row that is coded by its differences to the changes of the row above.
    fn differences(&mut self, columns: usize, above: &[usize]) -> Option<Vec<usize>> {
        let mut changes: Vec<usize> = Vec::new();
        // The pixel before the first one counts as white.
        let mut at: Option<usize> = None;
        let mut next = 0;
        while at.unwrap_or(0) < columns {
            let is_black = changes.len() % 2 == 1;
            // The first change above that is right of here and from this colour to the other one. The last step may have gone
            // back to the left.
            next = usize::saturating_sub(next, 3);
            while above.get(next).is_some_and(|&change| at.is_some_and(|at| change <= at)) {
                next += 1;
            }
            next += usize::from((next % 2 == 1) != is_black);
            let change = |i: usize| above.get(i).copied().unwrap_or(columns);
            let mode = mode::decode(self)?;
            match self.checked(mode)? {
                Mode::Pass => at = Some(change(next + 1)),
                Mode::Vertical(offset) => {
                    let to = change(next).checked_add_signed(isize::from(offset))?;
                    if to > columns || at.is_some_and(|at| to < at) {
                        return None;
                    }
                    changes.push(to);
                    at = Some(to);
                }
                Mode::Horizontal => {
                    let first = at.unwrap_or(0) + self.run(is_black)?;
                    let second = first + self.run(!is_black)?;
                    if second > columns {
                        return None;
                    }
                    changes.extend([first, second]);
                    at = Some(second);
                }
                Mode::Extension | Mode::EOF => return None,
            }
        }
        Some(changes)
    }
}
