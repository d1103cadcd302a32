"""Runs the early encoder once over every photo and stores its activations (float16, one .npy a view).

    python features.py DATA OUT --encoder efficientnet-lite0-57934424.pth [--views plain,mirror,crop1,crop2]

Views of the training photos: plain, mirror, and mild random crops (crop2, crop4 ... are mirrored too).
onnxruntime runs the depthwise convolutions several times faster than PyTorch on a CPU, hence the detour.
"""
import argparse
import os
import time

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageOps

from data import Flickr8k, SIZE, to_input
from model import BLOCKS, CUT, Captioner, fold, same_padding


def early_network(encoder):
    """The stem and the blocks before CUT as an ONNX network, batch norm folded."""
    nodes, weights = [], []

    def conv(x, name, conv, bn, clip):
        w, b = fold(conv, bn)
        weights.append(numpy_helper.from_array(w.view_as(conv.weight).detach().numpy(), name + ".w"))
        weights.append(numpy_helper.from_array(b.detach().numpy(), name + ".b"))
        k, s = conv.kernel_size[0], conv.stride[0]
        before, after = same_padding(conv_sizes[-1], k, s)
        conv_sizes[-1] = -(-conv_sizes[-1] // s)
        nodes.append(helper.make_node("Conv", [x, name + ".w", name + ".b"], [name], kernel_shape=[k, k], strides=[s, s],
                                      group=conv.groups, pads=[before, before, after, after]))
        if clip:
            nodes.append(helper.make_node("Clip", [name, "zero", "six"], [name + ".clip"]))
        return name + ".clip" if clip else name

    conv_sizes = [SIZE]
    weights += [numpy_helper.from_array(np.float32(0), "zero"), numpy_helper.from_array(np.float32(6), "six")]
    x = conv("image", "stem", encoder._conv_stem, encoder._bn0, True)
    for i in range(CUT):
        block, y = encoder._blocks[i], x
        if block.expand != 1:
            y = conv(y, f"b{i}.expand", block._expand_conv, block._bn0, True)
        y = conv(y, f"b{i}.depthwise", block._depthwise_conv, block._bn1, True)
        y = conv(y, f"b{i}.project", block._project_conv, block._bn2, False)
        if block.skip:
            nodes.append(helper.make_node("Add", [x, y], [f"b{i}.sum"]))
            y = f"b{i}.sum"
        x = y
    side, channels = conv_sizes[-1], BLOCKS[CUT - 1][4]
    graph = helper.make_graph(nodes, "early", [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
                              [helper.make_tensor_value_info(x, TensorProto.FLOAT, ["n", channels, side, side])], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(None, {"image": batch})[0]


def view_of(image, view, rng):
    if view.startswith("crop"):
        w = int(SIZE * rng.uniform(0.78, 0.97))
        h = int(SIZE * rng.uniform(0.78, 0.97))
        x, y = rng.integers(0, SIZE - w + 1), rng.integers(0, SIZE - h + 1)
        image = image.crop((x, y, x + w, y + h)).resize((SIZE, SIZE), Image.BILINEAR)
    if view == "mirror" or (view.startswith("crop") and int(view[4:]) % 2 == 0):
        image = ImageOps.mirror(image)
    return image


def main():
    args = argparse.ArgumentParser()
    args.add_argument("data")
    args.add_argument("out")
    args.add_argument("--encoder", required=True)
    args.add_argument("--views", default="plain,mirror,crop1,crop2")
    args = args.parse_args()
    data = Flickr8k(args.data)
    model = Captioner(10)
    model.load_imagenet(args.encoder)
    network = early_network(model.encoder)
    # the two ways through the encoder must agree
    x = np.stack([to_input(data.photo(n)) for n in data.dev[:2]])
    with torch.no_grad():
        difference = (model.encoder.late(torch.from_numpy(network(x))) - model.encoder.full(torch.from_numpy(x))).abs().max()
    print(f"largest difference from the plain encoder: {difference:.2e}", flush=True)
    os.makedirs(args.out, exist_ok=True)
    jobs = [("dev.plain", data.dev, "plain")] + [(f"train.{v}", data.train, v) for v in args.views.split(",")]
    for name, photos, view in jobs:
        path = os.path.join(args.out, name + ".npy")
        if os.path.exists(path):
            continue
        start, rng = time.time(), np.random.default_rng(len(view) + sum(map(ord, view)))
        out = np.lib.format.open_memmap(path + ".part", "w+", np.float16, (len(photos), 112, 14, 14))
        for i in range(0, len(photos), 16):
            batch = np.stack([to_input(view_of(data.photo(n), view, rng)) for n in photos[i:i + 16]])
            out[i:i + len(batch)] = network(batch)
        out.flush()
        os.rename(path + ".part", path)
        print(f"{name}: {len(photos)} photos, {time.time() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
