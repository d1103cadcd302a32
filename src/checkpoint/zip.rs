//! The directory of a zip file. PyTorch stores entries without compression, so that each is a range of the file; files that
//! people packed again are unpacked into memory first.

use super::CheckpointErrorKind;
use super::budget::Budget;
use crate::engine::storage::Bytes;
use std::io::Read;
use std::ops::Range;

/// An entry of a zip file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Its bytes in the zip file.
    pub(super) range: Range<usize>,
    /// Its length and its checksum after unpacking, if it is compressed.
    packed: Option<(usize, u32)>,
}

const END: &[u8] = b"PK\x05\x06";
const END_64: &[u8] = b"PK\x06\x06";
const LOCATOR_64: &[u8] = b"PK\x06\x07";
/// Methods of compression.
const STORED: u64 = 0;
const DEFLATED: u64 = 8;
const CENTRAL: &[u8] = b"PK\x01\x02";
const LOCAL: &[u8] = b"PK\x03\x04";
/// Length of the end record without its comment.
const END_LENGTH: usize = 22;

fn damaged<T>(message: impl Into<String>) -> Result<T, CheckpointErrorKind> {
    Err(CheckpointErrorKind::Container(message.into()))
}

fn packed_otherwise<T>(entry: String) -> Result<T, CheckpointErrorKind> {
    let expected = "a zip archive without compression, or with deflate";
    Err(CheckpointErrorKind::Foreign { expected, found: format!("one in which {entry}") })
}

/// Reads little-endian numbers at fixed places of a record.
struct Record<'a>(&'a [u8]);

impl Record<'_> {
    fn number(&self, at: usize, width: usize) -> Result<u64, CheckpointErrorKind> {
        let Some(bytes) = self.0.get(at..at + width) else {
            return damaged("a record of its directory is cut off");
        };
        let mut word = [0; 8];
        word[..width].copy_from_slice(bytes);
        Ok(u64::from_le_bytes(word))
    }

    fn size(&self, at: usize, width: usize) -> Result<usize, CheckpointErrorKind> {
        self.number(at, width).map(|n| usize::try_from(n).unwrap_or(usize::MAX))
    }
}

/// The fixed part of the record at an offset, which has to begin with a signature.
fn record(file: &Bytes, at: usize, signature: &[u8], length: usize) -> Result<Vec<u8>, CheckpointErrorKind> {
    let bytes = file.read_up_to(at, length);
    if bytes.starts_with(signature) {
        Ok(bytes)
    } else {
        damaged(format!("its directory points to byte {at}, where nothing of the kind is"))
    }
}

/// The number of entries and where their directory begins.
fn directory(file: &Bytes) -> Result<[usize; 2], CheckpointErrorKind> {
    // A comment of up to 65,535 bytes may follow the end record.
    let window = file.len().saturating_sub(END_LENGTH + 65_535);
    let tail = file.read_up_to(window, END_LENGTH + 65_535);
    let Some(at) = tail.windows(END.len()).rposition(|w| w == END) else {
        return damaged("it ends before its directory: the file is not complete");
    };
    let end = Record(&tail[at..]);
    if at + END_LENGTH + end.size(20, 2)? > tail.len() {
        return damaged("its last record is cut off: the file is not complete");
    }
    let (count, offset) = (end.size(10, 2)?, end.size(16, 4)?);
    if count != 0xFFFF && offset != 0xFFFF_FFFF {
        return Ok([count, offset]);
    }
    let locator = record(file, (window + at).saturating_sub(20), LOCATOR_64, 20)?;
    let end = record(file, Record(&locator).size(8, 8)?, END_64, 56)?;
    Ok([Record(&end).size(32, 8)?, Record(&end).size(48, 8)?])
}

