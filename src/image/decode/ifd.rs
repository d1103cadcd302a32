//! The first directory of a TIFF structure, which both TIFF files and Exif data have.

/// The bytes of a TIFF structure and the entries of its first directory.
pub(super) struct Directory<'a> {
    bytes: &'a [u8],
    pub(super) big_endian: bool,
    /// BigTIFF: counts and offsets have 64 bits.
    big: bool,
    entries: &'a [u8],
    /// Whether all entries that it announces are there.
    pub(super) is_whole: bool,
}

/// The sizes in bytes of the field types 1 to 13; BigTIFF adds 16 to 18 of 8 bytes.
const TYPE_SIZES: [usize; 14] = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4];

impl<'a> Directory<'a> {
    /// `None` if the structure does not begin as one, or if its first directory lies outside of the bytes.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let big_endian = match bytes.get(..2)? {
            b"II" => false,
            b"MM" => true,
            _ => return None,
        };
        let mut directory = Self { bytes, big_endian, big: false, entries: &[], is_whole: false };
        directory.big = match directory.number(bytes.get(2..4)?) {
            42 => false,
            43 => true,
            _ => return None,
        };
        let (start, count) = if directory.big { (8..16, 8) } else { (4..8, 2) };
        let start = usize::try_from(directory.number(bytes.get(start)?)).ok()?;
        let body = bytes.get(start..)?;
        let entries = usize::try_from(directory.number(body.get(..count)?)).ok()?;
        let body = &body[count..];
        let length = entries.saturating_mul(directory.entry_size());
        directory.is_whole = length <= body.len();
        directory.entries = &body[..length.min(body.len())];
        Some(directory)
    }

    fn entry_size(&self) -> usize {
        if self.big { 20 } else { 12 }
    }

    /// An unsigned number of at most 8 bytes.
    pub(super) fn number(&self, bytes: &[u8]) -> u64 {
        let digit = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
        if self.big_endian { bytes.iter().fold(0, digit) } else { bytes.iter().rev().fold(0, digit) }
    }

    fn entry(&self, tag: u16) -> Option<&'a [u8]> {
        self.entries.chunks_exact(self.entry_size()).find(|entry| self.number(&entry[..2]) == u64::from(tag))
    }

    /// Whether there is an entry whose values are not there.
    pub(super) fn lacks_values(&self, tag: u16) -> bool {
        self.entry(tag).is_some() && self.find(tag).is_none()
    }

    /// The type of an entry, and the bytes of its values. `None` if it is missing or lies outside of the bytes.
    fn find(&self, tag: u16) -> Option<(usize, &'a [u8])> {
        let entry = self.entry(tag)?;
        let kind = self.number(&entry[2..4]) as usize;
        let size = if let 16..=18 = kind { 8 } else { *TYPE_SIZES.get(kind)? };
        let (count, value) = entry[4..].split_at(if self.big { 8 } else { 4 });
        let length = usize::try_from(self.number(count)).ok()?.checked_mul(size)?;
        let inside = if length <= value.len() {
            value
        } else {
            self.bytes.get(usize::try_from(self.number(value)).ok()?..)?
        };
        Some((kind, inside.get(..length)?))
    }

    /// The whole numbers of an entry, of any size; negative ones are not understood. `None` also for other types. A file may
    /// declare any number of them, so they are read one by one.
    pub(super) fn numbers(&self, tag: u16) -> Option<impl ExactSizeIterator<Item = u64>> {
        let (kind, values) = self.find(tag)?;
        if !matches!(kind, 1 | 3 | 4 | 6 | 8 | 9 | 13 | 16..=18) {
            return None;
        }
        let size = if kind >= 16 { 8 } else { TYPE_SIZES[kind] };
        Some(values.chunks_exact(size).map(|value| self.number(value)))
    }

    /// The first number of an entry.
    pub(super) fn first(&self, tag: u16) -> Option<u64> {
        self.numbers(tag)?.next()
    }

    /// The bytes of an entry, whatever they mean.
    pub(super) fn bytes(&self, tag: u16) -> Option<&'a [u8]> {
        self.find(tag).map(|(_, values)| values)
    }
}
