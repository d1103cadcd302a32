"""The values of `shadetell synth`, for PyTorch.

    python tools/synth.py                 prints the values that a test in src/weights/synth.rs expects

`resnet(depth, seed)` gives the state dict of torchvision's ResNet.
"""
import numpy as np

STEP = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1
BLOCKS = {18: ([2, 2, 2, 2], False), 34: ([3, 4, 6, 3], False), 50: ([3, 4, 6, 3], True), 101: ([3, 4, 23, 3], True),
          152: ([3, 8, 36, 3], True)}


def values(name, seed, shape, middle, reach):
    """Values from middle - reach to middle + reach by splitmix64, float32."""
    start = 0xCBF29CE484222325
    for byte in name.encode():
        start = (start ^ byte) * 0x100000001B3 & MASK
    start = start + seed * STEP & MASK
    with np.errstate(over="ignore"):
        z = np.uint64(start) + np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64) * np.uint64(STEP)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    unit = (z >> np.uint64(40)).astype(np.float32) * np.float32(1 / 8388608) - np.float32(1)
    return (unit * np.float32(reach) + np.float32(middle)).reshape(shape)


def resnet(depth, seed=7):
    """{name: array} with torchvision's names."""
    out = {}

    def layer(conv, norm, outputs, inputs, side, gain):
        put = lambda name, shape, middle, reach: out.__setitem__(name, values("encoder." + name, seed, shape, middle, reach))
        gain = np.float32(gain)
        put(f"{conv}.weight", (outputs, inputs, side, side), 0, np.sqrt(np.float32(6) / np.float32(inputs * side * side)))
        put(f"{norm}.weight", (outputs,), gain, np.float32(0.2) * gain)
        put(f"{norm}.bias", (outputs,), 0, 0.1)
        put(f"{norm}.running_mean", (outputs,), 0, 0.1)
        put(f"{norm}.running_var", (outputs,), 1, 0.3)

    layer("conv1", "bn1", 64, 3, 7, 1)
    blocks, bottleneck = BLOCKS[depth]
    inputs = 64
    for stage, count in enumerate(blocks, 1):
        width = 32 << stage
        outputs = 4 * width if bottleneck else width
        for block in range(count):
            scope = f"layer{stage}.{block}"
            convs = [(width, inputs, 1), (width, width, 3), (outputs, width, 1)] if bottleneck else \
                    [(width, inputs, 3), (width, width, 3)]
            for number, (o, i, side) in enumerate(convs, 1):
                layer(f"{scope}.conv{number}", f"{scope}.bn{number}", o, i, side, 0.1 if number == len(convs) else 1)
            if inputs != outputs:
                layer(f"{scope}.downsample.0", f"{scope}.downsample.1", outputs, inputs, 1, 1)
            inputs = outputs
    return out


if __name__ == "__main__":
    print([float(v) for v in values("x", 7, (3,), 0.5, 2)])
