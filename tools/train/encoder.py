"""EfficientNet-Lite2 with its ImageNet classifier, frozen, as an ONNX network.

onnxruntime runs the depthwise convolutions several times faster than PyTorch on a CPU; batch norm is folded into the weights.
"""
from pathlib import Path
from typing import Callable

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageOps

SIZE, SIDE, CHANNELS, CLASSES = 260, 9, 1280, 1000
GRID = 6  # rows and columns of the grid that the decoder is given
MEAN, SCALE = 127.0, 128.0
EPS = 1e-3
STRIDE_TWO = (1, 4, 7, 15)  # blocks that halve the resolution
BLOCKS = 21
VIEWS = 4
WINDOW, WINDOW_STRIDE = 3, 2  # the classifier is run on the mean of 3x3 windows too


def window_matrix() -> np.ndarray:
    """[17, 81]: rows that average the whole grid and each of its sixteen 3x3 windows."""
    rows = [np.full((SIDE, SIDE), 1 / SIDE ** 2)]
    for y in range(0, SIDE - WINDOW + 1, WINDOW_STRIDE):
        for x in range(0, SIDE - WINDOW + 1, WINDOW_STRIDE):
            row = np.zeros((SIDE, SIDE))
            row[y:y + WINDOW, x:x + WINDOW] = 1 / WINDOW ** 2
            rows.append(row)
    return np.stack(rows).reshape(len(rows), -1).astype(np.float32)


def pool_matrix(side: int = GRID) -> np.ndarray:
    """[side*side, 81]: adaptive average pooling of the grid, cell i covering floor(9i/side) to ceil(9(i+1)/side)."""
    line = np.zeros((side, SIDE))
    for i in range(side):
        start, end = i * SIDE // side, -(-(i + 1) * SIDE // side)
        line[i, start:end] = 1 / (end - start)
    return np.kron(line, line).astype(np.float32)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME: the odd pixel goes to the right and the bottom."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def read_photo(path: str | Path) -> Image.Image:
    """The photo at the input's size. The width first, then the height: Pillow after 11.3 chooses the order itself, and rounds otherwise."""
    photo = Image.open(path).convert("RGB")
    return photo.resize((SIZE, photo.height), Image.Resampling.BICUBIC).resize((SIZE, SIZE), Image.Resampling.BICUBIC)


def to_input(image: Image.Image) -> np.ndarray:
    return ((np.asarray(image, dtype=np.float32) - MEAN) / SCALE).transpose(2, 0, 1)


def views(path: str | Path, rng: np.random.Generator) -> np.ndarray:
    """[VIEWS, 3, 260, 260]: the photo, its mirror image, and a random crop of each."""
    photo = Image.open(path).convert("RGB")
    images = [read_photo(path)]
    images.append(ImageOps.mirror(images[0]))
    for mirror in (False, True):
        w, h = (int(n * rng.uniform(0.75, 0.97)) for n in photo.size)
        x, y = int(rng.integers(0, photo.width - w + 1)), int(rng.integers(0, photo.height - h + 1))
        crop = photo.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=(x, y, x + w, y + h))
        images.append(ImageOps.mirror(crop) if mirror else crop)
    return np.stack([to_input(i) for i in images])


