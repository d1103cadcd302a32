"""One ResNet-152 pass, 224x224, batch 1, in ncnn: prints JSON with the first and the warm times in milliseconds.

    python ncnn_resnet152.py vulkan|cpu [RUNS]

Batch norms are folded into the convolutions, as ncnn's own optimiser does, and activations fused. The weights are zeros that
need no download: neither back end looks at values.
"""

import json
import os
import statistics
import sys
import tempfile
import time

import ncnn
import numpy as np


def resnet152():
    """The network in ncnn's text format."""
    layers, blobs = [], ["data"]

    def add(kind, inputs, params=""):
        name = f"{kind.lower()}{len(layers)}"
        layers.append(f"{kind} {name} {len(inputs)} 1 {' '.join(inputs)} {name} {params}")
        blobs.append(name)
        return name

    def split(blob):
        # A blob with two readers has to be split.
        name = f"split{len(layers)}"
        layers.append(f"Split {name} 1 2 {blob} {name}_a {name}_b")
        blobs.extend([f"{name}_a", f"{name}_b"])
        return f"{name}_a", f"{name}_b"

    def conv(blob, inputs, outputs, kernel, stride, relu):
        size = inputs * outputs * kernel * kernel
        params = f"0={outputs} 1={kernel} 3={stride} 4={kernel // 2} 5=1 6={size} 9={int(relu)}"
        return add("Convolution", [blob], params)

    layers.append("Input data 0 1 data 0=224 1=224 2=3")
    x = conv("data", 3, 64, 7, 2, True)
    x = add("Pooling", [x], "0=0 1=3 2=2 3=1 5=1")
    channels = 64
    for stage, count in enumerate([3, 8, 36, 3]):
        width = 64 << stage
        for block in range(count):
            stride = 2 if stage > 0 and block == 0 else 1
            main, shortcut = split(x)
            main = conv(main, channels, width, 1, 1, True)
            main = conv(main, width, width, 3, stride, True)
            main = conv(main, width, 4 * width, 1, 1, False)
            if block == 0:
                shortcut = conv(shortcut, channels, 4 * width, 1, stride, False)
            channels = 4 * width
            x = add("ReLU", [add("BinaryOp", [main, shortcut], "0=0")])
    x = add("Pooling", [x], "0=1 4=1")
    return f"7767517\n{len(layers)} {len(blobs)}\n" + "\n".join(layers) + "\n", x


def main():
    start = time.perf_counter()
    vulkan = sys.argv[1] == "vulkan"
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    net = ncnn.Net()
    net.opt.use_vulkan_compute = vulkan
    net.opt.num_threads = os.cpu_count()
    # f32 throughout, as everywhere in the comparison.
    for name in ["fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "bf16_packed"]:
        if hasattr(net.opt, f"use_{name}"):
            setattr(net.opt, f"use_{name}", False)
    text, output = resnet152()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "resnet152.param")
        with open(path, "w") as file:
            file.write(text)
        if net.load_param(path) != 0:
            sys.exit("ncnn refused the network")
    net.load_model(ncnn.DataReaderFromEmpty())
    image = ncnn.Mat(np.full((3, 224, 224), 0.5, dtype=np.float32))
    times = []
    for _ in range(runs + 1):
        clock = time.perf_counter()
        extractor = net.create_extractor()
        extractor.input("data", image)
        code, features = extractor.extract(output)
        if code != 0 or np.array(features).size != 2048:
            sys.exit(f"ncnn failed: {code}")
        times.append((time.perf_counter() - clock) * 1e3)
        first = first_ms if len(times) > 1 else (time.perf_counter() - start) * 1e3
        first_ms = first
    warm = sorted(times[1:])
    device = ncnn.get_gpu_info(0).device_name() if vulkan else "CPU"
    print(json.dumps({
        "engine": f"ncnn {ncnn.__version__}",
        "adapter": device,
        "cold_ms": first_ms,
        "warm_ms": {"min": warm[0], "median": statistics.median(warm), "p95": warm[int(0.95 * (len(warm) - 1))]},
    }))


main()
