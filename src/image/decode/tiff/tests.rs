use super::super::tests::decode_default;
use super::tag;

/// An entry: tag, type and values.
type Entry = (u16, u16, Vec<u32>);

const BYTE: u16 = 1;
const SHORT: u16 = 3;
const LONG: u16 = 4;

/// A little-endian file with one strip, or with parts of equal length.
fn tiff(width: u32, height: u32, entries: &[Entry], parts: &[&[u8]]) -> Vec<u8> {
    let places = if entries.iter().any(|entry| entry.0 == tag::TILE_WIDTH) {
        [tag::TILE_OFFSETS, tag::TILE_LENGTHS]
    } else {
        [tag::STRIP_OFFSETS, tag::STRIP_LENGTHS]
    };
    let mut entries = entries.to_vec();
    entries.push((tag::WIDTH, LONG, vec![width]));
    entries.push((tag::HEIGHT, SHORT, vec![height]));
    entries.push((places[0], LONG, vec![0; parts.len()]));
    entries.push((places[1], LONG, parts.iter().map(|part| part.len() as u32).collect()));
    let size = |entry: &Entry| entry.2.len() * [0, 1, 1, 2, 4][usize::from(entry.1)];
    let values_start = 8 + 2 + 12 * entries.len() + 4;
    let mut data_start = values_start + entries.iter().map(size).filter(|&bytes| bytes > 4).sum::<usize>();
    for (entry, part) in parts.iter().enumerate() {
        let offsets = entries.iter_mut().find(|(tag, ..)| *tag == places[0]).unwrap();
        offsets.2[entry] = data_start as u32;
        data_start += part.len();
    }
    let mut file = [b"II\x2A\0\x08\0\0\0", &(entries.len() as u16).to_le_bytes()[..]].concat();
    let mut values = Vec::new();
    for entry in &entries {
        let bytes: Vec<u8> = entry
            .2
            .iter()
            .flat_map(|value| value.to_le_bytes()[..size(entry) / entry.2.len()].to_vec())
            .collect();
        file.extend([&entry.0.to_le_bytes()[..], &entry.1.to_le_bytes()].concat());
        file.extend((entry.2.len() as u32).to_le_bytes());
        if bytes.len() > 4 {
            file.extend(((values_start + values.len()) as u32).to_le_bytes());
            values.extend(bytes);
        } else {
            file.extend([bytes.as_slice(), &[0; 4][bytes.len()..]].concat());
        }
    }
    [file, vec![0; 4], values, parts.concat()].concat()
}

/// The pixels of a file with one strip.
fn pixels(width: u32, height: u32, entries: &[Entry], data: &[u8]) -> Vec<u8> {
    decode_default(&tiff(width, height, entries, &[data])).unwrap().into_data()
}

fn short(tag: u16, value: u32) -> Entry {
    (tag, SHORT, vec![value])
}

fn bits(bits: u32, samples: u32, colour: u32) -> Vec<Entry> {
    let all = (tag::BITS, SHORT, vec![bits; samples as usize]);
    vec![all, short(tag::SAMPLES, samples), short(tag::COLOUR, colour)]
}

/// Grey pixels of these levels.
fn grey(levels: &[u8]) -> Vec<u8> {
    levels.iter().flat_map(|&level| [level; 3]).collect()
}

#[test]
fn samples_of_few_bits_are_scaled() {
    assert_eq!(pixels(3, 2, &[], &[0b0100_0000, 0b1010_0000]), grey(&[255, 0, 255, 0, 255, 0]), "0 is white");
    assert_eq!(pixels(3, 2, &bits(1, 1, 1), &[0b0100_0000, 0b1010_0000]), grey(&[0, 255, 0, 255, 0, 255]));
    assert_eq!(pixels(3, 1, &bits(2, 1, 1), &[0b0001_1100]), grey(&[0, 85, 255]));
    assert_eq!(pixels(3, 1, &bits(4, 1, 0), &[0x0F, 0x50]), grey(&[255, 0, 170]));
    assert_eq!(pixels(2, 1, &bits(12, 1, 1), &[0x80, 0x0F, 0xFF]), grey(&[128, 255]));
    assert_eq!(pixels(2, 1, &bits(16, 1, 1), &[0x80, 0x80, 0, 0xFF]), grey(&[128, 254]));
    assert_eq!(pixels(1, 1, &bits(4, 3, 2), &[0x0F, 0x50]), [0, 255, 85]);
}

#[test]
fn bits_in_reversed_order_are_turned_around() {
    let entries = [bits(2, 1, 1), vec![short(tag::FILL_ORDER, 2)]].concat();
    assert_eq!(pixels(3, 1, &entries, &[0b0011_1000]), grey(&[0, 85, 255]));
    let entries = [bits(8, 1, 1), vec![short(tag::FILL_ORDER, 2), short(tag::COMPRESSION, 32773)]].concat();
    // Two copies of 4: 0xFF, 0x04.
    assert_eq!(pixels(2, 1, &entries, &[0xFF, 0x20]), grey(&[4, 4]));
}

