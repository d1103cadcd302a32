use std::path::PathBuf;

use ::image::{DynamicImage, ImageBuffer, Luma, LumaA, Rgba};

use super::*;
use readings::READ_BY_PILLOW;

mod readings;

pub(super) fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(super) fn decode_default(bytes: &[u8]) -> Result<Rgb8, ImageError> {
    decode(bytes, &DecodeOptions::default())
}

pub(super) fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Blocks of 8 by 8 pixels in distinct colours: JPEG preserves them nearly exactly, and no rotation maps the picture to itself.
pub(super) fn blocks(columns: u32, rows: u32) -> Rgb8 {
    let mut data = Vec::new();
    for y in 0..rows * 8 {
        for x in 0..columns * 8 {
            let i = y / 8 * columns + x / 8;
            data.extend([40 + i * 35 % 200, 220 - i * 20 % 200, 30 + i * 67 % 200].map(|value| value as u8));
        }
    }
    Rgb8::new(columns * 8, rows * 8, data).unwrap()
}

pub(super) fn to_dynamic(image: &Rgb8) -> DynamicImage {
    RgbImage::from_raw(image.width(), image.height(), image.data().to_vec()).unwrap().into()
}

pub(super) fn jpeg(image: &Rgb8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = ::image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 98);
    to_dynamic(image).write_with_encoder(encoder).unwrap();
    bytes
}

fn largest_difference(a: &Rgb8, b: &Rgb8) -> u8 {
    assert_eq!((a.width(), a.height()), (b.width(), b.height()));
    a.data().iter().zip(b.data()).map(|(&a, &b)| a.abs_diff(b)).max().unwrap()
}

fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1u32).wrapping_neg()))
    })
}

pub(super) fn png_chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let named = [name.as_slice(), body].concat();
    [&(body.len() as u32).to_be_bytes()[..], &named, &crc32(&named).to_be_bytes()].concat()
}

pub(super) fn riff_chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let padding = &[0][..body.len() % 2];
    [name.as_slice(), &(body.len() as u32).to_le_bytes(), body, padding].concat()
}

/// A WebP file with the extended header, which metadata requires.
pub(super) fn webp(canvas: [u32; 2], flags: u8, chunks: &[Vec<u8>]) -> Vec<u8> {
    let [width, height] = canvas.map(|side| (side - 1).to_le_bytes());
    let header = [&[flags, 0, 0, 0], &width[..3], &height[..3]].concat();
    riff_chunk(b"RIFF", &[b"WEBP".to_vec(), riff_chunk(b"VP8X", &header), chunks.concat()].concat())
}

/// An uncompressed RGB TIFF file.
fn tiff(width: u32, height: u32, orientation: u32, data: &[u8]) -> Vec<u8> {
    let entries = [
        (256, width),
        (257, height),
        (258, 8),
        (259, 1),
        (262, 2),
        (273, 8 + 2 + 9 * 12 + 4),
        (274, orientation),
        (277, 3),
        (279, data.len() as u32),
    ];
    let mut file = b"II\x2A\0\x08\0\0\0\x09\0".to_vec();
    for (tag, value) in entries {
        // One value of 32 bits, except for the samples: three times 8 bits, whose 16-bit values would not fit.
        file.extend([&(tag as u16).to_le_bytes()[..], &[4, 0, 1, 0, 0, 0], &value.to_le_bytes()].concat());
    }
    [file, vec![0; 4], data.to_vec()].concat()
}

pub(super) fn exif(orientation: u8) -> Vec<u8> {
    let head = b"MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0";
    [head.as_slice(), &[orientation, 0, 0, 0, 0, 0, 0]].concat()
}

#[test]
fn every_format_gives_its_pixels() {
    let image = blocks(3, 2);
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Tiff] {
        assert_eq!(decode_default(&encode(&to_dynamic(&image), format)).unwrap(), image, "{format:?}");
    }
    assert!(largest_difference(&decode_default(&jpeg(&image)).unwrap(), &image) <= 4);
    let gif = encode(&to_dynamic(&image), ImageFormat::Gif);
    assert!(largest_difference(&decode_default(&gif).unwrap(), &image) <= 8, "palette of 256");
}

