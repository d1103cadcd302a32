"""What torchvision and timm make of their networks with synthetic weights, for tests/encoders.rs.

    pip install torch torchvision timm numpy pillow
    python tools/encoders.py tests/golden/encoders.json

Each tensor has the values of `tools/synth.py` for its own name, so that the file holds names and shapes only.
"""
import json
import pathlib
import sys

import numpy as np
import timm
import torch
import torchvision
from PIL import Image
from torch import nn

import synth

IMAGENET = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]
LITE = [[0.498] * 3, [0.502] * 3]


def values(name, shape):
    """Activations stay of order one at any depth, and probabilities are far from one."""
    if len(shape) > 1:
        fan = int(np.prod(shape[1:]))
        reach = 0.5 * np.sqrt(3 / fan) if len(shape) == 2 else np.sqrt(6 / fan)
        return synth.values(name, 7, shape, 0, np.float32(reach))
    middle, reach = {"running_var": (1, 0.3), "weight": (0.5, 0.1)}.get(name.rsplit(".", 1)[1], (0, 0.1))
    return synth.values(name, 7, shape, middle, np.float32(reach))


def small_classifier(vgg):
    """A VGG's classifier has 124 million weights."""
    vgg.classifier = nn.Sequential(nn.Linear(512 * 49, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 10))
    return vgg


def cases():
    models = torchvision.models
    yield "mobilenet-v2", models.mobilenet_v2(), lambda m, x: m.features(x), 224, IMAGENET
    yield "resnext50-32x4d", models.resnext50_32x4d(), resnet, 224, IMAGENET
    yield "wide-resnet50-2", models.wide_resnet50_2(), resnet, 224, IMAGENET
    for name in ("vgg16", "vgg16_bn", "vgg19"):
        yield name.replace("_", "-"), small_classifier(getattr(models, name)()), lambda m, x: m.features(x), 224, IMAGENET
    for number, side in ((1, 240), (2, 260)):
        yield f"efficientnet-lite{number}", timm.create_model(f"tf_efficientnet_lite{number}"), lambda m, x: m.forward_features(x), side, LITE
    yield "mobilenet-v2", timm.create_model("mobilenetv2_100"), lambda m, x: m.forward_features(x), 224, IMAGENET


def resnet(m, x):
    x = m.maxpool(m.relu(m.bn1(m.conv1(x))))
    return m.layer4(m.layer3(m.layer2(m.layer1(x))))


@torch.no_grad()
def main():
    photo = Image.fromarray(np.fromfile("tests/golden/photo.rgb", np.uint8).reshape(224, 224, 3))
    rng = np.random.default_rng(0)
    result = []
    for family, model, features, side, (mean, std) in cases():
        state = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
        tensors = [[k, list(v.shape)] for k, v in state.items()]
        model.load_state_dict({k: torch.from_numpy(values(k, tuple(v.shape))) for k, v in state.items()}, strict=False)
        model.eval()
        pixels = np.asarray(photo.resize((side, side), Image.BILINEAR), np.float32) / 255
        x = torch.from_numpy((pixels - np.float32(mean)) / np.float32(std)).permute(2, 0, 1).unsqueeze(0)
        grid, probabilities = features(model, x), model(x).softmax(1)[0]
        _, c, h, w = grid.shape
        places = [[int(rng.integers(n)) for n in (h, w, c)] for _ in range(60)]
        short = lambda v: float(f"{v:.7g}")
        result.append({
            "family": family, "library": type(model).__module__.split(".")[0], "side": side, "tensors": tensors, "grid": [h, w, c],
            "largest": short(grid.abs().max().item()), "samples": [[*p, short(grid[0, p[2], p[0], p[1]].item())] for p in places],
            "embedding": [short(v) for v in grid.mean((2, 3))[0].tolist()][:200],
            "probabilities": [short(v) for v in probabilities.tolist()][:200],
        })
        print(family, result[-1]["library"], result[-1]["grid"], "largest", result[-1]["largest"], "most probable", probabilities.max().item(), flush=True)
    pathlib.Path(sys.argv[1]).write_text(json.dumps(result, separators=(",", ":")))


if __name__ == "__main__":
    main()