#[test]
fn palettes_have_16_bits_or_8() {
    for factor in [257, 256, 1] {
        let map = [0, 10, 20, 30, 0, 0, 0, 200, 255, 0, 1, 2].map(|level| level * factor).to_vec();
        let entries = [bits(2, 1, 3), vec![(tag::COLOUR_MAP, SHORT, map)]].concat();
        let expected = [0, 0, 255, 10, 0, 0, 20, 0, 1, 30, 200, 2];
        assert_eq!(pixels(4, 1, &entries, &[0b0001_1011]), expected, "times {factor}");
    }
    let error = decode_default(&tiff(1, 1, &bits(8, 1, 3), &[&[0]])).unwrap_err();
    assert!(error.to_string().contains("palette"), "{error}");
}

#[test]
fn extra_samples_are_opacity_or_nothing() {
    let with = |samples, colour, extra: u32| {
        [bits(8, samples, colour), vec![short(tag::EXTRA_SAMPLES, extra)]].concat()
    };
    assert_eq!(pixels(2, 1, &with(2, 1, 2), &[0, 51, 200, 255]), grey(&[204, 200]));
    assert_eq!(pixels(1, 1, &with(2, 1, 0), &[7, 51]), grey(&[7]));
    assert_eq!(pixels(1, 1, &with(4, 2, 2), &[0, 255, 0, 51]), [204, 255, 204]);
    assert_eq!(pixels(1, 1, &with(4, 2, 0), &[1, 2, 3, 51]), [1, 2, 3]);
    assert_eq!(pixels(1, 1, &bits(8, 4, 2), &[0, 255, 0, 51]), [204, 255, 204], "RGB and a nameless sample");
    // Multiplied by its opacity of a half, the colour is 100; over white it is (100 * 128 + 255 * 127) / 255.
    assert_eq!(pixels(1, 1, &with(4, 2, 1), &[50, 50, 50, 128]), grey(&[177]));
}

#[test]
fn inks_become_rgb() {
    let inks = [0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 255, 0, 100, 200, 55];
    assert_eq!(pixels(4, 1, &bits(8, 4, 5), &inks), [255, 255, 255, 0, 255, 255, 0, 0, 0, 200, 122, 43]);
}

