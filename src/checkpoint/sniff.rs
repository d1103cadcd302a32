//! Recognises the kind of a file by its contents.

use super::CheckpointErrorKind;
use crate::engine::storage::Bytes;
use std::path::Path;

/// Kinds of files, including those that are mistaken for a checkpoint or a vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// PyTorch since 1.6, or some other zip archive.
    TorchZip,
    /// PyTorch before 1.6.
    TorchLegacy,
    /// PyTorch before 0.1.10, or some other tar archive.
    TorchTar,
    /// A pickle that is not a PyTorch container.
    Pickle,
    /// A numpy array.
    Numpy,
    /// Safetensors.
    Safetensors,
    /// JSON.
    Json,
    /// Any other text in UTF-8.
    Text,
    /// A web page.
    Html,
    /// A pointer that Git LFS keeps in place of a large file.
    LfsPointer,
    /// Torch7.
    Torch7,
    /// TensorFlow.
    TensorFlow,
    /// HDF5, as Keras writes it.
    Hdf5,
    /// ONNX.
    Onnx,
    /// Compressed.
    Compressed,
    /// Empty.
    Empty,
    /// Something else.
    Unknown,
}

/// PyTorch's magic number as protocol 2 pickles it.
const LEGACY: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// Bytes at the beginning of a file that identify its kind.
const HEAD: usize = 4096;

/// The longest file that is read as a whole to recognise text and pickles, which have no signature.
pub(super) const LONGEST_TEXT: usize = 256 << 20;

impl FileKind {
    /// Recognises the kind of a file.
    ///
    /// # Errors
    /// The file does not exist, is a folder, or cannot be read.
    pub fn of_file(path: &Path) -> Result<FileKind, CheckpointErrorKind> {
        super::open(path).map(|bytes| sniff_file(&bytes))
    }
}

/// Recognises the kind of a file in memory.
pub fn sniff(bytes: &[u8]) -> FileKind {
    let head = &bytes[..bytes.len().min(HEAD)];
    of_signature(head, bytes).unwrap_or_else(|| of_text(bytes))
}

/// Recognises the kind of a file, reading no more of it than necessary.
pub(super) fn sniff_file(file: &Bytes) -> FileKind {
    let (head, tail) = (file.read_up_to(0, HEAD), file.read_up_to(file.len().saturating_sub(HEAD), HEAD));
    of_signature(&head, &tail).unwrap_or_else(|| match file.len() {
        0..=LONGEST_TEXT => of_text(&file.read_up_to(0, LONGEST_TEXT)),
        _ => FileKind::Unknown,
    })
}

/// The kind by the first or the last bytes of a file.
fn of_signature(head: &[u8], tail: &[u8]) -> Option<FileKind> {
    let starts = |prefix: &[u8]| head.starts_with(prefix);
    let contains = |needle: &[u8]| head.windows(needle.len()).any(|w| w == needle);
    Some(if head.is_empty() {
        FileKind::Empty
    } else if starts(b"PK\x03\x04") {
        FileKind::TorchZip
    } else if head.windows(LEGACY.len()).take(3).any(|w| w == LEGACY) {
        FileKind::TorchLegacy
    } else if head.get(257..262) == Some(b"ustar") {
        FileKind::TorchTar
    } else if starts(b"\x93NUMPY") {
        FileKind::Numpy
    } else if starts(b"\x89HDF\r\n\x1a\n") {
        FileKind::Hdf5
    } else if starts(b"\x1f\x8b")
        || starts(b"BZh")
        || starts(b"\xfd7zXZ")
        || starts(b"\x28\xb5\x2f\xfd")
        || starts(b"7z\xbc\xaf")
    {
        FileKind::Compressed
    } else if is_safetensors(head) {
        FileKind::Safetensors
    } else if starts(b"T7\0\0") || starts(b"\x04\0\0\0\x01\0\0\0") || starts(b"4\n1\n3\nV 1\n") {
        FileKind::Torch7
    } else if head[0] == 0x80 && head.get(1).is_some_and(|&protocol| protocol <= 5) {
        FileKind::Pickle
    } else if head[0] == 0x08 && (contains(b"onnx") || contains(b"pytorch") || contains(b"ai.onnx")) {
        FileKind::Onnx
    } else if contains(b"tensorflow") || starts(b"\x0a") && contains(b"saved_model") || ends_as_table(tail) {
        FileKind::TensorFlow
    } else {
        return None;
    })
}

