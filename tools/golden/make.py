"""Makes the reference values that the engine is tested against, with PyTorch in float32.

    python make.py ops OUT_FOLDER
    python make.py stages OUT_FOLDER --weights flickr8k.safetensors --photo astronaut.jpg

`ops` writes ops.safetensors: single operations with random inputs. `stages` writes photo.rgb (the raw 224x224 RGB photo) and
stages.json: samples of every stage of the bundled model on it. What the files hold is told in the README.md beside them.
"""
import argparse
import json
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

TRAIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "train")
sys.path[:0] = [os.path.join(TRAIN, "classic"), TRAIN]


class Ops:
    def __init__(self):
        self.random = torch.Generator().manual_seed(20)
        self.tensors, self.cases = {}, []

    def rand(self, *shape):
        return torch.randn(*shape, generator=self.random)

    def add(self, name, op, params, **tensors):
        for key, value in tensors.items():
            if value is not None:
                self.tensors[f"{name}.{key}"] = (value.to(torch.int32) if value.dtype == torch.int64 else value).clone(memory_format=torch.contiguous_format)
        self.cases.append({"name": name, "op": op, **params})

    def conv(self, name, shape, out, kernel, stride=1, pads=(0, 0, 0, 0), dilation=1, groups=1, bias=True):
        """pads: top, left, bottom, right."""
        x = self.rand(*shape)
        kh, kw = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        w = self.rand(out, shape[1] // groups, kh, kw) / (shape[1] // groups * kh * kw) ** 0.5
        b = self.rand(out) if bias else None
        top, left, bottom, right = pads
        y = F.conv2d(F.pad(x, (left, right, top, bottom)), w, b, stride, 0, dilation, groups)
        self.add(name, "conv2d", {"kernel": [kh, kw], "stride": stride, "pads": list(pads), "dilation": dilation, "groups": groups},
                 input=x, weight=w, bias=b, output=y)

    def pool(self, name, op, shape, output, params):
        x = self.rand(*shape)
        self.add(name, op, params, input=x, output=output(x))


def make_ops(folder):
    o = Ops()
    # convolutions
    o.conv("conv_stem_same", (1, 3, 16, 16), 8, 3, 2, (0, 0, 1, 1), bias=False)
    o.conv("conv_7x7_s2", (1, 3, 21, 19), 8, 7, 2, (3, 3, 3, 3))
    o.conv("conv_1x1", (2, 16, 7, 7), 24, 1)
    o.conv("conv_1x1_s2", (1, 12, 9, 9), 6, 1, 2)
    o.conv("conv_3x3", (1, 8, 10, 12), 16, 3, 1, (1, 1, 1, 1))
    o.conv("conv_groups2", (1, 8, 9, 9), 12, 3, 1, (1, 1, 1, 1), groups=2)
    o.conv("conv_depthwise_5x5_s2", (1, 12, 14, 14), 12, 5, 2, (1, 1, 2, 2), groups=12, bias=False)
    o.conv("conv_depthwise_3x3", (2, 9, 7, 7), 9, 3, 1, (1, 1, 1, 1), groups=9)
    o.conv("conv_dilation2", (1, 4, 13, 13), 6, 3, 1, (2, 2, 2, 2), dilation=2)
    o.conv("conv_odd_channels", (1, 5, 11, 7), 13, 3, 1, (1, 1, 1, 1))
    o.conv("conv_wide_kernel", (1, 3, 8, 15), 5, (1, 5), 1, (0, 2, 0, 2))
    # normalisation and activations
    x, mean, var = o.rand(2, 11, 5, 6), o.rand(11), o.rand(11).abs() + 0.1
    w, b = o.rand(11), o.rand(11)
    o.add("batch_norm", "batch_norm", {"eps": 1e-3}, input=x, running_mean=mean, running_var=var, weight=w, bias=b,
          output=F.batch_norm(x, mean, var, w, b, False, 0.0, 1e-3))
    x = o.rand(2, 7, 3, 5) * 6
    o.add("relu", "relu", {}, input=x, output=F.relu(x))
    o.add("relu6", "relu6", {}, input=x, output=F.relu6(x))
    o.add("sigmoid", "sigmoid", {}, input=x, output=torch.sigmoid(x))
    o.add("tanh", "tanh", {}, input=x, output=torch.tanh(x))
    # pooling
    o.pool("max_pool", "max_pool2d", (1, 6, 15, 14), lambda x: F.max_pool2d(x, 3, 2, 1), {"kernel": [3, 3], "stride": 2, "padding": 1})
    o.pool("avg_pool_counted", "avg_pool2d", (1, 6, 15, 14), lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=True),
           {"kernel": [3, 3], "stride": 2, "padding": 1, "count_include_pad": True})
    o.pool("avg_pool_not_counted", "avg_pool2d", (1, 6, 15, 14), lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
           {"kernel": [3, 3], "stride": 2, "padding": 1, "count_include_pad": False})
    o.pool("adaptive_7_to_3", "adaptive_avg_pool2d", (1, 5, 7, 7), lambda x: F.adaptive_avg_pool2d(x, 3), {"output": [3, 3]})
    o.pool("adaptive_8_to_14", "adaptive_avg_pool2d", (1, 5, 8, 8), lambda x: F.adaptive_avg_pool2d(x, 14), {"output": [14, 14]})
    o.pool("adaptive_7_to_1", "adaptive_avg_pool2d", (2, 5, 7, 7), lambda x: F.adaptive_avg_pool2d(x, 1), {"output": [1, 1]})
    # linear, embedding, recurrent cell
    x, w, b = o.rand(3, 37), o.rand(29, 37) / 6, o.rand(29)
    o.add("linear", "linear", {}, input=x, weight=w, bias=b, output=F.linear(x, w, b))
    ids, w = torch.tensor([0, 3, 18, 3, 7]), o.rand(19, 13)
    o.add("embedding", "embedding", {}, input=ids, weight=w, output=F.embedding(ids, w))
    cell = torch.nn.LSTMCell(21, 16)
    for p in cell.parameters():
        p.data = o.rand(*p.shape) * 0.3
    x, h, c = o.rand(3, 21), o.rand(3, 16), o.rand(3, 16)
    h1, c1 = cell(x, (h, c))
    o.add("lstm_cell", "lstm_cell", {"gates": "i, f, g, o"}, input=x, h=h, c=c, **{k: v.detach() for k, v in cell.state_dict().items()},
          output_h=h1.detach(), output_c=c1.detach())
    # soft attention with a gate, as in Show, Attend and Tell
    n, places, channels, hidden, size = 2, 9, 24, 16, 12
    grid, h = o.rand(n, places, channels), o.rand(n, hidden)
    t = {"encoder_att_weight": o.rand(size, channels) / 5, "encoder_att_bias": o.rand(size), "decoder_att_weight": o.rand(size, hidden) / 4,
         "decoder_att_bias": o.rand(size), "full_att_weight": o.rand(1, size), "full_att_bias": o.rand(1),
         "f_beta_weight": o.rand(channels, hidden) / 4, "f_beta_bias": o.rand(channels)}
    keys = F.linear(grid, t["encoder_att_weight"], t["encoder_att_bias"])
    query = F.linear(h, t["decoder_att_weight"], t["decoder_att_bias"])
    energy = F.linear(F.relu(keys + query[:, None]), t["full_att_weight"], t["full_att_bias"]).squeeze(2)
    alpha = F.softmax(energy, 1)
    context = (grid * alpha[:, :, None]).sum(1)
    gated = torch.sigmoid(F.linear(h, t["f_beta_weight"], t["f_beta_bias"])) * context
    o.add("attention", "attention", {}, input=grid, h=h, **t, output_energy=energy, output_alpha=alpha, output_context=context,
          output_gated=gated)
    # over the vocabulary
    x = o.rand(3, 101) * 4
    o.add("softmax", "softmax", {"dim": 1}, input=x, output=F.softmax(x, 1))
    o.add("log_softmax", "log_softmax", {"dim": 1}, input=x, output=F.log_softmax(x, 1))
    values, indices = x.topk(5, 1)
    o.add("topk", "topk", {"k": 5, "dim": 1}, input=x, output_values=values, output_indices=indices)
    # operations of other networks
    x = o.rand(2, 7, 3, 5) * 6
    for name, op in [("gelu", F.gelu), ("silu", F.silu), ("hard_sigmoid", F.hardsigmoid), ("hard_swish", F.hardswish)]:
        o.add(name, name, {}, input=x, output=op(x))
    x, w, b = o.rand(3, 37) * 2 + 1, o.rand(37), o.rand(37)
    o.add("layer_norm", "layer_norm", {"eps": 1e-5}, input=x, weight=w, bias=b, output=F.layer_norm(x, (37,), w, b, 1e-5))
    cell = torch.nn.GRUCell(20, 16)
    for p in cell.parameters():
        p.data = o.rand(*p.shape) * 0.3
    x, h = o.rand(3, 20), o.rand(3, 16)
    o.add("gru_cell", "gru_cell", {"gates": "r, z, n"}, input=x, h=h, **{k: v.detach() for k, v in cell.state_dict().items()},
          output=cell(x, h).detach())
    for name, kernel, stride, padding, extra in [("conv_transpose_2x2", (2, 2), 2, 0, 0), ("conv_transpose_3x5", (3, 5), 2, 1, 1),
                                                 ("conv_transpose_overlap", (4, 4), 1, 2, 0)]:
        x, w, b = o.rand(2, 6, 5, 7), o.rand(6, 9, *kernel) / 8, o.rand(9)
        o.add(name, "conv_transpose2d", {"stride": stride, "padding": padding, "output_padding": extra}, input=x, weight=w, bias=b,
              output=F.conv_transpose2d(x, w, b, stride, padding, extra))
    for name, size in [("up", (11, 13)), ("down", (3, 4)), ("double", (10, 14))]:
        x = o.rand(1, 5, 5, 7)
        o.add(f"nearest_{name}", "resize2d", {"size": size, "mode": "nearest"}, input=x, output=F.interpolate(x, size, mode="nearest"))
        for corners in [False, True]:
            o.add(f"bilinear_{name}_{corners}", "resize2d", {"size": size, "mode": "bilinear", "align_corners": corners}, input=x,
                  output=F.interpolate(x, size, mode="bilinear", align_corners=corners))
    a, b = o.rand(3, 9, 17), o.rand(3, 17, 11)
    o.add("matmul", "matmul", {}, input=a, other=b, output=a @ b)
    x = o.rand(2, 7, 3, 5).abs() * 6
    o.add("log", "log", {}, input=x, output=torch.log(x))
    path = os.path.join(folder, "ops.safetensors")
    save_file(o.tensors, path, {"cases": json.dumps(o.cases)})
    print(path, os.path.getsize(path), "bytes,", len(o.cases), "cases")