/// The entries of a zip file, in the order of their directory.
fn entries(file: &Bytes) -> Result<Vec<Entry>, CheckpointErrorKind> {
    let [count, mut offset] = directory(file)?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let header = record(file, offset, CENTRAL, 46)?;
        let header = Record(&header);
        let lengths = [header.size(28, 2)?, header.size(30, 2)?, header.size(32, 2)?];
        let [name_length, extra_length, comment_length] = lengths;
        let name = offset + 46..offset + 46 + name_length;
        let (Some(name), Some(extra)) =
            (file.read(name.clone()), file.read(name.end..name.end + extra_length))
        else {
            return damaged("a record of its directory is cut off");
        };
        let Ok(name) = String::from_utf8(name) else { return damaged("a name in it is not UTF-8") };
        let fields = [header.size(24, 4)?, header.size(20, 4)?, header.size(42, 4)?];
        let [size, packed, local] = wide(fields, &extra)?;
        let (method, flags) = (header.number(10, 2)?, header.number(8, 2)?);
        let unpacked = match method {
            _ if flags & 1 != 0 => {
                return packed_otherwise(format!("`{name}` is encrypted: pack it again without a password"));
            }
            STORED if size == packed => None,
            DEFLATED => Some((size, header.number(16, 4)? as u32)),
            _ => {
                return packed_otherwise(format!(
                    "`{name}` is compressed by method {method}: pack it again with `zip -0`"
                ));
            }
        };
        if name.split(['/', '\\']).any(|part| part == "..") || name.starts_with('/') {
            return damaged(format!("`{name}` points out of the archive"));
        }
        // The local header repeats name and extra field, with lengths of its own.
        let header = record(file, local, LOCAL, 30)?;
        let start = local + 30 + Record(&header).size(26, 2)? + Record(&header).size(28, 2)?;
        match start.checked_add(packed) {
            Some(end) if end <= file.len() => {
                entries.push(Entry { name, range: start..end, packed: unpacked })
            }
            _ => {
                return damaged(format!(
                    "`{name}` has {packed} bytes, which reach beyond the end of the file"
                ));
            }
        }
        offset += 46 + name_length + extra_length + comment_length;
    }
    let mut by_start: Vec<&Entry> = entries.iter().filter(|e| !e.range.is_empty()).collect();
    by_start.sort_by_key(|e| e.range.start);
    for pair in by_start.windows(2) {
        if pair[0].range.end > pair[1].range.start {
            return damaged(format!("`{}` and `{}` share bytes", pair[0].name, pair[1].name));
        }
    }
    Ok(entries)
}

/// The entries of a zip file without compression. If some are compressed, all are unpacked into memory, and the ranges are of the
/// bytes that are returned.
///
/// # Errors
/// The archive is damaged, or unpacks to far more bytes than it has.
pub(super) fn read(file: Bytes) -> Result<(Bytes, Vec<Entry>), CheckpointErrorKind> {
    let mut entries = entries(&file)?;
    if entries.iter().all(|entry| entry.packed.is_none()) {
        return Ok((file, entries));
    }
    let budget = Budget::of_bytes(file.len());
    let mut bytes = Vec::new();
    for Entry { name, range, packed } in &mut entries {
        let Some(data) = file.read(range.clone()) else { return damaged(format!("`{name}` is cut off")) };
        let start = bytes.len();
        match packed.take() {
            None => bytes.extend(data),
            Some((size, checksum)) => {
                budget.spend(size)?;
                let mut decoder = flate2::read::DeflateDecoder::new(&data[..]).take(size as u64 + 1);
                let is_whole = decoder.read_to_end(&mut bytes).is_ok() && bytes.len() - start == size;
                let mut found = flate2::Crc::new();
                found.update(&bytes[start..]);
                if !is_whole || found.sum() != checksum {
                    return damaged(format!("`{name}` does not unpack to what its directory states"));
                }
            }
        }
        *range = start..bytes.len();
    }
    Ok((bytes.into(), entries))
}