/// The kind by the whole contents of a file.
fn of_text(bytes: &[u8]) -> FileKind {
    let starts = |prefix: &[u8]| bytes.starts_with(prefix);
    let head = &bytes[..bytes.len().min(HEAD)];
    let contains = |needle: &[u8]| head.windows(needle.len()).any(|w| w == needle);
    if let Some(text) = text(bytes) {
        match text.trim_start().as_bytes() {
            [b'{' | b'[', ..] => FileKind::Json,
            [b'<', ..] if contains(b"<html") || contains(b"<!DOCTYPE") || contains(b"<!doctype") => {
                FileKind::Html
            }
            [b'v', ..] if starts(b"version https://git-lfs.github.com/") => FileKind::LfsPointer,
            // Protocol 0 begins with a mark, or with the name of the function that makes objects.
            [b'(', b'd' | b'l', ..] => FileKind::Pickle,
            [b'c', ..] if starts(b"ccopy_reg\n") || starts(b"c__builtin__\n") => FileKind::Pickle,
            _ => FileKind::Text,
        }
    } else if super::pickle::parse(bytes).is_ok() {
        FileKind::Pickle
    } else {
        FileKind::Unknown
    }
}

/// The file as text, without a byte order mark.
pub(super) fn text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?.trim_start_matches('\u{feff}');
    (!text.contains('\0')).then_some(text)
}

fn is_safetensors(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else { return false };
    rest.first() == Some(&b'{') && u64::from_le_bytes(*length) <= 100_000_000
}

/// The magic number at the end of TensorFlow's checkpoint tables.
fn ends_as_table(bytes: &[u8]) -> bool {
    bytes.ends_with(b"\x57\xfb\x80\x8b\x24\x75\x47\xdb")
}

impl FileKind {
    /// The kind in words, with a remedy if there is one.
    pub fn description(self) -> &'static str {
        match self {
            FileKind::TorchZip => "a zip archive",
            FileKind::TorchLegacy => "a PyTorch file",
            FileKind::TorchTar => "a tar archive",
            FileKind::Pickle => "a pickle without tensors; is it the vocabulary?",
            FileKind::Numpy => "a numpy array; is it the vocabulary?",
            FileKind::Safetensors => "a safetensors file",
            FileKind::Json => "JSON; is it the vocabulary?",
            FileKind::Text => "text; is it the vocabulary?",
            FileKind::Html => "a web page: the download failed; open the address in a browser",
            FileKind::LfsPointer => "a pointer of Git LFS in place of the file: fetch it with `git lfs pull`",
            FileKind::Torch7 => "a Torch7 file, whose networks are others than the ones known here",
            FileKind::TensorFlow => "a TensorFlow file, whose networks are others than the ones known here",
            FileKind::Hdf5 => {
                "an HDF5 file, as Keras writes it, whose networks are others than the ones known here"
            }
            FileKind::Onnx => "an ONNX graph; the checkpoint that it was exported from can be converted",
            FileKind::Compressed => "a compressed file: unpack it first",
            FileKind::Empty => "an empty file",
            FileKind::Unknown => "something unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_recognised_by_their_contents() {
        let mut tar = vec![0; 512];
        tar[0] = b'x';
        tar[257..262].copy_from_slice(b"ustar");
        let legacy = [b"\x80\x02", LEGACY].concat();
        let tensors = [&2u64.to_le_bytes()[..], b"{}"].concat();
        let table: [(&[u8], FileKind); 18] = [
            (b"\x93NUMPY\x01\x00", FileKind::Numpy),
            (b"", FileKind::Empty),
            (b"PK\x03\x04rest", FileKind::TorchZip),
            (&legacy, FileKind::TorchLegacy),
            (&tar, FileKind::TorchTar),
            (b"\x80\x04N.", FileKind::Pickle),
            (b"(dp0\nS'a'\nI1\ns.", FileKind::Pickle),
            (&tensors, FileKind::Safetensors),
            (b"\xef\xbb\xbf {\"a\": 1}", FileKind::Json),
            (b"a\nb\n", FileKind::Text),
            (b"<!DOCTYPE html><html>", FileKind::Html),
            (b"version https://git-lfs.github.com/spec/v1\n", FileKind::LfsPointer),
            (b"T7\0\0", FileKind::Torch7),
            (b"\x04\0\0\0\x01\0\0\0", FileKind::Torch7),
            (b"\x89HDF\r\n\x1a\n", FileKind::Hdf5),
            (b"\x08\x07\x12\x07pytorch", FileKind::Onnx),
            (b"\x1f\x8b\x08", FileKind::Compressed),
            (b"\xff\xfe\xfd", FileKind::Unknown),
        ];
        for (bytes, kind) in table {
            assert_eq!(sniff(bytes), kind, "{bytes:?}");
        }
    }
}
