use std::io::Write;

use ::image::{DynamicImage, ImageBuffer, ImageFormat, Rgb, Rgba};

use super::super::tests::{blocks, decode_default, encode, exif, png_chunk, riff_chunk, to_dynamic, webp};
use super::super::{Alpha, DecodeOptions, decode};

#[test]
fn a_png_without_its_end_is_whole_if_its_pixels_are() {
    let picture = blocks(3, 2);
    let png = encode(&to_dynamic(&picture), ImageFormat::Png);
    // The end chunk has 12 bytes, and the checksum of the pixels 4.
    let end = png.len() - 12;
    let text = [&png[..end], &50u32.to_be_bytes(), b"tEXtcut off"].concat();
    let trailer = [&png[..end], &[0; 40][..]].concat();
    for (name, bytes) in [
        ("no end", &png[..end]),
        ("half of the end", &png[..end + 6]),
        ("no checksum", &png[..end - 4]),
        ("half of the checksum", &png[..end - 2]),
        ("half of a text", &text),
        ("a trailer", &trailer),
    ] {
        assert_eq!(decode_default(bytes).unwrap(), picture, "{name}");
    }
    // The last bytes of the compressed data are a checksum and the sign of their end.
    for missing in 0..40 {
        match decode_default(&png[..end - 4 - missing]) {
            Ok(found) => assert!(found == picture && missing < 8, "without {missing} bytes"),
            Err(error) => assert_eq!(error.code(), "corrupt", "without {missing} bytes: {error}"),
        }
    }
}

#[test]
fn texts_in_png_files_tell_the_orientation() {
    let stored = blocks(3, 2);
    let upright = to_dynamic(&stored).rotate90().into_rgb8().into_raw();
    let png = encode(&to_dynamic(&stored), ImageFormat::Png);
    let data = [b"Exif\0\0", &exif(6)[..]].concat();
    let digits: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!("\nexif\n{:8}\n{}\n{}\n", data.len(), &digits[..32], &digits[32..]);
    let mut deflated = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    deflated.write_all(text.as_bytes()).unwrap();
    let deflated = deflated.finish().unwrap();
    for keyword in ["Raw profile type exif", "Raw profile type APP1"] {
        let chunks = [
            png_chunk(b"tEXt", &[keyword.as_bytes(), b"\0", text.as_bytes()].concat()),
            png_chunk(b"zTXt", &[keyword.as_bytes(), b"\0\0", &deflated].concat()),
            png_chunk(b"iTXt", &[keyword.as_bytes(), b"\0\0\0\0\0", text.as_bytes()].concat()),
            png_chunk(b"iTXt", &[keyword.as_bytes(), b"\0\x01\0en\0key\0", &deflated].concat()),
        ];
        for (i, chunk) in chunks.iter().enumerate() {
            for at in [33, png.len() - 12] {
                let file = [&png[..at], chunk, &png[at..]].concat();
                assert_eq!(decode_default(&file).unwrap().data(), upright, "{keyword}, text {i}, at {at}");
            }
        }
    }
    let other = png_chunk(b"tEXt", &[b"Raw profile type icc\0", text.as_bytes()].concat());
    let nonsense = png_chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 99\nnothing");
    let file = [&png[..33], &other, &nonsense, &png[33..]].concat();
    assert_eq!(decode_default(&file).unwrap(), stored);
}

#[test]
fn flags_of_webp_chunks_that_are_not_there_do_not_matter() {
    let picture = blocks(3, 2);
    let opaque = encode(&to_dynamic(&picture), ImageFormat::WebP)[12..].to_vec();
    for flags in 0..64 {
        let file = webp([24, 16], flags, std::slice::from_ref(&opaque));
        assert_eq!(decode_default(&file).unwrap(), picture, "flags {flags:x}");
    }
    let lossy = super::super::tests::fixture("lossy.webp");
    let whole = decode_default(&lossy).unwrap();
    for flags in 0..64 {
        let file = webp([50, 37], flags, &[lossy[12..].to_vec()]);
        assert_eq!(decode_default(&file).unwrap(), whole, "flags {flags:x}");
    }
    // Lossless pixels tell themselves that some of them are transparent.
    let half = DynamicImage::ImageRgba8(ImageBuffer::from_pixel(24, 16, Rgba([0, 0, 0, 51])));
    let transparent = encode(&half, ImageFormat::WebP);
    let pixels = super::webp_chunk(&transparent, b"VP8L").unwrap();
    for flags in [0, 0x10] {
        let file = webp([24, 16], flags, &[riff_chunk(b"VP8L", pixels)]);
        assert_eq!(decode_default(&file).unwrap().pixel(3, 3), Some([204; 3]), "flags {flags:x}");
    }
}

#[test]
fn exif_data_of_webp_files_count_if_they_are_announced() {
    let stored = blocks(3, 2);
    let pixels = encode(&to_dynamic(&stored), ImageFormat::WebP)[12..].to_vec();
    let with = |flags| webp([24, 16], flags, &[pixels.clone(), riff_chunk(b"EXIF", &exif(6))]);
    assert_eq!(decode_default(&with(0)).unwrap(), stored);
    assert_eq!(decode_default(&with(8)).unwrap().width(), 16);
}

#[test]
fn a_gif_screen_has_room_for_the_first_frame() {
    let picture =
        DynamicImage::ImageRgb8(ImageBuffer::from_fn(8, 4, |x, _| Rgb([if x < 4 { 255 } else { 0 }, 0, 0])));
    let gif = encode(&picture, ImageFormat::Gif);
    let whole = decode_default(&gif).unwrap();
    let with_screen = |width: u16, height: u16| {
        [&gif[..6], &width.to_le_bytes(), &height.to_le_bytes(), &gif[10..]].concat()
    };
    for (width, height) in [(0, 0), (0, 4), (8, 0), (3, 3), (8, 2), (1, 4)] {
        assert_eq!(decode_default(&with_screen(width, height)).unwrap(), whole, "{width} x {height}");
    }
    // A frame that begins beyond the screen.
    let frame = gif.windows(5).position(|bytes| bytes == b",\0\0\0\0").unwrap();
    let mut moved = with_screen(1, 1);
    moved[frame + 1] = 2;
    moved[frame + 3] = 3;
    let moved = decode_default(&moved).unwrap();
    assert_eq!((moved.width(), moved.height()), (10, 7));
    for (x, y) in (0..8).flat_map(|x| (0..4).map(move |y| (x, y))) {
        assert_eq!(moved.pixel(x + 2, y + 3), whole.pixel(x, y));
    }
}

#[test]
fn around_a_gif_frame_is_the_first_colour_or_nothing() {
    // One pixel of the colour 1, blue, on a screen of two by one; the first colour is lime.
    let gif = |control: &[u8]| {
        let head = b"GIF89a\x02\0\x01\0\x80\0\0\0\xFF\0\0\0\xFF";
        [head, control, b",\0\0\0\0\x01\0\x01\0\0\x02\x02\x4C\x01\0;"].concat()
    };
    let opaque = decode_default(&gif(b"")).unwrap();
    assert_eq!(opaque.data(), [0, 0, 255, 0, 255, 0]);
    let transparent = gif(b"!\xF9\x04\x01\0\0\0\0");
    assert_eq!(decode_default(&transparent).unwrap().data(), [0, 0, 255, 255, 255, 255]);
    let black = DecodeOptions { alpha: Alpha::Black, ..DecodeOptions::default() };
    assert_eq!(decode(&transparent, &black).unwrap().data(), [0, 0, 255, 0, 0, 0]);
}