#[test]
fn floats_from_0_to_1_or_255_are_understood() {
    let entries = |size| [bits(size, 1, 1), vec![short(tag::SAMPLE_FORMAT, 3)]].concat();
    let singles = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    assert_eq!(pixels(3, 1, &entries(32), &singles(&[0.0, 0.5, 1.0])), grey(&[0, 128, 255]));
    assert_eq!(pixels(3, 1, &entries(32), &singles(&[-0.05, 0.2, 1.05])), grey(&[0, 51, 255]), "overshoots");
    assert_eq!(pixels(3, 1, &entries(32), &singles(&[0.0, 77.4, 255.0])), grey(&[0, 77, 255]));
    let doubles: Vec<u8> = [0.0f64, 0.2, 1.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(pixels(3, 1, &entries(64), &doubles), grey(&[0, 51, 255]));
    // 1 and 0.5 with 16 bits.
    assert_eq!(pixels(2, 1, &entries(16), &[0, 0x3C, 0, 0x38]), grey(&[255, 128]));
    for values in [[0.0, 3.0], [0.0, 1000.0], [-1.0, 1.0], [f32::NAN, 1.0]] {
        let error = decode_default(&tiff(2, 1, &entries(32), &[&singles(&values)])).unwrap_err();
        assert_eq!(error.code(), "unsupported_format", "{error}");
    }
}

#[test]
fn tiles_and_planes_are_put_together() {
    let tiles = |samples| {
        let size = [short(tag::TILE_WIDTH, 2), short(tag::TILE_HEIGHT, 2)].to_vec();
        [bits(8, samples, if samples == 1 { 1 } else { 2 }), size].concat()
    };
    // Three by three pixels need four tiles, which are padded.
    let parts: [&[u8]; 4] = [&[1, 2, 4, 5], &[3, 99, 6, 99], &[7, 8, 99, 99], &[9, 99, 99, 99]];
    let image = decode_default(&tiff(3, 3, &tiles(1), &parts)).unwrap();
    assert_eq!(image.data(), grey(&[1, 2, 3, 4, 5, 6, 7, 8, 9]));
    let planar = [tiles(3), vec![short(tag::PLANES, 2)]].concat();
    let parts: [&[u8]; 6] = [&[1, 2, 3, 4], &[5; 4], &[6; 4], &[7; 4], &[8; 4], &[9; 4]];
    let image = decode_default(&tiff(3, 2, &planar, &parts)).unwrap();
    assert_eq!(image.data(), [1, 6, 8, 2, 6, 8, 5, 7, 9, 3, 6, 8, 4, 6, 8, 5, 7, 9]);
    let strips = [bits(8, 1, 1), vec![short(tag::ROWS_PER_STRIP, 2)]].concat();
    let image = decode_default(&tiff(1, 3, &strips, &[&[1, 2], &[3]])).unwrap();
    assert_eq!(image.data(), grey(&[1, 2, 3]));
}

#[test]
fn colours_at_a_lower_resolution_are_repeated() {
    let entries = [bits(8, 3, 6), vec![(tag::SUBSAMPLING, SHORT, vec![2, 1])]].concat();
    // Two grey pixels with one Cb and Cr, then a red one that fills its block.
    let image = pixels(3, 1, &entries, &[10, 20, 128, 128, 76, 0, 85, 255]);
    assert_eq!(image, [10, 10, 10, 20, 20, 20, 254, 0, 0]);
}

#[test]
fn the_orientation_may_be_a_number_of_any_size() {
    for kind in [BYTE, SHORT, LONG] {
        let entries = [bits(8, 1, 1), vec![(274, kind, vec![3])]].concat();
        assert_eq!(pixels(2, 1, &entries, &[1, 2]), grey(&[2, 1]), "type {kind}");
    }
}

#[test]
fn what_is_not_supported_is_named() {
    let with = |entry: Entry| [bits(8, 1, 1), vec![entry]].concat();
    let cases = [
        (with(short(tag::COMPRESSION, 6)), "old-style JPEG compression"),
        (with(short(tag::COMPRESSION, 34925)), "LZMA compression"),
        (with(short(tag::COMPRESSION, 50001)), "WebP compression"),
        (with(short(tag::COMPRESSION, 12345)), "compression of an unknown kind (12345)"),
        (with(short(tag::COMPRESSION, 4)), "fax compression of other pixels than black and white"),
        (with(short(tag::SAMPLE_FORMAT, 2)), "signed samples"),
        (with(short(tag::SAMPLE_FORMAT, 5)), "complex numbers"),
        (with(short(tag::SAMPLE_FORMAT, 3)), "8-bit float samples"),
        (with((tag::SAMPLES, LONG, vec![5000])), "5000 samples to a pixel"),
        (bits(32, 1, 1), "32-bit integer samples"),
        (bits(8, 3, 8), "L*a*b* colours"),
        (bits(8, 1, 32803), "raw data of a camera's sensor"),
        (bits(8, 1, 77), "colours of an unknown kind (77)"),
        (bits(8, 2, 2), "2 samples to a pixel where its colours need 3"),
        (
            vec![(tag::BITS, SHORT, vec![5, 6, 5]), short(tag::SAMPLES, 3), short(tag::COLOUR, 2)],
            "samples of different sizes",
        ),
        ([bits(8, 3, 6), vec![short(tag::PLANES, 2)]].concat(), "YCbCr colours in separate planes"),
    ];
    for (mut entries, name) in cases {
        // The first entry of a tag counts.
        entries.reverse();
        let error = decode_default(&tiff(1, 1, &entries, &[&[0; 8], &[0; 8], &[0; 8]])).unwrap_err();
        assert_eq!(error.code(), "unsupported_format", "{name}: {error}");
        assert!(
            error.to_string().contains("a TIFF with ") && error.to_string().contains(name),
            "{name}: {error}"
        );
    }
}

#[test]
fn sizes_that_contradict_each_other_are_damage_or_too_large() {
    let tile = |side: u32| {
        let size = [(tag::TILE_WIDTH, LONG, vec![side]), (tag::TILE_HEIGHT, LONG, vec![side])].to_vec();
        [bits(8, 1, 1), size].concat()
    };
    let code = |file: &[u8]| decode_default(file).unwrap_err().code();
    assert_eq!(code(&tiff(1, 1, &tile(u32::MAX), &[&[0]])), "too_large");
    // Each tile fits into memory, but half a billion pixels for each of a thousand rows would take hours.
    let wide = [(tag::TILE_WIDTH, LONG, vec![500_000_000]), (tag::TILE_HEIGHT, LONG, vec![1])].to_vec();
    let parts: Vec<&[u8]> = vec![&[0]; 1000];
    assert_eq!(code(&tiff(1, 1000, &[bits(8, 1, 1), wide].concat(), &parts)), "too_large");
    assert_eq!(code(&tiff(1, 1, &tile(0), &[&[0]])), "corrupt");
    assert_eq!(code(&tiff(0, 1, &bits(8, 1, 1), &[&[0]])), "corrupt");
    assert_eq!(code(&tiff(30_000, 30_000, &bits(8, 1, 1), &[&[0]])), "too_large");
    assert_eq!(code(&tiff(3, 3, &bits(8, 1, 1), &[&[0; 8]])), "corrupt", "a pixel is missing");
    assert_eq!(
        code(&tiff(3, 3, &[bits(8, 1, 1), vec![short(tag::ROWS_PER_STRIP, 1)]].concat(), &[&[0; 9]])),
        "corrupt"
    );
}