/// Sizes and offset from the Zip64 field where the 32-bit ones are full.
fn wide(mut fields: [usize; 3], mut extra: &[u8]) -> Result<[usize; 3], CheckpointErrorKind> {
    while extra.len() >= 4 {
        let header = Record(extra);
        let (id, length) = (header.number(0, 2)?, header.size(2, 2)?);
        let Some(body) = extra.get(4..4 + length) else {
            return damaged("an extra field of its directory is cut off");
        };
        if id == 1 {
            let mut at = 0;
            for field in fields.iter_mut().filter(|f| **f == 0xFFFF_FFFF) {
                *field = Record(body).size(at, 8)?;
                at += 8;
            }
        }
        extra = &extra[4 + length..];
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A minimal zip file with uncompressed entries.
    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let (mut body, mut directory) = (Vec::new(), Vec::new());
        for (name, data) in files {
            let size = (data.len() as u32).to_le_bytes();
            let lengths = [&(name.len() as u16).to_le_bytes()[..], &[0, 0]].concat();
            let offset = (body.len() as u32).to_le_bytes();
            body.extend([LOCAL, &[0; 14], &size, &size, &lengths, name.as_bytes(), data].concat());
            let middle = [&[0; 16][..], &size, &size, &lengths, &[0; 10], &offset].concat();
            directory.extend([CENTRAL, &middle, name.as_bytes()].concat());
        }
        let count = (files.len() as u16).to_le_bytes();
        let (length, offset) = ((directory.len() as u32).to_le_bytes(), (body.len() as u32).to_le_bytes());
        [&body[..], &directory, END, &[0; 4], &count, &count, &length, &offset, &[0; 2]].concat()
    }

    #[test]
    fn entries_are_ranges_of_the_file() {
        let file = archive(&[("a/data.pkl", b"pickle"), ("a/data/0", b"0123"), ("a/empty", b"")]);
        let found = entries(&file.clone().into()).unwrap();
        let read: Vec<_> = found.iter().map(|e| (e.name.as_str(), &file[e.range.clone()])).collect();
        assert_eq!(read, [("a/data.pkl", &b"pickle"[..]), ("a/data/0", b"0123"), ("a/empty", b"")]);
    }

    /// The archive with one deflated entry, `x`.
    fn deflated(data: &[u8], size: u32, checksum: u32) -> Vec<u8> {
        let mut packed = Vec::new();
        flate2::read::DeflateEncoder::new(data, flate2::Compression::best())
            .read_to_end(&mut packed)
            .unwrap();
        let mut file = archive(&[("x", &packed)]);
        let directory = file.windows(4).position(|w| w == CENTRAL).unwrap();
        file[directory + 10] = 8;
        file[directory + 16..directory + 20].copy_from_slice(&checksum.to_le_bytes());
        file[directory + 24..directory + 28].copy_from_slice(&size.to_le_bytes());
        file
    }

    #[test]
    fn compressed_entries_are_unpacked_as_far_as_the_directory_says() {
        let data = b"weights weights weights weights";
        let mut crc = flate2::Crc::new();
        crc.update(data);
        let unpack = |size, checksum| read(deflated(data, size, checksum).into()).map_err(|e| e.to_string());
        let (bytes, entries) = unpack(31, crc.sum()).unwrap();
        assert_eq!(bytes.read(entries[0].range.clone()).unwrap(), data);
        for (size, checksum) in [(30, crc.sum()), (32, crc.sum()), (31, 1)] {
            assert!(
                unpack(size, checksum).map(|_| ()).unwrap_err().contains("does not unpack"),
                "{size} {checksum}"
            );
        }
        assert!(
            unpack(u32::MAX - 1, 0).map(|_| ()).unwrap_err().contains("unfold"),
            "a promise of 4 GiB in 100 bytes"
        );
    }

    #[test]
    fn unsafe_archives_are_refused() {
        let error = |file: &[u8]| entries(&file.to_vec().into()).unwrap_err().to_string();
        let file = archive(&[("x", b"0123"), ("y", b"4567")]);
        for length in 0..file.len() {
            let message = error(&file[..length]);
            assert!(message.contains("complete") || message.contains("cut off"), "{length}: {message}");
        }
        assert!(error(&archive(&[("a/../../etc", b"x")])).contains("points out"));
        let directory = file.windows(4).position(|w| w == CENTRAL).unwrap();
        let mut packed = file.clone();
        packed[directory + 10] = 14;
        assert!(error(&packed).contains("method 14"), "{}", error(&packed));
        let mut encrypted = file.clone();
        encrypted[directory + 8] = 1;
        assert!(error(&encrypted).contains("encrypted"), "{}", error(&encrypted));
        let mut long = file.clone();
        for at in [20, 24] {
            long[directory + at + 1] = 0x7F;
        }
        assert!(error(&long).contains("beyond"), "{}", error(&long));
        let mut overlapping = file.clone();
        for at in [20, 24] {
            overlapping[directory + at] = 40;
        }
        assert!(error(&overlapping).contains("share"), "{}", error(&overlapping));
    }
}