#[test]
fn grey_16_bit_and_palette_pixels_become_rgb() {
    let grey = DynamicImage::ImageLuma8(ImageBuffer::from_fn(3, 1, |x, _| Luma([x as u8 * 100])));
    for format in [ImageFormat::Png, ImageFormat::Tiff, ImageFormat::Bmp] {
        let image = decode_default(&encode(&grey, format)).unwrap();
        assert_eq!(image.data(), [0, 0, 0, 100, 100, 100, 200, 200, 200], "{format:?}");
    }
    let wide = DynamicImage::ImageLuma8(ImageBuffer::from_pixel(16, 16, Luma([77])));
    assert_eq!(
        decode_default(&encode(&wide, ImageFormat::Jpeg)).unwrap(),
        Rgb8::filled(16, 16, [77; 3]).unwrap()
    );

    // 16 bits: 65,535 / 255 = 257, and halves of it are the borders between two levels.
    let deep = [0u16, 128, 129, 257 * 77, 257 * 77 + 128, 257 * 77 + 129, 65535];
    let deep = DynamicImage::ImageLuma16(ImageBuffer::from_fn(7, 1, |x, _| Luma([deep[x as usize]])));
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        let image = decode_default(&encode(&deep, format)).unwrap();
        let levels: Vec<u8> = image.data().chunks(3).map(|pixel| pixel[0]).collect();
        assert_eq!(levels, [0, 0, 1, 77, 77, 78, 255], "{format:?}");
    }

    let palette = decode_default(&fixture("palette.png")).unwrap();
    assert_eq!(palette.data(), [255, 0, 0, 0, 255, 0, 127, 127, 255, 255, 255, 255]);
    for name in ["bilevel.png", "bilevel.tif"] {
        match decode_default(&fixture(name)) {
            Ok(image) => {
                assert!((0..18).all(|i| image.pixel(i % 9, i / 9) == Some([i as u8 % 2 * 255; 3])), "{name}")
            }
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

#[test]
fn alpha_is_flattened_or_dropped() {
    let image = DynamicImage::ImageRgba8(ImageBuffer::from_fn(3, 1, |x, _| {
        Rgba([200, 100, 0, [255, 100, 0][x as usize]])
    }));
    let with = |alpha| {
        let options = DecodeOptions { alpha, ..DecodeOptions::default() };
        decode(&encode(&image, ImageFormat::Png), &options).unwrap().into_data()
    };
    // 255 + (200 - 255) * 100 / 255 = 233.4; 255 - 155 * 100 / 255 = 194.2; 155.
    assert_eq!(with(Alpha::White), [200, 100, 0, 233, 194, 155, 255, 255, 255]);
    assert_eq!(with(Alpha::Black), [200, 100, 0, 78, 39, 0, 0, 0, 0]);
    assert_eq!(with(Alpha::Drop), [200, 100, 0, 200, 100, 0, 200, 100, 0]);
    let grey = DynamicImage::ImageLumaA8(ImageBuffer::from_pixel(1, 1, LumaA([0, 51])));
    assert_eq!(decode_default(&encode(&grey, ImageFormat::Png)).unwrap().data(), [204; 3]);
    let deep = DynamicImage::ImageRgba16(ImageBuffer::from_pixel(1, 1, Rgba([65535, 0, 0, 257 * 51])));
    assert_eq!(decode_default(&encode(&deep, ImageFormat::Png)).unwrap().data(), [255, 204, 204]);
}

#[test]
fn animations_give_their_first_frame() {
    for name in ["animated.webp", "animated.png", "animated.gif"] {
        let image = decode_default(&fixture(name)).unwrap();
        assert_eq!(image, Rgb8::filled(12, 9, [255, 0, 0]).unwrap(), "{name}");
    }
}

#[test]
fn exif_orientation_is_applied() {
    let stored = blocks(3, 2);
    let (columns, rows) = (stored.width(), stored.height());
    for turn in 1..=8 {
        let (width, height) = if turn < 5 { (columns, rows) } else { (rows, columns) };
        let mut data = Vec::new();
        for y in 0..height {
            for x in 0..width {
                // Where the Exif standard says that the first stored row and column are seen.
                let (column, row) = match turn {
                    1 => (x, y),
                    2 => (columns - 1 - x, y),
                    3 => (columns - 1 - x, rows - 1 - y),
                    4 => (x, rows - 1 - y),
                    5 => (y, x),
                    6 => (y, rows - 1 - x),
                    7 => (columns - 1 - y, rows - 1 - x),
                    _ => (columns - 1 - y, x),
                };
                data.extend(stored.pixel(column, row).unwrap());
            }
        }
        let upright = Rgb8::new(width, height, data).unwrap();

        let plain = jpeg(&stored);
        let segment = [b"Exif\0\0", exif(turn).as_slice()].concat();
        let length = (segment.len() as u16 + 2).to_be_bytes();
        let jpeg = [&plain[..2], b"\xFF\xE1", &length, &segment, &plain[2..]].concat();
        let png = encode(&to_dynamic(&stored), ImageFormat::Png);
        let chunk = png_chunk(b"eXIf", &exif(turn));
        let early = [&png[..33], &chunk, &png[33..]].concat();
        let late = [&png[..png.len() - 12], &chunk, &png[png.len() - 12..]].concat();
        let pixels = encode(&to_dynamic(&stored), ImageFormat::WebP)[12..].to_vec();
        let bare = webp([columns, rows], 8, &[pixels.clone(), riff_chunk(b"EXIF", &exif(turn))]);
        let prefixed = webp([columns, rows], 8, &[pixels, riff_chunk(b"EXIF", &segment)]);
        let tiff = tiff(columns, rows, turn.into(), stored.data());
        let files = [
            ("JPEG", jpeg, 4),
            ("PNG, early", early, 0),
            ("PNG, late", late, 0),
            ("WebP", bare, 0),
            ("WebP with JPEG's prefix", prefixed, 0),
            ("TIFF", tiff, 0),
        ];
        for (name, bytes, tolerance) in files {
            let found = decode_default(&bytes).unwrap_or_else(|error| panic!("{name} {turn}: {error}"));
            assert!(largest_difference(&found, &upright) <= tolerance, "{name} {turn}");
            let options = DecodeOptions { apply_orientation: false, ..DecodeOptions::default() };
            assert_eq!(dimensions(&bytes, &options).unwrap(), [columns, rows], "{name} {turn}");
            assert!(
                largest_difference(&decode(&bytes, &options).unwrap(), &stored) <= tolerance,
                "{name} {turn}"
            );
        }
    }
}

/// Small files that declare 30000 by 30000 pixels, or as many as the format can.
fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let image = to_dynamic(&blocks(1, 1));
    let side = 30000u32;
    let png = encode(&image, ImageFormat::Png);
    let header = [&side.to_be_bytes()[..], &side.to_be_bytes(), &png[24..29]].concat();
    let png = [&png[..8], &png_chunk(b"IHDR", &header), &png[33..]].concat();

    let mut jpeg = jpeg(&blocks(1, 1));
    let frame = jpeg.windows(2).position(|marker| marker == b"\xFF\xC0").unwrap();
    let both = [(side as u16).to_be_bytes(), (side as u16).to_be_bytes()].concat();
    jpeg[frame + 5..frame + 9].copy_from_slice(&both);

    let mut gif = encode(&image, ImageFormat::Gif);
    gif[6..10].copy_from_slice(&[(side as u16).to_le_bytes(), (side as u16).to_le_bytes()].concat());
    let mut bmp = encode(&image, ImageFormat::Bmp);
    bmp[18..26].copy_from_slice(&[side.to_le_bytes(), side.to_le_bytes()].concat());

    let mut lossless = encode(&image, ImageFormat::WebP);
    // 14 bits each of width and height, minus 1.
    lossless[21..25].copy_from_slice(&0x0FFF_BFFEu32.to_le_bytes());
    let pixels = fixture("lossy.webp")[12..].to_vec();
    vec![
        ("PNG", png),
        ("JPEG", jpeg),
        ("GIF", gif),
        ("BMP", bmp),
        ("WebP", webp([side, side], 0, &[pixels])),
        ("TIFF", tiff(side, side, 1, &[0; 3])),
        ("WebP, lossless", lossless),
    ]
}

#[test]
fn too_many_declared_pixels_are_refused_with_numbers() {
    for (name, bytes) in bombs() {
        let error = decode_default(&bytes).unwrap_err();
        assert_eq!(error.code(), "too_large", "{name}: {error}");
        let side =
            if name == "WebP, lossless" { "16383 x 16383 = 268402689" } else { "30000 x 30000 = 900000000" };
        assert!(error.to_string().contains(side), "{name}: {error}");
        assert!(error.to_string().contains("at most 100000000 pixels"), "{name}: {error}");
        let declared = dimensions(&bytes, &DecodeOptions::default()).unwrap_err();
        assert_eq!(declared.to_string(), error.to_string(), "{name}");
    }
    let options = DecodeOptions { max_pixels: 8 * 8, ..DecodeOptions::default() };
    let picture = |columns| encode(&to_dynamic(&blocks(columns, 1)), ImageFormat::Png);
    assert!(decode(&picture(1), &options).is_ok());
    assert_eq!(decode(&picture(2), &options).unwrap_err().code(), "too_large");
    let options = DecodeOptions { max_bytes: 20, ..DecodeOptions::default() };
    assert_eq!(decode(&picture(1), &options).unwrap_err().code(), "too_large");
}

#[test]
fn long_and_tiny_pictures_are_decoded() {
    for (width, height) in [(1, 1), (10000, 1), (1, 10000)] {
        let image = DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, |x, y| {
            ::image::Rgb([(x + y) as u8; 3])
        }));
        for format in
            [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp]
        {
            let found =
                decode_default(&encode(&image, format)).unwrap_or_else(|error| panic!("{format:?}: {error}"));
            assert_eq!((found.width(), found.height()), (width, height), "{format:?}");
        }
    }
}

