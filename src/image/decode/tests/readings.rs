use super::{decode_default, fixture, largest_difference};

/// Files that Pillow reads as the picture beside them, or as another one.
pub(super) const READ_BY_PILLOW: [(&str, &str); 28] = [
    ("cmyk.jpg", "cmyk.png"),
    ("ycck.jpg", "ycck.png"),
    ("ycck-420.jpg", "ycck-420.png"),
    ("progressive.jpg", "progressive.png"),
    ("restart.jpg", "restart.png"),
    ("arithmetic.jpg", "arithmetic.png"),
    ("rgb.jpg", "rgb.png"),
    ("chroma-finer.jpg", "chroma-finer.png"),
    ("sampling-3x1.jpg", "sampling-3x1.png"),
    ("sampling-1x2.jpg", "sampling-1x2.png"),
    ("sampling-4x2.jpg", "sampling-4x2.png"),
    ("sampling-mixed.jpg", "sampling-mixed.png"),
    ("lossy.webp", "lossy.png"),
    ("jpeg-tables.tif", "jpeg-tables.png"),
    ("jpeg-ycbcr.tif", "jpeg-ycbcr.png"),
    ("jpeg-planar.tif", "jpeg-planar.png"),
    ("gradient-zstd.tif", "gradient.png"),
    ("gradient-lzw-planar.tif", "gradient.png"),
    ("gradient-float.tif", "gradient.png"),
    ("gradient-double.tif", "gradient.png"),
    ("gradient-big.tif", "gradient.png"),
    ("fax-rows.tif", "fax.png"),
    ("fax-3-1d.tif", "fax.png"),
    ("fax-3-2d.tif", "fax.png"),
    ("fax-4.tif", "fax.png"),
    ("fax-none.tif", "fax.png"),
    ("bilevel.tif", "bilevel.png"),
    ("bilevel.png", "bilevel.png"),
];

#[test]
fn files_have_the_pixels_that_pillow_reads() {
    for (name, reading) in READ_BY_PILLOW {
        let reading = decode_default(&fixture(reading)).unwrap();
        let found = decode_default(&fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let difference = largest_difference(&found, &reading);
        let allowed = if name == "lossy.webp" { 6 } else { 0 };
        assert!(difference <= allowed, "{name}: {difference} levels from Pillow");
    }
}
