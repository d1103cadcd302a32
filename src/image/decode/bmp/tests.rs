use super::super::tests::decode_default;

/// Two pixels by two: red, green; blue, white.
const COLOURS: [[u8; 3]; 4] = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255; 3]];

/// A BMP file with a header of this length, whose fields after the first 40 bytes are masks.
fn bmp(length: u32, bits: u16, compression: u32, masks: &[u32], data: &[u8]) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend([length, 2, 2].map(u32::to_le_bytes).concat());
    header.extend([1, bits].map(u16::to_le_bytes).concat());
    header.extend([compression, data.len() as u32, 0, 0, 0, 0].map(u32::to_le_bytes).concat());
    header.truncate(length as usize);
    // With the first of these headers, masks follow it; with the others they are part of it.
    header.extend(masks.iter().flat_map(|mask| mask.to_le_bytes()));
    header.resize(header.len().max(length as usize), 0);
    let offset = 14 + header.len() as u32;
    [b"BM", &[0; 8][..], &offset.to_le_bytes(), &header, data].concat()
}

/// The pixels from the bottom, as blue, green, red and this alpha.
fn pixels(alpha: [u8; 4]) -> Vec<u8> {
    [2, 3, 0, 1].iter().flat_map(|&i| [COLOURS[i][2], COLOURS[i][1], COLOURS[i][0], alpha[i]]).collect()
}

const MASKS: [u32; 4] = [0x00FF_0000, 0x0000_FF00, 0x0000_00FF, 0xFF00_0000];

#[test]
fn alpha_that_is_0_everywhere_is_opaque() {
    let files = [
        bmp(40, 32, 0, &[], &pixels([0; 4])),
        bmp(40, 32, 3, &MASKS[..3], &pixels([0; 4])),
        bmp(40, 32, 6, &MASKS, &pixels([0; 4])),
        bmp(52, 32, 3, &MASKS[..3], &pixels([0; 4])),
        bmp(56, 32, 3, &MASKS, &pixels([0; 4])),
        bmp(108, 32, 3, &MASKS, &pixels([0; 4])),
        bmp(124, 32, 3, &MASKS, &pixels([0; 4])),
        bmp(124, 32, 0, &[], &pixels([0; 4])),
    ];
    for (i, file) in files.into_iter().enumerate() {
        assert_eq!(decode_default(&file).unwrap().data(), COLOURS.concat(), "file {i}");
    }
    // The white pixel is the only one that is not transparent, and the others become white.
    let some = bmp(124, 32, 3, &MASKS, &pixels([0, 0, 0, 255]));
    assert_eq!(decode_default(&some).unwrap().data(), [255; 12]);
}

#[test]
fn headers_of_os_2_are_understood() {
    for length in [16, 64] {
        let bgr: Vec<u8> = pixels([0; 4]).chunks(4).flat_map(|pixel| pixel[..3].to_vec()).collect();
        let rows: Vec<u8> = bgr.chunks(6).flat_map(|row| [row, &[0; 2]].concat()).collect();
        assert_eq!(
            decode_default(&bmp(length, 24, 0, &[], &rows)).unwrap().data(),
            COLOURS.concat(),
            "{length}"
        );
    }
}

#[test]
fn levels_of_5_and_6_bits_are_rounded_down() {
    let data: Vec<u8> = [3u16 << 11 | 5 << 5 | 29, 0xFFFF, 0, 1].map(u16::to_le_bytes).concat();
    let image = decode_default(&bmp(40, 16, 3, &[0xF800, 0x7E0, 0x1F], &data)).unwrap();
    // 3 * 255 / 31 = 24.7; 5 * 255 / 63 = 20.2; 29 * 255 / 31 = 238.5.
    assert_eq!(image.pixel(0, 1), Some([24, 20, 238]));
    assert_eq!(image.pixel(1, 1), Some([255; 3]));
    assert_eq!(image.pixel(1, 0), Some([0, 0, 8]));
    let image = decode_default(&bmp(40, 16, 0, &[], &data)).unwrap();
    // 3 << 11 | 5 << 5 | 29 is 6 << 10 | 5 << 5 | 29.
    assert_eq!(image.pixel(0, 1), Some([49, 41, 238]));
}

#[test]
fn kinds_that_are_not_supported_are_named() {
    for (length, bits, compression, name) in [
        (40, 64, 0, "64-bit pixels"),
        (40, 3, 0, "3-bit pixels"),
        (40, 24, 4, "a JPEG inside"),
        (40, 24, 5, "a PNG inside"),
        (124, 32, 11, "CMYK"),
        (40, 32, 99, "unknown kind (99)"),
        (64, 1, 3, "fax compression"),
        (64, 24, 4, "run-length compression"),
    ] {
        let error = decode_default(&bmp(length, bits, compression, &[], &[0; 64])).unwrap_err();
        assert_eq!(error.code(), "unsupported_format", "{error}");
        assert!(error.to_string().contains("a BMP with ") && error.to_string().contains(name), "{error}");
    }
}
