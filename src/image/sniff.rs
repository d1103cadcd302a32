//! Recognises file formats by their first bytes. File names are ignored: they are often wrong.

use ::image::ImageFormat;

/// The format of a file by its first bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sniffed {
    /// A supported format.
    Supported(ImageFormat),
    /// A picture or document of a known format that is not supported.
    Unsupported(&'static str),
    /// Not a picture.
    NotAnImage(String),
}

/// Unsupported formats with a fixed signature, and their names in errors.
const UNSUPPORTED: [(&[u8], &str); 26] = [
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"\xFF\x0A", "JPEG XL"),
    (b"\0\0\0\x0CJXL \r\n\x87\n", "JPEG XL"),
    (b"\0\0\0\x0CjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xFF\x4F\xFF\x51", "JPEG 2000"),
    (b"\0\0\x01\0", "an ICO icon"),
    (b"8BPS", "a Photoshop document"),
    (b"gimp xcf", "a GIMP document"),
    (b"\x76\x2F\x31\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"#?RGBE", "Radiance HDR"),
    (b"qoif", "QOI"),
    (b"farbfeld", "Farbfeld"),
    (b"DDS ", "DDS"),
    (b"\xABKTX ", "KTX"),
    (b"\x8AMNG\r\n\x1A\n", "MNG"),
    (b"FUJIFILMCCD-RAW", "a camera raw file"),
    (b"IIRO", "a camera raw file"),
    (b"IIRS", "a camera raw file"),
    (b"IIU\0", "a camera raw file"),
    (b"FOVb", "a camera raw file"),
    (b"SIMPLE  =", "FITS"),
    (b"/* XPM", "XPM"),
    (b"AT&TFORM", "DjVu"),
    (b"\xD7\xCD\xC6\x9A", "a WMF drawing"),
];

/// Files that are not pictures but often have the name of one.
const NOT_IMAGES: [(&[u8], &str); 9] = [
    (b"version https://git-lfs", "a Git LFS pointer, whose content was not fetched"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1F\x8B", "gzip-compressed data"),
    (b"7z\xBC\xAF\x27\x1C", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x1A\x45\xDF\xA3", "a Matroska or WebM video"),
    (b"RIFF", "a RIFF file that is not WebP, such as AVI or WAV"),
    (b"ID3", "an MP3 file"),
    (b"\x7FELF", "a program"),
];

/// Recognises the format of a file that is not empty.
pub(super) fn sniff(bytes: &[u8]) -> Sniffed {
    if let Some(format) = supported(bytes) {
        return Sniffed::Supported(format);
    }
    if let Some(sniffed) = iso_media(bytes) {
        return sniffed;
    }
    if let Some((_, name)) = UNSUPPORTED.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Sniffed::Unsupported(name);
    }
    if let [b'P', b'1'..=b'7', b' ' | b'\t' | b'\r' | b'\n', ..] = bytes {
        return Sniffed::Unsupported("PNM");
    }
    if let Some((_, name)) = NOT_IMAGES.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Sniffed::NotAnImage((*name).to_owned());
    }
    text(bytes).unwrap_or_else(|| {
        let start: Vec<String> = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Sniffed::NotAnImage(format!("data of an unknown kind that starts with the bytes {}", start.join(" ")))
    })
}

fn supported(bytes: &[u8]) -> Option<ImageFormat> {
    let format = match bytes {
        [0xFF, 0xD8, 0xFF, ..] => ImageFormat::Jpeg,
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => ImageFormat::Png,
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => ImageFormat::Gif,
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => ImageFormat::WebP,
        // A text can also start with "BM": the size of the header that follows must be a valid one.
        [b'B', b'M', rest @ ..]
            if matches!(rest.get(12..16), Some([12 | 16 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0])) =>
        {
            ImageFormat::Bmp
        }
        // Canon's raw files are TIFF files with a signature; their first picture is not the photo.
        [b'I', b'I', 42, 0, _, _, _, _, b'C', b'R', ..] => return None,
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => ImageFormat::Tiff,
        _ => return None,
    };
    Some(format)
}

