//! The bytes of a file: built in, read, or mapped into memory.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// The bytes of a file.
///
/// Another process can change a mapped file at any time. Mapped bytes are therefore given as copies only: there is no
/// `&[u8]` of them, and no `&str`. Text is validated after it was copied, and numbers have a meaning whatever their
/// bits are.
pub(crate) struct Bytes(Source);

enum Source {
    /// Part of the program.
    Static(&'static [u8]),
    /// Read.
    Owned(Vec<u8>),
    /// Mapped.
    Mapped(memmap2::MmapRaw),
}

/// Length of a piece of a large range: it stays in the processor's cache. A multiple of the size of any element.
const PIECE: usize = 1 << 16;

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes(Source::Owned(bytes))
    }
}

impl Bytes {
    /// Bytes that are part of the program.
    pub(crate) fn built_in(bytes: &'static [u8]) -> Bytes {
        Bytes(Source::Static(bytes))
    }

    /// Maps a file into memory. If the file changes meanwhile, later reads give other bytes. If it becomes shorter,
    /// reading ends the process with a signal.
    ///
    /// # Errors
    /// The file cannot be opened, is a folder, or cannot be mapped.
    pub(crate) fn map(path: &Path) -> io::Result<Bytes> {
        let file = std::fs::File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::Error::other("it is a folder"));
        }
        memmap2::MmapOptions::new().map_raw_read_only(&file).map(|map| Bytes(Source::Mapped(map)))
    }

    /// The number of bytes.
    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            Source::Static(bytes) => bytes.len(),
            Source::Owned(bytes) => bytes.len(),
            Source::Mapped(map) => map.len(),
        }
    }

    /// A copy of a range; `None` if the range reaches beyond the end.
    pub(crate) fn read(&self, range: Range<usize>) -> Option<Vec<u8>> {
        let mut copy = Vec::new();
        if range.start <= range.end && range.end <= self.len() {
            copy.reserve_exact(range.len());
            self.for_each_piece(range, |piece| copy.extend_from_slice(piece));
            return Some(copy);
        }
        None
    }

    /// A copy of at most `len` bytes from `start` on: fewer at the end of the file.
    pub(crate) fn read_up_to(&self, start: usize, len: usize) -> Vec<u8> {
        let start = start.min(self.len());
        self.read(start..start.saturating_add(len).min(self.len())).unwrap_or_default()
    }

    /// Calls `sink` with the bytes of a range in order, in pieces of 64 KiB. Bytes beyond the end of the file are left
    /// out.
    pub(crate) fn for_each_piece(&self, range: Range<usize>, mut sink: impl FnMut(&[u8])) {
        let range = range.start.min(self.len())..range.end.min(self.len());
        let map = match &self.0 {
            Source::Static(bytes) => {
                return bytes.get(range).unwrap_or_default().chunks(PIECE).for_each(sink);
            }
            Source::Owned(bytes) => return bytes.get(range).unwrap_or_default().chunks(PIECE).for_each(sink),
            Source::Mapped(map) => map,
        };
        let mut piece = vec![0; PIECE.min(range.len())];
        for start in range.clone().step_by(PIECE) {
            let piece = &mut piece[..PIECE.min(range.end - start)];
            // SAFETY: the range is inside of the map, as `range` was cut to its length, and the map lives as long as
            // `self`. It is read-only: nothing in this process writes it.
            // Held by `ranges_end_where_the_bytes_do` and `a_mapped_file_reads_as_it_is_in_pieces`.
            unsafe { copy_shared(map.as_ptr().add(start), piece) };
            sink(piece);
        }
    }

    /// Lets the system take back the memory of a range that will not be read again soon; it is read from the file
    /// when it is.
    pub(crate) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Source::Mapped(map) = &self.0 {
            // Whole pages inside of the range: those at its ends belong to others too.
            const PAGE: usize = 4096;
            let start = range.start.next_multiple_of(PAGE);
            let len = (range.end / PAGE * PAGE).saturating_sub(start);
            if len > 0 && start + len <= map.len() {
                // SAFETY: the map is of a file and read-only, so that pages come back with the file's bytes, and no
                // reference to them exists. A failure (pages larger than 4096 bytes) costs memory, no more.
                let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, len) };
            }
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}

