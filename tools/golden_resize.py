"""Writes tests/golden/resize.json: what Pillow makes of pictures that the Rust test can compute itself.

    pip install pillow==11.3.0
    python tools/golden_resize.py

Stored are sizes, a CRC-32 of the resized bytes and the first of them.

Every Pillow up to 11.3 resizes the width first, and the known captioning models were trained with one of these.
Later ones begin with the height where that is faster (12 for extremely tall pictures, 13 for more), which
rounds differently by a level here and there.
"""

import json
import pathlib
import zlib

from PIL import Image

FILTERS = {"box": Image.BOX, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}
HEAD = 96

SIZES = [
    # Down, as a captioner does: whole, odd and uneven factors.
    ((64, 48), (32, 24)), ((64, 48), (16, 16)), ((97, 61), (31, 17)), ((101, 67), (24, 24)), ((33, 47), (32, 46)),
    ((320, 213), (64, 43)), ((213, 320), (56, 56)), ((500, 11), (7, 3)), ((11, 500), (3, 7)),
    # Up, and one side each way.
    ((16, 12), (32, 24)), ((7, 5), (31, 29)), ((9, 40), (40, 9)), ((40, 9), (9, 40)), ((13, 13), (14, 15)),
    # One side alone: the other pass is skipped.
    ((29, 18), (12, 18)), ((29, 18), (29, 7)), ((29, 18), (50, 18)), ((29, 18), (29, 50)), ((19, 23), (19, 23)),
    # Sides of one pixel.
    ((1, 1), (1, 1)), ((1, 1), (5, 4)), ((1, 33), (1, 8)), ((1, 33), (6, 8)), ((33, 1), (8, 1)), ((33, 1), (8, 6)),
    ((2, 2), (1, 1)), ((2, 3), (7, 1)), ((257, 129), (1, 1)),
    # Extreme aspect.
    ((2000, 2), (20, 5)), ((3, 2000), (6, 9)),
]


def source(kind, width, height):
    """A picture that the test builds with the same formula."""
    state = 12345
    data = bytearray()
    for y in range(height):
        for x in range(width):
            for _ in range(3):
                state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
                data.append(state >> 24 if kind == "noise" else ((x // 3 + y // 2) % 2) * 255)
    return Image.frombytes("RGB", (width, height), bytes(data))


def main():
    cases = []
    for kind in ["noise", "checks"]:
        for before, after in SIZES:
            picture = source(kind, *before)
            for name, resample in FILTERS.items():
                result = picture.resize(after, resample).tobytes()
                cases.append({
                    "source": kind, "filter": name, "from": before, "to": after,
                    "crc32": zlib.crc32(result), "head": result[:HEAD].hex(),
                })
    path = pathlib.Path(__file__).parent.parent / "tests" / "golden" / "resize.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
    print(f"{path.name}: {len(cases)} cases, {path.stat().st_size} bytes, Pillow {Image.__version__}")


if __name__ == "__main__":
    main()
