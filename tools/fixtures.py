"""Writes the pictures in tests/fixtures/ that the Rust tests cannot make themselves, and Pillow's reading of them.

    pip install pillow tifffile imagecodecs
    apt install libjpeg-turbo-progs libtiff-tools
    python tools/fixtures.py

`NAME.png` beside `NAME.jpg` or `NAME.webp` holds the RGB pixels that Pillow decodes. The TIFF files whose names begin with `gradient-` have
the pixels of `gradient.png`.
"""

import pathlib
import subprocess
import tempfile

import numpy
import tifffile
from PIL import Image

HERE = pathlib.Path(__file__).parent.parent / "tests" / "fixtures"


def gradient(width, height):
    """Smooth colours, so that codecs may differ by little."""
    picture = Image.new("RGB", (width, height))
    for y in range(height):
        for x in range(width):
            picture.putpixel((x, y), (x * 255 // (width - 1), y * 255 // (height - 1), 255 - (x + y) * 2 % 256))
    return picture


def save_with_reading(picture, name, **options):
    picture.save(HERE / name, **options)
    reading = Image.open(HERE / name).convert("RGB")
    reading.save((HERE / name).with_suffix(".png"), optimize=True)


def cmyk(width, height):
    """All inks from none to full, in patches of 8 by 8."""
    picture = Image.new("CMYK", (width, height))
    levels = [0, 90, 180, 255]
    for y in range(height):
        for x in range(width):
            i = (y // 8) * (width // 8) + x // 8
            picture.putpixel((x, y), (levels[i % 4], levels[i // 4 % 4], levels[i // 2 % 4], [0, 60, 200][i % 3]))
    return picture


def with_reading(name):
    Image.open(HERE / name).convert("RGB").save((HERE / name).with_suffix(".png"), optimize=True)


def jpeg_kinds():
    """What Pillow does not write: sampling factors, arithmetic coding, RGB without a conversion."""
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "source.ppm"
        gradient(35, 21).save(source)
        for name, *options in [
            ("chroma-finer.jpg", "-sample", "1x1,2x2,2x2"),
            ("sampling-3x1.jpg", "-sample", "3x1,1x1,1x1"),
            ("sampling-1x2.jpg", "-sample", "1x2,1x1,1x1"),
            ("sampling-4x2.jpg", "-sample", "4x2,1x1,1x1", "-progressive"),
            ("sampling-mixed.jpg", "-sample", "2x2,2x1,1x2"),
            ("arithmetic.jpg", "-sample", "2x1,1x1,1x1", "-arithmetic"),
            ("rgb.jpg", "-rgb"),
        ]:
            subprocess.run(["cjpeg", "-quality", "85", *options, "-outfile", HERE / name, source], check=True)
            with_reading(name)
    inks = cmyk(48, 40)
    inks.save(HERE / "ycck-420.jpg", quality=85, subsampling=2)
    data = bytearray((HERE / "ycck-420.jpg").read_bytes())
    data[data.index(b"Adobe") + 11] = 2
    (HERE / "ycck-420.jpg").write_bytes(data)
    with_reading("ycck-420.jpg")


def tiff_kinds():
    picture = gradient(35, 21)
    picture.save(HERE / "gradient.png", optimize=True)
    pixels = numpy.asarray(picture)
    planes = numpy.ascontiguousarray(numpy.moveaxis(pixels, -1, 0))
    tiles = {"tile": (16, 16), "photometric": "rgb"}
    tifffile.imwrite(HERE / "gradient-zstd.tif", pixels, photometric="rgb", compression="zstd", rowsperstrip=8)
    tifffile.imwrite(HERE / "gradient-lzw-planar.tif", planes.astype("u2") * 257, byteorder=">", planarconfig="separate",
                     compression="lzw", predictor=True, **tiles)
    tifffile.imwrite(HERE / "gradient-float.tif", (pixels / 255).astype("f4"), compression="zlib", predictor=True, **tiles)
    tifffile.imwrite(HERE / "gradient-double.tif", (planes / 255).astype("f8"), byteorder=">", planarconfig="separate", compression="zstd",
                     photometric="rgb")
    tifffile.imwrite(HERE / "gradient-big.tif", pixels, photometric="rgb", compression="packbits", bigtiff=True, byteorder=">")
    picture.save(HERE / "jpeg-tables.tif", compression="jpeg", quality=85)
    tifffile.imwrite(HERE / "jpeg-ycbcr.tif", pixels, photometric="ycbcr", compression="jpeg", subsampling=(2, 2), tile=(16, 32))
    tifffile.imwrite(HERE / "jpeg-planar.tif", planes, photometric="rgb", compression="jpeg", planarconfig="separate")
    for name in ["jpeg-tables.tif", "jpeg-ycbcr.tif", "jpeg-planar.tif"]:
        with_reading(name)

    # Fax codings of one picture. Every other one has the bits of its bytes reversed.
    dots = picture.convert("L").convert("1")
    dots.save(HERE / "fax.png")
    dots.save(HERE / "fax-rows.tif", compression="tiff_ccitt")
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "source.tif"
        dots.save(source)
        for name, coding, order in [
            ("fax-3-1d.tif", "g3:1d:fill", "msb2lsb"),
            ("fax-3-2d.tif", "g3:2d", "lsb2msb"),
            ("fax-4.tif", "g4", "lsb2msb"),
            ("fax-none.tif", "none", "lsb2msb"),
        ]:
            subprocess.run(["tiffcp", "-c", coding, "-f", order, "-r", "8", source, HERE / name], check=True)


def main():
    HERE.mkdir(parents=True, exist_ok=True)
    save_with_reading(cmyk(48, 40), "cmyk.jpg", quality=95, subsampling=0)

    # The same coefficients read as YCCK: Adobe's segment ends with the number of its colour transform.
    data = bytearray((HERE / "cmyk.jpg").read_bytes())
    data[data.index(b"Adobe") + 11] = 2
    (HERE / "ycck.jpg").write_bytes(data)
    Image.open(HERE / "ycck.jpg").convert("RGB").save(HERE / "ycck.png", optimize=True)

    save_with_reading(gradient(50, 37), "progressive.jpg", quality=92, progressive=True)
    save_with_reading(gradient(50, 37), "restart.jpg", quality=92, restart_marker_blocks=2)
    save_with_reading(gradient(50, 37), "lossy.webp", quality=92)

    frames = [Image.new("RGB", (12, 9), color) for color in ["red", "lime", "blue"]]
    for name in ["animated.webp", "animated.png", "animated.gif"]:
        frames[0].save(HERE / name, save_all=True, append_images=frames[1:], duration=100, loop=0,
                       **({"lossless": True} if name.endswith("webp") else {}))

    palette = Image.new("P", (4, 1))
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    palette.putdata([0, 1, 2, 3])
    palette.save(HERE / "palette.png", transparency=bytes([255, 255, 128, 0]), bits=2)
    bilevel = Image.new("1", (9, 2))
    bilevel.putdata([x % 2 * 255 for x in range(18)])
    bilevel.save(HERE / "bilevel.png")
    bilevel.save(HERE / "bilevel.tif", compression="group4")

    jpeg_kinds()
    tiff_kinds()

    print(sum(path.stat().st_size for path in HERE.iterdir()), "bytes")


if __name__ == "__main__":
    main()
