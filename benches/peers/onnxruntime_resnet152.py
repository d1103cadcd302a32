"""One ResNet-152 pass, 224x224, batch 1, in onnxruntime: prints JSON with the first and the warm times in milliseconds.

    python onnxruntime_resnet152.py webgpu|cpu [RUNS]

Batch norms are folded into the convolutions, as its own optimiser does. The weights are random and need no download.
"""

import json
import os
import statistics
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def resnet152():
    """The network as an ONNX model."""
    nodes, weights = [], []
    random = np.random.default_rng(7)

    def add(kind, inputs, **attributes):
        name = f"{kind.lower()}{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def conv(x, inputs, outputs, kernel, stride, relu):
        number = len(weights)
        scale = (inputs * kernel * kernel) ** -0.5
        values = random.standard_normal((outputs, inputs, kernel, kernel), dtype=np.float32) * np.float32(scale)
        weights.append(numpy_helper.from_array(values, f"weight{number}"))
        weights.append(numpy_helper.from_array(np.zeros(outputs, dtype=np.float32), f"bias{number}"))
        y = add(
            "Conv",
            [x, f"weight{number}", f"bias{number}"],
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[kernel // 2] * 4,
        )
        return add("Relu", [y]) if relu else y

    x = conv("data", 3, 64, 7, 2, True)
    x = add("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = 64
    for stage, count in enumerate([3, 8, 36, 3]):
        width = 64 << stage
        for block in range(count):
            stride = 2 if stage > 0 and block == 0 else 1
            main = conv(x, channels, width, 1, 1, True)
            main = conv(main, width, width, 3, stride, True)
            main = conv(main, width, 4 * width, 1, 1, False)
            shortcut = conv(x, channels, 4 * width, 1, stride, False) if block == 0 else x
            channels = 4 * width
            x = add("Relu", [add("Add", [main, shortcut])])
    x = add("GlobalAveragePool", [x])
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "resnet152",
        [value("data", TensorProto.FLOAT, [1, 3, 224, 224])],
        [value(x, TensorProto.FLOAT, [1, 2048, 1, 1])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def main():
    webgpu = sys.argv[1] == "webgpu"
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "resnet152.onnx")
        onnx.save(resnet152(), path)
        start = time.perf_counter()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = os.cpu_count()
        provider = "WebGpuExecutionProvider" if webgpu else "CPUExecutionProvider"
        session = onnxruntime.InferenceSession(path, options, providers=[provider])
        if session.get_providers()[0] != provider:
            sys.exit(f"onnxruntime has no {provider} here")
        image = {"data": np.full((1, 3, 224, 224), 0.5, dtype=np.float32)}
        times = []
        for number in range(runs + 1):
            clock = time.perf_counter()
            (features,) = session.run(None, image)
            end = time.perf_counter()
            if not np.isfinite(features).all():
                sys.exit("onnxruntime gave numbers that are not finite")
            if number == 0:
                first = (end - start) * 1e3
            else:
                times.append((end - clock) * 1e3)
    times.sort()
    print(json.dumps({
        "engine": f"onnxruntime {onnxruntime.__version__}",
        "adapter": "WebGPU" if webgpu else "CPU",
        "cold_ms": first,
        "warm_ms": {"min": times[0], "median": statistics.median(times), "p95": times[int(0.95 * (len(times) - 1))]},
    }))


main()