#[test]
fn files_that_are_not_photos_are_reported_with_their_kind() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        read(&path, &DecodeOptions::default())
    };
    let png = encode(&to_dynamic(&blocks(1, 1)), ImageFormat::Png);
    assert!(write("named-wrongly.jpg", &png).is_ok());
    let code = |result: Result<Rgb8, ImageError>| result.unwrap_err().code();
    assert_eq!(code(write("empty.jpg", b"")), "empty_file");
    assert_eq!(code(write("text.jpg", b"a dog runs")), "not_an_image");
    assert_eq!(code(write("phone.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")), "unsupported_format");
    let options = DecodeOptions::default();
    assert_eq!(code(read(folder.path(), &options)), "is_directory");
    assert_eq!(code(read(&folder.path().join("nowhere.jpg"), &options)), "not_found");
    assert_eq!(code(read(&folder.path().join("text.jpg/inside"), &options)), "not_found");
    let limited = DecodeOptions { max_bytes: 9, ..options };
    assert_eq!(code(read(&folder.path().join("text.jpg"), &limited)), "too_large");
    let lossless = jpeg(&blocks(1, 1));
    let frame = lossless.windows(2).position(|marker| marker == b"\xFF\xC0").unwrap();
    let lossless = [&lossless[..frame], b"\xFF\xC3", &lossless[frame + 2..]].concat();
    assert_eq!(code(decode_default(&lossless)), "unsupported_format");
    let declared = dimensions(&lossless, &DecodeOptions::default()).unwrap_err();
    assert_eq!(declared.to_string(), decode_default(&lossless).unwrap_err().to_string());
}