class Encoder:
    def __init__(self, state: dict[str, torch.Tensor], threads: int = 1) -> None:
        """state: that of efficientnet-lite2-9656183e.pth."""
        self.state = state
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(self._network().SerializeToString(), options, providers=["CPUExecutionProvider"])
        self._windows = window_matrix()
        self._classes = self.state["_fc.weight"].numpy().T.copy()
        self._bias = self.state["_fc.bias"].numpy()

    def grid(self, images: np.ndarray) -> np.ndarray:
        """[n, 3, 260, 260] -> [n, 81, 1280]."""
        y: np.ndarray = self._session.run(None, {"image": images})[0]
        return np.ascontiguousarray(y.reshape(len(y), CHANNELS, -1).transpose(0, 2, 1))

    def logits(self, grid: np.ndarray) -> np.ndarray:
        """[n, 81, 1280] -> [n, 17, 1000]: of the whole photo, then of its windows."""
        return (self._windows @ grid) @ self._classes + self._bias

    def _network(self) -> onnx.ModelProto:
        s = self.state
        weights = [numpy_helper.from_array(np.array(v, np.float32), n) for v, n in ((0, "zero"), (6, "six"))]
        nodes: list[onnx.NodeProto] = []
        size = SIZE

        def conv(x: str, conv: str, bn: str, stride: int = 1, clip: bool = True) -> str:
            nonlocal size
            w = s[conv + ".weight"]
            scale = s[bn + ".weight"] * torch.rsqrt(s[bn + ".running_var"] + EPS)
            weights.append(numpy_helper.from_array((w * scale[:, None, None, None]).numpy(), conv + ".w"))
            weights.append(numpy_helper.from_array((s[bn + ".bias"] - s[bn + ".running_mean"] * scale).numpy(), conv + ".b"))
            kernel = w.shape[-1]
            before, after = same_padding(size, kernel, stride)
            size = -(-size // stride)
            groups = w.shape[0] if w.shape[1] == 1 else 1
            nodes.append(helper.make_node("Conv", [x, conv + ".w", conv + ".b"], [conv], kernel_shape=[kernel] * 2,
                                          strides=[stride] * 2, group=groups, pads=[before, before, after, after]))
            if clip:
                nodes.append(helper.make_node("Clip", [conv, "zero", "six"], [conv + ".clip"]))
            return conv + ".clip" if clip else conv

        x = conv("image", "_conv_stem", "_bn0", 2)
        for i in range(BLOCKS):
            b, y = f"_blocks.{i}", x
            stride = 2 if i in STRIDE_TWO else 1
            if f"{b}._expand_conv.weight" in s:
                y = conv(y, f"{b}._expand_conv", f"{b}._bn0")
            y = conv(y, f"{b}._depthwise_conv", f"{b}._bn1", stride)
            y = conv(y, f"{b}._project_conv", f"{b}._bn2", clip=False)
            narrow = s[f"{b}._project_conv.weight"].shape[0]
            if stride == 1 and i > 0 and narrow == s[f"_blocks.{i - 1}._project_conv.weight"].shape[0]:
                nodes.append(helper.make_node("Add", [x, y], [b + ".sum"]))
                y = b + ".sum"
            x = y
        x = conv(x, "_conv_head", "_bn1")
        graph = helper.make_graph(nodes, "encoder", [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
                                  [helper.make_tensor_value_info(x, TensorProto.FLOAT, ["n", CHANNELS, size, size])], weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
        model.ir_version = 8
        onnx.checker.check_model(model)
        return model


def extract(encoder: Encoder, photos: list[Path], out: Path, report: Callable[[str], None] = print) -> None:
    """Writes OUT.grid.npy [n, VIEWS, 81, 1280] and OUT.logits.npy [n, VIEWS, 17, 1000] (float16)."""
    shapes = {"grid": (len(photos), VIEWS, SIDE ** 2, CHANNELS), "logits": (len(photos), VIEWS, 17, CLASSES)}
    files = {k: out.with_name(f"{out.name}.{k}.npy") for k in shapes}
    if all(f.exists() for f in files.values()):
        return
    parts = {k: f.with_suffix(".part") for k, f in files.items()}
    arrays = {k: np.lib.format.open_memmap(parts[k], "w+", np.float16, shapes[k]) for k in shapes}
    for i, path in enumerate(photos):
        grid = encoder.grid(views(path, np.random.default_rng(i)))
        arrays["grid"][i], arrays["logits"][i] = grid, encoder.logits(grid)
        if (i + 1) % 500 == 0:
            report(f"{out.name}: {i + 1} of {len(photos)} photos")
    for k in shapes:
        arrays[k].flush()
        parts[k].rename(files[k])