/// Copies memory that another process may write meanwhile: the copy then holds old and new bytes, in any mixture.
///
/// # Safety
/// `source` is valid for reads of as many bytes as `target` has, and nothing in this process writes them.
unsafe fn copy_shared(source: *const u8, target: &mut [u8]) {
    const WORD: usize = size_of::<usize>();
    // Relaxed loads of at most a word are defined on memory that is read-only, and on memory that changes. The places
    // are held by `shared_memory_is_copied_from_any_address_in_any_length`, under Miri too.
    let load = |at: usize| {
        // SAFETY: the caller's promise; `at` is below the length of `target`. A byte has no alignment.
        unsafe { (*source.add(at).cast::<AtomicU8>()).load(Ordering::Relaxed) }
    };
    let head = source.align_offset(WORD).min(target.len());
    let (bytes, rest) = target.split_at_mut(head);
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = load(at);
    }
    let (words, tail) = rest.as_chunks_mut::<WORD>();
    let after = head + words.len() * WORD;
    for (word, at) in words.iter_mut().zip((head..).step_by(WORD)) {
        // SAFETY: the caller's promise; `at` to `at + WORD` is inside of `target`'s length, and `source + at` is
        // aligned, as `head` is the distance to the first aligned address.
        let value = unsafe { (*source.add(at).cast::<AtomicUsize>()).load(Ordering::Relaxed) };
        *word = value.to_ne_bytes();
    }
    for (at, byte) in (after..).zip(tail) {
        *byte = load(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_memory_is_copied_from_any_address_in_any_length() {
        let bytes: Vec<u8> = (0..64).collect();
        for start in 0..10 {
            for len in 0..=40 {
                let mut copy = vec![0xFF; len];
                // SAFETY: the range is inside of `bytes`, which nobody writes.
                unsafe { copy_shared(bytes.as_ptr().add(start), &mut copy) };
                assert_eq!(copy, bytes[start..start + len]);
            }
        }
    }

    #[test]
    fn ranges_end_where_the_bytes_do() {
        let bytes = Bytes::from((0..10).collect::<Vec<u8>>());
        assert_eq!(bytes.read(8..10), Some(vec![8, 9]));
        assert_eq!(bytes.read(10..10), Some(vec![]));
        assert_eq!([bytes.read(8..11), bytes.read(11..11), bytes.read(0..usize::MAX)], [None, None, None]);
        #[allow(clippy::reversed_empty_ranges, reason = "it is refused")]
        let reversed = bytes.read(5..4);
        assert_eq!(reversed, None);
        assert_eq!(bytes.read_up_to(8, usize::MAX), [8, 9]);
        assert!(bytes.read_up_to(usize::MAX, 1).is_empty());
        let mut found = Vec::new();
        bytes.for_each_piece(7..usize::MAX, |piece| found.extend_from_slice(piece));
        assert_eq!(found, [7, 8, 9]);
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri maps no files")]
    fn a_mapped_file_reads_as_it_is_in_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let content: Vec<u8> = (0..2 * PIECE + 5).map(|at| (at % 251) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let bytes = Bytes::map(&path).unwrap();
        assert_eq!(bytes.len(), content.len());
        assert_eq!(bytes.read(0..content.len()).as_deref(), Some(&content[..]));
        assert_eq!(bytes.read(3..PIECE + 4).as_deref(), Some(&content[3..PIECE + 4]));
        let mut pieces = Vec::new();
        bytes.for_each_piece(1..content.len(), |piece| pieces.push(piece.len()));
        assert_eq!(pieces, [PIECE, PIECE, 4]);
        bytes.release(0..content.len());
        assert_eq!(bytes.read_up_to(PIECE, 4), content[PIECE..PIECE + 4]);
        // The same file with other bytes.
        std::fs::write(&path, vec![7; content.len()]).unwrap();
        assert_eq!(bytes.read(0..content.len()), Some(vec![7; content.len()]));
        assert!(Bytes::map(folder.path()).is_err_and(|error| error.to_string().contains("folder")));
    }
}
