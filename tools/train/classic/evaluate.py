"""Scores of an exported file on the dev photos, computed by PyTorch in float32 on the file's own (float16) weights.

    python evaluate.py DATA FILE.safetensors [--beams 1,2,3,4,5,6,8] [--json PREFIX] [--photos FILE ...]

Prints a table over beam sizes and length penalties. --json writes PREFIX_greedy.json and PREFIX_beam.json (the file's own beam
settings): {decoder: {photo: word ids}}. --photos captions other photos instead.
"""
import argparse
import json
import os

import numpy as np
import torch
from safetensors import safe_open

from data import START, Flickr8k, read_photo, to_input
from features import early_network
from metrics import line, report
from model import Captioner, cut, greedy
from search import beams, winner
from workers import Workers


def load(path):
    """(model, metadata) of an exported file, all weights widened to float32."""
    with safe_open(path, "pt") as f:
        about = json.loads(f.metadata()["shadetell"])
        state = {k: f.get_tensor(k).float() for k in f.keys()}
    model = Captioner(len(about["vocabulary"]))
    missing = model.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys and all(k.endswith("num_batches_tracked") for k in missing.missing_keys), missing
    return model.eval(), about


def grids(model, paths):
    """[n, 49, 1280] float32 for photo files (the early encoder by onnxruntime, the late one by PyTorch)."""
    network = early_network(model.encoder)
    out = []
    with torch.no_grad():
        for i in range(0, len(paths), 20):
            x = network(np.stack([to_input(read_photo(p)) for p in paths[i:i + 20]]))
            out.append(model.encoder.late(torch.from_numpy(x)).contiguous())
    return torch.cat(out)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("data"), a.add_argument("file")
    a.add_argument("--beams", default="1,2,3,4,5,6,8")
    a.add_argument("--penalties", default="0,0.3,0.5,0.7,0.8,0.9,1,1.2")
    a.add_argument("--longest", type=int, default=20)
    a.add_argument("--count", type=int, default=1000)
    a.add_argument("--json")
    a.add_argument("--photos", nargs="*")
    a.add_argument("--threads", type=int, default=2)
    a = a.parse_args()
    torch.set_num_threads(1)
    model, about = load(a.file)
    words = about["vocabulary"]
    text = lambda ids: [words[i] for i in ids]
    decoders = [(d, getattr(model, d["prefix"][:-1])) for d in about["decoders"]]
    if a.photos:
        grid = grids(model, a.photos)
        out = {}
        for d, decoder in decoders:
            best = [winner(h, d["length_penalty"]) for h in beams(decoder, grid, d["beam"], d["max_length"])]
            for path, g, b in zip(a.photos, greedy(decoder, grid, d["max_length"]), best):
                out.setdefault(os.path.basename(path), {})[d["family"]] = {"greedy": " ".join(text(g)), "beam": " ".join(text(cut(b[0])))}
        print(json.dumps(out, indent=1))
        return
    data = Flickr8k(a.data)
    names = data.dev[:a.count]
    references = [data.captions[n] for n in names]
    grid = grids(model, [os.path.join(a.data, "photos", n) for n in names])
    workers = Workers(model, a.threads)
    dumps = {"greedy": {}, "beam": {}}
    for d, _ in decoders:
        prefix = d["prefix"][:-1]

        def run(job):
            return [c for part in workers.run(lambda m, g: job(getattr(m, prefix), g), grid.split(25)) for c in part]

        ids = run(lambda decoder, g: greedy(decoder, g, a.longest))
        print(f"{d['family']} greedy: {line(report([text(i) for i in ids], references))}", flush=True)
        dumps["greedy"][d["family"]] = dict(zip(names, run(lambda decoder, g: greedy(decoder, g, d["max_length"]))))
        if a.json:
            found = run(lambda decoder, g: beams(decoder, g, d["beam"], d["max_length"]))
            dumps["beam"][d["family"]] = {n: cut(winner(h, d["length_penalty"])[0]) for n, h in zip(names, found)}
        for k in [int(k) for k in a.beams.split(",") if k]:
            found = run(lambda decoder, g: beams(decoder, g, k, a.longest))
            for penalty in [float(p) for p in a.penalties.split(",")]:
                chosen = [text(cut(winner(h, penalty)[0])) for h in found]
                print(f"{d['family']} beam {k} penalty {penalty}: {line(report(chosen, references))} "
                      f"words {np.mean([len(c) for c in chosen]):.1f}", flush=True)
    if a.json:
        for name, dump in dumps.items():
            with open(f"{a.json}_{name}.json", "w") as f:
                json.dump(dump, f)


if __name__ == "__main__":
    main()