@torch.no_grad()
def make_stages(folder, weights, photo):
    from data import END, START, read_photo, to_input
    from evaluate import load
    from model import SUPPRESS

    torch.set_num_threads(2)
    model, about = load(weights)
    words = about["vocabulary"]
    image = read_photo(photo)
    with open(os.path.join(folder, "photo.rgb"), "wb") as f:
        f.write(np.asarray(image, dtype=np.uint8).tobytes())
    rng = np.random.default_rng(5)
    number = lambda v: float(np.float32(v))

    def sampled(name, t):
        t = t if t.dim() == 4 else t[:, :, None, None]
        where = [[int(rng.integers(s)) for s in t.shape] for _ in range(32)]
        return {"stage": name, "shape": list(t.shape), "samples": [w + [number(t[tuple(w)])] for w in where]}

    x = torch.from_numpy(to_input(image))[None]
    stages = [sampled("input", x)]
    for name, y in model.encoder.stages(x):
        stages.append(sampled(name, y))
    stages.append(sampled("pooled", y.mean((2, 3))))
    grid = y.flatten(2).transpose(1, 2)
    out = {"photo": {"file": "photo.rgb", "of": os.path.basename(photo), "width": image.width, "height": image.height},
           "encoder": stages, "decoders": {}}
    for d in about["decoders"]:
        decoder = getattr(model, d["prefix"][:-1])
        state, token, attention = decoder.start(grid), torch.tensor([START]), []
        tokens, logps, steps = [], [], []
        for t in range(d["max_length"]):
            extra = {"attention": attention} if d["family"] == "show-attend-tell" else {}
            logits, state = decoder.step(token, state, **extra)
            logp = torch.log_softmax(logits, 1)[0]
            if t < 3:
                ids = sorted(rng.choice(len(words), 31, replace=False).tolist() + [int(logits[0].argmax())])
                steps.append([[i, number(logits[0, i])] for i in ids])
            allowed = logp.clone()
            allowed[SUPPRESS] = -torch.inf
            token = allowed.argmax()[None]
            tokens.append(int(token))
            logps.append(number(logp[token[0]]))
            if int(token) == END:
                break
        entry = {"logits": steps, "tokens": tokens, "log_probabilities": logps, "words": [words[i] for i in tokens]}
        if attention:
            entry["attention_first_step"] = [number(v) for v in attention[0][0, 0]]
        out["decoders"][d["family"]] = entry
        print(d["family"], " ".join(entry["words"]))
    path = os.path.join(folder, "stages.json")
    with open(path, "w") as f:
        json.dump(out, f, indent=None, separators=(",", ":"))
        f.write("\n")
    print(path, os.path.getsize(path), "bytes")


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("what", choices=["ops", "stages"])
    a.add_argument("folder")
    a.add_argument("--weights")
    a.add_argument("--photo")
    a = a.parse_args()
    os.makedirs(a.folder, exist_ok=True)
    if a.what == "ops":
        make_ops(a.folder)
    else:
        make_stages(a.folder, a.weights, a.photo)


if __name__ == "__main__":
    main()
