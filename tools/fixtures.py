"""Writes the pictures in tests/fixtures/ that the Rust tests cannot make themselves, and Pillow's reading of them.

    pip install pillow
    python tools/fixtures.py

`NAME.png` beside `NAME.jpg` or `NAME.webp` holds the RGB pixels that Pillow decodes.
"""

import pathlib

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

    print(sum(path.stat().st_size for path in HERE.iterdir()), "bytes")


if __name__ == "__main__":
    main()