/// One small file of every kind.
fn samples() -> Vec<(String, Vec<u8>)> {
    let image = blocks(3, 2);
    let mut samples: Vec<_> =
        [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp, ImageFormat::Tiff]
            .map(|format| (name(format).to_owned(), encode(&to_dynamic(&image), format)))
            .into();
    samples.push(("JPEG".to_owned(), jpeg(&image)));
    samples.push(("TIFF by hand".to_owned(), tiff(24, 16, 6, image.data())));
    let fixtures = READ_BY_PILLOW.map(|(name, _)| name).into_iter();
    let fixtures = fixtures.chain(["animated.webp", "animated.png", "animated.gif", "palette.png"]);
    samples.extend(fixtures.map(|name| (name.to_owned(), fixture(name))));
    samples
}

#[test]
fn a_truncated_file_is_an_error_unless_all_pixels_are_present() {
    for (name, bytes) in samples() {
        let whole = decode_default(&bytes).unwrap();
        let mut errors = 0;
        let sixteenths = (0..16).map(|i| bytes.len() * i / 16);
        for length in sixteenths.chain(bytes.len().saturating_sub(64)..bytes.len()) {
            match decode_default(&bytes[..length]) {
                Ok(image) => {
                    assert!(image == whole, "{name}: other pixels from {length} of {} bytes", bytes.len())
                }
                Err(error) => {
                    let code = error.code();
                    let expected = if length == 0 { "empty_file" } else { "corrupt" };
                    assert!(code == expected || length < 26, "{name}: {length} bytes: {error}");
                    errors += 1;
                }
            }
        }
        assert!(errors >= 5, "{name}: {errors} errors");
    }
}

