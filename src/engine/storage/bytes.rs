//! The bytes of a file: built in, read, or mapped into memory.

use std::io;
use std::ops::{Deref, Range};
use std::path::Path;

/// The bytes of a file.
pub(crate) enum Bytes {
    /// Part of the program.
    #[cfg(feature = "bundled-model")]
    Static(&'static [u8]),
    /// Read.
    Owned(Vec<u8>),
    /// Mapped.
    Mapped(memmap2::Mmap),
}

impl Bytes {
    /// Maps a file into memory. It must not change as long as it is mapped.
    pub(crate) fn map(path: &Path) -> io::Result<Bytes> {
        let file = std::fs::File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::Error::other("it is a folder"));
        }
        // SAFETY: the map is read-only. If another process changes the file meanwhile, values change under us, which
        // no check after the first read relies on; if it is cut short, reading ends the process, as the documentation
        // of all that opens files says.
        unsafe { memmap2::Mmap::map(&file) }.map(Bytes::Mapped)
    }

    /// Lets the system take back the memory of a range that will not be read again soon; it is read from the file
    /// when it is.
    pub(crate) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Bytes::Mapped(map) = self {
            // Whole pages inside of the range: those at its ends belong to others too.
            const PAGE: usize = 4096;
            let start = range.start.next_multiple_of(PAGE);
            let len = (range.end / PAGE * PAGE).saturating_sub(start);
            if len > 0 && start + len <= map.len() {
                // SAFETY: the map is of a file and read-only, so that pages come back as they were. A failure (pages
                // larger than 4096 bytes) costs memory, no more.
                let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, len) };
            }
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            #[cfg(feature = "bundled-model")]
            Bytes::Static(bytes) => bytes,
            Bytes::Owned(bytes) => bytes,
            Bytes::Mapped(map) => map,
        }
    }
}