/// HEIC, AVIF and videos share one container, which lists the formats of its contents.
fn iso_media(bytes: &[u8]) -> Option<Sniffed> {
    if let [b'I', b'I', 42, 0, _, _, _, _, b'C', b'R', ..] = bytes {
        return Some(Sniffed::Unsupported("a camera raw file"));
    }
    if bytes.get(4..8)? != b"ftyp" {
        return None;
    }
    let size = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let brands: Vec<&[u8]> = bytes.get(8..size.clamp(12, 256).min(bytes.len()))?.chunks_exact(4).collect();
    let has = |names: &[&[u8; 4]]| names.iter().any(|name| brands.contains(&name.as_slice()));
    Some(if has(&[b"avif", b"avis"]) {
        Sniffed::Unsupported("AVIF")
    } else if has(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"]) {
        Sniffed::Unsupported("HEIC (as iPhones take it)")
    } else if has(&[b"crx "]) {
        Sniffed::Unsupported("a camera raw file")
    } else {
        Sniffed::NotAnImage("a video or audio file".to_owned())
    })
}

/// Text of some kind, SVG drawings among it.
fn text(bytes: &[u8]) -> Option<Sniffed> {
    const WINDOW: usize = 4096;
    if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
        return Some(Sniffed::NotAnImage("text".to_owned()));
    }
    let start = &bytes[..bytes.len().min(WINDOW)];
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        // The window may have cut a letter in two.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&start[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    if text.is_empty()
        || text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\x0C' | '\x1B'))
    {
        return None;
    }
    let lower = text.trim_start_matches('\u{FEFF}').trim_start().to_ascii_lowercase();
    Some(if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
        Sniffed::NotAnImage("a web page, often the result of a failed download".to_owned())
    } else if lower.starts_with('<') && lower.contains("<svg") {
        Sniffed::Unsupported("an SVG drawing")
    } else {
        Sniffed::NotAnImage("text".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_recognised() {
        let unsupported = [
            (&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], "HEIC"),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
            (b"\0\0\0\x1Cftypmif1\0\0\0\0mif1avifmiaf", "AVIF"),
            (b"\0\0\0\x18ftypavif", "AVIF"),
            (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", "raw"),
            (b"II\x2A\0\x10\0\0\0CR\x02\0", "raw"),
            (b"<?xml version=\"1.0\"?>\n<!-- a --><svg xmlns=\"x\">", "SVG"),
            (b"\xEF\xBB\xBF<svg/>", "SVG"),
            (b"%PDF-1.7\n", "PDF"),
            (b"\xFF\x0A\0", "JPEG XL"),
            (b"P6\n3 2\n255\n", "PNM"),
            (b"8BPS\0\x01", "Photoshop"),
        ];
        for (bytes, name) in unsupported {
            match sniff(bytes) {
                Sniffed::Unsupported(found) => assert!(found.contains(name), "{name}: {found}"),
                other => panic!("{name}: {other:?}"),
            }
        }
        let not_images = [
            (&b"a dog runs"[..], "text"),
            (b"BMW is a car and not a bitmap picture", "text"),
            (b"GIF", "text"),
            (b"<!DOCTYPE html><html><svg>", "web page"),
            (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
            (b"PK\x03\x04\x14\0", "ZIP"),
            (b"RIFF\0\0\0\0WAVEfmt ", "RIFF"),
            (b"\0\0\0\x18ftypisom", "video"),
            (b"\0\x01\x02", "00 01 02"),
            (b"\xFF\xFEa\0", "text"),
        ];
        for (bytes, name) in not_images {
            match sniff(bytes) {
                Sniffed::NotAnImage(found) => assert!(found.contains(name), "{name}: {found}"),
                other => panic!("{name}: {other:?}"),
            }
        }
        let mut cut = "é".repeat(2048).into_bytes();
        cut.insert(0, b' ');
        cut.extend_from_slice("é".as_bytes());
        assert_eq!(sniff(&cut), Sniffed::NotAnImage("text".to_owned()), "a letter cut by the window");
    }
}