/// As a download leaves it that reserved the room for the whole file and was interrupted.
#[test]
fn a_jpeg_or_png_whose_rest_is_zeros_is_an_error() {
    let ends = ["JPEG", ".jpg", "PNG", ".png"];
    for (name, bytes) in samples().into_iter().filter(|(name, _)| ends.iter().any(|end| name.ends_with(end)))
    {
        let whole = decode_default(&bytes).unwrap();
        for missing in [1, 2, 3, 4, 5, 8, 16, 30, 60].into_iter().filter(|&missing| 2 * missing < bytes.len())
        {
            for zeros in [missing, missing + 5000] {
                let file = [&bytes[..bytes.len() - missing], &vec![0; zeros][..]].concat();
                match decode_default(&file) {
                    Ok(image) => assert!(image == whole, "{name}: {missing} bytes are missing"),
                    Err(error) => assert_eq!(error.code(), "corrupt", "{name}: {error}"),
                }
            }
        }
    }
}

#[test]
fn damage_inside_a_jpeg_scan_is_an_error() {
    // In arithmetic coding all data mean something.
    let files = samples().into_iter().filter(|(name, _)| name != "arithmetic.jpg");
    for (name, bytes) in files.filter(|(name, _)| name.ends_with(".jpg") || name == "JPEG") {
        // After the first scan's header and some of its data.
        let at = bytes.windows(2).position(|marker| marker == b"\xFF\xDA").unwrap() + 40;
        // No code consists of ones alone, so this cannot be read as data.
        let nonsense = [&bytes[..at], &b"\xFF\0".repeat(8), &bytes[at..]].concat();
        assert_eq!(decode_default(&nonsense).unwrap_err().code(), "corrupt", "{name}");
    }
}

#[test]
fn flipped_bytes_never_panic() {
    let options = DecodeOptions { max_pixels: 1 << 20, ..DecodeOptions::default() };
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for (name, bytes) in samples() {
        for _ in 0..300 {
            let mut damaged = bytes.clone();
            for _ in 0..1 + random(4) {
                let at = random(damaged.len());
                damaged[at] ^= 1 << random(8);
            }
            match decode(&damaged, &options) {
                Ok(image) => {
                    assert!(u64::from(image.width()) * u64::from(image.height()) <= options.max_pixels);
                }
                // The panic was caught, but it is a bug of the decoder.
                Err(error) => {
                    assert!(!error.to_string().contains(DECODER_FAILED), "{name}: the decoder panicked")
                }
            }
        }
    }
}
