//! Properties of a JPEG file that follow from its markers alone.

use std::borrow::Cow;

/// Properties that follow from the markers alone.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Layout {
    /// The second byte of the first frame's marker, which is the kind of coding, and the bits of a sample.
    frame: Option<(u8, u8)>,
    /// The components of that frame by their ids, with the low bits that are still unknown of each of their coefficients.
    unknown: Vec<(u8, [u8; 64])>,
    /// Whether an end-of-image marker follows a scan.
    has_end: bool,
    /// The place of the first other marker after the scan that told the last bits.
    after_last_bits: Option<usize>,
}

impl Layout {
    /// Walks from marker to marker. The contents of segments, such as thumbnails, are skipped.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut layout = Self::default();
        layout.walk(bytes, bytes.get(2..).unwrap_or_default());
        layout
    }

    /// Returns early, with `None`, where the data ends before the end marker.
    fn walk(&mut self, bytes: &[u8], mut rest: &[u8]) -> Option<()> {
        let mut seen_scan = false;
        loop {
            // Entropy-coded data and stray bytes: skip to the next 0xFF.
            let at = rest.iter().position(|&byte| byte == 0xFF)?;
            rest = &rest[at + 1..];
            let (&marker, after) = rest.split_first()?;
            match marker {
                0xD9 if seen_scan => {
                    self.has_end = true;
                    return Some(());
                }
                // A fill byte: the next one may be the marker.
                0xFF => continue,
                // An escaped 0xFF, restarts and other markers without a segment.
                0x00..=0x01 | 0xD0..=0xD9 => rest = after,
                _ => {
                    if self.after_last_bits.is_none() && self.has_every_bit() {
                        self.after_last_bits = Some(bytes.len() - rest.len() - 1);
                    }
                    let (length, body) = after.split_first_chunk::<2>()?;
                    let length = usize::from(u16::from_be_bytes(*length));
                    let segment = body.get(..length.saturating_sub(2)).unwrap_or(body);
                    // 0xC4, 0xC8 and 0xCC are in the range of the frames but are not frames; 0xF7 is the frame of JPEG-LS.
                    if matches!(marker, 0xC0..=0xCF | 0xF7) && !matches!(marker, 0xC4 | 0xC8 | 0xCC) {
                        self.begin_frame(marker, segment);
                    }
                    if marker == 0xDA {
                        seen_scan = true;
                        self.begin_scan(segment);
                    }
                    rest = after.get(length..)?;
                }
            }
        }
    }

    /// The first frame: bits of a sample, height, width, and three bytes for each component.
    fn begin_frame(&mut self, marker: u8, segment: &[u8]) {
        if self.frame.is_none()
            && let Some(&bits) = segment.first()
        {
            let components = segment.get(6..).unwrap_or_default().chunks_exact(3);
            self.frame = Some((marker, bits));
            self.unknown = components.map(|component| (component[0], [u8::MAX; 64])).collect();
        }
    }

    /// A scan: a count and two bytes for each component, then the first and the last coefficient, then the bits it leaves out.
    fn begin_scan(&mut self, segment: &[u8]) {
        let Some((&count, rest)) = segment.split_first() else { return };
        let Some((components, end)) = rest.split_at_checked(2 * usize::from(count)) else { return };
        let progressive = matches!(self.frame, Some((0xC2 | 0xCA, _)));
        let (range, left) = match end {
            [first, last, bits, ..] if progressive => (usize::from(*first)..=usize::from(*last), bits & 15),
            _ => (0..=63, 0),
        };
        for (id, unknown) in &mut self.unknown {
            if components.chunks_exact(2).any(|component| component[0] == *id) {
                unknown.get_mut(range.clone()).unwrap_or_default().fill(left);
            }
        }
    }

    /// A file that has its end marker, or that gets one because every bit is there. Data in arithmetic coding never get one: they
    /// can be cut off anywhere and still be read. Zeros at the end are the rest of a download, and not data.
    pub(super) fn completed<'a>(&self, bytes: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        if self.has_end {
            return Some(bytes.into());
        }
        if !self.has_every_bit() || matches!(self.frame, Some((0xC9 | 0xCA, _))) {
            return None;
        }
        let data = &bytes[..self.after_last_bits.unwrap_or(bytes.len())];
        let last = data.iter().rposition(|&byte| byte != 0)?;
        // A zero after 0xFF belongs to it.
        let length = (last + 1 + usize::from(data[last] == 0xFF)).min(data.len());
        Some([&data[..length], b"\xFF\xD9"].concat().into())
    }

    /// Whether the scans together tell all coefficients to the last bit, so that no scan is missing.
    fn has_every_bit(&self) -> bool {
        !self.unknown.is_empty() && self.unknown.iter().all(|(_, unknown)| *unknown == [0; 64])
    }

    /// The name of a coding that the decoder does not support.
    pub(super) fn unsupported(&self) -> Option<&'static str> {
        match self.frame? {
            (0xC3 | 0xCB, _) => Some("a lossless JPEG"),
            (0xC5..=0xC7 | 0xCD..=0xCF, _) => Some("a hierarchical JPEG"),
            (0xF7, _) => Some("JPEG-LS"),
            (_, 12) => Some("a JPEG with 12 bits for each sample"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Layout;

    /// A frame of three components, then these scans: components, first and last coefficient, bits left out.
    fn file(marker: u8, scans: &[(&[u8], u8, u8, u8)]) -> Vec<u8> {
        let mut file = vec![0xFF, 0xD8, 0xFF, marker, 0, 17, 8, 0, 8, 0, 8, 3];
        file.extend([1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0]);
        for &(components, first, last, bits) in scans {
            file.extend([0xFF, 0xDA, 0, 6 + 2 * components.len() as u8, components.len() as u8]);
            file.extend(components.iter().flat_map(|&component| [component, 0]));
            file.extend([first, last, bits, 0x12, 0xFF, 0, 0x34, 0xFF, 0xD0, 0x56]);
        }
        file
    }

    #[test]
    fn a_file_without_an_end_gets_one_if_its_scans_tell_every_bit() {
        let completed = |file: &[u8]| Layout::of(file).completed(file).map(|file| file.into_owned());
        let all: &[u8] = &[1, 2, 3];
        let sequential = file(0xC0, &[(all, 0, 63, 0)]);
        assert_eq!(completed(&sequential), Some([&sequential[..], b"\xFF\xD9"].concat()));
        // What follows may look like a marker.
        let trailer = [&sequential[..], b"\0SEFH\0", b"\xFF\xE5\x99\x99"].concat();
        assert_eq!(completed(&trailer), Some([&sequential[..], b"\0SEFH\xFF\xD9"].concat()));
        let zeros = [&sequential[..], b"\xFF\0\0\0\0"].concat();
        assert_eq!(completed(&zeros), Some([&sequential[..], b"\xFF\0\xFF\xD9"].concat()));
        let parts = [(&all[..1], 0, 63, 0), (&all[1..2], 0, 63, 0), (&all[2..], 0, 63, 0)];
        assert!(completed(&file(0xC0, &parts)).is_some());
        assert!(completed(&file(0xC0, &parts[..2])).is_none(), "a component is missing");

        let progressive = [
            (all, 0, 0, 1),
            (&all[..1], 1, 63, 2),
            (&all[1..2], 1, 63, 0),
            (&all[2..], 1, 63, 0),
            (all, 0, 0, 0x10),
            (&all[..1], 1, 63, 0x21),
            (&all[..1], 1, 63, 0x10),
        ];
        assert!(completed(&file(0xC2, &progressive)).is_some());
        for scans in 0..progressive.len() {
            assert!(completed(&file(0xC2, &progressive[..scans])).is_none(), "{scans} scans");
        }
        assert!(completed(&file(0xC9, &[(all, 0, 63, 0)])).is_none(), "arithmetic coding");
        let ended = [&sequential[..], b"\xFF\xD9rest"].concat();
        assert_eq!(completed(&ended), Some(ended.clone()));
    }

    #[test]
    fn an_end_marker_counts_only_after_a_scan() {
        let thumbnail = b"\xFF\xD8\xFF\xE1\0\x06\xFF\xDA\xFF\xD9";
        let scan = b"\xFF\xDA\0\x03\x01\x12\xFF\0\xD9\xFF\xD0\x34";
        let with = |parts: &[&[u8]]| Layout::of(&parts.concat()).has_end;
        assert!(!with(&[thumbnail]));
        assert!(!with(&[thumbnail, b"\xFF\xD9"]));
        assert!(!with(&[thumbnail, scan]));
        assert!(!with(&[thumbnail, scan, b"\xFF"]));
        assert!(with(&[thumbnail, scan, b"\xFF\xD9"]));
        assert!(with(&[thumbnail, scan, b"\xFF\xFF\xD9trailer"]));
        assert!(!Layout::of(b"\xFF").has_end);
    }

    #[test]
    fn kinds_that_cannot_be_decoded_are_named() {
        let kind = |marker, bits| Layout::of(&[0xFF, 0xD8, 0xFF, marker, 0, 8, bits]).unsupported();
        for marker in [0xC0, 0xC1, 0xC2, 0xC4, 0xC9, 0xCA] {
            assert_eq!(kind(marker, 8), None);
        }
        for marker in [0xC3, 0xC5, 0xCB, 0xCD, 0xF7] {
            assert!(kind(marker, 8).is_some_and(|name| name.contains("JPEG")), "{marker:x}");
        }
        assert!(kind(0xC1, 12).is_some());
    }
}
